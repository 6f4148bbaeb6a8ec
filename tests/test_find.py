"""A voice is found where it speaks, and nowhere else; from Python and from the shell."""

import json
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import hive_mtl as hive
from hive_mtl.description import Calibration
from hive_mtl.faces import cli
from hive_mtl.use.find import stretches
from hive_mtl.use.scoring import pooled
from tiny_model import description, give_cohort, save_tiny_model
from voices import RATE, voice

ANN, BEN = 1, 2  # seeds whose voices are far apart for the random network
CALIBRATION = Calibration(  # of cosines: 0.996 is in doubt, as one random network has it
    weights={"score": 1000.0},
    intercept=-996.0,
    thresholds={"0.1": -1.0, "0.01": 0.0, "0.001": 1.0},
)
Run = Callable[..., tuple[int, list[str], list[str]]]


def pause(seconds: float) -> np.ndarray:
    return 1e-4 * np.random.default_rng(0).standard_normal(round(seconds * RATE))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a recording of each of two voices, and an archive where both speak."""
    folder = tmp_path_factory.mktemp("place")
    save_tiny_model(folder / "tiny.onnx", description(calibration=CALIBRATION).model_dump_json())
    for name, seed in (("ann", ANN), ("ben", BEN)):
        soundfile.write(folder / f"{name}.wav", voice(4, seed), RATE)
    (folder / "meetings" / "may").mkdir(parents=True)
    both = [pause(5), voice(10, BEN), pause(6), voice(8, ANN), pause(7), voice(5, ANN), pause(3)]
    soundfile.write(folder / "meetings" / "may" / "monday.wav", np.concatenate(both), RATE)
    soundfile.write(folder / "meetings" / "friday.flac", voice(12, BEN), RATE)
    return folder


@pytest.fixture(scope="module")
def model(place: Path) -> hive.Model:
    return hive.load(place / "tiny.onnx", threads=1)


@pytest.fixture
def run(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls the command line in the place; gives status and the lines of output and errors."""
    monkeypatch.chdir(place)

    def call(*words: str) -> tuple[int, list[str], list[str]]:
        status = cli.main(["find", *words, "--model", "tiny.onnx"])
        captured = capsys.readouterr()
        return status, captured.out.splitlines(), captured.err.splitlines()

    return call


def test_windows_are_scored_as_verify_scores_recordings(tmp_path) -> None:
    """A recording of one window and the same by itself, with scores that a cohort normalises."""
    calibration = CALIBRATION.model_copy(
        update={"weights": {"score": 0.5}, "intercept": 0.0, "normalised": True}
    )
    file = save_tiny_model(
        tmp_path / "cohort.onnx", description(calibration=calibration).model_dump_json()
    )
    model = hive.load(give_cohort(file), threads=1)
    (tmp_path / "archive").mkdir()
    asked, said = tmp_path / "ann.wav", tmp_path / "archive" / "said.wav"
    soundfile.write(asked, voice(4, ANN), RATE)
    soundfile.write(said, voice(2, ANN), RATE)
    (found,) = model.find(asked, said.parent, false_alarm=0.1).found
    verdict = model.verify(asked, said)
    assert found.score == pytest.approx(verdict.score, abs=2e-3)  # kept in 16 bits
    assert found.probability == pytest.approx(verdict.probability, abs=5e-3)


def test_a_voice_is_found_where_it_speaks_and_nowhere_else(model, place) -> None:
    search = model.find(place / "ann.wav", place / "meetings")
    first, second = sorted(search.found, key=lambda each: each.start_s)
    for found, start_s, end_s in ((first, 21, 29), (second, 36, 41)):
        assert found.path == place / "meetings" / "may" / "monday.wav"
        assert found.start_s == pytest.approx(start_s, abs=1)
        assert found.end_s == pytest.approx(end_s, abs=1)
        assert found.score > 0.998
        assert found.probability > 0.9
    assert search.found[0].probability >= search.found[1].probability
    assert (search.failed, search.recordings) == ({}, 2)
    assert search.hours == pytest.approx((44 + 12) / 3600)


def test_a_stretch_reaches_to_the_ends_of_its_recording(model, place) -> None:
    found = model.find(place / "ben.wav", place / "meetings").found
    (friday,) = [each for each in found if each.path.name == "friday.flac"]
    assert (friday.start_s, friday.end_s) == (0, 12)


def test_more_false_alarms_are_to_be_expected_where_more_are_let_pass(model, place) -> None:
    few, many = (
        model.find(place / "ann.wav", place / "meetings", false_alarm=rate) for rate in (0.001, 0.1)
    )
    assert many.expected_false == pytest.approx(100 * few.expected_false)
    assert 0 < few.expected_false < 0.001 * 60
    assert len(many.found) >= len(few.found)


def test_a_voice_that_is_known_may_be_asked_for(model, place) -> None:
    known = pooled([model.embed(place / "ann.wav")])
    meetings = place / "meetings"
    assert model.find(known, meetings) == model.find(place / "ann.wav", meetings)


def test_a_voice_that_speaks_nowhere_is_not_found(model, place, tmp_path) -> None:
    soundfile.write(tmp_path / "friday.wav", voice(12, BEN), RATE)
    assert model.find(place / "ann.wav", tmp_path).found == ()


def test_questions_without_an_answer_are_refused(model, place, tmp_path) -> None:
    meetings = place / "meetings"
    with pytest.raises(hive.AudioError, match="not enough speech"):
        model.find((voice(0.6, ANN), RATE), meetings)
    with pytest.raises(hive.ConfigError, match=r"choose from 0\.001"):
        model.find(place / "ann.wav", meetings, false_alarm=0.5)
    plain = description(calibration=None).model_dump_json()
    with pytest.raises(hive.ModelError, match="no calibration"):
        hive.load(save_tiny_model(tmp_path / "m.onnx", plain)).find(place / "ann.wav", meetings)


@given(
    starts=st.lists(st.integers(0, 40), min_size=1, max_size=30, unique=True).map(sorted),
    data=st.data(),
)
def test_stretches_are_the_longest_runs_of_neighbours(starts, data) -> None:
    start_s = np.array(starts, float)
    like = np.array(data.draw(st.lists(st.booleans(), min_size=len(starts), max_size=len(starts))))
    runs = stretches(start_s, like, hop_s=1.0)
    chosen = [int(row) for run in runs for row in run]
    assert chosen == np.flatnonzero(like).tolist()
    for run in runs:
        np.testing.assert_array_equal(np.diff(start_s[run]), 1.0)
    for before, behind in pairwise(runs):
        assert start_s[behind[0]] - start_s[before[-1]] > 1


def test_the_shell_gives_times_and_the_most_probable_first(run) -> None:
    status, out, err = run("ann.wav", "meetings")
    assert status == 0
    assert len(out) == 2
    for line in out:
        assert line.startswith("meetings/may/monday.wav  0:00:")
        assert " - 0:00:" in line
        assert "  probability 0." in line
    assert err == [
        "found 2 times in 2 recordings (0:00:56.0); about 0.0 false alarms are to be expected"
    ]
    assert run("ann.wav", "meetings", "--top", "1")[1] == out[:1]


def test_the_shell_searches_as_it_is_told_to(run, place) -> None:
    def searched(*words: str) -> dict[str, Any]:
        return json.loads(run("ann.wav", "meetings", "--json", *words)[1][0])

    usual = searched()
    loose = searched("--false-alarm", "0.1")
    assert loose["expected_false"] == pytest.approx(100 * usual["expected_false"])
    of_two = searched("--more", "ben.wav")
    assert of_two["found"][0]["score"] != usual["found"][0]["score"]
    assert searched("--index", "elsewhere") == usual
    assert any((place / "elsewhere").iterdir())


def test_the_shell_answers_in_json(run) -> None:
    status, out, err = run("ann.wav", "meetings", "--json")
    assert (status, err) == (0, [])
    answer = json.loads(out[0])
    assert answer["model_id"] == "tiny-0123456789ab"
    assert [found["path"] for found in answer["found"]] == 2 * ["meetings/may/monday.wav"]
    assert set(answer["found"][0]) == {"path", "start_s", "end_s", "probability", "score"}
    assert answer["recordings"] == 2


def test_nowhere_is_a_clean_no(run, place) -> None:
    (place / "fridays").mkdir()
    soundfile.write(place / "fridays" / "friday.wav", voice(12, BEN), RATE)
    status, out, err = run("ann.wav", "fridays")
    assert (status, out) == (1, [])
    assert err[0].startswith("found nowhere in 1 recordings")


def test_what_is_found_is_told_though_a_recording_fails(run, place) -> None:
    (place / "damaged").mkdir()
    (place / "damaged" / "noise.wav").write_bytes(b"no sound")
    soundfile.write(place / "damaged" / "ann.wav", voice(8, ANN), RATE)
    for _ in range(2):  # the second time from the index
        status, out, err = run("ann.wav", "damaged")
        assert status == 2
        assert len(out) == 1
        assert err[1].startswith("hive-mtl: damaged/noise.wav: ")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("ann.wav", "nowhere"), "nowhere: is not a folder"),
        (("nobody.wav", "meetings"), "nobody.wav: cannot be read"),
        (("ann.wav", "meetings", "--index", "meetings"), "holds no index but other files"),
        (("ann.wav", "meetings", "--false-alarm", "0.2"), "false_alarm 0.2"),
        (("ann.wav", "meetings", "--top", "0"), "top"),
    ],
)
def test_bad_input_is_one_line(run, words, complaint) -> None:
    status, out, err = run(*words)
    assert (status, out) == (2, [])
    assert len(err) == 1
    assert complaint in err[0]


def test_a_long_search_shows_how_far_it_is(model, place, monkeypatch, capfd) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    model.find(place / "ann.wav", place / "meetings", progress=True)
    assert "100%" in capfd.readouterr().err
