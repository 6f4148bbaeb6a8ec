"""Plain cross-entropy over classes."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from hive_mtl.learn.losses._base import LossConfig, TaskLoss, labelled, nothing


class Config(LossConfig):
    """``hidden``: width of a linear layer between embedding and classes; None: there is none."""

    name: Literal["softmax"] = "softmax"
    hidden: int | None = Field(default=None, ge=1)


class Loss(TaskLoss):
    """``-log softmax(outputs)[target]``."""

    def __init__(self, config: Config, counts: Sequence[int]) -> None:
        super().__init__(config, counts)
        self.hidden = config.hidden

    def head(self, dim: int, outputs: int) -> nn.Module:
        """One linear layer, or the original's two: it has no activation between them."""
        if self.hidden is None:
            return nn.Linear(dim, outputs)
        return nn.Sequential(nn.Linear(dim, self.hidden), nn.Linear(self.hidden, outputs))

    def forward(self, read: Tensor, targets: Tensor) -> Tensor:
        """``(batch, classes)``, ``(batch,)`` -> scalar."""
        outputs, targets = labelled(read, targets)
        return functional.cross_entropy(outputs.float(), targets) if len(targets) else nothing(read)
