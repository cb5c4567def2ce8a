"""Scales and ticks of small panels."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, Locator, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

__all__ = ["UNDETERMINED", "few_places", "scale_ordinate"]

UNDETERMINED = "undetermined"
"""Mark of lines of observations that count for no scale."""

# Panels side by side from which on each has room for three labels only.
_NARROW = 4


def few_places(values: NDArray[np.float64], panels: int) -> Locator:
    """Return ticks at the values of a state if they are few and far apart, and otherwise at round numbers.

    Parameters
    ----------
    values : ndarray
        What is drawn over, in the unit of the label.
    panels : int
        How many panels stand side by side.
    """
    # labels of three figures touch where panels are narrow
    most = 4 if panels < _NARROW else 3
    known = np.unique(values)
    if known.size == 1 or np.diff(known).min() >= np.ptp(known) / most:
        return FixedLocator(known.tolist())
    return MaxNLocator(most, steps=[1, 1.5, 2, 2.5, 5, 10])


def scale_ordinate(axes: Axes, *, logarithmic: bool) -> None:
    """Scale an ordinate by the lines that are drawn: from zero, or by logarithms over a factor four at least.

    Parameters
    ----------
    axes : Axes
        The panel.
    logarithmic : bool
        Which of them.
    """
    lines = axes.get_lines()
    # Grey is what is not determined: it may be anywhere.
    certain = [line for line in lines if line.get_gid() != UNDETERMINED] or lines
    drawn = [np.asarray(line.get_ydata(), dtype=float) for line in certain]
    values = np.concatenate([np.empty(0), *drawn])
    values = values[values > 0]
    if not values.size:
        axes.set_yticks([])
        return
    low, high = float(values.min()), float(values.max())
    if not logarithmic:
        axes.set_ylim(0.0, 1.08 * high)
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        return
    wider = max(1.2, math.sqrt(4.0 * low / high))
    low, high = low / wider, high * wider
    # limits first: where all values are one, matplotlib finds none of its own and warns
    axes.set_ylim(low, high)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator(_few_ticks(low, high)))
    axes.yaxis.set_major_formatter(FuncFormatter(_power))
    axes.yaxis.set_minor_locator(LogLocator(subs=tuple(np.arange(1.0, 10.0)), numticks=99))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _few_ticks(low: float, high: float) -> list[float]:
    """Two to five round numbers of a logarithmic axis."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for figures in ((1.0, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 2.0, 5.0), (1.0,)):
        ticks = [figure * 10.0**power for power in powers for figure in figures]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= 5:
            return ticks
    return ticks[:: -(-len(ticks) // 5)]


def _power(value: float, _: Any = None) -> str:
    """Write a number as a figure times a power of ten."""
    if value <= 0 or 0.01 <= value < 1e3:
        return f"{value:g}"
    power = math.floor(math.log10(value) + 1e-9)
    figure = f"{value / 10.0**power:.2g}"
    return rf"$10^{{{power}}}$" if figure == "1" else rf"${figure}\!\times\!10^{{{power}}}$"
