"""Whose voice is it, of those enrolled, if anybody's?

**Probabilities.** Before anything is heard, the voice is one of the ``N`` enrolled with ``prior``,
each alike, or it is somebody else's. A log-likelihood ratio compares 'voice i' with 'somebody
else', so after Bayes (Brummer and de Villiers, The speaker partitioning problem, Odyssey 2010, for
one recording)

    P(voice i)  is proportional to  prior / N * exp(llr_i),
    P(unknown)  is proportional to  1 - prior.

**Decision.** The chance that somebody else is taken for one of ``N`` voices grows with ``N``
(Singer and Reynolds, Analysis of multitarget detection for speaker and language recognition,
Odyssey 2004): were the ``N`` scores independent, it would be ``1 - (1 - p)^N``, where each lets
``p`` pass. So the best candidate must have the log-likelihood ratio that is reached by the share
``p = 1 - (1 - false_alarm)^(1/N)`` of pairs of different voices (Sidak). Scores of one recording
are not independent, which makes fewer false alarms of it, not more. Between the rates at which a
calibration counted its thresholds, and below them, the threshold follows a straight line over the
normal deviate of the rate, as in the plots of Martin et al. (The DET curve in assessment of
detection task performance, 1997).
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from hive_mtl.description import Calibration
from hive_mtl.errors import ConfigError, ModelError
from hive_mtl.use.comparing import calibration_of, compare
from hive_mtl.use.scoring import Voice, probability
from hive_mtl.use.stores import Nearest, Store
from hive_mtl.use.verify import FALSE_ALARM, PRIOR, Side, voice_of

if TYPE_CHECKING:
    from hive_mtl.use.model import Model

CANDIDATES = 5
_DEVIATE = NormalDist().inv_cdf
SCORED = 50  # nearest by cosine; those beyond are taken to be ruled out


@dataclass(frozen=True, slots=True)
class Candidate:
    """An enrolled voice that it may be.

    Attributes:
        name: of the voice.
        probability: that it is this voice.
        score: cosine with its centroid.
        threshold: the score that this pair needs at the chosen rate of false alarms.
    """

    name: str
    probability: float
    score: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose voice it is, of those enrolled.

    Attributes:
        name: of the voice; None is 'unknown': nobody's of those enrolled.
        candidates: the likeliest first. Enrolled voices that are not listed have no probability:
            theirs goes to those listed, in proportion.
        unknown: the probability that nobody of those enrolled is heard; with the candidates' it
            sums to 1.
        enrolled: how many voices there are.
    """

    name: str | None
    candidates: tuple[Candidate, ...]
    unknown: float
    enrolled: int

    @property
    def known(self) -> bool:
        """Whether it is taken for one of the voices."""
        return self.name is not None


@dataclass(frozen=True, slots=True)
class Inquiry:
    """How a voice is looked for.

    Attributes:
        k: how many candidates are listed, at most :data:`SCORED`.
        false_alarm: at most this share of recordings of others is to be taken for any of the
            voices, however many there are; above 0 and below 1.
        prior: probability that the voice is enrolled at all, before it is heard; moves the
            probabilities, not the decision.

    Raises:
        ConfigError: one of them is out of range.
    """

    k: int = CANDIDATES
    false_alarm: float = FALSE_ALARM
    prior: float = PRIOR

    def __post_init__(self) -> None:
        if not 1 <= self.k <= SCORED:
            raise ConfigError(f"k {self.k}: give a number of candidates from 1 to {SCORED}")
        if not 0 < self.false_alarm < 1:
            raise ConfigError(f"false_alarm {self.false_alarm:g}: give a share above 0 and below 1")
        probability(0.0, self.prior)


def identify(model: "Model", store: Store, recording: Side, search: Inquiry) -> Identity:
    """Looks for a voice in a store; see :meth:`hive_mtl.Voices.identify`."""
    calibration_of(model)  # what cannot be answered is said before any work
    voice = voice_of(model, recording)
    near = store.nearest(voice.vector, SCORED, model.description.model_id)
    return decide(model, voice, near, search)


def decide(model: "Model", voice: Voice, near: Nearest, search: Inquiry) -> Identity:
    """Who of the voices that are near it is, if anybody."""
    if not near.enrolled:
        return Identity(None, (), unknown=1.0, enrolled=0)
    found = compare(model, [voice] * len(near.neighbours), [each.voice for each in near.neighbours])
    enough = threshold_among(calibration_of(model), search.false_alarm, near.enrolled)
    needed = found.needed(enough)
    log_odds = found.llr + math.log(search.prior / near.enrolled) - math.log1p(-search.prior)
    total = float(np.logaddexp.reduce(log_odds))  # of 'enrolled' against 'unknown'
    unknown = float(np.exp(-np.logaddexp(0.0, total)))
    order = np.argsort(-found.llr, kind="stable")[: search.k]
    share = np.exp(log_odds[order] - np.logaddexp.reduce(log_odds[order]))
    candidates = tuple(
        Candidate(
            name=near.neighbours[place].name,
            probability=float((1 - unknown) * part),
            score=float(found.cosine[place]),
            threshold=float(needed[place]),
        )
        for place, part in zip(order, share, strict=True)
    )
    known = found.llr[order[0]] >= enough
    return Identity(candidates[0].name if known else None, candidates, unknown, near.enrolled)


def threshold_among(calibration: Calibration, false_alarm: float, voices: int) -> float:
    """The log-likelihood ratio that the best of ``voices`` needs, see the head of this module.

    Raises:
        ModelError: the calibration has fewer than two thresholds.
    """
    points = sorted((float(rate), llr) for rate, llr in calibration.thresholds.items())
    if len(points) < 2:
        raise ModelError(
            "calibration: has no thresholds at two rates of false alarms or more: fit it anew with "
            "hive-mtl calibrate"
        )
    rate = -math.expm1(math.log1p(-false_alarm) / voices)
    place = sum(rate > each for each, _ in points[1:-1])
    (low, at_low), (high, at_high) = points[place : place + 2]
    steepness = (at_high - at_low) / (_DEVIATE(high) - _DEVIATE(low))
    return at_low + steepness * (_DEVIATE(rate) - _DEVIATE(low))
