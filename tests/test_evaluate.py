"""The protocol over a model whose every vector is known."""

import json
import math
import sys
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from hive_mtl import metrics
from hive_mtl.description import Calibration, HeadDescription, ModelDescription
from hive_mtl.errors import DataError, EmbeddingError
from hive_mtl.evaluate import evaluate, read_trials, take_split
from hive_mtl.evaluate.bootstrap import Bootstrap
from hive_mtl.evaluate.splits import held_out
from hive_mtl.evaluate.verification import min_cllr, trial_weights
from hive_mtl.learn.utterances import conform, is_validation_voice
from hive_mtl.trials import Trials, all_pairs
from voices import RATE, voice

HEADS = (
    HeadDescription(task="gender", kind="classes", classes=("female", "male")),
    HeadDescription(
        task="age", kind="ordinal", thresholds=(20.0, 40.0), low=0.0, high=60.0, unit="years"
    ),
)
DRAWS = 50


class KnownModel:
    """Gives the vectors and head outputs it was made with; None stands for a failure."""

    def __init__(self, vectors, *, heads=(), outputs=None, calibration=None):
        self.description = ModelDescription(
            name="known",
            model_id="known-1",
            sample_rate=16000,
            embedding_dim=2,
            trunk="none",
            parameters=0,
            heads=heads,
            calibration=calibration,
            created="2026-01-01T00:00:00Z",
        )
        self.calibration = calibration
        self.vectors = vectors
        self.outputs = outputs or [{}] * len(vectors)
        self.sources = []

    def embed_stream(self, sources):
        for source, vector, outputs in zip(sources, self.vectors, self.outputs, strict=True):
            self.sources.append(source)
            if vector is None:
                yield EmbeddingError(str(source.path), "unreadable: mend it")
                continue
            yield SimpleNamespace(
                vector=np.array(vector, np.float32),
                heads={task: np.array(output, np.float32) for task, output in outputs.items()},
                duration_s=3.0,
                speech_seconds=3.0,
                snr_db=30.0,
            )


def at(degrees):
    """The unit vector at an angle."""
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


def table(rows, **columns):
    """Utterances of 3 s: one a letter of ``rows``, which is its speaker; columns by name."""
    columns = {name: pa.array(list(cells), pa.string()) for name, cells in columns.items()}
    return conform(
        pa.table(
            {
                "path": [f"/data/{speaker}/{row}.wav" for row, speaker in enumerate(rows)],
                "speaker": list(rows),
                "corpus": ["corpus"] * len(rows),
                "duration_s": ["3.0"] * len(rows),
                **columns,
            }
        )
    )


def row(report, scope="all", corpus="corpus"):
    return next(v for v in report.verification if (v.corpus, v.scope) == (corpus, scope))


def test_figures_are_those_of_all_pairs_inside_a_corpus():
    angles = [0, 10, 50, 30, 70, 200, 210]
    utterances = table("aabbbcc", corpus=["x"] * 5 + ["y"] * 2)
    model = KnownModel([at(angle) for angle in angles])
    report = evaluate(model, utterances, bootstrap=DRAWS)
    found = row(report, corpus="x")
    pairs = all_pairs(list("aabbb"))
    scores = np.cos(np.radians(np.array(angles)[pairs.left] - np.array(angles)[pairs.right]))
    assert (found.targets, found.nontargets, found.speakers, found.utterances) == (4, 6, 2, 5)
    assert found.eer.value == pytest.approx(metrics.eer(scores, pairs.target))
    assert found.min_dcf.value == pytest.approx(metrics.min_dcf(scores, pairs.target))
    assert found.min_cllr == pytest.approx(min_cllr(scores, pairs.target))
    assert found.cllr is None
    # one voice only: no non-target trials, so nothing to say
    assert row(report, corpus="y").eer is None
    assert len(model.sources) == 7


def test_cllr_uses_the_calibration_of_the_model():
    calibration = Calibration(weights={"score": 3.0}, intercept=-1.0, thresholds={})
    model = KnownModel([at(0), at(0), at(90)], calibration=calibration)
    found = row(evaluate(model, table("aab"), bootstrap=DRAWS))
    expected = metrics.cllr(np.array([2.0, -1, -1]), np.array([True, False, False]))
    assert found.cllr.value == pytest.approx(expected)


def test_cllr_goes_by_the_quality_of_both_sides():
    weights = {"score": 3.0, "log_shorter": 0.5}
    calibration = Calibration(weights=weights, intercept=-1.0, thresholds={})
    model = KnownModel([at(0), at(0), at(90)], calibration=calibration)
    found = row(evaluate(model, table("aab"), bootstrap=DRAWS))
    llr = np.array([3.0, 0, 0]) + 0.5 * np.log(3) - 1
    assert found.cllr.value == pytest.approx(metrics.cllr(llr, np.array([True, False, False])))


def test_within_gender_leaves_out_unknown_gender():
    genders = ["M", "M", "male", "male", "f", None, None]
    model = KnownModel([at(10 * i) for i in range(7)])
    report = evaluate(model, table("aabbcdd", gender=genders), bootstrap=DRAWS)
    assert row(report, "within gender").targets == 2
    assert row(report, "within gender").nontargets == 4
    assert row(report).targets == 3


def test_short_utterances_and_unknown_speakers_take_no_part():
    utterances = table("aabb", speaker=["a", "a", "b", None], duration_s=["3", "1.9", "2", "3"])
    report = evaluate(KnownModel([at(0)] * 4), utterances, bootstrap=DRAWS)
    assert row(report).utterances == 2
    everything = evaluate(KnownModel([at(0)] * 4), utterances, min_duration_s=0, bootstrap=DRAWS)
    assert row(everything).utterances == 3


def test_an_unknown_duration_is_taken_from_the_recording():
    utterances = table("aab", duration_s=[None, None, None])
    assert row(evaluate(KnownModel([at(0)] * 3), utterances, bootstrap=DRAWS)).utterances == 3
    longer = evaluate(KnownModel([at(0)] * 3), utterances, min_duration_s=4, bootstrap=DRAWS)
    assert row(longer).utterances == 0


def test_target_pairs_cross_sessions_where_a_speaker_has_two():
    sessions = ["1", "1", "2", "1", None]
    utterances = table("aaabb", session=sessions)
    found = row(evaluate(KnownModel([at(0)] * 5), utterances, bootstrap=DRAWS))
    assert found.cross_session
    assert found.targets == 2
    alone = evaluate(KnownModel([at(0)] * 5), table("aaabb", session=["1"] * 5), bootstrap=DRAWS)
    assert not row(alone).cross_session
    assert row(alone).targets == 4


@pytest.mark.parametrize("refused", [[0], [4], [1, 5], [0, 1, 2, 3, 4, 5]])
def test_refusing_never_helps(refused):
    angles = [0, 20, 60, 70, 90, 15]
    outputs = [{"gender": [0.3, 0.7], "age": [0.9, 0.1 * i]} for i in range(6)]
    labels = {"gender": "mffmmf", "age": ["10", "20", "30", "40", "50", "60"]}
    calibration = Calibration(weights={"score": 5.0}, intercept=-2.0, thresholds={})
    whole = [at(angle) for angle in angles]
    partial = [None if i in refused else vector for i, vector in enumerate(whole)]
    reports = [
        evaluate(
            KnownModel(vectors, heads=HEADS, outputs=outputs, calibration=calibration),
            table("aabbcc", **labels),
            bootstrap=DRAWS,
        )
        for vectors in (whole, partial)
    ]
    answered, withheld = map(row, reports)
    assert withheld.unscored > 0
    assert withheld.targets == answered.targets
    for figure in ("eer", "min_dcf", "cllr"):
        assert getattr(withheld, figure).value >= getattr(answered, figure).value - 1e-9
    assert reports[1].identification[0].probes == reports[0].identification[0].probes
    assert reports[1].identification[0].top1.value <= reports[0].identification[0].top1.value
    gender, age = zip(*(report.attributes for report in reports), strict=True)
    assert gender[1].utterances == gender[0].utterances == 6
    assert gender[1].value.value <= gender[0].value.value
    assert age[1].value.value >= age[0].value.value
    assert len(reports[1].failures) == len(refused)
    assert reports[1].coverage[0].embedded == 6 - len(refused)
    assert "| age | corpus | mean absolute error (years) | 3 / 6 |" in reports[1].markdown()


def test_identification_enrols_one_utterance_a_speaker():
    perfect = evaluate(KnownModel([at(0), at(5), at(90), at(95)]), table("aabb"), bootstrap=DRAWS)
    found = perfect.identification[0]
    assert (found.speakers, found.probes, found.top1.value) == (2, 20, 1.0)
    constant = evaluate(KnownModel([at(0)] * 4), table("aabb"), bootstrap=DRAWS)
    assert constant.identification[0].top1.value == 0
    one = evaluate(KnownModel([at(0)] * 2), table("aa"), bootstrap=DRAWS)
    assert one.identification[0].top1 is None


def test_identification_within_gender_enrols_one_known_gender():
    # every man stands between two women, so that only their gender keeps them apart
    angles = {"a": (0, 9), "b": (5, 14), "c": (40, 49), "d": (45, 54), "e": (7, 47), "f": (3, 43)}
    genders = {"a": "f", "b": "m", "c": "f", "d": "m", "e": None, "f": "other"}
    rows = "aabbccddeeff"
    model = KnownModel([at(angle) for each in angles.values() for angle in each])
    utterances = table(rows, gender=[genders[speaker] for speaker in rows])
    report = evaluate(model, utterances, bootstrap=DRAWS)
    everyone, within = report.identification
    assert (everyone.scope, everyone.speakers, everyone.probes) == ("all", 6, 60)
    assert everyone.top1.value < 1
    assert (within.scope, within.speakers, within.probes) == ("within gender", 4, 40)
    assert within.top1.value == 1
    assert "| corpus | within gender | 4 | 40 | 100.00" in report.markdown()


def test_identification_within_gender_needs_two_voices_of_a_gender():
    angles = [0, 0, 90, 90, 45, 45]
    utterances = table("aabbcc", gender="ffffmm")
    report = evaluate(KnownModel([at(angle) for angle in angles]), utterances, bootstrap=DRAWS)
    within = report.identification[1]
    assert (within.speakers, within.probes) == (2, 20)
    alone = evaluate(KnownModel([at(0)] * 4), table("aabb", gender="ffmm"), bootstrap=DRAWS)
    assert alone.identification[1].top1 is None
    assert "| corpus | within gender | 0 | 0 | n/a |" in alone.markdown()
    unknown = evaluate(KnownModel([at(0)] * 4), table("aabb"), bootstrap=DRAWS)
    assert unknown.identification[1].top1 is None


def test_identification_crosses_sessions():
    utterances = table("aabbb", session=["1", "2", "1", "1", None])
    found = evaluate(KnownModel([at(0)] * 5), utterances, bootstrap=DRAWS).identification[0]
    # only the other utterance of speaker a is of another known session, in each of ten rounds
    assert found.probes == 10


def test_attributes():
    outputs = [
        {"gender": [0.9, 0.1], "age": [1, 0]},  # female, 30 years
        {"gender": [0.2, 0.8], "age": [1, 1]},  # male, 50
        {"gender": [0.6, 0.4], "age": [0, 0]},  # female, 10
        {"gender": [0.6, 0.4], "age": [0, 0]},
    ]
    utterances = table(
        "abcd", gender=["F", "m", "male", "other"], age=["twenties", None, "10", "old"]
    )
    model = KnownModel([at(0)] * 4, heads=HEADS, outputs=outputs)
    gender, age = evaluate(model, utterances, bootstrap=DRAWS).attributes
    assert (gender.utterances, gender.classes, gender.guess) == (3, 2, 0.5)
    assert gender.value.value == pytest.approx((1 + 0.5) / 2)
    assert age.utterances == 2
    assert age.value.value == pytest.approx((abs(30 - 25) + abs(10 - 10.5)) / 2, abs=0.2)
    assert age.guess == pytest.approx((25 - 10.5) / 2)


def test_attributes_are_judged_per_corpus_and_unknown_classes_are_counted():
    head = HeadDescription(task="mood", kind="classes", classes=("calm", "cross"))
    utterances = table(
        "abcde", mood=["calm", "cross", "calm", "gloomy", None], corpus=list("xxyyz")
    )
    model = KnownModel([at(0)] * 5, heads=(head,), outputs=[{"mood": [0.9, 0.1]}] * 5)
    x, y, everything = evaluate(model, utterances, bootstrap=DRAWS).attributes
    assert (x.corpus, x.value.value, x.unknown) == ("x", 0.5, 0)
    assert (y.corpus, y.value, y.unknown, y.utterances) == ("y", None, 1, 1)
    assert (everything.corpus, everything.utterances, everything.unknown) == ("(all)", 3, 1)


def test_a_speaker_drawn_twice_counts_as_two_copies_of_its_trials():
    generator = np.random.default_rng(0)
    voice = np.repeat([0, 1, 2], 3)
    trials = all_pairs([str(v) for v in voice])
    scores = generator.normal(size=len(trials)) + trials.target
    weights = trial_weights(voice, trials)(np.array([2.0, 1.0, 0.0]))
    copies = []
    for left, right, target in zip(trials.left, trials.right, trials.target, strict=True):
        count = {0: 2, 1: 1, 2: 0}
        s, t = voice[left], voice[right]
        copies.append(count[s] if target else count[s] * count[t])
    assert weights.tolist() == copies
    repeated = np.repeat(scores, copies), np.repeat(trials.target, copies)
    assert metrics.eer(scores, trials.target, weights) == pytest.approx(metrics.eer(*repeated))


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    generator = np.random.default_rng(1)
    held = 0
    for seed in range(100):
        values = generator.normal(5, 1, size=40)
        mean = Bootstrap(200, seed).estimate(lambda draw, v=values: [draw @ v / draw.sum()], 40)[0]
        held += mean.low <= 5 <= mean.high
    assert 86 <= held <= 99


def test_intervals_are_not_given_where_most_draws_are_undefined():
    def only_both(draw):
        if draw.min() == 0:
            raise DataError("undefined")
        return [1.0]

    assert Bootstrap(40, 0).estimate(only_both, 10)[0].low is None


@pytest.mark.parametrize(
    ("speakers", "has_interval"), [(1, False), (2, False), (4, False), (5, True)]
)
def test_a_few_speakers_give_no_interval(speakers, has_interval):
    """Two would, drawn with both, always give the same figure: an interval of no width."""
    figure = Bootstrap(40, 0).estimate(lambda draw: [draw[0]], speakers)[0]
    assert (figure.low is not None, figure.high is not None) == (has_interval, has_interval)


def test_min_cllr():
    target = np.array([True, True, False, False])
    assert min_cllr(np.array([3.0, 2, 1, 0]), target) == pytest.approx(0)
    assert min_cllr(np.array([0.0, 1, 2, 3]), target) == pytest.approx(1)
    assert min_cllr(np.zeros(4), target) == pytest.approx(1)
    generator = np.random.default_rng(0)
    many = generator.random(5000) < 0.2
    scores = generator.normal(size=5000) + 2 * many
    least = min_cllr(scores, many)
    assert least == pytest.approx(min_cllr(np.exp(scores), many))
    # the true log-likelihood ratio comes close to it, and nothing monotone goes below
    assert least <= metrics.cllr(2 * scores - 2, many) < least + 0.02


def test_trial_list_replaces_all_pairs():
    trials = Trials(np.array([0, 0, 1]), np.array([1, 2, 2]), np.array([True, False, False]))
    utterances = table("aab", duration_s=["1", "1", "1"], gender=["f", "f", "m"])
    report = evaluate(
        KnownModel([at(0), at(9), at(90)]), utterances, trials=trials, bootstrap=DRAWS
    )
    assert row(report, corpus="(trial list)").eer.value == 0
    assert row(report, "within gender", "(trial list)").eer is None


@pytest.mark.parametrize(
    "text",
    [
        "1 a/0.wav a/1.wav\n\n0 /data/a/0.wav data/b/2.flac\n",
        "0 1 target\na/0 2 nontarget\n",
    ],
)
def test_trial_lists_of_voxceleb_and_kaldi(tmp_path, text):
    (tmp_path / "list").write_text(text)
    trials = read_trials(tmp_path / "list", table("aab"))
    assert trials.left.tolist() == [0, 0]
    assert trials.right.tolist() == [1, 2]
    assert trials.target.tolist() == [True, False]


def test_an_utterance_id_goes_before_the_name_of_a_file(tmp_path):
    (tmp_path / "list").write_text("utt-1 1 target\nutt-1 utt-3 nontarget\n")
    trials = read_trials(tmp_path / "list", table("aab", utterance=["utt-1", None, "utt-3"]))
    assert trials.right.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 a/0.wav c/9.wav\n0 x y\n", r"line 1: 'c/9.wav' matches no utterance .* 2 more"),
        ("a-0 1 maybe\n", r"line 1: 'a-0 1 maybe' is no trial"),
        ("\n", "no trials"),
    ],
)
def test_bad_trial_lists_are_refused_in_one_line(tmp_path, text, message):
    (tmp_path / "list").write_text(text)
    with pytest.raises(DataError, match=message) as raised:
        read_trials(tmp_path / "list", table("aab"))
    assert "\n" not in str(raised.value)


def test_ambiguous_names_and_unreadable_lists_are_refused(tmp_path):
    (tmp_path / "list").write_text("1 0.wav 1.wav\n")
    twice = conform(
        pa.table({"path": ["/a/0.wav", "/b/0.wav", "/a/1.wav"], "speaker": list("abc")})
    )
    with pytest.raises(DataError, match="several utterances"):
        read_trials(tmp_path / "list", twice)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("binary", "nowhere"):
        with pytest.raises(DataError, match="cannot be read as a trial list"):
            read_trials(tmp_path / name, twice)


def test_an_id_that_two_utterances_have_is_refused(tmp_path):
    paths = ["/c/ann/001.wav", "/c/ann/002.wav", "/c/bob/001.wav", "/c/bob/002.wav"]
    ids = ["001", "002", "001", "002.wav"]
    repeated = conform(pa.table({"path": paths, "speaker": list("aabb"), "utterance": ids}))
    (tmp_path / "list").write_text("1 001 002\n0 001 002\n")
    with pytest.raises(DataError, match=r"line 1: '001' matches several utterances .* 3 more"):
        read_trials(tmp_path / "list", repeated)
    (tmp_path / "list").write_text("1 ann/001 ann/002\n0 ann/001 bob/002.wav\n")
    assert read_trials(tmp_path / "list", repeated).right.tolist() == [1, 3]


def test_a_split_of_the_data_is_taken_as_it_is():
    utterances = table("aabb", split=["train", "validation", None, "test"])
    assert take_split(utterances, "test", "data.csv")["speaker"].to_pylist() == ["b"]
    assert len(take_split(utterances, "validation", "data.csv")) == 1
    with pytest.raises(DataError, match=r"'tets' in data.csv: it has test, train, validation"):
        take_split(utterances, "tets", "data.csv")


def test_the_validation_voices_are_a_split_where_the_data_names_none():
    speakers = [str(number) for number in range(60) for _ in range(2)]
    utterances = table(speakers)
    held_out = take_split(utterances, "validation", "data.csv")
    expected = [speaker for speaker in speakers if is_validation_voice("corpus", speaker)]
    assert held_out["speaker"].to_pylist() == expected
    assert set(held_out["corpus"].to_pylist()) == {"corpus"}
    with pytest.raises(DataError, match="no voice is held out"):
        take_split(utterances.slice(0, 0), "validation", "data.csv")


def test_the_voices_held_out_are_the_same_with_and_without_a_split_of_their_own():
    several = [name for name in map(str, range(60)) for _ in range(2)]
    by_hash = held_out(table(several), "data.csv")
    assert (
        by_hash["speaker"].to_pylist()
        == take_split(table(several), "validation", "data.csv")["speaker"].to_pylist()
    )
    named = table("aabb", split=["train", "train", "validation", "validation"])
    assert held_out(named, "data.csv")["speaker"].to_pylist() == ["b", "b"]


def test_the_halves_of_single_recordings_are_a_corpus_of_their_own():
    speakers = [str(number) for number in range(60)]
    held_out = take_split(table(speakers, duration_s=["9"] * 60), "validation", "data.csv")
    assert set(held_out["corpus"].to_pylist()) == {"corpus (same recording)"}
    assert set(held_out["duration_s"].to_pylist()) == {4.5}


def test_a_long_evaluation_shows_how_far_it_is(monkeypatch, capfd):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    evaluate(KnownModel([at(0)] * 2), table("ab"), bootstrap=DRAWS)
    assert "100%" in capfd.readouterr().err


def test_an_empty_table_is_refused():
    with pytest.raises(DataError, match="no rows"):
        evaluate(KnownModel([]), table("a").slice(0, 0))


def test_the_report_is_written_whole(tmp_path):
    model = KnownModel(
        [at(0), at(9), None, at(90)], heads=HEADS[:1], outputs=[{"gender": [1, 0]}] * 4
    )
    report = evaluate(model, table("aabb", gender="ffmm"), bootstrap=DRAWS)
    report.write(tmp_path / "report")
    names = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert names == ["det.png", "report.json", "report.md", "scores.png"]
    written = json.loads((tmp_path / "report" / "report.json").read_text())
    assert written["verification"][0]["eer"]["value"] == row(report).eer.value
    assert written["failures"] == [{"path": "/data/b/2.wav", "reason": "unreadable: mend it"}]
    text = (tmp_path / "report" / "report.md").read_text()
    assert "3 (75.0%)" in text
    assert "`/data/b/2.wav`: unreadable: mend it" in text
    assert "n/a" in text
    for plot in ("det.png", "scores.png"):
        assert (tmp_path / "report" / plot).read_bytes().startswith(b"\x89PNG")


def test_the_report_is_the_same_every_time():
    model = KnownModel([at(17 * i) for i in range(8)])
    first, second = (evaluate(model, table("aabbccdd"), bootstrap=DRAWS) for _ in range(2))
    assert first == second


def test_the_original_test_enrols_the_first_utterance_of_each_voice(tmp_path):
    """Whole utterances by the vectors of the table; crops of what the recordings hold."""
    rows = []
    for speaker, degrees in (("a", 0), ("a", 10), ("a", 80), ("b", 90), ("b", 100)):
        path = tmp_path / speaker / f"{len(rows)}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, voice(2.5, degrees), RATE)
        rows.append((str(path), speaker, degrees))
    paths, speakers, angles = zip(*rows, strict=True)
    utterances = conform(pa.table({"path": paths, "speaker": speakers, "corpus": ["x"] * 5}))
    model = KnownModel([at(angle) for angle in angles])
    report = evaluate(model, utterances, original_test=True, min_duration_s=0, bootstrap=DRAWS)
    found = {row.scope: row for row in report.identification}
    whole = found["first utterance enrolled"]
    assert (whole.speakers, whole.probes) == (2, 3)
    assert whole.top1.value == pytest.approx(2 / 3)  # the third of a is nearer to b
    assert found["first utterance enrolled, crops of 1.6 s"].probes == 3
    crops = [len(wave) for wave, _ in model.sources[5:]]
    assert len(crops) == 5
    assert max(crops) == 1.6 * RATE


def test_the_report_says_what_is_special():
    head = HeadDescription(task="mood", kind="classes", classes=("calm", "cross"))
    utterances = table("a" * 30 + "bb", session=["1", "2"] * 16, mood=["calm"] * 32)
    model = KnownModel([None] * 30 + [at(0), at(1)], heads=(head,), outputs=[{"mood": [1, 0]}] * 32)
    text = evaluate(model, utterances, bootstrap=DRAWS).markdown()
    assert "target pairs across sessions" in text
    assert "and 10 more, all in report.json" in text
    assert "| mood | corpus | balanced accuracy (%) | 2 / 32 | 0 | n/a | n/a |" in text


def test_a_report_without_any_trial_is_still_written(tmp_path):
    evaluate(KnownModel([at(0)]), table("a"), bootstrap=DRAWS).write(tmp_path)
    assert (tmp_path / "det.png").stat().st_size > 0
