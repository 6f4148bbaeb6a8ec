"""The pictures of a comparison, as SVG: differences with their intervals, gradient cosines."""

import io
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hive_mtl.drawing import plain, save
from hive_mtl.evaluate.compare.results import Against, Comparison
from hive_mtl.evaluate.compare.statistics import Difference
from hive_mtl.evaluate.compare.traces import Cosine

FOREST_NOTE = (
    "Error of the unified model less that of its rival, in percent of the rival's error, with 95% "
    "intervals: left of zero it errs less. The dashed line is the margin of 'not worse'. A hollow "
    "mark has no interval, for want of speakers."
)
COSINES_NOTE = (
    "During the training of the unified model: the cosine between what the losses of two tasks ask "
    "of the output of the trunk, over a whole batch. Above 0 the tasks pull the same way, below 0 "
    "against each other; rows without a label of one of them bring it near 0. A line is the "
    "running mean of one training, a dot a measurement."
)
_COLOURS = {
    "better": "#17693b",
    "not worse": "#3b6ea5",
    "worse": "#a3261c",
    "undecided": "#7a7a7a",
}
_SPAN = 100.0  # percent beyond which an interval is cut off
_RUNNING = 9  # measurements in a running mean


def forest(comparison: Comparison) -> str:
    """One line a task and rival, and below it one a corpus."""
    lines = [line for each in comparison.against for line in _lines(each)]
    figure = Figure(figsize=(8.4, 0.9 + 0.3 * len(lines)), layout="constrained")
    axes = figure.add_subplot()
    margin = 100 * comparison.statistics["margin"]
    reach = min(1.1 * max([margin, *(_reach(found) for _, found, _ in lines)]), _SPAN)
    for place, (_, found, of_task) in enumerate(lines):
        _draw(axes, place, found, of_task, reach)
    axes.axvline(0, color="0.2", linewidth=1)
    axes.axvline(margin, color="0.2", linewidth=1, linestyle="--")
    axes.set(xlim=(-reach, reach), ylim=(len(lines) - 0.5, -0.5))
    axes.set_yticks(range(len(lines)), [plain(name) for name, _, _ in lines])
    axes.set_xlabel("unified errs less   |   difference, % of the rival's error   |   errs more")
    axes.grid(axis="x", color="0.92")
    _legend(axes)
    return _svg(figure)


def _reach(found: Difference) -> float:
    if (relative := found.relative) is None:
        return 0.0
    ends = (relative.value, relative.low, relative.high)
    return max(100 * abs(end) for end in ends if end is not None)


def _draw(axes: Axes, place: int, found: Difference, of_task: bool, reach: float) -> None:
    """One difference; where it lies beyond the picture, an arrow and its value."""
    if (relative := found.relative) is None:
        axes.text(0, place, " n/a", va="center", color="0.4")
        return
    value, colour = 100 * relative.value, _COLOURS[found.verdict]
    fill = "none"
    if relative.low is not None and relative.high is not None:
        ends = [100 * relative.low, 100 * relative.high]
        axes.plot(ends, [place, place], color=colour, linewidth=2.4 if of_task else 1.2)
        fill = "full"
    if abs(value) <= reach:
        mark, size = ("s", 6) if of_task else ("o", 4)
        axes.plot(value, place, mark, color=colour, markersize=size, fillstyle=fill)
        return
    side = 1 if value > 0 else -1
    axes.plot(side * 0.97 * reach, place, ">" if side > 0 else "<", color=colour, markersize=7)
    where = "right" if side > 0 else "left"
    axes.text(side * 0.92 * reach, place, f"{value:+.0f}%", ha=where, va="bottom", color=colour)


def cosines(comparison: Comparison) -> str:
    """One panel a pair of tasks, over the steps of training."""
    pairs: dict[str, list[Cosine]] = {}
    for each in comparison.cosines:
        pairs.setdefault(f"{each.one} and {each.other}", []).append(each)
    columns = min(len(pairs), 3)
    rows = -(-len(pairs) // columns)
    figure = Figure(figsize=(8.4, 2.1 * rows + 0.2), layout="constrained")
    for panel, (name, trainings) in enumerate(pairs.items(), 1):
        axes = figure.add_subplot(rows, columns, panel)
        axes.axhline(0, color="0.2", linewidth=0.8)
        for each in trainings:
            axes.plot(each.steps, each.cosines, ".", color="#3b6ea5", alpha=0.25, markersize=3)
            axes.plot(each.steps, _running_mean(each.cosines), color="#3b6ea5", linewidth=1.4)
        axes.set_title(plain(name), fontsize=10)
        axes.tick_params(labelsize=8)
        largest = max(abs(value) for each in trainings for value in each.cosines)
        axes.set_ylim(-1.1 * largest or -1, 1.1 * largest or 1)
    figure.supxlabel("step", fontsize=9)
    return _svg(figure)


def _lines(against: Against) -> list[tuple[str, Difference, bool]]:
    lines = [(f"{against.task} against {against.rival}", against.difference, True)]
    if len(against.corpora) > 1:
        lines += [(corpus, found, False) for corpus, found in against.corpora.items()]
    return lines


def _legend(axes: Axes) -> None:
    for verdict, colour in _COLOURS.items():
        axes.plot([], [], "s", color=colour, label=verdict)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)


def _running_mean(values: Sequence[float]) -> list[float]:
    parts = [values[max(0, end - _RUNNING) : end] for end in range(1, len(values) + 1)]
    return [sum(part) / len(part) for part in parts]


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "hive-mtl"}):
        save(figure, text, format="svg", transparent=True, metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
