"""The table of utterances: its form, who validates, and what is of one session."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_mtl import trials
from hive_mtl.errors import DataError
from hive_mtl.learn.utterances import (
    SCHEMA,
    conform,
    is_validation_voice,
    label_columns,
    sessions,
    shared_voices,
    summary,
    training_utterances,
    validation_mask,
    validation_utterances,
)

CELLS = st.one_of(st.none(), st.text(max_size=8))


def voice(validation: bool, nth: int = 0) -> str:
    """The ``nth`` speaker of corpus 'c' that is, or is not, a validation voice."""
    names = (f"s{number}" for number in range(10_000))
    return [name for name in names if is_validation_voice("c", name) == validation][nth]


def table(*rows: dict[str, object]) -> pa.Table:
    rows = tuple({"path": "/a.wav", "speaker": "s", **row} for row in rows)
    names = dict.fromkeys(name for row in rows for name in row)
    return conform(pa.table({name: [row.get(name) for row in rows] for name in names}), corpus="c")


def test_cells_are_text_without_spaces_and_empty_is_null():
    raw = pa.table(
        {
            " path ": ["a.wav", "/b.wav"],
            "speaker": [7, None],
            "gender": [" male ", "  "],
            "age": [34.0, float("nan")],
            "spectrum": [[1.0], [2.0]],
            "audio": [b"RIFF", b""],
        }
    )
    done = conform(raw, Path("/data"), corpus="mine")
    assert done.schema.names == [*SCHEMA.names, "gender", "age"]
    assert done.schema.field("duration_s").type == pa.float64()
    assert done["path"].to_pylist() == ["/data/a.wav", "/b.wav"]
    assert done["speaker"].to_pylist() == ["7", None]
    assert done["corpus"].to_pylist() == ["mine", "mine"]
    assert done["gender"].to_pylist() == ["male", None]
    assert done["age"].to_pylist() == ["34", None]
    assert done["start_s"].to_pylist() == [0.0, 0.0]
    assert done["duration_s"].to_pylist() == [None, None]


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.binary(2), pa.binary_view()], ids=str
)
def test_bytes_are_left_out_however_they_are_kept(kind):
    raw = pa.table({"path": ["a.wav"], "speaker": ["ann"], "mood": ["glad"]})
    audio = pa.array([b"\xff\xfe"], kind)
    assert conform(raw.append_column("audio", audio)).equals(conform(raw))
    if kind in (pa.binary(), pa.large_binary()):
        assert conform(raw.append_column("audio", audio.dictionary_encode())).equals(conform(raw))


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=6))
def test_conform_is_settled_after_one_pass(rows):
    speakers, corpora, moods = ([row[i] for row in rows] for i in range(3))
    columns = {"speaker": speakers, "corpus": corpora, "mood": moods}
    raw = {name: pa.array(cells, pa.string()) for name, cells in columns.items()}
    once = conform(pa.table({"path": ["/x"] * len(rows), **raw}))
    assert conform(once).equals(once)
    assert all(cell is None or cell == cell.strip() != "" for cell in once["mood"].to_pylist())


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"paths": ["a"], "speaker": ["s"]}, "my.csv: no column 'path': did you mean 'paths'?"),
        ({"path": ["a"], "voice": ["s"]}, "my.csv: no column 'speaker'"),
        ({"path": ["a", " "], "speaker": ["s", "s"]}, "my.csv: row 2 has no path"),
        ({"path": ["a"], "speaker": ["s"], "start_s": ["x"]}, "row 1 has start_s 'x'"),
        ({"path": ["a"], "speaker": ["s"], "duration_s": [-1.0]}, "row 1 has duration_s '-1'"),
    ],
)
def test_bad_tables_are_refused_by_name(columns, message):
    with pytest.raises(DataError) as error:
        conform(pa.table(columns), origin="my.csv")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_column_that_is_there_twice_is_refused():
    double = pa.table([["a"], ["s"], ["t"]], names=["path", "speaker", "speaker"])
    with pytest.raises(DataError, match="'speaker' is there twice"):
        conform(double)


def test_notes_are_not_labels():
    rows = table({"mood": "glad", "licence": "CC0", "content": "hello"})
    assert label_columns(rows) == ("mood",)


def test_the_validation_rule_is_the_documented_hash():
    for number in range(50):
        digest = hashlib.sha256(f"corpus/{number}".encode()).hexdigest()
        assert is_validation_voice("corpus", str(number)) == (int(digest, 16) % 10 == 0)


def test_training_and_validation_part_the_voices_and_never_touch_test():
    held, learnt, tested = voice(True), voice(False), voice(False, 1)
    rows = table(
        *({"speaker": held, "split": split} for split in (None, "train")),
        *({"speaker": learnt, "split": split} for split in (None, "Train")),
        *({"speaker": tested, "split": split} for split in ("test", "dev")),
        {"speaker": None},
    )
    assert validation_mask(rows).tolist() == [True] * 2 + [False] * 5
    assert shared_voices(rows) == []
    assert training_utterances(rows)["speaker"].to_pylist() == [learnt, learnt, None]
    assert training_utterances(rows)["split"].to_pylist() == [None, "Train", None]
    assert validation_utterances(rows)["split"].to_pylist() == [None, "train"]


@pytest.mark.parametrize("validation", [True, False])
@pytest.mark.parametrize("split", ["test", "dev", "Valid"])
def test_a_voice_that_another_split_has_too_is_left_out(split, validation):
    shared, own = voice(validation), voice(validation, 1)
    rows = table(
        *({"speaker": shared, "split": value} for value in (None, "train", split)),
        {"speaker": own, "split": "train"},
        {"speaker": shared, "corpus": "another", "split": "train"},
        *({"speaker": None, "split": value} for value in ("train", split)),
    )
    chosen = pa.concat_tables(
        [training_utterances(rows), validation_utterances(rows)], promote_options="default"
    )
    voices = zip(chosen["corpus"].to_pylist(), chosen["speaker"].to_pylist(), strict=True)
    assert set(voices) == {("c", own), ("another", shared), ("c", None)}
    assert shared_voices(rows) == [f"c/{shared}"]


def test_a_lone_recording_becomes_two_halves_that_are_told_apart():
    lone, short, rich, cut = (voice(True, nth) for nth in range(4))
    rows = table(
        {"speaker": lone, "path": "/1", "start_s": 1.0, "duration_s": 6.0},
        {"speaker": short, "path": "/2", "duration_s": 3.9},
        {"speaker": rich, "path": "/3", "duration_s": 9.0},
        {"speaker": rich, "path": "/4", "duration_s": None},
        {"speaker": cut, "path": "/5", "start_s": 0.0, "duration_s": 5.0},
        {"speaker": cut, "path": "/5", "start_s": 5.0, "duration_s": 5.0},
    )
    chosen = validation_utterances(rows)
    assert [
        tuple(row[name] for name in ("path", "start_s", "duration_s", "same_recording"))
        for row in chosen.to_pylist()
    ] == [
        ("/1", 1.0, 3.0, "yes"),
        ("/1", 4.0, 3.0, "yes"),
        ("/2", 0.0, 3.9, None),
        ("/3", 0.0, 9.0, None),
        ("/4", 0.0, None, None),
        ("/5", 0.0, 5.0, "yes"),
        ("/5", 5.0, 5.0, "yes"),
    ]
    assert "same_recording" not in label_columns(chosen)


def test_empty_tables_stay_empty():
    nothing = table({}).slice(0, 0)
    assert len(training_utterances(nothing)) == len(validation_utterances(nothing)) == 0
    assert summary(nothing) == ()


def test_the_summary_counts_each_corpus_once():
    rows = table(
        {"speaker": "a", "duration_s": 1800.0, "licence": "CC0", "source": "x"},
        {"speaker": "a", "duration_s": 1800.0, "licence": "CC0", "source": "y"},
        {"speaker": "b", "licence": None},
    )
    (only,) = summary(rows)
    assert (only.corpus, only.speakers, only.utterances, only.hours) == ("c", 2, 3, 1.0)
    assert (only.licences, only.sources) == (("CC0",), ("x", "y"))


def cut_recordings(**columns: list[str]) -> pa.Table:
    """Three utterances of voice a in two recordings, two of voice b in one."""
    return conform(
        pa.table(
            {
                "path": ["/1.wav", "/1.wav", "/2.wav", "/3.wav", "/3.wav"],
                "speaker": ["a", "a", "a", "b", "b"],
                "start_s": ["0", "5", "0", "0", "5"],
                **columns,
            }
        )
    )


class TestSessions:
    def test_of_a_corpus_that_cuts_recordings_and_names_none_are_its_recordings(self):
        table = cut_recordings()
        assert sessions(table) == ["/1.wav", "/1.wav", "/2.wav", "/3.wav", "/3.wav"]
        pairs = trials.all_pairs(table["speaker"].to_pylist(), sessions=sessions(table))
        targets = zip(pairs.left[pairs.target], pairs.right[pairs.target], strict=True)
        assert set(targets) == {(0, 2), (1, 2)}  # not two of one recording

    def test_are_those_that_are_named(self):
        table = cut_recordings(session=["s1", "", "s2", "s3", ""])
        assert sessions(table) == ["s1", None, "s2", "s3", None]

    def test_of_whole_recordings_are_unknown(self):
        assert sessions(cut_recordings().take([0, 2, 3])) == [None] * 3

    def test_are_told_for_each_corpus_by_itself(self):
        table = cut_recordings(corpus=["x", "x", "x", "y", "y"], session=["s1", "s1", "s2", "", ""])
        assert sessions(table) == ["s1", "s1", "s2", "/3.wav", "/3.wav"]
