"""Cholesky factors of matrices of a hundred rows, what is solved with them, and their inverses.

A symmetric matrix is stored by its upper half, of which rows are contiguous: H = UᵀU, and tiles of four rows and eight
columns of U are found in registers, left-looking. Matrices have a multiple of four rows and eight more columns than
rows, which stay zero, so that tiles need no ends of their own; the diagonal of a factor holds reciprocals.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drt_kernels.compiling import compiled, pointed
from drt_kernels.simd import fma, load, load_at, same, store, store_at, total

Array = NDArray[np.float64]

# Sums may be reordered, so that they vectorise; NaN and infinity keep their meaning.
FAST = {"reassoc", "contract", "nsz", "arcp"}

# Compiling takes seconds, a quarter of them for the glue that lets C and Python call a function. Only what Python calls
# has some; calling an inner one from Python crashes, while a compiled function, such as those of the tests, may do so.
# What is called from one place is inlined if it is large, since callees are optimised again with each caller. An inner
# one makes no arrays: those that it is given stay as long as it runs, and to count who uses them would take more code.
OUTER: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
INNER: dict[str, Any] = OUTER | {"no_cpython_wrapper": True, "_nrt": False}
POINTED: dict[str, Any] = {"error_model": "numpy", "fastmath": FAST, "_nrt": False}

# Columns of a matrix beyond its rows.
BESIDE = 8

# What :func:`invert` finds.
WHOLE, BAND, REST = 0, 1, 2


@compiled(**INNER, fastmath=FAST)
def _pivot(matrix: Array, factor: Array, i: int) -> bool:
    """Factor the diagonal block of four rows from i on; false if it is not positive definite."""
    s0 = s1 = s2 = s3 = same(0.0)
    for q in range(i):
        row = load(factor, q, i)
        s0 = fma(same(factor[q, i]), row, s0)
        s1 = fma(same(factor[q, i + 1]), row, s1)
        s2 = fma(same(factor[q, i + 2]), row, s2)
        s3 = fma(same(factor[q, i + 3]), row, s3)
    minus = same(-1.0)
    store(factor, i, i, fma(minus, s0, load(matrix, i, i)))
    store(factor, i + 1, i, fma(minus, s1, load(matrix, i + 1, i)))
    store(factor, i + 2, i, fma(minus, s2, load(matrix, i + 2, i)))
    store(factor, i + 3, i, fma(minus, s3, load(matrix, i + 3, i)))
    for a in range(i, i + 4):
        s = factor[a, a]
        for q in range(i, a):
            s -= factor[q, a] * factor[q, a]
        if not s > 0.0:
            return False
        pivot = 1.0 / math.sqrt(s)
        factor[a, a] = pivot
        for b in range(a + 1, i + 4):
            s = factor[a, b]
            for q in range(i, a):
                s -= factor[q, a] * factor[q, b]
            factor[a, b] = s * pivot
    return True


@pointed("boolean(float64[:, ::1], float64[:, ::1])", **POINTED)
def factorise(matrix: Array, factor: Array) -> bool:
    """Find U of H = UᵀU, upper half; false if H is not positive definite."""
    rows = matrix.shape[0]
    minus = same(-1.0)
    for i in range(0, rows, 4):
        if not _pivot(matrix, factor, i):
            return False
        d0, d1, d2, d3 = same(factor[i, i]), factor[i + 1, i + 1], factor[i + 2, i + 2], factor[i + 3, i + 3]
        u01, u02, u03 = -factor[i, i + 1] * d1, -factor[i, i + 2] * d2, -factor[i, i + 3] * d3
        u12, u13, u23 = -factor[i + 1, i + 2] * d2, -factor[i + 1, i + 3] * d3, -factor[i + 2, i + 3] * d3
        e1, e2, e3 = same(d1), same(d2), same(d3)
        for j in range(i + 4, rows, 8):
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = same(0.0)
            for q in range(i):
                one, two = load(factor, q, j), load(factor, q, j + 4)
                share = same(factor[q, i])
                a0, b0 = fma(share, one, a0), fma(share, two, b0)
                share = same(factor[q, i + 1])
                a1, b1 = fma(share, one, a1), fma(share, two, b1)
                share = same(factor[q, i + 2])
                a2, b2 = fma(share, one, a2), fma(share, two, b2)
                share = same(factor[q, i + 3])
                a3, b3 = fma(share, one, a3), fma(share, two, b3)
            none = same(0.0)
            a0 = fma(fma(minus, a0, load(matrix, i, j)), d0, none)
            b0 = fma(fma(minus, b0, load(matrix, i, j + 4)), d0, none)
            a1 = fma(fma(minus, a1, load(matrix, i + 1, j)), e1, fma(same(u01), a0, none))
            b1 = fma(fma(minus, b1, load(matrix, i + 1, j + 4)), e1, fma(same(u01), b0, none))
            a2 = fma(fma(minus, a2, load(matrix, i + 2, j)), e2, fma(same(u02), a0, fma(same(u12), a1, none)))
            b2 = fma(fma(minus, b2, load(matrix, i + 2, j + 4)), e2, fma(same(u02), b0, fma(same(u12), b1, none)))
            a3 = fma(fma(minus, a3, load(matrix, i + 3, j)), e3, fma(same(u03), a0, fma(same(u13), a1, none)))
            b3 = fma(fma(minus, b3, load(matrix, i + 3, j + 4)), e3, fma(same(u03), b0, fma(same(u13), b1, none)))
            a3, b3 = fma(same(u23), a2, a3), fma(same(u23), b2, b3)
            store(factor, i, j, a0)
            store(factor, i, j + 4, b0)
            store(factor, i + 1, j, a1)
            store(factor, i + 1, j + 4, b1)
            store(factor, i + 2, j, a2)
            store(factor, i + 2, j + 4, b2)
            store(factor, i + 3, j, a3)
            store(factor, i + 3, j + 4, b3)
    return True


@pointed("void(float64[:, ::1], float64[::1], float64[::1])", **POINTED)
def solve(factor: Array, right: Array, out: Array) -> None:
    """Solve UᵀU out = −right; `out` is eight longer than there are rows, and zero there."""
    rows = factor.shape[0]
    for i in range(rows):
        out[i] = -right[i]
    for q in range(0, rows, 4):
        for a in range(q, q + 4):
            s = out[a]
            for b in range(q, a):
                s -= factor[b, a] * out[b]
            out[a] = s * factor[a, a]
        x0, x1, x2, x3 = same(-out[q]), same(-out[q + 1]), same(-out[q + 2]), same(-out[q + 3])
        for j in range(q + 4, rows, 4):
            one = fma(x1, load(factor, q + 1, j), fma(x0, load(factor, q, j), load_at(out, j)))
            store_at(out, j, fma(x3, load(factor, q + 3, j), fma(x2, load(factor, q + 2, j), one)))
    for i in range(rows - 4, -4, -4):
        s0 = s1 = s2 = s3 = same(0.0)
        for j in range(i + 4, rows, 4):
            x = load_at(out, j)
            s0, s1 = fma(load(factor, i, j), x, s0), fma(load(factor, i + 1, j), x, s1)
            s2, s3 = fma(load(factor, i + 2, j), x, s2), fma(load(factor, i + 3, j), x, s3)
        out[i] -= total(s0)
        out[i + 1] -= total(s1)
        out[i + 2] -= total(s2)
        out[i + 3] -= total(s3)
        for a in range(i + 3, i - 1, -1):
            s = out[a]
            for b in range(a + 1, i + 4):
                s -= factor[a, b] * out[b]
            out[a] = s * factor[a, a]


@compiled(**INNER, fastmath=FAST)
def _invert_factor(factor: Array, out: Array) -> None:
    """Rows of U⁻ᵀ, lower half; zero above its diagonal blocks as far as tiles of :func:`_multiply_inverse` go."""
    rows = factor.shape[0]
    none = same(0.0)
    for i in range(0, rows, 4):
        d0, d1, d2, d3 = factor[i, i], factor[i + 1, i + 1], factor[i + 2, i + 2], factor[i + 3, i + 3]
        u01, u02, u03 = -factor[i, i + 1] * d1, -factor[i, i + 2] * d2, -factor[i, i + 3] * d3
        u12, u13, u23 = -factor[i + 1, i + 2] * d2, -factor[i + 1, i + 3] * d3, -factor[i + 2, i + 3] * d3
        for a in range(i, i + 4):
            for j in range(i, min(i + 12, out.shape[1])):
                out[a, j] = 0.0
        out[i, i], out[i + 1, i + 1], out[i + 2, i + 2], out[i + 3, i + 3] = d0, d1, d2, d3
        out[i + 1, i] = u01 * d0
        out[i + 2, i] = u02 * d0 + u12 * out[i + 1, i]
        out[i + 2, i + 1] = u12 * d1
        out[i + 3, i] = u03 * d0 + u13 * out[i + 1, i] + u23 * out[i + 2, i]
        out[i + 3, i + 1] = u13 * d1 + u23 * out[i + 2, i + 1]
        out[i + 3, i + 2] = u23 * d2
        for j in range(0, i, 8):
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = same(0.0)
            for q in range(j, i):
                one, two = load(out, q, j), load(out, q, j + 4)
                share = same(factor[q, i])
                a0, b0 = fma(share, one, a0), fma(share, two, b0)
                share = same(factor[q, i + 1])
                a1, b1 = fma(share, one, a1), fma(share, two, b1)
                share = same(factor[q, i + 2])
                a2, b2 = fma(share, one, a2), fma(share, two, b2)
                share = same(factor[q, i + 3])
                a3, b3 = fma(share, one, a3), fma(share, two, b3)
            a0, a1 = fma(same(-d0), a0, none), fma(same(-d1), a1, none)
            a2, a3 = fma(same(-d2), a2, none), fma(same(-d3), a3, none)
            a1 = fma(same(u01), a0, a1)
            a2 = fma(same(u12), a1, fma(same(u02), a0, a2))
            a3 = fma(same(u23), a2, fma(same(u13), a1, fma(same(u03), a0, a3)))
            store(out, i, j, a0)
            store(out, i + 1, j, a1)
            store(out, i + 2, j, a2)
            store(out, i + 3, j, a3)
            if j + 4 < i:
                b0, b1 = fma(same(-d0), b0, none), fma(same(-d1), b1, none)
                b2, b3 = fma(same(-d2), b2, none), fma(same(-d3), b3, none)
                b1 = fma(same(u01), b0, b1)
                b2 = fma(same(u12), b1, fma(same(u02), b0, b2))
                b3 = fma(same(u23), b2, fma(same(u13), b1, fma(same(u03), b0, b3)))
                store(out, i, j + 4, b0)
                store(out, i + 1, j + 4, b1)
                store(out, i + 2, j + 4, b2)
                store(out, i + 3, j + 4, b3)


@compiled(**INNER, fastmath=FAST)
def _multiply_inverse(inverse: Array, reach: int, out: Array) -> None:
    """Upper half of H⁻¹ = U⁻¹U⁻ᵀ, from :func:`_invert_factor`; no tiles `reach` columns from the diagonal."""
    rows = inverse.shape[0]
    for i in range(0, rows, 4):
        for j in range(i, min(i + reach, rows), 8):
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = same(0.0)
            for q in range(j, rows):
                one, two = load(inverse, q, j), load(inverse, q, j + 4)
                share = same(inverse[q, i])
                a0, b0 = fma(share, one, a0), fma(share, two, b0)
                share = same(inverse[q, i + 1])
                a1, b1 = fma(share, one, a1), fma(share, two, b1)
                share = same(inverse[q, i + 2])
                a2, b2 = fma(share, one, a2), fma(share, two, b2)
                share = same(inverse[q, i + 3])
                a3, b3 = fma(share, one, a3), fma(share, two, b3)
            store(out, i, j, a0)
            store(out, i, j + 4, b0)
            store(out, i + 1, j, a1)
            store(out, i + 1, j + 4, b1)
            store(out, i + 2, j, a2)
            store(out, i + 2, j + 4, b2)
            store(out, i + 3, j, a3)
            store(out, i + 3, j + 4, b3)


@pointed("void(float64[:, ::1], int64, float64[:, ::1], float64[:, ::1])", **POINTED)
def invert(factor: Array, part: int, inverse: Array, out: Array) -> None:
    """Find U⁻ᵀ, lower half, and H⁻¹, upper half; or with BAND of that no more than the diagonal and two beside it.

    With REST U⁻ᵀ is there, and the whole upper half is found from it.
    """
    if part != REST:
        _invert_factor(factor, inverse)
    _multiply_inverse(inverse, 8 if part == BAND else inverse.shape[0], out)
