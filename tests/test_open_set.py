"""Open-set identification where it is known who is detected."""

import math
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_mtl.description import Calibration
from hive_mtl.errors import EmbeddingError
from hive_mtl.evaluate.bootstrap import Bootstrap
from hive_mtl.evaluate.embedded import collect
from hive_mtl.evaluate.open_set import Probes, identify_open_set
from hive_mtl.learn.utterances import conform

BOOTSTRAP = Bootstrap(50, 0)


def probes(score, right, unknown_score, speaker=None, unknown_speaker=None):
    known, unknown = len(score), len(unknown_score)
    return Probes(
        score=np.array(score, float),
        right=np.array(right, bool),
        speaker=np.array(speaker or [0] * known),
        unknown_score=np.array(unknown_score, float),
        unknown_speaker=np.array(unknown_speaker or [1] * unknown),
    )


EVERYBODY_ONCE = np.ones(2)


def test_detected_is_who_is_right_and_above_all_unknown_probes_but_one_in_a_hundred():
    unknown = np.arange(200) / 200  # two may pass: 0.995 and 0.99
    found = probes([0.99, 0.986, 0.985, 0.2, 0.999], [1, 1, 1, 1, 0], unknown)
    assert found.detected(EVERYBODY_ONCE) == pytest.approx(2 / 5)
    assert found.detected(EVERYBODY_ONCE, false_alarm=0.9) == pytest.approx(4 / 5)


def test_fewer_than_a_hundred_unknown_probes_must_all_be_rejected():
    assert probes([0.9, 0.7], [1, 1], [0.8, 0.1]).detected(EVERYBODY_ONCE) == 0.5


def test_a_tie_with_an_unknown_probe_is_no_detection():
    assert probes([0.8], [1], [0.8]).detected(EVERYBODY_ONCE) == 0


def test_an_unknown_probe_without_a_vector_always_passes():
    score, right = [0.9] * 4, [1] * 4
    assert probes(score, right, [np.inf] * 2 + [0] * 198).detected(EVERYBODY_ONCE) == 1
    assert probes(score, right, [np.inf] * 3 + [0] * 197).detected(EVERYBODY_ONCE) == 0


def test_a_known_probe_without_a_vector_is_never_detected():
    assert probes([-np.inf, 0.9], [1, 1], [0.1]).detected(EVERYBODY_ONCE) == 0.5


def test_a_draw_without_one_kind_says_nothing():
    found = probes([0.9], [1], [0.1])
    assert found.detected(np.array([1.0, 0.0])) is None
    assert found.detected(np.array([0.0, 1.0])) is None


@given(st.lists(st.integers(0, 3), min_size=6, max_size=6), st.integers(0, 2**31))
def test_a_speaker_drawn_twice_counts_twice(times, seed):
    generator = np.random.default_rng(seed)
    speaker, unknown_speaker = np.repeat([0, 1, 2], 20), np.repeat([3, 4, 5], 60)
    score, unknown = generator.normal(1, 1, 60), generator.normal(0, 1, 180)
    right = generator.random(60) < 0.8
    known_times, unknown_times = (np.repeat(times[part], n) for part, n in PARTS)
    repeated = probes(
        np.repeat(score, known_times),
        np.repeat(right, known_times),
        np.repeat(unknown, unknown_times),
    )
    once = Probes(score, right, speaker, unknown, unknown_speaker)
    expected = (
        repeated.detected(EVERYBODY_ONCE) if sum(known_times) and sum(unknown_times) else None
    )
    assert once.detected(np.array(times, float)) == pytest.approx(expected)


PARTS = ((slice(0, 3), 20), (slice(3, 6), 60))


def at(degrees):
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


def embedded(speakers, angles, sessions=None):
    """Utterances by the angle of their vector; None where there is none."""
    columns = {} if sessions is None else {"session": sessions}
    table = conform(
        pa.table(
            {
                "path": [f"{row}.wav" for row in range(len(speakers))],
                "speaker": speakers,
                "corpus": ["corpus"] * len(speakers),
                "duration_s": ["3.0"] * len(speakers),
                **columns,
            }
        )
    )
    results = (
        EmbeddingError("x.wav", "unreadable: mend it")
        if angle is None
        else SimpleNamespace(
            vector=np.array(at(angle), np.float32),
            heads={},
            duration_s=3.0,
            speech_seconds=3.0,
            snr_db=30.0,
        )
        for angle in angles
    )
    return collect(table, results, 2)


VOICES = "".join(letter * 3 for letter in "abcdefgh")
APART = [40 * (row // 3) + 2 * (row % 3) for row in range(len(VOICES))]


def test_voices_that_lie_apart_are_all_detected():
    found = identify_open_set(embedded(list(VOICES), APART), "corpus", 2.0, BOOTSTRAP)
    assert (found.enrolled, found.unknown) == (4, 4)
    assert (found.known_probes, found.unknown_probes) == (10 * 4 * 2, 10 * 4 * 3)
    assert (found.detected.value, found.detected.low, found.detected.high) == (1, 1, 1)


def test_voices_that_lie_at_one_place_are_not_detected():
    table = embedded(list(VOICES), [0.0] * len(VOICES))
    assert identify_open_set(table, "corpus", 2.0, BOOTSTRAP).detected.value == 0


def test_refusing_never_helps():
    whole = identify_open_set(embedded(list(VOICES), APART), "corpus", 2.0, BOOTSTRAP)
    angles = [None, *APART[1:]]
    found = identify_open_set(embedded(list(VOICES), angles), "corpus", 2.0, BOOTSTRAP)
    assert found.known_probes == whole.known_probes
    assert found.detected.value < whole.detected.value
    nobody = embedded(list(VOICES), [None] * len(VOICES))
    assert identify_open_set(nobody, "corpus", 2.0, BOOTSTRAP).detected.value == 0


def test_known_probes_cross_sessions_where_there_are_some():
    sessions = ["1", "1", "2"] * 8
    table = embedded(list(VOICES), APART, sessions)
    found = identify_open_set(table, "corpus", 2.0, BOOTSTRAP)
    # enrolled of session 1: one probe of session 2; of session 2: two of session 1
    assert 10 * 4 <= found.known_probes <= 10 * 4 * 2
    assert found.unknown_probes == 10 * 4 * 3
    one_session = embedded(list(VOICES), APART, ["1"] * len(VOICES))
    assert identify_open_set(one_session, "corpus", 2.0, BOOTSTRAP).known_probes == 80


@pytest.mark.parametrize("speakers", ["", "aaa", "abcdef"])
def test_without_probes_of_both_kinds_it_is_not_defined(speakers):
    table = embedded(list(VOICES) if not speakers else list(speakers), APART[: len(speakers) or 24])
    corpus = "corpus" if speakers else "another"
    found = identify_open_set(table, corpus, 2.0, BOOTSTRAP)
    assert found.detected is None
    assert found.known_probes == 0


CALIBRATION = Calibration(
    weights={"score": 40.0}, intercept=-36.0, thresholds={"0.1": -4.0, "0.01": -2.0, "0.001": 0.0}
)


def asked(angles, calibration=CALIBRATION):
    table = embedded(list(VOICES), angles)
    return identify_open_set(table, "corpus", 2.0, BOOTSTRAP, calibration)


def test_what_identify_answers_is_judged():
    found = asked(APART)
    assert (found.recognised.value, found.false_alarms.value) == (1, 0)
    assert found.bits.value < 0.1


def test_strangers_who_sound_like_somebody_are_false_alarms():
    found = asked([80 * (row // 6) + 2 * (row % 3) for row in range(len(VOICES))])
    assert found.false_alarms.value > 0.2
    assert found.bits.value > asked(APART).bits.value


def test_a_recording_without_a_vector_is_answered_wrongly_and_costs_a_bit():
    nobody = asked([None] * len(VOICES))
    assert (nobody.recognised.value, nobody.false_alarms.value) == (0, 1)
    assert nobody.bits.value == pytest.approx(1)
    one, whole = asked([None, *APART[1:]]), asked(APART)
    assert one.recognised.value < whole.recognised.value
    assert one.false_alarms.value > whole.false_alarms.value


def test_without_a_calibration_nothing_is_answered():
    found = asked(APART, None)
    assert (found.recognised, found.false_alarms, found.bits) == (None, None, None)
