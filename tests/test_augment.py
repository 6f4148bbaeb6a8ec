import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_mtl.errors import DataError
from hive_mtl.learn.augment import AugmentConfig, WaveAugmenter, feature_mask, mixed, mu_law
from hive_mtl.learn.batches import SHORTEST_CROP
from voices import RATE, voice

CHANGES = ["coloured_noise", "equaliser", "telephone", "codec"]


def test_by_default_nothing_changes() -> None:
    wave = voice(0.5)
    np.testing.assert_array_equal(WaveAugmenter(AugmentConfig())(wave, 0), wave)
    assert feature_mask(AugmentConfig(), 24, 50, np.random.default_rng(0)).all()


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_depends_on_the_seed_alone(change: str) -> None:
    wave = voice(0.5)
    augmenter, another = (WaveAugmenter(AugmentConfig(**{change: 1.0})) for _ in range(2))
    first = augmenter(wave, 7)
    augmenter(wave, 8)
    np.testing.assert_array_equal(augmenter(wave, 7), first)
    np.testing.assert_array_equal(another(wave, 7), first)
    assert first.dtype == np.float32
    assert abs(len(first) - len(wave)) <= 0.01 * RATE
    assert not np.array_equal(first, wave)
    assert np.isfinite(first).all()


@pytest.mark.parametrize("change", CHANGES)
def test_the_wave_that_is_given_stays_as_it_is(change: str) -> None:
    wave = voice(0.5)
    before = wave.copy()
    WaveAugmenter(AugmentConfig(**{change: 1.0}))(wave, 3)
    np.testing.assert_array_equal(wave, before)


@pytest.mark.parametrize(
    "wave", [np.zeros(SHORTEST_CROP, np.float32), voice(0.1)], ids=["silent", "short"]
)
def test_silent_and_short_crops_survive_every_change(wave: np.ndarray) -> None:
    augmenter = WaveAugmenter(AugmentConfig(**dict.fromkeys(CHANGES, 1.0)))
    assert np.isfinite(augmenter(wave, 0)).all()


def test_telephone_leaves_the_middle_of_the_spectrum() -> None:
    wave = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 0.1
    power = np.abs(np.fft.rfft(WaveAugmenter(AugmentConfig(telephone=1.0))(wave, 0))) ** 2
    middle = power[500:2800].mean()
    assert power[4200:].mean() < 1e-2 * middle
    assert power[:50].mean() < 0.1 * middle


def test_mu_law_keeps_loud_and_faint_alike() -> None:
    wave = voice(0.5)
    for scale in (1.0, 1e-3):
        coded = mu_law(wave * np.float32(scale))
        noise = coded - wave * np.float32(scale)
        assert 25 < 20 * np.log10(np.std(wave * scale) / np.std(noise)) < 45
    assert not mu_law(np.zeros(100, np.float32)).any()


@pytest.mark.parametrize("snr_db", [0.0, 15.0])
def test_mixing_is_at_the_ratio_asked_for(snr_db: float) -> None:
    wave, noise = voice(1.0), np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    added = mixed(wave, noise, snr_db) - wave
    ratio = np.mean(wave.astype(float) ** 2) / np.mean(added.astype(float) ** 2)
    assert 10 * np.log10(ratio) == pytest.approx(snr_db, abs=0.01)
    np.testing.assert_array_equal(mixed(wave, np.zeros_like(wave), snr_db), wave)


def test_noise_is_added_at_the_ratio_asked_for(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32) * 0.1
    soundfile.write(tmp_path / "noise.wav", noise, RATE)
    config = AugmentConfig(noise=1.0, noises=tmp_path, snr_db=(10.0, 10.0))
    wave = voice(1.0)
    added = WaveAugmenter(config)(wave, 0) - wave
    snr_db = 20 * np.log10(np.std(wave) / np.std(added))
    assert snr_db == pytest.approx(10.0, abs=0.5)


def test_a_room_rings_on(tmp_path: Path) -> None:
    response = np.zeros(4000, np.float32)
    response[[0, 1500, 3999]] = 0.9, 0.5, 0.2
    soundfile.write(tmp_path / "room.wav", response, RATE)
    config = AugmentConfig(reverberation=1.0, rooms=tmp_path)
    click = np.zeros(8000, np.float32)
    click[1000] = 0.5
    heard = np.abs(WaveAugmenter(config)(click, 0))
    assert heard[2500] > 0.3 * heard[1000]


@pytest.mark.parametrize("kind", ["rooms", "noises"])
def test_a_folder_without_recordings_is_one_line(tmp_path: Path, kind: str) -> None:
    config = AugmentConfig(noise=1.0, reverberation=1.0, **{kind: tmp_path})
    with pytest.raises(DataError, match=f"{tmp_path}.*{kind}") as caught:
        WaveAugmenter(config)
    assert "\n" not in str(caught.value)


def test_it_travels_to_other_processes() -> None:
    augmenter = WaveAugmenter(AugmentConfig(coloured_noise=1.0))
    again = pickle.loads(pickle.dumps(augmenter))
    np.testing.assert_array_equal(again(voice(0.5), 1), augmenter(voice(0.5), 1))


@settings(max_examples=50, deadline=None)
@given(
    mels=st.integers(1, 80),
    frames=st.integers(1, 200),
    masks=st.integers(0, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_masks_hide_whole_bands_and_frames_up_to_the_limit(
    mels: int, frames: int, masks: int, seed: int
) -> None:
    config = AugmentConfig(
        frequency_masks=masks, frequency_mask_bands=5, time_masks=masks, time_mask_frames=7
    )
    keep = feature_mask(config, mels, frames, np.random.default_rng(seed))
    assert keep.shape == (mels, frames)
    bands, times = ~keep.any(axis=1), ~keep.any(axis=0)
    if not bands.all() and not times.all():
        assert bands.sum() <= 5 * masks
        assert times.sum() <= 7 * masks
        np.testing.assert_array_equal(keep, np.outer(~bands, ~times))
