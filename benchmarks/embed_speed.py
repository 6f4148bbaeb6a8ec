"""How many recordings of three seconds a CPU-second turns into embeddings, from file to vector."""

import os
import tempfile
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import measure

import hive_mtl

CLIPS, ROUNDS = 200, 5
BAR = 60.0  # from FLAC, per CPU-second


@dataclass(frozen=True)
class Round:
    per_cpu_s: float
    per_s: float


def embed(model: hive_mtl.Model, clips: list[Path], cores: set[int]) -> Round:
    """Embeds all clips once; every thread that embed_many starts stays on ``cores``."""
    everything = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    cpu_s, clock_s = time.process_time(), time.perf_counter()
    results = model.embed_many(clips)
    cpu_s, clock_s = time.process_time() - cpu_s, time.perf_counter() - clock_s
    os.sched_setaffinity(0, everything)
    for result in results:
        if isinstance(result, hive_mtl.EmbeddingError):
            raise result
    return Round(len(clips) / cpu_s, len(clips) / clock_s)


def main() -> None:
    parser = measure.arguments(__doc__)
    measure.add_model(parser)
    options = parser.parse_args()
    measure.need(options.speech, "real speech", "--speech FOLDER")
    measure.need(options.model, "model", "--model FILE")
    cores = os.sched_getaffinity(0)
    settings = {"one core": {min(cores)}, f"all {len(cores)} cores": cores}
    models = {name: hive_mtl.load(options.model, threads=len(on)) for name, on in settings.items()}
    with (
        measure.report(
            f"embed_speed: {CLIPS} clips of {measure.CLIP_S:g} s through embed_many, "
            f"1 warm-up and {ROUNDS} counted rounds in turn"
        ),
        tempfile.TemporaryDirectory() as folder,
    ):
        clips = measure.write_clips(options.speech, Path(folder), CLIPS)
        rounds: dict[tuple[str, str], list[Round]] = {}
        for number in range(1 + ROUNDS):
            for name, form in product(settings, clips):
                done = embed(models[name], clips[form], settings[name])
                if number:
                    rounds.setdefault((name, form), []).append(done)
        for (name, form), counted in rounds.items():
            rates = [each.per_cpu_s for each in counted]
            bar = BAR if form == "flac" else None
            measure.show(f"{form}, {name}", rates, "clips per CPU-second", at_least=bar)
            measure.show(f"{form}, {name}", [each.per_s for each in counted], "clips per second")


if __name__ == "__main__":
    main()
