"""Embeddings of one bit a number: 512 bits where float32 takes 6,144.

A bit says on which side of a random plane the vector lies. Two vectors at the angle ``a`` differ in
each bit with probability ``a / pi`` (Charikar 2002), so a Hamming distance stands for a cosine.
The planes of a block are orthogonal, which makes that estimate less noisy (super-bits, Ji et al.
2012). That embeddings trained as proxies survive it is from Zhai et al. (KDD 2019).

The bits are a function of the vector and their number alone: there is nothing to keep beside them,
and 256 bits are the first of 512.
"""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from hive_mtl.errors import ConfigError

Floats = npt.NDArray[np.floating[Any]]
Float32s = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint8]

BITS = (256, 512, 1024)
_SEED = 20190804  # another would be as good, but bits that are stored rest on it


def binarise(vectors: Floats, bits: int = 512) -> Codes:
    """Packed bits of vectors, ``(n, dim)`` -> ``(n, bits / 8)``.

    Raises:
        ConfigError: ``bits`` is none of :data:`BITS`.
    """
    if bits not in BITS:
        raise ConfigError(f"{bits} bits: choose from {', '.join(map(str, BITS))}")
    planes = _planes(vectors.shape[1], bits)
    return np.packbits(vectors.astype(np.float32, copy=False) @ planes >= 0, axis=1)


def hamming(left: Codes, right: Codes) -> npt.NDArray[np.uint16]:
    """In how many bits rows differ: ``(..., bits / 8)`` twice -> ``(...)``; NumPy broadcasts."""
    differing = np.bitwise_count(words(left) ^ words(right))
    return differing.sum(axis=-1, dtype=np.uint16)


def cosine_of(distance: npt.NDArray[np.integer[Any]], bits: int) -> Float32s:
    """The cosine that a Hamming distance stands for: ``cos(pi d / bits)``."""
    return np.cos(np.pi / bits * distance).astype(np.float32)


def words(codes: Codes) -> npt.NDArray[np.uint64]:
    """The same bits, 64 in one number: ``(..., bits / 8)`` -> ``(..., bits / 64)``."""
    return np.ascontiguousarray(codes).view(np.uint64)


@cache
def _planes(dim: int, bits: int) -> Float32s:
    """Normals of the planes, ``(dim, bits)``, orthogonal in blocks of ``dim``."""
    generator = np.random.RandomState(_SEED)  # its stream never changes; a Generator's may
    blocks = []
    for _ in range(0, bits, dim):
        block, triangle = np.linalg.qr(generator.standard_normal((dim, dim)))
        blocks.append(block * np.sign(np.diag(triangle)))  # the sign is LAPACK's choice otherwise
    return np.concatenate(blocks, axis=1)[:, :bits].astype(np.float32)
