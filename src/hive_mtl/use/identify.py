"""Whose voice is it, of those enrolled, if anybody's?

Before anything is heard, the voice is one of the ``N`` enrolled with ``prior``, each alike, or it
is somebody else's. A log-likelihood ratio compares 'voice i' with 'somebody else', here with the
strangers of this very recording (see :mod:`hive_mtl.use.strangers`), so after Bayes (Brummer and de
Villiers, The speaker partitioning problem, Odyssey 2010, for one recording)

    P(voice i)  is proportional to  prior / N * exp(llr_i),
    P(unknown)  is proportional to  1 - prior.

The decision is another question: whether the best candidate scores higher than all but
``false_alarm`` of the recordings of others would with the best of ``N``.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hive_mtl.description import Calibration
from hive_mtl.errors import ConfigError
from hive_mtl.use.comparing import calibration_of, compare
from hive_mtl.use.normalising import Floats
from hive_mtl.use.scoring import Voice, probability
from hive_mtl.use.stores import Nearest, Store
from hive_mtl.use.strangers import strangers_of
from hive_mtl.use.verify import FALSE_ALARM, PRIOR, Side, voice_of

if TYPE_CHECKING:
    from hive_mtl.use.model import Model

CANDIDATES = 5
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
        candidates: the likeliest first.
        unknown: the probability that nobody of those enrolled is heard. What is left to 1 after it
            and the candidates' is that of the enrolled voices that are not listed.
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
        false_alarm: the share of recordings of others that is meant to be taken for any of the
            voices, however many there are; above 0 and below 1. Of recordings unlike those of
            the calibration it may be many times as much.
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


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """What the log-likelihood ratios of recordings with enrolled voices come to.

    Attributes:
        log_odds: ``(..., near)`` of each voice against 'unknown'.
        enough: ``(...)`` the ratio that the best of the voices needs.
    """

    log_odds: Floats
    enough: Floats


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
    weighed = weigh(calibration_of(model), found.llr, near.enrolled, search)
    needed, log_odds = found.needed(float(weighed.enough)), weighed.log_odds
    total = float(np.logaddexp.reduce(log_odds))  # of 'enrolled' against 'unknown'
    unknown = float(np.exp(-np.logaddexp(0.0, total)))
    order = np.argsort(-found.llr, kind="stable")[: search.k]
    share = np.exp(log_odds[order] - total)
    candidates = tuple(
        Candidate(
            name=near.neighbours[place].name,
            probability=float((1 - unknown) * part),
            score=float(found.cosine[place]),
            threshold=float(needed[place]),
        )
        for place, part in zip(order, share, strict=True)
    )
    known = found.llr[order[0]] >= weighed.enough
    return Identity(candidates[0].name if known else None, candidates, unknown, near.enrolled)


def weigh(calibration: Calibration, llr: Floats, enrolled: int, search: Inquiry) -> Weighed:
    """What the ratios of recordings with the voices near them, ``(..., near)``, come to.

    Raises:
        ModelError: the calibration has fewer than two thresholds.
    """
    strangers = strangers_of(calibration)
    shift = strangers.shift(llr, enrolled)
    prior = math.log(search.prior / enrolled) - math.log1p(-search.prior)
    return Weighed(
        log_odds=strangers.evidence(llr, shift) + prior,
        enough=strangers.threshold(search.false_alarm, enrolled) + shift,
    )
