"""The names of the package: declared, importable, and cheap."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import hive_mtl as hive
from tiny_model import save_tiny_model

_TRACE = """
import sys
import hive_mtl as hive
assert "numpy" not in sys.modules and "onnxruntime" not in sys.modules
model = hive.load(sys.argv[1])
import numpy
model.embed_many([(numpy.random.default_rng(0).standard_normal(16000) / 9, 16000)] * 3)
print(*sys.modules)
"""


def test_every_public_name_is_there_and_documented() -> None:
    for name in hive.__all__:
        member = getattr(hive, name)
        if inspect.isclass(member) or inspect.isfunction(member):
            assert inspect.getdoc(member), name
    assert sorted(hive.__all__) == hive.__all__ == dir(hive)


def test_every_public_name_says_where_it_lives() -> None:
    for name in hive.__all__:
        member = getattr(hive, name)
        home = getattr(member, "__module__", "")
        if home.startswith("hive_mtl"):
            assert getattr(importlib.import_module(home), name) is member


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="voicez"):
        hive.voicez  # noqa: B018


def test_using_a_model_imports_nothing_of_the_learning_wing(tmp_path: Path) -> None:
    network = save_tiny_model(tmp_path / "model.onnx")
    command = [sys.executable, "-c", _TRACE, str(network)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    imported = set(done.stdout.split())
    heavy = {
        "torch",
        "pyarrow",
        "hive_mtl.learn",
        "sklearn",
        "matplotlib",
        "pandas",
        "rich",
        "onnx",
    }
    assert not heavy & imported
    assert done.stderr == ""
