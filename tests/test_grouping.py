"""Grouping by similarity: known groups are found, whatever the order."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_mtl.errors import ConfigError, DataError
from hive_mtl.use import grouping
from hive_mtl.use.grouping import group


def similarity_of(labels: list[int], seed: int = 0) -> npt.NDArray[np.float32]:
    """About 3 inside a group and about -3 across, ``(n, n)``, no two pairs alike."""
    rng = np.random.default_rng(seed)
    same = np.equal.outer(labels, labels)
    noise = rng.uniform(-2, 2, same.shape)
    return (np.where(same, 3.0, -3.0) + (noise + noise.T) / 2).astype(np.float32)


def renumbered(labels: list[int]) -> list[int]:
    order = list(dict.fromkeys(labels))
    return [order.index(label) for label in labels]


some_labels = st.lists(st.integers(0, 5), min_size=1, max_size=30)


@given(labels=some_labels, seed=st.integers(0, 99))
def test_known_groups_are_found_and_numbered_by_first_appearance(
    labels: list[int], seed: int
) -> None:
    similarity = similarity_of(labels, seed)
    assert group(similarity).tolist() == renumbered(labels)
    assert group(similarity, groups=len(set(labels))).tolist() == renumbered(labels)


@settings(max_examples=30)
@given(seed=st.integers(0, 99), threshold=st.floats(-4, 4), data=st.data())
def test_the_order_of_what_is_grouped_changes_nothing(
    seed: int, threshold: float, data: st.DataObject
) -> None:
    similarity = similarity_of([0, 0, 1, 2, 1, 0, 3, 1, 2, 2], seed)
    order = data.draw(st.permutations(range(10)))
    shuffled = group(similarity[np.ix_(order, order)], threshold=threshold)
    assert shuffled.tolist() == renumbered(group(similarity, threshold=threshold)[order].tolist())


@given(labels=some_labels, data=st.data())
def test_as_many_groups_as_asked_for_even_where_all_are_equally_alike(
    labels: list[int], data: st.DataObject
) -> None:
    groups = data.draw(st.integers(1, len(labels)))
    alike = np.equal.outer(labels, labels).astype(np.float32)
    assert len(set(group(alike, groups=groups).tolist())) == groups


def test_two_groups_join_by_the_mean_of_the_pairs_between_them() -> None:
    similarity = np.full((3, 3), 5.0, np.float32)
    similarity[0, 2] = similarity[2, 0] = -7.0
    similarity[1, 2] = similarity[2, 1] = 4.0  # the mean with 0 and 1 is -1.5
    assert group(similarity).tolist() == [0, 0, 1]
    assert group(similarity, threshold=-1.5).tolist() == [0, 0, 0]
    assert group(similarity, threshold=9.0).tolist() == [0, 1, 2]


def test_what_cannot_be_grouped_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    similarity = similarity_of([0, 1, 2])
    for groups in (0, 4):
        with pytest.raises(ConfigError, match="from 1 to 3"):
            group(similarity, groups=groups)
    with pytest.raises(DataError, match="nothing to group"):
        group(np.empty((0, 0), np.float32))
    with pytest.raises(DataError, match="not finite"):
        group(np.where(similarity > 0, np.float32("nan"), similarity))
    monkeypatch.setattr(grouping, "MOST", 2)
    with pytest.raises(DataError, match="3 are too many"):
        group(similarity)
