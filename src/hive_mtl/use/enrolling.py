"""From recordings to the samples of a voice that a store keeps, if they are of one voice."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hive_mtl.audio import Segment, Source, describe_source
from hive_mtl.errors import AudioError, EmbeddingError, VoiceError
from hive_mtl.use.comparing import compare
from hive_mtl.use.embedding import Embedding, answerable
from hive_mtl.use.scoring import Voice
from hive_mtl.use.stores import Sample
from hive_mtl.use.verify import Recordings, place_of, recordings_of

if TYPE_CHECKING:
    from hive_mtl.use.model import Model

# Log-likelihood ratio below which a recording is refused. With three recordings a voice, this
# refuses 11% of one voice on Common Voice and 5% on speechocean762 (validation voices), and misses
# 2% and 13% of those with one recording of somebody else.
TWO_PEOPLE = -0.5
_NOBODY = re.compile(r"unknown( \d+)?", re.IGNORECASE)


def check_name(name: str, *, new: bool = False) -> str:
    """A name of a voice in Unicode's composed form, so that what looks alike is alike.

    Raises:
        VoiceError: it is empty, begins or ends with a space, or cannot be shown; or it is a
            ``new`` one that would be taken for an answer about somebody who is not enrolled.
    """
    if not name.strip():
        raise VoiceError("an empty name: give the voice a name")
    if not name.isprintable():
        raise VoiceError(f"name {name!a}: holds what cannot be shown: give another")
    if name != name.strip():
        raise VoiceError(f"name {name!r}: begins or ends with a space: leave it away")
    if new and _NOBODY.fullmatch(name):
        raise VoiceError(f"name {name!r}: is how those are called whom nobody knows: give another")
    return unicodedata.normalize("NFC", name)


def check_text(what: str, text: str) -> str:
    """A note or a label as it is, if every store can keep it.

    Raises:
        VoiceError: it holds a null character, or is no text.
    """
    if "\0" in text or any("\ud800" <= each <= "\udfff" for each in text):
        raise VoiceError(f"{what} {text!a}: is no text in UTF-8: give another")
    return text


def samples_of(model: "Model", recordings: Recordings) -> list[Sample]:
    """What is kept of each recording.

    Raises:
        AudioError: one cannot be read, has too little speech, or noise swallows it.
    """
    sources = recordings_of(recordings)
    return list(_samples(sources, model.embed_stream(sources)))


def samples_again(model: "Model", samples: Sequence[Sample]) -> list[Sample]:
    """What this model makes of the same recordings.

    Raises:
        VoiceError: recordings are no longer where they were, or tell nothing.
    """
    sources = [Segment(Path(each.source), each.start_s, each.duration_s) for each in samples]
    results = list(map(answerable, sources, model.embed_stream(sources)))
    failed = [each for each in results if isinstance(each, EmbeddingError)]
    if failed:
        raise VoiceError(
            f"{len(failed)} of {len(samples)} recordings cannot be embedded again (such as "
            f"{failed[0]}): bring them back, or remove their voices"
        )
    return list(_samples(sources, iter(results)))


def check_one_voice(model: "Model", new: Sequence[Sample], enrolled: Sequence[Sample]) -> None:
    """Lets pass what may be one voice.

    A recording is compared with every other, the enrolled ones of the voice included, and the
    middle (median) of the log-likelihood ratios counts: one bad recording among others does not
    speak against the good ones, and a second voice is found though it has several recordings, as
    long as they are not more than half.

    Raises:
        ModelError: the model is not calibrated.
        VoiceError: a new recording is rather another voice's than that of the others.
    """
    everyone = [Voice(each.vector, each.speech_seconds, each.snr_db) for each in (*new, *enrolled)]
    if len(everyone) == 1:
        return
    worst, score = TWO_PEOPLE, None
    for place in range(len(new)):
        others = everyone[:place] + everyone[place + 1 :]
        found = compare(model, [everyone[place]] * len(others), others)
        middle = float(np.median(found.llr))
        if middle < worst:
            worst, score, odd = middle, float(np.median(found.cosine)), place
    if score is not None:
        names = [each.source for each in (*new, *enrolled)]
        rest = (
            "the rest" if len(names) > 2 else names[1 - odd]
        )  # of two, either may be the wrong one
        raise VoiceError(
            f"{names[odd]}: sounds like another voice than {rest} (score {score:.3f}, "
            f"{np.exp(-worst):.1f} times likelier so): leave it out, or say that it is one voice "
            "with --same-voice"
        )


def _samples(
    sources: Sequence[Source], results: Iterator[Embedding | EmbeddingError]
) -> Iterator[Sample]:
    for source, result in zip(sources, map(answerable, sources, results), strict=True):
        if isinstance(result, EmbeddingError):
            raise AudioError(str(result))
        yield _sample(source, result)


def _sample(source: Source, embedding: Embedding) -> Sample:
    """What is kept of one recording."""
    where, start_s, duration_s = place_of(source) or (describe_source(source), 0.0, None)
    return Sample(
        vector=embedding.vector,
        speech_seconds=embedding.speech_seconds,
        snr_db=embedding.snr_db,
        clipped=embedding.clipped,
        source=check_text("source", where),
        start_s=start_s,
        duration_s=duration_s,
    )
