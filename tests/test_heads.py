"""How sure the heads are, and which of them are not asked."""

import math

import numpy as np
import pyarrow as pa
import pytest

import hive_mtl as hive
from hive_mtl import metrics
from hive_mtl.description import HeadDescription
from hive_mtl.errors import DataError
from hive_mtl.evaluate import fit_heads
from hive_mtl.evaluate.attributes import judge_head
from hive_mtl.evaluate.bootstrap import Bootstrap
from hive_mtl.evaluate.embedded import EmbeddedTable
from hive_mtl.learn.utterances import conform
from hive_mtl.use.attributes import decode
from tiny_model import AGE, GENDER, description, save_tiny_model
from voices import RATE, voice

YEARS = HeadDescription(
    task="age", kind="ordinal", thresholds=(20.0, 40.0, 60.0), low=0.0, high=80.0, unit="years"
)
FINE = YEARS.model_copy(update={"thresholds": tuple(map(float, range(5, 80, 5)))})
MOOD = HeadDescription(task="mood", kind="classes", classes=("calm", "cross"))


def embedded(outputs, task, *, corpus="x", speakers=None, missing=(), **columns):
    """A table whose utterances are voices of their own, with these outputs of one head."""
    count = len(outputs)
    table = conform(
        pa.table(
            {
                "path": [f"/{row}.wav" for row in range(count)],
                "speaker": speakers or [f"s{row}" for row in range(count)],
                "corpus": [corpus] * count if isinstance(corpus, str) else corpus,
                **columns,
            }
        )
    )
    heads = [{task: np.array(output, np.float32)} for output in outputs]
    return EmbeddedTable(
        table=table,
        vectors=np.zeros((count, 2), np.float32),
        missing=np.array([row in missing for row in range(count)]),
        speech_s=np.full(count, 2.0),
        snr_db=np.full(count, 20.0),
        heads=tuple(None if row in missing else head for row, head in enumerate(heads)),
        duration_s=np.full(count, 3.0),
        failures=(),
    )


def warmer(head, temperature):
    return head.model_copy(update={"temperature": temperature})


def test_a_temperature_divides_the_log_odds():
    output = np.array([0.9, 0.1], np.float32)
    assert decode(warmer(GENDER, 2.0), output).probability == pytest.approx(0.75)
    assert decode(warmer(GENDER, 0.5), output).probability == pytest.approx(81 / 82)
    certain = decode(warmer(GENDER, 3.0), np.array([0, 1], np.float32))
    assert (certain.value, certain.probability) == ("male", 1.0)


def test_a_quantity_is_less_sure_at_a_higher_temperature():
    output = np.array([0.99, 0.5, 0.01], np.float32)
    sure, doubtful = (decode(warmer(YEARS, t), output) for t in (1.0, 3.0))
    assert doubtful.interval[0] < sure.interval[0] < sure.interval[1] < doubtful.interval[1]
    assert doubtful.value == pytest.approx(sure.value)
    assert sum(doubtful.alternatives.values()) == pytest.approx(1)


def test_a_withheld_head_is_not_answered(tmp_path):
    reason = "no skill on voices it has not met"
    heads = (GENDER, AGE.model_copy(update={"withheld": reason}))
    metadata = description(heads=heads).model_dump_json()
    model = hive.load(save_tiny_model(tmp_path / "model.onnx", metadata=metadata))
    assert set(model.attributes((voice(2.0), RATE))) == {"gender"}
    assert model.description.head("age").withheld == reason


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy():
    def error(confidence, right):
        return metrics.expected_calibration_error(np.array(confidence), np.array(right))

    assert error([0.8] * 5, [True] * 4 + [False]) == pytest.approx(0)
    assert error([0.95] * 4, [True, True, False, False]) == pytest.approx(0.45)
    # two bins that err to opposite sides do not make up for each other
    assert error([0.55, 0.95], [True, False]) == pytest.approx((0.45 + 0.95) / 2)
    assert error([math.nan, 1.0], [False, True]) == pytest.approx(0.5)
    assert error([0.0, 1.0], [False, True]) == 0
    with pytest.raises(DataError, match="labels"):
        error([], [])


def _moods(sharpness, count=600, seed=0):
    """True odds made sharper than they are, and moods drawn by the true ones."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(0, 2, count)
    cross = rng.random(count) < 1 / (1 + np.exp(-logit))
    claimed = 1 / (1 + np.exp(-sharpness * logit))
    moods = np.where(cross, "cross", "calm").tolist()
    return np.stack([1 - claimed, claimed], axis=1), moods


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_overconfidence_and_its_opposite(sharpness):
    outputs, moods = _moods(sharpness)
    heard = embedded(outputs, "mood", mood=moods)
    (fitted,) = fit_heads(heard, [MOOD])
    assert fitted.temperature == pytest.approx(sharpness, rel=0.25)
    assert fitted.withheld == ""
    before, after = (judge_head(heard, head, Bootstrap(10, 0))[0] for head in (MOOD, fitted))
    assert after.calibration_error < 0.06
    assert after.calibration_error <= before.calibration_error + 0.01
    assert after.value == before.value


@pytest.mark.slow
def test_voices_and_corpora_count_alike_in_the_temperature():
    sharp, moods = _moods(3.0, count=60)
    true, more_moods = _moods(1.0, count=60, seed=1)
    # the sharp ones are said ten times by each voice: that changes nothing
    outputs = np.concatenate([np.repeat(sharp, 10, axis=0), true])
    speakers = [f"s{n}" for n in np.repeat(np.arange(60), 10)] + [f"t{n}" for n in range(60)]
    labels = np.repeat(moods, 10).tolist() + more_moods
    once = embedded(np.concatenate([sharp, true]), "mood", mood=moods + more_moods)
    often = embedded(outputs, "mood", speakers=speakers, mood=labels)
    temperatures = [fit_heads(each, [MOOD])[0].temperature for each in (once, often)]
    assert temperatures[0] == pytest.approx(temperatures[1], abs=0.01)
    # nor do hundreds of voices of one corpus outweigh another
    alike = ["a"] * 60 + ["b"] * 60
    outweighed = embedded(outputs, "mood", corpus=["a"] * 600 + ["b"] * 60, mood=labels)
    both = embedded(np.concatenate([sharp, true]), "mood", corpus=alike, mood=moods + more_moods)
    temperatures = [fit_heads(each, [MOOD])[0].temperature for each in (both, outweighed)]
    assert temperatures[0] == pytest.approx(temperatures[1], abs=0.01)


def _ages(sharpness, count=600):
    """Ages drawn about what a head knows; it is surer of its thresholds than it should be."""
    rng = np.random.default_rng(2)
    centre = rng.uniform(15, 65, count)
    age = centre + rng.logistic(0, 6, count)
    within = (age > 0) & (age < 80)
    steps = (centre[within, None] - np.array(FINE.thresholds)) / 6
    return 1 / (1 + np.exp(-sharpness * steps)), age[within]


@pytest.mark.parametrize("decades", [False, True])
def test_the_interval_of_a_quantity_holds_about_what_it_says(decades):
    outputs, ages = _ages(sharpness=4.0)
    labels = [f"{int(a) // 10 * 10}s" if decades else str(int(a)) for a in ages]
    heard = embedded(outputs, "age", age=labels)
    (fitted,) = fit_heads(heard, [FINE])
    assert fitted.temperature > 2
    before, after = (judge_head(heard, head, Bootstrap(10, 0))[0] for head in (FINE, fitted))
    covered = after.interval_coverage.value
    assert abs(covered - 0.8) < abs(before.interval_coverage.value - 0.8)
    assert covered == pytest.approx(0.8, abs=0.08)
    assert fitted.withheld == ""


def test_a_head_without_skill_is_withheld_and_says_why():
    outputs, moods = _moods(1.0, count=80)
    shuffled = np.random.default_rng(3).permutation(moods).tolist()
    (fitted,) = fit_heads(embedded(outputs, "mood", mood=shuffled), [MOOD])
    assert fitted.withheld.startswith("no skill on voices it has not met (on x, balanced accuracy")
    assert "a constant answer 50.0" in fitted.withheld
    assert "\n" not in fitted.withheld
    constant = np.tile(outputs[:1] * 0 + 0.5, (80, 2))[:, :3]
    years = [str(20 + row % 50) for row in range(80)]
    (age,) = fit_heads(embedded(constant, "age", age=years), [YEARS])
    assert "mean absolute error" in age.withheld


def test_a_head_that_knows_only_the_corpus_is_withheld():
    rng = np.random.default_rng(4)
    corpus = ["a"] * 40 + ["b"] * 40
    moods = ["calm"] * 38 + ["cross"] * 2 + ["cross"] * 38 + ["calm"] * 2
    outputs = np.array([[0.9, 0.1]] * 40 + [[0.1, 0.9]] * 40) + rng.normal(0, 0.01, (80, 1))
    (fitted,) = fit_heads(embedded(outputs, "mood", corpus=corpus, mood=moods), [MOOD])
    assert fitted.withheld.startswith("no skill")
    # with one label a corpus there is nothing to tell it from a head that knows the voice
    apart = ["calm"] * 40 + ["cross"] * 40
    (fitted,) = fit_heads(embedded(outputs, "mood", corpus=corpus, mood=apart), [MOOD])
    assert fitted.withheld.startswith("never checked")


def test_a_head_that_nobody_is_labelled_for_is_withheld():
    outputs, moods = _moods(1.0, count=4)
    (unlabelled,) = fit_heads(embedded(outputs, "mood"), [MOOD])
    assert (unlabelled.temperature, unlabelled.withheld[:13]) == (1.0, "never checked")
    few = embedded(outputs, "mood", mood=moods, missing=[3])
    assert fit_heads(few, [MOOD])[0].withheld.startswith("never checked")


def test_a_missing_answer_is_no_help_to_the_calibration():
    outputs, moods = _moods(1.0, count=50)
    whole = judge_head(embedded(outputs, "mood", mood=moods), MOOD, Bootstrap(10, 0))[0]
    partial = embedded(outputs, "mood", mood=moods, missing=range(10))
    assert (
        judge_head(partial, MOOD, Bootstrap(10, 0))[0].calibration_error > whole.calibration_error
    )
    outputs, ages = _ages(1.0, count=50)
    years = [str(int(age)) for age in ages]
    whole, partial = (
        judge_head(embedded(outputs, "age", age=years, missing=gone), FINE, Bootstrap(10, 0))[0]
        for gone in ((), range(len(years)))
    )
    assert partial.interval_coverage.value == 0 < whole.interval_coverage.value
