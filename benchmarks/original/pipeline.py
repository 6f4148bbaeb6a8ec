"""The original's steps re-created in its own environment, so that they can be measured.

Runs in ``.venv-original`` alone and imports nothing of Hive-MTL. Each step prints one line of JSON,
training one for every batch. CPU seconds are those of the process without its imports. What broke
the original is mended; of what made it slow one thing is left out, as no figure is about it: it
read the table of genders anew for every crop.
"""

import argparse
import json
import random
import resource
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from features import SAMPLE_RATE, crop, filter_banks, loud_part
from network import BANDS, CROP_FRAMES, hive_mtl

BATCH = 96
TRAINING_SHARE = 0.8  # of the utterances of a speaker
FEATURES, INPUTS, WEIGHTS = "audio-fbanks", "keras-inputs", "checkpoints-mtl"
Floats = npt.NDArray[np.float32]


def build_mfcc(options: argparse.Namespace) -> None:
    """Recordings in LibriSpeech's layout -> one array a recording."""
    folder = options.working_dir / FEATURES
    folder.mkdir(parents=True, exist_ok=True)
    samples = 0
    paths = sorted(options.audio_dir.glob("**/*.flac"))
    for path in paths:
        wave = loud_part(path)
        np.save(folder / f"{speaker_of(path)}_{path.stem}.npy", filter_banks(wave))
        samples += len(wave)
    cached = sum(file.stat().st_size for file in folder.iterdir())
    tell(utterances=len(paths), trimmed_s=samples / SAMPLE_RATE, bytes=cached)


def build_model_inputs(options: argparse.Namespace) -> None:
    """Arrays of features -> one giant array of crops for training, one for testing."""
    counts = [int(count) for count in options.counts_per_speaker.split(",")]
    rng = np.random.default_rng(0)
    genders = read_genders(options.genders)
    folder = options.working_dir / INPUTS
    folder.mkdir(parents=True, exist_ok=True)
    by_speaker = utterances_of_speakers(options.working_dir / FEATURES)
    for part, count in zip(("train", "test"), counts, strict=True):
        total = len(by_speaker) * count
        crops = np.zeros((total, CROP_FRAMES, BANDS, 1), dtype=np.float32)
        speakers, sexes = (np.zeros((total, 1), dtype=np.float32) for _ in range(2))
        at = 0
        for number, (speaker, files) in enumerate(by_speaker.items()):
            border = max(int(len(files) * TRAINING_SHARE), 1)
            chosen = files[:border] if part == "train" else files[border:] or files
            for file in rng.choice(np.array(chosen, dtype=object), size=count):
                crops[at] = crop(np.load(file), CROP_FRAMES, rng)
                speakers[at], sexes[at] = number, genders.get(speaker, 0.0)
                at += 1
        for name, array in (("x", crops), ("speaker", speakers), ("gender", sexes)):
            np.save(folder / f"{name}_{part}.npy", array)
    cached = sum(file.stat().st_size for file in folder.iterdir())
    tell(speakers=len(by_speaker), crops=len(by_speaker) * sum(counts), bytes=cached)


def train_mtl(options: argparse.Namespace) -> None:
    """``fit`` on the giant arrays, for ``--steps`` batches."""
    arrays = {
        (name, part): np.load(options.working_dir / INPUTS / f"{name}_{part}.npy")
        for part in ("train", "test")
        for name in ("x", "speaker", "gender")
    }

    def whole_batches(part: str) -> tuple[Floats, list[Floats]]:
        x, *targets = (arrays[name, part] for name in ("x", "speaker", "gender"))
        size = len(x) - len(x) % BATCH
        return x[:size], [target[:size] for target in targets]

    model = hive_mtl(keras, speakers=int(arrays["speaker", "train"].max()) + 1)
    model.compile(
        optimizer="adam",
        loss=["sparse_categorical_crossentropy", "binary_crossentropy"],
        metrics=[["accuracy"], ["binary_accuracy"]],
    )
    watched = {"monitor": "val_speaker_pred_accuracy", "mode": "max"}
    folder = options.working_dir / WEIGHTS
    folder.mkdir(exist_ok=True)
    x, targets = whole_batches("train")
    model.fit(
        x,
        targets,
        batch_size=BATCH,
        epochs=1000,
        verbose=0,
        validation_data=whole_batches("test"),
        callbacks=[
            Steps(options.steps),
            keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=10, min_lr=1e-4, **watched),
            keras.callbacks.EarlyStopping(min_delta=0.001, patience=20, **watched),
        ],
    )
    model.save_weights(folder / "last.weights.h5")


class Steps(keras.callbacks.Callback):
    """A line for each batch; the end of the training after ``steps`` of them."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps, self.done = steps, 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.done += 1
        tell(step=self.done, crops=BATCH)
        if self.done == self.steps:
            self.model.stop_training = True


def test(options: argparse.Namespace) -> None:
    """Closed-set identification: the first utterance of a speaker is enrolled, one crop a side.

    Enrolments are embedded anew for each trial, as the original did.
    """
    random_crops = np.random.default_rng(123)
    paths = sorted(options.audio_dir.glob("**/*.flac"))
    enrolled: dict[str, Path] = {}
    for path in paths:
        enrolled.setdefault(speaker_of(path), path)
    tests = [path for path in paths if path not in enrolled.values()]
    trained = hive_mtl(keras, speakers=options.speakers)
    trained.load_weights(options.working_dir / WEIGHTS / "last.weights.h5")
    model = keras.Model(trained.input, trained.get_layer("shared").output)

    def embedding(path: Path) -> Floats:
        features = crop(filter_banks(loud_part(path)), CROP_FRAMES, random_crops)
        vector = model.predict(features[np.newaxis], verbose=0)[0]
        return vector / np.linalg.norm(vector)

    hits = 0
    for path in tests:
        probe = embedding(path)
        scores = {speaker: probe @ embedding(first) for speaker, first in enrolled.items()}
        hits += max(scores, key=scores.__getitem__) == speaker_of(path)
    tell(tests=len(tests), speakers=len(enrolled), top_1=hits / max(len(tests), 1))


def speaker_of(recording: Path) -> str:
    """SPEAKER/CHAPTER/UTTERANCE.flac -> SPEAKER."""
    return recording.parents[1].name


def utterances_of_speakers(folder: Path) -> dict[str, list[Path]]:
    """By speaker, the feature files in a shuffled order that is always the same."""
    by_speaker: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*.npy")):
        by_speaker.setdefault(file.name.partition("_")[0], []).append(file)
    shuffler = random.Random(0)
    for files in by_speaker.values():
        shuffler.shuffle(files)
    return by_speaker


def read_genders(path: Path) -> dict[str, float]:
    """By speaker, 1 for F and 0 for M, from LibriSpeech's SPEAKERS.TXT; 0 where it does not say."""
    rows = [line.split("|") for line in path.read_text().splitlines() if not line.startswith(";")]
    return {row[0].strip(): float(row[1].strip() == "F") for row in rows}


def tell(**figures: float) -> None:
    """One line of JSON, with what the process has cost so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    figures["cpu_s"] = time.process_time() - _IMPORTS_S
    figures["peak_rss_mb"] = usage.ru_maxrss / 1024
    print(json.dumps(figures), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(required=True)
    for step in (build_mfcc, build_model_inputs, train_mtl, test):
        command = steps.add_parser(step.__name__, help=step.__doc__.splitlines()[0])
        command.add_argument("--working-dir", type=Path, required=True)
        command.set_defaults(step=step)
        if step in (build_mfcc, test):
            command.add_argument("--audio-dir", type=Path, required=True)
        if step is build_model_inputs:
            command.add_argument("--counts-per-speaker", default="600,100")
            command.add_argument("--genders", type=Path, required=True, help="SPEAKERS.TXT")
        if step is train_mtl:
            command.add_argument("--steps", type=int, required=True)
        if step is test:
            command.add_argument("--speakers", type=int, required=True, help="trained with")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    options.step(options)


_IMPORTS_S = time.process_time()

if __name__ == "__main__":
    main()
