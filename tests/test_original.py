"""The original's steps, as somebody who comes from it calls them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

import hive_mtl
from hive_mtl.errors import ConfigError, DataError
from hive_mtl.faces.cli import main
from hive_mtl.learn import checkpoint
from hive_mtl.learn.original import Told, WorkingFolder
from voices import RATE, voice

RECIPE = """
name = "tiny"
front_end = "{front_end}"
mels = 24
[trunk]
name = "separable_tdnn"
channels = 16
kernels = [3, 5]
repeats = 1
pooled_channels = 32
attention = 8
squeeze = 4
embedding_dim = 16
[tasks.speaker]
min_recordings = 1
[tasks.gender]
[data]
keep = "features"
[batches]
size = 8
crop_s = [0.5, 0.5]
counts_per_speaker = [6, 2]
[trainer]
epochs = 2
workers = 0
"""


@pytest.fixture(scope="module")
def audio_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve voices to learn from, one of them with a single utterance, and four to test."""
    root = tmp_path_factory.mktemp("corpus") / "LibriSpeech"
    lines = [";ID |SEX| SUBSET | MINUTES | NAME"]
    for number in range(16):
        subset = "train-clean-5" if number < 12 else "test-clean"
        speaker = str(100 + number)
        folder = root / subset / speaker / "7"
        folder.mkdir(parents=True)
        for take in range(1 if number == 0 else 3):
            wave = voice(2.3 + 0.1 * take, seed=number)
            soundfile.write(folder / f"{speaker}-7-{take:04}.flac", wave, RATE)
        if number != 1:  # one that the list does not have
            lines.append(f"{speaker} | {'FM'[number % 2]} | {subset} | 0.1 | Nobody")
    (root / "SPEAKERS.TXT").write_text("\n".join(lines) + "\n")
    soundfile.write(root / "train-clean-5" / "stray.flac", voice(1.0), RATE)
    return root


def recipe(folder: Path, front_end: str = "log_mel") -> str:
    path = folder / "tiny.toml"
    path.write_text(RECIPE.format(front_end=front_end))
    return str(path)


@pytest.mark.parametrize("front_end", ["log_mel", "original"])
def test_the_steps_run_in_order_with_nothing_else_needed(
    audio_dir: Path, tmp_path: Path, front_end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = recipe(tmp_path, front_end)
    common = ["--working-dir", str(tmp_path / "wd"), "--recipe", tiny]
    assert main(["build_mfcc", *common, "--audio-dir", str(audio_dir)]) == 0
    assert main(["build_model_inputs", *common, "--counts-per-speaker", "4,2"]) == 0
    said = capsys.readouterr().out
    kept = len(hive_names(audio_dir, "train-clean-5"))
    assert f"{4 * kept} crops to learn from, {2 * (kept - 1)} to monitor" in said
    assert main(["train_mtl", *common]) == 0
    report = capsys.readouterr().out
    assert "first utterance enrolled, crops of 1.6 s" in report
    assert "| 4 / 12 |" in report  # the test voices, none of them learnt from
    run = tmp_path / "wd" / "runs" / "tiny"
    assert (run / "report.md").is_file()
    monitored = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert any("validation/monitor/speaker" in entry for entry in monitored)
    model = hive_mtl.load(run)
    assert model.description.trim == {"log_mel": "speech", "original": "loudest"}[front_end]
    assert model.embed(voice_of(audio_dir)).vector.shape == (16,)


def hive_names(audio_dir: Path, subset: str) -> list[str]:
    """The voices of a subset that training does not hold out."""
    from hive_mtl.learn.utterances import is_validation_voice

    speakers = sorted(folder.name for folder in (audio_dir / subset).iterdir() if folder.is_dir())
    return [name for name in speakers if not is_validation_voice("librispeech", name)]


def voice_of(audio_dir: Path) -> Path:
    return next((audio_dir / "test-clean").rglob("*.flac"))


def test_a_step_whose_work_is_missing_is_done_by_the_next(audio_dir: Path, tmp_path: Path) -> None:
    wd, tiny = tmp_path / "wd", recipe(tmp_path)
    WorkingFolder(wd).tell("mtl", audio_dir=audio_dir)
    shorter = ["--set", "trainer.epochs=1"]
    assert main(["train_mtl", "--working-dir", str(wd), "--recipe", tiny, *shorter]) == 0
    assert checkpoint.load(wd / "runs" / "tiny").header.recipe["trainer"]["epochs"] == 1
    assert (wd / "runs" / "tiny" / "model.onnx").is_file()


def test_a_recording_that_cannot_be_measured_is_named(
    audio_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is of a voice that was kept for the test, so that training never meets it."""
    own = shutil.copytree(audio_dir, tmp_path / "own")
    broken = next(own.glob("test-clean/*/7/*-0001.flac"))
    broken.write_bytes(b"no sound")
    common = ["--working-dir", str(tmp_path / "wd"), "--recipe", recipe(tmp_path)]
    assert main(["build_mfcc", *common, "--audio-dir", str(own)]) == 0
    assert main(["train_mtl", *common]) == 2
    assert f"{broken.name}: " in capsys.readouterr().err


def test_strays_and_unknown_genders_are_counted(
    audio_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    common = ["--working-dir", str(tmp_path), "--recipe", recipe(tmp_path)]
    assert main(["build_mfcc", *common, "--audio-dir", str(audio_dir)]) == 0
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "1 recordings left out" in said
    assert "1 speakers are not in SPEAKERS.TXT" in said


def test_any_folder_in_the_layout_will_do(audio_dir: Path, tmp_path: Path) -> None:
    """Without SPEAKERS.TXT, and with the speakers' folders at the top."""
    top = tmp_path / "mine"
    top.mkdir()
    for speaker in (audio_dir / "train-clean-5").iterdir():
        if speaker.is_dir():
            (top / speaker.name).symlink_to(speaker)
    common = ["--working-dir", str(tmp_path / "wd"), "--recipe", recipe(tmp_path)]
    assert main(["build_mfcc", *common, "--audio-dir", str(top)]) == 0


def test_another_rate_goes_into_the_model(audio_dir: Path, tmp_path: Path) -> None:
    common = ["--working-dir", str(tmp_path / "wd"), "--recipe", recipe(tmp_path)]
    told = ["--audio-dir", str(audio_dir), "--sample-rate", "8000"]
    assert main(["build_mfcc", *common, *told]) == 0
    assert main(["train_mtl", *common]) == 0
    model = hive_mtl.load(tmp_path / "wd" / "runs" / "tiny")
    assert model.description.sample_rate == 8000
    wave, _ = soundfile.read(voice_of(audio_dir), dtype="float32")
    high = wave + 0.05 * np.sin(2 * np.pi * 6000 * np.arange(len(wave)) / RATE).astype(np.float32)
    plain, other = (model.embed((each, RATE)).vector for each in (wave, high))
    assert plain @ other > 0.99  # what lies above 4 kHz is not heard


def test_a_second_run_goes_on_or_is_refused(
    audio_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--working-dir", str(tmp_path / "wd"), "--recipe", recipe(tmp_path)]
    WorkingFolder(tmp_path / "wd").tell("mtl", audio_dir=audio_dir)
    assert main(["train_mtl", *common]) == 0
    capsys.readouterr()
    assert main(["train_mtl", *common]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["train_mtl", *common, "--resume"]) == 0


@pytest.mark.parametrize("counts", ["600", "a,b", "0,5", "5,-1", "1,2,3"])
def test_counts_that_are_none_are_refused(
    counts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["build_model_inputs", "--working-dir", str(tmp_path), f"--counts-per-speaker={counts}"]
    assert main(words) == 2
    assert f"--counts-per-speaker {counts}: give two numbers" in capsys.readouterr().err


@pytest.mark.parametrize("rate", ["44100", "4000", "0", "11025"])
def test_a_rate_that_cannot_be_is_refused(
    rate: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build_mfcc", "--working-dir", str(tmp_path), "--sample-rate", rate]) == 2
    assert "sample_rate: input should be" in (said := capsys.readouterr().err)
    assert rate in said
    assert not (tmp_path / "steps.json").exists()


def test_a_rate_that_the_recipe_refuses_leaves_the_folder_as_it_was(
    audio_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["build_mfcc", "--working-dir", str(tmp_path), "--audio-dir", str(audio_dir)]
    assert main([*words, "--recipe", "unified", "--sample-rate", "8000"]) == 2
    assert "set data.keep = 'features'" in capsys.readouterr().err
    assert WorkingFolder(tmp_path).told == Told()


def test_without_a_corpus_it_says_where_to_get_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build_mfcc", "--working-dir", str(tmp_path)]) == 2
    assert "run hive-mtl download_librispeech" in capsys.readouterr().err


def test_damaged_notes_are_named(tmp_path: Path) -> None:
    (tmp_path / "steps.json").write_text("{")
    with pytest.raises(DataError, match=r"steps\.json: damaged"):
        WorkingFolder(tmp_path).recipe("mtl")


def test_crops_cannot_be_listed_for_a_recipe_that_draws_them(
    audio_dir: Path, tmp_path: Path
) -> None:
    from hive_mtl.learn.original import build_model_inputs

    folder = WorkingFolder(tmp_path)
    folder.tell("mtl", audio_dir=audio_dir)
    with pytest.raises(ConfigError, match="nothing to build"):
        build_model_inputs(folder, "unified", print)
