"""The tables of a report, in Markdown."""

from collections.abc import Mapping, Sequence

from hive_mtl.description import DataSummary
from hive_mtl.evaluate.attributes import BALANCED_ACCURACY, Attribute
from hive_mtl.evaluate.conditions import Condition
from hive_mtl.evaluate.embedded import Coverage, Failure
from hive_mtl.evaluate.markdown import NOT_DEFINED, percent, plain, table
from hive_mtl.evaluate.verification import Verification

GROUPS_NOTE = (
    "Pairs inside one group of voices: of one gender, or of one age. n/a with fewer than five "
    "voices. A label that two groups share, such as 'teens', counts for neither."
)
CONDITIONS_NOTE = (
    "The same trials throughout. A crop is taken from the middle of the speech; recordings that "
    "are shorter are left as they are. Noise is babble in half of the recordings and pink in the "
    "others; the telephone is a band of 300 to 3,400 Hz, coded as G.711 does. 'Answered by verify' "
    "are recordings with a second of speech or more, 3 dB or more above the noise."
)
ATTRIBUTES_NOTE = (
    "Beside each figure that of the best constant answer. ECE is the expected calibration error of "
    "the probability, over 15 bins of equal width (Naeini et al., 2015; Guo et al., 2017); with "
    "few utterances it is never 0. A quantity has an interval that is meant to hold 80% of the "
    "labels; 'inside' is how much of them it holds."
)
_FAILURES_SHOWN = 20


def data(rows: Sequence[DataSummary]) -> str:
    """What a model learnt from, with licences and where it is from."""
    return table(
        ("corpus", "voices", "utterances", "hours", "licence", "source"),
        (
            (
                row.corpus,
                row.speakers,
                row.utterances,
                f"{row.hours:.2f}",
                ", ".join(row.licences) or NOT_DEFINED,
                ", ".join(row.sources) or NOT_DEFINED,
            )
            for row in rows
        ),
    )


def labels(counts: Mapping[str, Mapping[str, int]]) -> str:
    """By task, how many voices have each label."""
    return table(
        ("task", "voices"),
        (
            (task, ", ".join(f"{label}: {count}" for label, count in of_task.items()))
            for task, of_task in counts.items()
            if of_task
        ),
    )


def coverage(rows: Sequence[Coverage]) -> str:
    """How much of each corpus has a vector."""
    return table(
        ("corpus", "speakers", "utterances", "with a vector"),
        (
            (
                row.corpus,
                row.speakers,
                row.utterances,
                f"{row.embedded} ({row.embedded / row.utterances:.1%})",
            )
            for row in rows
        ),
    )


def verification(rows: Sequence[Verification]) -> str:
    """EER, minDCF, Cllr and minCllr of each corpus and scope, with the number of trials."""
    return table(
        (
            "corpus",
            "trials",
            "speakers / utterances",
            "target / non-target",
            "without a vector",
            "EER %",
            "minDCF(0.01)",
            "Cllr",
            "minCllr",
        ),
        (
            (
                row.corpus,
                _kind_of_trials(row),
                f"{row.speakers} / {row.utterances}",
                f"{row.targets} / {row.nontargets}",
                row.unscored,
                percent(row.eer),
                plain(row.min_dcf),
                plain(row.cllr),
                NOT_DEFINED if row.min_cllr is None else f"{row.min_cllr:z.3f}",
            )
            for row in rows
        ),
    )


def groups(rows: Sequence[Verification]) -> str:
    """EER and Cllr among the voices of each group."""
    return table(
        ("corpus", "voices", "speakers / utterances", "target / non-target", "EER %", "Cllr"),
        (
            (
                row.corpus,
                row.scope,
                f"{row.speakers} / {row.utterances}",
                f"{row.targets} / {row.nontargets}",
                percent(row.eer),
                plain(row.cllr),
            )
            for row in rows
        ),
    )


def conditions(rows: Sequence[Condition]) -> list[str]:
    """Each corpus under each degradation, as paragraphs; none where there are none."""
    if not rows:
        return []
    heads = {figure.task: _figure(figure) for row in rows for figure in row.attributes}
    header = ("corpus", "condition", "EER %", "with a vector", "answered by verify", "left as is")
    shown = table(
        (*header, *(f"{task}: {figure}" for task, figure in heads.items())),
        (
            (
                row.corpus,
                row.name,
                percent(row.eer),
                f"{row.embedded / row.utterances:.1%}",
                f"{row.answerable / row.utterances:.1%}",
                row.untouched,
                *(_of_task(row.attributes, task) for task in heads),
            )
            for row in sorted(rows, key=lambda row: row.corpus)
        ),
    )
    return ["## Conditions", CONDITIONS_NOTE, shown]


def attributes(rows: Sequence[Attribute]) -> str:
    """Each head on each corpus, beside the best constant answer; and whether its odds hold."""
    return table(
        (
            "task",
            "corpus",
            "figure",
            "speakers / utterances",
            "unknown label",
            "value",
            "constant answer",
            "calibration",
        ),
        (
            (
                f"{row.task} (withheld)" if row.withheld else row.task,
                row.corpus,
                _figure(row),
                f"{row.speakers} / {row.utterances}",
                row.unknown,
                *beside_guess(row),
                _calibration(row),
            )
            for row in rows
        ),
    )


def failures(rows: Sequence[Failure]) -> list[str]:
    """The recordings without a vector, as paragraphs; none where there are none."""
    if not rows:
        return []
    shown = [f"- `{row.path}`: {row.reason}" for row in rows[:_FAILURES_SHOWN]]
    if len(rows) > _FAILURES_SHOWN:
        shown.append(f"- and {len(rows) - _FAILURES_SHOWN} more, all in report.json")
    return ["## Recordings without a vector", "\n".join(shown)]


def _kind_of_trials(row: Verification) -> str:
    crossing = ", target pairs across sessions" if row.cross_session else ""
    return f"{row.scope}{crossing}{', a sample of all pairs' if row.sampled else ''}"


def _figure(row: Attribute) -> str:
    return f"{row.metric} ({'%' if row.metric == BALANCED_ACCURACY else row.unit})"


def _of_task(rows: Sequence[Attribute], task: str) -> str:
    return next((beside_guess(row)[0] for row in rows if row.task == task), NOT_DEFINED)


def beside_guess(row: Attribute) -> tuple[str, str]:
    """The figure of a head with its interval, and that of the best constant answer."""
    if row.guess is None:
        return NOT_DEFINED, NOT_DEFINED
    if row.metric == BALANCED_ACCURACY:
        return percent(row.value), f"{100 * row.guess:.1f}"
    return plain(row.value, digits=2), f"{row.guess:.2f}"


def _calibration(row: Attribute) -> str:
    if row.metric == BALANCED_ACCURACY:
        error = row.calibration_error
        return NOT_DEFINED if error is None else f"ECE {100 * error:.1f}%"
    inside = row.interval_coverage
    return NOT_DEFINED if inside is None else f"inside {percent(inside)} %"
