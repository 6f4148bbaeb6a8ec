import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_mtl.learn.front_ends import front_end_type, known_front_ends
from hive_mtl.learn.front_ends._base import FilterBank, frame_mask, framed
from hive_mtl.learn.front_ends.log_mel import FrontEnd as LogMel
from hive_mtl.learn.front_ends.log_mel import mel_filters
from hive_mtl.learn.front_ends.original import FrontEnd as Original
from voices import RATE, voice

KALDI_SCALE = 32_768.0


@pytest.fixture(scope="module")
def log_mel() -> LogMel:
    return LogMel(80)


def batch(*waves: np.ndarray, padding: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Waves padded with zeros to the longest, and ``padding`` samples more."""
    padded = np.zeros((len(waves), max(map(len, waves)) + padding), np.float32)
    for row, wave in zip(padded, waves, strict=True):
        row[: len(wave)] = wave
    return torch.from_numpy(padded), torch.tensor([len(wave) for wave in waves])


def kaldi_fbank(wave: np.ndarray) -> np.ndarray:
    """(mels, frames) by another implementation of Kaldi's compute-fbank-feats."""
    layers = pytest.importorskip("lhotse.features.kaldi.layers")
    fbank = layers.Wav2LogFilterBank(
        sampling_rate=RATE,
        frame_length=0.025,
        frame_shift=0.01,
        remove_dc_offset=True,
        preemph_coeff=0.97,
        window_type="povey",
        dither=0.0,
        snip_edges=True,
        use_energy=False,
        use_fft_mag=False,
        low_freq=20.0,
        high_freq=7600.0,
        num_filters=80,
        norm_filters=False,
        torchaudio_compatible_mel_scale=True,
    )
    return fbank(torch.from_numpy(wave)[None] * KALDI_SCALE)[0].T.numpy()


@pytest.mark.parametrize("seed", range(3))
def test_equals_kaldi(log_mel: LogMel, seed: int) -> None:
    wave = voice(1.5 + 0.013 * seed, seed)
    expected = kaldi_fbank(wave)
    features, frames = log_mel(*batch(wave))
    assert features.shape[1:] == expected.shape
    assert frames.tolist() == [expected.shape[1]]
    centred = expected - expected.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(features[0].numpy(), centred, atol=1e-3)


@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(400, RATE), min_size=1, max_size=4),
    padding=st.integers(0, 4000),
)
def test_padding_and_neighbours_do_not_matter(lengths: list[int], padding: int) -> None:
    log_mel = LogMel(24)
    waves = [voice(1.0, seed)[:length] for seed, length in enumerate(lengths)]
    together, frames = log_mel(*batch(*waves, padding=padding))
    for number, wave in enumerate(waves):
        alone, count = log_mel(*batch(wave))
        assert frames[number] == count[0] == alone.shape[-1]
        torch.testing.assert_close(together[number, :, : count[0]], alone[0], atol=1e-4, rtol=0)
        assert not together[number, :, count[0] :].any()


def test_what_stands_beyond_the_end_does_not_matter(log_mel: LogMel) -> None:
    waves, lengths = batch(voice(0.5), padding=3200)
    clean, _ = log_mel(waves, lengths)
    waves[:, lengths[0] :] = torch.randn(1, 3200)
    dirty, _ = log_mel(waves, lengths)
    torch.testing.assert_close(dirty, clean)


def test_mean_over_the_frames_is_zero(log_mel: LogMel) -> None:
    features, _ = log_mel(*batch(voice(1.0), voice(0.6, seed=1)))
    assert features.sum(dim=-1).abs().max() < 1e-2


def test_volume_does_not_matter(log_mel: LogMel) -> None:
    loud, _ = log_mel(*batch(voice(1.0)))
    soft, _ = log_mel(*batch(0.5 * voice(1.0)))
    torch.testing.assert_close(loud, soft, atol=1e-2, rtol=0)


def test_digital_silence_is_finite_and_zero(log_mel: LogMel) -> None:
    features, _ = log_mel(torch.zeros(2, RATE), torch.tensor([RATE, 500]))
    assert not features.any()


@pytest.mark.parametrize(
    ("samples", "frames"), [(0, 1), (399, 1), (400, 1), (559, 1), (560, 2), (RATE, 98)]
)
def test_frame_counts(samples: int, frames: int) -> None:
    assert LogMel(24).frame_counts(torch.tensor([samples])).tolist() == [frames]


def test_frame_mask() -> None:
    assert frame_mask(torch.tensor([1, 3]), 3).tolist() == [[1, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize(
    ("samples", "frame", "hop"), [(400, 400, 160), (1723, 276, 110), (9, 4, 4)]
)
def test_frames_begin_every_hop_and_are_whole(samples: int, frame: int, hop: int) -> None:
    waves = torch.randn(2, samples)
    assert torch.equal(framed(waves, frame, hop), waves.unfold(1, frame, hop))


@pytest.mark.parametrize("samples", [400, 401])
def test_energies_are_those_of_the_fourier_transform(samples: int) -> None:
    frames = torch.randn(2, 3, samples)
    window = torch.hann_window(samples, periodic=False, dtype=torch.float64)
    power = torch.fft.rfft(frames * window.float(), 512).abs().square()
    filters = mel_filters(24, RATE)
    found = FilterBank(window, filters)(frames)
    torch.testing.assert_close(found, power @ filters.T, rtol=1e-4, atol=1e-4)


def test_filters_are_triangles_between_the_limits() -> None:
    filters = mel_filters(80, RATE)
    assert filters.shape == (80, 257)
    assert (filters >= 0).all()
    assert (filters.sum(dim=1) > 0).all()
    hertz = torch.arange(257) * RATE / 512
    assert not filters[:, (hertz < 20) | (hertz > 7600)].any()


def test_bfloat16_autocast_leaves_the_features_in_full_precision(log_mel: LogMel) -> None:
    waves, lengths = batch(voice(0.5))
    exact, _ = log_mel(waves, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        inside, _ = log_mel(waves, lengths)
    assert torch.equal(exact, inside)


@pytest.mark.parametrize("seconds", [0.025, 0.03, 1.0, 1.013, 2.7])
@pytest.mark.parametrize("rate", [16_000, 8_000])
def test_original_equals_python_speech_features(seconds: float, rate: int) -> None:
    features = pytest.importorskip("python_speech_features")
    wave = voice(seconds * rate / RATE, seed=1)
    energies, _ = features.fbank(wave, rate, nfilt=64)
    deviation = np.maximum(energies.std(axis=1, keepdims=True), 1e-12)
    expected = (energies - energies.mean(axis=1, keepdims=True)) / deviation
    found, frames = Original(64, rate)(*batch(wave))
    assert frames.tolist() == [len(expected)]
    np.testing.assert_allclose(found[0].T.numpy(), expected, atol=1e-4)


def test_original_of_digital_silence_is_zero() -> None:
    found, _ = Original(64)(torch.zeros(1, 800), torch.tensor([800]))
    assert not found.any()


@pytest.mark.parametrize("name", known_front_ends())
def test_every_front_end_ignores_padding_and_neighbours(name: str) -> None:
    front_end = front_end_type(name)(24, RATE)
    waves = [voice(1.0, seed)[:length] for seed, length in enumerate((400, 7123, 16_000))]
    inputs, lengths = batch(*waves, padding=1000)
    dirty = inputs.clone()
    for row, length in zip(dirty, lengths, strict=True):
        row[length:] = 0.5
    together, frames = front_end(dirty, lengths)
    for number, wave in enumerate(waves):
        alone, count = front_end(*batch(wave))
        assert frames[number] == count[0] == alone.shape[-1]
        torch.testing.assert_close(together[number, :, : count[0]], alone[0], atol=1e-4, rtol=0)
        assert not together[number, :, count[0] :].any()
