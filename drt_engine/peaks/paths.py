"""Elements of the spectra of a series fitted together, so that each follows a smooth path along the state.

A small process beside a large one is hardly determined by one spectrum: many pairs of R and τ do. Its neighbours have
the same process, with nearly the same R, τ and shape. So ln R, ln τ and the shape of each part, and the series
elements, are expected to go on along the state as they go: their second differences e, over distances in units of the
median one, are taken as normal with a variance v for each parameter of each part,

    minimise Σ_k χ²_k(θ_k) / s² + Σ_qr e_rq² / v_q .

v and s² are found by the marginal likelihood in the approximation of Laplace (D. J. C. MacKay, Neural Comput. 4 (1992)
415): a difference counts for v as far as the data determine it. What the data do not tell keeps to v₀.
"""

import math
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from drt_engine.series import differences
from drt_engine.solvers.blocks import BlockMatrix
from drt_engine.threads import single_threaded_blas
from drt_kernels import deconvolution as kernels

__all__ = ["LEAST_STATES", "PathData", "PathFit", "fit_paths"]

Array = NDArray[np.float64]

LEAST_STATES = 5
"""Fewest spectra whose elements are fitted together: two second differences of three tell nothing about smoothness."""

_FREEDOM = 4.0
"""Degrees of freedom of Student's distribution, as the fits of single spectra have it."""

_INFORMATION = _FREEDOM / (_FREEDOM + 2.0)
"""Share of the weighted information that Student's distribution in two dimensions leaves on average (Lange et al.)."""

_EXPECTED = (0.01, 0.01, 0.002)
"""Second differences of ln R, ln τ and parameters of shape before the data are seen: √v₀."""

_EXPECTED_ELEMENT = 1e-3
"""The same for R_inf, L and 1/C, in their medians along the series."""

_PRIOR_COUNT = 1.0
"""How many differences that expectation counts."""

_FIRST = 10.0
"""√v begins this much larger, so that paths find their way before they are held."""

_LONGEST = 1.5
"""Largest change of ln v in a round."""

_ROUNDS, _STEPS, _LAST_STEPS, _SETTLED = 25, 3, 40, 0.02
"""Most rounds of finding v and s², steps in each and at the end, and the change of logarithms that ends them."""

_LEAST_SHARE = 0.1
"""Numbers of elements are tried that this share of the spectra alone have."""

_DOUBT = 1e-4
"""Chance of noise at which a spectrum that its neighbours fit so badly is left out, and the form of the elements is
rejected."""

_MOST_LEFT_OUT = 0.25
"""If more of a series is left out, its spectra have nothing in common."""

_NOISE_ROUNDS = 20
"""How often noise and weights of outliers are found from each other: without outliers the noise is then right to 1e-6,
and with a tenth of the points a hundred times as far off to 0.1 %. After five it is eight times too large there."""

_NOISIER = 4.0
"""If paths leave so many times the variance that most spectra leave alone, their spectra have nothing in common, and by
the noise of the paths that could not be seen."""

_LOOSER = 4.0
"""By how much v is larger where errors are found: it is not known exactly, and what changes changes in few places."""

_AS_GOOD = 10.0
"""Paths whose criterion is higher by less are nearly as probable: by a factor of e⁵ at most."""

_MEET = 1.5
"""Distance in ln τ below which two parts may have met: from the spectra alone it is often not seen that they cross."""

_RECENT = 6
"""How many states before one tell how its parts move."""

_FLAT = 3.0
"""Standard deviation of ln R and ln τ, and of shapes, that nothing else is known of."""


@dataclass(frozen=True, eq=False)
class PathData:
    """Spectra of a series, K rows in order.

    Attributes
    ----------
    x : ndarray, shape (F,)
        ln ω.
    z, weights : ndarray, shape (K, 2F)
        Real, then imaginary parts, and their weights, 0 where there are none.
    model : tuple
        Kind of the elements, and impedance of unit series elements, shape (E, 2F).
    bounds : tuple of ndarray, shape (P,)
        Lowest and highest parameters.
    each : int
        Parameters of an element.
    known : bool
        Whether weights are one over the standard deviation.
    robust : bool
        Whether outliers count less.
    """

    x: Array
    z: Array
    weights: Array
    model: tuple[int, Array]
    bounds: tuple[Array, Array]
    each: int
    known: bool
    robust: bool


@dataclass(frozen=True, eq=False)
class PathFit:
    """What was found for a series of K spectra.

    Attributes
    ----------
    parameters, errors : ndarray, shape (K, P)
        Series elements, then R, ln τ and shape of each part in the order of ln τ, and their standard deviations; NaN
        where one is at a bound.
    together : ndarray, shape (K, C, 2)
        Correlation of errors of R with that of the next part, and with that of its own ln τ.
    squares : ndarray, shape (K,)
        Weighted sum of squares.
    correlation : ndarray, shape (K,)
        Of residuals at neighbouring frequencies.
    converged : bool
        Whether a minimum was found.
    fitted : ndarray of bool, shape (K,)
        Which spectra are described; the others do not go with their neighbours.
    """

    parameters: Array
    errors: Array
    together: Array
    squares: Array
    correlation: Array
    converged: bool
    fitted: NDArray[np.bool_]


def fit_paths(data: PathData, position: Array, singles: tuple[Array, NDArray[np.int64]]) -> PathFit | None:
    """Fit the elements of a series together.

    Parameters
    ----------
    data : PathData
        Its spectra.
    position : ndarray, shape (K,)
        Where each stands, ascending, in steps of the median distance.
    singles : tuple
        Parameters of the spectra alone, shape (K, P), and how many each has, shape (K,).

    Returns
    -------
    PathFit or None
        None if the series has no elements in common.
    """
    series = len(data.model[1])
    count = (singles[1] - series) // data.each
    numbers, often = np.unique(count[count > 0], return_counts=True)
    tried = numbers[often >= max(_LEAST_SHARE * len(count), 1.0)]
    with single_threaded_blas():
        every = []
        for number in tried:
            start = [_linked(singles, int(number), series, data.each, position, going_on=on) for on in (False, True)]
            every += [_Paths(data, position, each) for each in (start[:1] if (start[0] == start[1]).all() else start)]
        for paths in every:
            paths.fit()
        if not every:
            return None
        # How many data are independent is told by the model that leaves the least structure.
        trust = max(paths.trust for paths in every)
        criterion = [paths.criterion(trust) for paths in every]
        for turned in every[int(np.argmin(criterion))].exchanged():
            every.append(_Paths(data, position, turned))
            every[-1].fit()
            criterion.append(every[-1].criterion(trust))
        best = int(np.argmin(criterion))
        found = every[best].without_misfits(singles)
        for paths, worse in zip(every, criterion - np.array(criterion[best]), strict=True):
            # Whether parts cross or bounce off each other is not told by such spectra.
            if found is not None and 0.0 < worse < _AS_GOOD and paths.theta.shape == found.parameters.shape:
                apart = paths.result(found.fitted).parameters - found.parameters
                found = replace(found, errors=np.hypot(found.errors, apart))
        return found


def _linked(
    singles: tuple[Array, NDArray[np.int64]], number: int, series: int, each: int, place: Array, *, going_on: bool
) -> Array:
    """Parameters to start from, with R as its logarithm, shape (K, P): from spectra with so many elements.

    Each part is the one that is nearest to where it was; or, `going_on`, to where it would be now: paths that cross
    then do so, where those of the others bounce off each other.
    """
    size = series + number * each
    # A quarter of the time that scipy takes to import, which most commands do without.
    from scipy.optimize import linear_sum_assignment

    rows = np.flatnonzero(singles[1] == size)
    theta = singles[0][rows, :size].copy()
    parts = theta[:, series:].reshape(len(rows), number, each)
    parts[:, :, 0] = np.log(parts[:, :, 0])
    for k in range(1, len(rows)):
        before = parts[max(k - _RECENT, 0) : k, :, :2]
        at = place[rows[max(k - _RECENT, 0) : k]]
        if going_on and len(before) >= 3:
            slope = np.median(np.diff(before, axis=0) / np.diff(at)[:, None, None], axis=0)
            before = before + slope * (place[rows[k]] - at)[:, None, None]
        expected = np.median(before[-3:], axis=0)
        cost = np.abs(parts[k, :, None, :2] - expected[None, :, :]) @ np.array([0.5, 1.0])
        parts[k] = parts[k][np.argsort(linear_sum_assignment(cost)[1])]
    # The median of three drops what one spectrum alone got wrong.
    smooth = theta.copy()
    if len(rows) >= 3:
        smooth[1:-1] = np.median([theta[:-2], theta[1:-1], theta[2:]], axis=0)
    return np.stack([np.interp(place, place[rows], column) for column in smooth.T], axis=1)


class _Paths:
    """Paths of a number of elements along a series, on their way to the solution."""

    def __init__(self, data: PathData, position: Array, start: Array) -> None:
        self.data, self.position = data, position
        self.theta, self.start = start.copy(), start
        states, size = start.shape
        self.series = len(data.model[1])
        self.logs = np.arange(self.series, size, data.each)
        self.state, self.coefficient = differences(position)
        self.reach = int((self.state.max(axis=1) - self.state[:, 0]).max())
        self.matrix = BlockMatrix(states, self.reach, size)
        self.low, self.high = (bound[:size].copy() for bound in data.bounds)
        self.low[self.logs], self.high[self.logs] = -np.inf, np.inf
        number = (size - self.series) // data.each
        unit = np.tile([*_EXPECTED[:2], *[_EXPECTED[2]] * (data.each - 2)], number)
        typical = np.abs(np.median(start[:, : self.series], axis=0))
        elements = _EXPECTED_ELEMENT * np.where(typical > 0.0, typical, np.abs(start[:, : self.series]).max(axis=0))
        # A series element that is zero throughout has no size of its own: that of its share of the impedance.
        share = np.abs(data.z).max() / np.abs(data.model[1]).max(axis=1)
        elements = np.where(elements > 0.0, elements, _EXPECTED_ELEMENT * share)
        self.expected = np.concatenate([elements, unit]) ** 2
        self.flat = np.concatenate([(elements / _EXPECTED_ELEMENT * 1e3), np.full(size - self.series, _FLAT)]) ** -2.0
        self.variance = self.expected * _FIRST**2
        self.used = np.count_nonzero(data.weights, axis=1)
        self.share = np.ones((states, data.x.size))
        self.scale, self.trust = 1.0, 1.0
        self.converged = False
        self.damping = 1e-3

    # ---- the objective

    def _outer(self, theta: Array) -> Array:
        out = theta.copy()
        out[:, self.logs] = np.exp(np.minimum(theta[:, self.logs], 600.0))
        return out

    def _evaluate(self, theta: Array) -> float:
        """Value of the objective; leaves residuals and their derivatives."""
        states, size = theta.shape
        outer = self._outer(theta)
        self.jac = np.zeros((states, size, self.data.z.shape[1]))
        self.residual = np.zeros_like(self.data.z)
        root = np.sqrt(np.tile(self.share, 2))
        for k in range(states):
            one = (self.data.x, self.data.z[k], self.data.weights[k] * root[k])
            kernels.evaluate(outer[k], self.data.model, one, self.jac[k], self.residual[k])
        self.jac[:, self.logs] *= outer[:, self.logs, None]
        self.e = self._second(theta)
        # Infinite far from anything measured: such a step is not taken.
        with np.errstate(over="ignore"):
            total = self._strength * float((self.residual**2).sum())
            total += float((self.e**2 / self.variance).sum()) + float((self.flat * (theta - self.start) ** 2).sum())
        return float(0.5 * total)

    def _second(self, theta: Array) -> Array:
        return np.asarray(np.einsum("rn,rnp->rp", self.coefficient, theta[self.state]))

    @property
    def _strength(self) -> float:
        """Reciprocal of the variance of the weighted data, by which their squares are multiplied."""
        return self.trust * self._information / self.scale

    @property
    def _information(self) -> float:
        return _INFORMATION if self.data.robust and not self.data.known else 1.0

    def _gradient(self) -> Array:
        out = self._strength * np.einsum("kpn,kn->kp", self.jac, self.residual) + self.flat * (self.theta - self.start)
        for n in range(3):
            np.add.at(out, self.state[:, n], self.coefficient[:, n, None] * self.e / self.variance)
        return np.asarray(out)

    def _build(self, damping: float) -> None:
        own, off, matrix = self.matrix.own, self.matrix.off, self.matrix
        own[:] = self._strength * np.matmul(self.jac, self.jac.transpose(0, 2, 1))
        off[:] = 0.0
        states, size = self.theta.shape
        diagonal, beside = np.tile(self.flat, (states, 1)), np.zeros((states, self.reach, size))
        firm = 1.0 / self.variance
        for n in range(3):
            np.add.at(diagonal, self.state[:, n], self.coefficient[:, n, None] ** 2 * firm)
            for m in range(n):
                at = self.state[:, m], self.state[:, n] - self.state[:, m] - 1
                np.add.at(beside, at, (self.coefficient[:, n] * self.coefficient[:, m])[:, None] * firm)
        every = np.arange(size)
        whole = own[:, every, every] + diagonal
        own[:, every, every] = whole * (1.0 + damping)
        matrix.off[:, :, every, every] = beside
        for k, p in np.argwhere(self.held):
            own[k, p], own[k, :, p] = 0.0, 0.0
            own[k, p, p] = 1.0
            off[k, :, p, p] = 0.0
            for d in range(min(self.reach, k)):
                off[k - 1 - d, d, p, p] = 0.0

    def _descend(self, limit: int) -> None:
        """Minimise within bounds by the method of Levenberg and Marquardt."""
        before = self._evaluate(self.theta)
        self.converged = False
        for _ in range(limit):
            gradient = self._gradient()
            at_low, at_high = self.theta <= self.low, self.theta >= self.high
            self.held = (at_low & (gradient > 0.0)) | (at_high & (gradient < 0.0))
            gradient = np.where(self.held, 0.0, gradient)
            moved = False
            for _ in range(12):
                self._build(self.damping)
                if self.matrix.factor():
                    step = -self.matrix.solve(gradient[None])[0]
                    step[:, self.series :] = step[:, self.series :].clip(-1.0, 1.0)
                    trial = np.clip(self.theta + step, self.low, self.high)
                    value = self._evaluate(trial)
                    if value <= before:
                        moved = True
                        break
                self.damping = min(self.damping * 8.0, 1e8)
            if not moved:
                self._evaluate(self.theta)
                self.converged = True
                return
            fall, before = before - value, value
            self.theta, self.damping = trial, max(self.damping * 0.2, 1e-9)
            if fall <= 1e-7 * (1.0 + abs(value)):
                self.converged = True
                return

    # ---- strengths and noise

    def fit(self) -> None:
        """Bring paths, their strengths and the noise into agreement."""
        self._take_noise()
        for _ in range(_ROUNDS):
            self._descend(_STEPS)
            self._find_covariance()
            moved = max(self._take_noise(), self._take_strengths())
            if moved <= _SETTLED:
                break
        self._descend(_LAST_STEPS)
        self._find_covariance()

    def _find_covariance(self) -> None:
        """Find covariances of each state and of its two neighbours together, with what is at a bound held.

        By orthogonal factors, with what is known of three states from those before them and from those after: paths
        that the data hardly tell have a condition of 1e7, of which the matrix has the square, and recursions for its
        inverse lose all digits.
        """
        gradient = self._gradient()
        self.held = ((self.theta <= self.low) & (gradient > 0.0)) | ((self.theta >= self.high) & (gradient < 0.0))
        states, size = self.theta.shape
        free = ~self.held
        # What is held has a row of its own, and so has what nothing else is known of.
        single = np.where(free, np.sqrt(self.flat), 1.0)[:, :, None] * np.eye(size)
        rows = math.sqrt(self._strength) * self.jac.transpose(0, 2, 1) * free[:, None, :]
        own = np.linalg.qr(np.concatenate([rows, single], axis=1), mode="r")
        number = len(self.coefficient)
        steps = self.coefficient[:, :, None] / np.sqrt(self.variance) * free[self.state]
        coupled = np.zeros((number, size, 3, size))
        every = np.arange(size)
        coupled[:, every, :, every] = steps.transpose(2, 0, 1)
        three = np.zeros((number, 8 * size, 3, size))
        three[:, : 3 * size] = np.einsum("nm,rnab->rnamb", np.eye(3), own[self.state]).reshape(number, -1, 3, size)
        three[:, 3 * size : 4 * size] = coupled
        before, after = slice(4 * size, 6 * size), slice(6 * size, 8 * size)
        for r in range(number - 1):
            three[r + 1, before, :2] = _passed_on(three[r, before, :2], own[r], coupled[r], last=False)
        for r in range(number - 1, 0, -1):
            three[r - 1, after, 1:] = _passed_on(three[r, after, 1:], own[r + 2], coupled[r], last=True)
        factor = np.linalg.qr(three.reshape(number, 8 * size, 3 * size), mode="r")
        inverse = np.linalg.inv(factor)
        found = (inverse @ inverse.transpose(0, 2, 1)).reshape(number, 3, size, 3, size)
        spread = np.einsum("rn,rnpmp,rm->rp", self.coefficient, found, self.coefficient)
        self.spread = np.where(free[self.state].any(axis=1), spread, 0.0)
        first = np.minimum(np.arange(states), number - 1)
        place = np.arange(states) - first
        self.covariance = found[first, place, :, place]
        self.covariance[np.broadcast_to(self.held[:, :, None] | self.held[:, None, :], self.covariance.shape)] = 0.0
        self.determined = np.einsum("knp,kpq,knq->k", rows, self.covariance, rows, optimize=True)

    def _take_noise(self) -> float:
        """Weights of outliers, size of the noise and correlation of the residuals; return how much that changes."""
        before = self.scale, self.trust
        if not hasattr(self, "determined"):
            self._evaluate_first()
        points = self.data.x.size
        raw = self.residual**2 / np.tile(np.maximum(self.share, 1e-12), 2)
        square = raw[:, :points] + raw[:, points:]
        here = self.data.weights[:, :points] > 0.0
        spare = max(float(self.used.sum() - np.sum(self.determined)), 1.0)
        if not self.data.known:
            self.scale = max(float((self.share * square).sum()) / spare, 1e-300)
        if self.data.robust:
            self.share = np.where(here, self._outlying(square / self.scale), 1.0)
        self.trust = self._trusted(self.residual)
        return max(abs(math.log(self.scale / before[0])), abs(math.log(self.trust / before[1])))

    def _outlying(self, square: Array) -> Array:
        """Weights of points with such squares of residuals, in variances of the noise."""
        away = _FREEDOM + square
        return np.maximum(np.minimum(20.0 / away, 1.0) if self.data.known else (_FREEDOM + 2.0) / away, 1e-9)

    @staticmethod
    def _trusted(residual: Array) -> float:
        """Share of the data that are independent, by the correlation of neighbouring residuals."""
        points = residual.shape[1] // 2
        products = sum(
            float((part[:, 1:] * part[:, :-1]).sum()) for part in (residual[:, :points], residual[:, points:])
        )
        rho = min(max(products / max(float((residual**2).sum()), 1e-300), 0.0), 0.9)
        return (1.0 - rho) / (1.0 + rho)

    def _evaluate_first(self) -> None:
        self.determined = np.full(len(self.theta), float(self.theta.shape[1]))
        self._evaluate(self.theta)

    def _take_strengths(self) -> float:
        """Find how large second differences are; return by how much the largest changes."""
        counts = (1.0 - self.spread / self.variance).clip(min=0.0).sum(axis=0)
        found = ((self.e**2).sum(axis=0) + _PRIOR_COUNT * self.expected) / (counts + _PRIOR_COUNT)
        change = np.log(found / self.variance).clip(-_LONGEST, _LONGEST)
        self.variance = self.variance * np.exp(change)
        return float(np.abs(change).max())

    def exchanged(self) -> list[Array]:
        """Parameters with two parts exchanged from where their τ are nearest on, for each two that come near there.

        Those that bounce off each other then cross, and those that cross bounce off each other.
        """
        out, each = [], self.data.each
        for one, other in combinations(self.logs, 2):
            apart = np.abs(self.theta[:, one + 1] - self.theta[:, other + 1])
            at = int(np.argmin(apart))
            if apart[at] < _MEET and 0 < at < len(apart) - 1:
                start = self.theta.copy()
                start[at:, one : one + each] = self.theta[at:, other : other + each]
                start[at:, other : other + each] = self.theta[at:, one : one + each]
                out.append(start)
        return out

    def criterion(self, trust: float) -> float:
        """Bayesian information criterion with as many parameters as the data determine; lower is better.

        Parameters
        ----------
        trust : float
            Share of the data that are independent.
        """
        points = self.data.x.size
        raw = self.residual**2 / np.tile(np.maximum(self.share, 1e-12), 2)
        square = (raw[:, :points] + raw[:, points:])[self.data.weights[:, :points] > 0.0]
        independent = trust * float(self.used.sum())
        if self.data.known:
            misfit = float(square.sum())
        elif self.data.robust:
            scale = max(self.scale, 1e-300)
            misfit = float(((_FREEDOM + 2.0) * np.log1p(square / (_FREEDOM * scale)) + 2.0 * math.log(scale)).sum())
        else:
            misfit = float(2.0 * square.size * math.log(max(float(square.mean()), 1e-300)))
        return trust * misfit + float(np.sum(self.determined)) * math.log(max(independent, 2.0))

    # ---- what comes of it

    def without_misfits(self, singles: tuple[Array, NDArray[np.int64]]) -> PathFit | None:
        """Leave out spectra that the paths do not describe as well as they are described alone."""
        limit = np.array([chdtri(max(size, 1.0), _DOUBT) for size in singles[1].astype(float)])
        alone = self._alone(singles)
        squares = (np.tile(self.share, 2) * alone**2).sum(axis=1)
        left = np.median((self.residual**2).sum(axis=1) / np.maximum(2 * self.used, 1))
        if left > _NOISIER * np.median(squares / np.maximum(2 * self.used - singles[1], 1)):
            return None
        fitted = self._excess(alone, singles[1]) <= limit
        if not fitted.all():
            if np.count_nonzero(~fitted) > _MOST_LEFT_OUT * len(fitted):
                return None
            self.data.weights[~fitted] = 0.0
            self.used = np.count_nonzero(self.data.weights, axis=1)
            alone[~fitted] = 0.0
            self.fit()
            fitted &= self._excess(alone, singles[1]) <= limit
        return self.result(fitted)

    def _alone(self, singles: tuple[Array, NDArray[np.int64]]) -> Array:
        """Weighted residuals that each spectrum has with its own elements, shape (K, 2F)."""
        alone = np.zeros_like(self.data.z)
        for k, size in enumerate(singles[1]):
            if size:
                one = self.data.x, self.data.z[k], self.data.weights[k]
                jac = np.empty((size, self.data.z.shape[1]))
                kernels.evaluate(singles[0][k, :size].copy(), self.data.model, one, jac, alone[k])
        return alone

    def _excess(self, alone: Array, sizes: NDArray[np.int64]) -> Array:
        """By how much the sum of squares of each spectrum is larger than alone, in what is expected of noise.

        Noise, its correlation and outliers are those that spectra have alone: where paths do not describe a spectrum,
        all of it is an outlier to them, and what they leave of it makes the noise look correlated.
        """
        points = self.data.x.size
        own = self.residual**2 / np.tile(np.maximum(self.share, 1e-12), 2)
        square = alone[:, :points] ** 2 + alone[:, points:] ** 2
        here, spare = self.data.weights[:, :points] > 0.0, max(float((self.used - sizes)[self.used > 0].sum()), 1.0)
        share, scale = np.ones_like(square), 1.0
        for _ in range(_NOISE_ROUNDS):
            if not self.data.known:
                scale = max(float((share * square)[here].sum()) / spare, 1e-300)
            if self.data.robust:
                share = self._outlying(square / scale)
        strength = self._trusted(alone * np.tile(np.sqrt(share), 2)) * self._information / scale
        return np.asarray(strength * (np.tile(share, 2) * (own - alone**2)).sum(axis=1))

    def _in_common(self, fitted: NDArray[np.bool_]) -> tuple[float, float]:
        """By how much residuals that all states have in common widen variances, and their correlation.

        Noise is another one in each state, and falls out of the mean. What is left if the form of the elements is not
        that of the processes does not: it is alike in all states, and far below the noise of each.
        """
        mean = self.residual[fitted].mean(axis=0)
        freedom = max(np.count_nonzero(mean) - self.theta.shape[1], 1)
        square = float(np.count_nonzero(fitted) * (mean**2).sum()) / self.scale
        if square <= chdtri(freedom, _DOUBT):
            return 1.0, 0.0
        rho = float(kernels.correlation(mean))
        return square / freedom * (1.0 + rho) / (1.0 - rho), rho

    def result(self, fitted: NDArray[np.bool_]) -> PathFit:
        """Order the parts of each state by ln τ, with errors of R in the unit of R."""
        self.variance = self.variance * _LOOSER
        self._find_covariance()
        states, size = self.theta.shape
        number = (size - self.series) // self.data.each
        parameters = self._outer(self.theta)
        wider, common = self._in_common(fitted)
        errors = math.sqrt(wider) * np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))
        errors[self.held] = np.nan
        errors[:, self.logs] *= parameters[:, self.logs]
        together = np.full((states, number, 2), np.nan)
        rho = np.full(states, common)
        for k in range(states):
            order = np.argsort(parameters[k, self.logs + 1], kind="stable")
            where = np.concatenate(
                [np.arange(self.series), (self.logs[order][:, None] + np.arange(self.data.each)).ravel()]
            )
            parameters[k], errors[k] = parameters[k, where], errors[k, where]
            own = self.covariance[k][np.ix_(where, where)]
            deviation = np.sqrt(np.diag(own))
            with np.errstate(invalid="ignore", divide="ignore"):
                own = own / np.outer(deviation, deviation)
            together[k, :-1, 0] = own[self.logs[:-1], self.logs[1:]]
            together[k, :, 1] = own[self.logs, self.logs + 1]
            rho[k] = max(common, kernels.correlation(self.residual[k]))
        squares = (self.residual**2).sum(axis=1)
        return PathFit(parameters, errors, together, squares, rho, self.converged, fitted)


def _passed_on(known: Array, own: Array, coupled: Array, *, last: bool) -> Array:
    """Return what is known of two states of three by way of the first, or of the last one: rows, shape (2 P, 2, P).

    Parameters
    ----------
    known : ndarray, shape (2 P, 2, P)
        Rows of that state and of the middle one, in order.
    own : ndarray, shape (P, P)
        Rows of that state alone.
    coupled : ndarray, shape (P, 3, P)
        Rows of all three.
    last : bool
        Whether it is the last one.
    """
    size = len(own)
    rows = np.zeros((4 * size, 3, size))
    first = 1 if last else 0
    rows[: 2 * size, first : first + 2] = known
    rows[2 * size : 3 * size, 2 if last else 0] = own
    rows[3 * size :] = coupled
    # The one that goes comes first.
    order = [2, 0, 1] if last else [0, 1, 2]
    factor = np.asarray(np.linalg.qr(rows[:, order].reshape(4 * size, 3 * size), mode="r"))
    return np.asarray(factor[size:, size:].reshape(2 * size, 2, size))
