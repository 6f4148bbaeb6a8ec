"""What is wrong with a table of utterances, row by row, before time is spent on training."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hive_mtl import audio
from hive_mtl.cores import cores
from hive_mtl.errors import AudioError
from hive_mtl.learn.accents import first_language_groups
from hive_mtl.learn.labels import parse_age, parse_gender
from hive_mtl.learn.utterances import codes_of, label_columns, of_split_train, voices

SHORTEST_SPEECH_S = 0.3  # a syllable or two: less tells little of a voice
MOST_CLIPPED = 0.01  # of the samples: audible distortion

_BATCH = 1024  # rows that are held as Python objects at a time
_FREE_TEXT = 20  # distinct values from which on a column may be free text instead of classes

_ADVICE = {
    "missing": "correct the path or remove the row",
    "unreadable": "copy or export the recording anew, or remove the row",
    "silent": "check the recording, or remove the row",
    "too short": "give a longer recording, or remove the row",
    "clipped": "record anew at a lower level, or remove the row",
    "duplicate": "remove one of the rows, and check whose voice it is",
    "two splits": "keep all utterances of a speaker in one split, or training leaves them all out",
    "label not understood": "correct it, or leave it: it counts as not labelled",
    "label seen once": "correct the label, empty it, or add recordings with it",
    "gender": "correct the gender, or the speaker",
}

_CLASS_OF: dict[str, Callable[[str], str | None]] = {
    "gender": parse_gender,
    "age": lambda _: None,  # years are no classes
}
_UNDERSTOOD: dict[str, tuple[Callable[[str], object], str]] = {
    "gender": (parse_gender, "neither male nor female"),
    "age": (parse_age, "no years from 0 to 120, no range of years and no decade"),
}


@dataclass(frozen=True)
class Finding:
    """One problem. ``str(finding)`` is the line for the user.

    Attributes:
        row: which utterance of the data, counted from 1.
        path: its recording.
        kind: missing, unreadable, silent, too short, clipped, duplicate, two splits, label not
            understood, label seen once, or gender.
        problem: what is wrong.
        advice: what to do.
        data: what the row is counted in; None where there is only one.
    """

    row: int
    path: str
    kind: str
    problem: str
    advice: str
    data: str | None = None

    def __str__(self) -> str:
        return f"{_row_name(self.row, self.data)}: {self.path}: {self.problem}: {self.advice}"


@dataclass(frozen=True)
class _Heard:
    """One utterance after listening: its problems (kind, problem), and a digest of its sound."""

    problems: tuple[tuple[str, str], ...]
    digest: bytes | None = None


def examine(
    table: pa.Table,
    *,
    parts: Mapping[str, int] | None = None,
    progress: Callable[[int], None] | None = None,
    workers: int | None = None,
) -> list[Finding]:
    """Listens to every utterance and compares the labels; memory stays bounded by the table.

    Args:
        table: as :func:`hive_mtl.learn.corpora.read` gives it.
        parts: the data that the table is the union of, and how many rows each has; rows are then
            counted in them.
        progress: is told, again and again, how many utterances have been listened to.
        workers: threads; one a core if None.

    Returns:
        The problems, in the order of the rows.
    """
    places = _Places(parts or {})
    found = [
        *_sound_problems(table, places, progress, workers or cores()),
        *_speakers_in_two_splits(table, places),
        *_inconsistent_genders(table),
        *_labels_not_understood(table),
        *_labels_seen_once(table),
    ]
    paths = table["path"]
    return [
        Finding(number, paths[row].as_py(), kind, problem, _ADVICE[kind], data)
        for row, kind, problem in sorted(found)
        for number, data in [places.of(row)]
    ]


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """How many findings there are of each kind, the most frequent first."""
    return dict(Counter(finding.kind for finding in findings).most_common())


Problem = tuple[int, str, str]  # row from 0, kind, problem


@dataclass(frozen=True)
class _Places:
    """Where the rows of a union come from: the rows that each of its parts has."""

    parts: Mapping[str, int]

    def of(self, row: int) -> tuple[int, str | None]:
        """Row of the union, from 0 -> row of its part, from 1, and that part."""
        for part, rows in self.parts.items():
            if row < rows:
                return row + 1, part
            row -= rows
        return row + 1, None

    def name(self, row: int) -> str:
        """How a row of the union, from 0, is called."""
        return _row_name(*self.of(row))


def _row_name(number: int, part: str | None) -> str:
    return f"row {number}" if part is None else f"row {number} of {part}"


def _sound_problems(
    table: pa.Table, places: _Places, progress: Callable[[int], None] | None, workers: int
) -> Iterator[Problem]:
    first_with: dict[bytes, int] = {}
    for row, heard in enumerate(_listen_to_all(table, workers)):
        for kind, problem in heard.problems:
            yield row, kind, problem
        if heard.digest is not None:
            first = first_with.setdefault(heard.digest, row)
            if first != row:
                speaker = table["speaker"][first].as_py() or "unknown"
                problem = f"sounds exactly like {places.name(first)}, speaker '{speaker}'"
                yield row, "duplicate", problem
        if progress:
            progress(row + 1)


def _listen_to_all(table: pa.Table, workers: int) -> Iterator[_Heard]:
    with ThreadPoolExecutor(workers) as pool:
        for batch in table.select(["path", "start_s", "duration_s"]).to_batches(_BATCH):
            yield from pool.map(_listen, *(column.to_pylist() for column in batch.columns))


def _listen(path: str, start_s: float, duration_s: float | None) -> _Heard:
    if not Path(path).is_file():
        return _Heard((("missing", "no such file"),))
    segment = audio.Segment(Path(path), start_s, duration_s)
    seconds = speech = clipped = 0.0
    digest = hashlib.blake2b(digest_size=16)
    try:
        for block in audio.stream(segment):
            quality = audio.quality(block)
            seconds += quality.duration_s
            speech += quality.speech_seconds
            clipped += quality.clipped * quality.duration_s
            # 16 bits: the same sound from another container or a float file is still the same.
            digest.update(np.rint(block * 32768).astype(np.int32).tobytes())
    except AudioError as error:
        reason = str(error).removeprefix(f"{audio.describe_source(segment)}: ")
        return _Heard((("unreadable", reason.rpartition(": ")[0] or reason),))
    if speech == 0 and seconds >= SHORTEST_SPEECH_S:
        return _Heard((("silent", f"no speech in {seconds:.2f} s"),))
    problems = []
    if speech < SHORTEST_SPEECH_S:
        problems.append(("too short", f"{speech:.2f} s of speech in {seconds:.2f} s"))
    if clipped > MOST_CLIPPED * seconds:
        problems.append(("clipped", f"{clipped / seconds:.1%} of the samples are clipped"))
    # Pieces of silence are all alike, so they are no duplicates.
    return _Heard(tuple(problems), digest.digest() if speech else None)


def _speakers_in_two_splits(table: pa.Table, places: _Places) -> Iterator[Problem]:
    splits = pc.if_else(pa.array(of_split_train(table)), "train", pc.utf8_lower(table["split"]))
    for voice, values in _voices_with_several(table, splits.combine_chunks()):
        (known, known_row, _), *others = sorted(values, key=lambda value: value[1])
        for split, row, _ in others:
            place = places.name(known_row)
            problem = f"speaker '{voice}' is in split '{split}', and in '{known}' ({place})"
            yield row, "two splits", problem


def _inconsistent_genders(table: pa.Table) -> Iterator[Problem]:
    if "gender" not in table.column_names:
        return
    genders = _mapped(table["gender"], parse_gender)
    for voice, values in _voices_with_several(table, genders):
        (usual, _, usually), (other, row, times) = sorted(values, key=lambda value: -value[2])
        yield (
            row,
            "gender",
            f"speaker '{voice}' is {other} in {times} utterances, {usual} in {usually}",
        )


def _labels_not_understood(table: pa.Table) -> Iterator[Problem]:
    """Each of them once, where it comes first."""
    for column, (parse, why) in _UNDERSTOOD.items():
        if column not in table.column_names:
            continue
        code, cells = codes_of(table[column])
        for number, row, times in zip(
            *np.unique(code, return_index=True, return_counts=True), strict=True
        ):
            if number >= 0 and parse(cells[number]) is None:
                problem = f"{column} '{cells[number]}', on {times} utterances, is {why}"
                yield int(row), "label not understood", problem


def _labels_seen_once(table: pa.Table) -> Iterator[Problem]:
    for column in label_columns(table):
        labels = _classes(table, column)
        tally = labels.value_counts()
        values, times = tally.field("values"), tally.field("counts")
        once = values.filter(pc.and_(pc.equal(times, 1), values.is_valid()))
        if len(once) > len(values) / 2 and len(values) > _FREE_TEXT:
            continue
        for row in np.flatnonzero(
            pc.is_in(labels, value_set=once).to_numpy(zero_copy_only=False)
        ).tolist():
            problem = f"{column} '{labels[row]}' is on this utterance only"
            yield row, "label seen once", problem


def _classes(table: pa.Table, column: str) -> pa.Array:
    if column == "accent":
        return pa.array(first_language_groups(table), pa.string())
    return _mapped(table[column], _CLASS_OF.get(column, str))


def _mapped(column: pa.ChunkedArray, change: Callable[[str], str | None]) -> pa.Array:
    encoded = pc.dictionary_encode(column).unify_dictionaries().combine_chunks()
    changed = pa.array([change(value) for value in encoded.dictionary.to_pylist()], pa.string())
    return changed.take(encoded.indices)


def _voices_with_several(
    table: pa.Table, values: pa.Array
) -> Iterator[tuple[str, list[tuple[str, int, int]]]]:
    """Voices that have more than one value: (voice, [(value, its first row, its rows)])."""
    voice, names = voices(table)
    encoded = values.dictionary_encode()
    value = encoded.indices.fill_null(-1).to_numpy()
    rows = np.flatnonzero((voice >= 0) & (value >= 0))
    pairs = np.stack([voice[rows], value[rows]])
    unique, first, times = np.unique(pairs, axis=1, return_index=True, return_counts=True)
    entries = zip(unique[0], unique[1], rows[first], times, strict=True)
    for voice_code, group in groupby(entries, key=lambda entry: int(entry[0])):
        members = [(str(encoded.dictionary[int(v)]), int(row), int(n)) for _, v, row, n in group]
        if len(members) > 1:
            yield names[voice_code], members
