"""Embeds recordings in a process of its own: ``worker.py vectors OUT`` or ``worker.py rounds WHO``.

``vectors`` runs in ``.venv-peer``: waves in float32, each behind its length, come in on standard
input and the vectors ``(waves, 256)`` go to OUT, NaN where there is none. ``rounds`` runs in either
environment: for every line, a JSON list of paths, it embeds them and answers what that cost.
"""

import json
import struct
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

DIM = 256
Floats = npt.NDArray[np.float32]


def waves(stream: BinaryIO) -> Iterator[Floats]:
    """16 kHz waves as they come in."""
    while header := stream.read(4):
        (samples,) = struct.unpack("<I", header)
        yield np.frombuffer(stream.read(4 * samples), "<f4")


def write_vectors(out: Path) -> None:
    """All waves of standard input -> one file."""
    from resemblyzer import VoiceEncoder, preprocess_wav

    encoder = VoiceEncoder("cpu", verbose=False)

    def embed(wave: Floats) -> Floats:
        try:
            return encoder.embed_utterance(preprocess_wav(wave, 16_000))
        except Exception:  # noqa: BLE001  # whatever it stumbles over, there is no vector
            return np.full(DIM, np.nan, np.float32)

    vectors = [embed(wave) for wave in waves(sys.stdin.buffer)]
    np.savez(out, vectors=np.array(vectors, np.float32).reshape(-1, DIM))


def ours(model: str) -> Callable[[Sequence[str]], None]:
    """From files to vectors by the model of a path."""
    import hive_mtl

    loaded = hive_mtl.load(model, threads=1)

    def embed(paths: Sequence[str]) -> None:
        for result in loaded.embed_many(paths):
            if isinstance(result, hive_mtl.EmbeddingError):
                raise result

    return embed


def peer() -> Callable[[Sequence[str]], None]:
    """The same by the peer, as its documentation shows it."""
    from resemblyzer import VoiceEncoder, preprocess_wav

    encoder = VoiceEncoder("cpu", verbose=False)

    def embed(paths: Sequence[str]) -> None:
        for path in paths:
            encoder.embed_utterance(preprocess_wav(path))

    return embed


def run_rounds(embed: Callable[[Sequence[str]], None]) -> None:
    """One line of JSON for each line of paths: CPU seconds of that round, peak memory so far."""
    for line in sys.stdin:
        started = time.process_time()
        embed(json.loads(line))
        cost = {"cpu_s": time.process_time() - started, "peak_mb": peak_mb()}
        print(json.dumps(cost), flush=True)


def peak_mb() -> float:
    """Resident memory at its highest; unlike getrusage, without that of who started this."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("/proc/self/status tells no peak of memory: Linux is needed")


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of the peer about packages it uses
    match sys.argv[1:]:
        case ["vectors", out]:
            write_vectors(Path(out))
        case ["rounds", "peer"]:
            run_rounds(peer())
        case ["rounds", "ours", model]:
            run_rounds(ours(model))
        case _:
            raise SystemExit(__doc__)
