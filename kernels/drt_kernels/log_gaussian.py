"""Maximum of the posterior of u = ln γ, its hyperparameters and its Laplace approximation, for many spectra.

Axes in the comments: k = spectra, f = frequencies, q = data (real parts, then imaginary ones), j = unknowns (ln γ at m
relaxation times, then R_inf, L and 1/C), i = inner relaxation times.

What is minimised over y = (u, x), x ≥ 0, with z = A (e^u, x) − b the residual of a spectrum divided by its size, is

    Σ_f (1 + 2t)/(2t) ln(1 + t |z_f|² / s_f²)
    + λ/2 Σ_m (u_{m+1} − u_m − l_m)² / h_m
    + ρ Σ_i d_i (√(1 + λ c_i² / d_i²) − 1)

with t = 1/ν the reciprocal degrees of freedom of Student's distribution in two dimensions (for t = 0 the first line is
Σ_f |z_f|² / 2s_f²), s_f² the variance of a point, h_m spacings of ln τ, l_m what u is expected to change by, and c_i
the bends of u, that is changes of its slope. The last line is quadratic in bends well below d_i/√λ and linear above.

The variance is s_f² = v_0 p_0f + v_1 p_1f with known p, such as 1 and |Z_f|², and two components v that are known,
zero, or found from the data.

Spectra are worked on one after another and carry nothing over, so a solution does not depend on its neighbours.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drt_kernels import curvature, dense
from drt_kernels.compiling import compiled
from drt_kernels.curvature import FORCE, SQUARE, WEIGHTS, Tables
from drt_kernels.dense import BESIDE, FAST, INNER, OUTER
from drt_kernels.held import Handle, handle, hold

Array = NDArray[np.float64]

_FAST, _INNER, _OUTER = FAST, INNER, OUTER
_MAKING: dict[str, Any] = INNER | {"_nrt": True}  # of what makes arrays

# Scalars of numpy: numba would compile a function again for each literal that it is called with.
_NO: Any = np.False_
_YES: Any = np.True_

# Largest change of ln γ in a step.
_LONGEST = 3.0

# Share of the prior's curvature that is added to it: where γ vanishes, nothing else holds a common factor of it.
_RIDGE = 1e-11

# A step may be halved this often; a decrease below this share of the objective is rounding.
_HALVINGS, _ROUNDING = 40, 1e-13

# Rounding errors of a component of a residual: data are divided by their size, so it is a sum of numbers below 1.
_RESIDUAL_ROUNDING = 1e-15

# After how many steps of one descent the second derivative is no longer taken from the fitted products.
_PLAIN = 40

# How a step is found: by the second derivative, made positive where it is not; by the positive one; by the factor at
# hand.
_NEWTON: Any = np.int64(0)
_POSITIVE: Any = np.int64(1)  # made positive
_AGAIN: Any = np.int64(2)  # by the factor at hand
# The residual, in posterior standard deviations, below which that is tried, and the share that a step may leave of it.
# Up to 2e-2 and 0.5 the time is the same to 5 %; with 0.5, where the search for the noise ends moves by up to 1 %.
_NEAR_ENOUGH, _FAST_ENOUGH = 2e-3, 0.25

# What is found of an inverse; see :func:`drt_kernels.dense.invert`.
_WHOLE: Any = np.int64(dense.WHOLE)
_BAND: Any = np.int64(dense.BAND)
_REST: Any = np.int64(dense.REST)

# Steps of finding the variance that residuals show, how far one goes, and the change that ends them, in logarithms.
_SCALINGS, _SCALING, _SCALED = 40, 2.0, 1e-3

# Share of a point that is left to tell the noise, at least, and the smallest components of the variance: of one that is
# looked for alone, since straight lines between relaxation times are not exact, and of the first of two, which may
# vanish beside the second.
_LEAST_LEFT, _LEAST_VARIANCE, _LEAST_FLOOR = 0.1, 1e-10, 1e-20

# Leverages before any are known, and how exact the solution has to be, in posterior standard deviations, or how many
# steps taken, before they are.
_EXPECTED_LEVERAGE, _ROUGH, _ROUGH_STEPS = 0.6, 1.0, 10

# How exact solutions are, in posterior standard deviations, while hyperparameters are looked for, first and then, and
# in the end. A residual below the last that no longer halves has met rounding.
_FIRST, _COARSE, _EXACT, _CLOSE = 0.1, 0.02, 1e-10, 1e-8

# After how many steps one gives up: while hyperparameters are looked for, and in the end.
_COARSE_STEPS: Any = np.int64(100)
_EXACT_STEPS: Any = np.int64(200)  # most spectra take ten or so

# Logarithms of hyperparameters are rounded to multiples of this, so that how they were found leaves no trace.
_GRAIN = 2.0**-10

# Relative change of the hyperparameters that ends their rounds, and one that does so where it is less than a third of
# the one before; how many rounds there are at most, and how many times the change that one calls for is made at most.
_SETTLED, _NEARLY, _MOST_ROUNDS, _FARTHEST = 0.01, 0.03, 30, 4.0

# Standard deviation of ln λ that intervals allow for. It is more than that of the search, since the prior itself is
# only roughly right; the resistance of tails depends on it.
_LAMBDA_DEVIATION = 1.6

# Share of the variance of a bend that its own curvature accounts for, before any is known; steps of finding the
# curvature that goes with the variance it leaves; and the change of its logarithm that ends the rounds of both.
_EXPECTED_SHARE, _STIFFENINGS, _KNOWN = 0.7, 4, 0.05


class Grid(NamedTuple):
    """What the spectra of a grid share."""

    columns: Array  # (j,q) of A; rows of zeros up to a multiple of four
    logs: int  # number of relaxation times
    size: int  # number of unknowns
    slope: Array  # (m-1) 1/h
    lean: Array  # (m-1) expected change of u
    bend: Array  # (i,3) coefficients of u before, at and after a relaxation time, of the change of slope
    knee: Array  # (i) d
    rate: float  # ρ
    tail: float  # t
    width: float  # standard deviation of ln √λ around 0, before the data
    noise: Array  # (2,2) mean and standard deviation of ln v, before the data, where both components are found


class Leaves(NamedTuple):
    """Functions that are compiled by themselves; see :class:`drt_kernels.compiling.pointed`."""

    model: Any
    project: Any
    assemble: Any
    leverages: Any
    factorise: Any
    solve: Any
    invert: Any


LEAVES = Leaves(
    *(curvature.model, curvature.project, curvature.assemble, curvature.leverages),
    *(dense.factorise, dense.solve, dense.invert),
)
"""What is compiled by itself, before it is."""


class Work(NamedTuple):
    """Arrays for one spectrum, used again for the next."""

    grid: Grid
    tables: Tables
    leaves: Leaves
    sums: Array
    data: Array  # (q) b, with zeros after it
    y: Array  # (j)
    trial: Array  # (j)
    value: Array  # (j) e^u and x
    outer: Array  # (j) derivative of the values by the unknowns; 0 for a series element that is held at zero
    residual: Array  # (q)
    precision: Array  # (f) 1 / s²
    leverage: Array  # (f) effective number of parameters that a point determines
    distance: Array  # (f) |z|² / s²
    weight: Array  # (f)
    gradient: Array  # (j)
    pressure: Array  # (m) part of the gradient that is of the data
    data_driven: Array  # (m) 1 where the data hold γ more than the prior does, else 0
    slow: Array  # (1) 1 once a descent of this spectrum has taken `_PLAIN` steps, else 0
    stiffness: Array  # (i) curvature of the bends' part of the objective
    known: Array  # (i) that with bends as wide as they are known
    dual: Array  # (i)
    band: Array  # (3,m) diagonals 0, 1 and 2 of the second derivative of the prior
    spread: Array  # (3,m) diagonals 0, 1 and 2 of the inverse of the second derivative
    free: Array  # (j) 1, or 0 for a series element that is held at zero
    left: Array  # (j,q)
    right: Array  # (j,q)
    matrix: Array  # (j,j) upper half; then that of its inverse
    factor: Array  # (j,j) upper half, reciprocals on the diagonal
    inverse: Array  # (j,j) of the factor, transposed
    step: Array  # (j)
    scratch: Array  # (4,5) for the noise
    noise: Array  # (2,2) components of the variance, and what they become
    factored: Array  # (1) 1 where `factor` is that of a matrix, else 0
    kept: Array  # (j,j) data's part of the second derivative, upper half


def new_work(grid: Grid, tables: Tables) -> Handle:
    """Make the arrays for one spectrum, in memory where compiled functions find them."""
    made: Handle = handle(new_arrays(grid, tables, Leaves(*(one.found() for one in LEAVES))))
    return made


def new_arrays(grid: Grid, tables: Tables, leaves: Leaves) -> Work:
    """Make the arrays for one spectrum, with functions that are compiled or are yet to be."""
    whole, padded = tables.columns.shape
    points = grid.columns.shape[1] // 2

    def zeros(*shape: int) -> Array:
        return np.zeros(shape)

    return Work(
        *(grid, tables, leaves, curvature.new_sums(tables)),
        *(zeros(padded), zeros(whole), zeros(whole), zeros(whole), zeros(whole + BESIDE), zeros(padded)),
        *(zeros(points), zeros(points), zeros(points), zeros(points)),
        *(zeros(whole), zeros(grid.logs), zeros(grid.logs), zeros(1)),
        *(zeros(grid.logs), zeros(grid.logs), zeros(grid.logs)),
        *(zeros(3, grid.logs), zeros(3, grid.logs), np.ones(whole), zeros(whole, padded), zeros(whole, padded)),
        *(zeros(whole, whole + BESIDE), zeros(whole, whole + BESIDE), zeros(whole, whole + BESIDE)),
        *(zeros(whole + BESIDE), zeros(4, 5), zeros(2, 2), zeros(1), zeros(whole, whole + BESIDE)),
    )


@compiled(**_INNER, fastmath=_FAST)
def _bent(y: Array, grid: Grid, i: int) -> float:
    """Compute bend i of u, the change of its slope."""
    return float(grid.bend[i, 0] * y[i] + grid.bend[i, 1] * y[i + 1] + grid.bend[i, 2] * y[i + 2])


@compiled(**_INNER, fastmath=_FAST)
def _known(spread: Array, grid: Grid, i: int) -> float:
    """Compute the variance of bend i."""
    one, two, three = grid.bend[i, 0], grid.bend[i, 1], grid.bend[i, 2]
    own = one * one * spread[0, i] + two * two * spread[0, i + 1] + three * three * spread[0, i + 2]
    return float(own + 2.0 * (one * two * spread[1, i] + two * three * spread[1, i + 1] + one * three * spread[2, i]))


@compiled(**_INNER, fastmath=_FAST)
def _prior(y: Array, lam: float, grid: Grid) -> float:
    """Value of the last two lines of the objective."""
    total = 0.0
    for m in range(grid.logs - 1):
        total += 0.5 * lam * grid.slope[m] * (y[m + 1] - y[m] - grid.lean[m]) ** 2
    for i in range(grid.logs - 2):
        ratio = lam * (_bent(y, grid, i) / grid.knee[i]) ** 2
        # √(1 + r) − 1 without the loss of digits.
        total += grid.rate * grid.knee[i] * ratio / (1.0 + math.sqrt(1.0 + ratio))
    return total


@compiled(**_INNER, fastmath=_FAST)
def _prior_gradient(y: Array, lam: float, grid: Grid, gradient: Array) -> None:
    """Gradient of the prior."""
    for j in range(gradient.size):
        gradient[j] = 0.0
    for m in range(grid.logs - 1):
        force = lam * grid.slope[m] * (y[m + 1] - y[m] - grid.lean[m])
        gradient[m] -= force
        gradient[m + 1] += force
    for i in range(grid.logs - 2):
        c = _bent(y, grid, i)
        force = grid.rate * lam * c / (grid.knee[i] * math.sqrt(1.0 + lam * (c / grid.knee[i]) ** 2))
        gradient[i] += force * grid.bend[i, 0]
        gradient[i + 1] += force * grid.bend[i, 1]
        gradient[i + 2] += force * grid.bend[i, 2]


@compiled(**_INNER, fastmath=_FAST)
def _prior_weights(y: Array, lam: float, grid: Grid, follow: float, dual: Array, stiffness: Array) -> None:
    """Curvature of the bends' part, ρλ/(d√(1 + r²)) (1 − p r/√(1 + r²)) with r = √λ c/d and p the `dual`.

    It is the true one where p is r/√(1 + r²), and for `follow` 0 instead of 1 that of the parabola that touches from
    above.
    """
    for i in range(grid.logs - 2):
        ratio = math.sqrt(lam) * _bent(y, grid, i) / grid.knee[i]
        root = math.sqrt(1.0 + ratio * ratio)
        stiffness[i] = grid.rate * lam / (grid.knee[i] * root) * (1.0 - follow * dual[i] * ratio / root)


@compiled(**_INNER, fastmath=_FAST)
def _prior_weights_as_known(y: Array, lam: float, first: bool, grid: Grid, spread: Array, stiffness: Array) -> float:
    """Curvature of the bends' part as a mixture of normal distributions has it, ρλ / √(d² + λ (c² + var c)).

    It is the expected precision of each, with bends as wide as they are known: at a bend of zero the true curvature is
    large only just there. The variance is the one that is left with this curvature s: from v that was left with t it is
    v / (1 + (s − t) v) if the others stay (J. Sherman, W. J. Morrison, Ann. Math. Stat. 21 (1950) 124), by Newton's
    method for s² (d² + λ (c² + var c)) = ρ²λ². With `first` there is none before, and s var c is a share that is
    expected. Returns the largest change of ln s.
    """
    full = grid.rate * lam
    change = math.inf if first else 0.0
    for i in range(grid.logs - 2):
        square = grid.knee[i] ** 2 + lam * _bent(y, grid, i) ** 2
        before = stiffness[i]
        variance = 0.0 if first else max(_known(spread, grid, i), 0.0)
        part = lam * (_EXPECTED_SHARE if first else min(before * variance, 1.0))
        # As if s var c stayed.
        s = 2.0 * full * full / (part + math.sqrt(part * part + 4.0 * square * full * full))
        for _ in range(0 if first else _STIFFENINGS):
            left = variance / (1.0 + (s - before) * variance)
            total = square + lam * left
            s -= (s * s * total - full * full) / (s * (2.0 * total - s * lam * left * left))
        if not first:
            change = max(change, abs(math.log(s / before)))
        stiffness[i] = s
    return change


@compiled(**_INNER, fastmath=_FAST)
def _prior_band(lam: float, grid: Grid, stiffness: Array, band: Array) -> None:
    """Diagonals of the second derivative of the prior."""
    for m in range(grid.logs):
        band[0, m] = band[1, m] = band[2, m] = 0.0
    for m in range(grid.logs - 1):
        weight = lam * grid.slope[m]
        band[0, m] += weight
        band[0, m + 1] += weight
        band[1, m] -= weight
    for i in range(grid.logs - 2):
        one, two, three = grid.bend[i, 0], grid.bend[i, 1], grid.bend[i, 2]
        weight = stiffness[i]
        band[0, i] += weight * one * one
        band[0, i + 1] += weight * two * two
        band[0, i + 2] += weight * three * three
        band[1, i] += weight * one * two
        band[1, i + 1] += weight * two * three
        band[2, i] += weight * one * three


@compiled(**_INNER, fastmath=_FAST)
def _update_duals(y: Array, step: Array, length: float, lam: float, grid: Grid, dual: Array) -> None:
    """Move the duals along a step of the unknowns, to the linearisation of p √(1 + r²) = r.

    T. F. Chan, G. H. Golub, P. Mulet, SIAM J. Sci. Comput. 20 (1999) 1964: with p an unknown of its own, Newton's
    method converges where it would overshoot at each knee without.
    """
    for i in range(grid.logs - 2):
        share = math.sqrt(lam) / grid.knee[i]
        ratio = share * _bent(y, grid, i)
        change = share * _bent(step, grid, i)
        root = math.sqrt(1.0 + ratio * ratio)
        here = dual[i]
        wanted = (ratio + change * (1.0 - here * ratio / root)) / root
        dual[i] = min(max(here + length * (wanted - here), -1.0), 1.0)


@compiled(**_INNER, fastmath=_FAST)
def _duals_at_solution(y: Array, lam: float, grid: Grid, dual: Array) -> None:
    """Set the duals to what they are at a solution, r/√(1 + r²)."""
    for i in range(grid.logs - 2):
        ratio = math.sqrt(lam) * _bent(y, grid, i) / grid.knee[i]
        dual[i] = ratio / math.sqrt(1.0 + ratio * ratio)


@compiled(**_INNER, fastmath=_FAST)
def _evaluate(y: Array, lam: float, grid: Grid, work: Work) -> float:
    """Value of the objective; leaves values, residual and distances in `work`."""
    value, residual, distance = work.value, work.residual, work.distance
    for j in range(grid.size):
        value[j] = math.exp(y[j]) if j < grid.logs else y[j]
    work.leaves.model(work.tables.columns, value, grid.size, work.data, residual)
    points = distance.size
    total = 0.0
    for f in range(points):
        d = work.precision[f] * (residual[f] * residual[f] + residual[points + f] * residual[points + f])
        distance[f] = d
        total += 0.5 * d if grid.tail == 0.0 else (0.5 / grid.tail + 1.0) * math.log1p(grid.tail * d)
    return float(total + _prior(y, lam, grid))


@compiled(**_INNER, fastmath=_FAST)
def _differentiate(lam: float, grid: Grid, work: Work) -> float:
    """Gradient at the point evaluated last, and which series elements are free; return the stationarity residual.

    The residual is the largest |g_j / d_j|, for series elements |min(x_j d_j, g_j / d_j)|, with d_j² the diagonal of
    the Gauss-Newton matrix: by how many standard deviations, the others given, an unknown is not where it should be.
    """
    y, value, residual, weight, gradient = work.y, work.value, work.residual, work.weight, work.gradient
    points = weight.size
    for f in range(points):
        weight[f] = work.precision[f] * (1.0 + 2.0 * grid.tail) / (1.0 + grid.tail * work.distance[f])
    _prior_gradient(y, lam, grid, gradient)
    _prior_weights(y, lam, grid, 0.0, work.dual, work.stiffness)
    _prior_band(lam, grid, work.stiffness, work.band)
    tables, sums = work.tables, work.sums
    work.leaves.project(tables.across, tables.squares, residual, weight, sums)
    worst = 0.0
    for j in range(grid.size):
        force, square = sums[FORCE, tables.place[j]], sums[SQUARE, tables.place[j]]
        if j < grid.logs:
            work.outer[j] = value[j]
            work.pressure[j] = value[j] * force
            gradient[j] += value[j] * force
            square *= value[j] * value[j]
            work.data_driven[j] = 1.0 if square > work.band[0, j] else 0.0
            here = abs(gradient[j]) / math.sqrt(square + work.band[0, j])
        else:
            gradient[j] = force
            work.free[j] = 1.0 if y[j] > 0.0 or force < 0.0 else 0.0
            work.outer[j] = work.free[j]
            scale = math.sqrt(square)
            here = abs(min(y[j] * scale, force / scale))
        # Not max(): NaN has to stay.
        if not here <= worst:
            worst = here
    return worst


@compiled(**_INNER, fastmath=_FAST)
def _rows(grid: Grid, work: Work) -> None:
    """Two matrices whose product is the second derivative by the values of the data's part of the objective."""
    sums, left, right = work.sums, work.left, work.right
    points = work.weight.size
    for j in range(grid.size):
        column = grid.columns[j]
        for f in range(points):
            w, c, s = sums[WEIGHTS, f], sums[WEIGHTS + 1, f], sums[WEIGHTS + 2, f]
            re, im = column[f], column[points + f]
            left[j, f], left[j, points + f] = re, im
            right[j, f] = (w + c) * re - s * im
            right[j, points + f] = (w - c) * im - s * re


@compiled(**_INNER, fastmath=_FAST)
def _products(left: Array, i: int, right: Array, j: int, count: int, out: Array) -> None:
    """Products of four rows with four rows over `count` columns, at once so that what is loaded is used often."""
    a0, a1, a2, a3 = left[i], left[i + 1], left[i + 2], left[i + 3]
    b0, b1, b2, b3 = right[j], right[j + 1], right[j + 2], right[j + 3]
    s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = 0.0
    s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = 0.0
    for q in range(count):
        x0, x1, x2, x3 = a0[q], a1[q], a2[q], a3[q]
        y0, y1, y2, y3 = b0[q], b1[q], b2[q], b3[q]
        s00 += x0 * y0
        s01 += x0 * y1
        s02 += x0 * y2
        s03 += x0 * y3
        s10 += x1 * y0
        s11 += x1 * y1
        s12 += x1 * y2
        s13 += x1 * y3
        s20 += x2 * y0
        s21 += x2 * y1
        s22 += x2 * y2
        s23 += x2 * y3
        s30 += x3 * y0
        s31 += x3 * y1
        s32 += x3 * y2
        s33 += x3 * y3
    out[0, 0], out[0, 1], out[0, 2], out[0, 3] = s00, s01, s02, s03
    out[1, 0], out[1, 1], out[1, 2], out[1, 3] = s10, s11, s12, s13
    out[2, 0], out[2, 1], out[2, 2], out[2, 3] = s20, s21, s22, s23
    out[3, 0], out[3, 1], out[3, 2], out[3, 3] = s30, s31, s32, s33


@compiled(**_MAKING, fastmath=_FAST)
def _gram(left: Array, right: Array, outer: Array, out: Array) -> None:
    """Upper half of left rightᵀ, times factors of rows and columns."""
    block = np.empty((4, 4))
    for i in range(0, left.shape[0], 4):
        for j in range(0, i + 1, 4):
            _products(left, i, right, j, left.shape[1], block)
            for a in range(4):
                for b in range(4):
                    out[j + b, i + a] = block[a, b] * outer[i + a] * outer[j + b]


@compiled(**_INNER, fastmath=_FAST)
def _assemble(positive: bool, exact: bool, grid: Grid, work: Work) -> None:
    """Second derivative of the objective, upper half; `positive` leaves out what may make it indefinite."""
    _assemble_data(positive, exact, grid, work)
    _add_prior(positive, grid, work)


@compiled(**_INNER, fastmath=_FAST)
def _assemble_data(positive: bool, exact: bool, grid: Grid, work: Work) -> None:
    """Part of it that is a product of the columns of A."""
    matrix = work.matrix
    curvature.weigh(work.residual, work.weight, work.distance, grid.tail, positive, work.sums)
    if exact:
        _rows(grid, work)
        _gram(work.left, work.right, work.outer, matrix)
    else:
        work.leaves.assemble(work.tables, work.outer, grid.logs, grid.size, work.sums, matrix)


@compiled(**_INNER, fastmath=_FAST)
def _add_prior(positive: bool, grid: Grid, work: Work) -> None:
    """Add to the data's part of the second derivative what is not a product, and the prior's."""
    matrix = work.matrix
    for m in range(grid.logs):
        force = work.pressure[m]
        matrix[m, m] += work.band[0, m] + (max(force, 0.0) if positive else force)
        if m >= 1:
            matrix[m - 1, m] += work.band[1, m - 1]
        if m >= 2:
            matrix[m - 2, m] += work.band[2, m - 2]
        matrix[m, m] += _RIDGE * work.band[0, m]
    for j in range(grid.logs, matrix.shape[0]):
        if j >= grid.size or work.free[j] == 0.0:
            matrix[j, j] = 1.0


@compiled(**_INNER, fastmath=_FAST)
def _needs_exact(grid: Grid, work: Work) -> bool:
    """Whether steps need the exact second derivative: where data are so exact that the fitted one tells too little."""
    largest = 0.0
    for j in range(grid.logs):
        largest = max(largest, work.value[j])
    total = 0.0
    for f in range(work.weight.size):
        total += work.weight[f]
    return bool(work.slow[0] > 0.0 or not total * largest * largest <= work.tables.good)


@compiled(**_INNER)
def _find_step(lam: float, kind: int, grid: Grid, work: Work) -> bool:
    """Newton step where the objective is convex, else one for a parabola that is; false if there is none.

    It is by u or, where the data hold γ more than the prior does, by δ in γ (1 + δ), since the data's part is quadratic
    in γ. The second derivative by δ is that by u less the gradient, so that what is left of the data's pressure is what
    balances the prior.
    """
    if kind != _AGAIN or work.factored[0] == 0.0:
        for m in range(grid.logs):
            work.pressure[m] -= work.data_driven[m] * work.gradient[m]
        _prior_weights(work.y, lam, grid, 1.0, work.dual, work.stiffness)
        _prior_band(lam, grid, work.stiffness, work.band)
        exact = _needs_exact(grid, work)
        good = False
        for n in range(1 if kind == _POSITIVE else 0, 2):
            if not good:
                _assemble(n > 0, exact, grid, work)
                good = work.leaves.factorise(work.matrix, work.factor)
        work.factored[0] = 1.0 if good else 0.0
        if not good:
            return False
    work.leaves.solve(work.factor, work.gradient, work.step)
    for j in range(grid.logs, grid.size):
        work.step[j] *= work.free[j]
    return True


@compiled(**_INNER, fastmath=_FAST)
def _rounding(before: float, work: Work) -> float:
    """Bound rounding errors of the objective, from its value `before` and residuals at the point differentiated last.

    The derivative of the data's part by a residual z is its weight times z.
    """
    points = work.weight.size
    total = 0.0
    for f in range(points):
        total += work.weight[f] * (abs(work.residual[f]) + abs(work.residual[points + f]))
    return _ROUNDING * abs(before) + _RESIDUAL_ROUNDING * total


@compiled(**_INNER)
def _try(length: float, grid: Grid, work: Work) -> None:
    """Move by `length` times the step of :func:`_find_step` to `work.trial`."""
    for j in range(grid.size):
        change = length * work.step[j]
        if j >= grid.logs:
            work.trial[j] = max(work.y[j] + change, 0.0)
            continue
        if work.data_driven[j] > 0.0:
            # Goes on as a straight line where half of γ is left.
            change = math.log1p(change) if change > -0.5 else 2.0 * change + 1.0 - math.log(2.0)
        work.trial[j] = work.y[j] + change


@compiled(**_INNER)
def _move(lam: float, before: float, kind: int, grid: Grid, work: Work) -> float:
    """Go along a step as far as the objective falls, from its value `before` on; return what it is then, or NaN.

    It is NaN where there is no step. Leaves in `work.step` what u has moved by, for a length of 1.
    """
    if not _find_step(lam, kind, grid, work):
        return math.nan
    y, trial, step = work.y, work.trial, work.step
    slack = _rounding(before, work)
    longest = 0.0
    fall = 0.0
    for j in range(grid.size):
        if j < grid.logs:
            longest = max(longest, abs(step[j]))
        fall += step[j] * work.gradient[j]
    length = _LONGEST / longest if longest > _LONGEST else 1.0
    phi = before
    for _ in range(_HALVINGS):
        _try(length, grid, work)
        phi = _evaluate(trial, lam, grid, work)
        if phi <= before + 1e-4 * length * fall + slack:
            break
        length *= 0.5
    for m in range(grid.logs):
        step[m] = (trial[m] - y[m]) / length
    _update_duals(y, step, length, lam, grid, work.dual)
    for j in range(grid.size):
        y[j] = trial[j]
    return phi


@compiled(**_INNER)
def _descend(lam: float, tolerance: float, limit: int, first: int, grid: Grid, work: Work) -> float:
    """Minimise from `work.y` on, with `work.precision`; return the stationarity residual.

    `first` is how the first step is found.
    """
    phi = _evaluate(work.y, lam, grid, work)
    residual = float(_differentiate(lam, grid, work))
    kind = first
    for n in range(limit):
        if n == _PLAIN:
            work.slow[0] = 1.0
        if not residual > tolerance:
            break
        moved = _move(lam, phi, kind, grid, work)
        if math.isnan(moved):
            break
        phi = moved
        before = residual
        residual = float(_differentiate(lam, grid, work))
        if kind == _NEWTON and residual <= _CLOSE and residual > 0.5 * before:
            break
        near = kind == _AGAIN or residual <= _NEAR_ENOUGH
        kind = _AGAIN if near and residual <= _FAST_ENOUGH * before else _NEWTON
    return residual


@compiled(**_INNER, fastmath=_FAST)
def _curve(lam: float, known: bool, again: bool, part: int, grid: Grid, work: Work) -> bool:
    """Invert the positive second derivative at the point differentiated last; false if that fails.

    Leaves in `work.matrix` the `part` of the upper half of the inverse that :func:`drt_kernels.dense.invert` is told to
    find, and the leverages if that is the whole.

    `known` takes the bends' part as :func:`_prior_weights_as_known` has left it. With `again` all else is as it was the
    time before.
    """
    _duals_at_solution(work.y, lam, grid, work.dual)
    _prior_weights(work.y, lam, grid, 1.0, work.dual, work.stiffness)
    exact = _needs_exact(grid, work)
    if not again:
        _assemble_data(_YES, exact, grid, work)
    source, target = (work.kept, work.matrix) if again else (work.matrix, work.kept)
    for i in range(target.shape[0]):
        for j in range(i, target.shape[1]):
            target[i, j] = source[i, j]
    _prior_band(lam, grid, work.known if known else work.stiffness, work.band)
    _add_prior(_YES, grid, work)
    work.factored[0] = 0.0
    if not work.leaves.factorise(work.matrix, work.factor):
        return False
    work.factored[0] = 1.0
    work.leaves.invert(work.factor, part, work.inverse, work.matrix)
    for k in range(3):
        for m in range(grid.logs - k):
            work.spread[k, m] = work.matrix[m, m + k]
    if part != _WHOLE:
        return True
    if exact:
        _leverages(grid, work)
    else:
        work.leaves.leverages(
            *(work.tables, work.outer, grid.logs, grid.size, work.weight, work.sums, work.matrix, work.leverage)
        )
    return True


@compiled(**_INNER, fastmath=_FAST)
def _weigh(noise: Array, parts: Array, work: Work) -> None:
    """Set the precisions of the points."""
    for f in range(work.precision.size):
        work.precision[f] = 1.0 / (noise[0] * parts[0, f] + noise[1] * parts[1, f])


@compiled(**_INNER, fastmath=_FAST)
def _leverages(grid: Grid, work: Work) -> None:
    """Effective number of parameters of each point, the trace of H⁻¹ times its part of H, after :func:`_rows`."""
    inverse, left, leverage = work.inverse, work.left, work.leverage
    points = leverage.size
    one = work.right[0]
    for f in range(points):
        leverage[f] = 0.0
    # Columns of A times their factors, which the inverse takes over row by row.
    for j in range(grid.size):
        for q in range(2 * points):
            left[j, q] *= work.outer[j]
    for i in range(grid.size):
        row = inverse[i]
        for q in range(2 * points):
            one[q] = 0.0
        for j in range(i + 1):
            share = row[j]
            column = left[j]
            for q in range(2 * points):
                one[q] += share * column[q]
        for f in range(points):
            leverage[f] += work.weight[f] * (one[f] * one[f] + one[points + f] * one[points + f])


@compiled(**_INNER, fastmath=_FAST)
def _noise_gradient(noise: Array, parts: Array, both: bool, grid: Grid, work: Work, force: Array) -> None:
    """Differentiate by ln v what :func:`_noise` looks for; g_0, g_1, then Fisher's information h_00, h_01, h_11."""
    for c in range(5):
        force[c] = 0.0
    for f in range(work.distance.size):
        first, second = noise[0] * parts[0, f], noise[1] * parts[1, f]
        variance = first + second
        first /= variance
        second /= variance
        d = work.distance[f] / (work.precision[f] * variance)
        left = max(2.0 - work.leverage[f], 2.0 * _LEAST_LEFT)
        excess = 0.5 * (d * (1.0 + 2.0 * grid.tail) / (1.0 + grid.tail * d) - left)
        force[0] += excess * first
        force[1] += excess * second
        force[2] += 0.5 * left * first * first
        force[3] += 0.5 * left * first * second
        force[4] += 0.5 * left * second * second
    if both:
        for c in range(2):
            stiff = 1.0 / grid.noise[1, c] ** 2
            force[c] += stiff * (grid.noise[0, c] - math.log(noise[c]))
            force[2 + 2 * c] += stiff


@compiled(**_INNER)
def _noise(given: Array, parts: Array, grid: Grid, work: Work, noise: Array) -> None:
    """Move the components of the variance that are not given to where the weighted residuals show them.

    With residuals and leverages l held it is where Σ_f (l_f/2 − 1) ln s_f² − (1 + 2t)/(2t) ln(1 + t |z_f|²/s_f²) is
    largest; where both components are found, with the logarithm of their distribution before the data. Steps are those
    of Fisher's scoring in ln v, shortened where they go too far.
    """
    one, other = math.isnan(given[0]), math.isnan(given[1])
    before, force, ahead, step = work.scratch[0], work.scratch[1], work.scratch[2], work.scratch[3]
    step[0] = step[1] = 0.0
    _noise_gradient(noise, parts, one and other, grid, work, force)
    for _ in range(_SCALINGS):
        if one and other:
            share = force[2] * force[4] - force[3] * force[3]
            step[0] = (force[4] * force[0] - force[3] * force[1]) / share
            step[1] = (force[2] * force[1] - force[3] * force[0]) / share
        elif one:
            step[0] = force[0] / force[2]
        elif other:
            step[1] = force[1] / force[4]
        longest = max(abs(step[0]), abs(step[1]))
        length = _SCALING / longest if longest > _SCALING else 1.0
        rise = force[0] * step[0] + force[1] * step[1]
        before[0], before[1] = noise[0], noise[1]
        for _ in range(_SCALINGS):
            for c in range(2):
                noise[c] = before[c] * math.exp(length * step[c])
            _bound(given, noise)
            _noise_gradient(noise, parts, one and other, grid, work, ahead)
            if ahead[0] * step[0] + ahead[1] * step[1] >= -0.5 * rise:
                break
            length *= 0.5
        for c in range(5):
            force[c] = ahead[c]
        if longest <= _SCALED:
            break


@compiled(**_INNER)
def _bound(given: Array, noise: Array) -> None:
    """Keep the components that are found away from zero."""
    if math.isnan(given[1]):
        noise[1] = max(noise[1], _LEAST_VARIANCE)
    if math.isnan(given[0]):
        noise[0] = max(noise[0], _LEAST_FLOOR if math.isnan(given[1]) else _LEAST_VARIANCE)


@compiled(**_INNER, fastmath=_FAST)
def _evidence_step(y: Array, spread: Array, lam: float, grid: Grid) -> float:
    """Step of ln λ towards the largest evidence; after :func:`_curve`.

    The derivative of the Laplace approximation, with the solution held; D. J. C. MacKay, Neural Comput. 4 (1992) 415.
    """
    smooth = 0.0
    bent = 0.0
    trace = 0.0
    for m in range(grid.logs - 1):
        weight = lam * grid.slope[m]
        smooth += 0.5 * weight * (y[m + 1] - y[m] - grid.lean[m]) ** 2
        trace += weight * (spread[0, m] + spread[0, m + 1] - 2.0 * spread[1, m])
    for i in range(grid.logs - 2):
        ratio = lam * (_bent(y, grid, i) / grid.knee[i]) ** 2
        root = math.sqrt(1.0 + ratio)
        bent += 0.5 * grid.rate * grid.knee[i] * ratio / root
        weight = grid.rate * lam / (grid.knee[i] * root**3) * (1.0 - 1.5 * ratio / (1.0 + ratio))
        trace += weight * _known(spread, grid, i)
    stiff = 0.25 / grid.width**2
    rise = 0.5 * (grid.logs - 1) - smooth - bent - 0.5 * trace - stiff * math.log(lam)
    return rise / (smooth + 0.5 * bent + stiff)


@compiled(**_INNER)
def _scale(noise: Array, parts: Array) -> float:
    """Mean logarithm of the variance of the points."""
    total = 0.0
    for f in range(parts.shape[1]):
        total += math.log(noise[0] * parts[0, f] + noise[1] * parts[1, f])
    return float(total / parts.shape[1])


@compiled(**_INNER)
def _approach(lam: float, parts: Array, given: Array, noise: Array, grid: Grid, work: Work) -> None:
    """Come near the solution, with the noise found anew after each step, from leverages that are only expected."""
    for _ in range(_ROUGH_STEPS):
        _weigh(noise, parts, work)
        phi = _evaluate(work.y, lam, grid, work)
        if not _differentiate(lam, grid, work) > _ROUGH or math.isnan(_move(lam, phi, _POSITIVE, grid, work)):
            break
        _noise(given, parts, grid, work, noise)


@compiled(**_INNER, inline="always")
def _find_hyperparameters(parts: Array, given: Array, noise: Array, grid: Grid, work: Work) -> float:
    """Bring solution, noise and λ into agreement, those that are not given; return λ."""
    lam: float = 1.0 if math.isnan(given[2]) else given[2]
    slope_term: float
    found = work.noise[1]
    gone = 0.0
    last = 0.0
    farthest = math.inf
    _approach(lam, parts, given, noise, grid, work)
    for n in range(_MOST_ROUNDS):
        _weigh(noise, parts, work)
        tolerance = _FIRST if n == 0 else _COARSE
        _descend(lam, tolerance, _COARSE_STEPS, _NEWTON if n == 0 else _AGAIN, grid, work)
        if not _curve(lam, _NO, _NO, _WHOLE, grid, work):
            break
        found[0], found[1] = noise[0], noise[1]
        _noise(given, parts, grid, work, found)
        change = _scale(found, parts) - _scale(noise, parts)
        turned = 0.0
        for c in range(2):
            if math.isnan(given[c]):
                turned = max(turned, abs(math.log(found[c] / noise[c])))
        slope_term = 0.0
        if math.isnan(given[2]):
            slope_term = min(max(_evidence_step(work.y, work.spread, lam, grid), -1.0), 1.0)
            lam *= math.exp(slope_term)
        # What the last step has left of the change tells how far to go; without, the rounds would be many.
        gain = min(max(gone / (last - change), 1.0), _FARTHEST) if n > 0 and (last - change) * gone > 0.0 else 1.0
        gone, last = gain * change, change
        for c in range(2):
            if math.isnan(given[c]):
                noise[c] = found[c] * math.exp((gain - 1.0) * change)
        _bound(given, noise)
        before = farthest
        farthest = max(abs(change), 0.1 * turned, abs(slope_term))
        if n > 0 and farthest <= (_NEARLY if 3.0 * farthest <= before else _SETTLED):
            break
    return lam


@compiled(**_INNER, inline="always")
def _rounded(value: float) -> float:
    """Round the logarithm."""
    return math.exp(_GRAIN * round(math.log(value) / _GRAIN))


@compiled(**_INNER)
def _begin(parts: Array, given: Array, grid: Grid, work: Work, noise: Array) -> None:
    """Components of the variance that the residuals of the start show."""
    for f in range(work.precision.size):
        work.precision[f] = 1.0
        work.leverage[f] = _EXPECTED_LEVERAGE
    _evaluate(work.y, 1.0, grid, work)
    for c in range(2):
        total = 0.0
        size = 0.0
        for f in range(work.distance.size):
            total += work.distance[f]
            size += parts[c, f]
        noise[c] = total / size if math.isnan(given[c]) else given[c]
    _bound(given, noise)
    _noise(given, parts, grid, work, noise)


@compiled(**_OUTER, _nrt=False)
def maximise(
    b: Array, parts: Array, start: Array, given: Array, work: Handle, out: Array, hyper: Array, residual: Array
) -> None:
    """Find the solutions of many spectra, their noise and their λ.

    `start` and `out` hold ln γ and the series elements; `given` are the two components of the variance and λ, NaN where
    they are to be found, and `hyper` becomes what they are; `residual` is that of :func:`_differentiate`.
    """
    # (k,q),(k,2,f),(k,j),(k,3)->(k,j),(k,3),(k)
    held = hold(work)
    grid = held.grid
    noise = held.noise[0]
    for k in range(b.shape[0]):
        for j in range(grid.size):
            held.y[j] = start[k, j]
        for q in range(b.shape[1]):
            held.data[q] = b[k, q]
        held.slow[0] = held.factored[0] = 0.0
        _duals_at_solution(held.y, 1.0, grid, held.dual)
        _begin(parts[k], given[k], grid, held, noise)
        lam = given[k, 2]
        if math.isnan(given[k, 0]) or math.isnan(given[k, 1]) or math.isnan(lam):
            lam = _find_hyperparameters(parts[k], given[k], noise, grid, held)
        for c in range(2):
            hyper[k, c] = noise[c] if not math.isnan(given[k, c]) else _rounded(noise[c])
        hyper[k, 2] = lam if not math.isnan(given[k, 2]) else _rounded(lam)
        _weigh(hyper[k], parts[k], held)
        residual[k] = _descend(hyper[k, 2], _EXACT, _EXACT_STEPS, _AGAIN, grid, held)
        for j in range(grid.size):
            out[k, j] = held.y[j]


@compiled(**_INNER, fastmath=_FAST)
def _add_lambda_uncertainty(y: Array, lam: float, grid: Grid, force: Array, moved: Array, covariance: Array) -> None:
    """Add how the solution moves with λ, for a λ that is only known as a normal ln λ.

    dy/d ln λ is the covariance times the derivative of the prior's force. `force` and `moved` are overwritten.
    """
    for m in range(grid.logs):
        force[m] = 0.0
    for m in range(grid.logs - 1):
        slope_term = lam * grid.slope[m] * (y[m + 1] - y[m] - grid.lean[m])
        force[m] -= slope_term
        force[m + 1] += slope_term
    for i in range(grid.logs - 2):
        c = _bent(y, grid, i)
        ratio = lam * (c / grid.knee[i]) ** 2
        slope_term = grid.rate * lam * c / (grid.knee[i] * math.sqrt(1.0 + ratio)) * (1.0 - 0.5 * ratio / (1.0 + ratio))
        for n in range(3):
            force[i + n] += slope_term * grid.bend[i, n]
    for i in range(grid.size):
        total = 0.0
        for j in range(grid.logs):
            total += covariance[i, j] * force[j]
        moved[i] = _LAMBDA_DEVIATION * total
    for i in range(grid.size):
        for j in range(grid.size):
            covariance[i, j] += moved[i] * moved[j]


@compiled(**_INNER)
def _mirror(upper: Array, size: int, out: Array) -> None:
    """Fill both halves of a matrix from its upper one."""
    for i in range(size):
        for j in range(i, size):
            out[i, j] = out[j, i] = upper[i, j]


@compiled(**_INNER)
def _release(grid: Grid, work: Work) -> None:
    """Free series elements at zero; leaves in `work.trial` their gradients where these point below zero, else zero."""
    for j in range(grid.logs, grid.size):
        # The gradient by an element above zero is rounding, and must not move it.
        work.trial[j] = 0.0 if work.y[j] > 0.0 else max(work.gradient[j], 0.0)
        work.free[j] = work.outer[j] = 1.0


@compiled(**_INNER)
def _shift(covariance: Array, grid: Grid, work: Work, mean: Array) -> None:
    """Mean of the normal distribution in which series elements may be negative; after :func:`_release`."""
    for i in range(grid.size):
        moved = 0.0
        for j in range(grid.logs, grid.size):
            moved += covariance[i, j] * work.trial[j]
        mean[i] = work.y[i] - moved


@compiled(**_INNER, inline="always")
def _settle(lam: float, parts: Array, given: Array, noise: Array, grid: Grid, work: Work) -> bool:
    """Bring the covariance and how well bends are known into agreement, and the noise where it is not given.

    Leaves the upper half of the covariance in `work.matrix`; false if there is none.
    """
    fixed = not (math.isnan(given[0]) or math.isnan(given[1]))
    found = work.noise[1]
    for n in range(_MOST_ROUNDS):
        if n == 0 or not fixed:
            _weigh(noise, parts, work)
            _evaluate(work.y, lam, grid, work)
            _differentiate(lam, grid, work)
            _release(grid, work)
        if n == 0:
            _prior_weights_as_known(work.y, lam, _YES, grid, work.spread, work.known)
        # The noise needs all of the inverse, bends its diagonals only.
        if not _curve(lam, _YES, n > 0 and fixed, _BAND if fixed else _WHOLE, grid, work):
            return False
        change = 0.0
        if not fixed:
            found[0], found[1] = noise[0], noise[1]
            _noise(given, parts, grid, work, found)
            change = abs(_scale(found, parts) - _scale(noise, parts))
            noise[0], noise[1] = found[0], found[1]
        bends = _prior_weights_as_known(work.y, lam, _NO, grid, work.spread, work.known)
        if bends <= _KNOWN and change <= _SETTLED:
            break
    if fixed:
        work.leaves.invert(work.factor, _REST, work.inverse, work.matrix)
    return True


@compiled(**_OUTER, _nrt=False)
def posteriors(
    b: Array, parts: Array, solution: Array, given: Array, work: Handle, mean: Array, covariance: Array, hyper: Array
) -> None:
    """Means and covariances of ln γ and the series elements around solutions, and the noise where it is not given.

    They are those of a normal distribution in which series elements may be negative: at a solution with a series
    element at zero its gradient is not zero, and the mean is elsewhere. `solution` holds ln γ and the series elements;
    `given` are the two components of the variance, NaN where they are to be found, and λ; `hyper` becomes what they
    are.
    """
    # (k,q),(k,2,f),(k,j),(k,3)->(k,j),(k,j,j),(k,3)
    held = hold(work)
    grid = held.grid
    noise = held.noise[0]
    for k in range(b.shape[0]):
        for j in range(grid.size):
            held.y[j] = solution[k, j]
        for q in range(b.shape[1]):
            held.data[q] = b[k, q]
        lam = given[k, 2]
        _begin(parts[k], given[k], grid, held, noise)
        if _settle(lam, parts[k], given[k], noise, grid, held):
            _mirror(held.matrix, grid.size, covariance[k])
            _shift(covariance[k], grid, held, mean[k])
            _add_lambda_uncertainty(held.y, lam, grid, held.trial, held.step, covariance[k])
        else:
            mean[k, :], covariance[k, :, :] = math.nan, math.nan
        hyper[k, 0], hyper[k, 1], hyper[k, 2] = noise[0], noise[1], lam
