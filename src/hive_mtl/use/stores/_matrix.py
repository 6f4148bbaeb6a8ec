"""Which voices of a SQLite store are nearest: a matrix of all centroids, and those changed since.

The tables are the truth. The matrix is made from them at one generation and used with whatever was
changed later, read from the tables, until that is much; after any removal it is made anew. Beyond
:data:`IN_MEMORY` voices it is a memory-mapped file beside the store, which processes share.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from hive_mtl.errors import DataError
from hive_mtl.use.nearest import highest
from hive_mtl.use.stores._sql import Run

IN_MEMORY = 50_000  # voices: reading their centroids takes a tenth of a second
MANY_CHANGES = 4096  # rows to read and compare for every question
_ROWS_AT_ONCE = 16_384

Float32s = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]


class _Searchable(Protocol):
    def nearest(self, queries: Float32s, k: int) -> tuple[Int64s, Float32s]:
        """Rows and cosines ``(queries, k)``."""


@dataclass(frozen=True, slots=True, eq=False)
class _InMemory:
    vectors: Float32s  # (voices, dim)

    def nearest(self, queries: Float32s, k: int) -> tuple[Int64s, Float32s]:
        rows, cosines = zip(*highest(self.vectors, queries, k), strict=True)
        return np.stack(rows), np.stack(cosines)


@dataclass(frozen=True, slots=True)
class _Moment:
    """When a matrix was made: of which store, after how many changes and removals."""

    identity: str
    generation: int
    removals: int

    @classmethod
    def now(cls, run: Run) -> "_Moment":
        return cls(*run("SELECT identity, generation, removals FROM store")[0])

    def serves(self, now: "_Moment") -> bool:
        """Whether all voices of then are still there, so that later changes can be added."""
        return (self.identity, self.removals) == (now.identity, now.removals) and (
            self.generation <= now.generation
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    """A matrix; ``ids`` ``(voices,)`` are the voices of its rows."""

    moment: _Moment
    ids: Int64s
    search: _Searchable


class Matrix:
    """The matrix of one store; whoever calls sees to it that one thread does so at a time."""

    def __init__(self, store: Path) -> None:
        self._file = store.with_name(f"{store.name}.matrix")
        self._made: _Made | None = None
        self._unchecked = False  # whether it was written and may hold voices that went meanwhile

    def nearest(self, run: Run, vector: Float32s, count: int) -> list[int]:
        """The ids of the ``count`` nearest voices, in any order, as the transaction sees them."""
        now = _Moment.now(run)
        made = self._made
        if made is None or not made.moment.serves(now):
            made = self._make(run, now)
        changed = _changed_since(run, made)
        if len(changed) > MANY_CHANGES:
            made = self._make(run, now)  # perhaps a file of another process, with changes since
            changed = _changed_since(run, made)
        self._made = made
        cosines = {number: float(each @ vector) for number, each in changed.items()}
        moved = np.isin(list(changed), made.ids).sum()  # are in the matrix as they were
        if wanted := min(count + int(moved), len(made.ids)):
            rows, found = made.search.nearest(vector[None], wanted)
            for row, cosine in zip(rows[0].tolist(), found[0].tolist(), strict=True):
                cosines.setdefault(int(made.ids[row]), cosine)  # of a changed voice, the new one
        return sorted(cosines, key=lambda number: -cosines[number])[:count]

    def forget(self) -> None:
        """Takes the matrix away, with the vectors of voices that are gone."""
        self._made = None
        self._file.unlink(missing_ok=True)

    @property
    def unchecked(self) -> bool:
        """Whether :meth:`check` is to be called, in a transaction that has begun since."""
        return self._unchecked

    def check(self, run: Run) -> None:
        """Takes away a file that was written while a voice was being removed."""
        self._unchecked = False
        if self._made is not None and not self._made.moment.serves(_Moment.now(run)):
            self.forget()

    def _make(self, run: Run, now: _Moment) -> _Made:
        ((count,),) = run("SELECT count(*) FROM voice")
        if count <= IN_MEMORY:
            return _in_memory(run, now)
        return self._mapped(run, now) or self._written(run, now)

    def _mapped(self, run: Run, now: _Moment) -> _Made | None:
        """The file beside the store, if there is one that serves."""
        from hive_mtl.use.gallery import Gallery  # here, because few stores are so large

        if not self._file.is_file():
            return None
        try:
            gallery = Gallery(self._file)
        except DataError:  # of an older format, say: written anew
            return None
        identity, generation, removals, last = gallery.stamp.split()
        moment = _Moment(identity, int(generation), int(removals))
        if not moment.serves(now):
            return None
        ids = _ids(run)
        made = _Made(moment, ids[ids <= int(last)], gallery)
        return made if len(_changed_since(run, made)) <= MANY_CHANGES else None

    def _written(self, run: Run, now: _Moment) -> _Made:
        from hive_mtl.use.gallery import Gallery

        ids = _ids(run)
        stamp = f"{now.identity} {now.generation} {now.removals} {ids[-1]}"
        try:
            Gallery.write(self._file, _blocks(run), stamp=stamp)
        except DataError:  # the folder cannot be written
            return _in_memory(run, now)
        self._unchecked = True
        return _Made(now, ids, Gallery(self._file))


def _in_memory(run: Run, now: _Moment) -> _Made:
    blocks = list(_blocks(run))
    vectors = np.concatenate(blocks) if blocks else np.empty((0, 0), np.float32)
    return _Made(now, _ids(run), _InMemory(vectors))


def _changed_since(run: Run, made: _Made) -> dict[int, Float32s]:
    """The centroids ``(dim,)`` that are not in the matrix as they are now; one too many is many."""
    rows = run(
        "SELECT id, centroid FROM voice WHERE changed > ? LIMIT ?",
        made.moment.generation,
        MANY_CHANGES + 1,
    )
    return {number: np.frombuffer(blob, "<f4") for number, blob in rows}


def _ids(run: Run) -> Int64s:
    """Of all voices, as :func:`_blocks` has them; an index answers this, without the vectors."""
    return np.sort(np.array([number for (number,) in run("SELECT id FROM voice")], np.int64))


def _blocks(run: Run) -> Iterator[Float32s]:
    """All centroids in the order of their ids, ``(n, dim)`` each."""
    last = -1
    while rows := run(
        "SELECT id, centroid FROM voice WHERE id > ? ORDER BY id LIMIT ?", last, _ROWS_AT_ONCE
    ):
        yield np.stack([np.frombuffer(blob, "<f4") for _, blob in rows])
        last = rows[-1][0]
