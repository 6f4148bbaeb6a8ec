"""How a run begins: anew, from its own last checkpoint, or from another model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hive_mtl.errors import ConfigError, DataError
from hive_mtl.learn import checkpoint as checkpoints
from hive_mtl.learn.checkpoint import Checkpoint
from hive_mtl.learn.config import Recipe
from hive_mtl.learn.model import UnifiedModel
from hive_mtl.learn.tasks import Task

LAST = "last.safetensors"  # of a run folder: what it goes on from


def checkpoint_to_resume(out: Path, resume: bool) -> Checkpoint | None:
    """The last checkpoint of a run folder; None where there is none and the run begins."""
    path = out / LAST
    if not path.is_file():
        return None
    if not resume:
        raise ConfigError(
            f"{out}: holds a run already: go on with --resume, or choose another --out"
        )
    return checkpoints.load(path)


def checkpoint_to_start_from(path: Path | None, freeze: bool) -> Checkpoint | None:
    """The model whose weights to start from, if one is named."""
    if path is None and freeze:
        raise ConfigError("--freeze keeps the weights of another model: name it with --from")
    return None if path is None else checkpoints.load(path)


def with_trunk_of(recipe: Recipe, parent: Checkpoint, freeze: bool) -> Recipe:
    """The recipe with the parent's trunk and features, and its tasks too where those are frozen."""
    inherited = ("trunk", "front_end", "mels", "sample_rate")
    settings = {name: getattr(parent.recipe, name) for name in inherited}
    if freeze:
        if set(recipe.tasks) <= set(parent.header.tasks):
            raise ConfigError(
                f"--freeze: the model has all of the tasks {', '.join(recipe.tasks)}: "
                "name a new label column with --tasks"
            )
        settings["tasks"] = {**recipe.tasks, **parent.recipe.tasks}
    return recipe.model_copy(update=settings)


def inherit(model: UnifiedModel, parent: Checkpoint, tasks: Sequence[Task]) -> None:
    """Trunk weights, and those of each head whose outputs are and mean the same as before."""
    before = {task.name: task for task in parent.tasks()}
    same = {t.name for t in tasks if t.name in before and t.answers_as(before[t.name])}
    shapes = {name: weight.shape for name, weight in model.state_dict().items()}
    weights = {
        name: weight
        for name, weight in parent.weights.items()
        if not name.startswith("heads.")
        or (name.split(".")[1] in same and weight.shape == shapes.get(name))
    }
    model.load_state_dict(weights, strict=False)


def _what_decides(recipe: Recipe) -> dict[str, Any]:
    """The settings that decide the weights: not where the cache lies, nor how many workers help."""
    return recipe.model_dump(
        mode="json", exclude={"data": {"cache", "max_failures"}, "trainer": {"workers"}}
    )


def check_same(last: Checkpoint, recipe: Recipe, tasks: Sequence[Task]) -> None:
    """A run goes on only as what it was."""
    if _what_decides(last.recipe) != _what_decides(recipe):
        raise ConfigError("--resume: the recipe differs from that of the run: choose another --out")
    if last.header.tasks != {task.name: task.state() for task in tasks}:
        raise DataError("--resume: the data differs from that of the run: choose another --out")
