"""evaluate, evaluate-diarization, train and import-keras as a user of the shell meets them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import soundfile as sf
import torch

from hive_mtl.learn import checkpoint, trainer
from hive_mtl.learn.batches import Batch
from learning import logged, speaker_names, write_corpus, write_recipe
from tiny_model import DIM, save_tiny_model
from voices import RATE, voice

Call = Callable[..., tuple[int, str, str]]
VALIDATION = 3  # voices that are held out


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), training=8, validation=VALIDATION)


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two voices, enough of each for a dialogue."""
    folder = tmp_path_factory.mktemp("talks") / "talk"
    for seed in range(2):
        (folder / str(seed)).mkdir(parents=True)
        for take in range(3):
            sf.write(folder / str(seed) / f"{take}.wav", voice(3.0 + take, seed=seed), RATE)
    return folder


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder has a model and a recipe."""
    monkeypatch.chdir(tmp_path)
    save_tiny_model(Path("tiny.onnx"))
    write_recipe(Path("tiny.toml"), Path("cache"))


@pytest.fixture
def text() -> str:
    """A folder whose one recording is text."""
    Path("own/ann").mkdir(parents=True)
    Path("own/ann/text.wav").write_text("hello")
    return "own"


def refused(call: Call, *words: str) -> str:
    """The one line of a command that must fail."""
    status, out, err = call(*words)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "bug" not in err
    return err


class TestEvaluate:
    @pytest.fixture
    def report(self, call: Call, corpus: Path) -> Callable[..., dict[str, Any]]:
        """The report of a model on the voices held out of the corpus, unless it is to be others."""

        def evaluate(*words: str, voices: str = "validation") -> dict[str, Any]:
            data = ("--data", str(corpus), *(("--split", voices) if voices else ()))
            status, out, err = call("evaluate", "tiny.onnx", *data, *words, "--json")
            assert (status, err) == (0, "")
            return json.loads(out)

        return evaluate

    def test_it_writes_the_report_that_it_tells(self, report, call: Call, corpus: Path) -> None:
        told = report("--out", "some/report")
        assert told["split"] == "validation"
        assert [each["speakers"] for each in told["coverage"]] == [VALIDATION]
        assert json.loads(Path("some/report/report.json").read_text()) == told
        words = ("evaluate", "tiny.onnx", "--data", str(corpus), "--split", "validation")
        assert call(*words)[1].strip() == Path("some/report/report.md").read_text().strip()
        written = {path.name for path in Path("some/report").iterdir()}
        assert written == {"report.json", "report.md", "det.png", "scores.png"}

    def test_it_judges_the_pairs_of_a_list(self, report) -> None:
        one, other, _ = speaker_names(VALIDATION, validation=True)
        Path("pairs").write_text(f"1 {one}-0.wav {one}-1.wav\n0 {one}-0.wav {other}-0.wav\n")
        everyone, *_ = report("--trials", "pairs")["verification"]
        found = {name: everyone[name] for name in ("corpus", "targets", "nontargets")}
        assert found == {"corpus": "(trial list)", "targets": 1, "nontargets": 1}

    def test_it_clusters_voices_of_several_corpora_together(self, report, talk: Path) -> None:
        words = ("--data", str(talk), "--clustered", "tiny,talk")
        *alone, together = report(*words, voices="")["clustering"]
        assert {(*each["corpora"], each["voices"]) for each in alone} == {("talk", 2), ("tiny", 11)}
        assert (together["corpora"], together["voices"]) == (["tiny", "talk"], 13)

    def test_it_identifies_as_the_original_did(self, report) -> None:
        scopes = {each["scope"] for each in report("--original-test")["identification"]}
        assert {"first utterance enrolled", "first utterance enrolled, crops of 1.6 s"} < scopes

    def test_it_judges_vectors_kept_in_bits_where_it_is_asked_to(self, report) -> None:
        kept = report("--bits", "--out", "bits")["binary"]
        sizes = {each["form"]: each["size"] for each in kept}
        assert (sizes["float32"], sizes["512 bits"]) == (4 * DIM, 64)
        assert "## Kept in fewer bits" in Path("bits/report.md").read_text()
        assert report()["binary"] == []

    def test_it_judges_worse_recordings(self, report) -> None:
        judged = {each["name"] for each in report("--conditions")["conditions"]}
        assert {"full", "1s", "noise 0 dB", "telephone"} <= judged

    def test_it_names_what_it_could_not_hear(self, call: Call, talk: Path, text: str) -> None:
        data = ("--data", str(talk), "--data", text)
        status, out, err = call("evaluate", "tiny.onnx", *data, "--json")
        assert status == 2
        assert err.startswith(f"hive-mtl: {Path(text, 'ann/text.wav').absolute()}: ")
        assert [Path(each["path"]).name for each in json.loads(out)["failures"]] == ["text.wav"]

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("--clustered", "talk,here"), "corpus 'here': not in the data: it has talk"),
            (("--clustered", ""), "corpus '': not in the data"),
            (("--trials", "nowhere"), "nowhere: cannot be read as a trial list"),
        ],
    )
    def test_what_is_not_there_is_one_line(self, call: Call, talk: Path, words, says) -> None:
        assert says in refused(call, "evaluate", "tiny.onnx", "--data", str(talk), *words)


class TestEvaluateDiarization:
    def test_it_composes_as_many_dialogues_as_it_is_told_by_the_seed(
        self, call: Call, talk: Path
    ) -> None:
        words = ("evaluate-diarization", "tiny.onnx", "--data", str(talk), "--dialogues")
        status, one, err = call(*words, "1", "--json")
        assert (status, err) == (0, "")
        told = [(row["voices"], row["told"], row["dialogues"]) for row in json.loads(one)]
        assert told == [("2", False, 1), ("all", False, 1), ("2", True, 1), ("all", True, 1)]
        assert call(*words, "1", "--json", "--seed", "0")[1] == one
        assert call(*words, "1", "--json", "--seed", "1")[1] != one
        assert "| all | yes | 2 |" in call(*words, "2")[1]

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("--dialogues", "0"), "--dialogues"),
            (("--seed", "-1"), "--seed"),
            (("--split", "test"), "no rows of split 'test'"),
        ],
    )
    def test_what_makes_no_sense_is_one_line(self, call: Call, talk: Path, words, says) -> None:
        words = ("evaluate-diarization", "tiny.onnx", "--data", str(talk), *words)
        assert says in refused(call, *words)


@pytest.mark.usefixtures("no_export")
class TestTrain:
    def test_it_names_what_it_could_not_hear(self, call: Call, corpus: Path, text: str) -> None:
        status, out, err = call("train", "tiny.toml", "--data", str(corpus), "--data", text)
        assert (status, out.partition(";")[0]) == (2, "runs/tiny: trained")
        assert err.splitlines()[-1].startswith(f"hive-mtl: {Path(text, 'ann/text.wav').absolute()}")

    def test_it_goes_on_where_it_stopped(
        self, call: Call, corpus: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        learn, steps = trainer.Run._step, []

        def stopped(run: trainer.Run, step: int, batch: Batch) -> None:
            steps.append(step)
            if steps == [1, 2, 3, 4, 5]:
                raise KeyboardInterrupt
            learn(run, step, batch)

        monkeypatch.setattr(trainer.Run, "_step", stopped)
        words = ("train", "tiny.toml", "--data", str(corpus))
        assert call(*words)[0] == 130
        status, out, err = call(*words, "--resume")
        assert (status, steps) == (0, [1, 2, 3, 4, 5, 4, 5, 6])
        assert "there is no run to go on with" not in err
        assert out.startswith("runs/tiny: trained")

    def test_it_says_where_there_is_no_run_to_go_on_with(self, call: Call, corpus: Path) -> None:
        words = ("train", "tiny.toml", "--data", str(corpus), "--set", "trainer.steps=1")
        status, _, err = call(*words, "--out", "typo", "--resume")
        assert status == 0
        assert err.startswith("typo: there is no run to go on with: this one begins\n")

    def test_it_begins_with_the_weights_of_another_run(self, call: Call, corpus: Path) -> None:
        words = ("train", "tiny.toml", "--data", str(corpus), "--set", "trainer.steps=1")
        assert call(*words, "--out", "first")[0] == 0
        slowly = ("--set", "trainer.learning_rate=1e-9", "--set", "trainer.seed=5")
        assert call(*words, *slowly, "--from", "first", "--out", "second")[0] == 0
        first, second = (checkpoint.load(Path(run)).weights for run in ("first", "second"))
        for name in ("trunk.stem.0.weight", "heads.gender.weight"):
            torch.testing.assert_close(second[name], first[name], atol=1e-6, rtol=0)
        assert [line["step"] for line in logged(Path("second"))] == [1, 1]

    def test_it_teaches_a_frozen_embedding_a_new_task(self, call: Call, corpus: Path) -> None:
        words = ("train", "tiny.toml", "--data", str(corpus), "--tasks")
        assert call(*words, "gender", "--out", "first")[0] == 0
        assert call(*words, "mood", "--from", "first", "--freeze", "--out", "second")[0] == 0
        first, second = (checkpoint.load(Path(run)) for run in ("first", "second"))
        assert set(first.header.tasks) == {"gender"}
        assert set(second.header.tasks) == {"gender", "mood"}
        for name, weight in first.weights.items():
            assert torch.equal(second.weights[name], weight), name


def test_a_checkpoint_of_keras_needs_the_names_of_its_speakers(call: Call) -> None:
    with h5py.File("it.h5", "w") as file:
        layer = file.create_group("speaker_pred")
        file.attrs["layer_names"] = ["speaker_pred"]
        layer.attrs["weight_names"] = ["speaker_pred/kernel", "speaker_pred/bias"]
        layer["speaker_pred/kernel"], layer["speaker_pred/bias"] = np.zeros((1024, 4)), np.zeros(4)
    words = ("import-keras", "it.h5", "--out", "run")
    assert "classifies 4 speakers: name them with --speakers" in refused(call, *words)
    Path("names").write_text("ann\nbob\n")
    assert "4 speakers, but 2 names" in refused(call, *words, "--speakers", "names")
    assert not Path("run").exists()
