"""Speech from espeak-ng, through its C interface.

PyPI's ``espeakng-loader`` carries the shared library and its data; the Python wrappers of espeak-ng
that are kept up either start an installed program or only turn text into phonemes, so the six
functions that are needed are called here directly (``espeak-ng/speak_lib.h``).

espeak-ng is free software under the GPL, version 3 or later. It is an optional package that the
demonstration loads when it runs: neither its code nor the audio it makes is part of this project.
"""

import ctypes
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import chdir
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hive_mtl.errors import MissingExtraError, ModelError

SAMPLE_RATE = 22_050  # what the library speaks at

_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: samples go to the callback before the call returns
_DO_NOT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: report a failure, do not end the process
_UTF8 = 1
_RATE, _PITCH = 1, 3  # espeak_PARAMETER
_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


@dataclass(frozen=True)
class Voice:
    """One speaker, in espeak-ng's own terms.

    Attributes:
        accent: a file of espeak-ng's ``lang`` folder, for example ``gmw/en-US``.
        traits: lines of a voice file that are added to it: pitch, formants, breath ...
    """

    accent: str
    traits: str


@dataclass(frozen=True)
class Line:
    """One sentence and how it is said: words per minute, and pitch with 50 as the voice's own."""

    text: str
    words_per_minute: int
    pitch: int


def speak(
    parts: Sequence[tuple[Voice, Sequence[Line]]],
) -> Iterator[list[npt.NDArray[np.int16]]]:
    """Every voice says its lines: ``(samples,)`` int16 at ``SAMPLE_RATE``, one list a voice.

    The library keeps counters for breath and jitter that cannot be set back, so all of it runs in
    one fresh process: the same parts always give the same samples.

    Raises:
        MissingExtraError: espeakng-loader is not installed.
        ModelError: the library does not start, or refuses a voice.
    """
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as fresh:
        yield from fresh.map(_say, *zip(*parts, strict=True))


def _say(voice: Voice, lines: Sequence[Line]) -> list[npt.NDArray[np.int16]]:
    synthesiser = _synthesiser()
    synthesiser.become(voice)
    return [synthesiser.say(line) for line in lines]


class _Synthesiser:
    """The library, started once in a process: it has one state and one voice at a time."""

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise MissingExtraError("the demonstration's synthetic speech", "demo") from error
        self._data = Path(espeakng_loader.get_data_path())
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, bytes(self._data), _DO_NOT_EXIT)
        if rate != SAMPLE_RATE:
            raise ModelError(f"{self._data}: espeak-ng does not start: reinstall espeakng-loader")
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # it takes the time of day otherwise
        self._blocks: list[npt.NDArray[np.int16]] = []
        self._callback = _Callback(self._keep)  # held: the library calls it later
        self._library.espeak_SetSynthCallback(self._callback)

    def become(self, voice: Voice) -> None:
        accent = (self._data / "lang" / voice.accent).read_text(encoding="utf-8")
        # A relative name, because the library cuts the name of a voice file at 59 bytes.
        with tempfile.TemporaryDirectory() as folder, chdir(folder):
            Path("voice").write_text(f"{accent}\n{voice.traits}\n", encoding="utf-8")
            if self._library.espeak_SetVoiceByFile(b"voice") != 0:
                raise ModelError(f"espeak-ng refuses the voice {voice}: update espeakng-loader")

    def say(self, line: Line) -> npt.NDArray[np.int16]:
        self._blocks.clear()
        self._library.espeak_SetParameter(_RATE, line.words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH, line.pitch, 0)
        text = line.text.encode() + b"\0"
        self._library.espeak_Synth(text, len(text), 0, 0, 0, _UTF8, None, None)
        return np.concatenate(self._blocks)

    def _keep(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: object) -> int:
        if count:
            self._blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0  # go on


_synthesiser = cache(_Synthesiser)
