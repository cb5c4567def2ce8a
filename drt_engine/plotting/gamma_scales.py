"""Scales of γ in figures: limits, units, colours, heights in a waterfall, and what is not shown whole."""

import logging
import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, PowerNorm
from matplotlib.lines import Line2D
from matplotlib.transforms import blended_transform_factory
from numpy.typing import ArrayLike, NDArray

from drt_engine.errors import InputError
from drt_engine.plotting.canvas import is_narrow
from drt_engine.plotting.colours import finish_bar
from drt_engine.plotting.look import current, in_ohms, ohms
from drt_engine.plotting.selection import NUMBERS
from drt_engine.plotting.together import reached
from drt_engine.result import Inversion

__all__ = [
    "GAMMA_OF_EACH",
    "count_flat",
    "gamma_axis",
    "gamma_ends",
    "gamma_norm",
    "label_gamma",
    "largest_of_each",
    "own_heights",
    "own_scales",
    "say_beyond",
    "say_own_scales",
    "scale_bar",
    "shown_gamma",
    "waterfall_scale",
    "without_tail_rise",
]

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

_GAMMA = r"$\gamma$"
GAMMA_OF_EACH = r"$\gamma$ / $\gamma_\mathrm{max}$ of each"
_PARTS = 5  # lines between two relaxation times, so that γ looks smooth
_DECADES = 4.0  # that a logarithmic scale shows below its top, where γ touches zero
_TALLEST = 0.3  # of the axis: the highest peak of a waterfall
_TAIL_RISE = 1.2  # times what is inside: an end higher than that is cut off and written beside
_FLAT = 0.02  # share of the largest peak below which a row looks like a line
_FAR = 0.05  # the same for spectra that are no series


def own_heights(values: Array, states: Array) -> Array:
    """How high an ohm of each spectrum is where each is drawn in parts of its largest γ, shape (K,).

    Parameters
    ----------
    values : ndarray, shape (K, T)
        γ, ohm.
    states : ndarray, shape (K,)
        Where they stand, in the unit of the label.
    """
    # All are tall then, and must not hide each other: they rise by two steps at most.
    places = np.unique(states)
    step = float(np.median(np.diff(places))) / np.ptp(places) if places.size > 1 else 1.0
    return min(1.0, 2.0 * step / _TALLEST) * np.array([waterfall_scale(row, states) for row in values])


def waterfall_scale(values: ArrayLike, states: ArrayLike) -> float:
    """Height of an ohm in a waterfall that lets the tallest γ rise by three tenths of the range of states.

    Parameters
    ----------
    values : array_like, shape (K, T)
        γ, ohm.
    states : array_like, shape (K,)
        Where they stand.

    Returns
    -------
    float
        In the unit of the states over ohm.
    """
    places = np.asarray(states, dtype=float)
    span = float(np.ptp(places)) or max(1.0, abs(float(places[0])))
    return _TALLEST * span / (float(np.nanmax(np.abs(values))) or 1.0)


def label_gamma(bar: Any, unit: str = "Ω") -> None:
    """Give the colour bar of a heat map its label and unit."""
    finish_bar(bar, "")
    in_ohms({bar.ax.yaxis: _GAMMA}, float(bar.mappable.norm.vmax), unit)


def gamma_norm(values: ArrayLike) -> Normalize:
    """Colours by the square root of γ, from 0 to the largest value, or as the options of the figure say."""
    low, high = gamma_ends(np.asarray(values))
    if current().log_gamma:
        return LogNorm(low if low > 0 else high * 10.0**-_DECADES, high)
    return PowerNorm(0.5, vmin=low, vmax=high)


def gamma_ends(values: Array) -> tuple[float, float]:
    """Lowest and highest γ to show."""
    low, high = current().gamma_range or (None, None)
    return 0.0 if low is None else low, float(np.nanmax(values)) or 1.0 if high is None else high


def without_tail_rise(result: Inversion, tau: Array, values: Array) -> tuple[Array, float | None]:
    """Return γ for choosing a scale, without artefacts of a tail, and the largest γ if some were left out.

    Where γ rises beyond the relaxation times that the data reach to far more than all that is within, it stands for a
    tail, and on its scale what was measured would look flat.

    Parameters
    ----------
    result : Inversion
        The result.
    tau, values : ndarray, shapes (T,) and (K, T)
        As :func:`shown_gamma` returns them.

    Returns
    -------
    values : ndarray, shape (K, T)
        NaN beyond the data if there are walls.
    largest : float or None
        Ohm; None if there are none.
    """
    wanted = current()
    ends = reached(result)
    inside = np.where((tau >= ends[:, :1]) & (tau <= ends[:, 1:]), values, np.nan)
    if wanted.whole_tails or wanted.gamma_range is not None or not np.isfinite(inside).any():
        return values, None
    largest, within = float(np.nanmax(values)), float(np.nanmax(inside))
    return (inside, largest) if within > 0.0 and largest > _TAIL_RISE * within else (values, None)


def own_scales(values: Array, state: str) -> bool:
    """Whether each spectrum is drawn in parts of its largest γ: as is wished, or where many would look flat.

    Spectra that have only a number in common may be of samples that differ by powers of ten. Along a state the size of
    γ says something, and one scale shows it as long as it shows most of the spectra.

    Parameters
    ----------
    values : ndarray, shape (K, T)
        γ, ohm.
    state : str
        What they stand along.
    """
    if (wish := current().own_scales) is not None:
        return wish
    flat = count_flat(values, state)
    return flat > 0 and (state in NUMBERS or 3 * flat > len(values))


def say_own_scales(values: Array, state: str) -> None:
    """Say that each spectrum is drawn in parts of its largest γ, where nobody wished so."""
    if current().own_scales is None:
        logger.warning(
            "γ of %d of %d spectra would look flat beside the largest: each is drawn in parts of its own largest γ. "
            "own_scales=False, --one-scale, draws all on one scale.",
            *(count_flat(values, state), len(values)),
        )


def count_flat(values: Array, state: str) -> int:
    """Count the spectra whose γ would look flat on the scale of the largest; 0 if limits of γ are given."""
    if current().gamma_range is not None or current().log_gamma:
        return 0
    tops = largest_of_each(values)
    return int(np.count_nonzero(tops < (_FAR if state in NUMBERS else _FLAT) * tops.max()))


def largest_of_each(values: Array) -> Array:
    """Largest modulus in each row, as far as it is known."""
    return np.asarray(np.nan_to_num(np.abs(values)).max(axis=1))


def say_beyond(
    axes: Axes, largest: float | None, unit: str, colour: str = "0.35", *, beside_names: bool = False
) -> None:
    """Say in a figure that γ is not shown whole; in two lines where names of spectra will make the axes narrow."""
    if largest is None:
        return
    factor, unit = ohms(10.0 * largest, unit)
    between = "\n" if beside_names or is_narrow(axes) else " "
    axes.text(
        0.02,
        0.98,
        rf"$\gamma$ beyond the data, to {largest * factor:.3g} {unit},{between}not shown whole",
        transform=axes.transAxes,
        va="top",
        size=current().font_size - 2.0,
        color=colour,
        zorder=5.0,
    ).set_in_layout(False)


def gamma_axis(axes: Axes, largest: float, unit: str, *, limited: bool = False) -> None:
    """Scale an ordinate of γ around all that is drawn, or as the options of the figure say."""
    low, high = current().gamma_range or (None, None)
    top, foot = axes.dataLim.y1 or 1.0, min(axes.dataLim.y0, 0.0)
    top = min(top, 1.15 * largest) if limited else top
    if foot < 0.0 and not current().log_gamma:
        axes.axhline(0.0, color="0.6", lw=0.5, zorder=0)
    if current().log_gamma:
        axes.set_yscale("log")
        top = largest if high is None else high
        axes.set_ylim(
            low if low is not None and low > 0 else top * 10.0**-_DECADES, 1.5 * top if high is None else high
        )
    else:
        axes.set_ylim(min(-0.02 * top, 1.05 * foot) if low is None else low, 1.05 * top if high is None else high)
    in_ohms({axes.yaxis: _GAMMA}, float(axes.get_ylim()[1]), unit)


def scale_bar(axes: Axes, scale: float | None, most: float, unit: str = "Ω") -> None:
    """Draw beside a waterfall how high a round number of ohms is, up to two thirds of the largest γ.

    Parameters
    ----------
    axes : Axes
        The waterfall, with its final limits.
    scale : float or None
        Height of an ohm, in the unit of its ordinate; None where each spectrum has another.
    most : float
        The largest γ, ohm.
    unit : str
        Ω, or S.
    """
    if scale is None:
        axes.text(1.025, 0.0, GAMMA_OF_EACH, transform=axes.transAxes, rotation=90, size="small")
        return
    power = 10.0 ** math.floor(math.log10(most * 2 / 3)) if most > 0 else 1.0
    ohm = max((power * factor for factor in (1.0, 2.0, 5.0) if power * factor <= most * 2 / 3), default=power)
    beside = blended_transform_factory(axes.transAxes, axes.transData)
    foot = axes.get_ylim()[0] + 0.03 * float(np.ptp(axes.get_ylim()))
    look: dict[str, Any] = {"color": "black", "lw": 1.2, "solid_capstyle": "butt", "clip_on": False}
    factor, unit = ohms(10.0 * ohm, unit)
    axes.add_line(Line2D([1.025, 1.025], [foot, foot + scale * ohm], transform=beside, **look))
    axes.text(
        1.045,
        foot,
        rf"$\gamma$ = {ohm * factor:g} {unit}",
        transform=beside,
        rotation=90,
        ha="left",
        va="bottom",
        size="small",
    )


def shown_gamma(result: Inversion) -> tuple[Array, Array]:
    """Relaxation times, s, and γ, ohm, as they are drawn: within the limits of the figure, shapes (T,) and (K, T)."""
    if result.gamma_units not in ("ohm", "S"):
        raise InputError(
            "γ of some spectra is in ohm and of others in siemens, which cannot share an axis. Draw a figure of each: "
            "result[result.representation == 'admittance']."
        )
    tau = _fine_tau(result.tau)
    if (given := current().tau_range) is not None:
        low, high = (end if wish is None else wish for wish, end in zip(given, tau[[0, -1]], strict=True))
        inside = tau[(tau > low) & (tau < high)]
        if not inside.size:
            raise InputError(
                f"tau_range must reach into the relaxation times of the result, {tau[0]:.3g} to {tau[-1]:.3g} s; got "
                f"{low:.3g} to {high:.3g}."
            )
        tau = np.concatenate([[low] if low > tau[0] else [], inside, [high] if high < tau[-1] else []])
    return tau, result.gamma_at(tau)


def _fine_tau(tau: Array) -> Array:
    """Divide each step of a grid of relaxation times, s, into five equal ratios."""
    return np.exp(np.interp(np.arange(_PARTS * (tau.size - 1) + 1) / _PARTS, np.arange(tau.size), np.log(tau)))
