"""Heads that are fitted once more, to the embedding that a training ends with.

While the trunk learns, a head follows an embedding that moves, and few rows of a batch have its
label. At the end the embedding of every labelled utterance is known, and the head ``W`` goes from
what training made of it, ``W0``, to the minimum of

    mean of its own loss + strength * spread * |W - W0| ** 2

where ``spread`` is the mean variance of what a head reads. The strength is chosen on the validation
voices, where the head as it was is a choice too: an embedding that knows its training voices by
heart is read better there than elsewhere, and then nothing is gained.
"""

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from hive_mtl.learn import checkpoint as checkpoints
from hive_mtl.learn import losses
from hive_mtl.learn.losses._base import ABSENT, TaskLoss
from hive_mtl.learn.materials import Materials
from hive_mtl.learn.model import UnifiedModel, loss_config
from hive_mtl.learn.prepare import Prepared
from hive_mtl.learn.tasks import Task
from hive_mtl.learn.validate import hear, judge_heads

STRENGTHS = (0.1, 0.01, 0.001)
MOST_UTTERANCES = 50_000  # drawn evenly from more: heads are small, and their embeddings are kept
_ITERATIONS = 200


def refit_heads(
    best: Path,
    materials: Materials,
    tasks: Sequence[Task],
    device: torch.device,
    say: Callable[[str], None],
) -> None:
    """Fits the heads of a checkpoint again, in place; one whose heads were fitted stays as it is.

    Args:
        best: the checkpoint.
        materials: what its heads learnt from, and the voices to choose by.
        tasks: whose heads may change.
        device: to embed on.
        say: told what came of each head.
    """
    checkpoint = checkpoints.load(best)
    tasks = [task for task in tasks if task.describe() is not None]
    if checkpoint.header.refitted or materials.validation is None or not tasks:
        return
    model, recipe = checkpoint.model().to(device), checkpoint.recipe
    training, validation = _labelled(materials.training, tasks), materials.validation
    learnt, judged = _heard(model, training), _heard(model, validation)
    model.cpu()
    for task in tasks:
        head, labels = model.heads[task.name], task.labels_of(training.table)
        known = task.groups(labels) != ABSENT
        heard, targets = learnt[known], torch.from_numpy(task.encode(labels)[known])
        loss = losses.make(loss_config(recipe.tasks[task.name], task), task.counts)
        heads = [head, *(_fitted(head, loss, heard, targets, each) for each in STRENGTHS)]
        errors = [_error(task, each, judged, validation.table) for each in heads]
        chosen = int(np.argmin(errors))
        model.heads[task.name] = heads[chosen]
        if math.isfinite(errors[0]):
            then = f"{100 * errors[chosen]:.1f}" if chosen else "no less"
            say(f"{task.name} head: {100 * errors[0]:.1f}% of chance, fitted again {then}")
    header = checkpoint.header.model_copy(update={"refitted": True})
    checkpoints.save(best, header, model, {})


def _labelled(prepared: Prepared, tasks: Sequence[Task]) -> Prepared:
    """The utterances with a label for one of the tasks, or an even draw of them."""
    labelled = np.zeros(len(prepared), dtype=bool)
    for task in tasks:
        labelled |= task.groups(task.labels_of(prepared.table)) != ABSENT
    rows = np.flatnonzero(labelled)
    if len(rows) > MOST_UTTERANCES:
        rows = np.random.default_rng(0).choice(rows, MOST_UTTERANCES, replace=False)
    return prepared.only(np.isin(np.arange(len(prepared)), rows))


def _heard(model: UnifiedModel, prepared: Prepared) -> Tensor:
    """What the heads read of each utterance: ``(utterances, dim)``."""
    found = hear(model, prepared, lambda outputs: {"heard": model.heard(outputs.vector)})
    return torch.from_numpy(found["heard"])


def _error(task: Task, head: nn.Module, heard: Tensor, table: pa.Table) -> float:
    """As a share of chance; infinite where nothing is labelled to tell it by."""
    with torch.inference_mode():
        outputs = {task.name: head(heard).numpy()}
    return judge_heads(outputs, table, [task]).share_of_chance.get(task.name, math.inf)


def _fitted(
    head: nn.Module, loss: TaskLoss, heard: Tensor, targets: Tensor, strength: float
) -> nn.Module:
    """The head at the minimum of its loss, held to where it was."""
    new = copy.deepcopy(head)
    weights = [(weight, weight.detach().clone()) for weight in new.parameters() if weight.ndim > 1]
    held = strength * heard.var(dim=0).mean()
    optimiser = torch.optim.LBFGS(
        new.parameters(), max_iter=_ITERATIONS, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        optimiser.zero_grad()
        moved = torch.stack([(now - before).square().sum() for now, before in weights]).sum()
        total: Tensor = loss(new(heard), targets) + held * moved
        torch.autograd.backward(total)
        return total

    optimiser.step(objective)  # type: ignore[no-untyped-call]  # torch's stub
    return new
