"""The calibration that a model ships with: fitted on voices that it has not learnt from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hive_mtl.calibration import (
    Sides,
    balanced_weights,
    fit_quality,
    line,
    with_thresholds,
)
from hive_mtl.description import Calibration
from hive_mtl.errors import DataError
from hive_mtl.evaluate.degrade import DEGRADATIONS, embed_degraded
from hive_mtl.evaluate.embedded import EmbeddedTable, collect
from hive_mtl.evaluate.splits import SAME_RECORDING
from hive_mtl.learn.validate import MIN_DURATION_S, MIN_VOICES
from hive_mtl.trials import all_pairs
from hive_mtl.use.model import Model

MAX_PAIRS = 10_000  # of each kind, corpus and pairing of degradations: at most 170,000 a corpus

UNCHANGED = next(iter(DEGRADATIONS))

Floats = npt.NDArray[np.float64]
Heard = Mapping[str, EmbeddedTable]
"""By the name of a degradation, what the model made of the table under it."""


@dataclass(frozen=True, eq=False)
class ScoredTrials:
    """Trials of one corpus under one pairing of degradations.

    Attributes:
        corpus: its name.
        voices: in the corpus.
        whole: whether both sides are as they were recorded.
        score: ``(trials,)`` normalised where the model has a cohort, else cosines.
        target: ``(trials,)``.
        left: how good the left sides are.
        right: how good the right sides are.
    """

    corpus: str
    voices: int
    whole: bool
    score: Floats
    target: npt.NDArray[np.bool_]
    left: Sides
    right: Sides


def fit(model: Model, table: pa.Table) -> Calibration:
    """Fits score and quality to whole and degraded utterances; corpora weigh alike.

    Trials between whole utterances weigh as much as all others together, and the thresholds are
    those of whole utterances: what a false-alarm rate promises is about recordings as they come. A
    degraded pair is held to the same log-likelihood ratio.

    Args:
        model: what is calibrated.
        table: utterances of voices that the model has not learnt from, as
            :func:`hive_mtl.evaluate.take_split` gives them.

    Raises:
        DataError: no corpus has enough voices, or voices with two utterances.
    """
    return fit_heard(hear(model, usable(table)))


def usable(table: pa.Table) -> pa.Table:
    """The rows of corpora that tell what scores mean.

    Both halves of one recording share its channel, so their scores are higher than those of one
    voice on two days: such pairs would make the model too sure. They stand in only for corpora that
    have no others, as with one recording a voice.
    """
    found = []
    for corpus in sorted(set(table["corpus"].to_pylist())):
        rows = table.filter(pc.equal(table["corpus"], corpus))
        rows = rows.filter(pc.greater_equal(rows["duration_s"].fill_null(np.inf), MIN_DURATION_S))
        rows = rows.filter(pc.is_valid(rows["speaker"]))
        speakers = rows["speaker"].to_pylist()
        if MIN_VOICES <= len(set(speakers)) < len(speakers):
            found.append((corpus, rows))
    across = {corpus for corpus, _ in found}
    kept = [
        rows
        for corpus, rows in found
        if corpus.removesuffix(SAME_RECORDING) not in across - {corpus}
    ]
    if not kept:
        raise DataError(
            f"data to calibrate on: no corpus has {MIN_VOICES} voices, one of them with two "
            f"utterances of {MIN_DURATION_S:g} s: give more recordings"
        )
    return pa.concat_tables(kept)


def hear(model: Model, table: pa.Table) -> Heard:
    """Embeds a table under every degradation."""
    dim = model.description.embedding_dim
    return {
        name: collect(table, embed_degraded(model.embed_stream, table, name), dim, model.cohort)
        for name in DEGRADATIONS
    }


def fit_heard(heard: Heard) -> Calibration:
    """As :func:`fit`, of what the model has made of the utterances."""
    parts = list(score_trials(heard))
    if not parts:
        raise DataError(
            "data to calibrate on: no corpus has pairs of one voice and of two: give more "
            "recordings, readable ones"
        )
    score = np.concatenate([part.score for part in parts])
    target = np.concatenate([part.target for part in parts])
    left, right = (_joined([getattr(part, side) for part in parts]) for side in ("left", "right"))
    lengths = [len(part.score) for part in parts]
    whole = np.repeat([part.whole for part in parts], lengths)
    corpus = np.repeat([part.corpus for part in parts], lengths)
    pairing = np.repeat(np.arange(len(parts)), lengths)
    voices = np.repeat([part.voices for part in parts], lengths)
    weight = np.zeros(len(score))
    for kind, group in ((whole, corpus), (~whole, pairing)):
        if kind.any():
            weight[kind] = balanced_weights(target[kind], group[kind], voices[kind]) / 2
    found = fit_quality(score, (left, right), target, weight)
    found = found.model_copy(update={"normalised": heard[UNCHANGED].cohort is not None})
    llr = line(found, left, right).llr(score)
    return with_thresholds(found, llr[whole], target[whole], weight[whole])


def score_trials(heard: Heard) -> Iterator[ScoredTrials]:
    """The trials of every corpus: whole with whole, degraded with whole, degraded with degraded."""
    whole = heard[UNCHANGED]
    for corpus in whole.corpora:
        rows = np.flatnonzero(whole.corpus == corpus)
        pairs = all_pairs(
            whole.speaker[rows].tolist(),
            sessions=whole.session[rows].tolist(),
            max_pairs=MAX_PAIRS,
        )
        trials = replace(pairs, left=rows[pairs.left], right=rows[pairs.right])
        for degraded in heard.values():
            for other in (whole,) if degraded is whole else (whole, degraded):
                kept = trials.select(~(degraded.missing[trials.left] | other.missing[trials.right]))
                if kept.target.any() and not kept.target.all():
                    yield ScoredTrials(
                        corpus=corpus,
                        voices=len(set(whole.voice[rows])),
                        whole=degraded is whole,
                        score=degraded.scores(kept, other),
                        target=kept.target,
                        left=degraded.sides(kept.left),
                        right=other.sides(kept.right),
                    )


def _joined(sides: list[Sides]) -> Sides:
    return Sides(
        np.concatenate([side.speech_s for side in sides]),
        np.concatenate([side.snr_db for side in sides]),
    )
