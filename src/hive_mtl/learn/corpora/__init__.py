"""Corpora: one file here, one corpus or format that is read into the table of utterances.

A reader is a module with two functions: ``matches(path) -> bool`` says whether the file or folder
looks like its format, ``read(path) -> pa.Table`` gives its utterances as
:func:`hive_mtl.learn.utterances.conform` leaves them.
"""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, cast

import pyarrow as pa
import pyarrow.compute as pc

from hive_mtl import audio
from hive_mtl.errors import AudioError, ConfigError, DataError
from hive_mtl.learn import registry

_CATCH_ALL = "folder"  # any folder of recordings looks like it, so the others are asked first
_BATCH = 4096  # headers asked for at a time


class Reader(Protocol):
    """What a module of this package offers."""

    def matches(self, path: Path) -> bool:
        """Whether ``path`` looks like this format."""

    def read(self, path: Path) -> pa.Table:
        """The utterances of ``path``."""


def read(data: str | os.PathLike[str]) -> pa.Table:
    """The table of utterances of a corpus.

    Durations that the corpus does not tell are read from the headers of the recordings; where that
    fails they stay null, and ``doctor`` says why.

    Args:
        data: a file or folder, or 'kind:path' to say which reader takes it.

    Raises:
        ConfigError: no such kind.
        DataError: nothing is there, no reader knows it, or it holds no utterances.
    """
    reader, path = _choose(os.fspath(data))
    table = reader.read(path)
    if len(table) == 0:
        raise DataError(f"{path}: holds no recordings: give a folder or table of recordings")
    return _with_durations(table)


def kinds() -> list[str]:
    """The names of the readers, in the order in which they are asked."""
    return sorted(registry.names(sys.modules[__name__]), key=lambda name: name == _CATCH_ALL)


def _choose(data: str) -> tuple[Reader, Path]:
    kind, colon, rest = data.partition(":")
    if colon and kind in kinds():
        return _reader(kind), _existing(rest)
    if colon and kind.isidentifier() and not Path(data).exists():
        raise ConfigError(f"unknown corpus '{kind}'{registry.suggestion(kind, kinds())}")
    path = _existing(data)
    for reader in map(_reader, kinds()):
        if reader.matches(path):
            return reader, path
    raise DataError(
        f"{path}: not a corpus that is known: write KIND:{path}, "
        f"where KIND is one of {', '.join(kinds())}"
    )


def _reader(kind: str) -> Reader:
    return cast(Reader, registry.member(sys.modules[__name__], kind, "corpus"))


def _existing(name: str) -> Path:
    path = Path(name).expanduser()
    if not path.exists():
        raise DataError(f"{path}: no such file or folder: check the path")
    return path


def _with_durations(table: pa.Table) -> pa.Table:
    unknown = table["duration_s"].is_null()
    paths = table["path"].filter(unknown).unique()
    if len(paths) == 0:
        return table
    measured = pa.array(_header_durations(paths), pa.float64())
    whole = measured.take(pc.index_in(table["path"], value_set=paths).combine_chunks())
    rest = pc.max_element_wise(pc.subtract(whole, table["start_s"]), 0.0, skip_nulls=False)
    durations = pc.coalesce(table["duration_s"], rest)
    return table.set_column(table.schema.get_field_index("duration_s"), "duration_s", durations)


def _header_durations(paths: pa.Array) -> Iterator[float | None]:
    # Headers cost waiting more than work, so there are more threads than cores.
    with ThreadPoolExecutor(max_workers=16) as pool:
        for start in range(0, len(paths), _BATCH):
            yield from pool.map(_header_duration, paths.slice(start, _BATCH).to_pylist())


def _header_duration(path: str) -> float | None:
    try:
        return audio.duration_s(path)
    except AudioError:
        return None
