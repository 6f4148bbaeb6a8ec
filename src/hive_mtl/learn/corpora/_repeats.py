"""What several of the data name counts once."""

import logging
import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_FOLDER_AND_NAME = r"(?s)^(?P<folder>.*)/(?P<name>[^/]*)$"
_log = logging.getLogger(__name__)


def without_repeats(tables: dict[str, pa.Table], order: Sequence[str]) -> dict[str, pa.Table]:
    """The tables less the rows whose sound another table has that is earlier in ``order``.

    A sound is a file, a start and a duration. Links to folders are followed, links to single files
    are not. What one table says twice stays.

    Args:
        tables: utterances, by the data that they come from.
        order: all those data, the one that is believed first.
    """
    codes = dict(zip(tables, _sounds(list(tables.values())), strict=True))
    teller = np.zeros(1 + max(of_table.max() for of_table in codes.values()), dtype=np.int64)
    for place, data in reversed(list(enumerate(order))):
        teller[codes[data]] = place
    kept = {}
    for data, table in tables.items():
        own = teller[codes[data]] == order.index(data)
        kept[data] = table.filter(pa.array(own))
        if not own.all():
            _log.warning("%s: %d utterances left out that other data has too", data, np.sum(~own))
    return kept


def _sounds(tables: Sequence[pa.Table]) -> list[npt.NDArray[np.int32]]:
    """``(rows,)`` of each table: numbers that are the same where the sound is."""
    names = pa.chunked_array([chunk for table in tables for chunk in _names(table).chunks])
    encoded = names.dictionary_encode().unify_dictionaries().combine_chunks()
    ends = np.cumsum([len(table) for table in tables])
    return np.split(encoded.indices.to_numpy(), ends[:-1])


def _names(table: pa.Table) -> pa.ChunkedArray:
    """What each sound of a table is called whichever way led to its folder."""
    paths = pc.extract_regex(table["path"], _FOLDER_AND_NAME)
    given, name = (pc.struct_field(paths, part) for part in ("folder", "name"))
    folders = given.unique()  # few beside the files, and each costs a question to the disk
    real = pa.array([os.path.realpath(f"{folder}/") for folder in folders.to_pylist()], pa.string())
    folder = real.take(pc.index_in(given, value_set=folders))
    cells = (folder, name, table["start_s"], table["duration_s"])
    texts = [cell.cast(pa.large_string()).fill_null("") for cell in cells]
    return pc.binary_join_element_wise(*texts, pa.scalar("/", pa.large_string()))
