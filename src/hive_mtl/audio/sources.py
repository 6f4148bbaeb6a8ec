"""What may be given as a recording, how it is called in messages, and what is found in a folder."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, SupportsFloat

import numpy as np
import numpy.typing as npt

from hive_mtl.atomic import is_folder, is_special, reason_of, what_to_do
from hive_mtl.errors import DataError

SAMPLE_RATE = 16_000
"""Samples per second of every wave inside the package."""

Wave = npt.NDArray[np.float32]
"""``(samples,)``: mono, 16 kHz, full scale = [-1, 1] (a decoder may overshoot it slightly)."""

# fmt: off
AUDIO_SUFFIXES = frozenset({
    ".3gp", ".aac", ".aif", ".aifc", ".aiff", ".amr", ".au", ".caf", ".flac", ".m4a", ".mka",
    ".mkv", ".mov", ".mp3", ".mp4", ".oga", ".ogg", ".opus", ".rf64", ".snd", ".sph", ".w64",
    ".wav", ".weba", ".webm", ".wma",
})
# fmt: on
"""Lower-case endings of the files that are taken for recordings when a folder is walked."""


@dataclass(frozen=True)
class Segment:
    """A part of a recording; to its end if ``duration_s`` is None or reaches beyond the end."""

    path: Path
    start_s: float = 0.0
    duration_s: float | None = None


Source = (
    str
    | os.PathLike[str]
    | bytes
    | BinaryIO
    | Segment
    | tuple[npt.NDArray[np.floating[Any] | np.signedinteger[Any]], SupportsFloat]
)
"""Path, content of a file, open binary file, segment, or ``(array, samples per second)``.

The array is ``(samples,)`` or ``(samples, channels)``: floats in [-1, 1], or int16 or int32.
"""


def describe_source(source: Source) -> str:
    """Its name in messages: ``a.wav``, ``a.wav [3.0-5.0 s]``, ``array of 16000 samples``."""
    match source:
        case Segment(path=path, start_s=0.0, duration_s=None):
            return _printable(path)
        case Segment(path=path, start_s=start_s, duration_s=duration_s):
            end = "" if duration_s is None else round(start_s + duration_s, 6)
            return f"{_printable(path)} [{start_s}-{end} s]"
        case str() | os.PathLike():
            return _printable(source)
        case bytes():
            return f"recording of {len(source)} bytes"
        case (array, _):
            shape = getattr(array, "shape", ())
            return f"array of {shape[0]} samples" if shape else "array"
    name = getattr(source, "name", None)
    return _printable(name) if isinstance(name, str) else type(source).__name__


def check_no_recording(path: Path) -> None:
    """Lets pass where something else than sound may be written.

    Raises:
        DataError: it is the name of a recording, which would be lost.
    """
    if path.suffix.lower() in AUDIO_SUFFIXES:
        raise DataError(f"{path}: is the name of a recording: give another file to write")


def find_recordings(folder: str | os.PathLike[str]) -> list[Path]:
    """All recordings in a folder and the folders in it, sorted.

    Hidden files and folders are left out, and what is no file, as a pipe.

    Raises:
        DataError: there is no such folder, or it or one in it cannot be listed.
    """
    if not is_folder(folder):
        raise DataError(f"{_printable(folder)}: is not a folder: give a folder of recordings")
    return sorted(_walk(Path(folder)))


def _walk(folder: Path) -> Iterator[Path]:
    visited: set[Path] = set()  # links are followed, and a link may lead back to a folder above it
    for place, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        real = Path(place).resolve()
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = (name for name in folders if not name.startswith("."))
        paths = (Path(place, name) for name in names if not name.startswith("."))
        recordings = (path for path in paths if path.suffix.lower() in AUDIO_SUFFIXES)
        # a pipe might be waited for without end
        yield from (path for path in recordings if not is_special(path))


def _refuse(error: OSError) -> NoReturn:
    place = _printable(error.filename)
    raise DataError(
        f"{place}: cannot be listed ({reason_of(error)}): {what_to_do(error)}"
    ) from error


def _printable(path: str | os.PathLike[str]) -> str:
    """The path as one line that every terminal can show."""
    text = os.fspath(path)
    return text if text.isprintable() else ascii(text)
