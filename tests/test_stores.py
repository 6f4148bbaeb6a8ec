"""What every store of voices promises, on SQLite and on a real PostgreSQL; what SQLite adds."""

import contextlib
import json
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event, Thread, Timer

import numpy as np
import pytest

from enrolled import DIM, MODEL, emptied, postgresql, sample, stored, unit
from hive_mtl.errors import HiveError, ModelError, StoreError, VoiceError
from hive_mtl.use.stores import Store, StoredVoice, centroid, open_store
from hive_mtl.use.stores import _matrix as matrix
from hive_mtl.use.stores._address import read_address

KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgresql(tmp_path_factory.mktemp("postgresql")) as url:
        yield url


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where no voice is kept yet."""
    if request.param == "sqlite":
        return str(tmp_path / "voices.db")
    return emptied(request.getfixturevalue("server"))


@pytest.fixture
def store(place: str) -> Iterator[Store]:
    store = open_store(place)
    yield store
    store.close()


def names(store: Store) -> list[str]:
    return [entry.name for entry in store.entries()]


def nearest(store: Store, *seed: int, count: int = 50) -> list[str]:
    found = store.nearest(unit(*seed), count, MODEL)
    return [each.name for each in found.neighbours]


class TestContract:
    def test_a_new_store_is_empty(self, store) -> None:
        assert (store.entries(), store.count(), store.model_id) == ((), 0, "")
        assert not store.has("ann")
        assert store.nearest(unit(1), 5, MODEL).enrolled == 0

    def test_what_is_kept_is_given_back_also_by_another_connection(self, store, place) -> None:
        kept = stored("ann", 1, 2)
        assert store.add([kept, stored("Zoë 声", 3)], MODEL) == 2
        other = open_store(place)
        found = other.get("ann")
        other.close()
        assert (found.name, found.created, found.note, found.labels) == (
            *(kept.name, kept.created, kept.note),
            {},
        )
        for got, put in zip(found.samples, kept.samples, strict=True):
            np.testing.assert_array_equal(got.vector, put.vector)
            assert got.vector.dtype == np.float32
            assert (got.speech_seconds, got.snr_db, got.clipped, got.source) == (
                *(put.speech_seconds, put.snr_db, put.clipped),
                put.source,
            )
            assert (got.start_s, got.duration_s) == (0.0, None)
        assert names(store) == ["Zoë 声", "ann"]
        assert store.entries()[1].samples == 2
        assert store.entries()[1].speech_seconds == 6.0

    def test_a_taken_name_keeps_all_of_them_out(self, store) -> None:
        store.add([stored("ann", 1)], MODEL)
        with pytest.raises(VoiceError, match=r"'ann'.*already"):
            store.add([stored("bob", 2), stored("ann", 3)], MODEL)
        assert names(store) == ["ann"]

    def test_more_samples_move_the_centroid(self, store) -> None:
        store.add([stored("ann", 1), stored("bob", 2)], MODEL)
        assert nearest(store, 3)  # a search has been made before the change
        store.extend("ann", [sample(3), sample(4)], MODEL)
        (best, *_) = store.nearest(unit(3), 5, MODEL).neighbours
        assert best.name == "ann"
        expected = centroid([sample(1), sample(3), sample(4)])
        np.testing.assert_allclose(best.voice.vector, expected.vector, atol=1e-6)
        assert best.voice.speech_seconds == 9.0

    def test_a_recording_that_another_caller_has_added_is_not_added_twice(self, store) -> None:
        part = replace(sample(3), start_s=1.0, duration_s=2.0)
        store.add([stored("ann", 1), stored("bob", 3)], MODEL)
        store.extend("ann", [sample(2), part], MODEL)
        for again, says in ((sample(2), r"/2\.wav"), (part, r"/3\.wav \[1\.0-3\.0 s\]")):
            with pytest.raises(VoiceError, match=rf"^\S+{says}: is already among.* 'ann': leave"):
                store.extend("ann", [sample(4), again], MODEL)
        assert len(store.get("ann").samples) == 3
        store.extend("ann", [sample(3), replace(part, duration_s=3.0)], MODEL)
        assert len(store.get("ann").samples) == 5

    def test_a_recording_that_two_voices_have_is_kept_once_when_they_are_merged(
        self, store
    ) -> None:
        part = replace(sample(3), start_s=1.0, duration_s=2.0)
        wave = replace(sample(4), source="array of 48000 samples")
        samples = (wave, sample(5), part, sample(3), replace(part, duration_s=3.0), sample(1))
        store.add([stored("ann", 1, 3), replace(stored("anna", 1), samples=samples)], MODEL)
        store.extend("ann", [part, wave, sample(6)], MODEL)
        store.merge("ann", "anna")
        assert [each.place or each.source for each in store.get("ann").samples] == [
            *(sample(1).place, sample(3).place),
            *(wave.source, sample(5).place, replace(part, duration_s=3.0).place),
            *(part.place, wave.source, sample(6).place),
        ]
        middle = centroid(store.get("ann").samples)
        (ann,) = store.nearest(middle.vector, 5, MODEL).neighbours
        assert ann.voice.speech_seconds == middle.speech_seconds == 24.0
        np.testing.assert_allclose(ann.voice.vector, middle.vector, atol=1e-6)

    def test_a_voice_that_has_the_name_already_is_renamed_without_a_word(self, store) -> None:
        store.add([stored("ann", 1)], MODEL)
        store.rename("ann", "ann")
        assert names(store) == ["ann"]
        with pytest.raises(VoiceError, match="there is none"):
            store.rename("bob", "bob")

    def test_what_was_no_file_is_added_as_often_as_it_is_given(self, store) -> None:
        wave = replace(sample(1), source="array of 48000 samples")
        store.add([replace(stored("ann", 1), samples=(wave,))], MODEL)
        store.extend("ann", [wave], MODEL)
        assert len(store.get("ann").samples) == 2

    def test_the_nearest_are_those_of_the_highest_cosine(self, store) -> None:
        store.add([stored(f"v{seed}", seed) for seed in range(60)], MODEL)
        cosines = {f"v{seed}": float(unit(seed) @ unit(99)) for seed in range(60)}
        expected = sorted(cosines, key=lambda name: -cosines[name])
        assert nearest(store, 99, count=10) == expected[:10]
        assert store.nearest(unit(99), 10, MODEL).enrolled == 60

    def test_a_search_sees_every_change(self, store) -> None:
        store.add([stored("ann", 1), stored("bob", 2)], MODEL)
        assert nearest(store, 1)[0] == "ann"
        store.rename("ann", "anna")
        assert nearest(store, 1)[0] == "anna"
        store.add([stored("cid", 5)], MODEL)
        assert nearest(store, 5)[0] == "cid"
        store.remove("anna")
        assert sorted(nearest(store, 1)) == ["bob", "cid"]
        store.merge("bob", "cid")
        assert nearest(store, 5) == ["bob"]
        assert len(store.get("bob").samples) == 2

    @pytest.mark.parametrize(
        "change",
        [
            lambda store: store.get("anne"),
            lambda store: store.remove("anne"),
            lambda store: store.rename("anne", "eve"),
            lambda store: store.rename("ann", "bob"),
            lambda store: store.merge("ann", "anne"),
            lambda store: store.merge("anne", "ann"),
            lambda store: store.merge("ann", "ann"),
            lambda store: store.extend("anne", [sample(7)], MODEL),
        ],
    )
    def test_names_that_are_not_there_or_taken_change_nothing(self, store, change) -> None:
        store.add([stored("ann", 1), stored("bob", 2)], MODEL)
        with pytest.raises(VoiceError) as caught:
            change(store)
        assert "\n" not in str(caught.value)
        if "anne" in str(caught.value):
            assert "did you mean 'ann'" in str(caught.value)
        assert [(entry.name, entry.samples) for entry in store.entries()] == [
            ("ann", 1),
            ("bob", 1),
        ]

    @pytest.mark.parametrize(
        "change",
        [
            lambda store: store.remove("anne"),
            lambda store: store.rename("anne", "eve"),
            lambda store: store.merge("ann", "anne"),
            lambda store: store.extend("anne", [sample(7)], MODEL),
        ],
    )
    def test_others_write_while_a_name_like_one_that_is_not_there_is_sought(
        self, store, place, change, monkeypatch
    ) -> None:
        store.add([stored("ann", 1)], MODEL)
        other = open_store(place)
        writer = Thread(target=lambda: other.add([stored("bob", 2)], MODEL))
        waits = []

        def seeking(*sought: object, **options: object) -> list[str]:
            writer.start()
            writer.join(30)
            waits.append(writer.is_alive())
            return ["ann"]

        monkeypatch.setattr("hive_mtl.use.stores._sql.get_close_matches", seeking)
        with pytest.raises(VoiceError, match="did you mean 'ann'"):
            change(store)
        writer.join(60)
        assert waits == [False]
        assert names(store) == ["ann", "bob"]

    def test_it_belongs_to_the_model_of_its_first_voice(self, store) -> None:
        store.add([stored("ann", 1)], MODEL)
        assert store.model_id == MODEL
        for act in (
            lambda: store.add([stored("bob", 2)], "other"),
            lambda: store.extend("ann", [sample(2)], "other"),
            lambda: store.nearest(unit(1), 5, "other"),
            lambda: store.check_model("other"),
        ):
            with pytest.raises(ModelError, match="voices re-embed"):
                act()
        assert [(entry.name, entry.samples) for entry in store.entries()] == [("ann", 1)]
        store.remove("ann")
        store.check_model("other")
        store.add([stored("bob", 2, dim=DIM * 2)], "other")
        assert store.model_id == "other"

    def test_all_are_replaced_at_once_or_not_at_all(self, store) -> None:
        store.add([stored("ann", 1), stored("bob", 2)], MODEL)

        def failing() -> Iterator[object]:
            yield stored("ann", 3)
            raise StoreError("no more")

        seen = store.snapshot()
        with pytest.raises(StoreError, match="no more"):
            store.replace(failing(), "other", seen.generation)
        assert (names(store), store.model_id) == (["ann", "bob"], MODEL)
        store.replace([stored("ann", 3, dim=8)], "other", seen.generation)
        assert (names(store), store.model_id) == (["ann"], "other")
        assert store.get("ann").samples[0].vector.shape == (8,)

    @pytest.mark.parametrize(
        "change",
        [
            lambda store: store.add([stored("cid", 3)], MODEL),
            lambda store: store.extend("ann", [sample(3)], MODEL),
            lambda store: store.rename("ann", "anna"),
            lambda store: store.merge("ann", "bob"),
            lambda store: store.remove("bob"),
        ],
    )
    def test_what_was_changed_meanwhile_is_not_replaced(self, store, place, change) -> None:
        store.add([stored("ann", 1), stored("bob", 2)], MODEL)
        seen = store.snapshot()
        other = open_store(place)
        change(other)
        other.close()
        before = store.entries()
        with pytest.raises(StoreError, match=r"has changed.*again") as caught:
            store.replace([stored("ann", 4, dim=8)], "other", seen.generation)
        assert "\n" not in str(caught.value)
        assert (store.entries(), store.model_id) == (before, MODEL)

    def test_a_snapshot_says_which_model_made_its_voices(self, store) -> None:
        assert (store.snapshot().model_id, store.snapshot().voices) == ("", ())
        store.add([stored("ann", 1, 2), stored("bob", 3)], MODEL)
        seen = store.snapshot()
        store.replace([stored("ann", 4, dim=8)], "other", seen.generation)
        assert seen.model_id == MODEL
        assert [(voice.name, len(voice.samples)) for voice in seen.voices] == [
            ("ann", 2),
            ("bob", 1),
        ]
        assert store.snapshot().model_id == "other"

    def test_threads_share_one(self, store) -> None:
        from concurrent.futures import ThreadPoolExecutor

        def work(seed: int) -> str:
            store.add([stored(f"v{seed}", seed)], MODEL)
            return nearest(store, seed, count=1)[0]

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(work, range(20))) == [f"v{seed}" for seed in range(20)]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_fork_has_a_connection_of_its_own(self, store) -> None:
        store.add([stored("ann", 1)], MODEL)
        child = multiprocessing.get_context("fork").Process(
            target=lambda: store.add([stored("bob", 2)], MODEL)
        )
        child.start()
        child.join(60)
        assert child.exitcode == 0
        assert names(store) == ["ann", "bob"]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_what_a_fork_enrols_stays_whoever_closes_the_store(self, store, place) -> None:
        store.add([stored("ann", 1)], MODEL)
        forks = multiprocessing.get_context("fork")
        ready, closed = forks.Semaphore(0), forks.Semaphore(0)

        def enrol() -> None:
            for seed, name in enumerate(["bob", "cid", "dan"]):
                store.count()
                ready.release()
                closed.acquire()
                store.add([stored(name, seed)], MODEL)

        child = forks.Process(target=enrol)
        child.start()
        for last in (store, store, open_store(place)):
            assert ready.acquire(timeout=60)
            last.count()
            last.close()
            closed.release()
        child.join(60)
        assert child.exitcode == 0
        assert names(store) == ["ann", "bob", "cid", "dan"]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_fork_waits_for_what_threads_have_under_way(self, store) -> None:
        store.add([stored("ann", 1)], MODEL)
        begun = Event()

        def slowly() -> Iterator[StoredVoice]:
            begun.set()
            time.sleep(0.3)  # the fork is made meanwhile
            yield stored("bob", 2)

        thread = Thread(target=lambda: store.add(slowly(), MODEL))
        thread.start()
        begun.wait()
        child = multiprocessing.get_context("fork").Process(
            target=lambda: os._exit(names(store) != ["ann", "bob"])
        )
        child.start()
        child.join(20)
        child.kill()
        thread.join()
        assert child.exitcode == 0
        assert names(store) == ["ann", "bob"]


class TestCentroid:
    def test_is_of_unit_norm_and_follows_quality(self) -> None:
        short, long = sample(1, speech_seconds=1.0), sample(2, speech_seconds=20.0)
        middle = centroid([short, long])
        assert np.linalg.norm(middle.vector) == pytest.approx(1, abs=1e-6)
        assert middle.vector @ long.vector > middle.vector @ short.vector
        assert middle.speech_seconds == 21.0

    def test_one_sample_is_its_own(self) -> None:
        np.testing.assert_allclose(centroid([sample(1)]).vector, unit(1), atol=1e-6)


class TestSqlite:
    def test_reading_makes_no_file(self, tmp_path) -> None:
        store = open_store(tmp_path / "none.db")
        assert store.entries() == ()
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "change",
        [
            lambda store: store.rename("ann", "eve"),
            lambda store: store.merge("ann", "eve"),
            lambda store: store.remove("ann"),
            lambda store: store.extend("ann", [sample(1)], MODEL),
        ],
    )
    def test_what_needs_a_voice_makes_no_file(self, tmp_path, change) -> None:
        store = open_store(tmp_path / "new" / "none.db")
        with pytest.raises(VoiceError, match=r"'ann'.*none\.db"):
            change(store)
        assert list(tmp_path.iterdir()) == []
        store.add([stored("ann", 1)], MODEL)
        assert names(store) == ["ann"]

    def test_a_removed_voice_is_gone_from_all_files(self, tmp_path) -> None:
        store = open_store(tmp_path / "voices.db")
        store.add([stored(f"voice number {seed}", seed, 1000 + seed) for seed in range(50)], MODEL)
        traces = [b"voice number 7", unit(7).tobytes(), unit(1007).tobytes(), b"/1007.wav"]
        traces.append(centroid([sample(7), sample(1007)]).vector.tobytes())
        before = _bytes_in(tmp_path)
        assert all(trace in before for trace in traces)
        store.remove("voice number 7")
        after = _bytes_in(tmp_path)  # with the store still open
        assert not [trace for trace in traces if trace in after]
        assert b"voice number 8" in after

    def test_an_erasure_that_fails_is_told_of_and_comes_with_the_next_try(
        self, tmp_path, monkeypatch
    ) -> None:
        full = True

        class Filled(sqlite3.Connection):
            def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
                if statement == "VACUUM" and full:
                    error = sqlite3.OperationalError("database or disk is full")
                    error.sqlite_errorcode = sqlite3.SQLITE_FULL
                    raise error
                return super().execute(statement, *values)

        monkeypatch.setattr("sqlite3.connect", partial(sqlite3.connect, factory=Filled))
        store = open_store(tmp_path / "voices.db")
        store.add([stored(f"voice number {seed}", seed) for seed in range(50)], MODEL)
        for _ in range(2):
            with pytest.raises(StoreError, match=r"disk is full: .*files until.*again") as caught:
                store.remove("voice number 7")
            assert "\n" not in str(caught.value)
            assert not store.has("voice number 7")
        assert "there is none" in str(caught.value)  # the second time, whatever else there is
        full = False
        with pytest.raises(VoiceError, match="there is none"):
            open_store(tmp_path / "voices.db").remove("voice number 7")
        after = _bytes_in(tmp_path)
        assert not [trace for trace in (b"voice number 7", unit(7).tobytes()) if trace in after]
        assert b"voice number 8" in after

    @pytest.mark.parametrize("ends", [(), ("-wal", "-shm")])
    def test_after_its_file_is_deleted_it_is_refused_and_made_anew_once_closed(
        self, tmp_path, ends
    ) -> None:
        path = tmp_path / "voices.db"
        store = open_store(path)
        store.add([stored("ann", 1)], MODEL)
        assert nearest(store, 1) == ["ann"]
        for end in ("", *ends):
            path.with_name(path.name + end).unlink()
        for use in (
            store.count,
            lambda: store.add([stored("bob", 2)], MODEL),
            lambda: store.remove("ann"),
        ):
            with pytest.raises(StoreError, match=r"^\S+voices.db: was replaced or deleted.*anew$"):
                use()
        store.close()
        assert names(store) == []
        with pytest.raises(VoiceError, match="there is none"):
            store.remove("ann")
        assert not path.exists()
        store.add([stored("bob", 2)], MODEL)
        assert names(store) == names(open_store(path)) == ["bob"]
        assert nearest(store, 2) == ["bob"]

    def test_what_is_enrolled_as_its_file_goes_is_not_said_to_be_kept(
        self, tmp_path, monkeypatch
    ) -> None:
        path = tmp_path / "voices.db"
        store = open_store(path)
        store.add([stored("ann", 1)], MODEL)
        store.close()
        opened = store._opened

        def opened_at_last() -> sqlite3.Connection:
            connection = opened()
            path.unlink()
            return connection

        monkeypatch.setattr(store, "_opened", opened_at_last)
        with pytest.raises(StoreError, match="replaced or deleted"):
            store.add([stored("bob", 2)], MODEL)

    @pytest.mark.parametrize("seen", [False, True])
    def test_a_file_that_is_replaced_while_it_is_open_is_not_used_and_not_damaged(
        self, tmp_path, seen
    ) -> None:
        path, backup, old = (tmp_path / f"{name}.db" for name in ("voices", "backup", "old"))
        other = open_store(backup)
        other.add([stored(f"v{seed}", seed) for seed in range(500)], MODEL)
        other.close()
        store = open_store(path)
        store.add([stored(f"w{seed}", seed) for seed in range(200)], MODEL)
        store.add([stored("late", 1000)], MODEL)
        path.rename(old)
        backup.replace(path)
        if seen:
            with pytest.raises(StoreError, match=r"replaced or deleted.*voices\.db-wal.*anew"):
                store.entries()
        else:
            store.close()
        for file, held in ((path, 500), (old, 201)):
            assert open_store(file).count() == held
            with sqlite3.connect(file) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    def test_a_file_that_is_put_in_its_place_once_it_is_closed_is_used(self, tmp_path) -> None:
        path, backup = tmp_path / "voices.db", tmp_path / "backup.db"
        store = open_store(path)
        store.add([stored("ann", 1)], MODEL)
        store.close()
        shutil.copy(path, backup)
        store.add([stored(f"v{seed}", seed) for seed in range(20)], MODEL)
        assert nearest(store, 7, count=1) == ["v7"]
        store.close()
        backup.replace(path)
        assert names(store) == ["ann"]
        store.add([stored(f"w{seed}", 100 + seed) for seed in range(20)], MODEL)
        assert [nearest(store, 100 + seed, count=1) for seed in range(20)] == [
            [f"w{seed}"] for seed in range(20)
        ]
        assert names(store) == names(open_store(path))

    def test_behind_a_link_it_is_made_where_the_link_leads(self, tmp_path) -> None:
        (tmp_path / "voices.db").symlink_to(tmp_path / "there.db")
        store = open_store(tmp_path / "voices.db")
        assert names(store) == []
        assert not (tmp_path / "there.db").exists()
        store.add([stored("ann", 1)], MODEL)
        assert (tmp_path / "there.db").stat().st_mode & 0o077 == 0
        (tmp_path / "there.db").rename(tmp_path / "old.db")
        with pytest.raises(StoreError, match="replaced or deleted"):
            store.count()

    def test_nobody_else_may_read_the_file(self, tmp_path) -> None:
        open_store(tmp_path / "voices.db").add([stored("ann", 1)], MODEL)
        assert (tmp_path / "voices.db").stat().st_mode & 0o077 == 0

    def test_it_is_made_to_survive_a_power_cut(self, tmp_path) -> None:
        open_store(tmp_path / "voices.db").add([stored("ann", 1)], MODEL)
        with sqlite3.connect(tmp_path / "voices.db") as file:
            assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    @pytest.mark.parametrize(
        ("make", "says"),
        [
            (lambda path: path.mkdir(), "is a folder"),
            (lambda path: path.write_text("not a database, " * 100), "is not a database"),
            (lambda path: _sqlite(path, "CREATE TABLE other (x)"), "something else"),
            (
                lambda path: _sqlite(
                    path,
                    "CREATE TABLE store (x)",
                    f"PRAGMA application_id = {0x48495645}",
                    "PRAGMA user_version = 99",
                ),
                "version 99.*update hive-mtl",
            ),
            (lambda path: _sqlite(path, *_OF_OURS, "PRAGMA user_version = 2"), "is damaged"),
            (lambda path: path.symlink_to("/nowhere/at/all.db"), "cannot be made"),
        ],
        ids=["folder", "text", "foreign", "newer", "damaged", "dangling"],
    )
    def test_what_is_no_store_is_refused_in_one_line(self, tmp_path, make, says) -> None:
        make(tmp_path / "voices.db")
        with pytest.raises(StoreError, match=says) as caught:
            open_store(tmp_path / "voices.db").add([stored("ann", 1)], MODEL)
        assert "\n" not in str(caught.value)
        assert "voices.db" in str(caught.value)

    def test_an_empty_file_becomes_a_store(self, tmp_path) -> None:
        (tmp_path / "voices.db").touch()
        store = open_store(tmp_path / "voices.db")
        store.add([stored("ann", 1)], MODEL)
        assert names(store) == ["ann"]

    def test_an_older_version_is_brought_up_to_date_and_kept(self, tmp_path) -> None:
        _version_1(tmp_path / "voices.db")
        store = open_store(tmp_path / "voices.db")
        assert store.model_id == MODEL
        assert store.entries()[0].labels == {"team": "a"}
        np.testing.assert_array_equal(store.get("ann").samples[0].vector, unit(1))
        assert nearest(store, 1) == ["ann"]
        store.add([stored("bob", 2)], MODEL)
        assert nearest(store, 2)[0] == "bob"
        copy = tmp_path / "voices.db.schema-1"
        assert copy.stat().st_mode & 0o077 == 0
        with sqlite3.connect(copy) as file:
            assert file.execute("PRAGMA user_version").fetchone() == (1,)
            assert file.execute("SELECT name FROM voice").fetchall() == [("ann",)]

    def test_a_writer_that_takes_too_long_is_told_of(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr("hive_mtl.use.stores.sqlite.WAIT_S", 0.1)
        store = open_store(tmp_path / "voices.db")
        store.add([stored("ann", 1)], MODEL)
        busy = sqlite3.connect(tmp_path / "voices.db", isolation_level=None)
        busy.execute("BEGIN IMMEDIATE")
        assert names(store) == ["ann"]  # readers do not mind
        with pytest.raises(StoreError, match=r"another program.*try again"):
            store.add([stored("bob", 2)], MODEL)
        busy.execute("ROLLBACK")
        store.add([stored("bob", 2)], MODEL)

    def test_a_store_that_another_is_making_at_this_moment_is_a_store(
        self, tmp_path, monkeypatch
    ) -> None:
        path = tmp_path / "voices.db"
        path.touch()  # as the other has begun
        maker = Thread(target=lambda: open_store(path).add([stored("ann", 1)], MODEL))

        class Slow(sqlite3.Connection):
            def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
                if statement == "PRAGMA schema_version" and maker.ident is None:
                    maker.start()
                    maker.join(0.5)  # it makes all of the store here, if nothing holds it back
                return super().execute(statement, *values)

        monkeypatch.setattr("sqlite3.connect", partial(sqlite3.connect, factory=Slow))
        store = open_store(path)
        maker.join()
        assert names(store) == ["ann"]

    def test_a_store_that_may_not_be_written_says_so(self, tmp_path) -> None:
        path = tmp_path / "voices.db"
        store = open_store(path)
        store.add([stored("ann", 1)], MODEL)
        store._connection.execute("PRAGMA query_only = ON")  # root may write everything else
        with pytest.raises(StoreError, match="is read-only"):
            store.remove("ann")
        assert names(store) == ["ann"]

    def test_many_voices_are_searched_in_a_file_beside_it(self, tmp_path, monkeypatch) -> None:
        pytest.importorskip("hive_mtl.use.gallery")
        monkeypatch.setattr(matrix, "IN_MEMORY", 100)
        monkeypatch.setattr(matrix, "MANY_CHANGES", 20)
        store = open_store(tmp_path / "voices.db")
        store.add([stored(f"v{seed}", seed) for seed in range(150)], MODEL)
        beside = tmp_path / "voices.db.matrix"
        assert nearest(store, 7)[0] == "v7"
        assert beside.stat().st_mode & 0o077 == 0
        written = beside.stat().st_mtime_ns
        store.add([stored("new", 500)], MODEL)
        store.extend("v9", [sample(501)] * 9, MODEL)
        for reader in (store, open_store(tmp_path / "voices.db")):
            assert nearest(reader, 500)[0] == "new"
            assert nearest(reader, 501)[0] == "v9"
            assert nearest(reader, 149)[0] == "v149"
            assert len(set(nearest(reader, 501))) == 50
        assert beside.stat().st_mtime_ns == written  # a few changes do not make it anew
        store.add([stored(f"w{seed}", 1000 + seed) for seed in range(30)], MODEL)
        assert nearest(store, 1029)[0] == "w29"
        assert beside.stat().st_mtime_ns > written
        store.remove("v7")
        assert unit(7).tobytes() not in _bytes_in(tmp_path)
        assert "v7" not in nearest(store, 7)
        assert unit(7).tobytes() not in _bytes_in(tmp_path)

    def test_a_matrix_that_another_process_has_written_is_used_with_what_came_since(
        self, tmp_path, monkeypatch
    ) -> None:
        monkeypatch.setattr(matrix, "IN_MEMORY", 6)
        monkeypatch.setattr(matrix, "MANY_CHANGES", 4)
        one, other = open_store(tmp_path / "voices.db"), open_store(tmp_path / "voices.db")
        one.add([stored(f"v{seed}", seed) for seed in range(10)], MODEL)
        assert nearest(one, 1)[0] == "v1"  # its matrix is of now
        other.add([stored(f"w{seed}", 100 + seed) for seed in range(5)], MODEL)
        assert nearest(other, 101)[0] == "w1"  # and this one is of later, in the file
        other.add([stored("late", 200)], MODEL)
        assert nearest(one, 200)[0] == "late"

    def test_a_matrix_of_another_store_or_of_rubbish_is_not_used(
        self, tmp_path, monkeypatch
    ) -> None:
        pytest.importorskip("hive_mtl.use.gallery")
        monkeypatch.setattr(matrix, "IN_MEMORY", 10)
        for name, first in (("a.db", 0), ("b.db", 100)):
            store = open_store(tmp_path / name)
            store.add([stored(f"v{seed}", seed) for seed in range(first, first + 20)], MODEL)
            assert nearest(store, first)[0] == f"v{first}"
            store.close()
        (tmp_path / "a.db.matrix").replace(tmp_path / "b.db.matrix")
        assert nearest(open_store(tmp_path / "b.db"), 100)[0] == "v100"
        (tmp_path / "b.db.matrix").write_bytes(b"rubbish")
        assert nearest(open_store(tmp_path / "b.db"), 100)[0] == "v100"


_OF_OURS = ("CREATE TABLE voice (x)", f"PRAGMA application_id = {0x48495645}")


def _sqlite(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def _version_1(path: Path) -> None:
    """A store as the first version of its schema had it."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(
        f"""
        PRAGMA journal_mode = WAL;
        PRAGMA application_id = {0x48495645};
        PRAGMA user_version = 1;
        CREATE TABLE store (model_id TEXT NOT NULL);
        CREATE TABLE voice (
            id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, note TEXT NOT NULL,
            labels TEXT NOT NULL, created TEXT NOT NULL, centroid BLOB NOT NULL,
            speech_seconds REAL NOT NULL, snr_db REAL NOT NULL
        );
        CREATE TABLE sample (
            id INTEGER PRIMARY KEY, voice INTEGER NOT NULL REFERENCES voice (id),
            vector BLOB NOT NULL, speech_seconds REAL NOT NULL, snr_db REAL NOT NULL,
            clipped REAL NOT NULL, source TEXT NOT NULL
        );
        CREATE INDEX sample_voice ON sample (voice);
        """
    )
    vector = unit(1).tobytes()
    connection.execute("INSERT INTO store VALUES (?)", (MODEL,))
    connection.execute(
        "INSERT INTO voice VALUES (1, 'ann', '', ?, '2025-01-01', ?, 3, 20)",
        (json.dumps({"team": "a"}), vector),
    )
    connection.execute("INSERT INTO sample VALUES (1, 1, ?, 3, 20, 0, '/a.wav')", (vector,))
    connection.close()


def _bytes_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())


@pytest.mark.parametrize(
    "address",
    [
        "postgres+psycopg://me:secret@h/db",
        "mysql://me:secret@h/db?password=secret",
        "SQLITE:///tmp/voices.db",
        "file:///tmp/voices.db",
    ],
)
def test_an_address_of_no_known_kind_is_no_file(address, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=r"no known kind.*postgresql://") as caught:
        open_store(address)
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_made_is_one_line(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = open_store(tmp_path / "file" / "voices.db")
    with pytest.raises(StoreError, match=r"voices\.db: cannot be made \(.*\): name another store"):
        store.add([stored("ann", 1)], MODEL)


class TestPostgresql:
    def test_the_kind_of_an_address_may_be_written_in_capitals(self) -> None:
        pytest.importorskip("psycopg", reason="needs the extra postgres")
        with pytest.raises(StoreError, match="the database refuses"):
            open_store("POSTGRESQL://me@127.0.0.1:1/voices")

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://me:secret@127.0.0.1:1/voices",
            "postgres://me@127.0.0.1:1/voices?password=secret&connect_timeout=2",
            "postgresql://me:secret@[bad/voices",
            "postgresql://me:se%63ret@127.0.0.1:1/voices?port=many",
            "postgresql://me:secret/of#mine@127.0.0.1:1/voices",
            "postgresql://me@127.0.0.1:1/voices?sslpassword=secret",
        ],
    )
    def test_a_server_that_is_not_there_is_one_line_without_the_password(self, url) -> None:
        pytest.importorskip("psycopg", reason="needs the extra postgres")
        with pytest.raises(StoreError) as caught:
            open_store(url)
        assert "secret" not in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://host:5432/db?application_name=me@home",
            "postgresql://host/db?application_name=me@home&user=ann@example.org",
            "postgresql://me@[::1]:5432,other:5433/db?application_name=a@b",
            "postgresql://me@/db?host=/run/postgresql&application_name=a@b",
            "postgresql://me@host",
            "postgresql://me@host/db",
            "postgresql:///db?host=/run/postgresql&sslmode=require&sslrootcert=/a/b.pem",
            "postgresql://%2Frun%2Fpostgresql/db?options=-c%20geqo=off",
            "postgresql://",
        ],
    )
    def test_an_address_without_a_password_is_shown_as_it_is(self, url) -> None:
        address = read_address(url)
        assert address.shown == url
        assert address.passwords == frozenset()

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            (
                "postgresql://me:secret@host/db?application_name=a@b",
                "me@host/db?application_name=a@b",
            ),
            ("postgresql://me:sec%2Fret@host:1/db", "me@host:1/db"),
            (
                "postgresql://me@host/db?password=sec@ret&application_name=a",
                "me@host/db?application_name=a",
            ),
            ("postgresql://host?password=sec@ret&user=me", "host?user=me"),
            ("postgresql://?host=h&user=me&password=sec@ret", "?host=h&user=me"),
            ("postgresql:///db?host=/run&password=sec%40ret", "/db?host=/run"),
            ("postgresql://host?user=me@x&password=secret", "host?user=me@x"),
            ("postgresql://host/db?passfile=/sec/ret&sslpassword=ret", "host/db"),
        ],
    )
    def test_an_address_is_shown_without_its_password(self, url, shown) -> None:
        address = read_address(url)
        assert address.shown == f"postgresql://{shown}"
        assert address.passwords & {"secret", "sec@ret", "sec/ret", "/sec/ret"}

    @pytest.mark.parametrize(
        "password",
        [
            "sec/ret",
            "sec@ret",
            "sec?ret",
            "sec#ret",
            "sec?ret=1",
            "1?ret",
            "1/sec",
            "sec/r@t",
            "s?r/t",
            "se/cret?user=x",
            "p@ss?word=x",
            "p@ss?user=x",
            "1?user=x",
            "sec?retx=1",
            "sec\nret",
        ],
    )
    @pytest.mark.parametrize("query", ["", "?connect_timeout=2", "?application_name=me@home"])
    def test_a_password_that_is_to_be_escaped_is_refused_and_not_shown(
        self, password, query
    ) -> None:
        url = f"postgresql://me:{password}@host:1/db{query}"
        with pytest.raises(StoreError, match=r"^the store's address cannot be read: .* %2F and so"):
            open_store(url)

    def test_without_its_packages_the_extra_is_named(self, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "psycopg", None)
        with pytest.raises(HiveError, match=r"hive-mtl\[postgres\]"):
            open_store("postgresql://127.0.0.1:1/voices")

    @pytest.mark.slow
    def test_another_version_is_refused(self, server) -> None:
        import psycopg

        open_store(emptied(server)).add([stored("ann", 1)], MODEL)
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute("UPDATE hive_mtl.store SET version = 99")
        with pytest.raises(StoreError, match="version 99"):
            open_store(server)

    @pytest.mark.slow
    def test_a_lost_connection_is_made_anew(self, server) -> None:
        import psycopg

        store = open_store(emptied(server))
        store.add([stored("ann", 1)], MODEL)
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
        with pytest.raises(StoreError):
            store.entries()
        assert names(store) == ["ann"]

    @pytest.mark.slow
    def test_who_waits_while_all_are_replaced_sees_them_replaced(self, server) -> None:
        import psycopg

        store = open_store(emptied(server))
        store.add([stored("ann", 1), stored("bob", 2)], MODEL)
        other = open_store(server)
        seen: list[list[str]] = []
        reader = Thread(target=lambda: seen.append(names(other)))

        def meanwhile() -> Iterator[StoredVoice]:
            yield stored("ann", 3, dim=8)  # with it, the tables are made anew
            reader.start()
            with psycopg.connect(server, autocommit=True) as connection:
                for _ in range(200):
                    waiting = connection.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
                    if waiting.fetchone():
                        break
                    time.sleep(0.05)
                else:
                    pytest.fail("the reader did not wait")
            yield stored("bob", 4, dim=8)

        store.replace(meanwhile(), "other", store.snapshot().generation)
        reader.join(60)
        assert seen == [["ann", "bob"]]

    @pytest.mark.slow
    @pytest.mark.parametrize("dim", [DIM, 1024])  # the latter are kept beside the tables
    def test_a_removed_voice_is_gone_from_all_files_but_the_log(self, server, dim) -> None:
        import psycopg

        store = open_store(emptied(server))
        store.add(
            [stored(f"voice number {seed}", seed, 1000 + seed, dim=dim) for seed in range(60)],
            MODEL,
        )
        middle = centroid([sample(7, dim=dim), sample(1007, dim=dim)]).vector
        traces = [b"voice number 7", b"/1007.wav", middle.astype(np.float16).tobytes()]
        traces += [each.tobytes()[:512] for each in (middle, unit(7, dim=dim), unit(1007, dim=dim))]
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute("ANALYZE")  # as the server does by itself now and then
        before = _bytes_of_server(server)
        assert all(trace in before for trace in traces)
        store.remove("voice number 7")
        after = _bytes_of_server(server)
        assert not [trace for trace in traces if trace in after]
        assert b"voice number 8" in after
        assert store.nearest(unit(8, dim=dim), 1, MODEL).neighbours[0].name == "voice number 8"

    @pytest.mark.slow
    def test_what_another_transaction_still_sees_is_waited_for_and_told_of(
        self, server, monkeypatch
    ) -> None:
        import psycopg

        monkeypatch.setattr("hive_mtl.use.stores.postgresql._ERASING_S", 1)
        store = open_store(emptied(server))
        store.add([stored(f"voice number {seed}", seed) for seed in range(9)], MODEL)
        with psycopg.connect(server) as other:
            other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            other.execute("SELECT 1")  # of anything: it sees the database at this moment
            with pytest.raises(
                StoreError, match=r"earlier.*end it; .*files until.*again"
            ) as caught:
                store.remove("voice number 7")
            assert "\n" not in str(caught.value)
            assert not store.has("voice number 7")
            assert b"voice number 7" in _bytes_of_server(server)
            written: list[int] = []
            rewrite = store._rewrite
            monkeypatch.setattr(store, "_rewrite", lambda: written.append(1) or rewrite())
            ends = Timer(0.7, other.rollback)
            ends.start()
            with pytest.raises(VoiceError, match="there is none"):
                store.remove("voice number 7")
            ends.join()
            assert len(written) == 2  # before and after, not all the time
        assert b"voice number 7" not in _bytes_of_server(server)

    @pytest.mark.slow
    def test_a_mistyped_name_writes_no_tables_anew(self, server) -> None:
        import psycopg

        store = open_store(emptied(server))
        store.add([stored("ann", 1), stored("bob", 2)], MODEL)
        files = []
        with psycopg.connect(server, autocommit=True) as connection:
            for name in ("an", "ann", "an"):
                with contextlib.suppress(VoiceError):
                    store.remove(name)
                found = connection.execute("SELECT pg_relation_filenode('hive_mtl.voice')")
                files.append(found.fetchone())
        assert files[0] != files[1] == files[2]

    @pytest.mark.slow
    def test_who_does_not_own_the_tables_is_told_that_nothing_is_erased(self, server) -> None:
        import psycopg

        open_store(emptied(server)).add([stored("ann", 1), stored("bob", 2)], MODEL)
        with psycopg.connect(server, autocommit=True) as owner:
            owner.execute("CREATE ROLE guest LOGIN")
            owner.execute("GRANT USAGE ON SCHEMA hive_mtl TO guest")
            owner.execute("GRANT SELECT, UPDATE, DELETE ON ALL TABLES IN SCHEMA hive_mtl TO guest")
            store = open_store(server.replace("//postgres:", "//guest:"))
            with pytest.raises(StoreError, match=r"permission.*owner.*; .*files until.*again"):
                store.remove("ann")
            store.close()
            owner.execute("DROP OWNED BY guest")
            owner.execute("DROP ROLE guest")

    @pytest.mark.slow
    def test_an_erasure_that_waits_too_long_is_told_of_and_comes_with_the_next_try(
        self, server, monkeypatch
    ) -> None:
        import psycopg

        monkeypatch.setattr("hive_mtl.use.stores.postgresql._ERASING_S", 0.1)
        store = open_store(emptied(server))
        store.add([stored("ann", 1), stored("bob", 2)], MODEL)
        with psycopg.connect(server) as connection:
            connection.execute("LOCK TABLE hive_mtl.voice IN SHARE UPDATE EXCLUSIVE MODE")
            with pytest.raises(StoreError, match=r"lock timeout.*files until.*again") as caught:
                store.remove("ann")
            assert "\n" not in str(caught.value)
            assert names(store) == ["bob"]
            connection.rollback()
        assert unit(1).tobytes() in _bytes_of_server(server)
        with pytest.raises(VoiceError, match="there is none"):
            store.remove("ann")
        assert unit(1).tobytes() not in _bytes_of_server(server)

    @pytest.mark.slow
    def test_the_index_serves_the_search_and_finds_the_nearest(self, server) -> None:
        import psycopg

        store = open_store(emptied(server))
        store.add((stored(f"v{seed}", seed) for seed in range(500)), MODEL)
        store._connected().execute("SET enable_seqscan = off")  # few voices are compared all
        cosines = np.array([unit(seed) @ unit(9999) for seed in range(500)])
        best = [f"v{seed}" for seed in np.argsort(-cosines)[:10]]
        assert len(set(nearest(store, 9999, count=10)) & set(best)) >= 9
        with psycopg.connect(server) as connection:
            connection.execute("SET enable_seqscan = off")
            plan = connection.execute(
                "EXPLAIN SELECT id FROM hive_mtl.voice ORDER BY centroid::halfvec(16) <=> "
                f"'{unit(1).tolist()}'::halfvec(16) LIMIT 10"
            ).fetchall()
        assert "voice_nearest" in str(plan)


def _bytes_of_server(url: str) -> bytes:
    """Of all its files but the write-ahead log."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        ((folder,),) = connection.execute("SHOW data_directory").fetchall()
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return b"".join(path.read_bytes() for path in files if "pg_wal" not in path.parts)


_ENROLS = """
import sys
sys.path.insert(0, sys.argv[1])
from enrolled import MODEL, stored
from hive_mtl.use.stores import open_store

store = open_store(sys.argv[2])
for number in range(int(sys.argv[3]), int(sys.argv[4])):
    store.add([stored(f"v{number}", number, 100_000 + number, 200_000 + number)], MODEL)
    print(f"v{number}", flush=True)
"""
_READS = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from enrolled import MODEL, stored
from hive_mtl.use.stores import centroid, open_store

store = open_store(sys.argv[2])
sought = centroid(stored("v1", 1, 100_001, 200_001).samples).vector
seen = searches = 0
while not Path(sys.argv[3]).exists():
    found = store.nearest(sought, 5, MODEL)
    assert found.enrolled >= seen
    seen, searches = found.enrolled, searches + 1
    if found.enrolled > 1:
        assert found.neighbours[0].name == "v1", found.neighbours[0].name
        assert len(store.get("v1").samples) == 3
print(searches)
"""


_FORKS_WHILE_A_CALL_STARTS_THREADS = """
import sys
sys.path.insert(0, sys.argv[1])
import hive_mtl.use.stores.postgresql  # before anything has imported pools of threads
import os, time
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread
from enrolled import MODEL, stored
from hive_mtl.use.stores import open_store

store, begun = open_store(sys.argv[2]), Event()

def slowly():
    begun.set()
    time.sleep(0.3)  # the fork is made meanwhile
    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(stored, ["ann", "bob"], [1, 2])

Thread(target=lambda: store.add(slowly(), MODEL)).start()
begun.wait()
child = os.fork()
if child == 0:
    os._exit(store.count())
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def _started(script: str, *arguments: object) -> "subprocess.Popen[str]":
    tests = str(Path(__file__).parent)
    words = [sys.executable, "-c", script, tests, *map(str, arguments)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


_FORKS_WHILE_A_CALL_USES_ANOTHER_STORE = """
import sys
sys.path.insert(0, sys.argv[1])
import os, time
from threading import Event, Thread
from enrolled import MODEL, stored
from hive_mtl.use.stores import open_store

one, other, begun = open_store(sys.argv[2]), open_store(sys.argv[3]), Event()
other.add([stored("ann", 1)], MODEL)

def lazily():
    begun.set()
    time.sleep(0.3)  # the fork is made meanwhile
    yield other.get("ann")
    yield from open_store(sys.argv[3]).snapshot().voices[1:]

Thread(target=lambda: one.add(lazily(), MODEL)).start()
begun.wait()
child = os.fork()
if child == 0:
    os._exit(one.count() + other.count())
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
_CTRL_C_WHILE_A_FORK_WAITS = """
import sys
sys.path.insert(0, sys.argv[1])
import os, signal, time
from threading import Event, Thread, Timer
from enrolled import MODEL, stored
from hive_mtl.errors import StoreError
from hive_mtl.use.stores import open_store

signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs the tests may ignore it
one, other, begun, ends = open_store(sys.argv[2]), open_store(sys.argv[3]), Event(), Event()
other.add([stored("ann", 1)], MODEL)

def slowly():
    begun.set()
    ends.wait()
    yield stored("bob", 2)

thread = Thread(target=lambda: one.add(slowly(), MODEL))
thread.start()
begun.wait()
Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
child = os.fork()
if child == 0:
    try:
        one.count()
    except StoreError as error:
        print(str(error).split(": ")[1], other.count(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
ends.set()
thread.join()
child = os.fork()
if child == 0:
    os._exit(one.count() + open_store(sys.argv[3]).count())
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("script", "says"),
    [
        (_FORKS_WHILE_A_CALL_STARTS_THREADS, "2\n"),
        (_FORKS_WHILE_A_CALL_USES_ANOTHER_STORE, "2\n"),
        (
            _CTRL_C_WHILE_A_FORK_WAITS,
            "this process was forked while a call was under way 1\n2\n",
        ),
    ],
    ids=["threads", "stores", "ctrl-c"],
)
def test_a_fork_waits_for_a_call_that_waits_until_ctrl_c(tmp_path: Path, script, says) -> None:
    child = _started(script, tmp_path / "voices.db", tmp_path / "other.db")
    try:
        assert child.communicate(timeout=20)[0] == says
    finally:
        child.kill()


@pytest.mark.slow
def test_what_was_acknowledged_survives_a_kill(place: str) -> None:
    generator = np.random.default_rng(0)
    acknowledged: list[str] = []
    for run in range(50):
        start = run * 10_000
        child = _started(_ENROLS, place, start, start + 10_000)
        assert child.stdout is not None
        for line in child.stdout:  # until some have been enrolled
            acknowledged.append(line.strip())
            if len(acknowledged) % 5 == 0:
                break
        time.sleep(generator.uniform(0, 0.05))
        child.kill()
        acknowledged += child.stdout.read().split()
        assert child.communicate()[1] == ""
    store = open_store(place)
    kept = {voice.name: voice for voice in store.snapshot().voices}
    assert set(acknowledged) <= set(kept)
    assert len(kept) <= len(acknowledged) + 50  # one may be kept and not yet said to be
    for name, voice in kept.items():
        number = int(name.removeprefix("v"))
        expected = [unit(number), unit(100_000 + number), unit(200_000 + number)]
        np.testing.assert_array_equal([each.vector for each in voice.samples], expected)
    store.close()
    if "://" not in place:
        with sqlite3.connect(place) as file:
            assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert file.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.mark.slow
def test_four_processes_read_while_one_writes_ten_thousand_voices(
    place: str, tmp_path: Path
) -> None:
    done = tmp_path / "done"
    readers = [_started(_READS, place, done) for _ in range(4)]
    writer = _started(_ENROLS, place, 0, 10_000)
    try:
        written, complaints = writer.communicate(timeout=900)
    finally:
        done.touch()
    assert (writer.returncode, complaints) == (0, "")
    assert len(written.split()) == 10_000
    for reader in readers:
        said, complaints = reader.communicate(timeout=120)
        assert (reader.returncode, complaints) == (0, "")
        assert int(said) > 10
    assert open_store(place).count() == 10_000


@pytest.mark.slow
def test_processes_that_make_one_store_together_all_enrol(place: str) -> None:
    writers = [_started(_ENROLS, place, 100 * run, 100 * run + 20) for run in range(4)]
    for writer in writers:
        assert writer.communicate(timeout=120)[1] == ""
        assert writer.returncode == 0
    assert open_store(place).count() == 80


def test_a_name_is_text_and_nothing_else(place: str) -> None:
    store = open_store(place)
    store.add([stored("'; DROP TABLE voice; --", 1), stored("100%s ?", 2)], MODEL)
    assert store.has("100%s ?")
    store.rename("100%s ?", "%%")
    assert names(store) == ["%%", "'; DROP TABLE voice; --"]
    store.close()
