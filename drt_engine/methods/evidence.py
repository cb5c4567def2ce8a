"""Marginal likelihood of a spectrum under a model, by the approximation of Laplace."""

from typing import TYPE_CHECKING

import numpy as np
import scipy
from numpy.typing import NDArray

if TYPE_CHECKING:
    from drt_kernels.log_gaussian import Grid

__all__ = ["log_evidence", "log_normaliser"]

Array = NDArray[np.float64]

_ROUNDS = 4
"""Of making the bound best."""

_RIDGE = 1e-11
"""Added to the diagonal, as a share of it: far above rounding, and of no weight where data or prior say anything."""


def log_evidence(
    grid: "Grid", b: Array, parts: Array, y: Array, hyper: Array, given: Array, prior: tuple[float, Array]
) -> float:
    """Logarithm of the marginal likelihood, but for constants that all models of a spectrum share.

    The data's part is taken to second order around the solution [1]_. The bends' part of the prior is far from
    a parabola where bends are small; it is bounded from below by the one that touches it at ±ξ, with ξ² the expected
    square of the bend [2]_. Noise and λ are those that were found; R_inf and L have no prior.

    Parameters
    ----------
    grid, b, parts, y, hyper, given
        As the kernel takes them and leaves them, for one spectrum: data of shape (n,), unknowns (N,).
    prior : tuple
        Logarithm of the density of what models do not share, at the solution, and a factor of its precision, shape
        (r, N): what the data do not hold is not wider than it was before them.

    References
    ----------
    .. [1] D. J. C. MacKay, Neural Comput. 4 (1992) 415.
    .. [2] T. S. Jaakkola, M. I. Jordan, Stat. Comput. 10 (2000) 25.
    """
    lam, logs, size = float(hyper[2]), grid.logs, grid.size
    value = np.concatenate([np.exp(y[:logs]), y[logs:]])
    residual = value @ grid.columns[:size] - b
    points = parts.shape[1]
    variance = hyper[0] * parts[0] + hyper[1] * parts[1]
    distance = (residual[:points] ** 2 + residual[points:] ** 2) / variance
    t = grid.tail
    loss = 0.5 * distance if t == 0.0 else (0.5 / t + 1.0) * np.log1p(t * distance)
    weight = np.tile((1.0 + 2.0 * t) / (1.0 + t * distance) / variance, 2)
    own = grid.columns[:size] * np.concatenate([value[:logs], np.ones(size - logs)])[:, None]
    force = own @ (weight * residual)
    hessian = (own * weight) @ own.T
    hessian[np.arange(logs), np.arange(logs)] += np.maximum(force[:logs], 0.0)
    with np.errstate(over="ignore"):
        hessian += prior[1].T @ prior[1]
    if not (lam > 0.0 and np.isfinite(hessian).all()):
        return -np.inf
    total = float(-np.log(variance).sum() - loss.sum() + prior[0])
    bound = np.flatnonzero(y[logs:] <= 0.0) + logs
    # At a bound that the data push against, the integral is that of an exponential and half a normal distribution.
    total -= float(np.log(np.maximum(force[bound], 0.0) + np.sqrt(2.0 * hessian[bound, bound] / np.pi)).sum())
    free = np.setdiff1d(np.arange(size), bound)
    try:
        total += _integral(grid, y[:logs], lam, hessian[np.ix_(free, free)])
    except np.linalg.LinAlgError:
        # Nothing holds the solution in some direction, as where γ vanishes in all of a range.
        return -np.inf
    if np.isnan(given[2]):
        total -= 0.125 * float(np.log(lam) / grid.width) ** 2
    if np.isnan(given[:2]).all():
        total -= 0.5 * float(np.sum(((np.log(hyper[:2]) - grid.noise[0]) / grid.noise[1]) ** 2))
    return total


def _integral(grid: "Grid", u: Array, lam: float, hessian: Array) -> float:
    """Logarithm of the integral of the prior times a normal distribution around u; the bound is made best.

    `hessian` is that of the other, for ln γ first; the part of the prior is added.
    """
    bend = grid.bend
    change = np.diff(u) - grid.lean
    stiff = lam * grid.slope
    base = np.array(hessian, order="F")
    _add(base, (0, 0), stiff)
    _add(base, (1, 1), stiff)
    _add(base, (1, 0), -stiff)
    square = np.asarray(sum(bend[:, n] * u[n : n + len(bend)] for n in range(3))) ** 2
    expected = square.copy()
    for _ in range(_ROUNDS):
        curvature = grid.rate * lam / np.sqrt(grid.knee**2 + lam * expected)
        factor = _factor(base, grid, curvature)
        inverse, _ = scipy.linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
        expected = square.copy()
        for one in range(3):
            for other in range(one + 1):
                near = inverse.diagonal(other - one)[other : other + len(bend)]
                expected += (1.0 + (one != other)) * bend[:, one] * bend[:, other] * near
    root = np.sqrt(1.0 + lam * expected / grid.knee**2)
    curvature = grid.rate * lam / (grid.knee * root)
    cost = 0.5 * float(stiff @ change**2)
    cost += float(np.sum(grid.rate * grid.knee * (root - 1.0) - 0.5 * curvature * (expected - square)))
    links = int(np.count_nonzero(grid.slope))
    determinant = 2.0 * float(np.log(_factor(base, grid, curvature).diagonal()).sum())
    return 0.5 * (len(base) * float(np.log(2.0 * np.pi)) - determinant + links * float(np.log(lam))) - cost


def _add(matrix: Array, first: tuple[int, int], values: Array) -> None:
    """Add values to elements along a diagonal, from a first one on; columns are contiguous."""
    size = len(matrix)
    along = matrix.reshape(-1, order="F")[first[0] + first[1] * size :: size + 1]
    along[: values.size] += values


def _factor(base: Array, grid: "Grid", curvature: Array) -> Array:
    """Cholesky's factor, below the diagonal, of a matrix and what bends of a curvature say of their neighbours.

    Raises
    ------
    LinAlgError
        Where the matrix is not positive definite.
    """
    whole = base.copy(order="F")
    for one in range(3):
        for other in range(one + 1):
            _add(whole, (one, other), curvature * grid.bend[:, one] * grid.bend[:, other])
    # Where γ vanishes, nothing holds its level but this.
    _add(whole, (0, 0), _RIDGE * whole.diagonal()[: grid.logs])
    factor, failed = scipy.linalg.lapack.dpotrf(whole, lower=1, clean=0, overwrite_a=1)
    if failed:
        raise np.linalg.LinAlgError
    return np.asarray(factor)


def log_normaliser(grid: "Grid") -> float:
    """Logarithm of the integral of the prior of ln γ over all but the level of each linked range, at λ = 1.

    Parameters
    ----------
    grid : Grid
        What the kernel knows of the prior.
    """
    first = np.concatenate([[True], grid.slope == 0.0])
    # A level that is held with a precision of 2π has an integral of 1.
    level = np.diag(np.where(first, 2.0 * np.pi, 0.0))
    steps = np.where(grid.slope == 0.0, 0.0, grid.lean)
    u = np.concatenate([[0.0], np.cumsum(steps)])
    for at in np.flatnonzero(first):
        u[at:] -= u[at]
    return _integral(grid, u, 1.0, level)
