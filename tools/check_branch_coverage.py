#!/usr/bin/env python3
"""Fails where a module has too few of its branches covered by tests.

``check_branch_coverage.py REPORT PERCENT NAME...``: a name is that of a module or package anywhere
in the project; the report is that of ``coverage json``.
"""

import json
import sys
from pathlib import Path, PurePath


def main(arguments: list[str]) -> int:
    """0 if every name reaches the floor; 1 with a line for each that does not."""
    report, percent, *names = arguments
    files = json.loads(Path(report).read_text())["files"]
    below = 0
    for name in names:
        share = branch_share(files, name)
        low = share is None or 100 * share < float(percent)
        below += low
        figure = "not measured at all" if share is None else f"{share:.1%} of branches covered"
        print(f"{name}: {figure}{f', below {percent}%' if low else ''}")
    return 1 if below else 0


def branch_share(files: dict[str, dict[str, dict[str, int]]], name: str) -> float | None:
    """The fraction of branches covered in the module or package called ``name``."""
    found = [
        file["summary"]
        for path, file in files.items()
        if name in PurePath(path).with_suffix("").parts
    ]
    branches = sum(summary["num_branches"] for summary in found)
    if not branches:
        return None
    return sum(summary["covered_branches"] for summary in found) / branches


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
