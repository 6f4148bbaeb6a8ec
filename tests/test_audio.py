"""Recordings of every kind, good and bad; speech and quality of waves."""

import io
import os
import threading
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from hive_mtl import audio
from hive_mtl.audio import SAMPLE_RATE, Segment, Wave
from hive_mtl.errors import AudioError, DataError

SECONDS = 6.0


def voice_like(rate: int = SAMPLE_RATE, seconds: float = SECONDS) -> Wave:
    """Bursts of a gliding tone between quiet stretches, with a little noise throughout."""
    time_s = np.arange(round(seconds * rate)) / rate
    tone = np.sin(2 * np.pi * (300 * time_s + 20 * time_s**2))
    bursts = np.clip(3 * np.sin(2 * np.pi * time_s / 1.5), 0, 1)
    noise = np.random.default_rng(0).standard_normal(time_s.size)
    return (0.3 * tone * bursts + 1e-3 * noise).astype(np.float32)


def encode_media(path: Path, codec: str, rate: int, options: dict[str, str] | None = None) -> Path:
    """Writes ``voice_like`` by FFmpeg."""
    with av.open(str(path), "w", options=options or {}) as output:
        stream = output.add_stream(codec, rate=rate)
        stream.layout = "mono"
        stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(voice_like(rate)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        fitted = av.AudioResampler(
            stream.format, "mono", rate, frame_size=stream.codec_context.frame_size or 1024
        )
        for part in fitted.resample(frame) + fitted.resample(None):
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return path


SOUND_FORMATS = {
    "pcm16.wav": (44_100, "PCM_16", 1),
    "pcm24.wav": (48_000, "PCM_24", 2),
    "float.wav": (16_000, "FLOAT", 1),
    "ulaw.wav": (8_000, "ULAW", 1),
    "alaw.au": (8_000, "ALAW", 1),
    "high.flac": (192_000, "PCM_24", 1),
    "seven.wav": (22_050, "PCM_16", 7),
    "plain.flac": (16_000, "PCM_16", 1),
    "plain.aiff": (44_100, "PCM_16", 2),
    "plain.caf": (44_100, "PCM_16", 1),
    "plain.w64": (11_025, "PCM_16", 1),
    "plain.mp3": (44_100, "MPEG_LAYER_III", 2),
    "vorbis.ogg": (44_100, "VORBIS", 1),
    "opus.ogg": (48_000, "OPUS", 1),
}
MEDIA_FORMATS = {
    "phone.m4a": ("aac", 44_100, None),
    "fragmented.mp4": ("aac", 16_000, {"movflags": "frag_keyframe+empty_moov"}),
    "browser.webm": ("libopus", 48_000, None),
    "streamed.webm": ("libopus", 48_000, {"live": "1"}),
    "windows.wma": ("wmav2", 44_100, None),
    "within.wav": ("libmp3lame", 44_100, None),
    "lossless.mka": ("flac", 44_100, None),
    "packets.aac": ("aac", 44_100, None),
    "guessed.mp3": ("libmp3lame", 44_100, {"write_xing": "0"}),
}
NO_PROMISE = {
    "within.wav",
    "windows.wma",
    "fragmented.mp4",
    "packets.aac",
    "guessed.mp3",
    "streamed.webm",
}


@pytest.fixture(scope="module", params=[*SOUND_FORMATS, *MEDIA_FORMATS])
def recording(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("formats") / request.param
    if path.name in MEDIA_FORMATS:
        codec, rate, options = MEDIA_FORMATS[path.name]
        return encode_media(path, codec, rate, options)
    rate, subtype, channels = SOUND_FORMATS[path.name]
    samples = np.repeat(voice_like(rate)[:, None], channels, axis=1)
    container = {".opus": "OGG", ".ogg": "OGG"}.get(path.suffix)
    soundfile.write(path, samples, rate, subtype=subtype, format=container)
    return path


def likeness(wave: Wave, other: Wave) -> float:
    """Correlation of two waves of about the same length."""
    size = min(wave.size, other.size)
    return float(np.corrcoef(wave[:size], other[:size])[0, 1])


def delay(wave: Wave, other: Wave) -> int:
    """By how many samples ``wave`` comes after ``other``."""
    size = wave.size + other.size
    spectrum = np.fft.rfft(wave, size) * np.fft.rfft(other, size).conj()
    lag = int(np.fft.irfft(spectrum, size).argmax())
    return lag if lag < wave.size else lag - size


class TestEveryFormat:
    def test_loads_as_16_khz_mono(self, recording: Path) -> None:
        wave = audio.load(recording)
        assert wave.dtype == np.float32
        assert wave.ndim == 1
        assert abs(wave.size / SAMPLE_RATE - SECONDS) < 0.1
        lag = delay(wave, voice_like())
        assert likeness(wave[max(lag, 0) :], voice_like()[max(-lag, 0) :]) > 0.98
        # without a header that tells of it, the lead-in of a codec stays
        assert abs(lag) <= (1_100 if recording.name in NO_PROMISE else 1)

    def test_stream_is_load_in_blocks(self, recording: Path) -> None:
        blocks = list(audio.stream(recording, 0.7))
        assert {block.size for block in blocks[:-1]} == {round(0.7 * SAMPLE_RATE)}
        assert 0 < blocks[-1].size <= round(0.7 * SAMPLE_RATE)
        np.testing.assert_array_equal(np.concatenate(blocks), audio.load(recording))

    def test_bytes_and_file_give_what_the_path_gives(self, recording: Path) -> None:
        whole = audio.load(recording)
        np.testing.assert_array_equal(audio.load(recording.read_bytes()), whole)
        with recording.open("rb") as file:
            file.seek(100)
            np.testing.assert_array_equal(audio.load(file), whole)
            np.testing.assert_array_equal(audio.load(file), whole)

    @pytest.mark.parametrize(("start_s", "duration"), [(0.0, 1.0), (2.345, 1.5), (4.01, None)])
    def test_segment_is_a_slice(
        self, recording: Path, start_s: float, duration: float | None
    ) -> None:
        whole = audio.load(recording)
        first = round(start_s * SAMPLE_RATE)
        stop = whole.size if duration is None else round((start_s + duration) * SAMPLE_RATE)
        part = audio.load(Segment(recording, start_s, duration))
        if recording.suffix in {".webm", ".mka"} and start_s:  # their clock ticks in milliseconds
            assert abs(part.size - (stop - first)) <= 16
            assert abs(delay(part, whole[first:stop])) <= 16
            return
        assert part.size == stop - first
        tolerance = 1e-6 if recording.suffix in {".wav", ".flac", ".aiff", ".caf"} else 2e-3
        np.testing.assert_allclose(part, whole[first:stop], atol=tolerance)

    def test_duration(self, recording: Path) -> None:
        assert audio.duration_s(recording) == pytest.approx(SECONDS, abs=0.1)
        assert audio.duration_s(Segment(recording, 1.0, 2.5)) == 2.5
        assert audio.duration_s(Segment(recording, 5.0, 9.0)) == pytest.approx(1.0, abs=0.1)
        assert audio.duration_s(Segment(recording, 5.0)) == pytest.approx(1.0, abs=0.1)

    @pytest.mark.parametrize("part", [0.3, 0.9])
    def test_truncated(self, recording: Path, part: float) -> None:
        if recording.name in NO_PROMISE:
            pytest.skip("does not say how long it is")
        content = recording.read_bytes()
        with pytest.raises(AudioError, match=r"truncated|cut short"):
            audio.load(content[: int(part * len(content))])

    def test_barely_truncated(self, tmp_path: Path) -> None:
        for name in ("a.wav", "a.flac", "a.aiff", "a.mp3", "a.ogg"):
            soundfile.write(tmp_path / name, voice_like(), SAMPLE_RATE)
            with pytest.raises(AudioError, match="truncated"):
                audio.load((tmp_path / name).read_bytes()[:-20])


class TestSources:
    @pytest.mark.parametrize(("dtype", "scale"), [(np.int16, 2**15), (np.int32, 2**31)])
    def test_integers_are_scaled(self, dtype: type, scale: int) -> None:
        wave = voice_like()
        samples = (wave.astype(np.float64) * scale).astype(dtype)
        np.testing.assert_allclose(audio.load((samples, SAMPLE_RATE)), wave, atol=1e-4)

    def test_channels_are_averaged(self) -> None:
        samples = np.stack([voice_like(), np.zeros_like(voice_like())], axis=1)
        np.testing.assert_allclose(audio.load((samples, 16_000.0)), voice_like() / 2, atol=1e-7)

    def test_doubles_and_strided_arrays(self) -> None:
        samples = np.stack([voice_like(), voice_like()], axis=1).astype(np.float64)[:, 0]
        wave = audio.load((samples, SAMPLE_RATE))
        assert wave.flags.c_contiguous
        np.testing.assert_array_equal(wave, voice_like())

    def test_pipes_are_read(self) -> None:
        buffer = io.BytesIO()
        soundfile.write(buffer, voice_like(), SAMPLE_RATE, format="WAV", subtype="FLOAT")
        receiving, sending = os.pipe()
        sender = threading.Thread(
            target=lambda: os.fdopen(sending, "wb").write(buffer.getvalue()) and None
        )
        sender.start()
        with os.fdopen(receiving, "rb") as pipe:
            np.testing.assert_array_equal(audio.load(pipe), voice_like())
        sender.join()

    def test_wav_from_a_stream_with_unknown_size(self, tmp_path: Path) -> None:
        path = tmp_path / "streamed.wav"
        soundfile.write(path, voice_like(), SAMPLE_RATE)
        content = bytearray(path.read_bytes())
        size_at = content.index(b"data") + 4
        content[size_at : size_at + 4] = b"\xff\xff\xff\xff"
        assert audio.load(bytes(content)).size == voice_like().size

    def test_flac_from_a_stream_with_unknown_length(self, tmp_path: Path) -> None:
        path = tmp_path / "streamed.flac"
        soundfile.write(path, voice_like(), SAMPLE_RATE)
        content = bytearray(path.read_bytes())
        content[21] &= 0xF0  # the total of samples: 36 bits in the first block of metadata
        content[22:26] = bytes(4)
        assert audio.duration_s(bytes(content)) == SECONDS
        np.testing.assert_allclose(audio.load(bytes(content)), audio.load(path), atol=1e-6)

    def test_mp3_behind_a_picture(self, tmp_path: Path) -> None:
        path = tmp_path / "tagged.mp3"
        soundfile.write(path, voice_like(44_100), 44_100)
        picture = b"APIC" + (20_000).to_bytes(4, "big") + bytes(2) + bytes(20_000)
        size = len(picture)
        tag = b"ID3\x03\x00\x00" + bytes([0, size >> 14, (size >> 7) & 0x7F, size & 0x7F]) + picture
        content = path.read_bytes()
        np.testing.assert_array_equal(audio.load(tag + content), audio.load(content))
        with pytest.raises(AudioError, match="truncated"):
            audio.load((tag + content)[:-20_000])

    def test_three_samples(self) -> None:
        assert audio.load((np.zeros(3, np.float32), SAMPLE_RATE)).size == 3

    def test_the_end_of_a_segment_may_lie_beyond_the_recording(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.wav", voice_like(), SAMPLE_RATE)
        assert audio.load(Segment(tmp_path / "a.wav", 5.5, 9.0)).size == SAMPLE_RATE // 2

    def test_descriptions(self, tmp_path: Path) -> None:
        array = np.zeros((16_000, 2), np.float32)
        with (tmp_path / "open").open("wb+") as file:
            assert audio.describe_source(file) == str(tmp_path / "open")
        assert audio.describe_source("a.wav") == "a.wav"
        assert audio.describe_source(Path("b/a.wav")) == str(Path("b/a.wav"))
        assert audio.describe_source(Segment(Path("a.wav"), 3.0, 2.0)) == "a.wav [3.0-5.0 s]"
        assert audio.describe_source(Segment(Path("a.wav"), 3.0)) == "a.wav [3.0- s]"
        assert audio.describe_source(Segment(Path("a.wav"))) == "a.wav"
        assert audio.describe_source(b"12345") == "recording of 5 bytes"
        assert audio.describe_source(io.BytesIO()) == "BytesIO"
        assert audio.describe_source((array, 16_000)) == "array of 16000 samples"
        assert "\n" not in audio.describe_source("two\nlines.wav")


def float_wav(samples: Wave) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


def with_value(value: float, at: int = 8_000) -> Wave:
    samples = voice_like()
    samples[at] = value
    return samples


EMPTY_PNG_LIKE = b"\x89PNG\r\n\x1a\n" + bytes(100)
BAD_SOURCES: dict[str, tuple[Callable[[], object], str]] = {
    "address": (lambda: "https://example.org/a.wav", "is an address, not a file"),
    "missing": (lambda: "no/such/file.wav", r"no/such/file.wav: cannot be read \(no such file"),
    "folder": (lambda: Path(__file__).parent, r"\(is a directory\): give a file in it"),
    "zero byte": (lambda: "a\0b.wav", "holds a zero byte"),
    "no name of a file": (lambda: "a\ud800.wav", r"'a\\ud800.wav': cannot be a path, "),
    "no bytes": (lambda: b"", "is an empty file"),
    "text": (lambda: b"this is a text\n" * 50, "is no audio"),
    "picture": (lambda: EMPTY_PNG_LIKE, "is no audio"),
    "playlist": (lambda: b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n", "is no audio"),
    "header only": (lambda: float_wav(np.zeros(0, np.float32)), "holds no samples"),
    "half a header": (lambda: float_wav(voice_like())[:30], "truncated|no audio"),
    "NaN in a file": (lambda: float_wav(with_value(np.nan)), r"sample 8000 \(0.500 s\) is nan"),
    "infinite in a file": (lambda: float_wav(with_value(-np.inf)), "sample 8000 .* is -inf"),
    "NaN": (lambda: (with_value(np.nan, 3), 16_000), "sample 3 .* is nan"),
    "infinite": (lambda: (with_value(np.inf, 3), 16_000), "sample 3 .* is inf"),
    "too large": (lambda: (np.full(9, 1e300), 16_000), "sample 0 .* is inf"),
    "absurd": (lambda: (np.full(9, 1e9), 16_000), r"is 1000000000.0: samples lie in \[-1, 1\]"),
    "stereo infinite": (
        lambda: (np.array([[np.inf, -np.inf]] * 9), 16_000),
        "sample 0 .* is nan",
    ),
    "no samples": (lambda: (np.zeros(0), 16_000), "holds no samples"),
    "less than a sample": (lambda: (np.zeros(3), 192_000), "holds no samples"),
    "rate 0": (lambda: (np.zeros(9), 0), "sample rate of 0 Hz"),
    "negative rate": (lambda: (np.zeros(9), -16_000), "sample rate of -16000 Hz"),
    "NaN rate": (lambda: (np.zeros(9), float("nan")), "sample rate of nan Hz"),
    "rate in words": (lambda: (np.zeros(9), "fast"), "is not .array, samples per second"),
    "three-dimensional": (lambda: (np.zeros((2, 3, 4)), 16_000), "has shape 2x3x4"),
    "scalar": (lambda: (np.float32(0), 16_000), "give .samples,. or .samples, channels."),
    "channels first": (lambda: (np.zeros((2, 16_000)), 16_000), "has 16000 channels"),
    "no channels": (lambda: (np.zeros((16_000, 0)), 16_000), "has 0 channels"),
    "unsigned": (lambda: (np.zeros(9, np.uint8), 16_000), "is of uint8"),
    "ragged": (lambda: ([[1.0], [1.0, 2.0]], 16_000), "is not .array, samples per second"),
    "nothing": (lambda: None, "NoneType: is not a recording"),
    "triple": (lambda: (np.zeros(9), 16_000, 1), "tuple: is not a recording"),
    "text file": (lambda: io.StringIO("abc"), "is open as text"),
}


@pytest.mark.parametrize("case", BAD_SOURCES)
def test_bad_input_is_one_clear_line(case: str) -> None:
    make, message = BAD_SOURCES[case]
    with pytest.raises(AudioError, match=message) as caught:
        audio.load(make())  # type: ignore[arg-type]
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["x.raw", "x.RAW", b"x.raw", 5])
def test_the_name_of_an_open_file_is_not_asked_for_its_format(name: object) -> None:
    file = io.BytesIO(float_wav(voice_like()))
    file.name = name  # type: ignore[attr-defined]
    np.testing.assert_array_equal(audio.load(file), voice_like())


def test_closed_file() -> None:
    file = io.BytesIO(b"abc")
    file.close()
    with pytest.raises(AudioError, match="is closed"):
        audio.load(file)


def test_video_without_sound(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "mute.mkv"), "w") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame(32, 32, "yuv420p")
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(AudioError, match="holds no sound"):
        audio.load(tmp_path / "mute.mkv")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(AudioError, match=r"\(permission denied\): check its permissions"):
        audio.load(tmp_path / "secret.wav")


def test_failing_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(AudioError, match="check the disk"):
        audio.load(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("start_s", "duration"), [(-1.0, None), (np.nan, 1.0), (0.0, 0.0), (0.0, -1.0), (0.0, np.inf)]
)
def test_impossible_segments(tmp_path: Path, start_s: float, duration: float | None) -> None:
    soundfile.write(tmp_path / "a.wav", voice_like(), SAMPLE_RATE)
    segment = Segment(tmp_path / "a.wav", start_s, duration)
    for use in (audio.load, audio.duration_s):
        with pytest.raises(AudioError, match="is no part of a recording"):
            use(segment)


def test_segment_after_the_end(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", voice_like(), SAMPLE_RATE)
    with pytest.raises(AudioError, match=r"a.wav \[7.0-8.0 s\]: holds no samples"):
        audio.load(Segment(tmp_path / "a.wav", 7.0, 1.0))


@pytest.mark.parametrize("block_s", [0.0, -1.0, np.nan, np.inf])
def test_impossible_blocks(block_s: float) -> None:
    with pytest.raises(AudioError, match="blocks of"):
        audio.stream((voice_like(), SAMPLE_RATE), block_s)


def test_damage_in_the_middle(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", voice_like(), SAMPLE_RATE)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2_000] = b"\xff" * 2_000
    with pytest.raises(AudioError, match="truncated or damaged"):
        audio.load(bytes(content))


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_time_is_counted_from_the_first_sample(tmp_path: Path, suffix: str) -> None:
    """Of a recording whose stream begins at 1.5 s, as a piece that was cut from a longer one."""
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 8 * SAMPLE_RATE)
    path = tmp_path / f"cut.{suffix}"
    with av.open(path, "w") as container:
        stream = container.add_stream("flac", rate=SAMPLE_RATE, layout="mono")
        for start in range(0, len(wave), 4_000):
            part = (wave[None, start : start + 4_000] * 32_767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
            frame.sample_rate, frame.time_base = SAMPLE_RATE, Fraction(1, SAMPLE_RATE)
            frame.pts = start + 3 * SAMPLE_RATE // 2
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    whole = audio.load(path)
    np.testing.assert_allclose(whole, wave, atol=1e-4)
    part = audio.load(Segment(path, 5.0, 1.0))
    np.testing.assert_allclose(part, wave[5 * SAMPLE_RATE : 6 * SAMPLE_RATE], atol=1e-4)


def test_a_codec_that_nothing_here_decodes() -> None:
    content = bytearray(float_wav(np.zeros(16_000, np.float32)))
    tag = content.index(b"fmt ") + 8
    content[tag : tag + 2] = (0x0171).to_bytes(2, "little")
    with pytest.raises(AudioError) as caught:
        audio.load(bytes(content))
    assert "\n" not in str(caught.value)


def test_damaged_media(tmp_path: Path) -> None:
    path = encode_media(tmp_path / "a.mka", "flac", SAMPLE_RATE)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3_000] = b"\xff" * 3_000
    with pytest.raises(AudioError, match=r"truncated|damaged"):
        audio.load(bytes(content))


class TestFindRecordings:
    def test_sorted_and_without_the_rest(self, tmp_path: Path) -> None:
        hidden = ("a/._x.opus", ".Trash-1000/files/b.wav", "a/.AppleDouble/x.wav")
        for name in ("b/2.FLAC", "b/1.wav", "a/x.opus", "a/notes.txt", "c.m4a", *hidden):
            (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / name).touch()
        found = [path.relative_to(tmp_path).as_posix() for path in audio.find_recordings(tmp_path)]
        assert found == ["a/x.opus", "b/1.wav", "b/2.FLAC", "c.m4a"]

    def test_links_are_followed_once(self, tmp_path: Path) -> None:
        (tmp_path / "real" / "voice").mkdir(parents=True)
        (tmp_path / "real" / "voice" / "a.wav").touch()
        (tmp_path / "corpus").mkdir()
        (tmp_path / "corpus" / "voice").symlink_to(tmp_path / "real" / "voice")
        (tmp_path / "real" / "voice" / "loop").symlink_to(tmp_path / "corpus")
        found = audio.find_recordings(tmp_path / "corpus")
        assert found == [tmp_path / "corpus" / "voice" / "a.wav"]

    def test_no_folder(self, tmp_path: Path) -> None:
        for name in ("absent", "x" * 300):
            with pytest.raises(DataError, match="is not a folder"):
                audio.find_recordings(tmp_path / name)

    def test_a_folder_that_cannot_be_listed(
        self, tmp_path: Path, lock: Callable[[Path], None]
    ) -> None:
        locked = tmp_path / "locked"
        locked.mkdir()
        (tmp_path / "a.wav").touch()
        lock(locked)
        with pytest.raises(
            DataError, match=rf"{locked}: cannot be listed \(permission denied\): check the perm"
        ):
            audio.find_recordings(tmp_path)

    def test_what_is_no_file_is_left_out(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.wav")
        (tmp_path / "device.wav").symlink_to(os.devnull)
        (tmp_path / "file.wav").touch()
        (tmp_path / "link.wav").symlink_to("file.wav")
        (tmp_path / "nowhere.wav").symlink_to("gone.wav")  # decoding it says what is wrong
        found = [path.name for path in audio.find_recordings(tmp_path)]
        assert found == ["file.wav", "link.wav", "nowhere.wav"]


def noise(seconds: float, level: float, seed: int = 0) -> Wave:
    samples = np.random.default_rng(seed).standard_normal(round(seconds * SAMPLE_RATE))
    return (level * samples).astype(np.float32)


def spoken(level: float = 0.1, background: float = 1e-4) -> Wave:
    """Half a second of background, one second of 'speech', one second of background."""
    speech = np.zeros(round(2.5 * SAMPLE_RATE), np.float32)
    speech[8_000:24_000] = voice_like()[1_000:17_000] + noise(1.0, level, 1)
    return speech + noise(2.5, background, 2)


STEADY = {
    "digital silence": np.zeros(32_000, np.float32),
    "a constant": np.full(32_000, 0.3, np.float32),
    "one step of 16 bits": np.sign(noise(2.0, 1.0)) * np.float32(2**-15),
    "loud noise": noise(2.0, 0.3),
    "faint noise": noise(2.0, 1e-4),
    "a hum": (0.5 * np.sin(np.arange(32_000) * 2 * np.pi * 50 / SAMPLE_RATE)).astype(np.float32),
    "a click": np.where(np.arange(32_000) == 9_000, 0.9, noise(2.0, 1e-4)).astype(np.float32),
    "nothing": np.zeros(0, np.float32),
    "three samples": noise(0.0002, 0.1),
}


class TestSpeech:
    @pytest.mark.parametrize("kind", STEADY)
    def test_what_does_not_rise_above_its_floor_is_no_speech(self, kind: str) -> None:
        wave = STEADY[kind]
        speech = audio.speech_frames(wave)
        assert speech.shape == (wave.size // 160,)
        assert not speech.any()
        assert audio.trim_silence(wave) is wave
        found = audio.quality(wave)
        assert (found.speech_seconds, found.snr_db) == (0.0, -10.0)

    @pytest.mark.parametrize("gain", [1.0, 1e-2, 1e-4])
    def test_speech_is_found_at_any_volume(self, gain: float) -> None:
        speech = audio.speech_frames(spoken(background=1e-3) * np.float32(gain))
        assert speech[50:150].mean() > 0.95
        assert not speech[:40].any()
        assert not speech[175:].any()

    def test_an_offset_does_not_matter(self) -> None:
        wave = spoken()
        np.testing.assert_array_equal(
            audio.speech_frames(wave + np.float32(0.2)), audio.speech_frames(wave)
        )

    def test_one_word_in_a_long_recording(self) -> None:
        wave = np.concatenate([noise(50.0, 1e-3), spoken(background=1e-3), noise(7.5, 1e-3, 3)])
        assert audio.quality(wave).speech_seconds == pytest.approx(1.2, abs=0.15)

    def test_trimming_keeps_a_tenth_of_a_second(self) -> None:
        wave = spoken()
        kept = audio.trim_silence(wave)
        assert np.shares_memory(kept, wave)
        start = (kept.ctypes.data - wave.ctypes.data) // wave.itemsize
        assert 8_000 - 4_000 < start <= 8_000 - 1_600
        assert 24_000 + 1_600 <= start + kept.size < 24_000 + 6_400

    def test_frames_that_are_known_are_not_looked_for_again(self) -> None:
        wave = spoken()
        measured, speech = audio.quality_and_speech(wave)
        assert measured == audio.quality(wave)
        np.testing.assert_array_equal(speech, audio.speech_frames(wave))
        np.testing.assert_array_equal(
            audio.trim(wave, "speech", speech), audio.trim(wave, "speech")
        )

    def test_pauses_inside_are_kept(self) -> None:
        wave = np.concatenate([spoken(), noise(3.0, 1e-4, 4), spoken()])
        assert audio.trim_silence(wave).size > 5.5 * SAMPLE_RATE

    @pytest.mark.parametrize("snr_db", [5, 15, 30])
    def test_signal_to_noise_ratio(self, snr_db: int) -> None:
        wave = noise(3.0, 0.01)
        wave[16_000:32_000] += noise(1.0, 0.01 * 10 ** (snr_db / 20), 1)
        assert audio.quality(wave).snr_db == pytest.approx(snr_db, abs=1.5)

    def test_ratio_without_any_pause_is_finite(self) -> None:
        ramp = np.linspace(0.01, 1, 16_000, dtype=np.float32) ** 2
        found = audio.quality(noise(1.0, 0.2) * ramp)
        assert -10 <= found.snr_db <= 60
        clean = spoken(background=0.0)
        assert audio.quality(clean).snr_db == 60

    def test_a_click_louder_than_the_speech(self) -> None:
        wave = np.float32(0.01) * spoken()
        wave[2_000] = 1.0
        assert audio.quality(wave).speech_seconds == pytest.approx(1.2, abs=0.15)
        assert audio.quality(wave).snr_db == -10

    def test_quality_of_a_good_recording(self) -> None:
        found = audio.quality(spoken())
        assert found.duration_s == 2.5
        assert found.speech_seconds == pytest.approx(1.2, abs=0.15)
        assert found.clipped == 0

    @pytest.mark.parametrize("ceiling", [1.0, 0.5])
    @pytest.mark.parametrize("rate", [SAMPLE_RATE, 44_100])
    def test_clipping_is_seen(self, ceiling: float, rate: int) -> None:
        loud = np.clip(5 * voice_like(rate), -1, 1)
        share = float((np.abs(loud) == 1).mean())
        found = audio.quality(audio.load((loud * np.float32(ceiling), rate))).clipped
        if ceiling == 1.0 or rate == SAMPLE_RATE:
            assert 0.4 * share < found < 1.3 * share
        else:  # resampling ripples the plateaus of a scaled recording
            assert found < share

    def test_clipping_on_one_side(self) -> None:
        wave = np.maximum(voice_like(), np.float32(-0.1))
        assert audio.quality(wave).clipped == pytest.approx(float((wave == -0.1).mean()), abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mka"])
def test_ten_hours_in_bounded_memory(tmp_path: Path, suffix: str) -> None:
    """Ten hours of 8 kHz; the wave at 16 kHz would take 2.3 GB."""
    path = tmp_path / f"long{suffix}"
    minute = (voice_like(8_000, 60.0) * 32_767).astype(np.int16)
    if suffix == ".mka":
        write_long_media(path, minute, 600)
    else:
        subtype = "ULAW" if suffix == ".wav" else "PCM_16"
        with soundfile.SoundFile(path, "w", 8_000, 1, subtype) as file:
            for _ in range(600):
                file.write(minute)
    tracemalloc.start()
    before = resident_bytes()
    total, most = 0, 0
    for block in audio.stream(path, 60.0):
        total += block.size
        most = max(most, resident_bytes())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == pytest.approx(36_000 * SAMPLE_RATE, abs=SAMPLE_RATE)
    assert peak < 100e6
    assert most - before < 150e6


def write_long_media(path: Path, minute: np.ndarray, minutes: int) -> None:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_mulaw", rate=8_000)
        stream.layout = "mono"
        for at in range(minutes):
            frame = av.AudioFrame.from_ndarray(minute[None], format="s16", layout="mono")
            frame.sample_rate, frame.time_base = 8_000, Fraction(1, 8_000)
            frame.pts = at * minute.size
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def resident_bytes() -> int:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return 0
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_an_empty_path_is_one_clear_line() -> None:
    with pytest.raises(AudioError, match="an empty path"):
        audio.load("")
