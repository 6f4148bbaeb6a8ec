"""The same waves heard by both: decoded once by Hive-MTL, piped to the peer as they are."""

import hashlib
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from environments import Environment, one_thread

from hive_mtl.atomic import atomic_write
from hive_mtl.audio import SAMPLE_RATE, Wave, load
from hive_mtl.errors import AudioError, EmbeddingError
from hive_mtl.evaluate.degrade import embed_degraded
from hive_mtl.evaluate.embedded import segments
from hive_mtl.use.model import Model
from hive_mtl.use.progress import with_progress

PEER = Environment(
    "peer",
    Path(__file__).with_name("requirements.txt"),
    holds="Resemblyzer, librosa and torch: a minute or two, 1.2 GB",
)
WORKER = Path(__file__).with_name("worker.py")
Vectors = npt.NDArray[np.float32]  # (utterances, dim), unit norm; NaN where there is none
Waves = Iterable[Wave | None]
_NOTHING = np.zeros(0, np.float32)


def clean(table: pa.Table) -> Iterator[Wave | None]:
    """The wave of every row; None where it cannot be read."""
    for segment in segments(table):
        try:
            yield load(segment)
        except AudioError:
            yield None


def heard_by_us(model: Model, waves: Waves) -> Vectors:
    """The vectors of Hive-MTL."""
    sources = ((_NOTHING if wave is None else wave, SAMPLE_RATE) for wave in waves)
    missing = np.full(model.description.embedding_dim, np.nan, np.float32)
    return np.stack(
        [
            missing if isinstance(result, EmbeddingError) else result.vector
            for result in model.embed_stream(sources)
        ]
    )


def heard_by_peer(waves: Waves) -> Vectors:
    """The vectors of the peer, which runs beside this process; one wave at a time is in memory."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "vectors.npz"
        command = [str(PEER.ready()), str(WORKER), "vectors", str(out)]
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, env=one_thread())
        with worker:
            for wave in waves:
                wave = _NOTHING if wave is None else wave
                worker.stdin.write(struct.pack("<I", len(wave)))
                worker.stdin.write(wave.astype("<f4").tobytes())
        if worker.returncode:
            raise SystemExit(f"the peer ended with status {worker.returncode}")
        return np.load(out)["vectors"]


def degraded_for_peer(table: pa.Table, name: str) -> Vectors:
    """The vectors of the peer, of waves degraded as they are for Hive-MTL."""
    results = list(
        embed_degraded(lambda waves: heard_by_peer(wave for wave, _ in waves), table, name)
    )
    dim = next(len(each) for each in results if not isinstance(each, EmbeddingError))
    missing = np.full(dim, np.nan, np.float32)
    return np.stack([missing if isinstance(each, EmbeddingError) else each for each in results])


def kept(folder: Path, who: str, table: pa.Table, hear: Callable[[Waves], Vectors]) -> Vectors:
    """What somebody hears in the rows of a table, kept in ``folder`` for the next run."""
    rows = table.select(["path", "start_s", "duration_s"]).to_pylist()
    digest = hashlib.sha256(repr((who, rows)).encode()).hexdigest()[:16]
    path = folder / f"{digest}.npz"
    if not path.exists():
        print(f"{who}: embedding {len(table)} recordings", file=sys.stderr)
        vectors = hear(with_progress(clean(table), len(table)))
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez(file, vectors=vectors)
    return np.load(path)["vectors"]
