"""Which rows of the data are judged."""

import pyarrow as pa
import pyarrow.compute as pc

from hive_mtl.errors import DataError
from hive_mtl.learn.utterances import validation_utterances

VALIDATION = "validation"
SAME_RECORDING = " (same recording)"


def take_split(table: pa.Table, split: str, origin: str) -> pa.Table:
    """The rows of a split; 'validation', where no row is of it, means the held-out voices.

    Those are the voices that training leaves out by their hash. Trials within single recordings
    are easier than others, so they become a corpus of their own, 'NAME (same recording)'.

    Args:
        table: as :func:`hive_mtl.learn.utterances.conform` makes it.
        split: its name.
        origin: of the table, for the error.

    Raises:
        DataError: there are no such rows.
    """
    if split == VALIDATION:
        return _same_recording_apart(held_out(table, origin))
    found = table.filter(pc.equal(table["split"], split))
    if not len(found):
        raise DataError(f"no rows of split '{split}' in {origin}: it has {_splits_of(table)}")
    return found


def held_out(table: pa.Table, origin: str) -> pa.Table:
    """The rows of split 'validation' or, where no row is of it, of the voices held out by a hash.

    Raises:
        DataError: there are none; ``origin`` is named.
    """
    found = table.filter(pc.equal(table["split"], VALIDATION))
    found = found if len(found) else validation_utterances(table)
    if not len(found):
        raise DataError(
            f"no rows of split '{VALIDATION}' in {origin}, and no voice is held out of it by its "
            f"hash: give data with more voices, or another split (it has {_splits_of(table)})"
        )
    return found


def _splits_of(table: pa.Table) -> str:
    return ", ".join(sorted(table["split"].drop_null().unique().to_pylist())) or "none"


def unheard(table: pa.Table) -> pa.Table | None:
    """The rows whose voices training on ``table`` leaves out: of split 'test', else 'validation'.

    None where there are none.
    """
    for split in ("test", VALIDATION):
        try:
            return take_split(table, split, "the data")
        except DataError:
            continue
    return None


def _same_recording_apart(table: pa.Table) -> pa.Table:
    if "same_recording" not in table.column_names:  # rows of split 'validation' stay as they are
        return table
    apart = pc.binary_join_element_wise(table["corpus"], SAME_RECORDING, "")
    corpus = pc.if_else(pc.is_valid(table["same_recording"]), apart, table["corpus"])
    return table.set_column(table.schema.get_field_index("corpus"), "corpus", corpus)
