"""Marks at whole decades of frequency in a Nyquist plot."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray

from drt_engine.plotting.canvas import figure_of
from drt_engine.plotting.colours import Paint
from drt_engine.plotting.look import current
from drt_engine.plotting.selection import Selection

__all__ = ["mark_decades"]

# Ways from a point to its label, as multiples of the outward normal, in the order in which they are tried.
_WAYS = (1.0, 1j, -1j, -1.0)
# Points (1/72 inch) from a mark to its label: beside it, or where that is taken, one line further.
_DISTANCES = (4.0, 9.0)


def mark_decades(axes: Axes, frequency: NDArray[np.float64], chosen: Selection, colours: Paint) -> None:
    """Mark whole decades of frequency, and label those of a single spectrum that there is room for.

    Parameters
    ----------
    axes : Axes
        The Nyquist plot, at its final size.
    frequency : ndarray, shape (F,)
        Measured frequencies, Hz, descending.
    chosen : Selection
        The spectra drawn.
    colours : Paint
        Their colours.
    """
    top, bottom = np.log10(frequency[[0, -1]])
    decade = 10.0 ** np.arange(math.floor(top + 1e-9), math.ceil(bottom - 1e-9) - 1, -1)
    z = _impedance_at(decade, frequency, chosen)
    for values, colour in zip(z, colours.rgba, strict=True):
        axes.plot(values.real, -values.imag, "o", color=colour, mew=0.6, zorder=2.2)
    if len(chosen) == 1:
        _label(axes, decade, z[0], _impedance_at(frequency, frequency, chosen)[0])


def _impedance_at(at: NDArray[np.float64], frequency: NDArray[np.float64], chosen: Selection) -> NDArray[np.complex128]:
    """Fitted impedance, or else the measured one between its points."""
    if chosen.result is not None:
        return chosen.result.impedance_at(at)
    x, z = np.log(frequency[::-1]), chosen.measured.impedance[:, ::-1]
    return np.array([np.interp(np.log(at), x[good], row[good]) for row, good in zip(z, np.isfinite(z), strict=True)])


def _label(axes: Axes, decade: NDArray[np.float64], z: NDArray[np.complex128], curve: NDArray[np.complex128]) -> None:
    """Label marks where the text covers neither the curve, nor another label, nor leaves the plot."""
    box = axes.bbox
    unit = (axes.get_xlim()[1] - axes.get_xlim()[0]) / (box.width / figure_of(axes).dpi * 72.0)
    corner = complex(axes.get_xlim()[0], axes.get_ylim()[0])
    edge = (complex(axes.get_xlim()[1], axes.get_ylim()[1]) - corner) / unit
    # Everything in points from here, with −Im Z upwards.
    marks, line = ((np.conj(values) - corner) / unit for values in (z, curve))
    taken: list[tuple[float, float, float, float]] = []
    name, size = EngFormatter("Hz"), current().font_size - 2.0
    for f, mark in zip(decade, marks, strict=True):
        text = name(float(f))
        half = complex(0.31 * size * len(text), 0.5 * size)
        near = int(np.argmin(np.abs(line - mark)))
        along = line[min(near + 1, line.size - 1)] - line[max(near - 1, 0)]
        outward = 1j * along / abs(along) if abs(along) > 0 else 1j
        for way, distance in ((way, distance) for distance in _DISTANCES for way in _WAYS):
            centre = _beside(complex(mark), outward * way, distance, half)
            frame = (centre.real - half.real, centre.imag - half.imag, centre.real + half.real, centre.imag + half.imag)
            if _free(frame, line, taken, edge):
                taken.append(frame)
                offset = centre - mark
                axes.annotate(
                    text,
                    (float(mark.real * unit + corner.real), float(mark.imag * unit + corner.imag)),
                    (offset.real, offset.imag),
                    textcoords="offset points",
                    fontsize=size,
                    ha="center",
                    va="center",
                )
                break


def _beside(mark: complex, way: complex, distance: float, half: complex) -> complex:
    """Centre of a box of the given half size that begins at a distance from a mark."""
    reach = min(half.real / max(abs(way.real), 1e-9), half.imag / max(abs(way.imag), 1e-9))
    return mark + way * (distance + reach)


def _free(
    frame: tuple[float, float, float, float],
    line: NDArray[np.complex128],
    taken: list[tuple[float, float, float, float]],
    edge: complex,
) -> bool:
    left, low, right, high = frame
    if left < 2 or low < 2 or right > edge.real - 2 or high > edge.imag - 2:
        return False
    if np.any((line.real > left - 2) & (line.real < right + 2) & (line.imag > low - 2) & (line.imag < high + 2)):
        return False
    return all(left > other[2] + 2 or right < other[0] - 2 or low > other[3] or high < other[1] for other in taken)
