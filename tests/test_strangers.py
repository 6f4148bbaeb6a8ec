"""The rate of false alarms among N voices is as asked, whoever is enrolled."""

import math
from functools import cache
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_mtl.description import Calibration
from hive_mtl.errors import ModelError
from hive_mtl.use.identify import SCORED, Inquiry, weigh
from hive_mtl.use.strangers import WORTH, strangers_of
from tiny_model import CALIBRATION

DEVIATION = 2.5
MEAN = -(DEVIATION**2) / 2  # then ratios are what they say, and those of a voice itself lie at +v/2
THRESHOLDS = {
    rate: NormalDist(MEAN, DEVIATION).inv_cdf(1 - float(rate)) for rate in ("0.1", "0.01", "0.001")
}
NORMAL = Calibration(weights={"score": 1.0}, intercept=0.0, thresholds=THRESHOLDS)
RECORDINGS = 10_000


@cache
def highest(voices: int, seed: int = 0) -> np.ndarray:
    """The highest of ``voices`` standard normal scores, falling, ``(recordings, near)``.

    Uniform order statistics are ratios of sums of exponentials, so that a million voices need no
    million numbers.
    """
    generator = np.random.default_rng(seed)
    near = min(voices, SCORED)
    sums = generator.standard_exponential((RECORDINGS, near)).cumsum(axis=1)
    rest = generator.standard_gamma(voices + 1 - near, (RECORDINGS, 1))
    deviates = np.linspace(-8, 8, 2001)
    below = np.array([NormalDist().cdf(-each) for each in deviates])
    return np.interp(-np.log(sums / (sums[:, -1:] + rest)), -np.log(below), deviates)


def alarms(voices: int, shift: float, false_alarm: float) -> float:
    llr = MEAN + shift + DEVIATION * highest(voices)
    weighed = weigh(NORMAL, llr, voices, Inquiry(false_alarm=false_alarm))
    return float((llr[:, 0] >= weighed.enough).mean())


@pytest.mark.parametrize("voices", [1, 2, 5, 20, 60, 300, 10_000, 1_000_000])
@pytest.mark.parametrize("false_alarm", [0.1, 0.01])
def test_false_alarms_are_as_asked(voices: int, false_alarm: float) -> None:
    rate = alarms(voices, 0.0, false_alarm)
    assert 0.5 * false_alarm < rate < 1.25 * false_alarm


@pytest.mark.parametrize("shift", [-1.5, 1.5])
def test_strangers_of_another_kind_are_learnt_from_those_enrolled(shift: float) -> None:
    """The more there are, the nearer comes what is asked, from what verification would do."""
    few, many = alarms(1, shift, 0.01), alarms(100, shift, 0.01)
    assert abs(math.log(many / 0.01)) < 0.8 * abs(math.log(few / 0.01))
    assert 0.003 < many < 0.025


@given(st.floats(1e-6, 0.5), st.integers(1, 10**7))
def test_the_threshold_rises_as_fewer_false_alarms_are_allowed(rate: float, voices: int) -> None:
    strangers = strangers_of(CALIBRATION)
    threshold = strangers.threshold(rate, voices)
    assert math.isfinite(threshold)
    assert threshold <= strangers.threshold(rate / 2, voices)
    assert threshold <= strangers.threshold(rate, voices + 1)


@pytest.mark.parametrize("rate", [5e-324, math.nextafter(1, 0)])
@pytest.mark.parametrize("voices", [1, 10**7])
def test_any_rate_above_0_and_below_1_has_a_threshold(rate: float, voices: int) -> None:
    strangers = strangers_of(CALIBRATION)
    threshold = strangers.threshold(rate, voices)
    assert math.isfinite(threshold)
    assert (threshold > strangers.threshold(0.5, voices)) == (rate < 0.5)


def test_the_threshold_is_the_calibrations_own_where_it_has_one() -> None:
    for rate, llr in CALIBRATION.thresholds.items():
        assert strangers_of(CALIBRATION).threshold(float(rate), 1) == pytest.approx(llr)


def test_the_threshold_alone_allows_as_many_as_asked() -> None:
    """Scores of strangers that are independent and normal, as the thresholds here have them."""
    strangers = strangers_of(NORMAL)
    for voices in (1, 10, 300):
        best = MEAN + DEVIATION * highest(voices)[:, 0]
        rate = (best >= strangers.threshold(0.05, voices)).mean()
        assert rate == pytest.approx(0.05, abs=0.006)


def test_more_voices_ask_for_more() -> None:
    counts = (1, 3, 10, 30, 100, 1000, 100_000)
    enough = [
        weigh(NORMAL, MEAN + DEVIATION * highest(count), count, Inquiry()).enough.mean()
        for count in counts
    ]
    assert enough == sorted(enough)


@pytest.mark.parametrize("shift", [-1.5, 0.0, 1.5])
@pytest.mark.parametrize("voices", [5, 40, 200])
def test_the_probability_of_enrolled_is_told_the_better(voices: int, shift: float) -> None:
    """By log loss in bits where half of the recordings are of enrolled voices; the prior has 1."""
    strangers = MEAN + shift + DEVIATION * highest(voices)
    others = MEAN + shift + DEVIATION * highest(voices - 1, seed=1)
    own = -MEAN + DEVIATION * np.random.default_rng(2).standard_normal((RECORDINGS, 1))
    known = -np.sort(-np.concatenate([own, others], axis=1), axis=1)[:, :SCORED]

    def bits(llr: np.ndarray, sign: float, moved: bool) -> float:
        plain = llr - math.log(voices)
        log_odds = weigh(NORMAL, llr, voices, Inquiry()).log_odds if moved else plain
        total = np.logaddexp.reduce(log_odds, axis=1)
        return float(np.logaddexp(0, -sign * total).mean() / math.log(2))

    found, plain = ((bits(known, 1, moved) + bits(strangers, -1, moved)) / 2 for moved in (1, 0))
    assert found < 1
    assert found < plain + 0.03


def test_ratios_keep_their_order_and_stay_finite() -> None:
    llr = np.array([[40.0, 39.0, 38.0, 5.0], [-30.0, -31.0, -32.0, -60.0]])
    weighed = weigh(NORMAL, llr, 4, Inquiry())
    assert np.isfinite(weighed.log_odds).all()
    assert (np.diff(weighed.log_odds, axis=1) < 0).all()


def test_one_odd_neighbour_moves_strangers_by_its_share() -> None:
    usual = MEAN + DEVIATION * highest(20)[0]
    odd = np.insert(usual[:-1], 1, usual[0])
    strangers = strangers_of(NORMAL)
    moved = strangers.shift(odd, 20) - strangers.shift(usual, 20)
    assert 0 < moved < (usual[0] - usual[9]) / WORTH


def test_a_calibration_whose_thresholds_are_one_moves_nothing() -> None:
    flat = NORMAL.model_copy(update={"thresholds": {"0.1": 1.0, "0.01": 1.0, "0.001": 1.0}})
    llr = np.array([3.0, 2.0, 1.0])
    weighed = weigh(flat, llr, 3, Inquiry(prior=0.5))
    assert weighed.enough == 1.0
    assert weighed.log_odds == pytest.approx(llr - math.log(3))


def test_a_calibration_without_thresholds_is_refused() -> None:
    with pytest.raises(ModelError, match="no thresholds"):
        strangers_of(CALIBRATION.model_copy(update={"thresholds": {}}))
