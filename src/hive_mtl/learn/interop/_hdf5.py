"""HDF5 files of Keras -> the weights of each layer.

There are two layouts. The older one, of whole models and of weights, goes by the names of layers;
the newer one, of files called ``.weights.h5``, by their kind and number, and its later writers note
the name as well. Both hold the weights of a layer in one order: kernel and bias, or scale, shift,
mean and variance.
"""

import re
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy.typing as npt

from hive_mtl.errors import ModelError

Layers = dict[str, list[npt.NDArray[Any]]]  # in the order of the network


def read_layers(path: Path) -> Layers:
    """The layers that have weights, by name or, where the file has none, such as ``conv2d_12``.

    Raises:
        ModelError: no HDF5 file that Keras wrote.
    """
    if zipfile.is_zipfile(path):
        raise ModelError(
            f"{path}: a .keras archive: load it in Keras and save it anew with "
            "model.save_weights('NAME.weights.h5')"
        )
    try:
        with h5py.File(path) as file:
            layers = _layers(file)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ModelError(f"{path}: no such file: give an HDF5 checkpoint of Keras") from error
    except (OSError, KeyError) as error:
        raise ModelError(
            f"{path}: not a whole HDF5 file of Keras ({error.args[0]}): copy it again"
        ) from error
    if not layers:
        raise ModelError(f"{path}: holds no layers: give an HDF5 checkpoint of Keras")
    return layers


def _layers(file: h5py.File) -> Layers:
    by_name = file.get("model_weights", file)
    if "layer_names" in by_name.attrs:
        return _older(by_name)
    return _newer(file.get("layers", file.get("_layer_checkpoint_dependencies", {})))


def _older(group: h5py.Group) -> Layers:
    layers = {}
    for name in map(_text, group.attrs["layer_names"]):
        weights = [group[name][_text(weight)][()] for weight in group[name].attrs["weight_names"]]
        if weights:
            layers[name] = weights
    return layers


def _newer(group: h5py.Group) -> Layers:
    layers = {}
    for kind in sorted(group, key=_number):
        weights = group[kind].get("vars", {})
        if len(weights):
            name = _text(weights.attrs.get("name", kind))
            layers[name] = [weights[str(index)][()] for index in range(len(weights))]
    return layers


def _number(kind: str) -> int:
    """``conv2d_12`` -> 12; the first of a kind has no number."""
    found = re.search(r"_(\d+)$", kind)
    return int(found[1]) if found else 0


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
