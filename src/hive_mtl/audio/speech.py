"""Where speech is in a wave, and how good a recording is: energy alone, no model.

The level of 10 ms frames is compared with the recording's own noise floor and its own loudest
frames, so its volume does not matter. What does not rise above the floor is not speech: silence, a
constant, a steady noise or hum, however loud. A noise that comes and goes is taken for speech.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hive_mtl.audio.sources import SAMPLE_RATE, Wave

SpeechFrames = npt.NDArray[np.bool_]
"""``(samples // 160,)``: which frames of 10 ms are speech."""

FRAME_S = 0.01
_FRAME = 160  # samples
_MARGIN_S = 0.1  # kept by trim_silence on both sides

_SMOOTHING = np.full(3, 1 / 3, np.float32)  # frames: a deep voice has one period in 10 ms
_SILENCE_DB = -120.0  # digital silence; 16-bit recordings stay above -100
_FLOOR_SHARE = 0.1  # of the frames are quieter than the noise floor
_PEAK_SHARE, _PEAK_FRAMES = 0.02, 20  # of the frames, at most so many, are louder than the peak
_LEAST_RANGE_DB = 6.0  # between floor and peak; steady noise spreads by 1-3 dB
_ABOVE_FLOOR = 0.3  # of the range between floor and peak
_BELOW_PEAK_DB = 35.0  # what is quieter than that is no speech, however low the floor
_SHORTEST = 5  # frames: shorter bursts are clicks
_BEFORE, _AFTER = 5, 15  # frames of hangover: soft onsets; endings and the pauses inside a word

_SNR_RANGE_DB = (-10.0, 60.0)
_FULL_SCALE = 0.998  # a resampled or coded plateau ripples a little
_NEAR_CEILING = 0.9995
_LOWEST_CEILING = 0.05  # plateaus below it are coarse quantisation, not clipping


@dataclass(frozen=True)
class Quality:
    """How good a recording is.

    Attributes:
        duration_s: seconds in all.
        speech_seconds: seconds of speech.
        snr_db: power of speech over power of what is not speech, in [-10, 60] dB; -10 if there is
            no speech.
        clipped: fraction of the samples that lie on a plateau at full scale or at the ceiling of
            the recording.
    """

    duration_s: float
    speech_seconds: float
    snr_db: float
    clipped: float


def speech_frames(wave: Wave) -> SpeechFrames:
    """Which frames of 10 ms are speech, ``(samples // 160,)``: energy with hangover."""
    return _speech(_power(wave))


def trim_silence(wave: Wave, speech: SpeechFrames | None = None) -> Wave:
    """The wave from 0.1 s before its first speech to 0.1 s after its last; all of it if none.

    Args:
        wave: ``(samples,)``.
        speech: its :func:`speech_frames`, where they are known already.
    """
    found = np.flatnonzero(speech_frames(wave) if speech is None else speech)
    if not len(found):
        return wave
    margin = round(_MARGIN_S * SAMPLE_RATE)
    start = max(0, int(found[0]) * _FRAME - margin)
    return wave[start : (int(found[-1]) + 1) * _FRAME + margin]


def quality(wave: Wave) -> Quality:
    """Seconds of speech, signal-to-noise ratio and clipping of a wave ``(samples,)``."""
    return quality_and_speech(wave)[0]


def quality_and_speech(wave: Wave) -> tuple[Quality, SpeechFrames]:
    """:func:`quality` and :func:`speech_frames` for the price of one."""
    power = _power(wave)
    speech = _speech(power)
    found = Quality(
        duration_s=len(wave) / SAMPLE_RATE,
        speech_seconds=float(speech.sum() * FRAME_S),
        snr_db=_snr_db(power, speech),
        clipped=_clipped(wave),
    )
    return found, speech


def _power(wave: Wave) -> npt.NDArray[np.float32]:
    """Mean square of every frame around its own mean: no offset, little rumble."""
    frames = wave[: len(wave) // _FRAME * _FRAME].reshape(-1, _FRAME)
    centred = frames - frames.mean(axis=1, keepdims=True)
    power: npt.NDArray[np.float32] = np.einsum("ij,ij->i", centred, centred) / _FRAME
    return power


def _speech(power: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    if len(power) < _SHORTEST:
        return np.zeros(len(power), np.bool_)
    smooth = np.convolve(power, _SMOOTHING, mode="same")
    level_db = 10 * np.log10(np.maximum(smooth, 10 ** (_SILENCE_DB / 10)))
    ranked = np.sort(level_db)
    floor_db = ranked[int(_FLOOR_SHARE * len(ranked))]
    peak_db = ranked[-1 - min(int(_PEAK_SHARE * len(ranked)), _PEAK_FRAMES)]
    range_db = peak_db - floor_db
    if range_db < _LEAST_RANGE_DB:
        return np.zeros(len(power), np.bool_)
    return _with_hangover(level_db > peak_db - min(_BELOW_PEAK_DB, (1 - _ABOVE_FLOOR) * range_db))


def _with_hangover(loud: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The runs that are no clicks, each widened on both sides."""
    edges = np.flatnonzero(np.diff(loud, prepend=False, append=False))
    starts, ends = edges[::2], edges[1::2]
    lasting = ends - starts >= _SHORTEST
    change = np.zeros(len(loud) + 1, np.int64)
    np.add.at(change, np.maximum(starts[lasting] - _BEFORE, 0), 1)
    np.add.at(change, np.minimum(ends[lasting] + _AFTER, len(loud)), -1)
    return np.cumsum(change[:-1]) > 0


def _snr_db(power: npt.NDArray[np.float32], speech: npt.NDArray[np.bool_]) -> float:
    lowest, highest = _SNR_RANGE_DB
    if not speech.any():
        return lowest
    # where all is speech, its quietest moment stands for the noise
    noise = float(power[~speech].mean() if not speech.all() else power.min())
    signal = float(power[speech].mean()) - noise
    if signal <= 0:
        return lowest
    return float(np.clip(10 * np.log10(signal / max(noise, 1e-12)), lowest, highest))


def _clipped(wave: Wave) -> float:
    """Fraction of samples in runs of three and more at full scale or at the wave's own ceiling."""
    if not len(wave):
        return 0.0
    top, bottom = float(wave.max()), float(wave.min())
    at_ceiling = np.zeros(len(wave), np.bool_)
    if top > max(bottom, _LOWEST_CEILING):
        at_ceiling |= wave >= min(_FULL_SCALE, _NEAR_CEILING * top)
    if bottom < min(top, -_LOWEST_CEILING):
        at_ceiling |= wave <= max(-_FULL_SCALE, _NEAR_CEILING * bottom)
    edges = np.flatnonzero(np.diff(at_ceiling, prepend=False, append=False))
    runs = edges[1::2] - edges[::2]
    return float(runs[runs >= 3].sum() / len(wave))
