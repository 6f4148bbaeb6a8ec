"""Recordings -> waves or features that training reads at the speed of memory.

Every utterance is decoded, resampled and trimmed once, in parallel, and appended to a shard
(:mod:`hive_mtl.learn.shards`) in the form of :mod:`hive_mtl.learn.kept`. Training then reads only
what a crop needs. Memory is bounded by one shard's index, whatever the size of the corpus, and a
preparation that was interrupted goes on at the first missing shard.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import platformdirs
import pyarrow as pa
import pyarrow.compute as pc

from hive_mtl.errors import DataError
from hive_mtl.learn import shards
from hive_mtl.learn.kept import Floats, Kept, Waves
from hive_mtl.learn.shards import Index, OpenShards, tried_again, write_shards

LONGEST_S = 60.0  # as much as the network is ever given at once
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
    _files: OpenShards = field(repr=False)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def hours(self) -> float:
        """Of all utterances together, as trimmed."""
        return float(self.lengths.sum()) / self.kept.per_second / 3600

    def only(self, rows: npt.NDArray[np.bool_]) -> "Prepared":
        """Those where ``rows``, a mask ``(utterances,)``, says so."""
        return replace(
            self,
            table=self.table.filter(rows),
            shard=self.shard[rows],
            offset=self.offset[rows],
            lengths=self.lengths[rows],
        )

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
        data = self._files.read(shard, position, item * count)
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
            recording. Recordings that could not be read are tried again.
        max_failures: how many utterances may fail; any number if None.
        progress: called with the number of utterances finished since the last call.

    Raises:
        DataError: nothing could be decoded, or more than ``max_failures`` failed.
    """
    if not len(table):
        raise DataError("no utterances to prepare: check the data and its split column")
    folder = (cache or default_cache()) / _key(table, kept)
    write_shards(folder, table, kept, progress)
    return _opened(table, folder, tried_again(folder, table, kept), kept, max_failures)


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
    unknown = table["duration_s"].is_null().to_numpy()[row]
    columns["duration_s"] = pa.array(length, mask=unknown)
    return pa.table(columns)


def _opened(
    table: pa.Table, folder: Path, index: Index, kept: Kept, max_failures: int | None
) -> Prepared:
    failures = tuple(index.problem.drop_null().to_pylist())
    if max_failures is not None and len(failures) > max_failures:
        raise DataError(
            f"{len(failures)} of {len(table)} recordings failed, more than the {max_failures} "
            f"allowed; the first: {failures[0]}"
        )
    good = pc.is_null(index.problem)
    if not pc.any(good).as_py():
        raise DataError(
            f"none of {len(table)} recordings could be prepared; the first: {failures[0]}"
        )
    table = table.filter(good)
    shard, offset, lengths = (
        each[good.to_numpy()] for each in (index.shard, index.offset, index.length)
    )
    place = table.schema.get_field_index("duration_s")
    known = pc.coalesce(table["duration_s"], pa.array(lengths / kept.per_second))
    return Prepared(
        folder=folder,
        table=table.set_column(place, "duration_s", known),
        kept=kept,
        shard=shard,
        offset=offset,
        lengths=lengths,
        failures=failures,
        _files=OpenShards(folder, index.names),
    )


def _key(table: pa.Table, kept: Kept) -> str:
    """Names a preparation: its form, the utterances, the size and date of every recording."""
    digest = hashlib.sha256(f"{FORMAT} {shards.SHARD_UTTERANCES} {kept}".encode())
    for batch in table.select(["path", "start_s", "duration_s"]).to_batches():
        for path, start_s, duration_s in zip(*batch.to_pydict().values(), strict=True):
            try:
                status = Path(path).stat()
                state = f"{status.st_size} {status.st_mtime_ns}"
            except OSError:
                state = "missing"
            digest.update(f"{path}\t{start_s}\t{duration_s}\t{state}\n".encode())
    return digest.hexdigest()[:16]
