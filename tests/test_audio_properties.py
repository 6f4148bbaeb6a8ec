"""What holds for every rate, number of channels and length."""

import io
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_mtl import audio
from hive_mtl.audio import SAMPLE_RATE, Segment

rates = st.one_of(
    st.sampled_from([4_000, 8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000]),
    st.integers(4_000, 192_000),
)
channel_counts = st.integers(1, 8)
lengths = st.one_of(st.integers(1, 400), st.integers(400, 60_000))
seeds = st.integers(0, 2**32 - 1)


def samples_of(length: int, channels: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (length, channels)).astype(np.float32)


@settings(max_examples=80, deadline=None)
@given(rates, channel_counts, lengths, seeds, st.floats(0.01, 2.0))
def test_any_array(rate: int, channels: int, length: int, seed: int, block_s: float) -> None:
    source = (samples_of(length, channels, seed), rate)
    expected = length * SAMPLE_RATE / rate
    if expected < 1:
        return
    wave = audio.load(source)
    assert abs(wave.size - expected) <= 1
    assert np.isfinite(wave).all()
    blocks = list(audio.stream(source, block_s))
    assert all(block.size == round(block_s * SAMPLE_RATE) for block in blocks[:-1])
    np.testing.assert_array_equal(np.concatenate(blocks), wave)


@settings(max_examples=40, deadline=None)
@given(rates, channel_counts, lengths, seeds, st.sampled_from(["PCM_16", "PCM_24", "FLOAT"]))
def test_a_file_is_its_array(
    rate: int, channels: int, length: int, seed: int, subtype: str
) -> None:
    if length * SAMPLE_RATE / rate < 1:
        return
    samples = samples_of(length, channels, seed)
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype=subtype)
    np.testing.assert_allclose(audio.load(file), audio.load((samples, rate)), atol=3e-4)
    assert audio.duration_s(file) == length / rate


@settings(max_examples=40, deadline=None)
@given(rates, st.integers(2_000, 60_000), seeds, st.floats(0, 0.95), st.floats(0.01, 1.1))
def test_a_segment_is_a_slice(
    rate: int, length: int, seed: int, start: float, share: float
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.wav")
        soundfile.write(path, samples_of(length, 1, seed), rate, subtype="FLOAT")
        whole = audio.load(path)
        segment = Segment(path, start * length / rate, share * length / rate)
        first = round(segment.start_s * SAMPLE_RATE)
        stop = round((segment.start_s + share * length / rate) * SAMPLE_RATE)
        if whole[first:stop].size:
            np.testing.assert_allclose(audio.load(segment), whole[first:stop], atol=1e-4)


@settings(max_examples=80, deadline=None)
@given(seeds, st.integers(0, 40_000), st.floats(-7, 4), st.floats(-1, 1))
def test_speech_and_quality_are_always_defined(
    seed: int, length: int, volume: float, offset: float
) -> None:
    random = np.random.default_rng(seed)
    bursts = np.repeat(random.uniform(0, 1, length // 1_000 + 1) ** 4, 1_000)[:length]
    wave = (10**volume * bursts * random.standard_normal(length) + offset).astype(np.float32)
    speech = audio.speech_frames(wave)
    found = audio.quality(wave)
    kept = audio.trim_silence(wave)
    assert speech.shape == (length // 160,)
    assert found.speech_seconds == speech.sum() * 0.01
    assert 0 <= found.speech_seconds <= found.duration_s == length / SAMPLE_RATE
    assert -10 <= found.snr_db <= 60
    assert 0 <= found.clipped <= 1
    assert kept.size <= length
    if not speech.any():
        assert kept is wave
    else:
        assert kept.size >= found.speech_seconds * SAMPLE_RATE
    np.testing.assert_array_equal(audio.trim_silence(wave), kept)
