"""Hive-MTL beside Resemblyzer 0.1.4: the same recordings, the same code that judges, in one run.

The peer runs in ``.venv-peer``, which is made on first use; its weights are in its wheel.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import environments
import measure
from costs import COST_HEADER, compare_costs, cost_cells
from hearing import PEER, as_heard, degraded_for_peer, heard_by_peer, heard_by_us, kept
from paired import (
    REPLICATES,
    Figure,
    compare_identification,
    compare_open_set,
    compare_verification,
    figure_table,
    markdown,
)
from probes import ATTRIBUTE_HEADER, Voices, attribute_cells, compare_attributes

import hive_mtl
from hive_mtl.atomic import atomic_write
from hive_mtl.evaluate import take_split
from hive_mtl.evaluate.degrade import embed_degraded
from hive_mtl.evaluate.embedded import collect, embed_table, scoring_cohort
from hive_mtl.learn import corpora
from hive_mtl.learn.utterances import training_utterances

NAME = "Resemblyzer 0.1.4"
DEGRADED = ("2s", "noise 10 dB")  # see hive_mtl.evaluate.degrade
PARTS = ("voices", "open_set", "degraded", "attributes", "costs")
CACHE = environments.ROOT / "runs" / "peer"


@dataclass(frozen=True)
class Comparison:
    """One run: each part prints its table and gives what JSON keeps of it."""

    model: hive_mtl.Model
    model_file: Path
    speech: Path
    split: str
    cache: Path

    @cached_property
    def table(self) -> pa.Table:
        return corpora.read_all([str(self.speech / "manifest.csv")])

    @cached_property
    def judged(self) -> Voices:
        """The rows of the split as both hear them, with the answers of our heads."""
        table = take_split(self.table, self.split, str(self.speech))
        peer = as_heard(table, kept(self.cache, NAME, table, heard_by_peer))
        return Voices(embed_table(self.model, table), peer)

    @cached_property
    def training(self) -> Voices:
        """What probes learn from."""
        table, ours = training_utterances(self.table), self.model.description.model_id
        hear = partial(heard_by_us, self.model)
        vectors = kept(self.cache, ours, table, hear), kept(self.cache, NAME, table, heard_by_peer)
        return Voices(*(as_heard(table, each) for each in vectors))

    def voices(self) -> dict[str, list[dict[str, Any]]]:
        """Verification and identification, by our scores and by plain cosines."""
        return self._by_both_scores("Voices", compare_verification, compare_identification)

    def open_set(self) -> dict[str, list[dict[str, Any]]]:
        """Identification where half of the speakers are unknown, likewise."""
        return self._by_both_scores("Open set", compare_open_set)

    def _by_both_scores(
        self, title: str, *compare: Callable[..., list[Figure]]
    ) -> dict[str, list[dict[str, Any]]]:
        plain, found = replace(self.judged.ours, cohort=None), {}
        for name, ours in ((title, self.judged.ours), (f"{title}, plain cosines", plain)):
            figures = [each for one in compare for each in one([ours], [self.judged.peer])]
            found[name] = _shown(name, figures)
        return found

    def degraded(self) -> dict[str, list[dict[str, Any]]]:
        """The EER by degradation, each wave degraded alike for both."""
        table, found = self.judged.ours.table, {}
        dim, cohort = self.model.description.embedding_dim, scoring_cohort(self.model)
        for name in DEGRADED:
            print(f"{name}: embedding", file=sys.stderr)
            results = embed_degraded(self.model.embed_stream, table, name)
            ours = collect(table, results, dim, cohort)
            peer = as_heard(table, degraded_for_peer(table, name))
            eer = [each for each in compare_verification([ours], [peer]) if each.name == "EER"]
            found[name] = _shown(f"Voices, {name}", eer)
        return found

    def attributes(self) -> list[dict[str, Any]]:
        """Heads and linear probes."""
        found = compare_attributes(self.model, self.training, self.judged)
        _say("Attributes", markdown(ATTRIBUTE_HEADER, attribute_cells(found)))
        return [asdict(each) for each in found]

    def costs(self) -> list[dict[str, Any]]:
        """Speed and memory."""
        found = compare_costs(self.speech, self.model_file)
        _say("Costs", markdown(COST_HEADER, cost_cells(found)))
        return [{**asdict(each), "met": each.met} for each in found]


def _shown(title: str, figures: list[Figure]) -> list[dict[str, Any]]:
    _say(title, figure_table(figures))
    return [asdict(each) for each in figures]


def _say(title: str, table: str) -> None:
    print(f"\n### {title}\n\n{table}", flush=True)


def main() -> None:
    parser = measure.arguments(__doc__.splitlines()[0])
    measure.add_model(parser)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; by default all")
    parser.add_argument("--split", default="validation", help="whose rows are judged")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where vectors are kept")
    parser.add_argument("-o", "--out", type=Path, help="a JSON file of all figures")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(PARTS)}")
    measure.need(options.speech, "real speech", "--speech FOLDER")
    measure.need(options.model, "model", "--model FILE")
    PEER.ready()
    os.environ.update(environments.one_thread())
    model = hive_mtl.load(options.model, threads=1)
    comparison = Comparison(model, options.model, options.speech, options.split, options.cache)
    found = {"model": model.description.model_id, "peer": NAME, "split": options.split}
    title = f"{found['model']} beside {NAME}, split {options.split}, {REPLICATES} draws of speakers"
    with measure.report(title):
        for part in options.parts or PARTS:
            found[part] = getattr(comparison, part)()
    if options.out:
        with atomic_write(options.out) as path:
            path.write_text(json.dumps(found, indent=1, allow_nan=False), encoding="utf-8")


if __name__ == "__main__":
    main()
