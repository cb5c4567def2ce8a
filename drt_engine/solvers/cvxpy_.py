"""The problem stated in cvxpy: once for each problem, with parameters for what changes from spectrum to spectrum."""

import logging
import warnings
from threading import Lock
from typing import Any

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from drt_engine.model.gsvd import GSVD
from drt_engine.model.problem import OPTIMALITY_TOLERANCE, Problem
from drt_engine.solvers.finish import finish

__all__ = ["CvxpySolver", "run"]

Array = NDArray[np.float64]

logger = logging.getLogger(__name__)

# In the order they are tried. DAQP is an active-set method: exact up to rounding, where interior points and splittings
# at their defaults are off by per cents on problems as ill-conditioned as these. Clarabel, at tolerances near rounding,
# carries what makes the active set cycle.
_ROADS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("DAQP", {}),
    ("CLARABEL", {"tol_gap_abs": 1e-13, "tol_gap_rel": 1e-13, "tol_feas": 1e-13, "tol_ktratio": 1e-10}),
)


# The filters of warnings belong to the process: what two threads set and restore at once ends in the wrong order.
_FILTERS = Lock()


def run(problem: Any, solver: str, options: dict[str, Any]) -> None:
    """Let a solver try a problem of cvxpy; its variables have no value if it gave up.

    Parameters
    ----------
    problem : cvxpy.Problem
        The problem, all of its parameters set.
    solver : str
        Its name in cvxpy.
    options : dict
        Its options.
    """
    try:
        with _FILTERS, warnings.catch_warnings():
            # "Solution may be inaccurate": the certificate says so, and more exactly.
            warnings.simplefilter("ignore", UserWarning)
            problem.solve(solver=solver, warm_start=False, **options)
    except cp.SolverError as error:
        logger.info("%s gave up: %s", solver, error)
        for variable in problem.variables():
            variable.value = None


class CvxpySolver:
    """The solver for what no other can certify.

    Parameters
    ----------
    factors : GSVD
        Of the problem.
    regularisation : ndarray, shape (G,)
        The values of λ that may occur.
    """

    def __init__(self, factors: GSVD, regularisation: Array) -> None:
        self._problem = factors.problem
        self._regularisation = regularisation
        self._statement = _Statement(factors.problem)
        # The values of parameters belong to the statement, not to the solve.
        self._turn = Lock()

    def __call__(self, b: Array, which: NDArray[np.intp]) -> Array:
        """Solve for every spectrum, one after another.

        Parameters
        ----------
        b : ndarray, shape (K, n)
            Data.
        which : ndarray of int, shape (K,)
            Position of the λ of each spectrum among the values.

        Returns
        -------
        ndarray, shape (K, N)
            Solutions, NaN where no solver gave one.
        """
        with self._turn:
            solutions = [self._solve(b[k], float(self._regularisation[which[k]])) for k in range(len(b))]
        return np.array(solutions).reshape(len(b), self._problem.scale.size)

    def _solve(self, b: Array, regularisation: float) -> Array:
        best, solution = np.inf, np.full(self._problem.scale.size, np.nan)
        for solver, options in _ROADS:
            x = self._statement.solve(solver, options, b, regularisation)
            if x is None:
                continue
            x = finish(self._problem, x, b, regularisation)
            optimality = float(self._problem.optimality(x[None], b[None], np.array([regularisation]))[0])
            if optimality < best:
                best, solution = optimality, x
            if best <= OPTIMALITY_TOLERANCE:
                break
        return solution


class _Statement:
    """The problem in cvxpy's words, canonicalised at the first solve and only filled in afterwards."""

    def __init__(self, problem: Problem) -> None:
        data, parameters = problem.matrix.shape
        self._x = cp.Variable(parameters)
        self._b = cp.Parameter(data)
        self._root = cp.Parameter(nonneg=True)
        misfit = cp.sum_squares(problem.matrix @ self._x - self._b)
        roughness = cp.sum_squares(self._root * (problem.penalty_factor @ self._x))
        self._problem = cp.Problem(cp.Minimize(0.5 * misfit + 0.5 * roughness), [self._x >= 0.0])

    def solve(self, solver: str, options: dict[str, Any], b: Array, regularisation: float) -> Array | None:
        self._b.value = b
        self._root.value = np.sqrt(regularisation)
        run(self._problem, solver, options)
        value = self._x.value
        return None if value is None or not np.all(np.isfinite(value)) else np.maximum(value, 0.0)
