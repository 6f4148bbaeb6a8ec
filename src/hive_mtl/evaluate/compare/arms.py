"""One training of an arm, from its table to what it says of the judged voices.

Three stages, each with a file that says that it is done: the trained model, what it heard, and what
linear probes read from its embedding. A training that was killed goes on where it stopped.
"""

import json
import resource
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from hive_mtl.atomic import atomic_write
from hive_mtl.description import HeadDescription
from hive_mtl.evaluate.compare.plan import EVERYTHING, Training
from hive_mtl.evaluate.embedded import EmbeddedTable, embed_table, of_vectors
from hive_mtl.evaluate.probes import class_probe, quantity_probe
from hive_mtl.learn import checkpoint as checkpoints
from hive_mtl.learn.prepare import in_pieces, prepare
from hive_mtl.learn.starting import LAST
from hive_mtl.learn.tasks import Task, get_task
from hive_mtl.learn.tasks._base import label_spans
from hive_mtl.learn.trainer import train
from hive_mtl.learn.utterances import training_utterances
from hive_mtl.learn.validate import embed_prepared
from hive_mtl.use.attributes import decode
from hive_mtl.use.model import load

JUDGED, TASKS = "judged.parquet", "tasks.json"
DONE, HEARD, PROBED, TRAINED = "done.json", "heard.npz", "probed.npz", "trained.json"
VECTORS, HEAD = "vectors", "head/"
CPU_S = "cpu_s_per_hour"
Values = npt.NDArray[Any]  # (utterances,) of class names, empty where none, or of numbers, NaN


@dataclass(frozen=True)
class Cost:
    """What one training of an arm took, and what its model takes.

    Attributes:
        steps: until it no longer gained.
        train_s: seconds on the clock.
        train_cpu_s: seconds of all cores; both scaled to all steps where the run was resumed, None
            where it was resumed with no step left.
        parameters: of the model that ships.
        bytes_per_voice: of an embedding in 32-bit floats.
        cpu_s_per_hour: seconds of all cores to embed an hour of recordings, decoding included.
    """

    steps: int
    train_s: float | None
    train_cpu_s: float | None
    parameters: int
    bytes_per_voice: int
    cpu_s_per_hour: float


@dataclass(frozen=True)
class Material:
    """What every training is given beside its own table.

    Attributes:
        judged: the utterances to judge.
        learnt: the training utterances, from which the probes learn.
        tasks: the attributes, fitted to the training utterances.
        threads: cores that one training may use.
    """

    judged: pa.Table
    learnt: pa.Table
    tasks: Sequence[Task]
    threads: int

    def write(self, folder: Path) -> None:
        """The judged utterances and the tasks; the training utterances are part of everything."""
        write_table(folder / JUDGED, self.judged)
        write_json(folder / TASKS, {task.name: task.state() for task in self.tasks})

    @classmethod
    def read(cls, folder: Path, threads: int) -> "Material":
        """The inverse of :meth:`write`."""
        states = json.loads((folder / TASKS).read_text("utf-8"))
        tasks = [get_task(name) for name in states]
        for task in tasks:
            task.restore(states[task.name])
        learnt = training_utterances(pq.read_table(folder / EVERYTHING))
        return cls(pq.read_table(folder / JUDGED), learnt, tasks, threads)


@dataclass(frozen=True)
class Said:
    """What one trained model says of the judged utterances.

    Attributes:
        vectors: ``(utterances, dim)`` embeddings; NaN where there is none.
        heads: by task, the answers of its own heads.
        probes: by task, the answers of linear probes on its embedding; none of a labelled arm.
    """

    vectors: npt.NDArray[np.float32]
    heads: dict[str, Values]
    probes: dict[str, Values]


def run_arm(training: Training, material: Material) -> None:
    """Does what is left to do of a training."""
    folder = training.folder
    if (folder / DONE).is_file():
        return
    if not (folder / TRAINED).is_file():
        _train(training)
    if not (folder / HEARD).is_file():
        _hear(training, material)
    if training.arm.kind != "labelled" and not (folder / PROBED).is_file():
        _probe(training, material)
    spent = json.loads((folder / TRAINED).read_text("utf-8"))
    with np.load(folder / HEARD) as heard:
        per_hour = float(heard[CPU_S])
    description = load(folder).description
    cost = Cost(
        **spent,
        parameters=description.parameters,
        bytes_per_voice=4 * description.embedding_dim,
        cpu_s_per_hour=per_hour,
    )
    write_json(folder / DONE, asdict(cost))


def is_done(training: Training) -> bool:
    """Whether nothing is left to do of it."""
    return (training.folder / DONE).is_file()


def read_cost(training: Training) -> Cost:
    """What a training that is done has cost."""
    return Cost(**json.loads((training.folder / DONE).read_text("utf-8")))


def read_said(training: Training) -> Said:
    """What a training that is done has left behind."""
    with np.load(training.folder / HEARD) as heard:
        vectors = heard[VECTORS]
        heads = {n.removeprefix(HEAD): heard[n] for n in heard.files if n.startswith(HEAD)}
    probes = {}
    if (training.folder / PROBED).is_file():
        with np.load(training.folder / PROBED) as probed:
            probes = {name: probed[name] for name in probed.files}
    return Said(vectors, heads, probes)


def _train(training: Training) -> None:
    folder, last = training.folder, training.folder / LAST
    begun = checkpoints.load(last).header.step if last.is_file() else 0
    clock, cpu = time.perf_counter(), _cpu_s()
    train(training.recipe, [str(training.data)], folder, resume=True)
    clock, cpu = time.perf_counter() - clock, _cpu_s() - cpu
    steps = checkpoints.load(last).header.step
    whole = steps / (steps - begun) if steps > begun else None
    spent = {
        "steps": steps,
        "train_s": None if whole is None else clock * whole,
        "train_cpu_s": None if whole is None else cpu * whole,
    }
    write_json(folder / TRAINED, spent)


def _cpu_s() -> float:
    """Of this process and of those that it has waited for."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def _hear(training: Training, material: Material) -> None:
    """What the model makes of the judged utterances."""
    model = load(training.folder, threads=material.threads)
    cpu = _cpu_s()
    judged = embed_table(model, material.judged)
    cpu = _cpu_s() - cpu
    arrays = {f"{HEAD}{h.task}": _answers(h, judged) for h in model.description.heads}
    arrays |= {VECTORS: _vectors(judged), CPU_S: np.array(cpu / _hours(judged))}
    _write_arrays(training.folder / HEARD, arrays)


def _hours(embedded: EmbeddedTable) -> float:
    known = embedded.duration_s[np.isfinite(embedded.duration_s)]
    return float(known.sum()) / 3600


def _vectors(embedded: EmbeddedTable) -> npt.NDArray[np.float32]:
    missing = embedded.missing[:, None]
    return np.where(missing, np.float32(np.nan), embedded.vectors).astype(np.float32)


def _answers(head: HeadDescription, embedded: EmbeddedTable) -> Values:
    nothing = "" if head.kind == "classes" else np.nan
    return np.array(
        [nothing if of is None else decode(head, of[head.task]).value for of in embedded.heads]
    )


def _probe(training: Training, material: Material) -> None:
    recipe = training.recipe
    with np.load(training.folder / HEARD) as heard:
        judged = of_vectors(material.judged, heard[VECTORS])
    # as training has them: no arm decodes them anew
    prepared = prepare(in_pieces(material.learnt), recipe.data.cache, kept=recipe.kept())
    vectors = embed_prepared(checkpoints.load(training.folder).model(), prepared)
    learnt = of_vectors(prepared.table, vectors)
    answers = {task.name: _probed(task, learnt, judged) for task in material.tasks}
    _write_arrays(training.folder / PROBED, answers)


def _probed(task: Task, learnt: EmbeddedTable, judged: EmbeddedTable) -> Values:
    by_class = task.targets == "classes"
    labels: Values = (class_labels if by_class else quantities)(task, learnt.table)
    known = labels != "" if by_class else ~np.isnan(labels)
    rows = known & ~learnt.missing
    fit = class_probe if by_class else quantity_probe
    probe = fit(learnt.vectors[rows], labels[rows], learnt.voice[rows])
    nothing: Any = "" if by_class else np.nan
    answers: Values = np.where(judged.missing, nothing, probe.predict(judged.vectors))
    return answers


def class_labels(task: Task, table: pa.Table) -> Values:
    """The class of each row; empty where it is not labelled or of a class that is not learnt."""
    labels, classes = task.labels_of(table), set(task.meanings)
    return np.array([str(label) if label in classes else "" for label in labels])


def quantities(task: Task, table: pa.Table) -> npt.NDArray[np.float64]:
    """The middle of the label of each row; NaN where there is none."""
    middle: npt.NDArray[np.float64] = label_spans(task.labels_of(table)).mean(axis=1)
    return middle


def write_table(path: Path, table: pa.Table) -> None:
    """A table of utterances as a Parquet file."""
    with atomic_write(path) as temporary:
        pq.write_table(table, temporary)


def _write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def write_json(path: Path, value: object, *, infinite: bool = False) -> None:
    """A value as a file of JSON; ``infinite`` allows 'Infinity', which only Python reads back."""
    text = json.dumps(value, indent=1, allow_nan=infinite)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", "utf-8")
