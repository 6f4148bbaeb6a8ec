"""Corpora: one file here, one corpus or format that is read into the table of utterances.

A reader is a module with three functions: ``matches(path) -> bool`` says whether the file or folder
looks like its format, ``root(path) -> Path`` what the whole corpus is, ``read(path) -> pa.Table``
gives its utterances as :func:`hive_mtl.learn.utterances.conform` leaves them.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, cast

import pyarrow as pa
import pyarrow.compute as pc

from hive_mtl import audio
from hive_mtl.errors import AudioError, ConfigError, DataError
from hive_mtl.learn import registry
from hive_mtl.learn.corpora._names import corpus_name, own_splits
from hive_mtl.learn.corpora._paths import text_of
from hive_mtl.learn.corpora._repeats import without_repeats

_CATCH_ALL = "folder"  # any folder of recordings looks like it, so the others are asked first
_BATCH = 4096  # headers asked for at a time


class Reader(Protocol):
    """What a module of this package offers."""

    def matches(self, path: Path) -> bool:
        """Whether ``path`` looks like this format."""

    def root(self, path: Path) -> Path:
        """The whole corpus that ``path`` is, or is a part of: what its name comes from."""

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
    return read_all([os.fspath(data)])


def read_all(data: Sequence[str]) -> pa.Table:
    """The union of corpora, with the label columns of each.

    A recording, or a part of one, that several of them name counts once, as the first says: the
    whole of a corpus goes before its parts.

    Args:
        data: as for :func:`read_each`.

    Raises:
        ConfigError, DataError: as :func:`read_each` does.
    """
    tables = read_each(data)
    if len(tables) > 1:
        tables = without_repeats(tables, sorted(tables, key=_is_part))
    return pa.concat_tables(tables.values(), promote_options="default")


def read_each(data: Sequence[str]) -> dict[str, pa.Table]:
    """The table of utterances of each of ``data``, in its order; a name given twice counts once.

    A part of a corpus that is given beside a part for training, such as LibriSpeech's 'test-clean'
    beside 'train-clean-100', is of the split that its name tells.

    Args:
        data: each as for :func:`read`.

    Raises:
        ConfigError: no such kind.
        DataError: there is no data, one of it cannot be read, or two corpora have one name.
    """
    if not data:
        raise DataError("no data: give at least one folder or table of recordings")
    chosen = {name: _choose(name) for name in data}
    roots = {name: reader.root(path) for name, (reader, path) in chosen.items()}
    tables = {name: _rows(reader, path) for name, (reader, path) in chosen.items()}
    _refuse_namesakes(tables, roots)
    paths = {name: path.resolve() for name, (_, path) in chosen.items()}
    splits = _splits_of_parts(paths, roots)
    return {
        name: _with_durations(_with_split(table, splits.get(name)))
        for name, table in tables.items()
    }


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
    text_of(path.resolve())  # where the name of the corpus and the paths of a table come from
    return path


def _is_part(data: str) -> bool:
    """Whether it is a part of its corpus, which knows less of its rows, such as their split."""
    reader, path = _choose(data)
    return reader.root(path) in path.resolve().parents


def _rows(reader: Reader, path: Path) -> pa.Table:
    table = reader.read(path)
    if len(table) == 0:
        raise DataError(f"{path}: holds no recordings: give a folder or table of recordings")
    return table


def _refuse_namesakes(tables: dict[str, pa.Table], roots: dict[str, Path]) -> None:
    """Corpora that only the names of their places name must not share one, or voices merge."""
    known: dict[str, Path] = {}
    for data, root in roots.items():
        name = corpus_name(root)
        if name not in tables[data]["corpus"].unique().to_pylist():
            continue  # its rows say of which corpus they are
        if known.setdefault(name, root) != root:
            raise DataError(
                f"{known[name]} and {root}: both would be the corpus '{name}', and speakers of one "
                "name one voice: rename one, or give tables with a column 'corpus'"
            )


def _splits_of_parts(paths: dict[str, Path], roots: dict[str, Path]) -> dict[str, str | None]:
    """The split of each of the data that is a part of its corpus, beside the parts given too."""
    parts = {data: path.name for data, path in paths.items() if path.parent == roots[data]}
    return {
        data: own_splits(parts[other] for other in parts if roots[other] == roots[data])[part]
        for data, part in parts.items()
    }


def _with_split(table: pa.Table, split: str | None) -> pa.Table:
    """The table, its rows that have no split given this one."""
    if split is None:
        return table
    place = table.schema.get_field_index("split")
    return table.set_column(place, "split", table["split"].fill_null(split))


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
