"""One file over HTTP, complete and checked, from a server that may drop, stall, refuse or lie.

It is fetched into a file that a later run goes on with where it ends. Its published MD5 alone says
that it is complete: the lengths that servers tell serve to notice a dropped connection early, and
are believed no further.
"""

import hashlib
import logging
import os
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from rich.filesize import decimal

from hive_mtl.atomic import reason_of, what_to_do
from hive_mtl.errors import DataError

CHUNK_BYTES = 1 << 16  # as much may be lost where a connection is dropped or a process killed
_PASSING = {408, 425, 429}  # refusals that ask to come again, as those from 500 on do
_log = logging.getLogger(__name__)

Progress = Callable[[str, int, int | None], None]
"""Is told of every step: what is being done, the bytes done, the bytes in all if they are known."""


@dataclass(frozen=True)
class Patience:
    """How long a server is borne with.

    Attributes:
        tries: in a row that bring nothing new.
        first_wait_s, longest_wait_s: before the second try; doubled each time up to the longest.
        timeout_s: of silence, after which a connection counts as dropped.
    """

    tries: int = 8
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    timeout_s: float = 30.0

    def wait_s(self, failures: int) -> float:
        """Before the next try, after so many failures in a row."""
        doubled = min(failures - 1, 100)  # no float holds what is doubled for ever
        return min(self.first_wait_s * 2.0**doubled, self.longest_wait_s)


def fetch(
    url: str,
    md5: str,
    part: Path,
    *,
    patience: Patience,
    expect: Callable[[int], None],
    progress: Progress,
) -> None:
    """Completes the file ``part``, of which a beginning may be there, until its MD5 is right.

    What is whole and has a wrong checksum is fetched anew, once.

    Args:
        url: its address, http or https.
        md5: in hexadecimal digits.
        part: the file; where it does not become complete, what there is of it stays.
        patience: how often and how fast the server is asked again.
        expect: is told the length of the whole, if the server tells it, before any of it is
            received; may raise.
        progress: is told how far it is.

    Raises:
        DataError: the server is gone or refuses, the checksum is wrong twice, or ``part`` cannot be
            written.
    """
    failures = wrong = furthest = 0
    with writing(part), part.open("a+b") as file:
        beginning = _Beginning(file, part.name.removesuffix(".part"), progress)
        furthest = beginning.size
        while beginning.md5 != md5:
            try:
                _receive(url, beginning, patience.timeout_s, expect, progress)
            except _DroppedError as error:
                failures = 1 if beginning.size > furthest else failures + 1
                furthest = max(furthest, beginning.size)
                if beginning.md5 != md5:
                    _wait(url, str(error), failures, patience, beginning.size)
            else:
                if beginning.md5 != md5:
                    beginning.discard()
                    wrong, furthest = wrong + 1, 0
                if wrong == 2:
                    raise DataError(f"{url}: has a wrong checksum twice over: give another mirror")


def announced_length(url: str, timeout_s: float) -> int | None:
    """The length in bytes that the server tells before anything is fetched, if it does."""
    try:
        with urlopen(_request(url, method="HEAD"), timeout=timeout_s) as response:
            return _number(response.headers.get("Content-Length"))
    except (OSError, HTTPException, ValueError):
        return None  # fetching will say what is wrong


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Makes one line of what the system refuses.

    Raises:
        DataError: any OSError that is raised inside.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise DataError(
            f"{where}: cannot be written ({reason_of(error)}): {what_to_do(error)}"
        ) from error


class _DroppedError(Exception):
    """The server gave less than it should: worth another try."""


class _Beginning:
    """As much of a file as is here: ``size`` bytes and their MD5."""

    def __init__(self, file: IO[bytes], name: str, progress: Progress) -> None:
        self.name = name
        self.size = 0
        self._file = file
        self._digest = hashlib.md5(usedforsecurity=False)
        total = file.seek(0, os.SEEK_END)
        file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            self._count(chunk)
            progress(f"checking {name}", self.size, total)

    @property
    def md5(self) -> str:
        return self._digest.hexdigest()

    def append(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._count(chunk)

    def discard(self) -> None:
        self._file.truncate(0)
        self._digest = hashlib.md5(usedforsecurity=False)
        self.size = 0

    def _count(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self.size += len(chunk)


def _wait(url: str, reason: str, failures: int, patience: Patience, size: int) -> None:
    if failures == patience.tries:
        raise DataError(
            f"{url}: {reason}, after {failures} tries: check the network and run again, which "
            f"goes on at {decimal(size)}, or give another mirror"
        )
    wait_s = patience.wait_s(failures)
    _log.warning("%s: %s: trying again in %.0f s", url, reason, wait_s)
    time.sleep(wait_s)


def _receive(
    url: str,
    beginning: _Beginning,
    timeout_s: float,
    expect: Callable[[int], None],
    progress: Progress,
) -> None:
    """Appends what is missing; comes back when the server has no more to give.

    Raises:
        _DroppedError: it ended too early, or the server refuses for now.
        DataError: the server refuses for good.
    """
    response = _ask(url, beginning.size, timeout_s)
    if response is None:
        return
    with response:
        total = _begin(response, url, beginning)
        if total is not None:
            expect(total)
        for chunk in _chunks(response):
            beginning.append(chunk)
            progress(f"fetching {beginning.name}", beginning.size, total)
    if total is None or beginning.size < total:
        raise _DroppedError(f"the connection ended at {decimal(beginning.size)}")


def _ask(url: str, start: int, timeout_s: float) -> HTTPResponse | None:
    """The answer to a request for all from byte ``start`` on; None if there is nothing more."""
    try:
        request = _request(url)
        if start:
            request.add_header("Range", f"bytes={start}-")
        response: HTTPResponse = urlopen(request, timeout=timeout_s)
    except HTTPError as error:
        error.close()
        if error.code == 416 and start:
            return None
        status = " ".join(f"HTTP {error.code} {error.reason}".split())
        if error.code in _PASSING or error.code >= 500:
            raise _DroppedError(f"the server answers {status}") from error
        raise DataError(f"{url}: the server answers {status}: check the mirror") from error
    except (OSError, HTTPException, ValueError) as error:
        if _is_certain(error):
            raise DataError(f"{url}: {_reason(error)}: check the mirror") from error
        raise _DroppedError(_reason(error)) from error
    return response


def _begin(response: HTTPResponse, url: str, beginning: _Beginning) -> int | None:
    """Makes ready for what follows; gives the length of the whole file if the server tells it."""
    if response.headers.get_content_type() == "text/html":
        raise DataError(
            f"{url}: is a web page and no archive: check the mirror, and whether this network "
            "asks for a log-in first"
        )
    if response.status == 206:
        where, _, total = response.headers.get("Content-Range", "").partition("/")
        if where.removeprefix("bytes ").partition("-")[0].strip() != str(beginning.size):
            raise _DroppedError("the server sends another part than it was asked for")
        return _number(total)
    if response.status != 200:
        raise _DroppedError(f"the server answers HTTP {response.status}")
    if beginning.size:
        _log.warning("%s: the server cannot resume: fetching it from the beginning", url)
        beginning.discard()
    return _number(response.headers.get("Content-Length"))


def _chunks(response: HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := response.read(CHUNK_BYTES):
            yield chunk
    except (OSError, HTTPException) as error:
        raise _DroppedError(_reason(error)) from error


def _request(url: str, method: str = "GET") -> Request:
    return Request(url, headers={"User-Agent": "hive-mtl"}, method=method)


def _number(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdecimal() else None


def _is_certain(error: Exception) -> bool:
    """Whether another try would fail as well: it is no address, or not the server of that name."""
    cause = error.reason if isinstance(error, URLError) else error
    return isinstance(cause, ValueError | InvalidURL | ssl.SSLCertVerificationError)


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    strerror = cause.strerror if isinstance(cause, OSError) else None
    return " ".join((strerror or str(cause) or type(cause).__name__).split())
