"""What preparation keeps of a recording: its wave, or its features where nothing changes the wave.

Waves can be augmented and played at other speeds. Features are smaller and save their computing in
every step, but a crop of them is what it is.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import soxr
import torch

from hive_mtl import audio
from hive_mtl.description import Trim
from hive_mtl.learn.front_ends import FrontEnd, front_end_type
from hive_mtl.learn.front_ends._base import FRAMES_PER_S

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


class Kept(ABC):
    """A form in which recordings are kept, item by item; an item is a sample or a frame."""

    dtype: ClassVar[type[np.generic]]  # of the stored numbers
    suffix: ClassVar[str]  # of the files
    per_second: ClassVar[int]  # items
    width: int = 1  # numbers in an item

    @abstractmethod
    def of(self, recording: audio.Wave) -> Array:
        """A recording ``(samples,)`` -> what is kept, ``(items,)`` or ``(items, width)``."""

    @abstractmethod
    def restore(self, kept: Array) -> Floats:
        """What was kept -> network input: ``(samples,)`` in [-1, 1] or ``(mels, frames)``."""


@dataclass(frozen=True)
class Waves(Kept):
    """16-bit samples."""

    trim: Trim = "speech"

    dtype = np.int16
    suffix = ".i16"
    per_second = audio.SAMPLE_RATE

    def of(self, recording: audio.Wave) -> Array:
        """``(samples,)`` int16."""
        wave = audio.trim(recording, self.trim)
        samples: Array = np.clip(np.rint(wave * 32768.0), -32768, 32767).astype(np.int16)
        return samples

    def restore(self, kept: Array) -> Floats:
        """``(samples,)`` float32 in [-1, 1]."""
        return kept.astype(np.float32) / np.float32(32768.0)


@dataclass(frozen=True)
class Features(Kept):
    """16-bit floats: what a front end makes of each frame alone."""

    front_end: str
    mels: int
    sample_rate: int

    dtype = np.float16
    suffix = ".f16"
    per_second = FRAMES_PER_S

    @property
    def width(self) -> int:  # type: ignore[override]
        """One number a band."""
        return self.mels

    @cached_property
    def _network(self) -> FrontEnd:
        return front_end_type(self.front_end)(self.mels, self.sample_rate)

    def of(self, recording: audio.Wave) -> Array:
        """``(frames, mels)`` float16."""
        wave = audio.trim(recording, self._network.trim)
        if self.sample_rate != audio.SAMPLE_RATE:
            wave = soxr.resample(wave, audio.SAMPLE_RATE, self.sample_rate)
        short = self._network.frame_samples - len(wave)
        wave = np.pad(wave, (0, short)) if short > 0 else wave
        with torch.inference_mode():
            samples = torch.from_numpy(np.ascontiguousarray(wave)).unsqueeze(0)
            features = self._network.analyse(samples, torch.tensor([len(wave)]))[0]
        frames: Array = features.T.half().numpy()
        return frames

    def restore(self, kept: Array) -> Floats:
        """``(mels, frames)`` float32."""
        return np.ascontiguousarray(kept.T, dtype=np.float32)
