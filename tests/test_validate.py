"""What a run is chosen and calibrated by."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hive_mtl.description import ONNX_EMBEDDING
from hive_mtl.learn import validate
from hive_mtl.learn.tasks import get_task
from learning import CORPUS, utterances


def of_channels(
    monkeypatch: pytest.MonkeyPatch, sessions: str, same_recording: str | None = None
) -> validate.Validation:
    """The figures of a network that hears nothing but channels, a new one for every session.

    Every voice has utterances of these sessions, or of one recording.
    """
    rows: list[dict[str, Any]] = [
        {"path": f"{voice}-{number}.wav", "speaker": voice, "session": f"{voice}-{session}"}
        for voice in "abcde"
        for number, session in enumerate(sessions)
    ]
    seconds_and_kind = {"duration_s": 3.0, "same_recording": same_recording}
    table = utterances([{**row, **seconds_and_kind} for row in rows])
    _, channel = np.unique([row["session"] for row in rows], return_inverse=True)
    vectors = np.eye(channel.max() + 1, dtype=np.float32)[channel]
    monkeypatch.setattr(validate, "hear", lambda *_: {ONNX_EMBEDDING: vectors})
    prepared: Any = SimpleNamespace(table=table)
    model: Any = None
    return validate.validate(model, prepared, [])


def test_knowing_channels_again_is_worth_nothing_where_voices_have_two_sessions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert of_channels(monkeypatch, "xxxxy").eer == {CORPUS: pytest.approx(0.5)}


def test_with_one_session_each_there_are_no_other_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_channels(monkeypatch, "xxxx").eer == {CORPUS: 0.0}


def test_pairs_inside_single_recordings_are_told_apart_and_calibrate_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = of_channels(monkeypatch, "xxxx", same_recording="yes")
    assert (found.eer, found.same_recording_eer) == ({}, {CORPUS: 0.0})
    assert found.calibration is None
    assert found.error == 0.0  # they choose where there is nothing else
    assert of_channels(monkeypatch, "xxxx").calibration is not None


class TestHeads:
    """Two voices of twenty and of sixty years, one of them labelled for gender."""

    def figures(self, gender: list[list[float]], age: list[list[float]]) -> validate.Validation:
        tasks = [get_task("gender"), get_task("age")]
        rows = [
            {"path": "1.wav", "speaker": "a", "gender": "female", "age": "20"},
            {"path": "2.wav", "speaker": "b", "gender": "male", "age": "60"},
            {"path": "3.wav", "speaker": "b", "gender": "", "age": ""},
        ]
        table = utterances(rows)
        for task in tasks:
            task.fit(task.labels_of(table), ["a", "b", "b"], task.Config(min_speakers=1))
        heads = {"gender": np.array(gender, np.float32), "age": np.array(age, np.float32)}
        return validate.judge_heads(heads, table, tasks)

    def ages(self, *years: float) -> list[list[float]]:
        """What a head says of voices of these ages: above 0 for each threshold that is passed."""
        task = get_task("age")
        task.fit([(20.0, 21.0), (60.0, 61.0)], ["a", "b"], task.Config())
        passed: np.ndarray = task.encode([(age, age + 1) for age in years])
        return (2 * np.nan_to_num(passed) - 1).tolist()

    def test_right_answers_have_no_error(self) -> None:
        found = self.figures([[1, 0], [0, 1], [0, 1]], self.ages(20, 60, 60))
        assert found.balanced_accuracy == {"gender": 1.0}
        assert found.threshold_error == {"age": 0.0}
        assert found.share_of_chance == {"gender": 0.0, "age": 0.0}

    def test_the_best_constant_answer_is_chance(self) -> None:
        found = self.figures([[1, 0], [1, 0], [0, 1]], self.ages(20, 20, 60))
        assert found.balanced_accuracy == {"gender": 0.5}
        assert found.share_of_chance == {"gender": 1.0, "age": pytest.approx(1.0)}
