"""The map that lets what tells voices apart count for more."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import hive_mtl as hive
from hive_mtl import metrics
from hive_mtl.errors import DataError
from hive_mtl.evaluate import discriminant as module
from hive_mtl.evaluate.cohort import add_cohort, training_voices
from hive_mtl.evaluate.discriminant import add_discriminant, discriminant
from hive_mtl.learn import corpora
from hive_mtl.learn.export import add_map
from hive_mtl.learn.utterances import is_validation_voice
from hive_mtl.trials import all_pairs, cosines
from hive_mtl.use.binary import binarise
from learning import write_corpus
from tiny_model import DIM, save_tiny_model
from voices import RATE, voice

WIDTH, TELLING = 24, 6


def recordings(seed: int, voices: int, each: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors; voices differ most in every fourth number, their recordings in all alike."""
    rng = np.random.default_rng(seed)
    between = np.where(np.arange(WIDTH) % 4 == 0, 2.0, 0.2)
    centres = between * rng.standard_normal((voices, 1, WIDTH))
    vectors = (centres + rng.standard_normal((voices, each, WIDTH))).reshape(-1, WIDTH)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), np.repeat(np.arange(voices), each)


def mapped(vectors: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    moved = vectors @ matrix
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


def test_voices_that_it_has_not_met_are_told_apart_better() -> None:
    matrix = discriminant(*recordings(0, voices=2000))
    unseen, voice = recordings(1, voices=60)
    trials = all_pairs([str(each) for each in voice])
    plain, better = (
        metrics.eer(cosines(vectors, trials), trials.target)
        for vectors in (unseen, mapped(unseen, matrix))
    )
    assert better < plain - 0.01


def test_what_tells_voices_apart_comes_first_and_nothing_is_lost() -> None:
    matrix = discriminant(*recordings(0, voices=2000))
    telling = np.arange(WIDTH) % 4 == 0
    weight = np.square(matrix / np.linalg.norm(matrix, axis=0))
    assert weight[telling, :TELLING].sum() > 0.95 * TELLING
    scale = np.linalg.norm(matrix, axis=0)
    assert scale[0] == pytest.approx(1)
    assert (np.diff(scale) <= 1e-6).all()
    assert 0.75 < scale[-1] < 0.85
    axes = matrix / scale
    np.testing.assert_allclose(axes.T @ axes, np.eye(WIDTH), atol=1e-5)


def test_few_recordings_change_cosines_little() -> None:
    vectors, voice = recordings(0, voices=2000)
    unseen, _ = recordings(1, voices=30)
    cosine = unseen @ unseen.T
    few, all_of_them = (
        np.abs(mapped(unseen, matrix) @ mapped(unseen, matrix).T - cosine).max()
        for matrix in (discriminant(vectors[:12], voice[:12]), discriminant(vectors, voice))
    )
    assert few < 0.03
    assert all_of_them > 0.12


def test_voices_of_one_recording_have_no_say_in_what_a_voice_does() -> None:
    vectors, voice = recordings(0, voices=3, each=1)
    assert np.isfinite(discriminant(vectors, voice)).all()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path / "model.onnx")


def test_a_model_with_a_map_embeds_through_it(file: Path) -> None:
    before = hive.load(file)
    matrix = np.random.default_rng(0).standard_normal((DIM, DIM)).astype(np.float32)
    described = add_map(file, matrix, 4)
    onnx.checker.check_model(onnx.load(file))
    after = hive.load(file)
    assert after.description == described
    assert described.leading == 4
    assert described.name == before.description.name
    assert described.model_id != before.description.model_id
    waves = [(voice(1.0 + seed, seed), RATE) for seed in range(3)]
    for old, new in zip(before.embed_many(waves), after.embed_many(waves), strict=True):
        expected = mapped(old.vector[None], matrix.astype(np.float16).astype(np.float32))[0]
        np.testing.assert_allclose(new.vector, expected, atol=1e-5)
        assert np.linalg.norm(new.vector) == pytest.approx(1, abs=1e-6)
        for task, answer in old.heads.items():
            np.testing.assert_array_equal(new.heads[task], answer)


def test_another_map_makes_another_model(file: Path, tmp_path: Path) -> None:
    other = save_tiny_model(tmp_path / "other.onnx")
    matrix = np.eye(DIM, dtype=np.float32)
    assert add_map(file, matrix, 4).model_id != add_map(other, 2 * matrix, 4).model_id


def test_it_is_learnt_from_training_voices_where_they_are_enough(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = corpora.read(str(write_corpus(tmp_path / "data")))
    before = file.read_bytes()
    assert add_discriminant(file, data) is None
    assert file.read_bytes() == before
    rows, mine = training_voices(data)
    assert not any(is_validation_voice(*voice) for voice in _voices(rows))
    monkeypatch.setattr(module, "LEAST_VOICES", len(mine))
    described = add_discriminant(file, data)
    assert described is not None
    assert described.leading == DIM
    assert hive.load(file).description == described


def test_voices_that_cannot_be_read_do_not_count(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write_corpus(tmp_path / "data")
    data = corpora.read(str(table))
    monkeypatch.setattr(module, "LEAST_VOICES", len(training_voices(data)[1]))
    for path in table.parent.glob("*.wav"):
        path.unlink()
    before = file.read_bytes()
    assert add_discriminant(file, data) is None
    assert file.read_bytes() == before
    with pytest.raises(DataError, match=r"no recording of the 12 can be read, such as .*wav"):
        add_cohort(file, data)


def test_bits_are_made_of_the_numbers_that_lead(file: Path, tmp_path: Path) -> None:
    add_map(file, np.eye(DIM, dtype=np.float32), 4)
    model = hive.load(file)
    vector = model.embed((voice(1.0, 0), RATE))
    hive.write_vectors(tmp_path / "bits.npz", model.description, [("a", vector)], bits=256)
    found = hive.read_vectors(tmp_path / "bits.npz").vectors
    np.testing.assert_array_equal(found, binarise(vector.vector[None], 256, 4))


def _voices(rows) -> set[tuple[str, str]]:
    return set(zip(rows["corpus"].to_pylist(), rows["speaker"].to_pylist(), strict=True))
