"""The last layer of a model that ships: directions that tell voices apart count for more.

A network spreads a voice over directions that are not worth the same: along some, recordings of one
voice differ nearly as much as voices do. Linear discriminant analysis orders them (Fisher, The use
of multiple measurements in taxonomic problems, 1936; for embeddings of speakers, Dehak et al.,
Front-end factor analysis for speaker verification, 2011). With ``S`` the second moments of the
embeddings of training voices and ``W`` the spread of recordings around the mean of their voice,
both relative to their trace, the solutions of ``S u = r W u``, by falling ratio ``r``, are made
orthonormal in this order, so that nothing is whitened: whitening raises what is mostly noise. The
embedding along the axis of ratio ``r`` is multiplied by a small power of it, and all of it brought
back to unit norm. That can be undone: no direction is lost, and nothing that a head could read.

Both spreads are shrunk towards that of a sphere, worth :data:`PRIOR` recordings. Its first numbers
now tell the most of a voice, and bits are made of them (:mod:`hive_mtl.use.binary`).
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.linalg

from hive_mtl.description import ModelDescription
from hive_mtl.evaluate.cohort import training_voices
from hive_mtl.evaluate.embedded import embed_table
from hive_mtl.learn.export import add_map
from hive_mtl.use.model import load

LEADING = 64  # numbers that bits are made of; 48 to 128 differ little on validation voices
PRIOR = 1_000  # recordings; 500 to 1,500 differ little on validation voices
SHARPNESS = 0.15  # the power; 0.25 tells voices apart a little better, but corpora are less alike
LEAST_VOICES = 100  # of several recordings: fewer bring next to nothing
MOST_RECORDINGS = 10_000
OF_A_VOICE = 50  # recordings, at most: nobody's habits are to stand for everybody's

Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def add_discriminant(file: Path, table: pa.Table) -> ModelDescription | None:
    """Gives a model file, which has none, the map that training voices call for.

    Args:
        file: a model.onnx as export wrote it; it is written anew.
        table: the data that the model was trained on.

    Returns:
        What the model says of itself now; None, and the file as it was, where fewer than
        :data:`LEAST_VOICES` have several recordings.
    """
    rows, recordings = training_voices(table)
    recordings = [mine[:OF_A_VOICE] for mine in recordings]
    counts = np.array([len(mine) for mine in recordings], np.int64)
    drawn = int(np.searchsorted(np.cumsum(counts), MOST_RECORDINGS, side="right"))
    if np.sum(counts[:drawn] > 1) < LEAST_VOICES:
        return None
    embedded = embed_table(load(file), rows.take(pa.array(np.concatenate(recordings[:drawn]))))
    vectors, voice = embedded.vectors[~embedded.missing], embedded.voice[~embedded.missing]
    if np.sum(np.unique(voice, return_counts=True)[1] > 1) < LEAST_VOICES:
        return None  # too few of them could be read
    matrix = discriminant(vectors, voice)
    return add_map(file, matrix, min(LEADING, len(matrix)))


def discriminant(vectors: Float32s, voice: Indices) -> Float32s:
    """The map ``(dim, dim)`` that is multiplied from the right.

    Args:
        vectors: ``(recordings, dim)`` of unit norm.
        voice: ``(recordings,)`` a number for who speaks.
    """
    _, code, counts = np.unique(voice, return_inverse=True, return_counts=True)
    exact = vectors.astype(np.float64)
    centres = np.zeros((len(counts), exact.shape[1]))
    np.add.at(centres, code, exact)
    centres /= counts[:, None]
    several = counts[code] > 1
    apart = exact[several] - centres[code[several]]
    free = several.sum() - (counts > 1).sum()
    ratios, axes = scipy.linalg.eigh(_spread(exact, len(exact)), _spread(apart, free))
    ordered = np.linalg.qr(axes[:, ::-1])[0]
    largest = np.abs(ordered).argmax(axis=0)
    ordered *= np.sign(ordered[largest, np.arange(len(ordered))])  # else LAPACK chooses the sign
    return np.asarray(ordered * (ratios[::-1] / ratios[-1]) ** SHARPNESS, np.float32)


def _spread(vectors: Float64s, count: float) -> Float64s:
    """Second moments relative to their trace, shrunk towards those of a sphere."""
    moments = vectors.T @ vectors
    sphere = np.eye(len(moments)) / len(moments)
    total = np.trace(moments)
    share = count / (count + PRIOR) if total > 0 else 0.0  # copies of one recording tell nothing
    return np.asarray(share * moments / max(total, np.finfo(float).tiny) + (1 - share) * sphere)
