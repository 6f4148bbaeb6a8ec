"""Clustering: are the recordings of some unseen voices, whose number is not told, put together?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hive_mtl.description import Calibration
from hive_mtl.errors import DataError
from hive_mtl.evaluate.bootstrap import SEED, Estimate
from hive_mtl.evaluate.embedded import EmbeddedTable
from hive_mtl.metrics import b_cubed
from hive_mtl.use.cluster import THRESHOLD, similarities
from hive_mtl.use.grouping import group

VOICES = 20  # clustered at a time
DRAWS = 50
MOST_UTTERANCES = 20  # of one voice, or a draw of a large corpus is some voices and many pairs
_PERCENTILES = (2.5, 97.5)

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Clustered:
    """Means over draws of voices, whose recordings are grouped together.

    Attributes:
        corpora: where the voices are from.
        voices: in a draw.
        draws: of voices; one where there are no more than a draw takes.
        utterances: in a draw, on average.
        groups: found; None where the figures are undefined: fewer than two voices, or a model that
            is not calibrated.
        precision: B-cubed, a fraction, as are those below.
        recall: B-cubed.
        f: B-cubed.
    """

    corpora: tuple[str, ...]
    voices: int
    draws: int
    utterances: float
    groups: Estimate | None
    precision: Estimate | None
    recall: Estimate | None
    f: Estimate | None


def check_corpora(table: pa.Table, corpora: Sequence[str]) -> None:
    """Lets pass corpora of a table.

    Raises:
        DataError: there is no such corpus.
    """
    there = table["corpus"].unique().to_pylist()
    for corpus in corpora:
        if corpus not in there:
            raise DataError(f"corpus '{corpus}': not in the data: it has {', '.join(there)}")


def judge_clustering(
    embedded: EmbeddedTable,
    calibration: Calibration | None,
    corpora: Sequence[str],
    min_duration_s: float = 2.0,
) -> Clustered:
    """Clusters :data:`VOICES` voices at a time, drawn from all these corpora alike.

    A recording with too little speech to be grouped counts as wrong.

    Args:
        embedded: the utterances.
        calibration: by which the scores are read.
        corpora: whose voices are drawn.
        min_duration_s: shorter utterances are left out.
    """
    utterances = np.concatenate([embedded.comparable(each, min_duration_s) for each in corpora])
    speakers = np.unique(embedded.voice[utterances])
    voices = min(VOICES, len(speakers))
    draws = DRAWS if len(speakers) > VOICES else 1
    figures, counts = [], []
    generator = np.random.default_rng(SEED)
    for _ in range(draws if voices > 1 and calibration is not None else 0):
        drawn = generator.permutation(speakers)[:voices]
        rows = _of_voices(embedded, utterances, drawn, generator)
        found = _groups(embedded, calibration, rows)
        number = len(np.unique(found[found >= 0]))
        figures.append((number, *b_cubed(found, embedded.voice[rows])))
        counts.append(len(rows))
    estimates = _estimates(np.array(figures)) if figures else (None, None, None, None)
    mean = float(np.mean(counts)) if counts else float(len(utterances))
    return Clustered(tuple(corpora), voices, draws, mean, *estimates)


def _of_voices(
    embedded: EmbeddedTable, utterances: Indices, voices: Indices, generator: np.random.Generator
) -> Indices:
    """The utterances of the voices, as many of each as count."""
    return np.concatenate(
        [
            generator.permutation(utterances[embedded.voice[utterances] == voice])[:MOST_UTTERANCES]
            for voice in voices
        ]
    )


def _groups(embedded: EmbeddedTable, calibration: Calibration | None, rows: Indices) -> Indices:
    """The group of each row ``(rows,)``; -1 where it cannot be grouped."""
    usable = embedded.answerable[rows]
    found = np.full(len(rows), -1, np.int64)
    kept = rows[usable]
    if len(kept):
        alike = similarities(
            embedded.vectors[kept], embedded.sides(kept), calibration, embedded.cohort
        )
        found[usable] = group(alike, threshold=THRESHOLD)
    return found


def _estimates(figures: npt.NDArray[np.float64]) -> tuple[Estimate, ...]:
    """``(draws, figures)`` -> the mean of each figure and where 95% of the draws lie."""
    mean = figures.mean(axis=0).tolist()
    if len(figures) == 1:
        return tuple(Estimate(value, None, None) for value in mean)
    low, high = np.percentile(figures, _PERCENTILES, axis=0).tolist()
    return tuple(Estimate(*bounds) for bounds in zip(mean, low, high, strict=True))
