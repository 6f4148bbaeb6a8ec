"""Simulated errors of known truth: what the statistics say of them."""

import numpy as np
import pytest

from hive_mtl.evaluate.compare.statistics import (
    Figure,
    Rules,
    Stratum,
    compare,
    holm,
    least_favourable,
    verdict,
    with_corpora,
)

SPEAKERS, SEEDS, DRAWS = 100, 3, 250
RULES = Rules()


def drawn(speakers: int, seed: int = 0) -> np.ndarray:
    """How much each speaker counts ``(1 + DRAWS, speakers)``, as the endpoints draw them."""
    draws = np.random.default_rng(seed).multinomial(speakers - 1, [1 / speakers] * speakers, DRAWS)
    return np.vstack([np.ones(speakers), draws * speakers / (speakers - 1)])


SPEAKERS_DRAWN = drawn(SPEAKERS)


class Simulation:
    """Errors by speaker and seed: what is common to the arms, what is of an arm, of a training."""

    def __init__(self, seed: int, *, of_seed: float = 0.02, seeds: int = SEEDS) -> None:
        self.rng = np.random.default_rng(seed)
        self.of_speaker = self.rng.gamma(2.0, 0.05, SPEAKERS)
        self.of_seed, self.seeds = of_seed, seeds

    def arm(self, more: float = 0.0) -> Figure:
        """An arm whose true error is that of the speakers and ``more``."""
        noise = self.rng.normal(0, 0.05, (SPEAKERS, self.seeds))
        level = self.rng.normal(0, self.of_seed, self.seeds)
        errors = self.of_speaker[:, None] + more + noise + level
        return Figure.of_corpus(SPEAKERS_DRAWN @ errors / SPEAKERS, SPEAKERS)


def test_identical_arms_are_seldom_better() -> None:
    better = {"few": 0, "many": 0}
    for seed in range(200):
        for kind, spread in (("few", 0.0), ("many", 0.03)):  # what trainings differ by
            simulation = Simulation(seed, of_seed=spread)
            found = compare({"x": simulation.arm()}, {"x": simulation.arm()}, RULES)
            better[kind] += found["x"].verdict == "better"
    assert max(better.values()) <= 10  # 5% of 200


def test_with_two_seeds_identical_arms_are_seldom_better_too() -> None:
    better = 0
    for seed in range(200):
        simulation = Simulation(seed, of_seed=0.03, seeds=2)
        found = compare({"x": simulation.arm()}, {"x": simulation.arm()}, RULES)
        better += found["x"].verdict == "better"
    assert better <= 10


def test_a_family_of_identical_arms_is_seldom_better_anywhere() -> None:
    better = 0
    for seed in range(200):
        simulation = Simulation(seed)
        arms = [{str(task): simulation.arm() for task in range(5)} for _ in range(2)]
        better += any(each.verdict == "better" for each in compare(*arms, RULES).values())
    assert better <= 10


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    held = 0
    for seed in range(200):
        simulation = Simulation(seed, of_seed=0.02)
        estimate = compare({"x": simulation.arm(0.03)}, {"x": simulation.arm()}, RULES)[
            "x"
        ].estimate
        assert estimate is not None
        assert estimate.low is not None
        assert estimate.high is not None
        held += estimate.low <= 0.03 <= estimate.high
    assert 180 <= held <= 199


@pytest.mark.parametrize("sizes", [(5, 300), (14, 310, 5, 44)])
def test_a_mean_over_corpora_of_few_and_many_voices_is_as_sure_as_the_few(
    sizes: tuple[int, ...],
) -> None:
    """No training differs from another here: the intervals are those of the speakers alone."""
    draws = {count: drawn(count, seed=count) for count in sizes}
    held = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        values = {
            count: np.repeat(draws[count] @ rng.normal(0, 0.1, (count, 1)) / count, SEEDS, axis=1)
            for count in sizes
        }
        mean = np.mean(list(values.values()), axis=0)
        strata = tuple(Stratum(each[1:] / len(sizes), count) for count, each in values.items())
        rival = tuple(Stratum(np.zeros_like(each.values), each.speakers) for each in strata)
        found = compare(
            {"x": Figure.of(mean, strata)}, {"x": Figure.of(np.zeros_like(mean), rival)}, RULES
        )["x"].estimate
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0 <= found.high
    assert 0.92 * 300 <= held <= 0.99 * 300


def test_quarters_together_hold_the_truth_as_often_and_are_surer() -> None:
    """Quarters share neither speakers nor trainings, and each has errors of its own."""
    held, narrower, better = 0, 0, 0
    for seed in range(200):
        quarters = [Simulation(3 * seed + quarter, of_seed=0.02) for quarter in range(3)]
        arms = [[quarter.arm(more) for quarter in quarters] for more in (0.03, 0.0, 0.0)]
        alone = compare({"x": arms[0][0]}, {"x": arms[1][0]}, RULES)["x"].estimate
        arm, rival, same = map(Figure.together, arms)
        estimate = compare({"x": arm}, {"x": rival}, RULES)["x"].estimate
        better += compare({"x": same}, {"x": rival}, RULES)["x"].verdict == "better"
        assert estimate is not None
        assert estimate.low is not None
        assert estimate.high is not None
        assert alone is not None
        assert alone.low is not None
        assert alone.high is not None
        held += estimate.low <= 0.03 <= estimate.high
        narrower += estimate.high - estimate.low < alone.high - alone.low
    assert 182 <= held <= 198
    assert narrower >= 190
    assert better <= 10


def test_quarters_weigh_alike_and_one_without_a_figure_leaves_none() -> None:
    figures = [Figure.of_corpus(np.full((DRAWS + 1, SEEDS), of), 9) for of in (0.1, 0.4)]
    nothing = Figure.of_corpus(np.full((DRAWS + 1, SEEDS), np.nan), 9)
    both = Figure.together(figures)
    assert both.mean == pytest.approx(0.25)
    assert both.seeds == pytest.approx([0.1] * SEEDS + [0.4] * SEEDS)
    found = compare({"x": both}, {"x": Figure.together(figures[::-1])}, RULES)["x"]
    assert found.estimate is not None
    assert found.estimate.value == pytest.approx(0.0)
    lacking = Figure.together([figures[0], nothing])
    assert lacking.mean is None
    assert compare({"x": lacking}, {"x": lacking}, RULES)["x"].verdict == "undecided"


def test_two_perfect_arms_are_not_worse() -> None:
    perfect = Figure.of_corpus(np.zeros((DRAWS + 1, SEEDS)), SPEAKERS)
    found = compare({"x": perfect}, {"x": perfect}, RULES)["x"]
    assert (found.p, found.verdict) == (1.0, "not worse")


def test_an_arm_whose_labels_were_shuffled_is_worse() -> None:
    """Its answers are as good as chance, where the rival is right nine times in ten."""
    for seed in range(20):
        simulation = Simulation(seed)
        truth = simulation.rng.integers(2, size=(SPEAKERS, 1))
        right = np.where(simulation.rng.random((SPEAKERS, SEEDS)) < 0.9, truth, 1 - truth)
        shuffled = simulation.rng.permutation(right)
        errors = [
            Figure.of_corpus(SPEAKERS_DRAWN @ (said != truth) / SPEAKERS, SPEAKERS)
            for said in (shuffled, right)
        ]
        found = compare({"gender": errors[0]}, {"gender": errors[1]}, RULES)["gender"]
        assert found.verdict == "worse"
        assert found.relative is not None
        assert found.relative.value > 1


def test_a_better_arm_is_found_and_an_equal_one_is_not_worse() -> None:
    simulation = Simulation(1, of_seed=0.002)
    rival = simulation.arm()
    arms = {"better": simulation.arm(-0.05), "equal": simulation.arm()}
    found = compare(arms, dict.fromkeys(arms, rival), Rules(margin=0.5))
    assert {name: each.verdict for name, each in found.items()} == {
        "better": "better",
        "equal": "not worse",
    }


def test_the_very_same_figures_are_not_worse() -> None:
    (same,) = Simulation(1, of_seed=0.0).arm().samples
    same = Figure.of_corpus(np.repeat(same.values[:, :1], SEEDS, axis=1), SPEAKERS)
    found = compare({"x": same}, {"x": same}, RULES)["x"]
    assert found.verdict == "not worse"
    assert found.p == 1.0
    assert found.estimate is not None
    assert (found.estimate.value, found.estimate.low, found.estimate.high) == (0.0, 0.0, 0.0)


def test_what_is_not_defined_is_undecided() -> None:
    nothing = Figure.of_corpus(np.full((DRAWS + 1, SEEDS), np.nan), SPEAKERS)
    found = compare({"x": nothing}, {"x": Simulation(1).arm()}, RULES)["x"]
    assert (found.estimate, found.relative, found.verdict) == (None, None, "undecided")


def test_a_single_training_decides_nothing() -> None:
    rival, arm = (Simulation(1, seeds=1).arm(more) for more in (0.0, 0.5))
    found = compare({"x": arm}, {"x": rival}, RULES)["x"]
    assert found.estimate is not None
    assert found.estimate.value == pytest.approx(0.5, abs=0.1)
    assert (found.estimate.low, found.verdict) == (None, "undecided")


def test_a_single_speaker_has_no_interval() -> None:
    alone = Figure.of_corpus(np.full((DRAWS + 1, SEEDS), 0.5), 1)
    found = compare({"x": alone}, {"x": alone}, RULES)["x"]
    assert found.estimate is not None
    assert found.estimate.low is None
    assert found.verdict == "undecided"


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # Holm, 1979, by hand
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02, 0.02], [0.04, 0.04]),
    ],
)
def test_holm(p: list[float], adjusted: list[float]) -> None:
    assert holm(p) == pytest.approx(adjusted)


@pytest.mark.parametrize(
    ("difference", "p", "p_margin", "said"),
    [
        (-0.1, 0.01, 0.001, "better"),
        (-0.1, 0.20, 0.001, "not worse"),
        (+0.1, 0.01, 0.001, "not worse"),  # sure, but smaller than what matters
        (+0.1, 0.01, 0.900, "worse"),
        (+0.1, 0.20, 0.300, "undecided"),
        (None, 1.00, 1.000, "undecided"),
    ],
)
def test_verdicts(difference: float | None, p: float, p_margin: float, said: str) -> None:
    assert verdict(difference, p, p_margin, level=0.05) == said


def test_nothing_good_is_said_while_a_corpus_is_worse() -> None:
    simulation = Simulation(3, of_seed=0.001)
    corpora = compare({"phone": simulation.arm(0.3)}, {"phone": simulation.arm()}, RULES)
    assert corpora["phone"].verdict == "worse"
    assert with_corpora("better", corpora) == "undecided"
    assert with_corpora("worse", corpora) == "worse"
    assert with_corpora("better", {}) == "better"


def test_what_holds_against_every_rival() -> None:
    assert least_favourable(["better", "not worse"]) == "not worse"
    assert least_favourable(["better", "worse", "undecided"]) == "worse"
    assert least_favourable([]) == "undecided"
