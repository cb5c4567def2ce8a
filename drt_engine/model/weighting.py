"""How much each point of a spectrum counts."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import InputError, UnknownNameError

__all__ = [
    "Weighting",
    "WeightingName",
    "checked_deviations",
    "checked_weighting",
    "deviations_at",
    "weights_by_modulus",
    "weights_by_residual",
    "weights_by_sigma",
]

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
WeightingName = Literal["unit", "modulus", "iterated"]
Weighting = WeightingName | Sequence[tuple[float, float]]

_SMALLEST = 1e-6
"""Smallest modulus or deviation that is believed, as a share of the largest of the spectrum."""

_WIDTH = 0.5
"""Standard deviation, in decades of frequency, of the Gaussian that residuals are averaged with."""


def checked_weighting(weighting: Any) -> Weighting:
    """Check a weighting; pairs of frequency and deviation come back ascending in frequency.

    Raises
    ------
    UnknownNameError
        For a name that is not known.
    InputError
        For anything else that is not a table of positive pairs.
    """
    if isinstance(weighting, str):
        if weighting not in get_args(WeightingName):
            raise UnknownNameError("weighting", weighting, get_args(WeightingName))
        return weighting  # type: ignore[return-value]  # one of the names, as just checked
    return checked_deviations("weighting", weighting, get_args(WeightingName))


def checked_deviations(what: str, given: Any, names: Sequence[str] = ()) -> tuple[tuple[float, float], ...]:
    """Check pairs of frequency and deviation; they come back ascending in frequency.

    Parameters
    ----------
    what : str
        What the user calls them.
    given : sequence of pairs
        Frequencies, Hz, and standard deviations.
    names : sequence of str
        What may be given instead.

    Raises
    ------
    InputError
        For anything that is not a table of positive pairs.
    """
    try:
        table = np.array(given, dtype=float)
        good = table.ndim == 2 and table.shape[1] == 2 and len(table) and np.all(np.isfinite(table) & (table > 0.0))
    except (TypeError, ValueError):
        good = False
    if not good or len(np.unique(table[:, 0])) < len(table):
        others = f"one of {', '.join(names)}, or " if names else ""
        raise InputError(
            f"{what} must be {others}pairs of a frequency in Hz and a "
            f"standard deviation, positive, each frequency once; got {given!r}. Like this: ((1e6, 0.1), (1, 0.02))."
        )
    return tuple((float(f), float(s)) for f, s in table[np.argsort(table[:, 0])])


def deviations_at(frequency: Array, table: Sequence[tuple[float, float]]) -> Array:
    """Interpolate deviations on logarithmic axes; constant beyond the ends of the table.

    Parameters
    ----------
    frequency : ndarray, shape (F,)
        Frequencies, Hz.
    table : sequence of pairs
        Frequencies, Hz, ascending, and standard deviations.

    Returns
    -------
    ndarray, shape (F,)
    """
    known, sigma = np.log(np.array(table)).T
    return np.asarray(np.exp(np.interp(np.log(frequency), known, sigma)))


def weights_by_modulus(impedance: ComplexArray) -> Array:
    """Weights 1/|Z|, for noise that is a share of the impedance.

    Parameters
    ----------
    impedance : ndarray of complex, shape (K, F)
        Impedances, ohm.

    Returns
    -------
    ndarray, shape (K, F)
        Weights whose mean square is 1, so that λ keeps its meaning.
    """
    return _normalised(np.abs(impedance))


def weights_by_sigma(sigma: Array) -> Array:
    """Weights 1/σ, for deviations that are known.

    Parameters
    ----------
    sigma : ndarray, shape (K, F)
        Standard deviations of the real and of the imaginary part, ohm.

    Returns
    -------
    ndarray, shape (K, F)
        Weights whose mean square is 1.

    Raises
    ------
    InputError
        For a deviation that is not positive and finite.
    """
    if not np.all(np.isfinite(sigma) & (sigma > 0.0)):
        raise InputError("sigma must be positive and finite at every point that is used; got one that is not.")
    return _normalised(sigma)


def weights_by_residual(frequency: Array, residual: ComplexArray) -> Array:
    """Weights from the residuals of a fit, for noise that changes with frequency in a way that is not known.

    The variance at a frequency is the mean square of the residuals around it, by a Gaussian half a decade wide.

    Parameters
    ----------
    frequency : ndarray, shape (F,)
        Frequencies, Hz.
    residual : ndarray of complex, shape (K, F)
        Measured minus fitted impedances, ohm.

    Returns
    -------
    ndarray, shape (K, F)
        Weights whose mean square is 1.
    """
    decades = np.log10(frequency)
    nearness = np.exp(-0.5 * ((decades[:, None] - decades) / _WIDTH) ** 2)
    size = np.abs(residual)
    largest = size.max(axis=1, keepdims=True)
    largest[largest == 0.0] = 1.0
    squares = (size / largest) ** 2
    return _normalised(np.sqrt((squares[:, None, :] * (nearness / nearness.sum(axis=1, keepdims=True))).sum(axis=2)))


def _normalised(deviation: Array) -> Array:
    largest = deviation.max(axis=1, keepdims=True)
    largest[largest == 0.0] = 1.0
    weights = 1.0 / np.maximum(deviation / largest, _SMALLEST)
    return np.asarray(weights / np.sqrt(np.mean(weights**2, axis=1, keepdims=True)))
