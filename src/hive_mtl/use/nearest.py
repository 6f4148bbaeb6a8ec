"""The highest cosines among many rows: by all of them, or by bits first.

NumPy lets go of the interpreter's lock inside these loops, so threads share the rows. Measured
against faiss by ``benchmarks/search.py``.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from hive_mtl.use.cores import cores

Floats = npt.NDArray[np.float32]
Words = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]
T = TypeVar("T")
Found = tuple[Int64s, Floats]  # rows and cosines, (k,), the highest first

MOST = 100  # asked for, where bits choose: enough candidates must stand behind them
_BLOCK = 16_384  # rows: what is made of them stays in a core's cache
_COARSE_WORDS = 2  # of every row
_COARSE_SHARE = 0.04  # of the rows that these let pass
_MIDDLE_WORDS = 4
_MIDDLE = 8_000  # rows that these let pass
_RERANKED = 800  # rows that all bits let pass
_SAMPLE = 16_384  # rows by which it is estimated what is near


def by_cosine(vectors: Floats, queries: Floats, k: int) -> tuple[Int64s, Floats]:
    """Compares ``queries`` ``(q, dim)`` with all ``vectors`` ``(n, dim)``: rows, cosines."""

    def search(first: int, last: int) -> list[Found]:
        rows = np.empty((len(queries), 0), np.int64)
        cosines = np.empty((len(queries), 0), np.float32)
        best = [(rows[i], cosines[i]) for i in range(len(queries))]
        for start in range(first, last, _BLOCK):
            scores = queries @ vectors[start : min(start + _BLOCK, last)].T
            for query, (found, score) in enumerate(best):
                enough = score[-1] if len(score) == k else -np.inf
                near = np.flatnonzero(scores[query] > enough)
                if len(near):
                    merged = np.append(found, start + near), np.append(score, scores[query, near])
                    best[query] = _highest(*merged, k)
        return best

    return _merged(_in_threads(search, len(vectors), _BLOCK), k)


def by_bits(
    vectors: Floats, codes: Words, queries: tuple[Floats, Words], k: int
) -> tuple[Int64s, Floats]:
    """Takes the rows whose bits are nearest and compares those alone.

    A part of the bits rules out most rows, more bits most of what is left, all bits all but
    :data:`_RERANKED`.

    Args:
        vectors: ``(n, dim)``.
        codes: ``(words, n)``.
        queries: ``(q, dim)`` and their bits ``(q, words)``.
        k: at most :data:`MOST`.
    """
    asked, bits = queries
    limits = _coarse_limits(codes, bits)

    def search(first: int, last: int) -> list[tuple[Int64s, npt.NDArray[np.uint16]]]:
        coarse = _coarsely_near(codes, bits, limits, (first, last))
        return [_near(codes, each, rows) for each, rows in zip(bits, coarse, strict=True)]

    parts = _in_threads(search, len(vectors), _BLOCK)

    def compare(first: int, last: int) -> list[Found]:
        found = []
        for query in range(first, last):
            rows = np.concatenate([part[query][0] for part in parts])
            distance = np.concatenate([part[query][1] for part in parts])
            rows = rows[_lowest(distance, _RERANKED)]
            found.append(_highest(rows, vectors[rows] @ asked[query], k))
        return found

    found = [each for part in _in_threads(compare, len(asked)) for each in part]
    return np.stack([rows for rows, _ in found]), np.stack([cosines for _, cosines in found])


def _coarse_limits(codes: Words, bits: Words) -> list[np.uint8]:
    """How far in the first words the nearest :data:`_COARSE_SHARE` of all rows reach."""
    every = max(1, codes.shape[1] // _SAMPLE)
    sample = np.ascontiguousarray(codes[:_COARSE_WORDS, ::every])
    place = int(_COARSE_SHARE * sample.shape[1])
    return [np.partition(_distance(sample, each), place)[place] for each in bits]


def _coarsely_near(
    codes: Words, bits: Words, limits: list[np.uint8], rows: tuple[int, int]
) -> list[Int64s]:
    """For each query, which of ``rows`` lie within its limit by the first words."""
    found: list[list[Int64s]] = [[] for _ in bits]
    for start in range(*rows, _BLOCK):
        block = codes[:_COARSE_WORDS, start : min(start + _BLOCK, rows[1])]
        for query, each in enumerate(bits):
            near = np.flatnonzero(_distance(block, each) <= limits[query])
            found[query].append(near + start)
    return [np.concatenate(each) for each in found]


def _near(codes: Words, query: Words, rows: Int64s) -> tuple[Int64s, npt.NDArray[np.uint16]]:
    """The rows that are nearest by all bits, with their distances."""
    distance = _distance(codes[:_MIDDLE_WORDS].take(rows, axis=1), query, np.uint16)
    nearest = _lowest(distance, _MIDDLE)
    rows, distance = rows[nearest], distance[nearest]
    rest = codes[_MIDDLE_WORDS:].take(rows, axis=1)
    distance += _distance(rest, query[_MIDDLE_WORDS:], np.uint16)
    nearest = _lowest(distance, _RERANKED)
    return rows[nearest], distance[nearest]


def _distance(codes: Words, query: Words, dtype: Any = np.uint8) -> npt.NDArray[Any]:
    """In how many bits of the given words rows ``(words, n)`` differ from a query ``(words,)``."""
    differing = np.empty(codes.shape[1], np.uint64)
    count = np.empty(codes.shape[1], np.uint8)
    total = np.zeros(codes.shape[1], dtype)
    for word, of_query in zip(codes, query, strict=False):
        np.bitwise_xor(word, of_query, out=differing)
        np.bitwise_count(differing, out=count)
        total += count
    return total


def _lowest(values: npt.NDArray[Any], count: int) -> Int64s:
    """Where the ``count`` lowest are."""
    if len(values) <= count:
        return np.arange(len(values))
    return np.argpartition(values, count)[:count]


def _highest(rows: Int64s, cosines: Floats, k: int) -> Found:
    """The ``k`` highest, the highest first; of equal ones, the lower row."""
    if len(rows) > 4 * k:  # sort few
        least = np.partition(cosines, len(cosines) - k)[len(cosines) - k]
        rows, cosines = rows[cosines >= least], cosines[cosines >= least]
    order = np.lexsort((rows, -cosines))[:k]
    return rows[order], cosines[order]


def _merged(parts: list[list[Found]], k: int) -> tuple[Int64s, Floats]:
    """What the parts found for each query, together."""
    found = [
        _highest(np.concatenate([r for r, _ in each]), np.concatenate([c for _, c in each]), k)
        for each in zip(*parts, strict=True)
    ]
    return np.stack([rows for rows, _ in found]), np.stack([cosines for _, cosines in found])


def _in_threads(work: Callable[[int, int], T], count: int, least: int = 1) -> list[T]:
    """Gives every core an equal share of ``range(count)``: first, last; ``least`` at least."""
    threads = max(1, min(cores(), count // least))
    ends = [count * part // threads for part in range(threads + 1)]
    if threads == 1:
        return [work(0, count)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, ends[:-1], ends[1:]))
