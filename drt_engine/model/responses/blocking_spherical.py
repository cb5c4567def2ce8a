"""Diffusion into a sphere: 1 / (√s coth √s − 1), about 3/s + 1/5, with τ = r²/D.

T. Jacobsen, K. West, Electrochim. Acta 40 (1995) 255.
"""

from functools import cache

import numpy as np
import scipy
from numpy.typing import NDArray

from drt_engine.model.responses.base import ComplexArray, Response

__all__ = ["BLOCKING_SPHERICAL"]

_SMALL, _TERMS = 0.5, 11
"""|s| below which √s coth √s − 1 is a series, and how many terms leave 1e-14 there: its radius is π²."""


@cache
def _series() -> NDArray[np.float64]:
    """Coefficients of the series, whose terms are even."""
    n = 2 * np.arange(1, _TERMS + 1)
    return np.asarray(np.r_[0.0, 2.0**n * scipy.special.bernoulli(n[-1])[n] / scipy.special.factorial(n)])


def _value(s: ComplexArray) -> ComplexArray:
    root = np.sqrt(s)
    rise = root / np.tanh(root) - 1.0
    small = np.abs(s) < _SMALL
    rise[small] = np.polynomial.polynomial.polyval(s[small], _series())
    return np.asarray(1.0 / rise)


# The smallest root of tan β = β is 4.4934.
BLOCKING_SPHERICAL = Response("blocking-spherical", _value, 4.493409457909064**2, blocking=True, time="diffusion time")
