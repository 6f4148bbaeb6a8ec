"""What the arms of a comparison got wrong, and the unified model less its rivals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hive_mtl.evaluate.compare.arms import Said
from hive_mtl.evaluate.compare.endpoints import PRIMARY, Endpoints
from hive_mtl.evaluate.compare.plan import SPEAKER, Arm, name_of
from hive_mtl.evaluate.compare.results import (
    DECIDING,
    EMBEDDINGS,
    LABELLED,
    PROBES,
    SPECIALIST,
    UNIFIED,
    Against,
    Cell,
)
from hive_mtl.evaluate.compare.statistics import (
    Figure,
    Rules,
    Verdict,
    compare,
    least_favourable,
    with_corpora,
)
from hive_mtl.learn.comparing import CompareConfig
from hive_mtl.learn.tasks import Task
from hive_mtl.learn.validate import CHANCE_EER

Figures = Mapping[str, Figure]  # by name: over all corpora, and by corpus


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

    def guess(self, task: str) -> float | None:
        """The error of the best constant answer; None where it is undefined."""
        return CHANCE_EER if task == SPEAKER else self.endpoints.guess(self.tasks[task])

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

    def guess(self, task: str) -> float | None:
        """The mean over quarters."""
        found = [each.guess(task) for each in self.quarters]
        known = [guess for guess in found if guess is not None]
        return sum(known) / len(known) if len(known) == len(found) else None

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
