"""Spectra and results on several frequency grids, as one for a figure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.frames import per_area
from drt_engine.peaks import without_edges
from drt_engine.result import Inversion
from drt_engine.result_fields import PER_SPECTRUM
from drt_engine.spectra import Spectra, chosen_rows
from drt_engine.tracking import Tracks, track
from drt_engine.tracking.tracks import SERIES

__all__ = [
    "SeveralInversions",
    "SeveralSpectra",
    "gamma_bands",
    "one_result",
    "one_spectra",
    "processes_in",
    "reached",
    "results_per_area",
]

Array = NDArray[np.float64]

SeveralSpectra = Spectra | Sequence[Spectra]
"""Spectra on one frequency grid, or on one each."""

SeveralInversions = Inversion | Sequence[Inversion]
"""A result on one frequency grid, or on one each."""

# Relaxation times of a common axis; peaks have a decade and more, and a finer grid only costs memory.
_MOST_PER_DECADE = 40.0


@dataclass(frozen=True, eq=False, repr=False)
class _Gathered(Inversion):
    """Results on several frequency grids, for figures: each row is evaluated by the result that it is of.

    γ is NaN outside the relaxation times of that result, and the fit outside its frequencies. Coefficients are NaN:
    results on different grids have none in common.

    Attributes
    ----------
    parts : tuple of Inversion
        The results.
    part, row : ndarray of int, shape (K,)
        Which of them a spectrum is of, and its row there.
    """

    parts: tuple[Inversion, ...] = ()
    part: NDArray[np.intp] = None  # type: ignore[assignment]  # one_result gives it
    row: NDArray[np.intp] = None  # type: ignore[assignment]

    def __getitem__(self, rows: Any) -> "_Gathered":
        """Return the chosen spectra."""
        chosen = chosen_rows(len(self), rows)
        arrays: dict[str, Any] = {name: getattr(self, name)[chosen] for name in (*PER_SPECTRUM, "part", "row")}
        z = None if self.impedance is None else self.impedance[chosen]
        return replace(self, **arrays, impedance=z, states=self.states.iloc[chosen].reset_index(drop=True))

    @property
    def r_pol(self) -> Array:
        """Polarisation resistance, ohm, shape (K,)."""
        return np.asarray(self._of_parts(lambda one: one.r_pol, ()))

    def gamma_at(self, tau: ArrayLike, **state: float) -> Array:
        """γ, ohm, shape (K, T)."""
        at = np.atleast_1d(np.asarray(tau, dtype=float))

        def gamma(one: Inversion) -> Array:
            inside = (at >= one.tau[0] * (1.0 - 1e-9)) & (at <= one.tau[-1] * (1.0 + 1e-9))
            return np.where(inside, one.gamma_at(at, **state), np.nan)

        return np.asarray(self._of_parts(gamma, at.shape))

    def impedance_at(self, frequency: ArrayLike) -> NDArray[np.complex128]:
        """Impedance of the fit, ohm, shape (K, F')."""
        at = np.atleast_1d(np.asarray(frequency, dtype=float))

        def impedance(one: Inversion) -> Array:
            inside = (at >= one.frequency[-1] * (1.0 - 1e-9)) & (at <= one.frequency[0] * (1.0 + 1e-9))
            return np.asarray(np.where(inside, one.impedance_at(at), complex(np.nan, np.nan)))

        return np.asarray(self._of_parts(impedance, at.shape, complex))

    def bands(self, tau: Array) -> tuple[Array, Array, float] | None:
        """Return the ends of intervals of γ and their level, if all results keep some of one level."""
        found = [gamma_bands(one, tau) for one in self.parts]
        known = [one for one in found if one is not None]
        if len(known) < len(found) or len({level for _, _, level in known}) > 1:
            return None
        low, high = (np.concatenate([one[end] for one in known]) for end in (0, 1))
        first = np.cumsum([0, *(len(one) for one in self.parts)])
        at = first[self.part] + self.row
        return low[at], high[at], known[0][2]

    def scaled(self, area: Array) -> "_Gathered":
        """All times the areas of the spectra, cm²."""
        parts = []
        for number, one in enumerate(self.parts):
            own, here = np.ones(len(one)), self.part == number
            own[self.row[here]] = area[here]
            parts.append(per_area(one, own))
        whole = per_area(self, area)
        return replace(
            self, **{name: getattr(whole, name) for name in (*PER_SPECTRUM, "impedance")}, parts=tuple(parts)
        )

    def _of_parts(self, evaluated: Any, shape: tuple[int, ...], kind: type = float) -> Any:
        out: Any = np.full((len(self), *shape), np.nan, dtype=kind)
        for number, one in enumerate(self.parts):
            here = self.part == number
            if here.any():
                out[here] = evaluated(one[self.row[here]])
        return out


def one_spectra(spectra: SeveralSpectra) -> Spectra:
    """Return spectra on several frequency grids as one, on all frequencies of them, NaN where none were measured.

    Parameters
    ----------
    spectra : Spectra or sequence of Spectra
        One is returned as it is.

    Raises
    ------
    InputError
        For something else in a sequence.
    """
    if not isinstance(spectra, list | tuple):
        return spectra  # type: ignore[return-value]
    every: list[Spectra] = _checked(spectra, Spectra)
    if len(every) == 1:
        return every[0]
    frequency = _union([one.frequency for one in every])
    z = np.concatenate([_on(frequency, one.frequency, one.impedance) for one in every])
    return Spectra(frequency, z, pd.concat([one.states for one in every], ignore_index=True))


def one_result(result: SeveralInversions) -> Inversion:
    """Return results on several frequency grids as one that figures draw.

    Parameters
    ----------
    result : Inversion or sequence of Inversion
        One is returned as it is.

    Raises
    ------
    InputError
        For something else in a sequence.
    """
    if not isinstance(result, list | tuple):
        return result  # type: ignore[return-value]
    every: list[Inversion] = _checked(result, Inversion)
    if len(every) == 1:
        return every[0]
    frequency = _union([one.frequency for one in every])
    tau = _common_tau([one.tau for one in every])
    arrays: dict[str, Any] = {name: np.concatenate([getattr(one, name) for one in every]) for name in PER_SPECTRUM[1:]}
    rows = arrays["status"].size
    known = all(one.impedance is not None for one in every)
    return _Gathered(
        **arrays,
        frequency=frequency,
        expansion=replace(every[0].expansion, tau=tau),
        coefficients=np.full((rows, tau.size), np.nan),
        states=pd.concat([one.states for one in every], ignore_index=True),
        method=every[0].method,
        impedance=np.concatenate([_on(frequency, one.frequency, one.impedance) for one in every]) if known else None,
        parts=tuple(every),
        part=np.repeat(np.arange(len(every)), [len(one) for one in every]),
        row=np.concatenate([np.arange(len(one)) for one in every]),
    )


def results_per_area(result: Inversion, area: Array | None) -> Inversion:
    """Multiply a result by areas, cm², whether it is of one grid or of several."""
    return result.scaled(area) if isinstance(result, _Gathered) and area is not None else per_area(result, area)


def gamma_bands(result: Inversion, tau: Array) -> tuple[Array, Array, float] | None:
    """Return intervals of γ, monotone between the points where they are known; None where the result has none.

    Parameters
    ----------
    result : Inversion
        The result.
    tau : ndarray, shape (T,)
        Relaxation times, s.

    Returns
    -------
    tuple or None
        Lower and upper ends, shape (K, T) each, ohm, NaN outside the relaxation times of the result; and their level.
    """
    if isinstance(result, _Gathered):
        return result.bands(tau)
    found = result.intervals
    if found is None:
        return None
    known = np.log(result.tau)
    at = np.clip(np.log(tau), known[0], known[-1])
    outside = (tau < result.tau[0] * (1.0 - 1e-9)) | (tau > result.tau[-1] * (1.0 + 1e-9))
    # Intervals of a misfit are withheld.
    given = np.isfinite(found.gamma_low).all(axis=1) & np.isfinite(found.gamma_high).all(axis=1)
    low, high = np.full((2, len(result), tau.size), np.nan)
    for out, end in ((low, found.gamma_low), (high, found.gamma_high)):
        out[given] = PchipInterpolator(known, end[given], axis=1)(at)
        out[:, outside] = np.nan
    return low, high, found.level


def processes_in(result: Inversion, along: str, series: Sequence[str] = SERIES) -> Tracks:
    """Follow the peaks of a result along a state.

    Parameters
    ----------
    result : Inversion
        The result, of one grid or as :func:`one_result` returns it.
    along : str
        State of numbers.
    series : sequence of str
        States that distinguish series, as far as the table has them.

    Returns
    -------
    Tracks
        Their spectra are the rows of the result.

    Raises
    ------
    UnknownNameError
        For a state that does not exist.
    InputError
        For one that no process can be followed along, and where there are no peaks.
    """
    if along not in result.states.columns:
        raise UnknownNameError("state", along, map(str, result.states.columns))
    found = []
    for number, one in enumerate(result.parts if isinstance(result, _Gathered) else (result,)):
        here = np.flatnonzero(result.part == number) if isinstance(result, _Gathered) else np.arange(len(result))
        own = one[result.row[here]] if isinstance(result, _Gathered) else one
        peaks = own.peaks()
        found.append(peaks.assign(spectrum=here[peaks["spectrum"].to_numpy(dtype=int)]))
    every = pd.concat([one for one in found if len(one)] or found[:1], ignore_index=True)
    every = without_edges(every[every["r"] > 0.0])
    if every.empty:
        raise InputError("there are no peaks to follow in these spectra. Look at γ itself.")
    return track(every, along, [name for name in series if name in result.states.columns], states=result.states)


def reached(result: Inversion) -> Array:
    """Return the shortest and longest relaxation time that the data of each spectrum reach, 1/ω, s, shape (K, 2)."""
    if isinstance(result, _Gathered):
        ends = np.array([reached(one[:1])[0] for one in result.parts])
        return np.asarray(ends[result.part])
    return np.tile(1.0 / (2.0 * np.pi * result.frequency[[0, -1]]), (len(result), 1))


def _checked(several: Sequence[Any], kind: type) -> Any:
    if not several or any(not isinstance(one, kind) for one in several):
        names = ", ".join(sorted({type(one).__name__ for one in several})) or "nothing"
        raise InputError(f"expected {kind.__name__}, or a list of them on different frequencies; got {names}.")
    return list(several)


def _union(grids: Sequence[Array]) -> Array:
    return np.unique(np.concatenate(grids))[::-1]


def _on(grid: Array, own: Array, values: Any) -> NDArray[np.complex128]:
    """Return values at frequencies of a grid, shape (K, F), NaN at the others."""
    out = np.full((len(values), grid.size), complex(np.nan, np.nan))
    out[:, np.searchsorted(-grid, -own)] = values
    return out


def _common_tau(grids: Sequence[Array]) -> Array:
    """Relaxation times that cover all of some grids, as close together as in the finest of them."""
    low, high = min(grid[0] for grid in grids), max(grid[-1] for grid in grids)
    finest = max((grid.size - 1) / np.log10(grid[-1] / grid[0]) for grid in grids)
    steps = int(np.ceil(min(finest, _MOST_PER_DECADE) * np.log10(high / low)))
    tau = np.geomspace(low, high, steps + 1)
    tau[[0, -1]] = low, high
    return tau
