"""The table of utterances: what every corpus becomes, and who of it learns and who validates.

One row is one utterance: a recording, or a part of one. Everything works on Arrow columns, so that
a table may have millions of rows.
"""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hive_mtl.description import DataSummary
from hive_mtl.errors import DataError
from hive_mtl.learn.registry import suggestion

SCHEMA = pa.schema(
    [
        ("path", pa.string()),  # absolute
        ("corpus", pa.string()),
        ("speaker", pa.string()),  # null: unknown
        ("session", pa.string()),
        ("split", pa.string()),
        ("start_s", pa.float64()),
        ("duration_s", pa.float64()),  # null: not known yet
    ]
)
NOTES = frozenset({"utterance", "content", "text", "licence", "source", "same_recording"})
"""Columns beside :data:`SCHEMA` that tell about a row without being a label of the voice."""

SECONDS_TO_HALVE = 4.0  # each half keeps the two seconds that verification asks of an utterance

_SECONDS = r"^(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


def conform(
    table: pa.Table,
    base: Path | None = None,
    *,
    corpus: str = "recordings",
    origin: str = "table of utterances",
) -> pa.Table:
    """``table`` in :data:`SCHEMA`, followed by its other columns as nullable strings.

    Spaces around a cell are dropped and an empty cell becomes null. Columns that are not text or
    numbers (lists, bytes) are left out.

    Args:
        table: needs the columns ``path`` and ``speaker``.
        base: the folder that relative paths start from; the current folder if None.
        corpus: the corpus of rows that name none.
        origin: the file or folder that a message names.

    Raises:
        DataError: a column is missing or double, a row has no path, or a time is not in seconds.
    """
    cells = _cells(table, origin)
    nothing = pa.chunked_array([pa.nulls(len(table), pa.string())])
    core = {name: cells.pop(name, nothing) for name in SCHEMA.names}
    core["path"] = _absolute(core["path"], base or Path.cwd(), origin)
    core["corpus"] = core["corpus"].fill_null(corpus)
    core["start_s"] = _seconds(core["start_s"], "start_s", origin).fill_null(0.0)
    core["duration_s"] = _seconds(core["duration_s"], "duration_s", origin)
    return pa.table({**core, **cells})


def label_columns(table: pa.Table) -> tuple[str, ...]:
    """The columns that may hold labels of a voice: all but those of the schema and the notes."""
    return tuple(name for name in table.column_names if name not in {*SCHEMA.names, *NOTES})


def codes_of(values: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Which value stands in each row: ``(rows,)`` indices into the values; -1 for a null."""
    encoded = pc.dictionary_encode(values).unify_dictionaries().combine_chunks()
    codes: npt.NDArray[np.int64] = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
    return codes, encoded.dictionary.to_pylist()


def voices(table: pa.Table) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Which voice speaks: ``(rows,)`` indices into the names 'corpus/speaker'; -1 where unknown."""
    names = pc.binary_join_element_wise(table["corpus"], table["speaker"], "/")
    return codes_of(names)


def voice_of_each(table: pa.Table) -> npt.NDArray[np.int64]:
    """A number for the voice of each row ``(rows,)``; an unknown speaker is a voice of its own."""
    codes, names = voices(table)
    unknown = codes < 0
    codes[unknown] = len(names) + np.arange(np.count_nonzero(unknown))
    return codes


def recordings(table: pa.Table) -> npt.NDArray[np.int64]:
    """Which recording each row is of, or is a part of: ``(rows,)`` whole numbers from 0."""
    return codes_of(table["path"])[0]


def recordings_of_each(codes: npt.NDArray[np.int64], table: pa.Table) -> npt.NDArray[np.int64]:
    """How many recordings the rows of each code are of: ``(codes,)``; -1 is no code."""
    pairs = np.unique(np.stack([codes, recordings(table)])[:, codes >= 0], axis=1)
    return np.bincount(pairs[0], minlength=int(codes.max(initial=-1)) + 1)


def sessions(table: pa.Table) -> list[str | None]:
    """The session of each row; None where it is not known.

    In a corpus that names no session but has several utterances of a recording, each recording is a
    session: what lies in one shares its channel.
    """
    corpus, names = codes_of(table["corpus"])
    cut = np.bincount(corpus, minlength=len(names)) > recordings_of_each(corpus, table)
    named = np.bincount(corpus, table["session"].is_valid().to_numpy(), len(names)) > 0
    by_recording = pa.array((cut & ~named)[corpus])
    found: list[str | None] = pc.if_else(by_recording, table["path"], table["session"]).to_pylist()
    return found


def of_split_train(table: pa.Table) -> npt.NDArray[np.bool_]:
    """``(rows,)`` True where the split is 'train', 'train-clean-100' and the like, or none."""
    # A null is neither of 'train' nor of another split: the corpus leaves it to the hash rule.
    train = pc.starts_with(pc.utf8_lower(table["split"]), "train").fill_null(True)
    of_train: npt.NDArray[np.bool_] = train.to_numpy()
    return of_train


def is_validation_voice(corpus: str, speaker: str) -> bool:
    """Whether a voice is held out of training: one in ten, by a hash, the same on every machine."""
    return _is_validation(f"{corpus}/{speaker}")


def validation_mask(table: pa.Table) -> npt.NDArray[np.bool_]:
    """``(rows,)`` True where the voice is held out of training; an unknown speaker never is."""
    codes, names = voices(table)
    # One more entry, for the code -1.
    chosen = np.array([*map(_is_validation, names), False], dtype=np.bool_)
    mask: npt.NDArray[np.bool_] = chosen[codes]
    return mask


def shared_voices(table: pa.Table) -> list[str]:
    """The voices ('corpus/speaker') that are both in training, by their split, and in another.

    Such a voice is neither learnt from nor validated on: it would be known when it is tested.
    """
    codes, names = voices(table)
    learnable = of_split_train(table)
    both = np.intersect1d(codes[learnable], codes[~learnable])
    return [names[code] for code in both[both >= 0]]


def training_utterances(table: pa.Table) -> pa.Table:
    """The rows to learn from: of split 'train' or of none, without the validation voices.

    Voices that another split has too are left out, see :func:`shared_voices`.
    """
    return table.filter(pa.array(_learnable(table) & ~validation_mask(table)))


def validation_utterances(table: pa.Table) -> pa.Table:
    """The rows of the validation voices, of split 'train' or of none.

    Voices that another split has too are left out, see :func:`shared_voices`.

    A voice with a single utterance of :data:`SECONDS_TO_HALVE` or more becomes two: its halves. The
    column ``same_recording`` is 'yes' for every voice whose utterances all come from one recording,
    so that its trials can be told apart.
    """
    rows = table.filter(pa.array(_learnable(table) & validation_mask(table)))
    voice, _ = voices(rows)
    one_recording = (recordings_of_each(voice, rows) == 1)[voice]
    alone = (np.bincount(voice) == 1)[voice]
    duration = rows["duration_s"].fill_null(0.0).to_numpy()
    halved = alone & (duration >= SECONDS_TO_HALVE)

    order = np.repeat(np.arange(len(rows)), 1 + halved)
    second_half = np.append(False, order[1:] == order[:-1])[: len(order)]
    length = np.where(halved, duration / 2, duration)[order]
    start = rows["start_s"].to_numpy()[order] + np.where(second_half, length, 0.0)
    same = np.where((one_recording & (~alone | halved))[order], "yes", "")
    unknown = pc.is_null(rows["duration_s"]).to_numpy()[order]
    return with_columns(
        rows.take(pa.array(order)),
        start_s=pa.array(start, pa.float64()),
        duration_s=pa.array(length, pa.float64(), mask=unknown),
        same_recording=pa.array(same, pa.string(), mask=same == ""),
    )


def with_columns(table: pa.Table, **columns: pa.Array) -> pa.Table:
    """The table with these columns, in place of those of the same names or behind all."""
    for name, column in columns.items():
        place = table.schema.get_field_index(name)
        table = (
            table.append_column(name, column)
            if place < 0
            else table.set_column(place, name, column)
        )
    return table


def summary(table: pa.Table) -> tuple[DataSummary, ...]:
    """What each corpus of the table contributes; unknown durations count as nothing."""
    summaries = []
    for corpus in sorted(table["corpus"].unique().to_pylist()):
        rows = table.filter(pc.equal(table["corpus"], corpus))
        seconds = pc.sum(rows["duration_s"]).as_py() or 0.0
        summaries.append(
            DataSummary(
                corpus=corpus,
                speakers=pc.count_distinct(rows["speaker"]).as_py(),
                utterances=len(rows),
                hours=round(seconds / 3600, 3),
                licences=_distinct(rows, "licence"),
                sources=_distinct(rows, "source"),
            )
        )
    return tuple(summaries)


def _cells(table: pa.Table, origin: str) -> dict[str, pa.ChunkedArray]:
    names = [name.strip() for name in table.column_names]
    for double in (name for name in names if name and names.count(name) > 1):
        raise DataError(f"{origin}: column '{double}' is there twice: rename or remove one")
    for required in ("path", "speaker"):
        if required not in names:
            near = suggestion(required, filter(None, names))
            raise DataError(f"{origin}: no column '{required}'{near} (and rename it '{required}')")
    return {
        name: _text(column)
        for name, column in zip(names, table.columns, strict=True)
        if name and not (pa.types.is_nested(column.type) or _is_binary(column.type))
    }


def _is_binary(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_sized: bool = pa.types.is_fixed_size_binary(kind)
    return is_sized or kind in (pa.binary(), pa.large_binary(), pa.binary_view())


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):  # a whole column of numbers with gaps, as pandas writes
        column = pc.if_else(pc.is_nan(column), None, column)
    cells = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return pc.if_else(pc.equal(cells, ""), None, cells)


def _absolute(paths: pa.ChunkedArray, base: Path, origin: str) -> pa.ChunkedArray:
    if paths.null_count:
        row = pc.index(pc.is_null(paths), True).as_py() + 1
        raise DataError(f"{origin}: row {row} has no path: give the file of its recording")
    from_base = pc.binary_join_element_wise(str(base.absolute()), paths, "/")
    return pc.if_else(pc.starts_with(paths, "/"), paths, from_base)


def _seconds(cells: pa.ChunkedArray, name: str, origin: str) -> pa.ChunkedArray:
    wrong = pc.index(pc.match_substring_regex(cells, _SECONDS), False).as_py()
    if wrong >= 0:
        raise DataError(
            f"{origin}: row {wrong + 1} has {name} '{cells[wrong]}': give seconds, or nothing"
        )
    return cells.cast(pa.float64())


def _is_validation(voice: str) -> bool:
    return int(hashlib.sha256(voice.encode()).hexdigest(), 16) % 10 == 0


def _learnable(table: pa.Table) -> npt.NDArray[np.bool_]:
    codes, _ = voices(table)
    train = of_split_train(table)
    # Nobody knows whose voice -1 is.
    elsewhere = (codes >= 0) & np.isin(codes, codes[~train])
    learnable: npt.NDArray[np.bool_] = train & ~elsewhere
    return learnable


def _distinct(rows: pa.Table, name: str) -> tuple[str, ...]:
    if name not in rows.column_names:
        return ()
    return tuple(sorted(rows[name].drop_null().unique().to_pylist()))
