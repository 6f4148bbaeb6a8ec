"""A trained model as an ONNX file that is ready to run."""

import json
import os
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_errors
from pydantic import ValidationError

from hive_mtl.audio import SAMPLE_RATE
from hive_mtl.description import (
    ONNX_COHORT_KEY,
    ONNX_EMBEDDING,
    ONNX_INPUTS,
    ONNX_METADATA_KEY,
    ModelDescription,
)
from hive_mtl.errors import ConfigError, ModelError
from hive_mtl.model_file import SEAL_BYTES, is_intact, unseal
from hive_mtl.use.normalising import cohort_from_text

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_ONNX_ERRORS = (
    onnx_errors.EPFail,
    onnx_errors.Fail,
    onnx_errors.InvalidArgument,
    onnx_errors.InvalidGraph,
    onnx_errors.InvalidProtobuf,
    onnx_errors.NoModel,
    onnx_errors.NoSuchFile,
    onnx_errors.NotImplemented,
    onnx_errors.RuntimeException,
)


class Network:
    """An ONNX file and its description; may be run from several threads and after a fork.

    Every process gets a session of its own: a session that crossed a fork has lost its threads and
    is left alone. A run takes one core: sharing a batch among cores costs more CPU-seconds than
    running as many batches at once (measured), so whoever wants more cores runs more batches.

    Args:
        path: the ``.onnx`` file.
        device: "cpu" or "cuda".

    Raises:
        ConfigError: the device is not known, or not served by the installed ONNX Runtime.
        ModelError: the file is missing, broken, changed, of another format or not a Hive-MTL model.
    """

    def __init__(self, path: Path, device: str) -> None:
        self.path = path
        self.device = device
        _check_device(device)
        file = _read(path)
        session = _open_session(file, path, device)
        self._sessions = {os.getpid(): session}
        self.description = _read_description(session, path)
        if unseal(file) is None:
            raise ModelError(
                f"{path}: not whole, or not exported by this version of hive-mtl: copy it again, "
                "or export the model anew"
            )
        self._seal = file[-SEAL_BYTES:]
        self._outputs = [ONNX_EMBEDDING, *(head.task for head in self.description.heads)]
        self._check_contract(session)

    @cached_property
    def cohort(self) -> npt.NDArray[np.float32] | None:
        """Voices to normalise scores by, ``(voices, dim)`` of unit norm; None where there are none.

        See :mod:`hive_mtl.use.normalising`.
        """
        text = self._session().get_modelmeta().custom_metadata_map.get(ONNX_COHORT_KEY)
        return None if text is None else cohort_from_text(text, self.description.embedding_dim)

    def run(
        self, waves: npt.NDArray[np.float32], lengths: npt.NDArray[np.int64]
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Runs one batch.

        Args:
            waves: ``(batch, samples)`` at the rate of the description, padded with zeros.
            lengths: ``(batch,)`` in samples.

        Returns:
            "embedding" ``(batch, dim)`` and every head's output ``(batch, n)`` by its task.

        Raises:
            ModelError: the network cannot be run, for want of memory for example.
        """
        feed = dict(zip(ONNX_INPUTS, (waves, lengths), strict=True))
        try:
            rows = self._session().run(self._outputs, feed)
        except _ONNX_ERRORS as error:
            raise ModelError(
                f"{self.path}: failed on a batch of {waves.shape} samples ({_first_line(error)}): "
                "free some memory, or export the model anew"
            ) from error
        return dict(zip(self._outputs, rows, strict=True))

    def _check_contract(self, session: onnxruntime.InferenceSession) -> None:
        inputs = {node.name for node in session.get_inputs()}
        widths = {node.name: node.shape[-1] for node in session.get_outputs()}
        wrong = (inputs ^ set(ONNX_INPUTS)) | (set(self._outputs) - set(widths))
        if wrong:
            raise ModelError(
                f"{self.path}: its inputs or outputs are not as it describes them "
                f"({', '.join(sorted(wrong))}): export the model anew"
            )
        for head in self.description.heads:
            if widths[head.task] != (named := len(head.classes or head.thresholds)):
                raise ModelError(
                    f"{self.path}: its head '{head.task}' was made for other classes than those it "
                    f"names ({widths[head.task]}, not {named}): export the model anew"
                )
        rate = self.description.sample_rate
        if rate > SAMPLE_RATE:
            raise ModelError(
                f"{self.path}: made for {rate} Hz, recordings are read at {SAMPLE_RATE} Hz: train "
                "anew"
            )

    def _session(self) -> onnxruntime.InferenceSession:
        process = os.getpid()
        if process not in self._sessions:  # after a fork
            file = _read(self.path)
            if file[-SEAL_BYTES:] != self._seal:
                raise ModelError(f"{self.path}: changed since it was loaded: load it again")
            session = _open_session(file, self.path, self.device)
            # Two threads may both come here at first; one session is then dropped. A lock instead
            # could be inherited locked.
            self._sessions.setdefault(process, session)
        return self._sessions[process]


def _check_device(device: str) -> None:
    available = onnxruntime.get_available_providers()
    choices = [name for name, provider in _PROVIDERS.items() if provider in available]
    if device not in choices:
        remedy = "" if device != "cuda" else " (cuda needs the package onnxruntime-gpu)"
        raise ConfigError(
            f"device {device!r}: not available here: choose from {', '.join(choices)}{remedy}"
        )


def _read(path: Path) -> bytes:
    """The bytes of a model file; what does not begin to be one is left to ONNX Runtime to tell."""
    try:
        file = path.read_bytes() if path.is_file() else None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}): check the file") from error
    if file is None:
        raise ModelError(f"{path}: no such model: give a .onnx file or a run folder")
    if unseal(file) is not None and not is_intact(file):
        raise ModelError(
            f"{path}: damaged or changed since it was exported (its checksum is another): "
            "copy it again, or export the model anew"
        )
    return file


def _open_session(file: bytes, path: Path, device: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = False  # it keeps a plan for every length that it ever met
    options.log_severity_level = 3  # errors only; they are raised as well
    try:
        session = onnxruntime.InferenceSession(file, options, providers=[_PROVIDERS[device]])
    except _ONNX_ERRORS as error:
        raise ModelError(
            f"{path}: not a readable ONNX file, or not a whole one ({_first_line(error)}): "
            "give the model.onnx that training or export wrote"
        ) from error
    if _PROVIDERS[device] not in session.get_providers():
        raise ModelError(f"{path}: ONNX Runtime could not start on {device}: use device='cpu'")
    return session


def _read_description(session: onnxruntime.InferenceSession, path: Path) -> ModelDescription:
    text = session.get_modelmeta().custom_metadata_map.get(ONNX_METADATA_KEY)
    if text is None:
        raise ModelError(
            f"{path}: an ONNX file, but not one of Hive-MTL (no {ONNX_METADATA_KEY!r} in its "
            "metadata): give the model.onnx that training or export wrote"
        )
    try:
        fields = json.loads(text)
        supported = ModelDescription.model_fields["format"].default
        if isinstance(fields, dict) and fields.get("format", supported) != supported:
            raise _other_format(path, fields["format"], supported)
        return ModelDescription.model_validate(fields)
    except (ValueError, ValidationError) as error:
        raise ModelError(
            f"{path}: its description is damaged ({_first_line(error)}): export the model anew"
        ) from error


def _other_format(path: Path, written: object, supported: int) -> ModelError:
    older = isinstance(written, int) and written < supported
    remedy = "export the model anew" if older else "upgrade with pip install -U hive-mtl"
    return ModelError(
        f"{path}: written in format {written}, this version reads format {supported}: {remedy}"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
