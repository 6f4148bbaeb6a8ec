"""The isolated environment ``.venv-original``, in which the original's pipeline runs.

TensorFlow, librosa and what they pull in never enter ``.venv``. A stamp tells the next call that
nothing has changed, so that it costs no time. With ``uv`` the first call takes a minute or two.
"""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import setup_environment  # how uv is found, and that it hears what is set for pip

ROOT = setup_environment.ROOT
VENV = ROOT / ".venv-original"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "set-up.sha256"
LOG = VENV / "set-up.log"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
NEWEST_PYTHON = (3, 13)  # that this TensorFlow has wheels for


def ready() -> Path:
    """The Python of ``.venv-original``, which is made first where it is not there yet."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + str(ROOT).encode()).hexdigest()
    if not (STAMP.exists() and STAMP.read_text() == digest and PYTHON.exists()):
        started = time.monotonic()
        print("set-up: making .venv-original with TensorFlow: minutes, 2.5 GB", file=sys.stderr)
        make()
        STAMP.write_text(digest)
        print(f"set-up: ready after {time.monotonic() - started:.0f} s", file=sys.stderr)
    return PYTHON


def make() -> None:
    """Makes the environment anew and installs the frozen requirements."""
    if sys.version_info[:2] > NEWEST_PYTHON:
        newest = ".".join(map(str, NEWEST_PYTHON))
        raise SystemExit(
            f"{sys.executable}: this TensorFlow needs Python {newest} or older: make .venv with it"
        )
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    what = ["install", "--requirement", str(REQUIREMENTS)]
    uv = setup_environment.find_uv()
    if uv:
        command = [uv, "pip", *what, "--python", str(PYTHON)]
        settings = setup_environment.uv_environment()
    else:
        command, settings = [str(PYTHON), "-m", "pip", *what], dict(os.environ)
    with LOG.open("w") as log:
        outcome = subprocess.run(command, check=False, env=settings, stdout=log, stderr=log)
    if outcome.returncode:
        raise SystemExit(f"TensorFlow could not be installed; all that was said is in {LOG}")


def output(script: str, *words: str | Path) -> str:
    """What a script of this folder prints when it runs in the isolated environment, at one thread.

    TensorFlow says much on standard error, which is only passed on where the script fails.
    """
    command = [str(ready()), str(Path(__file__).with_name(script)), *map(str, words)]
    outcome = subprocess.run(command, check=False, env=one_thread(), capture_output=True, text=True)
    if outcome.returncode:
        raise SystemExit(
            f"{script}: ended with status {outcome.returncode}:\n{outcome.stderr[-2000:]}"
        )
    return outcome.stdout


def one_thread() -> dict[str, str]:
    """The environment variables that hold every library, TensorFlow included, to one thread."""
    names = (
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"),
        *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
    )
    return {**os.environ, **dict.fromkeys(names, "1"), "TF_CPP_MIN_LOG_LEVEL": "3"}


if __name__ == "__main__":
    print(ready())
