"""Convex problems stated in cvxpy: what the user constrains, and the solver for all that is not the plain problem."""

from collections.abc import Callable
from threading import Lock
from typing import Any

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import InputError
from drt_engine.model.basis import Expansion
from drt_engine.model.problem import OPTIMALITY_TOLERANCE, Problem
from drt_engine.solvers.cones import Cones
from drt_engine.solvers.convex import Case, ConvexProblem, Point
from drt_engine.solvers.cvxpy_ import run
from drt_engine.solvers.descent import descend

__all__ = ["ConvexSolver", "Variables", "cones_of"]

Array = NDArray[np.float64]

# An interior point cannot be moved onto the optimum where cones are curved, so it goes as far as rounding lets it.
_CLARABEL: tuple[str, dict[str, Any]] = (
    "CLARABEL",
    {"tol_gap_abs": 1e-16, "tol_gap_rel": 1e-16, "tol_feas": 1e-16, "tol_ktratio": 1e-12, "accept_unknown": True},
)
_DAQP: tuple[str, dict[str, Any]] = ("DAQP", {})


class Variables:
    """Variables of the problem, as cvxpy expressions in physical units, that a function of constraints is given.

    Attributes
    ----------
    expansion : Expansion
        Basis functions; its `tau` are the M relaxation times, s.
    coefficients : cvxpy expression, shape (M,)
        Coefficients of γ, ohm.
    """

    def __init__(self, problem: Problem, x: Any) -> None:
        self.expansion: Expansion = problem.discretisation.expansion
        self.coefficients = x[: problem.penalised]
        self._series_elements = {name: x[problem.penalised + k] for k, name in enumerate(problem.series_elements)}

    @property
    def r_inf(self) -> Any:
        """R_inf, ohm."""
        return self._series_element("r_inf")

    @property
    def inductance(self) -> Any:
        """L, H."""
        return self._series_element("inductance")

    @property
    def elastance(self) -> Any:
        """1/C, 1/F."""
        return self._series_element("elastance")

    @property
    def r_pol(self) -> Any:
        """∫ γ d ln τ, ohm."""
        return self.expansion.areas @ self.coefficients

    def gamma_at(self, tau: Any) -> Any:
        """γ(ln τ) at relaxation times in s, ohm per unit of natural logarithm, shape (T,)."""
        return self.expansion.values(tau) @ self.coefficients

    def _series_element(self, name: str) -> Any:
        if name not in self._series_elements:
            raise InputError(
                f"constraints ask for {name}, which this model does not have; its parameters are the coefficients"
                f"{''.join(f', {known}' for known in self._series_elements)}. See part, inductance and capacitance."
            )
        return self._series_elements[name]


def cones_of(problem: Problem, function: Callable[[Variables], Any] | None) -> Cones:
    """Bring the constraints that a function states into conic form.

    Parameters
    ----------
    problem : Problem
        The matrices.
    function : callable, optional
        From :class:`Variables` to a list of cvxpy constraints.

    Returns
    -------
    Cones
        In the scaled unknowns of a spectrum whose largest component is 1 ohm.

    Raises
    ------
    InputError
        For what is not a list of constraints, not convex by cvxpy's rules, or of a kind that cannot be certified.
    """
    size = problem.scale.size
    none = Cones(np.zeros((0, size)), np.zeros((0, 0)), np.zeros(0))
    if function is None:
        return none
    x = cp.Variable(size, name="x")
    constraints = function(Variables(problem, x))
    _check(constraints)
    if not constraints:
        return none
    # An objective with all of x in it, since a variable that no constraint names would not be in the matrix.
    stated = cp.Problem(cp.Minimize(cp.sum(x)), constraints)
    if stated.is_mixed_integer():
        raise InputError("constraints must be convex; got an integer variable. Use continuous ones.")
    data, _, _ = stated.get_problem_data("CLARABEL")
    dims = data["dims"]
    if dims.psd or dims.p3d or dims.pnd:
        raise InputError(
            "constraints must be linear, quadratic, norms, exponentials, logarithms or entropies; got one that needs "
            "semidefinite matrices or a power cone, which cannot be certified. Formulate it otherwise."
        )
    matrix = data["A"].toarray()
    first = data["param_prob"].var_id_to_col[x.id]
    mine = np.arange(first, first + size)
    cones = Cones(
        matrix=matrix[:, mine] / problem.scale,
        others=np.delete(matrix, mine, axis=1),
        right=np.asarray(data["b"]),
        zero=int(dims.zero),
        nonneg=int(dims.nonneg),
        second_order=tuple(int(rows) for rows in dims.soc),
        exponential=int(dims.exp),
    )
    return cones.balanced(1.0 / np.sqrt(problem.column_squares[0]))


def _check(constraints: object) -> None:
    if not isinstance(constraints, list):
        raise InputError(
            f"the function of constraints must return a list of cvxpy constraints; got {type(constraints).__name__}. "
            "Put one constraint into a list of its own."
        )
    for number, constraint in enumerate(constraints):
        if not isinstance(constraint, cp.Constraint):
            raise InputError(
                f"the function of constraints must return cvxpy constraints; got {constraint!r} at index {number}. "
                "Compare expressions with ==, <= or >=."
            )
        if not constraint.is_dcp():
            raise InputError(
                f"constraint {number}, {constraint}, is not convex by cvxpy's rules (DCP); expected convex <= concave, "
                "or affine == affine. See https://www.cvxpy.org/tutorial/dcp."
            )


class ConvexSolver:
    """The solver for what is not the plain problem.

    Parameters
    ----------
    shared : ConvexProblem
        What the spectra have in common.
    huber : bool
        Whether residuals beyond a threshold count linearly.
    """

    def __init__(self, shared: ConvexProblem, *, huber: bool) -> None:
        self._shared = shared
        self._statement = _Statement(shared, huber=huber)
        # DAQP takes no cones, and is inexact where variables have no curvature, as those of the Huber function.
        exact = shared.cones.linear and not huber
        self._roads = (_DAQP, _CLARABEL) if exact else (_CLARABEL,)
        self._turn = Lock()

    def __call__(self, case: Case) -> tuple[Array, float]:
        """Solve for a spectrum.

        Parameters
        ----------
        case : Case
            Its problem.

        Returns
        -------
        x : ndarray, shape (N,)
            The solution, NaN where no solver gave one.
        optimality : float
            Its residual.
        """
        least, solution = np.inf, np.full(self._shared.lower.size, np.nan)
        for solver, options in self._roads:
            with self._turn:
                point = self._statement.solve(solver, options, case)
            if point is None:
                continue
            point, optimality = descend(case, point)
            if optimality < least:
                least, solution = optimality, case.parameters(point)
            if least <= OPTIMALITY_TOLERANCE:
                break
        return solution, least if np.isfinite(least) else np.nan


class _Statement:
    """The problem in cvxpy's words, canonicalised at the first solve and only filled in afterwards."""

    def __init__(self, shared: ConvexProblem, *, huber: bool) -> None:
        problem = shared.problem
        data, parameters = problem.matrix.shape
        self._shared = shared
        self._x = cp.Variable(parameters)
        self._b = cp.Parameter(data)
        self._root = cp.Parameter(nonneg=True)
        self._threshold = cp.Parameter(nonneg=True)
        misfit = problem.matrix @ self._x - self._b
        loss = cp.sum(cp.huber(misfit, self._threshold)) if huber else cp.sum_squares(misfit)
        cost = 0.5 * loss + 0.5 * cp.sum_squares(self._root * (problem.penalty_factor @ self._x))
        if shared.price.any():
            cost += shared.price @ self._x
        if shared.ridge.any():
            cost += 0.5 * cp.sum_squares(cp.multiply(np.sqrt(shared.ridge), self._x))
        self._bound()
        self._constrain()
        self._problem = cp.Problem(cp.Minimize(cost), [*self._bounds, *self._rows])

    def _bound(self) -> None:
        shared = self._shared
        self._fixed = np.flatnonzero(shared.fixed)
        self._bounded = np.flatnonzero(np.isfinite(shared.upper) & ~shared.fixed)
        self._value, self._upper = cp.Parameter(self._fixed.size), cp.Parameter(self._bounded.size)
        self._bounds = [self._x[np.flatnonzero(~shared.fixed)] >= 0.0]
        if self._fixed.size:
            self._bounds.append(self._x[self._fixed] == self._value)
        if self._bounded.size:
            self._bounds.append(self._x[self._bounded] <= self._upper)

    def _constrain(self) -> None:
        cones = self._shared.cones
        self._right = cp.Parameter(len(cones.right))
        self._others = cp.Variable(cones.others.shape[1])
        self._rows: list[Any] = []
        if not len(cones.right):
            return
        sums = cones.matrix @ self._x
        if self._others.size:
            sums += cones.others @ self._others
        linear = cones.zero + cones.nonneg
        if cones.zero:
            self._rows.append(sums[: cones.zero] == self._right[: cones.zero])
        if cones.nonneg:
            self._rows.append(sums[cones.zero : linear] <= self._right[cones.zero : linear])
        for kind, rows in cones.blocks():
            s = self._right[rows] - sums[rows]
            if kind == "second-order":
                self._rows.append(cp.SOC(s[0], s[1:]))
            elif kind == "exponential":
                self._rows.append(cp.ExpCone(s[0], s[1], s[2]))

    def solve(self, solver: str, options: dict[str, Any], case: Case) -> Point | None:
        self._b.value = case.b
        self._root.value = np.sqrt(case.regularisation)
        self._threshold.value = case.threshold if np.isfinite(case.threshold) else 0.0
        shared = self._shared
        self._value.value = shared.lower[self._fixed] / case.size
        self._upper.value = shared.upper[self._bounded] / case.size
        self._right.value = case.right
        run(self._problem, solver, options)
        if self._x.value is None:
            return None
        others = self._others.value if self._others.size else np.zeros(0)
        return case.point(np.asarray(self._x.value), np.asarray(others), self._multipliers())

    def _multipliers(self) -> Array:
        # A cone has one array for each of its arguments.
        parts = [part for row in self._rows for part in (row.dual_value if len(row.args) > 1 else [row.dual_value])]
        return np.concatenate([np.ravel(part) for part in parts]) if parts else np.zeros(0)
