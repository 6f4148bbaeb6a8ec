"""How fast a model embeds on this machine."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from hive_mtl.audio import SAMPLE_RATE, Wave
from hive_mtl.errors import EmbeddingError
from hive_mtl.use.model import Model

_RECORDINGS = 200
_DURATION_S = 3.0
_FORMATS = {"flac": ("FLAC", "PCM_16"), "opus": ("OGG", "OPUS")}


@dataclass(frozen=True)
class Speed:
    """Recordings of ``duration_s`` embedded per second, decoding included.

    Attributes:
        format: of the recordings, "flac" (16 bits) or "opus".
        duration_s: of each recording.
        per_cpu_second: per second of work by one core.
        per_second: per second on the clock, with as many cores as the model may use.
    """

    format: str
    duration_s: float
    per_cpu_second: float
    per_second: float


def measure(model: Model) -> list[Speed]:
    """Embeds made-up recordings of every format in :data:`_FORMATS`, after one round to warm up."""
    with tempfile.TemporaryDirectory(prefix="hive-mtl-bench-") as folder:
        return [_measure(model, name, Path(folder)) for name in _FORMATS]


def _measure(model: Model, name: str, folder: Path) -> Speed:
    container, codec = _FORMATS[name]
    path = folder / f"voice.{name}"
    sf.write(path, _voice(), SAMPLE_RATE, format=container, subtype=codec)
    model.embed(path)
    clock, cpu = time.perf_counter(), time.process_time()
    for result in model.embed_stream([path] * _RECORDINGS):
        if isinstance(result, EmbeddingError):
            raise result
    cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    return Speed(name, _DURATION_S, _RECORDINGS / cpu, _RECORDINGS / clock)


def _voice() -> Wave:
    """A noisy buzz in the rhythm of syllables, ``(samples,)``: it costs what speech costs."""
    t = np.arange(int(_DURATION_S * SAMPLE_RATE)) / SAMPLE_RATE
    pitch_hz = 120 + 10 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE
    buzz = sum(np.sin(k * phase) / k for k in range(1, 30))
    syllables = 0.3 + 0.7 * np.sin(np.pi * 2.5 * t) ** 2
    noise = np.random.default_rng(0).standard_normal(t.size)
    return np.asarray(0.2 * syllables * buzz + 0.003 * noise, np.float32)
