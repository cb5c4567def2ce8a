"""What the views are made of: curves, maps reduced to pixels, and figures on which a click is a row."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from bokeh.events import Tap
from bokeh.models import ColumnDataSource, Glyph, PlainText, Title
from bokeh.plotting import figure
from numpy.typing import NDArray

from drt_engine.explore.session import Line, Session
from drt_engine.spectra import Spectra
from drt_engine.text import visible

if TYPE_CHECKING:
    from drt_engine.result import Inversion
    from drt_engine.validation import Validation

__all__ = ["COLOURS", "ClickedFigure", "Curve", "curves_of", "gamma_image", "units_of", "validity_image"]

Array = NDArray[Any]

COLOURS = {"a": "#0072B2", "b": "#D55E00", "new": "#009E73"}
"""Of the selections, and of what was inverted again."""

_PINS = ("#CC79A7", "#E69F00", "#56B4E9", "#777777")
# Of a map, which is drawn about 250 pixels high: more would not be seen, and are sent to the page each time.
_PIXELS = 240
# What distances are divided by where a quantity is the same for all places: any number, since the distances are zero.
_SPAN = 1.0


@dataclass(frozen=True, eq=False)
class Curve:
    """One spectrum as it is drawn.

    Attributes
    ----------
    role : {"a", "b", "new", "pin"}
        What it is.
    label : str
        Its name.
    colour, dash : str
        How it is drawn.
    row : int
        Number of the spectrum.
    spectra : Spectra
        The one spectrum.
    result : Inversion or None
        Its solution.
    """

    role: str
    label: str
    colour: str
    dash: str
    row: int
    spectra: Spectra
    result: "Inversion | None"


def curves_of(session: Session) -> list[Curve]:
    """Return what is drawn of single spectra: pins below, A and B, and what was inverted again above them."""
    found = []
    for number, row in enumerate(session.pins):
        colour = _PINS[number % len(_PINS)]
        one = session.one(row)
        found.append(Curve("pin", session.named(row), colour, "solid", row, one.spectra, one.result))
    sides = [("b", session.b), ("a", session.a)]
    for side, chosen in sides:
        if chosen is not None:
            one = session.one(chosen)
            found.append(Curve(side, session.named(chosen), COLOURS[side], "solid", chosen, one.spectra, one.result))
    again = session.again
    for side, chosen in sides:
        if again is not None and chosen is not None and chosen in again.rows:
            place = [int(np.flatnonzero(again.rows == chosen)[0])]
            new = again.new[place]
            assert new.impedance is not None
            spectra = Spectra(new.frequency, new.impedance, new.states)
            dash = "dashed" if side == "a" else "dotted"
            label = f"{session.named(chosen)}, inverted again"
            found.append(Curve("new", label, COLOURS["new"], dash, chosen, spectra, new))
    return found


def gamma_image(line: Line, pixels: int = _PIXELS) -> tuple[Array, tuple[float, float], tuple[float, float]] | None:
    """Draw γ of a series as pixels.

    Parameters
    ----------
    line : Line
        The series.
    pixels : int
        How many there are along each axis.

    Returns
    -------
    image : ndarray, shape (pixels, pixels)
        Square root of γ, √Ω, negative where γ is; a row for each value of the state.
    log_tau, value : pair of float
        Decadic logarithms of the relaxation times, s, and values of the state that the image reaches to.

    None where nothing was inverted, or has a solution.
    """
    result = line.result
    if result is None or not result.solved.any():
        return None
    known = np.flatnonzero(result.solved & np.isfinite(line.value))
    if not known.size:
        return None
    log_tau = np.linspace(np.log10(result.tau[0]), np.log10(result.tau[-1]), pixels)
    at = 10.0 ** np.clip(log_tau, np.log10(result.tau[0]), np.log10(result.tau[-1]))
    gamma = result[known].gamma_at(at.clip(result.tau[0], result.tau[-1]))
    stripes, ends = _stripes(line.value[known], pixels)
    image = np.sign(gamma) * np.sqrt(np.abs(gamma))
    return image[stripes], (float(log_tau[0]), float(log_tau[-1])), ends


def validity_image(
    validation: "Validation", value: Array, pixels: int = _PIXELS
) -> tuple[Array, tuple[float, float], tuple[float, float]] | None:
    """Draw the residuals of a test by Kramers and Kronig as pixels.

    Parameters
    ----------
    validation : Validation
        What was tested.
    value : ndarray, shape (K,)
        Of the state.
    pixels : int
        How many there are along each axis.

    Returns
    -------
    image : ndarray, shape (pixels, pixels)
        Residual of the model by which spectra are judged, the root mean square of both parts, in standard deviations of
        the noise; NaN where there is none.
    log_frequency, value : pair of float
        Decadic logarithms of the frequencies, Hz, and values of the state that the image reaches to.
    """
    known = np.flatnonzero(validation.tested & np.isfinite(value))
    if not known.size:
        return None
    stripes, ends = _stripes(value[known], pixels)
    image = validation.in_noise[known]
    ascending = validation.frequency[::-1]
    at = np.linspace(np.log10(ascending[0]), np.log10(ascending[-1]), pixels)
    points = np.abs(np.log10(ascending)[None, :] - at[:, None]).argmin(axis=1)
    return image[:, ::-1][stripes][:, points], (float(at[0]), float(at[-1])), ends


def _stripes(value: Array, pixels: int) -> tuple[Array, tuple[float, float]]:
    """Which of ascending values each pixel shows, and where the first and the last end; stripes meet half way."""
    if value.size == 1 or value[0] == value[-1]:
        span = abs(float(value[0])) * 0.05 or 0.5
        return np.zeros(pixels, dtype=int), (float(value[0]) - span, float(value[0]) + span)
    middle = 0.5 * (value[1:] + value[:-1])
    low, high = 2 * value[0] - middle[0], 2 * value[-1] - middle[-1]
    low, high = (low if low < value[0] else value[0]), (high if high > value[-1] else value[-1])
    centres = low + (np.arange(pixels) + 0.5) * (high - low) / pixels
    return np.searchsorted(middle, centres), (float(low), float(high))


def units_of(results: "Iterable[Inversion | None]") -> tuple[str, str]:
    """Return names of what τ is and of the unit of γ, of each kind that there is."""
    known = [result for result in results if result is not None]
    names = dict.fromkeys(f"{result.tau_name} / s" for result in known)
    units = dict.fromkeys(result.gamma_units.replace("ohm", "Ω") for result in known)
    return " or ".join(names) or "τ / s", " or ".join(units) or "Ω"


class ClickedFigure:
    """A figure whose clicks are rows: the nearest of the points that it names."""

    def __init__(self, title: str, axes: tuple[str, str], on_row: Callable[[int], None], **options: Any) -> None:
        settings = {"height": 290, "sizing_mode": "stretch_width", "tools": "pan,wheel_zoom,box_zoom,reset"}
        self.figure = figure(**(settings | options))
        self.figure.toolbar.logo = None
        self.figure.toolbar.autohide = True
        self._said: tuple[str, ...] = ()
        self.label(*axes, title)
        self._on_row = on_row
        self._targets: tuple[Array, Array, Array] = (np.empty(0), np.empty(0), np.empty(0, dtype=int))
        self._logarithmic = (options.get("x_axis_type") == "log", options.get("y_axis_type") == "log")
        self._alone = False
        self.figure.on_event(Tap, self._tapped)

    def label(self, x: str, y: str, title: str | None = None) -> None:
        """Say what the axes are, and anew what the figure is; in plain text whatever they hold."""
        said = (x, y, self._said[2] if title is None else title)
        if said == self._said:
            return  # a label that is exchanged makes Bokeh look through the whole page
        self._said = said
        self.figure.title = Title(text=PlainText(text=visible(said[2])), text_font_size="10pt")
        for axis, text in ((self.figure.xaxis[0], x), (self.figure.yaxis[0], y)):
            axis.axis_label = PlainText(text=visible(text))

    def draw(self, kind: type[Glyph], source: ColumnDataSource, **look: Any) -> Any:
        """Draw something of each row of a source; without the two looks that a selection would have."""
        return self.figure.add_glyph(source, kind(**look))

    def targets(self, x: Any, y: Any, rows: Any, *, by_y: bool = False) -> None:
        """Say which rows there are to be clicked; `by_y` for stripes that reach from left to right."""
        self._targets = np.asarray(x, dtype=float), np.asarray(y, dtype=float), np.asarray(rows, dtype=int)
        self._alone = by_y

    def row_at(self, x: float, y: float) -> int | None:
        """Row of what is nearest to a place in the plot."""
        places, rows = self._targets[:2], self._targets[2]
        if not rows.size:
            return None
        distance = np.zeros(rows.size)
        for place, at, logarithmic, left_out in zip(
            places, (x, y), self._logarithmic, (self._alone, False), strict=True
        ):
            if left_out:
                continue
            with np.errstate(divide="ignore", invalid="ignore"):
                scaled, here = (np.log10(place), np.log10(at)) if logarithmic else (place, at)
            finite = scaled[np.isfinite(scaled)]
            span = (float(np.ptp(finite)) if finite.size else 0.0) or _SPAN
            distance += ((scaled - here) / span) ** 2
        if not np.isfinite(distance).any():
            return None
        return int(rows[np.nanargmin(distance)])

    def _tapped(self, event: Any) -> None:
        if event.x is not None and event.y is not None and (row := self.row_at(event.x, event.y)) is not None:
            self._on_row(row)
