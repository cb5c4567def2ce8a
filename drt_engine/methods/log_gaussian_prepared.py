"""What the spectra of a grid share under a prior on ln γ: how they are solved, and how sure the solutions are."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from drt_engine.methods import nearby
from drt_engine.methods.base import Solution, louder
from drt_engine.methods.uniqueness import CURVATURE, SLOPE
from drt_engine.model.discretisation import discretise
from drt_engine.model.gsvd import factorise
from drt_engine.model.problem import Parameters, Problem, assemble, filled, row_by_row
from drt_engine.model.weighting import deviations_at
from drt_engine.solvers import solver_for
from drt_engine.uncertainty.ceilings import Ceilings
from drt_engine.uncertainty.cut_off import cut_at_zero
from drt_engine.uncertainty.posterior import TAIL_SLOPE, LogPosterior
from drt_kernels import held, log_gaussian

if TYPE_CHECKING:
    from drt_kernels.curvature import Tables
    from drt_kernels.held import Handle

__all__ = [
    "EARLY_END",
    "END",
    "FREEDOM",
    "Noise",
    "NoiseModel",
    "PreparedLogGaussian",
    "held_down",
    "rounded",
    "table_of",
]

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
NoiseModel = Literal["auto", "constant", "proportional"]
Noise = NoiseModel | tuple[float, float] | Sequence[tuple[float, float]]

_SLOPE = 1.0
"""Precision of the slopes of ln γ against ln τ, per unit of ln τ, at λ = 1."""

_RATE = 0.7
"""Of the exponential distribution of bends of ln γ, per unit of slope, at λ = 1."""

_KNEE = 0.25
"""Second derivative of ln γ below which bends are penalised by their squares."""

_WIDTH = 0.3
"""Standard deviation of ln √λ around 0 before the data are seen."""

# Above the second derivative of a normal distribution of ln τ as narrow as 0.4, which is 1/0.4² = 6. The double and the
# half of it move γ of two neighbouring peaks by 7 and 24 % of its maximum, and that of single ones by less than 8 %.
_KNEE_OF_DIFFUSION = 16.0
_OF_DIFFUSION = {"slope": SLOPE, "rate": CURVATURE * _KNEE_OF_DIFFUSION, "knee": _KNEE_OF_DIFFUSION, "width": 0.6}
"""The four of diffusion times: their distributions, those of sizes, are bent everywhere, as normal ones of ln τ are."""

FREEDOM = 4.0
"""Degrees of freedom of Student's distribution."""

_DOUBT = 1.6
"""Standard deviation of ln λ, as :mod:`drt_kernels.log_gaussian` has it."""

_START = 3e-3
"""Regularisation of the non-negative solution that the search starts from."""

_LEAST_START = 1e-8
"""What γ is raised to at the start, as a share of its largest value."""

_SPREAD, _SPREAD_SLOPE = 0.3, 3.0
"""Share of γ at the start that is spread over its neighbours, and how steeply its logarithm falls to the sides: zeros
have no logarithm, and where ln γ is flat the search takes long."""

_BLOCKING_START = 1.5
"""Power of τ that the least γ at the start goes with, for responses that grow as 1/τ towards short times."""

_NORMAL = 0.7267475952571825
"""Square of the scale of Student's distribution that is found for normal noise, as a share of its variance: with x half
of a χ² of two degrees of freedom, the mean of (ν + 2) x / (ν _NORMAL / 2 + x) is 2."""

END, EARLY_END = 0.1, 0.01
"""Share of the longest relaxation time of the window from which on processes are expected to end before a tail, and the
same where γ falls from there on. Otherwise slow relaxations and a tail of a larger n stand for one of a smaller n, and
R_pol is 2 to 4 % high. With 0.1 alone it is 0.7 to 1.8 % high at 1 % noise where the slowest arc is two and a half
decades before the end; with 0.01 from the start, half of arcs beyond the window are called a tail, and not 0.38."""

_STRAIGHT = 10.0
"""How much less probable bends of ln γ are where it falls in a straight line before a tail. With 1 the end of an arc
and the tail trade off: at 1 % noise one spectrum in twenty has a slow process that is not there. With 3 some still
have it; 30 and 100 do the same as 10."""

_BEGIN = 10.0
"""Multiple of the shortest relaxation time of the window up to which processes are expected to begin after a lossy
inductance."""

_LATE, _HOLD = 0.3, 1e4
"""Relaxation times beyond this share of 1/ω_min, and how strongly γ is held down there at the start beside a tail: what
is slow is given to the tail first."""

_EXPECTED_FLOOR, _EXPECTED_SHARE = (1e-4, 3.0), (3e-3, 1.5)
"""Medians of a, as a share of the largest part of the spectrum, and of b, and standard deviations of their logarithms,
before the data are seen."""

_COARSER, _FEWEST = 0.46, 8
"""Steps of ln τ, a fifth of a decade, of a coarser grid; and fewest relaxation times that it may have."""

_MANTISSA = 2.0**36
"""Data are rounded to so many parts of their own size, 10⁻¹¹: less than any noise, more than rounding errors."""

_SMALL = 512
"""Most unknowns with which the arrays of a search are kept for the next one: they grow with the square."""

_LEAST_MODULUS = 1e-6
"""Smallest |Z| that is believed for noise in proportion to it, as a share of the largest part of the spectrum."""


def table_of(noise: Noise) -> Any:
    """Return pairs of frequency and standard deviation, if the noise is given by them; None otherwise."""
    return None if isinstance(noise, str) or isinstance(noise[0], float) else noise


class PreparedLogGaussian:
    """Everything that the spectra of a grid share.

    Parameters
    ----------
    problem : Problem
        The matrices, of piecewise linear basis functions.
    noise : str, pair of float, or sequence of pairs
        As :class:`drt_engine.LogGaussian` takes it.
    robust : bool
        Whether the noise has the tails of Student's distribution.
    ends : float
        Share of the longest relaxation time of the window from which on processes are expected to end before a tail; 0
        without one.
    straight : bool
        Whether γ is expected to end in a straight line of ln γ.
    begins : bool
        Whether processes are expected to begin after a lossy inductance.

    Attributes
    ----------
    problem : Problem
        The matrices.
    grid : drt_kernels.log_gaussian.Grid
        What the kernel needs to know of them.
    gained : float
        By how much the logarithm of the prior of a γ that falls so is larger as that is expected.
    """

    def __init__(
        self,
        problem: Problem,
        noise: Noise,
        robust: bool,
        *,
        ends: float = 0.0,
        straight: bool = False,
        begins: bool = False,
    ) -> None:
        self.problem = problem
        self._noise: Any = noise
        # The noise is that of the impedance, also where the data are admittances.
        self._reciprocal = problem.discretisation.expansion.kernel == "admittance"
        # Pairs of frequency and deviation, if it is those.
        self.table = table_of(noise)
        self.normal = _NORMAL if robust else 1.0
        self._robust, self._ends = robust, ends
        plain = _grid(self.problem, 1.0 / FREEDOM if robust else 0.0)
        self.grid = _ending(plain, problem, ends, begins=begins, straight=straight) if begins or ends > 0.0 else plain
        # Arrays of searches that have ended, and the code that searches, once it is there.
        self._idle: list[Handle] = []
        self._code: Callable[..., Any] | None = None
        self.gained = 0.5 * float(plain.slope @ (self.grid.lean**2 - plain.lean**2))

    @cached_property
    def _start(self) -> Any:
        return solver_for("pivoting", factorise(self.problem), np.array([_START]))

    @cached_property
    def coarser(self) -> "PreparedLogGaussian | None":
        """The same with about five relaxation times a decade, some of those here; None if there are no more here."""
        found = self.problem.discretisation
        tau = found.expansion.tau
        every = round(_COARSER / float(np.median(np.diff(np.log(tau)))))
        if every < 2 or tau.size < _FEWEST * every:
            return None
        chosen = np.append(tau[:-1:every], tau[-1])
        elements = self.problem.series_elements
        problem = assemble(
            discretise(found.frequency, replace(found.expansion, tau=chosen), found.order),
            "complex",
            inductance="inductance" in elements,
            capacitance="elastance" in elements,
            exponent=self.problem.tail_exponent if "tail" in elements else None,
        )
        return PreparedLogGaussian(problem, self._noise, self._robust, ends=self._ends)

    @cached_property
    def tables(self) -> "Tables":
        """Products of the columns of the model from which the kernel computes the second derivative by ln γ."""
        return nearby.tables(self.problem)

    @cached_property
    def _spreading(self) -> Array:
        """What spreads γ: rows are where it comes from."""
        y = np.log(self.problem.discretisation.expansion.tau)
        shares = np.exp(-_SPREAD_SLOPE * np.abs(y[:, None] - y))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def solve(self, impedance: ComplexArray, regularisation: float | None) -> Solution:
        """Invert finite spectra.

        Parameters
        ----------
        impedance : ndarray of complex, shape (K, F)
            Impedances, ohm.
        regularisation : float or None
            λ, or None where it is to be found.
        """
        rows = len(impedance)
        b, size = self.data(impedance)
        solutions, hyper, residual = np.empty((rows, self.problem.scale.size)), np.empty((rows, 3)), np.empty(rows)
        parts, given = self.variance(b, size)
        given[:, 2] = np.nan if regularisation is None else regularisation
        self._search(b, parts, self.beginning(b), given, solutions, hyper, residual)
        x = self._values(solutions)
        # Zeros are fitted by zeros, which have no logarithm.
        blank = ~b.any(axis=1)
        if blank.any():
            x[blank], residual[blank], hyper[blank] = 0.0, 0.0, (0.0, 0.0, 1.0)
        x = filled(x)
        parameters = self.problem.parameters(x[:rows], impedance, size)
        fit = self.problem.impedance(parameters, self.problem.fitted(x)[:rows], size)
        no = np.zeros(rows, dtype=bool)
        return Solution(parameters, fit, hyper[:, 2].copy(), residual, no, no.copy(), *self.deviations(hyper, size))

    def _search(self, b: Array, parts: Array, start: Array, given: Array, *out: Array) -> None:
        """Call :func:`drt_kernels.log_gaussian.maximise`, as quickly as it can be for one spectrum."""
        with self._working() as work:
            arguments: Any = (b, parts, start, given, work, *out)
            if self._code is None:
                log_gaussian.maximise(*arguments)
                self._code = held.code_for(log_gaussian.maximise, arguments)
            else:
                # These arrays are made anew above, always of the same types.
                self._code(*arguments)

    @contextmanager
    def _working(self) -> "Iterator[Handle]":
        """Lend the arrays of a search, which keep nothing from one to the next."""
        try:
            work = self._idle.pop()
        except IndexError:
            work = self.work()
        yield work
        if self.grid.size <= _SMALL:
            self._idle.append(work)

    def posterior(
        self, impedance: ComplexArray, parameters: Parameters, regularisation: Array, noise: tuple[Array, Array] | None
    ) -> LogPosterior:
        """Estimate the uncertainty of solutions.

        Parameters
        ----------
        impedance : ndarray of complex, shape (K, F)
            Impedances, ohm.
        parameters : Parameters
            The solutions.
        regularisation : ndarray, shape (K,)
            λ that they were found with.
        noise : pair of ndarray, shape (K,) each, or None
            a, ohm, and b that they were found with; found again where they are NaN, or None.
        """
        problem = self.problem
        b, size = self.data(impedance)
        values = np.hstack(
            [parameters.coefficients, *(getattr(parameters, name)[:, None] for name in problem.series_elements)]
        )
        scaled = values / size[:, None] * problem.scale
        with np.errstate(divide="ignore"):
            scaled[:, : self.grid.logs] = np.log(scaled[:, : self.grid.logs])
        rows, number = scaled.shape
        found = np.empty((rows, number)), np.empty((rows, number, number)), np.empty((rows, 3))
        known = np.isfinite(scaled).all(axis=1) & (regularisation > 0.0)
        some = [part[: np.count_nonzero(known)] for part in found]
        parts, given = self.variance(b, size, noise)
        given[:, 2] = regularisation
        if noise is not None:
            parts *= self.loudness(impedance, parameters, noise)[:, None] ** 2
        with self._working() as work:
            log_gaussian.posteriors(b[known], parts[known], scaled[known], given[known], work, *some)
        if not known.all():
            for part in found:
                part[known] = part[: np.count_nonzero(known)].copy()
                part[~known] = np.nan
        mean, covariance, hyper = found
        known_noise = np.stack(self.deviations(hyper, size), axis=1)
        if noise is None:
            loud = (self.loudness(impedance, parameters, tuple(known_noise.T)) > 1.0).any(axis=1)
            if loud.any():
                again = tuple(np.where(loud, known_noise.T, np.nan))
                return self.posterior(impedance, parameters, regularisation, again)
        posterior = self.as_posterior(parameters, size, (mean, covariance), known_noise)
        solution = np.where(known[:, None], values / size[:, None] * problem.scale, np.nan)
        ceilings = self._ceilings(solution, size, parts, hyper)
        units = np.ones_like(scaled)
        units[:, self.grid.logs :] = size[:, None] / problem.scale[self.grid.logs :]
        of_data = problem.matrix.T, ceilings.weights
        pull, strain = self.pull(self.grid, (scaled, regularisation), (posterior.covariance, units), of_data)
        return replace(posterior, allowed=ceilings, pull=pull, strain=strain)

    def loudness(self, impedance: ComplexArray, parameters: Parameters, noise: Sequence[Array]) -> Array:
        """By which factor the noise is larger than was found at low frequencies, shape (K, F); 1 where it is given."""
        if not isinstance(self._noise, str) or self._reciprocal:
            return np.ones(impedance.shape)
        found = self.problem.discretisation
        rest = impedance - parameters.impedance(found.frequency, found.impedance)
        sigma = np.hypot(noise[0][:, None], noise[1][:, None] * np.abs(impedance))
        return louder(rest, sigma, found.frequency)

    def pull(
        self,
        grid: "log_gaussian.Grid",
        solutions: tuple[Array, Array],
        covariances: tuple[Array, Array],
        data: tuple[Array, Array],
    ) -> tuple[Array, Array]:
        """Return how far the mean would move without the prior, and how far it moves within the uncertainty of λ.

        At a solution the data pull at ln γ as strongly as the prior, the other way. So the gradient g of the prior
        leads along d = C g, with the covariance C, to where the data fit better: as far as they do so by their squares,
        gᵀd / |A d|², but not farther than d itself, where the prior would let go. It is a step of iterated
        regularisation (J. T. King, D. Chillingworth, Numer. Funct. Anal. Optim. 1 (1979) 499). Only the gradient within
        the window of the data counts: beyond it they say nothing.

        Parameters
        ----------
        grid : Grid
            Of the prior.
        solutions : pair of ndarray, shapes (K, N) and (K,)
            ln γ and what follows; and λ.
        covariances : pair of ndarray, shapes (K, N, N) and (K, N)
            In units of their own; and how many of these a unit of the solution is.
        data : pair of ndarray, shapes (N, n) and (K, n)
            Columns of the model for γ and what follows, and reciprocal standard deviations.

        Returns
        -------
        pull : ndarray, shape (K, 2, N)
            In the units of the covariance, as :class:`LogPosterior` has it.
        strain : ndarray, shape (K,)
            gᵀC g for each frequency: how far the prior holds γ from where the data lead, by what is known of it.
        """
        (solution, regularisation), (covariance, units), (columns, weights) = solutions, covariances, data
        logs, found = grid.logs, self.problem.discretisation
        tau, (first, last) = found.expansion.tau, found.expansion.window(found.frequency)
        # Zeros and what is not known have no logarithm.
        with np.errstate(invalid="ignore"):
            force, by_lambda = _forces(grid, solution[:, :logs], regularisation[:, None])
        force *= (tau >= first) & (tau <= last)
        along, moved = (covariance[:, :, :logs] @ np.stack([force, by_lambda], axis=2)).transpose(2, 0, 1)
        step = along / units
        step[:, :logs] *= np.exp(solution[:, :logs])
        seen = np.sum((row_by_row(step, columns) * weights) ** 2, axis=1)
        share = np.ones_like(seen)
        pulled = np.sum(force * along[:, :logs], axis=1)
        np.divide(pulled, seen, out=share, where=seen > 0.0)
        # The covariance is C₀ + s² m mᵀ with m = C₀ f, from whose product with f there follows m.
        twice = 1.0 + np.sqrt(1.0 + 4.0 * _DOUBT**2 * np.sum(by_lambda * moved[:, :logs], axis=1))
        pull = np.stack([np.minimum(share, 1.0)[:, None] * along, 2.0 * _DOUBT / twice[:, None] * moved], axis=1)
        return pull, pulled / found.frequency.size

    def _ceilings(self, solution: Array, size: Array, parts: Array, hyper: Array) -> Ceilings:
        """Collect what bounds γ from above."""
        variance = (hyper[:, 0, None] * parts[:, 0] + hyper[:, 1, None] * parts[:, 1]) / self.normal
        weights = np.tile(1.0 / np.sqrt(variance), 2)
        return Ceilings(self.problem.matrix, weights, solution, size[:, None] / self.problem.scale[: self.grid.logs])

    def as_posterior(
        self, parameters: Parameters, size: Array, normal: tuple[Array, Array], noise: Array
    ) -> LogPosterior:
        """Make a posterior from means, shape (K, N), and covariances, (K, N, N), in the units of the problem.

        Parameters
        ----------
        parameters : Parameters
            The solutions.
        size : ndarray, shape (K,)
            What the spectra were divided by, ohm.
        normal : pair of ndarray
            Means and covariances.
        noise : ndarray, shape (K, 2)
            a, ohm, and b.
        """
        (mean, covariance), problem = normal, self.problem
        with np.errstate(divide="ignore"):
            solution = np.log(parameters.coefficients / size[:, None])
        step = size[:, None] / problem.scale[self.grid.logs :]
        covariance[:, self.grid.logs :] *= step[:, :, None]
        covariance[:, :, self.grid.logs :] *= step[:, None, :]
        mean[:, self.grid.logs :] *= step
        shift, covariance, uncut = cut_at_zero(mean, covariance, self.grid.logs)
        shift[:, : self.grid.logs] -= solution
        expansion = problem.discretisation.expansion
        begin, end = expansion.window(problem.discretisation.frequency)
        window_end = end if expansion.tau[-1] > end else None
        return LogPosterior(
            expansion,
            parameters,
            problem.series_elements,
            covariance,
            noise,
            shift,
            uncut,
            window_end,
            window_begin=begin if expansion.tau[0] < begin else None,
            reciprocal=self._reciprocal,
        )

    def data(self, impedance: ComplexArray) -> tuple[Array, Array]:
        """Scaled data and sizes, without the last bits: the rounding of a unit must not reach the hyperparameters."""
        b, size = self.problem.data(impedance)
        return rounded(b), size

    def variance(self, b: Array, size: Array, noise: tuple[Array, Array] | None = None) -> tuple[Array, Array]:
        """Return what the variance is made of, shape (K, 2, F), and which of its components are given, shape (K, 3).

        Both are in units of the squared size of a spectrum and of Student's scale.
        """
        rows, points = len(b), b.shape[1] // 2
        parts, given = np.ones((rows, 2, points)), np.full((rows, 3), np.nan)
        parts[:, 1] = np.maximum(b[:, :points] ** 2 + b[:, points:] ** 2, _LEAST_MODULUS**2)
        floors = size
        if self._reciprocal:
            # The deviation of Y is |Y|² times that of Z.
            parts[:, 0], floors = parts[:, 1] ** 2, 1.0 / size
        if self._noise == "constant":
            given[:, 1] = 0.0
        elif self._noise == "proportional":
            given[:, 0] = 0.0
        elif self.table is not None:
            sigma = deviations_at(self.problem.discretisation.frequency, self.table)
            parts[:, 0] *= self.normal * (sigma / floors[:, None]) ** 2
            given[:, :2] = 1.0, 0.0
            return parts, given
        elif not isinstance(self._noise, str):
            floor, share = self._noise
            noise = np.full(rows, floor), np.full(rows, share)
        if noise is not None:
            known = np.isfinite(noise[0]) & np.isfinite(noise[1])
            given[known, 0] = self.normal * (noise[0] / floors)[known] ** 2
            given[known, 1] = self.normal * noise[1][known] ** 2
        return parts, given

    def root_weights(self, left: Array, variance: Array) -> Array:
        """Square roots of the weights that data have in a covariance, shape (n,): Student's, for what is left of them.

        Parameters
        ----------
        left : ndarray, shape (n,)
            Data less the solution.
        variance : ndarray, shape (n / 2,)
            Squares of the scale of Student's distribution, or variances of normal noise.
        """
        tail, points = self.grid.tail, variance.size
        distance = (left[:points] ** 2 + left[points:] ** 2) / variance
        return np.tile(np.sqrt((1.0 + 2.0 * tail) / (1.0 + tail * distance) / variance), 2)

    def deviations(self, hyper: Array, size: Array) -> tuple[Array, Array]:
        """Return the standard deviations a, ohm, and b, that normal noise of such a scale has."""
        if self.table is not None:
            return np.full(len(size), np.nan), np.full(len(size), np.nan)
        floors = 1.0 / size if self._reciprocal else size
        return np.sqrt(hyper[:, 0] / self.normal) * floors, np.sqrt(hyper[:, 1] / self.normal)

    def work(self) -> "Handle":
        """Make the arrays of the compiled search."""
        return log_gaussian.new_work(self.grid, self.tables)

    def cost(self, b: Array) -> Array:
        """Return what the non-negative solution leaves, its penalty included, shape (K,).

        Parameters
        ----------
        b : ndarray, shape (K, n)
            Scaled data.
        """
        x = np.nan_to_num(self._start(filled(b), np.zeros(len(filled(b)), dtype=np.intp))[: len(b)])
        rough = row_by_row(x, self.problem.penalty_factor.T)
        return np.asarray(np.sum((self.problem.fitted(x) - b) ** 2, axis=1) + _START * np.sum(rough**2, axis=1))

    def beginning(self, b: Array) -> Array:
        """Start from the non-negative solution: ln γ and series elements, shape (K, N).

        Parameters
        ----------
        b : ndarray, shape (K, n)
            Scaled data.
        """
        x = self._start_of(b)
        logs = self.grid.logs
        if not (finite := np.isfinite(x)).all():
            x = np.where(finite, x, 0.0)
        gamma = np.ascontiguousarray(x[:, :logs])
        gamma = (1.0 - _SPREAD) * gamma + _SPREAD * row_by_row(gamma, self._spreading)
        least = np.maximum(_LEAST_START * gamma.max(axis=1, keepdims=True), 1e-6) * self._least
        out = np.maximum(x, 0.0)
        out[:, :logs] = np.log(np.maximum(gamma, least))
        return out

    def _start_of(self, b: Array) -> Array:
        if not self.problem.discretisation.expansion.response.blocking:
            return np.asarray(self._start(b, np.zeros(len(b), dtype=np.intp)))
        # The modulus goes over decades: without weights, only the lowest frequencies would be fitted.
        out = np.empty((len(b), self.problem.scale.size))
        for row, data in enumerate(b):
            real, imaginary = np.split(data, 2)
            weights = 1.0 / np.maximum(np.hypot(real, imaginary), _LEAST_MODULUS)
            weighted = self.problem.weighted(weights)
            start = solver_for("pivoting", factorise(weighted), np.array([_START]))
            rows = filled((data * np.tile(weights, 2))[None])
            x = start(rows, np.zeros(len(rows), dtype=np.intp))[0]
            out[row] = x / weighted.scale * self.problem.scale
        return out

    @cached_property
    def _least(self) -> Array:
        """Factor of the least γ at the start, shape (M,): less at short times if the response grows towards them."""
        expansion = self.problem.discretisation.expansion
        if not expansion.response.blocking:
            return np.ones(expansion.tau.size)
        longest = expansion.window(self.problem.discretisation.frequency)[1]
        return np.asarray(np.minimum(expansion.tau / longest, 1.0) ** _BLOCKING_START)

    def _values(self, solutions: Array) -> Array:
        x = solutions.copy()
        x[:, : self.grid.logs] = np.exp(solutions[:, : self.grid.logs])
        return x


def _grid(problem: Problem, tail: float) -> "log_gaussian.Grid":
    """Collect what the kernel needs to know of a problem."""
    found = problem.discretisation
    y = np.log(found.expansion.tau)
    spacing = np.diff(y)
    bend = np.stack([1.0 / spacing[:-1], -1.0 / spacing[:-1] - 1.0 / spacing[1:], 1.0 / spacing[1:]], axis=1)
    missing = -problem.scale.size % 4
    columns = np.concatenate([problem.transposed, np.zeros((missing, len(problem.matrix)))])
    first, last = np.log(found.expansion.window(found.frequency))
    middle = 0.5 * (y[1:] + y[:-1])
    relaxing = found.expansion.kernel in ("relaxation", "admittance")
    expected = {"slope": _SLOPE, "rate": _RATE, "knee": _KNEE, "width": _WIDTH} if relaxing else _OF_DIFFUSION
    # A distribution of blocking elements has a finite elastance, ∫ γ/τ d ln τ.
    early = TAIL_SLOPE + 1.0 if found.expansion.response.blocking else TAIL_SLOPE
    return log_gaussian.Grid(
        columns=np.ascontiguousarray(columns),
        logs=y.size,
        size=problem.scale.size,
        slope=expected["slope"] / spacing,
        lean=np.where(middle < first, early, np.where(middle > last, -TAIL_SLOPE, 0.0)) * spacing,
        bend=bend,
        knee=0.5 * expected["knee"] * (spacing[1:] + spacing[:-1]),
        rate=expected["rate"],
        tail=tail,
        width=expected["width"],
        noise=_expected(1.0 if tail == 0.0 else _NORMAL),
    )


def _forces(grid: "log_gaussian.Grid", u: Array, regularisation: Array) -> tuple[Array, Array]:
    """Gradient of the prior by ln γ, and its derivative by ln λ, shape (K, M) each, for λ of shape (K, 1)."""
    step = regularisation * grid.slope * (np.diff(u, axis=1) - grid.lean)
    bend = sum(grid.bend[:, n] * u[:, n : n + len(grid.bend)] for n in range(3)) / grid.knee
    square = regularisation * bend**2
    turn = grid.rate * regularisation * bend / np.sqrt(1.0 + square)
    force, by_lambda = np.zeros_like(u), np.zeros_like(u)
    for out, turned in ((force, turn), (by_lambda, turn * (1.0 - 0.5 * square / (1.0 + square)))):
        out[:, :-1] -= step
        out[:, 1:] += step
        for n in range(3):
            out[:, n : n + len(grid.bend)] += turned * grid.bend[:, n]
    return force, by_lambda


def _ending(
    grid: "log_gaussian.Grid", problem: Problem, ends: float, *, begins: bool, straight: bool
) -> "log_gaussian.Grid":
    """Return the grid with γ expected to fall towards an end of the window as it does beyond it."""
    found = problem.discretisation
    y, (begin, end) = np.log(found.expansion.tau), found.expansion.window(found.frequency)
    middle, steep, lean, bend = 0.5 * (y[1:] + y[:-1]), TAIL_SLOPE * np.diff(y), grid.lean, grid.bend
    if begins:
        lean = np.where(middle < np.log(_BEGIN * begin), steep, lean)
    if ends > 0.0:
        lean = np.where(middle > np.log(ends * end), -steep, lean)
    if straight:
        bend = bend * np.where(y[1:-1] > np.log(ends * end), _STRAIGHT, 1.0)[:, None]
    return grid._replace(lean=lean, bend=np.ascontiguousarray(bend))


def held_down(problem: Problem) -> Problem:
    """Return the problem that the search for a γ beside a tail starts from.

    Parameters
    ----------
    problem : Problem
        The matrices, with those of the tail.
    """
    found = problem.discretisation
    late = found.expansion.tau > _LATE / (2.0 * np.pi * found.frequency.min())
    rows = np.zeros((np.count_nonzero(late), problem.scale.size))
    rows[np.arange(len(rows)), np.flatnonzero(late)] = np.sqrt(_HOLD)
    factor = np.vstack([problem.penalty_factor, rows])
    return replace(problem, penalty_factor=factor, penalty=factor.T @ factor)


def rounded(b: Array) -> Array:
    """Leave out the last bits of scaled data."""
    mantissa, exponent = np.frexp(b)
    return np.asarray(np.ldexp(np.rint(mantissa * _MANTISSA) / _MANTISSA, exponent))


def _expected(normal: float) -> Array:
    """Mean and standard deviation of the logarithms of the components of the variance, shape (2, 2)."""
    (floor, doubt), (share, other) = _EXPECTED_FLOOR, _EXPECTED_SHARE
    return np.array([[np.log(normal * floor**2), np.log(normal * share**2)], [2.0 * doubt, 2.0 * other]])
