import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import hive_mtl
from hive_mtl import audio
from hive_mtl.description import ONNX_METADATA_KEY, Calibration, DataSummary, ModelDescription
from hive_mtl.learn import checkpoint
from hive_mtl.learn.checkpoint import Checkpoint, Header
from hive_mtl.learn.export import export_onnx
from hive_mtl.learn.model import UnifiedModel, make_heads
from hive_mtl.learn.slim import halved
from hive_mtl.learn.tasks import TaskConfig, get_task
from learning import tiny_recipe
from voices import RATE, voice

SECONDS = (0.5, 60.0037, 1.0, 3.7, 12.0, 0.8)  # one of no whole number of frames
WIDE = {"channels": 64, "pooled_channels": 128}  # large enough to be worth halving
CALIBRATION = Calibration(weights={"score": 8.0}, intercept=-2.0, thresholds={"0.01": 0.4})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A network with statistics as after training, and a head of every kind."""
    torch.manual_seed(0)
    tasks = {"speaker": {}, "gender": {}, "age": {}, "mood": {"loss": {"name": "aam"}}}
    recipe = tiny_recipe(tmp_path_factory.mktemp("cache"), tasks=tasks, trunk=WIDE)
    fitted = [get_task(name) for name in tasks]
    labels = {
        "speaker": ["a", "b"] * 2,
        "gender": ["female", "male"] * 2,
        "age": [(20.0, 30.0)] * 4,
    }
    for task in fitted:
        config = recipe.tasks[task.name] if task.name == "speaker" else TaskConfig(min_speakers=1)
        task.fit(labels.get(task.name, ["calm", "glad"] * 2), list("abab"), config)
    heads = make_heads(recipe.tasks, fitted, 16)
    model = UnifiedModel(recipe.make_front_end(), recipe.trunk, heads)
    for seed in range(5):
        waves = np.stack([voice(2.0, 4 * seed + row) for row in range(4)])
        model(torch.from_numpy(waves), torch.tensor([32000, 32000, 20000, 9000]))
    header = Header(
        recipe=recipe.model_dump(mode="json"),
        tasks={task.name: task.state() for task in fitted},
        data=(DataSummary(corpus="tiny", speakers=2, utterances=4, hours=0.1),),
        calibration=CALIBRATION,
        git_revision="abc",
    )
    return Checkpoint(header, model.state_dict(), {})


@pytest.fixture(scope="module")
def folder(made: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    export_onnx(made, folder / "model.onnx")
    return folder


@pytest.fixture(scope="module")
def waves() -> list[np.ndarray]:
    return [voice(seconds, seed) for seed, seconds in enumerate(SECONDS)]


def by_torch(made: Checkpoint, wave: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        outputs = made.model()(torch.from_numpy(wave.copy())[None], torch.tensor([len(wave)]))
    return outputs.embedding[0].numpy()


def test_a_padded_batch_of_half_a_second_to_a_minute_is_as_in_torch(
    made: Checkpoint, folder: Path, waves: list[np.ndarray]
) -> None:
    lengths = np.array([len(wave) for wave in waves], np.int64)
    padded = np.zeros((len(waves), lengths.max()), np.float32)
    for row, wave in zip(padded, waves, strict=True):
        row[: len(wave)] = wave
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    (embeddings,) = session.run(["embedding"], {"waves": padded, "lengths": lengths})
    for embedding, wave in zip(embeddings, waves, strict=True):
        assert np.linalg.norm(embedding) == pytest.approx(1.0, abs=1e-5)
        assert 1 - embedding @ by_torch(made, wave) < 1e-5


def test_the_using_wing_gives_what_torch_gives(
    made: Checkpoint, folder: Path, waves: list[np.ndarray]
) -> None:
    found = hive_mtl.load(folder).embed_many([(wave, RATE) for wave in waves])
    for embedding, wave in zip(found, waves, strict=True):
        assert 1 - embedding.vector @ by_torch(made, audio.trim_silence(wave)) < 1e-4


def test_heads_give_probabilities(made: Checkpoint, folder: Path) -> None:
    wave = voice(2.0, 3)
    answers = hive_mtl.load(folder).attributes((wave, RATE))
    assert set(answers) == {"gender", "age", "mood"}
    assert set(answers["mood"].alternatives) == {"calm", "glad"}
    model, trimmed = made.model(), audio.trim_silence(wave)
    with torch.inference_mode():
        outputs = model(torch.from_numpy(trimmed.copy())[None], torch.tensor([len(trimmed)]))
    for name in ("gender", "mood"):
        expected = outputs.heads[name].softmax(dim=1).max().item()
        assert answers[name].probability == pytest.approx(expected, abs=3e-3)


def test_the_file_describes_itself_and_so_does_the_json_beside_it(folder: Path) -> None:
    proto = onnx.load(folder / "model.onnx")
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    inside = ModelDescription.model_validate_json(metadata[ONNX_METADATA_KEY])
    beside = ModelDescription.model_validate(json.loads((folder / "model.json").read_text()))
    assert inside == beside
    assert inside.name == "tiny"
    assert inside.model_id.startswith("tiny-")
    assert inside.embedding_dim == 16
    assert inside.sample_rate == RATE
    assert inside.calibration == CALIBRATION
    assert [head.task for head in inside.heads] == ["gender", "age", "mood"]
    assert inside.data[0].corpus == "tiny"


def test_the_speaker_classifier_stays_behind(folder: Path) -> None:
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    assert {node.name for node in session.get_inputs()} == {"waves", "lengths"}
    assert {node.name for node in session.get_outputs()} == {"embedding", "gender", "age", "mood"}
    assert not [
        tensor.name
        for tensor in onnx.load(folder / "model.onnx").graph.initializer
        if "speaker" in tensor.name
    ]


def test_parameters_are_counted_without_the_speaker_classifier(
    made: Checkpoint, folder: Path
) -> None:
    counted = sum(
        parameter.numel()
        for name, parameter in made.model().named_parameters()
        if not name.startswith("heads.speaker")
    )
    assert hive_mtl.load(folder).description.parameters == counted


def test_large_weights_take_two_bytes_and_the_front_end_four(folder: Path) -> None:
    kinds = {t.name: t.data_type for t in onnx.load(folder / "model.onnx").graph.initializer}
    halves = {name for name, kind in kinds.items() if kind == onnx.TensorProto.FLOAT16}
    assert "model.trunk.project.1.weight_half" in halves
    assert "model.trunk.stem.0.weight_half" in halves
    assert not [name for name in halves if "front_end" in name or "running" in name]
    assert kinds["model.front_end.energies.cosines"] == onnx.TensorProto.FLOAT


def test_weights_that_float16_cannot_hold_stay_as_they_are() -> None:
    rng = np.random.default_rng(0)
    ordinary = rng.standard_normal((64, 64)).astype(np.float32)
    assert halved(ordinary).dtype == np.float16
    for kept in (ordinary * 1e5, ordinary * 1e-7, ordinary[0], ordinary[:8, :8]):
        assert halved(kept) is kept
    assert halved(ordinary.astype(np.int64)).dtype == np.int64


def test_the_slim_checkpoint_is_the_same_network_without_the_speaker_classifier(
    made: Checkpoint, folder: Path, waves: list[np.ndarray]
) -> None:
    slim = checkpoint.load(folder)
    assert set(slim.header.tasks) == {"gender", "age", "mood"}
    assert not [name for name in slim.weights if name.startswith("heads.speaker")]
    assert {weight.dtype for weight in slim.model().parameters()} == {torch.float32}
    for wave in waves:
        assert 1 - by_torch(slim, wave) @ by_torch(made, wave) < 1e-5
    whole = sum(weight.nbytes for weight in made.weights.values())
    assert (folder / "model.safetensors").stat().st_size < 0.7 * whole
    again = export_onnx(slim, folder.parent / "again" / "model.onnx")
    assert again.heads == hive_mtl.load(folder).description.heads


def test_the_slim_checkpoint_names_no_folder(made: Checkpoint, folder: Path) -> None:
    cache = made.header.recipe["data"]["cache"]
    assert cache
    assert cache.encode() not in (folder / "model.safetensors").read_bytes()


def test_the_name_follows_the_weights(made: Checkpoint, folder: Path) -> None:
    weights = {name: weight.clone() for name, weight in made.weights.items()}
    digest = hive_mtl.load(folder).description.model_id.removeprefix("tiny-")
    kept = {n: w for n, w in weights.items() if not n.startswith("heads.speaker.")}
    assert checkpoint.weights_digest(kept) == digest


def test_the_file_names_no_folder_of_the_machine_that_made_it(folder: Path) -> None:
    content = (folder / "model.onnx").read_bytes()
    assert b"site-packages" not in content
    assert str(Path(hive_mtl.__file__).parent).encode() not in content
