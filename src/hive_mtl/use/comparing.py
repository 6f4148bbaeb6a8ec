"""Pairs of voices: their cosines, and what these say by the calibration of a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hive_mtl.calibration import Line, Sides, line
from hive_mtl.description import Calibration
from hive_mtl.errors import ModelError
from hive_mtl.use.normalising import Floats, cohort_level, gain_and_level
from hive_mtl.use.scoring import Voice

if TYPE_CHECKING:
    from hive_mtl.use.model import Model


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Trials between voices.

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
        gain, level = gain_and_level(*(cohort_level(side, cohort) for side in vectors))
    read = line(calibration, _sides(left), _sides(right))
    return Comparison(cosine, read.llr(gain * cosine - level), read, gain, level)


def calibration_of(model: "Model") -> Calibration:
    """How the scores of a model are read.

    Raises:
        ModelError: the model is not calibrated.
    """
    if model.calibration is None:
        raise ModelError(
            f"model {model.description.name}: has no calibration, so its scores have no threshold "
            "or probability: hive-mtl calibrate fits one to pairs of recordings"
        )
    return model.calibration


def cohort_of(model: "Model", calibration: Calibration) -> npt.NDArray[np.float32] | None:
    """The voices ``(voices, dim)`` by which scores are normalised; None where they are cosines.

    Raises:
        ModelError: the calibration is for normalised scores and the model has no cohort.
    """
    if not calibration.normalised:
        return None
    if model.cohort is None:
        raise ModelError(
            f"model {model.description.name}: its calibration is for normalised scores, and the "
            "model file has no cohort to normalise them by: export the model anew"
        )
    return model.cohort


def _sides(voices: Sequence[Voice]) -> Sides:
    return Sides(
        np.array([each.speech_seconds for each in voices]),
        np.array([each.snr_db for each in voices]),
    )
