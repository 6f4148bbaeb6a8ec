"""A trained model, ready to use."""

import os
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
import numpy.typing as npt

from hive_mtl.audio import Source, is_folder
from hive_mtl.cores import cores
from hive_mtl.description import Calibration, ModelDescription
from hive_mtl.errors import AudioError, ConfigError, EmbeddingError, ModelError
from hive_mtl.use import hub, stored_calibration
from hive_mtl.use.attributes import Answer, attributes
from hive_mtl.use.cluster import Clustering, cluster
from hive_mtl.use.diarize import Diarization, diarize
from hive_mtl.use.embedding import Embedding, WindowedEmbeddings
from hive_mtl.use.engine import Engine
from hive_mtl.use.find import FALSE_ALARM as FIND_FALSE_ALARM
from hive_mtl.use.find import Search, find
from hive_mtl.use.network import Network
from hive_mtl.use.progress import with_progress
from hive_mtl.use.recordings import listed, pool_pieces, read_pieces
from hive_mtl.use.scoring import Voice
from hive_mtl.use.verify import FALSE_ALARM, PRIOR, Side, Verdict, verify
from hive_mtl.use.windows import embed_windows

if TYPE_CHECKING:
    from hive_mtl.use.recognising import Known


def load(
    path: str | os.PathLike[str] | None = None,
    *,
    threads: int | None = None,
    device: str = "cpu",
    calibration: str | os.PathLike[str] | None = None,
) -> "Model":
    """Loads a model.

    Args:
        path: an ``.onnx`` file, or a run folder that holds ``model.onnx``; text of the form
            "org/name" that is no path here is a model on the Hugging Face Hub; None is the model
            that ships with the package.
        threads: batches that the network works on at the same time, each on one core; None is one
            for every core of this machine.
        device: "cpu", or "cuda" where the package onnxruntime-gpu is installed.
        calibration: a file that ``hive-mtl calibrate`` wrote; None is the one that it keeps for
            this model, where there is one, else the model's own.

    Raises:
        ConfigError: ``threads`` or ``device`` is not possible here.
        MissingExtraError: a model on the Hub, and ``huggingface_hub`` is not installed.
        ModelError: there is no model, or it is broken, changed, foreign or of another format; or
            the calibration is damaged or for another model.
    """
    network = Network(_model_file(path), device)
    own = network.description
    in_force = stored_calibration.find(network.path, own.model_id, calibration) or own.calibration
    return Model(network, threads, in_force)


def load_as_exported(
    path: str | os.PathLike[str] | None = None, *, threads: int | None = None, device: str = "cpu"
) -> "Model":
    """Likewise, whatever calibration is kept for the model: it may be what is to be made anew."""
    network = Network(_model_file(path), device)
    return Model(network, threads, network.description.calibration)


class Model:
    """Embeds voices, compares them and answers questions about them.

    Made by :func:`load`. May be used from several threads at once, in child processes after a fork,
    and pickled (it is then loaded again from its file).
    """

    def __init__(
        self, network: Network, threads: int | None, calibration: Calibration | None
    ) -> None:
        self._network, self._threads, self._calibration = network, threads, calibration
        self._engine = Engine(network, cores() if threads is None else threads)

    def __reduce__(self) -> tuple[object, ...]:
        network = self._network
        return _reload, (network.path, network.device, self._threads, self._calibration)

    @property
    def description(self) -> ModelDescription:
        """What the model says about itself: its tasks, its data, where it came from."""
        return self._network.description

    @property
    def file(self) -> Path:
        """The ONNX file that it was loaded from."""
        return self._network.path

    @property
    def calibration(self) -> Calibration | None:
        """How its scores are read: by ``description.calibration``, or what was put in its place.

        None where the model has no calibration, so that scores have no threshold or probability.
        """
        return self._calibration

    @property
    def cohort(self) -> npt.NDArray[np.float32] | None:
        """Voices by which scores may be normalised, ``(voices, dim)``; None where it has none."""
        return self._network.cohort

    @overload
    def embed(self, source: Source) -> Embedding: ...

    @overload
    def embed(
        self, source: Source, *, window_s: float, hop_s: float | None = None
    ) -> WindowedEmbeddings: ...

    def embed(
        self, source: Source, *, window_s: float | None = None, hop_s: float | None = None
    ) -> Embedding | WindowedEmbeddings:
        """Embeds one recording: as a whole, or in sliding windows if ``window_s`` is given.

        A recording of more than a minute is read in bounded memory: the whole is then the mean of
        its minutes by the speech in each.

        Args:
            source: path, bytes, open file, :class:`Segment` or ``(samples, sample_rate)``.
            window_s: length of a window in seconds.
            hop_s: from window to window in seconds; None is ``window_s``.

        Raises:
            AudioError: the recording cannot be read, is silent, or shorter than 25 ms.
            ConfigError: ``window_s`` and ``hop_s`` do not go together.
        """
        if window_s is not None:
            hop_s = window_s if hop_s is None else hop_s
            return embed_windows(
                self._engine,
                source,
                window_s=window_s,
                hop_s=hop_s,
                model_id=self.description.model_id,
            )
        if hop_s is not None:
            raise ConfigError(f"hop_s {hop_s:g}: means nothing without window_s: give both")
        (result,) = self.embed_stream([source])
        if isinstance(result, EmbeddingError):
            raise AudioError(str(result))
        return result

    def embed_many(
        self, sources: Iterable[Source], *, progress: bool = False
    ) -> list[Embedding | EmbeddingError]:
        """Embeds many recordings; one that fails leaves its :class:`EmbeddingError` in its place.

        Args:
            sources: recordings as for :meth:`embed`.
            progress: whether to show a bar with the time left, on standard error, where that is a
                terminal or a notebook.
        """
        recordings = listed(sources)
        results = self.embed_stream(recordings)
        return list(with_progress(results, len(recordings)) if progress else results)

    def embed_stream(self, sources: Iterable[Source]) -> Iterator[Embedding | EmbeddingError]:
        """Embeds any number of recordings in bounded memory; results come in the order given.

        Recordings are taken ahead of the results, at most about ten minutes of speech.
        """
        pieces = self._engine.run(read_pieces(sources, self.description.trim))
        for _, recording in groupby(pieces, key=lambda item: item[0].recording):
            yield pool_pieces(list(recording), self.description.model_id)

    def verify(
        self, a: Side, b: Side, *, false_alarm: float = FALSE_ALARM, prior: float = PRIOR
    ) -> Verdict:
        """Tells whether two sides are the same voice; not a proof of identity, no anti-spoofing.

        Args:
            a: a recording as for :meth:`embed`, its :class:`Embedding`, or several of one voice.
            b: likewise.
            false_alarm: the share of pairs of different voices that is meant to pass for the same:
                0.1, 0.01 or 0.001. Of recordings unlike those of the calibration more may pass.
            prior: probability of 'same voice' before anything is heard; moves the probability, not
                the decision.

        Raises:
            AudioError: a recording fails, or a side has less than a second of speech, or noise
                swallows it.
            ConfigError: the model is not calibrated for ``false_alarm``, or ``prior`` is none.
            ModelError: the model is not calibrated at all, or an embedding is of another.
        """
        return verify(self, a, b, false_alarm=false_alarm, prior=prior)

    def attributes(self, source: Source) -> dict[str, Answer]:
        """Asks the task heads about the voice in a recording.

        Returns:
            By task ("gender", "age" ...), its answer. A head without skill on voices that it has
            not met is not asked: ``description.head(task).withheld`` says why.

        Raises:
            AudioError: the recording cannot be read, or does not hold enough speech.
        """
        return attributes(self, source)

    def cluster(
        self, sources: Iterable[Source], *, voices: int | None = None, progress: bool = False
    ) -> Clustering:
        """Groups recordings by voice.

        A recording that cannot be read, or does not hold enough speech, is named and not guessed.

        Args:
            sources: recordings as for :meth:`embed`, each of one voice; at most 15,000.
            voices: how many there are; None if that is not known.
            progress: whether to show a bar, as in :meth:`embed_many`.

        Raises:
            ConfigError: there are fewer recordings than ``voices``.
            DataError: fewer than two recordings or ``voices`` have speech, or there are too many.
            MissingExtraError: scikit-learn is not installed.
            ModelError: the model has no calibration, and ``voices`` is not given.
        """
        return cluster(self, sources, voices=voices, progress=progress)

    def find(
        self,
        voice: Side | Voice,
        archive: str | os.PathLike[str],
        *,
        index: str | os.PathLike[str] | None = None,
        false_alarm: float = FIND_FALSE_ALARM,
        progress: bool = False,
    ) -> Search:
        """Finds where in a folder of long recordings a voice speaks.

        The recordings are embedded once and kept in an index; what is new or has changed is
        embedded when it is next searched. Indexing that is stopped goes on where it was.

        Args:
            voice: a recording as for :meth:`embed`, or a list of recordings of one voice.
            archive: a folder of recordings, at any depth.
            index: the folder of the index, which is of this archive alone; None is
                ``.hive-mtl-index`` in the archive or, where that cannot be written, a folder of the
                user's cache.
            false_alarm: about this share of two-second windows of other voices is to pass: 0.1,
                0.01 or 0.001, so that more hours hold more false alarms; 0.001 is two or three in
                an hour of speech.
            progress: whether to show a bar, as in :meth:`embed_many`.

        Raises:
            AudioError: a recording of the voice fails, has too little speech, or noise swallows it.
            ConfigError: the model is not calibrated for ``false_alarm``.
            DataError: there are no recordings in the archive, or its index cannot be used.
            ModelError: the model is not calibrated, or the index is of another model.
        """
        return find(self, voice, archive, index=index, false_alarm=false_alarm, progress=progress)

    def diarize(
        self, source: Source, *, voices: int | None = None, known: "Known | None" = None
    ) -> Diarization:
        """Tells who speaks when; the recording may be hours long and is read in bounded memory.

        Of voices that speak at the same time, one is heard.

        Args:
            source: a recording as for :meth:`embed`.
            voices: how many speak; None if that is not known, and up to ten are then told apart.
            known: voices by name (see :meth:`hive_mtl.Voices.diarize` for a store of them). Those
                that are heard get their names, the others are 'unknown 1' and so on; without it,
                all are 'speaker 1' and so on.

        Raises:
            AudioError: the recording cannot be read, or has less than a second of speech.
            ConfigError: ``voices`` is less than 1.
            MissingExtraError: SciPy is not installed.
            ModelError: ``known`` is given, and the model is not calibrated.
        """
        return diarize(self, self._engine, source, voices, known)


def _model_file(path: str | os.PathLike[str] | None) -> Path:
    if isinstance(path, str) and hub.is_name(path):
        return hub.fetch(path)
    if path is not None:
        given = Path(path).absolute()  # children and copies load it again, maybe from elsewhere
        return given / "model.onnx" if is_folder(given) else given
    shipped = stored_calibration.shipped_model()
    if not shipped.is_file():
        raise ModelError("this installation ships no model: give the path of a trained one")
    return shipped


def _reload(path: Path, device: str, threads: int | None, calibration: Calibration | None) -> Model:
    return Model(Network(path, device), threads, calibration)
