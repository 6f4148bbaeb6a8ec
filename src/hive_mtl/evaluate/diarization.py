"""Diarization error rates on dialogues whose truth is known, by how many voices speak.

The diarization error rate is the time that is missed, falsely heard or given to the wrong voice
over the time that is spoken, voices being matched at best (NIST Rich Transcription, 2009), by
pyannote.metrics. As usual, 0.25 s on each side of every true boundary and what voices say at the
same time are left out; the full rate leaves nothing out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hive_mtl.audio import SAMPLE_RATE
from hive_mtl.evaluate.bootstrap import SEED, Bootstrap, Draw, Estimate
from hive_mtl.evaluate.dialogues import Dialogue
from hive_mtl.use.diarize import Turn
from hive_mtl.use.model import Model

if TYPE_CHECKING:
    from pyannote.core import Annotation

COLLAR_S = 0.25  # on each side of a boundary
REPLICATES = 1000
ALL = "all"
_PARTS = ("missed detection", "false alarm", "confusion")


@dataclass(frozen=True)
class Diarized:
    """Figures over the dialogues of so many voices; intervals draw dialogues anew.

    Attributes:
        voices: how many speak, or "all".
        told: whether the model was told how many.
        dialogues: how many there are.
        counted_right: share of them in which as many voices were found.
        der: diarization error rate, with the collar and without overlaps, a fraction.
        miss: its part that is not heard.
        false_alarm: its part where nobody speaks.
        confusion: its part that is given to the wrong voice.
        full_der: the rate where nothing is left out.
        jer: Jaccard error rate (Ryant et al., 2019), the mean over voices.
    """

    voices: str
    told: bool
    dialogues: int
    counted_right: float
    der: Estimate
    miss: float
    false_alarm: float
    confusion: float
    full_der: Estimate
    jer: Estimate


def judge_diarization(model: Model, dialogues: Iterable[Dialogue]) -> tuple[Diarized, ...]:
    """Diarizes each dialogue twice: not told how many voices speak, and told."""
    heard: dict[tuple[bool, int], list[_Errors]] = {}
    for dialogue in dialogues:
        for told in (False, True):
            voices = dialogue.voices if told else None
            found = model.diarize((dialogue.wave, SAMPLE_RATE), voices=voices)
            errors = _errors(dialogue, found.turns)
            heard.setdefault((told, dialogue.voices), []).append(errors)
    rows = []
    for told in (False, True):
        counts = sorted(voices for is_told, voices in heard if is_told == told)
        rows += [_figures(str(voices), told, heard[told, voices]) for voices in counts]
        together = [each for voices in counts for each in heard[told, voices]]
        rows.append(_figures(ALL, told, together))
    return tuple(rows)


@dataclass(frozen=True)
class _Errors:
    """Of one dialogue, in seconds but for the Jaccard error rate."""

    spoken: float
    parts: tuple[float, ...]  # missed, falsely heard, given to the wrong voice
    full_spoken: float
    full: float
    jer: float
    counted_right: bool


def _errors(dialogue: Dialogue, found: Sequence[Turn]) -> _Errors:
    from pyannote.core import Segment as Span
    from pyannote.core import Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate, JaccardErrorRate

    truth, answer = _annotation(dialogue.turns), _annotation(found)
    whole = Timeline([Span(0.0, len(dialogue.wave) / SAMPLE_RATE)])
    usual = DiarizationErrorRate(collar=2 * COLLAR_S, skip_overlap=True)(
        truth, answer, uem=whole, detailed=True
    )
    jaccard: Any = JaccardErrorRate
    full = DiarizationErrorRate()(truth, answer, uem=whole, detailed=True)
    return _Errors(
        spoken=usual["total"],
        parts=tuple(usual[part] for part in _PARTS),
        full_spoken=full["total"],
        full=sum(full[part] for part in _PARTS),
        jer=jaccard()(truth, answer, uem=whole),
        counted_right=len({turn.speaker for turn in found}) == dialogue.voices,
    )


def _annotation(turns: Sequence[Turn]) -> "Annotation":
    from pyannote.core import Annotation
    from pyannote.core import Segment as Span

    annotation: Any = Annotation()
    for number, turn in enumerate(turns):
        annotation[Span(turn.start_s, turn.end_s), number] = turn.speaker
    return annotation


def _figures(voices: str, told: bool, errors: Sequence[_Errors]) -> Diarized:
    parts = np.array([each.parts for each in errors])
    spoken = np.array([each.spoken for each in errors])
    full = np.array([(each.full, each.full_spoken) for each in errors])
    jer = np.array([each.jer for each in errors])

    def rates(draw: Draw) -> tuple[float, ...]:
        wrong, in_all = draw @ full
        return (
            float(draw @ parts.sum(axis=1) / (draw @ spoken)),
            float(wrong / in_all),
            float(draw @ jer / draw.sum()),
        )

    der, full_der, mean_jer = Bootstrap(REPLICATES, SEED).estimate(rates, len(errors))
    miss, false_alarm, confusion = (parts.sum(axis=0) / spoken.sum()).tolist()
    return Diarized(
        voices=voices,
        told=told,
        dialogues=len(errors),
        counted_right=float(np.mean([each.counted_right for each in errors])),
        der=der,
        miss=miss,
        false_alarm=false_alarm,
        confusion=confusion,
        full_der=full_der,
        jer=mean_jer,
    )
