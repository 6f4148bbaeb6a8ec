"""Noises and rooms to learn in, kept as WAV, of which a part is read in no time.

Rooms are measured, simulated or both: there are more rooms than anybody measures. Simulation is by
the image-source method (Allen and Berkley, 1979) in shoe-box rooms, by pyroomacoustics.
"""

import errno
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from hive_mtl import audio
from hive_mtl.atomic import atomic_write
from hive_mtl.errors import DataError
from hive_mtl.learn.prepare import default_cache

SMALLEST_M, LARGEST_M = (2.5, 2.5, 2.3), (10.0, 8.0, 4.0)
REVERBERATION_S = (0.15, 0.8)  # until the sound has fallen by 60 dB
FROM_WALL_M = 0.3
MOST_REFLECTIONS = 20  # of an image; what comes later is too faint to matter in a room this size

LONGEST_RESPONSE_S = 1.0  # of a room as it is heard in a crop
LATEST_DIRECT_S = 1.0  # where the direct sound of a measured response is looked for

Floats = npt.NDArray[np.float32]


def prepare_noises(folder: Path, cache: Path | None = None) -> Path:
    """A folder with the recordings of ``folder`` as mono WAV of 16 kHz.

    Args:
        folder: recordings at any depth.
        cache: keeps the result for the next run; by default the user's cache folder.

    Raises:
        DataError: ``folder`` is no folder, or holds no recording.
    """
    return _kept(recordings_of(folder, "noises"), 0, cache, "noises")


def prepare_rooms(measured: Path | None, simulated: int, cache: Path | None = None) -> Path:
    """A folder with measured responses and ``simulated`` more, as mono WAV of 16 kHz.

    Args:
        measured: a folder of responses; None for simulated ones alone.
        simulated: how many rooms to simulate; always the same ones.
        cache: keeps the result for the next run; by default the user's cache folder.

    Raises:
        DataError: ``measured`` is no folder, or holds no recording.
    """
    recordings = [] if measured is None else recordings_of(measured, "rooms")
    return _kept(recordings, simulated, cache, "rooms")


def simulate_room(rng: np.random.Generator) -> Floats:
    """The response ``(samples,)`` of a random room between two random places in it, peak 0.9."""
    import pyroomacoustics

    size = rng.uniform(SMALLEST_M, LARGEST_M)
    absorption = None
    while absorption is None:
        reverberation_s = rng.uniform(*REVERBERATION_S)
        try:
            absorption, order = pyroomacoustics.inverse_sabine(reverberation_s, size)
        except ValueError:  # a large room cannot be so dry
            continue
    room = pyroomacoustics.ShoeBox(
        size,
        fs=audio.SAMPLE_RATE,
        materials=pyroomacoustics.Material(absorption),
        max_order=min(order, MOST_REFLECTIONS),
    )
    for add in (room.add_source, room.add_microphone):
        add(rng.uniform(FROM_WALL_M, size - FROM_WALL_M))
    room.compute_rir()
    response = np.asarray(room.rir[0][0], dtype=np.float32)
    direct = int(np.argmax(np.abs(response)))
    response = response[max(direct - audio.SAMPLE_RATE // 1000, 0) :]  # without the way to the ear
    return response * np.float32(0.9 / np.abs(response).max())


def noise_part(path: Path, samples: int, rng: np.random.Generator) -> Floats:
    """A random stretch ``(samples,)`` of a prepared noise, again and again where it is shorter."""
    with _opened(path) as sound:
        sound.seek(int(rng.integers(max(sound.frames - samples, 0) + 1)))
        return np.resize(sound.read(samples, dtype="float32"), samples)


def room_response(path: Path, samples: int) -> Floats:
    """A prepared response from its direct sound on, at most ``samples`` of it.

    What comes later than :data:`LONGEST_RESPONSE_S` is left out.
    """
    longest = min(samples, round(LONGEST_RESPONSE_S * audio.SAMPLE_RATE))
    latest = round(LATEST_DIRECT_S * audio.SAMPLE_RATE)
    with _opened(path) as sound:
        response: Floats = sound.read(latest + longest, dtype="float32")
    direct = int(np.argmax(np.abs(response[:latest])))
    return response[direct : direct + longest]


@contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    try:
        with soundfile.SoundFile(path) as sound:
            yield sound
    except soundfile.LibsndfileError as error:
        raise DataError(
            f"{path}: cannot be read ({error}): remove the folder and run again to prepare it anew"
        ) from error


def recordings_of(folder: Path, use: str) -> list[Path]:
    """The recordings to use as "noises" or "rooms".

    Raises:
        DataError: there are none.
    """
    found = audio.find_recordings(folder)
    if not found:
        raise DataError(f"{folder}: holds no recordings to use as {use}: check augment.{use}")
    return found


def _kept(recordings: Sequence[Path], simulated: int, cache: Path | None, use: str) -> Path:
    """The folder of these recordings and simulated rooms, which is made where it is not there."""
    digest = hashlib.sha256(str(simulated).encode())
    for path in recordings:
        digest.update(f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}\n".encode())
    folder = (cache or default_cache()) / f"{digest.hexdigest()[:16]}-{use}"
    if not folder.is_dir():
        with atomic_write(folder) as temporary:
            temporary.mkdir()
            for number, path in enumerate(recordings):
                _write(temporary / f"measured-{number:04d}.wav", audio.load(path))
            for number in range(simulated):
                response = simulate_room(np.random.default_rng([0, number]))
                _write(temporary / f"simulated-{number:04d}.wav", response)
    return folder


def _write(path: Path, wave: Floats) -> None:
    try:
        soundfile.write(path, wave, audio.SAMPLE_RATE, subtype="PCM_16")
    except soundfile.LibsndfileError as error:  # so it tells of a full disk
        raise OSError(errno.ENOSPC, str(error), str(path)) from error
