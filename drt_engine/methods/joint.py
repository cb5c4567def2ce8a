"""A series of spectra under one prior: ln γ changes along it as little and as smoothly as the data allow."""

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from drt_engine.elements import tails
from drt_engine.methods.base import Solution
from drt_engine.methods.log_gaussian_prepared import PreparedLogGaussian, rounded
from drt_engine.model.problem import Parameters, Problem
from drt_engine.series import differences, eigenvalues
from drt_engine.solvers.chain import LEVEL, NU, Chain, Model, Terms, bends
from drt_engine.steps import Steps
from drt_engine.threads import single_threaded_blas
from drt_engine.uncertainty.posterior import LogPosterior, cut_at_zero
from drt_kernels.chain import Mixture, components, determinants

__all__ = [
    "Across",
    "JointSolution",
    "SeparateSolutions",
    "SeriesHyperparameters",
    "SeriesProblem",
    "solve_across",
    "solve_series",
]

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

_START = 300.0
"""Strength of the coupling that the search begins with: that of the simulated campaigns within a factor of five."""

_LEAST, _MOST = 1e-2, 3e3
"""Smallest strength, at which states are as good as independent, and largest: straight lines between relaxation times
are not right to less than the changes of the slope of ln γ that it allows, 0.02, and a jump would cost too much."""

_MOST_OF_FEW, _LEAST_NUMBER = 30.0, 3
"""The same for few differences, times the square of their number, which is taken to be the latter at least: a course
through five states is smooth by chance, and with more than 300 their error is 15 % higher."""

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

_SHIFTED = 0.3
"""How much of a change of the logarithm of s counts for that where s is no longer large, and less where it is so small
that it does not matter. A large s is what the search begins with: it must have come to rest by itself."""

_USUAL, _STEEPER = 24, 4
"""A course that is measured in more steps than this has second differences that fall with the square of their number,
and the largest strength goes with the fourth power."""

_WIDER_BENDS = -1.5
"""Power of the distance of relaxation times that bends are multiplied by, so that s is the same. If ln γ were smooth it
would be −½; but the largest bend about a wider interval is larger."""

_ROUNDS, _SETTLED, _LONGEST = 16, 0.1, 1.5
"""Most rounds of bringing hyperparameters and solution into agreement; change of their logarithms that ends them; and
largest change in a round."""

_NORMAL_STEPS, _FIRST_STEPS, _STEPS = 3, 5, 2
"""Most steps of the descent that begins, with a quadratic coupling, in the first round of finding hyperparameters, and
in each other one beside the step from where they are found: these need no solution, and what is left of the way is gone
in the next round. With one in the first, processes that cross could be held
back for good, and with one in the others, 3 of 28 jumps of a resistance by a factor of two were smeared."""

_BREAK_STEPS = 10
"""Most steps towards the solution before breaks are looked for: farther from it, a jump is in several differences."""

_LEAST_ROUNDS = 3
"""Rounds that are made in any case."""

_COARSE, _COARSE_STEPS, _EXACT, _EXACT_STEPS = 0.1, 30, 1e-10, 200
"""How exact the solution is, in posterior standard deviations, and after how many steps one gives up: at first, in
single precision, and in the end."""

_CLOSE = 1e-8
"""A residual below this that no longer halves has met rounding, as the descent has it."""

_FIRM = 1e4
"""Strength above which single precision has too few digits for the last steps."""

_AT_ONCE, _FEWEST = 2000, 3
"""States times steps of the descent of a long series that are done at once, about a second, and then they are kept;
and fewest steps: what is known of the way is lost after them."""

_BEGUN, _FOUND, _NEAR = 0.1, 0.6, 0.8
"""Shares of the work until hyperparameters are looked for, until they are found, and until the solution is near."""

_LONG, _LENGTHENED = 12, 2.0
"""From more states on, changes of hyperparameters count by this where two follow each other in one direction: there κ
has a longer way to go."""

_GRAIN = 2.0**-10
"""Logarithms of hyperparameters are rounded to multiples of this, so that how they were found leaves no trace."""

_START_GRAIN = 2.0**-16
"""Unknowns that the search begins with are multiples of this."""

_STEP = 0.05
"""Of the logarithm of a strength, for the derivative of a determinant."""

_ALIKE, _AS_NOISE = 3.0, 1.5
"""How much residuals of all states have in common, in standard deviations of what noise would give, above which λ is
taken to be too large, and to which it is then brought."""

_BY_LAMBDA, _AT_LEAST = 1.4, 0.2
"""Power of λ over that of what residuals have in common: where processes are log-normal or of diffusion, that goes
with the power 0.4 to 0.9 of λ; and below the second of these, λ is not to blame: where peaks are narrower than the
spacing of relaxation times, or the instrument is wrong in all states alike, it is 0.01 to 0.03."""

_LETTINGS, _LEAST_STEP, _LEAST_LAMBDA = 6, 0.1, 0.01
"""Most rounds of that, the smallest factor of λ in one, and in all."""

_BY_NO_CHANCE, _OTHERS = 4.0, 31
"""Difference of the logarithm of the noise of a spectrum from what is usual, times the root of twice the number of its
points, that is no chance; and most spectra that say what is usual."""

_OUTLYING = 3.0
"""Residuals beyond this many scales of the noise count as this many where they are added over states."""

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

_UNRELATED = 1.0
"""Strength below which neighbours are no more alike than spectra of different cells; each then has the whole of its
prior. With half of it, errors of 24 spectra of two cells in any order were 4 to 9 % above those of spectra alone, and
with the whole 1 to 5 % below."""

_OPPOSITE, _HIGH, _HIGHER, _TWICE = 0.9, 3.0, 4.0, 2.0
"""How alike, but for their sign, neighbouring differences are at a break, and how large both are at least: the sum over
relaxation times of ln(1 + q), itself, against the median of the others, and against the next ones. It is 7 in both
where a resistance doubles, and between smooth states the likeness is below 0.7."""

_LOOSER = 16.0
"""By how much less neighbours are held together where intervals are found. At the solution each change has the weight
of one normal distribution; in truth any of a hundred relaxation times may be where something changes, and which one
the noise picks is not known. With 1, 95 % intervals of changes of R_pol between neighbours cover 90 %, with 4 94 %."""

_BY_CHANCE, _SCALINGS = 1e-4, 40
"""Chance at which the noise of one state is as large as that of the series, though its residuals are larger, and rounds
of finding how large it is."""

_SEARCHES, _MOVING, _CALM = 4, 0.1, 3.0
"""How often hyperparameters are looked for again, and s above which something may be mistaken for motion: s is 0.001 to
0.1 in smooth series of the benchmark, 0.3 where processes cross, and 0.2 to 0.6 where a jump was taken for it. Where
differences are usually lower than that once they are held together, nothing moves far: they are 0.3 to 1 then, and 10
to 40 where processes cross and along temperature."""

_SETTLED_BY = 0.6
"""Share of finding a posterior that is done when it is known how well bends and changes are known."""

_MANY = 12
"""Fewest states of which the search begins again: of ten that drift fast, it then ended with s of 0.01 to 0.05 instead
of 0.1 and an error 15 % higher."""

_HELD_STEPS = 60
"""Most steps of the descent that tells motion from breaks."""

_SHARINGS = 8
"""Rounds of finding what share of the single priors counts."""

_FASTEST = 6.0
"""Courses across lines that the solver looks at as a whole have waves longer than this many lines."""


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
    coupling_across, shift_across : ndarray, shape (K,)
        Those across series that are inverted together; NaN if none are.
    """

    coupling: Array = field(kw_only=True)
    shift: Array = field(kw_only=True)
    coupling_across: Array = field(kw_only=True)
    shift_across: Array = field(kw_only=True)


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

    def with_rows(self, rows: NDArray[np.intp], found: Solution) -> "SeparateSolutions":
        """Put in what was found for some of the spectra.

        Parameters
        ----------
        rows : ndarray of int
            Which.
        found : Solution
            Their solutions.
        """

        def put(whole: Any, part: Any) -> Any:
            out = whole.copy()
            out[rows] = part
            return out

        known = {one.name: getattr(self.parameters, one.name) for one in fields(Parameters)}
        parameters = Parameters(**{name: put(each, getattr(found.parameters, name)) for name, each in known.items()})
        return SeparateSolutions(
            parameters, *(put(getattr(self, name), getattr(found, name)) for name in self._fields[1:])
        )


def solve_series(
    prepared: PreparedLogGaussian,
    impedance: ComplexArray,
    position: Array,
    start: SeparateSolutions,
    regularisation: float | None,
    steps: Steps | None = None,
    exponents: tuple[Array, Array] | None = None,
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
    steps : Steps, optional
        Where it is kept how far the work is.
    exponents : tuple of ndarray, shape (K,), optional
        n of the tails, as :class:`SeriesProblem` takes them.

    Returns
    -------
    solution : JointSolution
        That of the series.
    breaks : ndarray of bool, shape (K,)
        Before which spectra the series breaks.
    """
    problem = SeriesProblem(prepared, impedance, position, exponents=exponents, louder=_louder(impedance, start))
    lam = _coarse(np.exp(np.log(start.regularisation).mean())) if regularisation is None else regularisation
    found, residual = problem.solve(start, lam, steps or Steps(), given=regularisation is not None)
    return problem.solution(found, problem.noise_of_each(found), residual), problem.breaks


class Across(NamedTuple):
    """States of C lines of V places each, line after line, and how they are held together.

    Attributes
    ----------
    position : tuple of ndarray
        Where the places stand along each line, shape (V,), and the lines across, shape (C,).
    breaks : tuple of ndarray of bool
        Before which states the series breaks along and across, shape (K,).
    strength, shift : ndarray, shape (2,)
        κ and s along and across.
    """

    position: tuple[Array, Array]
    breaks: tuple[NDArray[np.bool_], NDArray[np.bool_]]
    strength: Array
    shift: Array


def solve_across(
    prepared: PreparedLogGaussian,
    impedance: ComplexArray,
    across: Across,
    start: SeparateSolutions,
    steps: Steps | None = None,
) -> JointSolution:
    """Invert series together that are neighbours in a second state, with known hyperparameters.

    Parameters
    ----------
    prepared : PreparedLogGaussian
        What single spectra on the grid share.
    impedance : ndarray of complex, shape (K, F)
        Impedances of the K = C V states, ohm; NaN where there is none.
    across : Across
        How they are held together.
    start : SeparateSolutions
        What was found for each line alone. Where there is no impedance, γ of a neighbour.
    steps : Steps, optional
        Where it is kept how far the work is.

    Returns
    -------
    JointSolution
        With κ and s along and across.
    """
    problem = SeriesProblem(prepared, impedance, *across.position)
    noise = prepared.normal * np.stack([start.noise_floor / problem.size, start.noise_relative], axis=1) ** 2
    noise = np.where(np.isfinite(problem.given), problem.given, noise)
    lam = float(np.exp(np.log(start.regularisation).mean()))
    residual = problem.solve_across(start.parameters, (noise, lam), across, steps or Steps())
    found = SeriesHyperparameters(noise[0], lam, float(across.strength[0]), float(across.shift[0]))
    solution = problem.solution(found, noise, residual)
    rows = len(impedance)
    return replace(
        solution,
        coupling_across=np.full(rows, across.strength[1]),
        shift_across=np.full(rows, across.shift[1]),
    )


@dataclass(frozen=True, eq=False)
class _Known:
    """How well everything is known at a solution."""

    share: Array  # (r,m) variance of g
    bend: Array  # (k,i)
    fit: Array  # (k,f) variance of the model's real and imaginary part together


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
    wider : float
        By how much relaxation times are farther apart than those that κ and s are for.
    exponents : tuple of ndarray, shape (K,), optional
        n of the tail of each state, and the standard deviation that they have in common; that of the problem for all,
        and known, by default.
    louder : ndarray, shape (K,), optional
        By how much the noise of each state is larger than that of the series; 1 for all by default.
    """

    def __init__(
        self,
        prepared: PreparedLogGaussian,
        impedance: ComplexArray,
        position: Array,
        across: Array | None = None,
        wider: float = 1.0,
        exponents: tuple[Array, Array] | None = None,
        louder: Array | None = None,
    ) -> None:
        self._prepared, self._problem, self._grid, self._position = prepared, prepared.problem, prepared.grid, position
        self._there = np.isfinite(impedance)
        self._impedance = z = np.where(self._there, impedance, 0.0)
        # One size for all: ln γ of neighbours are compared.
        self.size = float(np.maximum(np.abs(z.real), np.abs(z.imag)).max())
        scaled = rounded(np.hstack([z.real, z.imag]) / self.size)
        self._parts, given = prepared.variance(scaled, np.full(len(z), self.size))
        self.louder = np.ones(len(z)) if louder is None else louder
        self._parts = self._parts * (self.louder**2)[:, None, None]
        self.given = given[0, :2]
        self._terms = _terms(position, across, self._grid.logs)
        self._order = 1 if len(position) == 2 else 2
        self._spacing = spacing = np.diff(np.log(self._problem.discretisation.expansion.tau))
        self._width = 0.5 * (np.append(spacing, 0.0) + np.append(0.0, spacing))
        courses = np.zeros((0, 1)) if across is None else _courses(len(across))
        self.exponents = exponents
        last = np.zeros((0, scaled.shape[1])) if exponents is None else _tail_columns(self._problem, exponents[0])
        self.chain = Chain(scaled, self._grid, self._terms, self._width, courses, last)
        self._few = max(_AT_ONCE // len(z), _FEWEST)
        self.own_share, self._wider, self._steps = _OWN_SHARE, wider, Steps()
        of_few = _MOST_OF_FEW * max(len(position) - 2, _LEAST_NUMBER) ** 2
        self._most = min(of_few, _MOST * max(len(position) / _USUAL, 1.0) ** _STEEPER)
        self._begun = self.chain.y
        self._held = np.zeros_like(self.chain.y)
        self.cut(np.zeros(len(z), dtype=bool))

    # ---- solutions

    def begin(self, start: Parameters) -> None:
        """Start from solutions of the spectra, shape (K, M) and (K,)."""
        logs, columns = self._grid.logs, self._problem.series_elements
        x = np.hstack([start.coefficients, *(getattr(start, name)[:, None] for name in columns)]) / self.size
        x *= self._problem.scale
        with np.errstate(divide="ignore"):
            x[:, :logs] = np.log(x[:, :logs])
        self.chain.y[:] = x

    def values(self) -> Array:
        """Solutions as the problem has them, shape (K, N)."""
        x = self.chain.y.copy()
        x[:, : self._grid.logs] = np.exp(x[:, : self._grid.logs])
        return x

    def solve(
        self, start: SeparateSolutions, lam: float, steps: Steps, *, given: bool = False
    ) -> tuple[SeriesHyperparameters, float]:
        """Find hyperparameters and solution from those of the single spectra; return them and the residual.

        λ is what the search begins with, or, if it is `given`, what it stays.
        """
        self.begin(start.parameters)
        # The way is not smooth: the last bits of the start, as units of the impedance leave them, must not decide it.
        self.chain.y[:] = _START_GRAIN * np.round(self.chain.y / _START_GRAIN)
        coarser = self._prepared.coarser
        rough = self if coarser is None else _CoarserProblem(self, coarser)
        rough._begun = rough.chain.y.copy()
        # Without a coarser grid, both are the same.
        steps.on(**(self._state() | rough._state()))
        for one in (self, rough):
            one._count_by(steps)
        found = _rounded(SeriesHyperparameters(self._first_noise(start), lam, _START, _FIRST_SHIFT))
        found = found._replace(noise=np.where(np.isfinite(self.given), self.given, found.noise))
        rough._minimise(found, _COARSE, _NORMAL_STEPS, (0.0, _BEGUN), normal=True)
        found = rough._find_hyperparameters(found)
        for n in range(_SEARCHES if self._order == 2 else 0):
            rough._weigh(found)
            rough._minimise(found, _COARSE, _BREAK_STEPS, (_FOUND, _FOUND))
            again = rough._search_again(found, first=n == 0)
            if again is None:
                break
            found = rough._find_hyperparameters(again)
        rounded_off = _rounded(found if given else rough._let_go(found))
        # What is given stays as it is.
        noise = np.where(np.isfinite(self.given), found.noise, rounded_off.noise)
        found = rounded_off._replace(noise=noise)
        self.cut(rough.breaks)
        self._count_prior(found)
        rough.copy_to_finer()
        self._weigh(found)
        residual = self._minimise(found, _EXACT, _EXACT_STEPS, (_FOUND, _NEAR))
        # A jump may be sharp on these relaxation times alone.
        if self._order == 2 and rough is not self and self._cut_at(self._broken_now(found, _NEAR)[0]):
            self._weigh(found)
            residual = self._minimise(found, _EXACT, _EXACT_STEPS, (_NEAR, 1.0))
        return found, residual

    def _count_prior(self, found: SeriesHyperparameters) -> None:
        """Let the priors of single spectra count by half, but as a whole where neighbours are not alike."""
        self.own_share = _OWN_SHARE if found.strength >= _UNRELATED else 1.0

    def _count_by(self, steps: Steps) -> None:
        self._steps = steps
        self.chain.tell(steps.within)

    def _state(self) -> dict[str, Array]:
        """Name what further steps begin from: the solution, and how much it may change."""
        return {"y": self.chain.y, "relative": self._terms.relative, "held": self._held}

    def update_data(self) -> None:
        """Update the part of the data that depends on the solution but is fixed within a search: here, none does."""

    def copy_to_finer(self) -> None:
        """Copy the solution into the problem with more relaxation times: here, it is that problem."""

    def solve_across(self, start: Parameters, known: tuple[Array, float], across: Across, steps: Steps) -> float:
        """Find the solution of several series from solutions of each alone, noise (K, 2) and λ; return the residual."""
        self.begin(start)
        steps.on(**self._state())
        self._count_by(steps)
        first, last = self._terms.state[:, 0], self._terms.state.max(axis=1)
        self._cut = np.zeros(len(first), dtype=bool)
        length = len(across.position[0])
        for kind, breaks in enumerate(across.breaks):
            # How many breaks there are up to each state of its line.
            before = np.cumsum(breaks.reshape(-1, length), axis=1 - kind).ravel()
            self._cut |= (self._terms.kind == kind) & (before[last] > before[first])
        own = *known, across.strength
        self._weigh_by(across.strength, across.shift)
        self._run_in_steps(own, _COARSE, _COARSE_STEPS, (0.5, 0.6), normal=True)
        self._run_in_steps(own, _COARSE, _COARSE_STEPS, (0.6, 0.7))
        # Bends as they are in the solution of all together.
        self._weigh_by(across.strength, across.shift)
        return self._run_in_steps(own, _EXACT, _EXACT_STEPS, (0.7, 1.0))

    def solution(self, found: SeriesHyperparameters, noise: Array, residual: float) -> JointSolution:
        """Collect the solutions, with the noise of each state, shape (K, 2)."""
        rows = len(noise)
        size, x = np.full(rows, self.size), self.values()
        parameters = self._problem.parameters(x, self._impedance, size)
        fit = self._problem.impedance(parameters, self._problem.fitted(x), size)
        if self.exponents is not None:
            parameters.tail_exponent[:] = np.where(parameters.tail > 0.0, self.exponents[0], np.nan)
            found_on = self._problem.discretisation
            fit = parameters.impedance(found_on.frequency, found_on.impedance)
        no, none = np.zeros(rows, dtype=bool), np.full(rows, np.nan)
        return JointSolution(
            *(parameters, fit, np.full(rows, found.lam), np.full(rows, residual), no, no.copy()),
            *self._prepared.deviations(noise, size),
            coupling=np.full(rows, found.strength),
            shift=np.full(rows, found.shift),
            coupling_across=none,
            shift_across=none.copy(),
        )

    def noise_of_each(self, found: SeriesHyperparameters) -> Array:
        """Components of the variance of the noise of each state, shape (K, 2)."""
        return np.asarray(found.noise * (self.louder**2)[:, None])

    def _minimise(
        self,
        found: SeriesHyperparameters,
        tolerance: float,
        limit: int,
        share: tuple[float, float],
        *,
        normal: bool = False,
    ) -> float:
        own = found.noise[None], found.lam, self._strengths(found)
        return self._run_in_steps(own, tolerance, limit, share, normal=normal)

    def _run_in_steps(
        self,
        own: tuple[Array, float, Array],
        tolerance: float,
        limit: int,
        share: tuple[float, float],
        *,
        normal: bool = False,
    ) -> float:
        """Minimise, of long series few steps at a time; return the residual.

        `share` is how much of the work of all is done before and after.
        """
        before, done = np.inf, 0
        while True:
            steps = min(self._few, limit - done)
            done += steps
            reached = share[0] + (share[1] - share[0]) * done / limit
            (residual,) = self._steps.do(
                lambda: np.array([self._run(*own, tolerance, steps, normal=normal)]),  # noqa: B023
                reached,
                (1 if len(own[2]) == 1 else 2) if steps == 1 else 0,
            )
            # It ends as the descent does, also where no step can be made or has met rounding.
            met = residual == before or (residual <= _CLOSE and residual > 0.5 * before)
            if done == limit or met or not residual > tolerance:
                return float(residual)
            before = residual

    def _descend(self, found: SeriesHyperparameters, tolerance: float, limit: int, *, normal: bool = False) -> float:
        return self._run(found.noise[None], found.lam, self._strengths(found), tolerance, limit, normal=normal)

    def _strengths(self, found: SeriesHyperparameters) -> Array:
        """κ on the relaxation times of this problem: what changes over a wider interval is twice as much over two."""
        return np.array([found.strength / self._wider])

    def _run(
        self, noise: Array, lam: float, strength: Array, tolerance: float, limit: int, *, normal: bool = False
    ) -> float:
        """Minimise with the noise of all or of each state, shape (1, 2) or (K, 2)."""
        self._take(noise)
        self.chain.work_roughly(tolerance >= _COARSE or (len(strength) == 1 and strength[0] <= _FIRM))
        with single_threaded_blas():
            return self.chain.descend(Model(strength, lam, self.own_share, normal), tolerance, limit)

    def _factor(self, found: SeriesHyperparameters, *, invert: bool = False) -> bool:
        """Factor the second derivative as parabolas have it, or leave blocks of its inverse."""
        self._take(found.noise[None])
        model = Model(self._strengths(found), found.lam, self.own_share)
        self.chain.work_roughly(False)
        with single_threaded_blas():
            return self.chain.factor_touching(model, invert=invert)

    def _take(self, noise: Array) -> None:
        self.chain.precision[:] = np.where(self._there, 1.0 / np.einsum("kv,kvf->kf", noise, self._parts), 0.0)

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

    def settle(self, found: SeriesHyperparameters, parameters: Parameters, steps: Steps | None = None) -> None:
        """Take up solutions and hyperparameters, and find how well bends and changes are known.

        Where they are zero, the second derivatives of their distributions say that they are known far better than they
        are; the expected precisions of the mixtures of normal distributions that these are do not. `steps` keep how far
        this is.
        """
        self.begin(parameters)
        self._weigh(found)
        chain, steps = self.chain, steps or Steps()
        chain.tell(steps.within)
        steps.on(known=chain.known, spread=chain.spread)
        chain.looser = 1.0

        def settled() -> Array:
            self._factor(found, invert=True)
            known = self._known()
            chain.known[:], chain.spread[:] = known.bend, known.share
            return np.array([self._own_share(found, known)])

        for n in range(_PASSES):
            (self.own_share,) = steps.do(settled, _SETTLED_BY * (n + 1) / _PASSES, 2).tolist()
        chain.looser = _LOOSER

    def bent_by(self) -> float:
        """Mean of ∫ e² d ln τ: how far ln γ is from going on as it goes, whatever of it data hold."""
        e, _ = self.chain.changes(self.chain.y)
        return float((self._width * e[~self._cut] ** 2).sum(axis=1).mean()) if not self._cut.all() else math.inf

    def expect(self, bent: float) -> None:
        """Expect e to be so large for a state without data, if that is less than κ₀ allows."""
        self.chain.width = self._width * max(1.0 / (LEVEL * bent), 1.0) if bent > 0.0 else self._width

    def posterior(
        self, found: SeriesHyperparameters, parameters: Parameters, steps: Steps | None = None
    ) -> LogPosterior:
        """Estimate the uncertainty of each state by itself; after :meth:`settle`, with the same `steps`."""
        chain = self.chain

        def moments() -> tuple[Array, Array]:
            self._factor(found, invert=True)
            covariance = chain.matrix.own[: len(chain.y)].copy()
            moved = self._solved(found, np.concatenate([self._forces(found), self._left()[None]]))
            covariance += np.einsum("nki,nkj->kij", moved[:-1], moved[:-1])
            return covariance, chain.y + moved[-1]

        steps = steps or Steps()
        chain.tell(steps.within)
        covariance, mean = steps.end(moments, 3)
        rows = len(covariance)
        sizes = np.full(rows, self.size)
        noise = np.stack(self._prepared.deviations(self.noise_of_each(found), sizes), axis=1)
        return self._prepared.as_posterior(parameters, sizes, (mean, covariance), noise)

    def _solved(self, found: SeriesHyperparameters, right: Array) -> Array:
        """Minus the inverse of the second derivative times right-hand sides, shape (n, K, N)."""
        self._factor(found)
        with single_threaded_blas():
            return -self.chain.solve(right)

    def refine(self, found: SeriesHyperparameters, parameters: Parameters, tolerance: float = _EXACT) -> Array:
        """Find the solution with known hyperparameters from one near it; return γ, shape (K, M)."""
        self.begin(parameters)
        self._count_prior(found)
        self._weigh(found)
        self._descend(found, tolerance, _EXACT_STEPS)
        return self.values()[:, : self._grid.logs] * self.size

    def variance(self, floor: float, share: float) -> Array:
        """Components of the variance that belong to a, ohm, and b; NaN where the noise is given by frequency."""
        found = self._prepared.normal * np.array([floor / self.size, share]) ** 2
        return np.asarray(np.where(np.isfinite(self.given), self.given, found))

    def _forces(self, found: SeriesHyperparameters) -> Array:
        """Differentiate the gradient by ln λ, ln κ and exponents, each times how wrong they may be, shape (n, K, N)."""
        grid, logs, lam = self._grid, self._grid.logs, found.lam
        u, out = self.chain.y[:, :logs], np.zeros((2, *self.chain.y.shape))
        own, coupled = out[0, :, :logs], out[1, :, :logs]
        slope_term = lam * grid.slope * (np.diff(u, axis=1) - grid.lean)
        own[:, :-1] -= slope_term
        own[:, 1:] += slope_term
        bent = self._bends()
        knee = grid.knee[: bent.shape[1]]
        ratio = lam * (bent / knee) ** 2
        bent = grid.rate * lam * bent / (knee * np.sqrt(1.0 + ratio)) * (1.0 - 0.5 * ratio / (1.0 + ratio))
        for n in range(3):
            own[:, n : n + bent.shape[1]] += bent * grid.bend[:, n]
        own *= self.own_share * _LAMBDA_DEVIATION
        firm, share = self.chain.firm, self.chain.share
        weight = found.strength / self._wider * self._terms.relative
        slope_term = _COUPLING_DEVIATION * firm * share * firm / ((1.0 + NU) * weight) / np.sqrt(self._spacing)
        step = np.zeros((len(slope_term), logs))
        step[:, :-1] -= slope_term
        step[:, 1:] += slope_term
        for state, coefficient in zip(self._terms.state.T, self._terms.coefficient.T, strict=True):
            np.add.at(coupled, np.maximum(state, 0), coefficient[:, None] * step)
        if self.exponents is None:
            return out
        # ∂(jω)⁻ⁿ/∂n = −ln(jω) (jω)⁻ⁿ
        exponent, deviation = self.exponents
        change = -self.chain.y[:, -1:] * deviation[:, None] * _tail_columns(self._problem, exponent, slope=True)
        return np.concatenate([out, self.chain.forces(change)[None]])

    def _left(self) -> Array:
        """Gradient of the elements, which is left where one is held at zero, shape (K, N)."""
        out = np.where(self.chain.y == 0.0, self.chain.gradient, 0.0)
        out[:, : self._grid.logs] = 0.0
        return out

    def pair(self, found: SeriesHyperparameters, one: int, other: int) -> Array:
        """Covariance of ln γ of two states, shape (2 M, 2 M); after :meth:`settle`.

        R_inf, L and 1/C of both are cut off at zero together: if each state were cut off by itself, what that tells
        of the two would not fall out of their difference. States that are noisier than the series add what their data
        move the two by, beyond what the noise of the series does.
        """
        logs, size = self._grid.logs, self._grid.size
        right = np.zeros((2 * size, *self.chain.y.shape))
        for place, state in enumerate((one, other)):
            right[place * size + np.arange(size), state, np.arange(size)] -= 1.0
        # Forces are those at what was evaluated last.
        self._factor(found)
        with single_threaded_blas():
            solved = -self.chain.solve(np.concatenate([right, self._forces(found), self._left()[None]]))
        moved, shift = solved[2 * size : -1], solved[-1]
        covariance = np.concatenate([solved[: 2 * size, state] for state in (one, other)], axis=1)
        covariance += self._by_noise(solved[: 2 * size])
        forces = np.concatenate([moved[:, state] for state in (one, other)], axis=1)
        covariance += forces.T @ forces
        mean = np.concatenate([self.chain.y[state] + shift[state] for state in (one, other)])
        if size > logs:
            at = np.arange(2 * size).reshape(2, size)
            order = np.concatenate([at[:, :logs].ravel(), at[:, logs:].ravel()])
            mean, covariance = mean[None, order], covariance[None][:, order][:, :, order]
            _, covariance, _ = cut_at_zero(mean, covariance, 2 * logs)
            covariance = covariance[0]
        return np.asarray(covariance[: 2 * logs, : 2 * logs])

    def noisier(self) -> Array:
        """Estimate by how much the variance of the noise of each state exceeds that of the series, shape (K,).

        In units of the latter, with Student's distribution of the residuals where the method has it; zero where it may
        be chance. After :meth:`settle`.
        """
        chain, tail, number = self.chain, self._grid.tail, 2.0 * self._there.sum(axis=1).clip(min=1)
        real, imag = np.hsplit(chain.residual, 2)
        square, times = np.where(self._there, chain.precision * (real**2 + imag**2), 0.0), np.ones(len(number))
        for _ in range(_SCALINGS):
            times = (square * (1.0 + 2.0 * tail) / (1.0 + tail * square / times[:, None])).sum(axis=1) / number
            times = np.maximum(times, _LEAST_VARIANCE)
        return np.where(times > chdtri(number, _BY_CHANCE) / number, times - 1.0, 0.0)

    def _by_noise(self, solved: Array) -> Array:
        """Covariance that noisier states add to contrasts, of which H⁻¹ times each is given, shape (n, K, N)."""
        more, logs = self.noisier(), self._grid.logs
        out, values = np.zeros((len(solved), len(solved))), self.values()
        for k in np.flatnonzero(more):
            columns = self._problem.matrix * np.append(values[k, :logs], np.ones(self._grid.size - logs))
            moved = solved[:, k] @ (np.tile(np.sqrt(self.chain.weight[k]), 2)[:, None] * columns).T
            out += more[k] * (moved @ moved.T)
        return out

    # ---- hyperparameters

    def _let_go(self, found: SeriesHyperparameters) -> SeriesHyperparameters:
        """Let λ be less, as long as what the data leave in all states alike shows that it holds γ back."""
        least, before, alike = _LEAST_LAMBDA * found.lam, found, math.inf
        for _ in range(_LETTINGS):
            self._weigh(found)
            self._minimise(found, _COARSE, _BREAK_STEPS, (_FOUND, _FOUND))
            (left,) = self._steps.do(lambda: np.array([self._alike(found)]), _FOUND).tolist()  # noqa: B023
            if left > alike * (found.lam / before.lam) ** _AT_LEAST:
                # It is not λ, but what no γ describes.
                self.chain.y[:] = self._held
                return before
            if left <= _ALIKE or found.lam <= least:
                break
            before, alike = found, left
            self._held[:] = self.chain.y
            less = max((_AS_NOISE / left) ** _BY_LAMBDA, _LEAST_STEP)
            found = self._find_hyperparameters(found._replace(lam=max(found.lam * less, least)))
        return found

    def _alike(self, found: SeriesHyperparameters) -> float:
        """Say how much the residuals of all states have in common, in standard deviations of what noise would give.

        What is wrong in all states alike, such as a peak that the prior holds too low, is in each hidden by the noise.
        In the sum over the states it is not. It is the same at neighbouring frequencies, as noise is not: what is
        summed is the product of those, over the mean square of all residuals.
        """
        self._take(found.noise[None])
        self.chain.evaluate(self.chain.y, Model(self._strengths(found), found.lam, self.own_share))
        parts = self.chain.residual.reshape(len(self.chain.y), 2, -1) * np.sqrt(self.chain.precision)[:, None]
        parts *= np.minimum(1.0, _OUTLYING / np.maximum(np.abs(parts), _OUTLYING))
        number = self._there.sum(axis=0)
        mean = parts.sum(axis=0)[:, number > 0] / np.sqrt(number[number > 0])
        square = (parts**2).sum() / max(2 * number.sum(), 1)
        products = mean[:, 1:] * mean[:, :-1]
        return float(products.sum() / np.sqrt(products.size) / square) if square > 0.0 and products.size else 0.0

    def _first_noise(self, start: SeparateSolutions) -> Array:
        """Components of the variance: given, or the medians of those of the single spectra."""
        floor, share = start.noise_floor / self.louder, start.noise_relative / self.louder
        found = self._prepared.normal * np.array([np.median(floor) / self.size, np.median(share)]) ** 2
        known = np.isfinite(self.given)
        least = np.where(known, 0.0, _LEAST_VARIANCE)
        return np.asarray(np.where(known, self.given, np.maximum(np.nan_to_num(found), least)))

    def _find_hyperparameters(self, found: SeriesHyperparameters) -> SeriesHyperparameters:
        """Bring hyperparameters and solution into agreement."""
        before = np.zeros(2)
        length = np.full(2, _LONGEST)
        for n in range(_ROUNDS):
            self._weigh(found)
            self.update_data()
            share = _BEGUN + (_FOUND - _BEGUN) * np.array([n, n + 1]) / _ROUNDS
            limit = _FIRST_STEPS if n == 0 else _STEPS
            if limit > self._few:
                self._minimise(found, _COARSE, limit, (share[0], share[1]))
                limit = 0
            told = self._steps.do(lambda: self._told(found, limit), share[1], 0 if limit else 2)  # noqa: B023
            if not told.size:
                break
            noise, wanted = told[:-2], told[-2:]
            change = np.log(wanted / [found.strength, found.shift])
            # Halved where it turns round, since the two depend on each other, and doubled again where it goes on.
            length = np.minimum(length * 2.0 ** np.sign(change * before), _LONGEST)
            if len(self.chain.y) > _LONG:
                change = np.where(change * before > 0.0, _LENGTHENED * change, change)
            before = change.clip(-length, length)
            settled = np.abs(np.log(noise[noise > 0.0] / found.noise[noise > 0.0])).max(initial=0.0)
            strength = min(max(found.strength * np.exp(before[0]), _LEAST), self._most)
            moved = abs(np.log(strength / found.strength))
            found = found._replace(
                noise=noise, strength=strength, shift=max(found.shift * np.exp(before[1]), _LEAST_SHIFT)
            )
            # All of what it should change by: a step that was shortened has not come to rest.
            shifted = abs(change[1])
            if found.shift <= _MOVING:
                shifted *= _SHIFTED * min(found.shift / _SHIFT, 1.0)
            if n + 1 >= _LEAST_ROUNDS and max(moved, settled, shifted) <= _SETTLED:
                break
        return found

    def _told(self, found: SeriesHyperparameters, limit: int) -> Array:
        """Estimate noise, strength and shift from the solution, in this order; empty where that is impossible.

        The factor that this needs serves for a step as well.
        """
        if limit:
            self._descend(found, _COARSE, limit)

        def look() -> Array:
            known = self._known()
            return np.array([*self._noise(found, known), *self._strength(found, known)])

        self._take(found.noise[None])
        self.chain.work_roughly(False)
        with single_threaded_blas():
            return self.chain.step_touching(Model(self._strengths(found), found.lam, self.own_share), look)

    def _weigh(self, found: SeriesHyperparameters) -> None:
        """Let changes be larger where ln γ bends: a process that moves takes its bends along.

        The variance of g is 1/κ + s²c², with c the largest bend about an interval in any of the states.
        """
        self._weigh_by(self._strengths(found), np.array([found.shift]))

    def _weigh_by(self, strength: Array, shift: Array) -> None:
        kind = self._terms.kind
        moved = (shift * (1.0 + np.minimum((shift / _FAR) ** 2, _CAUTION)))[kind, None] * self._bent()
        relative = 1.0 / (1.0 + strength[kind, None] * moved**2)
        self._terms.relative[:] = np.where(self._cut[:, None], _LOOSE, relative)

    def _bent(self) -> Array:
        """Largest bend about each interval of each difference, shape (R, M − 1)."""
        from scipy.ndimage import maximum_filter1d

        padded = np.zeros((len(self.chain.b), self._grid.logs + 1))
        padded[:, 1:-2] = np.abs(self._bends())
        # Column m of the filter has the nodes m − 2 … m + 1 of the padded row, which are m − 1 … m + 2 of the grid.
        about = maximum_filter1d(padded, _REACH, axis=1, mode="constant", origin=-1)[:, : self._spacing.size]
        state = self._terms.state
        largest = np.where(state[:, :, None] >= 0, about[state], 0.0).max(axis=1)
        return np.asarray(largest * self._wider**_WIDER_BENDS)

    def _bends(self) -> Array:
        """Compute changes of the slope of ln γ, shape (K, M − 2)."""
        return bends(self.chain.y, self._grid)

    def _known(self) -> _Known:
        """Variances from the blocks of the inverse."""
        return _Known(*self.chain.variances())

    def _noise(self, found: SeriesHyperparameters, known: _Known) -> Array:
        """Components of the variance that residuals and what is not known of the model show."""
        free = ~np.isfinite(self.given)
        if not free.any():
            return found.noise
        points, chain = self.chain.precision.shape[1], self.chain
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = np.where(self._there, chain.weight / chain.precision, 0.0)
        square = weight * (chain.residual[:, :points] ** 2 + chain.residual[:, points:] ** 2) + known.fit
        parts = self._parts.transpose(1, 0, 2)[:, self._there][free]
        expected, width = self._grid.noise[0][free], self._grid.noise[1][free]
        counts, parts = np.full(parts.shape[1], 2.0), np.ascontiguousarray(parts)
        log = components(Mixture(counts, square[self._there], parts, expected, width**-2), np.log(found.noise[free]))
        out = found.noise.copy()
        out[free] = np.maximum(np.exp(log), _LEAST_VARIANCE)
        return out

    def _strength(self, found: SeriesHyperparameters, known: _Known) -> tuple[float, float]:
        """Strength of the coupling and shift that the changes show.

        By the derivative of the marginal likelihood with the solution held (D. J. C. MacKay, Neural Comput. 4 (1992)
        415): each change counts as far as the data determine it.
        """
        number, chain = self._spacing.size, self.chain
        firm, share = chain.firm, chain.share
        expected = self._determined(found, known) / firm.size
        counts = (expected - firm * known.share).clip(min=1e-3)
        relative = self._terms.relative
        square = firm / (found.strength / self._wider * relative) * share**2
        parts = np.stack([np.full(firm.size, self._wider), self._bent().ravel() ** 2])
        start = np.log([1.0 / found.strength, found.shift**2])
        about = np.array([0.0, np.log(_SHIFT**2)]), np.array([0.0, _SHIFT_WEIGHT])
        kept = ~np.repeat(self._cut, number)
        parts = np.ascontiguousarray(parts[:, kept])
        log = components(Mixture(counts.ravel()[kept], square.ravel()[kept], parts, *about), start)
        return float(np.exp(-log[0])), float(np.exp(0.5 * log[1]))

    def _search_again(self, found: SeriesHyperparameters, *, first: bool) -> SeriesHyperparameters | None:
        """Let go of the differences across breaks; return what the search is to begin with, None if it is done.

        A jump that is held makes κ small or s large, and others are not seen beside it.
        """
        broken, high = self._broken_now(found, _FOUND)
        if self._cut_at(broken):
            return found
        moving = found.shift > _MOVING
        if not (moving or high):
            return None
        held = found._replace(strength=_START, shift=_SHIFT)
        *broken, usual = self._steps.do(lambda: self._broken_if(held, found), _FOUND).tolist()
        if self._cut_at(np.array(broken)):
            return found
        return held if first and moving and usual < _CALM and len(self.chain.b) >= _MANY else None

    def _broken_now(self, found: SeriesHyperparameters, share: float) -> tuple[Array, bool]:
        """Where the series breaks at the solution, and whether two neighbouring differences are far above the others.

        Where κ is large and s small already, a jump may have been drawn apart over several states.
        """

        def look() -> Array:
            broken, height = self._broken(found)
            lower = np.minimum(height[1:], height[:-1])
            return np.append(broken, lower.max(initial=0.0) > max(_HIGH, _HIGHER * float(np.median(height))))

        *broken, high = self._steps.do(look, share).tolist()
        return np.array(broken), high > 0.0

    def _cut_at(self, broken: Array) -> bool:
        """Let go of the differences across further breaks; return whether there are any."""
        breaks = self._breaks.copy()
        breaks[2:-1] |= broken > 0.0
        if (breaks == self._breaks).all():
            return False
        self.cut(breaks)
        return True

    def _broken_if(self, held: SeriesHyperparameters, found: SeriesHyperparameters) -> Array:
        """Where the series breaks if little is expected to move, and how high differences usually are then.

        In a short series, or if a resistance is many times larger after it, a jump is taken for processes that move
        far in each step. Held together, it remains in one place, and processes that move are drawn apart in all.
        """
        y = self.chain.y.copy()
        if found.shift <= _MOVING:
            # What was drawn apart does not come together again.
            self.chain.y[:] = self._begun
        self._weigh(held)
        residual = self._descend(held, _COARSE, _HELD_STEPS)
        broken, height = self._broken(held)
        self.chain.y[:] = y
        self._weigh(found)
        # On the way, what is still to be moved looks like breaks.
        return np.append(broken, np.median(height)) if residual <= _COARSE else np.append(broken & False, np.inf)

    def _broken(self, found: SeriesHyperparameters) -> tuple[NDArray[np.bool_], Array]:
        """Whether the series breaks between the middle states of neighbouring differences, shape (R − 1,); heights.

        A jump appears in both with opposite sign, and far above what Student's distribution expects; a course that
        bends quickly appears in several with either sign.
        """
        changes = np.sqrt(found.strength / self._wider * self._terms.relative) * self.chain.changes(self.chain.y)[1]
        height = self._wider * np.log1p(changes**2).sum(axis=1)
        length = np.sqrt((changes**2).sum(axis=1))
        with np.errstate(invalid="ignore", divide="ignore"):
            opposite = -np.sum(changes[1:] * changes[:-1], axis=1) / (length[1:] * length[:-1])
        lower = np.minimum(height[1:], height[:-1])
        broken = (lower > _HIGH) & (opposite > _OPPOSITE)
        for r in np.flatnonzero(broken):
            # Of few differences, the two across a break are a large part.
            others = np.delete(height, [r, r + 1])
            broken[r] = others.size > 0 and lower[r] > _HIGHER * np.median(others)
            # One spectrum that is off by itself shows in three differences, twice as far in the middle one.
            beside = height[[n for n in (r - 1, r + 2) if 0 <= n < height.size]].max(initial=0.0)
            broken[r] &= lower[r] > _TWICE * beside
        return np.asarray(broken), height

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
        eigen = eigenvalues(self._position)
        count = eigen.size
        knee = self._grid.knee[: logs - 2]
        stiff = (self._grid.rate * lam / np.sqrt(knee**2 + lam * (self._bends() ** 2 + known.bend))).mean(axis=0)
        steps = (self.chain.firm / self._spacing).mean(axis=0)
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
        bands[0] += _LOOSE + LEVEL * np.tile(eigen, 4)[:, None] * self._width
        below, above, less, more = determinants(bands).reshape(4, count).sum(axis=1) * states / count
        return float((above - below) / (2.0 * _STEP)), float((more - less) / (2.0 * _STEP))


# Of data that are divided by their size, as in `drt_kernels.log_gaussian`: straight lines between relaxation times
# are not exact.
_LEAST_VARIANCE = 1e-10


class _CoarserProblem(SeriesProblem):
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

        few, many = (one.problem.discretisation.expansion.tau for one in (prepared, finer._prepared))
        z = np.where(finer._there, finer._impedance, np.nan)
        wider = (many.size - 1) / (few.size - 1)
        super().__init__(prepared, z, finer._position, wider=wider, exponents=finer.exponents, louder=finer.louder)
        self._finer = finer
        self._between = CubicSpline(np.log(few), np.eye(few.size), axis=0)(np.log(many)).T
        self.chain.y[:, : few.size] = finer.chain.y[:, np.searchsorted(many, few)]
        self.chain.y[:, few.size :] = finer.chain.y[:, many.size :]
        self.update_data()

    def _state(self) -> dict[str, Array]:
        return {f"rough_{name}": values for name, values in super()._state().items()} | {"rough_b": self.chain.b}

    def update_data(self) -> None:
        """Subtract from the data by how much the finer model differs from this one at the solution."""
        finer, u = self._finer.chain, self.chain.y[:, : self._grid.logs]
        self.chain.b[:] = finer.b + self.chain.curves(np.exp(u)) - finer.curves(np.exp(u @ self._between))

    def copy_to_finer(self) -> None:
        """Interpolate ln γ of the solution on the relaxation times of the finer problem."""
        y, few, many = self.chain.y, self._grid.logs, self._finer._grid.logs
        self._finer.chain.y[:, :many] = y[:, :few] @ self._between
        self._finer.chain.y[:, many:] = y[:, few:]


def _louder(impedance: ComplexArray, start: SeparateSolutions) -> Array:
    """Say by how much the noise of each spectrum is larger or smaller than is usual in its series, shape (K,).

    Compared are geometric means of √(a² + b²|Z|²) over the points of the spectrum, with a and b of its own and with
    those of up to 31 others, of which the median counts. It is 1 where the two differ by no more than chance may make
    of so many points, or where the noise is known.
    """
    floor, share, rows = start.noise_floor, start.noise_relative, len(impedance)
    out, size = np.ones(rows), np.abs(impedance)
    if not np.isfinite(floor + share).all():
        return out
    others = np.unique(np.linspace(0, rows - 1, min(rows, _OTHERS)).round().astype(int))
    for k in range(rows):
        z = size[k][np.isfinite(size[k])]
        own = float(np.log(np.hypot(floor[k], share[k] * z)).mean())
        usual = float(np.median(np.log(np.hypot(floor[others, None], share[others, None] * z)).mean(axis=1)))
        if abs(own - usual) > _BY_NO_CHANCE / np.sqrt(2.0 * z.size):
            out[k] = _coarse(np.exp(own - usual))
    return out


def _tail_columns(problem: Problem, exponent: Array, *, slope: bool = False) -> Array:
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


def _rounded(found: SeriesHyperparameters) -> SeriesHyperparameters:
    noise = np.array([_coarse(value) for value in found.noise])
    return found._replace(noise=noise, strength=_coarse(found.strength), shift=_coarse(found.shift))


def _coarse(value: float) -> float:
    """Round the logarithm of a hyperparameter."""
    return float(np.exp(_GRAIN * np.round(np.log(value) / _GRAIN))) if value > 0.0 else value
