"""Any recording -> float32 mono 16 kHz; where speech is in it; how good it is."""

from hive_mtl.atomic import is_folder
from hive_mtl.audio.files import ADDRESS
from hive_mtl.audio.reading import duration_s, load, stream
from hive_mtl.audio.sources import (
    AUDIO_SUFFIXES,
    SAMPLE_RATE,
    Segment,
    Source,
    Wave,
    check_no_recording,
    describe_source,
    find_recordings,
)
from hive_mtl.audio.speech import (
    Quality,
    quality,
    quality_and_speech,
    speech_frames,
    trim_silence,
)
from hive_mtl.audio.trimming import trim

__all__ = [
    "ADDRESS",
    "AUDIO_SUFFIXES",
    "SAMPLE_RATE",
    "Quality",
    "Segment",
    "Source",
    "Wave",
    "check_no_recording",
    "describe_source",
    "duration_s",
    "find_recordings",
    "is_folder",
    "load",
    "quality",
    "quality_and_speech",
    "speech_frames",
    "stream",
    "trim",
    "trim_silence",
]
