"""Real recordings, end to end: the shipped model on voices it has not learnt; a short training."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pytest

import hive_mtl
from hive_mtl.evaluate import evaluate
from hive_mtl.faces.cli import main
from hive_mtl.learn import corpora
from hive_mtl.learn.utterances import training_utterances, validation_utterances

pytestmark = pytest.mark.slow

CORPUS = "speechocean762"


@pytest.fixture(scope="module")
def table(shared_speech: Path) -> pa.Table:
    """The recordings of one corpus."""
    everything = corpora.read(str(shared_speech / "manifest.csv"))
    return everything.filter(pc.equal(everything["corpus"], CORPUS))


def test_the_shipped_model_knows_voices_that_it_has_not_learnt(table: pa.Table) -> None:
    report = evaluate(hive_mtl.load(), validation_utterances(table), bootstrap=50)
    assert not report.failures
    (everyone,) = [v for v in report.verification if v.scope == "all"]
    assert everyone.speakers >= 15
    assert everyone.unscored == 0
    assert everyone.eer is not None
    assert everyone.eer.value < 0.15
    (gender,) = [a for a in report.attributes if a.task == "gender" and a.corpus == CORPUS]
    assert gender.value is not None
    assert gender.value.value > 0.7


def test_a_short_training_on_real_speech_learns_and_its_model_answers(
    table: pa.Table, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learnt = training_utterances(table)
    voices = pc.unique(learnt["speaker"]).slice(0, 40)
    few = learnt.filter(pc.is_in(learnt["speaker"], voices))
    pyarrow.csv.write_csv(few.select(["path", "corpus", "speaker", "gender"]), tmp_path / "few.csv")
    words = ["train", "demo", "--data", str(tmp_path / "few.csv"), "--out", str(tmp_path / "run")]
    words += ["--tasks", "speaker,gender", "--set", f"data.cache={tmp_path / 'cache'}"]
    words += ["--set", "trainer.steps=150", "--set", "batches.size=32"]
    assert main(words) == 0

    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open()]
    gender = [entry["loss/gender"] for entry in log if "loss/gender" in entry]
    assert gender[-1] < gender[0]
    one, other = few["path"][0].as_py(), few["path"][1].as_py()
    capsys.readouterr()
    assert main(["attributes", one, "--model", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["gender"]["value"] in {"female", "male"}
    embedded = hive_mtl.load(tmp_path / "run").embed_many([one, other])
    assert all(isinstance(each, hive_mtl.Embedding) for each in embedded)
