"""The largest γ that data allow at each relaxation time, whatever was expected before they were seen."""

import numpy as np
from numpy.typing import NDArray

from drt_kernels.ceilings import largest

__all__ = ["largest_allowed"]

Array = NDArray[np.float64]

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
    room = np.abs(solution)
    room[:, logs:] = np.inf
    order = np.argsort(-room, axis=1, kind="stable")
    found, back = np.empty_like(room), np.empty_like(room)
    sorted_room = np.take_along_axis(room, order, 1)
    largest(np.ascontiguousarray(matrix), weights, sorted_room, order, _QUANTILE, found)
    np.put_along_axis(back, order, found, axis=1)
    return back[:, :logs]
