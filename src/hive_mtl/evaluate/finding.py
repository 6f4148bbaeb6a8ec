"""How well a voice is found in long recordings, composed of utterances so that the truth is known.

The recordings of a corpus hold its utterances in random order, a pause before each. Each voice that
has more than one utterance is asked for by one of them, which is left out of the recordings.
"""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import soundfile

from hive_mtl.audio import SAMPLE_RATE, Segment, Wave, load, trim_silence
from hive_mtl.errors import AudioError, DataError
from hive_mtl.evaluate.embedded import segments
from hive_mtl.use.find import FALSE_ALARM, Found
from hive_mtl.use.model import Model

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


@dataclass(frozen=True)
class Finding:
    """How well the voices of a corpus are found, all questions taken together.

    Attributes:
        queries: voices asked for.
        hours: of recordings that each is looked for in.
        precision: share of the time found that is the voice's; None where nothing is found.
        recall: share of the voice's time that is found.
        utterances: share of the voice's utterances of which some part is found.
        false_per_hour: stretches without the voice, for each hour searched.
        expected_false_per_hour: how many of them the rate of false alarms lets expect.
    """

    queries: int
    hours: float
    precision: float | None
    recall: float
    utterances: float
    false_per_hour: float
    expected_false_per_hour: float


def judge_finding(model: Model, table: pa.Table, false_alarm: float = FALSE_ALARM) -> Finding:
    """Composes an archive of one corpus and looks for every voice in it.

    Args:
        model: what is judged.
        table: as :func:`compose_archive` takes it.
        false_alarm: as :meth:`hive_mtl.Model.find` takes it.

    Raises:
        DataError: there is no voice to ask for.
    """
    with tempfile.TemporaryDirectory() as folder:
        composed = compose_archive(table, Path(folder))
        counts = np.zeros(6)
        hours = expected = 0.0
        for voice, query in composed.queries.items():
            search = model.find(query, folder, false_alarm=false_alarm)
            counts += _counts(search.found, composed.spoken, voice)
            hours, expected = search.hours, expected + search.expected_false
    hit_s, found_s, true_s, heard, said, false = counts.tolist()
    queries = len(composed.queries)
    return Finding(
        queries=queries,
        hours=hours,
        precision=hit_s / found_s if found_s else None,
        recall=hit_s / true_s,
        utterances=heard / said,
        false_per_hour=false / (hours * queries),
        expected_false_per_hour=expected / (hours * queries),
    )


def compose_archive(table: pa.Table, folder: Path, seed: int = 0) -> Composed:
    """Writes the utterances of one corpus into ``folder`` as a few long recordings.

    Args:
        table: as :func:`hive_mtl.learn.utterances.conform` makes it, of one corpus. Rows of unknown
            speaker take no part; halves of one recording share its channel and are not asked by.
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
        raise DataError(
            f"data to find voices in: no voice with two utterances, one of {QUERY_S:g} s"
        )
    asked = set(queries.values())
    utterances = list(segments(rows))
    speakers = rows["speaker"].to_pylist()
    said = [(speakers[row], utterances[row]) for row in range(len(rows)) if row not in asked]
    spoken = dict(_write(said, folder, rng))
    return Composed(spoken, {voice: utterances[row] for voice, row in queries.items()})


def _counts(
    found: Iterable[Found], spoken: dict[str, list[Spoken]], voice: str
) -> npt.NDArray[np.float64]:
    """Seconds found right, found and true; utterances heard and said; stretches found wrongly."""
    true = [(name, each) for name, said in spoken.items() for each in said if each.voice == voice]
    hit_s = found_s = 0.0
    heard, false = set(), 0
    for stretch in found:
        overlaps = {
            place: min(each.end_s, stretch.end_s) - max(each.start_s, stretch.start_s)
            for place, (name, each) in enumerate(true)
            if name == stretch.path.name
        }
        touched = {place for place, overlap in overlaps.items() if overlap > 0}
        hit_s += sum(overlaps[place] for place in touched)
        found_s += stretch.end_s - stretch.start_s
        heard |= touched
        false += not touched
    true_s = sum(each.end_s - each.start_s for _, each in true)
    return np.array([hit_s, found_s, true_s, len(heard), len(true), false])


def _queries(rows: pa.Table) -> dict[str, int]:
    """By voice, the row of the first utterance that is long enough, if there are others."""
    speakers = rows["speaker"].to_pylist()
    durations = rows["duration_s"].fill_null(0.0).to_pylist()
    halves = rows["same_recording"].to_pylist() if "same_recording" in rows.column_names else []
    queries, times = dict[str, int](), Counter(speakers)
    for row, (speaker, duration) in enumerate(zip(speakers, durations, strict=True)):
        alone = times[speaker] == 1 or (halves and halves[row] == "yes")
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
    for voice, utterance in said:
        try:
            wave = trim_silence(load(utterance))
        except AudioError:
            continue
        pause = _HISS * rng.standard_normal(round(rng.uniform(*PAUSE_S) * SAMPLE_RATE))
        waves += [pause.astype(np.float32), wave]
        at += len(pause)
        spoken.append(Spoken(voice, at / SAMPLE_RATE, (at + len(wave)) / SAMPLE_RATE))
        at += len(wave)
        if at >= RECORDING_S * SAMPLE_RATE:
            yield _written(folder, number, waves), spoken
            waves, spoken, number, at = [], [], number + 1, 0
    if spoken:
        yield _written(folder, number, waves), spoken


def _written(folder: Path, number: int, waves: Sequence[Wave]) -> str:
    name = f"{number:03d}.flac"
    soundfile.write(folder / name, np.concatenate(waves), SAMPLE_RATE)
    return name
