"""Matrices and factors of a frequency grid, made once, and the solution of a tile of its spectra with them."""

from collections.abc import Callable
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import InputError
from drt_engine.methods.base import Solution
from drt_engine.model.gsvd import factorise
from drt_engine.model.problem import OPTIMALITY_TOLERANCE, Parameters, Problem, filled
from drt_engine.model.weighting import (
    Weighting,
    deviations_at,
    weights_by_modulus,
    weights_by_residual,
    weights_by_sigma,
)
from drt_engine.regularisation import (
    GRID,
    Criterion,
    CriterionName,
    Observed,
    at_edge,
    criterion_for,
    smallest,
    tally,
)
from drt_engine.solvers import Solver, SolverName, solver_for
from drt_engine.uncertainty.truncated_normal import TruncatedPosterior, truncated_posterior

__all__ = ["PreparedTikhonov"]

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

_MOST_ROUNDS, _SETTLED = 20, 0.01
"""Rounds of iterated weights, and the relative change of a weight that ends them."""

_REMEMBERED = 512
"""Spectra whose iterated weights are kept, so that intervals need no rounds again: as many as a block has at most."""


class PreparedTikhonov:
    """Everything that the spectra of a grid share.

    Parameters
    ----------
    problem : Problem
        The matrices, without weights.
    regularisation : float or str
        λ, or the criterion that chooses it.
    noise : float or None
        Standard deviation of the real and of the imaginary part as a share of |Z|, for the discrepancy.
    weighting : str or tuple of pairs
        As :func:`drt_engine.model.weighting.checked_weighting` returned it.
    solver : str
        Name of the solver.
    """

    def __init__(
        self,
        problem: Problem,
        regularisation: float | CriterionName,
        noise: float | None,
        weighting: Weighting,
        solver: SolverName,
    ) -> None:
        self._plain = problem
        self._choices = regularisation, noise, solver
        self._own_weights = weighting if isinstance(weighting, str) and weighting != "unit" else None
        if not isinstance(weighting, str):
            sigma = deviations_at(problem.discretisation.frequency, weighting)
            problem = problem.weighted(weights_by_sigma(sigma[None])[0])
        self._problem = problem
        self._factors = factorise(problem)
        if isinstance(regularisation, str):
            self._criterion: Criterion | None = criterion_for(regularisation, self._factors)
            self._grid = GRID
        else:
            self._criterion, self._grid = None, np.array([float(regularisation)])
        self._noise = noise
        self._solver = solver_for(solver, self._factors, self._grid)
        self._may_fall_back = solver != "cvxpy"

    def solve(self, impedance: ComplexArray, given: NDArray[np.intp] | None) -> Solution:
        """Invert finite spectra.

        Parameters
        ----------
        impedance : ndarray of complex, shape (K, F)
            Impedances, ohm.
        given : ndarray of int, shape (K,), or None
            Which λ of the grid each has, where that is chosen already.
        """
        if self._own_weights is None:
            return self._solve_alike(impedance, given)
        one_by_one = []
        for k in range(len(impedance)):
            z, which = impedance[k : k + 1], None if given is None else given[k : k + 1]
            one_by_one.append(self._with_own_weights(z)._solve_alike(z, which))
        return Solution.joined(one_by_one)

    def tallies(self, impedance: ComplexArray) -> NDArray[np.int64]:
        """Scores of each λ of the grid, shape (K, G), to be summed over a series.

        Parameters
        ----------
        impedance : ndarray of complex, shape (K, F)
            Impedances, ohm.
        """
        if self._own_weights is None:
            return self._tallies_alike(impedance)
        one_by_one = [impedance[k : k + 1] for k in range(len(impedance))]
        return np.concatenate([self._with_own_weights(z)._tallies_alike(z) for z in one_by_one])

    def posterior(self, impedance: ComplexArray, parameters: Parameters, regularisation: Array) -> TruncatedPosterior:
        """Estimate the uncertainty of solutions.

        Parameters
        ----------
        impedance : ndarray of complex, shape (K, F)
            Impedances, ohm.
        parameters : Parameters
            The solutions.
        regularisation : ndarray, shape (K,)
            λ that they were found with.
        """
        if self._own_weights is None:
            return truncated_posterior(self._problem, *self._problem.data(impedance), parameters, regularisation)
        one_by_one = []
        for k in range(len(impedance)):
            row = slice(k, k + 1)
            own = self._with_own_weights(impedance[row])
            one_by_one.append(own.posterior(impedance[row], parameters.rows(row), regularisation[row]))
        return TruncatedPosterior.joined(one_by_one)

    def _tallies_alike(self, impedance: ComplexArray) -> NDArray[np.int64]:
        if self._criterion is None:
            raise InputError("regularisation is a number: no λ is left to choose for all spectra. Name a criterion.")
        return tally(self._criterion, self._scores(self._criterion, impedance, *self._problem.data(impedance)))

    def _with_own_weights(self, impedance: ComplexArray) -> "PreparedTikhonov":
        """Return the same for the weights of one spectrum, shape (1, F)."""
        if self._own_weights == "modulus":
            return self._weighted(weights_by_modulus(impedance)[0])
        return self._weighted(self._settled(impedance.tobytes()))

    @cached_property
    def _settled(self) -> Callable[[bytes], Array]:
        return lru_cache(maxsize=_REMEMBERED)(self._iterated)

    def _iterated(self, row: bytes) -> Array:
        """Return the weights of one spectrum that its residual asks for, shape (F,)."""
        impedance = np.frombuffer(row, dtype=np.complex128)[None]
        weights, prepared = np.ones(impedance.shape[1]), self
        for _ in range(_MOST_ROUNDS):
            fit = prepared._solve_alike(impedance, None).fit
            before, weights = weights, weights_by_residual(self._plain.discretisation.frequency, impedance - fit)[0]
            if np.all(np.abs(weights - before) <= _SETTLED * before):
                break
            prepared = self._weighted(weights)
        return weights

    def _weighted(self, weights: Array) -> "PreparedTikhonov":
        regularisation, noise, solver = self._choices
        return PreparedTikhonov(self._plain.weighted(weights), regularisation, noise, "unit", solver)

    def _scores(self, criterion: Criterion, impedance: ComplexArray, b: Array, size: Array) -> Array:
        if self._noise is None:
            return criterion(Observed(b))
        parts = b.shape[1] // impedance.shape[1]
        deviations = self._noise * np.abs(impedance / size[:, None])
        if self._problem.weights is not None:
            deviations *= self._problem.weights
        return criterion(Observed(b, parts * np.sum(deviations**2, axis=1)))

    def _solve_alike(self, impedance: ComplexArray, given: NDArray[np.intp] | None) -> Solution:
        rows = len(impedance)
        impedance = filled(impedance)
        b, size = self._problem.data(impedance)
        which, on_edge = np.zeros(len(b), dtype=np.intp), np.zeros(len(b), dtype=bool)
        if self._criterion is not None:
            if given is None:
                given = smallest(self._scores(self._criterion, impedance[:rows], b[:rows], size[:rows])).index
            which[:rows] = given
            on_edge = at_edge(which)
        regularisation = self._grid[which]
        x = self._solver(b, which)
        fitted = self._problem.fitted(x)
        optimality = self._problem.optimality(x, b, regularisation, fitted)
        by_cvxpy = np.zeros(len(b), dtype=bool)
        # Not "above": NaN is not certified either. The rows of zeros beyond the last spectrum are nobody's.
        open_rows = np.flatnonzero(~(optimality[:rows] <= OPTIMALITY_TOLERANCE))
        if self._may_fall_back and open_rows.size:
            x[open_rows] = self._fallback()(b[open_rows], which[open_rows])
            fitted[open_rows] = self._problem.fitted(x[open_rows])
            optimality[open_rows] = self._problem.optimality(
                x[open_rows], b[open_rows], regularisation[open_rows], fitted[open_rows]
            )
            by_cvxpy[open_rows] = True
        parameters = self._problem.parameters(x, impedance, size)
        fit = self._problem.impedance(parameters, fitted, size)
        return Solution(parameters, fit, regularisation, optimality, on_edge, by_cvxpy).first(rows)

    def _fallback(self) -> Solver:
        return solver_for("cvxpy", self._factors, self._grid)
