"""What is read from an embedding that does not change any more."""

import numpy as np
import pytest

from hive_mtl.errors import DataError
from hive_mtl.evaluate.compare.arms import _probed
from hive_mtl.evaluate.embedded import EmbeddedTable, of_vectors
from hive_mtl.evaluate.probes import class_probe, quantity_probe
from hive_mtl.learn.tasks import get_task
from learning import utterances

VOICES, TAKES, DIM = 24, 10, 16


def heard(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings that tell every voice by heart, and the number of each row's voice."""
    rng = np.random.default_rng(seed)
    voice = np.repeat(np.arange(VOICES), TAKES)
    vectors = rng.standard_normal((VOICES, DIM))[voice]
    vectors += 0.01 * rng.standard_normal(vectors.shape)
    return vectors.astype(np.float32), voice


def test_a_probe_is_chosen_over_folds_that_share_no_voice() -> None:
    """Nothing but the voice tells these labels, so that it is worth nothing on others."""
    vectors, voice = heard(0)
    rng = np.random.default_rng(1)
    by_heart = quantity_probe(vectors, rng.standard_normal(VOICES)[voice], voice)
    assert by_heart.best_score_ < -0.4  # with voices in common it would be about 0
    names = np.array(["x", "y"])[rng.permutation(VOICES) % 2]
    assert class_probe(vectors, names[voice], voice).best_score_ < 0.75  # in common: 1


@pytest.mark.parametrize(
    ("probe", "labels"), [(class_probe, np.array(["x"] * 4)), (quantity_probe, np.zeros(4))]
)
def test_a_single_voice_teaches_nothing(probe, labels) -> None:
    with pytest.raises(DataError, match="two voices or more"):
        probe(heard(0)[0][:4], labels, np.zeros(4, int))


@pytest.mark.parametrize("name", ["gender", "age"])
def test_probes_of_a_comparison_learn_from_what_was_learnt_alone(name: str) -> None:
    """The judged voices have the opposite labels, and their answers are those of the others."""

    def table(low: str, high: str) -> EmbeddedTable:
        cells = [high if row % 2 else low for row in range(40)]
        rows = [
            {"path": f"{row}.wav", "speaker": f"v{row}", name: cell}
            for row, cell in enumerate(cells)
        ]
        side = np.where(np.arange(40) % 2, 1.0, -1.0)
        vectors = np.stack([side, np.random.default_rng(0).standard_normal(40)], axis=1)
        vectors[5] = np.nan
        return of_vectors(utterances(rows), vectors.astype(np.float32))

    low, high = {"gender": ("female", "male"), "age": ("20", "60")}[name]
    learnt, judged = table(low, high), table(high, low)
    task = get_task(name)
    task.fit(task.labels_of(learnt.table), learnt.speaker.tolist(), task.Config())
    said = _probed(task, learnt, judged)
    if name == "gender":
        assert said[:6].tolist() == ["female", "male", "female", "male", "female", ""]
    else:
        assert said[:5] == pytest.approx([20.5, 60.5, 20.5, 60.5, 20.5], abs=3)
        assert np.isnan(said[5])


def test_a_class_of_one_voice_is_learnt_where_others_have_more() -> None:
    vectors, voice = heard(0)
    labels = np.where(voice == 0, "x", "y")
    assert set(class_probe(vectors, labels, voice).predict(vectors)) == {"x", "y"}


def test_two_voices_of_a_class_each_are_too_few_to_choose_by() -> None:
    vectors, voice = heard(0)
    labels = np.array(["x", "y"])[voice % 2]
    with pytest.raises(DataError, match="label more voices of each class"):
        class_probe(vectors[: 2 * TAKES], labels[: 2 * TAKES], voice[: 2 * TAKES])
