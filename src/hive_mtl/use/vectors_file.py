"""Files of embeddings: NumPy's .npz, and Parquet for millions of them.

``.npz``: one entry a recording, the key is the path as it was given and the value the float32 unit
vector ``(dim,)``, or its packed bits ``(bits / 8,)`` in uint8; ``numpy.load`` reads it. The model's
id stands in the comment of the zip archive, so that every key is a recording.

``.parquet``: the columns path, vector, model_id, speech_seconds, snr_db, clipped, flags.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from hive_mtl.atomic import atomic_write, check_no_folder
from hive_mtl.description import ModelDescription
from hive_mtl.errors import ConfigError, DataError, MissingExtraError
from hive_mtl.use.binary import binarise, check_bits
from hive_mtl.use.embedding import Embedding

try:
    from lzma import LZMAError
except ImportError:  # Python may be built without it: zipfile then raises a RuntimeError instead
    LZMAError = RuntimeError  # type: ignore[misc,assignment]

Rows = npt.NDArray[np.float32] | npt.NDArray[np.uint8]

DAMAGED = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    EOFError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    TokenError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    LZMAError,
)
"""What reading a file of arrays raises where bytes of it have changed."""

_ROW_GROUP = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """Embeddings from a file.

    Attributes:
        paths: of the recordings, as they were given.
        vectors: ``(recordings, dim)`` float32, rows of unit norm; or their packed bits
            ``(recordings, bits / 8)`` uint8, which :mod:`hive_mtl.use.binary` compares.
        model_id: the model that made them; "" where the file does not say.
    """

    paths: tuple[str, ...]
    vectors: Rows
    model_id: str

    @property
    def bits(self) -> int | None:
        """Of a vector, where the file holds bits; None where it holds float32."""
        return 8 * self.vectors.shape[1] if self.vectors.dtype == np.uint8 else None


def write_vectors(
    path: Path,
    model: ModelDescription,
    entries: Iterable[tuple[str, Embedding]],
    *,
    bits: int | None = None,
) -> int:
    """Writes embeddings as they come, in bounded memory; the file is there whole or not at all.

    A path that comes twice is written once.

    Args:
        path: of the file; its suffix, ``.npz`` or ``.parquet``, says the format.
        model: what the model that makes the embeddings says of itself.
        entries: the path of each recording as it was given, and its embedding.
        bits: write so many bits of each vector in its place, see :mod:`hive_mtl.use.binary`.

    Returns:
        How many embeddings were written.

    Raises:
        ConfigError: the suffix is neither of the two, or there cannot be so many bits.
        DataError: the file cannot be written (a folder of that name is seen before any embedding
            is asked for), or a path is not text in UTF-8.
        MissingExtraError: Parquet needs pyarrow, which is not installed.
    """
    path = Path(path)
    write = {".npz": _write_npz, ".parquet": _write_parquet}.get(path.suffix.lower())
    if write is None:
        raise ConfigError(f"{path}: embeddings are written as .npz or .parquet: choose one")
    check_no_folder(path)
    if bits is not None:
        check_bits(bits)
    with atomic_write(path) as temporary:
        return write(temporary, _Kept(model, bits), _once(entries))


def read_vectors(path: Path) -> Vectors:
    """Reads what :func:`write_vectors` wrote.

    Raises:
        ConfigError: the suffix is neither ``.npz`` nor ``.parquet``.
        DataError: the file is missing or holds something else.
        MissingExtraError: Parquet needs pyarrow, which is not installed.
    """
    path = Path(path)
    read = {".npz": _read_npz, ".parquet": _read_parquet}.get(path.suffix.lower())
    if read is None:
        raise ConfigError(f"{path}: embeddings are read from .npz or .parquet: choose one")
    try:
        return read(path)
    except DAMAGED as error:
        reason = str(error) or type(error).__name__
        raise DataError(
            f"{path}: not a file of embeddings ({reason}): give one that hive-mtl embed wrote"
        ) from error


def _once(entries: Iterable[tuple[str, Embedding]]) -> Iterator[tuple[str, Embedding]]:
    seen = set()
    for path, embedding in entries:
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{path!r}: this name is not UTF-8: rename the file") from error
        if path not in seen:
            seen.add(path)
            yield path, embedding


@dataclass(frozen=True)
class _Kept:
    """What a file holds of a model's embeddings."""

    model: ModelDescription
    bits: int | None

    def of(self, embedding: Embedding) -> Rows:
        """``(dim,)``, or ``(bits / 8,)``."""
        if self.bits is None:
            return embedding.vector
        row: Rows = binarise(embedding.vector[None], self.bits, self.model.leading)[0]
        return row


def _write_npz(file: Path, kept: _Kept, entries: Iterator[tuple[str, Embedding]]) -> int:
    count = 0
    with zipfile.ZipFile(file, "w") as archive:
        archive.comment = kept.model.model_id.encode()
        for path, embedding in entries:
            array = io.BytesIO()
            np.lib.format.write_array(array, kept.of(embedding))
            archive.writestr(zipfile.ZipInfo(f"{path}.npy"), array.getbuffer())
            count += 1
    return count


def _read_npz(path: Path) -> Vectors:
    with zipfile.ZipFile(path) as archive:
        model_id = archive.comment.decode()
    with np.load(path, allow_pickle=False) as arrays:
        paths = tuple(arrays.files)
        vectors = np.stack([arrays[name] for name in paths]) if paths else np.empty((0, 0))
    return Vectors(paths, _as_read(vectors), model_id)


def _as_read(vectors: npt.NDArray[Any]) -> Rows:
    """Bits as they are, anything else as float32."""
    return vectors if vectors.dtype == np.uint8 else vectors.astype(np.float32, copy=False)


def _write_parquet(file: Path, kept: _Kept, entries: Iterator[tuple[str, Embedding]]) -> int:
    try:
        import pyarrow as pa  # here, because the base install has none
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("writing Parquet", "analysis") from error
    schema = pa.schema(
        [
            ("path", pa.string()),
            ("vector", pa.list_(pa.float32() if kept.bits is None else pa.uint8())),
            ("model_id", pa.string()),
            ("speech_seconds", pa.float64()),
            ("snr_db", pa.float64()),
            ("clipped", pa.float64()),
            ("flags", pa.list_(pa.string())),
        ]
    )
    count = 0
    with pq.ParquetWriter(file, schema) as writer:
        while rows := list(islice(entries, _ROW_GROUP)):
            cells = [_row(kept, *row) for row in rows]
            writer.write_table(pa.Table.from_pylist(cells, schema))
            count += len(rows)
    return count


def _row(kept: _Kept, path: str, embedding: Embedding) -> dict[str, object]:
    return {
        "path": path,
        "vector": kept.of(embedding),
        "model_id": kept.model.model_id,
        "speech_seconds": embedding.speech_seconds,
        "snr_db": embedding.snr_db,
        "clipped": embedding.clipped,
        "flags": embedding.flags,
    }


def _read_parquet(path: Path) -> Vectors:
    try:
        import pyarrow.parquet as pq  # here, because the base install has none
    except ImportError as error:
        raise MissingExtraError("reading Parquet", "analysis") from error
    table = pq.read_table(path, columns=["path", "vector", "model_id"])
    rows = table.num_rows
    # chunk by chunk: Arrow counts the numbers inside a list column in 32 bits
    chunks = [each.flatten().to_numpy(zero_copy_only=False) for each in table["vector"].chunks]
    vectors = np.concatenate(chunks).reshape(rows, -1) if rows else np.empty((0, 0))
    return Vectors(
        paths=tuple(table["path"].to_pylist()),
        vectors=_as_read(vectors),
        model_id=table["model_id"][0].as_py() if rows else "",
    )
