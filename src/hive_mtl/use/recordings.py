"""From recordings to pieces that the engine takes, and from pieces back to one embedding each."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from hive_mtl.audio import (
    SAMPLE_RATE,
    Quality,
    Source,
    Wave,
    describe_source,
    quality_and_speech,
    stream,
    trim,
)
from hive_mtl.cores import cores
from hive_mtl.description import ONNX_EMBEDDING, Trim
from hive_mtl.errors import AudioError, ConfigError, EmbeddingError
from hive_mtl.use.embedding import Embedding
from hive_mtl.use.engine import Outputs
from hive_mtl.use.scoring import mean_vector

PIECE_S = 60.0  # a recording up to this length is embedded whole, a longer one in pieces of it
MIN_SAMPLES = 400  # one frame of the front-end
_SILENCE_PEAK = 1e-4  # 80 dB under full scale: what 16-bit dither may leave
_DECODERS = 4


@dataclass(frozen=True, slots=True)
class Piece:
    """Up to ``PIECE_S`` of a recording on its way through the engine, or why there is none."""

    recording: int
    source: str
    quality: Quality | None = None
    problem: str = ""


def is_silent(wave: Wave) -> bool:
    """Whether ``wave`` ``(samples,)`` holds no sound at all."""
    return wave.size == 0 or float(max(wave.max(), -wave.min())) < _SILENCE_PEAK


def listed(sources: Iterable[Source]) -> list[Source]:
    """Several recordings as a list.

    Raises:
        ConfigError: it is a single one, whose letters would otherwise be taken for recordings.
    """
    if isinstance(sources, str | bytes | os.PathLike):
        raise ConfigError(f"{describe_source(sources)}: is one recording: give a list of them")
    return list(sources)


def read_pieces(sources: Iterable[Source], how: Trim) -> Iterator[tuple[Piece, Wave | None]]:
    """Decodes recordings ahead in a few threads, in order and in bounded memory.

    Gives at least one piece for every source: with its wave (trimmed as the model wants it, see
    :func:`hive_mtl.audio.trim`), without a wave if it is silent, or with a problem in place of the
    recording.
    """
    decoders = min(_DECODERS, cores())
    with ThreadPoolExecutor(decoders, "hive-decode") as pool:
        waiting: deque[tuple[object, Future[_Opened]]] = deque()
        for recording, source in enumerate(sources):
            file = source if hasattr(source, "read") else None
            # an open file has one position: it is read to its end before it is read again
            while file is not None and any(file is earlier for earlier, _ in waiting):
                yield from _pieces(waiting)
            waiting.append((file, pool.submit(_open, recording, source, how)))
            if len(waiting) > 4 * decoders:
                yield from _pieces(waiting)
        while waiting:
            yield from _pieces(waiting)


def pool_pieces(
    pieces: Sequence[tuple[Piece, Outputs | None]], model_id: str
) -> Embedding | EmbeddingError:
    """One embedding from all pieces of a recording, weighted by the speech in each.

    Pieces without speech count only where no piece has any; then by their length.
    """
    source = pieces[0][0].source
    problem = next((piece.problem for piece, _ in pieces if piece.problem), None)
    if problem is not None:
        return EmbeddingError(source, problem)
    qualities = [piece.quality for piece, _ in pieces if piece.quality is not None]
    duration_s = sum(each.duration_s for each in qualities)
    if duration_s * SAMPLE_RATE < MIN_SAMPLES:
        return EmbeddingError(
            source,
            f"too short ({1000 * duration_s:.0f} ms): give a recording of "
            f"{1000 * MIN_SAMPLES // SAMPLE_RATE} ms or more",
        )
    heard = [
        (piece.quality, outputs)
        for piece, outputs in pieces
        if piece.quality is not None and outputs is not None
    ]
    if not heard:
        return EmbeddingError(source, "silent: give a recording with a voice in it")
    pooled = _mean_outputs([outputs for _, outputs in heard], _weights([q for q, _ in heard]))
    vector = pooled.pop(ONNX_EMBEDDING)
    if not np.isfinite(vector).all():
        return EmbeddingError(source, "the network gave no finite vector: report this recording")
    return Embedding(
        vector=vector,
        heads=pooled,
        duration_s=duration_s,
        speech_seconds=sum(each.speech_seconds for each in qualities),
        snr_db=float(_weights(qualities) @ [each.snr_db for each in qualities]),
        clipped=sum(each.clipped * each.duration_s for each in qualities) / duration_s,
        model_id=model_id,
    )


_Opened = tuple[list[tuple[Piece, Wave | None]], Iterator[tuple[Piece, Wave | None]]]


def _open(recording: int, source: Source, how: Trim) -> _Opened:
    pieces = _read(recording, source, how)
    return list(islice(pieces, 2)), pieces  # with the second a short recording is read and closed


def _pieces(
    waiting: deque[tuple[object, Future[_Opened]]],
) -> Iterator[tuple[Piece, Wave | None]]:
    """Those of the recording that has waited longest, which then waits no more."""
    _, opened = waiting.popleft()
    first, rest = opened.result()
    yield from first
    yield from rest


def _read(recording: int, source: Source, how: Trim) -> Iterator[tuple[Piece, Wave | None]]:
    name = describe_source(source)
    try:
        for block in stream(source, PIECE_S):
            usable = block.size >= MIN_SAMPLES and not is_silent(block)
            measured, speech = quality_and_speech(block)
            piece = Piece(recording, name, quality=measured)
            # A copy: while it waits, a second of speech must not hold a minute of silence.
            yield piece, trim(block, how, speech).copy() if usable else None
    except AudioError as error:
        yield Piece(recording, name, problem=str(error).removeprefix(f"{name}: ")), None


def _weights(qualities: Sequence[Quality]) -> npt.NDArray[np.float32]:
    speech = np.array([each.speech_seconds for each in qualities], np.float32)
    if not speech.any():
        speech = np.array([each.duration_s for each in qualities], np.float32)
    weights: npt.NDArray[np.float32] = speech / speech.sum()
    return weights


def _mean_outputs(outputs: Sequence[Outputs], weights: npt.NDArray[np.float32]) -> Outputs:
    mean = {
        name: weights @ np.stack([each[name] for each in outputs])
        for name in outputs[0]
        if name != ONNX_EMBEDDING
    }
    vectors = np.stack([each[ONNX_EMBEDDING] for each in outputs])
    return {ONNX_EMBEDDING: mean_vector(vectors, weights), **mean}
