"""The map of embeddings: what sounds alike lies together; colour is voice, shape gender."""

from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from hive_mtl.faces.demo.story import Recording

_WIDTH, _HEIGHT, _MARGIN = 960, 560, 28
_FEW = 30  # points below which neighbourhoods say little and the two main directions are drawn


def draw_map(recordings: Sequence[Recording]) -> str:
    """The map as one ``<svg>`` element."""
    voices = list(dict.fromkeys(recording.voice for recording in recordings))
    place = _fitted(_places(np.stack([each.embedding.vector for each in recordings])))
    marks = []
    for number, recording in enumerate(recordings):
        x, y = place[number]
        voice = voices.index(recording.voice)
        gender = recording.labels.get("gender")
        label = f"voice {recording.voice}" + (f", {gender}" if gender else "")
        marks.append(
            f'<g class="mark" data-recording="{number}" data-voice="{voice}"'
            f' data-label="{escape(label)}" style="--hue:{360 * voice / len(voices):.0f}"'
            f' transform="translate({x:.1f} {y:.1f})">{_shape(gender)}</g>'
        )
    summary = (
        f"Map of {len(recordings)} recordings of {len(voices)} voices that training has not heard."
        " Recordings that sound alike lie together. The list of voices follows."
    )
    return (
        f'<svg class="map" role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        f' aria-label="{escape(summary)}">{"".join(marks)}</svg>'
    )


def _places(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """``(recordings, dim)`` -> ``(recordings, 2)``: t-SNE, or principal components for a few."""
    if len(vectors) < _FEW:
        centred = vectors.astype(np.float64) - vectors.mean(axis=0)
        left, size, _ = np.linalg.svd(centred, full_matrices=False)
        flat: npt.NDArray[np.float64] = left[:, :2] * size[:2]
        return flat
    from openTSNE import TSNE  # slow to import

    tsne = TSNE(perplexity=min(30, len(vectors) / 5), metric="cosine", random_state=0)
    return np.asarray(tsne.fit(vectors), dtype=np.float64)


def _fitted(places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Into the picture, with the longer side lying."""
    low, high = places.min(axis=0), places.max(axis=0)
    room = np.array([_WIDTH, _HEIGHT]) - 2 * _MARGIN
    scale = room / np.maximum(high - low, 1e-9)
    middle = np.array([_WIDTH, _HEIGHT]) / 2
    fitted: npt.NDArray[np.float64] = middle + (places - (low + high) / 2) * scale
    return fitted


def _shape(gender: str | None) -> str:
    if gender == "female":
        return '<circle r="7"/>'
    if gender == "male":
        return '<rect x="-6.2" y="-6.2" width="12.4" height="12.4" rx="1.5"/>'
    return '<path d="M0 -8 L8 6 H-8 Z"/>'
