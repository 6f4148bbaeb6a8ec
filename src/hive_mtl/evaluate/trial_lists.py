"""Trial lists as others publish them, read against a table of utterances."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from hive_mtl.audio import AUDIO_SUFFIXES
from hive_mtl.errors import DataError
from hive_mtl.trials import Trials

_AMBIGUOUS = -1
_KALDI_LABELS = {"target": True, "nontarget": False}
_VOXCELEB_LABELS = {"1": True, "0": False}


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
    for place, (first, second, is_target) in _lines(path):
        for name, side in ((first, left), (second, right)):
            row = rows.get(_without_suffix(name))
            if row is None or row == _AMBIGUOUS:
                fault = "no utterance" if row is None else "several utterances"
                unmatched.append(f"{place}: '{name}' matches {fault} of the table")
            else:
                side.append(row)
        target.append(is_target)
    if unmatched:
        raise DataError(
            f"{unmatched[0]} (and {len(unmatched) - 1} more such names in the list): name each "
            "utterance by its path, or by its id in a column 'utterance'"
        )
    if not target:
        raise DataError(f"{path}: no trials: give lines such as '1 a.wav b.wav' or 'a b target'")
    return Trials(np.array(left), np.array(right), np.array(target))


def _lines(path: Path) -> Iterator[tuple[str, tuple[str, str, bool]]]:
    """Where each trial stands, and the trial itself; blank lines are passed over."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: cannot be read as a trial list ({error}): give a text file"
        ) from error
    for number, line in enumerate(text.splitlines(), 1):
        if words := line.split():
            place = f"{path}, line {number}"
            yield place, _trial(words, place)


def _trial(words: list[str], place: str) -> tuple[str, str, bool]:
    if len(words) == 3 and words[2] in _KALDI_LABELS:
        return words[0], words[1], _KALDI_LABELS[words[2]]
    if len(words) == 3 and words[0] in _VOXCELEB_LABELS:
        return words[1], words[2], _VOXCELEB_LABELS[words[0]]
    raise DataError(
        f"{place}: '{' '.join(words)}' is no trial: write '1 a.wav b.wav' or 'a b target|nontarget'"
    )


def _rows_by_name(table: pa.Table) -> dict[str, int]:
    """The row that each name means, or that it is ambiguous; an id goes before an end of a path."""
    rows: dict[str, int] = {}
    for row, path in enumerate(table["path"].to_pylist()):
        for name in _ends(_without_suffix(path)):
            rows[name] = _AMBIGUOUS if name in rows else row
    if "utterance" in table.column_names:
        ids = table["utterance"].to_pylist()
        rows |= {_without_suffix(name): row for row, name in enumerate(ids) if name is not None}
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
