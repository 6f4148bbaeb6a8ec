"""Waveform -> log-mel features, as Kaldi computes them.

The steps are Kaldi's (``compute-fbank-feats``; Povey et al., 2011): 25 ms frames every 10 ms, the
mean of each frame removed, pre-emphasis 0.97, Povey window, power spectrum over 512 points,
triangular filters on the mel scale, logarithm. Everything up to the spectrum is linear, so it is
folded into one matrix and applied as a strided convolution: the only form of framing that ONNX
Runtime runs as fast as torch does.
"""

import math

import torch
from torch import Tensor

from hive_mtl.learn.front_ends import _base
from hive_mtl.learn.front_ends._base import FFT_POINTS, fourier_basis, frame_mask, power_spectrum

PRE_EMPHASIS = 0.97
LOW_HZ = 20.0
HIGH = 0.95  # of half the sampling rate
# Kaldi reads 16-bit integers; on that scale an energy of 1 lies below the rounding noise of any
# 16-bit recording, so the floor acts on digital silence only and keeps it from becoming an outlier.
FULL_SCALE = 32_768.0
ENERGY_FLOOR = 1.0


class FrontEnd(_base.FrontEnd):
    """Log-mel features whose mean over the utterance is zero."""

    framing: Tensor  # (2 * bins, 1, frame_samples): real then imaginary parts
    filters: Tensor  # (mels, bins)

    def __init__(self, mels: int = 80, sample_rate: int = 16_000) -> None:
        super().__init__(mels, sample_rate)
        self.register_buffer("framing", _framing_kernel(self.frame_samples), persistent=False)
        self.register_buffer("filters", mel_filters(mels, sample_rate), persistent=False)

    def frame_counts(self, lengths: Tensor) -> Tensor:
        """Whole frames only (Kaldi's ``snip-edges``)."""
        return ((lengths - self.frame_samples) // self.hop_samples + 1).clamp(min=1)

    def analyse(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """The logarithms of the filters' energies."""
        power = power_spectrum(waves, self.framing, self.hop_samples)
        energies = torch.matmul(self.filters, power)
        return energies.clamp(min=ENERGY_FLOOR).log()

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


def _framing_kernel(samples: int) -> Tensor:
    """DFT, window, pre-emphasis, mean removal and scale in one: ``(2 * bins, 1, samples)``."""
    identity = torch.eye(samples, dtype=torch.float64)
    remove_mean = identity - 1.0 / samples
    previous = torch.diag(torch.ones(samples - 1, dtype=torch.float64), -1)
    previous[0, 0] = 1.0  # Kaldi lets the first sample stand before itself
    phase = 2 * math.pi * torch.arange(samples).double() / (samples - 1)
    window = (0.5 - 0.5 * torch.cos(phase)) ** 0.85
    prepare = window[:, None] * ((identity - PRE_EMPHASIS * previous) @ remove_mean)
    return (fourier_basis(samples) @ prepare * FULL_SCALE).float().unsqueeze(1)
