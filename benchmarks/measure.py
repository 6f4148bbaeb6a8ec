"""What the benchmarks share: the machine, real speech, processes and their cost, the report.

CPU seconds and memory are those of a process and of all its descendants, read from /proc (Linux).
"""

import argparse
import csv
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

SPEECH = Path(__file__).resolve().parents[2] / "shared" / "speech"
CLIP_S = 3.0
FORMATS = {"flac": ("FLAC", "PCM_16"), "opus": ("OGG", "OPUS")}  # as soundfile calls them
BUSY_CORES = 0.2  # used by others: from here on figures are called noisy
_PACKAGES = ("hive-mtl", "torch", "onnxruntime", "numpy", "soundfile", "av")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser with the option that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--speech", type=Path, default=SPEECH, help="folder of real speech with its manifest.csv"
    )
    return parser


def add_model(parser: argparse.ArgumentParser) -> None:
    """The option --model; the shipped model by default."""
    shipped = Path(str(files("hive_mtl.use.pretrained") / "model.onnx"))
    parser.add_argument("--model", type=Path, default=shipped, help="an .onnx file")


def need(path: Path, what: str, option: str) -> None:
    """Skips the benchmark, with status 0, where ``path`` is not there."""
    if not path.exists():
        print(f"skipped: no {what} at {path}: give {option}\n")
        raise SystemExit(0)


@contextmanager
def report(title: str) -> Iterator[None]:
    """Prints what was measured, on which machine, and what else that machine was doing."""
    print(f"== {title}\n{_machine()}\nbefore: {_others()}", flush=True)
    yield
    print(f"after: {_others()}\n", flush=True)


def show(
    what: str,
    values: Sequence[float],
    unit: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> None:
    """Prints a median with the figures it comes from, and whether it meets the bar."""
    median = statistics.median(values)
    verdict = ""
    if at_least is not None:
        verdict = f"  bar >= {at_least:g}: {'met' if median >= at_least else 'MISSED'}"
    if at_most is not None:
        verdict = f"  bar <= {at_most:g}: {'met' if median <= at_most else 'MISSED'}"
    counted = " ".join(f"{value:.3g}" for value in values) if len(values) > 1 else "one run"
    print(f"{what:44} {median:8.4g} {unit}  ({counted}){verdict}", flush=True)


def training_rows(speech: Path) -> list[dict[str, str]]:
    """The rows of split `train` in one random order, always the same, with absolute paths."""
    with (speech / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    random.Random(0).shuffle(rows)
    return [{**row, "path": str(speech.resolve() / row["path"])} for row in rows]


def write_table(rows: Sequence[dict[str, str]], path: Path) -> None:
    """Rows as a CSV table of utterances."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_clips(speech: Path, folder: Path, count: int) -> dict[str, list[Path]]:
    """Real speech without its pauses at the ends, in clips of exactly CLIP_S, in each format."""
    import numpy as np
    import soundfile as sf

    from hive_mtl.audio import SAMPLE_RATE, load, trim_silence

    size = round(CLIP_S * SAMPLE_RATE)
    waves, samples = [], 0
    for row in training_rows(speech):
        waves.append(trim_silence(load(row["path"])))
        samples += waves[-1].size
        if samples >= count * size:
            break
    clips = np.concatenate(waves)[: count * size].reshape(count, size)
    paths: dict[str, list[Path]] = {name: [] for name in FORMATS}
    for name, (container, codec) in FORMATS.items():
        for number, clip in enumerate(clips):
            paths[name].append(folder / f"{number:04d}.{name}")
            sf.write(paths[name][-1], clip, SAMPLE_RATE, format=container, subtype=codec)
    return paths


def hive_mtl(*words: str | Path) -> list[str]:
    """The command line of this environment, as a user calls it."""
    return [str(Path(sys.executable).with_name("hive-mtl")), *map(str, words)]


@contextmanager
def running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command in a process group of its own, which ends with the block; it writes to ``log``."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # through finally
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        yield process
    finally:
        # Its helpers (batch makers, resource tracker) are in the group, even if it has ended.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def failure(process: subprocess.Popen[bytes], log: Path) -> SystemExit:
    """To raise where a command ended before it was done."""
    said = log.read_text(errors="replace")[-2000:]
    return SystemExit(f"the measured command ended with status {process.returncode}:\n{said}")


@dataclass(frozen=True)
class Cost:
    """Of a process tree: CPU seconds so far (to 10 ms), resident memory now.

    Memory is the sum over the processes. Pages that they share count in each, so the machine gives
    somewhat less than this.
    """

    cpu_s: float
    rss_mb: float


def cost(root: int) -> Cost:
    """What the process ``root`` and its descendants cost, those that have ended included."""
    children: dict[int, list[int]] = {}
    own: dict[int, Cost] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        process, parent = int(entry.name), int(fields[1])
        children.setdefault(parent, []).append(process)
        ticks = sum(map(int, fields[11:15]))  # user and system, own and of children waited for
        own[process] = Cost(ticks * _TICK_S, int(fields[21]) * _PAGE_MB)
    tree, found = [root], []
    while tree:
        process = tree.pop()
        found.append(own.get(process, Cost(0.0, 0.0)))
        tree += children.get(process, [])
    return Cost(sum(each.cpu_s for each in found), sum(each.rss_mb for each in found))


def _machine() -> str:
    info = Path("/proc/cpuinfo").read_text().splitlines()
    facts = dict(part for line in info if len(part := [p.strip() for p in line.split(":", 1)]) == 2)
    bf16 = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in facts.get("flags", "").split()]
    memory_gb = os.sysconf("SC_PHYS_PAGES") * _PAGE_MB / 1024
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    return (
        f"{facts.get('model name', 'unknown CPU')}, {len(os.sched_getaffinity(0))} cores, "
        f"{memory_gb:.0f} GB, {' '.join(bf16) or 'no bf16'}; OMP_NUM_THREADS {threads}\n"
        f"Python {sys.version.split()[0]}, {', '.join(map(_version, _PACKAGES))}"
    )


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


def _others() -> str:
    """How busy the machine is while this process sleeps; the load average lags too much to tell."""
    start = _busy_s()
    time.sleep(1.0)
    cores = _busy_s() - start
    remark = "LOADED, figures are noisy" if cores > BUSY_CORES else "quiet"
    return f"others use {cores:.1f} cores, load average {os.getloadavg()[0]:.1f}: {remark}"


def _busy_s() -> float:
    fields = Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, _stolen = map(int, fields)
    return (user + nice + system + irq + softirq) * _TICK_S
