"""What is to happen to the crops of a batch: drawn where the batch is made, done by the trainer."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from hive_mtl.learn.effects import (
    coloured,
    filtered,
    mixed,
    replayed,
    through_telephone,
    together,
)

Drawn = tuple[Tensor, ...]
"""The rows ``(n,)`` of a batch that a change was drawn for, and what was drawn for each of them."""

BY_VALUE = 1 << 14  # numbers at most that go to another process without shared memory


@dataclass(frozen=True)
class Changes:
    """The changes of a batch, in their order; None where one was drawn for no crop.

    Attributes:
        samples: of each crop afterwards.
        played: rows ``(n,)`` by the number of their samples that are played in the time of
            ``samples``; the other rows are played as they are.
        filtered: rows, gains in dB ``(n, bands)``, responses of rooms ``(n, longest)``.
        babble: rows, weights of the voices of the batch ``(n, batch)``, SNR in dB ``(n,)``.
        noise: rows, noises ``(n, samples)``, SNR in dB ``(n,)``.
        coloured: rows, white noise ``(n, samples)``, dB an octave ``(n,)``, SNR in dB ``(n,)``.
        telephone: rows, edges of the band in Hz ``(n, 2)``.
    """

    samples: int
    played: dict[int, Tensor]
    filtered: Drawn | None
    babble: Drawn | None
    noise: Drawn | None
    coloured: Drawn | None
    telephone: Drawn | None

    def to(self, device: torch.device) -> "Changes":
        """The same changes on ``device``."""
        return Changes(*self._fields(lambda tensor: tensor.to(device)))

    def apply(self, waves: Tensor) -> Tensor:
        """Crops as cut ``(batch, samples of the longest)`` -> as heard ``(batch, samples)``."""
        heard = waves[:, : self.samples].clone()
        for span, rows in self.played.items():
            heard[rows] = replayed(waves[rows, :span], self.samples)
        if self.filtered:
            rows, gains_db, responses = self.filtered
            heard[rows] = filtered(heard[rows], gains_db, responses)
        if self.babble:
            rows, weights, snr_db = self.babble
            heard[rows] = mixed(heard[rows], together(heard, weights), snr_db)
        if self.noise:
            rows, noises, snr_db = self.noise
            heard[rows] = mixed(heard[rows], noises, snr_db)
        if self.coloured:
            rows, white, slopes_db, snr_db = self.coloured
            heard[rows] = mixed(heard[rows], coloured(white, slopes_db), snr_db)
        if self.telephone:
            rows, edges_hz = self.telephone
            heard[rows] = through_telephone(heard[rows], edges_hz)
        return heard

    def __reduce__(self) -> tuple[Any, ...]:
        # A tensor in shared memory is an open file, of which a process may have but few.
        return _received, tuple(self._fields(_by_value))

    def _fields(self, change: Callable[[Any], Any]) -> list[Any]:
        """All fields, their tensors changed."""
        return [_mapped(change, getattr(self, each.name)) for each in fields(self)]


def _received(*values: Any) -> Changes:
    return Changes(*(_mapped(torch.as_tensor, value) for value in values))


def _by_value(tensor: Tensor) -> Any:
    return tensor.numpy() if tensor.numel() <= BY_VALUE else tensor


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    """A field of :class:`Changes` with the tensors in it changed."""
    match value:
        case tuple():
            return tuple(map(change, value))
        case dict():
            return {key: change(each) for key, each in value.items()}
    return value
