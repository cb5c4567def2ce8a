"""Warburg elements: diffusion through a layer of finite or infinite thickness."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drt_engine.errors import UnknownNameError
from drt_engine.simulate.checks import angular, check_positive, checked_count, relaxation_times
from drt_engine.simulate.elements import Element, dirac_error

__all__ = ["Boundary", "FiniteWarburg", "SemiInfiniteWarburg"]

Boundary = Literal["transmissive", "reflective"]
"""What is at the far side of a diffusion layer: a constant concentration (short), or a wall (open)."""


@dataclass(frozen=True)
class FiniteWarburg(Element):
    r"""Diffusion through a layer of finite thickness; γ is an infinite series of Dirac functions, see `lines`.

    With a transmissive boundary (finite-length or short Warburg),

    .. math:: Z = R \frac{\tanh\sqrt{j\omega\tau}}{\sqrt{j\omega\tau}}
        = \sum_{n=1}^\infty \frac{r_n}{1 + j\omega\tau_n},
        \quad \tau_n = \frac{\tau}{(n - 1/2)^2 \pi^2}, \quad r_n = \frac{2R}{(n - 1/2)^2 \pi^2},

    of which the resistances add up to R. With a reflective boundary (finite-space or open Warburg),

    .. math:: Z = R \frac{\coth\sqrt{j\omega\tau}}{\sqrt{j\omega\tau}} = \frac{1}{j\omega C}
        + \sum_{n=1}^\infty \frac{r_n}{1 + j\omega\tau_n},
        \quad \tau_n = \frac{\tau}{n^2 \pi^2}, \quad r_n = \frac{2R}{n^2 \pi^2}, \quad C = \frac{\tau}{R},

    of which the resistances add up to R/3. Its capacitive branch at low frequency is not integrable: no γ stands for
    it, whatever the range of τ. It is the series capacitance C, and the inversion of such a spectrum needs
    ``capacitance=True``. Both series are the partial fractions of tanh and coth.

    Parameters
    ----------
    r : float
        Resistance R, ohm, positive; for a reflective boundary, three times the resistance above the capacitive branch.
    tau : float
        Diffusion time, thickness² / diffusion coefficient, s, positive.
    boundary : {"transmissive", "reflective"}
        What is at the far side.

    Raises
    ------
    InputError
        For parameters outside these ranges.

    References
    ----------
    .. [1] C. Ho, I. D. Raistrick, R. A. Huggins, J. Electrochem. Soc. 127 (1980) 343.
    .. [2] B. A. Boukamp, A. Rolle, Solid State Ionics 302 (2017) 12.
    """

    r: float
    tau: float
    boundary: Boundary = "transmissive"

    def __post_init__(self) -> None:
        """Refuse parameters that cannot be."""
        check_positive(self, "r", "ohm")
        check_positive(self, "tau", "s")
        if self.boundary not in get_args(Boundary):
            raise UnknownNameError("boundary", self.boundary, get_args(Boundary))

    def impedance(self, frequency: ArrayLike) -> NDArray[np.complex128]:
        """Impedance, ohm, shape (F,), at the frequencies (Hz) given; see `Element.impedance`."""
        root = np.sqrt(1j * angular(frequency) * self.tau)
        shape = np.tanh(root)
        return np.asarray(self.r * shape / root if self.boundary == "transmissive" else self.r / (shape * root))

    def gamma(self, tau: ArrayLike) -> NDArray[np.float64]:
        """Refuse: there is no density; see `Element.gamma`."""
        relaxation_times(tau)
        raise dirac_error(self)

    def lines(self, n: int = 100) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Relaxation times (s) and resistances (ohm) of Dirac functions; see `Element.lines`."""
        order = np.arange(checked_count(n), 0, -1) - (0.5 if self.boundary == "transmissive" else 0.0)
        share = 1 / (order * np.pi) ** 2
        return self.tau * share, 2 * self.r * share

    @property
    def r_pol(self) -> float:
        """Polarisation resistance ∫ γ d ln τ, ohm."""
        return self.r if self.boundary == "transmissive" else self.r / 3

    @property
    def series_terms(self) -> tuple[float, float, float]:
        """What it adds to R_inf (ohm), L (H) and 1/C (1/F)."""
        return 0.0, 0.0, 0.0 if self.boundary == "transmissive" else self.r / self.tau


@dataclass(frozen=True)
class SemiInfiniteWarburg(Element):
    r"""Diffusion into an unlimited medium.

    .. math:: Z = \sigma \frac{1 - j}{\sqrt\omega}, \quad \gamma = \frac{\sigma}{\pi} \sqrt{2\tau}

    γ exists at every τ, and ∫ γ / (1 + jωτ) d ln τ converges to Z; but γ grows without limit, so ∫ γ d ln τ does not
    converge and the polarisation resistance is infinite. It follows from
    :math:`\int_0^\infty x^{-1/2} / (1 + x) \, dx = \pi`.

    Parameters
    ----------
    sigma : float
        Warburg coefficient, ohm / s^½, positive.

    Raises
    ------
    InputError
        For a coefficient that is not positive and finite.

    References
    ----------
    .. [1] E. Warburg, Ann. Phys. 303 (1899) 493.
    """

    sigma: float

    def __post_init__(self) -> None:
        """Refuse parameters that cannot be."""
        check_positive(self, "sigma", "ohm per square root of second")

    def impedance(self, frequency: ArrayLike) -> NDArray[np.complex128]:
        """Impedance, ohm, shape (F,), at the frequencies (Hz) given; see `Element.impedance`."""
        return np.asarray(self.sigma * (1 - 1j) / np.sqrt(angular(frequency)))

    def gamma(self, tau: ArrayLike) -> NDArray[np.float64]:
        """Exact γ(ln τ), ohm, shape (T,), at the relaxation times (s) given; see `Element.gamma`."""
        return np.asarray(self.sigma / np.pi * np.sqrt(2 * relaxation_times(tau)))

    @property
    def r_pol(self) -> float:
        """Infinite."""
        return np.inf
