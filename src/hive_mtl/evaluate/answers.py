"""What ``identify`` answers by itself to probes whose voice is known to be enrolled, or not."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hive_mtl.calibration import line
from hive_mtl.description import Calibration
from hive_mtl.evaluate.bootstrap import Draw
from hive_mtl.evaluate.embedded import EmbeddedTable
from hive_mtl.use.identify import SCORED, Inquiry, weigh

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

NOBODY = -1


@dataclass(frozen=True)
class Answers:
    """Those of one choice of enrolments.

    Attributes:
        known: ``(probes,)`` whether the speaker is enrolled.
        right: ``(probes,)`` whether the answer is: the own voice, or nobody.
        log_odds: ``(probes,)`` of 'enrolled at all'.
        speaker: ``(probes,)`` their numbers.
    """

    known: Bools
    right: Bools
    log_odds: Floats
    speaker: Indices

    def figures(self, draw: Draw) -> list[float]:
        """Recognised, false alarms and bits where speakers count as in ``draw`` ``(speakers,)``."""
        weight = draw[self.speaker]
        known, unknown = weight * self.known, weight * ~self.known
        bits = np.logaddexp(0, np.where(self.known, -self.log_odds, self.log_odds)) / np.log(2)
        return [
            float(known @ self.right / known.sum()),
            float(unknown @ ~self.right / unknown.sum()),
            float((known @ bits / known.sum() + unknown @ bits / unknown.sum()) / 2),
        ]


def answer(
    embedded: EmbeddedTable,
    calibration: Calibration,
    probes: Indices,
    enrolled: Indices,
    scores: Floats,
) -> tuple[Floats, Indices]:
    """The log-odds of 'enrolled at all' ``(probes,)``, and as which column of ``enrolled`` each is.

    The latter is :data:`NOBODY` where it is unknown. What has no vector is not enrolled, and knows
    nothing as a probe: one bit, and the wrong answer by the caller. ``scores`` are ``(probes,
    enrolled)``.
    """
    columns = np.flatnonzero(~embedded.missing[enrolled])
    if not len(columns):
        return np.zeros(len(probes)), np.full(len(probes), NOBODY)
    sides = embedded.sides(probes[:, None]), embedded.sides(enrolled[columns])
    llr = line(calibration, *sides).llr(scores[:, columns])
    near = np.sort(llr, axis=1)[:, -SCORED:]
    weighed = weigh(calibration, near, len(columns), Inquiry())
    heard = ~embedded.missing[probes]
    is_known = heard & (near[:, -1] >= weighed.enough)
    log_odds = np.where(heard, np.logaddexp.reduce(weighed.log_odds, axis=1), 0.0)
    return log_odds, np.where(is_known, columns[llr.argmax(axis=1)], NOBODY)
