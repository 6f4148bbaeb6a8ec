"""Which of many belong together, by how alike every two are: average-linkage clustering.

Groups are merged, the two most alike first, where how alike two groups are is the mean over all
pairs between them (Sokal and Michener, 1958). It ends at a given number of groups, or where no two
are alike enough: on log-likelihood ratios of 'same voice', at even odds on average.
"""

from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from hive_mtl.errors import ConfigError, DataError, MissingExtraError

MOST = 15_000  # in memory at once: 4 n^2 bytes of similarities and twice as many for the merging
EVEN_ODDS = 0.0


def group(
    similarity: npt.NDArray[np.float32],
    *,
    groups: int | None = None,
    threshold: float = EVEN_ODDS,
) -> npt.NDArray[np.int64]:
    """Groups what is alike.

    Args:
        similarity: ``(n, n)`` finite and symmetric, the higher the more alike; the diagonal says
            nothing.
        groups: how many there are; None if that is not known.
        threshold: then two groups are one where they are at least as alike as this.

    Returns:
        ``(n,)`` the group of each, numbered from 0 by first appearance.

    Raises:
        ConfigError: ``groups`` is not between 1 and ``n``.
        DataError: a similarity is not finite, or ``n`` is 0 or more than :data:`MOST`.
        MissingExtraError: scikit-learn, which brings SciPy, is not installed.
    """
    count = len(similarity)
    check_count(count, groups)
    if not np.isfinite(similarity).all():
        raise DataError("similarities: some are not finite: leave out what has no vector")
    if count == 1:
        return np.zeros(1, np.int64)
    from scipy.cluster.hierarchy import fcluster, linkage  # here: the base install has none
    from scipy.spatial.distance import squareform

    highest = similarity.max()
    tree = linkage(squareform(highest - similarity, checks=False), "average")
    if groups is None:
        merges = int(np.searchsorted(tree[:, 2], highest - threshold, side="right"))
    else:
        merges = count - groups
    # each merge has its number for a height, so that ties cannot make it more or fewer
    numbers = np.arange(count - 1, dtype=np.float64)
    return by_first_appearance(fcluster(tree, merges - 1, "monocrit", monocrit=numbers))


def check_count(count: int, groups: int | None) -> None:
    """Lets pass what can be grouped, here; see :func:`group`."""
    if find_spec("sklearn") is None:
        raise MissingExtraError("grouping voices", "analysis")
    if count == 0:
        raise DataError("nothing to group: give recordings with speech")
    if count > MOST:
        raise DataError(
            f"{count} are too many to group at once ({12e-9 * count**2:.0f} GB): give {MOST} or "
            "fewer"
        )
    if groups is not None and not 1 <= groups <= count:
        raise ConfigError(f"{groups} groups of {count}: give a number from 1 to {count}")


def by_first_appearance(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """The same groups ``(n,)``, numbered from 0 in the order in which they are met."""
    _, first, label = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[label].astype(np.int64)


def by_size(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The same groups ``(n,)``, numbered from 0 with the largest first, then as they are met."""
    label = by_first_appearance(labels)
    return np.argsort(np.argsort(-np.bincount(label), kind="stable"))[label].astype(np.int64)
