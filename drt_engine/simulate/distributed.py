"""Circuit elements whose γ is a density in closed form: ZARC, Havriliak-Negami, Gerischer, piecewise constant."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drt_engine.errors import InputError
from drt_engine.simulate.checks import (
    angular,
    check_exponent,
    check_not_negative,
    check_positive,
    checked_count,
    relaxation_times,
)
from drt_engine.simulate.closed_forms import cole_davidson_gamma, havriliak_negami_gamma, zarc_gamma, zarc_impedance
from drt_engine.simulate.elements import Element, dirac_error

__all__ = ["ZARC", "Gerischer", "HavriliakNegami", "PiecewiseConstant"]


@dataclass(frozen=True)
class ZARC(Element):
    r"""A ZARC or Cole-Cole element, a resistor parallel to a constant phase element.

    .. math:: Z = \frac{R}{1 + (j\omega\tau_0)^\phi}, \quad
        \gamma = \frac{R}{2\pi} \frac{\sin((1-\phi)\pi)}{\cosh(\phi\ln(\tau/\tau_0)) - \cos((1-\phi)\pi)}

    Parameters
    ----------
    r : float
        Resistance, ohm, not negative.
    tau : float
        Relaxation time of the peak, s, positive.
    phi : float
        Exponent in (0, 1]; at 1 it is an RC element, and γ a Dirac function.

    Raises
    ------
    InputError
        For parameters outside these ranges.

    References
    ----------
    .. [1] K. S. Cole, R. H. Cole, J. Chem. Phys. 9 (1941) 341.
    """

    r: float
    tau: float
    phi: float

    def __post_init__(self) -> None:
        """Refuse parameters that cannot be."""
        check_not_negative(self, "r", "ohm")
        check_positive(self, "tau", "s")
        check_exponent(self, "phi")

    def impedance(self, frequency: ArrayLike) -> NDArray[np.complex128]:
        """Impedance, ohm, shape (F,), at the frequencies (Hz) given; see `Element.impedance`."""
        return zarc_impedance(angular(frequency), self.r, self.tau, self.phi)

    def gamma(self, tau: ArrayLike) -> NDArray[np.float64]:
        """Exact γ(ln τ), ohm, shape (T,), at the relaxation times (s) given; see `Element.gamma`."""
        if self.phi == 1:
            raise dirac_error(self)
        return zarc_gamma(relaxation_times(tau), self.r, self.tau, self.phi)

    def lines(self, n: int = 100) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Relaxation times (s) and resistances (ohm) of Dirac functions; see `Element.lines`."""
        if self.phi < 1:
            return super().lines(n)
        checked_count(n)
        return np.array([self.tau]), np.array([self.r])

    @property
    def r_pol(self) -> float:
        """Polarisation resistance ∫ γ d ln τ, ohm."""
        return self.r


@dataclass(frozen=True)
class HavriliakNegami(Element):
    r"""A Havriliak-Negami element, an asymmetric ZARC; with φ = 1 a Cole-Davidson element.

    .. math:: Z = \frac{R}{(1 + (j\omega\tau_0)^\phi)^\psi}, \quad
        \gamma = \frac{R}{\pi} \frac{u^\psi \sin(\psi\theta)}{(1 + 2u\cos\pi\phi + u^2)^{\psi/2}}

    with :math:`u = (\tau/\tau_0)^\phi` and :math:`\theta = \mathrm{atan2}(\sin\pi\phi, u + \cos\pi\phi)` [1]_. With
    φ = 1 it is :math:`(R/\pi) \sin(\pi\psi) (\tau/(\tau_0-\tau))^\psi` up to τ₀, where it is infinite but integrable,
    and zero beyond [2]_.

    Parameters
    ----------
    r : float
        Resistance, ohm, not negative.
    tau : float
        Relaxation time τ₀, s, positive; the peak of γ lies beside it unless ψ = 1.
    phi : float
        Exponent in (0, 1].
    psi : float
        Exponent, positive, with φψ ≤ 1, beyond which γ would be negative.

    Raises
    ------
    InputError
        For parameters outside these ranges.

    References
    ----------
    .. [1] S. Havriliak, S. Negami, Polymer 8 (1967) 161.
    .. [2] D. W. Davidson, R. H. Cole, J. Chem. Phys. 19 (1951) 1484.
    """

    r: float
    tau: float
    phi: float
    psi: float

    def __post_init__(self) -> None:
        """Refuse parameters that cannot be."""
        check_not_negative(self, "r", "ohm")
        check_positive(self, "tau", "s")
        check_exponent(self, "phi")
        check_positive(self, "psi", "units of 1")
        if self.phi * self.psi > 1:
            raise InputError(
                f"phi * psi of HavriliakNegami must not be more than 1; got {self.phi!r} * {self.psi!r}. "
                "Beyond that its gamma is negative somewhere."
            )

    def impedance(self, frequency: ArrayLike) -> NDArray[np.complex128]:
        """Impedance, ohm, shape (F,), at the frequencies (Hz) given; see `Element.impedance`."""
        # the argument is split off because j to a power carries an error that phi = 1 would show
        turned = np.exp(0.5j * np.pi * self.phi) * (angular(frequency) * self.tau) ** self.phi
        return np.asarray(self.r / (1 + turned) ** self.psi)

    def gamma(self, tau: ArrayLike) -> NDArray[np.float64]:
        """Exact γ(ln τ), ohm, shape (T,), at the relaxation times (s) given; see `Element.gamma`."""
        if self.phi == 1 and self.psi == 1:
            raise dirac_error(self)
        where = relaxation_times(tau)
        if self.phi == 1:
            return cole_davidson_gamma(where, self.r, self.tau, self.psi)
        return havriliak_negami_gamma(where, self.r, self.tau, self.phi, self.psi)

    def lines(self, n: int = 100) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Relaxation times (s) and resistances (ohm) of Dirac functions; see `Element.lines`."""
        if self.phi < 1 or self.psi < 1:
            return super().lines(n)
        checked_count(n)
        return np.array([self.tau]), np.array([self.r])

    @property
    def r_pol(self) -> float:
        """Polarisation resistance ∫ γ d ln τ, ohm."""
        return self.r


@dataclass(frozen=True)
class Gerischer(Element):
    r"""A Gerischer element, diffusion with a homogeneous reaction; as of a porous mixed-conducting electrode.

    .. math:: Z = \frac{R}{\sqrt{1 + j\omega\tau_0}}, \quad
        \gamma = \frac{R}{\pi} \sqrt{\frac{\tau}{\tau_0 - \tau}} \text{ for } \tau < \tau_0,
        \text{ and } 0 \text{ beyond}

    At τ₀ itself γ is infinite, but integrable [2]_.

    Parameters
    ----------
    r : float
        Resistance, ohm, not negative.
    tau : float
        Relaxation time τ₀, the inverse of the rate of the reaction, s, positive.

    Raises
    ------
    InputError
        For parameters outside these ranges.

    References
    ----------
    .. [1] H. Gerischer, Z. Phys. Chem. 198 (1951) 286.
    .. [2] B. A. Boukamp, A. Rolle, Solid State Ionics 302 (2017) 12.
    """

    r: float
    tau: float

    def __post_init__(self) -> None:
        """Refuse parameters that cannot be."""
        check_not_negative(self, "r", "ohm")
        check_positive(self, "tau", "s")

    def impedance(self, frequency: ArrayLike) -> NDArray[np.complex128]:
        """Impedance, ohm, shape (F,), at the frequencies (Hz) given; see `Element.impedance`."""
        return np.asarray(self.r / np.sqrt(1 + 1j * angular(frequency) * self.tau))

    def gamma(self, tau: ArrayLike) -> NDArray[np.float64]:
        """Exact γ(ln τ), ohm, shape (T,), at the relaxation times (s) given; see `Element.gamma`."""
        return cole_davidson_gamma(relaxation_times(tau), self.r, self.tau, 0.5)

    @property
    def r_pol(self) -> float:
        """Polarisation resistance ∫ γ d ln τ, ohm."""
        return self.r


@dataclass(frozen=True, init=False)
class PiecewiseConstant(Element):
    r"""A γ that is constant between given relaxation times and zero outside them.

    An interval from a to b with γ = g has, by integration of g / (1 + jωτ) over ln τ,

    .. math:: Z = g \left[ \ln\frac{b}{a} - \ln\frac{1 + j\omega b}{1 + j\omega a} \right]
        = g \left[ \tfrac12 \ln\!\left(1 + \frac{b^2 - a^2}{a^2 (1 + \omega^2 b^2)}\right)
        - j \arctan\frac{\omega (b - a)}{1 + \omega^2 ab} \right],

    of which the second form has no cancellation at any frequency.

    Parameters
    ----------
    edges : array_like, shape (n + 1,)
        Relaxation times between which γ is constant, s, positive and ascending.
    values : array_like, shape (n,)
        γ in each interval, lower edge included, ohm per unit of natural logarithm, not negative.

    Raises
    ------
    InputError
        For edges that do not ascend, values that are negative or not finite, or numbers of them that do not fit.
    """

    edges: tuple[float, ...]
    values: tuple[float, ...]

    def __init__(self, edges: Iterable[float], values: Iterable[float]) -> None:
        tau = relaxation_times(np.array(list(edges), dtype=float))
        height = np.array(list(values), dtype=float)
        if height.ndim != 1 or height.size < 1 or tau.size != height.size + 1:
            raise InputError(
                f"edges must be one more than values; got {tau.size} edges and {height.size} values. "
                "For a gap, give an interval the value 0."
            )
        if np.any(np.diff(tau) <= 0):
            raise InputError(f"edges must ascend; got {tau.tolist()}.")
        if not np.all(np.isfinite(height) & (height >= 0)):
            raise InputError(f"values must be finite and not negative; got {height.tolist()}.")
        object.__setattr__(self, "edges", tuple(tau.tolist()))
        object.__setattr__(self, "values", tuple(height.tolist()))

    def impedance(self, frequency: ArrayLike) -> NDArray[np.complex128]:
        """Impedance, ohm, shape (F,), at the frequencies (Hz) given; see `Element.impedance`."""
        omega = angular(frequency)[:, None]
        a, b = np.array(self.edges[:-1]), np.array(self.edges[1:])
        real = 0.5 * np.log1p((b / a - 1) * (b / a + 1) / (1 + (omega * b) ** 2))
        imaginary = -np.arctan2(omega * (b - a), 1 + omega * a * (omega * b))
        return np.asarray((real + 1j * imaginary) @ np.array(self.values))

    def gamma(self, tau: ArrayLike) -> NDArray[np.float64]:
        """Exact γ(ln τ), ohm, shape (T,), at the relaxation times (s) given; see `Element.gamma`."""
        padded = np.array([0.0, *self.values, 0.0])
        return padded[np.searchsorted(self.edges, relaxation_times(tau), side="right")]

    @property
    def r_pol(self) -> float:
        """Polarisation resistance ∫ γ d ln τ, ohm."""
        return float(np.diff(np.log(self.edges)) @ np.array(self.values))
