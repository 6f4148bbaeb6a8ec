"""What it costs to index an archive and to look for a voice in it, and how well voices are found.

Recordings of half an hour are composed of real speech and indexed; then their vectors are repeated
until there are 1,000 hours, and voices are looked for in those. The share of what is found and the
false alarms are those of voices held out of training, see hive_mtl.evaluate.finding.
"""

import os
import subprocess
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import measure
import numpy as np
import soundfile

import hive_mtl
from hive_mtl.audio import SAMPLE_RATE, load
from hive_mtl.use.archive import HOP_S, WINDOW_S, Archive

RECORDING_S = 1800.0
RECORDINGS = 2
QUERIES = 3
LONG_S = 5.0  # of a recording to look for
FOUND_OR_NOT = (0, 1)
SAMPLE_EVERY_S = 0.1
CORPORA = ("commonvoice", "speechocean762")


def compose(rows: list[dict[str, str]], folder: Path) -> None:
    """Recordings of RECORDING_S: utterance after utterance."""
    source = iter(cycle(rows))
    for number in range(RECORDINGS):
        waves, samples = [], 0
        while samples < RECORDING_S * SAMPLE_RATE:
            waves.append(load(next(source)["path"]))
            samples += waves[-1].size
        wave = np.concatenate(waves)[: round(RECORDING_S * SAMPLE_RATE)]
        soundfile.write(folder / f"{number}.flac", wave, SAMPLE_RATE)


class Parrot:
    """Embeds any recording as the ones before it, in turn; else as the model that it stands for."""

    def __init__(self, model: hive_mtl.Model, recordings: list[Path]) -> None:
        self.description, self.cohort = model.description, model.cohort
        heard = (model.embed(path, window_s=WINDOW_S, hop_s=HOP_S) for path in recordings)
        self._windows = cycle(list(heard))

    def embed(self, _path: Path, **_windows: float) -> hive_mtl.WindowedEmbeddings:
        return next(self._windows)


def repeat(model: hive_mtl.Model, archive: Path, hours: float) -> None:
    """Indexes empty recordings, as if they were like the true ones, until there are enough."""
    parrot = Parrot(model, sorted(archive.glob("*.flac")))
    for number in range(RECORDINGS, round(hours * 3600 / RECORDING_S)):
        (archive / f"{number}.flac").touch()
    deque(Archive(parrot, archive), maxlen=0)


@dataclass(frozen=True)
class Spent:
    """By one run of the command."""

    cpu_s: float
    seconds: float
    peak_mb: float


def look(voice: str, archive: Path, model_file: Path) -> Spent:
    """Runs `hive-mtl find` in a process of its own, on one core."""
    words = ["find", voice, archive, "--model", model_file, "--threads", "1"]
    begun = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(measure.hive_mtl(*words), stdout=output, stderr=output)
        peak_mb, ended = 0.0, 0
        while not ended:  # what the system calls its peak would count this process, too
            peak_mb = max(peak_mb, measure.cost(process.pid).rss_mb)
            time.sleep(SAMPLE_EVERY_S)
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in FOUND_OR_NOT:
            output.seek(0)
            raise SystemExit(f"hive-mtl find failed: {output.read().decode(errors='replace')}")
    seconds = time.monotonic() - begun
    return Spent(usage.ru_utime + usage.ru_stime, seconds, peak_mb)


def costs(speech: Path, model_file: Path, hours: float) -> None:
    rows = measure.training_rows(speech)
    voices = [row["path"] for row in rows if float(row["duration_s"]) > LONG_S][-QUERIES:]
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder)
        compose(rows, archive)
        indexing = look(voices[0], archive, model_file)
        indexed_h = RECORDINGS * RECORDING_S / 3600
        measure.show("indexing", [indexed_h / indexing.cpu_s], "hours per CPU-second")
        measure.show("indexing, peak memory", [indexing.peak_mb], "MB")
        repeat(hive_mtl.load(model_file, threads=1), archive, hours)
        size = sum(file.stat().st_size for file in archive.rglob("*.npz"))
        measure.show("index", [size / 1e6 / hours], "MB per hour")
        spent = [look(voice, archive, model_file) for voice in voices]
        place = f"a voice in {hours:g} indexed hours"
        measure.show(place, [each.cpu_s for each in spent], "CPU-seconds")
        measure.show(place, [each.seconds for each in spent], "seconds")
        measure.show(f"{place}, peak memory", [each.peak_mb for each in spent], "MB")


def quality(speech: Path, model_file: Path) -> None:
    import pyarrow.compute as pc

    from hive_mtl.evaluate.finding import judge_finding  # here, because it takes torch
    from hive_mtl.learn import corpora
    from hive_mtl.learn.utterances import validation_utterances

    model = hive_mtl.load(model_file, threads=1)
    table = validation_utterances(corpora.read(str(speech / "manifest.csv")))
    for corpus in CORPORA:
        found = judge_finding(model, table.filter(pc.equal(table["corpus"], corpus)))
        print(f"{corpus}: {found.queries} voices, each looked for in {found.hours:.2f} hours")
        measure.show("  of the time found, the voice's", [100 * (found.precision or 0)], "%")
        measure.show("  of the voice's time, found", [100 * found.recall], "%")
        measure.show("  of its utterances, found", [100 * found.utterances], "%")
        measure.show("  false alarms", [found.false_per_hour], "an hour")
        measure.show("  false alarms, announced", [found.expected_false_per_hour], "an hour")


def main() -> None:
    parser = measure.arguments(__doc__.splitlines()[0])
    measure.add_model(parser)
    parser.add_argument("--hours", type=float, default=1000.0, help="of the index to look in")
    options = parser.parse_args()
    measure.need(options.speech, "real speech", "--speech FOLDER")
    measure.need(options.model, "model", "--model FILE")
    with measure.report(f"find: one thread; {QUERIES} voices, one after the other"):
        costs(options.speech, options.model, options.hours)
        quality(options.speech, options.model)


if __name__ == "__main__":
    main()
