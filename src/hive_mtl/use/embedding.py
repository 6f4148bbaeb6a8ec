"""What the model says about a recording: one vector, or one for every window."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hive_mtl.audio import Source, describe_source
from hive_mtl.errors import AudioError, EmbeddingError

ENOUGH_SPEECH_S = 1.0
# Noise mixed in at 0 dB leaves a Cllr of about 1; energy sees a part of it, as babble is speech.
ENOUGH_SNR_DB = 3.0
_NOISY_SNR_DB = 10.0
_CLIPPED_FRACTION = 0.001


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """The unified embedding of one recording, with what is needed to judge it.

    Attributes:
        vector: ``(dim,)`` float32, unit norm.
        heads: raw output ``(n,)`` of every task head, see :class:`HeadDescription`.
        duration_s: of the whole recording.
        speech_seconds: of it, speech.
        snr_db: signal-to-noise ratio, see :class:`hive_mtl.audio.Quality`.
        clipped: fraction of samples at full scale.
        model_id: the model that made the vector; only vectors of one model can be compared.
    """

    vector: npt.NDArray[np.float32] = field(repr=False)
    heads: Mapping[str, npt.NDArray[np.float32]] = field(repr=False)
    duration_s: float
    speech_seconds: float
    snr_db: float
    clipped: float
    model_id: str

    @property
    def flags(self) -> tuple[str, ...]:
        """What speaks against relying on the vector: of "short", "noisy" and "clipped"."""
        found = {
            "short": self.speech_seconds < ENOUGH_SPEECH_S,
            "noisy": self.snr_db < _NOISY_SNR_DB,
            "clipped": self.clipped > _CLIPPED_FRACTION,
        }
        return tuple(flag for flag, raised in found.items() if raised)


def lacks_speech(speech_s: float, snr_db: float) -> str:
    """Why so much speech, at such a signal-to-noise ratio, tells nothing; "" where it does."""
    if speech_s < ENOUGH_SPEECH_S:
        return f"not enough speech ({speech_s:.1f} s): give {ENOUGH_SPEECH_S:g} s or more"
    if snr_db < ENOUGH_SNR_DB:
        return f"not enough speech above the noise ({snr_db:.0f} dB): give a cleaner recording"
    return ""


def answerable(source: Source, result: Embedding | EmbeddingError) -> Embedding | EmbeddingError:
    """The result for a recording; an error also where the recording tells nothing."""
    if isinstance(result, EmbeddingError):
        return result
    reason = lacks_speech(result.speech_seconds, result.snr_db)
    return EmbeddingError(describe_source(source), reason) if reason else result


def require_speech(name: str, speech_s: float, snr_db: float) -> None:
    """Lets pass what tells something.

    Raises:
        AudioError: ``name`` has too little speech, or noise swallows it.
    """
    if reason := lacks_speech(speech_s, snr_db):
        raise AudioError(f"{name}: {reason}")


@dataclass(frozen=True, slots=True, eq=False)
class WindowedEmbeddings:
    """Embeddings of the windows of one recording; every sample lies in a window.

    Attributes:
        vectors: ``(windows, dim)`` float32, rows of unit norm.
        start_s: ``(windows,)`` where each window begins.
        end_s: ``(windows,)`` where it ends.
        speech: ``(windows,)`` fraction of each window that is speech.
        snr_db: ``(windows,)`` signal-to-noise ratio of the minute in which each window begins.
        window_s: length of a window; the last may be shorter, or longer by less than the 25 ms that
            a window has at least.
        hop_s: from the beginning of a window to that of the next.
        model_id: the model that made the vectors.
    """

    vectors: npt.NDArray[np.float32]
    start_s: npt.NDArray[np.float64]
    end_s: npt.NDArray[np.float64]
    speech: npt.NDArray[np.float64]
    snr_db: npt.NDArray[np.float64]
    window_s: float
    hop_s: float
    model_id: str
