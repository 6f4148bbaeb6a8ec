"""What do scores mean on these recordings? The model's own calibration, moved to a user's pairs."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hive_mtl import metrics
from hive_mtl.calibration import Sides, balanced_weights, fit_weights, line
from hive_mtl.description import Calibration
from hive_mtl.errors import DataError, EmbeddingError
from hive_mtl.metrics import FALSE_ALARM_RATES, Bools, Float64s, Indices
from hive_mtl.trials import Pair, Trials, cosines
from hive_mtl.use.embedding import Embedding, answerable
from hive_mtl.use.normalising import adaptive_s_norm, cohort_level

if TYPE_CHECKING:
    from hive_mtl.use.model import Model

LEAST_PAIRS = 20  # of each kind, to move and stretch log-likelihood ratios by
_COUNTED_ERRORS = 30  # false alarms that make a rate known to a third: Doddington's rule of 30
_FOLDS = 5
_UNCALIBRATED = Calibration(weights={"score": 1.0}, intercept=0.0, thresholds={})


@dataclass(frozen=True)
class Recalibration:
    """A calibration fitted to pairs of recordings, and what was found on the way.

    Attributes:
        calibration: for these recordings.
        recordings: that the pairs are of.
        targets: pairs of one voice.
        nontargets: pairs of two voices.
        failed: by its name in the list, why a recording told nothing; its pairs are left out.
        eer: of the scores, a fraction.
        cllr_before: in bits, by the calibration that the model was loaded with; None without one.
            One that had been fitted to these pairs would look better than it is.
        cllr_after: in bits, by the new one.
        cross_validated: whether ``cllr_after`` is of pairs whose voices the fit had not met; the
            voices may be too few for that.
        estimated: the false-alarm rates whose thresholds are read off a normal distribution,
            because the pairs of two voices are too few to count such errors.
    """

    calibration: Calibration
    recordings: int
    targets: int
    nontargets: int
    failed: Mapping[str, str]
    eer: float
    cllr_before: float | None
    cllr_after: float
    cross_validated: bool
    estimated: tuple[str, ...]

    @property
    def is_worse(self) -> bool:
        """Whether it reads pairs that it has not met worse than what the model had."""
        before = self.cllr_before
        return self.cross_validated and before is not None and self.cllr_after > before


@dataclass(frozen=True)
class _Heard:
    """The pairs whose recordings tell something, with their scores and sides."""

    trials: Trials
    score: Float64s
    left: Sides
    right: Sides
    recordings: int

    def llr(self, calibration: Calibration) -> Float64s:
        return line(calibration, self.left, self.right).llr(self.score)


def calibrate(model: "Model", pairs: Sequence[Pair], folder: Path) -> Recalibration:
    """Moves and stretches the model's own log-likelihood ratios to fit pairs of recordings.

    Two parameters, ``llr' = a * llr + b``: few pairs do for them, and what long and clean sides are
    worth stays as many more voices taught it.

    Args:
        model: whose scores are to be read.
        pairs: by names of recordings.
        folder: where names are looked for, before the working folder.

    Raises:
        DataError: there are too few pairs of a kind, one is of a recording with itself, or they
            contradict each other or the scores.
    """
    pairs = _distinct(pairs)
    embedded, failed = _embed(model, pairs, folder)
    own = model.description.calibration or _UNCALIBRATED
    heard = _listen(pairs, embedded, model.cohort if own.normalised else None)
    _check(heard, failed)
    target = heard.trials.target
    llr = heard.llr(own)
    eer = metrics.eer(llr, target)
    if eer >= 0.5:
        raise DataError(
            f"pairs: those of one voice score no higher than others (EER {eer:.0%}): check that "
            "1 or target stands with pairs of one voice"
        )
    scale, shift = _fit(llr, target)
    fitted = scale * llr + shift
    judged = _cross_validated(llr, heard.trials)
    thresholds, estimated = _thresholds(fitted, target)
    return Recalibration(
        calibration=Calibration(
            weights={name: scale * weight for name, weight in own.weights.items()},
            intercept=scale * own.intercept + shift,
            thresholds=thresholds,
            normalised=own.normalised,
        ),
        recordings=heard.recordings,
        targets=int(target.sum()),
        nontargets=int((~target).sum()),
        failed=failed,
        eer=eer,
        cllr_before=None
        if model.calibration is None
        else metrics.cllr(heard.llr(model.calibration), target),
        cllr_after=metrics.cllr(fitted if judged is None else judged, target),
        cross_validated=judged is not None,
        estimated=estimated,
    )


def _distinct(pairs: Sequence[Pair]) -> list[Pair]:
    """Each pair once: what is said twice is no more known for it."""
    found: dict[frozenset[str], Pair] = {}
    for pair in pairs:
        if pair.left == pair.right:
            raise DataError(
                f"{pair.place}: {pair.left} beside itself tells nothing: give two recordings"
            )
        first = found.setdefault(frozenset((pair.left, pair.right)), pair)
        if first.target != pair.target:
            raise DataError(
                f"{pair.place}: says the opposite of {first.place} about {pair.left} and "
                f"{pair.right}: correct one of them"
            )
    return list(found.values())


def _embed(
    model: "Model", pairs: Sequence[Pair], folder: Path
) -> tuple[dict[str, Embedding], dict[str, str]]:
    """What every recording of the pairs gives, by its name, and why others give nothing."""
    names = list(dict.fromkeys(name for pair in pairs for name in (pair.left, pair.right)))
    embedded: dict[str, Embedding] = {}
    failed: dict[str, str] = {}
    results = model.embed_stream(_located(name, folder) for name in names)
    for name, result in zip(names, results, strict=True):
        answer = answerable(name, result)
        if isinstance(answer, EmbeddingError):
            failed[name] = answer.reason
        else:
            embedded[name] = answer
    return embedded, failed


def _located(name: str, folder: Path) -> Path:
    beside_list = folder / name
    # those of Path raise where a name is too long
    here = os.path.exists(name) and not os.path.exists(beside_list)  # noqa: PTH110
    return Path(name) if here else beside_list


def _listen(
    pairs: Sequence[Pair],
    embedded: Mapping[str, Embedding],
    cohort: npt.NDArray[np.float32] | None,
) -> _Heard:
    """``cohort`` ``(voices, dim)`` normalises the scores; None leaves them cosines."""
    heard = [pair for pair in pairs if pair.left in embedded and pair.right in embedded]
    row = {name: number for number, name in enumerate(embedded)}
    trials = Trials(
        left=np.array([row[pair.left] for pair in heard], np.int64),
        right=np.array([row[pair.right] for pair in heard], np.int64),
        target=np.array([pair.target for pair in heard], np.bool_),
    )
    vectors = np.array([each.vector for each in embedded.values()], np.float32)
    score = cosines(vectors, trials)
    if cohort is not None and len(trials):
        level = cohort_level(vectors, cohort)
        score = adaptive_s_norm(score, level[trials.left], level[trials.right])
    speech_s = np.array([each.speech_seconds for each in embedded.values()])
    snr_db = np.array([each.snr_db for each in embedded.values()])
    return _Heard(
        trials=trials,
        score=score,
        left=Sides(speech_s[trials.left], snr_db[trials.left]),
        right=Sides(speech_s[trials.right], snr_db[trials.right]),
        recordings=len(embedded),
    )


def _check(heard: _Heard, failed: Mapping[str, str]) -> None:
    targets = int(heard.trials.target.sum())
    nontargets = len(heard.trials) - targets
    if min(targets, nontargets) >= LEAST_PAIRS:
        return
    name, reason = next(iter(failed.items()), ("", ""))
    without = f" without {len(failed)} recordings such as {name}: {reason}" if failed else ""
    raise DataError(
        f"pairs: {targets} of one voice and {nontargets} of two{without}: give {LEAST_PAIRS} of "
        "each kind or more"
    )


def _fit(llr: Float64s, target: Bools) -> tuple[float, float]:
    """The ``a`` above 0 and the ``b`` of ``a * llr + b``."""
    weights, intercept = fit_weights({"score": llr}, target, balanced_weights(target))
    return weights["score"], intercept


def _cross_validated(llr: Float64s, trials: Trials) -> Float64s | None:
    """Log-likelihood ratios by fits that have not met the voices of the pair; None if too few.

    Voices are dealt into folds; a pair is read by what the pairs without its folds teach.
    """
    fold = _voices(trials) % _FOLDS
    left, right = fold[trials.left], fold[trials.right]
    judged = np.full(len(trials), np.nan)
    for a, b in combinations_with_replacement(range(_FOLDS), 2):
        apart = ~np.isin(left, (a, b)) & ~np.isin(right, (a, b))
        asked = ((left == a) & (right == b)) | ((left == b) & (right == a))
        known = trials.target[apart]
        if not asked.any():
            continue
        if min(known.sum(), (~known).sum()) < LEAST_PAIRS // 2:
            return None
        scale, shift = _fit(llr[apart], known)
        judged[asked] = scale * llr[asked] + shift
    return judged


def _voices(trials: Trials) -> Indices:
    """A number for the voice of each recording: those that pairs of one voice join are one."""
    voice = np.arange(1 + max(trials.left.max(), trials.right.max()))
    for left, right in zip(trials.left[trials.target], trials.right[trials.target], strict=True):
        voice[voice == voice[right]] = voice[left]
    return np.unique(voice, return_inverse=True)[1]


def _thresholds(llr: Float64s, target: Bools) -> tuple[dict[str, float], tuple[str, ...]]:
    """By false-alarm rate: counted where there are pairs enough, else of a normal distribution."""
    others = llr[~target]
    normal = NormalDist(float(others.mean()), float(others.std(ddof=1)))
    thresholds: dict[str, float] = {}
    estimated = []
    for rate in FALSE_ALARM_RATES:  # falling
        if len(others) * float(rate) >= _COUNTED_ERRORS:
            found = metrics.threshold_at_false_alarm(llr, target, float(rate))
        else:
            found = normal.inv_cdf(1 - float(rate)) if normal.stdev else normal.mean
            estimated.append(rate)
        thresholds[rate] = max([found, *thresholds.values()])
    return thresholds, tuple(estimated)
