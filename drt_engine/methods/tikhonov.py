"""Tikhonov regularisation: a non-negative γ that fits the data and is smooth."""

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from threading import Lock
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.methods.base import Solution
from drt_engine.methods.tikhonov_prepared import PreparedTikhonov
from drt_engine.model.basis import BASES, BasisName, Expansion, ShapeType, checked_tau, is_positive, shape_factor
from drt_engine.model.discretisation import default_tau, discretise
from drt_engine.model.problem import Parameters, Part, Problem, assemble
from drt_engine.model.responses import KERNELS, ResponseName
from drt_engine.model.weighting import WeightingName, checked_weighting
from drt_engine.regularisation import CRITERIA, CriterionName
from drt_engine.solvers import SOLVERS, SolverName
from drt_engine.uncertainty.truncated_normal import TruncatedPosterior

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
        λ, or the criterion that chooses it: ``"gcv"``, ``"mgcv"`` or ``"rgcv"``, generalised cross-validation, modified
        or robust; ``"l-curve"``; ``"re-im"``, the prediction of the real part by the imaginary one and back;
        ``"k-fold"``, the prediction of frequencies left out; ``"evidence"``, marginal likelihood; ``"discrepancy"``, a
        residual as large as `noise`. λ does not depend on the unit of Z.
    shared : bool, str or sequence of str
        Whether one λ is chosen for all spectra of a series, from their summed scores. False: each spectrum has its own;
        True: all spectra given to :func:`drt_engine.invert` are one series; the name of a state column, or several: a
        series is what has the same values there, for example ``"cell"`` or ``("cell", "cycle")``.
    noise : float, optional
        Standard deviation of the real and of the imaginary part as a share of |Z|; for ``"discrepancy"`` only.
    tau : sequence of float, optional
        Relaxation times of the basis functions, s, in any order. By default ten a decade, from half a decade below
        1/ω_max to half a decade above 1/ω_min.
    solver : {"auto", "pivoting", "cvxpy"}
        Which solver. ``"auto"`` is ``"pivoting"``, the compiled one; what it cannot certify is solved by cvxpy, and the
        status says so.
    shape_type : {"fwhm", "factor"}
        Meaning of `shape`.
    weighting : {"unit", "modulus", "iterated"} or sequence of pairs
        What the data are multiplied by: 1; 1/|Z|, for noise that is a share of the impedance; one over the deviation
        that the residuals of the fit before show around each frequency; or one over a standard deviation that is given
        as pairs of frequency (Hz) and deviation (any unit) and interpolated, both on logarithmic axes. ``"modulus"``
        and ``"iterated"`` give each spectrum matrices of its own and take milliseconds instead of microseconds.
    kernel : str
        What γ is a distribution of, with s = jωτ: ``"relaxation"``, 1/(1 + s); ``"transmissive-planar"``, tanh √s / √s,
        ``"transmissive-spherical"``, 1/(1 + √s), ``"blocking-planar"``, coth √s / √s, and ``"blocking-spherical"``,
        1/(√s coth √s − 1), diffusion with τ = l²/D.

    Raises
    ------
    UnknownNameError
        For a name that is not known, with those that are.
    InputError
        For an order that the basis does not have, for numbers out of range, for a criterion that the other settings do
        not go with, and for a `noise` or `shared` that would have no effect.

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
    shared: bool | str | Sequence[str] = False
    tau: Sequence[float] | None = None
    solver: SolverName = "auto"
    shape_type: ShapeType = "fwhm"
    noise: float | None = None
    weighting: WeightingName | Sequence[tuple[float, float]] = "unit"
    kernel: ResponseName = "relaxation"

    def __post_init__(self) -> None:
        """Check every field, so that a mistake shows before the work begins."""
        choices: tuple[tuple[str, object, Collection[str]], ...] = (
            ("basis", self.basis, BASES),
            ("part", self.part, get_args(Part)),
            ("solver", self.solver, SOLVERS),
            ("kernel", self.kernel, KERNELS),
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
        self._check_criterion()
        object.__setattr__(self, "weighting", checked_weighting(self.weighting))
        if not isinstance(self.shared, bool | str):
            object.__setattr__(self, "shared", _checked_columns(self.shared))
        tau = None if self.tau is None else tuple(checked_tau(self.tau).tolist())
        object.__setattr__(self, "tau", tau)
        shape_factor(BASES[self.basis], np.array([1.0, math.e]), self.shape, self.shape_type)

    def _check_criterion(self) -> None:
        name = self.regularisation
        if name == "re-im" and self.part != "complex":
            raise InputError(
                "regularisation='re-im' predicts one part of the impedance by the other and needs part='complex'; "
                f"got part={self.part!r}. Choose another criterion."
            )
        if name == "discrepancy" and self.noise is None:
            raise InputError(
                "regularisation='discrepancy' needs the noise; got None. State the standard deviation as a share of "
                "|Z|: noise=0.01 for 1 %."
            )
        if self.noise is not None and name != "discrepancy":
            raise InputError(f"noise={self.noise!r} has no effect with regularisation={name!r}; only on 'discrepancy'.")
        if self.noise is not None and not is_positive(self.noise):
            raise InputError(f"noise must be a positive number, a share of |Z|; got {self.noise!r}.")
        if self.shared is not False and not isinstance(name, str):
            raise InputError(
                f"shared={self.shared!r} has no effect with a number as regularisation, which all spectra share "
                "anyway. Leave shared at False, or name a criterion."
            )

    @property
    def linear(self) -> bool:
        """Whether solutions respond to noise as those of `problem` with their λ do: they do where γ is positive."""
        return True

    @property
    def shared_states(self) -> tuple[str, ...] | None:
        """State columns whose equal values share one λ; none for all spectra, None if each has its own."""
        if isinstance(self.shared, bool):
            return () if self.shared else None
        return (self.shared,) if isinstance(self.shared, str) else tuple(self.shared)

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
        tau = default_tau(frequency, kernel=self.kernel) if self.tau is None else np.array(self.tau)
        mu = shape_factor(BASES[self.basis], tau, self.shape, self.shape_type)
        return Expansion(tau, self.basis, mu, self.kernel)

    def problem(self, frequency: NDArray[np.float64], expansion: Expansion) -> Problem:
        """State the problem of a grid, without weights.

        Parameters
        ----------
        frequency : ndarray, shape (F,)
            Frequencies, Hz, descending.
        expansion : Expansion
            Basis functions.
        """
        discretisation = discretise(frequency, expansion, self.order)
        return assemble(discretisation, self.part, inductance=self.inductance, capacitance=self.capacitance)

    def solve(
        self,
        frequency: NDArray[np.float64],
        impedance: NDArray[np.complex128],
        expansion: Expansion,
        which: NDArray[np.intp] | None = None,
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
        """
        return self._prepared(frequency, expansion).solve(impedance, which)

    def tallies(
        self, frequency: NDArray[np.float64], impedance: NDArray[np.complex128], expansion: Expansion
    ) -> NDArray[np.int64]:
        """Scores of each λ of the grid, to be summed over a series; called from several threads at once.

        Parameters
        ----------
        frequency, impedance, expansion
            As :meth:`solve` takes them.

        Returns
        -------
        ndarray of int64, shape (K, G)
        """
        return self._prepared(frequency, expansion).tallies(impedance)

    def posterior(
        self,
        frequency: NDArray[np.float64],
        impedance: NDArray[np.complex128],
        expansion: Expansion,
        solutions: tuple[Parameters, NDArray[np.float64]],
        noise: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,  # noqa: ARG002 - as the protocol has it
    ) -> TruncatedPosterior:
        """Estimate the uncertainty of solutions, if λ and the penalty describe γ; called from several threads at once.

        The posterior of the problem, normal noise and a normal prior cut off where an unknown is negative, by
        expectation propagation [1]_.

        Parameters
        ----------
        frequency, impedance, expansion
            As :meth:`solve` takes them.
        solutions : tuple
            What it found: the parameters, and λ of each, shape (K,).

        References
        ----------
        .. [1] J. P. Cunningham, P. Hennig, S. Lacoste-Julien, arXiv:1111.6832 (2011).
        """
        return self._prepared(frequency, expansion).posterior(impedance, *solutions)

    def _prepared(self, frequency: NDArray[np.float64], expansion: Expansion) -> PreparedTikhonov:
        with _PREPARING:
            return _prepared(self, frequency.tobytes(), expansion.tau.tobytes(), expansion.mu)


_PREPARING = Lock()


@lru_cache(maxsize=8)
def _prepared(method: Tikhonov, frequency: bytes, tau: bytes, mu: float) -> PreparedTikhonov:
    expansion = Expansion(np.frombuffer(tau), method.basis, mu, method.kernel)
    problem = method.problem(np.frombuffer(frequency), expansion)
    return PreparedTikhonov(problem, method.regularisation, method.noise, method.weighting, method.solver)


def _checked_columns(columns: object) -> tuple[str, ...]:
    """Names of state columns; a file of settings has them as a list."""
    names = tuple(columns) if isinstance(columns, Sequence) else ()
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise InputError(
            f"shared must be True, False, the name of a state column, or distinct names; got {columns!r}. "
            "An example: shared=('cell', 'cycle')."
        )
    return names
