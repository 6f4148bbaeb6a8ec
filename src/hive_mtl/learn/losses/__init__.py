"""Losses: one file is one loss with its configuration.

A loss module has a class ``Config`` (pydantic, its field ``name`` naming the file) and a class
``Loss`` (see :class:`hive_mtl.learn.losses._base.TaskLoss`) made as ``Loss(config, counts)``.
"""

import sys
from typing import Any

from hive_mtl.learn import registry
from hive_mtl.learn.losses._base import LossConfig, TaskLoss


def parse_config(settings: LossConfig | dict[str, Any] | str) -> LossConfig:
    """A loss as a recipe writes it, a name or a table with a name, as its config."""
    config: LossConfig = registry.parse_config(sys.modules[__name__], settings, "loss")
    return config


def make(config: LossConfig, counts: list[int]) -> TaskLoss:
    """The loss of a config, for a task whose classes have ``counts`` training examples."""
    module = registry.member(sys.modules[__name__], config.name, "loss")
    loss: TaskLoss = module.Loss(config, counts)
    return loss
