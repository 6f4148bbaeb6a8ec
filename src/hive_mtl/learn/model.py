"""The network: front end, trunk, unified embedding and one head per task."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from hive_mtl.learn import backbones, losses
from hive_mtl.learn.backbones import TrunkConfig
from hive_mtl.learn.front_ends import FrontEnd
from hive_mtl.learn.losses._base import LossConfig, TaskLoss
from hive_mtl.learn.tasks import Task, TaskConfig

NO_RIVAL = -1e4  # the logit of a class that an utterance is not to be told from


class Outputs(NamedTuple):
    """What the network says of a batch.

    Attributes:
        embedding: ``(batch, dim)`` float32, unit norm: the unified embedding.
        heads: by task, ``(batch, outputs)``.
        vector: ``(batch, dim)`` float32: what the trunk gives, of which the embedding is the
            direction.
    """

    embedding: Tensor
    heads: dict[str, Tensor]
    vector: Tensor


class UnifiedModel(nn.Module):
    """Waveforms or features -> unified embedding -> an answer per task.

    Args:
        front_end: waveforms -> features.
        trunk: configuration of the trunk.
        heads: by task, a module from ``(batch, dim)`` to ``(batch, outputs)``.
    """

    def __init__(
        self, front_end: FrontEnd, trunk: TrunkConfig, heads: Mapping[str, nn.Module]
    ) -> None:
        super().__init__()
        self.front_end = front_end
        self.trunk = backbones.make(trunk, front_end.mels)
        self.heads = nn.ModuleDict(heads)
        self.embedding_dim = trunk.embedding_dim

    def forward(self, inputs: Tensor, lengths: Tensor, keep: Tensor | None = None) -> Outputs:
        """Inputs and their lengths ``(batch,)`` -> :class:`Outputs`.

        Args:
            inputs: waveforms ``(batch, samples)`` in [-1, 1], or what ``front_end.analyse`` makes
                of them ``(batch, mels, frames)``; what stands beyond a length does not matter.
            lengths: in samples or frames.
            keep: ``(batch, mels, frames)``, False where features are hidden in training.
        """
        return self.read(self.trunk(*self.features(inputs, lengths, keep)).float())

    def features(
        self, inputs: Tensor, lengths: Tensor, keep: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What the trunk reads of the inputs, ``(batch, mels, frames)``, and its frames."""
        if inputs.ndim == 2:
            features, frames = self.front_end(inputs, lengths)
        else:
            features, frames = self.front_end.normalise(inputs, lengths), lengths
        return (features if keep is None else features * keep), frames

    def read(self, vector: Tensor) -> Outputs:
        """What the trunk gives, ``(batch, dim)`` float32 -> :class:`Outputs`."""
        heard = self.heard(vector)
        heads = {task: head(heard) for task, head in self.heads.items()}
        return Outputs(functional.normalize(vector, dim=1), heads, vector)

    def heard(self, vector: Tensor) -> Tensor:
        """What the heads read of what the trunk gives, ``(batch, dim)`` both."""
        if self.trunk.heads_read == "raw":
            return vector
        # Linear layers start well on inputs of unit variance, which a unit vector does not have.
        return functional.normalize(vector, dim=1) * math.sqrt(self.embedding_dim)


class TaskLosses(nn.Module):
    """One loss a task, by name."""

    def __init__(self, configs: Mapping[str, TaskConfig], tasks: Sequence[Task]) -> None:
        super().__init__()
        self.tasks = {task.name: task for task in tasks}
        self.weights = {task.name: configs[task.name].weight for task in tasks}
        self.losses = nn.ModuleDict(
            {
                task.name: losses.make(loss_config(configs[task.name], task), task.counts)
                for task in tasks
            }
        )

    def forward(self, outputs: Outputs, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The unweighted loss of each task: scalars."""
        return {name: self._loss(name, outputs, targets[name]) for name in self.losses}

    def _loss(self, name: str, outputs: Outputs, targets: Tensor) -> Tensor:
        loss = self.losses[name]
        if loss.reads == "embedding":
            read = outputs.embedding
        else:
            read = outputs.heads[name]
            if (rivals := self.tasks[name].rivals(targets)) is not None:
                read = read.masked_fill(~rivals, NO_RIVAL)
        found: Tensor = loss(read, targets)
        return found

    @property
    def answering(self) -> list[Task]:
        """The tasks whose heads are taught; others are learnt by the embedding alone."""
        return [task for name, task in self.tasks.items() if self.losses[name].reads == "outputs"]

    def total(self, parts: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum."""
        return torch.stack([self.weights[name] * part for name, part in parts.items()]).sum()

    def set_progress(self, progress: float) -> None:
        """Tells the losses with a schedule how far training has come, in [0, 1]."""
        for loss in self.losses.values():
            cast(TaskLoss, loss).progress = progress


def loss_config(config: TaskConfig, task: Task) -> LossConfig:
    """The loss that the recipe names, or the task's default."""
    return config.loss or losses.parse_config(task.default_loss)


def make_heads(
    configs: Mapping[str, TaskConfig], tasks: Sequence[Task], dim: int
) -> dict[str, nn.Module]:
    """A head for each task, of the form that its loss wants."""
    heads: dict[str, nn.Module] = {}
    for task in tasks:
        loss: TaskLoss = losses.make(loss_config(configs[task.name], task), task.counts)
        heads[task.name] = loss.head(dim, task.outputs)
    return heads
