"""Voices that a network has not met begin where their recordings lie in its embedding.

A model that ships has no speaker classifier, and a new corpus has new voices. From centres drawn at
random a training first pulls the trunk away from what it knows. Put at the mean embedding of a few
utterances (weight imprinting: Qi et al., 2018, arXiv:1712.07136), they ask of it only what is still
to be learnt, and a short training at a low rate is enough.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from hive_mtl.learn.losses.aam import Centres
from hive_mtl.learn.model import UnifiedModel
from hive_mtl.learn.prepare import Prepared
from hive_mtl.learn.tasks import Task
from hive_mtl.learn.validate import embed_prepared

MOST_UTTERANCES = 5  # of a class: its mean hardly moves after that


def imprint(
    model: UnifiedModel,
    tasks: Sequence[Task],
    new: Mapping[str, Sequence[int]],
    prepared: Prepared,
    say: Callable[[str], None],
) -> None:
    """Puts the centres of new classes at the mean embedding of their utterances.

    Args:
        model: whose heads change, where they are centres of classes.
        tasks: fitted to ``prepared``.
        new: by task, the outputs of its head that nothing is known of.
        prepared: the training utterances.
        say: told how many found their place.
    """
    for task in tasks:
        head = model.heads[task.name]
        if not isinstance(head, Centres) or not new.get(task.name):
            continue
        wanted, classes = set(new[task.name]), task.groups(task.labels_of(prepared.table))
        placed = 0
        for speed in task.speeds:
            outputs = task.at_speeds(classes, np.full(len(classes), speed))
            rows = _drawn(outputs, wanted)
            if not rows.any():
                continue
            embeddings = embed_prepared(model, prepared.only(rows), speed)
            places, of_place = np.unique(outputs[rows], return_inverse=True)
            means = np.zeros((len(places), embeddings.shape[1]), np.float32)
            np.add.at(means, of_place, embeddings)
            head.begin_at(torch.from_numpy(places), torch.from_numpy(means))
            placed += len(places)
        say(f"{task.name}: {placed} classes begin at the mean of their utterances")


def _drawn(outputs: npt.NDArray[np.int64], wanted: set[int]) -> npt.NDArray[np.bool_]:
    """``(utterances,)`` True for the first few of each output that is wanted."""
    order = np.argsort(outputs, kind="stable")
    _, start, count = np.unique(outputs[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(start, count)
    chosen = np.isin(outputs[order], list(wanted)) & (rank < MOST_UTTERANCES)
    rows = np.zeros(len(outputs), dtype=np.bool_)
    rows[order[chosen]] = True
    return rows
