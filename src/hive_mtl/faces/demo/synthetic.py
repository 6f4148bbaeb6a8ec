"""A small synthetic corpus in LibriSpeech layout, for the demonstration.

The voices are made up: every one is espeak-ng with its own pitch, formants, breath, tempo and
accent, heard through two made-up rooms and microphones (the two chapters of a speaker). They are
good for showing that every step of the pipeline works; figures measured on them say nothing about
people.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from hive_mtl.atomic import atomic_write
from hive_mtl.audio import SAMPLE_RATE, Wave
from hive_mtl.faces.demo import espeak

SEED = 1_618
FIRST_SPEAKER = 1_001  # of the 60 voices from here on, 6 fall to validation by their hash
CHAPTERS = 2
_SPEAKERS = "SPEAKERS.TXT"
_HEAD = "; Synthetic voices rendered by espeak-ng for a demonstration. No person speaks here."
LINES_PER_CHAPTER = 5

# English in espeak-ng's folder of languages.
ACCENTS = ("en-US", "en", "en-GB-scotland", "en-GB-x-rp", "en-GB-x-gbclan", "en-029", "en-US-nyc")


@dataclass(frozen=True)
class Speaker:
    """A made-up speaker: its number in the corpus, ``F`` or ``M``, voice and usual tempo."""

    number: int
    gender: str
    voice: espeak.Voice
    words_per_minute: int


def render(folder: Path, known: int, unseen: int) -> None:
    """Writes the corpus: ``SPEAKERS.TXT`` and ``<subset>/<speaker>/<chapter>/<utterance>.flac``.

    Args:
        folder: the corpus; replaced if it is there.
        known: how many voices, half of them female, are in the subset ``train-synthetic``.
        unseen: how many are in ``test-synthetic``.

    Raises:
        MissingExtraError: espeakng-loader is not installed.
        DataError: the folder cannot be written.
    """
    cast = [invent(FIRST_SPEAKER + index) for index in range(known + unseen)]
    subsets = ["train-synthetic"] * known + ["test-synthetic"] * unseen
    scripts = [_script(speaker) for speaker in cast]
    spoken = espeak.speak([(who.voice, script) for who, script in zip(cast, scripts, strict=True)])
    with atomic_write(folder) as corpus:
        corpus.mkdir()
        for subset, speaker, clean in zip(subsets, cast, spoken, strict=True):
            _write_speaker(corpus / subset, speaker, clean)
        table = _speakers_txt(cast, subsets)
        (corpus / _SPEAKERS).write_text(table, encoding="utf-8")


def is_rendered(folder: Path) -> bool:
    """Whether it is a corpus that :func:`render` wrote, which says so itself."""
    try:
        return (folder / _SPEAKERS).read_bytes().startswith(_HEAD.encode())
    except OSError:
        return False


def invent(number: int) -> Speaker:
    """The speaker of that number; always the same one."""
    rng = np.random.default_rng([SEED, number])
    gender = "FM"[number % 2]
    low = rng.uniform(155, 215) if gender == "F" else rng.uniform(75, 125)
    size = rng.uniform(106, 124) if gender == "F" else rng.uniform(88, 106)  # % of usual formants
    formants = size * rng.uniform(0.94, 1.06, size=8)
    loudness = rng.uniform(60, 140, size=8)
    width = rng.uniform(80, 150, size=8)
    tone = zip(
        (600, 1200, 2400, 4000), rng.uniform((120, 60, 30, 20), (255, 255, 160, 120)), strict=True
    )
    traits = [
        f"gender {'female' if gender == 'F' else 'male'}",
        f"pitch {low:.0f} {low * rng.uniform(1.15, 1.5):.0f}",
        f"flutter {rng.uniform(1, 8):.0f}",
        f"roughness {rng.integers(0, 5)}",
        f"voicing {rng.uniform(60, 130):.0f}",
        "tone " + " ".join(f"{hertz} {strength:.0f}" for hertz, strength in tone),
        "breath " + " ".join(f"{value:.0f}" for value in rng.uniform(0, 6, size=8)),
        *(
            f"formant {index + 1} {formants[index]:.0f} {loudness[index]:.0f} {width[index]:.0f}"
            for index in range(8)
        ),
    ]
    accent = ACCENTS[rng.integers(len(ACCENTS))]
    voice = espeak.Voice(f"gmw/{accent}", "\n".join(traits))
    return Speaker(number, gender, voice, words_per_minute=int(rng.uniform(140, 200)))


def _script(speaker: Speaker) -> list[espeak.Line]:
    """What a speaker says: different sentences, at a tempo and pitch that vary a little."""
    rng = np.random.default_rng([SEED, speaker.number, 1])
    sentences = files("hive_mtl.faces.demo").joinpath("sentences.txt").read_text().splitlines()
    chosen = rng.choice(len(sentences), size=CHAPTERS * LINES_PER_CHAPTER, replace=False)
    return [
        espeak.Line(
            text=sentences[index],
            words_per_minute=round(speaker.words_per_minute * rng.uniform(0.92, 1.08)),
            pitch=round(rng.uniform(44, 56)),
        )
        for index in chosen
    ]


def _write_speaker(subset: Path, speaker: Speaker, clean: Sequence[npt.NDArray[np.int16]]) -> None:
    for chapter in range(CHAPTERS):
        name = str(speaker.number * CHAPTERS + chapter)
        rng = np.random.default_rng([SEED, speaker.number, 2, chapter])
        room, microphone = _room(rng), _microphone(rng)
        place = subset / str(speaker.number) / name
        place.mkdir(parents=True)
        for line in range(LINES_PER_CHAPTER):
            wave = clean[chapter * LINES_PER_CHAPTER + line].astype(np.float32) / 32_768
            wave = soxr.resample(wave, espeak.SAMPLE_RATE, SAMPLE_RATE)
            heard = _record(wave, room, microphone, rng)
            file = place / f"{speaker.number}-{name}-{line:04}.flac"
            soundfile.write(file, heard, SAMPLE_RATE, subtype="PCM_16")


def _room(rng: np.random.Generator) -> Wave:
    """An impulse response ``(samples,)``: the direct sound, then exponentially decaying noise."""
    reverberation_s = rng.uniform(0.1, 0.4)  # until 60 dB down
    time = np.arange(int(reverberation_s * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / reverberation_s)
    response = tail * 10 ** (rng.uniform(-20, -8) / 20) / np.linalg.norm(tail)
    response[0] = 1.0
    return response.astype(np.float32)


def _microphone(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Gains in dB at octaves from 125 Hz to 8 kHz."""
    return rng.uniform(-4, 4, size=7)


def _record(
    wave: Wave, room: Wave, microphone: npt.NDArray[np.float64], rng: np.random.Generator
) -> Wave:
    """The speech in its room, through its microphone, over some noise, at some level."""
    points = 1 << (len(wave) + len(room)).bit_length()  # a power of two: a fast transform
    frequency = np.fft.rfftfreq(points, 1 / SAMPLE_RATE).clip(min=50)
    gain = 10 ** (np.interp(np.log2(frequency / 125), np.arange(7), microphone) / 20)
    heard = np.fft.irfft(np.fft.rfft(wave, points) * np.fft.rfft(room, points) * gain)[: len(wave)]
    hiss = np.fft.irfft(np.fft.rfft(rng.standard_normal(points)) * frequency ** -rng.uniform(0, 1))
    hiss = hiss[: len(wave)]
    signal_to_noise = rng.uniform(15, 35)
    heard += hiss * np.std(heard) / np.std(hiss) * 10 ** (-signal_to_noise / 20)
    level = 10 ** (rng.uniform(-15, -1) / 20)
    recorded: Wave = (heard * level / np.abs(heard).max()).astype(np.float32)
    return recorded


def _speakers_txt(cast: Sequence[Speaker], subsets: Sequence[str]) -> str:
    """LibriSpeech's table of speakers, with the voice's origin in place of the reader's name."""
    head = [
        _HEAD,
        ";ID  |SEX| SUBSET           |MINUTES| NAME",
    ]
    rows = [
        f"{who.number:<5}| {who.gender} | {subset:<17}| 0.50  | espeak-ng {who.voice.accent}"
        for who, subset in zip(cast, subsets, strict=True)
    ]
    return "\n".join([*head, *rows]) + "\n"
