"""Open recordings as decoders: mono blocks at the recording's own rate.

libsndfile (soundfile) reads what it can: it is fast and seeks to the sample. FFmpeg (PyAV) reads
the rest: m4a, webm, wma, amr, and streams that do not say how long they are.
"""

import io
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import soundfile

from hive_mtl.audio.files import Nameless, open_file
from hive_mtl.audio.sources import Segment, Source, Wave, describe_source
from hive_mtl.errors import AudioError

if TYPE_CHECKING:
    from av.container import InputContainer

_BLOCK_VALUES = 1 << 20  # decoded at once, all channels together: 4 MB
_LOWEST_RATE, _HIGHEST_RATE = 1_000, 1_000_000
_MOST_CHANNELS = 64
_SCALES = {np.dtype(np.int16): 2.0**-15, np.dtype(np.int32): 2.0**-31}
_READABLE = "wav, flac, mp3, ogg, opus, m4a, webm and most other audio can be read"

_PROMISE = re.compile(
    r"^ ?(?:data|SSND|riff|  Data Size) *: (\d+) \(should be (\d+)\)", re.MULTILINE
)
_OGG_CUT = re.compile(r"^Ogg ?: (?:Last page lacks|Junk after)", re.MULTILINE)
# sizes written by programs that stream and do not know the size yet
_STREAMED = (range(0x7FFF_F000, 0x8000_0001), range(0xFFFF_F000, 0x1_0000_0000))

_MALFORMED = 3  # error of libsndfile: known format, content that does not fit it
_UNKNOWN_FRAMES = 1 << 62
_MP3_FIRST_BYTES = 4096  # the first frame, which may hold the length, lies in these

_MEDIA_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,asf,wav,w64,caf,flac,ogg,mp3,aac,ac3,eac3,amr,amrnb,amrwb,"
    "aiff,flv,avi,mpegts,ape,wv,tta,dsf"
)  # no playlists: they make FFmpeg open whatever address or file the recording names
_INDEXED = {"mov", "matroska", "wav", "caf"}  # these know their length and seek reliably
_MEDIA_SLACK_S = 0.3  # headers count the padding of the first and last packet, which is not decoded
_MEDIA_LEAD_S = 1.0  # decoded ahead of a segment, as FFmpeg seeks to a packet near by


class Decoder(Protocol):
    """An open recording.

    Attributes:
        rate: samples per second of the recording.
        frames: samples per channel as its header promises; None where none does.
    """

    rate: int
    frames: int | None

    def blocks(self, start: int, count: int | None) -> Iterator[Wave]:
        """Mono blocks from frame ``start`` on: ``count`` frames (None: all), fewer at the end.

        Raises:
            AudioError: the content is damaged, or ends before the header says so.
        """


@contextmanager
def open_decoder(source: Source) -> Iterator[Decoder]:
    """The decoder of a recording; of a :class:`Segment`, that of the whole file.

    Raises:
        AudioError: there is no such recording, or it cannot be decoded.
    """
    where = describe_source(source)
    if isinstance(source, tuple) and len(source) == 2:
        yield _checked(ArrayDecoder(source, where), where)
        return
    with open_file(source.path if isinstance(source, Segment) else source, where) as file:
        with _open_sound(file, where) as sound:
            if sound and _knows_length(sound, file):
                yield _checked(SoundDecoder(sound, where), where)
                return
        with _open_media(file, where) as container:
            yield _checked(MediaDecoder(container, where), where)


def _checked(decoder: Decoder, where: str) -> Decoder:
    if not _LOWEST_RATE <= decoder.rate <= _HIGHEST_RATE:
        raise AudioError(
            f"{where}: has a sample rate of {decoder.rate} Hz: give one of {_LOWEST_RATE} to"
            f" {_HIGHEST_RATE} Hz"
        )
    return decoder


class ArrayDecoder:
    """Samples that are in memory already."""

    def __init__(self, source: tuple[npt.ArrayLike, Any], where: str) -> None:
        try:
            array, rate = np.asarray(source[0]), float(source[1])
        except (TypeError, ValueError) as error:
            raise AudioError(f"{where}: is not (array, samples per second): {error}") from error
        if array.dtype.kind != "f" and array.dtype not in _SCALES:
            raise AudioError(f"{where}: is of {array.dtype}: give float, int16 or int32 samples")
        if array.ndim not in (1, 2):
            shape = "x".join(map(str, array.shape))
            raise AudioError(f"{where}: has shape {shape}: give (samples,) or (samples, channels)")
        if array.ndim == 2 and not 1 <= array.shape[1] <= _MOST_CHANNELS:
            raise AudioError(f"{where}: has {array.shape[1]} channels: give (samples, channels)")
        if not rate.is_integer():
            raise AudioError(f"{where}: has a sample rate of {rate} Hz: give a whole number")
        self.rate = int(rate)
        self.frames: int | None = len(array)
        self._array = array

    def blocks(self, start: int, count: int | None) -> Iterator[Wave]:
        """See :class:`Decoder`."""
        stop = len(self._array) if count is None else min(start + count, len(self._array))
        scale = _SCALES.get(self._array.dtype)
        size = _block_size(self._array[0].size if stop else 1)
        for at in range(start, stop, size):
            with np.errstate(over="ignore"):  # infinite samples are reported as such
                block = np.ascontiguousarray(self._array[at : min(at + size, stop)], np.float32)
            yield _mono(block if scale is None else block * np.float32(scale))


class SoundDecoder:
    """A file that libsndfile reads."""

    def __init__(self, sound: soundfile.SoundFile, where: str) -> None:
        self.rate: int = sound.samplerate
        self.frames: int | None = sound.frames
        self._sound = sound
        self._where = where
        log = sound.extra_info
        for promised, held in _PROMISE.findall(log):
            if int(promised) > int(held) and not any(int(promised) in mark for mark in _STREAMED):
                raise _truncated(where, f"holds {held} of {promised} bytes of sound")
        if _OGG_CUT.search(log):
            raise _truncated(where, "its last page is missing")

    def blocks(self, start: int, count: int | None) -> Iterator[Wave]:
        """See :class:`Decoder`."""
        stop = self._sound.frames if count is None else min(start + count, self._sound.frames)
        size = _block_size(self._sound.channels)
        at = start
        try:
            if 0 < start < stop:
                self._sound.seek(start)
            while at < stop:
                block = self._sound.read(min(size, stop - at), dtype="float32")
                if not len(block):
                    raise _truncated(
                        self._where, f"ends after {at} of {self._sound.frames} samples"
                    )
                at += len(block)
                yield _mono(block)
        except soundfile.LibsndfileError as error:
            raise _damaged(self._where, at / self.rate, error) from error


class MediaDecoder:
    """A file that FFmpeg reads: the first audio stream in it."""

    def __init__(self, container: "InputContainer", where: str) -> None:
        if not container.streams.audio:
            raise AudioError(f"{where}: holds no sound, or is cut short: {_READABLE}")
        stream = container.streams.audio[0]
        if getattr(stream, "codec_context", None) is None:
            raise AudioError(f"{where}: its sound is of a kind that cannot be decoded: {_READABLE}")
        self._container = container
        self._stream = stream
        self._where = where
        self._indexed = bool(_INDEXED.intersection(container.format.name.split(",")))
        self.rate = stream.rate
        self.frames: int | None = None
        if self._indexed and stream.duration and stream.time_base:
            self.frames = round(stream.duration * stream.time_base * self.rate)
        elif self._indexed and container.duration and len(container.streams) == 1:
            lasts = container.duration - max(container.start_time or 0, 0)  # microseconds
            self.frames = round(lasts * self.rate / 1_000_000)

    def blocks(self, start: int, count: int | None) -> Iterator[Wave]:
        """See :class:`Decoder`."""
        import av

        stop = math.inf if count is None else start + count
        at = 0
        try:
            for at, block in self._decoded(start):
                if at >= stop:
                    return
                if at + len(block) > start:
                    yield block[max(0, start - at) : min(len(block), stop - at)]
                at += len(block)
        except (av.FFmpegError, ValueError) as error:
            raise _damaged(self._where, at / self.rate, error) from error
        if self.frames and at < min(stop, self.frames - _MEDIA_SLACK_S * self.rate):
            raise _truncated(self._where, f"ends after {at} of {self.frames} samples")

    def _decoded(self, start: int) -> Iterator[tuple[int, Wave]]:
        """Pairs of position and mono block, from some position at or before ``start`` on."""
        import av

        lead_s = start / self.rate - _MEDIA_LEAD_S
        tick = self._stream.time_base
        at, sought, first_s = 0, False, 0.0
        if self._indexed and tick is not None and lead_s > 0:
            first = self._stream.start_time or 0
            self._container.seek(int(lead_s / tick) + first, stream=self._stream)
            first_s = float(first * tick)
            sought = True
        planar = av.AudioResampler(format="fltp")
        for frame in self._container.decode(self._stream):
            if sought:  # some packet near by was found: its time says where we are
                at, sought = round(((frame.time or 0.0) - first_s) * self.rate), False
            for part in planar.resample(frame):
                block = _mono(part.to_ndarray().T.astype(np.float32, copy=False))
                yield at, block
                at += len(block)


@contextmanager
def _open_sound(file: IO[bytes], where: str) -> Iterator[soundfile.SoundFile | None]:
    """What libsndfile makes of a file; None where it does not know the format."""
    try:
        # our own files by descriptor: no Python between libsndfile and the disk
        native = file.fileno() if isinstance(file, io.FileIO) else Nameless(file)
        sound = soundfile.SoundFile(native, closefd=False)
    except soundfile.LibsndfileError as error:
        if error.code == _MALFORMED:
            raise _truncated(where, "its header does not fit its content") from error
        yield None
        return
    with sound:
        yield sound


def _knows_length(sound: soundfile.SoundFile, file: IO[bytes]) -> bool:
    """Whether the number of frames is the header's, not a guess (MP3) or a placeholder (FLAC)."""
    if sound.subtype != "MPEG_LAYER_III":
        return bool(sound.frames < _UNKNOWN_FRAMES)
    position = file.tell()  # shared with libsndfile
    file.seek(0)
    mark, size = file.read(6)[:3], file.read(4)
    tag = 10 + sum(
        (byte & 0x7F) << shift for byte, shift in zip(size, (21, 14, 7, 0), strict=False)
    )
    file.seek(tag if mark == b"ID3" else 0)
    first = file.read(_MP3_FIRST_BYTES)
    file.seek(position)
    return b"Xing" in first or b"Info" in first


@contextmanager
def _open_media(file: IO[bytes], where: str) -> Iterator["InputContainer"]:
    import av  # late: slow to load, and most recordings do not need it

    file.seek(0)
    options = {"format_whitelist": _MEDIA_FORMATS}
    try:
        container = av.open(file, "r", options=options, metadata_errors="ignore")
    except (av.FFmpegError, ValueError) as error:
        raise AudioError(f"{where}: is no audio, or is cut short: {_READABLE}") from error
    with container:
        yield container


def _block_size(channels: int) -> int:
    return max(1, _BLOCK_VALUES // channels)


def _mono(block: npt.NDArray[np.float32]) -> Wave:
    """``(samples,)`` or ``(samples, channels)`` -> the mean over the channels."""
    if block.ndim == 1:
        return block
    channels = block.shape[1]
    if channels == 1:
        return block[:, 0]
    with np.errstate(invalid="ignore"):  # infinite samples are reported as such
        wave: Wave = block @ np.full(channels, 1 / channels, np.float32)  # 6 times faster than mean
    return wave


def _truncated(where: str, what: str) -> AudioError:
    return AudioError(f"{where}: is truncated, {what}: get a complete copy of the file")


def _damaged(where: str, at_s: float, error: Exception) -> AudioError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return AudioError(
        f"{where}: is truncated or damaged after {at_s:.1f} s ({reason}): get a complete copy of"
        " the file"
    )
