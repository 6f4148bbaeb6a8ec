"""Embeddings of one bit a number: 512 bits where 192 numbers in float32 take 6,144.

A bit says on which side of a random plane the vector lies. Two vectors at the angle ``a`` differ in
each bit with probability ``a / pi`` (Charikar 2002), so a Hamming distance stands for a cosine.
The planes of a block are orthogonal, which makes that estimate less noisy (super-bits, Ji et al.
2012). That embeddings learnt with proxies survive it is from Zhai et al. (KDD 2019). A rotation
learnt from training voices (ITQ, Gong & Lazebnik 2011) was no better on validation voices.

Planes are spent on what tells voices apart: where a model orders the numbers of its embedding by
that, bits are made of the leading ones (``ModelDescription.leading``) as if there were no others.

The bits are a function of the vector, their number and that of the leading numbers alone: there is
nothing to keep beside them, and 256 bits are the first of 512.
"""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from hive_mtl.errors import ConfigError
from hive_mtl.use.scoring import unit_rows

Floats = npt.NDArray[np.floating[Any]]
Float32s = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint8]

BITS = (256, 512, 1024)
_SEED = 20190804  # another would be as good, but bits that are stored rest on it


def check_bits(bits: int) -> None:
    """Lets pass how many bits there may be.

    Raises:
        ConfigError: ``bits`` is none of :data:`BITS`.
    """
    if bits not in BITS:
        raise ConfigError(f"{bits} bits: choose from {', '.join(map(str, BITS))}")


def binarise(vectors: Floats, bits: int, leading: int | None = None) -> Codes:
    """Packed bits of vectors, ``(n, dim)`` -> ``(n, bits / 8)``.

    Args:
        vectors: of one model.
        bits: one of :data:`BITS`.
        leading: of how many of the first numbers; None: of all.

    Raises:
        ConfigError: ``bits`` is none of :data:`BITS`.
    """
    return np.packbits(_sides(vectors, bits, leading) >= 0, axis=1)


def signs(codes: Codes) -> Float32s:
    """Bits as 1 and -1, ``(n, bits / 8)`` -> ``(n, bits)``.

    The product of two is ``bits - 2 d``, where ``d`` is in how many bits they differ, the Hamming
    distance; it orders as the cosine does, which is about ``cos(pi d / bits)``. That of one with
    :func:`projected` compares bits that are stored with a vector that is at hand, and loses less.
    """
    return 2 * np.unpackbits(codes, axis=1).astype(np.float32) - 1


def projected(vectors: Floats, bits: int, leading: int | None = None) -> Float32s:
    """What the bits are the signs of, at unit norm: ``(n, dim)`` -> ``(n, bits)``."""
    return unit_rows(_sides(vectors, bits, leading))


def _sides(vectors: Floats, bits: int, leading: int | None) -> Float32s:
    """How far on which side of each plane vectors lie, ``(n, bits)``."""
    check_bits(bits)
    part = vectors[:, :leading].astype(np.float32, copy=False)
    return np.asarray(part @ _normals(part.shape[1], bits))


@cache
def _normals(dim: int, bits: int) -> Float32s:
    """Normals of the planes, ``(dim, bits)``, orthogonal in blocks of ``dim``."""
    generator = np.random.RandomState(_SEED)  # its stream never changes; a Generator's may
    blocks = []
    for _ in range(0, bits, dim):
        block, triangle = np.linalg.qr(generator.standard_normal((dim, dim)))
        blocks.append(block * np.sign(np.diag(triangle)))  # the sign is LAPACK's choice otherwise
    return np.concatenate(blocks, axis=1)[:, :bits].astype(np.float32)
