"""Utterances -> batches, balanced over corpora, voices, tasks and classes.

A batch has two parts. The identity part draws a corpus, then a voice, then a recording of it; it
teaches the speaker task. The attribute part draws a task, then a class, then an utterance of that
class; it sees that rare labels are met. Every row carries all the labels that its utterance has.

A batch is a pure function of the seed and its number. So any process can make any batch, batches
can be made ahead in other processes, and a resumed run goes on exactly where it stopped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import soxr
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.utils.data import Dataset

from hive_mtl.audio import SAMPLE_RATE, Wave
from hive_mtl.errors import DataError
from hive_mtl.learn.augment import AugmentConfig, WaveAugmenter, feature_mask
from hive_mtl.learn.features import FRAME_SAMPLES, HOP_SAMPLES
from hive_mtl.learn.losses._base import ABSENT
from hive_mtl.learn.prepare import Prepared, to_float
from hive_mtl.learn.settings import Rising
from hive_mtl.learn.tasks import Task

Integers = npt.NDArray[np.int64]
SHORTEST_CROP = SAMPLE_RATE // 10  # what the MP3 coder takes


class BatchConfig(BaseModel):
    """Size and balance of a batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(default=64, ge=2)
    # shortest and longest; one length a batch
    crop_s: Annotated[tuple[Annotated[float, Field(ge=0.1)], float], Rising] = (2.0, 2.0)
    identity_share: float = Field(default=0.75, ge=0.0, le=1.0)
    crops_per_voice: int = Field(default=1, ge=1)
    corpus_exponent: float = Field(
        default=0.5, ge=0.0, le=1.0
    )  # 1: by voices, 0: all corpora alike
    class_exponent: float = Field(
        default=0.5, ge=0.0, le=1.0
    )  # 1: by examples, 0: all classes alike


@dataclass(frozen=True)
class Batch:
    """What the trainer is given.

    Attributes:
        waves: ``(batch, samples)`` float32, zero beyond the end of a crop.
        lengths: ``(batch,)`` int64, in samples.
        keep: ``(batch, mels, frames)`` bool, False where features are hidden.
        targets: by task, ``(batch, ...)`` as its loss wants them.
        rows: ``(batch,)`` int64, the utterances.
    """

    waves: Tensor
    lengths: Tensor
    keep: Tensor
    targets: dict[str, Tensor]
    rows: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same batch on ``device``."""
        return Batch(
            waves=self.waves.to(device),
            lengths=self.lengths.to(device),
            keep=self.keep.to(device),
            targets={name: target.to(device) for name, target in self.targets.items()},
            rows=self.rows,
        )


class BatchSampler:
    """Draws the rows of a batch.

    Args:
        groups: by task, ``(utterances,)`` the class each utterance counts for, -1 where absent.
        corpora: ``(utterances,)`` the corpus of each utterance, as a number.
        config: size and balance.

    Raises:
        DataError: no utterance carries a label of any task.
    """

    def __init__(
        self, groups: Mapping[str, Integers], corpora: Integers, config: BatchConfig
    ) -> None:
        self._attributes = [
            _Groups(group, config.class_exponent)
            for name, group in groups.items()
            if name != "speaker" and (group != ABSENT).any()
        ]
        voices = groups.get("speaker", np.full(len(corpora), ABSENT))
        self._has_voices = bool((voices != ABSENT).any())
        if self._has_voices:
            self._voices = _Groups(voices, 1.0)
            self._corpus_of_voice = corpora[self._voices.first_row]
            self._corpora = _Groups(self._corpus_of_voice, config.corpus_exponent)
        elif not self._attributes:
            raise DataError("no utterance carries a label of any task: check the label columns")
        share = config.identity_share if self._attributes else 1.0
        self._identities = round(config.size * share) if self._has_voices else 0
        self._size, self._crops_per_voice = config.size, config.crops_per_voice

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


class _Groups:
    """Rows by group, and how likely each group is drawn: by the power of its size."""

    def __init__(self, group_of_row: Integers, exponent: float) -> None:
        order = np.argsort(group_of_row, kind="stable")
        self._rows = order[np.searchsorted(group_of_row[order], 0) :]  # without the absent
        _, self._start, self._size = np.unique(
            group_of_row[self._rows], return_index=True, return_counts=True
        )
        chance = self._size.astype(np.float64) ** exponent
        self._up_to = np.cumsum(chance / chance.sum())

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
        return int(self._rows[self._start[group] + rng.integers(self._size[group])])


class Batches(Dataset[Batch]):
    """All batches of a run, by number.

    Args:
        prepared: the training utterances.
        tasks: fitted tasks.
        config: size and balance.
        augment: how crops are changed.
        mels: bands of the features that ``Batch.keep`` masks.
        seed: of the run.
    """

    def __init__(
        self,
        prepared: Prepared,
        tasks: Sequence[Task],
        config: BatchConfig,
        augment: AugmentConfig,
        mels: int,
        seed: int,
    ) -> None:
        self._prepared, self._tasks, self._config, self._seed = prepared, tasks, config, seed
        self._mels, self._augment_config = mels, augment
        self._augment = WaveAugmenter(augment)
        labels = {task.name: task.labels_of(prepared.table) for task in tasks}
        self._targets = {task.name: task.encode(labels[task.name]) for task in tasks}
        groups = {task.name: task.groups(labels[task.name]) for task in tasks}
        corpora = prepared.table["corpus"].combine_chunks().dictionary_encode().indices.to_numpy()
        self._sampler = BatchSampler(groups, corpora.astype(np.int64), config)
        self._speeds = max((task.speeds for task in tasks), key=len)

    def __getitem__(self, number: int) -> Batch:
        rng = np.random.default_rng([self._seed, number])
        rows = self._sampler.draw(rng)
        low, high = self._config.crop_s
        size = round(float(rng.uniform(low, high)) * 10) * SAMPLE_RATE // 10
        speeds = rng.integers(len(self._speeds), size=len(rows))
        crops = [
            self._crop(row, size, self._speeds[speed], rng)
            for row, speed in zip(rows, speeds, strict=True)
        ]
        waves = np.zeros((len(rows), size), dtype=np.float32)
        for wave, crop in zip(waves, crops, strict=True):
            wave[: len(crop)] = crop
        frames = (size - FRAME_SAMPLES) // HOP_SAMPLES + 1
        keep = [feature_mask(self._augment_config, self._mels, frames, rng) for _ in rows]
        return Batch(
            waves=torch.from_numpy(waves),
            lengths=torch.tensor([len(crop) for crop in crops]),
            keep=torch.from_numpy(np.stack(keep)),
            targets={task.name: self._target(task, rows, speeds) for task in self._tasks},
            rows=torch.from_numpy(rows),
        )

    def _crop(self, row: int, size: int, speed: float, rng: np.random.Generator) -> Wave:
        """A random stretch of an utterance, at most ``size`` long, at ``speed``, augmented."""
        wanted = round(size * speed)
        spare = max(int(self._prepared.samples[row]) - wanted, 0)
        wave = to_float(self._prepared.read(row, int(rng.integers(spare + 1)), wanted))
        if speed != 1.0:
            wave = soxr.resample(wave, SAMPLE_RATE * speed, SAMPLE_RATE)[:size]
        if len(wave) < SHORTEST_CROP:
            wave = np.pad(wave, (0, SHORTEST_CROP - len(wave)))
        return self._augment(wave, int(rng.integers(2**32)))[:size]

    def _target(self, task: Task, rows: Integers, speeds: Integers) -> Tensor:
        targets = self._targets[task.name][rows]
        if len(task.speeds) > 1:
            targets = np.array([task.at_speed(t, s) for t, s in zip(targets, speeds, strict=True)])
        return torch.from_numpy(targets)
