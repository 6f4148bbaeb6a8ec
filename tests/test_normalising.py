"""Adaptive s-norm, and the cohort that a model ships for it."""

from pathlib import Path

import numpy as np
import pytest

import hive_mtl as hive
from hive_mtl.errors import DataError
from hive_mtl.evaluate.cohort import MOST_VOICES, RECORDINGS, add_cohort, choose_cohort
from hive_mtl.learn import corpora
from hive_mtl.learn.utterances import is_validation_voice
from hive_mtl.use.network import Network
from hive_mtl.use.normalising import (
    adaptive_s_norm,
    cohort_from_text,
    cohort_level,
    cohort_to_text,
)
from learning import CORPUS, utterances, write_corpus
from tiny_model import DIM, save_tiny_model


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    vectors = rng.standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_the_formula_of_matejka() -> None:
    rng = np.random.default_rng(0)
    a, b, cohort = unit(rng, 7, 8), unit(rng, 7, 8), unit(rng, 30, 8)
    scores = np.einsum("td,td->t", a, b).astype(np.float64)
    found = adaptive_s_norm(scores, cohort_level(a, cohort, 10), cohort_level(b, cohort, 10))
    for trial, score in enumerate(scores):
        parts = []
        for side in (a[trial], b[trial]):
            best = np.array(sorted(float(side @ voice) for voice in cohort)[-10:])
            parts.append((score - best.mean()) / best.std())
        assert found[trial] == pytest.approx(sum(parts) / 2, abs=1e-4)


def test_a_cohort_smaller_than_its_top_counts_as_a_whole() -> None:
    rng = np.random.default_rng(0)
    vectors, cohort = unit(rng, 3, 8), unit(rng, 5, 8)
    np.testing.assert_array_equal(
        cohort_level(vectors, cohort, 99), cohort_level(vectors, cohort, 5)
    )


def test_a_cohort_of_one_voice_gives_finite_scores() -> None:
    rng = np.random.default_rng(0)
    level = cohort_level(unit(rng, 4, 8), unit(rng, 1, 8))
    assert np.isfinite(adaptive_s_norm(np.zeros(4), level, level)).all()


def test_a_cohort_is_read_as_it_was_written() -> None:
    cohort = unit(np.random.default_rng(0), 20, DIM)
    again = cohort_from_text(cohort_to_text(cohort), DIM)
    np.testing.assert_allclose(again, cohort, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(again, axis=1), 1.0, atol=1e-6)


def test_a_model_gets_a_cohort_of_its_training_voices(tmp_path: Path) -> None:
    data = corpora.read(str(write_corpus(tmp_path / "data")))
    file = save_tiny_model(tmp_path / "model.onnx")
    assert Network(file, "cpu").cohort is None
    before = hive.load(file)
    assert add_cohort(file, data) == 6
    network = Network(file, "cpu")
    assert network.description == before.description
    assert network.cohort is not None
    voice = choose_cohort(data)["path"].to_pylist()[:2]
    centre = sum(before.embed(path).vector for path in voice)
    assert network.cohort[0] @ centre / np.linalg.norm(centre) > 1 - 1e-5


def test_voices_are_drawn_alike_each_time_and_only_from_training() -> None:
    rows = [
        {"path": f"/{name}-{take}", "speaker": f"v{name}", "duration_s": "3", "split": "train"}
        for name in range(400)
        for take in range(1 + name % 8)
    ]
    rows.append({"path": "/t", "speaker": "tested", "duration_s": "3", "split": "test"})
    table = utterances(rows)
    chosen = choose_cohort(table)
    backwards = choose_cohort(table.take(list(range(len(table)))[::-1]))
    counts = dict(zip(*np.unique(chosen["speaker"].to_pylist(), return_counts=True), strict=True))
    assert len(counts) == MOST_VOICES
    assert set(counts.values()) <= set(range(2, RECORDINGS + 1))
    assert set(backwards["speaker"].to_pylist()) == set(counts)
    assert not [name for name in counts if is_validation_voice(CORPUS, name)]
    assert "tested" not in counts


def test_data_without_such_voices_is_one_line() -> None:
    with pytest.raises(DataError, match="no training voice has two recordings"):
        choose_cohort(utterances([{"path": "/a", "speaker": "v0", "duration_s": "1"}]))
