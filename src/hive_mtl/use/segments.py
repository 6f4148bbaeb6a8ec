"""Stretches of speech in a recording of any length, read block by block."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hive_mtl.audio import SAMPLE_RATE, Source, Wave, speech_frames, stream

FRAME_S = 0.01  # of audio.speech_frames
_FRAME = round(FRAME_S * SAMPLE_RATE)
_BLOCK_S = 20.0
PAUSE_S = 0.3  # a shorter pause does not end a stretch of speech
SHORTEST_S = 0.2  # what is shorter, hangover included, is no speech
LONGEST_S = 60.0  # a longer stretch is given in parts, so that memory stays bounded

Frames = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class SpeechSegment:
    """A stretch of speech.

    Attributes:
        start_s: where in the recording it begins; a whole number of frames of 10 ms.
        wave: ``(samples,)`` at 16 kHz.
    """

    start_s: float
    wave: Wave

    @property
    def end_s(self) -> float:
        """Where in the recording it ends."""
        return self.start_s + len(self.wave) / SAMPLE_RATE


def speech_segments(source: Source) -> Iterator[SpeechSegment]:
    """The stretches of speech of a recording, in order; at most four minutes of it are held.

    What is speech is told by the levels of a minute: of a block of 20 s and of its neighbours. A
    stretch that goes on for :data:`SHORTEST_S` or more after :data:`LONGEST_S` comes in parts that
    adjoin.

    Raises:
        AudioError: the recording cannot be read, as soon as the reading gets there.
    """
    held, speech, first = np.empty(0, np.float32), np.empty(0, np.bool_), 0
    parted = -_frames(PAUSE_S)  # the frame at which a stretch was parted last
    for block, frames, last in _judged(source):
        held, speech = np.concatenate([held, block]), np.concatenate([speech, frames])
        done = 0  # frames that need not be heard any more
        for start, end in runs(speech, PAUSE_S):
            if first + start - parted < _frames(PAUSE_S):  # it goes on after a part
                start = parted - first
            while end - start >= _frames(LONGEST_S + SHORTEST_S):
                done = start + _frames(LONGEST_S)
                yield _segment(held, first, start, done)
                start = done
                parted = first + done
            if not last and end > len(speech) - _frames(PAUSE_S):
                done = start
                break  # it may go on
            if end - start >= _frames(SHORTEST_S):
                yield _segment(held, first, start, end)
            done = len(speech) if last else end
        else:
            done = max(done, len(speech) - _frames(PAUSE_S))
        held, speech, first = held[done * _FRAME :], speech[done:], first + done


def runs(speech: Frames, pause_s: float) -> list[tuple[int, int]]:
    """Where speech ``(frames,)`` begins and ends, in frames; shorter pauses are part of it."""
    edges = np.flatnonzero(np.diff(speech, prepend=False, append=False))
    if not len(edges):
        return []
    inner = edges[1:-1].reshape(-1, 2)  # where each pause begins and ends
    kept = inner[np.diff(inner, axis=1)[:, 0] >= _frames(pause_s)]
    bounds = np.concatenate([edges[:1], kept.ravel(), edges[-1:]]).reshape(-1, 2)
    return [(int(start), int(end)) for start, end in bounds]


def _frames(seconds: float) -> int:
    return round(seconds / FRAME_S)


def _segment(held: Wave, first: int, start: int, end: int) -> SpeechSegment:
    """A copy: while it waits, a second of speech must not hold minutes."""
    return SpeechSegment((first + start) * FRAME_S, held[start * _FRAME : end * _FRAME].copy())


def _judged(source: Source) -> Iterator[tuple[Wave, Frames, bool]]:
    """Each block, which of its frames are speech, and whether it is the last."""
    blocks = [np.empty(0, np.float32)]  # the one before, the one that is judged, the one after
    for block in stream(source, _BLOCK_S):
        blocks.append(block)
        if len(blocks) == 3:
            yield blocks[1], _middle(blocks), False
            del blocks[0]
    yield blocks[-1], _middle([*blocks[-2:], np.empty(0, np.float32)]), True


def _middle(blocks: list[Wave]) -> Frames:
    """The speech of the second of three blocks, as its neighbours show it."""
    before, block, _ = (len(wave) // _FRAME for wave in blocks)
    return speech_frames(np.concatenate(blocks))[before : before + block]
