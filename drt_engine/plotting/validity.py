"""Figures of validity: the residuals of one spectrum, and a map of those of a campaign."""

from typing import Any, Literal, get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.plotting.canvas import axes_for, decades, figure_of, legend_above, styled
from drt_engine.plotting.colours import BESIDE, NAMED, colour_map, finish_bar
from drt_engine.plotting.distributions import state_ticks
from drt_engine.plotting.selection import Selection, row_numbers
from drt_engine.validation import Validation, Validity

__all__ = ["validity_map", "validity_residuals"]

Part = Literal["modulus", "re", "im"]

_LABELS = {"modulus": "|$Δ$| / %", "re": "Re $Δ$ / %", "im": "Im $Δ$ / %"}
_BELOW = 100.0


@styled
def validity_residuals(validation: Validation, row: int = 0, *, ax: Axes | None = None) -> Axes:
    """Residuals of the test of one spectrum, (Z − Z_model) / |Z|, in per cent over frequency.

    A grey band of plus and minus two standard deviations of the noise lies behind them. Points that are off have a ring
    around both parts. What was found stands above.

    Parameters
    ----------
    validation : Validation
        The result of :func:`drt_engine.validate`.
    row : int
        Which spectrum.
    ax : Axes, optional
        Where to draw; a new figure of one column by default.

    Returns
    -------
    Axes
        Symmetric about zero.

    Raises
    ------
    InputError
        If `validation` is none, for a row that does not exist, and for one that could not be tested.
    """
    one = _chosen(validation, row)
    if len(one) != 1:
        raise InputError(f"row must be one row number; got {row!r}.")
    axes, _ = axes_for(ax, 2.3)
    frequency, percent = one.frequency, 100.0 * one.residual[0]
    looks: tuple[dict[str, Any], ...] = (
        {"marker": "o", "color": NAMED[0]},
        {"marker": "^", "mfc": "none", "color": NAMED[1]},
    )
    noise = 200.0 * float(one.noise[0])
    axes.axhspan(-noise, noise, color="0.92", lw=0.0, zorder=0.5)
    axes.axhline(0.0, color="0.7", lw=0.5, zorder=1.0)
    for part, look in zip((percent.real, percent.imag), looks, strict=True):
        axes.plot(frequency, part, ls="none", mew=0.6, ms=2.5, zorder=2.0, **look)
        off = one.outlier[0]
        axes.plot(frequency[off], part[off], ls="none", marker="o", ms=6.0, mew=0.8, mfc="none", color="black")
    widest = max(float(np.nanmax(np.abs([percent.real, percent.imag]))), noise, 1e-6)
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
    return axes


@styled
def validity_map(
    validation: Validation,
    state: str = "spectrum",
    *,
    rows: Any = None,
    part: Part = "modulus",
    norm: Normalize | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Map of where data is bad: the residual as a colour over frequency and a state.

    Each spectrum is a stripe around its state, as in :func:`heat_map`. Points that are off have a dot, and spectra in
    which a violation was found a mark on the right.

    Parameters
    ----------
    validation : Validation
        The result of :func:`drt_engine.validate`.
    state : str
        Column of numbers, two or more, each once; the number of the row by default.
    rows : array_like of int or bool, slice or int, optional
        Which spectra; all by default. Those that could not be tested are left out.
    part : {"modulus", "re", "im"}
        Which part of the residual. Its modulus is coloured by its logarithm over two decades; a part from blue to red.
    norm : Normalize, optional
        How it becomes a colour, in per cent.
    ax : Axes, optional
        Where to draw; a new figure of one column by default.

    Returns
    -------
    Axes
        With frequency on the abscissa and the state on the ordinate.

    Raises
    ------
    InputError
        If `validation` is none, for rows that do not exist or could not be tested, and for a state that repeats or is
        no number.
    UnknownNameError
        For a state or a part that does not exist.
    """
    if part not in get_args(Part):
        raise UnknownNameError("part", part, get_args(Part))
    some = _chosen(validation, rows)
    states = some.states
    if "spectrum" not in states.columns:
        numbers = row_numbers(len(validation), rows)
        states = states.assign(spectrum=numbers[validation.tested[numbers]])
    quantity = Selection(np.arange(len(some)), states, None, None).quantity(state)
    order = quantity.distinct("A map of validity", 2)
    percent = 100.0 * some.residual[order]
    values = {"modulus": np.abs(percent), "re": percent.real, "im": percent.imag}[part]
    axes, _ = axes_for(ax, 2.6)
    edges = _edges(quantity.array[order])
    mesh = axes.pcolormesh(
        np.exp(_edges(np.log(some.frequency))),
        edges,
        np.ma.masked_invalid(values),
        cmap=colour_map("magma" if part == "modulus" else "RdBu_r"),
        norm=_norm(values, part) if norm is None else norm,
        rasterized=True,
    )
    row, point = np.nonzero(some.outlier[order])
    axes.plot(some.frequency[point], quantity.array[order][row], ls="none", marker=".", ms=2.0, color="#56B4E9")
    bad = quantity.array[order][~some.valid[order]]
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
    axes.set_xlim(some.frequency[-1], some.frequency[0])
    axes.set_ylim(edges[0], edges[-1])
    axes.set_ylabel(quantity.label)
    state_ticks(axes, quantity)
    bar = figure_of(axes).colorbar(mesh, ax=axes, **(BESIDE | {"pad": 0.04}))
    finish_bar(bar, _LABELS[part])
    return axes


def _chosen(validation: Validation, rows: Any) -> Validation:
    if not isinstance(validation, Validation):
        raise InputError(f"validation must be of type Validation; got {type(validation).__name__}.")
    numbers = row_numbers(len(validation), rows)
    tested = numbers[validation.tested[numbers]]
    if not tested.size:
        found = Validity(int(np.bitwise_or.reduce(validation.flag[numbers])))
        raise InputError(f"validation has no result in the {numbers.size} chosen rows. {found.message}")
    return validation[tested]


def _norm(values: NDArray[np.float64], part: Part) -> Normalize:
    largest = float(np.nanmax(np.abs(values))) or 1.0
    return LogNorm(largest / _BELOW, largest) if part == "modulus" else Normalize(-largest, largest)


def _edges(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    middle = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def _words(one: Validation) -> str:
    violations = Validity.DRIFT | Validity.OUTLIER | Validity.INCONSISTENT | Validity.NOISY
    found = [str(flag.name).lower() for flag in Validity if flag & violations & int(one.flag[0])]
    return ", ".join(found) or "valid"
