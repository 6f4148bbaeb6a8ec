"""Augmentation: what keeps a network from learning the room, the noise and the microphone.

Waveforms are changed by audiomentations (noise, reverberation, equalisation, band, codec); features
are masked as in SpecAugment (Park et al., 2019, arXiv:1904.08779). Every change is a pure function
of a seed, so a resumed run sees what an uninterrupted one would have seen.
"""

import random
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.signal
import soxr
from pydantic import BaseModel, ConfigDict, Field

from hive_mtl.audio import SAMPLE_RATE, Wave, find_recordings
from hive_mtl.errors import DataError
from hive_mtl.learn.settings import Span

TELEPHONE_RATE = 8_000
TELEPHONE_LOW_HZ, TELEPHONE_HIGH_HZ = (100.0, 400.0), (3_000.0, 3_900.0)  # edges of the band
MU = 255.0  # of the mu-law of G.711
FAINTEST = 1e-6  # deviation of a wave that is no silence
Probability = Field(default=0.0, ge=0.0, le=1.0)


class AugmentConfig(BaseModel):
    """How often each change is made to a training crop, from 0 (never) to 1 (always)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reverberation: float = Probability
    rooms: Path | None = None  # folder of room impulse responses
    simulated_rooms: int = Field(default=0, ge=0)  # responses to simulate beside those
    noise: float = Probability
    noises: Path | None = None  # folder of noise recordings; needed for noise
    coloured_noise: float = Probability
    snr_db: Span = (5.0, 25.0)
    babble: float = Probability  # other voices of the training data behind the crop's own
    babble_snr_db: Span = (10.0, 25.0)
    equaliser: float = Probability
    telephone: float = Probability  # a telephone's band, 8 kHz sampling, 8-bit mu-law
    codec: float = Probability  # MP3 at 16 to 64 kbit/s
    frequency_masks: int = Field(default=0, ge=0)
    frequency_mask_bands: int = Field(default=10, ge=1)
    time_masks: int = Field(default=0, ge=0)
    time_mask_frames: int = Field(default=20, ge=1)

    @property
    def changes_waves(self) -> bool:
        """Whether anything but features is ever changed."""
        chances = (
            self.reverberation,
            self.noise,
            self.babble,
            self.coloured_noise,
            self.equaliser,
            self.telephone,
            self.codec,
        )
        return any(chances)


class WaveAugmenter:
    """The chain of waveform changes of a config.

    Raises:
        DataError: a folder of rooms or noises holds no recordings.
    """

    def __init__(self, config: AugmentConfig) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of optional codecs that are not used here
            import audiomentations as changes
        low, high = config.snr_db
        chain = [changes.SevenBandParametricEQ(-6.0, 6.0, p=config.equaliser)]
        if config.rooms and config.reverberation:
            responses = _recordings(config.rooms, "rooms")
            chain.append(changes.ApplyImpulseResponse(responses, p=config.reverberation))
        if config.noises and config.noise:
            noises = _recordings(config.noises, "noises")
            chain.append(changes.AddBackgroundNoise(noises, low, high, p=config.noise))
        chain += [
            changes.AddColorNoise(low, high, p=config.coloured_noise),
            changes.Lambda(_through_telephone, p=config.telephone),
            changes.Mp3Compression(16, 64, p=config.codec),
        ]
        self._change = changes.Compose([change for change in chain if change.p > 0])

    def __call__(self, wave: Wave, seed: int) -> Wave:
        """``(samples,)`` -> ``(samples,)``; the same for the same seed."""
        random.seed(seed)  # audiomentations draws from the global generators
        np.random.seed(seed % 2**32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a noise that happens to be silent is left out
            changed: Wave = self._change(wave, SAMPLE_RATE)
        return changed


def _recordings(folder: Path, key: str) -> list[Path]:
    found = find_recordings(folder)
    if not found:
        raise DataError(f"{folder}: holds no recordings: check augment.{key}")
    return found


def _through_telephone(wave: Wave, _sample_rate: int) -> Wave:
    return telephone(wave, random.uniform(*TELEPHONE_LOW_HZ), random.uniform(*TELEPHONE_HIGH_HZ))


def telephone(wave: Wave, low_hz: float, high_hz: float) -> Wave:
    """What a fixed line leaves of a wave: a band, sampled at 8 kHz, coded as G.711 does."""
    narrow = soxr.resample(wave, SAMPLE_RATE, TELEPHONE_RATE)
    edges = low_hz, high_hz
    band = scipy.signal.butter(2, edges, "bandpass", fs=TELEPHONE_RATE, output="sos")
    coded = mu_law(scipy.signal.sosfilt(band, narrow).astype(np.float32))
    heard: Wave = soxr.resample(coded, TELEPHONE_RATE, SAMPLE_RATE)
    return heard


def mu_law(wave: Wave) -> Wave:
    """A wave after 8-bit mu-law coding and decoding (ITU-T G.711), at its own loudness.

    A line is driven near full scale whatever the recording's level, so the wave is coded at a peak
    of one half.
    """
    peak = 2 * max(float(np.abs(wave).max(initial=0.0)), 1e-6)
    compressed = np.sign(wave) * np.log1p(MU * np.abs(wave) / peak) / np.log1p(MU)
    levels = np.rint(compressed * 127.5) / 127.5
    coded: Wave = (np.sign(levels) * np.expm1(np.abs(levels) * np.log1p(MU)) / MU * peak).astype(
        np.float32
    )
    return coded


def together(voices: Iterable[Wave], samples: int) -> Wave:
    """Voices talking at once, at equal power: each is repeated up to ``(samples,)``."""
    babble = np.zeros(samples, np.float32)
    for voice in voices:
        babble += np.resize(voice, samples) / max(float(np.std(voice)), FAINTEST)
    return babble


def mixed(wave: Wave, noise: Wave, snr_db: float) -> Wave:
    """``wave`` with ``noise`` ``(samples,)`` added at a ratio of their powers; silence stays."""
    power = float(np.mean(np.square(noise)))
    if power == 0.0:
        return wave
    gain = np.sqrt(float(np.mean(np.square(wave))) / power) * 10.0 ** (-snr_db / 20.0)
    return wave + np.float32(gain) * noise


def feature_mask(
    config: AugmentConfig, mels: int, frames: int, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """SpecAugment for one utterance: ``(mels, frames)``, False where features are hidden."""
    keep = np.ones((mels, frames), dtype=np.bool_)
    for _ in range(config.frequency_masks):
        width = int(rng.integers(0, min(config.frequency_mask_bands, mels) + 1))
        first = int(rng.integers(0, mels - width + 1))
        keep[first : first + width] = False
    for _ in range(config.time_masks):
        width = int(rng.integers(0, min(config.time_mask_frames, frames) + 1))
        first = int(rng.integers(0, frames - width + 1))
        keep[:, first : first + width] = False
    return keep
