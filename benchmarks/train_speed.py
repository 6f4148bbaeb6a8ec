"""How much speech a CPU-second of training takes in, the making of batches included.

`hive-mtl train unified` runs as a user starts it and is watched from outside: its log gains a line
every 50 steps. What lies before the first line (preparation, start-up) does not count.
"""

import json
import os
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import measure

BAR = 120.0  # speech-seconds per CPU-second
STRETCHES = 4  # between lines of the log
TRUNK_STEPS = 10  # of the trunk alone, in each stretch
AUGMENTATIONS = (
    *("reverberation", "noise", "coloured_noise", "equaliser", "telephone", "codec"),
    *("frequency_masks", "time_masks"),
)
UNAUGMENTED = [f"augment.{name}=0" for name in AUGMENTATIONS] + ["tasks.speaker.speeds=[1.0]"]


def loop_rates(data: Path, cache: Path, folder: Path, settings: list[str]) -> list[float]:
    """Speech-seconds per CPU-second in every stretch of a run; padding of crops does not count."""
    log = folder / "log.jsonl"
    overrides = [word for each in [f"data.cache={cache}", *settings] for word in ("--set", each)]
    command = measure.hive_mtl("train", "unified", "--data", data, "--out", folder, *overrides)
    marks: list[tuple[float, float, float]] = []
    with measure.running(command, folder.with_suffix(".log")) as process:
        while len(marks) <= STRETCHES:
            time.sleep(0.02)
            if process.poll() is not None:
                raise measure.failure(process, folder.with_suffix(".log"))
            lines = log.read_text().splitlines(keepends=True) if log.exists() else []
            whole = [json.loads(line) for line in lines if line.endswith("\n")]
            if len(whole) > len(marks):
                cpu_s = measure.cost(process.pid).cpu_s
                marks.append((time.monotonic(), cpu_s, whole[-1]["speech_s_per_s"]))
    return [
        rate * (clock - clock_before) / (cpu - cpu_before)
        for (clock_before, cpu_before, _), (clock, cpu, rate) in pairwise(marks)
    ]


def trunk_rates() -> list[float]:
    """The same for forward, backward and update of the trunk on features that lie in memory."""
    import torch

    from hive_mtl.learn import backbones
    from hive_mtl.learn.config import load_recipe

    recipe = load_recipe("unified")
    trunk = backbones.make(recipe.trunk, recipe.mels).train()
    optimiser = torch.optim.AdamW(trunk.parameters())
    crop_s = recipe.batches.crop_s[0]
    frames = round(crop_s * 100) - 2  # of 25 ms, every 10 ms
    features = torch.randn(recipe.batches.size, recipe.mels, frames)
    counts = torch.full((recipe.batches.size,), frames)
    bf16 = torch.cpu._is_avx512_bf16_supported()  # as the trainer chooses
    rates = []
    for _ in range(1 + STRETCHES):
        start = measure.cost(os.getpid()).cpu_s
        for _ in range(TRUNK_STEPS):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                embeddings = trunk(features, counts)
            embeddings.float().var(dim=0).mean().backward()
            optimiser.step()
            optimiser.zero_grad()
        speech_s = TRUNK_STEPS * recipe.batches.size * crop_s
        rates.append(speech_s / (measure.cost(os.getpid()).cpu_s - start))
    print(f"trunk: {torch.get_num_threads()} threads, {'bf16' if bf16 else 'float32'}")
    return rates[1:]  # the first warms up


def main() -> None:
    parser = measure.arguments(__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, help="keep prepared speech here; else it is dropped")
    options = parser.parse_args()
    measure.need(options.speech, "real speech", "--speech FOLDER")
    surroundings = [
        f"augment.noises={options.speech.resolve() / 'noise'}",
        f"augment.rooms={options.speech.resolve() / 'rir'}",
    ]
    with (
        measure.report(
            f"train_speed: recipe unified, 50 steps to warm up, {STRETCHES} stretches of 50 counted"
        ),
        tempfile.TemporaryDirectory() as folder,
    ):
        data, cache = Path(folder) / "train.csv", options.cache or Path(folder) / "cache"
        measure.write_table(measure.training_rows(options.speech), data)
        unit = "speech-s per CPU-s"
        rates = loop_rates(data, cache, Path(folder) / "augmented", surroundings)
        measure.show("training loop", rates, unit, at_least=BAR)
        rates = loop_rates(data, cache, Path(folder) / "plain", UNAUGMENTED)
        measure.show("training loop without augmentation", rates, unit)
        measure.show("trunk alone, no batches, no augmentation", trunk_rates(), unit)


if __name__ == "__main__":
    main()
