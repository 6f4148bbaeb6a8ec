"""Waveform -> log-mel features, as Kaldi computes them.

The steps are Kaldi's (``compute-fbank-feats``; Povey et al., 2011): 25 ms frames every 10 ms, the
mean of each frame removed, pre-emphasis 0.97, Povey window, power spectrum over 512 points,
triangular filters on the mel scale, logarithm.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from hive_mtl.learn.front_ends import _base
from hive_mtl.learn.front_ends._base import FFT_POINTS, FilterBank, frame_mask, framed

PRE_EMPHASIS = 0.97
LOW_HZ = 20.0
HIGH = 0.95  # of half the sampling rate
# Kaldi reads 16-bit integers; on that scale an energy of 1 lies below the rounding noise of any
# 16-bit recording, so the floor acts on digital silence only and keeps it from becoming an outlier.
FULL_SCALE = 32_768.0
ENERGY_FLOOR = 1.0


class FrontEnd(_base.FrontEnd):
    """Log-mel features whose mean over the utterance is zero."""

    def __init__(self, mels: int = 80, sample_rate: int = 16_000) -> None:
        super().__init__(mels, sample_rate)
        self.energies = FilterBank(_window(self.frame_samples), mel_filters(mels, sample_rate))

    def frame_counts(self, lengths: Tensor) -> Tensor:
        """Whole frames only (Kaldi's ``snip-edges``)."""
        return ((lengths - self.frame_samples) // self.hop_samples + 1).clamp(min=1)

    def analyse(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """The logarithms of the filters' energies."""
        before = functional.pad(waves, (1, 0))
        emphasised = waves - PRE_EMPHASIS * before[:, :-1]
        frames = framed(emphasised, self.frame_samples, self.hop_samples)
        # Kaldi removes the mean first; what emphasis leaves of it follows from what it left over.
        last, first = before[:, self.frame_samples :], before[:, : -self.frame_samples]
        drift = PRE_EMPHASIS / self.frame_samples * (last - first)[:, :: self.hop_samples]
        frames = frames - (frames.mean(dim=2) - drift).unsqueeze(2)
        energies: Tensor = self.energies(frames)
        return energies.clamp(min=ENERGY_FLOOR).log().transpose(1, 2)

    def normalise(self, features: Tensor, frames: Tensor) -> Tensor:
        """Removes the mean of each band over the frames of the utterance."""
        mask = frame_mask(frames, features.shape[-1]).unsqueeze(1)
        mean = (features * mask).sum(dim=-1, keepdim=True) / frames.view(-1, 1, 1)
        return (features - mean) * mask


def mel_filters(mels: int, sample_rate: int) -> Tensor:
    """Triangular filters ``(mels, bins)`` on Kaldi's mel scale, ``1127 ln(1 + f / 700)``."""

    def mel(hertz: Tensor) -> Tensor:
        return 1127.0 * torch.log1p(hertz / 700.0)

    low, high = torch.tensor(LOW_HZ), torch.tensor(HIGH * sample_rate / 2)
    edges = torch.linspace(float(mel(low)), float(mel(high)), mels + 2)
    bins = mel(torch.arange(FFT_POINTS // 2 + 1) * (sample_rate / FFT_POINTS))
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (bins - left) / (centre - left)
    falling = (right - bins) / (right - centre)
    return torch.minimum(rising, falling).clamp(min=0.0)


def _window(samples: int) -> Tensor:
    """Povey's window ``(samples,)`` float64 and the scale in one; zero at both ends."""
    phase = 2 * math.pi * torch.arange(samples).double() / (samples - 1)
    return FULL_SCALE * (0.5 - 0.5 * torch.cos(phase)).clamp(min=0.0) ** 0.85
