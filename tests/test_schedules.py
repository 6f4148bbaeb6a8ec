import pytest

from hive_mtl.learn.schedules import Plateau, warm_up_and_cosine

QUICK = Plateau(patience=2, stop_after=4, stop_gain=0.01)


@pytest.mark.parametrize(
    ("watched", "rate"),
    [
        ([], 1e-3),
        ([0.1, 0.2, 0.3], 1e-3),
        ([0.3, 0.2], 1e-3),
        ([0.3, 0.2, 0.3], 5e-4),  # two validations without a gain
        ([0.3, 0.2, 0.3, 0.3], 5e-4),  # and the count begins anew
        ([0.3, 0.2, 0.3, 0.3, 0.3], 2.5e-4),
        ([0.3] * 20, 1e-4),  # no lower
    ],
)
def test_the_rate_falls_where_nothing_is_gained(watched: list[float], rate: float) -> None:
    assert QUICK.rate(1e-3, watched) == pytest.approx(rate)


def test_a_rate_below_the_lowest_stays() -> None:
    assert QUICK.rate(1e-5, [0.3] * 20) == 1e-5


def test_a_run_is_over_after_too_little_gain() -> None:
    rising = [0.1, 0.2, 0.3]
    assert not QUICK.is_over(rising)
    assert not QUICK.is_over([*rising, 0.3, 0.3, 0.3])
    assert QUICK.is_over([*rising, 0.301, 0.302, 0.303, 0.304])  # gains, but too small ones
    assert not QUICK.is_over([*rising, 0.3, 0.3, 0.3, 0.32])


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [warm_up_and_cosine(step, 100, 0.1) for step in range(1, 101)]
    assert max(rates) == rates[9] == 1.0
    assert rates[:10] == sorted(rates[:10])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] == pytest.approx(0.0)
    assert warm_up_and_cosine(1, 1, 0.05) == 1.0
