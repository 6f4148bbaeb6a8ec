"""A whole comparison: what it reports of simulated answers, and the command from end to end."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from hive_mtl.evaluate.compare import pictures, report
from hive_mtl.evaluate.compare.arms import Cost, Said
from hive_mtl.evaluate.compare.assessing import (
    Assessor,
    Together,
    _against,
    _together,
    assess,
    verdicts,
)
from hive_mtl.evaluate.compare.endpoints import PRIMARY, Endpoints
from hive_mtl.evaluate.compare.parallel import run_all
from hive_mtl.evaluate.compare.plan import Training, plan_arms
from hive_mtl.evaluate.compare.results import (
    EMBEDDINGS,
    PROBES,
    SPECIALIST,
    Comparison,
    expenses,
)
from hive_mtl.evaluate.compare.statistics import Figure, Rules
from hive_mtl.evaluate.compare.traces import Cosine
from hive_mtl.faces.cli import main
from hive_mtl.learn.comparing import CompareConfig
from hive_mtl.learn.tasks import get_task
from learning import tiny_recipe, utterances, write_corpus, write_recipe

VOICES, TAKES, SEEDS = 60, 2, 3
CONFIG = CompareConfig(draws=200)
COST = Cost(1000, 60.0, 90.0, 5_000, 64, 2.5)


def simulated() -> Comparison:
    """The unified arm knows voices better than the speaker arm, and guesses at genders."""
    table = utterances(
        [
            {
                "path": f"{voice}-{take}.wav",
                "speaker": f"v{voice}",
                "corpus": ("read", "phone")[voice % 3 == 0],
                "gender": ("female", "male")[voice % 2],
                "duration_s": "3",
            }
            for voice in range(VOICES)
            for take in range(TAKES)
        ]
    )
    gender = get_task("gender")
    labels = gender.labels_of(table)
    gender.fit(labels, table["speaker"].to_pylist(), gender.Config())
    truth = np.array(labels, dtype=str)

    def said(noise: float, wrong: float, seed: int) -> Said:
        rng = np.random.default_rng(seed)
        voices = np.repeat(np.random.default_rng(0).normal(size=(VOICES, 8)), TAKES, axis=0)
        vectors = voices + noise * rng.normal(size=voices.shape)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        swapped = rng.random(len(truth)) < wrong
        answers = np.where(swapped, np.where(truth == "male", "female", "male"), truth)
        return Said(vectors.astype(np.float32), {"gender": answers}, {"gender": answers})

    recipe = tiny_recipe(Path("cache"), trainer={"plateau": {}}, compare={"draws": 200})
    arms = plan_arms(recipe, ["speaker", "gender"], {"gender": 4})
    quality = {
        "unified": (0.2, 0.5),
        "specialist-speaker": (1.0, 0.05),
        "specialist-gender": (3.0, 0.05),
        "labelled-gender": (0.5, 0.5),
    }
    heard = {
        name: [said(*of, seed=10 * place + seed) for seed in range(SEEDS)]
        for place, (name, of) in enumerate(quality.items())
    }
    assessor = Assessor(Endpoints(table, CONFIG), {"gender": gender}, heard)
    cells, against = assess(Together([assessor]), arms, CONFIG)
    return Comparison(
        recipe="simulated",
        provisional=True,
        tasks=("speaker", "gender"),
        seeds=SEEDS,
        statistics=CONFIG.model_dump(mode="json"),
        splits={"0": {"judged": {"voices": VOICES, "utterances": len(table), "sha256": "0" * 64}}},
        cells=tuple(cells),
        against=tuple(against),
        units={"speaker": "", "gender": ""},
        guesses={"speaker": assessor.guess("speaker"), "gender": assessor.guess("gender")},
        verdicts=verdicts(against),
        titles={arm.name: arm.title for arm in arms},
        steps={"unified": (900, 1_200)},
        revisions={"unified": ("0a1b2c3d4e5f",)},
        most_steps=1_200,
        cosines=(Cosine("speaker", "gender", 0, (50, 100, 150), (0.1, -0.2, 0.05)),),
        expenses=tuple(expenses({arm.name: [COST] * SEEDS for arm in arms}, arms)),
    )


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return simulated()


def test_tasks_and_corpora_may_have_any_name(comparison: Comparison) -> None:
    name = "$\\frac$ x"
    nasty = [
        replace(each, task=name, corpora={name: each.difference, "y": each.difference})
        for each in comparison.against
    ]
    (cosine,) = comparison.cosines
    told = replace(comparison, against=tuple(nasty), cosines=(replace(cosine, one=name),))
    assert name in pictures.forest(told)
    assert f"{name} and gender" in pictures.cosines(told)


def test_the_verdict_of_each_task_is_the_true_one(comparison: Comparison) -> None:
    assert comparison.verdicts == {"speaker": "better", "gender": "worse"}
    found = {(each.task, each.rival): each.difference.verdict for each in comparison.against}
    assert found["gender", SPECIALIST] == found["gender", PROBES] == "worse"
    assert ("speaker", PROBES) not in found  # cosines of the speaker arm are the specialist's
    assert found["gender", EMBEDDINGS] == "worse"
    assert ("speaker", EMBEDDINGS) not in found


def test_every_embedding_is_asked_every_task(comparison: Comparison) -> None:
    asked = {(each.task, each.arm, each.way) for each in comparison.cells}
    assert ("speaker", "specialist-gender", "cosine") in asked
    assert ("gender", "specialist-speaker", "probe") in asked
    assert {each for each in asked if each[1] == "labelled-gender"} == {
        ("gender", "labelled-gender", "head")
    }
    assert all(len(each.seeds) == SEEDS for each in comparison.cells)


def test_a_corpus_that_tells_nothing_of_a_task_is_left_out() -> None:
    """As one whose voices are all of one gender: it would count as a test that was made."""
    defined = Figure.of_corpus(np.full((101, SEEDS), 0.2), VOICES)
    nothing = Figure.of_corpus(np.full((101, SEEDS), np.nan), VOICES)
    figures = {"gender": {PRIMARY: defined, "read": defined, "women": nothing}}
    (found,) = _against(SPECIALIST, figures, figures, Rules())
    assert set(found.corpora) == {"read"}


def test_quarters_of_which_one_tells_nothing_of_a_corpus() -> None:
    """Its figure is that of the others; what a task is over all corpora needs every quarter."""

    def told(errors: dict[str, float]) -> dict[str, Figure]:
        return {
            name: Figure.of_corpus(np.full((101, SEEDS), error), VOICES)
            for name, error in errors.items()
        }

    quarters = [
        told({PRIMARY: 0.2, "read": 0.2, "phone": 0.4}),
        told({PRIMARY: 0.4, "read": np.nan}),
    ]
    means = {name: figure.mean for name, figure in _together(quarters).items()}
    assert means == pytest.approx({PRIMARY: 0.3, "read": 0.2, "phone": 0.4})
    undefined = _together([*quarters, told({PRIMARY: np.nan})])
    assert undefined[PRIMARY].mean is None


def test_one_model_costs_less_than_one_a_task(comparison: Comparison) -> None:
    unified, specialists = comparison.expenses
    assert (unified.parameters, specialists.parameters) == (5_000, 10_000)
    assert (unified.bytes_per_voice, specialists.bytes_per_voice) == (64, 128)
    assert specialists.train_cpu_hours == pytest.approx(2 * 90 / 3600)


def test_the_report_says_it_in_words_tables_and_pictures(
    comparison: Comparison, tmp_path: Path
) -> None:
    report.write(comparison, tmp_path)
    told = (tmp_path / "compare.md").read_text()
    assert "| speaker | better | better | n/a |" in told
    assert "| gender | worse | worse | worse |" in told
    assert "are no results" in told
    assert "| 50.0 |" in told  # a constant answer
    assert "| unified | 900, 1,200 | 0a1b2c3d4e5f |" in told
    assert "All were trained by one revision" in told
    assert f"| 0 | judged | {VOICES} | {VOICES * TAKES} | 0000000000000000 |" in told
    assert "Trainings of each arm: 3 on quarter 0 of the voices; 200 draws" in told
    page = (tmp_path / "compare.html").read_text()
    assert page.count('<div class="card picture"><svg') == 2
    assert "3 seeds on quarter 0 of the voices. The verdict on the unified model, task" in page
    assert not any(fetched in page for fetched in ("src=", "<link", "@import", "url(http"))
    assert "&lt;svg" not in page
    read = json.loads((tmp_path / "compare.json").read_text())
    assert read["verdicts"] == {"speaker": "better", "gender": "worse"}


def test_arms_that_were_not_trained_are_told(comparison: Comparison) -> None:
    few = {**comparison.statistics, "arms": [], "quarters": [1, 3]}
    told, page = (
        say(replace(comparison, statistics=few)) for say in (report.markdown, report.html)
    )
    assert "Of the specialists only that for speakers was trained" in told
    assert "Trainings of each arm: 3 on each of the quarters 1, 3 of the voices" in told
    assert "3 seeds on each of the quarters 1, 3 of the voices. The verdict" in page
    assert "on the unified model against speaker alone + probes, task by task" in page


def test_code_that_changed_between_trainings_is_told(comparison: Comparison) -> None:
    for codes in (("0a1b2c3d4e5f", "a1b2c3d4e5f6"), ("0a1b2c3d4e5f+",), ("unknown",)):
        told = report.markdown(replace(comparison, revisions={"unified": codes}))
        assert "It is not known that one code trained them all" in told
        assert f"| unified | 900, 1,200 | {', '.join(codes)} |" in told


def test_what_is_undefined_is_told_as_such(comparison: Comparison) -> None:
    cells = tuple(replace(each, error=None, seeds=(None,) * SEEDS) for each in comparison.cells)
    against = tuple(
        replace(each, difference=replace(each.difference, estimate=None, relative=None), corpora={})
        for each in comparison.against
    )
    nothing = replace(comparison, cells=cells, against=against, cosines=())
    assert "n/a (n/a, n/a, n/a)" in report.markdown(nothing)
    assert report.html(nothing).count('<div class="card picture">') == 1


RECIPE: dict[str, Any] = {
    "trainer": {
        "steps": 20,
        "validate_every": 5,
        "learning_rate": 0.01,
        "plateau": {"stop_after": 2},
    },
    "compare": {"seeds": 2, "draws": 100, "min_voices": 3, "cosines_every": 2},
    "tasks": {"speaker": {}, "mood": {}},
}


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command, but for how it is run."""
    folder = tmp_path_factory.mktemp("compare")
    data = write_corpus(folder / "corpus", training=36, validation=5)
    out = folder / "out"
    unclipped = ["--set", "trainer.clip_norm=inf"]  # as in the recipe 'original'
    recipe = [str(write_recipe(folder / "tiny.toml", folder / "cache", **RECIPE)), *unclipped]
    return ["compare", *recipe, "--data", str(data), "--out", str(out)]


@pytest.mark.slow
class TestCommand:
    """Every other voice has a mood: four arms, two seeds."""

    def test_a_dry_run_says_what_would_be_done_and_writes_nothing(
        self, words: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main([*words, "--dry-run"]) == 0
        told = capsys.readouterr().err
        assert "unified: speaker, mood; 0 of 2 done" in told
        assert "unified, only where mood is labelled" in told
        assert "8 of 8 trainings to do, each of at most 20 steps" in told
        assert main([*words, "--dry-run", "--seeds", "5", "--tasks", "speaker,gender"]) == 0
        assert "unified: speaker, gender; 0 of 5 done" in capsys.readouterr().err
        assert not Path(words[-1]).exists()

    def test_killed_it_goes_on_and_reports(
        self, words: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = Path(words[-1])
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, "-m", "hive_mtl", *words, "--jobs", "2"]
        process = subprocess.Popen(command, env=environment)
        while not (done := list(out.glob("arms/*/*/done.json"))) and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        begun = {path: path.stat().st_mtime_ns for path in done}
        assert 0 < len(list(out.glob("arms/*/*/done.json"))) < 8

        assert main([*words, "--jobs", "2", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert {path: path.stat().st_mtime_ns for path in begun} == begun
        assert len(list(out.glob("arms/*/*/done.json"))) == 8
        assert set(found["verdicts"]) == {"speaker", "mood"}
        assert all(steps and max(steps) <= 20 for steps in found["steps"].values())
        assert {(each["one"], each["other"]) for each in found["cosines"]} == {("speaker", "mood")}
        for name in ("compare.html", "compare.md", "compare.json", "plan.json", "trials.parquet"):
            assert (out / name).is_file()

    def test_no_arm_has_learnt_from_a_judged_voice(self, words: list[str]) -> None:
        from hive_mtl.learn import checkpoint

        out = Path(words[-1])
        judged = set(pq.read_table(out / "data" / "judged.parquet")["speaker"].to_pylist())
        for run in out.glob("arms/*/*/best.safetensors"):
            classes = checkpoint.load(run).header.tasks.get("speaker", {}).get("classes", [])
            assert not judged & {name.partition("/")[2] for name in classes}

    def test_other_statistics_are_refused(
        self, words: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main([*words, "--set", "compare.margin=0.5"]) == 2
        assert "compare.margin was 0.1" in capsys.readouterr().err

    def test_a_finished_comparison_is_only_judged_again(
        self, words: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = (Path(words[-1]) / "compare.json").read_text()
        assert main(words) == 0
        assert "0 of 8 trainings to do" in capsys.readouterr().err
        assert (Path(words[-1]) / "compare.json").read_text() == before


@pytest.mark.slow
def test_quarters_are_judged_by_models_that_learnt_without_them(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from hive_mtl.learn import checkpoint

    settings = ("compare.quarters=[2,0]", "compare.arms=[]", "compare.seeds=1")
    changes = [word for setting in settings for word in ("--set", setting)]
    assert main([*words[:-1], str(tmp_path), *changes, "--jobs", "2"]) == 0
    told = capsys.readouterr()
    assert "unified: speaker, mood; 0 of 2 done" in told.err
    assert "mood alone" not in told.err
    assert "Trainings of each arm: 1 on each of the quarters 2, 0 of the voices" in told.out
    assert "Of the specialists only that for speakers was trained" in told.out
    everyone: set[str] = set()
    for quarter, seed in ((2, 0), (0, 1)):
        folder = tmp_path / f"quarter{quarter}"
        judged = set(pq.read_table(folder / "data" / "judged.parquet")["speaker"].to_pylist())
        for arm in ("unified", "specialist-speaker"):
            best = folder / "arms" / arm / f"seed{seed}" / "best.safetensors"
            learnt = checkpoint.load(best).header.tasks["speaker"]["classes"]
            assert not judged & {name.partition("/")[2] for name in learnt}
        assert (folder / "trials.parquet").is_file()
        assert not everyone & judged
        everyone |= judged


def end(training: Training, threads: int) -> None:
    """What a process does that says something, and is killed for its memory."""
    print("step 5/20", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_training_that_is_killed_is_told_as_such(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, trainer={"plateau": {}})
    arm = plan_arms(recipe, ["speaker", "gender"], {"gender": 0})[0]
    training = Training(arm, 0, recipe, tmp_path / "data", tmp_path / "run")
    (problem,) = run_all([training], end, 1, lambda _: None)
    assert problem.startswith("unified, seed 0: it was killed by signal 9")
    assert (tmp_path / "run" / "output.txt").read_text() == "step 5/20\n"


def test_no_jobs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["compare", "compare_short", "--data", str(tmp_path), "--jobs", "0"]
    assert main(words) == 2
    assert "--jobs 0" in capsys.readouterr().err
