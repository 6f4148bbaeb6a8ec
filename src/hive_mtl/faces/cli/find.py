"""The command that finds a voice in an archive."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from hive_mtl.faces.cli.answers import Json, complain_of, print_json, tell
from hive_mtl.faces.cli.options import SHIPPED, ModelOptions, Recording

if TYPE_CHECKING:
    from hive_mtl.use.find import Found, Search


@Parameter(name="*")
@dataclass(frozen=True)
class Wanted:
    """What is looked for and told of; what is not given is left to the library.

    Attributes:
        more: A further recording of the voice; may be given several times.
        index: Folder for the index of this archive; default: .hive-mtl-index in the archive.
        false_alarm: Share of two-second windows of other voices that may pass: 0.1, 0.01 or
            0.001; default: 0.001.
        top: Tell only so many.
    """

    more: tuple[Recording, ...] = ()
    index: Path | None = None
    false_alarm: float | None = None
    top: Annotated[int | None, Parameter(validator=Number(gte=1))] = None

    def settings(self) -> dict[str, Any]:
        """What is given of how to search."""
        given = {"index": self.index, "false_alarm": self.false_alarm}
        return {name: value for name, value in given.items() if value is not None}


ALL = Wanted()


def find(
    voice: Recording,
    archive: Recording,
    /,
    *,
    wanted: Wanted = ALL,
    options: ModelOptions = SHIPPED,
    as_json: Json = False,
) -> int:
    """Find where a voice speaks in a folder of long recordings, the most probable first.

    The recordings are embedded once and kept in an index, which goes on where it was stopped. The
    exit status is 0 where the voice is found, 1 where it is nowhere, 2 if a recording fails.

    Args:
        voice: A recording of the voice.
        archive: A folder of recordings, at any depth.
    """
    model = options.load()
    search = model.find([voice, *wanted.more], archive, progress=True, **wanted.settings())
    shown = search.found[: wanted.top]
    if as_json:
        found = [{**asdict(each), "path": str(each.path)} for each in shown]
        answer = {**asdict(search), "found": found}
        print_json({"model_id": model.description.model_id, **answer})
    else:
        _print_found(shown)
        tell(_in_all(search))
    failed = complain_of([f"{path}: {reason}" for path, reason in search.failed.items()])
    return failed or (0 if search.found else 1)


def _print_found(found: "tuple[Found, ...]") -> None:
    for each in found:
        print(
            f"{each.path}  {_clock(each.start_s)} - {_clock(each.end_s)}  "
            f"probability {each.probability:.2f}  score {each.score:.2f}"
        )


def _in_all(search: "Search") -> str:
    times = {0: "nowhere", 1: "once"}.get(len(search.found), f"{len(search.found)} times")
    return (
        f"found {times} in {search.recordings} recordings ({_clock(search.hours * 3600)}); "
        f"about {search.expected_false:.1f} false alarms are to be expected"
    )


def _clock(seconds: float) -> str:
    """``0:12:31.5``: hours, minutes, seconds."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}"
