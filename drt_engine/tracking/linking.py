"""Peaks of neighbouring states linked into chains, all of a campaign at once."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from drt_engine.tracking.assignment import best_pairs, pair_probabilities
from drt_engine.tracking.observations import Observations
from drt_engine.tracking.options import TrackingOptions
from drt_kernels import tracking as kernels

__all__ = ["FREEDOM", "Chains", "Motion", "link", "spread_of"]

Ints = NDArray[np.intp]
Floats = NDArray[np.float64]

FREEDOM = 2.0
"""Degrees of freedom of deviations: few, as processes differ in how well they are found."""

_PASSES = 8  # over all states, at most
_ROUNDS = 6  # of the scale of deviations, as what is known of each depends on it
_MEMORY, _FADING = 6, 0.75  # states that a prediction is from, and what each older one counts
_STEADINESS = (0.03, 0.3, 3.0, 30.0)  # how steady a trend may be, a decade apart; the best is kept
_LEAST_SCALE = 0.02  # of deviations in ln τ and ln R: what peaks are found to at best
_WIDEST = 2.5  # largest distance of peaks of neighbouring states, in ln τ and ln R, that may be one process
_OWN = 6.0  # links that the common scale counts as beside those of a process itself
_STAYS = 0.4  # probability that a process that was missed is missed once more
# a merger moves a peak and adds to its resistance from one state to the next
_JUMP = np.array([0.3, 0.5]), 0.05, FREEDOM


_Predictor = Callable[[Ints, Ints, Floats], None]


@dataclass(frozen=True, eq=False)
class Motion:
    """How processes move from state to state, as estimated.

    Attributes
    ----------
    scale : ndarray, shape (2,)
        Robust standard deviation of ln τ and of ln R about what the earlier, or the later, states predict.
    steadiness : ndarray, shape (2,)
        Square of the ratio of `scale` to the usual change of ln τ, and of ln R, from state to state: where it is large,
        a trend is not trusted.
    birth : float
        Density of new processes, per state and unit of ln τ and of ln R.
    missed : float
        Probability that a process is missed at a state.
    """

    scale: Floats
    steadiness: Floats
    birth: float
    missed: float


@dataclass(frozen=True, eq=False)
class Chains:
    """Links between peaks.

    Attributes
    ----------
    previous, following : ndarray of int, shape (N,)
        Peak that each is linked to at an earlier and at a later state; -1 for none.
    confidence : ndarray, shape (N,)
        Probability of the link to the earlier one; NaN for none.
    number : ndarray of int, shape (N,)
        Chain that each belongs to.
    motion : Motion
        The motion it was found with.
    """

    previous: Ints
    following: Ints
    confidence: Floats
    number: Ints
    motion: Motion


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Pairs of peaks that may be linked: the earlier, the later, and how many states they are apart."""

    early: Ints
    late: Ints
    lag: Ints


@dataclass(frozen=True, eq=False)
class _Trend:
    """Straight lines through the recent past, or the near future, of each peak."""

    centre: Floats
    level: Floats
    product: Floats
    weight: Floats
    along: Floats

    @property
    def line(self) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """The arrays, as kernels take them."""
        return self.centre, self.level, self.product, self.weight, self.along

    def at(self, peak: Ints, where: Floats, steadiness: Floats) -> tuple[Floats, Floats]:
        """Return what the lines predict, and its variance over that of the motion.

        Slopes are held back where few peaks, or noisy ones, tell them.
        """
        far = where[:, None] - self.centre[peak]
        lever = self.along[peak] + steadiness
        return self.level[peak] + self.product[peak] * (far / lever), 1.0 / self.weight[peak] + far**2 / lever


def link(observed: Observations, options: TrackingOptions) -> Chains:
    """Link peaks into chains.

    A pair of peaks gains the logarithm of the ratio of two probabilities: that the later continues the earlier, and
    that one process ends and another begins. The links with the largest sum of gains over the whole series are chosen,
    across gaps as well: a linear assignment, as in K. Jaqaman et al., Nat. Methods 5 (2008) 695, yet over all states
    at once instead of from frame to frame. What is expected of a pair comes from straight lines through the past of the
    earlier and through the future of the later peak, so that time constants may cross; these, and the motion, come from
    the links of the pass before.

    Parameters
    ----------
    observed : Observations
        The peaks.
    options : TrackingOptions
        How processes may behave.

    Returns
    -------
    Chains
        The links.
    """
    pairs = _pairs(observed, options.max_gap)
    sizes = len(observed), len(observed)
    motion = _first_motion(observed, pairs)
    chosen = np.empty(0, dtype=np.intp)
    for turn in range(_PASSES):
        links = _links(pairs, chosen, len(observed))
        motion = _learned(observed, motion, links[0]) if turn else motion
        gain = _gains(observed, pairs, motion, links)
        better = best_pairs(pairs.early, pairs.late, gain, sizes)
        if turn:
            better = _best_changes(pairs, gain, (chosen, better), _numbers(links[0]))
        before, chosen = chosen, np.sort(better)
        if np.array_equal(before, chosen):
            chosen = _inserted(observed, pairs, motion, _exchanged(observed, pairs, motion, chosen))
            if np.array_equal(before, chosen):
                break
    confidence = np.full(len(observed), np.nan)
    confidence[pairs.late[chosen]] = pair_probabilities(pairs.early, pairs.late, gain, sizes)[chosen]
    previous, following = _links(pairs, chosen, len(observed))
    return Chains(previous, following, confidence, _numbers(previous), motion)


def _links(pairs: _Pairs, chosen: Ints, size: int) -> tuple[Ints, Ints]:
    """Return the peak before and the peak after each in its chain."""
    previous, following = (np.full(size, -1, dtype=np.intp) for _ in range(2))
    previous[pairs.late[chosen]], following[pairs.early[chosen]] = pairs.early[chosen], pairs.late[chosen]
    return previous, following


def _best_changes(pairs: _Pairs, gain: Floats, choices: tuple[Ints, Ints], number: Ints) -> Ints:
    """Return the old choice with, for each chain, the one change that gains the most.

    A wrong link falsifies the trends of the peaks near it, and these make other wrong links seem right. The trends on
    both sides of the wrong link itself are right, so changing it gains the most; the others are tried again after that.
    """
    # Loaded here, as what only reads files has no use for them and would wait for them.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    old, new = choices
    gone, come = (np.setdiff1d(*both, assume_unique=True) for both in ((old, new), (new, old)))
    changed = np.concatenate([gone, come])
    if not changed.size:
        return old
    size = number.size
    graph = coo_array((np.ones(changed.size), (pairs.early[changed], size + pairs.late[changed])), (2 * size, 2 * size))
    part = connected_components(graph, directed=False)[1][pairs.early[changed]]
    sign = np.repeat([-1.0, 1.0], [gone.size, come.size])
    improved = np.bincount(part, sign * gain[changed], 2 * size)[part]
    most = np.full(size, -np.inf)
    for end in (pairs.early, pairs.late):
        np.maximum.at(most, number[end[changed]], improved)
    beaten = (improved < most[number[pairs.early[changed]]]) | (improved < most[number[pairs.late[changed]]])
    accepted = np.bincount(part, beaten, 2 * size)[part] == 0
    kept = np.setdiff1d(old, changed[accepted & (sign < 0)], assume_unique=True)
    return np.asarray(np.concatenate([kept, changed[accepted & (sign > 0)]]))


def spread_of(off: Floats, factor: Floats, known: Floats, share: float = 0.5) -> Floats:
    """Robust scale s of columns about zero whose variance is s² times a factor, and a known one more.

    Parameters
    ----------
    off, factor, known : ndarray, shape (n, 2)
        Deviations, factors and known variances.
    share : float
        Share of the deviations that is to be as far out as for a normal distribution.

    Returns
    -------
    ndarray, shape (2,)
        Scales, not below what peaks are found to at best.
    """
    if not len(off):
        return np.full(2, 10 * _LEAST_SCALE)
    usual = float(ndtri(0.5 + 0.5 * share)) ** 2
    scale = np.sqrt(np.quantile(off**2 / factor, share, axis=0) / usual)
    for _ in range(_ROUNDS if known.any() else 0):
        scale = np.maximum(scale, _LEAST_SCALE)
        scale = scale * np.sqrt(np.quantile(off**2 / (scale**2 * factor + known), share, axis=0) / usual)
    return np.asarray(np.maximum(scale, _LEAST_SCALE))


def _pairs(observed: Observations, max_gap: int) -> _Pairs:
    """Return the pairs within a gap and within a wide window."""
    frames = observed.series.size
    count = np.bincount(observed.frame, minlength=frames)
    begin = np.concatenate([[0], np.cumsum(count)])
    parts = []
    for lag in range(1, max_gap + 2):
        first = np.flatnonzero(observed.series[:-lag] == observed.series[lag:]) if lag < frames else np.arange(0)
        mine, theirs = count[first], count[first + lag]
        size = mine * theirs
        which = np.repeat(np.arange(first.size), size)
        inner = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
        early = begin[first[which]] + inner // np.maximum(theirs[which], 1)
        late = begin[first[which] + lag] + inner % np.maximum(theirs[which], 1)
        near = (np.abs(observed.x[early] - observed.x[late]) < _WIDEST).all(axis=1)
        parts.append((early[near], late[near], np.full(int(near.sum()), lag)))
    early, late, lag_ = (np.concatenate(part).astype(np.intp) for part in zip(*parts, strict=True))
    return _Pairs(early, late, lag_)


def _first_motion(observed: Observations, pairs: _Pairs) -> Motion:
    """Estimate the motion from peaks that are each other's nearest in τ at neighbouring states."""
    next_ = pairs.lag == 1
    early, late = pairs.early[next_], pairs.late[next_]
    off = observed.x[late] - observed.x[early]
    distance = np.abs(off[:, 0])
    least = [np.full(len(observed), np.inf) for _ in range(2)]
    for side, peak in zip(least, (early, late), strict=True):
        np.minimum.at(side, peak, distance)
    mutual = (distance == least[0][early]) & (distance == least[1][late])
    volume = float(np.prod(np.maximum(np.ptp(observed.x, axis=0), 1.0)))
    # processes move at different speeds, and the fast ones have to be caught before anything is known of them
    fast = np.quantile(np.abs(off[mutual]), 0.9, axis=0) / 1.645 if mutual.any() else np.full(2, 0.2)
    return Motion(np.maximum(fast, _LEAST_SCALE) / np.sqrt(2.0), np.ones(2), 0.3 / volume, 0.1)


def _gains(observed: Observations, pairs: _Pairs, motion: Motion, links: tuple[Ints, Ints]) -> Floats:
    """Return the gain of each pair."""
    gain = np.full(pairs.early.size, -np.log(motion.birth))
    past, future = _predictors(observed, motion, links)
    past(pairs.early, pairs.late, gain)
    future(pairs.late, pairs.early, gain)
    # what is missing once is as likely as not to stay missing: peaks hide each other over a range of states
    return gain + np.where(pairs.lag > 1, np.log(motion.missed) + (pairs.lag - 2) * np.log(_STAYS), 0.0)


def _predictors(observed: Observations, motion: Motion, links: tuple[Ints, Ints]) -> tuple[_Predictor, _Predictor]:
    """Functions that add half the log density of peaks about the trends of the past, and of the future, of others."""
    where = observed.steps[observed.frame]
    past, future = (_trend(observed, motion.scale, chain) for chain in links)
    own = _own_scales(observed, motion, past, links[0])

    def predictor(trend: _Trend) -> _Predictor:
        def add(start: Ints, end: Ints, density: Floats) -> None:
            spread = motion.steadiness, own, observed.variance
            kernels.predicted_density((start, end), observed.x, where, trend.line, spread, _JUMP, density)

        return add

    return predictor(past), predictor(future)


def _exchanged(observed: Observations, pairs: _Pairs, motion: Motion, chosen: Ints) -> Ints:
    """Exchange two peaks of one state between their chains where both chains expect that.

    A peak that is in the wrong chain bends the trends that its links are judged by; here the trends leave it out.
    """
    links = _links(pairs, chosen, len(observed))
    one, other = _neighbours(observed, links)
    gains = []
    for peaks in ((one, other), (other, one)):
        gain = np.zeros(one.size)
        for predictor, chain in zip(_predictors(observed, motion, links), links, strict=True):
            for owner, peak in zip((one, other), peaks, strict=True):
                predictor(chain[owner], peak, gain)
        gains.append(gain)
    better = gains[1] - gains[0]
    number = _numbers(links[0])
    most = np.zeros(len(observed))
    for peak in (one, other):
        np.maximum.at(most, number[peak], better)
    sure = (better > 0) & (better >= most[number[one]]) & (better >= most[number[other]])
    swap = np.arange(len(observed))
    swap[one[sure]], swap[other[sure]] = other[sure], one[sure]
    found, there = _places(pairs, swap[pairs.early[chosen]], swap[pairs.late[chosen]], len(observed))
    return np.asarray(np.sort(found) if there.all() else chosen)


def _inserted(observed: Observations, pairs: _Pairs, motion: Motion, chosen: Ints) -> Ints:
    """Put peaks that are alone into the gaps of chains that pass by.

    A peak that is hardly known gains less by a link to either side than these gain by one across it, as long as its own
    trends know of neither.
    """
    links = _links(pairs, chosen, len(observed))
    goal = links[1][pairs.early]
    alone = (links[0] < 0) & (links[1] < 0)
    into = np.flatnonzero(
        (goal >= 0) & alone[pairs.late] & (observed.frame[pairs.late] < observed.frame[np.maximum(goal, 0)])
    )
    gain = np.full(into.size, -np.log(motion.birth * motion.missed))
    past, future = _predictors(observed, motion, links)
    past(pairs.early[into], pairs.late[into], gain)
    future(goal[into], pairs.late[into], gain)
    into = into[best_pairs(pairs.early[into], pairs.late[into], gain, (len(observed), len(observed)))]
    onward, there = _places(pairs, pairs.late[into], goal[into], len(observed))
    kept = chosen[~np.isin(pairs.early[chosen], pairs.early[into[there]])]
    return np.asarray(np.sort(np.concatenate([kept, into[there], onward[there]])))


def _places(pairs: _Pairs, early: Ints, late: Ints, count: int) -> tuple[Ints, NDArray[np.bool_]]:
    """Find pairs among all by their two peaks, of `count`: where each stands, and whether it is there at all."""
    size = np.int64(count)
    key, wanted = pairs.early * size + pairs.late, early * size + late
    order = np.argsort(key)
    found = order[np.minimum(np.searchsorted(key[order], wanted), order.size - 1)]
    return found, key[found] == wanted


def _neighbours(observed: Observations, links: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    """Pairs of successive peaks of one state within a factor e of each other, each with a past and a future."""
    one = np.flatnonzero((links[0] >= 0) & (links[1] >= 0))
    one = one[one + 1 < len(observed)]
    other = one + 1
    near = (np.abs(observed.x[one] - observed.x[other]) < 1.0).all(axis=1)
    near &= (observed.frame[one] == observed.frame[other]) & (links[0][other] >= 0) & (links[1][other] >= 0)
    return one[near], other[near]


def _trend(observed: Observations, scale: Floats, chain: Ints) -> _Trend:
    """Straight lines of the peaks that a chain leads to, the nearer and the better known with the larger weight."""
    x, where = observed.x, observed.steps[observed.frame]
    centre, level, product, weight, along = (np.empty(x.shape) for _ in range(5))
    weights = np.asarray(_FADING ** np.arange(_MEMORY), dtype=float), 1.0 / (1.0 + observed.variance / scale**2)
    kernels.trends(x, where, chain, weights, (centre, level, product, weight, along))
    return _Trend(centre, level, product, weight, along)


def _own_scales(observed: Observations, motion: Motion, past: _Trend, previous: Ints) -> Floats:
    """Scales of each chain, drawn to the common one where it is short."""
    late = np.flatnonzero(previous >= 0)
    number = _numbers(previous)
    value, variance = past.at(previous[late], observed.steps[observed.frame[late]], motion.steadiness)
    expected = motion.scale**2 * (1.0 + variance) + observed.variance[late]
    limited = np.clip((observed.x[late] - value) ** 2 / expected, 0.0, 100.0)
    count = np.bincount(number[late], minlength=len(observed))[:, None]
    total = np.stack([np.bincount(number[late], part, len(observed)) for part in limited.T], axis=1)
    return np.asarray(motion.scale * np.sqrt((_OWN + total) / (_OWN + count)).clip(0.3, 5.0)[number])


def _learned(observed: Observations, motion: Motion, previous: Ints) -> Motion:
    """Estimate the motion from links."""
    late = np.flatnonzero(previous >= 0)
    if not late.size:
        return motion
    scale, steadiness = motion.scale.copy(), motion.steadiness.copy()
    where = observed.steps[observed.frame]
    past = _trend(observed, motion.scale, previous)
    best = np.full(2, np.inf)
    for trial in _STEADINESS:
        value, variance = past.at(previous[late], where[late], np.full(2, trial))
        known = observed.variance[late]
        spread = spread_of(observed.x[late] - value, 1.0 + variance, known)
        # the density of the deviations, not the deviations over their variance alone, tells which trend predicts best
        cost = 0.5 * np.log(spread**2 * (1.0 + variance) + known).mean(axis=0)
        better = cost < best
        best[better], scale[better], steadiness[better] = cost[better], spread[better], trial
    lag = observed.frame[late] - observed.frame[previous[late]]
    starts = (previous < 0) & (observed.frame > observed.first[observed.series[observed.frame]])
    volume = float(np.prod(np.maximum(np.ptp(observed.x, axis=0), 1.0)))
    return replace(
        motion,
        scale=scale,
        steadiness=steadiness,
        birth=float(np.clip(starts.sum() / observed.series.size, 0.02, 0.5)) / volume,
        missed=float(np.clip((lag - 1).sum() / lag.sum(), 0.03, 0.1)),
    )


def _numbers(previous: Ints) -> Ints:
    """Return the number of each peak's chain: links lead to a peak further up, in the end to the first."""
    root = np.where(previous >= 0, previous, np.arange(previous.size))
    while True:
        further = root[root]
        if np.array_equal(further, root):
            break
        root = further
    return np.asarray(np.unique(root, return_inverse=True)[1], dtype=np.intp)
