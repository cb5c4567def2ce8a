"""The joint problem of a series: its data, its prior, and the descent to its solution with given hyperparameters."""

import math

import numpy as np
from numpy.typing import NDArray

from drt_engine.elements import tails
from drt_engine.methods.joint.solutions import JointSolution, SeriesHyperparameters
from drt_engine.methods.log_gaussian_prepared import PreparedLogGaussian, rounded
from drt_engine.model.problem import Parameters, Problem
from drt_engine.series import differences
from drt_engine.solvers.chain import LEVEL, Chain, Model, Terms, bends
from drt_engine.steps import Steps
from drt_engine.threads import single_threaded_blas

__all__ = [
    "COARSE",
    "EXACT",
    "EXACT_STEPS",
    "LEAST_VARIANCE",
    "RELATED",
    "CoarserProblem",
    "SeriesProblem",
    "tail_columns",
]

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

COARSE, EXACT, EXACT_STEPS = 0.1, 1e-10, 200
"""How exact the solution is, in posterior standard deviations: during the search, in single precision, and in the end;
and after how many steps the latter is given up."""

LEAST_VARIANCE = 1e-10
"""Smallest variance of the noise, of data that are divided by their size, as in `drt_kernels.log_gaussian`: straight
lines between relaxation times are not exact."""

_FAR, _CAUTION = 0.2, 2.0
"""Processes may move farther than they are seen to, by (s / `_FAR`)² of it but at most `_CAUTION` times. What holds
back each step by no more than is usual holds back a long way in one direction by too much: with s itself, processes
that cross within 24 states had an error of 0.101, and 0.082 alone; with three times s, slow series lost a half."""

_REACH = 2
"""Relaxation times beside an interval whose changes of slope may pass over it when processes move; with four or six, a
crossing of two processes and a series over 80 K came out worse."""

_CURVATURE_POWER = -1.5
"""Power of the ratio of spacings that changes of slope are multiplied by on coarser relaxation times, so that s is the
same. If ln γ were smooth it would be −½; but the largest change of slope about a wider interval is larger."""

_COUPLING_ACROSS_BREAK = 1e-6
"""Share of the coupling that is left across a break, so that no factor is singular."""

_CLOSE = 1e-8
"""A residual below this that no longer halves has met rounding, as the descent has it."""

_FIRM = 1e4
"""Strength above which factors in single precision have too few digits for the last steps."""

_AT_ONCE, _FEWEST = 2000, 3
"""States times steps of the descent of a long series that are done at once, about a second, and then they are kept;
and fewest steps: what is known of the way is lost after them."""

_PRIOR_SHARE = 0.5
"""What share of the single priors counts in a series, where neighbours expect much the same: with all of it the median
error on slow series is a tenth higher, with less than a third that on series whose processes cross is."""

RELATED = 1.0
"""Strength below which neighbours are no more alike than spectra of different cells; each then has the whole of its
prior. With half of it, errors of 24 spectra of two cells in any order were 4 to 9 % above those of spectra alone, and
with the whole 1 to 5 % below."""

_FASTEST = 6.0
"""Courses across lines that the solver looks at as a whole have waves longer than this many lines."""


class SeriesProblem:
    """The joint problem of a series, or of several that are neighbours in a second state.

    Parameters
    ----------
    prepared : PreparedLogGaussian
        What single spectra on the grid share.
    impedance : ndarray of complex, shape (K, F)
        Impedances, ohm, in order; NaN where there is none. K is 2 or more.
    position : ndarray, shape (V,)
        Where each stands along the series, ascending, in steps of the median distance.
    across : ndarray, shape (C,), optional
        Where C series stand, each with states at all positions: K is C V, series after series. By default there is one.
    spacing_ratio : float
        Distance of the relaxation times over that of those that κ and s are for.
    exponents : tuple of ndarray, shape (K,), optional
        n of the tail of each state, and the standard deviation that they have in common; that of the problem for all,
        and known, by default.
    noise_ratio : ndarray, shape (K,), optional
        Standard deviation of the noise of each state over that of the series; 1 for all by default.

    Attributes
    ----------
    size : float
        What the impedances are divided by, ohm.
    chain : Chain
        The spectra as the solver has them, with the solution, `chain.y`.
    measured : ndarray of bool, shape (K, F)
        Where there is an impedance.
    variance_parts : ndarray, shape (K, 2, F)
        What each component of the variance of the noise is multiplied by.
    given_noise : ndarray, shape (2,)
        Components of the variance of the noise where they are given; NaN where they are to be found.
    terms : Terms
        Differences between states that are expected to be small.
    crosses_break : ndarray of bool, shape (R,)
        Which of these are between states on both sides of a break.
    prior_share : float
        What share of the priors of single spectra counts.
    fallback : ndarray, shape (K, N)
        Solution before λ was reduced last, to which the search may go back.
    steps : Steps
        Where progress is kept.
    """

    def __init__(
        self,
        prepared: PreparedLogGaussian,
        impedance: ComplexArray,
        position: Array,
        across: Array | None = None,
        spacing_ratio: float = 1.0,
        exponents: tuple[Array, Array] | None = None,
        noise_ratio: Array | None = None,
    ) -> None:
        self.prepared, self.problem, self.grid, self.position = prepared, prepared.problem, prepared.grid, position
        self.measured = np.isfinite(impedance)
        self.impedance = z = np.where(self.measured, impedance, 0.0)
        # One size for all: ln γ of neighbours are compared.
        self.size = float(np.maximum(np.abs(z.real), np.abs(z.imag)).max())
        scaled = rounded(np.hstack([z.real, z.imag]) / self.size)
        parts, given = prepared.variance(scaled, np.full(len(z), self.size))
        self.noise_ratio = np.ones(len(z)) if noise_ratio is None else noise_ratio
        self.variance_parts = parts * (self.noise_ratio**2)[:, None, None]
        self.given_noise = given[0, :2]
        self.terms = _terms(position, across, self.grid.logs)
        self.spacing = spacing = np.diff(np.log(self.problem.discretisation.expansion.tau))
        self.width = 0.5 * (np.append(spacing, 0.0) + np.append(0.0, spacing))
        courses = np.zeros((0, 1)) if across is None else _courses(len(across))
        self.exponents = exponents
        last = np.zeros((0, scaled.shape[1])) if exponents is None else tail_columns(self.problem, exponents[0])
        self.chain = Chain(scaled, self.grid, self.terms, self.width, courses, last)
        self.steps_at_once = max(_AT_ONCE // len(z), _FEWEST)
        self.prior_share, self.spacing_ratio, self.steps = _PRIOR_SHARE, spacing_ratio, Steps()
        self.fallback = np.zeros_like(self.chain.y)
        self.set_breaks(np.zeros(len(z), dtype=bool))

    # ---- the solution and what the search keeps of it

    def begin(self, start: Parameters) -> None:
        """Start from solutions of the spectra, shape (K, M) and (K,)."""
        logs, columns = self.grid.logs, self.problem.series_elements
        x = np.hstack([start.coefficients, *(getattr(start, name)[:, None] for name in columns)]) / self.size
        x *= self.problem.scale
        with np.errstate(divide="ignore"):
            x[:, :logs] = np.log(x[:, :logs])
        self.chain.y[:] = x

    def values(self) -> Array:
        """Return γ and the series elements of the solution, scaled as the data, shape (K, N)."""
        x = self.chain.y.copy()
        x[:, : self.grid.logs] = np.exp(x[:, : self.grid.logs])
        return x

    def keep_progress_in(self, steps: Steps) -> None:
        """Keep the progress of the work in `steps` from now on."""
        self.steps = steps
        self.chain.report_to(steps.within)

    def state(self) -> dict[str, Array]:
        """Name what further steps begin from: the solution, and how much it may change."""
        return {"y": self.chain.y, "relative": self.terms.relative, "held": self.fallback}

    def update_data(self) -> None:
        """Update the part of the data that depends on the solution but is fixed within a search: here, none does."""

    def copy_to_finer(self) -> None:
        """Copy the solution into the problem with more relaxation times: here, it is that problem."""

    def solution(self, found: SeriesHyperparameters, noise: Array, residual: float) -> JointSolution:
        """Collect the solutions, with components of the variance of the noise of each state, shape (K, 2)."""
        rows = len(noise)
        size, x = np.full(rows, self.size), self.values()
        parameters = self.problem.parameters(x, self.impedance, size)
        fit = self.problem.impedance(parameters, self.problem.fitted(x), size)
        if self.exponents is not None:
            parameters.tail_exponent[:] = np.where(parameters.tail > 0.0, self.exponents[0], np.nan)
            found_on = self.problem.discretisation
            fit = parameters.impedance(found_on.frequency, found_on.impedance)
        no, none = np.zeros(rows, dtype=bool), np.full(rows, np.nan)
        return JointSolution(
            *(parameters, fit, np.full(rows, found.lam), np.full(rows, residual), no, no.copy()),
            *self.prepared.deviations(noise, size),
            coupling=np.full(rows, found.strength),
            shift=np.full(rows, found.shift),
            coupling_across=none,
            shift_across=none.copy(),
        )

    # ---- what the objective depends on

    @property
    def breaks(self) -> NDArray[np.bool_]:
        """Before which states the series breaks, shape (K,)."""
        return self._breaks

    def set_breaks(self, breaks: NDArray[np.bool_]) -> None:
        """Let the series break before some states, shape (K,): differences across a break are hardly coupled."""
        self._breaks = breaks
        first, last = self.terms.state[:, 0], self.terms.state.max(axis=1)
        before = np.cumsum(breaks)
        self.crosses_break = before[last] > before[first]

    def set_breaks_across(self, breaks: tuple[NDArray[np.bool_], NDArray[np.bool_]]) -> None:
        """Let several series break before some states along and across, shape (K,) each."""
        first, last = self.terms.state[:, 0], self.terms.state.max(axis=1)
        self.crosses_break = np.zeros(len(first), dtype=bool)
        length = len(self.position)
        for kind, each in enumerate(breaks):
            # How many breaks there are up to each state of its line.
            before = np.cumsum(each.reshape(-1, length), axis=1 - kind).ravel()
            self.crosses_break |= (self.terms.kind == kind) & (before[last] > before[first])

    def set_prior_share(self, found: SeriesHyperparameters) -> None:
        """Let the priors of single spectra count by half, but as a whole where neighbours are not alike."""
        self.prior_share = _PRIOR_SHARE if found.strength >= RELATED else 1.0

    def set_noise(self, noise: Array) -> None:
        """Weight the data by components of the variance of the noise, of all or of each state, (1, 2) or (K, 2)."""
        variance = np.einsum("kv,kvf->kf", noise, self.variance_parts)
        self.chain.precision[:] = np.where(self.measured, 1.0 / variance, 0.0)

    def noise_of_each(self, found: SeriesHyperparameters) -> Array:
        """Components of the variance of the noise of each state, shape (K, 2)."""
        return np.asarray(found.noise * (self.noise_ratio**2)[:, None])

    def noise_variance(self, floor: float, share: float) -> Array:
        """Components of the variance that belong to a, ohm, and b; NaN where the noise is given by frequency."""
        found = self.prepared.normal * np.array([floor / self.size, share]) ** 2
        return np.asarray(np.where(np.isfinite(self.given_noise), self.given_noise, found))

    def strengths(self, found: SeriesHyperparameters) -> Array:
        """κ on the relaxation times of this problem: what changes over a wider interval is twice as much over two."""
        return np.array([found.strength / self.spacing_ratio])

    def model(self, found: SeriesHyperparameters) -> Model:
        """Hyperparameters as the solver takes them."""
        return Model(self.strengths(found), found.lam, self.prior_share)

    def update_coupling(self, found: SeriesHyperparameters) -> None:
        """Couple states less where the slope of ln γ changes: a process that moves takes its changes of slope along.

        The variance of g is 1/κ + s²c², with c the largest change of slope about an interval in any of the states.
        """
        self.set_coupling(self.strengths(found), np.array([found.shift]))

    def set_coupling(self, strength: Array, shift: Array) -> None:
        """Do what :meth:`update_coupling` does, by κ and s of each kind of difference."""
        kind = self.terms.kind
        factor = (shift * (1.0 + np.minimum((shift / _FAR) ** 2, _CAUTION)))[kind, None]
        moved = factor * self.largest_slope_changes()
        relative = 1.0 / (1.0 + strength[kind, None] * moved**2)
        self.terms.relative[:] = np.where(self.crosses_break[:, None], _COUPLING_ACROSS_BREAK, relative)

    def largest_slope_changes(self) -> Array:
        """Largest change of the slope of ln γ about each interval, in the states of each difference, (R, M − 1)."""
        from scipy.ndimage import maximum_filter1d

        padded = np.zeros((len(self.chain.b), self.grid.logs + 1))
        padded[:, 1:-2] = np.abs(self.slope_changes())
        # Column m of the filter has the nodes m − 2 … m + 1 of the padded row, which are m − 1 … m + 2 of the grid.
        about = maximum_filter1d(padded, _REACH, axis=1, mode="constant", origin=-1)[:, : self.spacing.size]
        state = self.terms.state
        largest = np.where(state[:, :, None] >= 0, about[state], 0.0).max(axis=1)
        return np.asarray(largest * self.spacing_ratio**_CURVATURE_POWER)

    def slope_changes(self) -> Array:
        """Compute changes of the slope of ln γ, shape (K, M − 2)."""
        return bends(self.chain.y, self.grid)

    def mean_square_difference(self) -> float:
        """Mean of ∫ e² d ln τ over the differences e of ln γ between states that are not across a break."""
        e, _ = self.chain.changes(self.chain.y)
        here = ~self.crosses_break
        return float((self.width * e[here] ** 2).sum(axis=1).mean()) if here.any() else math.inf

    def expect_differences(self, mean_square: float) -> None:
        """Expect e to be so large for a state without data, if that is less than κ₀ allows."""
        factor = max(1.0 / (LEVEL * mean_square), 1.0) if mean_square > 0.0 else None
        self.chain.width = self.width if factor is None else self.width * factor

    # ---- descents

    def minimise(
        self,
        found: SeriesHyperparameters,
        tolerance: float,
        limit: int,
        progress: tuple[float, float],
        *,
        normal: bool = False,
    ) -> float:
        """Minimise the objective; see :meth:`minimise_in_steps`."""
        own = found.noise[None], found.lam, self.strengths(found)
        return self.minimise_in_steps(own, tolerance, limit, progress, normal=normal)

    def minimise_in_steps(
        self,
        own: tuple[Array, float, Array],
        tolerance: float,
        limit: int,
        progress: tuple[float, float],
        *,
        normal: bool = False,
    ) -> float:
        """Minimise the objective, that of long series few steps at a time; return the optimality residual.

        Parameters
        ----------
        own : tuple
            Noise as :meth:`set_noise` takes it, λ, and κ of each kind of difference.
        tolerance : float
            Residual that ends it.
        limit : int
            Most steps.
        progress : tuple of float
            How much of the work of all is done before and after.
        normal : bool
            Whether the coupling is quadratic.
        """
        before, done = np.inf, 0
        while True:
            steps = min(self.steps_at_once, limit - done)
            done += steps
            reached = progress[0] + (progress[1] - progress[0]) * done / limit
            (residual,) = self.steps.do(
                lambda: np.array([self._descend(*own, tolerance, steps, normal=normal)]),  # noqa: B023 - called at once
                reached,
                (1 if len(own[2]) == 1 else 2) if steps == 1 else 0,
            )
            # It ends as the descent does, also where no step can be made or has met rounding.
            met = residual == before or (residual <= _CLOSE and residual > 0.5 * before)
            if done == limit or met or not residual > tolerance:
                return float(residual)
            before = residual

    def descend(self, found: SeriesHyperparameters, tolerance: float, limit: int) -> float:
        """Minimise the objective at once, in `limit` steps at most; return the optimality residual."""
        return self._descend(found.noise[None], found.lam, self.strengths(found), tolerance, limit)

    def _descend(
        self, noise: Array, lam: float, strength: Array, tolerance: float, limit: int, *, normal: bool = False
    ) -> float:
        self.set_noise(noise)
        self.chain.use_single_precision(tolerance >= COARSE or bool(strength.max() <= _FIRM))
        with single_threaded_blas():
            return self.chain.descend(Model(strength, lam, self.prior_share, normal), tolerance, limit)

    def factor(self, found: SeriesHyperparameters, *, invert: bool = False) -> bool:
        """Factor the second derivative of the parabolas that touch the objective, or leave blocks of its inverse."""
        self.set_noise(found.noise[None])
        model = self.model(found)
        self.chain.use_single_precision(False)
        with single_threaded_blas():
            return self.chain.factor_touching(model, invert=invert)

    def refine(self, found: SeriesHyperparameters, parameters: Parameters, tolerance: float = EXACT) -> Array:
        """Find the solution with known hyperparameters from one near it; return γ, shape (K, M)."""
        self.begin(parameters)
        self.set_prior_share(found)
        self.update_coupling(found)
        self.descend(found, tolerance, EXACT_STEPS)
        return self.values()[:, : self.grid.logs] * self.size


class CoarserProblem(SeriesProblem):
    """The joint problem of a series with fewer relaxation times, from which κ, s and the noise are found.

    The data are less what the finer model says that this one does not, by cubic interpolation of ln γ, so that both fit
    them alike.

    Parameters
    ----------
    finer : SeriesProblem
        The problem, with a start.
    prepared : PreparedLogGaussian
        What single spectra share on some of its relaxation times.
    """

    def __init__(self, finer: SeriesProblem, prepared: PreparedLogGaussian) -> None:
        from scipy.interpolate import CubicSpline

        few, many = (one.problem.discretisation.expansion.tau for one in (prepared, finer.prepared))
        z = np.where(finer.measured, finer.impedance, np.nan)
        ratio = (many.size - 1) / (few.size - 1)
        super().__init__(
            prepared,
            z,
            finer.position,
            spacing_ratio=ratio,
            exponents=finer.exponents,
            noise_ratio=finer.noise_ratio,
        )
        self._finer = finer
        self._between = CubicSpline(np.log(few), np.eye(few.size), axis=0)(np.log(many)).T
        self.chain.y[:, : few.size] = finer.chain.y[:, np.searchsorted(many, few)]
        self.chain.y[:, few.size :] = finer.chain.y[:, many.size :]
        self.update_data()

    def state(self) -> dict[str, Array]:
        """Name what further steps begin from, apart from that of the finer problem."""
        return {f"rough_{name}": values for name, values in super().state().items()} | {"rough_b": self.chain.b}

    def update_data(self) -> None:
        """Subtract from the data by how much the finer model differs from this one at the solution."""
        finer, u = self._finer.chain, self.chain.y[:, : self.grid.logs]
        self.chain.b[:] = finer.b + self.chain.curves(np.exp(u)) - finer.curves(np.exp(u @ self._between))

    def copy_to_finer(self) -> None:
        """Interpolate ln γ of the solution on the relaxation times of the finer problem."""
        y, few, many = self.chain.y, self.grid.logs, self._finer.grid.logs
        self._finer.chain.y[:, :many] = y[:, :few] @ self._between
        self._finer.chain.y[:, many:] = y[:, few:]


def tail_columns(problem: Problem, exponent: Array, *, slope: bool = False) -> Array:
    """Columns of tails with some exponents, scaled as the problem's own, shape (K, 2 F); times ln(jω) for `slope`."""
    omega = 2.0 * np.pi * problem.discretisation.frequency
    z = tails(omega, np.ones(exponent.size), exponent, np.full(exponent.size, np.inf))
    z = z * np.log(1j * omega) if slope else z
    return np.asarray(np.hstack([z.real, z.imag]) / problem.scale[-1])


def _terms(position: Array, across: Array | None, logs: int) -> Terms:
    """Differences along a series, or along each of several and across them at each place."""
    length, lines = len(position), 1 if across is None else len(across)
    state, coefficient = differences(position)
    states = [np.where(state < 0, -1, state + length * c) for c in range(lines)]
    coefficients, kinds = [coefficient] * lines, [0] * (lines * len(state))
    if across is not None:
        state, coefficient = differences(across)
        states += [np.where(state < 0, -1, state * length + v) for v in range(length)]
        coefficients += [coefficient] * length
        kinds += [1] * (length * len(state))
    return Terms(
        np.concatenate(states),
        np.concatenate(coefficients),
        np.array(kinds, dtype=np.int64),
        np.ones((len(kinds), logs - 1)),
    )


def _courses(lines: int) -> Array:
    """Cosines across lines, slower ones than a wave of `_FASTEST` lines, of which each is orthogonal to the others."""
    number = min(lines, max(2, -(-2 * lines // _FASTEST)))
    out = np.cos(np.pi * np.outer(np.arange(number), np.arange(lines) + 0.5) / lines)
    return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True))
