"""Trial lists as others publish them, read against a table of utterances."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from hive_mtl.audio import AUDIO_SUFFIXES
from hive_mtl.errors import DataError
from hive_mtl.trials import Trials, read_pairs

_AMBIGUOUS = -1


def read_trials(path: Path, table: pa.Table) -> Trials:
    """Reads a list whose lines are ``1 a.wav b.wav`` (VoxCeleb) or ``a b target`` (Kaldi).

    An utterance is named by its id (column ``utterance``), its absolute path, any end of that path
    or the name of the file, each with or without the audio suffix. Kaldi lists that enrol a speaker
    of several utterances are not pairs of utterances and are refused.

    Raises:
        DataError: a line is of neither form, or names match no utterance, or more than one.
    """
    rows = _rows_by_name(table)
    left: list[int] = []
    right: list[int] = []
    target: list[bool] = []
    unmatched: list[str] = []
    for pair in read_pairs(path):
        for name, side in ((pair.left, left), (pair.right, right)):
            row = rows.get(_without_suffix(name))
            if row is None or row == _AMBIGUOUS:
                fault = "no utterance" if row is None else "several utterances"
                unmatched.append(f"{pair.place}: '{name}' matches {fault} of the table")
            else:
                side.append(row)
        target.append(pair.target)
    if unmatched:
        raise DataError(
            f"{unmatched[0]} (and {len(unmatched) - 1} more such names in the list): name each "
            "utterance by its path, or by its id in a column 'utterance'"
        )
    return Trials(np.array(left), np.array(right), np.array(target))


def _rows_by_name(table: pa.Table) -> dict[str, int]:
    """The row that each name means, or that it is ambiguous; an id goes before an end of a path."""
    paths = table["path"].to_pylist()
    rows = _marked((end, row) for row, path in enumerate(paths) for end in _ends(path))
    if "utterance" in table.column_names:
        ids = table["utterance"].to_pylist()
        rows |= _marked((name, row) for row, name in enumerate(ids) if name is not None)
    return rows


def _marked(named: Iterable[tuple[str, int]]) -> dict[str, int]:
    """The row of each name, without its suffix; a name that comes twice is ambiguous."""
    rows: dict[str, int] = {}
    for name, row in named:
        name = _without_suffix(name)
        rows[name] = _AMBIGUOUS if name in rows else row
    return rows


def _ends(path: str) -> Iterable[str]:
    """'/x/y/z' -> '/x/y/z', 'x/y/z', 'y/z', 'z'."""
    yield path
    while "/" in path:
        path = path.partition("/")[2]
        yield path


def _without_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if f"{dot}{suffix}".lower() in AUDIO_SUFFIXES else name
