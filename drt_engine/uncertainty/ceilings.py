"""The largest γ that data allow at each relaxation time, whatever was expected before they were seen."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["largest_allowed"]

Array = NDArray[np.float64]

_ROUNDING = 1e-12
"""Share of its square that a column has to have beside others, to be another one."""

_QUANTILE = 1.96
"""Standard deviations on either side that hold 95 % of a normal distribution."""


def largest_allowed(matrix: Array, weights: Array, solution: Array, logs: int) -> Array:
    """Find how large a coefficient of γ may be until the residuals say no.

    A coefficient can only grow where others make room for it, and those that are not negative make room by what they
    have. So a coefficient x_m may grow at the expense of the ones that are at least as large as it becomes, and of the
    series elements: by 1.96 standard deviations of x_m in the least-squares problem of these, those of a normal
    distribution that hold 95 %. Where all others are small, that is the plain limit of detection.

    Parameters
    ----------
    matrix : ndarray, shape (n, N)
        Columns of the unknowns, those of γ first.
    weights : ndarray, shape (K, n)
        Reciprocal standard deviations of the data.
    solution : ndarray, shape (K, N)
        Unknowns of the solutions, in units of the columns.
    logs : int
        How many of the unknowns are coefficients of γ.

    Returns
    -------
    ndarray, shape (K, M)
        In the units of `solution`.
    """
    rows, size = solution.shape
    room = np.abs(solution)
    room[:, logs:] = np.inf
    order = np.argsort(-room, axis=1, kind="stable")
    gram = (matrix.T * weights[:, None, :] ** 2) @ matrix
    gram = np.take_along_axis(np.take_along_axis(gram, order[:, :, None], 1), order[:, None, :], 2)
    room = np.take_along_axis(room, order, 1)
    own = np.einsum("kii->ki", gram).copy()
    np.einsum("kii->ki", gram)[:] += _ROUNDING * own
    # Row i of Cholesky's factor, up to column k, is what the first k can take the place of in column i.
    taken = np.cumsum(np.linalg.cholesky(gram) ** 2, axis=2)
    left = np.maximum(own[:, :, None] - np.concatenate([np.zeros((rows, size, 1)), taken[:, :, :-1]], axis=2), 0.0)
    value = room[:, :, None] + _QUANTILE / np.sqrt(left + _ROUNDING * own[:, :, None])
    # The first k make room for a coefficient, with k as small as the next one is smaller than what it becomes.
    ready = (value >= room[:, None, :]) & np.tri(size, dtype=bool)
    first = ready.argmax(axis=2)[:, :, None]
    back = np.empty_like(room)
    np.put_along_axis(back, order, np.take_along_axis(value, first, 2)[:, :, 0], axis=1)
    return back[:, :logs]
