import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from hive_mtl.atomic import atomic_write, check_no_folder, reason_of, what_to_do
from hive_mtl.errors import DataError


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_with_the_folders_above_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert contents(path.parent) == ["file.txt"]


def test_a_file_replaces_the_older_one(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_an_error_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write_half() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert path.read_text() == "old"
    assert contents(tmp_path) == ["file.txt"]


def test_a_folder_replaces_the_older_folder(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with atomic_write(path) as temporary:
        (temporary / "inner").mkdir(parents=True)
        (temporary / "inner" / "new.txt").write_text("new")
    assert contents(path) == ["inner"]
    assert contents(tmp_path) == ["run"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), OSError(errno.EIO, "Input/output error")])
def test_an_older_folder_survives_a_stop_between_the_renames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / "old.txt").write_text("old")

    def stopped(*_: object) -> None:
        raise stop

    def write() -> None:
        with atomic_write(path) as temporary:
            temporary.mkdir()
            monkeypatch.setattr(Path, "replace", stopped)

    with pytest.raises((KeyboardInterrupt, DataError)):
        write()
    assert (path / "old.txt").read_text() == "old"
    assert contents(tmp_path) == ["run"]


@pytest.mark.parametrize("name", ["run", "old", "replaced"])
def test_a_half_made_folder_is_removed_whatever_its_name(tmp_path: Path, name: str) -> None:
    def write_half() -> None:
        with atomic_write(tmp_path / name) as temporary:
            temporary.mkdir()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert contents(tmp_path) == []
    for content in ("first", "second"):
        with atomic_write(tmp_path / name) as temporary:
            temporary.mkdir()
            (temporary / content).touch()
    assert contents(tmp_path / name) == ["second"]


def test_an_older_folder_that_cannot_be_put_back_is_kept_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / "old.txt").write_text("old")

    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", self)

    def write() -> None:
        with atomic_write(path) as temporary:
            temporary.mkdir()
            rename = Path.rename
            monkeypatch.setattr(Path, "replace", refuse)
            aside = {path: rename}  # the older folder goes, and does not come back
            monkeypatch.setattr(
                Path, "rename", lambda self, target: aside.get(self, refuse)(self, target)
            )

    with pytest.raises(DataError, match=r"run: .* \(input/output error\): .*") as caught:
        write()
    (holder,) = tmp_path.iterdir()
    (kept,) = holder.glob("*/old.txt")
    assert str(kept.parent) in str(caught.value)


def test_any_name_that_the_system_takes_is_written(tmp_path: Path) -> None:
    for name in ("a" * 255, "\u20ac" * 85, "a" * 251 + ".npz"):
        with atomic_write(tmp_path / name) as temporary:
            temporary.write_text("new")
        assert (tmp_path / name).read_text() == "new"
    with (
        pytest.raises(DataError, match=r"\(file name too long\): choose a shorter name"),
        atomic_write(tmp_path / ("a" * 256)) as temporary,
    ):
        temporary.write_text("new")
    assert len(contents(tmp_path)) == 3


def test_a_folder_is_no_place_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{tmp_path}: is a folder: give the name of a file"):
        check_no_folder(tmp_path)
    check_no_folder(tmp_path / "new.txt")
    check_no_folder(tmp_path / ("a" * 300))


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with (
        pytest.raises(DataError, match=r"file/inner.*choose another place") as caught,
        atomic_write(tmp_path / "file" / "inner"),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_a_device_or_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(os.devnull)
    for path in (pipe, link):
        with (
            pytest.raises(DataError, match=rf"{path}: is a device or a pipe: give the name"),
            atomic_write(path),
        ):
            pass
    assert pipe.is_fifo()
    assert link.is_char_device()
    assert contents(tmp_path) == ["link", "pipe"]


def test_a_link_gives_way_to_the_file(tmp_path: Path) -> None:
    older, link, broken = tmp_path / "older.txt", tmp_path / "link", tmp_path / "broken"
    older.write_text("old")
    link.symlink_to(older)
    broken.symlink_to(tmp_path / "nowhere")
    for path in (link, broken):
        with atomic_write(path) as temporary:
            temporary.write_text("new")
        assert path.read_text() == "new"
    assert older.read_text() == "old"


def test_an_error_that_is_not_about_the_place_stays_what_it_is(tmp_path: Path) -> None:
    def copy_from(source: Path) -> None:
        with atomic_write(tmp_path / "file.txt") as temporary:
            temporary.write_text(source.read_text())

    with pytest.raises(FileNotFoundError, match=r"source\.txt"):
        copy_from(tmp_path / "source.txt")

    def lose_the_line() -> None:
        with atomic_write(tmp_path / "file.txt"):
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    with pytest.raises(ConnectionResetError):
        lose_the_line()
    assert contents(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EEXIST, "in the way"),
        (errno.ENOTDIR, "in the way"),
        (errno.EISDIR, "in the way"),
        (errno.EACCES, "permissions"),
        (errno.ENOENT, "check the path"),
        (errno.ENAMETOOLONG, "shorter name"),
        (errno.EIO, "try again"),
    ],
)
def test_every_refusal_of_the_system_has_an_advice(number: int, advice: str) -> None:
    assert advice in what_to_do(OSError(number, os.strerror(number)))


def test_a_reason_is_in_words_with_or_without_a_number() -> None:
    assert reason_of(OSError(errno.EIO, "Input/output error")) == "input/output error"
    assert reason_of(OSError("Not a file")) == "not a file"


def test_a_full_disk_is_one_line_and_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    script = (
        "import signal, sys\n"
        "from pathlib import Path\n"
        "from hive_mtl.atomic import atomic_write\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try:\n"
        "    with atomic_write(Path(sys.argv[1])) as temporary:\n"
        "        temporary.write_bytes(bytes(100_000))\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    limit = 10_000  # bytes a file may have: the process is refused more as on a full disk
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert done.stdout.startswith(f"DataError {path}: cannot be written")
    assert done.stdout.count("\n") == 1
    assert "free some space" in done.stdout
    assert path.read_bytes() == b"old"
    assert contents(tmp_path) == ["file.bin"]
