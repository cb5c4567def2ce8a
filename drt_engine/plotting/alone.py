"""Distributions of spectra without a common state, drawn in a panel each."""

import logging

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from drt_engine.plotting.canvas import DOUBLE_COLUMN, decades, new_figure, style_axes
from drt_engine.plotting.look import current, in_ohms
from drt_engine.plotting.selection import Selection
from drt_engine.plotting.together import reached
from drt_engine.text import drawn

__all__ = ["each_alone"]

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

# Small panels on a page of two columns, as many as can still be read.
_ROWS, _COLUMNS = 5, 4
_WIDE = 24  # letters of a title that fits above a panel


def each_alone(chosen: Selection, state: str, tau: Array, values: Array) -> Figure:
    """Draw γ of up to 20 spectra, evenly spread over all, each in a panel and on a scale of its own.

    Parameters
    ----------
    chosen : Selection
        The spectra.
    state : str
        The state that numbers them.
    tau, values : ndarray, shapes (T,) and (K, T)
        Relaxation times, s, and γ, ohm.
    """
    some = np.unique(np.linspace(0, len(chosen) - 1, _ROWS * _COLUMNS).round().astype(int))
    logger.warning(
        "%d spectra have no state in common to be ordered by, and γ of most would look flat beside the largest: %d of "
        "them, evenly spread, are drawn in a panel each. --state names a state, --where chooses spectra, --kind "
        "heat-map draws all.",
        *(len(chosen), some.size),
    )
    figure = new_figure(DOUBLE_COLUMN, 1.2 * _ROWS)
    panels = figure.subplots(_ROWS, _COLUMNS, sharex=True)
    name = _name_of_kind(chosen.states)
    ends = reached(chosen.fitted)
    for axes, k in zip(panels.flat, some.tolist(), strict=False):
        inside = (tau >= ends[k, 0]) & (tau <= ends[k, 1])
        _draw(style_axes(axes), tau, values[k], inside, "S" if chosen.fitted.gamma_units == "S" else "Ω")
        number = f"{chosen.states[state].iloc[k]:g}"
        title = f"{state} {number}" if name is None else f"{number}: {chosen.states[name].iloc[k]}"
        axes.set_title(drawn(title if len(title) <= _WIDE else f"{title[: _WIDE - 1]}…"), fontsize="small")
    for axes in panels[-1]:
        decades(axes, chosen.fitted.tau_name.replace("τ", r"$\tau$ / s"))
        axes.xaxis.set_major_locator(LogLocator(numticks=4))
        axes.xaxis.set_minor_formatter(NullFormatter())
    for axes in panels.flat[some.size :]:
        axes.set_axis_off()
    return figure


def _draw(axes: Axes, tau: Array, line: Array, inside: NDArray[np.bool_], unit: str) -> None:
    """Draw a γ; grey, and not counted for the scale, beyond the relaxation times that the data reach to."""
    within = np.where(inside, line, np.nan)
    counted = within if np.isfinite(within).any() and not current().whole_tails else line
    axes.set_xscale("log")
    axes.plot(tau, line, color="0.7", lw=0.8)
    axes.plot(tau, within, color="#0072B2")
    low, top = min(0.0, float(np.nanmin(counted))), float(np.nanmax(counted))
    axes.set_ylim(1.05 * low - 0.02 * (top or 1.0), 1.1 * top or 1.0)
    axes.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    in_ohms({axes.yaxis: r"$\gamma$"}, max(top, -low), unit)


def _name_of_kind(states: pd.DataFrame) -> str | None:
    """Name the first state of text that several spectra have in common but not all: what kind each is of."""
    for name in map(str, states.columns):
        column = states[name]
        if name == "source" or pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
            continue
        if 1 < column.nunique() <= len(column) // 2:
            return name
    return None
