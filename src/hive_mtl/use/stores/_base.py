"""What every store of voices promises, and what crosses its border."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hive_mtl.audio import Segment, describe_source
from hive_mtl.errors import VoiceError
from hive_mtl.use.scoring import Voice, mean_vector

HALF_WEIGHT_S = 3.0  # of speech: from here on, more of it adds less than half of what it could

Place = tuple[str, float, float | None]
"""Of a recording that is a file: its absolute path, where it starts, how long it is."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What is kept of one enrolled recording.

    Attributes:
        vector: ``(dim,)`` float32, unit norm.
        speech_seconds: of speech in it.
        snr_db: its signal-to-noise ratio.
        clipped: fraction of its samples at full scale.
        source: the absolute path of its file, or in words what else it was.
        start_s: where in the file it begins.
        duration_s: how long it is; None is to the end of the file.
    """

    vector: npt.NDArray[np.float32] = field(repr=False)
    speech_seconds: float
    snr_db: float
    clipped: float
    source: str
    start_s: float = 0.0
    duration_s: float | None = None

    @property
    def place(self) -> Place | None:
        """Where the recording is; None if it was no file."""
        if Path(self.source).is_absolute():
            return self.source, self.start_s, self.duration_s
        return None


@dataclass(frozen=True, slots=True, eq=False)
class StoredVoice:
    """One enrolled voice.

    Attributes:
        name: unique in its store.
        samples: one or more, in the order of their enrolment.
        created: when it was enrolled, ISO 8601, UTC.
        note: of the user, such as what was consented to.
        labels: of the user, by their names.
    """

    name: str
    samples: tuple[Sample, ...]
    created: str
    note: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VoiceEntry:
    """One enrolled voice in a list: without its vectors.

    Attributes:
        name: unique in its store.
        samples: how many recordings it has.
        speech_seconds: of speech in all of them.
        created: when it was enrolled, ISO 8601, UTC.
        note: of the user.
        labels: of the user, by their names.
    """

    name: str
    samples: int
    speech_seconds: float
    created: str
    note: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Neighbour:
    """An enrolled voice that is near; ``voice`` is its :func:`centroid`."""

    name: str
    voice: Voice


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """The voices nearest to a vector, the nearest first, of ``enrolled`` in all."""

    enrolled: int
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """All that a store holds at one moment.

    Attributes:
        model_id: the model that made the vectors; "" while there have been none.
        generation: how often the store had been changed by then.
        voices: with their samples, in the order of their enrolment.
    """

    model_id: str
    generation: int
    voices: tuple[StoredVoice, ...]


def centroid(samples: Sequence[Sample]) -> Voice:
    """One voice of one or more samples: their mean by quality, at unit norm.

    A sample weighs ``s / (s + HALF_WEIGHT_S)`` for its ``s`` seconds of speech, times the share of
    its power that is the voice's (``r / (r + 1)``, where ``r`` is the signal-to-noise ratio as a
    ratio of powers), times the share of its samples that are not clipped.
    """
    speech = np.array([each.speech_seconds for each in samples])
    snr_db = np.array([each.snr_db for each in samples])
    clipped = np.array([each.clipped for each in samples])
    weight = speech / (speech + HALF_WEIGHT_S) / (1 + 10 ** (-snr_db / 10)) * (1 - clipped)
    if not weight.any():
        weight = np.ones(len(samples))
    return Voice(
        vector=mean_vector(np.stack([each.vector for each in samples]), weight.astype(np.float32)),
        speech_seconds=float(speech.sum()),
        snr_db=float(np.average(snr_db, weights=speech if speech.any() else None)),
    )


def check_new(name: str, enrolled: Iterable[Sample], new: Iterable[Place | None]) -> None:
    """Lets pass what is not among the recordings of a voice; what is no file always is new.

    Raises:
        VoiceError: a recording is already there.
    """
    places = {each.place for each in enrolled}
    for place in new:
        if place is not None and place in places:
            file, start_s, duration_s = place
            shown = describe_source(Segment(Path(file), start_s, duration_s))
            raise VoiceError(f"{shown}: is already among the recordings of {name!r}: leave it out")


class Store(ABC):
    """Enrolled voices, kept for good. Threads may share one, and so may forks.

    A fork waits for the calls that other threads have under way, as long as these wait for anything
    themselves. It is not to be made inside one.

    A change is there whole or not at all, and stays once the call has returned. A store belongs to
    the model that made its vectors, from the first voice on. Besides what the methods name, each
    may raise a :class:`StoreError`: the store cannot be read or written.
    """

    place: str  # in messages; never with a password

    def taken(self, name: str) -> VoiceError:
        """The error about a name that another voice has."""
        return VoiceError(
            f"voice {name!r}: is already in {self.place}: choose another name, or add recordings "
            "to it with --add"
        )

    def owns(self, file: Path) -> bool:
        """Whether a file is the store, or a part of it."""
        return False

    @property
    @abstractmethod
    def model_id(self) -> str:
        """The model that made its vectors; "" while there are none."""

    @abstractmethod
    def check_model(self, model_id: str) -> None:
        """Lets pass the model that the store belongs to, and any while it has no voices.

        Raises:
            ModelError: the store belongs to another model.
        """

    @abstractmethod
    def count(self) -> int:
        """How many voices there are."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether there is a voice of that name."""

    @abstractmethod
    def entries(self) -> tuple[VoiceEntry, ...]:
        """All voices by name, without their vectors."""

    @abstractmethod
    def get(self, name: str) -> StoredVoice:
        """One voice.

        Raises:
            VoiceError: there is none of that name.
        """

    @abstractmethod
    def snapshot(self) -> Snapshot:
        """All voices with their samples, and what is to be known with them, of one moment."""

    @abstractmethod
    def add(self, voices: Iterable[StoredVoice], model_id: str) -> int:
        """Adds new voices, all or none; says how many.

        Raises:
            ModelError: the store belongs to another model.
            VoiceError: a name is taken.
        """

    @abstractmethod
    def extend(self, name: str, samples: Sequence[Sample], model_id: str) -> None:
        """Adds samples to a voice.

        Raises:
            ModelError: the store belongs to another model.
            VoiceError: there is no such voice, or a recording is already among its own.
        """

    @abstractmethod
    def rename(self, name: str, new: str) -> None:
        """Gives a voice another name; its own changes nothing.

        Raises:
            VoiceError: there is no such voice, or the new name is taken.
        """

    @abstractmethod
    def merge(self, name: str, other: str) -> None:
        """Makes one voice of two: the samples of ``other`` go to ``name``, each recording once.

        Raises:
            VoiceError: there is no such voice, or both are the same.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Removes a voice for good: its name and vectors are no longer in the store's files.

        Raises:
            StoreError: also where the voice is gone, but not from the files: remove it again.
            VoiceError: there is none of that name; what an earlier removal left in the files is
                gone.
        """

    @abstractmethod
    def replace(self, voices: Iterable[StoredVoice], model_id: str, generation: int) -> None:
        """Puts ``voices`` in the place of all of a snapshot; all or none.

        Args:
            voices: the new ones.
            model_id: the model that made their vectors.
            generation: of the snapshot.

        Raises:
            StoreError: the store has been changed since: who was enrolled would be lost, and who
                was removed would be back.
        """

    @abstractmethod
    def nearest(self, vector: npt.NDArray[np.float32], count: int, model_id: str) -> Nearest:
        """The voices whose centroids have the highest cosine with a unit vector ``(dim,)``.

        Raises:
            ModelError: the store belongs to another model.
        """

    @abstractmethod
    def close(self) -> None:
        """Lets go of the file or the connection."""
