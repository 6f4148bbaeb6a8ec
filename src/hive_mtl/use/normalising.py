"""Adaptive score normalisation: how far a score stands out from those with other voices.

Adaptive s-norm after Matejka et al. (Interspeech 2017): each side of a trial is compared with a
cohort of voices; the mean and the deviation of its highest scores say what a high score is worth
for this recording, and the normalised score is the mean of what both sides say. A model ships its
cohort in its file.
"""

import base64

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

TOP = 50  # of 200: best on validation voices, though 20 to 100 differ little
LEAST_DEVIATION = 1e-3  # of cohort scores: an odd recording may be equally far from every voice


def cohort_level(
    vectors: npt.NDArray[np.float32], cohort: npt.NDArray[np.float32], top: int = TOP
) -> Floats:
    """What the scores of each vector with the voices most like it are.

    Args:
        vectors: ``(n, dim)`` of unit norm.
        cohort: ``(voices, dim)`` of unit norm.
        top: how many of the highest scores count; all where there are fewer voices.

    Returns:
        ``(n, 2)``: their mean and deviation.
    """
    top = min(top, len(cohort))
    scores = np.partition(vectors @ cohort.T, len(cohort) - top, axis=1)[:, -top:]
    deviation = np.maximum(scores.std(axis=1), LEAST_DEVIATION)
    return np.stack([scores.mean(axis=1), deviation], axis=1).astype(np.float64)


def adaptive_s_norm(scores: Floats, left: Floats, right: Floats) -> Floats:
    """Scores ``(trials,)`` and the levels of both sides ``(trials, 2)`` -> ``(trials,)``."""
    sides = [(scores - level[:, 0]) / level[:, 1] for level in (left, right)]
    normalised: Floats = (sides[0] + sides[1]) / 2
    return normalised


def cohort_to_text(cohort: npt.NDArray[np.float32]) -> str:
    """A cohort ``(voices, dim)`` as a model file keeps it: base64 of float16, voice by voice."""
    return base64.b64encode(cohort.astype("<f2").tobytes()).decode()


def cohort_from_text(text: str, dim: int) -> npt.NDArray[np.float32]:
    """The inverse of :func:`cohort_to_text`: ``(voices, dim)`` of unit norm."""
    cohort = np.frombuffer(base64.b64decode(text), "<f2").reshape(-1, dim).astype(np.float32)
    unit: npt.NDArray[np.float32] = cohort / np.linalg.norm(cohort, axis=1, keepdims=True)
    return unit
