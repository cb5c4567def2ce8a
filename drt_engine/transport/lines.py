"""Weighted straight lines, and tests of whether the data lie on one."""

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc, fdtrc, stdtrit

from drt_engine.transport.fitting import Array

__all__ = ["Line", "line"]


@dataclass(frozen=True)
class Line:
    """y = a + b x by weighted least squares.

    Attributes
    ----------
    a, b : float
        Ordinate at x = 0, and slope.
    covariance : ndarray, shape (2, 2)
        Of both, scaled by the scatter of the points.
    quantile : float
        Of Student's t for the requested level; NaN for two points.
    lack : float
        Probability of a scatter as large as this, if the errors are right; NaN without errors or with two points.
    curvature : float
        Probability of a curvature as large as this of points on a straight line; NaN with fewer than four points.
    """

    a: float
    b: float
    covariance: Array
    quantile: float
    lack: float
    curvature: float

    def deviation(self, x: float) -> float:
        """Return the standard deviation of the line at x."""
        row = np.array([1.0, x])
        return float(np.sqrt(row @ self.covariance @ row))


def line(x: Array, y: Array, error: Array | None, level: float, powers: tuple[int, ...] = (2,)) -> Line | None:
    """Fit a straight line.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Points.
    error : ndarray, shape (n,), or None
        Standard deviations of y; None if they are alike and not known.
    level : float
        Probability of the interval.
    powers : tuple of int
        Powers of x that the test of curvature adds, as far as there are points.

    Returns
    -------
    Line or None
        None for fewer than two different x.
    """
    if x.size < 2 or np.ptp(x) == 0:
        return None
    weight = np.ones(x.size) if error is None else 1 / error
    # centred and scaled, so that columns are not alike
    middle, scale = x.mean(), np.ptp(x)
    u = (x - middle) / scale
    inverse, found, rest = _solved(np.stack([np.ones(x.size), u], axis=1), y, weight)
    freedom = x.size - 2
    variance = rest / freedom if freedom else np.nan
    move = np.array([[1.0, -middle / scale], [0.0, 1 / scale]])
    a, b = move @ found
    lack = float(chdtrc(freedom, rest)) if freedom and error is not None else np.nan
    return Line(
        float(a),
        float(b),
        np.asarray(move @ (inverse * variance) @ move.T),
        float(stdtrit(freedom, 0.5 + level / 2)) if freedom else np.nan,
        lack,
        _curvature(u, y, weight, rest, powers),
    )


def _solved(design: Array, y: Array, weight: Array) -> tuple[Array, Array, float]:
    """Inverse of the normal matrix, solution, and weighted sum of squares that is left."""
    q, r = np.linalg.qr(design * weight[:, None])
    found = np.linalg.solve(r, q.T @ (y * weight))
    back = np.linalg.inv(r)
    return back @ back.T, found, float(np.sum(((y - design @ found) * weight) ** 2))


def _curvature(u: Array, y: Array, weight: Array, rest: float, powers: tuple[int, ...]) -> float:
    more = powers[: u.size - 3]
    if not more:
        return np.nan
    design = np.stack([u**k for k in (0, 1, *more)], axis=1)
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return np.nan
    left = _solved(design, y, weight)[2]
    freedom = u.size - design.shape[1]
    floor = 1e-24 * float(np.sum((y * weight) ** 2))
    return float(fdtrc(len(more), freedom, max(rest - left, 0.0) / len(more) / max(left / freedom, floor, 1e-300)))
