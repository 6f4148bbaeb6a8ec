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
from hive_mtl.learn.tasks._base import Label
from hive_mtl.use.attributes import decode

Bools = npt.NDArray[np.bool_]
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


def judge_head(
    embedded: EmbeddedTable, head: HeadDescription, bootstrap: Bootstrap
) -> list[Attribute]:
    """The figures of a head on every corpus that is labelled for it, and on all of them together.

    A label with a width, such as a decade, stands for its middle.
    """
    task = get_task(head.task)
    labels = task.labels_of(embedded.table)
    answers = [
        None if outputs is None else decode(head, outputs[head.task]).value
        for outputs in embedded.heads
    ]
    read = _read_classes if head.kind == "classes" else _read_quantities
    truth, predicted, usable = read(head, labels, answers)
    judge = _Judge(head, truth, predicted, embedded.voice, bootstrap)
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
class _Judge:
    head: HeadDescription
    truth: Values
    predicted: Values
    voice: Indices
    bootstrap: Bootstrap

    def figures(self, corpus: str, rows: Indices, unknown: int) -> Attribute:
        truth, predicted = self.truth[rows], self.predicted[rows]
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
        )


def _read_classes(
    head: HeadDescription, labels: Sequence[Label | None], answers: Sequence[str | float | None]
) -> tuple[Values, Values, Bools]:
    usable = np.array([label in head.classes for label in labels], dtype=np.bool_)
    return np.array(labels, dtype=object), np.array(answers, dtype=object), usable


def _read_quantities(
    head: HeadDescription, labels: Sequence[Label | None], answers: Sequence[str | float | None]
) -> tuple[Values, Values, Bools]:
    middles = [
        np.nan if label is None else (float(label[0]) + float(label[1])) / 2 for label in labels
    ]
    truth = np.array(middles)
    farthest = np.where(truth - head.low > head.high - truth, head.low, head.high)
    missing = np.array([answer is None for answer in answers], dtype=np.bool_)
    answered = np.array([np.nan if answer is None else float(answer) for answer in answers])
    return truth, np.where(missing, farthest, answered), ~np.isnan(truth)
