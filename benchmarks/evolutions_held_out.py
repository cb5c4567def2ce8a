"""Series of other kinds than those of :mod:`evolutions`, with other parameters, for one look when a method is finished.

They were written down before the joint inversion was. Nothing is to be chosen on them.
"""

from dataclasses import replace
from functools import partial

import numpy as np
from evolutions import Case, Sweep, arrhenius, half, measured_campaign, skewed, spaced, thinned, together
from fresh import FractalWarburg
from scenarios import normal

from drt_engine.simulate import (
    BARE,
    COATED,
    ZARC,
    CampaignDesign,
    Cell,
    ConstantNoise,
    Element,
    HavriliakNegami,
    Outliers,
    ProportionalNoise,
    Resistor,
)

__all__ = ["HELD_OUT", "HELD_OUT_SEED"]

HELD_OUT_SEED = 9000
"""First seed that is not for development."""


def _sigmoid(x: float) -> list[Element]:
    on = 1.0 / (1.0 + np.exp(-(x - 0.55) / 0.06))
    return [
        Resistor(3.0),
        ZARC(6.0, 6e-6, 0.93),
        ZARC(5.0 + 9.0 * on, 7e-4 * 2.5**on, 0.83),
        ZARC(14.0 - 5.0 * on, 0.05, 0.8),
        ZARC(9.0, 2.0, 0.9),
    ]


def _oscillating(x: float) -> list[Element]:
    wave = np.sin(2.0 * np.pi * 3.0 * x)
    return [
        Resistor(20.0),
        HavriliakNegami(60.0, 1e-4, 0.87, 0.85),
        ZARC(100.0 * (1.0 + 0.15 * wave), 0.02, 0.86),
        ZARC(80.0 * (1.0 + 0.3 * x), 1.0, 0.78),
    ]


def _cell_a(x: float) -> list[Element]:
    return [Resistor(1.0), ZARC(2.0, 3e-5, 0.9), ZARC(3.0 + 2.0 * x, 4e-3, 0.8), ZARC(5.0 - 2.0 * x, 0.5, 0.85)]


def _cell_b(x: float) -> list[Element]:
    return [Resistor(1.3), ZARC(1.2, 8e-5, 0.85), ZARC(6.0 * np.exp(-x), 2e-2 * np.exp(-x), 0.84), ZARC(2.0, 1.0, 0.9)]


def _appearing(x: float) -> list[Element]:
    return [
        Resistor(7.0),
        ZARC(14.0, 1e-5, 0.87),
        ZARC(25.0 * max(0.0, x - 0.4), 1.2e-3, 0.9),
        ZARC(22.0, 0.12 * 1.4**x, 0.83),
    ]


def _porous(x: float) -> list[Element]:
    """Let a process that is close to a Gerischer element, whose own γ has a singularity, grow and slow down."""
    return [
        Resistor(0.2),
        ZARC(0.15 + 0.05 * x, 1e-4, 0.86),
        HavriliakNegami(0.5 * 2.0**x, 0.03 * 3.0**x, 0.94, 0.55),
        FractalWarburg(0.3, 2.0 * 1.5 ** (-x), 0.42),
    ]


def _moved(x: float) -> list[Element]:
    """Let a time constant jump by a factor 3, and later a resistance fall to 0.6 of itself."""
    return [
        Resistor(15.0),
        ZARC(30.0, 5e-6 * (1.0 if x < 0.3 else 3.0), 0.9),
        ZARC(50.0 + 15.0 * x, 6e-4, 0.8),
        ZARC(70.0 * (1.0 if x < 0.7 else 0.6), 0.08, 0.85),
    ]


def _ageing(x: float) -> list[Element]:
    return [
        Resistor(10.0 + 3.0 * x),
        ZARC(4.0 + 20.0 * np.sqrt(x), 5e-4 * (1.0 + x), 0.82),
        HavriliakNegami(16.0 + 8.0 * x**2, 0.04, 0.9, 0.7),
        ZARC(10.0, 1.5, 0.88),
    ]


def _bad_contact(x: float) -> list[Element]:
    """Let the resistance of one state in a smooth series be larger, as a bad contact does."""
    return [*_ageing(x)[:3], ZARC(10.0 + (12.0 if abs(x - 0.5) < 0.01 else 0.0), 1.5, 0.88)]


def _thermal_hn(celsius: float) -> list[Element]:
    slow, fast = arrhenius(70.0, celsius, 60.0), arrhenius(40.0, celsius, 60.0)
    return [
        Resistor(2.0 * fast),
        HavriliakNegami(9.0 * fast, 3e-5 * fast, 0.9, 0.8),
        normal(14.0 * slow, 5e-3 * slow, 1.2),
    ]


def _still_broad(_: float) -> list[Element]:
    return [Resistor(0.5), HavriliakNegami(1.0, 1e-4, 0.75, 0.9), HavriliakNegami(2.0, 0.2, 0.95, 0.6)]


_OTHER = CampaignDesign(
    cells=(
        Cell("D", 6.0, 2e-7, interphase=9.0, interphase_growth=1.0, ageing=1.2, capacity=1.5, voltage_fade=0.2),
        replace(COATED, name="E", interphase=3.0),
        replace(BARE, name="F", r_inf=20.0),
    ),
    cycles=(5, 20, 45, 80, 160, 300),
    voltages=18,
    window=(2.5, 4.5),
    frequencies=51,
    frequency_range=(3e5, 3e-2),
    noise=ProportionalNoise(0.004),
)
_CHARGE = partial(measured_campaign, _OTHER, half("charge"))

_SIXTEEN = spaced(0.0, 1.0, 16)
_LOW, _HIGH = ProportionalNoise(0.001), ProportionalNoise(0.006)

HELD_OUT = (
    Case("charge voltage", partial(_CHARGE, ("voltage",), None)),
    Case("charge cycle", partial(_CHARGE, ("cycle",), ("cell", "direction", "voltage"))),
    Case("charge both", partial(_CHARGE, ("voltage", "cycle"), None)),
    Case("sigmoid", Sweep(_sigmoid, spaced(0.0, 1.0, 31), "charge", window=(1e6, 2e-2, 10)).series),
    Case(
        "oscillating",
        Sweep(_oscillating, spaced(0.0, 1.0, 60), "time", ConstantNoise(0.002), (1e5, 1e-2, 7)).series,
    ),
    Case(
        "two cells",
        together(
            Sweep(_cell_a, _SIXTEEN, "time", _LOW, second=_HIGH).series,
            Sweep(_cell_b, _SIXTEEN, "time", _HIGH, second=_LOW).series,
        ),
    ),
    Case("appearing", Sweep(_appearing, spaced(0.0, 1.0, 28), "time", ProportionalNoise(0.002)).series),
    Case("porous", Sweep(_porous, spaced(0.0, 1.0, 20), "time", ProportionalNoise(0.002), (1e5, 1e-2, 8)).series),
    Case("two jumps", Sweep(_moved, spaced(0.0, 1.0, 41), "time", ConstantNoise(0.002), breaks=(12, 28)).series),
    Case("long", Sweep(_ageing, spaced(0.0, 1.0, 200), "time", ProportionalNoise(0.005), (1e5, 1e-2, 6)).series),
    Case("bad contact", Sweep(_bad_contact, spaced(0.0, 1.0, 25), "time", breaks=(12, 13)).series),
    Case("eight hot", Sweep(_thermal_hn, spaced(30.0, 90.0, 8), "temperature", ProportionalNoise(0.005)).series),
    Case("still broad", Sweep(_still_broad, spaced(0.0, 1.0, 40), "time", ProportionalNoise(0.003), still=True).series),
    Case("outliers", Sweep(skewed, spaced(0.2, 0.9, 18), noise=Outliers(0.03, 0.1, ProportionalNoise(0.003))).series),
    Case("three left", thinned(Sweep(_cell_a, spaced(0.0, 1.0, 12), noise=ConstantNoise(0.004)).series, 0.75)),
)
"""Series of other kinds, with other parameters, for one look when a method is finished."""
