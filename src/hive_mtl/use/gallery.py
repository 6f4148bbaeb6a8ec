"""Unit vectors of many voices in one file, and which of them are nearest.

The file: a header, the vectors ``(voices, dim)``, their principal axes ``(dim, axes)``, and the
part of each vector along those, scaled to unit norm, ``(voices, axes)``. All is float32,
little-endian and mapped: opening costs nothing, and processes share the pages.

Most voices are ruled out by that part alone. The bits of :mod:`hive_mtl.use.binary` choose as well
and need less room, but NumPy counts bits many times more slowly than it multiplies matrices. faiss
counts them fast: it needs less time than a gallery for one query, and much more for a batch.
``benchmarks/search.py`` shows them side by side.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from hive_mtl.atomic import atomic_write
from hive_mtl.errors import DataError
from hive_mtl.use.nearest import Found, highest, highest_by_part
from hive_mtl.use.scoring import unit_rows

Floats = npt.NDArray[np.floating[Any]]
Float32s = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]

SMALL = 20_000  # voices: fewer are compared as fast as they are chosen from
_CANDIDATES = 1_000  # voices for each query that are compared as a whole
_ENERGY = 0.7  # of the vectors that lies along the axes
_SAMPLE = 65_536  # voices that the axes are of
_LARGE = 1_000  # so many asked for are better found among all
_QUERIES = 256  # compared at once
_ROWS = 16_384  # written at once
_NOT_UNIT = 1e-3
_MAGIC = b"HIVEGAL1"
_HEADER = struct.Struct("<8sIIIQ")  # magic, dim, axes, bytes of the stamp, voices; then the stamp
_ALIGNMENT = 64  # of what follows, in bytes


class Gallery:
    """Unit vectors of many voices in one file, memory-mapped; answers which are nearest.

    Threads and forked processes may share one.

    Args:
        file: as :meth:`write` made it.

    Attributes:
        stamp: what the writer said of the vectors.
        dim: of a vector; 0 where there are no voices.

    Raises:
        DataError: the file is missing, cut short or something else.
    """

    def __init__(self, file: Path) -> None:
        layout = _read_layout(Path(file))
        self.dim, self.stamp = layout.dim, layout.stamp
        self._vectors, self._axes, self._parts = layout.mapped(Path(file), "r")

    def __len__(self) -> int:
        return len(self._vectors)

    @staticmethod
    def write(file: Path, vectors: Iterable[Float32s], *, stamp: str) -> None:
        """Writes a gallery in bounded memory; it is there whole or not at all, and private.

        Args:
            file: to write.
            vectors: of the voices, in blocks ``(n, dim)`` of unit norm.
            stamp: what identifies them to the reader, such as the model's id.

        Raises:
            DataError: a block does not fit the others, a row is not of unit norm, or the file
                cannot be written.
        """
        with atomic_write(file) as temporary:
            temporary.touch(mode=0o600)  # voices are nobody else's business
            with temporary.open("wb") as stream:
                layout = _write_vectors(stream, vectors, stamp)
            if layout.voices >= SMALL:
                _add_parts(temporary, layout)

    def nearest(self, queries: Floats, k: int, *, exact: bool = False) -> tuple[Int64s, Float32s]:
        """The voices of the highest cosines.

        Unless all voices are compared, about 1,000 are chosen whose parts are nearest. Of the ten
        nearest, 99 of 100 are among them where voices spread as in ``benchmarks/search.py``.

        Args:
            queries: ``(q, dim)`` of unit norm.
            k: how many for each; all voices where there are fewer.
            exact: compare all voices, as is done anyway where they are few or ``k`` is large.

        Returns:
            Rows of the gallery and their cosines, ``(q, k)`` each, the highest first; of equal
            ones, the lower row.

        Raises:
            DataError: the queries are not as said.
        """
        asked = np.ascontiguousarray(queries, dtype=np.float32)
        rows = np.empty((len(asked), max(0, min(k, len(self)))), np.int64)
        cosines = np.empty(rows.shape, np.float32)
        if rows.size == 0:
            return rows, cosines
        _check(asked, self.dim, 0)
        compares_all = exact or self._axes.size == 0 or rows.shape[1] > _LARGE
        for first in range(0, len(asked), _QUERIES):
            batch = slice(first, first + _QUERIES)
            found = self._nearest(asked[batch], rows.shape[1], compares_all)
            rows[batch], cosines[batch] = map(np.stack, zip(*found, strict=True))
        return rows, cosines

    def _nearest(self, queries: Float32s, k: int, compares_all: bool) -> list[Found]:
        if compares_all:
            return highest(self._vectors, queries, k)
        parts = self._parts, queries @ self._axes
        return highest_by_part(self._vectors, queries, parts, k, _CANDIDATES)


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a header says: how much there is of what, and so where it lies."""

    dim: int
    axes: int
    voices: int
    stamp: str

    @property
    def header(self) -> bytes:
        stamp = self.stamp.encode()
        head = _HEADER.pack(_MAGIC, self.dim, self.axes, len(stamp), self.voices) + stamp
        return head.ljust(-(-len(head) // _ALIGNMENT) * _ALIGNMENT, b"\0")

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Of the vectors, the axes and the parts, in the order in which they follow."""
        return (self.voices, self.dim), (self.dim, self.axes), (self.voices, self.axes)

    @property
    def size(self) -> int:
        """Of the whole file, in bytes."""
        return len(self.header) + 4 * sum(rows * columns for rows, columns in self.shapes)

    def mapped(self, file: Path, mode: Literal["r", "r+"]) -> list[Float32s]:
        """The vectors, the axes and the parts of a file."""
        arrays, start = [], len(self.header)
        for shape in self.shapes:
            if 0 in shape:  # which cannot be mapped
                arrays.append(np.empty(shape, np.float32))
                continue
            arrays.append(np.memmap(file, "<f4", mode, start, shape).view(np.ndarray))
            start += arrays[-1].nbytes
        return arrays


def _read_layout(file: Path) -> _Layout:
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            head = stream.read(_HEADER.size)
            if len(head) < _HEADER.size or not head.startswith(_MAGIC):
                raise DataError(f"{file}: not a gallery of voices: give one that Gallery wrote")
            _, dim, axes, length, voices = _HEADER.unpack(head)
            stamp = stream.read(min(length, size)).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its header is damaged"
        raise DataError(f"{file}: cannot be read ({reason}): write the gallery anew") from error
    layout = _Layout(dim, axes, voices, stamp)
    if size != layout.size:
        raise DataError(
            f"{file}: has {size} bytes, where its header tells of {layout.size}: it was cut short "
            "or damaged: write the gallery anew"
        )
    return layout


def _write_vectors(stream: BinaryIO, blocks: Iterable[Float32s], stamp: str) -> _Layout:
    layout = _Layout(dim=0, axes=0, voices=0, stamp=stamp)
    stream.write(layout.header)
    for block in blocks:
        dim = layout.dim or block.shape[-1]
        _check(block, dim, layout.voices)
        stream.write(np.ascontiguousarray(block, dtype="<f4").data)
        layout = replace(layout, dim=dim, voices=layout.voices + len(block))
    stream.seek(0)
    stream.write(layout.header)
    return layout


def _add_parts(file: Path, layout: _Layout) -> None:
    """Adds the axes and the parts along them to a file of vectors."""
    vectors = layout.mapped(file, "r")[0]
    axes = _principal_axes(vectors[:: max(1, layout.voices // _SAMPLE)])
    if axes.shape[1] > layout.dim // 2:  # the vectors lie anywhere: no part of them tells enough
        return
    layout = replace(layout, axes=axes.shape[1])
    with file.open("r+b") as stream:
        stream.write(layout.header)
        stream.truncate(layout.size)
    vectors, kept, parts = layout.mapped(file, "r+")
    kept[:] = axes
    for first in range(0, layout.voices, _ROWS):
        parts[first : first + _ROWS] = unit_rows(vectors[first : first + _ROWS] @ axes)


def _principal_axes(vectors: Float32s) -> Float32s:
    """The fewest axes, in eights, that hold :data:`_ENERGY` of the vectors: ``(dim, axes)``."""
    energy, axes = np.linalg.eigh((vectors.T @ vectors).astype(np.float64))
    held = np.cumsum(energy[::-1]) / energy.sum()
    count = int(np.searchsorted(held, _ENERGY)) + 1
    count = -(-count // 8) * 8
    return axes[:, ::-1][:, :count].astype(np.float32)


def _check(vectors: Floats, dim: int, first: int) -> None:
    """Whether ``vectors`` are ``(n, dim)`` of unit norm; ``first`` is the number of the first."""
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise DataError(f"vectors of shape {vectors.shape}: give (n, {dim}), of one model")
    norms = np.linalg.norm(vectors, axis=1)
    wrong = np.flatnonzero(~(np.abs(norms - 1) < _NOT_UNIT))  # so that NaN is wrong, too
    if len(wrong):
        row = int(wrong[0])
        raise DataError(f"vector {first + row}: its norm is {norms[row]:g}: give unit vectors")
