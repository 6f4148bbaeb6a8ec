import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import hive_mtl
from hive_mtl.errors import ConfigError, DataError, ModelError
from hive_mtl.learn import checkpoint, trainer
from hive_mtl.learn.batches import Batch
from hive_mtl.learn.config import Recipe
from hive_mtl.learn.journal import Journal
from hive_mtl.learn.schedules import warm_up_and_cosine
from hive_mtl.learn.trainer import train
from learning import (
    assert_same_checkpoints,
    interrupted_run,
    logged,
    speaker_names,
    tiny_recipe,
    write_corpus,
    write_table,
)
from voices import RATE, voice

EVERYTHING = {
    "speaker": {"speeds": [1.0, 0.9], "loss": {"name": "aam", "margin": 0.0, "scale": 10.0}},
    "gender": {},
    "age": {},
}


@pytest.fixture(scope="module")
def run(corpus: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of sixty steps, from the table of utterances to the exported model."""
    recipe = tiny_recipe(
        cache,
        tasks=EVERYTHING,
        batches={"size": 16},
        augment={"frequency_masks": 1},
        trainer={"steps": 60, "validate_every": 30, "learning_rate": 0.01, "seed": 1},
    )
    return train(recipe, [str(corpus)], tmp_path_factory.mktemp("runs") / "run").folder


@pytest.fixture(scope="module")
def chosen(corpus: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ends where gender and age no longer gain, with gradient cosines."""
    trainer = {"steps": 60, "validate_every": 2, "cosines_every": 2}
    plateau = {"stop_after": 3, "stop_gain": 0.5}
    recipe = tiny_recipe(
        cache,
        tasks=EVERYTHING,
        trainer={**trainer, "chosen_by": ["gender", "age"], "plateau": plateau},
    )
    return train(recipe, [str(corpus)], tmp_path_factory.mktemp("runs") / "run").folder


def weights(path: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(path).weights


class TestRun:
    def test_leaves_all_its_files(self, run: Path) -> None:
        names = {path.name for path in run.iterdir()}
        assert names == {
            "last.safetensors",
            "best.safetensors",
            "model.onnx",
            "model.json",
            "model.safetensors",
            "log.jsonl",
            "tensorboard",
        }
        assert any(path.name.startswith("events") for path in (run / "tensorboard").iterdir())

    def test_learns(self, run: Path) -> None:
        losses = [line for line in logged(run) if "loss/speaker" in line]
        assert [line["step"] for line in losses] == [50, 60]
        for task, chance in losses_by_chance(run).items():
            early, late = (line[f"loss/{task}"] for line in losses)
            assert late < early
            assert late < 0.95 * chance  # 0.87 to 0.91 by the order of sums alone

    def test_the_rate_goes_by_its_schedule(self, run: Path) -> None:
        rates = {line["step"]: line["learning_rate"] for line in logged(run) if "loss/age" in line}
        assert rates == {
            step: pytest.approx(0.01 * warm_up_and_cosine(step, 60, 0.05)) for step in (50, 60)
        }

    def test_validates_on_voices_it_does_not_learn(self, run: Path) -> None:
        found = [line for line in logged(run) if "validation/eer/tiny" in line]
        assert [line["step"] for line in found] == [30, 60]
        assert all(0 <= line["validation/eer/tiny"] <= 1 for line in found)
        assert "validation/balanced_accuracy/gender" in found[0]
        learnt = checkpoint.load(run).header.tasks["speaker"]["classes"]
        assert learnt == [f"tiny/{name}" for name in speaker_names(8, validation=False)]

    def test_best_is_the_checkpoint_with_the_lowest_error(self, run: Path) -> None:
        errors = {
            line["step"]: line["validation/eer/tiny"]
            for line in logged(run)
            if "validation/eer/tiny" in line
        }
        best = checkpoint.load(run / "best.safetensors").header
        last = checkpoint.load(run / "last.safetensors").header
        assert best.best == last.best == min(errors.values()) == errors[best.step]
        assert last.step == 60

    def test_only_last_can_be_resumed(self, run: Path) -> None:
        assert checkpoint.load(run / "best.safetensors").optimiser == {}
        assert checkpoint.load(run / "last.safetensors").optimiser
        assert (run / "best.safetensors").stat().st_size < (run / "last.safetensors").stat().st_size

    def test_says_what_it_learnt_from(self, run: Path) -> None:
        (data,) = checkpoint.load(run).header.data
        assert (data.corpus, data.speakers, data.utterances) == ("tiny", 8, 16)

    def test_gives_a_model_that_works(self, run: Path) -> None:
        model = hive_mtl.load(run)
        assert model.description.calibration is not None
        same = model.verify((voice(2.5, 3), RATE), (voice(3.0, 3), RATE))
        assert 0 <= same.probability <= 1
        assert set(model.attributes((voice(2.0), RATE))) == {"gender", "age"}


@pytest.mark.usefixtures("no_export")
def test_a_margin_grows_during_a_run(corpus: Path, cache: Path, tmp_path: Path) -> None:
    def classifier(margin: float) -> torch.Tensor:
        loss = {"name": "aam", "margin": margin, "ramp": [0.0, 0.5]}
        recipe = tiny_recipe(cache, tasks={"speaker": {"loss": loss}})
        out = train(recipe, [str(corpus)], tmp_path / str(margin)).folder
        return weights(out / "last.safetensors")["heads.speaker.weight"]

    assert not torch.equal(classifier(0.0), classifier(0.4))


class TestChosenByTasks:
    def test_the_best_has_the_least_of_their_mean_error(self, chosen: Path) -> None:
        shares = {
            line["step"]: sum(line[f"validation/share_of_chance/{t}"] for t in ("gender", "age"))
            / 2
            for line in logged(chosen)
            if "validation/share_of_chance/gender" in line
        }
        best = checkpoint.load(chosen).header
        assert best.best == min(shares[step] for step in shares if step <= best.step)
        assert shares[best.step] == pytest.approx(best.best)

    def test_the_run_ends_where_they_no_longer_gain(self, chosen: Path) -> None:
        assert 6 <= checkpoint.load(chosen / "last.safetensors").header.step < 60

    @pytest.mark.slow
    def test_the_workers_end_in_peace_where_it_ends_early(
        self, corpus: Path, cache: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        recipe = tiny_recipe(
            cache,
            batches={"size": 64, "crop_s": [2.0, 2.0]},
            augment={"coloured_noise": 0.5},
            trainer={
                "workers": 1,
                "steps": 100,
                "validate_every": 2,
                "plateau": {"stop_after": 1, "stop_gain": 10.0},
            },
        )
        train(recipe, [str(corpus)], tmp_path / "run")
        *_, last = capfd.readouterr().err.splitlines()
        assert last == "no gain any more: the run is over"

    def test_says_whether_the_tasks_pull_the_same_way(self, chosen: Path) -> None:
        lines = [line for line in logged(chosen) if "gradient_cosine/speaker/gender" in line]
        assert [line["step"] for line in lines][:3] == [2, 4, 6]
        pairs = {key for line in lines for key in line if key.startswith("gradient_cosine/")}
        assert len(pairs) == 3
        assert all(-1 <= line[key] <= 1 for line in lines for key in pairs & line.keys())


def losses_by_chance(run: Path) -> dict[str, float]:
    """The losses of a network that finds every answer as likely as any other."""
    voices = len(checkpoint.load(run).header.tasks["speaker"]["classes"])
    return {
        "speaker": torch.tensor(2.0 * voices).log().item(),
        "gender": torch.tensor(2.0).log().item(),
        "age": torch.tensor(2.0).log().item(),
    }


@pytest.mark.usefixtures("no_export")
class TestRefusals:
    def recipe(self, cache: Path, **changes: Any) -> Recipe:
        return tiny_recipe(cache, **changes)

    def test_a_folder_with_a_run_is_not_overwritten(
        self, run: Path, corpus: Path, cache: Path
    ) -> None:
        with pytest.raises(ConfigError, match="holds a run already: go on with --resume"):
            train(self.recipe(cache), [str(corpus)], run)

    def test_a_run_is_resumed_only_with_its_recipe(
        self, run: Path, corpus: Path, cache: Path, tmp_path: Path
    ) -> None:
        copy = shutil.copytree(run, tmp_path / "copy")
        with pytest.raises(ConfigError, match="recipe differs"):
            train(self.recipe(cache), [str(corpus)], copy, resume=True)

    def test_a_run_is_resumed_only_with_its_data(
        self, run: Path, cache: Path, tmp_path: Path
    ) -> None:
        copy = shutil.copytree(run, tmp_path / "copy")
        another = write_corpus(tmp_path / "another", training=4)
        with pytest.raises(DataError, match="data differs"):
            train(checkpoint.load(run).recipe, [str(another)], copy, resume=True)

    def test_a_run_is_resumed_only_with_its_data_in_its_order(
        self, corpus: Path, cache: Path, tmp_path: Path
    ) -> None:
        with corpus.open() as file:
            rows = [
                {**row, "path": str(corpus.parent / row["path"])} for row in csv.DictReader(file)
            ]
        data = [
            str(write_table(tmp_path / f"{number}.csv", rows[number::2])) for number in range(2)
        ]
        recipe = self.recipe(cache)
        folder = train(recipe, data, tmp_path / "run").folder
        with pytest.raises(DataError, match=r"data differs.*order"):
            train(recipe, data[::-1], folder, resume=True)
        train(recipe, data, folder, resume=True)

    def test_a_corpus_that_was_moved_is_the_same(
        self, corpus: Path, cache: Path, tmp_path: Path
    ) -> None:
        recipe = self.recipe(cache)
        folder = train(recipe, [str(corpus)], tmp_path / "run").folder
        moved = tmp_path / "moved"
        shutil.copytree(corpus.parent, moved, copy_function=shutil.copyfile)  # with new dates
        train(recipe, [str(moved / corpus.name)], folder, resume=True)

    def test_a_checkpoint_that_does_not_name_its_data_goes_on(
        self, corpus: Path, cache: Path, tmp_path: Path
    ) -> None:
        recipe = self.recipe(cache)
        last = train(recipe, [str(corpus)], tmp_path / "run").folder / "last.safetensors"
        old = checkpoint.load(last)
        header = old.header.model_copy(update={"data_digest": None})
        checkpoint.save_weights(last, header, old.weights, old.optimiser)
        train(recipe, [str(corpus)], last.parent, resume=True)

    def test_no_data(self, cache: Path, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no data"):
            train(self.recipe(cache), [], tmp_path / "run")

    def test_nothing_to_train_on(self, cache: Path, tmp_path: Path) -> None:
        table = write_corpus(tmp_path / "corpus", training=0)
        with pytest.raises(DataError, match="no utterances to learn from") as caught:
            train(self.recipe(cache), [str(table)], tmp_path / "run")
        assert "\n" not in str(caught.value)

    def test_an_unknown_task(self, corpus: Path, cache: Path, tmp_path: Path) -> None:
        recipe = self.recipe(cache, tasks={"moood": {}})
        with pytest.raises(ConfigError, match=r"unknown task 'moood'.*did you mean 'mood'"):
            train(recipe, [str(corpus)], tmp_path / "run")

    def test_a_task_of_the_recipe_without_labels_is_left_out(
        self, corpus: Path, cache: Path, tmp_path: Path
    ) -> None:
        recipe = self.recipe(cache, tasks={"speaker": {}, "emotion": {}})
        done = train(recipe, [str(corpus)], tmp_path / "run").folder
        assert list(checkpoint.load(done).header.tasks) == ["speaker"]

    def test_a_required_task_without_labels(
        self, corpus: Path, cache: Path, tmp_path: Path
    ) -> None:
        recipe = self.recipe(cache, tasks={"speaker": {}, "emotion": {"required": True}})
        with pytest.raises(DataError, match=r"task 'emotion'.*leave the task out"):
            train(recipe, [str(corpus)], tmp_path / "run")

    def test_a_best_checkpoint_by_tasks_that_are_all_left_out(
        self, corpus: Path, cache: Path, tmp_path: Path
    ) -> None:
        recipe = self.recipe(
            cache, tasks={"speaker": {}, "emotion": {}}, trainer={"chosen_by": ["emotion"]}
        )
        with pytest.raises(ConfigError, match=r"chosen_by.*for emotion: choose from speaker"):
            train(recipe, [str(corpus)], tmp_path / "run")

    def test_a_best_checkpoint_chosen_by_what_learns_no_more(
        self, run: Path, corpus: Path, cache: Path, tmp_path: Path
    ) -> None:
        recipe = tiny_recipe(
            cache, tasks={"mood": {}, "gender": {}}, trainer={"chosen_by": ["gender"]}
        )
        with pytest.raises(ConfigError, match="gender: learns no more: choose from mood"):
            train(recipe, [str(corpus)], tmp_path / "new", start_from=run, freeze=True)

    def test_triplets_within_a_corpus(self, corpus: Path, cache: Path, tmp_path: Path) -> None:
        tasks = {"speaker": {"within_corpus": True, "loss": "triplet"}}
        recipe = tiny_recipe(cache, tasks=tasks)
        with pytest.raises(ConfigError, match="loss 'triplet' compares utterances of all"):
            train(recipe, [str(corpus)], tmp_path / "run")

    def test_a_task_that_no_batch_would_meet_before_the_data_is_prepared(
        self, corpus: Path, tmp_path: Path
    ) -> None:
        with corpus.open(encoding="utf-8", newline="") as file:
            rows = [
                {**row, "path": str(corpus.parent / row["path"])} for row in csv.DictReader(file)
            ]
        # voices with a mood have one recording each, too few for the speaker task
        kept = [row for row in rows if not (row["mood"] and row["path"].endswith("-1.wav"))]
        table = write_table(tmp_path / "table.csv", kept)
        recipe = self.recipe(
            tmp_path / "cache",
            tasks={"speaker": {}, "mood": {}},
            batches={"identity_share": 1.0},
        )
        with pytest.raises(ConfigError, match=r"identity_share.* mood, which would never be met"):
            train(recipe, [str(table)], tmp_path / "run")
        assert not (tmp_path / "cache").exists()

    def test_a_corpus_to_leave_out_that_is_not_there(
        self, corpus: Path, cache: Path, tmp_path: Path
    ) -> None:
        recipe = self.recipe(cache, data={"cache": cache, "leave_out": ["emodb"]})
        with pytest.raises(ConfigError, match="no corpus 'emodb'"):
            train(recipe, [str(corpus)], tmp_path / "run")

    def test_freeze_without_a_model(self, corpus: Path, cache: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="--from"):
            train(self.recipe(cache), [str(corpus)], tmp_path / "run", freeze=True)

    def test_freeze_without_a_new_task(
        self, run: Path, corpus: Path, cache: Path, tmp_path: Path
    ) -> None:
        recipe = self.recipe(cache, tasks={"gender": {}})
        with pytest.raises(ConfigError, match="--tasks"):
            train(recipe, [str(corpus)], tmp_path / "new", start_from=run, freeze=True)

    def test_more_processes_than_gpus(
        self, corpus: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        with pytest.raises(ConfigError, match=r"trainer.devices = 3: .* set it to 2 or less"):
            train(self.recipe(cache, trainer={"devices": 3}), [str(corpus)], tmp_path / "run")

    def test_a_loss_that_is_no_number(
        self, corpus: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            trainer.TaskLosses, "total", lambda _, parts: sum(parts.values()) * torch.nan
        )
        with pytest.raises(ModelError, match=r"not a finite number at step 1.*learning_rate"):
            train(self.recipe(cache), [str(corpus)], tmp_path / "run")
        assert not (tmp_path / "run" / "last.safetensors").exists()

    def test_a_gradient_that_is_no_number(
        self, corpus: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def total(_: Any, parts: dict[str, torch.Tensor]) -> torch.Tensor:
            there = sum(parts.values())
            return there + (there - there.detach()).sqrt()  # finite: its slope at zero is not

        monkeypatch.setattr(trainer.TaskLosses, "total", total)
        with pytest.raises(ModelError, match=r"gradient is not a finite number at step 1.*lower"):
            train(self.recipe(cache), [str(corpus)], tmp_path / "run")
        assert not (tmp_path / "run" / "last.safetensors").exists()


@pytest.mark.usefixtures("no_export")
class TestResume:
    def test_a_finished_run_stays_as_it_is(self, run: Path, corpus: Path, tmp_path: Path) -> None:
        copy = shutil.copytree(run, tmp_path / "copy")
        train(checkpoint.load(run).recipe, [str(corpus)], copy, resume=True)
        for name, weight in weights(run / "last.safetensors").items():
            assert torch.equal(weights(copy / "last.safetensors")[name], weight)
        assert logged(copy) == logged(run)

    def test_a_frozen_run_goes_on_frozen(
        self, frozen: Path, run: Path, corpus: Path, tmp_path: Path
    ) -> None:
        copy = shutil.copytree(frozen, tmp_path / "copy")
        recipe, data = checkpoint.load(frozen).recipe, [str(corpus)]
        for start_from in (None, run):
            with pytest.raises(ConfigError, match=r"--resume: .* with --freeze.* the same --from"):
                train(recipe, data, copy, resume=True, start_from=start_from)
        wanted = tiny_recipe(recipe.data.cache, tasks={"mood": {}})
        wanted = wanted.model_copy(update={"trainer": recipe.trainer})
        train(wanted, data, copy, resume=True, start_from=run, freeze=True)

    def test_without_a_checkpoint_it_begins(
        self, corpus: Path, cache: Path, tmp_path: Path
    ) -> None:
        train(tiny_recipe(cache), [str(corpus)], tmp_path / "run", resume=True)
        assert checkpoint.load(tmp_path / "run" / "last.safetensors").header.step == 6

    def test_an_interrupted_run_ends_as_an_uninterrupted_one(
        self, corpus: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recipe = tiny_recipe(
            cache, tasks=EVERYTHING, augment={"coloured_noise": 0.5, "time_masks": 1}
        )
        whole = train(recipe, [str(corpus)], tmp_path / "whole").folder
        parts = interrupted_run(recipe, corpus, tmp_path / "parts", monkeypatch)
        assert_same_checkpoints(whole, parts)


def test_the_network_hears_what_the_recipe_changes(
    corpus: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def heard(self: Any, step: int, batch: Batch) -> None:
        power = torch.fft.rfft(batch.inputs).abs().square().mean(dim=0)
        assert power[len(power) // 2 + 1 :].sum() < 1e-6 * power.sum()
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer.Run, "_step", heard)
    recipe = tiny_recipe(
        cache, tasks={"speaker": {"speeds": [1.0, 0.9, 1.1]}}, augment={"telephone": 1.0}
    )
    with pytest.raises(KeyboardInterrupt):
        train(recipe, [str(corpus)], tmp_path / "run")


@pytest.mark.usefixtures("no_export")
class TestFineTuning:
    def test_new_voices_change_the_trunk_and_begin_from_its_weights(
        self, run: Path, cache: Path, tmp_path: Path
    ) -> None:
        own = write_corpus(tmp_path / "own", training=4, validation=0)
        recipe = tiny_recipe(
            cache, trunk={"channels": 64}, trainer={"steps": 1, "learning_rate": 1e-9}
        )
        tuned = train(recipe, [str(own)], tmp_path / "tuned", start_from=run).folder
        before, after = weights(run), weights(tuned / "last.safetensors")
        assert checkpoint.load(tuned).recipe.trunk.channels == 16
        for name, weight in after.items():
            if name.startswith("trunk.") and name.endswith("weight"):
                torch.testing.assert_close(weight, before[name], atol=1e-5, rtol=0)
        assert len(after["heads.speaker.weight"]) == 4  # the parent had two speeds of eight

    def test_heads_that_answer_as_before_keep_their_weights(
        self, run: Path, cache: Path, tmp_path: Path
    ) -> None:
        own = write_corpus(tmp_path / "own", training=4, validation=0)
        recipe = tiny_recipe(cache, trainer={"steps": 1, "learning_rate": 1e-9})
        tuned = train(recipe, [str(own)], tmp_path / "tuned", start_from=run).folder
        before, after = weights(run), weights(tuned / "last.safetensors")
        for name in ("heads.gender.weight", "heads.age.weight"):
            torch.testing.assert_close(after[name], before[name], atol=1e-5, rtol=0)

    def test_another_form_of_head_begins_anew(
        self, run: Path, corpus: Path, cache: Path, tmp_path: Path
    ) -> None:
        tasks = {**EVERYTHING, "gender": {"loss": {"name": "aam", "sub_centres": 2}}}
        recipe = tiny_recipe(cache, tasks=tasks, trainer={"steps": 1})
        tuned = train(recipe, [str(corpus)], tmp_path / "tuned", start_from=run).folder
        assert len(weights(tuned)["heads.gender.weight"]) == 4

    def test_the_calibration_of_another_embedding_is_not_inherited(
        self, run: Path, cache: Path, tmp_path: Path
    ) -> None:
        own = write_corpus(tmp_path / "own", training=4, validation=0)
        tuned = train(tiny_recipe(cache), [str(own)], tmp_path / "tuned", start_from=run).folder
        assert checkpoint.load(run).header.calibration is not None
        assert checkpoint.load(tuned).header.calibration is None

    def test_the_data_of_the_parent_is_named_as_well(
        self, run: Path, cache: Path, tmp_path: Path
    ) -> None:
        own = write_corpus(tmp_path / "own", training=4, validation=0)
        tuned = train(tiny_recipe(cache), [str(own)], tmp_path / "tuned", start_from=run).folder
        known = checkpoint.load(run).header.data
        assert checkpoint.load(tuned).header.data[: len(known)] == known
        assert len(checkpoint.load(tuned).header.data) > len(known)

    def test_resumed_without_naming_the_parent_it_still_names_the_parents_data(
        self, run: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = write_corpus(tmp_path / "own", training=4, validation=0)
        recipe = tiny_recipe(cache)
        whole = train(recipe, [str(own)], tmp_path / "whole", start_from=run).folder
        parts = interrupted_run(recipe, own, tmp_path / "parts", monkeypatch, start_from=run)
        assert len(checkpoint.load(parts).header.data) == 2
        assert_same_checkpoints(whole, parts)


def test_a_new_head_learns_from_listed_crops(
    run: Path, corpus: Path, cache: Path, tmp_path: Path
) -> None:
    listed = {"counts_per_speaker": [4, 2]}
    recipe = tiny_recipe(cache, tasks={"mood": {}}, batches=listed, trainer={"epochs": 1})
    out = train(recipe, [str(corpus)], tmp_path / "new", start_from=run, freeze=True).folder
    log = logged(out)
    monitored = {key for entry in log for key in entry if "monitor" in key}
    assert monitored == {"validation/monitor/mood"}


@pytest.mark.usefixtures("no_export")
def test_what_the_embedding_alone_learns_is_not_watched_by_a_head(
    corpus: Path, cache: Path, tmp_path: Path
) -> None:
    """Triplets leave the speaker's head untaught: what it puts first says nothing."""
    listed = {"counts_per_speaker": [4, 2]}
    tasks = {"speaker": {"loss": "triplet"}, "gender": {}}
    recipe = tiny_recipe(cache, tasks=tasks, batches=listed, trainer={"epochs": 1})
    out = train(recipe, [str(corpus)], tmp_path / "run").folder
    monitored = {key for entry in logged(out) for key in entry if "monitor" in key}
    assert monitored == {"validation/monitor/gender"}


@pytest.fixture(scope="module")
def frozen(run: Path, corpus: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run with a head for mood on its frozen embedding."""
    recipe = tiny_recipe(cache, tasks={"mood": {}}, trainer={"learning_rate": 0.01})
    out = tmp_path_factory.mktemp("runs") / "frozen"
    return train(recipe, [str(corpus)], out, start_from=run, freeze=True).folder


class TestFreezing:
    def test_trunk_and_old_heads_stay_bit_for_bit(self, run: Path, frozen: Path) -> None:
        before, after = weights(run), weights(frozen)
        new = after.keys() - before.keys()
        assert new == {"heads.mood.weight", "heads.mood.bias"}
        assert before.keys() < after.keys()
        for name, weight in before.items():
            assert torch.equal(after[name], weight), name

    def test_its_plateau_is_that_of_the_new_head(self, frozen: Path) -> None:
        lines = logged(frozen)
        name = "validation/balanced_accuracy/mood"
        figures = [each[name] for each in lines if name in each]
        header = checkpoint.load(frozen / "last.safetensors").header
        assert header.watched == pytest.approx(figures)
        assert header.best == pytest.approx(1 - max(figures))

    def test_the_new_head_answers_beside_the_old(self, run: Path, frozen: Path) -> None:
        model, parent = hive_mtl.load(frozen), hive_mtl.load(run)
        recording = (voice(2.0, 3), RATE)
        answers = model.attributes(recording)
        assert set(answers) == {"gender", "age", "mood"}
        assert set(answers["mood"].alternatives) == {"calm", "glad"}
        assert answers["gender"] == parent.attributes(recording)["gender"]
        assert model.embed(recording).vector @ parent.embed(recording).vector > 1 - 1e-6


def test_unreadable_recordings_are_left_out_and_told(
    cache: Path, tmp_path: Path, no_export: None
) -> None:
    table = write_corpus(tmp_path / "corpus", training=6, validation=0)
    lines = table.read_text().splitlines()
    broken = tmp_path / "corpus" / "broken.wav"
    broken.write_text("no recording")
    name = speaker_names(1, validation=False)[0]
    table.write_text("\n".join([*lines, f"broken.wav,{name},tiny,female,20,"]) + "\n")
    trained = train(tiny_recipe(cache), [str(table)], tmp_path / "run")
    assert len(trained.failures) == 1
    assert trained.failures[0].startswith(str(broken))


SCRIPT = """
import sys
from pathlib import Path
from hive_mtl.learn.config import parse_recipe
from hive_mtl.learn.trainer import train
import json
if __name__ == "__main__":
    recipe, data, out, resume = sys.argv[1:]
    recipe = parse_recipe(json.loads(Path(recipe).read_text()), "recipe")
    train(recipe, [data], Path(out), resume=resume == "resume")
"""


def start(recipe: Recipe, corpus: Path, out: Path, *, resume: bool = False) -> subprocess.Popen:
    """A training process of its own, on one thread."""
    out.parent.mkdir(parents=True, exist_ok=True)
    script, settings = out.parent / "script.py", out.parent / f"{out.name}.json"
    script.write_text(SCRIPT)
    settings.write_text(recipe.model_dump_json())
    words = [str(settings), str(corpus), str(out), "resume" if resume else "new"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen([sys.executable, str(script), *words], env=environment)


@pytest.mark.slow
def test_killed_in_the_middle_it_ends_with_the_same_weights(
    corpus: Path, cache: Path, tmp_path: Path
) -> None:
    recipe = tiny_recipe(
        cache,
        tasks=EVERYTHING,
        augment={"coloured_noise": 0.3, "equaliser": 0.3, "time_masks": 1},
        trainer={"steps": 300, "validate_every": 40, "workers": 1},
    )
    assert start(recipe, corpus, tmp_path / "whole").wait() == 0
    killed = tmp_path / "killed"
    process = start(recipe, corpus, killed)
    while not (killed / "last.safetensors").is_file() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert checkpoint.load(killed / "last.safetensors").header.step < 300
    assert start(recipe, corpus, killed, resume=True).wait() == 0
    assert_same_checkpoints(tmp_path / "whole", killed)
    assert (killed / "model.onnx").is_file()
    steps = [line["step"] for line in logged(killed) if "loss/speaker" in line]
    assert steps == sorted(set(steps))


@pytest.mark.slow
def test_two_processes_run_the_same_code(corpus: Path, cache: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(cache, tasks=EVERYTHING, trainer={"devices": 2, "steps": 8})
    assert start(recipe, corpus, tmp_path / "run").wait(timeout=300) == 0
    found = checkpoint.load(tmp_path / "run" / "last.safetensors")
    assert found.header.step == 8
    assert all(torch.isfinite(weight).all() for weight in found.weights.values())
    assert (tmp_path / "run" / "model.onnx").is_file()
    assert [line["step"] for line in logged(tmp_path / "run") if "loss/gender" in line] == [8]


def test_processes_share_out_the_batches(cache: Path) -> None:
    """Two of them, from step 1 to step 3: none is learnt from twice."""

    class Numbered(int):
        def to(self, _: str) -> "Numbered":
            return self

        def changed(self) -> "Numbered":
            return self

    learnt = []
    for rank in (0, 1):
        share = object.__new__(trainer.Run)
        share.config, share.start, share.steps, share.watched = tiny_recipe(cache).trainer, 1, 3, []
        share.fabric = SimpleNamespace(world_size=2, global_rank=rank, device="cpu")
        share.dataset = [Numbered(number) for number in range(6)]
        learnt += [(step, int(batch)) for step, batch in share._batches()]
    assert sorted(learnt) == [(2, 2), (2, 3), (3, 4), (3, 5)]


@pytest.mark.slow
def test_of_two_processes_one_says_what_is_wrong(
    cache: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny_recipe(cache, trainer={"devices": 2})
    assert start(recipe, tmp_path / "missing.csv", tmp_path / "run").wait(timeout=300) == 1
    said = capfd.readouterr().err
    assert said.count("Traceback") == said.count("missing.csv: ") == 1
    assert "barrier" not in said


@pytest.mark.usefixtures("no_export")
def test_rows_of_split_test_are_not_learnt_from(corpus: Path, cache: Path, tmp_path: Path) -> None:
    with corpus.open() as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row["path"] = str(corpus.parent / row["path"])
        row["split"] = "train" if number < 12 else "test"
    table = write_table(tmp_path / "table.csv", rows)
    folder = train(tiny_recipe(cache), [str(table)], tmp_path / "run").folder
    assert len(checkpoint.load(folder).header.tasks["speaker"]["classes"]) == 6


def test_the_journal_tells_names_as_they_are(tmp_path, capsys):
    with Journal(tmp_path, start=0, quiet=False) as journal:
        journal.say("d [old]/[/bold]:cat:.wav: empty")
    assert capsys.readouterr().err == "d [old]/[/bold]:cat:.wav: empty\n"
