"""LibriSpeech over HTTP, from a local server that drops, stalls, corrupts, refuses and lies."""

import hashlib
import io
import json
import resource
import shutil
import ssl
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from rich.filesize import decimal

from hive_mtl.errors import ConfigError, DataError
from hive_mtl.faces import cli
from hive_mtl.learn import download
from hive_mtl.learn.download import download_librispeech
from hive_mtl.learn.fetching import CHUNK_BYTES, Patience

FAST = Patience(tries=3, first_wait_s=0.0, timeout_s=10.0)
SUBSET = "test-clean"
TEXTS = {
    "LibriSpeech/SPEAKERS.TXT": b"61 | M | test-clean | 8.08 | Paul-Gabriel Wiener\n",
    "LibriSpeech/README.TXT": b"LibriSpeech\n",
}


def recordings(
    subset: str, sizes: tuple[int, ...] = (200_000, 150_000, 70_000)
) -> dict[str, bytes]:
    """The members of an archive: noise in place of speech, for it shrinks as little."""
    generator = np.random.default_rng(len(subset))
    chapter = f"LibriSpeech/{subset}/61/70968"
    return {
        f"{chapter}/61-70968-{number:04d}.flac": generator.bytes(size)
        for number, size in enumerate(sizes)
    }


def tarball(members: dict[str, bytes | tarfile.TarInfo]) -> bytes:
    """A .tar.gz of files, and of whatever is described by a TarInfo."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
            else:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


ARCHIVE = tarball({**TEXTS, **recordings(SUBSET)})


class Answer(NamedTuple):
    """How the server answers a GET; by default as it should."""

    sends: int | None = None  # bytes before it closes the connection (None: all)
    stalls: bool = False  # keeps the connection open, silent, when it has sent those
    status: int | None = None
    length: int | None = None  # the Content-Length it tells
    no_length: bool = False
    knows_ranges: bool = True
    range_from: int | None = None  # the beginning of the range it sends
    corrupt: bool = False
    whole: int | None = None  # the length its own copy of the file has
    content_type: str = "application/gzip"
    location: str | None = None


class Server(ThreadingHTTPServer):
    """Answers each GET by the next of ``script``, and when that is over as it should.

    ``asked`` is the Range of each GET (None: without).
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/12"
        self.files = {f"/12/{SUBSET}.tar.gz": ARCHIVE}
        self.script: list[Answer] = []
        self.always = Answer()
        self.tells_heads = True
        self.asked: list[str | None] = []
        self.released = threading.Event()

    @property
    def published(self) -> dict[str, str]:
        """The MD5 sum of each archive."""
        return {
            Path(path).name.removesuffix(".tar.gz"): hashlib.md5(content).hexdigest()
            for path, content in self.files.items()
        }

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is nothing to tell of."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        if not self.server.tells_heads:
            self.send_error(501)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.files.get(self.path, b""))))
        self.end_headers()

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        answer = self.server.script.pop(0) if self.server.script else self.server.always
        content = self.server.files.get(self.path)
        if content is None or answer.status is not None:
            self.send_response(answer.status or 404)
            if answer.location is not None:
                self.send_header("Location", answer.location)
            self.end_headers()
            return
        self.send(content[: answer.whole], asked, answer)

    def send(self, content: bytes, asked: str | None, answer: Answer) -> None:
        start = 0
        if asked is not None and answer.knows_ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.end_headers()
                return
            start = start if answer.range_from is None else answer.range_from
            self.send_response(206)
            last = len(content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:]
        if answer.corrupt:
            body = body[:1000] + bytes([body[1000] ^ 1]) + body[1001:]
        if not answer.no_length:
            length = len(body) if answer.length is None else answer.length
            self.send_header("Content-Length", str(length))
        self.send_header("Content-Type", answer.content_type)
        self.end_headers()
        self.wfile.write(body[: answer.sends])
        if answer.stalls:
            self.server.released.wait(60)

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.released.set()
        server.shutdown()


Fetch = Callable[..., Path]


@pytest.fixture
def fetch(server: Server, tmp_path: Path) -> Fetch:
    """Downloads the subset into ``tmp_path`` from the server."""

    def call(*subsets: str, **options: Any) -> Path:
        given = {
            "mirror": server.url,
            "published": server.published,
            "patience": FAST,
            **options,
        }
        return download_librispeech(tmp_path, subsets or (SUBSET,), **given)

    return call


def part_of(folder: Path) -> Path:
    return folder / "LibriSpeech" / f"{SUBSET}.tar.gz.part"


def check(corpus: Path, subset: str = SUBSET) -> None:
    """All that the archive holds is where it belongs, and nothing else."""
    for name, content in {**TEXTS, **recordings(subset)}.items():
        assert (corpus.parent / name).read_bytes() == content
    assert {path.name for path in corpus.iterdir()} == {subset, "SPEAKERS.TXT", "README.TXT"}


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_subset_lies_as_in_the_archive_and_the_archive_is_gone(
    fetch: Fetch, server: Server, tmp_path: Path
) -> None:
    corpus = fetch()
    assert corpus == tmp_path / "LibriSpeech"
    check(corpus)
    assert server.asked == [None]


def test_a_subset_that_is_there_is_not_asked_for(fetch: Fetch, server: Server) -> None:
    corpus = fetch()
    part_of(corpus.parent).write_bytes(b"left by a run that was killed at its very end")
    server.server_close()  # nobody is there any more
    check(fetch())


def test_only_the_missing_subsets_are_fetched(fetch: Fetch, server: Server) -> None:
    fetch()
    server.files["/12/dev-clean.tar.gz"] = tarball({**TEXTS, **recordings("dev-clean")})
    corpus = fetch(SUBSET, "dev-clean", "dev-clean")
    assert server.asked == [None, None]
    assert {path.name for path in corpus.iterdir() if path.is_dir()} == {SUBSET, "dev-clean"}


def test_the_default_subsets_are_published() -> None:
    assert set(download.DEFAULT_SUBSETS) <= set(download.MD5)
    assert {len(bytes.fromhex(md5)) for md5 in download.MD5.values()} == {16}


def test_a_dropped_connection_is_resumed_where_it_ended(
    fetch: Fetch, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.script = [Answer(sends=100_000), Answer(sends=50_000)]
    check(fetch())
    assert server.asked == [None, "bytes=100000-", "bytes=150000-"]
    assert "ended at 100.0 kB: trying again" in caplog.messages[0]


def test_what_brings_something_new_does_not_count_as_a_failure(
    fetch: Fetch, server: Server
) -> None:
    server.script = [Answer(sends=30_000)] * 10
    check(fetch())
    assert len(server.asked) == 11


def test_a_silent_server_is_asked_again(fetch: Fetch, server: Server) -> None:
    server.script = [Answer(sends=2 * CHUNK_BYTES, stalls=True)]
    check(fetch(patience=Patience(tries=20, first_wait_s=0.0, timeout_s=0.2)))
    assert server.asked[1] == f"bytes={2 * CHUNK_BYTES}-"


def test_an_interruption_leaves_a_part_that_the_next_run_goes_on_with(
    fetch: Fetch, server: Server, tmp_path: Path
) -> None:
    def interrupt(step: str, done: int, total: int | None) -> None:
        assert (step, total) == (f"fetching {SUBSET}.tar.gz", len(ARCHIVE))
        if done >= 3 * CHUNK_BYTES:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(progress=interrupt)
    assert part_of(tmp_path).read_bytes() == ARCHIVE[: 3 * CHUNK_BYTES]
    check(fetch())
    assert server.asked == [None, f"bytes={3 * CHUNK_BYTES}-"]


_DOWNLOAD = """
import json, signal, sys
from pathlib import Path
from hive_mtl.errors import HiveError
from hive_mtl.learn.download import download_librispeech
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder, mirror, published = sys.argv[1:]
published = json.loads(published)
try:
    download_librispeech(Path(folder), tuple(published), mirror=mirror, published=published)
except HiveError as error:
    print(error)
"""


def command(server: Server, folder: Path) -> list[str]:
    words = [str(folder), server.url, json.dumps(server.published)]
    return [sys.executable, "-c", _DOWNLOAD, *words]


@pytest.mark.slow
def test_a_killed_run_leaves_a_part_that_the_next_run_goes_on_with(
    fetch: Fetch, server: Server, tmp_path: Path
) -> None:
    server.script = [Answer(sends=3 * CHUNK_BYTES, stalls=True)]
    part = part_of(tmp_path)
    with subprocess.Popen(command(server, tmp_path)) as process:
        while not (part.exists() and part.stat().st_size == 3 * CHUNK_BYTES):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    check(fetch())
    assert server.asked == [None, f"bytes={3 * CHUNK_BYTES}-"]


def test_a_run_killed_while_unpacking_leaves_no_half_subset(
    fetch: Fetch, server: Server, tmp_path: Path
) -> None:
    corpus = tmp_path / "LibriSpeech"

    class Killed(BaseException):
        pass

    def kill(step: str, done: int, total: int | None) -> None:
        if step.startswith("unpacking") and list(corpus.rglob("*.flac")):
            shutil.copytree(corpus, tmp_path / "as it was")  # what the end of the run clears away
            raise Killed

    with pytest.raises(Killed):
        fetch(progress=kill)
    shutil.rmtree(corpus)
    (tmp_path / "as it was").rename(corpus)
    assert not (corpus / SUBSET).exists()
    check(fetch())
    assert server.asked == [None]  # the archive was whole


def test_a_server_without_ranges_is_asked_for_everything_anew(
    fetch: Fetch, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.script = [Answer(sends=100_000), Answer(knows_ranges=False)]
    check(fetch())
    assert server.asked == [None, "bytes=100000-"]
    assert "cannot resume" in caplog.text


def test_a_server_without_ranges_that_always_drops_is_given_up(
    fetch: Fetch, server: Server
) -> None:
    server.always = Answer(sends=100_000, knows_ranges=False)
    with pytest.raises(DataError, match="after 3 tries"):
        fetch()
    assert server.asked == [None, "bytes=100000-", "bytes=100000-"]


def test_another_range_than_asked_for_is_not_appended(fetch: Fetch, server: Server) -> None:
    server.script = [Answer(sends=100_000), Answer(range_from=90_000)]
    check(fetch())
    assert server.asked == [None, "bytes=100000-", "bytes=100000-"]


@pytest.mark.parametrize(
    "first",
    [Answer(corrupt=True), Answer(whole=300_000), Answer(length=300_000)],
    ids=["corrupts", "truncates", "tells too short a length"],
)
def test_a_wrong_checksum_has_the_archive_fetched_anew(
    fetch: Fetch, server: Server, first: Answer
) -> None:
    server.script = [first]
    check(fetch())
    assert server.asked == [None, None]


@pytest.mark.parametrize(
    "always", [Answer(corrupt=True), Answer(length=300_000)], ids=["corrupts", "tells too short"]
)
def test_a_checksum_wrong_twice_is_an_error_and_nothing_is_unpacked(
    fetch: Fetch, server: Server, tmp_path: Path, always: Answer
) -> None:
    server.always = always
    with pytest.raises(DataError, match="wrong checksum twice") as error:
        fetch()
    assert server.url in one_line(error)
    assert server.asked == [None, None]
    assert not (tmp_path / "LibriSpeech" / SUBSET).exists()
    server.always = Answer()
    check(fetch())
    assert server.asked[2] is None


def test_a_length_that_is_too_long_is_not_believed(fetch: Fetch, server: Server) -> None:
    server.script = [Answer(length=len(ARCHIVE) + 10_000)]
    check(fetch())
    assert server.asked == [None]


def test_a_length_that_is_not_told_is_not_missed(fetch: Fetch, server: Server) -> None:
    server.tells_heads = False
    server.script = [Answer(no_length=True, sends=100_000), Answer(no_length=True)]
    check(fetch())
    assert server.asked == [None, "bytes=100000-"]


@pytest.mark.parametrize("surplus", [0, 1000])
def test_a_part_from_which_the_server_has_no_more_is_fetched_anew(
    fetch: Fetch, server: Server, tmp_path: Path, surplus: int
) -> None:
    part = part_of(tmp_path)
    part.parent.mkdir()
    part.write_bytes(bytes(len(ARCHIVE) + surplus))
    check(fetch())
    assert server.asked == [f"bytes={len(ARCHIVE) + surplus}-", None]


def test_a_part_that_is_whole_is_not_asked_for(
    fetch: Fetch, server: Server, tmp_path: Path
) -> None:
    part = part_of(tmp_path)
    part.parent.mkdir()
    part.write_bytes(ARCHIVE)
    server.always = Answer(status=500)
    check(fetch())
    assert server.asked == []


def test_a_redirection_keeps_the_range(fetch: Fetch, server: Server) -> None:
    server.files["/elsewhere"] = ARCHIVE
    elsewhere = Answer(status=302, location="/elsewhere")
    server.script = [elsewhere, Answer(sends=100_000), elsewhere]
    check(fetch())
    assert server.asked == [None, None, "bytes=100000-", "bytes=100000-"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_refusal_is_borne_with(fetch: Fetch, server: Server, status: int) -> None:
    server.script = [Answer(status=status)] * 2
    check(fetch())
    assert server.asked == [None] * 3


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_final_refusal_names_the_address(fetch: Fetch, server: Server, status: int) -> None:
    server.always = Answer(status=status)
    with pytest.raises(DataError, match=f"HTTP {status}") as error:
        fetch()
    assert f"{server.url}/{SUBSET}.tar.gz" in one_line(error)
    assert server.asked == [None]


def test_a_web_page_is_no_archive_and_costs_nothing_of_the_part(
    fetch: Fetch, server: Server, tmp_path: Path
) -> None:
    server.script = [
        Answer(sends=100_000),
        Answer(knows_ranges=False, content_type="text/html; charset=utf-8"),
    ]
    with pytest.raises(DataError, match="web page") as error:
        fetch()
    one_line(error)
    assert part_of(tmp_path).read_bytes() == ARCHIVE[:100_000]


def test_a_server_that_is_gone_is_an_error_that_says_how_to_go_on(
    fetch: Fetch, server: Server, tmp_path: Path
) -> None:
    server.script = [Answer(sends=100_000), *[Answer(sends=0)] * 2]
    with pytest.raises(DataError, match="after 3 tries") as error:
        fetch()
    assert "goes on at 100.0 kB" in one_line(error)
    check(fetch())
    assert server.asked[-1] == "bytes=100000-"


def test_nobody_at_the_address_is_an_error(fetch: Fetch, server: Server) -> None:
    server.server_close()
    with pytest.raises(DataError, match=r"refused, after 3 tries: check the network") as error:
        fetch()
    one_line(error)


@pytest.mark.parametrize("mirror", ["http://[", "http://a b/", "http://host:port", "http://a..b"])
def test_an_address_that_is_none_is_not_tried_again(fetch: Fetch, mirror: str) -> None:
    with pytest.raises(DataError, match="check the mirror") as error:
        fetch(mirror=mirror)
    one_line(error)


@pytest.mark.parametrize("mirror", ["openslr.org", "file:///tmp", "ftp://host", "/tmp"])
def test_a_mirror_is_an_address_of_the_web(fetch: Fetch, tmp_path: Path, mirror: str) -> None:
    with pytest.raises(ConfigError, match="is no address") as error:
        fetch(mirror=mirror)
    one_line(error)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl to make a certificate")
def test_a_server_that_cannot_prove_its_name_is_not_listened_to(
    fetch: Fetch,
    server: Server,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = tmp_path_factory.mktemp("certificate")
    key, certificate = place / "key.pem", place / "certificate.pem"
    words = (
        "req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 "
        "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(
        ["openssl", *words.split(), "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    secure = server.url.replace("http:", "https:")
    with pytest.raises(DataError, match="CERTIFICATE_VERIFY_FAILED") as error:
        fetch(mirror=secure)
    one_line(error)
    assert server.asked == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))  # now it can
    check(fetch(mirror=secure))


def test_an_unknown_subset_names_the_nearest(fetch: Fetch, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'test-clean'") as error:
        fetch("test-claen")
    one_line(error)
    assert not list(tmp_path.iterdir())


def free_space(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    usage = shutil.disk_usage(Path.cwd())._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)


@pytest.mark.parametrize("tells_heads", [True, False])
def test_a_small_disk_is_said_before_anything_is_fetched(
    fetch: Fetch, server: Server, monkeypatch: pytest.MonkeyPatch, tells_heads: bool
) -> None:
    server.tells_heads = tells_heads
    free_space(monkeypatch, 2 * len(ARCHIVE))
    with pytest.raises(DataError, match="free some space") as error:
        fetch()
    assert f"needs {decimal(int(2.05 * len(ARCHIVE)))} to fetch and unpack" in one_line(error)
    assert f"{decimal(2 * len(ARCHIVE))} are free" in one_line(error)
    assert server.asked == ([] if tells_heads else [None])
    free_space(monkeypatch, int(2.1 * len(ARCHIVE)))
    check(fetch())


def test_the_room_is_for_what_is_still_to_come(
    fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part_of(tmp_path).parent.mkdir()
    part_of(tmp_path).write_bytes(ARCHIVE[:200_000])
    free_space(monkeypatch, int(2.06 * len(ARCHIVE)) - 200_000)
    check(fetch())


def test_the_room_is_for_all_subsets_and_one_archive_at_a_time(
    fetch: Fetch, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/12/dev-clean.tar.gz"] = ARCHIVE
    both = (SUBSET, "dev-clean")
    free_space(monkeypatch, 3 * len(ARCHIVE))
    with pytest.raises(DataError, match="are free"):
        fetch(*both)
    assert server.asked == []
    server.files["/12/dev-clean.tar.gz"] = tarball({**TEXTS, **recordings("dev-clean")})
    free_space(monkeypatch, int(3.2 * len(ARCHIVE)))
    fetch(*both)


def test_a_length_beyond_all_disks_is_refused(fetch: Fetch, server: Server) -> None:
    server.tells_heads = False
    server.always = Answer(length=10**15)
    with pytest.raises(DataError, match=r"needs 2\.\d PB"):
        fetch()


def test_a_disk_that_fills_up_is_one_line_and_the_next_run_goes_on(
    fetch: Fetch, server: Server, tmp_path: Path
) -> None:
    done = limited(server, tmp_path, bytes_a_file=100_000)
    assert done.stdout.startswith(f"{part_of(tmp_path)}: cannot be written")
    assert "free some space" in done.stdout
    assert done.stdout.count("\n") == 1
    assert part_of(tmp_path).read_bytes() == ARCHIVE[:100_000]
    check(fetch())
    assert server.asked[-1] == "bytes=100000-"


def test_a_disk_that_fills_up_while_unpacking_leaves_the_archive_for_the_next_run(
    fetch: Fetch, server: Server, tmp_path: Path
) -> None:
    silence = {f"LibriSpeech/{SUBSET}/61/70968/61-70968-0000.flac": bytes(1_000_000)}
    server.files = {f"/12/{SUBSET}.tar.gz": tarball({**TEXTS, **silence})}
    done = limited(server, tmp_path, bytes_a_file=100_000)
    assert "cannot be written" in done.stdout
    assert "free some space" in done.stdout
    assert done.stdout.count("\n") == 1
    assert [path.name for path in (tmp_path / "LibriSpeech").iterdir()] == [part_of(tmp_path).name]
    corpus = fetch()
    assert server.asked == [None]
    assert (corpus.parent / next(iter(silence))).stat().st_size == 1_000_000


def limited(server: Server, folder: Path, bytes_a_file: int) -> subprocess.CompletedProcess[str]:
    """A download by a process that is refused more, as on a full disk."""
    return subprocess.run(
        command(server, folder),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_a_file, bytes_a_file)),
        capture_output=True,
        text=True,
        check=True,
    )


def test_a_folder_that_cannot_be_written_is_an_error(fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / "LibriSpeech").write_text("in the way")
    with pytest.raises(DataError, match=r"LibriSpeech: cannot be written .*in the way") as error:
        fetch()
    one_line(error)


def test_two_downloads_do_not_write_to_one_folder(fetch: Fetch) -> None:
    def begin_another(step: str, done: int, total: int | None) -> None:
        with pytest.raises(DataError, match="another download is under way"):
            fetch()

    check(fetch(progress=begin_another))


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> dict[str, tarfile.TarInfo]:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = target
    return {name: member}


INSIDE = f"LibriSpeech/{SUBSET}/61"


@pytest.mark.parametrize(
    "evil",
    [
        {"../evil": b"evil"},
        {"../../../evil": b"evil"},
        {f"{INSIDE}/../../../../../evil": b"evil"},
        link(f"{INSIDE}/outside", "../../../.."),
        {**link(f"{INSIDE}/outside", "/"), f"{INSIDE}/outside/evil": b"evil"},
        link(f"{INSIDE}/copy.flac", "../../../../outside", tarfile.LNKTYPE),
        link(f"{INSIDE}/inside", "70968"),
        link(f"{INSIDE}/pipe", "", tarfile.FIFOTYPE),
        link(f"{INSIDE}/device", "", tarfile.CHRTYPE),
    ],
    ids=[
        "above",
        "far above",
        "above from inside",
        "symbolic link",
        "through a symbolic link",
        "hard link",
        "link inside",
        "pipe",
        "device",
    ],
)
def test_an_archive_that_is_not_safe_is_not_unpacked(
    fetch: Fetch, server: Server, tmp_path: Path, evil: dict[str, bytes | tarfile.TarInfo]
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    server.files = {f"/12/{SUBSET}.tar.gz": tarball({**recordings(SUBSET, (100,)), **evil})}
    with pytest.raises(DataError, match="not safe to unpack") as error:
        fetch()
    one_line(error)
    corpus = tmp_path / "LibriSpeech"
    assert {path.name for path in tmp_path.iterdir()} == {"LibriSpeech", "outside"}
    assert [path.name for path in corpus.iterdir()] == [part_of(tmp_path).name]
    assert outside.read_text() == "untouched"


def test_an_absolute_name_stays_in_the_folder(fetch: Fetch, server: Server, tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    members = {**TEXTS, **recordings(SUBSET), str(evil): b"evil"}
    server.files = {f"/12/{SUBSET}.tar.gz": tarball(members)}
    check(fetch())
    assert not evil.exists()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"no archive", "is no archive"),
        (b"", "is no archive"),
        (ARCHIVE[:200_000], "is no archive"),
        (tarball(recordings("dev-clean")), "holds no LibriSpeech/test-clean"),
    ],
    ids=["text", "empty", "half", "another subset"],
)
def test_what_is_no_archive_of_the_subset_is_an_error(
    fetch: Fetch, server: Server, tmp_path: Path, content: bytes, problem: str
) -> None:
    server.files = {f"/12/{SUBSET}.tar.gz": content}
    with pytest.raises(DataError, match=problem) as error:
        fetch()
    one_line(error)
    assert not (tmp_path / "LibriSpeech" / SUBSET).exists()
    assert not (tmp_path / "LibriSpeech" / "SPEAKERS.TXT").exists()


def test_waits_double_up_to_the_longest() -> None:
    patience = Patience(first_wait_s=1.0, longest_wait_s=5.0)
    assert [patience.wait_s(failures) for failures in (1, 2, 3, 4, 2000)] == [1, 2, 4, 5, 5]


def test_progress_goes_from_the_first_byte_to_the_last(
    fetch: Fetch, server: Server, tmp_path: Path
) -> None:
    part_of(tmp_path).parent.mkdir()
    part_of(tmp_path).write_bytes(ARCHIVE[:100_000])
    told: dict[str, list[tuple[int, int | None]]] = {}
    fetch(progress=lambda step, done, total: told.setdefault(step, []).append((done, total)))
    whole = len(ARCHIVE)
    assert [step.partition(" ")[0] for step in told] == ["checking", "fetching", "unpacking"]
    checking, fetching, unpacking = told.values()
    assert checking[-1] == (100_000, 100_000)
    assert fetching[0][0] > 100_000
    assert fetching[-1] == (whole, whole)
    assert all(total == whole for _, total in unpacking)
    for numbers in told.values():
        assert numbers == sorted(numbers)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls the command; gives exit status, standard output, standard error."""
    for name, md5 in server.published.items():
        monkeypatch.setitem(download.MD5, name, md5)

    def call(*words: str, mirror: str = server.url) -> tuple[int, str, str]:
        status = cli.main(["download_librispeech", *words, "--mirror", mirror])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.mark.parametrize("words", [[SUBSET], ["--subset", SUBSET]])
def test_the_command_fills_the_working_folder(run: Run, tmp_path: Path, words: list[str]) -> None:
    status, out, err = run(*words, "--working-dir", str(tmp_path / "work"))
    assert (status, err) == (0, "")
    assert str(tmp_path / "work" / "LibriSpeech") in out
    check(tmp_path / "work" / "LibriSpeech")


def test_the_command_by_itself_fetches_the_three_subsets_into_the_home_folder(
    run: Run, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("test-other", "train-clean-360"):
        server.files[f"/12/{name}.tar.gz"] = tarball({**TEXTS, **recordings(name)})
        monkeypatch.setitem(download.MD5, name, server.published[name])
    assert run()[0] == 0
    corpus = tmp_path / ".hive-mtl-model-wd" / "LibriSpeech"
    subsets = {path.name for path in corpus.iterdir() if path.is_dir()}
    assert subsets == {"test-clean", "test-other", "train-clean-360"}


def test_the_command_shows_bars_on_a_terminal_only(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # so that what it writes to counts as a terminal
    status, _, err = run(SUBSET, "--working-dir", str(tmp_path))
    assert status == 0
    assert f"unpacking {SUBSET}.tar.gz" in err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["test-claen"], "did you mean 'test-clean'"),
        (["dev-clean"], "HTTP 404"),
    ],
)
def test_the_command_ends_a_problem_in_one_line(
    run: Run, tmp_path: Path, words: list[str], problem: str
) -> None:
    status, out, err = run(*words, "--working-dir", str(tmp_path))
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert problem in err
