"""The model card: a pure function of what a model says of itself and of a report."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

import hive_mtl
from hive_mtl.description import DataSummary
from hive_mtl.evaluate import evaluate, judge_conditions, take_split
from hive_mtl.evaluate.card import about_model, card, voices_per_label
from hive_mtl.faces.cli import main
from hive_mtl.learn import corpora
from learning import CORPUS, write_corpus
from tiny_model import AGE, GENDER, description, save_tiny_model

EXPECTED = Path(__file__).with_name("expected_card.md")
LEARNT = DataSummary(
    corpus=CORPUS, speakers=6, utterances=12, hours=0.008, licences=("CC0",), sources=("nobody/x",)
)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    # noise is drawn by the last two names of a path, so they are the same in every run
    folder = tmp_path_factory.mktemp("card") / "corpus"
    folder.mkdir()
    return corpora.read(str(write_corpus(folder)))


@pytest.fixture
def model_file(tmp_path):
    heads = (GENDER, AGE.model_copy(update={"withheld": "no skill on voices it has not met"}))
    said = description(data=(LEARNT,), heads=heads, provisional=True)
    return save_tiny_model(tmp_path / "model.onnx", metadata=said.model_dump_json())


@pytest.mark.slow
def test_the_card_is_made_anew_from_the_model_and_the_report(table, model_file):
    model = hive_mtl.load(model_file, threads=1)
    (model_file.parent / "about.md").write_text("### Attribution\n\nNobody & sons.\n")
    judged = take_split(table, "validation", "the table")
    report = replace(
        evaluate(model, judged, bootstrap=20),
        split="validation",
        conditions=judge_conditions(model, judged, bootstrap=20),
    )
    labels = voices_per_label(model.description, table)
    made = card(model.description, report, labels, about_model(model_file))
    found = model_file.parent / "made.md"
    found.write_text(made, encoding="utf-8")
    assert made == EXPECTED.read_text(encoding="utf-8"), f"if it is as it should be, keep {found}"


def test_voices_are_counted_by_label_where_the_model_learnt(table, model_file):
    said = hive_mtl.load(model_file).description
    counts = voices_per_label(said, table)
    assert counts["gender"] == {"female": 3, "male": 3}
    assert counts["age"] == {"16 to 59": 4, "60 and over": 2}
    nobody = table.set_column(
        table.schema.get_field_index("speaker"), "speaker", pa.nulls(len(table), pa.string())
    )
    assert sum(voices_per_label(said, nobody)["gender"].values()) == len(nobody)
    elsewhere = LEARNT.model_copy(update={"corpus": "another"})
    assert voices_per_label(said.model_copy(update={"data": (elsewhere,)}), table) == {
        "gender": {},
        "age": {},
    }


def test_a_card_says_what_is_not_known(table, model_file):
    model = hive_mtl.load(model_file, threads=1)
    report = evaluate(model, table.slice(0, 4), bootstrap=10)
    made = card(model.description, report, {})
    assert "Not measured." in made
    assert "On all of the data given." in made
    assert "no skill on voices it has not met" in made
    assert "$" not in made
    assert about_model(model_file) == ""


def test_a_folder_in_place_of_the_card_is_told_before_any_work(tmp_path, model_file, capsys):
    data = write_corpus(tmp_path / "corpus")
    words = ["evaluate", str(model_file), "--data", str(data), "--card", str(tmp_path)]
    assert main([*words, "-o", str(tmp_path / "report")]) == 2
    complaint = f"hive-mtl: {tmp_path}: is a folder: give the name of a file\n"
    assert capsys.readouterr() == ("", complaint)


@pytest.mark.slow
def test_the_command_writes_a_card(tmp_path, model_file, capsys):
    data = write_corpus(tmp_path / "corpus")
    out = tmp_path / "cards" / "MODEL_CARD.md"
    words = ["evaluate", str(model_file), "--data", str(data), "--split", "validation"]
    assert main([*words, "--card", str(out)]) == 0
    made = out.read_text(encoding="utf-8")
    assert made.startswith("# Model card: tiny-0123456789ab\n")
    assert "| tiny | noise 10 dB |" in made
    assert "## Conditions" in capsys.readouterr().out
