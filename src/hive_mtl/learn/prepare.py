"""Recordings -> waveforms that training reads at the speed of memory.

Every utterance is decoded, resampled and trimmed of silence once, in parallel, and appended as
16-bit samples to a shard; an index beside it says where each lies. Training then reads only the
samples of a crop. Memory is bounded by one shard's index, whatever the size of the corpus, and a
preparation that was interrupted goes on at the first missing shard.
"""

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import platformdirs
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import soundfile

from hive_mtl import audio
from hive_mtl.atomic import atomic_write
from hive_mtl.errors import AudioError, DataError

SHARD_UTTERANCES = 2048
LONGEST_S = 60.0  # as much as the network is ever given at once
AHEAD = 32  # utterances decoded ahead of the writer
FORMAT = 2  # raise when what is stored for the same recording changes

Int16 = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Prepared:
    """Utterances whose waveforms can be read by row.

    Attributes:
        folder: where the shards lie.
        table: the utterances that could be decoded; where ``duration_s`` was not known it is what
            is left after trimming.
        shard, offset, samples: ``(utterances,)`` where each waveform lies and how long it is.
        failures: 'path: problem' of each utterance that could not be decoded.
    """

    folder: Path
    table: pa.Table
    shard: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    samples: npt.NDArray[np.int64]
    failures: tuple[str, ...]
    _files: "_OpenShards" = field(repr=False)

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, row: int, start: int = 0, count: int | None = None) -> Int16:
        """``count`` samples of an utterance from ``start`` on (all that follow if None)."""
        left = int(self.samples[row]) - start
        count = left if count is None else min(count, left)
        position = 2 * (int(self.offset[row]) + start)
        data = os.pread(self._files.descriptor(int(self.shard[row])), 2 * count, position)
        return np.frombuffer(data, dtype=np.int16)

    def wave(self, row: int) -> audio.Wave:
        """A whole utterance as ``(samples,)`` float32 in [-1, 1]."""
        return to_float(self.read(row))


def default_cache() -> Path:
    """The user's cache folder, as the operating system names it."""
    return platformdirs.user_cache_path("hive-mtl") / "prepared"


def prepare_noises(folder: Path, cache: Path | None = None) -> Path:
    """A folder with the recordings of ``folder`` as WAV, of which a part is read in no time.

    Raises:
        DataError: ``folder`` is no folder, or holds no recording.
    """
    recordings = audio.find_recordings(folder)
    if not recordings:
        raise DataError(f"{folder}: holds no recordings to use as noise: check augment.noises")
    table = pa.table({"path": [str(path) for path in recordings]})
    missing = pa.nulls(len(table), pa.float64())
    key = _key(table.append_column("start_s", missing).append_column("duration_s", missing))
    prepared = (cache or default_cache()) / f"{key}-noises"
    if not prepared.is_dir():
        with atomic_write(prepared) as temporary:
            temporary.mkdir()
            for number, path in enumerate(recordings):
                name = temporary / f"{number:04d}.wav"
                wave = audio.load(path)
                try:
                    soundfile.write(name, wave, audio.SAMPLE_RATE, subtype="PCM_16")
                except soundfile.LibsndfileError as error:  # so it tells of a full disk
                    raise OSError(errno.ENOSPC, str(error), str(name)) from error
    return prepared


def to_float(samples: Int16) -> audio.Wave:
    """16-bit samples -> float32 in [-1, 1]."""
    return samples.astype(np.float32) / np.float32(32768.0)


def prepare(
    table: pa.Table,
    cache: Path | None = None,
    *,
    max_failures: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Prepared:
    """Decodes what is not decoded yet and opens the result.

    Args:
        table: utterances (see :mod:`hive_mtl.learn.utterances`).
        cache: the folder that keeps prepared corpora; by default the user's cache folder. What is
            kept is named by the content of ``table`` and the size and date of every recording.
        max_failures: how many utterances may fail; any number if None.
        progress: called with the number of utterances finished since the last call.

    Raises:
        DataError: nothing could be decoded, or more than ``max_failures`` failed.
    """
    folder = (cache or default_cache()) / _key(table)
    for number, start in enumerate(range(0, len(table), SHARD_UTTERANCES)):
        rows = table.slice(start, SHARD_UTTERANCES)
        shard, index = (folder / f"{number:06d}{suffix}" for suffix in (".i16", ".parquet"))
        if shard.is_file() and index.is_file():
            progress(len(rows))
        else:
            _write_shard(folder, number, rows, progress)
    return _open(table, folder, max_failures)


def in_pieces(table: pa.Table, longest_s: float = LONGEST_S) -> pa.Table:
    """Cuts the utterances that are longer than ``longest_s`` into equal parts, one row each."""
    duration = table["duration_s"].fill_null(0.0).to_numpy()
    parts = np.maximum(np.ceil(duration / longest_s), 1).astype(np.int64)
    if (parts == 1).all():
        return table
    row = np.repeat(np.arange(len(table)), parts)
    part = np.arange(len(row)) - np.repeat(np.cumsum(parts) - parts, parts)
    length = (duration / parts)[row]
    columns = {name: table[name].take(row) for name in table.column_names}
    columns["start_s"] = pa.array(columns["start_s"].to_numpy() + part * length)
    columns["duration_s"] = pa.array(length, mask=length == 0.0)
    return pa.table(columns)


def _write_shard(
    folder: Path, number: int, rows: pa.Table, progress: Callable[[int], None]
) -> None:
    offsets, lengths, problems, position = [], [], [], 0
    with atomic_write(folder / f"{number:06d}.i16") as temporary, temporary.open("wb") as shard:
        for samples, problem in _decoded(rows):
            shard.write(samples.data)
            offsets.append(position)
            lengths.append(len(samples))
            problems.append(problem)
            position += len(samples)
            progress(1)
    index = pa.table(
        {"offset": offsets, "samples": lengths, "problem": pa.array(problems, pa.string())}
    )
    with atomic_write(folder / f"{number:06d}.parquet") as temporary:
        pq.write_table(index, temporary)


def _decoded(rows: pa.Table) -> Iterator[tuple[Int16, str | None]]:
    """The waveforms of the rows in order, decoded a little ahead by all cores."""
    columns = [rows[name].to_pylist() for name in ("path", "start_s", "duration_s")]
    segments = zip(*columns, strict=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pending = [pool.submit(_decode, *segment) for segment in islice(segments, AHEAD)]
        while pending:
            yield pending.pop(0).result()
            pending.extend(pool.submit(_decode, *segment) for segment in islice(segments, 1))


def _decode(path: str, start_s: float, duration_s: float | None) -> tuple[Int16, str | None]:
    nothing = np.zeros(0, dtype=np.int16)
    whole = start_s == 0.0 and duration_s is None
    source = path if whole else audio.Segment(Path(path), start_s, duration_s)
    try:
        recording = audio.load(source)
    except AudioError as error:
        return nothing, str(error)
    # asked of the whole: without the silence around it a held vowel has nothing to rise above
    if not audio.speech_frames(recording).any():
        return nothing, f"{path}: no speech found: check the recording"
    wave = audio.trim_silence(recording)
    return np.clip(np.rint(wave * 32768.0), -32768, 32767).astype(np.int16), None


def _open(table: pa.Table, folder: Path, max_failures: int | None) -> Prepared:
    indices = [
        pq.read_table(folder / f"{number:06d}.parquet").append_column(
            "shard", pa.array(np.full(min(SHARD_UTTERANCES, len(table) - start), number))
        )
        for number, start in enumerate(range(0, len(table), SHARD_UTTERANCES))
    ]
    if not indices:
        raise DataError("no utterances to prepare: check the data and its split column")
    index = pa.concat_tables(indices)
    failures = tuple(index["problem"].drop_null().to_pylist())
    if max_failures is not None and len(failures) > max_failures:
        raise DataError(
            f"{len(failures)} of {len(table)} recordings failed, more than the {max_failures} "
            f"allowed; the first: {failures[0]}"
        )
    good = pc.is_null(index["problem"])
    if not pc.any(good).as_py():
        raise DataError(
            f"none of {len(table)} recordings could be prepared; the first: {failures[0]}"
        )
    index, table = index.filter(good), table.filter(good)
    samples = index["samples"].to_numpy()
    place = table.schema.get_field_index("duration_s")
    known = pc.coalesce(table["duration_s"], pa.array(samples / audio.SAMPLE_RATE))
    table = table.set_column(place, "duration_s", known)
    return Prepared(
        folder=folder,
        table=table,
        shard=index["shard"].to_numpy(),
        offset=index["offset"].to_numpy(),
        samples=samples,
        failures=failures,
        _files=_OpenShards(folder),
    )


def _key(table: pa.Table) -> str:
    """Names a preparation: the utterances, and the size and date of every recording."""
    digest = hashlib.sha256(f"{FORMAT} {SHARD_UTTERANCES}".encode())
    for batch in table.select(["path", "start_s", "duration_s"]).to_batches():
        for path, start_s, duration_s in zip(*batch.to_pydict().values(), strict=True):
            try:
                status = Path(path).stat()
                state = f"{status.st_size} {status.st_mtime_ns}"
            except OSError:
                state = "missing"
            digest.update(f"{path}\t{start_s}\t{duration_s}\t{state}\n".encode())
    return digest.hexdigest()[:16]


class _OpenShards:
    """File descriptors by shard, opened on first use in each process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[int, int] = {}
        self._lock = threading.Lock()

    def descriptor(self, number: int) -> int:
        with self._lock:
            if number not in self._open:
                path = self.folder / f"{number:06d}.i16"
                try:
                    self._open[number] = os.open(path, os.O_RDONLY)
                except OSError as error:
                    raise DataError(
                        f"{path}: cannot be read ({error.strerror}): run again to prepare it anew"
                    ) from error
            return self._open[number]

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"])  # type: ignore[misc]

    def __del__(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
