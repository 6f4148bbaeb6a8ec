"""Plain cross-entropy over classes."""

from typing import Literal

from torch import Tensor
from torch.nn import functional

from hive_mtl.learn.losses._base import LossConfig, TaskLoss, labelled, nothing


class Config(LossConfig):
    """No settings."""

    name: Literal["softmax"] = "softmax"


class Loss(TaskLoss):
    """``-log softmax(outputs)[target]``."""

    def forward(self, read: Tensor, targets: Tensor) -> Tensor:
        """``(batch, classes)``, ``(batch,)`` -> scalar."""
        outputs, targets = labelled(read, targets)
        return functional.cross_entropy(outputs.float(), targets) if len(targets) else nothing(read)
