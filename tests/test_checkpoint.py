import json
import math
import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from hive_mtl.description import Calibration, DataSummary
from hive_mtl.errors import ModelError
from hive_mtl.learn import checkpoint
from hive_mtl.learn.checkpoint import Header
from hive_mtl.learn.model import UnifiedModel, make_heads
from hive_mtl.learn.tasks import get_task
from learning import tiny_recipe

CALIBRATION = Calibration(weights={"score": 8.0}, intercept=-2.0, thresholds={"0.01": 0.4})
DATA = DataSummary(corpus="tiny", speakers=3, utterances=6, hours=0.1, licences=("CC0",))


def make(tmp_path: Path) -> tuple[Header, UnifiedModel]:
    recipe = tiny_recipe(tmp_path)
    tasks = [get_task(name) for name in recipe.tasks]
    voices = ["tiny/a", "tiny/a", "tiny/b", "tiny/b"]
    labels = {
        "speaker": voices,
        "gender": ["female", "female", "male", "male"],
        "age": [(20.0, 30.0), None, (61.0, 62.0), None],
    }
    for task in tasks:
        task.fit(
            labels[task.name],
            voices,
            task.Config(**({} if task.name == "speaker" else {"min_speakers": 1})),
        )
    torch.manual_seed(0)
    model = UnifiedModel(recipe.make_front_end(), recipe.trunk, make_heads(recipe.tasks, tasks, 16))
    header = Header(
        recipe=recipe.model_dump(mode="json"),
        tasks={task.name: task.state() for task in tasks},
        data=(DATA,),
        calibration=CALIBRATION,
        step=7,
        best=0.25,
        git_revision="abc",
    )
    return header, model


def rewrite(path: Path, **header: object) -> None:
    """Changes entries of a checkpoint's header."""
    with safe_open(path, framework="pt") as file:
        metadata = json.loads(file.metadata()[checkpoint.HEADER_KEY])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, {checkpoint.HEADER_KEY: json.dumps({**metadata, **header})})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    header, model = make(tmp_path)
    checkpoint.save(tmp_path / "best.safetensors", header, model, {})
    return tmp_path / "best.safetensors"


def test_a_recipe_that_clips_no_gradients_is_read_again(tmp_path: Path) -> None:
    header, model = make(tmp_path)
    header.recipe["trainer"]["clip_norm"] = math.inf
    checkpoint.save(tmp_path / "last.safetensors", header, model, {})
    assert checkpoint.load(tmp_path / "last.safetensors").recipe.trainer.clip_norm == math.inf


def test_round_trip(tmp_path: Path) -> None:
    header, model = make(tmp_path)
    optimiser = {"0/step": torch.tensor(3.0), "0/exp_avg": torch.randn(2, 3)}
    checkpoint.save(tmp_path / "last.safetensors", header, model, optimiser)
    again = checkpoint.load(tmp_path / "last.safetensors")
    assert again.header == header
    assert again.recipe == tiny_recipe(tmp_path)
    assert {task.name: task.state() for task in again.tasks()} == header.tasks
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.weights[name], tensor)
    assert again.weights.keys() == model.state_dict().keys()
    assert again.optimiser.keys() == optimiser.keys()
    assert all(torch.equal(again.optimiser[name], optimiser[name]) for name in optimiser)


def test_the_network_says_the_same_again(saved: Path, tmp_path: Path) -> None:
    _, model = make(tmp_path)
    again = checkpoint.load(saved).model()
    assert not again.training
    waves, lengths = torch.randn(2, 8000), torch.tensor([8000, 5000])
    first, second = model.eval()(waves, lengths), again(waves, lengths)
    assert torch.equal(first.embedding, second.embedding)
    assert torch.equal(first.heads["gender"], second.heads["gender"])


def test_a_run_folder_means_its_best_checkpoint(saved: Path) -> None:
    assert checkpoint.load(saved.parent).header == checkpoint.load(saved).header


def test_who_may_read_other_files_may_read_it(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    assert saved.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_without_the_optimiser_it_is_smaller(tmp_path: Path) -> None:
    header, model = make(tmp_path)
    optimiser = torch.optim.AdamW(model.parameters())
    outputs = model(torch.randn(4, 8000), torch.full((4,), 8000))
    sum(out.sum() for out in outputs.heads.values()).backward()
    optimiser.step()
    checkpoint.save(tmp_path / "best", header, model, {})
    checkpoint.save(tmp_path / "last", header, model, checkpoint.optimiser_tensors(optimiser))
    assert (tmp_path / "best").stat().st_size < 0.6 * (tmp_path / "last").stat().st_size


def test_an_optimiser_goes_on_where_it_stopped() -> None:
    def trained(steps: int, resume_at: int | None = None) -> torch.Tensor:
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 2)
        inputs = torch.randn(steps, 4, 3)
        optimiser = torch.optim.AdamW(layer.parameters(), lr=0.1)
        for step in range(steps):
            if step == resume_at:
                state = checkpoint.optimiser_tensors(optimiser)
                optimiser = torch.optim.AdamW(layer.parameters(), lr=0.1)
                checkpoint.restore_optimiser(optimiser, state)
            layer(inputs[step]).square().sum().backward()
            optimiser.step()
            optimiser.zero_grad()
        return layer.weight.detach()

    assert torch.equal(trained(6), trained(6, resume_at=3))


class Exploit:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch exploited",)


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "pickle", "text"])
def test_a_damaged_file_is_one_line_and_never_run(
    saved: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(saved.parent)
    whole = saved.read_bytes()
    contents = {
        "cut": whole[: len(whole) // 2],
        "garbage": np.random.default_rng(0).bytes(1000),
        "empty": b"",
        "pickle": pickle.dumps(Exploit()),
        "text": b"no checkpoint at all",
    }
    saved.write_bytes(contents[damage])
    with pytest.raises(ModelError, match=r"best\.safetensors: not a whole safetensors") as caught:
        checkpoint.load(saved)
    assert "\n" not in str(caught.value)
    assert not (saved.parent / "exploited").exists()


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "no.safetensors", tmp_path):
        with pytest.raises(ModelError, match="no such checkpoint"):
            checkpoint.load(path)


def test_a_foreign_safetensors_file_is_one_line(tmp_path: Path) -> None:
    for metadata in (None, {"format": "pt"}):
        save_file({"weight": torch.zeros(2)}, tmp_path / "x.safetensors", metadata)
        with pytest.raises(ModelError, match="not a checkpoint of Hive-MTL"):
            checkpoint.load(tmp_path / "x.safetensors")


@pytest.mark.parametrize("change", [{"format": 2}, {"unheard_of": 1}, {"step": "x"}])
def test_a_header_of_another_version_is_one_line(saved: Path, change: dict) -> None:
    rewrite(saved, **change)
    with pytest.raises(ModelError, match="update hive-mtl") as caught:
        checkpoint.load(saved)
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit_the_recipe_are_one_line(saved: Path) -> None:
    header = checkpoint.load(saved).header
    trunk = {**header.recipe["trunk"], "channels": 32}
    rewrite(saved, recipe={**header.recipe, "trunk": trunk})
    with pytest.raises(ModelError, match="weights do not fit") as caught:
        checkpoint.load(saved).model()
    assert "\n" not in str(caught.value)


def test_the_digest_names_the_weights(tmp_path: Path) -> None:
    _, model = make(tmp_path)
    weights = model.state_dict()
    digest = checkpoint.weights_digest(weights)
    assert len(digest) == 12
    assert checkpoint.weights_digest(dict(reversed(weights.items()))) == digest
    changed = {**weights, "heads.gender.bias": weights["heads.gender.bias"] + 1}
    assert checkpoint.weights_digest(changed) != digest


class TestGitRevision:
    def repository(self, folder: Path, *, tracked: bool) -> None:
        def git(*words: str) -> None:
            identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
            subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)

        git("init")
        (folder / "other.txt").write_text("")
        (folder / "package").mkdir()
        (folder / "package" / "checkpoint.py").write_text("")
        git("add", "." if tracked else "other.txt")
        git("commit", "-m", "x")

    def test_of_a_source_tree(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.repository(tmp_path, tracked=True)
        monkeypatch.setattr(checkpoint, "__file__", str(tmp_path / "package" / "checkpoint.py"))
        revision = checkpoint.git_revision()
        assert len(revision) == 12
        assert int(revision, 16) >= 0
        new = tmp_path / "package" / "loss.py"
        new.write_text("another member of an open set")
        assert checkpoint.git_revision() == f"{revision}+"
        new.unlink()
        assert checkpoint.git_revision() == revision
        (tmp_path / "package" / "checkpoint.py").write_text("changed")
        assert checkpoint.git_revision() == f"{revision}+"

    def test_a_package_installed_inside_another_repository_has_none(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.repository(tmp_path, tracked=False)
        monkeypatch.setattr(checkpoint, "__file__", str(tmp_path / "package" / "checkpoint.py"))
        assert checkpoint.git_revision() == "unknown"

    def test_without_git_there_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        assert checkpoint.git_revision() == "unknown"


FULL_DISK = """
import signal, sys
from pathlib import Path
import torch
from hive_mtl.errors import DataError
from hive_mtl.learn import checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
loaded = checkpoint.load(Path(sys.argv[1]))
try:
    checkpoint.save(Path(sys.argv[1]), loaded.header, loaded.model(), {"0/x": torch.zeros(99999)})
except DataError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_keeps_the_older_checkpoint(saved: Path) -> None:
    before = saved.read_bytes()
    limit = len(before) // 2  # bytes a file may have: the process is refused more as on a full disk
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(saved)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    assert done.stdout.startswith(f"{saved}: cannot be written"), done.stderr
    assert done.stdout.count("\n") == 1
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
