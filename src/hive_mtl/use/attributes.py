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

Float64s = npt.NDArray[np.float64]

INTERVAL_MASS = 0.8  # of a quantity's probability: a tenth on either side is left out


@dataclass(frozen=True, slots=True)
class Answer:
    """What one task head says about a voice.

    Attributes:
        value: the likeliest class, or the expected quantity (an age in years, say).
        probability: of the class; for a quantity, that it lies in ``interval``, as it is meant to:
            the model card says how often it does.
        alternatives: probability of every class or range of the quantity, likeliest first.
        interval: for a quantity, from where to where it lies with ``probability``; else None.
    """

    value: str | float
    probability: float
    alternatives: dict[str, float] = field(default_factory=dict)
    interval: tuple[float, float] | None = None


def attributes(model: "Model", source: Source) -> dict[str, Answer]:
    """Answers every task that may be asked; see :meth:`hive_mtl.Model.attributes`."""
    embedding = model.embed(source)
    require_speech(describe_source(source), embedding.speech_seconds, embedding.snr_db)
    may_be_asked = [head for head in model.description.heads if not head.withheld]
    return {head.task: decode(head, embedding.heads[head.task]) for head in may_be_asked}


def decode(head: HeadDescription, output: npt.NDArray[np.float32]) -> Answer:
    """Reads the raw output ``(n,)`` of ``head``, at its temperature."""
    return (
        _decode_classes(head, output) if head.kind == "classes" else _decode_ordinal(head, output)
    )


def class_probabilities(head: HeadDescription, outputs: npt.NDArray[np.floating]) -> Float64s:
    """The outputs ``(..., classes)`` of a class head as probabilities at its temperature."""
    return _tempered(outputs, head.temperature)


def ordinal_distribution(
    head: HeadDescription, outputs: npt.NDArray[np.floating]
) -> tuple[Float64s, Float64s]:
    """The outputs ``(..., thresholds)`` of an ordinal head as a distribution, at its temperature.

    Returns:
        edges: ``(thresholds + 2,)`` from ``low`` by the thresholds to ``high``.
        exceeds: ``(..., thresholds + 2)`` the probability of more than each edge: falling from 1
            to 0, and straight between the edges.
    """
    above = np.asarray(outputs, dtype=np.float64)
    above = _tempered(np.stack([above, 1 - above], axis=-1), head.temperature)[..., 0]
    certain = np.ones((*above.shape[:-1], 1))
    exceeds = np.concatenate([certain, above, 0 * certain], axis=-1)
    # Nothing forces a network's P(> t) to fall as t rises: repair it.
    return np.array([head.low, *head.thresholds, head.high]), np.minimum.accumulate(exceeds, -1)


def _tempered(probabilities: npt.NDArray[np.floating], temperature: float) -> Float64s:
    """Probabilities ``(..., n)`` whose log-odds are divided by ``temperature``."""
    if temperature == 1.0:
        return np.asarray(probabilities, dtype=np.float64)
    # relative to the likeliest, which no power can bring down to nothing
    relative = probabilities / probabilities.max(axis=-1, keepdims=True)
    powers = np.asarray(relative, dtype=np.float64) ** (1 / temperature)
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _decode_classes(head: HeadDescription, output: npt.NDArray[np.float32]) -> Answer:
    alternatives = _likeliest_first(head.classes, class_probabilities(head, output))
    value, probability = next(iter(alternatives.items()))
    return Answer(value, probability, alternatives)


def _decode_ordinal(head: HeadDescription, output: npt.NDArray[np.float32]) -> Answer:
    """The expected value is ``low`` plus the area under ``P(quantity > t)`` from low to high."""
    edges, exceeds = ordinal_distribution(head, output)
    value = head.low + (exceeds[:-1] + exceeds[1:]) / 2 @ np.diff(edges)
    tail = (1 - INTERVAL_MASS) / 2
    low, high = np.interp([tail, 1 - tail], 1 - exceeds, edges)
    ranges = [f"{a:g}-{b:g}" for a, b in pairwise(edges)]
    return Answer(
        value=round(float(value), 1),
        probability=INTERVAL_MASS,
        alternatives=_likeliest_first(ranges, -np.diff(exceeds)),
        interval=(round(float(low), 1), round(float(high), 1)),
    )


def _likeliest_first(
    names: tuple[str, ...] | list[str], probabilities: npt.NDArray[np.floating]
) -> dict[str, float]:
    order = np.argsort(-probabilities, kind="stable")
    return {names[i]: float(probabilities[i]) for i in order}
