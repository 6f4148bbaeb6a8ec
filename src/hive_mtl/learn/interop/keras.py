"""Checkpoints of the original Hive-MTL and of Deep Speaker, as Keras writes them, as ours.

A kernel of Keras is ``(time, frequency, in, out)``. Its convolutions have biases, which ours leave
to the batch normalisation behind them. The original's sigmoid for 'female' is a softmax over two
classes, the second of which always has 0.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hive_mtl.errors import ConfigError, DataError, ModelError
from hive_mtl.learn import checkpoint as checkpoints
from hive_mtl.learn.backbones.rescnn import BLOCKS, Config
from hive_mtl.learn.checkpoint import Checkpoint, Header
from hive_mtl.learn.config import parse_recipe
from hive_mtl.learn.export import export_onnx
from hive_mtl.learn.interop._hdf5 import Layers, read_layers

HIVE_MTL = Config()
DEEP_SPEAKER = Config(embedding_dim=512, affine_dim=0)
MELS = 64
POOLED = 4 * 512  # mels and channels that are left
SPEAKER_TASK = 1024  # units between the embedding and the original's speakers
CORPUS = "librispeech"  # whose speakers the original knows by number
GENDERS = ("female", "male")

Weights = dict[str, Tensor]  # by name in a state dict


def import_keras(checkpoint: Path, speakers: Path | None, out: Path) -> Path:
    """Takes over a checkpoint: writes ours and its ONNX model into the folder ``out``.

    Args:
        checkpoint: see :func:`read_keras`.
        speakers: a text file with the names of the speakers in the order of their classes, one a
            line; None for a network that does not classify speakers.
        out: a folder that holds no run.

    Returns:
        ``out``, which serves as the folder of a run.

    Raises:
        HiveError: the checkpoint or the names are not as they should be, or ``out`` holds a run.
    """
    if (out / checkpoints.BEST).exists():
        raise ConfigError(f"{out}: holds a run already: choose another --out")
    found = read_keras(checkpoint, None if speakers is None else _read_names(speakers))
    out.mkdir(parents=True, exist_ok=True)
    checkpoints.save(out / checkpoints.BEST, found.header, found.model(), {})
    export_onnx(found, out / "model.onnx")
    return out


def read_keras(path: Path, speakers: Sequence[str] | None = None) -> Checkpoint:
    """A Keras checkpoint as one of ours: the trunk ``rescnn`` and the heads that there are.

    Args:
        path: HDF5, in either layout: the original's network with or without its heads, or Deep
            Speaker's with or without the softmax that it is pre-trained with.
        speakers: the names of the speakers in the order of their classes, for a network that
            classifies them; one without a slash is a speaker of LibriSpeech.

    Raises:
        ModelError: it is no such checkpoint, or the names are not those of its classes.
    """
    layers = _Layers(path, _named(read_layers(path)))
    trunk = HIVE_MTL if "shared" in layers.left else DEEP_SPEAKER
    tasks = {}
    if "gender_pred" in layers.left:
        tasks["gender"] = _state(GENDERS)
    if voices := _voices(path, layers.units("speaker_pred"), speakers):
        tasks["speaker"] = {**_state(voices), "speeds": [1.0]}
    weights = {**_trunk_weights(layers, trunk), **_head_weights(layers, trunk)}
    layers.check_none_left()
    return Checkpoint(Header(recipe=_recipe(trunk), tasks=tasks), weights, {})


class _Layers:
    """The layers of a checkpoint, taken from it one by one."""

    def __init__(self, path: Path, layers: Layers) -> None:
        self.path, self.left = path, layers

    def units(self, name: str) -> int:
        """The width of a dense layer; 0 where there is none of this name."""
        return self.left[name][-1].size if name in self.left else 0

    def take(self, name: str, *shapes: tuple[int, ...]) -> list[Tensor]:
        """The weights of a layer, which has to have these shapes."""
        if name not in self.left:
            raise ModelError(f"{self.path}: has no layer '{name}': {_WANTED}")
        arrays = self.left.pop(name)
        if [array.shape for array in arrays] != list(shapes):
            found = ", ".join(str(array.shape) for array in arrays)
            wanted = ", ".join(str(shape) for shape in shapes)
            raise ModelError(f"{self.path}: layer '{name}' is {found}, not {wanted}: {_WANTED}")
        return [torch.from_numpy(array.astype(np.float32)) for array in arrays]

    def check_none_left(self) -> None:
        """Half a network is not taken for a whole one."""
        for name in self.left:
            raise ModelError(f"{self.path}: has a layer '{name}' that is not known: {_WANTED}")


_WANTED = "give a checkpoint of the original Hive-MTL or of Deep Speaker"


class _Convolution(NamedTuple):
    """One convolution: its name in Keras and in our state dict, and the shape of its kernel."""

    name: str
    ours: str
    kernel: tuple[int, int, int, int]


def _convolutions(config: Config) -> Iterator[_Convolution]:
    """In the order of the network; each has a batch normalisation ``NAME_bn`` behind it."""
    channels_in = 1
    for stage, channels in enumerate(config.channels):
        ours = f"trunk.stages.{stage}"
        kernel = (5, 5, channels_in, channels)
        yield _Convolution(f"conv{channels}-s", f"{ours}.halve", kernel)
        for block in range(BLOCKS):
            for half, which in (("2a", "first"), ("2b", "second")):
                name = f"res{stage + 1}_{block}_branch_{half}"
                kernel = (3, 3, channels, channels)
                yield _Convolution(name, f"{ours}.blocks.{block}.{which}", kernel)
        channels_in = channels


def _named(layers: Layers) -> Layers:
    """The layers by the original's names, which some files leave out; unknown ones keep theirs."""
    names = [convolution.name for convolution in _convolutions(HIVE_MTL)]
    normalisations = [f"{name}_bn" for name in names]
    if "conv2d" in layers:
        layers = _named_by_order(layers, names, normalisations)
    others = layers.keys() - {*names, *normalisations, "affine"}
    if "affine" in layers and len(others) == 1 and others != {"shared"}:
        # Deep Speaker gives its classes no name.
        layers = {"speaker_pred" if name in others else name: layers[name] for name in layers}
    return layers


def _named_by_order(layers: Layers, names: list[str], normalisations: list[str]) -> Layers:
    dense = {kind: arrays[0].shape for kind, arrays in layers.items() if arrays[0].ndim == 2}
    gender = [kind for kind, shape in dense.items() if shape[1] == 1]
    others = [kind for kind in dense if kind not in gender]
    order = ["affine", "shared", "speaker_task", "speaker_pred"]
    if len(others) == 2 and dense[others[1]][1] != HIVE_MTL.embedding_dim:
        order = ["affine"]  # of Deep Speaker, with its classes
    pairs = [
        *zip((kind for kind in layers if layers[kind][0].ndim == 4), names, strict=False),
        *zip((kind for kind in layers if len(layers[kind]) == 4), normalisations, strict=False),
        *zip(gender, ["gender_pred"], strict=False),
        *zip(others, order, strict=False),
    ]
    known = dict(pairs)
    return {known.get(kind, kind): arrays for kind, arrays in layers.items()}


def _trunk_weights(layers: _Layers, config: Config) -> Weights:
    weights: Weights = {}
    for name, ours, shape in _convolutions(config):
        channels = (shape[-1],)
        kernel, bias = layers.take(name, shape, channels)
        scale, shift, mean, variance = layers.take(f"{name}_bn", *[channels] * 4)
        weights |= {
            f"{ours}.0.weight": kernel.permute(3, 2, 0, 1),
            f"{ours}.1.weight": scale,
            f"{ours}.1.bias": shift,
            f"{ours}.1.running_mean": mean - bias,
            f"{ours}.1.running_var": variance,
            f"{ours}.1.num_batches_tracked": torch.tensor(0),
        }
    weights |= _linear(layers, "affine", "trunk.affine", POOLED, 512)
    if config.affine_dim:
        weights |= _linear(layers, "shared", "trunk.shared", 512, config.embedding_dim)
    return weights


def _head_weights(layers: _Layers, config: Config) -> Weights:
    weights: Weights = {}
    dim, speakers = config.embedding_dim, layers.units("speaker_pred")
    if speakers and config == DEEP_SPEAKER:
        weights |= _linear(layers, "speaker_pred", "heads.speaker", dim, speakers)
    elif speakers:
        weights |= _linear(layers, "speaker_task", "heads.speaker.0", dim, SPEAKER_TASK)
        weights |= _linear(layers, "speaker_pred", "heads.speaker.1", SPEAKER_TASK, speakers)
    if "gender_pred" in layers.left:
        female = _linear(layers, "gender_pred", "heads.gender", dim, 1)
        weights |= {name: torch.cat([row, torch.zeros_like(row)]) for name, row in female.items()}
    return weights


def _linear(layers: _Layers, name: str, ours: str, inputs: int, outputs: int) -> Weights:
    kernel, bias = layers.take(name, (inputs, outputs), (outputs,))
    return {f"{ours}.weight": kernel.T, f"{ours}.bias": bias}


def _voices(path: Path, classes: int, speakers: Sequence[str] | None) -> tuple[str, ...]:
    """The names of the speaker task's classes; none where there is no such task."""
    if speakers is None and classes:
        raise ModelError(
            f"{path}: classifies {classes} speakers: name them with --speakers FILE, one a line in "
            "the order of the classes (the original sorts their numbers as text)"
        )
    names = tuple(name if "/" in name else f"{CORPUS}/{name}" for name in speakers or ())
    if len(names) != classes:
        raise ModelError(
            f"{path}: classifies {classes} speakers, but {len(names)} names are given: give one "
            "for each class"
        )
    for name in names:
        if names.count(name) > 1:
            raise ModelError(f"{path}: two classes are named '{name}': give each its own name")
    return names


def _read_names(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}): give a text file of names, one a line"
        ) from error
    return [line.strip() for line in lines if line.strip()]


def _state(classes: Sequence[str]) -> dict[str, Any]:
    """Of a task; how many examples a class had is not told, so all count alike."""
    return {"classes": list(classes), "counts": [1] * len(classes)}


def _recipe(trunk: Config) -> dict[str, Any]:
    """What of a recipe makes the network; how it was trained is not told."""
    tasks = {
        "speaker": {"loss": {"name": "softmax", "hidden": SPEAKER_TASK}},
        "gender": {"loss": "softmax"},
    }
    settings = {
        "name": "original" if trunk == HIVE_MTL else "deep-speaker",
        "front_end": "original",
        "mels": MELS,
        "trunk": trunk,
        "tasks": tasks if trunk == HIVE_MTL else {"speaker": {"loss": "softmax"}},
    }
    return parse_recipe(settings, "recipe of a Keras checkpoint").model_dump(mode="json")
