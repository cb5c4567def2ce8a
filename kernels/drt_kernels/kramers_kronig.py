"""Normal equations of the linear Kramers-Kronig test, for many spectra at once.

Axes in the comments: b = blocks of spectra, l = spectra of a block, n = unknowns, p = n (n + 1) / 2 entries of a lower
triangle by rows, s = sums over the data, q = trial columns, f = frequencies, k = spectra.

The innermost loop runs over the spectra of a block, so that one instruction works on several of them. No sum runs over
that axis: the bits of a spectrum do not depend on its neighbours or on its place.
"""

import math

import numpy as np
from numpy.typing import NDArray

from drt_kernels.compiling import entry, inner

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Table = tuple[Ints, Ints, Array, Array]

# Multiplications and additions may be joined; sums keep their order.
_JOINED = {"contract"}


@inner(fastmath=_JOINED)
def _combine(sums: Array, table: Table, out: Array) -> None:
    """Entries alpha_p sums[left_p] + beta_p sums[right_p] of the normal matrices of a block."""
    # (s,l),4(p)->(p,l)
    left, right, alpha, beta = table
    entries, batch = out.shape
    for p in range(entries):
        i = left[p]
        j = right[p]
        first = alpha[p]
        second = beta[p]
        for k in range(batch):
            out[p, k] = first * sums[i, k] + second * sums[j, k]


@inner(fastmath=_JOINED)
def _factorise(matrix: Array, s: Array, weakest: Array) -> None:  # noqa: C901 - loops in loops, no branches
    """Replace the normal matrices of a block by their Cholesky factors, with reciprocals on the diagonal."""
    # (p,l),(l)->(p,l),(l)
    entries, batch = matrix.shape
    size = int((math.sqrt(8.0 * entries + 1.0) - 1.0) / 2.0 + 0.5)
    weakest[:] = 1.0
    for i in range(size):
        row = i * (i + 1) // 2
        for j in range(i):
            other = j * (j + 1) // 2
            for k in range(batch):
                s[k] = matrix[row + j, k]
            for q in range(j):
                for k in range(batch):
                    s[k] -= matrix[row + q, k] * matrix[other + q, k]
            for k in range(batch):
                matrix[row + j, k] = s[k] * matrix[other + j, k]
        for k in range(batch):
            s[k] = matrix[row + i, k]
        for q in range(i):
            for k in range(batch):
                s[k] -= matrix[row + q, k] * matrix[row + q, k]
        for k in range(batch):
            share = s[k] / matrix[row + i, k] if matrix[row + i, k] > 0.0 else 0.0
            weakest[k] = min(weakest[k], share)
            matrix[row + i, k] = 1.0 / math.sqrt(s[k]) if share > 0.0 else 0.0


@inner(fastmath=_JOINED)
def _forward(factor: Array, column: Array) -> None:
    """Solve L y = c for a block, in place."""
    # (p,l),(n,l)->(n,l)
    size, batch = column.shape
    for i in range(size):
        row = i * (i + 1) // 2
        for q in range(i):
            for k in range(batch):
                column[i, k] -= factor[row + q, k] * column[q, k]
        for k in range(batch):
            column[i, k] *= factor[row + i, k]


@inner(fastmath=_JOINED)
def _backward(factor: Array, column: Array) -> None:
    """Solve Lᵀ y = c for a block, in place."""
    # (p,l),(n,l)->(n,l)
    size, batch = column.shape
    for i in range(size - 1, -1, -1):
        row = i * (i + 1) // 2
        for k in range(batch):
            column[i, k] *= factor[row + i, k]
        for q in range(i):
            for k in range(batch):
                column[q, k] -= factor[row + q, k] * column[i, k]


@entry(fastmath=_JOINED)
def factorise(sums: Array, table: Table, factor: Array, weakest: Array) -> None:
    """Cholesky factors, by rows, of the normal matrices alpha_p sums[left_p] + beta_p sums[right_p].

    `table` is left, right, alpha and beta. Diagonals of the factors hold reciprocals. `weakest` is the smallest share
    of a diagonal entry that is left when its row is reached: how much of a column the columns before it do not explain,
    squared. Where that is not positive the factor holds nothing of use.
    """
    # (b,s,l),4(p)->(b,p,l),(b,l)
    s = np.empty(factor.shape[2])
    for b in range(len(sums)):
        _combine(sums[b], table, factor[b])
        _factorise(factor[b], s, weakest[b])


@entry(fastmath=_JOINED)
def forward(factor: Array, columns: Array) -> None:
    """Solve L y = c for every column c, in place."""
    # (b,p,l),(b,q,n,l)->(b,q,n,l)
    for b in range(columns.shape[0]):
        for c in range(columns.shape[1]):
            _forward(factor[b], columns[b, c])


@entry(fastmath=_JOINED)
def solve_normal_equations(factor: Array, columns: Array) -> None:
    """Solve L Lᵀ y = c, in place."""
    # (b,p,l),(b,n,l)->(b,n,l)
    for b in range(columns.shape[0]):
        _forward(factor[b], columns[b])
        _backward(factor[b], columns[b])


@entry(fastmath=_JOINED)
def try_elements(sums: Array, table: Table, mass: Array, x: Array, mu: Array, weakest: Array) -> None:
    """Solve normal equations for x, which holds their right-hand sides, and say how its terms balance.

    μ = 1 − Σ|negative| / Σ|positive| of the terms mass_i x_i, minus infinity where none is positive; `mass` is zero for
    unknowns that do not count. The matrices are those of :func:`factorise`, made and used while they are in the cache.
    """
    # (b,s,l),4(p),(n),(b,n,l)->(b,n,l),(b,l),(b,l)
    blocks, size, batch = x.shape
    factor = np.empty((table[0].size, batch))
    plus = np.empty(batch)
    minus = np.empty(batch)
    for b in range(blocks):
        _combine(sums[b], table, factor)
        _factorise(factor, plus, weakest[b])
        _forward(factor, x[b])
        _backward(factor, x[b])
        plus[:] = 0.0
        minus[:] = 0.0
        for i in range(size):
            for k in range(batch):
                term = mass[i] * x[b, i, k]
                plus[k] += max(term, 0.0)
                minus[k] += max(-term, 0.0)
        for k in range(batch):
            mu[b, k] = 1.0 - minus[k] / plus[k] if plus[k] > 0.0 else -math.inf


@entry(fastmath=_JOINED)
def invert(factor: Array, out: Array) -> None:  # noqa: C901 - loops in loops, no branches
    """Lower triangles of inverse normal matrices, entries beside the diagonal twice, for sums over both triangles."""
    # (b,p,l)->(b,p,l)
    blocks, entries, batch = factor.shape
    size = int((math.sqrt(8.0 * entries + 1.0) - 1.0) / 2.0 + 0.5)
    inverse = np.empty((size, size, batch))  # of L, transposed: row j holds column j
    s = np.empty(batch)
    for b in range(blocks):
        for j in range(size):
            for k in range(batch):
                inverse[j, j, k] = factor[b, j * (j + 1) // 2 + j, k]
            for i in range(j + 1, size):
                row = i * (i + 1) // 2
                s[:] = 0.0
                for q in range(j, i):
                    for k in range(batch):
                        s[k] -= factor[b, row + q, k] * inverse[j, q, k]
                for k in range(batch):
                    inverse[j, i, k] = s[k] * factor[b, row + i, k]
        for i in range(size):
            row = i * (i + 1) // 2
            for j in range(i + 1):
                times = 1.0 if i == j else 2.0
                s[:] = 0.0
                for q in range(i, size):
                    for k in range(batch):
                        s[k] += inverse[i, q, k] * inverse[j, q, k]
                for k in range(batch):
                    out[b, row + j, k] = times * s[k]


@entry(fastmath=_JOINED)
def largest_point(hat: Array, weights: Array, residual: Array, least: float, out: Array) -> None:
    """By how much the sum of squares falls without the two parts of that point for which it falls most.

    `hat` are the re-re, im-im and re-im entries of A (AᵀWA)⁻¹ Aᵀ at each point, one after the other. A point to which
    the model leaves less than `least` of its freedom is passed over.
    """
    # (b,3f,l),(b,f,l),(b,2f,l)->(b,l)
    blocks, points, batch = weights.shape
    for b in range(blocks):
        for k in range(batch):
            out[b, k] = 0.0
        for i in range(points):
            for k in range(batch):
                square = weights[b, i, k] ** 2
                rr = 1.0 - square * hat[b, i, k]
                ii = 1.0 - square * hat[b, points + i, k]
                ri = -square * hat[b, 2 * points + i, k]
                re = residual[b, i, k]
                im = residual[b, points + i, k]
                det = rr * ii - ri * ri
                falls = ii * re * re - 2.0 * ri * re * im + rr * im * im
                if rr > 0.0 and ii > 0.0 and det > least:
                    out[b, k] = max(out[b, k], falls / det)


@entry(fastmath=_JOINED)
def products(columns: Array, out: Array) -> None:
    """Products yᵀ y' of all pairs of columns, lower triangle."""
    # (b,q,n,l)->(b,p,l)
    blocks, count, size, batch = columns.shape
    for b in range(blocks):
        for i in range(count):
            for j in range(i + 1):
                p = i * (i + 1) // 2 + j
                for k in range(batch):
                    out[b, p, k] = 0.0
                for q in range(size):
                    for k in range(batch):
                        out[b, p, k] += columns[b, i, q, k] * columns[b, j, q, k]


@entry()
def gain(normal: Array, right: Array, own: Array, least: float, out: Array, rank: Ints) -> None:
    """How much of the sum of squares trial columns explain together, and how many of them count.

    `normal` are the products of what the fit leaves of the columns, lower triangle, `right` their products with the
    residual and `own` the squares of the whole columns; a column of which less than `least` is left does not count.
    """
    # (k,p),(k,q),(k,q)->(k),(k)
    count = own.shape[1]
    factor = np.empty((count, count))
    y = np.empty(count)
    kept = np.empty(count, np.int64)
    for k in range(normal.shape[0]):
        found = 0
        total = 0.0
        for i in range(count):
            row = i * (i + 1) // 2
            rest = right[k, i]
            square = normal[k, row + i]
            for a in range(found):
                s = normal[k, row + kept[a]]
                for c in range(a):
                    s -= factor[found, c] * factor[a, c]
                s /= factor[a, a]
                factor[found, a] = s
                square -= s * s
                rest -= s * y[a]
            if square > least * own[k, i]:
                factor[found, found] = math.sqrt(square)
                y[found] = rest / factor[found, found]
                total += y[found] ** 2
                kept[found] = i
                found += 1
        out[k] = total
        rank[k] = found


_HEAVY = 6.0  # degrees of freedom of Student's distribution, by which single points hardly matter
_RARE = 2.0  # how much likelier noise in proportion to |Z| is before there are data, as a logarithm
_CHUNK = 8  # factors whose product is taken before its logarithm
_LARGE = 1e30  # the product of so many of these is still a number
_ROUNDS = 3  # of finding the scale; with two or six, results differ by less than 1e-11


@entry(fastmath=_JOINED)
def noise_shape(squares: Array, near: Array, values: int, least: float, out: Array) -> None:  # noqa: C901, PLR0912 - loops in loops
    """Choose the noise σ² = a² + b²|Z|² of each spectrum, but for its scale, by its likelihood.

    `squares` are |residual|²/|Z|² at each point, over the share of their freedom that a fit leaves to the two parts,
    and `near` is min|Z|²/|Z|². With κ = a²/(b² min|Z|²), σ²/|Z|² is in proportion to 1 + κ · near. κ is zero, infinite,
    or one of `values` between that are evenly spaced in their logarithm from 1 to max|Z|²/min|Z|²: outside that range
    one of the two terms is not seen. The two parts of a point have Student's distribution of six degrees of freedom;
    its scale is solved for by fixed-point iteration. The specifications of potentiostats say per cent of |Z|, so κ = 0
    is taken unless another one is clearly likelier. `out` returns α and β of α + β · near, b² being `least` or more.
    """
    # (b,f,l),(b,f,l)->(b,2,l)
    blocks, points, batch = squares.shape
    span, scale, alpha, beta = np.empty(batch), np.empty(batch), np.empty(batch), np.empty(batch)
    total, product, likelihood, size = np.empty(batch), np.empty(batch), np.empty(batch), np.empty(batch)
    for b in range(blocks):
        span[:] = 1.0
        for i in range(points):
            for k in range(batch):
                span[k] = min(span[k], near[b, i, k])
        likelihood[:] = -math.inf
        for g in range(values + 2):
            for k in range(batch):
                alpha[k] = 1.0 if g <= values else 0.0
                beta[k] = 1.0
                if g == 0:
                    beta[k] = 0.0
                elif g <= values:
                    beta[k] = span[k] ** (-(g - 1.0) / max(values - 1.0, 1.0))
            # Where the term with a is added, all variances grow; the start is that of constant weights.
            size[:] = 0.0
            product[:] = 1.0
            for i in range(points):
                for k in range(batch):
                    product[k] *= alpha[k] + beta[k] * near[b, i, k]
                if i % _CHUNK == _CHUNK - 1 or i == points - 1:
                    for k in range(batch):
                        size[k] += math.log(product[k])
                        product[k] = 1.0
            total[:] = 0.0
            for i in range(points):
                for k in range(batch):
                    total[k] += squares[b, i, k] / (alpha[k] + beta[k] * near[b, i, k])
            for k in range(batch):
                scale[k] = max(total[k] / (2.0 * points), 1e-300)
            for _ in range(_ROUNDS):
                total[:] = 0.0
                for i in range(points):
                    for k in range(batch):
                        one = squares[b, i, k] / (alpha[k] + beta[k] * near[b, i, k])
                        total[k] += (_HEAVY + 2.0) * one * scale[k] / (_HEAVY * scale[k] + one)
                for k in range(batch):
                    scale[k] = max(total[k] / (2.0 * points), 1e-300)
            total[:] = 0.0
            for i in range(points):
                for k in range(batch):
                    one = squares[b, i, k] / (alpha[k] + beta[k] * near[b, i, k])
                    product[k] *= min(1.0 + one / (_HEAVY * scale[k]), _LARGE)
                if i % _CHUNK == _CHUNK - 1 or i == points - 1:
                    for k in range(batch):
                        total[k] += math.log(product[k])
                        product[k] = 1.0
            for k in range(batch):
                found = -points * math.log(scale[k]) - size[k] - 0.5 * (_HEAVY + 2.0) * total[k]
                if g > 0:
                    found -= _RARE
                if found > likelihood[k]:
                    likelihood[k] = found
                    out[b, 0, k] = max(alpha[k], min(least / scale[k], _LARGE))
                    out[b, 1, k] = beta[k]
