"""The original's four steps on real speech: fetched, prepared, trained, tested."""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import hive_mtl
from hive_mtl.faces.cli import main
from hive_mtl.learn.download import download_librispeech

pytestmark = pytest.mark.slow

EXPORT = Path(__file__).parents[1] / "examples" / "export_librispeech_layout.py"
SUBSETS = ("train-clean", "test-clean")


@pytest.fixture(scope="module")
def archives(shared_speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The LibriSpeech voices of the real speech as archives, one a subset."""
    folder = tmp_path_factory.mktemp("archives")
    corpus = folder / "LibriSpeech"
    table = shared_speech / "manifest.csv"
    subprocess.run([sys.executable, EXPORT, table, "librispeech", corpus], check=True)
    for subset in SUBSETS:
        with tarfile.open(folder / f"{subset}.tar.gz", "w:gz", compresslevel=1) as tar:
            for name in (subset, "SPEAKERS.TXT"):
                tar.add(corpus / name, f"LibriSpeech/{name}")
    shutil.rmtree(corpus)
    return folder


@pytest.fixture(scope="module")
def mirror(archives: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(archives))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def working_dir(archives: Path, mirror: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """After the first two steps."""
    folder = tmp_path_factory.mktemp("wd")
    published = {
        subset: hashlib.md5((archives / f"{subset}.tar.gz").read_bytes()).hexdigest()
        for subset in SUBSETS
    }
    download_librispeech(folder, SUBSETS, mirror=mirror, published=published)
    assert main(["build_mfcc", "--working-dir", str(folder)]) == 0
    return folder


@pytest.mark.parametrize(("recipe", "counts"), [("mtl", "8,2"), ("original", "1,1")])
def test_the_four_steps(
    working_dir: Path, recipe: str, counts: str, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--working-dir", str(working_dir), "--recipe", recipe]
    assert main(["build_model_inputs", *common, "--counts-per-speaker", counts]) == 0
    assert main(["train_mtl", *common, "--set", "trainer.epochs=1"]) == 0
    assert "first utterance enrolled" in capsys.readouterr().out
    run = working_dir / "runs" / recipe
    model = hive_mtl.load(run)
    dim = {"mtl": 192, "original": 1024}[recipe]
    recording = next((working_dir / "LibriSpeech" / "test-clean").rglob("*.flac"))
    assert model.embed(recording).vector.shape == (dim,)
    assert model.attributes(recording)["gender"].value in {"female", "male"}
    if recipe == "original":
        words = ["train", "original_triplet", "--from", str(run), "--out", str(working_dir / "tri")]
        words += ["--data", f"librispeech:{working_dir / 'LibriSpeech'}"]
        words += ["--set", f"data.cache={working_dir / 'prepared'}", "--set", "trainer.steps=1"]
        assert main(words) == 0
