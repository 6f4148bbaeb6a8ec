"""Who speaks: the task that shapes the embedding most."""

from collections import Counter
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from hive_mtl.description import HeadDescription
from hive_mtl.errors import DataError
from hive_mtl.learn.losses._base import ABSENT
from hive_mtl.learn.tasks._base import ClassTask, Label, TaskConfig
from hive_mtl.learn.utterances import recordings, voices


class SpeakerConfig(TaskConfig):
    """Which voices become classes, and at which speeds they are played.

    A voice with a single recording teaches the channel of that recording as much as the voice, so
    by default it is left to the other tasks; where the recordings of a corpus are long and alike,
    ``min_recordings_of = { corpus = 1 }`` may take its voices all the same. A recording played
    faster or slower sounds like another person and counts as one (Yamamoto et al., 2019).

    Corpora differ in channel, so telling a voice from those of another corpus teaches the channel.
    ``within_corpus`` has each voice told from the others of its own corpus only.
    """

    min_recordings: int = Field(default=2, ge=1)
    min_recordings_of: dict[str, PositiveInt] = Field(default_factory=dict)  # by corpus
    speeds: tuple[Annotated[float, Field(gt=0.0)], ...] = Field(default=(1.0,), min_length=1)
    within_corpus: bool = False

    def needed(self, voice: str) -> int:
        """How many recordings make ``corpus/speaker`` a class."""
        return self.min_recordings_of.get(voice.partition("/")[0], self.min_recordings)


class TASK(ClassTask):
    """One class a training voice and speed. The classifier stays in the learning wing."""

    Config = SpeakerConfig
    default_loss = "aam"

    def __init__(self) -> None:
        super().__init__("speaker")
        self.within_corpus = False

    def labels_of(self, table: pa.Table) -> list[Label | None]:
        """``corpus/speaker`` of each row: names of voices are unique only inside a corpus."""
        codes, names = voices(table)
        return [None if code < 0 else names[code] for code in codes]

    def examples(self, table: pa.Table) -> pa.Table:
        """One row of each recording of a voice: a recording that is cut up is still one."""
        of_voice, of_recording = voices(table)[0], recordings(table)
        pair = of_voice * (1 + of_recording.max(initial=0)) + of_recording
        _, first = np.unique(pair, return_index=True)
        return table.take(pa.array(np.sort(first)))

    def fit(
        self, labels: Sequence[Label | None], speakers: Sequence[str], config: TaskConfig
    ) -> None:
        """Every voice with enough recordings is a class.

        Raises:
            DataError: fewer than two such voices.
        """
        config = SpeakerConfig.model_validate(config.model_dump())
        counts = Counter(str(label) for label in labels if label is not None)
        self.classes = tuple(
            sorted(voice for voice in counts if counts[voice] >= config.needed(voice))
        )
        if len(self.classes) < 2:
            raise DataError(
                f"task 'speaker': {len(self.classes)} voice(s) with at least "
                f"{config.min_recordings} recordings in the training data: add recordings, lower "
                "min_recordings, or leave the task out"
            )
        self._counts = [counts[voice] for voice in self.classes]
        self.speeds, self.within_corpus = config.speeds, config.within_corpus

    def rivals(self, targets: Tensor) -> Tensor | None:
        """The voices of the same corpus, at every speed; None where all voices are told apart."""
        if not self.within_corpus:
            return None
        corpora = _corpora(self.classes, len(self.speeds)).to(targets.device)
        return corpora[targets].unsqueeze(1) == corpora.unsqueeze(0)

    def at_speeds(
        self, targets: npt.NDArray[Any], speeds: npt.NDArray[np.float64]
    ) -> npt.NDArray[Any]:
        """The same voice at another of the task's speeds is another class."""
        place = {speed: number for number, speed in enumerate(self.speeds)}
        number = np.array([place.get(speed, ABSENT) for speed in speeds.tolist()], dtype=np.int64)
        absent = (targets == ABSENT) | (number == ABSENT)
        return np.where(absent, ABSENT, targets + number * len(self.classes))

    @property
    def meanings(self) -> list[Hashable]:
        """Voice and speed, speed by speed."""
        return [(voice, speed) for speed in self.speeds for voice in self.classes]

    @property
    def counts(self) -> list[int]:
        """Training recordings of each voice, at each speed."""
        return self._counts * len(self.speeds)

    def describe(self) -> HeadDescription | None:
        """Not exported: the embedding itself tells voices apart, those of training or others."""
        return None

    def state(self) -> dict[str, Any]:
        """Voices, their counts, the speeds and who is told from whom."""
        return {
            **super().state(),
            "speeds": list(self.speeds),
            "within_corpus": self.within_corpus,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        super().restore(state)
        self.speeds = tuple(state["speeds"])
        self.within_corpus = state.get("within_corpus", False)  # a checkpoint may not know of it


@lru_cache(maxsize=4)  # asked in every step of a training
def _corpora(classes: tuple[str, ...], speeds: int) -> Tensor:
    """The corpus of each class at each speed, as a number: ``(outputs,)``."""
    names = [voice.partition("/")[0] for voice in classes]
    return torch.from_numpy(np.tile(np.unique(names, return_inverse=True)[1], speeds))
