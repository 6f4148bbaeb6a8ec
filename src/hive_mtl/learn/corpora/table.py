"""A table with the columns ``path`` and ``speaker``: CSV, Parquet or JSON lines."""

import csv
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from hive_mtl.errors import DataError
from hive_mtl.learn.corpora._names import corpus_name
from hive_mtl.learn.utterances import conform

_PARQUET = (".parquet", ".pq")
_JSON_LINES = (".jsonl", ".ndjson")
_DELIMITED = (".csv", ".tsv")


def matches(path: Path) -> bool:
    """A file with the suffix of a table."""
    return path.is_file() and path.suffix.lower() in (*_PARQUET, *_JSON_LINES, *_DELIMITED)


def root(path: Path) -> Path:
    """The file."""
    return path.resolve()


def read(path: Path) -> pa.Table:
    """The rows of the table; paths are relative to its folder, any further column is a label.

    Raises:
        DataError: the file is not such a table.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in _PARQUET:
            table = pa.parquet.read_table(path)
        elif suffix in _JSON_LINES:
            table = pa.json.read_json(path)
        else:
            table = _read_delimited(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not a table that can be read ({reason}): correct it") from error
    file = root(path)
    return conform(table, file.parent, corpus=corpus_name(file), origin=str(path))


def _read_delimited(path: Path) -> pa.Table:
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline()
    delimiter = max(",;\t", key=header.count)
    names = next(csv.reader([header], delimiter=delimiter), [])
    return pa.csv.read_csv(
        path,
        parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        # All as text, or the speakers '007' and '7' become one.
        convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )
