"""What all tasks share: from the text in a table's cell to a target, a head and an answer."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, field_validator
from torch import Tensor

from hive_mtl.description import HeadDescription
from hive_mtl.errors import DataError
from hive_mtl.learn import losses
from hive_mtl.learn.losses._base import ABSENT, LossConfig, TaskLoss

Label = str | tuple[float, float]  # a class, or an interval [low, high)


class TaskConfig(BaseModel):
    """How a recipe asks for a task: ``[tasks.gender]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float = Field(default=1.0, ge=0.0)
    loss: SerializeAsAny[LossConfig] | None = None  # None: the task's own default
    min_speakers: int = Field(default=2, ge=1)  # a class of fewer voices is not learnt
    required: bool = False  # whether data that cannot teach the task is an error

    @field_validator("loss", mode="before")
    @classmethod
    def _parse_loss(cls, settings: Any) -> BaseModel | None:
        return None if settings is None else losses.parse_config(settings)


class Task(ABC):
    """One question asked of the embedding.

    ``fit`` learns from the training labels what the head must tell apart; ``state`` is what a
    checkpoint keeps of it.
    """

    Config: type[TaskConfig] = TaskConfig
    default_loss: str = "softmax"
    targets: ClassVar[Literal["classes", "thresholds"]] = "classes"
    speeds: tuple[float, ...] = (1.0,)  # playback speeds that this task asks for

    def __init__(self, name: str) -> None:
        self.name = name
        self.column = name

    @abstractmethod
    def parse(self, cell: str) -> Label | None:
        """A cell of the table -> its label; None where it says nothing."""

    @abstractmethod
    def fit(
        self, labels: Sequence[Label | None], speakers: Sequence[str], config: TaskConfig
    ) -> None:
        """Settles the outputs of the head from the training labels (None: not labelled)."""

    @abstractmethod
    def encode(self, labels: Sequence[Label | None]) -> npt.NDArray[Any]:
        """Labels -> targets ``(utterances, ...)`` as the task's loss wants them."""

    @abstractmethod
    def groups(self, labels: Sequence[Label | None]) -> npt.NDArray[np.int64]:
        """Labels -> the class each utterance counts for in balanced sampling; -1 where absent."""

    def examples(self, table: pa.Table) -> pa.Table:
        """The rows that count in :meth:`fit`: all of them, unless a task says otherwise."""
        return table

    def can_learn_by(self, loss: type[TaskLoss]) -> bool:
        """Whether a loss takes this task's targets and, where it has to answer, trains a head."""
        return loss.targets == self.targets and (loss.reads == "outputs" or self.describe() is None)

    def rivals(self, targets: Tensor) -> Tensor | None:
        """Which classes an utterance is to be told from, its own among them.

        ``(batch,)`` targets -> ``(batch, outputs)`` True for each such class; None: from all.
        """
        return None

    def at_speeds(
        self, targets: npt.NDArray[Any], speeds: npt.NDArray[np.float64]
    ) -> npt.NDArray[Any]:
        """The targets ``(batch, ...)`` of utterances that are played at ``speeds`` ``(batch,)``.

        Those of recordings as they are, unless a task says otherwise.
        """
        return targets

    @property
    @abstractmethod
    def meanings(self) -> list[Hashable]:
        """What each output of the head stands for; no two the same."""

    @property
    def outputs(self) -> int:
        """Width of the head."""
        return len(self.meanings)

    @property
    @abstractmethod
    def counts(self) -> list[int]:
        """Training examples of each class."""

    @abstractmethod
    def probabilities(self, outputs: Tensor) -> Tensor:
        """Head outputs -> what the exported model gives, see :class:`HeadDescription`."""

    @abstractmethod
    def describe(self) -> HeadDescription | None:
        """The head as the outside sees it; None for a head that is not exported."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What ``restore`` needs, as JSON values."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of ``state``."""

    def labels(self, cells: Sequence[str | None]) -> list[Label | None]:
        """``parse`` over a column."""
        known: dict[str, Label | None] = {}
        for cell in cells:
            if cell is not None and cell not in known:
                known[cell] = self.parse(cell)
        return [None if cell is None else known[cell] for cell in cells]

    def labels_of(self, table: pa.Table) -> list[Label | None]:
        """The label of each row of a table; all None where the table has no such column.

        A task that needs more than its own column to read a label overrides this.
        """
        if self.column not in table.column_names:
            return [None] * len(table)
        return self.labels(table[self.column].to_pylist())


class ClassTask(Task):
    """A task whose answer is one of the classes found in the training data."""

    default_loss = "balanced"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.classes: tuple[str, ...] = ()
        self._counts: list[int] = []

    def parse(self, cell: str) -> Label | None:
        """Any text is a class of its own."""
        return cell

    def fit(
        self, labels: Sequence[Label | None], speakers: Sequence[str], config: TaskConfig
    ) -> None:
        """Keeps the classes that at least ``config.min_speakers`` voices have.

        Raises:
            DataError: fewer than two such classes.
        """
        voices: dict[str, set[str]] = defaultdict(set)
        examples: dict[str, int] = defaultdict(int)
        for label, speaker in zip(labels, speakers, strict=True):
            if label is not None:
                voices[str(label)].add(speaker)
                examples[str(label)] += 1
        classes = sorted(
            c for c, of_class in voices.items() if len(of_class) >= config.min_speakers
        )
        if len(classes) < 2:
            raise DataError(
                f"task '{self.name}': {len(classes)} class(es) with at least {config.min_speakers} "
                f"voices in the training data; label more recordings in column '{self.column}', "
                "lower min_speakers, or leave the task out"
            )
        self.classes, self._counts = tuple(classes), [examples[c] for c in classes]

    def encode(self, labels: Sequence[Label | None]) -> npt.NDArray[Any]:
        """``(utterances,)`` int64; -1 where absent or of a class that was not learnt."""
        index = {name: number for number, name in enumerate(self.classes)}
        known = (ABSENT if each is None else index.get(str(each), ABSENT) for each in labels)
        return np.fromiter(known, np.int64, len(labels))

    def groups(self, labels: Sequence[Label | None]) -> npt.NDArray[np.int64]:
        """The class itself."""
        return self.encode(labels)

    @property
    def meanings(self) -> list[Hashable]:
        """The classes."""
        return list(self.classes)

    @property
    def counts(self) -> list[int]:
        """Training utterances of each class."""
        return self._counts

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Softmax."""
        return outputs.float().softmax(dim=1)

    def describe(self) -> HeadDescription | None:
        """Kind ``classes``."""
        return HeadDescription(task=self.name, kind="classes", classes=self.classes)

    def state(self) -> dict[str, Any]:
        """Classes and their counts."""
        return {"classes": list(self.classes), "counts": self._counts}

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.classes, self._counts = tuple(state["classes"]), list(state["counts"])


def label_spans(labels: Sequence[Label | None]) -> npt.NDArray[np.float64]:
    """From where to where labels of a quantity reach ``(utterances, 2)``; NaN without one."""
    nowhere = (float("nan"), float("nan"))
    spans = [nowhere if label is None else (float(label[0]), float(label[1])) for label in labels]
    return np.array(spans, dtype=np.float64).reshape(-1, 2)
