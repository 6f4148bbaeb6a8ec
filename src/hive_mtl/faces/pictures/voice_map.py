"""A map of recordings by a label: as a page to listen on, or as a PNG."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from hive_mtl.atomic import atomic_write, check_no_folder
from hive_mtl.audio import Segment
from hive_mtl.errors import ConfigError, EmbeddingError, MissingExtraError
from hive_mtl.faces.pictures import svg
from hive_mtl.faces.pictures.places import places
from hive_mtl.faces.pictures.scatter import draw_scatter
from hive_mtl.pages import environment

UNLABELLED = "not labelled"
_NEEDED = {".html": ("jinja2", "openTSNE"), ".png": ("matplotlib", "openTSNE")}


@dataclass(frozen=True, slots=True)
class Point:
    """One recording: its name as it was given, where it is, its label; None where it has none."""

    name: str
    sound: Path | Segment
    label: str | None


@dataclass(frozen=True)
class VoiceMap:
    """Everything that a map shows.

    Attributes:
        title: what is shown.
        label: what a colour is, "speaker" for example.
        points: the recordings.
        vectors: ``(points, dim)`` their embeddings.
        figures: by name, what stands above the map.
        failures: recordings that are not on the map.
    """

    title: str
    label: str
    points: Sequence[Point]
    vectors: npt.NDArray[np.float32]
    figures: dict[str, str] = field(default_factory=dict)
    failures: Sequence[EmbeddingError] = ()

    @cached_property
    def labels(self) -> dict[str, int]:
        """How many recordings have each label: the commonest first, those without one last."""
        count = Counter(UNLABELLED if each.label is None else each.label for each in self.points)
        in_order = sorted(count, key=lambda label: (label == UNLABELLED, -count[label]))
        return {label: count[label] for label in in_order}

    @cached_property
    def colours(self) -> list[int]:
        """The number of the label of each recording, in the order of :attr:`labels`."""
        number = {label: colour for colour, label in enumerate(self.labels)}
        return [number[UNLABELLED if each.label is None else each.label] for each in self.points]


def check_map(path: Path) -> None:
    """Lets pass where a map can be written, before any work.

    Raises:
        ConfigError: the suffix is neither .html nor .png.
        DataError: a folder has that name.
        MissingExtraError: what draws maps is not installed.
    """
    check_no_folder(path)
    needed = _NEEDED.get(path.suffix.lower())
    if needed is None:
        raise ConfigError(f"{path}: a map is written as .html or .png: choose one")
    if not all(map(find_spec, needed)):
        raise MissingExtraError("a map", "analysis")


def write_map(voice_map: VoiceMap, path: Path) -> None:
    """Writes a page or a PNG, by the suffix of ``path``.

    A page links to the recordings from where it stands, so it is to be opened there.

    Raises:
        ConfigError: the suffix is another.
        DataError: the file cannot be written.
        MissingExtraError: what draws maps is not installed.
    """
    check_map(path)
    where = places(voice_map.vectors)
    with atomic_write(path) as temporary:
        if path.suffix.lower() == ".png":
            names = [f"{label} ({count})" for label, count in voice_map.labels.items()]
            grey = len(names) - 1 if UNLABELLED in voice_map.labels else None
            draw_scatter(where, voice_map.colours, names, grey, temporary, voice_map.title)
        else:
            page = render(voice_map, where, path.absolute().parent)
            temporary.write_text(page, encoding="utf-8", errors="backslashreplace")


def render(voice_map: VoiceMap, where: npt.NDArray[np.float64], folder: Path) -> str:
    """The page as HTML, to stand in ``folder``; ``where`` ``(points, 2)`` its marks lie."""
    from markupsafe import Markup

    labels, colours = voice_map.labels, voice_map.colours
    coloured = len(labels) - (UNLABELLED in labels)
    styles = [
        svg.GREY if label == UNLABELLED else svg.style(colour, coloured)
        for colour, label in enumerate(labels)
    ]
    marks = [
        svg.Mark(f"{point.name} ({list(labels)[colour]})", colour)
        for point, colour in zip(voice_map.points, colours, strict=True)
    ]
    summary = (
        f"Map of {len(marks)} recordings, coloured by {voice_map.label}. Recordings that sound "
        "alike lie together. A list of them follows."
    )
    members: list[list[int]] = [[] for _ in labels]
    for number, colour in enumerate(colours):
        members[colour].append(number)
    clips = json.dumps([_address(point.sound, folder) for point in voice_map.points])
    return (
        environment()
        .get_template("faces/pictures/map.html")
        .render(
            shown=voice_map,
            groups=list(zip(labels, styles, members, strict=True)),
            map=Markup(svg.draw_map(where, marks, styles, summary)),
            clips=Markup(clips.replace("<", "\\u003c")),
        )
    )


def _address(sound: Path | Segment, folder: Path) -> str:
    """Where a browser that shows a page of ``folder`` finds a recording, or the part of it."""
    path = sound.path if isinstance(sound, Segment) else sound
    place = quote(os.fsencode(os.path.relpath(path.absolute(), folder)))
    if not isinstance(sound, Segment):
        return place
    end = "" if sound.duration_s is None else f",{sound.start_s + sound.duration_s:g}"
    return f"{place}#t={sound.start_s:g}{end}"
