"""Assignments of one set to another: the best one, and how probable each of its pairs is."""

import numpy as np
from numpy.typing import NDArray

from drt_kernels import tracking as kernels

__all__ = ["best_pairs", "pair_probabilities"]

_ROUNDS = 60  # of passing on how likely the others are, at most
_SETTLED = 1e-4  # change that ends them: probabilities are read to three digits
_LARGEST = 60.0  # gain beyond which a match is certain, so that products of e^gain do not overflow


def best_pairs(
    left: NDArray[np.intp], right: NDArray[np.intp], gain: NDArray[np.float64], sizes: tuple[int, int]
) -> NDArray[np.intp]:
    """Choose the pairs with the largest sum of gains, each element at most once.

    Every element may stay alone, at no gain. The linear assignment problem is solved exactly, over all pairs at once.

    Parameters
    ----------
    left, right : ndarray of int, shape (E,)
        The elements of each possible pair.
    gain : ndarray, shape (E,)
        Its gain; pairs without a positive one are never chosen.
    sizes : tuple of int
        Numbers of elements on the left and on the right.

    Returns
    -------
    ndarray of int
        Indices of the chosen pairs.
    """
    kept = np.flatnonzero(gain > 0.0)
    kept = kept[np.lexsort((right[kept], left[kept]))]
    start = np.searchsorted(left[kept], np.arange(sizes[0] + 1))
    end = np.ascontiguousarray(right[kept], dtype=np.int64)
    partner = np.empty(sizes[0], dtype=np.int64)
    kernels.assign(start, end, np.ascontiguousarray(gain[kept]), sizes[1], partner)
    return np.asarray(kept[partner[left[kept]] == end])


def pair_probabilities(
    left: NDArray[np.intp], right: NDArray[np.intp], gain: NDArray[np.float64], sizes: tuple[int, int]
) -> NDArray[np.float64]:
    """Probability of each pair over all assignments, each weighted by the exponential of its gain.

    Belief propagation on the bipartite graph, which always converges (J. L. Williams, R. A. Lau, IEEE Trans. Aerosp.
    Electron. Syst. 50 (2014) 2942). It is exact where the graph has no cycle, and close to it elsewhere.

    Parameters
    ----------
    left, right : ndarray of int, shape (E,)
        The elements of each possible pair.
    gain : ndarray, shape (E,)
        Logarithm of how much more probable the pair is than both elements alone.
    sizes : tuple of int
        Numbers of elements on the left and on the right.

    Returns
    -------
    ndarray, shape (E,)
        Probabilities.
    """
    weight = np.exp(np.clip(gain, -_LARGEST, _LARGEST))
    from_right = np.ones(weight.size)
    for _ in range(_ROUNDS):
        weighted = weight * from_right
        others = 1.0 + np.bincount(left, weighted, sizes[0])[left] - weighted
        from_left = weight / np.maximum(others, 1.0)
        others = 1.0 + np.bincount(right, from_left, sizes[1])[right] - from_left
        before, from_right = from_right, 1.0 / np.maximum(others, 1.0)
        if np.max(np.abs(from_right - before), initial=0.0) < _SETTLED:
            break
    weighted = weight * from_right
    return np.asarray(weighted / (1.0 + np.bincount(left, weighted, sizes[0])[left]))
