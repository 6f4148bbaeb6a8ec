"""The story that the demonstration tells: what was done, and what came of it.

Nothing here computes speech or figures; it holds them for the page and says them in plain words.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from hive_mtl.audio import Segment
from hive_mtl.description import ModelDescription
from hive_mtl.evaluate import Report
from hive_mtl.use.attributes import Answer
from hive_mtl.use.embedding import Embedding
from hive_mtl.use.verify import Verdict


@dataclass
class Step:
    """One step of the pipeline; ``outcome`` is said when it is done."""

    title: str
    outcome: str = ""
    seconds: float = 0.0


@dataclass
class Teller:
    """Announces every step on the terminal, and times it."""

    console: Console
    steps: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Says what begins; then, unless it failed, what came of it and how long it took."""
        step = Step(title)
        number = len(self.steps) + 1
        self.console.print(f"\n[bold]{number}. {escape(title)}[/bold]", highlight=False)
        begun = time.monotonic()
        yield step
        step.seconds = time.monotonic() - begun
        self.steps.append(step)
        self.say(f"{step.outcome} ({duration(step.seconds)})")

    def say(self, text: str) -> None:
        """A few words under the title of a step."""
        self.console.print(Padding(escape(text), (0, 0, 0, 3)), highlight=False)


@dataclass(frozen=True)
class Recording:
    """A recording of a voice that training has not heard.

    Attributes:
        voice: the name of the speaker.
        source: where it is.
        embedding: what the model makes of it.
        labels: what is known of the voice, by task of the model.
    """

    voice: str
    source: Segment
    embedding: Embedding
    labels: dict[str, str]


@dataclass(frozen=True)
class Comparison:
    """Two recordings and how alike the model finds them.

    The verdict is None where the voices were too few to calibrate the model by.
    """

    left: Recording
    right: Recording
    score: float
    verdict: Verdict | None

    @property
    def same(self) -> bool:
        """The truth."""
        return self.left.voice == self.right.voice

    @property
    def correct(self) -> bool | None:
        """Whether the verdict is right; None without one."""
        return None if self.verdict is None else self.verdict.same == self.same

    def sentence(self) -> str:
        """The verdict in words."""
        if self.verdict is None:
            return f"The score is {self.score:.2f}; the voices are too few for a threshold."
        word = "Accepted" if self.verdict.same else "Not accepted"
        chance = percent(self.verdict.probability)
        return f"{word} as the same voice: the probability is {chance}."

    def check(self) -> str:
        """Whether the verdict is right, in words."""
        truth = "one voice" if self.same else "two voices"
        if self.correct is None:
            return f"In truth, {truth} spoke."
        return f"{'Right' if self.correct else 'Wrong'}: {truth} spoke."


@dataclass(frozen=True)
class Portrait:
    """What the task heads say about a recording."""

    recording: Recording
    answers: dict[str, Answer]


@dataclass(frozen=True)
class Story:
    """Everything that the page shows.

    Attributes:
        synthetic: whether the voices are made up.
        description: of the model.
        architecture: its picture, as SVG.
        run: the folder of the run, as the user would type it.
        steps: what was done.
        report: of the evaluation.
        recordings: of the unseen voices.
        comparisons: the verified pairs.
        portraits: what was heard in two of them.
    """

    synthetic: bool
    description: ModelDescription
    architecture: str
    run: str
    steps: list[Step]
    report: Report
    recordings: list[Recording]
    comparisons: list[Comparison]
    portraits: list[Portrait]

    @property
    def voices(self) -> list[str]:
        """The unseen voices, in the order of their recordings."""
        return list(dict.fromkeys(recording.voice for recording in self.recordings))

    @property
    def seconds(self) -> float:
        """Of all steps together."""
        return sum(step.seconds for step in self.steps)


def duration(seconds: float) -> str:
    """0.52 -> '0.5 s', 12.34 -> '12 s', 154 -> '2 min 34 s'."""
    if seconds < 0.1:
        return "under 0.1 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def percent(share: float) -> str:
    """0.973 -> '97%'; never 0% or 100%, which no model can promise."""
    if share > 0.99:
        return "above 99%"
    return "below 1%" if share < 0.01 else f"{share:.0%}"
