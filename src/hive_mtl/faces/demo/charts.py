"""The charts of the demonstration's page, as SVG that takes its colours from the page.

Written by hand rather than drawn by matplotlib, so that they follow the light or dark scheme, stay
text, and can be pointed at.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from hive_mtl.evaluate.verification import Curve

_WIDTH, _HEIGHT = 520, 380
_LEFT, _TOP, _RIGHT, _BOTTOM = 64, 16, 504, 316
_RATES = (0.001, 0.01, 0.05, 0.1, 0.2, 0.4)  # ticks of a DET curve
_LOWEST, _HIGHEST = 0.0008, 0.55  # its ends

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """From a quantity to a place along one side of a chart; ``ticks`` are labelled."""

    title: str
    ticks: Sequence[tuple[float, str]]
    place: Callable[[float], float]


def det_curve(curve: Curve, eer: float) -> str:
    """Detection error trade-off on normal-deviate scales (Martin et al., 1997)."""
    ticks = [(rate, f"{rate:.1%}" if rate < 0.01 else f"{rate:.0%}") for rate in _RATES]
    across = Axis("false alarms: different voices accepted", ticks, _deviate(_LEFT, _RIGHT))
    up = Axis("misses: same voice rejected", ticks, _deviate(_BOTTOM, _TOP))
    inside = [
        (across.place(alarm), up.place(miss))
        for alarm, miss in zip(curve.false_alarm, curve.miss, strict=True)
        if min(alarm, miss) >= _LOWEST and max(alarm, miss) <= _HIGHEST
    ]
    x, y = across.place(eer), up.place(eer)
    return _chart(
        f"Detection error trade-off. The two kinds of error are equal at {eer:.1%}.",
        _grid(across, up),
        _line("guide", [(_LEFT, _BOTTOM), (_RIGHT, _TOP)]),
        _line("curve", inside),
        f'<circle class="spot" cx="{x:.1f}" cy="{y:.1f}" r="5"/>',
        # the curve falls to the right: above it there is room beside it, below it before it
        _beside(x, y - 8 if _has_room(x) else y + 20, f"equal error rate {eer:.1%}"),
    )


def score_histogram(curve: Curve, threshold: float | None) -> str:
    """How the scores of pairs of one voice and of two voices are spread."""
    edges = np.array(curve.score)
    counts = [np.array(kind, dtype=np.float64) for kind in (curve.nontargets, curve.targets)]
    shares = [kind / max(kind.sum(), 1) for kind in counts]
    seen = np.flatnonzero(counts[0] + counts[1])
    low, high = edges[seen[0]], edges[seen[-1] + 1]
    tallest = max(share.max() for share in shares)
    marks = [fifth / 5 for fifth in range(math.ceil(low * 5), math.floor(high * 5) + 1)]
    across = Axis(
        "score: cosine of the two embeddings",
        [(mark, f"{mark:.1f}") for mark in marks],
        lambda score: _LEFT + (score - low) / (high - low) * (_RIGHT - _LEFT),
    )
    up = Axis("share of pairs", [], lambda share: _BOTTOM - share / tallest * (_BOTTOM - _TOP - 24))
    parts = [_grid(across, up)]
    for kind, share in zip(("others", "targets"), shares, strict=True):
        outline = _steps(edges[seen[0] : seen[-1] + 2], share[seen[0] : seen[-1] + 1])
        points = [(across.place(edge), up.place(height)) for edge, height in outline]
        parts.append(f'<polygon class="{kind}" points="{_coordinates(points)}"/>')
    summary = "How the scores of pairs of one voice and of pairs of two voices are spread."
    if threshold is not None:
        x = across.place(min(max(threshold, low), high))
        parts.append(f'<path class="guide" d="M{x:.1f} {_TOP + 14} V{_BOTTOM}"/>')
        parts.append(_beside(x, _TOP + 12, "threshold"))
        summary += f" The threshold is {threshold:.2f}."
    return _chart(summary, *parts)


def _deviate(start: float, end: float) -> Callable[[float], float]:
    normal = NormalDist()
    low, high = normal.inv_cdf(_LOWEST), normal.inv_cdf(_HIGHEST)

    def place(rate: float) -> float:
        deviate = normal.inv_cdf(min(max(rate, _LOWEST), _HIGHEST))
        return start + (deviate - low) / (high - low) * (end - start)

    return place


def _steps(
    edges: npt.NDArray[np.float64], heights: npt.NDArray[np.float64]
) -> list[tuple[float, float]]:
    """The outline of a histogram, from the ground to the ground."""
    x, y = np.repeat(edges, 2), np.pad(np.repeat(heights, 2), 1)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _grid(across: Axis, up: Axis) -> str:
    lines = [f'<path class="axis" d="M{_LEFT} {_TOP} V{_BOTTOM} H{_RIGHT}"/>']
    for value, label in across.ticks:
        x = across.place(value)
        lines.append(f'<path class="grid" d="M{x:.1f} {_TOP} V{_BOTTOM}"/>')
        lines.append(f'<text x="{x:.1f}" y="{_BOTTOM + 20}" text-anchor="middle">{label}</text>')
    for value, label in up.ticks:
        y = up.place(value)
        lines.append(f'<path class="grid" d="M{_LEFT} {y:.1f} H{_RIGHT}"/>')
        lines.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    centre, middle = (_LEFT + _RIGHT) / 2, (_TOP + _BOTTOM) / 2
    away = 16 if up.ticks else 40
    turned = f"translate({away} {middle}) rotate(-90)"
    lines.append(f'<text class="title" x="{centre}" y="{_BOTTOM + 48}">{across.title}</text>')
    lines.append(f'<text class="title" transform="{turned}">{up.title}</text>')
    return "".join(lines)


def _line(kind: str, points: Points) -> str:
    return f'<polyline class="{kind}" points="{_coordinates(points)}"/>'


def _beside(x: float, y: float, text: str) -> str:
    """A note on that side of a place where there is room for it."""
    anchor, shift = ("start", 10) if _has_room(x) else ("end", -10)
    style = f'style="text-anchor:{anchor}"'
    return f'<text class="note" x="{x + shift:.1f}" y="{y:.1f}" {style}>{text}</text>'


def _has_room(x: float) -> bool:
    return x < (_LEFT + _RIGHT) / 2


def _coordinates(points: Points) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _chart(summary: str, *parts: str) -> str:
    return (
        f'<svg class="chart" role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        f' aria-label="{escape(summary)}">{"".join(parts)}</svg>'
    )
