"""Learning from teachers: other embeddings of the same crops, which the student can foretell.

Student and teachers are given one view, the same augmented crop, and the student is to compute the
teachers' function of it (Beyer et al., 2022, arXiv:2106.05237). The spaces differ, so that a linear
map a teacher leads from the student's to the teacher's; it is learnt with the rest and left behind
when the run ends.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from hive_mtl.learn.model import UnifiedModel

PART = "teachers"  # what the losses of a step, the journal and a checkpoint call it


class DistillationConfig(BaseModel):
    """Who teaches besides the labels, and how much it counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    teachers: tuple[Path, ...] = ()  # run folders or checkpoints; none: labels alone teach
    weight: float = Field(default=1.0, gt=0.0)  # beside the weights of the tasks

    def anywhere(self) -> "DistillationConfig":
        """The same, but teachers have only their names: not the folders of a machine."""
        names = tuple(Path(path.name) for path in self.teachers)
        return self.model_copy(update={"teachers": names})


class Distillation(nn.Module):
    """The loss of a student to its teachers, and the maps that are learnt for it.

    Args:
        teachers: networks that read the student's features; they stay as they are. There may be
            none, and nothing to learn.
        dim: of the student's embedding.
    """

    def __init__(self, teachers: Sequence[UnifiedModel], dim: int) -> None:
        super().__init__()
        self.teachers = nn.ModuleList(teachers).eval().requires_grad_(False)
        self.maps = nn.ModuleList(
            nn.Linear(dim, teacher.embedding_dim, bias=False) for teacher in teachers
        )

    def forward(self, vector: Tensor, inputs: Tensor, lengths: Tensor, keep: Tensor) -> Tensor:
        """One less the cosine between what a teacher says and what the student foretells.

        Args:
            vector: ``(batch, dim)``, the student's, before it is normalised.
            inputs: what the student was given; see :meth:`UnifiedModel.forward`.
            lengths: likewise.
            keep: likewise.

        Returns:
            The mean over batch and teachers, unweighted: a scalar.
        """
        teachers = [cast(UnifiedModel, each) for each in self.teachers]
        with torch.no_grad():
            heard = teachers[0].features(inputs, lengths, keep)  # which all of them read
            said = [teacher.trunk(*heard).float() for teacher in teachers]
        foretold = [to_teacher(vector).float() for to_teacher in self.maps]
        cosines = map(functional.cosine_similarity, foretold, said)
        return 1 - torch.stack([each.mean() for each in cosines]).mean()

    def tensors(self) -> dict[str, Tensor]:
        """The maps, by names for a checkpoint that a run goes on from."""
        return {f"{PART}/{name}": tensor for name, tensor in self.maps.state_dict().items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Takes the maps out of what such a checkpoint holds beside the weights; gives the rest."""
        own = {f"{PART}/{name}": name for name in self.maps.state_dict()}
        self.maps.load_state_dict({name: tensors[key] for key, name in own.items()})
        return {key: tensor for key, tensor in tensors.items() if key not in own}
