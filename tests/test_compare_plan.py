"""Which trainings a comparison takes, who is held out for it, and what it refuses."""

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from hive_mtl.errors import ConfigError, DataError
from hive_mtl.evaluate.compare.arms import write_json
from hive_mtl.evaluate.compare.held_out import (
    HELD_OUT,
    hold_out,
    is_held_out,
    judged_utterances,
    split_digests,
)
from hive_mtl.evaluate.compare.parallel import gpu_at
from hive_mtl.evaluate.compare.plan import fixed, plan_arms, plan_trainings, refuse_changes
from hive_mtl.evaluate.compare.results import read_json
from hive_mtl.learn.comparing import CompareConfig
from hive_mtl.learn.config import Recipe, known_recipes, load_recipe
from hive_mtl.learn.utterances import (
    is_validation_voice,
    training_utterances,
    validation_utterances,
)
from learning import tiny_recipe, utterances

TASKS = ["speaker", "gender", "age"]


def recipe(**changes: Any) -> Recipe:
    return tiny_recipe(
        Path("cache"), trainer={"plateau": {}, **changes.pop("trainer", {})}, **changes
    )


def table(voices: int = 60, split: str | None = None) -> pa.Table:
    """Voices of two recordings, but every fifth of a single one."""
    return utterances(
        [
            {"path": f"{voice}-{take}.wav", "speaker": f"v{voice}", "split": split}
            for voice in range(voices)
            for take in range(1 if voice % 5 == 0 else 2)
        ]
    )


def names(rows: pa.Table) -> set[str]:
    return set(rows["speaker"].to_pylist())


class TestHeldOut:
    def test_voices_of_several_recordings_one_in_four_by_their_hash(self) -> None:
        everyone = table(400)
        judged = names(judged_utterances(hold_out(everyone, 0), []))
        learnt = names(training_utterances(everyone))
        several = {name for name in learnt if int(name[1:]) % 5}
        assert judged == {name for name in several if is_held_out(f"tiny/{name}", 0)}
        assert 0.18 < len(judged) / len(several) < 0.32

    def test_no_voice_is_of_two_quarters(self) -> None:
        everyone = table(400)
        judged = [names(judged_utterances(hold_out(everyone, each), [])) for each in range(4)]
        several = {f"v{voice}" for voice in range(400) if voice % 5}
        assert sum(map(len, judged)) == len(set.union(*judged))
        assert set.union(*judged) == several & names(training_utterances(everyone))

    def test_a_recording_that_is_cut_up_is_not_several(self) -> None:
        """By its hash the first voice would be held out, too."""
        cut, *others = [
            name
            for name in (f"v{number}" for number in range(400))
            if is_held_out(f"tiny/{name}", 0) and not is_validation_voice("tiny", name)
        ][:3]
        rows = [
            {
                "path": f"{name}-{0 if name == cut else take}.wav",
                "speaker": name,
                "start_s": str(take),
            }
            for name in (cut, *others)
            for take in range(2)
        ]
        assert names(judged_utterances(hold_out(utterances(rows), 0), [])) == set(others)

    def test_nobody_is_in_two_parts_and_validation_stays_what_it_was(self) -> None:
        everyone = table()
        marked = hold_out(everyone, 0)
        parts = [
            names(rows)
            for rows in (
                training_utterances(marked),
                validation_utterances(marked),
                judged_utterances(marked, []),
            )
        ]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 60
        assert parts[1] == names(validation_utterances(everyone))

    def test_other_splits_are_judged_only_where_they_are_named(self) -> None:
        both = pa.concat_tables([table(split="train"), table(5, split="test")])
        both = both.set_column(
            both.schema.get_field_index("corpus"),
            "corpus",
            pa.array(["tiny"] * len(table()) + ["other"] * len(table(5))),
        )
        marked = hold_out(both, 0)
        assert set(judged_utterances(marked, [])["split"].to_pylist()) == {HELD_OUT}
        assert set(judged_utterances(marked, ["test"])["split"].to_pylist()) == {HELD_OUT, "test"}
        with pytest.raises(DataError, match=r"compare.splits: no rows of split 'dev'.*test"):
            judged_utterances(marked, ["dev"])

    def test_digests_tell_other_voices(self) -> None:
        one, other = (split_digests(hold_out(table(count), 0), []) for count in (60, 80))
        assert one == split_digests(hold_out(table(), 0), [])
        assert one["judged"]["sha256"] != other["judged"]["sha256"]
        assert set(one) == {"training", "validation", "judged"}

    def test_too_few_voices(self) -> None:
        with pytest.raises(DataError, match=r"0 voices are held out.*several recordings"):
            hold_out(table(1), 0)


class TestArms:
    def test_each_task_alone_all_together_and_without_what_is_not_labelled(self) -> None:
        arms = plan_arms(recipe(), TASKS, {"speaker": 3, "gender": 0, "age": 7})
        assert {arm.name: list(arm.recipe.tasks) for arm in arms} == {
            "unified": TASKS,
            "specialist-speaker": ["speaker"],
            "specialist-gender": ["gender"],
            "specialist-age": ["age"],
            "labelled-age": TASKS,  # not for gender, which is labelled throughout
        }

    def test_arms_differ_in_their_tasks_and_in_what_must_be_labelled(self) -> None:
        for arm in plan_arms(recipe(), TASKS, dict.fromkeys(TASKS, 1)):
            for part in ("trunk", "augment", "batches", "front_end", "mels"):
                assert getattr(arm.recipe, part) == getattr(recipe(), part)
            assert arm.recipe.data.labelled == (arm.task if arm.kind == "labelled" else None)
            assert arm.recipe.data.model_copy(update={"labelled": None}) == recipe().data
            same = {"chosen_by": (), "cosines_every": None}
            assert arm.recipe.trainer.model_copy(update=same) == recipe().trainer

    def test_each_is_chosen_by_its_own_tasks(self) -> None:
        arms = {
            a.name: a.recipe.trainer for a in plan_arms(recipe(), TASKS, {"gender": 1, "age": 1})
        }
        assert arms["specialist-age"].chosen_by == ("age",)
        assert arms["unified"].chosen_by == arms["labelled-age"].chosen_by == tuple(TASKS)
        assert [name for name, each in arms.items() if each.cosines_every] == ["unified"]

    def test_the_speakers_arm_is_there_whatever_else_is_left_out(self) -> None:
        unlabelled = dict.fromkeys(TASKS, 1)
        for kinds, names in (
            ([], ["unified", "specialist-speaker"]),
            (["labelled"], ["unified", "specialist-speaker", "labelled-gender", "labelled-age"]),
        ):
            arms = plan_arms(recipe(compare={"arms": kinds}), TASKS, unlabelled)
            assert [arm.name for arm in arms] == names
        with pytest.raises(ConfigError, match=r"compare\.arms.*'specialists' or 'labelled'"):
            recipe(compare={"arms": ["specialist"]})

    def test_quarters_have_folders_and_seeds_of_their_own(self) -> None:
        config = CompareConfig(seeds=2, quarters=(3, 1))
        arms = plan_arms(recipe(trainer={"seed": 5}), TASKS, dict.fromkeys(TASKS, 0))
        trainings = plan_trainings(arms, config, Path("out"))
        unified = [each for each in trainings if each.arm.kind == "unified"]
        assert [(each.quarter, each.recipe.trainer.seed, str(each.folder)) for each in unified] == [
            (3, 5, "out/quarter3/arms/unified/seed5"),
            (3, 6, "out/quarter3/arms/unified/seed6"),
            (1, 7, "out/quarter1/arms/unified/seed7"),
            (1, 8, "out/quarter1/arms/unified/seed8"),
        ]
        assert {str(each.data) for each in trainings if each.quarter == 1} == {
            "out/quarter1/data/everything.parquet"
        }

    @pytest.mark.parametrize("quarters", [[], [4], [-1], [1, 1], 2])
    def test_what_are_no_quarters(self, quarters: object) -> None:
        with pytest.raises(ConfigError, match=r"compare\.quarters") as error:
            recipe(compare={"quarters": quarters})
        assert "\n" not in str(error.value)

    def test_every_arm_has_every_seed(self) -> None:
        arms = plan_arms(recipe(trainer={"seed": 5}), TASKS, {"gender": 1, "age": 0})
        trainings = plan_trainings(arms, CompareConfig(), Path("out"))
        assert len(trainings) == 3 * len(arms)
        assert [each.recipe.trainer.seed for each in trainings[:: len(arms)]] == [5, 6, 7]
        assert len({each.folder for each in trainings}) == len(trainings)
        assert {each.data for each in trainings} == {Path("out/data/everything.parquet")}

    @pytest.mark.parametrize(
        ("settings", "tasks", "problem"),
        [
            ({}, ["gender", "age"], "name speaker"),
            ({}, ["speaker"], "at least one more"),
            ({"trainer": {"plateau": None}}, TASKS, r"trainer\.plateau, as the recipe 'compare'"),
            ({"data": {"labelled": "age"}}, TASKS, r"data\.labelled"),
            ({"trainer": {"epochs": 3}}, TASKS, r"trainer\.epochs"),
            (
                {"distillation": {"teachers": ["runs/large"]}},
                TASKS,
                "teachers: they may",
            ),
            ({"tasks": {"speaker": {"speeds": [1, 0.9]}, "age": {}}}, ["speaker", "age"], "speeds"),
        ],
    )
    def test_what_is_no_fair_comparison(
        self, settings: dict[str, Any], tasks: list[str], problem: str
    ) -> None:
        with pytest.raises(ConfigError, match=problem):
            plan_arms(recipe(**settings), tasks, dict.fromkeys(tasks, 0))

    @pytest.mark.parametrize("name", [n for n in known_recipes() if n.startswith("compare")])
    def test_the_recipes_of_the_package_are_fair(self, name: str) -> None:
        shipped = load_recipe(name)
        tasks = list(shipped.tasks)
        assert len(plan_arms(shipped, tasks, dict.fromkeys(tasks, 1))) == 2 * len(tasks)


class TestFixed:
    def plan(self, **compare: Any) -> dict[str, Any]:
        return fixed(recipe(compare=compare), TASKS, {}, "data")

    def test_the_same_goes_on(self) -> None:
        refuse_changes(self.plan(), self.plan(), Path("out"))
        helped = {"data": {"cache": "elsewhere"}, "trainer": {"workers": 3}}
        moved = fixed(recipe(**helped), TASKS, {}, "data")
        refuse_changes(self.plan(), moved, Path("out"))

    def test_what_began_before_there_was_a_setting_goes_on(self) -> None:
        before = self.plan()
        del before["statistics"]["quarters"], before["recipe"]["trainer"]["refit_heads"]
        refuse_changes(before, self.plan(), Path("out"))
        with pytest.raises(ConfigError, match=r"compare\.quarters was \[0\] .* now \[1\]"):
            refuse_changes(before, self.plan(quarters=[1]), Path("out"))

    def test_it_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        plan = fixed(recipe(trainer={"clip_norm": math.inf}), TASKS, {}, "data")
        write_json(tmp_path / "plan.json", plan, infinite=True)
        assert read_json(tmp_path / "plan.json") == plan

    @pytest.mark.parametrize(
        ("key", "value"), [("margin", 0.2), ("seeds", 4), ("draws", 300), ("splits", ["test"])]
    )
    def test_other_statistics_do_not(self, key: str, value: object) -> None:
        with pytest.raises(ConfigError, match=rf"compare\.{key} was .*choose another --out"):
            refuse_changes(self.plan(), self.plan(**{key: value}), Path("out"))

    def test_another_recipe_data_or_tasks_do_not(self) -> None:
        other = fixed(recipe(trainer={"steps": 7}), TASKS, {}, "data")
        with pytest.raises(ConfigError, match="the recipe differs"):
            refuse_changes(self.plan(), other, Path("out"))
        with pytest.raises(ConfigError, match="the data differs"):
            refuse_changes(self.plan(), fixed(recipe(), TASKS, {}, "more"), Path("out"))
        with pytest.raises(ConfigError, match="the tasks differ from"):
            refuse_changes(self.plan(), fixed(recipe(), TASKS[:2], {}, "data"), Path("out"))

    def test_a_misspelt_key_names_the_nearest(self) -> None:
        with pytest.raises(ConfigError, match=r"compare\.margn.*margin"):
            recipe(compare={"margn": 0.1})


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [
        (None, ["0", "1", "0"]),
        ("2,3", ["2", "3", "2"]),
        ("GPU-8a, GPU-5c", ["GPU-8a", "GPU-5c", "GPU-8a"]),
    ],
)
def test_jobs_take_turns_at_the_gpus_that_are_granted(visible: str | None, gpus: list[str]) -> None:
    assert [gpu_at(place, 2, visible) for place in range(3)] == gpus
