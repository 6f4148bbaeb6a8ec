"""What the demonstration works on: utterances, some voices of which are kept aside."""

import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import soundfile

from hive_mtl import audio
from hive_mtl.errors import DataError
from hive_mtl.learn import corpora
from hive_mtl.learn.utterances import is_validation_voice, sessions, with_columns

UNSEEN = "test"  # the split that training never reads
FEWEST_VOICES = 8
MOST_UNSEEN = 24  # voices, and recordings of each: as many as a page can show
MOST_EACH = 10
_SHARE_UNSEEN = 0.2
_FEWEST_UNSEEN = 3
_CLIP_S = 4.0


def read_own(speech: Path) -> pa.Table:
    """The user's recordings, some voices of which are kept aside as split :data:`UNSEEN`.

    A corpus that names its own test split keeps it. Otherwise a fifth of the voices are drawn by a
    hash, not among those that validate.

    Raises:
        DataError: nothing is there, or too few voices have two recordings, in all or kept aside.
    """
    table = corpora.read(speech)
    counts = Counter(zip(table["corpus"].to_pylist(), table["speaker"].to_pylist(), strict=True))
    voices = [voice for voice, count in counts.items() if count > 1 and voice[1] is not None]
    if len(voices) < FEWEST_VOICES:
        raise DataError(
            f"{speech}: {len(voices)} voices with two recordings or more: the demonstration trains"
            f" on some and tests on others, so give at least {FEWEST_VOICES}"
        )
    if UNSEEN in table["split"].unique().to_pylist():
        _check_unseen(table, speech)
        return table
    aside = set(_drawn(voices))
    keys = zip(table["corpus"].to_pylist(), table["speaker"].to_pylist(), strict=True)
    split = pa.array([UNSEEN if key in aside else "train" for key in keys], pa.string())
    return table.set_column(table.column_names.index("split"), "split", split)


def unseen(table: pa.Table) -> pa.Table:
    """Rows of the voices kept aside: at most :data:`MOST_EACH` of :data:`MOST_UNSEEN` voices.

    They are of one corpus, so that all of them are judged together.
    """
    rows = _as_one_corpus(table.filter(pc.equal(table["split"], UNSEEN)))
    count: Counter[str] = Counter()
    kept = []
    for row, speaker in enumerate(rows["speaker"].to_pylist()):
        if speaker is None or (speaker not in count and len(count) == MOST_UNSEEN):
            continue
        count[speaker] += 1
        if count[speaker] <= MOST_EACH:
            kept.append(row)
    return rows.take(pa.array(kept, pa.int64()))


def clip(source: audio.Segment) -> bytes:
    """The beginning of a recording as MP3, which every browser plays."""
    duration_s = _CLIP_S if source.duration_s is None else min(source.duration_s, _CLIP_S)
    wave = audio.load(replace(source, duration_s=duration_s))
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, audio.SAMPLE_RATE, format="MP3", subtype="MPEG_LAYER_III")
    return buffer.getvalue()


def _as_one_corpus(rows: pa.Table) -> pa.Table:
    """The rows, with the names of their voices led by those of their corpora if there are more."""
    if len(rows["corpus"].unique()) < 2:
        return rows
    return with_columns(
        rows,
        session=pa.array(sessions(rows), pa.string()),  # each corpus has them in its own way
        corpus=pa.array(["recordings"] * len(rows), pa.string()),
        speaker=pc.binary_join_element_wise(rows["corpus"], rows["speaker"], "/"),
    )


def _check_unseen(table: pa.Table, speech: Path) -> None:
    count = Counter(unseen(table)["speaker"].to_pylist())
    if len(count) < 2 or max(count.values()) < 2:
        raise DataError(
            f"{speech}: split '{UNSEEN}' needs two named voices, one of them with two recordings:"
            " add them, or name no split"
        )


def _drawn(voices: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    ready = [voice for voice in voices if not is_validation_voice(*voice)]
    ready.sort(key=lambda voice: hashlib.sha256("/".join(("unseen", *voice)).encode()).digest())
    wanted = max(_FEWEST_UNSEEN, round(_SHARE_UNSEEN * len(voices)))
    return ready[: min(wanted, MOST_UNSEEN)]
