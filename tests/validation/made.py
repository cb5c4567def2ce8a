"""Spectra with known violations, and the linear Kramers-Kronig test written out densely."""

import numpy as np

import drt_engine as drt
from drt_engine.simulate import CampaignDesign, ProportionalNoise, campaign

FREQUENCY = np.logspace(5, -2, 43)
OMEGA = 2 * np.pi * FREQUENCY


def zarc(omega, r, tau, phi):
    return r / (1 + (1j * omega * tau) ** phi)


def cells(rows=4, noise=0.002, seed=0, frequency=FREQUENCY):
    """Two arcs and an inductance, different in each row."""
    omega = 2 * np.pi * frequency
    rng = np.random.default_rng(seed)
    z = np.array(
        [
            5 + 1e-7j * omega + zarc(omega, 20 + 3 * k, 1e-4, 0.85) + zarc(omega, 40 - 2 * k, 0.05, 0.75)
            for k in range(rows)
        ]
    )
    return z * (1 + noise * (rng.standard_normal(z.shape) + 1j * rng.standard_normal(z.shape)))


def blocking(rows=3, noise=0.002, seed=1):
    """An arc in series with a capacitance: |Z| over four decades."""
    rng = np.random.default_rng(seed)
    z = np.array(
        [5 + zarc(OMEGA, 20 + k, 1e-4, 0.9) + 1 / (1j * OMEGA * 1e-5 * (1 + k)) + 1e-7j * OMEGA for k in range(rows)]
    )
    return z * (1 + noise * (rng.standard_normal(z.shape) + 1j * rng.standard_normal(z.shape)))


def dense(
    z, elements, part="complex", admittance=False, inductance=True, capacitance=False, weighting="modulus", omega=OMEGA
):
    """Relative residual and μ of one spectrum by numpy's least squares; elements written as C of jωC/(1 + jωτ) in Y."""
    value = 1 / z if admittance else z
    tau = np.logspace(-np.log10(omega.max()), -np.log10(omega.min()), elements)
    if elements == 1:
        tau = np.array([1 / omega.min()])
    kernel = 1 / (1 + 1j * np.outer(omega, tau))
    chains = 1j * omega[:, None] * kernel if admittance else kernel
    columns = [np.ones((omega.size, 1)), chains]
    if capacitance if admittance else inductance:
        columns.append(1j * omega[:, None])
    if inductance if admittance else capacitance:
        columns.append(1 / (1j * omega[:, None]))
    a = np.hstack(columns)
    w = 1 / np.abs(value) if weighting == "modulus" else np.ones(omega.size)
    whole = {"re": (a.real,), "im": (a.imag,), "complex": (a.real, a.imag)}[part]
    data = {"re": (value.real,), "im": (value.imag,), "complex": (value.real, value.imag)}[part]
    shown = np.any(np.vstack(whole) != 0, axis=0)
    if part == "re":
        shown[1 + elements :] = False
    x = np.zeros(a.shape[1])
    x[shown] = least_squares(
        np.vstack([w[:, None] * m for m in whole])[:, shown], np.concatenate([w * d for d in data])
    )
    rest = value - a @ x
    if not shown.all():
        other = np.vstack([w[:, None] * a.real, w[:, None] * a.imag])[:, ~shown]
        x[~shown] = least_squares(other, np.concatenate([w * rest.real, w * rest.imag]))
    r = x[1 : 1 + elements]
    positive = r[r > 0].sum()
    mu = 1 + r[r < 0].sum() / positive if positive else -np.inf
    return (value - a @ x) / np.abs(value), mu


def least_squares(a, b):
    scale = np.linalg.norm(a, axis=0)
    return np.linalg.lstsq(a / scale, b, rcond=1e-15)[0] / scale


def small_campaign(noise=0.002, seed=3, **changes):
    """Eighty spectra of the simulated campaign, exact and noisy."""
    made = campaign(CampaignDesign(cycles=(1, 500), voltages=10, noise=None, **changes))
    z = made.spectra.impedance
    return made, z if noise is None else ProportionalNoise(noise).add(z, np.random.default_rng(seed))


def spectra_of(z, states=None, frequency=FREQUENCY):
    return drt.Spectra(frequency, z, states)
