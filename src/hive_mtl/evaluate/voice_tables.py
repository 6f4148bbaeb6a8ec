"""The tables of a report that tell how well voices are recognised among others, in Markdown."""

from collections.abc import Sequence

from hive_mtl.evaluate.binary import NOTE as BINARY_NOTE
from hive_mtl.evaluate.binary import Kept
from hive_mtl.evaluate.clustering import Clustered
from hive_mtl.evaluate.diarization import Diarized
from hive_mtl.evaluate.identification import Identification
from hive_mtl.evaluate.markdown import percent, plain, table
from hive_mtl.evaluate.open_set import NOTE as OPEN_SET_NOTE
from hive_mtl.evaluate.open_set import OpenSet

CLUSTERING_NOTE = (
    "The recordings of some voices are grouped without being told how many voices there are. Means "
    "over draws of voices, in brackets where 95% of the draws lie. Precision, recall and F are "
    "B-cubed (Bagga and Baldwin, 1998); a recording with too little speech to be grouped has none."
)


def identification(rows: Sequence[Identification]) -> str:
    """Top-1 accuracy of each corpus and scope."""
    return table(
        ("corpus", "voices", "speakers", "probes", "top-1 %"),
        ((row.corpus, row.scope, row.speakers, row.probes, percent(row.top1)) for row in rows),
    )


def clustering(rows: Sequence[Clustered]) -> str:
    """How well the recordings of each corpus, or of several together, are grouped by voice."""
    return table(
        ("voices of", "voices x draws", "utterances", "groups", "precision %", "recall %", "F %"),
        (
            (
                " + ".join(row.corpora),
                f"{row.voices} x {row.draws}",
                f"{row.utterances:.0f}",
                plain(row.groups, digits=1),
                percent(row.precision),
                percent(row.recall),
                percent(row.f),
            )
            for row in rows
        ),
    )


def diarization(rows: Sequence[Diarized]) -> str:
    """Diarization error rates by how many voices speak, told how many there are and not."""
    header = ("voices", "number told", "dialogues", "counted right", "DER %", "miss %")
    return table(
        (*header, "false alarm %", "confusion %", "full DER %", "JER %"),
        (
            (
                row.voices,
                "yes" if row.told else "no",
                row.dialogues,
                f"{row.counted_right:.0%}",
                percent(row.der),
                *(f"{100 * part:.1f}" for part in (row.miss, row.false_alarm, row.confusion)),
                percent(row.full_der),
                percent(row.jer),
            )
            for row in rows
        ),
    )


def open_set(rows: Sequence[OpenSet]) -> list[str]:
    """Identification where half of the speakers are unknown, as paragraphs; none without rows."""
    if not rows:
        return []
    shown = table(
        (
            *("corpus", "enrolled / unknown speakers", "known / unknown probes"),
            *("DIR at 1% false alarms, %", "recognised %", "false alarms %", "bits"),
        ),
        (
            (
                row.corpus,
                f"{row.enrolled} / {row.unknown}",
                f"{row.known_probes} / {row.unknown_probes}",
                percent(row.detected),
                percent(row.recognised),
                percent(row.false_alarms),
                plain(row.bits),
            )
            for row in rows
        ),
    )
    return ["## Open-set identification", OPEN_SET_NOTE, shown]


def binary(rows: Sequence[Kept]) -> list[str]:
    """EER and top-1 of each corpus in each form, as paragraphs; none where there are none."""
    if not rows:
        return []
    shown = table(
        ("corpus", "kept", "bytes", "EER %", "more than float32", "top-1 %", "more than float32"),
        (
            (
                row.corpus,
                row.form,
                row.size,
                percent(row.eer),
                percent(row.eer_more, signed=True),
                percent(row.top1),
                percent(row.top1_more, signed=True),
            )
            for row in rows
        ),
    )
    return ["## Kept in fewer bits", BINARY_NOTE, shown]
