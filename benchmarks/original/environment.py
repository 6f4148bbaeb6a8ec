"""``.venv-original``, in which the original's pipeline runs, with TensorFlow and librosa."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from environments import Environment

ORIGINAL = Environment(
    "original",
    Path(__file__).with_name("requirements.txt"),
    holds="TensorFlow: minutes, 2.5 GB",
)
