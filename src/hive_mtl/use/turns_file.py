"""Who speaks when, as the tools of the field read it: RTTM, Audacity's labels, JSON."""

import json
from dataclasses import asdict
from pathlib import Path

from hive_mtl.atomic import atomic_write
from hive_mtl.errors import ConfigError
from hive_mtl.use.diarize import Diarization


def rttm(found: Diarization, recording: str) -> str:
    """Lines of NIST's Rich Transcription Time Marked format; spaces in names become underscores.

    Names that would then be the same end in underscores more.
    """
    name = "_".join(recording.split())
    fields: dict[str, str] = {}
    for speaker in found.speakers:
        field = "_".join(speaker.split())
        while field in fields.values():
            field += "_"
        fields[speaker] = field
    return "".join(
        f"SPEAKER {name} 1 {turn.start_s:.3f} {turn.end_s - turn.start_s:.3f} <NA> <NA> "
        f"{fields[turn.speaker]} <NA> <NA>\n"
        for turn in found.turns
    )


def audacity(found: Diarization, _recording: str) -> str:
    """A label track of Audacity: start, end and speaker, with tabs between."""
    return "".join(
        f"{turn.start_s:.6f}\t{turn.end_s:.6f}\t{' '.join(turn.speaker.split())}\n"
        for turn in found.turns
    )


def in_json(found: Diarization, recording: str) -> str:
    """One object: recording, model_id and turns, each of start_s, end_s and speaker."""
    return json.dumps({"recording": recording, **asdict(found)}, ensure_ascii=False) + "\n"


FORMATS = {".rttm": rttm, ".txt": audacity, ".json": in_json}
"""What writes a diarization as text, by the suffix of the file."""


def write_turns(path: Path, found: Diarization, recording: str) -> None:
    """Writes who speaks when in the format that the suffix of ``path`` names.

    Args:
        path: .rttm, .txt (Audacity) or .json.
        found: the turns.
        recording: its name.

    Raises:
        ConfigError: the suffix is none of them.
        DataError: the file cannot be written.
    """
    write = FORMATS.get(path.suffix.lower())
    if write is None:
        raise ConfigError(f"{path}: turns are written as {', '.join(FORMATS)}: choose one")
    with atomic_write(path) as temporary:
        temporary.write_text(write(found, recording), "utf-8", errors="backslashreplace")
