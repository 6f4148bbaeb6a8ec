"""What voices score that are not the one heard, and what N of them do to a decision.

**Before anything is heard** a calibration tells it: the log-likelihood ratio that each rate of
false alarms reaches. The ratios of pairs of different voices are taken for normal, mean ``m`` and
variance ``v``, as in the plots of Martin et al. (The DET curve in assessment of detection task
performance, 1997): a straight line over the normal deviate of the rate.

**The recording's own scores tell more.** A calibration is about pairs of all kinds. In one group of
people (one language, one room, one kind of microphone) strangers are more alike than that, in
another less, and nearly all the voices that a recording is compared with are strangers to it: their
scores say by how much ``d`` strangers lie higher here, as in T-norm (Auckenthaler, Carey and
Lloyd-Thomas, Score normalization for text-independent speaker verification systems, 2000). Let
``x_j`` be the ``j``-th highest of the ratios with ``N`` voices and ``e_j`` its expectation were
they standard normal (Blom, Statistical estimates and transformed beta-variables, 1958). The highest
may be of the voice itself and is left out, and so is the lower half, such as voices of the other
gender, for which nobody is mistaken. The mean of ``x_j - m - sqrt(v) e_j`` over the ``n`` that are
left then estimates ``d``. What is known of ``d`` before counts as :data:`WORTH` voices that say
``d = 0`` (Efron and Morris, Stein's estimation rule and its competitors, 1973):

    d = n / (n + WORTH) * the mean,

where the mean is held within ``v / 2``: the voice itself scores about ``v`` higher than strangers,
and no strangers are half-way to it. One enrolled voice alone (``n = 0``) is compared as
verification compares two.

**Threshold.** The chance that somebody else is taken for one of ``N`` voices grows with ``N``
(Singer and Reynolds, Analysis of multitarget detection for speaker and language recognition,
Odyssey 2004): where each lets ``p`` pass, it is ``1 - (1 - p)^N``. So the best needs the ratio that
``p = 1 - (1 - false_alarm)^(1/N)`` of strangers reach (Sidak), which lies ``d`` higher here.

**Evidence.** A ratio ``x`` of the calibration has the density of strangers below the line, and that
is now another: normal around ``m + d``. The ratio against the strangers of this recording is

    x + log N(x; m, v) - log N(x; m + d, v)  =  x - d / v * (x - m - d / 2).
"""

import math
import sys
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from hive_mtl.description import Calibration
from hive_mtl.errors import ModelError
from hive_mtl.use.normalising import Floats

WORTH = 20  # voices; 10 to 40 differ little on validation voices
_FARTHEST = 0.5  # of ``v``: what strangers may differ by
_DEVIATE = NormalDist().inv_cdf


@dataclass(frozen=True, slots=True)
class Strangers:
    """The log-likelihood ratios of pairs of different voices, by a calibration.

    Attributes:
        points: (rate of false alarms, ratio that it reaches), the rates rising.
    """

    points: tuple[tuple[float, float], ...]

    def shift(self, llr: Floats, enrolled: int) -> Floats:
        """How much higher than by the calibration the strangers of a recording score ``(...)``.

        Args:
            llr: ``(..., near)`` ratios with the nearest of those enrolled.
            enrolled: how many there are.
        """
        others = min(llr.shape[-1] - 1, (enrolled + 1) // 2)
        if others == 0:
            return np.zeros(llr.shape[:-1])
        mean, deviation = self._normal()
        rates = (np.arange(2, others + 2) - 0.375) / (enrolled + 0.25)
        expected = mean - deviation * np.array([_DEVIATE(rate) for rate in rates])
        found = -np.sort(-llr, axis=-1)[..., 1 : others + 1]
        farthest = _FARTHEST * deviation**2
        mean_shift = np.clip((found - expected).mean(axis=-1), -farthest, farthest)
        return np.asarray(others / (others + WORTH) * mean_shift)

    def evidence(self, llr: Floats, shift: Floats) -> Floats:
        """The ratios ``(..., near)`` against the strangers of recordings, by their ``shift``."""
        mean, deviation = self._normal()
        if not deviation:  # then nothing is shifted
            return llr
        moved = np.asarray(shift)[..., None]
        return np.asarray(llr - moved / deviation**2 * (llr - mean - moved / 2))

    def threshold(self, false_alarm: float, voices: int) -> float:
        """The ratio that the best of ``voices`` needs where strangers are the calibration's."""
        rate = -math.expm1(math.log1p(-false_alarm) / voices)
        rate = max(rate, sys.float_info.min)  # what is rounded to 0 has no deviate
        place = sum(rate > each for each, _ in self.points[1:-1])
        (low, at_low), (high, at_high) = self.points[place : place + 2]
        steepness = (at_high - at_low) / (_DEVIATE(high) - _DEVIATE(low))
        return at_low + steepness * (_DEVIATE(rate) - _DEVIATE(low))

    def _normal(self) -> tuple[float, float]:
        """Mean and deviation of the normal distribution through the outermost points."""
        (low, at_low), (high, at_high) = self.points[0], self.points[-1]
        deviation = (at_low - at_high) / (_DEVIATE(high) - _DEVIATE(low))
        return at_low + deviation * _DEVIATE(low), deviation


def strangers_of(calibration: Calibration) -> Strangers:
    """What a calibration says of strangers.

    Raises:
        ModelError: it has fewer than two thresholds.
    """
    if len(calibration.thresholds) < 2:
        raise ModelError(
            "calibration: has no thresholds at two rates of false alarms or more: fit it anew with "
            "hive-mtl calibrate"
        )
    points = sorted((float(rate), llr) for rate, llr in calibration.thresholds.items())
    return Strangers(tuple(points))
