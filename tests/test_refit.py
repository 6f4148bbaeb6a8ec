"""Heads that are fitted again to the embedding that a training ends with."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hive_mtl.learn import checkpoint, refit
from hive_mtl.learn.materials import Materials, gather
from hive_mtl.learn.prepare import Prepared
from hive_mtl.learn.trainer import train
from learning import TRUNK, tiny_recipe

pytestmark = pytest.mark.usefixtures("no_export")

DIM = TRUNK["embedding_dim"]
TASKS = ("gender", "age")


@pytest.fixture
def best(corpus: Path, cache: Path, tmp_path: Path) -> Path:
    """The checkpoint of a run whose heads were not fitted again."""
    return train(tiny_recipe(cache), [str(corpus)], tmp_path / "run").folder / checkpoint.BEST


@pytest.fixture
def materials(corpus: Path, cache: Path) -> Materials:
    return gather(tiny_recipe(cache), [str(corpus)], [], lambda _: None)


def with_vectors_that_tell(
    monkeypatch: pytest.MonkeyPatch, materials: Materials, of_validation: float = 1.0
) -> None:
    """Has heads read vectors that tell the labels, on validation voices with a sign of their own.

    The sign is that of training voices, or the opposite: then what is learnt there misleads.
    """

    def heard(_: object, prepared: Prepared) -> Tensor:
        vectors = np.random.default_rng(len(prepared)).normal(0, 0.1, (len(prepared), DIM))
        for place, task in enumerate(each for each in materials.tasks if each.name in TASKS):
            groups = task.groups(task.labels_of(prepared.table))
            levels = np.unique(groups, return_inverse=True)[1]
            vectors[:, place] += 2.0 * levels - 2.0 * levels.mean()
        sign = of_validation if prepared is materials.validation else 1.0
        return torch.from_numpy((sign * vectors).astype(np.float32))

    monkeypatch.setattr(refit, "_heard", heard)


def fit_again(best: Path, materials: Materials, *tasks: str) -> list[str]:
    """What is said while the heads of some tasks are fitted again."""
    said: list[str] = []
    chosen = [task for task in materials.tasks if task.name in tasks]
    refit.refit_heads(best, materials, chosen, torch.device("cpu"), said.append)
    return said


def changed(before: checkpoint.Checkpoint, best: Path) -> set[str]:
    """The names of the weights that are others now."""
    after = checkpoint.load(best).weights
    return {name for name in after if not torch.equal(after[name], before.weights[name])}


def test_a_head_learns_what_the_embedding_tells(
    best: Path, materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_vectors_that_tell(monkeypatch, materials)
    before = checkpoint.load(best)
    _, *said = fit_again(best, materials, "speaker", *TASKS)
    assert [line.split()[0] for line in said] == list(TASKS)
    assert all(line.endswith("fitted again 0.0") for line in said)
    assert changed(before, best) == {f"heads.{t}.{w}" for t in TASKS for w in ("weight", "bias")}
    strengths = checkpoint.load(best).header.refitted
    assert strengths is not None
    assert set(strengths) == set(TASKS)
    assert set(strengths.values()) <= set(refit.STRENGTHS)


def test_a_head_stays_where_other_voices_would_be_told_worse(
    best: Path, materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_vectors_that_tell(monkeypatch, materials, of_validation=-1.0)
    before = checkpoint.load(best)
    assert fit_again(best, materials, "gender")[-1].endswith("no less")
    assert changed(before, best) == set()


def test_other_heads_stay(
    best: Path, materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_vectors_that_tell(monkeypatch, materials)
    before = checkpoint.load(best)
    fit_again(best, materials, "gender")
    assert changed(before, best) == {"heads.gender.weight", "heads.gender.bias"}


def test_a_task_with_too_few_labels_is_passed_over(
    best: Path, materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_vectors_that_tell(monkeypatch, materials)
    monkeypatch.setattr(refit, "MOST_UTTERANCES", 1)
    before = checkpoint.load(best)
    assert "too little is labelled" in fit_again(best, materials, "gender")[-1]
    assert changed(before, best) == set()


def test_without_validation_voices_nothing_changes(best: Path, materials: Materials) -> None:
    before = best.read_bytes()
    (said,) = fit_again(best, replace(materials, validation=None), *TASKS)
    assert "no validation voices" in said
    assert best.read_bytes() == before


def test_without_labelled_utterances_nothing_changes(best: Path, materials: Materials) -> None:
    """As where all recordings that are labelled could not be read."""
    before = best.read_bytes()
    nothing = materials.training.only(np.zeros(len(materials.training), dtype=bool))
    (said,) = fit_again(best, replace(materials, training=nothing), *TASKS)
    assert "no training utterance is labelled" in said
    assert best.read_bytes() == before


def test_a_head_that_gives_no_numbers_is_never_chosen(
    best: Path, materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_vectors_that_tell(monkeypatch, materials)
    broken = torch.nn.Linear(DIM, 2)
    torch.nn.init.constant_(broken.weight, torch.nan)
    monkeypatch.setattr(refit, "_fitted", lambda *_: broken)
    before = checkpoint.load(best)
    assert fit_again(best, materials, "gender")[-1].endswith("no less")
    assert changed(before, best) == set()


def test_a_margin_is_that_of_the_end_of_training(
    corpus: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = {"speaker": {}, "gender": {"loss": {"name": "aam", "margin": 0.3}}}
    margins: list[float] = []

    def fitted(head: torch.nn.Module, loss: Any, *_: object) -> torch.nn.Module:
        margins.append(loss.margin)
        return head

    monkeypatch.setattr(refit, "_fitted", fitted)
    recipe = tiny_recipe(cache, tasks=tasks, trainer={"refit_heads": True})
    train(recipe, [str(corpus)], tmp_path / "run")
    assert margins == [pytest.approx(0.3)] * len(refit.STRENGTHS)


def test_of_many_utterances_of_a_task_some_are_drawn(
    materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refit, "MOST_UTTERANCES", 5)
    (gender,) = [task for task in materials.tasks if task.name == "gender"]
    drawn = refit._drawn(materials.training, [gender])
    assert len(drawn) == 5 < len(materials.training)
    assert set(drawn.table["path"].to_pylist()) < set(materials.training.table["path"].to_pylist())


class TestRun:
    def test_fits_them_once_at_its_end(
        self, corpus: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recipe = tiny_recipe(cache, trainer={"refit_heads": True})
        folder = train(recipe, [str(corpus)], tmp_path / "run").folder
        assert checkpoint.load(folder).header.refitted is not None
        assert checkpoint.load(folder / "last.safetensors").header.refitted is None
        monkeypatch.setattr(refit, "_heard", lambda *_: pytest.fail("it fits them again"))
        train(recipe, [str(corpus)], folder, resume=True)

    def test_leaves_them_unless_it_is_asked(self, best: Path) -> None:
        assert checkpoint.load(best).header.refitted is None
