import multiprocessing
import operator
import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_mtl.errors import ConfigError, DataError
from hive_mtl.learn import corpora
from hive_mtl.learn.augment import AugmentConfig
from hive_mtl.learn.backbones import parse_config
from hive_mtl.learn.batches import (
    CROP_LENGTHS,
    SHORTEST_CROP,
    Batch,
    Batches,
)
from hive_mtl.learn.front_ends.log_mel import FrontEnd
from hive_mtl.learn.kept import Waves
from hive_mtl.learn.losses._base import ABSENT
from hive_mtl.learn.model import UnifiedModel
from hive_mtl.learn.prepare import Prepared, prepare
from hive_mtl.learn.sampler import BatchConfig, BatchSampler
from hive_mtl.learn.tasks import Task, get_task
from hive_mtl.learn.utterances import training_utterances
from learning import CORPUS, TRUNK, speaker_names, utterances, write_corpus
from voices import RATE, voice

MELS = 24
NOTHING = AugmentConfig()
MASKED = AugmentConfig(coloured_noise=0.5, frequency_masks=1, time_masks=1)
EVERYTHING = {
    **dict.fromkeys(("coloured_noise", "equaliser", "babble", "telephone", "codec"), 0.5),
    **dict.fromkeys(("noise", "reverberation"), 0.5),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("corpus")
    table = corpora.read(str(write_corpus(folder, training=6, validation=2, seconds=1.2)))
    return prepare(training_utterances(table), folder / "cache")


def fit(prepared: Prepared, *names: str, **speaker: object) -> list[Task]:
    tasks = [get_task(name) for name in names]
    for task in tasks:
        config = task.Config(**(speaker if task.name == "speaker" else {"min_speakers": 1}))
        task.fit(task.labels_of(prepared.table), prepared.table["speaker"].to_pylist(), config)
    return tasks


def make(
    prepared: Prepared,
    tasks: list[Task],
    augment: AugmentConfig = NOTHING,
    seed: int = 0,
    **config: object,
) -> Batches:
    settled = BatchConfig(**{"size": 8, "crop_s": (0.5, 0.5), **config})
    return Batches(prepared, tasks, settled, augment, FrontEnd(MELS), seed)


def assert_same(first: Batch, second: Batch) -> None:
    assert torch.equal(first.changed().inputs, second.changed().inputs)
    assert torch.equal(first.lengths, second.lengths)
    assert torch.equal(first.keep, second.keep)
    assert torch.equal(first.rows, second.rows)
    for name, target in first.targets.items():
        torch.testing.assert_close(target, second.targets[name], equal_nan=True)


class TestBatches:
    def test_shapes_and_kinds(self, prepared: Prepared) -> None:
        batch = make(prepared, fit(prepared, "speaker", "gender", "age"), MASKED)[0]
        assert batch.inputs.shape == (8, RATE // 2)
        assert batch.inputs.dtype == torch.float32
        assert batch.lengths.dtype == torch.int64
        assert batch.keep.shape == (8, MELS, 48)
        assert batch.targets["speaker"].dtype == torch.int64
        assert batch.targets["age"].dtype == torch.float32
        assert len(batch.rows) == 8
        assert_same(batch, batch.to(torch.device("cpu")))

    def test_a_batch_is_a_function_of_seed_and_number(self, prepared: Prepared) -> None:
        tasks = fit(prepared, "speaker", "gender", "age", speeds=(1.0, 0.9))
        batches, again = (make(prepared, tasks, MASKED) for _ in range(2))
        for number in (3, 0, 7):
            assert_same(batches[number], again[number])
        assert not torch.equal(batches[0].inputs, batches[1].inputs)
        assert not torch.equal(batches[0].inputs, make(prepared, tasks, MASKED, seed=1)[0].inputs)

    def test_another_process_makes_the_same_batch_and_changes_it_in_the_same_way(
        self, prepared: Prepared, tmp_path: Path
    ) -> None:
        soundfile.write(tmp_path / "sound.wav", voice(2.0) / 4, RATE)
        augment = AugmentConfig(**EVERYTHING, noises=tmp_path, rooms=tmp_path)
        batches = make(prepared, fit(prepared, "speaker", speeds=(1.0, 0.9, 1.1)), augment)
        expected = batches[3]
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert_same(pool.apply(operator.getitem, (batches, 3)), expected)
            assert_same(pool.apply(changed, (batches, 3)), expected)
        heard = expected.changed()
        assert heard.changes is None
        assert heard.inputs.shape == (8, RATE // 2)
        assert torch.isfinite(heard.inputs).all()
        assert not torch.equal(heard.inputs, expected.inputs[:, : RATE // 2])

    def test_what_another_process_is_given_holds_no_table(self, prepared: Prepared) -> None:
        texts = pa.array([f"{row} is a long text, " * 1000 for row in range(len(prepared))])
        told = replace(prepared, table=prepared.table.append_column("text", texts))
        batches, plain = (make(which, fit(which, "speaker")) for which in (told, prepared))
        assert len(pickle.dumps(batches)) < len(pickle.dumps(plain)) + 1000
        assert_same(batches[3], plain[3])

    def test_without_changes_the_crops_are_heard_as_they_are(self, prepared: Prepared) -> None:
        batch = make(prepared, fit(prepared, "speaker"))[0]
        assert torch.equal(batch.changed().inputs, batch.inputs)

    def test_a_listed_crop_is_as_long_as_it_is_played(self, prepared: Prepared) -> None:
        (speaker,) = tasks = fit(prepared, "speaker", speeds=(1.0, 0.5, 2.0))
        batches = make(prepared, tasks, MASKED, counts_per_speaker=(4, 0), crop_s=(2.0, 2.0))
        batch = batches[0]
        speeds = np.array(speaker.speeds)[batch.targets["speaker"] // len(speaker.classes)]
        whole = prepared.lengths[batch.rows] / speeds
        assert batch.lengths.tolist() == np.minimum(np.rint(whole), 2 * RATE).tolist()
        assert len(set(batch.lengths.tolist())) > 2
        assert batch.changed().inputs.shape == (8, 2 * RATE)

    def test_a_crop_is_a_stretch_of_its_utterance(self, prepared: Prepared) -> None:
        batch = make(prepared, fit(prepared, "speaker"))[0]
        for wave, length, row in zip(batch.inputs, batch.lengths, batch.rows, strict=True):
            whole = prepared.read(int(row))
            crop = wave[:length].numpy()
            starts = np.flatnonzero(whole[: len(whole) - len(crop) + 1] == crop[0])
            assert any(np.array_equal(whole[s : s + len(crop)], crop) for s in starts)

    def test_a_short_recording_is_said_again_and_again(self, prepared: Prepared) -> None:
        batch = make(prepared, fit(prepared, "speaker"), crop_s=(4.0, 4.0))[0]
        assert (batch.lengths == 4 * RATE).all()
        for wave, row in zip(batch.inputs, batch.rows, strict=True):
            np.testing.assert_array_equal(wave, np.resize(prepared.read(int(row)), 4 * RATE))

    def test_a_tiny_recording_is_long_enough_for_the_network(self, prepared: Prepared) -> None:
        tiny = Prepared(
            **{
                **{name: getattr(prepared, name) for name in prepared.__dataclass_fields__},
                "lengths": np.full(len(prepared), 5),
            }
        )
        batch = make(tiny, fit(prepared, "speaker"), counts_per_speaker=(2, 0))[0]
        assert (batch.lengths == SHORTEST_CROP).all()

    def test_one_length_a_batch_within_the_limits(self, prepared: Prepared) -> None:
        batches = make(prepared, fit(prepared, "speaker"), crop_s=(0.3, 0.9), size=2)
        lengths = {batches[number].inputs.shape[1] for number in range(60)}
        assert len(lengths) == CROP_LENGTHS
        assert (min(lengths), max(lengths)) == (0.3 * RATE, 0.9 * RATE)
        (tasks, odd) = fit(prepared, "speaker"), (0.45, 0.45)
        assert make(prepared, tasks, crop_s=odd)[0].inputs.shape[1] == 0.45 * RATE  # not 0.4

    def test_every_row_carries_all_labels_that_it_has(self, prepared: Prepared) -> None:
        tasks = fit(prepared, "speaker", "gender", "mood")
        batch = make(prepared, tasks)[0]
        table = prepared.table.take(batch.rows.numpy())
        for task in tasks[1:]:
            expected = task.encode(task.labels(table[task.name].to_pylist()))
            assert batch.targets[task.name].tolist() == expected.tolist()
        voices = [f"{CORPUS}/{name}" for name in table["speaker"].to_pylist()]
        assert batch.targets["speaker"].tolist() == tasks[0].encode(voices).tolist()

    def test_a_speed_makes_another_voice_of_another_pitch(self, prepared: Prepared) -> None:
        (speaker,) = tasks = fit(prepared, "speaker", speeds=(1.0, 0.5))
        seen = Counter()
        batches = make(prepared, tasks, size=16, crop_s=(5.0, 5.0))
        for number in range(4):
            batch = batches[number]
            voices = batch.targets["speaker"] % len(speaker.classes)
            slow = batch.targets["speaker"] >= len(speaker.classes)
            seen.update(slow.tolist())
            names = prepared.table["speaker"].take(batch.rows.numpy()).to_pylist()
            assert [speaker.classes[v] for v in voices] == [f"{CORPUS}/{n}" for n in names]
            heard = batch.changed().inputs
            for wave, row, played_slowly in zip(heard, batch.rows, slow, strict=True):
                own = pitch(torch.from_numpy(prepared.read(int(row))))
                assert pitch(wave) == pytest.approx(own / 2 if played_slowly else own, rel=0.1)
        assert min(seen.values()) > 16

    def test_hidden_features_follow_the_config(self, prepared: Prepared) -> None:
        tasks = fit(prepared, "speaker")
        assert make(prepared, tasks)[0].keep.all()
        batch = make(prepared, tasks, MASKED)[0]
        assert not batch.keep.all()
        model = UnifiedModel(FrontEnd(MELS), parse_config(TRUNK), {})
        features, _ = model.features(batch.changed().inputs, batch.lengths, batch.keep)
        assert not features[~batch.keep].any()
        assert features[batch.keep].any()

    def test_validation_voices_never_appear(self, prepared: Prepared) -> None:
        batches = make(prepared, fit(prepared, "speaker", "gender"), size=32)
        rows = np.concatenate([batches[number].rows for number in range(10)])
        seen = set(prepared.table["speaker"].take(rows).to_pylist())
        assert seen == set(speaker_names(6, validation=False))

    def test_a_missing_column_is_no_label(self, prepared: Prepared) -> None:
        assert set(get_task("emotion").labels_of(prepared.table)) == {None}

    def test_nothing_labelled_is_one_line(self, prepared: Prepared) -> None:
        with pytest.raises(DataError, match="no utterance carries a label of any task"):
            make(prepared, [age_of_a_column_that_is_not_there()])


def test_a_listed_crop_is_played_at_its_speed_however_short_it_is(prepared: Prepared) -> None:
    """The utterances are shorter than a crop, and shorter still than one that is played faster."""
    (speaker,) = tasks = fit(prepared, "speaker", speeds=(1.0, 2.0))
    batch = make(prepared, tasks, counts_per_speaker=(4, 1), crop_s=(1.6, 1.6))[0]
    fast = batch.targets["speaker"] >= len(speaker.classes)
    assert set(fast.tolist()) == {True, False}
    heard = batch.changed().inputs
    for wave, length, row, twice in zip(heard, batch.lengths, batch.rows, fast, strict=True):
        own = pitch(torch.from_numpy(prepared.read(int(row))))
        assert pitch(wave[: int(length)]) == pytest.approx(2 * own if twice else own, rel=0.1)
        times = 2 if twice else 1
        assert int(length) == pytest.approx(prepared.lengths[int(row)] / times, abs=1)


def test_the_speeds_are_those_of_the_task_that_asks(prepared: Prepared) -> None:
    """A single speed other than 1 counts, wherever the task that has it stands."""
    names = ("gender", "speaker")
    for order in (names, names[::-1]):
        batch = make(prepared, fit(prepared, *order, speeds=(1.1,)))[0]
        assert (batch.targets["speaker"] != ABSENT).all()


def changed(batches: Batches, number: int) -> Batch:
    return batches[number].changed()


def pitch(wave: torch.Tensor) -> float:
    """The strongest frequency, in Hz."""
    return float(torch.fft.rfft(wave).abs().argmax()) * RATE / len(wave)


def age_of_a_column_that_is_not_there() -> Task:
    task = get_task("age")
    task.column = "born"
    return task


def draw(sampler: BatchSampler, batches: int = 200) -> np.ndarray:
    return np.concatenate([sampler.draw(np.random.default_rng(n)) for n in range(batches)])


class TestBalance:
    def test_corpora_by_the_power_of_their_voices(self) -> None:
        voices = np.arange(100)  # one recording each; corpus 0 has 90 voices, corpus 1 has 10
        corpora_of = (voices >= 90).astype(np.int64)
        for exponent, share in ((0.0, 0.5), (1.0, 0.1), (0.5, 0.25)):
            config = BatchConfig(size=50, corpus_exponent=exponent)
            rows = draw(BatchSampler({"speaker": voices}, corpora_of, config))
            assert corpora_of[rows].mean() == pytest.approx(share, abs=0.02)

    def test_voices_alike_whatever_their_recordings(self) -> None:
        voices = np.repeat([0, 1, 2], [97, 2, 1])
        rows = draw(BatchSampler({"speaker": voices}, np.zeros(100, np.int64), BatchConfig()))
        shares = np.bincount(voices[rows]) / len(rows)
        np.testing.assert_allclose(shares, 1 / 3, atol=0.02)

    def test_classes_by_the_power_of_their_examples(self) -> None:
        classes = np.repeat([ABSENT, 0, 1], [50, 90, 10])
        for exponent, share in ((0.0, 0.5), (1.0, 0.1), (0.5, 0.25)):
            config = BatchConfig(size=50, class_exponent=exponent)
            rows = draw(BatchSampler({"gender": classes}, np.zeros(150, np.int64), config))
            assert (classes[rows] == 1).mean() == pytest.approx(share, abs=0.02)
            assert (classes[rows] != ABSENT).all()

    def test_identity_and_attribute_parts(self) -> None:
        voices = np.where(np.arange(100) < 50, np.arange(100) // 2, ABSENT)
        moods = np.where(np.arange(100) < 50, ABSENT, np.arange(100) % 3)
        config = BatchConfig(size=40, identity_share=0.75)
        sampler = BatchSampler({"speaker": voices, "mood": moods}, np.zeros(100, np.int64), config)
        rows = sampler.draw(np.random.default_rng(0))
        assert (rows < 50).sum() == 30
        assert (rows >= 50).sum() == 10

    def test_a_task_that_would_never_be_met_is_told_of(self) -> None:
        voices = np.where(np.arange(100) < 50, np.arange(100) // 2, ABSENT)
        moods = np.where(np.arange(100) < 50, ABSENT, np.arange(100) % 3)
        config, corpora = BatchConfig(identity_share=1.0), np.zeros(100, np.int64)
        with pytest.raises(ConfigError, match=r"identity_share.* mood, .*never be met: lower it"):
            BatchSampler({"speaker": voices, "mood": moods}, corpora, config)
        moods[0] = 0
        BatchSampler({"speaker": voices, "mood": moods}, corpora, config)

    def test_rare_tasks_are_met_as_often_as_others(self) -> None:
        common, rare = np.zeros(1000, np.int64), np.full(1000, ABSENT)
        rare[:3] = 0
        config = BatchConfig(size=50, identity_share=0.0)
        sampler = BatchSampler({"a": common, "b": rare}, np.zeros(1000, np.int64), config)
        assert (draw(sampler) < 3).mean() == pytest.approx(0.5, abs=0.02)

    def test_several_crops_of_each_voice(self) -> None:
        voices = np.repeat(np.arange(200), 5)
        config = BatchConfig(size=30, crops_per_voice=3)
        sampler = BatchSampler({"speaker": voices}, np.zeros(1000, np.int64), config)
        drawn = voices[sampler.draw(np.random.default_rng(0))].reshape(10, 3)
        assert (drawn == drawn[:, :1]).all()

    def test_a_task_without_labels_takes_no_part(self) -> None:
        voices = np.arange(10)
        groups = {"speaker": voices, "mood": np.full(10, ABSENT)}
        sampler = BatchSampler(groups, np.zeros(10, np.int64), BatchConfig(size=8))
        assert len(sampler.draw(np.random.default_rng(0))) == 8

    def test_nothing_to_draw_from_is_one_line(self) -> None:
        groups = {"speaker": np.full(10, ABSENT), "mood": np.full(10, ABSENT)}
        with pytest.raises(DataError, match="check the label columns"):
            BatchSampler(groups, np.zeros(10, np.int64), BatchConfig())

    @settings(max_examples=50, deadline=None)
    @given(data=st.data())
    def test_a_batch_is_full_and_its_rows_are_labelled(self, data: st.DataObject) -> None:
        rows = data.draw(st.integers(1, 30))
        column = st.lists(st.integers(ABSENT, 4), min_size=rows, max_size=rows)
        groups = {
            name: np.array(data.draw(column), dtype=np.int64) for name in ("speaker", "a", "b")
        }
        labelled = np.any([group != ABSENT for group in groups.values()], axis=0)
        if not labelled.any():
            return
        corpora_of = np.array(data.draw(st.lists(st.integers(0, 2), min_size=rows, max_size=rows)))
        config = BatchConfig(
            size=data.draw(st.integers(2, 20)),
            identity_share=data.draw(st.floats(0, 1)),
            crops_per_voice=data.draw(st.integers(1, 4)),
        )
        try:
            sampler = BatchSampler(groups, corpora_of, config)
        except ConfigError:  # there is no attribute part
            assert round(config.size * config.identity_share) == config.size
            return
        drawn = sampler.draw(np.random.default_rng(0))
        assert len(drawn) == config.size
        assert labelled[drawn].all()


def test_waves_are_read_at_full_scale() -> None:
    assert Waves().restore(np.array([-32768, 0, 16384], np.int16)).tolist() == [-1.0, 0.0, 0.5]


def test_unknown_speakers_still_carry_their_other_labels(tmp_path: Path) -> None:
    import soundfile

    rows = []
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", voice(1.0, number), RATE)
        path = str(tmp_path / f"{number}.wav")
        rows.append({"path": path, "speaker": None, "mood": ("calm", "glad")[number % 2]})
    prepared = prepare(utterances(rows), tmp_path / "cache")
    batch = make(prepared, fit(prepared, "mood"))[0]
    assert set(batch.targets["mood"].tolist()) == {0, 1}


def test_voices_are_drawn_alike_or_by_their_recordings() -> None:
    voices = np.repeat(np.arange(3), [1, 1, 6])  # two voices of one recording, one of six
    shares = {}
    for exponent in (0.0, 1.0):
        config = BatchConfig(size=16, voice_exponent=exponent)
        rows = draw(BatchSampler({"speaker": voices}, np.zeros(8, dtype=np.int64), config))
        shares[exponent] = np.bincount(voices[rows], minlength=3) / len(rows)
    np.testing.assert_allclose(shares[0.0], [1 / 3] * 3, atol=0.03)
    np.testing.assert_allclose(shares[1.0], [1 / 8, 1 / 8, 6 / 8], atol=0.03)


class TestBabble:
    def test_other_voices_are_added_at_the_ratio_asked_for(self, prepared: Prepared) -> None:
        tasks = fit(prepared, "speaker")
        talking = AugmentConfig(babble=1.0, babble_snr_db=(10.0, 10.0))
        batch = make(prepared, tasks, talking, crop_s=(1.0, 1.0))[0]
        assert_same(batch, make(prepared, tasks, talking, crop_s=(1.0, 1.0))[0])
        for wave, row in zip(batch.changed().inputs.numpy(), batch.rows, strict=True):
            whole = prepared.read(int(row))
            spans = [whole[start : start + RATE] for start in range(len(whole) - RATE + 1)]
            nearest = spans[int(np.argmax([span @ wave / np.linalg.norm(span) for span in spans]))]
            ratio_db = 20 * np.log10(np.std(nearest) / np.std(wave - nearest))
            assert ratio_db == pytest.approx(10.0, abs=0.5)
