"""Peaks put in order: series, states along each, and the peaks at each state."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.peaks import without_edges

__all__ = ["Observations", "observe"]

Ints = NDArray[np.intp]
Floats = NDArray[np.float64]

_WORST = 1.0
"""Largest standard deviation of a logarithm: larger ones carry no more information."""


@dataclass(frozen=True, eq=False)
class Observations:
    """Peaks in the order of series, state and relaxation time.

    A frame is one state of one series, whether it has peaks or not. N peaks, F frames, S series.

    Attributes
    ----------
    table : DataFrame
        The peaks, N rows in this order, with all their columns.
    x : ndarray, shape (N, 2)
        ln(τ / s) and ln(R / ohm).
    variance : ndarray, shape (N, 2)
        What their standard errors say of them, squared; 0 where the table has no errors.
    frame : ndarray of int, shape (N,)
        Frame of each peak.
    series : ndarray of int, shape (F,)
        Series of each frame.
    place : ndarray, shape (F,)
        Value of the state along the series.
    spectrum : ndarray of int, shape (F,)
        Spectrum of each frame.
    keys : DataFrame
        The series columns of each series, S rows.
    along : str
        Name of the state along the series.
    """

    table: pd.DataFrame
    x: Floats
    variance: Floats
    frame: Ints
    series: Ints
    place: Floats
    spectrum: NDArray[np.int64]
    keys: pd.DataFrame
    along: str

    def __len__(self) -> int:
        """N, the number of peaks."""
        return int(self.frame.size)

    @property
    def first(self) -> Ints:
        """First frame of each series and, last, the number of frames, shape (S + 1,)."""
        return np.searchsorted(self.series, np.arange(len(self.keys) + 1))

    @property
    def steps(self) -> Floats:
        """Value of the state of each frame over the median distance of neighbouring states, shape (F,)."""
        apart = np.diff(self.place)[np.diff(self.series) == 0]
        return np.asarray(self.place / (float(np.median(apart)) if apart.size else 1.0))


def observe(peaks: pd.DataFrame, along: str, series: Sequence[str], states: pd.DataFrame | None) -> Observations:
    """Put peaks in order.

    Parameters
    ----------
    peaks : DataFrame
        One row a peak, with ``spectrum``, ``tau`` (s), ``r`` (ohm), the states and, where they are known, the standard
        errors ``tau_error`` and ``r_error``.
    along : str
        State that each series is ordered by, numbers.
    series : sequence of str
        States that distinguish the series; those that are missing, and `along`, are left out.
    states : DataFrame, optional
        States of all spectra, one row each, so that spectra without a peak count as well.

    Raises
    ------
    InputError
        If columns are missing, for values that are not finite or not positive, and for a state that occurs twice in a
        series.
    UnknownNameError
        For a state that does not exist.
    """
    checked = _checked(peaks, along)
    names = [name for name in dict.fromkeys(series) if name != along and name in checked.columns]
    frames = _frames(peaks, along, names, states)
    keys = frames[names].drop_duplicates().sort_values(names, kind="stable") if names else pd.DataFrame(index=[0])
    keys = keys.reset_index(drop=True)
    number = frames.merge(keys.assign(_series=np.arange(len(keys))), on=names)["_series"] if names else 0
    frames = frames.assign(_series=number).sort_values(["_series", along], kind="stable", ignore_index=True)
    _refuse_repeats(frames, along, names)
    spectrum = frames["spectrum"].to_numpy(dtype=np.int64)
    where = pd.Series(np.arange(len(frames)), index=spectrum)
    frame = where.reindex(checked["spectrum"].to_numpy()).to_numpy()
    order = np.lexsort((checked["tau"].to_numpy(dtype=float), frame))
    table = checked.iloc[order].reset_index(drop=True)
    return Observations(
        table,
        np.log(table[["tau", "r"]].to_numpy(dtype=float)),
        _variance(table),
        frame[order].astype(np.intp),
        frames["_series"].to_numpy(dtype=np.intp),
        frames[along].to_numpy(dtype=float),
        spectrum,
        keys,
        along,
    )


def _checked(peaks: pd.DataFrame, along: str) -> pd.DataFrame:
    if not isinstance(peaks, pd.DataFrame):
        raise InputError(f"peaks must be a DataFrame with one row a peak; got {type(peaks).__name__}.")
    missing = [name for name in ("spectrum", "tau", "r") if name not in peaks.columns]
    if missing:
        raise InputError(f"peaks must have the columns 'spectrum', 'tau' and 'r'; {missing} are missing.")
    if along not in peaks.columns:
        raise UnknownNameError("state", along, map(str, peaks.columns))
    whole, peaks = peaks, without_edges(peaks)
    if peaks.empty:
        beyond = f"; got {len(whole)} rows of what lies beyond the data" if len(whole) else "; got none"
        raise InputError(f"peaks must have at least one row that is a peak{beyond}.")
    for name, unit in (("tau", "s"), ("r", "ohm")):
        values = pd.to_numeric(peaks[name], errors="coerce").to_numpy(dtype=float)
        bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
        if bad.size:
            got = peaks[name].iloc[int(bad[0])]
            raise InputError(
                f"{name} of peaks must be positive and finite, in {unit}; got {got!r} in row {bad[0]}. Drop that row."
            )
    return peaks if "c" in peaks.columns else peaks.assign(c=peaks["tau"] / peaks["r"])


def _variance(table: pd.DataFrame) -> Floats:
    """Variances of ln τ and ln R by the columns of errors, shape (N, 2)."""
    variance = np.zeros((len(table), 2))
    for d, name in enumerate(("tau", "r")):
        if f"{name}_error" in table:
            error = pd.to_numeric(table[f"{name}_error"], errors="coerce").to_numpy(dtype=float)
            relative = error / table[name].to_numpy(dtype=float)
            # where other errors are known, one that is missing belongs to what the data do not determine
            unknown = _WORST if np.isfinite(relative).any() else 0.0
            variance[:, d] = np.where(np.isfinite(relative), np.minimum(relative, _WORST), unknown) ** 2
    return variance


def _frames(peaks: pd.DataFrame, along: str, names: list[str], states: pd.DataFrame | None) -> pd.DataFrame:
    """Return one row a spectrum with its states."""
    columns = list(dict.fromkeys(["spectrum", along, *names]))
    if states is None:
        frames = peaks[columns].drop_duplicates("spectrum").reset_index(drop=True)
    else:
        known = states if "spectrum" in states.columns else states.assign(spectrum=np.arange(len(states)))
        absent = [name for name in columns if name not in known.columns]
        if absent:
            raise UnknownNameError("state", absent[0], map(str, known.columns))
        frames = known[columns].reset_index(drop=True)
        strange = peaks.loc[~peaks["spectrum"].isin(frames["spectrum"]), "spectrum"]
        if len(strange):
            raise InputError(
                f"states must have a row for each spectrum of peaks; none for spectrum {strange.iloc[0]}, there are "
                f"{len(frames)}. Give the states of the spectra that were inverted."
            )
    if not pd.api.types.is_numeric_dtype(frames[along]):
        raise InputError(f"along must name a state of numbers; {along!r} holds {frames[along].iloc[0]!r}.")
    gone = frames.isna().any(axis=1).to_numpy()
    if gone.any():
        raise InputError(
            f"the states {columns[1:]} must have values in every spectrum; missing in {int(gone.sum())}, first in "
            f"spectrum {frames['spectrum'].iloc[int(np.argmax(gone))]}. Leave those spectra out."
        )
    return frames


def _refuse_repeats(frames: pd.DataFrame, along: str, names: list[str]) -> None:
    again = frames.duplicated(["_series", along])
    if again.any():
        row = frames[again].iloc[0]
        there = ", ".join(f"{name} {row[name]}" for name in names) or "the only series"
        raise InputError(
            f"each value of {along!r} must occur once in a series; {row[along]:g} occurs again in {there}. Name the "
            "states that distinguish these spectra in series."
        )
