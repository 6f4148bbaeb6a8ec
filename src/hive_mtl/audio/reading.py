"""Any recording -> float32 mono 16 kHz, whole or in blocks."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soxr

from hive_mtl.audio.decoders import Decoder, open_decoder
from hive_mtl.audio.sources import SAMPLE_RATE, Segment, Source, Wave, describe_source
from hive_mtl.errors import AudioError

_LEAD = (
    SAMPLE_RATE // 10
)  # read around a segment, so that filters and codecs have settled inside it
_HIGHEST_SAMPLE = 32_768.0  # above it a float sample is a mistake, and its square soon infinite


def load(source: Source) -> Wave:
    """The whole recording, ``(samples,)`` mono at 16 kHz, never empty; treat it as read-only.

    Channels are averaged. It equals the concatenation of :func:`stream`, and a :class:`Segment`
    equals that slice of the whole. File objects are read from their beginning.

    Raises:
        AudioError: the recording is missing, empty, truncated, damaged, not audio, or holds NaN,
            infinite or absurdly large samples.
    """
    return _joined(list(_waves(source)))


def stream(source: Source, block_s: float = 30.0) -> Iterator[Wave]:
    """The recording in blocks of exactly ``block_s`` seconds (the last one may be shorter).

    Memory stays bounded however long the recording is and whatever its container.

    Raises:
        AudioError: as :func:`load`, as soon as the reading gets there.
    """
    if not 1 / SAMPLE_RATE <= block_s < math.inf:
        raise AudioError(f"blocks of {block_s} s cannot be read: give a number of seconds above 0")
    return _reblocked(_waves(source), round(block_s * SAMPLE_RATE))


def duration_s(source: Source) -> float:
    """Seconds of a recording, from its header where that knows, else by decoding it.

    Raises:
        AudioError: the recording cannot be opened or, where it is decoded, not read.
    """
    with open_decoder(source) as decoder:
        frames = decoder.frames
        if frames is None:
            frames = sum(map(len, decoder.blocks(0, None)))
        whole = float(frames / decoder.rate)
    if not isinstance(source, Segment):
        return whole
    _check(source)
    rest = max(0.0, whole - source.start_s)
    return rest if source.duration_s is None else min(rest, source.duration_s)


@dataclass(frozen=True)
class _Part:
    """What is decoded (frames at the recording's rate), and what is kept of that (at 16 kHz)."""

    start: int = 0
    count: int | None = None
    skip: int = 0
    keep: int | None = None


def _part(source: Source, rate: int) -> _Part:
    """Begins at a multiple of both rates' common period, so that the resampler is in phase."""
    if not isinstance(source, Segment):
        return _Part()
    _check(source)
    start_s, duration = source.start_s, source.duration_s
    period = SAMPLE_RATE // math.gcd(rate, SAMPLE_RATE)
    first = round(start_s * SAMPLE_RATE)
    lead = max(0, first - _LEAD) // period * period
    start = lead * rate // SAMPLE_RATE
    if duration is None:
        return _Part(start, None, first - lead, None)
    stop = round((start_s + duration) * SAMPLE_RATE)
    count = math.ceil((stop + _LEAD) * rate / SAMPLE_RATE) - start
    return _Part(start, count, first - lead, stop - first)


def _check(segment: Segment) -> None:
    start_s, duration = segment.start_s, segment.duration_s
    if not (0 <= start_s < math.inf and (duration is None or 0 < duration < math.inf)):
        raise AudioError(
            f"{describe_source(segment)}: is no part of a recording: give start_s >= 0 and"
            " duration_s > 0"
        )


def _waves(source: Source) -> Iterator[Wave]:
    """The recording in non-empty blocks as they come."""
    where = describe_source(source)
    silent = True
    with open_decoder(source) as decoder:
        part = _part(source, decoder.rate)
        blocks = _sane(decoder, part, where)
        if decoder.rate != SAMPLE_RATE:
            blocks = _resampled(blocks, decoder.rate)
        for wave in _cut(blocks, part.skip, part.keep):
            silent = False
            yield wave
    if silent:
        raise AudioError(f"{where}: holds no samples: give a recording that is long enough")


def _sane(decoder: Decoder, part: _Part, where: str) -> Iterator[Wave]:
    """The decoded blocks; an error where a sample is NaN, infinite or absurdly large."""
    at = part.start
    for block in decoder.blocks(part.start, part.count):
        if not (block.max() <= _HIGHEST_SAMPLE and block.min() >= -_HIGHEST_SAMPLE):
            first = int(np.argmin(np.abs(block) <= _HIGHEST_SAMPLE))
            raise AudioError(
                f"{where}: sample {at + first} ({(at + first) / decoder.rate:.3f} s) is"
                f" {block[first]}: samples lie in [-1, 1], repair or leave out the recording"
            )
        at += len(block)
        yield block


def _resampled(blocks: Iterator[Wave], rate: int) -> Iterator[Wave]:
    """Blocks at 16 kHz; how the input is cut into blocks makes no difference."""
    resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
    for block in blocks:
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _cut(waves: Iterator[Wave], skip: int, keep: int | None) -> Iterator[Wave]:
    """Without the first ``skip`` samples, at most ``keep`` of the rest, and no empty waves."""
    at = -skip
    for wave in waves:
        wanted = wave[max(0, -at) : None if keep is None else max(0, keep - at)]
        at += len(wave)
        if len(wanted):
            yield wanted


def _reblocked(waves: Iterator[Wave], size: int) -> Iterator[Wave]:
    held: list[Wave] = []
    missing = size
    for wave in waves:
        while len(wave) >= missing:
            yield _joined([*held, wave[:missing]])
            wave, held, missing = wave[missing:], [], size
        if len(wave):
            held.append(wave)
            missing -= len(wave)
    if held:
        yield _joined(held)


def _joined(waves: list[Wave]) -> Wave:
    return waves[0] if len(waves) == 1 else np.concatenate(waves)
