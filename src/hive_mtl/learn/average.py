"""The mean of the weights of several runs: one network, often better than each (Izmailov, 2018)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from hive_mtl.errors import ConfigError, ModelError
from hive_mtl.learn import checkpoint as checkpoints
from hive_mtl.learn.checkpoint import Checkpoint, Header
from hive_mtl.learn.starting import FEATURES

_MUST_AGREE = ("trunk", *FEATURES)


def average(paths: Sequence[Path], out: Path) -> None:
    """Writes a checkpoint whose weights are the mean of those of ``paths``.

    It is good where the runs lie close together: runs that began at the same weights, or one after
    the other. The statistics of batch normalisation are averaged like any weight. Scores change, so
    there is no calibration. Recipe and counts are those of the first.

    Args:
        paths: checkpoints or run folders, two or more, that share trunk, tasks and classes.
        out: the .safetensors file to write.

    Raises:
        ConfigError: fewer than two.
        ModelError: one cannot be read, or differs from the first.
    """
    if len(paths) < 2:
        raise ConfigError("average: give two checkpoints or more")
    first, *others = parts = [checkpoints.load(path) for path in paths]
    for path, other in zip(paths[1:], others, strict=True):
        if differing := ", ".join(_differences(first, other)):
            raise ModelError(
                f"{path}: differs from {paths[0]} in {differing}: average runs of one network"
            )
    weights = {name: _mean([part.weights[name] for part in parts]) for name in first.weights}
    header = Header(
        recipe=first.header.recipe,
        tasks=first.header.tasks,
        data=tuple(dict.fromkeys(entry for part in parts for entry in part.header.data)),
        git_revision=checkpoints.git_revision(),
    )
    checkpoints.save_weights(out, header, weights)


def _differences(first: Checkpoint, other: Checkpoint) -> Iterator[str]:
    for name in _MUST_AGREE:
        if getattr(first.recipe, name) != getattr(other.recipe, name):
            yield name
    if first.header.tasks.keys() != other.header.tasks.keys():
        yield "tasks"
        return
    known = {task.name: task.meanings for task in first.tasks()}
    for task in other.tasks():
        if task.meanings != known[task.name]:
            yield f"the classes of '{task.name}'"
    one, two = ({name: w.shape for name, w in part.weights.items()} for part in (first, other))
    if one != two:
        yield "the shape of its weights"


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    """Whole numbers, which only count batches, are those of the first."""
    first = tensors[0]
    return torch.stack(list(tensors)).mean(dim=0) if first.is_floating_point() else first
