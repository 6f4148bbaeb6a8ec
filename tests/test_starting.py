"""How a run begins: from which weights, and what it keeps of them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hive_mtl.errors import ConfigError, ModelError
from hive_mtl.learn import starting
from hive_mtl.learn.checkpoint import Checkpoint, Header, save_weights
from hive_mtl.learn.config import Recipe, parse_recipe
from hive_mtl.learn.model import UnifiedModel, make_heads
from hive_mtl.learn.slim import save_slim
from hive_mtl.learn.starting import checkpoint_to_start_from, inherit, with_trunk_of
from hive_mtl.learn.tasks import Task, get_task
from learning import tiny_recipe


def fitted(recipe: Recipe, labels: dict[str, str]) -> list[Task]:
    """Tasks whose classes are the words of ``labels``."""
    tasks = []
    for name, words in labels.items():
        task, found = get_task(name), sorted(words.split() * 2)
        task.fit(found, list(map(str, range(len(found)))), recipe.tasks[name])
        tasks.append(task)
    return tasks


def network(recipe: Recipe, tasks: list[Task], seed: int) -> UnifiedModel:
    torch.manual_seed(seed)
    heads = make_heads(recipe.tasks, tasks, recipe.trunk.embedding_dim)
    return UnifiedModel(recipe.make_front_end(), recipe.trunk, heads)


def taught(recipe: Recipe, labels: dict[str, str]) -> Checkpoint:
    tasks = fitted(recipe, labels)
    states = {task.name: task.state() for task in tasks}
    header = Header(recipe=recipe.model_dump(mode="json"), tasks=states)
    return Checkpoint(header, network(recipe, tasks, seed=0).state_dict(), {})


def inherited(
    recipe: Recipe, before: dict[str, str], after: dict[str, str]
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Weights of the parent, of a new network, and of that network after it inherited."""
    parent, tasks = taught(recipe, before), fitted(recipe, after)
    model = network(recipe, tasks, seed=1)
    fresh = {name: weight.clone() for name, weight in model.state_dict().items()}
    inherit(model, parent, tasks)
    return parent.weights, fresh, model.state_dict()


def test_classes_that_both_know_carry_over_and_others_begin_anew(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, tasks={"mood": {}})
    old, fresh, new = inherited(recipe, {"mood": "calm glad sad"}, {"mood": "angry glad calm"})
    for name in ("heads.mood.weight", "heads.mood.bias"):
        assert torch.equal(new[name][0], fresh[name][0])  # angry
        assert torch.equal(new[name][1], old[name][0])  # calm
        assert torch.equal(new[name][2], old[name][1])  # glad
    assert torch.equal(new["trunk.stem.0.weight"], old["trunk.stem.0.weight"])


def test_a_voice_carries_all_of_its_centres_at_the_speeds_that_both_have(tmp_path: Path) -> None:
    loss = {"name": "aam", "sub_centres": 2}
    speaker: dict[str, Any] = {"loss": loss, "speeds": [1.0, 0.9]}
    recipe = tiny_recipe(tmp_path, tasks={"speaker": speaker})
    parent = taught(recipe, {"speaker": "t/a t/b"})
    wanted = tiny_recipe(tmp_path, tasks={"speaker": {**speaker, "speeds": [1.1, 1.0]}})
    tasks = fitted(wanted, {"speaker": "t/b t/c t/d"})
    model = network(wanted, tasks, seed=1)
    fresh = model.state_dict()["heads.speaker.weight"].clone()
    inherit(model, parent, tasks)
    old = parent.weights["heads.speaker.weight"].view(2, 2, 2, -1)  # speed, voice, centre
    new = model.state_dict()["heads.speaker.weight"].view(2, 3, 2, -1)
    assert torch.equal(new[1, 0], old[0, 1])  # t/b at its own speed
    assert torch.equal(new[0], fresh.view(2, 3, 2, -1)[0])
    assert torch.equal(new[1, 1:], fresh.view(2, 3, 2, -1)[1, 1:])


def test_a_hidden_layer_carries_over_whole_and_the_last_by_class(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, tasks={"mood": {"loss": {"name": "softmax", "hidden": 4}}})
    old, fresh, new = inherited(recipe, {"mood": "calm glad"}, {"mood": "calm sad"})
    assert torch.equal(new["heads.mood.0.weight"], old["heads.mood.0.weight"])
    assert torch.equal(new["heads.mood.1.weight"][0], old["heads.mood.1.weight"][0])
    assert torch.equal(new["heads.mood.1.weight"][1], fresh["heads.mood.1.weight"][1])


def test_with_no_class_in_common_a_head_begins_anew(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, tasks={"mood": {}})
    _, fresh, new = inherited(recipe, {"mood": "calm glad"}, {"mood": "angry sad"})
    assert torch.equal(new["heads.mood.weight"], fresh["heads.mood.weight"])


class TestTheWordPretrained:
    def test_it_names_the_weights_that_ship(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(starting, "files", lambda package: tmp_path)
        with pytest.raises(ModelError, match=r"ships no weights.*\./pretrained"):
            checkpoint_to_start_from("pretrained", freeze=False)
        parent = taught(tiny_recipe(tmp_path, tasks={"mood": {}}), {"mood": "calm glad"})
        shipped = tmp_path / "use" / "pretrained" / "model.safetensors"
        save_slim(shipped, parent)
        found = checkpoint_to_start_from("pretrained", freeze=False)
        assert found is not None
        assert found.header.tasks == parent.header.tasks

    def test_a_folder_of_that_name_is_a_path(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        parent = taught(tiny_recipe(tmp_path, tasks={"mood": {}}), {"mood": "calm glad"})
        save_weights(tmp_path / "pretrained" / "best.safetensors", parent.header, parent.weights)
        for path in ("./pretrained", Path("pretrained")):
            found = checkpoint_to_start_from(path, freeze=False)
            assert found is not None
            assert found.header == parent.header


def test_a_frozen_parent_keeps_only_the_tasks_that_it_has(tmp_path: Path) -> None:
    known = tiny_recipe(tmp_path, tasks={"speaker": {}, "gender": {}})
    parent = taught(known, {"gender": "female male"})  # as a slim one: without its speakers
    wanted = tiny_recipe(tmp_path, tasks={"mood": {}})
    assert set(with_trunk_of(wanted, parent, freeze=True).tasks) == {"mood", "gender"}
    with pytest.raises(ConfigError, match="--tasks"):
        with_trunk_of(tiny_recipe(tmp_path, tasks={"gender": {}}), parent, freeze=True)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("softmax", {"name": "aam"}),
        ("aam", {"name": "softmax"}),
        ({"name": "softmax", "hidden": 8}, {"name": "softmax", "hidden": 4}),
        ({"name": "softmax", "hidden": 8}, "softmax"),
    ],
)
def test_another_form_of_head_begins_anew_whole(tmp_path: Path, before: Any, after: Any) -> None:
    parent = taught(tiny_recipe(tmp_path, tasks={"mood": {"loss": before}}), {"mood": "calm sad"})
    recipe = tiny_recipe(tmp_path, tasks={"mood": {"loss": after}})
    tasks = fitted(recipe, {"mood": "calm sad"})
    model = network(recipe, tasks, seed=1)
    fresh = {name: weight.clone() for name, weight in model.heads.state_dict().items()}
    assert inherit(model, parent, tasks) == {"mood": [0, 1]}
    for name, weight in model.heads.state_dict().items():
        assert torch.equal(weight, fresh[name]), name


def test_a_parent_of_another_rate_needs_kept_features(tmp_path: Path) -> None:
    kept = {"keep": "features", "cache": str(tmp_path)}
    slow = parse_recipe(
        tiny_recipe(tmp_path, tasks={"mood": {}}).model_dump(mode="json")
        | {"sample_rate": 8000, "data": kept},
        "slow",
    )
    parent = taught(slow, {"mood": "calm sad"})
    with pytest.raises(ConfigError, match=r"--from: sample_rate = 8000: waves are kept at 16000"):
        with_trunk_of(tiny_recipe(tmp_path, tasks={"mood": {}}), parent, freeze=False)
    assert with_trunk_of(slow, parent, freeze=False).sample_rate == 8000
