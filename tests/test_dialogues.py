"""Composed dialogues: their truth is where the energy is."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import soundfile

from hive_mtl.errors import DataError
from hive_mtl.evaluate import dialogues
from hive_mtl.evaluate.dialogues import compose_dialogues
from hive_mtl.learn.utterances import conform
from learning import CORPUS
from voices import RATE, voice


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """Three voices with three recordings of two to four seconds each."""
    folder = tmp_path_factory.mktemp("speech")
    rows = []
    for speaker in range(3):
        for number in range(3):
            path = folder / f"{speaker}-{number}.wav"
            soundfile.write(path, voice(2.0 + number, seed=speaker), RATE)
            rows.append({"path": str(path), "speaker": f"s{speaker}", "duration_s": 2.0 + number})
    return conform(pa.Table.from_pylist(rows), corpus=CORPUS)


@pytest.fixture(autouse=True)
def quick_dialogues(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short ones, in a short decay of noise: a real room takes its time to simulate."""
    monkeypatch.setattr(dialogues, "VOICE_S", (5.0, 5.0))
    decay = np.exp(-np.arange(800) / 100).astype(np.float32)

    def room(rng: np.random.Generator) -> np.ndarray:
        return decay * rng.standard_normal(800).astype(np.float32)

    monkeypatch.setattr(dialogues, "simulate_room", room)


def test_a_dialogue_is_a_function_of_the_seed(table: pa.Table) -> None:
    (one,) = compose_dialogues(table, 1, seed=3)
    mixed = table.take(pa.array(np.random.default_rng(0).permutation(len(table))))
    (same,) = compose_dialogues(mixed, 1, seed=3)
    np.testing.assert_array_equal(same.wave, one.wave)
    assert same.turns == one.turns
    (other,) = compose_dialogues(table, 1, seed=4)
    assert other.turns != one.turns


def test_so_many_voices_speak_as_there_are_in_turn(table: pa.Table) -> None:
    assert [dialogue.voices for dialogue in compose_dialogues(table, 3)] == [2, 3, 2]


def test_the_energy_is_where_the_turns_say(
    table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    dry = np.array([1.0], np.float32)
    monkeypatch.setattr(dialogues, "simulate_room", lambda _rng: dry)
    for dialogue in compose_dialogues(table, 2, seed=1):
        assert np.abs(dialogue.wave).max() <= 1.0
        frames = dialogue.wave[: len(dialogue.wave) // 160 * 160].reshape(-1, 160)
        power = np.square(frames).mean(axis=1)
        said = np.zeros(len(power), bool)
        for turn in dialogue.turns:
            said[round(turn.start_s * 100) : round(turn.end_s * 100)] = True
        assert said[:30].sum() == 0  # nobody begins at once
        assert power[said].mean() > 5 * power[~said].mean()


def test_turns_of_a_voice_do_not_overlap_and_lie_inside(table: pa.Table) -> None:
    for dialogue in compose_dialogues(table, 2, seed=2):
        assert list(dialogue.turns) == sorted(dialogue.turns, key=lambda turn: turn.start_s)
        for name in {turn.speaker for turn in dialogue.turns}:
            end_s = 0.0
            for turn in dialogue.turns:
                if turn.speaker == name:
                    assert end_s <= turn.start_s < turn.end_s
                    end_s = turn.end_s
            assert end_s <= len(dialogue.wave) / RATE


def test_too_few_voices_are_an_error(table: pa.Table) -> None:
    with pytest.raises(DataError, match="no corpus has 2 voices"):
        list(compose_dialogues(table.slice(0, 3), 1))
    unreadable = table.set_column(0, "path", pa.array(["nowhere.wav"] * len(table)))
    with pytest.raises(DataError, match="no corpus has 2 voices"):
        list(compose_dialogues(unreadable, 1))


def test_where_a_voice_is_mostly_silent_fewer_speak(table: pa.Table, tmp_path: Path) -> None:
    """That shows only when it is heard, and what was composed before is not lost by it."""
    quiet = np.concatenate([voice(1.5, seed=2), np.zeros(RATE * 8, np.float32)])
    soundfile.write(tmp_path / "quiet.wav", quiet, RATE)
    row = {"path": str(tmp_path / "quiet.wav"), "speaker": "s2", "duration_s": 9.5}
    others = table.filter(pc.not_equal(table["speaker"], "s2"))
    rows = pa.concat_tables([others, conform(pa.Table.from_pylist([row]), corpus=CORPUS)])
    assert [dialogue.voices for dialogue in compose_dialogues(rows, 3)] == [2, 2, 2]


def test_a_recording_that_cannot_be_read_is_left_out(table: pa.Table, tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("no sound")
    paths = table["path"].to_pylist()
    paths[0] = str(bad)
    worse = table.set_column(0, "path", pa.array(paths))
    assert next(compose_dialogues(worse, 1)).voices == 2
