"""Embed, compare and describe voices: five_lines.py A.wav B.wav [MODEL]."""

import sys

import hive_mtl as hive

model = hive.load(*sys.argv[3:])
a, b = sys.argv[1:3]
print(f"embedding: {model.embed(a).vector.shape[0]} numbers of unit length")
verdict = model.verify(a, b)
print(f"same voice: {verdict.same}, with a probability of {verdict.probability:.3f}")
for name, answer in model.attributes(a).items():
    print(f"{name}: {answer.value}, with a probability of {answer.probability:.2f}")
