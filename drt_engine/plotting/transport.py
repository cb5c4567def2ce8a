"""Figures of conductivity: pellets, Arrhenius lines, polarisation, and bars of ions and electrons."""

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from drt_engine.errors import InputError
from drt_engine.frames import titles
from drt_engine.plotting.canvas import axes_for, figure_of, legend_above, style_axes
from drt_engine.plotting.colours import NAMED
from drt_engine.plotting.impedance import nyquist
from drt_engine.plotting.look import LookOptions, current, ohms, styled
from drt_engine.spectra import Spectra
from drt_engine.text import drawn
from drt_engine.transport import Arrhenius, Composite, Conductivity, Polarisation
from drt_engine.transport.dc import since_step

__all__ = ["arrhenius", "conductivities", "polarisation", "total_resistance"]

_GREY = "0.45"
# Room above the lines, as a share of their range: they end at 57 % of the height, the inset begins at 68 % with
# labels below.
_ABOVE = 0.75


@styled
def total_resistance(
    spectra: Spectra,
    result: Conductivity | Composite,
    *,
    rows: Any = None,
    ax: Axes | None = None,
    **options: Unpack[LookOptions],
) -> Figure:
    """Nyquist plot with the fit; for pellets R_total is marked and what belongs to the tail is shaded.

    Parameters
    ----------
    spectra : Spectra
        Measured spectra of one frequency grid.
    result : Conductivity or Composite
        What was found of these spectra, of all and in this order.
    rows : array_like of int or bool, slice or int, optional
        Which; all by default. R_total is marked where there is one.
    ax : Axes, optional
        Where to draw; a new figure of one column by default.
    **options
        Limits, units and sizes, as :class:`Look` takes them.

    Returns
    -------
    Figure
        Equal aspect.

    Raises
    ------
    InputError
        If there are not as many results as spectra, and for rows that do not exist.
    """
    if len(result) != len(spectra):
        raise InputError("result must be that of the spectra, with one row each. Call conductivity(spectra) first.")
    figure = nyquist(spectra, rows=rows, ax=ax, **options)
    axes = figure.axes[0] if ax is None else ax
    chosen = np.arange(len(spectra)) if rows is None else np.atleast_1d(np.arange(len(spectra))[rows])
    fine = np.geomspace(spectra.frequency[0], spectra.frequency[-1], 300)
    fit = result.impedance_at(fine)
    if isinstance(result, Composite):
        fit = fit + np.stack([np.interp(-np.log(fine), -np.log(f), z) for f, z in result.subtracted])
    left, right = axes.get_xlim()
    low, high = axes.get_ylim()
    for row in chosen.tolist():
        axes.plot(fit[row].real, -fit[row].imag, "-", color="0.2", lw=0.8, zorder=2.1)
    handles = [Line2D([], [], color="0.2", lw=0.8, label="fit")]
    if isinstance(result, Conductivity) and chosen.size == 1:
        row = int(chosen[0])
        total = float(result.table["r_total"].iloc[row] + result.table["r_contact"].iloc[row])
        if np.isfinite(total):
            axes.axvline(total, color=NAMED[1], lw=0.8, ls="--", zorder=1.5)
            axes.axvspan(total, max(right, total), color=NAMED[1], alpha=0.1, lw=0.0, zorder=0.5)
            factor, unit = ohms(total)
            label = rf"$R_\mathrm{{total}}$ = {float(result.table['r_total'].iloc[row]) * factor:.4g} {unit}"
            handles.append(Line2D([], [], color=NAMED[1], lw=0.8, ls="--", label=label))
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
    legend_above(axes, handles)
    return figure


@styled
def arrhenius(
    result: Arrhenius, *, quantity: str = "total", ax: Axes | None = None, **options: Unpack[LookOptions]
) -> Figure:
    """Arrhenius plot: points with errors, lines with their bands, and E_a with its interval in the legend.

    Parameters
    ----------
    result : Arrhenius
        Lines of series.
    quantity : {"total", "bulk", "grain boundary"}
        Which conductivity.
    ax : Axes, optional
        Where to draw; a new figure of one column by default.
    **options
        Sizes, as :class:`Look` takes them.

    Returns
    -------
    Figure
        The ordinate is σT or σ, by the convention of the lines; the abscissa 1000/T.

    Raises
    ------
    InputError
        If there is no such quantity.
    """
    rows = np.flatnonzero((result.table["quantity"] == quantity).to_numpy()).tolist() if len(result) else []
    if not rows:
        raise InputError(f"there is no line of {quantity!r}; got {', '.join(sorted(set(result.table['quantity'])))}.")
    axes, _ = axes_for(ax, 2.8)
    with_t = result.convention == "ln(sigma T)"
    keys = list(result.table.columns[: list(result.table.columns).index("quantity")])
    handles = []
    for k, row in enumerate(rows):
        colour, own = NAMED[k % len(NAMED)], result.points[result.points["line"] == row]
        celsius = own["temperature"].to_numpy()
        scale = celsius + 273.15 if with_t else np.ones(celsius.size)
        axes.errorbar(
            1000 / (celsius + 273.15),
            own["sigma"] * scale,
            yerr=1.96 * own["sigma_error"] * scale,
            fmt="o",
            color=colour,
            mfc="none",
            ms=3.0,
            elinewidth=0.6,
            capsize=1.5,
        )
        known = result.table.iloc[row]
        if celsius.size > 1:
            fine = np.linspace(celsius.min(), celsius.max(), 100)
            factor = fine + 273.15 if with_t else np.ones(fine.size)
            sigma, low, high = result.sigma_at(row, fine)
            axes.plot(1000 / (fine + 273.15), sigma * factor, color=colour, lw=0.8)
            if np.isfinite(low).all():
                axes.fill_between(1000 / (fine + 273.15), low * factor, high * factor, color=colour, alpha=0.2, lw=0.0)
        half = 0.5 * (known["ea_high"] - known["ea_low"])
        name = ", ".join(drawn(str(known[key])) for key in keys)
        words = f"{known['ea']:.3f}" + (f" ± {half:.3f}" if np.isfinite(half) else "")
        handles.append(
            Line2D([], [], marker="o", mfc="none", ms=3.0, lw=0.8, color=colour, label=f"{name} $E_a$ = {words} eV")
        )
    axes.set_yscale("log")
    axes.set_xlabel("1000 K / $T$")
    axes.set_ylabel(r"$\sigma T$ / S K cm$^{-1}$" if with_t else r"$\sigma$ / S cm$^{-1}$")
    legend_above(axes, handles)
    if len(handles) > 1:
        axes.get_legend().set_ncols(1)  # type: ignore[union-attr]
    return figure_of(axes)


@styled
def polarisation(
    result: Polarisation, *, sample: int = 0, ax: Axes | None = None, **options: Unpack[LookOptions]
) -> Figure:
    """Response to steps over time with its steady state, and the line through the steady states as an inset.

    Parameters
    ----------
    result : Polarisation
        Steps and lines.
    sample : int
        Which row of its table.
    ax : Axes, optional
        Where to draw; a new figure of one column by default.
    **options
        Sizes, as :class:`Look` takes them.

    Returns
    -------
    Figure
        A dashed line is the steady state; a dotted one, a bound, of a step that is not steady.

    Raises
    ------
    InputError
        For a sample that does not exist.
    """
    if not 0 <= sample < len(result):
        raise InputError(f"sample must be a whole number from 0 to {len(result) - 1}; got {sample!r}.")
    axes, _ = axes_for(ax, 2.8)
    steps = result.steps[result.steps["sample"] == sample]
    by_voltage = steps["controlled"].iloc[0] == "voltage"
    largest = float(steps["initial"].abs().max())
    power = int(3 * np.floor(np.log10(largest) / 3)) if largest > 0 else 0
    power = int(np.clip(power, -12, 0))
    prefix = {0: "", -3: "m", -6: "µ", -9: "n", -12: "p"}[power]
    unit = f"{prefix}{'A' if by_voltage else 'V'}"
    for k, (number, step) in enumerate(steps.iterrows()):
        trace, colour = result.traces[int(str(number))], NAMED[k % len(NAMED)]
        values = trace.current if by_voltage else trace.voltage
        time = since_step(trace.time)
        axes.plot(time, values / 10.0**power, ".", ms=2.0, color=colour, alpha=0.6)
        axes.plot(time, result.response_at(int(str(number)), time) / 10.0**power, color=colour, lw=0.8)
        style = "--" if np.isfinite(step["steady_low"]) else ":"
        axes.axhline(step["steady"] / 10.0**power, color=colour, lw=0.7, ls=style)
    # Room for the inset above all lines.
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + _ABOVE * (high - low))
    axes.set_xlabel("Time since the step / s")
    axes.set_ylabel(f"{'$I$' if by_voltage else '$V$'} / {unit}")
    _inset(axes, result, sample, power, by_voltage)
    return figure_of(axes)


def _inset(axes: Axes, result: Polarisation, sample: int, power: int, by_voltage: bool) -> None:
    steps = result.steps[result.steps["sample"] == sample]
    inset = style_axes(axes.inset_axes((0.56, 0.68, 0.42, 0.3)))
    level, steady = steps["level"].to_numpy(), steps["steady"].to_numpy() / 10.0**power
    known = np.isfinite(steps["steady_low"].to_numpy())
    inset.plot(level[known], steady[known], "o", color="0.2", ms=2.5)
    inset.plot(level[~known], steady[~known], "o", color=_GREY, mfc="none", ms=2.5)
    line = result.lines[sample]
    if line is not None:
        ends = np.array([level.min(), level.max()])
        inset.plot(ends, (line.a + line.b * ends) / 10.0**power, color="0.2", lw=0.7)
    inset.tick_params(labelsize=current().font_size - 2.5)
    inset.set_xlabel("$V$ / V" if by_voltage else "$I$ / A", fontsize=current().font_size - 2.0)
    inset.set_ylabel(r"$I_\infty$" if by_voltage else r"$V_\infty$", fontsize=current().font_size - 2.0)


@styled
def conductivities(
    results: Mapping[str, Composite] | Composite, *, ax: Axes | None = None, **options: Unpack[LookOptions]
) -> Figure:
    """Bars of ionic and electronic conductivity with intervals, impedance and direct current side by side.

    Parameters
    ----------
    results : Composite or mapping of str to Composite
        What was found, several by name.
    ax : Axes, optional
        Where to draw; a new figure of one column by default.
    **options
        Sizes, as :class:`Look` takes them.

    Returns
    -------
    Figure
        One group a sample; what is not determined has no bar and says so.

    Raises
    ------
    InputError
        If there is nothing to draw.
    """
    every = results if isinstance(results, Mapping) else {"": results}
    bars: list[tuple[str, dict[str, tuple[float, float, float]]]] = []
    for name, one in every.items():
        states = one.table[[key for key in ("sample", "cell", "temperature") if key in one.table.columns]]
        for row, title in enumerate(titles(states) if states.shape[1] else [""] * len(one)):
            own = {}
            measured = bool(np.isfinite(one.table["r_dc"].iloc[row])) if "r_dc" in one.table.columns else False
            # Without direct current there is no place for its bar.
            for kind, column in (("ion", "sigma_ion"), ("e", "sigma_e"), *([("dc", "sigma_dc")] if measured else [])):
                ends = (float(one.table[f"{column}{end}"].iloc[row]) for end in ("", "_low", "_high"))
                own["dc of ion" if kind == "dc" and one.connection == "ii" else kind] = tuple(ends)
            label = " ".join(part for part in (name, title if len(one) > 1 or not name else "") if part)
            bars.append((drawn(label) or f"#{row}", own))  # type: ignore[arg-type]
    if not bars:
        raise InputError("results must hold at least one electrode; got none.")
    axes, _ = axes_for(ax, 2.6)
    looks = {
        "ion": (0, NAMED[0], "", "ions, EIS"),
        "dc of ion": (1, NAMED[0], "////", "ions, DC"),
        "e": (2, NAMED[1], "", "electrons, EIS"),
        "dc": (3, NAMED[1], "////", "electrons, DC"),
    }
    _draw_bars(axes, bars, looks)
    axes.set_xticks(range(len(bars)), [label for label, _ in bars])
    axes.set_ylabel(r"$\sigma$ / S cm$^{-1}$")
    return figure_of(axes)


def _draw_bars(axes: Axes, bars: Any, looks: Mapping[str, tuple[int, str, str, str]]) -> None:
    used = [kind for kind in looks if any(np.isfinite(own.get(kind, (np.nan,))[0]) for _, own in bars)]
    width = 0.8 / max(len(used), 1)
    handles: dict[str, Any] = {}
    floor = min((own[k][1] for _, own in bars for k in used if np.isfinite(own.get(k, (np.nan,))[0])), default=1.0)
    for place, (_, own) in enumerate(bars):
        for kind in used:
            if kind not in own:
                continue
            value, low, high = own[kind]
            _, colour, hatch, label = looks[kind]
            x = place + (used.index(kind) - 0.5 * (len(used) - 1)) * width
            if not np.isfinite(value):
                axes.text(x, 0.3 * floor, "not determined", rotation=90, ha="center", va="bottom", color=_GREY, size=5)
                continue
            patch = axes.bar(x, value, 0.9 * width, color=colour, alpha=0.75, hatch=hatch, edgecolor="white", lw=0.3)
            handles.setdefault(label, patch)
            if np.isfinite(low) and np.isfinite(high):
                axes.errorbar(x, value, yerr=[[value - low], [high - value]], color="0.2", lw=0.8, capsize=2.0)
    axes.set_yscale("log")
    axes.set_xlim(-0.5, len(bars) - 0.5)
    axes.set_ylim(bottom=0.25 * floor)
    if handles:
        axes.legend(
            handles=[*handles.values()],
            labels=[*handles],
            loc="lower right",
            bbox_to_anchor=(1.02, 0.99),
            borderaxespad=0.0,
            ncols=2,
        )
