"""The figures by which voice embeddings are judged.

Scores are real numbers, higher for the same voice; a trial is accepted where its score is at or
above the threshold. A trial that could not be scored, because a recording gave no vector, is an
error at every threshold: :func:`penalise_missing` writes it as ``-inf`` for a target (never
accepted) and ``+inf`` for a non-target (always accepted), so refusing never helps. Any other score
that is not finite is a mistake and raises ``DataError``, as does a class without a trial.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hive_mtl.errors import DataError

Floats = npt.NDArray[np.floating[Any]]
Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

P_TARGET = 0.01  # the prior of the NIST and VoxSRC detection cost
FALSE_ALARM_RATES = ("0.1", "0.01", "0.001")  # whose thresholds a calibration keeps
CALIBRATION_BINS = 15  # of the expected calibration error, as in Guo et al.
_WEIGHTLESS = "weights: a class of trials weighs nothing: give both classes some weight"


@dataclass(frozen=True)
class ErrorRates:
    """The corners of a DET curve.

    Attributes:
        threshold: ``(corners,)`` rising: every distinct finite score, then infinity.
        miss: ``(corners,)`` fraction of targets rejected at that threshold, rising.
        false_alarm: ``(corners,)`` fraction of non-targets accepted at that threshold, falling.
    """

    threshold: Float64s
    miss: Float64s
    false_alarm: Float64s

    def eer(self) -> float:
        """Equal error rate: where the straight lines that join the corners meet miss = false alarm.

        A tie between targets and non-targets is one sloping line, so neither order of the tied
        trials is favoured. (The convex hull of Brummer's ROCCH-EER is not taken: the field
        reports the interpolated one.)
        """
        gap = self.miss - self.false_alarm  # rises from at most 0 to at least 0
        after = int(np.argmax(gap >= 0))
        if after == 0:
            return float(self.miss[0])
        share = gap[after - 1] / (gap[after - 1] - gap[after])
        return float(self.miss[after - 1] + share * (self.miss[after] - self.miss[after - 1]))

    def min_dcf(self, p_target: float = P_TARGET) -> float:
        """Least detection cost over all thresholds; see :func:`min_dcf`."""
        cost = p_target * self.miss + (1 - p_target) * self.false_alarm
        return float(np.min(cost) / min(p_target, 1 - p_target))


@dataclass(frozen=True)
class RankedTrials:
    """Trials sorted by score once, to be weighted many times.

    Attributes:
        order: ``(trials,)`` which trial stands at each rank, the lowest score first.
        target: ``(trials,)`` by rank.
        corner: ``(corners,)`` the first rank that is accepted at each threshold.
        threshold: ``(corners,)`` as in :class:`ErrorRates`.
    """

    order: Indices
    target: Bools
    corner: Indices
    threshold: Float64s

    def error_rates(self, weights: Floats | None = None) -> ErrorRates:
        """The error rates where each trial counts ``weights``, ``(trials,)`` in their first order.

        Raises:
            DataError: all targets or all non-targets weigh nothing.
        """
        ranked = np.ones(len(self.order)) if weights is None else weights[self.order]
        below_target = _sums_below(np.where(self.target, ranked, 0.0))
        below_other = _sums_below(np.where(self.target, 0.0, ranked))
        if below_target[-1] <= 0 or below_other[-1] <= 0:
            raise DataError(_WEIGHTLESS)
        return ErrorRates(
            threshold=self.threshold,
            miss=below_target[self.corner] / below_target[-1],
            false_alarm=1 - below_other[self.corner] / below_other[-1],
        )


def rank(scores: Floats, target: Bools) -> RankedTrials:
    """Sorts trials. ``scores`` ``(trials,)``, ``target`` ``(trials,)`` True for one voice."""
    score, is_target = checked_trials(scores, target)
    order = np.argsort(score, kind="stable")
    ranked = score[order]
    start = int(np.searchsorted(ranked, -np.inf, side="right"))
    end = int(np.searchsorted(ranked, np.inf, side="left"))
    threshold, first = np.unique(ranked[start:end], return_index=True)
    return RankedTrials(
        order=order,
        target=is_target[order],
        corner=np.append(start + first, end),
        threshold=np.append(threshold, np.inf),
    )


def det_points(scores: Floats, target: Bools, weights: Floats | None = None) -> ErrorRates:
    """The detection error trade-off of ``(trials,)`` scores."""
    return rank(scores, target).error_rates(weights)


def eer(scores: Floats, target: Bools, weights: Floats | None = None) -> float:
    """Equal error rate, a fraction from 0 to 1; see :meth:`ErrorRates.eer`.

    Args:
        scores: ``(trials,)``.
        target: ``(trials,)`` True where one voice said both.
        weights: ``(trials,)`` how often each trial counts; once each if None.

    Raises:
        DataError: a score is NaN, a class has no trial or no weight.
    """
    return det_points(scores, target, weights).eer()


def min_dcf(
    scores: Floats, target: Bools, p_target: float = P_TARGET, weights: Floats | None = None
) -> float:
    """Least normalised detection cost over all thresholds, both kinds of error costing 1.

    ``min_t (p P_miss(t) + (1 - p) P_fa(t)) / min(p, 1 - p)`` (NIST SRE evaluation plans). At most
    1 unless non-targets are missing, which cost at every threshold.
    """
    return det_points(scores, target, weights).min_dcf(p_target)


def cllr(llr: Floats, target: Bools, weights: Floats | None = None) -> float:
    """Cost of log-likelihood ratios in bits: 0 is perfect, 1 says nothing, above 1 misleads.

    ``llr`` ``(trials,)`` are natural logarithms; an infinite penalty makes the cost infinite.
    Source: Brummer & du Preez, Application-independent evaluation of speaker detection, 2006.
    """
    return balanced_mean(llr_cost(llr, target), target, weights)


def llr_cost(llr: Floats, target: Bools) -> Float64s:
    """What each log-likelihood ratio ``(trials,)`` adds to :func:`cllr`, in bits."""
    llr, target = checked_trials(llr, target)
    return np.asarray(np.logaddexp(0, np.where(target, -llr, llr)) / np.log(2))


def balanced_mean(costs: Floats, target: Bools, weights: Floats | None = None) -> float:
    """Mean of ``costs`` ``(trials,)`` with targets and non-targets counting a half each."""
    weight = np.ones(len(costs)) if weights is None else weights
    return (_mean(costs[target], weight[target]) + _mean(costs[~target], weight[~target])) / 2


def penalise_missing(scores: Floats, target: Bools, missing: Bools) -> Float64s:
    """The scores ``(trials,)``, with trials that could not be scored as errors at any threshold."""
    return np.where(missing, np.where(target, -np.inf, np.inf), scores)


def threshold_at_false_alarm(
    scores: Floats, target: Bools, rate: float, weights: Floats | None = None
) -> float:
    """The lowest threshold that accepts at most the fraction ``rate`` of the non-targets.

    Where there are fewer than ``1 / rate`` non-targets it lies just above the highest of them.
    """
    rates = det_points(scores, target, weights)
    allowed = np.flatnonzero(rates.false_alarm <= rate + 1e-12)  # 1 - 0.99 is above 0.01
    if len(allowed) == 0:
        raise DataError(
            f"trials: more than {rate:g} of the non-targets are missing, so no threshold has so few"
            " false alarms: choose a higher rate or mend the recordings"
        )
    if allowed[0] == len(rates.threshold) - 1:
        return float(np.nextafter(rates.threshold[-2], np.inf))
    return float(rates.threshold[allowed[0]])


def top1(scores: Floats, right: Indices) -> Bools:
    """Which probes are identified: the right voice scores higher than every other.

    Args:
        scores: ``(probes, voices)``; ``-inf`` for a missing probe or voice, which is never right.
        right: ``(probes,)`` the column of the voice that speaks.

    Returns:
        ``(probes,)``; its mean is the accuracy. A tie for the first place is an error.
    """
    if np.isnan(scores).any() or np.isposinf(scores).any():
        raise DataError("scores: some are NaN or infinite: write -inf for a missing vector")
    probes = np.arange(len(right))
    of_right = scores[probes, right]
    others = scores.copy()
    others[probes, right] = -np.inf
    return np.asarray(of_right > others.max(axis=1), dtype=np.bool_)


def balanced_accuracy(
    predicted: npt.NDArray[Any], truth: npt.NDArray[Any], weights: Floats | None = None
) -> float:
    """Mean over the classes of ``truth`` of the fraction that is predicted right.

    All three are ``(utterances,)``; classes without weight are left out.
    """
    if len(truth) == 0:
        raise DataError("labels: there are none: give some labelled utterances")
    _, label = np.unique(truth, return_inverse=True)
    weight = np.ones(len(truth)) if weights is None else weights
    present = np.bincount(label, weights=weight)
    right = np.bincount(label, weights=weight * (predicted == truth))
    if not present.any():
        raise DataError(_WEIGHTLESS)
    return float(np.mean(right[present > 0] / present[present > 0]))


def mean_absolute_error(predicted: Floats, truth: Floats, weights: Floats | None = None) -> float:
    """Mean of ``|predicted - truth|``, each ``(utterances,)``, in their unit."""
    error = np.abs(predicted - truth)
    if len(error) == 0 or not np.isfinite(error).all():
        raise DataError("values: none, or some are not finite: give only finite numbers")
    return _mean(error, np.ones(len(error)) if weights is None else weights)


def expected_calibration_error(confidence: Floats, right: Bools) -> float:
    """How far confidence and accuracy are apart, from 0 to 1: ``sum_b |B_b| / n |acc_b - conf_b|``.

    The bins ``B_b`` are :data:`CALIBRATION_BINS` of equal width. Sources: Naeini et al., Obtaining
    well calibrated probabilities using Bayesian binning, 2015; Guo et al., On calibration of modern
    neural networks, 2017. With few utterances a perfect confidence has an error above 0 too.

    Args:
        confidence: ``(utterances,)`` probability of the likeliest class; NaN where there is no
            answer, which is as wrong as an answer can be.
        right: ``(utterances,)`` whether that class is the label.
    """
    if len(confidence) == 0:
        raise DataError("labels: there are none: give some labelled utterances")
    given = ~np.isnan(confidence)
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]
    gap = right[given] - confidence[given]
    bins = np.bincount(np.digitize(confidence[given], edges, right=True), weights=gap)
    return float((np.abs(bins).sum() + (~given).sum()) / len(confidence))


def b_cubed(groups: Indices, truth: Indices) -> tuple[float, float, float]:
    """B-cubed precision, recall and F of a clustering (Bagga & Baldwin, 1998).

    A recording's precision is the share of its voice in its group, its recall the share of its
    group in its voice; F is the harmonic mean of the means over recordings.

    Args:
        groups: ``(recordings,)``; below 0 for one in no group, which has neither.
        truth: ``(recordings,)`` a number, 0 or above, for the voice of each.
    """
    if len(truth) == 0:
        raise DataError("groups: there are no recordings: give some")
    grouped, spoken = groups[groups >= 0], truth[groups >= 0]
    pairs, shared = np.unique(np.stack([grouped, spoken]), axis=1, return_counts=True)
    precision = (shared**2 / np.bincount(grouped)[pairs[0]]).sum() / len(truth)
    recall = (shared**2 / np.bincount(truth)[pairs[1]]).sum() / len(truth)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-12)


def checked_trials(scores: Floats, target: Bools) -> tuple[Float64s, Bools]:
    """The same trials as arrays ``(trials,)``, or ``DataError`` where they cannot be judged."""
    score, is_target = np.asarray(scores, dtype=np.float64), np.asarray(target, dtype=np.bool_)
    if score.shape != is_target.shape or score.ndim != 1:
        raise DataError(f"trials: {score.shape} scores for {is_target.shape} labels: give one each")
    wrong = np.flatnonzero(np.isnan(score) | (score == np.where(is_target, np.inf, -np.inf)))
    if len(wrong):
        raise DataError(f"trial {wrong[0]}: the score is {score[wrong[0]]}: give a finite score")
    if is_target.all() or not is_target.any():
        kind = "non-target" if is_target.all() else "target"
        raise DataError(f"trials: none of {len(target)} is a {kind} trial: give both kinds")
    return score, is_target


def _sums_below(weights: Floats) -> Float64s:
    return np.concatenate([[0.0], np.cumsum(weights, dtype=np.float64)])


def _mean(values: Floats, weights: Floats) -> float:
    total = weights.sum()
    if total <= 0:
        raise DataError(_WEIGHTLESS)
    return float(values @ weights / total)
