"""How far a long piece of work is."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

Result = TypeVar("Result")


def with_progress(results: Iterable[Result], total: int) -> Iterator[Result]:
    """``results`` as they come, with a bar on standard error if somebody is looking.

    Args:
        results: as they are embedded.
        total: how many there will be.
    """
    if not (sys.stderr.isatty() or "ipykernel" in sys.modules):  # a terminal or a notebook
        return iter(results)
    from rich.console import Console  # here, because it is slow to import
    from rich.progress import track

    bar = track(results, "Embedding", total, console=Console(stderr=True), transient=True)
    return iter(bar)
