"""Nyquist plots whose two axes have the same scale and the same ticks."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import Locator
from numpy.typing import NDArray

from drt_engine.plotting.canvas import arrange, figure_of
from drt_engine.plotting.look import current, decimals, in_ohms, ohms

__all__ = ["OF_EACH", "EqualTicks", "fill", "frame"]

OF_EACH = "of each"
"""Mark of plots in which each spectrum is drawn in parts of its own size."""


def frame(panels: Sequence[Axes], lowest: float = 0.4, highest: float = 1.0) -> float:
    """Give Nyquist plots the same limits around all that is drawn in them, with equal aspect and equal ticks.

    Parameters
    ----------
    panels : sequence of Axes
        The plots.
    lowest, highest : float
        Bounds on height over width; where the data is flatter or steeper, room is added at the top or on the right.

    Returns
    -------
    float
        Height over width.
    """
    low, high = _around(panels)
    ratio = float(np.clip((high[1] - low[1]) / (high[0] - low[0]), lowest, highest))
    largest = float(np.max(np.abs([low, high])))
    for panel in panels:
        _set_limits(panel, low, high, ratio)
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(EqualTicks(panel))
        in_ohms({panel.xaxis: "Re $Z$", panel.yaxis: "−Im $Z$"}, largest)
        if panel.get_gid() == OF_EACH:
            panel.set_xlabel(r"Re $Z$ / $Z_\mathrm{max}$ of each")
            panel.set_ylabel(r"−Im $Z$ / $Z_\mathrm{max}$")
        panel.set_aspect("equal", adjustable="box")
    return ratio


def fill(panels: Sequence[Axes]) -> None:
    """Widen the limits of Nyquist plots until, with equal aspect, they fill the places that they have.

    A plot that is shrunk to its aspect leaves room empty, and a constrained layout would deal it out anew whenever the
    figure is drawn.
    """
    low, high = _around(panels)
    for panel in panels:
        panel.set_aspect("auto")
    # New limits may bring other tick labels, which take other room: hence twice, if they do.
    for _ in range(2):
        arrange(figure_of(panels[0]))
        before = _tick_labels(panels)
        for panel in panels:
            place = panel.get_position(original=True).size * figure_of(panel).get_size_inches()
            _set_limits(panel, low, high, place[1] / place[0])
        if _tick_labels(panels) == before:
            break
    for panel in panels:
        panel.set_aspect("equal", adjustable="box")


def _tick_labels(panels: Sequence[Axes]) -> list[str]:
    axes = (axis for panel in panels for axis in (panel.xaxis, panel.yaxis))
    return [label.get_text() for axis in axes for label in axis.get_ticklabels()]


def _around(panels: Sequence[Axes]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower left and upper right corner of all that is drawn, and of zero where that is near, with a margin."""
    boxes = np.array([panel.dataLim.extents for panel in panels])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    low = np.array([0.0 if 0.0 < low[0] < high[0] / 3 else low[0], min(low[1], 0.0)])
    pad = 0.04 * float(max(high - low)) or 1.0
    return low - pad, high + pad


def _set_limits(panel: Axes, low: NDArray[np.float64], high: NDArray[np.float64], ratio: float) -> None:
    width, height = high - low
    panel.set_xlim(low[0], low[0] + max(width, height / ratio))
    panel.set_ylim(low[1], low[1] + max(height, width * ratio))


class EqualTicks(Locator):
    """Ticks at multiples of a step that both axes share, as far apart as the labels of the abscissa need.

    The step stays while the limits do, within a tenth: labels that come and go with the room that they leave would keep
    a layout from settling.

    Parameters
    ----------
    axes : Axes
        A Nyquist plot with its limits.
    """

    def __init__(self, axes: Axes) -> None:
        self._width = _width(axes)
        self._step = _step(axes)

    def __call__(self) -> list[float]:
        """Ticks between the limits."""
        # A locator that asks for ticks has an axis, which its type says only of locators that are set.
        low, high = self.axis.get_view_interval()  # type: ignore[union-attr]
        return self.tick_values(low, high)

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Multiples of the step between two values."""
        # As above.
        axes = self.axis.axes  # type: ignore[union-attr]
        if not 0.9 < _width(axes) / self._width < 1.1:
            self._width, self._step = _width(axes), _step(axes)
        step, low, high = self._step, min(vmin, vmax), max(vmin, vmax)
        return [step * k for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _width(axes: Axes) -> float:
    return float(np.ptp(axes.get_xlim()))


def _step(axes: Axes) -> float:
    left, right = sorted(axes.get_xlim())
    inch = (right - left) / (axes.bbox.width / figure_of(axes).dpi)
    power = 10.0 ** (math.floor(math.log10(inch)) - 1)
    steps = [factor * power * ten for ten in (1.0, 10.0, 100.0) for factor in (1.0, 2.0, 2.5, 5.0)]
    longest, step = max(abs(left), abs(right)), steps[-1]
    factor, _ = ohms(longest)
    for space in (0.12, 0.03):
        step = next(
            (step for step in steps if step >= inch * (space + _label_width(longest * factor, step * factor))),
            steps[-1],
        )
        # A flat plot gets closer ticks rather than a single one on its ordinate.
        if step < 0.7 * float(np.ptp(axes.get_ylim())):
            break
    return step


def _label_width(number: float, step: float) -> float:
    """Width of the label of a tick, inches."""
    return 0.062 / 7.0 * (current().font_size - 1.0) * len(f"{number:.{decimals(step)}f}")
