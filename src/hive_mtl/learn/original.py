"""The original's steps as stages of the one pipeline.

They share a working folder. What each stage makes lies in its cache of prepared corpora, where the
next one finds it; what each was told is kept in ``steps.json``, so that the next need not be told
again. A stage whose work is missing is done by the one that needs it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, ValidationError

from hive_mtl.atomic import atomic_write
from hive_mtl.audio import SAMPLE_RATE
from hive_mtl.errors import ConfigError, DataError
from hive_mtl.learn.batches import crop_items
from hive_mtl.learn.config import Recipe, SampleRate, load_recipe
from hive_mtl.learn.crops import CropLists, list_crops
from hive_mtl.learn.materials import Materials, gather
from hive_mtl.learn.settings import parse
from hive_mtl.learn.trainer import TrainedRun, train

Counts = tuple[PositiveInt, NonNegativeInt]


class Told(BaseModel):
    """What the steps of a working folder were told so far."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    audio_dir: Path | None = None  # None: the LibriSpeech that was downloaded
    sample_rate: SampleRate = SAMPLE_RATE
    counts_per_speaker: Counts | None = None  # None: as the recipe has it


@dataclass(frozen=True)
class WorkingFolder:
    """Where the four steps meet."""

    path: Path

    @property
    def told(self) -> Told:
        """What earlier steps were told.

        Raises:
            DataError: it cannot be understood.
        """
        try:
            return Told.model_validate_json(self._notes.read_text("utf-8"))
        except FileNotFoundError:
            return Told()
        except ValidationError as error:
            raise DataError(
                f"{self._notes}: damaged: remove it and run build_mfcc again"
            ) from error

    def tell(self, recipe: str, **changes: object) -> None:
        """Keeps what a step was told, if ``recipe`` can be trained so.

        Raises:
            ConfigError: it cannot; nothing is changed.
        """
        told = parse(Told, {**self.told.model_dump(), **changes}, "the steps")
        self._settled(recipe, told)
        self.path.mkdir(parents=True, exist_ok=True)
        with atomic_write(self._notes) as temporary:
            temporary.write_text(told.model_dump_json(indent=1) + "\n", "utf-8")

    @property
    def data(self) -> list[str]:
        """The corpus, as :func:`hive_mtl.learn.corpora.read` takes it.

        Raises:
            DataError: there is none yet.
        """
        folder = self.told.audio_dir or self.path / "LibriSpeech"
        if not folder.is_dir():
            raise DataError(
                f"{folder}: no such folder: run hive-mtl download_librispeech, or give build_mfcc "
                "your own with --audio-dir"
            )
        return [f"librispeech:{folder}"]

    def recipe(self, name: str, overrides: Sequence[str] = ()) -> Recipe:
        """A recipe with what the steps were told, and then with ``overrides``."""
        return self._settled(name, self.told, overrides)

    def _settled(self, name: str, told: Told, overrides: Sequence[str] = ()) -> Recipe:
        settings: dict[str, object] = {
            "data.cache": str(self.path / "prepared"),
            "sample_rate": told.sample_rate,
        }
        if told.counts_per_speaker is not None:
            settings["batches.counts_per_speaker"] = list(told.counts_per_speaker)
        own = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
        return load_recipe(name, [*own, *overrides])

    @property
    def _notes(self) -> Path:
        return self.path / "steps.json"


def build_mfcc(folder: WorkingFolder, recipe: str, say: Callable[[str], None]) -> Materials:
    """Decodes every recording and keeps its features, in the form that ``recipe`` learns from."""
    return gather(folder.recipe(recipe), folder.data, (), say)


def build_model_inputs(folder: WorkingFolder, recipe: str, say: Callable[[str], None]) -> CropLists:
    """Draws the crops of each voice.

    Raises:
        ConfigError: the recipe draws its crops as it needs them.
    """
    settings = folder.recipe(recipe)
    counts = settings.batches.counts_per_speaker
    if counts is None:
        raise ConfigError(
            f"recipe '{settings.name}' draws its crops while it trains: there is nothing to build "
            "(batches.counts_per_speaker would list them)"
        )
    materials = gather(settings, folder.data, (), say)
    items = crop_items(settings.batches, materials.training.kept)
    return list_crops(materials.training, counts, items, settings.trainer.seed)


def train_mtl(
    folder: WorkingFolder, recipe: str, overrides: Sequence[str], *, resume: bool
) -> TrainedRun:
    """Trains in ``runs/`` of the folder."""
    settings = folder.recipe(recipe, overrides)
    out = folder.path / "runs" / settings.name
    return train(settings, folder.data, out, resume=resume)
