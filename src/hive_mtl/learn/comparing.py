"""What a recipe fixes about its comparison before anything is trained: ``[compare]``.

The comparison itself is :mod:`hive_mtl.evaluate.compare`; these settings are read with the recipe,
and a comparison that has begun keeps them.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _each_once(values: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(values)) < len(values):
        raise ValueError("each is named once")
    return values


Quarter = Annotated[int, Field(ge=0, lt=4)]
Quarters = Annotated[tuple[Quarter, ...], Field(min_length=1), AfterValidator(_each_once)]


class CompareConfig(BaseModel):
    """Who is judged, and by which statistics."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seeds: int = Field(default=3, ge=1)  # trainings of each arm
    quarters: Quarters = (0,)  # of the voices; held out to be judged, one after the other
    # trained beside the unified arm and that of the speaker task alone
    arms: tuple[Literal["specialists", "labelled"], ...] = ("specialists", "labelled")
    splits: tuple[str, ...] = ()  # judged beside the voices that are held out for the comparison
    margin: float = Field(default=0.10, gt=0.0)  # of 'not worse', as a share of the rival's error
    level: float = Field(default=0.05, gt=0.0, lt=0.5)  # of Holm's family of tasks, both sides
    draws: int = Field(default=2_000, ge=100)  # of speakers and seeds
    draw_seed: int = Field(default=0, ge=0)
    min_duration_s: float = Field(default=2.0, ge=0.0)  # of an utterance that is in a trial
    min_voices: int = Field(default=5, ge=2)  # of a corpus that has a figure of its own
    cosines_every: int = Field(default=50, ge=1)  # steps between gradient cosines of the tasks
