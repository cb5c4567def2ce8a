"""Normal distributions that are cut off at zero."""

import numpy as np
import scipy
from numpy.typing import NDArray

from drt_engine.uncertainty.base import check_level

__all__ = ["cut_at_zero", "most_probable"]

Array = NDArray[np.float64]

_SWEEPS, _DAMPING = 30, 0.8
"""Of the expectation propagation of series elements that may not be negative."""

_LEAST_LEFT = 1e-6
"""Share of its variance that a normal distribution keeps at least, when all but a tail of it is cut off."""


def most_probable(mean: Array, deviation: Array, level: float) -> tuple[Array, Array]:
    """Find the most probable values of normal distributions that are cut off at zero.

    Parameters
    ----------
    mean, deviation : ndarray, shape (K,)
        Of the normal distributions before they are cut off.
    level : float
        Probability of the interval.

    Returns
    -------
    low, high : ndarray, shape (K,)
        Symmetric about a mean far above zero, and from zero on otherwise.
    """
    check_level(level)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = mean / deviation
        above = scipy.special.log_ndtr(z)
        # Symmetric: 2 Φ(h) − 1 = level Φ(z); from zero on: Φ(−top) = (1 − level) Φ(z).
        half = scipy.special.ndtri(0.5 + 0.5 * level * np.exp(above))
        top = -scipy.special.ndtri_exp(np.log1p(-level) + above)
        apart = half < z
        low = np.where(apart, mean - half * deviation, 0.0 * z)
        return low, np.where(apart, mean + half * deviation, np.maximum(mean + top * deviation, 0.0))


def cut_at_zero(mean: Array, covariance: Array, first: int) -> tuple[Array, Array, Array]:
    """Cut off normal distributions where an unknown from `first` on is negative; expectation propagation [1]_.

    Parameters
    ----------
    mean, covariance : ndarray, shapes (K, N) and (K, N, N)
        The normal distributions; `covariance` is overwritten with what it is afterwards.
    first : int
        Parameters before are of either sign.

    Returns
    -------
    mean, covariance : ndarray, shapes (K, N) and (K, N, N)
        What they are afterwards.
    uncut : ndarray, shape (K, 2, N - first)
        Mean and standard deviation of each of these unknowns with the others cut off and itself not.

    References
    ----------
    .. [1] J. P. Cunningham, P. Hennig, S. Lacoste-Julien, arXiv:1111.6832 (2011).
    """
    part, across = covariance[:, first:, first:], covariance[:, :, first:]
    scale = np.sqrt(np.einsum("kii->ki", part))
    precision = np.linalg.inv(part / (scale[:, :, None] * scale[:, None, :]))
    start = mean[:, first:] / scale
    found, middle, uncut, cut = _sites(precision, np.einsum("kij,kj->ki", precision, start))
    moved = mean.copy()
    # Others are far from zero, and stay as they are.
    for k in np.flatnonzero(cut):
        back = across[k] @ (precision[k] / (scale[k][:, None] * scale[k]))
        less = part[k] - found[k] * scale[k][:, None] * scale[k]
        moved[k] += back @ (scale[k] * (middle[k] - start[k]))
        covariance[k] -= (back @ less) @ back.T
    return moved, covariance, uncut * scale[:, None]


def _sites(precision: Array, weighted: Array) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    """Factors of the expectation propagation, for variables of variance one before they are cut off.

    Parameters
    ----------
    precision, weighted : ndarray, shapes (K, n, n) and (K, n)
        Inverse covariances, and their products with the means.

    Returns
    -------
    covariance, mean : ndarray, shapes (K, n, n) and (K, n)
        With all cut off.
    uncut : ndarray, shape (K, 2, n)
        Mean and standard deviation of each with the others cut off.
    cut : ndarray of bool, shape (K,)
        Where anything was cut off.
    """
    covariance, (rows, number) = np.empty_like(precision), weighted.shape
    middle, uncut, sites = np.empty_like(weighted), np.empty((rows, 2, number)), np.zeros((rows, 2, number))
    left = np.arange(rows)
    for _ in range(_SWEEPS):
        before = sites[left]
        inverse = np.linalg.inv(precision[left] + before[:, 0, :, None] * np.eye(number))
        own = np.einsum("kii->ki", inverse)
        mean = np.einsum("kij,kj->ki", inverse, weighted[left] + before[:, 1])
        # Each without its own factor, then cut off.
        variance = 1.0 / (1.0 / own - before[:, 0])
        centre, deviation = variance * (mean / own - before[:, 1]), np.sqrt(variance)
        z = centre / deviation
        ratio = np.exp(-0.5 * z**2 - scipy.special.log_ndtr(z)) / np.sqrt(2.0 * np.pi)
        share = np.maximum(1.0 - ratio * (ratio + z), _LEAST_LEFT)
        narrow = variance * share
        wanted = 1.0 / narrow - 1.0 / variance, (centre + deviation * ratio) / narrow - centre / variance
        sites[left] += _DAMPING * (np.stack(wanted, axis=1) - before)
        covariance[left], middle[left], uncut[left, 0], uncut[left, 1] = inverse, mean, centre, deviation
        left = left[(sites[left] != before).any(axis=(1, 2))]
        if not left.size:
            break
    return covariance, middle, uncut, np.asarray(sites.any(axis=(1, 2)))
