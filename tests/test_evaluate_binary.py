"""What bits cost, judged at the trials of float32."""

from types import SimpleNamespace

import numpy as np
import pytest

from hive_mtl import metrics
from hive_mtl.evaluate import judge_binary
from hive_mtl.evaluate.binary import ALL_CORPORA
from hive_mtl.evaluate.embedded import embed_table
from hive_mtl.trials import all_pairs
from hive_mtl.use.binary import binarise, signs
from hive_mtl.use.normalising import adaptive_s_norm, cohort_level
from test_binary import differing
from test_evaluate import KnownModel, table

DIM, SPEAKERS, EACH = 24, 8, 5


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def vectors():
    generator = np.random.default_rng(0)
    voices = generator.standard_normal((SPEAKERS, 1, DIM))
    return unit(voices + 1.2 * generator.standard_normal((SPEAKERS, EACH, DIM))).reshape(-1, DIM)


def judged(vectors, cohort=None, corpora=None, leading=None):
    model = KnownModel(vectors)
    dim = len(vectors[1])
    model.description = model.description.model_copy(update={"embedding_dim": dim})
    model.cohort = cohort
    model.calibration = None if cohort is None else SimpleNamespace(normalised=True)
    speakers = "".join(letter * EACH for letter in "abcdefgh")
    embedded = embed_table(model, table(speakers, **(corpora or {})))
    return judge_binary(embedded, leading, bootstrap=20)


def of(found, form, corpus="corpus"):
    return next(row for row in found if (row.corpus, row.form) == (corpus, form))


def test_bits_are_judged_by_their_distance(vectors):
    found = judged(vectors)
    pairs = all_pairs([str(row // EACH) for row in range(len(vectors))])
    codes = binarise(vectors, 512)
    distance = differing(codes[pairs.left], codes[pairs.right])
    plain = metrics.eer(
        np.einsum("nd,nd->n", vectors[pairs.left], vectors[pairs.right]), pairs.target
    )
    row = of(found, "512 bits")
    assert row.eer.value == pytest.approx(metrics.eer(-distance.astype(float), pairs.target))
    assert of(found, "float32").eer.value == pytest.approx(plain)
    assert row.eer_more.value == pytest.approx(row.eer.value - plain)
    assert row.top1_more.value == pytest.approx(row.top1.value - of(found, "float32").top1.value)
    assert (row.size, of(found, "float32").size, row.speakers) == (64, 4 * DIM, SPEAKERS)
    assert row.eer.low <= row.eer.value <= row.eer.high
    own = of(found, "float32").eer_more
    assert (own.value, own.low, own.high) == (0, 0, 0)
    # no number leads, so fewer are not worth keeping
    assert {row.form for row in found} == {
        "float32",
        *(
            f"{bits} bits{against}"
            for bits in (256, 512, 1024)
            for against in ("", " against float32")
        ),
    }


def test_normalised_scores_have_a_cohort_in_the_same_form(vectors):
    cohort = unit(np.random.default_rng(1).standard_normal((30, DIM)))
    found = judged(vectors, cohort)
    pairs = all_pairs([str(row // EACH) for row in range(len(vectors))])
    codes, of_cohort = binarise(vectors, 512), binarise(cohort, 512)
    likeness = 1 - differing(codes[:, None], codes[None]) / 256
    level = cohort_level(signs(codes), signs(of_cohort)) / 512
    scores = adaptive_s_norm(
        likeness[pairs.left, pairs.right], level[pairs.left], level[pairs.right]
    )
    assert of(found, "512 bits").eer.value == pytest.approx(metrics.eer(scores, pairs.target))


def test_where_numbers_lead_bits_are_of_those_and_so_are_fewer_numbers(vectors):
    vectors = unit(vectors * ([1] * 8 + [0.3] * (DIM - 8)))
    alone = judged(unit(vectors[:, :8]))
    found = judged(vectors, leading=8)
    assert of(found, "512 bits").eer.value == of(alone, "512 bits").eer.value
    numbers = of(found, "first 8 numbers in float32")
    assert numbers.eer.value == of(alone, "float32").eer.value
    assert numbers.size == of(found, "256 bits").size


def test_the_mean_is_over_corpora_of_five_voices(vectors):
    names = ["x"] * 5 * EACH + ["y"] * 3 * EACH
    found = judged(vectors, corpora={"corpus": names})
    assert {row.corpus for row in found} == {"x", "y"}
    twice = np.concatenate([vectors[: 6 * EACH], vectors[: 6 * EACH]])
    model = KnownModel(twice)
    model.description = model.description.model_copy(update={"embedding_dim": DIM})
    rows = table("".join(s * EACH for s in "abcdef") * 2, corpus=["x"] * 30 + ["y"] * 30)
    found = judge_binary(embed_table(model, rows), bootstrap=20)
    assert of(found, "256 bits", ALL_CORPORA).eer.value == of(found, "256 bits", "x").eer.value
    assert of(found, "256 bits", ALL_CORPORA).speakers == 12


def test_what_is_missing_is_an_error_in_every_form(vectors):
    whole, partial = judged(vectors), judged([None, *vectors[1:]])
    for form in ("float32", "512 bits", "512 bits against float32"):
        assert of(partial, form).eer.value > of(whole, form).eer.value - 0.02
        assert of(partial, form).top1.value < of(whole, form).top1.value


def test_a_corpus_of_one_voice_is_left_out(vectors):
    model = KnownModel(vectors[:3])
    model.description = model.description.model_copy(update={"embedding_dim": DIM})
    assert judge_binary(embed_table(model, table("aaa")), bootstrap=5) == ()
