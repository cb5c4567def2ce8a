"""A made-up campaign, the spectra that its γ has by quadrature, and every figure of it."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.integrate import simpson

import drt_engine as drt
from drt_engine import plotting
from drt_engine.model.basis import Expansion
from drt_engine.plotting import CompositeView

FREQUENCY = np.geomspace(1e5, 1e-2, 43)
TAU = np.geomspace(1e-7, 1e2, 91)
MU = 5.0
VOLTAGES = np.array([2.2, 2.9, 3.3, 3.6, 4.1, 4.7])


def gaussians(tau, coefficients):
    """γ of Gaussian basis functions, ohm, written out; shape (K, T)."""
    return coefficients @ np.exp(-((MU * (np.log(tau)[:, None] - np.log(TAU))) ** 2)).T


def integrated(coefficients, r_inf, inductance):
    """Impedance by quadrature over ln τ, without the engine's kernels."""
    y = np.linspace(np.log(TAU[0]) - 3, np.log(TAU[-1]) + 3, 1201)
    omega = 2 * np.pi * FREQUENCY
    gamma = gaussians(np.exp(y), coefficients)
    arcs = simpson(gamma[:, None, :] / (1 + 1j * omega[:, None] * np.exp(y)), x=y, axis=-1)
    return r_inf[:, None] + 1j * omega * inductance[:, None] + arcs


def campaign_of(cells, cycles=(1, 50)):
    """States of charges and discharges, with time, charge and voltage that belong together."""
    rows = []
    for cell in cells:
        for cycle in cycles:
            for half, direction in enumerate(("charge", "discharge")):
                done = np.linspace(0, 1, VOLTAGES.size)
                rows.append(
                    pd.DataFrame(
                        {
                            "cell": cell,
                            "cycle": cycle,
                            "direction": direction,
                            "voltage": VOLTAGES if direction == "charge" else VOLTAGES[::-1],
                            "time": 1e6 * cycle + 7200 * (half + 0.95 * done),
                            "charge": 7.2 * done,
                        }
                    )
                )
    return pd.concat(rows, ignore_index=True)


def made(states):
    """Spectra and the result that fits them, with peaks that move with voltage and age."""
    size = len(states)
    v = states["voltage"].to_numpy() if "voltage" in states else np.linspace(2.5, 4.5, size)
    age = states["cycle"].to_numpy() / 50 if "cycle" in states else np.zeros(size)
    centre = np.log(np.stack([np.full(size, 1e-5), 1e-3 * (1 + age), 0.1 * 3 ** (3.5 - v)], axis=1))
    height = np.stack([np.full(size, 4.0), 6 + 5 * age, 5 + 40 * np.exp(-(v - 2.2))], axis=1)
    coefficients = np.sum(height[..., None] * np.exp(-((np.log(TAU) - centre[..., None]) ** 2) / 0.5), axis=1)
    r_inf, inductance = 10 + age, np.full(size, 1e-7)
    spectra = drt.Spectra(FREQUENCY, integrated(coefficients, r_inf, inductance), states)
    flat = {name: np.full(size, 1e-3) for name in ("regularisation", "residual", "optimality")}
    result = drt.Inversion(
        spectra.frequency,
        Expansion(TAU, "gaussian", MU),
        coefficients,
        r_inf=r_inf,
        inductance=inductance,
        capacitance=np.full(size, np.inf),
        **flat,
        status=np.zeros(size, dtype=np.uint8),
        states=spectra.states,
        method=drt.Tikhonov(),
    )
    return spectra, result


def without_answer(result, rows, status=drt.Status.NOT_FINITE):
    """The same result with no solution in some rows."""
    arrays = {name: getattr(result, name).copy() for name in ("coefficients", "r_inf", "inductance", "capacitance")}
    for array in arrays.values():
        array[rows] = np.nan
    flags = result.status.copy()
    flags[rows] = status
    return replace(result, **arrays, status=flags)


STATES = campaign_of(["B", "C"])
SPECTRA, RESULT = made(STATES)
ONE = np.flatnonzero((STATES["cell"] == "B") & (STATES["cycle"] == 1) & (STATES["direction"] == "discharge"))
PROFILE = pd.concat(
    [
        pd.DataFrame(
            {"cell": cell, "cycle": cycle, "direction": direction}
            | {"voltage": np.interp(np.linspace(0, 1, 50), np.linspace(0, 1, 6), part["voltage"])}
            | {name: np.linspace(part[name].iloc[0], part[name].iloc[-1], 50) for name in ("time", "charge")}
        )
        for (cell, cycle, direction), part in STATES.groupby(["cell", "cycle", "direction"], sort=False)
    ],
    ignore_index=True,
)

RNG = np.random.default_rng(3)
NOISE = 0.002 * RNG.standard_normal((2, *SPECTRA.impedance.shape))
NOISY = drt.Spectra(FREQUENCY, SPECTRA.impedance * (1 + NOISE[0] + 1j * NOISE[1]), STATES)

FIGURES = {
    "nyquist of one": lambda **k: plotting.nyquist(SPECTRA, RESULT, rows=9, marks=True, **k),
    "nyquist": lambda **k: plotting.nyquist(SPECTRA, RESULT, rows=ONE, state="voltage", **k),
    "nyquist by name": lambda **k: plotting.nyquist(SPECTRA, RESULT, rows=[6, 30], state="cell", marks=True, **k),
    "bode": lambda **k: plotting.bode(SPECTRA, RESULT, rows=ONE, state="voltage", **k),
    "residuals": lambda **k: plotting.residuals(NOISY, RESULT, rows=ONE, state="voltage", **k),
    "residuals of an exact fit": lambda **k: plotting.residuals(SPECTRA, RESULT, rows=9, **k),
    "gamma": lambda **k: plotting.gamma(RESULT, rows=ONE, state="voltage", truth=(TAU, RESULT.gamma), **k),
    "waterfall": lambda **k: plotting.waterfall(RESULT, rows=ONE, **k),
    "waterfall by time": lambda **k: plotting.waterfall(RESULT, "time", rows=ONE, colour="voltage", **k),
    "heat map": lambda **k: plotting.heat_map(RESULT, rows=ONE, **k),
}
COMPOSITES = {
    "two cells": lambda: plotting.composite(SPECTRA, RESULT, PROFILE),
    "one cell": lambda: plotting.composite(SPECTRA, RESULT, cells=["C"], view="heat map"),
    "charge and discharge": lambda: plotting.composite(
        SPECTRA, RESULT, PROFILE, at={"direction": ["charge", "discharge"]}, view=CompositeView("heat map", "time")
    ),
    "over cycles": lambda: plotting.composite(SPECTRA, RESULT, state="cycle", at={"voltage": 3.3}),
    "three cells": lambda: plotting.composite(*made(campaign_of(["one", "two", "three"], (1,)))),
}


@cache
def composite(name):
    """A composite figure, made once."""
    return COMPOSITES[name]()


def figure_of(drawn):
    if isinstance(drawn, Figure):
        return drawn
    return (drawn[0] if isinstance(drawn, tuple) else drawn).figure


def curves(axes):
    """Lines that show spectra: with more than two points."""
    return [line for line in axes.get_lines() if len(line.get_xdata()) > 2]


def fits(axes):
    return [line for line in curves(axes) if line.get_linestyle() == "-"]


def points(axes):
    return [line for line in curves(axes) if line.get_linestyle() == "None"]
