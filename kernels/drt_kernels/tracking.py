"""Assignment of rows to columns on a sparse graph, where each row may stay alone.

Axes in the comments: r = rows, c = columns, e = edges, in order of their rows.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]

ALONE = -1
"""In the place of a column: the row has none."""


@njit(cache=True, nogil=True)
def _relax(
    at: int,
    length: float,
    graph: tuple[Index, Index, Array],
    prices: tuple[Array, Array],
    reach: tuple[Array, Index, NDArray[np.bool_], Index],
    count: int,
) -> int:
    """Shorten the ways to the columns of a row that has been reached, and return how many have been touched."""
    start, end, gain = graph
    distance, reached_from, done, touched = reach
    for e in range(start[at], start[at + 1]):
        c = end[e]
        if done[c]:
            continue
        here = length - gain[e] - prices[0][at] - prices[1][c]
        if distance[c] == np.inf:
            touched[count] = c
            count += 1
        if here < distance[c]:
            distance[c] = here
            reached_from[c] = at
    return count


@njit(cache=True, nogil=True)
def _search(
    row: int,
    graph: tuple[Index, Index, Array],
    prices: tuple[Array, Array],
    owner: Index,
    reach: tuple[Array, Index, NDArray[np.bool_], Index],
) -> tuple[int, int, int, float]:
    """Find the shortest way from a free row to a column that nobody owns, or to a row that is better left alone.

    Returns how many columns were touched, the column (or ALONE), the row that the way ends in, and its length.
    """
    distance, reached_from, done, touched = reach
    count = 0
    at = row
    length = 0.0
    alone, alone_row = np.inf, row
    while True:
        # a row that goes without a column costs nothing, but its price has to be given up
        if length - prices[0][at] < alone:
            alone, alone_row = length - prices[0][at], at
        count = _relax(at, length, graph, prices, reach, count)
        best, nearest = np.inf, ALONE
        for k in range(count):
            c = touched[k]
            if not done[c] and distance[c] < best:
                best, nearest = distance[c], c
        if alone <= best:
            return count, ALONE, alone_row, alone
        done[nearest] = True
        length = best
        if owner[nearest] == ALONE:
            return count, nearest, reached_from[nearest], length
        at = owner[nearest]


# (r+1),(e),(e),(c)->(r)
@njit(cache=True, nogil=True)
def assign(start: Index, end: Index, gain: Array, columns: int, partner: Index) -> None:
    """Give each row a column of its own, or none, such that the sum of gains is the largest possible.

    Shortest augmenting paths with dual prices, R. Jonker, A. Volgenant, Computing 38 (1987) 325, on lists of edges. A
    search restores only what it touched, so it costs as much as its neighbourhood and not as the whole graph.

    Parameters
    ----------
    start : ndarray of int, shape (R + 1,)
        First edge of each row, and their number.
    end : ndarray of int, shape (E,)
        Column of each edge.
    gain : ndarray, shape (E,)
        Its gain; finite. Staying alone gains nothing.
    columns : int
        C, how many columns there are.
    partner : ndarray of int, shape (R,), out
        Column of each row, or ALONE.
    """
    rows = start.size - 1
    row_price = np.zeros(rows)
    column_price = np.zeros(columns)
    owner = np.full(columns, ALONE)
    distance = np.full(columns, np.inf)
    reached_from = np.full(columns, ALONE)
    done = np.zeros(columns, dtype=np.bool_)
    touched = np.empty(columns, dtype=np.int64)
    graph, prices = (start, end, gain), (row_price, column_price)
    reach = (distance, reached_from, done, touched)
    partner[:] = ALONE
    for row in range(rows):
        count, column, last, length = _search(row, graph, prices, owner, reach)
        row_price[row] += length
        for k in range(count):
            c = touched[k]
            if done[c] and distance[c] < length:
                column_price[c] -= length - distance[c]
                if owner[c] != ALONE:
                    row_price[owner[c]] += length - distance[c]
        # along the way, each row takes the column it was reached with and hands over the one it had
        at, taken = last, column
        while True:
            had = partner[at]
            partner[at] = taken
            if taken != ALONE:
                owner[taken] = at
            if at == row:
                break
            taken = had
            at = reached_from[taken]
        for k in range(count):
            c = touched[k]
            distance[c] = np.inf
            done[c] = False


# (r,d),(r),(r)->(r),(r,d),(r,d),(r),(r)
@njit(cache=True, nogil=True)
def trends(x: Array, where: Array, chain: Index, fading: Array, line: tuple[Array, Array, Array, Array, Array]) -> None:
    """Weighted moments of the peaks that each peak's chain leads to, itself first.

    Parameters
    ----------
    x : ndarray, shape (N, 2)
        Coordinates.
    where : ndarray, shape (N,)
        Place along the series.
    chain : ndarray of int, shape (N,)
        The next peak of the chain; negative at its end.
    fading : ndarray
        Weights of the peak itself, of the next, and so on.
    line : tuple of ndarray, out
        Mean place (N,), mean of x (N, 2), sum of products about the means (N, 2), sum of weights (N,) and sum of the
        squares of the place about its mean (N,).
    """
    centre, level, product, weight, along = line
    for n in range(where.size):
        total = first = second = x0 = x1 = p0 = p1 = 0.0
        peak = n
        for k in range(fading.size):
            w, far = fading[k], where[peak] - where[n]
            total += w
            first += w * far
            second += w * far * far
            x0 += w * x[peak, 0]
            x1 += w * x[peak, 1]
            p0 += w * far * (x[peak, 0] - x[n, 0])
            p1 += w * far * (x[peak, 1] - x[n, 1])
            peak = chain[peak]
            if peak < 0:
                break
        mean = first / total
        centre[n] = where[n] + mean
        level[n, 0], level[n, 1] = x0 / total, x1 / total
        product[n, 0] = p0 - first * (x0 / total - x[n, 0])
        product[n, 1] = p1 - first * (x1 / total - x[n, 1])
        weight[n] = total
        along[n] = max(second - first * mean, 0.0)


# (e),(e)->(e)
@njit(cache=True, nogil=True)
def predicted_density(
    pair: tuple[Index, Index],
    x: Array,
    where: Array,
    line: tuple[Array, Array, Array, Array, Array],
    steadiness: Array,
    scale: Array,
    jump: tuple[Array, float, float],
    density: Array,
) -> None:
    """Add half the logarithm of the density of one peak about the straight line of another.

    The density is a bivariate t distribution whose scale grows with the variance of the extrapolation, mixed with a
    wider one for jumps.

    Parameters
    ----------
    pair : tuple of ndarray of int, shape (E,)
        Peak that the line belongs to, and peak that it is compared with.
    x, where, line
        As of :func:`trends`.
    steadiness : ndarray, shape (2,)
        By how much slopes are held back.
    scale : ndarray, shape (N, 2)
        Scale of the deviations of each peak's chain.
    jump : tuple
        Scale of jumps (2,), the probability of one, and the degrees of freedom.
    density : ndarray, shape (E,), in and out
        What is added to.
    """
    centre, level, product, weight, along = line
    begin, end = pair
    width, probability, freedom = jump
    power = -0.5 * (freedom + 2.0)
    for e in range(begin.size):
        a, b = begin[e], end[e]
        far = where[b] - centre[a]
        near, wide, area, wide_area = 0.0, 0.0, 1.0, 1.0
        for d in range(2):
            lever = along[a] + steadiness[d]
            variance = scale[a, d] ** 2 * (1.0 + 1.0 / weight[a] + far * far / lever)
            off = x[b, d] - level[a, d] - product[a, d] * far / lever
            near += off * off / variance
            area *= variance
            variance += width[d] ** 2
            wide += off * off / variance
            wide_area *= variance
        usual = (1.0 - probability) * (1.0 + near / freedom) ** power / np.sqrt(area)
        jumped = probability * (1.0 + wide / freedom) ** power / np.sqrt(wide_area)
        density[e] += 0.5 * np.log((usual + jumped) / (2.0 * np.pi))


# (n,g,d),(p,g,d),(p,g),(d)->(n,p)
@njit(cache=True, nogil=True)
def mean_density(course: Array, expected: Array, distance: Array, scale: Array, freedom: float, density: Array) -> None:
    """Mean logarithm of the density of courses about expected ones, over the points where both are known.

    The density is a bivariate t distribution.

    Parameters
    ----------
    course : ndarray, shape (n, G, 2)
        Courses; NaN where they are not known.
    expected : ndarray, shape (P, G, 2)
        Expected courses; NaN throughout where nothing is expected.
    distance : ndarray, shape (P, G)
        Square of the factor by which the scale is larger at each point, less 1.
    scale : ndarray, shape (2,)
        Scale of the deviations.
    freedom : float
        Degrees of freedom.
    density : ndarray, shape (n, P), out
        The mean, or minus infinity where there is no point.
    """
    for n in range(course.shape[0]):
        for p in range(expected.shape[0]):
            total, count = 0.0, 0
            for g in range(course.shape[1]):
                if np.isnan(course[n, g, 0]) or np.isnan(expected[p, g, 0]):
                    continue
                wider = 1.0 + distance[p, g]
                square = 0.0
                for d in range(2):
                    off = (course[n, g, d] - expected[p, g, d]) / scale[d]
                    square += off * off
                tail = -0.5 * (freedom + 2.0) * np.log1p(square / (wider * freedom))
                total += tail - np.log(2.0 * np.pi * scale[0] * scale[1] * wider)
                count += 1
            density[n, p] = total / count if count else -np.inf
