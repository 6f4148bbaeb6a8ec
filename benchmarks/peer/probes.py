"""What each embedding knows of a voice: our heads, and linear probes on ours and on the peer's.

A probe learns from the training voices; its regularisation is chosen there too, over folds that
share no voice. On our embeddings it learns from vectors of voices that the network was trained on,
which holds it back somewhat; the peer's network knew none of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from paired import paired, percent, plain
from sklearn.model_selection import GridSearchCV

from hive_mtl import metrics
from hive_mtl.errors import DataError
from hive_mtl.evaluate.bootstrap import Draw, Estimate
from hive_mtl.evaluate.embedded import EmbeddedTable
from hive_mtl.evaluate.probes import class_probe, quantity_probe
from hive_mtl.evaluate.splits import SAME_RECORDING
from hive_mtl.learn.labels import parse_age
from hive_mtl.learn.tasks.age import HIGH, LOW
from hive_mtl.use.attributes import decode
from hive_mtl.use.model import Model

CHILD_UNTIL = 18.0
LANGUAGE_CORPUS, AGE_CORPUS = "commonvoice", "speechocean762"
LANGUAGE_VOICES = 30, 3  # of a language in training, and judged
ATTRIBUTE_HEADER = (
    *("attribute", "voices", "recordings", "figure", "constant answer"),
    *("our head", "probe on ours", "probe on peer", "head - peer", "probe - peer"),
)
Bools = npt.NDArray[np.bool_]
Values = npt.NDArray[Any]  # (utterances,) class names or numbers; None or NaN where unknown


@dataclass(frozen=True)
class Attribute:
    """One attribute of the judged voices, by our head, a probe on ours and a probe on the peer's.

    ``guess`` is the figure of the best constant answer; a higher accuracy, a lower error is better.
    """

    name: str
    metric: str
    voices: int
    utterances: int
    guess: float
    head: Estimate
    probe: Estimate
    peer: Estimate
    head_less_peer: Estimate
    probe_less_peer: Estimate


@dataclass(frozen=True)
class Answers:
    """Of the same utterances: what is true, and what each of the three says."""

    truth: Values
    head: Values
    probe: Values
    peer: Values
    voice: npt.NDArray[np.int64]

    def judge(self, name: str, rows: Bools, unit: str = "") -> Attribute | None:
        """On some of the utterances; None where none is left to tell apart."""
        truth = self.truth[rows]
        if len(truth) == 0 or (not unit and len(set(truth)) < 2):
            return None
        speakers, speaker = np.unique(self.voice[rows], return_inverse=True)

        def of(answers: Values) -> Callable[[Draw], list[float]]:
            def figure(draw: Draw) -> list[float]:
                weights = draw[speaker]
                if unit:
                    return [metrics.mean_absolute_error(answers[rows], truth, weights)]
                if len(set(truth[weights > 0])) < 2:
                    raise DataError(f"{name}: fewer than two classes drawn")
                return [metrics.balanced_accuracy(answers[rows], truth, weights)]

            return figure

        [(head, peer, head_less_peer)] = paired(of(self.head), of(self.peer), len(speakers))
        [(probe, _, probe_less_peer)] = paired(of(self.probe), of(self.peer), len(speakers))
        guess = np.abs(truth - np.median(truth)).mean() if unit else 1 / len(set(truth))
        metric = f"mean absolute error, {unit}" if unit else "balanced accuracy, %"
        estimates = head, probe, peer, head_less_peer, probe_less_peer
        return Attribute(name, metric, len(speakers), len(truth), float(guess), *estimates)


@dataclass(frozen=True)
class Voices:
    """A table as both have heard it."""

    ours: EmbeddedTable
    peer: EmbeddedTable

    @property
    def corpus(self) -> Values:
        """Without the note on voices of a single recording."""
        return np.array([name.removesuffix(SAME_RECORDING) for name in self.ours.corpus])

    def ages(self) -> npt.NDArray[np.float64]:
        """``(utterances, 2)`` from and below which years; NaN where not known."""
        unknown = (np.nan, np.nan)
        spans = [parse_age(cell or "") or unknown for cell in self.ours.column("age")]
        return np.array(spans, dtype=np.float64).reshape(-1, 2)


def compare_attributes(model: Model, training: Voices, judged: Voices) -> list[Attribute]:
    """Gender of adults and of children, age in years, language."""
    found = [*_gender(model, training, judged)]
    found += [_age(model, training, judged), _language(model, training, judged)]
    return [each for each in found if each is not None]


def _gender(model: Model, training: Voices, judged: Voices) -> list[Attribute | None]:
    """Whoever may be of age or not, as '10-19', is neither an adult nor a child."""
    answers = _classes(model, "gender", training, judged, training.ours.gender, judged.ours.gender)
    known = _known(judged.ours.gender)
    low, high = judged.ages().T
    adult, child = np.isnan(low) | (low >= CHILD_UNTIL), high <= CHILD_UNTIL
    return [
        answers.judge("gender of adults", known & adult),
        answers.judge("gender of children", known & child),
    ]


def _language(model: Model, training: Voices, judged: Voices) -> Attribute | None:
    """Among the languages of one corpus that have voices enough; the head chooses among them."""
    told = []
    for part, least in zip((training, judged), LANGUAGE_VOICES, strict=True):
        label = np.array(part.ours.column("language"), dtype=object)
        label[part.corpus != LANGUAGE_CORPUS] = None
        voices = {(language, voice) for language, voice in zip(label, part.ours.voice, strict=True)}
        languages = [language for language, _ in voices if language is not None]
        told.append((label, {each for each in languages if languages.count(each) >= least}))
    head = model.description.head("language")
    classes = set(head.classes if head else ()) & told[0][1] & told[1][1]
    if len(classes) < 2:
        return None
    labels = [np.where(np.isin(label, list(classes)), label, None) for label, _ in told]
    answers = _classes(model, "language", training, judged, *labels)
    return answers.judge(f"language, {len(classes)} of {LANGUAGE_CORPUS}", _known(labels[1]))


def _age(model: Model, training: Voices, judged: Voices) -> Attribute | None:
    """In years, of the one corpus that tells years; there the probe learns, too."""
    truth, of_training = judged.ages().mean(axis=1), training.ages().mean(axis=1)
    rows = (training.corpus == AGE_CORPUS) & ~np.isnan(of_training)
    farthest = np.where(truth - LOW > HIGH - truth, LOW, HIGH)
    head = model.description.head("age")
    answers = np.array(
        [np.nan if of is None else decode(head, of["age"]).value for of in judged.ours.heads]
    )
    probes = [
        np.where(
            there.missing,
            farthest,
            _probe(quantity_probe, here, of_training, rows).predict(there.vectors),
        )
        for here, there in _both(training, judged)
    ]
    heard = np.where(np.isnan(answers), farthest, answers)
    told = Answers(truth, heard, *probes, judged.ours.voice)
    return told.judge(
        f"age, {AGE_CORPUS}", (judged.corpus == AGE_CORPUS) & ~np.isnan(truth), "years"
    )


def _classes(
    model: Model,
    task: str,
    training: Voices,
    judged: Voices,
    of_training: Values,
    of_judged: Values,
) -> Answers:
    """What the head and the probes answer, all three among the classes that are taught here."""
    rows = _known(of_training)
    classes = set(of_training[rows])
    head = model.description.head(task)

    def of_head(outputs: npt.NDArray[np.float32]) -> str | None:
        alternatives = decode(head, outputs).alternatives  # the likeliest first
        return next((name for name in alternatives if name in classes), None)

    probes = []
    for here, there in _both(training, judged):
        probe = _probe(class_probe, here, of_training, rows)
        answers = probe.predict(there.vectors).astype(object)
        answers[there.missing] = None
        probes.append(answers)
    heard = [None if of is None else of_head(of[task]) for of in judged.ours.heads]
    return Answers(of_judged, np.array(heard, dtype=object), *probes, judged.ours.voice)


def _probe(
    fit: Callable[..., GridSearchCV], embedded: EmbeddedTable, labels: Values, rows: Bools
) -> GridSearchCV:
    rows = rows & ~embedded.missing
    kind = np.float64 if labels.dtype != object else str
    return fit(embedded.vectors[rows], labels[rows].astype(kind), embedded.voice[rows])


def _both(training: Voices, judged: Voices) -> Sequence[tuple[EmbeddedTable, EmbeddedTable]]:
    return (training.ours, judged.ours), (training.peer, judged.peer)


def _known(labels: Values) -> Bools:
    return np.array([label is not None for label in labels], dtype=np.bool_)


def attribute_cells(found: Sequence[Attribute]) -> list[list[object]]:
    """The cells of a table, one attribute a line."""

    def cells(row: Attribute) -> list[object]:
        is_error = row.metric.startswith("mean")
        shown = plain if is_error else percent
        digits = {"digits": 2 if is_error else 1}
        guess = f"{row.guess:.2f}" if is_error else f"{100 * row.guess:.1f}"
        values = [shown(each, **digits) for each in (row.head, row.probe, row.peer)]
        less = [
            shown(each, signed=True, **digits) for each in (row.head_less_peer, row.probe_less_peer)
        ]
        return [row.name, row.voices, row.utterances, row.metric, guess, *values, *less]

    return [cells(row) for row in found]
