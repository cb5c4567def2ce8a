"""Orthogonalisation for single spectra of the linear Kramers-Kronig test, and the search for what is wrong with one.

Axes in the comments: n = unknowns, d = data (real, then imaginary parts), q = trial columns, a = allowed columns,
f = frequencies.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Sums may be reordered, so that they vectorise.
_FAST = {"reassoc", "contract", "nsz", "arcp"}

# A column that keeps less than this share of its square after projection is a combination of those before it.
_DEPENDENT = 1e-26

POSED = 1e-6
"""Share of its freedom that the model has to leave to a point, or that cannot be told to be off."""

DRIFTS = 3
"""How many of the trial columns are drift; they come first."""

_POINT = DRIFTS
_SMOOTH = DRIFTS + 1

# By how much an allowed column has to exceed every fault; it explains part of most drifts.
_CLEARLY = 1.5


@njit(cache=True, nogil=True, fastmath=_FAST)
def _dot(a: Array, b: Array) -> float:
    s = 0.0
    for i in range(a.size):
        s += a[i] * b[i]
    return s


@njit(cache=True, nogil=True, fastmath=_FAST)
def _append(basis: Array, size: int, column: Array, least: float) -> bool:
    """Orthogonalise a column against the rows of a basis, twice, and append it; false if too little of it is left."""
    own = _dot(column, column)
    if own == 0.0:
        return False
    for _ in range(2):
        for j in range(size):
            vector = basis[j]
            s = _dot(vector, column)
            for i in range(column.size):
                column[i] -= s * vector[i]
    rest = _dot(column, column)
    if rest <= least * own:
        return False
    norm = 1.0 / math.sqrt(rest)
    for i in range(column.size):
        basis[size, i] = column[i] * norm
    return True


@njit(cache=True, nogil=True, fastmath=_FAST)
def _take(basis: Array, size: int, residual: Array) -> float:
    """Take the last vector of a basis out of the residual; its coefficient."""
    vector = basis[size]
    s = _dot(vector, residual)
    for i in range(residual.size):
        residual[i] -= s * vector[i]
    return s


@njit(cache=True, nogil=True)
def solve_dense(columns: Array, data: Array, x: Array) -> None:
    """Least squares by orthogonalisation, for one matrix that is too ill-conditioned for its normal equations.

    A column that depends on those before it gets the coefficient zero.
    """
    # (n,d),(d)->(n)
    unknowns, count = columns.shape
    basis = np.empty((unknowns, count))
    upper = np.zeros((unknowns, unknowns))
    right = np.zeros(unknowns)
    kept = np.empty(unknowns, np.int64)
    size = 0
    x[:] = 0.0
    residual = data.copy()
    for j in range(unknowns):
        if _append(basis, size, columns[j].copy(), _DEPENDENT):
            for i in range(size + 1):
                upper[i, size] = _dot(basis[i], columns[j])
            right[size] = _take(basis, size, residual)
            kept[size] = j
            size += 1
    for i in range(size - 1, -1, -1):
        s = right[i]
        for j in range(i + 1, size):
            s -= upper[i, j] * x[kept[j]]
        x[kept[i]] = s / upper[i, i]


@njit(cache=True, nogil=True, fastmath=_FAST)
def _worst_point(basis: Array, size: int, residual: Array, gone: Flags) -> tuple[int, float]:
    """Return the point whose two parts, left out, lower the sum of squares most, and by how much."""
    points = gone.size
    worst = -1
    most = 0.0
    for i in range(points):
        if gone[i]:
            continue
        rr = 1.0
        ii = 1.0
        ri = 0.0
        for j in range(size):
            rr -= basis[j, i] * basis[j, i]
            ii -= basis[j, points + i] * basis[j, points + i]
            ri -= basis[j, i] * basis[j, points + i]
        det = rr * ii - ri * ri
        if rr <= 0.0 or ii <= 0.0 or det <= POSED:
            continue
        re = residual[i]
        im = residual[points + i]
        square = (ii * re * re - 2.0 * ri * re * im + rr * im * im) / det
        if square > most:
            most = square
            worst = i
    return worst, most


@njit(cache=True, nogil=True)
def _try_one(
    basis: Array, size: int, trial: Array, residual: Array, squares: float, limits: Array
) -> tuple[float, float, float]:
    """Add one trial column for a moment; what it gains in F, its coefficient and the standard error of that."""
    left = residual.size - size - 1
    if left < 1 or not _append(basis, size, trial.copy(), limits[1]):
        return 0.0, 0.0, math.inf
    s = _dot(basis[size], residual)
    spread = max(squares - s * s, 0.0) / left + limits[0]
    slope = 1.0 / _dot(basis[size], trial)
    return s * s / spread, s * slope, math.sqrt(spread) * abs(slope)


@njit(cache=True, nogil=True)
def _try_all(
    basis: Array, size: int, trials: Array, residual: Array, squares: float, limits: Array
) -> tuple[float, int]:
    """Append the smooth trial columns to the basis; what they gain in F together, and how many count."""
    count = 0
    total = 0.0
    for t in range(DRIFTS, trials.shape[0]):
        if residual.size - size - count > 3 and _append(basis, size + count, trials[t].copy(), limits[1]):
            total += _dot(basis[size + count], residual) ** 2
            count += 1
    if count == 0:
        return 0.0, 0
    left = residual.size - size - count
    return total / count / (max(squares - total, 0.0) / left + limits[0]), count


@njit(cache=True, nogil=True)
def examine(  # noqa: C901, PLR0912, PLR0915 - one loop over one state; parted, it would pass ten arrays about
    columns: Array,
    data: Array,
    trials: Array,
    allowed: Array,
    critical: Array,
    limits: Array,
    gone: Flags,
    found: Array,
) -> None:
    """Explain one spectrum by the model and, one after the other, by what improves the fit most beyond chance.

    Candidates are drift of each kind (the first three trial columns), a point that is off, and smooth misfit (the other
    trial columns together). Each is held against its critical value of F; the one that exceeds it most joins the model,
    until none does. An `allowed` column is no fault: where it exceeds its critical value clearly more than any fault
    does, and no drift has joined, it joins instead.

    `columns` are those of the model and `data` what is fitted, both divided by |Z|. `critical` holds critical values of
    F by the degrees of freedom that are left: for drift, for a point, and for 1, 2, … smooth columns. `limits` are the
    variance below which no misfit counts, which share of the square of a trial column has to be left, how many points
    may go, and how many of the allowed columns, the first, end the search. `gone` returns the points and `found`: the
    largest F over its critical value at any step; drift, its standard error and whether it joined; whether smooth
    misfit joined; the sum of squares and the degrees of freedom at last; whether an allowed column ended the search,
    and whether one joined.
    """
    # (n,d),(d),(q,d),(a,d),(1+q,d),(4),(f)->(f),(9)
    unknowns, count = columns.shape
    basis = np.empty((unknowns + 2 * gone.size + trials.shape[0] + allowed.shape[0] + 2, count))
    residual = data.copy()
    size = 0
    for j in range(unknowns):
        if _append(basis, size, columns[j].copy(), _DEPENDENT):
            _take(basis, size, residual)
            size += 1
    gone[:] = False
    found[:] = 0.0
    is_open = np.ones(allowed.shape[0], np.bool_)
    taken = 0
    while count - size >= 5:
        left = count - size
        squares = _dot(residual, residual)
        best = 0.0
        choice = -1
        if found[3] == 0.0:
            for t in range(DRIFTS):
                gained, slope, error = _try_one(basis, size, trials[t], residual, squares, limits)
                ratio = gained / critical[0, left - 1]
                if ratio > best:
                    best = ratio
                    choice = t
                    found[1] = slope
                    found[2] = error
        allowance = 0.0
        which = -1
        if found[3] == 0.0:
            for t in range(allowed.shape[0]):
                gained, _, _ = _try_one(basis, size, allowed[t], residual, squares, limits)
                if is_open[t] and gained / critical[0, left - 1] > allowance:
                    allowance = gained / critical[0, left - 1]
                    which = t
        worst, square = _worst_point(basis, size, residual, gone)
        spread = max(squares - square, 0.0) / (left - 2) + limits[0]
        ratio = square / 2.0 / spread / critical[1, left - 2]
        if ratio > best and taken < limits[2]:
            best = ratio
            choice = _POINT
        gained, together = _try_all(basis, size, trials, residual, squares, limits)
        if together > 0:
            ratio = gained / critical[1 + together, left - together]
            if ratio > best:
                best = ratio
                choice = _SMOOTH
        if allowance > max(_CLEARLY * best, 1.0):
            if which < limits[3]:
                found[7] = 1.0
                break
            is_open[which] = False
            if _append(basis, size, allowed[which].copy(), limits[1]):
                _take(basis, size, residual)
                size += 1
                found[8] = 1.0
            continue
        found[0] = max(found[0], best)
        if best <= 1.0:
            break
        if choice == _SMOOTH:
            found[4] = 1.0
            for _ in range(together):
                _take(basis, size, residual)
                size += 1
            break
        if choice == _POINT:
            gone[worst] = True
            taken += 1
            for part in range(2):
                unit = np.zeros(count)
                unit[worst + part * gone.size] = 1.0
                if _append(basis, size, unit, 0.0):
                    _take(basis, size, residual)
                    size += 1
            continue
        found[3] = 1.0
        if _append(basis, size, trials[choice].copy(), limits[1]):
            _take(basis, size, residual)
            size += 1
    found[5] = _dot(residual, residual)
    found[6] = count - size
