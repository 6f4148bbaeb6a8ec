"""The original's network in plain NumPy, by Keras' names and shapes; knows nothing of ours."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Layers = dict[str, list[Floats]]  # kernel and bias, or scale, shift, mean and variance
CHANNELS = (64, 128, 256, 512)


def shapes(channels: tuple[int, ...] = CHANNELS) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and kernel of each convolution, in the order of the network."""
    inputs = 1
    for stage, outputs in enumerate(channels, start=1):
        yield f"conv{outputs}-s", (5, 5, inputs, outputs)
        for block in range(3):
            for half in ("2a", "2b"):
                yield f"res{stage}_{block}_branch_{half}", (3, 3, outputs, outputs)
        inputs = outputs


def random_layers(rng: np.random.Generator, dense: dict[str, tuple[int, int]]) -> Layers:
    """Convolutions with their statistics, and dense layers, under which all of them matter."""
    layers: Layers = {}
    for name, shape in shapes():
        layers[name] = [kernel(rng, shape), normal(rng, 0.3, shape[-1:])]
        ranges = ((0.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.5, 2.0))
        layers[f"{name}_bn"] = [
            rng.uniform(low, high, shape[-1]).astype(np.float32) for low, high in ranges
        ]
    for name, shape in dense.items():
        layers[name] = [kernel(rng, shape), normal(rng, 0.3, shape[-1:])]
    return layers


def kernel(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return normal(rng, np.sqrt(2.0 / np.prod(shape[:-1])), shape)


def normal(rng: np.random.Generator, deviation: float, shape: tuple[int, ...]) -> Floats:
    return rng.standard_normal(shape, np.float32) * np.float32(deviation)


def affine(layers: Layers, features: Floats, channels: tuple[int, ...] = CHANNELS) -> Floats:
    """Features ``(frames, mels)`` of one utterance -> the affine layer."""
    image = features[:, :, np.newaxis]
    for stage, outputs in enumerate(channels, start=1):
        image = convolved(layers, f"conv{outputs}-s", image, stride=2)
        for block in range(3):
            inner = convolved(layers, f"res{stage}_{block}_branch_2a", image)
            inner = convolved(layers, f"res{stage}_{block}_branch_2b", inner)
            image = np.clip(inner + image, 0, 20)
    return dense(layers, "affine", image.reshape(len(image), -1).mean(axis=0))


def dense(layers: Layers, name: str, inputs: Floats) -> Floats:
    weights, bias = layers[name]
    return inputs @ weights + bias


def convolved(layers: Layers, name: str, image: Floats, stride: int = 1) -> Floats:
    """Convolution, batch normalisation and clipped ReLU of ``(time, frequency, channels)``."""
    scale, shift, mean, variance = layers[f"{name}_bn"]
    image = same_convolution(image, *layers[name], stride)
    return np.clip((image - mean) / np.sqrt(variance + 1e-3) * scale + shift, 0, 20)


def same_convolution(image: Floats, weights: Floats, bias: Floats, stride: int) -> Floats:
    """TensorFlow's: as many outputs as strides begin in the input, odd padding at the end."""
    size = len(weights)
    counts = [-(-length // stride) for length in image.shape[:2]]
    padding = [
        max((count - 1) * stride + size - length, 0)
        for count, length in zip(counts, image.shape[:2], strict=True)
    ]
    padded = np.pad(image, [*((total // 2, total - total // 2) for total in padding), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(0, 1))
    windows = windows[::stride, ::stride].transpose(0, 1, 3, 4, 2)
    return windows.reshape(*counts, -1) @ weights.reshape(-1, len(bias)) + bias


def unit(vector: Floats) -> Floats:
    return vector / np.linalg.norm(vector)
