"""What a trained model says about itself.

The learning wing writes a :class:`ModelDescription` into every ONNX file (as the metadata entry
``hive_mtl``) and, as ``model.json``, beside every checkpoint; the using wing reads it back. It is
the only thing that the two wings share about a model.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat

ONNX_METADATA_KEY = "hive_mtl"
ONNX_COHORT_KEY = "hive_mtl_cohort"  # see hive_mtl.use.normalising
ONNX_INPUTS = ("waves", "lengths")  # (batch, samples) float32 and (batch,) int64, in samples
Trim = Literal["speech", "loudest"]  # see hive_mtl.audio.trim
ONNX_EMBEDDING = "embedding"  # (batch, dim) float32, unit norm; every head is an output of its name

Feature = Literal["score", "log_shorter", "log_longer", "lower_snr", "higher_snr"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HeadDescription(_Frozen):
    """One task head as the outside sees it.

    ``kind`` says how the ONNX output named ``task`` is read:

    - ``classes``: ``(batch, len(classes))`` probabilities that sum to one.
    - ``ordinal``: ``(batch, len(thresholds))`` probabilities that the quantity (in ``unit``)
      exceeds each of the rising ``thresholds``; ``low`` and ``high`` bound the quantity.

    ``temperature`` divides the log-odds of those probabilities (Guo et al., 2017); it is fitted on
    validation voices. ``withheld`` says why the head is not to be asked; empty where it may be.
    """

    task: str
    kind: Literal["classes", "ordinal"]
    classes: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = ()
    low: float = 0.0
    high: float = 0.0
    unit: str = ""
    temperature: float = 1.0
    withheld: str = ""


class Calibration(_Frozen):
    """What a score says, given the quality of both sides; fitted on voices not learnt from.

    ``log-likelihood ratio = intercept + sum of weight * feature``, natural logarithm, for 'same
    voice' against 'different voices'; the features are those of :mod:`hive_mtl.calibration`, and
    one that has no weight counts nothing. ``thresholds`` maps a false-alarm rate ("0.1", "0.01",
    "0.001") to the log-likelihood ratio at which it is reached. The score is the cosine of two
    embeddings or, if ``normalised``, what :mod:`hive_mtl.use.normalising` makes of it.
    """

    weights: dict[Feature, FiniteFloat]
    intercept: FiniteFloat
    thresholds: dict[str, FiniteFloat]
    normalised: bool = False


class DataSummary(_Frozen):
    """What one training corpus contributed."""

    corpus: str
    speakers: int
    utterances: int
    hours: float
    licences: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


class ModelDescription(_Frozen):
    """Everything needed to run a model and to say where it came from."""

    format: Literal[3] = 3
    name: str
    model_id: str  # name + digest of the weights: written into every file of embeddings
    provisional: bool = False
    sample_rate: int
    trim: Trim = "speech"
    embedding_dim: int
    leading: int | None = None  # of its first numbers bits are made; None: of all
    trunk: str
    parameters: int  # without the speaker classifier
    heads: tuple[HeadDescription, ...]
    calibration: Calibration | None = None
    data: tuple[DataSummary, ...] = ()
    git_revision: str = "unknown"
    created: str  # ISO 8601, UTC

    def head(self, task: str) -> HeadDescription | None:
        """The head that answers ``task``, or None where the model has none."""
        return next((head for head in self.heads if head.task == task), None)
