"""The commands of those who use a model. Nothing here needs torch."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from hive_mtl.errors import ConfigError, DataError, EmbeddingError
from hive_mtl.faces.cli.answers import OUT, Json, complain, print_json, tell
from hive_mtl.faces.cli.options import (
    SHIPPED,
    USUAL,
    Compared,
    ModelOptions,
    Recording,
    in_folders,
)

if TYPE_CHECKING:
    from hive_mtl.description import HeadDescription
    from hive_mtl.use.attributes import Answer
    from hive_mtl.use.calibrate import Recalibration
    from hive_mtl.use.embedding import Embedding
    from hive_mtl.use.model import Model


def embed(
    *sources: Recording,
    out: Annotated[Path, OUT],
    list_file: Annotated[Path | None, Parameter("--list")] = None,
    max_failures: Annotated[int | None, Parameter(validator=Number(gte=0))] = None,
    bits: Literal[256, 512, 1024] | None = None,
    options: ModelOptions = SHIPPED,
    as_json: Json = False,
) -> int:
    """Write the embeddings of recordings to a file.

    A recording that fails is skipped and named at the end; the exit status is then 2. One with too
    little speech to compare voices by, or too much noise, is embedded and counted.

    Args:
        sources: Recordings, and folders with recordings at any depth.
        out: The file to write, .npz or .parquet. A key is a path as given, its value a unit vector.
        list_file: Take the recordings of this file as well: one path a line.
        max_failures: Stop when more recordings than this have failed; keep what is done by then.
        bits: Write so many bits of each vector, packed in bytes, in its place. Of two recordings,
            the share of bits that differ tells the angle: cosine = cos(pi x share). A model whose
            vectors lead with what tells voices apart makes bits of those numbers.
    """
    from hive_mtl.use.embedding import lacks_speech
    from hive_mtl.use.vectors_file import write_vectors

    poor = 0

    def noted(found: Iterator[tuple[str, "Embedding"]]) -> Iterator[tuple[str, "Embedding"]]:
        nonlocal poor
        for path, embedding in found:
            poor += bool(lacks_speech(embedding.speech_seconds, embedding.snr_db))
            yield path, embedding

    paths = list(dict.fromkeys(_paths(sources, list_file)))
    model = options.load()
    model_id = model.description.model_id
    failed = {path: "its name is not UTF-8: rename it" for path in paths if not _is_text(path)}
    named = [path for path in paths if path not in failed]
    try:
        embedded = _embeddings(model, named, failed, max_failures)
        written = write_vectors(out, model.description, noted(embedded), bits=bits)
    finally:
        for path, reason in failed.items():
            complain(f"{path}: {reason}")
    if untried := len(paths) - written - len(failed):
        complain(f"stopped after {len(failed)} failures: {untried} recordings were not tried")
    if as_json:
        counts = {"embeddings": written, "too_little_speech": poor}
        print_json({"out": str(out), "model_id": model_id, **counts, "failed": failed})
    else:
        print(f"{written} of {len(paths)} recordings embedded in {out} (model {model_id})")
        if poor:
            tell(f"{poor} of them hold too little speech, or too much noise, to compare voices by")
    return 2 if failed else 0


def verify(
    a: Recording,
    b: Recording,
    /,
    *,
    compared: Compared = USUAL,
    options: ModelOptions = SHIPPED,
    as_json: Json = False,
) -> int:
    """Say whether two recordings are of one voice. Not for authentication: no anti-spoofing.

    The exit status is 0 if it is accepted as the same voice, 1 if not, 2 if there is no answer.

    Args:
        a: A recording.
        b: Another one.
    """
    model = options.load()
    verdict = model.verify([a, *compared.more_a], [b, *compared.more_b], **compared.settings())
    if as_json:
        print_json({"model_id": model.description.model_id, **asdict(verdict)})
    else:
        likelier = "not surely the same voice" if verdict.probability > 0.5 else "different voices"
        answer = "same voice" if verdict.same else likelier
        print(
            f"{answer} (probability of the same {verdict.probability:.3f}; "
            f"score {verdict.score:.3f}, threshold {verdict.threshold:.3f})"
        )
    return 0 if verdict.same else 1


def attributes(
    recording: Recording, /, *, options: ModelOptions = SHIPPED, as_json: Json = False
) -> int:
    """Estimate gender, age and whatever else the model answers, or say why it does not.

    Args:
        recording: Of one voice.
    """
    model = options.load()
    answers = model.attributes(recording)
    heads = model.description.heads
    if as_json:
        found = {
            head.task: {"value": None, "withheld": head.withheld}
            if head.withheld
            else asdict(answers[head.task])
            for head in heads
        }
        print_json({"model_id": model.description.model_id, **found})
        return 0
    width = max((len(head.task) for head in heads), default=0)
    for head in heads:
        withheld = f"withheld: {head.withheld}"
        answer = withheld if head.withheld else _in_words(answers[head.task], head)
        print(f"{head.task:{width}}  {answer}")
    return 0


def calibrate(
    pairs: Path,
    /,
    *,
    out: Annotated[Path | None, OUT] = None,
    options: ModelOptions = SHIPPED,
    as_json: Json = False,
) -> int:
    """Fit probabilities and thresholds to recordings of your own.

    What is gained is told against the calibration that the model came with, or that of
    --calibration: one that is kept for the model may have been fitted to the same pairs. A
    recording that fails is left out with its pairs and named; the exit status is then 2.

    Args:
        pairs: A list: a line is '1 a.wav b.wav' for one voice, '0 a.wav b.wav' for two, or Kaldi's
            'a.wav b.wav target|nontarget'. Paths are from the list's folder or the working folder.
        out: The file to write, for --calibration; default: the place from which the model is
            loaded with it from now on.
    """
    from hive_mtl.atomic import check_no_folder
    from hive_mtl.audio import check_no_recording
    from hive_mtl.trials import read_pairs
    from hive_mtl.use import stored_calibration
    from hive_mtl.use.calibrate import calibrate

    if out is not None:  # before the work
        check_no_folder(out)
        check_no_recording(out)
    listed = read_pairs(pairs)
    model = options.load_to_calibrate()
    found = calibrate(model, listed, pairs.parent)
    model_id = model.description.model_id
    out = out or stored_calibration.place_of(model.file, model_id)
    stored_calibration.write(out, model_id, found.calibration, found.targets, found.nontargets)
    for name, reason in found.failed.items():
        complain(f"{name}: {reason}")
    if as_json:
        fitted = found.calibration.model_dump()
        print_json({"out": str(out), "model_id": model_id, **asdict(found), "calibration": fitted})
    else:
        _print_recalibration(found, options.calibration or "the model's own calibration")
        print(f"stored in {out} (model {model_id})")
    if found.is_worse:
        other = options.calibration or "the model's own"
        costs = f"Cllr {found.cllr_before:.3f} and {found.cllr_after:.3f}"
        tell(
            f"{other} reads these pairs better than the new one reads those that it has not met "
            f"({costs}): give more pairs, or delete {out} to go back"
        )
    return 2 if found.failed else 0


def bench(*, options: ModelOptions = SHIPPED, as_json: Json = False) -> int:
    """Measure how fast this machine embeds three-second recordings, from file to vector."""
    from hive_mtl.faces.cli.bench import measure

    model = options.load()
    speeds = measure(model)
    if as_json:
        answer = {speed.format: asdict(speed) for speed in speeds}
        print_json({"model_id": model.description.model_id, **answer})
        return 0
    for speed in speeds:
        print(
            f"{speed.format}: {speed.per_cpu_second:.0f} recordings of {speed.duration_s:g} s per "
            f"CPU-second, {speed.per_second:.0f} per second"
        )
    return 0


def _paths(sources: Iterable[str], list_file: Path | None) -> Iterator[str]:
    """The recordings asked for; those of a folder begin with the folder as it was given."""
    given = [*sources, *(_listed(list_file) if list_file else ())]
    if not given:
        raise ConfigError("nothing to embed: give recordings, folders or --list FILE")
    return in_folders(given)


def _listed(list_file: Path) -> list[str]:
    try:
        text = list_file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise _no_list(list_file, reason) from error
    if "\0" in text:
        raise _no_list(list_file, "it is not text")
    # not splitlines, which takes more characters for ends of lines, and names may hold them
    return [line for line in text.split("\n") if line.strip()]


def _no_list(list_file: Path, reason: str | None) -> DataError:
    return DataError(f"{list_file}: cannot be read ({reason}): give a file with one path a line")


def _is_text(path: str) -> bool:
    """Whether a file of embeddings can have ``path`` as a key."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _embeddings(
    model: "Model", paths: list[str], failed: dict[str, str], max_failures: int | None
) -> Iterator[tuple[str, "Embedding"]]:
    """Gives what could be embedded and notes in ``failed`` what could not, and why."""
    from hive_mtl.use.progress import with_progress

    def too_many() -> bool:
        return max_failures is not None and len(failed) > max_failures

    succeeded = False
    tried = [] if too_many() else paths
    results = with_progress(model.embed_stream(tried), len(tried))
    for path, result in zip(tried, results, strict=False):
        if not isinstance(result, EmbeddingError):
            succeeded = True
            yield path, result
            continue
        failed[path] = result.reason
        if too_many():
            break
    if not succeeded:
        raise DataError(f"none of {len(failed)} recordings could be embedded: nothing was written")


def _print_recalibration(found: "Recalibration", other: Path | str) -> None:
    before = "" if found.cllr_before is None else f"{found.cllr_before:.3f} by {other}, "
    how = "by fits that had not met the voices" if found.cross_validated else "on the same pairs"
    print(
        f"{found.targets} pairs of one voice and {found.nontargets} of two, "
        f"{found.recordings} recordings"
    )
    print(f"EER {found.eer:.1%}; Cllr {before}{found.cllr_after:.3f} by this one ({how})")
    for rate, llr in found.calibration.thresholds.items():
        how = "estimated" if rate in found.estimated else "counted"
        print(f"{float(rate):.1%} false alarms at a log-likelihood ratio of {llr:.2f} ({how})")


def _in_words(answer: "Answer", head: "HeadDescription") -> str:
    if answer.interval is None:
        return f"{answer.value} ({answer.probability:.0%})"
    low, high = answer.interval
    unit = f" {head.unit}" if head.unit else ""
    return f"{answer.value:g}{unit} ({low:g} to {high:g}: {answer.probability:.0%})"
