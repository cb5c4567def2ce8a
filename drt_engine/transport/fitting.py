"""Least squares of many small nonlinear problems at once, within bounds.

The Levenberg-Marquardt method [1]_ with projection on the bounds, for K problems with the same N parameters; each goes
its own way, and is left out as soon as it is done.

.. [1] D. W. Marquardt, J. Soc. Ind. Appl. Math. 11 (1963) 431.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Fits", "Model", "Slopes", "fit", "fit_best", "gradient_deviation"]

Array = NDArray[np.float64]

Slopes = Callable[[NDArray[np.bool_]], Array]
"""Derivatives (K', D, N) of the residuals of those problems that are asked for: two of five steps need none."""

Model = Callable[[Array, NDArray[np.intp]], tuple[Array, Slopes]]
"""Residuals (K, D) at parameters (K, N) of the problems with these numbers, and what gives their derivatives."""

_MOST_STEPS = 80
"""Steps of a fit at most; the optimality of one that has not settled by then says so."""
_CLOSE, _ROUGH = 1e-12, 1e-6
"""Relative fall of χ² in a step that ends a fit, and one that only compares starts."""
_SCREENING = 15
"""Steps of a fit from each of several starts, after which they are compared: only the best one goes on to the end."""
_MOST_DAMPING = 1e12
"""Damping from which a step changes no digit, and a fit ends."""
_UNSEEN = 1e-30
"""Least length of the derivatives of all residuals by a parameter, instead of none: what has no effect is not known."""


@dataclass(frozen=True)
class Fits:
    """Solutions of K problems with N parameters and D data.

    Attributes
    ----------
    x : ndarray, shape (K, N)
        Parameters.
    chi2 : ndarray, shape (K,)
        Sum of the squared residuals.
    covariance : ndarray, shape (K, N, N)
        Inverse of JᵀJ for residuals of unit variance, zero for parameters at a bound.
    optimality : ndarray, shape (K,)
        Largest cosine between the residual and a derivative, of parameters that are free; 0 is exact.
    freedom : ndarray of int, shape (K,)
        Number of data less that of free parameters.
    """

    x: Array
    chi2: Array
    covariance: Array
    optimality: Array
    freedom: NDArray[np.intp]

    def take(self, rows: NDArray[np.intp]) -> "Fits":
        """Return some of them."""
        return Fits(*(getattr(self, name)[rows] for name in ("x", "chi2", "covariance", "optimality", "freedom")))

    def replaced(self, rows: NDArray[np.intp], others: "Fits") -> "Fits":
        """Return a copy in which some problems have other solutions."""
        names = ("x", "chi2", "covariance", "optimality", "freedom")
        arrays = [getattr(self, name).copy() for name in names]
        for array, name in zip(arrays, names, strict=True):
            array[rows] = getattr(others, name)
        return Fits(*arrays)


def fit(model: Model, start: Array, lower: Array, upper: Array, most: int | None = None) -> Fits:
    """Fit K problems.

    Parameters
    ----------
    model : callable
        Residuals and derivatives.
    start, lower, upper : ndarray, shape (K, N)
        Where to begin, and bounds, which may be infinite.
    most : int, optional
        How many steps at most; by default as many as a solution may need.

    Returns
    -------
    Fits
        The best that was reached.
    """
    x = np.clip(start, lower, upper)
    r, slopes = model(x, np.arange(len(x)))
    jacobian = slopes(np.ones(len(x), dtype=bool))
    chi2 = np.einsum("kd,kd->k", r, r)
    damping = np.full(len(x), 1e-2)
    active, close = np.arange(len(x)), _CLOSE if most is None else _ROUGH
    for _ in range(most or _MOST_STEPS):
        step = _step(x[active], r[active], jacobian[active], (lower[active], upper[active]), damping[active])
        trial = np.clip(x[active] + step, lower[active], upper[active])
        trial_r, slopes = model(trial, active)
        trial_chi2 = np.einsum("kd,kd->k", trial_r, trial_r)
        gain = chi2[active] - trial_chi2
        # NaN is no gain
        better = gain >= 0
        rows = active[better]
        x[rows], r[rows], chi2[rows] = (one[better] for one in (trial, trial_r, trial_chi2))
        if rows.size:
            jacobian[rows] = slopes(better)
        small = better & (gain <= close * trial_chi2) & (damping[active] <= 1e-4)
        damping[active] *= np.where(better, 0.2, 6.0)
        damping[active] = np.maximum(damping[active], 1e-12)
        active = active[~small & (damping[active] < _MOST_DAMPING)]
        if not active.size:
            break
    return _finished(x, r, jacobian, chi2, (lower, upper))


def fit_best(model: Model, starts: list[Array], lower: Array, upper: Array) -> Fits:
    """Fit K problems from several starts, and go on from the best of each.

    Parameters
    ----------
    model : callable
        Residuals and derivatives.
    starts : list of ndarray, shape (K, N)
        Where to begin, one or more for all problems.
    lower, upper : ndarray, shape (K, N)
        Bounds, which may be infinite.

    Returns
    -------
    Fits
        The best that was reached.
    """
    best, *others = (fit(model, start, lower, upper, _SCREENING if len(starts) > 1 else None) for start in starts)
    for found in others:
        # NaN is no better
        better = np.flatnonzero(~(found.chi2 >= best.chi2))
        best = best.replaced(better, found.take(better))
    return fit(model, best.x, lower, upper) if others else best


def gradient_deviation(gradient: Array, covariance: Array) -> Array:
    """Compute standard deviations of functions with these gradients (K, N), for a covariance (K, N, N)."""
    variance = np.einsum("kn,knm,km->k", gradient, covariance, gradient)
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


def _held(x: Array, gradient: Array, bounds: tuple[Array, Array]) -> NDArray[np.bool_]:
    """Which parameters are at a bound and would leave it."""
    lower, upper = bounds
    return np.asarray(((x <= lower) & (gradient > 0)) | ((x >= upper) & (gradient < 0)))


def _normal(
    x: Array, r: Array, jacobian: Array, bounds: tuple[Array, Array]
) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    """Scaled JᵀJ and gradient, with unit rows for what is held, the scales, and what is held."""
    hessian = np.swapaxes(jacobian, 1, 2) @ jacobian
    gradient = np.einsum("kdn,kd->kn", jacobian, r)
    held = _held(x, gradient, bounds)
    scale = np.sqrt(np.einsum("knn->kn", hessian))
    held |= ~(scale > 0)
    scale = np.where(held, 1.0, scale)
    hessian = hessian / (scale[:, :, None] * scale[:, None, :])
    hessian = np.where(held[:, :, None] | held[:, None, :], 0.0, hessian)
    place = np.arange(x.shape[1])
    hessian[:, place, place] = 1.0
    return hessian, np.where(held, 0.0, gradient / scale), scale, held


def _step(x: Array, r: Array, jacobian: Array, bounds: tuple[Array, Array], damping: Array) -> Array:
    hessian, gradient, scale, _ = _normal(x, r, jacobian, bounds)
    place = np.arange(x.shape[1])
    hessian[:, place, place] += damping[:, None]
    return np.asarray(-np.linalg.solve(hessian, gradient[..., None])[..., 0] / scale)


def _finished(x: Array, r: Array, jacobian: Array, chi2: Array, bounds: tuple[Array, Array]) -> Fits:
    hessian, gradient, scale, held = _normal(x, r, jacobian, bounds)
    place = np.arange(x.shape[1])
    # parameters that the data do not determine at all have a large variance, not an infinite one
    hessian[:, place, place] += 1e-13
    unseen = ~np.any(jacobian, axis=1)
    scale = np.where(unseen, _UNSEEN, np.maximum(scale, _UNSEEN))
    covariance = np.linalg.inv(hessian) / (scale[:, :, None] * scale[:, None, :])
    known = held & ~unseen
    covariance = np.where(known[:, :, None] | known[:, None, :], 0.0, covariance)
    size = np.sqrt(np.maximum(chi2, np.finfo(float).tiny))
    return Fits(x, chi2, covariance, np.max(np.abs(gradient), axis=1) / size, r.shape[1] - np.sum(~held, axis=1))
