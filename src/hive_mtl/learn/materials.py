"""Corpora -> what a run learns from and is judged by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.progress import Progress

from hive_mtl.audio import SAMPLE_RATE
from hive_mtl.description import DataSummary
from hive_mtl.errors import ConfigError, DataError
from hive_mtl.learn import corpora
from hive_mtl.learn.augment import AugmentConfig
from hive_mtl.learn.batches import task_labels, voice_names
from hive_mtl.learn.config import DataConfig, Recipe
from hive_mtl.learn.prepare import Prepared, prepare, prepare_noises
from hive_mtl.learn.tasks import Task, get_task
from hive_mtl.learn.utterances import (
    label_columns,
    summary,
    training_utterances,
    validation_utterances,
)


@dataclass(frozen=True)
class Materials:
    """What a run learns from and is judged by.

    Attributes:
        training: the training utterances.
        validation: utterances of the voices that are held out; None where no voice is.
        tasks: fitted to the training utterances.
        augment: the recipe's, with its noises in the cache.
        summary: what each corpus contributed to training.
    """

    training: Prepared
    validation: Prepared | None
    tasks: list[Task]
    augment: AugmentConfig
    summary: tuple[DataSummary, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """'path: problem' of each recording that is left out."""
        return self.training.failures + (self.validation.failures if self.validation else ())


def gather(
    recipe: Recipe, data: Sequence[str], fitted: Sequence[Task], say: Callable[[str], None]
) -> Materials:
    """Reads and prepares the union of corpora, and fits the recipe's tasks to it.

    Args:
        recipe: names the tasks and the corpora to leave out.
        data: corpora (see :func:`hive_mtl.learn.corpora.read`).
        fitted: tasks that stay as they are.
        say: told what was prepared.

    Raises:
        DataError: nothing is left to learn from, or too many recordings failed.
    """
    table = read_all(data, recipe.data.leave_out)
    learnt = training_utterances(table)
    if not len(learnt):
        raise DataError(
            f"no utterances to learn from in {', '.join(data)}: none is of split 'train' or of "
            "none, or every voice fell to validation: add voices"
        )
    training = _prepared(learnt, "training", recipe.data, say)
    held_out = validation_utterances(table)
    validation = _prepared(held_out, "validation", recipe.data, say) if len(held_out) else None
    kept = {task.name for task in fitted}
    columns = [*label_columns(table), "speaker"]
    new = [get_task(name, columns) for name in recipe.tasks if name not in kept]
    _fit(new, training, recipe)
    augment = recipe.augment
    if augment.noises is not None:
        noises = prepare_noises(augment.noises, recipe.data.cache)
        augment = augment.model_copy(update={"noises": noises})
    return Materials(training, validation, [*fitted, *new], augment, summary(training.table))


def read_all(data: Sequence[str], leave_out: Sequence[str] = ()) -> pa.Table:
    """The union of corpora, with all their label columns, less the corpora named ``leave_out``."""
    if not data:
        raise ConfigError("no data to train on: give at least one folder or table with --data")
    table = pa.concat_tables([corpora.read(part) for part in data], promote_options="default")
    return table.filter(pc.invert(pc.is_in(table["corpus"], pa.array(leave_out, pa.string()))))


def _prepared(
    table: pa.Table, part: str, config: DataConfig, say: Callable[[str], None]
) -> Prepared:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as shown:
        bar = shown.add_task(f"preparing {part}", total=len(table))
        prepared = prepare(
            table,
            config.cache,
            max_failures=config.max_failures,
            progress=lambda done: shown.advance(bar, done),
        )
    hours = prepared.samples.sum() / SAMPLE_RATE / 3600
    say(f"{part}: {len(prepared)} utterances, {hours:.2f} hours without the silence around them")
    if prepared.failures:
        say(f"{part}: {len(prepared.failures)} recordings failed and are left out")
    return prepared


def _fit(tasks: Sequence[Task], training: Prepared, recipe: Recipe) -> None:
    table = training.table
    names = voice_names(table["corpus"].to_pylist(), table["speaker"].to_pylist())
    voices = [str(name) for name in names]
    for task in tasks:
        task.fit(task_labels(task, training), voices, recipe.tasks[task.name])
