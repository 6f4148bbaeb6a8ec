"""Do the tasks pull the shared trunk the same way?"""

from collections.abc import Callable, Mapping
from itertools import combinations

import torch
from torch import Tensor


def gradient_cosines(
    losses: Callable[[Tensor], Mapping[str, Tensor]], vector: Tensor
) -> dict[str, float]:
    """By pair of tasks, the cosine of what their losses ask of what the trunk gives.

    What a loss asks is its gradient with respect to ``vector`` ``(batch, dim)``, the output of the
    trunk, as one long vector over the whole batch; the weights of the tasks do not matter. Above 0
    the tasks pull the trunk the same way on this batch, below 0 against each other. Rows without a
    label of a task are zeros in its gradient, so few shared rows bring the cosine near 0. A pair
    with a task that no row is labelled for is left out.

    Args:
        losses: from what the trunk gives to the loss of each task. They are computed anew, on a
            graph of the heads alone: Lightning lets nobody else go back through what it wraps.
        vector: ``(batch, dim)``.
    """
    asked, vector = {}, vector.detach().requires_grad_()
    for task, loss in losses(vector).items():
        (gradient,) = torch.autograd.grad(loss, vector, retain_graph=True)
        if (norm := gradient.float().norm()) > 0:
            asked[task] = gradient.float().flatten() / norm
    return {
        f"gradient_cosine/{one}/{other}": float(asked[one] @ asked[other])
        for one, other in combinations(asked, 2)
    }
