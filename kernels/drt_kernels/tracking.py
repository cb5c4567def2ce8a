"""Assignment of rows to columns on a sparse graph, where each row may stay alone.

Axes in the comments: r = rows, c = columns, e = edges, in order of their rows.
"""

import numpy as np
from numpy.typing import NDArray

from drt_kernels.compiling import entry, inner

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Line = tuple[Array, Array, Array, Array, Array]

ALONE = -1
"""In the place of a column: the row has none."""


@inner()
def _relax(
    at: int,
    length: float,
    graph: tuple[Index, Index, Array],
    prices: tuple[Array, Array],
    reach: tuple[Array, Index, NDArray[np.bool_], Index],
    count: int,
) -> int:
    """Shorten the paths to the columns of a row that has been reached; return how many columns have a path."""
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


@inner()
def _search(
    row: int,
    graph: tuple[Index, Index, Array],
    prices: tuple[Array, Array],
    owner: Index,
    reach: tuple[Array, Index, NDArray[np.bool_], Index],
) -> tuple[int, int, int, float]:
    """Find the shortest path from a free row to an unassigned column, or to a row that is better left unassigned.

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
@entry()
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


# (n,d),(n),(n),(n,d)->(n,d),(n,d),(n,d),(n,d),(n,d)
@entry()
def trends(x: Array, where: Array, chain: Index, weights: tuple[Array, Array], line: Line) -> None:
    """Weighted moments of the peaks that each peak's chain leads to, itself first.

    Parameters
    ----------
    x : ndarray, shape (N, 2)
        Coordinates.
    where : ndarray, shape (N,)
        Place along the series.
    chain : ndarray of int, shape (N,)
        The next peak of the chain; negative at its end.
    weights : tuple of ndarray
        Weights of the peak itself, of the next, and so on; and those of each peak and coordinate (N, 2).
    line : tuple of ndarray, each of shape (N, 2), out
        Mean place, mean of x, sum of products about the means, sum of weights, and sum of the squares of the place
        about its mean.
    """
    centre, level, product, weight, along = line
    fading, trust = weights
    for n in range(where.size):
        for d in range(2):
            total = first = second = mean_x = mixed = 0.0
            peak = n
            for k in range(fading.size):
                w, far, up = fading[k] * trust[peak, d], where[peak] - where[n], x[peak, d] - x[n, d]
                total += w
                first += w * far
                second += w * far * far
                mean_x += w * up
                mixed += w * far * up
                peak = chain[peak]
                if peak < 0:
                    break
            mean = first / total
            centre[n, d] = where[n] + mean
            level[n, d] = x[n, d] + mean_x / total
            product[n, d] = mixed - first * mean_x / total
            weight[n, d] = total
            along[n, d] = max(second - first * mean, 0.0)


# (e),(e)->(e)
@entry()
def predicted_density(
    pair: tuple[Index, Index],
    x: Array,
    where: Array,
    line: Line,
    spread: tuple[Array, Array, Array],
    jump: tuple[Array, float, float],
    density: Array,
) -> None:
    """Add half the logarithm of the density of one peak about the straight line of another.

    The density is a bivariate t distribution whose scale grows with the variance of the extrapolation and of the peak
    itself, mixed with a wider one for jumps.

    Parameters
    ----------
    pair : tuple of ndarray of int, shape (E,)
        Peak that the line belongs to, and peak that it is compared with.
    x, where, line
        As of :func:`trends`.
    spread : tuple
        By how much slopes are held back (2,), scale of the deviations of each peak's chain (N, 2), and variance that
        each peak is known to (N, 2).
    jump : tuple
        Scale of jumps (2,), the probability of one, and the degrees of freedom.
    density : ndarray, shape (E,), in and out
        What is added to.
    """
    centre, level, product, weight, along = line
    begin, end = pair
    steadiness, scale, known = spread
    width, probability, freedom = jump
    power = -0.5 * (freedom + 2.0)
    for e in range(begin.size):
        a, b = begin[e], end[e]
        near, wide, area, wide_area = 0.0, 0.0, 1.0, 1.0
        for d in range(2):
            far = where[b] - centre[a, d]
            lever = along[a, d] + steadiness[d]
            variance = scale[a, d] ** 2 * (1.0 + 1.0 / weight[a, d] + far * far / lever) + known[b, d]
            off = x[b, d] - level[a, d] - product[a, d] * far / lever
            near += off * off / variance
            area *= variance
            variance += width[d] ** 2
            wide += off * off / variance
            wide_area *= variance
        usual = (1.0 - probability) * (1.0 + near / freedom) ** power / np.sqrt(area)
        jumped = probability * (1.0 + wide / freedom) ** power / np.sqrt(wide_area)
        density[e] += 0.5 * np.log((usual + jumped) / (2.0 * np.pi))


# (n,g,d),(n,g,d),(p,g,d),(p,g,d)->(n,p)
@entry()
def mean_density(
    trajectory: Array, known: Array, expected: Array, variance: Array, freedom: float, density: Array
) -> None:
    """Mean logarithm of the density of trajectories about expected ones, over the points where both are known.

    The density is a bivariate t distribution.

    Parameters
    ----------
    trajectory, known : ndarray, shape (n, G, 2)
        Courses, NaN where they are not known, and the variance that they are known to.
    expected, variance : ndarray, shape (P, G, 2)
        Expected trajectories, NaN throughout where nothing is expected, and the variance of what is seen about them.
    freedom : float
        Degrees of freedom.
    density : ndarray, shape (n, P), out
        The mean, or minus infinity where there is no point.
    """
    for n in range(trajectory.shape[0]):
        for p in range(expected.shape[0]):
            total, count = 0.0, 0
            for g in range(trajectory.shape[1]):
                if np.isnan(trajectory[n, g, 0]) or np.isnan(expected[p, g, 0]):
                    continue
                square, area = 0.0, 1.0
                for d in range(2):
                    of_both = known[n, g, d] + variance[p, g, d]
                    square += (trajectory[n, g, d] - expected[p, g, d]) ** 2 / of_both
                    area *= of_both
                total -= 0.5 * (freedom + 2.0) * np.log1p(square / freedom) + np.log(2.0 * np.pi * np.sqrt(area))
                count += 1
            density[n, p] = total / count if count else -np.inf


# (n,d),(n,d),(n),(f,p,d),(f,p,d)->(n,p)
@entry()
def density_at(x: Array, known: Array, frame: Index, expected: tuple[Array, Array], freedom: float, out: Array) -> None:
    """Logarithm of the density of peaks about what is expected where they are.

    The density is a bivariate t distribution.

    Parameters
    ----------
    x, known : ndarray, shape (N, 2)
        Coordinates, and the variance that they are known to.
    frame : ndarray of int, shape (N,)
        Frame of each peak.
    expected : tuple of ndarray, each of shape (F, P, 2)
        What is expected, NaN for nothing, and the variance of what is seen about it.
    freedom : float
        Degrees of freedom.
    out : ndarray, shape (N, P), out
        The densities; minus infinity where nothing is expected.
    """
    value, variance = expected
    for n in range(x.shape[0]):
        f = frame[n]
        for p in range(value.shape[1]):
            if np.isnan(value[f, p, 0]):
                out[n, p] = -np.inf
                continue
            square, area = 0.0, 1.0
            for d in range(2):
                of_both = known[n, d] + variance[f, p, d]
                square += (x[n, d] - value[f, p, d]) ** 2 / of_both
                area *= of_both
            out[n, p] = -0.5 * (freedom + 2.0) * np.log1p(square / freedom) - np.log(2.0 * np.pi * np.sqrt(area))
