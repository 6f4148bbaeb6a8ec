"""The highest products of queries with many rows, all of unit norm.

A sample of the rows says which products are high, so that one pass over all rows keeps few. NumPy
lets go of the interpreter's lock inside that pass, so threads share the rows.
``benchmarks/search.py`` measures it beside faiss.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hive_mtl.cores import cores

Float32s = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Found = tuple[Indices, Float32s]  # rows and their products with a query, (k,) each
T = TypeVar("T")

_SAMPLE = 16_384  # rows
_FEWEST = 4  # of them: fewer tell little of how many rows are as near
_ROUNDING = np.float32(
    1e-5
)  # by which a product of unit vectors may differ from itself in another block
_AT_ONCE = 2**20  # products, which stay in the cache that cores share
_LEAST_ROWS = 4_096  # a thread is not worth starting for fewer


def highest(vectors: Float32s, queries: Float32s, k: int) -> list[Found]:
    """The ``k`` highest products of each query ``(q, dim)`` with ``vectors`` ``(n, dim)``.

    The highest first; of equal ones, the lower row.
    """
    # the kth of some rows is no higher than the kth of all
    return [_first(*each, k) for each in _reaching(vectors, queries, k)]


def highest_by_part(
    vectors: Float32s, queries: Float32s, parts: tuple[Float32s, Float32s], k: int, candidates: int
) -> list[Found]:
    """Likewise, among the rows alone whose parts have the highest products.

    Args:
        vectors: ``(n, dim)``.
        queries: ``(q, dim)``.
        parts: what is cheaper to compare of both: ``(n, part)`` and ``(q, part)``.
        k: how many for each query.
        candidates: about how many rows for each query are compared as a whole.
    """
    place = max(k, _FEWEST, candidates * len(_sample(vectors)) // len(vectors))
    chosen = _reaching(*parts, place)

    def compare(first: int, last: int) -> list[Found]:
        return [
            _first(rows, vectors.take(rows, axis=0) @ query, k)  # half the time of vectors[rows]
            for query, (rows, _) in zip(queries[first:last], chosen[first:last], strict=True)
        ]

    return [each for part in _in_threads(compare, len(queries)) for each in part]


def _reaching(vectors: Float32s, queries: Float32s, place: int) -> list[Found]:
    """All rows whose product is as high as the one at this place in a sample of the rows."""
    sample = _sample(vectors)

    def limit(first: int, last: int) -> Float32s:
        products = queries[first:last] @ sample.T
        index = max(0, len(sample) - place)
        products.partition(index, axis=1)
        return products[:, index : index + 1] - _ROUNDING

    limits = np.concatenate(_in_threads(limit, len(queries)))
    at_once = max(_LEAST_ROWS, _AT_ONCE // len(queries))

    def search(first: int, last: int) -> list[tuple[Indices, Indices, Float32s]]:
        found, memory = [], np.empty(min(at_once, last - first) * len(queries), np.float32)
        for start in range(first, last, at_once):
            rows = vectors[start : min(start + at_once, last)]
            products = memory[: len(queries) * len(rows)].reshape(len(queries), len(rows))
            np.matmul(queries, rows.T, out=products)
            places = np.flatnonzero(products >= limits)
            query, row = np.divmod(places, len(rows))
            found.append((query, start + row, products.ravel()[places]))
        return found

    passed = chain.from_iterable(_in_threads(search, len(vectors), _LEAST_ROWS))
    query, row, product = map(np.concatenate, zip(*passed, strict=True))
    order = np.argsort(query, kind="stable")
    ends = np.searchsorted(query[order], np.arange(1, len(queries)))
    return list(zip(np.split(row[order], ends), np.split(product[order], ends), strict=True))


def _sample(vectors: Float32s) -> Float32s:
    """Every so many of the rows: from :data:`_SAMPLE` up to twice as many, where there are such."""
    return vectors[:: max(1, len(vectors) // _SAMPLE)]


def _first(rows: Indices, products: Float32s, k: int) -> Found:
    if len(rows) > k:  # few are left to sort
        index = len(rows) - k
        enough = products >= np.partition(products, index)[index]
        rows, products = rows[enough], products[enough]
    order = np.lexsort((rows, -products))[:k]
    return rows[order], products[order]


def _in_threads(work: Callable[[int, int], T], count: int, least: int = 1) -> list[T]:
    """Gives every core an equal share of ``range(count)``, of ``least`` or more: first, last."""
    threads = max(1, min(cores(), count // least))
    ends = [count * part // threads for part in range(threads + 1)]
    if threads == 1:
        return [work(0, count)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, ends[:-1], ends[1:]))
