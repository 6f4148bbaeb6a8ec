"""Readers of corpora: each format becomes the table of utterances."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from hive_mtl.errors import ConfigError, DataError
from hive_mtl.learn import corpora
from hive_mtl.learn.corpora import read, read_all, read_each
from hive_mtl.learn.corpora._names import own_splits
from hive_mtl.learn.utterances import SCHEMA


def record(path: Path, seconds: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(round(seconds * 16_000), np.float32), 16_000)
    return path


def column(table: pa.Table, name: str) -> list[object]:
    return table[name].to_pylist()


def librispeech(root: Path, subsets: tuple[str, ...] = ("train-clean", "test-clean")) -> Path:
    for number, subset in enumerate(subsets):
        for speaker in ("14", "26"):
            name = f"{speaker}-208-000{number}.flac"
            record(root / subset / speaker / "208" / name)
    (root / "SPEAKERS.TXT").write_text(
        "; comment | SEX\n14   | F | train-clean | 25.03 | Kristin | LeMoine\n26 | M | x | 1 | N\n"
    )
    return root


def kaldi(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("wav_scp", "wav.scp")).write_text(text)
    return folder


@pytest.mark.parametrize("kind", corpora.kinds())
def test_every_reader_claims_only_what_it_knows(kind, tmp_path):
    reader = corpora._reader(kind)
    stranger = tmp_path / "notes.txt"
    stranger.write_text("no corpus")
    assert reader.matches(stranger) is False
    assert reader.matches(tmp_path / "nothing") is False


@pytest.mark.parametrize("kind", corpora.kinds())
def test_every_reader_knows_what_the_whole_corpus_is(kind, tmp_path):
    whole = librispeech(tmp_path / "L").resolve()
    assert corpora._reader(kind).root(whole) == whole


def test_librispeech_is_found_and_knows_gender_chapter_and_split(tmp_path):
    table = read(str(librispeech(tmp_path / "LibriSpeech")))
    assert table.schema.names[: len(SCHEMA)] == SCHEMA.names
    assert column(table, "speaker") == ["14", "26", "14", "26"]
    assert column(table, "gender") == ["female", "male"] * 2
    assert column(table, "session") == ["208"] * 4
    assert column(table, "split") == ["test", "test", "train", "train"]
    assert column(table, "utterance")[0] == "14-208-0001"
    assert set(column(table, "corpus")) == {"librispeech"}
    assert column(table, "duration_s") == [1.0] * 4


def test_a_librispeech_subset_is_found_from_inside_and_outside(tmp_path):
    root = librispeech(tmp_path / "LibriSpeech")
    subset = read(str(root / "test-clean"))
    assert column(subset, "gender") == ["female", "male"]
    assert column(subset, "split") == [None, None]
    assert len(read(str(tmp_path))) == 4


def test_librispeech_without_a_part_for_training_is_free_to_use(tmp_path):
    table = read(str(librispeech(tmp_path / "L", ("dev-clean",))))
    assert column(table, "split") == [None, None]


def test_what_lies_in_the_layout_of_librispeech_has_the_name_of_its_folder(tmp_path):
    table = read(librispeech(tmp_path / "LibriTTS") / "test-clean")
    assert set(column(table, "corpus")) == {"LibriTTS"}


def test_parts_tell_the_split_only_beside_a_part_for_training():
    assert own_splits(["train-clean-100", "test-other", "extra"]) == {
        "train-clean-100": "train",
        "test-other": "test",
        "extra": None,
    }
    assert own_splits(["dev-clean", "test-clean"]) == {"dev-clean": None, "test-clean": None}


def splits_of_subsets(table: pa.Table) -> dict[str, object]:
    subsets = [Path(path).parts[-4] for path in column(table, "path")]
    return dict(zip(subsets, column(table, "split"), strict=True))


def test_subsets_that_are_given_one_by_one_have_their_splits_as_in_the_whole(tmp_path):
    subsets = ("train-clean-100", "dev-clean", "test-clean", "extra")
    root = librispeech(tmp_path / "LS", subsets)
    parts = [str(root / subset) for subset in subsets]
    assert splits_of_subsets(read_all(parts)) == splits_of_subsets(read(root))
    assert splits_of_subsets(read_all(parts[1:])) == dict.fromkeys(subsets[1:])
    other = librispeech(tmp_path / "other", ("train-clean",))
    table = read_all([str(other / "train-clean"), parts[2]])
    assert splits_of_subsets(table) == {"train-clean": "train", "test-clean": None}


def test_the_union_keeps_every_label(tmp_path):
    (tmp_path / "a.csv").write_text("path,speaker,mood\nx.wav,1,glad\n")
    (tmp_path / "b.csv").write_text("path,speaker,age\ny.wav,1,30\nz.wav,2,40\n")
    data = [str(tmp_path / "a.csv"), f"table:{tmp_path}/b.csv"]
    table = read_all(data)
    assert column(table, "corpus") == ["a", "b", "b"]
    assert column(table, "mood") == ["glad", None, None]
    assert column(table, "age") == [None, "30", "40"]
    assert {name: len(part) for name, part in read_each(data).items()} == dict(
        zip(data, (1, 2), strict=True)
    )


def test_nothing_to_read_is_refused():
    with pytest.raises(DataError, match="no data"):
        read_all([])


def test_two_corpora_of_one_name_are_refused(tmp_path):
    for place in ("here", "there"):
        librispeech(tmp_path / place / "LibriSpeech")
        record(tmp_path / place / "mine" / "ann" / "1.wav")
        (tmp_path / place / "mine.csv").write_text("path,speaker\n/x.wav,ann\n")
    for names in (("LibriSpeech", "LibriSpeech/train-clean"), ("mine", "mine"), ("mine.csv",) * 2):
        places = [tmp_path / "here" / names[0], tmp_path / "there" / names[-1]]
        with pytest.raises(DataError) as error:
            read_all(list(map(str, places)))
        assert str(places[0]) in str(error.value)
        assert str(tmp_path / "there" / names[0]) in str(error.value)
        assert "\n" not in str(error.value)


def test_tables_that_say_so_are_of_one_corpus(tmp_path):
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "t.csv").write_text("path,speaker,corpus\nx.wav,ann,ours\n")
    table = read_all([str(tmp_path / place / "t.csv") for place in ("here", "there")])
    assert column(table, "corpus") == ["ours", "ours"]


def test_data_that_is_given_twice_counts_once(tmp_path):
    record(tmp_path / "ann" / "1.wav")
    assert len(read_all([str(tmp_path), str(tmp_path)])) == 1


def test_a_recording_that_is_named_in_several_ways_counts_once(tmp_path, monkeypatch, caplog):
    root = librispeech(tmp_path / "LibriSpeech")
    (tmp_path / "link").symlink_to(root)
    monkeypatch.chdir(tmp_path)
    whole = read("LibriSpeech")
    for other in ("./LibriSpeech", str(root), "link", "LibriSpeech/test-clean", "."):
        caplog.clear()
        assert read_all(["LibriSpeech", other]).equals(whole)
        left_out = 2 if other.endswith("test-clean") else 4
        assert f"{left_out} utterances left out that other data has too" in caplog.text
        # whoever comes first, a test recording that the whole tells of is not to be learnt from
        turned = read_all([other, "LibriSpeech"])
        assert sorted(column(turned, "path")) == sorted(column(whole, "path"))
        assert sorted(column(turned, "split")) == ["test", "test", "train", "train"]


def test_names_that_are_not_text_are_refused_in_one_line(tmp_path, call):
    nameless = os.fsdecode(b"caf\xe9")
    speakers, table = tmp_path / "speakers", tmp_path / f"{nameless}.csv"
    listed = librispeech(tmp_path / "listed")
    (listed / "train-clean" / "14" / "208" / f"{nameless}.flac").touch()
    (speakers / "ann").mkdir(parents=True)
    (speakers / "ann" / f"{nameless}.wav").touch()
    table.write_text("path,speaker\na.wav,ann\n")
    for data in (speakers, listed, table):
        with pytest.raises(DataError, match=r"caf\\udce9.*: its name is not UTF-8: rename it"):
            read(data)
    status, _, err = call("doctor", str(speakers))
    assert (status, err.count("\n")) == (2, 1)
    assert err.endswith("its name is not UTF-8: rename it\n")


def test_rows_that_one_table_repeats_and_parts_of_a_recording_all_count(tmp_path):
    record(tmp_path / "mine" / "ann" / "1.wav", seconds=4.0)
    rows = ["mine/ann/1.wav,ann,0,2", "mine/../mine/ann/1.wav,ann,2,2", "mine/ann/1.wav,ann,2,2"]
    (tmp_path / "parts.csv").write_text("\n".join(["path,speaker,start_s,duration_s", *rows]))
    (tmp_path / "more.csv").write_text("\n".join(["path,speaker,start_s,duration_s", *rows[1:]]))
    table = read_all([str(tmp_path / name) for name in ("parts.csv", "more.csv", "mine")])
    assert column(table, "corpus") == ["parts"] * 3 + ["mine"]
    assert column(table, "start_s") == [0.0, 2.0, 2.0, 0.0]


def test_the_layout_of_librispeech_without_its_list_of_speakers(tmp_path, caplog):
    root = librispeech(tmp_path / "L")
    (root / "SPEAKERS.TXT").unlink()
    table = read(f"librispeech:{root}")
    assert column(table, "split") == ["test"] * 2 + ["train"] * 2
    assert column(table, "speaker") == ["14", "26", "14", "26"]
    assert set(column(table, "gender")) == {None}
    assert "2 speakers are not in SPEAKERS.TXT" in caplog.text
    subset = read(f"librispeech:{root / 'train-clean'}")  # speakers at its top
    assert column(subset, "speaker") == ["14", "26"]
    assert column(subset, "session") == ["208", "208"]
    assert set(column(subset, "split")) == {None}


def test_strays_in_librispeech_are_one_warning_each(tmp_path, caplog):
    root = librispeech(tmp_path / "L")
    record(root / "stray.flac")
    record(root / "train-clean" / "99" / "1" / "99-1-0000.flac")
    table = read(str(root))
    assert len(table) == 5
    assert dict(zip(column(table, "speaker"), column(table, "gender"), strict=True))["99"] is None
    assert [record.getMessage().split(": ", 1)[1] for record in caplog.records] == [
        "1 recordings left out that are not at <subset>/<speaker>/<chapter>/",
        "1 speakers are not in SPEAKERS.TXT: their gender stays unknown",
    ]


def test_a_folder_of_speakers(tmp_path, caplog):
    root = tmp_path / "mine"
    for name in ("ann/1.wav", "ann/deep/er/2.flac", "bob/3.ogg", "loose.wav"):
        record(root / name)
    (root / "ann" / "notes.txt").write_text("not a recording")
    table = read(str(root))
    assert column(table, "speaker") == ["ann", "ann", "bob"]
    assert set(column(table, "corpus")) == {"mine"}
    assert "1 recordings left out that lie in no speaker's folder" in caplog.text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimited_tables(tmp_path, delimiter, encoding):
    rows = [
        ["path", "speaker", "mood"],
        ["a.wav", "007", '"glad\nno, sad; \t"'],
        ["/b.wav", "Zo\u00eb", ""],
    ]
    text = "\n".join(delimiter.join(row) for row in rows)
    (tmp_path / "my.csv").write_text(text, encoding=encoding)
    table = read(str(tmp_path / "my.csv"))
    assert column(table, "path") == [str(tmp_path / "a.wav"), "/b.wav"]
    assert column(table, "speaker") == ["007", "Zo\u00eb"]
    assert column(table, "mood") == ["glad\nno, sad; \t".strip(), None]
    assert set(column(table, "corpus")) == {"my"}


def test_parquet_and_json_lines_say_the_same(tmp_path):
    rows = [{"path": "a.wav", "speaker": "s", "age": 3}, {"path": "b.wav", "speaker": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    table = read(str(tmp_path / "t.parquet"))
    assert table.equals(read(str(tmp_path / "t.jsonl")))
    assert column(table, "age") == ["3", None]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("header.csv", b"path,speaker\n"),
        ("ragged.csv", b"path,speaker\na.wav\n"),
        ("latin.csv", "path,speaker\na.wav,Zo\u00eb\n".encode("latin-1")),
        ("wrong.csv", b"file,speaker\na.wav,s\n"),
        ("not.parquet", b"PAR2"),
        ("not.jsonl", b"hello"),
        ("mixed.jsonl", b'{"path": 1, "speaker": "s"}\n{"path": "a", "speaker": "s"}\n'),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        read(str(tmp_path / name))
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_kaldi_with_pipes_and_labels(tmp_path, caplog):
    record(tmp_path / "egs" / "wavs" / "1.flac")
    folder = kaldi(
        tmp_path / "egs" / "data" / "train",
        wav_scp=(
            "u1 wavs/1.flac\nu2 flac -c -d -s wavs/2.flac |\n"
            "u3 ffmpeg -v 8 -i '/x/a b.m4a' -f wav -acodec pcm_s16le -|\n"
            "u4 sox /x/4.wav -t wav - speed 0.9 |\nu5 sph2pipe -f wav -c 2 /x/5.sph |\n"
        ),
        utt2spk="u1 ann\nu2 bob\nu3 ann\nu4 bob\nu5 bob\n",
        spk2gender="ann f\nbob m\n",
        utt2lang="u2 sv\n",
        spk2age="ann 30\n",
        utt2dur="u2 2.5\nu3 1\n",
    )
    table = read(str(folder))
    base = tmp_path / "egs" / "wavs"
    assert column(table, "path") == [str(base / "1.flac"), str(base / "2.flac"), "/x/a b.m4a"]
    assert column(table, "utterance") == ["u1", "u2", "u3"]
    assert column(table, "gender") == ["female", "male", "female"]
    assert column(table, "language") == [None, "sv", None]
    assert column(table, "age") == ["30", None, "30"]
    assert column(table, "duration_s") == [1.0, 2.5, 1.0]
    assert "2 utterances left out" in caplog.text


def test_kaldi_segments(tmp_path):
    record(tmp_path / "r.wav", seconds=5.0)
    folder = kaldi(
        tmp_path / "data",
        wav_scp=f"r {tmp_path}/r.wav\n",
        segments="r-1 r 0.5 2.0\nr-2 r 2.0 -1\n",
        utt2spk="r-1 ann\nr-2 bob\n",
    )
    table = read(f"kaldi:{folder}")
    assert column(table, "utterance") == ["r-1", "r-2"]
    assert column(table, "start_s") == [0.5, 2.0]
    assert column(table, "duration_s") == [1.5, 3.0]
    assert column(table, "speaker") == ["ann", "bob"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"wav_scp": "u a.wav\n"}, "utt2spk: missing"),
        ({"wav_scp": "u a.wav\nlonely\n", "utt2spk": "u s\n"}, "wav.scp: line 2 is not"),
        (
            {"wav_scp": "r a.wav\n", "segments": "u r zero one\n", "utt2spk": "u s\n"},
            "segments: line 1 is not",
        ),
        (
            {"wav_scp": "r a.wav\n", "segments": "u r 0 2\nv r 5.0 3.0\n", "utt2spk": "u s\n"},
            r"segments: line 2: ends at 3.0 s, not after it starts \(5.0 s\)",
        ),
        ({"wav_scp": "", "utt2spk": ""}, "wav.scp: cannot be read"),
        ({"wav_scp": "u touch x |\n", "utt2spk": "u s\n"}, "holds no recordings"),
    ],
)
def test_bad_kaldi_folders_are_refused_by_name(tmp_path, files, message):
    with pytest.raises(DataError, match=message):
        read(str(kaldi(tmp_path / "data", **files)))


@pytest.fixture
def manifests(tmp_path):
    lhotse = pytest.importorskip("lhotse")
    folder = tmp_path / "manifests"
    folder.mkdir()
    for part in ("train", "test"):
        recording = lhotse.Recording.from_file(record(tmp_path / f"{part}.wav", seconds=4.0))
        spoken = lhotse.SupervisionSegment(
            id=f"{part}-1",
            recording_id=recording.id,
            start=1.0,
            duration=2.0,
            speaker="ann",
            gender="F",
            language="English",
            custom={"mood": "glad", "array": [1]},
        )
        recordings = lhotse.RecordingSet.from_recordings([recording])
        supervisions = lhotse.SupervisionSet.from_segments([spoken])
        recordings.to_file(folder / f"mine_recordings_{part}.jsonl.gz")
        supervisions.to_file(folder / f"mine_supervisions_{part}.jsonl.gz")
        cuts = lhotse.CutSet.from_manifests(recordings, supervisions)
        cuts.truncate(offset_type="start", max_duration=3.5).to_file(tmp_path / "cuts.jsonl.gz")
    return folder


@pytest.mark.slow
def test_lhotse_manifests(manifests):
    table = read(str(manifests))
    assert column(table, "utterance") == ["test-1", "train-1"]
    assert column(table, "split") == ["test", "train"]
    assert column(table, "gender") == ["female", "female"]
    assert column(table, "mood") == ["glad", "glad"]
    assert column(table, "start_s") == [1.0, 1.0]
    assert column(table, "duration_s") == [2.0, 2.0]
    assert set(column(table, "corpus")) == {"mine"}
    assert all(Path(path).is_absolute() for path in column(table, "path"))


@pytest.mark.slow
def test_lhotse_cuts(manifests):
    table = read(str(manifests.parent / "cuts.jsonl.gz"))
    assert column(table, "start_s") == [1.0]
    assert column(table, "speaker") == ["ann"]
    assert column(table, "corpus") == ["cuts"]


@pytest.mark.slow
def test_broken_lhotse_manifests_are_refused(manifests):
    (manifests / "mine_recordings_test.jsonl.gz").unlink()
    with pytest.raises(DataError, match=r"mine_recordings_test\.jsonl\.gz: missing"):
        read(str(manifests))
    (manifests / "mine_supervisions_test.jsonl.gz").write_bytes(b"not gzip")
    with pytest.raises(DataError):
        read(str(manifests))


def test_a_kind_can_be_forced_and_is_checked(tmp_path):
    root = librispeech(tmp_path / "L")
    assert set(column(read(f"folder:{root}"), "speaker")) == {"train-clean", "test-clean"}
    with pytest.raises(ConfigError, match=r"unknown corpus 'foldr': did you mean 'folder'\?"):
        read(f"foldr:{root}")
    record(tmp_path / "odd" / "a.flac")
    with pytest.raises(DataError, match="no recording lies at <subset>/<speaker>/<chapter>/"):
        read(f"librispeech:{tmp_path / 'odd'}")


def test_what_is_not_there_or_empty_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        read(str(tmp_path / "nothing"))
    with pytest.raises(DataError, match="holds no recordings"):
        read(str(tmp_path))
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(DataError, match="not a corpus that is known"):
        read(str(tmp_path / "x.txt"))


def test_unreadable_recordings_keep_an_unknown_duration(tmp_path):
    record(tmp_path / "ann" / "good.wav", seconds=2.0)
    (tmp_path / "ann" / "empty.wav").write_bytes(b"")
    assert column(read(str(tmp_path)), "duration_s") == [None, 2.0]


def test_the_real_speech(shared_speech):
    table = read(str(shared_speech / "manifest.csv"))
    assert len(table) == 13_654
    assert table["duration_s"].null_count == table["speaker"].null_count == 0
    assert Path(table["path"][0].as_py()).is_file()
