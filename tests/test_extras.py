"""What the command line says of the packages that a base install leaves out."""

import ast
import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
import soundfile as sf

import hive_mtl
from hive_mtl.faces import cli
from tiny_model import save_tiny_model
from voices import RATE, voice

SOURCES = Path(hive_mtl.__file__).parent
USES = (
    "embed a.wav -o a.npz",
    "enroll ann a.wav --store a.db",
    "identify a.wav --store a.db",
    "find a.wav people",
)
NEEDS = {  # what is asked for, what of it takes more packages, and the extra that brings them
    "embed a.wav -o a.parquet": ("writing Parquet", "analysis"),
    "cluster people": ("grouping voices", "analysis"),
    "cluster people --html a.html": ("a map", "analysis"),
    "diarize gone.wav": ("telling who speaks when", "analysis"),  # before it reads
    "diarize a.wav -o a.png": ("a picture of who speaks when", "analysis"),
    "map people -o a.png": ("a map", "analysis"),
    "attributes a.wav --model org/name": ("fetching it from the Hub", "hub"),
    "voices list --store postgresql://nobody@localhost/none": ("a store in PostgreSQL", "postgres"),
    "demo": ("the demonstration", "demo"),
    "doctor people": ("hive-mtl doctor", "analysis"),
    "train unified --data people": ("hive-mtl train", "train"),
    "evaluate tiny.onnx --data people": ("evaluating a model", "train,analysis"),
    "evaluate-diarization tiny.onnx --data people": ("evaluating a model", "train,analysis"),
    "compare compare --data people": ("evaluating a model", "train,analysis"),
    "export run -o a.onnx": ("hive-mtl export", "train"),
    "average one two -o a.safetensors": ("hive-mtl average", "train"),
    "import-keras a.h5 -o run": ("hive-mtl import-keras", "train"),
    "build-mfcc --working-dir wd": ("hive-mtl build-mfcc", "train"),
    "build-model-inputs --working-dir wd": ("hive-mtl build-model-inputs", "train"),
    "train-mtl --working-dir wd": ("evaluating a model", "train,analysis"),
}
SCRIPT = """
import contextlib, io, json, sys
commands, left_out = map(json.loads, sys.argv[1:])
sys.modules.update(dict.fromkeys(left_out))
from hive_mtl.faces.cli import main
for command in commands:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(command.split())
    print(json.dumps([status, err.getvalue()]))
"""


def plain(distribution: str) -> str:
    return re.split(r"[^\w.-]", distribution)[0].lower().replace("_", "-").replace(".", "-")


def modules_of_extras() -> dict[str, set[str]]:
    """By module, the extras that bring it, of those that the package names itself."""
    extras: dict[str, set[str]] = {}
    for requirement in requires("hive-mtl") or []:
        found = re.search(r"extra == ['\"]([\w-]+)", requirement)
        if found and plain(requirement) != "hive-mtl":  # which extras name to bring others
            extras.setdefault(plain(requirement), set()).add(found[1])
    return {
        module: set.union(*(extras.get(plain(name), set()) for name in names))
        for module, names in packages_distributions().items()
        if any(plain(name) in extras for name in names)
    }


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Status and complaints of each command where no extra is installed."""
    folder = tmp_path_factory.mktemp("base")
    (folder / "people").mkdir()
    for path in ("a.wav", "people/a.wav"):
        sf.write(folder / path, voice(2.0), RATE)
    save_tiny_model(folder / "tiny.onnx")
    use = ("embed", "enroll", "identify", "find", "cluster", "diarize", "map")
    commands = [*USES, *NEEDS]
    words = [f"{each} --model tiny.onnx" if each.startswith(use) else each for each in commands]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(words), json.dumps(list(modules_of_extras()))],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return dict(zip(commands, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("command", NEEDS)
def test_a_command_that_needs_more_names_the_extra(
    said: dict[str, tuple[int, str]], command: str
) -> None:
    (status, err), (feature, extra) = said[command], NEEDS[command]
    assert status == 2
    assert err.count("\n") == 1
    assert f" {feature} needs more packages: pip install 'hive-mtl[{extra}]'" in err


@pytest.mark.parametrize("command", USES)
def test_a_base_install_uses_a_model(said: dict[str, tuple[int, str]], command: str) -> None:
    status, err = said[command]
    assert status == 0, err


def test_every_package_that_is_imported_is_known_by_an_extra_that_brings_it() -> None:
    extras, imported = modules_of_extras(), set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    known = cli._EXTRA_OF_MODULE
    assert imported & extras.keys() <= known.keys()
    wrong = {name for name in extras.keys() & known if known[name] not in extras[name]}
    assert not wrong
