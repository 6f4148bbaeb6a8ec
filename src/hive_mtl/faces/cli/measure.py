"""The commands that measure a model on labelled recordings."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from hive_mtl.atomic import check_no_folder
from hive_mtl.faces.cli.answers import OUT, Data, Json, complain, print_json

if TYPE_CHECKING:
    from hive_mtl.evaluate import Report
    from hive_mtl.evaluate.embedded import EmbeddedTable
    from hive_mtl.use.model import Model


@Parameter(name="*")
@dataclass(frozen=True)
class Judged:
    """What of the data a model is measured on.

    Attributes:
        split: Use only the rows of this split. 'validation', where no row is of it, are the voices
            that training holds out by their hash: one in ten of split 'train' or of none.
        trials: Use the pairs of this list (VoxCeleb's or Kaldi's form) instead of all pairs.
        original_test: Identify as the original's test did as well: the first utterance of each
            voice enrolled, whole utterances and crops of 1.6 s.
        clustered: Cluster voices of these corpora together as well, such as 'here,there'.
        conditions: Judge shorter, noisier and telephone versions of the recordings as well.
        bits: Judge embeddings kept in 256, 512 and 1,024 bits as well.
    """

    split: str | None = None
    trials: Path | None = None
    original_test: bool = False
    clustered: str | None = None
    conditions: bool = False
    bits: bool = False

    @property
    def corpora(self) -> list[str]:
        """Those whose voices are clustered together."""
        names = () if self.clustered is None else self.clustered.split(",")
        return list(dict.fromkeys(name.strip() for name in names))


_EVERYTHING = Judged()


def evaluate(
    model: str,
    /,
    *,
    data: Data,
    judged: Judged = _EVERYTHING,
    out: Annotated[Path | None, OUT] = None,
    card: Path | None = None,
    as_json: Json = False,
) -> int:
    """Measure a model on labelled recordings.

    Args:
        model: An ONNX file, the folder of a run, or org/name on the Hugging Face Hub.
        out: The folder for the report: report.json, report.md, det.png, scores.png.
        card: A model card to write; includes --conditions.
    """
    import hive_mtl
    from hive_mtl.evaluate import judge, judge_conditions, read_trials, take_split
    from hive_mtl.evaluate.card import about_model, write_card
    from hive_mtl.evaluate.clustering import check_corpora
    from hive_mtl.evaluate.embedded import embed_table
    from hive_mtl.learn import corpora

    everything = table = corpora.read_all(data)
    if judged.split is not None:
        table = take_split(table, judged.split, ", ".join(data))
    if judged.corpora:
        check_corpora(table, judged.corpora)  # before any work
    pairs = None if judged.trials is None else read_trials(judged.trials, table)
    loaded = hive_mtl.load(model)
    _make_room(out, card)  # lest hours of work end at a wrong place
    embedded = embed_table(loaded, table)
    report = judge(loaded, embedded, trials=pairs, original_test=judged.original_test)
    report = _with_more(replace(report, split=judged.split or ""), judged, loaded, embedded)
    if judged.conditions or card is not None:
        report = replace(report, conditions=judge_conditions(loaded, table))
    if out is not None:
        report.write(out)
    if card is not None:
        write_card(card, loaded.description, report, everything, about_model(loaded.file))
    for failure in report.failures:
        complain(f"{failure.path}: {failure.reason}")
    if as_json:
        print_json(asdict(report))
    else:
        print(report.markdown())
    return 2 if report.failures else 0


def _make_room(out: Path | None, card: Path | None) -> None:
    for folder in (out, card and card.parent):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    if card is not None:
        check_no_folder(card)


def _with_more(
    report: "Report", judged: Judged, model: "Model", embedded: "EmbeddedTable"
) -> "Report":
    """The report with what else was asked for of these recordings."""
    from hive_mtl.evaluate import judge_binary
    from hive_mtl.evaluate.clustering import judge_clustering

    if judged.corpora:
        together = judge_clustering(embedded, model.calibration, judged.corpora)
        report = replace(report, clustering=(*report.clustering, together))
    if judged.bits:
        report = replace(report, binary=judge_binary(embedded, model.description.leading))
    return report


def evaluate_diarization(
    model: str,
    /,
    *,
    data: Data,
    split: str | None = None,
    dialogues: Annotated[int, Parameter(validator=Number(gte=1))] = 60,
    seed: Annotated[int, Parameter(validator=Number(gte=0))] = 0,
    as_json: Json = False,
) -> int:
    """Measure who speaks when on dialogues composed of labelled recordings.

    Each is of two to six voices of one corpus, in one simulated room and one noise.

    Args:
        model: An ONNX file, the folder of a run, or org/name on the Hugging Face Hub.
        split: Use only the rows of this split; 'validation' as for evaluate.
        dialogues: How many to compose; default: 60.
        seed: Of who speaks, when, where and through which noise; default: 0.
    """
    import hive_mtl
    from hive_mtl.evaluate import take_split, voice_tables
    from hive_mtl.evaluate.dialogues import compose_dialogues
    from hive_mtl.evaluate.diarization import judge_diarization
    from hive_mtl.learn import corpora

    table = corpora.read_all(data)
    if split is not None:
        table = take_split(table, split, ", ".join(data))
    rows = judge_diarization(hive_mtl.load(model), compose_dialogues(table, dialogues, seed))
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        print(voice_tables.diarization(rows))
    return 0
