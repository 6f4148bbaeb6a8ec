"""Speech segments of long recordings, read block by block."""

import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_mtl.audio import speech_frames
from hive_mtl.errors import AudioError
from hive_mtl.use.segments import LONGEST_S, PAUSE_S, SHORTEST_S, runs, speech_segments
from voices import RATE, voice


def hiss(seconds: float, seed: int = 9) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return (0.001 * noise).astype(np.float32)


def spoken(*parts: float) -> np.ndarray:
    """Speech of so many seconds; negative ones are pauses."""
    return np.concatenate([hiss(-part) if part < 0 else voice(part, seed=1) for part in parts])


def test_segments_are_where_somebody_speaks() -> None:
    wave = spoken(-2.0, 3.0, -2.0, 4.0, -2.0)
    first, second = speech_segments((wave, RATE))
    assert first.start_s == pytest.approx(2.0, abs=0.3)
    assert first.end_s == pytest.approx(5.0, abs=0.4)
    assert second.start_s == pytest.approx(7.0, abs=0.3)
    assert second.end_s == pytest.approx(11.0, abs=0.4)
    start = round(first.start_s * RATE)
    np.testing.assert_array_equal(first.wave, wave[start : start + len(first.wave)])


def test_the_edges_of_blocks_cut_nothing() -> None:
    wave = spoken(-1.0, 17.0, -1.0, 3.0, -1.0, 18.0, -1.0, 9.0, -8.0, 6.0, -1.0)
    found = list(speech_segments((wave, RATE)))
    assert len(found) == 5
    heard = np.zeros(len(wave) // 160, bool)
    for segment in found:
        heard[round(segment.start_s * 100) : round(segment.end_s * 100)] = True
    assert np.mean(heard == speech_frames(wave)) > 0.97


def test_a_long_stretch_comes_in_parts_that_adjoin() -> None:
    found = list(speech_segments((spoken(-1.0, 150.0, -1.0), RATE)))
    assert len(found) == 3
    assert max(len(segment.wave) for segment in found) <= LONGEST_S * RATE
    for one, following in pairwise(found):
        assert following.start_s == pytest.approx(one.end_s)


@pytest.mark.parametrize("seconds", [60.0, 60.1, 60.19, 60.2, 61.0, 119.95, 120.1, 240.15])
def test_no_end_of_a_long_stretch_is_lost(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(
        "hive_mtl.use.segments.speech_frames", lambda wave: np.ones(len(wave) // 160, bool)
    )
    found = list(speech_segments((voice(seconds), RATE)))
    assert found[0].start_s == 0.0
    assert found[-1].end_s == pytest.approx(seconds)
    for one, following in pairwise(found):
        assert following.start_s == pytest.approx(one.end_s)
    assert min(len(segment.wave) for segment in found) >= SHORTEST_S * RATE


def test_a_pause_where_a_long_stretch_is_parted_costs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wave = np.ones(100 * RATE, np.float32)  # in blocks of 20 s; the second pause ends no stretch
    for start_s, end_s in ((0.0, 19.7), (79.65, 79.94), (80.05, 81.0)):
        wave[round(start_s * RATE) : round(end_s * RATE)] = 0.0
    monkeypatch.setattr(
        "hive_mtl.use.segments.speech_frames", lambda wave: wave.reshape(-1, 160).any(axis=1)
    )
    found = list(speech_segments((wave, RATE)))
    spans = [(round(each.start_s, 2), round(each.end_s, 2)) for each in found]
    assert spans == [(19.7, 79.7), (79.7, 80.05), (81.0, 100.0)]


@pytest.mark.slow
def test_memory_stays_bounded_in_a_long_recording(tmp_path: Path) -> None:
    piece = spoken(-1.0, 100.0, -1.0, 18.0)
    with soundfile.SoundFile(tmp_path / "long.wav", "w", RATE, 1) as file:
        for _ in range(15):
            file.write(piece)  # half an hour, 115 MB as float32
    tracemalloc.start()
    seconds = sum(len(segment.wave) / RATE for segment in speech_segments(tmp_path / "long.wav"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds > 0.9 * 15 * 118.0
    assert peak < 50e6


def test_silence_has_no_segments() -> None:
    assert not list(speech_segments((np.zeros(50 * RATE, np.float32), RATE)))
    assert not list(speech_segments((hiss(3.0), RATE)))


def test_what_cannot_be_read_is_an_error() -> None:
    with pytest.raises(AudioError, match="nowhere"):
        list(speech_segments("nowhere.wav"))


@settings(max_examples=8)
@given(st.lists(st.floats(0.3, 12.0), min_size=1, max_size=6), st.integers(0, 3))
def test_segments_are_in_order_and_inside_the_recording(lengths: list[float], seed: int) -> None:
    parts = [
        part for length in lengths for part in (hiss(length / 2, seed), voice(length, seed=seed))
    ]
    wave = np.concatenate(parts)
    end_s = 0.0
    for segment in speech_segments((wave, RATE)):
        assert segment.start_s >= end_s - 1e-9
        assert len(segment.wave) >= SHORTEST_S * RATE
        end_s = segment.end_s
    assert end_s <= len(wave) / RATE + 1e-9


def test_runs_bridge_pauses_that_are_shorter() -> None:
    speech = np.zeros(200, bool)
    speech[10:20] = speech[30:50] = speech[100:120] = True
    assert runs(speech, PAUSE_S) == [(10, 50), (100, 120)]
    assert runs(speech, 0.0) == [(10, 20), (30, 50), (100, 120)]
    assert runs(~speech, 10.0) == [(0, 200)]
    assert runs(np.zeros(5, bool), PAUSE_S) == []
