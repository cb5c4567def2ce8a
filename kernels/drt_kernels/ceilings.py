"""How large a coefficient of γ may be before the residuals of a spectrum say no.

Axes in the comments: k = spectra, q = data (real parts, then imaginary ones), i = unknowns from the largest to the
smallest.
"""

import math
from typing import NamedTuple

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

# So many of the largest are held to what they have: beside an ideal RC element, limits are twelve times what the data
# allow without it, with up to eight of them 2.9 times, and with sixteen 2.4 times. With arcs that are not ideal more
# make room, and limits are below what the data allow anyway.
_FEW = 16

# What a column is that others stand for, beside 1 for one that makes room and 0 for one that has given all.
_NONE = -1.0

# Growth up to so many times the coefficient is let pass, since it is no such small γ beside a large one.
_LITTLE = 2.0


class _Unknowns(NamedTuple):
    """Of a spectrum, from the largest on: what they have, what is enough, their squares, and what is left of these."""

    room: Array
    enough: Array
    own: Array
    left: Array


class _Work(NamedTuple):
    """Of those that make room for one: which are free, columns that are orthogonal, and what has been given of them.

    The column of that one and what has been given, as far as the free ones cannot make them, and how often each is in
    what they can.
    """

    free: Array
    basis: Array
    given: Array
    column: Array
    of_column: Array
    rest: Array
    of_rest: Array


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
def _product(one: Array, other: Array, size: int) -> float:
    total = 0.0
    for q in range(size):
        total += one[q] * other[q]
    return total


@compiled(**INNER, fastmath=FAST)
def _make_orthogonal(factor: Array, i: int, free: Array, basis: Array) -> None:
    """Make the free ones of the first i columns of the factor orthogonal to those before, of length 1."""
    for k in range(i):
        for q in range(i):
            basis[k, q] = factor[q, k] if q <= k and free[k] > 0.0 else 0.0
        # Twice, since they are nearly alike. Those that are not free are zero.
        for other in range(2 * k):
            along = _product(basis[other % k], basis[k], i)
            for q in range(i):
                basis[k, q] -= along * basis[other % k, q]
        square = _product(basis[k], basis[k], i)
        if free[k] > 0.0 and not square > 0.0:
            free[k] = _NONE
        for q in range(i):
            basis[k, q] *= 1.0 / math.sqrt(square) if square > 0.0 else 0.0


@compiled(**INNER, fastmath=FAST)
def _project(factor: Array, i: int, free: Array, basis: Array, vector: Array, out: Array) -> None:
    """Leave in `vector` what the free ones of the first i columns cannot make, and in `out` how often each is in it."""
    for k in range(i):
        out[k] = _product(basis[k], vector, i)
        for q in range(i):
            vector[q] -= basis[k, q] * out[k]
    for k in range(i - 1, -1, -1):
        for other in range(k + 1, i):
            out[k] -= _product(basis[k], factor[:, other], other + 1) * out[other]
        out[k] = out[k] / _product(basis[k], factor[:, k], k + 1) if free[k] > 0.0 else 0.0


@compiled(**INNER, fastmath=FAST)
def _first_change(factor: Array, i: int, room: Array, w: _Work, t: float, end: float) -> tuple[float, int]:
    """Between t and `end`, where the first of i columns has given all, or makes room again; −1 where none does."""
    which = -1
    for k in range(i):
        if w.free[k] > 0.0:
            fall, rest = w.of_column[k], room[k] + w.of_rest[k]
        elif w.free[k] == 0.0:
            fall, rest = -_product(factor[:, k], w.column, k + 1), -_product(factor[:, k], w.rest, k + 1)
        else:
            continue
        if fall > 0.0 and rest < end * fall:
            end, which = max(t, rest / fall), k
    return end, which


@compiled(**INNER, fastmath=FAST)
def _growth(factor: Array, i: int, j: int, room: Array, share: float, quantile: float, w: _Work) -> float:
    """By how much x_j may grow where the first i make room for it, by no more than they have.

    The x_k ≥ −room_k of the least ‖Σ A_k x_k + t A_j‖ are followed from t = 0: one that has given all stays there until
    the least falls with it.
    """
    # All of them together can make whatever the first i rows hold of the column.
    for k in range(i - 1, -1, -1):
        w.free[k], w.given[k], w.column[k], w.rest[k], w.of_rest[k] = 1.0, 0.0, 0.0, 0.0, 0.0
        w.of_column[k] = factor[k, j]
        for other in range(k + 1, i):
            w.of_column[k] -= factor[k, other] * w.of_column[other]
        w.of_column[k] /= factor[k, k]
    t, which = _first_change(factor, i, room, w, 0.0, quantile / math.sqrt(share))
    for _ in range(3 * i):
        if which < 0:
            break
        gives = w.free[which] > 0.0
        w.free[which] = 0.0 if gives else 1.0
        for q in range(which + 1):
            w.given[q] += factor[q, which] * (room[which] if gives else -room[which])
        _make_orthogonal(factor, i, w.free, w.basis)
        for q in range(i):
            w.column[q], w.rest[q] = factor[q, j], w.given[q]
        _project(factor, i, w.free, w.basis, w.column, w.of_column)
        _project(factor, i, w.free, w.basis, w.rest, w.of_rest)
        # Where a t² − 2 b t + c is 0, that is as much as the quantile.
        a, b = share + _product(w.column, w.column, i), _product(w.column, w.rest, i)
        c = _product(w.rest, w.rest, i) - quantile * quantile
        end = max(t, (b + math.sqrt(max(b * b - a * c, 0.0))) / a)
        t, which = _first_change(factor, i, room, w, t, end)
    return t


@compiled(**INNER, fastmath=FAST)
def _settle(i: int, factor: Array, unknowns: _Unknowns, quantile: float, work: _Work, out: Array) -> int:
    """Limits of columns from i on that need no more room than there is up to it; how many are new."""
    room, enough, own, left = unknowns
    new = 0
    for j in range(i, room.size):
        if out[j] < 0.0:
            # Where q / √left is at least the gap, without the root, which is slow.
            share = max(left[j], 0.0) + _ROUNDING * own[j]
            gap = min(room[i], enough[j]) - room[j] if room[j] < room[i] else 0.0
            if gap <= 0.0 or gap * gap * share <= quantile * quantile:
                more = quantile / math.sqrt(share)
                little = _LITTLE * room[j]
                if 0 < i <= _FEW and more > little:
                    more = min(more, max(little, _growth(factor, i, j, room, share, quantile, work)))
                if more >= gap:
                    # Of those that are not as large, none makes room.
                    out[j] = room[j] + (min(more, room[i - 1] - room[j]) if i > 0 else more)
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
    squares, and each makes the limits of those after it larger. A few of them are held to what they have.
    """
    # (q,j),(k,q),(k,j),(k,j),(k,j)->(k,j)
    rows, size = room.shape
    width = -(-size // _TILE) * _TILE
    columns, factor = np.zeros((matrix.shape[0], width)), np.zeros((size, width))
    own, left, squares = np.empty(size), np.empty(size), np.empty(size)
    few = np.zeros((6, _FEW))
    work = _Work(few[0], np.zeros((_FEW, _FEW)), few[1], few[2], few[3], few[4], few[5])
    for k in range(rows):
        _take_squares(matrix, weights[k], order[k], squares, own)
        left[:], out[k] = own, -1.0
        missing = size
        for i in range(size):
            missing -= _settle(i, factor, _Unknowns(room[k], enough[k], own, left), quantile, work, out[k])
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
