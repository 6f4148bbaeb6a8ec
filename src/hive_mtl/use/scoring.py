"""Scores between embeddings, and what a score means."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hive_mtl.description import Calibration
from hive_mtl.errors import ConfigError
from hive_mtl.use.embedding import Embedding


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """What one or more recordings of a voice give together.

    Attributes:
        vector: ``(dim,)`` float32, unit norm: the mean of the recordings.
        speech_seconds: of speech in all of them.
        snr_db: their signal-to-noise ratio, by the speech in each.
    """

    vector: npt.NDArray[np.float32] = field(repr=False)
    speech_seconds: float
    snr_db: float


def pooled(embeddings: Sequence[Embedding]) -> Voice:
    """One voice from one or more embeddings of its recordings."""
    speech = np.array([each.speech_seconds for each in embeddings])
    snr = np.array([each.snr_db for each in embeddings])
    return Voice(
        vector=mean_vector(np.stack([each.vector for each in embeddings])),
        speech_seconds=float(speech.sum()),
        snr_db=float(np.average(snr, weights=speech if speech.any() else None)),
    )


def mean_vector(
    vectors: npt.NDArray[np.float32], weights: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """The mean of ``vectors`` ``(n, dim)`` by ``weights`` ``(n,)``, at unit norm ``(dim,)``."""
    mean = np.average(vectors, axis=0, weights=weights)
    return (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)


def cosine(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    """Cosine score of two unit vectors ``(dim,)``, in [-1, 1]; the higher, the more alike."""
    return float(np.clip(a @ b, -1.0, 1.0))


def unit_rows(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Vectors ``(n, dim)`` at unit norm; those of zeros stay."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)


def probability(llr: float, prior: float) -> float:
    """Probability of 'same voice' after a log-likelihood ratio, where it was ``prior`` before.

    Raises:
        ConfigError: ``prior`` does not lie between 0 and 1.
    """
    if not 0 < prior < 1:
        raise ConfigError(f"prior {prior:g}: give a probability above 0 and below 1")
    log_odds = llr + math.log(prior) - math.log1p(-prior)
    odds = math.exp(-abs(log_odds))
    return 1 / (1 + odds) if log_odds >= 0 else odds / (1 + odds)


def threshold(calibration: Calibration, false_alarm: float) -> float:
    """The log-likelihood ratio that ``false_alarm`` of the pairs of different voices reach.

    Raises:
        ConfigError: there is no threshold for this rate.
    """
    key = f"{false_alarm:g}"
    if key not in calibration.thresholds:
        raise ConfigError(
            f"false_alarm {key}: no threshold for it: "
            f"choose from {', '.join(sorted(calibration.thresholds))}"
        )
    return calibration.thresholds[key]
