"""Front ends: one file is one way from waveforms to features.

A front-end module has a class ``FrontEnd`` derived from
:class:`hive_mtl.learn.front_ends._base.FrontEnd`. It is part of the exported model, so there is one
definition for training, export and use.
"""

import sys

from hive_mtl.learn import registry
from hive_mtl.learn.front_ends._base import FrontEnd

__all__ = ["FrontEnd", "front_end_type", "known_front_ends"]


def known_front_ends() -> list[str]:
    """The front ends there are."""
    return registry.names(sys.modules[__name__])


def front_end_type(name: str) -> type[FrontEnd]:
    """The class of a front end, made as ``FrontEnd(mels, sample_rate)``.

    Raises:
        ConfigError: no such front end; the message names the nearest.
    """
    found: type[FrontEnd] = registry.member(sys.modules[__name__], name, "front end").FrontEnd
    return found
