"""A user's own pairs of recordings: fitted, kept beside the model, taken up when it is loaded."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile

import hive_mtl as hive
from hive_mtl.description import Calibration
from hive_mtl.faces.cli import main
from hive_mtl.trials import read_pairs
from hive_mtl.use.calibrate import calibrate
from tiny_model import CALIBRATION, description, save_tiny_model
from voices import RATE, voice

VOICES, TAKES = 8, 4
STORED = "tiny.calibration.json"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with takes of synthetic voices: a seed has its pitch, each take its own stretch."""
    folder = tmp_path_factory.mktemp("recordings")
    for person in range(VOICES):
        long = voice(3.0 * TAKES, seed=person)
        for take in range(TAKES):
            part = long[take * 3 * RATE : (take + 1) * 3 * RATE]
            soundfile.write(folder / f"{person}-{take}.wav", part, RATE)
    return folder


@pytest.fixture
def place(tmp_path: Path, recordings: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a model, a list of all pairs, and a data folder of its own."""
    save_tiny_model(tmp_path / "tiny.onnx")
    (tmp_path / "pairs.txt").write_text("\n".join(all_pairs(recordings)) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


def all_pairs(folder: Path) -> list[str]:
    takes = [(person, take) for person in range(VOICES) for take in range(TAKES)]
    return [
        f"{int(a[0] == b[0])} {folder}/{a[0]}-{a[1]}.wav {folder}/{b[0]}-{b[1]}.wav"
        for i, a in enumerate(takes)
        for b in takes[:i]
    ]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(words)
    return status, *capsys.readouterr()


def test_pairs_are_fitted_stored_and_taken_up(
    place: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = str(recordings / "0-0.wav"), str(recordings / "1-0.wav")
    before = hive.load("tiny.onnx").verify(one, other)
    status, out, err = run(capsys, "calibrate", "pairs.txt", "--model", "tiny.onnx")
    assert err == ""
    assert status == 0
    assert "48 pairs of one voice and 448 of two, 32 recordings" in out
    assert "fits that had not met the voices" in out
    assert STORED in out

    model = hive.load("tiny.onnx")
    assert model.description.calibration == CALIBRATION
    assert model.calibration != CALIBRATION
    assert model.verify(one, other).probability != before.probability
    assert pickle.loads(pickle.dumps(model)).calibration == model.calibration
    status, out, _ = run(capsys, "verify", one, other, "--model", "tiny.onnx", "--json")
    assert json.loads(out)["probability"] == model.verify(one, other).probability


def test_the_fit_lowers_the_cost_and_holds_the_false_alarms(place: Path) -> None:
    found = calibrate(hive.load("tiny.onnx"), read_pairs(Path("pairs.txt")), place)
    assert found.cllr_before is not None
    assert found.cross_validated
    assert found.cllr_after < found.cllr_before
    assert found.calibration.weights["score"] > 0
    assert found.estimated == ("0.01", "0.001")
    thresholds = list(found.calibration.thresholds.values())
    assert thresholds == sorted(thresholds)


def test_kaldis_form_and_paths_from_the_lists_folder(
    place: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (recordings / "list.txt").open("w")
    for line in all_pairs(recordings):
        label, a, b = line.split()
        kind = "target" if label == "1" else "nontarget"
        print(Path(a).name, Path(b).name, kind, file=lines)
    lines.close()
    words = ("--model", "tiny.onnx", "-o", "mine.json", "--json")
    status, out, err = run(capsys, "calibrate", str(recordings / "list.txt"), *words)
    assert err == ""
    assert status == 0
    assert json.loads(out)["targets"] == 48
    assert not Path(STORED).exists()
    assert hive.load("tiny.onnx").calibration == CALIBRATION
    named = hive.load("tiny.onnx", calibration="mine.json").calibration
    assert named == Calibration(**json.loads(out)["calibration"])
    one = str(recordings / "0-0.wav")
    words = ("verify", one, one, "--model", "tiny.onnx", "--calibration", "mine.json")
    assert run(capsys, *words)[0] in {0, 1}


def test_a_recording_that_fails_is_named_and_its_pairs_left_out(
    place: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("text.wav").write_text("no sound")
    soundfile.write("short.wav", voice(0.4), RATE)
    unusable = ["text.wav", "short.wav", "nowhere.wav", "x" * 300 + ".wav"]
    with Path("pairs.txt").open("a") as pairs:
        for name in unusable:
            print(f"0 {name} {recordings}/0-0.wav", file=pairs)
    status, out, err = run(capsys, "calibrate", "pairs.txt", "--model", "tiny.onnx")
    assert status == 2
    assert "48 pairs of one voice and 448 of two" in out
    named = [line.split(": ")[1] for line in err.splitlines()]
    assert named == unusable
    assert "not enough speech" in err
    assert Path(STORED).is_file()


def test_what_it_gains_is_told_against_a_calibration_of_other_pairs(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("calibrate", "pairs.txt", "--model", "tiny.onnx")
    pairs = read_pairs(Path("pairs.txt"))
    own = calibrate(hive.load("tiny.onnx"), pairs, place).cllr_before
    assert f"Cllr {own:.3f} by the model's own calibration, " in run(capsys, *words)[1]
    # what is kept for the model by now was fitted to these pairs
    stored = calibrate(hive.load("tiny.onnx"), pairs, place).cllr_before
    assert stored < own
    assert json.loads(run(capsys, *words, "--json")[1])["cllr_before"] == own
    Path(STORED).rename("mine.json")
    status, out, err = run(capsys, *words, "--calibration", "mine.json")
    assert f"Cllr {stored:.3f} by mine.json, " in out
    assert err.startswith("mine.json reads these pairs better than the new one reads those")
    assert f"delete {Path(STORED).absolute()} to go back" in err
    assert status == 0


def test_a_pair_counts_once_and_its_names_may_hold_spaces_between_tabs(
    place: Path, recordings: Path
) -> None:
    once = calibrate(hive.load("tiny.onnx"), read_pairs(Path("pairs.txt")), place)
    named = place / "in a folder"
    named.symlink_to(recordings)
    lines = [line.replace(" ", " \t") for line in all_pairs(recordings)]
    both = [line.replace(f"{recordings}", str(named)) for line in (*lines, *lines[:100])]
    turned = ["\t".join((label, right, left)) for label, left, right in map(str.split, lines[:9])]
    again = [line.replace(f"{recordings}", str(named)) for line in turned]
    Path("tabs.txt").write_text("\n".join([*both, *again]) + "\n")
    found = calibrate(hive.load("tiny.onnx"), read_pairs(Path("tabs.txt")), place)
    assert (found.targets, found.nontargets) == (once.targets, once.nontargets)
    assert found.calibration.intercept == pytest.approx(once.calibration.intercept)


@pytest.mark.parametrize(
    ("lines", "hint"),
    [
        (None, "pairs.txt"),
        ([], "no trials"),
        (["1 a.wav"], "line 1"),
        (["2 a.wav b.wav"], "line 1"),
        (["0 nowhere.wav none.wav"] * 30, "nowhere.wav"),
        (["0 a.wav b.wav", "1 a.wav a.wav"], "line 2: a.wav beside itself"),
        (["0 a.wav b.wav", "", "1 b.wav a.wav"], "line 3: says the opposite of pairs.txt, line 1"),
        ("same", "0 of two"),
        ("different", "0 of one voice"),
        ("few", "20 of each kind"),
        ("swapped", "check that 1 or target"),
    ],
)
def test_a_list_that_does_not_do_costs_one_line(
    place: Path, recordings: Path, capsys: pytest.CaptureFixture[str], lines: object, hint: str
) -> None:
    every = all_pairs(recordings)
    chosen = {
        "same": [line for line in every if line.startswith("1")],
        "different": [line for line in every if line.startswith("0")],
        "few": every[:40],
        "swapped": [f"{1 - int(line[0])}{line[1:]}" for line in every],
    }
    Path("pairs.txt").unlink()
    if lines is not None:
        text = chosen[lines] if isinstance(lines, str) else lines
        Path("pairs.txt").write_text("\n".join(text))
    status, out, err = run(capsys, "calibrate", "pairs.txt", "--model", "tiny.onnx")
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert hint in err
    assert "bug" not in err
    assert not Path(STORED).exists()


def test_a_recording_is_not_replaced(
    place: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = place / "mine.WAV"
    mine.write_bytes((recordings / "0-0.wav").read_bytes())
    status, _, err = run(capsys, "calibrate", "pairs.txt", "--model", "tiny.onnx", "-o", "mine.WAV")
    assert (status, err.count("\n")) == (2, 1)
    assert "is the name of a recording: give another file" in err
    assert mine.read_bytes() == (recordings / "0-0.wav").read_bytes()


def test_a_model_without_calibration_gets_one(
    place: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = description(calibration=None).model_dump_json()
    save_tiny_model(Path("tiny.onnx"), metadata=metadata)
    one = str(recordings / "0-0.wav")
    status, _, err = run(capsys, "verify", one, one, "--model", "tiny.onnx")
    assert status == 2
    assert "hive-mtl calibrate" in err
    assert run(capsys, "calibrate", "pairs.txt", "--model", "tiny.onnx")[0] == 0
    status, out, err = run(capsys, "verify", one, one, "--model", "tiny.onnx")
    assert err == ""
    assert "probability" in out


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"", "no whole calibration"),
        (b"\xff\x00", "no whole calibration"),
        (b'{"format": 1, "model_id": "tiny-0123456789ab"}', "calibration"),
        ("another", "not for tiny-0123456789ab"),
        ("unknown feature", "calibration.weights"),
        ("NaN", "calibration.intercept"),
        ("folder", "cannot be read"),
    ],
)
def test_a_stored_calibration_that_does_not_fit_costs_one_line(
    place: Path,
    recordings: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes | str,
    hint: str,
) -> None:
    stored = Path(STORED)
    assert run(capsys, "calibrate", "pairs.txt", "--model", "tiny.onnx")[0] == 0
    fields = json.loads(stored.read_text())
    if content == "another":
        fields["model_id"] = "other-1"
    elif content == "unknown feature":
        fields["calibration"]["weights"]["loudness"] = 1.0
    elif content == "NaN":
        fields["calibration"]["intercept"] = float("nan")
    stored.write_text(json.dumps(fields))
    if content == "folder":
        stored.unlink()
        stored.mkdir()
    elif isinstance(content, bytes):
        stored.write_bytes(content)
    one = str(recordings / "0-0.wav")
    for words in (("verify", one, one), ("attributes", one)):
        status, out, err = run(capsys, *words, "--model", "tiny.onnx")
        assert (status, out) == (2, "")
        assert len(err.splitlines()) == 1
        assert STORED in err
        assert hint in err
        assert "delete it" in err
    with pytest.raises(hive.ModelError, match=r"tiny\.calibration\.json"):
        hive.load("tiny.onnx", calibration=stored)


@pytest.mark.parametrize("another", [False, True])
def test_a_stored_calibration_that_does_not_fit_can_be_made_anew(
    place: Path, capsys: pytest.CaptureFixture[str], another: bool
) -> None:
    calibrating = ("calibrate", "pairs.txt", "--model", "tiny.onnx")
    assert run(capsys, *calibrating)[0] == 0
    whole, fitted = Path(STORED).read_text(), hive.load("tiny.onnx").calibration
    Path(STORED).write_text(whole.replace("tiny-", "other-") if another else "{")
    status, _, err = run(capsys, *calibrating)
    assert (status, err) == (0, "")
    assert hive.load("tiny.onnx").calibration == fitted


def test_a_wrong_file_for_a_calibration_is_not_to_be_deleted(
    place: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = str(recordings / "0-0.wav")
    asked = ("--model", "tiny.onnx", "--calibration", "pairs.txt")
    for words in (("verify", one, one), ("calibrate", "pairs.txt")):
        status, out, err = run(capsys, *words, *asked)
        assert (status, out) == (2, "")
        assert err.startswith("hive-mtl: pairs.txt: no whole calibration")
        assert err.endswith("give a file that hive-mtl calibrate wrote for this model\n")


def test_the_shipped_models_calibration_lies_with_the_users_data(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = place / "tiny.onnx"
    monkeypatch.setattr("hive_mtl.use.stored_calibration.shipped_model", lambda: shipped)
    assert run(capsys, "calibrate", "pairs.txt")[0] == 0
    assert not (place / STORED).exists()
    (kept,) = (place / "data" / "hive-mtl").iterdir()
    assert kept.name == "tiny-0123456789ab.calibration.json"
    assert hive.load().calibration != CALIBRATION


def test_a_scale_and_a_shift_are_recovered(place: Path) -> None:
    """Whatever line the model's own calibration is, the result on the same pairs is the same."""
    pairs = read_pairs(Path("pairs.txt"))
    found = calibrate(hive.load("tiny.onnx"), pairs, place).calibration
    moved = CALIBRATION.model_copy(update={"weights": {"score": 3.0}, "intercept": 7.0})
    metadata = description(calibration=moved).model_dump_json()
    again = calibrate(
        hive.load(save_tiny_model(place / "moved.onnx", metadata=metadata)), pairs, place
    ).calibration
    assert again.weights["score"] == pytest.approx(found.weights["score"], rel=1e-3)
    assert again.intercept == pytest.approx(found.intercept, rel=1e-3)
    assert np.allclose(list(again.thresholds.values()), list(found.thresholds.values()), rtol=1e-3)
