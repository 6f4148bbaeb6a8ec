"""What happens to the waves of a batch, by what a listener would notice."""

import numpy as np
import pytest
import torch
from torch import Tensor

from hive_mtl.evaluate import degrade
from hive_mtl.learn.effects import (
    EQUALISER_HZ,
    coloured,
    filtered,
    mixed,
    mu_law,
    replayed,
    through_telephone,
    together,
)
from voices import RATE, voice

FLAT = torch.zeros(1, len(EQUALISER_HZ))
FREE_AIR = torch.ones(1, 1)


def voices(count: int = 3, seconds: float = 1.0) -> Tensor:
    return torch.from_numpy(np.stack([voice(seconds, seed) for seed in range(count)]))


def white(count: int, samples: int = RATE) -> Tensor:
    return torch.randn(count, samples, generator=torch.Generator().manual_seed(0))


def tone(hertz: float, samples: int = RATE) -> Tensor:
    return 0.1 * torch.sin(2 * torch.pi * hertz * torch.arange(samples) / RATE).unsqueeze(0)


def level_db(waves: Tensor) -> Tensor:
    return 10 * waves.double().square().mean(dim=1).log10()


def power(wave: Tensor) -> Tensor:
    """By Hertz, of one second."""
    return torch.fft.rfft(wave.double()).abs().square()


class TestReplayed:
    @pytest.mark.parametrize("speed", [0.5, 0.9, 1.1, 2.0])
    def test_pitch_goes_with_speed_and_loudness_stays(self, speed: float) -> None:
        played = replayed(tone(400, round(speed * RATE)), RATE)
        assert played.shape == (1, RATE)
        assert power(played[0]).argmax() == pytest.approx(400 * speed, abs=1)
        assert level_db(played) == pytest.approx(level_db(tone(400)), abs=0.1)

    def test_what_would_fold_back_is_gone(self) -> None:
        assert level_db(replayed(tone(7_900, 2 * RATE), RATE)) < -60

    def test_at_its_own_speed_nothing_changes(self) -> None:
        torch.testing.assert_close(replayed(voices(), RATE), voices(), atol=1e-6, rtol=0)


class TestFiltered:
    def test_flat_and_in_free_air_nothing_changes(self) -> None:
        heard = filtered(voices(), FLAT.expand(3, -1), FREE_AIR.expand(3, -1))
        torch.testing.assert_close(heard, voices(), atol=1e-6, rtol=0)

    @pytest.mark.parametrize("band", range(len(EQUALISER_HZ)))
    def test_each_band_is_raised_by_its_own_gain(self, band: int) -> None:
        gains = FLAT.clone()
        gains[0, band] = 6.0
        before = white(1)
        gain_db = 10 * (power(filtered(before, gains, FREE_AIR)[0]) / power(before[0])).log10()
        raised = gain_db - gain_db[[round(hertz) for hertz in EQUALISER_HZ]].min()
        for number, hertz in enumerate(EQUALISER_HZ):
            expected = 6.0 if number == band else 0.0
            assert raised[round(hertz)] == pytest.approx(expected, abs=0.3)

    def test_a_room_keeps_the_direct_sound_in_place_rings_on_and_is_as_loud(self) -> None:
        response = torch.zeros(1, 4_000)
        response[0, [0, 1_500, 3_999]] = torch.tensor([0.9, 0.5, 0.2])
        click = torch.zeros(1, 8_000)
        click[0, 1_000] = 0.5
        heard = filtered(click, FLAT, response)
        assert level_db(heard) == pytest.approx(level_db(click), abs=1e-3)
        assert heard[0].abs().argsort(descending=True)[:3].tolist() == [1_000, 2_500, 4_999]
        assert heard[0, 2_500] / heard[0, 1_000] == pytest.approx(5 / 9, abs=1e-4)

    def test_what_rings_beyond_the_end_does_not_come_back_at_the_beginning(self) -> None:
        click = torch.zeros(1, 8_000)
        click[0, 7_000] = 0.5
        heard = filtered(click, FLAT, torch.full((1, 4_000), 0.1))
        assert heard[0, :6_990].abs().max() < 1e-5


class TestNoise:
    def test_it_is_added_at_the_ratio_asked_for(self) -> None:
        asked = torch.tensor([0.0, 10.0, 25.0])
        added = mixed(voices(), white(3), asked) - voices()
        torch.testing.assert_close(
            level_db(voices()) - level_db(added), asked.double(), atol=0.02, rtol=0
        )

    def test_silence_stays_silence_and_silent_noise_is_none(self) -> None:
        snr_db = torch.zeros(3)
        assert not mixed(torch.zeros(3, RATE), white(3), snr_db).any()
        assert torch.equal(mixed(voices(), torch.zeros(3, RATE), snr_db), voices())

    @pytest.mark.parametrize("slope_db", [-6.0, 0.0, 3.0])
    def test_its_colour_is_a_slope_over_octaves(self, slope_db: float) -> None:
        noise = coloured(white(1), torch.tensor([slope_db]))
        octaves = torch.stack([power(noise[0])[2**k : 2 ** (k + 1)].mean() for k in range(7, 13)])
        np.testing.assert_allclose(np.diff(10 * octaves.log10()), slope_db, atol=1.0)

    def test_voices_talk_at_once_at_one_loudness(self) -> None:
        apart = torch.cat([tone(200), 100 * tone(300), 0.01 * tone(500)])
        crowds = together(apart, torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]))
        assert crowds.shape == (2, RATE)
        for crowd, heard in zip(crowds, ([200, 300], [300, 500]), strict=True):
            assert power(crowd).topk(2).indices.sort().values.tolist() == heard
            first, second = power(crowd).topk(2).values.tolist()
            assert first == pytest.approx(second, rel=1e-3)


class TestTelephone:
    def test_it_leaves_a_band_and_nothing_above_four_kilohertz(self) -> None:
        edges = torch.tensor([[300.0, 3_400.0]])
        heard = power(through_telephone(0.1 * white(1), edges)[0])
        middle = heard[500:3_000].mean()
        assert heard[4_001:].mean() < 1e-6 * middle
        assert heard[:60].mean() < 1e-2 * middle
        for edge in (300, 3_400):
            near = heard[edge - 50 : edge + 50].mean()
            assert 10 * (near / middle).log10() == pytest.approx(-3, abs=1)

    def test_it_is_the_line_that_models_are_judged_on(self) -> None:
        """Up to the phase of the filter, which the one and not the other has."""
        noise, edges = 0.1 * white(1), (300.0, 3_400.0)
        ours = power(through_telephone(noise, torch.tensor([edges]))[0])
        theirs = power(torch.from_numpy(degrade.telephone(noise[0].numpy(), *edges)))
        for band in (slice(hertz, hertz + 200) for hertz in range(0, 3_600, 200)):
            assert 10 * (ours[band].sum() / theirs[band].sum()).log10() == pytest.approx(0, abs=0.2)

    def test_mu_law_keeps_loud_and_faint_alike(self) -> None:
        for scale in (1.0, 1e-3):
            waves = voices() * scale
            ratio = level_db(waves) - level_db(mu_law(waves) - waves)
            assert ((ratio > 25) & (ratio < 45)).all()

    def test_mu_law_is_that_of_the_evaluation(self) -> None:
        ours, theirs = mu_law(voices())[0].numpy(), degrade.mu_law(voice(1.0))
        assert np.isclose(ours, theirs, atol=1e-6).mean() > 0.999  # but for ties of rounding


@pytest.mark.parametrize("samples", [1_600, 8_009, 32_000])
def test_silence_stays_silence(samples: int) -> None:
    silence = torch.zeros(2, samples)
    for heard in (
        replayed(silence, samples - 100),
        filtered(silence, FLAT.expand(2, -1) + 6.0, torch.ones(2, 500)),
        mixed(silence, together(silence, torch.ones(2, 2)), torch.zeros(2)),
        through_telephone(silence, torch.tensor([[300.0, 3_400.0]] * 2)),
        mu_law(silence),
    ):
        assert torch.equal(heard, torch.zeros_like(heard))
