"""The compiled batch solver: all spectra of a grid by active-set methods that share every factor they can."""

import numpy as np
from numpy.typing import NDArray

from drt_engine.solvers.finish import finish
from drt_engine.spectral import SpectralFactors
from drt_kernels import pivoting

__all__ = ["PivotingSolver"]

Array = NDArray[np.float64]

_MOST_AMPLIFIED = 1e5
"""Largest spread of c² + λs² where starting from the unconstrained answer is the quicker road."""

_MOST_DEPENDENT = 1e5
"""Largest condition number of the modes with which the unconstrained answer is exact to ten digits."""

_ROUNDS_OF_EXCHANGE = 12
_ROUNDS_AN_UNKNOWN = 10


class PivotingSolver:
    """Exact answers by exchanging unknowns between zero and not zero.

    Where λ is not small, the unconstrained answer is right but for a few unknowns and is corrected on those, by the
    shared inverse of AᵀA + λM. Where λ is small, and where that fails, an answer is built up from zero.

    Parameters
    ----------
    factors : SpectralFactors
        Of the problem.
    regularisation : ndarray, shape (G,)
        The values of λ that may occur.
    """

    def __init__(self, factors: SpectralFactors, regularisation: Array) -> None:
        problem = factors.problem
        self._factors = factors
        self._problem = problem
        self._regularisation = regularisation
        self._filters = factors.filters(regularisation)
        tame = self._filters.max(axis=1) < _MOST_AMPLIFIED * self._filters.min(axis=1)
        tame &= factors.complete and np.linalg.cond(factors.modes) < _MOST_DEPENDENT
        self._group = np.where(tame, np.cumsum(tame) - 1, -1)
        self._inverse = np.array(
            [(factors.modes * filters) @ factors.modes.T for filters in self._filters[self._group >= 0]]
        ).reshape(-1, problem.scale.size, problem.scale.size)
        self._columns = np.ascontiguousarray(np.vstack([problem.matrix, problem.penalty_factor]).T)
        self._gram = problem.transposed @ problem.matrix
        self._penalty = np.ascontiguousarray(problem.penalty)

    def __call__(self, b: Array, which: NDArray[np.intp]) -> Array:
        """Solve for every spectrum.

        Parameters
        ----------
        b : ndarray, shape (K, n)
            Data.
        which : ndarray of int, shape (K,)
            Which of the values of λ.

        Returns
        -------
        ndarray, shape (K, N)
            Answers.
        """
        x = np.zeros((len(b), len(self._columns)))
        solved = np.asarray(~b.any(axis=1))  # by zeros
        group = self._group[which]
        near = np.flatnonzero(~solved & (group >= 0))
        if near.size:
            # Of all rows, also those that do not need it: a product's rounding may depend on how many rows it has.
            start = self._factors.unconstrained(b, self._filters[which])[near]
            answers, done = np.empty_like(start), np.empty(near.size, dtype=bool)
            pivoting.exchange_active(start, self._inverse, group[near], _ROUNDS_OF_EXCHANGE, answers, done)
            x[near], solved[near] = answers, done
        far = np.flatnonzero(~solved)
        if far.size:
            answers, done = np.empty((far.size, x.shape[1])), np.empty(far.size, dtype=bool)
            clear = np.empty(far.size, dtype=bool)
            limit = _ROUNDS_AN_UNKNOWN * x.shape[1]
            lam = self._regularisation[which[far]]
            pivoting.grow_passive(b[far], self._columns, self._gram, self._penalty, lam, limit, answers, done, clear)
            x[far] = answers
            for k in far[~clear]:
                x[k] = finish(self._problem, x[k], b[k], float(self._regularisation[which[k]]))
        return x
