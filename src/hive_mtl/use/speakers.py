"""Who speaks in each hop of speech: clustering, its refinement, and how many voices there are.

Vectors of windows are grouped by Ward's method (Ward, 1963) around the mean of the recording, which
takes the room out of them. Then each hop is given to the voice whose mean its vector is nearest to,
where changes of voice are rare (Viterbi, 1967), and the means are taken anew.

How many voices there are is the number with the highest evidence, of those whose voices are all
distinct, in a two-covariance model (Brummer and de Villiers, The speaker partitioning problem,
Odyssey 2010): observations scatter around their voice, and voices around the recording's mean, both
with a variance of ``NOISE / dim`` in each coordinate. Where the ``n`` observations of a voice, less
the recording's mean, have the sum ``s``, the voices, wherever they may lie, are more likely than a
single one at that mean by

    dim / 2 * (sum over voices of |s|^2 / NOISE / (1 + n) - log(1 + n)),    in logarithms.
"""

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from hive_mtl.errors import MissingExtraError
from hive_mtl.use.grouping import by_first_appearance

# Chosen on dialogues of validation voices; values near by are as good.
NOISE = 0.65  # of the unit square of a window's vector, what neither voice nor room explains
WORTH = 0.1  # of a hop, in observations: windows overlap, and what is said changes slowly
ALIKE = 0.75  # at which two voices are one, where 1 is as alike as their own windows
SHARPNESS = 6.0  # log-likelihood of a hop by the cosine with the mean of a voice
CHANGE = 5.0  # what a change of voice costs
CHANGE_PAUSE_S = 1.0  # of silence makes a change of voice e times as cheap

MOST_VOICES = 10  # that are looked for where the number is not known
VOICE_S = 2.5  # seconds of speech that there are for each voice, on average, or more
MOST_GROUPED = 3_000  # hops, evenly chosen, that are clustered: their distances are 36 MB
_ROUNDS = 3  # of refinement

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Hops:
    """Speech in short steps, in order.

    Attributes:
        start_s: ``(hops,)`` where each begins.
        end_s: ``(hops,)`` where it ends.
        vectors: ``(hops, dim)`` of unit norm, of the window around each.
        window_s: length of that window.
    """

    start_s: npt.NDArray[np.float64]
    end_s: npt.NDArray[np.float64]
    vectors: npt.NDArray[np.float32]
    window_s: float

    @property
    def speech_s(self) -> float:
        """Seconds of speech in all."""
        return float((self.end_s - self.start_s).sum())


def check_installed() -> None:
    """Lets pass where voices can be told apart.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    if find_spec("scipy") is None:
        raise MissingExtraError("telling who speaks when", "analysis")


def whose(hops: Hops, voices: int | None = None) -> Labels:
    """Who speaks in each hop ``(hops,)``, numbered from 0 by first appearance.

    Args:
        hops: one or more.
        voices: how many there are; fewer where there is not speech enough to tell them apart. None
            looks for up to :data:`MOST_VOICES`.
    """
    chosen = np.arange(0, len(hops.vectors), max(2, -(-len(hops.vectors) // MOST_GROUPED)))
    tree = _tree(_centred(hops.vectors[chosen]))
    if voices is not None:
        return by_first_appearance(_refined(hops, chosen, tree, voices))
    most = min(MOST_VOICES, len(chosen), max(1, int(hops.speech_s / VOICE_S)))
    best, highest = np.zeros(len(hops.vectors), np.int64), -np.inf
    for count in range(1, most + 1):
        labels = _refined(hops, chosen, tree, count)
        evidence = _evidence(hops, labels)
        if evidence > highest and _likeness(hops, chosen, labels) < ALIKE:
            best, highest = labels, evidence
    return by_first_appearance(best)


def means(vectors: npt.NDArray[np.float32], labels: Labels) -> npt.NDArray[np.float32]:
    """The mean of each voice's vectors, at unit norm: ``(voices, dim)``; or zeros."""
    sums = _membership(labels).T @ vectors
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = sums / np.maximum(norms, 1e-9)
    return unit


def _centred(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    around = vectors - vectors.mean(axis=0)
    norms = np.linalg.norm(around, axis=1, keepdims=True)
    centred: npt.NDArray[np.float32] = around / np.maximum(norms, 1e-9)
    return centred


def _tree(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64] | None:
    """The merges of Ward's method, as SciPy writes them; None for a single vector."""
    from scipy.cluster.hierarchy import linkage  # here: the base install has none

    tree: npt.NDArray[np.float64] | None = linkage(vectors, "ward") if len(vectors) > 1 else None
    return tree


def _refined(
    hops: Hops, chosen: npt.NDArray[np.int64], tree: npt.NDArray[np.float64] | None, voices: int
) -> Labels:
    """Who speaks in each hop, where the tree over the chosen ones is cut into so many groups."""
    labels = np.zeros(len(hops.vectors), np.int64)
    if tree is None or voices == 1:
        return labels
    from scipy.cluster.hierarchy import fcluster

    groups = fcluster(tree, voices, "maxclust").astype(np.int64)
    nearest = np.searchsorted(chosen, np.arange(len(labels)), side="right") - 1
    labels = groups[nearest]
    pauses = np.append(0.0, hops.start_s[1:] - hops.end_s[:-1])
    prices = CHANGE * np.exp(-np.maximum(pauses, 0.0) / CHANGE_PAUSE_S)
    centred = _centred(hops.vectors)
    for _ in range(_ROUNDS):
        cosines = centred @ means(centred, labels).T
        labels = _likeliest(SHARPNESS * cosines.astype(np.float64), prices)
    return labels


def _likeliest(scores: npt.NDArray[np.float64], prices: npt.NDArray[np.float64]) -> Labels:
    """The voices with the highest sum of ``scores`` ``(hops, voices)`` less the changes' prices."""
    stays = np.arange(scores.shape[1])
    came_from = np.empty(scores.shape, np.int64)
    total = np.zeros(scores.shape[1])
    for hop, price in enumerate(prices):
        leader = int(total.argmax())
        changed = total[leader] - price
        came_from[hop] = np.where(total >= changed, stays, leader)
        total = np.maximum(total, changed) + scores[hop]
    labels = np.empty(len(scores), np.int64)
    voice = int(total.argmax())
    for hop in range(len(scores) - 1, -1, -1):
        labels[hop] = voice
        voice = int(came_from[hop, voice])
    return labels


def _evidence(hops: Hops, labels: Labels) -> float:
    """How much more likely these voices are than one at the mean, in units of dim / 2."""
    member = _membership(labels)
    sums = WORTH * (member.T @ (hops.vectors - hops.vectors.mean(axis=0)))
    amounts = 1 + WORTH * member.sum(axis=0)
    return float((np.square(sums).sum(axis=1) / NOISE / amounts - np.log(amounts)).sum())


def _likeness(hops: Hops, chosen: npt.NDArray[np.int64], labels: Labels) -> float:
    """How alike the two voices are that are most alike; 1 is as alike as windows of one voice.

    By the mean cosines of windows that do not overlap, so that how many there are makes no
    difference.
    """
    vectors, member = hops.vectors[chosen], _membership(labels)[chosen]
    if member.shape[1] == 1:
        return -1.0
    middle = (hops.start_s[chosen] + hops.end_s[chosen]) / 2
    apart = (np.abs(middle[:, None] - middle) > hops.window_s).astype(np.float32)
    alike = member.T @ ((vectors @ vectors.T) * apart) @ member
    alike /= np.maximum(member.T @ apart @ member, 1.0)
    own = np.sqrt(np.maximum(np.diag(alike), 1e-3))
    relative = alike / own[:, None] / own
    np.fill_diagonal(relative, -1.0)
    return float(relative.max())


def _membership(labels: Labels) -> npt.NDArray[np.float32]:
    """``(hops, voices)``: 1 where a hop is of a voice."""
    found, number = np.unique(labels, return_inverse=True)
    return np.eye(len(found), dtype=np.float32)[number]
