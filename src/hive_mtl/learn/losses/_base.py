"""What all losses share: what they read, which head they want; absent labels cost nothing."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

ABSENT = -1  # the class target of an utterance without a label; ordinal targets use NaN


class LossConfig(BaseModel):
    """Base of every loss configuration: frozen, and a setting it does not have is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str


class TaskLoss(nn.Module):
    """A loss over one batch for one task.

    Args:
        config: the loss module's ``Config``.
        counts: training examples of each class, in class order.

    ``reads`` says what ``forward`` takes first: the head's outputs ``(batch, outputs)`` or the
    unified embedding ``(batch, dim)``. ``targets`` says what it takes next: the class of each row
    ``(batch,)``, or 1, 0 or NaN for each threshold ``(batch, outputs)``. ``progress`` in [0, 1] is
    how far training has come; losses with a schedule follow it.
    """

    reads: ClassVar[Literal["outputs", "embedding"]] = "outputs"
    targets: ClassVar[Literal["classes", "thresholds"]] = "classes"

    def __init__(self, config: LossConfig, counts: Sequence[int]) -> None:
        super().__init__()
        self.progress = 0.0

    def head(self, dim: int, outputs: int) -> nn.Module:
        """The head whose outputs this loss expects; it reads unit embeddings times sqrt(dim)."""
        return nn.Linear(dim, outputs)

    def forward(self, read: Tensor, targets: Tensor) -> Tensor:
        """The mean loss over the labelled rows: a scalar, exactly zero where no row is labelled."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward")


def labelled(read: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The rows that carry a class label."""
    present = targets != ABSENT
    return read[present], targets[present]


def nothing(read: Tensor) -> Tensor:
    """Zero that still hangs on the graph, so that every process of a run has the same gradients."""
    return read.sum() * 0.0
