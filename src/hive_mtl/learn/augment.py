"""Augmentation: what keeps a network from learning the room, the noise and the microphone.

What happens to the waves of a batch is drawn where the batch is made, from a generator of its own,
and done to all of them at once on the device where the network is (:mod:`hive_mtl.learn.changes`).
A codec takes crops one by one, so it comes first, where they are cut. Noise is added after the room
and the equaliser; the telephone comes last.

Features are masked as in SpecAugment (Park et al., 2019, arXiv:1904.08779).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field

from hive_mtl.audio import SAMPLE_RATE, Wave
from hive_mtl.learn.changes import Changes, Drawn
from hive_mtl.learn.effects import EQUALISER_HZ
from hive_mtl.learn.settings import Span
from hive_mtl.learn.surroundings import noise_part, recordings_of, room_response

EQUALISER_DB = 6.0  # up or down
SLOPE_DB = 6.0  # of coloured noise, up or down an octave
BABBLE_VOICES = (3, 7)  # fewer are a conversation, more are noise
TELEPHONE_LOW_HZ, TELEPHONE_HIGH_HZ = (100.0, 400.0), (3_000.0, 3_900.0)  # edges of the band
CODEC_KBIT_S = (16, 24, 32, 40, 48, 56, 64)
SHORTEST_CODED = SAMPLE_RATE // 10  # what the MP3 coder takes
Probability = Field(default=0.0, ge=0.0, le=1.0)

Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]


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
    babble: float = Probability  # other voices of the batch behind the crop's own
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


class Augmenter:
    """Draws what happens to waves.

    Args:
        config: its folders hold mono WAV of 16 kHz, as :mod:`hive_mtl.learn.surroundings` makes
            them; of these only what a batch needs is ever in memory.

    Raises:
        DataError: a folder of rooms or noises holds no recordings.
    """

    def __init__(self, config: AugmentConfig) -> None:
        self._config = config
        self._rooms: list[Path] = []
        self._noises: list[Path] = []
        if config.rooms and config.reverberation:
            self._rooms = recordings_of(config.rooms, "rooms")
        if config.noises and config.noise:
            self._noises = recordings_of(config.noises, "noises")

    def coded(self, crop: Wave, rng: np.random.Generator) -> Wave:
        """``(samples,)`` -> the same crop, or what a codec leaves of it."""
        if rng.random() >= self._config.codec:
            return crop
        from fast_mp3_augment import compress_roundtrip  # late: few recipes need it

        padded = np.pad(crop, (0, max(SHORTEST_CODED - len(crop), 0)))
        heard: Wave = compress_roundtrip(padded, SAMPLE_RATE, int(rng.choice(CODEC_KBIT_S)))
        return heard[: len(crop)]

    def draw(
        self, spans: Integers, lengths: Integers, samples: int, rng: np.random.Generator
    ) -> Changes:
        """The changes of a batch.

        Args:
            spans: ``(batch,)`` how many samples of each crop are played in the time of ``samples``.
            lengths: ``(batch,)`` how many samples of each are heard before its padding.
            samples: of each crop afterwards.
            rng: of the batch.
        """
        played = np.unique(spans[spans != samples])
        # Padding makes a crop fainter on the whole than it is where it is heard.
        padding_db = 10 * np.log10(samples / lengths)
        return Changes(
            samples=samples,
            played={int(each): torch.from_numpy(np.flatnonzero(spans == each)) for each in played},
            filtered=self._filters(len(spans), samples, rng),
            babble=self._babble(padding_db, rng),
            noise=self._noise(padding_db, samples, rng),
            coloured=self._coloured(padding_db, samples, rng),
            telephone=self._telephone(len(spans), rng),
        )

    def _filters(self, batch: int, samples: int, rng: np.random.Generator) -> Drawn | None:
        equalised = rng.random(batch) < self._config.equaliser
        roomed = rng.random(batch) < (self._config.reverberation if self._rooms else 0.0)
        rows = np.flatnonzero(equalised | roomed)
        gains_db = rng.uniform(-EQUALISER_DB, EQUALISER_DB, (len(rows), len(EQUALISER_HZ)))
        responses = [np.ones(1, np.float32)] * len(rows)
        for place in np.flatnonzero(roomed[rows]):
            responses[place] = room_response(_one_of(self._rooms, rng), samples)
        longest = max(map(len, responses), default=0)
        padded = [np.pad(each, (0, longest - len(each))) for each in responses]
        return _drawn(rows, gains_db * equalised[rows, np.newaxis], padded)

    def _babble(self, padding_db: Numbers, rng: np.random.Generator) -> Drawn | None:
        batch = len(padding_db)
        rows = _rows(self._config.babble if batch > 1 else 0.0, batch, rng)
        weights = np.zeros((len(rows), batch))
        for row, mixture in zip(rows, weights, strict=True):
            voices = min(int(rng.integers(BABBLE_VOICES[0], BABBLE_VOICES[1] + 1)), batch - 1)
            mixture[rng.choice(np.delete(np.arange(batch), row), voices, replace=False)] = 1.0
        snr_db = rng.uniform(*self._config.babble_snr_db, len(rows))
        return _drawn(rows, weights, snr_db - padding_db[rows])

    def _noise(self, padding_db: Numbers, samples: int, rng: np.random.Generator) -> Drawn | None:
        rows = _rows(self._config.noise if self._noises else 0.0, len(padding_db), rng)
        noises = [noise_part(_one_of(self._noises, rng), samples, rng) for _ in rows]
        snr_db = rng.uniform(*self._config.snr_db, len(rows))
        return _drawn(rows, noises, snr_db - padding_db[rows])

    def _coloured(
        self, padding_db: Numbers, samples: int, rng: np.random.Generator
    ) -> Drawn | None:
        rows = _rows(self._config.coloured_noise, len(padding_db), rng)
        white = rng.standard_normal((len(rows), samples), np.float32)
        slopes_db = rng.uniform(-SLOPE_DB, SLOPE_DB, len(rows))
        snr_db = rng.uniform(*self._config.snr_db, len(rows))
        return _drawn(rows, white, slopes_db, snr_db - padding_db[rows])

    def _telephone(self, batch: int, rng: np.random.Generator) -> Drawn | None:
        rows = _rows(self._config.telephone, batch, rng)
        edges_hz = [(rng.uniform(*TELEPHONE_LOW_HZ), rng.uniform(*TELEPHONE_HIGH_HZ)) for _ in rows]
        return _drawn(rows, edges_hz)


def _one_of(paths: Sequence[Path], rng: np.random.Generator) -> Path:
    return paths[int(rng.integers(len(paths)))]


def _rows(chance: float, batch: int, rng: np.random.Generator) -> Integers:
    """The rows of a batch that something happens to."""
    return np.flatnonzero(rng.random(batch) < chance)


def _drawn(rows: Integers, *values: npt.ArrayLike) -> Drawn | None:
    if not len(rows):
        return None
    numbers = (torch.from_numpy(np.asarray(value, np.float32)) for value in values)
    return torch.from_numpy(rows), *numbers


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
