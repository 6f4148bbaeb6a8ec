from pathlib import Path

import numpy as np
import pytest
import soundfile

from hive_mtl.errors import DataError
from hive_mtl.learn.surroundings import prepare_noises, prepare_rooms, simulate_room
from voices import RATE, voice


@pytest.mark.parametrize("seed", range(5))
def test_a_simulated_room_is_a_sound_that_decays(seed: int) -> None:
    response = simulate_room(np.random.default_rng(seed))
    assert np.abs(response).max() == pytest.approx(0.9)
    assert np.abs(response).argmax() <= RATE // 1000
    energy = np.square(response)
    assert energy[: len(energy) // 2].sum() > 10 * energy[len(energy) // 2 :].sum()


def test_measured_and_simulated_rooms_stand_side_by_side_and_are_made_once(tmp_path: Path) -> None:
    measured = tmp_path / "measured"
    measured.mkdir()
    soundfile.write(measured / "hall.flac", np.eye(1, 8000)[0] * 0.5, 8_000)
    rooms = prepare_rooms(measured, 2, tmp_path)
    names = sorted(path.name for path in rooms.iterdir())
    assert names == ["measured-0000.wav", "simulated-0000.wav", "simulated-0001.wav"]
    assert {soundfile.info(path).samplerate for path in rooms.iterdir()} == {RATE}
    before = {path: path.stat().st_mtime_ns for path in rooms.iterdir()}
    assert prepare_rooms(measured, 2, tmp_path) == rooms
    assert {path: path.stat().st_mtime_ns for path in rooms.iterdir()} == before
    assert prepare_rooms(None, 2, tmp_path) != rooms


def test_a_folder_without_recordings_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{tmp_path}.*rooms"):
        prepare_rooms(tmp_path, 3, tmp_path / "cache")


class TestNoises:
    def test_any_recordings_become_wav_once(self, tmp_path: Path) -> None:
        cache = tmp_path / "cache"
        (tmp_path / "noises" / "deep").mkdir(parents=True)
        soundfile.write(tmp_path / "noises" / "deep" / "a.flac", voice(1.0), 44_100)
        folder = prepare_noises(tmp_path / "noises", cache)
        assert [path.suffix for path in folder.iterdir()] == [".wav"]
        assert soundfile.info(next(folder.iterdir())).samplerate == RATE
        before = next(folder.iterdir()).stat().st_mtime_ns
        assert prepare_noises(tmp_path / "noises", cache) == folder
        assert next(folder.iterdir()).stat().st_mtime_ns == before

    def test_an_empty_or_missing_folder_is_one_line(self, tmp_path: Path) -> None:
        for folder in (tmp_path, tmp_path / "missing"):
            with pytest.raises(DataError, match=str(folder)):
                prepare_noises(folder, tmp_path / "cache")
