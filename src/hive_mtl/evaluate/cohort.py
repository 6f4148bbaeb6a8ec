"""The cohort of a model: training voices by which its scores are normalised."""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hive_mtl.atomic import atomic_write
from hive_mtl.description import ONNX_COHORT_KEY
from hive_mtl.errors import DataError, ModelError
from hive_mtl.evaluate.embedded import embed_table
from hive_mtl.learn.utterances import training_utterances, voices
from hive_mtl.model_file import seal, unseal, with_entry
from hive_mtl.use.model import Model, load
from hive_mtl.use.normalising import cohort_to_text
from hive_mtl.use.scoring import mean_vector

MOST_VOICES = 200
RECORDINGS = 5  # of a voice, at most: its centre hardly moves after that
MIN_DURATION_S = 2.0  # as in evaluation


def add_cohort(file: Path, table: pa.Table) -> int:
    """Puts a cohort into a model file that has none; gives how many voices it has.

    Args:
        file: a model.onnx as export wrote it.
        table: the data that the model was trained on.

    Raises:
        DataError: no training voice has two recordings that are long enough.
        ModelError: the file is no model.
    """
    cohort = embed_cohort(load(file), choose_cohort(table))
    content = unseal(file.read_bytes())
    if content is None:
        raise ModelError(f"{file}: changed while its cohort was made: export the model anew")
    with atomic_write(file) as temporary:
        temporary.write_bytes(seal(with_entry(content, ONNX_COHORT_KEY, cohort_to_text(cohort))))
    return len(cohort)


def choose_cohort(table: pa.Table) -> pa.Table:
    """The utterances of a cohort: voices drawn by a hash, from whatever the model learnt from.

    Equal shares for every corpus and gender did worse on validation voices: over all corpora at one
    threshold they left equal errors at 6.9%, where a plain draw brings them to 5.7%.
    """
    rows, recordings = training_voices(table)
    several = [mine[:RECORDINGS] for mine in recordings if len(mine) >= 2]
    if not several:
        raise DataError(
            f"data for a cohort: no training voice has two recordings of {MIN_DURATION_S:g} s: "
            "give the data that the model was trained on"
        )
    return rows.take(pa.array(np.concatenate(several[:MOST_VOICES])))


def training_voices(table: pa.Table) -> tuple[pa.Table, list[npt.NDArray[np.int64]]]:
    """What a model learnt from and is long enough: the rows, and which are of each voice.

    Voices come in the order of a hash of their name.
    """
    rows = training_utterances(table)
    long_enough = pc.greater_equal(rows["duration_s"].fill_null(np.inf), MIN_DURATION_S)
    rows = rows.filter(pc.and_(long_enough, pc.is_valid(rows["speaker"])))
    voice, names = voices(rows)
    ends = np.cumsum(np.bincount(voice, minlength=len(names)))
    recordings = np.split(np.argsort(voice, kind="stable"), ends[:-1])
    digests = [hashlib.sha256(f"cohort/{name}".encode()).digest() for name in names]
    return rows, [recordings[code] for code in sorted(range(len(names)), key=digests.__getitem__)]


def embed_cohort(model: Model, table: pa.Table) -> npt.NDArray[np.float32]:
    """The centre of each voice of a table ``(voices, dim)``; what cannot be read is left out.

    Raises:
        DataError: nothing can be read.
    """
    embedded = embed_table(model, table)
    readable = np.flatnonzero(~embedded.missing)
    if not len(readable):
        first = embedded.failures[0]
        raise DataError(
            f"data for a cohort: no recording of the {len(table)} can be read, such as "
            f"{first.path}: {first.reason}"
        )
    voice = embedded.voice[readable]
    return np.stack(
        [mean_vector(embedded.vectors[readable[voice == code]]) for code in np.unique(voice)]
    )
