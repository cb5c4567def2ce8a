"""Spectra whose distribution of relaxation times is known in closed form, and how far a solution is from it.

``TASK`` are the ten scenarios that tools have been compared on; they were watched while the method was made.
``DEVELOPMENT`` are those that the method was chosen on. ``HELD_OUT`` had no part in the choice of the prior, but the
width of intervals was chosen with them in view. :mod:`fresh` has those that had no part in anything.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

import drt_engine as drt
from drt_engine.simulate import (
    RC,
    ZARC,
    Circuit,
    Element,
    Gerischer,
    HavriliakNegami,
    Inductor,
    PiecewiseConstant,
    Resistor,
)

__all__ = ["DEVELOPMENT", "HELD_OUT", "LIMITS", "TASK", "Density", "Scenario", "distance", "summits"]

Array = np.ndarray
_POINTS = 801
_TRAPEZOIDS = 6001
_VALLEY, _FLOOR = 0.1, 0.02


@dataclass(frozen=True)
class Density(Element):
    """A γ that is given as a function; its impedance by the trapezoidal rule.

    Parameters
    ----------
    shape : callable
        γ of ln τ, ohm.
    low, high : float
        ln τ outside of which γ is as good as zero.
    """

    shape: Callable[[Array], Array]
    low: float
    high: float

    def _nodes(self) -> tuple[Array, Array]:
        y = np.linspace(self.low, self.high, _TRAPEZOIDS)
        weight = np.full(y.size, y[1] - y[0])
        weight[[0, -1]] *= 0.5
        return y, weight * self.shape(y)

    def impedance(self, frequency: Array) -> Array:
        """Impedance, ohm, shape (F,), at the frequencies (Hz) given."""
        y, r = self._nodes()
        return (1.0 / (1.0 + 2j * np.pi * np.outer(frequency, np.exp(y)))) @ r

    def gamma(self, tau: Array) -> Array:
        """γ, ohm, shape (T,), at the relaxation times (s) given."""
        return self.shape(np.log(tau))

    @property
    def r_pol(self) -> float:
        """Polarisation resistance, ohm."""
        return float(self._nodes()[1].sum())


def normal(r: float, tau: float, width: float) -> Density:
    """Make a γ that is a normal distribution over ln τ.

    Parameters
    ----------
    r : float
        Its integral, ohm.
    tau : float
        Relaxation time of its maximum, s.
    width : float
        Its standard deviation in ln τ.
    """
    middle = np.log(tau)

    def shape(y: Array) -> Array:
        return r / (width * np.sqrt(2.0 * np.pi)) * np.exp(-0.5 * ((y - middle) / width) ** 2)

    return Density(shape, middle - 12.0 * width, middle + 12.0 * width)


def triangle(r: float, low: float, top: float, high: float) -> Density:
    """Make a γ that rises from zero at `low` to `top` and falls to zero at `high`, straight over ln τ.

    Parameters
    ----------
    r : float
        Its integral, ohm.
    low, top, high : float
        Relaxation times of the corners, s.
    """
    corners = np.log([low, top, high])
    heights = [0.0, 2.0 * r / (corners[2] - corners[0]), 0.0]
    return Density(lambda y: np.interp(y, corners, heights, left=0.0, right=0.0), corners[0], corners[2])


@dataclass(frozen=True)
class Scenario:
    """A circuit, and how it is measured.

    Parameters
    ----------
    name : str
        What it is called.
    elements : tuple of Element
        What is in series.
    noise : float
        Standard deviation of the real and of the imaginary part, each, as a share of R_pol.
    highest, lowest : float
        Frequencies, Hz.
    per_decade : int
        Frequencies a decade.
    outliers : int
        How many points are moved, in a random direction.
    moved : float
        How far, as a share of R_pol.
    proportional : bool
        Whether `noise` is a share of |Z| of each point instead.
    """

    name: str
    elements: tuple[Element, ...]
    noise: float
    highest: float
    lowest: float
    per_decade: int = 10
    outliers: int = 0
    moved: float = 0.1
    proportional: bool = False

    @property
    def circuit(self) -> Circuit:
        """All elements in series."""
        return Circuit(self.elements)

    @property
    def frequency(self) -> Array:
        """Frequencies, Hz, descending."""
        decades = np.log10(self.highest / self.lowest)
        return np.geomspace(self.highest, self.lowest, round(decades * self.per_decade) + 1)

    @property
    def tau(self) -> Array:
        """Relaxation times that solutions are compared at, s: 801 from 1/ω_max to 1/ω_min."""
        return np.geomspace(0.5 / np.pi / self.highest, 0.5 / np.pi / self.lowest, _POINTS)

    @property
    def gamma(self) -> Array:
        """γ at `tau`, ohm."""
        return self.circuit.gamma(self.tau, dirac="skip")

    @property
    def peaks(self) -> int | None:
        """How many maxima γ has within the window; None where it is constant in parts."""
        flat = any(isinstance(each, PiecewiseConstant) for each in self.elements)
        return None if flat else len(summits(self.gamma))

    def spectra(self, seeds: Sequence[int]) -> drt.Spectra:
        """One spectrum for each seed."""
        exact = self.circuit.impedance(self.frequency)
        return drt.Spectra(self.frequency, np.array([self._measured(exact, seed) for seed in seeds]))

    def _measured(self, exact: Array, seed: int) -> Array:
        # The name as well: scenarios with as many frequencies would otherwise have the same noise.
        rng = np.random.default_rng([seed, *self.name.encode()])
        size = np.abs(exact) if self.proportional else self.circuit.r_pol
        z = exact + self.noise * size * (rng.standard_normal(exact.size) + 1j * rng.standard_normal(exact.size))
        hit = rng.choice(exact.size, self.outliers, replace=False)
        z[hit] += self.moved * self.circuit.r_pol * np.exp(2j * np.pi * rng.random(self.outliers))
        return z


def summits(gamma: Array) -> list[int]:
    """Find the maxima of γ above 2 % of the largest that stand a tenth of themselves above the valleys beside them."""
    floor = _FLOOR * gamma.max()
    tops: list[int] = []
    for k in range(1, gamma.size - 1):
        if gamma[k] >= gamma[k - 1] and gamma[k] > gamma[k + 1] and gamma[k] > floor:
            if tops:
                valley = gamma[tops[-1] : k + 1].min()
                if valley > (1.0 - _VALLEY) * min(gamma[tops[-1]], gamma[k]):
                    if gamma[k] > gamma[tops[-1]]:
                        tops[-1] = k
                    continue
            tops.append(k)
    return tops


def distance(gamma: Array, truth: Array, tau: Array) -> Array:
    """∫|γ̂ − γ| d ln τ / ∫γ d ln τ.

    Parameters
    ----------
    gamma : ndarray, shape (K, T)
        Solutions, ohm.
    truth : ndarray, shape (T,)
        What they should be, ohm.
    tau : ndarray, shape (T,)
        Where, s.

    Returns
    -------
    ndarray, shape (K,)
    """
    y = np.log(tau)
    return np.trapezoid(np.abs(gamma - truth), y, axis=-1) / np.trapezoid(truth, y)


_TEN = Resistor(10.0)


def _zarcs(*parameters: tuple[float, float, float], r_inf: float = 10.0) -> tuple[Element, ...]:
    return (Resistor(r_inf), *(ZARC(*each) for each in parameters))


_PLATEAU = PiecewiseConstant([1e-2, 1.0], [50.0 / np.log(100.0)])
_SEPARATED = _zarcs((50, 1e-3, 0.85), (50, 1, 0.85))

TASK = (
    Scenario("zarc1_lo", _zarcs((50, 0.1, 0.8)), 0.001, 1e4, 1e-3),
    Scenario("zarc1_hi", _zarcs((50, 0.1, 0.8)), 0.01, 1e4, 1e-3),
    Scenario("zarc2_sep", _SEPARATED, 0.005, 1e5, 1e-3),
    Scenario("zarc2_over", _zarcs((50, 1e-2, 0.85), (50, 0.15, 0.85)), 0.002, 1e5, 1e-3),
    Scenario("zarc2_small", _zarcs((10, 1e-4, 0.9), (90, 0.1, 0.8)), 0.002, 1e6, 1e-3),
    Scenario("hn", (Resistor(5.0), HavriliakNegami(50, 0.1, 0.9, 0.6)), 0.003, 1e5, 1e-3),
    Scenario("pwc", (_TEN, _PLATEAU), 0.003, 1e4, 1e-3),
    Scenario("near_rc", _zarcs((30, 1e-4, 0.98), (30, 0.1, 0.98)), 0.002, 1e6, 1e-2),
    Scenario(
        "battery",
        (
            *_zarcs((8, 2e-6, 0.95), (15, 2e-4, 0.85), (30, 1e-2, 0.8), (20, 2, 0.9), r_inf=5.0),
            Inductor(2e-8),
        ),
        *(0.002, 1e6, 1e-2, 8),
    ),
    Scenario("outliers", _SEPARATED, 0.002, 1e5, 1e-3, outliers=3),
)
"""The ten scenarios that tools have been compared on."""

DEVELOPMENT = (
    Scenario("one_broad", _zarcs((30, 3e-3, 0.7)), 0.003, 1e5, 1e-2),
    Scenario("one_narrow", _zarcs((80, 1, 0.92)), 0.005, 1e4, 1e-3),
    Scenario("three", _zarcs((20, 1e-5, 0.9), (40, 1e-3, 0.8), (40, 0.5, 0.75)), 0.003, 1e6, 1e-2),
    Scenario("close", _zarcs((60, 1e-3, 0.9), (40, 1e-2, 0.9)), 0.005, 1e5, 1e-2),
    Scenario("asymmetric", (_TEN, HavriliakNegami(50, 0.05, 0.8, 0.7)), 0.01, 1e4, 1e-3),
    Scenario("steps", (_TEN, PiecewiseConstant([1e-4, 1e-2, 1e-1], [6.0, 15.0])), 0.002, 1e5, 1e-2),
    Scenario("normals", (_TEN, normal(40, 1e-4, 1.0), normal(40, 0.1, 1.5)), 0.003, 1e6, 1e-2),
    Scenario("narrow", _zarcs((40, 1e-3, 0.97), (20, 0.05, 0.95)), 0.005, 1e5, 1e-2),
    Scenario("gerischer", (_TEN, Gerischer(40, 0.1)), 0.003, 1e4, 1e-2),
    Scenario("cut_off", _zarcs((25, 1e-5, 0.85), (40, 1e-2, 0.85), (60, 8, 0.85)), 0.002, 1e5, 1e-2, 7),
    Scenario("moved", _zarcs((30, 1e-4, 0.8), (60, 0.05, 0.9)), 0.003, 1e5, 1e-2, 8, outliers=4, moved=0.08),
    Scenario("quiet", _zarcs((30, 1e-5, 0.9), (5, 1e-3, 0.9), (60, 0.3, 0.8)), 0.0005, 1e6, 1e-3, 12),
    Scenario("noisy", _zarcs((40, 1e-4, 0.75), (50, 0.1, 0.85)), 0.02, 1e5, 1e-2, 12),
)
"""The scenarios that the method was chosen on."""

HELD_OUT = (
    Scenario("zarc_one", _zarcs((100, 0.02, 0.75), r_inf=2.0), 0.004, 1e5, 1e-2),
    Scenario("zarc_three", _zarcs((10, 3e-6, 0.9), (30, 3e-4, 0.85), (50, 0.05, 0.8)), 0.002, 1e6, 1e-2, 9),
    Scenario("zarc_close", _zarcs((30, 2e-3, 0.88), (50, 3e-2, 0.8)), 0.004, 1e4, 1e-2, 12),
    Scenario("zarc_noisy", _zarcs((50, 1e-3, 0.9)), 0.02, 1e5, 1e-2),
    Scenario("zarc_moved", _zarcs((40, 5e-4, 0.9), (30, 0.3, 0.85)), 0.004, 1e5, 1e-2, outliers=4),
    Scenario("sharp", _zarcs((50, 3e-3, 0.96), r_inf=1.0), 0.003, 1e4, 1e-2),
    Scenario("davidson", (_TEN, HavriliakNegami(60, 0.03, 0.95, 0.5)), 0.002, 1e5, 1e-2),
    Scenario(
        "two_hn", (_TEN, HavriliakNegami(30, 1e-4, 0.85, 0.7), HavriliakNegami(40, 0.2, 0.9, 0.8)), 0.004, 1e6, 1e-2
    ),
    Scenario("box", (_TEN, PiecewiseConstant([1e-3, 3e-2], [12.0])), 0.005, 1e5, 1e-2),
    Scenario("tent", (_TEN, triangle(50, 1e-4, 1e-2, 0.3)), 0.003, 1e5, 1e-2),
    Scenario("bell", (_TEN, normal(50, 1e-2, 1.2)), 0.005, 1e5, 1e-2),
    Scenario(
        "cell",
        (*_zarcs((3, 5e-6, 0.9), (8, 6e-4, 0.85), (12, 3e-2, 0.75), r_inf=2.0), ZARC(9, 4, 0.92), Inductor(5e-8)),
        *(0.0015, 1e6, 1e-2, 10),
        proportional=True,
    ),
)
"""Without a part in the choice of the prior, but with one in that of the width of intervals."""

LIMITS = (
    Scenario("one_rc", (_TEN, RC(50, 1e-2)), 0.002, 1e4, 1e-2),
    Scenario("noise_free", _zarcs((50, 0.1, 0.8)), 0.0, 1e4, 1e-3),
)
"""One ideal RC, whose γ is a Dirac function, and data without noise: nothing must break."""
