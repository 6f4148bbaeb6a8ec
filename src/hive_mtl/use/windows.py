"""Embeddings of sliding windows over a recording of any length."""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from hive_mtl.audio import (
    SAMPLE_RATE,
    Source,
    Wave,
    describe_source,
    quality_and_speech,
    stream,
)
from hive_mtl.description import ONNX_EMBEDDING
from hive_mtl.errors import AudioError, ConfigError
from hive_mtl.use.embedding import WindowedEmbeddings
from hive_mtl.use.engine import Engine
from hive_mtl.use.recordings import MIN_SAMPLES, is_silent

_BLOCK_S = 60.0
_FRAME_SAMPLES = SAMPLE_RATE // 100  # of what audio.quality_and_speech tells


def embed_windows(
    engine: Engine, source: Source, *, window_s: float, hop_s: float, model_id: str
) -> WindowedEmbeddings:
    """Embeds windows as they are, silence included; see :meth:`hive_mtl.Model.embed`."""
    window, hop = _samples(window_s), _samples(hop_s)
    if window < MIN_SAMPLES or not 0 < hop <= window:
        raise ConfigError(
            f"window_s {window_s:g}, hop_s {hop_s:g}: give a window of "
            f"{MIN_SAMPLES / SAMPLE_RATE:g} s or more and a hop above 0 and up to the window"
        )
    cut = _Cut(source, window, hop)
    spans, vectors = [], []
    for span, outputs in engine.run(cut.windows()):
        if outputs is not None:
            spans.append(span)
            vectors.append(outputs[ONNX_EMBEDDING])
    if not vectors:
        raise AudioError(
            f"{describe_source(source)}: silent or too short: give a recording with a voice in it"
        )
    return WindowedEmbeddings(
        vectors=np.stack(vectors),
        start_s=np.array([start for start, _ in spans]) / SAMPLE_RATE,
        end_s=np.array([end for _, end in spans]) / SAMPLE_RATE,
        speech=cut.speech(spans),
        snr_db=cut.snr_db(spans),
        window_s=window_s,
        hop_s=hop_s,
        model_id=model_id,
    )


def _samples(seconds: float) -> int:
    """How many there are in so many seconds; 0 where those are infinite or no number."""
    samples = seconds * SAMPLE_RATE
    return round(samples) if math.isfinite(samples) else 0


class _Cut:
    """Windows of a recording that is read block by block, and where in it there is speech."""

    def __init__(self, source: Source, window: int, hop: int) -> None:
        self._source = source
        self._window = window
        self._hop = hop
        self._speech: list[npt.NDArray[np.bool_]] = []
        self._snr_db: list[float] = []

    def windows(self) -> Iterator[tuple[tuple[int, int], Wave]]:
        """Gives ``(start, end)`` in samples and the wave between; nothing if all is silent."""
        start, ahead = 0, np.empty(0, np.float32)  # what lies ahead begins at ``start``
        for block in self._audible_blocks():
            ahead = np.concatenate([ahead, block])
            while ahead.size >= self._window + MIN_SAMPLES:  # what is left will do for another
                yield (start, start + self._window), ahead[: self._window]
                start, ahead = start + self._hop, ahead[self._hop :]
        # an end that is too short for a window of its own stays in the one before
        while ahead.size > self._window and ahead.size - self._hop >= MIN_SAMPLES:
            yield (start, start + self._window), ahead[: self._window]
            start, ahead = start + self._hop, ahead[self._hop :]
        if ahead.size >= MIN_SAMPLES:
            yield (start, start + ahead.size), ahead

    def speech(self, spans: list[tuple[int, int]]) -> npt.NDArray[np.float64]:
        """Fraction of each span ``(start, end)`` that is speech; call it after the last window."""
        counts = np.concatenate([[0], np.cumsum(np.concatenate(self._speech))])
        last = counts.size - 1
        first_frame = [start // _FRAME_SAMPLES for start, _ in spans]
        end_frame = [min(-(-end // _FRAME_SAMPLES), last) for _, end in spans]
        frames = np.subtract(end_frame, first_frame)
        fractions: npt.NDArray[np.float64] = (counts[end_frame] - counts[first_frame]) / frames
        return fractions

    def snr_db(self, spans: list[tuple[int, int]]) -> npt.NDArray[np.float64]:
        """Signal-to-noise ratio of the block in which each span begins; call it likewise."""
        blocks = [start // round(_BLOCK_S * SAMPLE_RATE) for start, _ in spans]
        return np.array(self._snr_db)[blocks]

    def _audible_blocks(self) -> Iterator[Wave]:
        """Blocks from the beginning, but held back for as long as nothing is heard."""
        silent_blocks = 0
        heard = False
        for block in stream(self._source, _BLOCK_S):
            measured, speech = quality_and_speech(block)
            self._speech.append(speech)
            self._snr_db.append(measured.snr_db)
            if not heard and is_silent(block):
                silent_blocks += 1
                continue
            if not heard:
                heard = True
                for _ in range(silent_blocks):
                    yield np.zeros(round(_BLOCK_S * SAMPLE_RATE), np.float32)
            yield block
