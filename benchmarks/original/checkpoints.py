"""Checkpoints of the original's networks with random weights, and what Keras computes with them.

Runs in ``.venv-original`` alone: ``checkpoints.py OUT RECORDING ...``. Writes ``features.npz``: the
loud part of each recording as ``wave_N``, its features ``whole_N`` and a crop of them ``crop_N``.
Writes the checkpoints of each network and ``NETWORK.npz``: every output for every item of features
as ``OUTPUT/ITEM``. Prints one line of JSON a checkpoint.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import network
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras
from features import crop, filter_banks, loud_part

SPEAKERS = 37
NETWORKS: dict[str, Callable[[ModuleType, int | None], Any]] = {
    "hive_mtl": lambda keras, frames: network.hive_mtl(keras, SPEAKERS, frames),
    "deep_speaker": network.deep_speaker,
    "deep_speaker_softmax": lambda keras, frames: network.deep_speaker_softmax(
        keras, SPEAKERS, frames
    ),
}
EMBEDDING = {"hive_mtl": "shared", "deep_speaker": "affine", "deep_speaker_softmax": "affine"}
HEADS = {
    "hive_mtl": {"speaker": "speaker_pred", "gender": "gender_pred"},
    "deep_speaker": {},
    "deep_speaker_softmax": {"speaker": "dense"},
}
LAYOUTS: dict[str, tuple[ModuleType, str]] = {
    "Keras 2, whole model": (tf_keras, "h5"),
    "Keras 2, weights": (tf_keras, "weights-only.h5"),
    "Keras 3, whole model": (keras, "h5"),
    "Keras 3, weights": (keras, "weights.h5"),
}
Floats = npt.NDArray[np.float32]
Weights = dict[str, list[Floats]]  # by layer


def speech(paths: list[Path], rng: np.random.Generator) -> dict[str, Floats]:
    """What ``features.npz`` holds."""
    arrays = {}
    for number, path in enumerate(paths):
        wave = loud_part(path)
        whole = filter_banks(wave)
        arrays[f"wave_{number}"], arrays[f"whole_{number}"] = wave, whole
        arrays[f"crop_{number}"] = crop(whole, network.CROP_FRAMES, rng)[..., 0]
    return arrays


def random_weights(model: Any, rng: np.random.Generator) -> Weights:
    """By layer, weights and statistics under which every layer has its say."""
    drawn = {}
    for layer in model.layers:
        weights = [np.asarray(weight) for weight in layer.get_weights()]
        if len(weights) == 4:  # of batch normalisation: scale, shift, mean, variance
            ranges = ((0.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.5, 2.0))
            new = [rng.uniform(*limits, weights[0].shape) for limits in ranges]
        elif weights:
            kernel, bias = weights
            spread = np.sqrt(2.0 / np.prod(kernel.shape[:-1]))
            new = [rng.normal(0, spread, kernel.shape), rng.normal(0, 0.05, bias.shape)]
        else:
            continue
        drawn[layer.name] = [weight.astype(np.float32) for weight in new]
    return drawn


def centre(name: str, weights: Weights, speech: Mapping[str, Floats]) -> None:
    """Takes from the embeddings what they share: random networks find all voices much alike."""
    model = with_weights(built(keras, name, network.CROP_FRAMES), weights)
    affine = keras.Model(model.input, model.get_layer("affine").output)
    crops = [crop for item, crop in speech.items() if item.startswith("crop_")]
    weights["affine"][1] -= np.mean(affine(np.stack(crops)[..., np.newaxis]), axis=0)


def with_weights(model: Any, weights: Weights) -> Any:
    for name, arrays in weights.items():
        model.get_layer(name).set_weights(arrays)
    return model


def built(library: ModuleType, name: str, frames: int | None) -> Any:
    """A network whose unnamed layers are named as if it were the only one."""
    library.backend.clear_session()
    return NETWORKS[name](library, frames)


def expected(
    name: str, weights: Weights, speech: Mapping[str, Floats]
) -> tuple[dict[str, Floats], float]:
    """What Keras 3 computes: by output and item of ``speech``, the embedding of unit norm.

    Beside it the share of activations at the ceiling: it has to be met, and not by most.
    """
    model = with_weights(built(keras, name, None), weights)
    layers = {"embedding": EMBEDDING[name], **HEADS[name]}
    outputs = {output: model.get_layer(layer).output for output, layer in layers.items()}
    heights = [layer.output for layer in model.layers if layer.name.startswith("lambda")]
    all_outputs = keras.Model(model.input, [*outputs.values(), *heights])
    found, clipped = {}, []
    for item, features in speech.items():
        if item.startswith("wave_"):
            continue
        values = [np.asarray(v) for v in all_outputs(features[np.newaxis, ..., np.newaxis])]
        clipped.append([np.mean(value == network.CEILING) for value in values[len(outputs) :]])
        values[0] = values[0] / np.linalg.norm(values[0])
        for output, value in zip(outputs, values, strict=False):
            found[f"{output}/{item}"] = value[0]
    return found, float(np.mean(clipped))


def save(name: str, layout: str, weights: Weights, out: Path) -> Path:
    """A checkpoint of crops of fixed length, as the original writes it."""
    library, ending = LAYOUTS[layout]
    path = out / f"{name}.{library.__name__}.{ending}"
    model = with_weights(built(library, name, network.CROP_FRAMES), weights)
    if layout.endswith("weights"):
        model.save_weights(path)
        return path
    # One that was being trained carries the state of its optimiser.
    model.compile(optimizer="adam", loss="mse")
    model.optimizer.build(model.trainable_variables)
    model.save(path)
    return path


def main(out: Path, recordings: list[Path]) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    rng = np.random.default_rng(0)
    arrays = speech(recordings, rng)
    np.savez(out / "features.npz", **arrays)
    for name in NETWORKS:
        weights = random_weights(built(keras, name, network.CROP_FRAMES), rng)
        centre(name, weights, arrays)
        outputs, clipped = expected(name, weights, arrays)
        np.savez(out / f"{name}.npz", **outputs)
        for layout in LAYOUTS:
            path = save(name, layout, weights, out)
            facts = {"network": name, "layout": layout, "path": str(path), "clipped": clipped}
            print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(word) for word in sys.argv[2:]])
