"""The demonstration: its synthetic voices, what it keeps aside, its page and its picture."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch
from rich.console import Console

from hive_mtl.description import DataSummary
from hive_mtl.errors import DataError
from hive_mtl.evaluate import evaluate
from hive_mtl.faces.demo import earlier, material, pipeline, synthetic
from hive_mtl.faces.demo.page import render
from hive_mtl.faces.demo.story import Step, Story, Teller, duration, percent
from hive_mtl.learn import checkpoint, corpora
from hive_mtl.learn.config import Recipe, load_recipe
from hive_mtl.learn.diagram import draw, trace_layers
from hive_mtl.learn.utterances import validation_mask
from hive_mtl.use.model import load
from tiny_model import description, save_tiny_model
from voices import RATE, voice

_RENDER = synthetic.render  # which some tests replace


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "corpus"
    synthetic.render(folder, known=2, unseen=2)
    return folder


@pytest.fixture(scope="module")
def story(corpus: Path) -> Story:
    model = load(save_tiny_model(corpus.parent / "tiny.onnx"))
    unseen = material.unseen(corpora.read(corpus))
    recordings = pipeline.listen(model, unseen)
    return Story(
        synthetic=True,
        description=model.description,
        architecture=draw(model.description),
        run="demo/run",
        steps=[Step("Training <one> embedding", "done & dusted", 61.2)],
        report=evaluate(model, unseen, bootstrap=10),
        recordings=recordings,
        comparisons=pipeline.compare(model, recordings),
        portraits=pipeline.portray(model, recordings),
    )


@pytest.fixture(scope="module")
def page(story: Story) -> str:
    return render(story)


def test_the_same_voices_are_rendered_every_time(corpus: Path, tmp_path: Path) -> None:
    synthetic.render(tmp_path, known=1, unseen=0)
    rendered = sorted(tmp_path.rglob("*.flac"))
    assert len(rendered) == synthetic.CHAPTERS * synthetic.LINES_PER_CHAPTER
    for again in rendered:
        assert again.read_bytes() == (corpus / again.relative_to(tmp_path)).read_bytes()


def test_voices_differ_from_each_other() -> None:
    traits = {synthetic.invent(number).voice.traits for number in range(1001, 1061)}
    assert len(traits) == 60


def test_corpus_is_read_as_librispeech_with_a_test_split(corpus: Path) -> None:
    table = corpora.read(corpus)
    assert len(table) == 4 * synthetic.CHAPTERS * synthetic.LINES_PER_CHAPTER
    assert set(table["split"].to_pylist()) == {"train", "test"}
    assert set(table["gender"].to_pylist()) == {"female", "male"}
    assert len(table["session"].unique()) == 4 * synthetic.CHAPTERS
    assert min(table["duration_s"].to_pylist()) > 1.5
    assert max(table["duration_s"].to_pylist()) < 6.0


def test_recordings_are_speech_at_varied_levels(corpus: Path) -> None:
    peaks = [np.abs(soundfile.read(file)[0]).max() for file in corpus.rglob("*.flac")]
    assert 0.1 < min(peaks) < 0.5 < max(peaks) <= 1.0


def test_corpus_says_that_it_is_synthetic(corpus: Path) -> None:
    assert "No person speaks here" in (corpus / "SPEAKERS.TXT").read_text()


def test_enough_of_the_known_voices_validate() -> None:
    first = synthetic.FIRST_SPEAKER
    speakers = [str(first + index) for index in range(pipeline.KNOWN_VOICES)]
    table = pa.table({"corpus": ["synthetic"] * len(speakers), "speaker": speakers})
    assert validation_mask(table).sum() >= 5


def _own(folder: Path, voices: int, recordings: int = 2) -> Path:
    for number in range(voices):
        for take in range(recordings):
            path = folder / f"v{number:02}" / f"{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, voice(1.0, seed=number), RATE)
    return folder


def test_voices_of_own_recordings_are_kept_aside(tmp_path: Path) -> None:
    table = material.read_own(_own(tmp_path / "own", voices=15))
    aside = table.filter(pa.compute.equal(table["split"], material.UNSEEN))
    assert len(set(aside["speaker"].to_pylist())) == 3
    assert len(set(table["speaker"].to_pylist())) == 15
    assert not validation_mask(aside).any()


def test_too_few_voices_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"7 voices with two recordings or more.*at least 8"
    ) as error:
        material.read_own(_own(tmp_path / "own", voices=7))
    assert "\n" not in str(error.value)


def test_voices_with_one_recording_do_not_count(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 voices"):
        material.read_own(_own(tmp_path / "own", voices=9, recordings=1))


def test_the_command_makes_everything_in_the_folder_that_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call
) -> None:
    def no_room(folder: Path, known: int, unseen: int) -> None:
        raise DataError(f"{folder}: no room")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(synthetic, "render", no_room)
    for words, folder in (((), "demo"), (("--out", "mine"), "mine")):
        status, _, err = call("demo", *words)
        assert (status, err) == (2, f"hive-mtl: {folder}/corpus: no room\n")


def _table(folder: Path, *rows: tuple[str, str, str]) -> Path:
    """A table of (corpus, speaker, split); twelve other voices of a third corpus are to learn."""
    learnt = [("c", f"v{number}", "train") for number in range(12) for _ in range(2)]
    lines = [f"{number}.wav,{','.join(row)}" for number, row in enumerate([*rows, *learnt])]
    path = folder / "own.csv"
    path.write_text("\n".join(["path,corpus,speaker,split", *lines]) + "\n")
    return path


def test_voices_of_one_name_in_two_corpora_are_two(tmp_path: Path) -> None:
    unseen = [(corpus, "1", "test") for corpus in "aabb"]
    table = material.read_own(_table(tmp_path, *unseen))
    aside = material.unseen(table)
    assert aside["speaker"].to_pylist() == ["a/1", "a/1", "b/1", "b/1"]
    assert aside["corpus"].unique().to_pylist() == ["recordings"]
    assert pipeline._told(table).startswith("28 recordings of 14 voices, ")
    assert "2 of the voices are kept aside" in pipeline._told(table)
    assert set(table["corpus"].to_pylist()) == {"a", "b", "c"}  # what is learnt stays apart


def test_voices_kept_aside_of_one_corpus_keep_their_names(tmp_path: Path) -> None:
    own = _table(tmp_path, *[("a", name, "test") for name in "xxyy"])
    aside = material.unseen(material.read_own(own))
    assert aside["speaker"].to_pylist() == [*"xxyy"]
    assert aside["corpus"].unique().to_pylist() == ["a"]


@pytest.mark.parametrize("names", ["xx", "xy", ("", "", "")])
def test_a_split_that_no_pairs_can_be_made_of_is_refused_at_once(tmp_path: Path, names) -> None:
    own = _table(tmp_path, *[("a", name, "test") for name in names])
    with pytest.raises(DataError, match=r"own.csv: split 'test' needs two named voices.*: add"):
        material.read_own(own)


def test_names_are_told_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    teller = Teller(Console(emoji=False, width=200))
    with teller.step("Reading your recordings in d [old]/[/bold]:cat:") as step:
        step.outcome = "Voice [b]: x."
    out = capsys.readouterr().out
    assert "in d [old]/[/bold]:cat:\n" in out
    assert "Voice [b]: x. (" in out


@pytest.fixture
def rendering(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that a corpus would be rendered into; the demonstration ends there."""
    folders: list[Path] = []

    def stop(folder: Path, known: int, unseen: int) -> None:
        folders.append(folder)
        raise DataError("stopped")

    monkeypatch.setattr(synthetic, "render", stop)
    return folders


def _checkpoint_of(recipe: str, run: Path) -> None:
    header = checkpoint.Header(recipe={"name": recipe}, tasks={})
    run.mkdir(parents=True, exist_ok=True)
    for name in ("best.safetensors", "last.safetensors"):
        checkpoint.save_weights(run / name, header, {"x": torch.zeros(1)})


def _kept(out: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def _own_corpus(out: Path) -> None:
    _own(out / "corpus", voices=1)


def _own_librispeech(out: Path) -> None:
    _own(out / "corpus" / "train-clean", voices=1)
    (out / "corpus" / "SPEAKERS.TXT").write_text("14 | F | train-clean | 25.03 | Kristin\n")


def _own_run(out: Path) -> None:
    _checkpoint_of("speech", out / "run")


def _own_model(out: Path) -> None:
    (out / "run").mkdir()
    save_tiny_model(out / "run" / "model.onnx")


def _damaged_run(out: Path) -> None:
    _checkpoint_of("demo", out / "run")
    (out / "run" / "best.safetensors").write_bytes(b"?")


def _own_files(out: Path) -> None:
    (out / "evaluation").mkdir()
    for name in ("report.html", "utterances.parquet", "evaluation/report.md"):
        (out / name).write_text("of years of work")


@pytest.mark.parametrize(
    ("fill", "named"),
    [
        (_own_corpus, "/corpus: is not of an earlier demonstration"),
        (_own_librispeech, "/corpus: is not of an earlier demonstration"),
        (_own_run, "/run: is a run, but not of an earlier demonstration"),
        (_own_model, "/run: is a run, but not of an earlier demonstration"),
        (_damaged_run, "/run: is a run, but not of an earlier demonstration"),
        (_own_files, ": is not empty and not of an earlier demonstration"),
    ],
)
@pytest.mark.parametrize("words", [(), ("--speech",)])
def test_what_is_the_users_own_is_left_alone(
    tmp_path: Path, rendering: list[Path], call, fill, named: str, words: tuple[str, ...]
) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    fill(out)
    before = _kept(out)
    words = (*words, str(_own(tmp_path / "own", voices=1))) if words else ()
    status, said, err = call("demo", *words, "--out", str(out))
    assert (status, said) == (2, "")
    assert err == f"hive-mtl: {out}{named}: name another folder with -o\n"
    assert not rendering
    assert _kept(out) == before


def _stopped_rendering(out: Path) -> None:
    (out / ".corpus.abcd" / "corpus").mkdir(parents=True)


def _rendered(out: Path) -> None:
    _RENDER(out / "corpus", known=1, unseen=0)


def _stopped_training(out: Path) -> None:
    earlier.write_table(pa.table({"path": ["a.wav"]}), out)
    (out / "prepared").mkdir()
    (out / "run").mkdir()
    (out / "run" / "log.jsonl").touch()


def _trained(out: Path) -> None:
    _checkpoint_of("demo", out / "run")
    (out / "report.html").touch()


@pytest.mark.parametrize(
    "fill", [lambda out: None, _stopped_rendering, _rendered, _stopped_training, _trained]
)
def test_what_an_earlier_demonstration_left_is_replaced(
    tmp_path: Path, rendering: list[Path], call, fill
) -> None:
    fill(tmp_path)
    _, _, err = call("demo", "--out", str(tmp_path))
    assert err == "hive-mtl: stopped\n"
    assert rendering == [tmp_path / "corpus"]


@pytest.mark.slow
def test_the_whole_story_and_again_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call
) -> None:
    """With fewer voices and steps than the demonstration takes, and otherwise as it is."""

    def shorter(name: str, settings: list[str]) -> Recipe:
        return load_recipe(name, [*settings, "trainer.steps=6", "trainer.validate_every=3"])

    monkeypatch.setattr(pipeline, "load_recipe", shorter)
    monkeypatch.setattr(pipeline, "KNOWN_VOICES", 12)
    monkeypatch.setattr(pipeline, "UNSEEN_VOICES", 4)
    for _ in range(2):
        status, out, err = call("demo", "--out", str(tmp_path / "demo"))
        assert status == 0, err
    assert "report.html" in out
    page = (tmp_path / "demo" / "report.html").read_text("utf-8")
    judged = json.loads((tmp_path / "demo" / "evaluation" / "report.json").read_text("utf-8"))
    assert f"equal error rate {judged['verification'][0]['eer']['value']:.1%}" in page
    assert load(tmp_path / "demo" / "run").description.model_id in page


def test_page_fetches_nothing(page: str) -> None:
    assert "default-src 'none'" in page
    links = re.findall(r"""(?:src|href|url|xlink:href)\s*[=(]\s*["']?([^"'\s)>]+)""", page)
    assert links
    assert all(link.startswith("data:") for link in links if not link.startswith("clips["))
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # the name of SVG, not an address to fetch


def test_page_says_that_voices_are_synthetic(story: Story, page: str) -> None:
    assert "These voices are synthetic" in page
    assert "These voices are synthetic" not in render(replace(story, synthetic=False))


def test_page_tells_the_story(story: Story, page: str) -> None:
    for pair in story.comparisons:
        assert pair.sentence() in page
        assert pair.check() in page
    assert story.description.model_id in page
    assert page.count('class="mark"') == len(story.recordings)
    assert page.count("<audio controls") == 6
    assert "Training &lt;one&gt; embedding" in page
    assert "done &amp; dusted" in page


def test_every_picture_has_words(page: str) -> None:
    pictures = re.findall(r"<svg[^>]*>", page)
    assert len(pictures) >= 5
    assert all('aria-label="' in each or 'aria-hidden="true"' in each for each in pictures)


def test_page_without_calibration_gives_scores_alone(story: Story, corpus: Path) -> None:
    uncalibrated = description(calibration=None).model_dump_json()
    model = load(save_tiny_model(corpus.parent / "uncalibrated.onnx", metadata=uncalibrated))
    comparisons = pipeline.compare(model, story.recordings)
    page = render(replace(story, description=model.description, comparisons=comparisons))
    assert "too few for a threshold" in page


def test_pairs_are_of_one_voice_and_of_two(story: Story) -> None:
    assert [pair.same for pair in story.comparisons] == [True, False]


def test_words_for_numbers() -> None:
    assert [duration(s) for s in (0.02, 0.52, 12.3, 154.0)] == [
        "under 0.1 s", "0.5 s", "12 s", "2 min 34 s"
    ]  # fmt: skip
    assert [percent(p) for p in (0.001, 0.5, 0.973, 0.999)] == [
        "below 1%", "50%", "97%", "above 99%"
    ]  # fmt: skip


class _Trunk(torch.nn.Module):
    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.stem = torch.nn.Conv1d(80, 12, 1)
        self.blocks = torch.nn.ModuleList(torch.nn.Conv1d(12, 12, 1) for _ in range(blocks))
        self.project = torch.nn.Linear(12, 16)

    def forward(self, features: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        hidden = self.stem(features)
        for block in self.blocks:
            hidden = block(hidden)
        embedding: torch.Tensor = self.project(hidden.mean(dim=2))
        return embedding


def test_picture_is_read_off_the_model() -> None:
    learnt = DataSummary(corpus="x", speakers=1234, utterances=1, hours=1.0)
    picture = draw(description(data=(learnt,)), trace_layers(_Trunk(2), mels=80))
    for words in ("stem", "block 2", "12 \N{MULTIPLICATION SIGN} 300", ">972<", "project"):
        assert words in picture
    for words in ("16 numbers", "female, male", "0 to 100 years", "voices, only in training"):
        assert words in picture


def test_tracing_leaves_the_model_as_it_was() -> None:
    trunk = _Trunk(1).train()
    trace_layers(trunk, mels=80)
    assert trunk.training
    assert not trunk.stem._forward_hooks


def test_many_layers_of_a_kind_are_drawn_as_one() -> None:
    picture = draw(description(), trace_layers(_Trunk(20), mels=80))
    assert "20 \N{MULTIPLICATION SIGN} block" in picture


def test_pairs_need_two_voices_and_a_voice_with_two_recordings(story: Story, corpus: Path) -> None:
    model = load(corpus.parent / "tiny.onnx")
    one_voice = [each for each in story.recordings if each.voice == story.recordings[0].voice]
    for recordings in ([], one_voice, [story.recordings[0], story.recordings[-1]]):
        with pytest.raises(DataError, match="kept aside"):
            pipeline.compare(model, recordings)
