"""Sounds that pass for speech: syllables of harmonics over a faint hiss."""

import numpy as np
import numpy.typing as npt

RATE = 16_000


def voice(seconds: float, seed: int = 0) -> npt.NDArray[np.float32]:
    """A wave ``(samples,)`` at 16 kHz with pauses between syllables; a seed has its pitch."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    pitch = rng.uniform(90, 250)
    tilt = rng.uniform(0.5, 1.5)
    harmonics = sum(np.sin(2 * np.pi * pitch * k * time) / k**tilt for k in range(1, 12))
    syllables = np.clip(np.sin(2 * np.pi * 3 * time + rng.uniform(0, 6)) + 0.5, 0, 1)
    hiss = 0.001 * rng.standard_normal(time.size)
    return (0.1 * harmonics * syllables + hiss).astype(np.float32)
