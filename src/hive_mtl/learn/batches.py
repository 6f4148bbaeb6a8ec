"""Utterances -> batches, balanced over corpora, voices, tasks and classes.

A batch has two parts, see :mod:`hive_mtl.learn.sampler`: one teaches the speaker task, the other
sees that rare labels are met. Every row carries all the labels that its utterance has.

Where crops are listed (:mod:`hive_mtl.learn.crops`), a batch is the next ones of the list instead.

A batch is a pure function of the seed and its number. So any process can make any batch, batches
can be made ahead in other processes, and a resumed run goes on exactly where it stopped. What costs
time, to play waves at another speed and to augment them, is only drawn here: a batch carries it as
:class:`Changes`, which the trainer makes where the network is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hive_mtl.audio import SAMPLE_RATE
from hive_mtl.learn.augment import AugmentConfig, Augmenter, feature_mask
from hive_mtl.learn.changes import Changes
from hive_mtl.learn.crops import CropLists, Crops, Epochs, list_crops
from hive_mtl.learn.front_ends import FrontEnd
from hive_mtl.learn.kept import Floats, Kept
from hive_mtl.learn.prepare import Prepared, stacked
from hive_mtl.learn.sampler import BatchConfig, BatchSampler
from hive_mtl.learn.tasks import Task

Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
SHORTEST_CROP = SAMPLE_RATE // 10  # of a wave as it is heard, with its padding
CROP_LENGTHS = 6  # from the shortest to the longest; torch keeps memory for each that it meets


@dataclass(frozen=True)
class Batch:
    """What the trainer is given.

    Attributes:
        inputs: ``(batch, samples)`` or ``(batch, mels, frames)`` float32, zero beyond a crop's end.
        lengths: ``(batch,)`` int64, in samples or frames, after the changes.
        speech_s: seconds of all crops together.
        keep: ``(batch, mels, frames)`` bool, False where features are hidden.
        targets: by task, ``(batch, ...)`` as its loss wants them.
        rows: ``(batch,)`` int64, the utterances.
        changes: what is still to happen to ``inputs``; None where nothing is.
    """

    inputs: Tensor
    lengths: Tensor
    speech_s: float
    keep: Tensor
    targets: dict[str, Tensor]
    rows: Tensor
    changes: Changes | None = None

    def to(self, device: torch.device) -> "Batch":
        """The same batch on ``device``."""
        return Batch(
            inputs=self.inputs.to(device),
            lengths=self.lengths.to(device),
            speech_s=self.speech_s,
            keep=self.keep.to(device),
            targets={name: target.to(device) for name, target in self.targets.items()},
            rows=self.rows,
            changes=self.changes and self.changes.to(device),
        )

    def changed(self) -> "Batch":
        """The batch as the network hears it, changed on the device where it is."""
        if self.changes is None:
            return self
        return replace(self, inputs=self.changes.apply(self.inputs), changes=None)


def crop_items(config: BatchConfig, kept: Kept) -> int:
    """Length of the longest crop, in items of what is kept: samples or frames."""
    return round(config.crop_s[1] * kept.per_second)


class Batches(Dataset[Batch]):
    """All batches of a run, by number.

    Args:
        prepared: the training utterances.
        tasks: fitted tasks.
        config: size and balance.
        augment: how crops are changed.
        front_end: whose features ``Batch.keep`` masks.
        seed: of the run.

    Attributes:
        lists: the crops that are listed; None where they are drawn as they are needed.
        steps_per_epoch: batches that the listed crops make; None where none are listed.
    """

    def __init__(
        self,
        prepared: Prepared,
        tasks: Sequence[Task],
        config: BatchConfig,
        augment: AugmentConfig,
        front_end: FrontEnd,
        seed: int,
    ) -> None:
        # without the table, which the processes that make batches would each be sent in vain
        self._prepared = replace(prepared, table=prepared.table.schema.empty_table(), failures=())
        self._tasks, self._config, self._seed = tasks, config, seed
        self._front_end, self._augment_config = front_end, augment
        self._augmenter = Augmenter(augment)
        self._targets = {task.name: task.encode(task.labels_of(prepared.table)) for task in tasks}
        # of the task that asks for some; the others are content with recordings as they are
        asked = (task.speeds for task in tasks if task.speeds != (1.0,))
        self._speeds = np.array(next(asked, (1.0,)))
        self.lists: CropLists | None = None
        self.steps_per_epoch: int | None = None
        if config.counts_per_speaker is None:
            self._sampler = BatchSampler.of(prepared.table, tasks, config)
        else:
            self.lists = list_crops(prepared, config.counts_per_speaker, self._longest, seed)
            self._epochs = Epochs(self.lists.learnt, config.size, seed)
            self.steps_per_epoch = self._epochs.steps

    def __getitem__(self, number: int) -> Batch:
        rng = np.random.default_rng([self._seed, number])
        if self._config.counts_per_speaker is not None:
            rows, starts = self._epochs.batch(number)
            return self._batch(rows, starts, self._longest, rng)
        rows = self._sampler.draw(rng)
        shortest, longest = self._config.crop_s
        lengths = np.linspace(shortest, longest, CROP_LENGTHS).round(1).clip(shortest, longest)
        size = round(float(rng.choice(lengths)) * self._prepared.kept.per_second)
        return self._batch(rows, None, size, rng)

    def of_crops(self, crops: Crops) -> Iterator[Batch]:
        """Listed crops as they are, in order: what a monitor looks at."""
        for start in range(0, len(crops), self._config.size):
            part = slice(start, start + self._config.size)
            cut = [
                self._prepared.read(int(row), int(place), self._longest)
                for row, place in zip(crops.rows[part], crops.starts[part], strict=True)
            ]
            speeds = np.ones(len(cut))
            yield self._stack(crops.rows[part], cut, speeds, _lengths(cut), self._longest)

    @property
    def _longest(self) -> int:
        return crop_items(self._config, self._prepared.kept)

    def _batch(
        self, rows: Integers, starts: Integers | None, size: int, rng: np.random.Generator
    ) -> Batch:
        """Crops of ``rows``, at most ``size`` long once played, and what is to happen to them."""
        speeds = self._speeds[rng.integers(len(self._speeds), size=len(rows))]
        spans = np.rint(size * speeds).astype(np.int64)
        places = [None] * len(rows) if starts is None else starts
        cut = [
            self._cut(int(row), start, int(span), rng)
            for row, start, span in zip(rows, places, spans, strict=True)
        ]
        lengths, changes = _lengths(cut), None
        if cut[0].ndim == 1:
            cut = [self._augmenter.coded(crop, rng) for crop in cut]
            played = np.rint(lengths * size / spans).astype(np.int64)
            lengths = np.clip(played, SHORTEST_CROP, size)
            changes = self._augmenter.draw(spans, lengths, size, rng)
        batch = self._stack(rows, cut, speeds, lengths, size)
        mels, frames = batch.keep.shape[1:]
        masks = [feature_mask(self._augment_config, mels, frames, rng) for _ in rows]
        return replace(batch, keep=torch.from_numpy(np.stack(masks)), changes=changes)

    def _cut(self, row: int, start: int | None, items: int, rng: np.random.Generator) -> Floats:
        """So many items of an utterance from ``start`` on, or from anywhere and repeated."""
        spare = max(int(self._prepared.lengths[row]) - items, 0)
        if start is not None:
            return self._prepared.read(row, min(int(start), spare), items)
        return _repeated(self._prepared.read(row, int(rng.integers(spare + 1)), items), items)

    def _stack(
        self, rows: Integers, cut: Sequence[Floats], speeds: Numbers, lengths: Integers, size: int
    ) -> Batch:
        inputs = stacked(cut, round(size * max(1.0, speeds.max())))
        frames = size
        if inputs.ndim == 2:
            frames = int(self._front_end.frame_counts(torch.tensor(size)))
        return Batch(
            inputs=torch.from_numpy(inputs),
            lengths=torch.from_numpy(lengths),
            speech_s=float(lengths.sum()) / self._prepared.kept.per_second,
            keep=torch.ones(len(rows), self._front_end.mels, frames, dtype=torch.bool),
            targets={
                task.name: torch.from_numpy(task.at_speeds(self._targets[task.name][rows], speeds))
                for task in self._tasks
            },
            rows=torch.from_numpy(rows),
        )


def _lengths(cut: Sequence[Floats]) -> Integers:
    return np.array([crop.shape[-1] for crop in cut])


def _repeated(crop: Floats, size: int) -> Floats:
    """A crop said again and again until it is ``size`` long: batch normalisation sees no padding.

    An utterance of which nothing is left stays as it is.
    """
    length = crop.shape[-1]
    if not 0 < length < size:
        return crop
    times = (1,) * (crop.ndim - 1) + (-(-size // length),)
    return np.tile(crop, times)[..., :size]
