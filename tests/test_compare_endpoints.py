"""The figures that arms are compared by: what they are with every speaker counted once."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from hive_mtl import metrics, trials
from hive_mtl.evaluate.compare.endpoints import PRIMARY, Endpoints
from hive_mtl.evaluate.compare.statistics import Rules, compare
from hive_mtl.learn.comparing import CompareConfig
from hive_mtl.learn.tasks import get_task
from learning import utterances

SPEAKERS, TAKES = 30, 3
CONFIG = CompareConfig(draws=300, min_voices=5)


@pytest.fixture
def table() -> pa.Table:
    """Two corpora, and a third with too few voices for a figure of its own."""
    rows: list[dict[str, Any]] = [
        {
            "path": f"{voice}-{take}.wav",
            "speaker": f"v{voice}",
            "corpus": ("read", "phone", "few")[0 if voice < 14 else 1 if voice < 27 else 2],
            "gender": ("female", "male")[voice % 2] if voice != 3 else "",
            "age": str(20 + voice),
            "duration_s": "3",
        }
        for voice in range(SPEAKERS)
        for take in range(TAKES)
    ]
    return utterances(rows)


def vectors(noise: float, seed: int) -> np.ndarray:
    """Embeddings ``(utterances, 8)`` of the speakers' own directions and some noise."""
    directions = np.repeat(np.random.default_rng(0).normal(size=(SPEAKERS, 8)), TAKES, axis=0)
    found = directions + noise * np.random.default_rng(seed).normal(size=directions.shape)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def test_speaker_is_the_mean_equal_error_rate_over_corpora(table: pa.Table) -> None:
    endpoints = Endpoints(table, CONFIG)
    heard = vectors(1.0, seed=1)
    found = endpoints.speaker([heard])
    assert set(found) == {PRIMARY, "read", "phone"}
    rates = []
    for corpus in ("read", "phone"):
        rows = np.flatnonzero(np.array(table["corpus"].to_pylist()) == corpus)
        pairs = trials.all_pairs([table["speaker"][int(row)].as_py() for row in rows])
        rates.append(metrics.eer(trials.cosines(heard[rows], pairs), pairs.target))
        assert found[corpus].mean == pytest.approx(rates[-1])
    assert found[PRIMARY].mean == pytest.approx(np.mean(rates))
    assert found[PRIMARY].samples[0].values.shape == (301, 1)


def test_an_utterance_without_a_vector_is_an_error(table: pa.Table) -> None:
    endpoints = Endpoints(table, CONFIG)
    whole, broken = vectors(0.1, seed=1), vectors(0.1, seed=1)
    broken[::2] = np.nan
    assert endpoints.speaker([broken])[PRIMARY].mean > endpoints.speaker([whole])[PRIMARY].mean


def test_a_class_is_1_less_the_balanced_accuracy_over_what_is_labelled(table: pa.Table) -> None:
    gender = get_task("gender")
    labels = gender.labels_of(table)
    gender.fit(labels, ["a", "b"] * (len(labels) // 2), gender.Config(min_speakers=1))
    said = np.where(np.random.default_rng(0).random(len(labels)) < 0.5, "female", "male")
    said[5] = ""  # no answer
    known = np.array([label is not None for label in labels])
    truth = np.array([str(label) for label in labels])
    found = Endpoints(table, CONFIG).attribute(gender, [said, truth])
    accuracy = metrics.balanced_accuracy(said[known], truth[known])
    assert found[PRIMARY].seeds == pytest.approx([1 - accuracy, 0.0])
    (sample,) = found[PRIMARY].samples
    assert sum(each.speakers for each in sample.strata) == SPEAKERS - 1
    assert set(found) == {PRIMARY, "read", "phone"}


def test_a_quantity_is_its_mean_absolute_error(table: pa.Table) -> None:
    age = get_task("age")
    truth = np.repeat(np.arange(SPEAKERS) + 20.5, TAKES)
    said = truth + 2
    said[0] = np.nan  # as far away as can be: 95 years
    found = Endpoints(table, CONFIG).attribute(age, [said])
    assert found[PRIMARY].mean == pytest.approx((2 * (len(said) - 1) + 74.5) / len(said))


def test_draws_are_the_same_for_every_arm_and_keep_the_corpora(table: pa.Table) -> None:
    one, other = Endpoints(table, CONFIG), Endpoints(table, CONFIG)
    np.testing.assert_array_equal(one.draws, other.draws)
    np.testing.assert_allclose(one.draws[:, :14].sum(axis=1), 14)
    same = vectors(1.0, seed=2)
    found = compare(one.speaker([same, same]), other.speaker([same, same]), Rules())
    assert found[PRIMARY].verdict == "not worse"
    assert found[PRIMARY].estimate.value == 0


def test_what_the_speakers_of_each_corpus_do_adds_up(table: pa.Table) -> None:
    """Of a mean over all labelled utterances, whose corpora are drawn one by one."""
    age = get_task("age")
    said = np.repeat(np.arange(SPEAKERS) + 20.5, TAKES) + np.random.default_rng(0).normal(
        0, 5, SPEAKERS * TAKES
    )
    whole = Endpoints(table, CompareConfig(draws=2_000)).attribute(age, [said])
    (whole,) = whole[PRIMARY].samples
    assert [each.speakers for each in whole.strata] == [3, 13, 14]
    alone = sum(each.values.var() for each in whole.strata)
    assert alone == pytest.approx(whole.values[1:].var(), rel=0.1)


def test_an_arm_with_shuffled_voices_is_worse_and_a_clearer_one_better(table: pa.Table) -> None:
    endpoints = Endpoints(table, CONFIG)
    rival = endpoints.speaker([vectors(0.9, seed=seed) for seed in (1, 2, 3)])
    shuffle = np.random.default_rng(0).permutation
    shuffled = endpoints.speaker([shuffle(vectors(0.9, seed=seed)) for seed in (4, 5, 6)])
    clear = endpoints.speaker([vectors(0.2, seed=seed) for seed in (7, 8, 9)])
    assert compare(shuffled, rival, Rules())[PRIMARY].verdict == "worse"
    assert compare(clear, rival, Rules())[PRIMARY].verdict == "better"


def test_no_corpus_with_voices_enough_has_no_figure(table: pa.Table) -> None:
    endpoints = Endpoints(table, CompareConfig(draws=100, min_voices=20))
    assert endpoints.speaker([vectors(0.1, seed=1)])[PRIMARY].mean is None
