"""Non-negative least squares with a quadratic penalty, min ½|Ax − b|² + ½λ xᵀMx, x ≥ 0, for many b.

Axes in the comments: k = spectra, n = data, i, j = unknowns, g = values of λ.

Two roads to the same optimum. `exchange_active` corrects the unconstrained solution on the few unknowns that are zero
in the end; it needs (AᵀA + λM)⁻¹ and is the fast one where λ is not small. `grow_passive` builds the solution up from
zero on the unknowns that are positive in the end, whose matrix stays well conditioned whatever λ is. Both work on one
spectrum after another and carry nothing over, so a solution does not depend on its neighbours.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drt_kernels.compiling import entry, inner

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Marks = NDArray[np.int8]

# What an unknown is while a solution grows.
_AT_ZERO, _PASSIVE, _REFUSED = 0, 1, 2

# Sums may be reordered, so that they vectorise; NaN and infinity keep their meaning.
_FAST = {"reassoc", "contract", "nsz", "arcp"}

# A pivot below this share of its diagonal element is rounding: the column is a combination of those before it.
_DEPENDENT = 1e-14

# A step of refinement leaves about the square of what it corrected; above this share that is more than 1e-10.
_REFINED = 1e-5

# A local minimum of the gradient enters together with the steepest one if it is at least this share as steep.
_STEEP = 0.05

# A gradient up to this many times what is taken for zero leaves open on which side of zero it is.
_OPEN = 3.0


@inner(fastmath=_FAST, _nrt=False)
def _solve(factor: Array, right: Array, size: int, out: Array) -> None:
    """Solve L Lᵀ out = right; the diagonal of `factor` holds reciprocals."""
    for i in range(size):
        s = right[i]
        for q in range(i):
            s -= factor[i, q] * out[q]
        out[i] = s * factor[i, i]
    _solve_transposed(factor, size, out)


@inner(fastmath=_FAST, _nrt=False)
def _solve_transposed(factor: Array, size: int, out: Array) -> None:
    """Solve Lᵀ out = out."""
    for i in range(size - 1, -1, -1):
        out[i] *= factor[i, i]
        for q in range(i):
            out[q] -= factor[i, q] * out[i]


@inner(fastmath=_FAST, _nrt=False)
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


@inner(_nrt=False)
def _renew(zero: Ints, count: int, is_zero: Flags, is_listed: Flags) -> tuple[int, int]:
    """Bring the list of zeros up to date: those that stay keep their order, new ones come last.

    Returns how many at the front are as before, and how many there are.
    """
    kept = count
    size = 0
    for a in range(count):
        i = zero[a]
        if is_zero[i]:
            zero[size] = i
            size += 1
        else:
            is_listed[i] = False
            kept = min(kept, a)
    for i in range(is_zero.size):
        if is_zero[i] and not is_listed[i]:
            is_listed[i] = True
            zero[size] = i
            size += 1
    return kept, size


@inner(fastmath=_FAST, _nrt=False)
def _exchange(  # noqa: C901, PLR0912 - one loop over one state
    start: Array, matrix: Array, limit: int, x: Array, zero: Ints, flags: Flags, work: Array
) -> bool:
    """Solve for one spectrum; whether the rounds were enough. `flags` and `work` are used as they come."""
    size = start.size
    is_zero, is_listed = flags[0], flags[1]
    forward, y, factor = work[0], work[1], work[2:]
    for i in range(size):
        is_listed[i], is_zero[i] = False, start[i] < 0.0
    count = 0
    fewest = size + 1
    patience = 3
    for _ in range(limit):
        # The factor and the forward solution of the zeros at the front that stay are kept.
        kept, count = _renew(zero, count, is_zero, is_listed)
        for a in range(kept, count):
            if not _factor_row(matrix, zero, a, factor):
                return False
            s = -start[zero[a]]
            for q in range(a):
                s -= factor[a, q] * forward[q]
            forward[a] = s * factor[a, a]
        for a in range(count):
            y[a] = forward[a]
        _solve_transposed(factor, count, y)
        for i in range(size):
            x[i] = start[i]
        for a in range(count):
            column = matrix[zero[a]]
            for i in range(size):
                x[i] += y[a] * column[i]
        wrong = 0
        last = -1
        for a in range(count):
            x[zero[a]] = 0.0
            if y[a] < 0.0:
                wrong += 1
                last = max(last, zero[a])
        for i in range(size):
            if x[i] < 0.0:
                wrong += 1
                last = max(last, i)
        if wrong == 0:
            return True
        if wrong < fewest:
            fewest = wrong
            patience = 3
        elif patience > 0:
            patience -= 1
        else:
            is_zero[last] = not is_zero[last]
            continue
        for a in range(count):
            if y[a] < 0.0:
                is_zero[zero[a]] = False
        for i in range(size):
            if x[i] < 0.0:
                is_zero[i] = True
    return False


@entry(fastmath=_FAST)
def exchange_active(start: Array, inverse: Array, group: Ints, limit: int, x: Array, solved: Flags) -> None:
    """Correct unconstrained solutions until none of their unknowns is negative.

    With Z the unknowns that are zero, x = start + inverse[:, Z] y, where inverse[Z, Z] y = −start[Z] and y is the
    gradient there. All unknowns of the wrong sign are exchanged at once while that makes them fewer, then only the last
    one (L. F. Portugal, J. J. Júdice, L. N. Vicente, Math. Comput. 63 (1994) 625).

    `start` is the unconstrained solution, `inverse` (AᵀA + λM)⁻¹ for each λ and `group` which of them; `limit` bounds
    the rounds. A row that is not `solved` holds nothing of use.
    """
    # (k,i),(g,i,j),(k)->(k,i),(k)
    rows, size = start.shape
    zero = np.empty(size, np.int64)
    flags = np.empty((2, size), np.bool_)
    work = np.empty((size + 2, size))
    for k in range(rows):
        solved[k] = _exchange(start[k], inverse[group[k]], limit, x[k], zero, flags, work)


class _Work(NamedTuple):
    """Arrays for one spectrum, used again for the next; "passive" are the unknowns that are not held at zero."""

    matrix: Array  # (i,j) rows of AᵀA + λM, filled in for those that have been passive
    factor: Array  # (a,a) Cholesky factor on the passive unknowns, reciprocals on its diagonal
    passive: Ints  # (a) which they are, in the order of the factor
    entering: Ints  # (i) unknowns that enter in this round
    state: Marks  # (i) _AT_ZERO, _PASSIVE or, until the next step, _REFUSED
    projection: Array  # (i) Aᵀb
    scaling: Array  # (i) 1 / √ of the diagonal of the matrix
    gradient: Array  # (i)
    score: Array  # (i) scaled gradient of the unknowns that may enter, 0 of the others
    forward: Array  # (a) first triangular solution
    y: Array  # (a) second triangular solution
    right: Array  # (a)
    residual: Array  # (n+r)


@inner()
def _new_work(size: int, stacked: int) -> _Work:
    return _Work(
        np.empty((size, size)),
        np.empty((size, size)),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty(size, np.int8),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(stacked),
    )


@inner(fastmath=_FAST, _nrt=False)
def _begin(b: Array, columns: Array, gram: Array, penalty: Array, lam: float, work: _Work) -> float:
    """Start from zero; return |b|."""
    projection, gradient, scaling = work.projection, work.gradient, work.scaling
    work.state[:] = _AT_ZERO
    for i in range(columns.shape[0]):
        s = 0.0
        for q in range(b.size):
            s += columns[i, q] * b[q]
        projection[i] = s
        gradient[i] = -s
        scaling[i] = 1.0 / math.sqrt(gram[i, i] + lam * penalty[i, i])
    square = 0.0
    for q in range(b.size):
        square += b[q] * b[q]
    return math.sqrt(square)


@inner(fastmath=_FAST, _nrt=False)
def _choose(
    limit: float, several: bool, state: Marks, gradient: Array, scaling: Array, score: Array, entering: Ints
) -> int:
    """Write down which unknowns are to enter, and return how many.

    The one with the steepest scaled gradient, if that is below `limit`; with `several` also the local minima of it
    that are not much flatter.
    """
    steepest = 0.0
    for i in range(score.size):
        score[i] = gradient[i] * scaling[i] if state[i] == _AT_ZERO else 0.0
        steepest = min(steepest, score[i])
    if steepest >= limit:
        return 0
    chosen = 0
    while score[chosen] != steepest:
        chosen += 1
    entering[0] = chosen
    wanted = 1
    if several:
        for i in range(1, score.size - 1):
            here = score[i]
            if here < _STEEP * steepest and i != chosen and score[i - 1] >= here < score[i + 1]:
                entering[wanted] = i
                wanted += 1
    return wanted


@inner(fastmath=_FAST)
def _enter(
    chosen: int, count: int, matrix: Array, factor: Array, passive: Ints, projection: Array, forward: Array
) -> bool:
    """Put an unknown at the end of the factor; false if it cannot be there."""
    passive[count] = chosen
    if not _factor_row(matrix, passive, count, factor):
        return False
    s = projection[chosen]
    for q in range(count):
        s -= factor[count, q] * forward[q]
    forward[count] = s * factor[count, count]
    # Its own step would be backwards: the gradient that chose it was rounding, or those that entered with it suffice.
    return bool(forward[count] > 0.0)


@inner(fastmath=_FAST)
def _step_inside(x: Array, y: Array, passive: Ints, count: int) -> float:
    """Longest step from x to y that leaves no unknown negative; 1 if y itself does not."""
    step = 1.0
    for a in range(count):
        if y[a] <= 0.0:
            here = x[passive[a]]
            step = min(step, here / (here - y[a])) if here > 0.0 else 0.0
    return step


@inner(fastmath=_FAST)
def _delete_row(factor: Array, forward: Array, a: int, size: int) -> None:
    """Take unknown a out of the factor and of the forward solution, by rotations of the columns after it."""
    for i in range(a + 1, size):
        for q in range(i):
            factor[i - 1, q] = factor[i, q]
        factor[i - 1, i] = 1.0 / factor[i, i]
    for k in range(a, size - 1):
        # Of the order of 1 in a scaled problem: hypot, which is slow, guards against what does not occur.
        inverse = 1.0 / math.sqrt(factor[k, k] * factor[k, k] + factor[k, k + 1] * factor[k, k + 1])
        c = factor[k, k] * inverse
        s = factor[k, k + 1] * inverse
        factor[k, k] = inverse
        for i in range(k + 1, size - 1):
            left = factor[i, k]
            right = factor[i, k + 1]
            factor[i, k] = c * left + s * right
            factor[i, k + 1] = c * right - s * left
        left = forward[k]
        right = forward[k + 1]
        forward[k] = c * left + s * right
        forward[k + 1] = c * right - s * left


@inner(fastmath=_FAST)
def _move(
    x: Array, y: Array, step: float, passive: Ints, count: int, state: Marks, factor: Array, forward: Array
) -> int:
    """Go `step` of the way from x to y and hold what is zero there; how many passive unknowns stay."""
    a = 0
    for b in range(count):
        i = passive[b]
        here = x[i]
        if y[b] <= 0.0 and here <= step * (here - y[b]) * (1.0 + 1e-14):
            x[i] = 0.0
            state[i] = _AT_ZERO
            _delete_row(factor, forward, a, count - (b - a))
        else:
            x[i] = max(here + step * (y[b] - here), 0.0)
            passive[a] = i
            a += 1
    return a


@inner(fastmath=_FAST)
def _gradient(x: Array, passive: Ints, count: int, matrix: Array, projection: Array, gradient: Array) -> None:
    """Compute (AᵀA + λM)x − Aᵀb."""
    for i in range(x.size):
        gradient[i] = -projection[i]
    for a in range(count):
        row = matrix[passive[a]]
        value = x[passive[a]]
        for i in range(x.size):
            gradient[i] += value * row[i]


@inner(fastmath=_FAST)
def _gradient_by_residual(columns: Array, b: Array, lam: float, x: Array, work: _Work) -> None:
    """Compute Aᵀ(Ax − b) + λLᵀLx from both residuals; formed matrices would lose digits of it."""
    residual, gradient = work.residual, work.gradient
    for q in range(residual.size):
        residual[q] = -b[q] if q < b.size else 0.0
    for i in range(x.size):
        if x[i] != 0.0:
            column = columns[i]
            for q in range(residual.size):
                residual[q] += x[i] * column[q]
    for q in range(b.size, residual.size):
        residual[q] *= lam
    for i in range(x.size):
        column = columns[i]
        s = 0.0
        for q in range(residual.size):
            s += column[q] * residual[q]
        gradient[i] = s


@inner(fastmath=_FAST)
def _refine(columns: Array, b: Array, lam: float, x: Array, count: int, work: _Work) -> float:
    """Take one step of refinement; return how large the correction was, as a share of the largest unknown."""
    matrix, factor, passive = work.matrix, work.factor, work.passive
    right, y, gradient = work.right, work.y, work.gradient
    _gradient_by_residual(columns, b, lam, x, work)
    for a in range(count):
        right[a] = -gradient[passive[a]]
    _solve(factor, right, count, y)
    correction = 0.0
    largest = 0.0
    for a in range(count):
        i = passive[a]
        change = max(y[a], -x[i])
        correction = max(correction, abs(change))
        x[i] += change
        largest = max(largest, x[i])
        row = matrix[i]
        for j in range(x.size):
            gradient[j] += change * row[j]
    return correction / largest if largest > 0.0 else 0.0


@inner(fastmath=_FAST)
def _is_settled(limit: float, work: _Work) -> bool:
    """Whether no unknown at zero has a gradient that is zero to rounding and may belong elsewhere."""
    state, gradient, scaling = work.state, work.gradient, work.scaling
    settled = True
    for i in range(state.size):
        if state[i] != _PASSIVE and gradient[i] * scaling[i] < -_OPEN * limit:
            settled = False
    return settled


@inner(fastmath=_FAST)
def _grow(  # noqa: C901, PLR0912 - one loop over one state
    b: Array, columns: Array, gram: Array, penalty: Array, lam: float, rounds: int, x: Array, work: _Work
) -> bool:
    """Solve for one spectrum; whether to all digits."""
    # Taken out once: numba counts references each time that an array is taken from a tuple.
    matrix, factor, passive, state, entering = work.matrix, work.factor, work.passive, work.state, work.entering
    projection, forward, y = work.projection, work.forward, work.y
    scaling, score, gradient = work.scaling, work.score, work.gradient
    limit = -2e-15 * _begin(b, columns, gram, penalty, lam, work)
    x[:] = 0.0
    count = 0
    several = True
    refined = False
    correction = 0.0
    for _ in range(rounds):
        wanted = _choose(limit, several, state, gradient, scaling, score, entering)
        if wanted == 0 and refined:
            return correction <= _REFINED and _is_settled(limit, work)
        refined = wanted == 0
        if refined:
            correction = _refine(columns, b, lam, x, count, work)
            continue
        before = count
        for e in range(wanted):
            chosen = entering[e]
            for j in range(x.size):
                matrix[chosen, j] = gram[chosen, j] + lam * penalty[chosen, j]
            if _enter(chosen, count, matrix, factor, passive, projection, forward):
                state[chosen] = _PASSIVE
                count += 1
            else:
                state[chosen] = _REFUSED
        if count == before:
            continue
        while True:
            for a in range(count):
                y[a] = forward[a]
            _solve_transposed(factor, count, y)
            step = _step_inside(x, y, passive, count)
            count = _move(x, y, step, passive, count, state, factor, forward)
            if step == 1.0:
                break
        # Where what entered has left again, the next round takes one only: that always makes progress.
        several = count > before
        for i in range(x.size):
            if state[i] == _REFUSED:
                state[i] = _AT_ZERO
        _gradient(x, passive, count, matrix, projection, gradient)
    return False


@entry(fastmath=_FAST)
def grow_passive(
    b: Array, columns: Array, gram: Array, penalty: Array, lam: Array, limit: int, x: Array, solved: Flags
) -> None:
    """Build solutions up from zero, the unknowns with the steepest gradients first.

    This is the active-set method of C. L. Lawson and R. J. Hanson (Solving Least Squares Problems, 1974, chapter 23) on
    the normal equations of the passive unknowns only (R. Bro, S. de Jong, J. Chemometrics 11 (1997) 393). An unknown
    for each peak of the distribution enters at once, while that lets the passive ones become more; the objective falls
    with every round in either case. Before a solution is taken, one step of refinement by the residual gives back what
    the normal equations lost, and the signs are looked at once more (Å. Björck, Linear Algebra Appl. 88/89 (1987) 31).

    `columns` is [A; L]ᵀ with LᵀL = M, `gram` AᵀA and `penalty` M; `limit` bounds the rounds. A row that is not `solved`
    is less exact than double precision allows: the rounds were not enough, its passive columns are nearly dependent, or
    an unknown at zero has a gradient that is zero to rounding and may belong elsewhere.
    """
    # (k,n),(i,n+r),(i,j),(i,j),(k)->(k,i),(k)
    work = _new_work(columns.shape[0], columns.shape[1])
    for k in range(b.shape[0]):
        solved[k] = _grow(b[k], columns, gram, penalty, lam[k], limit, x[k], work)
