"""Recipe -> typed configuration. One TOML file is one complete run.

Every part of the configuration sits beside its owner; it is assembled here, once. A key that nobody
knows is an error that names the nearest.
"""

import importlib.resources
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, field_validator

from hive_mtl.errors import ConfigError
from hive_mtl.learn import backbones
from hive_mtl.learn.augment import AugmentConfig
from hive_mtl.learn.backbones import TrunkConfig
from hive_mtl.learn.batches import BatchConfig
from hive_mtl.learn.registry import suggestion
from hive_mtl.learn.tasks import TaskConfig, get_task


class DataConfig(BaseModel):
    """How recordings become training material."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    leave_out: tuple[str, ...] = ()  # corpora that are not learnt from
    cache: Path | None = None  # folder of prepared corpora; None: the user's cache folder
    max_failures: int | None = Field(default=None, ge=0)  # unreadable recordings; None: any number


class TrainerConfig(BaseModel):
    """How long, how fast and on what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=10_000, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0.0)
    warm_up: float = Field(default=0.05, ge=0.0, lt=1.0)  # fraction of the steps
    weight_decay: float = Field(default=0.05, ge=0.0)
    clip_norm: float = Field(default=5.0, gt=0.0)
    validate_every: int = Field(default=1_000, ge=1)  # steps; a checkpoint is written as well
    workers: int = Field(default=1, ge=0)  # processes that make batches ahead
    devices: int = Field(default=1, ge=1)  # training processes, one a GPU where there are GPUs
    seed: int = Field(default=0, ge=0)


class Recipe(BaseModel):
    """One complete run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    provisional: bool = False
    mels: int = Field(default=80, ge=1)
    trunk: SerializeAsAny[TrunkConfig] = Field(
        default_factory=lambda: backbones.parse_config("separable_tdnn")
    )
    tasks: dict[str, SerializeAsAny[TaskConfig]] = Field(min_length=1)
    data: DataConfig = DataConfig()
    batches: BatchConfig = BatchConfig()
    augment: AugmentConfig = AugmentConfig()
    trainer: TrainerConfig = TrainerConfig()

    @field_validator("trunk", mode="before")
    @classmethod
    def _parse_trunk(cls, settings: Any) -> TrunkConfig:
        return backbones.parse_config(settings)

    @field_validator("tasks", mode="before")
    @classmethod
    def _parse_tasks(cls, settings: dict[str, Any]) -> dict[str, TaskConfig]:
        return {
            name: get_task(name).Config.model_validate(config) for name, config in settings.items()
        }


def known_recipes() -> list[str]:
    """The recipes that the package carries."""
    folder = importlib.resources.files("hive_mtl.learn.recipes")
    return sorted(file.name[:-5] for file in folder.iterdir() if file.name.endswith(".toml"))


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe of the package by name, or any TOML file by path.

    Args:
        name_or_path: such as ``unified`` or ``my/recipe.toml``.
        overrides: ``key=value`` with dots in the key, such as ``trainer.steps=500``.

    Raises:
        ConfigError: no such recipe, not TOML, or a key or value that is not allowed.
    """
    settings = _read(name_or_path)
    for override in overrides:
        _apply(settings, override)
    return parse_recipe(settings, name_or_path)


def parse_recipe(settings: dict[str, Any], origin: str) -> Recipe:
    """Settings as read from TOML or JSON -> recipe; ``origin`` is named in errors."""
    try:
        return Recipe.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {_explain(error)}") from error


def _read(name_or_path: str) -> dict[str, Any]:
    try:
        if name_or_path in known_recipes():
            folder = importlib.resources.files("hive_mtl.learn.recipes")
            return tomllib.loads((folder / f"{name_or_path}.toml").read_text("utf-8"))
        if not name_or_path.endswith(".toml"):
            choices = suggestion(name_or_path, known_recipes())
            raise ConfigError(f"unknown recipe '{name_or_path}'{choices}, or give a .toml file")
        return tomllib.loads(Path(name_or_path).read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{name_or_path}: cannot be read ({error.strerror}): check the path"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name_or_path}: not a TOML file ({error}): correct it there") from error


def _apply(settings: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {override}: write key=value, such as trainer.steps=500")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is text
    *path, last = key.strip().split(".")
    for part in path:
        inner = settings.setdefault(part, {})
        if not isinstance(inner, dict):  # such as trunk = "rescnn": a bare name
            inner = settings[part] = {"name": inner}
        settings = inner
    settings[last] = value


def _explain(error: ValidationError) -> str:
    """The first problem in one line, with the nearest key where a key is unknown."""
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        given = "" if problem["type"] == "missing" else f" (given: {problem['input']!r})"
        message = problem["msg"].removeprefix("Value error, ")
        return f"{key}: {message[0].lower()}{message[1:]}{given}" if key else message
    owner = _owner(error.title, problem["loc"][:-1])
    choices = suggestion(str(problem["loc"][-1]), sorted(owner.model_fields)) if owner else ""
    return f"unknown key '{key}'{choices}"


def _owner(title: str, path: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The configuration that a path into a recipe leads to."""
    owners = {c.__name__: c for c in _subclasses(BaseModel) if c.__module__.startswith("hive_mtl.")}
    owner = owners.get(title)
    for part in path:
        field = owner.model_fields.get(str(part)) if owner else None
        annotation = field.annotation if field else None
        owner = (
            annotation
            if isinstance(annotation, type) and issubclass(annotation, BaseModel)
            else None
        )
    return owner


def _subclasses(cls: type[BaseModel]) -> list[type[BaseModel]]:
    return [inner for sub in cls.__subclasses__() for inner in [sub, *_subclasses(sub)]]
