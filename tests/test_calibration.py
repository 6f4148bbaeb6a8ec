"""What a score and the quality of both sides say together, and how that is learnt."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_mtl import metrics
from hive_mtl.calibration import (
    Sides,
    balanced_weights,
    extremes,
    fit_quality,
    fit_scores,
    line,
)
from hive_mtl.description import Calibration
from hive_mtl.errors import DataError, ModelError

QUALITY = Calibration(
    weights={
        "score": 12.0,
        "log_shorter": 0.4,
        "log_longer": -0.2,
        "lower_snr": 0.03,
        "higher_snr": -0.01,
    },
    intercept=-5.0,
    thresholds={"0.01": 1.5},
)
speech_s = st.floats(0, 1e4)
snr_db = st.floats(-10, 60)


def side(seconds, decibels):
    return Sides(np.atleast_1d(seconds), np.atleast_1d(decibels))


def normal_trials(n=4000, shift=2.0, seed=0):
    generator = np.random.default_rng(seed)
    target = generator.random(n) < 0.3
    return generator.normal(size=n) + shift * target, target


def fitted(scores, target, group=None, voices=None):
    return fit_scores(scores, target, balanced_weights(target, group, voices))


@given(speech_s, snr_db, speech_s, snr_db, st.floats(-1, 1))
def test_the_order_of_the_sides_does_not_matter(s1, q1, s2, q2, score):
    a, b = side(s1, q1), side(s2, q2)
    scores = np.array([score])
    assert line(QUALITY, a, b).llr(scores) == line(QUALITY, b, a).llr(scores)


@given(speech_s, snr_db, speech_s, snr_db, st.floats(-1, 0.999))
def test_a_higher_score_says_more_whatever_the_sides(s1, q1, s2, q2, score):
    between = line(QUALITY, side(s1, q1), side(s2, q2))
    low, high = (between.llr(np.array([value])) for value in (score, score + 0.001))
    assert low < high
    lowest, highest = extremes(QUALITY)
    assert lowest - 1e-9 <= low <= highest + 1e-9


@given(speech_s, snr_db, speech_s, snr_db, st.floats(-8, 8))
def test_the_score_that_is_needed_gives_what_it_is_needed_for(s1, q1, s2, q2, llr):
    between = line(QUALITY, side(s1, q1), side(s2, q2))
    assert between.llr(between.score_at(llr)) == pytest.approx(llr, abs=1e-9)


@pytest.mark.parametrize("weights", [{}, {"score": -1.0}, {"log_shorter": 1.0}])
def test_a_calibration_that_does_not_rise_with_the_score_is_refused(weights):
    falling = Calibration(weights=weights, intercept=0.0, thresholds={})
    with pytest.raises(ModelError, match="fit it anew"):
        line(falling, side(10, 30), side(10, 30))


def test_the_fit_recovers_the_true_likelihood_ratio():
    # two unit normals at 0 and 2: the log-likelihood ratio is 2 s - 2, whatever the class sizes
    found = fitted(*normal_trials(100_000))
    assert found.weights["score"] == pytest.approx(2, abs=0.05)
    assert found.intercept == pytest.approx(-2, abs=0.05)


def test_the_fit_recovers_what_quality_does():
    # normal scores of variance 0.02, all the higher the longer the shorter side is, and targets
    # 0.3 above the others: llr = 15 (score - 0.1 log_shorter) - 2.25
    generator = np.random.default_rng(0)
    n = 200_000
    target = generator.random(n) < 0.2
    sides = [
        Sides(np.exp(generator.uniform(0, 2.5, n)), generator.uniform(5, 30, n)) for _ in range(2)
    ]
    level = 0.1 * np.log(np.minimum(*(side.speech_s for side in sides)))
    score = level + 0.3 * target + np.sqrt(0.02) * generator.normal(size=n)
    found = fit_quality(score, tuple(sides), target, balanced_weights(target))
    truth = 15 * (score - level) - 2.25
    assert line(found, *sides).llr(score) == pytest.approx(truth, abs=0.4)
    assert found.weights["score"] == pytest.approx(15, rel=0.03)
    assert found.weights["log_shorter"] == pytest.approx(-1.5, abs=0.3)  # drawn to 0 a little
    by_score = line(fitted(score, target), *sides).llr(score)
    cost = metrics.cllr(line(found, *sides).llr(score), target)
    assert cost == pytest.approx(metrics.cllr(truth, target), abs=1e-3)
    assert cost < metrics.cllr(by_score, target) - 0.01


def test_corpora_weigh_alike_however_many_their_trials():
    (large, of_large), (small, of_small) = normal_trials(40_000), normal_trials(400, 4.0, seed=1)
    group = np.repeat([0, 1], [len(large), len(small)])
    found = fitted(np.append(large, small), np.append(of_large, of_small), group)
    again = fitted(
        np.append(large, np.tile(small, 100)),
        np.append(of_large, np.tile(of_small, 100)),
        np.repeat([0, 1], [len(large), 100 * len(small)]),
    )
    assert found.weights["score"] == pytest.approx(again.weights["score"], rel=0.02)
    assert found.intercept == pytest.approx(again.intercept, rel=0.02)
    weight = balanced_weights(np.append(of_large, of_small), group)
    for corpus in (0, 1):
        for kind in (True, False):
            of_kind = (group == corpus) & (np.append(of_large, of_small) == kind)
            assert weight[of_kind].sum() == pytest.approx(0.25)


def test_a_corpus_of_few_voices_weighs_less():
    target = np.array([True, False, True, False, False])
    weight = balanced_weights(target, np.array([0, 0, 1, 1, 1]), np.array([40, 40, 5, 5, 5]))
    assert weight == pytest.approx(np.array([0.4, 0.4, 0.1, 0.05, 0.05]))


def test_a_corpus_with_one_kind_of_trials_weighs_nothing():
    weight = balanced_weights(np.array([True, False, False, False]), np.array([0, 0, 1, 1]))
    assert weight.tolist() == [0.5, 0.5, 0.0, 0.0]


def test_thresholds_reach_their_false_alarm_rates():
    scores, target = normal_trials(100_000)
    found = fitted(scores, target)
    llr = found.weights["score"] * scores + found.intercept
    assert list(found.thresholds) == ["0.1", "0.01", "0.001"]
    for rate, threshold in found.thresholds.items():
        accepted = np.mean(llr[~target] >= threshold)
        assert accepted <= float(rate)
        assert accepted == pytest.approx(float(rate), rel=0.05)


def test_the_fit_is_finite_without_overlap_and_without_information():
    target = np.array([False, False, True, True])
    apart = fitted(np.array([0.1, 0.2, 0.8, 0.9]), target)
    assert 0 < apart.weights["score"] < 1000
    for score in (np.full(4, 0.3), np.array([0.8, 0.9, 0.1, 0.2])):  # none, and misleading ones
        found = fitted(score, target)
        llr = line(found, side(3, 20), side(3, 20)).llr(score)
        assert np.abs(llr).max() < 0.02


def test_the_fit_survives_outliers():
    scores, target = normal_trials(200)
    scores[0] = 1e6
    found = fitted(scores, target)
    assert np.isfinite([found.weights["score"], found.intercept]).all()


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(DataError, match="infinite"):
        fitted(np.array([np.inf, 1.0]), np.array([False, True]))
    with pytest.raises(DataError, match="both kinds"):
        fitted(np.array([0.0, 1.0]), np.array([True, True]))
