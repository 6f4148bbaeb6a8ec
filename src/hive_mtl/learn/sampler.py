"""Which utterances a batch is made of: balanced over corpora, voices, tasks and classes.

The identity part draws a corpus, then a voice, then a recording of it; it teaches the speaker task.
The attribute part draws a task, then a class, then an utterance of that class; it sees that rare
labels are met.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from hive_mtl.errors import ConfigError, DataError
from hive_mtl.learn.losses._base import ABSENT
from hive_mtl.learn.settings import Rising
from hive_mtl.learn.tasks import Task

Integers = npt.NDArray[np.int64]
Floats64 = npt.NDArray[np.float64]


class BatchConfig(BaseModel):
    """Size and balance of a batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(default=64, ge=2)
    # crops of each voice to learn from and to monitor, drawn once; None: drawn as they are needed
    counts_per_speaker: tuple[PositiveInt, NonNegativeInt] | None = None
    # shortest and longest; one length a batch, of a few between them
    crop_s: Annotated[tuple[Annotated[float, Field(ge=0.1)], float], Rising] = (2.0, 2.0)
    identity_share: float = Field(default=0.75, ge=0.0, le=1.0)
    crops_per_voice: int = Field(default=1, ge=1)
    corpus_exponent: float = Field(
        default=0.5, ge=0.0, le=1.0
    )  # 1: by voices, 0: all corpora alike
    voice_exponent: float = Field(
        default=0.0, ge=0.0, le=1.0
    )  # in a corpus, 1: by recordings, 0: all voices alike
    class_exponent: float = Field(
        default=0.5, ge=0.0, le=1.0
    )  # 1: by examples, 0: all classes alike


class BatchSampler:
    """Draws the rows of a batch.

    Args:
        groups: by task, ``(utterances,)`` the class each utterance counts for, -1 where absent.
        corpora: ``(utterances,)`` the corpus of each utterance, as a number.
        config: size and balance.

    Raises:
        DataError: no utterance carries a label of any task.
        ConfigError: a batch has no attribute part, and a task is labelled nowhere else.
    """

    def __init__(
        self, groups: Mapping[str, Integers], corpora: Integers, config: BatchConfig
    ) -> None:
        labelled = {
            name: group
            for name, group in groups.items()
            if name != "speaker" and (group != ABSENT).any()
        }
        self._attributes = [_Groups(group, config.class_exponent) for group in labelled.values()]
        voices = groups.get("speaker", np.full(len(corpora), ABSENT))
        self._has_voices = bool((voices != ABSENT).any())
        if self._has_voices:
            self._voices = _Groups(voices, 1.0)
            self._corpora = _Groups(
                corpora[self._voices.first_row],
                config.corpus_exponent,
                self._voices.sizes.astype(np.float64) ** config.voice_exponent,
            )
        elif not self._attributes:
            raise DataError("no utterance carries a label of any task: check the label columns")
        share = config.identity_share if self._attributes else 1.0
        self._identities = round(config.size * share) if self._has_voices else 0
        self._size, self._crops_per_voice = config.size, config.crops_per_voice
        if self._identities == self._size:
            _check_met(labelled, voices != ABSENT)

    @classmethod
    def of(cls, table: pa.Table, tasks: Sequence[Task], config: BatchConfig) -> Self:
        """Draws from the utterances of a table what these tasks learn by."""
        groups = {task.name: task.groups(task.labels_of(table)) for task in tasks}
        corpora = table["corpus"].combine_chunks().dictionary_encode().indices
        return cls(groups, corpora.to_numpy().astype(np.int64), config)

    def draw(self, rng: np.random.Generator) -> Integers:
        """``(batch,)`` rows."""
        rows: list[int] = []
        while len(rows) < self._identities:
            voice = self._corpora.row(self._corpora.group(rng), rng)
            rows += [self._voices.row(voice, rng) for _ in range(self._crops_per_voice)]
        del rows[self._identities :]
        while len(rows) < self._size:
            task = self._attributes[int(rng.integers(len(self._attributes)))]
            rows.append(task.row(task.group(rng), rng))
        return np.array(rows, dtype=np.int64)


def _check_met(labelled: Mapping[str, Integers], rows: npt.NDArray[np.bool_]) -> None:
    """Every task that has labels should have some where batches are drawn."""
    for name, group in labelled.items():
        if (group[rows] == ABSENT).all():
            raise ConfigError(
                f"batches.identity_share: all rows of a batch teach the speaker task, and no voice "
                f"of it has a label for {name}, which would never be met: lower it or enlarge "
                "batches.size"
            )


class _Groups:
    """Rows by group, and how likely each group is drawn: by the power of its size.

    ``weight`` ``(rows,)`` says how likely each row of a group is; all alike without it.
    """

    def __init__(
        self, group_of_row: Integers, exponent: float, weight: Floats64 | None = None
    ) -> None:
        order = np.argsort(group_of_row, kind="stable")
        self._rows = order[np.searchsorted(group_of_row[order], 0) :]  # without the absent
        _, self._start, self.sizes = np.unique(
            group_of_row[self._rows], return_index=True, return_counts=True
        )
        chance = self.sizes.astype(np.float64) ** exponent
        self._up_to = np.cumsum(chance / chance.sum())
        weights = np.ones(len(self._rows)) if weight is None else weight[self._rows]
        self._weight_up_to = np.concatenate([[0.0], np.cumsum(weights)])

    @property
    def first_row(self) -> Integers:
        """``(groups,)`` a row of each group."""
        first: Integers = self._rows[self._start]
        return first

    def group(self, rng: np.random.Generator) -> int:
        """A group."""
        drawn = int(np.searchsorted(self._up_to, rng.random(), side="right"))
        return min(drawn, len(self._up_to) - 1)

    def row(self, group: int, rng: np.random.Generator) -> int:
        """A row of a group."""
        first, last = self._start[group], self._start[group] + self.sizes[group]
        low, high = self._weight_up_to[[first, last]]
        place = np.searchsorted(self._weight_up_to, rng.uniform(low, high), side="right") - 1
        return int(self._rows[min(max(place, first), last - 1)])
