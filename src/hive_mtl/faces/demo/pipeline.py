"""The steps of the demonstration, in the order in which they are told."""

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.markup import escape

from hive_mtl.audio import Segment
from hive_mtl.errors import DataError
from hive_mtl.evaluate import Report, evaluate
from hive_mtl.faces.demo import earlier, material, synthetic
from hive_mtl.faces.demo.page import write_page
from hive_mtl.faces.demo.story import Comparison, Portrait, Recording, Story, Teller
from hive_mtl.learn import corpora
from hive_mtl.learn.config import load_recipe
from hive_mtl.learn.diagram import draw_checkpoint
from hive_mtl.learn.starting import LAST
from hive_mtl.learn.trainer import train
from hive_mtl.learn.utterances import training_utterances, voices
from hive_mtl.use.embedding import Embedding
from hive_mtl.use.model import Model, load
from hive_mtl.use.scoring import cosine

KNOWN_VOICES, UNSEEN_VOICES = 60, 12  # of the synthetic corpus


def run(speech: Path | None, out: Path) -> Path:
    """Runs the demonstration.

    Args:
        speech: the user's recordings, any corpus that is read; None renders synthetic voices.
        out: the folder for everything that is made; what an earlier demonstration left is replaced.

    Returns:
        The page, ``report.html`` in ``out``.

    Raises:
        HiveError: the recordings do not do, packages are missing, or the folder cannot be written
            or holds anything else.
    """
    earlier.check_replaceable(out)
    console = Console(emoji=False)  # a path may hold ':cat:'
    teller = Teller(console)
    table = _own(teller, speech) if speech else _synthetic(teller, out / earlier.CORPUS)
    unseen = material.unseen(table)
    model = _train(teller, table, out)
    report, recordings = _judge(teller, model, unseen, out)
    with teller.step("Verifying two pairs") as step:
        comparisons = compare(model, recordings)
        step.outcome = " ".join(f"{each.sentence()} {each.check()}" for each in comparisons)
    with teller.step("Asking what can be heard in a voice") as step:
        portraits = portray(model, recordings)
        step.outcome = " ".join(_described(portrait) for portrait in portraits)
    story = Story(
        synthetic=speech is None,
        description=model.description,
        architecture=draw_checkpoint(out / earlier.RUN),
        run=str(out / earlier.RUN),
        steps=teller.steps,
        report=report,
        recordings=recordings,
        comparisons=comparisons,
        portraits=portraits,
    )
    page = write_page(story, out / "report.html")
    console.print(f"\nDone: open [bold]{escape(str(page))}[/bold] in a browser.", highlight=False)
    return page


def _synthetic(teller: Teller, folder: Path) -> pa.Table:
    with teller.step("Rendering synthetic voices with espeak-ng") as step:
        teller.say("They are made up: every figure below is a check of the pipeline only.")
        synthetic.render(folder, KNOWN_VOICES, UNSEEN_VOICES)
        table = corpora.read(folder)
        made_up = pa.array(["synthetic"] * len(table), pa.string())
        table = table.set_column(table.column_names.index("corpus"), "corpus", made_up)
        step.outcome = _told(table)
    return table


def _own(teller: Teller, speech: Path) -> pa.Table:
    with teller.step(f"Reading your recordings in {speech}") as step:
        table = material.read_own(speech)
        step.outcome = _told(table)
    return table


def _told(table: pa.Table) -> str:
    minutes = np.nansum(table["duration_s"].to_numpy()) / 60
    length = f"{minutes / 60:.1f} hours" if minutes >= 60 else f"{minutes:.0f} minutes"
    aside = len(material.unseen(table)["speaker"].unique())
    return (
        f"{_counted(table)}, {length}. {aside} of the voices are kept aside: training never hears"
        " them."
    )


def _counted(table: pa.Table) -> str:
    _, known = voices(table)
    return f"{len(table):,} recordings of {len(known):,} voices"


def _train(teller: Teller, table: pa.Table, out: Path) -> Model:
    recipe, run = load_recipe(earlier.RECIPE, [f"data.cache={out / 'prepared'}"]), out / earlier.RUN
    with teller.step("Training one embedding on every task that has labels") as step:
        if (run / LAST).is_file():
            shutil.rmtree(run)
        written = earlier.write_table(table, out)
        model = load(train(recipe, [str(written)], run).folder)
        described = model.description
        step.outcome = (
            f"{described.model_id}: {described.parameters:,} parameters, {recipe.trainer.steps}"
            f" steps over {_counted(training_utterances(table))}. Tasks: "
            f"{', '.join(['speaker', *(head.task for head in described.heads)])}."
        )
    return model


def _judge(
    teller: Teller, model: Model, unseen: pa.Table, out: Path
) -> tuple[Report, list[Recording]]:
    with teller.step("Judging it on the voices that it has not heard") as step:
        report = evaluate(model, unseen)
        report.write(out / "evaluation")
        recordings = listen(model, unseen)
        judged = report.verification[0]
        if judged.eer is None:
            step.outcome = "There are no pairs of one voice and of two to judge it by."
        else:
            step.outcome = (
                f"Equal error rate {judged.eer.value:.1%}, over {judged.targets:,} pairs of one"
                f" voice and {judged.nontargets:,} of two."
            )
    return report, recordings


def listen(model: Model, unseen: pa.Table) -> list[Recording]:
    """The unseen recordings, but for those that give no vector: the report counts them."""
    rows = unseen.to_pylist()
    sources = [Segment(Path(row["path"]), row["start_s"], row["duration_s"]) for row in rows]
    tasks = [head.task for head in model.description.heads]
    return [
        Recording(
            voice=row["speaker"],
            source=source,
            embedding=embedding,
            labels={task: row[task] for task in tasks if row.get(task)},
        )
        for row, source, embedding in zip(rows, sources, model.embed_many(sources), strict=True)
        if isinstance(embedding, Embedding)
    ]


def compare(model: Model, recordings: Sequence[Recording]) -> list[Comparison]:
    """A pair of one voice and a pair of two, chosen before any score is known.

    The first voice that was recorded twice: its first recording against its last, and against the
    first of the next voice, of the same gender if there is one.

    Raises:
        DataError: there is no pair of one voice, or none of two.
    """
    count = Counter(recording.voice for recording in recordings)
    if len(count) < 2 or max(count.values()) < 2:
        raise DataError(
            "the voices kept aside: none, or none with two recordings that can be embedded:"
            " hive-mtl doctor says what is wrong with them"
        )
    first = next(each for each in recordings if count[each.voice] > 1)
    last = [each for each in recordings if each.voice == first.voice][-1]
    others = [each for each in recordings if each.voice != first.voice]
    gender = first.labels.get("gender")
    other = next((each for each in others if each.labels.get("gender") == gender), others[0])
    return [_comparison(model, first, last), _comparison(model, first, other)]


def _comparison(model: Model, left: Recording, right: Recording) -> Comparison:
    if model.calibration is None:
        score = cosine(left.embedding.vector, right.embedding.vector)
        return Comparison(left, right, score, verdict=None)
    verdict = model.verify(left.source, right.source)
    return Comparison(left, right, verdict.score, verdict)


def portray(model: Model, recordings: Sequence[Recording]) -> list[Portrait]:
    """The first recording of each gender, or of the first two voices where it is not known."""
    by_gender = {each.labels.get("gender", ""): each for each in reversed(recordings)}
    by_voice = {each.voice: each for each in reversed(recordings)}
    chosen = by_gender if len(by_gender) > 1 else by_voice
    first_two = sorted(chosen.values(), key=recordings.index)[:2]
    return [Portrait(each, model.attributes(each.source)) for each in first_two]


def _described(portrait: Portrait) -> str:
    answers = ", ".join(f"{task} {answer.value}" for task, answer in portrait.answers.items())
    return f"Voice {portrait.recording.voice}: {answers or 'there was nothing to learn it from'}."
