"""Verification: are two utterances of one voice? Trials stay inside a corpus."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import isotonic_regression

from hive_mtl import metrics
from hive_mtl.calibration import extremes, line
from hive_mtl.description import Calibration
from hive_mtl.evaluate.bootstrap import Bootstrap, Draw, Estimate
from hive_mtl.evaluate.embedded import EmbeddedTable
from hive_mtl.trials import MAX_PAIRS, Trials, all_pairs

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_CURVE_POINTS = 121
_HISTOGRAM_BINS = 80


@dataclass(frozen=True)
class Curve:
    """What the plots show of one set of trials.

    Attributes:
        false_alarm: ``(points,)`` rising, evenly spaced on the normal-deviate axis of a DET plot.
        miss: ``(points,)`` at those false-alarm rates.
        score: ``(bins + 1,)`` edges of the histograms.
        targets: ``(bins,)`` target trials by score.
        nontargets: ``(bins,)`` non-target trials by score.
    """

    false_alarm: tuple[float, ...]
    miss: tuple[float, ...]
    score: tuple[float, ...]
    targets: tuple[int, ...]
    nontargets: tuple[int, ...]


@dataclass(frozen=True)
class Verification:
    """The figures of one corpus; None is n/a: a class has no trial, or the model no calibration.

    Attributes:
        corpus: its name, or that of a trial list.
        scope: "all", or "within gender", which leaves out pairs of unknown or different gender.
        speakers: that occur in a trial.
        utterances: that occur in a trial.
        targets: number of target trials.
        nontargets: number of non-target trials.
        unscored: trials without a vector on a side, all counted as errors.
        cross_session: target trials are across sessions only.
        sampled: trials are a sample of all pairs.
        eer: a fraction.
        min_dcf: at a target prior of 0.01.
        cllr: in bits, by the calibration in force and the quality of both sides.
        min_cllr: in bits, by the best calibration for these very trials.
        curve: for the plots.
    """

    corpus: str
    scope: str
    speakers: int
    utterances: int
    targets: int
    nontargets: int
    unscored: int
    cross_session: bool
    sampled: bool
    eer: Estimate | None = None
    min_dcf: Estimate | None = None
    cllr: Estimate | None = None
    min_cllr: float | None = None
    curve: Curve | None = None


@dataclass(frozen=True)
class Verifier:
    """Judges trials between the utterances of one embedded table."""

    embedded: EmbeddedTable
    calibration: Calibration | None
    bootstrap: Bootstrap

    def corpus(self, corpus: str, min_duration_s: float) -> list[Verification]:
        """All pairs of a corpus, then those within gender.

        Target pairs are across sessions where the corpus knows two sessions of a speaker.
        """
        utterances = self.embedded.comparable(corpus, min_duration_s)
        genders = self.embedded.gender[utterances].tolist()
        return [
            self.among(corpus, "all", utterances),
            self.among(corpus, "within gender", utterances, genders),
        ]

    def among(
        self, corpus: str, scope: str, utterances: Indices, groups: list[str | None] | None = None
    ) -> Verification:
        """All pairs of some utterances of a corpus; of equal, known ``groups`` if these are given.

        Target pairs are across sessions where one of the speakers has two.
        """
        return self._judge(corpus, scope, pairs_among(self.embedded, utterances, groups))

    def trial_list(self, name: str, trials: Trials) -> list[Verification]:
        """The trials of a list, then those of them within a known gender."""
        left, right = self.embedded.gender[trials.left], self.embedded.gender[trials.right]
        known = np.array([gender is not None for gender in left], dtype=np.bool_)
        within = trials.select((left == right) & known)
        return [
            self._judge(name, "all", trials),
            self._judge(name, "within gender", within),
        ]

    def _judge(self, corpus: str, scope: str, trials: Trials) -> Verification:
        missing = self.embedded.missing[trials.left] | self.embedded.missing[trials.right]
        utterances = np.unique(np.concatenate([trials.left, trials.right]))
        counts = Verification(
            corpus=corpus,
            scope=scope,
            speakers=len(set(self.embedded.voice[utterances])),
            utterances=len(utterances),
            targets=int(trials.target.sum()),
            nontargets=int((~trials.target).sum()),
            unscored=int(missing.sum()),
            cross_session=trials.across_sessions,
            sampled=trials.sampled,
        )
        if counts.targets == 0 or counts.nontargets == 0:
            return counts
        return self._with_figures(counts, trials, missing)

    def _with_figures(self, counts: Verification, trials: Trials, missing: Bools) -> Verification:
        score = self.embedded.scores(trials)
        scores = metrics.penalise_missing(score, trials.target, missing)
        ranked = metrics.rank(scores, trials.target)
        costs = None
        if self.calibration is not None:
            llr = self._llr(self.calibration, trials, score)
            lowest, highest = extremes(self.calibration, self._scores_end_at(score))
            # as wrong as can be: by an infinite penalty, one file would make Cllr infinite
            wrong = np.where(trials.target, lowest, highest)
            costs = metrics.llr_cost(np.where(missing, wrong, llr), trials.target)
        weigh = trial_weights(self.embedded.voice, trials)

        def figures(draw: Draw) -> list[float]:
            weights = weigh(draw)
            rates = ranked.error_rates(weights)
            found = [rates.eer(), rates.min_dcf()]
            if costs is not None:
                found.append(metrics.balanced_mean(costs, trials.target, weights))
            return found

        eer, min_dcf, *cllr = self.bootstrap.estimate(figures, counts.speakers)
        return replace(
            counts,
            eer=eer,
            min_dcf=min_dcf,
            cllr=cllr[0] if cllr else None,
            min_cllr=min_cllr(scores, trials.target),
            curve=_curve(
                ranked.error_rates(),
                score[~missing],
                trials.target[~missing],
                self._scores_end_at(score),
            ),
        )

    def _scores_end_at(self, score: Floats) -> tuple[float, float]:
        """The lowest and the highest score there is; of normalised ones, among these."""
        if self.embedded.cohort is None:
            return -1.0, 1.0
        return float(score.min()), float(score.max())

    def _llr(self, calibration: Calibration, trials: Trials, score: Floats) -> Floats:
        """Log-likelihood ratios ``(trials,)`` by the quality of both sides."""
        sides = self.embedded.sides(trials.left), self.embedded.sides(trials.right)
        return line(calibration, *sides).llr(score)


def pairs_among(
    embedded: EmbeddedTable,
    utterances: Indices,
    groups: list[str | None] | None = None,
    max_pairs: int = MAX_PAIRS,
) -> Trials:
    """The pairs of some utterances of a corpus, as rows of the table.

    See :meth:`Verifier.among`, and :func:`hive_mtl.trials.all_pairs` for ``max_pairs``.
    """
    pairs = all_pairs(
        embedded.speaker[utterances].tolist(),
        sessions=embedded.session[utterances].tolist(),
        genders=groups,
        max_pairs=max_pairs,
    )
    return replace(pairs, left=utterances[pairs.left], right=utterances[pairs.right])


def trial_weights(voice: Indices, trials: Trials) -> Callable[[Draw], Floats]:
    """What each trial weighs in a draw of speakers, see :mod:`hive_mtl.evaluate.bootstrap`.

    ``voice`` ``(utterances,)`` numbers the speakers; a draw counts those that occur in a trial, in
    rising order.
    """
    speakers = np.union1d(voice[trials.left], voice[trials.right])
    left = np.searchsorted(speakers, voice[trials.left])
    right = np.searchsorted(speakers, voice[trials.right])
    # the second side of a target trial is one more 'speaker', whose weight is always 1
    right[trials.target] = len(speakers)

    def weigh(draw: Draw) -> Floats:
        extended = np.append(draw, 1.0)
        weights: Floats = extended[left] * extended[right]
        return weights

    return weigh


def min_cllr(scores: Floats, target: Bools) -> float:
    """Cllr after the best monotone calibration: what the order of the scores is worth, in bits.

    That calibration is isotonic regression (pool adjacent violators; Brummer & du Preez 2006).
    ``scores`` ``(trials,)`` may hold the infinities of :func:`metrics.penalise_missing`.
    """
    score, is_target = metrics.checked_trials(scores, target)
    _, tied = np.unique(score, return_inverse=True)
    # classes of equal weight make the posterior odds the likelihood ratio
    targets = np.bincount(tied, weights=is_target) / is_target.sum()
    others = np.bincount(tied, weights=~is_target) / (~is_target).sum()
    posterior = isotonic_regression(targets / (targets + others), sample_weight=targets + others)
    bits = _cost(targets, posterior) + _cost(others, 1 - posterior)
    return float(bits) / 2


def _cost(weights: Floats, posterior: Floats) -> float:
    present = weights > 0  # a certain posterior costs nothing where no trial contradicts it
    return float(-(weights[present] @ np.log2(posterior[present])))


def _curve(
    rates: metrics.ErrorRates, score: Floats, target: Bools, ends: tuple[float, float]
) -> Curve:
    deviates = np.linspace(-3.6, 3.6, _CURVE_POINTS)
    false_alarm = np.array([NormalDist().cdf(deviate) for deviate in deviates])
    miss = np.interp(false_alarm, rates.false_alarm[::-1], rates.miss[::-1])
    edges = np.linspace(*ends, _HISTOGRAM_BINS + 1)
    targets, _ = np.histogram(score[target], edges)
    nontargets, _ = np.histogram(score[~target], edges)
    return Curve(
        false_alarm=tuple(false_alarm.tolist()),
        miss=tuple(miss.tolist()),
        score=tuple(edges.tolist()),
        targets=tuple(targets.tolist()),
        nontargets=tuple(nontargets.tolist()),
    )
