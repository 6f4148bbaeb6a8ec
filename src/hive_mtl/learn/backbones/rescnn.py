"""The trunk of the original: Deep Speaker's residual network (Li et al., 2017, arXiv:1705.02304).

Features are an image of time by frequency. Each stage halves both with a 5x5 convolution and has
three residual blocks of 3x3 convolutions, all batch-normalised and clipped to [0, 20]; then come
the mean over time and an affine layer. That is Deep Speaker's embedding; Hive-MTL puts a shared
layer on it, scaled to unit length, and this is the unified embedding.

It computes what Keras does, where 'same' padding puts an odd zero at the end: a 5x5 kernel of
stride 2 begins one frame before an utterance of even length and two before one of odd length. The
biases that the original gives its convolutions are left out: batch normalisation takes them away.

Activations are kept as ``(batch, channels, frames, mels)`` in channels-last memory, where a CPU
runs convolutions fastest.
"""

from typing import Annotated, ClassVar, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from hive_mtl.learn.backbones import TrunkConfig, TrunkNetwork
from hive_mtl.learn.front_ends._base import frame_mask, has_padding

BLOCKS = 3  # residual blocks of a stage
CEILING = 20.0  # of the clipped ReLU

_Length = TypeVar("_Length", int, Tensor)


class Config(TrunkConfig):
    """Size of the network; the defaults are the original's: 24.7 million parameters, 64 mels.

    ``affine_dim`` is the width of the affine layer where a shared layer follows it. Where it is 0,
    none does, and the embedding is the affine layer itself: Deep Speaker has ``affine_dim = 0`` and
    ``embedding_dim = 512``.
    """

    name: Literal["rescnn"] = "rescnn"
    embedding_dim: int = Field(default=1024, ge=2)
    affine_dim: int = Field(default=512, ge=0)
    channels: tuple[Annotated[int, Field(ge=1)], ...] = Field(  # one stage each
        default=(64, 128, 256, 512), min_length=1
    )


class Trunk(TrunkNetwork):
    """Features -> embedding (not yet normalised to unit length), which is what the heads read."""

    heads_read: ClassVar[Literal["unit", "raw"]] = "raw"

    def __init__(self, config: Config, mels: int) -> None:
        super().__init__()
        widths = (1, *config.channels)
        self.stages = nn.ModuleList(map(Stage, widths, widths[1:]))
        for _ in config.channels:
            mels = halved(mels)
        self.affine = nn.Linear(mels * widths[-1], config.affine_dim or config.embedding_dim)
        self.shared = (
            nn.Linear(config.affine_dim, config.embedding_dim) if config.affine_dim else None
        )
        self.apply(_initialise)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub

    def forward(self, features: Tensor, frames: Tensor) -> Tensor:
        """``(batch, mels, frames)``, ``(batch,)`` -> ``(batch, embedding_dim)``."""
        hidden = features.transpose(1, 2).unsqueeze(1)
        hidden = hidden.contiguous(memory_format=torch.channels_last)
        padded = has_padding(frames, features.shape[-1])
        if padded:
            hidden = hidden * inside(frames, hidden)
        for stage in self.stages:
            hidden = stage(hidden, frames, padded)
            frames = halved(frames)
        mean = hidden.sum(dim=2, dtype=torch.float32) / frames[:, None, None]
        affine: Tensor = self.affine(mean.transpose(1, 2).flatten(1))  # by mel, then channel
        if self.shared is None:
            return affine
        embedding: Tensor = self.shared(functional.normalize(affine.float(), dim=1))
        return embedding


class Stage(nn.Module):
    """Half the frames and mels in other channels, then residual blocks."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.halve = _normed(nn.Conv2d(channels_in, channels, 5, stride=2, bias=False))
        self.blocks = nn.ModuleList(Block(channels) for _ in range(BLOCKS))

    def forward(self, hidden: Tensor, frames: Tensor, padded: bool) -> Tensor:
        """``(batch, channels_in, frames, mels)``, ``(batch,)`` -> ``(batch, channels, ...)``.

        Both are zero beyond the end of an utterance, if there is anything beyond one.
        """
        hidden = self.halve(pad_as_tensorflow(hidden, frames if padded else None))
        mask = inside(halved(frames), hidden) if padded else None
        hidden = clip(hidden, mask)
        for block in self.blocks:
            hidden = block(hidden, mask)
        return hidden


class Block(nn.Module):
    """Two convolutions and a residual connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (
            _normed(nn.Conv2d(channels, channels, 3, padding=1, bias=False)) for _ in range(2)
        )

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """``(batch, channels, frames, mels)`` -> the same shape."""
        inner = clip(self.first(hidden), mask)
        return clip(hidden + clip(self.second(inner)), mask)


def pad_as_tensorflow(hidden: Tensor, frames: Tensor | None) -> Tensor:
    """Padding for a 5x5 kernel of stride 2, as TensorFlow's 'same' has it for each utterance.

    Args:
        hidden: ``(batch, channels, frames, mels)``, zero beyond the end of an utterance.
        frames: ``(batch,)``, of each utterance; None where all fill the batch.

    Returns:
        ``(batch, channels, frames + 3 or 4, mels + 3 or 4)``, each utterance behind one frame of
        zeros, or two if it has an odd number of frames.
    """
    before_mels = 1 + hidden.shape[3] % 2
    if frames is None:
        return functional.pad(hidden, (before_mels, 2, 1 + hidden.shape[2] % 2, 2))
    wide = functional.pad(hidden, (before_mels, 2, 2, 3)).permute(0, 2, 3, 1)
    batch, count, *rest = wide.shape
    # Frames are rows of memory in this order, and to pick rows is the fastest way to shift some.
    first = torch.arange(batch, device=frames.device) * count + (frames + 1) % 2
    rows = first.unsqueeze(1) + torch.arange(count - 1, device=frames.device)
    picked = wide.flatten(0, 1).index_select(0, rows.flatten())
    return picked.view(batch, count - 1, *rest).permute(0, 3, 1, 2)


def halved(length: _Length) -> _Length:
    """What a stride of 2 leaves of a length."""
    return (length + 1) // 2


def inside(frames: Tensor, hidden: Tensor) -> Tensor:
    """One inside an utterance, zero beyond it: ``(batch, 1, frames, 1)`` for ``hidden``."""
    return frame_mask(frames, hidden.shape[2]).to(hidden.dtype)[:, None, :, None]


def clip(hidden: Tensor, mask: Tensor | None = None) -> Tensor:
    """Clipped ReLU, zero where the mask is; overwrites ``hidden``, for the sake of memory."""
    if mask is not None:  # unseen by autograd: where this puts a 0, the clip stops the gradient
        hidden.detach().mul_(mask)
    return functional.hardtanh_(hidden, 0.0, CEILING)


def _normed(convolution: nn.Conv2d) -> nn.Sequential:
    """A convolution and batch normalisation with the constants of Keras."""
    return nn.Sequential(
        convolution, nn.BatchNorm2d(convolution.out_channels, eps=1e-3, momentum=0.01)
    )


def _initialise(module: nn.Module) -> None:
    """As Keras does: kernels by Glorot and Bengio (2010), biases zero."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
