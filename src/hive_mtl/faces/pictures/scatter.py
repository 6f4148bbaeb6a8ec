"""A map as a PNG."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

_NAMED = 24  # labels that a legend has room for
_CROWD = 250  # points beyond which each is drawn smaller
_GREY = (0.65, 0.65, 0.65, 1.0)


def draw_scatter(
    places: npt.NDArray[np.float64],
    colours: Sequence[int],
    names: Sequence[str],
    grey: int | None,
    path: Path,
    title: str,
) -> None:
    """Draws points at ``places`` ``(points, 2)``; a legend names the first colours.

    Args:
        places: at any scale.
        colours: ``(points,)`` numbers of ``names``.
        names: of the colours.
        grey: the colour that stands for no label.
        path: of the PNG.
        title: above it.
    """
    from matplotlib import colormaps  # here, because it is slow to import
    from matplotlib.figure import Figure

    wheel = colormaps["hsv"]
    told_apart = next((colormaps[f"tab{most}"] for most in (10, 20) if len(names) <= most), None)
    palette = [
        told_apart(number) if told_apart else wheel(number / len(names))
        for number in range(len(names))
    ]
    if grey is not None:
        palette[grey] = _GREY
    size = max(10.0, min(60.0, 60.0 * _CROWD / len(places)))
    figure = Figure(figsize=(9.6, 6.4), layout="constrained")
    axes = figure.add_subplot()
    colour_of = np.asarray(colours)
    for number, name in enumerate(names):
        x, y = places[colour_of == number].T
        label = name if number < _NAMED else None
        axes.scatter(
            x, y, s=size, color=palette[number], edgecolors="white", linewidths=0.4, label=label
        )
    axes.set_title(_plain(title), loc="left")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("0.85")
    more = f"and {len(names) - _NAMED} more" if len(names) > _NAMED else None
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, title=more)
    for text in legend.get_texts():
        text.set_text(_plain(text.get_text()))
    figure.savefig(path, format="png", dpi=120)


def _plain(text: str) -> str:
    """Text as it is: matplotlib reads what stands between two dollar signs as a formula."""
    return text.replace("$", r"\$")
