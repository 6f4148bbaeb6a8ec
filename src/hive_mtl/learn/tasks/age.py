"""Age in years, from labels that name a year, a decade or a wider span."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from hive_mtl.description import HeadDescription
from hive_mtl.errors import DataError
from hive_mtl.learn.labels import parse_age
from hive_mtl.learn.losses._base import ABSENT
from hive_mtl.learn.tasks._base import Label, Task, TaskConfig, label_spans

# Close together where voices change fast and in steps of five years beyond.
THRESHOLDS = (7.0, 9.0, 11.0, 13.0, 15.0, 18.0, 21.0, *map(float, range(25, 85, 5)))
LOW, HIGH = 4.0, 95.0


class TASK(Task):
    """One output a threshold: the probability of being older than it."""

    default_loss = "ordinal"
    targets = "thresholds"

    def __init__(self) -> None:
        super().__init__("age")
        self._counts = [1] * (len(THRESHOLDS) + 1)

    def parse(self, cell: str) -> Label | None:
        """'34' -> (34, 35), '20-29' and 'twenties' -> (20, 30)."""
        return parse_age(cell)

    def fit(
        self, labels: Sequence[Label | None], speakers: Sequence[str], config: TaskConfig
    ) -> None:
        """The thresholds are fixed; only the counts come from the data."""
        groups = self.groups(labels)
        if (groups == ABSENT).all():
            raise DataError(
                f"task '{self.name}': no utterance is labelled in the training data: give years or "
                f"decades in column '{self.column}', or leave the task out"
            )
        self._counts = np.bincount(groups[groups != ABSENT], minlength=self.outputs + 1).tolist()

    def encode(self, labels: Sequence[Label | None]) -> npt.NDArray[Any]:
        """``(utterances, thresholds)`` float32: 1 older, 0 not, NaN left open by the label."""
        span = label_spans(labels)
        thresholds = np.array(THRESHOLDS)
        targets = np.full((len(labels), len(thresholds)), np.nan, dtype=np.float32)
        targets[span[:, :1] >= thresholds] = 1.0
        targets[span[:, 1:] <= thresholds] = 0.0
        return targets

    def groups(self, labels: Sequence[Label | None]) -> npt.NDArray[np.int64]:
        """The band between two thresholds that holds the middle of the label."""
        middle = label_spans(labels).mean(axis=1)
        bands = np.searchsorted(np.array(THRESHOLDS), middle, side="right")
        return np.where(np.isnan(middle), ABSENT, bands).astype(np.int64)

    @property
    def meanings(self) -> list[Hashable]:
        """The thresholds."""
        return list(THRESHOLDS)

    @property
    def counts(self) -> list[int]:
        """Training utterances in each band."""
        return self._counts

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Sigmoid."""
        return outputs.float().sigmoid()

    def describe(self) -> HeadDescription | None:
        """Kind ``ordinal``, in years."""
        return HeadDescription(
            task=self.name, kind="ordinal", thresholds=THRESHOLDS, low=LOW, high=HIGH, unit="years"
        )

    def state(self) -> dict[str, Any]:
        """The counts."""
        return {"counts": self._counts}

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self._counts = list(state["counts"])
