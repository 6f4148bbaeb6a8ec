"""How the learning rate goes, and when a run that no longer gains is over.

Both are functions of the step and of what validation has found so far, so a resumed run goes on as
it would have.
"""

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field


class Plateau(BaseModel):
    """Lower the rate where the figure that is watched stands still; in the end, stop.

    The defaults are those of the original, which counted in epochs and watched the accuracy of the
    speaker task on crops of known voices.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    factor: float = Field(default=0.5, gt=0.0, lt=1.0)
    patience: int = Field(default=10, ge=1)  # validations without a gain
    least_gain: float = Field(default=1e-4, ge=0.0)
    lowest_rate: float = Field(default=1e-4, ge=0.0)
    stop_after: int = Field(default=20, ge=1)  # validations without a gain
    stop_gain: float = Field(default=1e-3, ge=0.0)

    def rate(self, initial: float, watched: Sequence[float]) -> float:
        """The learning rate after the validations that found ``watched`` (higher is better)."""
        rate, best, waited = initial, -math.inf, 0
        for figure in watched:
            waited += 1
            if figure > best + self.least_gain:
                best, waited = figure, 0
            elif waited >= self.patience:
                rate, waited = max(rate * self.factor, self.lowest_rate), 0
        return min(rate, initial)

    def is_over(self, watched: Sequence[float]) -> bool:
        """Whether the last ``stop_after`` validations gained too little."""
        best, waited = -math.inf, 0
        for figure in watched:
            waited += 1
            if figure > best + self.stop_gain:
                best, waited = figure, 0
        return waited >= self.stop_after


def warm_up_and_cosine(step: int, steps: int, warm_up: float) -> float:
    """Linear warm-up over a fraction of the steps, then half a cosine down to zero: in [0, 1]."""
    rising = max(round(steps * warm_up), 1)
    if step < rising:
        return step / rising
    return 0.5 * (1.0 + math.cos(math.pi * (step - rising) / max(steps - rising, 1)))
