"""Series of spectra whose γ is known at every state: the simulated campaign, and circuits that change along a state.

``DEVELOPMENT`` are those that a method may be chosen on, with seeds below 9000. :mod:`evolutions_held_out`
has others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pandas as pd
from fresh import FractalWarburg
from scenarios import normal

import drt_engine as drt
from drt_engine.simulate import (
    ZARC,
    Campaign,
    CampaignDesign,
    Circuit,
    ConstantNoise,
    Element,
    HavriliakNegami,
    Inductor,
    Noise,
    Outliers,
    ProportionalNoise,
    Resistor,
    campaign,
)

__all__ = [
    "DEVELOPMENT",
    "Case",
    "Series",
    "Sweep",
    "arrhenius",
    "half",
    "measured_campaign",
    "skewed",
    "spaced",
    "thinned",
    "together",
]

Array = np.ndarray
Elements = Callable[[float], Sequence[Element]]

_POINTS = 801
_GAS, _KELVIN = 8.314462618, 273.15


@dataclass(frozen=True, eq=False)
class Series:
    """Spectra along one state or two, and their truth.

    Parameters
    ----------
    spectra : Spectra
        K spectra with their states.
    truth : callable
        Exact γ, ohm, shape (K, T), at relaxation times (s) of shape (T,).
    r_pol : ndarray, shape (K,)
        Exact polarisation resistance, ohm.
    along : tuple of str
        State columns along which γ changes; one or two.
    series : tuple of str or None
        Columns that are equal within a series; None for what a method takes by itself.
    still : bool
        Whether nothing changes.
    breaks : tuple of int
        Rows whose γ is no smooth continuation of the row before.
    """

    spectra: drt.Spectra
    truth: Callable[[Array], Array] = field(repr=False)
    r_pol: Array = field(repr=False)
    along: tuple[str, ...]
    series: tuple[str, ...] | None = None
    still: bool = False
    breaks: tuple[int, ...] = ()

    @property
    def tau(self) -> Array:
        """Relaxation times that solutions are compared at, s: 801 from 1/ω_max to 1/ω_min."""
        omega = 2.0 * np.pi * self.spectra.frequency
        return np.geomspace(1.0 / omega.max(), 1.0 / omega.min(), _POINTS)

    def pairs(self, column: str) -> Array:
        """Rows that are neighbours along a state, shape (P, 2); those without an impedance are passed over."""
        return np.concatenate([np.column_stack([each[:-1], each[1:]]) for each in self._ordered(column)])

    def far_pairs(self, column: str) -> Array:
        """Rows that are half a series apart along a state, shape (P, 2); see :meth:`pairs`."""
        halves = [(each, each.size // 2) for each in self._ordered(column)]
        return np.concatenate([np.column_stack([each[:-half], each[half:]]) for each, half in halves])

    def _ordered(self, column: str) -> list[Array]:
        """Rows of each series in their order, of two or more."""
        states = self.spectra.states
        others = [*(self.series or ()), *(each for each in self.along if each != column)]
        if self.series is None:
            others += [each for each in ("cell", "cycle", "direction") if each in states and each not in self.along]
        measured = np.flatnonzero(np.isfinite(self.spectra.impedance).any(axis=1))
        rows = states.iloc[measured].sort_values(column, kind="stable")
        groups = [rows] if not others else [group for _, group in rows.groupby(others, sort=False)]
        return [group.index.to_numpy() for group in groups if len(group) > 1]


@dataclass(frozen=True)
class Case:
    """A series that can be measured again with other noise.

    Parameters
    ----------
    name : str
        What it is called.
    make : callable
        The series for a seed.
    """

    name: str
    make: Callable[[int], Series] = field(repr=False)


@dataclass(frozen=True)
class Sweep:
    """A circuit that changes along one state.

    Parameters
    ----------
    elements : callable
        What is in series at a value of the state.
    states : tuple of float
        Values of the state.
    along : str
        Name of its column.
    noise : Noise
        On each spectrum; constant noise is in units of the mean R_pol.
    window : tuple
        Highest and lowest frequency, Hz, and frequencies a decade.
    still : bool
        Whether nothing changes.
    breaks : tuple of int
        Rows whose γ is no smooth continuation of the row before.
    refused : tuple of int
        Rows that have no impedance.
    second : Noise or None
        Noise of every other spectrum, if it is another one.
    """

    elements: Elements
    states: tuple[float, ...]
    along: str = "voltage"
    noise: Noise = field(default_factory=ProportionalNoise)
    window: tuple[float, float, int] = (1e6, 1e-2, 8)
    still: bool = False
    breaks: tuple[int, ...] = ()
    refused: tuple[int, ...] = ()
    second: Noise | None = None

    def series(self, seed: int) -> Series:
        """Measure it."""
        highest, lowest, per_decade = self.window
        frequency = np.geomspace(highest, lowest, round(np.log10(highest / lowest) * per_decade) + 1)
        circuits = [Circuit(self.elements(float(value))) for value in self.states]
        exact = np.array([each.impedance(frequency) for each in circuits])
        r_pol = np.array([each.r_pol for each in circuits])
        size, rng = float(r_pol.mean()), np.random.default_rng([seed, *self.along.encode(), len(circuits)])
        noises = [self.noise, self.noise if self.second is None else self.second]
        z = np.array([noises[k % 2].add(each / size, rng) * size for k, each in enumerate(exact)])
        z[list(self.refused)] = np.nan
        return Series(
            drt.Spectra(frequency, z, {self.along: np.array(self.states)}),
            lambda tau: np.array([each.gamma(tau) for each in circuits]),
            r_pol,
            (self.along,),
            still=self.still,
            breaks=self.breaks,
        )


def together(*cases: Callable[[int], Series], column: str = "cell") -> Callable[[int], Series]:
    """Put several sweeps of as many states into one file, their rows in turn, told apart by a text column."""

    def make(seed: int) -> Series:
        parts = [each(seed + 100_000 * k) for k, each in enumerate(cases)]
        count, first = len(parts[0].spectra), parts[0]
        order = np.arange(count * len(parts)).reshape(len(parts), count).T.ravel()
        states = pd.concat(
            [part.spectra.states.assign(**{column: chr(ord("A") + k)}) for k, part in enumerate(parts)]
        ).iloc[order]
        impedance = np.concatenate([part.spectra.impedance for part in parts])[order]
        return Series(
            drt.Spectra(first.spectra.frequency, impedance, states),
            lambda tau: np.concatenate([part.truth(tau) for part in parts])[order],
            np.concatenate([part.r_pol for part in parts])[order],
            first.along,
        )

    return make


def thinned(make: Callable[[int], Series], share: float) -> Callable[[int], Series]:
    """Leave out a share of the states, others for each seed, but never the first and the last."""

    def fewer(seed: int) -> Series:
        whole = make(seed)
        count = len(whole.spectra)
        gone = np.random.default_rng([seed, 7]).choice(np.arange(1, count - 1), round(share * count), replace=False)
        rows = np.setdiff1d(np.arange(count), gone)
        return replace(
            whole, spectra=whole.spectra[rows], truth=lambda tau: whole.truth(tau)[rows], r_pol=whole.r_pol[rows]
        )

    return fewer


def measured_campaign(
    design: CampaignDesign,
    keep: Callable[[pd.DataFrame], Array],
    along: tuple[str, ...],
    series: tuple[str, ...] | None,
    seed: int,
) -> Series:
    """Take some spectra of a simulated campaign.

    Parameters
    ----------
    design : CampaignDesign
        The campaign; its seed is replaced.
    keep : callable
        Which rows, by their states.
    along, series : tuple of str
        See :class:`Series`.
    seed : int
        Of the noise.
    """
    made: Campaign = campaign(replace(design, seed=seed))
    rows = np.flatnonzero(keep(made.spectra.states))
    return Series(made.spectra[rows], lambda tau: made.gamma(tau, rows), made.r_pol[rows], along, series)


def half(direction: str, cell: str | None = None, cycle: int | None = None) -> Callable[[pd.DataFrame], Array]:
    """Choose charges or discharges, of all cells and cycles or of one."""

    def keep(states: pd.DataFrame) -> Array:
        kept = states["direction"] == direction
        kept &= (cell is None) | (states["cell"] == cell)
        kept &= (cycle is None) | (states["cycle"] == cycle)
        return kept.to_numpy()

    return keep


def spaced(first: float, last: float, count: int) -> tuple[float, ...]:
    """Return evenly spaced states."""
    return tuple(np.linspace(first, last, count).tolist())


def arrhenius(ea: float, celsius: float, reference: float = 25.0) -> float:
    """Return by how much a resistance with an activation energy (kJ/mol) is larger than at the reference (°C)."""
    return float(np.exp(ea * 1e3 / _GAS * (1.0 / (celsius + _KELVIN) - 1.0 / (reference + _KELVIN))))


def skewed(x: float) -> list[Element]:
    """Three Havriliak-Negami processes that drift."""
    return [
        Resistor(8.0),
        HavriliakNegami(12.0, 4e-5, 0.92, 0.8),
        HavriliakNegami(15.0 + 10.0 * x, 2e-3 * 3.0**x, 0.88, 0.75 - 0.15 * x),
        HavriliakNegami(20.0 * np.exp(-0.8 * x), 0.3, 0.85, 0.8),
    ]


def _log_normal(x: float) -> list[Element]:
    return [
        Resistor(10.0),
        normal(20.0 + 8.0 * x, 3e-5 * 2.0**x, 0.9),
        normal(30.0 - 12.0 * x, 4e-3, 1.1 + 0.2 * x),
        normal(25.0 * 1.5**x, 0.4, 1.0),
    ]


def _drift(x: float) -> list[Element]:
    """Two large processes that drift beside a small one."""
    return [
        Resistor(12.0 + x),
        Inductor(3e-7),
        ZARC(15.0, 2e-5, 0.9),
        ZARC(6.0 + 4.0 * x, 1.5e-3 * 2.0**x, 0.85),
        ZARC(30.0 - 14.0 * np.sin(2.5 * x), 0.08 * 4.0 ** (-x), 0.82),
    ]


def _jump(x: float) -> list[Element]:
    return [
        Resistor(10.0),
        ZARC(18.0 + 2.0 * x, 3e-5, 0.88),
        ZARC(12.0 if x < 0.5 else 24.0, 3e-3, 0.85),
        ZARC(30.0 - 4.0 * x, 0.3 * 1.3**x, 0.8),
    ]


def _steps(x: float) -> list[Element]:
    """Let a resistance jump by a factor 1.8, and later a time constant by 2.2."""
    return [
        Resistor(9.0),
        ZARC(14.0, 2e-5, 0.88),
        ZARC(25.0 * (1.0 if x < 0.35 else 1.8), 2e-3, 0.84),
        ZARC(40.0 - 8.0 * x, 0.2 * (1.0 if x < 0.66 else 2.2), 0.86),
    ]


def _gerischer(x: float) -> list[Element]:
    return [
        Resistor(2.0),
        ZARC(3.0 - x, 5e-5, 0.9),
        HavriliakNegami(8.0 + 5.0 * x, 0.05 * 2.0**x, 0.95, 0.5),
        FractalWarburg(4.0, 3.0 * 1.3**x, 0.45),
    ]


def _crossing(x: float) -> list[Element]:
    return [
        Resistor(5.0),
        ZARC(10.0, 1e-5, 0.9),
        ZARC(25.0, 1e-3 * 10.0 ** (2.0 * x), 0.9),
        ZARC(15.0, 1e-1 * 10.0 ** (-2.0 * x), 0.88),
    ]


def _thermal(celsius: float) -> list[Element]:
    bulk, interface, transfer = (arrhenius(ea, celsius) for ea in (33.0, 48.0, 62.0))
    return [
        Resistor(6.0 * arrhenius(28.0, celsius)),
        ZARC(20.0 * bulk, 8e-6 * bulk, 0.9),
        ZARC(30.0 * interface, 2e-3 * interface, 0.85),
        ZARC(60.0 * transfer, 0.15 * transfer, 0.82),
    ]


def _still(_: float) -> list[Element]:
    return [Resistor(10.0), ZARC(20.0, 2e-5, 0.88), ZARC(8.0, 2e-3, 0.85), ZARC(40.0, 0.2, 0.8)]


_DAY = spaced(0.0, 1.0, 24)
_STEPS = 1.25 ** np.array([0, 3, 9, 1, 5, 0, 12, 2, 8, 0, 4, 10, 1, 6, 0, 11, 3, 7, 2])
_UNEVEN = (0.0, *(np.cumsum(_STEPS) / _STEPS.sum()).tolist())
_ALL = CampaignDesign()
_DISCHARGE = partial(measured_campaign, _ALL, half("discharge"))

DEVELOPMENT = (
    Case("B cycle 1", partial(measured_campaign, _ALL, half("discharge", "B", 1), ("voltage",), None)),
    Case("C cycle 250", partial(measured_campaign, _ALL, half("discharge", "C", 250), ("voltage",), None)),
    Case("campaign voltage", partial(_DISCHARGE, ("voltage",), None)),
    Case("campaign cycle", partial(_DISCHARGE, ("cycle",), ("cell", "direction", "voltage"))),
    Case("campaign both", partial(_DISCHARGE, ("voltage", "cycle"), None)),
    Case("skewed", Sweep(skewed, _DAY).series),
    Case("log-normal", Sweep(_log_normal, _DAY, noise=ConstantNoise(0.003)).series),
    Case("jump", Sweep(_jump, _DAY, breaks=(12,)).series),
    Case("crossing", Sweep(_crossing, _DAY, noise=ProportionalNoise(0.003)).series),
    Case("temperature", Sweep(_thermal, spaced(0.0, 80.0, 17), "temperature", ProportionalNoise(0.003)).series),
    Case("still", Sweep(_still, _DAY, "time", ConstantNoise(0.003), still=True).series),
    Case("five", Sweep(_drift, spaced(0.0, 0.5, 5)).series),
    Case("half missing", thinned(Sweep(_drift, _DAY).series, 0.5)),
    Case("refused", Sweep(_drift, _DAY, refused=(3, 11, 12)).series),
    Case("uneven", Sweep(_drift, _UNEVEN).series),
    Case("outlying", Sweep(_drift, _DAY[:20], noise=Outliers(0.05, 0.08, ProportionalNoise(0.004))).series),
    Case("two steps", Sweep(_steps, spaced(0.0, 1.0, 36), "time", ConstantNoise(0.002), breaks=(13, 24)).series),
    Case(
        "gerischer",
        Sweep(_gerischer, spaced(0.0, 1.0, 22), "time", ProportionalNoise(0.002), (1e5, 1e-2, 8)).series,
    ),
)
"""Series that a method may be chosen on."""
