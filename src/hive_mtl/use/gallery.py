"""Unit vectors of many voices in one file, and which of them are nearest.

The file: a header, the float32 matrix ``(voices, dim)`` and the bits of every row (see
:mod:`hive_mtl.use.binary`), as ``(words, voices)`` 64-bit numbers, so that the first words of all
rows lie together. All is little-endian and memory-mapped: opening costs nothing, and processes
share the pages.
"""

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from hive_mtl.atomic import atomic_write
from hive_mtl.errors import DataError
from hive_mtl.use import nearest
from hive_mtl.use.binary import binarise, words

Floats = npt.NDArray[np.floating[Any]]
Float32s = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]

BITS = 512
SMALL = 20_000  # voices: with fewer, comparing all takes no longer than choosing among them
_MAGIC = b"HIVEGAL1"
_HEADER = struct.Struct("<8sIIQ")  # magic, dim, bytes of the stamp, voices; then the stamp
_ALIGNMENT = 64  # of the matrix, in bytes
_ROWS = 16_384  # written at once
_NOT_UNIT = 1e-3


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
        self.dim, voices, self.stamp, start = _read_header(file)
        end = start + 4 * voices * self.dim
        size = Path(file).stat().st_size
        if size != end + voices * BITS // 8:
            raise DataError(
                f"{file}: a gallery of {voices} voices is {end + voices * BITS // 8} bytes, and "
                f"this file is {size}: write it anew"
            )
        if voices == 0:
            self._vectors = np.empty((0, self.dim), np.float32)
            self._codes = np.empty((BITS // 64, 0), np.uint64)
            return
        self._vectors = np.memmap(file, "<f4", "r", start, (voices, self.dim)).view(np.ndarray)
        self._codes = np.memmap(file, "<u8", "r", end, (BITS // 64, voices)).view(np.ndarray)

    def __len__(self) -> int:
        return len(self._vectors)

    @staticmethod
    def write(file: Path, vectors: Iterable[Float32s], *, stamp: str) -> None:
        """Writes a gallery in bounded memory; it is there whole or not at all.

        Args:
            file: to write.
            vectors: of the voices, in blocks ``(n, dim)`` of unit norm.
            stamp: what identifies them to the reader, such as the model's id.

        Raises:
            DataError: a block does not fit the others, a row is not of unit norm, or the file
                cannot be written.
        """
        told = stamp.encode()
        dim = voices = 0
        with atomic_write(file) as temporary, temporary.open("w+b") as stream:
            start = _write_header(stream, 0, 0, told)
            for block in vectors:
                dim = dim or block.shape[-1]
                _check(block, dim, voices)
                stream.write(np.ascontiguousarray(block, dtype="<f4"))
                voices += len(block)
            _write_header(stream, dim, voices, told)
            stream.truncate(start + voices * (4 * dim + BITS // 8))
            stream.flush()
            if voices:
                _write_codes(temporary, start, voices, dim)

    def nearest(self, queries: Floats, k: int, *, exact: bool = False) -> tuple[Int64s, Float32s]:
        """The voices of the highest cosines.

        Unless all voices are compared, those are chosen by their bits whose cosines are then
        computed: about 99 of 100 that belong to the ten nearest are found.

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
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        k = min(k, len(self))
        if k < 1 or len(queries) == 0:
            k = max(k, 0)
            return np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
        _check(queries, self.dim, 0)
        if exact or len(self) < SMALL or k > nearest.MOST:
            return nearest.by_cosine(self._vectors, queries, k)
        asked = words(binarise(queries, BITS))
        return nearest.by_bits(self._vectors, self._codes, (queries, asked), k)


def _check(vectors: Floats, dim: int, first: int) -> None:
    """Whether ``vectors`` are ``(n, dim)`` of unit norm; ``first`` is the number of the first."""
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise DataError(f"vectors of shape {vectors.shape}: give (n, {dim}), of one model")
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    wrong = np.flatnonzero(~(np.abs(norms - 1) < _NOT_UNIT))  # so that NaN is wrong, too
    if len(wrong):
        row = int(wrong[0])
        raise DataError(f"vector {first + row}: its norm is {norms[row]:g}: give unit vectors")


def _read_header(file: Path) -> tuple[int, int, str, int]:
    """Dim, voices, stamp, and where the matrix begins."""
    try:
        with Path(file).open("rb") as stream:
            head = stream.read(_HEADER.size)
            if len(head) < _HEADER.size or not head.startswith(_MAGIC):
                raise DataError(
                    f"{file}: not a gallery of voices: give one that Gallery.write made"
                )
            _, dim, length, voices = _HEADER.unpack(head)
            stamp = stream.read(length).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its header is damaged"
        raise DataError(f"{file}: cannot be read ({reason}): write the gallery anew") from error
    return dim, voices, stamp, _aligned(_HEADER.size + length)


def _write_header(stream: BinaryIO, dim: int, voices: int, stamp: bytes) -> int:
    """Writes it and gives where the matrix begins, which is where the stream then stands."""
    start = _aligned(_HEADER.size + len(stamp))
    stream.seek(0)
    stream.write((_HEADER.pack(_MAGIC, dim, len(stamp), voices) + stamp).ljust(start, b"\0"))
    return start


def _write_codes(file: Path, start: int, voices: int, dim: int) -> None:
    vectors = np.memmap(file, "<f4", "r", start, (voices, dim))
    codes = np.memmap(file, "<u8", "r+", start + vectors.nbytes, (BITS // 64, voices))
    for first in range(0, voices, _ROWS):
        rows = slice(first, first + _ROWS)
        codes[:, rows] = words(binarise(vectors[rows], BITS)).T
    codes.flush()


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
