"""Convex problems beyond non-negative least squares: outliers, sparsity, bounds and constraints of the user's own."""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from drt_engine.checks import is_real
from drt_engine.errors import InputError, UnknownNameError
from drt_engine.methods.base import Solution
from drt_engine.methods.tikhonov import Tikhonov
from drt_engine.model.basis import BasisName, Expansion, ShapeType
from drt_engine.model.discretisation import discretise
from drt_engine.model.problem import Part, Problem, assemble
from drt_engine.regularisation import CriterionName
from drt_engine.solvers.convex import Case, ConvexProblem

if TYPE_CHECKING:
    from drt_engine.solvers.cvxpy_convex import Variables

__all__ = ["Convex", "Loss"]

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
Loss = Literal["squares", "huber"]

_NORMAL = 1.4826
"""Standard deviation of normal numbers over the median of their absolute values."""

_ROUNDS = 30
"""Of drawing residuals back; the threshold follows the solution within a few."""

_SMALLEST_THRESHOLD = 1e-6
"""Of the root mean square of the data; below, nothing but rounding would be fitted by squares."""


@dataclass(frozen=True)
class Convex:
    r"""Tikhonov regularisation with another loss, other penalties or constraints; solved by cvxpy, one by one.

    .. math:: \min_{x} \sum_i ρ\Bigl(\frac{(Ax - b)_i}{s}\Bigr) s^2 + \tfrac12 λ \, x^T M x
        + l_1 \int γ \, d\ln τ + \tfrac12 l_2 \sum_m x_m^2
        \quad\text{with } 0 \le x_m \le u_m \text{ and constraints of your own}

    for impedances divided by the largest real or imaginary part of the spectrum. With the defaults the solution is that
    of :class:`Tikhonov`.

    Parameters
    ----------
    basis, shape, order, part, inductance, capacitance, tau, shape_type
        The model, as of :class:`Tikhonov`.
    regularisation, shared, noise
        λ, or the criterion that chooses it, as of :class:`Tikhonov`. A criterion is applied to the plain problem, the
        one that :class:`Tikhonov` solves; with the Huber function to data whose residuals are winsorised to the
        threshold, so that outliers do not affect λ either [2]_.
    loss : {"squares", "huber"}
        ρ: the half square, or the Huber function [1]_, which grows linearly where a residual exceeds `threshold`
        standard deviations, so that outliers have no more influence than other points.
    threshold : float
        Where the Huber function becomes linear, in standard deviations s of the noise. s is 1.4826 times the median
        absolute residual of the plain problem's solution, for data winsorised to the threshold as said above. The
        threshold is at least a millionth of the root mean square of the data.
    l1, l2 : float
        Elastic net: prices of the polarisation resistance, which is the integral of γ and, γ being non-negative, its
        l1 norm, and of the squares of the coefficients. Dimensionless, like λ.
    upper : float or sequence of float, optional
        Largest value of the coefficients of γ, ohm: one for all, or M in the order of ascending τ, infinite where there
        is none. For the piecewise linear basis the coefficients are the values of γ.
    r_inf : float, optional
        R_inf, ohm, where it is known and not to be fitted.
    constraints : callable, optional
        Function from :class:`~drt_engine.solvers.cvxpy_convex.Variables`, the unknowns as cvxpy expressions in physical
        units, to a list of cvxpy constraints on them, which have to be convex by cvxpy's rules. It is called once for
        each frequency grid. A file keeps its name only: a method read from a file describes the result and cannot be
        used again.

    Raises
    ------
    UnknownNameError
        For a name that is not known, with those that are.
    InputError
        For an order that the basis does not have, and for numbers out of range.

    References
    ----------
    .. [1] P. J. Huber, Ann. Math. Statist. 35 (1964) 73.
    .. [2] E. Cantoni, E. Ronchetti, Stat. Comput. 11 (2001) 141.
    """

    basis: BasisName = "gaussian"
    shape: float = 0.5
    order: int = 1
    part: Part = "complex"
    inductance: bool = True
    capacitance: bool = False
    regularisation: float | CriterionName = "gcv"
    shared: bool | str | Sequence[str] = False
    tau: Sequence[float] | None = None
    shape_type: ShapeType = "fwhm"
    noise: float | None = None
    loss: Loss = "squares"
    threshold: float = 2.0
    l1: float = 0.0
    l2: float = 0.0
    upper: float | Sequence[float] | None = None
    r_inf: float | None = None
    constraints: "Callable[[Variables], list[Any]] | str | None" = None

    def __post_init__(self) -> None:
        """Check every field, so that a mistake shows before the work begins."""
        plain = self.plain
        object.__setattr__(self, "tau", plain.tau)
        object.__setattr__(self, "shared", plain.shared)
        if self.loss not in get_args(Loss):
            raise UnknownNameError("loss", self.loss, get_args(Loss))
        if not is_real(self.threshold) or not 0.0 < self.threshold < math.inf:
            raise InputError(f"threshold must be a positive number of standard deviations; got {self.threshold!r}.")
        for name in ("l1", "l2"):
            if not is_real(getattr(self, name)) or not 0.0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} must be a number from 0; got {getattr(self, name)!r}.")
        object.__setattr__(self, "upper", _checked_upper(self.upper))
        if self.r_inf is not None:
            if not is_real(self.r_inf) or not 0.0 <= self.r_inf < math.inf:
                raise InputError(f"r_inf must be a number of ohm, not negative; got {self.r_inf!r}.")
            if self.part == "im":
                raise InputError("r_inf cannot be fixed with part='im', which does not show it. Leave it out.")
        if not (self.constraints is None or isinstance(self.constraints, str) or _is_function(self.constraints)):
            raise InputError(
                f"constraints must be a function, and hashable; got {self.constraints!r}. "
                "Give a function that returns a list of cvxpy constraints."
            )

    @property
    def plain(self) -> Tikhonov:
        """The problem of least squares and the roughness penalty alone; λ is chosen and noise estimated with it."""
        return Tikhonov(
            basis=self.basis,
            shape=self.shape,
            order=self.order,
            part=self.part,
            inductance=self.inductance,
            capacitance=self.capacitance,
            regularisation=self.regularisation,
            shared=self.shared,
            tau=self.tau,
            shape_type=self.shape_type,
            noise=self.noise,
        )

    @property
    def linear(self) -> bool:
        """Whether solutions respond to noise as those of `problem`: nearly, where loss and constraints do nothing."""
        return True

    @property
    def shared_states(self) -> tuple[str, ...] | None:
        """State columns whose equal values share one λ; none for all spectra, None if each has its own."""
        return self.plain.shared_states

    def problem(self, frequency: NDArray[np.float64], expansion: Expansion) -> Problem:
        """State the least-squares part of the problem of a grid.

        Parameters
        ----------
        frequency : ndarray, shape (F,)
            Frequencies, Hz, descending.
        expansion : Expansion
            Basis functions.
        """
        return self.plain.problem(frequency, expansion)

    def settings(self) -> dict[str, Any]:
        """Return its name and fields, in types that JSON has; of a function of constraints, its name."""
        fields = {"name": type(self).__name__} | asdict(self)
        if isinstance(self.upper, tuple):
            fields["upper"] = [None if math.isinf(bound) else bound for bound in self.upper]
        if callable(self.constraints):
            named = self.constraints if hasattr(self.constraints, "__qualname__") else type(self.constraints)
            fields["constraints"] = f"{named.__module__}.{named.__qualname__}"
        return fields

    def expansion(self, frequency: Array) -> Expansion:
        """Basis functions for a frequency grid.

        Parameters
        ----------
        frequency : ndarray, shape (F,)
            Frequencies, Hz.

        Raises
        ------
        InputError
            If `upper` does not have as many values as there are basis functions, and if all that there is of the
            constraints is their name.
        """
        expansion = self.plain.expansion(frequency)
        if isinstance(self.upper, tuple) and len(self.upper) != expansion.tau.size:
            raise InputError(
                f"upper must be one number or one for each of the {expansion.tau.size} relaxation times; "
                f"got {len(self.upper)}. Give tau as well, so that they belong together."
            )
        if isinstance(self.constraints, str):
            raise InputError(
                f"constraints is the name {self.constraints!r}, which is what a file keeps of a function; expected the "
                "function. Give it again: dataclasses.replace(method, constraints=...)."
            )
        return expansion

    def tallies(self, frequency: Array, impedance: ComplexArray, expansion: Expansion) -> NDArray[np.int64]:
        """Scores of each λ of the grid, to be summed over a series; called from several threads at once.

        Parameters
        ----------
        frequency, impedance, expansion
            As :meth:`solve` takes them.

        Returns
        -------
        ndarray of int64, shape (K, G)
        """
        if self.loss == "huber":
            impedance, _, _ = self._winsorised(frequency, impedance, expansion, None)
        return self.plain.tallies(frequency, impedance, expansion)

    def solve(
        self, frequency: Array, impedance: ComplexArray, expansion: Expansion, which: NDArray[np.intp] | None = None
    ) -> Solution:
        """Invert spectra that are known to be finite; called from several threads at once.

        Parameters
        ----------
        frequency : ndarray, shape (F,)
            Frequencies, Hz, descending.
        impedance : ndarray of complex, shape (K, F)
            Impedances, ohm.
        expansion : Expansion
            Basis functions; made for a grid that `frequency` may be a part of.
        which : ndarray of int, shape (K,), optional
            Which λ of :data:`drt_engine.regularisation.GRID` each spectrum has, where it was chosen for a series.

        Raises
        ------
        InputError
            For constraints that are not convex.
        """
        with _PREPARING:
            prepared = _prepared(self, frequency.tobytes(), expansion.tau.tobytes(), expansion.mu)
        if self.loss == "huber":
            _, threshold, plain = self._winsorised(frequency, impedance, expansion, which)
        else:
            plain = self.plain.solve(frequency, impedance, expansion, which)
            threshold = np.full(len(impedance), math.inf)
        return prepared.solve(impedance, plain, threshold)

    def _winsorised(
        self, frequency: Array, impedance: ComplexArray, expansion: Expansion, which: NDArray[np.intp] | None
    ) -> tuple[ComplexArray, Array, Solution]:
        """Winsorise data: move points whose residual exceeds the threshold until it equals it.

        Returns these data, the threshold of each spectrum in ohm, and the solution without robust loss.

        Least squares on such data is the Huber problem, once threshold, data and solution agree (P. J. Huber, Robust
        Statistics, 1981, section 7.8).
        """
        plain = self.plain
        size = np.abs(_parts(impedance, self.part)).max(axis=1)
        size[size == 0.0] = 1.0
        least = _SMALLEST_THRESHOLD * size * _root_mean_square(_parts(impedance / size[:, None], self.part))
        least[least == 0.0] = 1.0
        data = impedance
        for _ in range(_ROUNDS):
            solution = plain.solve(frequency, data, expansion, which)
            rest = impedance - solution.fit
            noise = _NORMAL * np.median(np.abs(_parts(rest, self.part)), axis=1)
            threshold = np.maximum(self.threshold * noise, least)
            most = threshold[:, None]
            near = np.clip(rest.real, -most, most) + 1j * np.clip(rest.imag, -most, most)
            data = np.where(np.isfinite(most), solution.fit + near, impedance)
        return data, threshold, solution


def _is_function(value: object) -> bool:
    return callable(value) and isinstance(value, Hashable)


def _checked_upper(upper: Any) -> float | tuple[float, ...] | None:
    if upper is None:
        return None
    message = f"upper must be a number of ohm or a sequence of them, not negative; got {upper!r}."
    try:
        values = np.array([math.inf if bound is None else bound for bound in np.atleast_1d(upper)], dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(message) from error
    if values.ndim != 1 or not np.all(values >= 0.0):
        raise InputError(message)
    return tuple(values.tolist()) if np.ndim(upper) else float(values[0])


def _parts(z: ComplexArray, part: Part) -> Array:
    chosen = {"complex": (z.real, z.imag), "re": (z.real,), "im": (z.imag,)}[part]
    return np.concatenate(chosen, axis=1)


def _root_mean_square(rows: Array) -> Array:
    return np.asarray(np.sqrt(np.mean(rows**2, axis=1)))


_PREPARING = Lock()


@lru_cache(maxsize=8)
def _prepared(method: Convex, frequency: bytes, tau: bytes, mu: float) -> "_PreparedConvex":
    expansion = Expansion(np.frombuffer(tau), method.basis, mu)
    discretisation = discretise(np.frombuffer(frequency), expansion, method.order)
    problem = assemble(discretisation, method.part, inductance=method.inductance, capacitance=method.capacitance)
    return _PreparedConvex(method, problem)


class _PreparedConvex:
    """Everything that the spectra of a grid share."""

    def __init__(self, method: Convex, problem: Problem) -> None:
        # cvxpy takes half a second to import.
        from drt_engine.solvers.cvxpy_convex import ConvexSolver, cones_of

        self._problem = problem
        function = None if isinstance(method.constraints, str) else method.constraints
        series_elements = (0, len(problem.series_elements))
        lower, upper = _bounds(method, problem)
        self._shared = ConvexProblem(
            problem=problem,
            price=method.l1 * np.pad(problem.discretisation.expansion.areas, series_elements),
            ridge=method.l2 * np.pad(np.ones(problem.penalised), series_elements),
            lower=lower,
            upper=upper,
            cones=cones_of(problem, function),
        )
        self._solver = ConvexSolver(self._shared, huber=method.loss == "huber")
        given = np.concatenate([lower, upper, self._shared.cones.right])
        self._largest = np.abs(given[np.isfinite(given)]).max()

    def solve(self, impedance: ComplexArray, plain: Solution, threshold: Array) -> Solution:
        b, size = self._problem.data(impedance)
        x, optimality = np.full((len(b), self._problem.scale.size), np.nan), np.full(len(b), np.nan)
        with np.errstate(over="ignore"):
            solvable = np.isfinite(self._largest / size) & ~np.isnan(threshold)
        for k in np.flatnonzero(solvable):
            limit = float(threshold[k] / size[k])
            case = Case(self._shared, b[k], float(size[k]), float(plain.regularisation[k]), limit)
            x[k], optimality[k] = self._solver(case)
        parameters = self._problem.parameters(x, impedance, size)
        discretisation = self._problem.discretisation
        fit = parameters.impedance(discretisation.frequency, discretisation.impedance)
        return Solution(parameters, fit, plain.regularisation, optimality, plain.at_edge, np.zeros(len(b), dtype=bool))


def _bounds(method: Convex, problem: Problem) -> tuple[Array, Array]:
    """Bounds of the scaled unknowns of a spectrum whose largest component is 1 ohm."""
    lower, upper = np.zeros(problem.scale.size), np.full(problem.scale.size, np.inf)
    if method.upper is not None:
        upper[: problem.penalised] = method.upper
    if method.r_inf is not None:
        r_inf = problem.penalised + problem.series_elements.index("r_inf")
        lower[r_inf] = upper[r_inf] = method.r_inf * problem.scale[r_inf]
    return lower, upper
