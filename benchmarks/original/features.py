"""The original's features: trimmed speech -> 64 filter banks, each frame normalised by itself.

Runs in ``.venv-original`` alone.
"""

from pathlib import Path

import librosa
import numpy as np
import numpy.typing as npt
from network import BANDS
from python_speech_features import fbank

SAMPLE_RATE = 16_000
LOUD_PERCENTILE = 95
SMALLEST_DEVIATION = 1e-12


def loud_part(path: Path) -> npt.NDArray[np.float32]:
    """A recording from its first to its last sample of the loudest twentieth, the last left out."""
    wave, _ = librosa.load(path, sr=SAMPLE_RATE, mono=True, dtype=np.float32)
    energy = np.abs(wave)
    loud = np.flatnonzero(energy > np.percentile(energy, LOUD_PERCENTILE))
    return wave[loud[0] : loud[-1]]


def filter_banks(wave: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """``(samples,)`` -> ``(frames, 64)``; normalised frame by frame in Python, as there."""
    energies, _ = fbank(wave, samplerate=SAMPLE_RATE, nfilt=BANDS)
    normalised = [
        (frame - np.mean(frame)) / max(np.std(frame), SMALLEST_DEVIATION) for frame in energies
    ]
    return np.array(normalised, dtype=np.float32)


def crop(
    features: npt.NDArray[np.float32], frames: int, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """``frames`` consecutive ones at random, or all and zeros behind: ``(frames, 64, 1)``."""
    start = int(rng.integers(max(len(features) - frames, 0) + 1))
    taken = features[start : start + frames]
    return np.pad(taken, ((0, frames - len(taken)), (0, 0)))[..., np.newaxis]
