"""Who speaks when as a picture: a lane for each voice."""

from importlib.util import find_spec
from pathlib import Path

from hive_mtl.atomic import atomic_write
from hive_mtl.drawing import plain, save
from hive_mtl.errors import MissingExtraError
from hive_mtl.use.diarize import Diarization

PICTURES = (".png", ".svg")
_LANE_IN, _MARGINS_IN, _WIDTH_IN = 0.45, 1.1, 11.0
_MINUTES_FROM_S = 180.0


def check_timeline() -> None:
    """Lets pass where pictures can be drawn.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingExtraError("a picture of who speaks when", "analysis")


def draw_timeline(path: Path, found: Diarization, title: str) -> None:
    """Draws a PNG or SVG, by the suffix of ``path``.

    Raises:
        DataError: the file cannot be written.
        MissingExtraError: Matplotlib is not installed.
    """
    check_timeline()
    from matplotlib import colormaps  # here, because it is slow to import
    from matplotlib.figure import Figure

    names = found.speakers
    minutes = found.turns[-1].end_s > _MINUTES_FROM_S
    unit_s = 60.0 if minutes else 1.0
    figure = Figure((_WIDTH_IN, _MARGINS_IN + _LANE_IN * len(names)), layout="constrained")
    axes = figure.add_subplot()
    for lane, name in enumerate(names):
        own = [turn for turn in found.turns if turn.speaker == name]
        spans = [(turn.start_s / unit_s, (turn.end_s - turn.start_s) / unit_s) for turn in own]
        axes.broken_barh(spans, (lane - 0.35, 0.7), color=colormaps["tab10"](lane % 10))
    spoken = [
        sum(turn.end_s - turn.start_s for turn in found.turns if turn.speaker == name)
        for name in names
    ]
    axes.set_yticks(
        range(len(names)),
        [plain(f"{name} ({each:.0f} s)") for name, each in zip(names, spoken, strict=True)],
    )
    axes.set(ylim=(len(names) - 0.5, -0.5), xlabel="minutes" if minutes else "seconds")
    axes.set_xlim(left=0.0)
    axes.set_title(plain(title), loc="left")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    with atomic_write(path) as temporary:
        save(figure, temporary, format=path.suffix[1:].lower(), dpi=120)
