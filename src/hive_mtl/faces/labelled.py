"""Recordings with what is known of them, from a folder or a table, without the learning wing."""

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, TextIO

from hive_mtl.audio import Segment, find_recordings, is_folder
from hive_mtl.errors import DataError

SPEAKER = "speaker"
_DELIMITED = (".csv", ".tsv")
_JSON_LINES = (".jsonl", ".ndjson")
_PLACE = ("path", "start_s", "duration_s")
_Row = dict[str | None, Any]  # None has the cells beyond the header's


@dataclass(frozen=True, slots=True)
class Labelled:
    """One recording: its path as it was given, where it is, and its labels by name."""

    name: str
    sound: Path | Segment
    labels: dict[str, str]


def read_labelled(place: Path) -> list[Labelled]:
    """The recordings of a folder ``<speaker>/<anything>``, or of a table with a column ``path``.

    Every other column of the table is a label; an empty cell is none. Paths in it are relative to
    its folder.

    Raises:
        DataError: there are no recordings, or the file is not such a table.
    """
    found = list(_of_folder(place) if is_folder(place) else _of_table(place))
    if not found:
        raise DataError(f"{place}: no recordings in it: give another folder or table")
    return found


def _of_folder(folder: Path) -> Iterator[Labelled]:
    for path in find_recordings(folder):
        inside = path.relative_to(folder).parts
        labels = {SPEAKER: inside[0]} if len(inside) > 1 else {}
        yield Labelled(str(path), path, labels)


def _of_table(table: Path) -> Iterator[Labelled]:
    suffix = table.suffix.lower()
    if suffix not in (*_DELIMITED, *_JSON_LINES):
        raise DataError(f"{table}: neither a folder nor a table: give a folder, .csv or .jsonl")
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            lines = (line for line in file if line.strip())
            rows: Iterable[_Row | str] = _delimited(file) if suffix in _DELIMITED else lines
            for number, row in enumerate(rows, 1):
                where = f"{table}, row {number}"
                cells = _object(row, where) if isinstance(row, str) else row
                yield _labelled(cells, table.parent, where)
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"{table}: cannot be read as a table ({reason}): correct it") from error


def _delimited(file: TextIO) -> Iterator[_Row]:
    header = file.readline()
    file.seek(0)
    return csv.DictReader(file, delimiter=max(",;\t", key=header.count))


def _object(line: str, where: str) -> _Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at character {error.pos + 1}"
        raise DataError(f"{where}: is no JSON ({reason}): correct it") from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: is {line.strip()[:20]!r} and not an object: correct it")
    return row


def _labelled(row: _Row, folder: Path, where: str) -> Labelled:
    cells = {
        name: text
        for name, cell in row.items()
        if isinstance(name, str) and cell is not None and (text := str(cell).strip())
    }
    if "path" not in cells:
        raise DataError(f"{where}: no path: give a column 'path' with one in each row")
    path = folder / cells["path"]
    start_s, duration_s = (_seconds(cells, name, where) for name in ("start_s", "duration_s"))
    whole = start_s is None and duration_s is None
    labels = {name: cell for name, cell in cells.items() if name not in _PLACE}
    sound = path if whole else Segment(path, start_s or 0.0, duration_s)
    return Labelled(cells["path"], sound, labels)


def _seconds(cells: dict[str, str], name: str, where: str) -> float | None:
    cell = cells.get(name)
    if cell is None:
        return None
    with suppress(ValueError):
        if 0 <= float(cell) < inf:
            return float(cell)
    raise DataError(f"{where}: {name} is '{cell}': give seconds, or nothing")
