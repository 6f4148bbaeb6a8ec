"""Who of these is the same? Recordings grouped by voice, with the number of voices known or not."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hive_mtl.audio import Source
from hive_mtl.calibration import Sides, line
from hive_mtl.description import Calibration
from hive_mtl.errors import DataError, EmbeddingError
from hive_mtl.use.comparing import calibration_of, cohort_of
from hive_mtl.use.embedding import Embedding, answerable
from hive_mtl.use.grouping import by_size, check_count, group
from hive_mtl.use.normalising import adaptive_s_norm, cohort_level
from hive_mtl.use.progress import with_progress

if TYPE_CHECKING:
    from hive_mtl.use.model import Model

# Log-likelihood ratio that two groups need on average: best for 20 validation voices, where 0.5 to
# 1.5 differ by little; it gives about the right number of groups from 2 voices to 100.
THRESHOLD = 1.0
_ROWS_AT_ONCE = 256


@dataclass(frozen=True, slots=True, eq=False)
class Clustering:
    """Recordings by voice.

    Attributes:
        labels: the group of each recording, in the order given: from 1, the largest first; None
            where a recording failed.
        heard: what each recording gave; an :class:`EmbeddingError` where it failed.
        groups: how many there are; a recording that fits nobody is one by itself.
        silhouette: how well the groups are apart, from -1 to 1, by the cosines (Rousseeuw, 1987);
            None where all recordings are one group or each is one.
    """

    labels: tuple[int | None, ...]
    heard: tuple[Embedding | EmbeddingError, ...]
    groups: int
    silhouette: float | None

    @property
    def failures(self) -> tuple[EmbeddingError, ...]:
        """Which recordings are in no group, and why."""
        return tuple(each for each in self.heard if isinstance(each, EmbeddingError))


def cluster(
    model: "Model", sources: Iterable[Source], *, voices: int | None = None, progress: bool = False
) -> Clustering:
    """Groups recordings by voice; see :meth:`hive_mtl.Model.cluster`."""
    recordings = list(sources)
    check_count(len(recordings), voices)  # before any work
    if voices is None:
        calibration_of(model)
    results = model.embed_stream(recordings)
    if progress:
        results = with_progress(results, len(recordings))
    heard = tuple(map(answerable, recordings, results))
    embeddings = [each for each in heard if isinstance(each, Embedding)]
    if len(embeddings) < max(2, voices or 0):
        raise DataError(_too_few(heard, len(embeddings)))
    vectors = np.stack([each.vector for each in embeddings])
    sides = Sides(
        np.array([each.speech_seconds for each in embeddings]),
        np.array([each.snr_db for each in embeddings]),
    )
    calibration = model.calibration
    cohort = model.cohort if calibration is None else cohort_of(model, calibration)
    alike = similarities(vectors, sides, calibration, cohort)
    found = by_size(group(alike, groups=voices, threshold=THRESHOLD))
    numbers = iter((found + 1).tolist())
    return Clustering(
        labels=tuple(next(numbers) if isinstance(each, Embedding) else None for each in heard),
        heard=heard,
        groups=int(found.max()) + 1,
        silhouette=silhouette(vectors, found),
    )


def similarities(
    vectors: npt.NDArray[np.float32],
    sides: Sides,
    calibration: Calibration | None,
    cohort: npt.NDArray[np.float32] | None,
) -> npt.NDArray[np.float32]:
    """How alike every two recordings are, ``(n, n)``, worked out some rows at a time.

    Args:
        vectors: ``(n, dim)`` of unit norm.
        sides: ``(n,)`` how good each recording is.
        calibration: gives log-likelihood ratios; None leaves the scores as they are.
        cohort: ``(voices, dim)`` to normalise the cosines by; None leaves them as they are.
    """
    alike = np.empty((len(vectors), len(vectors)), np.float32)
    level = None if cohort is None else cohort_level(vectors, cohort)
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        score = (vectors[rows] @ vectors.T).astype(np.float64)
        if level is not None:
            score = adaptive_s_norm(score, level[rows, None], level[None])
        if calibration is not None:
            left = Sides(sides.speech_s[rows, None], sides.snr_db[rows, None])
            right = Sides(sides.speech_s[None], sides.snr_db[None])
            score = line(calibration, left, right).llr(score)
        alike[rows] = score
    return alike


def silhouette(vectors: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float | None:
    """Of groups ``(n,)`` of vectors ``(n, dim)``; see :class:`Clustering`."""
    if not 1 < len(np.unique(labels)) < len(labels):
        return None
    from sklearn.metrics import silhouette_score  # here, because the base install has none

    return float(silhouette_score(vectors, labels, metric="cosine"))


def _too_few(heard: Sequence[Embedding | EmbeddingError], usable: int) -> str:
    failure = next((each for each in heard if isinstance(each, EmbeddingError)), None)
    why = f", {len(heard) - usable} failed, such as {failure}" if failure else ""
    remedy = "give two or more with speech"
    if usable >= 2:  # fewer than the voices
        remedy = f"give more with speech, or a number of groups from 1 to {usable}"
    return f"{usable} of {len(heard)} recordings can be grouped{why}: {remedy}"
