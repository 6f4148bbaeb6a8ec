"""enroll, identify and voices as a user of the shell meets them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

import hive_mtl as hive
from sharp_model import ANN, BOB, STRANGER, save_sharp_model
from voices import RATE, voice

Run = Callable[..., tuple[int, str, str]]
STORE = ("--store", "voices.db")
MODEL = ("--model", "tiny.onnx")


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings, a model, and a store with ann and bob in it."""
    folder = tmp_path_factory.mktemp("material")
    for name, seed in (("ann", ANN), ("bob", BOB), ("stranger", STRANGER)):
        for take in range(3):
            sf.write(folder / f"{name}{take}.wav", voice(2.0 + take, seed=seed), RATE)
    sf.write(folder / "silence.wav", voice(3.0)[:RATE] * 0, RATE)
    sf.write(folder / "short.wav", voice(0.5), RATE)
    (folder / "text.wav").write_text("hello")
    model = save_sharp_model(folder / "tiny.onnx")
    with hive.Voices(folder / "enrolled.db", model) as voices:
        for name in ("ann", "bob"):
            voices.enroll(name, [folder / f"{name}{take}.wav" for take in (0, 1)], note="agreed")
    return folder


@pytest.fixture
def run(material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Run) -> Run:
    """Calls the command line in a copy of the material; gives status, output, complaints."""
    shutil.copytree(material, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return call


@pytest.fixture
def enrolled(run: Run) -> Run:
    """With ann and bob in the store."""
    Path("enrolled.db").rename("voices.db")
    return run


@pytest.fixture
def talk(run: Run) -> str:
    """A recording of ann and a stranger in turn."""
    pause = 0.001 * np.random.default_rng(5).standard_normal(RATE)
    turns = [voice(4.0, seed=seed) for seed in (ANN, STRANGER) * 2]
    sf.write("talk.wav", np.concatenate([part for turn in turns for part in (pause, turn)]), RATE)
    return "talk.wav"


def listed(run: Run) -> list[tuple[str, int]]:
    status, out, err = run("voices", "list", "--json", *STORE)
    assert (status, err) == (0, "")
    return [(entry["name"], entry["samples"]) for entry in json.loads(out)]


def test_a_list_of_nobody_says_where_it_looked(run: Run) -> None:
    assert run("voices", "list", *STORE) == (0, "", f"nobody is enrolled in {STORE[1]}\n")


def refused(run: Run, *words: str) -> str:
    """The one line of a command that must fail and change nothing."""
    before = listed(run)
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert listed(run) == before
    return err


def test_enroll_says_what_is_kept(run: Run) -> None:
    words = ("enroll", "ann", "ann0.wav", "ann1.wav", "--label", "team=a=b", *STORE, *MODEL)
    status, out, err = run(*words, "--json")
    assert (status, err) == (0, "")
    answer = json.loads(out)
    assert (answer["name"], answer["labels"]) == ("ann", {"team": "a=b"})
    assert [Path(each["source"]).name for each in answer["samples"]] == ["ann0.wav", "ann1.wav"]
    assert {"speech_seconds", "snr_db", "clipped"} < set(answer["samples"][0])
    status, out, _ = run("enroll", "ann", "ann2.wav", "--add", *STORE, *MODEL)
    assert status == 0
    assert "ann: 3 recordings" in out


def test_identify_has_a_status_for_each_answer(enrolled: Run) -> None:
    status, out, err = enrolled("identify", "ann2.wav", *STORE, *MODEL)
    assert (status, err) == (0, "")
    assert out.startswith("ann ")
    status, out, _ = enrolled("identify", "stranger0.wav", *STORE, *MODEL)
    assert status == 1
    assert out.startswith("unknown")
    assert refused(enrolled, "identify", "nowhere.wav", *STORE, *MODEL)


def test_recordings_that_do_not_sound_alike_are_enrolled_where_the_user_knows(run: Run) -> None:
    words = ("enroll", "cid", "ann0.wav", "bob0.wav", *STORE, *MODEL)
    assert "--same-voice" in refused(run, *words)
    assert run(*words, "--same-voice")[0] == 0
    assert listed(run) == [("cid", 2)]


def test_identify_looks_as_it_is_told_to(enrolled: Run) -> None:
    def found(*words: str) -> dict[str, Any]:
        said = enrolled("identify", "ann2.wav", *words, *STORE, *MODEL, "--json")[1]
        answer = json.loads(said)
        return {"unknown": answer["unknown"], **answer["candidates"][0]}

    usual = found()
    assert found("--prior", "0.01")["unknown"] > usual["unknown"]
    assert found("--false-alarm", "0.001")["threshold"] > usual["threshold"]
    assert found("--more", "stranger0.wav")["score"] < usual["score"]


def test_identify_does_not_say_unknown_where_somebody_is_likely(enrolled: Run, monkeypatch) -> None:
    ann = hive.Candidate("ann", probability=0.8, score=0.36, threshold=0.37)
    likely = hive.Identity(None, (ann,), unknown=0.2, enrolled=2)
    monkeypatch.setattr(hive.Voices, "identify", lambda *_, **__: likely)
    status, out, _ = enrolled("identify", "ann2.wav", *STORE, *MODEL)
    assert (status, out.partition(" (")[0]) == (1, "not surely anybody")


def test_identify_answers_in_json(enrolled: Run) -> None:
    words = ("identify", "ann2.wav", "-k", "1", *STORE, *MODEL, "--json")
    status, out, _ = enrolled(*words)
    answer = json.loads(out)
    assert (status, answer["known"], answer["name"], answer["enrolled"]) == (0, True, "ann", 2)
    (best,) = answer["candidates"]
    assert best["name"] == "ann"
    assert best["probability"] + answer["unknown"] == pytest.approx(1)


def test_diarize_calls_by_name_who_is_enrolled(enrolled: Run, talk: str) -> None:
    assert enrolled("voices", "rename", "ann", "ann de la cruz", *STORE)[0] == 0
    words = ("diarize", talk, "--voices", "2", *STORE, *MODEL)
    status, out, err = enrolled(*words)
    assert (status, err) == (0, "")
    rttm = [line.split(" ") for line in out.splitlines()]
    assert {len(fields) for fields in rttm} == {10}
    assert [fields[7] for fields in rttm] == ["ann_de_la_cruz", "unknown_1"] * 2
    files = [word for name in ("a.json", "a.txt", "a.svg") for word in ("-o", name)]
    answer = json.loads(enrolled(*words, *files, "--json")[1])
    names = [turn["speaker"] for turn in answer["turns"]]
    assert names == ["ann de la cruz", "unknown 1"] * 2
    assert json.loads(Path("a.json").read_text())["turns"] == answer["turns"]
    labels = Path("a.txt").read_text().splitlines()
    assert [label.split("\t")[2] for label in labels] == names
    assert "<svg" in Path("a.svg").read_text()


def test_diarize_asks_no_store_unless_it_is_told_to(
    enrolled: Run, talk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hive_mtl.use.voices.usual_place", lambda: Path("voices.db").absolute())
    assert enrolled("identify", "ann2.wav", *MODEL)[0] == 0
    status, out, _ = enrolled("diarize", talk, "--voices", "2", *MODEL)
    assert status == 0
    assert {line.split()[7] for line in out.splitlines()} == {"speaker_1", "speaker_2"}


def test_diarize_says_that_nobody_is_enrolled(run: Run, talk: str) -> None:
    status, out, err = run("diarize", talk, "--voices", "2", *STORE, *MODEL)
    assert status == 0
    assert {line.split()[7] for line in out.splitlines()} == {"unknown_1", "unknown_2"}
    assert err == "nobody is enrolled in voices.db: all voices are unknown\n"
    assert not Path("voices.db").exists()


def test_nobody_enrolled_is_unknown(run: Run) -> None:
    status, out, err = run("identify", "ann0.wav", *STORE, *MODEL)
    assert (status, err) == (1, "")
    assert "nobody is enrolled" in out
    assert listed(run) == []
    assert not Path("voices.db").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("enroll", "cid", "silence.wav"), "silence.wav"),
        (("enroll", "cid", "short.wav"), "not enough speech"),
        (("enroll", "cid", "text.wav"), "text.wav"),
        (("enroll", "cid", "stranger0.wav", "nowhere.wav"), "nowhere.wav"),
        (("enroll", "cid"), "no recordings"),
        (("enroll", "cid", "ann2.wav", "bob2.wav"), "score"),
        (("enroll", "ann", "bob2.wav", "--add"), "score"),
        (("enroll", "ann", "ann2.wav"), "--add"),
        (("enroll", "ann", "ann2.wav", "--add", "--note", "x"), "--note"),
        (("enroll", "anne", "ann2.wav", "--add"), "did you mean 'ann'"),
        (("enroll", "", "ann2.wav"), "empty name"),
        (("enroll", "a\tb", "ann2.wav"), "cannot be shown"),
        (("enroll", "cid", "ann2.wav", "--label", "nothing"), "KEY=VALUE"),
        (
            ("enroll", "cid", "stranger0.wav", "--label", "a=1", "--label", "a=2"),
            "'a': is given twice",
        ),
        (("identify", "short.wav"), "not enough speech"),
        (("identify", "ann0.wav", "-k", "99"), "k 99"),
        (("identify", "ann0.wav", "--prior", "2"), "prior 2"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(enrolled: Run, words, says) -> None:
    assert says in refused(enrolled, *words, *STORE, *MODEL)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("show", "anne"), "did you mean 'ann'"),
        (("remove", "anne"), "did you mean 'ann'"),
        (("rename", "anne", "eve"), "did you mean 'ann'"),
        (("rename", "ann", "bob"), "already"),
        (("rename", "ann", ""), "empty name"),
        (("merge", "ann", "ann"), "itself"),
        (("merge", "ann", "eve"), "voices list"),
        (("import", "ann0.wav"), "no whole file of voices"),
        (("import", "nowhere.jsonl"), "cannot be read"),
        (("export", "-o", "ann.opus"), "is the name of a recording"),
        (("export", "-o", "."), "folder"),
    ],
)
def test_voices_refuses_in_one_line(enrolled: Run, words, says) -> None:
    assert says in refused(enrolled, "voices", *words, *STORE)


def test_voices_changes_what_it_is_asked_to(enrolled: Run) -> None:
    status, out, _ = enrolled("voices", "list", *STORE)
    assert status == 0
    assert out.splitlines()[0].startswith("ann  2 recordings")
    shown = enrolled("voices", "show", "ann", *STORE)[1]
    assert "agreed" in shown
    assert "ann1.wav" in shown
    assert json.loads(enrolled("voices", "show", "ann", "--json", *STORE)[1])["note"] == "agreed"
    assert enrolled("voices", "export", "-o", "out.jsonl", *STORE)[0] == 0
    assert enrolled("voices", "rename", "ann", "anna", *STORE)[0] == 0
    assert enrolled("voices", "merge", "anna", "bob", *STORE)[0] == 0
    assert listed(enrolled) == [("anna", 4)]
    assert enrolled("voices", "remove", "anna", *STORE)[0] == 0
    assert enrolled("voices", "import", "out.jsonl", *STORE)[0] == 0
    assert listed(enrolled) == [("ann", 2), ("bob", 2)]


def test_voices_answers_in_json(enrolled: Run) -> None:
    def answer(*words: str) -> Any:
        status, out, err = enrolled("voices", *words, *STORE, "--json")
        assert (status, err) == (0, "")
        return json.loads(out)

    assert answer("export", "-o", "out.jsonl") == {"out": "out.jsonl", "voices": 2}
    assert answer("rename", "ann", "anna") == {"name": "anna"}
    assert answer("merge", "anna", "bob") == {"name": "anna"}
    made = answer("re-embed", *MODEL)
    assert made == {"voices": 1, "model_id": hive.load(MODEL[1]).description.model_id}
    assert answer("remove", "anna") == {"removed": "anna"}
    assert answer("import", "out.jsonl") == {"voices": 2}


def test_show_tells_the_note_from_a_label_of_that_name(run: Run) -> None:
    words = ("enroll", "ann", "ann0.wav", "--note", "agreed", "--label", "note=other")
    assert run(*words, *STORE, *MODEL)[0] == 0
    shown = run("voices", "show", "ann", *STORE)[1].splitlines()
    assert shown[1:3] == ["note: agreed", "label note: other"]


@pytest.mark.parametrize("out", ["voices.db", "link.db", "./voices.db-wal", "voices.db.matrix"])
def test_an_export_spares_the_store_itself(enrolled: Run, out: str) -> None:
    Path("link.db").symlink_to("voices.db")
    assert "the store itself" in refused(enrolled, "voices", "export", "-o", out, *STORE)
    assert "the store itself" in refused(
        enrolled, "voices", "export", "-o", "voices.db", "--store", "link.db"
    )


def test_vectors_of_another_model_name_the_command_that_makes_them_anew(enrolled: Run) -> None:
    save_sharp_model(Path("other.onnx"), name="other", seed=1)
    other = ("--model", "other.onnx")
    for words in (
        ("identify", "ann0.wav"),
        ("enroll", "cid", "stranger0.wav"),
        ("diarize", "nowhere.wav"),  # said before any work
    ):
        assert "hive-mtl voices re-embed" in refused(enrolled, *words, *STORE, *other)
    status, out, _ = enrolled("voices", "re_embed", *STORE, *other)
    assert status == 0
    assert "2 voices" in out
    assert enrolled("identify", "ann0.wav", *STORE, *other)[0] == 0


@pytest.mark.parametrize(
    "words", [("voices", "list"), ("identify", "ann0.wav", *MODEL), ("diarize", "ann0.wav", *MODEL)]
)
@pytest.mark.parametrize("place", [".", "text.wav", "", "postgresql://me:pass@127.0.0.1:1/x"])
def test_a_place_that_is_no_store_is_one_line(run: Run, words, place) -> None:
    if place.startswith("postgresql"):
        pytest.importorskip("psycopg", reason="needs the extra postgres")
    status, out, err = run(*words, "--store", place)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "me:pass" not in err


def test_a_command_of_the_group_that_is_not_there_names_the_nearest(run: Run) -> None:
    status, _, err = run("voices", "lsit")
    assert status == 2
    assert "'voices list'" in err
    assert run("voices", "--help")[0] == 0
