"""The transmission line of a composite electrode, fitted to many spectra at once.

Z = jωL + Z_line(R_ion, R_e, Q, n, R_ct); see :class:`drt_engine.simulate.TransmissionLine`. Residuals are divided by
the modulus of Z, as noise in proportion to the modulus has it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drt_engine.simulate.transmission_line import Connection, line_impedance
from drt_engine.transport.arcs import Complex, filled, there
from drt_engine.transport.fitting import Array, Fits, Slopes, fit_best

__all__ = ["ELECTRON", "INDUCTANCE", "ION", "LEAK", "N", "Q", "Rails", "fit_rails", "line_at"]

INDUCTANCE, ION, ELECTRON, Q, N, LEAK = range(6)
"""Parameters: L, ln R_ion, ln R_e, ln Q, n, and ln 1/R_ct where there is a charge transfer."""

_STEP = 1e-5
"""Step of a central difference; parameters are logarithms or of the order of 1. Its error, 1e-10, is the least that
rounding allows."""
_LEAST_N = 0.3
"""Smallest exponent of the coupling of the two rails: a smaller one cannot be told from a resistance."""


@dataclass(frozen=True)
class Rails:
    """Solutions of K spectra.

    Attributes
    ----------
    fits : Fits
        Parameters and covariance for noise of unit variance.
    at_bound : ndarray of bool, shape (K,)
        Whether a resistance of a rail is as large or small as it can be: the data do not bound it.
    """

    fits: Fits
    at_bound: NDArray[np.bool_]


def line_at(omega: Array, x: Array, connection: Connection, coupling: Complex | None = None) -> Complex:
    """Impedance (K, F), ohm, at parameters (K, N), of which those of the coupling do not count if it is given."""
    z_s = _coupling(omega, x) if coupling is None else coupling
    r_ion, r_e = np.exp(x[:, [ION]]), np.exp(x[:, [ELECTRON]])
    return np.asarray(line_impedance(r_ion, r_e, z_s, connection) + 1j * omega * x[:, [INDUCTANCE]])


def _coupling(omega: Array, x: Array) -> Complex:
    """Impedance of the coupling of the whole electrode (K, F), ohm."""
    log_s = np.log(omega) + 0.5j * np.pi
    admittance = np.exp(x[:, [Q]] + x[:, [N]] * log_s)
    if x.shape[1] > LEAK:
        admittance = admittance + np.exp(x[:, [LEAK]])
    return np.asarray(1 / admittance)


def fit_rails(omega: Array, impedance: Complex, connection: Connection, before: Rails | None = None) -> Rails:
    """Fit a transmission line with an ionic and an electronic rail to each spectrum.

    Parameters
    ----------
    omega : ndarray, shape (F,)
        Angular frequencies, 1/s, descending.
    impedance : ndarray of complex, shape (K, F)
        Impedances, ohm.
    connection : {"ee", "ii", "ie"}
        Which rail each face contacts: that of electrons (e) or of ions (i).
    before : Rails, optional
        Solutions of a coupling that blocks, from which that with a charge transfer begins.

    Returns
    -------
    Rails
        The best fit of several starting points.
    """
    z = filled(omega, impedance)
    starts = _across(omega, z) if connection == "ie" else _between(omega, z, connection)
    if before is not None:
        low = np.maximum(z[:, -1].real, 1e-3 * np.abs(z[:, -1]))
        tau = 1 / omega[np.argmax(-z.imag, axis=1)]
        again = [(before.fits.x, -before.fits.x[:, ION] - np.log(30.0))]
        again += [(one, -np.log(low)) for one in starts[:3]]
        starts = [np.column_stack(pair) for pair in again]
        if connection == "ie":
            # the arc of the coupling is where −Im Z is largest, and no tail
            for start in starts[1:]:
                start[:, Q] = start[:, N] * np.log(tau) - np.log(low)
    size = np.abs(z)
    small, large = np.log(size.min(axis=1)), np.log(size.max(axis=1))
    rows = np.ones(len(z))
    lower = np.column_stack([0 * rows, small - 5, small - 5, -70 * rows, _LEAST_N * rows])
    upper = np.column_stack([np.inf * rows, large + 7, large + 7, 40 * rows, rows])
    if before is not None:
        lower, upper = np.column_stack([lower, -large - 7]), np.column_stack([upper, -small + 7])
    model = _Model(omega, impedance, connection)
    best = fit_best(model, starts, lower, upper)
    missing = np.sum(~there(impedance), axis=1)
    ends = best.x[:, ION : ELECTRON + 1]
    bounds = lower[:, ION : ELECTRON + 1], upper[:, ION : ELECTRON + 1]
    at_bound = np.any((ends <= bounds[0] + 1e-6) | (ends >= bounds[1] - 1e-6), axis=1)
    return Rails(
        Fits(best.x, best.chi2, best.covariance, best.optimality, best.freedom - 2 * missing), np.asarray(at_bound)
    )


class _Model:
    """Weighted residuals and their derivatives, by central differences."""

    def __init__(self, omega: Array, impedance: Complex, connection: Connection) -> None:
        known = there(impedance)
        self.omega, self.connection = omega, connection
        self.impedance = np.where(known, impedance, 1.0)
        self.weight = np.where(known, 1 / np.abs(self.impedance), 0.0)

    def __call__(self, x: Array, rows: NDArray[np.intp]) -> tuple[Array, Slopes]:
        weight, coupling = self.weight[rows], _coupling(self.omega, x)
        off = (line_at(self.omega, x, self.connection, coupling) - self.impedance[rows]) * weight

        def slopes(kept: NDArray[np.bool_]) -> Array:
            return self._slopes(x[kept], weight[kept], coupling[kept])

        return np.concatenate([off.real, off.imag], axis=1), slopes

    def _slopes(self, x: Array, weight: Array, coupling: Complex) -> Array:
        derivative = np.empty((*coupling.shape, x.shape[1]), dtype=complex)
        derivative[:, :, INDUCTANCE] = 1j * self.omega * weight
        for k in range(1, x.shape[1]):
            change = np.zeros(x.shape[1])
            change[k] = _STEP
            # Resistances of the rails leave the coupling as it is.
            same = coupling if k in (ION, ELECTRON) else None
            up, down = (line_at(self.omega, x + sign * change, self.connection, same) for sign in (1, -1))
            derivative[:, :, k] = (up - down) * weight / (2 * _STEP)
        return np.concatenate([derivative.real, derivative.imag], axis=1)


def _between(omega: Array, z: Complex, connection: Connection) -> list[Array]:
    """Beginnings for equal faces: the limits are P and R of the rail that both touch."""
    low = np.maximum(z[:, -1].real, 1e-3 * np.abs(z[:, -1]))
    peak = np.argmax(-z.imag, axis=1)
    tau = 1 / omega[peak]
    starts = []
    for part in (0.97, 0.7, 0.3):
        high = np.minimum(np.maximum(z.real.min(axis=1), 1e-3 * low), part * low)
        other = high * low / (low - high)
        n = np.full(len(z), 0.85)
        log_q = np.log(np.pi**2 / (low + other)) + n * np.log(tau)
        pair = (other, low) if connection == "ee" else (low, other)
        starts.append(np.column_stack([np.zeros(len(z)), np.log(pair[0]), np.log(pair[1]), log_q, n]))
    return starts


def _across(omega: Array, z: Complex) -> list[Array]:
    """Beginnings for electrolyte and metal: P at high frequencies, S/3 and the coupling at low ones."""
    high = np.maximum(z.real.min(axis=1), 1e-3 * np.abs(z[:, 0]))
    starts = []
    for ratio, n in ((1.1, 0.85), (2.0, 0.85), (6.0, 0.8), (30.0, 0.8)):
        total = 4 * ratio * high
        share = np.sqrt(1 - 1 / ratio)
        log_q = -np.log(np.maximum(-z[:, -1].imag, 1e-3 * np.abs(z[:, -1]))) - n * np.log(omega[-1])
        pair = (0.5 * total * (1 + share), 0.5 * total * (1 - share))
        starts.append(np.column_stack([np.zeros(len(z)), np.log(pair[0]), np.log(pair[1]), log_q, np.full(len(z), n)]))
    return starts
