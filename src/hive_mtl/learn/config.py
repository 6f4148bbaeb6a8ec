"""Recipe -> typed configuration. One TOML file is one complete run.

Every part of the configuration sits beside its owner; it is assembled here, once. A key that nobody
knows is an error that names the nearest.
"""

import importlib.resources
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, field_validator, model_validator

from hive_mtl.audio import SAMPLE_RATE
from hive_mtl.errors import ConfigError
from hive_mtl.learn import backbones, losses
from hive_mtl.learn.augment import AugmentConfig
from hive_mtl.learn.backbones import TrunkConfig
from hive_mtl.learn.comparing import CompareConfig
from hive_mtl.learn.distillation import PART, DistillationConfig
from hive_mtl.learn.front_ends import FrontEnd, front_end_type
from hive_mtl.learn.kept import Features, Kept, Waves
from hive_mtl.learn.registry import suggestion
from hive_mtl.learn.sampler import BatchConfig
from hive_mtl.learn.schedules import Plateau, warm_up_and_cosine
from hive_mtl.learn.settings import parse
from hive_mtl.learn.tasks import TaskConfig, get_task

# of whole frames and hops
SampleRate = Annotated[int, Field(ge=8_000, le=SAMPLE_RATE, multiple_of=1_000)]


class DataConfig(BaseModel):
    """How recordings become training material."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    leave_out: tuple[str, ...] = ()  # corpora that are not learnt from
    labelled: str | None = None  # a task: what lacks its label is not learnt from; None: all is
    keep: Literal["waves", "features"] = "waves"  # what preparation keeps of a recording
    cache: Path | None = None  # folder of prepared corpora; None: the user's cache folder
    max_failures: int | None = Field(default=None, ge=0)  # unreadable recordings; None: any number


class TrainerConfig(BaseModel):
    """How long, how fast and on what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=10_000, ge=1)
    epochs: int | None = Field(default=None, ge=1)  # of listed crops, in place of steps
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = Field(default=2e-3, gt=0.0)
    plateau: Plateau | None = None  # None: the rate goes by warm-up and cosine
    warm_up: float = Field(default=0.05, ge=0.0, lt=1.0)  # fraction of the steps
    weight_decay: float = Field(default=0.05, ge=0.0)
    clip_norm: float = Field(default=5.0, gt=0.0)
    validate_every: int = Field(default=1_000, ge=1)  # steps, or an epoch where there are epochs
    workers: int = Field(default=1, ge=0)  # processes that make batches ahead
    devices: int = Field(default=1, ge=1)  # training processes, one a GPU where there are GPUs
    seed: int = Field(default=0, ge=0)
    # tasks whose figures on the validation voices choose the best checkpoint and end a plateau;
    # none: as hive_mtl.learn.validate.Validation.error says
    chosen_by: tuple[str, ...] = ()
    cosines_every: int | None = Field(default=None, ge=1)  # steps between gradient cosines
    refit_heads: bool = False  # at the end, see hive_mtl.learn.refit

    def rate(self, step: int, steps: int, watched: Sequence[float]) -> float:
        """Of a step of ``steps``, after the validations that found ``watched``."""
        if self.plateau is not None:
            return self.plateau.rate(self.learning_rate, watched)
        return self.learning_rate * warm_up_and_cosine(step, steps, self.warm_up)


class Recipe(BaseModel):
    """One complete run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    provisional: bool = False
    front_end: str = "log_mel"
    mels: int = Field(default=80, ge=1)
    sample_rate: SampleRate = SAMPLE_RATE
    trunk: SerializeAsAny[TrunkConfig] = Field(
        default_factory=lambda: backbones.parse_config("separable_tdnn")
    )
    tasks: dict[str, SerializeAsAny[TaskConfig]] = Field(min_length=1)
    data: DataConfig = DataConfig()
    batches: BatchConfig = BatchConfig()
    augment: AugmentConfig = AugmentConfig()
    distillation: DistillationConfig = DistillationConfig()
    trainer: TrainerConfig = TrainerConfig()
    compare: CompareConfig = CompareConfig()

    @field_validator("front_end")
    @classmethod
    def _check_front_end(cls, name: str) -> str:
        front_end_type(name)
        return name

    @field_validator("trunk", mode="before")
    @classmethod
    def _parse_trunk(cls, settings: Any) -> TrunkConfig:
        return backbones.parse_config(settings)

    @field_validator("tasks", mode="before")
    @classmethod
    def _parse_tasks(cls, settings: Any) -> Any:
        if not isinstance(settings, dict):
            return settings  # and pydantic says what it should be
        return {name: _parse_task(name, config) for name, config in settings.items()}

    @model_validator(mode="after")
    def _check_what_is_kept(self) -> "Recipe":
        """Only waves can be changed, and they are kept at one rate."""
        if self.data.keep == "features":
            speeds = any(getattr(task, "speeds", (1.0,)) != (1.0,) for task in self.tasks.values())
            if speeds or self.augment.changes_waves:
                raise ConfigError(
                    "data.keep = 'features' leaves no waves to change: leave out speeds and every "
                    "augmentation but frequency_masks and time_masks, or keep 'waves'"
                )
        elif self.sample_rate != SAMPLE_RATE:
            raise ConfigError(
                f"sample_rate = {self.sample_rate}: waves are kept at {SAMPLE_RATE} Hz: "
                "set data.keep = 'features' to train at another rate"
            )
        return self

    @model_validator(mode="after")
    def _check_names(self) -> "Recipe":
        if self.distillation.teachers and PART in self.tasks:
            raise ConfigError(
                f"tasks.{PART}: the loss of [distillation] has this name: call the column otherwise"
            )
        return self

    @model_validator(mode="after")
    def _check_chosen_by(self) -> "Recipe":
        for name in self.trainer.chosen_by:
            if name not in self.tasks:
                raise ConfigError(
                    f"trainer.chosen_by: no task '{name}' in the recipe"
                    f"{suggestion(name, self.tasks)}"
                )
        return self

    def make_front_end(self) -> FrontEnd:
        """Waveforms -> features."""
        return front_end_type(self.front_end)(self.mels, self.sample_rate)

    def kept(self) -> Kept:
        """The form in which recordings are kept for this run."""
        if self.data.keep == "features":
            return Features(self.front_end, self.mels, self.sample_rate)
        return Waves(front_end_type(self.front_end).trim)

    def what_decides(self) -> dict[str, Any]:
        """The settings that decide the weights: neither where the cache lies nor who helps."""
        aside: dict[str, Any] = {
            "data": {"cache", "max_failures"},
            "trainer": {"workers"},
            "compare": True,
        }
        return self.model_dump(mode="json", exclude=aside)


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
    return parse(Recipe, settings, origin)


def with_tasks(recipe: Recipe, names: Sequence[str]) -> Recipe:
    """The recipe with these tasks alone, set as it says or, where it has none, as by default."""
    settings = recipe.model_dump(mode="json")
    wanted = [name.strip() for name in names]
    tasks = settings["tasks"]
    settings["tasks"] = {name: {**tasks.get(name, {}), "required": True} for name in wanted}
    return parse_recipe(settings, "--tasks")


def _parse_task(name: str, settings: Any) -> TaskConfig:
    """A task as a recipe sets it, if its loss can teach it."""
    task, place = get_task(name), f"tasks.{name}"
    config = parse(task.Config, settings, place)
    fitting = [loss for loss in losses.known_losses() if task.can_learn_by(losses.loss_type(loss))]
    if config.loss is not None and config.loss.name not in fitting:
        raise ConfigError(
            f"{place}: cannot be learnt by the loss '{config.loss.name}': choose from "
            f"{', '.join(fitting)}"
        )
    return config


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
