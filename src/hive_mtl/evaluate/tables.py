"""The tables of a report, in Markdown."""

from collections.abc import Iterable, Sequence

from hive_mtl.evaluate.attributes import BALANCED_ACCURACY, Attribute
from hive_mtl.evaluate.bootstrap import Estimate
from hive_mtl.evaluate.embedded import Coverage, Failure
from hive_mtl.evaluate.identification import Identification
from hive_mtl.evaluate.verification import Verification

NOT_DEFINED = "n/a"
_FAILURES_SHOWN = 20


def coverage(rows: Sequence[Coverage]) -> str:
    """How much of each corpus has a vector."""
    return _table(
        ("corpus", "speakers", "utterances", "with a vector"),
        (
            (
                row.corpus,
                row.speakers,
                row.utterances,
                f"{row.embedded} ({row.embedded / row.utterances:.1%})",
            )
            for row in rows
        ),
    )


def verification(rows: Sequence[Verification]) -> str:
    """EER, minDCF, Cllr and minCllr of each corpus and scope, with the number of trials."""
    return _table(
        (
            "corpus",
            "trials",
            "speakers / utterances",
            "target / non-target",
            "without a vector",
            "EER %",
            "minDCF(0.01)",
            "Cllr",
            "minCllr",
        ),
        (
            (
                row.corpus,
                _kind_of_trials(row),
                f"{row.speakers} / {row.utterances}",
                f"{row.targets} / {row.nontargets}",
                row.unscored,
                _percent(row.eer),
                _plain(row.min_dcf),
                _plain(row.cllr),
                NOT_DEFINED if row.min_cllr is None else f"{row.min_cllr:.3f}",
            )
            for row in rows
        ),
    )


def identification(rows: Sequence[Identification]) -> str:
    """Top-1 accuracy of each corpus and scope."""
    return _table(
        ("corpus", "voices", "speakers", "probes", "top-1 %"),
        ((row.corpus, row.scope, row.speakers, row.probes, _percent(row.top1)) for row in rows),
    )


def attributes(rows: Sequence[Attribute]) -> str:
    """Each head on each corpus, beside the best constant answer."""
    return _table(
        (
            "task",
            "corpus",
            "figure",
            "speakers / utterances",
            "unknown label",
            "value",
            "constant answer",
        ),
        (
            (
                row.task,
                row.corpus,
                f"{row.metric} ({'%' if row.metric == BALANCED_ACCURACY else row.unit})",
                f"{row.speakers} / {row.utterances}",
                row.unknown,
                *_beside_guess(row),
            )
            for row in rows
        ),
    )


def failures(rows: Sequence[Failure]) -> list[str]:
    """The recordings without a vector, as paragraphs; none where there are none."""
    if not rows:
        return []
    shown = [f"- `{row.path}`: {row.reason}" for row in rows[:_FAILURES_SHOWN]]
    if len(rows) > _FAILURES_SHOWN:
        shown.append(f"- and {len(rows) - _FAILURES_SHOWN} more, all in report.json")
    return ["## Recordings without a vector", "\n".join(shown)]


def _kind_of_trials(row: Verification) -> str:
    crossing = ", target pairs across sessions" if row.cross_session else ""
    return f"{row.scope}{crossing}{', a sample of all pairs' if row.sampled else ''}"


def _beside_guess(row: Attribute) -> tuple[str, str]:
    if row.guess is None:
        return NOT_DEFINED, NOT_DEFINED
    if row.metric == BALANCED_ACCURACY:
        return _percent(row.value), f"{100 * row.guess:.1f}"
    return _plain(row.value, digits=2), f"{row.guess:.2f}"


def _percent(estimate: Estimate | None) -> str:
    if estimate is None:
        return NOT_DEFINED
    return f"{100 * estimate.value:.2f}{_interval(estimate, 100, 1)}"


def _plain(estimate: Estimate | None, digits: int = 3) -> str:
    if estimate is None:
        return NOT_DEFINED
    return f"{estimate.value:.{digits}f}{_interval(estimate, 1, digits)}"


def _interval(estimate: Estimate, factor: float, digits: int) -> str:
    if estimate.low is None or estimate.high is None:
        return f" [{NOT_DEFINED}]"
    return f" [{factor * estimate.low:.{digits}f}, {factor * estimate.high:.{digits}f}]"


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [_line(header), _line(["---"] * len(header)), *map(_line, rows)]
    return "\n".join(lines) if len(lines) > 2 else f"{NOT_DEFINED}: no data for it"


def _line(cells: Sequence[object]) -> str:
    escaped = [str(cell).replace("|", r"\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"
