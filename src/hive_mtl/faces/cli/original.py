"""The original's four steps, by its names. Each imports what it needs when it is called."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hive_mtl.errors import ConfigError
from hive_mtl.faces.cli.answers import Overrides, complain_of, tell

if TYPE_CHECKING:
    from hive_mtl.learn.fetching import Progress as DownloadProgress

WORKING_DIR = Path("~/.hive-mtl-model-wd")

RECIPE = "mtl"

WorkingDir = Annotated[
    Path,
    Parameter(help="The folder that the four steps share; default: ~/.hive-mtl-model-wd."),
]

RecipeName = Annotated[
    str,
    Parameter(help="What is trained: mtl (the default), original, or a TOML file."),
]


def download_librispeech(
    subset: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    *,
    working_dir: WorkingDir = WORKING_DIR,
    mirror: str | None = None,
) -> int:
    """Fetch LibriSpeech: what was dropped is resumed, what is unpacked is checked and whole.

    Args:
        subset: Such as dev-clean or train-clean-100; without any, test-clean, test-other and
            train-clean-360.
        mirror: The address of a folder with the archives, in place of OpenSLR's.
    """
    from hive_mtl.learn.download import download_librispeech

    with _download_progress() as progress:
        corpus = download_librispeech(
            working_dir.expanduser(), subset, mirror=mirror, progress=progress
        )
    print(f"{corpus}: is there, checked and unpacked; hive-mtl build_mfcc is the next step")
    return 0


def build_mfcc(
    *,
    working_dir: WorkingDir = WORKING_DIR,
    audio_dir: Path | None = None,
    sample_rate: int = 16_000,
    recipe: RecipeName = RECIPE,
) -> int:
    """Decode every recording once and keep its features.

    Args:
        audio_dir: A folder in LibriSpeech's layout; default: what was downloaded.
        sample_rate: Of the features, in Hz; recordings are resampled to it.
    """
    from hive_mtl.learn import original

    folder = original.WorkingFolder(working_dir.expanduser())
    where = audio_dir and audio_dir.expanduser().resolve()
    folder.tell(recipe, audio_dir=where, sample_rate=sample_rate)
    materials = original.build_mfcc(folder, recipe, tell)
    print(f"{folder.path}: features are kept; hive-mtl build_model_inputs is the next step")
    return complain_of(materials.failures)


def build_model_inputs(
    *,
    working_dir: WorkingDir = WORKING_DIR,
    counts_per_speaker: str | None = None,
    recipe: RecipeName = RECIPE,
) -> int:
    """Draw the crops of each voice to learn from, and those to monitor.

    Args:
        counts_per_speaker: How many of each, such as 600,100; default: as the recipe has it.
    """
    from hive_mtl.learn import original

    folder = original.WorkingFolder(working_dir.expanduser())
    if counts_per_speaker is not None:
        folder.tell(recipe, counts_per_speaker=_counts(counts_per_speaker))
    lists = original.build_model_inputs(folder, recipe, tell)
    print(
        f"{folder.path}: {len(lists.learnt)} crops to learn from, {len(lists.monitor)} to monitor; "
        "hive-mtl train_mtl is the next step"
    )
    return 0


def train_mtl(
    *,
    working_dir: WorkingDir = WORKING_DIR,
    recipe: RecipeName = RECIPE,
    overrides: Overrides = (),
    resume: Annotated[bool, Parameter(help="Continue the run where it stopped.")] = False,
) -> int:
    """Train the speaker and the gender task, and measure the model on voices that it never heard.

    The original's network and its training are --recipe original.
    """
    import hive_mtl
    from hive_mtl.evaluate import evaluate, unheard
    from hive_mtl.learn import corpora, original

    folder = original.WorkingFolder(working_dir.expanduser())
    run = original.train_mtl(folder, recipe, overrides, resume=resume)
    failures = list(run.failures)
    table = unheard(corpora.read_all(folder.data))
    if table is None:
        tell("every voice was learnt from: there is none to measure the model on")
    else:
        report = evaluate(hive_mtl.load(run.folder), table, original_test=True)
        report.write(run.folder)
        print(report.markdown())
        failures += [f"{each.path}: {each.reason}" for each in report.failures]
    print(f"{run.folder}: trained")
    return complain_of(failures)


def _counts(text: str) -> list[int]:
    try:
        learnt, monitor = (int(count) for count in text.split(","))
    except ValueError:
        learnt, monitor = 0, 0
    if learnt < 1 or monitor < 0:
        raise ConfigError(
            f"--counts-per-speaker {text}: give two numbers, such as 600,100: crops of each voice "
            "to learn from, and to monitor"
        )
    return [learnt, monitor]


@contextmanager
def _download_progress() -> Iterator["DownloadProgress"]:
    """A bar for each step, with the time left, if somebody is looking."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    bars: dict[str, TaskID] = {}
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as shown:

        def progress(step: str, done: int, total: int | None) -> None:
            if step not in bars:
                for bar in bars.values():
                    shown.update(bar, visible=False)
                bars[step] = shown.add_task(step, total=total, completed=done)
            shown.update(bars[step], total=total, completed=done)

        yield progress
