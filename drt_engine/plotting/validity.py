"""Figures of validity: the residuals of one spectrum, and a map of those of a campaign."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, Unpack, get_args

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.plotting.canvas import axes_for, decades, figure_of, legend_above
from drt_engine.plotting.colours import BESIDE, NAMED, colour_map, finish_bar
from drt_engine.plotting.distributions import state_ticks
from drt_engine.plotting.look import LookOptions, styled
from drt_engine.plotting.selection import Selection, row_numbers
from drt_engine.validation import Validation, Validity
from drt_engine.validation.result import MOST_IN_NOISE

__all__ = ["validity_map", "validity_residuals"]

Part = Literal["noise", "modulus", "re", "im"]

_LABELS = {"noise": "|$Δ$| / noise", "modulus": "|$Δ$| / %", "re": "Re $Δ$ / %", "im": "Im $Δ$ / %"}
# Residuals are shown down to a hundredth of the largest: what is less is noise beside it.
_BELOW = 100.0
# Over all frequencies of a map of several grids: on a column of 3.5 inches, narrower than the eye tells apart.
_STRIPES = 600

Array = NDArray[np.float64]


@styled
def validity_residuals(
    validation: Validation, row: int = 0, *, ax: Axes | None = None, **options: Unpack[LookOptions]
) -> Figure:
    """Residuals of the test of one spectrum, (Z − Z_model) / |Z|, in per cent over frequency.

    They are those of the model by which it is judged, `full_residual`. A grey band shows plus and minus two standard
    deviations of the noise. Points that the test rejects have a ring
    around their real and imaginary parts. The title says what the test found.

    Parameters
    ----------
    validation : Validation
        The result of :func:`drt_engine.validate`.
    row : int
        Row number of the spectrum.
    ax : Axes, optional
        Where to draw; a new figure of one column by default.

    **options
        Sizes, as :class:`Look` takes them.

    Returns
    -------
    Figure
        Symmetric about zero.

    Raises
    ------
    InputError
        If `validation` is not a Validation, for a row that does not exist, and for one that could not be tested.
    """
    one = _chosen(validation, row)
    if len(one) != 1:
        raise InputError(f"row must be one row number; got {row!r}.")
    axes, _ = axes_for(ax, 2.3)
    frequency, percent = one.frequency, 100.0 * one.full_residual[0]
    looks: tuple[dict[str, Any], ...] = (
        {"marker": "o", "color": NAMED[0]},
        {"marker": "^", "mfc": "none", "color": NAMED[1]},
    )
    noise = 200.0 * one.deviation[0]
    axes.fill_between(frequency, -noise, noise, color="0.92", lw=0.0, zorder=0.5)
    axes.axhline(0.0, color="0.7", lw=0.5, zorder=1.0)
    for part, look in zip((percent.real, percent.imag), looks, strict=True):
        axes.plot(frequency, part, ls="none", mew=0.6, ms=2.5, zorder=2.0, **look)
        off = one.outlier[0]
        axes.plot(frequency[off], part[off], ls="none", marker="o", ms=6.0, mew=0.8, mfc="none", color="black")
    widest = max(float(np.nanmax(np.abs([percent.real, percent.imag, noise]))), 1e-6)
    axes.set_ylim(-1.1 * widest, 1.1 * widest)
    decades(axes, "$f$ / Hz")
    axes.set_ylabel("$Δ$ / %")
    axes.set_title(_words(one), loc="left", fontsize="small")
    legend_above(
        axes,
        [
            Line2D([], [], ls="none", ms=2.5, mew=0.6, label=label, **look)
            for label, look in zip(("Re", "Im"), looks, strict=True)
        ],
    )
    return figure_of(axes)


@styled
def validity_map(
    validation: Validation | Sequence[Validation],
    state: str = "spectrum",
    *,
    rows: Any = None,
    part: Part = "noise",
    norm: Normalize | None = None,
    ax: Axes | None = None,
    **options: Unpack[LookOptions],
) -> Figure:
    """Map of where data is bad: the residual as a colour over frequency and a state.

    The residual is that of the model by which spectra are judged, `full_residual`. Each spectrum is a stripe around its
    state, as in :func:`heat_map`. Points that are off have a dot, and spectra in which a violation was found a mark on
    the right.

    Parameters
    ----------
    validation : Validation or sequence of Validation
        The result of :func:`drt_engine.validate`, on one frequency grid or on several, whose rows count through.
    state : str
        Column of numbers, two or more, each once; the number of the row by default.
    rows : array_like of int or bool, slice or int, optional
        Which spectra; all by default. Those that could not be tested are left out.
    part : {"noise", "modulus", "re", "im"}
        Of the residual, its root mean square in standard deviations of the noise, up to five of them; its modulus in
        per cent, as a logarithm over two decades; or a part in per cent, from blue to red.
    norm : Normalize, optional
        How it becomes a colour, in this unit.
    ax : Axes, optional
        Where to draw; a new figure of one column by default.

    **options
        Sizes, as :class:`Look` takes them.

    Returns
    -------
    Figure
        With frequency on the abscissa and the state on the ordinate.

    Raises
    ------
    InputError
        If `validation` is not a Validation, for rows that do not exist or could not be tested, and for a state that
        repeats or is not a number.
    UnknownNameError
        For a state or a part that does not exist.
    """
    if part not in get_args(Part):
        raise UnknownNameError("part", part, get_args(Part))
    parts, states = _tested(validation, rows)
    quantity = Selection(np.arange(len(states)), states, None, None).quantity(state)
    order = quantity.distinct("A map of validity", 2)
    frequency, shown = _stripes(
        [(one.frequency, one.in_noise if part == "noise" else 100.0 * one.full_residual) for one in parts]
    )
    values = (shown.imag if part == "im" else shown.real if part == "re" else np.abs(shown))[order]
    axes, _ = axes_for(ax, 2.6)
    edges = _edges(quantity.array[order])
    mesh = axes.pcolormesh(
        frequency,
        edges,
        np.ma.masked_invalid(values),
        cmap=colour_map("RdBu_r" if part in ("re", "im") else "magma"),
        norm=_norm(values, part) if norm is None else norm,
        rasterized=True,
    )
    first = 0
    for one in parts:
        row, point = np.nonzero(one.outlier)
        axes.plot(one.frequency[point], quantity.array[first + row], ls="none", marker=".", ms=2.0, color="#56B4E9")
        first += len(one)
    bad = quantity.array[~np.concatenate([one.valid for one in parts])]
    axes.plot(
        np.full(bad.size, 1.015),
        bad,
        ls="none",
        marker=0,
        ms=3.0,
        color="black",
        clip_on=False,
        transform=axes.get_yaxis_transform(),
    )
    decades(axes, "$f$ / Hz")
    axes.set_xlim(min(one.frequency[-1] for one in parts), max(one.frequency[0] for one in parts))
    axes.set_ylim(edges[0], edges[-1])
    axes.set_ylabel(quantity.label)
    state_ticks(axes, quantity)
    bar = figure_of(axes).colorbar(mesh, ax=axes, **(BESIDE | {"pad": 0.04}))
    finish_bar(bar, _LABELS[part])
    return figure_of(axes)


def _tested(validation: Validation | Sequence[Validation], rows: Any) -> tuple[list[Validation], pd.DataFrame]:
    """Return the chosen rows that were tested, grid by grid, and their states with their numbers."""
    every: list[Any] = list(validation) if isinstance(validation, list | tuple) else [validation]
    if len(every) == 1:
        some = _chosen(every[0], rows)
        numbers = row_numbers(len(every[0]), rows)
        parts, numbers = [some], numbers[every[0].tested[numbers]]
    else:
        checked = [one for one in every if _chosen(one, None) is not None]
        tested = np.concatenate([one.tested for one in checked])
        numbers = row_numbers(tested.size, rows)
        numbers = np.sort(numbers[tested[numbers]])
        ends = np.cumsum([0, *map(len, checked)])
        own = [numbers[(numbers >= low) & (numbers < high)] - low for low, high in pairwise(ends.tolist())]
        parts = [one[here] for one, here in zip(checked, own, strict=True) if here.size]
    states = pd.concat([one.states for one in parts], ignore_index=True)
    return parts, states if "spectrum" in states.columns else states.assign(spectrum=numbers)


def _stripes(parts: Sequence[tuple[Array, NDArray[Any]]]) -> tuple[Array, NDArray[Any]]:
    """Return the edges of frequencies and residuals between them, of one grid or of several.

    Several grids have edges of their own: all are cut into the same narrow stripes, each of which has the residual of
    the frequency that it is nearest to.
    """
    edges = [_edges(np.log(frequency)) for frequency, _ in parts]
    if len(parts) == 1:
        return np.exp(edges[0]), parts[0][1]
    common = np.linspace(max(one[0] for one in edges), min(one[-1] for one in edges), _STRIPES + 1)
    middle = 0.5 * (common[1:] + common[:-1])
    rows = []
    for own, (_, residual) in zip(edges, parts, strict=True):
        at = np.searchsorted(-own, -middle) - 1
        inside = (at >= 0) & (at < residual.shape[1])
        rows.append(np.where(inside, residual[:, np.clip(at, 0, residual.shape[1] - 1)], np.nan))
    return np.exp(common), np.concatenate(rows)


def _chosen(validation: Validation, rows: Any) -> Validation:
    if not isinstance(validation, Validation):
        raise InputError(f"validation must be of type Validation; got {type(validation).__name__}.")
    numbers = row_numbers(len(validation), rows)
    tested = numbers[validation.tested[numbers]]
    if not tested.size:
        found = Validity(int(np.bitwise_or.reduce(validation.flag[numbers])))
        raise InputError(f"validation has no result in the {numbers.size} chosen rows. {found.message}")
    return validation[tested]


def _norm(values: NDArray[Any], part: Part) -> Normalize:
    if part == "noise":
        return Normalize(0.0, MOST_IN_NOISE)
    largest = float(np.nanmax(np.abs(values))) or 1.0
    return LogNorm(largest / _BELOW, largest) if part == "modulus" else Normalize(-largest, largest)


def _edges(centres: Array) -> Array:
    if centres.size == 1:
        return np.asarray(centres + np.array([0.5, -0.5]))
    middle = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def _words(one: Validation) -> str:
    violations = Validity.DRIFT | Validity.OUTLIER | Validity.INCONSISTENT | Validity.NOISY
    found = [str(flag.name).lower() for flag in Validity if flag & violations & int(one.flag[0])]
    return ", ".join(found) or "valid"
