"""LibriSpeech from its server: fetched, checked, and unpacked whole or not at all."""

import fcntl
import gzip
import logging
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.filesize import decimal

from hive_mtl.atomic import atomic_write
from hive_mtl.errors import ConfigError, DataError
from hive_mtl.learn.fetching import Patience, Progress, announced_length, fetch, writing
from hive_mtl.learn.registry import suggestion

OPENSLR = "https://www.openslr.org/resources/12"
MD5 = {
    "dev-clean": "42e2234ba48799c1f50f24a7926300a1",
    "dev-other": "c8d0bcc9cca99d4f8b62fcc847357931",
    "test-clean": "32fa31d27d2e1cad72775fee3f4849a9",
    "test-other": "fb5a50374b501bb3bac4815ee91d3135",
    "train-clean-100": "2a93770f6d5c6c964bc36631d331a522",
    "train-clean-360": "c0e676e450a7ff2f54aeade5171606fa",
    "train-other-500": "d1a0fd59409feb2c614ce4d30c387708",
}
DEFAULT_SUBSETS = ("test-clean", "test-other", "train-clean-360")

_UNPACKED = 1.05  # on disk for a byte of archive: FLAC does not shrink, and files fill blocks
_PATIENT = Patience()
_log = logging.getLogger(__name__)


def _unseen(step: str, done: int, total: int | None) -> None:
    """Progress that nobody looks at."""


def download_librispeech(
    folder: Path,
    subsets: Sequence[str] = (),
    *,
    mirror: str | None = None,
    published: Mapping[str, str] = MD5,
    patience: Patience = _PATIENT,
    progress: Progress = _unseen,
) -> Path:
    """Fetches, checks and unpacks subsets of LibriSpeech; those that are there are left alone.

    Panayotov et al., 'LibriSpeech: an ASR corpus based on public domain audio books', ICASSP 2015;
    https://www.openslr.org/12.

    Args:
        folder: gets ``LibriSpeech/<subset>/<speaker>/<chapter>/*.flac``, and SPEAKERS.TXT and its
            like beside the subsets. An archive is fetched into ``LibriSpeech/NAME.tar.gz.part``
            and deleted when it is unpacked, for it holds nothing that the folder does not.
        subsets: names out of ``published``; without any, ``DEFAULT_SUBSETS``.
        mirror: the address of a folder that holds ``<subset>.tar.gz``; without it, ``OPENSLR``.
        published: the MD5 of the archive of each subset, in hexadecimal digits.
        patience: how often and how fast a server is asked again.
        progress: is told how far each step is.

    Returns:
        ``folder/LibriSpeech``.

    Raises:
        ConfigError: no such subset, or the mirror is no address.
        DataError: the server is gone or refuses, a checksum is wrong twice, the disk is too small,
            an archive is none, or the folder cannot be written. What was fetched is there for the
            next run, unless its checksum is wrong.
    """
    mirror = mirror or OPENSLR
    subsets = tuple(dict.fromkeys(subsets or DEFAULT_SUBSETS))
    for name in subsets:
        if name not in published:
            raise ConfigError(f"unknown subset '{name}'{suggestion(name, published)}")
    if not mirror.lower().startswith(("https://", "http://")):
        raise ConfigError(f"mirror '{mirror}' is no address: give one such as {OPENSLR}")
    if not hasattr(tarfile, "data_filter"):
        raise ConfigError("this Python cannot unpack archives safely: use 3.11.4 or newer")
    root = folder / "LibriSpeech"
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
        with _alone(root):
            parts = {name: root / f"{name}.tar.gz.part" for name in subsets}
            for name in [name for name in parts if (root / name).is_dir()]:
                parts.pop(name).unlink(missing_ok=True)  # left by a run killed at its very end
            urls = {name: f"{mirror.rstrip('/')}/{name}.tar.gz" for name in parts}
            sizes = [announced_length(url, patience.timeout_s) for url in urls.values()]
            _require_room(root, parts.values(), *sizes)
            for name, part in parts.items():
                fetch(
                    urls[name],
                    published[name],
                    part,
                    patience=patience,
                    expect=partial(_require_room, root, [part]),
                    progress=progress,
                )
                _unpack(part, root, name, progress)
    return root


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Keeps a second process from appending to the same files."""
    handle = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(
                f"{root}: another download is under way here: wait for it or choose another folder"
            ) from error
        except OSError as error:
            _log.debug("%s: cannot be locked: %s", root, error)  # not every file system can
        yield
    finally:
        os.close(handle)


def _require_room(root: Path, parts: Iterable[Path], *sizes: int | None) -> None:
    """Archives come one after the other, and each is deleted before the next.

    Args:
        root: the folder of the corpus.
        parts: where each archive goes; a part of it may be there.
        sizes: the length of each in bytes, where it is known.

    Raises:
        DataError: the disk is too small.
    """
    kept = needed = 0
    for part, size in zip(parts, sizes, strict=True):
        if size is not None:
            here = part.stat().st_size if part.exists() else 0
            unpacked = int(_UNPACKED * size)
            needed = max(needed, kept + max(size - here, 0) + unpacked)
            kept += unpacked - here
    free = shutil.disk_usage(root).free
    if needed > free:
        raise DataError(
            f"{root}: needs {decimal(needed)} to fetch and unpack, of which {decimal(free)} are "
            "free: free some space or choose another folder"
        )


def _unpack(archive: Path, root: Path, subset: str, progress: Progress) -> None:
    """Makes ``root/subset``, whole or not at all, and the texts of the corpus beside it.

    The folder is not made by :mod:`hive_mtl.atomic`, which syncs file by file: that takes minutes
    for the hundred thousand of a subset.

    Raises:
        DataError: it is no archive of this subset.
    """
    place = root / ".unpacking"
    shutil.rmtree(place, ignore_errors=True)  # left by a run that was killed
    try:
        _extract(archive, place, progress)
        corpus = place / "LibriSpeech"
        if not (corpus / subset).is_dir():
            raise DataError(f"{archive}: holds no LibriSpeech/{subset}: remove it and run again")
        for text in corpus.glob("*.TXT"):
            with atomic_write(root / text.name) as temporary:
                shutil.copyfile(text, temporary)
        os.sync()
        (corpus / subset).rename(root / subset)
        os.sync()
        archive.unlink()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _extract(archive: Path, place: Path, progress: Progress) -> None:
    step = f"unpacking {archive.name.removesuffix('.part')}"
    total = archive.stat().st_size

    def checked(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
        """Python's filter for data, and no links at all: LibriSpeech has none."""
        progress(step, file.tell(), total)
        if not (member.isfile() or member.isdir()):
            raise tarfile.SpecialFileError(member)
        return tarfile.data_filter(member, folder)

    try:
        with archive.open("rb") as file, tarfile.open(fileobj=file, mode="r:gz") as tar:
            tar.extractall(place, filter=checked)
    except tarfile.FilterError as error:
        raise DataError(f"{archive}: is not safe to unpack ({error}): remove it") from error
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{archive}: is no archive ({error}): remove it and run again") from error
