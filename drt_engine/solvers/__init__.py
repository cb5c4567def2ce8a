"""Solvers of min ½|Ax − b|² + ½λ xᵀMx, x ≥ 0."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from drt_engine.model.gsvd import GSVD

__all__ = ["SOLVERS", "Solver", "SolverName", "solver_for"]

SolverName = Literal["auto", "pivoting", "cvxpy"]


class Solver(Protocol):
    """What solves one problem for many data, made for the problem and the values of λ that may occur."""

    def __call__(self, b: NDArray[np.float64], which: NDArray[np.intp]) -> NDArray[np.float64]:
        """Solve.

        Parameters
        ----------
        b : ndarray, shape (K, n)
            Data.
        which : ndarray of int, shape (K,)
            Position of the λ of each spectrum among the values.

        Returns
        -------
        ndarray, shape (K, N)
            Solutions, NaN where none was found. Whether they are optimal is for the certificate to say.
        """
        ...


SOLVERS: Mapping[SolverName, tuple[str, str]] = {
    "auto": ("drt_engine.solvers.pivoting", "PivotingSolver"),
    "pivoting": ("drt_engine.solvers.pivoting", "PivotingSolver"),
    "cvxpy": ("drt_engine.solvers.cvxpy_", "CvxpySolver"),
}
"""Module and class of each solver by name."""


def solver_for(name: SolverName, factors: GSVD, regularisation: NDArray[np.float64]) -> Solver:
    """Make the solver of a name; its module is imported now, since some are slow to import.

    Parameters
    ----------
    name : str
        One of `SOLVERS`.
    factors : GSVD
        Of the problem.
    regularisation : ndarray, shape (G,)
        The values of λ that may occur.
    """
    module, kind = SOLVERS[name]
    make = cast(Callable[[GSVD, NDArray[np.float64]], Solver], getattr(import_module(module), kind))
    return make(factors, regularisation)
