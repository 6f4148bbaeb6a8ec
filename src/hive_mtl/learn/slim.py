"""A model without what only its training needed: small, and still good to learn on from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hive_mtl.learn.checkpoint import Checkpoint, save_weights

SLIM = "model.safetensors"  # beside the model.onnx of the same network
WORTH_HALVING = 1024  # numbers; in smaller weights there is little to save
HALVING_COSTS = 5e-4  # of the norm, at most: float16 rounds to 2 ** -11, unless out of its range


def halved(weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A large kernel or matrix in float16, if that only rounds it; anything else as it is.

    Statistics, biases and gains are vectors: small, and the rest is scaled by them.
    """
    if weight.dtype != np.float32 or weight.ndim < 2 or weight.size <= WORTH_HALVING:
        return weight
    with np.errstate(over="ignore"):
        half = weight.astype(np.float16)
    lost = np.linalg.norm(half.astype(np.float32) - weight)
    return half if lost <= HALVING_COSTS * np.linalg.norm(weight) else weight


def without_speakers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights less the speaker classifier: it is large and knows the training voices only."""
    return {name: w for name, w in weights.items() if not name.startswith("heads.speaker.")}


def save_slim(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint for others to start from.

    It has no speaker classifier, and its large weights are in float16. Nor does it name the folders
    of the machine that made it.
    """
    header, recipe = checkpoint.header, checkpoint.recipe
    anywhere = recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update={"cache": None}),
            "augment": recipe.augment.model_copy(update={"noises": None, "rooms": None}),
            "distillation": recipe.distillation.anywhere(),
        }
    )
    tasks = {name: state for name, state in header.tasks.items() if name != "speaker"}
    slim = header.model_copy(update={"recipe": anywhere.model_dump(mode="json"), "tasks": tasks})
    weights = {
        name: torch.from_numpy(halved(weight.detach().cpu().numpy()))
        for name, weight in without_speakers(checkpoint.weights).items()
    }
    save_weights(path, slim, weights)
