"""How long a run will take on this machine."""

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hive_mtl.learn.config import Recipe
from hive_mtl.learn.journal import Journal
from hive_mtl.learn.processes import torch_threads
from hive_mtl.learn.trainer import Run

WARM_UP, MEASURED = 2, 6  # steps


@dataclass(frozen=True)
class Pace:
    """Seconds on the clock that a step takes, and a validation."""

    step_s: float
    validation_s: float

    def seconds(self, steps: int, validate_every: int) -> float:
        """Of ``steps`` with their validations."""
        return steps * self.step_s + -(-steps // validate_every) * self.validation_s


def measure_pace(recipe: Recipe, data: Sequence[str], folder: Path, threads: int) -> Pace:
    """Runs a few steps and a validation; prepares the data, and saves nothing.

    Args:
        recipe: what is trained.
        data: corpora (see :func:`hive_mtl.learn.corpora.read`).
        folder: for the journal; it can go afterwards.
        threads: cores that the run may use.
    """
    with torch_threads(threads), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning_fabric.*|torch.*")
        return _ShortRun(recipe, data, folder, None, None, False).pace()


class _ShortRun(Run):
    """The beginning of a run, by the clock."""

    def pace(self) -> Pace:
        self.fabric.launch()
        with Journal(self.out, self.start, quiet=True) as self.journal:
            self.materials = self._materials()
            self._build()
            self.steps = WARM_UP + MEASURED  # whatever the recipe counts in
            ends = []
            for step, batch in self._batches():
                self._step(step, batch)
                ends.append(time.perf_counter())
            self._validate()
            validated = time.perf_counter()
        return Pace(float(np.diff(ends[WARM_UP - 1 :]).mean()), validated - ends[-1])
