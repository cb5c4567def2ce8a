"""Nyquist plots whose arcs are not pressed flat by a blocking or an inductive tail."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from drt_engine.plotting.canvas import is_narrow
from drt_engine.plotting.look import current, ohms

__all__ = ["keep_arcs", "shown_sizes"]

_SQUASHED = 2.0  # times the arcs' size: a longer tail is cut off
_SHOWN = 0.35  # share of the arcs' size that is shown of it
_ROUGH = 0.02  # height over width of what is no arc
_NOISE = 1.03  # a fall by less is no end of an arc


def shown_sizes(impedance: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Return how far a Nyquist plot of each spectrum would reach without the tails that are cut, ohm, shape (K,)."""
    boxes = [_box(z.real, -z.imag)[0] for z in (row[np.isfinite(row)] for row in impedance)]
    return np.array([max(abs(box.x1), abs(box.y1)) for box in boxes])


def keep_arcs(axes: Axes, impedance: NDArray[np.complex128], ohms_of: NDArray[np.float64] | None = None) -> None:
    """Leave out of the limits of a Nyquist plot what would press its arcs flat, and say so in the plot.

    The blocking tail is where −Im Z rises all the way to the lowest frequency, after the last arc; the inductive one is
    where it is negative. Each is cut where it is more than twice as long as the arcs are wide or high. Where there are
    no arcs nothing is cut.

    Parameters
    ----------
    axes : Axes
        The plot, with all that is drawn in it; its ``dataLim`` becomes what is to be shown.
    impedance : ndarray of complex, shape (K, F)
        The spectra, frequencies descending.
    ohms_of : ndarray, shape (K,), optional
        How many ohms one is in each, if they are drawn in parts of something.
    """
    wanted = current().z_range
    if wanted is not None:
        low, high = (end if wish is None else wish for wish, end in zip(wanted, axes.dataLim.intervalx, strict=True))
        inside = impedance[(impedance.real >= low) & (impedance.real <= high)]
        y = -inside.imag if inside.size else axes.dataLim.intervaly
        top = min(float(np.max(y)), high - low)
        axes.dataLim.set_points(np.array([[low, max(min(0.0, float(np.min(y))), -0.3 * (high - low))], [high, top]]))
        return
    if current().whole_tails:
        return
    boxes, blocking, inductive = [], [], []
    for row, one in zip(impedance, np.ones(len(impedance)) if ohms_of is None else ohms_of, strict=True):
        z = row[np.isfinite(row)]
        if z.size:
            box, cut = _box(z.real, -z.imag)
            boxes.append(box)
            blocking += [one * abs(z[-1])] if cut[0] else []
            inductive += [one * float(np.max(z.imag))] if cut[1] else []
    if not (blocking or inductive):
        return
    shown = Bbox.union(boxes)
    # Room above for the words that say so.
    axes.dataLim.set_points(np.array([shown.min, [shown.x1, shown.y1 + 0.06 * max(shown.width, shown.height)]]))
    _say(axes, blocking, inductive)


def _box(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[Bbox, tuple[bool, bool]]:
    """Find what is to be shown of a spectrum, and whether a blocking and an inductive tail are cut."""
    start = _tail(y)
    body = slice(0, start + 1)
    above = y[body] >= 0
    whole = Bbox([[x.min(), y.min()], [x.max(), y.max()]])
    if above.sum() < 4:
        return whole, (False, False)
    width, height = float(np.ptp(x[body][above])), float(y[body].max())
    size = max(width, height)
    if not size > 0 or height < _ROUGH * width:
        return whole, (False, False)
    long = max(y[-1] - y[start], x[-1] - x[start])
    # An arc comes down again before the tail rises; without that it is the beginning of the tail.
    arc = height > 1.05 * y[start]
    blocked = start < y.size - 1 and arc and long > _SQUASHED * size
    induced = -float(y.min()) > _SQUASHED * height
    if not (blocked or induced):
        return whole, (False, False)
    left = x[body][above].min() if induced else x.min()
    right = x[body][above].max() + _SHOWN * size if blocked else x[y >= 0].max()
    top = height + _SHOWN * size if blocked else float(y.max())
    low = max(float(y.min()), -_SHOWN * height) if induced else float(y.min())
    return Bbox([[left, low], [min(right, x.max()), top]]), (blocked, induced)


def _tail(y: NDArray[np.float64]) -> int:
    """Find where −Im Z begins to rise up to its last point; noise of a few per cent does not end it."""
    start = y.size - 1
    while start > 0 and y[start - 1] < _NOISE * y[start]:
        start -= 1
    # That may have led a little way up the arc: the foot is the lowest point.
    return start + int(np.argmin(y[start:])) if start < y.size - 1 else start


def _say(axes: Axes, blocking: Sequence[float], inductive: Sequence[float]) -> None:
    words = []
    between = "\n" if is_narrow(axes) else " "
    for lengths, name in ((blocking, "blocking"), (inductive, "inductive")):
        if lengths:
            factor, unit = ohms(10.0 * max(lengths))
            length = max(lengths) * factor
            number = f"{length:.0f}" if length >= 100.0 else f"{length:.3g}"
            words.append(f"{name} tail, to {number} {unit},{between}not shown whole")
    axes.text(
        0.02, 0.98, "\n".join(words), transform=axes.transAxes, va="top", size=current().font_size - 2.0, color="0.35"
    ).set_in_layout(False)
