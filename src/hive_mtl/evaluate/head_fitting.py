"""How sure the heads may be, and which of them are not to be asked: fitted on validation voices."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from hive_mtl.description import HeadDescription
from hive_mtl.evaluate import tables
from hive_mtl.evaluate.attributes import (
    ALL_CORPORA,
    BALANCED_ACCURACY,
    Attribute,
    judge_head,
)
from hive_mtl.evaluate.bootstrap import SEED, Bootstrap
from hive_mtl.evaluate.embedded import EmbeddedTable
from hive_mtl.learn.tasks import get_task
from hive_mtl.learn.tasks._base import Label, label_spans
from hive_mtl.learn.validate import MIN_VOICES
from hive_mtl.use.attributes import class_probabilities, ordinal_distribution

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Likelihood = Callable[[HeadDescription], Floats]  # what a head gives each label ``(utterances,)``

_RESAMPLING = Bootstrap(replicates=1000, seed=SEED)
_LARGEST_TEMPERATURE = 20.0
_LEAST_LIKELIHOOD = 1e-9  # of a label that the head rules out: wrong, but not infinitely so


def fit_heads(
    embedded: EmbeddedTable, heads: Sequence[HeadDescription]
) -> tuple[HeadDescription, ...]:
    """The heads with their temperature, and withheld where they show no skill.

    The temperature makes the labels likeliest (Guo et al., 2017); a label with a width, such as a
    decade, is as likely as the head finds all ages in it together. Each voice counts once and each
    corpus the same.

    A head has skill where it beats the constant answer inside a corpus, with the whole 95% interval
    of its figure: corpora differ in language, accent and microphone, so that a head may do well
    over all of them and know nothing of voices. Corpora of fewer than :data:`MIN_VOICES` labelled
    voices say nothing, unless the temperature has only such.

    Args:
        embedded: utterances of voices that were not learnt from.
        heads: of the model that embedded them.
    """
    return tuple(_fit(embedded, head) for head in heads)


def _fit(embedded: EmbeddedTable, head: HeadDescription) -> HeadDescription:
    labels = get_task(head.task).labels_of(embedded.table)
    rows = np.array(
        [
            row
            for row, (label, outputs) in enumerate(zip(labels, embedded.heads, strict=True))
            if outputs is not None and _can_answer(head, label)
        ],
        dtype=np.int64,
    )
    temperature = 1.0
    if len(rows):
        outputs = np.stack([outputs[head.task] for row in rows if (outputs := embedded.heads[row])])
        likelihood = _likelihood(head, [labels[row] for row in rows], outputs)
        temperature = _likeliest(head, likelihood, _weights(embedded, rows))
    fitted = head.model_copy(update={"temperature": temperature, "withheld": ""})
    doubt = _doubt(judge_head(embedded, fitted, _RESAMPLING))
    return fitted.model_copy(update={"withheld": doubt})


def _can_answer(head: HeadDescription, label: Label | None) -> bool:
    return label in head.classes if head.kind == "classes" else label is not None


def _likelihood(
    head: HeadDescription, labels: Sequence[Label | None], outputs: npt.NDArray[np.float32]
) -> Likelihood:
    """``outputs`` ``(utterances, outputs)`` and their labels, which the head can all answer."""
    if head.kind == "classes":
        right = np.array([head.classes.index(str(label)) for label in labels])
        return lambda tempered: class_probabilities(tempered, outputs)[np.arange(len(right)), right]
    low, high = label_spans(labels).T

    def between(tempered: HeadDescription) -> Floats:
        edges, exceeds = ordinal_distribution(tempered, outputs)
        return _at(low, edges, exceeds) - _at(high, edges, exceeds)

    return between


def _at(points: Floats, edges: Floats, exceeds: Floats) -> Floats:
    """The probability of more than ``points`` ``(utterances,)``, each by its own distribution."""
    points = np.clip(points, edges[0], edges[-1])
    below = np.clip(np.searchsorted(edges, points, side="right") - 1, 0, len(edges) - 2)
    share = (points - edges[below]) / (edges[below + 1] - edges[below])
    row = np.arange(len(points))
    return np.asarray((1 - share) * exceeds[row, below] + share * exceeds[row, below + 1])


def _weights(embedded: EmbeddedTable, rows: Indices) -> Floats:
    """What each utterance counts: voices alike inside a corpus, and corpora alike."""
    _, voice, utterances = np.unique(embedded.voice[rows], return_inverse=True, return_counts=True)
    of_voice = 1 / utterances[voice]
    _, corpus = np.unique(embedded.corpus[rows], return_inverse=True)
    voices = np.bincount(corpus, weights=of_voice)
    enough = voices >= min(MIN_VOICES, voices.max())
    return np.asarray(of_voice / voices[corpus] * enough[corpus])


def _likeliest(head: HeadDescription, likelihood: Likelihood, weights: Floats) -> float:
    def loss(log_temperature: float) -> float:
        tempered = head.model_copy(update={"temperature": float(np.exp(log_temperature))})
        return -float(weights @ np.log(likelihood(tempered) + _LEAST_LIKELIHOOD))

    bound = float(np.log(_LARGEST_TEMPERATURE))
    found = minimize_scalar(loss, bounds=(-bound, bound), method="bounded")
    return round(float(np.exp(found.x)), 3)


def _doubt(figures: Sequence[Attribute]) -> str:
    """Why a head is not to be asked; empty if it beats the constant answer somewhere."""
    judged = [row for row in figures if row.corpus != ALL_CORPORA and row.speakers >= MIN_VOICES]
    judged = [row for row in judged if row.value is not None and row.value.low is not None]
    if not judged:
        return (
            f"never checked: no corpus has {MIN_VOICES} voices or more that it has not met, with "
            "labels that differ"
        )
    if any(map(_has_skill, judged)):
        return ""
    most = max(judged, key=lambda row: row.speakers)
    value, guess = tables.beside_guess(most)
    unit = "%" if most.metric == BALANCED_ACCURACY else most.unit
    return (
        f"no skill on voices it has not met (on {most.corpus}, {most.metric} {value} {unit}; "
        f"a constant answer {guess})"
    )


def _has_skill(row: Attribute) -> bool:
    if row.value is None or row.guess is None or row.value.low is None or row.value.high is None:
        return False
    if row.metric == BALANCED_ACCURACY:
        return row.value.low > row.guess
    return row.value.high < row.guess
