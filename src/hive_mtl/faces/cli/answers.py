"""How commands answer: one JSON document on standard output, or lines for a person."""

import json
import sys
from typing import Annotated

from cyclopts import Parameter

Json = Annotated[bool, Parameter("--json", help="Answer in JSON.")]


def print_json(answer: object) -> None:
    """Prints ``answer``, made of dicts, lists, text and finite numbers, as one line of JSON."""
    print(json.dumps(answer, ensure_ascii=False, allow_nan=False))


def complain(line: str) -> None:
    """One line about one problem, on standard error."""
    print(f"hive-mtl: {' '.join(line.split())}", file=sys.stderr)
