"""Error rates of diarizations whose faults are known; and those of real voices."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import hive_mtl
from hive_mtl import Diarization, Turn
from hive_mtl.evaluate import take_split
from hive_mtl.evaluate.dialogues import Dialogue, compose_dialogues
from hive_mtl.evaluate.diarization import Diarized, judge_diarization
from hive_mtl.learn import corpora

TRUTH = (Turn(1.0, 5.0, "a"), Turn(6.0, 10.0, "b"), Turn(11.0, 15.0, "a"))


@dataclass
class Answering:
    """Stands for a model that always gives these turns."""

    turns: tuple[Turn, ...]
    asked: list[int | None] = field(default_factory=list)

    def diarize(self, source: object, *, voices: int | None = None) -> Diarization:
        self.asked.append(voices)
        return Diarization(self.turns, "answering")


def rates(turns: tuple[Turn, ...], truth: tuple[Turn, ...] = TRUTH) -> Diarized:
    dialogue = Dialogue(np.zeros(16 * 16_000, np.float32), truth, "here")
    row = judge_diarization(Answering(turns), [dialogue, dialogue])[0]
    assert (row.voices, row.dialogues) == ("2", 2)
    return row


def test_the_truth_has_no_error() -> None:
    named_otherwise = tuple(
        Turn(turn.start_s + 0.2, turn.end_s - 0.2, turn.speaker.upper()) for turn in TRUTH
    )
    row = rates(named_otherwise)
    assert row.der.value == pytest.approx(0.0)  # faults inside the collar
    assert row.jer.value < rates(TRUTH[:2]).jer.value
    assert row.full_der.value == pytest.approx(6 * 0.2 / 12.0)
    assert row.counted_right == 1.0


def test_each_fault_has_its_part() -> None:
    spoken = 12.0 - 6 * 0.25
    missed = rates((TRUTH[0], TRUTH[1]))
    assert missed.miss == pytest.approx(3.5 / spoken)
    assert missed.der.value == pytest.approx(missed.miss)
    confused = rates((TRUTH[0], TRUTH[1], Turn(11.0, 15.0, "b")))
    assert confused.confusion == pytest.approx(3.5 / spoken)
    assert confused.miss == confused.false_alarm == 0.0
    invented = rates((*TRUTH[:2], Turn(11.0, 16.0, "a")))
    assert invented.false_alarm == pytest.approx(0.75 / spoken)
    one = rates((Turn(1.0, 5.0, "x"), Turn(6.0, 10.0, "x"), Turn(11.0, 15.0, "x")))
    assert one.confusion == pytest.approx(3.5 / spoken)
    assert one.counted_right == 0.0


def test_what_voices_say_at_once_counts_in_full_alone() -> None:
    truth = (*TRUTH, Turn(2.0, 4.0, "b"))
    row = rates(TRUTH, truth)
    assert row.der.value == pytest.approx(0.0)
    assert row.full_der.value == pytest.approx(2.0 / 14.0)


def test_there_is_a_row_for_each_number_of_voices_and_for_all() -> None:
    dialogue = Dialogue(np.zeros(16 * 16_000, np.float32), TRUTH, "here")
    model = Answering(TRUTH)
    rows = judge_diarization(model, [dialogue])
    assert model.asked == [None, 2]
    assert [(row.voices, row.told) for row in rows] == [
        ("2", False),
        ("all", False),
        ("2", True),
        ("all", True),
    ]


@pytest.mark.slow
def test_the_shipped_model_diarizes_voices_that_it_has_not_learnt(shared_speech: Path) -> None:
    table: pa.Table = corpora.read(str(shared_speech / "manifest.csv"))
    held_out = take_split(table, "validation", "the real speech")
    rows = judge_diarization(hive_mtl.load(), compose_dialogues(held_out, 10, seed=11))
    for told, bound in ((False, 0.3), (True, 0.2)):
        (row,) = [each for each in rows if each.voices == "all" and each.told is told]
        assert row.der.value < bound
        assert row.miss + row.false_alarm < 0.06
