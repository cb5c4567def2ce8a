"""A series of spectra under one prior: ln γ changes along it as little and as smoothly as the data allow."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from drt_engine.methods.base import Solution
from drt_engine.methods.log_gaussian_prepared import PreparedLogGaussian, rounded
from drt_engine.model.problem import Parameters
from drt_engine.uncertainty.posterior import LogPosterior
from drt_kernels import series

__all__ = ["JointSolution", "SeparateSolutions", "SeriesHyperparameters", "SeriesProblem", "solve_series"]

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

_START = 300.0
"""Strength of the coupling that the search begins with: that of the simulated campaigns within a factor of five."""

_LEAST, _MOST = 1e-2, 3e3
"""Smallest strength, at which states are as good as independent, and largest: straight lines between relaxation times
are not right to less than the changes of the slope of ln γ that it allows, 0.02, and a jump would cost too much."""

_SHIFT, _LEAST_SHIFT, _SHIFT_WEIGHT = 0.03, 1e-4, 0.02
"""How far processes move in ln τ from state to state before the data are seen; the least; and the weight of that as a
normal distribution of the logarithm of its square has it."""

_FIRST_SHIFT = 0.6
"""The shift that the search begins with: large, so that what moves is not held back before it is seen to move."""

_FAR, _CAUTION = 0.2, 2.0
"""Processes may move farther than they are seen to, by (s / `_FAR`)² of it but at most `_CAUTION` times. What holds
back each step by no more than is usual holds back a long way in one direction by too much: with s itself, processes
that cross within 24 states had an error of 0.101, and 0.082 alone; with three times s, slow series lost a half."""

_REACH = 2
"""Relaxation times beside an interval whose bends may pass over it when processes move; with four or six, a crossing of
two processes and a series over 80 K came out worse."""

_ROUNDS, _SETTLED, _LONGEST = 10, 0.1, 1.5
"""Most rounds of bringing hyperparameters and solution into agreement; change of their logarithms that ends them; and
largest change in a round."""

_COARSE, _COARSE_STEPS, _EXACT, _EXACT_STEPS = 0.1, 30, 1e-10, 200
"""How exact the solution is, in posterior standard deviations, and after how many steps one gives up: while
hyperparameters are looked for, and in the end."""

_GRAIN = 2.0**-10
"""Logarithms of hyperparameters are rounded to multiples of this, so that how they were found leaves no trace."""

_EIGENVALUES = 128
"""Eigenvalues of the differences along a series are sampled where there are more than these."""

_STEP = 0.05
"""Of the logarithm of a strength, for the derivative of a determinant."""

_LOOSE = 1e-6
"""Precision of the common factor of γ, which the prior leaves open."""

_LAMBDA_DEVIATION = 1.6
"""Standard deviation of ln λ that intervals allow for, as those of single spectra do."""

_COUPLING_DEVIATION = 1.6
"""Standard deviation of ln κ that intervals allow for."""

_PASSES = 3
"""Rounds of finding how well bends and changes are known."""

_OWN_SHARE = 0.5
"""What share of the single priors counts in a series, where neighbours expect much the same: with all of it the median
error on slow series is a tenth higher, with less than a third that on series whose processes cross is."""

_OPPOSITE, _HIGH, _HIGHER = 0.9, 3.0, 4.0
"""How alike, but for their sign, neighbouring differences are at a break, and how large both are at least: the sum over
relaxation times of ln(1 + q), itself and in its median. It is 7 in both where a resistance doubles, and between smooth
states the likeness is below 0.7."""

_SHARINGS = 8
"""Rounds of finding what share of the single priors counts."""

_SCALINGS = 20
"""Steps of finding components of a variance."""


class SeriesHyperparameters(NamedTuple):
    """Hyperparameters of a series.

    Attributes
    ----------
    noise : ndarray, shape (2,)
        Variance of the noise, its constant part and that in proportion to |Z|², as the kernel has them.
    lam : float
        λ.
    strength : float
        κ, how strongly neighbouring states are held together.
    shift : float
        s, how far processes move in ln τ from state to state.
    """

    noise: Array
    lam: float
    strength: float
    shift: float


@dataclass(frozen=True, eq=False)
class JointSolution(Solution):
    """What was found for a series of K spectra; see :class:`Solution`.

    Attributes
    ----------
    coupling, shift : ndarray, shape (K,)
        κ and s, the same in all rows of a series.
    """

    coupling: Array = field(kw_only=True)
    shift: Array = field(kw_only=True)


class SeparateSolutions(NamedTuple):
    """What was found for the K spectra of a series alone.

    Attributes
    ----------
    parameters : Parameters
        The solutions.
    regularisation : ndarray, shape (K,)
        λ.
    noise_floor, noise_relative : ndarray, shape (K,)
        a, ohm, and b of the noise; NaN where it is given by frequency.
    """

    parameters: Parameters
    regularisation: Array
    noise_floor: Array
    noise_relative: Array


def solve_series(
    prepared: PreparedLogGaussian,
    impedance: ComplexArray,
    position: Array,
    start: SeparateSolutions,
    regularisation: float | None,
) -> tuple[JointSolution, NDArray[np.bool_]]:
    """Invert a series together.

    Parameters
    ----------
    prepared : PreparedLogGaussian
        What single spectra on the grid share.
    impedance : ndarray of complex, shape (K, F)
        Impedances, ohm, in order; NaN where there is none.
    position : ndarray, shape (K,)
        Where each stands along the series.
    start : SeparateSolutions
        What was found for the spectra alone.
    regularisation : float or None
        λ, or None for the geometric mean of those of the spectra alone.

    Returns
    -------
    solution : JointSolution
        That of the series.
    breaks : ndarray of bool, shape (K,)
        Before which spectra the series breaks.
    """
    problem = SeriesProblem(prepared, impedance, position)
    lam = float(np.exp(np.log(start.regularisation).mean())) if regularisation is None else regularisation
    found, residual = problem.solve(start, lam)
    rows = len(impedance)
    size, x = np.full(rows, problem.size), problem.values()
    parameters = prepared.problem.parameters(x, np.nan_to_num(impedance), size)
    fit = prepared.problem.impedance(parameters, prepared.problem.fitted(x), size)
    noise = prepared.deviations(np.tile(found.noise, (rows, 1)), size)
    no = np.zeros(rows, dtype=bool)
    solution = JointSolution(
        *(parameters, fit, np.full(rows, found.lam), np.full(rows, residual), no, no.copy(), *noise),
        coupling=np.full(rows, found.strength),
        shift=np.full(rows, found.shift),
    )
    return solution, problem.breaks


@dataclass(frozen=True, eq=False)
class _Known:
    """How well everything is known at a solution."""

    share: Array  # (r,m) variance of g
    bend: Array  # (k,i)
    fit: Array  # (k,f) variance of the model's real and imaginary part together


class SeriesProblem:
    """The joint problem of a series.

    Parameters
    ----------
    prepared : PreparedLogGaussian
        What single spectra on the grid share.
    impedance : ndarray of complex, shape (K, F)
        Impedances, ohm, in order; NaN where there is none. K is 2 or more.
    position : ndarray, shape (K,)
        Where each stands along the series, ascending, in steps of the median distance.
    """

    def __init__(self, prepared: PreparedLogGaussian, impedance: ComplexArray, position: Array) -> None:
        self._prepared, self._problem, self._grid = prepared, prepared.problem, prepared.grid
        self._there = np.isfinite(impedance)
        z = np.where(self._there, impedance, 0.0)
        # One size for all: ln γ of neighbours are compared.
        self.size = float(np.maximum(np.abs(z.real), np.abs(z.imag)).max())
        scaled = rounded(np.hstack([z.real, z.imag]) / self.size)
        self._parts, given = prepared.variance(scaled, np.full(len(z), self.size))
        self._given = given[0, :2]
        self._terms = _terms(position, self._grid.logs)
        self._order = 1 if len(position) == 2 else 2
        self.chain = series.new_chain(scaled, self._grid, self._terms)
        self._space = series.new_space(self.chain, self._grid)
        spacing = np.diff(np.log(self._problem.discretisation.expansion.tau))
        self._spacing = spacing
        self.own_share = _OWN_SHARE
        self.cut(np.zeros(len(position), dtype=bool))
        self._width = 0.5 * (np.append(spacing, 0.0) + np.append(0.0, spacing))

    # ---- solutions

    def begin(self, start: Parameters) -> None:
        """Start from solutions of the spectra, shape (K, M) and (K,)."""
        logs, columns = self._grid.logs, self._problem.series_elements
        x = np.hstack([start.coefficients, *(getattr(start, name)[:, None] for name in columns)]) / self.size
        x *= self._problem.scale
        with np.errstate(divide="ignore"):
            x[:, :logs] = np.log(x[:, :logs])
        self.chain.y[:, : self._grid.size] = x

    def values(self) -> Array:
        """Answers as the problem has them, shape (K, N)."""
        x = self.chain.y[:, : self._grid.size].copy()
        x[:, : self._grid.logs] = np.exp(x[:, : self._grid.logs])
        return x

    def solve(self, start: SeparateSolutions, lam: float) -> tuple[SeriesHyperparameters, float]:
        """Find hyperparameters and solution from those of the single spectra; return them and the residual."""
        self.begin(start.parameters)
        noise = self._first_noise(start)
        found = SeriesHyperparameters(noise, lam, _START, _FIRST_SHIFT)
        self._descend(found, _COARSE, _COARSE_STEPS, normal=True)
        found = self._find_hyperparameters(found)
        if self._order == 2 and self._cut_at_breaks(found):
            found = self._find_hyperparameters(found)
        rounded_off = _rounded(found)
        # What is given stays as it is.
        noise = np.where(np.isfinite(self._given), found.noise, rounded_off.noise)
        found = rounded_off._replace(noise=noise)
        self._weigh(found)
        return found, self._descend(found, _EXACT, _EXACT_STEPS)

    def _descend(
        self, found: SeriesHyperparameters, tolerance: float, limit: int, task: int = 0, *, normal: bool = False
    ) -> float:
        self.chain.precision[:] = np.where(self._there, 1.0 / np.einsum("v,kvf->kf", found.noise, self._parts), 0.0)
        own = self._grid._replace(slope=self.own_share * self._grid.slope, rate=self.own_share * self._grid.rate)
        model = series.Model(np.array([found.strength]), self._width, found.lam, self._grid.tail, own)
        flag: Any = np.True_ if normal else np.False_
        return float(
            series.descend(self.chain, self._terms, model, flag, tolerance, limit, task, self._grid, self._space)
        )

    @property
    def breaks(self) -> NDArray[np.bool_]:
        """Before which states the series breaks, shape (K,)."""
        return self._breaks

    def cut(self, breaks: NDArray[np.bool_]) -> None:
        """Let go of the differences across breaks, which are before states, shape (K,)."""
        self._breaks = breaks
        first, last = self._terms.state[:, 0], self._terms.state.max(axis=1)
        before = np.cumsum(breaks)
        self._cut = before[last] > before[first]

    # ---- how sure they are

    def settle(self, found: SeriesHyperparameters, parameters: Parameters) -> None:
        """Take up solutions and hyperparameters, and find how well bends and changes are known.

        Where they are zero, the second derivatives of their distributions say that they are known far better than they
        are; the expected precisions of the mixtures of normal distributions that these are do not.
        """
        self.begin(parameters)
        self._weigh(found)
        chain, inner = self.chain, self._grid.logs - 2
        for _ in range(_PASSES):
            self._descend(found, np.inf, 0, 1)
            known = self._known()
            chain.known[:, :inner], chain.spread[:, : inner + 1] = known.bend, known.share
            self.own_share = self._own_share(found, known)
        self._descend(found, np.inf, 0, 1)

    def posterior(self, found: SeriesHyperparameters, parameters: Parameters) -> LogPosterior:
        """Say how sure the solutions are, each state by itself; after :meth:`settle`."""
        size, chain = self._grid.size, self.chain
        covariance = chain.own[:, :size, :size].copy()
        moved = self._solved(found, np.concatenate([self._forces(found), self._left()[None]]))[:, :, :size]
        covariance += np.einsum("nki,nkj->kij", moved[:-1], moved[:-1])
        mean = chain.y[:, :size] + moved[-1]
        rows = len(covariance)
        sizes = np.full(rows, self.size)
        noise = np.stack(self._prepared.deviations(np.tile(found.noise, (rows, 1)), sizes), axis=1)
        return self._prepared.as_posterior(parameters, sizes, (mean, covariance), noise)

    def _solved(self, found: SeriesHyperparameters, right: Array) -> Array:
        """Minus the inverse of the second derivative times right-hand sides, shape (n, K, N)."""
        out = np.zeros_like(right)
        self._descend(found, np.inf, 0, 2)
        series.solve_many(self.chain, right, out)
        return out

    def refine(self, found: SeriesHyperparameters, parameters: Parameters) -> Array:
        """Find the solution with known hyperparameters from one near it; return γ, shape (K, M)."""
        self.begin(parameters)
        self._weigh(found)
        self._descend(found, _EXACT, _EXACT_STEPS)
        return self.values()[:, : self._grid.logs] * self.size

    def variance(self, floor: float, share: float) -> Array:
        """Components of the variance that belong to a, ohm, and b; NaN where the noise is given by frequency."""
        found = self._prepared.normal * np.array([floor / self.size, share]) ** 2
        return np.asarray(np.where(np.isfinite(self._given), self._given, found))

    def _forces(self, found: SeriesHyperparameters) -> Array:
        """Differentiate the gradient by ln λ and ln κ, each times how wrong they may be, shape (2, K, N)."""
        grid, logs, lam = self._grid, self._grid.logs, found.lam
        u, out = self.chain.y[:, :logs], np.zeros((2, *self.chain.y.shape))
        own, coupled = out[0, :, :logs], out[1, :, :logs]
        slope_term = lam * grid.slope * (np.diff(u, axis=1) - grid.lean)
        own[:, :-1] -= slope_term
        own[:, 1:] += slope_term
        bends = self._bends()
        knee = grid.knee[: bends.shape[1]]
        ratio = lam * (bends / knee) ** 2
        bent = grid.rate * lam * bends / (knee * np.sqrt(1.0 + ratio)) * (1.0 - 0.5 * ratio / (1.0 + ratio))
        for n in range(3):
            own[:, n : n + bends.shape[1]] += bent * grid.bend[:, n]
        own *= self.own_share * _LAMBDA_DEVIATION
        firm, share = self.chain.firm[:, : logs - 1], self.chain.share[:, : logs - 1]
        weight = found.strength * self._terms.relative[:, : logs - 1]
        slope_term = _COUPLING_DEVIATION * firm * share * firm / ((1.0 + series.NU) * weight) / np.sqrt(self._spacing)
        step = np.zeros((len(slope_term), logs))
        step[:, :-1] -= slope_term
        step[:, 1:] += slope_term
        for state, coefficient in zip(self._terms.state.T, self._terms.coefficient.T, strict=True):
            np.add.at(coupled, np.maximum(state, 0), coefficient[:, None] * step)
        return out

    def _left(self) -> Array:
        """Gradient of the elements, which is left where one is held at zero, shape (K, N)."""
        out = self.chain.gradient.copy()
        out[:, : self._grid.logs] = 0.0
        return out

    def between(self, found: SeriesHyperparameters, one: int, other: int) -> Array:
        """Covariance of ln γ of two states, shape (M, M); after :meth:`settle`."""
        logs = self._grid.logs
        right = np.zeros((logs, *self.chain.y.shape))
        right[np.arange(logs), other, np.arange(logs)] = -1.0
        solved = self._solved(found, np.concatenate([right, self._forces(found)]))
        moved = solved[logs:, :, :logs]
        return np.asarray(solved[:logs, one, :logs].T + moved[:, one].T @ moved[:, other])

    # ---- hyperparameters

    def _first_noise(self, start: SeparateSolutions) -> Array:
        """Components of the variance: given, or the medians of those of the single spectra."""
        floor, share = start.noise_floor, start.noise_relative
        found = self._prepared.normal * np.array([np.median(floor) / self.size, np.median(share)]) ** 2
        known = np.isfinite(self._given)
        least = np.where(known, 0.0, _LEAST_VARIANCE)
        return np.asarray(np.where(known, self._given, np.maximum(np.nan_to_num(found), least)))

    def _find_hyperparameters(self, found: SeriesHyperparameters) -> SeriesHyperparameters:
        """Bring hyperparameters and solution into agreement."""
        before = np.zeros(2)
        length = np.full(2, _LONGEST)
        for _ in range(_ROUNDS):
            self._weigh(found)
            if self._descend(found, _COARSE, _COARSE_STEPS, 1) < 0.0:
                break
            known = self._known()
            noise = self._noise(found, known)
            wanted = np.array(self._strength(found, known))
            change = np.log(wanted / [found.strength, found.shift])
            # Halved where it turns round: the two depend on each other.
            length = np.where(change * before < 0.0, 0.5 * length, length)
            before = change.clip(-length, length)
            settled = np.abs(np.log(noise[noise > 0.0] / found.noise[noise > 0.0])).max(initial=0.0)
            strength = min(max(found.strength * np.exp(before[0]), _LEAST), _MOST)
            moved = abs(np.log(strength / found.strength))
            found = found._replace(
                noise=noise, strength=strength, shift=max(found.shift * np.exp(before[1]), _LEAST_SHIFT)
            )
            if max(moved, settled) <= _SETTLED:
                break
        return found

    def _weigh(self, found: SeriesHyperparameters) -> None:
        """Let changes be larger where ln γ bends: a process that moves takes its bends along.

        The variance of g is 1/κ + s²c², with c the largest bend about an interval in any of the states.
        """
        moved = found.shift * (1.0 + min((found.shift / _FAR) ** 2, _CAUTION)) * self._bent()
        relative = 1.0 / (1.0 + found.strength * moved**2)
        self._terms.relative[:, : self._spacing.size] = np.where(self._cut[:, None], _LOOSE, relative)

    def _bent(self) -> Array:
        """Largest bend about each interval of each difference, shape (R, M − 1)."""
        bends = np.zeros((len(self.chain.b), self._grid.logs + 1))
        bends[:, 1:-2] = np.abs(self._bends())
        # Column m of the filter has the nodes m − 2 … m + 1 of the padded row, which are m − 1 … m + 2 of the grid.
        about = maximum_filter1d(bends, _REACH, axis=1, mode="constant", origin=-1)[:, : self._spacing.size]
        state = self._terms.state
        return np.asarray(np.where(state[:, :, None] >= 0, about[state], 0.0).max(axis=1))

    def _bends(self) -> Array:
        """Compute changes of the slope of ln γ, shape (K, M − 2)."""
        u, bend = self.chain.y[:, : self._grid.logs], self._grid.bend
        return np.asarray(u[:, :-2] * bend[:, 0] + u[:, 1:-1] * bend[:, 1] + u[:, 2:] * bend[:, 2])

    def _known(self) -> _Known:
        """Variances from the blocks of the inverse."""
        own, off, logs, bend = self.chain.own, self.chain.off, self._grid.logs, self._grid.bend
        share = np.zeros((len(self._terms.kind), logs - 1))
        at = np.arange(logs)
        for r, (state, coefficient) in enumerate(zip(self._terms.state, self._terms.coefficient, strict=True)):
            for i, p in zip(state, coefficient, strict=True):
                for k, q in zip(state, coefficient, strict=True):
                    if i < k or k < 0:
                        continue
                    block = own[k] if i == k else off[k, i - k - 1]
                    both = (1.0 if i == k else 2.0) * p * q
                    inner = block[at, at]
                    cross = block[at[:-1], at[1:]] + block[at[1:], at[:-1]]
                    share[r] += both * (inner[1:] + inner[:-1] - cross)
        diagonal = [own[:, at[: logs - d], at[d:]] for d in range(3)]
        variance = (
            bend[:, 0] ** 2 * diagonal[0][:, :-2]
            + bend[:, 1] ** 2 * diagonal[0][:, 1:-1]
            + bend[:, 2] ** 2 * diagonal[0][:, 2:]
            + 2.0 * bend[:, 0] * bend[:, 1] * diagonal[1][:, :-1]
            + 2.0 * bend[:, 1] * bend[:, 2] * diagonal[1][:, 1:]
            + 2.0 * bend[:, 0] * bend[:, 2] * diagonal[2]
        )
        return _Known(share / self._spacing, np.maximum(variance, 0.0), self._fit_variance())

    def _fit_variance(self) -> Array:
        size, logs = self._grid.size, self._grid.logs
        matrix = self._grid.columns[:size].T
        states, points = self.chain.precision.shape
        out = np.empty((states, points))
        for k in range(states):
            scale = np.append(self.chain.value[k, :logs], self.chain.free[k, logs:size])
            columns = matrix * scale
            each = np.einsum("qj,qj->q", columns @ self.chain.own[k, :size, :size], columns)
            out[k] = each[:points] + each[points:]
        return out

    def _noise(self, found: SeriesHyperparameters, known: _Known) -> Array:
        """Components of the variance that residuals and what is not known of the model show."""
        free = ~np.isfinite(self._given)
        if not free.any():
            return found.noise
        points, chain = self.chain.precision.shape[1], self.chain
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = np.where(self._there, chain.weight / chain.precision, 0.0)
        square = weight * (chain.residual[:, :points] ** 2 + chain.residual[:, points:] ** 2) + known.fit
        parts = self._parts.transpose(1, 0, 2)[:, self._there][free]
        expected, width = self._grid.noise[0][free], self._grid.noise[1][free]
        log = _components(
            2.0 * np.ones(parts.shape[1]), square[self._there], parts, np.log(found.noise[free]), (expected, width**-2)
        )
        out = found.noise.copy()
        out[free] = np.maximum(np.exp(log), _LEAST_VARIANCE)
        return out

    def _strength(self, found: SeriesHyperparameters, known: _Known) -> tuple[float, float]:
        """Strength of the coupling and shift that the changes show.

        By the derivative of the marginal likelihood with the solution held (D. J. C. MacKay, Neural Comput. 4 (1992)
        415): each change counts as far as the data determine it.
        """
        number, chain = self._spacing.size, self.chain
        firm, share = chain.firm[:, :number], chain.share[:, :number]
        expected = self._determined(found, known) / firm.size
        counts = (expected - firm * known.share).clip(min=1e-3)
        relative = self._terms.relative[:, :number]
        square = firm / (found.strength * relative) * share**2
        parts = np.stack([np.ones(firm.size), self._bent().ravel() ** 2])
        start = np.log([1.0 / found.strength, found.shift**2])
        about = np.array([0.0, np.log(_SHIFT**2)]), np.array([0.0, _SHIFT_WEIGHT])
        kept = ~np.repeat(self._cut, number)
        log = _components(counts.ravel()[kept], square.ravel()[kept], parts[:, kept], start, about)
        return float(np.exp(-log[0])), float(np.exp(0.5 * log[1]))

    def _cut_at_breaks(self, found: SeriesHyperparameters) -> bool:
        """Let go of the differences across breaks; return whether there are any."""
        breaks = np.zeros(len(self.chain.b), dtype=bool)
        breaks[2:-1] = self._broken(found)
        self.cut(breaks)
        return bool(breaks.any())

    def _broken(self, found: SeriesHyperparameters) -> NDArray[np.bool_]:
        """Whether the series breaks between the middle states of neighbouring differences, shape (R − 1,).

        A jump appears in both with opposite sign, and far above what Student's distribution expects; a course that
        bends quickly appears in several with either sign.
        """
        number = self._spacing.size
        changes = np.sqrt(found.strength * self._terms.relative[:, :number]) * self.chain.share[:, :number]
        height = np.log1p(changes**2).sum(axis=1)
        length = np.sqrt((changes**2).sum(axis=1))
        with np.errstate(invalid="ignore", divide="ignore"):
            opposite = -np.sum(changes[1:] * changes[:-1], axis=1) / (length[1:] * length[:-1])
        least = max(_HIGH, _HIGHER * float(np.median(height)))
        return np.asarray((np.minimum(height[1:], height[:-1]) > least) & (opposite > _OPPOSITE))

    def _determined(self, found: SeriesHyperparameters, known: _Known) -> float:
        """How many changes the prior alone leaves to the coupling: trace of its inverse times the coupling's part."""
        return self._traces(found, known, 1.0)[0]

    def _own_share(self, found: SeriesHyperparameters, known: _Known) -> float:
        """Find the share of the single priors that leaves each state as uncertain, before the data, as one alone.

        States that are held together would otherwise count the same expectation once for each of them.
        """
        share, number = 1.0, len(self.chain.b) * (self._grid.logs - 1)
        for _ in range(_SHARINGS):
            share = min(max(self._traces(found, known, share)[1] / number, 1.0 / len(self.chain.b)), 1.0)
        return share

    def _traces(self, found: SeriesHyperparameters, known: _Known, own_share: float) -> tuple[float, float]:
        """Traces of the inverse of the prior times the part of the coupling and of the single priors.

        Taken as if curvatures were the same in all states; differences along the series then have eigenvectors in
        common, and each is a banded matrix of its own.
        """
        states, logs, lam, bend = len(self.chain.b), self._grid.logs, found.lam, self._grid.bend
        count = min(states, _EIGENVALUES)
        eigen = (2.0 - 2.0 * np.cos(np.pi * np.arange(count) / count)) ** self._order
        knee = self._grid.knee[: logs - 2]
        stiff = (self._grid.rate * lam / np.sqrt(knee**2 + lam * (self._bends() ** 2 + known.bend))).mean(axis=0)
        steps = (self.chain.firm[:, : logs - 1] / self._spacing).mean(axis=0)
        own, coupled = np.zeros((3, logs)), np.zeros((3, logs))
        for out, slopes in ((own, lam * self._grid.slope), (coupled, steps)):
            out[0, :-1] += slopes
            out[0, 1:] += slopes
            out[1, :-1] -= slopes
        for n in range(3):
            own[0, n : logs - 2 + n] += stiff * bend[:, n] ** 2
        own[1, :-2] += stiff * bend[:, 0] * bend[:, 1]
        own[1, 1:-1] += stiff * bend[:, 1] * bend[:, 2]
        own[2, :-2] += stiff * bend[:, 0] * bend[:, 2]
        factors = np.exp(_STEP * np.array([[0.0, -1.0], [0.0, 1.0], [-1.0, 0.0], [1.0, 0.0]]))
        shares, strengths = np.repeat(own_share * factors[:, 0], count), np.outer(factors[:, 1], eigen).ravel()
        bands = shares[None, :, None] * own[:, None, :] + strengths[None, :, None] * coupled[:, None, :]
        bands[0] += _LOOSE + series.LEVEL * np.tile(eigen, 4)[:, None] * self._width
        below, above, less, more = _log_determinants(bands).reshape(4, count).sum(axis=1) * states / count
        return float((above - below) / (2.0 * _STEP)), float((more - less) / (2.0 * _STEP))


_LEAST_VARIANCE = 1e-10


def _terms(position: Array, logs: int) -> series.Terms:
    """Second differences of neighbouring states, or the first one of two."""
    distance = np.diff(position)
    if len(position) == 2:
        state, coefficient = np.array([[0, 1, -1]]), np.array([[-1.0, 1.0, 0.0]]) / np.sqrt(distance[0])
    else:
        first = np.arange(len(position) - 2)
        state = np.stack([first, first + 1, first + 2], axis=1)
        one, two = 1.0 / distance[:-1], 1.0 / distance[1:]
        coefficient = np.stack([one, -one - two, two], axis=1) / np.sqrt(0.5 * (distance[:-1] + distance[1:]))[:, None]
    rows = len(state)
    return series.Terms(state, coefficient, np.zeros(rows, dtype=np.int64), np.ones((rows, logs)))


def _rounded(found: SeriesHyperparameters) -> SeriesHyperparameters:
    def each(value: float) -> float:
        return float(np.exp(_GRAIN * np.round(np.log(value) / _GRAIN))) if value > 0.0 else value

    noise = np.array([each(value) for value in found.noise])
    return found._replace(noise=noise, strength=each(found.strength), shift=each(found.shift))


def _components(counts: Array, square: Array, parts: Array, start: Array, about: tuple[Array, Array]) -> Array:
    """Logarithms of components v of variances Σ_c v_c parts_c with the least Σ counts ln variance + square / variance.

    By Fisher scoring. `about` has what the logarithms are expected to be, and with which precisions.
    """
    log, (expected, precision) = start.astype(float), about
    for _ in range(_SCALINGS):
        each = np.exp(log)[:, None] * parts
        variance = each.sum(axis=0)
        part = each / variance
        gradient = part @ (counts - square / variance) + precision * (log - expected)
        information = (part * counts) @ part.T + np.diag(precision + 1e-9)
        step = -np.linalg.solve(information, gradient).clip(-1.0, 1.0)
        log = log + step
        if np.abs(step).max() < 1e-4:
            break
    return log


def _log_determinants(bands: Array) -> Array:
    """Logarithms of the determinants of symmetric matrices of which diagonals 0, 1 and 2 are given, shape (3, J, M)."""
    _, count, size = bands.shape
    total = np.zeros(count)
    pivot = [np.ones(count), np.ones(count)]
    one, two, far = np.zeros(count), np.zeros(count), np.zeros(count)
    for m in range(size):
        # Factors of the rows before: `one` of m − 1, `two` of m − 2 at this row, `far` of m − 1 at the next.
        d = bands[0, :, m] - one**2 * pivot[1] - two**2 * pivot[0]
        total += np.log(d)
        following = (bands[1, :, m] - far * pivot[1] * one) / d
        one, two, far = following, far, bands[2, :, m] / d
        pivot = [pivot[1], d]
    return total
