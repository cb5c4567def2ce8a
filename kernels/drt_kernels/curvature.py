"""The data's part of the second derivative of an objective by γ, without a product of matrices.

Axes in the comments: f = frequencies, q = data (real parts, then imaginary ones), j = unknowns (γ at m relaxation
times, then R_inf, L and 1/C), e = nodes: relaxation times of a grid that is longer at both ends, with a whole hat
function at each, then the unknowns that are no whole hat, d = distance of two relaxation times on the grid.

With h_e(f) the impedance of hat e, the second derivative is Σ_f w_f Re(h_i h_j*) + Re(c_f h_i h_j) with weights w, real,
and c, complex. For two Debye elements the products are sums,

    Re(h_i h_j*) = (τ_i Re h_i + τ_j Re h_j) / (τ_i + τ_j),    h_i h_j = (τ_i h_i − τ_j h_j) / (τ_i − τ_j),

as partial fractions show. So the sums over f are those of single elements, g_e = Σ_f w_f Re h_e and p_e = Σ_f Re(c_f
h_e), and an element of the matrix takes a few of them. For hats on a uniform grid of ln τ the products are sums of
those of neighbours as well, h_i h_j ≈ Σ_k s_dk h_{i+k} + t_dk h_{j+k}, with coefficients that depend on d alone. They
are fitted; see :mod:`drt_engine.methods.nearby` for how well. Newton's steps do not need the matrix as exactly as the
gradient.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drt_kernels.compiling import compiled
from drt_kernels.dense import FAST, INNER
from drt_kernels.lanes import fma, load, load_at, same, store, store_at, total

Array = NDArray[np.float64]
Whole = NDArray[np.intp]

# Reach of neighbours on both sides, and from which distance on it is that.
NEAR, MIDDLE, FAR = 5, 2, 1
FROM_MIDDLE, FROM_FAR = 8, 32

# Nodes beyond an end of the grid.
GHOSTS = NEAR

# Unknowns that are no whole hat and no resistor, at most.
SPECIAL = 4

# Data are filled up to a multiple of this, nodes to one of the other.
LANES, NODES = 32, 16


class Tables(NamedTuple):
    """What the matrix of a grid is made from."""

    columns: Array  # (j,q) of A; rows of zeros up to a multiple of four
    across: Array  # (q,e) impedances of the nodes
    squares: Array  # (f,e) their squared moduli
    place: Whole  # (j) which node an unknown is
    near: Array  # coefficients of neighbours, four rows for each: of i by g, of j by g, of i by p, of j by p; by d
    middle: Array
    far: Array
    special: Whole  # (4) unknowns that are no whole hat; -1 for none
    constant: int  # the unknown that is a resistor
    resistor: float  # its column
    good: float  # largest Σ_f w_f γ² that the coefficients are good enough for; 0 where there are none


class Sums(NamedTuple):
    """Arrays for one spectrum."""

    plain: Array  # (e) g
    turned: Array  # (e) p
    weights: Array  # (3,q) of g and p
    right: Array  # (4,q) weights times the columns of special unknowns
    special: Array  # (4,j) their products with all columns
    outer: Array  # (j) what rows and columns of the matrix are multiplied by
    spread: Array  # (2 k,e) sums for leverages, by neighbour
    force: Array  # (e)
    square: Array  # (e)


@compiled(**INNER)
def new_sums(tables: Tables) -> Sums:
    """Make the arrays for one spectrum."""
    rows, data = tables.columns.shape
    nodes = tables.across.shape[1]
    return Sums(
        np.zeros(nodes + NODES),
        np.zeros(nodes + NODES),
        np.zeros((3, data)),
        np.zeros((SPECIAL, data)),
        np.zeros((SPECIAL, rows)),
        np.zeros(rows + 8),
        np.zeros((2 * (2 * NEAR + 1), nodes + NODES)),
        np.zeros(nodes + NODES),
        np.zeros(nodes + NODES),
    )


@compiled(**INNER, fastmath=FAST)
def model(tables: Tables, value: Array, size: int, data: Array, out: Array) -> None:
    """Impedance of the unknowns less the data."""
    columns = tables.columns
    minus = same(-1.0)
    for q in range(0, columns.shape[1], 32):
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = same(0.0)
        for j in range(size):
            x = same(value[j])
            s0, s1 = fma(x, load(columns, j, q), s0), fma(x, load(columns, j, q + 4), s1)
            s2, s3 = fma(x, load(columns, j, q + 8), s2), fma(x, load(columns, j, q + 12), s3)
            s4, s5 = fma(x, load(columns, j, q + 16), s4), fma(x, load(columns, j, q + 20), s5)
            s6, s7 = fma(x, load(columns, j, q + 24), s6), fma(x, load(columns, j, q + 28), s7)
        store_at(out, q, fma(minus, load_at(data, q), s0))
        store_at(out, q + 4, fma(minus, load_at(data, q + 4), s1))
        store_at(out, q + 8, fma(minus, load_at(data, q + 8), s2))
        store_at(out, q + 12, fma(minus, load_at(data, q + 12), s3))
        store_at(out, q + 16, fma(minus, load_at(data, q + 16), s4))
        store_at(out, q + 20, fma(minus, load_at(data, q + 20), s5))
        store_at(out, q + 24, fma(minus, load_at(data, q + 24), s6))
        store_at(out, q + 28, fma(minus, load_at(data, q + 28), s7))


@compiled(**INNER, fastmath=FAST)
def project(tables: Tables, residual: Array, weight: Array, sums: Sums) -> None:
    """Aᵀ W z and the diagonal of Aᵀ W A for all nodes, into `sums.force` and `sums.square`."""
    across, squares = tables.across, tables.squares
    points = weight.size
    for e in range(0, across.shape[1], 16):
        a0 = a1 = a2 = a3 = s0 = s1 = s2 = s3 = same(0.0)
        for f in range(points):
            w = weight[f]
            x, y, z = same(w * residual[f]), same(w * residual[points + f]), same(w)
            a0 = fma(y, load(across, points + f, e), fma(x, load(across, f, e), a0))
            a1 = fma(y, load(across, points + f, e + 4), fma(x, load(across, f, e + 4), a1))
            a2 = fma(y, load(across, points + f, e + 8), fma(x, load(across, f, e + 8), a2))
            a3 = fma(y, load(across, points + f, e + 12), fma(x, load(across, f, e + 12), a3))
            s0, s1 = fma(z, load(squares, f, e), s0), fma(z, load(squares, f, e + 4), s1)
            s2, s3 = fma(z, load(squares, f, e + 8), s2), fma(z, load(squares, f, e + 12), s3)
        store_at(sums.force, e, a0)
        store_at(sums.force, e + 4, a1)
        store_at(sums.force, e + 8, a2)
        store_at(sums.force, e + 12, a3)
        store_at(sums.square, e, s0)
        store_at(sums.square, e + 4, s1)
        store_at(sums.square, e + 8, s2)
        store_at(sums.square, e + 12, s3)


@compiled(**INNER, fastmath=FAST)
def weigh(residual: Array, weight: Array, distance: Array, tail: float, round_: bool, sums: Sums) -> None:
    """Weights w and c of the points, real and imaginary part of the latter.

    Along its residual the curvature of a point is smaller than across it, and negative for an outlier; the parabola
    that touches from above has the same one in all directions, and is taken if `round_`.
    """
    points = weight.size
    for f in range(points):
        re, im = residual[f], residual[points + f]
        square = re * re + im * im
        d = tail * distance[f]
        turned = not round_ and square > 0.0
        along = weight[f] * (1.0 - d) / (1.0 + d) if turned else weight[f]
        half = 0.5 * (along - weight[f])
        share = half / square if turned else 0.0
        sums.weights[0, f] = weight[f] + half
        sums.weights[1, f] = share * (re * re - im * im)
        sums.weights[2, f] = -2.0 * share * re * im


@compiled(**INNER, fastmath=FAST)
def _generate(tables: Tables, points: int, sums: Sums) -> None:
    """Find g and p."""
    across, weights = tables.across, sums.weights
    for e in range(0, across.shape[1], 16):
        g0 = g1 = g2 = g3 = p0 = p1 = p2 = p3 = same(0.0)
        for f in range(points):
            w, c, s = same(weights[0, f]), same(weights[1, f]), same(-weights[2, f])
            re = load(across, f, e)
            g0, p0 = fma(w, re, g0), fma(s, load(across, points + f, e), fma(c, re, p0))
            re = load(across, f, e + 4)
            g1, p1 = fma(w, re, g1), fma(s, load(across, points + f, e + 4), fma(c, re, p1))
            re = load(across, f, e + 8)
            g2, p2 = fma(w, re, g2), fma(s, load(across, points + f, e + 8), fma(c, re, p2))
            re = load(across, f, e + 12)
            g3, p3 = fma(w, re, g3), fma(s, load(across, points + f, e + 12), fma(c, re, p3))
        store_at(sums.plain, e, g0)
        store_at(sums.plain, e + 4, g1)
        store_at(sums.plain, e + 8, g2)
        store_at(sums.plain, e + 12, g3)
        store_at(sums.turned, e, p0)
        store_at(sums.turned, e + 4, p1)
        store_at(sums.turned, e + 8, p2)
        store_at(sums.turned, e + 12, p3)


@compiled(**INNER, fastmath=FAST)
def _specialise(tables: Tables, points: int, sums: Sums) -> None:
    """Products of the special unknowns with all."""
    columns, weights, right = tables.columns, sums.weights, sums.right
    for n in range(SPECIAL):
        s = tables.special[n]
        if s < 0:
            continue
        for f in range(points):
            w, c, t = weights[0, f], weights[1, f], weights[2, f]
            x, y = columns[s, f], columns[s, points + f]
            right[n, f] = (w + c) * x - t * y
            right[n, points + f] = (w - c) * y - t * x
    for j in range(0, columns.shape[0], 2):
        a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = same(0.0)
        for q in range(0, columns.shape[1], 4):
            one, two = load(columns, j, q), load(columns, j + 1, q)
            v = load(right, 0, q)
            a0, b0 = fma(v, one, a0), fma(v, two, b0)
            v = load(right, 1, q)
            a1, b1 = fma(v, one, a1), fma(v, two, b1)
            v = load(right, 2, q)
            a2, b2 = fma(v, one, a2), fma(v, two, b2)
            v = load(right, 3, q)
            a3, b3 = fma(v, one, a3), fma(v, two, b3)
        sums.special[0, j], sums.special[0, j + 1] = total(a0), total(b0)
        sums.special[1, j], sums.special[1, j + 1] = total(a1), total(b1)
        sums.special[2, j], sums.special[2, j + 1] = total(a2), total(b2)
        sums.special[3, j], sums.special[3, j + 1] = total(a3), total(b3)


@compiled(**INNER, fastmath=FAST)
def _strip(table: Array, reach: int, first: int, i: int, stop: int, sums: Sums, out: Array) -> None:
    """Elements of row i from the distance `first` on, up to column `stop`, times their factors."""
    plain, turned, outer = sums.plain, sums.turned, sums.outer
    scale, none = same(outer[i]), same(0.0)
    for j in range(i + first, stop, 4):
        a = b = same(0.0)
        d = j - i - first
        for k in range(2 * reach + 1):
            e, g = GHOSTS + i + k - reach, GHOSTS + j + k - reach
            a = fma(load(table, 4 * k, d), same(plain[e]), a)
            b = fma(load(table, 4 * k + 1, d), load_at(plain, g), b)
            a = fma(load(table, 4 * k + 2, d), same(turned[e]), a)
            b = fma(load(table, 4 * k + 3, d), load_at(turned, g), b)
        store(out, i, j, fma(fma(a, scale, fma(b, scale, none)), load_at(outer, j), none))


@compiled(**INNER, fastmath=FAST)
def assemble(tables: Tables, outer: Array, logs: int, size: int, points: int, sums: Sums, out: Array) -> None:
    """Upper half of Aᵀ R A times what rows and columns are multiplied by; the weights are those of :func:`weigh`."""
    _generate(tables, points, sums)
    _specialise(tables, points, sums)
    rows = out.shape[0]
    for j in range(rows):
        sums.outer[j] = outer[j] if j < logs else 0.0
    for i in range(1, logs - 1):
        _strip(tables.near, NEAR, 0, i, min(i + FROM_MIDDLE, logs), sums, out)
        _strip(tables.middle, MIDDLE, FROM_MIDDLE, i, min(i + FROM_FAR, logs), sums, out)
        _strip(tables.far, FAR, FROM_FAR, i, logs, sums, out)
        for j in range(logs, out.shape[1]):
            out[i, j] = 0.0
    for i in range(size, rows):
        for j in range(i, out.shape[1]):
            out[i, j] = 0.0
    for n in range(SPECIAL + 1):
        s = tables.special[n] if n < SPECIAL else tables.constant
        if s < 0:
            continue
        for j in range(size):
            if n < SPECIAL:
                product = sums.special[n, j]
            else:
                e = tables.place[j]
                product = tables.resistor * (sums.plain[e] + sums.turned[e])
            out[min(s, j), max(s, j)] = outer[s] * outer[j] * product


@compiled(**INNER, fastmath=FAST)
def _spread_strip(table: Array, reach: int, first: int, i: int, stop: int, sums: Sums, inverse: Array) -> None:
    """Add what a row of the inverse gives to the sums for leverages; transpose of :func:`_strip`."""
    spread, outer = sums.spread, sums.outer
    width = 2 * NEAR + 1
    scale = same(2.0 * outer[i])
    none = same(0.0)
    for k in range(2 * reach + 1):
        at = NEAR - reach + k
        s = same(0.0)
        for j in range(i + first, stop, 4):
            d = j - i - first
            c = fma(fma(load(inverse, i, j), load_at(outer, j), none), scale, none)
            s = fma(load(table, 4 * k, d), c, s)
            store(spread, width + at, j, fma(load(table, 4 * k + 1, d), c, load(spread, width + at, j)))
        spread[at, i] += total(s)


@compiled(**INNER, fastmath=FAST)
def _add_special(tables: Tables, s: int, outer: Array, logs: int, size: int, points: int, inverse: Array, out: Array) -> None:
    """Add to leverages what the inverse has between a special unknown and those that come after it in their order."""
    columns = tables.columns
    re = np.zeros(points)
    im = np.zeros(points)
    for j in range(size):
        # Pairs of two special ones only once.
        if (j == 0 or j >= logs - 1) and j < s:
            continue
        c = inverse[min(s, j), max(s, j)] * outer[s] * outer[j] * (1.0 if j == s else 2.0)
        for f in range(points):
            re[f] += c * columns[j, f]
            im[f] += c * columns[j, points + f]
    for f in range(points):
        out[f] += re[f] * columns[s, f] + im[f] * columns[s, points + f]


@compiled(**INNER, fastmath=FAST)
def leverages(
    tables: Tables, outer: Array, logs: int, size: int, weight: Array, sums: Sums, inverse: Array, out: Array
) -> None:
    """Trace of H⁻¹ times the part of H of each point, for weights without a direction.

    `inverse` is the upper half of H⁻¹.
    """
    points = weight.size
    across, spread, total_ = tables.across, sums.spread, sums.plain
    for f in range(points):
        out[f] = 0.0
    _add_special(tables, 0, outer, logs, size, points, inverse, out)
    for s in range(logs - 1, size):
        _add_special(tables, s, outer, logs, size, points, inverse, out)
    spread[:] = 0.0
    for j in range(sums.outer.size):
        sums.outer[j] = outer[j] if 0 < j < logs - 1 else 0.0
    for i in range(1, logs - 1):
        diagonal = inverse[i, i]
        inverse[i, i] *= 0.5
        _spread_strip(tables.near, NEAR, 0, i, min(i + FROM_MIDDLE, logs), sums, inverse)
        _spread_strip(tables.middle, MIDDLE, FROM_MIDDLE, i, min(i + FROM_FAR, logs), sums, inverse)
        _spread_strip(tables.far, FAR, FROM_FAR, i, logs, sums, inverse)
        inverse[i, i] = diagonal
    for e in range(across.shape[1]):
        total_[e] = 0.0
    width = 2 * NEAR + 1
    for k in range(width):
        for j in range(logs):
            total_[j + k] += spread[k, j] + spread[width + k, j]
    for f in range(points):
        s = 0.0
        for e in range(across.shape[1]):
            s += total_[e] * across[f, e]
        out[f] = (out[f] + s) * weight[f]
