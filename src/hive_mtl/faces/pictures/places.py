"""Where embeddings lie on a map: what sounds alike lies together."""

import numpy as np
import numpy.typing as npt

_FEW = 30  # points below which neighbourhoods say little and the two main directions are drawn


def places(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """``(recordings, dim)`` -> ``(recordings, 2)``: t-SNE, or principal components for a few."""
    if len(vectors) < _FEW:
        centred = vectors.astype(np.float64) - vectors.mean(axis=0)
        left, size, _ = np.linalg.svd(centred, full_matrices=False)
        flat: npt.NDArray[np.float64] = (left * size)[:, :2]
        return np.pad(flat, [(0, 0), (0, 2 - flat.shape[1])])  # one recording has no direction
    from openTSNE import TSNE  # slow to import

    tsne = TSNE(perplexity=min(30, len(vectors) / 5), metric="cosine", random_state=0)
    return np.asarray(tsne.fit(vectors), dtype=np.float64)


def fitted(places: npt.NDArray[np.float64], width: float, height: float) -> npt.NDArray[np.float64]:
    """Places ``(n, 2)`` stretched to fill a picture whose corner is 0, 0."""
    low, high = places.min(axis=0), places.max(axis=0)
    room = np.array([width, height])
    scale = room / np.maximum(high - low, 1e-9)
    centred: npt.NDArray[np.float64] = room / 2 + (places - (low + high) / 2) * scale
    return centred
