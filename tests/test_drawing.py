"""What pictures make of names: they stay as they are, and none ends the drawing or is left out."""

import os
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from hive_mtl.drawing import plain
from hive_mtl.evaluate import plots
from hive_mtl.evaluate.bootstrap import Estimate
from hive_mtl.evaluate.verification import Curve, Verification
from hive_mtl.faces.pictures.scatter import draw_scatter

NASTY = ("$\\frac$ x", "_hidden", "语音", "a\x01\nb", os.fsdecode(b"caf\xe9"), "long " * 60)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *args: object, **how: object) -> None:
        figures.append(figure)
        save(figure, *args, **how)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def legend_of(figure: Figure) -> list[str]:
    legend = figure.axes[0].get_legend()
    assert len(legend.legend_handles) == len(legend.get_texts())
    return [text.get_text().replace(r"\$", "$") for text in legend.get_texts()]


def shown(name: str) -> str:
    return plain(name).replace(r"\$", "$")


def test_short_names_are_shown_as_they_are_and_long_ones_without_their_middle() -> None:
    assert plain("_ann O'Neill-ß 1") == "_ann O'Neill-ß 1"
    assert plain("1$ and 2$") == r"1\$ and 2\$"
    assert plain("a\x01\nb\tc ") == "a b c"
    assert plain(os.fsdecode(b"caf\xe9")) == r"caf\udce9"
    long = plain("a" * 100 + "b" * 100)
    assert long == "a" * 20 + "\N{HORIZONTAL ELLIPSIS}" + "b" * 19
    assert plain("a" * 40) == "a" * 40


@pytest.mark.filterwarnings("error")
def test_plots_of_a_report_take_any_name_of_a_corpus(tmp_path: Path, drawn: list[Figure]) -> None:
    curve = Curve(
        false_alarm=(0.01, 0.1, 0.5),
        miss=(0.5, 0.1, 0.01),
        score=(0.0, 0.5, 1.0),
        targets=(1, 3),
        nontargets=(3, 1),
    )
    eer = Estimate(0.1, None, None)
    rows = [
        Verification(name, "all", 4, 8, 4, 4, 0, False, False, eer, curve=curve) for name in NASTY
    ]
    plots.draw_det(rows, tmp_path / "det.png")
    plots.draw_scores(rows, tmp_path / "scores.png")
    det, scores = drawn
    assert legend_of(det) == [shown(f"{name} (EER 10.0%)") for name in NASTY]
    assert [axes.get_title() for axes in scores.axes] == [plain(name) for name in NASTY]


@pytest.mark.filterwarnings("error")
def test_a_map_names_labels_whatever_they_begin_with(tmp_path: Path, drawn: list[Figure]) -> None:
    names = [*NASTY, "not labelled (2)"]
    places = np.random.default_rng(0).random((len(names), 2))
    draw_scatter(places, range(len(names)), names, len(NASTY), tmp_path / "x.png", NASTY[0])
    assert legend_of(drawn[0]) == [shown(name) for name in names]


@pytest.mark.parametrize("grey", [None, 29])
def test_a_map_of_many_labels_says_how_many_are_not_named_and_always_what_grey_is(
    tmp_path: Path, drawn: list[Figure], grey: int | None
) -> None:
    names = [f"v{number}" for number in range(30)]
    places = np.random.default_rng(0).random((30, 2))
    draw_scatter(places, range(30), names, grey, tmp_path / "x.png", "voices")
    expected = [*names[:24], *(["v29"] if grey else []), f"and {5 if grey else 6} more"]
    assert legend_of(drawn[0]) == expected
    assert drawn[0].axes[0].get_legend().get_title().get_text() == ""
