"""Which trainings a comparison takes: every arm is one recipe but for its tasks.

All arms have one trunk, one augmentation, one size of batches and one budget, and each is trained
until the validation figures of its own tasks no longer gain.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

from hive_mtl.errors import ConfigError
from hive_mtl.learn.comparing import CompareConfig
from hive_mtl.learn.config import Recipe, parse_recipe

SPEAKER = "speaker"
PLAN = "plan.json"
EVERYTHING = "everything.parquet"  # the table of all utterances, which every arm is given
Kind = Literal["specialist", "unified", "labelled"]

_UNFAIR = {
    "data.labelled": "arms that learn only from what is labelled set it themselves",
    "trainer.epochs": "an epoch is longer where an arm has more data",
    "distillation.teachers": "they may have learnt from the voices that are judged, and teach more "
    "than the task of an arm",
}


def name_of(kind: Kind, task: str = "") -> str:
    """The name of an arm; the unified one has no task."""
    return f"{kind}-{task}" if task else kind


@dataclass(frozen=True)
class Arm:
    """One way of learning.

    Attributes:
        kind: "specialist" learns one task alone; "unified" all tasks; "labelled" all tasks, but
            without the utterances that lack the label of ``task``.
        task: of a specialist or of a labelled arm; empty for the unified one.
        recipe: of its first seed.
    """

    kind: Kind
    task: str
    recipe: Recipe

    @property
    def name(self) -> str:
        """As folders are called."""
        return name_of(self.kind, self.task)

    @property
    def title(self) -> str:
        """As people say it."""
        return {
            "specialist": f"{self.task} alone",
            "unified": "unified",
            "labelled": f"unified, only where {self.task} is labelled",
        }[self.kind]


@dataclass(frozen=True)
class Training:
    """One training of an arm.

    Attributes:
        arm: that is trained.
        quarter: of the voices that is held out to be judged.
        recipe: with the seed of this training.
        data: the table that it learns from.
        folder: of the run.
    """

    arm: Arm
    quarter: int
    recipe: Recipe
    data: Path
    folder: Path

    @property
    def title(self) -> str:
        """The arm and the seed."""
        return f"{self.arm.title}, seed {self.recipe.trainer.seed}"


def plan_arms(recipe: Recipe, tasks: Sequence[str], unlabelled: Mapping[str, int]) -> list[Arm]:
    """The arms of a comparison, those first that the first answers need.

    Args:
        recipe: of the unified arm.
        tasks: that the data can teach.
        unlabelled: by task, how many training utterances lack its label.

    Raises:
        ConfigError: the recipe makes no fair comparison.
    """
    _check(recipe, tasks)
    arms = [Arm("unified", "", _with(recipe, tasks, tasks, recipe.compare.cosines_every))]
    arms += [
        Arm("specialist", task, _with(recipe, [task], [task]))
        for task in tasks
        if task == SPEAKER or "specialists" in recipe.compare.arms
    ]
    arms += [
        Arm("labelled", task, _only_labelled(_with(recipe, tasks, tasks, required=[task]), task))
        for task in tasks
        if task != SPEAKER and unlabelled[task] and "labelled" in recipe.compare.arms
    ]
    return arms


def plan_trainings(arms: Sequence[Arm], config: CompareConfig, out: Path) -> list[Training]:
    """Every arm with every seed on every quarter; no seed is used again on another quarter.

    All arms with one seed come before the next seed, and all of a quarter before the next.
    """
    trainings = []
    for place, quarter in enumerate(config.quarters):
        folder = folder_of(quarter, config, out)
        for number in range(config.seeds):
            for arm in arms:
                seed = arm.recipe.trainer.seed + place * config.seeds + number
                trainings.append(
                    Training(
                        arm=arm,
                        quarter=quarter,
                        recipe=_changed(arm.recipe, seed=seed),
                        data=folder / "data" / EVERYTHING,
                        folder=folder / "arms" / arm.name / f"seed{seed}",
                    )
                )
    return trainings


def folder_of(quarter: int, config: CompareConfig, out: Path) -> Path:
    """Where what belongs to one quarter lies: ``out`` itself where there is no other."""
    return out if len(config.quarters) == 1 else out / f"quarter{quarter}"


def fixed(
    recipe: Recipe, tasks: Sequence[str], splits: Mapping[str, Any], data: str
) -> dict[str, Any]:
    """What a comparison that has begun keeps: statistics, training, tasks, data, and who is where.

    ``data`` is a digest of the table of utterances.
    """
    statistics = recipe.compare.model_dump(mode="json")
    return {
        "statistics": statistics,
        "statistics_sha256": hashlib.sha256(json.dumps(statistics).encode()).hexdigest(),
        "recipe": recipe.what_decides(),
        "tasks": list(tasks),
        "data_sha256": data,
        "splits": dict(splits),
    }


def refuse_changes(before: Mapping[str, Any], now: Mapping[str, Any], out: Path) -> None:
    """A comparison goes on only as it was planned.

    Raises:
        ConfigError: something differs, and what.
    """
    # Parsed: one that began before there was a setting did what the setting now does by default.
    begun = parse_recipe({**before["recipe"], "compare": before["statistics"]}, str(out / PLAN))
    for key, was in begun.compare.model_dump(mode="json").items():
        if was != (is_ := now["statistics"][key]):
            raise ConfigError(
                f"{out}: compare.{key} was {was} when this comparison began and is now {is_}: "
                "statistics stay as they were fixed: choose another --out"
            )
    was_and_is = {
        "recipe": (begun.what_decides(), now["recipe"]),
        "tasks": (before["tasks"], now["tasks"]),
        "data": (before["data_sha256"], now["data_sha256"]),
    }
    for name, (was, is_) in was_and_is.items():
        if was != is_:
            raise ConfigError(
                f"{out}: the {name} {'differ' if name == 'tasks' else 'differs'} from what this "
                "comparison began with: choose another --out"
            )


def _check(recipe: Recipe, tasks: Sequence[str]) -> None:
    if SPEAKER not in tasks or len(tasks) < 2:
        raise ConfigError(
            f"compare: the tasks are {', '.join(tasks)}: name speaker, whose embedding is the "
            "rival, and at least one more that the data is labelled for"
        )
    if recipe.trainer.plateau is None:
        raise ConfigError(
            f"recipe '{recipe.name}': every arm is trained until it no longer gains: set "
            "trainer.plateau, as the recipe 'compare' does"
        )
    for setting, why in _UNFAIR.items():
        if attrgetter(setting)(recipe):
            raise ConfigError(f"{setting}: {why}: leave it out of a comparison")
    for task in tasks:
        if getattr(recipe.tasks[task], "speeds", (1.0,)) != (1.0,):
            raise ConfigError(
                f"tasks.{task}.speeds: other speeds are heard only where this task learns, and the "
                "augmentation of all arms is the same: leave them out"
            )


def _with(
    recipe: Recipe,
    tasks: Sequence[str],
    chosen_by: Sequence[str],
    cosines_every: int | None = None,
    required: Sequence[str] | None = None,
) -> Recipe:
    """The recipe of an arm; tasks are required unless ``required`` names fewer."""
    needed = tasks if required is None else required
    configs = {
        name: recipe.tasks[name].model_copy(update={"required": name in needed}) for name in tasks
    }
    changed = _changed(recipe, chosen_by=tuple(chosen_by), cosines_every=cosines_every)
    return changed.model_copy(update={"tasks": configs})


def _only_labelled(recipe: Recipe, task: str) -> Recipe:
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"labelled": task})})


def _changed(recipe: Recipe, **trainer: Any) -> Recipe:
    return recipe.model_copy(update={"trainer": recipe.trainer.model_copy(update=trainer)})
