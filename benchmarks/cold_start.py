"""What one call of the command line costs in a fresh process: CPU seconds and peak memory."""

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import measure

RUNS = 7
HELP_CPU_S, VERIFY_CPU_S, VERIFY_RSS_MB = 0.5, 1.5, 220.0  # the bars
SLOW_TO_LOAD = ("torch", "onnxruntime", "pyarrow", "numpy", "pydantic")


@dataclass(frozen=True)
class Call:
    cpu_s: float
    rss_mb: float


def call(command: list[str]) -> Call:
    """One process from start to end, as the kernel accounts for it.

    The kernel lets the peak memory begin at what this process takes, which is about 55 MB.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    complaint = process.stderr.read().decode(errors="replace") if process.stderr else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):  # 1: verify's clean 'no'
        raise SystemExit(f"{' '.join(command)}: status {process.returncode}: {complaint}")
    return Call(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def calls(command: list[str]) -> list[Call]:
    """The counted calls, after one that fills the caches of bytecode and files."""
    call(command)
    return [call(command) for _ in range(RUNS)]


def loaded_by(command: list[str]) -> set[str]:
    """Top-level modules that a command imports."""
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    names = (line.rpartition("|")[2].strip() for line in done.stderr.splitlines())
    return {name.partition(".")[0] for name in names}


def show_help() -> None:
    command = measure.hive_mtl("--help")
    cpu_s = [each.cpu_s for each in calls(command)]
    measure.show("hive-mtl --help", cpu_s, "CPU-s", at_most=HELP_CPU_S)
    slow = loaded_by(command) & set(SLOW_TO_LOAD)
    print(f"of {', '.join(SLOW_TO_LOAD)} it imports: {', '.join(sorted(slow)) or 'none'}")


def show_verify(model: Path, pair: list[Path]) -> None:
    done = calls(measure.hive_mtl("verify", *pair, "--model", model))
    what = f"hive-mtl verify A.{pair[0].suffix[1:]} B.{pair[1].suffix[1:]}"
    # Opus is reported beside FLAC, and must meet the same bars: phones record nothing else.
    measure.show(what, [each.cpu_s for each in done], "CPU-s", at_most=VERIFY_CPU_S)
    measure.show(what, [each.rss_mb for each in done], "MB peak", at_most=VERIFY_RSS_MB)


def main() -> None:
    parser = measure.arguments(__doc__)
    measure.add_model(parser)
    options = parser.parse_args()
    with measure.report(f"cold_start: 1 warm-up and {RUNS} counted processes each"):
        show_help()
        measure.need(options.speech, "real speech", "--speech FOLDER")
        measure.need(options.model, "model", "--model FILE")
        with tempfile.TemporaryDirectory() as folder:
            for pair in measure.write_clips(options.speech, Path(folder), 2).values():
                show_verify(options.model, pair)


if __name__ == "__main__":
    main()
