"""Recordings -> waves or features that training reads at the speed of memory.

Every utterance is decoded, resampled and trimmed once, in parallel, and appended to a shard in the
form of :mod:`hive_mtl.learn.kept`; an index beside it says where each lies. Training then reads
only what a crop needs. Memory is bounded by one shard's index, whatever the size of the corpus, and
a preparation that was interrupted goes on at the first missing shard.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import platformdirs
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from hive_mtl import audio
from hive_mtl.atomic import atomic_write
from hive_mtl.errors import AudioError, DataError
from hive_mtl.learn.kept import Array, Floats, Kept, Waves

SHARD_UTTERANCES = 2048
LONGEST_S = 60.0  # as much as the network is ever given at once
AHEAD = 32  # utterances decoded ahead of the writer
FORMAT = 3  # raise when what is stored for the same recording changes
_WAVES = Waves()


@dataclass(frozen=True)
class Prepared:
    """Utterances that can be read by row.

    Attributes:
        folder: where the shards lie.
        table: the utterances that could be decoded; where ``duration_s`` was not known it is what
            is left after trimming.
        kept: the form in which they are kept; its items are samples or frames.
        shard, offset, lengths: ``(utterances,)`` where each lies and how long it is, in items.
        failures: 'path: problem' of each utterance that could not be decoded.
    """

    folder: Path
    table: pa.Table
    kept: Kept
    shard: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    failures: tuple[str, ...]
    _files: "_OpenShards" = field(repr=False)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def hours(self) -> float:
        """Of all utterances together, as trimmed."""
        return float(self.lengths.sum()) / self.kept.per_second / 3600

    def read(self, row: int, start: int = 0, count: int | None = None) -> Floats:
        """``count`` items of an utterance from ``start`` on (all that follow if None).

        Returns:
            ``(samples,)`` in [-1, 1] or ``(mels, frames)``.
        """
        left = int(self.lengths[row]) - start
        count = left if count is None else min(count, left)
        shape = (count, self.kept.width) if self.kept.width > 1 else (count,)
        item = np.dtype(self.kept.dtype).itemsize * self.kept.width
        position = item * (int(self.offset[row]) + start)
        shard = int(self.shard[row])
        data = os.pread(self._files.descriptor(shard), item * count, position)
        if len(data) < item * count:
            raise DataError(
                f"{self.folder}: shard {shard} is shorter than its index tells: remove the folder "
                "and run again to prepare it anew"
            )
        return self.kept.restore(np.frombuffer(data, dtype=self.kept.dtype).reshape(shape))

    def padded(self, rows: npt.NDArray[np.int64], multiple: int = 1) -> Floats:
        """Whole utterances, zero beyond their ends: ``(rows, ..., items)``.

        The number of items is the next multiple of ``multiple`` that holds the longest.
        """
        items = -(-int(self.lengths[rows].max()) // multiple) * multiple
        return stacked([self.read(int(row)) for row in rows], items)


def stacked(inputs: Sequence[Floats], items: int) -> Floats:
    """Inputs ``(..., n)`` of different lengths -> ``(batch, ..., items)``, zero beyond each."""
    batch = np.zeros((len(inputs), *inputs[0].shape[:-1], items), dtype=np.float32)
    for row, one in zip(batch, inputs, strict=True):
        row[..., : one.shape[-1]] = one
    return batch


def default_cache() -> Path:
    """The user's cache folder, as the operating system names it."""
    return platformdirs.user_cache_path("hive-mtl") / "prepared"


def prepare(
    table: pa.Table,
    cache: Path | None = None,
    *,
    kept: Kept = _WAVES,
    max_failures: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Prepared:
    """Decodes what is not decoded yet and opens the result.

    Args:
        table: utterances (see :mod:`hive_mtl.learn.utterances`).
        kept: the form in which they are kept.
        cache: the folder that keeps prepared corpora; by default the user's cache folder. What is
            kept is named by its form, the content of ``table`` and the size and date of every
            recording.
        max_failures: how many utterances may fail; any number if None.
        progress: called with the number of utterances finished since the last call.

    Raises:
        DataError: nothing could be decoded, or more than ``max_failures`` failed.
    """
    folder = (cache or default_cache()) / _key(table, kept)
    for number, start in enumerate(range(0, len(table), SHARD_UTTERANCES)):
        rows = table.slice(start, SHARD_UTTERANCES)
        shard, index = (folder / f"{number:06d}{suffix}" for suffix in (kept.suffix, ".parquet"))
        if shard.is_file() and index.is_file():
            progress(len(rows))
        else:
            _write_shard(shard, rows, kept, progress)
    return _open(table, folder, kept, max_failures)


def in_pieces(table: pa.Table, longest_s: float = LONGEST_S) -> pa.Table:
    """Cuts the utterances that are longer than ``longest_s`` into equal parts, one row each."""
    duration = table["duration_s"].fill_null(0.0).to_numpy()
    parts = np.maximum(np.ceil(duration / longest_s), 1).astype(np.int64)
    if (parts == 1).all():
        return table
    row = np.repeat(np.arange(len(table)), parts)
    part = np.arange(len(row)) - np.repeat(np.cumsum(parts) - parts, parts)
    length = (duration / parts)[row]
    columns = {name: table[name].take(row) for name in table.column_names}
    columns["start_s"] = pa.array(columns["start_s"].to_numpy() + part * length)
    columns["duration_s"] = pa.array(length, mask=length == 0.0)
    return pa.table(columns)


def _write_shard(path: Path, rows: pa.Table, kept: Kept, progress: Callable[[int], None]) -> None:
    offsets, lengths, problems, position = [], [], [], 0
    with atomic_write(path) as temporary, temporary.open("wb") as shard:
        for items, problem in _decoded(rows, kept):
            shard.write(items.tobytes())
            offsets.append(position)
            lengths.append(len(items))
            problems.append(problem)
            position += len(items)
            progress(1)
    index = pa.table(
        {"offset": offsets, "length": lengths, "problem": pa.array(problems, pa.string())}
    )
    with atomic_write(path.with_suffix(".parquet")) as temporary:
        pq.write_table(index, temporary)


def _decoded(rows: pa.Table, kept: Kept) -> Iterator[tuple[Array, str | None]]:
    """What is kept of the rows, in order, decoded a little ahead by all cores."""
    columns = [rows[name].to_pylist() for name in ("path", "start_s", "duration_s")]
    segments = zip(*columns, strict=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool, _one_thread_each():
        pending = [pool.submit(_decode, kept, *segment) for segment in islice(segments, AHEAD)]
        while pending:
            yield pending.pop(0).result()
            pending.extend(pool.submit(_decode, kept, *segment) for segment in islice(segments, 1))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Keeps torch from sharing the work on one recording among cores that all have their own."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


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
        return nothing, f"{path}: no speech found: check the recording"
    return kept.of(recording), None


def _open(table: pa.Table, folder: Path, kept: Kept, max_failures: int | None) -> Prepared:
    indices = [
        pq.read_table(folder / f"{number:06d}.parquet").append_column(
            "shard", pa.array(np.full(min(SHARD_UTTERANCES, len(table) - start), number))
        )
        for number, start in enumerate(range(0, len(table), SHARD_UTTERANCES))
    ]
    if not indices:
        raise DataError("no utterances to prepare: check the data and its split column")
    index = pa.concat_tables(indices)
    failures = tuple(index["problem"].drop_null().to_pylist())
    if max_failures is not None and len(failures) > max_failures:
        raise DataError(
            f"{len(failures)} of {len(table)} recordings failed, more than the {max_failures} "
            f"allowed; the first: {failures[0]}"
        )
    good = pc.is_null(index["problem"])
    if not pc.any(good).as_py():
        raise DataError(
            f"none of {len(table)} recordings could be prepared; the first: {failures[0]}"
        )
    index, table = index.filter(good), table.filter(good)
    lengths = index["length"].to_numpy()
    place = table.schema.get_field_index("duration_s")
    known = pc.coalesce(table["duration_s"], pa.array(lengths / kept.per_second))
    table = table.set_column(place, "duration_s", known)
    return Prepared(
        folder=folder,
        table=table,
        kept=kept,
        shard=index["shard"].to_numpy(),
        offset=index["offset"].to_numpy(),
        lengths=lengths,
        failures=failures,
        _files=_OpenShards(folder, kept.suffix),
    )


def _key(table: pa.Table, kept: Kept) -> str:
    """Names a preparation: its form, the utterances, the size and date of every recording."""
    digest = hashlib.sha256(f"{FORMAT} {SHARD_UTTERANCES} {kept}".encode())
    for batch in table.select(["path", "start_s", "duration_s"]).to_batches():
        for path, start_s, duration_s in zip(*batch.to_pydict().values(), strict=True):
            try:
                status = Path(path).stat()
                state = f"{status.st_size} {status.st_mtime_ns}"
            except OSError:
                state = "missing"
            digest.update(f"{path}\t{start_s}\t{duration_s}\t{state}\n".encode())
    return digest.hexdigest()[:16]


class _OpenShards:
    """File descriptors by shard, opened on first use in each process."""

    def __init__(self, folder: Path, suffix: str) -> None:
        self.folder, self.suffix = folder, suffix
        self._open: dict[int, int] = {}
        self._lock = threading.Lock()

    def descriptor(self, number: int) -> int:
        with self._lock:
            if number not in self._open:
                path = self.folder / f"{number:06d}{self.suffix}"
                try:
                    self._open[number] = os.open(path, os.O_RDONLY)
                except OSError as error:
                    raise DataError(
                        f"{path}: cannot be read ({error.strerror}): run again to prepare it anew"
                    ) from error
            return self._open[number]

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "suffix": self.suffix}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __del__(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
