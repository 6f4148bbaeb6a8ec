import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hive_mtl.errors import ConfigError, DataError
from hive_mtl.learn import losses
from hive_mtl.learn.losses._base import ABSENT
from hive_mtl.learn.model import Outputs, TaskLosses
from hive_mtl.learn.tasks import ClassTask, Task, TaskConfig, get_task, known_tasks

# Cells that a table may hold for each known task: with what each says, or None for nothing.
CELLS = {
    "speaker": {"a/1": "a/1", "a/2": "a/2", "b/1": "b/1"},
    "gender": {"F": "female", "woman": "female", " Male": "male", "other": None},
    "age": {"34": (34.0, 35.0), "20-29": (20.0, 30.0), "twenties": (20.0, 30.0), "unknown": None},
    "accent": {"Tamil L1 (Indian)": "dravidian", "German": "german", "nowhere special": None},
    "language": {"en": "en", "en-GB": "en", "EN_us": "en", "zh-TW": "zh"},
    "emotion": {"Happy": "happy", " angry ": "angry"},
}
TASKS = [*known_tasks(), "mood"]


def fitted(name: str, **config: object) -> tuple[Task, list]:
    """A task fitted to its cells of three voices each, and the labels."""
    task = get_task(name)
    cells = [*CELLS.get(name, {"calm": "calm", "glad": "glad"}), None] * 3
    labels = task.labels(cells)
    task.fit(labels, [f"voice {n}" for n in range(len(labels))], task.Config(**config))
    return task, labels


@pytest.mark.parametrize("name", TASKS)
class TestEveryTask:
    def test_every_known_task_has_cells_here(self, name: str) -> None:
        assert name in CELLS or name == "mood"

    def test_labels_are_parsed_and_an_absent_cell_is_no_label(self, name: str) -> None:
        task = get_task(name)
        for cell, label in CELLS.get(name, {}).items():
            assert task.parse(cell) == label
        assert task.labels([None, None]) == [None, None]

    def test_labels_of_a_table_are_those_of_its_column(self, name: str) -> None:
        task, cells = get_task(name), [*CELLS.get(name, {"calm": "calm"}), None]
        table = pa.table({"corpus": ["tiny"] * len(cells), "speaker": ["ann"] * len(cells)})
        if name == "speaker":  # a voice is named within its corpus
            assert task.labels_of(table) == ["tiny/ann"] * len(cells)
            return
        assert task.labels_of(table.append_column(task.column, [cells])) == task.labels(cells)
        assert task.labels_of(table) == [None] * len(cells)

    def test_data_without_a_label_does_not_teach(self, name: str) -> None:
        task = get_task(name)
        with pytest.raises(DataError, match=f"task '{name}'"):
            task.fit([None, None], ["a", "b"], task.Config())

    def test_targets_fit_the_loss_and_absent_ones_cost_nothing(self, name: str) -> None:
        task, labels = fitted(name)
        loss = losses.make(losses.parse_config(task.default_loss), task.counts)
        assert task.can_learn_by(type(loss))
        outputs = loss.head(8, task.outputs)(torch.randn(len(labels), 8))
        assert outputs.shape == (len(labels), task.outputs)
        targets = torch.from_numpy(task.encode(labels))
        assert loss(outputs, targets) > 0
        nothing = torch.from_numpy(task.encode([None] * len(labels)))
        assert loss(outputs, nothing) == 0

    def test_groups_are_those_of_the_labelled(self, name: str) -> None:
        task, labels = fitted(name)
        groups = task.groups(labels)
        assert groups.dtype == np.int64
        assert ((groups == ABSENT) == [label is None for label in labels]).all()
        assert task.groups([]).shape == (0,)

    def test_state_survives_json(self, name: str) -> None:
        task, labels = fitted(name)
        again = get_task(name)
        again.restore(json.loads(json.dumps(task.state())))
        assert again.state() == task.state()
        assert again.outputs == task.outputs
        assert again.counts == task.counts
        assert again.describe() == task.describe()
        np.testing.assert_array_equal(again.encode(labels), task.encode(labels))

    def test_the_description_fits_the_probabilities(self, name: str) -> None:
        task, _ = fitted(name)
        head, probabilities = task.describe(), task.probabilities(torch.randn(4, task.outputs))
        if head is None:
            assert name == "speaker"
        elif head.kind == "classes":
            assert probabilities.shape == (4, len(head.classes))
            torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(4))
        else:
            assert probabilities.shape == (4, len(head.thresholds))
            assert head.low < head.thresholds[0] < head.thresholds[-1] < head.high
            assert ((probabilities > 0) & (probabilities < 1)).all()


CLASS_TASKS = [name for name in TASKS if isinstance(get_task(name), ClassTask)]


@pytest.mark.parametrize("name", CLASS_TASKS)
@pytest.mark.parametrize("labels", [[], [None, None], ["x", "x", None], ["x", "x", "y", "y"]])
def test_too_few_classes_is_one_line(name: str, labels: list[str | None]) -> None:
    task = get_task(name)
    config = task.Config(**({"min_recordings": 3} if name == "speaker" else {"min_speakers": 3}))
    with pytest.raises(DataError, match=f"task '{name}'.*leave the task out") as caught:
        task.fit(labels, ["voice"] * len(labels), config)
    assert "\n" not in str(caught.value)


def test_a_class_of_too_few_voices_is_not_learnt() -> None:
    task = get_task("emotion")
    labels = ["happy", "happy", "sad", "sad", "rare", "rare"]
    task.fit(labels, ["a", "b", "a", "b", "c", "c"], TaskConfig(min_speakers=2))
    assert task.describe().classes == ("happy", "sad")
    assert task.counts == [2, 2]
    assert task.encode(["sad", "rare", "unheard", None]).tolist() == [1, ABSENT, ABSENT, ABSENT]


def test_the_word_none_is_a_class_and_an_empty_cell_is_none() -> None:
    task = get_task("region")
    cells = ["None", "None", "north", "north", None, None, None]
    task.fit(task.labels(cells), list("abcdefg"), TaskConfig(min_speakers=2))
    assert task.classes == ("None", "north")
    assert task.encode(task.labels(cells)).tolist() == [0, 0, 1, 1, ABSENT, ABSENT, ABSENT]


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown task 'moood'.*did you mean 'mood'\?"):
        get_task("moood", ["mood", "speaker"])


@pytest.mark.parametrize(
    "name", ["a.b", "a/b", "type", "keys", "embedding", "waves", "lengths", ""]
)
def test_a_column_whose_name_cannot_be_a_head_is_one_line(name: str) -> None:
    with pytest.raises(ConfigError, match="rename the column"):
        get_task(name)


@pytest.mark.parametrize(
    ("task", "loss"),
    [("gender", "ordinal"), ("age", "softmax"), ("age", "balanced"), ("mood", "triplet")],
)
def test_a_loss_that_cannot_teach_a_task_is_known(task: str, loss: str) -> None:
    assert not get_task(task).can_learn_by(losses.loss_type(loss))


def test_the_speaker_task_may_learn_by_triplets() -> None:
    assert get_task("speaker").can_learn_by(losses.loss_type("triplet"))


def test_the_language_tells_what_an_accent_means() -> None:
    languages = ["en", "fr", None, "en"]
    table = pa.table({"accent": ["canada", "canada", "canada", None], "language": languages})
    assert get_task("accent").labels_of(table) == ["english", "french", None, None]


class TestAge:
    def thresholds(self) -> np.ndarray:
        return np.array(get_task("age").describe().thresholds)

    @given(low=st.integers(0, 99), width=st.integers(1, 40))
    def test_a_threshold_inside_the_label_is_left_open(self, low: int, width: int) -> None:
        task, thresholds = get_task("age"), self.thresholds()
        (target,) = task.encode([(float(low), float(low + width))])
        assert (target[thresholds <= low] == 1).all()
        assert (target[thresholds >= low + width] == 0).all()
        assert np.isnan(target[(thresholds > low) & (thresholds < low + width)]).all()

    def test_a_decade_and_a_year(self) -> None:
        decade, year, absent = get_task("age").encode([(20.0, 30.0), (25.0, 26.0), None])
        thresholds = self.thresholds()
        assert decade[thresholds == 18].item() == 1
        assert np.isnan(decade[thresholds == 25].item())
        assert decade[thresholds == 30].item() == 0
        assert year[thresholds == 25].item() == 1
        assert year[thresholds == 30].item() == 0
        assert np.isnan(absent).all()

    def test_bands_count_the_middle_of_the_label(self) -> None:
        task = get_task("age")
        task.fit([(20.0, 30.0), (25.0, 26.0), (90.0, 91.0), None], ["v"] * 4, TaskConfig())
        band = int(np.searchsorted(self.thresholds(), 25, side="right"))
        assert task.counts[band] == 2
        assert task.counts[-1] == 1
        assert sum(task.counts) == 3


class TestSpeaker:
    def fit(self, **config: object) -> Task:
        task = get_task("speaker")
        labels = ["a/1", "a/1", "b/1", "b/1", "b/1", "a/2", None]
        task.fit(labels, [str(label) for label in labels], task.Config(**config))
        return task

    def test_a_voice_with_one_recording_is_left_to_the_other_tasks(self) -> None:
        assert self.fit().encode(["a/1", "b/1", "a/2"]).tolist() == [0, 1, ABSENT]
        assert self.fit(min_recordings=1).outputs == 3

    def test_every_speed_is_a_class_of_its_own(self) -> None:
        task = self.fit(speeds=(1.0, 0.9, 1.1))
        assert task.outputs == 6
        assert task.counts == [2, 3] * 3
        voice, speed = np.array([0, 1] * 3), np.repeat([1.0, 0.9, 1.1], 2)
        assert sorted(task.at_speeds(voice, speed)) == list(range(6))
        assert task.at_speeds(np.array([1, ABSENT]), np.array([1.0, 1.1])).tolist() == [1, ABSENT]
        assert task.at_speeds(np.array([1]), np.array([1.5])).tolist() == [ABSENT]

    def test_every_other_voice_is_a_rival_unless_the_corpus_is_the_border(self) -> None:
        targets = torch.tensor([0, 2, ABSENT])
        assert self.fit(min_recordings=1).rivals(targets) is None
        task = self.fit(min_recordings=1, within_corpus=True, speeds=(1.0, 0.9))
        again = get_task("speaker")
        again.restore(json.loads(json.dumps(task.state())))
        for rivals in (task.rivals(targets), again.rivals(targets)):
            assert rivals[:2].tolist() == [[True, True, False] * 2, [False, False, True] * 2]

    def test_a_voice_of_another_corpus_costs_nothing(self) -> None:
        outputs = torch.randn(2, 3)
        moved = outputs + torch.tensor([0.0, 0.0, 5.0])
        targets = {"speaker": torch.tensor([0, 1])}
        costs = {}
        for within in (False, True):
            task = self.fit(min_recordings=1, within_corpus=within)
            learnt = TaskLosses({"speaker": task.Config()}, [task])
            costs[within] = [
                float(
                    learnt(Outputs(torch.zeros(2, 4), {"speaker": o}, torch.zeros(2, 4)), targets)[
                        "speaker"
                    ]
                )
                for o in (outputs, moved)
            ]
        assert costs[True][0] == costs[True][1]
        assert costs[False][0] != costs[False][1]

    def test_the_classifier_is_not_exported(self) -> None:
        assert self.fit().describe() is None


def test_probabilities_are_in_full_precision() -> None:
    task, _ = fitted("gender")
    outputs: Tensor = torch.randn(3, task.outputs).bfloat16()
    assert task.probabilities(outputs).dtype == torch.float32


def test_tasks_weigh_as_the_recipe_says() -> None:
    weights = {"gender": 0.2, "mood": 3.0}
    configs = {name: TaskConfig(weight=weight) for name, weight in weights.items()}
    losses_of_both = TaskLosses(configs, [fitted(name)[0] for name in weights])
    parts = {"gender": torch.tensor(5.0), "mood": torch.tensor(2.0)}
    assert float(losses_of_both.total(parts)) == pytest.approx(0.2 * 5 + 3 * 2)
