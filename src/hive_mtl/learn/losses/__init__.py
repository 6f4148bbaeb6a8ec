"""Losses: one file is one loss with its configuration.

A loss module has a class ``Config`` (pydantic, its field ``name`` naming the file) and a class
``Loss`` (see :class:`hive_mtl.learn.losses._base.TaskLoss`) made as ``Loss(config, counts)``.
"""

import sys
from typing import Any

from hive_mtl.learn import registry
from hive_mtl.learn.losses._base import LossConfig, TaskLoss
from hive_mtl.learn.settings import parse_member


def parse_config(settings: LossConfig | dict[str, Any] | str) -> LossConfig:
    """A loss as a recipe writes it, a name or a table with a name, as its config."""
    config: LossConfig = parse_member(sys.modules[__name__], settings, "loss")
    return config


def make(config: LossConfig, counts: list[int]) -> TaskLoss:
    """The loss of a config, for a task whose classes have ``counts`` training examples."""
    return loss_type(config.name)(config, counts)


def loss_type(name: str) -> type[TaskLoss]:
    """The class of a loss by its name."""
    found: type[TaskLoss] = registry.member(sys.modules[__name__], name, "loss").Loss
    return found


def known_losses() -> list[str]:
    """The losses that there are."""
    return registry.names(sys.modules[__name__])
