"""A table of utterances after the model has heard each of them once."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hive_mtl.audio import Segment
from hive_mtl.calibration import Sides
from hive_mtl.errors import DataError, EmbeddingError
from hive_mtl.learn.labels import parse_gender
from hive_mtl.learn.utterances import sessions, voice_of_each
from hive_mtl.trials import Trials, cosines, crosses_sessions
from hive_mtl.use.embedding import Embedding, lacks_speech
from hive_mtl.use.model import Model
from hive_mtl.use.normalising import adaptive_s_norm, cohort_level
from hive_mtl.use.progress import with_progress

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_PROBES_AT_ONCE = 1024


@dataclass(frozen=True)
class Failure:
    """A recording that gave no vector."""

    path: str
    reason: str


@dataclass(frozen=True)
class Coverage:
    """How much of a corpus has a vector."""

    corpus: str
    speakers: int
    utterances: int
    embedded: int


@dataclass(frozen=True, eq=False)
class EmbeddedTable:
    """Utterances and what the model made of them, by row of the table.

    Attributes:
        table: as :func:`hive_mtl.learn.utterances.conform` makes it.
        vectors: ``(utterances, dim)`` unit norm; zeros where there is none.
        missing: ``(utterances,)`` True where there is no vector.
        speech_s: ``(utterances,)`` seconds of speech; 0 where there is no vector.
        snr_db: ``(utterances,)`` signal-to-noise ratio; 0 where there is no vector.
        heads: each head's raw output ``(outputs,)`` per utterance; None where there is none.
        duration_s: ``(utterances,)`` infinite where neither the table nor the model can tell, so
            that an unreadable recording is not left out as too short.
        failures: why vectors are missing.
        cohort: ``(voices, dim)`` by which scores are normalised; None for plain cosines.
    """

    table: pa.Table
    vectors: npt.NDArray[np.float32]
    missing: Bools
    speech_s: npt.NDArray[np.float64]
    snr_db: npt.NDArray[np.float64]
    heads: tuple[Mapping[str, npt.NDArray[np.float32]] | None, ...]
    duration_s: npt.NDArray[np.float64]
    failures: tuple[Failure, ...]
    cohort: npt.NDArray[np.float32] | None = None

    def column(self, name: str) -> list[str | None]:
        """The cells of a column; all None where the table has no such column."""
        if name not in self.table.column_names:
            return [None] * len(self.table)
        cells: list[str | None] = self.table[name].to_pylist()
        return cells

    @cached_property
    def corpus(self) -> npt.NDArray[np.object_]:
        """The corpus of each utterance ``(utterances,)``."""
        return np.array(self.column("corpus"), dtype=object)

    @cached_property
    def corpora(self) -> list[str]:
        """The names of the corpora, sorted."""
        return sorted(set(self.corpus))

    @cached_property
    def speaker(self) -> npt.NDArray[np.object_]:
        """The speaker of each utterance ``(utterances,)``; None where unknown."""
        return np.array(self.column("speaker"), dtype=object)

    @cached_property
    def voice(self) -> Indices:
        """Of each utterance ``(utterances,)``: :func:`hive_mtl.learn.utterances.voice_of_each`."""
        return voice_of_each(self.table)

    @cached_property
    def session(self) -> npt.NDArray[np.object_]:
        """Of each utterance ``(utterances,)``, see :func:`hive_mtl.learn.utterances.sessions`."""
        return np.array(sessions(self.table), dtype=object)

    @cached_property
    def gender(self) -> npt.NDArray[np.object_]:
        """'female', 'male' or None for each utterance ``(utterances,)``."""
        cells = self.column("gender")
        return np.array([cell and parse_gender(cell) for cell in cells], dtype=object)

    def coverage(self, corpus: str) -> Coverage:
        """How much of a corpus has a vector."""
        rows = self.corpus == corpus
        return Coverage(
            corpus=corpus,
            speakers=len({speaker for speaker in self.speaker[rows] if speaker is not None}),
            utterances=int(rows.sum()),
            embedded=int((rows & ~self.missing).sum()),
        )

    def comparable(self, corpus: str, min_duration_s: float) -> Indices:
        """The utterances of a corpus that tell about voices: long enough, and known who speaks."""
        known = np.array([speaker is not None for speaker in self.speaker], dtype=np.bool_)
        long_enough = self.duration_s >= min_duration_s
        return np.flatnonzero((self.corpus == corpus) & known & long_enough)

    @cached_property
    def answerable(self) -> Bools:
        """``(utterances,)`` True where ``verify`` would not refuse: speech enough, above noise."""
        reasons = map(lacks_speech, self.speech_s.tolist(), self.snr_db.tolist())
        return np.array([not reason for reason in reasons], dtype=np.bool_)

    def sides(self, utterances: Indices) -> Sides:
        """How good these utterances are, ``(utterances,)``, as one side of trials."""
        return Sides(self.speech_s[utterances], self.snr_db[utterances])

    def scores(self, trials: Trials, other: "EmbeddedTable | None" = None) -> Floats:
        """The score of each trial ``(trials,)``; right sides are of ``other``, if it is given."""
        other = self if other is None else other
        cosine = cosines(self.vectors, trials, other.vectors)
        if self.cohort is None:
            return cosine
        return adaptive_s_norm(cosine, self._level[trials.left], other._level[trials.right])

    def score_matrix(
        self, left: Indices, right: Indices, other: "EmbeddedTable | None" = None
    ) -> Floats:
        """The scores of utterances with those of ``other``, if it is given: ``(left, right)``."""
        other = self if other is None else other
        cosine = (self.vectors[left] @ other.vectors[right].T).astype(np.float64)
        if self.cohort is None:
            return cosine
        return adaptive_s_norm(cosine, self._level[left][:, None], other._level[right][None, :])

    def score_blocks(self, probes: Indices, enrolled: Indices) -> Iterator[tuple[slice, Floats]]:
        """:meth:`score_matrix` in bounded memory: which of the probes, and their rows of it."""
        for start in range(0, len(probes), _PROBES_AT_ONCE):
            part = slice(start, start + _PROBES_AT_ONCE)
            yield part, self.score_matrix(probes[part], enrolled)

    @cached_property
    def _level(self) -> Floats:
        """What the cohort's scores with each utterance are, ``(utterances, 2)``."""
        if self.cohort is None:
            raise DataError("scores: there is no cohort to normalise them by")
        return cohort_level(self.vectors, self.cohort)

    def crosses_sessions(self, utterances: Indices) -> bool:
        """Whether speakers are compared across sessions, see :mod:`hive_mtl.trials`."""
        return crosses_sessions(
            self.speaker[utterances].tolist(), self.session[utterances].tolist()
        )


def embed_table(model: Model, table: pa.Table) -> EmbeddedTable:
    """Embeds every utterance once, in order and in bounded memory but for the results.

    Shows how far it is on standard error, if somebody is looking.

    Raises:
        DataError: the table is empty.
    """
    if len(table) == 0:
        raise DataError("table of utterances: no rows: give the recordings to evaluate on")
    results = model.embed_stream(segments(table))
    return collect(table, results, model.description.embedding_dim, scoring_cohort(model))


def scoring_cohort(model: Model) -> npt.NDArray[np.float32] | None:
    """The cohort ``(voices, dim)`` that normalises the scores of a model; None if none does."""
    normalised = model.calibration is not None and model.calibration.normalised
    return model.cohort if normalised else None


def collect(
    table: pa.Table,
    results: Iterable[Embedding | EmbeddingError],
    dim: int,
    cohort: npt.NDArray[np.float32] | None = None,
) -> EmbeddedTable:
    """The rows of a table with what was made of each, in order: vectors ``(dim,)`` or errors."""
    vectors = np.zeros((len(table), dim), dtype=np.float32)
    missing = np.zeros(len(table), dtype=np.bool_)
    speech_s, snr_db = np.zeros(len(table)), np.zeros(len(table))
    duration = table["duration_s"].to_numpy().astype(np.float64)
    heads: list[Mapping[str, npt.NDArray[np.float32]] | None] = []
    failures = []
    for row, result in enumerate(with_progress(results, len(table))):
        if isinstance(result, EmbeddingError):
            missing[row] = True
            failures.append(Failure(result.source, result.reason))
            heads.append(None)
            continue
        vectors[row] = result.vector
        speech_s[row], snr_db[row] = result.speech_seconds, result.snr_db
        heads.append(result.heads)
        if np.isnan(duration[row]):
            duration[row] = result.duration_s
    duration[np.isnan(duration)] = np.inf
    return EmbeddedTable(
        table=table,
        vectors=vectors,
        missing=missing,
        speech_s=speech_s,
        snr_db=snr_db,
        heads=tuple(heads),
        duration_s=duration,
        failures=tuple(failures),
        cohort=cohort,
    )


def of_vectors(table: pa.Table, vectors: npt.NDArray[np.float32]) -> EmbeddedTable:
    """A table with vectors ``(utterances, dim)`` that are there already; NaN where there is none.

    Nothing else is known of the recordings: neither their quality nor what the heads say.
    """
    missing = np.logical_not(np.isfinite(vectors).all(axis=1))
    return EmbeddedTable(
        table=table,
        vectors=np.where(missing[:, None], np.float32(0), vectors),
        missing=missing,
        speech_s=np.zeros(len(missing)),
        snr_db=np.zeros(len(missing)),
        heads=(None,) * len(missing),
        duration_s=table["duration_s"].fill_null(np.inf).to_numpy(),
        failures=(),
    )


def segments(table: pa.Table) -> Iterator[Segment]:
    """The part of a recording that each row is."""
    for batch in table.select(["path", "start_s", "duration_s"]).to_batches():
        for row in batch.to_pylist():
            yield Segment(Path(row["path"]), row["start_s"], row["duration_s"])
