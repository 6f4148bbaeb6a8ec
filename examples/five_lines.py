"""Embed, compare and describe voices: five_lines.py A.wav B.wav [MODEL]."""

import sys

import hive_mtl as hive

model = hive.load(*sys.argv[3:])
a, b = sys.argv[1:3]
print(f"embedding: {model.embed(a).vector.shape[0]} numbers of unit length")
verdict = model.verify(a, b)
said = "the same voice" if verdict.same else "not surely the same voice"
print(f"{said}; the probability of the same is {verdict.probability:.3f}")
for name, answer in model.attributes(a).items():
    within = "" if answer.interval is None else " within {:.0f} to {:.0f}".format(*answer.interval)
    print(f"{name}: {answer.value} ({answer.probability:.0%}{within})")
