"""Open-set identification: probabilities, the decision, and what N voices do to it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hive_mtl as hive
from enrolled import unit
from hive_mtl.errors import ConfigError
from hive_mtl.use.comparing import compare
from hive_mtl.use.identify import SCORED, Inquiry, decide
from hive_mtl.use.scoring import Voice
from hive_mtl.use.stores import Nearest, Neighbour
from tiny_model import CALIBRATION, DIM, save_tiny_model
from voices import RATE, voice


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> hive.Model:
    return hive.load(save_tiny_model(tmp_path_factory.mktemp("model") / "model.onnx"))


def heard(*seed: int, like: np.ndarray | None = None, share: float = 0.0) -> Voice:
    """A made-up voice; ``share`` of it is ``like``."""
    vector = unit(*seed, dim=DIM)
    if like is not None:
        vector = share * like + (1 - share) * vector
        vector = (vector / np.linalg.norm(vector)).astype(np.float32)
    return Voice(vector, 5.0, 20.0)


def among(*voices: Voice, enrolled: int | None = None) -> Nearest:
    neighbours = tuple(Neighbour(f"v{place}", each) for place, each in enumerate(voices))
    return Nearest(enrolled or len(neighbours), neighbours)


@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, SCORED),
    prior=st.floats(0.001, 0.999),
    k=st.integers(1, SCORED),
)
def test_candidates_and_unknown_are_a_distribution(model, seed, count, prior, k) -> None:
    """How many are listed changes nothing about any of them."""
    near = among(*(heard(seed, place) for place in range(count)))
    found = decide(model, heard(seed, 999), near, Inquiry(k=k, prior=prior))
    probabilities = [each.probability for each in found.candidates]
    whole = decide(model, heard(seed, 999), near, Inquiry(k=SCORED, prior=prior))
    everyone = [each.probability for each in whole.candidates]
    assert sum(everyone) + whole.unknown == pytest.approx(1)
    assert probabilities == everyone[:k]
    assert probabilities == sorted(probabilities, reverse=True)
    assert len(found.candidates) == min(k, count)
    assert found.enrolled == count


def test_one_voice_is_verification(model) -> None:
    asked, kept = heard(1), heard(2, like=heard(1).vector, share=0.5)
    found = decide(model, asked, among(kept), Inquiry(prior=0.3))
    llr = float(compare(model, [asked], [kept]).llr[0])
    odds = math.exp(llr) * 0.3 / 0.7
    assert found.candidates[0].probability == pytest.approx(odds / (1 + odds))
    assert found.candidates[0].threshold == pytest.approx(
        (CALIBRATION.thresholds["0.01"] + 5.0) / 10.0
    )
    assert found.known == (found.candidates[0].score >= found.candidates[0].threshold)


def test_a_voice_that_is_there_is_known_and_a_stranger_is_not(model) -> None:
    enrolled = [heard(place) for place in range(20)]
    mine = decide(model, heard(99, like=enrolled[7].vector, share=0.9), among(*enrolled), Inquiry())
    assert (mine.name, mine.known) == ("v7", True)
    assert mine.candidates[0].probability > 0.5
    opposite = Voice(-np.mean([each.vector for each in enrolled], axis=0) * 3, 5.0, 20.0)
    stranger = decide(model, opposite, among(*enrolled), Inquiry())
    assert (stranger.name, stranger.known) == (None, False)
    assert stranger.unknown > 0.9


def test_nobody_enrolled_is_unknown(model) -> None:
    found = decide(model, heard(1), Nearest(0, ()), Inquiry())
    assert (found.name, found.candidates, found.unknown) == (None, (), 1.0)


def test_the_prior_moves_the_probabilities_and_not_the_decision(model) -> None:
    near = among(heard(1, like=heard(0).vector, share=0.6), heard(2))
    rare, common = (decide(model, heard(0), near, Inquiry(prior=prior)) for prior in (0.01, 0.9))
    assert rare.unknown > common.unknown
    assert rare.name == common.name
    assert rare.candidates[0].threshold == common.candidates[0].threshold


def test_more_enrolled_voices_ask_for_more(model) -> None:
    kept = heard(1, like=heard(0).vector, share=0.6)
    few, many = (
        decide(model, heard(0), among(kept, enrolled=count), Inquiry()) for count in (1, 10_000)
    )
    assert many.candidates[0].threshold > few.candidates[0].threshold
    assert many.candidates[0].probability < few.candidates[0].probability


def test_the_likeliest_scores_highest_whoever_else_is_enrolled(model) -> None:
    """Even among twelve who all sound much like the one heard."""
    near = among(*(heard(place, like=heard(99).vector, share=0.8) for place in range(12)))
    found = decide(model, heard(99), near, Inquiry(k=12))
    scores = [each.score for each in found.candidates]
    assert scores == sorted(scores, reverse=True)
    probabilities = [each.probability for each in found.candidates]
    assert probabilities == sorted(probabilities, reverse=True)


def test_where_strangers_are_alike_more_is_asked_of_the_best(model) -> None:
    mine = heard(1, like=heard(0).vector, share=0.6)
    alike = [heard(place, like=heard(0).vector, share=0.4) for place in range(2, 22)]
    apart = [Voice(-each.vector, 5.0, 20.0) for each in alike]
    close, far = (
        decide(model, heard(0), among(mine, *group), Inquiry()) for group in (alike, apart)
    )
    assert close.candidates[0].threshold > far.candidates[0].threshold
    assert close.unknown > far.unknown


@pytest.mark.parametrize(
    "wrong",
    [{"k": 0}, {"k": 51}, {"false_alarm": 0.0}, {"false_alarm": 1.0}, {"prior": 0.0}, {"prior": 1}],
)
def test_what_cannot_be_asked_is_refused(wrong) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Inquiry(**wrong)


@pytest.mark.parametrize("shipped", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_many_pairs_are_read_as_verify_reads_one(model, shipped) -> None:
    model = hive.load() if shipped else model
    sources = [(voice(3, seed=seed), RATE) for seed in range(3)]
    sides = [Voice(e.vector, e.speech_seconds, e.snr_db) for e in model.embed_many(sources)]
    found = compare(model, [sides[0]] * 2, sides[1:])
    needed = found.needed(model.calibration.thresholds["0.01"])
    for place, other in enumerate(sources[1:]):
        verdict = model.verify(sources[0], other)
        probability = 1 / (1 + math.exp(-found.llr[place]))
        assert verdict.score == pytest.approx(found.cosine[place], abs=1e-4)
        assert verdict.threshold == pytest.approx(needed[place], abs=1e-4)
        assert verdict.probability == pytest.approx(probability, abs=1e-3)
