"""Class-balanced cross-entropy (Cui et al., 2019, arXiv:1901.05555).

A class with ``n`` examples weighs ``(1 - beta) / (1 - beta ** n)``: the inverse of its effective
number of examples, between no balancing (``beta = 0``) and the inverse frequency (``beta -> 1``).
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from hive_mtl.learn.losses._base import LossConfig, TaskLoss, labelled, nothing


class Config(LossConfig):
    """How strongly rare classes are lifted."""

    name: Literal["balanced"] = "balanced"
    beta: float = Field(default=0.999, ge=0.0, lt=1.0)


class Loss(TaskLoss):
    """Cross-entropy weighted by class; the weights have mean one over the training examples."""

    weights: Tensor  # (classes,)

    def __init__(self, config: Config, counts: Sequence[int]) -> None:
        super().__init__(config, counts)
        examples = torch.tensor(counts, dtype=torch.float64)
        weights = (1 - config.beta) / (1 - config.beta**examples)
        weights = weights * examples.sum() / (weights * examples).sum()
        self.register_buffer("weights", weights.float(), persistent=False)

    def forward(self, read: Tensor, targets: Tensor) -> Tensor:
        """``(batch, classes)``, ``(batch,)`` -> scalar."""
        outputs, targets = labelled(read, targets)
        if not len(targets):
            return nothing(read)
        each = functional.cross_entropy(outputs.float(), targets, reduction="none")
        return (each * self.weights[targets]).mean()
