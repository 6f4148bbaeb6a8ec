from pathlib import Path

import numpy as np
import pytest
import soundfile

from hive_mtl.errors import DataError
from hive_mtl.learn.rooms import prepare_rooms, simulate_room
from voices import RATE


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
