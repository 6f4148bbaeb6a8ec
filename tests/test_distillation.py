import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from hive_mtl.errors import ConfigError
from hive_mtl.learn import checkpoint, journal, trainer
from hive_mtl.learn.average import average
from hive_mtl.learn.checkpoint import Checkpoint
from hive_mtl.learn.config import Recipe
from hive_mtl.learn.distillation import Distillation
from hive_mtl.learn.slim import save_slim
from hive_mtl.learn.trainer import train
from learning import (
    SETTINGS,
    TRUNK,
    assert_same_checkpoints,
    interrupted_run,
    logged,
    tiny_recipe,
    write_corpus,
)

pytestmark = pytest.mark.usefixtures("no_export")

TEACHER = {"name": "resnet", "channels": 4, "blocks": (1, 1, 1, 1), "embedding_dim": 12}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def write_teacher(path: Path, cache: Path, trunk: dict[str, Any], **changes: Any) -> Path:
    """A checkpoint of a network that nobody trained."""
    torch.manual_seed(3)
    recipe = tiny_recipe(cache, tasks={"gender": {}})
    recipe = Recipe(**{**recipe.model_dump(mode="json"), "trunk": trunk, **changes})
    header = checkpoint.Header(
        recipe=recipe.model_dump(mode="json"),
        tasks={"gender": {"classes": ["female", "male"], "counts": [1, 1]}},
    )
    untrained = Checkpoint(header, {}, {})
    heads = trainer.make_heads(recipe.tasks, untrained.tasks(), recipe.trunk.embedding_dim)
    model = trainer.UnifiedModel(recipe.make_front_end(), recipe.trunk, heads)
    checkpoint.save(path, header, model, {})
    return path


@pytest.fixture(scope="module")
def teachers(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two of other widths than the student; one is a run folder."""
    folder = tmp_path_factory.mktemp("teachers")
    (folder / "run").mkdir()
    write_teacher(folder / "run" / "best.safetensors", cache, TEACHER)
    file = write_teacher(folder / "tdnn.safetensors", cache, {**TRUNK, "embedding_dim": 20})
    return [str(folder / "run"), str(file)]


def distilled(cache: Path, teachers: list[str], **changes: Any) -> Recipe:
    return tiny_recipe(cache, distillation={"teachers": teachers}, **changes)


@pytest.mark.slow
def test_the_student_comes_to_foretell_its_teachers(
    corpus: Path,
    cache: Path,
    teachers: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal, "LOG_EVERY", 10)
    trained = {"steps": 60, "validate_every": 60, "learning_rate": 0.01}
    recipe = distilled(cache, teachers, tasks={"gender": {}}, trainer=trained)
    lines = logged(train(recipe, [str(corpus)], tmp_path / "run").folder)
    early, *_, late = (line["loss/teachers"] for line in lines if "loss/teachers" in line)
    assert 0 < late < 0.5 * early < 0.5


def test_the_loss_is_the_mean_over_crops_and_teachers_of_one_less_the_cosine(
    cache: Path, teachers: list[str]
) -> None:
    networks = [checkpoint.load(Path(path)).model() for path in teachers]
    distillation = Distillation(networks, 5)
    before = [copy.deepcopy(network.state_dict()) for network in networks]
    waves, lengths = torch.randn(3, 9_000), torch.tensor([9_000, 7_000, 5_000])
    keep = torch.rand(3, 24, 60)[:, :, : networks[0].front_end(waves, lengths)[0].shape[2]] > 0.2
    vector = torch.randn(3, 5, requires_grad=True)
    cosines = [
        torch.cosine_similarity(to_teacher(vector), teacher(waves, lengths, keep).embedding)
        for teacher, to_teacher in zip(networks, distillation.maps, strict=True)
    ]
    loss = distillation(vector, waves, lengths, keep)
    torch.testing.assert_close(loss, 1 - torch.stack(cosines).mean())
    loss.backward()
    assert vector.grad is not None
    for teacher, weights in zip(networks, before, strict=True):  # statistics as well
        assert [
            name for name, w in teacher.state_dict().items() if (w != weights[name]).any()
        ] == []
        assert [p for p in teacher.parameters() if p.grad is not None] == []


@pytest.mark.slow
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    corpus: Path,
    cache: Path,
    teachers: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = distilled(cache, teachers, augment={"coloured_noise": 0.5, "time_masks": 1})
    whole = train(recipe, [str(corpus)], tmp_path / "whole").folder
    assert_same_checkpoints(whole, interrupted_run(recipe, corpus, tmp_path / "parts", monkeypatch))
    found = checkpoint.load(whole / "last.safetensors")
    assert [name for name in found.optimiser if name.startswith("teachers/")] == [
        "teachers/0.weight",
        "teachers/1.weight",
    ]


@pytest.mark.slow
def test_its_checkpoints_are_those_of_any_run(
    corpus: Path, cache: Path, teachers: list[str], tmp_path: Path
) -> None:
    plain = train(tiny_recipe(cache), [str(corpus)], tmp_path / "plain").folder
    taught = train(distilled(cache, teachers), [str(corpus)], tmp_path / "taught").folder
    for name in ("best.safetensors", "last.safetensors"):
        one, two = checkpoint.load(plain / name), checkpoint.load(taught / name)
        assert one.weights.keys() == two.weights.keys()
        assert two.model()
    average([taught, plain], tmp_path / "mean.safetensors")
    tuned = train(tiny_recipe(cache), [str(corpus)], tmp_path / "tuned", start_from=taught)
    again = distilled(cache, [str(tuned.folder)])
    assert train(again, [str(corpus)], tmp_path / "again", start_from=taught).failures == ()


def test_what_ships_names_its_teachers_and_no_folder(
    cache: Path, teachers: list[str], tmp_path: Path
) -> None:
    found = checkpoint.load(write_teacher(tmp_path / "x.safetensors", cache, TRUNK))
    recipe = {**found.header.recipe, "distillation": {"teachers": teachers, "weight": 0.5}}
    header = found.header.model_copy(update={"recipe": recipe})
    save_slim(tmp_path / "slim.safetensors", Checkpoint(header, found.weights, {}))
    said = checkpoint.load(tmp_path / "slim.safetensors").recipe.distillation
    assert [str(path) for path in said.teachers] == ["run", "tdnn.safetensors"]
    assert (
        str(Path(teachers[0]).parent).encode() not in (tmp_path / "slim.safetensors").read_bytes()
    )


class TestRefusals:
    def problem(self, recipe: Recipe, tmp_path: Path, **options: Any) -> str:
        """The one line; nothing is prepared or written before it."""
        with pytest.raises(ConfigError) as caught:
            train(recipe, [str(tmp_path / "no corpus")], tmp_path / "run", **options)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "run").exists()
        return str(caught.value)

    def test_a_teacher_that_is_not_there(self, cache: Path, tmp_path: Path) -> None:
        said = self.problem(distilled(cache, [str(tmp_path / "nobody")]), tmp_path)
        assert said.startswith("distillation.teachers: ")
        assert "nobody: no such checkpoint: give a run folder" in said

    def test_a_teacher_that_cannot_be_read(self, cache: Path, tmp_path: Path) -> None:
        (tmp_path / "broken.safetensors").write_bytes(b"not a checkpoint")
        said = self.problem(distilled(cache, [str(tmp_path / "broken.safetensors")]), tmp_path)
        assert "broken.safetensors: not a whole safetensors file" in said

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"mels": 20}, "mels = 20 where the recipe has 24"),
            ({"front_end": "original"}, "front_end = 'original' where the recipe has 'log_mel'"),
        ],
    )
    def test_a_teacher_that_reads_other_features(
        self, cache: Path, tmp_path: Path, change: dict[str, Any], words: str
    ) -> None:
        path = write_teacher(tmp_path / "other.safetensors", cache, TRUNK, **change)
        assert f"{path}: {words}" in self.problem(distilled(cache, [str(path)]), tmp_path)

    def test_nobody_to_teach(self, cache: Path, teachers: list[str], tmp_path: Path) -> None:
        recipe = distilled(cache, teachers, tasks={"mood": {}})
        said = self.problem(recipe, tmp_path, start_from=teachers[1], freeze=True)
        assert "leave out [distillation]" in said

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"teacher": ["x"]}, r"unknown key 'distillation.teacher': did you mean 'teachers'"),
            ({"teachers": "runs/x"}, r"distillation.teachers: .*given: 'runs/x'"),
            ({"teachers": ["x"], "weight": 0}, "distillation.weight: .*greater than 0"),
        ],
    )
    def test_settings_that_cannot_be(self, cache: Path, settings: dict, words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            tiny_recipe(cache, distillation=settings)

    def test_a_task_of_the_name_of_its_loss(self, cache: Path) -> None:
        with pytest.raises(ConfigError, match=r"tasks.teachers: .*call the column otherwise"):
            distilled(cache, ["x"], tasks={**SETTINGS["tasks"], "teachers": {}})
