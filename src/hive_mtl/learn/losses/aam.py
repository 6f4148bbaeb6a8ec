"""Additive angular margin softmax, with sub-centres and a margin that grows.

ArcFace (Deng et al., 2019, arXiv:1801.07698) asks the angle between an embedding and the centre of
its own class to be smaller by a margin; sub-center ArcFace (Deng et al., 2020) gives each class
several centres, so that a mislabelled or odd recording need not pull at the good one. A margin from
the first step keeps a small network from learning at all, so it rises from zero.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from hive_mtl.learn.losses._base import LossConfig, TaskLoss, labelled, nothing
from hive_mtl.learn.settings import Span

_APART = 0.1  # of the length of a direction


class Config(LossConfig):
    """Margin in radians; ``ramp`` is the span of training, in fractions, over which it grows."""

    name: Literal["aam"] = "aam"
    margin: float = Field(default=0.2, ge=0.0, lt=math.pi / 2)
    scale: float = Field(default=30.0, gt=0.0)
    sub_centres: int = Field(default=1, ge=1)
    ramp: Span = (0.1, 0.4)


class Loss(TaskLoss):
    """Cross-entropy over ``scale * cos(angle + margin if own class)``."""

    def __init__(self, config: Config, counts: Sequence[int]) -> None:
        super().__init__(config, counts)
        self.config = config

    @property
    def margin(self) -> float:
        """The margin at this point of training, in radians."""
        start, end = self.config.ramp
        grown = (self.progress - start) / (end - start) if end > start else 1.0
        return self.config.margin * min(max(grown, 0.0), 1.0)

    def head(self, dim: int, outputs: int) -> nn.Module:
        """Scaled cosines to the class centres."""
        return Centres(dim, outputs, self.config.sub_centres, self.config.scale)

    def forward(self, read: Tensor, targets: Tensor) -> Tensor:
        """Scaled cosines ``(batch, classes)``, ``(batch,)`` -> scalar."""
        outputs, targets = labelled(read, targets)
        if not len(targets):
            return nothing(read)
        cosines = outputs / self.config.scale
        own = cosines.gather(1, targets.unsqueeze(1))
        sine = (1.0 - own.square()).clamp(min=1e-7).sqrt()
        with_margin = own * math.cos(self.margin) - sine * math.sin(self.margin)
        # Past angle + margin = pi the cosine would rise again; a straight line takes over there.
        with_margin = torch.where(
            own > math.cos(math.pi - self.margin),
            with_margin,
            own - self.margin * math.sin(self.margin),
        )
        logits = self.config.scale * cosines.scatter(1, targets.unsqueeze(1), with_margin)
        return functional.cross_entropy(logits, targets)


class Centres(nn.Module):
    """Cosine between an embedding and the nearest centre of each class, in float32.

    Scaled as in the loss, so that the softmax over the outputs is the probability of each class.
    """

    def __init__(self, dim: int, classes: int, sub_centres: int, scale: float) -> None:
        super().__init__()
        self.sub_centres, self.scale = sub_centres, scale
        self.weight = nn.Parameter(torch.empty(classes * sub_centres, dim))
        nn.init.xavier_normal_(self.weight)

    @torch.no_grad()
    def begin_at(self, classes: Tensor, directions: Tensor) -> None:
        """Turns the centres of ``classes`` ``(n,)`` to ``directions`` ``(n, dim)``.

        Several centres of a class stay a little apart, or they would learn alike.
        """
        centres = self.weight.view(-1, self.sub_centres, self.weight.shape[1])
        before = centres[classes]
        length = torch.linalg.vector_norm(before, dim=2, keepdim=True)
        turned = functional.normalize(directions.to(before)).unsqueeze(1)
        if self.sub_centres > 1:
            turned = functional.normalize(turned + _APART * before / length, dim=2)
        centres[classes] = length * turned

    def forward(self, embedding: Tensor) -> Tensor:
        """``(batch, dim)`` -> ``(batch, classes)`` in [-scale, scale]."""
        with torch.autocast(embedding.device.type, enabled=False):
            cosines = functional.linear(
                functional.normalize(embedding.float()), functional.normalize(self.weight.float())
            )
            nearest = cosines.view(cosines.shape[0], -1, self.sub_centres).amax(dim=2)
            return self.scale * nearest
