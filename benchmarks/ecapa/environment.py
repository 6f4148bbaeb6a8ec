"""``.venv-ecapa``, which holds SpeechBrain, and its network among Hive-MTL's trunks."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from environments import Environment

SPEECHBRAIN = Environment(
    "ecapa",
    Path(__file__).with_name("requirements.txt"),
    holds="SpeechBrain: seconds, 30 MB",
    options=("--no-deps",),
)


def add_trunk() -> None:
    """Makes ``ecapa_tdnn`` a trunk of this process: trunks are the modules on a package's path."""
    from hive_mtl.learn import backbones

    SPEECHBRAIN.ready()
    backbones.__path__.append(str(Path(__file__).with_name("trunks")))
