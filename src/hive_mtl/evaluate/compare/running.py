"""A comparison from beginning to end: plan, train what is not trained yet, judge, report."""

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from hive_mtl.errors import DataError, ModelError
from hive_mtl.evaluate.compare.arms import (
    Material,
    is_done,
    read_cost,
    read_said,
    run_arm,
    write_json,
    write_table,
)
from hive_mtl.evaluate.compare.assessing import Assessor, Together, assess, verdicts
from hive_mtl.evaluate.compare.endpoints import Endpoints
from hive_mtl.evaluate.compare.held_out import hold_out, judged_utterances, split_digests
from hive_mtl.evaluate.compare.parallel import cores_each, run_all
from hive_mtl.evaluate.compare.plan import (
    EVERYTHING,
    PLAN,
    SPEAKER,
    Arm,
    Training,
    fixed,
    folder_of,
    plan_arms,
    plan_trainings,
    refuse_changes,
)
from hive_mtl.evaluate.compare.results import Comparison, by_arm, expenses, read_json
from hive_mtl.evaluate.compare.traces import read_cosines, read_revisions
from hive_mtl.learn import corpora
from hive_mtl.learn.config import Recipe
from hive_mtl.learn.materials import fit_tasks, without
from hive_mtl.learn.pace import Pace, measure_pace
from hive_mtl.learn.tasks import Task
from hive_mtl.learn.utterances import training_utterances

TRIALS = "trials.parquet"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Quarter:
    """A quarter of the voices, and what is learnt without it.

    Attributes:
        number: 0 to 3.
        folder: of its tables and trainings.
        table: all utterances; the split says which voices are held out.
        judged: the utterances to judge.
        learnt: the training utterances.
        tasks: that the others can teach, fitted to their training utterances.
    """

    number: int
    folder: Path
    table: pa.Table
    judged: pa.Table
    learnt: pa.Table
    tasks: tuple[Task, ...]

    @property
    def attributes(self) -> dict[str, Task]:
        """The tasks whose answers are read from an embedding."""
        return {task.name: task for task in self.tasks if task.name != SPEAKER}


@dataclass(frozen=True)
class Planned:
    """A comparison before it runs.

    Attributes:
        recipe: of the unified arm.
        out: the folder of the comparison.
        quarters: of the voices, which teach the same tasks; one or more.
        arms: to train.
        trainings: every arm with every seed on every quarter.
        fixed: what a comparison that has begun keeps.
    """

    recipe: Recipe
    out: Path
    quarters: tuple[Quarter, ...]
    arms: tuple[Arm, ...]
    trainings: tuple[Training, ...]
    fixed: dict[str, Any]

    def lines(self, jobs: int) -> list[str]:
        """The plan for people: who learns, what there is to train, and how long it takes.

        Args:
            jobs: how many trainings run at a time.
        """
        config, pace = self.recipe.trainer, self._pace(jobs)
        lines = []
        for quarter, parts in self.fixed["splits"].items():
            voices = ", ".join(f"{part} {found['voices']} voices" for part, found in parts.items())
            lines.append(f"Quarter {quarter}: {voices}; nobody is in two of them.")
        for arm in self.arms:
            done = [is_done(each) for each in self.trainings if each.arm.name == arm.name]
            tasks = ", ".join(arm.recipe.tasks)
            lines.append(f"  {arm.title}: {tasks}; {sum(done)} of {len(done)} done")
        left = sum(not is_done(each) for each in self.trainings)
        hours = left * pace.seconds(config.steps, config.validate_every) / 3600 / jobs
        lines.append(
            f"{left} of {len(self.trainings)} trainings to do, each of at most {config.steps:,} "
            f"steps: at {pace.step_s:.2f} s a step and {pace.validation_s:.1f} s a validation at "
            f"most {hours:.1f} hours with {jobs} at a time, less where a plateau comes earlier; "
            "embedding and probes come on top"
        )
        return lines

    def _pace(self, jobs: int) -> Pace:
        """By the trainings that are done or, where none is, by a few steps of the unified arm."""
        costs = [read_cost(each) for each in self.trainings if is_done(each)]
        known = [(cost.train_s, cost.steps) for cost in costs if cost.train_s is not None]
        if known:
            return Pace(sum(s for s, _ in known) / sum(steps for _, steps in known), 0.0)
        with tempfile.TemporaryDirectory(prefix="hive-mtl-compare-") as folder:
            data = Path(folder) / EVERYTHING
            write_table(data, self.quarters[0].table)
            run = Path(folder) / "run"
            return measure_pace(self.arms[0].recipe, [str(data)], run, cores_each(jobs))


def plan(recipe: Recipe, data: Sequence[str], out: Path, tell: Tell) -> Planned:
    """Reads the data and says what is to be trained; writes nothing.

    Args:
        recipe: of the unified arm, see :func:`hive_mtl.evaluate.compare.plan.plan_arms`.
        data: corpora (see :func:`hive_mtl.learn.corpora.read`).
        out: the folder of the comparison; one that has begun there goes on.
        tell: told what is left out.

    Raises:
        ConfigError: the recipe makes no comparison, or differs from that of the one in ``out``.
        DataError: the data is not enough, or quarters teach other tasks.
    """
    config = recipe.compare
    everyone = without(corpora.read_all(data), recipe.data.leave_out)
    quarters = [_quarter(number, recipe, everyone, out, tell) for number in config.quarters]
    names = _same_tasks(quarters)
    unlabelled = {
        name: sum(each.tasks[place].labels_of(each.learnt).count(None) for each in quarters)
        for place, name in enumerate(names)
    }
    here = recipe.data.model_copy(update={"leave_out": ()})  # they are out of the table already
    arms = plan_arms(recipe.model_copy(update={"data": here}), names, unlabelled)
    splits = {str(each.number): split_digests(each.table, config.splits) for each in quarters}
    planned = Planned(
        recipe=recipe,
        out=out,
        quarters=tuple(quarters),
        arms=tuple(arms),
        trainings=tuple(plan_trainings(arms, config, out)),
        # with one quarter as marked, as it was when a comparison had no other
        fixed=fixed(recipe, names, splits, _digest(quarters[0].table)),
    )
    if (before := read_json(out / PLAN)) is not None:
        refuse_changes(before, planned.fixed, out)
    return planned


def _quarter(number: int, recipe: Recipe, everyone: pa.Table, out: Path, tell: Tell) -> Quarter:
    table = hold_out(everyone, number)
    learnt = training_utterances(table)
    return Quarter(
        number=number,
        folder=folder_of(number, recipe.compare, out),
        table=table,
        judged=judged_utterances(table, recipe.compare.splits),
        learnt=learnt,
        tasks=tuple(fit_tasks(recipe, learnt, set(), tell)),
    )


def _same_tasks(quarters: Sequence[Quarter]) -> list[str]:
    first, *others = quarters
    names = [task.name for task in first.tasks]
    for quarter in others:
        if odd := set(names).symmetric_difference(task.name for task in quarter.tasks):
            raise DataError(
                f"compare.quarters: {', '.join(sorted(odd))} can be learnt without quarter "
                f"{quarter.number} or without quarter {first.number}, but not both: label "
                "more, name other --tasks, or compare on other quarters"
            )
    return names


def run(planned: Planned, jobs: int, tell: Tell) -> Comparison:
    """Trains what is not trained yet and judges it all.

    Raises:
        ModelError: trainings failed; run again to go on with the others done.
    """
    _write(planned)
    left = [each for each in planned.trainings if not is_done(each)]
    if failures := run_all(left, work, jobs, tell):
        raise ModelError(
            f"{len(failures)} of {len(left)} trainings failed: {failures[0]}; what is done stays: "
            "give the command again to go on"
        )
    return judge(planned)


def work(training: Training, threads: int) -> None:
    """What a process does for one training."""
    run_arm(training, Material.read(training.data.parent, threads))


def judge(planned: Planned) -> Comparison:
    """The comparison of trainings that are all done."""
    config = planned.recipe.compare
    assessors = []
    for quarter in planned.quarters:
        endpoints = Endpoints(quarter.judged, config)
        endpoints.write_trials(quarter.folder / TRIALS)
        of_quarter = [each for each in planned.trainings if each.quarter == quarter.number]
        assessors.append(Assessor(endpoints, quarter.attributes, by_arm(of_quarter, read_said)))
    together = Together(assessors)
    cells, against = assess(together, planned.arms, config)
    tasks, costs = planned.quarters[0].tasks, by_arm(planned.trainings, read_cost)
    return Comparison(
        recipe=planned.recipe.name,
        provisional=planned.recipe.provisional,
        tasks=tuple(task.name for task in tasks),
        seeds=config.seeds,
        statistics=planned.fixed["statistics"],
        splits=planned.fixed["splits"],
        cells=tuple(cells),
        against=tuple(against),
        units={task.name: _unit(task) for task in tasks},
        guesses={task.name: together.guess(task.name) for task in tasks},
        verdicts=verdicts(against),
        titles={arm.name: arm.title for arm in planned.arms},
        steps={name: tuple(each.steps for each in of) for name, of in costs.items()},
        revisions=read_revisions(planned.trainings),
        most_steps=planned.recipe.trainer.steps,
        cosines=tuple(read_cosines(planned.trainings)),
        expenses=tuple(expenses(costs, planned.arms)),
    )


def _unit(task: Task) -> str:
    head = task.describe()
    return head.unit if head else ""


def _write(planned: Planned) -> None:
    """The tables that the arms learn from, then the plan: with it, the comparison has begun."""
    if (planned.out / PLAN).is_file():
        return
    for quarter in planned.quarters:
        folder, attributes = quarter.folder / "data", tuple(quarter.attributes.values())
        Material(quarter.judged, quarter.learnt, attributes, 1).write(folder)
        write_table(folder / EVERYTHING, quarter.table)
    write_json(planned.out / PLAN, planned.fixed, infinite=True)  # as a recipe's clip_norm may be


def _digest(table: pa.Table) -> str:
    digest = hashlib.sha256()
    for name in table.column_names:
        digest.update(f"{name}\t{table[name].to_pylist()}\n".encode())
    return digest.hexdigest()
