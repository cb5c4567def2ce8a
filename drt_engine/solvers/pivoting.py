"""The compiled batch solver: all spectra of a grid by active-set methods that share every factor they can."""

import numpy as np
from numpy.typing import NDArray

from drt_engine.model.gsvd import GSVD
from drt_engine.solvers.finish import finish
from drt_kernels import pivoting

__all__ = ["PivotingSolver"]

Array = NDArray[np.float64]

_MOST_AMPLIFIED = 1e5
"""Largest spread of c² + λs² where starting from the unconstrained solution is the quicker road."""

_MOST_DEPENDENT = 1e5
"""Largest condition number of the modes with which the unconstrained solution is exact to ten digits."""

_ROUNDS_OF_EXCHANGE = 12  # an exchange that has not ended by then may go in circles; the other way is taken
_ROUNDS_AN_UNKNOWN = 10  # a bound against rounding: without, the search ends by itself


class PivotingSolver:
    """Exact solutions by exchanging unknowns between zero and not zero.

    Where λ is not small, the unconstrained solution is right but for a few unknowns and is corrected on those, by the
    shared inverse of AᵀA + λM. Where λ is small, and where that fails, a solution is built up from zero.

    Parameters
    ----------
    factors : GSVD
        Of the problem.
    regularisation : ndarray, shape (G,)
        The values of λ that may occur.
    """

    def __init__(self, factors: GSVD, regularisation: Array) -> None:
        problem = factors.problem
        self._factors = factors
        self._problem = problem
        self._regularisation = regularisation
        self._filters = factors.filters(regularisation)
        tame = self._filters.max(axis=1) < _MOST_AMPLIFIED * self._filters.min(axis=1)
        tame &= factors.complete and np.linalg.cond(factors.modes) < _MOST_DEPENDENT
        self._group = np.where(tame, np.cumsum(tame) - 1, -1)
        # Filled in as they are asked for, most λ never are.
        self._inverse = np.empty((np.count_nonzero(tame), problem.scale.size, problem.scale.size))
        self._known = np.zeros(len(self._inverse), dtype=bool)
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
            Position of the λ of each spectrum among the values.

        Returns
        -------
        ndarray, shape (K, N)
            Solutions.
        """
        x = np.zeros((len(b), len(self._columns)))
        solved = np.asarray(~b.any(axis=1))  # by zeros
        group = self._group[which]
        near = (~solved & (group >= 0)).nonzero()[0]
        if near.size:
            start = self._factors.unconstrained(b[near], self._filters[which[near]])
            solutions, done = np.empty(start.shape), np.empty(near.size, dtype=bool)
            group = group[near]
            self._invert(group)
            pivoting.exchange_active(start, self._inverse, group, _ROUNDS_OF_EXCHANGE, solutions, done)
            x[near], solved[near] = solutions, done
        if not solved.all():
            far = np.flatnonzero(~solved)
            solutions, done = np.empty((far.size, x.shape[1])), np.empty(far.size, dtype=bool)
            limit = _ROUNDS_AN_UNKNOWN * x.shape[1]
            lam = self._regularisation[which[far]]
            pivoting.grow_passive(b[far], self._columns, self._gram, self._penalty, lam, limit, solutions, done)
            x[far] = solutions
            for k in far[~done]:
                x[k] = finish(self._problem, x[k], b[k], float(self._regularisation[which[k]]))
        return x

    def _invert(self, groups: NDArray[np.intp]) -> None:
        # Two threads that ask for the same one write the same numbers.
        if self._known[groups].all():
            return
        for group in np.unique(groups[~self._known[groups]]):
            filters = self._filters[int(np.flatnonzero(self._group == group)[0])]
            self._inverse[group] = (self._factors.modes * filters) @ self._factors.modes.T
            self._known[group] = True
