"""Checkpoint -> what ships of a model: ONNX to use, weights to learn on from, both small.

The ONNX has the front end inside, takes any length and any batch, and gives embedding and heads.
"""

import datetime
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto
from torch import Tensor, nn

from hive_mtl.atomic import atomic_write
from hive_mtl.description import (
    ONNX_EMBEDDING,
    ONNX_INPUTS,
    ONNX_METADATA_KEY,
    ModelDescription,
)
from hive_mtl.learn.checkpoint import Checkpoint, weights_digest
from hive_mtl.learn.front_ends import front_end_type
from hive_mtl.learn.model import UnifiedModel
from hive_mtl.learn.slim import SLIM, halved, save_slim, without_speakers
from hive_mtl.learn.tasks import Task
from hive_mtl.model_file import ONNX_CHECKSUM_KEY, seal

OPSET = 18


class Exported(nn.Module):
    """The network as the outside sees it: probabilities, and no speaker classifier."""

    def __init__(self, model: UnifiedModel, tasks: Sequence[Task]) -> None:
        super().__init__()
        self.model = model
        self.tasks = [task for task in tasks if task.describe() is not None]

    def forward(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """``(batch, samples)``, ``(batch,)`` -> ``(batch, dim)`` and one output per task."""
        outputs = self.model(waves, lengths)
        answers = [task.probabilities(outputs.heads[task.name]) for task in self.tasks]
        return (outputs.embedding, *answers)


def describe(checkpoint: Checkpoint) -> ModelDescription:
    """What the model of a checkpoint says about itself."""
    recipe, tasks = checkpoint.recipe, checkpoint.tasks()
    kept = without_speakers(checkpoint.weights)
    heads = [task.describe() for task in tasks]
    return ModelDescription(
        name=recipe.name,
        model_id=f"{recipe.name}-{weights_digest(kept)}",
        provisional=recipe.provisional,
        sample_rate=recipe.sample_rate,
        trim=front_end_type(recipe.front_end).trim,
        embedding_dim=recipe.trunk.embedding_dim,
        trunk=recipe.trunk.name,
        parameters=sum(
            p.numel() for name, p in checkpoint.model().named_parameters() if name in kept
        ),
        heads=tuple(head for head in heads if head is not None),
        calibration=checkpoint.header.calibration,
        data=checkpoint.header.data,
        git_revision=checkpoint.header.git_revision,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def export_onnx(checkpoint: Checkpoint, path: Path) -> ModelDescription:
    """Writes ``path`` (.onnx) and, beside it, ``model.json`` and ``model.safetensors``.

    These are the description, and a checkpoint for others to start from. The speaker classifier
    stays behind.
    """
    model = checkpoint.model()
    if "speaker" in model.heads:
        del model.heads["speaker"]
    description = describe(checkpoint)
    proto = _halved(_to_onnx(Exported(model, checkpoint.tasks()).eval(), description))
    _write(path, proto, description)
    save_slim(path.with_name(SLIM), checkpoint)
    return description


def describe_anew(path: Path, description: ModelDescription) -> None:
    """Has a model file, and the ``model.json`` beside it, say ``description`` of the network."""
    _write(path, onnx.load(path), description)


def add_map(path: Path, matrix: npt.NDArray[np.float32], leading: int) -> ModelDescription:
    """Has a model file multiply its embedding by ``matrix`` and bring it back to unit norm.

    The heads go on reading what they learnt to read. The model is another by this, and says so.

    Args:
        path: the model.onnx; it is written anew, and the ``model.json`` beside it.
        matrix: ``(dim, dim)``, multiplied from the right.
        leading: so many of the first numbers are then worth making bits of.
    """
    proto = onnx.load(path)
    before = ModelDescription.model_validate_json(_metadata(proto)[ONNX_METADATA_KEY])
    plain, mapped = f"{ONNX_EMBEDDING}_of_the_network", f"{ONNX_EMBEDDING}_mapped"
    for node in proto.graph.node:
        for names in (node.input, node.output):
            names[:] = [plain if name == ONNX_EMBEDDING else name for name in names]
    half = matrix.astype(np.float16)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(half, "map_half"))
    make = onnx.helper.make_node
    proto.graph.node.extend(
        [
            make("Cast", ["map_half"], ["map"], to=TensorProto.FLOAT),
            make("MatMul", [plain, "map"], [mapped]),
            make("LpNormalization", [mapped], [ONNX_EMBEDDING], axis=1, p=2),
        ]
    )
    digest = weights_digest({before.model_id: torch.from_numpy(half)})
    after = before.model_copy(update={"model_id": f"{before.name}-{digest}", "leading": leading})
    _write(path, proto, after)
    return after


def _write(path: Path, proto: onnx.ModelProto, description: ModelDescription) -> None:
    said = _metadata(proto)
    said.pop(ONNX_CHECKSUM_KEY, None)  # of the file as it was
    onnx.helper.set_model_props(proto, {**said, ONNX_METADATA_KEY: description.model_dump_json()})
    with atomic_write(path) as temporary:
        temporary.write_bytes(seal(proto.SerializeToString()))
    with atomic_write(path.with_name("model.json")) as temporary:
        temporary.write_text(description.model_dump_json(indent=2) + "\n", "utf-8")


def _metadata(proto: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in proto.metadata_props}


def _to_onnx(exported: Exported, description: ModelDescription) -> onnx.ModelProto:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses packages that are not used
    # Of no round length: what holds by chance of the example would be taken to hold always.
    samples = description.sample_rate + 7
    example = torch.randn(2, samples) * 0.1, torch.tensor([samples, samples // 2])
    shortest = exported.model.front_end.frame_samples
    any_batch, any_length = torch.export.Dim("batch"), torch.export.Dim("samples", min=shortest)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about its own parts
        program = torch.onnx.export(
            exported,
            example,
            input_names=list(ONNX_INPUTS),
            output_names=[ONNX_EMBEDDING, *(head.task for head in description.heads)],
            dynamic_shapes=({0: any_batch, 1: any_length}, {0: any_batch}),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program, as it does only without dynamo")
    return _without_traces(program.model_proto)


def _without_traces(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The graph without the exporter's notes on it: they name folders of this machine."""
    for graph in (proto.graph, *proto.functions):
        for part in (*graph.node, *graph.value_info):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
    return proto


def _halved(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with its large weights in 16 bits, each behind a cast; it still computes in 32.

    ONNX Runtime folds the casts as it loads. The front end stays as it is: rounded, its filters
    would let loud bands leak into quiet ones (cosine to the exact embedding 0.9996 at worst, where
    rounding all the rest costs 6e-7).
    """
    casts = []
    for tensor in proto.graph.initializer:
        name, exact = tensor.name, onnx.numpy_helper.to_array(tensor)
        half = exact if name.startswith("model.front_end.") else halved(exact)
        if half.dtype == np.float16:
            tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}_half"))
            casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([*casts, *nodes])
    return proto
