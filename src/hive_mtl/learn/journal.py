"""What a run tells: progress on the terminal, figures to TensorBoard and to ``log.jsonl``."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from hive_mtl.atomic import atomic_write
from hive_mtl.learn.validate import Validation

LOG_EVERY = 50  # steps


class Journal:
    """The journal of one run; use as a context manager.

    Args:
        folder: of the run.
        start: the step at which this session begins; later entries of the log are dropped.
        quiet: say nothing (the processes of a run beside the first).
    """

    def __init__(self, folder: Path, start: int, quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet, markup=False, emoji=False)
        self._log = folder / "log.jsonl"
        self._steps = start
        self._sums: dict[str, float] = {}
        self._count, self._speech_s, self._since = 0, 0.0, time.monotonic()
        self._board = (
            None if quiet else SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)
        )
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[losses]}", markup=False),
            TimeRemainingColumn(),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._bar = self._progress.add_task("", total=None, completed=start, losses="")
        if not quiet:
            self._drop_after(start)

    def __enter__(self) -> "Journal":
        return self

    def begin(self, steps: int) -> None:
        """Starts the clock and the bar, of ``steps`` in the whole run: preparation is over."""
        self._steps = steps
        self._progress.update(self._bar, total=steps)
        self._progress.start()
        self._since = time.monotonic()

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()
        if self._board is not None:
            self._board.close()

    def say(self, message: str) -> None:
        """One line for the person at the terminal."""
        self._console.print(message, highlight=False, soft_wrap=True)

    def step(self, step: int, losses: Mapping[str, float], rate: float, speech_s: float) -> None:
        """Counts a training step; every :data:`LOG_EVERY` of them are reported together."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        self._speech_s += speech_s
        self._progress.update(self._bar, completed=step)
        if step % LOG_EVERY and step != self._steps:
            return
        means = {name: total / self._count for name, total in self._sums.items()}
        seconds = time.monotonic() - self._since
        left = (self._steps - step) * seconds / self._count
        shown = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
        self._progress.update(self._bar, losses=shown)
        if not self._console.is_terminal:
            self.say(f"step {step}/{self._steps}  {shown}  {left / 60:.1f} min left")
        figures = {
            **{f"loss/{name}": value for name, value in means.items()},
            "learning_rate": rate,
        }
        self._write(step, {**figures, "speech_s_per_s": self._speech_s / seconds})
        self._sums, self._count, self._speech_s, self._since = {}, 0, 0.0, time.monotonic()

    def validation(self, step: int, found: Validation, best: bool) -> None:
        """Reports figures on the validation voices."""
        figures = {
            **{f"validation/eer/{corpus}": value for corpus, value in found.eer.items()},
            **{
                f"validation/same_recording_eer/{c}": v for c, v in found.same_recording_eer.items()
            },
            **{f"validation/balanced_accuracy/{t}": v for t, v in found.balanced_accuracy.items()},
            **{f"validation/threshold_error/{t}": v for t, v in found.threshold_error.items()},
            **{f"validation/share_of_chance/{t}": v for t, v in found.share_of_chance.items()},
            **{f"validation/monitor/{t}": v for t, v in found.monitor.items()},
        }
        if not figures:
            return
        self._write(step, figures)
        shown = "  ".join(
            f"{k.removeprefix('validation/')} {100 * v:.1f}%" for k, v in figures.items()
        )
        self.say(f"step {step}  {'best so far  ' if best else ''}{shown}")
        self._since = time.monotonic()

    def note(self, step: int, figures: Mapping[str, float]) -> None:
        """Further figures of a training step, for TensorBoard and the log alone."""
        self._write(step, dict(figures))

    def _write(self, step: int, figures: dict[str, Any]) -> None:
        if self._board is None:
            return
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"step": step, **figures}) + "\n")

    def _drop_after(self, start: int) -> None:
        """A resumed run repeats the steps after its last checkpoint: their first telling goes."""
        if not self._log.is_file():
            return
        whole = [line for line in self._log.read_text("utf-8").splitlines() if line.endswith("}")]
        kept = [line for line in whole if json.loads(line)["step"] <= start]
        with atomic_write(self._log) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept), "utf-8")
