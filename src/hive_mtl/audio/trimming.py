"""What a recording loses at its ends before it is embedded; a model says what it was made for."""

import numpy as np

from hive_mtl.audio.sources import Wave
from hive_mtl.audio.speech import SpeechFrames, trim_silence
from hive_mtl.description import Trim

_LOUD_PERCENTILE = 95


def trim(wave: Wave, how: Trim, speech: SpeechFrames | None = None) -> Wave:
    """A wave ``(samples,)`` without its ends.

    Args:
        wave: mono.
        how: "speech" keeps what :func:`trim_silence` keeps; "loudest" keeps what lies between the
            first and the last sample above the 95th percentile of all magnitudes, as the original
            Hive-MTL did.
        speech: its :func:`speech_frames`, where they are known already.
    """
    return trim_silence(wave, speech) if how == "speech" else _trim_to_loudest(wave)


def _trim_to_loudest(wave: Wave) -> Wave:
    magnitude = np.abs(wave)
    loud = np.flatnonzero(magnitude > np.percentile(magnitude, _LOUD_PERCENTILE))
    return wave[loud[0] : loud[-1]] if len(loud) > 1 else wave
