"""Settings -> typed configuration, or one line that says which setting is wrong and why."""

from types import ModuleType
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ValidationError

from hive_mtl.errors import ConfigError
from hive_mtl.learn.registry import member, names, suggestion

Config = TypeVar("Config", bound=BaseModel)


def _rising(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] > span[1]:
        raise ValueError("should be the lowest and the highest, in this order")
    return span


Rising = AfterValidator(_rising)
Span = Annotated[tuple[float, float], Rising]
"""Lowest and highest of what is drawn."""


def parse(config: type[Config], settings: Any, place: str) -> Config:
    """Settings as read from TOML or JSON -> ``config``.

    Args:
        config: its validators may raise ConfigError for what they parse themselves.
        settings: a dictionary, or what should have been one.
        place: where they stand, such as a file or ``loss 'aam'``; begins the message.

    Raises:
        ConfigError: a key or value that is not allowed; an unknown key names the nearest.
    """
    try:
        return config.model_validate(settings)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"{place}: {_explain(error, config)}") from error


def parse_member(package: ModuleType, settings: Any, kind: str) -> Any:
    """What a recipe says of a member, ``"aam"`` or ``{name = "aam", margin = 0.3}``, as its Config.

    Raises:
        ConfigError: no name, a name that is no member, or a setting that the member refuses.
    """
    if isinstance(settings, BaseModel):
        return settings
    settings = {"name": settings} if isinstance(settings, str) else settings
    if not isinstance(settings, dict) or not isinstance(settings.get("name"), str):
        raise ConfigError(f"a {kind} needs a name{suggestion('', names(package))}")
    name = settings["name"]
    config: type[BaseModel] = member(package, name, kind).Config
    return parse(config, settings, f"{kind} '{name}'")


def _explain(error: ValidationError, config: type[BaseModel]) -> str:
    """The first problem in one line."""
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    problem = problems[0]  # a misspelt key explains why the right one is missing
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        given = "" if problem["type"] == "missing" else f" (given: {problem['input']!r})"
        message = problem["msg"].removeprefix("Value error, ")
        message = f"{message[0].lower()}{message[1:]}{given}"
        return f"{key}: {message}" if key else message
    *path, unknown = problem["loc"]
    return f"unknown key '{key}'{suggestion(str(unknown), _keys(config, path))}"


def _keys(config: type[BaseModel], path: list[int | str]) -> list[str]:
    """The keys of the configuration at ``path`` inside ``config``."""
    for part in path:
        annotation = config.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        config = annotation
    return sorted(config.model_fields)
