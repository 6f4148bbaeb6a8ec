"""The trunk that ships beside ECAPA-TDNN C512: same data, batches, losses and steps, in one run.

Both are trained from scratch by Hive-MTL's own trainer and judged by the same code. ECAPA-TDNN is
SpeechBrain's network; it is kept in ``.venv-ecapa``, which is made on first use.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from environment import add_trunk

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import measure
import numpy as np
import torch
from paired import REPLICATES, compare_verification, figure_table

import hive_mtl
from hive_mtl.atomic import atomic_write
from hive_mtl.audio import SAMPLE_RATE
from hive_mtl.evaluate import take_split
from hive_mtl.evaluate.embedded import EmbeddedTable, embed_table
from hive_mtl.learn import backbones, corpora
from hive_mtl.learn.config import Recipe, load_recipe
from hive_mtl.learn.materials import gather
from hive_mtl.learn.trainer import train
from hive_mtl.use.network import Network

OURS, THEIRS = "separable_tdnn", "ecapa_tdnn"
ROUNDS = 3
BAR = 3.0  # how many times as fast as ECAPA-TDNN
BATCH = 4  # of 3 s, as the engine forms them


def recipes(options: argparse.Namespace, cache: Path) -> dict[str, list[Recipe]]:
    """By trunk, one recipe a seed; nothing else differs."""
    surroundings = [
        f"augment.noises={options.speech.resolve() / 'noise'}",
        f"augment.rooms={options.speech.resolve() / 'rir'}",
    ]
    common = [f"data.cache={cache}", f"trainer.steps={options.steps}", *surroundings, *options.set]
    arms = {OURS: [], THEIRS: ["trunk=ecapa_tdnn"]}
    return {
        trunk: [
            load_recipe(options.recipe, [*common, *own, f"trainer.seed={seed}"])
            for seed in range(options.seeds)
        ]
        for trunk, own in arms.items()
    }


def trained(arms: dict[str, list[Recipe]], data: str, out: Path) -> dict[str, list[Path]]:
    """Runs all recipes, trunks in turn; tells what the whole of each cost a step."""
    gather(arms[OURS][0], [data], [], lambda _: None)  # prepared for all, so it counts for none
    models: dict[str, list[Path]] = {OURS: [], THEIRS: []}
    spent: dict[str, list[float]] = {OURS: [], THEIRS: []}
    for seed, pair in enumerate(zip(*arms.values(), strict=True)):
        for trunk, recipe in zip(arms, pair, strict=True):
            before = measure.cost(os.getpid()).cpu_s
            run = train(recipe, [data], out / f"{trunk}-{seed}")
            per_step = (measure.cost(os.getpid()).cpu_s - before) / recipe.trainer.steps
            spent[trunk].append(per_step)
            models[trunk].append(run.folder / "model.onnx")
    for trunk, values in spent.items():
        measure.show(f"{trunk}: whole run, validation and all", values, "CPU-s per step")
    return models


def embedded(models: Sequence[Path], table: Any) -> list[EmbeddedTable]:
    return [embed_table(hive_mtl.load(path, threads=1), table) for path in models]


def training_step(recipe: Recipe) -> Callable[[], None]:
    """Forward, backward and update of the trunk alone, on features that lie in memory."""
    trunk = backbones.make(recipe.trunk, recipe.mels).train()
    optimiser = torch.optim.AdamW(trunk.parameters())
    frames = round(recipe.batches.crop_s[0] * 100) - 2  # of 25 ms, every 10 ms
    features = torch.randn(recipe.batches.size, recipe.mels, frames)
    counts = torch.full((recipe.batches.size,), frames)
    bf16 = torch.cpu._is_avx512_bf16_supported()  # as the trainer chooses

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            vectors = trunk(features, counts)
        vectors.float().var(dim=0).mean().backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def inference(model: Path) -> Callable[[], None]:
    """A batch of 3 s waves through ONNX Runtime, features included."""
    network = Network(model, "cpu")
    samples = round(measure.CLIP_S * SAMPLE_RATE)
    waves = np.random.default_rng(0).standard_normal((BATCH, samples), np.float32) / 10
    lengths = np.full(BATCH, samples)

    def run() -> None:
        network.run(waves, lengths)

    return run


def show_costs(what: str, steps: dict[str, Callable[[], None]], times: int) -> dict[str, float]:
    """CPU seconds of each, in turn, one thread each, and how many times as fast ours is."""
    spent: dict[str, list[float]] = {trunk: [] for trunk in steps}
    for number in range(1 + ROUNDS):
        for trunk, step in steps.items():
            before = measure.cost(os.getpid()).cpu_s
            for _ in range(times):
                step()
            if number:  # the first warms up
                spent[trunk].append((measure.cost(os.getpid()).cpu_s - before) / times)
    for trunk, values in spent.items():
        measure.show(f"{what}, {trunk}", values, "CPU-s")
    ratios = [theirs / ours for ours, theirs in zip(spent[OURS], spent[THEIRS], strict=True)]
    measure.show(f"{what}, times as fast", ratios, "", at_least=BAR)
    return {trunk: float(np.median(values)) for trunk, values in spent.items()}


def parsed() -> argparse.Namespace:
    parser = measure.arguments(__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, required=True, help="of each run")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each trunk")
    parser.add_argument("--recipe", default="unified", help="that both follow")
    parser.add_argument("--set", action="append", default=[], help="key=value, for both")
    parser.add_argument("--split", default="validation", help="whose rows are judged")
    parser.add_argument("--runs", type=Path, help="keep the runs and prepared speech here")
    parser.add_argument("-o", "--out", type=Path, help="a JSON file of all figures")
    return parser.parse_args()


def main() -> None:
    options = parsed()
    measure.need(options.speech, "real speech", "--speech FOLDER")
    add_trunk()
    title = f"ecapa: {options.recipe}, {options.steps} steps, {options.seeds} seeds, {OURS} beside"
    data = str(options.speech / "manifest.csv")
    table = take_split(corpora.read_all([data]), options.split, data)
    with measure.report(f"{title} {THEIRS}"), tempfile.TemporaryDirectory() as temporary:
        folder = options.runs or Path(temporary)
        arms = recipes(options, folder / "cache")
        models = trained(arms, data, folder)
        figures = compare_verification(*(embedded(of, table) for of in models.values()))
        print(f"\n{figure_table(figures)}", flush=True)
        torch.set_num_threads(1)
        steps = {trunk: training_step(of[0]) for trunk, of in arms.items()}
        batch = f"training, a batch of {arms[OURS][0].batches.size}"
        costs = {"training": show_costs(batch, steps, 1)}
        runs = {trunk: inference(of[0]) for trunk, of in models.items()}
        costs["inference"] = show_costs(f"inference, {BATCH} waves of 3 s", runs, 5)
    if options.out:
        found = {"split": options.split, "replicates": REPLICATES, "cpu_s": costs}
        found["voices"] = [asdict(each) for each in figures]
        with atomic_write(options.out) as path:
            path.write_text(json.dumps(found, indent=1, allow_nan=False), encoding="utf-8")


if __name__ == "__main__":
    main()
