"""The commands that know voices: enroll, identify, and the group ``voices``."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number

from hive_mtl.errors import ConfigError
from hive_mtl.faces.cli.answers import OUT, Json, print_json, tell
from hive_mtl.faces.cli.options import SHIPPED, ModelOptions, Place, Recording, open_voices

if TYPE_CHECKING:
    from hive_mtl.use.identify import Identity
    from hive_mtl.use.stores import StoredVoice


@Parameter(name="*")
@dataclass(frozen=True)
class Enrolled:
    """What is kept with a voice, and whether it is a new one.

    Attributes:
        note: What is to be kept with the voice, such as what was consented to.
        label: KEY=VALUE, kept with the voice; may be given several times.
        add: Add the recordings to a voice that is enrolled.
        same_voice: They are of one voice though they do not sound so.
    """

    note: str = ""
    label: tuple[str, ...] = ()
    add: bool = False
    same_voice: bool = False

    def labels(self) -> dict[str, str]:
        """The labels by their names."""
        labels: dict[str, str] = {}
        for text in self.label:
            key, sign, value = text.partition("=")
            if not key.strip() or not sign:
                raise ConfigError(f"label {text!r}: give KEY=VALUE")
            if key in labels:
                raise ConfigError(f"label {key!r}: is given twice: give it one value")
            labels[key] = value
        return labels


NEW = Enrolled()


@Parameter(name="*")
@dataclass(frozen=True)
class Looked:
    """How a voice is looked for; what is not given is left to the library.

    Attributes:
        k: Candidates to list at most; default: 5.
        false_alarm: Share of recordings of others that may be taken for any of the
            voices; default: 0.01.
        prior: Probability that the voice is enrolled, beforehand; default: 0.5. It moves the
            probabilities, not the answer.
        more: A further recording of the same voice; may be given several times.
    """

    k: Annotated[int | None, Parameter(("-k", "--k"), validator=Number(gte=1))] = None
    false_alarm: float | None = None
    prior: float | None = None
    more: tuple[Recording, ...] = ()

    def settings(self) -> dict[str, Any]:
        """What is given of how to look."""
        given = {"k": self.k, "false_alarm": self.false_alarm, "prior": self.prior}
        return {name: value for name, value in given.items() if value is not None}


USUAL = Looked()


voices = App(name="voices")


def enroll(
    name: str,
    /,
    *recordings: Recording,
    enrolled: Enrolled = NEW,
    store: Place = None,
    options: ModelOptions = SHIPPED,
    as_json: Json = False,
) -> int:
    """Enrol a voice under a name, from one or more recordings of it.

    Nothing is kept unless all recordings can be: each holds a second of speech or more, and they
    sound like one voice.

    Args:
        name: Of the voice: a new one, unless --add is given.
        recordings: Of this voice alone.
    """
    labels = enrolled.labels()
    if not recordings:
        raise ConfigError(f"no recordings of {name!r}: give one or more")
    if enrolled.add and (enrolled.note or labels):
        raise ConfigError("--note and --label are of a new voice: leave them away with --add")
    with open_voices(store, options) as known:
        if enrolled.add:
            voice = known.add(name, recordings, same_voice=enrolled.same_voice)
        else:
            voice = known.enroll(
                name,
                recordings,
                note=enrolled.note,
                labels=labels,
                same_voice=enrolled.same_voice,
            )
        speech_s = sum(each.speech_seconds for each in voice.samples)
        if as_json:
            print_json(_described(voice))
        else:
            count = _counted(len(voice.samples), "recording")
            print(f"{voice.name}: {count}, {speech_s:.1f} s of speech, in {known.place}")
    return 0


def identify(
    recording: Recording,
    /,
    *,
    looked: Looked = USUAL,
    store: Place = None,
    options: ModelOptions = SHIPPED,
    as_json: Json = False,
) -> int:
    """Say whose voice it is, of those enrolled, if anybody's. Not for authentication.

    The exit status is 0 for a known voice, 1 for an unknown one, 2 where there is no answer.

    Args:
        recording: Of one voice.
    """
    with open_voices(store, options) as known:
        identity = known.identify([recording, *looked.more], **looked.settings())
        if as_json:
            print_json({"known": identity.known, **asdict(identity)})
        else:
            _print_identity(identity, known.place)
    return 0 if identity.known else 1


@voices.command(name="list", sort_key=0)
def list_voices(*, store: Place = None, as_json: Json = False) -> None:
    """List the enrolled voices by name."""
    with open_voices(store) as known:
        entries, place = known.list(), known.place
    if as_json:
        print_json([asdict(entry) for entry in entries])
        return
    if not entries:
        tell(f"nobody is enrolled in {place}")
    width = max((len(entry.name) for entry in entries), default=0)
    for entry in entries:
        count = _counted(entry.samples, "recording")
        print(f"{entry.name:{width}}  {count}, {entry.speech_seconds:.1f} s of speech")


@voices.command(sort_key=1)
def show(name: str, /, *, store: Place = None, as_json: Json = False) -> None:
    """Show what is kept of a voice."""
    with open_voices(store) as known:
        voice = known.get(name)
    if as_json:
        print_json(_described(voice))
        return
    print(f"{voice.name}, enrolled {voice.created}")
    if voice.note:
        print(f"note: {voice.note}")
    for key, value in voice.labels.items():
        print(f"label {key}: {value}")
    for sample in voice.samples:
        print(
            f"{sample.source}  {sample.speech_seconds:.1f} s of speech, "
            f"{sample.snr_db:.0f} dB over the noise, {sample.clipped:.1%} clipped"
        )


@voices.command(sort_key=2)
def rename(name: str, new: str, /, *, store: Place = None, as_json: Json = False) -> None:
    """Give a voice another name."""
    with open_voices(store) as known:
        known.rename(name, new)
    _done({"name": new}, f"{name} is now {new}", as_json)


@voices.command(sort_key=3)
def merge(name: str, other: str, /, *, store: Place = None, as_json: Json = False) -> None:
    """Make one voice of two: the first gets the recordings of the other, which is gone."""
    with open_voices(store) as known:
        known.merge(name, other)
    _done({"name": name}, f"{other} is now part of {name}", as_json)


@voices.command(sort_key=4)
def remove(name: str, /, *, store: Place = None, as_json: Json = False) -> None:
    """Remove a voice for good, with all that is kept of it."""
    with open_voices(store) as known:
        known.remove(name)
    _done({"removed": name}, f"{name} is removed", as_json)


@voices.command(sort_key=5)
def export(
    *,
    out: Annotated[Path, OUT],
    store: Place = None,
    as_json: Json = False,
) -> None:
    """Write all voices to a file, for voices import.

    Args:
        out: The file to write, JSON Lines.
    """
    with open_voices(store) as known:
        count = known.export(out)
    _done({"out": str(out), "voices": count}, f"{_counted(count, 'voice')} in {out}", as_json)


@voices.command(name="import", sort_key=6)
def import_voices(file: Path, /, *, store: Place = None, as_json: Json = False) -> None:
    """Enrol all voices of an exported file, or none.

    Args:
        file: As voices export wrote it.
    """
    with open_voices(store) as known:
        count = known.import_(file)
        place = known.place
    _done({"voices": count}, f"{_counted(count, 'voice')} imported into {place}", as_json)


@voices.command(name="re-embed", sort_key=7)
def re_embed(
    *, store: Place = None, options: ModelOptions = SHIPPED, as_json: Json = False
) -> None:
    """Make all vectors anew with another model, from the recordings that were enrolled."""
    with open_voices(store, options) as known:
        count = known.re_embed()
        model_id = known.model.description.model_id
    answer = {"voices": count, "model_id": model_id}
    _done(answer, f"{_counted(count, 'voice')} made anew (model {model_id})", as_json)


def _described(voice: "StoredVoice") -> dict[str, object]:
    """All but the vectors."""
    kept = ("speech_seconds", "snr_db", "clipped", "source", "start_s", "duration_s")
    return {
        "name": voice.name,
        "created": voice.created,
        "note": voice.note,
        "labels": dict(voice.labels),
        "samples": [{key: getattr(each, key) for key in kept} for each in voice.samples],
    }


def _print_identity(identity: "Identity", place: str) -> None:
    if not identity.enrolled:
        print(f"unknown (nobody is enrolled in {place})")
        return
    nobody = "unknown" if identity.unknown >= 0.5 else "not surely anybody"
    print(f"{identity.name or nobody} (probability of 'unknown' {identity.unknown:.3f})")
    width = max(len(each.name) for each in identity.candidates)
    for each in identity.candidates:
        print(
            f"  {each.name:{width}}  {each.probability:.3f}  "
            f"(score {each.score:.3f}, threshold {each.threshold:.3f})"
        )


def _done(answer: dict[str, object], in_words: str, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        print(in_words)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
