"""Classes that a network has not met begin at the mean embedding of their utterances."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from hive_mtl.learn.imprinting import imprint
from hive_mtl.learn.losses.aam import Centres
from hive_mtl.learn.materials import Materials, gather
from hive_mtl.learn.model import UnifiedModel, make_heads
from hive_mtl.learn.trainer import train
from hive_mtl.learn.validate import embed_prepared
from learning import tiny_recipe

pytestmark = pytest.mark.usefixtures("no_export")

SPEEDS = (1.0, 0.8)


def new_run(corpus: Path, cache: Path, **loss: Any) -> tuple[UnifiedModel, Materials]:
    """A network and what it is to learn from: eight voices at two speeds, and their gender."""
    speaker = {"speeds": SPEEDS, "loss": {"name": "aam", **loss}}
    recipe = tiny_recipe(cache, tasks={"speaker": speaker, "gender": {}})
    materials = gather(recipe, [str(corpus)], [], lambda _: None)
    torch.manual_seed(0)
    heads = make_heads(recipe.tasks, materials.tasks, recipe.trunk.embedding_dim)
    return UnifiedModel(recipe.make_front_end(), recipe.trunk, heads).eval(), materials


def place(model: UnifiedModel, materials: Materials, *outputs: int) -> list[str]:
    """What is said while some outputs of the speaker task find their place."""
    said: list[str] = []
    imprint(model, materials.tasks, {"speaker": outputs}, materials.training, said.append)
    return said


def centres(model: UnifiedModel) -> Tensor:
    head = model.heads["speaker"]
    assert isinstance(head, Centres)
    return head.weight.detach().clone()


def means(model: UnifiedModel, materials: Materials, speed: float) -> Tensor:
    """The mean embedding of the two recordings of each voice, ``(voices, dim)``."""
    speaker = materials.tasks[0]
    voice = speaker.groups(speaker.labels_of(materials.training.table))
    embeddings = embed_prepared(model, materials.training, speed)
    return torch.from_numpy(np.stack([embeddings[voice == each].sum(axis=0) for each in range(8)]))


def test_every_voice_at_every_speed_begins_where_its_recordings_lie(
    corpus: Path, cache: Path
) -> None:
    model, materials = new_run(corpus, cache)
    before = centres(model)
    assert place(model, materials, *range(16)) == [
        "speaker: 16 classes begin at the mean of their utterances"
    ]
    after = centres(model)
    for number, speed in enumerate(SPEEDS):
        found = functional.normalize(after[8 * number : 8 * (number + 1)])
        wanted = functional.normalize(means(model, materials, speed))
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(after.norm(dim=1), before.norm(dim=1))
    own, slower = functional.normalize(after).view(2, 8, -1)
    assert ((own * slower).sum(dim=1) < 0.9999).all()  # it is heard at the other speed


def test_what_is_known_stays(corpus: Path, cache: Path) -> None:
    model, materials = new_run(corpus, cache)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    place(model, materials, 3, 9)
    after = model.state_dict()
    changed = [name for name in after if not torch.equal(after[name], before[name])]
    assert changed == ["heads.speaker.weight"]
    moved = (centres(model) != before["heads.speaker.weight"]).any(dim=1)
    assert moved.nonzero().flatten().tolist() == [3, 9]
    assert place(model, materials) == []


def test_several_centres_of_a_voice_begin_apart(corpus: Path, cache: Path) -> None:
    model, materials = new_run(corpus, cache, sub_centres=3)
    place(model, materials, *range(16))
    found = functional.normalize(centres(model)).view(16, 3, -1)
    wanted = functional.normalize(means(model, materials, 1.0))
    assert (torch.einsum("vcd,vd->vc", found[:8], wanted) > 0.98).all()
    between = torch.einsum("vcd,ved->vce", found, found)[:, [0, 0, 1], [1, 2, 2]]
    assert (between < 0.9999).all()


def test_a_fine_tuning_begins_so_and_goes_on_as_it_was(
    corpus: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With other voices than the parent's, which takes nothing of its own classifier along."""
    parent = train(tiny_recipe(cache, tasks={"gender": {}}), [str(corpus)], tmp_path / "parent")
    recipe = tiny_recipe(cache, tasks={"speaker": {}, "gender": {}})
    capsys.readouterr()
    tuned = train(recipe, [str(corpus)], tmp_path / "tuned", start_from=parent.folder).folder
    line = "speaker: 8 classes begin at the mean of their utterances"
    assert line in capsys.readouterr().err
    train(recipe, [str(corpus)], tuned, start_from=parent.folder, resume=True)
    assert line not in capsys.readouterr().err
