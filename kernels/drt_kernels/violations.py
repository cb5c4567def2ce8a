"""Orthogonalisation for single spectra of the linear Kramers-Kronig test, and the search for what is wrong with one.

Axes in the comments: n = unknowns, d = data (real, then imaginary parts), q = trial columns, a = allowed columns,
f = frequencies.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drt_kernels.compiling import entry, inner
from drt_kernels.held import hold

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Sums may be reordered, so that they vectorise.
_FAST = {"reassoc", "contract", "nsz", "arcp"}

# A column that keeps less than this share of its square after projection is a combination of those before it.
_DEPENDENT = 1e-26

# An allowed column may nearly depend on the model, since several of them join.
_TELLABLE = 1e-14

POSED = 1e-6
"""Share of its freedom that the model has to leave to a point, or that cannot be told to be off."""

DRIFTS = 3
"""How many of the trial columns are drift; they come first."""

# What may join the model beside a drift, whose kinds are the numbers below `DRIFTS`.
_POINT, _SMOOTH = DRIFTS, DRIFTS + 1

AHEAD = 6.0
"""By how much in F drift has to explain more than the allowed columns, which explain part of most drifts."""

_THEIRS = 0.6
"""Share of the critical value of drift from which the allowed columns join before smooth misfit that they explain."""

_BESIDE = 8.0
"""By how much more than its critical value drift has to gain in F once an allowed column has joined the model."""

# Allowed columns that agree more closely than this, as a square, are not told apart.
_DISTINCT = 1e-9

# Degrees of freedom of Student's distribution, from whose fit points that are off are told: its tails are heavier
# than those of noise. With 1 or 4 no flag of 20 spectra with outliers, drift and capacitances was another.
_DEGREES = 2.0
# Rounds of weights; three or twelve change no flag of those spectra either.
_REWEIGHTED = 6
_MEDIAN = math.log(2.0)  # of half of χ² with two degrees of freedom


class Limits(NamedTuple):
    """What :func:`examine` goes by."""

    variance: float  # below which no misfit counts
    share: float  # of the square of a trial column that has to be left
    points: int  # that may be left out, at most
    capacitances: int  # among the allowed columns, which they come first of
    has_capacitance: bool  # whether the model has one


class Question(NamedTuple):
    """One spectrum, its model and what may join that; the first four are divided by the noise."""

    columns: Array  # (n,d) of the model
    data: Array  # (d)
    trials: Array  # (q,d) columns of violations: drift of each kind, then smooth misfit
    allowed: Array  # (a,d) columns that are no violation, as what a passive cell does outside the measured frequencies
    critical: Array  # (1+q,d) critical values of F by the degrees of freedom: of drift, a point, 1, 2, … smooth columns
    limits: Limits


class Found(NamedTuple):
    """What explains a spectrum."""

    score: float  # largest F over its critical value at any step
    drift: float  # coefficient of the best drift
    drift_error: float  # its standard error
    drifts: bool  # whether it joined
    inconsistent: bool  # whether smooth misfit joined
    squares: float  # sum of squares that is left
    freedom: int  # degrees of freedom of it
    capacitance: bool  # whether an allowed capacitance joined
    extended: bool  # whether any allowed column did
    log_determinant: float  # logarithm of the determinant of the model
    model_freedom: int  # degrees of freedom that the model alone leaves
    price: float  # sum of critical values of what has joined, one for all allowed columns that join at once


class _Drift(NamedTuple):
    """The drift that explains most."""

    gain: float  # in F
    kind: int
    slope: float
    error: float  # standard error of the slope


class _Misfit(NamedTuple):
    """A point that is off or smooth misfit, whichever is further above its critical value."""

    ratio: float  # F over its critical value
    choice: int
    point: int  # the worst one
    gain: float  # of all smooth columns, in F
    together: int  # how many of them count


@inner(fastmath=_FAST)
def _dot(a: Array, b: Array) -> float:
    s = 0.0
    for i in range(a.size):
        s += a[i] * b[i]
    return s


@inner(fastmath=_FAST)
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


@inner(fastmath=_FAST)
def _take(basis: Array, size: int, residual: Array) -> float:
    """Take the last vector of a basis out of the residual; its coefficient."""
    vector = basis[size]
    s = _dot(vector, residual)
    for i in range(residual.size):
        residual[i] -= s * vector[i]
    return s


@entry()
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


@inner(fastmath=_FAST)
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


@entry()
def robust(columns: Array, data: Array, residual: Array, share: Array) -> float:
    """Fit one spectrum so that single points hardly matter; the variance of what is left at most points.

    Iteratively reweighted least squares with the weights of Student's distribution of two degrees of freedom, the two
    parts of a point having one weight (K. L. Lange, R. J. A. Little, J. M. G. Taylor, J. Am. Stat. Assoc. 84 (1989)
    881). The scale is that of the median. `residual` returns what is left of the data and `share` which part of its
    freedom the fit leaves to each datum.
    """
    # (n,d),(d)->(d),(d)
    unknowns, count = columns.shape
    points = count // 2
    root = np.ones(count)
    squares = np.empty(points)
    basis = np.empty((unknowns, count))
    scale = 0.0
    for _ in range(_REWEIGHTED):
        size = 0
        for i in range(count):
            residual[i] = data[i] * root[i]
        for j in range(unknowns):
            if _append(basis, size, columns[j] * root, _DEPENDENT):
                _take(basis, size, residual)
                size += 1
        for i in range(count):
            residual[i] /= root[i]
            share[i] = 1.0
            for j in range(size):
                share[i] -= basis[j, i] ** 2
        for i in range(points):
            squares[i] = 0.5 * (residual[i] ** 2 + residual[points + i] ** 2)
        scale = np.median(squares) / _MEDIAN * count / max(count - size, 1)
        if scale == 0.0:
            break
        for i in range(points):
            root[i] = math.sqrt((_DEGREES + 2.0) / (_DEGREES + 2.0 * squares[i] / scale))
            root[points + i] = root[i]
    return scale


@inner(fastmath=_FAST)
def _subtract(column: Array, share: float, vector: Array) -> None:
    for i in range(column.size):
        column[i] -= share * vector[i]


@entry()
def settle(columns: Array, data: Array, critical: Array, floor: float, gone: Flags) -> float:  # noqa: C901 - loops in loops
    """Return points to the fit that the others foretell; the largest F over its critical value of those that stay out.

    `critical` holds critical values of F for a point by the degrees of freedom, and `gone` the points that are out. The
    one that is foretold best goes back, until all that are out are off by more than chance.
    """
    # (n,d),(d),(d),(f)->(f)
    unknowns, count = columns.shape
    points = gone.size
    basis = np.empty((unknowns, count))
    shown = np.empty((unknowns, count))
    inside = np.empty(count)
    while True:
        out = 0
        for i in range(points):
            inside[i] = 0.0 if gone[i] else 1.0
            inside[points + i] = inside[i]
            out += 2 if gone[i] else 0
        if out == 0:
            return 0.0
        # Sums run over the points that are in, so that the columns and the residual are foretold at those that are out.
        residual = data.copy()
        size = 0
        for j in range(unknowns):
            column = columns[j].copy()
            own = _dot(column * inside, column)
            for _ in range(2):
                for q in range(size):
                    _subtract(column, _dot(shown[q], column), basis[q])
            rest = _dot(column * inside, column)
            if rest > _DEPENDENT * own and count - out - size > 3:
                basis[size] = column / math.sqrt(rest)
                shown[size] = basis[size] * inside
                _subtract(residual, _dot(shown[size], residual), basis[size])
                size += 1
        left = count - out - size
        spread = _dot(residual * inside, residual) / left + floor
        least = math.inf
        most = 0.0
        best = -1
        for i in range(points):
            if not gone[i]:
                continue
            rr = 1.0
            ii = 1.0
            ri = 0.0
            for q in range(size):
                rr += basis[q, i] ** 2
                ii += basis[q, points + i] ** 2
                ri += basis[q, i] * basis[q, points + i]
            re = residual[i]
            im = residual[points + i]
            square = (ii * re * re - 2.0 * ri * re * im + rr * im * im) / (rr * ii - ri * ri)
            ratio = square / 2.0 / spread / critical[left]
            most = max(most, ratio)
            if ratio < least:
                least = ratio
                best = i
        if least > 1.0:
            return most
        gone[best] = False


@inner()
def _try_one(
    basis: Array, size: int, trial: Array, residual: Array, squares: float, floor: float, least: float
) -> tuple[float, float, float]:
    """Add one trial column for a moment; what it gains in F, its coefficient and the standard error of that."""
    left = residual.size - size - 1
    if left < 1 or not _append(basis, size, trial.copy(), least):
        return 0.0, 0.0, math.inf
    s = _dot(basis[size], residual)
    spread = max(squares - s * s, 0.0) / left + floor
    slope = 1.0 / _dot(basis[size], trial)
    return s * s / spread, s * slope, math.sqrt(spread) * abs(slope)


@inner()
def _try_all(
    basis: Array, size: int, trials: Array, residual: Array, squares: float, limits: Limits
) -> tuple[float, int]:
    """Append the smooth trial columns to the basis; what they gain in F together, and how many count."""
    count = 0
    total = 0.0
    for t in range(DRIFTS, trials.shape[0]):
        if residual.size - size - count > 3 and _append(basis, size + count, trials[t].copy(), limits.share):
            total += _dot(basis[size + count], residual) ** 2
            count += 1
    if count == 0:
        return 0.0, 0
    left = residual.size - size - count
    return total / count / (max(squares - total, 0.0) / left + limits.variance), count


@inner()
def _append_points(basis: Array, size: int, point: int, residual: Array) -> int:
    """Leave out the two parts of a point: append a column for each; the new size of the basis."""
    points = residual.size // 2
    for part in range(2):
        unit = np.zeros(residual.size)
        unit[point + part * points] = 1.0
        if _append(basis, size, unit, POSED):
            _take(basis, size, residual)
            size += 1
    return size


@inner()
def _solve_chosen(  # noqa: C901 - loops in loops
    normal: Array, right: Array, chosen: int, factor: Array, x: Array
) -> float:
    """Least squares with those columns whose bit is set; what they gain, zero unless every coefficient is positive."""
    count = right.size
    size = 0
    kept = np.empty(count, np.int64)
    for i in range(count):
        if not (chosen >> i) & 1:
            continue
        for a in range(size + 1):
            s = normal[i, kept[a]] if a < size else normal[i, i]
            for c in range(a):
                s -= factor[size, c] * factor[a, c]
            if a < size:
                factor[size, a] = s / factor[a, a]
            elif s > _DISTINCT * normal[i, i]:
                factor[size, size] = math.sqrt(s)
            else:
                return 0.0
        kept[size] = i
        size += 1
    x[:] = 0.0
    gained = 0.0
    for a in range(size):
        s = right[kept[a]]
        for c in range(a):
            s -= factor[a, c] * x[kept[c]]
        x[kept[a]] = s / factor[a, a]
        gained += x[kept[a]] ** 2
    for a in range(size - 1, -1, -1):
        s = x[kept[a]]
        for c in range(a + 1, size):
            s -= factor[c, a] * x[kept[c]]
        x[kept[a]] = s / factor[a, a]
        if x[kept[a]] <= 0.0:
            return 0.0
    return gained


@entry()
def _positive(
    basis: Array, size: int, allowed: Array, is_open: Flags, residual: Array, squares: float, floor: float
) -> tuple[float, int, int]:
    """Return what the open allowed columns gain in F with positive coefficients, which of them, and the best alone.

    All subsets are tried, of which there are few; those that join are the bits of a number.
    """
    count = allowed.shape[0]
    columns = np.zeros((count, residual.size))
    usable = 0
    work = np.empty((basis.shape[0], residual.size))
    work[:size] = basis[:size]
    for t in range(count):
        if is_open[t] and _append(work, size, allowed[t].copy(), _TELLABLE):
            columns[t] = work[size]
            usable += 1 << t
    normal = np.empty((count, count))
    right = np.empty(count)
    for t in range(count):
        right[t] = _dot(columns[t], residual)
        for q in range(t + 1):
            normal[t, q] = _dot(columns[t], columns[q])
            normal[q, t] = normal[t, q]
    factor = np.empty((count, count))
    x = np.empty(count)
    most = 0.0
    chosen = 0
    for some in range(1, 1 << count):
        if some & usable == some:
            gained = _solve_chosen(normal, right, some, factor, x)
            if gained > most:
                most = gained
                chosen = some
    which = -1
    joined = 0
    for t in range(count):
        if (usable >> t) & 1 and right[t] > 0.0 and (which < 0 or right[t] > right[which]):
            which = t
        joined += (chosen >> t) & 1
    return most / (max(squares - most, 0.0) / max(residual.size - size - joined, 1) + floor), chosen, which


@inner()
def _append_model(basis: Array, columns: Array, residual: Array) -> tuple[int, float]:
    """Fill the basis with the columns of a model; how many are independent, and the logarithm of the determinant."""
    size = 0
    log_determinant = 0.0
    for j in range(columns.shape[0]):
        if _append(basis, size, columns[j].copy(), _DEPENDENT):
            _take(basis, size, residual)
            log_determinant += 2.0 * math.log(abs(_dot(basis[size], columns[j])))
            size += 1
    return size, log_determinant


@inner()
def _append_gone(basis: Array, size: int, gone: Flags, critical: Array, residual: Array) -> tuple[int, int, float]:
    """Leave out the points that are out; the new size of the basis, how many there are, and their price."""
    taken, price = 0, 0.0
    for i in range(gone.size):
        if gone[i]:
            size = _append_points(basis, size, i, residual)
            taken += 1
            price += 2.0 * critical[1, residual.size - size]
    return size, taken, price


@inner()
def _append_allowed(basis: Array, size: int, allowed: Array, chosen: int, is_open: Flags, residual: Array) -> int:
    """Let the chosen allowed columns join the model; the new size of the basis."""
    for t in range(allowed.shape[0]):
        if (chosen >> t) & 1:
            is_open[t] = False
            if _append(basis, size, allowed[t].copy(), _TELLABLE):
                _take(basis, size, residual)
                size += 1
    return size


@inner()
def _best_drift(basis: Array, size: int, given: Question, residual: Array, squares: float) -> _Drift:
    """Try drift of each kind."""
    limits = given.limits
    gain, kind, slope, error = 0.0, -1, 0.0, 0.0
    for t in range(DRIFTS):
        gained, its, spread = _try_one(basis, size, given.trials[t], residual, squares, limits.variance, limits.share)
        if gained > gain:
            gain, kind, slope, error = gained, t, its, spread
    return _Drift(gain, kind, slope, error)


@inner()
def _worst_misfit(
    basis: Array, size: int, given: Question, residual: Array, squares: float, gone: Flags, taken: int
) -> _Misfit:
    """Try each point that is left, and smooth misfit."""
    critical, limits, left = given.critical, given.limits, residual.size - size
    worst, square = _worst_point(basis, size, residual, gone)
    spread = max(squares - square, 0.0) / (left - 2) + limits.variance
    ratio, choice = square / 2.0 / spread / critical[1, left - 2], _POINT
    if taken >= limits.points:
        ratio = 0.0
    gain, together = _try_all(basis, size, given.trials, residual, squares, limits)
    if together > 0 and gain / critical[1 + together, left - together] > ratio:
        ratio, choice = gain / critical[1 + together, left - together], _SMOOTH
    return _Misfit(ratio, choice, worst, gain, together)


@inner()
def _is_allowed(
    drift: _Drift, misfit: _Misfit, allowance: float, chosen: int, ahead: float, critical: Array, left: int
) -> bool:
    """Whether allowed columns that gain `allowance` in F explain what is left better than a violation does.

    `ahead` is how much more than its critical value drift has to gain.
    """
    limit = critical[0, left - 1]
    above = limit * max(misfit.ratio, 1.0)
    # What of smooth misfit the allowed columns leave is chance: it is theirs, which are fewer.
    spare = misfit.together
    while chosen > 0:
        spare -= chosen & 1
        chosen >>= 1
    theirs = misfit.choice == _SMOOTH and misfit.ratio > 1.0 and spare > 0 and allowance > _THEIRS * limit
    if theirs:
        theirs = misfit.gain * misfit.together - allowance < spare * critical[1 + spare, left - misfit.together]
    return allowance > drift.gain - AHEAD and (drift.gain - ahead > above or allowance > above or theirs)


@entry()
def examine(question: Question, gone: Flags) -> Found:
    """Explain one spectrum by the model and, one after the other, by what improves the fit most beyond chance.

    Candidates are drift of each kind, a point that is off, and smooth misfit, whose columns count together. Each is
    held against its critical value of F; the one that exceeds it most joins the model, until none does. The allowed
    columns are no violation. Those that together explain most with positive coefficients, as what a passive cell does
    outside the range of frequencies has, join where they exceed the critical value more than points and smooth misfit
    do, and instead of a drift that is not ahead of them by `AHEAD` in F; and, from a part of it on, before smooth
    misfit of which they leave no more than chance. Drift beside them has to exceed its critical value clearly, since
    they never follow such a cell exactly.

    `gone` holds the points that are out from the beginning, and returns those at the end.
    """
    # (f)->(f)
    given = hold(question)
    allowed, critical, limits = given.allowed, given.critical, given.limits
    count, most = given.data.size, given.columns.shape[0] + given.trials.shape[0] + allowed.shape[0] + 2
    basis, residual = np.empty((most + 2 * gone.size, count)), given.data.copy()
    size, log_determinant = _append_model(basis, given.columns, residual)
    model_freedom, score = count - size, 0.0
    slope, error, drifts, smooth, capacitance, extended = 0.0, 0.0, False, False, False, False
    size, taken, price = _append_gone(basis, size, gone, critical, residual)
    is_open = np.ones(allowed.shape[0], np.bool_)
    while count - size >= 5 and not smooth:
        left, squares = count - size, _dot(residual, residual)
        drift, allowance, chosen, which = _Drift(0.0, -1, 0.0, 0.0), 0.0, 0, -1
        if not drifts:
            drift = _best_drift(basis, size, given, residual, squares)
            slope, error = drift.slope, drift.error
            allowance, chosen, which = _positive(basis, size, allowed, is_open, residual, squares, limits.variance)
        misfit = _worst_misfit(basis, size, given, residual, squares, gone, taken)
        limit, ahead = critical[0, left - 1], _BESIDE if extended or limits.has_capacitance else 0.0
        if chosen > 0 and _is_allowed(drift, misfit, allowance, chosen, ahead, critical, left):
            capacitance = capacitance or (0 <= which < limits.capacitances and bool((chosen >> which) & 1))
            before, size = size, _append_allowed(basis, size, allowed, chosen, is_open, residual)
            extended = extended or size > before
            price += limit
            continue
        drifting = drift.gain - ahead > limit * misfit.ratio
        best = (drift.gain - ahead) / limit if drifting else misfit.ratio
        score = max(score, best)
        if best <= 1.0:
            break
        if drifting:
            drifts = True
            price += limit + AHEAD
            if _append(basis, size, given.trials[drift.kind].copy(), limits.share):
                _take(basis, size, residual)
                size += 1
        elif misfit.choice == _SMOOTH:
            smooth = True
            for _ in range(misfit.together):
                _take(basis, size, residual)
                size += 1
            price += misfit.together * critical[1 + misfit.together, left - misfit.together]
        else:
            gone[misfit.point] = True
            taken += 1
            size = _append_points(basis, size, misfit.point, residual)
            price += 2.0 * critical[1, left - 2]
    return Found(
        *(score, slope, error, drifts, smooth, _dot(residual, residual), count - size),
        *(capacitance, extended, log_determinant, model_freedom, price),
    )
