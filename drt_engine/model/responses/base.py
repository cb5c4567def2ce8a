"""Elements that a distribution is made of: the impedance of one, and that of a basis function of such elements."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import InputError
from drt_kernels import radial

__all__ = ["Response", "ResponseName", "hat_impedance", "radial_impedance"]

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
ResponseName = Literal[
    "relaxation",
    "transmissive-planar",
    "transmissive-spherical",
    "blocking-planar",
    "blocking-spherical",
    "admittance",
]

_NODE, _WEIGHT = np.polynomial.legendre.leggauss(20)
"""Nodes and weights of the quadrature of a panel; see `_PANEL` for their number."""

_PANEL = 1.5
"""Longest panel in ln τ. Singularities of all responses are at negative jωτ, π/2 away from the line; 20 nodes leave
1e-16 on panels shorter than that distance."""

_FARTHEST = 90.0
"""Distance in ln τ beyond which a response without growth is at its limits, to 1e-14, for ωτ from 1e-10 to 1e10."""

_NEGLIGIBLE = 1e-18
"""Share of the largest value of a basis function below which it is left out: all of the rest then adds less than
rounding, 1e-16."""

_AT_ONCE = 2_000_000
"""Values of a response that are held in memory."""


@dataclass(frozen=True)
class Response:
    """The impedance of one element of unit resistance.

    Attributes
    ----------
    name : str
        Its name in the API.
    value : callable
        K of s = jωτ, for an array.
    corner : float
        ωτ of its slowest relaxation: below, it is a resistance, or a resistance and a capacitor.
    blocking : bool
        Whether K grows as 1/s towards frequency zero; else K is 1 there.
    time : str
        Name of τ.
    """

    name: ResponseName
    value: Callable[[ComplexArray], ComplexArray]
    corner: float
    blocking: bool
    time: str


def hat_impedance(response: Response, omega: Array, tau: Array) -> ComplexArray:
    """Impedance of piecewise linear basis functions, ∫ φ_m(y) K(jω e^y) dy, shape (F, M).

    Parameters
    ----------
    response : Response
        K.
    omega, tau : ndarray, shapes (F,) and (M,)
        Angular frequencies, rad/s, and relaxation times, s, ascending.
    """
    y = np.log(tau)
    out = np.zeros((omega.size, y.size), dtype=complex)
    for m, (low, high) in enumerate(pairwise(y)):
        at, weight = _nodes(np.linspace(low, high, int((high - low) / _PANEL) + 2))
        falling = (high - at) / (high - low)
        values = response.value(1j * np.outer(omega, np.exp(at)))
        out[:, m] += values @ (weight * falling)
        out[:, m + 1] += values @ (weight * (1.0 - falling))
    return out


def radial_impedance(response: Response, kind: int, mu: float, omega: Array, tau: Array) -> ComplexArray:
    """Impedance of radial basis functions, as :func:`hat_impedance`.

    Parameters
    ----------
    response : Response
        K.
    kind : int
        The function, as :class:`drt_kernels.kinds.Radial` counts them.
    mu : float
        Its shape factor.
    omega, tau : ndarray, shapes (F,) and (M,)
        Angular frequencies, rad/s, and relaxation times, s.

    Raises
    ------
    InputError
        If the response grows towards short times more than the function falls.
    """
    reach = _reach(response, kind, mu)
    ends = [0.0]
    while ends[-1] < reach:
        ends.append(min(ends[-1] + min(_PANEL, max(1.0 / mu, 0.75 * ends[-1])), reach))
    at, weight = _nodes(np.array([*(-end for end in ends[:0:-1]), *ends]))
    weight = weight * _values(kind, mu, at)
    out = np.empty((omega.size, tau.size), dtype=complex)
    rows = max(_AT_ONCE // (at.size * tau.size), 1)
    for first in range(0, omega.size, rows):
        some = omega[first : first + rows]
        s = np.asarray(1j * some[:, None, None] * (tau[:, None] * np.exp(at)), dtype=complex)
        out[first : first + rows] = response.value(s) @ weight
    if reach == _FARTHEST:
        # Far below the centre the response is 1; far above it is 0.
        out += radial.tail(kind, mu * reach) / mu
    return out


def _reach(response: Response, kind: int, mu: float) -> float:
    """Distance from the centre beyond which nothing counts, in ln τ."""
    end = min(radial.SUPPORT[kind] / mu, _FARTHEST)
    at = np.linspace(0.0, end, 2000)
    with np.errstate(under="ignore"):
        left = _values(kind, mu, at) * np.exp(at * response.blocking)
    above = np.flatnonzero(left > _NEGLIGIBLE * left.max())
    if above[-1] + 1 < at.size:
        return float(at[above[-1] + 1])
    if response.blocking and end == _FARTHEST:
        raise InputError(
            f"this basis falls too slowly for kernel={response.name!r}, whose impedance grows as 1/τ towards short "
            "times, so that its integral is infinite or far from the centre. Use basis='gaussian' or "
            "'piecewise-linear'."
        )
    return end


def _values(kind: int, mu: float, at: Array) -> Array:
    out = np.empty((at.size, 1))
    radial.radial_values(kind, mu, np.exp(at), np.ones(1), out)
    return out[:, 0]


def _nodes(ends: Array) -> tuple[Array, Array]:
    """Nodes and weights of Gauss and Legendre on panels."""
    half = 0.5 * np.diff(ends)[:, None]
    middle = 0.5 * (ends[1:] + ends[:-1])[:, None]
    return (middle + half * _NODE).ravel(), (half * _WEIGHT).ravel()
