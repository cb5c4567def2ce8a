"""Non-negative least squares with a quadratic penalty, min ½|Ax − b|² + ½λ xᵀMx, x ≥ 0, for many b.

Axes in the comments: k = spectra, n = data, i, j = unknowns, g = values of λ.

Two roads to the same optimum. `exchange_active` corrects the unconstrained answer on the few unknowns that are zero in
the end; it needs (AᵀA + λM)⁻¹ and is the fast one where λ is not small. `grow_passive` builds the answer up from zero
on the unknowns that are positive in the end, whose matrix stays well conditioned whatever λ is. Both work on one
spectrum after another and carry nothing over, so an answer does not depend on its neighbours.

Everything is in this one file because numba's cache on disk does not notice an edit in another one.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

# Sums may be reordered, so that they vectorise; NaN and infinity keep their meaning.
_FAST = {"reassoc", "contract", "nsz", "arcp"}

# A pivot below this share of its diagonal element is rounding: the column is a combination of those before it.
_DEPENDENT = 1e-14

# A step of refinement leaves about the square of what it corrected; above this share that is more than 1e-10.
_REFINED = 1e-5

# A gradient up to this many times what is taken for zero leaves open on which side of zero it is.
_OPEN = 3.0


@njit(cache=True, nogil=True, fastmath=_FAST)
def _solve(factor: Array, right: Array, size: int, out: Array) -> None:
    """Solve L Lᵀ out = right; the diagonal of `factor` holds reciprocals."""
    for i in range(size):
        s = right[i]
        for q in range(i):
            s -= factor[i, q] * out[q]
        out[i] = s * factor[i, i]
    _solve_transposed(factor, size, out)


@njit(cache=True, nogil=True, fastmath=_FAST)
def _solve_transposed(factor: Array, size: int, out: Array) -> None:
    """Solve Lᵀ out = out."""
    for i in range(size - 1, -1, -1):
        out[i] *= factor[i, i]
        for q in range(i):
            out[q] -= factor[i, q] * out[i]


@njit(cache=True, nogil=True, fastmath=_FAST)
def _factor_row(matrix: Array, chosen: Ints, i: int, factor: Array) -> bool:
    """Compute row i of the Cholesky factor of matrix[chosen, chosen]; false if it depends on the rows before."""
    source = matrix[chosen[i]]
    row = factor[i]
    for j in range(i):
        other = factor[j]
        s = source[chosen[j]]
        for q in range(j):
            s -= row[q] * other[q]
        row[j] = s * other[j]
    diagonal = source[chosen[i]]
    s = diagonal
    for q in range(i):
        s -= row[q] * row[q]
    if s <= _DEPENDENT * diagonal:
        return False
    row[i] = 1.0 / math.sqrt(s)
    return True


@njit(cache=True, nogil=True, fastmath=_FAST)
def exchange_active(  # noqa: C901, PLR0912, PLR0915 - as below
    start: Array, inverse: Array, group: Ints, limit: int, x: Array, solved: Flags
) -> None:
    """Correct unconstrained answers until none of their unknowns is negative.

    With Z the unknowns that are zero, x = start + inverse[:, Z] y, where inverse[Z, Z] y = −start[Z] and y is the
    gradient there. All unknowns of the wrong sign are exchanged at once while that makes them fewer, then only the last
    one (L. F. Portugal, J. J. Júdice, L. N. Vicente, Math. Comput. 63 (1994) 625).

    `start` is the unconstrained answer, `inverse` (AᵀA + λM)⁻¹ for each λ and `group` which of them; `limit` bounds the
    rounds. A row that is not `solved` holds nothing of use.
    """
    # (k,i),(g,i,j),(k)->(k,i),(k)
    rows, size = start.shape
    zero = np.empty(size, np.int64)
    factor = np.empty((size, size))
    y = np.empty(size)
    right = np.empty(size)
    is_zero = np.empty(size, np.bool_)
    for k in range(rows):
        matrix = inverse[group[k]]
        answer = x[k]
        solved[k] = False
        for i in range(size):
            is_zero[i] = start[k, i] < 0.0
        fewest = size + 1
        patience = 3
        for _ in range(limit):
            count = 0
            independent = True
            for i in range(size):
                if is_zero[i]:
                    zero[count] = i
                    right[count] = -start[k, i]
                    count += 1
                    if not _factor_row(matrix, zero, count - 1, factor):
                        independent = False
                        break
            if not independent:
                break
            _solve(factor, right, count, y)
            for i in range(size):
                answer[i] = start[k, i]
            for j in range(count):
                column = matrix[zero[j]]
                for i in range(size):
                    answer[i] += y[j] * column[i]
            wrong = 0
            last = -1
            for j in range(count):
                answer[zero[j]] = 0.0
                if y[j] < 0.0:
                    wrong += 1
                    last = zero[j]
            for i in range(size):
                if answer[i] < 0.0:
                    wrong += 1
                    last = max(last, i)
            if wrong == 0:
                solved[k] = True
                break
            if wrong < fewest:
                fewest = wrong
                patience = 3
            elif patience > 0:
                patience -= 1
            else:
                is_zero[last] = not is_zero[last]
                continue
            for j in range(count):
                if y[j] < 0.0:
                    is_zero[zero[j]] = False
            for i in range(size):
                if answer[i] < 0.0:
                    is_zero[i] = True


@njit(cache=True, nogil=True, fastmath=_FAST)
def _step_inside(x: Array, y: Array, passive: Ints, size: int) -> float:
    """Longest step from x to y that leaves no unknown negative; 1 if y itself does not."""
    step = 1.0
    for a in range(size):
        if y[a] <= 0.0:
            here = x[passive[a]]
            step = min(step, here / (here - y[a])) if here > 0.0 else 0.0
    return step


@njit(cache=True, nogil=True, fastmath=_FAST)
def _delete_row(factor: Array, forward: Array, a: int, size: int) -> None:
    """Take unknown a out of the factor and of the forward solution, by rotations of the columns after it."""
    for i in range(a + 1, size):
        for q in range(i):
            factor[i - 1, q] = factor[i, q]
        factor[i - 1, i] = 1.0 / factor[i, i]
    for k in range(a, size - 1):
        radius = math.hypot(factor[k, k], factor[k, k + 1])
        c = factor[k, k] / radius
        s = factor[k, k + 1] / radius
        factor[k, k] = 1.0 / radius
        for i in range(k + 1, size - 1):
            left = factor[i, k]
            right = factor[i, k + 1]
            factor[i, k] = c * left + s * right
            factor[i, k + 1] = c * right - s * left
        left = forward[k]
        right = forward[k + 1]
        forward[k] = c * left + s * right
        forward[k + 1] = c * right - s * left


@njit(cache=True, nogil=True, fastmath=_FAST)
def _move(
    x: Array, y: Array, step: float, passive: Ints, size: int, is_passive: Flags, factor: Array, forward: Array
) -> int:
    """Go `step` of the way from x to y and let go what is zero there; how many passive unknowns stay."""
    a = 0
    for b in range(size):
        i = passive[b]
        here = x[i]
        if y[b] <= 0.0 and here <= step * (here - y[b]) * (1.0 + 1e-14):
            x[i] = 0.0
            is_passive[i] = False
            _delete_row(factor, forward, a, size - (b - a))
        else:
            x[i] = max(here + step * (y[b] - here), 0.0)
            passive[a] = i
            a += 1
    return a


@njit(cache=True, nogil=True, fastmath=_FAST)
def _gradient_by_residual(columns: Array, b: Array, lam: float, x: Array, residual: Array, gradient: Array) -> None:
    """Compute Aᵀ(Ax − b) + λLᵀLx from both residuals; formed matrices would lose digits of it."""
    data = b.size
    residual[:] = 0.0
    residual[:data] = -b
    for i in range(x.size):
        if x[i] != 0.0:
            column = columns[i]
            for q in range(residual.size):
                residual[q] += x[i] * column[q]
    for q in range(data, residual.size):
        residual[q] *= lam
    for i in range(x.size):
        column = columns[i]
        s = 0.0
        for q in range(residual.size):
            s += column[q] * residual[q]
        gradient[i] = s


@njit(cache=True, nogil=True, fastmath=_FAST)
def grow_passive(  # noqa: C901, PLR0912, PLR0915 - one loop over one state; parted, it would pass twenty arrays about
    b: Array, columns: Array, gram: Array, penalty: Array, lam: Array, limit: int, x: Array, solved: Flags
) -> None:
    """Build answers up from zero, one unknown at a time, the steepest first.

    This is the active-set method of C. L. Lawson and R. J. Hanson (Solving Least Squares Problems, 1974, chapter 23) on
    the normal equations of the passive unknowns only (R. Bro, S. de Jong, J. Chemometrics 11 (1997) 393). Before an
    answer is taken, one step of refinement by the residual gives back what the normal equations lost, and the signs are
    looked at once more (Å. Björck, Linear Algebra Appl. 88/89 (1987) 31).

    `columns` is [A; L]ᵀ with LᵀL = M, `gram` AᵀA and `penalty` M; `limit` bounds the rounds. A row that is not `solved`
    is less exact than double precision allows: the rounds were not enough, its passive columns are nearly dependent, or
    an unknown at zero has a gradient that is zero to rounding and may belong elsewhere.
    """
    # (k,n),(i,n+r),(i,j),(i,j),(k)->(k,i),(k)
    rows, data = b.shape
    size, stacked = columns.shape
    matrix = np.empty((size, size))
    factor = np.empty((size, size))
    passive = np.empty(size, np.int64)
    is_passive = np.empty(size, np.bool_)
    refused = np.empty(size, np.bool_)
    projection = np.empty(size)
    forward = np.empty(size)
    right = np.empty(size)
    y = np.empty(size)
    norm = np.empty(size)
    gradient = np.empty(size)
    residual = np.empty(stacked)
    for k in range(rows):
        answer = x[k]
        answer[:] = 0.0
        is_passive[:] = False
        refused[:] = False
        solved[k] = False
        length = 0.0
        for q in range(data):
            length += b[k, q] * b[k, q]
        steepest_allowed = -2e-15 * math.sqrt(length)
        for i in range(size):
            s = 0.0
            for q in range(data):
                s += columns[i, q] * b[k, q]
            projection[i] = s
            gradient[i] = -s
            for j in range(size):
                matrix[i, j] = gram[i, j] + lam[k] * penalty[i, j]
            norm[i] = math.sqrt(matrix[i, i])
        count = 0
        exact = False
        correction = 0.0
        largest = 0.0
        for _ in range(limit):
            chosen = -1
            steepest = steepest_allowed
            for i in range(size):
                if not is_passive[i] and not refused[i] and gradient[i] < steepest * norm[i]:
                    steepest = gradient[i] / norm[i]
                    chosen = i
            if chosen < 0:
                if exact:
                    solved[k] = True
                    if correction > _REFINED * largest:
                        solved[k] = False
                    for i in range(size):
                        if not is_passive[i] and gradient[i] < -_OPEN * steepest_allowed * norm[i]:
                            solved[k] = False
                    break
                _gradient_by_residual(columns, b[k], lam[k], answer, residual, gradient)
                for a in range(count):
                    right[a] = -gradient[passive[a]]
                _solve(factor, right, count, y)
                correction = 0.0
                largest = 0.0
                for a in range(count):
                    i = passive[a]
                    change = max(y[a], -answer[i])
                    correction = max(correction, abs(change))
                    answer[i] += change
                    largest = max(largest, answer[i])
                    for j in range(size):
                        gradient[j] += change * matrix[i, j]
                exact = True
                continue
            exact = False
            passive[count] = chosen
            if not _factor_row(matrix, passive, count, factor):
                refused[chosen] = True
                continue
            is_passive[chosen] = True
            s = projection[chosen]
            for q in range(count):
                s -= factor[count, q] * forward[q]
            forward[count] = s * factor[count, count]
            if forward[count] <= 0.0:
                # Its own step would be backwards: the gradient that chose it was rounding.
                is_passive[chosen] = False
                refused[chosen] = True
                continue
            count += 1
            while True:
                for a in range(count):
                    y[a] = forward[a]
                _solve_transposed(factor, count, y)
                step = _step_inside(answer, y, passive, count)
                count = _move(answer, y, step, passive, count, is_passive, factor, forward)
                if step == 1.0:
                    break
            refused[:] = False
            for i in range(size):
                gradient[i] = -projection[i]
            for a in range(count):
                row = matrix[passive[a]]
                value = answer[passive[a]]
                for i in range(size):
                    gradient[i] += value * row[i]
