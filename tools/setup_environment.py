#!/usr/bin/env python3
"""Makes the project's own environment, ``.venv``: ``python3 tools/setup_environment.py demo|dev``.

Needs nothing but Python 3.11 or newer. A stamp in ``.venv`` tells the next call that nothing has
changed, so that it costs no time; a set-up that was interrupted is made anew. With ``uv`` it takes
seconds instead of minutes: it is used where it is on the PATH or can be installed, else pip is.
Where there is no NVIDIA GPU the CPU build of torch is taken: from the find-links location of the
environment if one is set, else through uv's torch backend.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
STAMP = VENV / "set-up.json"
LOG = VENV / "set-up.log"
CONSTRAINTS = ROOT / "constraints.txt"
LEVELS = ("demo", "dev")  # names of extras; each holds the one before it
OLDEST_PYTHON = (3, 11)
UV_NAME_OF_PIP_SETTING = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_CERT": "SSL_CERT_FILE",
}


class SetUpError(Exception):
    """The environment cannot be made; the message is one line for the user."""


def main(arguments: list[str]) -> int:
    """Brings ``.venv`` to the level asked for; 0, or 2 with one line on stderr."""
    if len(arguments) != 1 or arguments[0] not in LEVELS:
        say(f"usage: setup_environment.py {'|'.join(LEVELS)}")
        return 2
    try:
        run_under_new_enough_python()
        set_up(arguments[0])
    except SetUpError as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        say("interrupted; the next call begins the set-up anew")
        return 130
    return 0


def run_under_new_enough_python() -> None:
    """Hands over to a newer Python on the PATH where this one is too old."""
    if sys.version_info >= OLDEST_PYTHON:
        return
    for minor in range(20, OLDEST_PYTHON[1] - 1, -1):
        newer = shutil.which(f"python3.{minor}")
        if newer:
            os.execv(newer, [newer, __file__, *sys.argv[1:]])
    raise SetUpError(
        f"needs Python 3.11 or newer and found {sys.version.split()[0]}: install a newer Python"
    )


def set_up(level: str) -> None:
    """Installs the project, editable, with the extra named ``level``."""
    if is_ready(level):
        return
    with (ROOT / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two first uses at once: the second waits for the first
        if is_ready(level):
            return
        started = time.monotonic()
        stamp = read_stamp()
        wanted = max(level, stamp.get("level", level), key=LEVELS.index)
        make_venv(afresh=bool(stamp) and stamp.get("root") != str(ROOT))
        write_stamp({})  # until the end, what is there counts as unfinished
        install(wanted)
        write_stamp({"root": str(ROOT), "digest": digest(), "level": wanted})
        say(f"ready after {time.monotonic() - started:.0f} s")


def is_ready(level: str) -> bool:
    """Whether ``.venv`` was completed from these very inputs, at this level or a higher one."""
    stamp = read_stamp()
    return (
        stamp.get("root") == str(ROOT)
        and stamp.get("digest") == digest()
        and LEVELS.index(stamp["level"]) >= LEVELS.index(level)
        and VENV_PYTHON.exists()
    )


def read_stamp() -> dict[str, str]:
    """What the last set-up wrote; a broken one reads ``{"root": ""}``, none at all ``{}``."""
    if not STAMP.exists():
        return {}
    try:
        stamp = json.loads(STAMP.read_text())
    except ValueError:
        stamp = {}
    return stamp if stamp.keys() == {"root", "digest", "level"} else {"root": ""}


def write_stamp(stamp: dict[str, str]) -> None:
    """Replaces the stamp in one step."""
    new = STAMP.with_suffix(".new")
    new.write_text(json.dumps(stamp))
    new.replace(STAMP)


def digest() -> str:
    """A digest of everything that decides what is installed."""
    inputs = (ROOT / "pyproject.toml", CONSTRAINTS, Path(__file__))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in inputs)).hexdigest()


def make_venv(*, afresh: bool) -> None:
    """Makes ``.venv`` unless one that works is there already."""
    if not afresh and works("import pip"):
        return
    say(f"making .venv with Python {sys.version.split()[0]}")
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    if subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode:
        raise SetUpError(
            "python3 -m venv failed (see above): on Debian or Ubuntu, apt install python3-venv"
        )


def install(level: str) -> None:
    """Installs the project with uv, or with pip where uv is not to be had or fails."""
    LOG.unlink(missing_ok=True)
    what = ["--constraint", str(CONSTRAINTS), "--editable", f".[{level}]"]
    if not install_with_uv(level, what):
        say(f"installing the packages of [{level}] with pip: several minutes")
        if not run([str(VENV_PYTHON), "-m", "pip", "install", *what], dict(os.environ)):
            raise SetUpError(f"pip failed ({last_line()}); all it said is in {LOG}")
    if not works("import hive_mtl, torch"):
        raise SetUpError(f"the packages are there but torch does not load; see {LOG}")


def install_with_uv(level: str, what: list[str]) -> bool:
    """Whether uv is to be had and has installed ``what``."""
    uv = find_uv()
    if not uv:
        return False
    say(f"installing the packages of [{level}] with uv: a minute or two")
    done = run([uv, "pip", "install", "--python", str(VENV_PYTHON), *what], uv_environment())
    if not done:
        say(f"uv could not do it ({last_line()})")
    return done


def find_uv() -> str | None:
    """The uv on the PATH, or else one installed into ``.venv``; None where neither works."""
    own = VENV / "bin" / "uv"
    on_path = shutil.which("uv")
    if on_path or own.exists():
        return on_path or str(own)
    installed = run([str(VENV_PYTHON), "-m", "pip", "install", "uv"], dict(os.environ))
    return str(own) if installed else None


def uv_environment() -> dict[str, str]:
    """The environment for uv: what is set for pip holds for it too; the right build of torch."""
    environment = dict(os.environ)
    for pip_name, uv_name in UV_NAME_OF_PIP_SETTING.items():
        if pip_name in environment:
            environment.setdefault(uv_name, environment[pip_name])
    if "PIP_FIND_LINKS" in environment:
        places = ",".join(environment["PIP_FIND_LINKS"].split())
        environment.setdefault("UV_FIND_LINKS", places)
    if "UV_FIND_LINKS" not in environment and not shutil.which("nvidia-smi"):
        environment.setdefault("UV_TORCH_BACKEND", "cpu")
    return environment


def run(command: list[str], environment: dict[str, str]) -> bool:
    """Runs ``command`` in the project's folder, its output in the log; whether it succeeded."""
    with LOG.open("a") as log:
        log.write(f"$ {' '.join(command)}\n")
        log.flush()
        outcome = subprocess.run(
            command, check=False, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    return outcome.returncode == 0


def works(statement: str) -> bool:
    """Whether the Python of ``.venv`` runs ``statement``."""
    if not VENV_PYTHON.exists():
        return False
    command = [str(VENV_PYTHON), "-c", statement]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def last_line() -> str:
    """The last line of the log that says something."""
    lines = [line.strip() for line in LOG.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def say(line: str) -> None:
    """One line a stage, on stderr: the standard output belongs to the command that follows."""
    print(f"set-up: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
