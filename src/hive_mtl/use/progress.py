"""How far a long piece of work is."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Result = TypeVar("Result")


def with_progress(
    results: Iterable[Result], total: int, size_of: Callable[[Result], int] = lambda _: 1
) -> Iterator[Result]:
    """``results`` as they come, with a bar on standard error if somebody is looking.

    Args:
        results: as they are embedded.
        total: how many there will be, or the sum of their sizes.
        size_of: how much of the work a result was; where recordings are of any length, bytes tell
            the time left better than their number does.
    """
    if not (sys.stderr.isatty() or "ipykernel" in sys.modules):  # a terminal or a notebook
        return iter(results)
    return _with_bar(results, total, size_of)


def _with_bar(
    results: Iterable[Result], total: int, size_of: Callable[[Result], int]
) -> Iterator[Result]:
    from rich.console import Console  # here, because it is slow to import
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Embedding", total=total)
        for result in results:
            bar.advance(task, size_of(result))
            yield result
