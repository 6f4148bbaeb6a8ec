"""Triplet loss with in-batch mining, on cosines.

For each anchor: its least similar utterance of the same class and its most similar one of another
(batch-hard mining; Hermans et al., 2017, arXiv:1703.07737). Deep Speaker (Li et al., 2017,
arXiv:1705.02304) uses the same loss on cosines with a margin of 0.1.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from hive_mtl.learn.losses._base import LossConfig, TaskLoss, labelled, nothing


class Config(LossConfig):
    """Margin between cosines."""

    name: Literal["triplet"] = "triplet"
    margin: float = Field(default=0.1, ge=0.0, le=2.0)


class Loss(TaskLoss):
    """``max(0, hardest negative cosine - hardest positive cosine + margin)``, mean over anchors."""

    reads: ClassVar[Literal["outputs", "embedding"]] = "embedding"

    def __init__(self, config: Config, counts: Sequence[int]) -> None:
        super().__init__(config, counts)
        self.margin = config.margin

    def head(self, dim: int, outputs: int) -> nn.Module:
        """None: what is learnt is the embedding itself."""
        return nn.Identity()

    def forward(self, read: Tensor, targets: Tensor) -> Tensor:
        """Embeddings ``(batch, dim)``, ``(batch,)`` -> scalar; needs both kinds of pair to act."""
        embeddings, targets = labelled(read, targets)
        unit = functional.normalize(embeddings.float())
        cosines = unit @ unit.T
        same = targets.unsqueeze(0) == targets.unsqueeze(1)
        itself = torch.eye(len(targets), dtype=torch.bool, device=targets.device)
        positives, negatives = same & ~itself, ~same
        anchors = positives.any(dim=1) & negatives.any(dim=1)
        if not bool(anchors.any()):
            return nothing(read)
        nearest_other = cosines.masked_fill(~negatives, -torch.inf).amax(dim=1)
        farthest_own = cosines.masked_fill(~positives, torch.inf).amin(dim=1)
        return functional.relu(nearest_other - farthest_own + self.margin)[anchors].mean()
