"""The forms that a part of a distribution may have."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from drt_kernels import kinds

__all__ = ["FWHM_GAUSSIAN", "SHAPES", "ElementShape", "Shape", "zarc_exponent", "zarc_width"]

Array = NDArray[np.float64]
ElementShape = Literal["zarc", "havriliak-negami", "gaussian"]

FWHM_GAUSSIAN = 2.0 * math.sqrt(2.0 * math.log(2.0))
"""Full width at half maximum of a normal distribution over its standard deviation."""

_EXPONENTS = (0.3, 1.0)
"""Range of φ of a ZARC: with 0.3 it is 10.7 wide at half its height, in ln τ; 1 is a single relaxation time."""
_DRAWN = 0.999
"""Largest φ that γ is drawn with: that of a single relaxation time is infinite there."""

_DEVIATIONS = (0.05, 3.0)
"""Range of the standard deviation of a Gaussian peak in ln τ: from half the distance of relaxation times to three
decades of width at half its height."""
_TABLE = np.linspace(*_EXPONENTS, 700)
"""Exponents between which the inverse of the width is interpolated, 0.001 apart: enough for a start."""


def zarc_width(phi: Array) -> Array:
    r"""Full width at half maximum of γ of a ZARC, in units of ln τ.

    From :math:`\gamma \propto 1 / (\cosh(φ y) + \cos πφ)` it is :math:`(2/φ)\,\mathrm{arcosh}(2 + \cos πφ)`.

    Parameters
    ----------
    phi : ndarray
        Exponents, from 0 to 1.
    """
    return np.asarray(2.0 / phi * np.arccosh(2.0 + np.cos(np.pi * phi)))


def zarc_exponent(width: Array) -> Array:
    """Return the exponent of a ZARC by the width of its γ, in units of ln τ; within the bounds of a fit.

    Parameters
    ----------
    width : ndarray
        Full widths at half maximum.
    """
    return np.asarray(np.interp(-width, -zarc_width(_TABLE), _TABLE))


def _zarc_gamma(x: Array, shape: Array) -> Array:
    return _havriliak_negami_gamma(x, np.append(shape, 1.0))


def _havriliak_negami_gamma(x: Array, shape: Array) -> Array:
    r"""γ/R of a Havriliak-Negami element at ln(τ/τ₀).

    .. math:: \frac{1}{\pi} \frac{\sin ψθ}{(1 + 2 u^{-1} \cos πφ + u^{-2})^{ψ/2}},
        \quad u = e^{φx}, \quad θ = \mathrm{atan2}(\sin πφ, u + \cos πφ)

    With φ at most 0.999, since γ of a single relaxation time is no function. (S. Havriliak, S. Negami, Polymer 8 (1967)
    161.)
    """
    phi, psi = min(float(shape[0]), _DRAWN), float(shape[1])
    q = np.exp(np.minimum(-phi * x, 600.0))
    cosine, sine = math.cos(math.pi * phi), math.sin(math.pi * phi)
    angle = np.arctan2(q * sine, 1.0 + q * cosine)
    return np.asarray(np.sin(psi * angle) / np.pi * np.exp(-0.5 * psi * np.log1p(2.0 * q * cosine + q * q)))


def _gaussian_gamma(x: Array, shape: Array) -> Array:
    deviation = math.exp(shape[0])
    return np.asarray(np.exp(-0.5 * (x / deviation) ** 2) / (deviation * math.sqrt(2.0 * math.pi)))


@dataclass(frozen=True)
class Shape:
    """What there is to know about a form.

    Attributes
    ----------
    kind : int
        Its code in the kernels.
    low, high : tuple of float
        Bounds of its parameters beyond R and ln τ.
    unit : tuple of float
        Parameters of a part that is tried where one is missing.
    by_width : callable
        Parameters, shape (P, q), by full widths at half maximum in units of ln τ, shape (P,).
    gamma : callable
        γ/R at ln(τ/τ₀) by the parameters.
    start : str or None
        Form that is fitted first, with parameters that are the first of these.
    """

    kind: int
    low: tuple[float, ...]
    high: tuple[float, ...]
    unit: tuple[float, ...]
    by_width: Callable[[Array], Array]
    gamma: Callable[[Array, Array], Array]
    start: ElementShape | None = None

    @property
    def size(self) -> int:
        """How many parameters a part has, R and ln τ among them."""
        return 2 + len(self.low)


SHAPES: Mapping[ElementShape, Shape] = {
    "zarc": Shape(
        kinds.ZARC,
        _EXPONENTS[:1],
        _EXPONENTS[1:],
        (0.85,),
        lambda width: zarc_exponent(width)[:, None],
        _zarc_gamma,
    ),
    "havriliak-negami": Shape(
        kinds.HAVRILIAK_NEGAMI,
        (_EXPONENTS[0], 0.3),
        (_EXPONENTS[1], 1.0),
        (0.85, 1.0),
        lambda width: np.column_stack([zarc_exponent(width), np.ones(width.size)]),
        _havriliak_negami_gamma,
        start="zarc",
    ),
    "gaussian": Shape(
        kinds.GAUSSIAN,
        (math.log(_DEVIATIONS[0]),),
        (math.log(_DEVIATIONS[1]),),
        (math.log(0.7),),
        lambda width: np.log(np.clip(width / FWHM_GAUSSIAN, *_DEVIATIONS))[:, None],
        _gaussian_gamma,
    ),
}
"""All forms by name."""
