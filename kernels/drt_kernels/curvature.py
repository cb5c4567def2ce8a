"""The data's part of the second derivative of an objective by γ, without a product of matrices.

Axes in the comments: f = frequencies, q = data (real parts, then imaginary ones), j = unknowns (γ at m relaxation
times, then R_inf, L and 1/C), e = nodes: relaxation times of a grid that is longer at both ends, with a whole hat
function at each, then the unknowns that are no whole hat, d = distance of two relaxation times on the grid.

With h_e(f) the impedance of hat e, the second derivative is Σ_f w_f Re(h_i h_j*) + Re(c_f h_i h_j) with weights w,
real, and c, complex. For two Debye elements the products are sums,

    Re(h_i h_j*) = (τ_i Re h_i + τ_j Re h_j) / (τ_i + τ_j),    h_i h_j = (τ_i h_i − τ_j h_j) / (τ_i − τ_j),

as partial fractions show. So the sums over f are those of single elements, g_e = Σ_f w_f Re h_e and p_e = Σ_f Re(c_f
h_e), and an element of the matrix takes a few of them. For hats on a uniform grid of ln τ the products are sums of
those of neighbours as well, h_i h_j ≈ Σ_k s_dk h_{i+k} + t_dk h_{j+k}, with coefficients that depend on d alone. They
are fitted; see :mod:`drt_engine.methods.nearby` for how well. Newton's steps do not need the matrix as exactly as the
gradient.
"""

from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from drt_kernels.compiling import compiled, pointed
from drt_kernels.dense import FAST, INNER, POINTED
from drt_kernels.held import held_type
from drt_kernels.simd import fma, load, load_at, same, store, store_at, total

Array = NDArray[np.float64]
Whole = NDArray[np.intp]

# Reach of neighbours on both sides, and from which distance on it is the second and the third of them. With ten
# relaxation times a decade, the fits then leave 1e-6 of the products at the distance zero and 5e-8 from 8 and 32 on.
NEAR, FROM_MIDDLE, MIDDLE, FROM_FAR, FAR = 5, 8, 2, 32, 1

# Nodes beyond an end of the grid.
GHOSTS = NEAR

# Parameters that are no whole hat and no resistor, at most.
SPECIAL = 4

# Data are filled up to a multiple of this, nodes to one of the other.
DATA, NODES = 32, 16


# Rows of the array that sums are kept in: g, p, the weights w and c, force and diagonal by node, weights times the
# columns of special unknowns, their products with all columns, what rows and columns are multiplied by, sums for
# leverages.
PLAIN, TURNED, WEIGHTS, FORCE, SQUARE, RIGHT, PRODUCT, OUTER_, SPREAD = 0, 1, 2, 5, 6, 7, 11, 15, 16
# Rows of that array: from `SPREAD` on, one for each neighbour on both sides, of i and of j.
SUMS = SPREAD + 2 * (2 * NEAR + 1)


class Tables(NamedTuple):
    """What the matrix of a grid is made from."""

    columns: Array  # (j,q) of A; rows of zeros up to a multiple of four
    across: Array  # (q,e) impedances of the nodes
    squares: Array  # (f,e) their squared moduli
    place: Whole  # (j) which node an unknown is
    near: Array  # coefficients of neighbours, four rows for each: of i by g, of j by g, of i by p, of j by p; by d
    middle: Array
    far: Array
    special: Whole  # (4) unknowns that are no whole hat and no resistor; -1 for none
    resistor: float  # column of the resistor, which comes first after γ
    good: float  # largest Σ_f w_f γ² that the coefficients are good enough for; 0 where there are none


_ROWS, _ROW, _PLACES, _NUMBER = types.float64[:, ::1], types.float64[::1], types.intp[::1], types.float64
_TABLES = held_type(Tables, *(_ROWS,) * 3, _PLACES, *(_ROWS,) * 3, _PLACES, _NUMBER, _NUMBER)


def new_sums(tables: Tables) -> Array:
    """Make the array for the sums of one spectrum."""
    return np.zeros((SUMS, NODES + max(tables.columns.shape[1], tables.across.shape[1], tables.columns.shape[0])))


@pointed("void(float64[:, ::1], float64[::1], int64, float64[::1], float64[::1])", **POINTED)
def model(columns: Array, value: Array, size: int, data: Array, out: Array) -> None:
    """Impedance of the unknowns less the data."""
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


@pointed("void(float64[:, ::1], float64[:, ::1], float64[::1], float64[::1], float64[:, ::1])", **POINTED)
def project(across: Array, squares: Array, residual: Array, weight: Array, sums: Array) -> None:
    """Aᵀ W z and the diagonal of Aᵀ W A for all nodes."""
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
        store(sums, FORCE, e, a0)
        store(sums, FORCE, e + 4, a1)
        store(sums, FORCE, e + 8, a2)
        store(sums, FORCE, e + 12, a3)
        store(sums, SQUARE, e, s0)
        store(sums, SQUARE, e + 4, s1)
        store(sums, SQUARE, e + 8, s2)
        store(sums, SQUARE, e + 12, s3)


@compiled(**INNER, fastmath=FAST)
def weigh(residual: Array, weight: Array, distance: Array, tail: float, round_: bool, sums: Array) -> None:
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
        sums[WEIGHTS + 0, f] = weight[f] + half
        sums[WEIGHTS + 1, f] = share * (re * re - im * im)
        sums[WEIGHTS + 2, f] = -2.0 * share * re * im


@compiled(**INNER, fastmath=FAST)
def _generate(across: Array, sums: Array) -> None:
    """Find g and p."""
    points = across.shape[0] // 2
    for e in range(0, across.shape[1], 16):
        g0 = g1 = g2 = g3 = p0 = p1 = p2 = p3 = same(0.0)
        for f in range(points):
            w, c, s = same(sums[WEIGHTS, f]), same(sums[WEIGHTS + 1, f]), same(-sums[WEIGHTS + 2, f])
            re = load(across, f, e)
            g0, p0 = fma(w, re, g0), fma(s, load(across, points + f, e), fma(c, re, p0))
            re = load(across, f, e + 4)
            g1, p1 = fma(w, re, g1), fma(s, load(across, points + f, e + 4), fma(c, re, p1))
            re = load(across, f, e + 8)
            g2, p2 = fma(w, re, g2), fma(s, load(across, points + f, e + 8), fma(c, re, p2))
            re = load(across, f, e + 12)
            g3, p3 = fma(w, re, g3), fma(s, load(across, points + f, e + 12), fma(c, re, p3))
        store(sums, PLAIN, e, g0)
        store(sums, PLAIN, e + 4, g1)
        store(sums, PLAIN, e + 8, g2)
        store(sums, PLAIN, e + 12, g3)
        store(sums, TURNED, e, p0)
        store(sums, TURNED, e + 4, p1)
        store(sums, TURNED, e + 8, p2)
        store(sums, TURNED, e + 12, p3)


@compiled(**INNER, fastmath=FAST)
def _specialise(columns: Array, special: Whole, points: int, sums: Array) -> None:
    """Products of the special unknowns with all."""
    for n in range(SPECIAL):
        s = special[n]
        if s < 0:
            continue
        for f in range(points):
            w, c, t = sums[WEIGHTS, f], sums[WEIGHTS + 1, f], sums[WEIGHTS + 2, f]
            x, y = columns[s, f], columns[s, points + f]
            sums[RIGHT + n, f] = (w + c) * x - t * y
            sums[RIGHT + n, points + f] = (w - c) * y - t * x
    for j in range(0, columns.shape[0], 2):
        a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = same(0.0)
        for q in range(0, columns.shape[1], 4):
            one, two = load(columns, j, q), load(columns, j + 1, q)
            v = load(sums, RIGHT + 0, q)
            a0, b0 = fma(v, one, a0), fma(v, two, b0)
            v = load(sums, RIGHT + 1, q)
            a1, b1 = fma(v, one, a1), fma(v, two, b1)
            v = load(sums, RIGHT + 2, q)
            a2, b2 = fma(v, one, a2), fma(v, two, b2)
            v = load(sums, RIGHT + 3, q)
            a3, b3 = fma(v, one, a3), fma(v, two, b3)
        sums[PRODUCT + 0, j], sums[PRODUCT + 0, j + 1] = total(a0), total(b0)
        sums[PRODUCT + 1, j], sums[PRODUCT + 1, j + 1] = total(a1), total(b1)
        sums[PRODUCT + 2, j], sums[PRODUCT + 2, j + 1] = total(a2), total(b2)
        sums[PRODUCT + 3, j], sums[PRODUCT + 3, j + 1] = total(a3), total(b3)


@compiled(**INNER, fastmath=FAST)
def _zone(zone: int, i: int, logs: int) -> tuple[int, int]:
    """From which distance on a zone is, and where it ends in row i."""
    if zone == 0:
        return 0, min(i + FROM_MIDDLE, logs)
    return (FROM_MIDDLE, min(i + FROM_FAR, logs)) if zone == 1 else (FROM_FAR, logs)


@compiled(**INNER, fastmath=FAST)
def _has_direction(points: int, sums: Array) -> bool:
    """Whether any weight has one; without, all p are zero."""
    found = False
    for f in range(points):
        found = found or sums[WEIGHTS + 1, f] != 0.0 or sums[WEIGHTS + 2, f] != 0.0
    return found


@compiled(**INNER, fastmath=FAST)
def _strip(table: Array, reach: int, first: int, turned: bool, i: int, stop: int, sums: Array, out: Array) -> None:
    """Elements of row i from the distance `first` on, up to column `stop`, times their factors."""
    scale, none = same(sums[OUTER_, i]), same(0.0)
    for j in range(i + first, stop, 4):
        a = b = same(0.0)
        d = j - i - first
        for k in range(2 * reach + 1):
            e, g = GHOSTS + i + k - reach, GHOSTS + j + k - reach
            a = fma(load(table, 4 * k, d), same(sums[PLAIN, e]), a)
            b = fma(load(table, 4 * k + 1, d), load(sums, PLAIN, g), b)
            if turned:
                a = fma(load(table, 4 * k + 2, d), same(sums[TURNED, e]), a)
                b = fma(load(table, 4 * k + 3, d), load(sums, TURNED, g), b)
        store(out, i, j, fma(fma(a, scale, fma(b, scale, none)), load(sums, OUTER_, j), none))


@pointed(types.void(_TABLES, _ROW, types.int64, types.int64, _ROWS, _ROWS), **POINTED)
def assemble(tables: Tables, outer: Array, logs: int, size: int, sums: Array, out: Array) -> None:
    """Upper half of Aᵀ R A times what rows and columns are multiplied by; the weights are those of :func:`weigh`."""
    columns, across, place, special = tables.columns, tables.across, tables.place, tables.special
    near, middle, far, resistor = tables.near, tables.middle, tables.far, tables.resistor
    _generate(across, sums)
    _specialise(columns, special, across.shape[0] // 2, sums)
    rows, turned = out.shape[0], _has_direction(across.shape[0] // 2, sums)
    for j in range(sums.shape[1]):
        sums[OUTER_, j] = outer[j] if j < logs else 0.0
    for i in range(1, logs - 1):
        # One call, since what is called is compiled again with each.
        for zone in range(3):
            table = near if zone == 0 else middle if zone == 1 else far
            first, stop = _zone(zone, i, logs)
            _strip(table, table.shape[0] // 8, first, turned, i, stop, sums, out)
        for j in range(logs, out.shape[1]):
            out[i, j] = 0.0
    for i in range(size, rows):
        for j in range(i, out.shape[1]):
            out[i, j] = 0.0
    for n in range(SPECIAL + 1):
        s = special[n] if n < SPECIAL else logs
        if s < 0:
            continue
        for j in range(size):
            e = place[j]
            product = sums[PRODUCT + n, j] if n < SPECIAL else resistor * (sums[PLAIN, e] + sums[TURNED, e])
            out[min(s, j), max(s, j)] = outer[s] * outer[j] * product


@compiled(**INNER, fastmath=FAST)
def _spread_strip(table: Array, reach: int, first: int, i: int, stop: int, sums: Array, inverse: Array) -> None:
    """Add what a row of the inverse gives to the sums for leverages; transpose of :func:`_strip`."""
    width = 2 * NEAR + 1
    scale, none = same(2.0 * sums[OUTER_, i]), same(0.0)
    for k in range(2 * reach + 1):
        at = SPREAD + NEAR - reach + k
        s = same(0.0)
        for j in range(i + first, stop, 4):
            d = j - i - first
            c = fma(fma(load(inverse, i, j), load(sums, OUTER_, j), none), scale, none)
            s = fma(load(table, 4 * k, d), c, s)
            store(sums, width + at, j, fma(load(table, 4 * k + 1, d), c, load(sums, width + at, j)))
        sums[at, i] += total(s)


@compiled(**INNER, fastmath=FAST)
def _add_special(columns: Array, s: int, outer: Array, logs: int, size: int, inverse: Array, sums: Array) -> None:
    """Add to leverages what the inverse has between a special unknown and the others."""
    width = sums.shape[1]
    for q in range(width):
        sums[RIGHT, q] = 0.0
    for j in range(size):
        # Pairs of two special ones only once.
        if (j == 0 or j >= logs - 1) and j < s:
            continue
        c = inverse[min(s, j), max(s, j)] * outer[s] * outer[j] * (1.0 if j == s else 2.0)
        x = same(c)
        for q in range(0, columns.shape[1], 4):
            store(sums, RIGHT, q, fma(x, load(columns, j, q), load(sums, RIGHT, q)))
    for q in range(0, columns.shape[1], 4):
        store(sums, RIGHT + 1, q, fma(load(columns, s, q), load(sums, RIGHT, q), load(sums, RIGHT + 1, q)))


@compiled(**INNER, fastmath=FAST)
def _clear(sums: Array) -> None:
    """Begin with sums for leverages of zero."""
    for q in range(sums.shape[1]):
        sums[RIGHT + 1, q] = sums[PLAIN, q] = 0.0
    for k in range(SPREAD, SUMS):
        for j in range(sums.shape[1]):
            sums[k, j] = 0.0


@pointed(types.void(_TABLES, _ROW, types.int64, types.int64, _ROW, _ROWS, _ROWS, _ROW), **POINTED)
def leverages(
    tables: Tables, outer: Array, logs: int, size: int, weight: Array, sums: Array, inverse: Array, out: Array
) -> None:
    """Trace of H⁻¹ times the part of H of each point, for weights without a direction.

    `inverse` is the upper half of H⁻¹.
    """
    columns, across = tables.columns, tables.across
    near, middle, far = tables.near, tables.middle, tables.far
    points = weight.size
    _clear(sums)
    for s in range(size):
        if s == 0 or s >= logs - 1:
            _add_special(columns, s, outer, logs, size, inverse, sums)
    for j in range(sums.shape[1]):
        sums[OUTER_, j] = outer[j] if 0 < j < logs - 1 else 0.0
    for i in range(1, logs - 1):
        diagonal = inverse[i, i]
        inverse[i, i] *= 0.5
        for zone in range(3):
            table = near if zone == 0 else middle if zone == 1 else far
            first, stop = _zone(zone, i, logs)
            _spread_strip(table, table.shape[0] // 8, first, i, stop, sums, inverse)
        inverse[i, i] = diagonal
    width = 2 * NEAR + 1
    for k in range(width):
        for j in range(logs):
            sums[PLAIN, j + k] += sums[SPREAD + k, j] + sums[SPREAD + width + k, j]
    for f in range(points):
        s = sums[RIGHT + 1, f] + sums[RIGHT + 1, points + f]
        for e in range(across.shape[1]):
            s += sums[PLAIN, e] * across[f, e]
        out[f] = s * weight[f]
