"""The network: front end, trunk, unified embedding and one head per task."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from hive_mtl.learn import backbones, losses
from hive_mtl.learn.backbones import TrunkConfig
from hive_mtl.learn.features import LogMel
from hive_mtl.learn.losses._base import LossConfig, TaskLoss
from hive_mtl.learn.tasks import Task, TaskConfig


class Outputs(NamedTuple):
    """What the network says of a batch.

    Attributes:
        embedding: ``(batch, dim)`` float32, unit norm: the unified embedding.
        heads: by task, ``(batch, outputs)``.
    """

    embedding: Tensor
    heads: dict[str, Tensor]


class UnifiedModel(nn.Module):
    """Waveforms -> unified embedding -> an answer per task.

    Args:
        trunk: configuration of the trunk.
        mels: bands of the features.
        heads: by task, a module from ``(batch, dim)`` to ``(batch, outputs)``.
    """

    def __init__(self, trunk: TrunkConfig, mels: int, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.front_end = LogMel(mels)
        self.trunk = backbones.make(trunk, mels)
        self.heads = nn.ModuleDict(heads)
        self.embedding_dim = trunk.embedding_dim

    def forward(self, waves: Tensor, lengths: Tensor, keep: Tensor | None = None) -> Outputs:
        """``(batch, samples)``, ``(batch,)`` in samples -> :class:`Outputs`.

        Args:
            waves: 16 kHz, in [-1, 1]; what stands beyond an utterance's length does not matter.
            lengths: in samples.
            keep: ``(batch, mels, frames)``, False where features are hidden in training.
        """
        features, frames = self.front_end(waves, lengths)
        if keep is not None:
            features = features * keep
        embedding = functional.normalize(self.trunk(features, frames).float(), dim=1)
        # Linear layers start well on inputs of unit variance, which a unit vector does not have.
        spread = embedding * math.sqrt(self.embedding_dim)
        return Outputs(embedding, {task: head(spread) for task, head in self.heads.items()})


class TaskLosses(nn.Module):
    """One loss a task, by name."""

    def __init__(self, configs: Mapping[str, TaskConfig], tasks: Sequence[Task]) -> None:
        super().__init__()
        self.weights = {task.name: configs[task.name].weight for task in tasks}
        self.losses = nn.ModuleDict(
            {
                task.name: losses.make(loss_config(configs[task.name], task), task.counts)
                for task in tasks
            }
        )

    def forward(self, outputs: Outputs, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The unweighted loss of each task: scalars."""
        return {
            name: loss(
                outputs.heads[name] if loss.reads == "outputs" else outputs.embedding, targets[name]
            )
            for name, loss in self.losses.items()
        }

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
