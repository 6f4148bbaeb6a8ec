"""Open sets: a folder is the set, a file in it is a member.

Trunks, losses, tasks and corpora are found by the name of their file, so that adding a member never
touches a list. Modules are imported only when they are asked for.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType

from hive_mtl.errors import ConfigError


def names(package: ModuleType) -> list[str]:
    """The members of ``package``: its modules, less those whose name starts with an underscore."""
    return sorted(
        module.name
        for module in pkgutil.iter_modules(package.__path__)
        if not module.name.startswith("_")
    )


def member(package: ModuleType, name: str, kind: str) -> ModuleType:
    """The module of the member ``name``.

    Raises:
        ConfigError: no such member; the message names the nearest and all choices.
    """
    choices = names(package)
    if name not in choices:
        raise ConfigError(f"unknown {kind} '{name}'{suggestion(name, choices)}")
    return importlib.import_module(f"{package.__name__}.{name}")


def suggestion(word: str, choices: Iterable[str]) -> str:
    """The end of an error message: the nearest choice, if any is near, and all of them."""
    choices = list(choices)
    near = difflib.get_close_matches(word, choices, n=1)
    hint = f": did you mean '{near[0]}'?" if near else ":"
    return f"{hint} choose from {', '.join(choices)}"
