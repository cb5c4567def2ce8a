"""Figures of tracked processes: their R, τ and C over a state, and two cells before and after ageing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Unpack

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.frames import areas
from drt_engine.plotting.canvas import DOUBLE_COLUMN, SINGLE_COLUMN, legend_above, new_figure, style_axes
from drt_engine.plotting.cells import CellColumn, Profile, cell_title, choose_cells, matches, with_curves
from drt_engine.plotting.colours import NAMED, ColourScale, Paint, finish_bar, paint
from drt_engine.plotting.in_situ import Below, CompositeView, draw_columns, shared_scale
from drt_engine.plotting.look import LookOptions, areas_applied, current, in_ohms, styled
from drt_engine.plotting.selection import Selection, display_factor, display_label, listed
from drt_engine.plotting.small_panels import UNDETERMINED, few_places, scale_ordinate
from drt_engine.plotting.together import SeveralInversions, SeveralSpectra, one_result, one_spectra, processes_in
from drt_engine.plotting.traces import MARKERS, checked_tracks, keys_below
from drt_engine.text import drawn
from drt_engine.tracking import Tracks, change

__all__ = ["ageing", "processes"]

Quantity = Literal["r", "tau", "c"]

_LABELS = {"r": "$R$", "tau": r"$\tau$ / s", "c": "$C$ / F"}
_MOST = 6  # processes that fit side by side
_FEW = 6  # processes; the marks of more are smaller
_MANY = 60  # states; with more, lines are thin and ticks few
_WIDE_NAME = 12  # letters; a longer name takes two lines
_ROW, _MARGIN = 1.15, 0.9  # heights in inches
_GREY = "0.7"
_STYLES = {"charge": "--", "rest": ":"}
_CHANGES = {"r": "Change of $R$ / %", "tau": r"Change of $\tau$ / %"}


@styled
def processes(
    tracks: Tracks,
    state: str | None = None,
    *,
    names: Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    colour: str | ColourScale | None = None,
    quantities: Sequence[Quantity] = ("r", "tau", "c"),
    **options: Unpack[LookOptions],
) -> Figure:
    """Small multiples: resistance, time constant and capacitance of each process over a state.

    A column of panels belongs to a process, a row to a quantity. Points that differ in `state` alone are joined; the
    line is dashed on charge. Cells that the colour does not tell apart have markers of their own. Markers are open
    where the peak holds another process too. Standard errors are drawn where the tracks have columns ``r_error``,
    ``tau_error`` or ``c_error``, as bars, or as a band if there are many. Axes are scaled by the values: an error that
    is larger than they are runs out of the panel. An observation whose R is less than twice its standard error is
    grey, and counts for no scale: there may be no such process; see `undetermined` of :class:`Look`.

    Parameters
    ----------
    tracks : Tracks
        Processes that were followed.
    state : str, optional
        State on the abscissa, of numbers; by default the one that was tracked along. ``"cycle"`` shows the ageing.
    names : sequence of str, optional
        Processes, from left to right, at most six; by default the six seen most often, in the order of τ.
    at : mapping of str to value or list of values, optional
        Which observations, by their states; numbers with a fraction need to agree within 0.1 %.
    colour : str or ColourScale, optional
        State to colour by; by default the first of cycle, cell and the tracked one that is not `state` and varies.
    quantities : sequence of {"r", "tau", "c"}
        Rows, from top to bottom.
    **options
        Units and sizes, as :class:`Look` takes them.

    Returns
    -------
    Figure
        Two columns of a journal wide, one for up to two processes; its first Axes are the panels, row by row.

    Raises
    ------
    InputError
        If nothing is left to draw, for more than six processes, and for a state without numbers.
    UnknownNameError
        For a state, a process or a quantity that does not exist.
    """
    state, keys = _state_and_others(tracks, state)
    for quantity in quantities:
        if quantity not in _LABELS:
            raise UnknownNameError("quantity", quantity, _LABELS)
    table, shown = _observations(tracks, names, at, (state, keys))
    table = _known(_per_area(table))
    if not pd.api.types.is_numeric_dtype(table[state]):
        raise InputError(f"state must be one of numbers; {state!r} holds {table[state].iloc[0]!r}.")
    colour = _colour(table, state, tracks) if colour is None else colour
    colours = _painted(table, colour)
    told = {state, colour.state if isinstance(colour, ColourScale) else colour}
    table = table.assign(_marker=_markers(table, told))
    width = DOUBLE_COLUMN if len(shown) > 2 else SINGLE_COLUMN
    figure = new_figure(width, _MARGIN + _ROW * len(quantities))
    panels = figure.subplots(len(quantities), len(shown), squeeze=False, sharex=True)
    for axes, (quantity, name) in zip(panels.flat, ((q, n) for q in quantities for n in shown), strict=True):
        part = (table["process"] == name).to_numpy()
        _draw_trajectories(
            style_axes(axes), table[part], None if colours is None else colours.rgba[part], quantity, (state, keys)
        )
    for axes, name in zip(panels[0], shown, strict=True):
        axes.set_title(drawn(name) if len(name) < _WIDE_NAME else drawn(name).replace(" ", "\n"))
    for row, quantity in zip(panels, quantities, strict=True):
        _scale_row(row, quantity)
    for axes in panels[-1]:
        axes.set_xlabel(display_label(state))
        axes.xaxis.set_major_locator(few_places(table[state].to_numpy(dtype=float) * display_factor(state), len(shown)))
    figure.align_ylabels(list(panels[:, 0]))
    _explain(figure, panels.ravel().tolist(), table, colours)
    return figure


def _state_and_others(tracks: Tracks, state: str | None) -> tuple[str, list[str]]:
    """Return the state on the abscissa, and the other states of the observations."""
    states = [*checked_tracks(tracks).series, tracks.along]
    state = tracks.along if state is None else state
    if state not in states:
        raise UnknownNameError("state", state, states)
    return state, [name for name in states if name != state]


@styled
def ageing(
    spectra: SeveralSpectra,
    result: SeveralInversions,
    tracks: Tracks | None = None,
    profile: Profile | None = None,
    *,
    at: Mapping[str, Any] | None = None,
    cycles: tuple[int, int] | None = None,
    view: CompositeView | Literal["waterfall", "heat map"] = "waterfall",
    **options: Unpack[LookOptions],
) -> Figure:
    """Two cells before and after ageing: voltage profile, Nyquist plots and DRT, and the change of each process.

    The first columns show the cells at the earlier cycle, the next ones at the later one, all on the same scales, with
    the tracked processes drawn into the DRT. Below, for each process, is by how many per cent its resistance and its
    time constant changed: the median over the states of :func:`drt_engine.tracking.change`, with a line between its
    quartiles, for the six processes seen most often. States where the peak holds other processes than before are left
    out, and a process that is nowhere comparable has a dash.

    Parameters
    ----------
    spectra : Spectra or sequence of Spectra
        Measured spectra, on one frequency grid or on several, whose rows count through.
    result : Inversion or sequence of Inversion
        Their result.
    tracks : Tracks, optional
        Processes that were followed along the state that evolves; their spectra are the rows of `result`. By default
        the peaks are followed along the voltage.
    profile : DataFrame, Trace or sequence of Trace, optional
        Voltage curves, as of :func:`composite`.
    at : mapping of str to value or list of values, optional
        Which spectra, by their states, as of :func:`composite`: ``{"cell": ["B", "C"], "direction": "charge"}``. By
        default all cells, or the first two, and the discharge if there is one.
    cycles : pair of int, optional
        The earlier and the later cycle; by default the first and the last that all these cells have.
    view : CompositeView, "waterfall" or "heat map"
        How the DRT is drawn.
    **options
        Limits, units and sizes, as :class:`Look` takes them.

    Returns
    -------
    Figure
        Two columns of a journal wide; its first Axes are the panels of three rows, the colour bars follow, then the
        panels of changes.

    Raises
    ------
    InputError
        For states without cycle, for fewer than two cycles that all cells have, where more than two cells are
        requested, and where :func:`composite` does.
    UnknownNameError
        For a state that does not exist, and for tracks whose series are not told apart by cycle.
    """
    view = view if isinstance(view, CompositeView) else CompositeView(view)
    fitted = one_result(result)
    tracks = processes_in(fitted, "voltage") if tracks is None else checked_tracks(tracks)
    state = tracks.along
    measured = one_spectra(spectra)
    discharged = "direction" in measured.states and (measured.states["direction"] == "discharge").any()
    fixed: dict[str, Any] = {"direction": "discharge"} if discharged else {}
    fixed |= dict(at or {})
    cells = fixed.pop("cell", None)
    first, last = _cycles(measured.states, cycles, fixed, cells)
    columns: list[CellColumn] = []
    for cycle in (first, last):
        chosen = choose_cells(measured, fitted, cells, fixed | {"cycle": cycle}, {state, view.along or state}, 2)
        if cells is None and "cell" in measured.states:
            cells = [one.chosen.states["cell"].iloc[0] for one in chosen]
        columns += [replace(one, below=f"cycle {cycle}") for one in with_curves(chosen, profile)]
    shown = fixed if cells is None else fixed | {"cell": cells}
    part = replace(tracks, table=tracks.table[matches(tracks.table, _here(shown, tracks))])
    changes = change(part.only(_most_seen(tracks, part.table)), "cycle", (first, last))
    below = Below(lambda figure, grid, count: _draw_changes(figure, grid, count, changes), 0.85)
    with areas_applied():
        return draw_columns(columns, shared_scale(columns, state, view.colour_map), view, tracks, below)


def _scale_row(row: Sequence[Axes], quantity: Quantity) -> None:
    """Scale and label the panels of a quantity."""
    row[0].set_ylabel(_LABELS[quantity] if quantity != "c" or current().per_area is False else "$C$ / F cm⁻²")
    for axes in row:
        scale_ordinate(axes, logarithmic=quantity != "r")
    if quantity == "r":
        # One unit for all panels: they are read against each other, and only the first is labelled.
        in_ohms([(axes.yaxis, "$R$") for axes in row], max(axes.get_ylim()[1] for axes in row))
        for axes in row[1:]:
            axes.set_ylabel("")


def _per_area(table: pd.DataFrame) -> pd.DataFrame:
    by = areas(table, current().per_area)
    if by is None:
        return table
    factors = {"r": by, "r_error": by, "c": 1.0 / by, "c_error": 1.0 / by}
    return table.assign(**{name: table[name] * factor for name, factor in factors.items() if name in table.columns})


def _known(table: pd.DataFrame) -> pd.DataFrame:
    """Mark observations that are not determined in a column, or leave them out."""
    undetermined = np.zeros(len(table), dtype=bool)
    if "r_error" in table.columns and current().undetermined != "show":
        undetermined = (table["r_error"] > 0.5 * table["r"]).to_numpy()
    if current().undetermined == "hide":
        if undetermined.all():
            raise InputError(
                "no observation of a process is determined: R is less than twice its standard error in all."
            )
        table, undetermined = table[~undetermined].reset_index(drop=True), undetermined[~undetermined]
    return table.assign(_undetermined=undetermined)


def _here(fixed: Mapping[str, Any], tracks: Tracks) -> dict[str, Any]:
    return {name: value for name, value in fixed.items() if name in tracks.table.columns}


def _cycles(
    states: pd.DataFrame, cycles: tuple[int, int] | None, fixed: Mapping[str, Any], cells: Any
) -> tuple[Any, Any]:
    """Return the cycles that are compared: by default the first and the last that all drawn cells have."""
    if "cycle" not in states:
        raise InputError(
            "states must have the column 'cycle' to compare before and after ageing; got the columns "
            f"{', '.join(map(str, states.columns)) or 'none'}."
        )
    if cycles is not None:
        if len(cycles) != 2:
            raise InputError(f"cycles must be the earlier and the later one; got {cycles!r}.")
        return cycles[0], cycles[1]
    there = states[matches(states, {name: value for name, value in fixed.items() if name in states.columns})]
    known = set(there["cycle"].dropna())
    if "cell" in there:
        names = there["cell"].unique()[:2] if cells is None else [cells] if isinstance(cells, str) else cells
        common = set.intersection(known, *(set(there["cycle"][there["cell"] == name]) for name in names))
        known = common or known
    known = known or set(states["cycle"])
    if len(known) < 2:
        raise InputError(
            f"a comparison of cycles needs two that all its cells have; got {_cycles_of(there)}. Import what is "
            "missing, or name cells that have two cycles."
        )
    return min(known), max(known)


def _cycles_of(states: pd.DataFrame) -> str:
    """Say which cycles there are of each cell."""
    if "cell" not in states:
        return listed(map(float, sorted(states["cycle"].dropna().unique())))
    return "; ".join(
        f"{listed(map(float, sorted(own['cycle'].dropna().unique())))} of cell {name!s}"
        for name, own in states.groupby("cell", sort=False)
    )


def _observations(
    tracks: Tracks, names: Sequence[str] | None, at: Mapping[str, Any] | None, axis: tuple[str, list[str]]
) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows to draw, with the rank of their state in their course, and the processes."""
    for name in names or ():
        if name not in tracks.names:
            raise UnknownNameError("process", name, tracks.names)
    for name in at or {}:
        if name not in tracks.table.columns:
            raise UnknownNameError("state", name, map(str, tracks.table.columns))
    table = tracks.table[matches(tracks.table, dict(at or {}))]
    shown = _most_seen(tracks, table) if names is None else list(names)
    state, keys = axis
    if pd.api.types.is_numeric_dtype(table[state]):
        groups = table.groupby(keys, observed=True)[state] if keys else table[state]
        table = table.assign(_rank=groups.rank(method="dense"))
    table = table[table["process"].isin(shown)].reset_index(drop=True)
    if table.empty:
        raise InputError(
            f"there must be an observation to draw; got none of {shown or 'any process'} at {dict(at or {})}."
        )
    if not 1 <= len(shown) <= _MOST:
        raise InputError(f"names must be one to {_MOST} processes that fit side by side; got {len(shown)}.")
    return table, shown


def _most_seen(tracks: Tracks, table: pd.DataFrame) -> list[str]:
    """Return the processes with most observations, no more than fit, in the order of τ."""
    counts = table["process"].value_counts()
    most = counts[counts > 0].index[:_MOST].tolist()
    return [name for name in tracks.names if name in most]


def _colour(table: pd.DataFrame, state: str, tracks: Tracks) -> str | None:
    for name in ("cycle", "cell", tracks.along, *tracks.series):
        if name != state and name in table.columns and len(set(table[name])) > 1 and name != "direction":
            return name
    return None


def _painted(table: pd.DataFrame, colour: str | ColourScale | None) -> Paint | None:
    """Return the colours of the rows, if there is something to colour by, with cells named as elsewhere."""
    if not colour:
        return None
    colours = paint(Selection(np.arange(len(table)), table, None, None), colour)
    if "cell" in (colour, getattr(colour, "state", None)):
        for key in colours.handles:
            key.set_label(cell_title(key.get_label()))
    return colours


def _markers(table: pd.DataFrame, told: set[str | None]) -> "pd.Series[Any]":
    """Return a marker for each row: one a cell, unless something else distinguishes cells."""
    cells = sorted(set(table["cell"]), key=str) if "cell" in table.columns and "cell" not in told else []
    marker = {cell: MARKERS[k % len(MARKERS)] for k, cell in enumerate(cells)}
    return table["cell"].map(marker) if cells else pd.Series(MARKERS[0], index=table.index)


def _draw_trajectories(axes: Axes, table: pd.DataFrame, rgba: Any, quantity: str, axis: tuple[str, list[str]]) -> None:
    """Draw the courses of one quantity of one process; `axis` is the state drawn over, and what they differ in."""
    state, keys = axis
    table = table.reset_index(drop=True)
    error = f"{quantity}_error" if f"{quantity}_error" in table.columns else None
    trajectories = [part for _, part in table.groupby(keys, sort=True, observed=True)] if keys else [table]
    size = 2.2 if len(trajectories) <= _FEW else 1.5
    size = size if len(table) <= _MANY * len(trajectories) else 1.0
    for trajectory in trajectories:
        part = trajectory.sort_values(state, kind="stable")
        colour = NAMED[0] if rgba is None else rgba[part.index[0]]
        x = part[state].to_numpy(dtype=float) * display_factor(state)
        y = part[quantity].to_numpy()
        dashes = _STYLES.get(str(part["direction"].iloc[0]), "-") if "direction" in part else "-"
        # a line is broken where the process was not found at a state in between
        breaks = np.flatnonzero(np.diff(part["_rank"].to_numpy()) > 1.5) + 1
        sure = np.where(part["_undetermined"].to_numpy(), np.nan, y)
        line = np.insert(x, breaks, np.nan), np.insert(sure, breaks, np.nan)
        # where points scatter, a line between each and the next would hide where they gather
        axes.plot(*line, color=colour, lw=0.7 if len(part) <= _MANY else 0.2, ls=dashes, zorder=2.0)
        held, marker = (part["merged_with"] != "").to_numpy(), part["_marker"].iloc[0]
        undetermined = part["_undetermined"].to_numpy()
        looks = (
            (~held & ~undetermined, colour, colour),
            (held & ~undetermined, "white", colour),
            (undetermined, "0.8", _GREY),
        )
        for which, face, edge in looks:
            style: dict[str, Any] = {"marker": marker, "ms": size, "mfc": face, "mec": edge, "mew": 0.5}
            (points,) = axes.plot(x[which], y[which], ls="none", zorder=2.2, **style)
            if which is undetermined:
                points.set_gid(UNDETERMINED)
        if error is not None:
            sure = np.where(undetermined, np.nan, part[error].to_numpy(dtype=float))
            _draw_errors(axes, (x, y, sure), colour)


def _draw_errors(axes: Axes, values: tuple[Any, Any, Any], colour: Any) -> None:
    """Draw standard errors: bars, or a band where there are too many bars to be distinguished."""
    x, y, error = values
    if len(x) <= _MANY:
        axes.errorbar(x, y, yerr=error, fmt="none", ecolor=colour, elinewidth=0.5, zorder=1.9)
    else:
        axes.fill_between(x, np.maximum(y - error, 1e-3 * y), y + error, color=colour, alpha=0.2, lw=0.0, zorder=1.8)


def _explain(figure: Figure, panels: list[Axes], table: pd.DataFrame, colours: Paint | None) -> None:
    """Explain colours, dashes and open markers."""
    grey: dict[str, Any] = {"color": "0.35", "lw": 0.7}
    keys: list[Artist] = list(colours.handles) if colours is not None else []
    if "direction" in table and len(set(table["direction"])) > 1:
        keys += [
            Line2D([], [], ls=_STYLES.get(str(name), "-"), label=drawn(str(name)), **grey)
            for name in sorted(set(table["direction"]))
        ]
    known = dict(zip(table["cell"], table["_marker"], strict=True)) if "cell" in table else {}
    if len(set(known.values())) > 1:
        keys += [
            Line2D([], [], ls="none", marker=known[cell], ms=2.6, color="0.35", label=drawn(cell_title(cell)))
            for cell in sorted(known, key=str)
        ]
    if table["_undetermined"].any():
        style = {"marker": "o", "ms": 2.6, "mfc": "0.8", "mec": _GREY, "mew": 0.5}
        keys.append(Line2D([], [], ls="none", label="not determined", **(grey | style)))
    if (table["merged_with"] != "").any():
        style = {"marker": "o", "ms": 2.6, "mfc": "white", "mew": 0.5}
        keys.append(Line2D([], [], ls="none", label="holds another process", **(grey | style)))
    keys_below(figure, keys)
    if colours is not None and colours.mappable is not None:
        bar = figure.colorbar(colours.mappable, ax=panels, pad=0.01, fraction=0.03, aspect=40)
        finish_bar(bar, colours.label, whole=colours.whole)


def _draw_changes(figure: Figure, grid: GridSpec, count: int, changes: pd.DataFrame) -> list[Axes]:
    """Draw bars of the change of R and of τ, one group a process and one bar a cell."""
    half = max(1, count // 2)
    panels = [figure.add_subplot(grid[-1, :half]), figure.add_subplot(grid[-1, half : max(count, half + 1)])]
    names = list(dict.fromkeys(changes["process"]))
    cells = list(dict.fromkeys(changes["cell"])) if "cell" in changes else [None]
    width = 0.8 / len(cells)
    for axes, (quantity, label) in zip(panels, _CHANGES.items(), strict=True):
        axes.axhline(0.0, color="0.5", lw=0.5, zorder=1.0)
        for k, cell in enumerate(cells):
            part = changes if cell is None else changes[changes["cell"] == cell]
            part = part.drop_duplicates("process").set_index("process").reindex(names)
            x = np.arange(len(names)) + (k - 0.5 * (len(cells) - 1)) * width
            _draw_bars(axes, x, part, (quantity, 0.9 * width, NAMED[k]))
        axes.margins(y=0.18)
        axes.set_ylabel(label)
        axes.set_xlim(-0.6, len(names) - 0.4)
        axes.xaxis.set_major_locator(FixedLocator(list(range(len(names)))))
        axes.set_xticklabels([drawn(name).replace(" ", "\n") for name in names])
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    if len(cells) > 1:
        keys = [Patch(color=NAMED[k], label=drawn(cell_title(cell))) for k, cell in enumerate(cells)]
        legend_above(panels[0], keys)
    return panels


def _draw_bars(axes: Axes, x: Any, part: pd.DataFrame, style: tuple[str, float, str]) -> None:
    """Draw bars with their quartiles and, if there is room, numbers; a dash where nothing could be compared."""
    quantity, width, colour = style
    y, low, high = (part[quantity + end].to_numpy(dtype=float) for end in ("", "_low", "_high"))
    axes.bar(x, y, width, color=colour, zorder=2.0)
    axes.errorbar(x, y, yerr=np.abs(np.stack([low - y, high - y])), fmt="none", ecolor="black", elinewidth=0.6)
    if len(x) <= _MOST:
        for at, middle, ends in zip(x, y, np.stack([low, high], axis=1), strict=True):
            known = np.isfinite(middle)
            top = max(0.0, float(ends[1])) if not known or middle >= 0 else min(0.0, float(ends[0]))
            axes.annotate(
                _signed(middle) if known else "–",
                (at, top if known else 0.0),
                (0.0, 1.5 if not known or middle >= 0 else -1.5),
                textcoords="offset points",
                ha="center",
                va="bottom" if not known or middle >= 0 else "top",
                fontsize=current().font_size - 2.0,
            )


def _signed(value: float) -> str:
    whole = round(value)
    return f"{whole:+d}".replace("-", "−") if whole else "0"
