"""Files that are either whole or not there: temporary name, fsync, rename."""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hive_mtl.errors import DataError

_NO_ROOM = "free some space or choose another place"
_FILE_IN_THE_WAY = "a file is in the way: remove it or choose another place"
_FOLDER_IN_THE_WAY = "a folder is in the way: remove it or choose another name"
_NOT_ALLOWED = "check the permissions or choose another place"
_WHAT_TO_DO = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: _NO_ROOM,
    errno.EEXIST: _FILE_IN_THE_WAY,
    errno.ENOTDIR: _FILE_IN_THE_WAY,
    errno.EISDIR: _FOLDER_IN_THE_WAY,
    errno.ENOTEMPTY: _FOLDER_IN_THE_WAY,
    errno.EACCES: _NOT_ALLOWED,
    errno.EPERM: _NOT_ALLOWED,
    errno.EROFS: _NOT_ALLOWED,
    errno.ENOENT: "check the path",
    errno.ENAMETOOLONG: "choose a shorter name",
}
_SHOWN = 32  # characters of a name: in four bytes each, with more around them, still a name


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path``: it becomes ``path``, or on an error it is removed.

    What is made there may be a file or a folder; a folder replaces an older folder. A process that
    is killed leaves a hidden folder ``.NAME.xxxxxxxx`` behind, with the beginning of a long name.
    Nothing removes it by itself: other machines may be writing to theirs for days, and one that was
    killed as it replaced a folder holds the older folder.

    Raises:
        DataError: the place cannot be written (no such folder, no permission, disk full), or is a
            device or a pipe.
        OSError: any other that is raised inside, as it is.
    """
    path = Path(path)
    if is_special(path):  # a file would take its place
        raise DataError(f"{path}: is a device or a pipe: give the name of a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        holder = Path(tempfile.mkdtemp(prefix=f".{path.name[:_SHOWN]}.", dir=path.parent))
    except OSError as error:
        raise _cannot_write(path, error) from error
    temporary = holder / path.name
    older = holder / ("old" if len(path.name) > 3 else "replaced")  # never the same name
    try:
        yield temporary
        _sync(temporary)
        if temporary.is_dir() and path.is_dir():
            path.rename(older)
        temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        if older.is_dir() and not path.exists():  # stopped between the two renames
            _put_back(older, path)
        shutil.rmtree(holder, ignore_errors=True)
        if isinstance(error, OSError) and _is_about(path, holder, error):
            raise _cannot_write(path, error) from error
        raise
    shutil.rmtree(holder, ignore_errors=True)


def check_no_folder(path: Path) -> None:
    """Lets pass where a file may be written, before any work.

    Raises:
        DataError: a folder has that name.
    """
    if is_folder(path):
        raise DataError(f"{path}: is a folder: give the name of a file")


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether it is a folder; not where the system does not tell, as of names that are too long."""
    return os.path.isdir(path)  # noqa: PTH112 - that of Path raises there


def is_special(path: Path) -> bool:
    """Whether it is a device, a pipe or a socket; not where the system does not tell."""
    try:
        mode = path.stat().st_mode
    except OSError:  # nothing is there, or opening it says what is wrong
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def reason_of(error: OSError) -> str:
    """What the system says is wrong, to stand inside a line."""
    return (error.strerror or str(error)).lower()


def what_to_do(error: OSError) -> str:
    """The end of a line about a file or folder that the system refused."""
    return _WHAT_TO_DO.get(error.errno or 0, "try again or choose another place")


def _is_about(path: Path, holder: Path, error: OSError) -> bool:
    """Whether it is the writing that failed; the system names no file where the disk is full."""
    if not isinstance(error.filename, str | bytes):
        return what_to_do(error) == _NO_ROOM or error.errno == errno.EIO
    named = Path(os.fsdecode(error.filename)).absolute()
    return path.absolute() == named or holder.absolute() in (named, *named.parents)


def _put_back(older: Path, path: Path) -> None:
    try:
        older.rename(path)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be put back ({reason_of(error)}): it is kept in {older}, move it back"
        ) from error


def _cannot_write(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be written ({reason_of(error)}): {what_to_do(error)}")


def _sync(path: Path) -> None:
    if path.is_dir():
        for inner in path.iterdir():
            _sync(inner)
        _sync_folder(path)
        return
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
