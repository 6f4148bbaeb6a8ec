"""Search among a million voices: the gallery, exact and not, beside faiss and beside 512 bits."""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import measure
import numpy as np

from hive_mtl.use.binary import binarise
from hive_mtl.use.gallery import Gallery

DIM, BATCH, K, ROUNDS, BITS = 256, 64, 10, 5, 512
QUERIES = 256  # that recall is counted over
COSINES = (0.5, 0.7)  # of two recordings of one voice
RERANKED = 2_600  # by bits: as many as it takes for a recall of 0.98 (0.26% of a million)
BLOCK = 65_536
# Shares of the variance that lie along the 1st, 2nd, 4th ... principal axis of the embeddings that
# the model that ships gives its training voices: between voices, and within them.
AXIS = np.array([1, 2, 4, 8, 16, 32, 64, 96, 128, 160, 192])
BETWEEN = [873e-4, 520e-4, 455e-4, 297e-4, 180e-4, 88e-4, 29e-4, 12e-4, 3.3e-4, 0.5e-4, 0.1e-4]
WITHIN = [264e-4, 251e-4, 198e-4, 171e-4, 138e-4, 102e-4, 64e-4, 38e-4, 13e-4, 2.4e-4, 0.4e-4]
Search = Callable[[np.ndarray], np.ndarray]  # queries (q, dim) -> rows (q, K)


class Simulated:
    """Voices and recordings of them that spread as real ones do, in DIM dimensions."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = np.random.default_rng(seed)
        self.rotation = np.linalg.qr(self.generator.standard_normal((DIM, DIM)))[0]

    def voices(self, count: int) -> Iterator[np.ndarray]:
        for first in range(0, count, BLOCK):
            yield self._drawn(BETWEEN, min(BLOCK, count - first))

    def recordings(self, voices: np.ndarray) -> np.ndarray:
        cosine = self.generator.uniform(*COSINES, (len(voices), 1))
        noise = self._drawn(WITHIN, len(voices))
        return unit(cosine * voices + np.sqrt(1 - cosine**2) * noise)

    def _drawn(self, shares: list[float], count: int) -> np.ndarray:
        axes = np.linspace(AXIS[0], AXIS[-1], DIM)
        deviation = np.sqrt(np.exp(np.interp(axes, AXIS, np.log(shares))))
        drawn = self.generator.standard_normal((count, DIM), dtype=np.float32)
        return unit(drawn @ (deviation[:, None] * self.rotation).astype(np.float32))


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def rerank(vectors: np.ndarray, query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return rows[np.argsort(-(vectors[rows] @ query))[:K]]


def by_bits(vectors: np.ndarray, codes: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Hamming distances to all ``codes`` ``(words, n)``, in NumPy, then cosines of the nearest."""
    asked = binarise(queries, BITS).view(np.uint64)

    def distances(first: int, last: int) -> np.ndarray:
        total = np.zeros((len(queries), last - first), np.uint16)
        for start in range(first, last, 16_384):
            part = slice(start, min(start + 16_384, last))
            for query, words in enumerate(asked):
                for word, of_query in zip(codes[:, part], words, strict=True):
                    here = total[query, part.start - first : part.stop - first]
                    here += np.bitwise_count(word ^ of_query)
        return total

    ends = np.linspace(0, len(vectors), len(os.sched_getaffinity(0)) + 1).astype(int)
    with ThreadPoolExecutor() as pool:
        found = np.concatenate(list(pool.map(distances, ends[:-1], ends[1:])), axis=1)
        nearest = list(pool.map(lambda each: np.argpartition(each, RERANKED)[:RERANKED], found))
    return np.stack([rerank(vectors, *each) for each in zip(queries, nearest, strict=True)])


def faiss_searches(vectors: np.ndarray) -> dict[str, Search]:
    """None of them where faiss is not installed."""
    try:
        import faiss
    except ImportError:
        print("faiss: not installed (pip install faiss-cpu): left out")
        return {}
    faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))
    flat, binary = faiss.IndexFlatIP(DIM), faiss.IndexBinaryFlat(BITS)
    binary.use_heap = False  # counts distances instead: faster for so many neighbours
    for first in range(0, len(vectors), BLOCK):
        flat.add(vectors[first : first + BLOCK])
        binary.add(binarise(vectors[first : first + BLOCK], BITS))

    def bits(queries: np.ndarray) -> np.ndarray:
        _, nearest = binary.search(binarise(queries, BITS), RERANKED)
        return np.stack([rerank(vectors, *each) for each in zip(queries, nearest, strict=True)])

    return {
        "faiss IndexFlatIP": lambda queries: flat.search(queries, K)[1],
        "faiss IndexBinaryFlat, re-ranked": bits,
    }


def timed(searches: dict[str, Search], queries: np.ndarray) -> dict[str, list[float]]:
    """Milliseconds of each, in turn; the first round is not counted."""
    found: dict[str, list[float]] = {name: [] for name in searches}
    for number in range(1 + ROUNDS):
        for name, search in searches.items():
            start = time.perf_counter()
            search(queries)
            if number:
                found[name].append(1000 * (time.perf_counter() - start))
    return found


def recall(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) / K for a, b in zip(found, exact, strict=True)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voices", type=int, default=1_000_000)
    count = parser.parse_args().voices
    title = f"search: {count} simulated voices of {DIM} dimensions, {K} nearest, {ROUNDS} rounds"
    with measure.report(title), tempfile.TemporaryDirectory() as folder:
        simulated, file = Simulated(), Path(folder) / "gallery"
        start = time.perf_counter()
        Gallery.write(file, simulated.voices(count), stamp="benchmark")
        measure.show("drawing and writing", [time.perf_counter() - start], "s")
        measure.show("gallery, with axes and parts", [file.stat().st_size / count], "bytes a voice")
        measure.show("vectors alone", [4 * DIM], "bytes a voice")
        measure.show("512 bits alone", [BITS / 8], "bytes a voice")
        compare(Gallery(file), simulated)


def compare(gallery: Gallery, simulated: Simulated) -> None:
    vectors = gallery._vectors  # the rows that the others search, too
    blocks = range(0, len(vectors), BLOCK)
    codes = np.concatenate([binarise(vectors[b : b + BLOCK], BITS) for b in blocks])
    codes = np.ascontiguousarray(codes.view(np.uint64).T)
    rows = simulated.generator.integers(0, len(vectors), QUERIES)
    queries = simulated.recordings(vectors[rows])
    searches: dict[str, Search] = {
        "exact": lambda queries: gallery.nearest(queries, K, exact=True)[0],
        "gallery": lambda queries: gallery.nearest(queries, K)[0],
        "512 bits in NumPy, re-ranked": partial(by_bits, vectors, codes),
        **faiss_searches(vectors),
    }
    exact = searches["exact"](queries)
    measure.show("right voice the nearest, exact", [float(np.mean(exact[:, 0] == rows))], "")
    for name, search in searches.items():
        bar = 0.98 if name == "gallery" else None
        found = [search(queries[b : b + BATCH]) for b in range(0, QUERIES, BATCH)]
        measure.show(
            f"recall at {K}: {name}", [recall(np.concatenate(found), exact)], "", at_least=bar
        )
    for batch, bar in ((BATCH, 3), (1, 2)):
        took = timed(searches, queries[:batch])
        for name, each in took.items():
            measure.show(f"batch of {batch}: {name}", each, "ms")
        median = {name: statistics.median(each) for name, each in took.items()}
        faster = median["exact"] / median["gallery"]
        measure.show(f"batch of {batch}: gallery against exact", [faster], "x", at_least=bar)
        if "faiss IndexFlatIP" in median:
            slower = median["exact"] / median["faiss IndexFlatIP"]
            measure.show(f"batch of {batch}: exact against faiss", [slower], "x", at_most=2)


if __name__ == "__main__":
    main()
