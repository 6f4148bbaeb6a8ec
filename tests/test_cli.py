"""The command line as a user of the shell meets it: answers, exit statuses, one line a problem."""

import errno
import inspect
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import soundfile as sf

import hive_mtl as hive
from hive_mtl.faces import cli
from hive_mtl.faces.cli import use
from hive_mtl.faces.cli.answers import complain, print_json
from hive_mtl.use.binary import binarise
from tiny_model import AGE, DIM, GENDER, description, save_tiny_model

RATE = 16_000
Run = Callable[..., tuple[int, str, str]]


def voice(pitch_hz: float, duration_s: float = 2.0, seed: int = 0) -> np.ndarray:
    """A buzz in the rhythm of syllables, ``(samples,)``."""
    t = np.arange(int(duration_s * RATE)) / RATE
    buzz = sum(np.sin(2 * np.pi * pitch_hz * k * t) / k for k in range(1, 20))
    noise = np.random.default_rng(seed).standard_normal(t.size)
    return (0.2 * np.sin(np.pi * 2.5 * t) ** 2 * buzz + 0.002 * noise).astype(np.float32)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: two voices, a folder of two more, a model."""
    monkeypatch.chdir(tmp_path)
    sf.write("low.wav", voice(100), RATE)
    sf.write("high.flac", voice(260), RATE)
    Path("people/ann").mkdir(parents=True)
    sf.write("people/ann/1.wav", voice(210), RATE)
    sf.write("people/ann/2.wav", voice(215), RATE)
    save_tiny_model(Path("tiny.onnx"))
    return tmp_path


@pytest.fixture
def run(place: Path, call: Run) -> Run:
    """Calls the command line in the working folder."""
    return call


def embed(run: Run, words: Sequence[str], out: str = "out.npz") -> tuple[int, str, str]:
    return run("embed", *words, "--out", out, "--model", "tiny.onnx")


def test_embed_writes_unit_vectors_under_the_paths_as_given(run: Run, place: Path) -> None:
    given = ["./low.wav", str(place / "high.flac"), "people/"]
    status, out, err = embed(run, given)
    assert (status, err) == (0, "")
    assert "4 of 4" in out
    with np.load("out.npz") as vectors:
        assert set(vectors) == {*given[:2], "people/ann/1.wav", "people/ann/2.wav"}
        for vector in vectors.values():
            assert vector.shape == (DIM,)
            assert vector.dtype == np.float32
            assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_embed_writes_parquet(run: Run) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert embed(run, ["low.wav", "high.flac"], "out.parquet")[0] == 0
    table = parquet.read_table("out.parquet")
    assert table["path"].to_pylist() == ["low.wav", "high.flac"]
    assert set(table["model_id"].to_pylist()) == {"tiny-0123456789ab"}


@pytest.mark.parametrize("out", ["bits.npz", "bits.parquet"])
def test_embed_writes_bits(run: Run, out: str) -> None:
    pytest.importorskip("pyarrow")
    recordings = ["low.wav", "high.flac"]
    assert embed(run, recordings)[0] == 0
    assert embed(run, [*recordings, "--bits", "256"], out)[0] == 0
    bits, vectors = (hive.read_vectors(Path(each)) for each in (out, "out.npz"))
    assert (bits.paths, bits.model_id, bits.bits) == (vectors.paths, vectors.model_id, 256)
    assert vectors.bits is None
    assert bits.vectors.dtype == np.uint8
    np.testing.assert_array_equal(bits.vectors, binarise(vectors.vectors, 256))


def test_embed_refuses_other_numbers_of_bits(run: Run) -> None:
    status, out, err = embed(run, ["low.wav", "--bits", "100"])
    assert (status, out) == (2, "")
    assert "256" in err
    assert not Path("out.npz").exists()


def test_embed_takes_a_list_and_a_recording_once(run: Run) -> None:
    Path("list.txt").write_text("low.wav\r\n\nhigh.flac\nlow.wav\n")
    assert embed(run, ["--list", "list.txt", "low.wav"])[0] == 0
    with np.load("out.npz") as vectors:
        assert sorted(vectors) == ["high.flac", "low.wav"]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"RIFF\x00\x00/\n.\n", b"l\xf6w.wav\n"])
def test_embed_refuses_a_list_that_is_no_text(run: Run, content: bytes) -> None:
    Path("list.txt").write_bytes(content)
    status, out, err = embed(run, ["--list", "list.txt"])
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "list.txt" in err
    assert "one path a line" in err


def test_embed_takes_the_names_of_a_list_whole(run: Run) -> None:
    odd = "a\u2028b\x0c.wav"
    shutil.copy("low.wav", odd)
    Path("list.txt").write_text(f"{odd}\n", encoding="utf-8")
    assert embed(run, ["--list", "list.txt"])[0] == 0
    with np.load("out.npz") as vectors:
        assert list(vectors) == [odd]


def test_embed_skips_names_and_counts_what_fails(run: Run) -> None:
    Path("text.wav").write_text("hello")
    words = ["nowhere.wav", "low.wav", "text.wav", "--json"]
    status, out, err = embed(run, words)
    assert status == 2
    assert [line.split(":")[:2] for line in err.splitlines()] == [
        ["hive-mtl", " nowhere.wav"],
        ["hive-mtl", " text.wav"],
    ]
    answer = json.loads(out)
    assert answer["embeddings"] == 1
    assert set(answer["failed"]) == {"nowhere.wav", "text.wav"}
    with np.load("out.npz") as vectors:
        assert list(vectors) == ["low.wav"]


def test_embed_skips_a_name_that_no_file_of_embeddings_can_hold(run: Run) -> None:
    nameless = os.fsdecode(b"\xff.wav")
    shutil.copy("low.wav", nameless)
    status, _, err = embed(run, ["low.wav", nameless, "--json"])
    assert status == 2
    assert "not UTF-8" in err
    with np.load("out.npz") as vectors:
        assert list(vectors) == ["low.wav"]


def test_a_name_that_no_file_of_embeddings_can_hold_counts_as_a_failure(run: Run) -> None:
    nameless = os.fsdecode(b"\xff.wav")
    shutil.copy("low.wav", nameless)
    status, out, err = embed(run, ["low.wav", nameless, "--max-failures", "0"])
    assert (status, out) == (2, "")
    assert "not UTF-8" in err
    assert err.endswith("none of 1 recordings could be embedded: nothing was written\n")
    assert not Path("out.npz").exists()


def test_embed_stops_at_the_limit_of_failures_and_keeps_what_is_done(run: Run) -> None:
    status, _, err = embed(run, ["low.wav", "a.wav", "b.wav", "high.flac", "--max-failures", "1"])
    assert status == 2
    assert "1 recordings were not tried" in err.splitlines()[-1]
    with np.load("out.npz") as vectors:
        assert list(vectors) == ["low.wav"]


def test_embed_skips_what_cannot_be_looked_at(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat, locked = os.stat, str(place / "locked" / "a.wav")

    def refuse(path: str | os.PathLike[str], **options: bool) -> os.stat_result:
        if str(path) == locked:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    too_long = "x" * 300 + ".wav"
    status, out, err = embed(run, [locked, too_long, "low.wav"])
    assert (status, out[:6]) == (2, "1 of 3")
    assert [line.split(":")[1] for line in err.splitlines()] == [f" {locked}", f" {too_long}"]


def test_what_fails_is_named_as_it_is(run: Run) -> None:
    status, _, err = embed(run, ["sp/a  b/x.wav", "low.wav"])
    assert status == 2
    assert err.startswith("hive-mtl: sp/a  b/x.wav: cannot be read")


def test_a_problem_of_several_lines_is_told_in_one(capsys: pytest.CaptureFixture[str]) -> None:
    complain("a  b:\r\nit is broken\n\nfor good\n")
    assert capsys.readouterr().err == "hive-mtl: a  b: it is broken for good\n"


@pytest.mark.parametrize(
    ("encoding", "readable"), [("ascii", False), ("latin-1", False), ("utf-8", True)]
)
def test_json_can_be_read_whatever_standard_output_can_hold(
    monkeypatch: pytest.MonkeyPatch, encoding: str, readable: bool
) -> None:
    names = ["zo\u00eb \U0001f600", os.fsdecode(b"\xff.wav")]
    printed = io.BytesIO()
    stdout = io.TextIOWrapper(printed, encoding, errors="backslashreplace")  # as main has it
    monkeypatch.setattr(sys, "stdout", stdout)
    print_json(names)
    stdout.flush()
    assert json.loads(printed.getvalue().decode(encoding)) == names
    assert (names[0].encode() in printed.getvalue()) is readable


def test_embed_leaves_out_no_folder_silently(run: Run, lock: Callable[[Path], None]) -> None:
    lock(Path("people/ann"))
    status, out, err = embed(run, ["people"])
    assert (status, out) == (2, "")
    assert err == (
        "hive-mtl: people/ann: cannot be listed (permission denied): check the permissions or "
        "choose another place\n"
    )
    assert not Path("out.npz").exists()


def test_embed_leaves_no_file_where_nothing_could_be_embedded(run: Run) -> None:
    status, out, err = embed(run, ["a.wav"])
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 2
    assert not Path("out.npz").exists()


def test_verify_says_same_and_different_by_its_exit_status(run: Run) -> None:
    model = ("--model", "tiny.onnx")
    status, out, _ = run("verify", "low.wav", "low.wav", *model)
    assert status == 0
    assert out.startswith("same voice")
    status, out, _ = run("verify", "low.wav", "high.flac", *model, "--json")
    verdict = json.loads(out)
    assert set(verdict) == {"model_id", "same", "probability", "score", "threshold"}
    assert status == (0 if verdict["same"] else 1)


def test_verify_takes_a_false_alarm_rate_and_a_prior(run: Run) -> None:
    words = ("verify", "low.wav", "low.wav", "--model", "tiny.onnx", "--json")
    usual = json.loads(run(*words)[1])
    strict = json.loads(run(*words, "--false-alarm", "0.001", "--prior", "0.01")[1])
    assert strict["threshold"] > usual["threshold"]
    assert strict["probability"] < usual["probability"]
    for option, value in (("--false-alarm", "0.02"), ("--prior", "1")):
        status, out, err = run(*words, option, value)
        assert (status, out) == (2, "")
        assert len(err.splitlines()) == 1


def test_verify_does_not_call_voices_different_that_are_likelier_one(run: Run, monkeypatch) -> None:
    likely = hive.Verdict(same=False, probability=0.88, score=0.65, threshold=0.66)
    monkeypatch.setattr(hive.Model, "verify", lambda *_, **__: likely)
    status, out, _ = run("verify", "low.wav", "low.wav", "--model", "tiny.onnx")
    assert (status, out.partition(" (")[0]) == (1, "not surely the same voice")


def test_verify_calls_voices_different_that_are_likelier_two(run: Run, monkeypatch) -> None:
    unlikely = hive.Verdict(same=False, probability=0.01, score=0.1, threshold=0.5)
    monkeypatch.setattr(hive.Model, "verify", lambda *_, **__: unlikely)
    status, out, _ = run("verify", "low.wav", "low.wav", "--model", "tiny.onnx")
    assert (status, out.partition(" (")[0]) == (1, "different voices")


def test_verify_takes_several_recordings_a_side(run: Run) -> None:
    words = ("verify", "people/ann/1.wav", "low.wav", "--model", "tiny.onnx", "--json")
    more = ((), ("--more-a", "people/ann/2.wav"), ("--more-b", "people/ann/2.wav"))
    assert len({json.loads(run(*words, *each)[1])["score"] for each in more}) == 3


def test_attributes_answers_in_words_and_in_json(run: Run) -> None:
    words = ("attributes", "low.wav", "--model", "tiny.onnx")
    status, out, _ = run(*words)
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["gender", "age"]
    assert "years" in out
    answers = json.loads(run(*words, "--json")[1])
    assert answers["model_id"] == "tiny-0123456789ab"
    assert sum(answers["gender"]["alternatives"].values()) == pytest.approx(1, abs=1e-5)


def test_attributes_says_which_heads_are_withheld_and_why(run: Run) -> None:
    reason = "no skill on voices it has not met"
    heads = (GENDER, AGE.model_copy(update={"withheld": reason}))
    save_tiny_model(Path("doubtful.onnx"), description(heads=heads).model_dump_json())
    words = ("attributes", "low.wav", "--model", "doubtful.onnx")
    status, out, _ = run(*words)
    assert status == 0
    assert out.splitlines()[1] == f"age     withheld: {reason}"
    answers = json.loads(run(*words, "--json")[1])
    assert answers["age"] == {"value": None, "withheld": reason}
    assert answers["gender"]["value"] in GENDER.classes


def test_bench_measures_flac_and_opus(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hive_mtl.faces.cli.bench._RECORDINGS", 4)
    status, out, _ = run("bench", "--model", "tiny.onnx", "--json")
    assert status == 0
    answer = json.loads(out)
    assert answer["flac"]["per_cpu_second"] > 0
    assert answer["opus"]["per_second"] > 0


def bad_recording(name: str) -> None:
    """Makes the bad recording ``bad.wav`` that ``name`` describes."""
    whole = voice(120)
    waves = {
        "three samples": whole[:3],
        "zero length": whole[:0],
        "silent": np.zeros(RATE, np.float32),
        "NaN": np.full(RATE, np.nan, np.float32),
        "infinite": np.full(RATE, np.inf, np.float32),
    }
    if name in waves:
        sf.write("bad.wav", waves[name], RATE, subtype="FLOAT")
    elif name == "empty":
        Path("bad.wav").touch()
    elif name == "text":
        Path("bad.wav").write_text("this is not sound\n" * 100)
    elif name == "folder":
        Path("bad.wav").mkdir()
    elif name == "truncated":
        header = Path("low.wav").read_bytes()[:30]
        Path("bad.wav").write_bytes(header)


BAD = "empty, text, folder, truncated, three samples, zero length, silent, NaN, infinite, missing"


@pytest.mark.parametrize("name", BAD.split(", "))
@pytest.mark.parametrize("command", ["verify", "attributes"])
def test_a_bad_recording_costs_one_line_that_names_it(run: Run, command: str, name: str) -> None:
    bad_recording(name)
    other = ["low.wav"] if command == "verify" else []
    status, out, err = run(command, "bad.wav", *other, "--model", "tiny.onnx")
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "bad.wav" in err
    assert "bug" not in err


@pytest.mark.parametrize("rate_and_channels", [(192_000, 1), (16_000, 7)])
def test_unusual_recordings_are_embedded(run: Run, rate_and_channels: tuple[int, int]) -> None:
    rate, channels = rate_and_channels
    wave = np.repeat(voice(120, duration_s=24.0 / 12), rate // RATE)
    sf.write("odd.wav", np.repeat(wave[:, None], channels, axis=1), rate)
    assert embed(run, ["odd.wav"])[0] == 0


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["emebd"], "'embed'"),
        (["verify", "low.wav"], "--help"),
        (["verify", "a.wav", "b.wav", "--thread", "1"], "--threads"),
        (["verify", "a.wav", "b.wav", "--device", "tpu"], "cuda"),
        (["embed", "-o", "out.npz"], "--list"),
        (["embed", "low.wav"], "--out"),
        (["embed", "low.wav", "-o", "out.txt", "--model", "tiny.onnx"], ".npz"),
        (["embed", "low.wav", "-o", "/dev/null/out.npz", "--model", "tiny.onnx"], "/dev/null"),
        (["embed", "low.wav", "-o", "out.npz", "--model", "nowhere.onnx"], "nowhere.onnx"),
        (["embed", "low.wav", "-o", "out.npz", "--model", "low.wav"], "low.wav"),
        (["embed", "--list", "nowhere.txt", "-o", "out.npz"], "nowhere.txt"),
        (["embed", "empty", "-o", "out.npz"], "empty"),
        (["embed", "", "-o", "out.npz"], "empty path"),
        (["embed", "low.wav", "-o", "folder.npz", "--model", "tiny.onnx"], "is a folder"),
        (["embed", "low.wav", "-o", "out.npz", "--max-failures", "-1"], "--max-failures"),
        (["verify", "low.wav", "", "--model", "tiny.onnx"], "empty path"),
        (["attributes", "", "--model", "tiny.onnx"], "empty path"),
        (["attributes", "low.wav", "--model", "tiny.onnx", "--threads", "0"], "threads"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_bad_usage_costs_one_line_with_the_way_out(run: Run, words: list[str], hint: str) -> None:
    Path("empty").mkdir()
    Path("folder.npz").mkdir()
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert hint in err
    assert "bug" not in err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["train", "unifeid", "--data", "people"], "recipe"),
        (["train", "nowhere.toml", "--data", "people"], "nowhere.toml"),
        (["train", "typo.toml", "--data", "people"], "learning_rate"),
        (["train", "task.toml", "--data", "people"], "moood"),
        (["train", "good.toml", "--data", "people", "--set", "trainer.step=1"], "steps"),
        (["train", "good.toml", "--data", "people", "--tasks", "gendr"], "gender"),
        (["doctor", "nowhere"], "nowhere"),
        (["doctor", "no-path.csv"], "path"),
        (["evaluate", "tiny.onnx", "--data", "nowhere"], "nowhere"),
        (["evaluate", "tiny.onnx", "--data", "people", "--split", "tets"], "tets"),
        (["evaluate", "tiny.onnx", "--data", "people", "--split", "validation"], "validation"),
        (["evaluate", "tiny.onnx", "--data", "people", "-o", "good.toml"], "in the way"),
        (["train", "good.toml", "--data", "people", "--out", "typo.toml"], "in the way"),
        (["export", "nowhere", "-o", "out.onnx"], "nowhere"),
        (["export", "nowhere", "-o", "people"], "people: a folder is in the way"),
        (["demo", "--speech", "nowhere"], "nowhere"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_bad_input_to_the_learning_wing_costs_one_line(
    run: Run, words: list[str], hint: str
) -> None:
    pytest.importorskip("torch")
    Path("good.toml").write_text('name = "good"\n[tasks.speaker]\n')
    Path("typo.toml").write_text('name = "typo"\n[tasks.speaker]\n[trainer]\nlearing_rate = 1.0\n')
    Path("task.toml").write_text('name = "task"\n[tasks."mo od"]\nmoood = 1\n')
    Path("no-path.csv").write_text("speaker,file\nann,people/ann/1.wav\n")
    status, _, err = run(*words)
    assert status == 2
    *_progress, problem = err.splitlines()
    assert err.count("hive-mtl: ") == 1
    assert hint in problem
    assert "bug" not in problem


def test_underscores_and_hyphens_are_the_same(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli._COMMANDS["Use a model"], "two-words", ("use", "Say two words."))
    monkeypatch.setattr(use, "two_words", lambda: print("two words"), raising=False)
    assert run("two_words")[1] == run("two-words")[1] == "two words\n"
    words = ("low.wav", "-o", "out.npz", "--model", "tiny.onnx", "--max_failures", "1")
    assert run("embed", *words)[0] == 0


def test_doctor_has_a_status_for_findings(run: Run) -> None:
    pytest.importorskip("pyarrow")
    Path("people/bob").mkdir()
    Path("people/bob/broken.wav").write_text("no sound")
    status, out, _ = run("doctor", "people", "--json")
    assert status == 1
    assert any("broken.wav" in finding["path"] for finding in json.loads(out)["findings"])


def test_an_interrupt_and_a_bug_end_without_a_traceback(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(recording: str, /) -> int:
        raise KeyboardInterrupt

    def broken(recording: str, /) -> int:
        raise KeyError(recording)

    monkeypatch.setattr("hive_mtl.faces.cli.use.attributes", interrupted)
    assert run("attributes", "low.wav") == (130, "", "")
    monkeypatch.setattr("hive_mtl.faces.cli.use.attributes", broken)
    status, _, err = run("attributes", "low.wav")
    assert status == 2
    assert "a bug in Hive-MTL (KeyError at test_cli.py" in err


def command_line(*words: str, stdout: IO[bytes]) -> tuple[int, bytes]:
    """The exit status and the standard error of a process of its own."""
    command = [sys.executable, "-m", "hive_mtl", *words]
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, check=False)
    return done.returncode, done.stderr


def test_a_reader_that_goes_away_ends_the_command_quietly(place: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        words = ("attributes", "low.wav", "--model", "tiny.onnx")
        assert command_line(*words, stdout=closed) == (141, b"")


@pytest.mark.parametrize(
    ("closed", "recording", "status", "out", "err"),
    [
        ("1", "low.wav", 0, "", ""),
        ("2", "low.wav", 0, "gender", ""),
        ("1", "gone.wav", 2, "", "hive-mtl: gone.wav"),
        ("2", "gone.wav", 2, "", ""),
    ],
)
def test_a_closed_stream_takes_what_is_said_in_silence(
    place: Path, closed: str, recording: str, status: int, out: str, err: str
) -> None:
    words = ("-m", "hive_mtl", "attributes", recording, "--model", "tiny.onnx")
    command = ["sh", "-c", f'exec "$@" {closed}>&-', "sh", sys.executable, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout[:6], done.stderr[:18]) == (status, out, err)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_costs_one_line(place: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        words = ("attributes", "low.wav", "--model", "tiny.onnx")
        status, err = command_line(*words, stdout=full)
    assert status == 2
    assert err.startswith(b"hive-mtl: No space left on device: free some space")
    assert err.count(b"\n") == 1


@pytest.mark.parametrize(
    ("command", "words", "works", "argument"),
    [
        ("verify", "0.1, 0.01 or 0.001; default: {}", hive.Model.verify, "false_alarm"),
        ("verify", "same voice beforehand; default: {}", hive.Model.verify, "prior"),
        ("identify", "to list at most; default: {}", hive.Voices.identify, "k"),
        ("identify", "any of the voices; default: {}", hive.Voices.identify, "false_alarm"),
        ("identify", "is enrolled, beforehand; default: {}", hive.Voices.identify, "prior"),
        ("find", "0.1, 0.01 or 0.001; default: {}", hive.Model.find, "false_alarm"),
    ],
)
def test_help_tells_the_defaults_of_the_library(
    run: Run, command: str, words: str, works: Callable[..., object], argument: str
) -> None:
    told = " ".join(run(command, "--help")[1].replace("│", " ").split())
    assert words.format(inspect.signature(works).parameters[argument].default) in told


def test_a_device_that_is_not_there_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    words = ("attributes", "low.wav", "--model", "tiny.onnx", "--device")
    assert run(*words, "cpu")[0] == 0
    status, out, err = run(*words, "cuda")
    assert (status, out) == (2, "")
    assert err.startswith("hive-mtl: device 'cuda': not available here: choose from cpu")


def test_the_version_is_that_of_the_package(run: Run) -> None:
    assert run("--version") == (0, f"{version('hive-mtl')}\n", "")


def test_help_names_every_command_with_a_summary(run: Run) -> None:
    status, out, _ = run("--help")
    assert status == 0
    for command in cli.COMMANDS:
        assert command in out
        status, usage, _ = run(command, "--help")
        assert status == 0
        assert f"hive-mtl {command}" in usage


def test_wherever_out_is_an_option_it_is_o_for_short(run: Run) -> None:
    with_out = [name for name in cli.COMMANDS if "--out" in run(name, "--help")[1]]
    assert {"embed", "train", "demo", "compare"} <= set(with_out)
    for name in with_out:
        assert "-o" in run(name, "--help")[1].split()
