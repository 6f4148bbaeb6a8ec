"""The manifests of lhotse's recipes: recordings and supervisions in a folder, or a file of cuts.

Zelasko et al., 'Lhotse: a speech data representation library for the modern deep learning
ecosystem', 2021; https://lhotse.readthedocs.io
"""

import gzip
import logging
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa

from hive_mtl.errors import DataError, MissingExtraError
from hive_mtl.learn.corpora._names import corpus_name, own_splits
from hive_mtl.learn.corpora._paths import base_of
from hive_mtl.learn.labels import parse_gender
from hive_mtl.learn.utterances import conform

_log = logging.getLogger(__name__)

_SUPERVISIONS = re.compile(r"(?P<corpus>.*?)_?supervisions_?(?P<part>.*?)\.jsonl(\.gz)?")
_BATCH = 50_000  # rows held as Python objects at a time

Row = dict[str, str | float | None]


def matches(path: Path) -> bool:
    """A folder with a manifest of supervisions, or a manifest of cuts."""
    if path.is_dir():
        return bool(_supervision_files(path))
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        return False
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
            return re.search(r'"type": *"\w+Cut"', file.readline()) is not None
    except (OSError, ValueError):
        return False


def root(path: Path) -> Path:
    """The folder of manifests, or the manifest."""
    return path.resolve()


def read(path: Path) -> pa.Table:
    """One row a supervision; the simple fields of its ``custom`` become label columns.

    Raises:
        MissingExtraError: lhotse is not installed.
        DataError: the manifests are not whole, or not of this format.
    """
    try:
        import lhotse
    except ImportError as error:
        raise MissingExtraError("reading lhotse's manifests", "lhotse") from error
    rows = _of_folder(lhotse, path) if path.is_dir() else _of_cuts(lhotse, path)
    try:
        table = _table(rows)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        reason = f"{type(error).__name__} {error}".splitlines()[0]
        raise DataError(f"{path}: not a manifest of lhotse ({reason}): prepare it anew") from error
    folder = path if path.is_dir() else path.parent
    base = base_of(folder, table["path"])
    return conform(table, base, corpus=corpus_name(root(path)), origin=str(path))


def _supervision_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if _SUPERVISIONS.fullmatch(file.name))


def _of_folder(lhotse: ModuleType, folder: Path) -> Iterator[Row]:
    found = [(file, _SUPERVISIONS.fullmatch(file.name)) for file in _supervision_files(folder)]
    names = {file: (match["corpus"], match["part"]) for file, match in found if match}
    splits = own_splits(part for _, part in names.values())
    for file, (corpus, part) in names.items():
        recordings = file.with_name(file.name.replace("supervisions", "recordings"))
        if not recordings.is_file():
            raise DataError(f"{recordings}: missing: it belongs to {file.name}")
        paths = {entry.id: _file_of(entry) for entry in lhotse.load_manifest_lazy(recordings)}
        skipped = 0
        for supervision in lhotse.load_manifest_lazy(file):
            audio = paths.get(supervision.recording_id)
            if audio is None:
                skipped += 1
                continue
            row = _row(supervision, audio, supervision.start)
            yield {"corpus": corpus or None, "split": splits[part], **row}
        _warn(file, skipped)


def _of_cuts(lhotse: ModuleType, file: Path) -> Iterator[Row]:
    skipped = 0
    for cut in lhotse.load_manifest_lazy(file):
        audio = _file_of(cut.recording) if isinstance(cut, lhotse.MonoCut) else None
        if audio is None:
            skipped += 1
            continue
        for supervision in cut.supervisions:
            # Inside a cut, times count from its start.
            yield _row(supervision, audio, max(0.0, cut.start + supervision.start))
    _warn(file, skipped)


def _row(supervision: Any, audio: str, start_s: float) -> Row:
    custom = supervision.custom or {}
    return {
        **{name: str(value) for name, value in custom.items() if _is_simple(value)},
        "path": audio,
        "speaker": supervision.speaker,
        "start_s": start_s,
        "duration_s": supervision.duration,
        "gender": parse_gender(supervision.gender or ""),
        "language": supervision.language,
        "utterance": supervision.id,
    }


def _is_simple(value: object) -> bool:
    return isinstance(value, str | int | float)


def _file_of(recording: Any) -> str | None:
    """The one file that a recording lies in; None for commands, addresses and several files."""
    sources = recording.sources if recording is not None else []
    return sources[0].source if len(sources) == 1 and sources[0].type == "file" else None


def _table(rows: Iterable[Row]) -> pa.Table:
    rows = iter(rows)
    tables = [pa.table({"path": pa.array([], pa.string()), "speaker": pa.array([], pa.string())})]
    while batch := list(islice(rows, _BATCH)):
        names = dict.fromkeys(name for row in batch for name in row)
        tables.append(pa.table({name: [row.get(name) for row in batch] for name in names}))
    return pa.concat_tables(tables, promote_options="default")


def _warn(file: Path, skipped: int) -> None:
    if skipped:
        _log.warning("%s: %d entries left out whose sound is not a single file", file, skipped)
