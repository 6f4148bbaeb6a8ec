"""From a score, and how good both sides are, to a log-likelihood ratio.

How high two recordings of one voice score depends on how long and how clean both are, so the same
score says more between short or noisy sides than between long and clean ones:

    llr = slope * score + offset(quality of both sides), the slope above 0,

with an offset linear in measures of quality that do not change when the sides do: prior-weighted
logistic regression (Brummer & Doddington 2013) with quality measures (Mandasari et al., Quality
measure functions for calibration of speaker recognition systems in various duration conditions,
2013). Letting the slope depend on quality as well brought nothing on validation voices.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hive_mtl.description import Calibration, Feature
from hive_mtl.errors import DataError, ModelError
from hive_mtl.metrics import (
    FALSE_ALARM_RATES,
    Bools,
    Float64s,
    Floats,
    checked_trials,
    threshold_at_false_alarm,
)

SPEECH_S = (0.5, 20.0)  # outside, more or less speech changes what a score tells by little
SNR_DB = (0.0, 30.0)  # above, what is measured is the silence of the pauses, not the speech
ENOUGH_VOICES = 20  # a corpus of fewer says too little of its scores to weigh as much as others

_LEAST_SLOPE = 0.01  # of a score that tells nothing: a probability of one half, but in its order
_RIDGE = 1e-2  # of measures' weights at unit spread: no corpus of few voices bends them far
_NEWTON_STEPS = 100
_RANGES: dict[Feature, tuple[float, float]] = {
    "log_shorter": (float(np.log(SPEECH_S[0])), float(np.log(SPEECH_S[1]))),
    "log_longer": (float(np.log(SPEECH_S[0])), float(np.log(SPEECH_S[1]))),
    "lower_snr": SNR_DB,
    "higher_snr": SNR_DB,
}


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """How good one side of each trial is.

    Attributes:
        speech_s: ``(trials,)`` seconds of speech.
        snr_db: ``(trials,)`` signal-to-noise ratio, see :class:`hive_mtl.audio.Quality`.
    """

    speech_s: Floats
    snr_db: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """How the scores of some trials are read: ``llr = slope * score + offset``.

    Attributes:
        slope: above 0.
        offset: ``(trials,)``.
    """

    slope: float
    offset: Float64s

    def llr(self, score: Floats) -> Float64s:
        """The log-likelihood ratio ``(trials,)`` of each score ``(trials,)``."""
        return np.asarray(self.slope * score + self.offset)

    def score_at(self, llr: float) -> Float64s:
        """The score ``(trials,)`` that each trial needs for ``llr``; may lie outside [-1, 1]."""
        return np.asarray((llr - self.offset) / self.slope)


def line(calibration: Calibration, left: Sides, right: Sides) -> Line:
    """How a score between these sides is read; the same where the sides change places.

    Raises:
        ModelError: a score would tell less for 'same voice' the higher it is.
    """
    offset = np.full(np.shape(left.speech_s), calibration.intercept)
    for name, measure in _measures(left, right).items():
        offset = offset + calibration.weights.get(name, 0.0) * measure
    return Line(_slope(calibration), offset)


def extremes(
    calibration: Calibration, scores: tuple[float, float] = (-1.0, 1.0)
) -> tuple[float, float]:
    """The lowest and the highest log-likelihood ratio that any sides can have.

    ``scores`` are the lowest and the highest that there are: those of a cosine, if not given.
    """
    slope = _slope(calibration)
    lowest, highest = (calibration.intercept + slope * score for score in scores)
    for name, ends in _RANGES.items():
        parts = [calibration.weights.get(name, 0.0) * end for end in ends]
        lowest, highest = lowest + min(parts), highest + max(parts)
    return lowest, highest


def fit_scores(score: Floats, target: Bools, weight: Floats) -> Calibration:
    """A calibration of scores alone, for one who does not know how good the sides are.

    Args:
        score: ``(trials,)`` finite.
        target: ``(trials,)`` True for one voice.
        weight: ``(trials,)`` of each trial, see :func:`balanced_weights`.

    Raises:
        DataError: a score is not finite, or a kind of trial is missing.
    """
    weights, intercept = fit_weights({"score": score}, target, weight)
    shape = Calibration(weights=weights, intercept=intercept, thresholds={})
    llr = weights["score"] * np.asarray(score, np.float64) + intercept
    return with_thresholds(shape, llr, target, weight)


def fit_quality(
    score: Floats, sides: tuple[Sides, Sides], target: Bools, weight: Floats
) -> Calibration:
    """A calibration by score and quality, still without thresholds.

    Args:
        score: ``(trials,)`` finite.
        sides: the left and the right side of each trial.
        target: ``(trials,)``.
        weight: ``(trials,)`` of each trial, see :func:`balanced_weights`.

    Raises:
        DataError: a score is not finite, or a kind of trial is missing.
    """
    columns: dict[Feature, Floats] = {"score": score, **_measures(*sides)}
    weights, intercept = fit_weights(columns, target, weight)
    return Calibration(weights=weights, intercept=intercept, thresholds={})


def fit_weights(
    columns: Mapping[Feature, Floats], target: Bools, weight: Floats
) -> tuple[dict[Feature, float], float]:
    """Logistic regression by Newton's method: a weight for each column, and the intercept.

    The labels are softened by Platt's ``1 / (trials of the class + 2)``, which keeps weights finite
    where the classes do not overlap and is nothing where trials are many. A score whose weight
    would not be above zero tells nothing: it keeps next to none, and nothing else has any.

    Args:
        columns: by name, ``(trials,)`` finite; "score" is among them.
        target: ``(trials,)``.
        weight: ``(trials,)``; targets and non-targets should weigh alike in sum.

    Raises:
        DataError: a value is not finite, or a kind of trial is missing.
    """
    for column in columns.values():
        checked_trials(column, target)
        if not np.isfinite(column).all():
            raise DataError("trials: a score is infinite: leave recordings without a vector out")
    matrix = np.stack([np.asarray(column, np.float64) for column in columns.values()], axis=1)
    centre, spread = matrix.mean(axis=0), matrix.std(axis=0)
    spread[spread == 0] = 1.0
    ridge = np.array([0.0 if name == "score" else _RIDGE for name in columns])
    best = _newton((matrix - centre) / spread, ridge, np.asarray(target, np.bool_), weight)
    slopes = best[:-1] / spread
    intercept = best[-1] - slopes @ centre
    if slopes[list(columns).index("score")] < _LEAST_SLOPE:  # the scores tell nothing
        score = columns["score"]
        return {"score": _LEAST_SLOPE}, -_LEAST_SLOPE * float(np.mean(score))
    return dict(zip(columns, slopes.tolist(), strict=True)), float(intercept)


def balanced_weights(
    target: Bools, group: npt.ArrayLike | None = None, voices: Floats | None = None
) -> Float64s:
    """What each trial weighs ``(trials,)``: groups alike, and in each the two kinds alike.

    A group of fewer than :data:`ENOUGH_VOICES` voices weighs less in proportion. One without trials
    of a kind says nothing of what tells them apart: it weighs nothing, unless all are such.

    Args:
        target: ``(trials,)``.
        group: ``(trials,)`` the corpus, say, of each trial; None is one group.
        voices: ``(trials,)`` how many voices its group has; None is enough.
    """
    named = np.zeros(len(target)) if group is None else np.asarray(group)
    names, code = np.unique(named, return_inverse=True)
    kinds = np.asarray(target, np.int64)
    counts = np.zeros((len(names), 2))
    np.add.at(counts, (code, kinds), 1)
    share = np.ones(len(target)) if voices is None else np.minimum(voices / ENOUGH_VOICES, 1)
    whole: Bools = np.asarray((counts > 0).all(axis=1))
    if whole.any():
        share = np.where(whole[code], share, 0.0)
    weight = share / counts[code, kinds]
    total = np.bincount(kinds, weights=weight, minlength=2)
    return np.asarray(weight / (2 * np.where(total > 0, total, 1.0))[kinds])


def with_thresholds(
    calibration: Calibration, llr: Floats, target: Bools, weight: Floats
) -> Calibration:
    """The calibration with the ``llr`` ``(trials,)`` at which each false-alarm rate is reached."""
    thresholds = {
        rate: threshold_at_false_alarm(llr, target, float(rate), weight)
        for rate in FALSE_ALARM_RATES
    }
    return calibration.model_copy(update={"thresholds": thresholds})


def _measures(left: Sides, right: Sides) -> dict[Feature, Floats]:
    """Measures of quality, ``(trials,)`` each, that do not change when the sides do."""
    speech = [np.log(np.clip(side.speech_s, *SPEECH_S)) for side in (left, right)]
    snr = [np.clip(side.snr_db, *SNR_DB) for side in (left, right)]
    return {
        "log_shorter": np.minimum(*speech),
        "log_longer": np.maximum(*speech),
        "lower_snr": np.minimum(*snr),
        "higher_snr": np.maximum(*snr),
    }


def _slope(calibration: Calibration) -> float:
    slope = calibration.weights.get("score", 0.0)
    if slope <= 0:
        raise ModelError(
            f"calibration: its weight of the score is {slope:g}, not above 0: fit it anew with "
            "hive-mtl calibrate"
        )
    return slope


def _newton(design: Float64s, ridge: Float64s, target: Bools, weight: Floats) -> Float64s:
    """The coefficients ``(columns + 1,)`` of a standardised design; the intercept is the last."""
    counts = np.where(target, target.sum(), (~target).sum())
    soft = 1 / (counts + 2)
    label = np.where(target, 1 - soft, soft)
    design = np.column_stack([design, np.ones(len(design))])
    ridge = np.append(ridge, 0.0)

    def loss(coefficients: Float64s) -> float:
        logit = design @ coefficients
        penalty = ridge @ np.square(coefficients) / 2
        return float(weight @ (np.logaddexp(0, logit) - label * logit) + penalty)

    best = np.zeros(design.shape[1])
    for _ in range(_NEWTON_STEPS):
        posterior = np.exp(-np.logaddexp(0, -(design @ best)))
        gradient = design.T @ (weight * (posterior - label)) + ridge * best
        if np.abs(gradient).max() < 1e-9:
            break
        curvature = (design.T * (weight * posterior * (1 - posterior))) @ design + np.diag(ridge)
        step = np.linalg.lstsq(curvature, gradient)[0]
        while loss(best - step) > loss(best):  # a full step may overshoot far from the optimum
            step = step / 2
        best = best - step
    return best
