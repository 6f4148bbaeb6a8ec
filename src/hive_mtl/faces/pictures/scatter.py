"""A map as a PNG."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hive_mtl.drawing import add_legend, plain, save

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
    """Draws points at ``places`` ``(points, 2)``; a legend names the first colours and grey.

    Args:
        places: at any scale.
        colours: ``(points,)`` numbers of ``names``.
        names: of the colours.
        grey: the colour that stands for no label.
        path: of the PNG.
        title: above it.
    """
    from matplotlib import colormaps  # here, because it is slow to import
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

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
    handles: list[Artist] = []
    for number in range(len(names)):
        x, y = places[colour_of == number].T
        drawn = axes.scatter(
            x, y, s=size, color=palette[number], edgecolors="white", linewidths=0.4
        )
        handles.append(drawn)
    axes.set_title(plain(title), loc="left")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("0.85")
    named = [number for number in range(len(names)) if number < _NAMED or number == grey]
    shown, said = [handles[number] for number in named], [names[number] for number in named]
    if len(named) < len(names):
        shown.append(Line2D([], [], linestyle="none"))
        said.append(f"and {len(names) - len(named)} more")
    add_legend(axes, shown, said, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    save(figure, path, format="png", dpi=120)
