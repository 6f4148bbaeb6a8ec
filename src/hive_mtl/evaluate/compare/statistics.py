"""Is one arm better than another? Paired differences, a two-level bootstrap, Holm, and a verdict.

Every figure is an error: lower is better. Speakers are drawn with replacement, in each corpus for
itself and the same for all arms, so differences are paired. Seeds are drawn independently for each
arm. Of both, one fewer is drawn than there are: then the variance is not underestimated (Rao & Wu,
Resampling inference with complex survey data, 1988), which with three seeds it would be by a third,
and with a corpus of five voices by a fifth. How few seeds there are, and how few voices the corpora
have that matter, also counts in the degrees of freedom of the interval (Satterthwaite, 1946). A
single seed says nothing of what trainings differ by, and gives no interval. Noise of one speaker in
one training is counted on both levels (McCullagh, Resampling and exchangeable arrays, 2000).

Samples that share neither speakers nor trainings, as quarters of the voices do, are drawn each for
itself: differences are averaged, variances added.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from hive_mtl.evaluate.bootstrap import Estimate

Floats = npt.NDArray[np.float64]
Verdict = Literal["better", "not worse", "worse", "undecided"]

_WORST_FIRST: tuple[Verdict, ...] = ("worse", "undecided", "not worse", "better")
_INTERVAL = 0.95


@dataclass(frozen=True)
class Stratum:
    """What the speakers of one corpus do to an error.

    Attributes:
        values: ``(draws, seeds)`` the error where they alone are drawn, up to a constant.
        speakers: how many there are, two or more.
    """

    values: Floats
    speakers: int


@dataclass(frozen=True)
class Sample:
    """One error of one arm, by some speakers and trainings.

    Attributes:
        values: ``(1 + draws, seeds)``: in the first row every speaker counts once, in the others
            as often as drawn; NaN where a draw leaves the error undefined.
        strata: the corpora whose speakers are drawn.
    """

    values: Floats
    strata: tuple[Stratum, ...]


@dataclass(frozen=True)
class Figure:
    """One error of one arm: the mean over samples with equal weights.

    Attributes:
        samples: that share neither speakers nor trainings; one or more.
    """

    samples: tuple[Sample, ...]

    @classmethod
    def of(cls, values: Floats, strata: Sequence[Stratum]) -> "Figure":
        """The error of a single sample, see :class:`Sample`."""
        return cls((Sample(values, tuple(strata)),))

    @classmethod
    def of_corpus(cls, values: Floats, speakers: int) -> "Figure":
        """The error of a single sample of one corpus."""
        return cls.of(values, [Stratum(values[1:], speakers)] if speakers > 1 else [])

    @classmethod
    def together(cls, figures: Sequence["Figure"]) -> "Figure":
        """The mean of figures whose samples share nothing."""
        return cls(tuple(sample for figure in figures for sample in figure.samples))

    @property
    def seeds(self) -> Floats:
        """Of each training, sample by sample: ``(samples * seeds,)``."""
        return np.concatenate([sample.values[0] for sample in self.samples])

    @property
    def mean(self) -> float | None:
        """Over seeds and samples; None where it is undefined."""
        mean = float(np.mean([sample.values[0].mean() for sample in self.samples]))
        return mean if np.isfinite(mean) else None


@dataclass(frozen=True)
class Difference:
    """An arm less its rival.

    Attributes:
        estimate: with its 95% interval; None where it is undefined.
        relative: the same as a share of the rival's error; None where that is 0 or undefined.
        p: two-sided, that there is no difference; adjusted for the family.
        p_margin: one-sided, that the arm is worse by the margin or more; adjusted for the family.
        verdict: see :func:`verdict`.
    """

    estimate: Estimate | None
    relative: Estimate | None
    p: float
    p_margin: float
    verdict: Verdict


@dataclass(frozen=True)
class Rules:
    """The statistics, fixed before the run.

    Attributes:
        margin: how much worse, as a share of the rival's error, still counts as 'not worse'.
        level: of the family of comparisons, both sides together.
        draw_seed: of the draws of seeds.
    """

    margin: float = 0.10
    level: float = 0.05
    draw_seed: int = 0


def compare(
    arm: Mapping[str, Figure], rival: Mapping[str, Figure], rules: Rules
) -> dict[str, Difference]:
    """The differences of a family of figures that both have, by name, adjusted by Holm's method."""
    names = [name for name in arm if name in rival]
    plain = [_contrast(arm[name], rival[name], 1.0, rules) for name in names]
    beyond = [_contrast(arm[name], rival[name], 1.0 + rules.margin, rules) for name in names]
    p = holm([each.two_sided() for each in plain])
    p_margin = holm([each.not_below_zero() for each in beyond])
    return {
        name: Difference(
            estimate=contrast.estimate(),
            relative=contrast.relative_to(rival[name]),
            p=p[place],
            p_margin=p_margin[place],
            verdict=verdict(contrast.value, p[place], p_margin[place], rules.level),
        )
        for place, (name, contrast) in enumerate(zip(names, plain, strict=True))
    }


def verdict(difference: float | None, p: float, p_margin: float, level: float) -> Verdict:
    """'better' or 'worse' where the difference is sure; 'not worse' where the margin is kept.

    A difference that is sure but smaller than the margin is 'not worse': the margin, fixed
    beforehand, says what matters.
    """
    if difference is None:
        return "undecided"
    if difference < 0 and p <= level:
        return "better"
    if p_margin <= level / 2:
        return "not worse"
    return "worse" if difference > 0 and p <= level else "undecided"


def with_corpora(of_task: Verdict, of_corpora: Mapping[str, Difference]) -> Verdict:
    """The verdict of a task: nothing good is said of it while a corpus is 'worse'."""
    if any(each.verdict == "worse" for each in of_corpora.values()) and of_task != "worse":
        return "undecided"
    return of_task


def least_favourable(verdicts: Sequence[Verdict]) -> Verdict:
    """What holds against every rival."""
    return min(verdicts, key=_WORST_FIRST.index, default="undecided")


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values: at most the family's level of them is wrong by chance (Holm, 1979)."""
    adjusted, highest = [1.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda place: p[place])):
        highest = max(highest, min((len(p) - rank) * p[place], 1.0))
        adjusted[place] = highest
    return adjusted


@dataclass(frozen=True)
class _Contrast:
    """An arm less a multiple of its rival: value, standard error, degrees of freedom."""

    value: float | None
    error: float | None = None
    freedom: float = np.inf

    @classmethod
    def mean(cls, contrasts: Sequence["_Contrast"]) -> "_Contrast":
        """Of contrasts that are independent; undefined where one is."""
        values = [each.value for each in contrasts if each.value is not None]
        if len(values) < len(contrasts):
            return cls(None)
        value = float(np.mean(values))
        errors = [each.error for each in contrasts if each.error is not None]
        if len(errors) < len(contrasts):
            return cls(value)
        variances = [(error / len(contrasts)) ** 2 for error in errors]
        freedom = _freedom(list(zip(variances, (each.freedom for each in contrasts), strict=True)))
        return cls(value, sum(variances) ** 0.5, freedom)

    def estimate(self) -> Estimate | None:
        if self.value is None:
            return None
        if self.error is None:
            return Estimate(self.value, None, None)
        reach = float(stdtrit(self.freedom, (1 + _INTERVAL) / 2)) * self.error
        return Estimate(self.value, self.value - reach, self.value + reach)

    def relative_to(self, rival: Figure) -> Estimate | None:
        estimate, scale = self.estimate(), rival.mean
        if estimate is None or not scale:
            return None
        ends = (None if end is None else end / scale for end in (estimate.low, estimate.high))
        return Estimate(estimate.value / scale, *ends)

    def two_sided(self) -> float:
        below = self._below()
        return 1.0 if below is None else 2 * min(below, 1 - below)

    def not_below_zero(self) -> float:
        if self.value == self.error == 0.0:  # both arms are perfect: no margin is beyond reach
            return 0.0
        below = self._below()
        return 1.0 if below is None else below

    def _below(self) -> float | None:
        """The chance of a value this low, or lower, where the truth is zero."""
        if self.value is None or self.error is None:
            return None
        if self.error == 0.0:  # no draw changes anything
            return 0.5 if self.value == 0 else float(self.value > 0)
        return float(stdtr(self.freedom, self.value / self.error))


def _contrast(arm: Figure, rival: Figure, factor: float, rules: Rules) -> _Contrast:
    pairs = zip(arm.samples, rival.samples, strict=True)
    return _Contrast.mean([_contrast_of(mine, other, factor, rules) for mine, other in pairs])


def _contrast_of(arm: Sample, rival: Sample, factor: float, rules: Rules) -> _Contrast:
    mine, other = arm.values, factor * rival.values
    value = float(mine[0].mean() - other[0].mean())
    if not np.isfinite(value):
        return _Contrast(None)
    rng = np.random.default_rng(rules.draw_seed)
    drawn = _over_seeds(mine[1:], rng) - _over_seeds(other[1:], rng)
    drawn = drawn[np.isfinite(drawn)]
    too_few = not arm.strata or min(mine.shape[1], other.shape[1]) < 2
    if too_few or 2 * len(drawn) <= len(mine) - 1:
        return _Contrast(value)
    variance = float(drawn.var(ddof=1))
    of_seeds = [(_variance_of_mean(side[0]), side.shape[1] - 1) for side in (mine, other)]
    of_speakers = max(variance - sum(part for part, _ in of_seeds), 0.0)
    parts = [*of_seeds, (of_speakers, _freedom(_of_strata(arm, rival, factor)))]
    return _Contrast(value, variance**0.5, _freedom(parts))


def _of_strata(arm: Sample, rival: Sample, factor: float) -> list[tuple[float, float]]:
    """By corpus, the variance that its speakers give to a contrast, and its degrees of freedom."""
    return [
        (
            float(np.nanvar(mine.values.mean(axis=1) - factor * other.values.mean(axis=1), ddof=1)),
            mine.speakers - 1,
        )
        for mine, other in zip(arm.strata, rival.strata, strict=True)
    ]


def _freedom(parts: Sequence[tuple[float, float]]) -> float:
    """The degrees of freedom of a sum of variances, each with its own (Satterthwaite, 1946)."""
    spread = sum(variance**2 / freedom for variance, freedom in parts)
    return sum(variance for variance, _ in parts) ** 2 / spread if spread > 0 else np.inf


def _over_seeds(values: Floats, rng: np.random.Generator) -> Floats:
    """The mean of each draw over seeds drawn for it, one fewer than there are: ``(draws,)``."""
    draws, seeds = values.shape
    count = max(seeds - 1, 1)
    weights = rng.multinomial(count, np.full(seeds, 1 / seeds), draws) / count
    mean: Floats = (values * weights).sum(axis=1)
    return mean


def _variance_of_mean(values: Floats) -> float:
    return float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.0
