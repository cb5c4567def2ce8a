"""Peaks of distributions whose logarithm has a known posterior."""

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import InputError
from drt_engine.threads import run_tiles
from drt_engine.uncertainty.posterior import FLANK, share_until
from drt_kernels import log_peaks as kernels

if TYPE_CHECKING:
    from drt_engine.uncertainty.posterior import LogPosterior

__all__ = ["features", "hidden_flanks"]

Array = NDArray[np.float64]

_TILE = 128
"""Spectra whose peaks are found at once by a thread: their γ on the fine grid fit a core's cache."""
_R, _HEIGHT, _WIDTH, _R_ERROR, _LOWER, _KIND = 1, 2, 3, 7, 8, 10
"""Columns: resistance, height, width, error of the resistance, lower limit beside the upper one, and kind."""

_SIGNED = [1, 2, 4]
"""Columns that have the sign of γ: resistance, height and prominence."""

_LEANING, _MOST_RATIO = 0.09, 100.0
"""Standard deviation of the resistance that a valley moves to the row with the smaller one, as a share of γ there times
the logarithm of the ratio of the two resistances, and the largest ratio: the prior lets the flank of the larger process
end early, so that a small one beside it reads high. Found on pairs and triples of ZARC elements with R up to a hundred
times that of their neighbour."""

_NARROW, _NARROWER = 1e-3, 1.5
"""Standard deviation of the resistance of a peak whose width is below so many spacings of relaxation times, as a share
of it: γ gives such a peak a width that it does not have. Found on pairs and triples of RC elements at little noise."""

_ONE_DEVIATION = 0.6827
"""Probability within one standard deviation."""

_BESIDE = 0.1
"""Distance in ln τ of a shoulder from the last relaxation time of one sign that is there because the sign changes."""

_NOTHING, _HIGHEST = 1e-13, 1.2
"""γ beside a range of one sign, and the highest peak in it, as shares of its largest value there."""


def features(
    seen: tuple[float, float],
    coefficients: Array,
    posterior: "Callable[[NDArray[np.intp]], LogPosterior]",
    limits: tuple[float, float],
    most: int,
) -> tuple[Array, NDArray[np.int64]]:
    """Find maxima and shoulders of ln γ, and what lies beyond them.

    Parameters
    ----------
    seen : tuple of float
        Shortest and longest relaxation time that the data show, s.
    coefficients : ndarray, shape (K, M)
        Piecewise linear γ at the relaxation times, ohm.
    posterior : callable
        Posterior of some rows; called from several threads at once.
    limits : tuple of float
        Significance that maxima and shoulders must have.
    most : int
        How many rows there may be; two of them are for what lies beyond the features.

    Returns
    -------
    found : ndarray, shape (K, most, C)
        As :data:`drt_kernels.log_peaks.COLUMNS` has them.
    count : ndarray of int, shape (K,)
        How many.

    Raises
    ------
    InputError
        For a posterior of a γ that is not piecewise linear.
    """
    rows = len(coefficients)
    found, count = np.zeros((rows, most, kernels.COLUMNS)), np.zeros(rows, dtype=np.int64)
    edges = np.log(seen)
    positive = np.isfinite(coefficients).all(axis=1) & (coefficients > 0.0).all(axis=1)

    def work(tile: NDArray[np.intp]) -> None:
        known = posterior(tile)
        if known.expansion.basis != "piecewise-linear":
            raise InputError(f"posterior must be of a piecewise linear γ; got {known.expansion.basis}.")
        y = np.log(known.expansion.tau)
        window = int(np.searchsorted(y, edges[0])), int(np.searchsorted(y, edges[1], "right")) - 1
        part, number = np.zeros((tile.size, *found.shape[1:])), np.zeros(tile.size, dtype=np.int64)
        gamma = np.ascontiguousarray(coefficients[tile])
        kernels.find(y, gamma, np.ascontiguousarray(known.covariance), limits, window, part, number)
        part[..., _R_ERROR] = np.hypot(part[..., _R_ERROR], _leaning(y, gamma, part, number))
        part[..., _R_ERROR] = np.hypot(part[..., _R_ERROR], _beyond(known, part, number))
        narrow = part[..., _WIDTH] < _NARROWER * float(np.median(np.diff(y)))
        part[..., _R_ERROR] = np.hypot(part[..., _R_ERROR], _NARROW * narrow * part[..., _R])
        if known.pull is not None:
            part[..., _R_ERROR] = np.hypot(
                part[..., _R_ERROR], _held(y, gamma * known.pull[:, 0, : y.size], part, number)
            )
        found[tile], count[tile] = part, number

    for row in np.flatnonzero(np.isfinite(coefficients).all(axis=1) & (coefficients < 0.0).any(axis=1)):
        ranges = _by_range(coefficients[row], posterior(np.array([row])), edges, limits, most)
        count[row] = min(len(ranges), most)
        found[row, : count[row]] = ranges[: count[row]]
    order = np.flatnonzero(positive)
    run_tiles(work, [order[k : k + _TILE] for k in range(0, order.size, _TILE)])
    return found, count


def _without_ends(found: Array, ends: tuple[float, float]) -> Array:
    """Give shoulders at the ends of a range of one sign to their neighbours: γ bends there because it goes to zero."""
    for at, beside, limit in ((0, 1, _LOWER), (-1, -2, _LOWER + 1)):
        if len(found) < 2 or found[at, _KIND] != kernels.SHOULDER or abs(found[at, 0] - ends[at]) > _BESIDE:
            continue
        found[beside, [_R, limit]] = found[beside, _R] + found[at, _R], found[at, limit]
        found = np.delete(found, at, axis=0)
    return found


def _leaning(y: Array, gamma: Array, rows: Array, count: NDArray[np.int64]) -> Array:
    """By how much resistances may lean towards the smaller one beside each valley, ohm, shape (K, rows)."""
    most = rows.shape[1]
    beside = np.arange(1, most) < count[:, None]
    place, size = rows[:, 1:, _LOWER], np.where(beside, np.abs(rows[:, 1:, _R]), 1.0)
    before = np.where(beside, np.abs(rows[:, :-1, _R]), 1.0)
    at = np.clip(np.searchsorted(y, place) - 1, 0, y.size - 2)
    share = (place - y[at]) / (y[at + 1] - y[at])
    there = np.take_along_axis(gamma, at, 1) * (1.0 - share) + np.take_along_axis(gamma, at + 1, 1) * share
    with np.errstate(divide="ignore"):
        ratio = np.minimum(np.abs(np.log(size) - np.log(before)), np.log(_MOST_RATIO))
    moved = np.where(beside, _LEANING * there * ratio, 0.0)
    return np.asarray(np.hypot(np.pad(moved, ((0, 0), (1, 0))), np.pad(moved, ((0, 0), (0, 1)))))


def _beyond(known: "LogPosterior", rows: Array, count: NDArray[np.int64]) -> Array:
    """Find what may lie beyond the window of the data and is not known of the first and of the last row, ohm."""
    out = np.zeros(rows.shape[:2])
    if not known.reciprocal:
        out[:, 0], slow = known.goes_on
        last = np.arange(len(rows)), np.maximum(count - 1, 0)
        out[last] = np.hypot(out[last], np.hypot(known.beyond(_ONE_DEVIATION), slow))
    return out


def _held(y: Array, change: Array, rows: Array, count: NDArray[np.int64]) -> Array:
    """By how much the data would change resistances if the prior did not hold them, ohm, shape (K, rows).

    Parameters
    ----------
    y : ndarray, shape (M,)
        ln τ.
    change : ndarray, shape (K, M)
        By how much γ would change, ohm.
    rows, count
        As `kernels.find` leaves them.
    """
    up_to = np.zeros_like(change)
    np.cumsum(0.5 * (change[:, 1:] + change[:, :-1]) * np.diff(y), axis=1, out=up_to[:, 1:])
    place = np.clip(rows[..., _LOWER : _LOWER + 2], y[0], y[-1])
    at = np.clip(np.searchsorted(y, place) - 1, 0, y.size - 2)
    share = (place - y[at]) / (y[at + 1] - y[at])
    number = np.arange(len(change))[:, None, None]
    ends = up_to[number, at] + share * (up_to[number, at + 1] - up_to[number, at])
    there = np.arange(rows.shape[1]) < count[:, None]
    return np.where(there, ends[..., 1] - ends[..., 0], 0.0)


def _by_range(gamma: Array, known: "LogPosterior", edges: Array, limits: tuple[float, float], most: int) -> Array:
    """Features of a γ of both signs, each range of one sign for itself, shape (c, C)."""
    y = np.log(known.expansion.tau)
    bounds = [0, *(np.flatnonzero(np.sign(gamma[1:]) != np.sign(gamma[:-1])) + 1), y.size]
    out = []
    for first, last in pairwise(bounds):
        sign = float(np.sign(gamma[first]))
        # Between two signs γ goes through zero: what is next is nothing, known for sure.
        more = slice(max(first - 1, 0), min(last + 1, y.size))
        place = np.ascontiguousarray(y[more])
        own = (np.arange(y.size)[more] >= first) & (np.arange(y.size)[more] < last)
        size = np.where(own, np.abs(gamma[more]), _NOTHING * np.abs(gamma[first:last]).max())
        covariance = known.covariance[:, more, more] * own[:, None] * own
        ends = np.searchsorted(place, edges[0]), np.searchsorted(place, edges[1], "right") - 1
        window = min(int(ends[0]), place.size - 1), max(int(ends[1]), 0)
        rows, number = np.zeros((1, most, kernels.COLUMNS)), np.zeros(1, dtype=np.int64)
        kernels.find(place, size[None], np.ascontiguousarray(covariance), limits, window, rows, number)
        found = _without_ends(rows[0, : number[0]], (y[first], y[last - 1]))
        # A parabola through nothing has its top anywhere.
        found[:, 2] = np.minimum(found[:, 2], _HIGHEST * size.max())
        found[:, _SIGNED] *= sign
        out.append(found)
    rows = np.concatenate(out)
    if not known.reciprocal:
        rows[:, _R_ERROR] = np.hypot(rows[:, _R_ERROR], _hidden(rows))
        # The slowest, if there is one.
        rows[-1:, _R_ERROR] = np.hypot(rows[-1:, _R_ERROR], np.abs(known.beyond(_ONE_DEVIATION)))
    return rows


def _hidden(rows: Array) -> Array:
    """By how much resistances may lean to zero as the flank of a positive peak goes on below a negative one, ohm, (c,).

    γ has one sign everywhere, so that the flank is taken off both. It is that of a ZARC element with the resistance and
    the height of the peak.
    """
    tau, r, height = rows[:, :3].T
    flank = hidden_flanks(tau, r, height, rows[:, [_LOWER, _LOWER + 1]])
    return np.asarray(FLANK * (flank.sum(axis=0) + flank.sum(axis=1)))


def hidden_flanks(y: Array, r: Array, height: Array, ends: Array) -> Array:
    """Resistance that the flank of each positive peak has below each negative one, ohm, shape (c, c).

    Parameters
    ----------
    y, r, height : ndarray, shape (c,)
        ln τ, resistance and height of the peaks of a spectrum, ohm.
    ends : ndarray, shape (c, 2)
        Their boundaries in ln τ.
    """
    above, below = (r > 0.0) & (height > 0.0), r < 0.0
    steep = 2.0 * np.pi * height[above, None] / r[above, None]
    until = [share_until(ends[below, side] - y[above, None], steep) for side in (0, 1)]
    out = np.zeros((r.size, r.size))
    out[np.ix_(above, below)] = r[above, None] * (until[1] - until[0])
    return out
