"""Open-set identification: whose voice is this, if it is one of those enrolled at all?"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hive_mtl.errors import DataError
from hive_mtl.evaluate.bootstrap import Bootstrap, Draw, Estimate
from hive_mtl.evaluate.embedded import EmbeddedTable
from hive_mtl.evaluate.identification import other_sessions

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

FALSE_ALARM = 0.01
NOTE = (
    "Half of the speakers enrol one utterance each, the others are unknown; a mean over repeated "
    "choices of both. DIR is the share of known probes whose nearest voice is their own, at a "
    "threshold that 1% of the unknown probes pass; none of them, where they are fewer than 100."
)
_ROUNDS = 10
_PROBES_AT_ONCE = 1024


@dataclass(frozen=True)
class OpenSet:
    """Identification of one corpus where half of the speakers are unknown.

    Attributes:
        corpus: its name.
        enrolled: speakers, with one utterance each; others in every round.
        unknown: all other speakers.
        known_probes: of enrolled speakers, over all rounds.
        unknown_probes: of the others, over all rounds.
        detected: detection and identification rate: the share of known probes whose nearest voice
            is their own, at a threshold that 1% of the unknown probes pass; its interval draws the
            speakers of the probes. None where no round has probes of both kinds.
    """

    corpus: str
    enrolled: int
    unknown: int
    known_probes: int
    unknown_probes: int
    detected: Estimate | None


@dataclass(frozen=True)
class Probes:
    """What the probes of one round scored with the voice that is nearest to each.

    Attributes:
        score: ``(known,)`` of probes whose speaker is enrolled; -inf without a vector.
        right: ``(known,)`` whether that voice is their own.
        speaker: ``(known,)`` their numbers.
        unknown_score: ``(unknown,)`` of the others; +inf without a vector.
        unknown_speaker: ``(unknown,)`` their numbers.
    """

    score: Floats
    right: Bools
    speaker: Indices
    unknown_score: Floats
    unknown_speaker: Indices

    def detected(self, draw: Draw, false_alarm: float = FALSE_ALARM) -> float | None:
        """Detection and identification rate where speakers count as in ``draw`` ``(speakers,)``.

        None where the draw leaves no probes of one kind.

        Source: Phillips, Grother & Micheals, Evaluation methods in face recognition, 2011 (DIR at
        rank 1). A known probe must score above the unknown one at the threshold: where there are
        fewer than ``1 / false_alarm`` of those, above all of them.
        """
        known, unknown = draw[self.speaker], draw[self.unknown_speaker]
        if known.sum() == 0 or unknown.sum() == 0:
            return None
        order = np.argsort(-self.unknown_score, kind="stable")
        passing = np.cumsum(unknown[order])
        first_rejected = int(np.argmax(passing > false_alarm * passing[-1] + 1e-9))
        accepted = self.score > self.unknown_score[order[first_rejected]]
        return float(known @ (accepted & self.right) / known.sum())


def identify_open_set(
    embedded: EmbeddedTable, corpus: str, min_duration_s: float, bootstrap: Bootstrap
) -> OpenSet:
    """A mean over rounds that each draw anew who enrols, and with which utterance.

    Every other utterance is a probe; where target trials cross sessions, a known probe is not of
    the session its speaker enrolled in. A known probe without a vector is never detected, an
    unknown one always passes.
    """
    utterances = embedded.comparable(corpus, min_duration_s)
    speakers, speaker = np.unique(embedded.voice[utterances], return_inverse=True)
    generator = np.random.default_rng(bootstrap.seed)
    crosses = embedded.crosses_sessions(utterances)
    rounds = [
        _round(embedded, utterances, speaker, generator, crosses)
        for _ in range(_ROUNDS if len(speakers) > 1 else 0)
    ]
    rounds = [each for each in rounds if len(each.score) and len(each.unknown_score)]

    def detected(draw: Draw) -> list[float]:
        found = [rate for each in rounds if (rate := each.detected(draw)) is not None]
        if not found:
            raise DataError("open-set identification: no probes of one kind drawn")
        return [float(np.mean(found))]

    return OpenSet(
        corpus=corpus,
        enrolled=len(speakers) // 2,
        unknown=len(speakers) - len(speakers) // 2,
        known_probes=sum(len(each.score) for each in rounds),
        unknown_probes=sum(len(each.unknown_score) for each in rounds),
        detected=bootstrap.estimate(detected, len(speakers))[0] if rounds else None,
    )


def _round(
    embedded: EmbeddedTable,
    utterances: Indices,
    speaker: Indices,
    generator: np.random.Generator,
    crosses: bool,
) -> Probes:
    """One choice of who enrols; ``speaker`` ``(utterances,)`` numbers them."""
    count = int(speaker.max()) + 1
    enrolling = np.zeros(count, dtype=np.bool_)
    enrolling[generator.permutation(count)[: count // 2]] = True
    order = generator.permutation(len(utterances))
    chosen = order[np.unique(speaker[order], return_index=True)[1]]  # (speakers,)
    is_known = enrolling[speaker]
    if crosses:
        sessions = embedded.session[utterances]
        is_known &= other_sessions(sessions, sessions[chosen][speaker])
    is_known[chosen] = False
    known, unknown = np.flatnonzero(is_known), np.flatnonzero(~enrolling[speaker])
    enrolled = utterances[chosen[enrolling]]
    score, nearest = _nearest(embedded, utterances[known], enrolled)
    unknown_score, _ = _nearest(embedded, utterances[unknown], enrolled)
    return Probes(
        score=np.where(embedded.missing[utterances[known]], -np.inf, score),
        right=np.flatnonzero(enrolling)[nearest] == speaker[known],
        speaker=speaker[known],
        unknown_score=np.where(embedded.missing[utterances[unknown]], np.inf, unknown_score),
        unknown_speaker=speaker[unknown],
    )


def _nearest(embedded: EmbeddedTable, probes: Indices, enrolled: Indices) -> tuple[Floats, Indices]:
    """The highest score of each probe ``(probes,)``, and with which column of ``enrolled``."""
    score, nearest = np.empty(len(probes)), np.empty(len(probes), dtype=np.int64)
    for start in range(0, len(probes), _PROBES_AT_ONCE):
        part = slice(start, start + _PROBES_AT_ONCE)
        scores = embedded.score_matrix(probes[part], enrolled)
        scores[:, embedded.missing[enrolled]] = -np.inf
        score[part], nearest[part] = scores.max(axis=1), scores.argmax(axis=1)
    return score, nearest
