"""Bits of embeddings: what they stand for, and that they stay what they are."""

import hashlib

import numpy as np
import pytest

from hive_mtl.errors import ConfigError
from hive_mtl.use.binary import BITS, binarise, cosine_of, hamming, projected, signs


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


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
    estimated = cosine_of(hamming(binarise(a, bits), binarise(b, bits)), bits)
    assert estimated.dtype == np.float32
    # of independent planes, the deviation of the estimate is at most pi / (2 sqrt(bits))
    assert np.sqrt(np.mean((estimated - cosines) ** 2)) < np.pi / (2 * np.sqrt(bits))
    assert np.mean(estimated - cosines) == pytest.approx(0, abs=0.02)


def test_the_ends_of_the_scale(vectors):
    codes = binarise(vectors, 512)
    assert (hamming(codes, codes) == 0).all()
    assert (hamming(codes, binarise(-vectors, 512)) == 512).all()
    assert cosine_of(np.array([0, 256, 512]), 512) == pytest.approx([1, 0, -1], abs=1e-6)


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


def test_every_row_is_compared_with_every_other(vectors):
    codes = binarise(vectors, 256)
    found = hamming(codes[:5, None], codes[None, :7])
    assert found.shape == (5, 7)
    bits = np.unpackbits(codes, axis=1)
    assert found[2, 6] == (bits[2] != bits[6]).sum()


def test_signs_multiply_to_what_the_distance_says(vectors):
    codes = binarise(vectors, 512)
    distance = hamming(codes[:, None], codes[None])
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
