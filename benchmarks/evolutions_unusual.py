"""Series of a kind that is not expected: to see whether a change that is wrong has a small interval and status ok.

They were written down when the joint inversion was finished. Intervals of changes were mended on ``open diffusion``
and ``diffusion``, with other noise; nothing else was chosen on them.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from evolutions import Case, Series, Sweep, spaced
from fresh import FractalWarburg

import drt_engine as drt
from drt_engine.simulate import ZARC, Element, ProportionalNoise, Resistor

__all__ = ["UNUSUAL"]

_LOUD, _QUIET = ProportionalNoise(0.01), ProportionalNoise(0.001)


def _cycled(cycle: float) -> list[Element]:
    return [
        Resistor(10.0 + 0.02 * cycle),
        ZARC(20.0 + 0.1 * cycle, 3e-5, 0.88),
        ZARC(8.0 + 0.05 * cycle, 3e-3, 0.85),
        ZARC(30.0, 0.2, 0.8),
    ]


def _half_way(x: float) -> list[Element]:
    known = [Resistor(10.0), ZARC(20.0, 3e-5, 0.88), ZARC(30.0 - 4.0 * x, 0.1, 0.82)]
    return [*known, ZARC(8.0, 3e-3, 0.85)] if x > 0.5 else known


def _leaving(x: float) -> list[Element]:
    """Move an arc from the middle of the window to beyond its slow end."""
    return [Resistor(10.0), ZARC(20.0, 3e-5, 0.88), ZARC(30.0, 0.05 * 10.0 ** (2.8 * x), 0.85)]


def _two_cells(k: float) -> list[Element]:
    other = [Resistor(4.0), ZARC(9.0, 2e-4, 0.85), ZARC(40.0 + 0.2 * k, 0.4, 0.9)]
    return other if int(k) % 2 else _cycled(4.0 * k)


def _nearly_ideal(k: float) -> list[Element]:
    return [Resistor(10.0), *(ZARC(r * 1.01**k, tau, 0.98) for r, tau in ((20.0, 1e-4), (30.0, 1e-2), (10.0, 0.5)))]


def _diffusion(resistance: float, tau: float) -> Callable[[float], list[Element]]:
    def elements(x: float) -> list[Element]:
        ending = FractalWarburg(resistance * (0.2 + x), tau, 0.48)
        return [Resistor(5.0), ZARC(10.0, 1e-4, 0.88), ZARC(12.0, 5e-3, 0.85), ending]

    return elements


def _there_and_back(k: float) -> list[Element]:
    twice = 2.0 if 100 <= k < 200 else 1.0
    return [Resistor(10.0), ZARC(18.0, 3e-5, 0.88), ZARC(12.0 * twice, 3e-3, 0.85), ZARC(30.0 - k / 60.0, 0.3, 0.8)]


_CYCLES = Sweep(_cycled, spaced(0.0, 100.0, 20), "age", ProportionalNoise(0.003)).series


def _other_windows(seed: int) -> Series:
    """Leave out the slow end of every third spectrum, and the fast end of the next."""
    one = _CYCLES(seed)
    z, frequency = one.spectra.impedance.copy(), one.spectra.frequency
    z[1::3, frequency < 0.15] = np.nan
    z[2::3, frequency > 2e5] = np.nan
    return replace(one, spectra=drt.Spectra(frequency, z, one.spectra.states))


def _same_voltage(seed: int) -> Series:
    """Let the state along which they run be the same in all, but for its last digits."""
    one = _CYCLES(seed)
    count = len(one.spectra)
    states = {"voltage": np.full(count, 3.7) + 1e-12 * np.arange(count)}
    return replace(
        one, spectra=drt.Spectra(one.spectra.frequency, one.spectra.impedance, states), along=("voltage",), series=()
    )


_DAY = spaced(0.0, 1.0, 24)

UNUSUAL = (
    Case("half way", Sweep(_half_way, _DAY, breaks=(12,)).series),
    Case("same voltage", _same_voltage),
    Case("ten times louder", Sweep(_cycled, spaced(0.0, 100.0, 20), "age", _QUIET, second=_LOUD).series),
    Case("other windows", _other_windows),
    Case("leaving", Sweep(_leaving, _DAY).series),
    Case("another cell", Sweep(_two_cells, spaced(0.0, 23.0, 24), "time").series),
    Case("nearly ideal", Sweep(_nearly_ideal, spaced(0.0, 23.0, 24), "time", ProportionalNoise(0.003)).series),
    Case("diffusion", Sweep(_diffusion(10.0, 20.0), spaced(0.0, 1.0, 20)).series),
    Case("open diffusion", Sweep(_diffusion(100.0, 2000.0), spaced(0.0, 1.0, 20)).series),
    Case("two states", Sweep(_cycled, (0.0, 40.0), "age").series),
    Case("there and back", Sweep(_there_and_back, spaced(0.0, 299.0, 300), "time", breaks=(100, 200)).series),
)
"""Series of unusual kinds."""
