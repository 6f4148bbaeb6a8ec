"""Exported voices: JSON Lines, to move them to another store or to keep a copy.

The first line says what the file is, which model made the vectors and how many voices follow, so
that a file that was cut short is seen. Each further line is one voice: its name, note, labels, when
it was enrolled, and its samples, whose vector is base64 of little-endian float32.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from hive_mtl.atomic import atomic_write, check_no_folder, reason_of
from hive_mtl.audio import check_no_recording
from hive_mtl.errors import DataError, VoiceError
from hive_mtl.use.enrolling import check_name, check_text
from hive_mtl.use.stores import Sample, StoredVoice

_NOT_UNIT = 1e-3
_REMEDY = "export the voices anew"


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Head(_Line):
    format: Literal["hive-mtl voices"] = "hive-mtl voices"
    version: Literal[1] = 1
    model_id: Annotated[str, Field(min_length=1)]
    dim: Annotated[int, Field(ge=1)]
    voices: Annotated[int, Field(ge=0)]


Text = Annotated[str, AfterValidator(lambda text: check_text("text", text))]


class _Sample(_Line):
    vector: str
    speech_seconds: Annotated[FiniteFloat, Field(ge=0)]
    snr_db: FiniteFloat
    clipped: Annotated[FiniteFloat, Field(ge=0, le=1)]
    source: Text
    start_s: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    duration_s: Annotated[FiniteFloat, Field(gt=0)] | None = None


class _Voice(_Line):
    name: str
    note: Text
    labels: dict[Text, Text]
    created: Text
    samples: Annotated[tuple[_Sample, ...], Field(min_length=1)]


def write_voices(path: Path, model_id: str, voices: Sequence[StoredVoice]) -> int:
    """Writes voices to a file, whole or not at all; says how many.

    Raises:
        DataError: the file cannot be written.
        VoiceError: there are none.
    """
    if not voices:
        raise VoiceError("there are no voices to export: enroll some")
    check_no_folder(path)
    check_no_recording(path)
    dim = len(voices[0].samples[0].vector)
    with atomic_write(path) as temporary:
        temporary.touch(mode=0o600)  # voices are nobody else's business
        with temporary.open("w", encoding="utf-8") as file:
            head = _Head(model_id=model_id, dim=dim, voices=len(voices))
            file.writelines(f"{line}\n" for line in (head.model_dump_json(), *map(_line, voices)))
    return len(voices)


def read_voices(path: Path) -> tuple[str, list[StoredVoice]]:
    """The model's id and the voices of a file.

    Raises:
        DataError: it is missing, cut short, changed, or something else.
        VoiceError: a name would be taken for an answer about somebody who is not enrolled.
    """
    try:
        head_line, *lines = path.read_text(encoding="utf-8").split("\n")
        head = _Head.model_validate_json(head_line)
        voices = [_voice(line, head.dim) for line in lines if line]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({reason_of(error)}): check the path") from error
    except (ValueError, VoiceError) as error:  # also what is no text, and no JSON
        raise DataError(f"{path}: no whole file of voices ({_reason(error)}): {_REMEDY}") from error
    if len(voices) != head.voices:
        raise DataError(f"{path}: has {len(voices)} of {head.voices} voices: {_REMEDY}")
    try:
        for voice in voices:
            check_name(voice.name, new=True)
    except VoiceError as error:  # of a store that was made before such names were refused
        raise VoiceError(f"{path}: {error}, and {_REMEDY}") from error
    return head.model_id, voices


def _line(voice: StoredVoice) -> str:
    samples = [
        {
            "vector": base64.b64encode(each.vector.astype("<f4").tobytes()).decode(),
            "speech_seconds": each.speech_seconds,
            "snr_db": each.snr_db,
            "clipped": each.clipped,
            "source": each.source,
            "start_s": each.start_s,
            "duration_s": each.duration_s,
        }
        for each in voice.samples
    ]
    fields = {
        "name": voice.name,
        "note": voice.note,
        "labels": dict(voice.labels),
        "created": voice.created,
        "samples": samples,
    }
    return json.dumps(fields, ensure_ascii=False, allow_nan=False)


def _voice(line: str, dim: int) -> StoredVoice:
    read = _Voice.model_validate_json(line)
    samples = tuple(
        Sample(**{**dict(each), "vector": _vector(each.vector, dim)}) for each in read.samples
    )
    return StoredVoice(check_name(read.name), samples, read.created, read.note, read.labels)


def _vector(text: str, dim: int) -> npt.NDArray[np.float32]:
    try:
        vector = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)
    except binascii.Error as error:
        raise ValueError("a vector is no base64") from error
    if len(vector) != dim or not abs(float(np.linalg.norm(vector)) - 1) < _NOT_UNIT:
        raise ValueError(f"a vector is not of {dim} numbers and unit norm")
    return vector


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    fault = error.errors()[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}".removeprefix(": ")
