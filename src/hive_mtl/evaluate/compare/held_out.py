"""The voices that a comparison holds out for itself, so that small differences can be seen.

They are a quarter of the voices that training would learn from and that have several recordings,
by a hash of their own. No arm learns from them, and no plateau is looked for on them: that is what
the usual validation voices are for. The others stay where :mod:`hive_mtl.learn.utterances` has
them. Another quarter has voices that such a comparison did not judge: what was decided after seeing
its verdicts is confirmed there. Quarters that are held out one after the other judge together: all
their voices, each by models that did not learn from it.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hive_mtl.errors import DataError
from hive_mtl.learn.utterances import (
    recordings_of_each,
    training_utterances,
    validation_utterances,
    voices,
)

HELD_OUT = "held out for compare"  # the split that such voices get: training passes it over
QUARTERS = 4


def is_held_out(voice: str, quarter: int) -> bool:
    """Whether ``corpus/speaker`` is of a quarter, 0 to 3, if it has several recordings."""
    return int(hashlib.sha256(f"compare/{voice}".encode()).hexdigest(), 16) % QUARTERS == quarter


def hold_out(table: pa.Table, quarter: int) -> pa.Table:
    """The table with the split :data:`HELD_OUT` in the rows of the voices of a quarter.

    Raises:
        DataError: fewer than two voices are held out, or none is left to learn from.
    """
    candidates = _of_several_recordings(training_utterances(table))
    chosen = [voice for voice in candidates if is_held_out(voice, quarter)]
    codes, names = voices(table)
    held_out = np.isin(codes, np.flatnonzero(np.isin(names, chosen)))
    split = pc.if_else(pa.array(held_out), HELD_OUT, table["split"])
    table = table.set_column(table.schema.get_field_index("split"), "split", split)
    if len(chosen) < 2 or not len(training_utterances(table)):
        raise DataError(
            f"{len(chosen)} voices are held out for the comparison: it takes a quarter of "
            "the training voices that have several recordings: give data with more of them"
        )
    return table


def judged_utterances(table: pa.Table, splits: Sequence[str]) -> pa.Table:
    """The rows to judge: of the voices held out, and of further ``splits``.

    Raises:
        DataError: the table has no row of one of the splits.
    """
    there = table["split"].drop_null().unique().to_pylist()
    for split in splits:
        if split not in there:
            raise DataError(
                f"compare.splits: no rows of split '{split}': the data has {', '.join(there)}"
            )
    return table.filter(pc.is_in(table["split"], pa.array([HELD_OUT, *splits])))


def split_digests(table: pa.Table, splits: Sequence[str]) -> dict[str, dict[str, int | str]]:
    """By part, how many voices and utterances it has, and a digest of the names of its voices.

    Raises:
        DataError: a voice is in two of the parts.
    """
    parts = {
        "training": training_utterances(table),
        "validation": validation_utterances(table),
        "judged": judged_utterances(table, splits),
    }
    names = {part: set(voices(rows)[1]) for part, rows in parts.items()}
    for part, others in (
        ("training", "validation"),
        ("training", "judged"),
        ("validation", "judged"),
    ):
        if shared := sorted(names[part] & names[others]):
            raise DataError(f"voice '{shared[0]}' is both in {part} and {others}: name it in one")
    return {
        part: {
            "voices": len(names[part]),
            "utterances": len(rows),
            "sha256": hashlib.sha256("\n".join(sorted(names[part])).encode()).hexdigest(),
        }
        for part, rows in parts.items()
    }


def _of_several_recordings(table: pa.Table) -> list[str]:
    codes, names = voices(table)
    count = recordings_of_each(codes, table)
    return [name for name, recorded in zip(names, count, strict=True) if recorded > 1]
