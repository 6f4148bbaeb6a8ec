"""Who speaks when: turns, names, files, the command."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

import hive_mtl
from enrolled import stored
from hive_mtl.errors import AudioError, ConfigError, DataError, ModelError
from hive_mtl.faces.cli import main
from hive_mtl.use.recognising import near_among, recognise
from hive_mtl.use.scoring import Voice
from hive_mtl.use.speakers import MOST_GROUPED, Hops, means, whose
from hive_mtl.use.stores._sql import SqlStore
from hive_mtl.use.turns_file import audacity, rttm, write_turns
from hive_mtl.use.voices_file import write_voices
from tiny_model import DIM, description, save_tiny_model
from voices import RATE, voice


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> hive_mtl.Model:
    return hive_mtl.load(save_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx"))


@pytest.fixture(scope="module")
def shipped() -> hive_mtl.Model:
    """The tiny model hears no difference between synthetic voices."""
    return hive_mtl.load()


def conversation() -> np.ndarray:
    """Two synthetic voices in turn, four seconds each, with a second between."""
    hiss = (0.001 * np.random.default_rng(5).standard_normal(RATE)).astype(np.float32)
    parts = [hiss]
    for turn in range(6):
        parts += [voice(4.0, seed=turn % 2), hiss]
    return np.concatenate(parts)


def hops_of(labels: list[int], noise: float = 0.3, seed: int = 0, lasting: int = 1) -> Hops:
    """Hops of voices: a direction for each, and random sounds that last so many hops."""
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(rng.standard_normal((32, 32)))[0]
    random = rng.standard_normal((len(labels) + lasting - 1, 32))
    sounds = sliding_window_view(random, lasting, axis=0).sum(axis=-1) / np.sqrt(32 * lasting)
    vectors = centres[labels] + noise * sounds
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    start_s = 0.25 * np.arange(len(labels))
    return Hops(start_s, start_s + 0.25, vectors, 1.5)


def test_turns_tell_two_voices_apart(shipped: hive_mtl.Model) -> None:
    found = shipped.diarize((conversation(), RATE), voices=2)
    assert found.speakers == ("speaker 1", "speaker 2")
    for turn in range(6):
        middle = 1.0 + 5.0 * turn + 2.0
        (heard,) = [each for each in found.turns if each.start_s <= middle < each.end_s]
        assert heard.speaker == f"speaker {1 + turn % 2}"
    assert found.model_id == shipped.description.model_id


def test_one_voice_asked_for_is_one_voice(model: hive_mtl.Model) -> None:
    assert model.diarize((conversation(), RATE), voices=1).speakers == ("speaker 1",)


@settings(max_examples=10)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(0.2, 4.0)), min_size=1, max_size=6),
    st.sampled_from([None, 1, 2, 5]),
)
def test_turns_are_in_order_inside_and_never_overlap(
    model: hive_mtl.Model, spoken: list[tuple[int, float]], voices: int | None
) -> None:
    hiss = (0.001 * np.random.default_rng(5).standard_normal(RATE // 2)).astype(np.float32)
    parts = [part for seed, length in spoken for part in (voice(length, seed=seed), hiss)]
    wave = np.concatenate([voice(1.5, seed=7), hiss, *parts])
    found = model.diarize((wave, RATE), voices=voices)
    end_s = 0.0
    for turn in found.turns:
        assert end_s <= turn.start_s < turn.end_s
        end_s = turn.end_s
    assert end_s <= len(wave) / RATE
    numbers = [int(speaker.removeprefix("speaker ")) for speaker in found.speakers]
    assert numbers == list(range(1, len(numbers) + 1))
    assert voices is None or len(numbers) <= voices


def test_it_is_found_how_many_voices_speak() -> None:
    for count in (1, 2, 3, 5):
        truth = [voice for voice in range(count) for _ in range(60)] * 2
        np.testing.assert_array_equal(whose(hops_of(truth)), truth)


def test_a_sound_that_lasts_is_no_voice() -> None:
    for seed in range(3):
        for truth in ([0] * 600, ([0] * 24 + [1] * 24) * 2):
            found = whose(hops_of(truth, noise=1.2, seed=seed, lasting=10))
            assert len(set(found.tolist())) == len(set(truth))


def test_voices_are_numbered_as_they_are_first_heard() -> None:
    truth = [3] * 40 + [1] * 40 + [3] * 40
    np.testing.assert_array_equal(whose(hops_of(truth), 2), [0] * 40 + [1] * 40 + [0] * 40)


def test_a_stray_hop_is_no_change_of_voice() -> None:
    truth = [0] * 40 + [1] * 40
    hops = hops_of(truth)
    hops.vectors[20] = 0.4 * hops.vectors[0] + 0.6 * hops.vectors[79]
    np.testing.assert_array_equal(whose(hops, 2), truth)


def test_more_hops_than_are_clustered_are_all_given_a_voice() -> None:
    truth = ([0] * 50 + [1] * 50) * (MOST_GROUPED // 25)
    np.testing.assert_array_equal(whose(hops_of(truth), 2), truth)


def test_a_single_hop_is_one_voice() -> None:
    assert whose(hops_of([0])).tolist() == [0]
    assert whose(hops_of([0]), 3).tolist() == [0]


def test_known_voices_get_their_names(shipped: hive_mtl.Model) -> None:
    wave = conversation()
    heard = shipped.embed((wave[RATE : 5 * RATE], RATE))
    ann = Voice(heard.vector, heard.speech_seconds, heard.snr_db)
    nobody = Voice(-heard.vector, heard.speech_seconds, heard.snr_db)
    found = shipped.diarize((wave, RATE), voices=2, known={"nobody": nobody, "ann": ann})
    assert found.speakers == ("ann", "unknown 1")
    strangers = shipped.diarize((wave, RATE), voices=2, known={"nobody": nobody})
    assert strangers.speakers == ("unknown 1", "unknown 2")


def test_a_store_of_thousands_is_asked_for_those_nearest(
    shipped: hive_mtl.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wave = conversation()
    dim, model_id = shipped.description.embedding_dim, shipped.description.model_id
    with hive_mtl.Voices(tmp_path / "voices.db", shipped) as voices:
        voices.enroll("ann", [(wave[RATE : 5 * RATE], RATE)])
        crowd = [stored(f"voice {seed}", seed, dim=dim) for seed in range(3000)]
        write_voices(tmp_path / "crowd.jsonl", model_id, crowd)
        voices.import_(tmp_path / "crowd.jsonl")
        monkeypatch.delattr(SqlStore, "snapshot")
        monkeypatch.delattr(SqlStore, "get")
        found = voices.diarize((wave, RATE), voices=2)
    assert found.speakers == ("ann", "unknown 1")


def test_each_name_goes_to_the_likeliest_voice_alone(model: hive_mtl.Model) -> None:
    ann, bob = np.eye(DIM, dtype=np.float32)[:2]
    nearly = ann + 0.01 * bob
    heard = np.stack([nearly / np.linalg.norm(nearly), ann])
    known = {"bob": Voice(-ann, 20.0, 30.0), "ann": Voice(ann, 20.0, 30.0)}
    near = near_among(model, known)
    assert recognise(model, near, heard, [20.0, 20.0]) == {1: "ann"}


def test_an_unknown_voice_has_no_name_of_a_known_one(shipped: hive_mtl.Model) -> None:
    wave = conversation()
    heard = shipped.embed((wave[6 * RATE : 10 * RATE], RATE))
    known = {"unknown 1": Voice(heard.vector, heard.speech_seconds, heard.snr_db)}
    found = shipped.diarize((wave, RATE), voices=2, known=known)
    assert found.speakers == ("unknown 2", "unknown 1")


def test_names_need_a_calibration(tmp_path: Path) -> None:
    plain = description(calibration=None).model_dump_json()
    model = hive_mtl.load(save_tiny_model(tmp_path / "plain.onnx", metadata=plain))
    ann = Voice(np.eye(DIM, dtype=np.float32)[0], 5.0, 30.0)
    assert model.diarize((conversation(), RATE), voices=2).turns
    with pytest.raises(ModelError, match="no calibration"):
        model.diarize((conversation(), RATE), known={"ann": ann})


def test_what_cannot_be_answered_is_said(model: hive_mtl.Model) -> None:
    with pytest.raises(ConfigError, match="voices 0"):
        model.diarize((conversation(), RATE), voices=0)
    with pytest.raises(AudioError, match="not enough speech"):
        model.diarize((np.zeros(RATE, np.float32), RATE))
    with pytest.raises(AudioError, match="not enough speech"):
        model.diarize((voice(0.5), RATE))


def test_files_say_what_the_turns_say(tmp_path: Path) -> None:
    turns = (hive_mtl.Turn(0.5, 2.25, "speaker 1"), hive_mtl.Turn(3.0, 4.0, "ann"))
    found = hive_mtl.Diarization(turns, "tiny")
    assert rttm(found, "a b").splitlines() == [
        "SPEAKER a_b 1 0.500 1.750 <NA> <NA> speaker_1 <NA> <NA>",
        "SPEAKER a_b 1 3.000 1.000 <NA> <NA> ann <NA> <NA>",
    ]
    alike = hive_mtl.Diarization((turns[0], hive_mtl.Turn(3.0, 4.0, "speaker_1")), "tiny")
    assert [line.split()[7] for line in rttm(alike, "a").splitlines()] == [
        "speaker_1",
        "speaker_1_",
    ]
    assert audacity(found, "a").splitlines()[1] == "3.000000\t4.000000\tann"
    write_turns(tmp_path / "a.json", found, "a")
    written = json.loads((tmp_path / "a.json").read_text())
    assert written["turns"][1] == {"start_s": 3.0, "end_s": 4.0, "speaker": "ann"}
    with pytest.raises(ConfigError, match=r"a\.doc"):
        write_turns(tmp_path / "a.doc", found, "a")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="in the way"):
        write_turns(tmp_path / "file" / "a.rttm", found, "a")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "talk.wav"
    soundfile.write(path, conversation(), RATE)
    return path


def test_the_command_prints_rttm_or_writes_files(
    model: hive_mtl.Model, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["diarize", str(recording), "--model", str(model.file), "--voices", "1"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert all(line.startswith("SPEAKER talk 1 ") for line in printed.splitlines())

    names = ("talk.rttm", "talk.txt", "talk.json", "talk.png", "talk.svg")
    out = [word for name in names for word in ("-o", str(tmp_path / name))]
    assert main([*words, *out]) == 0
    assert "1 voice" in capsys.readouterr().out
    assert (tmp_path / "talk.rttm").read_text() == printed
    assert (tmp_path / "talk.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "talk.svg").read_text()
    assert main([*words, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["turns"] == json.loads((tmp_path / "talk.json").read_text())["turns"]


def test_the_command_says_what_is_wrong_in_one_line(
    model: hive_mtl.Model, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(3 * RATE), RATE)
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "file").touch()
    wrong = {
        "voices 0": [str(recording), "--voices", "0"],
        "silence.wav": [str(tmp_path / "silence.wav")],
        "text.wav": [str(tmp_path / "text.wav")],
        "nowhere.wav": ["nowhere.wav"],
        "talk.doc": [str(recording), "-o", str(tmp_path / "talk.doc")],
        "talk.png": [str(recording), "-o", str(tmp_path / "file" / "talk.png")],
    }
    for what, words in wrong.items():
        assert main(["diarize", *words, "--model", str(model.file)]) == 2
        captured = capsys.readouterr()
        (line,) = captured.err.splitlines()
        assert what in line
        assert not captured.out


@pytest.mark.parametrize("name", ["talk.rttm", "talk.svg"])
def test_a_folder_in_the_way_is_seen_before_the_work(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr(hive_mtl, "load", lambda **_: pytest.fail("it began to listen"))
    (tmp_path / name).mkdir()
    assert main(["diarize", "talk.wav", "-o", str(tmp_path / name)]) == 2
    assert capsys.readouterr().err.endswith(f"{name}: is a folder: give the name of a file\n")


@pytest.mark.filterwarnings("error")
def test_vectors_that_cancel_out_have_a_mean() -> None:
    vectors = np.array([[1, 0], [-1, 0], [0, 0]], np.float32)
    np.testing.assert_array_equal(means(vectors, np.array([0, 0, 1])), np.zeros((2, 2)))
