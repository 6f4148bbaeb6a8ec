"""The map of a folder or a table: a page that is safe and complete, and a PNG."""

import json
import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile

from hive_mtl.audio import Segment
from hive_mtl.errors import DataError, EmbeddingError
from hive_mtl.faces.cli import main
from hive_mtl.faces.labelled import read_labelled
from hive_mtl.faces.pictures.places import fitted, places
from hive_mtl.faces.pictures.voice_map import UNLABELLED, Point, VoiceMap, render, write_map
from tiny_model import save_tiny_model
from voices import RATE, voice

NASTY = "<script>alert('1')</script> \"&#%é.wav"


class Page(HTMLParser):
    """The elements of a page by their name, and whether every one that opens is closed."""

    _VOID = frozenset({"meta", "br", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self._VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def count(self, tag: str, **attributes: str) -> int:
        return sum(
            name == tag and attributes.items() <= found.items() for name, found in self.elements
        )


def clips(page: str) -> list[str]:
    found = re.search(r'<script type="application/json" id="clips">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def voice_map(points: list[Point], **changes: object) -> VoiceMap:
    vectors = np.random.default_rng(0).standard_normal((len(points), 8)).astype(np.float32)
    return VoiceMap("Voices", "speaker", points, vectors, **changes)


def points(count: int, label: str | None = "ann") -> list[Point]:
    return [Point(f"{n}.wav", Path(f"/talk/{n}.wav"), label) for n in range(count)]


def test_names_are_harmless_and_recordings_are_linked_from_the_folder_of_the_page() -> None:
    nasty = Point(NASTY, Path("/talk/ann") / NASTY, NASTY)
    part = Point("part", Segment(Path("/talk/b.wav"), 1.5, 2.0), None)
    shown = voice_map([nasty, part], failures=[EmbeddingError(NASTY, "silent")])
    page = render(shown, np.eye(2), Path("/talk"))
    parsed = Page(page)
    assert parsed.open == []
    assert "alert('1')" not in page  # quotes are escaped wherever a name stands
    assert parsed.count("script") == 2
    linked, of_part = clips(page)
    assert unquote(linked) == f"ann/{NASTY}"
    assert not set(linked) & set("<>\"'#?& ")
    assert of_part == "b.wav#t=1.5,3.5"


def test_every_recording_can_be_reached_by_keyboard_and_nothing_is_fetched() -> None:
    page = render(voice_map(points(2000)), np.random.default_rng(0).random((2000, 2)), Path("/"))
    parsed = Page(page)
    assert parsed.count("g", **{"class": "mark"}) == 2000
    assert parsed.count("button", type="button") == 2000
    assert len(clips(page)) == 2000
    assert not re.search(r"https?://", page)
    assert "prefers-color-scheme: dark" in page
    assert len(page) < 1_000_000


def test_labels_are_ordered_by_size_with_the_unlabelled_last() -> None:
    shown = voice_map([*points(3, None), *points(1, "ann"), *points(2, "bob")])
    assert list(shown.labels.items()) == [("bob", 2), ("ann", 1), (UNLABELLED, 3)]
    assert shown.colours == [2, 2, 2, 1, 0, 0]


@pytest.mark.parametrize("labels", [12, 30])
def test_a_png_is_drawn_whatever_the_names(tmp_path: Path, labels: int) -> None:
    named = [Point("x", Path("x"), f"$\\frac{n} {NASTY}") for n in range(labels)]
    write_map(voice_map([*named, *points(1, None)]), tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("count", [1, 2, 3, 40])
def test_places_are_finite_the_same_every_time_and_fill_the_picture(count: int) -> None:
    vectors = np.random.default_rng(0).standard_normal((count, 8)).astype(np.float32)
    found = places(vectors)
    assert found.shape == (count, 2)
    assert np.array_equal(found, places(vectors))
    inside = fitted(found, 900, 500)
    assert (inside >= -1e-6).all()
    assert (inside <= np.array([900, 500]) + 1e-6).all()


def test_a_folder_has_its_speakers_by_its_folders(tmp_path: Path) -> None:
    for name in ("ann/1.wav", "ann/deep/2.wav", "3.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = read_labelled(tmp_path)
    assert [each.labels.get("speaker") for each in found] == [None, "ann", "ann"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "path,gender,start_s,duration_s\na.wav,f,,\nb.wav,,1,2\n"),
        ("t.csv", "path;gender;start_s;duration_s\na.wav;f;;\nb.wav;;1;2\n"),
        (
            "t.jsonl",
            """{"path": "a.wav", "gender": "f"}

            {"path": "b.wav", "gender": null, "start_s": 1, "duration_s": 2}""",
        ),
    ],
)
def test_a_table_has_its_labels_in_its_columns(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    first, second = read_labelled(tmp_path / name)
    assert (first.name, first.sound, first.labels) == ("a.wav", tmp_path / "a.wav", {"gender": "f"})
    assert (second.sound, second.labels) == (Segment(tmp_path / "b.wav", 1.0, 2.0), {})


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("t.txt", "a.wav", "neither a folder nor a table"),
        ("t.csv", "file\na.wav\n", "row 1: no path"),
        ("t.csv", "path,start_s\na.wav,\nb.wav,soon\n", r"t\.csv, row 2: start_s is 'soon': give"),
        ("t.csv", "path,duration_s\na.wav,-1\n", r"t\.csv, row 1: duration_s is '-1': give"),
        ("t.csv", "path,start_s\na.wav,nan\n", r"t\.csv, row 1: start_s is 'nan': give"),
        ("t.csv", "path\n", "no recordings"),
        ("t.jsonl", '{"path": "a.wav"}\n[1]\n', r"t\.jsonl, row 2: is '\[1\]' and not an object"),
        ("t.jsonl", '{"path": "a.wav"}\n\n{,}\n', r"t\.jsonl, row 2: is no JSON \(.*character 2"),
        ("t.csv", "path\na\xff.wav\n", "cannot be read as a table"),
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, name: str, text: str, reason: str) -> None:
    (tmp_path / name).write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=reason):
        read_labelled(tmp_path / name)
    with pytest.raises(DataError, match="cannot be read"):
        read_labelled(tmp_path / "gone.csv")


def test_a_part_may_be_told_by_its_length_alone(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,start_s,duration_s\na.wav,,2.5\nb.wav,3,\n")
    first, second = read_labelled(tmp_path / "t.csv")
    assert first.sound == Segment(tmp_path / "a.wav", 0.0, 2.5)
    assert second.sound == Segment(tmp_path / "b.wav", 3.0, None)


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    for suffix, reason in ((".csv", "File name too long"), ("", "neither a folder nor a table")):
        with pytest.raises(DataError, match=reason):
            read_labelled(tmp_path / ("x" * 300 + suffix))


def test_the_command_draws_a_folder_and_names_what_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("ann/1.wav", f"ann/{NASTY.replace('/', '')}", "bob/1.wav")):
        path = Path("talk") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, voice(1.5, seed=seed), RATE)
    Path("talk/text.wav").write_text("hello")
    save_tiny_model(Path("tiny.onnx"))
    Path("pages").mkdir()
    words = ["map", "talk", "--model", "tiny.onnx"]
    assert main([*words, "-o", "pages/map.html", "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["labels"] == {"ann": 2, "bob": 1}
    assert [line.split(":")[1] for line in err.splitlines()] == [" talk/text.wav"]
    page = Path("pages/map.html").read_text()
    assert all((Path("pages") / unquote(clip)).is_file() for clip in clips(page))
    for wrong, reason in (
        (["-o", "map.gif"], ".html or .png"),
        (["-o", "pages"], "pages: is a folder"),
        (["-o", "map.png", "--colour", "mood"], "no such label: it has speaker"),
    ):
        assert main([*words, *wrong]) == 2
        assert reason in capsys.readouterr().err
    assert os.listdir("pages") == ["map.html"]  # noqa: PTH208 - hidden files, too


@pytest.mark.parametrize(
    ("folder", "told"),
    [("talk/ann", "coloured by speaker"), ("talk", "in grey: none has a speaker")],
)
def test_the_command_says_whether_there_is_anything_to_colour_by(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: str,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(folder).mkdir(parents=True)
    for seed in range(2):
        soundfile.write(Path(folder) / f"{seed}.wav", voice(1.5, seed=seed), RATE)
    save_tiny_model(Path("tiny.onnx"))
    assert main(["map", "talk", "--model", "tiny.onnx", "-o", "map.html"]) == 0
    assert capsys.readouterr().out == f"map.html: 2 of 2 recordings, {told}\n"


def test_a_colour_stands_for_the_label_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[..., tuple[int, str, str]]
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in range(3):
        soundfile.write(f"{seed}.wav", voice(1.5, seed=seed), RATE)
    Path("t.csv").write_text("path,speaker,mood\n0.wav,ann,calm\n1.wav,bob,glad\n2.wav,cas,calm\n")
    save_tiny_model(Path("tiny.onnx"))
    words = ("map", "t.csv", "--model", "tiny.onnx", "-o", "map.html", "--colour", "mood")
    assert json.loads(call(*words, "--json")[1])["labels"] == {"calm": 2, "glad": 1}
    assert call(*words)[1] == "map.html: 3 of 3 recordings, coloured by mood\n"
