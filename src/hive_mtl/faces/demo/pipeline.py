"""The steps of the demonstration, in the order in which they are told."""

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from hive_mtl.atomic import atomic_write
from hive_mtl.evaluate import Report, evaluate
from hive_mtl.faces.demo import material, synthetic
from hive_mtl.faces.demo.embedding_map import places
from hive_mtl.faces.demo.page import write_page
from hive_mtl.faces.demo.story import Comparison, Portrait, Recording, Story, Teller, percent
from hive_mtl.learn import checkpoint, corpora
from hive_mtl.learn.config import load_recipe
from hive_mtl.learn.diagram import draw, trace_layers
from hive_mtl.learn.trainer import train
from hive_mtl.learn.utterances import training_utterances
from hive_mtl.use.model import Model, load
from hive_mtl.use.scoring import cosine

KNOWN_VOICES, UNSEEN_VOICES = 48, 12  # of the synthetic corpus


def run(speech: Path | None, out: Path) -> Path:
    """Runs the demonstration.

    Args:
        speech: the user's recordings, any corpus that is read; None renders synthetic voices.
        out: the folder for everything that is made; what an earlier demonstration left is replaced.

    Returns:
        The page, ``report.html`` in ``out``.

    Raises:
        HiveError: the recordings do not do, packages are missing, or the folder cannot be written.
    """
    console = Console()
    teller = Teller(console)
    table = _own(teller, speech) if speech else _synthetic(teller, out / "corpus")
    unseen = material.unseen(table)
    model = _train(teller, table, out)
    report = _evaluate(teller, model, unseen, out)
    recordings, vectors = _listen(teller, model, unseen)
    comparisons = _compare(teller, model, unseen, recordings, vectors)
    portraits = _portray(teller, model, unseen, recordings)
    trained = checkpoint.load(out / "run").model()
    story = Story(
        synthetic=speech is None,
        description=model.description,
        architecture=draw(model.description, trace_layers(trained.trunk, trained.front_end.mels)),
        run=str(out / "run"),
        steps=teller.steps,
        report=report,
        recordings=recordings,
        comparisons=comparisons,
        portraits=portraits,
    )
    page = write_page(story, out / "report.html")
    console.print(f"\nDone: open [bold]{page}[/bold] in a browser.", highlight=False)
    return page


def _synthetic(teller: Teller, folder: Path) -> pa.Table:
    with teller.step("Rendering synthetic voices with espeak-ng") as step:
        teller.console.print("   They are made up: every figure below is a check of the pipeline only.")
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
    hours = np.nansum(table["duration_s"].to_numpy()) / 3600
    length = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"
    voices = len(table["speaker"].drop_null().unique())
    aside = len(material.unseen(table)["speaker"].unique())
    return (
        f"{len(table)} recordings of {voices} voices, {length}. {aside} of the voices are kept aside:"
        " training never hears them."
    )


def _train(teller: Teller, table: pa.Table, out: Path) -> Model:
    recipe = load_recipe("demo", [f"data.cache={out / 'prepared'}"])
    recipe = material.with_learnable_tasks(recipe, table)
    with teller.step(f"Training one embedding on {', '.join(recipe.tasks)}") as step:
        if (out / "run" / "last.safetensors").is_file():  # of an earlier demonstration
            shutil.rmtree(out / "run")
        with atomic_write(out / "utterances.parquet") as path:
            pq.write_table(table, path)
        model = load(train(recipe, [str(out / "utterances.parquet")], out / "run"))
        described = model.description
        learnt = training_utterances(table)
        step.outcome = (
            f"{described.model_id}: {described.parameters:,} parameters, {recipe.trainer.steps} steps"
            f" over {len(learnt)} recordings of {len(learnt['speaker'].unique())} voices."
        )
    return model


def _evaluate(teller: Teller, model: Model, unseen: pa.Table, out: Path) -> Report:
    with teller.step("Judging it on the voices that it has not heard") as step:
        report = evaluate(model, unseen)
        report.write(out / "evaluation")
        judged = report.verification[0]
        step.outcome = "No pairs of one voice and of two: nothing to judge."
        if judged.eer is not None:
            step.outcome = (
                f"Equal error rate {judged.eer.value:.1%} over {judged.targets:,} pairs of one voice"
                f" and {judged.nontargets:,} of two."
            )
    return report


def _listen(
    teller: Teller, model: Model, unseen: pa.Table
) -> tuple[list[Recording], npt.NDArray[np.float32]]:
    """The unseen recordings that can be embedded, and their vectors ``(recordings, dim)``."""
    with teller.step("Drawing a map of the unseen voices") as step:
        rows = unseen.to_pylist()
        embedded = model.embed_many(material.segment(row) for row in rows)
        failed = [result for result in embedded if isinstance(result, Exception)]
        if failed:
            raise failed[0]
        vectors = np.stack([each.vector for each in embedded])
        tasks = [head.task for head in model.description.heads]
        recordings = [
            Recording(
                voice=row["speaker"],
                place=place,
                clip=material.clip(row),
                labels={task: row[task] for task in tasks if row.get(task)},
            )
            for row, place in zip(rows, places(vectors), strict=True)
        ]
        step.outcome = f"{len(recordings)} recordings placed by what their embeddings have in common."
    return recordings, vectors
