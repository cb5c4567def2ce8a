"""Last step of non-negative least squares, by orthogonal transformations, where rounding leaves a sign open."""

import numpy as np
import scipy
from numpy.typing import NDArray

from drt_engine.model.problem import Problem

__all__ = ["finish"]

Array = NDArray[np.float64]


def finish(problem: Problem, x: Array, b: Array, regularisation: float) -> Array:
    """Move a solution that is near the optimum onto it.

    A gradient by the residual of a given x is known to rounding of the data, and where the stacked matrix [A; √λL] is
    nearly singular that is worth a large step. So the gradient is taken from the part of the data that is orthogonal to
    the passive columns, which is known to rounding of itself; the rest is the active-set method of C. L. Lawson and
    R. J. Hanson (Solving Least Squares Problems, 1974, chapter 23), begun where the solution is.

    Parameters
    ----------
    problem : Problem
        The matrices.
    x : ndarray, shape (N,)
        A solution, not negative.
    b : ndarray, shape (n,)
        Data.
    regularisation : float
        λ.

    Returns
    -------
    ndarray, shape (N,)
    """
    stacked = np.vstack([problem.matrix, np.sqrt(regularisation) * problem.penalty_factor])
    norms = np.linalg.norm(stacked, axis=0)
    stacked /= norms
    data = np.concatenate([b, np.zeros(len(problem.penalty_factor))])
    x = x * norms
    passive = x > stacked.T @ (stacked @ x - data)
    x[~passive] = 0.0
    refused = np.zeros(x.size, dtype=bool)
    last = -1
    for _ in range(3 * x.size):
        x, gradient = _inside(stacked, data, x, passive)
        if last >= 0 and not passive[last]:
            refused[last] = True  # its step was backwards: the sign that chose it was rounding
        else:
            refused[:] = False
        gradient[passive | refused] = 0.0
        last = int(gradient.argmin())
        if gradient[last] >= 0.0:
            break
        passive[last] = True
    return np.asarray(x / norms)


def _inside(stacked: Array, data: Array, x: Array, passive: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Least squares in the passive unknowns, with the gradient; those that reach zero on the way are made active."""
    while True:
        q, triangle = scipy.linalg.qr(stacked[:, passive], check_finite=False)
        count = int(np.count_nonzero(passive))
        turned = q.T @ data
        free = np.zeros_like(x)
        free[passive] = scipy.linalg.solve_triangular(triangle[:count], turned[:count], check_finite=False)
        blocked = np.flatnonzero(passive & (free <= 0.0))
        if not blocked.size:
            return free, -(turned[count:] @ (q[:, count:].T @ stacked))
        steps = x[blocked] / np.maximum(x[blocked] - free[blocked], np.finfo(float).tiny)
        x = x + steps.min() * (free - x)
        x[blocked[steps == steps.min()]] = 0.0
        passive &= x > 0.0
