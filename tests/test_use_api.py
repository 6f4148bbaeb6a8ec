"""What a user of a model relies on: embed, verify, attributes and files of vectors."""

import dataclasses
import io
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import hive_mtl as hive
from hive_mtl.description import Calibration
from hive_mtl.use.attributes import decode
from hive_mtl.use.windows import embed_windows
from tiny_model import AGE, DIM, GENDER, description, save_tiny_model
from voices import RATE, voice


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> hive.Model:
    return hive.load(save_tiny_model(tmp_path_factory.mktemp("model") / "model.onnx"), threads=2)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    soundfile.write(path, voice(3, seed=1), RATE)
    return path


def closeness(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


class TestEmbed:
    def test_gives_a_unit_vector_and_what_to_judge_it_by(self, model, recording) -> None:
        embedding = model.embed(recording)
        assert embedding.vector.shape == (DIM,)
        assert embedding.vector.dtype == np.float32
        assert np.linalg.norm(embedding.vector) == pytest.approx(1, abs=1e-5)
        assert embedding.duration_s == pytest.approx(3)
        assert 1 < embedding.speech_seconds <= 3
        assert embedding.model_id == model.description.model_id
        assert set(embedding.heads) == {"gender", "age"}

    def test_takes_every_kind_of_source_alike(self, model, recording) -> None:
        expected = model.embed(recording).vector
        samples, _ = soundfile.read(recording, dtype="float32")
        with recording.open("rb") as file:
            sources = [str(recording), recording.read_bytes(), file, (samples, RATE)]
            for source in sources:
                assert closeness(model.embed(source).vector, expected) > 1 - 1e-6

    def test_silence_around_the_voice_changes_little(self, model) -> None:
        silence = np.zeros(2 * RATE, np.float32)
        padded = np.concatenate([silence, voice(3), silence])
        plain = model.embed((voice(3), RATE))
        assert closeness(model.embed((padded, RATE)).vector, plain.vector) > 0.98

    @pytest.mark.parametrize("seconds", [0.025, 0.06, 0.3])
    def test_a_very_short_recording_has_a_vector_and_a_flag(self, model, seconds) -> None:
        embedding = model.embed((voice(seconds), RATE))
        assert "short" in embedding.flags
        assert np.isfinite(embedding.vector).all()

    def test_noise_and_clipping_raise_flags(self, model) -> None:
        loud = np.clip(30 * voice(3), -1, 1)
        assert "clipped" in model.embed((loud, RATE)).flags
        hiss = 0.05 * np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32)
        assert "noisy" in model.embed((voice(3) + hiss, RATE)).flags

    @pytest.mark.parametrize("wave", [np.zeros(RATE), np.zeros(0), np.ones(3), voice(0.02)])
    def test_what_cannot_be_embedded_is_refused_in_one_line(self, model, wave) -> None:
        with pytest.raises(hive.AudioError, match="array of") as caught:
            model.embed((wave.astype(np.float32), RATE))
        assert "\n" not in str(caught.value)

    def test_the_length_asked_for_is_the_length_that_is_enough(self, model) -> None:
        with pytest.raises(hive.AudioError, match="too short") as caught:
            model.embed((voice(0.02), RATE))
        (enough_ms,) = re.findall(r"(\d+) ms or more", str(caught.value))
        assert model.embed((voice(int(enough_ms) / 1000), RATE)).vector.shape == (DIM,)

    def test_a_long_recording_is_the_mean_of_its_minutes_by_their_speech(self, model) -> None:
        waves = [voice(60, 1), np.zeros(60 * RATE, np.float32), voice(10, 2)]
        whole = model.embed((np.concatenate(waves), RATE))
        parts = [model.embed((wave, RATE)) for wave in (waves[0], waves[2])]
        expected = sum(part.speech_seconds * part.vector for part in parts)
        assert closeness(whole.vector, expected) > 1 - 1e-5
        assert np.linalg.norm(whole.vector) == pytest.approx(1, abs=1e-5)
        assert whole.duration_s == pytest.approx(130)
        assert whole.heads["gender"].sum() == pytest.approx(1, abs=1e-4)

    @pytest.mark.slow
    def test_memory_stays_bounded_on_hours_of_speech(self, tmp_path) -> None:
        minute = (voice(60) * 32000).astype(np.int16)
        path = tmp_path / "long.wav"
        with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
            for _ in range(240):
                file.write(minute)
        script = (
            "import re, sys, hive_mtl as hive\n"
            "model = hive.load(sys.argv[1])\n"
            "print(model.embed(sys.argv[2]).duration_s)\n"
            # ru_maxrss would be that of pytest, from which this process was started
            "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        )
        network = save_tiny_model(tmp_path / "model.onnx")
        duration_s, peak_kb = map(float, _python(script, network, path).split())
        assert duration_s == pytest.approx(4 * 3600)
        assert peak_kb < 500_000


class TestWindows:
    def test_windows_lie_on_a_grid_and_cover_everything(self, model) -> None:
        wave = voice(61.3, seed=3)
        windows = model.embed((wave, RATE), window_s=1.6, hop_s=0.4)
        np.testing.assert_allclose(np.diff(windows.start_s), 0.4)
        assert windows.start_s[0] == 0
        assert windows.start_s[-1] + 1.6 >= 61.3
        assert windows.vectors.shape == (windows.start_s.size, DIM)
        assert ((windows.speech >= 0) & (windows.speech <= 1)).all()

    def test_a_window_is_embedded_as_that_part_of_the_recording(self, model) -> None:
        wave = voice(70, seed=3)  # the windows around the first minute cross two blocks
        windows = model.embed((wave, RATE), window_s=1.6, hop_s=0.4)
        for row in (0, 148, 170):
            start = round(windows.start_s[row] * RATE)
            alone = model.embed((wave[start : start + 25600], RATE), window_s=1.6)
            assert closeness(windows.vectors[row], alone.vectors[0]) > 1 - 1e-4

    def test_speech_is_told_from_silence(self, model) -> None:
        wave = np.concatenate([np.zeros(130 * RATE, np.float32), voice(10)])
        windows = model.embed((wave, RATE), window_s=2.0)
        assert windows.start_s.size == 70
        assert not windows.speech[:64].any()
        assert (windows.speech[66:] > 0.3).all()

    def test_a_recording_shorter_than_a_window_is_one_window(self, model) -> None:
        assert model.embed((voice(0.5), RATE), window_s=1.6).vectors.shape == (1, DIM)

    @given(
        samples=st.integers(400, 3 * RATE),
        window=st.integers(400, RATE),
        hop_share=st.floats(0.1, 1.0),
    )
    def test_every_sample_is_in_a_window(self, samples, window, hop_share) -> None:
        class Recorder:
            def run(self, items):
                for span, wave in items:
                    seen.append((span, wave.size))
                    yield span, {"embedding": np.zeros(2, np.float32)}

        seen: list[tuple[tuple[int, int], int]] = []
        hop = max(1, round(window * hop_share))
        embed_windows(
            Recorder(),
            (np.ones(samples, np.float32), RATE),
            window_s=window / RATE,
            hop_s=hop / RATE,
            model_id="",
        )
        covered = 0
        for (start, end), size in seen:
            assert end - start == size < window + 400
            assert start <= covered
            covered = end
        assert covered == samples
        assert all(size == window for _, size in seen[:-1])

    def test_an_end_that_is_no_window_lies_in_the_last_one(self, model) -> None:
        for rest_s, ends in ((0.0, [1, 2]), (0.02, [1, 2.02]), (0.025, [1, 2, 2.025])):
            windows = model.embed((voice(2 + rest_s), RATE), window_s=1.0)
            np.testing.assert_allclose(windows.end_s, ends)
            np.testing.assert_allclose(windows.start_s, [0, *windows.end_s.round(1)[:-1]])

    def test_windows_that_make_no_sense_are_refused(self, model) -> None:
        source = (voice(2), RATE)
        no_lengths = [
            {"window_s": window_s, "hop_s": hop_s}
            for value in (np.nan, np.inf, -np.inf, 1e308)
            for window_s, hop_s in ((value, None), (1.0, value))
        ]
        for options in (
            {"window_s": 0.0},
            {"window_s": 1.0, "hop_s": 2.0},
            {"hop_s": 0.4},
            *no_lengths,
        ):
            with pytest.raises(hive.ConfigError, match="hop_s"):
                model.embed(source, **options)
        with pytest.raises(hive.AudioError, match="silent"):
            model.embed((np.zeros(RATE, np.float32), RATE), window_s=0.5)


class TestEmbedMany:
    def test_failures_stand_in_their_places(self, model, recording, tmp_path) -> None:
        text = tmp_path / "text.wav"
        text.write_text("not a sound")
        sources = [recording, text, tmp_path / "none.wav", (np.zeros(RATE), RATE), recording]
        results = model.embed_many(sources, progress=True)
        kinds = [isinstance(result, hive.EmbeddingError) for result in results]
        assert kinds == [False, True, True, True, False]
        assert str(results[1]).startswith(str(text))
        assert results[1].source == str(text)
        assert str(text) not in results[1].reason
        assert closeness(results[0].vector, results[4].vector) > 1 - 1e-6

    @pytest.mark.parametrize("make", [str, Path, Path.read_bytes])
    def test_one_recording_is_no_list_of_them(self, model, recording, make) -> None:
        with pytest.raises(hive.ConfigError, match="is one recording: give a list"):
            model.embed_many(make(recording))

    def test_a_mixed_batch_equals_single_runs(self, model) -> None:
        seconds = [60.0, 0.5, 7.0, 30.0, 0.7, 2.0, 2.1, 65.0]
        sources = [(voice(length, seed), RATE) for seed, length in enumerate(seconds)]
        for source, together in zip(sources, model.embed_many(sources), strict=True):
            assert 1 - closeness(together.vector, model.embed(source).vector) < 1e-4

    def test_the_bar_of_progress_leaves_standard_output_alone(self, model, capfd) -> None:
        model.embed_many([(voice(1), RATE)], progress=True)
        assert capfd.readouterr().out == ""

    def test_the_bar_of_progress_is_shown_to_who_looks(self, model, capfd, monkeypatch) -> None:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        model.embed_many([(voice(1), RATE)], progress=True)
        assert "100%" in capfd.readouterr().err

    def test_a_stream_takes_recordings_as_it_goes(self, model) -> None:
        taken = []
        wave = voice(30)

        def endless():
            while True:
                taken.append(1)
                yield wave, RATE

        results = model.embed_stream(endless())
        for _ in range(3):
            assert isinstance(next(results), hive.Embedding)
        results.close()
        assert len(taken) < 60


class TestVerify:
    def test_the_same_recording_is_the_same_voice(self, model, recording) -> None:
        verdict = model.verify(recording, str(recording))
        assert verdict.same
        assert verdict.score == pytest.approx(1, abs=1e-5)
        assert verdict.probability == pytest.approx(1 / (1 + np.exp(-5)), abs=1e-4)
        assert verdict.threshold == pytest.approx(0.5)

    def test_the_threshold_follows_the_false_alarms_allowed(self, model, recording) -> None:
        strict = model.verify(recording, recording, false_alarm=0.001)
        assert strict.threshold == pytest.approx(0.7)
        with pytest.raises(hive.ConfigError, match=r"choose from 0\.001, 0\.01, 0\.1"):
            model.verify(recording, recording, false_alarm=0.05)

    def test_the_prior_moves_the_probability_and_not_the_decision(self, model, recording) -> None:
        even = model.verify(recording, recording)
        rare = model.verify(recording, recording, prior=0.01)
        assert (rare.same, rare.score, rare.threshold) == (even.same, even.score, even.threshold)
        odds = even.probability / (1 - even.probability) / 99
        assert rare.probability == pytest.approx(odds / (1 + odds))
        for prior in (0.0, 1.0, -1.0, float("nan")):
            with pytest.raises(hive.ConfigError, match="prior"):
                model.verify(recording, recording, prior=prior)

    def test_short_sides_say_less_and_their_order_nothing(self, tmp_path) -> None:
        weights = {"score": 10.0, "log_shorter": 2.0}
        calibration = Calibration(weights=weights, intercept=-5.0, thresholds={"0.01": 2.0})
        metadata = description(calibration=calibration).model_dump_json()
        model = hive.load(save_tiny_model(tmp_path / "model.onnx", metadata=metadata))
        long, short = (voice(12, 1), RATE), (voice(2.5, 1), RATE)
        sure, unsure = model.verify(long, long), model.verify(long, short)
        assert sure.probability > unsure.probability
        assert sure.threshold != unsure.threshold
        assert model.verify(short, long).probability == pytest.approx(unsure.probability)
        # two short recordings of a side have more speech than one
        together = model.verify(long, [short, short])
        assert together.threshold != unsure.threshold

    def test_sides_of_several_recordings_are_averaged(self, model) -> None:
        one, two, three = ((voice(2, seed), RATE) for seed in range(3))
        vectors = [model.embed(source).vector for source in (one, two, three)]
        expected = closeness(vectors[0] + vectors[1], vectors[2])
        assert model.verify([one, two], three).score == pytest.approx(expected, abs=1e-4)
        assert model.verify((one, two), [three]).score == pytest.approx(expected, abs=1e-4)

    def test_embeddings_that_were_kept_are_compared_as_their_recordings(
        self, model, recording
    ) -> None:
        other = (voice(3, seed=2), RATE)
        expected = model.verify(recording, [other, (voice(2, seed=3), RATE)])
        kept, another = model.embed(recording), model.embed(other)
        found = model.verify(kept, [another, (voice(2, seed=3), RATE)])
        assert found.score == pytest.approx(expected.score, abs=1e-6)
        assert found.probability == pytest.approx(expected.probability, abs=1e-6)
        stranger = dataclasses.replace(kept, model_id="another-0")
        with pytest.raises(hive.ModelError, match="made by another-0"):
            model.verify(stranger, recording)
        short = model.embed((voice(0.5, seed=1), RATE))
        with pytest.raises(hive.AudioError, match="an embedding: not enough speech"):
            model.verify(short, recording)

    def test_a_recording_counts_once_on_its_side(self, model, tmp_path) -> None:
        paths = [tmp_path / f"{seed}.wav" for seed in range(2)]
        for seed, path in enumerate(paths):
            soundfile.write(path, voice(2, seed), RATE)
        one, two = paths
        third = (voice(2, 2), RATE)
        often = model.verify([one, two, str(one), one], third)
        assert often == model.verify(paths, third)

    def test_too_little_speech_withholds_the_verdict(self, model, recording) -> None:
        with pytest.raises(hive.AudioError, match="not enough speech"):
            model.verify(recording, (voice(0.4), RATE))

    @pytest.mark.parametrize("snr_db", [-20.0, -10.0, -5.0])
    def test_noise_that_swallows_the_speech_withholds_the_verdict(
        self, model, recording, snr_db
    ) -> None:
        wave = voice(5)
        noise = np.random.default_rng(0).standard_normal(wave.size)
        noise *= np.sqrt(np.mean(wave**2)) * 10 ** (-snr_db / 20)
        for side in (((wave + noise) / 30).astype(np.float32), (noise / 30).astype(np.float32)):
            with pytest.raises(hive.AudioError, match="not enough speech"):
                model.verify(recording, (side, RATE))
            with pytest.raises(hive.AudioError, match="not enough speech"):
                model.attributes((side, RATE))

    def test_a_recording_that_fails_is_named(self, model, recording, tmp_path) -> None:
        with pytest.raises(hive.AudioError, match=r"none\.wav"):
            model.verify(recording, tmp_path / "none.wav")
        with pytest.raises(hive.AudioError, match="no recordings"):
            model.verify(recording, [])

    def test_a_model_without_calibration_says_so(self, tmp_path, recording) -> None:
        metadata = description(calibration=None).model_dump_json()
        plain = hive.load(save_tiny_model(tmp_path / "model.onnx", metadata=metadata))
        with pytest.raises(hive.ModelError, match="no calibration"):
            plain.verify(recording, recording)


class TestAttributes:
    def test_every_head_answers(self, model, recording) -> None:
        answers = model.attributes(recording)
        assert list(answers) == ["gender", "age"]
        assert answers["gender"].value in GENDER.classes
        assert answers["gender"].probability == max(answers["gender"].alternatives.values())
        assert AGE.low <= answers["age"].value <= AGE.high

    def test_classes_are_listed_likeliest_first(self) -> None:
        answer = decode(GENDER, np.array([0.25, 0.75], np.float32))
        assert (answer.value, answer.probability) == ("male", 0.75)
        assert list(answer.alternatives) == ["male", "female"]

    def test_a_certain_quantity_is_read_exactly(self) -> None:
        answer = decode(AGE, np.array([1, 0, 0], np.float32))
        assert answer.value == 30.0
        assert answer.interval == (22.0, 38.0)
        assert answer.alternatives["20-40"] == 1

    @given(st.lists(st.floats(0, 1), min_size=3, max_size=3))
    def test_any_output_gives_a_sound_answer(self, output) -> None:
        answer = decode(AGE, np.array(output, np.float32))
        low, high = answer.interval
        assert AGE.low <= low <= high <= AGE.high
        assert AGE.low <= answer.value <= AGE.high
        assert sum(answer.alternatives.values()) == pytest.approx(1)
        assert min(answer.alternatives.values()) >= 0

    def test_noise_without_a_voice_gets_no_answer(self, model) -> None:
        hum = 0.01 * np.sin(np.arange(3 * RATE) / 5).astype(np.float32)
        assert model.embed((hum, RATE)).speech_seconds == 0
        with pytest.raises(hive.AudioError, match="not enough speech"):
            model.attributes((hum, RATE))


class TestVectorsFile:
    @pytest.fixture
    def entries(self, model) -> list[tuple[str, hive.Embedding]]:
        names = ["/data/a.wav", "b c/ü.flac", "x.npy", "file"]
        waves = [(voice(1, seed), RATE) for seed in range(len(names))]
        return list(zip(names, model.embed_many(waves), strict=True))

    @pytest.mark.parametrize("suffix", [".npz", ".parquet"])
    def test_what_is_written_is_read_back(
        self, model, entries, tmp_path, suffix, monkeypatch
    ) -> None:
        monkeypatch.setattr("hive_mtl.use.vectors_file._ROW_GROUP", 3)  # Parquet reads two
        path = tmp_path / f"out{suffix}"
        count = hive.write_vectors(path, model.description, iter(entries + entries[:1]))
        assert count == len(entries)
        vectors = hive.read_vectors(path)
        assert vectors.paths == tuple(name for name, _ in entries)
        assert vectors.model_id == model.description.model_id
        assert vectors.vectors.dtype == np.float32
        for row, (_, embedding) in zip(vectors.vectors, entries, strict=True):
            np.testing.assert_array_equal(row, embedding.vector)
        assert list(tmp_path.iterdir()) == [path]

    def test_numpy_reads_the_archive(self, model, entries, tmp_path) -> None:
        path = tmp_path / "out.npz"
        hive.write_vectors(path, description(), entries)
        with np.load(path) as arrays:
            assert list(arrays) == [name for name, _ in entries]
            np.testing.assert_array_equal(arrays["x.npy"], entries[2][1].vector)
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None

    @pytest.mark.parametrize("suffix", [".npz", ".parquet"])
    def test_a_file_of_nothing_is_a_file(self, tmp_path, suffix) -> None:
        path = tmp_path / f"out{suffix}"
        assert hive.write_vectors(path, description(), []) == 0
        assert hive.read_vectors(path).paths == ()

    def test_too_few_bits_are_seen_before_the_work(self, tmp_path) -> None:
        def work():
            pytest.fail("it began to embed")
            yield

        with pytest.raises(hive.ConfigError, match="256, 512, 1024"):
            hive.write_vectors(tmp_path / "out.npz", description(), work(), bits=8)

    def test_a_failure_leaves_no_file(self, entries, tmp_path) -> None:
        with pytest.raises(hive.DataError, match="UTF-8"):
            hive.write_vectors(
                tmp_path / "out.npz", description(), [entries[0], ("\udcff.wav", entries[0][1])]
            )
        assert not list(tmp_path.iterdir())

    def test_a_folder_in_the_way_is_seen_before_the_work(self, tmp_path) -> None:
        def work():
            pytest.fail("it began to embed")
            yield

        (tmp_path / "out.npz").mkdir()
        with pytest.raises(hive.DataError, match="is a folder"):
            hive.write_vectors(tmp_path / "out.npz", description(), work())

    def test_other_files_are_refused(self, tmp_path) -> None:
        with pytest.raises(hive.ConfigError, match=r"\.npz or \.parquet"):
            hive.write_vectors(tmp_path / "out.txt", description(), [])
        for name in ("text.npz", "text.parquet"):
            (tmp_path / name).write_text("text")
            with pytest.raises(hive.DataError, match="not a file of embeddings"):
                hive.read_vectors(tmp_path / name)
            with pytest.raises(hive.DataError, match="not a file of embeddings"):
                hive.read_vectors(tmp_path / f"no-{name}")

    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_no_changed_byte_is_more_than_a_line(self, tmp_path, save) -> None:
        path = tmp_path / "out.npz"
        save(path, a=np.arange(8.0))
        content = path.read_bytes()
        refusals = []
        for place in range(len(content)):
            changed = bytearray(content)
            changed[place] ^= 0x18
            path.write_bytes(changed)
            try:
                hive.read_vectors(path)
            except hive.DataError as error:
                refusals.append(str(error))
        assert len(refusals) > len(content) // 3
        assert all(len(line.splitlines()) == 1 for line in refusals)


def test_bytes_and_open_files_can_be_embedded_together(model) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, voice(1), RATE, format="WAV")
    first, second = model.embed_many([buffer.getvalue(), buffer])
    assert closeness(first.vector, second.vector) > 1 - 1e-6


class Shared(io.BytesIO):
    """A recording of several voices, open; whoever reads it gives way to other threads."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        voices = np.concatenate([voice(seconds / 4, seed) for seed in range(4)])
        soundfile.write(self, voices, RATE, format="WAV")

    def readinto(self, buffer) -> int:
        time.sleep(1e-5)
        return super().readinto(buffer)


@pytest.mark.parametrize("seconds", [2.0, 130.0])  # whole, and in pieces
def test_an_open_file_that_is_given_again_and_again_is_read_each_time(
    model, monkeypatch, seconds
) -> None:
    monkeypatch.setattr("hive_mtl.use.recordings.cores", lambda: 4)
    file, other = Shared(seconds), (voice(1, seed=5), RATE)
    expected = model.embed(file.getvalue()).vector
    results = model.embed_many([other, *[file] * 6, other, file])
    for result in (*results[1:7], results[8]):
        assert closeness(result.vector, expected) > 1 - 1e-6


def test_a_stream_of_one_open_file_can_be_left(model) -> None:
    file = Shared(130)
    results = model.embed_stream([file] * 8)
    next(results)
    results.close()
    assert model.embed(file).duration_s == pytest.approx(130)


def _python(script: str, *arguments: object) -> str:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
