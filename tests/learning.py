"""A corpus, a recipe and a run so small that learning takes a second."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import soundfile

from hive_mtl.learn.config import Recipe, parse_recipe
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
    settings = {**SETTINGS, "data": {"cache": str(cache)}}
    for section, values in changes.items():
        if section == "tasks":
            settings["tasks"] = values
        else:
            settings[section] = {**settings.get(section, {}), **values}
    return parse_recipe(settings, "tiny recipe")


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
