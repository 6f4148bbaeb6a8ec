"""What is left of the figures when recordings get shorter, noisier or come over the telephone."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hive_mtl.description import HeadDescription
from hive_mtl.errors import EmbeddingError
from hive_mtl.evaluate.attributes import ALL_CORPORA, Attribute, judge_head
from hive_mtl.evaluate.bootstrap import SEED, Bootstrap, Estimate
from hive_mtl.evaluate.degrade import DEGRADATIONS, embed_degraded, seconds_asked_for
from hive_mtl.evaluate.embedded import EmbeddedTable, collect, scoring_cohort
from hive_mtl.evaluate.verification import Verifier
from hive_mtl.use.embedding import Embedding
from hive_mtl.use.model import Model


@dataclass(frozen=True)
class Condition:
    """One corpus under one degradation; the trials are the same under all of them.

    Attributes:
        name: of the degradation, see :data:`hive_mtl.evaluate.degrade.DEGRADATIONS`.
        corpus: its name.
        utterances: in it.
        embedded: of them, with a vector.
        answerable: of them, with speech enough, and enough above the noise, for ``verify``.
        untouched: of them, shorter than the degradation would make them, and left as they are.
        eer: over all pairs of the corpus, a fraction; None where it is undefined.
        attributes: of the heads that may be asked, where they are labelled.
    """

    name: str
    corpus: str
    utterances: int
    embedded: int
    answerable: int
    untouched: int
    eer: Estimate | None
    attributes: tuple[Attribute, ...]


def judge_conditions(
    model: Model, table: pa.Table, *, min_duration_s: float = 2.0, bootstrap: int = 1000
) -> tuple[Condition, ...]:
    """Embeds every utterance once under each degradation.

    Args:
        model: what is judged.
        table: as :func:`hive_mtl.learn.utterances.conform` makes it.
        min_duration_s: utterances that were shorter to begin with take no part in verification.
        bootstrap: how often speakers are drawn for the confidence intervals.
    """
    resampling = Bootstrap(bootstrap, SEED)
    heads = [head for head in model.description.heads if not head.withheld]
    found: list[Condition] = []
    duration_s = None
    for name in DEGRADATIONS:
        heard_s = np.full(len(table), np.nan)
        results = _timed(embed_degraded(model.embed_stream, table, name), heard_s)
        dim, cohort = model.description.embedding_dim, scoring_cohort(model)
        embedded = collect(table, results, dim, cohort)
        if duration_s is None:  # the first condition leaves the recordings as they are
            duration_s = embedded.duration_s
        embedded = replace(embedded, duration_s=duration_s)
        verifier = Verifier(embedded, model.calibration, resampling)
        attributes = _attributes(embedded, heads, resampling)
        for corpus in embedded.corpora:
            utterances = embedded.comparable(corpus, min_duration_s)
            rows = embedded.corpus == corpus
            found.append(
                Condition(
                    name=name,
                    corpus=corpus,
                    utterances=int(rows.sum()),
                    embedded=int((~embedded.missing[rows]).sum()),
                    answerable=int(embedded.answerable[rows].sum()),
                    untouched=int((heard_s[rows] < seconds_asked_for(name)).sum()),
                    eer=verifier.among(corpus, "all", utterances).eer,
                    attributes=tuple(each for each in attributes if each.corpus == corpus),
                )
            )
    return tuple(found)


def _timed(
    results: Iterable[Embedding | EmbeddingError], heard_s: npt.NDArray[np.float64]
) -> Iterator[Embedding | EmbeddingError]:
    """``results``, whose lengths are written into ``heard_s`` ``(utterances,)`` as they pass."""
    for row, result in enumerate(results):
        if not isinstance(result, EmbeddingError):
            heard_s[row] = result.duration_s
        yield result


def _attributes(
    embedded: EmbeddedTable, heads: list[HeadDescription], resampling: Bootstrap
) -> list[Attribute]:
    judged = [row for head in heads for row in judge_head(embedded, head, resampling)]
    return [row for row in judged if row.corpus != ALL_CORPORA]
