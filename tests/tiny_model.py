"""A small random network that keeps the ONNX contract of hive_mtl.description, made without torch.

Framing by a strided convolution, separable convolutions under a mask, mean and deviation pooling,
a unit-norm embedding, a gender head (classes) and an age head (ordinal).
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper, parser

from hive_mtl.description import (
    ONNX_COHORT_KEY,
    ONNX_METADATA_KEY,
    Calibration,
    HeadDescription,
    ModelDescription,
)
from hive_mtl.model_file import seal, unseal, with_entry
from hive_mtl.use.normalising import cohort_to_text

DIM = 16
CALIBRATION = Calibration(
    weights={"score": 10.0}, intercept=-5.0, thresholds={"0.1": -2.0, "0.01": 0.0, "0.001": 2.0}
)
GENDER = HeadDescription(task="gender", kind="classes", classes=("female", "male"))
AGE = HeadDescription(
    task="age", kind="ordinal", thresholds=(20.0, 40.0, 60.0), low=0.0, high=100.0, unit="years"
)

_FRONT = """
<ir_version: 9, opset_import: ["" : 17]>
tiny (float[batch, samples] waves, int64[batch] lengths)
  => (float[batch, dim] embedding, float[batch, 2] gender, float[batch, 3] age) {
    framed = Unsqueeze (waves, one)
    spectrum = Conv <strides = [160]> (framed, front)
    power = Mul (spectrum, spectrum)
    floored = Add (power, floor)
    log_power = Log (floored)
    beyond = Sub (lengths, frame_length)
    steps = Div (beyond, frame_shift)
    counts = Add (steps, one)
    shape = Shape (log_power)
    n_frames = Gather (shape, two)
    frames = Range (zero, n_frames, one_scalar)
    counts_column = Unsqueeze (counts, one)
    inside = Less (frames, counts_column)
    inside_float = Cast <to = 1> (inside)
    mask = Unsqueeze (inside_float, one)
    total = ReduceSum (mask, two_axis)
    kept = Mul (log_power, mask)
    kept_sum = ReduceSum (kept, two_axis)
    kept_mean = Div (kept_sum, total)
    centred = Sub (log_power, kept_mean)
    x0 = Mul (centred, mask)
"""

_BLOCK = """
    deep{i} = Conv <group = {channels}, pads = [2, 2]> (x{i}, depthwise{i})
    wide{i} = Conv (deep{i}, pointwise{i})
    active{i} = Relu (wide{i})
    x{j} = Mul (active{i}, mask)
"""

_BACK = """
    sum = ReduceSum (x{i}, two_axis)
    mean = Div (sum, total)
    squares = Mul (x{i}, x{i})
    square_sum = ReduceSum (squares, two_axis)
    square_mean = Div (square_sum, total)
    mean_square = Mul (mean, mean)
    difference = Sub (square_mean, mean_square)
    variance = Relu (difference)
    variance_floored = Add (variance, floor)
    deviation = Sqrt (variance_floored)
    pooled = Concat <axis = 1> (mean, deviation)
    statistics = Squeeze (pooled, two_axis)
    raw = MatMul (statistics, projection)
    norm = ReduceL2 <axes = [1], keepdims = 1> (raw)
    embedding = Div (raw, norm)
    gender_logits = MatMul (embedding, gender_weights)
    gender = Softmax <axis = 1> (gender_logits)
    age_base = MatMul (embedding, age_weights)
    age_logits = Add (age_base, age_bias)
    age = Sigmoid (age_logits)
}}
"""


def description(**changes: object) -> ModelDescription:
    """What the tiny model says about itself, with ``changes``."""
    fields = {
        "name": "tiny",
        "model_id": "tiny-0123456789ab",
        "sample_rate": 16_000,
        "embedding_dim": DIM,
        "trunk": "tiny",
        "parameters": 4096,
        "heads": (GENDER, AGE),
        "calibration": CALIBRATION,
        "created": "2026-01-01T00:00:00Z",
    }
    return ModelDescription.model_validate({**fields, **changes})


def save_tiny_model(
    path: Path, metadata: str | None = "", channels: int = 24, blocks: int = 2, seed: int = 0
) -> Path:
    """Writes the network to ``path``; ``metadata`` "" is its true description, None is none."""
    text = _FRONT
    for i in range(blocks):
        text += _BLOCK.format(i=i, j=i + 1, channels=channels)
    model = parser.parse_model(text + _BACK.format(i=blocks))
    for name, value in _weights(channels, blocks, np.random.default_rng(seed)).items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    if metadata is not None:
        entry = metadata or description().model_dump_json()
        model.metadata_props.add(key=ONNX_METADATA_KEY, value=entry)
    onnx.checker.check_model(model)
    path.write_bytes(seal(model.SerializeToString()))
    return path


def give_cohort(file: Path, seed: int = 3) -> Path:
    """Puts a cohort of thirty random voices into a model file, as ``export --data`` does."""
    voices = np.random.default_rng(seed).standard_normal((30, DIM)).astype(np.float32)
    voices /= np.linalg.norm(voices, axis=1, keepdims=True)
    content = unseal(file.read_bytes())
    assert content is not None
    file.write_bytes(seal(with_entry(content, ONNX_COHORT_KEY, cohort_to_text(voices))))
    return file


def save_foreign_model(path: Path) -> Path:
    """An ONNX file that carries the description but has other inputs and outputs."""
    x = onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    y = onnx.helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Neg", ["x"], ["y"])], "foreign", [x], [y]
    )
    opset = onnx.helper.make_opsetid("", 17)
    model = onnx.helper.make_model(graph, ir_version=9, opset_imports=[opset])
    model.metadata_props.add(key=ONNX_METADATA_KEY, value=description().model_dump_json())
    path.write_bytes(seal(model.SerializeToString()))
    return path


def _weights(channels: int, blocks: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    def random(*shape: int) -> np.ndarray:
        fan_in = int(np.prod(shape[1:])) or 1
        return (rng.standard_normal(shape) * np.sqrt(2.0 / fan_in)).astype(np.float32)

    weights = {
        "front": random(channels, 1, 400),
        "projection": random(2 * channels, DIM) / np.float32(np.sqrt(channels)),
        "gender_weights": 3 * random(DIM, 2),
        "age_weights": random(DIM, 3),
        "age_bias": np.array([2.0, 0.0, -2.0], np.float32),
        "floor": np.array(1e-6, np.float32),
        "frame_length": np.array([400], np.int64),
        "frame_shift": np.array([160], np.int64),
        "one": np.array([1], np.int64),
        "two_axis": np.array([2], np.int64),
        "zero": np.array(0, np.int64),
        "two": np.array(2, np.int64),
        "one_scalar": np.array(1, np.int64),
    }
    for i in range(blocks):
        weights[f"depthwise{i}"] = random(channels, 1, 5)
        weights[f"pointwise{i}"] = random(channels, channels, 1)
    return weights
