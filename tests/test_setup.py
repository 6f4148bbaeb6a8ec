"""The set-up of .venv, the launcher and the coverage floor: what a newcomer and CI rely on."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "tools" / "setup_environment.py"


def load(path: Path) -> ModuleType:
    """A script of ``tools`` as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The set-up script for a project in a temporary folder, that installs nothing."""
    tool = load(SCRIPT)
    venv = tmp_path / ".venv"
    for name, value in {
        "ROOT": tmp_path,
        "VENV": venv,
        "VENV_PYTHON": venv / "bin" / "python",
        "STAMP": venv / "set-up.json",
        "LOG": venv / "set-up.log",
        "CONSTRAINTS": tmp_path / "constraints.txt",
    }.items():
        monkeypatch.setattr(tool, name, value)
    (tmp_path / "pyproject.toml").write_text("one")
    (tmp_path / "constraints.txt").write_text("torch==1")

    def make_venv(*, afresh: bool) -> None:
        if afresh:
            shutil.rmtree(venv)
        (venv / "bin").mkdir(parents=True, exist_ok=True)
        (venv / "bin" / "python").touch()

    monkeypatch.setattr(tool, "make_venv", make_venv)
    monkeypatch.setattr(tool, "works", lambda statement: True)
    monkeypatch.setattr(tool, "find_uv", lambda: "uv")
    monkeypatch.setattr(tool, "run", lambda command, environment: True)
    return tool


def test_set_up_is_done_once_until_an_input_changes(tool: ModuleType) -> None:
    assert tool.main(["demo"]) == 0
    assert tool.is_ready("demo")
    assert not tool.is_ready("dev")
    (tool.ROOT / "pyproject.toml").write_text("two")
    assert not tool.is_ready("demo")


def test_a_lower_level_keeps_a_higher_one(tool: ModuleType) -> None:
    tool.set_up("dev")
    (tool.ROOT / "constraints.txt").write_text("torch==2")
    tool.set_up("demo")
    assert tool.is_ready("dev")


def test_an_interrupted_set_up_is_made_anew(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(command: list[str], environment: dict[str, str]) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tool, "run", interrupted)
        assert tool.main(["demo"]) == 130
    left_over = tool.VENV / "half a package"
    left_over.touch()
    assert not tool.is_ready("demo")
    assert tool.main(["demo"]) == 0
    assert not left_over.exists()


def test_a_moved_project_is_set_up_anew(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    tool.set_up("demo")
    stamp = json.loads(tool.STAMP.read_text())
    tool.STAMP.write_text(json.dumps({**stamp, "root": "/elsewhere"}))
    assert not tool.is_ready("demo")


def test_pip_takes_over_where_uv_fails(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], environment: dict[str, str]) -> bool:
        commands.append(command)
        tool.LOG.write_text("no route\n")
        return command[0] != "uv"

    monkeypatch.setattr(tool, "run", run)
    assert tool.main(["demo"]) == 0
    assert commands[-1][1:4] == ["-m", "pip", "install"]
    assert "uv could not do it (no route)" in capsys.readouterr().err


def test_a_set_up_that_cannot_be_made_ends_in_a_line(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tool, "works", lambda statement: False)
    assert tool.main(["demo"]) == 2
    assert "torch does not load" in capsys.readouterr().err.splitlines()[-1]
    assert not tool.is_ready("demo")


def test_uv_learns_what_is_set_for_pip(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("UV_", "PIP_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_FIND_LINKS", "here there")
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    environment = tool.uv_environment()
    assert environment["UV_FIND_LINKS"] == "here,there"
    assert environment["UV_DEFAULT_INDEX"] == "https://index.example/simple"
    assert "UV_TORCH_BACKEND" not in environment


@pytest.mark.parametrize(("gpu", "backend"), [(None, "cpu"), ("/usr/bin/nvidia-smi", None)])
def test_the_build_of_torch_follows_the_machine(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, gpu: str | None, backend: str | None
) -> None:
    for name in ("PIP_FIND_LINKS", "UV_FIND_LINKS", "UV_TORCH_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tool.shutil, "which", lambda name: gpu)
    assert tool.uv_environment().get("UV_TORCH_BACKEND") == backend


def test_an_old_python_is_told_apart(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tool.sys, "version_info", (3, 9))
    monkeypatch.setattr(tool.shutil, "which", lambda name: None)
    assert tool.main(["demo"]) == 2
    assert "install a newer Python" in capsys.readouterr().err


def test_an_unknown_level_shows_the_usage(
    tool: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool.main(["everything"]) == 2
    assert "demo|dev" in capsys.readouterr().err


def test_the_branch_floor_fails_below_it_and_where_nothing_was_measured(tmp_path: Path) -> None:
    floor = load(ROOT / "tools" / "check_branch_coverage.py")
    counts = {"num_branches": 10, "covered_branches": 9}
    files = {"src/hive_mtl/metrics.py": {"summary": counts}}
    report = tmp_path / "coverage.json"
    report.write_text(json.dumps({"files": files}))
    assert floor.main([str(report), "90", "metrics"]) == 0
    assert floor.main([str(report), "91", "metrics"]) == 1
    assert floor.main([str(report), "90", "metrics", "audio"]) == 1


def test_a_source_archive_holds_what_its_tests_need() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    included = settings["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert {"/tools", "/hive-mtl", "/constraints.txt", "/Makefile"} <= set(included)
    assert all((ROOT / name[1:]).exists() for name in included)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A fresh copy of what the launcher needs, without any .venv."""
    for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE", "hive-mtl"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("src", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.slow
def test_the_launcher_sets_up_on_first_use_and_is_quick_afterwards(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    link = elsewhere / "hive"
    link.symlink_to(project / "hive-mtl")

    def call() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [link, "--version"], cwd=elsewhere, capture_output=True, text=True, check=True
        )

    first = call()
    assert "set-up: ready" in first.stderr
    second = call()  # says nothing: there is nothing left to do
    assert second.stdout == first.stdout == "0.1.0\n"
    assert second.stderr == ""
    packages = next((project / ".venv" / "lib").glob("python*/site-packages"))
    names = {path.name.partition("-")[0] for path in packages.glob("*.dist-info")}
    assert {"torch", "hive_mtl"} <= names
    if not shutil.which("nvidia-smi"):
        assert not [name for name in names if name.startswith(("nvidia", "triton", "cuda"))]


def test_the_set_up_script_needs_nothing_installed() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", SCRIPT, "nothing"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "usage" in done.stderr
