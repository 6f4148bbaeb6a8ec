"""The original's test: closed-set identification with the first utterance of each voice enrolled.

Whole utterances are compared, each embedded once. The original compared one random crop of 1.6 s of
each and embedded every enrolment anew for every trial; its crops are here for comparison.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hive_mtl.audio import SAMPLE_RATE, Source, load, trim
from hive_mtl.errors import AudioError, EmbeddingError
from hive_mtl.evaluate.bootstrap import Bootstrap
from hive_mtl.evaluate.embedded import EmbeddedTable, segments
from hive_mtl.evaluate.identification import Identification, identified, top1
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
    vectors, missing = _embedded_crops(model, embedded.table, bootstrap.seed)
    embedded = replace(embedded, cohort=None)  # the original compared cosines
    cropped = replace(embedded, vectors=vectors, missing=missing)
    return [
        _identify(each, corpus, scope, bootstrap)
        for corpus in embedded.corpora
        for scope, each in ((WHOLE, embedded), (CROPPED, cropped))
    ]


def _identify(
    embedded: EmbeddedTable, corpus: str, scope: str, bootstrap: Bootstrap
) -> Identification:
    rows = embedded.comparable(corpus, 0.0)
    rows = rows[np.argsort(np.array(embedded.column("path"), dtype=str)[rows], kind="stable")]
    _, first, speaker = np.unique(embedded.voice[rows], return_index=True, return_inverse=True)
    probes = np.setdiff1d(np.arange(len(rows)), first)
    found = identified(embedded, rows[probes], rows[first], speaker[probes])
    tried, right = np.zeros(len(first)), np.zeros(len(first))
    tried += np.bincount(speaker[probes], minlength=len(first))
    right += np.bincount(speaker[probes], weights=found, minlength=len(first))
    accuracy = top1(tried, right, bootstrap)
    return Identification(corpus, scope, len(first), len(probes), accuracy)


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
    for whole in segments(table):
        try:
            wave = trim(load(whole), model.description.trim)
        except AudioError:
            yield whole  # which says again what is wrong with it
            continue
        start = int(rng.integers(max(len(wave) - size, 0) + 1))
        yield wave[start : start + size], SAMPLE_RATE
