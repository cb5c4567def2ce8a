"""Loops that a solution with γ > 0 may hide: how large they may be, and whether the data have any sign of one.

The model is taken as linear around the solution, and a loop as one more unknown, for which γ > 0 and what is in series
with it make room.
"""

import numpy as np
from numpy.typing import NDArray

from drt_engine.methods.base import Solution
from drt_engine.methods.log_gaussian_prepared import PreparedLogGaussian
from drt_engine.model.basis import Expansion

__all__ = ["NO_SIGN", "hidden_loops", "loop_score", "loop_scores"]

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

_AT_ONCE = 64
"""Spectra whose covariances are held at a time: 6 MB with 100 relaxation times."""

_SHOWN = 1e-9
"""Share of its square that is left of a loop at least, once γ has made room for it."""

_BROAD = (0.6, 0.3)
"""φ of the loops that are looked for: broader than most, as those that are found near the noise are, and one that is
nearly constant over a decade. With φ = 1 a third of spectra without a loop have the score of the weakest that are
found."""

_EVERY = 2
"""Of the relaxation times each second one is tried: loops as broad as these are told from their neighbours nowhere."""

NO_SIGN = 2.5
"""Standard deviations of the most probable loop below which no loop is looked for. The smallest score of 590 loops that
the search finds near the noise is 2.66; a quarter of random spectra without a loop are above 2.5."""


def _beside(loops: Array, data: tuple[Array, Array], known: tuple[Array, Array]) -> tuple[Array, Array, Array]:
    """Force on the resistance of each loop, its precision, and how the other unknowns change with it, (N, J)."""
    (own, left), (spread, doubt) = data, known
    across = own @ loops.T
    # What is known of the other unknowns at the λ that was found.
    room = -(spread @ across - np.outer(doubt, doubt @ across))
    square = np.sum(loops**2, axis=1)
    # Rounding errors may leave less than nothing of a loop that γ makes all of the room for.
    precision = np.maximum(square + np.sum(across * room, axis=0), _SHOWN * square)
    return loops @ left, precision, room


def _columns(omega: Array, tau: Array, phi: float, weights: Array) -> Array:
    """Impedance of loops of 1 ohm in standard deviations, shape (J, n)."""
    z = -1.0 / (1.0 + (1j * omega * tau[:, None]) ** phi)
    return np.asarray(np.concatenate([z.real, z.imag], axis=1) * weights)


def hidden_loops(
    expansion: Expansion,
    omega: Array,
    data: tuple[Array, Array, Array],
    known: tuple[Array, Array],
    gamma: Array,
) -> Array:
    """Say how large a loop of one inductance may be at each relaxation time that the data show, shape (3, M).

    Its most probable resistance and the standard deviation of that, ohm, and by how much R_pol changes for each ohm of
    it: γ > 0, R_inf and L make room for it.

    Parameters
    ----------
    expansion : Expansion
        Basis functions.
    omega : ndarray, shape (F,)
        Angular frequencies, 1/s.
    data : tuple of ndarray, shapes (N, n), (n,) and (n,)
        By how many standard deviations data change with each unknown; what is left of them in standard deviations; and
        reciprocal standard deviations, 1/ohm.
    known : tuple of ndarray, shapes (N, N) and (N,)
        Covariance of the unknowns, and the part of their deviations that is due to the doubt about λ.
    gamma : ndarray, shape (M,)
        γ, ohm.
    """
    own, left, weights = data
    first, last = expansion.window(omega / (2.0 * np.pi))
    tau = expansion.tau
    shown = (tau >= first) & (tau <= last)
    force, precision, room = _beside(_columns(omega, tau[shown], 1.0, weights), (own, left), known)
    out = np.zeros((3, tau.size))
    out[0, shown], out[1, shown] = force / precision, 1.0 / np.sqrt(precision)
    out[2, shown] = (gamma * expansion.areas) @ room[: tau.size] - 1.0
    return out


def loop_score(omega: Array, tau: Array, data: tuple[Array, Array, Array], known: tuple[Array, Array]) -> float:
    """Return the most probable resistance of a broad loop at any relaxation time, in its standard deviations.

    Parameters
    ----------
    omega, data, known
        As :func:`hidden_loops` takes them.
    tau : ndarray, shape (M,)
        Relaxation times, s.

    Returns
    -------
    float
        NaN where there is no covariance.
    """
    own, left, weights = data
    columns = np.concatenate([_columns(omega, tau[::_EVERY], phi, weights) for phi in _BROAD])
    force, precision, _ = _beside(columns, (own, left), known)
    return float(np.max(force / np.sqrt(precision)))


def loop_scores(prepared: PreparedLogGaussian, impedance: ComplexArray, solution: Solution) -> Array:
    """Return :func:`loop_score` of solutions of a model that is linear in γ and all else, shape (K,).

    Parameters
    ----------
    prepared : PreparedLogGaussian
        What the spectra share.
    impedance : ndarray of complex, shape (K, F)
        The spectra, ohm.
    solution : Solution
        What was found for them.

    Returns
    -------
    ndarray, shape (K,)
        NaN where there is no covariance, and for spectra of zeros.
    """
    problem, out = prepared.problem, np.full(len(impedance), np.nan)
    found = problem.discretisation
    omega, logs = 2.0 * np.pi * found.frequency, prepared.grid.logs
    for first in range(0, len(impedance), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        z, parameters = impedance[some], solution.parameters.rows(some)
        noise = solution.noise_floor[some], solution.noise_relative[some]
        known = prepared.posterior(z, parameters, solution.regularisation[some], noise)
        if known.pull is None:
            continue
        b, size = prepared.data(z)
        parts, given = prepared.variance(b, size, noise)
        rest = z - solution.fit[some]
        for k in map(int, np.flatnonzero(b.any(axis=1))):
            coefficients = parameters.coefficients[k]
            left = np.concatenate([rest[k].real, rest[k].imag]) / size[k]
            weights = prepared.root_weights(left, given[k, :2] @ parts[k])
            amounts = np.concatenate([coefficients / size[k], np.full(problem.scale.size - logs, 1.0 / size[k])])
            own = problem.transposed * (problem.scale * amounts)[:, None] * weights
            data = own, left * weights, weights / size[k]
            out[first + k] = loop_score(omega, found.expansion.tau, data, (known.covariance[k], known.pull[k, 1]))
    return out
