"""Recordings grouped by voice: the verb, its protocol and its command."""

import csv
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import soundfile

import hive_mtl
from hive_mtl.calibration import Sides
from hive_mtl.description import Calibration
from hive_mtl.errors import (
    ConfigError,
    DataError,
    EmbeddingError,
    MissingExtraError,
    ModelError,
)
from hive_mtl.evaluate.clustering import DRAWS, Clustered, check_corpora, judge_clustering
from hive_mtl.evaluate.embedded import embed_table
from hive_mtl.faces.cli import main
from hive_mtl.learn import corpora
from hive_mtl.learn.utterances import conform, validation_utterances
from hive_mtl.use.cluster import cluster, similarities
from hive_mtl.use.embedding import Embedding
from hive_mtl.use.normalising import adaptive_s_norm, cohort_level
from tiny_model import save_tiny_model
from voices import RATE, voice

DIM = 16
CALIBRATION = Calibration(weights={"score": 20.0}, intercept=-10.0, thresholds={})


class KnownModel:
    """Knows whose voice a source is: the part of its name before the dash; "?" has no speech."""

    calibration: Calibration | None = CALIBRATION
    cohort = None

    def __init__(self) -> None:
        self.description = SimpleNamespace(name="known", embedding_dim=DIM)

    def embed_stream(self, sources):
        for source in sources:
            name = str(getattr(source, "path", source))
            whose = Path(name).name.split("-")[0]
            if whose == "!":
                yield EmbeddingError(name, "unreadable: mend it")
                continue
            direction = np.random.default_rng(list(whose.encode())).standard_normal(DIM)
            vector = direction + 0.1 * np.random.default_rng(list(name.encode())).normal(size=DIM)
            yield Embedding(
                vector=(vector / np.linalg.norm(vector)).astype(np.float32),
                heads={},
                duration_s=3.0,
                speech_seconds=0.2 if whose == "?" else 3.0,
                snr_db=30.0,
                clipped=0.0,
                model_id="known-1",
            )


def test_voices_are_found_and_numbered_by_size() -> None:
    found = cluster(KnownModel(), ["b-1", "a-1", "c-1", "a-2", "b-2", "a-3"])
    assert found.labels == (2, 1, 3, 1, 2, 1)  # c fits nobody
    assert found.groups == 3
    assert found.failures == ()
    assert 0.5 < found.silhouette <= 1


def test_what_cannot_be_grouped_is_named_and_keeps_its_place() -> None:
    found = cluster(KnownModel(), ["!-1", "a-1", "?-1", "b-1"])
    assert found.labels == (None, 1, None, 2)
    assert found.silhouette is None  # each is a group
    assert [failure.source for failure in found.failures] == ["!-1", "?-1"]
    assert "not enough speech" in found.failures[1].reason
    assert isinstance(found.heard[1], Embedding)


def test_a_known_number_of_voices_is_kept_to() -> None:
    sources = ["a-1", "a-2", "b-1", "b-2", "c-1"]
    for voices in (1, 2, 4):
        assert cluster(KnownModel(), sources, voices=voices).groups == voices
    assert cluster(KnownModel(), sources, voices=3).labels == (1, 1, 2, 2, 3)


def test_what_makes_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="nothing to group"):
        cluster(KnownModel(), [])
    with pytest.raises(ConfigError, match="3 groups of 2: give a number from 1 to 2"):
        cluster(KnownModel(), ["a-1", "a-2"], voices=3)
    with pytest.raises(
        DataError, match=r"2 of 3 recordings .* 1 failed, such as !-1: unreadable.* from 1 to 2"
    ):
        cluster(KnownModel(), ["a-1", "b-1", "!-1"], voices=3)
    with pytest.raises(DataError, match=r"1 of 1 recordings can be grouped: give two"):
        cluster(KnownModel(), ["a-1"])
    with pytest.raises(DataError, match=r"0 of 2 .* 2 failed, such as !-1: unreadable"):
        cluster(KnownModel(), ["!-1", "?-1"])
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match=r"hive-mtl\[analysis\]"):
        cluster(KnownModel(), ["a-1", "a-2"])


def test_without_a_calibration_the_number_of_voices_must_be_given() -> None:
    model = KnownModel()
    model.calibration = None
    with pytest.raises(ModelError, match="no calibration"):
        cluster(model, ["a-1", "a-2", "b-1"])
    assert cluster(model, ["a-1", "a-2", "b-1"], voices=2).labels == (1, 1, 2)


def test_similarities_are_normalised_log_likelihood_ratios_of_both_sides() -> None:
    rng = np.random.default_rng(0)
    vectors, cohort = (rng.standard_normal((n, DIM)).astype(np.float32) for n in (300, 60))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    sides = Sides(rng.uniform(1, 9, 300), rng.uniform(5, 30, 300))
    weights = {"score": 2.0, "log_shorter": -0.5, "higher_snr": 0.1}
    calibration = Calibration(weights=weights, intercept=1.0, thresholds={}, normalised=True)
    alike = similarities(vectors, sides, calibration, cohort)
    left, right = 7, 290  # in different blocks of rows
    level = cohort_level(vectors, cohort)
    score = adaptive_s_norm(vectors[left] @ vectors[right], level[left], level[right])
    shorter = np.log(min(sides.speech_s[left], sides.speech_s[right]))
    higher = max(sides.snr_db[left], sides.snr_db[right])
    assert alike[left, right] == pytest.approx(2 * score - 0.5 * shorter + 0.1 * higher + 1, 1e-4)
    assert np.allclose(alike, alike.T, atol=1e-4)


def utterances(names: list[str], corpus: str = "x") -> pa.Table:
    rows = [{"path": f"/{name}", "speaker": name.split("-")[0], "corpus": corpus} for name in names]
    return conform(pa.Table.from_pylist([{**row, "duration_s": "3"} for row in rows]))


def clustered(model: Any, table: pa.Table, names: list[str]) -> Clustered:
    return judge_clustering(embed_table(model, table), model.calibration, names)


def test_the_protocol_counts_what_is_not_grouped_as_wrong() -> None:
    names = ["a-1", "a-2", "b-1", "b-2"]
    found = clustered(KnownModel(), utterances(names), ["x"])
    assert (found.voices, found.draws, found.utterances) == (2, 1, 4)
    assert (found.groups.value, found.f.value, found.f.low) == (2, pytest.approx(1), None)
    worse = clustered(KnownModel(), utterances([*names, "?-1", "!-1"]), ["x"])
    assert worse.precision.value == pytest.approx(4 / 6)
    assert worse.recall.value == pytest.approx(4 / 6)


def test_the_protocol_draws_twenty_voices_of_all_corpora_together() -> None:
    names = [f"{letter}{number}-{take}" for letter in "xy" for number in range(15) for take in "12"]
    table = pa.concat_tables([utterances(names[:30], "x"), utterances(names[30:], "y")])
    found = clustered(KnownModel(), table, ["x", "y"])
    assert (found.corpora, found.voices, found.draws) == (("x", "y"), 20, DRAWS)
    assert found.utterances == 40
    assert 0.8 < found.f.low <= found.f.value <= 1
    assert clustered(KnownModel(), table, ["x", "y"]) == found
    with pytest.raises(DataError, match=r"corpus 'z': not in the data: it has x, y"):
        check_corpora(table, ["x", "z"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with recordings of two voices and a model."""
    monkeypatch.chdir(tmp_path)
    for name, seed in (("a-1", 1), ("a-2", 1), ("b-1", 2)):
        (tmp_path / "talk").mkdir(exist_ok=True)
        soundfile.write(f"talk/{name}.wav", voice(2.0, seed=seed), RATE)
    save_tiny_model(tmp_path / "tiny.onnx")
    return tmp_path


def test_the_command_writes_all_three_forms(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["cluster", "talk", "--model", "tiny.onnx", "--voices", "2", "--json"]
    outputs = ["-o", "groups.csv", "-o", "groups.json", "--html", "groups.html"]
    assert main([*words, *outputs]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["groups"] == 2
    assert set(answer["labels"]) == {"talk/a-1.wav", "talk/a-2.wav", "talk/b-1.wav"}
    assert json.loads(Path("groups.json").read_text()) == answer
    with Path("groups.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"]: int(row["group"]) for row in rows} == answer["labels"]
    assert "talk/a-1.wav" in Path("groups.html").read_text()


def test_the_command_names_failures_and_refuses_what_it_cannot_do(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(*words: str) -> tuple[int, str, str]:
        status = main(["cluster", *words, "--model", "tiny.onnx"])
        return status, *capsys.readouterr()

    Path("talk/text.wav").write_text("hello")
    status, out, err = call("talk", "--voices", "2", "-o", "groups.csv")
    assert (status, out.startswith("3 recordings in 2 groups")) == (2, True)
    assert len(err.splitlines()) == 1
    assert "talk/text.wav" in err
    assert "talk/text.wav,,is no audio" in Path("groups.csv").read_text().replace('"', "")
    status, out, _ = call("talk", "--voices", "1", "-o", "groups.csv")
    assert out.startswith("3 recordings in 1 group (")
    Path("empty").mkdir()
    for words, reason in (
        (["empty"], "a folder without recordings"),
        (["talk", "--voices", "9"], "9 groups of 4"),
        (["talk/a-1.wav"], "1 of 1 recordings"),
        (["talk", "-o", "groups.txt"], ".csv, .json or .html"),
        (["talk", "--html", "groups.csv"], "groups.csv: a page is written as .html"),
        ([], "nothing to group"),
    ):
        status, out, err = call(*words)
        assert (status, out) == (2, "")
        assert len(err.splitlines()) == 1
        assert reason in err


@pytest.mark.parametrize("option", [("-o", "x.csv"), ("-o", "x.html"), ("--html", "x.html")])
def test_a_folder_in_the_way_is_seen_before_the_work(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    option: tuple[str, str],
) -> None:
    monkeypatch.setattr(hive_mtl, "load", lambda **_: pytest.fail("it began to group"))
    Path(option[1]).mkdir()
    assert main(["cluster", "talk", "--model", "tiny.onnx", *option]) == 2
    assert capsys.readouterr().err == (
        f"hive-mtl: {option[1]}: is a folder: give the name of a file\n"
    )


@pytest.mark.slow
def test_unseen_voices_of_two_corpora_are_grouped(shared_speech: Path) -> None:
    everything = corpora.read(str(shared_speech / "manifest.csv"))
    names = ["librispeech", "speechocean762"]
    table = validation_utterances(everything)
    table = table.filter(pc.is_in(table["corpus"], pa.array(names)))
    found = clustered(hive_mtl.load(), table, names)
    assert (found.voices, found.draws) == (20, DRAWS)
    assert found.f.value >= 0.85


def test_a_recording_given_twice_is_grouped_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy("talk/b-1.wav", "b.wav")
    words = ["cluster", "talk", "talk/a-1.wav", "b.wav", "--voices", "1", "--json"]
    assert main([*words, "--model", "tiny.onnx"]) == 0
    assert len(json.loads(capsys.readouterr().out)["labels"]) == 4
