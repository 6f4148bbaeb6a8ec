"""Trainings side by side, a process each."""

import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from threadpoolctl import threadpool_limits

from hive_mtl.cores import cores
from hive_mtl.errors import HiveError
from hive_mtl.evaluate.compare.plan import Training

OUTPUT = "output.txt"  # of a training's folder: what it said
VISIBLE = "CUDA_VISIBLE_DEVICES"
Work = Callable[[Training, int], None]  # and the cores that it may use


def run_all(
    trainings: Sequence[Training], work: Work, jobs: int, tell: Callable[[str], None]
) -> list[str]:
    """Runs every training in a process of its own, at most ``jobs`` at a time.

    Cores are shared out among them, and GPUs by turns. Killed with this process, they go too.

    Args:
        trainings: in the order in which they begin.
        work: a function of a module, which can be sent to another process.
        jobs: how many run at a time.
        tell: is told what begins and ends.

    Returns:
        'training: problem' of each that failed.
    """
    threads = cores_each(jobs)
    context = multiprocessing.get_context("spawn")
    waiting, free = deque(trainings), list(range(jobs))
    running: dict[int, tuple[SpawnProcess, Training, int]] = {}
    failures = []
    while waiting or running:
        while waiting and free:
            training, place = waiting.popleft(), free.pop(0)
            process = context.Process(target=_run, args=(training, work, threads, place))
            process.start()
            running[process.sentinel] = process, training, place
            tell(f"{training.title}: begins, see {training.folder / OUTPUT}")
        ended = wait(list(running))
        for sentinel in [each for each in running if each in ended]:
            process, training, place = running.pop(sentinel)
            process.join()
            free.append(place)
            tell(f"{training.title}: {'failed' if process.exitcode else 'done'}")
            if process.exitcode:
                problem = _last_words(training.folder / OUTPUT, process.exitcode)
                failures.append(f"{training.title}: {problem}")
    return failures


def cores_each(jobs: int) -> int:
    """How many cores each of ``jobs`` that run at a time may use."""
    return max(cores() // jobs, 1)


def gpu_at(place: int, gpus: int, visible: str | None) -> str:
    """The GPU of a place, as CUDA names it: one of those that the environment grants already.

    Args:
        place: the number of the job.
        gpus: how many there are to share, more than one.
        visible: what ``CUDA_VISIBLE_DEVICES`` says, if it is set.
    """
    names = visible.split(",") if visible else [str(number) for number in range(gpus)]
    return names[place % gpus].strip()


def _run(training: Training, work: Work, threads: int, place: int) -> None:
    """The life of one process."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    training.folder.mkdir(parents=True, exist_ok=True)
    with (training.folder / OUTPUT).open("a", encoding="utf-8") as output:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())
    import torch  # late: it counts cores as it loads

    torch.set_num_threads(threads)
    if (gpus := torch.cuda.device_count()) > 1:
        os.environ[VISIBLE] = gpu_at(place, gpus, os.environ.get(VISIBLE))
    try:
        with threadpool_limits(threads):  # the probes would take all cores
            work(training, threads)
    except HiveError as error:
        print(error, file=sys.stderr, flush=True)
        raise SystemExit(2) from error


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _last_words(output: Path, exitcode: int | None) -> str:
    """What a process said before it failed; it says nothing of a signal that killed it."""
    if exitcode is not None and exitcode < 0:
        return f"it was killed by signal {-exitcode}: give fewer --jobs, see {output}"
    text = output.read_text("utf-8", "replace") if output.is_file() else ""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else f"it ended before it began: check {output.parent}"
