"""Waveform -> log-mel features: one definition for training, export and use.

The steps are Kaldi's (``compute-fbank-feats``; Povey et al., 2011): 25 ms frames every 10 ms, the
mean of each frame removed, pre-emphasis 0.97, Povey window, power spectrum over 512 points,
triangular filters on the mel scale, logarithm. Everything up to the spectrum is linear, so it is
folded into one matrix and applied as a strided convolution: the only form of framing that ONNX
Runtime runs as fast as torch does.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

SAMPLE_RATE = 16_000
FRAME_SAMPLES = 400
HOP_SAMPLES = 160
FFT_POINTS = 512
PRE_EMPHASIS = 0.97
LOW_HZ = 20.0
HIGH_HZ = 7_600.0
# Kaldi reads 16-bit integers; on that scale an energy of 1 lies below the rounding noise of any
# 16-bit recording, so the floor acts on digital silence only and keeps it from becoming an outlier.
FULL_SCALE = 32_768.0
ENERGY_FLOOR = 1.0


class LogMel(nn.Module):
    """Mean-normalised log-mel features of a padded batch of waveforms.

    Args:
        mels: number of mel bands.
    """

    framing: Tensor  # (2 * bins, 1, FRAME_SAMPLES): real then imaginary parts
    filters: Tensor  # (mels, bins)

    def __init__(self, mels: int = 80) -> None:
        super().__init__()
        self.mels = mels
        self.register_buffer("framing", _framing_kernel(), persistent=False)
        self.register_buffer("filters", mel_filters(mels), persistent=False)

    def forward(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """``(batch, samples)`` in [-1, 1] and ``(batch,)`` in samples -> features and frames.

        Returns:
            ``(batch, mels, frames)``, zero mean over the frames of each utterance and zero beyond
            them, and ``(batch,)`` the number of frames of each.
        """
        with torch.autocast(waves.device.type, enabled=False):
            spectrum = functional.conv1d(
                waves.float().unsqueeze(1), self.framing, stride=HOP_SAMPLES
            )
            real, imaginary = spectrum.chunk(2, dim=1)
            energies = torch.matmul(self.filters, real.square() + imaginary.square())
            features = energies.clamp(min=ENERGY_FLOOR).log()
            frames = frame_counts(lengths)
            mask = frame_mask(frames, features.shape[-1]).unsqueeze(1)
            mean = (features * mask).sum(dim=-1, keepdim=True) / frames.view(-1, 1, 1)
            return (features - mean) * mask, frames


def frame_counts(lengths: Tensor) -> Tensor:
    """Samples -> whole frames (Kaldi's ``snip-edges``), at least one."""
    return ((lengths - FRAME_SAMPLES) // HOP_SAMPLES + 1).clamp(min=1)


def frame_mask(frames: Tensor, most: int) -> Tensor:
    """``(batch,)`` counts -> ``(batch, most)`` float32: one inside an utterance, zero beyond it."""
    return (torch.arange(most, device=frames.device).unsqueeze(0) < frames.unsqueeze(1)).float()


def mel_filters(mels: int) -> Tensor:
    """Triangular filters ``(mels, bins)`` on Kaldi's mel scale, ``1127 ln(1 + f / 700)``."""

    def mel(hertz: Tensor) -> Tensor:
        return 1127.0 * torch.log1p(hertz / 700.0)

    edges = torch.linspace(
        float(mel(torch.tensor(LOW_HZ))), float(mel(torch.tensor(HIGH_HZ))), mels + 2
    )
    bins = mel(torch.arange(FFT_POINTS // 2 + 1) * (SAMPLE_RATE / FFT_POINTS))
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (bins - left) / (centre - left)
    falling = (right - bins) / (right - centre)
    return torch.minimum(rising, falling).clamp(min=0.0)


def _framing_kernel() -> Tensor:
    """DFT, window, pre-emphasis, mean removal and scale in one: ``(2 * bins, 1, samples)``."""
    n = FRAME_SAMPLES
    identity = torch.eye(n, dtype=torch.float64)
    remove_mean = identity - 1.0 / n
    previous = torch.diag(torch.ones(n - 1, dtype=torch.float64), -1)
    previous[0, 0] = 1.0  # Kaldi lets the first sample stand before itself
    window = (0.5 - 0.5 * torch.cos(2 * math.pi * torch.arange(n).double() / (n - 1))) ** 0.85
    prepare = window[:, None] * ((identity - PRE_EMPHASIS * previous) @ remove_mean)
    bins = torch.arange(FFT_POINTS // 2 + 1).double()
    angle = 2 * math.pi * bins[:, None] * torch.arange(n).double()[None, :] / FFT_POINTS
    basis = torch.cat([torch.cos(angle), -torch.sin(angle)]) @ prepare
    return (basis * FULL_SCALE).float().unsqueeze(1)
