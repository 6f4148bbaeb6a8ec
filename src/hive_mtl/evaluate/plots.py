"""The pictures of a report: DET curves and the scores behind them."""

from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist

from matplotlib.figure import Figure

from hive_mtl.drawing import add_legend, plain, save
from hive_mtl.evaluate.verification import Curve, Verification

_TICKS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)
_SPAN = (0.0005, 0.97)
_PANELS_A_ROW = 3


def draw_det(verification: Sequence[Verification], path: Path) -> None:
    """Miss over false alarm on normal-deviate axes (Martin et al. 1997), one line a corpus."""
    figure = Figure(figsize=(7, 7), layout="constrained")
    axes = figure.add_subplot()
    lines, names = [], []
    for row, curve in _curves(verification):
        inside = [
            pair for pair in zip(curve.false_alarm, curve.miss, strict=True) if 0 < pair[1] < 1
        ]
        lines += axes.plot(
            [_deviate(false_alarm) for false_alarm, _ in inside],
            [_deviate(miss) for _, miss in inside],
        )
        names.append(f"{row.corpus} (EER {row.eer.value:.1%})" if row.eer else row.corpus)
    span = [_deviate(rate) for rate in _SPAN]
    axes.plot(span, span, color="0.8", linewidth=1, zorder=0)
    axes.set(
        xlim=span,
        ylim=span,
        xlabel="false alarm (%)",
        ylabel="miss (%)",
        title="Detection error trade-off",
        aspect="equal",
    )
    ticks = [_deviate(rate) for rate in _TICKS]
    labels = [f"{100 * rate:g}" for rate in _TICKS]
    axes.set_xticks(ticks, labels)
    axes.set_yticks(ticks, labels)
    axes.grid(color="0.9")
    if names:
        add_legend(axes, lines, names)
    save(figure, path, format="png", dpi=120)


def draw_scores(verification: Sequence[Verification], path: Path) -> None:
    """Histograms of the target and non-target scores, one panel a corpus."""
    curves = _curves(verification)
    columns = max(1, min(len(curves), _PANELS_A_ROW))
    rows = max(1, -(-len(curves) // columns))
    figure = Figure(figsize=(4 * columns, 2.6 * rows), layout="constrained")
    for panel, (row, curve) in enumerate(curves, 1):
        axes = figure.add_subplot(rows, columns, panel)
        for name, counts in (("non-target", curve.nontargets), ("target", curve.targets)):
            shares = [count / max(1, sum(counts)) for count in counts]
            axes.stairs(shares, curve.score, fill=True, alpha=0.6, label=name)
        axes.set(title=plain(row.corpus), xlabel="score", yticks=[])
        axes.legend()
    save(figure, path, format="png", dpi=120)


def _curves(verification: Sequence[Verification]) -> list[tuple[Verification, Curve]]:
    return [(row, row.curve) for row in verification if row.scope == "all" and row.curve]


def _deviate(rate: float) -> float:
    return NormalDist().inv_cdf(rate)
