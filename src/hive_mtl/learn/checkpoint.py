"""A checkpoint is one safetensors file that describes itself.

Its tensors are the weights and, for a run that goes on, the optimiser's state; recipe, tasks (with
their classes), data summary and progress are JSON in its header. One file replaces the other in
one step, so a run that is killed while it saves keeps its last checkpoint. Nothing is unpickled.
"""

import errno
import hashlib
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hive_mtl.atomic import atomic_write
from hive_mtl.description import Calibration, DataSummary
from hive_mtl.errors import ModelError
from hive_mtl.learn.config import Recipe, parse_recipe
from hive_mtl.learn.model import UnifiedModel, make_heads
from hive_mtl.learn.tasks import Task, get_task

HEADER_KEY = "hive_mtl"
OPTIMISER_PREFIX = "optimiser/"
BEST = "best.safetensors"  # of a run folder


class Header(BaseModel):
    """The JSON of a checkpoint."""

    # A recipe may say 'inf', which JSON does not have; left to itself it would become null.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    format: Literal[1] = 1
    recipe: dict[str, Any]
    tasks: dict[str, dict[str, Any]]  # by name, the state of each task
    data: tuple[DataSummary, ...] = ()
    data_digest: str | None = None  # names what is learnt from; None in older checkpoints
    calibration: Calibration | None = None
    step: int = 0
    best: float | None = None  # the lowest validation error so far
    watched: tuple[float, ...] = ()  # where a plateau is looked for: one figure a validation
    # tasks whose heads the run leaves as they are, and the trunk too; None in older checkpoints
    frozen: tuple[str, ...] | None = None
    # by task, how strongly its head was held when it was fitted again (hive_mtl.learn.refit); None:
    # that was not done
    refitted: dict[str, float] | None = None
    git_revision: str = "unknown"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory.

    ``optimiser`` is what only a run that goes on needs: the state of the optimiser and, where it
    has teachers, the maps to them.
    """

    header: Header
    weights: dict[str, Tensor]
    optimiser: dict[str, Tensor]

    @property
    def recipe(self) -> Recipe:
        """The recipe of the run."""
        return parse_recipe(self.header.recipe, "recipe of the checkpoint")

    def tasks(self) -> list[Task]:
        """The fitted tasks."""
        tasks = [get_task(name) for name in self.header.tasks]
        for task in tasks:
            task.restore(self.header.tasks[task.name])
        return tasks

    def model(self) -> UnifiedModel:
        """The network with these weights, in evaluation mode.

        Raises:
            ModelError: the weights are those of another network than the recipe's.
        """
        recipe, tasks = self.recipe, self.tasks()
        heads = make_heads(recipe.tasks, tasks, recipe.trunk.embedding_dim)
        model = UnifiedModel(recipe.make_front_end(), recipe.trunk, heads)
        try:
            model.load_state_dict(self.weights)
        except RuntimeError as error:
            raise ModelError(
                f"checkpoint '{recipe.name}': its weights do not fit its recipe: "
                "use the version of hive-mtl that made it"
            ) from error
        return model.eval()


def save(path: Path, header: Header, model: UnifiedModel, optimiser: dict[str, Tensor]) -> None:
    """Writes a checkpoint; ``optimiser`` is empty for one that will not be resumed."""
    save_weights(path, header, model.state_dict(), optimiser)


def save_weights(
    path: Path,
    header: Header,
    weights: Mapping[str, Tensor],
    optimiser: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes a checkpoint of a network that is not at hand; float16 is read back as float32."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    tensors |= {
        OPTIMISER_PREFIX + name: tensor.cpu().contiguous()
        for name, tensor in (optimiser or {}).items()
    }
    with atomic_write(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode  # as other files: what save_file makes is its owner's alone
        try:
            save_file(tensors, temporary, {HEADER_KEY: header.model_dump_json()})
            temporary.chmod(mode)
        except SafetensorError as error:  # the only way in which it tells of a full disk
            raise OSError(errno.ENOSPC, str(error), str(temporary)) from error


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint: a safetensors file, the best one of a run, or that beside a model.onnx.

    Raises:
        ModelError: there is none, it is damaged, or it is not of Hive-MTL.
    """
    path = _in_folder(path) if path.is_dir() else path
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise ModelError(
            f"{path}: no such checkpoint: give a run folder or its .safetensors"
        ) from error
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path}: not a whole safetensors file ({error}): copy it again"
        ) from error
    if HEADER_KEY not in metadata:
        raise ModelError(f"{path}: not a checkpoint of Hive-MTL: its header has no '{HEADER_KEY}'")
    try:
        header = Header.model_validate_json(metadata[HEADER_KEY])
    except ValidationError as error:
        raise ModelError(f"{path}: its header is not understood: update hive-mtl") from error
    optimiser = {
        name.removeprefix(OPTIMISER_PREFIX): tensor
        for name, tensor in tensors.items()
        if name.startswith(OPTIMISER_PREFIX)
    }
    weights = {
        name: tensor.float() if tensor.dtype == torch.float16 else tensor
        for name, tensor in tensors.items()
        if not name.startswith(OPTIMISER_PREFIX)
    }
    return Checkpoint(header, weights, optimiser)


def _in_folder(folder: Path) -> Path:
    best, shipped = folder / BEST, folder / "model.safetensors"
    return shipped if shipped.is_file() and not best.is_file() else best


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimiser as named tensors, such as ``3/exp_avg``."""
    state = optimiser.state_dict()["state"]
    return {
        f"{index}/{name}": value for index, inner in state.items() for name, value in inner.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of :func:`optimiser_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split("/")
        state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """Twelve hexadecimal digits that name a set of weights."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def git_revision() -> str:
    """The revision of the source tree this runs from, or 'unknown' for an installed package.

    A '+' behind it says that the source had changed since.
    """
    here = Path(__file__).parent

    def git(*command: str) -> subprocess.CompletedProcess[str]:
        unlocked = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # somebody may be committing
        return subprocess.run(
            ["git", *command], cwd=here, capture_output=True, text=True, check=False, env=unlocked
        )

    try:  # asks for this file as well: the repository may be another, with an environment inside
        found = git("rev-parse", "HEAD", f"HEAD:./{Path(__file__).name}")
        if found.returncode:
            return "unknown"
        changed = git("status", "--porcelain", "--", str(here.parent)).stdout
    except OSError:
        return "unknown"
    return found.stdout[:12] + "+" * bool(changed)
