"""The composite figure of an in situ campaign: voltage profile, Nyquist plots and DRT as they evolve, cell by cell."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from string import ascii_lowercase
from typing import Any, Literal, NamedTuple, Unpack, get_args

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.plotting.canvas import (
    DOUBLE_COLUMN,
    SINGLE_COLUMN,
    figure_of,
    fit_height,
    legend_above,
    new_figure,
    scale_by_logarithm,
    style_axes,
)
from drt_engine.plotting.cells import CellColumn, Profile, choose_cells, with_curves
from drt_engine.plotting.colours import BESIDE, ColourScale, Paint, finish_bar, paint
from drt_engine.plotting.distributions import MOST_LINES, heat_map, state_ticks, waterfall
from drt_engine.plotting.equal_axes import OF_EACH, fill, frame
from drt_engine.plotting.gamma_scales import (
    gamma_norm,
    label_gamma,
    own_heights,
    own_scales,
    scale_bar,
    shown_gamma,
    waterfall_scale,
    without_tail_rise,
)
from drt_engine.plotting.impedance import draw_impedance, keys_of, own_sizes
from drt_engine.plotting.look import LookOptions, areas_applied, current, in_ohms, styled
from drt_engine.plotting.selection import Quantity, display_factor, display_label, select
from drt_engine.plotting.together import SeveralInversions, SeveralSpectra, one_result, one_spectra
from drt_engine.plotting.traces import any_held, checked_tracks, draw_traces, keys_below, trace_keys
from drt_engine.text import drawn
from drt_engine.tracking import Tracks

__all__ = ["Below", "CompositeView", "composite", "draw_columns", "shared_scale"]

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]
Kind = Literal["waterfall", "heat map"]
Abscissa = Literal["charge", "specific_capacity", "time"]

# Heights of profiles and of distributions as shares of a panel's width: the former are smooth and need little room.
_PROFILE_SHAPE, _DRT_SHAPE = 0.5, 0.75
# Share of the range that is left free on each side, as matplotlib has it, here for a row of panels alike.
_MARGIN = 0.06
_R_POL = r"$R_\mathrm{pol}$"
# From so many states on, points touch each other on a column of 3.5 inches, and are drawn smaller and without an
# edge.
_MANY = 60
_WITH_NAMES = 5.0  # inches: spectra that are named by their files need room beside the panels
# Cells side by side in two columns of a journal; with more, panels are too narrow for the same shapes.
_MOST_WIDE = 3
_APART = 20.0  # times: where one cell is so much larger than another, the other looks flat beside it


@dataclass(frozen=True)
class CompositeView:
    """How the composite figure shows what evolves.

    Parameters
    ----------
    drt : {"waterfall", "heat map"}
        Kind of the lower panels.
    along : str, optional
        State on their ordinate; by default the one that colours.
    abscissa : {"charge", "specific_capacity", "time"}, optional
        Of the upper panels; by default charge, as capacity, where a cell is shown in one direction, and time otherwise.
    colour_map : str
        Colours of the state, by the name of a colour map of matplotlib.

    Raises
    ------
    UnknownNameError
        For a kind or an abscissa that does not exist.
    """

    drt: Kind = "waterfall"
    along: str | None = None
    abscissa: Abscissa | None = None
    colour_map: str = "viridis"

    def __post_init__(self) -> None:
        """Refuse what is not known."""
        if self.drt not in get_args(Kind):
            raise UnknownNameError("drt", self.drt, get_args(Kind))
        if self.abscissa is not None and self.abscissa not in get_args(Abscissa):
            raise UnknownNameError("abscissa", self.abscissa, get_args(Abscissa))


@dataclass(frozen=True)
class Below:
    """One more row under the panels of the composite figure.

    Parameters
    ----------
    draw : callable
        Makes the panels: it gets the figure, the grid and the number of columns, and returns their Axes.
    shape : float
        Their height over the width of a column.
    """

    draw: Callable[[Figure, GridSpec, int], list[Axes]]
    shape: float


@styled
def composite(
    spectra: SeveralSpectra,
    result: SeveralInversions,
    profile: Profile | None = None,
    *,
    cells: Sequence[Any] | None = None,
    at: Mapping[str, Any] | None = None,
    state: str = "voltage",
    view: CompositeView | Kind = "waterfall",
    tracks: Tracks | None = None,
    **options: Unpack[LookOptions],
) -> Figure:
    """Draw how one cell evolves, or how two or three do, side by side.

    Above is the voltage profile with the points where EIS was taken, in the middle the Nyquist plots with their fits,
    below the DRT. Points and lines have the colour of the state, on one scale for all cells; all cells share the limits
    of each row and the height or colour of an ohm of γ. Time, and the number of the spectrum, count from the beginning
    of what is shown of a cell. Where there is no voltage curve to show, without a profile and with a state that is not
    on it, the upper panels show the polarisation resistance over the state.

    Parameters
    ----------
    spectra : Spectra or sequence of Spectra
        Measured spectra, on one frequency grid or on several, whose rows count through.
    result : Inversion or sequence of Inversion
        Their result.
    profile : DataFrame, Trace or sequence of Trace, optional
        Voltage curves: ``voltage`` (V) with ``charge`` (C) or ``capacity_mAh``, ``specific_capacity`` (mAh/g), or
        ``time`` (s), and with ``cell``, ``cycle`` and ``direction`` where there are several;
        :func:`drt_engine.readers.read_profile` reads them from a csv. Or what a potentiostat recorded, as
        :func:`drt_engine.read_traces` gives it, over its time. Spectra of which only the voltage is known stand
        where the curve first comes to it. By default the voltages of the spectra.
    cells : sequence, optional
        Which cells, from left to right, at most three; by default all, or the first three.
    at : mapping of str to value or list of values, optional
        Which spectra, by their states; numbers with a fraction need to agree within 0.1 %. Unless said or shown, the
        first ``cycle`` and, if there is one, the ``direction`` discharge are taken. For a charge and the discharge
        after it: ``at={"direction": ["charge", "discharge"]}`` and ``view=CompositeView(along="time")``, or
        ``along="spectrum"`` where two spectra have the same time.
    state : str
        What colours, and evolves unless the view says otherwise; for example ``"cycle"`` with
        ``at={"direction": "discharge", "voltage": 3.83}``.
    view : CompositeView, "waterfall" or "heat map"
        How the DRT is drawn, and over what.
    tracks : Tracks, optional
        Tracked processes, drawn into the lower panels; their spectra are the rows of `result`.
    **options
        Limits, units and sizes, as :class:`Look` takes them.

    Returns
    -------
    Figure
        Its first Axes are the panels, row by row; colour bars follow.

    Raises
    ------
    InputError
        If no spectrum with a solution is chosen, for more than three cells, for a profile that does not fit, and for a
        state that repeats within a cell.
    UnknownNameError
        For a cell or a state that does not exist.
    """
    view = view if isinstance(view, CompositeView) else CompositeView(view)
    measured, fitted = one_spectra(spectra), one_result(result)
    columns = with_curves(choose_cells(measured, fitted, cells, at, {state, view.along or state}), profile)
    if tracks is not None:
        checked_tracks(tracks)
    with areas_applied():
        return draw_columns(columns, shared_scale(columns, state, view.colour_map), view, tracks)


def shared_scale(columns: Sequence[CellColumn], state: str, colours: str) -> ColourScale:
    """Return colours of a state that span what is there in all columns."""
    every, scale = _every(columns, state), ColourScale(state, colours, bar=False)
    if not every.numeric:
        return scale
    low, high = (float(end(every.array)) / display_factor(state) for end in (np.min, np.max))
    return replace(scale, low=low, high=high)


def _every(columns: Sequence[CellColumn], state: str) -> Quantity:
    """Return a state of all cells together."""
    quantities = [column.chosen.quantity(state) for column in columns]
    every = np.concatenate([quantity.array for quantity in quantities])
    return replace(quantities[0], array=every, names=quantities[0].names if len(quantities) == 1 else ())


def draw_columns(
    columns: Sequence[CellColumn],
    scale: ColourScale,
    view: CompositeView,
    tracks: Tracks | None = None,
    below: Below | None = None,
) -> Figure:
    """Draw voltage, Nyquist plots and DRT, a column for each choice of spectra, and what is given below them.

    Parameters
    ----------
    columns : sequence of CellColumn
        What is shown, from left to right.
    scale : ColourScale
        Colours of the state, shared by all.
    view : CompositeView
        How the DRT is drawn.
    tracks : Tracks, optional
        Processes drawn into the DRT.
    below : Below, optional
        One more row.
    """
    view = _fitting(columns, view)
    width = _width(columns, view.along or scale.state)
    figure = new_figure(width, 2.2 * width / len(columns) + (1.5 if below else 0.0))
    narrow = len(columns) > _MOST_WIDE
    drt_row = 3 if narrow else 2
    figure_rows = drt_row + (1 if below is None else 2)
    ratios = [*[1.0] * len(columns), 0.1 * len(columns) / width]
    grid = figure.add_gridspec(figure_rows, len(columns) + 1, width_ratios=ratios)
    panels = _panels(figure, grid, len(columns), drt_row)
    own = _own_scales(columns, below)
    every_one = [list(range(len(columns)))]
    of_z = [[k] for k in every_one[0]] if own.impedance else every_one
    _draw_upper(panels, columns, scale, view, of_z)
    flat = max(frame(list(panels[1, some]), 0.3, 0.8 if not narrow else 0.45) for some in of_z)
    shapes = [0.7, 2.2 * flat, 2.2 * flat, 1.1] if narrow else [_PROFILE_SHAPE, flat, _DRT_SHAPE]
    ohm = _draw_distributions(list(panels[2]), columns, scale, view, tracks, own=own.gamma)
    unit = columns[0].result.gamma_units.replace("ohm", "Ω")
    _draw_bars(panels, (grid, drt_row), paint(columns[0].chosen, replace(scale, bar=True)), view, unit, own=own.gamma)
    for row, groups in zip(panels, (of_z, of_z, every_one), strict=True):
        for some in groups:
            _join(row[some])
    # One bar for all panels of the row, unless they have a scale each.
    first = 0 if own.gamma else len(columns) - 1
    for axes, of_panel in zip(panels[2, first:], ohm[first:], strict=bool(ohm)):
        scale_bar(axes, *of_panel, unit)
    for axes in panels[2] if own.said else ():
        axes.set_title("own scales", loc="right", size=current().font_size - 2.0, color="0.35")
    for axes in panels[1, 1:]:
        axes.get_legend().remove()
    every = panels.tolist()
    if narrow:
        every[1:2] = [every[1][:2], every[1][2:]]
        _title_each(columns, panels[1])
    if below is not None:
        every.append(below.draw(figure, grid, len(columns)))
        shapes.append(below.shape)
    grid.set_height_ratios(shapes)
    for letter, axes in zip(ascii_lowercase, (axes for row in every for axes in row), strict=False):
        axes.set_title(letter, loc="left", fontweight="bold")
        axes.set_aspect("auto")
        style_axes(axes, labelled=True)
    fit_height(figure, every, shapes)
    for some in of_z:
        fill(list(panels[1, some]))
    return figure


def _width(columns: Sequence[CellColumn], along: str) -> float:
    """Width of the figure, inches."""
    if len(columns) > 1:
        return DOUBLE_COLUMN
    return _WITH_NAMES if columns[0].chosen.quantity(along).names else SINGLE_COLUMN


class _OwnScales(NamedTuple):
    """Whether panels side by side have scales of their own, and whether that has to be said."""

    gamma: bool
    impedance: bool
    said: bool


def _own_scales(columns: Sequence[CellColumn], below: Below | None) -> _OwnScales:
    """Give cells side by side scales of their own where one would press another flat.

    Figures with a row of changes below compare the same cells at two cycles, and keep one scale.
    """
    wish = current().own_scales
    if len(columns) == 1 or wish is False or (below is not None and not wish):
        return _OwnScales(gamma=False, impedance=False, said=False)
    tops = [[float(np.nanmax(without_tail_rise(column.result, *shown_gamma(column.result))[0])) for column in columns]]
    tops.append([float(np.nanmax(np.abs(column.spectra.impedance))) for column in columns])
    gamma, impedance = (min(top) > 0.0 and max(top) > _APART * min(top) for top in tops)
    impedance = impedance and below is None
    if wish is None and (gamma or impedance):
        logger.warning(
            "Cells differ more than %g-fold: each has scales of its own. own_scales=False, --one-scale, draws one.",
            _APART,
        )
    return _OwnScales(gamma=bool(wish) or gamma, impedance=impedance, said=wish is None and (gamma or impedance))


def _draw_upper(
    panels: NDArray[Any],
    columns: Sequence[CellColumn],
    scale: ColourScale,
    view: CompositeView,
    groups: Sequence[list[int]],
) -> None:
    """Draw profiles and Nyquist plots; panels of a group share their limits."""
    abscissas = _abscissas(columns, scale.state, view.abscissa)
    for column, above, axes, over in zip(columns, panels[0], panels[1], abscissas, strict=True):
        _draw_profile(above, column, paint(column.chosen, scale), scale.state, over)
        above.set_title("\n".join(drawn(line) for line in (column.title, column.below) if line))
        shown = select(column.spectra, column.result)
        draw_impedance(axes, shown, paint(shown, scale), own_sizes(shown, scale) if len(columns) == 1 else None)
        frame([axes])
        legend_above(axes, keys_of(shown))
    for some in groups:
        _widen(panels[0, some])
        resistances = [axes for axes in panels[0, some] if axes.get_ylabel() == _R_POL]
        if resistances:
            least = float(min(axes.dataLim.y0 for axes in resistances))
            largest = float(max(axes.dataLim.y1 for axes in resistances))
            if 0.0 < _APART * least < largest:
                for axes in resistances:
                    scale_by_logarithm(axes, least, largest)
            # One unit for panels that share their limits, as only the first is labelled.
            in_ohms([(axes.yaxis, _R_POL) for axes in resistances], largest)


def _panels(figure: Figure, grid: GridSpec, count: int, drt_row: int) -> NDArray[Any]:
    """Make the panels of profile, impedance and DRT, a column for each choice of spectra.

    Four Nyquist plots side by side would be a few millimetres high: they stand two by two, in two rows.
    """
    spots = [
        [grid[0, k] for k in range(count)],
        [grid[1, k] if drt_row == 2 else grid[1 + k // 2, 2 * (k % 2) : 2 * (k % 2) + 2] for k in range(count)],
        [grid[drt_row, k] for k in range(count)],
    ]
    return np.array([[figure.add_subplot(spot) for spot in row] for row in spots])


def _title_each(columns: Sequence[CellColumn], panels: NDArray[Any]) -> None:
    """Say in Nyquist plots that stand two by two whose they are."""
    for column, axes in zip(columns, panels, strict=True):
        name = ", ".join(drawn(line) for line in (column.title, column.below) if line)
        # Above, behind the letter: within, curves of any height would run through it.
        axes.annotate(name, (0.0, 1.0), (14.0, 4.0), "axes fraction", textcoords="offset points", va="bottom")
    panels[2].set_ylabel(panels[0].get_ylabel())


def _abscissas(columns: Sequence[CellColumn], state: str, wish: Abscissa | None) -> list[str | None]:
    """Return what the voltage is drawn over in each column: the same in all that have no profile, or else nothing."""
    found = [_abscissa(column, state, wish) for column in columns]
    bare = {over for over, column in zip(found, columns, strict=True) if column.curve is None}
    if len(bare) < 2:
        return found
    return [None if column.curve is None else over for over, column in zip(found, columns, strict=True)]


def _draw_profile(axes: Axes, column: CellColumn, colours: Paint, state: str, abscissa: str | None) -> None:
    """Draw voltage, or else the polarisation resistance, and the points where EIS was taken."""
    states = column.chosen.states
    if abscissa is None:
        name, y, label = state, column.result.r_pol, _R_POL
        quantity = _every([column], name)
        x, order = quantity.array, np.argsort(quantity.array, kind="stable")
        # Between spectra of files of their own nothing runs.
        width = 0.0 if quantity.names else 0.8 if len(x) <= _MANY else 0.2
        axes.plot(x[order], y[order], color="0.55", lw=width, zorder=2)
        if quantity.whole:
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    else:
        name, y, label = abscissa, states["voltage"].to_numpy(), display_label("voltage")
        x = _every([column], name).array
        _draw_curves(axes, states if column.curve is None else column.curve, abscissa)
    axes.set_xlabel(display_label(name))
    axes.set_ylabel(label)
    size, edge = (12.0, 0.3) if len(x) <= _MANY else (4.0, 0.0)
    axes.scatter(x, y, s=size, c=colours.rgba, edgecolors="black", linewidths=edge, zorder=3)


def _abscissa(column: CellColumn, state: str, wish: Abscissa | None) -> str | None:
    """Return what the voltage is drawn over, or None where there is no voltage curve."""
    states, curve = column.chosen.states, column.curve
    if curve is None and ("voltage" not in states.columns or state not in ("voltage", "charge", "time")):
        return None
    if "voltage" not in states.columns:
        raise InputError("states must have the column 'voltage', to place the spectra on the profile; got none.")
    both = set(states.columns) if curve is None else set(states.columns) & set(curve.columns)
    offered = [name for name in get_args(Abscissa) if name in both and states[name].notna().all()]
    if wish is not None and wish not in offered:
        raise UnknownNameError("abscissa", wish, offered)
    if not offered:
        if curve is None:
            return None
        raise InputError(
            "states and profile must share the column 'charge', 'specific_capacity' or 'time', or the states have "
            f"'voltage'; the profile has {', '.join(map(repr, curve.columns))}."
        )
    one_way = "direction" not in states.columns or len(set(states["direction"])) == 1
    return wish or (offered[0] if one_way else offered[-1])


def _draw_curves(axes: Axes, curves: pd.DataFrame, abscissa: str) -> None:
    keys = [name for name in ("cycle", "direction") if name in curves.columns]
    for _, part in curves.groupby(keys, sort=False) if keys else [((), curves)]:
        ordered = part.sort_values(abscissa, kind="stable")
        axes.plot(ordered[abscissa] * display_factor(abscissa), ordered["voltage"], color="0.55", lw=0.8, zorder=2)


def _fitting(columns: Sequence[CellColumn], view: CompositeView) -> CompositeView:
    """Return the view, or one of heat maps where there are more spectra than a waterfall can show."""
    most = max(len(column.chosen) for column in columns)
    if view.drt == "heat map" or most <= MOST_LINES:
        return view
    logger.warning("%d spectra are too many for a waterfall: drawn as a heat map.", most)
    return replace(view, drt="heat map")


def _draw_distributions(
    panels: Sequence[Axes],
    columns: Sequence[CellColumn],
    scale: ColourScale,
    view: CompositeView,
    tracks: Tracks | None,
    *,
    own: bool,
) -> list[tuple[float, float]]:
    """Draw γ, and return how high an ohm is in each waterfall and the largest γ in ohm; nothing for heat maps."""
    along = view.along or scale.state
    every = _every(columns, along)
    # All that is drawn on one scale: a panel, or the whole row.
    shown = [without_tail_rise(column.result, *shown_gamma(column.result))[0] for column in columns]
    if len(columns) == 1 and own_scales(shown[0], along):
        _draw_each(panels[0], columns[0], scale, view, tracks)
        return []
    if not own:
        shown = [np.concatenate(shown)] * len(columns)
    limit = (current().gamma_range or (None, None))[1]
    tops = [float(np.nanmax(values)) if limit is None else min(limit, float(np.nanmax(values))) for values in shown]
    heights = [waterfall_scale([top], every.array) for top in tops]
    for column, axes, values, height in zip(columns, panels, shown, heights, strict=True):
        if view.drt == "heat map":
            heat_map(column.result, along, norm=gamma_norm(values), bar=False, ax=axes)
        else:
            waterfall(column.result, along, colour=scale, scale=height, bar=False, ax=axes)
        state_ticks(axes, every)
    if tracks is not None:
        raised = [np.full(len(column.chosen), height) for column, height in zip(columns, heights, strict=True)]
        _draw_tracks(panels, columns, along, tracks, None if view.drt == "heat map" else raised)
    return [] if view.drt == "heat map" else list(zip(heights, tops, strict=True))


def _draw_each(axes: Axes, column: CellColumn, scale: ColourScale, view: CompositeView, tracks: Tracks | None) -> None:
    """Draw γ of spectra that differ by powers of ten, each in parts of its own largest."""
    along = view.along or scale.state
    if view.drt == "heat map":
        heat_map(column.result, along, ax=axes)
    else:
        waterfall(column.result, along, colour=scale, ax=axes)
    state_ticks(axes, column.chosen.quantity(along))
    axes.set_gid(OF_EACH)
    if tracks is not None:
        values, _ = without_tail_rise(column.result, *shown_gamma(column.result))
        heights = own_heights(values, column.chosen.quantity(along).array)
        _draw_tracks([axes], [column], along, tracks, None if view.drt == "heat map" else [heights])


def _draw_tracks(
    panels: Sequence[Axes], columns: Sequence[CellColumn], along: str, tracks: Tracks, heights: Sequence[Array] | None
) -> None:
    drawn: set[str] = set()
    for k, (column, axes) in enumerate(zip(columns, panels, strict=True)):
        places = column.chosen.quantity(along).array
        raised = None if heights is None else (column.result, heights[k])
        drawn |= set(draw_traces(axes, tracks, column.chosen.rows, places, raised))
    names = [name for name in tracks.names if name in drawn]
    rows = np.concatenate([column.chosen.rows for column in columns])
    keys_below(figure_of(panels[0]), trace_keys(tracks, names, any_held(tracks, names, rows)))


def _draw_bars(
    panels: NDArray[Any], place: tuple[GridSpec, int], colours: Paint, view: CompositeView, unit: str, *, own: bool
) -> None:
    """Draw colour bars in a column of their own; bars beside several panels would keep the layout from settling."""
    figure, (grid, drt_row) = figure_of(panels[0, 0]), place
    if colours.mappable is not None:
        bar = figure.colorbar(colours.mappable, cax=figure.add_subplot(grid[:drt_row, -1]))
        finish_bar(bar, colours.label, whole=colours.whole)
    if panels[2, 0].get_gid() == OF_EACH:
        return
    if view.drt == "heat map" and not own:
        label_gamma(figure.colorbar(panels[2, 0].collections[0], cax=figure.add_subplot(grid[drt_row, -1])), unit)
    elif view.drt == "heat map":
        for axes in panels[2]:
            label_gamma(figure.colorbar(axes.collections[0], ax=axes, **BESIDE), unit)


def _join(row: NDArray[Any]) -> None:
    """Give the panels of a row the same limits, and label the ordinate once."""
    x, y = (_outer([limits(axes) for axes in row]) for limits in (Axes.get_xlim, Axes.get_ylim))
    for axes in row:
        axes.set_xlim(x)
        axes.set_ylim(y)
        if axes is not row[0]:
            axes.set_ylabel("")


def _outer(limits: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return min(low for low, _ in limits), max(high for _, high in limits)


def _widen(row: NDArray[Any]) -> None:
    """Leave a margin around all points of all panels."""
    boxes = np.array([axes.dataLim.extents for axes in row])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    pad = np.where(high > low, _MARGIN * (high - low), 0.5)
    for axes in row:
        axes.set_xlim(low[0] - pad[0], high[0] + pad[0])
        axes.set_ylim(low[1] - pad[1], high[1] + pad[1])
