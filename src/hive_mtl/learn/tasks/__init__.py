"""Tasks: one file is one question that is asked of the embedding.

A task module has a class ``TASK`` derived from :class:`hive_mtl.learn.tasks._base.Task`. A column
of the table of utterances that has no file here becomes a task too, one class a distinct value.
"""

import sys

from hive_mtl.errors import ConfigError
from hive_mtl.learn import registry
from hive_mtl.learn.tasks._base import ClassTask, Task, TaskConfig

__all__ = ["ClassTask", "Task", "TaskConfig", "get_task", "known_tasks"]


def known_tasks() -> list[str]:
    """The tasks that have a file of their own."""
    return registry.names(sys.modules[__name__])


def get_task(name: str, columns: list[str] | None = None) -> Task:
    """A fresh, unfitted task.

    Args:
        name: a known task, or the name of a label column.
        columns: the label columns of the data; None allows any name.

    Raises:
        ConfigError: neither a known task nor a column.
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
    return ClassTask(name)
