"""Tasks: one file is one question that is asked of the embedding.

A task module has a class ``TASK`` derived from :class:`hive_mtl.learn.tasks._base.Task`. A column
of the table of utterances that has no file here becomes a task too, one class a distinct value.
"""

import sys

from torch import nn

from hive_mtl.description import ONNX_EMBEDDING, ONNX_INPUTS
from hive_mtl.errors import ConfigError
from hive_mtl.learn import registry
from hive_mtl.learn.tasks._base import ClassTask, Task, TaskConfig

__all__ = ["ClassTask", "Task", "TaskConfig", "get_task", "known_tasks"]


_TAKEN = (*ONNX_INPUTS, ONNX_EMBEDDING)  # an exported model has one name for each of its ends


def known_tasks() -> list[str]:
    """The tasks that have a file of their own."""
    return registry.names(sys.modules[__name__])


def get_task(name: str, columns: list[str] | None = None) -> Task:
    """A fresh, unfitted task.

    Args:
        name: a known task, or the name of a label column.
        columns: the label columns of the data; None allows any name.

    Raises:
        ConfigError: neither a known task nor a column, or a column that cannot name a head.
    """
    if name in known_tasks():
        task: Task = registry.member(sys.modules[__name__], name, "task").TASK()
        return task
    if columns is not None and name not in columns:
        choices = sorted({*known_tasks(), *columns})
        raise ConfigError(
            f"unknown task '{name}', and the data has no such column"
            f"{registry.suggestion(name, choices)}"
        )
    if not name or {*"./"} & {*name} or name in _TAKEN or hasattr(nn.ModuleDict(), name):
        raise ConfigError(f"'{name}' cannot be the name of a task: rename the column")
    return ClassTask(name)
