"""What the data of a linear inversion were weighted with, and how large their noise is."""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from drt_engine.model.problem import Problem, row_by_row
from drt_engine.model.weighting import (
    Weighting,
    deviations_at,
    weights_by_modulus,
    weights_by_residual,
    weights_by_sigma,
)

__all__ = ["LEAST_NOISE", "deviations_around", "noise_of_inversion", "weighted_as"]

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

_WIDTH = 0.5
"""Standard deviation, in decades of frequency, of the Gaussian that squared residuals are averaged with."""

LEAST_NOISE = 1e-5
"""Least noise, as a share of |Z|: below it are rounding, and the limits of the expansion."""


def deviations_around(frequency: Array, measured: ComplexArray, model: ComplexArray) -> Array:
    """Estimate standard deviations of the real and of the imaginary part from the residuals around each frequency.

    Parameters
    ----------
    frequency : ndarray, shape (F,)
        Frequencies, Hz.
    measured, model : ndarray of complex, shape (K, F)
        Ohm; measured points that are not finite count for nothing.

    Returns
    -------
    ndarray, shape (K, F)
        Ohm; NaN for a spectrum without a solution or without any point.
    """
    decades = np.log10(frequency)
    near = np.exp(-0.5 * ((decades[:, None] - decades) / _WIDTH) ** 2)
    used = np.isfinite(measured)
    size = np.where(used, np.abs(measured - model), 0.0)
    unit = size.max(axis=1, keepdims=True)
    unit[unit == 0.0] = 1.0
    with np.errstate(invalid="ignore", divide="ignore"):
        squares = row_by_row((size / unit) ** 2, near) / row_by_row(used.astype(float), near)
    return np.asarray(np.maximum(unit * np.sqrt(0.5 * squares), LEAST_NOISE * np.abs(model)))


def noise_of_inversion(
    frequency: Array,
    measured: ComplexArray,
    model: ComplexArray,
    estimate: tuple[Array | None, Array | None],
    weighting: Weighting,
) -> Array | None:
    """Return the standard deviations that an inversion took the noise to have, in their course over the frequencies.

    Parameters
    ----------
    frequency : ndarray, shape (F,)
        Frequencies, Hz.
    measured, model : ndarray of complex, shape (K, F)
        Ohm.
    estimate : tuple of ndarray, shape (K,), or None
        Constant part, ohm, and share of |Z| of the noise, as far as the inversion has estimated them.
    weighting : str or sequence of pairs
        As :class:`drt_engine.Tikhonov` has it.

    Returns
    -------
    ndarray, shape (K, F), or None
        Ohm; None where the inversion did not find it.
    """
    floor, share = estimate
    if floor is not None or share is not None:
        none = np.zeros(len(model))
        constant, relative = (none if part is None else np.asarray(part) for part in (floor, share))
        return np.asarray(np.hypot(constant[:, None], relative[:, None] * np.abs(model)))
    if not isinstance(weighting, str):
        return np.broadcast_to(deviations_at(frequency, weighting), model.shape)
    return deviations_around(frequency, measured, model) if weighting == "iterated" else None


def weighted_as(
    problem: Problem, weighting: Weighting, measured: ComplexArray, model: ComplexArray
) -> tuple[Problem, Array | None]:
    """Return the problem that was solved, and where each spectrum had weights of its own those, shape (K, F).

    Parameters
    ----------
    problem : Problem
        Without weights.
    weighting : str or sequence of pairs
        As :class:`drt_engine.Tikhonov` has it.
    measured, model : ndarray of complex, shape (K, F)
        Ohm; measured points that are not finite are taken from the model.
    """
    frequency = problem.discretisation.frequency
    if not isinstance(weighting, str):
        return problem.weighted(weights_by_sigma(deviations_at(frequency, weighting)[None])[0]), None
    if weighting == "unit":
        return problem, None
    z = np.where(np.isfinite(measured), measured, model)
    known = np.isfinite(z).all(axis=1)
    weights = np.full(z.shape, np.nan)
    if weighting == "modulus":
        weights[known] = weights_by_modulus(z[known])
    else:
        for row in np.flatnonzero(known):
            weights[row] = weights_by_residual(frequency, cast(ComplexArray, z - model)[row : row + 1])[0]
    return problem, weights
