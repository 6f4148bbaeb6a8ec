"""How long a run will take: measured on a few of its steps, whatever it counts in."""

from pathlib import Path
from typing import Any

import pytest

from hive_mtl.learn.pace import Pace, measure_pace
from learning import tiny_recipe, write_corpus


def test_all_steps_and_their_validations() -> None:
    assert Pace(0.5, 10.0).seconds(steps=100, validate_every=30) == 100 * 0.5 + 4 * 10.0


@pytest.mark.parametrize(
    "long",
    [
        {"trainer": {"steps": 1_000_000}},
        {"trainer": {"epochs": 1_000_000}, "batches": {"counts_per_speaker": [8, 2]}},
    ],
)
def test_a_long_run_is_measured_by_its_beginning(tmp_path: Path, long: dict[str, Any]) -> None:
    data = write_corpus(tmp_path / "corpus", training=6, validation=0)
    pace = measure_pace(tiny_recipe(tmp_path / "cache", **long), [str(data)], tmp_path / "run", 1)
    assert pace.step_s > 0
    assert not list((tmp_path / "run").glob("*.safetensors"))
