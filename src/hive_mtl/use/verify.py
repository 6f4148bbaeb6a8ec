"""Is it the same voice?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from numbers import Real
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from hive_mtl.audio import Source, describe_source
from hive_mtl.description import Calibration
from hive_mtl.errors import AudioError, EmbeddingError, ModelError
from hive_mtl.use.embedding import Embedding, require_speech
from hive_mtl.use.normalising import PLAIN, Scale, scale_between
from hive_mtl.use.scoring import Voice, cosine, line_between, pooled, probability, threshold

if TYPE_CHECKING:
    from hive_mtl.use.model import Model

Side = Source | Sequence[Source]
"""One recording, or several of one voice."""

FALSE_ALARM = 0.01
PRIOR = 0.5


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether two sides are the same voice.

    Attributes:
        same: the decision: ``score >= threshold``.
        probability: of 'same voice', by the score and by how long and how clean both sides are.
        score: cosine of the two embeddings.
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
    calibration = calibration_of(model)
    enough = threshold(calibration, false_alarm)
    probability(0.0, prior)  # a prior that cannot be is refused before any work
    sides = recordings_of(a), recordings_of(b)
    embedded = model.embed_stream(chain(*sides))
    left, right = (_voice(side, embedded) for side in sides)
    line = line_between(calibration, left, right)
    score = cosine(left.vector, right.vector)
    scale = _scale(model, calibration, left, right)
    needed = scale.cosine(float(line.score_at(enough)[0]))
    return Verdict(
        same=score >= needed,
        probability=probability(float(line.llr(np.array([scale.score(score)]))[0]), prior),
        score=score,
        threshold=needed,
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


def calibration_of(model: "Model") -> Calibration:
    """How the scores of a model are read.

    Raises:
        ModelError: the model is not calibrated.
    """
    if model.calibration is None:
        raise ModelError(
            f"model {model.description.name}: has no calibration, so its scores have no threshold "
            "or probability: hive-mtl calibrate fits one to pairs of recordings"
        )
    return model.calibration


def cohort_of(model: "Model", calibration: Calibration) -> npt.NDArray[np.float32] | None:
    """The voices ``(voices, dim)`` by which scores are normalised; None where they are cosines.

    Raises:
        ModelError: the calibration is for normalised scores and the model has no cohort.
    """
    if not calibration.normalised:
        return None
    if model.cohort is None:
        raise ModelError(
            f"model {model.description.name}: its calibration is for normalised scores, and the "
            "model file has no cohort to normalise them by: export the model anew"
        )
    return model.cohort


def _scale(model: "Model", calibration: Calibration, left: Voice, right: Voice) -> Scale:
    """Cosines as the calibration takes them."""
    cohort = cohort_of(model, calibration)
    return PLAIN if cohort is None else scale_between(left.vector, right.vector, cohort)


def _voice(side: Sequence[Source], embedded: Iterator[Embedding | EmbeddingError]) -> Voice:
    embeddings = []
    for _, result in zip(side, embedded, strict=False):
        if isinstance(result, EmbeddingError):
            raise AudioError(str(result))
        embeddings.append(result)
    voice = pooled(embeddings)
    require_speech(", ".join(map(describe_source, side)), voice.speech_seconds, voice.snr_db)
    return voice
