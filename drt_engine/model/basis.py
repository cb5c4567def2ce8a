"""Basis functions of ln τ and the expansion γ(ln τ) = Σ x_m φ(ln τ − ln τ_m)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.model.responses import RESPONSES, Response, ResponseName, hat_impedance, radial_impedance
from drt_engine.threads import run_tiles
from drt_kernels import piecewise, radial
from drt_kernels.kinds import Radial

__all__ = ["BASES", "Basis", "BasisName", "Expansion", "ShapeType", "checked_tau", "is_positive", "shape_factor"]

BasisName = Literal[
    "gaussian",
    "c0-matern",
    "c2-matern",
    "c4-matern",
    "c6-matern",
    "inverse-quadratic",
    "inverse-quadric",
    "cauchy",
    "piecewise-linear",
]
ShapeType = Literal["fwhm", "factor"]

_TILE = 16
"""Frequencies whose integrals are one thread's work."""


@dataclass(frozen=True)
class Basis:
    """A family of basis functions.

    Attributes
    ----------
    name : str
        Its name in the API.
    radial : Radial or None
        Its code in the kernels; None for piecewise linear.
    fwhm : float
        Full width at half maximum in x = μ |ln τ − ln τ_m|; NaN for piecewise linear.
    highest_order : int
        Highest derivative that is square-integrable, or has a documented replacement.
    why : str
        Why there is no higher one.
    """

    name: BasisName
    radial: Radial | None
    fwhm: float
    highest_order: int = 2
    why: str = ""

    def check_order(self, order: int) -> None:
        """Refuse an order of the roughness that this basis does not have.

        Raises
        ------
        InputError
            With the reason.
        """
        if isinstance(order, bool) or order not in (0, 1, 2):
            raise InputError(f"order must be 0, 1 or 2, the derivative whose square is penalised; got {order!r}.")
        if order > self.highest_order:
            raise InputError(
                f"order {order} does not exist for the {self.name} basis: {self.why} "
                f"Use order {self.highest_order} or lower, or another basis."
            )


_KINK = "it has a kink at its centre, so its second derivative is not square-integrable."

BASES: Mapping[str, Basis] = {
    basis.name: basis
    for basis in (
        Basis("gaussian", Radial.GAUSSIAN, 2.0 * math.sqrt(math.log(2.0))),
        Basis("c0-matern", Radial.C0_MATERN, 2.0 * math.log(2.0), highest_order=1, why=_KINK),
        Basis("c2-matern", Radial.C2_MATERN, 3.3566939800333215),
        Basis("c4-matern", Radial.C4_MATERN, 4.660512384312015),
        Basis("c6-matern", Radial.C6_MATERN, 5.6991353957711235),
        Basis("inverse-quadratic", Radial.INVERSE_QUADRATIC, 2.0),
        Basis("inverse-quadric", Radial.INVERSE_QUADRIC, 3.397534846262445),
        Basis("cauchy", Radial.CAUCHY, 1.9261435299046872, highest_order=1, why=_KINK),
        Basis("piecewise-linear", None, math.nan),
    )
}
"""All bases by name."""


def shape_factor(basis: Basis, tau: NDArray[np.float64], shape: float, shape_type: ShapeType = "fwhm") -> float:
    """Shape factor μ of φ(μ |ln τ − ln τ_m|) on a grid.

    Parameters
    ----------
    basis : Basis
        The family.
    tau : ndarray, shape (M,)
        Relaxation times, s, ascending.
    shape : float
        With ``"fwhm"``: the mean spacing of ln τ divided by the full width at half maximum of φ; 0.5 makes φ twice as
        wide as the spacing [1]_. With ``"factor"``: μ itself.
    shape_type : {"fwhm", "factor"}
        Meaning of `shape`.

    Returns
    -------
    float
        μ; NaN for piecewise linear, which has no shape.

    Raises
    ------
    InputError
        If `shape` is not a positive number.

    References
    ----------
    .. [1] T. H. Wan, M. Saccoccio, C. Chen, F. Ciucci, Electrochim. Acta 184 (2015) 483.
    """
    if shape_type not in get_args(ShapeType):
        raise UnknownNameError("shape_type", shape_type, get_args(ShapeType))
    if not is_positive(shape):
        raise InputError(f"shape must be a positive number; got {shape!r}.")
    if basis.radial is None:
        return math.nan
    if shape_type == "factor":
        return float(shape)
    spacing = math.log(tau[-1] / tau[0]) / (tau.size - 1)
    return float(basis.fwhm * shape / spacing)


def is_positive(value: object) -> bool:
    """Whether a value is a finite number above zero; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def checked_tau(tau: ArrayLike) -> NDArray[np.float64]:
    """Relaxation times in ascending order.

    Raises
    ------
    InputError
        Unless there are three or more, positive, finite and distinct.
    """
    try:
        grid = np.sort(np.array(tau, dtype=float).ravel())
    except (TypeError, ValueError) as error:
        raise InputError(f"tau must be an array of numbers in s; got {error}.") from error
    if grid.size < 3:
        raise InputError(f"tau must have at least 3 relaxation times; got {grid.size}.")
    if not (np.all(np.isfinite(grid)) and grid[0] > 0):
        raise InputError(f"tau must be positive and finite; got values from {grid[0]:g} to {grid[-1]:g} s.")
    if np.any(np.diff(grid) <= 1e-9 * grid[1:]):
        at = grid[int(np.argmin(np.diff(grid) / grid[1:]))]
        raise InputError(f"tau must not repeat; got {at:g} s more than once.")
    return grid


# Of the points and of a smooth curve of two grids: who looks at one spectrum after another asks for the same.
@lru_cache(maxsize=4)
def _integrals(kind: int, mu: float, tau: bytes, omega: bytes) -> NDArray[np.complex128]:
    """Impedance of unit radial functions, shape (F, M); kept, since each entry is an integral."""
    times, at = np.frombuffer(tau), np.frombuffer(omega)
    re = np.empty((at.size, times.size))
    im = np.empty_like(re)
    run_tiles(
        lambda rows: radial.radial_impedance(kind, mu, at[rows], times, re[rows], im[rows]),
        [slice(first, first + _TILE) for first in range(0, at.size, _TILE)],
    )
    return re + 1j * im


@lru_cache(maxsize=64)
def _ends(frequency: bytes) -> tuple[np.float64, np.float64]:
    """Lowest and highest frequency of a grid; kept, since every spectrum needs them."""
    values = np.frombuffer(frequency)
    return values.min(), values.max()


@dataclass(frozen=True, eq=False)
class Expansion:
    """Basis functions on a grid of relaxation times: what a row of coefficients stands for.

    Parameters
    ----------
    tau : ndarray, shape (M,)
        Relaxation times of the basis functions, s, ascending.
    basis : str
        Name of the basis.
    mu : float
        Shape factor; NaN for piecewise linear.
    kernel : str
        Name of what it is a distribution of; a key of :data:`drt_engine.model.responses.RESPONSES`.
    """

    tau: NDArray[np.float64]
    basis: BasisName
    mu: float
    kernel: ResponseName = "relaxation"

    def __post_init__(self) -> None:
        """Check the name and freeze the grid."""
        if self.basis not in BASES:
            raise UnknownNameError("basis", self.basis, BASES)
        if self.kernel not in RESPONSES:
            raise UnknownNameError("kernel", self.kernel, RESPONSES)
        tau = checked_tau(self.tau)
        tau.flags.writeable = False
        object.__setattr__(self, "tau", tau)

    @property
    def _kind(self) -> Radial | None:
        return BASES[self.basis].radial

    @property
    def response(self) -> Response:
        """Impedance of one process, of whose time constant γ is the distribution."""
        return RESPONSES[self.kernel]

    def window(self, frequency: NDArray[np.float64]) -> tuple[float, float]:
        """Shortest and longest relaxation time that data show, s: 1/ω_max and 1/ω_min, times the corner of the kernel.

        Parameters
        ----------
        frequency : ndarray, shape (F,)
            Frequencies, Hz.
        """
        corner, (lowest, highest) = self.response.corner, _ends(frequency.tobytes())
        return corner / float(2.0 * np.pi * highest), corner / float(2.0 * np.pi * lowest)

    def values(self, tau: ArrayLike) -> NDArray[np.float64]:
        """Values of the basis functions.

        Parameters
        ----------
        tau : array_like, shape (T,)
            Relaxation times, s.

        Returns
        -------
        ndarray, shape (T, M)
            φ(ln τ_t − ln τ_m); coefficients @ values.T is γ.
        """
        at = np.atleast_1d(np.asarray(tau, dtype=float))
        out = np.empty((at.size, self.tau.size))
        if self._kind is None:
            piecewise.piecewise_values(at, self.tau, out)
        else:
            radial.radial_values(int(self._kind), self.mu, at, self.tau, out)
        return out

    def curve(self, coefficients: NDArray[np.float64], tau: ArrayLike) -> NDArray[np.float64]:
        """Draw smooth curves through the values of piecewise linear γ, along ln γ.

        Exponential tails stay exponential, peaks get a round top which may lie beside the highest value, and there is
        no maximum or minimum that the values do not have. Resistances are areas below straight lines between the
        values, as the data have them; the area below the curve of a sharp peak is a few per cent smaller.

        Parameters
        ----------
        coefficients : ndarray, shape (K, M)
            Values of γ at the relaxation times, ohm.
        tau : array_like, shape (T,)
            Relaxation times, s.

        Returns
        -------
        ndarray, shape (K, T)
            γ, ohm: the values themselves at their relaxation times, zero outside the grid, and NaN in rows with a NaN.
            Between two values of which one is zero, or which have not one sign, it is a straight line.

        Raises
        ------
        InputError
            For another basis, whose coefficients are no values of γ.
        """
        if self._kind is not None:
            raise InputError(f"curve needs the piecewise-linear basis; got {self.basis!r}. Use Expansion.values.")
        at = np.atleast_1d(np.asarray(tau, dtype=float))
        rows = np.ascontiguousarray(coefficients, dtype=float)
        out = np.empty((len(rows), at.size))
        piecewise.piecewise_curve(rows, at, self.tau, out)
        return out

    def impedance(self, frequency: ArrayLike) -> NDArray[np.complex128]:
        """Impedance of unit basis functions.

        Parameters
        ----------
        frequency : array_like, shape (F,)
            Frequencies, Hz.

        Returns
        -------
        ndarray of complex, shape (F, M)
            ∫ φ_m(y) / (1 + jω e^y) dy, or with another kernel in place of 1 / (1 + jω e^y), within 1e-12 of the largest
            entry.

        Raises
        ------
        InputError
            For a kernel whose integral with the basis functions is infinite.
        """
        omega = 2.0 * np.pi * np.atleast_1d(np.asarray(frequency, dtype=float))
        if self.kernel == "admittance":
            return -replace(self, kernel="relaxation").impedance(frequency)
        if self.kernel != "relaxation":
            if self._kind is None:
                return hat_impedance(self.response, omega, self.tau)
            return radial_impedance(self.response, int(self._kind), self.mu, omega, self.tau)
        if self._kind is not None:
            return _integrals(int(self._kind), self.mu, self.tau.tobytes(), omega.tobytes()).copy()
        re = np.empty((omega.size, self.tau.size))
        im = np.empty_like(re)
        piecewise.piecewise_impedance(omega, self.tau, re, im)
        return re + 1j * im

    @cached_property
    def areas(self) -> NDArray[np.float64]:
        """∫ φ_m d ln τ, shape (M,), frozen; coefficients @ areas is the polarisation resistance."""
        if self._kind is None:
            half = 0.5 * np.diff(np.log(self.tau))
            found = np.pad(half, (0, 1)) + np.pad(half, (1, 0))
        else:
            found = np.full(self.tau.size, 2.0 * radial.tail(int(self._kind), 0.0) / self.mu)
        found.flags.writeable = False
        return found

    def cumulative(self, tau: ArrayLike) -> NDArray[np.float64]:
        """Integrals of the basis functions up to some relaxation times.

        Parameters
        ----------
        tau : array_like, shape (T,)
            Relaxation times, s.

        Returns
        -------
        ndarray, shape (T, M)
            ∫ φ_m d ln τ from −∞ to ln τ_t.
        """
        at, y = np.log(np.atleast_1d(np.asarray(tau, dtype=float))), np.log(self.tau)
        if self._kind is None:
            # Of the rising and the falling side of each hat, as far as the end.
            spacing = np.diff(y)
            share = np.clip((at[:, None] - y[:-1]) / spacing, 0.0, 1.0)
            rising = 0.5 * spacing * share**2
            out = np.zeros((at.size, y.size))
            out[:, 1:] = rising
            out[:, :-1] += spacing * share - rising
            return out
        kind = int(self._kind)
        distance = self.mu * (at[:, None] - y)
        tail = radial.tail  # looked up once: that takes longer than the function
        tails = np.array([tail(kind, value) for value in np.abs(distance).ravel().tolist()]).reshape(distance.shape)
        return np.asarray(np.where(distance > 0.0, 2.0 * tail(kind, 0.0) - tails, tails) / self.mu)

    def roughness(self, order: int) -> NDArray[np.float64]:
        """Roughness matrix M; xᵀMx = ∫ (d^order γ / d(ln τ)^order)² d ln τ.

        For piecewise linear γ of order 2 the second derivative is a finite difference, weighted by the spacing.

        Parameters
        ----------
        order : {0, 1, 2}
            Order of the derivative.

        Returns
        -------
        ndarray, shape (M, M)
            Symmetric and positive semidefinite.

        Raises
        ------
        InputError
            For an order that the basis does not have.
        """
        BASES[self.basis].check_order(order)
        out = np.empty((self.tau.size, self.tau.size))
        if self._kind is None:
            piecewise.piecewise_gram(order, self.tau, out)
        else:
            radial.radial_gram(int(self._kind), order, self.mu, self.tau, out)
        return out
