"""Peaks of distributions whose logarithm has a known posterior."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import InputError
from drt_engine.threads import run_tiles
from drt_kernels import log_peaks as kernels

if TYPE_CHECKING:
    from drt_engine.uncertainty.posterior import LogPosterior

__all__ = ["features"]

Array = NDArray[np.float64]

_TILE = 128


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

    order = np.flatnonzero(positive)
    run_tiles(work, [order[k : k + _TILE] for k in range(0, order.size, _TILE)])
    return found, count
