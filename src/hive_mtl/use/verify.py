"""Is it the same voice?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from numbers import Real
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from hive_mtl.audio import Source, describe_source
from hive_mtl.errors import AudioError, EmbeddingError
from hive_mtl.use.embedding import ENOUGH_SPEECH_S, Embedding
from hive_mtl.use.scoring import calibration_of, cosine, mean_vector, probability, threshold

if TYPE_CHECKING:
    from hive_mtl.use.model import Model

Side = Source | Sequence[Source]
"""One recording, or several of one voice."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether two sides are the same voice.

    Attributes:
        same: the decision: ``score >= threshold``.
        probability: of 'same voice' where both answers are equally likely beforehand.
        score: cosine of the two embeddings.
        threshold: the score at which the chosen rate of false alarms is reached.
    """

    same: bool
    probability: float
    score: float
    threshold: float


def verify(model: "Model", a: Side, b: Side, *, false_alarm: float = 0.01) -> Verdict:
    """Compares two sides; see :meth:`hive_mtl.Model.verify`."""
    calibration = calibration_of(model.description)
    at = threshold(calibration, false_alarm)
    sides = recordings_of(a), recordings_of(b)
    embedded = model.embed_stream(chain(*sides))
    left, right = (_side_vector(side, embedded) for side in sides)
    score = cosine(left, right)
    return Verdict(
        same=score >= at,
        probability=probability(calibration, score),
        score=score,
        threshold=at,
    )


def recordings_of(side: Side) -> Sequence[Source]:
    """The recordings of a side; ``(samples, sample_rate)`` is one recording, not two.

    Raises:
        AudioError: there is none.
    """
    if not isinstance(side, list | tuple) or (len(side) == 2 and isinstance(side[1], Real)):
        return [cast(Source, side)]
    if not side:
        raise AudioError("no recordings on one side: give one or more")
    return side


def _side_vector(
    side: Sequence[Source], embedded: Iterator[Embedding | EmbeddingError]
) -> npt.NDArray[np.float32]:
    vectors = []
    speech_s = 0.0
    for _, result in zip(side, embedded, strict=False):
        if isinstance(result, EmbeddingError):
            raise AudioError(str(result))
        vectors.append(result.vector)
        speech_s += result.speech_seconds
    if speech_s < ENOUGH_SPEECH_S:
        raise AudioError(
            f"{', '.join(map(describe_source, side))}: not enough speech ({speech_s:.1f} s): "
            f"give {ENOUGH_SPEECH_S:g} s or more on each side"
        )
    return mean_vector(np.stack(vectors))
