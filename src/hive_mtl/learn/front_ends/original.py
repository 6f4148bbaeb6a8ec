"""The front end of the original Hive-MTL and of Deep Speaker: filter banks without a logarithm.

What ``python_speech_features.fbank`` (James Lyons, 2013) computes, as a network: pre-emphasis 0.97
over the whole recording, 25 ms frames every 10 ms without a window, the last one filled up with
zeros, power spectrum over 512 points, triangular filters between whole bins on the mel scale
``2595 log10(1 + f / 700)`` up to half the sampling rate. Then every frame is brought to zero mean
and unit deviation over its bands, so neither loudness nor the rest of the utterance matters.
"""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hive_mtl.description import Trim
from hive_mtl.learn.front_ends import _base
from hive_mtl.learn.front_ends._base import FFT_POINTS, FilterBank, frame_mask, framed

PRE_EMPHASIS = 0.97
LEAST_ENERGY = float(np.finfo(np.float64).eps)  # of a band, in place of zero
LEAST_DEVIATION = 1e-12


class FrontEnd(_base.FrontEnd):
    """Filter banks, every frame normalised by itself."""

    trim: ClassVar[Trim] = "loudest"

    filters: Tensor  # (bins, mels)

    def __init__(self, mels: int = 64, sample_rate: int = 16_000) -> None:
        super().__init__(mels, sample_rate)
        scale = torch.full((self.frame_samples,), FFT_POINTS**-0.5, dtype=torch.float64)
        self.energies = FilterBank(scale, whole_bin_filters(mels, sample_rate))
        self.register_buffer("filters", whole_bin_filters(mels, sample_rate).T, persistent=False)

    def frame_counts(self, lengths: Tensor) -> Tensor:
        """As many frames as it takes to hold every sample."""
        beyond_first = (lengths - self.frame_samples).clamp(min=0)
        return 1 + (beyond_first + self.hop_samples - 1) // self.hop_samples

    def analyse(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """The filters' energies, normalised over the bands of each frame."""
        emphasised = waves - PRE_EMPHASIS * functional.pad(waves, (1, 0))[:, :-1]
        inside = emphasised * frame_mask(lengths, waves.shape[-1])
        filled = functional.pad(inside, (0, self.hop_samples - 1))
        energies = self._energies(filled)
        energies = torch.where(energies == 0, LEAST_ENERGY, energies)
        centred = energies - energies.mean(dim=2, keepdim=True)
        deviation = centred.square().mean(dim=2, keepdim=True).sqrt()
        return (centred / deviation.clamp(min=LEAST_DEVIATION)).transpose(1, 2)

    def _energies(self, waves: Tensor) -> Tensor:
        """The filters' energies ``(batch, frames, mels)``; torch has a transform, which is faster.

        ONNX Runtime has none worth having.
        """
        if torch.compiler.is_compiling():
            found: Tensor = self.energies(framed(waves, self.frame_samples, self.hop_samples))
            return found
        frames = waves.unfold(-1, self.frame_samples, self.hop_samples)
        spectrum = torch.fft.rfft(frames, FFT_POINTS)
        power: Tensor = (spectrum.real.square() + spectrum.imag.square()) / FFT_POINTS
        return power @ self.filters


def whole_bin_filters(mels: int, sample_rate: int) -> Tensor:
    """Triangular filters ``(mels, bins)`` whose edges lie on whole bins of the spectrum."""
    highest = 2595.0 * np.log10(1.0 + sample_rate / 2 / 700.0)
    hertz = 700.0 * (10.0 ** (np.linspace(0.0, highest, mels + 2) / 2595.0) - 1.0)
    edges = np.floor((FFT_POINTS + 1) * hertz / sample_rate)
    bins = np.arange(FFT_POINTS // 2 + 1)
    filters = np.zeros((mels, len(bins)))
    for band, (left, centre, right) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        rising, falling = (bins >= left) & (bins < centre), (bins >= centre) & (bins < right)
        filters[band, rising] = (bins[rising] - left) / (centre - left)
        filters[band, falling] = (right - bins[falling]) / (right - centre)
    return torch.from_numpy(filters).float()
