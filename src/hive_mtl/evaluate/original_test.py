"""The original's test: closed-set identification with the first utterance of each voice enrolled.

Whole utterances are compared, each embedded once. The original compared one random crop of 1.6 s of
each and embedded every enrolment anew for every trial; its crops are here for comparison.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hive_mtl import metrics
from hive_mtl.audio import SAMPLE_RATE, Segment, Source, load, trim
from hive_mtl.errors import AudioError, EmbeddingError
from hive_mtl.evaluate.bootstrap import Bootstrap, Draw
from hive_mtl.evaluate.embedded import EmbeddedTable
from hive_mtl.evaluate.identification import Identification
from hive_mtl.use.model import Model
from hive_mtl.use.progress import with_progress

CROP_S = 1.6
WHOLE = "first utterance enrolled"
CROPPED = "first utterance enrolled, crops of 1.6 s"

Vectors = npt.NDArray[np.float32]


def original_test(
    model: Model, embedded: EmbeddedTable, bootstrap: Bootstrap
) -> list[Identification]:
    """Identifies all utterances of known voices but the first of each, corpus by corpus."""
    crops, missing = _embedded_crops(model, embedded.table, bootstrap.seed)
    results = []
    for corpus in embedded.corpora:
        rows = embedded.comparable(corpus, 0.0)
        rows = rows[np.argsort(np.array(embedded.column("path"), dtype=str)[rows], kind="stable")]
        voice = embedded.voice[rows]
        for scope, vectors, without in (
            (WHOLE, embedded.vectors, embedded.missing),
            (CROPPED, crops, missing),
        ):
            results.append(_identify(corpus, scope, vectors[rows], without[rows], voice, bootstrap))
    return results


def _identify(
    corpus: str,
    scope: str,
    vectors: Vectors,
    missing: npt.NDArray[np.bool_],
    voice: npt.NDArray[np.int64],
    bootstrap: Bootstrap,
) -> Identification:
    speakers, first, speaker = np.unique(voice, return_index=True, return_inverse=True)
    probes = np.setdiff1d(np.arange(len(voice)), first)
    if len(speakers) < 2 or not len(probes):
        return Identification(corpus, scope, len(speakers), len(probes), None)
    scores = vectors[probes] @ vectors[first].T
    scores[missing[probes]] = -np.inf
    scores[:, missing[first]] = -np.inf
    right = metrics.top1(scores, speaker[probes])
    tried_of = np.bincount(speaker[probes], minlength=len(speakers))
    right_of = np.bincount(speaker[probes], weights=right, minlength=len(speakers))

    def accuracy(draw: Draw) -> list[float]:
        return [float(draw @ right_of / max(float(draw @ tried_of), 1.0))]

    estimate = bootstrap.estimate(accuracy, len(speakers))[0]
    return Identification(corpus, scope, len(speakers), len(probes), estimate)


def _embedded_crops(
    model: Model, table: pa.Table, seed: int
) -> tuple[Vectors, npt.NDArray[np.bool_]]:
    """A vector of one random crop of each utterance, and where there is none."""
    vectors = np.zeros((len(table), model.description.embedding_dim), dtype=np.float32)
    missing = np.zeros(len(table), dtype=np.bool_)
    sources = _crops(table, model, np.random.default_rng(seed))
    for row, result in enumerate(with_progress(model.embed_stream(sources), len(table))):
        if isinstance(result, EmbeddingError):
            missing[row] = True
        else:
            vectors[row] = result.vector
    return vectors, missing


def _crops(table: pa.Table, model: Model, rng: np.random.Generator) -> Iterator[Source]:
    size = round(CROP_S * SAMPLE_RATE)
    for batch in table.select(["path", "start_s", "duration_s"]).to_batches():
        for row in batch.to_pylist():
            whole = Segment(Path(row["path"]), row["start_s"], row["duration_s"])
            try:
                wave = trim(load(whole), model.description.trim)
            except AudioError:
                yield whole  # which says again what is wrong with it
                continue
            start = int(rng.integers(max(len(wave) - size, 0) + 1))
            yield wave[start : start + size], SAMPLE_RATE
