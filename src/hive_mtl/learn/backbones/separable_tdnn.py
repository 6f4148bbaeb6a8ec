"""The default trunk: a time-delay network of separable convolutions.

Depth-wise convolution over time, then a 1x1 convolution over channels, with squeeze-excitation and
residual connections as in TitaNet (Koluguri et al., 2022, arXiv:2110.04410), a strided stem that
halves the frame rate, and attentive statistics pooling with global context as in ECAPA-TDNN
(Desplanques et al., 2020, arXiv:2005.07143).

Activations are kept as ``(batch, channels, 1, frames)`` in channels-last memory, where a CPU runs
1x1 convolutions and batch normalisation two to eight times faster than as ``(batch, channels,
frames)``.
"""

from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn
from torch.nn import functional

from hive_mtl.learn.backbones import TrunkConfig, TrunkNetwork
from hive_mtl.learn.backbones._pooling import AttentiveStatistics, masked
from hive_mtl.learn.front_ends._base import frame_mask, has_padding


def _odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError("should be odd, so that a frame lies in its middle")
    return number


OddNumber = Annotated[int, Field(ge=1), AfterValidator(_odd)]


class Config(TrunkConfig):
    """Size of the network; the defaults give 2.4 million parameters."""

    name: Literal["separable_tdnn"] = "separable_tdnn"
    channels: int = Field(default=384, ge=8)
    kernels: tuple[OddNumber, ...] = (5, 7, 9, 11)  # one residual block each, frames at half rate
    repeats: int = Field(default=2, ge=1)  # separable convolutions in a block
    pooled_channels: int = Field(default=768, ge=8)
    attention: int = Field(default=96, ge=1)
    squeeze: int = Field(default=8, ge=1)  # channels / hidden units of squeeze-excitation


class Trunk(TrunkNetwork):
    """Features -> embedding (not yet normalised to unit length)."""

    def __init__(self, config: Config, mels: int) -> None:
        super().__init__()
        width = config.channels
        self.stem = _Normed(
            nn.Conv2d(mels, width, (1, 5), stride=(1, 2), padding=(0, 2), bias=False)
        )
        self.blocks = nn.ModuleList(
            Block(width, kernel, config.repeats, config.squeeze) for kernel in config.kernels
        )
        self.widen = _Normed(nn.Conv2d(width, config.pooled_channels, 1, bias=False))
        self.pool = AttentiveStatistics(config.pooled_channels, config.attention)
        self.project = nn.Sequential(
            nn.BatchNorm1d(2 * config.pooled_channels),
            nn.Linear(2 * config.pooled_channels, config.embedding_dim, bias=False),
            nn.BatchNorm1d(config.embedding_dim),
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub

    def forward(self, features: Tensor, frames: Tensor) -> Tensor:
        """``(batch, mels, frames)``, ``(batch,)`` -> ``(batch, embedding_dim)``."""
        hidden = features.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        hidden = functional.relu(self.stem(hidden))
        counts, mask, masks = (frames + 1) // 2, None, None
        if has_padding(frames, features.shape[-1]):
            mask = frame_mask(counts, (features.shape[-1] + 1) // 2)[:, None, None, :]
            masks = _spread(mask, hidden.shape[1])
        hidden = masked(hidden, masks)
        for block in self.blocks:
            hidden = block(hidden, masks, counts)
        hidden = functional.relu(self.widen(hidden))
        embedding: Tensor = self.project(self.pool(hidden, mask))
        return embedding


class Block(nn.Module):
    """Separable convolutions, squeeze-excitation and a residual connection."""

    def __init__(self, width: int, kernel: int, repeats: int, squeeze: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(Separable(width, kernel) for _ in range(repeats))
        self.excite = SqueezeExcitation(width, width // squeeze)

    def forward(self, hidden: Tensor, masks: Tensor | None, counts: Tensor) -> Tensor:
        """``(batch, channels, 1, frames)`` -> the same shape.

        Both are zero beyond ``counts`` ``(batch,)`` frames, which keeps what lies there out of the
        last frames of an utterance and out of its mean.
        """
        inner = hidden
        for index, convolution in enumerate(self.convolutions):
            if index:
                inner = masked(functional.relu(inner), masks)
            inner = convolution(inner)
        return functional.relu(hidden + self.excite(masked(inner, masks), counts))


class Separable(nn.Module):
    """Depth-wise convolution over time, then a 1x1 convolution over channels, normalised."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.over_time = nn.Conv2d(
            width, width, (1, kernel), padding=(0, kernel // 2), groups=width, bias=False
        )
        self.over_channels = _Normed(nn.Conv2d(width, width, 1, bias=False))

    def forward(self, hidden: Tensor) -> Tensor:
        """``(batch, channels, 1, frames)`` -> the same shape."""
        mixed: Tensor = self.over_channels(self.over_time(hidden))
        return mixed


class SqueezeExcitation(nn.Module):
    """Scales channels by what the whole utterance holds (Hu et al., 2018, arXiv:1709.01507)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gates = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, hidden: Tensor, counts: Tensor) -> Tensor:
        """``(batch, channels, 1, frames)``, zero beyond ``counts`` frames -> the same shape."""
        mean = hidden.sum(dim=(2, 3)) / counts.unsqueeze(1)
        scaled: Tensor = hidden * self.gates(mean).sigmoid()[:, :, None, None].to(hidden.dtype)
        return scaled


def _spread(mask: Tensor, channels: int) -> Tensor:
    """A mask ``(batch, 1, 1, frames)`` for every channel, where that helps.

    ONNX Runtime keeps activations in blocks of channels and leaves that layout for any product but
    one of two tensors of one shape and this layout. What a convolution makes has it.
    """
    if not torch.compiler.is_compiling():
        return mask
    return functional.conv2d(mask, torch.ones(channels, 1, 1, 1))


class _Normed(nn.Sequential):
    """A convolution followed by batch normalisation."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__(convolution, nn.BatchNorm2d(convolution.out_channels))
