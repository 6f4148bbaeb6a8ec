"""Hive-MTL: one voice embedding, every voice task.

    import hive_mtl as hive

    model = hive.load()
    model.embed("a.wav").vector
    model.verify("a.wav", "b.flac").same

Names are imported when they are first used, so that ``import hive_mtl`` costs next to nothing.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

# ONNX Runtime sends its maker what it is used for, unless it is told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from hive_mtl.audio import Segment, Source
    from hive_mtl.description import ModelDescription
    from hive_mtl.errors import (
        AudioError,
        ConfigError,
        DataError,
        EmbeddingError,
        HiveError,
        MissingExtraError,
        ModelError,
        StoreError,
        VoiceError,
    )
    from hive_mtl.use.attributes import Answer
    from hive_mtl.use.cluster import Clustering
    from hive_mtl.use.diarize import Diarization, Turn
    from hive_mtl.use.embedding import Embedding, WindowedEmbeddings
    from hive_mtl.use.find import Found, Search
    from hive_mtl.use.identify import Candidate, Identity
    from hive_mtl.use.model import Model, load
    from hive_mtl.use.stores import Sample, StoredVoice, VoiceEntry
    from hive_mtl.use.vectors_file import Vectors, read_vectors, write_vectors
    from hive_mtl.use.verify import Verdict
    from hive_mtl.use.voices import Voices

__all__ = [
    "Answer",
    "AudioError",
    "Candidate",
    "Clustering",
    "ConfigError",
    "DataError",
    "Diarization",
    "Embedding",
    "EmbeddingError",
    "Found",
    "HiveError",
    "Identity",
    "MissingExtraError",
    "Model",
    "ModelDescription",
    "ModelError",
    "Sample",
    "Search",
    "Segment",
    "Source",
    "StoreError",
    "StoredVoice",
    "Turn",
    "Vectors",
    "Verdict",
    "VoiceEntry",
    "VoiceError",
    "Voices",
    "WindowedEmbeddings",
    "load",
    "read_vectors",
    "write_vectors",
]

_HOMES = {
    "hive_mtl.audio": ("Segment", "Source"),
    "hive_mtl.description": ("ModelDescription",),
    "hive_mtl.errors": (
        "AudioError",
        "ConfigError",
        "DataError",
        "EmbeddingError",
        "HiveError",
        "MissingExtraError",
        "ModelError",
        "StoreError",
        "VoiceError",
    ),
    "hive_mtl.use.attributes": ("Answer",),
    "hive_mtl.use.cluster": ("Clustering",),
    "hive_mtl.use.diarize": ("Diarization", "Turn"),
    "hive_mtl.use.embedding": ("Embedding", "WindowedEmbeddings"),
    "hive_mtl.use.find": ("Found", "Search"),
    "hive_mtl.use.identify": ("Candidate", "Identity"),
    "hive_mtl.use.model": ("Model", "load"),
    "hive_mtl.use.stores": ("Sample", "StoredVoice", "VoiceEntry"),
    "hive_mtl.use.vectors_file": ("Vectors", "read_vectors", "write_vectors"),
    "hive_mtl.use.verify": ("Verdict",),
    "hive_mtl.use.voices": ("Voices",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'hive_mtl' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value  # the next access finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
