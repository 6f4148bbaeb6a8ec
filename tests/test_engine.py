"""The batching engine and the ONNX session under it."""

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hive_mtl as hive
from hive_mtl.description import ONNX_METADATA_KEY, HeadDescription
from hive_mtl.model_file import unseal, with_entry
from hive_mtl.use.engine import Engine, form_batches
from hive_mtl.use.network import Network
from tiny_model import AGE, GENDER, description, save_foreign_model, save_tiny_model
from voices import RATE, voice


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="module")
def model(model_file: Path) -> hive.Model:
    return hive.load(model_file, threads=2)


@given(
    st.lists(st.integers(min_value=1, max_value=60 * RATE), max_size=200),
    st.integers(min_value=RATE, max_value=100 * RATE),
)
def test_every_item_is_in_one_batch_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = form_batches(dict(enumerate(lengths)), budget)
    assert sorted(item for batch in batches for item in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[item] for item in batch)
        assert len(batch) == 1 or padded <= budget
        assert sum(lengths[item] for item in batch) >= 0.9 * padded


def test_results_keep_the_order_and_equal_single_runs(model_file: Path) -> None:
    engine = Engine(Network(model_file, "cpu"), threads=2)
    seconds = [60.0, 0.5, 3.0, 2.9, 45.0, 1.0, 0.51, 3.1, 10.0, 0.03]
    waves = [voice(length, seed) for seed, length in enumerate(seconds)]
    items = [(seed, wave) for seed, wave in enumerate(waves)]
    together = list(engine.run(items))
    assert [tag for tag, _ in together] == list(range(len(seconds)))
    for item, (_, outputs) in zip(items, together, strict=True):
        ((_, alone),) = engine.run([item])
        assert 1 - alone["embedding"] @ outputs["embedding"] < 1e-4
        np.testing.assert_allclose(alone["age"], outputs["age"], atol=1e-4)


def test_items_without_a_wave_pass_through_in_their_place(model_file: Path) -> None:
    engine = Engine(Network(model_file, "cpu"), threads=1)
    given_items = [("a", None), ("b", voice(1)), ("c", None)]
    assert [(tag, out is None) for tag, out in engine.run(given_items)] == [
        ("a", True),
        ("b", False),
        ("c", True),
    ]


def test_no_more_is_read_ahead_than_the_bound(model_file: Path) -> None:
    engine = Engine(Network(model_file, "cpu"), threads=1)
    wave = voice(30)
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield taken, wave

    results = engine.run(endless())
    for expected in range(1, 31):
        tag, _ = next(results)
        assert tag == expected
        assert (taken - tag) * 30 <= 2 * 300 + 30
    results.close()


def test_threads_share_a_model(model: hive.Model) -> None:
    waves = [voice(0.5 + 0.3 * seed, seed) for seed in range(8)]
    alone = [model.embed((wave, RATE)).vector for wave in waves]
    with ThreadPoolExecutor(4) as pool:
        for vector, expected in zip(
            pool.map(lambda seed: model.embed((waves[seed % 8], RATE)).vector, range(32)),
            alone * 4,
            strict=True,
        ):
            assert vector @ expected > 1 - 1e-4


def _embed_in_child(model: hive.Model, results) -> None:
    results.put(model.embed((voice(2), RATE)).vector)


def test_a_child_process_can_be_forked_while_the_model_works(model: hive.Model) -> None:
    expected = model.embed((voice(2), RATE)).vector
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    children = [context.Process(target=_embed_in_child, args=(model, results)) for _ in range(3)]
    with ThreadPoolExecutor(1) as pool:
        meanwhile = pool.submit(model.embed_many, [(voice(3), RATE)] * 100)
        for child in children:
            child.start()
        for child in children:
            assert results.get(timeout=60) @ expected > 1 - 1e-6
            child.join(timeout=60)
        assert len(meanwhile.result()) == 100
    assert [child.exitcode for child in children] == [0, 0, 0]


def test_a_pickled_model_is_the_same_model(model: hive.Model) -> None:
    copy = pickle.loads(pickle.dumps(model))
    assert copy.description == model.description


def test_a_model_of_a_relative_path_survives_a_change_of_folder(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model_file.parent)
    model = hive.load("model.onnx")
    monkeypatch.chdir(tmp_path)
    copy = pickle.loads(pickle.dumps(model))
    assert copy.description == model.description
    results = multiprocessing.get_context("fork").Queue()
    child = multiprocessing.get_context("fork").Process(
        target=_embed_in_child, args=(model, results)
    )
    child.start()
    assert results.get(timeout=60).size == model.description.embedding_dim
    child.join(timeout=60)


def _broken(folder: Path, kind: str) -> Path:
    file = folder / "model.onnx"
    current = description().model_dump_json()
    match kind:
        case "missing":
            return folder / "nowhere.onnx"
        case "folder":
            return folder
        case "text":
            file.write_text("this is no network")
        case "empty":
            file.touch()
        case "plain onnx":
            save_tiny_model(file, metadata=None)
        case "format 2" | "format 4":
            save_tiny_model(file, metadata=current.replace('"format":3', f'"format":{kind[-1]}'))
            file.write_bytes(unseal(file.read_bytes()))
        case "damaged":
            save_tiny_model(file, metadata=current[:40])
        case "other rate":
            save_tiny_model(file, metadata=description(sample_rate=44100).model_dump_json())
        case "foreign":
            save_foreign_model(file)
    return file


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "no such model"),
        ("folder", "no such model"),
        ("text", "not a readable ONNX"),
        ("empty", "not a readable ONNX"),
        ("plain onnx", "not one of Hive-MTL"),
        ("format 4", "format 4, this version reads format 3: upgrade"),
        ("format 2", "format 2, this version reads format 3: export the model anew"),
        ("damaged", "damaged"),
        ("other rate", "44100 Hz"),
        ("foreign", "waves"),
    ],
)
def test_a_bad_model_is_refused_in_one_line(tmp_path: Path, kind: str, words: str) -> None:
    path = _broken(tmp_path, kind)
    with pytest.raises(hive.ModelError, match=words) as caught:
        hive.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_of_a_name_that_is_too_long_is_refused() -> None:
    with pytest.raises(hive.ModelError, match="xxx: cannot be read"):
        hive.load("x" * 300)


def _changed(file: Path, kind: str) -> None:
    whole = file.read_bytes()
    other = bytearray(whole)
    other[len(other) // 2] ^= 1
    behind = with_entry(whole, ONNX_METADATA_KEY, description().model_dump_json())
    contents = {
        "cut anywhere": whole[:-1000],
        "cut before the checksum": unseal(whole),
        "another weight": bytes(other),
        "something behind it": behind,
    }
    file.write_bytes(contents[kind])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("cut anywhere", "not a whole one"),
        ("cut before the checksum", "not whole"),
        ("another weight", "damaged or changed"),
        ("something behind it", "not whole, or not exported by this version"),
    ],
)
def test_a_file_that_is_not_as_it_was_exported_is_refused_in_one_line(
    tmp_path: Path, kind: str, words: str
) -> None:
    path = save_tiny_model(tmp_path / "model.onnx")
    _changed(path, kind)
    with pytest.raises(hive.ModelError, match=words) as caught:
        hive.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "head",
    [
        GENDER.model_copy(update={"classes": ("female", "male", "neither")}),
        AGE.model_copy(update={"thresholds": (20.0, 40.0)}),
    ],
    ids=["classes", "thresholds"],
)
def test_a_head_of_other_classes_is_refused(tmp_path: Path, head: HeadDescription) -> None:
    described = description(heads=(head,)).model_dump_json()
    path = save_tiny_model(tmp_path / "model.onnx", metadata=described)
    with pytest.raises(hive.ModelError, match=f"'{head.task}' was made for other classes"):
        hive.load(path)


def test_a_model_in_a_run_folder_is_found(model_file: Path) -> None:
    assert hive.load(model_file.parent).description.name == "tiny"


def test_without_a_path_the_shipped_model_is_loaded(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hive_mtl.use.stored_calibration.files", lambda package: tmp_path)
    with pytest.raises(hive.ModelError, match="ships no model"):
        hive.load()
    (tmp_path / "pretrained").mkdir()
    (tmp_path / "pretrained" / "model.onnx").write_bytes(model_file.read_bytes())
    assert hive.load().description.name == "tiny"


def test_impossible_devices_and_threads_are_refused(model_file: Path) -> None:
    with pytest.raises(hive.ConfigError, match="choose from cpu"):
        hive.load(model_file, device="tpu")
    with pytest.raises(hive.ConfigError, match="threads 0"):
        hive.load(model_file, threads=0)


def test_a_model_file_that_changed_is_not_mixed_with_the_old(tmp_path: Path) -> None:
    path = save_tiny_model(tmp_path / "model.onnx")
    model = hive.load(path)
    save_tiny_model(path, seed=1)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_model_error_in_child, args=(model, results))
    child.start()
    assert "changed" in results.get(timeout=60)
    child.join(timeout=60)


def _model_error_in_child(model: hive.Model, results) -> None:
    try:
        model.embed((voice(1), RATE))
    except hive.ModelError as error:
        results.put(str(error))
    else:
        results.put("no error")
