"""Peak memory of preparation, training steps and validation, as the corpus grows to 100 hours.

`hive-mtl train unified` runs as a user starts it on a table that repeats the rows of real speech;
every row is decoded and stored anew. The resident memory of its process tree is sampled.
"""

import shutil
import tempfile
import time
from itertools import cycle
from pathlib import Path

import measure

BAR_MB = 2000.0
STOP_MB = 6000.0  # the machine may be shared: beyond this nothing more is to be learnt
STEPS = 30
SIZES_H = (1.0, 10.0)  # smaller tables beside the one asked for, to see how memory grows
MB_PER_HOUR = 3600 * 16_000 * 2 / 1e6  # of 16-bit samples
SAMPLE_EVERY_S = 0.05
PHASES = ("preparation", "training steps", "validation, saving and export")


def repeated(rows: list[dict[str, str]], hours: float) -> list[dict[str, str]]:
    """``rows``, again and again, until there are ``hours`` of them."""
    chosen, seconds = [], 0.0
    for row in cycle(rows):
        chosen.append(row)
        seconds += float(row["duration_s"])
        if seconds >= 3600 * hours:
            return chosen
    return chosen


def phase(log: str) -> str:
    """What a run that has written ``log`` is about."""
    begun = "validation:" in log, f"step {STEPS}/{STEPS}" in log
    return PHASES[sum(begun)]


def peaks_mb(data: Path, folder: Path, speech: Path) -> dict[str, float]:
    """The peak in each phase of a run; it is ended where it takes more than STOP_MB."""
    settings = {
        "data.cache": folder / "cache",
        "augment.noises": speech / "noise",
        "augment.rooms": speech / "rir",
        "trainer.steps": STEPS,
    }
    overrides = [word for key, to in settings.items() for word in ("--set", f"{key}={to}")]
    command = measure.hive_mtl("train", "unified", "--data", data, "--out", folder / "run")
    peaks = dict.fromkeys(PHASES, 0.0)
    log = folder / "output.log"
    with measure.running([*command, *overrides], log) as process:
        while process.poll() is None:
            now = phase(log.read_text(errors="replace"))
            peaks[now] = max(peaks[now], measure.cost(process.pid).rss_mb)
            if peaks[now] > STOP_MB:
                print(f"stopped: more than {STOP_MB:g} MB in {now}")
                return peaks
            time.sleep(SAMPLE_EVERY_S)
        if not (folder / "run" / "model.onnx").is_file():  # status 2 may mean bad recordings only
            raise measure.failure(process, log)
    return peaks


def show(rows: list[dict[str, str]], hours: float, speech: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "train.csv"
        table = repeated(rows, hours)
        measure.write_table(table, data)
        voices = len({(row["corpus"], row["speaker"]) for row in table})
        print(f"{hours:g} h: {len(table)} utterances of {voices} voices", flush=True)
        for name, peak in peaks_mb(data, Path(folder), speech.resolve()).items():
            measure.show(f"  {name}", [peak], "MB", at_most=BAR_MB)


def main() -> None:
    parser = measure.arguments(__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=100.0, help="of the largest table")
    options = parser.parse_args()
    measure.need(options.speech, "real speech", "--speech FOLDER")
    needed_mb = options.hours * MB_PER_HOUR + 1000
    free_mb = shutil.disk_usage(tempfile.gettempdir()).free / 1e6
    if free_mb < needed_mb:
        raise SystemExit(
            f"{tempfile.gettempdir()}: {free_mb:.0f} MB free, {needed_mb:.0f} MB needed: "
            "set TMPDIR to a larger disk, or give fewer --hours"
        )
    with measure.report(
        f"memory: {STEPS} steps of recipe unified, sum over processes sampled every "
        f"{1000 * SAMPLE_EVERY_S:.0f} ms, one run each"
    ):
        rows = measure.training_rows(options.speech)
        for hours in [*(size for size in SIZES_H if size < options.hours), options.hours]:
            show(rows, hours, options.speech)


if __name__ == "__main__":
    main()
