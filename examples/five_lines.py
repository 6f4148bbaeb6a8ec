"""Embed, compare and describe voices: five_lines.py A.wav B.wav [MODEL]."""

import sys

import hive_mtl as hive

model = hive.load(*sys.argv[3:])
a, b = sys.argv[1:3]
print(f"embedding: {model.embed(a).vector.shape[0]} numbers of unit length")
print(f"same voice: {model.verify(a, b)}")
print(f"attributes: {model.attributes(a)}")
