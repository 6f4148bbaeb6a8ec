"""What all front ends share: frames of 25 ms every 10 ms, and the two halves of their work."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from hive_mtl.description import Trim

FRAMES_PER_S = 100
FRAME_S = 0.025
FFT_POINTS = 512


class FrontEnd(nn.Module):
    """Waveforms -> features, in two halves.

    ``analyse`` makes of each frame what depends on that frame alone, so that it can be computed
    once and kept; ``normalise`` is what depends on the utterance or crop as a whole.

    Args:
        mels: number of mel bands.
        sample_rate: of the waveforms, in Hz.
    """

    trim: ClassVar[Trim] = "speech"  # what a recording loses at its ends before

    def __init__(self, mels: int, sample_rate: int) -> None:
        super().__init__()
        self.mels = mels
        self.frame_samples = round(FRAME_S * sample_rate)
        self.hop_samples = sample_rate // FRAMES_PER_S

    def forward(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """``(batch, samples)`` in [-1, 1] and ``(batch,)`` in samples -> features and frames.

        Returns:
            ``(batch, mels, frames)``, zero beyond the frames of each utterance, and ``(batch,)``
            how many frames each has: at least one.
        """
        frames = self.frame_counts(lengths)
        with torch.autocast(waves.device.type, enabled=False):
            return self.normalise(self.analyse(waves.float(), lengths), frames), frames

    def frame_counts(self, lengths: Tensor) -> Tensor:
        """Samples -> frames, at least one."""
        raise NotImplementedError(f"{type(self).__name__} does not define frame_counts")

    def analyse(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """``(batch, samples)`` float32, ``(batch,)`` -> ``(batch, mels, frames)``."""
        raise NotImplementedError(f"{type(self).__name__} does not define analyse")

    def normalise(self, features: Tensor, frames: Tensor) -> Tensor:
        """``(batch, mels, frames)`` of ``analyse`` -> the same, zero beyond each utterance."""
        return features * frame_mask(frames, features.shape[-1]).unsqueeze(1)


def frame_mask(frames: Tensor, most: int) -> Tensor:
    """``(batch,)`` counts -> ``(batch, most)`` float32: one inside an utterance, zero beyond it."""
    return (torch.arange(most, device=frames.device).unsqueeze(0) < frames.unsqueeze(1)).float()


def has_padding(frames: Tensor, most: int) -> bool:
    """Whether anything stands beyond an utterance; crops of one length are not worth a mask.

    An exported network is for any batch, so it always has its masks.
    """
    return torch.compiler.is_compiling() or bool((frames < most).any())


def power_spectrum(waves: Tensor, framing: Tensor, hop: int) -> Tensor:
    """Power spectra by a strided convolution, the form that ONNX Runtime runs fast.

    Args:
        waves: ``(batch, samples)``.
        framing: ``(2 * bins, 1, frame)``, real parts then imaginary ones, such as those of
            :func:`fourier_basis`.
        hop: samples from frame to frame.

    Returns:
        ``(batch, bins, frames)``.
    """
    real, imaginary = functional.conv1d(waves.unsqueeze(1), framing, stride=hop).chunk(2, dim=1)
    return real.square() + imaginary.square()


def fourier_basis(samples: int) -> Tensor:
    """The discrete Fourier transform of a frame as a matrix.

    Returns:
        ``(2 * bins, samples)`` float64 for ``FFT_POINTS``: the real parts, then the imaginary ones.
    """
    bins = torch.arange(FFT_POINTS // 2 + 1).double()
    angle = 2 * math.pi * bins[:, None] * torch.arange(samples).double()[None, :] / FFT_POINTS
    return torch.cat([torch.cos(angle), -torch.sin(angle)])
