"""What commands share: how they answer, and the options that several take."""

import codecs
import json
import sys
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

OUT = Parameter(("--out", "-o"))
Json = Annotated[bool, Parameter("--json", help="Answer in JSON.")]
Data = Annotated[
    tuple[str, ...],
    Parameter(
        "--data",
        help="A folder or table of recordings, or KIND:PATH; may be given several times.",
    ),
]
Tasks = Annotated[
    str | None, Parameter("--tasks", help="Train these tasks only, such as 'speaker,gender'.")
]
Overrides = Annotated[
    tuple[str, ...],
    Parameter("--set", help="KEY=VALUE in place of the recipe's, such as trainer.steps=500."),
]


def print_json(answer: object) -> None:
    """Prints ``answer``, made of dicts, lists, text and finite numbers, as one line of JSON."""
    # what other encodings lack, standard output would escape in a way that is no JSON
    as_it_is = codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"
    print(json.dumps(answer, ensure_ascii=not as_it_is, allow_nan=False))


def tell(line: str) -> None:
    """One line about what goes on, on standard error."""
    print(line, file=sys.stderr)


def complain_of(failures: Sequence[str]) -> int:
    """A line each; the exit status of a command that did all else."""
    for failure in failures:
        complain(failure)
    return 2 if failures else 0


def complain(line: str) -> None:
    """One line about one problem, on standard error."""
    # spaces stay as they are: they may be those of a name
    print(f"hive-mtl: {' '.join(filter(None, line.splitlines()))}", file=sys.stderr)
