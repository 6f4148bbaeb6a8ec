from pathlib import Path
from typing import Any

import pytest

from hive_mtl.errors import ConfigError
from hive_mtl.learn.config import Recipe, known_recipes, load_recipe, parse_recipe
from learning import SETTINGS, tiny_recipe


def problem(**changes: Any) -> str:
    """What is said of the tiny recipe with ``changes``."""
    with pytest.raises(ConfigError) as caught:
        parse_recipe({**SETTINGS, **changes}, "my.toml")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("my.toml: ")
    return str(caught.value)


@pytest.mark.parametrize("name", known_recipes())
def test_every_recipe_of_the_package_loads(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert parse_recipe(recipe.model_dump(mode="json"), "again") == recipe


def test_the_recipes_of_the_documentation_are_there() -> None:
    assert {"unified", "demo"} <= set(known_recipes())


def test_a_recipe_survives_json_with_its_open_parts(tmp_path: Path) -> None:
    recipe = tiny_recipe(
        tmp_path, tasks={"speaker": {"speeds": [1.0, 0.9], "loss": {"name": "aam", "margin": 0.3}}}
    )
    again = parse_recipe(recipe.model_dump(mode="json"), "again")
    assert again == recipe
    assert again.tasks["speaker"].speeds == (1.0, 0.9)
    assert again.tasks["speaker"].loss.margin == 0.3
    assert again.trunk.channels == 16


@pytest.mark.parametrize(
    ("changes", "key", "nearest"),
    [
        ({"trian": {}}, "trian", "train"),
        ({"trainer": {"stpes": 3}}, "trainer.stpes", "steps"),
        ({"batches": {"sise": 3}}, "batches.sise", "size"),
        ({"augment": {"nose": 3}}, "augment.nose", "noise"),
        ({"data": {"cahce": "x"}}, "data.cahce", "cache"),
        ({"tasks": {"gender": {"wieght": 1}}}, "wieght", "weight"),
        ({"tasks": {"speaker": {"sped": 1}}}, "sped", "speeds"),
        ({"tasks": {"mood": {"min_speaker": 1}}}, "min_speaker", "min_speakers"),
        ({"tasks": {"gender": {"loss": {"name": "aam", "margn": 1}}}}, "margn", "margin"),
        ({"trunk": {"name": "separable_tdnn", "chanels": 64}}, "chanels", "channels"),
    ],
)
def test_a_typo_names_the_nearest_key(changes: dict, key: str, nearest: str) -> None:
    said = problem(**changes)
    assert f"unknown key '{key}'" in said
    if nearest != "train":
        assert f"did you mean '{nearest}'?" in said


def test_a_misspelt_key_is_named_rather_than_the_missing_one() -> None:
    settings = {key: value for key, value in SETTINGS.items() if key != "name"}
    with pytest.raises(ConfigError, match="unknown key 'naem': did you mean 'name'"):
        parse_recipe({**settings, "naem": "x"}, "my.toml")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trainer": {"steps": 0}}, "trainer.steps: input should be greater than or equal to 1"),
        ({"trainer": {"steps": "many"}}, "trainer.steps: .*given: 'many'"),
        ({"trainer": {"warm_up": 1.0}}, "trainer.warm_up: .*less than 1"),
        ({"trainer": 3}, "trainer: .*given: 3"),
        (
            {"trainer": {"chosen_by": ["speaker", "genders"]}},
            r"trainer.chosen_by: no task 'genders' in the recipe: did you mean 'gender'\?",
        ),
        (
            {"tasks": {"gender": {"loss": {"name": "aam", "ramp": [0.5, 0.2]}}}},
            "tasks.gender: .*ramp: .*lowest.*highest",
        ),
        ({"batches": {"crop_s": [3.0, 2.0]}}, "batches.crop_s: .*lowest.*highest"),
        ({"batches": {"crop_s": [0.0, 2.0]}}, "batches.crop_s.0: .*0.1"),
        ({"batches": {"size": 1}}, "batches.size: .*2"),
        ({"augment": {"snr_db": [20, 5]}}, "augment.snr_db: .*lowest"),
        ({"augment": {"noise": 1.5}}, "augment.noise: .*less than or equal to 1"),
        ({"tasks": {}}, "tasks: .*at least 1"),
        ({"tasks": ["gender"]}, "tasks: .*dictionary"),
        ({"tasks": {"gender": 0.2}}, "tasks.gender: .*given: 0.2"),
        ({"tasks": {"gender": {"weight": -1}}}, "tasks.gender: weight: .*given: -1"),
        ({"tasks": {"speaker": {"speeds": [0.0]}}}, "tasks.speaker: speeds.0: .*greater than 0"),
        ({"tasks": {"gender": {"loss": "ordinal"}}}, "tasks.gender: .*'ordinal': choose from aam"),
        ({"tasks": {"age": {"loss": "softmax"}}}, "tasks.age: .*'softmax': choose from ordinal"),
        ({"tasks": {"gender": {"loss": "triplet"}}}, "tasks.gender: .*'triplet': choose from"),
        ({"tasks": {"gender": {"loss": "aamm"}}}, "tasks.gender: unknown loss.*did you mean 'aam'"),
        ({"tasks": {"a.b": {}}}, "'a.b' cannot be the name of a task"),
        ({"trunk": "separable"}, "unknown trunk 'separable'"),
        ({"trunk": {}}, "a trunk needs a name: choose from"),
        ({"trunk": 5}, "a trunk needs a name: choose from"),
        ({"name": "My Model"}, "name: .*pattern"),
        ({"mels": 0}, "mels: "),
        ({"data": {"keep": "features"}, "augment": {"noise": 0.5}}, "leaves no waves to change"),
        ({"sample_rate": 8000}, "waves are kept at 16000 Hz"),
    ],
)
def test_a_wrong_value_says_where_and_why(changes: dict, said: str) -> None:
    import re

    assert re.search(said, problem(**changes))


class TestOverrides:
    def load(self, *overrides: str) -> Recipe:
        return load_recipe("demo", overrides)

    def test_keys_are_paths_and_values_toml(self) -> None:
        recipe = self.load(
            "trainer.steps=7",
            "trainer.learning_rate = 1e-4",
            "batches.crop_s=[1.0, 3.0]",
            "tasks.gender.weight=0.5",
            "name=mine",
            "provisional=false",
            "data.cache=/a folder/cache",
        )
        assert recipe.trainer.steps == 7
        assert recipe.trainer.learning_rate == 1e-4
        assert recipe.batches.crop_s == (1.0, 3.0)
        assert recipe.tasks["gender"].weight == 0.5
        assert recipe.name == "mine"
        assert not recipe.provisional
        assert recipe.data.cache == Path("/a folder/cache")
        assert recipe.trunk == load_recipe("demo").trunk

    def test_a_new_task_may_be_added(self) -> None:
        assert self.load("tasks.mood.weight=0.1").tasks["mood"].weight == 0.1

    def test_a_bare_name_grows_into_a_table(self) -> None:
        recipe = self.load("tasks.gender.loss=aam", "tasks.gender.loss.margin=0.3")
        assert recipe.tasks["gender"].loss.margin == 0.3

    @pytest.mark.parametrize("override", ["", "trainer.steps", "=3"])
    def test_what_is_no_assignment_is_one_line(self, override: str) -> None:
        with pytest.raises(ConfigError, match="write key=value"):
            self.load(override)

    @pytest.mark.parametrize("override", ["trainer.stepz=3", "trainer.=3", ".=3", "mels.x=3"])
    def test_an_unknown_key_is_one_line(self, override: str) -> None:
        with pytest.raises(ConfigError) as caught:
            self.load(override)
        assert "\n" not in str(caught.value)


class TestFiles:
    def test_an_unknown_recipe_names_the_nearest(self) -> None:
        with pytest.raises(ConfigError, match=r"unknown recipe 'unifed': did you mean 'unified'\?"):
            load_recipe("unifed")

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"no\.toml: cannot be read \(No such file"):
            load_recipe(str(tmp_path / "no.toml"))

    @pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe\x00", b"= 3\n\n"])
    def test_what_is_not_toml(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "my.toml").write_bytes(content)
        with pytest.raises(ConfigError, match=r"my\.toml: not a TOML file") as caught:
            load_recipe(str(tmp_path / "my.toml"))
        assert "\n" not in str(caught.value)

    def test_a_file_by_path(self, tmp_path: Path) -> None:
        (tmp_path / "my.toml").write_text('name = "mine"\ntrunk = "separable_tdnn"\n[tasks.mood]\n')
        recipe = load_recipe(str(tmp_path / "my.toml"))
        assert recipe.name == "mine"
        assert list(recipe.tasks) == ["mood"]
        assert recipe.trunk.name == "separable_tdnn"
