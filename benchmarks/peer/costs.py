"""What both cost: a CPU-second's utterances, memory, and two files compared from a cold start."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import measure
from cold_start import Call, call
from environments import one_thread
from hearing import PEER, WORKER

CLIPS, ROUNDS, COLD_ROUNDS = 50, 7, 5
COST_HEADER = ("cost, one thread", "ours", "peer", "ours better by", "bar")
COMPARE = (  # as the peer's documentation shows it
    "import sys; from resemblyzer import VoiceEncoder, preprocess_wav\n"
    "encoder = VoiceEncoder(verbose=False)\n"
    "a, b = (encoder.embed_utterance(preprocess_wav(path)) for path in sys.argv[1:])\n"
    "print(a @ b)"
)


@dataclass(frozen=True)
class Cost:
    """Medians of both, and by how much ours is better.

    Attributes:
        name: what was measured.
        unit: of both figures.
        ours: of Hive-MTL.
        peer: of the peer.
        better: how many times faster or smaller.
        bar: that this has to reach.
    """

    name: str
    unit: str
    ours: float
    peer: float
    better: float
    bar: float

    @property
    def met(self) -> bool:
        return self.better >= self.bar


def compare_costs(speech: Path, model: Path) -> list[Cost]:
    """Both on the same clips of 3 s as FLAC, in turn, one thread each."""
    with tempfile.TemporaryDirectory() as folder:
        clips = measure.write_clips(speech, Path(folder), CLIPS)["flac"]
        return [*_embedding(clips, model), *_cold(clips[0], clips[-1], model)]


def _embedding(clips: Sequence[Path], model: Path) -> list[Cost]:
    """From files to vectors in processes that have their model loaded."""
    line = json.dumps([str(path) for path in clips]) + "\n"
    rounds: dict[str, list[dict[str, float]]] = {"ours": [], "peer": []}
    with (
        _worker([sys.executable, str(WORKER), "rounds", "ours", str(model)]) as ours,
        _worker([str(PEER.ready()), str(WORKER), "rounds", "peer"]) as peer,
    ):
        for _ in range(1 + ROUNDS):
            for name, worker in (("ours", ours), ("peer", peer)):
                worker.stdin.write(line)
                worker.stdin.flush()
                answer = worker.stdout.readline()
                if not answer:
                    raise SystemExit(f"{name}: the worker ended with status {worker.wait()}")
                rounds[name].append(json.loads(answer))
    # The memory is that of the first round: a process that loads its model and embeds the clips.
    memory = {name: each[0]["peak_mb"] for name, each in rounds.items()}
    rate = {
        name: CLIPS / statistics.median(each["cpu_s"] for each in of[1:])
        for name, of in rounds.items()
    }
    faster = rate["ours"] / rate["peer"]
    smaller = memory["peer"] / memory["ours"]
    per_s, mb = "utterances of 3 s per CPU-second", "MB at peak"
    return [
        Cost("embedding from FLAC", per_s, rate["ours"], rate["peer"], faster, 3.0),
        Cost("model loaded, 50 clips embedded", mb, memory["ours"], memory["peer"], smaller, 3.0),
    ]


def _cold(first: Path, second: Path, model: Path) -> list[Cost]:
    """Two files compared in a fresh process."""
    commands = {
        "ours": measure.hive_mtl("verify", first, second, "--model", model),
        "peer": [str(PEER.python), "-W", "ignore", "-c", COMPARE, str(first), str(second)],
    }
    calls: dict[str, list[Call]] = {"ours": [], "peer": []}
    for _ in range(1 + COLD_ROUNDS):  # the first fills the caches of bytecode and files
        for name, command in commands.items():
            calls[name].append(call(command))
    spent = {name: statistics.median(each.cpu_s for each in of[1:]) for name, of in calls.items()}
    faster = spent["peer"] / spent["ours"]
    return [Cost("cold verify", "CPU-seconds", spent["ours"], spent["peer"], faster, 4.0)]


def _worker(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=one_thread()
    )


def cost_cells(costs: Sequence[Cost]) -> list[list[object]]:
    """The cells of a table, one cost a line."""
    return [
        [
            f"{cost.name}, {cost.unit}",
            f"{cost.ours:.3g}",
            f"{cost.peer:.3g}",
            f"{cost.better:.2f}x",
            f"{cost.bar:g}x: {'met' if cost.met else 'MISSED'}",
        ]
        for cost in costs
    ]
