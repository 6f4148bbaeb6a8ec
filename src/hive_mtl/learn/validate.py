"""How well a network does on voices that it does not learn from."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from hive_mtl import metrics, trials
from hive_mtl.calibration import balanced_weights, fit_scores
from hive_mtl.description import ONNX_EMBEDDING, Calibration
from hive_mtl.learn.batches import Batch
from hive_mtl.learn.effects import replayed
from hive_mtl.learn.losses._base import ABSENT
from hive_mtl.learn.model import Outputs, UnifiedModel
from hive_mtl.learn.prepare import Prepared
from hive_mtl.learn.tasks import Task
from hive_mtl.learn.utterances import sessions

MIN_DURATION_S = 2.0  # as in evaluation: shorter utterances are no fair trial
MIN_VOICES = 5  # a corpus with fewer validation voices says too little to choose by
MAX_TRIALS = 500_000  # of each corpus: enough to choose by, and no more memory for more voices
BATCH_S = 64  # of padded audio at once
CHANCE_EER = 0.5

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Validation:
    """Figures on the validation voices; all are fractions, lower is better for errors.

    Attributes:
        eer: by corpus, over voices with several recordings; across sessions where a voice has two.
        same_recording_eer: by corpus, over the halves of single recordings: the channel is the same
            on both sides, so these are easier and reported apart.
        balanced_accuracy: by task, of the heads whose answer is a class.
        threshold_error: by task, of the ordinal heads: the share of the thresholds that a label
            decides and the head gets wrong.
        share_of_chance: by task, its error as a share of what a guess makes: of the speaker task
            the mean EER over corpora by a half, of the heads their error by that of the best
            constant answer.
        calibration: of scores over the trials of ``eer``, corpora weighing alike; None where there
            are none.
        monitor: by task, the accuracy on listed crops of the training voices, see
            :mod:`hive_mtl.learn.crops`.
    """

    eer: dict[str, float] = field(default_factory=dict)
    same_recording_eer: dict[str, float] = field(default_factory=dict)
    balanced_accuracy: dict[str, float] = field(default_factory=dict)
    threshold_error: dict[str, float] = field(default_factory=dict)
    share_of_chance: dict[str, float] = field(default_factory=dict)
    calibration: Calibration | None = None
    monitor: dict[str, float] = field(default_factory=dict)

    @property
    def error(self) -> float | None:
        """What the best checkpoint has least of: mean EER, else the mean error of the heads."""
        mean = _mean_eer(self.eer, self.same_recording_eer)
        return self.head_error if mean is None else mean

    def error_of(self, tasks: Sequence[str]) -> float | None:
        """What the best checkpoint has least of where these tasks choose it; ``error`` for none.

        The mean of their ``share_of_chance``; None where none of them has a figure.
        """
        if not tasks:
            return self.error
        shares = [self.share_of_chance[task] for task in tasks if task in self.share_of_chance]
        return sum(shares) / len(shares) if shares else None

    def watched(self, tasks: Sequence[str]) -> float | None:
        """Where a plateau is looked for: 1 - ``error_of(tasks)``.

        Where no task is named, the speaker task on known voices goes before that.
        """
        if not tasks and "speaker" in self.monitor:
            return self.monitor["speaker"]
        error = self.error_of(tasks)
        return None if error is None else 1.0 - error

    def of_heads(self, tasks: Collection[str]) -> "Validation":
        """The figures of these heads alone, where the embedding and the others stand still."""

        def kept(figures: dict[str, float]) -> dict[str, float]:
            return {name: figures[name] for name in figures if name in tasks}

        return Validation(
            balanced_accuracy=kept(self.balanced_accuracy),
            threshold_error=kept(self.threshold_error),
            share_of_chance=kept(self.share_of_chance),
        )

    @property
    def head_error(self) -> float | None:
        """The mean error of the heads: what there is to choose by where the embedding stands."""
        errors = [1.0 - accuracy for accuracy in self.balanced_accuracy.values()]
        errors += self.threshold_error.values()
        return sum(errors) / len(errors) if errors else None


def validate(model: UnifiedModel, prepared: Prepared | None, tasks: list[Task]) -> Validation:
    """Runs the network over the validation voices; nothing to run over gives no figures."""
    if prepared is None:
        return Validation()
    heads = hear(model, prepared, lambda outputs: _of_embedding_and_heads(outputs, tasks))
    embeddings = heads.pop(ONNX_EMBEDDING)
    eer: dict[str, float] = {}
    same_recording: dict[str, float] = {}
    scores, target, heard = [], [], []
    for corpus, same, rows in _trial_groups(prepared):
        heard_now = prepared.table.take(rows)
        voices = heard_now["speaker"].to_pylist()
        pairs = _pairs(voices, sessions(heard_now))
        if len(set(voices)) < MIN_VOICES or pairs.target.all() or not pairs.target.any():
            continue
        cosines = trials.cosines(embeddings[rows], pairs)
        (same_recording if same else eer)[corpus] = metrics.eer(cosines, pairs.target)
        if not same:
            scores.append(cosines)
            target.append(pairs.target)
            heard.append((len(pairs), len(set(voices))))
    calibration = _calibration(scores, target, heard) if scores else None
    found = judge_heads(heads, prepared.table, tasks)
    mean = _mean_eer(eer, same_recording)
    if mean is not None and any(task.name == "speaker" for task in tasks):
        found.share_of_chance["speaker"] = mean / CHANCE_EER
    return replace(found, eer=eer, same_recording_eer=same_recording, calibration=calibration)


def _pairs(voices: list[str], sessions: list[str | None]) -> trials.Trials:
    """As in evaluation: a network that knows channels again should not be chosen for it."""
    return trials.all_pairs(voices, sessions=sessions, max_pairs=MAX_TRIALS)


def _mean_eer(eer: dict[str, float], same_recording: dict[str, float]) -> float | None:
    """Over corpora; of single recordings where there are no others; None where there are none."""
    figures = eer or same_recording
    return sum(figures.values()) / len(figures) if figures else None


def _calibration(
    scores: list[npt.NDArray[np.float64]],
    target: list[npt.NDArray[np.bool_]],
    heard: list[tuple[int, int]],
) -> Calibration:
    """Of scores alone, corpora weighing alike; ``heard`` has the trials and the voices of each."""
    trials_of, voices_of = np.array(heard).T
    corpus = np.repeat(np.arange(len(heard)), trials_of)
    targets = np.concatenate(target)
    weight = balanced_weights(targets, corpus, voices_of[corpus])
    return fit_scores(np.concatenate(scores), targets, weight)


def watch(model: UnifiedModel, batches: Iterable[Batch], tasks: list[Task]) -> dict[str, float]:
    """By class task, the share of labelled crops whose class the head puts first."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    right: dict[str, float] = {}
    labelled: dict[str, int] = {}
    with torch.inference_mode():
        for batch in batches:
            outputs = model(batch.inputs.to(device), batch.lengths.to(device))
            for task in tasks:
                targets = batch.targets[task.name]
                if task.targets != "classes" or not (known := targets != ABSENT).any():
                    continue
                found = outputs.heads[task.name].cpu().argmax(dim=1)[known] == targets[known]
                right[task.name] = right.get(task.name, 0.0) + float(found.sum())
                labelled[task.name] = labelled.get(task.name, 0) + int(known.sum())
    model.train(was_training)
    return {name: right[name] / count for name, count in labelled.items()}


def embed_prepared(model: UnifiedModel, prepared: Prepared, speed: float = 1.0) -> Floats:
    """Of prepared utterances, ``(utterances, dim)`` float32 of unit norm in table order.

    Waves may be played at another speed.
    """
    return hear(model, prepared, lambda outputs: {ONNX_EMBEDDING: outputs.embedding}, speed)[
        ONNX_EMBEDDING
    ]


def hear(
    model: UnifiedModel,
    prepared: Prepared,
    read: Callable[[Outputs], Mapping[str, Tensor]],
    speed: float = 1.0,
) -> dict[str, Floats]:
    """What ``read`` takes of what the network says of whole utterances, played at a speed.

    Returns:
        By the names that ``read`` gives, ``(utterances, ...)`` float32 in table order.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    order, parts = [], []
    with torch.inference_mode():
        for rows in _batches_by_length(prepared):
            # Whole seconds: torch keeps memory for every shape it meets, so it should meet few.
            inputs = torch.from_numpy(prepared.padded(rows, prepared.kept.per_second))
            lengths = torch.from_numpy(prepared.lengths[rows])
            if speed != 1.0:
                inputs = replayed(inputs, round(inputs.shape[1] / speed))
                lengths = (lengths / speed).round().long()
            taken = read(model(inputs.to(device), lengths.to(device)))
            order.append(rows)
            parts.append({name: of.float().cpu().numpy() for name, of in taken.items()})
    model.train(was_training)
    back = np.argsort(np.concatenate(order))
    return {name: np.concatenate([part[name] for part in parts])[back] for name in parts[0]}


def _of_embedding_and_heads(outputs: Outputs, tasks: list[Task]) -> dict[str, Tensor]:
    """Without the speaker classifier: its outputs are many, and of voices that are not here."""
    answering = [task.name for task in tasks if task.describe() is not None]
    return {ONNX_EMBEDDING: outputs.embedding, **{n: outputs.heads[n] for n in answering}}


def _batches_by_length(prepared: Prepared) -> Iterator[npt.NDArray[np.int64]]:
    """Rows of similar length together, at most :data:`BATCH_S` with their padding."""
    most = BATCH_S * prepared.kept.per_second
    order = np.argsort(prepared.lengths, kind="stable")
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or (end - start + 1) * prepared.lengths[order[end]] > most:
            yield order[start:end]
            start = end


def _trial_groups(prepared: Prepared) -> Iterator[tuple[str, bool, npt.NDArray[np.int64]]]:
    """(corpus, same recording?, rows) of the utterances that are long enough for trials."""
    table = prepared.table
    corpora = np.array(table["corpus"].to_pylist())
    same = np.array([value == "yes" for value in table["same_recording"].to_pylist()])
    usable = table["duration_s"].to_numpy() >= MIN_DURATION_S
    usable &= table["speaker"].is_valid().to_numpy()
    for corpus in sorted(set(corpora.tolist())):
        for kind in (False, True):
            rows = np.flatnonzero(usable & (corpora == corpus) & (same == kind))
            if len(rows):
                yield corpus, kind, rows


def judge_heads(heads: Mapping[str, Floats], table: pa.Table, tasks: Sequence[Task]) -> Validation:
    """Balanced accuracy of the class heads and threshold error of the ordinal ones, by task.

    Args:
        heads: by task, the outputs ``(utterances, outputs)``.
        table: the utterances, with their labels.
        tasks: those without a head that answers are passed over.
    """
    accuracy: dict[str, float] = {}
    threshold_error: dict[str, float] = {}
    share_of_chance: dict[str, float] = {}
    for task in tasks:
        description = task.describe()
        if description is None:
            continue
        truth: npt.NDArray[Any] = task.encode(task.labels_of(table))
        if description.kind == "ordinal":
            decided = ~np.isnan(truth)
            if decided.any():
                wrong = (heads[task.name][decided] > 0) != (truth[decided] > 0)
                threshold_error[task.name] = float(wrong.mean())
                if (guess := _threshold_error_of_guess(truth > 0, decided)) > 0:
                    share_of_chance[task.name] = threshold_error[task.name] / guess
            continue
        known = truth != ABSENT
        if (classes := len(set(truth[known].tolist()))) > 1:
            predicted = heads[task.name][known].argmax(axis=1)
            accuracy[task.name] = metrics.balanced_accuracy(predicted, truth[known])
            share_of_chance[task.name] = (1 - accuracy[task.name]) / (1 - 1 / classes)
    return Validation(
        balanced_accuracy=accuracy, threshold_error=threshold_error, share_of_chance=share_of_chance
    )


def _threshold_error_of_guess(
    older: npt.NDArray[np.bool_], decided: npt.NDArray[np.bool_]
) -> float:
    """The share of decided thresholds that the best constant answer gets wrong."""
    above, all_ = (older & decided).sum(axis=0), decided.sum(axis=0)
    return float(np.minimum(above, all_ - above).sum() / all_.sum())
