"""Figures of measured and fitted impedance: Nyquist, Bode, residuals."""

import math
from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from drt_engine.errors import InputError
from drt_engine.plotting.canvas import (
    SINGLE_COLUMN,
    axes_for,
    decades,
    figure_of,
    fit_height,
    label_modulus,
    legend_above,
    new_figure,
    plain_logarithm,
    style_axes,
)
from drt_engine.plotting.colours import ColourScale, Paint, paint
from drt_engine.plotting.equal_axes import OF_EACH, fill, frame
from drt_engine.plotting.look import LookOptions, current, styled
from drt_engine.plotting.marks import mark_decades
from drt_engine.plotting.selection import NUMBERS, Selection, select
from drt_engine.plotting.tails import keep_arcs, shown_sizes
from drt_engine.plotting.together import SeveralInversions, SeveralSpectra, one_result, one_spectra

__all__ = ["bode", "draw_impedance", "keys_of", "nyquist", "own_sizes", "residuals"]

_GREY = "0.35"
# Frequencies of a fitted curve: its chords leave the arc of an RC element by less than 0.1 % of its radius.
_PER_DECADE = 30
# Spectra whose points can be drawn large without hiding each other.
_FEW = 6
_APART = 20.0  # times: spectra so much smaller than others would be a dot beside them


@styled
def nyquist(
    spectra: SeveralSpectra,
    result: SeveralInversions | None = None,
    *,
    rows: Any = None,
    state: str | ColourScale | None = None,
    marks: bool = False,
    ax: Axes | None = None,
    **options: Unpack[LookOptions],
) -> Figure:
    """Nyquist plot: −Im Z over Re Z, with an ohm as long on one axis as on the other.

    A blocking or inductive tail that would press the arcs into less than a third of the plot leaves it, and a line in
    the plot says so; see `whole_tails` and `z_range` of :class:`Look`. Spectra that only a number orders and whose
    sizes differ more than 20-fold are drawn in parts of the largest Re Z or −Im Z of each, which the labels say; see
    `own_scales`.

    Parameters
    ----------
    spectra : Spectra or sequence of Spectra
        Measured spectra, on one frequency grid or on several, whose rows count through, drawn as points.
    result : Inversion or sequence of Inversion, optional
        Their result, drawn as a line of 30 points a decade between the highest and the lowest frequency.
    rows : array_like of int or bool, slice or int, optional
        Which spectra; all by default.
    state : str or ColourScale, optional
        What to colour by; the row number by default.
    marks : bool
        Whether whole decades of frequency are marked, on the fit if there is a result and else between the measured
        points, and for a single spectrum labelled.
    ax : Axes, optional
        Where to draw; a new figure of one column by default.
    **options
        Limits, units and sizes, as :class:`Look` takes them.

    Returns
    -------
    Figure
        Equal aspect, the same ticks on both axes; Axes that are given shrink to fit.

    Raises
    ------
    InputError
        For rows that do not exist, and if no row has a solution.
    UnknownNameError
        For a state that does not exist.
    """
    chosen = select(one_spectra(spectra), None if result is None else one_result(result), rows)
    colours = paint(chosen, state)
    axes, new = axes_for(ax, SINGLE_COLUMN)
    draw_impedance(axes, chosen, colours, None if marks else own_sizes(chosen, state))
    ratio = frame([axes])
    legend_above(axes, (*colours.handles, *keys_of(chosen, marks)))
    colours.explain(axes)
    if new:
        axes.set_aspect("auto")
        fit_height(figure_of(axes), [[axes]], [ratio])
        fill([axes])
    if marks:
        mark_decades(axes, chosen.measured.frequency, chosen, colours)
    return figure_of(axes)


def own_sizes(chosen: Selection, state: str | ColourScale | None) -> NDArray[np.float64] | None:
    """Return what the impedance of each spectrum is divided by, ohm, shape (K,); None if all are drawn in ohm."""
    wish, name = current().own_scales, state.state if isinstance(state, ColourScale) else state
    if wish is False or current().z_range is not None or len(chosen) < 2 or not (wish or name in NUMBERS):
        return None
    sizes = shown_sizes(chosen.measured.impedance)
    return sizes if sizes.min() > 0 and (wish or sizes.max() > _APART * sizes.min()) else None


def draw_impedance(axes: Axes, chosen: Selection, colours: Paint, sizes: NDArray[np.float64] | None) -> None:
    """Draw points and fits of a Nyquist plot, in ohm or in parts of the size of each."""
    by = np.ones(len(chosen)) if sizes is None else sizes
    measured = chosen.measured.impedance / by[:, None]
    size = 3.0 if len(chosen) <= _FEW else 1.8
    for values, colour in zip(measured, colours.rgba, strict=True):
        axes.plot(values.real, -values.imag, "o", color=colour, mfc="none", mew=0.2 * size, ms=size, zorder=2.0)
    if chosen.result is not None:
        fit = chosen.result.impedance_at(_fine(chosen.measured.frequency)) / by[:, None]
        for values, colour in zip(fit, colours.rgba, strict=True):
            axes.plot(values.real, -values.imag, "-", color=colour, lw=0.8, zorder=2.1)
    keep_arcs(axes, measured, by)
    if axes.dataLim.y0 < 0:
        axes.axhline(0.0, color="0.7", lw=0.5, zorder=1.0)
    if sizes is not None:
        axes.set_gid(OF_EACH)


@styled
def bode(
    spectra: SeveralSpectra,
    result: SeveralInversions | None = None,
    *,
    rows: Any = None,
    state: str | ColourScale | None = None,
    axes: Sequence[Axes] | None = None,
    **options: Unpack[LookOptions],
) -> Figure:
    """Bode plot: modulus and negative phase over frequency.

    Parameters
    ----------
    spectra : Spectra or sequence of Spectra
        Measured spectra, on one frequency grid or on several, whose rows count through, drawn as points.
    result : Inversion or sequence of Inversion, optional
        Their result, drawn as a line of 30 points a decade between the highest and the lowest frequency.
    rows : array_like of int or bool, slice or int, optional
        Which spectra; all by default.
    state : str or ColourScale, optional
        What to colour by; the row number by default.
    axes : pair of Axes, optional
        Where to draw modulus and phase; a new figure of one column by default.
    **options
        Limits, units and sizes, as :class:`Look` takes them.

    Returns
    -------
    Figure
        Its first Axes are modulus and phase; the phase is that of a capacitor upwards, as in a Nyquist plot.

    Raises
    ------
    InputError
        For rows that do not exist, and if no row has a solution.
    UnknownNameError
        For a state that does not exist.
    """
    chosen = select(one_spectra(spectra), None if result is None else one_result(result), rows)
    colours = paint(chosen, state)
    upper, lower = _pair(axes)
    measured = (chosen.measured.frequency, chosen.measured.impedance, {"ls": "none", "marker": "o", "mfc": "none"})
    curves: list[tuple[NDArray[np.float64], NDArray[np.complex128], dict[str, Any]]] = [measured]
    if chosen.result is not None:
        fine = _fine(chosen.measured.frequency)
        curves.append((fine, chosen.result.impedance_at(fine), {"ls": "-", "lw": 0.8}))
    for frequency, impedance, look in curves:
        for z, colour in zip(impedance, colours.rgba, strict=True):
            upper.plot(frequency, np.abs(z), color=colour, mew=0.6, **look)
            lower.plot(frequency, -np.angle(z, deg=True), color=colour, mew=0.6, **look)
    decades(upper, "" if axes is None else "$f$ / Hz")
    decades(lower, "$f$ / Hz")
    plain_logarithm(upper)
    label_modulus(upper)
    lower.set_ylabel("−arg $Z$ / °")
    lower.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 1.5, 2, 3, 5, 10]))
    legend_above(upper, (*colours.handles, *keys_of(chosen)))
    colours.explain([upper, lower])
    return figure_of(upper)


@styled
def residuals(
    spectra: SeveralSpectra,
    result: SeveralInversions,
    *,
    rows: Any = None,
    state: str | ColourScale | None = None,
    ax: Axes | None = None,
    **options: Unpack[LookOptions],
) -> Figure:
    """Residuals of a fit: (Z_fit − Z) / |Z|, real and imaginary part, in per cent over frequency.

    Frequency ascends to the right, so relaxation times τ = 1/(2πf) ascend to the left, against the figures of γ. The
    root mean square of all points of a spectrum, real and imaginary part squared and added, is its
    :attr:`~drt_engine.Inversion.residual`.

    Parameters
    ----------
    spectra : Spectra or sequence of Spectra
        Measured spectra, on one frequency grid or on several, whose rows count through.
    result : Inversion or sequence of Inversion
        Their result.
    rows : array_like of int or bool, slice or int, optional
        Which spectra; all by default.
    state : str or ColourScale, optional
        What to colour by; the row number by default. Real and imaginary part differ by their markers.
    ax : Axes, optional
        Where to draw; a new figure of one column by default.
    **options
        Limits, units and sizes, as :class:`Look` takes them.

    Returns
    -------
    Figure
        Symmetric about zero.

    Raises
    ------
    InputError
        For rows that do not exist, and if no row has a solution.
    UnknownNameError
        For a state that does not exist.
    """
    chosen = select(one_spectra(spectra), one_result(result), rows)
    fitted = chosen.fitted
    colours = paint(chosen, state)
    axes, _ = axes_for(ax, 2.3)
    z = chosen.measured.impedance
    with np.errstate(invalid="ignore", divide="ignore"):  # points that are missing, or zero
        off = 100.0 * (fitted.impedance_at(chosen.measured.frequency) - z) / np.abs(z)
    if not np.isfinite(off).any():
        raise InputError("there is no residual to draw: no point of these spectra has an impedance that is not zero.")
    second = colours.rgba if len(chosen) > 1 else np.tile(_SECOND, (1, 1))
    looks: tuple[dict[str, Any], ...] = ({"marker": "o"}, {"marker": "^", "mfc": "none"})
    for part, rgba, look in ((off.real, colours.rgba, looks[0]), (off.imag, second, looks[1])):
        for values, colour in zip(part, rgba, strict=True):
            axes.plot(chosen.measured.frequency, values, ls="none", color=colour, mew=0.6, ms=2.5, **look)
    axes.axhline(0.0, color="0.7", lw=0.5, zorder=1.0)
    widest = float(np.nan_to_num(np.abs([off.real, off.imag])).max()) or 1.0
    axes.set_ylim(-1.1 * widest, 1.1 * widest)
    decades(axes, "$f$ / Hz")
    axes.set_ylabel(r"($Z_\mathrm{fit}$ − $Z$) / |$Z$| / %")
    greys = (colours.rgba[0], _SECOND) if len(chosen) == 1 else (_GREY, _GREY)
    keys = [
        Line2D([], [], ls="none", color=grey, mew=0.6, label=label, **look)
        for label, grey, look in zip(("Re", "Im"), greys, looks, strict=True)
    ]
    legend_above(axes, (*colours.handles, *keys))
    colours.explain(axes)
    return figure_of(axes)


# The vermilion of Okabe and Ito, which readers with colour blindness tell from the blue of a first curve.
_SECOND = (0.835, 0.369, 0.0, 1.0)


def _pair(axes: Sequence[Axes] | None) -> tuple[Axes, Axes]:
    if axes is None:
        upper, lower = new_figure(SINGLE_COLUMN, 3.4).subplots(2, 1, sharex=True)
        upper.tick_params(labelbottom=False)
        return style_axes(upper), style_axes(lower)
    given = np.ravel(np.asarray(axes, dtype=object)).tolist()
    if len(given) != 2 or not all(isinstance(one, Axes) for one in given):
        raise InputError(f"axes must be two Axes, for modulus and phase; got {axes!r}.")
    return given[0], given[1]


def _fine(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    count = math.ceil(_PER_DECADE * math.log10(frequency[0] / frequency[-1])) + 1
    fine = np.geomspace(frequency[0], frequency[-1], max(count, frequency.size))
    fine[[0, -1]] = frequency[[0, -1]]
    return fine


def keys_of(chosen: Selection, marks: bool = False) -> list[Artist]:
    """Keys for the legend, where there is more than measured points."""
    point = Line2D([], [], ls="none", marker="o", mfc="none", mew=0.6, color=_GREY, label="measured")
    fit = Line2D([], [], lw=0.8, color=_GREY, label="fit")
    filled = Line2D([], [], ls="none", marker="o", mew=0.6, color=_GREY, label="decades of $f$")
    keys: list[Artist] = [*([] if chosen.result is None else [fit]), *([filled] if marks else [])]
    return [point, *keys] if keys else []
