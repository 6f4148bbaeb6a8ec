"""Recordings made worse, the figures that are left, and the groups of voices that means hide."""

import shutil
from itertools import islice, pairwise

import numpy as np
import pyarrow as pa
import pytest
import soundfile

import hive_mtl as hive
from hive_mtl.audio import Segment, load, trim_silence
from hive_mtl.errors import ConfigError, EmbeddingError
from hive_mtl.evaluate import embed_degraded, evaluate, judge_conditions
from hive_mtl.evaluate.conditions import Condition
from hive_mtl.evaluate.degrade import (
    DEGRADATIONS,
    Surroundings,
    babble,
    mixed,
    mu_law,
    pink_noise,
)
from hive_mtl.evaluate.groups import age_groups
from hive_mtl.learn import corpora
from hive_mtl.learn.utterances import conform
from learning import write_corpus
from tiny_model import save_tiny_model
from voices import RATE, voice


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Six voices of two recordings, at least 2.2 s long; gender and age are labelled."""
    path = write_corpus(tmp_path_factory.mktemp("corpus"), training=6, validation=0)
    return corpora.read(str(path))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return hive.load(save_tiny_model(tmp_path_factory.mktemp("model") / "model.onnx"), threads=1)


def changed(wave, name, seed=0, voices=()):
    return DEGRADATIONS[name](wave, Surroundings(seed, voices))


def test_a_crop_is_the_middle_of_the_speech():
    wave = np.concatenate([np.zeros(2 * RATE, np.float32), voice(5.0), np.zeros(RATE, np.float32)])
    speech = trim_silence(wave)
    for name, seconds in (("1s", 1), ("2s", 2), ("4s", 4)):
        cropped = changed(wave, name)
        assert len(cropped) == seconds * RATE
        start = (len(speech) - len(cropped)) // 2
        np.testing.assert_array_equal(cropped, speech[start : start + len(cropped)])
    np.testing.assert_array_equal(changed(voice(0.5), "1s"), trim_silence(voice(0.5)))
    assert changed(wave, "full") is wave


@pytest.mark.parametrize("snr_db", [20, 10, 5, 0])
@pytest.mark.parametrize("seed", [6, 7])
def test_noise_has_the_level_of_its_name_and_depends_on_the_seed_alone(snr_db, seed):
    wave, others = voice(2.0), [voice(1.5, seed) for seed in range(3)]
    name = f"noise {snr_db} dB"
    noise = changed(wave, name, seed, others) - trim_silence(wave)
    ratio = np.mean(trim_silence(wave).astype(float) ** 2) / np.mean(noise.astype(float) ** 2)
    assert 10 * np.log10(ratio) == pytest.approx(snr_db, abs=0.01)
    again = changed(wave, name, seed, others) - trim_silence(wave)
    np.testing.assert_array_equal(noise, again)
    assert not np.array_equal(noise, changed(wave, name, seed + 2, others) - trim_silence(wave))


def test_every_other_seed_has_babble_and_without_voices_there_is_none():
    wave, others = voice(1.0), [voice(1.5, seed) for seed in range(3)]
    alone = [changed(wave, "noise 5 dB", seed) for seed in (6, 7)]
    among = [changed(wave, "noise 5 dB", seed, others) for seed in (6, 7)]
    np.testing.assert_array_equal(alone[0], among[0])
    assert not np.array_equal(alone[1], among[1])


def test_pink_noise_falls_by_three_decibels_an_octave():
    power = np.abs(np.fft.rfft(pink_noise(2**16, np.random.default_rng(0)))) ** 2
    octaves = [power[2**k : 2 ** (k + 1)].mean() for k in range(8, 15)]
    falls = -10 * np.log10(np.array(octaves[1:]) / octaves[:-1])
    assert falls == pytest.approx(3.0, abs=0.7)


def test_babble_is_made_of_all_its_voices_at_one_level():
    loud, faint = 10 * voice(1.0, 1), 0.01 * voice(1.0, 2)
    heard = babble(3 * RATE, [loud, faint], np.random.default_rng(0))
    assert heard.shape == (3 * RATE,)
    assert np.std(heard) == pytest.approx(np.sqrt(2), rel=0.3)


def test_the_telephone_leaves_a_band():
    noise = np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32) * 0.1
    noise[: RATE // 2] = noise[-RATE // 2 :] = 0
    power = np.abs(np.fft.rfft(changed(noise, "telephone"))) ** 2
    hertz = np.fft.rfftfreq(len(changed(noise, "telephone")), 1 / RATE)
    middle = power[(hertz > 500) & (hertz < 3000)].mean()
    assert power[hertz > 4200].mean() < 1e-2 * middle
    assert power[hertz < 60].mean() < 0.1 * middle


def test_mu_law_keeps_loud_and_faint_alike():
    wave = voice(0.5)
    for scale in (1.0, 1e-3):
        coded = mu_law(wave * np.float32(scale))
        noise = coded - wave * np.float32(scale)
        assert 25 < 20 * np.log10(np.std(wave * scale) / np.std(noise)) < 45
    assert not mu_law(np.zeros(100, np.float32)).any()


@pytest.mark.parametrize("snr_db", [0.0, 15.0])
def test_mixing_is_at_the_ratio_asked_for(snr_db):
    wave, noise = voice(1.0), np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    added = mixed(wave, noise, snr_db) - wave
    ratio = np.mean(wave.astype(float) ** 2) / np.mean(added.astype(float) ** 2)
    assert 10 * np.log10(ratio) == pytest.approx(snr_db, abs=0.01)
    np.testing.assert_array_equal(mixed(wave, np.zeros_like(wave), snr_db), wave)


@pytest.mark.parametrize("name", DEGRADATIONS)
@pytest.mark.parametrize("wave", [np.zeros(RATE, np.float32), voice(0.03)], ids=["silent", "short"])
def test_nothing_breaks_a_degradation(name, wave):
    before = wave.copy()
    for seed in (0, 1):
        degraded = changed(wave, name, seed, [voice(1.0)])
        assert degraded.dtype == np.float32
        assert np.isfinite(degraded).all()
    np.testing.assert_array_equal(wave, before)


def test_any_embedder_hears_the_same_and_failures_keep_their_places(table, tmp_path):
    rows = table.to_pylist()
    (tmp_path / "text.wav").write_text("hello")
    for place in (0, 5, 5, len(rows) + 3):
        rows.insert(place, {**rows[0], "path": str(tmp_path / "text.wav"), "speaker": "nobody"})
    mixed = conform(pa.Table.from_pylist(rows).select(["path", "speaker", "corpus"]))

    def one_by_one(waves):
        for wave, rate in waves:
            assert rate == RATE
            yield wave

    def ahead(waves):
        while group := list(islice(waves, 4)):
            yield from (wave for wave, _ in group)

    for name in ("2s", "noise 0 dB"):
        first, second = (list(embed_degraded(each, mixed, name)) for each in (one_by_one, ahead))
        assert len(first) == len(second) == len(rows)
        for row, one, other in zip(rows, first, second, strict=True):
            if row["speaker"] == "nobody":
                assert isinstance(one, EmbeddingError)
                assert one.source == row["path"]
                assert isinstance(other, EmbeddingError)
            else:
                np.testing.assert_array_equal(one, other)


def test_the_noise_is_the_same_wherever_the_recordings_lie(table, tmp_path):
    moved = tmp_path / "elsewhere" / table["path"][0].as_py().split("/")[-2]
    shutil.copytree(table["path"][0].as_py().rpartition("/")[0], moved)
    there = corpora.read(str(moved / "utterances.csv"))
    reversed_there = there.take(list(range(len(there)))[::-1])

    def listen(waves):
        return (wave for wave, _ in waves)

    here = list(embed_degraded(listen, table, "noise 5 dB"))
    elsewhere = list(embed_degraded(listen, reversed_there, "noise 5 dB"))[::-1]
    for one, other in zip(here, elsewhere, strict=True):
        np.testing.assert_array_equal(one, other)
    assert any(not np.array_equal(a, b) for a, b in pairwise(here))


def test_an_unknown_degradation_names_those_there_are(table):
    with pytest.raises(ConfigError, match=r"'3s': choose from full, 1s, .*telephone"):
        embed_degraded(lambda waves: waves, table, "3s")


def test_conditions_are_judged_over_the_same_trials(model, table):
    found = judge_conditions(model, table, bootstrap=10)
    assert [row.name for row in found] == list(DEGRADATIONS)
    by_name = {row.name: row for row in found}
    plain = evaluate(model, table, bootstrap=10)
    assert by_name["full"].eer == plain.verification[0].eer
    attributes = [row for row in plain.attributes if row.corpus == "tiny"]
    assert list(by_name["full"].attributes) == attributes
    for row in found:
        assert (row.corpus, row.utterances, row.embedded) == ("tiny", 12, 12)
        assert row.eer is not None
        assert [each.task for each in row.attributes] == ["gender", "age"]
    shorter = [len(trim_silence(load(Segment(p)))) < 4 * RATE for p in table["path"].to_pylist()]
    assert by_name["4s"].untouched == sum(shorter) == 12
    assert by_name["1s"].untouched == by_name["telephone"].untouched == 0
    assert by_name["full"].answerable == 12
    assert by_name["1s"].answerable <= by_name["2s"].answerable


def test_a_recording_that_cannot_be_read_is_an_error_under_every_condition(model, table, tmp_path):
    (tmp_path / "text.wav").write_text("hello")
    rows = [*table.to_pylist(), {**table.to_pylist()[0], "path": str(tmp_path / "text.wav")}]
    broken = conform(pa.Table.from_pylist(rows))
    whole, partial = (judge_conditions(model, each, bootstrap=10) for each in (table, broken))
    for one, other in zip(whole, partial, strict=True):
        assert (other.utterances, other.embedded) == (one.utterances + 1, one.embedded)
        assert other.eer.value >= one.eer.value
    assert isinstance(partial[0], Condition)


def test_age_groups_are_those_that_hold_the_whole_label():
    labels = [
        None,
        (4.0, 5.0),
        (10.0, 20.0),
        (15.0, 16.0),
        (16.0, 17.0),
        (60.0, 100.0),
        (50.0, 60.0),
    ]
    assert age_groups(labels) == [
        *(None, "under 16", None, "under 16", "16 to 59", "60 and over", "16 to 59")
    ]
    assert age_groups([]) == []


def test_groups_are_verified_apart_and_need_five_voices(model, tmp_path):
    rows = []
    for number in range(8):
        for take in range(2):
            path = tmp_path / f"{number}-{take}.wav"
            soundfile.write(path, voice(2.5, number), RATE)
            gender, age = ("female", "30") if number < 5 else ("male", "61")
            rows.append({"path": str(path), "speaker": str(number), "gender": gender, "age": age})
    report = evaluate(model, conform(pa.Table.from_pylist(rows), corpus="x"), bootstrap=10)
    found = {row.scope: row for row in report.groups}
    assert list(found) == ["female", "male", "16 to 59", "60 and over"]
    assert (found["female"].speakers, found["female"].targets) == (5, 5)
    assert found["female"].nontargets == 40
    assert found["female"].eer is not None
    assert found["male"].speakers == 3
    assert found["male"].eer is None
    assert "| x | male | 3 / 6 | 3 / 12 | n/a | n/a |" in report.markdown()
    assert all(row.curve is None for row in report.groups)
