"""Who might this be: the answers of the task heads."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hive_mtl.audio import Source, describe_source
from hive_mtl.description import HeadDescription
from hive_mtl.use.embedding import require_speech

if TYPE_CHECKING:
    from hive_mtl.use.model import Model

_INTERVAL_MASS = 0.8


@dataclass(frozen=True, slots=True)
class Answer:
    """What one task head says about a voice.

    Attributes:
        value: the likeliest class, or the expected quantity (an age in years, say).
        probability: of the class; for a quantity, that it lies in ``interval``.
        alternatives: probability of every class or range of the quantity, likeliest first.
        interval: for a quantity, from where to where it lies with ``probability``; else None.
    """

    value: str | float
    probability: float
    alternatives: dict[str, float] = field(default_factory=dict)
    interval: tuple[float, float] | None = None


def attributes(model: "Model", source: Source) -> dict[str, Answer]:
    """Answers every task of the model; see :meth:`hive_mtl.Model.attributes`."""
    embedding = model.embed(source)
    require_speech(describe_source(source), embedding.speech_seconds, embedding.snr_db)
    return {head.task: decode(head, embedding.heads[head.task]) for head in model.description.heads}


def decode(head: HeadDescription, output: npt.NDArray[np.float32]) -> Answer:
    """Reads the raw output ``(n,)`` of ``head``."""
    return (
        _decode_classes(head, output) if head.kind == "classes" else _decode_ordinal(head, output)
    )


def _decode_classes(head: HeadDescription, output: npt.NDArray[np.float32]) -> Answer:
    alternatives = _likeliest_first(head.classes, output)
    value, probability = next(iter(alternatives.items()))
    return Answer(value, probability, alternatives)


def _decode_ordinal(head: HeadDescription, output: npt.NDArray[np.float32]) -> Answer:
    """The expected value is ``low`` plus the area under ``P(quantity > t)`` from low to high."""
    edges = np.array([head.low, *head.thresholds, head.high])
    # Nothing forces a network's P(> t) to fall as t rises: repair it.
    exceeds = np.minimum.accumulate([1.0, *output.astype(float), 0.0])
    value = head.low + (exceeds[:-1] + exceeds[1:]) / 2 @ np.diff(edges)
    tail = (1 - _INTERVAL_MASS) / 2
    low, high = np.interp([tail, 1 - tail], 1 - exceeds, edges)
    ranges = [f"{a:g}-{b:g}" for a, b in pairwise(edges)]
    return Answer(
        value=round(float(value), 1),
        probability=_INTERVAL_MASS,
        alternatives=_likeliest_first(ranges, -np.diff(exceeds)),
        interval=(round(float(low), 1), round(float(high), 1)),
    )


def _likeliest_first(
    names: tuple[str, ...] | list[str], probabilities: npt.NDArray[np.floating]
) -> dict[str, float]:
    order = np.argsort(-probabilities, kind="stable")
    return {names[i]: float(probabilities[i]) for i in order}
