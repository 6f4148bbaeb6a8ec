"""Open-set identification: whose voice is this, if it is one of those enrolled at all?"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hive_mtl.description import Calibration
from hive_mtl.errors import DataError
from hive_mtl.evaluate.answers import NOBODY, Answers, answer
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
    "threshold that 1% of the unknown probes pass; none of them, where they are fewer than 100. As "
    "`identify` answers by itself, asked for 1%: known probes taken for their own voice, unknown "
    "ones for anybody's, and the log loss of 'enrolled at all' in bits, both kinds weighing alike "
    "(knowing nothing costs 1)."
)
_ROUNDS = 10


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
        recognised: share of known probes that ``identify`` takes for their own voice; None as
            ``detected`` and where the model is not calibrated, as are the two below.
        false_alarms: share of unknown probes that it takes for a voice; asked for is 1%.
        bits: log loss of its probability of 'enrolled at all', both kinds of probes weighing alike.
    """

    corpus: str
    enrolled: int
    unknown: int
    known_probes: int
    unknown_probes: int
    detected: Estimate | None
    recognised: Estimate | None = None
    false_alarms: Estimate | None = None
    bits: Estimate | None = None


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


@dataclass(frozen=True)
class _Choice:
    """Who enrols with which utterance, and what is left to ask.

    Attributes:
        enrolled: ``(voices,)`` utterances.
        owner: ``(voices,)`` their speakers.
        probes: ``(probes,)`` utterances.
        speaker: ``(probes,)`` who says them.
        known: ``(probes,)`` whether that speaker is enrolled.
    """

    enrolled: Indices
    owner: Indices
    probes: Indices
    speaker: Indices
    known: Bools


@dataclass(frozen=True)
class _Round:
    """What one choice comes to; no answers without a calibration."""

    probes: Probes
    answers: Answers | None

    def figures(self, draw: Draw) -> list[float] | None:
        """Detected and, with answers, theirs; None where a draw leaves no probes of one kind."""
        detected = self.probes.detected(draw)
        if detected is None:
            return None
        return [detected, *(self.answers.figures(draw) if self.answers else ())]


def identify_open_set(
    embedded: EmbeddedTable,
    corpus: str,
    min_duration_s: float,
    bootstrap: Bootstrap,
    calibration: Calibration | None = None,
) -> OpenSet:
    """A mean over rounds that each draw anew who enrols, and with which utterance.

    Every other utterance is a probe; where target trials cross sessions, a known probe is not of
    the session its speaker enrolled in. A known probe without a vector is never detected, an
    unknown one always passes. What ``identify`` answers needs a calibration with thresholds.
    """
    utterances = embedded.comparable(corpus, min_duration_s)
    speakers, speaker = np.unique(embedded.voice[utterances], return_inverse=True)
    generator = np.random.default_rng(bootstrap.seed)
    crosses = embedded.crosses_sessions(utterances)
    choices = [
        _choose(embedded, utterances, speaker, generator, crosses)
        for _ in range(_ROUNDS if len(speakers) > 1 else 0)
    ]
    choices = [each for each in choices if each.known.any() and not each.known.all()]
    if calibration is not None and len(calibration.thresholds) < 2:
        calibration = None
    rounds = [_ask(embedded, calibration, each) for each in choices]

    def figures(draw: Draw) -> list[float]:
        found = [each for round_ in rounds if (each := round_.figures(draw)) is not None]
        if not found:
            raise DataError("open-set identification: no probes of one kind drawn")
        means: list[float] = np.mean(found, axis=0).tolist()
        return means

    count = len(speakers)
    detected, *answered = bootstrap.estimate(figures, count) if rounds else (None,)
    recognised, false_alarms, bits = answered or (None,) * 3
    return OpenSet(
        corpus=corpus,
        enrolled=count // 2,
        unknown=count - count // 2,
        known_probes=sum(int(each.known.sum()) for each in choices),
        unknown_probes=sum(int((~each.known).sum()) for each in choices),
        detected=detected,
        recognised=recognised,
        false_alarms=false_alarms,
        bits=bits,
    )


def _choose(
    embedded: EmbeddedTable,
    utterances: Indices,
    speaker: Indices,
    generator: np.random.Generator,
    crosses: bool,
) -> _Choice:
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
    asked = np.flatnonzero(is_known | ~enrolling[speaker])
    return _Choice(
        enrolled=utterances[chosen[enrolling]],
        owner=np.flatnonzero(enrolling),
        probes=utterances[asked],
        speaker=speaker[asked],
        known=is_known[asked],
    )


def _ask(embedded: EmbeddedTable, calibration: Calibration | None, choice: _Choice) -> _Round:
    nearest, answers = [], []
    for part, scores in embedded.score_blocks(choice.probes, choice.enrolled):
        if calibration is not None:
            asked = choice.probes[part], choice.enrolled
            answers.append(answer(embedded, calibration, *asked, scores))
        scores[:, embedded.missing[choice.enrolled]] = -np.inf
        nearest.append((scores.max(axis=1), scores.argmax(axis=1)))
    score, column = map(np.concatenate, zip(*nearest, strict=True))
    missing, known = embedded.missing[choice.probes], choice.known
    probes = Probes(
        score=np.where(missing, -np.inf, score)[known],
        right=(choice.owner[column] == choice.speaker)[known],
        speaker=choice.speaker[known],
        unknown_score=np.where(missing, np.inf, score)[~known],
        unknown_speaker=choice.speaker[~known],
    )
    if not answers:
        return _Round(probes, None)
    log_odds, column = map(np.concatenate, zip(*answers, strict=True))
    taken_for = np.where(column == NOBODY, NOBODY, choice.owner[column])
    right = ~missing & (taken_for == np.where(known, choice.speaker, NOBODY))
    return _Round(probes, Answers(known, right, log_odds, choice.speaker))
