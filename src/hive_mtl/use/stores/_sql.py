"""What SQLite and PostgreSQL do alike: the statements, over connections of their own.

Three tables. ``store`` has one row: the model, how often anything was changed (``generation``) and
how often voices went (``removals``). ``voice`` has a row a voice, with its centroid and the
generation that changed it last; ``sample`` a row a recording.
"""

import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt

from hive_mtl.errors import ModelError, StoreError, VoiceError
from hive_mtl.use.scoring import Voice
from hive_mtl.use.stores._base import (
    Nearest,
    Neighbour,
    Sample,
    Snapshot,
    StoredVoice,
    VoiceEntry,
    centroid,
    check_new,
)
from hive_mtl.use.stores._connected import ConnectedStore

SCHEMA_VERSION = 2
Run = Callable[..., list[tuple[Any, ...]]]
"""Runs a statement with ``?`` for its parameters; gives the rows."""

UNERASED = "; what is gone from the lists stays in the files until this is run again"
_BESIDE_VECTOR = ("speech_seconds", "snr_db", "clipped", "source", "start_s", "duration_s")
_SAMPLE_COLUMNS = f"vector, {', '.join(_BESIDE_VECTOR)}"


class _UnknownError(VoiceError):
    """A name that no voice has, and nothing else: there is more to say when the locks are gone."""


class SqlStore(ConnectedStore):
    """A store in a database; its kinds say how to connect, to search and to erase."""

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Run]:
        """A transaction that sees the store at one moment."""

    @abstractmethod
    def _writing(self, *, making: bool = False) -> AbstractContextManager[Run]:
        """A transaction that no other writes beside; kept if nothing is raised, else undone.

        Where ``making``, voices come: the store is made if it is not there yet.
        """

    @abstractmethod
    def _pack(self, vector: npt.NDArray[np.float32]) -> object:
        """A vector ``(dim,)`` as the database takes it."""

    @abstractmethod
    def _unpack(self, value: Any) -> npt.NDArray[np.float32]:
        """The inverse of :meth:`_pack`."""

    @abstractmethod
    def _nearest_ids(self, run: Run, vector: npt.NDArray[np.float32], count: int) -> list[int]:
        """The voices with the highest cosines, in any order; a few more do no harm."""

    def _bound(self, run: Run, dim: int) -> None:
        """Called in the transaction that gives the store a model whose vectors are ``(dim,)``."""

    def _erase(self) -> None:
        """Called after voices have gone: takes out of the files what is no longer in the tables.

        Where it fails, the error ends in :data:`UNERASED`.
        """

    def _erase_rest(self) -> None:
        """Called for a name that is not there: an earlier erasure may have failed."""
        self._erase()

    @property
    def model_id(self) -> str:
        with self._reading() as run:
            return _model_id(run)

    def check_model(self, model_id: str) -> None:
        with self._reading() as run:
            if run("SELECT 1 FROM voice LIMIT 1"):
                self._check_model(run, model_id)

    def count(self) -> int:
        with self._reading() as run:
            return int(run("SELECT count(*) FROM voice")[0][0])

    def has(self, name: str) -> bool:
        with self._reading() as run:
            return bool(run("SELECT 1 FROM voice WHERE name = ?", name))

    def entries(self) -> tuple[VoiceEntry, ...]:
        with self._reading() as run:
            rows = run(
                "SELECT name, (SELECT count(*) FROM sample WHERE voice = voice.id), "
                "speech_seconds, created, note, labels FROM voice ORDER BY name"
            )
        return tuple(
            VoiceEntry(name, samples, speech_s, created, note, json.loads(labels))
            for name, samples, speech_s, created, note, labels in rows
        )

    def get(self, name: str) -> StoredVoice:
        with self._named(), self._reading() as run:
            return self._voice(run, self._id(run, name))

    def snapshot(self) -> Snapshot:
        with self._reading() as run:
            ((model_id, generation),) = run("SELECT model_id, generation FROM store")
            ids = run("SELECT id FROM voice ORDER BY id")
            return Snapshot(model_id, generation, tuple(self._voice(run, each) for (each,) in ids))

    def add(self, voices: Iterable[StoredVoice], model_id: str) -> int:
        added = 0
        with self._writing(making=True) as run:
            for added, voice in enumerate(voices, 1):
                if added == 1:
                    self._bind(run, model_id, len(voice.samples[0].vector))
                self._insert(run, voice)
        return added

    def extend(self, name: str, samples: Sequence[Sample], model_id: str) -> None:
        with self._named(), self._writing() as run:
            number = self._id(run, name)
            self._bind(run, model_id, len(samples[0].vector))
            check_new(name, self._samples(run, number), (each.place for each in samples))
            self._insert_samples(run, number, samples)
            self._centre(run, number)

    def rename(self, name: str, new: str) -> None:
        with self._named(), self._writing() as run:
            number = self._id(run, name)
            if new != name:
                self._check_free(run, new)
            run("UPDATE voice SET name = ? WHERE id = ?", new, number)

    def merge(self, name: str, other: str) -> None:
        if name == other:
            raise VoiceError(f"voice {name!r}: cannot be merged with itself: name two voices")
        with self._named(), self._writing() as run:
            kept, gone = self._id(run, name), self._id(run, other)
            places = {each.place for each in self._samples(run, kept)} - {None}
            ids = run("SELECT id FROM sample WHERE voice = ? ORDER BY id", gone)
            for (number,), sample in zip(ids, self._samples(run, gone), strict=True):
                if sample.place in places:
                    run("DELETE FROM sample WHERE id = ?", number)
            run("UPDATE sample SET voice = ? WHERE voice = ?", kept, gone)
            _delete(run, gone)
            self._centre(run, kept)

    def remove(self, name: str) -> None:
        try:
            with self._named(), self._writing() as run:
                _delete(run, self._id(run, name))
        except VoiceError as unknown:  # perhaps run again: its voice has gone, but not its bytes
            try:
                self._erase_rest()
            except StoreError as error:
                raise StoreError(f"{unknown}; what was removed may remain: {error}") from error
            raise
        self._erase()

    def replace(self, voices: Iterable[StoredVoice], model_id: str, generation: int) -> None:
        with self._writing() as run:
            if run("SELECT generation FROM store") != [(generation + 1,)]:  # the one is this change
                raise StoreError(
                    f"{self.place}: has changed while its voices were made anew: run it again"
                )
            run("DELETE FROM sample")
            run("DELETE FROM voice")
            run("UPDATE store SET removals = removals + 1")
            for place, voice in enumerate(voices):
                if place == 0:
                    self._bind(run, model_id, len(voice.samples[0].vector))
                self._insert(run, voice)
        self._erase()

    def nearest(self, vector: npt.NDArray[np.float32], count: int, model_id: str) -> Nearest:
        with self._reading() as run:
            ((enrolled,),) = run("SELECT count(*) FROM voice")
            if not enrolled:
                return Nearest(0, ())
            self._check_model(run, model_id)
            found = [self._neighbour(run, each) for each in self._nearest_ids(run, vector, count)]
        found.sort(key=lambda each: -float(each.voice.vector @ vector))
        return Nearest(enrolled, tuple(found[:count]))

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Around a transaction: who is not there is compared with all names after it."""
        try:
            yield
        except _UnknownError as unknown:
            name = str(unknown)
            with self._reading() as run:
                names = [each for (each,) in run("SELECT name FROM voice ORDER BY name")]
            near = get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "hive-mtl voices list names them all"
            raise VoiceError(f"voice {name!r}: there is none in {self.place}: {hint}") from None

    def _bind(self, run: Run, model_id: str, dim: int) -> None:
        """The store belongs to a model from its first voice on, and to none without a voice."""
        if run("SELECT 1 FROM voice LIMIT 1"):
            self._check_model(run, model_id)
        elif model_id != _model_id(run):
            run("UPDATE store SET model_id = ?", model_id)
            self._bound(run, dim)

    def _check_model(self, run: Run, model_id: str) -> None:
        if (bound := _model_id(run)) != model_id:
            raise ModelError(
                f"{self.place}: its voices were made by model {bound}, and vectors of {model_id} "
                "cannot be compared with them: give that model, or make them anew with hive-mtl "
                "voices re-embed"
            )

    def _id(self, run: Run, name: str) -> int:
        if rows := run("SELECT id FROM voice WHERE name = ?", name):
            return int(rows[0][0])
        raise _UnknownError(name)

    def _check_free(self, run: Run, name: str) -> None:
        if run("SELECT 1 FROM voice WHERE name = ?", name):
            raise self.taken(name)

    def _insert(self, run: Run, voice: StoredVoice) -> None:
        self._check_free(run, voice.name)
        middle = centroid(voice.samples)
        run(
            "INSERT INTO voice (name, note, labels, created, centroid, speech_seconds, snr_db, "
            "changed) SELECT ?, ?, ?, ?, ?, ?, ?, generation FROM store",
            voice.name,
            voice.note,
            json.dumps(dict(voice.labels), ensure_ascii=False),
            voice.created,
            self._pack(middle.vector),
            middle.speech_seconds,
            middle.snr_db,
        )
        self._insert_samples(run, self._id(run, voice.name), voice.samples)

    def _insert_samples(self, run: Run, number: int, samples: Sequence[Sample]) -> None:
        for each in samples:
            run(
                f"INSERT INTO sample (voice, {_SAMPLE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                number,
                self._pack(each.vector),
                *(getattr(each, column) for column in _BESIDE_VECTOR),
            )

    def _centre(self, run: Run, number: int) -> None:
        """Works out anew what is kept of a voice whose samples have changed."""
        middle = centroid(self._samples(run, number))
        run(
            "UPDATE voice SET centroid = ?, speech_seconds = ?, snr_db = ?, "
            "changed = (SELECT generation FROM store) WHERE id = ?",
            self._pack(middle.vector),
            middle.speech_seconds,
            middle.snr_db,
            number,
        )

    def _voice(self, run: Run, number: int) -> StoredVoice:
        ((name, created, note, labels),) = run(
            "SELECT name, created, note, labels FROM voice WHERE id = ?", number
        )
        samples = self._samples(run, number)
        if not samples:
            raise StoreError(f"{self.place}: voice {name!r} has lost its samples: remove it")
        return StoredVoice(name, samples, created, note, json.loads(labels))

    def _samples(self, run: Run, number: int) -> tuple[Sample, ...]:
        rows = run(f"SELECT {_SAMPLE_COLUMNS} FROM sample WHERE voice = ? ORDER BY id", number)
        return tuple(Sample(self._unpack(vector), *rest) for vector, *rest in rows)

    def _neighbour(self, run: Run, number: int) -> Neighbour:
        ((name, vector, speech_seconds, snr_db),) = run(
            "SELECT name, centroid, speech_seconds, snr_db FROM voice WHERE id = ?", number
        )
        return Neighbour(name, Voice(self._unpack(vector), speech_seconds, snr_db))


def _model_id(run: Run) -> str:
    return str(run("SELECT model_id FROM store")[0][0])


def _delete(run: Run, number: int) -> None:
    run("DELETE FROM sample WHERE voice = ?", number)
    run("DELETE FROM voice WHERE id = ?", number)
    run("UPDATE store SET removals = removals + 1")
