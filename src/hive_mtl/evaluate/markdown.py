"""Tables in Markdown, and figures in their cells."""

from collections.abc import Iterable, Sequence

from hive_mtl.evaluate.bootstrap import Estimate

NOT_DEFINED = "n/a"


def percent(estimate: Estimate | None, *, signed: bool = False) -> str:
    """A fraction in percent with its interval; n/a for None."""
    if estimate is None:
        return NOT_DEFINED
    sign = "+" if signed else ""
    return f"{100 * estimate.value:{sign}.2f}{_interval(estimate, 100, f'{sign}.1f')}"


def plain(estimate: Estimate | None, digits: int = 3) -> str:
    """A figure with its interval; n/a for None."""
    if estimate is None:
        return NOT_DEFINED
    return f"{estimate.value:.{digits}f}{_interval(estimate, 1, f'.{digits}f')}"


def _interval(estimate: Estimate, factor: float, form: str) -> str:
    if estimate.low is None or estimate.high is None:
        return f" [{NOT_DEFINED}]"
    return f" [{factor * estimate.low:{form}}, {factor * estimate.high:{form}}]"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown; n/a where it has no rows."""
    lines = [_line(header), _line(["---"] * len(header)), *map(_line, rows)]
    return "\n".join(lines) if len(lines) > 2 else f"{NOT_DEFINED}: no data for it"


def _line(cells: Sequence[object]) -> str:
    escaped = [str(cell).replace("|", r"\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"
