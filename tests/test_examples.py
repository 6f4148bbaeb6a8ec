"""The examples run as their first lines say."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hive_mtl.learn import corpora
from tiny_model import save_tiny_model
from voices import RATE, voice

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SOURCES = EXAMPLES.parent / "src"


def run(name: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(12):
        for take in range(2):
            path = tmp_path / "own" / f"v{number}" / f"{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, voice(2.5, seed=number), RATE)
    return tmp_path / "own"


def test_every_example_is_short() -> None:
    for example in EXAMPLES.glob("*.py"):
        assert len(example.read_text().splitlines()) <= 30, example


def test_five_lines(folder: Path, tmp_path: Path) -> None:
    model = save_tiny_model(tmp_path / "tiny.onnx")
    said = run("five_lines.py", folder / "v0/0.wav", folder / "v1/0.wav", model)
    assert "16 numbers" in said
    assert "probability" in said
    assert "gender" in said


def test_embed_folder_leaves_bad_files_out(folder: Path, tmp_path: Path) -> None:
    (folder / "v0" / "broken.wav").write_text("not audio")
    model = save_tiny_model(tmp_path / "tiny.onnx")
    assert "24 of 25 recordings" in run("embed_folder.py", folder, tmp_path / "out.npz", model)
    with np.load(tmp_path / "out.npz") as vectors:
        assert len(vectors.files) == 24


def test_know_voices(folder: Path, tmp_path: Path) -> None:
    model = save_tiny_model(tmp_path / "tiny.onnx")
    words = (tmp_path / "voices.db", "ann", folder / "v0/0.wav", folder / "v0/1.wav", model)
    for _ in range(2):  # the voice is enrolled once
        said = run("know_voices.py", *words)
        assert "1.wav: ann" in said
        assert "unknown: " in said


def test_export_librispeech_layout(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    rows = ["path,speaker,corpus,split,gender"]
    rows += [f"own/v{n}/0.wav,{100 + n},mine,{'train' if n else 'test'},female" for n in range(3)]
    rows.append("own/v5/0.wav,105,other,train,male")
    table.write_text("\n".join(rows))
    assert "3 recordings of 3 voices" in run(
        "export_librispeech_layout.py", table, "mine", tmp_path / "out"
    )
    read = corpora.read(tmp_path / "out")
    assert sorted(read["speaker"].to_pylist()) == ["100", "101", "102"]
    assert sorted(read["split"].to_pylist()) == ["test", "train", "train"]
    assert set(read["gender"].to_pylist()) == {"female"}


def test_export_librispeech_layout_of_nobody(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("path,speaker,corpus\nown/v0/0.wav,,mine\nown/v1/0.wav,1,other\n")
    words = [EXAMPLES / "export_librispeech_layout.py", table, "mine", tmp_path / "out"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    complaint = f"{table}: names no voices of a corpus 'mine': see its column 'corpus'\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", complaint)


@pytest.mark.slow
def test_train_on_your_recordings(folder: Path, tmp_path: Path) -> None:
    settings = ["trainer.steps=2", "batches.size=8", f"data.cache={tmp_path / 'cache'}"]
    assert "demo-" in run("train_on_your_recordings.py", folder, tmp_path / "run", *settings)
    assert (tmp_path / "run" / "model.onnx").is_file()
