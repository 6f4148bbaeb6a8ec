"""Which of the voices that are heard together in a recording are enrolled ones."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hive_mtl.use.comparing import calibration_of, compare
from hive_mtl.use.identify import SCORED, Inquiry, weigh
from hive_mtl.use.scoring import Voice
from hive_mtl.use.stores import Nearest, Neighbour, Store

if TYPE_CHECKING:
    from hive_mtl.use.model import Model

Known = Mapping[str, Voice] | Store
"""Enrolled voices: by name, or a store, of which only those nearest are read."""

Near = Callable[[npt.NDArray[np.float32]], Nearest]
"""A unit vector ``(dim,)`` -> the enrolled voices that may be meant by it."""


def near_among(model: "Model", known: Known) -> Near:
    """How enrolled voices are looked up.

    Raises:
        ModelError: the model is not calibrated, or the store belongs to another.
    """
    calibration_of(model)
    if isinstance(known, Store):
        model_id = model.description.model_id
        known.check_model(model_id)
        return lambda vector: known.nearest(vector, SCORED, model_id)
    everyone = Nearest(len(known), tuple(Neighbour(*each) for each in known.items()))
    return lambda _: everyone


def recognise(
    model: "Model", near: Near, heard: npt.NDArray[np.float32], speech_s: Iterable[float]
) -> dict[int, str]:
    """The names of those heard voices that are enrolled ones.

    A name goes to one voice at most, the likeliest pair first; every pair needs the threshold of
    :meth:`hive_mtl.Voices.identify`. The recording is taken to be as clear as what was enrolled.

    Args:
        model: a calibrated one.
        near: where the names come from.
        heard: ``(voices, dim)`` of unit norm.
        speech_s: of each.
    """
    pairs: list[tuple[float, int, str]] = []
    for number, (vector, seconds) in enumerate(zip(heard, speech_s, strict=True)):
        pairs += [
            (llr, number, name) for llr, name in _likely(model, vector, seconds, near(vector))
        ]
    found: dict[int, str] = {}
    for _, number, name in sorted(pairs, key=lambda pair: -pair[0]):
        if number not in found and name not in found.values():
            found[number] = name
    return found


def _likely(
    model: "Model", vector: npt.NDArray[np.float32], speech_s: float, near: Nearest
) -> Sequence[tuple[float, str]]:
    """The log-likelihood ratio and name of those enrolled voices that it is likely to be."""
    if not near.enrolled:
        return []
    enrolled = [each.voice for each in near.neighbours]
    heard = [replace(each, vector=vector, speech_seconds=speech_s) for each in enrolled]
    llr = compare(model, heard, enrolled).llr
    enough = weigh(calibration_of(model), llr, near.enrolled, Inquiry()).enough
    return [
        (ratio, each.name)
        for ratio, each in zip(llr.tolist(), near.neighbours, strict=True)
        if ratio >= enough
    ]
