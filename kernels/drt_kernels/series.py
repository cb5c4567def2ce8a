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
    _FAST,
    _INNER,
    _OUTER,
    Grid,
    _bent,
    _factorise,
    _follow,
    _invert_factor,
    _match,
    _prior,
    _prior_band,
    _prior_gradient,
    _products,
    _stiffen,
)

Array = NDArray[np.float64]
Whole = NDArray[np.int64]

_NU = 1.0
_LEVEL = 0.1


class Terms(NamedTuple):
    """Differences between states that are expected to be small."""

    first: Whole  # (r) first state of each; the others follow it
    coefficient: Array  # (r,3) of three states in a row; the last is 0 for a difference of two
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
    scale: Array  # (k,j) root of the diagonal of the Gauss-Newton matrix
    free: Array  # (k,j) 1, or 0 for an extra that is held at zero
    dual: Array  # (k,m) of the bends
    share: Array  # (r,m) g
    firm: Array  # (r,m) curvature of the coupling by g
    step: Array  # (k,j)
    trial: Array  # (k,j)
    own: Array  # (k,j,j) blocks of the matrix, its factor, the inverse
    next: Array  # (k,j,j) rows of state k + 1, columns of state k; of the inverse its transpose
    second: Array  # (k,j,j) rows of state k + 2


class Space(NamedTuple):
    """Arrays for one state."""

    left: Array  # (j,q)
    right: Array  # (j,q)
    gradient: Array  # (j)
    stiffness: Array  # (m)
    band: Array  # (3,m)
    one: Array  # (j,j)
    two: Array  # (j,j)
    three: Array  # (j,j)
    four: Array  # (j,j)


def new_chain(b: Array, grid: Grid, rows: int) -> Chain:
    """Make the arrays for a series of K states and so many differences."""
    states, whole = len(b), len(grid.columns)
    points = b.shape[1] // 2

    def zeros(*shape: int) -> Array:
        return np.zeros(shape)

    blocks = [np.zeros((states, whole, whole)) for _ in range(3)]
    return Chain(
        b,
        zeros(states, points),
        *(zeros(states, whole), zeros(states, whole), zeros(states, 2 * points)),
        *(zeros(states, points), zeros(states, points), zeros(states, whole), zeros(states, grid.logs)),
        *(np.ones((states, whole)), np.ones((states, whole)), zeros(states, grid.logs)),
        *(zeros(rows, grid.logs), zeros(rows, grid.logs), zeros(states, whole), zeros(states, whole)),
        *blocks,
    )


def new_space(grid: Grid) -> Space:
    """Make the arrays for one state."""
    whole, data = grid.columns.shape
    padded = -(-data // 16) * 16
    square = [np.zeros((whole, whole)) for _ in range(4)]
    return Space(
        np.zeros((whole, padded)),
        np.zeros((whole, padded)),
        np.zeros(whole),
        np.zeros(grid.logs),
        np.zeros((3, grid.logs)),
        *square,
    )


@compiled(**_INNER, fastmath=_FAST)
def _coupled(y: Array, terms: Terms, kappa: Array, grid: Grid, normal: bool, share: Array, firm: Array) -> float:
    """Value of the coupling; leaves g and the curvature of a parabola that touches from above."""
    total = 0.0
    for r in range(terms.first.size):
        k, c, strength = terms.first[r], terms.coefficient[r], kappa[terms.kind[r]]
        before = 0.0
        for m in range(grid.logs):
            e = c[0] * y[k, m] + c[1] * y[k + 1, m]
            if c[2] != 0.0:
                e += c[2] * y[k + 2, m]
            if m > 0:
                # slope holds 1/h
                g = (e - before) * math.sqrt(grid.slope[m - 1])
                weight = strength * terms.relative[r, m - 1]
                q = weight * g * g
                share[r, m - 1] = g
                if normal:
                    total += 0.5 * q
                    firm[r, m - 1] = weight
                else:
                    total += 0.5 * (1.0 + _NU) * math.log1p(q / _NU)
                    firm[r, m - 1] = weight * (1.0 + _NU) / (_NU + q)
            before = e
    return total


@compiled(**_INNER, fastmath=_FAST)
def _level(y: Array, terms: Terms, grid: Grid, width: Array, gradient: Array, add: bool) -> float:
    """Value of the part by e itself; adds its gradient if `add`."""
    total = 0.0
    for r in range(terms.first.size):
        k, c = terms.first[r], terms.coefficient[r]
        count = 3 if c[2] != 0.0 else 2
        for m in range(grid.logs):
            e = 0.0
            for n in range(count):
                e += c[n] * y[k + n, m]
            total += 0.5 * _LEVEL * width[m] * e * e
            if add:
                for n in range(count):
                    gradient[k + n, m] += _LEVEL * width[m] * c[n] * e
    return total


@compiled(**_INNER, fastmath=_FAST)
def _objective(
    y: Array, chain: Chain, lam: float, prior: Grid, grid: Grid, tail: float
) -> float:
    """Value of the single objectives; leaves values, residuals and distances."""
    total = 0.0
    data = chain.b.shape[1]
    points = data // 2
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
        total += _prior(y[k], lam, prior)
    return total


@compiled(**_INNER, fastmath=_FAST)
def _differentiate(
    chain: Chain, terms: Terms, width: Array, lam: float, prior: Grid, grid: Grid, tail: float, space: Space
) -> float:
    """Gradient at the point evaluated last, which extras are free; return the largest |g_j / d_j|."""
    y, gradient = chain.y, chain.gradient
    points = chain.weight.shape[1]
    for k in range(chain.b.shape[0]):
        value, residual, weight = chain.value[k], chain.residual[k], chain.weight[k]
        for f in range(points):
            weight[f] = chain.precision[k, f] * (1.0 + 2.0 * tail) / (1.0 + tail * chain.distance[k, f])
        _prior_gradient(y[k], lam, prior, space.gradient)
        _stiffen(y[k], lam, prior, 0.0, chain.dual[k], space.stiffness)
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
    for r in range(terms.first.size):
        k, c = terms.first[r], terms.coefficient[r]
        count = 3 if c[2] != 0.0 else 2
        for m in range(grid.logs - 1):
            root = math.sqrt(grid.slope[m])
            force = chain.firm[r, m] * chain.share[r, m] * root
            weight_ = chain.firm[r, m] * root * root
            for n in range(count):
                gradient[k + n, m] -= c[n] * force
                gradient[k + n, m + 1] += c[n] * force
                chain.scale[k + n, m] += weight_ * c[n] * c[n]
                chain.scale[k + n, m + 1] += weight_ * c[n] * c[n]
    _level(y, terms, grid, width, gradient, True)
    worst = 0.0
    for k in range(chain.b.shape[0]):
        for j in range(grid.size):
            scale = math.sqrt(chain.scale[k, j])
            here = gradient[k, j] / scale
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
def _own_block(
    chain: Chain, k: int, lam: float, mode: int, prior: Grid, grid: Grid, tail: float, space: Space, block: Array
) -> None:
    """Second derivative of the single objective of a state, lower half, into `chain.own`."""
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
            bow = (1.0 - d) / (1.0 + d) if turned else 1.0
            along = weight[f] * (bow if mode != 1 else max(bow, 0.0))
            one = scale * (cosine * column[f] + sine * column[points + f])
            other = scale * (cosine * column[points + f] - sine * column[f])
            left[j, f] = one
            left[j, points + f] = other
            right[j, f] = along * one
            right[j, points + f] = weight[f] * other
    matrix = chain.own[k]
    _gram(left, right, block, matrix)
    _stiffen(chain.y[k], lam, prior, 1.0, chain.dual[k], space.stiffness)
    _prior_band(lam, prior, space.stiffness, space.band)
    for m in range(grid.logs):
        force = chain.pressure[k, m]
        matrix[m, m] += space.band[0, m] * (1.0 + 1e-11) + (max(force, 0.0) if mode > 0 else force)
        if m >= 1:
            matrix[m, m - 1] += space.band[1, m - 1]
        if m >= 2:
            matrix[m, m - 2] += space.band[2, m - 2]
    for j in range(grid.logs, matrix.shape[0]):
        if j >= grid.size or chain.free[k, j] == 0.0:
            matrix[j, j] = 1.0


@compiled(**_INNER, fastmath=_FAST)
def _couple_blocks(chain: Chain, terms: Terms, kappa: Array, width: Array, mode: int, grid: Grid) -> None:
    """Add the coupling to the blocks; `true` takes its second derivative, which may be negative, as far as it goes."""
    for k in range(chain.b.shape[0]):
        chain.next[k] = 0.0
        chain.second[k] = 0.0
    for r in range(terms.first.size):
        k, c, strength = terms.first[r], terms.coefficient[r], kappa[terms.kind[r]]
        count = 3 if c[2] != 0.0 else 2
        for n in range(count):
            for p in range(n + 1):
                pair = c[n] * c[p]
                if n == p:
                    block = chain.own[k + n]
                elif n - p == 1:
                    block = chain.next[k + p]
                else:
                    block = chain.second[k + p]
                for m in range(grid.logs):
                    block[m, m] += pair * _LEVEL * width[m]
                for m in range(grid.logs - 1):
                    weight = chain.firm[r, m]
                    if mode < 2:
                        q = strength * terms.relative[r, m] * chain.share[r, m] ** 2
                        bow = (_NU - q) / (_NU + q)
                        weight *= bow if mode == 0 else max(bow, 0.0)
                    weight *= pair * grid.slope[m]
                    block[m, m] += weight
                    block[m + 1, m + 1] += weight
                    block[m + 1, m] -= weight
                    if n != p:
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
    """out −= left rightᵀ, or its lower half."""
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
        if k + 1 < states:
            _divide(chain.next[k], chain.own[k], block)
            _subtract(chain.own[k + 1], chain.next[k], chain.next[k], True, block)
        if k + 2 < states:
            _divide(chain.second[k], chain.own[k], block)
            _subtract(chain.next[k + 1], chain.second[k], chain.next[k], False, block)
            _subtract(chain.own[k + 2], chain.second[k], chain.second[k], True, block)
    return True


@compiled(**_INNER, fastmath=_FAST)
def _solve_chain(chain: Chain, right: Array, out: Array) -> None:
    """Solve for the step from the factor, out = −H⁻¹ right."""
    states, size = right.shape
    for k in range(states):
        factor = chain.own[k]
        for i in range(size):
            s = -right[k, i]
            if k >= 1:
                row = chain.next[k - 1, i]
                for q in range(size):
                    s -= row[q] * out[k - 1, q]
            if k >= 2:
                row = chain.second[k - 2, i]
                for q in range(size):
                    s -= row[q] * out[k - 2, q]
            for q in range(i):
                s -= factor[i, q] * out[k, q]
            out[k, i] = s * factor[i, i]
    for k in range(states - 1, -1, -1):
        factor = chain.own[k]
        here = out[k]
        if k + 1 < states:
            for i in range(size):
                x = out[k + 1, i]
                row = chain.next[k, i]
                for q in range(size):
                    here[q] -= row[q] * x
        if k + 2 < states:
            for i in range(size):
                x = out[k + 2, i]
                row = chain.second[k, i]
                for q in range(size):
                    here[q] -= row[q] * x
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
    """out = left rightᵀ."""
    for i in range(0, out.shape[0], 4):
        for j in range(0, out.shape[1], 4):
            _products(left, i, right, j, left.shape[1], block)
            for a in range(4):
                for b in range(4):
                    out[i + a, j + b] = block[a, b]


@compiled(**_INNER, fastmath=_FAST)
def _invert_chain(chain: Chain, space: Space, block: Array) -> None:
    """Replace the factor by the blocks of the inverse: `own` of state k, `next` and `second` of k beside k + 1, k + 2."""
    states = chain.b.shape[0]
    inverse, far, turned, near = space.one, space.two, space.three, space.four
    for k in range(states - 1, -1, -1):
        inverse[:] = 0.0
        _invert_factor(chain.own[k], inverse.shape[0], inverse)
        _turned(inverse, turned)
        # Now (L⁻¹)ᵀ in `turned`; its products with itself are the inverse of the block alone.
        _multiply(turned, turned, block, chain.own[k])
        if k + 1 < states:
            _multiply(turned, chain.next[k], block, near)
        if k + 2 < states:
            _multiply(turned, chain.second[k], block, far)
        if k + 1 < states:
            chain.next[k] = 0.0
            _subtract(chain.next[k], near, chain.own[k + 1], False, block)
            if k + 2 < states:
                _turned(chain.next[k + 1], inverse)
                _subtract(chain.next[k], far, chain.next[k + 1], False, block)
                chain.second[k] = 0.0
                _subtract(chain.second[k], near, inverse, False, block)
                _subtract(chain.second[k], far, chain.own[k + 2], False, block)
                _subtract(chain.own[k], far, chain.second[k], False, block)
            _subtract(chain.own[k], near, chain.next[k], False, block)


@compiled(**_INNER, fastmath=_FAST)
def _build(
    chain: Chain,
    terms: Terms,
    kappa: Array,
    width: Array,
    lam: float,
    mode: int,
    prior: Grid,
    grid: Grid,
    tail: float,
    space: Space,
    block: Array,
) -> bool:
    for k in range(chain.b.shape[0]):
        _own_block(chain, k, lam, mode, prior, grid, tail, space, block)
    _couple_blocks(chain, terms, kappa, width, mode, grid)
    return _factor_chain(chain, space, block)


@compiled(**_OUTER)
def descend(
    chain: Chain,
    terms: Terms,
    kappa: Array,
    width: Array,
    lam: float,
    normal: bool,
    tolerance: float,
    limit: int,
    prior: Grid,
    grid: Grid,
    tail: float,
    space: Space,
    report: Array,
) -> float:
    """Minimise from `chain.y` on; return the stationarity residual."""
    block = np.empty((4, 4))
    y = chain.y
    states = chain.b.shape[0]
    for k in range(states):
        _match(y[k], lam, prior, chain.dual[k])
    phi = _objective(y, chain, lam, prior, grid, tail)
    phi += _coupled(y, terms, kappa, grid, normal, chain.share, chain.firm)
    phi += _level(y, terms, grid, width, chain.gradient, False)
    residual = _differentiate(chain, terms, width, lam, prior, grid, tail, space)
    steps = 0
    trusted = False
    for _ in range(limit):
        if not residual > tolerance:
            break
        steps += 1
        done = False
        if residual < 0.05 or trusted:
            done = _build(chain, terms, kappa, width, lam, 0, prior, grid, tail, space, block)
            trusted = done
            report[2] += 1
        if not done:
            report[1] += 1
            if not _build(chain, terms, kappa, width, lam, 2 if normal else 1, prior, grid, tail, space, block):
                break
        _solve_chain(chain, chain.gradient, chain.step)
        longest = 0.0
        fall = 0.0
        for k in range(states):
            for j in range(grid.size):
                if j < grid.logs:
                    longest = max(longest, abs(chain.step[k, j]))
                else:
                    chain.step[k, j] *= chain.free[k, j]
                fall += chain.step[k, j] * chain.gradient[k, j]
        length = 3.0 / longest if longest > 3.0 else 1.0
        before = phi
        slack = 1e-13 * abs(before)
        for _half in range(40):
            for k in range(states):
                for j in range(grid.size):
                    chain.trial[k, j] = y[k, j] + length * chain.step[k, j]
                    if j >= grid.logs:
                        chain.trial[k, j] = max(chain.trial[k, j], 0.0)
            phi = _objective(chain.trial, chain, lam, prior, grid, tail)
            phi += _coupled(chain.trial, terms, kappa, grid, normal, chain.share, chain.firm)
            phi += _level(chain.trial, terms, grid, width, chain.gradient, False)
            if phi <= before + 1e-4 * length * fall + slack:
                break
            length *= 0.5
        for k in range(states):
            _follow(y[k], chain.step[k], length, lam, prior, chain.dual[k])
            for j in range(grid.size):
                y[k, j] = chain.trial[k, j]
        last = residual
        residual = _differentiate(chain, terms, width, lam, prior, grid, tail, space)
        report[3 + min(steps, 90)] = residual
        if residual <= 1e-8 and residual > 0.5 * last:
            break
    report[0] += steps
    return residual


@compiled(**_OUTER)
def invert_chain(
    chain: Chain,
    terms: Terms,
    kappa: Array,
    width: Array,
    lam: float,
    prior: Grid,
    grid: Grid,
    tail: float,
    space: Space,
) -> bool:
    """Blocks of the inverse of the positive second derivative at the point evaluated last."""
    block = np.empty((4, 4))
    for k in range(chain.b.shape[0]):
        _match(chain.y[k], lam, prior, chain.dual[k])
    if not _build(chain, terms, kappa, width, lam, 2, prior, grid, tail, space, block):
        return False
    _invert_chain(chain, space, block)
    return True
