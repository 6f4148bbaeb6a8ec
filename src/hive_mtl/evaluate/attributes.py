"""Attributes: what the task heads answer, against the labels of the table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hive_mtl import metrics
from hive_mtl.description import HeadDescription
from hive_mtl.errors import DataError
from hive_mtl.evaluate.bootstrap import Bootstrap, Draw, Estimate
from hive_mtl.evaluate.embedded import EmbeddedTable
from hive_mtl.learn.tasks import get_task
from hive_mtl.learn.tasks._base import Label, label_spans
from hive_mtl.use.attributes import Answer, decode

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Values = npt.NDArray[Any]  # (utterances,) class names or numbers

ALL_CORPORA = "(all)"
BALANCED_ACCURACY = "balanced accuracy"
MEAN_ABSOLUTE_ERROR = "mean absolute error"


@dataclass(frozen=True)
class Attribute:
    """One head on one corpus, over utterances of any length.

    Attributes:
        task: what the head answers.
        corpus: its name, or "(all)".
        metric: :data:`BALANCED_ACCURACY`, a fraction, or :data:`MEAN_ABSOLUTE_ERROR`, in ``unit``.
        unit: of an error.
        speakers: who is labelled; an unknown speaker counts as a voice of its own.
        utterances: with a label that the head can answer. One without a vector is an error: of a
            class, or as far from the label as the range of the head allows.
        unknown: utterances left out because the head does not know their class.
        classes: how many occur; 0 for a quantity.
        value: None where only one class occurs.
        guess: the figure of the best constant answer; for a quantity, the median of these labels.
        withheld: the model does not answer this when it is asked.
        calibration_error: expected calibration error of a class's probability, a fraction; None for
            a quantity, or without utterances.
        interval_coverage: how much of the labels lies in the intervals of a quantity, which are
            meant to hold four fifths of them; None for a class.
    """

    task: str
    corpus: str
    metric: str
    unit: str
    speakers: int
    utterances: int
    unknown: int
    classes: int
    value: Estimate | None
    guess: float | None
    withheld: bool = False
    calibration_error: float | None = None
    interval_coverage: Estimate | None = None


def judge_head(
    embedded: EmbeddedTable, head: HeadDescription, bootstrap: Bootstrap
) -> list[Attribute]:
    """The figures of a head on every corpus that is labelled for it, and on all of them together.

    A label with a width, such as a decade, stands for its middle.
    """
    labels = get_task(head.task).labels_of(embedded.table)
    answers = [
        None if outputs is None else decode(head, outputs[head.task]) for outputs in embedded.heads
    ]
    read = _read_classes if head.kind == "classes" else _read_quantities
    judge = _Judge(head, read(head, labels, answers), embedded.voice, bootstrap)
    usable = judge.found.usable
    labelled = np.array([label is not None for label in labels], dtype=np.bool_)
    parts = [(name, embedded.corpus == name) for name in embedded.corpora]
    parts = [(name, part & labelled) for name, part in parts if (part & labelled).any()]
    if len(parts) > 1:
        parts.append((ALL_CORPORA, labelled))
    return [
        judge.figures(name, np.flatnonzero(part & usable), int((part & ~usable).sum()))
        for name, part in parts
    ]


@dataclass(frozen=True)
class _Found:
    """What was to be answered and what was, each ``(utterances,)``.

    Attributes:
        truth: the labels.
        predicted: the answers; as wrong as can be where there is none.
        usable: where there is a label that the head can answer.
        confidence: probability of a class, NaN where there is no answer; for a quantity, how much
            of the label lies in the interval.
    """

    truth: Values
    predicted: Values
    usable: Bools
    confidence: Floats


@dataclass(frozen=True)
class _Judge:
    head: HeadDescription
    found: _Found
    voice: Indices
    bootstrap: Bootstrap

    def figures(self, corpus: str, rows: Indices, unknown: int) -> Attribute:
        truth, predicted = self.found.truth[rows], self.found.predicted[rows]
        speakers, speaker = np.unique(self.voice[rows], return_inverse=True)
        by_class = self.head.kind == "classes"
        classes = len(set(truth)) if by_class else 0
        metric = metrics.balanced_accuracy if by_class else metrics.mean_absolute_error

        def figure(draw: Draw) -> list[float]:
            weights = draw[speaker]
            if by_class and len(set(truth[weights > 0])) < 2:
                raise DataError(f"{corpus}: fewer than two classes drawn")
            return [metric(predicted, truth, weights)]

        value = guess = None
        if classes > 1 or (not by_class and len(rows)):
            value = self.bootstrap.estimate(figure, len(speakers))[0]
            guess = 1 / classes if by_class else float(np.abs(truth - np.median(truth)).mean())
        return Attribute(
            task=self.head.task,
            corpus=corpus,
            metric=BALANCED_ACCURACY if by_class else MEAN_ABSOLUTE_ERROR,
            unit=self.head.unit,
            speakers=len(speakers),
            utterances=len(rows),
            unknown=unknown,
            classes=classes,
            value=value,
            guess=guess,
            withheld=bool(self.head.withheld),
            calibration_error=self._calibration_error(rows) if by_class else None,
            interval_coverage=None if by_class else self._interval_coverage(rows),
        )

    def _calibration_error(self, rows: Indices) -> float | None:
        if not len(rows):
            return None
        right = self.found.predicted[rows] == self.found.truth[rows]
        return metrics.expected_calibration_error(self.found.confidence[rows], right)

    def _interval_coverage(self, rows: Indices) -> Estimate | None:
        if not len(rows):
            return None
        inside = self.found.confidence[rows]
        speakers, speaker = np.unique(self.voice[rows], return_inverse=True)

        def share(draw: Draw) -> list[float]:
            return [float(np.average(inside, weights=draw[speaker]))]

        return self.bootstrap.estimate(share, len(speakers))[0]


def _read_classes(
    head: HeadDescription, labels: Sequence[Label | None], answers: Sequence[Answer | None]
) -> _Found:
    return _Found(
        truth=np.array(labels, dtype=object),
        predicted=np.array([None if a is None else a.value for a in answers], dtype=object),
        usable=np.array([label in head.classes for label in labels], dtype=np.bool_),
        confidence=np.array([np.nan if a is None else a.probability for a in answers]),
    )


def _read_quantities(
    head: HeadDescription, labels: Sequence[Label | None], answers: Sequence[Answer | None]
) -> _Found:
    spans = label_spans(labels)
    truth = spans.mean(axis=1)
    farthest = np.where(truth - head.low > head.high - truth, head.low, head.high)
    answered = np.array([np.nan if a is None else float(a.value) for a in answers])
    nowhere = (np.nan, np.nan)
    low, high = np.array([a.interval if a and a.interval else nowhere for a in answers]).T
    inside = np.minimum(spans[:, 1], high) - np.maximum(spans[:, 0], low)
    return _Found(
        truth=truth,
        predicted=np.where(np.isnan(answered), farthest, answered),
        usable=~np.isnan(truth),
        confidence=np.nan_to_num(np.maximum(inside, 0) / (spans[:, 1] - spans[:, 0])),
    )
