"""A path, bytes or a file object -> a binary file that can seek, at its beginning."""

import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from hive_mtl.atomic import reason_of
from hive_mtl.errors import AudioError

_SPOOL_BYTES = 1 << 25  # a pipe or a socket is kept in memory up to here, then on disk

ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
"""How an address begins, with its kind, where a path may be given."""


@contextmanager
def open_file(
    source: str | os.PathLike[str] | bytes | IO[bytes], where: str
) -> Iterator[IO[bytes]]:
    """The file, at its beginning; closed at the end unless it was given open.

    Raises:
        AudioError: there is no such file, it cannot be read, or it is empty.
    """
    try:
        with ExitStack() as stack:
            file = _binary(source, where, stack)
            if not file.seekable():
                spool = stack.enter_context(tempfile.SpooledTemporaryFile(_SPOOL_BYTES))
                shutil.copyfileobj(file, spool)
                file = spool
            if file.seek(0, os.SEEK_END) == 0:
                raise AudioError(f"{where}: is an empty file: give a recording")
            file.seek(0)
            yield file
    except OSError as error:
        raise AudioError(
            f"{where}: cannot be read ({reason_of(error)}): {_advice(error)}"
        ) from error


class Nameless:
    """An open file that does not tell its name, for those who would take its ending at its word."""

    name = None

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._file, attribute)


def _binary(
    source: str | os.PathLike[str] | bytes | IO[bytes], where: str, stack: ExitStack
) -> IO[bytes]:
    if isinstance(source, str | os.PathLike):
        return stack.enter_context(_local(source, where).open("rb", buffering=0))
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if not hasattr(source, "read"):
        raise AudioError(f"{where}: is not a recording: give a path, bytes, file or (array, rate)")
    if hasattr(source, "encoding"):
        raise AudioError(f"{where}: is open as text: open it in binary mode ('rb')")
    if source.closed:
        raise AudioError(f"{where}: is closed: give an open file")
    return source


def _local(path: str | os.PathLike[str], where: str) -> Path:
    text = os.fspath(path)
    if not text:
        raise AudioError("an empty path: give the path of a recording")
    if ADDRESS.match(text):
        raise AudioError(f"{where}: is an address, not a file: download it first")
    if "\0" in text:
        raise AudioError(f"{where}: cannot be a path, it holds a zero byte: check the path")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise AudioError(
            f"{where}: cannot be a path, it holds half a character: check the path"
        ) from error
    return Path(text)


def _advice(error: OSError) -> str:
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return "check the path"
        case IsADirectoryError():
            return "give a file in it, or use a command that takes folders"
        case PermissionError():
            return "check its permissions"
    return "check the disk and copy it anew"
