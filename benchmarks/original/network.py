"""The original's network in Keras: Deep Speaker's ResCNN (arXiv:1705.02304) with Hive-MTL's heads.

Runs in ``.venv-original`` alone. ``keras`` is a parameter: Keras 3, or Keras 2 (``tf_keras``).
"""

from types import ModuleType
from typing import Any

import tensorflow as tf

BANDS = 64
CROP_FRAMES = 160
STAGES = ((1, 64), (2, 128), (3, 256), (4, 512))  # number, filters
BLOCKS = 3  # a stage
CEILING = 20.0  # of the clipped ReLU
POOLED = 2048  # 4 bands that remain of 64, 512 filters each


def hive_mtl(keras: ModuleType, speakers: int, frames: int | None = CROP_FRAMES) -> Any:
    """Features ``(batch, frames, 64, 1)`` -> ``[speaker_pred, gender_pred]``."""
    features, embedding = _unit_embedding(keras, frames)
    dense = keras.layers.Dense
    shared = dense(1024, name="shared")(embedding)
    speaker = dense(1024, name="speaker_task")(shared)
    speaker = dense(speakers, activation="softmax", name="speaker_pred")(speaker)
    gender = dense(1, activation="sigmoid", name="gender_pred")(shared)
    return keras.Model(features, [speaker, gender])


def deep_speaker(keras: ModuleType, frames: int | None = CROP_FRAMES) -> Any:
    """Features -> ``(batch, 512)`` of unit norm."""
    return keras.Model(*_unit_embedding(keras, frames))


def deep_speaker_softmax(keras: ModuleType, speakers: int, frames: int | None = CROP_FRAMES) -> Any:
    """Features -> ``(batch, speakers)``: what Deep Speaker is pre-trained as."""
    features, pooled = _pooled(keras, frames)
    embedding = keras.layers.Dense(512, name="affine")(keras.layers.Dropout(0.5)(pooled))
    # As the original has it, this one goes by the name that Keras gives: ``dense``.
    return keras.Model(features, keras.layers.Dense(speakers, activation="softmax")(embedding))


def _unit_embedding(keras: ModuleType, frames: int | None) -> tuple[Any, Any]:
    features, pooled = _pooled(keras, frames)
    affine = keras.layers.Dense(512, name="affine")(pooled)
    normalise = keras.layers.Lambda(lambda x: tf.math.l2_normalize(x, axis=1), name="ln")
    return features, normalise(affine)


def _pooled(keras: ModuleType, frames: int | None) -> tuple[Any, Any]:
    """(features, mean over time ``(batch, 2048)``)."""
    features = keras.layers.Input((frames, BANDS, 1), name="input")
    x = features
    for number, filters in STAGES:
        x = _clipped(keras, _convolved(keras, x, f"conv{filters}-s", filters, 5, 2))
        for block in range(BLOCKS):
            x = _residual(keras, x, f"res{number}_{block}_branch", filters)
    x = keras.layers.Reshape((-1, POOLED))(x)
    return features, keras.layers.Lambda(lambda x: tf.reduce_mean(x, axis=1), name="average")(x)


def _residual(keras: ModuleType, x: Any, name: str, filters: int) -> Any:
    inner = x
    for half in ("_2a", "_2b"):
        inner = _clipped(keras, _convolved(keras, inner, name + half, filters, 3, 1))
    return _clipped(keras, keras.layers.add([inner, x]))


def _convolved(keras: ModuleType, x: Any, name: str, filters: int, kernel: int, stride: int) -> Any:
    """Convolution with bias, then batch normalisation."""
    convolution = keras.layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="same",
        kernel_regularizer=keras.regularizers.L2(1e-4),
        name=name,
    )
    return keras.layers.BatchNormalization(name=f"{name}_bn")(convolution(x))


def _clipped(keras: ModuleType, x: Any) -> Any:
    return keras.layers.Lambda(lambda x: tf.minimum(tf.maximum(x, 0.0), CEILING))(x)
