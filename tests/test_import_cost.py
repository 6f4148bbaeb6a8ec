"""What asking for help must not load, nor those who only use a model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tiny_model import save_tiny_model

SLOW_TO_LOAD = {"torch", "onnxruntime", "pyarrow", "numpy", "pydantic", "sklearn", "matplotlib"}
OF_THE_LEARNING_WING = {"torch", "lightning_fabric", "sklearn", "matplotlib", "hive_mtl.learn"}


def loaded_by(statements: str) -> set[str]:
    """The modules that a fresh Python has after ``statements``."""
    script = (
        f"import contextlib, io, json, sys\n"
        f"with contextlib.redirect_stdout(io.StringIO()):\n    {statements}\n"
        f"print(json.dumps(list(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "statements",
    ["import hive_mtl", "from hive_mtl.faces.cli import main; main(['--help'])"],
    ids=["import", "help"],
)
def test_import_and_help_load_nothing_slow(statements: str) -> None:
    assert not loaded_by(statements) & SLOW_TO_LOAD


def test_using_a_model_loads_nothing_of_the_learning_wing() -> None:
    modules = loaded_by("from hive_mtl.faces.cli import main; import hive_mtl.use.model; main([])")
    assert "onnxruntime" in modules
    assert not modules & OF_THE_LEARNING_WING


def test_a_list_of_voices_needs_no_network_and_a_model_no_stores() -> None:
    assert "onnxruntime" not in loaded_by("import hive_mtl.use.voices")
    assert "hive_mtl.use.stores" not in loaded_by("import hive_mtl.use.model")


def test_nothing_is_gathered_about_who_uses_a_model(tmp_path: Path) -> None:
    """ONNX Runtime keeps what it has seen in the user's cache, and sends it, unless told not to."""
    file = save_tiny_model(tmp_path / "model.onnx")
    home = tmp_path / "home"
    home.mkdir()
    script = (
        "import sys, numpy, hive_mtl\n"
        "wave = numpy.sin(numpy.arange(32000) / 20).astype(numpy.float32)\n"
        "hive_mtl.load(sys.argv[1]).embed((wave, 16000))\n"
    )
    named = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    environment = {**os.environ, **named}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", script, str(file)], check=True, env=environment)
    assert list(home.rglob("*")) == []
