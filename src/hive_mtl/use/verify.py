"""Is it the same voice?"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, cast, overload

from hive_mtl.audio import Segment, Source, describe_source
from hive_mtl.errors import AudioError, EmbeddingError, ModelError
from hive_mtl.use.comparing import calibration_of, compare
from hive_mtl.use.embedding import Embedding, require_speech
from hive_mtl.use.scoring import Voice, pooled, probability, threshold

if TYPE_CHECKING:
    from hive_mtl.use.model import Model

Recordings = Source | Sequence[Source]
"""One recording, or several of one voice."""
Heard = Source | Embedding
"""A recording, or what the model made of it before."""
Side = Heard | Sequence[Heard]
"""One of them, or several of one voice."""

FALSE_ALARM = 0.01
PRIOR = 0.5


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether two sides are the same voice.

    Attributes:
        same: the decision: ``score >= threshold``.
        probability: of 'same voice', by the score and by how long and how clean both sides are.
        score: cosine of the two embeddings; tells something beside this pair's ``threshold`` only.
        threshold: the score that these two sides need at the chosen rate of false alarms; above 1
            where they are too short or too noisy for any score to do.
    """

    same: bool
    probability: float
    score: float
    threshold: float


def verify(
    model: "Model", a: Side, b: Side, *, false_alarm: float = FALSE_ALARM, prior: float = PRIOR
) -> Verdict:
    """Compares two sides; see :meth:`hive_mtl.Model.verify`."""
    enough = threshold(calibration_of(model), false_alarm)
    probability(0.0, prior)  # a prior that cannot be is refused before any work
    sides = recordings_of(a), recordings_of(b)
    embedded = _embedded(model, list(chain(*sides)))
    left, right = (_voice(side, embedded) for side in sides)
    found = compare(model, [left], [right])
    score, needed = float(found.cosine[0]), float(found.needed(enough)[0])
    return Verdict(
        same=score >= needed,
        probability=probability(float(found.llr[0]), prior),
        score=score,
        threshold=needed,
    )


@overload
def recordings_of(side: Recordings) -> Sequence[Source]: ...


@overload
def recordings_of(side: Side) -> Sequence[Heard]: ...


def recordings_of(side: Side) -> Sequence[Heard]:
    """The recordings of a side, each once; ``(samples, sample_rate)`` is one recording, not two.

    Raises:
        AudioError: there is none.
    """
    if not isinstance(side, list | tuple) or (len(side) == 2 and isinstance(side[1], Real)):
        return [cast(Heard, side)]
    if not side:
        raise AudioError("no recordings on one side: give one or more")
    return list({place_of(each) or number: each for number, each in enumerate(side)}.values())


def place_of(source: Heard) -> tuple[str, float, float | None] | None:
    """The absolute path, the start and the duration, as a sample has them; None if no file."""
    match source:
        case Segment(path=path, start_s=start_s, duration_s=duration_s):
            return str(Path(path).absolute()), start_s, duration_s
        case str() | os.PathLike():
            return str(Path(source).absolute()), 0.0, None
    return None


def _embedded(model: "Model", recordings: Sequence[Heard]) -> Iterator[Embedding | EmbeddingError]:
    """An embedding of each, in order; those that are given stay as they are.

    Raises:
        ModelError: one that is given was made by another model.
    """
    model_id = model.description.model_id
    for each in recordings:
        if isinstance(each, Embedding) and each.model_id != model_id:
            raise ModelError(
                f"an embedding: made by {each.model_id}, and this model is {model_id}: embed its "
                "recording again"
            )
    made = model.embed_stream(each for each in recordings if not isinstance(each, Embedding))
    for each in recordings:
        yield each if isinstance(each, Embedding) else next(made)


def _name(recording: Heard) -> str:
    return "an embedding" if isinstance(recording, Embedding) else describe_source(recording)


def _voice(side: Sequence[Heard], embedded: Iterator[Embedding | EmbeddingError]) -> Voice:
    embeddings = []
    for _, result in zip(side, embedded, strict=False):
        if isinstance(result, EmbeddingError):
            raise AudioError(str(result))
        embeddings.append(result)
    voice = pooled(embeddings)
    require_speech(", ".join(map(_name, side)), voice.speech_seconds, voice.snr_db)
    return voice


def voice_of(model: "Model", side: Side) -> Voice:
    """The voice in one or more recordings.

    Raises:
        AudioError: a recording fails, or they have too little speech, or noise swallows it.
        ModelError: an embedding was made by another model.
    """
    recordings = recordings_of(side)
    return _voice(recordings, _embedded(model, recordings))
