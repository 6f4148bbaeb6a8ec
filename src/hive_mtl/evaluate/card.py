"""The model card: what a model says of itself and what an evaluation found, in Markdown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

import pyarrow as pa
import pyarrow.compute as pc

from hive_mtl.atomic import atomic_write
from hive_mtl.description import HeadDescription, ModelDescription
from hive_mtl.evaluate import tables, voice_tables
from hive_mtl.evaluate.groups import age_groups
from hive_mtl.evaluate.report import Report
from hive_mtl.learn.tasks import get_task
from hive_mtl.learn.tasks._base import Label
from hive_mtl.learn.utterances import training_utterances, voice_of_each

ABOUT = "about.md"  # beside a model: its attribution, and how it was trained
_NOT_LABELLED = "not labelled"

Labels = Mapping[str, Mapping[str, int]]
"""By task, how many voices have each label."""


def voices_per_label(description: ModelDescription, table: pa.Table) -> Labels:
    """The training voices of a table by the labels that the model's heads answer.

    Only of the corpora that the model learnt from. Ages count by group; a voice with two labels
    counts for the first.

    Args:
        description: of the model.
        table: the data, of all splits, as :func:`hive_mtl.learn.utterances.conform` makes it.
    """
    learnt = pa.array([each.corpus for each in description.data], pa.string())
    rows = training_utterances(table.filter(pc.is_in(table["corpus"], value_set=learnt)))
    whose = voice_of_each(rows).tolist()
    counts: dict[str, dict[str, int]] = {}
    for head in description.heads:
        names = _names(head, get_task(head.task).labels_of(rows))
        of_voice: dict[int, str] = {}
        for voice, name in zip(whose, names, strict=True):
            if of_voice.get(voice, _NOT_LABELLED) == _NOT_LABELLED:
                of_voice[voice] = name
        ranked = sorted(Counter(of_voice.values()).items(), key=lambda each: (-each[1], each[0]))
        counts[head.task] = dict(sorted(ranked, key=lambda each: each[0] == _NOT_LABELLED))
    return counts


def about_model(model: Path) -> str:
    """What is written in ``about.md`` beside a model file; empty where there is none."""
    beside = model.with_name(ABOUT)
    return beside.read_text(encoding="utf-8") if beside.is_file() else ""


def write_card(
    out: Path, description: ModelDescription, report: Report, table: pa.Table, about: str = ""
) -> None:
    """Writes the card of a model.

    Args:
        out: the Markdown file.
        description: of the model that ``report`` is about.
        report: with conditions, where the card is to have them.
        table: the data of all splits, for the training voices in it.
        about: what :func:`about_model` reads.

    Raises:
        DataError: the file cannot be written.
    """
    labels = voices_per_label(description, table)
    with atomic_write(out) as path:
        path.write_text(card(description, report, labels, about), encoding="utf-8")


def card(description: ModelDescription, report: Report, labels: Labels, about: str = "") -> str:
    """The card of a model; the same for the same description, report, labels and ``about``."""
    template = Template((files(__package__) / "card.md").read_text(encoding="utf-8"))
    conditions = tables.conditions(report.conditions)
    return template.substitute(
        name=description.model_id,
        status=_status(description),
        network=_network(description),
        answers=", ".join(head.task for head in description.heads if not head.withheld)
        or "nothing",
        data=tables.data(description.data),
        labels=tables.labels(labels),
        about=f"\n{about.strip()}\n" if about else "",
        judged=_judged(report),
        verification=tables.verification(report.verification),
        groups=f"{tables.GROUPS_NOTE}\n\n{tables.groups(report.groups)}",
        conditions="\n\n".join(conditions[1:]) or "Not measured.",
        identification=voice_tables.identification(report.identification),
        attributes=f"{tables.ATTRIBUTES_NOTE}\n\n{tables.attributes(report.attributes)}",
        withheld=_withheld(description.heads),
        coverage=tables.coverage(report.coverage),
    )


def _status(description: ModelDescription) -> str:
    made = "`hive-mtl evaluate --card` made this page."
    provisional = "**Provisional**, its recipe says: it is not meant to be the last. "
    return f"{provisional if description.provisional else ''}{made}"


def _network(description: ModelDescription) -> str:
    millions = description.parameters / 1e6
    return (
        f"A network of {millions:.1f} million parameters (`{description.trunk}`) that reads speech "
        f"at {description.sample_rate / 1000:g} kHz and gives a unified embedding of "
        f"{description.embedding_dim} numbers."
    )


def _judged(report: Report) -> str:
    what = f"split `{report.split}` of the data" if report.split else "all of the data given"
    return (
        f"On {what}. In brackets: 95% intervals, {report.replicates} draws of speakers. Utterances "
        f"of {report.min_duration_s:g} s and more in verification and identification; a recording "
        "without a vector counts as an error. Cllr is by the model's own calibration, minCllr by "
        "the best one for these trials: what lies between them is miscalibration."
    )


def _withheld(heads: Sequence[HeadDescription]) -> str:
    lines = [f"- `{head.task}` is withheld: {head.withheld}." for head in heads if head.withheld]
    return "\n".join(lines) or "No head is withheld."


def _names(head: HeadDescription, labels: Sequence[Label | None]) -> list[str]:
    """What each utterance counts as."""
    if head.kind == "classes":
        return [str(label) if label in head.classes else _NOT_LABELLED for label in labels]
    return [group or _NOT_LABELLED for group in age_groups(labels)]
