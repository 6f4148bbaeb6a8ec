"""Heads that are fitted once more, to the embedding that a training ends with.

While the trunk learns, a head follows an embedding that moves, and few rows of a batch have its
label. At the end the embedding of every labelled utterance is known, and the head ``W`` goes from
what training made of it, ``W0``, to the minimum of

    mean of its own loss + strength * spread * |W - W0| ** 2

where ``spread`` is the mean variance of what a head reads, so that a strength means the same for
every trunk with linear heads. Utterances are heard whole and as they are, and count alike. The
strength is chosen on the validation voices, where the head as it was is a choice too: an embedding
that knows its training voices by heart is read better there than elsewhere, and then nothing is
gained.
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
MOST_UTTERANCES = 10_000  # of a task, drawn evenly from more: their embeddings are kept
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
    if checkpoint.header.refitted is not None or not tasks:
        return
    if materials.validation is None:
        say("heads stay as they are: there are no validation voices to choose by")
        return
    training, validation = _drawn(materials.training, tasks), materials.validation
    if not len(training):
        say("heads stay as they are: no training utterance is labelled for them")
        return
    model, recipe = checkpoint.model().to(device), checkpoint.recipe
    say(f"fitting heads again, to the embeddings of {len(training)} utterances")
    learnt, judged = _heard(model, training), _heard(model, validation)
    model.cpu()
    refitted = {}
    for task in tasks:
        head, labels = model.heads[task.name], task.labels_of(training.table)
        known = task.groups(labels) != ABSENT
        before = _error(task, head, judged, validation.table)
        if known.sum() < 2 or math.isinf(before):
            say(f"{task.name} head: stays, too little is labelled for it")
            continue
        heard, targets = learnt[known], torch.from_numpy(task.encode(labels)[known])
        loss = losses.make(loss_config(recipe.tasks[task.name], task), task.counts)
        loss.progress = 1.0  # margins as they were at the end
        fitted = {each: _fitted(head, loss, heard, targets, each) for each in STRENGTHS}
        errors = {each: _error(task, fitted[each], judged, validation.table) for each in fitted}
        strength = min(errors, key=errors.__getitem__)
        then = "no less"
        if errors[strength] < before:
            model.heads[task.name], refitted[task.name] = fitted[strength], strength
            then = f"{100 * errors[strength]:.1f}"
        say(f"{task.name} head: {100 * before:.1f}% of chance, fitted again {then}")
    header = checkpoint.header.model_copy(update={"refitted": refitted})
    checkpoints.save(best, header, model, {})


def _drawn(prepared: Prepared, tasks: Sequence[Task]) -> Prepared:
    """The utterances with a label for one of the tasks; of a task with many, an even draw."""
    chosen = np.zeros(len(prepared), dtype=bool)
    for task in tasks:
        labelled = np.flatnonzero(task.groups(task.labels_of(prepared.table)) != ABSENT)
        if len(labelled) > MOST_UTTERANCES:
            draw = np.random.default_rng(0)
            labelled = draw.choice(labelled, MOST_UTTERANCES, replace=False)
        chosen[labelled] = True
    return prepared.only(chosen)


def _heard(model: UnifiedModel, prepared: Prepared) -> Tensor:
    """What the heads read of each utterance: ``(utterances, dim)``."""
    found = hear(model, prepared, lambda outputs: {"heard": model.heard(outputs.vector)})
    return torch.from_numpy(found["heard"])


def _error(task: Task, head: nn.Module, heard: Tensor, table: pa.Table) -> float:
    """As a share of chance; infinite where no label tells it, or the head gives no numbers."""
    with torch.inference_mode():
        outputs = head(heard).numpy()
    if not np.isfinite(outputs).all():
        return math.inf
    figures = judge_heads({task.name: outputs}, table, [task])
    return figures.share_of_chance.get(task.name, math.inf)


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
