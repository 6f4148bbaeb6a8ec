"""Trials: which utterance is compared with which, and whether one voice said both."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hive_mtl.errors import DataError

MAX_PAIRS = 5_000_000  # target pairs, and as many non-target pairs: some 100 MB each
UNKNOWN = -1
_KALDI_LABELS = {"target": True, "nontarget": False}
_VOXCELEB_LABELS = {"1": True, "0": False}
_TRIALS_AT_ONCE = 65_536

Indices = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Trials:
    """Pairs of utterances, as indices into the list of utterances they were made from.

    Attributes:
        left: ``(trials,)``.
        right: ``(trials,)``.
        target: ``(trials,)`` True where one speaker said both.
        sampled: True where there were too many pairs and these are a sample of them.
        across_sessions: True where target pairs are only those across two sessions.
    """

    left: Indices
    right: Indices
    target: Bools
    sampled: bool = False
    across_sessions: bool = False

    def __len__(self) -> int:
        return len(self.target)

    def select(self, keep: Bools) -> "Trials":
        """The trials where ``keep``, ``(trials,)``, is True."""
        return replace(self, left=self.left[keep], right=self.right[keep], target=self.target[keep])


@dataclass(frozen=True, slots=True)
class Pair:
    """One line of a trial list.

    Attributes:
        left: the name of an utterance, as it stands in the list.
        right: of another one.
        target: whether one speaker said both.
        place: of the line, for messages.
    """

    left: str
    right: str
    target: bool
    place: str


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a list with lines ``1 a.wav b.wav`` (VoxCeleb) or ``a b target`` (Kaldi).

    Between tabs a name may hold spaces.

    Raises:
        DataError: the list cannot be read, is empty, or a line is of neither form.
    """
    form = "give lines such as '1 a.wav b.wav' or 'a b target|nontarget'"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read as a trial list ({error.strerror}): {form}"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: cannot be read as a trial list (not text in UTF-8): {form}"
        ) from error
    pairs = [
        _pair(words, f"{path}, line {number}")
        for number, line in enumerate(text.splitlines(), 1)
        if (words := _words(line))
    ]
    if not pairs:
        raise DataError(f"{path}: no trials: {form}")
    return pairs


def _words(line: str) -> list[str]:
    between_tabs = [word.strip() for word in line.split("\t")]
    return between_tabs if len(between_tabs) == 3 and all(between_tabs) else line.split()


def all_pairs(
    speakers: Sequence[str],
    *,
    sessions: Sequence[str | None] | None = None,
    genders: Sequence[str | None] | None = None,
    max_pairs: int = MAX_PAIRS,
) -> Trials:
    """Every pair of different utterances, or a fixed sample where they are too many to score.

    Args:
        speakers: who speaks, one per utterance.
        sessions: where they are known and a speaker has two (:func:`crosses_sessions`), target
            pairs are only those across two known, different sessions.
        genders: if given, only pairs of known, equal gender are made ("within gender").
        max_pairs: where there are more than twice as many target (or non-target) candidates, a
            uniform sample of at most ``max_pairs`` of that kind is drawn, always the same one.
    """
    speaker = _codes(speakers)
    gender = _codes(genders) if genders is not None else np.zeros_like(speaker)
    session = None
    if sessions is not None and crosses_sessions(speakers, sessions):
        session = _codes(sessions)

    left, right, targets_sampled = _pairs_within(speaker, max_pairs)
    kept = (gender[left] == gender[right]) & (gender[left] != UNKNOWN)
    if session is not None:
        kept &= (session[left] != session[right]) & (session[left] != UNKNOWN)
        kept &= session[right] != UNKNOWN
    targets = left[kept], right[kept]

    left, right, nontargets_sampled = _pairs_within(gender, max_pairs)
    kept = speaker[left] != speaker[right]
    nontargets = left[kept], right[kept]
    return Trials(
        left=np.concatenate([targets[0], nontargets[0]]),
        right=np.concatenate([targets[1], nontargets[1]]),
        target=np.repeat([True, False], [len(targets[0]), len(nontargets[0])]),
        sampled=targets_sampled or nontargets_sampled,
        across_sessions=session is not None,
    )


def crosses_sessions(speakers: Sequence[str | None], sessions: Sequence[str | None]) -> bool:
    """Whether one of these speakers has two sessions, so that each is compared across them.

    Pairs of one session share its channel: they would tell how well channels are known again.
    """
    known = {pair for pair in zip(speakers, sessions, strict=True) if pair[1] is not None}
    return len(known) > len({speaker for speaker, _ in known})


def cosines(
    vectors: npt.NDArray[np.float32],
    trials: Trials,
    others: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float64]:
    """The score of each trial ``(trials,)``, in [-1, 1].

    Worked out in pieces: the vectors of millions of trials at once would fill the memory.

    Args:
        vectors: ``(utterances, dim)`` of unit norm.
        trials: pairs of these utterances.
        others: ``(utterances, dim)`` of the right sides, where they are heard in another way.
    """
    others = vectors if others is None else others
    scores = np.empty(len(trials))
    for start in range(0, len(trials), _TRIALS_AT_ONCE):
        part = slice(start, start + _TRIALS_AT_ONCE)
        left, right = vectors[trials.left[part]], others[trials.right[part]]
        scores[part] = np.einsum("td,td->t", left, right)
    return np.clip(scores, -1.0, 1.0)


def _pair(words: list[str], place: str) -> Pair:
    if len(words) == 3 and words[2] in _KALDI_LABELS:
        return Pair(words[0], words[1], _KALDI_LABELS[words[2]], place)
    if len(words) == 3 and words[0] in _VOXCELEB_LABELS:
        return Pair(words[1], words[2], _VOXCELEB_LABELS[words[0]], place)
    raise DataError(
        f"{place}: '{' '.join(words)}' is no trial: write '1 a.wav b.wav' or 'a b target|nontarget'"
    )


def _codes(names: Sequence[str | None]) -> Indices:
    """Equal whole numbers for equal names, :data:`UNKNOWN` for None: ``(utterances,)``."""
    number: dict[str | None, int] = {None: UNKNOWN}
    return np.array([number.setdefault(name, len(number)) for name in names], dtype=np.int64)


def _pairs_within(groups: Indices, max_pairs: int) -> tuple[Indices, Indices, bool]:
    """The pairs of utterances of one known group, left below right, and whether they are sampled.

    Pairs are numbered group by group, in a group by the rows of a triangle: pair ``r`` of a group
    joins its members ``i < j`` with ``r = j (j - 1) / 2 + i``. So no pair is made that is not
    asked for, however many there are.
    """
    order = np.argsort(groups, kind="stable")
    order = order[groups[order] != UNKNOWN]
    _, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    ends = np.cumsum(sizes * (sizes - 1) // 2)
    total = int(ends[-1]) if len(ends) else 0
    sampled = total > 2 * max_pairs
    if sampled:
        pairs = np.random.default_rng(0).integers(total, size=max_pairs)
        pairs = np.unique(pairs)
    else:
        pairs = np.arange(total)
    group = np.searchsorted(ends, pairs, side="right")
    within = pairs - (ends - sizes * (sizes - 1) // 2)[group]
    j = ((1 + np.sqrt(1 + 8 * within)) // 2).astype(np.int64)
    i = within - j * (j - 1) // 2
    # the stable sort keeps the members of a group in their order, so i < j means left < right
    return order[starts[group] + i], order[starts[group] + j], sampled
