"""Trunks: one file is one trunk with its configuration.

A trunk module has a class ``Config`` (pydantic, with ``name`` naming the file and
``embedding_dim``) and a class ``Trunk`` derived from ``TrunkNetwork`` and made as
``Trunk(config, mels)`` whose ``forward`` maps features ``(batch, mels, frames)`` and their frame
counts ``(batch,)`` to ``(batch, embedding_dim)``, whatever stands beyond the end of an utterance.
"""

import sys
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from hive_mtl.learn import registry
from hive_mtl.learn.settings import parse_member


class TrunkConfig(BaseModel):
    """What every trunk is configured by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    embedding_dim: int = Field(default=192, ge=2)


class TrunkNetwork(nn.Module):
    """Features -> embedding (not yet normalised to unit length).

    ``heads_read`` says what the heads are given: "unit", the embedding brought to the same length
    for every utterance, or "raw", what the trunk puts out.
    """

    heads_read: ClassVar[Literal["unit", "raw"]] = "unit"


def parse_config(settings: TrunkConfig | dict[str, Any] | str) -> TrunkConfig:
    """A trunk as a recipe writes it -> its config."""
    config: TrunkConfig = parse_member(sys.modules[__name__], settings, "trunk")
    return config


def make(config: TrunkConfig, mels: int) -> TrunkNetwork:
    """The trunk of a config, reading features of ``mels`` bands."""
    trunk: TrunkNetwork = registry.member(sys.modules[__name__], config.name, "trunk").Trunk(
        config, mels
    )
    return trunk
