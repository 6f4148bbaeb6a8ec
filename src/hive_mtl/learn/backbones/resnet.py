"""The residual network of speaker recognition, ResNet34 by default (He et al., 2016).

Features are an image of mels by frames, as Zeinali et al. (2019, arXiv:1910.12592) read it for
VoxCeleb and WeSpeaker does (Wang et al., 2023, arXiv:2210.17016): a 3x3 stem, then four stages of
basic blocks, each stage with twice the channels of the one before at half its mels and frames.
What is left of the mels stands with the channels in attentive statistics pooling over time.

Activations are kept in channels-last memory, where convolutions run fastest.
"""

from typing import Annotated, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from hive_mtl.learn.backbones import TrunkConfig, TrunkNetwork
from hive_mtl.learn.backbones._pooling import AttentiveStatistics, masked
from hive_mtl.learn.front_ends._base import frame_mask, has_padding

Blocks = Annotated[int, Field(ge=1)]
_Length = TypeVar("_Length", int, Tensor)


class Config(TrunkConfig):
    """Size of the network; the defaults give 7.6 million parameters at 80 mels."""

    name: Literal["resnet"] = "resnet"
    channels: int = Field(default=32, ge=1)  # of the first stage
    blocks: tuple[Blocks, Blocks, Blocks, Blocks] = (3, 4, 6, 3)  # of each stage
    stem_stride: Literal[1, 2] = 1  # in mels and in frames; 2 is about four times as fast
    attention: int = Field(default=128, ge=1)


class Trunk(TrunkNetwork):
    """Features -> embedding (not yet normalised to unit length)."""

    def __init__(self, config: Config, mels: int) -> None:
        super().__init__()
        self.stem_stride = config.stem_stride
        self.stem = _normed(nn.Conv2d(1, config.channels, 3, self.stem_stride, 1, bias=False))
        widths = [config.channels * 2**stage for stage in range(len(config.blocks))]
        before, strides = (widths[0], *widths), (1, *[2] * (len(widths) - 1))
        self.stages = nn.ModuleList(map(Stage, before, widths, config.blocks, strides))
        for stride in (self.stem_stride, *strides):
            mels = _strided(mels, stride)
        pooled = mels * widths[-1]
        self.pool = AttentiveStatistics(pooled, config.attention)
        self.project = nn.Sequential(
            nn.BatchNorm1d(2 * pooled),
            nn.Linear(2 * pooled, config.embedding_dim, bias=False),
            nn.BatchNorm1d(config.embedding_dim),
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub

    def forward(self, features: Tensor, frames: Tensor) -> Tensor:
        """``(batch, mels, frames)``, ``(batch,)`` -> ``(batch, embedding_dim)``."""
        padded = has_padding(frames, features.shape[-1])
        hidden = features.unsqueeze(1).contiguous(memory_format=torch.channels_last)
        hidden, frames = self.stem(hidden), _strided(frames, self.stem_stride)
        hidden = masked(functional.relu(hidden), _inside(frames, hidden) if padded else None)
        for stage in self.stages:
            hidden, frames = stage(hidden, frames, padded)
        # By mel, then channel: the order that they have in memory.
        pooled = hidden.permute(0, 3, 2, 1).flatten(2).transpose(1, 2).unsqueeze(2)
        mask = _inside(frames, hidden) if padded else None
        embedding: Tensor = self.project(self.pool(pooled, mask))
        return embedding


class Stage(nn.Module):
    """Blocks, of which the first takes strides and changes the channels."""

    def __init__(self, channels_in: int, channels: int, blocks: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        rest = (Block(channels, channels, 1) for _ in range(blocks - 1))
        self.blocks = nn.ModuleList([Block(channels_in, channels, stride), *rest])

    def forward(self, hidden: Tensor, frames: Tensor, padded: bool) -> tuple[Tensor, Tensor]:
        """``(batch, channels_in, mels, frames)``, ``(batch,)`` -> ``(batch, channels, ...)``, both.

        Activations are zero beyond the end of an utterance, if there is anything beyond one.
        """
        frames = _strided(frames, self.stride)
        for block in self.blocks:
            hidden = block(hidden, frames if padded else None)
        return hidden, frames


class Block(nn.Module):
    """Two 3x3 convolutions and a residual connection, by a 1x1 where the shapes differ."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = _normed(nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False))
        self.second = _normed(nn.Conv2d(channels, channels, 3, padding=1, bias=False))
        self.shortcut = (
            nn.Identity()
            if channels_in == channels and stride == 1
            else _normed(nn.Conv2d(channels_in, channels, 1, stride, bias=False))
        )

    def forward(self, hidden: Tensor, frames: Tensor | None) -> Tensor:
        """``(batch, channels_in, mels, frames)`` -> ``(batch, channels, ...)``.

        ``frames`` ``(batch,)`` counts those after the stride; None where all fill the batch.
        """
        inner = self.first(hidden)
        mask = None if frames is None else _inside(frames, inner)
        inner = self.second(masked(functional.relu(inner), mask))
        return masked(functional.relu(inner + self.shortcut(hidden)), mask)


def _strided(length: _Length, stride: int) -> _Length:
    """What a 3x3 convolution of this stride leaves of a length."""
    return (length + stride - 1) // stride


def _inside(frames: Tensor, hidden: Tensor) -> Tensor:
    """One inside an utterance, zero beyond it: ``(batch, 1, 1, frames)`` for ``hidden``."""
    return frame_mask(frames, hidden.shape[3])[:, None, None, :]


def _normed(convolution: nn.Conv2d) -> nn.Sequential:
    """A convolution and batch normalisation."""
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))
