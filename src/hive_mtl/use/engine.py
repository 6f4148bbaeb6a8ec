"""The one batching engine: many waves in, network outputs out, in order and in bounded memory."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import soxr

from hive_mtl.audio import SAMPLE_RATE, Wave
from hive_mtl.errors import ConfigError
from hive_mtl.use.network import Network

Tag = TypeVar("Tag")
Outputs = dict[str, npt.NDArray[np.float32]]
"""For one wave: "embedding" ``(dim,)`` and every head's output ``(n,)`` by its task."""

# A core is fastest on a few utterances at a time, whose activations stay in its cache.
_BATCH_SAMPLES = {"cpu": 12 * SAMPLE_RATE, "cuda": 600 * SAMPLE_RATE}
_MAX_PADDING = 0.1  # of a batch; a batch saves little beside what padding costs
_READ_AHEAD_SAMPLES = 300 * SAMPLE_RATE
_READ_AHEAD_ITEMS = 512
_MIN_SAMPLES = SAMPLE_RATE // 10  # shorter waves are given to the network with silence behind them


class Engine:
    """Runs waves through a network in batches of similar length.

    Holds no threads between calls; may be used from several threads at once.

    Args:
        network: what is run.
        threads: how many batches run at the same time, each on one core.

    Raises:
        ConfigError: ``threads`` is less than 1.
    """

    def __init__(self, network: Network, threads: int) -> None:
        if threads < 1:
            raise ConfigError(f"threads {threads}: give 1 or more, or none for all cores")
        self._network = network
        self._threads = threads

    def run(self, items: Iterable[tuple[Tag, Wave | None]]) -> Iterator[tuple[Tag, Outputs | None]]:
        """Gives every item's outputs under its tag, in order; items without a wave pass through.

        Items are read ahead (at most about ten minutes of speech), so that batches can be formed of
        waves of similar length and the next ones are read while the network works.

        Args:
            items: a tag of any kind, and a wave ``(samples,)`` at 16 kHz or None.

        Raises:
            ModelError: the network cannot be run.
        """
        with ThreadPoolExecutor(self._threads, "hive-network") as pool:
            running: _Running[Tag] | None = None
            for stretch in _stretches(items):
                started = self._start(pool, stretch)
                if running is not None:
                    yield from _collect(*running)
                running = started
            if running is not None:
                yield from _collect(*running)

    def _start(self, pool: ThreadPoolExecutor, stretch: "_Stretch[Tag]") -> "_Running[Tag]":
        waves = {i: wave for i, (_, wave) in enumerate(stretch) if wave is not None}
        batches = form_batches(
            {i: max(wave.size, _MIN_SAMPLES) for i, wave in waves.items()},
            _BATCH_SAMPLES[self._network.device],
        )
        futures = [pool.submit(self._run_batch, [waves[i] for i in batch]) for batch in batches]
        tags = [tag for tag, _ in stretch]
        return tags, list(zip(batches, futures, strict=True))

    def _run_batch(self, waves: Sequence[Wave]) -> Outputs:
        rate = self._network.description.sample_rate
        if rate != SAMPLE_RATE:
            waves = [soxr.resample(wave, SAMPLE_RATE, rate) for wave in waves]
        lengths = np.array([max(wave.size, _MIN_SAMPLES) for wave in waves], np.int64)
        padded = np.zeros((len(waves), lengths.max()), np.float32)
        for row, wave in zip(padded, waves, strict=True):
            row[: wave.size] = wave
        return self._network.run(padded, lengths)


_Stretch = list[tuple[Tag, Wave | None]]
_Running = tuple[list[Tag], list[tuple[list[int], Future[Outputs]]]]


def form_batches(lengths: dict[int, int], budget: int) -> list[list[int]]:
    """Groups items of similar length; the longest come first, so that no core is left waiting.

    Args:
        lengths: samples of every item by its number.
        budget: samples that a batch may have with its padding; one longer item is a batch alone.

    Returns:
        Lists of numbers; padding is at most a tenth of a batch.
    """
    batches: list[list[int]] = []
    longest = 0
    for item in sorted(lengths, key=lambda item: -lengths[item]):
        similar = lengths[item] >= (1 - _MAX_PADDING) * longest
        if batches and similar and (len(batches[-1]) + 1) * longest <= budget:
            batches[-1].append(item)
        else:
            batches.append([item])
            longest = lengths[item]
    return batches


def _stretches(items: Iterable[tuple[Tag, Wave | None]]) -> Iterator[_Stretch[Tag]]:
    stretch: _Stretch[Tag] = []
    samples = 0
    for item in items:
        stretch.append(item)
        samples += 0 if item[1] is None else item[1].size
        if samples >= _READ_AHEAD_SAMPLES or len(stretch) >= _READ_AHEAD_ITEMS:
            yield stretch
            stretch, samples = [], 0
    if stretch:
        yield stretch


def _collect(
    tags: list[Tag], batches: list[tuple[list[int], Future[Outputs]]]
) -> Iterator[tuple[Tag, Outputs | None]]:
    outputs: dict[int, Outputs] = {}
    for batch, future in batches:
        result = future.result()
        for row, item in enumerate(batch):
            outputs[item] = {name: values[row] for name, values in result.items()}
    for i, tag in enumerate(tags):
        yield tag, outputs.get(i)
