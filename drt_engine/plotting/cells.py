"""What the composite figure shows: which spectra of which cells, and the voltage curves that belong to them."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.plotting.look import current
from drt_engine.plotting.selection import Selection, listed, select
from drt_engine.result import Inversion
from drt_engine.spectra import Spectra
from drt_engine.text import count_of
from drt_engine.traces import Trace

__all__ = ["CellColumn", "Profile", "cell_title", "choose_cells", "matches", "with_curves"]

logger = logging.getLogger(__name__)

_MOST_CELLS = 3
"""Cells beside each other that remain legible in the width of two columns of a journal."""
_NEAR = 1e-3
"""Relative difference within which two values of a state are the same: voltages are often rounded to a millivolt."""


@dataclass(frozen=True, eq=False)
class CellColumn:
    """One cell of the composite figure.

    Attributes
    ----------
    title : str
        Its name.
    chosen : Selection
        Its spectra and their result; their time and number count from the beginning of what is shown.
    curve : DataFrame or None
        Its voltage curve, with ``charge`` in C.
    below : str
        Second line of the title.
    """

    title: str
    chosen: Selection
    curve: pd.DataFrame | None = None
    below: str = ""

    @property
    def spectra(self) -> Spectra:
        """Its spectra, with these states; figures number them again."""
        measured = self.chosen.measured
        return Spectra(measured.frequency, measured.impedance, self.chosen.states[list(measured.states.columns)])

    @property
    def result(self) -> Inversion:
        """Their result, with these states."""
        return replace(self.chosen.fitted, states=self.spectra.states)


def choose_cells(
    spectra: Spectra,
    result: Inversion,
    cells: Sequence[Any] | None,
    at: Mapping[str, Any] | None,
    shown: set[str],
    most: int = _MOST_CELLS,
) -> list[CellColumn]:
    """Choose the spectra of each cell.

    Parameters
    ----------
    spectra, result
        All there is.
    cells : sequence, optional
        Which cells; all by default.
    at : mapping, optional
        States that are fixed.
    shown : set of str
        States that the figure shows, which nothing is assumed of.
    most : int
        How many cells fit side by side.

    Raises
    ------
    UnknownNameError
        For a cell or a state that does not exist.
    InputError
        If nothing is left, and for more cells than fit side by side.
    """
    everything = select(spectra, result)
    states = everything.states
    assumed = _assumed(states, dict(at or {}), shown)
    fixed = dict(at or {}) | assumed
    kept = matches(states, fixed)
    if not kept.any():
        there = "; ".join(f"{name}: {listed(states[name].drop_duplicates().tolist())}" for name in fixed)
        raise InputError(
            f"at must choose at least one spectrum with a solution; got none with {fixed}. There are {there}."
        )
    # What was taken of several is said in the figure.
    told = {name: value for name, value in assumed.items() if (states[name] != value).any()}
    below = ", ".join(str(value) if name == "direction" else f"{name} {value:g}" for name, value in told.items())
    if "cell" not in states.columns:
        if cells is not None:
            raise UnknownNameError("state", "cell", map(str, states.columns))
        return [CellColumn("", select(spectra, result, everything.rows[kept]), below=below)]
    known = states["cell"][kept].drop_duplicates().tolist()
    if cells is None and len(known) > most:
        logger.warning("%d cells do not fit side by side: the first %d are drawn.", len(known), most)
        known = known[:most]
    names = known if cells is None else [cells] if isinstance(cells, str) else list(cells)
    for name in names:
        if name not in known:
            raise UnknownNameError("cell", name, map(str, known))
    if not 1 <= len(names) <= most:
        raise InputError(f"cells must be one to {most} that fit side by side; got {listed(names)}.")
    return [
        CellColumn(
            cell_title(name),
            select(spectra, result, everything.rows[kept & (states["cell"] == name).to_numpy()]),
            below=below,
        )
        for name in names
    ]


Profile = pd.DataFrame | Trace | Sequence[Trace]
"""Voltage curves as a table, or as a potentiostat recorded them."""


def with_curves(columns: Sequence[CellColumn], profile: Profile | None) -> list[CellColumn]:
    """Give each cell its voltage curve, and let time begin with what is shown.

    Raises
    ------
    InputError
        For a profile without voltage, or without rows of a cell.
    """
    curves: Any = profile
    if isinstance(profile, Trace):
        curves = profile.to_frame()
    elif isinstance(profile, list | tuple) and profile and all(isinstance(one, Trace) for one in profile):
        curves = pd.concat([one.to_frame() for one in profile], ignore_index=True)
    found = list(getattr(curves, "columns", ()))
    if curves is not None and "voltage" not in found:
        raise InputError(
            f"profile must be a DataFrame with a column 'voltage', V; got a {type(curves).__name__} with {found}."
        )
    return [_since_start(column, None if curves is None else _curve(column, curves)) for column in columns]


def _curve(column: CellColumn, profile: pd.DataFrame) -> pd.DataFrame:
    states = column.chosen.states
    shared = [name for name in ("cell", "cycle", "direction") if name in states.columns and name in profile.columns]
    own = {name: states[name].unique().tolist() for name in shared}
    part = profile[matches(profile, own)]
    if part.empty:
        raise InputError(f"profile must have rows that belong to the spectra; got none with {own}.")
    if "charge" not in part.columns and "capacity_mAh" in part.columns:
        part = part.assign(charge=part["capacity_mAh"] * 3.6)
    return part


_ON_THE_CURVE = ("charge", "specific_capacity", "time")


def _placed(states: pd.DataFrame, curve: pd.DataFrame | None) -> pd.DataFrame:
    """Place spectra of which only the voltage is known on the curve, where it first comes to that voltage."""
    offered = () if curve is None else [name for name in _ON_THE_CURVE if name in curve.columns]
    if curve is None or not offered or "voltage" not in states.columns:
        return states
    # A state that some files give and others do not places nothing: all stand by their voltage then.
    if any(name in states.columns and states[name].notna().all() for name in offered):
        return states
    name = offered[0]
    keys = [key for key in ("cycle", "direction") if key in states.columns and key in curve.columns]
    at = np.full(len(states), np.nan)
    for row, here in enumerate(states.to_dict("records")):
        part = curve[matches(curve, {key: here[key] for key in keys})].sort_values(name, kind="stable")
        at[row] = _where(part[name].to_numpy(dtype=float), part["voltage"].to_numpy(dtype=float), here["voltage"])
    off = np.flatnonzero(np.isnan(at) & states["voltage"].notna().to_numpy())
    if off.size:
        low, high = curve["voltage"].min(), curve["voltage"].max()
        logger.warning(
            "%s that the profile never comes to (%.3g to %.3g V), first %.3g V: drawn at its nearest point",
            *(
                count_of(off.size, "spectrum has a voltage", "spectra have voltages"),
                low,
                high,
                states["voltage"].iloc[off[0]],
            ),
        )
        voltages = curve["voltage"].to_numpy(dtype=float)
        for row in off.tolist():
            at[row] = curve[name].to_numpy(dtype=float)[np.argmin(np.abs(voltages - states["voltage"].iloc[row]))]
    return states.assign(**{name: at})


def _where(x: NDArray[np.float64], y: NDArray[np.float64], wanted: float) -> float:
    """Return where a curve first comes to a value, between its points; NaN where it never does."""
    if not y.size or not y.min() <= wanted <= y.max():
        return float("nan")
    side = np.sign(y - wanted)
    if side[0] == 0:
        return float(x[0])
    k = int(np.argmax(side != side[0]))
    share = (wanted - y[k - 1]) / (y[k] - y[k - 1])
    return float(x[k - 1] + share * (x[k] - x[k - 1]))


def _since_start(column: CellColumn, curve: pd.DataFrame | None) -> CellColumn:
    states = _placed(column.chosen.states, curve)
    if "spectrum" not in column.chosen.measured.states.columns:
        states = states.assign(spectrum=np.arange(len(states)))
    if "time" in states.columns:
        timed = curve if curve is not None and "time" in curve.columns else None
        start = states["time"].min() if timed is None else min(states["time"].min(), timed["time"].min())
        states = states.assign(time=states["time"] - start)
        curve = curve if timed is None else timed.assign(time=timed["time"] - start)
    return replace(column, chosen=replace(column.chosen, states=states), curve=curve)


def _assumed(states: pd.DataFrame, at: dict[str, Any], shown: set[str]) -> dict[str, Any]:
    """Choose the first cycle and the discharge, where neither the caller nor the figure says which."""
    for name in at:
        if name not in states.columns:
            raise UnknownNameError("state", name, map(str, states.columns))
    kept = states[matches(states, at)]
    open_ = {"cycle", "direction"} & set(states.columns) - set(at) - shown if len(kept) else set()
    # What has one value only tells nothing apart, though some spectra may not have it.
    open_ = {name for name in open_ if len(set(kept[name].dropna())) > 1}
    assumed: dict[str, Any] = {}
    if "cycle" in open_:
        assumed["cycle"] = kept["cycle"].min()
    if "direction" in open_ and (kept["direction"] == "discharge").any():
        assumed["direction"] = "discharge"
    for name, value in assumed.items():
        logger.info("%s is not fixed for the composite figure; taking %s", name, value)
    return assumed


def matches(states: pd.DataFrame, fixed: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Find the rows that have the values, or one of the values, that are requested."""
    found = np.ones(len(states), dtype=bool)
    for name, wanted in fixed.items():
        column = states[name]
        values = list(wanted) if isinstance(wanted, Iterable) and not isinstance(wanted, str) else [wanted]
        if pd.api.types.is_float_dtype(column):
            found &= _near(name, column.to_numpy(), values)
        else:
            found &= column.isin(values).to_numpy()
    return found


def _near(name: str, column: NDArray[np.float64], values: list[Any]) -> NDArray[np.bool_]:
    try:
        wanted = np.array(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(f"at must give numbers for the state {name!r}; got {values!r}.") from error
    return np.asarray(np.isclose(column[:, None], wanted, rtol=_NEAR, atol=0.0).any(axis=1))


def cell_title(name: Any) -> str:
    """Return what a cell is called in a figure."""
    names = current().cell_names
    if (wanted := names.get(name, names.get(str(name)))) is not None:
        return wanted
    return str(name) if str(name).lower().startswith("cell") else f"Cell {name}"
