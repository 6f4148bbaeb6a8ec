"""Archives composed of utterances, and how well voices are found in them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import soundfile

import hive_mtl as hive
from hive_mtl.audio import Segment, speech_frames
from hive_mtl.description import Calibration
from hive_mtl.evaluate.finding import Spoken, compose_archive, judge_finding
from hive_mtl.learn.utterances import conform
from hive_mtl.use.find import Found, Search
from tiny_model import description, save_tiny_model
from voices import RATE, voice

VOICES = {"ann": 1, "ben": 2}


@pytest.fixture
def table(tmp_path: Path) -> pa.Table:
    """Three utterances of each of two voices, and one of a voice that has no other."""
    rows = [(name, seed) for name, seed in VOICES.items() for _ in range(3)] + [("cid", 3)]
    for number, (_, seed) in enumerate(rows):
        soundfile.write(tmp_path / f"{number}.wav", voice(4 + number / 2, seed), RATE)
    names = [str(tmp_path / f"{number}.wav") for number in range(len(rows))]
    columns = {
        "path": names,
        "speaker": [name for name, _ in rows],
        "duration_s": [4 + number / 2 for number in range(len(rows))],
    }
    return conform(pa.table(columns))


def in_order(spoken: dict[str, list[Spoken]]) -> list[Spoken]:
    (said,) = spoken.values()
    return said


def test_an_archive_holds_all_that_is_not_asked_by(table, tmp_path) -> None:
    (tmp_path / "archive").mkdir()
    composed = compose_archive(table, tmp_path / "archive")
    assert set(composed.queries) == set(VOICES)
    assert all(isinstance(query, Segment) for query in composed.queries.values())
    said = in_order(composed.spoken)
    assert sorted(each.voice for each in said) == ["ann", "ann", "ben", "ben", "cid"]
    wave, _ = soundfile.read(tmp_path / "archive" / "000.flac", dtype="float32")
    speech = speech_frames(wave)
    for each in said:
        assert speech[round(100 * each.start_s) : round(100 * each.end_s)].mean() > 0.9
    assert said[-1].end_s == pytest.approx(len(wave) / RATE)


@pytest.mark.parametrize("broken", range(7))
def test_what_cannot_be_read_takes_nothing_else_with_it(table, tmp_path, broken) -> None:
    """Whichever it is, the last of a recording among them."""
    (tmp_path / f"{broken}.wav").write_bytes(b"nothing")
    (tmp_path / "archive").mkdir()
    composed = compose_archive(table, tmp_path / "archive")
    asked = {str(query.path) for query in composed.queries.values()}
    lost = str(tmp_path / f"{broken}.wav") not in asked
    assert len(in_order(composed.spoken)) == 5 - lost


def test_an_archive_is_a_function_of_the_seed(table, tmp_path) -> None:
    archives = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        archives.append(compose_archive(table, tmp_path / name, seed).spoken)
    assert archives[0] == archives[1] != archives[2]


def test_voices_that_are_told_apart_are_found(table, tmp_path) -> None:
    calibration = Calibration(
        weights={"score": 1000.0}, intercept=-996.0, thresholds={"0.01": 0.0, "0.001": 1.0}
    )
    metadata = description(calibration=calibration).model_dump_json()
    model = hive.load(save_tiny_model(tmp_path / "model.onnx", metadata), threads=1)
    finding = judge_finding(model, table)
    assert finding.queries == 2
    assert finding.precision > 0.7
    assert finding.recall > 0.7
    assert finding.utterances == 1


class Oracle:
    """Finds what it is told to, whatever it is asked for."""

    def __init__(self, *found: Found) -> None:
        self._found = found

    def find(self, _voice, _archive, *, false_alarm: float) -> Search:
        return Search(self._found, {}, recordings=1, hours=0.5, expected_false=1.0)


def test_what_is_found_wrongly_counts_against_it(table, tmp_path) -> None:
    composed = compose_archive(table, tmp_path)
    ann = [each for each in in_order(composed.spoken) if each.voice == "ann"]
    path = Path("000.flac")
    right = Found(path, ann[0].start_s, ann[0].end_s, 1.0, 1.0)
    nowhere = Found(Path("other.flac"), 0.0, 10.0, 1.0, 1.0)
    finding = judge_finding(Oracle(right, nowhere), table)
    own = ann[0].end_s - ann[0].start_s
    everything = sum(e.end_s - e.start_s for e in in_order(composed.spoken) if e.voice in VOICES)
    assert finding.precision == pytest.approx(own / (2 * (own + 10)))
    assert finding.recall == pytest.approx(own / everything)
    assert finding.utterances == 0.25
    assert finding.false_per_hour == 3 / (2 * 0.5)  # one for ann, and both for ben
    assert finding.expected_false_per_hour == pytest.approx(2)


def test_nothing_found_has_no_precision(table) -> None:
    finding = judge_finding(Oracle(), table)
    assert finding.precision is None
    assert finding.recall == 0


def test_voices_of_one_utterance_cannot_be_asked_for(table, tmp_path) -> None:
    with pytest.raises(hive.DataError, match="no voice with two utterances"):
        compose_archive(table.filter(pc.equal(table["speaker"], "cid")), tmp_path)
