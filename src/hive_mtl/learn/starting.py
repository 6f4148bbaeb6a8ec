"""How a run begins: anew, from its own last checkpoint, or from another model."""

from collections.abc import Hashable, Sequence
from importlib.resources import files
from pathlib import Path

from torch import Tensor, nn

from hive_mtl.errors import ConfigError, DataError, HiveError, ModelError
from hive_mtl.learn import checkpoint as checkpoints
from hive_mtl.learn.checkpoint import Checkpoint
from hive_mtl.learn.config import Recipe, parse_recipe
from hive_mtl.learn.materials import Materials
from hive_mtl.learn.model import UnifiedModel
from hive_mtl.learn.slim import SLIM
from hive_mtl.learn.tasks import Task

LAST = "last.safetensors"  # of a run folder: what it goes on from
PRETRAINED = "pretrained"  # in place of a checkpoint: the one that ships with the package
FEATURES = ("front_end", "mels", "sample_rate")  # the settings that decide what a trunk reads


def checkpoint_to_resume(out: Path, resume: bool) -> Checkpoint | None:
    """The last checkpoint of a run folder; None where there is none and the run begins."""
    path = out / LAST
    if not path.is_file():
        return None
    if not resume:
        raise ConfigError(
            f"{out}: holds a run already: go on with --resume, or choose another --out"
        )
    return checkpoints.load(path)


def checkpoint_to_start_from(path: str | Path | None, freeze: bool) -> Checkpoint | None:
    """The model whose weights to start from, if one is named.

    The word 'pretrained' names the one that ships; a folder of that name is './pretrained', or a
    :class:`Path`.
    """
    if path is None and freeze:
        raise ConfigError("--freeze keeps the weights of another model: name it with --from")
    if path is None:
        return None
    return checkpoints.load(_shipped() if path == PRETRAINED else Path(path))


def _shipped() -> Path:
    path = Path(str(files("hive_mtl") / "use" / "pretrained" / SLIM))
    if not path.is_file():
        raise ModelError(
            "--from pretrained: this installation ships no weights to start from: give a run "
            "folder or a .safetensors (a folder called 'pretrained' is ./pretrained)"
        )
    return path


def with_trunk_of(recipe: Recipe, parent: Checkpoint, freeze: bool) -> Recipe:
    """The recipe with the parent's trunk and features, and its tasks too where those are frozen.

    Raises:
        ConfigError: they do not go together, or freezing leaves nothing to learn.
    """
    settings = {name: getattr(parent.recipe, name) for name in ("trunk", *FEATURES)}
    if freeze:
        if set(recipe.tasks) <= set(parent.header.tasks):
            raise ConfigError(
                f"--freeze: the model has all of the tasks {', '.join(recipe.tasks)}: "
                "name a new label column with --tasks"
            )
        kept = {n: task for n, task in parent.recipe.tasks.items() if n in parent.header.tasks}
        settings["tasks"] = {**recipe.tasks, **kept}
    together = recipe.model_copy(update=settings).model_dump(mode="json")
    return parse_recipe(together, "the recipe with the network of --from")


def teachers_of(recipe: Recipe, freeze: bool) -> list[UnifiedModel]:
    """The networks that a recipe has for teachers, without their heads.

    Raises:
        ConfigError: one cannot be read or reads other features, or there is nobody to teach.
    """
    if recipe.distillation.teachers and freeze:
        raise ConfigError(
            "--freeze keeps the embedding, and teachers would change it: leave out [distillation]"
        )
    return [_teacher(path, recipe) for path in recipe.distillation.teachers]


def _teacher(path: Path, recipe: Recipe) -> UnifiedModel:
    try:
        found = checkpoints.load(path)
        theirs, model = found.recipe, found.model()
    except HiveError as error:
        raise ConfigError(f"distillation.teachers: {error}") from error
    for name in FEATURES:
        its, ours = getattr(theirs, name), getattr(recipe, name)
        if its != ours:
            raise ConfigError(
                f"distillation.teachers: {path}: {name} = {its!r} where the recipe has {ours!r}: "
                "choose a teacher that reads the features of its student"
            )
    model.heads.clear()
    return model


def inherit(model: UnifiedModel, parent: Checkpoint, tasks: Sequence[Task]) -> dict[str, list[int]]:
    """Trunk weights, and those of the heads for every class that the parent knows as well.

    Returns:
        By task, the outputs of its head that the parent says nothing of.
    """
    weights = {n: w for n, w in parent.weights.items() if not n.startswith("heads.")}
    before = {task.name: task.meanings for task in parent.tasks()}
    theirs = parent.model().heads
    unknown = {}
    for task in tasks:
        head, prefix = model.heads[task.name], f"heads.{task.name}."
        of_outputs = f"{len(head) - 1}." if isinstance(head, nn.Sequential) else ""
        unknown[task.name] = list(range(task.outputs))
        if task.name not in before or not _alike(head, theirs[task.name], of_outputs):
            continue
        for name, new in head.state_dict().items():
            old = parent.weights[prefix + name]
            if name.startswith(of_outputs):
                known, wanted = before[task.name], task.meanings
                weights[prefix + name], unknown[task.name] = _carried(old, known, new, wanted)
            else:
                weights[prefix + name] = old
    model.load_state_dict(weights, strict=False)
    return unknown


def _alike(one: nn.Module, other: nn.Module, of_outputs: str) -> bool:
    """Whether two heads are of one form, whatever their outputs."""

    def form(head: nn.Module) -> list[object]:
        weights = head.state_dict().items()
        inner = [(name, each.shape) for name, each in weights if not name.startswith(of_outputs)]
        return [*(type(part) for part in head.modules()), *inner]

    return form(one) == form(other)


def _carried(
    old: Tensor, known: Sequence[Hashable], new: Tensor, wanted: Sequence[Hashable]
) -> tuple[Tensor, list[int]]:
    """``new`` with the rows of ``old`` for the outputs that both have; which outputs had none.

    ``old`` and ``new`` are ``(outputs * rows, ...)``: a class may have several centres. Where their
    forms differ in anything but the number of outputs, it is ``new``.
    """
    if old.shape[1:] != new.shape[1:] or len(old) * len(wanted) != len(new) * len(known):
        return new, list(range(len(wanted)))
    place = {meaning: row for row, meaning in enumerate(known)}
    shared = [row for row, meaning in enumerate(wanted) if meaning in place]
    there = [place[wanted[row]] for row in shared]
    carried = new.clone().view(len(wanted), -1, *new.shape[1:])
    carried[shared] = old.view(len(known), -1, *old.shape[1:])[there]
    left = [row for row, meaning in enumerate(wanted) if meaning not in place]
    return carried.view_as(new), left


def check_same(
    last: Checkpoint, recipe: Recipe, materials: Materials, frozen: Sequence[str]
) -> None:
    """A run goes on only as what it was."""
    if last.header.frozen is not None and set(last.header.frozen) != set(frozen):
        told = "with --freeze, and the same --from" if last.header.frozen else "without --freeze"
        raise ConfigError(f"--resume: the run began {told}: go on with it so")
    if last.recipe.what_decides() != recipe.what_decides():
        raise ConfigError("--resume: the recipe differs from that of the run: choose another --out")
    same_tasks = last.header.tasks == {task.name: task.state() for task in materials.tasks}
    if not same_tasks or last.header.data_digest not in (None, materials.digest):
        raise DataError(
            "--resume: the data differs from that of the run, and its order counts too: give each "
            "--data as it was, or choose another --out"
        )
