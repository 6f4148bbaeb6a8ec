"""What the weights are changed by, and how precisely that is computed."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hive_mtl.errors import ModelError

OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}


def precision() -> Any:
    """bf16 autocast where the machine computes in it, else float32."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    return "bf16-mixed" if torch.cpu._is_avx512_bf16_supported() else "32-true"


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels; none for biases and normalisation."""
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in learnt if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in learnt if p.ndim <= 1], "weight_decay": 0.0},
    ]


def check_finite(what: str, value: Tensor, step: int, learning_rate: float) -> None:
    """Refuses to go on with a loss, or the norm of a gradient, that is no number.

    Raises:
        ModelError: it is not finite.
    """
    if not torch.isfinite(value):
        raise ModelError(
            f"the {what} is not a finite number at step {step}: lower trainer.learning_rate (now "
            f"{learning_rate}) and begin again in another --out"
        )
