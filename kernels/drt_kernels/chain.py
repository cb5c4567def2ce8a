"""A series of spectra: objective and derivatives, and matrices that have blocks for each state and its neighbours.

Axes in the comments: k = states of a series in order, f = frequencies, q = data (real parts, then imaginary ones),
j = unknowns of a state (ln γ at m relaxation times, then R_inf, L and 1/C), i = inner relaxation times, r = differences
between states. What is minimised is in :mod:`drt_engine.solvers.chain`.

The Cholesky factor is made block by block, and the blocks of the inverse that lie where the matrix has blocks follow
backwards from it (K. Takahashi, J. Fagan, M.-S. Chin, 8th PICA Conference (1973) 63).
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drt_kernels.blas import (
    FIRST_TURNED,
    PLAIN,
    TURNED,
    add_image,
    add_product,
    add_product_from,
    add_square,
    cholesky,
    divide,
    multiply_by_upper,
)
from drt_kernels.compiling import entry, inner
from drt_kernels.dense import FAST
from drt_kernels.log_gaussian import Grid

__all__ = [
    "Curvature",
    "Differences",
    "Given",
    "Here",
    "Mixture",
    "Slope",
    "components",
    "derive",
    "determinants",
    "differ",
    "differentiate",
    "evaluate",
    "factor",
    "fill",
    "invert",
    "multiply",
    "solve",
    "variances",
]

Array = NDArray[Any]
Floats = NDArray[np.float64]

_NUMBERS: dict[str, Any] = {"error_model": "numpy"}

# Scalars of numpy: numba would compile a function again for each literal that it is called with.
_NO, _YES = np.False_, np.True_

# Share of the prior's curvature that is added to it: where γ vanishes, nothing else holds a common factor of it.
_RIDGE = 1e-11

# Product from which on its logarithm is taken.
_LARGE = 1e100

# Into how many parts rows of a banded block are divided: more would save more, and be slower.
_PARTS = 4

# Most rows of which LAPACK finds a factor: of more, it takes several times as long a row.
_AT_ONCE = 18


class Given(NamedTuple):
    """What belongs to a series, and hyperparameters."""

    routines: NDArray[np.int64]  # of linear algebra
    b: Floats  # (k,q) data, divided by their size
    columns: Floats  # (j,q)
    squares: Floats  # (j,q) of the columns
    last: Floats  # (k,q) columns of the last unknown where each state has its own; no rows where it is in `columns`
    precision: Floats  # (k,f) of the data
    lam: float  # λ
    share: float  # ω, what share of the single priors counts


class Differences(NamedTuple):
    """Differences between states that are expected to be small, and what that means."""

    state: NDArray[np.int64]  # (r,3) which states; the last is -1 for a difference of two
    coefficient: Floats  # (r,3)
    near: NDArray[np.bool_]  # (r) whether its states are neighbours in the chain
    weight: Floats  # (r,m-1) κ of each
    level: Floats  # (m) κ₀ times widths of the relaxation times
    freedom: float  # ν
    normal: bool  # whether the coupling is quadratic


class Here(NamedTuple):
    """The objective at a point, and what its derivatives are made from."""

    total: float
    value: Floats  # (k,j) γ and the elements
    residual: Floats  # (k,q)
    distance: Floats  # (k,f) square of the residual in standard deviations
    lean: Floats  # (k,m-1) how far slopes are from those that are expected
    ratio: Floats  # (k,i) √λ c/d of bends c
    root: Floats  # (k,i) √(1 + ratio²)
    e: Floats  # (r,m)
    share: Floats  # (r,m-1) g
    q: Floats  # (r,m-1) κ g²
    firm: Floats  # (r,m-1) curvature of the parabola that touches the coupling from above


class Slope(NamedTuple):
    """First derivatives."""

    worst: float  # largest |g_j / d_j|, with d_j² the diagonal of the Gauss-Newton matrix
    gradient: Floats  # (k,j)
    scale: Floats  # (k,j) d_j²
    weight: Floats  # (k,f) of the data
    pressure: Floats  # (k,m) what the data press ln γ with
    free: Floats  # (k,j) 1 where an unknown may move, 0 where it is held at zero


class Curvature(NamedTuple):
    """What the second derivative consists of."""

    pair: Floats  # (3,k,f) weights of real and imaginary part, and between them
    bands: Floats  # (3,k,m) diagonals of the single priors
    factors: Floats  # (k,j) what columns of the data are multiplied by
    held: Floats  # (k,j) 1 where an element stays where it is
    curved: Floats  # (r,m-1) curvature of the coupling in e


@inner(**_NUMBERS)
def _gather(out: Floats, u: Floats, d: Differences) -> None:
    """Differences of rows."""
    for r in range(len(d.state)):
        out[r] = 0.0
        for p in range(3):
            k = d.state[r, p]
            if k >= 0:
                out[r] += d.coefficient[r, p] * u[k, : out.shape[1]]


@entry(**_NUMBERS)
def differ(y: Floats, logs: int, d: Differences) -> Any:
    """Compute differences of ln γ along the states, shape (R, M)."""
    e = np.empty((len(d.state), logs))
    _gather(e, y, d)
    return e


@inner(**_NUMBERS)
def _scatter(out: Floats, e: Floats, d: Differences, power: int) -> None:
    """Add what belongs to differences to the rows that they are of, times a power of their coefficients."""
    for r in range(len(d.state)):
        for p in range(3):
            k = d.state[r, p]
            if k >= 0:
                out[k, : e.shape[1]] += d.coefficient[r, p] ** power * e[r]


@inner(**_NUMBERS)
def _sum_of_logarithms(values: Floats, share: float) -> float:
    """Σ ln(1 + share x) of values x ≥ 0, by the logarithms of products: those of each take most of the time."""
    total = 0.0
    for r in range(len(values)):
        product = 1.0
        for m in range(values.shape[1]):
            product *= 1.0 + share * values[r, m]
            if not product < _LARGE:
                total += math.log(product)
                product = 1.0
        total += math.log(product)
    return total


@inner(**_NUMBERS, fastmath=FAST)
def _fit(given: Given, tail: float, residual: Floats, distance: Floats) -> float:
    points, total = distance.shape[1], 0.0
    for k in range(len(distance)):
        for f in range(points):
            s = given.precision[k, f] * (residual[k, f] ** 2 + residual[k, points + f] ** 2)
            distance[k, f] = s
            total += 0.5 * s
    return total if tail == 0.0 else (0.5 / tail + 1.0) * _sum_of_logarithms(distance, tail)


@inner(**_NUMBERS, fastmath=FAST)
def _prior(grid: Grid, lam: float, y: Floats, lean: Floats, ratio: Floats, root: Floats) -> float:
    sloped, bent, stretch = 0.0, 0.0, math.sqrt(lam)
    for k in range(len(y)):
        for m in range(lean.shape[1]):
            lean[k, m] = y[k, m + 1] - y[k, m] - grid.lean[m]
            sloped += grid.slope[m] * lean[k, m] ** 2
        for i in range(ratio.shape[1]):
            bend = grid.bend[i, 0] * y[k, i] + grid.bend[i, 1] * y[k, i + 1] + grid.bend[i, 2] * y[k, i + 2]
            x = stretch / grid.knee[i] * bend
            ratio[k, i], root[k, i] = x, math.sqrt(1.0 + x * x)
            # √(1 + r) − 1 without the loss of digits.
            bent += grid.knee[i] * x * x / (1.0 + root[k, i])
    return 0.5 * lam * sloped + grid.rate * bent


@inner(**_NUMBERS, fastmath=FAST)
def _coupling(grid: Grid, d: Differences, e: Floats, g: Floats, q: Floats, firm: Floats) -> float:
    held, coupled, nu = 0.0, 0.0, d.freedom
    for r in range(len(e)):
        for m in range(e.shape[1]):
            held += d.level[m] * e[r, m] ** 2
        for m in range(g.shape[1]):
            g[r, m] = (e[r, m + 1] - e[r, m]) * math.sqrt(grid.slope[m])
            q[r, m] = d.weight[r, m] * g[r, m] ** 2
            firm[r, m] = d.weight[r, m] * (1.0 if d.normal else (1.0 + nu) / (nu + q[r, m]))
            coupled += 0.5 * q[r, m]
    if not d.normal:
        coupled = 0.5 * (1.0 + nu) * _sum_of_logarithms(q, 1.0 / nu)
    return coupled + 0.5 * held


@entry(**_NUMBERS)
def evaluate(given: Given, grid: Grid, d: Differences, y: Floats) -> Here:
    """Value of the objective at y, shape (K, N), and what derivatives are made from."""
    states, logs, number = len(y), grid.logs, len(d.state)
    value, residual = y.copy(), given.b.copy()
    for k in range(states):
        for m in range(logs):
            value[k, m] = math.exp(y[k, m])
    add_product(given.routines, residual, value, given.columns, PLAIN, 1.0, -1.0)
    for k in range(len(given.last)):
        residual[k] += value[k, -1] * given.last[k]
    distance, lean = np.empty_like(given.precision), np.empty((states, logs - 1))
    ratio, root = np.empty((states, logs - 2)), np.empty((states, logs - 2))
    total = _fit(given, grid.tail, residual, distance)
    total += given.share * _prior(grid, given.lam, y, lean, ratio, root)
    e, g = np.empty((number, logs)), np.empty((number, logs - 1))
    q, firm = np.empty_like(g), np.empty_like(g)
    _gather(e, y, d)
    total += _coupling(grid, d, e, g, q, firm)
    return Here(total, value, residual, distance, lean, ratio, root, e, g, q, firm)


@inner(**_NUMBERS)
def _band(band: Floats, grid: Grid, stiffness: Floats, given: Given) -> None:
    """Diagonals of the second derivative of the single priors, shape (3, K, M), with stiffnesses of bends."""
    band[:] = 0.0
    for k in range(band.shape[1]):
        for m in range(grid.logs - 1):
            s = given.share * given.lam * grid.slope[m]
            band[0, k, m] += s
            band[0, k, m + 1] += s
            band[1, k, m] -= s
        for i in range(grid.logs - 2):
            s, one, two, three = stiffness[k, i], grid.bend[i, 0], grid.bend[i, 1], grid.bend[i, 2]
            band[0, k, i] += s * one * one
            band[0, k, i + 1] += s * two * two
            band[0, k, i + 2] += s * three * three
            band[1, k, i] += s * one * two
            band[1, k, i + 1] += s * two * three
            band[2, k, i] += s * one * three


@inner(**_NUMBERS)
def _by_prior(gradient: Floats, scale: Floats, given: Given, grid: Grid, here: Here) -> None:
    """Add what the single priors have of both."""
    stiffness, stretch = np.empty_like(here.ratio), given.share * grid.rate * math.sqrt(given.lam)
    for k in range(len(stiffness)):
        for m in range(grid.logs - 1):
            s = given.share * given.lam * grid.slope[m] * here.lean[k, m]
            gradient[k, m] -= s
            gradient[k, m + 1] += s
        for i in range(grid.logs - 2):
            s = stretch * here.ratio[k, i] / here.root[k, i]
            stiffness[k, i] = given.share * grid.rate * given.lam / (grid.knee[i] * here.root[k, i])
            for n in range(3):
                gradient[k, i + n] += s * grid.bend[i, n]
    band = np.empty((3, len(stiffness), grid.logs))
    _band(band, grid, stiffness, given)
    scale[:, : grid.logs] += band[0]


@inner(**_NUMBERS)
def _by_coupling(gradient: Floats, scale: Floats, grid: Grid, d: Differences, here: Here) -> None:
    """Add what the coupling has of both."""
    step, held = np.empty_like(here.e), np.empty_like(here.e)
    for r in range(len(step)):
        for m in range(grid.logs):
            step[r, m], held[r, m] = d.level[m] * here.e[r, m], d.level[m]
        for m in range(grid.logs - 1):
            force, firm = here.firm[r, m] * here.share[r, m] * math.sqrt(grid.slope[m]), here.firm[r, m] * grid.slope[m]
            step[r, m] -= force
            step[r, m + 1] += force
            held[r, m] += firm
            held[r, m + 1] += firm
    _scatter(gradient, step, d, 1)
    _scatter(scale, held, d, 2)


@inner(**_NUMBERS)
def _worst(logs: int, y: Floats, gradient: Floats, scale: Floats, free: Floats) -> float:
    """Find which elements are free, and return the largest component of the gradient in its units."""
    worst = 0.0
    for k in range(len(y)):
        for j in range(y.shape[1]):
            unit = math.sqrt(scale[k, j])
            # A state without data does not show R_inf, L and 1/C: there is nothing to be fulfilled.
            x = gradient[k, j] / unit if unit > 0.0 else 0.0
            if j >= logs:
                free[k, j] = 1.0 if y[k, j] > 0.0 or gradient[k, j] < 0.0 else 0.0
                x = min(y[k, j] * unit, x)
            worst = max(worst, math.inf if math.isnan(x) else abs(x))
    return worst


@entry(**_NUMBERS)
def differentiate(given: Given, grid: Grid, d: Differences, y: Floats, here: Here) -> Slope:
    """Differentiate at the point evaluated last."""
    states, logs, points, tail = len(y), grid.logs, given.precision.shape[1], grid.tail
    weight, weighted, both = np.empty((states, points)), np.empty_like(here.residual), np.empty_like(here.residual)
    for k in range(states):
        for f in range(points):
            w = given.precision[k, f] * (1.0 + 2.0 * tail) / (1.0 + tail * here.distance[k, f])
            weight[k, f] = both[k, f] = both[k, points + f] = w
            weighted[k, f] = w * here.residual[k, f]
            weighted[k, points + f] = w * here.residual[k, points + f]
    gradient, scale, pressure = np.empty_like(y), np.empty_like(y), np.empty((states, logs))
    add_product(given.routines, gradient, weighted, given.columns, TURNED, 1.0, 0.0)
    add_product(given.routines, scale, both, given.squares, TURNED, 1.0, 0.0)
    for k in range(len(given.last)):
        gradient[k, -1] = (weighted[k] * given.last[k]).sum()
        scale[k, -1] = (both[k] * given.last[k] ** 2).sum()
    for k in range(states):
        for m in range(logs):
            v = here.value[k, m]
            gradient[k, m] *= v
            scale[k, m] *= v * v
            pressure[k, m] = gradient[k, m]
    _by_prior(gradient, scale, given, grid, here)
    _by_coupling(gradient, scale, grid, d, here)
    free = np.ones_like(y)
    worst = _worst(logs, y, gradient, scale, free)
    return Slope(worst, gradient, scale, weight, pressure, free)


@inner(**_NUMBERS)
def _turn_weights(pair: Floats, grid: Grid, here: Here, weight: Floats, least: float) -> None:
    """Weights of each pair of a real and an imaginary part: less along the residual where that is large."""
    points = weight.shape[1]
    for k in range(len(weight)):
        for f in range(points):
            w, re, im = weight[k, f], here.residual[k, f], here.residual[k, points + f]
            size, t = math.hypot(re, im), grid.tail * here.distance[k, f]
            less = w * max((1.0 - t) / (1.0 + t), least) - w
            if size == 0.0 or least == 1.0:
                size, less = 1.0, 0.0
            c, s = re / size, im / size
            pair[0, k, f], pair[1, k, f], pair[2, k, f] = w + c * c * less, c * s * less, w + s * s * less


@entry(**_NUMBERS)
def derive(given: Given, grid: Grid, here: Here, slope: Slope, least: float, known: Floats, dual: Floats,
           firm: Floats) -> Curvature:  # fmt: skip
    """Find what the second derivative consists of.

    `least` is the least share of the curvature of touching parabolas that data have, which is in `firm`, that of the
    coupling, already. `known` are variances of the bends, where they are to count; `dual` forces of the bends.
    """
    states, logs, size = len(slope.scale), grid.logs, slope.scale.shape[1]
    pair, stiffness = np.empty((3, states, slope.weight.shape[1])), np.empty((states, logs - 2))
    _turn_weights(pair, grid, here, slope.weight, least)
    for k in range(states):
        for i in range(logs - 2):
            ratio, root, knee = here.ratio[k, i], here.root[k, i], grid.knee[i]
            if known[k, i] > 0.0:
                s = 1.0 / math.sqrt(knee * knee * root * root + given.lam * known[k, i])
            else:
                s = (1.0 - dual[k, i] * ratio / root) / (knee * root)
            stiffness[k, i] = given.share * grid.rate * given.lam * s
    bands, factors, held = np.empty((3, states, logs)), here.value.copy(), np.zeros((states, size))
    _band(bands, grid, stiffness, given)
    for k in range(states):
        for m in range(logs):
            force = slope.pressure[k, m]
            bands[0, k, m] += _RIDGE * bands[0, k, m] + (force if least < 0.0 else max(force, 0.0))
        for j in range(logs, size):
            # Without data nothing holds what is no part of γ, and it stays where it is.
            held[k, j] = 1.0 if slope.free[k, j] == 0.0 or slope.scale[k, j] == 0.0 else 0.0
            factors[k, j] = 1.0 - held[k, j]
    return Curvature(pair, bands, factors, held, firm * grid.slope)


@inner(**_NUMBERS)
def _weigh(c: Curvature, k: int, weights: Array) -> bool:
    """Put weights of a state, or their Cholesky factor where each pair has one, which is told."""
    positive = True
    for f in range(c.pair.shape[2]):
        a, m, b = c.pair[0, k, f], c.pair[1, k, f], c.pair[2, k, f]
        weights[0, f], weights[1, f], weights[2, f] = a, m, b
        positive = positive and a >= 0.0 and a * b >= m * m
    if positive:
        for f in range(c.pair.shape[2]):
            a, m, b = c.pair[0, k, f], c.pair[1, k, f], c.pair[2, k, f]
            root = math.sqrt(a)
            mixed = m / root if root > 0.0 else 0.0
            weights[0, f], weights[1, f], weights[2, f] = root, mixed, math.sqrt(max(b - mixed * mixed, 0.0))
    return positive


@inner(**_NUMBERS)
def _fill_data(at: Array, own: Array, rows: Array, c: Curvature, k: int, work: Array, weights: Array) -> None:
    """Put the part of the data into the block of a state, of which the lower half counts."""
    points, zero, one = c.pair.shape[2], own.dtype.type(0), own.dtype.type(1)
    positive = _weigh(c, k, weights)
    lower = zero if positive else one
    for j in range(rows.shape[0]):
        scale = own.dtype.type(c.factors[k, j])
        for f in range(points):
            re, im = rows[j, f] * scale, rows[j, points + f] * scale
            work[0, j, f] = weights[0, f] * re + weights[1, f] * im
            work[0, j, points + f] = weights[2, f] * im + lower * weights[1, f] * re
        for q in range(0 if positive else 2 * points):
            work[1, j, q] = rows[j, q] * scale
    if positive:
        # A product of a matrix with its own transpose takes half the time of another one.
        add_square(at, own, work[0], one, zero)
    else:
        add_product(at, own, work[1], work[0], TURNED, one, zero)


@inner(**_NUMBERS)
def _add_coupling(block: Array, share: float, level: Floats, curved: Floats, own: bool) -> None:
    """Add what two states have in common by a difference; of a block on the diagonal, to its lower half."""
    for m in range(len(level)):
        block[m, m] += share * level[m]
    for m in range(len(curved)):
        s = share * curved[m]
        block[m, m] += s
        block[m + 1, m + 1] += s
        block[m + 1, m] -= s
        if not own:
            block[m, m + 1] -= s


@entry(**_NUMBERS)
def fill(at: Array, own: Array, off: Array, rows: Array, last: Floats, c: Curvature, d: Differences) -> None:
    """Put the blocks of the second derivative together, as far as neighbours in the chain are concerned.

    `rows` are the columns of the data, of which the last is overwritten where each state has its own.
    """
    states, logs, size = c.bands.shape[1], c.bands.shape[2], rows.shape[0]
    work, weights = np.empty((2, size, rows.shape[1]), rows.dtype), np.empty((3, c.pair.shape[2]), rows.dtype)
    off[:] = 0.0
    for k in range(states):
        if len(last):
            rows[-1] = last[k]
        _fill_data(at, own[k], rows, c, k, work, weights)
        for n in range(3):
            for m in range(logs - n):
                own[k, m + n, m] += c.bands[n, k, m]
        for j in range(logs, size):
            own[k, j, j] += c.held[k, j]
    for r in np.flatnonzero(d.near):
        for p in range(3):
            for n in range(p, 3):
                k, i = d.state[r, p], d.state[r, n]
                if k >= 0 and i >= 0:
                    share = d.coefficient[r, p] * d.coefficient[r, n]
                    block = own[k] if n == p else off[k, i - k - 1]
                    _add_coupling(block, share, d.level, c.curved[r], n == p)


@inner(**_NUMBERS)
def _multiply_data(given: Given, c: Curvature, out: Floats) -> None:
    """Multiply AᵀWA with `out`, in place."""
    states, points = len(out), c.pair.shape[2]
    image = np.empty((states, 2 * points))
    add_product(given.routines, image, out, given.columns, PLAIN, 1.0, 0.0)
    for k in range(states):
        if len(given.last):
            image[k] += out[k, -1] * given.last[k]
        for f in range(points):
            re, im, m = image[k, f], image[k, points + f], c.pair[1, k, f]
            image[k, f], image[k, points + f] = c.pair[0, k, f] * re + m * im, m * re + c.pair[2, k, f] * im
    add_product(given.routines, out, image, given.columns, TURNED, 1.0, 0.0)
    for k in range(len(given.last)):
        out[k, -1] = (image[k] * given.last[k]).sum()


@entry(**_NUMBERS)
def multiply(given: Given, c: Curvature, d: Differences, v: Floats) -> Any:
    """Multiply the whole second derivative by v, shape (K, N)."""
    states, logs = len(v), c.bands.shape[2]
    out = v * c.factors
    _multiply_data(given, c, out)
    for k in range(states):
        for j in range(v.shape[1]):
            out[k, j] = out[k, j] * c.factors[k, j] + c.held[k, j] * v[k, j]
        for m in range(logs):
            out[k, m] += c.bands[0, k, m] * v[k, m]
        for n in range(1, 3):
            for m in range(logs - n):
                out[k, m + n] += c.bands[n, k, m] * v[k, m]
                out[k, m] += c.bands[n, k, m] * v[k, m + n]
    e = np.empty((len(d.state), logs))
    _gather(e, v, d)
    step = np.empty_like(e)
    for r in range(len(e)):
        step[r] = d.level * e[r]
        for m in range(logs - 1):
            force = c.curved[r, m] * (e[r, m + 1] - e[r, m])
            step[r, m + 1] += force
            step[r, m] -= force
    _scatter(out, step, d, 1)
    return out


@entry(**_NUMBERS)
def factor(at: Array, own: Array, off: Array, first: int, last: int) -> bool:
    """Replace rows of states from `first` to before `last` of the matrix by those of its Cholesky factor.

    Returns whether it is positive definite.
    """
    states, reach, size = off.shape[:3]
    one = own.dtype.type(1)
    # The inverse of a factor serves all blocks below it, by products, which are several times faster than divisions.
    turned = np.zeros((size, size), own.dtype)
    work = np.empty((size, size), own.dtype)
    for k in range(first, last):
        if not _turned_inverse(at, own[k], turned, work, _NO) or not math.isfinite(own[k, size - 1, size - 1]):
            return False
        near = min(reach, states - 1 - k)
        # Where states are coupled, so are their first relaxation times.
        if near == 0 or not off[k, :near, 0].any():
            continue
        dense = near - 1 if _is_banded(off[k, near - 1]) else near
        if dense:
            multiply_by_upper(at, off[k, :dense].reshape(dense * size, size), turned, PLAIN)
        for n in range(dense):
            for i in range(n):
                add_product(at, off[k + 1 + i, n - i - 1], off[k, n], off[k, i], TURNED, -one, one)
            add_square(at, own[k + 1 + n], off[k, n], -one, one)
        if dense < near:
            _eliminate_banded(at, own, off, k, dense, turned)
    return True


@inner(**_NUMBERS)
def _turned_inverse(at: Array, block: Array, out: Array, work: Array, made: Any) -> bool:
    """Put L⁻ᵀ into the upper half of `out`, whose lower one is zero, some columns at once.

    Unless it is `made`, L is put into the lower half of the block as well: where it is found in parts, products do most
    of the work, and these take the inverse of each part. Returns whether the block is positive definite.
    """
    size, one, zero = len(block), block.dtype.type(1), block.dtype.type(0)
    each = -(-size // -(-size // _AT_ONCE))
    for s in range(0, size, each):
        stop = min(s + each, size)
        if not made and not cholesky(at, block[s:stop, s:stop]):
            return False
        _invert_part(block, out, work, s, stop)
        own = out[s:stop, s:stop]
        if not made and stop < size:
            below, before = block[stop:, s:stop], work[stop:, s:stop]
            for i in range(size - stop):
                for j in range(stop - s):
                    before[i, j] = below[i, j]
            add_product(at, below, before, own, PLAIN, one, zero)
            add_square(at, block[stop:, stop:], below, -one, one)
        if s:
            beside = work[:s, s:stop]
            add_product(at, beside, out[:s, :s], block[s:stop, :s], TURNED, one, zero)
            add_product(at, out[:s, s:stop], beside, own, PLAIN, -one, zero)
    return True


@inner(**_NUMBERS)
def _invert_part(factor: Array, out: Array, work: Array, begin: int, end: int) -> None:
    """Do what :func:`_turned_inverse` does with one block on the diagonal."""
    one, zero = factor.dtype.type(1), factor.dtype.type(0)
    for i in range(begin, end):
        for j in range(begin, i):
            work[i, j] = zero
        work[i, i] = one
        for m in range(begin, i):
            share = factor[i, m]
            for j in range(begin, m + 1):
                work[i, j] -= share * work[m, j]
        share = one / factor[i, i]
        for j in range(begin, i + 1):
            work[i, j] *= share
            out[j, i] = work[i, j]


@inner(**_NUMBERS, fastmath=FAST)
def _is_banded(block: Array) -> bool:
    """Whether a block is zero left of the diagonal beside its main one, as where nothing was subtracted from it."""
    for j in range(2, len(block)):
        total = block.dtype.type(0)
        for m in range(j - 1):
            total += abs(block[j, m])
        if total != 0.0:
            return False
    return True


@inner(**_NUMBERS)
def _eliminate_banded(at: Array, own: Array, off: Array, k: int, n: int, turned: Array) -> None:
    """Do what :func:`factor` does with a block that is banded, and after it one that is zero left of its band.

    Of the products, some rows at once without the columns where they are 0: elimination keeps these zero, so that the
    farthest neighbours cost half of what nearer ones do.
    """
    block, size = off[k, n], own.shape[1]
    less, zero, each = -own.dtype.type(1), own.dtype.type(0), -(-size // _PARTS)
    for j in range(size):
        # At the ends the share of a column that is not there is zero.
        before, after = max(j - 1, 0), min(j + 1, size - 1)
        left, here, right = block[j, before], block[j, j], block[j, after]
        if before == j:
            left = zero
        if after == j:
            right = zero
        for i in range(before, size):
            block[j, i] = left * turned[before, i] + here * turned[j, i] + right * turned[after, i]
    for s in range(0, size, each):
        stop, first = min(s + each, size), max(s - 1, 0)
        for i in range(n):
            add_product_from(at, off[k + 1 + i, n - i - 1][s:stop], block[s:stop], off[k, i], first, less)
        add_product_from(at, own[k + 1 + n][s:stop], block[s:stop], block[:stop], first, less)


@inner(**_NUMBERS, fastmath=FAST)
def _divide_one(factor: Array, row: Array, how: Any) -> None:
    """Solve L x = r, or Lᵀ x = r for `TURNED`, in place, in less time than BLAS takes."""
    size = len(row)
    if how == PLAIN:
        for i in range(size):
            total = row[i]
            for j in range(i):
                total -= factor[i, j] * row[j]
            row[i] = total / factor[i, i]
    else:
        for i in range(size - 1, -1, -1):
            share = row[i] / factor[i, i]
            row[i] = share
            for j in range(i):
                row[j] -= share * factor[i, j]


@entry(**_NUMBERS)
def solve(at: Array, own: Array, off: Array, out: Array) -> None:
    """Solve with the factor in place, shape (K, n, N)."""
    states, reach = off.shape[:2]
    one, single = own.dtype.type(1), out.shape[1] == 1
    for k in range(states):
        if single:
            _divide_one(own[k], out[k, 0], PLAIN)
        else:
            divide(at, own[k], out[k], PLAIN)
        for n in range(min(reach, states - 1 - k)):
            if single:
                add_image(at, out[k + 1 + n, 0], off[k, n], out[k, 0], PLAIN, -one)
            else:
                add_product(at, out[k + 1 + n], out[k], off[k, n], TURNED, -one, one)
    for k in range(states - 1, -1, -1):
        for n in range(min(reach, states - 1 - k)):
            if single:
                add_image(at, out[k, 0], off[k, n], out[k + 1 + n, 0], TURNED, -one)
            else:
                add_product(at, out[k], out[k + 1 + n], off[k, n], PLAIN, -one, one)
        if single:
            _divide_one(own[k], out[k, 0], TURNED)
        else:
            divide(at, own[k], out[k], TURNED)


@inner(**_NUMBERS)
def _mirror(block: Array, share: Any) -> None:
    """Make both halves of a block the lower one plus a share of how much more the upper one is."""
    for j in range(len(block)):
        for m in range(j):
            block[m, j] = block[j, m] = block[j, m] + share * (block[m, j] - block[j, m])


@entry(**_NUMBERS)
def invert(at: Array, own: Array, off: Array, first: int, last: int, states: int) -> None:
    """Replace rows of the factor from `last` − 1 to `first`, of so many states in all, by blocks of the inverse."""
    reach, size = off.shape[1:3]
    one, zero = own.dtype.type(1), own.dtype.type(0)
    beside = np.zeros((reach, size, size), own.dtype)
    turned, work = np.zeros((size, size), own.dtype), np.empty((size, size), own.dtype)
    for k in range(last - 1, first - 1, -1):
        near = min(reach, states - 1 - k)
        _turned_inverse(at, own[k], turned, work, _YES)
        if near:
            # L_jk L_kk⁻¹
            multiply_by_upper(at, off[k, :near].reshape(near * size, size), turned, TURNED)
        add_square(at, own[k], turned, one, zero)
        _mirror(own[k], zero)
        for n in range(near):
            add_product(at, beside[n], own[k + 1 + n], off[k, n], PLAIN, one, zero)
            for i in range(n):
                add_product(at, beside[n], off[k + 1 + i, n - i - 1], off[k, i], PLAIN, one, one)
            for i in range(n + 1, near):
                add_product(at, beside[n], off[k + 1 + n, i - n - 1], off[k, i], FIRST_TURNED, one, one)
        for n in range(near):
            add_product(at, own[k], off[k, n], beside[n], FIRST_TURNED, one, one)
        # Rounding errors that are not symmetric would grow from state to state, those that are fade.
        _mirror(own[k], one / (one + one))
        for n in range(near):
            off[k, n] = -beside[n]


@inner(**_NUMBERS)
def _variances_of_bends(own: Array, bend: Floats, out: Floats) -> None:
    for i in range(len(out)):
        total = 0.0
        for n in range(3):
            total += bend[i, n] ** 2 * own[i + n, i + n]
            for m in range(n + 1, 3):
                total += 2.0 * bend[i, n] * bend[i, m] * own[i + n, i + m]
        out[i] = max(total, 0.0)


@inner(**_NUMBERS)
def _variances_of_changes(own: Array, off: Array, grid: Grid, d: Differences, out: Floats) -> None:
    for r in np.flatnonzero(d.near):
        for p in range(3):
            for n in range(p, 3):
                k, i = d.state[r, p], d.state[r, n]
                if k >= 0 and i >= 0:
                    times = d.coefficient[r, p] * d.coefficient[r, n] * (1.0 if n == p else 2.0)
                    block = own[k] if n == p else off[k, i - k - 1]
                    for m in range(grid.logs - 1):
                        out[r, m] += times * (block[m, m] + block[m + 1, m + 1] - block[m, m + 1] - block[m + 1, m])
        for m in range(grid.logs - 1):
            out[r, m] = max(out[r, m] * grid.slope[m], 0.0)


@entry(**_NUMBERS)
def variances(at: Array, own: Array, off: Array, columns: Array, last: Floats, scale: Array, grid: Grid,
              d: Differences) -> Any:  # fmt: skip
    """Variances of g of each difference (r,m-1), of the bends (k,i) and of the model (k,f), from blocks of the inverse.

    `columns` and `last` are as :func:`fill` takes them, `scale` what columns are multiplied by in each state, (K, N).
    """
    states, size, points = len(scale), columns.shape[0], columns.shape[1] // 2
    one, zero = own.dtype.type(1), own.dtype.type(0)
    bends, fit = np.empty((states, grid.logs - 2)), np.zeros((states, points))
    changes = np.zeros((len(d.state), grid.logs - 1))
    scaled, image = np.empty_like(columns), np.empty_like(columns)
    for k in range(states):
        _variances_of_bends(own[k], grid.bend, bends[k])
        if len(last):
            columns[-1] = last[k]
        for j in range(size):
            scaled[j] = columns[j] * scale[k, j]
        add_product(at, image, own[k], scaled, PLAIN, one, zero)
        for j in range(size):
            for f in range(points):
                fit[k, f] += image[j, f] * scaled[j, f] + image[j, points + f] * scaled[j, points + f]
    _variances_of_changes(own, off, grid, d, changes)
    return changes, bends, fit


class Mixture(NamedTuple):
    """What components of a variance are found from."""

    counts: Floats  # (n) of how many squares each is the sum
    square: Floats  # (n)
    parts: Floats  # (c,n) of the variance, for components of one
    expected: Floats  # (c) logarithms of the components, before anything is seen
    precision: Floats  # (c) of that


# Most steps of finding components of a variance, and halvings of each; and the change of a logarithm that ends them.
_SCALINGS, _SCALED = 40, 3e-3


@inner(**_NUMBERS)
def _misfit(given: Mixture, log: Floats) -> float:
    total, each = 0.0, np.exp(log)
    for n in range(len(given.counts)):
        v = 0.0
        for c in range(len(log)):
            v += each[c] * given.parts[c, n]
        total += given.counts[n] * math.log(v) + given.square[n] / v
    for c in range(len(log)):
        total += 0.5 * given.precision[c] * (log[c] - given.expected[c]) ** 2
    return total


@inner(**_NUMBERS)
def _scoring_step(given: Mixture, log: Floats) -> Any:
    number, each, part = len(log), np.exp(log), np.empty(len(log))
    gradient, information = given.precision * (log - given.expected), np.diag(given.precision + 1e-9)
    for n in range(len(given.counts)):
        v = 0.0
        for c in range(number):
            part[c] = each[c] * given.parts[c, n]
            v += part[c]
        for c in range(number):
            part[c] /= v
        for c in range(number):
            gradient[c] += part[c] * (given.counts[n] - given.square[n] / v)
            for i in range(number):
                information[c, i] += part[c] * part[i] * given.counts[n]
    step = -np.linalg.solve(information, gradient)
    return step / max(np.abs(step).max(), 1.0)


@entry(**_NUMBERS)
def components(given: Mixture, start: Floats) -> Any:
    """Logarithms of components v of variances Σ_c v_c parts_c with the least Σ counts ln variance + square / variance.

    By Fisher scoring with a line search: where one component is far below the other, a whole step goes astray.
    """
    log, before = start.copy(), _misfit(given, start)
    for _ in range(_SCALINGS):
        step = _scoring_step(given, log)
        after = _misfit(given, log + step)
        for _ in range(_SCALINGS):
            if after <= before:
                break
            step = 0.5 * step
            after = _misfit(given, log + step)
        if not after <= before:
            break
        log, before = log + step, after
        if np.abs(step).max() < _SCALED:
            break
    return log


@entry(**_NUMBERS)
def determinants(bands: Floats) -> Any:
    """Logarithms of determinants of symmetric matrices of which diagonals 0, 1 and 2 are given, shape (3, J, M)."""
    _, count, size = bands.shape
    total = np.zeros(count)
    for j in range(count):
        before, last, one, two, far = 1.0, 1.0, 0.0, 0.0, 0.0
        for m in range(size):
            # Factors of the rows before: `one` of m − 1, `two` of m − 2 at this row, `far` of m − 1 at the next.
            pivot = bands[0, j, m] - one**2 * last - two**2 * before
            total[j] += math.log(pivot)
            following = (bands[1, j, m] - far * last * one) / pivot
            one, two, far = following, far, bands[2, j, m] / pivot
            before, last = last, pivot
    return total
