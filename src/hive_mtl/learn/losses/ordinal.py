"""Ordinal regression over rising thresholds, for quantities known as an interval.

One output a threshold estimates the probability that the quantity exceeds it (Frank and Hall, 2001;
Niu et al., 2016). A label is an interval ``[low, high)``: '20-29' says that the age exceeds every
threshold up to 20 and none from 30 on, and leaves those between alone.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from hive_mtl.learn.losses._base import LossConfig, TaskLoss, nothing


class Config(LossConfig):
    """No settings: the thresholds belong to the task."""

    name: Literal["ordinal"] = "ordinal"


class Loss(TaskLoss):
    """Mean binary cross-entropy over the thresholds that the label decides."""

    targets: ClassVar[Literal["classes", "thresholds"]] = "thresholds"

    def forward(self, read: Tensor, targets: Tensor) -> Tensor:
        """``(batch, thresholds)``, ``(batch, thresholds)`` of 1, 0 or NaN (undecided) -> scalar."""
        decided = ~torch.isnan(targets)
        if not bool(decided.any()):
            return nothing(read)
        return functional.binary_cross_entropy_with_logits(read[decided].float(), targets[decided])
