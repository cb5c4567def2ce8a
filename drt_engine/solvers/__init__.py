"""Solvers of min ½|Ax − b|² + ½λ xᵀMx, x ≥ 0."""

from collections.abc import Mapping
from importlib import import_module
from typing import Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from drt_engine.problem import Problem

__all__ = ["SOLVERS", "Solver", "SolverName", "solver_for"]

SolverName = Literal["auto", "cvxpy"]


class Solver(Protocol):
    """A function that solves one problem for many data."""

    def __call__(
        self, problem: Problem, b: NDArray[np.float64], regularisation: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Solve.

        Parameters
        ----------
        problem : Problem
            The matrices.
        b : ndarray, shape (K, n)
            Data.
        regularisation : ndarray, shape (K,)
            λ.

        Returns
        -------
        ndarray, shape (K, N)
            Answers, NaN where none was found. Whether they are optimal is for the certificate to say.
        """
        ...


SOLVERS: Mapping[SolverName, str] = {"auto": "drt_engine.solvers.cvxpy_", "cvxpy": "drt_engine.solvers.cvxpy_"}
"""The modules that hold a function ``solve``, by the solver's name."""


def solver_for(name: SolverName) -> Solver:
    """Return the solver of a name; its module is imported now, since some are slow to import."""
    return cast(Solver, import_module(SOLVERS[name]).solve)
