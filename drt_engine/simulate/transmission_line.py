"""A composite electrode of two conductors, as a transmission line, and the constant-phase element."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drt_engine.checks import is_real
from drt_engine.errors import InputError, UnknownNameError
from drt_engine.simulate.checks import (
    angular,
    check_exponent,
    check_not_negative,
    check_positive,
    checked_count,
    relaxation_times,
)
from drt_engine.simulate.elements import Element, NoDensityError

__all__ = ["Connection", "ConstantPhase", "TransmissionLine", "line_impedance"]

Connection = Literal["ee", "ii", "ie"]
"""What is at the two faces of a composite: metal on both, electrolyte on both, or electrolyte and metal."""

Complex = NDArray[np.complex128]

_NEAR_ZERO = 0.3
"""|λ| below which power series are used: what they leave out is below 1e-13 there, and closed forms lose digits, as
nearly equal numbers are subtracted."""
_TALBOT = 20
"""Nodes of the inverse Laplace transform. The relative error with M nodes is about 10^(−0.6 M), J. Abate, P. P. Valkó,
Int. J. Numer. Methods Eng. 60 (2004) 979; with more than 20 that of rounding is larger."""
_TANH = (1.0, -1 / 3, 2 / 15, -17 / 315, 62 / 2835, -1382 / 155925, 21844 / 6081075)
"""Coefficients of tanh(x)/x in powers of x², from the lowest."""
_COTH = (1 / 3, -1 / 45, 2 / 945, -1 / 4725, 2 / 93555, -1382 / 638512875, 4 / 18243225)
"""Coefficients of coth(λ)/λ − 1/λ² in powers of λ², from the lowest."""
_SINH = (-1 / 6, 7 / 360, -31 / 15120, 127 / 604800, -73 / 3421440, 1414477 / 653837184000, -8191 / 37362124800)
"""Coefficients of 1/(λ sinh λ) − 1/λ² in powers of λ², from the lowest."""


@dataclass(frozen=True)
class ConstantPhase(Element):
    r"""A constant-phase element in series, as a blocking electrode gives it.

    .. math:: Z = \frac{1}{Q (j\omega)^n}, \quad \gamma = \frac{\sin n\pi}{\pi Q} \tau^n

    γ grows without limit, so ∫ γ d ln τ does not converge; with n = 1 it is a capacitor and has no γ.

    Parameters
    ----------
    q : float
        Q, S sⁿ, positive.
    n : float
        Exponent, in (0, 1].

    Raises
    ------
    InputError
        For parameters outside these ranges.

    References
    ----------
    .. [1] G. J. Brug, A. L. G. van den Eeden, M. Sluyters-Rehbach, J. H. Sluyters, J. Electroanal. Chem. 176 (1984)
       275.
    """

    q: float
    n: float

    def __post_init__(self) -> None:
        """Refuse parameters that cannot be."""
        check_positive(self, "q", "S s^n")
        check_exponent(self, "n")

    def impedance(self, frequency: ArrayLike) -> Complex:
        """Impedance, ohm, shape (F,), at the frequencies (Hz) given; see `Element.impedance`."""
        return np.asarray(1 / (self.q * (1j * angular(frequency)) ** self.n))

    def gamma(self, tau: ArrayLike) -> NDArray[np.float64]:
        """Exact γ(ln τ), ohm, shape (T,), at the relaxation times (s) given; zero with n = 1."""
        return np.asarray(_sine(self.n) / (np.pi * self.q) * relaxation_times(tau) ** self.n)

    @property
    def r_pol(self) -> float:
        """Infinite; zero with n = 1, where it is a capacitor."""
        return np.inf if self.n < 1 else 0.0

    @property
    def series_terms(self) -> tuple[float, float, float]:
        """What it adds to R_inf (ohm), L (H) and 1/C (1/F)."""
        return 0.0, 0.0, 1 / self.q if self.n == 1 else 0.0


@dataclass(frozen=True)
class TransmissionLine(Element):
    r"""A composite of an ionic and an electronic conductor, coupled along its thickness.

    Both are resistances of the whole electrode, as is the coupling :math:`1/Z_s = Q(j\omega)^\varphi + 1/R_{ct}`. With
    S = R_i + R_e, P = R_i R_e / S and λ² = S/Z_s [1]_ [2]_,

    .. math::
        Z_{ee} &= P + \frac{R_e^2}{S} \frac{\tanh \lambda/2}{\lambda/2}, \\
        Z_{ie} &= P \left(1 + \frac{2}{\lambda \sinh\lambda}\right)
        + \frac{R_i^2 + R_e^2}{S} \frac{\coth\lambda}{\lambda},

    and ii is ee with the two conductors exchanged. All are P at high frequencies.

    γ follows from Z by :math:`\gamma(\ln\tau) = -\mathrm{Im}\,Z(s = e^{i\pi}/\tau) / \pi` [3]_, and is that of ZARC
    elements of exponent φ: for ee, k = 0, 1, … with a = π²(2k+1)² + S/R_ct,

    .. math:: R_k = \frac{8 R_e^2}{S a}, \quad \tau_k = (S Q / a)^{1/\varphi};

    for ie, k = 1, 2, … with a = π²k² + S/R_ct, and R_k = 2S/a for even and 2(R_i − R_e)²/(S a) for odd k, and Z_s
    itself in series. With φ = 1 they are Dirac functions; see `lines`.

    **The tail is no part of γ.** Where ie blocks (R_ct infinite), Z_s is a constant-phase element in series. `gamma`
    and `r_pol` leave it out, as ``LogGaussian(tail="cpe")`` does; `tail` gives it.

    Parameters
    ----------
    r_ion, r_e : float
        Resistance of the ionic and of the electronic conductor, R_i and R_e, ohm, not negative and not both zero.
    q : float
        Q of the coupling, S s^φ, positive.
    phi : float
        Exponent of the coupling, in (0, 1].
    connection : {"ee", "ii", "ie"}
        What is at the faces: ``ee`` metal on both, ``ii`` electrolyte on both, ``ie`` electrolyte and metal.
    r_ct : float
        Resistance of charge transfer between the conductors, ohm, positive; infinite where they block.

    Raises
    ------
    InputError
        For parameters outside these ranges.
    UnknownNameError
        For another connection.

    References
    ----------
    .. [1] Z. Siroma et al., Electrochim. Acta 160 (2015) 313; J. Power Sources 316 (2016) 215.
    .. [2] J. Bisquert et al., Electrochem. Commun. 1 (1999) 429.
    .. [3] R. M. Fuoss, J. G. Kirkwood, J. Am. Chem. Soc. 63 (1941) 385.
    """

    r_ion: float
    r_e: float
    q: float
    phi: float
    connection: Connection
    r_ct: float = np.inf

    def __post_init__(self) -> None:
        """Refuse parameters that cannot be."""
        check_not_negative(self, "r_ion", "ohm")
        check_not_negative(self, "r_e", "ohm")
        check_positive(self, "q", "S s^phi")
        check_exponent(self, "phi")
        if not self.r_ion + self.r_e > 0:
            raise InputError("r_ion and r_e of TransmissionLine must not both be zero. Give one of them a resistance.")
        if self.r_ct != np.inf and not (is_real(self.r_ct) and self.r_ct > 0):
            raise InputError(f"r_ct of TransmissionLine must be positive, in ohm, or inf; got {self.r_ct!r}.")
        if self.connection not in get_args(Connection):
            raise UnknownNameError("connection", self.connection, get_args(Connection))

    def impedance(self, frequency: ArrayLike) -> Complex:
        """Impedance, ohm, shape (F,), at the frequencies (Hz) given; see `Element.impedance`."""
        return self._at(np.log(angular(frequency)) + 0.5j * np.pi)

    def gamma(self, tau: ArrayLike) -> NDArray[np.float64]:
        """Exact γ(ln τ) without the tail, ohm, shape (T,), at the relaxation times (s) given; see `Element.gamma`."""
        where = relaxation_times(tau)
        if self.phi == 1:
            raise NoDensityError(
                f"gamma of {self!r} has no density: it consists of Dirac functions. "
                "Take their relaxation times and resistances from lines()."
            )
        return np.asarray(-self._at(-np.log(where) + 1j * np.pi, self._blocks).imag / np.pi)

    def lines(self, n: int = 100) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Relaxation times (s) and resistances (ohm) of Dirac functions, for φ = 1; see `Element.lines`."""
        checked_count(n)
        return self.modes(n) if self.phi == 1 else super().lines(n)

    def modes(self, n: int = 100) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Relaxation times (s, ascending) and resistances (ohm) of the n slowest ZARC elements that make γ.

        Parameters
        ----------
        n : int
            Number of modes.
        """
        checked_count(n)
        total, leak = self.r_ion + self.r_e, (self.r_ion + self.r_e) / self.r_ct
        if self.connection == "ie":
            k = np.arange(0 if leak else 1, n + (0 if leak else 1))
            a = np.pi**2 * k**2 + leak
            r = np.where(k % 2, 2 * (self.r_ion - self.r_e) ** 2 / total, np.where(k, 2.0, 1.0) * total) / a
        else:
            a = np.pi**2 * (2 * np.arange(n) + 1) ** 2 + leak
            r = 8 * self._own**2 / (total * a)
        return np.asarray((total * self.q / a) ** (1 / self.phi))[::-1], np.asarray(r)[::-1]

    @property
    def r_pol(self) -> float:
        """Polarisation resistance ∫ γ d ln τ without the tail, ohm."""
        return float(self._limit() - self.series_terms[0])

    @property
    def series_terms(self) -> tuple[float, float, float]:
        """What it adds to R_inf (ohm), L (H) and 1/C (1/F)."""
        r_inf = self.r_ion * self.r_e / (self.r_ion + self.r_e)
        return r_inf, 0.0, 1 / self.q if self._blocks and self.phi == 1 else 0.0

    @property
    def tail(self) -> ConstantPhase | None:
        """What is in series with R_inf and γ where the line blocks direct current; None where it does not."""
        return ConstantPhase(self.q, self.phi) if self._blocks else None

    @property
    def r_dc(self) -> float:
        """Resistance to direct current in the steady state, ohm; infinite where the line blocks it."""
        return np.inf if self._blocks else float(self._limit())

    def step_current(self, time: ArrayLike, voltage: float = 1.0) -> NDArray[np.float64]:
        r"""Compute the current after a step of the voltage at time 0, of a line without charge.

        .. math:: I(t) = V \mathcal{L}^{-1}[1 / (s Z(s))]

        by Talbot's contour [1]_, to about 1e-8. For ee with φ = 1 and blocking coupling it is the series
        :math:`V/R_e + \sum_k A_k e^{-4\theta_k^2 t / (SQ)}` with :math:`\tan\theta_k = -(R_i/R_e)\,\theta_k`; it begins
        at V/P and ends at V/R_e.

        Parameters
        ----------
        time : array_like, shape (T,)
            Times since the step, s, positive.
        voltage : float
            Height of the step, V.

        Returns
        -------
        ndarray, shape (T,)
            Current, A.

        Raises
        ------
        InputError
            For times that are not positive and finite.

        References
        ----------
        .. [1] J. Abate, P. P. Valkó, Int. J. Numer. Methods Eng. 60 (2004) 979.
        """
        t = relaxation_times(time)[:, None]
        theta = np.arange(1, _TALBOT) * np.pi / _TALBOT
        cot = 1 / np.tan(theta)
        nodes = np.append(1.0, theta * (cot + 1j)) * 2 * _TALBOT / 5
        weights = np.append(0.5 * np.exp(nodes[0]), np.exp(nodes[1:]) * (1 + 1j * (theta * (1 + cot**2) - cot)))
        s = nodes / t
        return np.asarray(0.4 * voltage * np.sum((weights / (nodes * self._at(np.log(s)))).real, axis=1))

    @property
    def _blocks(self) -> bool:
        return self.connection == "ie" and self.r_ct == np.inf

    @property
    def _own(self) -> float:
        """Resistance of the conductor that both faces touch."""
        return self.r_e if self.connection == "ee" else self.r_ion

    def _at(self, log_s: NDArray[Any], without_tail: bool = False) -> Complex:
        z_s = 1 / (self.q * np.exp(self.phi * log_s) + 1 / self.r_ct)
        return line_impedance(self.r_ion, self.r_e, z_s, self.connection, without_tail)

    def _limit(self) -> float:
        """Z at frequency zero; of a line that blocks, without its tail."""
        z_s = np.array([1e300 if self.r_ct == np.inf else self.r_ct])
        return float(line_impedance(self.r_ion, self.r_e, z_s, self.connection, self._blocks)[0].real)


def line_impedance(r_ion: Any, r_e: Any, z_s: Any, connection: Connection, without_tail: bool = False) -> Complex:
    """Impedance of a two-rail transmission line; everything broadcasts.

    Parameters
    ----------
    r_ion, r_e : array_like
        Resistances of the rails, ohm.
    z_s : array_like of complex
        Impedance of the coupling of the whole electrode, ohm.
    connection : {"ee", "ii", "ie"}
        What is at the faces.
    without_tail : bool
        Whether Z_s in series is left out, for ie.

    Returns
    -------
    ndarray of complex
        Impedance, ohm; the formulas are those of `TransmissionLine`.
    """
    total = r_ion + r_e
    parallel = r_ion * r_e / total
    square = np.asarray(total / z_s, dtype=complex)
    if connection != "ie":
        own = r_e if connection == "ee" else r_ion
        return np.asarray(parallel + own**2 / total * _tanh_over(square))
    coth, sinh = _coth_and_sinh(square)
    rails = parallel * (1 + 2 * sinh) + (r_ion**2 + r_e**2) / total * coth
    return np.asarray(rails if without_tail else rails + z_s)


def _tanh_over(square: Complex) -> Complex:
    """tanh(λ/2)/(λ/2) of λ²."""
    near = np.abs(square) < _NEAR_ZERO**2
    some = bool(near.any())
    root = np.sqrt(np.where(near, 1.0, square) if some else square)
    plain = -np.expm1(-root) / (1 + np.exp(-root)) / (root / 2)
    if not some:
        return np.asarray(plain)
    return np.where(near, np.polyval(_TANH[::-1], np.where(near, square, 0.0) / 4), plain)


def _coth_and_sinh(square: Complex) -> tuple[Complex, Complex]:
    """coth(λ)/λ − 1/λ² and 1/(λ sinh λ) − 1/λ² of λ²."""
    near = np.abs(square) < _NEAR_ZERO**2
    small, large = np.where(near, square, 0.0), np.where(near, 1.0, square)
    root = np.sqrt(large)
    fall = -np.expm1(-2 * root)
    coth = (1 + np.exp(-2 * root)) / fall / root - 1 / large
    sinh = 2 * np.exp(-root) / fall / root - 1 / large
    return (
        np.where(near, np.polyval(_COTH[::-1], small), coth),
        np.where(near, np.polyval(_SINH[::-1], small), sinh),
    )


def _sine(n: float) -> float:
    """Return sin nπ, zero at n = 1."""
    return float(np.sin(np.pi * (1 - n)))
