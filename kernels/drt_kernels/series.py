"""Maximum of the posterior of u = ln γ over a whole series of spectra, and what it says about each and about changes.

Axes in the comments: k = states of a series in order, f = frequencies, q = data (real parts, then imaginary ones),
j = unknowns of a state (ln γ at m relaxation times, then R_inf, L and 1/C), r = differences between states.

What is minimised over all y_k = (u_k, x_k), x_k ≥ 0, is the sum of the objectives of the single spectra, as
:mod:`drt_kernels.log_gaussian` has them with the prior times ω, and for differences e = Σ_k t_k u_k of first and second
order along the series

    Σ_r Σ_m (1 + ν)/2 ln(1 + κ g_rm² / ν) + ½ κ₀ ∫ e_r² d ln τ,    g_rm = (e_{m+1} − e_m) / √h_m,

a distribution of Student for how e changes with ln τ: most of it is zero, and where a process moves or jumps it is not.

Newton's matrix has blocks for each state and for its two neighbours on either side. Its Cholesky factor is made block
by block, and the blocks of the inverse that lie where the matrix has blocks follow backwards from it (K. Takahashi,
J. Fagan, M.-S. Chin, 8th PICA Conference (1973) 63).
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drt_kernels.compiling import compiled
from drt_kernels.log_gaussian import (
    _CLOSE,
    _FAST,
    _HALVINGS,
    _INNER,
    _LONGEST,
    _OUTER,
    _RESIDUAL_ROUNDING,
    _ROUNDING,
    Grid,
    _bent,
    _duals_at_solution,
    _factorise,
    _invert_factor,
    _prior,
    _prior_band,
    _prior_gradient,
    _prior_weights,
    _products,
    _update_duals,
)

Array = NDArray[np.float64]
Whole = NDArray[np.int64]

# Degrees of freedom of how e changes with ln τ, and κ₀, which holds e itself where no data do.
NU, LEVEL = 1.0, 0.1

# Below this residual Newton's matrix is tried first.
_NEAR = 0.05


class Terms(NamedTuple):
    """Differences between states that are expected to be small."""

    state: Whole  # (r,3) which states; the last is -1 for a difference of two
    coefficient: Array  # (r,3)
    kind: Whole  # (r) which strength it has
    relative: Array  # (r,m) share of the strength


class Chain(NamedTuple):
    """A series and what is known about it so far."""

    b: Array  # (k,q) data
    precision: Array  # (k,f) of the points, 0 where there is none
    y: Array  # (k,j)
    value: Array  # (k,j) e^u and x
    residual: Array  # (k,q)
    distance: Array  # (k,f) |z|² times the precision
    weight: Array  # (k,f)
    gradient: Array  # (k,j)
    pressure: Array  # (k,m) part of the gradient that is of the data
    scale: Array  # (k,j) diagonal of the Gauss-Newton matrix
    free: Array  # (k,j) 1, or 0 for an element that is held at zero
    dual: Array  # (k,m) of the bends
    known: Array  # (k,m) variance of the bends, where it is to count
    share: Array  # (r,m) g
    firm: Array  # (r,m) curvature of the coupling by g
    spread: Array  # (r,m) variance of g, where it is to count
    step: Array  # (k,j)
    trial: Array  # (k,j)
    own: Array  # (k,j,j) blocks of the matrix, its factor, its inverse
    off: Array  # (k,d,j,j) rows of state k + 1 + d, columns of state k; of the inverse its transpose


class Model(NamedTuple):
    """What the objective depends on beside the data."""

    kappa: Array  # strengths
    width: Array  # (m) of the relaxation times in ln τ
    lam: float  # λ
    tail: float  # reciprocal degrees of freedom of the noise
    prior: Grid  # with the prior times ω


class Space(NamedTuple):
    """Arrays for one state."""

    left: Array  # (j,q)
    right: Array  # (j,q)
    gradient: Array  # (j)
    stiffness: Array  # (m)
    band: Array  # (3,m)
    one: Array  # (j,j)
    two: Array  # (j,j)
    far: Array  # (d,j,j)


def new_chain(b: Array, grid: Grid, terms: Terms) -> Chain:
    """Make the arrays for the data of K states, shape (K, n)."""
    states, whole = len(b), len(grid.columns)
    points, rows = b.shape[1] // 2, len(terms.state)
    reach = int(
        np.max(terms.state - terms.state.min(axis=1, where=terms.state >= 0, initial=states)[:, None], initial=0)
    )

    def zeros(*shape: int) -> Array:
        return np.zeros(shape)

    return Chain(
        b,
        zeros(states, points),
        *(zeros(states, whole), zeros(states, whole), zeros(states, 2 * points)),
        *(zeros(states, points), zeros(states, points), zeros(states, whole), zeros(states, grid.logs)),
        *(np.ones((states, whole)), np.ones((states, whole)), zeros(states, grid.logs), zeros(states, grid.logs)),
        *(zeros(rows, grid.logs), zeros(rows, grid.logs), zeros(rows, grid.logs)),
        *(zeros(states, whole), zeros(states, whole)),
        *(zeros(states, whole, whole), zeros(states, reach, whole, whole)),
    )


def new_space(chain: Chain, grid: Grid) -> Space:
    """Make the arrays for one state of a series."""
    whole, data = grid.columns.shape
    padded = -(-data // 16) * 16
    return Space(
        np.zeros((whole, padded)),
        np.zeros((whole, padded)),
        np.zeros(whole),
        np.zeros(grid.logs),
        np.zeros((3, grid.logs)),
        np.zeros((whole, whole)),
        np.zeros((whole, whole)),
        np.zeros((chain.off.shape[1], whole, whole)),
    )


@compiled(**_INNER, fastmath=_FAST)
def _coupled(y: Array, chain: Chain, terms: Terms, kappa: Array, normal: bool, width: Array, grid: Grid) -> float:
    """Value of the coupling; leaves g and the curvature of a parabola that touches from above."""
    total = 0.0
    for r in range(terms.kind.size):
        one, two, three = terms.state[r, 0], terms.state[r, 1], terms.state[r, 2]
        c = terms.coefficient[r]
        before = 0.0
        for m in range(grid.logs):
            e = c[0] * y[one, m] + c[1] * y[two, m]
            if three >= 0:
                e += c[2] * y[three, m]
            total += 0.5 * LEVEL * width[m] * e * e
            if m > 0:
                # `slope` holds 1/h.
                g = (e - before) * math.sqrt(grid.slope[m - 1])
                weight = kappa[terms.kind[r]] * terms.relative[r, m - 1]
                q = weight * g * g
                chain.share[r, m - 1] = g
                if normal:
                    total += 0.5 * q
                    chain.firm[r, m - 1] = weight
                else:
                    total += 0.5 * (1.0 + NU) * math.log1p(q / NU)
                    chain.firm[r, m - 1] = weight * (1.0 + NU) / (NU + q + weight * chain.spread[r, m - 1])
            before = e
    return total


@compiled(**_INNER, fastmath=_FAST)
def _objective(y: Array, chain: Chain, model: Model, grid: Grid) -> float:
    """Value of the single objectives; leaves values, residuals and distances."""
    total = 0.0
    data = chain.b.shape[1]
    points = data // 2
    tail = model.tail
    for k in range(chain.b.shape[0]):
        value, residual = chain.value[k], chain.residual[k]
        for q in range(data):
            residual[q] = -chain.b[k, q]
        for j in range(grid.size):
            value[j] = math.exp(y[k, j]) if j < grid.logs else y[k, j]
            column = grid.columns[j]
            for q in range(data):
                residual[q] += value[j] * column[q]
        for f in range(points):
            d = chain.precision[k, f] * (residual[f] * residual[f] + residual[points + f] * residual[points + f])
            chain.distance[k, f] = d
            total += 0.5 * d if tail == 0.0 else (0.5 / tail + 1.0) * math.log1p(tail * d)
        total += _prior(y[k], model.lam, model.prior)
    return total


@compiled(**_INNER, fastmath=_FAST)
def _differentiate_own(chain: Chain, model: Model, grid: Grid, space: Space) -> None:
    """Gradient of the single objectives at the point evaluated last, and which elements are free."""
    y, gradient = chain.y, chain.gradient
    lam, prior, tail = model.lam, model.prior, model.tail
    points = chain.weight.shape[1]
    for k in range(chain.b.shape[0]):
        value, residual, weight = chain.value[k], chain.residual[k], chain.weight[k]
        for f in range(points):
            weight[f] = chain.precision[k, f] * (1.0 + 2.0 * tail) / (1.0 + tail * chain.distance[k, f])
        _prior_gradient(y[k], lam, prior, space.gradient)
        _prior_weights(y[k], lam, prior, 0.0, chain.dual[k], space.stiffness)
        _prior_band(lam, prior, space.stiffness, space.band)
        for j in range(grid.size):
            column = grid.columns[j]
            force = 0.0
            square = 0.0
            for f in range(points):
                re = weight[f] * column[f]
                im = weight[f] * column[points + f]
                force += re * residual[f] + im * residual[points + f]
                square += re * column[f] + im * column[points + f]
            if j < grid.logs:
                chain.pressure[k, j] = value[j] * force
                gradient[k, j] = space.gradient[j] + value[j] * force
                chain.scale[k, j] = square * value[j] * value[j] + space.band[0, j]
            else:
                gradient[k, j] = force
                chain.free[k, j] = 1.0 if y[k, j] > 0.0 or force < 0.0 else 0.0
                chain.scale[k, j] = square


@compiled(**_INNER, fastmath=_FAST)
def _differentiate_coupling(chain: Chain, terms: Terms, width: Array, grid: Grid) -> None:
    """Add the gradient of the coupling."""
    y, gradient = chain.y, chain.gradient
    for r in range(terms.kind.size):
        c = terms.coefficient[r]
        for m in range(grid.logs):
            e = 0.0
            for n in range(3):
                if terms.state[r, n] >= 0:
                    e += c[n] * y[terms.state[r, n], m]
            slope_term = LEVEL * width[m] * e
            weight_ = 0.0
            if m > 0:
                force = chain.firm[r, m - 1] * chain.share[r, m - 1] * math.sqrt(grid.slope[m - 1])
                slope_term += force
                weight_ += chain.firm[r, m - 1] * grid.slope[m - 1]
            if m + 1 < grid.logs:
                slope_term -= chain.firm[r, m] * chain.share[r, m] * math.sqrt(grid.slope[m])
                weight_ += chain.firm[r, m] * grid.slope[m]
            for n in range(3):
                k = terms.state[r, n]
                if k >= 0:
                    gradient[k, m] += c[n] * slope_term
                    chain.scale[k, m] += c[n] * c[n] * (weight_ + LEVEL * width[m])


@compiled(**_INNER, fastmath=_FAST)
def _differentiate(chain: Chain, terms: Terms, model: Model, grid: Grid, space: Space) -> float:
    """Gradient at the point evaluated last, which elements are free; return the largest |g_j / d_j|."""
    _differentiate_own(chain, model, grid, space)
    _differentiate_coupling(chain, terms, model.width, grid)
    y, gradient = chain.y, chain.gradient
    worst = 0.0
    for k in range(chain.b.shape[0]):
        for j in range(grid.size):
            scale = math.sqrt(chain.scale[k, j])
            # A state without data does not show R_inf, L and 1/C: there is nothing to be fulfilled.
            here = 0.0 if scale == 0.0 else gradient[k, j] / scale
            here = abs(here) if j < grid.logs else abs(min(y[k, j] * scale, here))
            if not here <= worst:
                worst = here
    return worst


@compiled(**_INNER, fastmath=_FAST)
def _gram(left: Array, right: Array, block: Array, out: Array) -> None:
    """Lower half of left rightᵀ."""
    for i in range(0, left.shape[0], 4):
        for j in range(0, i + 1, 4):
            _products(left, i, right, j, left.shape[1], block)
            for a in range(4):
                for b in range(4):
                    out[i + a, j + b] = block[a, b]


@compiled(**_INNER, fastmath=_FAST)
def _own_block(chain: Chain, k: int, model: Model, mode: int, grid: Grid, space: Space, block: Array) -> None:
    """Second derivative of the single objective of a state, lower half, into `chain.own`; see :func:`_build`."""
    lam, prior, tail = model.lam, model.prior, model.tail
    points = chain.weight.shape[1]
    residual, weight, left, right = chain.residual[k], chain.weight[k], space.left, space.right
    for j in range(grid.size):
        column = grid.columns[j]
        scale = chain.value[k, j] if j < grid.logs else chain.free[k, j]
        for f in range(points):
            re, im = residual[f], residual[points + f]
            size = math.sqrt(re * re + im * im)
            turned = mode < 2 and size > 0.0
            cosine = re / size if turned else 1.0
            sine = im / size if turned else 0.0
            d = tail * chain.distance[k, f]
            curvature = (1.0 - d) / (1.0 + d) if turned else 1.0
            along = weight[f] * (curvature if mode != 1 else max(curvature, 0.0))
            one = scale * (cosine * column[f] + sine * column[points + f])
            other = scale * (cosine * column[points + f] - sine * column[f])
            left[j, f] = one
            left[j, points + f] = other
            right[j, f] = along * one
            right[j, points + f] = weight[f] * other
    matrix = chain.own[k]
    _gram(left, right, block, matrix)
    _prior_weights(chain.y[k], lam, prior, 1.0, chain.dual[k], space.stiffness)
    for i in range(grid.logs - 2):
        if chain.known[k, i] > 0.0:
            square = _bent(chain.y[k], grid, i) ** 2 + chain.known[k, i]
            space.stiffness[i] = prior.rate * lam / math.sqrt(grid.knee[i] ** 2 + lam * square)
    _prior_band(lam, prior, space.stiffness, space.band)
    for m in range(grid.logs):
        force = chain.pressure[k, m]
        matrix[m, m] += space.band[0, m] * (1.0 + 1e-11) + (max(force, 0.0) if mode > 0 else force)
        if m >= 1:
            matrix[m, m - 1] += space.band[1, m - 1]
        if m >= 2:
            matrix[m, m - 2] += space.band[2, m - 2]
    for j in range(grid.logs, matrix.shape[0]):
        # Without data nothing holds what is no part of γ, and it stays where it is.
        if j >= grid.size or chain.free[k, j] == 0.0 or matrix[j, j] == 0.0:
            matrix[j, j] = 1.0


@compiled(**_INNER, fastmath=_FAST)
def _couple_blocks(chain: Chain, terms: Terms, kappa: Array, width: Array, mode: int, grid: Grid) -> None:
    """Add the coupling to the blocks; see :func:`_build` for `mode`."""
    chain.off[:] = 0.0
    for r in range(terms.kind.size):
        c = terms.coefficient[r]
        for n in range(3):
            for p in range(3):
                k, i = terms.state[r, p], terms.state[r, n]
                if k < 0 or i < k:
                    continue
                pair = c[n] * c[p]
                block = chain.own[k] if i == k else chain.off[k, i - k - 1]
                for m in range(grid.logs):
                    block[m, m] += pair * LEVEL * width[m]
                for m in range(grid.logs - 1):
                    weight = chain.firm[r, m]
                    if mode < 2:
                        q = kappa[terms.kind[r]] * terms.relative[r, m] * chain.share[r, m] ** 2
                        curvature = (NU - q) / (NU + q)
                        weight *= curvature if mode == 0 else max(curvature, 0.0)
                    weight *= pair * grid.slope[m]
                    block[m, m] += weight
                    block[m + 1, m + 1] += weight
                    block[m + 1, m] -= weight
                    if i != k:
                        block[m, m + 1] -= weight


@compiled(**_INNER, fastmath=_FAST)
def _divide(rows: Array, factor: Array, block: Array) -> None:
    """Replace rows by rows L⁻ᵀ."""
    size = factor.shape[0]
    for i in range(0, size, 4):
        for j in range(0, size, 4):
            _products(rows, i, factor, j, j, block)
            d0, d1, d2, d3 = factor[j, j], factor[j + 1, j + 1], factor[j + 2, j + 2], factor[j + 3, j + 3]
            f10, f20, f30 = factor[j + 1, j], factor[j + 2, j], factor[j + 3, j]
            f21, f31, f32 = factor[j + 2, j + 1], factor[j + 3, j + 1], factor[j + 3, j + 2]
            for a in range(4):
                row = rows[i + a]
                x0 = (row[j] - block[a, 0]) * d0
                x1 = (row[j + 1] - block[a, 1] - x0 * f10) * d1
                x2 = (row[j + 2] - block[a, 2] - x0 * f20 - x1 * f21) * d2
                x3 = (row[j + 3] - block[a, 3] - x0 * f30 - x1 * f31 - x2 * f32) * d3
                row[j], row[j + 1], row[j + 2], row[j + 3] = x0, x1, x2, x3


@compiled(**_INNER, fastmath=_FAST)
def _subtract(out: Array, left: Array, right: Array, lower: bool, block: Array) -> None:
    """Subtract: out −= left rightᵀ, or its lower half."""
    size = out.shape[0]
    for i in range(0, size, 4):
        for j in range(0, i + 1 if lower else size, 4):
            _products(left, i, right, j, size, block)
            for a in range(4):
                for b in range(4):
                    out[i + a, j + b] -= block[a, b]


@compiled(**_INNER, fastmath=_FAST)
def _factor_chain(chain: Chain, space: Space, block: Array) -> bool:
    """Cholesky factor of the blocks in place; false if they are not positive definite."""
    states = chain.b.shape[0]
    for k in range(states):
        if not _factorise(chain.own[k], space.one):
            return False
        chain.own[k] = space.one
        last = min(chain.off.shape[1], states - 1 - k)
        for d in range(last):
            _divide(chain.off[k, d], chain.own[k], block)
        for d in range(last):
            for e in range(d):
                _subtract(chain.off[k + 1 + e, d - e - 1], chain.off[k, d], chain.off[k, e], False, block)
            _subtract(chain.own[k + 1 + d], chain.off[k, d], chain.off[k, d], True, block)
    return True


@compiled(**_INNER, fastmath=_FAST)
def _solve_forward(chain: Chain, right: Array, out: Array) -> None:
    """Solve with the lower factor, out = −L⁻¹ right."""
    states, size = right.shape
    for k in range(states):
        factor, here = chain.own[k], out[k]
        for i in range(size):
            here[i] = -right[k, i]
        for d in range(min(chain.off.shape[1], k)):
            before, rows = out[k - 1 - d], chain.off[k - 1 - d, d]
            for i in range(size):
                s = 0.0
                for q in range(size):
                    s += rows[i, q] * before[q]
                here[i] -= s
        for i in range(size):
            s = here[i]
            for q in range(i):
                s -= factor[i, q] * here[q]
            here[i] = s * factor[i, i]


@compiled(**_INNER, fastmath=_FAST)
def _solve_chain(chain: Chain, right: Array, out: Array) -> None:
    """Solve with the factor, out = −H⁻¹ right."""
    states, size = right.shape
    _solve_forward(chain, right, out)
    for k in range(states - 1, -1, -1):
        factor, here = chain.own[k], out[k]
        for d in range(min(chain.off.shape[1], states - 1 - k)):
            after, rows = out[k + 1 + d], chain.off[k, d]
            for i in range(size):
                for q in range(size):
                    here[q] -= rows[i, q] * after[i]
        for i in range(size - 1, -1, -1):
            here[i] *= factor[i, i]
            for q in range(i):
                here[q] -= factor[i, q] * here[i]


@compiled(**_INNER, fastmath=_FAST)
def _turned(matrix: Array, out: Array) -> None:
    """Transpose."""
    for i in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            out[j, i] = matrix[i, j]


@compiled(**_INNER, fastmath=_FAST)
def _multiply(left: Array, right: Array, block: Array, out: Array) -> None:
    """Multiply: out = left rightᵀ."""
    for i in range(0, out.shape[0], 4):
        for j in range(0, out.shape[1], 4):
            _products(left, i, right, j, left.shape[1], block)
            for a in range(4):
                for b in range(4):
                    out[i + a, j + b] = block[a, b]


@compiled(**_INNER, fastmath=_FAST)
def _invert_chain(chain: Chain, space: Space, block: Array) -> None:
    """Replace the factor by the blocks of the inverse: `own`, and `off` of state k beside the following ones."""
    states = chain.b.shape[0]
    for k in range(states - 1, -1, -1):
        last = min(chain.off.shape[1], states - 1 - k)
        space.one[:] = 0.0
        _invert_factor(chain.own[k], space.one.shape[0], space.one)
        # (L⁻¹)ᵀ, whose product with its transpose is the inverse of the block alone.
        _turned(space.one, space.two)
        _multiply(space.two, space.two, block, chain.own[k])
        for d in range(last):
            _multiply(space.two, chain.off[k, d], block, space.far[d])
        for d in range(last):
            chain.off[k, d] = 0.0
            for e in range(last):
                if e == d:
                    _subtract(chain.off[k, d], space.far[e], chain.own[k + 1 + d], False, block)
                elif e > d:
                    _subtract(chain.off[k, d], space.far[e], chain.off[k + 1 + d, e - d - 1], False, block)
                else:
                    _turned(chain.off[k + 1 + e, d - e - 1], space.one)
                    _subtract(chain.off[k, d], space.far[e], space.one, False, block)
        for d in range(last):
            _subtract(chain.own[k], space.far[d], chain.off[k, d], False, block)


@compiled(**_INNER, fastmath=_FAST)
def _build(
    chain: Chain,
    terms: Terms,
    model: Model,
    mode: int,
    grid: Grid,
    space: Space,
    block: Array,
) -> bool:
    """Factor the second derivative of the objective; false if it is not positive definite.

    `mode` 0 is the true one; 1 leaves out, term by term, what may make it indefinite; 2 is that of parabolas that touch
    from above.
    """
    for k in range(chain.b.shape[0]):
        _own_block(chain, k, model, mode, grid, space, block)
    _couple_blocks(chain, terms, model.kappa, model.width, mode, grid)
    return bool(_factor_chain(chain, space, block))


@compiled(**_INNER)
def _build_from(first: int, chain: Chain, terms: Terms, model: Model, grid: Grid, space: Space, block: Array) -> int:
    """Factor in the first mode that goes, from one on; return it, or 3 if none does."""
    mode = first
    while mode < 3 and not _build(chain, terms, model, mode, grid, space, block):
        mode += 1
    return mode


@compiled(**_INNER, fastmath=_FAST)
def _value(y: Array, chain: Chain, terms: Terms, model: Model, normal: bool, grid: Grid) -> float:
    """Value of the objective; leaves what the derivatives are made from."""
    return float(_objective(y, chain, model, grid) + _coupled(y, chain, terms, model.kappa, normal, model.width, grid))


@compiled(**_INNER, fastmath=_FAST)
def _slope(chain: Chain, grid: Grid) -> tuple[float, float, float]:
    """Longest part of the step in ln γ, slope of the objective along it, and rounding errors of its value."""
    step, points = chain.step, chain.weight.shape[1]
    longest = 0.0
    fall = 0.0
    rounding = 0.0
    for k in range(chain.b.shape[0]):
        for j in range(grid.size):
            if j < grid.logs:
                longest = max(longest, abs(step[k, j]))
            else:
                step[k, j] *= chain.free[k, j]
            fall += step[k, j] * chain.gradient[k, j]
        for f in range(points):
            size = abs(chain.residual[k, f]) + abs(chain.residual[k, points + f])
            rounding += _RESIDUAL_ROUNDING * chain.weight[k, f] * size
    return longest, fall, rounding


@compiled(**_INNER, fastmath=_FAST)
def _walk(before: float, normal: bool, chain: Chain, terms: Terms, model: Model, grid: Grid) -> float:
    """Go along the step as far as the objective falls, from its value `before` on; return what it is then."""
    states, y, step, trial = chain.b.shape[0], chain.y, chain.step, chain.trial
    longest, fall, rounding = _slope(chain, grid)
    slack = _ROUNDING * abs(before) + rounding
    length = _LONGEST / longest if longest > _LONGEST else 1.0
    phi = before
    for _ in range(_HALVINGS):
        for k in range(states):
            for j in range(grid.size):
                trial[k, j] = y[k, j] + length * step[k, j]
                if j >= grid.logs:
                    trial[k, j] = max(trial[k, j], 0.0)
        phi = _value(trial, chain, terms, model, normal, grid)
        if phi <= before + 1e-4 * length * fall + slack:
            break
        length *= 0.5
    for k in range(states):
        _update_duals(y[k], step[k], length, model.lam, model.prior, chain.dual[k])
        for j in range(grid.size):
            y[k, j] = trial[k, j]
    return phi


@compiled(**_OUTER)
def descend(  # noqa: PLR0913, PLR0917 - compiled functions take no keywords
    chain: Chain,
    terms: Terms,
    model: Model,
    normal: bool,
    tolerance: float,
    limit: int,
    task: int,
    grid: Grid,
    space: Space,
) -> float:
    """Minimise from `chain.y` on; return the stationarity residual, negative if a last task could not be done.

    The residual is the largest |g_j / d_j| over all states, with d_j² the diagonal of the Gauss-Newton matrix. With
    `normal` the coupling is quadratic. Task 1 leaves the blocks of the inverse of the positive second derivative, as
    parabolas have it that touch from above, in `own` and `off`; task 2 its Cholesky factor there and, in `step`, minus
    its inverse times what is in `trial`. Both take elements that are held at zero as free.
    """
    block = np.empty((4, 4))
    for k in range(chain.b.shape[0]):
        _duals_at_solution(chain.y[k], model.lam, model.prior, chain.dual[k])
    phi = _value(chain.y, chain, terms, model, normal, grid)
    residual = float(_differentiate(chain, terms, model, grid, space))
    mode = 3
    for n in range(limit + 1):
        last = n == limit or not residual > tolerance
        if last and task == 0:
            break
        if last:
            chain.free[:] = 1.0
        # Newton's matrix near the solution and once it has been positive definite.
        first = 2 if last or normal else (0 if mode == 0 or residual < _NEAR else 1)
        mode = _build_from(first, chain, terms, model, grid, space, block)
        if last or mode == 3:
            break
        _solve_chain(chain, chain.gradient, chain.step)
        phi = _walk(phi, normal, chain, terms, model, grid)
        before = residual
        residual = float(_differentiate(chain, terms, model, grid, space))
        if residual <= _CLOSE and residual > 0.5 * before:
            tolerance = residual
    if task == 0:
        return residual
    if mode == 3:
        return -1.0
    if task == 1:
        _invert_chain(chain, space, block)
    else:
        _solve_chain(chain, chain.trial, chain.step)
    return residual


@compiled(**_OUTER)
def solve_many(chain: Chain, right: Array, out: Array) -> None:
    """Minus the inverse times many right-hand sides, with the factor that :func:`descend` left."""
    # (n,k,j)->(n,k,j)
    for n in range(right.shape[0]):
        _solve_chain(chain, right[n], out[n])
