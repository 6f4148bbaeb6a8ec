"""What export fits, given the data of the training."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import hive_mtl as hive
from hive_mtl.errors import DataError
from hive_mtl.evaluate import finish
from hive_mtl.evaluate.calibrating import usable
from hive_mtl.evaluate.embedded import embed_table
from hive_mtl.evaluate.splits import SAME_RECORDING
from hive_mtl.faces.cli import main
from hive_mtl.learn import corpora
from hive_mtl.learn.trainer import train
from hive_mtl.trials import all_pairs
from learning import tiny_recipe, utterances, write_corpus
from voices import RATE, voice


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny model after ``finish``, and the table that it learnt from."""
    folder = tmp_path_factory.mktemp("finished")
    table = write_corpus(folder / "corpus", training=8, validation=6, seconds=2.5)
    run = train(tiny_recipe(folder / "cache"), [str(table)], folder / "run").folder
    finish(run / "model.onnx", corpora.read(str(table)), str(table))
    return run / "model.onnx", table


def test_halves_of_a_recording_stand_in_only_where_there_is_nothing_else() -> None:
    def of(corpus: str) -> pa.Table:
        rows = [
            {"path": f"{n}.wav", "speaker": str(n // 2), "corpus": corpus, "duration_s": "3"}
            for n in range(12)
        ]
        return utterances(rows)

    own, halves = of("read"), of("read" + SAME_RECORDING)
    assert set(usable(pa.concat_tables([own, halves]))["corpus"].to_pylist()) == {"read"}
    assert len(usable(halves)) == 12
    with pytest.raises(DataError, match="no corpus has 5 voices"):
        usable(own.slice(0, 6))


@pytest.mark.slow
class TestFinish:
    def test_scores_are_normalised_and_read_by_quality(self, finished: tuple[Path, Path]) -> None:
        model = hive.load(finished[0])
        assert model.cohort is not None
        assert len(model.cohort) == 8
        calibration = model.description.calibration
        assert calibration is not None
        assert calibration.normalised
        assert {"score", "log_shorter", "lower_snr"} <= set(calibration.weights)
        assert set(calibration.thresholds) == {"0.1", "0.01", "0.001"}

    def test_every_head_is_judged(self, finished: tuple[Path, Path]) -> None:
        heads = hive.load(finished[0]).description.heads
        assert {head.task for head in heads} == {"gender", "age"}
        assert all(head.temperature != 1.0 or head.withheld for head in heads)

    def test_a_verdict_is_one_and_the_same_by_score_and_by_threshold(
        self, finished: tuple[Path, Path]
    ) -> None:
        model = hive.load(finished[0])
        for other in range(4):
            sides = (voice(2.5, 0), RATE), (voice(3.0, other), RATE)
            verdict = model.verify(*sides)
            assert -1 <= verdict.score <= 1
            assert verdict.same == (verdict.score >= verdict.threshold)
            loose = model.verify(*sides, false_alarm=0.1)
            assert loose.threshold <= verdict.threshold
            assert loose.probability == verdict.probability

    def test_too_few_voices_leave_no_unfinished_model(
        self, finished: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        few = write_corpus(tmp_path / "few", training=8, validation=2, seconds=2.5)
        out = tmp_path / "model" / "model.onnx"
        command = ["export", str(finished[0].parent), "-o", str(out), "--data"]
        assert main([*command, str(few)]) == 2
        assert "no corpus has 5 voices" in capsys.readouterr().err
        assert list(out.parent.iterdir()) == []
        assert main([*command, str(finished[1])]) == 0
        assert {path.name for path in out.parent.iterdir()} == {
            "model.onnx",
            "model.json",
            "model.safetensors",
        }

    def test_evaluation_scores_as_verify_does(self, finished: tuple[Path, Path]) -> None:
        model = hive.load(finished[0])
        table = corpora.read(str(finished[1])).slice(0, 6)
        embedded = embed_table(model, table)
        trials = all_pairs(table["speaker"].to_pylist())
        scores = embedded.scores(trials)
        everyone = np.arange(len(table))
        matrix = embedded.score_matrix(everyone, everyone)
        np.testing.assert_allclose(matrix[trials.left, trials.right], scores, atol=1e-4)
        order = np.argsort(scores)
        margins = []
        for trial in order[[0, len(order) // 2, -1]]:
            paths = [table["path"][int(row[trial])].as_py() for row in (trials.left, trials.right)]
            verdict = model.verify(*paths)
            margins.append(verdict.score - verdict.threshold)
        assert margins == sorted(margins)
