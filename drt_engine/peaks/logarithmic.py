"""Peaks of distributions whose logarithm has a known posterior."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import InputError
from drt_engine.threads import run_tiles
from drt_kernels import log_peaks as kernels

if TYPE_CHECKING:
    from drt_engine.methods.posterior import LogPosterior

__all__ = ["features"]

Array = NDArray[np.float64]

_TILE = 128
_FEWEST = 5
"""Relaxation times of a range that is looked at for peaks."""


def features(
    frequency: Array,
    coefficients: Array,
    posterior: "Callable[[NDArray[np.intp]], LogPosterior]",
    limits: tuple[float, float],
    most: int,
) -> tuple[Array, NDArray[np.int64]]:
    """Find maxima and shoulders of ln γ, and what lies beyond them.

    Parameters
    ----------
    frequency : ndarray, shape (F,)
        Frequencies of the data, Hz.
    coefficients : ndarray, shape (K, M)
        Piecewise linear γ at the relaxation times, ohm.
    posterior : callable
        Posterior of some rows; called from several threads at once.
    limits : tuple of float
        Significance of maxima and of shoulders that is asked for.
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
    edges = -np.log(2.0 * np.pi * np.array([frequency.max(), frequency.min()]))
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
        found[tile], count[tile] = part, number

    for row in np.flatnonzero(np.isfinite(coefficients).all(axis=1) & (coefficients < 0.0).any(axis=1)):
        ranges = _by_range(coefficients[row], posterior(np.array([row])), edges, limits, most)
        count[row] = min(len(ranges), most)
        found[row, : count[row]] = ranges[: count[row]]
    order = np.flatnonzero(positive)
    run_tiles(work, [order[k : k + _TILE] for k in range(0, order.size, _TILE)])
    return found, count


_SIGNED = [1, 2, 4]
"""Columns that have the sign of γ: resistance, height and prominence."""


def _by_range(gamma: Array, known: "LogPosterior", edges: Array, limits: tuple[float, float], most: int) -> Array:
    """Features of a γ of both signs, each range of one sign for itself, shape (c, C)."""
    y = np.log(known.expansion.tau)
    bounds = [0, *(np.flatnonzero(np.sign(gamma[1:]) != np.sign(gamma[:-1])) + 1), y.size]
    out = []
    for first, last in zip(bounds[:-1], bounds[1:], strict=True):
        part = slice(first, last)
        size, sign = np.abs(gamma[part]), float(np.sign(gamma[first]))
        # Between two signs γ is a straight line through zero: half of the interval belongs to either.
        ends = [
            0.5 * (y[at] - y[at - 1]) * abs(gamma[of]) if 0 < at < y.size else 0.0
            for at, of in ((first, first), (last, last - 1))
        ]
        if last - first < _FEWEST:
            whole = float(np.trapezoid(size, y[part])) + sum(ends)
            top = int(size.argmax())
            rows = np.zeros((1, kernels.COLUMNS))
            rows[0] = [
                y[first + top],
                whole,
                size[top],
                np.nan,
                np.nan,
                np.nan,
                np.nan,
                np.nan,
                y[first],
                y[last - 1],
                kernels.EDGE,
            ]
        else:
            window = int(np.searchsorted(y[part], edges[0])), int(np.searchsorted(y[part], edges[1], "right")) - 1
            window = min(window[0], last - first - 1), max(window[1], 0)
            rows, number = np.zeros((1, most, kernels.COLUMNS)), np.zeros(1, dtype=np.int64)
            covariance = np.ascontiguousarray(known.covariance[:, part, part])
            kernels.find(np.ascontiguousarray(y[part]), size[None], covariance, limits, window, rows, number)
            rows = rows[0, : number[0]]
            if len(rows):
                rows[0, 1] += ends[0]
                rows[-1, 1] += ends[1]
        rows[:, _SIGNED] *= sign
        out.append(rows)
    return np.concatenate(out)
