"""Elements in series with γ at the lowest and highest frequencies: tails and lossy inductances.

Every tail is A (jω)⁻ⁿ coth √(jωT): a capacitor has n = 1, a constant-phase element any n, a Warburg element n = ½; for
these T is infinite and coth is 1. Diffusion in a finite space with a reflecting end has n = ½ and a finite T [1]_. The
amplitude A is 1/Q, or 1/C [2]_. An inductance with losses is L (jω)^m, the same with a negative n.

References
----------
.. [1] J. Bisquert, G. Garcia-Belmonte, F. Fabregat-Santiago, P. R. Bueno, J. Electroanal. Chem. 475 (1999) 152.
.. [2] G. J. Brug, A. L. G. van den Eeden, M. Sluyters-Rehbach, J. H. Sluyters, J. Electroanal. Chem. 176 (1984) 275.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "EXPONENTS",
    "SIGNS",
    "TAILS",
    "Representation",
    "Sign",
    "Tail",
    "TailName",
    "Terms",
    "tail_column",
    "tail_kinds",
    "tails",
]

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
Tail = Literal["none", "capacitor", "cpe", "warburg", "warburg-open", "auto"]
TailName = Literal["none", "capacitor", "cpe", "warburg", "warburg-open"]
Sign = Literal["positive", "both"]
Representation = Literal["impedance", "admittance", "auto"]

TAILS: tuple[TailName, ...] = get_args(TailName)
SIGNS: tuple[Sign, ...] = get_args(Sign)

EXPONENTS = 0.4, 1.0
"""Smallest and largest exponent of a constant-phase element that is looked for: below, it is all but a resistance."""

_SHAPES = {"cpe": ("exponent",), "warburg-open": ("diffusion",)}
_STEP = 1e-4  # of central differences: its square is their error, and rounding is below 1e-11
_FAR = 30.0
"""Real part of √(jωT) from which on coth is 1 to all digits."""


@dataclass(frozen=True)
class Terms:
    """Which tail and which inductance one model has.

    Attributes
    ----------
    tail : str
        One of `TAILS`.
    inductance : {"none", "coil", "cpe"}
        None, jωL, or L (jω)^m.
    """

    tail: TailName
    inductance: Literal["none", "coil", "cpe"]

    @property
    def series_elements(self) -> tuple[str, ...]:
        """Linear unknowns, in the order of the columns."""
        tail = {"none": (), "capacitor": ("elastance",)}.get(self.tail, ("tail",))
        return ("r_inf", *(() if self.inductance == "none" else ("inductance",)), *tail)

    @property
    def shapes(self) -> tuple[str, ...]:
        """Parameters that the model is not linear in; each is not negative.

        ``"exponent"``: 1 − n; ``"diffusion"``: ln(T ω_max); ``"loss"``: 1 − m.
        """
        return (*_SHAPES.get(self.tail, ()), *(("loss",) if self.inductance == "cpe" else ()))

    def column(self, name: str, omega: Array, shape: Array) -> ComplexArray:
        """Impedance of one of the linear unknowns at 1, shape (F,).

        Parameters
        ----------
        name : str
            One of `series_elements`.
        omega : ndarray, shape (F,)
            Angular frequencies, rad/s.
        shape : ndarray
            Values of `shapes`.
        """
        known = dict(zip(self.shapes, shape.tolist(), strict=True))
        if name == "r_inf":
            return np.ones(omega.size, dtype=complex)
        if name == "inductance":
            return _power(omega, 1.0 - known.get("loss", 0.0))
        if self.tail == "warburg-open":
            return tail_column(omega, 0.5, float(np.exp(known["diffusion"]) / omega.max()))
        n = 0.5 if self.tail == "warburg" else 1.0 - known.get("exponent", 0.0)
        return tail_column(omega, n, np.inf)

    def derivative(self, name: str, omega: Array, shape: Array) -> tuple[str, ComplexArray]:
        """Linear unknown that a shape belongs to, and the derivative of its column by the shape."""
        if name == "loss":
            return "inductance", -np.log(1j * omega) * self.column("inductance", omega, shape)
        if name == "exponent":
            return "tail", np.log(1j * omega) * self.column("tail", omega, shape)
        at = self.shapes.index(name)
        less, more = shape.copy(), shape.copy()
        less[at] -= _STEP
        more[at] += _STEP
        change = self.column("tail", omega, more) - self.column("tail", omega, less)
        return "tail", change / (2.0 * _STEP)

    def tail_numbers(self, omega: Array, shape: Array) -> tuple[float, float]:
        """Exponent n and T, s, of the tail; NaN and infinite without one."""
        known = dict(zip(self.shapes, shape.tolist(), strict=True))
        if self.tail == "warburg-open":
            return 0.5, float(np.exp(known["diffusion"]) / omega.max())
        n = {"none": np.nan, "capacitor": 1.0, "warburg": 0.5}.get(self.tail)
        return (1.0 - known["exponent"] if n is None else n), np.inf


def tail_column(omega: Array, exponent: float, diffusion: float) -> ComplexArray:
    """Impedance of a tail of amplitude 1, shape (F,).

    Parameters
    ----------
    omega : ndarray, shape (F,)
        Angular frequencies, rad/s.
    exponent, diffusion : float
        n, and T in s.
    """
    column = _power(omega, -exponent)
    if np.isfinite(diffusion):
        root = np.sqrt(1j * omega * diffusion)
        near = root.real < _FAR
        column[near] /= np.tanh(root[near])
    return column


def tails(omega: Array, amplitude: Array, exponent: Array, diffusion: Array) -> ComplexArray:
    """Impedance of tails, shape (K, F); zero where there is none.

    Parameters
    ----------
    omega : ndarray, shape (F,)
        Angular frequencies, rad/s.
    amplitude, exponent, diffusion : ndarray, shape (K,)
        1/Q, n and T.
    """
    z = np.zeros((amplitude.size, omega.size), dtype=complex)
    for k in np.flatnonzero(amplitude > 0.0):
        z[k] = amplitude[k] * tail_column(omega, float(exponent[k]), float(diffusion[k]))
    return z


def tail_kinds(amplitude: Array, exponent: Array, diffusion: Array) -> list[TailName]:
    """Name tails by their numbers; see :func:`tails`."""
    kinds: list[TailName] = []
    for a, n, t in zip(amplitude, exponent, diffusion, strict=True):
        if not a > 0.0:
            kinds.append("none")
        elif np.isfinite(t):
            kinds.append("warburg-open")
        else:
            kinds.append("capacitor" if n == 1.0 else "warburg" if n == 0.5 else "cpe")
    return kinds


def _power(omega: Array, exponent: float) -> ComplexArray:
    return np.asarray(omega**exponent * np.exp(0.5j * np.pi * exponent))
