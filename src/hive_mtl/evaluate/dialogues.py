"""Dialogues composed of single utterances, whose truth is known: who speaks when.

A dialogue is of voices of one corpus, made equally loud and heard in one room through one noise, so
that the channel gives away as little as it can.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.signal

from hive_mtl.audio import SAMPLE_RATE, Segment, Wave, load, speech_frames, trim_silence
from hive_mtl.errors import AudioError, DataError
from hive_mtl.evaluate.degrade import mixed, pink_noise
from hive_mtl.evaluate.embedded import segments
from hive_mtl.learn.surroundings import simulate_room
from hive_mtl.use.diarize import Turn
from hive_mtl.use.segments import FRAME_S, runs

VOICES = (2, 3, 4, 5, 6)
UTTERANCE_S = 2.0  # shorter utterances are single words
VOICE_S = (10.0, 30.0)  # of a voice in a dialogue
PART_S = (1.0, 6.0)  # of what is said at a time; longer utterances are cut into equal parts
PAUSE_S = (0.1, 1.5)
OVERLAP_S = (0.2, 1.0)
OVERLAPS = 0.1  # of the changes of voice: the next begins before the last has ended
LOUDNESS_DB = 3.0  # a voice is as much louder or fainter than the mean, at most
SNR_DB = (10.0, 30.0)
TURN_PAUSE_S = 0.5  # of a voice: a shorter one does not end its turn
LEAD_S = 0.5  # before the first turn and after the last
_LEVEL = 0.05  # root mean square of speech


@dataclass(frozen=True, eq=False)
class Dialogue:
    """A recording that was composed, and its truth.

    Attributes:
        wave: ``(samples,)`` at 16 kHz.
        turns: who speaks when, by when they begin; of different voices they may overlap.
        corpus: that the voices are of.
    """

    wave: Wave
    turns: tuple[Turn, ...]
    corpus: str

    @property
    def voices(self) -> int:
        """How many speak."""
        return len({turn.speaker for turn in self.turns})


def compose_dialogues(table: pa.Table, count: int, seed: int = 0) -> Iterator[Dialogue]:
    """``count`` dialogues of two to six voices in turn: a function of the table and the seed.

    Args:
        table: as :func:`hive_mtl.learn.utterances.conform` makes it; rows of unknown speaker, or
            of less than :data:`UTTERANCE_S` or unknown length, take no part.
        count: how many.
        seed: of who speaks, when, where and through which noise.

    Raises:
        DataError: no corpus has two voices with enough speech. Where that shows only in the
            recordings, because they are mostly silence, a dialogue has fewer voices.
    """
    corpora = _voices_by_corpus(table)
    most = max(map(len, corpora.values()), default=0)
    if most < min(VOICES):
        raise DataError(
            f"dialogues: no corpus has {min(VOICES)} voices with {VOICE_S[0]:g} s each: give more"
        )
    possible = [voices for voices in VOICES if voices <= most]
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        yield _compose(corpora, possible[number % len(possible)], rng)


Utterances = dict[str, list[Segment]]  # by voice


def _voices_by_corpus(table: pa.Table) -> dict[str, Utterances]:
    """The voices with enough recordings, sorted, so that the order of the rows says nothing."""
    long_enough = pc.greater_equal(table["duration_s"], UTTERANCE_S).fill_null(False)
    rows = table.filter(pc.and_(pc.is_valid(table["speaker"]), long_enough)).sort_by(
        [(name, "ascending") for name in ("path", "start_s")]
    )
    corpora: dict[str, Utterances] = {}
    names = (rows["corpus"].to_pylist(), rows["speaker"].to_pylist())
    for corpus, speaker, segment in zip(*names, segments(rows), strict=True):
        corpora.setdefault(corpus, {}).setdefault(speaker, []).append(segment)
    enough = {
        corpus: {
            voice: spoken
            for voice, spoken in sorted(voices.items())
            if sum(segment.duration_s or 0.0 for segment in spoken) >= VOICE_S[0]
        }
        for corpus, voices in sorted(corpora.items())
    }
    return {corpus: voices for corpus, voices in enough.items() if len(voices) >= min(VOICES)}


def _compose(corpora: dict[str, Utterances], voices: int, rng: np.random.Generator) -> Dialogue:
    corpus, parts = _drawn_corpus(corpora, voices, rng)
    order = rng.permutation(len(parts))
    clean, turns = _placed([parts[number] for number in order], rng)
    heard = scipy.signal.fftconvolve(clean, simulate_room(rng))[: len(clean)].astype(np.float32)
    heard *= np.float32(np.std(clean) / np.std(heard))
    wave = mixed(heard, pink_noise(len(heard), rng), rng.uniform(*SNR_DB))
    return Dialogue(wave / max(1.0, float(np.abs(wave).max())), turns, corpus)


_Part = tuple[str, Wave]  # who says it, and what


def _drawn_corpus(
    corpora: dict[str, Utterances], most: int, rng: np.random.Generator
) -> tuple[str, list[_Part]]:
    """A random corpus, and what ``most`` of its voices say, or fewer where none has so many."""
    for voices in range(most, min(VOICES) - 1, -1):
        wide = [corpus for corpus, named in corpora.items() if len(named) >= voices]
        while wide:
            chances = np.sqrt([len(corpora[each]) for each in wide])  # few voices come less often
            corpus = wide.pop(int(rng.choice(len(wide), p=chances / chances.sum())))
            if parts := _drawn_parts(corpora[corpus], voices, rng):
                return corpus, parts
    raise DataError(
        f"dialogues: no corpus has {min(VOICES)} voices with {VOICE_S[0] / 2:g} s of speech each: "
        "give more"
    )


def _drawn_parts(voices: Utterances, count: int, rng: np.random.Generator) -> list[_Part]:
    """What ``count`` random voices say; nothing where fewer have enough speech."""
    names = list(voices)
    drawn: list[list[_Part]] = []
    for place in rng.permutation(len(names)):
        name = names[place]
        parts = _parts(voices[name], rng)
        if sum(map(len, parts)) >= VOICE_S[0] * SAMPLE_RATE / 2 and len(parts) > 1:
            drawn.append([(name, part) for part in parts])
        if len(drawn) == count:
            return [part for spoken in drawn for part in spoken]
    return []


def _parts(utterances: list[Segment], rng: np.random.Generator) -> list[Wave]:
    """What a voice says, at one loudness, up to the longest that it may say."""
    gain = 10 ** (rng.uniform(-LOUDNESS_DB, LOUDNESS_DB) / 20)
    shortest, longest = (round(seconds * SAMPLE_RATE) for seconds in PART_S)
    parts: list[Wave] = []
    for number in rng.permutation(len(utterances)):
        try:
            wave = trim_silence(load(utterances[number]))
        except AudioError:
            continue
        for part in np.array_split(wave, -(-len(wave) // longest)):
            speech = np.repeat(speech_frames(part), round(FRAME_S * SAMPLE_RATE))
            spoken = part[: len(speech)][speech]
            if len(spoken) >= shortest / 2 and len(part) >= shortest:
                level = float(np.sqrt(np.mean(np.square(spoken))))
                parts.append(part * np.float32(gain * _LEVEL / level))
        if sum(map(len, parts)) > VOICE_S[1] * SAMPLE_RATE:
            break
    return parts


def _placed(parts: list[_Part], rng: np.random.Generator) -> tuple[Wave, tuple[Turn, ...]]:
    """The parts one behind the other, some a little before the last has ended, and their truth."""
    starts: list[float] = []
    at, previous = LEAD_S, ""
    for name, wave in parts:
        overlaps = name != previous and starts and rng.random() < OVERLAPS
        pause = -rng.uniform(*OVERLAP_S) if overlaps else rng.uniform(*PAUSE_S)
        starts.append(max(at + pause, starts[-1] + OVERLAP_S[1]) if starts else at)
        at, previous = starts[-1] + len(wave) / SAMPLE_RATE, name
    clean = np.zeros(round((at + LEAD_S) * SAMPLE_RATE), np.float32)
    turns: dict[str, list[Turn]] = {}
    for (name, wave), start_s in zip(parts, starts, strict=True):
        first = round(start_s * SAMPLE_RATE)
        clean[first : first + len(wave)] += wave
        for start, end in runs(speech_frames(wave), TURN_PAUSE_S):
            turn = Turn(start_s + start * FRAME_S, start_s + end * FRAME_S, name)
            _append(turns.setdefault(name, []), turn)
    together = [turn for own in turns.values() for turn in own]
    return clean, tuple(sorted(together, key=lambda turn: (turn.start_s, turn.end_s)))


def _append(turns: list[Turn], turn: Turn) -> None:
    """``turn`` behind those of its voice, or as the end of the last where no pause is between."""
    if turns and turn.start_s - turns[-1].end_s < TURN_PAUSE_S:
        turn = Turn(turns.pop().start_s, turn.end_s, turn.speaker)
    turns.append(turn)
