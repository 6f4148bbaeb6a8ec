"""Enrol a voice and ask who speaks: know_voices.py STORE.db NAME ENROLLED.wav ASKED.wav [MODEL]."""

import sys

import hive_mtl as hive

place, name, enrolled, asked = sys.argv[1:5]
with hive.Voices(place, *sys.argv[5:]) as voices:
    if name not in voices:
        voices.enroll(name, enrolled, note="said yes on the telephone")
    identity = voices.identify(asked)
print(f"{asked}: {identity.name or 'nobody, surely enough'}")
for candidate in identity.candidates:
    print(f"  {candidate.name}: {candidate.probability:.1%}")
print(f"  unknown: {identity.unknown:.1%}")
