"""A map as SVG that takes its colours from the page, light or dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

from hive_mtl.faces.pictures.places import fitted

_WIDTH, _HEIGHT, _MARGIN = 960, 560, 28
_CROWD = 250  # marks beyond which each is drawn smaller
_SMALLEST = 0.45
_SHAPES = {
    "circle": '<circle r="7"/>',
    "square": '<rect x="-6.2" y="-6.2" width="12.4" height="12.4" rx="1.5"/>',
    "triangle": '<path d="M0 -8 L8 6 H-8 Z"/>',
}


@dataclass(frozen=True, slots=True)
class Mark:
    """One recording on a map.

    Attributes:
        text: what is said of it when it is pointed at.
        colour: the number of its voice or label, which :func:`style` colours.
        shape: "circle", "square" or "triangle".
    """

    text: str
    colour: int
    shape: str = "circle"


def draw_map(
    places: npt.NDArray[np.float64], marks: Sequence[Mark], styles: Sequence[str], summary: str
) -> str:
    """The map as one ``<svg>`` element.

    Args:
        places: ``(marks, 2)`` at any scale.
        marks: what lies there.
        styles: of each colour, see :func:`style`.
        summary: for those who cannot see it.
    """
    scale = max(_SMALLEST, min(1.0, math.sqrt(_CROWD / len(marks))))
    place = _MARGIN + fitted(places, _WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN)
    drawn = [
        f'<g class="mark" data-recording="{number}" data-voice="{mark.colour}"'
        f' data-label="{escape(mark.text)}" style="{styles[mark.colour]}"'
        f' transform="translate({x:.1f} {y:.1f}) scale({scale:.2g})">{_SHAPES[mark.shape]}</g>'
        for number, (mark, (x, y)) in enumerate(zip(marks, place, strict=True))
    ]
    return (
        f'<svg class="map" role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        f' aria-label="{escape(summary)}">{"".join(drawn)}</svg>'
    )


def style(colour: int, colours: int) -> str:
    """The hue of one of so many colours, for the ``style`` of what has it."""
    return f"--hue:{360 * colour / colours:.0f}"


GREY = "--mark-chroma:0;--hue:0"
"""The style of what has no label."""
