"""Bits of embeddings: what they stand for, and that they stay what they are."""

import hashlib

import numpy as np
import pytest

from hive_mtl.errors import ConfigError
from hive_mtl.use.binary import BITS, binarise, projected, signs


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def differing(left, right):
    """In how many bits rows differ, ``(..., bits / 8)`` twice -> ``(...)``."""
    return np.bitwise_count(left ^ right).sum(axis=-1, dtype=np.int64)


@pytest.fixture
def vectors():
    return unit(np.random.default_rng(0).standard_normal((300, 192)))


@pytest.mark.parametrize("bits", BITS)
def test_a_distance_stands_for_the_cosine(bits):
    generator = np.random.default_rng(1)
    a = unit(generator.standard_normal((500, 192)))
    other = unit(generator.standard_normal((500, 192)))
    b = unit(a + other * generator.uniform(0.2, 2, (500, 1)))
    cosines = np.einsum("nd,nd->n", a, b)
    estimated = np.cos(np.pi / bits * differing(binarise(a, bits), binarise(b, bits)))
    # of independent planes, the deviation of the estimate is at most pi / (2 sqrt(bits))
    assert np.sqrt(np.mean((estimated - cosines) ** 2)) < np.pi / (2 * np.sqrt(bits))
    assert np.mean(estimated - cosines) == pytest.approx(0, abs=0.02)


def test_the_opposite_has_no_bit_alike(vectors):
    codes = binarise(vectors, 512)
    assert (differing(codes, binarise(-vectors, 512)) == 512).all()


def test_bits_that_are_stored_stay_comparable():
    # a whole number has no rounding to differ by: these very bits must come out for ever
    vectors = np.eye(192, dtype=np.float32)
    codes = binarise(vectors, 512)
    assert codes.shape == (192, 64)
    assert codes.dtype == np.uint8
    assert hashlib.sha256(codes.tobytes()).hexdigest()[:16] == "e173205069756ad7"


def test_fewer_bits_are_the_first_of_more(vectors):
    most = binarise(vectors, 1024)
    for bits in BITS:
        np.testing.assert_array_equal(binarise(vectors, bits), most[:, : bits // 8])


def test_bits_of_leading_numbers_know_no_others(vectors):
    leading = binarise(vectors, 256, 64)
    np.testing.assert_array_equal(leading, binarise(vectors[:, :64], 256))
    assert (leading != binarise(vectors, 256)).any()
    assert projected(vectors, 256, 64).shape == (300, 256)


def test_signs_multiply_to_what_the_distance_says(vectors):
    codes = binarise(vectors, 512)
    distance = differing(codes[:, None], codes[None])
    np.testing.assert_array_equal(signs(codes) @ signs(codes).T, 512 - 2.0 * distance)


def test_a_vector_at_hand_is_compared_better_than_its_bits(vectors):
    cosines = vectors @ vectors.T
    apart = ~np.eye(len(vectors), dtype=bool)
    codes = signs(binarise(vectors, 512))

    def likeness(scores):
        return np.corrcoef(scores[apart], cosines[apart])[0, 1]

    assert likeness(projected(vectors, 512) @ codes.T) > likeness(codes @ codes.T)


@pytest.mark.parametrize("bits", [0, 8, 500, 2048])
def test_other_numbers_of_bits_are_refused(vectors, bits):
    with pytest.raises(ConfigError, match="256, 512, 1024"):
        binarise(vectors, bits)
