"""Whether a distribution of diffusion times is the only one that describes the data."""

import numpy as np
from numpy.typing import NDArray

from drt_engine.methods.base import Solution
from drt_engine.model.basis import Expansion

__all__ = ["CURVATURE", "SLOPE", "not_unique"]

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

SLOPE, CURVATURE = 0.03, 0.35
"""Precisions of the first and of the second derivative of ln γ against ln τ, per unit of ln τ, at λ = 1: sizes of
layers and particles have distributions that are about normal in ln τ, with widths of about 0.4 to 1.5."""

_OTHER = 0.13
"""Expected ∫ |γ' − γ| d ln τ over the resistance, of distributions γ' that are about as probable, from which they are
others. Of made distributions nearly all with an error above 0.15 are above it."""

_SHARPER, _AS_GOOD = 2.0, 4.0
"""Power of γ whose peaks are narrower, normal ones by √2; and by how many variances of the noise the sum of the squares
of its residuals may be larger."""

_LEAST = 1e-6
"""Share of its largest value that γ is taken to have at least: zeros have no logarithm."""

_RIDGE = 1e-9
"""Added to the diagonal of a matrix, so that it has an inverse where columns agree: with 1e-6 the distance changes by
less than 0.1 %, and with nothing by less than 1e-6, where there is an inverse."""


def not_unique(
    solution: Solution, impedance: ComplexArray, frequency: Array, expansion: Expansion
) -> NDArray[np.bool_]:
    """Find distributions of diffusion times beside which the data admit clearly other ones.

    There are others where the expected distance from the solution is large of those that are about as probable, in the
    normal approximation around ln γ; or where one with narrower peaks, each of which may move and have another
    resistance, fits as well. Only times within the window of the data count: what is faster is R_inf for them.

    Parameters
    ----------
    solution : Solution
        The solutions.
    impedance : ndarray of complex, shape (K, F)
        The spectra, ohm.
    frequency : ndarray, shape (F,)
        Frequencies, Hz.
    expansion : Expansion
        Basis functions.

    Returns
    -------
    ndarray of bool, shape (K,)
        False for relaxation times, of which spectra tell more.
    """
    out = np.zeros(len(impedance), dtype=bool)
    if expansion.kernel in ("relaxation", "admittance") or expansion.tau.size < 3:
        return out
    nodes = Expansion(expansion.tau, "piecewise-linear", np.nan, expansion.kernel)
    omega, response = 2.0 * np.pi * frequency, nodes.impedance(frequency)
    elements: ComplexArray = np.stack([np.ones_like(omega), 1j * omega, 1.0 / (1j * omega)], axis=1)
    first, last = nodes.window(frequency)
    areas = nodes.areas * ((nodes.tau >= first) & (nodes.tau <= last))
    smooth, y = _smooth(np.log(nodes.tau)), np.log(nodes.tau)
    to_gamma = expansion.values(nodes.tau).T
    for k, z in enumerate(impedance):
        gamma = np.maximum(solution.parameters.coefficients[k] @ to_gamma, 0.0)
        sigma = _deviation(solution, k, z)
        usable = np.isfinite(sigma).all() and np.isfinite(gamma).all() and (sigma > 0.0).all()
        if not usable or not gamma @ areas > 0.0:
            continue
        gamma = np.maximum(gamma, _LEAST * gamma.max())
        kept = elements[:, : 3 if solution.parameters.elastance[k] > 0.0 else 2]
        weighted: tuple[ComplexArray, ...] = (
            response / sigma[:, None],
            kept / sigma[:, None],
            (z - solution.fit[k]) / sigma,
            z / sigma,
        )
        if not all(np.isfinite(one).all() for one in weighted):
            continue
        lam = solution.regularisation[k] if np.isfinite(solution.noise_floor[k]) else 1.0
        distance = _expected_distance(gamma, areas, weighted, lam * smooth)
        out[k] = distance > _OTHER or _is_as_good_sharper(gamma, y, weighted)
    return out


def _deviation(solution: Solution, k: int, z: ComplexArray) -> Array:
    """Return the standard deviation of the noise, shape (F,), or what the solution leaves where none was found."""
    sigma = np.hypot(solution.noise_floor[k], solution.noise_relative[k] * np.abs(z))
    if np.isfinite(sigma).all():
        return np.asarray(sigma)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.abs(z) * np.sqrt(0.5 * np.mean(np.abs((z - solution.fit[k]) / z) ** 2)))


def _smooth(y: Array) -> Array:
    """Matrix of the roughness of ln γ, a quadratic form, shape (M, M)."""
    spacing = np.diff(y)
    slope = np.diff(np.eye(y.size), axis=0) / spacing[:, None]
    middle = 0.5 * (spacing[1:] + spacing[:-1])
    bend = np.diff(slope, axis=0) / middle[:, None]
    return np.asarray(SLOPE * (slope.T * spacing) @ slope + CURVATURE * (bend.T * middle) @ bend)


def _expected_distance(gamma: Array, areas: Array, weighted: tuple[ComplexArray, ...], smooth: Array) -> float:
    """Return the expected ∫ |γ' − γ| d ln τ over the resistance, of γ' that are about as probable."""
    jacobian = np.hstack([_stacked(weighted[0] * gamma), _unit(_stacked(weighted[1]))])
    curvature = jacobian.T @ jacobian + _RIDGE * np.eye(jacobian.shape[1])
    curvature[: gamma.size, : gamma.size] += smooth
    variance = np.diag(np.linalg.inv(curvature))[: gamma.size]
    parts = gamma * areas
    return float(np.sqrt(2.0 / np.pi) * parts @ np.sqrt(variance) / parts.sum())


def _is_as_good_sharper(gamma: Array, y: Array, weighted: tuple[ComplexArray, ...]) -> bool:
    """Whether peaks that are narrower fit as well; each may move, by its derivative, and have another resistance."""
    from scipy.optimize import nnls

    response, elements, left, data = weighted
    inner = gamma[1:-1]
    ends = np.flatnonzero((inner <= gamma[:-2]) & (inner < gamma[2:])) + 1
    peak = np.searchsorted(ends, np.arange(gamma.size))
    sharp = np.where(peak[:, None] == np.arange(ends.size + 1), (gamma[:, None] / gamma.max()) ** _SHARPER, 0.0)
    moved = response @ np.gradient(sharp, y, axis=0)
    columns = _unit(_stacked(np.hstack([response @ sharp, moved, -moved, elements])))
    try:
        rest = nnls(columns, _stacked(data[:, None])[:, 0])[1]
    except RuntimeError:  # it takes more steps than it is allowed: nothing is said
        return False
    return bool(rest**2 < np.sum(np.abs(left) ** 2) + _AS_GOOD)


def _stacked(columns: ComplexArray) -> Array:
    return np.concatenate([columns.real, columns.imag])


def _unit(columns: Array) -> Array:
    length = np.linalg.norm(columns, axis=0)
    return np.asarray(columns / np.where(length > 0.0, length, 1.0))
