"""The report of an evaluation: JSON for programs, Markdown and plots for people."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from hive_mtl.atomic import atomic_write
from hive_mtl.evaluate import plots, tables
from hive_mtl.evaluate.attributes import Attribute
from hive_mtl.evaluate.binary import Kept
from hive_mtl.evaluate.conditions import Condition
from hive_mtl.evaluate.embedded import Coverage, Failure
from hive_mtl.evaluate.identification import Identification
from hive_mtl.evaluate.open_set import OpenSet
from hive_mtl.evaluate.verification import Verification


@dataclass(frozen=True)
class Report:
    """Everything an evaluation found, and how.

    Attributes:
        model_id: of the model.
        provisional: whether the model says so of itself.
        min_duration_s: of utterances in verification and identification.
        replicates: draws of speakers behind each interval.
        seed: of those draws and of the enrolments.
        coverage: by corpus.
        verification: by corpus (or trial list) and scope.
        identification: by corpus and scope.
        attributes: by task and corpus.
        failures: every recording without a vector.
        groups: verification by corpus and group of voices.
        open_set: identification by corpus, where half of the speakers are unknown.
        split: what of the data was judged; empty for all of it.
        conditions: by degradation and corpus; empty where they were not asked for.
        binary: by corpus and form of the embedding; empty where it was not asked for.
    """

    model_id: str
    provisional: bool
    min_duration_s: float
    replicates: int
    seed: int
    coverage: tuple[Coverage, ...]
    verification: tuple[Verification, ...]
    identification: tuple[Identification, ...]
    attributes: tuple[Attribute, ...]
    failures: tuple[Failure, ...]
    groups: tuple[Verification, ...] = ()
    open_set: tuple[OpenSet, ...] = ()
    split: str = ""
    conditions: tuple[Condition, ...] = ()
    binary: tuple[Kept, ...] = ()

    def write(self, folder: Path) -> None:
        """Writes ``report.json``, ``report.md``, ``det.png`` and ``scores.png``.

        Raises:
            DataError: the folder cannot be written.
        """
        with atomic_write(folder / "report.json") as path:
            path.write_text(json.dumps(asdict(self), indent=1, allow_nan=False), encoding="utf-8")
        with atomic_write(folder / "report.md") as path:
            path.write_text(self.markdown(), encoding="utf-8")
        with atomic_write(folder / "det.png") as path:
            plots.draw_det(self.verification, path)
        with atomic_write(folder / "scores.png") as path:
            plots.draw_scores(self.verification, path)

    def markdown(self) -> str:
        """The figures as tables; n/a where one is undefined."""
        provisional = ", a provisional model" if self.provisional else ""
        split = f" on split {self.split}" if self.split else ""
        how = (
            f"In brackets: 95% intervals, {self.replicates} draws of speakers (seed {self.seed}). "
            "A recording without a vector counts as an error in every figure."
        )
        trials = (
            f"Trials inside a corpus, utterances of {self.min_duration_s:g} s and more, unless a "
            "list gives them. minDCF at a target prior of 0.01; Cllr by the calibration in "
            "force and the quality of both sides, minCllr by the best one for these trials."
        )
        closed_set = (
            "Closed set, one utterance enrolled per speaker, mean over repeated choices of it. "
            "Within gender, the voices to choose from are those of the probe's own known gender."
        )
        paragraphs = [
            f"# Evaluation of {self.model_id}{provisional}{split}",
            how,
            "## Coverage",
            tables.coverage(self.coverage),
            "## Verification",
            trials,
            tables.verification(self.verification),
            "## Groups",
            tables.GROUPS_NOTE,
            tables.groups(self.groups),
            *tables.conditions(self.conditions),
            "## Identification",
            closed_set,
            tables.identification(self.identification),
            *tables.open_set(self.open_set),
            *tables.binary(self.binary),
            "## Attributes",
            tables.ATTRIBUTES_NOTE,
            tables.attributes(self.attributes),
            *tables.failures(self.failures),
        ]
        return "\n\n".join(paragraphs) + "\n"
