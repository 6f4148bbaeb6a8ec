"""Heads that are fitted again to the embedding that a training ends with."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hive_mtl.learn import checkpoint, refit, trainer
from hive_mtl.learn.materials import Materials, gather
from hive_mtl.learn.prepare import Prepared
from hive_mtl.learn.tasks import get_task
from hive_mtl.learn.trainer import train
from learning import TRUNK, tiny_recipe, write_corpus

pytestmark = pytest.mark.usefixtures("no_export")

DIM = TRUNK["embedding_dim"]
TASKS = ("gender", "age")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), training=8)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def best(corpus: Path, cache: Path, tmp_path: Path) -> Path:
    """The checkpoint of a run whose heads were not fitted again."""
    return train(tiny_recipe(cache), [str(corpus)], tmp_path / "run").folder / trainer.BEST


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
        for place, name in enumerate(TASKS):
            task = get_task(name)
            task.restore(next(each for each in materials.tasks if each.name == name).state())
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
    said = fit_again(best, materials, "speaker", *TASKS)
    assert [line.split()[0] for line in said] == list(TASKS)
    assert all(line.endswith("fitted again 0.0") for line in said)
    assert changed(before, best) == {f"heads.{t}.{w}" for t in TASKS for w in ("weight", "bias")}


def test_a_head_stays_where_other_voices_would_be_told_worse(
    best: Path, materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_vectors_that_tell(monkeypatch, materials, of_validation=-1.0)
    before = checkpoint.load(best)
    (said,) = fit_again(best, materials, "gender")
    assert said.endswith("no less")
    assert changed(before, best) == set()


def test_other_heads_stay(
    best: Path, materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_vectors_that_tell(monkeypatch, materials)
    before = checkpoint.load(best)
    fit_again(best, materials, "gender")
    assert changed(before, best) == {"heads.gender.weight", "heads.gender.bias"}


def test_of_many_utterances_some_are_drawn(
    materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refit, "MOST_UTTERANCES", 5)
    tasks = [task for task in materials.tasks if task.name in TASKS]
    drawn = refit._labelled(materials.training, tasks)
    assert len(drawn) == 5 < len(materials.training)
    assert set(drawn.table["path"].to_pylist()) < set(materials.training.table["path"].to_pylist())


class TestRun:
    def test_fits_them_once_at_its_end(self, corpus: Path, cache: Path, tmp_path: Path) -> None:
        recipe = tiny_recipe(cache, trainer={"refit_heads": True})
        folder = train(recipe, [str(corpus)], tmp_path / "run").folder
        first = (folder / trainer.BEST).read_bytes()
        assert checkpoint.load(folder).header.refitted
        assert not checkpoint.load(folder / "last.safetensors").header.refitted
        train(recipe, [str(corpus)], folder, resume=True)
        assert (folder / trainer.BEST).read_bytes() == first

    def test_leaves_them_unless_it_is_asked(self, best: Path) -> None:
        assert not checkpoint.load(best).header.refitted
