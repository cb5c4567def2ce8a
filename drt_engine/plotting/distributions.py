"""Figures of γ(τ): lines, waterfall and heat map."""

import logging
import math
from typing import Any, Unpack

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from drt_engine.errors import InputError
from drt_engine.frames import areas
from drt_engine.methods import LogGaussian
from drt_engine.plotting.alone import each_alone
from drt_engine.plotting.canvas import axes_for, decades, figure_of, legend_above
from drt_engine.plotting.colours import BESIDE, ColourScale, colour_map, finish_bar, paint
from drt_engine.plotting.gamma_scales import (
    GAMMA_OF_EACH,
    count_flat,
    gamma_axis,
    gamma_ends,
    gamma_norm,
    label_gamma,
    largest_of_each,
    own_heights,
    own_scales,
    say_beyond,
    say_own_scales,
    scale_bar,
    shown_gamma,
    waterfall_scale,
    without_tail_rise,
)
from drt_engine.plotting.look import LookOptions, current, styled
from drt_engine.plotting.selection import NUMBERS, Quantity, Selection, select
from drt_engine.plotting.together import SeveralInversions, gamma_bands, one_result
from drt_engine.plotting.traces import any_held, checked_tracks, draw_traces, keys_below, trace_keys
from drt_engine.result import Inversion
from drt_engine.series import series_along
from drt_engine.status import Status
from drt_engine.tracking import Tracks

__all__ = ["MOST_LINES", "gamma", "heat_map", "state_ticks", "waterfall"]

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

MOST_LINES = 40
"""Spectra that a waterfall can show; more of them are drawn as a heat map."""

_BAND = 0.25  # opacity that lets a line be seen through two bands


@styled
def gamma(
    result: SeveralInversions,
    *,
    rows: Any = None,
    state: str | ColourScale | None = None,
    truth: tuple[ArrayLike, ArrayLike] | None = None,
    ax: Axes | None = None,
    **options: Unpack[LookOptions],
) -> Figure:
    """Distribution of relaxation times: γ(ln τ) over τ.

    Where the result keeps intervals of γ (:meth:`drt_engine.Inversion.with_intervals`), they are drawn as bands.

    Parameters
    ----------
    result : Inversion or sequence of Inversion
        The result, or results on several frequency grids, whose rows count through.
    rows : array_like of int or bool, slice or int, optional
        Which spectra; all by default.
    state : str or ColourScale, optional
        What to colour by; the row number by default.
    truth : pair of array_like, optional
        Relaxation times (T,), s, and exact γ, ohm, (T,) or one row for each row of `result`; drawn dashed.
    ax : Axes, optional
        Where to draw; a new figure of one column by default.
    **options
        Limits, units and sizes, as :class:`Look` takes them.

    Returns
    -------
    Figure
        One line a spectrum, with five points for each basis function; all of γ is inside unless limits are given, or
        it rises higher beyond the data than within; see `whole_tails` of :class:`Look`.

    Raises
    ------
    InputError
        For rows that do not exist, if no row has a solution, and for a truth of another shape.
    UnknownNameError
        For a state that does not exist.
    """
    whole = one_result(result)
    chosen = select(None, whole, rows)
    colours = paint(chosen, state)
    axes, _ = axes_for(ax, 2.3)
    tau, values = shown_gamma(chosen.fitted)
    scaled, beyond = without_tail_rise(chosen.fitted, tau, values)
    name = state.state if isinstance(state, ColourScale) else state or ""
    own = truth is None and (name in NUMBERS or current().own_scales is True) and own_scales(scaled, name)
    by = largest_of_each(scaled)[:, None] if own else np.ones((len(chosen), 1))
    if own:
        say_own_scales(scaled, name)
        by[by == 0.0] = 1.0
    for line, colour in zip(values / by, colours.rgba, strict=True):
        axes.plot(tau, line, color=colour)
    keys: list[Artist] = _draw_bands(axes, chosen.fitted, tau, colours.rgba, by)
    if truth is not None:
        _draw_truth(axes, truth, chosen, len(whole))
        keys += [
            Line2D([], [], color=colours.rgba[0] if len(chosen) == 1 else "0.35", label="DRT"),
            Line2D([], [], color="black", lw=0.7, ls=(0, (4, 2)), label="exact"),
        ]
    decades(axes, _time(chosen.fitted))
    axes.set_xlim(tau[0], tau[-1])
    gamma_axis(axes, float(np.nanmax(scaled / by)), _unit(chosen.fitted), limited=beyond is not None)
    if own:
        axes.set_ylabel(GAMMA_OF_EACH)
    say_beyond(axes, beyond, _unit(chosen.fitted))
    legend_above(axes, (*colours.handles, *keys))
    colours.explain(axes)
    return figure_of(axes)


@styled
def waterfall(
    result: SeveralInversions,
    state: str = "voltage",
    *,
    rows: Any = None,
    colour: str | ColourScale | None = None,
    scale: float | None = None,
    bar: bool = True,
    tracks: Tracks | None = None,
    ax: Axes | None = None,
    **options: Unpack[LookOptions],
) -> Figure:
    """Waterfall: each γ stands at the value of its state, and a bar beside the Axes tells its height.

    More than 40 spectra are drawn as a :func:`heat_map`, which is logged, unless `scale` is given. Where only a number
    orders them and γ of most would look flat beside the largest, 20 of them have a panel each.

    A point of γ is drawn at state + scale · γ; so a peak of height h at τ is marked by ``axes.plot(tau, state + scale *
    h)``, with the state in the unit of its label.

    Parameters
    ----------
    result : Inversion or sequence of Inversion
        The result, or results on several frequency grids, whose rows count through.
    state : str
        Column of numbers, each once; they need not be evenly spaced.
    rows : array_like of int or bool, slice or int, optional
        Which spectra; all by default.
    colour : str or ColourScale, optional
        What to colour by; the state itself by default, which needs no colour bar.
    scale : float, optional
        How high an ohm of γ is drawn, in the unit of the label; by default :func:`waterfall_scale` chooses.
    bar : bool
        Whether the bar beside the Axes is drawn.
    tracks : Tracks, optional
        Tracked processes, drawn onto it; spectra are the rows of `result`. In a figure of their own they get a legend.
    ax : Axes, optional
        Where to draw; a new figure of one column by default.
    **options
        Limits, units and sizes, as :class:`Look` takes them.

    Returns
    -------
    Figure
        One line a spectrum, the highest state behind; a dashed line across where a series breaks.

    Raises
    ------
    InputError
        For rows that do not exist, if no row has a solution, for a state that repeats in spectra that differ otherwise
        or is not a number, for a scale that is not positive, and for a logarithmic γ.
    UnknownNameError
        For a state that does not exist.
    """
    chosen = select(None, one_result(result), rows).once(state)
    if scale is None and len(chosen) > MOST_LINES:
        if ax is None and tracks is None and (figure := _unlike(chosen, state)) is not None:
            return figure
        logger.warning("%d spectra are too many for a waterfall: drawn as a heat map.", len(chosen))
        return heat_map(result, state, rows=chosen.rows, bar=bar, tracks=tracks, ax=ax)
    quantity = chosen.quantity(state)
    quantity.distinct("A waterfall", 1)
    colours = paint(chosen, ColourScale(state, bar=False) if colour is None else colour)
    axes, new = axes_for(ax, 3.2)
    heights = _draw_waterfall(axes, chosen, quantity, colours.rgba, scale, bar=bar)
    legend_above(axes, (*colours.handles, *_mark_breaks(axes, chosen, quantity)))
    colours.explain(axes)
    if tracks is not None:
        _trace(axes, checked_tracks(tracks), chosen, quantity, heights, legend=new)
    return figure_of(axes)


def _unlike(chosen: Selection, state: str) -> Figure | None:
    """Draw spectra in panels of their own where only a number orders them and most would look flat beside others."""
    if state not in NUMBERS or current().own_scales is not None:
        return None
    tau, values = shown_gamma(chosen.fitted)
    flat = count_flat(without_tail_rise(chosen.fitted, tau, values)[0], state)
    return each_alone(chosen, state, tau, values) if 2 * flat > len(chosen) else None


def _draw_waterfall(
    axes: Axes, chosen: Selection, quantity: Quantity, rgba: Any, scale: float | None, *, bar: bool
) -> Array:
    """Draw the lines, the highest state behind, and the bar, and return how high an ohm of each is, shape (K,)."""
    state, unit = quantity.name, _unit(chosen.fitted)
    tau, values = shown_gamma(chosen.fitted)
    scaled, beyond = without_tail_rise(chosen.fitted, tau, values)
    own = scale is None and own_scales(scaled, state)
    if own:
        say_own_scales(scaled, state)
    heights = _heights(scaled, quantity.array, scale, own=own)
    tops = largest_of_each(scaled) if own else np.full(len(scaled), gamma_ends(scaled)[1])
    for k in quantity.distinct("A waterfall", 1)[::-1]:
        line = np.where(values[k] <= tops[k], values[k], np.nan)
        axes.plot(tau, quantity.array[k] + heights[k] * line, color=rgba[k], lw=0.8)
    _state_axis(axes, quantity, chosen.fitted)
    low, high = axes.dataLim.y0, axes.dataLim.y1
    pad = 0.03 * (high - low or 1.0)
    named = bool(quantity.names)
    axes.set_ylim(low - pad, high + (pad if beyond is None else 4.5 * pad if named else 3.0 * pad))
    axes.set_xlim(tau[0], tau[-1])
    if bar:
        largest = min(float(tops.max()), float(np.nanmax(scaled)))
        scale_bar(axes, None if own else float(heights[0]), largest, unit)
    say_beyond(axes, beyond, unit, beside_names=named)
    return heights


def _heights(values: Array, states: Array, scale: float | None, *, own: bool) -> Array:
    """How high an ohm of each spectrum is drawn in a waterfall, in the unit of the state, shape (K,)."""
    if current().log_gamma:
        raise InputError(
            "a waterfall cannot have a logarithmic γ, since its lines begin at zero. Draw a heat map, or gamma."
        )
    if scale is not None and not (math.isfinite(scale) and scale > 0):
        raise InputError(f"scale must be positive, in the unit of the state over ohm; got {scale!r}.")
    if scale is not None:
        return np.full(len(values), scale)
    if own:
        return own_heights(values, states)
    return np.full(len(values), waterfall_scale(np.minimum(values, gamma_ends(values)[1]), states))


@styled
def heat_map(
    result: SeveralInversions,
    state: str = "voltage",
    *,
    rows: Any = None,
    norm: Normalize | None = None,
    colours: str = "magma",
    bar: bool = True,
    tracks: Tracks | None = None,
    ax: Axes | None = None,
    **options: Unpack[LookOptions],
) -> Figure:
    """Heat map: γ as a colour over τ and a state.

    Each spectrum is a stripe around its state; stripes meet half way, and the first and the last reach as far outwards
    as inwards. So states need not be evenly spaced.

    Parameters
    ----------
    result : Inversion or sequence of Inversion
        The result, or results on several frequency grids, whose rows count through.
    state : str
        Column of numbers, two or more, each once.
    rows : array_like of int or bool, slice or int, optional
        Which spectra; all by default.
    norm : Normalize, optional
        How γ, in ohm, becomes a colour, with an upper end not below the largest γ. By default colours follow the square
        root of γ, from 0, so that small processes show beside large ones; ``Normalize(0)`` is linear. Where γ is
        negative somewhere they are linear from blue, negative, to red, positive, whatever `colours` is.
    colours : str
        Name of a colour map of matplotlib; not the one that states are coloured by, so that the two are not mixed up.
    bar : bool
        Whether the colour bar is drawn.
    tracks : Tracks, optional
        Tracked processes, drawn onto it; spectra are the rows of `result`. In a figure of their own they get a legend.
    ax : Axes, optional
        Where to draw; a new figure of one column by default.
    **options
        Limits, units and sizes, as :class:`Look` takes them.

    Returns
    -------
    Figure
        With τ on the abscissa and the state on the ordinate; a dashed line across where a series breaks.

    Raises
    ------
    InputError
        For rows that do not exist, if no row has a solution, for a state that repeats in spectra that differ otherwise
        or is not a number, and for a `norm` that ends below the largest γ.
    UnknownNameError
        For a state or a colour map that does not exist.
    """
    chosen = select(None, one_result(result), rows).once(state)
    quantity = chosen.quantity(state)
    quantity.distinct("A heat map", 2)
    colour_scale = colour_map(colours)
    tau, values = shown_gamma(chosen.fitted)
    scaled, beyond = without_tail_rise(chosen.fitted, tau, values)
    own = norm is None and own_scales(scaled, state)
    if own:
        say_own_scales(scaled, state)
        largest = np.maximum(largest_of_each(scaled), np.finfo(float).tiny)[:, None]
        values, scaled = np.clip(values / largest, -1.0, 1.0), scaled / largest
    if norm is None and np.nanmin(values) < 0.0:
        # Zero in the middle, so that the sign shows.
        end = float(np.nanmax(np.abs(values)))
        norm, colour_scale = Normalize(-end, end), colour_map("RdBu_r")
    norm = gamma_norm(scaled) if norm is None else norm
    _check_top(norm, values, limited=current().gamma_range is not None or beyond is not None)
    axes, new = axes_for(ax, 2.6)
    mesh = _draw_stripes(axes, quantity, tau, values, norm, colour_scale)
    say_beyond(axes, beyond, _unit(chosen.fitted), "white", beside_names=bool(quantity.names))
    _state_axis(axes, quantity, chosen.fitted)
    axes.set_xlim(tau[0], tau[-1])
    if bar:
        beside = figure_of(axes).colorbar(mesh, ax=axes, **BESIDE)
        if own:
            finish_bar(beside, GAMMA_OF_EACH)
        else:
            label_gamma(beside, _unit(chosen.fitted))
    legend_above(axes, _mark_breaks(axes, chosen, quantity))
    if tracks is not None:
        _trace(axes, checked_tracks(tracks), chosen, quantity, None, legend=new)
    return figure_of(axes)


def _check_top(norm: Normalize, values: Array, *, limited: bool) -> None:
    """Set the ends of a norm that has none, and refuse one that γ goes beyond unless it is limited."""
    end = float(np.nanmax(values))
    norm.autoscale_None(np.ma.masked_invalid(values))
    if norm.vmax is None or (norm.vmax < end and not limited):
        raise InputError(f"norm must reach the largest γ, {end:.4g} ohm; got vmax={norm.vmax}. Raise vmax.")


def _draw_stripes(
    axes: Axes, quantity: Quantity, tau: Array, values: Array, norm: Normalize, colours: Colormap
) -> QuadMesh:
    """Draw each γ as a stripe around its state."""
    order = quantity.distinct("A heat map", 2)
    return axes.pcolormesh(
        np.exp(_edges(np.log(tau))),
        _edges(quantity.array[order]),
        np.maximum(values[order], norm.vmin or 0.0),
        cmap=colours,
        norm=norm,
        rasterized=True,
    )


def _trace(
    axes: Axes, tracks: Tracks, chosen: Selection, quantity: Quantity, scale: Array | None, *, legend: bool
) -> None:
    raised = None if scale is None else (chosen.fitted, scale)
    names = draw_traces(axes, tracks, chosen.rows, quantity.array, raised)
    if legend:
        keys_below(figure_of(axes), trace_keys(tracks, names, any_held(tracks, names, chosen.rows)))


def _mark_breaks(axes: Axes, chosen: Selection, quantity: Quantity) -> list[Artist]:
    """Draw lines half way between states where a series that was inverted together breaks, and return their key."""
    places = [0.5 * (quantity.array[one] + quantity.array[other]) for one, other in _breaks(chosen)]
    look: dict[str, Any] = {"color": "black", "gapcolor": "white", "lw": 0.7, "ls": (0, (4, 3))}
    for place in places:
        axes.axhline(place, zorder=1.5, **look)
    return [Line2D([], [], label="series breaks", **look)] if places else []


def _breaks(chosen: Selection) -> list[tuple[int, int]]:
    """Find pairs of neighbours along a series between which it breaks, as numbers among the chosen spectra."""
    method, states = chosen.fitted.method, chosen.states
    after = set(np.flatnonzero(chosen.fitted.status & np.uint32(Status.BREAK)).tolist())
    if not after or not isinstance(method, LogGaussian) or method.along is None:
        return []
    one, *two = method.columns
    series = (*(method.series or ()), *two)
    if not {one, *series} <= set(states.columns):
        return []
    # The flag is that of the first spectrum after the break; without another one before, the break is not in view.
    lines = series_along(states, one, series)
    return [
        (int(one), int(other))
        for line in lines
        for one, other in zip(line.rows[:-1], line.rows[1:], strict=True)
        if int(other) in after
    ]


def _edges(centres: Array) -> Array:
    middle = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def _unit(result: Inversion) -> str:
    """Name the unit of γ."""
    return "S" if result.gamma_units == "S" else "Ω"


def _time(result: Inversion) -> str:
    """Name of the abscissa."""
    return result.tau_name.replace("τ", r"$\tau$ / s")


def _state_axis(axes: Axes, quantity: Quantity, result: Inversion) -> None:
    decades(axes, _time(result))
    axes.set_ylabel(quantity.label)
    state_ticks(axes, quantity)


def state_ticks(axes: Axes, quantity: Quantity) -> None:
    """Put ticks on the ordinate where states are, and the names of spectra that have some."""
    if quantity.names:
        axes.set_yticks(quantity.array.tolist(), quantity.names, size="small")
        axes.set_ylabel("")
        return
    axes.yaxis.set_major_locator(_StateTicks(quantity))


class _StateTicks(MaxNLocator):
    """Ticks between the lowest and the highest state, and at the states themselves if they are few whole numbers."""

    def __init__(self, quantity: Quantity) -> None:
        super().__init__("auto", integer=quantity.whole, steps=[1, 2, 2.5, 5, 10])
        self._states = np.unique(quantity.array)
        self._whole = quantity.whole

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Values that belong to a tick between two others."""
        states = self._states
        if self._whole and (states.size == 1 or np.diff(states).min() > 0.06 * abs(vmax - vmin)):
            return [float(state) for state in states]
        ticks = np.asarray(super().tick_values(vmin, vmax))
        slack = 1e-9 * (states[-1] - states[0])
        return [float(tick) for tick in ticks if states[0] - slack <= tick <= states[-1] + slack]


def _draw_bands(axes: Axes, result: Inversion, tau: Array, rgba: Any, by: Array) -> list[Artist]:
    """Draw intervals of γ, over what γ is drawn in parts of, as bands, if the result keeps them; return their key."""
    if (both := gamma_bands(result, tau)) is None:
        return []
    low, high, level = both
    for lower, upper, colour in zip(low / by, high / by, rgba, strict=True):
        axes.fill_between(tau, lower, upper, color=colour, alpha=_BAND, lw=0.0, zorder=1.0)
    colour = rgba[0] if len(rgba) == 1 else "0.35"
    return [Patch(color=colour, alpha=_BAND, lw=0.0, label=f"{100.0 * level:g} %")]


def _draw_truth(axes: Axes, truth: tuple[ArrayLike, ArrayLike], chosen: Selection, count: int) -> None:
    tau, exact = (np.asarray(part, dtype=float) for part in truth)
    if tau.ndim != 1 or exact.shape not in ((tau.size,), (count, tau.size)):
        raise InputError(
            f"truth must be relaxation times of shape (T,) and γ of shape (T,) or ({count}, T); got shapes {tau.shape} "
            f"and {exact.shape}."
        )
    by = areas(chosen.states, current().per_area)
    if by is not None:
        exact = exact[chosen.rows] * by[:, None] if exact.ndim == 2 else by[:, None] * exact
    elif exact.ndim == 2:
        exact = exact[chosen.rows]
    for line in np.atleast_2d(exact):
        axes.plot(tau, line, color="black", lw=0.7, ls=(0, (4, 2)), zorder=3)
