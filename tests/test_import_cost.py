"""What it costs to ask for help, and what must not be loaded by those who only use a model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SLOW_TO_LOAD = {"torch", "onnxruntime", "pyarrow", "numpy", "pydantic", "sklearn", "matplotlib"}
OF_THE_LEARNING_WING = {"torch", "lightning_fabric", "sklearn", "matplotlib", "hive_mtl.learn"}


def loaded_by(statements: str) -> tuple[set[str], float]:
    """The modules that a fresh Python has after ``statements``, and the CPU-seconds they took."""
    script = (
        f"import contextlib, io, json, sys, time\n"
        f"with contextlib.redirect_stdout(io.StringIO()):\n    {statements}\n"
        f"print(json.dumps([list(sys.modules), time.process_time()]))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    modules, cpu_s = json.loads(done.stdout)
    return set(modules), cpu_s


@pytest.mark.parametrize(
    "statements",
    ["import hive_mtl", "from hive_mtl.faces.cli import main; main(['--help'])"],
    ids=["import", "help"],
)
def test_import_and_help_load_nothing_slow(statements: str) -> None:
    modules, cpu_s = loaded_by(statements)
    assert not modules & SLOW_TO_LOAD
    assert cpu_s < 0.5


def test_using_a_model_loads_nothing_of_the_learning_wing() -> None:
    modules, _ = loaded_by(
        "from hive_mtl.faces.cli import main; import hive_mtl.use.model; main([])"
    )
    assert "onnxruntime" in modules
    assert not modules & OF_THE_LEARNING_WING


def test_a_command_of_the_learning_wing_names_the_extra_it_needs(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(
        'raise ModuleNotFoundError("No module named torch", name="torch")'
    )
    done = subprocess.run(
        [sys.executable, "-m", "hive_mtl.faces.cli", "train", "unified", "--data", "nowhere"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'hive-mtl[train]'" in done.stderr
