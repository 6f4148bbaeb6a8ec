import io
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hive_mtl.errors import DataError
from hive_mtl.learn.augment import SHORTEST_CODED, AugmentConfig, Augmenter, feature_mask
from hive_mtl.learn.changes import Changes
from voices import RATE, voice

CHANGES = ["reverberation", "noise", "coloured_noise", "babble", "equaliser", "telephone"]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of sounds that may be noises and rooms."""
    folder = tmp_path_factory.mktemp("sounds")
    decay = np.exp(-np.arange(2 * RATE) / 2_000)
    for number in range(3):
        sound = 0.1 * decay * np.random.default_rng(number).standard_normal(2 * RATE)
        soundfile.write(folder / f"{number}.wav", sound, RATE)
    return folder


def crops(count: int = 8, seconds: float = 0.5) -> Tensor:
    return torch.from_numpy(np.stack([voice(seconds, seed) for seed in range(count)]))


def draw(config: AugmentConfig, waves: Tensor, seed: int = 0) -> Changes:
    batch, samples = waves.shape
    whole = np.full(batch, samples)
    return Augmenter(config).draw(whole, whole, samples, np.random.default_rng(seed))


def level_db(waves: Tensor) -> Tensor:
    return 10 * waves.double().square().mean(dim=1).log10()


def test_by_default_nothing_changes() -> None:
    config = AugmentConfig()
    assert torch.equal(draw(config, crops()).apply(crops()), crops())
    wave = voice(0.5)
    assert Augmenter(config).coded(wave, np.random.default_rng(0)) is wave
    assert feature_mask(config, 24, 50, np.random.default_rng(0)).all()


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_depends_on_the_seed_alone(change: str, sounds: Path) -> None:
    config = AugmentConfig(**{change: 1.0}, rooms=sounds, noises=sounds)
    waves = crops()
    first = draw(config, waves, 7).apply(waves)
    assert torch.equal(draw(config, waves, 7).apply(waves), first)
    assert not torch.equal(draw(config, waves, 8).apply(waves), first)
    assert torch.equal(waves, crops())  # what is given stays as it is
    assert first.dtype == torch.float32
    assert first.shape == waves.shape
    assert torch.isfinite(first).all()
    assert (first != waves).any(dim=1).all()


@pytest.mark.parametrize("change", CHANGES)
def test_a_crop_that_was_not_drawn_is_as_it_was_and_its_neighbours_do_not_matter(
    change: str, sounds: Path
) -> None:
    config = AugmentConfig(**{change: 0.5}, rooms=sounds, noises=sounds)
    waves = crops(32)
    changed = (draw(config, waves).apply(waves) != waves).any(dim=1)
    assert 8 <= changed.sum() <= 24
    assert torch.equal(draw(config, waves).apply(waves)[~changed], waves[~changed])


@pytest.mark.parametrize("waves", [torch.zeros(4, 1_600), crops(4, 0.1)], ids=["silent", "short"])
def test_silent_and_short_crops_survive_every_change(waves: Tensor, sounds: Path) -> None:
    config = AugmentConfig(**dict.fromkeys(CHANGES, 1.0), rooms=sounds, noises=sounds)
    heard = draw(config, waves).apply(waves)
    assert torch.isfinite(heard).all()
    assert bool(heard.any()) == bool(waves.any())


@pytest.mark.parametrize("change", ["noise", "coloured_noise", "babble"])
def test_noise_has_the_ratio_that_the_recipe_names(change: str, sounds: Path) -> None:
    config = AugmentConfig(
        **{change: 1.0}, noises=sounds, snr_db=(10.0, 10.0), babble_snr_db=(10.0, 10.0)
    )
    waves = crops()
    added = draw(config, waves).apply(waves) - waves
    ratio = level_db(waves) - level_db(added)
    torch.testing.assert_close(ratio, torch.full_like(ratio, 10.0), atol=0.05, rtol=0)


def test_padding_behind_a_crop_does_not_count_in_the_ratio() -> None:
    waves = crops(2, 1.0)
    waves[1, RATE // 4 :] = 0
    config = AugmentConfig(coloured_noise=1.0, snr_db=(10.0, 10.0))
    lengths = np.array([RATE, RATE // 4])
    rng = np.random.default_rng(0)
    changes = Augmenter(config).draw(np.full(2, RATE), lengths, RATE, rng)
    heard = changes.apply(waves)
    for wave, loud, length in zip(waves, heard, lengths, strict=True):
        within = wave[None, :length]
        ratio = level_db(within) - level_db(loud[None, :length] - within)
        assert ratio == pytest.approx(10.0, abs=1.0)


def test_a_voice_is_not_behind_itself_and_few_voices_are_enough() -> None:
    config = AugmentConfig(babble=1.0)
    for batch in (2, 5, 64):
        drawn = draw(config, crops(batch, 0.1)).babble
        assert drawn is not None
        _, weights, _ = drawn
        assert not weights.diagonal().any()
        assert weights.sum(dim=1).min() == min(3, batch - 1)
        assert weights.sum(dim=1).max() <= 7
    assert draw(config, crops(1, 0.1)).babble is None


def test_crops_are_played_at_the_speeds_of_their_rows() -> None:
    samples, spans = 8_000, np.array([8_000, 7_200, 8_800, 7_200])
    time = np.arange(8_800) / RATE
    waves = torch.from_numpy(np.sin(2 * np.pi * 400 * time)).float().repeat(4, 1)
    changes = Augmenter(AugmentConfig()).draw(
        spans, np.full(4, samples), samples, np.random.default_rng(0)
    )
    heard = changes.apply(waves)
    assert heard.shape == (4, samples)
    pitches = torch.fft.rfft(heard).abs().argmax(dim=1) * RATE / samples
    assert pitches.tolist() == [400, 360, 440, 360]


def test_changes_are_made_on_the_device_of_the_waves(sounds: Path) -> None:
    """The device here computes nothing, but refuses what lies elsewhere as any other does."""
    config = AugmentConfig(**dict.fromkeys(CHANGES, 1.0), rooms=sounds, noises=sounds)
    changes, device = draw(config, crops()), torch.device("meta")
    heard = changes.to(device).apply(crops().to(device))
    assert heard.device == device
    assert heard.shape == crops().shape
    with pytest.raises(RuntimeError):
        changes.apply(crops().to(device))


def test_to_another_process_only_sounds_go_as_files(sounds: Path) -> None:
    """A loader of many processes holds many batches, and may open a thousand files."""
    config = AugmentConfig(**dict.fromkeys(CHANGES, 1.0), rooms=sounds, noises=sounds)
    waves = crops()
    changes = draw(config, waves)
    files: list[Tensor] = []

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: object) -> int | None:
            if not isinstance(value, Tensor):
                return None
            files.append(value)
            return len(files) - 1

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, place: int) -> Tensor:
            return files[place]

    sent = io.BytesIO()
    Pickler(sent).dump(changes)
    assert len(files) == 3  # rooms, noises and white noise
    sent.seek(0)
    assert torch.equal(Unpickler(sent).load().apply(waves), changes.apply(waves))


class TestNoises:
    def test_a_short_noise_goes_on_and_a_long_one_is_heard_from_anywhere(
        self, tmp_path: Path
    ) -> None:
        time = np.arange(RATE * 4)
        soundfile.write(tmp_path / "rising.wav", time / len(time), RATE)
        config = AugmentConfig(noise=1.0, noises=tmp_path)
        drawn = draw(config, crops(8)).noise
        assert drawn is not None
        assert len(set(drawn[1][:, 0].tolist())) == 8
        soundfile.write(tmp_path / "rising.wav", time[:1000] / 1000, RATE)
        drawn = draw(config, crops(2)).noise
        assert drawn is not None
        assert torch.equal(drawn[1][0, :1000], drawn[1][0, 7000:])

    def test_of_a_long_noise_only_a_part_is_in_memory(self, tmp_path: Path) -> None:
        with soundfile.SoundFile(tmp_path / "hour.wav", "w", RATE, 1) as file:
            for _ in range(60):
                file.write(np.full(60 * RATE, 0.1))
        config = AugmentConfig(noise=1.0, noises=tmp_path)
        draw(config, crops(2))
        tracemalloc.start()
        draw(config, crops(2))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1_000_000

    def test_a_noise_that_is_gone_is_one_line(self, sounds: Path, tmp_path: Path) -> None:
        (tmp_path / "noise.wav").write_bytes((sounds / "0.wav").read_bytes())
        augmenter = Augmenter(AugmentConfig(noise=1.0, noises=tmp_path))
        (tmp_path / "noise.wav").write_bytes(b"no sound")
        whole = np.full(2, 1_600)
        with pytest.raises(DataError, match=r"noise\.wav: cannot be read") as caught:
            augmenter.draw(whole, whole, 1_600, np.random.default_rng(0))
        assert "\n" not in str(caught.value)


def test_a_room_begins_with_its_direct_sound_and_rings_for_a_second_at_most(
    tmp_path: Path,
) -> None:
    response = np.zeros(3 * RATE)
    response[[500, 2_000, 2 * RATE]] = 0.9, 0.5, 0.4
    soundfile.write(tmp_path / "room.wav", response, RATE)
    config = AugmentConfig(reverberation=1.0, rooms=tmp_path)
    waves = torch.zeros(2, 2 * RATE)
    waves[:, 1_000] = 0.5
    heard = draw(config, waves).apply(waves)
    assert torch.nonzero(heard[0].abs() > 1e-3).flatten().tolist() == [1_000, 2_500]


@pytest.mark.parametrize("samples", [5, SHORTEST_CODED, RATE])
def test_a_codec_loses_something_and_keeps_time_and_length(samples: int) -> None:
    augmenter = Augmenter(AugmentConfig(codec=1.0))
    wave = voice(1.0)[:samples]
    before = wave.copy()
    heard = augmenter.coded(wave, np.random.default_rng(0))
    np.testing.assert_array_equal(wave, before)
    np.testing.assert_array_equal(augmenter.coded(wave, np.random.default_rng(0)), heard)
    assert heard.shape == wave.shape
    assert heard.dtype == np.float32
    assert np.isfinite(heard).all()
    if samples == RATE:
        assert 0.9 < np.corrcoef(heard, wave)[0, 1] < 0.9999
    assert not augmenter.coded(np.zeros(samples, np.float32), np.random.default_rng(0)).any()


@pytest.mark.parametrize("kind", ["rooms", "noises"])
def test_a_folder_without_recordings_is_one_line(tmp_path: Path, kind: str) -> None:
    config = AugmentConfig(noise=1.0, reverberation=1.0, **{kind: tmp_path})
    with pytest.raises(DataError, match=f"{tmp_path}.*{kind}") as caught:
        Augmenter(config)
    assert "\n" not in str(caught.value)


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
