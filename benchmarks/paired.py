"""Two models judged by the same code, at the same trials and the same draws of speakers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from hive_mtl.evaluate.bootstrap import FEWEST_SPEAKERS, Bootstrap, Draw, Estimate, Statistic
from hive_mtl.evaluate.embedded import EmbeddedTable
from hive_mtl.evaluate.identification import identify
from hive_mtl.evaluate.open_set import identify_open_set
from hive_mtl.evaluate.splits import SAME_RECORDING
from hive_mtl.evaluate.verification import Verifier

REPLICATES, SEED = 1000, 0
MIN_S = 2.0  # of an utterance that is compared
MEAN = "(mean over corpora)"
Judged = tuple[Statistic, int]  # and how many speakers it draws


@dataclass(frozen=True)
class Asked(Bootstrap):
    """Keeps the statistics it is asked for, so that two models can be asked at the same draws."""

    replicates: int = 0
    seed: int = SEED
    statistics: list[Judged] = field(default_factory=list)

    def estimate(self, statistic: Statistic, speakers: int) -> tuple[Estimate, ...]:
        self.statistics.append((statistic, speakers))
        return super().estimate(statistic, speakers)


@dataclass(frozen=True)
class Figure:
    """One figure of two models, with the 95% interval of their difference.

    Attributes:
        name: such as "EER".
        corpus: its name, or "(mean over corpora)".
        scope: "all" or "within gender".
        speakers: that are drawn.
        ours: of Hive-MTL.
        theirs: of the peer.
        difference: ours less theirs.
    """

    name: str
    corpus: str
    scope: str
    speakers: int
    ours: Estimate
    theirs: Estimate
    difference: Estimate


def paired(ours: Statistic, theirs: Statistic, speakers: int) -> list[tuple[Estimate, ...]]:
    """(ours, theirs, difference) of each figure that two statistics make of one draw."""

    def both(draw: Draw) -> list[float]:
        a, b = np.array(ours(draw)), np.array(theirs(draw))
        return [*a.tolist(), *b.tolist(), *(a - b).tolist()]

    found = Bootstrap(REPLICATES, SEED).estimate(both, speakers)
    count = len(found) // 3
    return list(zip(found[:count], found[count : 2 * count], found[2 * count :], strict=True))


def compare_verification(
    ours: Sequence[EmbeddedTable], theirs: Sequence[EmbeddedTable]
) -> list[Figure]:
    """EER and minDCF of every corpus and of their mean, over all trials and within gender.

    Each side is one table as one model hears it, or as several do (seeds of one training): their
    figures are averaged. Corpora of few speakers, and halves of single recordings, which are a
    corpus apart, are no part of the mean.
    """

    def judge(embedded: EmbeddedTable, corpus: str, asked: Asked) -> list[tuple[str, bool]]:
        rows = Verifier(embedded, None, asked).corpus(corpus, MIN_S)
        return [(row.scope, row.eer is not None) for row in rows]

    return _compare(ours, theirs, judge, ("EER", "minDCF"))


def compare_identification(
    ours: Sequence[EmbeddedTable], theirs: Sequence[EmbeddedTable]
) -> list[Figure]:
    """Top-1 accuracy with one enrolment, likewise."""

    def judge(embedded: EmbeddedTable, corpus: str, asked: Asked) -> list[tuple[str, bool]]:
        rows = identify(embedded, corpus, MIN_S, asked)
        return [(row.scope, row.top1 is not None) for row in rows]

    return _compare(ours, theirs, judge, ("top-1",))


def compare_open_set(
    ours: Sequence[EmbeddedTable], theirs: Sequence[EmbeddedTable]
) -> list[Figure]:
    """Detection and identification rate at 1% false alarms, half of the speakers unknown."""

    def judge(embedded: EmbeddedTable, corpus: str, asked: Asked) -> list[tuple[str, bool]]:
        found = identify_open_set(embedded, corpus, MIN_S, asked)
        return [("all", found.detected is not None)]

    return _compare(ours, theirs, judge, ("DIR at 1%",))


# Of a table and a corpus: the scopes that are judged, and whether there is a figure of each.
Judge = Callable[[EmbeddedTable, str, Asked], list[tuple[str, bool]]]


def _compare(
    ours: Sequence[EmbeddedTable],
    theirs: Sequence[EmbeddedTable],
    judge: Judge,
    names: Sequence[str],
) -> list[Figure]:
    figures: list[Figure] = []
    of_scope: dict[str, list[tuple[Judged, Judged]]] = {}
    for corpus in ours[0].corpora:
        sides = [_by_scope(side, corpus, judge) for side in (ours, theirs)]
        for scope in sides[0]:
            pair = sides[0][scope], sides[1][scope]
            figures += _figures(names, corpus, scope, *pair)
            if pair[0][1] >= FEWEST_SPEAKERS and not corpus.endswith(SAME_RECORDING):
                of_scope.setdefault(scope, []).append(pair)
    for scope, pairs in of_scope.items():
        means = [_mean_of_corpora(side) for side in zip(*pairs, strict=True)]
        figures += _figures(names, MEAN, scope, *means)
    return figures


def _by_scope(side: Sequence[EmbeddedTable], corpus: str, judge: Judge) -> dict[str, Judged]:
    """By scope, the mean over the models of a side."""
    found: dict[str, list[Judged]] = {}
    for embedded in side:
        asked = Asked()
        scopes = [scope for scope, defined in judge(embedded, corpus, asked) if defined]
        for scope, judged in zip(scopes, asked.statistics, strict=True):
            found.setdefault(scope, []).append(judged)
    return {scope: _mean_of_models(each) for scope, each in found.items()}


def _mean_of_models(judged: Sequence[Judged]) -> Judged:
    """The mean over models of what is asked of the same speakers."""
    return lambda draw: np.mean([each(draw) for each, _ in judged], axis=0).tolist(), judged[0][1]


def _mean_of_corpora(judged: Sequence[Judged]) -> Judged:
    """The mean of what is asked of different speakers; all of them are drawn together."""
    ends = np.cumsum([speakers for _, speakers in judged])

    def mean(draw: Draw) -> list[float]:
        parts = np.split(draw, ends[:-1])
        values = [each(part) for (each, _), part in zip(judged, parts, strict=True)]
        return np.mean(values, axis=0).tolist()

    return mean, int(ends[-1])


def _figures(
    names: Sequence[str],
    corpus: str,
    scope: str,
    ours: Judged,
    theirs: Judged,
) -> list[Figure]:
    estimates = paired(ours[0], theirs[0], ours[1])
    return [
        Figure(name, corpus, scope, ours[1], *each)
        for name, each in zip(names, estimates, strict=True)
    ]


def percent(estimate: Estimate, *, signed: bool = False, digits: int = 2) -> str:
    """'7.68 [6.2, 12.2]' of a fraction."""
    return plain(estimate, signed=signed, digits=digits, factor=100)


def plain(estimate: Estimate, *, signed: bool = False, digits: int = 3, factor: float = 1) -> str:
    """'0.422 [0.301, 0.500]'; n/a where speakers are too few for an interval."""
    sign = "+" if signed else ""
    value = f"{factor * estimate.value:{sign}.{digits}f}"
    if estimate.low is None or estimate.high is None:
        return f"{value} [n/a]"
    low, high = (f"{factor * bound:{sign}.{digits}f}" for bound in (estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines) + "\n"


def figure_table(figures: Sequence[Figure]) -> str:
    """Figures of two models, one a line: percent, but for minDCF."""

    def cells(row: Figure) -> list[object]:
        shown = plain if row.name == "minDCF" else percent
        values = shown(row.ours), shown(row.theirs), shown(row.difference, signed=True)
        return [row.corpus, row.scope, row.speakers, row.name, *values]

    header = ("corpus", "scope", "speakers", "figure", "ours", "peer", "ours - peer")
    return markdown(header, [cells(row) for row in figures])
