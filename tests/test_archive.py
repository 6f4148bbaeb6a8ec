"""The index of an archive: made once, kept up to date, never trusted blindly."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import soundfile

import hive_mtl as hive
from hive_mtl.description import Calibration
from hive_mtl.use.archive import HOP_S, INDEX_FOLDER, WINDOW_S, Archive, Indexed
from hive_mtl.use.normalising import cohort_level
from tiny_model import description, give_cohort, save_tiny_model
from voices import RATE, voice

NORMALISED = Calibration(
    weights={"score": 1.0}, intercept=0.0, thresholds={"0.01": 0.0}, normalised=True
)
_INDEX = """
import sys
import hive_mtl as hive
from hive_mtl.use.archive import Archive
for recording in Archive(hive.load(sys.argv[1], threads=1), sys.argv[2]):
    print(recording.path, flush=True)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> hive.Model:
    return hive.load(save_tiny_model(tmp_path_factory.mktemp("model") / "model.onnx"), threads=1)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A folder with three recordings, one of them in a folder of its own."""
    folder = tmp_path / "meetings"
    (folder / "old").mkdir(parents=True)
    for seed, name in enumerate(("a.wav", "b.flac", "old/c.wav")):
        soundfile.write(folder / name, voice(6 + seed, seed), RATE)
    return folder


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the recordings that were embedded, as they are."""
    names: list[str] = []
    original = hive.Model.embed

    def embed(self, source, **options):
        names.append(Path(source).name)
        return original(self, source, **options)

    monkeypatch.setattr(hive.Model, "embed", embed)
    return names


def look(model: hive.Model, archive: Path, index: Path | None = None) -> dict[str, Indexed]:
    return {each.path.name: each for each in Archive(model, archive, index)}


def entries(archive: Path) -> list[Path]:
    return sorted((archive / INDEX_FOLDER).glob("*.npz"))


def test_an_index_keeps_the_windows_of_every_recording(model, archive) -> None:
    found = look(model, archive)
    assert list(found) == ["a.wav", "b.flac", "c.wav"]
    for each in found.values():
        expected = model.embed(each.path, window_s=WINDOW_S, hop_s=HOP_S)
        assert each.windows is not None
        assert each.windows.vectors.dtype == np.float16
        np.testing.assert_allclose(each.windows.vectors, expected.vectors, atol=1e-3)
        np.testing.assert_array_equal(each.windows.start_s, expected.start_s)
        assert each.windows.duration_s == soundfile.info(each.path).duration


def test_an_index_keeps_what_the_cohort_makes_of_every_window(archive, tmp_path) -> None:
    described = description(calibration=NORMALISED).model_dump_json()
    file = save_tiny_model(tmp_path / "cohort.onnx", described)
    give_cohort(file)
    model = hive.load(file, threads=1)
    for each in look(model, archive).values():
        assert each.windows is not None
        heard = model.embed(each.path, window_s=WINDOW_S, hop_s=HOP_S).vectors
        np.testing.assert_allclose(each.windows.level, cohort_level(heard, model.cohort), rtol=1e-5)
        assert each.windows.level[:, 1].min() > 0
    save_tiny_model(file, described)  # the same model, as it says, with another cohort
    give_cohort(file, seed=4)
    with pytest.raises(hive.ModelError, match=r"made with other settings \(tiny-.*delete this one"):
        look(hive.load(file, threads=1), archive)


def test_windows_with_too_little_speech_are_left_out(model, archive) -> None:
    hiss = 1e-3 * np.random.default_rng(0).standard_normal(20 * RATE)
    soundfile.write(archive / "a.wav", np.concatenate([hiss, voice(5), hiss]), RATE)
    windows = look(model, archive)["a.wav"].windows
    assert windows is not None
    assert windows.start_s.min() >= 18
    assert windows.end_s.max() <= 27
    assert windows.duration_s == 45


def test_what_is_indexed_is_not_embedded_again(model, archive, embedded) -> None:
    first = look(model, archive)
    assert embedded == ["a.wav", "b.flac", "c.wav"]
    second = look(model, archive)
    assert len(embedded) == 3
    for name, each in first.items():
        np.testing.assert_array_equal(each.windows.vectors, second[name].windows.vectors)


def test_a_moved_archive_keeps_its_index(model, archive, embedded) -> None:
    look(model, archive)
    moved = archive.rename(archive.with_name("moved"))
    assert look(model, moved)["c.wav"].path == moved / "old" / "c.wav"
    assert len(embedded) == 3


def test_what_changes_is_embedded_anew_and_what_goes_drops_out(model, archive, embedded) -> None:
    before = look(model, archive)
    soundfile.write(archive / "a.wav", voice(9, seed=7), RATE)
    (archive / "b.flac").unlink()
    soundfile.write(archive / "new.wav", voice(5, seed=8), RATE)
    embedded.clear()
    after = look(model, archive)
    assert embedded == ["a.wav", "new.wav"]
    assert list(after) == ["a.wav", "new.wav", "c.wav"]
    assert len(after["a.wav"].windows.start_s) > len(before["a.wav"].windows.start_s)
    assert len(entries(archive)) == 3


def test_what_cannot_be_listed_does_not_drop_out(model, archive, lock) -> None:
    (archive / "locked").mkdir()
    soundfile.write(archive / "locked" / "d.wav", voice(5, seed=9), RATE)
    look(model, archive)
    lock(archive / "locked")
    with pytest.raises(hive.DataError, match="locked: cannot be listed"):
        look(model, archive)
    assert len(entries(archive)) == 4


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def emptied(content: bytes) -> bytes:
    return b""


def overwritten(content: bytes) -> bytes:
    return b"\0" * len(content)


def other_arrays(content: bytes) -> bytes:
    """An entry of the same recording whose arrays are of another kind."""
    made = io.BytesIO()
    with np.load(io.BytesIO(content)) as arrays:
        np.savez(made, about=arrays["about"], vectors=arrays["vectors"], facts=np.zeros((2, 5)))
    return made.getvalue()


def without_duration(content: bytes) -> bytes:
    made = io.BytesIO()
    with np.load(io.BytesIO(content)) as arrays:
        about = json.loads(str(arrays["about"]))
        del about["duration_s"]
        kept = {"vectors": arrays["vectors"], "facts": arrays["facts"]}
        np.savez(made, about=np.array(json.dumps(about)), **kept)
    return made.getvalue()


def of_another_form(content: bytes) -> bytes:
    made = io.BytesIO()
    np.savez(made, about=np.array("[1]"))
    return made.getvalue()


def broken_lzma(content: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("about.npy", b"x" * 500)
    changed = bytearray(made.getvalue())
    changed[45:60] = b"\xff" * 15
    return bytes(changed)


@pytest.mark.parametrize(
    "damage",
    [cut, emptied, overwritten, other_arrays, without_duration, of_another_form, broken_lzma],
)
def test_a_damaged_entry_is_made_again(
    model, archive, embedded, damage: Callable[[bytes], bytes]
) -> None:
    first = look(model, archive)
    damaged = entries(archive)[0]
    damaged.write_bytes(damage(damaged.read_bytes()))
    embedded.clear()
    second = look(model, archive)
    assert len(embedded) == 1
    for name, each in first.items():
        np.testing.assert_array_equal(each.windows.vectors, second[name].windows.vectors)


def test_no_changed_byte_changes_what_is_read(model, archive) -> None:
    for name in ("b.flac", "old/c.wav"):
        (archive / name).unlink()
    expected = look(model, archive)["a.wav"].windows
    (entry,) = entries(archive)
    content = bytearray(entry.read_bytes())
    for place in np.random.default_rng(0).integers(len(content), size=40):
        changed = content.copy()
        changed[place] ^= 0xFF
        entry.write_bytes(changed)
        windows = look(model, archive)["a.wav"].windows
        assert windows is not None
        np.testing.assert_array_equal(windows.vectors, expected.vectors)
        np.testing.assert_array_equal(windows.start_s, expected.start_s)


@pytest.mark.parametrize(("place", "bit"), [(10, 0), (32, 4)])  # numpy reads it as Python
def test_no_changed_header_ends_the_search(model, archive, place: int, bit: int) -> None:
    soundfile.write(archive / "a.wav", voice(120), RATE)  # a short one is checked as a whole
    for name in ("b.flac", "old/c.wav"):
        (archive / name).unlink()
    expected = look(model, archive)["a.wav"].windows
    (entry,) = entries(archive)
    content = bytearray(entry.read_bytes())
    content[content.rindex(b"\x93NUMPY") + place] ^= 1 << bit
    entry.write_bytes(content)
    found = look(model, archive)["a.wav"].windows
    np.testing.assert_array_equal(found.vectors, expected.vectors)


def test_an_index_that_cannot_be_written_is_read_although_a_recording_has_gone(
    model, archive, monkeypatch
) -> None:
    look(model, archive)
    (archive / "b.flac").unlink()

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), self)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert list(look(model, archive)) == ["a.wav", "c.wav"]


def test_a_failure_is_remembered_until_the_recording_changes(model, archive, embedded) -> None:
    (archive / "a.wav").write_bytes(b"no sound")
    assert look(model, archive)["a.wav"].windows is None
    embedded.clear()
    again = look(model, archive)["a.wav"]
    assert again.problem
    assert str(archive) not in again.problem
    assert not embedded
    soundfile.write(archive / "a.wav", voice(6), RATE)
    assert look(model, archive)["a.wav"].windows is not None


def test_a_failure_of_the_disk_is_not_remembered(model, archive) -> None:
    (archive / "linked.wav").symlink_to(archive / "target")
    assert "no such file" in look(model, archive)["linked.wav"].problem
    soundfile.write(archive / "target", voice(6), RATE, format="WAV")
    assert look(model, archive)["linked.wav"].windows is not None


def test_the_index_lies_where_it_is_asked_for(model, archive, tmp_path) -> None:
    look(model, archive, tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "index.json").is_file()
    assert not (archive / INDEX_FOLDER).exists()


def test_an_archive_that_cannot_be_written_is_indexed_in_the_cache(
    model, archive, tmp_path, monkeypatch, embedded
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache" / name)
    look(model, archive)
    look(model, archive)
    assert len(embedded) == 3
    assert not (archive / INDEX_FOLDER).exists()
    assert len(list((tmp_path / "cache" / "hive-mtl").rglob("*.npz"))) == 3


def test_an_index_of_another_model_is_refused(model, archive, tmp_path) -> None:
    look(model, archive)
    other = description(model_id="other-0123456789ab").model_dump_json()
    another = hive.load(save_tiny_model(tmp_path / "other.onnx", other), threads=1)
    with pytest.raises(hive.ModelError, match=r"tiny-0123456789ab; this one is other-"):
        look(another, archive)


def test_an_index_that_is_given_is_of_one_archive(model, archive, tmp_path) -> None:
    index, other = tmp_path / "index", tmp_path / "other"
    look(model, archive, index)
    shutil.copytree(archive, other)
    with pytest.raises(hive.DataError, match=f"{index}: is the index of {archive}: give another"):
        look(model, other, index)
    (tmp_path / "link").symlink_to(archive)
    look(model, tmp_path / "link", index)
    assert len(list(index.glob("*.npz"))) == 3


def test_an_index_that_does_not_tell_its_archive_becomes_that_of_the_next(
    model, archive, tmp_path, embedded
) -> None:
    look(model, archive)
    index = (archive / INDEX_FOLDER).rename(tmp_path / "index")
    look(model, archive, index)
    assert len(embedded) == 3
    shutil.copytree(archive, tmp_path / "other")
    with pytest.raises(hive.DataError, match="is the index of"):
        look(model, tmp_path / "other", index)


def test_folders_that_are_no_archive_are_refused(model, tmp_path) -> None:
    with pytest.raises(hive.DataError, match="not a folder"):
        Archive(model, tmp_path / "nowhere")
    with pytest.raises(hive.DataError, match="without recordings"):
        Archive(model, tmp_path)


def test_places_that_are_no_index_are_refused(model, archive, tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(hive.DataError, match=r"index\.json: cannot be read"):
        Archive(model, archive, tmp_path / "file")
    with pytest.raises(hive.DataError, match="other files"):
        Archive(model, archive, archive)
    with pytest.raises(hive.DataError, match="cannot be written"):
        Archive(model, archive, Path("/proc/index"))
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(hive.DataError, match="damaged or of another version"):
        Archive(model, archive, tmp_path)


@pytest.mark.slow
def test_killed_indexing_goes_on_where_it_was(model, tmp_path, embedded) -> None:
    archive = tmp_path / "long"
    archive.mkdir()
    for seed in range(20):
        soundfile.write(archive / f"{seed:02d}.wav", voice(30, seed), RATE)
    command = [sys.executable, "-c", _INDEX, str(model.file), str(archive)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(5):
            process.stdout.readline()
        time.sleep(0.02)  # into the middle of the next one
        process.send_signal(signal.SIGKILL)
    done = len(entries(archive))
    assert 5 <= done < 20
    found = look(model, archive)
    assert len(embedded) == 20 - done
    expected = look(model, archive, tmp_path / "anew")
    for name, each in expected.items():
        np.testing.assert_array_equal(each.windows.vectors, found[name].windows.vectors)
