"""A calibration of the user's own, kept beside the model that it is for."""

import os
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, ValidationError

from hive_mtl.atomic import atomic_write, reason_of
from hive_mtl.description import Calibration
from hive_mtl.errors import ModelError

_SUFFIX = ".calibration.json"
_MAKE_ANEW = "delete it, or make it anew with hive-mtl calibrate"
_GIVE_ANOTHER = "give a file that hive-mtl calibrate wrote for this model"


class StoredCalibration(BaseModel):
    """What the file holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    model_id: str
    calibration: Calibration
    target_pairs: int  # that it was fitted to
    nontarget_pairs: int
    created: str  # ISO 8601, UTC


def shipped_model() -> Path:
    """Where the model that ships with the package is, if it does."""
    return Path(str(files("hive_mtl.use") / "pretrained" / "model.onnx"))


def place_of(model: Path, model_id: str) -> Path:
    """Where the calibration for a model file is kept: ``M.calibration.json`` beside ``M.onnx``.

    The shipped model's folder may be read-only and is replaced by an upgrade: its calibration lies
    in the user's data folder.
    """
    if model == shipped_model():
        return platformdirs.user_data_path("hive-mtl") / f"{model_id}{_SUFFIX}"
    return model.with_name(f"{model.stem}{_SUFFIX}")


def find(
    model: Path, model_id: str, given: str | os.PathLike[str] | None = None
) -> Calibration | None:
    """The calibration in the file given, or else that kept for a model; None where there is none.

    Raises:
        ModelError: the file given cannot be read; or what is found is damaged, or for another
            model.
    """
    if given is not None:
        return _read(Path(given), model_id, _GIVE_ANOTHER)
    place = place_of(model, model_id)
    return _read(place, model_id, _MAKE_ANEW) if os.path.lexists(place) else None


def write(
    path: Path, model_id: str, calibration: Calibration, target_pairs: int, nontarget_pairs: int
) -> None:
    """Keeps a calibration in a file.

    Raises:
        DataError: the file cannot be written.
    """
    stored = StoredCalibration(
        model_id=model_id,
        calibration=calibration,
        target_pairs=target_pairs,
        nontarget_pairs=nontarget_pairs,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    with atomic_write(path) as temporary:
        temporary.write_text(stored.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _read(path: Path, model_id: str, remedy: str) -> Calibration:
    try:
        stored = StoredCalibration.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({reason_of(error)}): {remedy}") from error
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        reason = f"{where}: {fault['msg']}" if where else fault["msg"]
        raise ModelError(f"{path}: no whole calibration ({reason}): {remedy}") from error
    if stored.model_id != model_id:
        raise ModelError(
            f"{path}: a calibration for model {stored.model_id}, not for {model_id}: {remedy}"
        )
    return stored.calibration
