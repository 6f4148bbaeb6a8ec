"""The commands of those who make models. Each imports what it needs when it is called."""

from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from cyclopts import Parameter

from hive_mtl.errors import ConfigError
from hive_mtl.faces.cli.answers import (
    OUT,
    Data,
    Json,
    Overrides,
    Tasks,
    complain_of,
    print_json,
    tell,
)


@Parameter(name="*")
@dataclass(frozen=True)
class RunOptions:
    """How a run departs from its recipe, and where it begins."""

    overrides: Overrides = ()
    tasks: Tasks = None
    resume: Annotated[bool, Parameter(help="Continue the run of --out where it stopped.")] = False
    start_from: Annotated[
        str | None,
        Parameter(
            "--from",
            help="Begin with the weights of this run or checkpoint, or with those that ship: "
            "pretrained.",
        ),
    ] = None
    freeze: Annotated[
        bool, Parameter(help="Leave the embedding as it is and train only the heads.")
    ] = False


_AS_THE_RECIPE_SAYS = RunOptions()


def demo(
    *,
    speech: Path | None = None,
    out: Annotated[Path, OUT] = Path("demo"),
) -> int:
    """Run the whole story, offline: prepare, train, evaluate, verify, and a report to look at.

    Args:
        speech: A folder of your own recordings, `<speaker>/<anything>`; default: voices made
            by the demo.
        out: The folder for everything that is made.
    """
    from hive_mtl.faces.demo import run

    run(speech, out)
    return 0


def doctor(*data: str, as_json: Json = False) -> int:
    """Say what is wrong with data before training on it.

    The exit status is 0 if nothing is, 1 if there are findings.

    Args:
        data: Folders or tables of recordings, or KIND:PATH; several are examined as their union.
    """
    import pyarrow as pa
    from rich.console import Console
    from rich.progress import Progress

    from hive_mtl.learn import corpora
    from hive_mtl.learn.doctor import counts, examine

    tables = corpora.read_each(data)
    table = pa.concat_tables(tables.values(), promote_options="default")
    rows = {name: len(part) for name, part in tables.items()} if len(tables) > 1 else None
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as shown:
        bar = shown.add_task("listening", total=len(table))
        findings = examine(
            table, parts=rows, progress=lambda done: shown.update(bar, completed=done)
        )
    if as_json:
        print_json({"rows": len(table), "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            print(finding)
        kinds = ", ".join(f"{number} {kind}" for kind, number in counts(findings).items())
        print(f"{len(findings)} findings in {len(table)} rows" + (f": {kinds}" if kinds else ""))
    return 1 if findings else 0


def train(
    recipe: str,
    /,
    *,
    data: Data,
    out: Annotated[Path | None, OUT] = None,
    options: RunOptions = _AS_THE_RECIPE_SAYS,
) -> int:
    """Train a unified embedding, or continue one.

    Args:
        recipe: The name of a recipe of the package, or a TOML file.
        out: The folder of the run; default: runs/ and the name of the recipe.
    """
    from hive_mtl.learn.config import load_recipe, with_tasks
    from hive_mtl.learn.starting import LAST
    from hive_mtl.learn.trainer import train

    configured = load_recipe(recipe, options.overrides)
    if options.tasks is not None:
        configured = with_tasks(configured, options.tasks.split(","))
    out = out or Path("runs") / configured.name
    if options.resume and not (out / LAST).is_file():
        tell(f"{out}: there is no run to go on with: this one begins")
    run = train(
        configured,
        data,
        out,
        resume=options.resume,
        start_from=options.start_from,
        freeze=options.freeze,
    )
    print(f"{run.folder}: trained; hive-mtl evaluate {run.folder} --data DATA measures it")
    return complain_of(run.failures)


def export(
    checkpoint: Path,
    /,
    *,
    out: Annotated[Path, OUT],
    data: Data = (),
) -> int:
    """Make an ONNX model of a checkpoint.

    With --data, the data that it was trained on, it is also calibrated on the voices held out of
    that: probabilities and thresholds by how long and how clean recordings are, how sure each head
    may be, and which heads are withheld. A linear map in which what tells voices apart counts for
    more, and a cohort of training voices to normalise scores by, are added.

    Args:
        checkpoint: A checkpoint, or the folder of a run (its best one).
        out: The .onnx file to write; its description, model.json, and weights to train on from,
            model.safetensors, come to stand beside it.
    """
    from hive_mtl.learn.checkpoint import load
    from hive_mtl.learn.export import export_onnx

    if out.is_dir():
        raise ConfigError(f"{out}: a folder is in the way: name the .onnx file to write")
    learnt = load(checkpoint)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as unfinished:
        made = Path(unfinished) / out.name
        description = export_onnx(learnt, made)
        if data:
            from hive_mtl.evaluate import finish
            from hive_mtl.learn import corpora

            description = finish(made, corpora.read_all(data), ", ".join(data))
        for file in sorted(made.parent.iterdir()):
            file.replace(out.parent / file.name)
    print(f"{out}: {description.model_id}")
    return 0


def average(*checkpoints: Path, out: Annotated[Path, OUT]) -> int:
    """Make one checkpoint of several runs: the mean of their weights.

    It has no calibration.

    Args:
        checkpoints: Checkpoints, or folders of runs, of one network: same trunk, tasks and classes.
        out: The .safetensors file to write.
    """
    from hive_mtl.learn.average import average

    average(checkpoints, out)
    print(f"{out}: the mean of {len(checkpoints)} checkpoints; hive-mtl export makes a model of it")
    return 0


def publish(folder: Path, name: str, /, *, private: bool = False) -> int:
    """Upload a model and its card to the Hugging Face Hub.

    Without --private everybody may see them. The token is that of HF_TOKEN or of 'hf auth login'.
    The licence is what the card says in front matter of its own: what the training data allows.

    Args:
        folder: Holds model.onnx, model.json, model.safetensors and MODEL_CARD.md.
        name: ORG/NAME on the Hub; it is made if it is not there.
        private: For nobody else to read.
    """
    from hive_mtl.use.hub import publish

    print(f"{name}: published as {publish(folder, name, private=private)}")
    return 0


def import_keras(
    checkpoint: Path,
    /,
    *,
    out: Annotated[Path, OUT],
    speakers: Path | None = None,
) -> int:
    """Take over a checkpoint of the original or of Deep Speaker (Keras, .h5).

    Args:
        checkpoint: What Keras saved: the whole model or its weights, in either layout of HDF5.
        out: The folder for the checkpoint and its ONNX model.
        speakers: A file with the names of the speakers in the order of their classes, one a line.
    """
    from hive_mtl.learn.interop.keras import import_keras

    run = import_keras(checkpoint, speakers, out)
    print(f"{run}: taken over; hive-mtl evaluate {run} --data DATA measures it")
    return 0
