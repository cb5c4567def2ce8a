"""How large a coefficient of γ may be before the residuals of a spectrum say no.

Axes in the comments: k = spectra, q = data (real parts, then imaginary ones), i = unknowns from the largest to the
smallest.
"""

import math

import numpy as np
from numpy.typing import NDArray

from drt_kernels.compiling import compiled
from drt_kernels.dense import FAST, INNER, OUTER
from drt_kernels.simd import fma, load, same, store

__all__ = ["largest"]

Array = NDArray[np.float64]

# Columns are worked on so many at once.
_TILE = 16

# Share of its square that a column has to have beside others, to be another one.
_ROUNDING = 1e-12


@compiled(**INNER, fastmath=FAST)
def _next_row(columns: Array, factor: Array, i: int) -> None:
    """Products of column i with itself and those after it, less what the rows of the factor before it account for."""
    for j in range(i - i % _TILE, columns.shape[1], _TILE):
        s0 = s1 = s2 = s3 = same(0.0)
        for q in range(columns.shape[0]):
            x = same(columns[q, i])
            s0, s1 = fma(x, load(columns, q, j), s0), fma(x, load(columns, q, j + 4), s1)
            s2, s3 = fma(x, load(columns, q, j + 8), s2), fma(x, load(columns, q, j + 12), s3)
        for q in range(i):
            x = same(-factor[q, i])
            s0, s1 = fma(x, load(factor, q, j), s0), fma(x, load(factor, q, j + 4), s1)
            s2, s3 = fma(x, load(factor, q, j + 8), s2), fma(x, load(factor, q, j + 12), s3)
        store(factor, i, j, s0)
        store(factor, i, j + 4, s1)
        store(factor, i, j + 8, s2)
        store(factor, i, j + 12, s3)


@compiled(**INNER, fastmath=FAST)
def _take_squares(matrix: Array, weights: Array, order: NDArray[np.intp], squares: Array, own: Array) -> None:
    """Squares of the columns times the weights of a spectrum, in some order."""
    squares[:] = 0.0
    for q in range(matrix.shape[0]):
        for j in range(squares.size):
            x = matrix[q, j] * weights[q]
            squares[j] += x * x
    for i in range(order.size):
        own[i] = squares[order[i]]


@compiled(**INNER, fastmath=FAST)
def _take_columns(matrix: Array, weights: Array, order: NDArray[np.intp], columns: Array) -> None:
    """Columns times the weights of a spectrum in that order."""
    for q in range(matrix.shape[0]):
        for i in range(order.size):
            columns[q, i] = matrix[q, order[i]] * weights[q]


@compiled(**INNER, fastmath=FAST)
def _settle(i: int, room: Array, enough: Array, own: Array, left: Array, quantile: float, out: Array) -> int:
    """Limits of columns from i on that need no more room than there is up to it; how many are new."""
    new = 0
    for j in range(i, room.size):
        if out[j] < 0.0:
            # Where q / √left is at least the gap, without the root, which is slow.
            share = max(left[j], 0.0) + _ROUNDING * own[j]
            gap = min(room[i], enough[j]) - room[j] if room[j] < room[i] else 0.0
            if gap <= 0.0 or gap * gap * share <= quantile * quantile:
                out[j] = room[j] + quantile / math.sqrt(share)
                new += 1
    return new


@compiled(**OUTER, fastmath=FAST)
def largest(
    matrix: Array,
    weights: Array,
    room: Array,
    order: NDArray[np.intp],
    enough: Array,
    quantile: float,
    out: Array,
) -> None:
    """Limits of the coefficients, in the order of `order`; see :class:`drt_engine.uncertainty.ceilings.Ceilings`.

    `order` sorts the unknowns by `room`, the largest first. Of the Cholesky factor of AᵀWA in this order there are
    found as many rows as any limit below `enough` needs: the first rows take the place of a column by the sum of their
    squares, and each makes the limits of those after it larger.
    """
    # (q,j),(k,q),(k,j),(k,j),(k,j)->(k,j)
    rows, size = room.shape
    width = -(-size // _TILE) * _TILE
    columns, factor = np.zeros((matrix.shape[0], width)), np.zeros((size, width))
    own, left, squares = np.empty(size), np.empty(size), np.empty(size)
    for k in range(rows):
        _take_squares(matrix, weights[k], order[k], squares, own)
        left[:], out[k] = own, -1.0
        missing = size
        for i in range(size):
            missing -= _settle(i, room[k], enough[k], own, left, quantile, out[k])
            if missing == 0:
                break
            if i == 0:
                _take_columns(matrix, weights[k], order[k], columns)
            _next_row(columns, factor, i)
            pivot = factor[i, i] + _ROUNDING * own[i]
            share = 1.0 / math.sqrt(pivot) if pivot > 0.0 else 0.0
            for j in range(width):
                factor[i, j] *= share
            for j in range(i, size):
                left[j] -= factor[i, j] * factor[i, j]
