"""Environments of their own for what Hive-MTL is compared with: ``.venv-NAME``, made on first use.

What they hold never enters ``.venv``. A stamp tells the next call that nothing has changed, so that
it costs no time.
"""

import hashlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
import setup_environment  # how uv is found, and that it hears what is set for pip

ROOT = setup_environment.ROOT
_THREADS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
)


@dataclass(frozen=True)
class Environment:
    """An isolated environment with frozen requirements.

    Attributes:
        name: of the folder ``.venv-NAME``.
        requirements: the file that freezes them.
        holds: what is told while it is made, such as "TensorFlow: minutes, 2.5 GB".
        newest_python: that there are wheels for.
        options: more for the installer.
    """

    name: str
    requirements: Path
    holds: str
    newest_python: tuple[int, int] = (3, 13)
    options: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return ROOT / f".venv-{self.name}"

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def ready(self) -> Path:
        """The Python of the environment, which is made first where it is not there yet."""
        digest = hashlib.sha256(self.requirements.read_bytes() + str(ROOT).encode()).hexdigest()
        stamp = self.folder / "set-up.sha256"
        if not (stamp.exists() and stamp.read_text() == digest and self.python.exists()):
            started = time.monotonic()
            print(f"set-up: making {self.folder.name} with {self.holds}", file=sys.stderr)
            self._make()
            stamp.write_text(digest)
            print(f"set-up: ready after {time.monotonic() - started:.0f} s", file=sys.stderr)
        return self.python

    def output(self, script: Path, *words: str | Path) -> str:
        """What a script prints when it runs in the environment, at one thread.

        What it says on standard error is only passed on where it fails.
        """
        command = [str(self.ready()), str(script), *map(str, words)]
        outcome = subprocess.run(
            command, check=False, env=one_thread(), capture_output=True, text=True
        )
        if outcome.returncode:
            raise SystemExit(
                f"{script.name}: ended with status {outcome.returncode}:\n{outcome.stderr[-2000:]}"
            )
        return outcome.stdout

    def _make(self) -> None:
        """Makes the environment anew and installs the frozen requirements."""
        if sys.version_info[:2] > self.newest_python:
            newest = ".".join(map(str, self.newest_python))
            raise SystemExit(
                f"{sys.executable}: {self.folder.name} needs Python {newest} or older: make .venv "
                "with it"
            )
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(self.folder)], check=True)
        what = ["install", *self.options, "--requirement", str(self.requirements)]
        uv = setup_environment.find_uv()
        if uv:
            command = [uv, "pip", *what, "--python", str(self.python)]
            settings = setup_environment.uv_environment()
        else:
            command, settings = [str(self.python), "-m", "pip", *what], dict(os.environ)
        log = self.folder / "set-up.log"
        with log.open("w") as said:
            outcome = subprocess.run(command, check=False, env=settings, stdout=said, stderr=said)
        if outcome.returncode:
            raise SystemExit(
                f"{self.folder.name} could not be installed; all that was said is in {log}"
            )


def one_thread() -> dict[str, str]:
    """The environment variables that hold every library, TensorFlow included, to one thread."""
    return {**os.environ, **dict.fromkeys(_THREADS, "1"), "TF_CPP_MIN_LOG_LEVEL": "3"}
