"""A series in which one arc grows while another moves, and its solutions."""

import numpy as np
import pytest

import drt_engine as drt
from drt_engine.simulate import ZARC

from ..conftest import zarc

FREQUENCY = np.logspace(5, -1, 25)
VOLTAGE = np.linspace(3.0, 3.7, 8)
SHARE = 0.005


def arcs(voltage):
    """R, τ and φ of the two arcs at a voltage."""
    x = voltage - 3.0
    return (30.0, 1e-4, 0.9), (20.0 * np.exp(1.2 * x), 10 ** (-1.5 + 0.4 * x), 0.85)


def truth(tau, voltage):
    """γ at one voltage, shape (T,)."""
    return sum(ZARC(*arc).gamma(tau) for arc in arcs(voltage))


def r_pol(voltage):
    return sum(arc[0] for arc in arcs(voltage))


def measured(voltage, seed=1, share=SHARE, floor=0.0):
    rng = np.random.default_rng(seed)
    z = np.array([10 + sum(zarc(FREQUENCY, *arc) for arc in arcs(each)) for each in voltage])
    scale = np.sqrt(floor**2 + (share * np.abs(z)) ** 2)
    return z + scale * (rng.standard_normal(z.shape) + 1j * rng.standard_normal(z.shape))


@pytest.fixture(scope="package")
def spectra():
    return drt.Spectra(FREQUENCY, measured(VOLTAGE), {"voltage": VOLTAGE})


@pytest.fixture(scope="package")
def single(spectra):
    return drt.invert(spectra)


@pytest.fixture(scope="package")
def joint(spectra):
    return drt.invert(spectra, drt.LogGaussian(along="voltage"))
