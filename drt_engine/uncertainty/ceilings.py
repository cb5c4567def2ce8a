"""The largest γ that data allow at each relaxation time, whatever was expected before they were seen."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["largest_allowed"]

Array = NDArray[np.float64]

_ROUNDING = 1e-12
"""Share of its square that a column has to have beside others, to be another one."""


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
    rows, size = solution.shape
    room = np.abs(solution)
    room[:, logs:] = np.inf
    order = np.argsort(-room, axis=1, kind="stable")
    gram = np.einsum("ni,kn,nj->kij", matrix, weights**2, matrix, optimize=True)
    gram = np.take_along_axis(np.take_along_axis(gram, order[:, :, None], 1), order[:, None, :], 2)
    room = np.take_along_axis(room, order, 1)
    own = np.einsum("kii->ki", gram).copy()
    left, factor = own.copy(), np.zeros_like(gram)
    out, found, place = np.full((rows, size), np.inf), np.zeros((rows, size), dtype=bool), np.arange(size)
    for k in range(size):
        # The first k make room. Cholesky's factor of these leaves of each other column what they cannot take its place.
        value = room + quantile / np.sqrt(np.maximum(left, _ROUNDING * own))
        ready = ~found & (place >= k) & (value >= room[:, k, None])
        out[ready], found = value[ready], found | ready
        if found.all():
            break
        column = gram[:, :, k] - np.einsum("kij,kj->ki", factor[:, :, :k], factor[:, k, :k])
        independent = left[:, k] > _ROUNDING * own[:, k]
        pivot = np.where(independent, left[:, k], np.inf)
        factor[:, :, k] = column / np.sqrt(pivot)[:, None]
        left = left - factor[:, :, k] ** 2
    back = np.empty_like(out)
    np.put_along_axis(back, order, out, axis=1)
    return back[:, :logs]
