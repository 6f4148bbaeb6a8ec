"""The original's pipeline and ours side by side: the same recordings, in turn, one thread each.

Ours is the installed command line, watched from outside. The original's steps run in
``.venv-original``. CPU seconds are those of the whole process tree; what a run costs before it is
at its work is taken off by a second, shorter run, or counts from the first steps on.
"""

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from environment import ORIGINAL

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import environments
import measure

ROUNDS = 3
CORPUS = "librispeech"
FEW = 5  # recordings of the shorter run of features
BATCH, CROP_S = 96, 1.6
STEPS = (2, 5)  # of the original, between which is counted
CROPS_PER_VOICE = (1, 3)  # of the shorter and of the longer run of rescnn
LARGER = 20  # times the corpus
SAMPLE_EVERY_S = 0.05
PARTS = ("features", "training", "memory")


@dataclass(frozen=True)
class Ran:
    """What a command cost that ran to its end."""

    cpu_s: float
    peak_mb: float


def run(command: Sequence[str], log: Path) -> Ran:
    """Runs a command to its end; its memory is that of the process tree, sampled."""
    before, peak_mb = _children_s(), 0.0
    with measure.running(command, log) as process:
        while process.poll() is None:
            peak_mb = max(peak_mb, measure.cost(process.pid).rss_mb)
            time.sleep(SAMPLE_EVERY_S)
        if process.returncode:
            raise measure.failure(process, log)
    return Ran(_children_s() - before, peak_mb)


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def original(step: str, *words: str | Path) -> list[str]:
    """A step of the original's pipeline."""
    script = Path(__file__).with_name("pipeline.py")
    return [str(ORIGINAL.python), str(script), step, *map(str, words)]


# Recordings


def write_corpus(speech: Path, folder: Path) -> Path:
    """The recordings of split 'train' of one corpus as FLAC in LibriSpeech's layout."""
    table, corpus = folder / "corpus.csv", folder / "corpus"
    rows = [row for row in measure.training_rows(speech) if row["corpus"] == CORPUS]
    measure.write_table(rows, table)
    script = environments.ROOT / "examples" / "export_librispeech_layout.py"
    subprocess.run([sys.executable, script, table, CORPUS, corpus], check=True)
    return corpus


def recordings(corpus: Path) -> list[Path]:
    return sorted(corpus.glob("**/*.flac"))


def link(corpus: Path, chosen: Sequence[Path], out: Path, times: int = 1) -> Path:
    """A corpus of these recordings, each in ``times`` chapters, that takes no space."""
    out.mkdir()
    os.link(corpus / "SPEAKERS.TXT", out / "SPEAKERS.TXT")
    for path in chosen:
        speaker, chapter, number = path.stem.rsplit("-", 2)
        for copy in range(times):
            name = f"{speaker}-{int(chapter) + copy}-{number}{path.suffix}"
            target = out / path.relative_to(corpus).parents[1] / name.split("-")[-2] / name
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    return out


def hours(paths: Sequence[Path]) -> float:
    import soundfile

    return sum(soundfile.info(path).duration for path in paths) / 3600


def megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.glob("**/*") if file.is_file()) / 1e6


# Features


def compare_features(corpus: Path, folder: Path) -> None:
    """Recordings -> features, and how large what is kept of them is."""
    paths = recordings(corpus)
    few = link(corpus, paths[:FEW], folder / "few")
    counted_h = hours(paths[FEW:])
    rates: dict[str, list[float]] = {"original": [], "ours": []}
    sizes = {}
    for number in range(ROUNDS):
        for who, of in rates.items():
            spent = []
            for part, audio in (("few", few), ("all", corpus)):
                work = folder / f"{who}-{part}-{number}"
                words = ("build_mfcc", "--working-dir", work, "--audio-dir", audio)
                command = (
                    original(*words)
                    if who == "original"
                    else measure.hive_mtl(*words, "--recipe", "original")
                )
                spent.append(run(command, folder / "features.log").cpu_s)
            of.append(counted_h / (spent[1] - spent[0]))
            kept = "audio-fbanks" if who == "original" else "prepared"
            sizes[who] = megabytes(folder / f"{who}-all-{number}" / kept) / hours(paths)
    unit = "audio-hours per CPU-s"
    measure.show("features from FLAC, original", rates["original"], unit)
    measure.show("features from FLAC, ours", rates["ours"], unit)
    _show_ratio("features from FLAC, ours / original", rates["ours"], rates["original"], 3.0)
    for who, size in sizes.items():
        measure.show(f"features kept, {who}", [size], "MB per audio-hour")
    ratio = sizes["ours"] / sizes["original"]
    measure.show("features kept, ours / original", [ratio], "", at_most=0.5)


# Training


def compare_training(corpus: Path, folder: Path) -> None:
    """Crops of the same network, and speech of the network that is trained by default."""
    theirs, ours = folder / "original", folder / "ours"
    log = folder / "training.log"
    run(original("build_mfcc", "--working-dir", theirs, "--audio-dir", corpus), log)
    genders = corpus / "SPEAKERS.TXT"
    words = ("--counts-per-speaker", "3,1", "--genders", genders)
    run(original("build_model_inputs", "--working-dir", theirs, *words), log)
    for recipe in ("original", "mtl"):
        words = ("--working-dir", ours, "--audio-dir", corpus, "--recipe", recipe)
        run(measure.hive_mtl("build_mfcc", *words), log)
    rates: dict[str, list[float]] = {"original": [], "rescnn": [], "separable_tdnn": []}
    for _ in range(ROUNDS):
        rates["original"].append(original_rate(theirs, log))
        rates["rescnn"].append(rescnn_rate(ours, log))
        rates["separable_tdnn"].append(separable_rate(ours, log))
    measure.show("training, original", rates["original"], "crops per CPU-s")
    measure.show("training, our rescnn", rates["rescnn"], "crops per CPU-s")
    _show_ratio("training, our rescnn / original", rates["rescnn"], rates["original"], 1.8)
    speech = [CROP_S * rate for rate in rates["original"]]
    measure.show("training, original", speech, "speech-s per CPU-s")
    measure.show("training, our separable_tdnn", rates["separable_tdnn"], "speech-s per CPU-s")
    _show_ratio("training, our separable_tdnn / original", rates["separable_tdnn"], speech, 20.0)


def original_rate(work: Path, log: Path) -> float:
    """Crops per CPU-second between two steps of ``fit``, the first of which built the graph."""
    command = original("train_mtl", "--working-dir", work, "--steps", str(STEPS[1]))
    marks: dict[int, float] = {}
    with measure.running(command, log) as process:
        while STEPS[1] not in marks:
            time.sleep(0.02)
            if process.poll() is not None:
                raise measure.failure(process, log)
            for step in re.findall(r'^\{"step": (\d+)', log.read_text(errors="replace"), re.M):
                marks.setdefault(int(step), measure.cost(process.pid).cpu_s)
    return BATCH * (STEPS[1] - STEPS[0]) / (marks[STEPS[1]] - marks[STEPS[0]])


def rescnn_rate(work: Path, log: Path) -> float:
    """Crops per CPU-second of our rescnn: a longer run less a shorter one, up to their last step.

    The log gains a line every 50 steps, which would take minutes, and at the last step.
    """
    ends = []
    for count in CROPS_PER_VOICE:
        settings = [f"batches.counts_per_speaker=[{count},0]", "trainer.epochs=1"]
        (end,) = step_marks(work, "original", settings, 1, log)
        ends.append(end)
    (few, few_s, _), (many, many_s, _) = ends
    return BATCH * (many - few) / (many_s - few_s)


def separable_rate(work: Path, log: Path) -> float:
    """Speech-seconds per CPU-second of what ``train_mtl`` trains by default."""
    (_, before_s, _), (_, after_s, speech_s) = step_marks(work, "mtl", [], 2, log)
    return speech_s / (after_s - before_s)


def step_marks(
    work: Path, recipe: str, settings: Sequence[str], count: int, log: Path
) -> list[tuple[int, float, float]]:
    """(step, CPU-s so far, speech-seconds since the last) at the first lines of a run's log."""
    overrides = [word for each in settings for word in ("--set", each)]
    command = measure.hive_mtl("train_mtl", "--working-dir", work, "--recipe", recipe, *overrides)
    told = work / "runs" / recipe / "log.jsonl"
    told.unlink(missing_ok=True)
    marks: list[tuple[int, float, float]] = []
    since = time.monotonic()
    with measure.running(command, log) as process:
        while len(marks) < count:
            time.sleep(0.02)
            if process.poll() is not None:
                raise measure.failure(process, log)
            lines = told.read_text().splitlines(keepends=True) if told.exists() else []
            whole = [json.loads(line) for line in lines if line.endswith("\n")]
            if len(whole) > len(marks):
                last, now = whole[-1], time.monotonic()
                cpu_s = measure.cost(process.pid).cpu_s
                marks.append((last["step"], cpu_s, last["speech_s_per_s"] * (now - since)))
                since = now
    return marks


# Memory


def compare_memory(corpus: Path, folder: Path) -> None:
    """The peak of each of our steps on the corpus, and on one that is many times as large."""
    paths = recordings(corpus)
    larger = link(corpus, paths, folder / "larger", LARGER)
    peaks = {}
    for size, audio in ((1, corpus), (LARGER, larger)):
        work = ("--working-dir", folder / f"memory-{size}")
        short = ["--set", "batches.counts_per_speaker=[16,2]", "--set", "trainer.epochs=1"]
        commands = {
            "build_mfcc": ["--audio-dir", str(audio)],
            "build_model_inputs": [],
            "train_mtl": short,
        }
        for name, words in commands.items():
            command = measure.hive_mtl(name, *work, *words)
            peaks[name, size] = run(command, folder / "memory.log").peak_mb
    for name in commands:
        once, often = peaks[name, 1], peaks[name, LARGER]
        measure.show(f"{name}, {hours(paths):.1f} h", [once], "MB")
        measure.show(f"{name}, {LARGER} times as much", [often], "MB", at_most=1.1 * once)


def _show_ratio(what: str, ours: Sequence[float], theirs: Sequence[float], at_least: float) -> None:
    """Of each round: what made the machine slow then slowed both."""
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    measure.show(what, ratios, "", at_least=at_least)


def main() -> None:
    parser = measure.arguments(__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; without any, all")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(PARTS)}")
    measure.need(options.speech, "real speech", "--speech FOLDER")
    ORIGINAL.ready()
    os.environ.update(environments.one_thread())
    with (
        measure.report(f"original: its pipeline and ours in turn, {ROUNDS} rounds, one thread"),
        tempfile.TemporaryDirectory() as folder,
    ):
        corpus = write_corpus(options.speech, Path(folder))
        comparisons = (compare_features, compare_training, compare_memory)
        for part, compare in zip(PARTS, comparisons, strict=True):
            if part in (options.parts or PARTS):
                (Path(folder) / part).mkdir()
                compare(corpus, Path(folder) / part)


if __name__ == "__main__":
    main()
