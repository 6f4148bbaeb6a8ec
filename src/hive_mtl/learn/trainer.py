"""Training: step, validate, save, resume; one process or many."""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, takewhile
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from hive_mtl.errors import ConfigError
from hive_mtl.learn import checkpoint as checkpoints
from hive_mtl.learn.batches import Batch, Batches
from hive_mtl.learn.checkpoint import Checkpoint, Header
from hive_mtl.learn.config import Recipe
from hive_mtl.learn.distillation import PART, Distillation
from hive_mtl.learn.export import export_onnx
from hive_mtl.learn.gradients import gradient_cosines
from hive_mtl.learn.imprinting import imprint
from hive_mtl.learn.journal import Journal
from hive_mtl.learn.materials import Materials, gather
from hive_mtl.learn.model import TaskLosses, UnifiedModel, make_heads
from hive_mtl.learn.optimising import OPTIMISERS, check_finite, parameter_groups
from hive_mtl.learn.processes import first_then_others, make_fabric
from hive_mtl.learn.refit import refit_heads
from hive_mtl.learn.starting import (
    LAST,
    check_same,
    checkpoint_to_resume,
    checkpoint_to_start_from,
    inherit,
    teachers_of,
    with_trunk_of,
)
from hive_mtl.learn.tasks import Task
from hive_mtl.learn.validate import MIN_VOICES, Validation, validate, watch


@dataclass(frozen=True)
class TrainedRun:
    """What :func:`train` leaves behind.

    Attributes:
        folder: checkpoints, the exported model's three files, ``log.jsonl`` and TensorBoard's
            files.
        failures: 'path: problem' of each recording that could not be used.
    """

    folder: Path
    failures: tuple[str, ...]


def train(
    recipe: Recipe,
    data: Sequence[str],
    out: Path,
    *,
    resume: bool = False,
    start_from: str | Path | None = None,
    freeze: bool = False,
) -> TrainedRun:
    """Runs a recipe to its end and exports the best model as ONNX.

    Args:
        recipe: what to train.
        data: corpora (see :func:`hive_mtl.learn.corpora.read`); their union is learnt from.
        out: the folder of the run.
        resume: go on from the last checkpoint of ``out``; begins anew where there is none.
        start_from: a checkpoint whose weights to start from, or the word "pretrained" for the one
            that ships; its trunk replaces the recipe's.
        freeze: keep trunk and heads of ``start_from`` as they are; only new heads learn.

    Raises:
        HiveError: the data, the recipe or a checkpoint is not as it should be.
    """
    last = checkpoint_to_resume(out, resume)
    parent = checkpoint_to_start_from(start_from, freeze)
    if parent is not None:
        recipe = with_trunk_of(recipe, parent, freeze)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning_fabric.*|torch.*")
        return Run(recipe, data, out, last, parent, freeze).run()


class Run:
    """One run of :func:`train`."""

    def __init__(
        self,
        recipe: Recipe,
        data: Sequence[str],
        out: Path,
        last: Checkpoint | None,
        parent: Checkpoint | None,
        freeze: bool,
    ) -> None:
        self.recipe, self.data, self.out, self.config = recipe, data, out, recipe.trainer
        self.last, self.parent, self.freeze = last, parent, freeze
        self.frozen = tuple(parent.header.tasks) if parent and freeze else ()
        self.revision = checkpoints.git_revision()  # now: others may commit while this runs
        self.teachers = teachers_of(recipe, freeze)
        self.fabric = make_fabric(self.config.devices)
        self.best = math.inf
        self.watched: list[float] = []
        self.start = last.header.step if last else 0
        self.steps, self.validate_every = self.config.steps, self.config.validate_every

    def run(self) -> TrainedRun:
        """The story of a run."""
        self.fabric.launch()
        self.out.mkdir(parents=True, exist_ok=True)
        with Journal(self.out, self.start, self.fabric.global_rank > 0) as self.journal:
            self.materials = self._materials()
            self._build()
            self.journal.begin(self.steps)
            for step, batch in self._batches():
                self._step(step, batch)
                if step % self.validate_every == 0 or step == self.steps:
                    self._validate_and_save(step)
            if self._is_over():
                self.journal.say("no gain any more: the run is over")
            if self.fabric.global_rank == 0:
                self._finish(self.out / checkpoints.BEST)
        self.fabric.barrier()
        return TrainedRun(self.out, self.materials.failures)

    def _finish(self, best: Path) -> None:
        if self.config.refit_heads:
            device = self.fabric.device
            refit_heads(best, self.materials, self._learning(), device, self.journal.say)
        export_onnx(checkpoints.load(best), self.out / "model.onnx")

    def _materials(self) -> Materials:
        """Prepares the data."""
        fitted = self.parent.tasks() if self.parent and self.freeze else []
        return first_then_others(
            self.fabric, lambda: gather(self.recipe, self.data, fitted, self.journal.say)
        )

    def _build(self) -> None:
        """Network, losses, optimiser and batches, as new or as the checkpoint left them."""
        recipe, tasks = self.recipe, self.materials.tasks
        torch.manual_seed(self.config.seed)
        heads = make_heads(recipe.tasks, tasks, recipe.trunk.embedding_dim)
        model = UnifiedModel(recipe.make_front_end(), recipe.trunk, heads)
        if self.last is not None:
            check_same(self.last, recipe, self.materials, self.frozen)
            model.load_state_dict(self.last.weights)
            self.best = math.inf if self.last.header.best is None else self.last.header.best
            self.watched = list(self.last.header.watched)
        elif self.parent is not None:
            unknown, learnt = inherit(model, self.parent, tasks), self.materials.training
            imprint(model.to(self.fabric.device), tasks, unknown, learnt, self.journal.say)
        self.plain_model, new = model, self._learning()
        if self.freeze:
            model.requires_grad_(False)
            for task in new:
                model.heads[task.name].requires_grad_(True)
        self.losses = TaskLosses(recipe.tasks, new).to(self.fabric.device)
        self._build_optimiser(model)
        self.dataset = Batches(
            self.materials.training,
            new,
            recipe.batches,
            self.materials.augment,
            model.front_end,
            self.config.seed,
        )
        if self.config.epochs is not None:
            if self.dataset.steps_per_epoch is None:
                raise ConfigError(
                    "trainer.epochs counts listed crops: set batches.counts_per_speaker, or give "
                    "trainer.steps"
                )
            self.validate_every = max(self.dataset.steps_per_epoch // self.fabric.world_size, 1)
            self.steps = self.config.epochs * self.validate_every

    def _build_optimiser(self, model: UnifiedModel) -> None:
        """What changes the network and, with it, the maps to its teachers."""
        self.distillation = Distillation(self.teachers, model.embedding_dim)
        self.distil = self.fabric.setup_module(self.distillation) if self.teachers else None
        learning = nn.ModuleList([model, self.distillation])
        self.optimiser = OPTIMISERS[self.config.optimiser](
            parameter_groups(learning, self.config.weight_decay), lr=self.config.learning_rate
        )
        self.model, self.optimiser = self.fabric.setup(model, self.optimiser)
        if self.last is not None:
            state = self.distillation.restore(self.last.optimiser)
            checkpoints.restore_optimiser(self.optimiser, state)

    def _is_over(self) -> bool:
        return self.config.plateau is not None and self.config.plateau.is_over(self.watched)

    def _learning(self) -> list[Task]:
        """The tasks whose heads are not frozen."""
        return [task for task in self.materials.tasks if task.name not in self.frozen]

    def _batches(self) -> Iterator[tuple[int, Batch]]:
        """(step from 1 on, batch), made ahead by other processes, until the run is over."""
        processes, first = self.fabric.world_size, self.fabric.global_rank
        numbers = range(self.start * processes + first, self.steps * processes, processes)
        loader: DataLoader[Batch] = DataLoader(
            self.dataset,
            sampler=takewhile(lambda _: not self._is_over(), numbers),
            batch_size=None,
            num_workers=self.config.workers,
            multiprocessing_context="spawn" if self.config.workers else None,
            prefetch_factor=4 if self.config.workers else None,
        )
        for step, batch in enumerate(loader, start=self.start + 1):
            if not self._is_over():  # what was made ahead is taken and left: a worker that is
                yield step, batch.to(self.fabric.device).changed()  # stopped at work aborts

    def _step(self, step: int, batch: Batch) -> None:
        """One update of the weights."""
        config = self.config
        rate = config.rate(step, self.steps, self.watched)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        torch.manual_seed(config.seed * 1_000_003 + step)  # of whatever the trunk draws
        self.losses.set_progress(step / self.steps)
        self.model.train(not self.freeze)
        outputs = self.model(batch.inputs, batch.lengths, batch.keep)
        parts = self.losses(outputs, batch.targets)
        total = self.losses.total(parts)
        if self.distil is not None:
            parts[PART] = self.distil(outputs.vector, batch.inputs, batch.lengths, batch.keep)
            total = total + self.recipe.distillation.weight * parts[PART]
        self.fabric.backward(total)
        # not before: of several processes all then share what is no number, and all tell of it
        check_finite("loss", total, step, config.learning_rate)
        if config.cosines_every is not None and step % config.cosines_every == 0:
            with self.fabric.autocast():
                read = self.plain_model.read
                found = gradient_cosines(
                    lambda vector: self.losses(read(vector), batch.targets), outputs.vector
                )
            self.journal.note(step, found)
        norm = self.fabric.clip_gradients(
            self.model, self.optimiser, max_norm=config.clip_norm, error_if_nonfinite=False
        )
        check_finite("gradient", norm, step, config.learning_rate)
        self.optimiser.step()
        self.optimiser.zero_grad()
        losses = {name: float(part.detach()) for name, part in parts.items()}
        self.journal.step(step, losses, rate, batch.speech_s * self.fabric.world_size)

    def _validate_and_save(self, step: int) -> None:
        if self.fabric.global_rank == 0:
            found = self._validate()
            judged = found
            if self.freeze:
                judged = found.of_heads([task.name for task in self._learning()])
            error = judged.error_of(self.config.chosen_by)
            best = error is None or error <= self.best  # nothing to choose by: the last is the best
            self.best = self.best if error is None else min(self.best, error)
            self.journal.validation(step, found, best)
            if (watched := judged.watched(self.config.chosen_by)) is not None:
                self.watched.append(watched)
            header = self._header(step, found)
            if header.calibration is None and (step == self.steps or self._is_over()):
                self.journal.say(
                    f"fewer than {MIN_VOICES} voices of several recordings to validate on: the "
                    "model has no calibration, and verify gives no verdict with it"
                )
            state = checkpoints.optimiser_tensors(self.optimiser) | self.distillation.tensors()
            if best:
                checkpoints.save(self.out / checkpoints.BEST, header, self.plain_model, {})
            checkpoints.save(self.out / LAST, header, self.plain_model, state)
        self.watched = self.fabric.broadcast(self.watched)

    def _validate(self) -> Validation:
        """On held-out voices, in float32 as the exported model computes: it is calibrated here."""
        found = validate(self.plain_model, self.materials.validation, self.materials.tasks)
        if self.dataset.lists is None:
            return found
        crops = self.dataset.of_crops(self.dataset.lists.monitor)
        return replace(found, monitor=watch(self.plain_model, crops, self.losses.answering))

    def _header(self, step: int, found: Validation) -> Header:
        parent = self.parent.header if self.parent else None
        # A run that goes on knows what its parent learnt from: the parent need not be named again.
        before = [each.header.data for each in (self.parent, self.last) if each is not None]
        # Scores keep their meaning only where the embedding is that of the parent.
        inherited = parent.calibration if parent and self.freeze else None
        return Header(
            recipe=self.recipe.model_dump(mode="json"),
            tasks={task.name: task.state() for task in self.materials.tasks},
            data=tuple(dict.fromkeys(chain(*before, self.materials.summary))),
            data_digest=self.materials.digest,
            calibration=found.calibration or inherited,
            step=step,
            best=None if math.isinf(self.best) else self.best,
            watched=tuple(self.watched),
            frozen=self.frozen,
            git_revision=self.revision,
        )
