"""Peaks of all series assigned again to the processes, by what the other series show of each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drt_engine.tracking.assignment import best_pairs, pair_probabilities
from drt_engine.tracking.linking import FREEDOM
from drt_engine.tracking.observations import Observations
from drt_engine.tracking.trajectories import FORGETTING, NEW, at_frames
from drt_kernels import tracking as kernels

__all__ = ["Refined", "Tree", "refine"]

Ints = NDArray[np.intp]
Floats = NDArray[np.float64]
Ranges = list[tuple[str, float, float]]

_ROUNDS = 5  # without gain, after which one stops
_FEW = 1e-3  # share of peaks that still change their process
_CHAIN = 3.0
"""Logarithm of the odds, 20 to 1, that a peak belongs to the process that most of its chain belongs to."""
_OWN = 0.5  # share of its gain that a process has for itself, as no other would take its peaks


@dataclass(frozen=True, eq=False)
class Tree:
    """Series, each beside the one that it is compared with.

    Attributes
    ----------
    parents : ndarray of int, shape (S,)
        An earlier series for each, -1 for none.
    grid : ndarray, shape (G,)
        Values of the state along the series.
    scale : ndarray, shape (2,)
        Scale of the differences of ln τ and ln R between neighbouring series.
    """

    parents: Ints
    grid: Floats
    scale: Floats


@dataclass(frozen=True, eq=False)
class Refined:
    """Result of the refinement.

    Attributes
    ----------
    process : ndarray of int, shape (N,)
        Process of each peak, -1 for none.
    confidence : ndarray, shape (N,)
        Probability of that, NaN for none.
    trajectories : ndarray, shape (S, P, G, 2)
        ln τ and ln R of the processes in each series by what all series show; NaN where nothing is known.
    """

    process: Ints
    confidence: Floats
    trajectories: Floats


def refine(
    observed: Observations, number: Ints, process: Ints, tree: Tree, ranges: Ranges, persistence: float
) -> Refined:
    """Assign the peaks of each state again until nothing changes.

    What is expected of a process in a series is what the neighbouring series show of it, by belief propagation on the
    tree of series. The peaks of each state are assigned to the processes by their density about that, all at once; a
    peak gains more in the process that its chain belongs to. A process of which others that have no peak there could
    explain the better half is no process of its own: it came of a chain that went astray, and its peaks go to them.
    Nor is one that comes and goes: artefacts may fall on the same place again, but not beside each other.

    Parameters
    ----------
    observed : Observations
        The peaks.
    number : ndarray of int, shape (N,)
        Chain of each peak.
    process : ndarray of int, shape (N,)
        Process of each to begin with, -1 for none.
    tree : Tree
        How the series are related.
    ranges : list of tuple
        Name, lowest and highest ln τ of the processes that are pinned, which come first.
    persistence : float
        Share of the neighbouring states, or of the neighbouring series, that must have a process which is seen.
    """
    pinned = len(ranges)
    process, size = _compact(process, pinned)
    confidence = np.full(len(observed), np.nan)
    idle = 0
    while True:
        gain = _gains(observed, _expected(_seen(observed, process, tree.grid, size), tree, own=False), tree, ranges)
        before = process
        while (gone := _superfluous(observed, process, gain, pinned)) >= 0:
            gain[:, gone] = -np.inf
            process, confidence = _assigned(observed, _with_chains(gain, process, number))
        process, confidence = _assigned(observed, _with_chains(gain, process, number))
        idle += 1
        if idle == _ROUNDS or np.count_nonzero(process != before) <= _FEW * process.size:
            gone = _least_persistent(observed, process, tree, persistence, pinned)
            if gone < 0:
                break
            process, idle = np.where(process == gone, -1, process), 0
        process, size = _compact(process, pinned)
    trajectory, _ = _expected(_seen(observed, process, tree.grid, size), tree, own=True)
    return Refined(process, confidence, trajectory)


def _compact(process: Ints, pinned: int) -> tuple[Ints, int]:
    """Give numbers without gaps to the processes that have peaks or are pinned, and count them."""
    there = np.unique(np.concatenate([np.arange(pinned), process[process >= 0]]))
    new = np.full(int(there.max(initial=-1)) + 2, -1, dtype=np.intp)
    new[there] = np.arange(there.size)
    return new[process], there.size


def _seen(observed: Observations, process: Ints, grid: Floats, size: int) -> tuple[Floats, Floats]:
    """Courses of the processes in each series and their variances, shape (S, P, G, 2), NaN outside of their peaks."""
    series = len(observed.keys)
    trajectory, variance = (np.full((series, size, grid.size, 2), np.nan) for _ in range(2))
    with_process = np.flatnonzero(process >= 0)
    group = observed.series[observed.frame[with_process]] * size + process[with_process]
    order = with_process[np.argsort(group, kind="stable")]
    begin = np.searchsorted(np.sort(group), np.arange(series * size + 1))
    margin = 0.5 * float(np.median(np.diff(grid))) if grid.size > 1 else 0.0
    place = observed.place[observed.frame]
    for k in np.flatnonzero(np.diff(begin)):
        peaks = order[begin[k] : begin[k + 1]]
        where = place[peaks]
        inside = (grid >= where[0] - margin) & (grid <= where[-1] + margin)
        inside[np.argmin(np.abs(grid - where[0]))] = True
        for d in range(2):
            trajectory[k // size, k % size, inside, d] = np.interp(grid[inside], where, observed.x[peaks, d])
            variance[k // size, k % size, inside, d] = np.interp(grid[inside], where, observed.variance[peaks, d])
    return trajectory, variance


def _expected(seen: tuple[Floats, Floats], tree: Tree, *, own: bool) -> tuple[Floats, Floats]:
    """Courses by what other series show, and if wanted the series itself; with variances.

    Along the tree a trajectory takes random steps of variance s²/4, and scatters by s²/2 in each series, for a scale s
    of differences: exact belief propagation (J. Pearl, AAAI-82, 133) for normal distributions.
    """
    trajectory, variance = seen
    there = np.isfinite(trajectory)
    weight = np.where(there, 1.0 / (np.where(there, variance, 0.0) + 0.5 * tree.scale**2), 0.0)
    here = np.stack([weight, weight * np.where(there, trajectory, 0.0)])
    step = 0.25 * tree.scale**2

    def passed(message: Floats) -> Floats:
        return np.asarray(message / (1.0 + step * message[0]))

    below, above = np.zeros_like(here), np.zeros_like(here)
    up = np.zeros_like(here)
    for k in range(tree.parents.size - 1, 0, -1):
        up[:, k] = passed(here[:, k] + below[:, k])
        below[:, tree.parents[k]] += up[:, k]
    for k in range(1, tree.parents.size):
        parent = tree.parents[k]
        above[:, k] = passed(here[:, parent] + below[:, parent] - up[:, k] + above[:, parent])
    total = below + above + (here if own else 0.0)
    known = total[0] > 0.0
    precision = np.where(known, total[0], 1.0)
    return np.where(known, total[1] / precision, np.nan), np.where(known, 1.0 / precision, np.nan)


def _gains(observed: Observations, expected: tuple[Floats, Floats], tree: Tree, ranges: Ranges) -> Floats:
    """Logarithm of how much more probable each peak is in each process than in none, shape (N, P)."""
    value, distance = at_frames(observed, expected[0], tree.grid)
    variance = at_frames(observed, expected[1], tree.grid)[0] + 0.5 * tree.scale**2
    variance *= (1.0 + FORGETTING * distance)[..., None]
    gain = np.empty((len(observed), value.shape[1]))
    kernels.density_at(observed.x, observed.variance, observed.frame, (value, variance), FREEDOM, gain)
    gain -= NEW
    for p, (_, low, high) in enumerate(ranges):
        gain[(observed.x[:, 0] < low) | (observed.x[:, 0] > high), p] = -np.inf
    return gain


def _superfluous(observed: Observations, process: Ints, gain: Floats, pinned: int) -> int:
    """Return the smallest process of which others could explain more than half; -1 if there is none."""
    mine = np.flatnonzero(process >= 0)
    taken = np.zeros((observed.series.size, gain.shape[1]), dtype=bool)
    taken[observed.frame[mine], process[mine]] = True
    free = np.where(taken[observed.frame[mine]], 0.0, np.maximum(gain[mine], 0.0)).max(axis=1, initial=0.0)
    own = np.maximum(gain[mine, process[mine]], 0.0)
    total, other = (np.bincount(process[mine], part, gain.shape[1]) for part in (own, np.minimum(own, free)))
    possible = (np.arange(total.size) >= pinned) & (total > 0.0) & (other > (1.0 - _OWN) * total)
    return int(np.argmin(np.where(possible, total, np.inf))) if possible.any() else -1


def _least_persistent(observed: Observations, process: Ints, tree: Tree, persistence: float, pinned: int) -> int:
    """Return the process that is found again least often, if less often than `persistence` asks for; else -1."""
    size = max(int(process.max(initial=-1)) + 1, pinned)
    seen = np.zeros((observed.series.size, size), dtype=bool)
    mine = np.flatnonzero(process >= 0)
    seen[observed.frame[mine], process[mine]] = True
    share = np.zeros(size)
    for one, other in (_states_beside(observed), _series_beside(observed, tree)):
        both = 2.0 * (seen[one] & seen[other]).sum(axis=0)
        either = seen[one].sum(axis=0) + seen[other].sum(axis=0)
        share = np.maximum(share, both / np.maximum(either, 1))
    share[~seen.any(axis=0)] = np.inf
    share[:pinned] = np.inf
    return int(np.argmin(share)) if share.min(initial=np.inf) < persistence else -1


def _states_beside(observed: Observations) -> tuple[Ints, Ints]:
    """Pairs of neighbouring frames of one series."""
    one = np.flatnonzero(np.diff(observed.series) == 0)
    return one, one + 1


def _series_beside(observed: Observations, tree: Tree) -> tuple[Ints, Ints]:
    """Pairs of frames at the same point of the grid in two neighbouring series."""
    first, parents = observed.first, tree.parents
    point = np.abs(np.subtract.outer(observed.place, tree.grid)).argmin(axis=1)
    at = np.full((parents.size, tree.grid.size), -1, dtype=np.intp)
    at[observed.series, point] = np.arange(observed.series.size)
    child = np.flatnonzero((parents >= 0) & (np.diff(first) > 0))
    one, other = at[child], at[parents[child]]
    both = (one >= 0) & (other >= 0)
    return one[both], other[both]


def _with_chains(gain: Floats, process: Ints, number: Ints) -> Floats:
    """Add what a peak gains in the process that most of its chain belongs to."""
    wanted = gain.copy()
    size = gain.shape[1]
    if not size:  # no process was persistent
        return wanted
    mine = np.flatnonzero(process >= 0)
    count = np.bincount(number[mine] * size + process[mine], minlength=(int(number.max()) + 1) * size).reshape(-1, size)
    most = np.where(count.max(axis=1) > 0, count.argmax(axis=1), -1)[number]
    own = np.flatnonzero(most >= 0)
    pinned_out = np.isneginf(wanted[own, most[own]])
    own = own[~pinned_out]
    wanted[own, most[own]] = np.maximum(wanted[own, most[own]], 0.0) + _CHAIN
    return wanted


def _assigned(observed: Observations, gain: Floats) -> tuple[Ints, Floats]:
    peak, process = np.nonzero(gain > 0.0)
    place = observed.frame[peak] * gain.shape[1] + process
    sizes = len(observed), observed.series.size * gain.shape[1]
    chosen = best_pairs(peak, place, gain[peak, process], sizes)
    new, confidence = np.full(len(observed), -1, dtype=np.intp), np.full(len(observed), np.nan)
    new[peak[chosen]] = process[chosen]
    confidence[peak[chosen]] = pair_probabilities(peak, place, gain[peak, process], sizes)[chosen]
    return new, confidence
