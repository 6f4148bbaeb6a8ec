"""How well a voice is found in long recordings, composed of utterances so that the truth is known.

The recordings of a corpus hold its utterances in random order, a pause before each. Each voice that
has more than one utterance is asked for by one of them, which is left out of the recordings.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import soundfile

from hive_mtl.audio import SAMPLE_RATE, Segment, Wave, load, trim_silence
from hive_mtl.errors import AudioError, DataError
from hive_mtl.evaluate.embedded import segments

RECORDING_S = 600.0
PAUSE_S = (0.3, 3.0)
QUERY_S = 3.0  # an utterance to ask by is as long as this
_HISS = 1e-3  # of a pause: 60 dB under full scale


@dataclass(frozen=True, slots=True)
class Spoken:
    """An utterance in a composed recording."""

    voice: str
    start_s: float
    end_s: float


@dataclass(frozen=True, eq=False)
class Composed:
    """An archive whose truth is known.

    Attributes:
        spoken: by the name of a recording, what is said in it.
        queries: by voice, the utterance that it is asked for by.
    """

    spoken: dict[str, list[Spoken]]
    queries: dict[str, Segment]


def compose_archive(table: pa.Table, folder: Path, seed: int = 0) -> Composed:
    """Writes the utterances of one corpus into ``folder`` as a few long recordings.

    Args:
        table: as :func:`hive_mtl.learn.utterances.conform` makes it, of one corpus. Rows of unknown
            speaker take no part; halves of one recording are no queries, for they share its channel.
        folder: where the recordings are written, as FLAC.
        seed: of the order, the pauses and the queries.

    Raises:
        DataError: there is no voice to ask for.
    """
    rows = table.filter(pc.is_valid(table["speaker"]))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    rows = rows.take(pa.array(order))
    queries = _queries(rows)
    if not queries:
        raise DataError(f"data to find voices in: no voice with two utterances, one of {QUERY_S:g} s")
    asked = set(queries.values())
    utterances = list(segments(rows))
    speakers = rows["speaker"].to_pylist()
    said = [(speakers[row], utterances[row]) for row in range(len(rows)) if row not in asked]
    spoken = dict(_write(said, folder, rng))
    return Composed(spoken, {voice: utterances[row] for voice, row in queries.items()})


def _queries(rows: pa.Table) -> dict[str, int]:
    """By voice, the row of the first utterance that is long enough, if there are others."""
    speakers = rows["speaker"].to_pylist()
    durations = rows["duration_s"].fill_null(0.0).to_pylist()
    halves = rows["same_recording"].to_pylist() if "same_recording" in rows.column_names else []
    queries: dict[str, int] = {}
    for row, (speaker, duration) in enumerate(zip(speakers, durations, strict=True)):
        alone = speakers.count(speaker) == 1 or (halves and halves[row] == "yes")
        if not alone and duration >= QUERY_S:
            queries.setdefault(speaker, row)
    return queries


def _write(
    said: Sequence[tuple[str, Segment]], folder: Path, rng: np.random.Generator
) -> Iterator[tuple[str, list[Spoken]]]:
    """The recordings, one after the other; utterances that cannot be read are left out."""
    waves: list[Wave] = []
    spoken: list[Spoken] = []
    number, at = 0, 0
    for place, (voice, utterance) in enumerate(said):
        try:
            wave = trim_silence(load(utterance))
        except AudioError:
            continue
        pause = _HISS * rng.standard_normal(round(rng.uniform(*PAUSE_S) * SAMPLE_RATE))
        waves += [pause.astype(np.float32), wave]
        at += len(pause)
        spoken.append(Spoken(voice, at / SAMPLE_RATE, (at + len(wave)) / SAMPLE_RATE))
        at += len(wave)
        if at >= RECORDING_S * SAMPLE_RATE or place == len(said) - 1:
            name = f"{number:03d}.flac"
            soundfile.write(folder / name, np.concatenate(waves), SAMPLE_RATE)
            yield name, spoken
            waves, spoken, number, at = [], [], number + 1, 0
