"""The mean of several checkpoints."""

from pathlib import Path

import pytest
import torch

from hive_mtl.description import DataSummary
from hive_mtl.errors import ConfigError, ModelError
from hive_mtl.faces.cli import main
from hive_mtl.learn import checkpoint
from hive_mtl.learn.average import average
from hive_mtl.learn.checkpoint import Header
from hive_mtl.learn.model import UnifiedModel, make_heads
from hive_mtl.learn.tasks import TaskConfig, get_task
from learning import TRUNK, tiny_recipe


def saved(path: Path, seed: int, moods: str = "calm glad", **changes: dict) -> Path:
    """A network of random weights with a head for mood."""
    recipe = tiny_recipe(path.parent, tasks={"mood": {}}, **changes)
    mood = get_task("mood")
    mood.fit(moods.split(), ["a", "b", "c"][: len(moods.split())], TaskConfig(min_speakers=1))
    torch.manual_seed(seed)
    heads = make_heads(recipe.tasks, [mood], 16)
    model = UnifiedModel(recipe.make_front_end(), recipe.trunk, heads)
    model(torch.randn(4, 8000), torch.full((4,), 8000))  # statistics, and a batch to count
    header = Header(
        recipe=recipe.model_dump(mode="json"),
        tasks={"mood": mood.state()},
        data=(DataSummary(corpus=f"of {seed}", speakers=2, utterances=2, hours=0.1),),
        best=0.1,
        step=9,
    )
    checkpoint.save(path, header, model, {})
    return path


def test_every_weight_is_the_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [saved(tmp_path / f"{seed}.safetensors", seed) for seed in range(3)]
    out = tmp_path / "mean.safetensors"
    assert main(["average", *map(str, paths), "-o", str(out)]) == 0
    assert "3 checkpoints" in capsys.readouterr().out
    parts, mean = [checkpoint.load(path) for path in paths], checkpoint.load(out)
    for name, weight in mean.weights.items():
        if weight.is_floating_point():
            expected = sum(part.weights[name] for part in parts) / 3
            torch.testing.assert_close(weight, expected)
    outputs = mean.model()(torch.randn(1, 8000), torch.tensor([8000]))
    assert torch.isfinite(outputs.embedding).all()
    assert [entry.corpus for entry in mean.header.data] == ["of 0", "of 1", "of 2"]
    assert mean.header.calibration is None
    assert mean.header.step == 0


def test_a_checkpoint_and_itself_are_itself(tmp_path: Path) -> None:
    path = saved(tmp_path / "one.safetensors", 1)
    average([path, path], tmp_path / "mean.safetensors")
    mean = checkpoint.load(tmp_path / "mean.safetensors")
    for name, weight in checkpoint.load(path).weights.items():
        torch.testing.assert_close(mean.weights[name], weight)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"moods": "calm glad sad"}, "the classes of 'mood'"),
        ({"trunk": {**TRUNK, "channels": 8}}, "trunk"),
    ],
)
def test_other_networks_are_one_line(tmp_path: Path, changes: dict, words: str) -> None:
    one = saved(tmp_path / "one.safetensors", 1)
    two = saved(tmp_path / "two.safetensors", 2, **changes)
    with pytest.raises(ModelError, match=words) as caught:
        average([one, two], tmp_path / "mean.safetensors")
    assert "two.safetensors: differs from" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "mean.safetensors").exists()


def test_one_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two checkpoints or more"):
        average([saved(tmp_path / "one.safetensors", 1)], tmp_path / "mean.safetensors")
