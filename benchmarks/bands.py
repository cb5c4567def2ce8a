"""Intervals of an inversion, for the methods that have them."""

from typing import Any, Protocol

import numpy as np

import drt_engine as drt
from drt_engine.errors import InputError
from drt_engine.model.problem import Parameters

__all__ = ["Bands", "bands_of"]

Array = np.ndarray


class Bands(Protocol):
    """Low and high ends of intervals."""

    def gamma_interval(self, level: float, tau: Array) -> tuple[Array, Array]:
        """Of γ, shape (K, T)."""

    def r_pol_interval(self, level: float) -> tuple[Array, Array]:
        """Of R_pol, shape (K,)."""

    def resistance_interval(self, low: float, high: float, level: float) -> tuple[Array, Array]:
        """Of ∫ γ d ln τ between two relaxation times, shape (K,)."""


def bands_of(method: Any, spectra: drt.Spectra, result: drt.Inversion) -> Bands | None:
    """Return the posterior of a result; None where the method has none.

    Parameters
    ----------
    method : Method
        What it was inverted with.
    spectra : Spectra
        What was inverted; no points missing.
    result : Inversion
        The solutions.
    """
    if not hasattr(method, "posterior"):
        return None
    with np.errstate(divide="ignore"):
        parameters = Parameters(result.coefficients, result.r_inf, result.inductance, 1.0 / result.capacitance)
    solutions = parameters, result.regularisation
    try:
        return method.posterior(spectra.frequency, spectra.impedance, result.expansion, solutions)
    except InputError:
        return None
