"""The report of a comparison: JSON for programs, Markdown and one page of HTML for people."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from markupsafe import Markup

from hive_mtl.atomic import atomic_write
from hive_mtl.evaluate.compare import pictures
from hive_mtl.evaluate.compare.plan import SPEAKER, name_of
from hive_mtl.evaluate.compare.results import (
    DECIDING,
    LABELLED,
    PROBES,
    UNIFIED,
    Comparison,
)
from hive_mtl.evaluate.markdown import NOT_DEFINED, percent, table
from hive_mtl.pages import environment

JSON, MARKDOWN, HTML = "compare.json", "compare.md", "compare.html"
PROVISIONAL = (
    "The recipe calls itself provisional: the figures show that the comparison works, and are no "
    "results."
)
Rows = list[list[str]]


def write(comparison: Comparison, folder: Path) -> None:
    """Writes ``compare.json``, ``compare.md`` and ``compare.html``.

    Raises:
        DataError: the folder cannot be written.
    """
    written = {
        JSON: json.dumps(asdict(comparison), indent=1, allow_nan=False),
        MARKDOWN: markdown(comparison),
        HTML: html(comparison),
    }
    for name, text in written.items():
        with atomic_write(folder / name) as path:
            path.write_text(text, encoding="utf-8")


def markdown(comparison: Comparison) -> str:
    """The tables."""
    paragraphs = [f"# Unified against specialised: {comparison.recipe}"]
    paragraphs += [PROVISIONAL] if comparison.provisional else []
    for title, note, header, rows in sections(comparison):
        paragraphs += [f"## {title}", note, table(header, rows)]
    return "\n\n".join(paragraphs) + "\n"


def html(comparison: Comparison) -> str:
    """One page with nothing to fetch: tables, forest plot and gradient cosines."""
    page = environment().get_template("evaluate/compare/page.html")
    return page.render(
        comparison=comparison,
        provisional=PROVISIONAL if comparison.provisional else "",
        quarters=_quarters(comparison.statistics["quarters"]),
        only="" if "specialists" in comparison.statistics["arms"] else f" against {PROBES}",
        sections=sections(comparison),
        forest=Markup(pictures.forest(comparison)),
        cosines=Markup(pictures.cosines(comparison)) if comparison.cosines else "",
        cosines_note=pictures.COSINES_NOTE,
        forest_note=pictures.FOREST_NOTE,
    )


def sections(comparison: Comparison) -> list[tuple[str, str, list[str], Rows]]:
    """(title, note, header, rows) of each table."""
    tasks = list(comparison.tasks)
    return [
        ("Verdicts", _verdict_note(comparison), *_verdicts(comparison)),
        ("Tasks and arms", _ARMS_NOTE, *_arms(comparison, tasks)),
        ("What each embedding knows of the other tasks", _PROBES_NOTE, *_probes(comparison, tasks)),
        ("Differences", _DIFFERENCES_NOTE, *_differences(comparison)),
        ("How long each arm learnt", _steps_note(comparison), *_steps(comparison)),
        ("Costs", _COSTS_NOTE, *_costs(comparison)),
        ("Who learnt, who was judged", _splits_note(comparison), *_splits(comparison)),
    ]


def figure(comparison: Comparison, task: str, error: float | None) -> str:
    """An error as its task tells it: EER %, balanced accuracy %, or an error in its unit."""
    if error is None:
        return NOT_DEFINED
    if comparison.units[task]:
        return f"{error:.2f}"
    return f"{100 * error:.2f}" if task == SPEAKER else f"{100 * (1 - error):.1f}"


def asked(comparison: Comparison, task: str) -> str:
    """A task with the figure by which it is judged."""
    if unit := comparison.units[task]:
        return f"{task} (mean absolute error, {unit})"
    return f"{task} ({'mean EER %' if task == SPEAKER else 'balanced accuracy %'})"


_ARMS_NOTE = (
    "Means over seeds and quarters, each training in brackets. The unified model and the "
    "specialists answer by their own heads; the speaker task is answered by the cosine of two "
    "embeddings. The last model is the unified one without the training utterances that lack the "
    "label of the task."
)
_PROBES_NOTE = (
    "Cosines for the speaker task, linear probes on the frozen embedding for the others, all from "
    "the same training voices. A network has learnt from these voices, which holds its probes back."
)
_DIFFERENCES_NOTE = (
    "Errors of the unified model less those of its rival, in percent of the rival's: below 0 it "
    "errs less. In brackets 95% intervals; p-values are adjusted by Holm's method over the tasks "
    "of a rival, and over the corpora of a task. A verdict in favour is withdrawn where a corpus "
    "is worse. 'Both by probes' sets one embedding against the other: linear probes answer for the "
    "unified model, too; the verdict of a task does not count it."
)
_COSTS_NOTE = (
    "Means over seeds. Parameters are those of the models that ship; embedding an hour of "
    "recordings includes decoding it."
)
_NO_SPECIALISTS = (
    " Of the specialists only that for speakers was trained (compare.arms): what is said of an "
    f"attribute is said against {PROBES} alone."
)
_OTHER_CODE = (
    "It is not known that one code trained them all: where it changed, arms differ in more than "
    "their tasks. A '+' is a source that had changed since its revision."
)


def _verdict_note(comparison: Comparison) -> str:
    fixed = comparison.statistics
    return (
        f"Of the unified model, against {' and '.join(DECIDING)}: the less favourable of the two. "
        f"'Not worse' is an error at most {100 * fixed['margin']:g}% above the rival's. "
        f"Trainings of each arm: {comparison.seeds} on {_quarters(fixed['quarters'])}; "
        f"{fixed['draws']} draws of speakers and seeds, level {fixed['level']:g}; fixed before the "
        "run." + ("" if "specialists" in fixed["arms"] else _NO_SPECIALISTS)
    )


def _quarters(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"quarter {numbers[0]} of the voices"
    return f"each of the quarters {', '.join(map(str, numbers))} of the voices"


def _verdicts(comparison: Comparison) -> tuple[list[str], Rows]:
    found = {(each.task, each.rival): each.difference.verdict for each in comparison.against}
    return ["task", "verdict", *(f"against {rival}" for rival in DECIDING)], [
        [task, said, *(found.get((task, rival), NOT_DEFINED) for rival in DECIDING)]
        for task, said in comparison.verdicts.items()
    ]


def _arms(comparison: Comparison, tasks: Sequence[str]) -> tuple[list[str], Rows]:
    of = {(each.task, each.arm, each.way): each for each in comparison.cells}

    def cell(task: str, arm: str, way: str) -> str:
        found = of.get((task, arm, "cosine" if task == SPEAKER else way))
        if found is None:
            return NOT_DEFINED
        seeds = ", ".join(figure(comparison, task, seed) for seed in found.seeds)
        return f"{figure(comparison, task, found.error)} ({seeds})"

    header = ["task", "unified", "specialist", PROBES, LABELLED, "constant answer"]
    return header, [
        [
            asked(comparison, task),
            cell(task, UNIFIED, "head"),
            cell(task, name_of("specialist", task), "head"),
            cell(task, name_of("specialist", SPEAKER), "probe") if task != SPEAKER else NOT_DEFINED,
            cell(task, name_of("labelled", task), "head"),
            figure(comparison, task, comparison.guesses[task]),
        ]
        for task in tasks
    ]


def _probes(comparison: Comparison, tasks: Sequence[str]) -> tuple[list[str], Rows]:
    of = {
        (each.task, each.arm): figure(comparison, each.task, each.error)
        for each in comparison.cells
        if each.way != "head"
    }
    trained = comparison.titles
    arms = [a for a in (UNIFIED, *(name_of("specialist", t) for t in tasks)) if a in trained]
    return ["task", *(comparison.titles[arm] for arm in arms)], [
        [asked(comparison, task), *(of.get((task, arm), NOT_DEFINED) for arm in arms)]
        for task in tasks
    ]


def _differences(comparison: Comparison) -> tuple[list[str], Rows]:
    rows = []
    for each in comparison.against:
        parts = {"(all)": each.difference, **each.corpora}
        rows += [
            [
                each.task,
                each.rival,
                corpus,
                percent(found.relative, signed=True),
                _p(found.p),
                _p(found.p_margin),
                found.verdict,
            ]
            for corpus, found in parts.items()
        ]
    header = ["task", "rival", "corpus", "difference %", "p, no difference", "p, beyond margin"]
    return [*header, "verdict"], rows


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _steps_note(comparison: Comparison) -> str:
    codes = {revision for of_arm in comparison.revisions.values() for revision in of_arm}
    one = len(codes) == 1 and not any(code == "unknown" or code.endswith("+") for code in codes)
    return (
        "Steps of each seed, until its plateau. A training that took all "
        f"{comparison.most_steps:,} may have been ended before it. "
        + ("All were trained by one revision of the code." if one else _OTHER_CODE)
    )


def _steps(comparison: Comparison) -> tuple[list[str], Rows]:
    return ["arm", "steps", "code"], [
        [
            comparison.titles[arm],
            ", ".join(f"{taken:,}" for taken in steps),
            ", ".join(comparison.revisions[arm]),
        ]
        for arm, steps in comparison.steps.items()
    ]


def _costs(comparison: Comparison) -> tuple[list[str], Rows]:
    header = ["", "parameters", "training, CPU-hours", "embedding, CPU-s an hour", "bytes a voice"]
    return header, [
        [
            each.name,
            f"{each.parameters:,.0f}",
            NOT_DEFINED if each.train_cpu_hours is None else f"{each.train_cpu_hours:.2f}",
            f"{each.cpu_s_per_hour:.1f}",
            f"{each.bytes_per_voice:,.0f}",
        ]
        for each in comparison.expenses
    ]


def _splits_note(comparison: Comparison) -> str:
    return (
        "Of four quarters of the voices with several recordings, counted from 0, one is judged by "
        "models that learnt without it"
        + (", then the next; figures are means over them" if len(comparison.splits) > 1 else "")
        + ". No voice is in two parts of one quarter. The digest is that of the names of its "
        "voices."
    )


def _splits(comparison: Comparison) -> tuple[list[str], Rows]:
    def cells(found: dict[str, Any]) -> list[str]:
        return [str(found["voices"]), str(found["utterances"]), found["sha256"][:16]]

    return ["quarter", "part", "voices", "utterances", "digest"], [
        [quarter, part, *cells(found)]
        for quarter, parts in comparison.splits.items()
        for part, found in parts.items()
    ]
