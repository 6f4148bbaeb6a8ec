"""Where in an archive of long recordings does a voice speak?

Windows that are like the voice are joined to stretches where they follow each other, and each
stretch is then compared with the voice as ``verify`` compares two recordings: by its mean vector
and all its speech. On validation voices a stretch tells much more than its best window does.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hive_mtl.calibration import Sides, line
from hive_mtl.description import Calibration
from hive_mtl.use.archive import HOP_S, WINDOW_S, Archive, Indexed, Windows
from hive_mtl.use.comparing import calibration_of, cohort_of
from hive_mtl.use.normalising import adaptive_s_norm, cohort_level
from hive_mtl.use.progress import with_progress
from hive_mtl.use.scoring import Voice, mean_vector, probability, threshold
from hive_mtl.use.verify import PRIOR, Side, voice_of

if TYPE_CHECKING:
    from hive_mtl.use.model import Model

FALSE_ALARM = 0.001
_MAYBE = (
    0.01  # windows up to this rate of false alarms are looked at together with their neighbours
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Found:
    """A stretch of a recording in which the voice speaks.

    Attributes:
        path: of the recording.
        start_s: where the stretch begins, to about a second.
        end_s: where it ends.
        probability: of 'same voice', as :class:`hive_mtl.Verdict` has it for these two sides: a
            stretch that was picked out of hours is less sure than its probability.
        score: cosine of the voice and the stretch.
    """

    path: Path
    start_s: float
    end_s: float
    probability: float
    score: float


@dataclass(frozen=True, slots=True)
class Search:
    """What came of looking for a voice.

    Attributes:
        found: the most probable first.
        failed: by path, why a recording could not be searched.
        recordings: how many could.
        hours: how long they are together.
        expected_false: about how many stretches of other voices are to be expected among those
            found: the rate of false alarms times the windows with speech. It grows with the hours.
            On validation voices of one corpus they were a quarter of it, of another 1.5 times.
    """

    found: tuple[Found, ...]
    failed: dict[str, str]
    recordings: int
    hours: float
    expected_false: float


def find(
    model: "Model",
    voice: Side | Voice,
    archive: str | os.PathLike[str],
    *,
    index: str | os.PathLike[str] | None = None,
    false_alarm: float = FALSE_ALARM,
    progress: bool = False,
) -> Search:
    """Looks for a voice in a folder of recordings; see :meth:`hive_mtl.Model.find`."""
    calibration = calibration_of(model)
    enough = threshold(calibration, false_alarm)
    cohort = cohort_of(model, calibration)
    asked = voice if isinstance(voice, Voice) else voice_of(model, voice)
    place = Archive(model, archive, None if index is None else Path(index))
    ear = _Ear(asked, calibration, cohort, enough)
    recordings = with_progress(place, place.size, _size) if progress else place
    found: list[Found] = []
    failed: dict[str, str] = {}
    searched, seconds, windows = 0, 0.0, 0
    for recording in recordings:
        if recording.windows is None:
            failed[str(recording.path)] = recording.problem
            continue
        found += ear.listen(recording.path, recording.windows)
        searched, windows = searched + 1, windows + len(recording.windows.start_s)
        seconds += recording.windows.duration_s
    found.sort(key=lambda each: -each.probability)
    return Search(tuple(found), failed, searched, seconds / 3600, false_alarm * windows)


def stretches(
    start_s: Floats, like: npt.NDArray[np.bool_], hop_s: float = HOP_S
) -> list[npt.NDArray[np.intp]]:
    """The windows of each run of neighbours that are all like the voice.

    Args:
        start_s: ``(windows,)`` where each begins, rising; neighbours begin one hop apart.
        like: ``(windows,)``.
        hop_s: from the beginning of a window to that of the next.
    """
    chosen = np.flatnonzero(like)
    apart = np.diff(start_s[chosen]) > 1.5 * hop_s
    return [run for run in np.split(chosen, np.flatnonzero(apart) + 1) if len(run)]


class _Ear:
    """Knows one voice and hears it in windows.

    Args:
        voice: that is looked for.
        calibration: what scores mean.
        cohort: ``(voices, dim)`` by which scores are normalised; None where they are not.
        enough: the log-likelihood ratio that a stretch needs.
    """

    def __init__(
        self,
        voice: Voice,
        calibration: Calibration,
        cohort: npt.NDArray[np.float32] | None,
        enough: float,
    ) -> None:
        self._voice = voice
        self._calibration = calibration
        self._cohort = cohort
        self._enough = enough
        self._maybe = min(enough, threshold(calibration, _MAYBE))
        self._level = None if cohort is None else cohort_level(voice.vector[None], cohort)[0]

    def listen(self, path: Path, windows: Windows) -> Iterator[Found]:
        """The stretches of a recording in which the voice speaks, in order of time."""
        cosines = windows.vectors.astype(np.float32) @ self._voice.vector
        llr = self._llr(cosines, windows.level, Sides(windows.speech_s, windows.snr_db))
        for run in stretches(windows.start_s, llr >= self._maybe):
            score, sure = self._judge(windows, run)
            if sure >= self._enough:
                start_s, end_s = _ends(windows, run)
                yield Found(path, start_s, end_s, probability(sure, PRIOR), score)

    def _judge(self, windows: Windows, run: npt.NDArray[np.intp]) -> tuple[float, float]:
        """The score of a stretch, and its log-likelihood ratio."""
        speech = windows.speech_s[run]
        vectors = windows.vectors[run].astype(np.float32)
        vector = mean_vector(vectors, speech.astype(np.float32))
        # windows overlap: their speech counts as often as it lies in them
        heard = max(speech.max(), speech.sum() * HOP_S / WINDOW_S)
        noise = np.average(windows.snr_db[run], weights=speech)
        level = None if self._cohort is None else cohort_level(vector[None], self._cohort)
        cosines = np.clip(vector[None] @ self._voice.vector, -1.0, 1.0)
        sides = Sides(np.array([heard]), np.array([noise]))
        return float(cosines[0]), float(self._llr(cosines, level, sides)[0])

    def _llr(
        self, cosines: npt.NDArray[np.float32], level: npt.NDArray[np.floating] | None, sides: Sides
    ) -> Floats:
        """Log-likelihood ratios ``(n,)`` of cosines ``(n,)`` with the voice."""
        scores = cosines.astype(np.float64)
        if self._level is not None and level is not None:
            scores = adaptive_s_norm(scores, level.astype(np.float64), self._level)
        own = self._voice
        asked = Sides(np.full(len(scores), own.speech_seconds), np.full(len(scores), own.snr_db))
        return line(self._calibration, sides, asked).llr(scores)


def _ends(windows: Windows, run: npt.NDArray[np.intp]) -> tuple[float, float]:
    """Where a stretch begins and ends.

    A window tells what fills it, so that one at the edge of the voice lies about half in it: each
    stands for the hop in its middle, but at the ends of the recording.
    """
    first, last = run[0], run[-1]
    start_s, end_s = float(windows.start_s[first]), float(windows.end_s[last])
    margin_s = (WINDOW_S - HOP_S) / 2
    return (
        start_s + margin_s if start_s > 0 else 0.0,
        end_s - margin_s if end_s < windows.duration_s else end_s,
    )


def _size(recording: Indexed) -> int:
    return recording.size
