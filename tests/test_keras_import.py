import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import hive_mtl
import keras_network
from hive_mtl.errors import ConfigError, DataError, ModelError
from hive_mtl.faces.cli import main
from hive_mtl.learn import checkpoint as checkpoints
from hive_mtl.learn.checkpoint import Checkpoint
from hive_mtl.learn.interop.keras import import_keras, read_keras
from keras_network import Floats, Layers, unit
from voices import RATE, voice

SPEAKERS = ["1034", "26", "corpus/ann", "7"]  # not sorted: the order of the classes is theirs
AFFINE = {"affine": (2048, 512)}
SHARED = {**AFFINE, "shared": (512, 1024)}
SPEAKER = {"speaker_task": (1024, 1024), "speaker_pred": (1024, 4)}
HIVE_MTL = {**SHARED, **SPEAKER, "gender_pred": (1024, 1)}
SOFTMAX = {**AFFINE, "dense": (512, 4)}
Write = Callable[[Path, Layers], None]


def write_older(path: Path, layers: Layers) -> None:
    """A whole model, as Keras 2 saves it."""
    with h5py.File(path, "w") as file:
        write_named(file.create_group("model_weights"), layers, end=":0")
        file.create_group("optimizer_weights")["iteration"] = 5


def write_older_weights(path: Path, layers: Layers) -> None:
    """Weights alone, as Keras 3 saves them in the older layout, but for bytes instead of text."""
    with h5py.File(path, "w") as file:
        write_named(file, layers, end="")
        file.attrs["layer_names"] = [name.encode() for name in file.attrs["layer_names"]]


def write_named(group: h5py.Group, layers: Layers, end: str) -> None:
    group.attrs["layer_names"] = ["input", *layers]
    group.create_group("input").attrs["weight_names"] = np.array([], np.float64)  # as Keras does
    for name, weights in layers.items():
        parts = PARTS[len(weights)]
        layer = group.create_group(name)
        layer.attrs["weight_names"] = [f"{name}/{part}{end}" for part in parts]
        for part, weight in zip(parts, weights, strict=True):
            layer[f"{name}/{part}{end}"] = weight


PARTS = {2: ("kernel", "bias"), 4: ("gamma", "beta", "moving_mean", "moving_variance")}


def write_newer(path: Path, layers: Layers, *, names: bool = True) -> None:
    """``.weights.h5`` of Keras 3."""
    seen: dict[str, int] = {}
    with h5py.File(path, "w") as file:
        file.create_group("vars")
        file.create_group("layers/input_layer/vars")
        for name, weights in layers.items():
            kind = "batch_normalization" if len(weights) == 4 else "dense"
            kind = "conv2d" if weights[0].ndim == 4 else kind
            seen[kind] = seen.get(kind, -1) + 1
            number = f"_{seen[kind]}" if seen[kind] else ""
            variables = file.create_group(f"layers/{kind}{number}/vars")
            if names:
                variables.attrs["name"] = name
            for index, weight in enumerate(weights):
                variables[str(index)] = weight


def write_newer_without_names(path: Path, layers: Layers) -> None:
    """``.weights.h5`` of Keras 2 and of the first versions of Keras 3."""
    write_newer(path, layers, names=False)


LAYOUTS = [write_older, write_older_weights, write_newer, write_newer_without_names]


@pytest.fixture(scope="module")
def layers() -> Layers:
    """All layers of the original's network, with ``dense`` of Deep Speaker's pre-training."""
    return keras_network.random_layers(np.random.default_rng(0), {**HIVE_MTL, **SOFTMAX})


@pytest.fixture
def part(layers: Layers) -> Callable[[dict[str, tuple[int, int]]], Layers]:
    """A network with some of the dense layers."""
    trunk = {name: w for name, w in layers.items() if name not in HIVE_MTL | SOFTMAX}
    return lambda dense: trunk | {name: layers[name] for name in dense}


@pytest.fixture(scope="module")
def features() -> list[Floats]:
    """Of utterances of 37 and 24 frames."""
    rng = np.random.default_rng(1)
    return [keras_network.normal(rng, 1.0, (frames, 64)) for frames in (37, 24)]


def outputs(found: Checkpoint, features: list[Floats]) -> list[tuple[Floats, dict[str, Floats]]]:
    """Embedding and probabilities of utterances in one padded batch."""
    model, frames = found.model(), torch.tensor([len(rows) for rows in features])
    batch = torch.zeros(len(features), 64, int(frames.max()))
    for row, rows in zip(batch, features, strict=True):
        row[:, : len(rows)] = torch.from_numpy(rows.T)
    with torch.inference_mode():
        made = model(batch, frames)
    heads = {task: output.softmax(dim=1).numpy() for task, output in made.heads.items()}
    return [
        (embedding.numpy(), {task: head[row] for task, head in heads.items()})
        for row, embedding in enumerate(made.embedding)
    ]


def softmax(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def test_the_original_gives_what_it_gave(
    layers: Layers, part: Callable[..., Layers], features: list[Floats], tmp_path: Path
) -> None:
    write_older(tmp_path / "it.h5", part(HIVE_MTL))
    found = read_keras(tmp_path / "it.h5", SPEAKERS)
    for rows, (embedding, heads) in zip(features, outputs(found, features), strict=True):
        shared = keras_network.dense(layers, "shared", unit(keras_network.affine(layers, rows)))
        task = keras_network.dense(layers, "speaker_task", shared)
        speaker = softmax(keras_network.dense(layers, "speaker_pred", task))
        female = 1 / (1 + np.exp(-keras_network.dense(layers, "gender_pred", shared)[0]))
        np.testing.assert_allclose(embedding, unit(shared), atol=1e-4)
        np.testing.assert_allclose(heads["speaker"], speaker, atol=1e-4)
        np.testing.assert_allclose(heads["gender"], [female, 1 - female], atol=1e-4)


def test_deep_speaker_gives_what_it_gave(
    layers: Layers, part: Callable[..., Layers], features: list[Floats], tmp_path: Path
) -> None:
    write_older(tmp_path / "it.h5", part(SOFTMAX))
    found = read_keras(tmp_path / "it.h5", SPEAKERS)
    for rows, (embedding, heads) in zip(features, outputs(found, features), strict=True):
        affine = keras_network.affine(layers, rows)
        speaker = softmax(keras_network.dense(layers, "dense", affine))
        np.testing.assert_allclose(embedding, unit(affine), atol=1e-4)
        np.testing.assert_allclose(heads["speaker"], speaker, atol=1e-4)


def test_without_heads_there_is_the_embedding(part: Callable[..., Layers], tmp_path: Path) -> None:
    write_older(tmp_path / "it.h5", part(SHARED))
    found = read_keras(tmp_path / "it.h5")
    assert found.header.tasks == {}
    assert found.model().embedding_dim == 1024


def test_deep_speakers_second_phase_has_no_classes(
    part: Callable[..., Layers], tmp_path: Path
) -> None:
    write_older(tmp_path / "it.h5", part(AFFINE))
    found = read_keras(tmp_path / "it.h5")
    assert found.header.tasks == {}
    assert found.model().embedding_dim == 512


@pytest.mark.parametrize("dense", [HIVE_MTL, SOFTMAX], ids=["hive_mtl", "deep_speaker"])
@pytest.mark.parametrize("write", LAYOUTS[1:])
def test_every_layout_holds_the_same(
    write: Write, dense: dict[str, tuple[int, int]], part: Callable[..., Layers], tmp_path: Path
) -> None:
    write_older(tmp_path / "older.h5", part(dense))
    write(tmp_path / "it.h5", part(dense))
    older, found = (read_keras(tmp_path / f"{name}.h5", SPEAKERS) for name in ("older", "it"))
    assert found.header == older.header
    assert found.weights.keys() == older.weights.keys()
    assert all(torch.equal(found.weights[name], older.weights[name]) for name in older.weights)


def test_speakers_keep_their_order_and_say_their_corpus(
    part: Callable[..., Layers], tmp_path: Path
) -> None:
    write_older(tmp_path / "it.h5", part(HIVE_MTL))
    speaker, gender = sorted(
        read_keras(tmp_path / "it.h5", SPEAKERS).tasks(), key=lambda task: -task.outputs
    )
    assert speaker.classes == ("librispeech/1034", "librispeech/26", "corpus/ann", "librispeech/7")
    assert gender.classes == ("female", "male")


@pytest.mark.parametrize(
    ("speakers", "problem"),
    [
        (None, "classifies 4 speakers: name them with --speakers"),
        (SPEAKERS[:3], "classifies 4 speakers, but 3 names"),
        ([*SPEAKERS[:3], "26"], "two classes are named 'librispeech/26'"),
        ([*SPEAKERS[:3], "librispeech/26"], "two classes are named 'librispeech/26'"),
    ],
)
def test_each_class_needs_a_name(speakers: list[str] | None, problem: str, tmp_path: Path) -> None:
    write_older(tmp_path / "it.h5", {"speaker_pred": [np.zeros((1024, 4)), np.zeros(4)]})
    with pytest.raises(ModelError, match=problem):
        read_keras(tmp_path / "it.h5", speakers)


def test_names_without_classes_are_refused(tmp_path: Path) -> None:
    write_older(tmp_path / "it.h5", {"affine": [np.zeros((2048, 512)), np.zeros(512)]})
    with pytest.raises(ModelError, match="classifies 0 speakers, but 4 names"):
        read_keras(tmp_path / "it.h5", SPEAKERS)


def test_a_layer_too_many_is_refused(part: Callable[..., Layers], tmp_path: Path) -> None:
    extra = {**part(SHARED), "age": [np.zeros((1024, 1)), np.zeros(1)]}
    write_older(tmp_path / "it.h5", extra)
    with pytest.raises(ModelError, match=r"it\.h5: has a layer 'age' that is not known"):
        read_keras(tmp_path / "it.h5")


@pytest.mark.parametrize(
    ("layers", "problem"),
    [
        ({"block1": [np.zeros((3, 3, 3, 64)), np.zeros(64)]}, "has no layer 'conv64-s'"),
        (
            {"conv64-s": [np.zeros((3, 3, 1, 64)), np.zeros(64)]},
            "'conv64-s' is (3, 3, 1, 64), (64,)",
        ),
        ({"conv64-s": [np.zeros((5, 5, 1, 64))] * 2}, "'conv64-s' is"),
        ({}, "holds no layers"),
    ],
)
@pytest.mark.parametrize("write", [write_older, write_newer])
def test_another_network_is_refused(
    write: Write, layers: Layers, problem: str, tmp_path: Path
) -> None:
    write(tmp_path / "it.h5", layers)
    with pytest.raises(ModelError) as error:
        read_keras(tmp_path / "it.h5")
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no HDF5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["numbers"] = [1, 2, 3]
    with h5py.File(tmp_path / "broken.h5", "w") as file:
        file.attrs["layer_names"] = ["conv64-s"]
    write_older(tmp_path / "cut.h5", {"affine": [np.ones((2048, 512)), np.ones(512)]})
    whole = (tmp_path / "cut.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("model.weights.h5", "")
    problems = {
        "none.h5": "no such file",
        ".": "no such file",
        "text.h5": "not a whole HDF5 file",
        "other.h5": "holds no layers",
        "broken.h5": "not a whole HDF5 file",
        "cut.h5": "not a whole HDF5 file",
        "model.keras": "a .keras archive",
    }
    for name, problem in problems.items():
        with pytest.raises(ModelError) as error:
            read_keras(tmp_path / name)
        assert str(error.value).startswith(f"{tmp_path / name}: {problem}")
        assert "\n" not in str(error.value)


def test_a_folder_with_a_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "best.safetensors").write_text("precious")
    with pytest.raises(ConfigError, match="holds a run already"):
        import_keras(tmp_path / "it.h5", None, tmp_path)
    assert (tmp_path / "best.safetensors").read_text() == "precious"


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_names_that_cannot_be_read_are_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "speakers.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"speakers\.txt: cannot be read"):
        import_keras(tmp_path / "it.h5", tmp_path / "speakers.txt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_import_serves_as_a_run(part: Callable[..., Layers], tmp_path: Path) -> None:
    write_newer(tmp_path / "it.h5", part(HIVE_MTL))
    (tmp_path / "speakers.txt").write_text("\n".join([*SPEAKERS, "", ""]))
    run = tmp_path / "out"
    words = ["import-keras", str(tmp_path / "it.h5"), "--out", str(run)]
    assert main([*words, "--speakers", str(tmp_path / "speakers.txt")]) == 0
    kept = checkpoints.load(run)
    assert kept.header == read_keras(tmp_path / "it.h5", SPEAKERS).header
    model = hive_mtl.load(run)
    assert model.description.name == "original"
    assert model.description.trim == "loudest"
    wave = voice(2.0, 0)
    assert model.embed((wave, RATE)).vector.shape == (1024,)
    assert set(model.attributes((wave, RATE))) == {"gender"}
