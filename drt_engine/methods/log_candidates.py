"""Which model of several a spectrum is solved with: each is tried, and the most probable one taken."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drt_engine.discretisation import Discretisation
from drt_engine.elements import Tail, TailName, Terms, tail_kinds
from drt_engine.methods.base import Answer
from drt_engine.methods.log_models import Fit, LogModel, both_grids, both_signs
from drt_engine.methods.log_prepared import LogPrepared, Noise
from drt_engine.methods.posterior import LogPosterior, cut_at_zero
from drt_engine.problem import KKT_TOLERANCE, Problem, Unknowns, assemble_with
from drt_kernels import log_gaussian

__all__ = ["LogModels"]

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

_AUTO: tuple[TailName, ...] = ("none", "capacitor", "cpe", "warburg")
"""What ``"auto"`` chooses from. A finite space is a capacitor with relaxations beside it, which γ has."""

_LIKELY = float(np.log(20.0))
"""Difference of logarithms of evidence below which a model is not ruled out."""

_SAME = 0.05
"""Share of R_pol by which two models may differ that are not told apart."""

_EXPONENTS = (0.03, 0.1, 0.2, 0.3, 0.4, 0.5)
"""1 − n that are tried at the start."""

_DIFFUSION = (-3.5, -2.0, -0.5, 1.0)
"""ln(T ω_min) that are tried at the start."""

_LOSS = 0.05
"""1 − m at the start."""

_LOST, _STEPS = 1.0, (0.03, 0.015, 0.007, 0.0035)
"""By how much the logarithm of the evidence may fall when a shape is let go of; and steps of looking for it else."""

_LATE, _HOLD = 0.3, 1e4
"""Relaxation times beyond this share of 1/ω_min, and how strongly γ is held down there at the start: what is slow is
given to the tail first."""


class LogModels:
    """The models of a grid that spectra are solved with.

    Parameters
    ----------
    discretisation : Discretisation
        The matrices of γ.
    tail : str
        Name of a tail, or ``"auto"``.
    inductance : bool or "cpe"
        None, a coil, or one with losses.
    noise, robust
        As :class:`LogPrepared` takes them.
    """

    def __init__(
        self, discretisation: Discretisation, tail: Tail, inductance: bool | str, noise: Noise, robust: bool
    ) -> None:
        self.discretisation, self._tail = discretisation, tail
        coil: Any = "cpe" if inductance == "cpe" else "coil" if inductance else "none"
        # That there is no tail is tried as well: what cannot be told apart is said.
        names = _AUTO if tail == "auto" else tuple(dict.fromkeys(("none", tail)))
        # A lossy inductance that is nothing is a coil that is nothing.
        coils = dict.fromkeys((coil, "coil" if coil == "cpe" else coil))
        every = [Terms(name, one) for name in names for one in coils]
        self._candidates = {terms: Candidate(discretisation, terms, False, noise, robust) for terms in every}
        self._coil = coil
        self._prepared = self._candidates[every[0]].model.prepared

    def solve(self, impedance: ComplexArray, regularisation: float | None) -> Answer:
        """Invert finite spectra.

        Parameters
        ----------
        impedance : ndarray of complex, shape (K, F)
            Impedances, ohm.
        regularisation : float or None
            λ, or None where it is to be found.
        """
        b, size = self._prepared.data(impedance)
        parts, given = self._prepared.variance(b, size)
        given[:, 2] = np.nan if regularisation is None else regularisation
        starts = {name: candidate.starts(b) for name, candidate in self._candidates.items()}
        rows = _Rows(len(b), self.discretisation.expansion.tau.size)
        for k in map(int, np.flatnonzero(b.any(axis=1))):
            found = {}
            for name, candidate in self._candidates.items():
                one = candidate.fit(b[k], parts[k], given[k], [some[k] for some in starts[name]])
                if one is not None:
                    found[name] = one
            best, doubt = self._choose(found)
            rows.put(k, self._candidates[best], found[best], float(size[k]))
            rows.doubtful[k] = doubt
        fit = rows.unknowns.impedance(self.discretisation.frequency, self.discretisation.impedance)
        no = np.zeros(len(b), dtype=bool)
        noise = self._prepared.deviations(rows.hyper, size)
        return Answer(rows.unknowns, fit, rows.hyper[:, 2].copy(), rows.residual, no, no.copy(), *noise, rows.doubtful)

    def _choose(self, found: dict[Terms, Fit]) -> tuple[Terms, bool]:
        """Return which model is taken, and whether another one that says something else is not ruled out."""
        solved = {terms: fit for terms, fit in found.items() if fit.residual <= KKT_TOLERANCE} or found
        asked = [terms for terms in solved if self._tail in (terms.tail, "auto")] or list(solved)
        asked = [terms for terms in asked if terms.inductance == self._coil] or asked
        best = max(asked, key=lambda terms: solved[terms].evidence)
        least, r_pol = solved[best].evidence - _LIKELY, self._r_pol(solved[best])
        others = [self._r_pol(fit) for fit in solved.values() if fit.evidence > least]
        return best, any(abs(other - r_pol) > _SAME * r_pol for other in others)

    def _r_pol(self, fit: Fit) -> float:
        areas = self.discretisation.expansion.areas
        return float(fit.values[: areas.size] @ areas)

    def posterior(
        self, impedance: ComplexArray, unknowns: Unknowns, regularisation: Array, noise: tuple[Array, Array] | None
    ) -> LogPosterior:
        """Say how sure answers are; see :meth:`LogPrepared.posterior`."""
        b, size = self._prepared.data(impedance)
        parts, given = self._prepared.variance(b, size, noise)
        given[:, 2] = regularisation
        expansion = self.discretisation.expansion
        logs, rows = expansion.tau.size, len(b)
        names = self.extras
        number = logs + len(names)
        covariance, shift = np.full((rows, number, number), np.nan), np.full((rows, number), np.nan)
        uncut, hyper = np.full((rows, 2, len(names)), np.nan), np.full((rows, 3), np.nan)
        terms = self._terms(unknowns)
        for k in range(rows):
            candidate = self._candidates[terms[k]]
            values, shape = candidate.inverse(unknowns, k, float(size[k]))
            if not np.isfinite(values).all() or not (values[:logs] > 0.0).all() or not regularisation[k] > 0.0:
                continue
            model = candidate.model
            y, scale, shifted, grid = model.linearised(b[k], values, shape)
            mean, spread, used = np.empty((1, y.size)), np.empty((1, y.size, y.size)), np.empty((1, 3))
            log_gaussian.posteriors(
                shifted[None], parts[k : k + 1], y[None], given[k : k + 1], grid, mean, spread, used
            )
            factors = 1.0 / scale
            factors[model.logs : model.linear] *= size[k]
            factors[: model.logs] = 1.0
            mean, spread = mean * factors, spread * factors[:, None] * factors
            mean, spread, loose = cut_at_zero(mean, spread, model.logs)
            own = [logs + names.index(name) for name in (*candidate.terms.extras, *candidate.terms.shapes)]
            place = np.array([*range(logs), *own])
            mean[:, :logs] -= y[:logs]
            shift[k, place], hyper[k] = mean[0], used[0]
            covariance[k][np.ix_(place, place)] = spread[0]
            uncut[k][:, place[logs:] - logs] = loose[0]
        known_noise = np.stack(self._prepared.deviations(hyper, size), axis=1)
        goes_on = bool(2.0 * np.pi * self.discretisation.frequency.min() * expansion.tau[-1] > 1.0)
        return LogPosterior(expansion, unknowns, names, covariance, known_noise, shift, uncut, goes_on)

    @property
    def extras(self) -> tuple[str, ...]:
        """Unknowns beside γ that any of the models has."""
        linear = [name for candidate in self._candidates.values() for name in candidate.terms.extras]
        shapes = [name for candidate in self._candidates.values() for name in candidate.terms.shapes]
        return tuple(dict.fromkeys((*linear, *shapes)))

    def _terms(self, unknowns: Unknowns) -> list[Terms]:
        """Which model each answer is of."""
        tails = {terms.tail for terms in self._candidates}
        terms: list[Terms] = []
        for k, kind in enumerate(tail_kinds(unknowns.tail, unknowns.tail_exponent, unknowns.tail_tau)):
            name: TailName = kind
            if self._tail == "capacitor" or (kind == "none" and unknowns.elastance[k] > 0.0):
                name = "capacitor"
            elif kind not in tails:
                # One of an exponent that has another name as well.
                name = "cpe"
            coil: Any = self._coil if unknowns.inductance[k] > 0.0 or self._coil != "cpe" else "coil"
            terms.append(Terms(name, coil))
        return terms


class _Rows:
    """Answers of spectra, put in one by one."""

    def __init__(self, rows: int, size: int) -> None:
        blank = np.zeros(rows)
        self.unknowns = Unknowns(np.zeros((rows, size)), blank, blank.copy(), blank.copy(), tail=blank.copy())
        self.hyper, self.residual = np.tile([0.0, 0.0, 1.0], (rows, 1)), np.zeros(rows)
        self.doubtful = np.zeros(rows, dtype=bool)

    def put(self, k: int, candidate: "Candidate", fit: Fit, size: float) -> None:
        """Put in what was found for a spectrum."""
        known, terms = self.unknowns, candidate.terms
        logs = known.coefficients.shape[1]
        known.coefficients[k] = fit.values[:logs] * size
        for name, value in zip(terms.extras, fit.values[candidate.model.logs :], strict=True):
            getattr(known, name)[k] = value * size
        if known.tail[k] > 0.0:
            known.tail_exponent[k], known.tail_tau[k] = terms.tail_numbers(candidate.omega, fit.shape)
        if "loss" in terms.shapes:
            known.inductance_exponent[k] = 1.0 - fit.shape[terms.shapes.index("loss")]
        self.hyper[k], self.residual[k] = fit.hyper, fit.residual


class Candidate:
    """One model of a grid with the problems that it is started from.

    Parameters
    ----------
    discretisation : Discretisation
        The matrices of γ.
    terms : Terms
        What is in series with γ.
    signed : bool
        Whether γ may be of either sign.
    noise, robust
        As :class:`LogPrepared` takes them.
    """

    def __init__(self, discretisation: Discretisation, terms: Terms, signed: bool, noise: Noise, robust: bool) -> None:
        self.terms, self.signed = terms, signed
        self.omega = omega = 2.0 * np.pi * discretisation.frequency
        self._starts = [np.array(shape) for shape in _starting_shapes(terms, omega)]
        self._prepared = []
        for shape in self._starts:
            columns = np.array([terms.column(name, omega, shape) for name in terms.extras]).T
            problem = assemble_with(discretisation, "complex", terms.extras, columns)
            if terms.tail != "none":
                problem = _held_down(problem, discretisation.expansion.tau > _LATE / omega.min())
            problem = both_signs(problem) if signed else problem
            prepared = LogPrepared(problem, noise, robust)
            if signed:
                prepared.grid = both_grids(prepared.grid)
            self._prepared.append(prepared)
        self.model = LogModel(self._prepared[0], terms)

    def inverse(self, unknowns: Unknowns, k: int, size: float) -> tuple[Array, Array]:
        """Values and shapes of an answer, as a :class:`Fit` has them."""
        linear = [getattr(unknowns, name)[k] for name in self.terms.extras]
        shapes = {
            "exponent": 1.0 - unknowns.tail_exponent[k],
            "diffusion": np.log(unknowns.tail_tau[k] * self.omega.max()),
            "loss": 1.0 - unknowns.inductance_exponent[k],
        }
        values = np.concatenate([unknowns.coefficients[k], linear]) / size
        return values, np.array([shapes[name] for name in self.terms.shapes])

    def starts(self, b: Array) -> list[Array]:
        """Where the search begins for spectra, one for each shape that is tried: ln γ and linear unknowns, (K, N) each.

        Parameters
        ----------
        b : ndarray, shape (K, n)
            Scaled data.
        """
        return [prepared.beginning(b) for prepared in self._prepared]

    def fit(self, b: Array, parts: Array, given: Array, starts: list[Array]) -> Fit | None:
        """Find the answer for one spectrum: the best of those with a shape held, and from there on with it free.

        Parameters
        ----------
        b, parts, given
            As :meth:`LogModel.fit` takes them.
        starts : list of ndarray, shape (N,)
            Rows of :meth:`starts`.
        """
        if not self.terms.shapes:
            return self.model.fit(b, parts, given, starts[0], self._starts[0])
        held = [self.model.fit_held(b, parts, given, *pair) for pair in zip(starts, self._starts, strict=True)]
        found = [(fit.evidence, fit, y) for y, fit in held if fit is not None]
        if not found:
            return None
        evidence, best, y = max(found, key=lambda one: one[0])
        free = self.model.fit(b, parts, given, y, best.shape)
        if free is not None and free.evidence >= evidence - _LOST:
            return free
        return self._profiled(b, parts, given, y, best)

    def _profiled(self, b: Array, parts: Array, given: Array, y: Array, best: Fit) -> Fit:
        """Look for the largest evidence with the shapes held, where letting go of them leads to a worse answer."""
        for step in _STEPS:
            for at in range(best.shape.size):
                for sign in (1.0, -1.0):
                    shape = best.shape.copy()
                    shape[at] = min(max(shape[at] + sign * step, 0.0), self.model.bounds[at])
                    other, fit = self.model.fit_held(b, parts, given, y, shape)
                    if fit is not None and fit.evidence > best.evidence:
                        best, y = fit, other
                        break
        return best


def _starting_shapes(terms: Terms, omega: Array) -> list[list[float]]:
    shapes: list[list[float]] = [[]]
    if terms.tail == "cpe":
        shapes = [[p] for p in _EXPONENTS]
    elif terms.tail == "warburg-open":
        span = float(np.log(omega.max() / omega.min()))
        shapes = [[max(span + at, 1.0)] for at in _DIFFUSION]
    return [[*shape, _LOSS] if terms.inductance == "cpe" else shape for shape in shapes]


def _held_down(problem: Problem, late: NDArray[np.bool_]) -> Problem:
    rows = np.zeros((np.count_nonzero(late), problem.scale.size))
    rows[np.arange(len(rows)), np.flatnonzero(late)] = np.sqrt(_HOLD)
    factor = np.vstack([problem.penalty_factor, rows])
    return replace(problem, penalty_factor=factor, penalty=factor.T @ factor)
