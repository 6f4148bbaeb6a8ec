"""The doctor names each bad row, and leaves good ones alone."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import soundfile

from hive_mtl.faces import cli
from hive_mtl.learn.corpora import read
from hive_mtl.learn.doctor import Finding, counts, examine
from hive_mtl.learn.utterances import conform, shared_voices

RATE = 16_000


def speech(seed: int, seconds: float = 2.0) -> npt.NDArray[np.float32]:
    """Noise in bursts: loud and quiet stretches, as in speech."""
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).normal(0, 0.05, len(time))
    return (noise * (np.sin(2 * np.pi * 2 * time) > -0.5) + noise * 0.001).astype(np.float32)


def kinds(findings: list[Finding]) -> list[tuple[int, str]]:
    return [(finding.row, finding.kind) for finding in findings]


@pytest.fixture
def table(tmp_path):
    def make(waves, **labels):
        paths = [tmp_path / f"{number}.wav" for number in range(len(waves))]
        for path, wave in zip(paths, waves, strict=True):
            if isinstance(wave, bytes):
                path.write_bytes(wave)
            elif wave is not None:
                soundfile.write(path, wave, RATE, subtype="PCM_16")
        labels.setdefault("speaker", ["ann"] * len(waves))
        return conform(pa.table({"path": list(map(str, paths)), **labels}))

    return make


def test_good_speech_has_no_findings(table):
    assert examine(table([speech(1), speech(2)], gender=["f", "Female"], age=["20", "21"])) == []


def test_every_fault_of_the_sound_is_named(table):
    loud = np.clip(speech(7) * 40, -1, 1)
    rows = table(
        [
            speech(1),
            None,
            b"",
            b"this is text",
            np.zeros(RATE, np.float32),
            speech(5, 0.2),
            speech(1),
            loud,
        ]
    )
    found = examine(rows, workers=2)
    assert kinds(found) == [
        (2, "missing"),
        (3, "unreadable"),
        (4, "unreadable"),
        (5, "silent"),
        (6, "too short"),
        (7, "duplicate"),
        (8, "clipped"),
    ]
    assert counts(found)["unreadable"] == 2
    for finding in found:
        line = str(finding)
        assert "\n" not in line
        assert line.startswith(f"row {finding.row}: ")
        assert line.count(finding.path) == 1
        assert finding.advice


def test_the_same_sound_in_another_container_is_a_duplicate(table, tmp_path):
    rows = table([speech(1)], speaker=["ann"])
    samples, _ = soundfile.read(tmp_path / "0.wav", dtype="int16")
    soundfile.write(tmp_path / "copy.flac", samples, RATE)
    copy = conform(pa.table({"path": [str(tmp_path / "copy.flac")], "speaker": ["bob"]}))
    (finding,) = examine(pa.concat_tables([rows, copy]))
    assert finding.problem == "sounds exactly like row 1, speaker 'ann'"


def test_parts_of_one_recording_are_no_duplicates(table):
    rows = table([speech(1, 6.0)])
    parts = rows.take(pa.array([0, 0]))
    halves = {"start_s": [0.0, 3.0], "duration_s": [3.0, 3.0]}
    for name, values in halves.items():
        parts = parts.set_column(parts.schema.get_field_index(name), name, pa.array(values))
    assert examine(parts) == []


def test_labels_are_compared_over_the_table(table):
    rows = table(
        [speech(seed) for seed in range(6)],
        speaker=["ann", "ann", "ann", "bob", "bob", None],
        split=["train", "train", "test", "train", None, "test"],
        gender=["f", "female", "male", "M", "M", "x"],
        age=["20", "21", "22", "23", "24", "old"],
        mood=["glad", "glad", "sad", "glad", "sad", None],
        accent=["Tamil L1", "Kannada L1", "us", "Korean", "Korean", "nobody knows"],
    )
    found = examine(rows)
    assert kinds(found) == [
        (3, "gender"),
        (3, "two splits"),
        (6, "label not understood"),
        (6, "label not understood"),
    ]
    assert [finding.problem for finding in found] == [
        "speaker 'recordings/ann' is male in 1 utterances, female in 2",
        "speaker 'recordings/ann' is in split 'test', and in 'train' (row 1)",
        "age 'old', on 1 utterances, is no years from 0 to 120, no range of years and no decade",
        "gender 'x', on 1 utterances, is neither male nor female",
    ]


def test_splits_are_told_as_training_reads_them(table):
    """The parts of LibriSpeech are all 'train'; so is no split, beside 'test'."""
    rows = table(
        [speech(seed) for seed in range(4)],
        speaker=["ann", "ann", "bob", "bob"],
        split=["train-clean-100", "train-clean-360", None, "test"],
    )
    (finding,) = examine(rows)
    assert finding.problem == "speaker 'recordings/bob' is in split 'test', and in 'train' (row 3)"
    assert shared_voices(rows) == ["recordings/bob"]


def test_a_label_that_is_none_is_told_once_however_often_it_comes(table):
    rows = table(
        [speech(seed) for seed in range(4)],
        speaker=["ann", "ann", "bob", "bob"],
        age=["300", "300", "-5", "34"],
        gender=["mael", "mael", "f", "f"],
    )
    assert [(each.row, each.kind) for each in examine(rows)] == [
        (1, "label not understood"),
        (1, "label not understood"),
        (3, "label not understood"),
    ]


def test_an_accent_is_compared_in_its_language(table):
    accents = ["us", "england", "canada", "canada"]
    rows = table(
        [speech(seed) for seed in range(4)], accent=accents, language=["en", "en", "fr", "fr"]
    )
    assert examine(rows) == []


def test_rows_are_counted_in_the_data_they_are_of(table):
    rows = table(
        [speech(1), speech(2), speech(1), None],
        speaker=["ann", "bob", "cas", "bob"],
        split=["train", "train", None, "test"],
    )
    found = examine(rows, parts={"a.csv": 2, "b.csv": 2})
    assert [(finding.data, finding.row, finding.kind) for finding in found] == [
        ("b.csv", 1, "duplicate"),
        ("b.csv", 2, "missing"),
        ("b.csv", 2, "two splits"),
    ]
    assert str(found[0]).startswith("row 1 of b.csv: ")
    assert found[0].problem == "sounds exactly like row 1 of a.csv, speaker 'ann'"
    assert found[2].problem.endswith("in 'train' (row 2 of a.csv)")


def test_progress_counts_every_utterance(table):
    told = []
    examine(table([speech(1), None, speech(2)]), progress=told.append)
    assert told == [1, 2, 3]


def test_the_command_examines_several_data_and_counts_each_kind(tmp_path, capsys):
    for name, voice in (("mine", "ann"), ("yours", "bob")):
        (tmp_path / name / voice).mkdir(parents=True)
        soundfile.write(tmp_path / name / voice / "1.wav", speech(1), RATE)
        (tmp_path / name / voice / "2.wav").write_bytes(b"")
    mine, yours = str(tmp_path / "mine"), str(tmp_path / "yours")
    assert cli.main(["doctor", mine]) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["row 2"]
    assert last == "1 findings in 2 rows: 1 unreadable"
    assert cli.main(["doctor", mine, yours]) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        f"row 2 of {mine}",
        f"row 1 of {yours}",
        f"row 2 of {yours}",
    ]
    assert last == "3 findings in 4 rows: 2 unreadable, 1 duplicate"
    assert cli.main(["doctor"]) == 2
    assert "no data" in capsys.readouterr().err


@pytest.mark.slow
def test_real_speech_is_mostly_well(shared_speech):
    rows = read(str(shared_speech / "manifest.csv"))
    train = rows.filter(pa.compute.equal(rows["split"], "train")).slice(0, 500)
    sound = {"missing", "unreadable", "silent", "clipped"}
    assert sum(finding.kind in sound for finding in examine(train)) < 10
