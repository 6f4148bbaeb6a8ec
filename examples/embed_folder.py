"""Embed every recording of a folder: embed_folder.py FOLDER OUT.npz [MODEL]."""

import sys
from collections.abc import Iterator
from pathlib import Path

import hive_mtl as hive
from hive_mtl.audio import find_recordings

model = hive.load(*sys.argv[3:])
recordings = [str(path) for path in find_recordings(Path(sys.argv[1]))]


def embedded() -> Iterator[tuple[str, hive.Embedding]]:
    for path, result in zip(recordings, model.embed_stream(recordings), strict=True):
        if isinstance(result, hive.EmbeddingError):
            print(result, file=sys.stderr)
        else:
            yield path, result


written = hive.write_vectors(Path(sys.argv[2]), model.description, embedded())
print(f"{sys.argv[2]}: {written} of {len(recordings)} recordings")
