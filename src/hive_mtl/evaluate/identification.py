"""Closed-set identification: whose voice is this, of those that enrolled one utterance each?"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hive_mtl import metrics
from hive_mtl.errors import DataError
from hive_mtl.evaluate.bootstrap import Bootstrap, Draw, Estimate
from hive_mtl.evaluate.embedded import EmbeddedTable

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Sessions = npt.NDArray[np.object_]

_ROUNDS = 10


@dataclass(frozen=True)
class Identification:
    """Top-1 accuracy of one corpus, a mean over rounds that each draw the enrolments anew.

    Attributes:
        corpus: its name.
        scope: "all", or "within gender": probes are told from voices of their own gender only, and
            unknown genders are left out, as are genders of which there is one voice.
        speakers: enrolled, with one utterance each.
        probes: identifications tried, over all rounds.
        top1: a fraction; its interval draws the speakers of the probes, not those enrolled. None
            where fewer than two speakers enrol or nothing is left to identify.
    """

    corpus: str
    scope: str
    speakers: int
    probes: int
    top1: Estimate | None


def identify(
    embedded: EmbeddedTable, corpus: str, min_duration_s: float, bootstrap: Bootstrap
) -> list[Identification]:
    """Among all voices of a corpus, then within gender.

    Every speaker enrols one utterance; all other utterances are probes. Where target trials cross
    sessions, so do probes: none is of the session its speaker enrolled in. A probe without a vector
    is an error, as is every probe of a speaker whose enrolment has none.
    """
    utterances = embedded.comparable(corpus, min_duration_s)
    gender = embedded.gender[utterances]
    of_one_gender = [utterances[gender == each] for each in ("female", "male")]
    within = [each for each in of_one_gender if len(set(embedded.voice[each])) > 1]
    crosses = embedded.crosses_sessions(utterances)
    results = []
    for scope, closed_sets in (("all", [utterances]), ("within gender", within)):
        counts = [count_identified(embedded, each, crosses, bootstrap.seed) for each in closed_sets]
        tried, right = np.concatenate([np.empty((2, 0)), *counts], axis=1)
        accuracy = top1(tried, right, bootstrap)
        results.append(Identification(corpus, scope, len(tried), int(tried.sum()), accuracy))
    return results


def count_identified(
    embedded: EmbeddedTable, utterances: Indices, crosses: bool, seed: int
) -> Floats:
    """How many probes of each speaker were tried and identified, ``(2, speakers)``."""
    speakers, speaker = np.unique(embedded.voice[utterances], return_inverse=True)
    sessions = embedded.session[utterances]
    generator = np.random.default_rng(seed)
    tried, right = np.zeros(len(speakers)), np.zeros(len(speakers))
    for _ in range(_ROUNDS):
        order = generator.permutation(len(utterances))
        enrolled = order[np.unique(speaker[order], return_index=True)[1]]
        is_probe = np.ones(len(utterances), dtype=np.bool_)
        is_probe[enrolled] = False
        if crosses:
            is_probe &= other_sessions(sessions, sessions[enrolled][speaker])
        probes = np.flatnonzero(is_probe)
        found = identified(embedded, utterances[probes], utterances[enrolled], speaker[probes])
        tried += np.bincount(speaker[probes], minlength=len(speakers))
        right += np.bincount(speaker[probes], weights=found, minlength=len(speakers))
    return np.stack([tried, right])


def top1(tried: Floats, right: Floats, bootstrap: Bootstrap) -> Estimate | None:
    """Accuracy over the probes of each speaker ``(speakers,)``; None where it is undefined."""
    if len(tried) < 2 or not tried.any():
        return None

    def accuracy(draw: Draw) -> list[float]:
        if draw @ tried == 0:
            raise DataError("identification: no probes drawn")
        return [float(draw @ right / (draw @ tried))]

    return bootstrap.estimate(accuracy, len(tried))[0]


def other_sessions(sessions: Sessions, others: Sessions) -> Bools:
    """Where two sessions ``(utterances,)`` each are known and not the same."""
    pairs = zip(sessions, others, strict=True)
    return np.array([a != b and None not in (a, b) for a, b in pairs], dtype=np.bool_)


def identified(
    embedded: EmbeddedTable, probes: Indices, enrolled: Indices, right: Indices
) -> Bools:
    """``(probes,)`` whether the enrolment of the ``right`` column is the nearest."""
    identified = np.zeros(len(probes), dtype=np.bool_)
    for part, scores in embedded.score_blocks(probes, enrolled):
        scores[embedded.missing[probes[part]]] = -np.inf
        scores[:, embedded.missing[enrolled]] = -np.inf
        identified[part] = metrics.top1(scores, right[part])
    return identified
