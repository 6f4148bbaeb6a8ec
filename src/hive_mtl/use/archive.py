"""The index of an archive: the windows of every recording in a folder, embedded once and kept.

An index is a folder. ``index.json`` says which model and which windows it is of; each recording has
one file, named after its path, that is written whole or not at all. So indexing goes on where it
was stopped, and only what is new or has changed is embedded. A recording that fails has its file,
too, with the reason: it is tried again when it changes.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import platformdirs
from pydantic import BaseModel, ConfigDict, ValidationError

from hive_mtl.atomic import atomic_write, reason_of, what_to_do
from hive_mtl.audio import describe_source, find_recordings
from hive_mtl.errors import AudioError, DataError, ModelError
from hive_mtl.use.embedding import ENOUGH_SNR_DB, ENOUGH_SPEECH_S, WindowedEmbeddings
from hive_mtl.use.normalising import cohort_level
from hive_mtl.use.vectors_file import DAMAGED

if TYPE_CHECKING:
    from hive_mtl.use.model import Model

WINDOW_S, HOP_S = 2.0, 1.0  # on validation voices longer windows miss more of what is said
INDEX_FOLDER = ".hive-mtl-index"
_TERMS = "index.json"
_ENTRY = re.compile(r"[0-9a-f]{64}\.npz")
_FACTS = np.dtype(  # of a window; one array of all is read faster than one array of each
    [
        ("level", "<f4", 2),
        ("start_s", "<f8"),
        ("end_s", "<f8"),
        ("speech_s", "<f8"),
        ("snr_db", "<f8"),
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The windows of a recording that have enough speech to tell a voice, in order of time.

    Attributes:
        vectors: ``(windows, dim)`` float16, of unit norm to about 1e-4.
        level: ``(windows, 2)`` float32, see :func:`hive_mtl.use.normalising.cohort_level`; of a
            model without a cohort, zeros.
        start_s: ``(windows,)`` where each begins.
        end_s: ``(windows,)`` where it ends.
        speech_s: ``(windows,)`` seconds of speech in it.
        snr_db: ``(windows,)`` its signal-to-noise ratio.
        duration_s: seconds of the whole recording.
    """

    vectors: npt.NDArray[np.float16]
    level: npt.NDArray[np.float32]
    start_s: npt.NDArray[np.float64]
    end_s: npt.NDArray[np.float64]
    speech_s: npt.NDArray[np.float64]
    snr_db: npt.NDArray[np.float64]
    duration_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Indexed:
    """A recording of an archive.

    Attributes:
        path: where it is.
        size: of the file, in bytes.
        windows: None where it failed.
        problem: why it failed; "" where it did not.
    """

    path: Path
    size: int
    windows: Windows | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What tells one state of a recording from another; its path is from the archive's folder."""

    path: str
    size: int
    mtime_ns: int


_Kept = tuple[Windows | None, str]
"""The windows of a recording or, without them, why there are none."""


class _Terms(BaseModel):
    """What all vectors of an index have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    model_id: str
    cohort: str  # digest; "" where the model has none
    window_s: float = WINDOW_S
    hop_s: float = HOP_S
    archive: str | None = None  # its folder, where that of the index was given


class Archive:
    """A folder of recordings with its index; iterate to get every recording, embedded or looked up.

    Recordings that are gone drop out of the index as the iteration begins, unless it cannot be
    written. One recording is held at a time. Several processes may index one archive at once: they
    do the same work.

    Args:
        model: embeds what is not in the index.
        folder: of recordings, at any depth.
        index: the folder of the index, which is of this archive alone; None is ``.hive-mtl-index``
            in ``folder`` or, where that cannot be written, a folder of the user's cache.

    Raises:
        DataError: there are no recordings, or the index cannot be used or is of another archive.
        ModelError: the index is of another model.
    """

    def __init__(
        self, model: "Model", folder: str | os.PathLike[str], index: Path | None = None
    ) -> None:
        self._model = model
        self._folder = Path(folder)
        self._recordings = find_recordings(folder)
        if not self._recordings:
            raise DataError(f"{describe_source(folder)}: a folder without recordings: give another")
        self._index = _index_of(self._folder) if index is None else Path(index)
        archive = None if index is None else describe_source(self._folder.resolve())
        _claim(self._index, _terms(model, archive))

    @property
    def size(self) -> int:
        """Bytes of all recordings."""
        return sum(self._stamp(path).size for path in self._recordings)

    def __iter__(self) -> Iterator[Indexed]:
        self._drop_the_gone()
        for path in self._recordings:
            stamp = self._stamp(path)
            kept = _read(self._index / _entry(stamp.path), stamp) or self._embed(path, stamp)
            yield Indexed(path, stamp.size, *kept)

    def _embed(self, path: Path, stamp: _Stamp) -> _Kept:
        windows, problem = None, ""
        try:
            embedded = self._model.embed(path, window_s=WINDOW_S, hop_s=HOP_S)
        except AudioError as error:
            problem = str(error).removeprefix(f"{describe_source(path)}: ")
            if isinstance(error.__cause__, OSError):
                return None, problem  # of the disk, not of the recording: not to be remembered
        else:
            windows = _telling(embedded, self._model.cohort)
        _write(self._index / _entry(stamp.path), stamp, windows, problem)
        return windows, problem

    def _stamp(self, path: Path) -> _Stamp:
        name = self._name(path)
        try:
            status = path.stat()
        except OSError:  # gone meanwhile, or a link to nowhere: embedding it says what is wrong
            return _Stamp(name, 0, 0)
        return _Stamp(name, status.st_size, status.st_mtime_ns)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def _drop_the_gone(self) -> None:
        entries = {_entry(self._name(path)) for path in self._recordings}
        for file in self._index.iterdir():
            if _ENTRY.fullmatch(file.name) and file.name not in entries:
                with suppress(OSError):  # an index that cannot be written can still be read
                    file.unlink()


def _index_of(folder: Path) -> Path:
    if os.access(folder, os.W_OK):
        return folder / INDEX_FOLDER
    named = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    return platformdirs.user_cache_path("hive-mtl") / "indexes" / named


def _terms(model: "Model", archive: str | None) -> _Terms:
    cohort = "" if model.cohort is None else hashlib.sha256(model.cohort.tobytes()).hexdigest()
    return _Terms(model_id=model.description.model_id, cohort=cohort, archive=archive)


def _claim(index: Path, terms: _Terms) -> None:
    """Makes sure that ``index`` is a folder of vectors that may be compared; begins one if none."""
    place = index / _TERMS
    try:
        theirs = _Terms.model_validate_json(place.read_bytes())
    except FileNotFoundError:
        if index.is_dir() and any(not file.name.startswith(".") for file in index.iterdir()):
            raise DataError(
                f"{index}: holds no index but other files: give an empty folder or a new one"
            ) from None
        _write_terms(place, terms)
        return
    except OSError as error:
        raise DataError(
            f"{place}: cannot be read ({reason_of(error)}): {what_to_do(error)}"
        ) from error
    except ValidationError as error:
        raise DataError(
            f"{place}: damaged or of another version: delete the folder to index anew"
        ) from error
    if terms.archive and theirs.archive not in (None, terms.archive):
        raise DataError(f"{index}: is the index of {theirs.archive}: give another folder")
    if theirs.model_copy(update={"archive": terms.archive}) != terms:
        other = "with other settings" if theirs.model_id == terms.model_id else "by another model"
        raise ModelError(
            f"{index}: made {other} ({theirs.model_id}; this one is {terms.model_id}): give "
            "another folder for the index, or delete this one"
        )
    if terms.archive and not theirs.archive:
        with suppress(DataError):  # where nothing can be written, nothing can be dropped
            _write_terms(place, terms)


def _write_terms(place: Path, terms: _Terms) -> None:
    text = terms.model_dump_json(indent=1, exclude_none=True)
    with atomic_write(place) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")


def _entry(name: str) -> str:
    """The name of the file for a recording."""
    return f"{hashlib.sha256(os.fsencode(name)).hexdigest()}.npz"


def _write(entry: Path, stamp: _Stamp, windows: Windows | None, problem: str) -> None:
    about: dict[str, object] = {"recording": asdict(stamp), "problem": problem}
    arrays: dict[str, Any] = {}
    if windows is not None:
        about["duration_s"] = windows.duration_s
        facts = np.zeros(len(windows.vectors), _FACTS)
        for name in _FACTS.names or ():
            facts[name] = getattr(windows, name)
        arrays = {"vectors": windows.vectors, "facts": facts}
    with atomic_write(entry) as temporary:
        np.savez(temporary, about=np.array(json.dumps(about)), **arrays)


def _read(entry: Path, stamp: _Stamp) -> _Kept | None:
    """What is kept of a recording as it is now; None where that is nothing, or damaged."""
    try:
        with np.load(entry, allow_pickle=False) as arrays:
            about = json.loads(str(arrays["about"]))
            if about["recording"] != asdict(stamp):
                return None
            if about["problem"]:
                return None, about["problem"]
            vectors, facts = arrays["vectors"], arrays["facts"]
        columns = {name: facts[name] for name in _FACTS.names or ()}
        return Windows(vectors=vectors, **columns, duration_s=about["duration_s"]), ""
    except DAMAGED:
        return None


def _telling(embedded: WindowedEmbeddings, cohort: npt.NDArray[np.float32] | None) -> Windows:
    """The windows that have enough speech, normalised by a cohort ``(voices, dim)`` or by none."""
    speech_s = embedded.speech * (embedded.end_s - embedded.start_s)
    kept = (speech_s >= ENOUGH_SPEECH_S) & (embedded.snr_db >= ENOUGH_SNR_DB)
    vectors = embedded.vectors[kept]
    level = np.zeros((len(vectors), 2)) if cohort is None else cohort_level(vectors, cohort)
    return Windows(
        vectors=vectors.astype(np.float16),
        level=level.astype(np.float32),
        start_s=embedded.start_s[kept],
        end_s=embedded.end_s[kept],
        speech_s=speech_s[kept],
        snr_db=embedded.snr_db[kept],
        duration_s=float(embedded.end_s[-1]),
    )
