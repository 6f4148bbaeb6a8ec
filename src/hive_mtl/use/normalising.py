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
    """Scores and the levels of both sides ``(..., 2)`` -> normalised scores ``(...)``."""
    gain, level = gain_and_level(left, right)
    return np.asarray(gain * scores - level)


def gain_and_level(left: Floats, right: Floats) -> tuple[Floats, Floats]:
    """How scores between such sides are normalised: ``gain * score - level``, ``(...)`` each."""
    gains = [1 / side[..., 1] for side in (left, right)]
    levels = [side[..., 0] / side[..., 1] for side in (left, right)]
    return (gains[0] + gains[1]) / 2, (levels[0] + levels[1]) / 2


def cohort_to_text(cohort: npt.NDArray[np.float32]) -> str:
    """A cohort ``(voices, dim)`` as a model file keeps it: base64 of float16, voice by voice."""
    return base64.b64encode(cohort.astype("<f2").tobytes()).decode()


def cohort_from_text(text: str, dim: int) -> npt.NDArray[np.float32]:
    """The inverse of :func:`cohort_to_text`: ``(voices, dim)`` of unit norm."""
    cohort = np.frombuffer(base64.b64decode(text), "<f2").reshape(-1, dim).astype(np.float32)
    unit: npt.NDArray[np.float32] = cohort / np.linalg.norm(cohort, axis=1, keepdims=True)
    return unit
