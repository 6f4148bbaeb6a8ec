"""Linear probes: what can be read from an embedding that does not change any more.

A probe learns from the training voices; its regularisation is chosen there too, over folds that
share no voice.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hive_mtl.errors import DataError

FOLDS = 3
CLASS_STRENGTHS = (0.001, 0.01, 0.1, 1.0)
QUANTITY_STRENGTHS = (1.0, 10.0, 100.0, 1_000.0, 10_000.0)

Vectors = npt.NDArray[np.float32]
Voices = npt.NDArray[np.int64]


def class_probe(vectors: Vectors, labels: npt.NDArray[Any], voice: Voices) -> GridSearchCV:
    """Logistic regression, classes weighing alike, fitted; ``predict`` takes ``(n, dim)``.

    Args:
        vectors: ``(utterances, dim)``.
        labels: ``(utterances,)`` text.
        voice: ``(utterances,)`` a number for each speaker.

    Raises:
        DataError: a single voice, or too few voices of each class to choose over folds.
    """
    regression = LogisticRegression(class_weight="balanced", max_iter=2000)
    search = {"logisticregression__C": CLASS_STRENGTHS}
    folds = StratifiedGroupKFold(_folds(voice)).split(vectors, labels, voice)
    # where a class has few voices, a fold may leave a single class to learn from
    usable = [fold for fold in folds if len(np.unique(labels[fold[0]])) > 1]
    if not usable:
        raise DataError(
            "a probe is chosen over folds of voices, and each of them leaves a single class to "
            "learn from: label more voices of each class"
        )
    return _probe(regression, search, "balanced_accuracy", usable).fit(vectors, labels)


def quantity_probe(vectors: Vectors, values: npt.NDArray[Any], voice: Voices) -> GridSearchCV:
    """Ridge regression of ``values`` ``(utterances,)``; otherwise as :func:`class_probe`."""
    search = {"ridge__alpha": QUANTITY_STRENGTHS}
    folds = GroupKFold(_folds(voice))
    probe = _probe(Ridge(), search, "neg_mean_absolute_error", folds)
    return probe.fit(vectors, values, groups=voice)


def _folds(voice: Voices) -> int:
    voices = len(np.unique(voice))
    if voices < 2:
        raise DataError(f"a probe learns from two voices or more, and here is {voices}: label more")
    return min(FOLDS, voices)


def _probe(model: Any, search: dict[str, Any], scoring: str, folds: Any) -> GridSearchCV:
    standardised = make_pipeline(StandardScaler(), model)
    return GridSearchCV(standardised, search, scoring=scoring, cv=folds)
