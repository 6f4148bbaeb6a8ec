"""Voices enrolled from recordings, as a user of the library meets them."""

import json
import multiprocessing
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

import hive_mtl as hive
from enrolled import MODEL, stored
from hive_mtl.errors import AudioError, ConfigError, DataError, ModelError, StoreError, VoiceError
from hive_mtl.use.enrolling import check_name
from hive_mtl.use.stores import open_store
from sharp_model import ANN, BOB, save_sharp_model
from tiny_model import description, save_tiny_model
from voices import RATE, voice


def wave(seed: int, seconds: float = 3.0) -> tuple[np.ndarray, int]:
    return voice(seconds, seed=seed), RATE


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> hive.Model:
    return hive.load(save_sharp_model(tmp_path_factory.mktemp("model") / "model.onnx"))


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> hive.Model:
    folder = tmp_path_factory.mktemp("other")
    return hive.load(save_sharp_model(folder / "model.onnx", name="other", seed=1))


@pytest.fixture
def voices(model, tmp_path) -> hive.Voices:
    return hive.Voices(tmp_path / "voices.db", model)


def recordings(folder: Path, seed: int, count: int = 2) -> list[Path]:
    paths = [folder / f"{seed}-{take}.wav" for take in range(count)]
    for take, path in enumerate(paths):
        sf.write(path, voice(3.0 + take, seed=seed), RATE)
    return paths


def test_a_name_is_one_however_it_is_composed(voices, tmp_path) -> None:
    voices.enroll("Ren\u00e9", recordings(tmp_path, ANN))
    assert "Rene\u0301" in voices
    assert voices.get("Rene\u0301").name == "Ren\u00e9"


def test_enrol_and_identify(voices, tmp_path) -> None:
    for name, seed in (("ann", ANN), ("bob", BOB)):
        kept = voices.enroll(name, recordings(tmp_path, seed), note="agreed", labels={"team": "a"})
        assert kept.samples[0].source == str(tmp_path / f"{seed}-0.wav")
    identity = voices.identify(wave(ANN, 5.0))
    assert (identity.known, identity.name, identity.enrolled) == (True, "ann", 2)
    assert sum(each.probability for each in identity.candidates) + identity.unknown == (
        pytest.approx(1)
    )
    assert [entry.name for entry in voices.list()] == ["ann", "bob"]
    assert (voices.list()[0].note, voices.list()[0].labels) == ("agreed", {"team": "a"})
    assert len(voices) == 2
    assert "ann" in voices
    assert "eve" not in voices


def test_it_is_kept_when_the_call_returns(model, tmp_path) -> None:
    with hive.Voices(tmp_path / "voices.db", model) as voices:
        voices.enroll("ann", wave(ANN))
    with hive.Voices(str(tmp_path / "voices.db"), model.file) as voices:
        assert voices.identify(wave(ANN)).name == "ann"


def test_a_list_needs_no_model(tmp_path) -> None:
    assert hive.Voices(tmp_path / "voices.db", "no/such/model.onnx").list() == ()


def test_the_usual_place_is_in_the_users_data(monkeypatch, tmp_path, model) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    voices = hive.Voices(model=model)
    voices.enroll("ann", wave(ANN))
    assert str(tmp_path) in voices.place


def test_a_part_of_a_recording_can_be_enrolled_and_embedded_again(
    voices, other_model, tmp_path
) -> None:
    (path,) = recordings(tmp_path, ANN, count=1)
    voices.enroll("ann", hive.Segment(path, 0.5, 2.0))
    with pytest.raises(ModelError, match="voices re-embed"):
        hive.Voices(voices.place, other_model).identify(wave(ANN))
    renewed = hive.Voices(voices.place, other_model)
    assert renewed.re_embed() == 1
    assert renewed.identify(hive.Segment(path, 0.5, 2.0)).name == "ann"
    sample = renewed.get("ann").samples[0]
    assert (sample.source, sample.start_s, sample.duration_s) == (str(path), 0.5, 2.0)
    with pytest.raises(ModelError, match="voices re-embed"):
        voices.enroll("bob", wave(BOB))


def test_recordings_that_are_gone_keep_the_vectors_as_they_are(
    voices, other_model, tmp_path
) -> None:
    voices.enroll("ann", recordings(tmp_path, ANN))
    (tmp_path / f"{ANN}-1.wav").unlink()
    with pytest.raises(VoiceError, match=r"1 of 2 recordings.*-1\.wav"):
        hive.Voices(voices.place, other_model).re_embed()
    assert voices.identify(wave(ANN)).name == "ann"


def test_recordings_that_noise_swallows_by_now_keep_the_vectors_as_they_are(
    voices, other_model, tmp_path
) -> None:
    paths = recordings(tmp_path, ANN)
    voices.enroll("ann", paths)
    noise = np.random.default_rng(0).standard_normal(3 * RATE) / 9
    sf.write(paths[1], noise, RATE)
    with pytest.raises(VoiceError, match=r"1 of 2 recordings.*-1\.wav.*not enough speech"):
        hive.Voices(voices.place, other_model).re_embed()
    assert voices.identify(wave(ANN)).name == "ann"


def test_without_voices_nothing_is_made_anew_and_no_store(model, tmp_path) -> None:
    with pytest.raises(VoiceError, match=r"none\.db: there are no voices"):
        hive.Voices(tmp_path / "new" / "none.db", model).re_embed()
    assert list(tmp_path.iterdir()) == []


def test_who_was_enrolled_or_removed_while_vectors_were_made_anew_stays_so(
    voices, other_model, tmp_path, monkeypatch
) -> None:
    for name, seed in (("ann", ANN), ("bob", BOB)):
        voices.enroll(name, recordings(tmp_path, seed))
    embed_stream = other_model.embed_stream

    def meanwhile(sources):
        voices.remove("bob")
        voices.enroll("cid", wave(2))
        return embed_stream(sources)

    monkeypatch.setattr(other_model, "embed_stream", meanwhile)
    with pytest.raises(StoreError, match=r"voices\.db: has changed.*again"):
        hive.Voices(voices.place, other_model).re_embed()
    assert [entry.name for entry in voices.list()] == ["ann", "cid"]
    assert voices.identify(wave(ANN)).name == "ann"


def test_a_recording_counts_once(voices, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path, further = recordings(tmp_path, ANN)
    parts = [hive.Segment(path, start_s, 1.5) for start_s in (0.0, 1.0, 0.0)]
    kept = voices.enroll("ann", [path, path.name, f"./{path.name}", hive.Segment(path), *parts])
    assert [(each.start_s, each.duration_s) for each in kept.samples] == [
        (0.0, None),
        (0.0, 1.5),
        (1.0, 1.5),
    ]
    for again in (path.name, [further, path], hive.Segment(path, 1.0, 1.5)):
        with pytest.raises(VoiceError, match=r"-0\.wav.*already among the recordings of 'ann'"):
            voices.add("ann", again)
    assert len(voices.get("ann").samples) == 3
    assert len(voices.add("ann", [further, further]).samples) == 4


def test_a_recording_that_two_add_at_once_is_kept_once(voices, tmp_path, monkeypatch) -> None:
    (path,) = recordings(tmp_path, ANN, count=1)
    voices.enroll("ann", wave(ANN))
    embed_stream = voices.model.embed_stream

    def meanwhile(sources):
        monkeypatch.undo()
        voices.add("ann", path)
        return embed_stream(sources)

    monkeypatch.setattr(voices.model, "embed_stream", meanwhile)
    with pytest.raises(VoiceError, match=r"-0\.wav: is already among the recordings of 'ann'"):
        voices.add("ann", path)
    assert len(voices.get("ann").samples) == 2


def test_what_is_no_file_is_never_taken_for_the_same(voices) -> None:
    voices.enroll("ann", [wave(ANN), wave(ANN)])
    assert len(voices.add("ann", wave(ANN)).samples) == 3


@pytest.mark.parametrize(
    "bad",
    [
        (np.zeros(3 * RATE, np.float32), RATE),
        wave(ANN, 0.5),
        (np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32) / 9, RATE),
        "nowhere.wav",
        [],
        [wave(ANN), "nowhere.wav"],
    ],
    ids=["silence", "too short", "nobody", "missing", "none", "one missing"],
)
def test_what_tells_nothing_is_not_enrolled(voices, bad) -> None:
    voices.enroll("bob", wave(BOB))
    with pytest.raises(AudioError) as caught:
        voices.enroll("ann", bad)
    assert "\n" not in str(caught.value)
    with pytest.raises(AudioError):
        voices.add("bob", bad)
    assert [(entry.name, entry.samples) for entry in voices.list()] == [("bob", 1)]


class TestTwoPeople:
    def test_are_not_enrolled_under_one_name(self, voices, tmp_path) -> None:
        mixed = [*recordings(tmp_path, ANN), *recordings(tmp_path, BOB, count=1)]
        with pytest.raises(VoiceError, match=r"1-0\.wav: sounds like another voice.*score"):
            voices.enroll("ann", mixed)
        assert len(voices) == 0

    def test_of_two_recordings_both_are_named(self, voices, tmp_path) -> None:
        pair = [*recordings(tmp_path, ANN, count=1), *recordings(tmp_path, BOB, count=1)]
        first, second = map(re.escape, map(str, pair))
        with pytest.raises(VoiceError, match=f"{first}: sounds like another voice than {second}"):
            voices.enroll("ann", pair)

    def test_half_and_half_are_seen(self, voices, tmp_path) -> None:
        with pytest.raises(VoiceError, match="another voice"):
            voices.enroll("ann", [*recordings(tmp_path, ANN), *recordings(tmp_path, BOB)])

    def test_another_voice_is_not_added(self, voices) -> None:
        voices.enroll("ann", wave(ANN))
        with pytest.raises(VoiceError, match=r"another voice.*--same-voice"):
            voices.add("ann", wave(BOB))
        assert len(voices.get("ann").samples) == 1
        assert len(voices.add("ann", wave(ANN, 4.0)).samples) == 2

    def test_who_says_that_they_are_one_is_believed(self, voices) -> None:
        voices.enroll("ann", [wave(ANN), wave(BOB)], same_voice=True)
        voices.add("ann", wave(2), same_voice=True)
        assert len(voices.get("ann").samples) == 3


class TestNames:
    @pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\0b", "\udcff", " ann", "ann ", "\u200b"])
    def test_that_nobody_could_type_again_are_refused(self, voices, name) -> None:
        for act in (
            lambda: voices.enroll(name, wave(ANN)),
            lambda: voices.rename("ann", name),
            lambda: voices.remove(name),
        ):
            with pytest.raises(VoiceError) as caught:
                act()
            assert str(caught.value).isprintable()

    @pytest.mark.parametrize("name", ["", "a\0b", "\ud800", "\u200b", " ann", b"ann", None])
    def test_that_are_none_are_not_there(self, voices, name) -> None:
        voices.enroll("ann", wave(ANN))
        assert name not in voices
        assert "ann" in voices

    @given(st.text())
    def test_of_any_kind_are_kept_or_refused_in_one_line(self, name) -> None:
        acceptable = name.isprintable() and name == name.strip() != ""
        if acceptable:
            assert check_name(check_name(name)) == check_name(name)
            return
        with pytest.raises(VoiceError) as caught:
            check_name(name)
        assert str(caught.value).isprintable()

    @pytest.mark.parametrize("name", ["unknown", "Unknown 12"])
    def test_that_would_be_answers_are_not_given(self, voices, name) -> None:
        with pytest.raises(VoiceError, match="whom nobody knows: give another"):
            voices.enroll(name, wave(ANN))
        voices.enroll("unknown soldier", wave(ANN))
        with pytest.raises(VoiceError, match="whom nobody knows: give another"):
            voices.rename("unknown soldier", name)

    def test_that_would_be_answers_may_be_those_of_older_stores(self, tmp_path) -> None:
        path, exported = tmp_path / "voices.db", tmp_path / "voices.jsonl"
        open_store(path).add([stored("unknown", 1)], MODEL)
        with hive.Voices(path) as voices:
            voices.rename("unknown", "unknown")
            voices.export(exported)
            with (
                hive.Voices(tmp_path / "new.db") as new,
                pytest.raises(VoiceError, match=r"jsonl: name 'unknown'.*export .* anew") as caught,
            ):
                new.import_(exported)
            assert "\n" not in str(caught.value)
            assert len(new) == 0
            voices.rename("unknown", "ann")
            assert "ann" in voices

    def test_that_look_alike_are_alike(self, voices) -> None:
        voices.enroll("Zoe\u0308", wave(ANN))
        assert voices.get("Zo\u00eb").name == "Zo\u00eb"
        with pytest.raises(VoiceError, match="already"):
            voices.enroll("Zo\u00eb", wave(ANN))

    def test_that_are_not_there_suggest_the_nearest(self, voices) -> None:
        voices.enroll("annabel", wave(ANN))
        with pytest.raises(VoiceError, match="did you mean 'annabel'"):
            voices.remove("anabel")


def test_notes_and_labels_are_text(voices) -> None:
    with pytest.raises(VoiceError, match="UTF-8"):
        voices.enroll("ann", wave(ANN), note="\udcff")
    with pytest.raises(VoiceError, match="UTF-8"):
        voices.enroll("ann", wave(ANN), labels={"a": "b\0"})
    assert len(voices) == 0


def test_rename_merge_remove(voices) -> None:
    voices.enroll("ann", wave(ANN))
    voices.enroll("anne", wave(ANN, 4.0))
    voices.rename("ann", "anna")
    voices.merge("anna", "anne")
    assert [(entry.name, entry.samples) for entry in voices.list()] == [("anna", 2)]
    voices.remove("anna")
    assert voices.list() == ()


def test_a_model_without_calibration_is_told_of_before_the_work(tmp_path) -> None:
    said = description(calibration=None).model_dump_json()
    model = hive.load(save_tiny_model(tmp_path / "model.onnx", said))
    voices = hive.Voices(tmp_path / "voices.db", model)
    with pytest.raises(ModelError, match="hive-mtl calibrate"):
        voices.enroll("ann", "nowhere.wav")
    with pytest.raises(ModelError, match="hive-mtl calibrate"):
        voices.identify("nowhere.wav")


def test_identify_refuses_what_makes_no_sense(voices) -> None:
    with pytest.raises(ConfigError, match="k 0"):
        voices.identify(wave(ANN), k=0)
    with pytest.raises(AudioError, match="not enough speech"):
        voices.identify(wave(ANN, 0.5))


class TestExport:
    @pytest.fixture
    def exported(self, voices, tmp_path) -> Path:
        voices.enroll("ann", recordings(tmp_path, ANN), note="agreed", labels={"team": "ä"})
        voices.enroll("bob", hive.Segment(recordings(tmp_path, BOB)[0], 0.5, 2.0))
        assert voices.export(tmp_path / "voices.jsonl") == 2
        return tmp_path / "voices.jsonl"

    def test_is_imported_as_it_was(self, voices, exported, model, tmp_path) -> None:
        copy = hive.Voices(tmp_path / "copy.db", model)
        assert copy.import_(exported) == 2
        assert copy.list() == voices.list()
        for name in ("ann", "bob"):
            for mine, theirs in zip(voices.get(name).samples, copy.get(name).samples, strict=True):
                np.testing.assert_array_equal(mine.vector, theirs.vector)
                assert (mine.source, mine.start_s, mine.duration_s, mine.snr_db) == (
                    *(theirs.source, theirs.start_s, theirs.duration_s),
                    theirs.snr_db,
                )
        assert exported.stat().st_mode & 0o077 == 0

    def test_of_another_model_is_refused(self, exported, other_model, tmp_path) -> None:
        copy = hive.Voices(tmp_path / "copy.db", other_model)
        copy.enroll("cid", wave(2))
        with pytest.raises(ModelError, match="re-embed"):
            copy.import_(exported)
        assert len(copy) == 1

    def test_with_a_taken_name_is_refused_whole(self, exported, model, tmp_path) -> None:
        copy = hive.Voices(tmp_path / "copy.db", model)
        copy.enroll("bob", wave(BOB))
        with pytest.raises(VoiceError, match="'bob'"):
            copy.import_(exported)
        assert len(copy) == 1

    @pytest.mark.parametrize(
        "damage",
        [
            lambda text: "",
            lambda text: "\x00\x01",
            lambda text: text[: len(text) // 2],
            lambda text: "\n".join(text.split("\n")[:-2]) + "\n",
            lambda text: text.replace('"version":1', '"version":9'),
            lambda text: text.replace('"vector": "', '"vector": "AAAA'),
            lambda text: text.replace('"speech_seconds": ', '"speech_seconds": -'),
            lambda text: text.replace('"name": "ann"', '"name": ""'),
            lambda text: text.replace('"samples"', '"examples"'),
        ],
    )
    def test_that_is_damaged_is_refused_in_one_line(self, exported, model, damage) -> None:
        exported.write_text(damage(exported.read_text()))
        copy = hive.Voices(exported.with_name("copy.db"), model)
        with pytest.raises(DataError) as caught:
            copy.import_(exported)
        assert "\n" not in str(caught.value)
        assert len(copy) == 0

    def test_its_lines_are_json(self, exported) -> None:
        head, *lines = map(json.loads, exported.read_text().splitlines())
        assert (head["format"], head["voices"], len(lines)) == ("hive-mtl voices", 2, 2)

    def test_of_nobody_is_no_file(self, voices, tmp_path) -> None:
        with pytest.raises(VoiceError, match="no voices"):
            voices.export(tmp_path / "voices.jsonl")
        assert not (tmp_path / "voices.jsonl").exists()

    def test_takes_no_folder_for_a_file(self, exported, voices, tmp_path) -> None:
        with pytest.raises(DataError, match="folder"):
            voices.export(tmp_path)
        with pytest.raises(DataError, match="cannot be read"):
            voices.import_(tmp_path)


def _enrol(place: Path, model: Path, first: int) -> None:
    voices = hive.Voices(place, model)
    for seed in range(first, first + 5):
        voices.enroll(f"v{seed}", wave(seed, 2.0))
        print(f"v{seed}", flush=True)
        assert voices.identify(wave(seed, 2.0)).candidates


@pytest.mark.slow
def test_processes_enrol_and_identify_together(model, tmp_path) -> None:
    context = multiprocessing.get_context("spawn")
    children = [
        context.Process(target=_enrol, args=(tmp_path / "voices.db", model.file, 5 * run))
        for run in range(4)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
        assert child.exitcode == 0
    assert len(hive.Voices(tmp_path / "voices.db")) == 20


@pytest.mark.slow
def test_what_was_enrolled_from_recordings_survives_a_kill(model, tmp_path) -> None:
    script = (
        "import sys, hive_mtl as hive\n"
        "voices = hive.Voices(sys.argv[1], sys.argv[2])\n"
        "for number in range(1000):\n"
        "    voices.enroll(f'{sys.argv[3]}-{number}', sys.argv[4:])\n"
        "    print(f'{sys.argv[3]}-{number}', flush=True)\n"
    )
    paths = recordings(tmp_path, ANN)
    acknowledged = []
    for run in range(3):
        place = tmp_path / "voices.db"
        words = [sys.executable, "-c", script, place, model.file, run, *paths]
        child = subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, text=True)
        acknowledged += [child.stdout.readline().strip() for _ in range(3 + run)]
        child.kill()
        acknowledged += child.stdout.read().split()
        child.communicate()
    kept = {entry.name: entry.samples for entry in hive.Voices(tmp_path / "voices.db").list()}
    assert set(acknowledged) <= set(kept)
    assert set(kept.values()) == {2}
