"""The figures agree with their definitions, and nobody gains by refusing to answer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import recall_score, roc_curve

from hive_mtl import metrics
from hive_mtl.errors import DataError


@st.composite
def trials(draw, max_size=40):
    """Scores with many ties, and a label each; both classes occur."""
    n = draw(st.integers(2, max_size))
    scores = draw(hnp.arrays(np.float64, n, elements=st.integers(-8, 8).map(lambda i: i / 4)))
    target = draw(hnp.arrays(np.bool_, n))
    target[:2] = [True, False]
    return scores, target


def normal_trials(n=4000, shift=2.0, seed=0):
    generator = np.random.default_rng(seed)
    target = generator.random(n) < 0.3
    return generator.normal(size=n) + shift * target, target


def eer_by_definition(scores, target):
    """Walks over the ROC of scikit-learn until miss and false alarm meet on one of its lines."""
    false_alarm, hit, _ = roc_curve(target, scores, drop_intermediate=False)
    miss = 1 - hit
    for i in range(1, len(miss)):
        if miss[i] <= false_alarm[i]:
            before, after = miss[i - 1] - false_alarm[i - 1], miss[i] - false_alarm[i]
            share = before / (before - after)
            return miss[i - 1] + share * (miss[i] - miss[i - 1])
    raise AssertionError


@given(trials())
def test_eer_is_where_the_roc_has_equal_rates(case):
    assert metrics.eer(*case) == pytest.approx(eer_by_definition(*case), abs=1e-12)


@given(trials())
def test_eer_keeps_under_monotone_maps_and_under_a_swap_of_roles(case):
    scores, target = case
    eer = metrics.eer(scores, target)
    assert 0 <= eer <= 1
    assert metrics.eer(np.exp(3 * scores) - 7, target) == pytest.approx(eer)
    assert metrics.eer(-scores, ~target) == pytest.approx(eer)
    assert metrics.eer(-scores, target) == pytest.approx(1 - eer)


@given(trials(), st.data())
def test_a_whole_weight_is_a_repetition(case, data):
    scores, target = case
    weights = data.draw(hnp.arrays(np.int64, len(scores), elements=st.integers(0, 3)))
    weights[:2] = 1
    repeated = np.repeat(scores, weights), np.repeat(target, weights)
    assert metrics.eer(scores, target, weights) == pytest.approx(metrics.eer(*repeated))
    assert metrics.min_dcf(scores, target, weights=weights) == pytest.approx(
        metrics.min_dcf(*repeated)
    )
    assert metrics.cllr(scores, target, weights) == pytest.approx(metrics.cllr(*repeated))


@given(trials(), st.sampled_from([0.01, 0.5, 0.9]))
def test_min_dcf_is_the_least_cost_of_any_threshold(case, p_target):
    scores, target = case
    costs = [
        p_target * np.mean(scores[target] < threshold)
        + (1 - p_target) * np.mean(scores[~target] >= threshold)
        for threshold in [*scores, np.inf]
    ]
    expected = min(costs) / min(p_target, 1 - p_target)
    assert metrics.min_dcf(scores, target, p_target) == pytest.approx(expected)
    assert metrics.min_dcf(scores, target, p_target) <= 1 + 1e-12


def test_separated_scores_have_no_error_and_inverted_ones_nothing_but():
    scores, target = np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True])
    assert metrics.eer(scores, target) == 0
    assert metrics.min_dcf(scores, target) == 0
    assert metrics.eer(scores, ~target) == 1


def test_equal_scores_tell_nothing():
    assert metrics.eer(np.zeros(9), np.arange(9) < 2) == pytest.approx(0.5)


@given(trials(), st.data())
def test_refusing_never_helps(case, data):
    scores, target = case
    missing = data.draw(hnp.arrays(np.bool_, len(scores)))
    refused = metrics.penalise_missing(scores, target, missing)
    assert metrics.eer(refused, target) >= metrics.eer(scores, target) - 1e-12
    assert metrics.min_dcf(refused, target) >= metrics.min_dcf(scores, target) - 1e-12
    assert metrics.cllr(refused, target) >= metrics.cllr(scores, target)


def test_a_missing_trial_is_an_error_at_every_threshold():
    scores, target = np.array([0.9, 0.8, 0.2, 0.1]), np.array([True, True, False, False])
    refused = metrics.penalise_missing(scores, target, np.array([True, False, True, False]))
    rates = metrics.det_points(refused, target)
    assert rates.miss.min() == 0.5
    assert rates.false_alarm.min() == 0.5
    nothing = metrics.penalise_missing(scores, target, np.ones(4, dtype=bool))
    assert metrics.eer(nothing, target) == 1
    assert metrics.min_dcf(nothing, target) == pytest.approx(100)


def test_cllr():
    target = np.array([True, True, False])
    assert metrics.cllr(np.zeros(3), target) == pytest.approx(1)
    assert metrics.cllr(np.array([50.0, 50, -50]), target) == pytest.approx(0)
    assert metrics.cllr(np.array([-5.0, -5, 5]), target) > 1
    # by hand: targets log2(1 + 1/2) twice, the non-target log2(1 + 1/4)
    llr = np.log([2.0, 2.0, 0.25])
    assert metrics.cllr(llr, target) == pytest.approx((np.log2(1.5) + np.log2(1.25)) / 2)


@given(trials(), st.sampled_from([0.0, 0.05, 0.1, 0.5, 1.0]))
def test_a_threshold_keeps_its_rate_and_is_the_lowest_score_to_do_so(case, rate):
    scores, target = case
    threshold = metrics.threshold_at_false_alarm(scores, target, rate)
    others = scores[~target]
    assert np.mean(others >= threshold) <= rate
    assert all(np.mean(others >= lower) > rate for lower in scores[scores < threshold])


def test_no_threshold_reaches_a_rate_below_that_of_the_missing():
    with pytest.raises(DataError, match="missing"):
        metrics.threshold_at_false_alarm(
            np.array([1.0, np.inf, 0]), np.array([True, False, False]), 0.1
        )


@pytest.mark.parametrize(
    ("scores", "target"),
    [
        ([np.nan, 0.0], [True, False]),
        ([np.inf, 0.0], [True, False]),
        ([0.0, -np.inf], [True, False]),
        ([0.0, 1.0], [True, True]),
        ([0.0, 1.0], [False, False]),
        ([0.0, 1.0, 2.0], [True, False]),
        ([], []),
    ],
)
def test_what_cannot_be_judged_is_refused(scores, target):
    scores, target = np.array(scores, dtype=float), np.array(target, dtype=bool)
    for figure in (metrics.eer, metrics.min_dcf, metrics.cllr):
        with pytest.raises(DataError):
            figure(scores, target)


def test_weightless_classes_are_refused():
    scores, target = np.array([0.0, 1.0]), np.array([False, True])
    for figure in (metrics.eer, metrics.cllr):
        with pytest.raises(DataError, match="weight"):
            figure(scores, target, np.array([0.0, 1.0]))


def test_top1_wants_the_right_voice_alone_in_front():
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [-np.inf, -np.inf], [-np.inf, 0.1]])
    right = np.array([0, 0, 0, 0, 0])
    assert metrics.top1(scores, right).tolist() == [True, False, False, False, False]
    for wrong in (np.nan, np.inf):
        with pytest.raises(DataError, match="NaN or infinite"):
            metrics.top1(np.array([[wrong, 0.0]]), np.array([0]))


@settings(max_examples=50)
@given(st.lists(st.tuples(*[st.sampled_from("abc")] * 2, st.integers(1, 3)), min_size=1))
def test_balanced_accuracy_is_that_of_scikit_learn(rows):
    truth, predicted, weights = (np.array(column) for column in zip(*rows, strict=True))
    expected = recall_score(
        truth, predicted, labels=np.unique(truth), average="macro", sample_weight=weights
    )
    assert metrics.balanced_accuracy(predicted, truth, weights) == pytest.approx(expected)


def test_a_class_without_weight_is_left_out():
    truth, predicted = np.array(["a", "a", "b"]), np.array(["a", "b", "a"])
    assert metrics.balanced_accuracy(predicted, truth, np.array([1.0, 1, 0])) == 0.5
    with pytest.raises(DataError, match="weight"):
        metrics.balanced_accuracy(predicted, truth, np.zeros(3))
    with pytest.raises(DataError, match="labelled"):
        metrics.balanced_accuracy(truth[:0], truth[:0])


def test_mean_absolute_error():
    predicted, truth = np.array([30.0, 40.0]), np.array([20.0, 44.0])
    assert metrics.mean_absolute_error(predicted, truth) == 7
    assert metrics.mean_absolute_error(predicted, truth, np.array([1.0, 2.0])) == 6
    for bad in (truth[:0], np.array([np.nan, 1.0])):
        with pytest.raises(DataError, match="finite"):
            metrics.mean_absolute_error(bad, bad)


def test_b_cubed_of_an_example_worked_out_by_hand() -> None:
    # groups aab, b, c with one recording that is in none
    truth = np.array([0, 0, 1, 1, 2, 2])
    groups = np.array([5, 5, 5, 3, 2, -1])
    precision, recall, f = metrics.b_cubed(groups, truth)
    assert precision == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1 + 1 + 0) / 6)
    assert recall == pytest.approx((1 + 1 + 1 / 2 + 1 / 2 + 1 / 2 + 0) / 6)
    assert f == pytest.approx(2 * precision * recall / (precision + recall))


def test_b_cubed_is_one_for_the_truth_and_falls_for_all_in_one_or_none() -> None:
    truth = np.repeat(np.arange(4), 3)
    assert metrics.b_cubed(7 - truth, truth) == pytest.approx((1, 1, 1))
    assert metrics.b_cubed(np.zeros_like(truth), truth)[:2] == pytest.approx((1 / 4, 1))
    assert metrics.b_cubed(np.arange(12), truth)[:2] == pytest.approx((1, 1 / 3))
    assert metrics.b_cubed(np.full(12, -1), truth) == (0, 0, 0)
    with pytest.raises(DataError, match="no recordings"):
        metrics.b_cubed(truth[:0], truth[:0])
