"""Who speaks when."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Turn:
    start_s: float
    end_s: float
    speaker: str
