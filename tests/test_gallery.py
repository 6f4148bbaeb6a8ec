"""A gallery answers as a comparison with every voice would, and says what is wrong with a file."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_mtl.errors import DataError
from hive_mtl.use import gallery, nearest
from hive_mtl.use.gallery import Gallery


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def draw(count, dim=16, seed=0):
    return unit(np.random.default_rng(seed).standard_normal((count, dim)))


def written(tmp_path, vectors, block=100, stamp="model-1"):
    file = tmp_path / "gallery"
    blocks = (vectors[first : first + block] for first in range(0, len(vectors), block))
    Gallery.write(file, blocks, stamp=stamp)
    return Gallery(file)


def by_hand(vectors, queries, k):
    """Rows by all cosines; of equal ones, the lower."""
    return np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :k]


@settings(max_examples=40, deadline=None)
@given(
    voices=st.integers(1, 200),
    dim=st.integers(1, 20),
    queries=st.integers(1, 9),
    k=st.integers(1, 30),
    seed=st.integers(0, 2**32 - 1),
)
def test_all_cosines_are_compared(tmp_path_factory, voices, dim, queries, k, seed):
    vectors, asked = draw(voices, dim, seed), draw(queries, dim, seed + 1)
    found = written(tmp_path_factory.mktemp("g"), vectors)
    rows, cosines = found.nearest(asked, k)
    assert (len(found), found.dim, found.stamp) == (voices, dim, "model-1")
    assert rows.shape == cosines.shape == (queries, min(k, voices))
    assert (rows.dtype, cosines.dtype) == (np.int64, np.float32)
    every = asked @ vectors.T
    best = -np.sort(-every, axis=1)[:, : min(k, voices)]
    np.testing.assert_allclose(cosines, best, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(every, rows, axis=1), cosines, atol=1e-6)
    assert all(len(set(row)) == len(row) for row in rows)


def test_equal_voices_come_in_their_order(tmp_path):
    vectors = np.tile(draw(3), (50, 1))
    rows, _ = written(tmp_path, vectors).nearest(vectors[:1], 60)
    assert rows[0, :50].tolist() == list(range(0, 150, 3))


def test_threads_and_blocks_change_nothing(tmp_path, monkeypatch):
    vectors, asked = draw(5_000), draw(300, seed=1)
    whole = written(tmp_path, vectors).nearest(asked, 10)
    monkeypatch.setattr(nearest, "_LEAST_ROWS", 64)
    monkeypatch.setattr(nearest, "_AT_ONCE", 64)
    monkeypatch.setattr(nearest, "_SAMPLE", 100)
    monkeypatch.setattr(nearest, "cores", lambda: 3)
    parts = Gallery(tmp_path / "gallery").nearest(asked, 10)
    np.testing.assert_array_equal(parts[0], whole[0])


@pytest.mark.parametrize("voices", [1_500, 1_999, 2_000, 5_500])
def test_as_many_are_chosen_as_are_asked_for(monkeypatch, voices):
    chosen, first = [], nearest._first

    def count(rows, products, k):
        chosen.append(len(rows))
        return first(rows, products, k)

    monkeypatch.setattr(nearest, "_SAMPLE", 1_000)
    monkeypatch.setattr(nearest, "_first", count)
    vectors, asked = draw(voices), draw(50, seed=1)
    nearest.highest_by_part(vectors, asked, (vectors, asked), 5, candidates=300)
    assert np.mean(chosen) == pytest.approx(300, rel=0.1)


def voices_and_recordings(count, queries, dim=64):
    """Voices that lie mostly along some axes, and recordings with a cosine of about 0.6."""
    generator = np.random.default_rng(0)
    spread = 0.9 ** np.arange(dim)
    voices = unit(generator.standard_normal((count, dim)) * spread)
    noise = unit(generator.standard_normal((queries, dim)))
    return voices, unit(0.6 * voices[:queries] + 0.8 * noise)


def test_a_large_gallery_finds_nearly_all_that_an_exact_search_finds(tmp_path):
    voices, asked = voices_and_recordings(gallery.SMALL, 100)
    large = written(tmp_path, voices, block=6_000)
    rows, cosines = large.nearest(asked, 10)
    exact, exact_cosines = large.nearest(asked, 10, exact=True)
    np.testing.assert_array_equal(exact, by_hand(voices, asked, 10))
    np.testing.assert_array_equal(rows[:, 0], exact[:, 0])
    assert np.mean([len(set(a) & set(b)) for a, b in zip(rows, exact, strict=True)]) > 9.8
    assert (cosines <= exact_cosines + 1e-6).all()
    np.testing.assert_allclose(cosines[:, 0], exact_cosines[:, 0], atol=1e-6)
    # as many as are asked for come, however many those are
    assert large.nearest(asked[:1], 1_500)[0].tolist() == by_hand(voices, asked[:1], 1_500).tolist()
    # the part that is compared first makes the file larger
    assert (tmp_path / "gallery").stat().st_size > 4 * voices.size


def test_voices_that_lie_anywhere_are_all_compared(tmp_path):
    voices, asked = draw(gallery.SMALL, 32), draw(3, 32, seed=1)
    rows, _ = written(tmp_path, voices, block=8_000).nearest(asked, 5)
    np.testing.assert_array_equal(rows, by_hand(voices, asked, 5))


def test_nobody_is_there(tmp_path):
    empty = written(tmp_path, draw(0))
    assert (len(empty), empty.dim, empty.stamp) == (0, 0, "model-1")
    rows, cosines = empty.nearest(draw(2), 3)
    assert rows.shape == cosines.shape == (2, 0)
    assert written(tmp_path, draw(5)).nearest(draw(0), 3)[0].shape == (0, 3)
    assert written(tmp_path, draw(5)).nearest(draw(2), 0)[0].shape == (2, 0)


def test_nobody_else_may_read_it(tmp_path):
    Gallery.write(tmp_path / "gallery", [np.eye(4, dtype=np.float32)], stamp="")
    assert (tmp_path / "gallery").stat().st_mode & 0o077 == 0


def test_the_stamp_is_any_text(tmp_path):
    vectors = draw(3)
    found = written(tmp_path, vectors, stamp="modèle " * 40)
    assert found.stamp == "modèle " * 40
    assert found.nearest(vectors, 1)[0].ravel().tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("blocks", "why"),
    [
        ([draw(2), draw(2, dim=8)], r"give \(n, 16\)"),
        ([draw(2), 2 * draw(2)], "vector 2: its norm is 2"),
        ([draw(2), np.full((1, 16), np.nan, np.float32)], "vector 2"),
        ([draw(2)[0]], "shape"),
    ],
)
def test_what_is_no_unit_vector_is_not_written(tmp_path, blocks, why):
    with pytest.raises(DataError, match=why):
        Gallery.write(tmp_path / "gallery", blocks, stamp="")
    assert list(tmp_path.iterdir()) == []


def test_queries_must_fit(tmp_path):
    found = written(tmp_path, draw(5))
    for wrong in (draw(1, dim=8), 3 * draw(1), draw(1)[0]):
        with pytest.raises(DataError, match="give"):
            found.nearest(wrong, 1)


def cut(content):
    return content[:-1]


def lengthened(content):
    return content + b"\0"


def with_more_voices(content):
    return content[:20] + b"\xff" * 8 + content[28:]


@pytest.mark.parametrize(
    "damage", [cut, lengthened, with_more_voices, lambda _: b"", lambda _: b"RIFF" * 100]
)
def test_a_file_that_is_no_gallery_is_refused(tmp_path, damage):
    written(tmp_path, draw(5))
    file = tmp_path / "gallery"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError, match=str(file)):
        Gallery(file)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for place in (tmp_path / "none", tmp_path):
        with pytest.raises(DataError, match=str(place)):
            Gallery(place)
