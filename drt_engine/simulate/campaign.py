"""An in situ campaign of simulated all-solid-state cells, with everything about it that a measurement does not know."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from drt_engine.checks import is_real
from drt_engine.errors import InputError
from drt_engine.simulate.cells import (
    BARE,
    COATED,
    LAST_CYCLE,
    PROCESSES,
    WINDOW,
    Cell,
    HalfCycles,
    process_parameters,
    series_parameters,
)
from drt_engine.simulate.checks import is_whole, relaxation_times
from drt_engine.simulate.closed_forms import zarc_gamma, zarc_impedance
from drt_engine.simulate.distributed import ZARC
from drt_engine.simulate.elements import Circuit, Inductor, Resistor
from drt_engine.simulate.noise import Noise, ProportionalNoise
from drt_engine.spectra import MIN_POINTS, Spectra

__all__ = ["Campaign", "CampaignDesign", "campaign"]

_BLOCK = 512  # spectra at once: temporary arrays stay in the cache, and memory is that of the result
_PROFILE_POINTS = 251
"""Points of a half cycle of the voltage profile, 11 mV apart at most in the widest window."""
_DIRECTIONS = np.array(["discharge", "charge"], dtype=object)


@dataclass(frozen=True)
class CampaignDesign:
    """What a campaign measures.

    Parameters
    ----------
    cells : tuple of Cell
        The cells, with distinct names.
    cycles : tuple of int
        Cycles with EIS, ascending, within 1 to 5000; the charge before the discharge of each.
    voltages : int
        How many voltages along each charge and each discharge, evenly spaced over the window, both ends included;
        at least 2.
    window : tuple of float
        Lower and upper end of the voltage, V, within 2.0 to 4.8.
    frequencies : int
        How many frequencies, evenly spaced in their logarithm, at least 5.
    frequency_range : tuple of float
        Highest and lowest frequency, Hz.
    noise : Noise or None
        Noise that is added to the impedances; None for exact ones.
    seed : int
        Of the noise, the only thing that is random.
    current : float
        Constant current of charge and discharge, A.
    temperature : float
        °C; it is only written into the states.
    area : float
        Of the cells, cm²; it is only written into the states.

    Raises
    ------
    InputError
        For values outside these ranges.
    """

    cells: tuple[Cell, ...] = (BARE, COATED)
    cycles: tuple[int, ...] = (1, *range(50, 501, 50))
    voltages: int = 24
    window: tuple[float, float] = (2.2, 4.7)
    frequencies: int = 61
    frequency_range: tuple[float, float] = (1e6, 1e-2)
    noise: Noise | None = field(default_factory=ProportionalNoise)
    seed: int = 0
    current: float = 1e-3
    temperature: float = 30.0
    area: float = 0.785

    def __post_init__(self) -> None:
        """Refuse a design that cannot be measured."""
        for name in ("cells", "cycles", "window", "frequency_range"):
            object.__setattr__(self, name, _tuple(name, getattr(self, name)))
        names = [getattr(cell, "name", None) for cell in self.cells]
        _require(bool(names) and None not in names, "cells must be one or more Cell", self.cells)
        _require(len(set(names)) == len(names), "cells must have distinct names", names)
        _require(
            bool(self.cycles) and all(map(is_whole, self.cycles)) and list(self.cycles) == sorted(set(self.cycles)),
            "cycles must be whole numbers that ascend",
            self.cycles,
        )
        _require(
            1 <= self.cycles[0] <= self.cycles[-1] <= LAST_CYCLE,
            f"cycles must be within 1 to {LAST_CYCLE}, which the model is made for",
            self.cycles,
        )
        _require(is_whole(self.voltages) and self.voltages >= 2, "voltages must be a number, at least 2", self.voltages)
        _require(
            is_whole(self.frequencies) and self.frequencies >= MIN_POINTS,
            f"frequencies must be a number, at least {MIN_POINTS}",
            self.frequencies,
        )
        self._check_ranges()

    def _check_ranges(self) -> None:
        low, high = _pair("window", self.window)
        _require(
            WINDOW[0] <= low < high <= WINDOW[1],
            f"window must ascend within {WINDOW[0]} to {WINDOW[1]} V, which the model is made for",
            self.window,
        )
        top, bottom = _pair("frequency_range", self.frequency_range)
        _require(0 < bottom < top, "frequency_range must be the highest and the lowest frequency in Hz", (top, bottom))
        _require(self.noise is None or isinstance(self.noise, Noise), "noise must be a noise model or None", self.noise)
        _require(is_whole(self.seed) and self.seed >= 0, "seed must be a whole number, not negative", self.seed)
        for name in ("current", "area"):
            _require(
                is_real(getattr(self, name)) and getattr(self, name) > 0,
                f"{name} must be positive",
                getattr(self, name),
            )
        _require(is_real(self.temperature), "temperature must be a number in °C", self.temperature)

    def __len__(self) -> int:
        """K, how many spectra it makes."""
        return len(self.cells) * len(self.cycles) * 2 * self.voltages

    @property
    def frequency(self) -> NDArray[np.float64]:
        """Frequencies, Hz, descending, shape (F,)."""
        return np.geomspace(*self.frequency_range, self.frequencies)

    @property
    def eis_voltage(self) -> NDArray[np.float64]:
        """Voltages of the spectra of a charge, V, ascending; those of a discharge are the same, descending."""
        return np.linspace(*self.window, self.voltages)


@dataclass(frozen=True, eq=False)
class Campaign:
    """A simulated campaign and its truth, in the order cell, cycle, charge before discharge, time.

    Attributes
    ----------
    design : CampaignDesign
        What was asked for.
    spectra : Spectra
        K noisy spectra with the states ``cell``, ``cycle``, ``voltage`` (V), ``direction`` ("charge" or "discharge"),
        ``time`` (s under current since the beginning of the cell's first charge), ``current`` (A, positive on charge),
        ``charge`` (C passed since the beginning of this charge or discharge, not negative), ``temperature`` (°C) and
        ``area`` (cm²).
    r_inf, inductance : ndarray, shape (K,)
        True values, ohm and H.
    r, tau, phi : ndarray, shape (K, 5)
        True parameters of the processes, ZARC elements in the order of `process_names`: ohm, s, 1.
    """

    design: CampaignDesign
    spectra: Spectra
    r_inf: NDArray[np.float64] = field(repr=False)
    inductance: NDArray[np.float64] = field(repr=False)
    r: NDArray[np.float64] = field(repr=False)
    tau: NDArray[np.float64] = field(repr=False)
    phi: NDArray[np.float64] = field(repr=False)

    @property
    def process_names(self) -> tuple[str, ...]:
        """Names of the processes, in the order of their relaxation times."""
        return PROCESSES

    @property
    def r_pol(self) -> NDArray[np.float64]:
        """True polarisation resistance, ohm, shape (K,)."""
        return np.asarray(self.r.sum(axis=1))

    @property
    def processes(self) -> pd.DataFrame:
        """True parameters as a table, one row for a spectrum and process.

        Its columns are ``spectrum`` (row of `spectra`), ``process``, ``r`` (ohm), ``tau`` (s) and ``phi``.
        """
        count = len(self.spectra)
        kind = pd.CategoricalDtype(list(PROCESSES), ordered=True)
        names = pd.Categorical.from_codes(list(range(len(PROCESSES))) * count, dtype=kind)
        return pd.DataFrame(
            {
                "spectrum": np.repeat(np.arange(count), len(PROCESSES)),
                "process": names,
                "r": self.r.ravel(),
                "tau": self.tau.ravel(),
                "phi": self.phi.ravel(),
            }
        )

    @property
    def profile(self) -> pd.DataFrame:
        """The galvanostatic voltage curves, fine enough for a plot, and with the points where EIS was taken among them.

        Its columns are ``cell``, ``cycle``, ``direction``, ``time`` (s), ``current`` (A), ``charge`` (C),
        ``capacity_mAh`` (the same as `charge`, in mAh) and ``voltage`` (V), with the meaning they have in the states;
        rows of one charge or discharge stand together, in order of time.
        """
        eis, fine = self.design.eis_voltage, np.linspace(*self.design.window, _PROFILE_POINTS)
        voltage = np.union1d(eis, fine[~np.isclose(fine[:, None], eis).any(axis=1)])
        states = _states(self.design, _half_cycles(self.design), voltage)
        states["capacity_mAh"] = states["charge"] / 3.6
        columns = ("cell", "cycle", "direction", "time", "current", "charge", "capacity_mAh", "voltage")
        return pd.DataFrame({column: states[column] for column in columns})

    def gamma(self, tau: ArrayLike, rows: Any = slice(None)) -> NDArray[np.float64]:
        """Exact γ(ln τ) of the spectra, ohm per unit of natural logarithm.

        Parameters
        ----------
        tau : array_like, shape (T,)
            Relaxation times, s, positive.
        rows : slice, or array_like of int or bool
            Row numbers, a slice, or a boolean for each spectrum; by default all.

        Returns
        -------
        ndarray, shape (K, T)
            γ, ohm.

        Raises
        ------
        InputError
            For relaxation times that are not positive and finite, or not in one row.
        """
        where = relaxation_times(tau)
        r, tau_0, phi = (np.atleast_2d(values[rows]) for values in (self.r, self.tau, self.phi))
        total = np.zeros((r.shape[0], where.size))
        for p in range(len(PROCESSES)):
            total += zarc_gamma(where, r[:, [p]], tau_0[:, [p]], phi[:, [p]])
        return total

    def circuit(self, row: int) -> Circuit:
        """Return the circuit behind one spectrum.

        Parameters
        ----------
        row : int
            Row number of the spectrum.

        Returns
        -------
        Circuit
            Resistor, inductor and the five ZARC elements, in series.
        """
        zarcs = (
            ZARC(float(r), float(tau), float(phi))
            for r, tau, phi in zip(self.r[row], self.tau[row], self.phi[row], strict=True)
        )
        return Circuit([Resistor(float(self.r_inf[row])), Inductor(float(self.inductance[row])), *zarcs])


def campaign(design: CampaignDesign | None = None) -> Campaign:
    """Simulate an in situ campaign: EIS along charge and discharge of ageing cells.

    By default two all-solid-state cells with a bare (B) and a coated (C) Li-rich cathode, at 24 voltages along charge
    and 24 along discharge between 2.2 and 4.7 V, at cycle 1 and then every 50 up to cycle 500: 1056 spectra of 61
    frequencies from 1 MHz to 10 mHz, with noise of 0.2 % of the modulus.

    Parameters
    ----------
    design : CampaignDesign, optional
        Cells, cycles, voltages and frequencies; by default the design above.

    Returns
    -------
    Campaign
        The spectra, their states, and the truth behind them; the same for the same design.

    Raises
    ------
    InputError
        For something else than a design.

    Examples
    --------
    >>> small = campaign(CampaignDesign(cycles=(1, 500), voltages=6))
    >>> len(small.spectra)
    48
    """
    design = CampaignDesign() if design is None else design
    if not isinstance(design, CampaignDesign):
        raise InputError(
            f"design must be a CampaignDesign; got {design!r}. Give for example CampaignDesign(voltages=6)."
        )
    halves = _half_cycles(design)
    states = _states(design, halves, design.eis_voltage)
    each = np.repeat(np.arange(len(halves)), design.voltages)
    index, cycle = halves.cell[each], halves.cycle[each].astype(float)
    r_inf, inductance = series_parameters(design.cells, index, cycle)
    r, tau, phi = process_parameters(design.cells, index, cycle, states["voltage"], halves.charging[each])
    truth = r_inf, inductance, r, tau, phi
    for values in truth:
        values.flags.writeable = False
    return Campaign(design, Spectra(design.frequency, _impedance(design, truth), states), *truth)


def _impedance(design: CampaignDesign, truth: Sequence[NDArray[np.float64]]) -> NDArray[np.complex128]:
    """Impedances with noise, ohm, shape (K, F), computed a block of spectra at a time to save memory."""
    omega = 2 * np.pi * design.frequency
    rng = np.random.default_rng(design.seed)
    z = np.empty((len(design), omega.size), dtype=complex)
    for first in range(0, len(design), _BLOCK):
        block = slice(first, first + _BLOCK)
        r_inf, inductance, r, tau, phi = (values[block] for values in truth)
        exact = r_inf[:, None] + 1j * omega * inductance[:, None]
        for p in range(len(PROCESSES)):
            exact += zarc_impedance(omega, r[:, [p]], tau[:, [p]], phi[:, [p]])
        z[block] = exact if design.noise is None else design.noise.add(exact, rng)
    return z


def _half_cycles(design: CampaignDesign) -> HalfCycles:
    return HalfCycles(design.cells, design.cycles, design.current, design.window)


def _states(design: CampaignDesign, halves: HalfCycles, voltage: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """States at the ascending voltages on each half cycle, in order of time."""
    charging = halves.charging[:, None]
    charge = halves.charge_at(voltage)
    # a discharge comes down from the top
    charge = np.where(charging, charge, charge[:, ::-1])
    each = np.repeat(np.arange(len(halves)), voltage.size)
    names = np.array([cell.name for cell in design.cells], dtype=object)
    return {
        "cell": names[halves.cell[each]],
        "cycle": halves.cycle[each],
        "voltage": np.where(charging, voltage, voltage[::-1]).ravel(),
        "direction": _DIRECTIONS[halves.charging[each].astype(int)],
        "time": (halves.start[:, None] + charge / design.current).ravel(),
        "current": np.where(halves.charging[each], design.current, -design.current),
        "charge": charge.ravel(),
        "temperature": np.full(each.size, float(design.temperature)),
        "area": np.full(each.size, float(design.area)),
    }


def _tuple(name: str, values: Any) -> tuple[Any, ...]:
    try:
        return tuple(values)
    except TypeError as error:
        raise InputError(f"{name} must be a sequence; got {values!r}.") from error


def _pair(name: str, values: tuple[Any, ...]) -> tuple[float, float]:
    _require(len(values) == 2 and all(map(is_real, values)), f"{name} must be two finite numbers", values)
    return values[0], values[1]


def _require(fulfilled: bool, expected: str, got: object) -> None:
    if not fulfilled:
        raise InputError(f"{expected}; got {got!r}.")
