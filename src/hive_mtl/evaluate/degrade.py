"""Recordings made worse in the same way for every model: shorter, noisier, over the telephone.

What becomes of a recording depends on the recording, on its path, from which its noise is drawn,
and, for babble, on the other recordings of the table: never on who listens.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import scipy.signal
import soxr

from hive_mtl.audio import SAMPLE_RATE, Segment, Wave, load, trim_silence
from hive_mtl.errors import AudioError, ConfigError, EmbeddingError
from hive_mtl.evaluate.embedded import segments
from hive_mtl.learn.effects import FAINTEST, MU, TELEPHONE_RATE
from hive_mtl.learn.utterances import voice_of_each

T = TypeVar("T")
Embedder = Callable[[Iterator[tuple[Wave, int]]], Iterable[T]]
"""Takes waves and their sample rate, and gives a result for each, in order; may read ahead."""

TELEPHONE_BAND_HZ = (300.0, 3_400.0)
BABBLE_VOICES = 5
_POOL_VOICES, _POOL_S = 48, 10.0  # whose beginnings babble is made of


@dataclass(frozen=True)
class Surroundings:
    """Where a recording is heard.

    Attributes:
        seed: of its noise.
        voices: waves ``(samples,)`` of other speakers; none where the table has none.
    """

    seed: int
    voices: Sequence[Wave] = ()


Degradation = Callable[[Wave, Surroundings], Wave]


def crop(wave: Wave, _around: Surroundings, *, seconds: float) -> Wave:
    """So many seconds from the middle of what :func:`trim_silence` keeps; all where it is less."""
    speech = trim_silence(wave)
    samples = round(seconds * SAMPLE_RATE)
    start = max(0, len(speech) - samples) // 2
    return speech[start : start + samples]


def noisy(wave: Wave, around: Surroundings, *, snr_db: float) -> Wave:
    """What :func:`trim_silence` keeps, in babble or, every other seed, in pink noise."""
    speech = trim_silence(wave)
    rng = np.random.default_rng(around.seed)
    if around.seed % 2 and around.voices:
        return mixed(speech, babble(len(speech), around.voices, rng), snr_db)
    return mixed(speech, pink_noise(len(speech), rng), snr_db)


def over_telephone(wave: Wave, _around: Surroundings) -> Wave:
    """What :func:`trim_silence` keeps, over a fixed line."""
    return telephone(trim_silence(wave), *TELEPHONE_BAND_HZ)


def pink_noise(samples: int, rng: np.random.Generator) -> Wave:
    """Noise ``(samples,)`` whose power falls by 3 dB an octave."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    return np.fft.irfft(spectrum, samples).astype(np.float32)


def babble(samples: int, voices: Sequence[Wave], rng: np.random.Generator) -> Wave:
    """:data:`BABBLE_VOICES` of ``voices`` at equal power, each from anywhere: ``(samples,)``."""
    chosen = rng.permutation(len(voices))[:BABBLE_VOICES]
    turned = (np.roll(voices[number], -rng.integers(len(voices[number]))) for number in chosen)
    return together(turned, samples)


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
    peak = 2 * max(float(np.abs(wave).max(initial=0.0)), FAINTEST)
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


_CROPS_S = {f"{seconds}s": float(seconds) for seconds in (1, 2, 4)}
DEGRADATIONS: dict[str, Degradation] = {
    "full": lambda wave, _around: wave,
    **{name: partial(crop, seconds=seconds) for name, seconds in _CROPS_S.items()},
    **{f"noise {snr_db} dB": partial(noisy, snr_db=snr_db) for snr_db in (20, 10, 5, 0)},
    "telephone": over_telephone,
}
"""By name, what is made of a wave ``(samples,)`` in its surroundings; "full" leaves it alone."""


def seconds_asked_for(name: str) -> float:
    """How long a degradation makes those recordings that are long enough; 0 for all lengths."""
    return _CROPS_S.get(name, 0.0)


def embed_degraded(
    embedder: Embedder[T], table: pa.Table, name: str
) -> Iterator[T | EmbeddingError]:
    """What an embedder, of any kind, makes of the degraded recordings of a table.

    One wave at a time is held here. A recording that cannot be read leaves an error in its place.

    Args:
        embedder: hears every recording that can be read.
        table: as :func:`hive_mtl.learn.utterances.conform` makes it.
        name: of :data:`DEGRADATIONS`.

    Raises:
        ConfigError: there is no degradation of that name.
    """
    if name not in DEGRADATIONS:
        raise ConfigError(f"degradation '{name}': choose from {', '.join(DEGRADATIONS)}")
    return _in_order(embedder, _Waves(table, DEGRADATIONS[name]), len(table))


class _Waves:
    """The degraded recordings that can be read; notes which rows those are, and what fails."""

    def __init__(self, table: pa.Table, degradation: Degradation) -> None:
        self.read: deque[int] = deque()
        self.failed: dict[int, EmbeddingError] = {}
        self._table, self._degradation = table, degradation

    def __iter__(self) -> Iterator[tuple[Wave, int]]:
        speakers = voice_of_each(self._table).tolist()
        pool = _pool(self._table, speakers)
        for row, segment in enumerate(segments(self._table)):
            try:
                wave = load(segment)
            except AudioError as error:
                name = str(segment.path)
                self.failed[row] = EmbeddingError(name, str(error).removeprefix(f"{name}: "))
                continue
            voices = [voice for speaker, voice in pool.items() if speaker != speakers[row]]
            degraded = self._degradation(wave, Surroundings(_seed(segment), voices))
            self.read.append(row)
            yield degraded, SAMPLE_RATE


def _in_order(embedder: Embedder[T], waves: _Waves, rows: int) -> Iterator[T | EmbeddingError]:
    done = 0
    for result in embedder(iter(waves)):
        row = waves.read.popleft()
        yield from (waves.failed.pop(failed) for failed in range(done, row))
        yield result
        done = row + 1
    yield from (waves.failed.pop(failed) for failed in range(done, rows))


def _seed(segment: Segment) -> int:
    """The same wherever the folder of the recordings lies."""
    place = "/".join((*segment.path.parts[-2:], f"{segment.start_s:g}"))
    return int.from_bytes(hashlib.sha256(place.encode()).digest()[:8])


def _pool(table: pa.Table, speakers: list[int]) -> dict[int, Wave]:
    """A wave of each of some speakers, the same whatever the order of the rows."""
    pool: dict[int, Wave] = {}
    rows = list(segments(table))
    for row in sorted(range(len(rows)), key=lambda row: _seed(rows[row])):
        if speakers[row] in pool:
            continue
        length = rows[row].duration_s
        part = Segment(Path(rows[row].path), rows[row].start_s, min(length or _POOL_S, _POOL_S))
        try:
            pool[speakers[row]] = trim_silence(load(part))
        except AudioError:
            continue
        if len(pool) == _POOL_VOICES:
            break
    return pool
