"""The matrices that a frequency grid, a grid of relaxation times and a basis share; computed once."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from drt_engine.model.basis import BasisName, Expansion
from drt_engine.model.responses import RESPONSES, ResponseName

__all__ = ["Discretisation", "default_tau", "discretise"]

POINTS_PER_DECADE = 10
"""Relaxation times in a decade of τ: their distance is 0.23 in ln τ, and −Im Z of a single one is 2.6 wide in ln ω at
half its height."""
DECADES_BEYOND = 0.5
"""Decades of τ beyond the window of the data at either end: processes there still bend the spectrum."""


def default_tau(
    frequency: NDArray[np.float64], beyond: float = DECADES_BEYOND, kernel: ResponseName = "relaxation"
) -> NDArray[np.float64]:
    """Relaxation times for a frequency grid when the user names none.

    Logarithmically uniform, ten a decade, from below 1/ω_max to above 1/ω_min, so that a process at the edge of the
    window has somewhere to go; for another kernel all of them are times its corner.

    Parameters
    ----------
    frequency : ndarray, shape (F,)
        Frequencies, Hz.
    beyond : float
        Decades below and above.
    kernel : str
        Element that the distribution is made of.

    Raises
    ------
    UnknownNameError
        For another kernel.

    Returns
    -------
    ndarray, shape (M,)
        Relaxation times, s, ascending.
    """
    low = -np.log10(2.0 * np.pi * frequency.max()) - beyond
    high = -np.log10(2.0 * np.pi * frequency.min()) + beyond
    grid = np.logspace(low, high, round((high - low) * POINTS_PER_DECADE) + 1)
    return grid if kernel == "relaxation" else grid * RESPONSES[kernel].corner


@dataclass(frozen=True, eq=False)
class Discretisation:
    """What every spectrum on a grid shares.

    Attributes
    ----------
    frequency : ndarray, shape (F,)
        Frequencies, Hz.
    expansion : Expansion
        The M basis functions.
    order : {0, 1, 2}
        Derivative whose square the roughness integrates.
    impedance : ndarray of complex, shape (F, M)
        A_re + jA_im, the impedance of unit basis functions.
    roughness : ndarray, shape (M, M)
        M, with xᵀMx the roughness.
    roughness_factor : ndarray, shape (r, M)
        A factor of it, LᵀL = M, of full row rank r ≤ M.
    """

    frequency: NDArray[np.float64]
    expansion: Expansion
    order: int
    impedance: NDArray[np.complex128]
    roughness: NDArray[np.float64]
    roughness_factor: NDArray[np.float64]


def discretise(frequency: NDArray[np.float64], expansion: Expansion, order: int) -> Discretisation:
    """Compute the shared matrices, or take them from the last few computed.

    Parameters
    ----------
    frequency : ndarray, shape (F,)
        Frequencies, Hz.
    expansion : Expansion
        The basis functions.
    order : {0, 1, 2}
        Order of the roughness.

    Raises
    ------
    InputError
        For an order that the basis does not have.
    """
    return _discretise(
        frequency.tobytes(), expansion.tau.tobytes(), expansion.basis, expansion.mu, order, expansion.kernel
    )


@lru_cache(maxsize=16)
def _discretise(
    frequency: bytes, tau: bytes, basis: BasisName, mu: float, order: int, kernel: ResponseName
) -> Discretisation:
    expansion = Expansion(np.frombuffer(tau), basis, mu, kernel)
    roughness = expansion.roughness(order)
    f = np.frombuffer(frequency)
    arrays = expansion.impedance(f), roughness, _factor(roughness)
    for array in arrays:
        array.flags.writeable = False
    return Discretisation(f, expansion, order, *arrays)


def _factor(roughness: NDArray[np.float64]) -> NDArray[np.float64]:
    # By eigenvalues: Cholesky fails on the singular matrices, and those below rounding are not part of M.
    values, vectors = np.linalg.eigh(roughness)
    kept = values > values[-1] * values.size * np.finfo(float).eps
    return np.ascontiguousarray(np.sqrt(values[kept])[:, None] * vectors[:, kept].T)
