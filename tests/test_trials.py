"""Pairs are complete, each made once, and few enough to score."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_mtl.trials import Trials, all_pairs, cosines, crosses_sessions

UTTERANCES = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.sampled_from(["x", "y", None]),
        st.sampled_from(["female", "male", None]),
    ),
    max_size=14,
)


def as_set(trials):
    rows = list(
        zip(trials.left.tolist(), trials.right.tolist(), trials.target.tolist(), strict=True)
    )
    assert len(set(rows)) == len(rows) == len(trials)
    return set(rows)


@given(UTTERANCES, st.booleans(), st.booleans())
def test_pairs_are_those_of_the_definition(utterances, with_sessions, within_gender):
    expected = set()
    crosses = with_sessions and any(
        a[0] == b[0] and a[1] != b[1] and None not in (a[1], b[1])
        for a, b in combinations(utterances, 2)
    )
    for (i, a), (j, b) in combinations(enumerate(utterances), 2):
        target = a[0] == b[0]
        if target and crosses and (a[1] == b[1] or None in (a[1], b[1])):
            continue
        if within_gender and (a[2] != b[2] or a[2] is None):
            continue
        expected.add((i, j, target))
    speakers, sessions, genders = (
        [utterance[field] for utterance in utterances] for field in range(3)
    )
    trials = all_pairs(
        speakers,
        sessions=sessions if with_sessions else None,
        genders=genders if within_gender else None,
    )
    assert as_set(trials) == expected
    assert not trials.sampled


@pytest.mark.parametrize(
    ("speakers", "sessions", "crosses"),
    [
        ("aab", ["x", "y", "x"], True),
        ("aab", ["x", "x", "y"], False),
        ("aab", ["x", None, "y"], False),  # what is not known is no other session
        ("", [], False),
    ],
)
def test_sessions_are_crossed_where_a_speaker_has_two(speakers, sessions, crosses):
    assert crosses_sessions(list(speakers), sessions) == crosses


def test_too_many_pairs_are_sampled_always_alike():
    speakers = [str(i % 40) for i in range(2000)]
    trials = all_pairs(speakers, max_pairs=10_000)
    assert trials.sampled
    assert as_set(trials) == as_set(all_pairs(speakers, max_pairs=10_000))
    assert np.all(trials.left < trials.right)
    same = [speakers[i] == speakers[j] for i, j in zip(trials.left, trials.right, strict=True)]
    assert same == trials.target.tolist()
    assert trials.target.sum() == pytest.approx(10_000, rel=0.2)
    assert (~trials.target).sum() == pytest.approx(10_000, rel=0.05)
    # uniform: the mean of left and right over pairs below n are n/3 and 2n/3
    assert trials.left[~trials.target].mean() == pytest.approx(2000 / 3, rel=0.03)
    assert trials.right[~trials.target].mean() == pytest.approx(4000 / 3, rel=0.03)


def test_selection_keeps_what_it_says():
    trials = all_pairs(["a", "a", "b"])
    assert as_set(trials.select(trials.target)) == {(0, 1, True)}


def test_cosines_are_those_of_each_pair_in_however_many_pieces(monkeypatch):
    monkeypatch.setattr("hive_mtl.trials._TRIALS_AT_ONCE", 4)
    vectors = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    trials = all_pairs(list("aabbc"))
    found = cosines(vectors, trials)
    expected = (vectors @ vectors.T)[trials.left, trials.right]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.shape == (len(trials),)


def test_cosines_stay_within_their_range_and_may_be_none():
    vectors = np.array([[1.0000001, 0], [1.0000001, 0]], np.float32)
    assert cosines(vectors, all_pairs(["a", "a"])).tolist() == [1.0]
    nothing = np.array([], np.int64)
    assert cosines(vectors, Trials(nothing, nothing, nothing.astype(bool))).size == 0
