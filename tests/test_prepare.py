import contextlib
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from hive_mtl import audio
from hive_mtl.errors import AudioError, DataError
from hive_mtl.learn import shards as module
from hive_mtl.learn.kept import Waves
from hive_mtl.learn.prepare import in_pieces, prepare
from learning import utterances
from voices import RATE, voice


@pytest.fixture
def table(tmp_path: Path) -> pa.Table:
    """Five recordings of a second and more."""
    rows = []
    for number in range(5):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, voice(1.0 + 0.1 * number, number), RATE)
        rows.append({"path": str(path), "speaker": f"v{number}", "gender": "F"})
    return utterances(rows)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def of(*paths: Path) -> pa.Table:
    return utterances([{"path": str(path), "speaker": path.stem} for path in paths])


def test_waves_are_those_of_the_trimmed_recordings(table: pa.Table, cache: Path) -> None:
    prepared = prepare(table, cache)
    assert len(prepared) == 5
    assert prepared.failures == ()
    for row, path in enumerate(table["path"].to_pylist()):
        expected = audio.trim_silence(audio.load(path))
        assert prepared.lengths[row] == len(expected)
        np.testing.assert_allclose(prepared.read(row), expected, atol=0.5 / 32768)


def test_sixteen_bit_recordings_come_back_exactly(tmp_path: Path, cache: Path) -> None:
    samples = (voice(1.0) * 32767).astype(np.int16)
    samples[8000:8004] = [-32768, 32767, -1, 1]
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    found = prepare(of(tmp_path / "a.wav"), cache).read(0) * 32768
    start = int(np.flatnonzero(found == 32767)[0]) - 8001
    np.testing.assert_array_equal(found, samples[-start : len(found) - start])


def test_what_overshoots_full_scale_is_clipped(tmp_path: Path, cache: Path) -> None:
    soundfile.write(tmp_path / "a.wav", 20 * voice(1.0), RATE, subtype="FLOAT")
    wave = prepare(of(tmp_path / "a.wav"), cache).read(0)
    assert wave.max() == pytest.approx(1.0, abs=1e-4)
    assert wave.min() == -1.0


def test_any_stretch_can_be_read(table: pa.Table, cache: Path) -> None:
    prepared = prepare(table, cache)
    whole = prepared.read(3)
    np.testing.assert_array_equal(prepared.read(3, 100, 50), whole[100:150])
    np.testing.assert_array_equal(prepared.read(3, len(whole) - 10, 50), whole[-10:])


def test_silence_around_speech_goes(tmp_path: Path, cache: Path) -> None:
    rng = np.random.default_rng(0)
    hiss = 0.0005 * rng.standard_normal(3 * RATE).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", np.concatenate([hiss, voice(1.0), hiss]), RATE)
    assert prepare(of(tmp_path / "a.wav"), cache).lengths[0] < 2 * RATE


def test_a_held_vowel_between_pauses_is_speech(tmp_path: Path, cache: Path) -> None:
    time_s = np.arange(4 * RATE) / RATE
    vowel = sum(np.sin(2 * np.pi * 150 * k * time_s) / k for k in range(1, 10)) * 0.1
    hiss = 0.0005 * np.random.default_rng(0).standard_normal(6 * RATE)
    hiss[RATE : 5 * RATE] += vowel
    soundfile.write(tmp_path / "a.wav", hiss.astype(np.float32), RATE)
    prepared = prepare(of(tmp_path / "a.wav"), cache)
    assert prepared.lengths[0] == pytest.approx(4.2 * RATE, abs=0.3 * RATE)


def test_parts_of_a_recording(tmp_path: Path, cache: Path) -> None:
    soundfile.write(tmp_path / "a.wav", voice(4.0), RATE)
    path = str(tmp_path / "a.wav")
    rows = [
        {"path": path, "speaker": "a", "start_s": "0.5", "duration_s": "1.5"},
        {"path": path, "speaker": "a", "start_s": "2.0", "duration_s": None},
    ]
    prepared = prepare(utterances(rows), cache)
    assert prepared.lengths[0] <= 1.5 * RATE
    assert RATE < prepared.lengths[1] <= 2 * RATE
    assert prepared.table["duration_s"].to_pylist() == [1.5, prepared.lengths[1] / RATE]


def open_files(folder: Path) -> int:
    """How many files of a folder are open here; others come and go with the garbage of others."""
    gc.collect()  # what holds a file in a cycle lets go of it now, and not between two counts
    files = {(stat.st_dev, stat.st_ino) for stat in map(Path.stat, folder.rglob("*"))}
    count = 0
    for each in Path("/dev/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that listed them is closed by now
            stat = os.fstat(int(each.name))
            count += (stat.st_dev, stat.st_ino) in files
    return count


class TestFailures:
    @pytest.fixture
    def mixed(self, tmp_path: Path) -> list[Path]:
        """One good recording and five bad ones."""
        good, text, silent, empty, short, missing = (
            tmp_path / f"{name}.wav"
            for name in ("good", "text", "silent", "empty", "short", "missing")
        )
        soundfile.write(good, voice(1.0), RATE)
        text.write_text("this is no recording")
        soundfile.write(silent, np.zeros(RATE), RATE)
        empty.write_bytes(b"")
        soundfile.write(short, np.full(3, 0.5), RATE)
        return [text, silent, good, empty, short, missing]

    def test_bad_recordings_are_left_out_and_listed(self, mixed: list[Path], cache: Path) -> None:
        prepared = prepare(of(*mixed), cache)
        assert prepared.table["speaker"].to_pylist() == ["good"]
        assert len(prepared.read(0)) == prepared.lengths[0]
        assert len(prepared.failures) == 5
        bad = [path for path in mixed if path.stem != "good"]
        for failure, path in zip(prepared.failures, bad, strict=True):
            assert failure.startswith(f"{path}")
            assert "\n" not in failure

    def test_failures_are_remembered(self, mixed: list[Path], cache: Path) -> None:
        first, again = prepare(of(*mixed), cache), prepare(of(*mixed), cache)
        assert again.failures == first.failures

    def test_more_than_allowed_is_one_line(self, mixed: list[Path], cache: Path) -> None:
        assert len(prepare(of(*mixed), cache, max_failures=5)) == 1
        with pytest.raises(DataError, match=r"5 of 6 recordings failed.*4 allowed") as caught:
            prepare(of(*mixed), cache, max_failures=4)
        assert "\n" not in str(caught.value)

    def test_nothing_good_is_one_line(self, mixed: list[Path], cache: Path) -> None:
        with pytest.raises(DataError, match=r"none of 2 recordings.*text\.wav"):
            prepare(of(*mixed[:2]), cache)

    def test_no_utterances_is_one_line(self, table: pa.Table, cache: Path) -> None:
        with pytest.raises(DataError, match="no utterances to prepare"):
            prepare(table.slice(0, 0), cache)

    def test_a_cache_that_cannot_be_written_is_one_line(
        self, table: pa.Table, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(DataError, match="cannot be written"):
            prepare(table, tmp_path / "file")

    def test_a_shard_that_is_gone_is_one_line(self, table: pa.Table, cache: Path) -> None:
        prepared = prepare(table, cache)
        (prepared.folder / "000000.i16").unlink()
        with pytest.raises(DataError, match="run again to prepare"):
            prepared.read(0)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARD_UTTERANCES", 2)


@pytest.mark.usefixtures("small_shards")
class TestShards:
    @pytest.fixture
    def decoded(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The recordings that were decoded, in any order."""
        paths: list[str] = []
        original = module._decode

        def counted(kept: Waves, path: str, *segment: float | None) -> object:
            paths.append(path)
            return original(kept, path, *segment)

        monkeypatch.setattr(module, "_decode", counted)
        return paths

    def test_several_shards_are_one_table(self, table: pa.Table, cache: Path) -> None:
        prepared = prepare(table, cache)
        assert prepared.shard.tolist() == [0, 0, 1, 1, 2]
        for row, path in enumerate(table["path"].to_pylist()):
            assert prepared.lengths[row] == len(audio.trim_silence(audio.load(path)))

    def test_the_second_time_nothing_is_decoded(
        self, table: pa.Table, cache: Path, decoded: list[str]
    ) -> None:
        counts: list[int] = []
        prepare(table, cache, progress=counts.append)
        assert sum(counts) == len(decoded) == 5
        decoded.clear()
        counts.clear()
        prepare(table, cache, progress=counts.append)
        assert decoded == []
        assert sum(counts) == 5

    @pytest.mark.parametrize("lost", ["000001.parquet", "000001.i16"])
    def test_only_a_missing_shard_is_made_again(
        self, table: pa.Table, cache: Path, decoded: list[str], lost: str
    ) -> None:
        first = prepare(table, cache)
        waves = [first.read(row) for row in range(5)]
        (first.folder / lost).unlink()
        decoded.clear()
        again = prepare(table, cache)
        assert sorted(decoded) == table["path"].to_pylist()[2:4]
        for row in range(5):
            np.testing.assert_array_equal(again.read(row), waves[row])

    def test_an_interrupted_preparation_goes_on(
        self, table: pa.Table, cache: Path, decoded: list[str]
    ) -> None:
        def interrupt(_: int) -> None:
            if len(decoded) >= 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            prepare(table, cache, progress=interrupt)
        decoded.clear()
        assert len(prepare(table, cache)) == 5
        assert table["path"].to_pylist()[0] not in decoded

    def test_only_so_many_shards_stay_open(
        self, table: pa.Table, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "OPEN_SHARDS", 1)
        prepared = prepare(table, cache)
        before = open_files(cache)
        waves = [prepared.read(row) for row in range(5)]
        assert open_files(cache) == before + 1
        np.testing.assert_array_equal(prepared.read(0), waves[0])
        del prepared
        assert open_files(cache) == before

    @pytest.mark.parametrize("kept_open", [1, 64])
    def test_it_can_be_read_in_another_process_and_by_many_threads(
        self, table: pa.Table, cache: Path, monkeypatch: pytest.MonkeyPatch, kept_open: int
    ) -> None:
        monkeypatch.setattr(module, "OPEN_SHARDS", kept_open)
        prepared = prepare(table, cache)
        again = pickle.loads(pickle.dumps(prepared))
        found: list[bool] = []

        def read() -> None:
            found.append(all(np.array_equal(again.read(r), prepared.read(r)) for r in range(5)))

        threads = [threading.Thread(target=read) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [True] * 8


@pytest.mark.usefixtures("small_shards")
class TestPassingFailures:
    @pytest.fixture
    def faulty(self, monkeypatch: pytest.MonkeyPatch) -> set[str]:
        """Recordings that cannot be read as long as they are in it."""
        paths: set[str] = set()
        load = audio.load

        def fails(path: str) -> audio.Wave:
            if path in paths:
                raise AudioError(f"{path}: cannot be read (input/output error): try again")
            return load(path)

        monkeypatch.setattr(audio, "load", fails)
        return paths

    @pytest.mark.parametrize("failing", [[1], [0, 1, 2, 4]])
    def test_what_can_be_read_later_is_prepared_then(
        self,
        table: pa.Table,
        cache: Path,
        faulty: set[str],
        failing: list[int],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        faulty.update(table["path"].take(failing).to_pylist())
        first = prepare(table, cache)
        assert len(first.failures) == len(failing)
        waves = [first.read(row) for row in range(len(first))]
        unopened = pickle.loads(pickle.dumps(first))
        faulty.clear()
        tried: list[object] = []
        load = audio.load
        monkeypatch.setattr(audio, "load", lambda source: (tried.append(source), load(source))[1])
        later = prepare(table, cache)
        assert len(tried) == len(failing)  # each is decoded once
        whole = prepare(table, cache.parent / "another")
        assert later.failures == ()
        assert later.table.equals(whole.table)
        for row in range(5):
            np.testing.assert_array_equal(later.read(row), whole.read(row))
        for row, wave in enumerate(waves):  # as a run that was going on reads it
            np.testing.assert_array_equal(first.read(row), wave)
            np.testing.assert_array_equal(unopened.read(row), wave)

    def test_what_fails_again_is_told_of_and_costs_a_shard_at_most(
        self, table: pa.Table, cache: Path, faulty: set[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        faulty.update(table["path"].to_pylist()[1:])
        first = prepare(table, cache)
        files = sorted(first.folder.iterdir())
        tried: list[object] = []
        load = audio.load
        monkeypatch.setattr(audio, "load", lambda source: (tried.append(source), load(source))[1])
        again = prepare(table, cache)
        assert again.failures == first.failures
        assert len(again) == 1
        assert 0 < len(tried) <= 2
        assert sorted(first.folder.iterdir()) == files

    def test_what_holds_no_speech_is_not_tried_again(
        self, tmp_path: Path, table: pa.Table, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        soundfile.write(tmp_path / "0.wav", np.zeros(RATE), RATE)
        assert len(prepare(table, cache).failures) == 1
        monkeypatch.delattr(audio, "load")
        assert len(prepare(table, cache).failures) == 1

    def test_what_was_prepared_later_and_is_gone_is_prepared_anew(
        self, table: pa.Table, cache: Path, faulty: set[str]
    ) -> None:
        faulty.add(table["path"][1].as_py())
        prepare(table, cache)
        faulty.clear()
        for shard in prepare(table, cache).folder.glob("again-*.i16"):
            shard.unlink()
        later = prepare(table, cache)
        assert later.failures == ()
        assert len(later.read(1)) == later.lengths[1]


class TestKey:
    def test_a_changed_recording_is_prepared_anew(self, table: pa.Table, cache: Path) -> None:
        first = prepare(table, cache)
        soundfile.write(table["path"][0].as_py(), voice(3.0, 9), RATE)
        second = prepare(table, cache)
        assert second.folder != first.folder
        assert second.lengths[0] > first.lengths[0]

    def test_labels_do_not_matter_and_are_those_given(self, table: pa.Table, cache: Path) -> None:
        first = prepare(table, cache)
        place = table.schema.get_field_index("gender")
        second = prepare(table.set_column(place, "gender", pa.array(["M"] * 5)), cache)
        assert second.folder == first.folder
        assert set(second.table["gender"].to_pylist()) == {"M"}

    def test_rows_and_their_order_matter(self, table: pa.Table, cache: Path) -> None:
        folders = {
            prepare(rows, cache).folder
            for rows in (table, table.slice(1), table.take([1, 0, 2, 3, 4]))
        }
        assert len(folders) == 3

    def test_a_recording_that_appears_is_prepared(self, tmp_path: Path, cache: Path) -> None:
        good, late = tmp_path / "good.wav", tmp_path / "late.wav"
        soundfile.write(good, voice(1.0), RATE)
        assert len(prepare(of(good, late), cache)) == 1
        soundfile.write(late, voice(1.0), RATE)
        assert len(prepare(of(good, late), cache)) == 2


KILLED = """
import sys
from pathlib import Path
import pyarrow.parquet as pq
from hive_mtl.learn import prepare, shards
shards.SHARD_UTTERANCES = 2
prepare.prepare(pq.read_table(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on(
    table: pa.Table, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr(module, "SHARD_UTTERANCES", 2)
    many = pa.concat_tables([table] * 60)
    pq.write_table(many, tmp_path / "table.parquet")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "table.parquet"), str(cache)]
    process = subprocess.Popen(command, env=dict(os.environ))
    while len(list(cache.glob("*/*.parquet"))) < 5 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    prepared = prepare(many, cache)
    assert len(prepared) == 300
    whole = prepare(many, tmp_path / "another")
    for row in range(0, 300, 7):
        np.testing.assert_array_equal(prepared.read(row), whole.read(row))


def test_long_utterances_are_cut_into_equal_parts_that_keep_their_labels() -> None:
    table = pa.table(
        {
            "path": ["short.wav", "long.wav", "unknown.wav", "none.wav"],
            "speaker": ["a", "b", "c", "d"],
            "start_s": [0.0, 10.0, 0.0, 0.0],
            "duration_s": pa.array([5.0, 150.0, None, 0.0], pa.float64()),
        }
    )
    parts = in_pieces(table, 60.0)
    assert parts["path"].to_pylist() == ["short.wav", *["long.wav"] * 3, "unknown.wav", "none.wav"]
    assert parts["speaker"].to_pylist() == ["a", "b", "b", "b", "c", "d"]
    assert parts["start_s"].to_pylist() == [0.0, 10.0, 60.0, 110.0, 0.0, 0.0]
    assert parts["duration_s"].to_pylist() == [5.0, 50.0, 50.0, 50.0, None, 0.0]
    assert in_pieces(table.slice(0, 1)).equals(table.slice(0, 1))
