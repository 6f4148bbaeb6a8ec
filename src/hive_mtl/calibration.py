"""From a cosine score, and how good both sides are, to a log-likelihood ratio.

A cosine tells less where a side is short or noisy, so what it is worth depends on both sides. For
given sides the log-likelihood ratio is a line in the score,

    llr = slope * score + offset,

and slope and offset are themselves linear in measures of quality that do not change when the sides
do: prior-weighted logistic regression (Brummer & Doddington 2013) with quality measures (Mandasari
et al., Quality measure functions for calibration of speaker recognition systems in various duration
conditions, 2013).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, cast, get_args

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
SCORE_ALONE: tuple[Feature, ...] = ("score",)

_LEAST_SLOPE = 0.01  # of a score that tells nothing: a probability of one half, but in its order
_RIDGE = 1e-4  # of measures' weights at unit spread, which stay finite where they move together
_NEWTON_STEPS = 100
_TIMES = "score*"
_MEASURES: tuple[Feature, ...] = ("log_shorter", "log_longer", "lower_snr", "higher_snr")
_LADDER: tuple[tuple[Feature, ...], ...] = (
    ("score", *_MEASURES, "score*log_shorter", "score*lower_snr"),
    ("score", *_MEASURES),
    SCORE_ALONE,
)
_RANGES = {
    "log_shorter": tuple(np.log(SPEECH_S)),
    "log_longer": tuple(np.log(SPEECH_S)),
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
    """How the scores of some trials are read: ``llr = slope * score + offset``, the slope above 0.

    Attributes:
        slope: ``(trials,)``.
        offset: ``(trials,)``.
    """

    slope: Float64s
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
    return _line(calibration, _measures(left, right))


def extremes(calibration: Calibration) -> tuple[float, float]:
    """The lowest and the highest log-likelihood ratio that any cosine and any sides can have."""
    ends = _line(calibration, _corners())
    return float((ends.offset - ends.slope).min()), float((ends.offset + ends.slope).max())


def fit_scores(score: Floats, target: Bools, group: npt.ArrayLike | None = None) -> Calibration:
    """A calibration of scores alone, for one who does not know how good the sides are.

    Args:
        score: ``(trials,)`` finite.
        target: ``(trials,)`` True for one voice.
        group: ``(trials,)`` the corpus of each trial; corpora weigh alike. None is one corpus.

    Raises:
        DataError: a score is not finite, or a kind of trial is missing.
    """
    weight = balanced_weights(target, np.zeros(len(target)) if group is None else group)
    weights, intercept = fit_weights({"score": score}, target, weight)
    shape = Calibration(weights=weights, intercept=intercept, thresholds={})
    llr = weights["score"] * np.asarray(score, np.float64) + intercept
    return with_thresholds(shape, llr, target, weight)


def fit_quality(
    score: Floats, sides: tuple[Sides, Sides], target: Bools, weight: Floats
) -> Calibration:
    """A calibration by score and quality, still without thresholds.

    Where the fit would let a higher score tell less for some quality, measures are left out, in the
    end all.

    Args:
        score: ``(trials,)`` finite.
        sides: the left and the right side of each trial.
        target: ``(trials,)``.
        weight: ``(trials,)`` of each trial, see :func:`balanced_weights`.
    """
    columns = _features(score, _measures(*sides))
    for names in _LADDER:
        weights, intercept = fit_weights({name: columns[name] for name in names}, target, weight)
        found = Calibration(weights=weights, intercept=intercept, thresholds={})
        if (_slope(found, _corners()) >= _LEAST_SLOPE).all():
            break
    return found


def fit_weights(
    columns: Mapping[Feature, Floats], target: Bools, weight: Floats
) -> tuple[dict[Feature, float], float]:
    """Logistic regression by Newton's method: a weight for each column, and the intercept.

    The labels are softened by Platt's ``1 / (trials of the class + 2)``, which keeps weights finite
    where the classes do not overlap and is nothing where trials are many. The weight of the score
    is held above zero.

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
    found = dict(zip(columns, slopes.tolist(), strict=True))
    if tuple(found) == SCORE_ALONE and found["score"] < _LEAST_SLOPE:
        found["score"] = _LEAST_SLOPE
        intercept = -_LEAST_SLOPE * centre[0]
    return found, float(intercept)


def balanced_weights(target: Bools, group: npt.ArrayLike) -> Float64s:
    """What each trial weighs ``(trials,)`` where groups weigh alike, and kinds alike in each.

    A group without trials of one kind says nothing of what tells them apart: it weighs nothing,
    unless all are such.

    Args:
        target: ``(trials,)``.
        group: ``(trials,)`` the corpus, say, of each trial.
    """
    names, code = np.unique(np.asarray(group), return_inverse=True)
    kinds = np.asarray(target, np.int64)
    counts = np.zeros((len(names), 2))
    np.add.at(counts, (code, kinds), 1)
    whole = (counts > 0).all(axis=1)
    if whole.any():
        weights = np.where(whole, 0.5 / whole.sum(), 0.0)[code]
        return np.asarray(weights / counts[code, kinds])
    return np.asarray(0.5 / np.maximum(counts.sum(axis=0), 1)[kinds])


def with_thresholds(
    calibration: Calibration, llr: Floats, target: Bools, weight: Floats
) -> Calibration:
    """The calibration with the ``llr`` ``(trials,)`` at which each false-alarm rate is reached."""
    thresholds = {
        rate: threshold_at_false_alarm(llr, target, float(rate), weight)
        for rate in FALSE_ALARM_RATES
    }
    return calibration.model_copy(update={"thresholds": thresholds})


def _measures(left: Sides, right: Sides) -> dict[str, Float64s]:
    """Measures of quality, ``(trials,)`` each, that do not change when the sides do."""
    speech = [np.log(np.clip(side.speech_s, *SPEECH_S)) for side in (left, right)]
    snr = [np.clip(side.snr_db, *SNR_DB) for side in (left, right)]
    return {
        "log_shorter": np.minimum(*speech),
        "log_longer": np.maximum(*speech),
        "lower_snr": np.minimum(*snr),
        "higher_snr": np.maximum(*snr),
    }


def _corners() -> dict[str, Float64s]:
    """The ends of all measures: what is linear in each has its extremes there."""
    grid = np.array(list(product(*_RANGES.values())))
    return dict(zip(_RANGES, grid.T, strict=True))


def _features(score: Floats, measures: Mapping[str, Float64s]) -> dict[Feature, Float64s]:
    score = np.asarray(score, np.float64)
    every = {"score": score, **measures}
    every |= {_TIMES + name: score * measure for name, measure in measures.items()}
    return {name: every[name] for name in get_args(Feature)}


def _slope(calibration: Calibration, measures: Mapping[str, Float64s]) -> Float64s:
    weights = cast(dict[str, float], calibration.weights)
    slope: Any = weights.get("score", 0.0)
    for name, measure in measures.items():
        slope = slope + weights.get(_TIMES + name, 0.0) * measure
    return np.asarray(slope)


def _line(calibration: Calibration, measures: Mapping[str, Float64s]) -> Line:
    weights = cast(dict[str, float], calibration.weights)
    slope = _slope(calibration, measures)
    if not (slope > 0).all():
        raise ModelError(
            "calibration: a higher score would tell less for 'same voice': fit it anew with "
            "hive-mtl calibrate, or take the file with it away"
        )
    offset: Any = calibration.intercept
    for name, measure in measures.items():
        offset = offset + weights.get(name, 0.0) * measure
    return Line(slope, np.asarray(offset))


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
