"""Listed crops: a fixed number of each voice, drawn once, as the original's model inputs were.

The original copied its crops into two arrays, 26 GB for 921 voices. Here a crop is a row and a
place in it, twelve bytes, and is read from what preparation keeps when its turn comes.

The utterances of each voice are divided four to one: the larger part is learnt from, crops of the
smaller one show in training how well known voices are told apart. That is a monitor, not a test:
its voices are those of training.
"""

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from hive_mtl.atomic import atomic_write
from hive_mtl.errors import DataError
from hive_mtl.learn.prepare import Prepared
from hive_mtl.learn.utterances import voices

LEARNT_SHARE = 0.8  # of the utterances of each voice

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Crops:
    """Places to cut.

    Attributes:
        rows: ``(crops,)`` utterances.
        starts: ``(crops,)`` in items of what is kept.
    """

    rows: Integers
    starts: Integers

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class CropLists:
    """What an epoch learns from, and what is looked at after it."""

    learnt: Crops
    monitor: Crops


def list_crops(prepared: Prepared, counts: tuple[int, int], items: int, seed: int) -> CropLists:
    """The crops of every voice, from the cache where they were drawn before.

    Args:
        prepared: the training utterances.
        counts: crops of each voice to learn from, and to monitor.
        items: length of a crop, in items of what is kept; a shorter utterance is a crop by itself.
        seed: of the draw.

    A voice with a single utterance is learnt from and not monitored; unknown speakers are left out.

    Raises:
        DataError: no speaker is known.
    """
    check_speakers(prepared.table)
    codes, names = voices(prepared.table)
    who = hashlib.sha256("\n".join(names).encode() + codes.tobytes()).hexdigest()[:12]
    name = f"crops-{who}-{counts[0]}-{counts[1]}-{items}-{seed}"
    learnt, monitor = (prepared.folder / f"{name}-{part}.parquet" for part in ("learnt", "monitor"))
    if not (learnt.is_file() and monitor.is_file()):
        lists = _draw(prepared, codes, counts, items, np.random.default_rng(seed))
        _write(lists.learnt, learnt)
        _write(lists.monitor, monitor)
    return CropLists(_read(learnt), _read(monitor))


def check_speakers(table: pa.Table) -> None:
    """Refuses utterances of which no crops can be listed: their speakers are unknown."""
    if not voices(table)[1]:
        raise DataError(
            "batches.counts_per_speaker: lists crops of each speaker, and the training data names "
            "none: fill the column 'speaker', or leave counts_per_speaker out"
        )


def _draw(
    prepared: Prepared,
    codes: Integers,
    counts: tuple[int, int],
    items: int,
    rng: np.random.Generator,
) -> CropLists:
    order = np.lexsort((prepared.table["path"].to_numpy(zero_copy_only=False), codes))
    bounds = np.searchsorted(codes[order], np.arange(codes.max(initial=-1) + 2))
    learnt, monitor = [], []
    for first, last in pairwise(bounds):
        own = order[first:last]
        split = max(int(LEARNT_SHARE * len(own)), 1)
        learnt.append(rng.choice(own[:split], counts[0]))
        if split < len(own):
            monitor.append(rng.choice(own[split:], counts[1]))
    return CropLists(
        _placed(learnt, prepared, items, rng),
        _placed(monitor, prepared, items, rng),
    )


def _placed(
    rows: list[Integers], prepared: Prepared, items: int, rng: np.random.Generator
) -> Crops:
    joined = np.concatenate([np.zeros(0, dtype=np.int64), *rows])
    spare = np.maximum(prepared.lengths[joined] - items, 0)
    return Crops(joined, rng.integers(spare + 1))


def _write(crops: Crops, path: Path) -> None:
    table = pa.table({"row": crops.rows.astype(np.int32), "start": crops.starts})
    with atomic_write(path) as temporary:
        pq.write_table(table, temporary)


def _read(path: Path) -> Crops:
    table = pq.read_table(path)
    return Crops(table["row"].to_numpy().astype(np.int64), table["start"].to_numpy())


class Epochs:
    """The order in which listed crops are learnt: all of them, shuffled anew in every epoch."""

    def __init__(self, crops: Crops, size: int, seed: int) -> None:
        self._crops, self._size, self._seed = crops, min(size, len(crops)), seed
        self.steps = len(crops) // self._size  # of an epoch; what is left over waits for the next
        self._order: tuple[int, Integers] = (-1, np.zeros(0, dtype=np.int64))

    def batch(self, number: int) -> tuple[Integers, Integers]:
        """Rows and starts ``(batch,)`` of a batch, counted over all epochs."""
        epoch, place = divmod(number, self.steps)
        if self._order[0] != epoch:
            rng = np.random.default_rng([self._seed, epoch])
            self._order = (epoch, rng.permutation(len(self._crops)))
        chosen = self._order[1][place * self._size : (place + 1) * self._size]
        return self._crops.rows[chosen], self._crops.starts[chosen]
