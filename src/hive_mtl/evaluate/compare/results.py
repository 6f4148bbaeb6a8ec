"""What a comparison found: figures of every arm, differences, verdicts, costs."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hive_mtl.evaluate.compare.arms import Cost
from hive_mtl.evaluate.compare.plan import Arm, Training
from hive_mtl.evaluate.compare.statistics import Difference, Verdict
from hive_mtl.evaluate.compare.traces import Cosine

UNIFIED = "unified"
SPECIALIST = "the specialist"
PROBES = "speaker alone + probes"
LABELLED = "unified, only what is labelled"
EMBEDDINGS = "speaker alone, both by probes"
DECIDING = (SPECIALIST, PROBES)  # the rivals that the verdict of a task is about
T = TypeVar("T")


@dataclass(frozen=True)
class Cell:
    """The error of one embedding on one task, over all seeds.

    Attributes:
        task: what is asked.
        arm: whose embedding, or whose head, answers.
        way: "head" or "probe"; "cosine" for the speaker task.
        error: mean over seeds; None where it is undefined.
        seeds: of each training.
    """

    task: str
    arm: str
    way: str
    error: float | None
    seeds: tuple[float | None, ...]


@dataclass(frozen=True)
class Against:
    """The unified model less one rival on one task.

    Attributes:
        task: what is asked.
        rival: :data:`SPECIALIST`, :data:`PROBES`, :data:`LABELLED`, or :data:`EMBEDDINGS`, where
            probes answer for the unified model, too: one embedding against another.
        difference: over all corpora; its verdict takes the corpora into account.
        corpora: by corpus.
    """

    task: str
    rival: str
    difference: Difference
    corpora: dict[str, Difference]


@dataclass(frozen=True)
class Expense:
    """The costs of one model, or of several together: means over seeds."""

    name: str
    parameters: float
    train_cpu_hours: float | None
    cpu_s_per_hour: float
    bytes_per_voice: float


@dataclass(frozen=True)
class Comparison:
    """Everything a comparison found, and how.

    Attributes:
        recipe: its name.
        provisional: whether the recipe says so of itself.
        tasks: that are compared.
        seeds: trainings of each arm on each quarter.
        statistics: as they were fixed.
        splits: by quarter, who learnt, who validated, who was judged.
        cells: the errors.
        against: the differences.
        units: by task, of its error; empty where it is a share.
        guesses: by task, the error of the best constant answer; None where it is undefined.
        verdicts: by task, what holds against every deciding rival.
        titles: by name of the arm, as people say it.
        steps: by name of the arm, after how many steps each training was over.
        revisions: by name of the arm, of the code that its trainings ended with.
        most_steps: after which one ends that has not reached its plateau.
        cosines: of the unified arm.
        expenses: of the unified model and of all specialists.
    """

    recipe: str
    provisional: bool
    tasks: tuple[str, ...]
    seeds: int
    statistics: dict[str, Any]
    splits: dict[str, dict[str, dict[str, Any]]]
    cells: tuple[Cell, ...]
    against: tuple[Against, ...]
    units: dict[str, str]
    guesses: dict[str, float | None]
    verdicts: dict[str, Verdict]
    titles: dict[str, str]
    steps: dict[str, tuple[int, ...]]
    revisions: dict[str, tuple[str, ...]]
    most_steps: int
    cosines: tuple[Cosine, ...]
    expenses: tuple[Expense, ...]


def expenses(costs: Mapping[str, Sequence[Cost]], arms: Sequence[Arm]) -> list[Expense]:
    """One unified model against those that learnt one task; by name of the arm, what each cost."""
    specialists = [arm.name for arm in arms if arm.kind == "specialist"]
    several = f"{len(specialists)} specialists" if len(specialists) > 1 else "the speaker's alone"
    return [
        _expense("one unified model", [costs[UNIFIED]]),
        _expense(several, [costs[name] for name in specialists]),
    ]


def _expense(name: str, models: Sequence[Sequence[Cost]]) -> Expense:
    def total(read: Callable[[Cost], float | None]) -> float | None:
        values = [[read(cost) for cost in costs] for costs in models]
        means = [np.mean(known) for of in values if (known := [v for v in of if v is not None])]
        return float(sum(means)) if len(means) == len(models) else None

    seconds = total(lambda cost: cost.train_cpu_s)
    return Expense(
        name,
        total(lambda cost: cost.parameters) or 0.0,
        None if seconds is None else seconds / 3600,
        total(lambda cost: cost.cpu_s_per_hour) or 0.0,
        total(lambda cost: cost.bytes_per_voice) or 0.0,
    )


def by_arm(trainings: Sequence[Training], read: Callable[[Training], T]) -> dict[str, list[T]]:
    """By name of the arm, what ``read`` finds of each of its trainings."""
    found: dict[str, list[T]] = {}
    for training in trainings:
        found.setdefault(training.arm.name, []).append(read(training))
    return found


def read_json(path: Path) -> dict[str, Any] | None:
    """A file of a comparison; None where it is not there yet."""
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found
