"""The figures that arms are compared by: one error a task, and one a corpus.

Speaker: the equal error rate, its mean over corpora. A class: 1 less the balanced accuracy. A
quantity: the mean absolute error. All are figures of the judged utterances by draws of their
speakers; the draws are the same for every arm, and no corpus gains or loses weight by them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hive_mtl import metrics
from hive_mtl.errors import DataError
from hive_mtl.evaluate.compare.arms import Values, class_labels, quantities, write_table
from hive_mtl.evaluate.compare.statistics import Figure, Stratum
from hive_mtl.evaluate.embedded import EmbeddedTable, of_vectors
from hive_mtl.evaluate.verification import pairs_among, trial_weights
from hive_mtl.learn.comparing import CompareConfig
from hive_mtl.learn.tasks import Task
from hive_mtl.trials import Trials

MAX_PAIRS = 200_000  # of each kind and corpus, see hive_mtl.trials.all_pairs
PRIMARY = ""  # the name of a task's figure over all corpora

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Endpoints:
    """Judges what arms say of the utterances of one table.

    Attributes:
        table: the judged utterances.
        config: how many draws, and which utterances and corpora count.
    """

    table: pa.Table
    config: CompareConfig

    @cached_property
    def _nobody(self) -> EmbeddedTable:
        """The table as no model has heard it."""
        return of_vectors(self.table, np.zeros((len(self.table), 1), np.float32))

    @cached_property
    def draws(self) -> Floats:
        """How much each speaker counts: ``(1 + draws, speakers)``; once in the first row.

        Of ``n`` speakers of a corpus ``n - 1`` are drawn, each for ``n / (n - 1)``.
        """
        voice, corpus = self._nobody.voice, self._nobody.corpus
        rng = np.random.default_rng(self.config.draw_seed)
        draws = np.ones((1 + self.config.draws, int(voice.max()) + 1))
        for name in self._nobody.corpora:
            of_corpus = np.unique(voice[corpus == name])
            if (count := len(of_corpus)) > 1:
                drawn = rng.multinomial(count - 1, np.full(count, 1 / count), self.config.draws)
                draws[1:, of_corpus] = drawn * count / (count - 1)
        return draws

    def _draws_of(self, corpus: str) -> Floats:
        """The draws of one corpus; the speakers of the others count once."""
        voices = np.unique(self._nobody.voice[self._nobody.corpus == corpus])
        draws = np.ones_like(self.draws)
        draws[:, voices] = self.draws[:, voices]
        return draws

    @cached_property
    def trials(self) -> dict[str, Trials]:
        """All pairs of each corpus with voices enough, or a sample of them; fixed by the table."""
        found = {}
        for corpus in self._nobody.corpora:
            rows = self._nobody.comparable(corpus, self.config.min_duration_s)
            trials = pairs_among(self._nobody, rows, max_pairs=MAX_PAIRS)
            speakers = np.union1d(*(self._nobody.voice[s] for s in (trials.left, trials.right)))
            if len(speakers) >= self.config.min_voices and trials.target.any():
                found[corpus] = trials
        return found

    def write_trials(self, path: Path) -> None:
        """The trials as a Parquet file: corpus, rows of the judged table, target."""
        parts = [
            pa.table(
                {
                    "corpus": [corpus] * len(trials),
                    "left": trials.left,
                    "right": trials.right,
                    "target": trials.target,
                }
            )
            for corpus, trials in self.trials.items()
        ]
        if parts:
            write_table(path, pa.concat_tables(parts))

    def speaker(self, vectors: Sequence[npt.NDArray[np.float32]]) -> dict[str, Figure]:
        """Equal error rates of embeddings ``(utterances, dim)``, one array a seed."""
        tables = [of_vectors(self.table, each) for each in vectors]
        values = {
            corpus: np.stack([self._eer(table, trials) for table in tables], axis=1)
            for corpus, trials in self.trials.items()
        }
        speakers = {
            corpus: len(np.union1d(self._voices(trials.left), self._voices(trials.right)))
            for corpus, trials in self.trials.items()
        }
        if not values:
            undefined = np.full((len(self.draws), len(vectors)), np.nan)
            return {PRIMARY: Figure.of(undefined, ())}
        mean = np.mean(list(values.values()), axis=0)
        strata = [Stratum(each[1:] / len(values), speakers[of]) for of, each in values.items()]
        found = {of: Figure.of_corpus(each, speakers[of]) for of, each in values.items()}
        return {PRIMARY: Figure.of(mean, strata), **found}

    def attribute(self, task: Task, answers: Sequence[Values]) -> dict[str, Figure]:
        """The errors of answers ``(utterances,)``, one array a seed."""
        by_class = task.targets == "classes"
        truth: Values = (class_labels if by_class else quantities)(task, self.table)
        known = truth != "" if by_class else ~np.isnan(truth)
        judge = self._class_error if by_class else self._quantity_error

        def errors(rows: Indices, draws: Floats) -> Floats:
            of_seeds = [judge(task, truth[rows], each[rows], rows, draws) for each in answers]
            return np.stack(of_seeds, axis=1)

        everywhere = np.flatnonzero(known)
        strata, found = [], {}
        for corpus in self._nobody.corpora:
            rows = np.flatnonzero(known & (self._nobody.corpus == corpus))
            speakers = len(np.unique(self._voices(rows)))
            if speakers > 1:
                alone = errors(everywhere, self._draws_of(corpus))
                strata.append(Stratum(alone[1:], speakers))
            if speakers >= self.config.min_voices:
                found[corpus] = Figure.of_corpus(errors(rows, self.draws), speakers)
        return {PRIMARY: Figure.of(errors(everywhere, self.draws), strata), **found}

    def guess(self, task: Task) -> float | None:
        """The error of the best constant answer to an attribute; None where none is labelled."""
        if task.targets == "classes":
            classes = len(set(class_labels(task, self.table).tolist()) - {""})
            return 1 - 1 / classes if classes else None
        truth = quantities(task, self.table)
        truth = truth[~np.isnan(truth)]
        return float(np.abs(truth - np.median(truth)).mean()) if len(truth) else None

    def _voices(self, rows: Indices) -> Indices:
        of_rows: Indices = self._nobody.voice[rows]
        return of_rows

    def _eer(self, heard: EmbeddedTable, trials: Trials) -> Floats:
        missing = heard.missing[trials.left] | heard.missing[trials.right]
        scores = metrics.penalise_missing(heard.scores(trials), trials.target, missing)
        ranked = metrics.rank(scores, trials.target)
        weigh = trial_weights(heard.voice, trials)
        speakers = np.union1d(self._voices(trials.left), self._voices(trials.right))
        return np.array([_eer(ranked, weigh(draw[speakers])) for draw in self.draws])

    def _class_error(
        self, task: Task, truth: Values, said: Values, rows: Indices, draws: Floats
    ) -> Floats:
        """1 less the balanced accuracy by draw; NaN where fewer than two classes are drawn."""
        classes, label = np.unique(truth, return_inverse=True)
        present = draws @ self._by_speaker(np.eye(len(classes))[label], rows)
        right = draws @ self._by_speaker(
            np.eye(len(classes))[label] * (said == truth)[:, None], rows
        )
        drawn = present > 0
        recall = np.divide(right, present, out=np.zeros_like(right), where=drawn)
        count = drawn.sum(axis=1)
        return np.where(count > 1, 1 - recall.sum(axis=1) / np.maximum(count, 1), np.nan)

    def _quantity_error(
        self, task: Task, truth: Values, said: Values, rows: Indices, draws: Floats
    ) -> Floats:
        """The mean absolute error by draw; without an answer it is as wrong as can be."""
        head = task.describe()
        low, high = (head.low, head.high) if head else (0.0, 0.0)
        farthest = np.maximum(np.abs(truth - low), np.abs(truth - high))
        error = np.where(np.isnan(said), farthest, np.abs(said - truth))
        sums = draws @ self._by_speaker(np.stack([error, np.ones(len(rows))], 1), rows)
        drawn = sums[:, 1] > 0
        return np.where(drawn, sums[:, 0] / np.where(drawn, sums[:, 1], 1), np.nan)

    def _by_speaker(self, values: npt.NDArray[Any], rows: Indices) -> Floats:
        """The sums ``(speakers, n)`` of values ``(rows, n)`` of each speaker."""
        sums = np.zeros((self.draws.shape[1], values.shape[1]))
        np.add.at(sums, self._voices(rows), values)
        return sums


def _eer(ranked: metrics.RankedTrials, weights: Floats) -> float:
    try:
        return ranked.error_rates(weights).eer()
    except DataError:  # a draw without a target or a non-target trial
        return float("nan")
