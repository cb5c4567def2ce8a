"""The largest γ that data allow at each relaxation time, whatever was expected before they were seen."""

import numpy as np
from numpy.typing import NDArray

from drt_kernels.ceilings import largest

__all__ = ["largest_allowed"]

Array = NDArray[np.float64]


def largest_allowed(matrix: Array, weights: Array, solution: Array, logs: int, quantile: float = 1.96) -> Array:
    """Find how large a coefficient of γ may be until the residuals say no.

    A coefficient can only grow where others make room for it, and those that are not negative make room by what they
    have. So a coefficient x_m may grow at the expense of the ones that are at least as large as it becomes, and of the
    series elements: by as many standard deviations as `quantile` of x_m in the least-squares problem of these. Where
    all others are small, that is the plain limit of detection.

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
    quantile : float
        Standard deviations.

    Returns
    -------
    ndarray, shape (K, M)
        In the units of `solution`.
    """
    room = np.abs(solution)
    room[:, logs:] = np.inf
    order = np.argsort(-room, axis=1, kind="stable")
    found, back = np.empty_like(room), np.empty_like(room)
    sorted_room = np.take_along_axis(room, order, 1)
    largest(np.ascontiguousarray(matrix), weights, sorted_room, order, quantile, found)
    np.put_along_axis(back, order, found, axis=1)
    return back[:, :logs]
