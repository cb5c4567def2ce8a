"""How much each point of a spectrum counts."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import InputError

__all__ = ["WeightingName", "weights_by_modulus", "weights_by_residual", "weights_by_sigma"]

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
WeightingName = Literal["unit", "modulus", "sigma", "iterated"]

_SMALLEST = 1e-6
"""Smallest modulus or deviation that is believed, as a share of the largest of the spectrum."""

_WIDTH = 0.25
"""Standard deviation, in decades of frequency, of the Gaussian that residuals are averaged with."""


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

    The variance at a frequency is the mean square of the residuals around it, by a Gaussian a quarter of a decade wide.

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
