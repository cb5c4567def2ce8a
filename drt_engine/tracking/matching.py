"""Chains of one series matched with those of others, so that a process is the same everywhere."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.tracking.assignment import best_pairs, pair_probabilities
from drt_engine.tracking.linking import Chains, spread_of
from drt_engine.tracking.observations import Observations
from drt_engine.tracking.options import Known, TrackingOptions
from drt_engine.tracking.refining import Tree, refine
from drt_engine.tracking.trajectories import Expected, similarity, similarity_of

__all__ = ["Matched", "match"]

Ints = NDArray[np.intp]
Floats = NDArray[np.float64]

_POINTS = 24  # states, at most, at which trajectories are compared
_FIRST_SCALE, _LEAST_SCALE = 0.3, 0.1  # of differences between series, in ln τ and ln R, at first and at least
_NEW_PIECE = np.log(1e-2)  # density of pieces of processes that no other series has
_PINNED = 6.0  # gain of a peak that the caller named, beyond what it would have otherwise
_ALIKE = 1.5  # distance, in scales, of trajectories that are compared at all
_SEVERAL = 4  # series from which matches are refined together


@dataclass(frozen=True, eq=False)
class Matched:
    """Processes that the series have in common.

    Attributes
    ----------
    process : ndarray of int, shape (N,)
        Process of each peak, -1 for none.
    confidence : ndarray, shape (N,)
        Probability that each peak, or else its chain, belongs to its process; 1 where a process was first seen.
    trajectories : ndarray, shape (S, P, G, 2)
        ln τ and ln R that are expected of the processes in each series along the grid; NaN before they are known.
    grid : ndarray, shape (G,)
        Values of the state along the series.
    scale : ndarray, shape (2,)
        Standard deviation of ln τ and ln R between neighbouring series.
    pinned : dict of int to str
        Names of processes that were pinned to a range.
    """

    process: Ints
    confidence: Floats
    trajectories: Floats
    grid: Floats
    scale: Floats
    pinned: dict[int, str]


@dataclass(frozen=True, eq=False)
class _Pieces:
    """Chains: their trajectory on a grid, NaN outside, with its variance, first and last frame, number of peaks."""

    series: Ints
    trajectory: Floats
    variance: Floats
    span: Ints
    length: Ints

    def at(self, which: Ints | list[int], scale: Floats | None = None) -> Expected:
        """Courses of some, also as what is expected of what goes on with them."""
        more = 0.0 if scale is None else 0.5 * scale**2
        return Expected(self.trajectory[which], self.variance[which] + more)


@dataclass(eq=False)
class _Pass:
    """Result of one pass through all series."""

    process: Ints
    probability: Floats
    trajectories: Floats
    variance: Floats
    off: list[tuple[Floats, Floats]] = field(default_factory=list)
    sure: bool = True


def match(observed: Observations, chains: Chains, options: TrackingOptions, known: tuple[Known, ...] = ()) -> Matched:
    """Match chains across series.

    Series are visited so that each comes after the one most like it. Its chains are assigned to the processes by how
    far their trajectories lie apart, where both are defined, from what was last seen of the process; chains of one
    series that overlap never belong to one process. What is left founds a new process. The scale of the differences is
    learned in a first walk. From four series on, the peaks of each state are then assigned again, by chain and by what
    all series show of the processes; see :func:`drt_engine.tracking.refining.refine`.

    Parameters
    ----------
    observed : Observations
        The peaks.
    chains : Chains
        Their links within series.
    options : TrackingOptions
        How processes may behave.
    known : tuple of Known
        Processes pinned to a range of τ.
    """
    grid = _grid(observed.place)
    pieces = _pieces(observed, chains, grid)
    parents = _parents(observed.keys)
    ranges = [(one.name, *np.log(one.range)) for one in known if one.range is not None]
    scale = np.maximum(_FIRST_SCALE, 2.0 * chains.motion.scale)
    starts = pieces.length >= options.min_length
    found = _pass_through(pieces, starts, parents, scale, ranges, sure=False)
    if found.off:
        # processes age at different rates, so that most of them changing little must not tear one apart
        off, extra = (np.concatenate(part) for part in zip(*found.off, strict=True))
        wide = spread_of(off, np.ones_like(off), extra, 0.9)
        scale = np.maximum(np.maximum(wide, chains.motion.scale), _LEAST_SCALE)
    found = _pass_through(pieces, starts, parents, scale, ranges)
    least = max(options.min_length, round(options.min_presence * observed.series.size))
    recurring = _recurring(pieces, found.process < 0, scale, least)
    if recurring.any():
        found = _pass_through(pieces, starts | recurring, parents, scale, ranges)
    union = _unite(found, pieces, scale, len(ranges))
    owner = np.append(union, -1)[found.process]
    trajectories = _united_trajectories(found.trajectories, union)
    names = {k: name for k, (name, _, _) in enumerate(ranges)}
    matched = Matched(owner[chains.number], found.probability[chains.number], trajectories, grid, scale, names)
    if len(parents) < _SEVERAL:
        return matched
    refined = refine(observed, chains.number, matched.process, Tree(parents, grid, scale), ranges, options.persistence)
    return replace(matched, process=refined.process, confidence=refined.confidence, trajectories=refined.trajectories)


def _grid(place: Floats) -> Floats:
    distinct = np.unique(place)
    if distinct.size <= _POINTS:
        return distinct
    return np.asarray(np.interp(np.linspace(0, distinct.size - 1, _POINTS), np.arange(distinct.size), distinct))


def _pieces(observed: Observations, chains: Chains, grid: Floats) -> _Pieces:
    count = np.bincount(chains.number)
    order = np.argsort(chains.number, kind="stable")
    begin = np.concatenate([[0], np.cumsum(count)])
    margin = 0.5 * float(np.median(np.diff(grid))) if grid.size > 1 else 0.0
    trajectory, variance = (np.full((count.size, grid.size, 2), np.nan) for _ in range(2))
    span = np.empty((count.size, 2), dtype=np.intp)
    for k in range(count.size):
        peaks = order[begin[k] : begin[k + 1]]
        where = observed.place[observed.frame[peaks]]
        inside = (grid >= where[0] - margin) & (grid <= where[-1] + margin)
        inside[np.argmin(np.abs(grid - where[0]))] = True
        for d in range(2):
            trajectory[k, inside, d] = np.interp(grid[inside], where, observed.x[peaks, d])
            variance[k, inside, d] = np.interp(grid[inside], where, observed.variance[peaks, d])
        span[k] = observed.frame[peaks[[0, -1]]]
    return _Pieces(observed.series[span[:, 0]], trajectory, variance, span, count)


def _parents(keys: pd.DataFrame) -> Ints:
    """Return the series that each is compared with: an earlier one, equal in most names and nearest in numbers."""
    names = [name for name in keys if not pd.api.types.is_numeric_dtype(keys[name])]
    rank = np.stack([pd.factorize(keys[name], sort=True)[0] for name in keys], axis=1) if len(keys.columns) else None
    parents = np.full(len(keys), -1, dtype=np.intp)
    if rank is None:
        return parents
    # a name that differs outweighs any difference of numbers; the last column of names differs most easily
    weight = np.array([1.0 + (len(keys) + 1.0) * (len(names) - names.index(n)) if n in names else 1.0 for n in keys])
    is_name = np.array([name in names for name in keys])
    for k in range(1, len(keys)):
        apart = np.abs(rank[:k] - rank[k]).astype(float)
        apart[:, is_name] = apart[:, is_name] > 0
        parents[k] = k - 1 - int(np.argmin((apart @ weight)[::-1]))
    return parents


def _pass_through(
    pieces: _Pieces,
    starts: NDArray[np.bool_],
    parents: Ints,
    scale: Floats,
    ranges: list[tuple[str, float, float]],
    *,
    sure: bool = True,
) -> _Pass:
    """Visit each series after the one that it is compared with; `starts` begin processes where they match none."""
    points = pieces.trajectory.shape[1]
    none, ones = np.full(pieces.length.size, -1, dtype=np.intp), np.ones(pieces.length.size)
    found = _Pass(none, ones, np.empty(0), np.empty(0), sure=sure)
    states = [Expected.nothing(0, points)] * parents.size
    size = len(ranges)
    members = np.split(
        np.argsort(pieces.series, kind="stable"), np.cumsum(np.bincount(pieces.series, minlength=parents.size))[:-1]
    )
    for k, parent in enumerate(parents):
        expected = states[parent].grown(size) if parent >= 0 else Expected.nothing(size, points)
        mine = members[k]
        _assign(found, pieces, mine, expected, scale, ranges)
        fresh = mine[(found.process[mine] < 0) & starts[mine]]
        size = _begin_processes(found, pieces, fresh, size, scale)
        states[k] = expected.grown(size)
        for piece in mine[found.process[mine] >= 0]:
            found.off.append(
                states[k].learn(int(found.process[piece]), pieces.trajectory[piece], pieces.variance[piece], scale)
            )
    states = [state.grown(size) for state in states]
    found.trajectories = np.stack([state.trajectory for state in states])
    found.variance = np.stack([state.variance for state in states])
    return found


def _begin_processes(found: _Pass, pieces: _Pieces, fresh: Ints, size: int, scale: Floats) -> int:
    """Let chains that match no process begin one, the longest first; chains that continue a process belong to it."""
    new: list[list[int]] = []
    for piece in fresh[np.argsort(-pieces.length[fresh], kind="stable")]:
        first, last = pieces.span[piece]
        open_ = [
            k
            for k, members in enumerate(new)
            if all(pieces.span[m, 0] > last or pieces.span[m, 1] < first for m in members)
        ]
        gain = np.array([similarity(pieces.at([piece]), pieces.at(new[k], scale), scale).max() for k in open_])
        if gain.size and gain.max() > similarity_of(_NEW_PIECE):
            new[open_[int(np.argmax(gain))]].append(int(piece))
        else:
            new.append([int(piece)])
    for k, members in enumerate(new):
        found.process[members] = size + k
    return size + len(new)


def _recurring(pieces: _Pieces, left: NDArray[np.bool_], scale: Floats, least: int) -> NDArray[np.bool_]:
    """Tell which short chains come back in other series at nearly the same place, often enough to be a process."""
    chosen = np.flatnonzero(left)
    recurring = np.zeros(left.size, dtype=bool)
    if not chosen.size:
        return recurring
    if np.all(pieces.series[chosen] == pieces.series[chosen[0]]):
        # There is no other series to come back in.
        recurring[chosen] = pieces.length[chosen] >= least
        return recurring
    there = np.isfinite(pieces.trajectory[chosen, :, :1])
    count = there.sum(axis=1)
    middle = np.where(there, pieces.trajectory[chosen], 0.0).sum(axis=1) / count
    place = (there[..., 0] * np.arange(there.shape[1])).sum(axis=1) / count[:, 0]
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    tree = cKDTree(np.column_stack([middle / scale, place]))
    near = tree.query_pairs(_ALIKE, output_type="ndarray")
    near = near[pieces.series[chosen[near[:, 0]]] != pieces.series[chosen[near[:, 1]]]]
    graph = coo_array((np.ones(len(near)), (near[:, 0], near[:, 1])), shape=(chosen.size, chosen.size))
    group = connected_components(graph, directed=False)[1]
    enough = np.bincount(group, pieces.length[chosen]) >= least
    recurring[chosen] = enough[group]
    return recurring


def _assign(
    found: _Pass,
    pieces: _Pieces,
    mine: Ints,
    expected: Expected,
    scale: Floats,
    ranges: list[tuple[str, float, float]],
) -> None:
    """Assign the pieces of a series; several that do not overlap may belong to one process."""
    gain = similarity(pieces.at(mine), expected, scale)
    for p, (_, low, high) in enumerate(ranges):
        share = ((pieces.trajectory[mine, :, 0] >= low) & (pieces.trajectory[mine, :, 0] <= high)).sum(axis=1)
        inside = share > 0.5 * np.isfinite(pieces.trajectory[mine, :, 0]).sum(axis=1)
        seen = np.isfinite(expected.trajectory[p]).any()
        gain[:, p] = np.where(inside, (np.maximum(gain[:, p], 0.0) if seen else 0.0) + _PINNED, -np.inf)
    left, right = (axis.ravel() for axis in np.indices(gain.shape))
    probable = np.ones(gain.shape)
    if found.sure:
        probable = pair_probabilities(left, right, gain.ravel(), (gain.shape[0], gain.shape[1])).reshape(gain.shape)
    open_ = np.ones(gain.shape, dtype=bool)
    while True:
        allowed = np.where(open_, gain, -np.inf)
        chosen = best_pairs(left, right, allowed.ravel(), (gain.shape[0], gain.shape[1]))
        if not chosen.size:
            return
        for k, p in zip(left[chosen], right[chosen], strict=True):
            found.process[mine[k]], found.probability[mine[k]] = p, probable[k, p]
            open_[k] = False
            span = pieces.span[mine]
            open_[(span[:, 0] <= span[k, 1]) & (span[:, 1] >= span[k, 0]), p] = False


def _unite(found: _Pass, pieces: _Pieces, scale: Floats, pinned: int) -> Ints:
    """Return the process that each belongs to, after those that are one but never met have been united."""
    size = found.trajectories.shape[1]
    union = np.arange(size)
    last = _last_seen(found)
    series = [set(pieces.series[found.process == p].tolist()) for p in range(size)]
    count = np.array([int(pieces.length[found.process == p].sum()) for p in range(size)])
    order = [int(p) for p in np.argsort(-count, kind="stable")]
    for k, p in enumerate(order):
        larger = [q for q in order[:k] if union[q] == q and not series[p] & series[q] and p >= pinned]
        if not larger:
            continue
        gain = similarity(last.at([p]).less(scale), last.at(larger), scale)[0]
        best = int(np.argmax(gain))
        if gain[best] > 0.0:
            union[p] = larger[best]
            series[larger[best]] |= series[p]
    while not np.array_equal(union, union[union]):
        union = union[union]
    return union


def _last_seen(found: _Pass) -> Expected:
    """Latest trajectories that are known of the processes."""
    known = np.asarray(np.isfinite(found.trajectories).any(axis=(2, 3)))
    last = known.shape[0] - 1 - np.argmax(known[::-1], axis=0)
    every = np.arange(known.shape[1])
    return Expected(found.trajectories[last, every], found.variance[last, every])


def _united_trajectories(trajectories: Floats, union: Ints) -> Floats:
    united = trajectories.copy()
    for p in np.flatnonzero(union != np.arange(union.size)):
        q = union[p]
        united[:, q] = np.where(np.isfinite(united[:, q]), united[:, q], united[:, p])
        united[:, p] = np.nan
    return united
