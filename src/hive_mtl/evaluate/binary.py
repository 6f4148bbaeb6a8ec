"""What is left of the figures where embeddings are kept in few bits."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from hive_mtl import metrics
from hive_mtl.errors import DataError
from hive_mtl.evaluate.bootstrap import FEWEST_SPEAKERS, SEED, Bootstrap, Draw, Estimate
from hive_mtl.evaluate.embedded import EmbeddedTable
from hive_mtl.evaluate.identification import count_identified
from hive_mtl.evaluate.splits import SAME_RECORDING
from hive_mtl.evaluate.verification import pairs_among, trial_weights
from hive_mtl.trials import Trials
from hive_mtl.use.binary import BITS, binarise, projected, signs
from hive_mtl.use.scoring import unit_rows

Floats = npt.NDArray[np.float64]
Float32s = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Change = Callable[[Float32s], Float32s]
Figures = Callable[[Draw], Floats]  # (forms, 2): EER and top-1 of every form

ALL_CORPORA = "(mean over corpora)"
NOTE = (
    "What is kept of a voice, as it is, in bits, and, where the embedding leads with what tells "
    "voices apart, in as few of its first numbers; what it is compared with is in the same form, "
    "or in float32 where that is said. All pairs of a corpus, and one utterance enrolled; "
    "differences from float32 are paired."
)
_FLOAT_BITS = 32
# Products of signs stay below 1, where scores end, and exact, so that equal distances tie.
_SCALE = np.float32(32)


@dataclass(frozen=True)
class Kept:
    """One corpus, compared in one form of the embedding, at the trials and draws of float32.

    Attributes:
        corpus: its name, or :data:`ALL_CORPORA`, the mean over those of five voices and more.
        form: such as "512 bits", or "512 bits against float32": what is kept is in bits, and what
            it is compared with is not.
        size: of what is kept of a voice, in bytes.
        speakers: that occur in a trial.
        eer: a fraction.
        eer_more: than by float32.
        top1: identified with one enrolment, a fraction.
        top1_more: than by float32.
    """

    corpus: str
    form: str
    size: int
    speakers: int
    eer: Estimate
    eer_more: Estimate
    top1: Estimate
    top1_more: Estimate


def judge_binary(
    embedded: EmbeddedTable,
    leading: int | None = None,
    *,
    min_duration_s: float = 2.0,
    bootstrap: int = 1000,
) -> tuple[Kept, ...]:
    """EER over all pairs and top-1 of every corpus: by float32, by bits, and by fewer numbers.

    Scores are normalised where those of the model are, by its cohort in the same form. Corpora
    without target or non-target trials, or without a probe, are left out.

    Args:
        embedded: the utterances.
        leading: how many of the first numbers of an embedding lead; None where none do.
        min_duration_s: shorter utterances take no part.
        bootstrap: how often speakers are drawn for the confidence intervals.
    """
    forms = [_Form("float32", embedded.vectors.shape[1] * _FLOAT_BITS // 8, embedded)]
    forms += _smaller_forms(embedded, leading)
    resampling = Bootstrap(bootstrap, SEED)
    found: list[Kept] = []
    counted: list[tuple[Figures, int]] = []
    for corpus in embedded.corpora:
        utterances = embedded.comparable(corpus, min_duration_s)
        figures = _figures([form.embedded for form in forms], utterances)
        if figures is None:
            continue
        speakers = len(set(embedded.voice[utterances]))
        found += _estimated(corpus, forms, figures, speakers, resampling)
        if speakers >= FEWEST_SPEAKERS and not corpus.endswith(SAME_RECORDING):
            counted.append((figures, speakers))
    if len(counted) > 1:
        found += _estimated(ALL_CORPORA, forms, *_mean(counted), resampling)
    return tuple(found)


@dataclass(frozen=True)
class _Form:
    name: str
    size: int
    embedded: EmbeddedTable


@dataclass(frozen=True, eq=False)
class _AgainstKept(EmbeddedTable):
    """Utterances whose right sides are what was kept of them."""

    kept: EmbeddedTable | None = None

    def scores(self, trials: Trials, other: EmbeddedTable | None = None) -> Floats:
        return super().scores(trials, other or self.kept)

    def score_matrix(
        self, left: Indices, right: Indices, other: EmbeddedTable | None = None
    ) -> Floats:
        return super().score_matrix(left, right, other or self.kept)


def _smaller_forms(embedded: EmbeddedTable, leading: int | None) -> Iterator[_Form]:
    for bits in BITS:
        as_bits = partial(_as_bits, bits=bits, leading=leading)
        as_projected = partial(projected, bits=bits, leading=leading)
        kept = _changed(embedded, as_bits, as_bits)
        yield _Form(f"{bits} bits", bits // 8, kept)
        # each side meets the cohort in the form of the other side
        kept = _changed(embedded, as_bits, as_projected)
        asked = _changed(embedded, as_projected, as_bits)
        against = _AgainstKept(**_fields(asked), kept=kept)
        yield _Form(f"{bits} bits against float32", bits // 8, against)
        if leading is not None:
            count = bits // _FLOAT_BITS
            first = partial(_first, count=count)
            form = _changed(embedded, first, first)
            yield _Form(f"first {count} numbers in float32", bits // 8, form)


def _as_bits(vectors: Float32s, bits: int, leading: int | None) -> Float32s:
    return signs(binarise(vectors, bits, leading)) / _SCALE


def _first(vectors: Float32s, count: int) -> Float32s:
    return unit_rows(vectors[:, :count])


def _changed(embedded: EmbeddedTable, change: Change, change_cohort: Change) -> EmbeddedTable:
    cohort = None if embedded.cohort is None else change_cohort(embedded.cohort)
    return replace(embedded, vectors=change(embedded.vectors), cohort=cohort)


def _fields(embedded: EmbeddedTable) -> dict[str, Any]:
    return {field.name: getattr(embedded, field.name) for field in fields(embedded)}


def _figures(forms: Sequence[EmbeddedTable], utterances: Indices) -> Figures | None:
    """The figures of a corpus, in every form at one draw; None where they are undefined."""
    embedded = forms[0]
    trials = pairs_among(embedded, utterances)
    counts = [count_identified(form, utterances, trials.across_sessions, SEED) for form in forms]
    tried = counts[0][0]
    if trials.target.all() or not trials.target.any() or not tried.any():
        return None
    missing = embedded.missing[trials.left] | embedded.missing[trials.right]
    ranked = [
        metrics.rank(
            metrics.penalise_missing(form.scores(trials), trials.target, missing), trials.target
        )
        for form in forms
    ]
    weigh = trial_weights(embedded.voice, trials)

    def figures(draw: Draw) -> Floats:
        if draw @ tried == 0:
            raise DataError("identification: no probes drawn")
        weights = weigh(draw)
        eer = [each.error_rates(weights).eer() for each in ranked]
        top1 = [draw @ right / (draw @ tried) for _, right in counts]
        return np.stack([eer, top1], axis=1)

    return figures


def _mean(counted: Sequence[tuple[Figures, int]]) -> tuple[Figures, int]:
    """The mean over corpora, whose speakers are all drawn together."""
    ends = np.cumsum([speakers for _, speakers in counted])

    def mean(draw: Draw) -> Floats:
        parts = np.split(draw, ends[:-1])
        found = [figures(part) for (figures, _), part in zip(counted, parts, strict=True)]
        return np.asarray(np.mean(found, axis=0))

    return mean, int(ends[-1])


def _estimated(
    corpus: str, forms: Sequence[_Form], figures: Figures, speakers: int, bootstrap: Bootstrap
) -> Iterator[Kept]:
    def with_differences(draw: Draw) -> list[float]:
        found = figures(draw)
        return np.concatenate([found, found - found[0]], axis=1).ravel().tolist()

    estimates = iter(bootstrap.estimate(with_differences, speakers))
    for form in forms:
        eer, top1, eer_more, top1_more = islice(estimates, 4)
        yield Kept(corpus, form.name, form.size, speakers, eer, eer_more, top1, top1_more)
