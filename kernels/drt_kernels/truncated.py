"""Normal distributions cut off at zero in every dimension: mean and covariance by expectation propagation.

Axes in the comments: k = spectra, i, j = unknowns.
"""

import math

import numpy as np
from numpy.typing import NDArray

from drt_kernels.compiling import entry, inner

Array = NDArray[np.float64]

# Up to 30 were needed for posteriors of distributions with λ from 1e-6 to 1 and noise from 1e-5 to 1e-2 of the data.
_SWEEPS = 60
# Change of a mean, in standard deviations, and relative change of a variance that end the sweeps: with 1e-5, ends of
# intervals move by 1e-7.
_SETTLED = 1e-6
# Deviations below zero from which on an expansion leaves 1e-5 of the mean; what it replaces, erfc, vanishes at 38.
_FAR = -30.0
# Of the normal distribution.
_ROOT_TWO, _TWO_PI = math.sqrt(2.0), 2.0 * math.pi
# Share of its diagonal that is added to a matrix whose columns agree to rounding where λ is small.
_RIDGE = 1e-12
# Share of the data that parameters use up, at most: what is left tells the noise, and may not vanish.
_MOST_FREEDOM = 0.9
# Of data that are divided by their size: simulated data may have no noise, and intervals then have about the width of
# rounding.
_LEAST_VARIANCE = 1e-14


@entry()
def _cut(mean: float, deviation: float) -> tuple[float, float]:
    """Mean and variance of a normal distribution that is cut off below zero.

    N. L. Johnson, S. Kotz, N. Balakrishnan, Continuous Univariate Distributions 1 (1994) 156.
    """
    z = mean / deviation
    if z < _FAR:
        # An exponential distribution, to the order that is left.
        share = 1.0 / (z * z)
        return -deviation / z * (1.0 - 2.0 * share), deviation * deviation * share * (1.0 - 6.0 * share)
    ratio = math.exp(-0.5 * z * z) / math.sqrt(_TWO_PI) / (0.5 * math.erfc(-z / _ROOT_TWO))
    return mean + deviation * ratio, deviation * deviation * (1.0 - ratio * (ratio + z))


@inner()
def _factorise(matrix: Array) -> bool:
    """Turn the lower half of a matrix into its Cholesky factor; false if it is not positive definite."""
    size = matrix.shape[0]
    for i in range(size):
        for j in range(i + 1):
            s = matrix[i, j]
            for p in range(j):
                s -= matrix[i, p] * matrix[j, p]
            if i > j:
                matrix[i, j] = s / matrix[j, j]
            elif s > 0.0:
                matrix[i, i] = math.sqrt(s)
            else:
                return False
    return True


@inner()
def _invert(factor: Array, out: Array) -> None:
    """Inverse of a matrix by its Cholesky factor, which is lost."""
    size = factor.shape[0]
    for i in range(size):
        factor[i, i] = 1.0 / factor[i, i]
        for j in range(i):
            s = 0.0
            for p in range(j, i):
                s += factor[i, p] * factor[p, j]
            factor[i, j] = -s * factor[i, i]
    for i in range(size):
        for j in range(i + 1):
            s = 0.0
            for p in range(i, size):
                s += factor[p, i] * factor[p, j]
            out[i, j] = s
            out[j, i] = s


@inner()
def _combine(precision: Array, shift: Array, sites: Array, work: Array, mean: Array, covariance: Array) -> bool:
    """Mean and covariance with the sites, whose precisions and shifts are the rows of `sites`; false if that fails."""
    size = precision.shape[0]
    for i in range(size):
        for j in range(i + 1):
            work[i, j] = precision[i, j]
        work[i, i] += sites[0, i]
    if not _factorise(work):
        return False
    _invert(work, covariance)
    for i in range(size):
        s = 0.0
        for j in range(size):
            s += covariance[i, j] * (shift[j] + sites[1, j])
        mean[i] = s
    return True


@inner()
def _refresh(i: int, sites: Array, mean: Array, covariance: Array, column: Array) -> float:
    """Bring the site of a dimension into agreement with its cut distribution; return by how much it moved."""
    variance = covariance[i, i]
    left = 1.0 / variance - sites[0, i]
    if not left > 0.0:
        return 0.0
    deviation = 1.0 / math.sqrt(left)
    centre = (mean[i] / variance - sites[1, i]) / left
    cut_mean, cut_variance = _cut(centre, deviation)
    precision = max(1.0 / cut_variance - left, 0.0)
    shift = cut_mean / cut_variance - centre * left
    gain, push = precision - sites[0, i], shift - sites[1, i]
    moved: float = max(abs(cut_mean - mean[i]) / math.sqrt(variance), abs(cut_variance / variance - 1.0))
    sites[0, i] += gain
    sites[1, i] += push
    # The inverse after a change of one entry of the diagonal, by Sherman and Morrison.
    size = mean.size
    share = 1.0 / (1.0 + gain * variance)
    step = (push - gain * mean[i]) * share
    for j in range(size):
        column[j] = covariance[j, i]
        mean[j] += step * column[j]
    for j in range(size):
        scaled = gain * share * column[j]
        for p in range(size):
            covariance[j, p] -= scaled * column[p]
    return moved


@entry()
def cut_off(precision: Array, shift: Array, scale: Array, mean: Array, covariance: Array) -> float:
    """Mean and covariance of exp(−½xᵀPx + hᵀx) on x ≥ 0; return by how much the last sweep moved them.

    Expectation propagation, J. P. Cunningham, P. Hennig, S. Lacoste-Julien, arXiv:1111.6832: each constraint is taken
    for a normal factor that gives the distribution with it, and all others as they are, the right mean and variance.
    `scale` is about how large x is; the solution does not depend on it. NaN if the matrices are not positive definite.
    """
    # (i,j),(i),(i)->(i),(i,j)
    size = shift.size
    sites, work = np.zeros((2, size)), np.empty((size, size))
    for i in range(size):
        sites[0, i] = 1.0 / scale[i] ** 2
    moved = 0.0
    for _ in range(_SWEEPS):
        # From the beginning again in each sweep, so that rounding errors of the changes do not add up.
        if not _combine(precision, shift, sites, work, mean, covariance):
            covariance[:, :] = math.nan
            mean[:] = math.nan
            return math.nan
        moved = 0.0
        for i in range(size):
            moved = max(moved, _refresh(i, sites, mean, covariance, work[0]))
        if moved < _SETTLED:
            break
    return moved


@inner()
def _freedom(gram: Array, hessian: Array, x: Array, work: Array, inverse: Array) -> float:
    """Effective number of parameters of the unknowns that are not zero, tr(H⁻¹AᵀA)."""
    passive = np.flatnonzero(x > 0.0)
    size = passive.size
    part, inverted = work[:size, :size], inverse[:size, :size]
    for i in range(size):
        for j in range(i + 1):
            part[i, j] = hessian[passive[i], passive[j]]
        part[i, i] *= 1.0 + _RIDGE
    if not _factorise(part):
        return float(size)
    _invert(part, inverted)
    total = 0.0
    for i in range(size):
        for j in range(size):
            total += inverted[i, j] * gram[passive[i], passive[j]]
    return total


@entry()
def posteriors(
    matrices: tuple[Array, Array],
    rows: tuple[Array, Array, Array, Array],
    data: float,
    mean: Array,
    covariance: Array,
    variance: Array,
) -> None:
    """Mean and covariance of exp(−(|Ax − b|² + λ xᵀMx) / 2s²) on x ≥ 0, and s² by the residual of the solutions x.

    `matrices` are AᵀA and M, `rows` are Aᵀb, |Ax − b|², x and λ, and `data` is how many data there are.
    """
    # (i,j),(i,j),(k,j),(k),(k,j),(k),()->(k,j),(k,i,j),(k)
    gram, penalty = matrices
    projected, misfit, x, lam = rows
    size = penalty.shape[0]
    hessian, precision = np.empty((size, size)), np.empty((size, size))
    work, inverse = np.empty((size, size)), np.empty((size, size))
    shift, scale = np.empty(size), np.empty(size)
    for k in range(x.shape[0]):
        for i in range(size):
            for j in range(size):
                hessian[i, j] = gram[i, j] + lam[k] * penalty[i, j]
        freedom = min(_freedom(gram, hessian, x[k], work, inverse), _MOST_FREEDOM * data)
        variance[k] = max(misfit[k] / (data - freedom), _LEAST_VARIANCE)
        largest = 0.0
        for j in range(size):
            largest = max(largest, x[k, j])
        for i in range(size):
            shift[i] = projected[k, i] / variance[k]
            scale[i] = max(x[k, i], 1e-2 * largest)
            for j in range(size):
                precision[i, j] = hessian[i, j] / variance[k]
        cut_off(precision, shift, scale, mean[k], covariance[k])
