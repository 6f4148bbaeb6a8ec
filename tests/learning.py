"""A corpus, a recipe and a run so small that learning takes a second."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
import soundfile
import torch
from torch import nn

from hive_mtl.learn import checkpoint, trainer
from hive_mtl.learn.batches import Batch
from hive_mtl.learn.config import Recipe, parse_recipe
from hive_mtl.learn.export import export_onnx
from hive_mtl.learn.model import UnifiedModel
from hive_mtl.learn.utterances import conform, is_validation_voice
from voices import RATE, voice

CORPUS = "tiny"
TRUNK = {
    "name": "separable_tdnn",
    "channels": 16,
    "kernels": [3, 5],
    "repeats": 1,
    "pooled_channels": 32,
    "attention": 8,
    "squeeze": 4,
    "embedding_dim": 16,
}
SETTINGS: dict[str, Any] = {
    "name": "tiny",
    "mels": 24,
    "trunk": TRUNK,
    "tasks": {"speaker": {}, "gender": {}, "age": {}},
    "batches": {"size": 8, "crop_s": [0.5, 0.5]},
    "trainer": {"steps": 6, "validate_every": 3, "workers": 0},
}


def tiny_recipe(cache: Path, **changes: dict[str, Any]) -> Recipe:
    """The recipe of a run of six steps; ``changes`` replace the keys of its sections."""
    return parse_recipe(_settings(cache, changes), "tiny recipe")


def write_recipe(path: Path, cache: Path, **changes: dict[str, Any]) -> Path:
    """Writes :func:`tiny_recipe` as TOML, by way of JSON's values; gives the path."""

    def lines(name: str, settings: dict[str, Any]) -> list[str]:
        plain = [f"{k} = {json.dumps(v)}" for k, v in settings.items() if not isinstance(v, dict)]
        inner = [(f"{name}{k}", v) for k, v in settings.items() if isinstance(v, dict)]
        return [*plain, *(text for k, v in inner for text in (f"[{k}]", *lines(f"{k}.", v)))]

    path.write_text("\n".join(lines("", _settings(cache, changes))), encoding="utf-8")
    return path


def _settings(cache: Path, changes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    settings = {**SETTINGS, "data": {"cache": str(cache)}}
    for section, values in changes.items():
        if section == "tasks":
            settings["tasks"] = values
        else:
            settings[section] = {**settings.get(section, {}), **values}
    return settings


def logged(folder: Path) -> list[dict[str, float]]:
    """What a run has written to its log."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def speaker_names(count: int, *, validation: bool) -> list[str]:
    """The first names whose voices do, or do not, fall to validation."""
    names = (f"v{number}" for number in range(1000))
    return [n for n in names if is_validation_voice(CORPUS, n) == validation][:count]


def write_corpus(
    folder: Path, training: int = 6, validation: int = 5, seconds: float = 2.2
) -> Path:
    """Writes synthetic voices of two recordings each and their table; gives the table's path.

    Labels: gender and age throughout, mood on every other voice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = speaker_names(training, validation=False) + speaker_names(validation, validation=True)
    rows = []
    for number, name in enumerate(names):
        for take in range(2):
            path = folder / f"{name}-{take}.wav"
            wave = voice(seconds + 0.1 * take, seed=number)
            soundfile.write(path, wave, RATE)
            rows.append(
                {
                    "path": path.name,
                    "speaker": name,
                    "corpus": CORPUS,
                    "gender": ("female", "male")[number % 2],
                    "age": ("twenties", "40-49", "61")[number % 3],
                    "mood": ("calm", "", "glad", "")[number % 4],
                }
            )
    return write_table(folder / "utterances.csv", rows)


def write_table(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    """Writes a CSV table; gives its path."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def utterances(rows: Sequence[dict[str, str | None]]) -> pa.Table:
    """A table of utterances from rows with at least ``path`` and ``speaker``."""
    return conform(pa.Table.from_pylist(list(rows)), corpus=CORPUS)


def interrupted_run(
    recipe: Recipe,
    corpus: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    start_from: Path | None = None,
) -> Path:
    """The folder of a run that was stopped in its fifth step and went on to its end.

    It began with ``start_from``, which was not named again.
    """
    original = trainer.Run._step

    def interrupted(self: trainer.Run, step: int, batch: Batch) -> None:
        if step == 5:
            raise KeyboardInterrupt
        original(self, step, batch)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Run, "_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trainer.train(recipe, [str(corpus)], folder, start_from=start_from)
    return trainer.train(recipe, [str(corpus)], folder, resume=True).folder


def assert_same_checkpoints(first: Path, second: Path) -> None:
    """Weights, optimiser and progress are the same, tensor by tensor."""
    one, two = (checkpoint.load(folder / "last.safetensors") for folder in (first, second))
    assert one.header == two.header
    for mine, other in ((one.weights, two.weights), (one.optimiser, two.optimiser)):
        assert mine.keys() == other.keys()
        assert [name for name in mine if not torch.equal(mine[name], other[name])] == []


def assert_exported_is_exact(
    settings: dict[str, Any], trunk: nn.Module, folder: Path, atol: float
) -> None:
    """A trunk of 7 numbers, exported, says of a batch what it says of each of its waves alone."""
    recipe = parse_recipe(settings, "test")
    model = UnifiedModel(recipe.make_front_end(), recipe.trunk, {"gender": nn.Linear(7, 2)}).eval()
    model.trunk.load_state_dict(trunk.state_dict())
    header = checkpoint.Header(
        recipe=recipe.model_dump(mode="json"),
        tasks={"gender": {"classes": ["female", "male"], "counts": [1, 1]}},
    )
    export_onnx(checkpoint.Checkpoint(header, model.state_dict(), {}), folder / "model.onnx")
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    lengths = torch.tensor([400, 1_600, 1_601, 9_999, 24_000, 24_160])
    waves = torch.randn(len(lengths), 30_000) * 0.1
    found = session.run(None, {"waves": waves.numpy(), "lengths": lengths.numpy()})
    for row, (wave, length) in enumerate(zip(waves, lengths, strict=True)):
        alone = model(wave[None, :length], length[None])
        gender = alone.heads["gender"].softmax(dim=1)
        np.testing.assert_allclose(found[0][row], alone.embedding[0].detach(), atol=atol)
        np.testing.assert_allclose(found[1][row], gender[0].detach(), atol=atol)
