"""The tiny model with a calibration by which it tells a few voices apart."""

from pathlib import Path

from tiny_model import CALIBRATION, description, save_tiny_model

ANN, BOB, STRANGER = 7, 1, 8  # seeds of voices whose tiny embeddings differ more than others
SHARP = CALIBRATION.model_copy(update={"weights": {"score": 1000.0}, "intercept": -995.0})
"""For the tiny model, to which all voices are much alike."""


def save_sharp_model(path: Path, name: str = "tiny", seed: int = 0) -> Path:
    said = description(name=name, model_id=f"{name}-0123456789ab", calibration=SHARP)
    return save_tiny_model(path, said.model_dump_json(), seed=seed)
