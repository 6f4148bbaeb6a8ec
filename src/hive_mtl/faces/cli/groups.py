"""The commands that group recordings and draw maps of them. Nothing here needs torch."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from hive_mtl.atomic import atomic_write, check_no_folder
from hive_mtl.errors import ConfigError, DataError, EmbeddingError
from hive_mtl.faces.cli.answers import OUT, Json, complain_of, print_json
from hive_mtl.faces.cli.options import SHIPPED, ModelOptions, Recording, in_folders

if TYPE_CHECKING:
    from hive_mtl.faces.labelled import Labelled
    from hive_mtl.faces.pictures.voice_map import VoiceMap
    from hive_mtl.use.cluster import Clustering

_TABLES = (".csv", ".json")


def cluster(
    *sources: Recording,
    voices: int | None = None,
    out: Annotated[tuple[Path, ...], OUT] = (),
    html: tuple[Path, ...] = (),
    options: ModelOptions = SHIPPED,
    as_json: Json = False,
) -> int:
    """Group recordings by voice.

    Groups have numbers, the largest first; a recording that fits nobody is one by itself. One that
    fails, or has too little speech, is in none and named; the exit status is then 2.

    Args:
        sources: Folders with recordings at any depth, and recordings, each of one voice.
        voices: How many there are; default: as many as the scores tell.
        out: A file to write, .csv or .json for the group of each recording, .html for a page; may
            be given several times.
        html: A page to write, to look at and listen on; may be given several times.
    """
    if not sources:
        raise ConfigError("nothing to group: give a folder of recordings")
    for path in html:
        if path.suffix.lower() != ".html":
            raise ConfigError(f"{path}: a page is written as .html: choose that, or use --out")
    out += html
    for path in out:
        _check_output(path)
    paths = list(dict.fromkeys(in_folders(sources)))
    model = options.load()
    found = model.cluster(paths, voices=voices, progress=True)
    answer = {"model_id": model.description.model_id, **_in_json(paths, found)}
    for path in out:
        _write(path, paths, found, answer)
    if as_json:
        print_json(answer)
    else:
        _print(paths, found, listed=not out)
    return complain_of([str(failure) for failure in found.failures])


def map(  # noqa: A001 - commands are named after what they do
    place: Recording,
    /,
    *,
    out: Annotated[Path, OUT],
    colour: str | None = None,
    options: ModelOptions = SHIPPED,
    as_json: Json = False,
) -> int:
    """Draw a map of recordings, where those that sound alike lie together.

    A recording that fails is left out and named; the exit status is then 2.

    Args:
        place: A folder `<speaker>/<anything>`, or a table with a column 'path' and labels: .csv or
            .jsonl.
        out: The file to write: .png, or .html for a page to listen on.
        colour: The label that a colour stands for; default: the speaker.
    """
    from hive_mtl.faces.labelled import SPEAKER, read_labelled
    from hive_mtl.faces.pictures.voice_map import Point, VoiceMap, check_map, write_map
    from hive_mtl.use.progress import with_progress

    check_map(out)
    recordings = read_labelled(Path(place))
    if colour is not None:
        _check_label(colour, recordings)
    label = colour or SPEAKER
    model = options.load()
    results = model.embed_stream(recording.sound for recording in recordings)
    heard = list(zip(recordings, with_progress(results, len(recordings)), strict=True))
    failures = [result for _, result in heard if isinstance(result, EmbeddingError)]
    kept = [(each, result) for each, result in heard if not isinstance(result, EmbeddingError)]
    if not kept:
        raise DataError(f"none of {len(heard)} recordings can be drawn, such as {failures[0]}")
    drawn = VoiceMap(
        title=f"The voices of {Path(place).absolute().name}",
        label=label,
        points=[Point(each.name, each.sound, each.labels.get(label)) for each, _ in kept],
        vectors=np.stack([result.vector for _, result in kept]),
        failures=failures,
    )
    write_map(drawn, out)
    if as_json:
        print_json({"model_id": model.description.model_id, **_drawn_in_json(drawn, out)})
    else:
        labelled = any(point.label is not None for point in drawn.points)
        coloured = f"coloured by {label}" if labelled else f"in grey: none has a {label}"
        print(f"{out}: {len(kept)} of {len(heard)} recordings, {coloured}")
    return complain_of([str(failure) for failure in failures])


def _check_output(path: Path) -> None:
    from hive_mtl.faces.pictures.voice_map import check_map

    if path.suffix.lower() == ".html":
        check_map(path)
        return
    check_no_folder(path)
    if path.suffix.lower() not in _TABLES:
        raise ConfigError(f"{path}: groups are written as .csv, .json or .html: choose one")


def _check_label(label: str, recordings: Sequence["Labelled"]) -> None:
    there = sorted({name for each in recordings for name in each.labels})
    if label not in there:
        raise ConfigError(f"colour '{label}': no such label: it has {', '.join(there) or 'none'}")


def _in_json(paths: Sequence[str], found: "Clustering") -> dict[str, Any]:
    rows = list(zip(paths, found.labels, found.heard, strict=True))
    return {
        "groups": found.groups,
        "silhouette": found.silhouette,
        "labels": {path: label for path, label, _ in rows if label is not None},
        "failed": {path: each.reason for path, _, each in rows if isinstance(each, EmbeddingError)},
    }


def _write(
    path: Path, paths: Sequence[str], found: "Clustering", answer: Mapping[str, Any]
) -> None:
    from hive_mtl.faces.pictures.voice_map import write_map

    suffix = path.suffix.lower()
    if suffix == ".html":
        write_map(_as_map(paths, found), path)
        return
    with atomic_write(path) as temporary:
        if suffix == ".json":
            temporary.write_text(json.dumps(answer, indent=1, allow_nan=False), encoding="utf-8")
            return
        # names of files need not be text
        with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["path", "group", "problem"])
            for name, label, each in zip(paths, found.labels, found.heard, strict=True):
                problem = each.reason if isinstance(each, EmbeddingError) else ""
                rows.writerow([name, label, problem])


def _as_map(paths: Sequence[str], found: "Clustering") -> "VoiceMap":
    from hive_mtl.faces.pictures.voice_map import Point, VoiceMap

    points = [
        Point(path, Path(path), f"group {label}")
        for path, label in zip(paths, found.labels, strict=True)
        if label is not None
    ]
    return VoiceMap(
        title="Recordings grouped by voice",
        label="group",
        points=points,
        vectors=np.stack(
            [each.vector for each in found.heard if not isinstance(each, EmbeddingError)]
        ),
        figures={
            "recordings": f"{len(points):,}",
            "groups": f"{found.groups:,}",
            "silhouette (1 is best)": _separation(found),
        },
        failures=found.failures,
    )


def _drawn_in_json(drawn: "VoiceMap", out: Path) -> dict[str, Any]:
    return {
        "out": str(out),
        "recordings": len(drawn.points),
        "colour": drawn.label,
        "labels": drawn.labels,
        "failed": {failure.source: failure.reason for failure in drawn.failures},
    }


def _separation(found: "Clustering") -> str:
    return "n/a" if found.silhouette is None else f"{found.silhouette:.2f}"


def _print(paths: Sequence[str], found: "Clustering", *, listed: bool) -> None:
    grouped = [(label, path) for path, label in zip(paths, found.labels, strict=True) if label]
    recordings = f"{len(grouped)} recording{'s' * (len(grouped) != 1)}"
    groups = f"{found.groups} group{'s' * (found.groups != 1)}"
    print(f"{recordings} in {groups} (silhouette {_separation(found)})")
    for label, path in sorted(grouped) if listed else ():
        print(f"{label:>4}  {path}")
