"""What trainings left behind beside their models: how their tasks pulled, and whose code it was."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from hive_mtl.evaluate.compare.plan import Training
from hive_mtl.use.model import load


@dataclass(frozen=True)
class Cosine:
    """How far the losses of two tasks pull the trunk the same way, over the steps of a training."""

    one: str
    other: str
    seed: int
    steps: tuple[int, ...]
    cosines: tuple[float, ...]


def read_cosines(trainings: Sequence[Training]) -> list[Cosine]:
    """What the unified trainings noted of the gradients of their tasks."""
    found: dict[tuple[str, str, int], list[tuple[int, float]]] = {}
    for training in trainings:
        if training.arm.kind != "unified":
            continue
        for line in (training.folder / "log.jsonl").read_text("utf-8").splitlines():
            entry = json.loads(line)
            for name, value in entry.items():
                if name.startswith("gradient_cosine/"):
                    _, one, other = name.split("/")
                    key = one, other, training.recipe.trainer.seed
                    found.setdefault(key, []).append((entry["step"], value))
    return [
        Cosine(*key, *(tuple(side) for side in zip(*points, strict=True)))
        for key, points in found.items()
    ]


def read_revisions(trainings: Sequence[Training]) -> dict[str, tuple[str, ...]]:
    """By arm, of the code that its trainings ended with, each once."""
    found: dict[str, set[str]] = {}
    for training in trainings:
        revision = load(training.folder).description.git_revision
        found.setdefault(training.arm.name, set()).add(revision)
    return {arm: tuple(sorted(revisions)) for arm, revisions in found.items()}
