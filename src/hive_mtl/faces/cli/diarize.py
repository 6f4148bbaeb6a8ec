"""The command that tells who speaks when. Nothing here needs torch."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hive_mtl.atomic import check_no_folder
from hive_mtl.errors import ConfigError
from hive_mtl.faces.cli.answers import OUT, Json, print_json, tell
from hive_mtl.faces.cli.options import SHIPPED, ModelOptions, Place, Recording, open_voices

if TYPE_CHECKING:
    from hive_mtl.use.diarize import Diarization

_STORE = (
    "Call those by name who are enrolled here (SQLite file, or postgresql://...), the others "
    "'unknown 1' and so on; without it, all are 'speaker 1' and so on."
)


def diarize(
    recording: Recording,
    /,
    *,
    voices: int | None = None,
    store: Annotated[Place, Parameter(help=_STORE)] = None,
    out: Annotated[tuple[Path, ...], OUT] = (),
    options: ModelOptions = SHIPPED,
    as_json: Json = False,
) -> int:
    """Say who speaks when in a recording, as RTTM.

    Of voices that speak at the same time, one is heard.

    Args:
        recording: Of any length.
        voices: How many speak; default: as many as are told apart, up to ten.
        out: A file to write instead: .rttm, .json, .txt for Audacity's labels, or .png or .svg for
            a picture; may be given several times.
    """
    from hive_mtl.use.turns_file import rttm

    for path in out:
        _check_output(path)
    found = _diarized(recording, voices, store, options)
    name = Path(recording).stem
    for path in out:
        _write(path, found, name)
    if as_json:
        print_json({"recording": recording, **asdict(found)})
    elif out:
        print(f"{', '.join(map(str, out))}: {len(found.turns)} turns of {_voices(found)}")
    else:
        print(rttm(found, name), end="")
    return 0


def _diarized(
    recording: str, voices: int | None, store: str | None, options: ModelOptions
) -> "Diarization":
    if store is None:
        return options.load().diarize(recording, voices=voices)
    with open_voices(store, options) as known:
        if not len(known):
            tell(f"nobody is enrolled in {known.place}: all voices are unknown")
        return known.diarize(recording, voices=voices)


def _voices(found: "Diarization") -> str:
    count = len(found.speakers)
    return "1 voice" if count == 1 else f"{count} voices"


def _check_output(path: Path) -> None:
    from hive_mtl.faces.pictures.timeline import PICTURES, check_timeline
    from hive_mtl.use.turns_file import FORMATS

    check_no_folder(path)
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        check_timeline()
    elif suffix not in FORMATS:
        known = ", ".join((*FORMATS, *PICTURES))
        raise ConfigError(f"{path}: who speaks when is written as {known}: choose one")


def _write(path: Path, found: "Diarization", name: str) -> None:
    from hive_mtl.faces.pictures.timeline import PICTURES, draw_timeline
    from hive_mtl.use.turns_file import write_turns

    if path.suffix.lower() in PICTURES:
        draw_timeline(path, found, f"Who speaks when in {name}")
    else:
        write_turns(path, found, name)
