"""The linear Kramers-Kronig test of many spectra at once, by normal equations in blocks of 64 spectra.

Normal equations square the condition of a problem, so what they give is checked: where a column of the model keeps less
than 1e-10 of its square beside the others, the spectrum is solved by orthogonalisation instead. With noise, μ stops the
search long before that. The solution that is kept is refined once by its residual, which makes it as good as one by
orthogonalisation (Å. Björck, Linear Algebra Appl. 88/89 (1987) 31).

The normal matrices of a complex fit need no sum over the frequencies for each entry: see
:attr:`~drt_engine.validation.rc_model.RCModel.combination`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drt_engine.validation.rc_model import RCModel
from drt_engine.validation.significance import LEAST_LEFT, Trials
from drt_kernels import kramers_kronig as kernels
from drt_kernels import violations

__all__ = ["Fit", "Weighted", "choose_elements", "fit", "residuals"]

Array = NDArray[np.float64]
RCModels = Callable[[int], RCModel]

_BATCH = 64  # spectra side by side in arrays, a multiple of what a vector register holds
_TRUSTED = 1e-10  # smallest pivot of the normal equations, over its diagonal, with which they are exact enough
_TURNS = 2  # of finding the shape of the noise and fitting with its weights
_SHAPES = 8  # ratios of the two terms of the noise that are tried


@dataclass(frozen=True, eq=False)
class Weighted:
    """Spectra ready to be fitted.

    Attributes
    ----------
    data : ndarray, shape (K, 2F)
        Real, then imaginary parts, divided by the smallest modulus of the spectrum.
    weights : ndarray, shape (K, F)
        One over the modulus of that, or what the data are multiplied by instead.
    """

    data: Array
    weights: Array

    @classmethod
    def of(cls, values: NDArray[np.complex128]) -> "Weighted":
        """Prepare impedances or admittances, shape (K, F)."""
        scaled = values / np.abs(values).min(axis=1, keepdims=True)
        return cls(np.hstack([scaled.real, scaled.imag]), 1.0 / np.abs(scaled))

    def over(self, noise: Array) -> "Weighted":
        """Divide the weights by a noise relative to the modulus, shape (K, F)."""
        return Weighted(self.data, self.weights / noise)

    @property
    def unweighted(self) -> "Weighted":
        """The same data with weights of one."""
        return Weighted(self.data, np.ones_like(self.weights))

    def __getitem__(self, rows: NDArray[np.intp]) -> "Weighted":
        """Return the chosen spectra."""
        return Weighted(self.data[rows], self.weights[rows])

    def relative(self, values: Array) -> Array:
        """Multiply real and imaginary parts, shape (K, 2F), by the weights."""
        return values * np.tile(self.weights, 2)


@dataclass(frozen=True, eq=False)
class Fit:
    """Complex least squares of spectra with the same number of elements, and the statistics of what is left.

    Attributes
    ----------
    residual : ndarray, shape (K, 2F)
        Relative residual, real parts before imaginary ones.
    squares : ndarray, shape (K,)
        Its sum of squares.
    point : ndarray, shape (K,)
        By how much the sum falls without the two parts of that point for which it falls most.
    drift, drift_square : ndarray, shape (K, 3)
        Coefficient of each kind of drift and the square of what the model leaves of its column.
    smooth : ndarray, shape (K,)
        By how much the sum falls with the smooth trial columns.
    rank : ndarray of int, shape (K,)
        How many of these the data can tell from the model.
    trusted : ndarray of bool, shape (K,)
        Whether the rest holds; false where the normal equations lose too many digits.
    """

    residual: Array
    squares: Array
    point: Array
    drift: Array
    drift_square: Array
    smooth: Array
    rank: NDArray[np.int64]
    trusted: NDArray[np.bool_]


def choose_elements(
    spectra: Weighted, rc_models: RCModels, threshold: float, fewest: int, most: int
) -> tuple[NDArray[np.int64], Array]:
    """Find the smallest number of elements, from `fewest`, for which μ is not above the threshold.

    Parameters
    ----------
    spectra : Weighted
        K spectra.
    rc_models : callable
        Returns the model with M elements.
    threshold : float
        c of Schönleber et al.
    fewest, most : int
        First and last M. If μ is above the threshold throughout, it is the last.

    Returns
    -------
    elements : ndarray of int, shape (K,)
        M.
    mu : ndarray, shape (K,)
        μ of the fit with M elements.
    """
    rows = len(spectra.data)
    elements, mu = np.zeros(rows, dtype=np.int64), np.full(rows, np.nan)
    squares = spectra.weights**2
    work = _Work.of(np.arange(rows), squares, spectra.data * np.tile(squares, 2))
    for count in range(fewest, most + 1):
        found, trusted = work.solve(rc_models(count))
        stops = work.open & trusted & ((found <= threshold) | (count == most))
        elements[work.rows[stops]], mu[work.rows[stops]] = count, found[stops]
        for row in work.rows[work.open & ~trusted]:
            elements[row], mu[row] = _choose_densely(spectra, row, rc_models, threshold, range(count, most + 1))
        work.open &= trusted & ~stops
        if not work.open.any():
            break
        work = work.compact()
    return elements, mu


@dataclass(eq=False)
class _Work:
    """Spectra in blocks: row numbers and whether they are open, both (B · 64,), and weighted data."""

    rows: NDArray[np.intp]
    open: NDArray[np.bool_]
    squares: Array
    data: Array

    @classmethod
    def of(cls, rows: NDArray[np.intp], squares: Array, data: Array) -> "_Work":
        spare = -rows.size % _BATCH
        filled = np.concatenate([np.arange(rows.size), np.zeros(spare, dtype=np.intp)])
        is_open = np.arange(filled.size) < rows.size
        return cls(rows[filled], is_open, pack(squares), pack(data))

    def compact(self) -> "_Work":
        """Leave out what is done, once that is half of it."""
        kept = np.flatnonzero(self.open)
        if 2 * kept.size > self.open.size or self.open.size == _BATCH:
            return self
        return _Work.of(self.rows[kept], unpack(self.squares)[kept], unpack(self.data)[kept])

    def solve(self, rc_model: RCModel) -> tuple[Array, NDArray[np.bool_]]:
        """μ of the fit, and whether it can be trusted, both (B · 64,)."""
        x = np.matmul(rc_model.fitted, self.data)
        mu, weakest = np.empty((2, len(x), _BATCH))
        kernels.try_elements(
            np.matmul(rc_model.sums, self.squares), rc_model.combination, rc_model.mass, x, mu, weakest
        )
        return mu.ravel(), (weakest > _TRUSTED).ravel()


def _refined(rc_model: RCModel, weights: Array, data: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Residuals of blocks, in the unit of the data, their Cholesky factors, and whether both can be trusted."""
    factor, weakest = np.empty((len(data), rc_model.combination[0].size, _BATCH)), np.empty((len(data), _BATCH))
    kernels.factorise(np.matmul(rc_model.sums, weights**2), rc_model.combination, factor, weakest)
    squares = np.concatenate([weights**2, weights**2], axis=1)
    columns = np.ascontiguousarray(rc_model.rows[rc_model.shown].T)
    left = data
    x = np.zeros((len(data), len(rc_model.fitted), _BATCH))
    for _ in range(2):
        step = np.matmul(rc_model.fitted, left * squares)
        kernels.solve_normal_equations(factor, step)
        x += step
        left = data - np.matmul(columns, x)
    return left, factor, (weakest > _TRUSTED).ravel()


def residuals(spectra: Weighted, rc_model: RCModel) -> Array:
    """Return what the model leaves of the data; what its part does not show is fitted to the other one afterwards.

    Parameters
    ----------
    spectra : Weighted
        K spectra.
    rc_model : RCModel
        The model.

    Returns
    -------
    ndarray, shape (K, 2F)
        In the unit of :attr:`Weighted.data`.
    """
    blocks, _, trusted = _refined(rc_model, pack(spectra.weights), pack(spectra.data))
    left = unpack(blocks)[: len(spectra.data)]
    for row in np.flatnonzero(~trusted[: len(left)]).tolist():
        left[row] = spectra.data[row] - _solve_densely(spectra, row, rc_model) @ rc_model.rows[rc_model.shown]
    unseen = np.delete(rc_model.rows, rc_model.shown, axis=0)
    if not unseen.size:
        return left
    columns = unseen * np.tile(spectra.weights, 2)[:, None]
    scale = np.sqrt(np.sum(columns**2, axis=2))
    columns /= scale[:, :, None]
    normal = np.sum(columns[:, :, None] * columns[:, None], axis=3)
    right = np.sum(columns * spectra.relative(left)[:, None], axis=2)
    solution = np.linalg.solve(normal, right[..., None])[..., 0] / scale
    return np.asarray(left - np.sum(solution[:, :, None] * unseen, axis=1))


def noise_of(spectra: Weighted, rc_model: RCModel, near: Array, floor: float) -> tuple[Array, Array]:
    """Estimate α and β of the noise σ²/|Z|² ∝ α + β min|Z|²/|Z|² of each spectrum from what the model leaves.

    Parameters
    ----------
    spectra : Weighted
        K spectra, with weights that are one over the modulus.
    rc_model : RCModel
        The model, of a complex fit.
    near : ndarray, shape (K, F)
        min|Z|²/|Z|².
    floor : float
        b² is no less than this: the relative variance below which a residual is rounding.

    Returns
    -------
    shape : ndarray, shape (K, 2)
        α and β; α is 0 or 1.
    residual : ndarray, shape (K, 2F)
        What the model leaves with the given weights, relative to |Z|.
    """
    rows, points = near.shape
    weights, data, inner = pack(spectra.weights), pack(spectra.data), pack(near)
    out = np.empty((len(data), 2, _BATCH))
    used, first = weights, data
    for turn in range(_TURNS):
        left, _, _ = _refined(rc_model, used, data)
        relative = left * np.concatenate([weights, weights], axis=1)
        first = relative if turn == 0 else first
        squares = (relative[:, :points] ** 2 + relative[:, points:] ** 2) / rc_model.freedom[:, None] + 0.02 * floor
        kernels.noise_shape(squares, inner, _SHAPES, floor, out)
        used = weights / np.sqrt(out[:, :1] + out[:, 1:] * inner)
    return unpack(out)[:rows], unpack(first)[:rows]


def fit(spectra: Weighted, rc_model: RCModel, trials: Trials) -> Fit:
    """Fit spectra and hold what is left against the trial columns.

    With r the residual, S = I − H what a fit leaves of any column, and B a set of columns, the sum of squares falls by
    rᵀB (BᵀSB)⁻¹ Bᵀr when they join the model.

    Parameters
    ----------
    spectra : Weighted
        K spectra, with weights that are one over the noise.
    rc_model : RCModel
        The model, of a complex fit.
    trials : Trials
        Courses of drift and of smooth misfit.

    Returns
    -------
    Fit
    """
    rows = len(spectra.data)
    weights, data = pack(spectra.weights), pack(spectra.data)
    left, factor, trusted = _refined(rc_model, weights, data)
    twice = np.concatenate([weights, weights], axis=1)
    residual = left * twice
    points = rc_model.omega.size
    sizes = np.hypot(data[:, :points], data[:, points:]) * weights
    direction = _direction(data * twice - residual) * np.concatenate([sizes, sizes], axis=1)
    drift, drift_square, smooth, rank = _trial_columns(rc_model, trials, factor, twice, direction, residual)
    return Fit(
        residual=unpack(residual)[:rows],
        squares=np.sum(residual**2, axis=1).ravel()[:rows],
        point=_largest_point(rc_model, factor, weights, residual)[:rows],
        drift=drift[:rows],
        drift_square=drift_square[:rows],
        smooth=smooth[:rows],
        rank=rank[:rows],
        trusted=trusted[:rows],
    )


def _largest_point(rc_model: RCModel, factor: Array, weights: Array, residual: Array) -> Array:
    inverse = np.empty_like(factor)
    kernels.invert(factor, inverse)
    largest = np.empty((len(factor), _BATCH))
    kernels.largest_point(np.matmul(rc_model.leverage, inverse), weights, residual, violations.POSED, largest)
    return largest.ravel()


def _direction(relative: Array) -> Array:
    """Divide real and imaginary parts, shape (B, 2F, 64), by the modulus."""
    points = relative.shape[1] // 2
    size = np.hypot(relative[:, :points], relative[:, points:])
    return np.asarray(relative / np.concatenate([size, size], axis=1))


def _trial_columns(
    rc_model: RCModel, trials: Trials, factor: Array, twice: Array, direction: Array, residual: Array
) -> tuple[Array, Array, Array, NDArray[np.int64]]:
    """Drift, the squares of its columns, and what smooth columns gain; `direction` is Z of the fit over the noise."""
    points = rc_model.omega.size
    turned = np.concatenate([-direction[:, points:], direction[:, :points]], axis=1)
    modulus, phase = np.tile(trials.courses, 2), np.tile(trials.curves, 2)
    inner = [np.matmul(course, way * residual) for course, way in ((modulus, direction), (phase, turned))]
    columns = [
        np.matmul((course[:, None] * rc_model.rows).reshape(-1, 2 * points), way * twice).reshape(
            len(residual), len(course), len(rc_model.rows), _BATCH
        )
        for course, way in ((modulus, direction), (phase, turned))
    ]
    together = np.ascontiguousarray(np.concatenate(columns, axis=1))
    kernels.forward(factor, together)
    count = together.shape[1]
    i, j = np.tril_indices(count)
    explained = np.empty((len(residual), i.size, _BATCH))
    kernels.products(together, explained)
    own = np.matmul(trials.pairs[i, j], direction[:, :points] ** 2 + direction[:, points:] ** 2)
    normal = own - explained
    right = unpack(np.concatenate(inner, axis=1))
    kinds = np.arange(violations.DRIFTS)
    diagonal = unpack(normal[:, kinds * (kinds + 3) // 2])
    squares = unpack(own[:, np.arange(count) * (np.arange(count) + 3) // 2])
    posed = diagonal > LEAST_LEFT * squares[:, kinds]
    drift = np.divide(right[:, kinds], diagonal, out=np.zeros_like(diagonal), where=posed)
    smooth = np.flatnonzero(j >= violations.DRIFTS)
    gained, rank = np.empty(len(right)), np.empty(len(right), dtype=np.int64)
    kernels.gain(
        unpack(normal[:, smooth]),
        np.ascontiguousarray(right[:, violations.DRIFTS :]),
        np.ascontiguousarray(squares[:, violations.DRIFTS :]),
        LEAST_LEFT,
        gained,
        rank,
    )
    return drift, np.where(posed, diagonal, 0.0), gained, rank


def _choose_densely(
    spectra: Weighted, row: int, rc_models: RCModels, threshold: float, counts: range
) -> tuple[int, float]:
    """Go on with one spectrum by orthogonalisation; M and μ."""
    mu = np.nan
    for count in counts:
        terms = rc_models(count).mass * _solve_densely(spectra, row, rc_models(count))
        plus = float(terms[terms > 0.0].sum())
        mu = 1.0 + float(terms[terms < 0.0].sum()) / plus if plus > 0.0 else -np.inf
        if mu <= threshold:
            return count, mu
    return counts[-1], mu


def _solve_densely(spectra: Weighted, row: int, rc_model: RCModel) -> Array:
    """Coefficients of one spectrum by orthogonalisation."""
    weights = np.tile(spectra.weights[row], 2)
    columns = rc_model.fitted * weights
    norms = np.sqrt(np.sum(columns**2, axis=1))
    shown = spectra.data[row] * weights
    points = rc_model.omega.size
    if rc_model.model.part != "complex":
        shown[slice(points, None) if rc_model.model.part == "re" else slice(points)] = 0.0
    x = np.empty(len(columns))
    violations.solve_dense(columns / norms[:, None], shown, x)
    return np.asarray(x / norms)


def pack(rows: Array) -> Array:
    """Put rows, shape (K, n), into blocks of 64, shape (B, n, 64); the first row fills up the last block."""
    spare = -len(rows) % _BATCH
    filled = np.concatenate([rows, np.repeat(rows[:1], spare, axis=0)]) if spare else rows
    return np.ascontiguousarray(filled.reshape(-1, _BATCH, rows.shape[1]).transpose(0, 2, 1))


def unpack(blocks: Array) -> Array:
    """Put blocks, shape (B, n, 64), back into rows, shape (B · 64, n)."""
    return np.ascontiguousarray(blocks.transpose(0, 2, 1)).reshape(-1, blocks.shape[1])
