"""ECAPA-TDNN (Desplanques et al., 2020, arXiv:2005.07143), SpeechBrain's network, as a trunk."""

import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Literal

import torch
from environment import SPEECHBRAIN
from pydantic import Field
from torch import Tensor, nn

from hive_mtl.learn.backbones import TrunkConfig, TrunkNetwork


class Config(TrunkConfig):
    """Size of the network; the default is known as C512: 6.2 million parameters."""

    name: Literal["ecapa_tdnn"] = "ecapa_tdnn"
    channels: int = Field(default=512, ge=8)


class Trunk(TrunkNetwork):
    """Features -> embedding (not yet normalised to unit length)."""

    def __init__(self, config: Config, mels: int) -> None:
        super().__init__()
        channels = [*[config.channels] * 4, 3 * config.channels]
        self.network = network_type()(mels, lin_neurons=config.embedding_dim, channels=channels)
        self.network.asp = InFloat32(self.network.asp)

    def forward(self, features: Tensor, frames: Tensor) -> Tensor:
        """``(batch, mels, frames)``, ``(batch,)`` -> ``(batch, embedding_dim)``."""
        share = frames / features.shape[-1]  # of the longest, as SpeechBrain gives lengths
        return self.network(features.transpose(1, 2), share).squeeze(1)


class InFloat32(nn.Module):
    """Statistics over time lose too much in bfloat16; our own trunk keeps them in float32, too."""

    def __init__(self, pooling: nn.Module) -> None:
        super().__init__()
        self.pooling = pooling

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            return self.pooling(hidden.float(), lengths=lengths)


@cache
def network_type() -> type[nn.Module]:
    """SpeechBrain's class, without the rest of SpeechBrain.

    Its package imports much that is not installed, and one layer asks for torchaudio, which is not
    used here: both are stood in for by empty modules.
    """
    [folder] = Path(SPEECHBRAIN.folder).glob("lib/python*/site-packages/speechbrain")
    package = ModuleType("speechbrain")
    package.__path__ = [str(folder)]
    torchaudio = ModuleType("torchaudio")
    torchaudio.__version__ = "2.9.0"  # of none at all SpeechBrain complains
    sys.modules.update(speechbrain=package, torchaudio=torchaudio)
    from speechbrain.lobes.models import ECAPA_TDNN

    del sys.modules["torchaudio"]
    ECAPA_TDNN.length_to_mask = inside
    return ECAPA_TDNN.ECAPA_TDNN


def inside(length: Tensor, max_len: int, device: torch.device) -> Tensor:
    """SpeechBrain's mask ``(batch, frames)`` so that an exported network takes any batch."""
    return (torch.arange(max_len, device=device) < length.unsqueeze(1)).to(length.dtype)
