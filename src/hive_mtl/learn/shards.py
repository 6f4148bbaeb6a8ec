"""Shards: what is kept of many utterances in one file, and an index beside it of where each lies.

A shard that is there is never changed, for runs that opened it have read its index. What could not
be read at first and can be read later comes to lie in further shards.
"""

import os
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hive_mtl import audio
from hive_mtl.atomic import atomic_write
from hive_mtl.cores import cores
from hive_mtl.errors import AudioError, DataError
from hive_mtl.learn.kept import Array, Kept
from hive_mtl.learn.processes import torch_threads

SHARD_UTTERANCES = 2048
AHEAD = 32  # utterances decoded ahead of the writer
OPEN_SHARDS = 64  # at a time in a process, which may often open no more than 256 files

_NO_SPEECH = "no speech found: check the recording"

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Index:
    """Where the utterances of a table lie.

    Attributes:
        names: of the shards' files.
        shard, offset, length: ``(utterances,)`` which of them it is, and the items in it.
        problem: ``(utterances,)`` 'path: problem' where nothing could be kept, else null.
    """

    names: tuple[str, ...]
    shard: Integers
    offset: Integers
    length: Integers
    problem: pa.ChunkedArray

    @property
    def unread(self) -> Integers:
        """The utterances whose recording could not be read."""
        heard = pc.ends_with(self.problem, _NO_SPEECH)
        return np.flatnonzero(pc.invert(heard).fill_null(False).to_numpy())


def write_shards(
    folder: Path, table: pa.Table, kept: Kept, progress: Callable[[int], None]
) -> None:
    """Decodes the utterances of the shards that are not in ``folder`` yet."""
    table = _numbered(table)
    for number, start in enumerate(range(0, len(table), SHARD_UTTERANCES)):
        rows = table.slice(start, SHARD_UTTERANCES)
        path = folder / f"{number:06d}{kept.suffix}"
        if path.is_file() and path.with_suffix(".parquet").is_file():
            progress(len(rows))
        else:
            _write_index(path, _write_items(path, rows, kept, progress))


def tried_again(folder: Path, table: pa.Table, kept: Kept) -> Index:
    """The index of all shards, once the recordings that could not be read were tried again.

    A disk or network may have failed for a moment. As long as that helps it goes on; where it does
    not, it costs no more than the decoding of one shard.
    """
    index = _read_index(folder, len(table), kept)
    while len(failed := index.unread):
        some = _numbered(table).take(failed[:: -(-len(failed) // SHARD_UTTERANCES)])
        path = folder / f"again-{secrets.token_hex(4)}{kept.suffix}"
        written = _write_items(path, some, kept, lambda _: None)
        if written["problem"].null_count == 0:
            path.unlink()
            break
        _write_index(path, written)
        index = _read_index(folder, len(table), kept)
    return index


def _numbered(table: pa.Table) -> pa.Table:
    """What tells which sound each row is, and the number of the row."""
    number = pa.array(np.arange(len(table)))
    return table.select(["path", "start_s", "duration_s"]).append_column("row", number)


def _write_items(
    path: Path, rows: pa.Table, kept: Kept, progress: Callable[[int], None]
) -> pa.Table:
    """What is kept of the rows, in a file; returns its index."""
    offsets, lengths, problems, position = [], [], [], 0
    with atomic_write(path) as temporary, temporary.open("wb") as shard:
        for items, problem in _decoded(rows, kept):
            shard.write(items.tobytes())
            offsets.append(position)
            lengths.append(len(items))
            problems.append(problem)
            position += len(items)
            progress(1)
    columns = {"offset": offsets, "length": lengths, "problem": pa.array(problems, pa.string())}
    return pa.table({**columns, "row": rows["row"]})


def _write_index(path: Path, index: pa.Table) -> None:
    """With it the shard is there."""
    with atomic_write(path.with_suffix(".parquet")) as temporary:
        pq.write_table(index, temporary)


def _read_index(folder: Path, utterances: int, kept: Kept) -> Index:
    shard = np.arange(utterances) // SHARD_UTTERANCES
    names = [f"{number:06d}{kept.suffix}" for number in range(shard[-1] + 1)]
    first = pa.concat_tables(_index_of(folder / name) for name in names)
    offset, length = (np.array(first[name]) for name in ("offset", "length"))
    mended = np.zeros(utterances, dtype=np.bool_)
    for path in sorted(folder.glob("again-*.parquet")):
        file = path.with_suffix(kept.suffix)
        if not file.is_file():
            continue
        again = _index_of(file, "row")
        again = again.filter(pc.is_null(again["problem"]))
        rows = again["row"].to_numpy()
        shard[rows], mended[rows] = len(names), True
        offset[rows], length[rows] = again["offset"].to_numpy(), again["length"].to_numpy()
        names.append(file.name)
    problem = pc.if_else(pa.array(mended), pa.scalar(None, pa.string()), first["problem"])
    return Index(tuple(names), shard, offset, length, problem)


def _index_of(shard: Path, *more: str) -> pa.Table:
    columns = ["offset", "length", "problem", *more]
    return pq.read_table(shard.with_suffix(".parquet"), columns=columns)


def _decoded(rows: pa.Table, kept: Kept) -> Iterator[tuple[Array, str | None]]:
    """What is kept of the rows, in order, decoded a little ahead by all cores."""
    columns = [rows[name].to_pylist() for name in ("path", "start_s", "duration_s")]
    segments = zip(*columns, strict=True)
    # each recording has a core: torch is not to share the work on one among cores that have theirs
    with ThreadPoolExecutor(cores()) as pool, torch_threads(1):
        pending = [pool.submit(_decode, kept, *segment) for segment in islice(segments, AHEAD)]
        while pending:
            yield pending.pop(0).result()
            pending.extend(pool.submit(_decode, kept, *segment) for segment in islice(segments, 1))


def _decode(
    kept: Kept, path: str, start_s: float, duration_s: float | None
) -> tuple[Array, str | None]:
    nothing = np.zeros(0, dtype=kept.dtype)
    whole = start_s == 0.0 and duration_s is None
    source = path if whole else audio.Segment(Path(path), start_s, duration_s)
    try:
        recording = audio.load(source)
    except AudioError as error:
        return nothing, str(error)
    # asked of the whole: without the silence around it a held vowel has nothing to rise above
    if not audio.speech_frames(recording).any():
        return nothing, f"{path}: {_NO_SPEECH}"
    return kept.of(recording), None


class OpenShards:
    """Shards to read from, opened as they are needed in each process; only so many stay open.

    Args:
        folder: where they lie.
        names: of the files.
    """

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self._folder, self._names = folder, names
        self._opened = lru_cache(OPEN_SHARDS)(_OpenShard)

    def read(self, shard: int, position: int, count: int) -> bytes:
        """Bytes of a shard; fewer where it ends before.

        Raises:
            DataError: it is gone or cannot be read.
        """
        path = self._folder / self._names[shard]
        try:
            return self._opened(path).read(position, count)
        except FileNotFoundError as error:
            raise DataError(f"{path}: is gone: run again to prepare it anew") from error
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read ({error.strerror}): check the disk, and how many files "
                "may be open (ulimit -n)"
            ) from error

    def __reduce__(self) -> tuple[type["OpenShards"], tuple[Path, tuple[str, ...]]]:
        return OpenShards, (self._folder, self._names)


class _OpenShard:
    """Closed when nobody holds it any more: a thread may still read what others let go."""

    _descriptor = -1

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)

    def read(self, position: int, count: int) -> bytes:
        return os.pread(self._descriptor, count, position)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
