"""Many pairs of voices at once: their cosines, and what these say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hive_mtl.calibration import Line, Sides, line
from hive_mtl.use.normalising import Floats, adaptive_s_norm, cohort_level
from hive_mtl.use.scoring import Voice
from hive_mtl.use.verify import calibration_of, cohort_of

if TYPE_CHECKING:
    from hive_mtl.use.model import Model


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Trials between voices, read as :func:`hive_mtl.use.verify.verify` reads one.

    Attributes:
        cosine: ``(trials,)``.
        llr: ``(trials,)`` log-likelihood ratio of 'same voice' against 'different voices'.
    """

    cosine: Floats
    llr: Floats
    _line: Line
    _gain: Floats
    _level: Floats

    def needed(self, llr: float) -> Floats:
        """The cosine ``(trials,)`` at which each trial has this log-likelihood ratio."""
        return np.asarray((self._line.score_at(llr) + self._level) / self._gain)


def compare(model: "Model", left: Sequence[Voice], right: Sequence[Voice]) -> Comparison:
    """Compares ``left[i]`` with ``right[i]``; there is one pair or more.

    Raises:
        ModelError: the model is not calibrated, or lacks the cohort of its calibration.
    """
    calibration = calibration_of(model)
    cohort = cohort_of(model, calibration)
    vectors = [np.stack([each.vector for each in side]) for side in (left, right)]
    cosine = np.clip(np.einsum("td,td->t", *vectors), -1.0, 1.0).astype(np.float64)
    gain, level = np.ones_like(cosine), np.zeros_like(cosine)
    if cohort is not None:
        levels = [cohort_level(side, cohort) for side in vectors]
        level = -adaptive_s_norm(np.zeros_like(cosine), *levels)
        gain = adaptive_s_norm(np.ones_like(cosine), *levels) + level
    read = line(calibration, _sides(left), _sides(right))
    return Comparison(cosine, read.llr(gain * cosine - level), read, gain, level)


def _sides(voices: Sequence[Voice]) -> Sides:
    return Sides(
        np.array([each.speech_seconds for each in voices]),
        np.array([each.snr_db for each in voices]),
    )
