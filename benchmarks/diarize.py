"""What `hive-mtl diarize` costs: CPU-seconds a second of recording on one core, and peak memory.

The recordings are utterances of training voices with a second of faint noise between; the long one
repeats the short one.
"""

import tempfile
import time
from itertools import cycle
from pathlib import Path

import measure

SHORT_MIN = 10.0
ROUNDS = 3
BAR = 0.05  # CPU-seconds a second
BAR_MB = 1000.0
SAMPLE_EVERY_S = 0.1
PAUSE_S = 1.0


def write_talk(speech: Path, path: Path, minutes: float) -> float:
    """A recording of at least so many minutes; gives its seconds."""
    import numpy as np
    import soundfile as sf

    from hive_mtl.audio import SAMPLE_RATE, load

    noise = np.random.default_rng(0).standard_normal(round(PAUSE_S * SAMPLE_RATE))
    pause = (0.0005 * noise).astype(np.float32)
    spoken, samples = [], 0
    for row in measure.training_rows(speech):
        spoken += [load(row["path"]), pause]
        samples += spoken[-2].size + pause.size
        if samples >= 60 * SHORT_MIN * SAMPLE_RATE:
            break
    written = 0
    with sf.SoundFile(path, "w", SAMPLE_RATE, 1, format="FLAC") as file:
        for wave in cycle(spoken):
            file.write(wave)
            written += wave.size
            if written >= 60 * minutes * SAMPLE_RATE:
                return written / SAMPLE_RATE
    return written / SAMPLE_RATE


def run(recording: Path, model: Path, folder: Path) -> measure.Cost:
    """CPU-seconds and peak memory of the command, from start to end."""
    command = measure.hive_mtl("diarize", recording, "-o", folder / "turns.rttm")
    command += ["--model", str(model), "--threads", "1"]
    log = folder / "output.log"
    cpu_s = peak_mb = 0.0
    with measure.running(command, log) as process:
        while process.poll() is None:
            now = measure.cost(process.pid)
            cpu_s, peak_mb = max(cpu_s, now.cpu_s), max(peak_mb, now.rss_mb)
            time.sleep(SAMPLE_EVERY_S)
        if process.returncode:
            raise measure.failure(process, log)
    return measure.Cost(cpu_s, peak_mb)


def main() -> None:
    parser = measure.arguments(__doc__.splitlines()[0])
    measure.add_model(parser)
    parser.add_argument("--hours", type=float, default=3.0, help="of the long recording")
    options = parser.parse_args()
    measure.need(options.speech, "real speech", "--speech FOLDER")
    measure.need(options.model, "model", "--model FILE")
    with (
        measure.report(
            f"diarize: the command with one thread on {SHORT_MIN:g} minutes, {ROUNDS} rounds, and "
            f"on {options.hours:g} hours, one run; memory sampled every "
            f"{1000 * SAMPLE_EVERY_S:.0f} ms"
        ),
        tempfile.TemporaryDirectory() as name,
    ):
        folder = Path(name)
        for minutes, rounds in ((SHORT_MIN, ROUNDS), (60 * options.hours, 1)):
            recording = folder / "talk.flac"
            seconds = write_talk(options.speech, recording, minutes)
            costs = [run(recording, options.model, folder) for _ in range(rounds)]
            rates = [cost.cpu_s / seconds for cost in costs]
            measure.show(f"{minutes:g} minutes", rates, "CPU-s a second", at_most=BAR)
            peaks = [cost.rss_mb for cost in costs]
            measure.show(f"{minutes:g} minutes, peak", peaks, "MB", at_most=BAR_MB)


if __name__ == "__main__":
    main()
