"""Tikhonov regularisation: a non-negative γ that fits the data and is smooth."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from drt_engine.basis import BASES, BasisName, Expansion, ShapeType, checked_tau, shape_factor
from drt_engine.discretisation import default_tau, discretise
from drt_engine.errors import InputError, UnknownNameError
from drt_engine.methods.base import Answer
from drt_engine.problem import Part, assemble
from drt_engine.regularisation import CRITERIA, CriterionName, choose
from drt_engine.solvers import SOLVERS, SolverName, solver_for

__all__ = ["Tikhonov"]


@dataclass(frozen=True)
class Tikhonov:
    r"""Non-negative Tikhonov regularisation on radial or piecewise linear basis functions [1]_.

    .. math:: \min_{x \ge 0} \tfrac12 |Ax - b|^2 + \tfrac12 λ \, x^T M x

    with x the coefficients of γ and, without penalty, R_inf, L and 1/C.

    Parameters
    ----------
    basis : str
        ``"gaussian"``, ``"c0-matern"``, ``"c2-matern"``, ``"c4-matern"``, ``"c6-matern"``, ``"inverse-quadratic"``,
        ``"inverse-quadric"``, ``"cauchy"`` or ``"piecewise-linear"``.
    shape : float
        Mean spacing of ln τ over the full width at half maximum of the basis function, or with
        ``shape_type="factor"`` the factor μ of φ(μ |ln τ − ln τ_m|).
    order : {0, 1, 2}
        Derivative of γ by ln τ whose square is penalised.
    part : {"complex", "re", "im"}
        Part of the impedance that is fitted.
    inductance, capacitance : bool
        Whether the model has jωL and 1/(jωC).
    regularisation : float or str
        λ, or the criterion that chooses it for each spectrum: ``"gcv"``, generalised cross-validation. λ does not
        depend on the unit of Z.
    tau : sequence of float, optional
        Relaxation times of the basis functions, s, in any order. By default ten a decade, from half a decade below
        1/ω_max to half a decade above 1/ω_min.
    solver : {"auto", "cvxpy"}
        Which solver.
    shape_type : {"fwhm", "factor"}
        What `shape` means.

    Raises
    ------
    UnknownNameError
        For a name that is not known, with those that are.
    InputError
        For an order that the basis does not have, and for numbers out of range.

    References
    ----------
    .. [1] T. H. Wan, M. Saccoccio, C. Chen, F. Ciucci, Electrochim. Acta 184 (2015) 483.
    """

    basis: BasisName = "gaussian"
    shape: float = 0.5
    order: int = 1
    part: Part = "complex"
    inductance: bool = True
    capacitance: bool = False
    regularisation: float | CriterionName = "gcv"
    tau: Sequence[float] | None = None
    solver: SolverName = "auto"
    shape_type: ShapeType = "fwhm"

    def __post_init__(self) -> None:
        """Check every field, so that a mistake shows before the work begins."""
        for what, got, known in (
            ("basis", self.basis, BASES),
            ("part", self.part, get_args(Part)),
            ("solver", self.solver, SOLVERS),
        ):
            if got not in known:
                raise UnknownNameError(what, got, known)
        BASES[self.basis].check_order(self.order)
        if isinstance(self.regularisation, str):
            if self.regularisation not in CRITERIA:
                raise UnknownNameError("regularisation", self.regularisation, CRITERIA)
        elif not (math.isfinite(self.regularisation) and self.regularisation > 0):
            raise InputError(
                f"regularisation must be a positive number or one of {', '.join(CRITERIA)}; "
                f"got {self.regularisation!r}."
            )
        tau = None if self.tau is None else tuple(checked_tau(self.tau).tolist())
        object.__setattr__(self, "tau", tau)
        shape_factor(BASES[self.basis], np.array([1.0, math.e]), self.shape, self.shape_type)

    def settings(self) -> dict[str, Any]:
        """Return its name and fields, in types that JSON has."""
        return {"name": type(self).__name__} | asdict(self)

    def expansion(self, frequency: NDArray[np.float64]) -> Expansion:
        """Basis functions for a frequency grid.

        Parameters
        ----------
        frequency : ndarray, shape (F,)
            Frequencies, Hz.
        """
        tau = default_tau(frequency) if self.tau is None else np.array(self.tau)
        return Expansion(tau, self.basis, shape_factor(BASES[self.basis], tau, self.shape, self.shape_type))

    def solve(self, frequency: NDArray[np.float64], impedance: NDArray[np.complex128], expansion: Expansion) -> Answer:
        """Invert spectra that are known to be finite.

        Parameters
        ----------
        frequency : ndarray, shape (F,)
            Frequencies, Hz, descending.
        impedance : ndarray of complex, shape (K, F)
            Impedances, ohm.
        expansion : Expansion
            Basis functions; made for a grid that `frequency` may be a part of.
        """
        discretisation = discretise(frequency, expansion, self.order)
        problem = assemble(discretisation, self.part, inductance=self.inductance, capacitance=self.capacitance)
        b, size = problem.data(impedance)
        if isinstance(self.regularisation, str):
            choice = choose(self.regularisation, problem, b)
            regularisation, at_edge = choice.regularisation, choice.at_edge
        else:
            regularisation = np.full(len(b), float(self.regularisation))
            at_edge = np.zeros(len(b), dtype=bool)
        x = solver_for(self.solver)(problem, b, regularisation)
        return Answer(problem.unknowns(x, impedance, size), regularisation, problem.kkt(x, b, regularisation), at_edge)
