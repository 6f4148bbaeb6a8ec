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


def framed(waves: Tensor, samples: int, hop: int) -> Tensor:
    """Waves ``(batch, samples of the longest)`` -> whole frames ``(batch, frames, samples)``.

    A frame begins every ``hop`` samples, and is put together of pieces of that length: they are
    copied fast where single samples are not.
    """
    pieces = -(-samples // hop)
    filled = functional.pad(waves, (0, pieces * hop - samples))
    whole = filled.shape[1] // hop
    hops = torch.unflatten(filled[:, : whole * hop], 1, (whole, hop))
    count = whole - pieces + 1
    parts = [hops[:, i : i + count, : samples - i * hop] for i in range(pieces)]
    return torch.cat(parts, dim=2)


class FilterBank(nn.Module):
    """Energies of frames in the bands of a filter bank, by products with half of each frame.

    The power of a frame does not depend on where time begins. Counted from its middle, cosines are
    even and sines odd: each needs the first half and the last, reversed, only as their sum or
    difference. ONNX Runtime has no faster form; its STFT and rfft are far slower.

    Args:
        window: ``(samples,)`` float64, symmetric.
        filters: ``(mels, bins)`` of the spectrum over ``FFT_POINTS``.
    """

    cosines: Tensor  # (half a frame, bins that a filter hears)
    sines: Tensor
    filters: Tensor  # (bins that a filter hears, mels)

    def __init__(self, window: Tensor, filters: Tensor) -> None:
        super().__init__()
        heard = torch.nonzero(filters.any(dim=0)).squeeze(1)
        samples = len(window)
        half = -(-samples // 2)
        weights = window[:half].clone()
        weights[samples // 2 :] /= 2  # the middle of an odd frame stands in both halves
        from_middle = torch.arange(half).double() - (samples - 1) / 2
        angle = 2 * math.pi / FFT_POINTS * from_middle[:, None] * heard.double()[None, :]
        for name, table in (
            ("cosines", weights[:, None] * torch.cos(angle)),
            ("sines", weights[:, None] * torch.sin(angle)),
            ("filters", filters[:, heard].T.contiguous()),
        ):
            self.register_buffer(name, table.float(), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """``(batch, frames, samples)`` -> ``(batch, frames, mels)``."""
        half = len(self.cosines)
        first, last = frames[..., :half], frames[..., -half:].flip(-1)
        real, imaginary = (first + last) @ self.cosines, (first - last) @ self.sines
        return (real.square() + imaginary.square()) @ self.filters
