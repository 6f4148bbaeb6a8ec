"""Whether an imported Keras checkpoint computes here what it computes in Keras.

The original's networks get random weights and statistics in Keras and are saved in every layout of
HDF5. Each file is read as ``import_keras`` reads it; embedding and answers are compared on real
speech: crops of 1.6 s and whole recordings, from features and from waves. Status 1 where they
differ.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from environment import ORIGINAL

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import measure

BAR = 1e-4  # of any number of an embedding of unit norm, or of any probability
RECORDINGS = 6
SPEAKERS = 37  # as checkpoints.py has it

Floats = npt.NDArray[np.float32]


def outputs(model: Any, inputs: Floats) -> dict[str, Floats]:
    """Embedding and probabilities of one utterance: its wave or its features ``(frames, 64)``."""
    import torch

    batch = torch.from_numpy(np.ascontiguousarray(inputs.T))[None]
    with torch.inference_mode():
        found = model(batch, torch.tensor([len(inputs)]))
        answers = {task: head[0].softmax(-1).numpy() for task, head in found.heads.items()}
    if "gender" in answers:
        answers["gender"] = answers["gender"][:1]  # female, as the one output of the original
    return {"embedding": found.embedding[0].numpy(), **answers}


def differences(
    model: Any, speech: Mapping[str, Floats], expected: Mapping[str, Floats]
) -> dict[str, float]:
    """By output, the largest difference over all items."""
    largest: dict[str, float] = {}
    for item, inputs in speech.items():
        same = item.replace("wave_", "whole_")  # a wave has to give what its features give
        for output, values in outputs(model, inputs).items():
            difference = float(np.abs(values - expected[f"{output}/{same}"]).max())
            largest[output] = max(largest.get(output, 0.0), difference)
    compared = {key.partition("/")[0] for key in expected}
    if compared != largest.keys():
        raise SystemExit(f"imported: {sorted(largest)}, but Keras has {sorted(compared)}")
    return largest


def main() -> int:
    from hive_mtl.learn.interop.keras import read_keras

    options = measure.arguments(__doc__.splitlines()[0]).parse_args()
    measure.need(options.speech, "real speech", "--speech FOLDER")
    recordings = [row["path"] for row in measure.training_rows(options.speech)[:RECORDINGS]]
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        saved = ORIGINAL.output(Path(__file__).with_name("checkpoints.py"), folder, *recordings)
        speech = dict(np.load(out / "features.npz"))
        frames = sorted(len(speech[item]) for item in speech if item.startswith("whole_"))
        print(f"real speech: {RECORDINGS} crops and whole recordings of {frames} frames")
        for line in saved.splitlines():
            case = json.loads(line)
            speakers = 0 if case["network"] == "deep_speaker" else SPEAKERS
            names = [str(number) for number in range(speakers)] or None
            model = read_keras(Path(case["path"]), names).model()
            found = differences(model, speech, dict(np.load(out / f"{case['network']}.npz")))
            shown = "  ".join(f"{output} {value:.1e}" for output, value in found.items())
            clipped = f"{100 * case['clipped']:.0f}% clipped"
            print(f"{case['network']:20} {case['layout']:21} {clipped}  {shown}", flush=True)
            worst = max(worst, *found.values())
    print(f"largest difference {worst:.1e}, bar {BAR:g}: {'met' if worst <= BAR else 'MISSED'}")
    return 0 if worst <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
