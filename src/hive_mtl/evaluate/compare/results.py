"""What a comparison found: figures of every arm, differences, verdicts, costs."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hive_mtl.evaluate.compare.arms import Cost, Said, read_cost, read_said
from hive_mtl.evaluate.compare.endpoints import PRIMARY, Endpoints
from hive_mtl.evaluate.compare.plan import SPEAKER, Arm, Training, name_of
from hive_mtl.evaluate.compare.statistics import (
    Difference,
    Figure,
    Rules,
    Verdict,
    compare,
    least_favourable,
    with_corpora,
)
from hive_mtl.evaluate.compare.traces import Cosine
from hive_mtl.learn.comparing import CompareConfig
from hive_mtl.learn.tasks import Task

UNIFIED = "unified"
SPECIALIST = "the specialist"
PROBES = "speaker alone + probes"
LABELLED = "unified, only what is labelled"
EMBEDDINGS = "speaker alone, both by probes"
DECIDING = (SPECIALIST, PROBES)  # the rivals that the verdict of a task is about
Figures = Mapping[str, Figure]  # by name: over all corpora, and by corpus


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


@dataclass(frozen=True)
class Assessor:
    """Works out the figures of arms on one quarter.

    Attributes:
        endpoints: how they are judged.
        tasks: the attributes by name, fitted.
        said: by name of the arm, what each training of it says.
    """

    endpoints: Endpoints
    tasks: Mapping[str, Task]
    said: Mapping[str, Sequence[Said]]

    def own(self, task: str, arm: str) -> Figures:
        """By its own head, or by cosines of its embeddings."""
        said = self.said[arm]
        if task == SPEAKER:
            return self.endpoints.speaker([each.vectors for each in said])
        return self.endpoints.attribute(self.tasks[task], [each.heads[task] for each in said])

    def probed(self, task: str, arm: str) -> Figures:
        """By linear probes on its embedding; cosines need none."""
        if task == SPEAKER:
            return self.own(task, arm)
        said = [each.probes[task] for each in self.said[arm]]
        return self.endpoints.attribute(self.tasks[task], said)


@dataclass(frozen=True)
class Together:
    """Works out the figures of arms on all quarters, as :class:`Assessor` does on one.

    Attributes:
        quarters: one or more, which judge the same tasks.
    """

    quarters: Sequence[Assessor]

    @property
    def attributes(self) -> list[str]:
        """The names of the tasks beside the speaker."""
        return list(self.quarters[0].tasks)

    def own(self, task: str, arm: str) -> Figures:
        """The mean over quarters."""
        return _together([each.own(task, arm) for each in self.quarters])

    def probed(self, task: str, arm: str) -> Figures:
        """The mean over quarters."""
        return _together([each.probed(task, arm) for each in self.quarters])


def _together(quarters: Sequence[Figures]) -> Figures:
    """By name; a corpus that tells nothing of a task on a quarter is no part of its mean there."""
    defined = [{PRIMARY: figures[PRIMARY], **_by_corpus(figures)} for figures in quarters]
    names = dict.fromkeys(name for figures in defined for name in figures)
    return {
        name: Figure.together([figures[name] for figures in defined if name in figures])
        for name in names
    }


def assess(
    assessor: Together, arms: Sequence[Arm], config: CompareConfig
) -> tuple[list[Cell], list[Against]]:
    """The errors of all arms, and the unified model less its rivals."""
    names = [SPEAKER, *assessor.attributes]
    own: dict[tuple[str, str], Figures] = {}
    probed: dict[tuple[str, str], Figures] = {}
    for arm in arms:
        if arm.kind == "labelled":
            own[arm.task, arm.name] = assessor.own(arm.task, arm.name)
            continue
        for task in names:
            if arm.kind == UNIFIED or arm.task == task:
                own[task, arm.name] = assessor.own(task, arm.name)
            if (task, arm.name) not in own or task != SPEAKER:
                probed[task, arm.name] = assessor.probed(task, arm.name)
    cells = [_cell(key, figures, "head") for key, figures in own.items()]
    cells += [_cell(key, figures, "probe") for key, figures in probed.items()]
    rules = Rules(config.margin, config.level, config.draw_seed)
    unified = {task: own[task, UNIFIED] for task in names}
    rivals = {
        SPECIALIST: {arm.task: own[arm.task, arm.name] for arm in arms if arm.kind == "specialist"},
        PROBES: {
            task: probed[task, name_of("specialist", SPEAKER)] for task in assessor.attributes
        },
        LABELLED: {arm.task: own[arm.task, arm.name] for arm in arms if arm.kind == "labelled"},
    }
    against = [
        each for name, rival in rivals.items() for each in _against(name, unified, rival, rules)
    ]
    by_probes = {task: probed[task, UNIFIED] for task in assessor.attributes}
    return cells, against + _against(EMBEDDINGS, by_probes, rivals[PROBES], rules)


def verdicts(against: Iterable[Against]) -> dict[str, Verdict]:
    """By task, the least favourable of the verdicts against the deciding rivals."""
    of_task: dict[str, list[Verdict]] = {}
    for each in against:
        if each.rival in DECIDING:
            of_task.setdefault(each.task, []).append(each.difference.verdict)
    return {task: least_favourable(found) for task, found in of_task.items()}


def _cell(key: tuple[str, str], figures: Figures, way: str) -> Cell:
    task, arm = key
    figure = figures[PRIMARY]
    seeds = tuple(float(v) if np.isfinite(v) else None for v in figure.seeds)
    return Cell(task, arm, "cosine" if task == SPEAKER else way, figure.mean, seeds)


def _against(
    name: str, unified: Mapping[str, Figures], rival: Mapping[str, Figures], rules: Rules
) -> list[Against]:
    overall = compare(
        {task: unified[task][PRIMARY] for task in rival},
        {task: figures[PRIMARY] for task, figures in rival.items()},
        rules,
    )
    found = []
    for task, difference in overall.items():
        corpora = compare(_by_corpus(unified[task]), _by_corpus(rival[task]), rules)
        verdict = with_corpora(difference.verdict, corpora)
        found.append(Against(task, name, replace(difference, verdict=verdict), corpora))
    return found


def _by_corpus(figures: Figures) -> dict[str, Figure]:
    """Where there is a figure: a corpus of one language, say, tells nothing of languages."""
    return {
        name: figure
        for name, figure in figures.items()
        if name != PRIMARY and figure.mean is not None
    }


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


def read_all_said(trainings: Sequence[Training]) -> dict[str, list[Said]]:
    """By arm, what its trainings left behind."""
    said: dict[str, list[Said]] = {}
    for training in trainings:
        said.setdefault(training.arm.name, []).append(read_said(training))
    return said


def read_costs(trainings: Sequence[Training]) -> dict[str, list[Cost]]:
    """By arm, what its trainings cost."""
    costs: dict[str, list[Cost]] = {}
    for training in trainings:
        costs.setdefault(training.arm.name, []).append(read_cost(training))
    return costs


def read_json(path: Path) -> dict[str, Any] | None:
    """A file of a comparison; None where it is not there yet."""
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found
