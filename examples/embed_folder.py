"""Embed every recording of a folder: embed_folder.py FOLDER OUT.npz [MODEL]."""

import sys
from pathlib import Path

import hive_mtl as hive
from hive_mtl.audio import find_recordings

model = hive.load(*sys.argv[3:])
recordings = [str(path) for path in find_recordings(Path(sys.argv[1]))]
results = zip(recordings, model.embed_stream(recordings), strict=True)
embedded = (pair for pair in results if not isinstance(pair[1], hive.EmbeddingError))
written = hive.write_vectors(Path(sys.argv[2]), model.description, embedded)
print(f"{sys.argv[2]}: {written} of {len(recordings)} recordings")
