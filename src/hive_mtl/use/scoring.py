"""Scores between embeddings, and what a score means."""

import math

import numpy as np
import numpy.typing as npt

from hive_mtl.description import Calibration, ModelDescription
from hive_mtl.errors import ConfigError, ModelError


def mean_vector(
    vectors: npt.NDArray[np.float32], weights: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """The mean of ``vectors`` ``(n, dim)`` by ``weights`` ``(n,)``, at unit norm ``(dim,)``."""
    mean = np.average(vectors, axis=0, weights=weights)
    return (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)


def cosine(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    """Cosine score of two unit vectors ``(dim,)``, in [-1, 1]; the higher, the more alike."""
    return float(np.clip(a @ b, -1.0, 1.0))


def calibration_of(description: ModelDescription) -> Calibration:
    """How the model's scores are to be read.

    Raises:
        ModelError: the model has no calibration.
    """
    if description.calibration is None:
        raise ModelError(
            f"model {description.name}: has no calibration, so its scores have no threshold or "
            "probability: use a model trained with validation voices, or compare vectors yourself"
        )
    return description.calibration


def probability(calibration: Calibration, score: float) -> float:
    """Probability of 'same voice' where same and different are equally likely beforehand."""
    llr = calibration.slope * score + calibration.intercept
    return 1.0 / (1.0 + math.exp(-llr)) if llr >= 0 else math.exp(llr) / (1.0 + math.exp(llr))


def threshold(calibration: Calibration, false_alarm: float) -> float:
    """The score at which ``false_alarm`` of the pairs of different voices pass for the same.

    Raises:
        ConfigError: the model was not calibrated for this rate.
    """
    key = f"{false_alarm:g}"
    if key not in calibration.thresholds:
        raise ConfigError(
            f"false_alarm {key}: no threshold for it: "
            f"choose from {', '.join(sorted(calibration.thresholds))}"
        )
    return calibration.thresholds[key]
