"""Tikhonov regularisation: a non-negative γ that fits the data and is smooth."""

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from threading import Lock
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from drt_engine.basis import BASES, BasisName, Expansion, ShapeType, checked_tau, is_positive, shape_factor
from drt_engine.discretisation import default_tau, discretise
from drt_engine.errors import InputError, UnknownNameError
from drt_engine.methods.base import Answer
from drt_engine.problem import KKT_TOLERANCE, Part, assemble, filled
from drt_engine.regularisation import CRITERIA, GRID, CriterionName, choose
from drt_engine.solvers import SOLVERS, Solver, SolverName, solver_for
from drt_engine.spectral import SpectralFactors, factorise

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
    solver : {"auto", "pivoting", "cvxpy"}
        Which solver. ``"auto"`` is ``"pivoting"``, the compiled one; what it cannot certify is solved by cvxpy, and the
        status says so.
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
        choices: tuple[tuple[str, object, Collection[str]], ...] = (
            ("basis", self.basis, BASES),
            ("part", self.part, get_args(Part)),
            ("solver", self.solver, SOLVERS),
        )
        for what, got, known in choices:
            if not isinstance(got, str) or got not in known:
                raise UnknownNameError(what, got, known)
        for name in ("inductance", "capacitance"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name} must be True or False; got {getattr(self, name)!r}.")
        BASES[self.basis].check_order(self.order)
        if isinstance(self.regularisation, str):
            if self.regularisation not in CRITERIA:
                raise UnknownNameError("regularisation", self.regularisation, CRITERIA)
        elif not is_positive(self.regularisation):
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
        """Invert spectra that are known to be finite; called from several threads at once.

        Parameters
        ----------
        frequency : ndarray, shape (F,)
            Frequencies, Hz, descending.
        impedance : ndarray of complex, shape (K, F)
            Impedances, ohm.
        expansion : Expansion
            Basis functions; made for a grid that `frequency` may be a part of.
        """
        with _PREPARING:
            prepared = _prepared(self, frequency.tobytes(), expansion.tau.tobytes(), expansion.mu)
        return prepared.solve(impedance)


_PREPARING = Lock()

@lru_cache(maxsize=8)
def _prepared(method: Tikhonov, frequency: bytes, tau: bytes, mu: float) -> "_Prepared":
    expansion = Expansion(np.frombuffer(tau), method.basis, mu)
    discretisation = discretise(np.frombuffer(frequency), expansion, method.order)
    problem = assemble(discretisation, method.part, inductance=method.inductance, capacitance=method.capacitance)
    return _Prepared(method, factorise(problem))


class _Prepared:
    """Everything that the spectra of a grid share."""

    def __init__(self, method: Tikhonov, factors: SpectralFactors) -> None:
        self._factors = factors
        self._problem = factors.problem
        self._criterion = method.regularisation if isinstance(method.regularisation, str) else None
        self._grid = GRID if isinstance(method.regularisation, str) else np.array([float(method.regularisation)])
        self._solver = solver_for(method.solver, factors, self._grid)
        self._may_fall_back = method.solver != "cvxpy"

    def solve(self, impedance: NDArray[np.complex128]) -> Answer:
        rows = len(impedance)
        impedance = filled(impedance)
        b, size = self._problem.data(impedance)
        which = np.zeros(len(b), dtype=np.intp)
        at_edge = np.zeros(len(b), dtype=bool)
        if self._criterion is not None:
            choice = choose(self._criterion, self._factors, b)
            which, at_edge = choice.index, choice.at_edge
        regularisation = self._grid[which]
        x = self._solver(b, which)
        kkt = self._problem.kkt(x, b, regularisation)
        by_cvxpy = np.zeros(len(b), dtype=bool)
        # Not "above": NaN is not certified either. The rows of zeros beyond the last spectrum are nobody's.
        open_rows = np.flatnonzero(~(kkt[:rows] <= KKT_TOLERANCE))
        if self._may_fall_back and open_rows.size:
            x[open_rows] = self._fallback()(b[open_rows], which[open_rows])
            kkt[open_rows] = self._problem.kkt(x[open_rows], b[open_rows], regularisation[open_rows])
            by_cvxpy[open_rows] = True
        unknowns = self._problem.unknowns(x, impedance, size)
        discretisation = self._problem.discretisation
        fit = unknowns.impedance(discretisation.frequency, discretisation.impedance)
        return Answer(unknowns, fit, regularisation, kkt, at_edge, by_cvxpy).first(rows)

    def _fallback(self) -> Solver:
        return solver_for("cvxpy", self._factors, self._grid)
