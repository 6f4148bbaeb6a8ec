"""Who speaks when?"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hive_mtl.audio import SAMPLE_RATE, Source, Wave, describe_source
from hive_mtl.description import ONNX_EMBEDDING
from hive_mtl.errors import AudioError, ConfigError
from hive_mtl.use.embedding import ENOUGH_SPEECH_S
from hive_mtl.use.engine import Engine
from hive_mtl.use.segments import SpeechSegment, speech_segments
from hive_mtl.use.speakers import Hops, Labels, check_installed, means, whose

if TYPE_CHECKING:
    from hive_mtl.use.model import Model
    from hive_mtl.use.recognising import Known

WINDOW_S, HOP_S = 1.5, 0.25
PAUSE_S = 0.5  # of one voice: a shorter one does not end its turn
_WINDOW, _HOP = round(WINDOW_S * SAMPLE_RATE), round(HOP_S * SAMPLE_RATE)
_Recogniser = Callable[[npt.NDArray[np.float32], Iterable[float]], dict[int, str]]
"""Voices ``(voices, dim)`` and the seconds that each speaks -> the names of those enrolled."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One voice speaks.

    Attributes:
        start_s: where in the recording it begins.
        end_s: where it ends.
        speaker: who it is.
    """

    start_s: float
    end_s: float
    speaker: str


@dataclass(frozen=True, slots=True)
class Diarization:
    """Who speaks when in a recording.

    Attributes:
        turns: in order; one voice at a time.
        model_id: the model that heard it.
    """

    turns: tuple[Turn, ...]
    model_id: str

    @property
    def speakers(self) -> tuple[str, ...]:
        """Who speaks, in the order in which they are first heard."""
        return tuple(dict.fromkeys(turn.speaker for turn in self.turns))


def diarize(
    model: "Model",
    engine: Engine,
    source: Source,
    voices: int | None = None,
    known: "Known | None" = None,
) -> Diarization:
    """Tells who speaks when; see :meth:`hive_mtl.Model.diarize`."""
    if voices is not None and voices < 1:
        raise ConfigError(f"voices {voices}: give 1 or more, or none if it is not known")
    check_installed()
    recognise = None if known is None else _recogniser(model, known)  # errors: before any work
    hops = _hops(engine, source)
    labels = whose(hops, voices)
    names = _names(hops, labels, recognise)
    return Diarization(tuple(_turns(hops, labels, names)), model.description.model_id)


def _hops(engine: Engine, source: Source) -> Hops:
    """The speech of a recording in steps of :data:`HOP_S`, and the vector around each.

    Raises:
        AudioError: there is less than a second of speech.
    """
    spans, vectors = [], []
    for span, outputs in engine.run(_windows(source)):
        if outputs is not None:
            spans.append(span)
            vectors.append(outputs[ONNX_EMBEDDING])
    speech_s = sum(end - start for start, end in spans)
    if speech_s < ENOUGH_SPEECH_S:
        raise AudioError(
            f"{describe_source(source)}: not enough speech ({speech_s:.1f} s) to tell who speaks: "
            f"give {ENOUGH_SPEECH_S:g} s or more"
        )
    start_s, end_s = np.array(spans).T
    return Hops(start_s, end_s, np.stack(vectors), WINDOW_S)


def _windows(source: Source) -> Iterator[tuple[tuple[float, float], Wave]]:
    """Where each hop begins and ends, in seconds, and the window around it, inside its segment."""
    for segment in speech_segments(source):
        yield from _windows_of(segment)


def _windows_of(segment: SpeechSegment) -> Iterator[tuple[tuple[float, float], Wave]]:
    length = len(segment.wave)
    for start in range(0, length, _HOP):
        end = min(start + _HOP, length)
        first = max(0, min((start + end - _WINDOW) // 2, length - _WINDOW))
        span = segment.start_s + start / SAMPLE_RATE, segment.start_s + end / SAMPLE_RATE
        yield span, segment.wave[first : first + _WINDOW]


def _recogniser(model: "Model", known: "Known") -> _Recogniser:
    from hive_mtl.use.recognising import near_among, recognise  # here: a model needs no stores

    return partial(recognise, model, near_among(model, known))


def _names(hops: Hops, labels: Labels, recognise: _Recogniser | None) -> list[str]:
    """What each voice is called: an enrolled voice by its name, the others by numbers."""
    speech_s = np.bincount(labels, hops.end_s - hops.start_s)
    named = recognise(means(hops.vectors, labels), speech_s.tolist()) if recognise else {}
    kind = "unknown" if recognise else "speaker"
    numbered = (f"{kind} {number}" for number in count(1))
    others = (name for name in numbered if name not in named.values())
    return [named.get(voice) or next(others) for voice in range(len(speech_s))]


def _turns(hops: Hops, labels: Labels, names: list[str]) -> Iterator[Turn]:
    """Neighbouring hops of one voice together, short pauses included."""
    ends = (np.diff(labels) != 0) | (hops.start_s[1:] - hops.end_s[:-1] >= PAUSE_S)
    first = np.append(0, np.flatnonzero(ends) + 1)
    last = np.append(np.flatnonzero(ends), len(labels) - 1)
    for start, end in zip(first, last, strict=True):
        yield Turn(
            round(float(hops.start_s[start]), 3),
            round(float(hops.end_s[end]), 3),
            names[labels[start]],
        )
