"""Corpora -> what a run learns from and is judged by."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.progress import Progress

from hive_mtl.description import DataSummary
from hive_mtl.errors import ConfigError, DataError
from hive_mtl.learn import corpora
from hive_mtl.learn.augment import AugmentConfig
from hive_mtl.learn.config import Recipe
from hive_mtl.learn.crops import check_speakers
from hive_mtl.learn.losses import loss_type
from hive_mtl.learn.model import loss_config
from hive_mtl.learn.prepare import Prepared, in_pieces, prepare
from hive_mtl.learn.registry import suggestion
from hive_mtl.learn.sampler import BatchSampler
from hive_mtl.learn.surroundings import prepare_noises, prepare_rooms
from hive_mtl.learn.tasks import Task, get_task
from hive_mtl.learn.utterances import (
    label_columns,
    shared_voices,
    summary,
    training_utterances,
    validation_utterances,
    voice_of_each,
)

_COLUMNS = ("corpus", "speaker", "session", "start_s", "duration_s")  # beside paths and labels


@dataclass(frozen=True)
class Materials:
    """What a run learns from and is judged by.

    Attributes:
        training: the training utterances.
        validation: utterances of the voices that are held out; None where no voice is.
        tasks: fitted to the training utterances.
        augment: the recipe's, with its rooms and noises in the cache.
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

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that name what decides the weights: rows, labels, order.

        Not where the recordings lie, nor their dates: a corpus that was copied or moved is the
        same. What changed inside a recording is told by how much of it is kept.
        """
        digest = hashlib.sha256()
        for prepared in filter(None, (self.training, self.validation)):
            columns: list[Iterable[object]] = [map(_name, prepared.table["path"].to_pylist())]
            columns += [prepared.table[name].to_pylist() for name in _COLUMNS]
            columns += [task.labels_of(prepared.table) for task in self.tasks]
            for row in zip(*columns, prepared.lengths.tolist(), strict=True):
                digest.update(f"{row}\n".encode())
            digest.update(b"\n")
        return digest.hexdigest()[:16]


def _name(path: str) -> str:
    return PurePath(path).name


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
        ConfigError: the best checkpoint is to be chosen by tasks that the data cannot teach, or a
            task would never be met in a batch.
    """
    table = in_pieces(without(corpora.read_all(data), recipe.data.leave_out))
    if shared := shared_voices(table):
        say(f"{len(shared)} voices are left out, another split has them too: {shared[0]} ...")
    learnt = training_utterances(table)
    if not len(learnt):
        raise DataError(
            f"no utterances to learn from in {', '.join(data)}: none is of split 'train' or of "
            "none, or every voice is of another split too or fell to validation: add voices"
        )
    known, only = {task.name for task in fitted}, recipe.data.labelled
    taught = learnt if only is None else learnt.filter(_labelled(only, learnt))
    new = fit_tasks(recipe, taught, known, say)
    tasks = [*fitted, *new]
    _check_chosen_by(recipe, [task.name for task in new], known)
    _check_within_corpus(recipe, new)
    if recipe.batches.counts_per_speaker is None:  # tells before hours of work what it cannot draw
        BatchSampler.of(taught, new, recipe.batches)
    else:
        check_speakers(taught)
    augment = _with_surroundings(recipe, say)
    allowed = recipe.data.max_failures
    training = _prepared(learnt, "training", recipe, allowed, say)
    held_out = validation_utterances(table)
    if only is not None:
        training = training.only(_labelled(only, training.table))
        say(f"training: {len(training)} of them have a label for {only}")
    left = None if allowed is None else allowed - len(training.failures)
    validation = _prepared(held_out, "validation", recipe, left, say) if len(held_out) else None
    return Materials(training, validation, tasks, augment, summary(training.table))


def without(table: pa.Table, leave_out: Sequence[str]) -> pa.Table:
    """The table less some corpora."""
    there = table["corpus"].unique().to_pylist()
    for name in leave_out:
        if name not in there:
            raise ConfigError(f"data.leave_out: no corpus '{name}'{suggestion(name, there)}")
    return table.filter(pc.invert(pc.is_in(table["corpus"], pa.array(leave_out, pa.string()))))


def _labelled(name: str, table: pa.Table) -> npt.NDArray[np.bool_]:
    """``(rows,)`` True where there is a label for a task."""
    task = get_task(name, [*label_columns(table), "speaker"])
    return np.array([label is not None for label in task.labels_of(table)], dtype=bool)


def fit_tasks(
    recipe: Recipe, table: pa.Table, known: set[str], say: Callable[[str], None]
) -> list[Task]:
    """The recipe's tasks that the data can teach, beside those that are known already."""
    columns = [*label_columns(table), "speaker"]
    tasks = []
    for name, config in recipe.tasks.items():
        if name in known:
            continue
        task = get_task(name, columns)
        try:
            examples = task.examples(table)
            whose = list(map(str, voice_of_each(examples)))
            task.fit(task.labels_of(examples), whose, config)
        except DataError as error:
            if config.required or len(recipe.tasks) == 1:
                raise
            say(f"left out: {error}")
            continue
        tasks.append(task)
    if not tasks:
        raise DataError("the data has labels for none of the tasks: label a column, or name others")
    return tasks


def _check_chosen_by(recipe: Recipe, taught: Sequence[str], frozen: set[str]) -> None:
    chosen_by = recipe.trainer.chosen_by
    if not chosen_by or set(chosen_by) & set(taught):
        return
    choices = f"choose from {', '.join(taught)}"
    if set(chosen_by) <= frozen:
        raise ConfigError(f"trainer.chosen_by: {', '.join(chosen_by)}: learns no more: {choices}")
    raise ConfigError(
        f"trainer.chosen_by: the data has too few labels for {', '.join(chosen_by)}: {choices}, or "
        "label more"
    )


def _check_within_corpus(recipe: Recipe, tasks: Iterable[Task]) -> None:
    for task in tasks:
        config = recipe.tasks[task.name]
        loss = loss_config(config, task).name
        if getattr(config, "within_corpus", False) and loss_type(loss).reads == "embedding":
            raise ConfigError(
                f"tasks.{task.name}.within_corpus: the loss '{loss}' compares utterances of all "
                "corpora: leave within_corpus out, or choose another loss"
            )


def _with_surroundings(recipe: Recipe, say: Callable[[str], None]) -> AugmentConfig:
    """The augmentation with its rooms and noises in the cache; says so where it lacks a folder."""
    augment, cache = recipe.augment, recipe.data.cache
    if augment.noise and augment.noises is None:
        say("augment.noises names no folder: training goes without")
    if augment.reverberation and augment.rooms is None and not augment.simulated_rooms:
        say("augment.rooms names no folder, and none are simulated: training goes without")
    prepared = {}  # a folder that is missing should be told of before hours of work
    if augment.noises is not None:
        prepared["noises"] = prepare_noises(augment.noises, cache)
    if augment.reverberation and (augment.rooms is not None or augment.simulated_rooms):
        prepared["rooms"] = prepare_rooms(augment.rooms, augment.simulated_rooms, cache)
    return augment.model_copy(update=prepared)


def _prepared(
    table: pa.Table, part: str, recipe: Recipe, allowed: int | None, say: Callable[[str], None]
) -> Prepared:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as shown:
        bar = shown.add_task(f"preparing {part}", total=len(table))
        prepared = prepare(
            table,
            recipe.data.cache,
            kept=recipe.kept(),
            max_failures=allowed,
            progress=lambda done: shown.advance(bar, done),
        )
    say(
        f"{part}: {len(prepared)} utterances, {prepared.hours:.2f} hours without the silence "
        "around them"
    )
    if prepared.failures:
        say(
            f"{part}: {len(prepared.failures)} recordings failed and are left out; the next run "
            f"tries those again that cannot be read, and all of them without {prepared.folder}"
        )
    return prepared
