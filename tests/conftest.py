"""What several test files share."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from hive_mtl.faces import cli

# tests do not time, and draw the same examples every time
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")

SHARED_SPEECH = Path(__file__).resolve().parents[2] / "shared" / "speech"


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """What torch draws does not depend on the tests that went before."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Calls the command line; gives exit status, standard output, standard error."""

    def words_to_answer(*words: str) -> tuple[int, str, str]:
        status = cli.main(words)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return words_to_answer


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of thirteen synthetic voices, eight to learn from and five to validate on."""
    from learning import write_corpus  # late: it needs torch, and few test files do

    return write_corpus(tmp_path_factory.mktemp("corpus"), training=8)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of a test file keep what they prepared."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the slow end of a run where it is not what is tested."""
    monkeypatch.setattr("hive_mtl.learn.trainer.export_onnx", lambda _, path: path)


@pytest.fixture(scope="session")
def shared_speech() -> Path:
    """The folder of real speech beside the checkout; its manifest.csv is a table corpus."""
    if not (SHARED_SPEECH / "manifest.csv").is_file():
        pytest.skip(f"needs the real speech of {SHARED_SPEECH}, which is not here")
    return SHARED_SPEECH


@pytest.fixture
def lock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Makes a folder one that may not be listed, for root as well."""
    scandir = os.scandir

    def forbid(folder: Path) -> None:
        def refuse(place: Any = ".") -> Any:
            if Path(os.fsdecode(place)).absolute() == folder.absolute():
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), place)
            return scandir(place)

        monkeypatch.setattr(os, "scandir", refuse)

    return forbid
