from pathlib import Path

import pytest
import torch

from hive_mtl.learn import processes
from hive_mtl.learn.gradients import gradient_cosines
from hive_mtl.learn.trainer import train
from learning import tiny_recipe, write_corpus


def test_losses_that_agree_and_losses_that_do_not() -> None:
    cosines = gradient_cosines(
        lambda vector: {
            "one": vector.sum(),
            "same": 7 * vector.sum(),
            "against": -vector.sum(),
            "half": vector[:2].sum(),  # half of the rows have a label
            "silent": 0 * vector.sum(),
        },
        torch.randn(4, 3),
    )
    assert cosines["gradient_cosine/one/same"] == pytest.approx(1)
    assert cosines["gradient_cosine/one/against"] == pytest.approx(-1)
    assert cosines["gradient_cosine/one/half"] == pytest.approx(0.5**0.5)
    assert not any("silent" in pair for pair in cosines)


def test_a_run_in_half_precision_tells_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "precision", lambda: "bf16-mixed")  # as on a GPU
    corpus = write_corpus(tmp_path / "corpus")
    recipe = tiny_recipe(tmp_path / "cache", trainer={"steps": 2, "cosines_every": 1})
    run = train(recipe, [str(corpus)], tmp_path / "run")
    assert "gradient_cosine/speaker/gender" in (run.folder / "log.jsonl").read_text()
