"""Confidence intervals by resampling speakers, never trials.

Trials that share a speaker are not independent, so whole speakers are drawn with replacement
(Poh & Bengio 2007; Efron & Tibshirani 1993). A speaker drawn twice counts twice: a target trial of
speaker s has the weight ``w_s`` and a non-target trial of s and t the weight ``w_s w_t``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hive_mtl.errors import DataError

Draw = npt.NDArray[np.float64]  # (speakers,) how often each speaker was drawn
Statistic = Callable[[Draw], Sequence[float]]

FEWEST_SPEAKERS = 5  # that have an interval: draws of fewer repeat the few that there are
SEED = 0  # of the draws, and of the choice of enrolments
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% interval; the bounds are None where speakers are too few for one."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Bootstrap:
    """How often speakers are drawn anew, and the seed of the draws."""

    replicates: int
    seed: int

    def estimate(self, statistic: Statistic, speakers: int) -> tuple[Estimate, ...]:
        """Percentile intervals of the figures that ``statistic`` makes of one draw.

        Draws that leave a figure undefined (no target trial, say) are passed over; where they are
        more than half, or speakers fewer than :data:`FEWEST_SPEAKERS`, there are no intervals.

        Raises:
            DataError: the figures are undefined even with every speaker drawn once.
        """
        values = statistic(np.ones(speakers))
        without = tuple(Estimate(value, None, None) for value in values)
        if speakers < FEWEST_SPEAKERS:
            return without
        chances = np.full(speakers, 1 / speakers)
        draws = np.random.default_rng(self.seed).multinomial(speakers, chances, self.replicates)
        defined = [found for draw in draws if (found := _attempt(statistic, draw)) is not None]
        if 2 * len(defined) <= self.replicates:
            return without
        low, high = np.percentile(np.array(defined), _PERCENTILES, axis=0).tolist()
        return tuple(Estimate(*bounds) for bounds in zip(values, low, high, strict=True))


def _attempt(statistic: Statistic, draw: npt.NDArray[np.int64]) -> Sequence[float] | None:
    try:
        return statistic(draw.astype(np.float64))
    except DataError:
        return None
