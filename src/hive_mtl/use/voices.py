"""Enrolled voices: who is known, and whose voice a recording is."""

import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from hive_mtl.audio import Source
from hive_mtl.errors import StoreError, VoiceError
from hive_mtl.use.comparing import calibration_of
from hive_mtl.use.enrolling import (
    check_name,
    check_one_voice,
    check_text,
    samples_again,
    samples_of,
)
from hive_mtl.use.identify import CANDIDATES, Identity, Inquiry, identify
from hive_mtl.use.stores import Sample, StoredVoice, VoiceEntry, check_new, open_store
from hive_mtl.use.verify import FALSE_ALARM, PRIOR, Recordings, Side, place_of, recordings_of
from hive_mtl.use.voices_file import read_voices, write_voices

if TYPE_CHECKING:
    from hive_mtl.use.diarize import Diarization
    from hive_mtl.use.model import Model


def usual_place() -> Path:
    """Where voices are kept if nothing else is said: a file in the user's data folder."""
    return platformdirs.user_data_path("hive-mtl") / "voices.db"


class Voices:
    """Voices enrolled by name, kept in a store for good.

    May be used by several threads and processes at once, and as a context manager.

    Args:
        place: a SQLite file, made when the first voice is enrolled, or ``postgresql://...``; None
            is a file in the user's data folder.
        model: the model, or where :func:`hive_mtl.load` finds it; None is the one that ships. It
            is loaded when it is first needed.

    Raises:
        MissingExtraError: PostgreSQL needs psycopg and pgvector, which are not installed.
        StoreError: the store cannot be opened, or is something else or of a newer version. Every
            method may raise it, too.
    """

    def __init__(
        self,
        place: str | os.PathLike[str] | None = None,
        model: "Model | str | os.PathLike[str] | None" = None,
    ) -> None:
        self._store = open_store(place if isinstance(place, str) else Path(place or usual_place()))
        self._given = model

    def __enter__(self) -> "Voices":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file or the connection."""
        self._store.close()

    def __len__(self) -> int:
        return self._store.count()

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str) or not name.isprintable():  # as no voice is called
            return False
        return self._store.has(unicodedata.normalize("NFC", name))

    @property
    def place(self) -> str:
        """Where they are kept; without a password."""
        return self._store.place

    @cached_property
    def model(self) -> "Model":
        """The model that hears them."""
        from hive_mtl.use.model import load  # here: it is slow, and a list needs no model

        given = self._given
        return load(given) if given is None or isinstance(given, str | os.PathLike) else given

    def enroll(
        self,
        name: str,
        recordings: Recordings,
        *,
        note: str = "",
        labels: Mapping[str, str] | None = None,
        same_voice: bool = False,
    ) -> StoredVoice:
        """Enrols a new voice; when this returns, it is kept for good.

        Args:
            name: a new one.
            recordings: one or more, each with a second of speech or more; one that is given
                twice counts once.
            note: such as what was consented to.
            labels: of your own.
            same_voice: that the recordings are of one voice though they do not sound so.

        Raises:
            AudioError: a recording cannot be read, has too little speech, or noise swallows it.
            ModelError: the model is not calibrated, or the store belongs to another.
            VoiceError: the name is taken or not allowed, or the recordings sound like two people.
        """
        name = check_name(name, new=True)
        labels = {check_text("label", key): value for key, value in (labels or {}).items()}
        for text in (note, *labels.values()):
            check_text("note or label", text)
        if self._store.has(name):  # before any work
            raise self._store.taken(name)
        samples = self._heard(recordings, (), same_voice)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        voice = StoredVoice(name, samples, created, note, labels)
        self._store.add([voice], self._model_id)
        return voice

    def add(self, name: str, recordings: Recordings, *, same_voice: bool = False) -> StoredVoice:
        """Adds recordings to an enrolled voice; they are compared with what is there, too.

        Args:
            name: of the voice.
            recordings: one or more, each with a second of speech or more.
            same_voice: that they are of this voice though they do not sound so.

        Raises:
            AudioError: a recording cannot be read, has too little speech, or noise swallows it.
            ModelError: the model is not calibrated, or the store belongs to another.
            VoiceError: there is no such voice, or a recording is already there or sounds like
                another.
        """
        name = check_name(name)
        voice = self._store.get(name)
        check_new(name, voice.samples, map(place_of, recordings_of(recordings)))  # before any work
        samples = self._heard(recordings, voice.samples, same_voice)
        self._store.extend(name, samples, self._model_id)
        return self._store.get(name)

    def identify(
        self,
        recording: Side,
        *,
        k: int = CANDIDATES,
        false_alarm: float = FALSE_ALARM,
        prior: float = PRIOR,
    ) -> Identity:
        """Says whose voice it is, of those enrolled, if anybody's; no proof of identity.

        See :mod:`hive_mtl.use.identify` for how it is decided.

        Args:
            recording: one, or several of one voice.
            k: how many candidates are listed at most, up to 50.
            false_alarm: the share of recordings of others that is meant to be taken for any of the
                voices, however many are enrolled; above 0 and below 1. Of recordings unlike those
                of the calibration it may be many times as much.
            prior: probability that the voice is enrolled at all, before it is heard; moves the
                probabilities, not the decision.

        Raises:
            AudioError: a recording fails, or there is less than a second of speech, or noise
                swallows it.
            ConfigError: ``k``, ``false_alarm`` or ``prior`` is out of range.
            ModelError: the model is not calibrated, or the store belongs to another.
        """
        return identify(self.model, self._store, recording, Inquiry(k, false_alarm, prior))

    def diarize(self, recording: Source, *, voices: int | None = None) -> "Diarization":
        """Tells who speaks when, and calls those by name who are enrolled.

        See :meth:`hive_mtl.Model.diarize`. A voice that is heard gets a name as it would by
        :meth:`identify`, but each name goes to one voice at most; the others are 'unknown 1' and
        so on.

        Args:
            recording: of any length.
            voices: how many speak; None if that is not known, and up to ten are then told apart.

        Raises:
            AudioError: the recording cannot be read, or has less than a second of speech.
            ConfigError: ``voices`` is less than 1.
            MissingExtraError: SciPy is not installed.
            ModelError: the model is not calibrated, or the store belongs to another.
        """
        return self.model.diarize(recording, voices=voices, known=self._store)

    def get(self, name: str) -> StoredVoice:
        """One voice with its samples.

        Raises:
            VoiceError: there is none of that name; the nearest name is told.
        """
        return self._store.get(check_name(name))

    def rename(self, name: str, new: str) -> None:
        """Gives a voice another name; its own changes nothing.

        Raises:
            VoiceError: there is no such voice, or the new name is taken or not allowed.
        """
        self._store.rename(check_name(name), check_name(new, new=new != name))

    def merge(self, name: str, other: str) -> None:
        """Gives ``name`` the recordings of ``other``, each once; note and labels of ``other`` go.

        Raises:
            VoiceError: there is no such voice, or both are the same.
        """
        self._store.merge(check_name(name), check_name(other))

    def remove(self, name: str) -> None:
        """Removes a voice for good: neither its name nor its vectors stay in the store's files.

        A copy that an update of the store left beside it (``voices.db.schema-1``), exports and
        backups are the user's to delete. PostgreSQL's log holds it until that is recycled.

        Raises:
            StoreError: also where the voice is gone, but not from the files: remove it again.
            VoiceError: there is none of that name; an unfinished removal is finished all the same.
        """
        self._store.remove(check_name(name))

    def export(self, file: str | os.PathLike[str]) -> int:
        """Writes all voices to a file, see :mod:`hive_mtl.use.voices_file`; says how many.

        Raises:
            DataError: the file cannot be written.
            StoreError: it is the store itself.
            VoiceError: there are no voices.
        """
        if self._store.owns(Path(file)):
            raise StoreError(f"{file}: is the store itself: give another file")
        seen = self._store.snapshot()
        return write_voices(Path(file), seen.model_id, seen.voices)

    def import_(self, file: str | os.PathLike[str]) -> int:
        """Enrols all voices of an exported file, or none; says how many.

        Raises:
            DataError: the file is missing, damaged or something else.
            ModelError: they were made by another model than those of the store.
            VoiceError: a name is taken or not allowed.
        """
        model_id, voices = read_voices(Path(file))
        return self._store.add(voices, model_id)

    def re_embed(self) -> int:
        """Makes all vectors anew with this model, from the recordings; says how many voices.

        All stays as it was where anything is raised.

        Raises:
            StoreError: the store was changed meanwhile.
            VoiceError: there are no voices, or recordings are no longer where they were or tell
                nothing.
        """
        seen = self._store.snapshot()
        if not seen.voices:
            raise VoiceError(f"{self.place}: there are no voices to make anew: enroll some")
        samples = [each for voice in seen.voices for each in voice.samples]
        again = iter(samples_again(self.model, samples))
        renewed = [
            replace(voice, samples=tuple(islice(again, len(voice.samples))))
            for voice in seen.voices
        ]
        self._store.replace(renewed, self._model_id, seen.generation)
        return len(renewed)

    def list(self) -> tuple[VoiceEntry, ...]:
        """All voices by name, without their vectors."""
        return self._store.entries()

    @property
    def _model_id(self) -> str:
        return self.model.description.model_id

    def _heard(
        self, recordings: Recordings, enrolled: Sequence[Sample], same_voice: bool
    ) -> tuple[Sample, ...]:
        """The samples of recordings that may be enrolled together."""
        calibration_of(self.model)  # without it nobody is ever identified
        self._store.check_model(self._model_id)
        samples = samples_of(self.model, recordings)
        if not same_voice:
            check_one_voice(self.model, samples, enrolled)
        return tuple(samples)
