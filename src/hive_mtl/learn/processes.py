"""The processes of a run: how many, and what one does before the others."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from hive_mtl.errors import ConfigError, HiveError
from hive_mtl.learn.optimising import precision

Made = TypeVar("Made")


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many cores for torch's work in this process, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def make_fabric(devices: int) -> Any:
    """Lightning's Fabric for a run of so many processes, one a GPU where there are GPUs.

    Raises:
        ConfigError: there are fewer GPUs.
    """
    from lightning_fabric import Fabric  # late: it takes seconds to import

    gpus = torch.cuda.device_count()
    if 0 < gpus < devices:
        raise ConfigError(
            f"trainer.devices = {devices}: more than this machine's GPUs: set it to {gpus} or less"
        )
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells its precision
    return Fabric(devices=devices, strategy="ddp" if devices > 1 else "auto", precision=precision())


def first_then_others(fabric: Any, work: Callable[[], Made]) -> Made:
    """Work that the first process does and the others, after it, find done.

    Raises:
        HiveError: of the first process.
        SystemExit: in the others, where the first one failed: it says why.
    """
    is_first = fabric.global_rank == 0
    failure: HiveError | None = None
    with fabric.rank_zero_first():
        if is_first:
            try:
                made = work()
            except HiveError as error:
                failure = error
    if fabric.broadcast(failure is not None):
        raise failure or SystemExit(2)
    return made if is_first else work()
