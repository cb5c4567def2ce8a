"""Charts of a report, by Bokeh: what is measured, how it evolves, and the processes."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from bokeh.layouts import gridplot
from bokeh.models import ColorBar, ColumnDataSource, HoverTool, LinearColorMapper, LogColorMapper, Whisker
from bokeh.palettes import Colorblind8, Viridis256
from bokeh.plotting import figure
from numpy.typing import NDArray

from drt_engine.report.contents import Part, texts
from drt_engine.text import visible
from drt_engine.validation.result import MOST_IN_NOISE

__all__ = ["Chart", "charts"]

_MOST_LINES = 80
"""Spectra that are drawn as lines of a grid; more would hide each other."""

# Relaxation times of a picture of γ that is about 1000 pixels wide: enough for its peaks, and a small file.
_MOST_TAU = 120
# With more, lines or pictures of them are too many to look at; the tables name all.
_MOST_CELLS, _MOST_PROCESSES = 8, 12
_WIDTH, _HEIGHT = 1080, 380  # pixels: a report is read on a screen of 1280 or more, and printed
_SIDE = 530  # pixels, of two squares beside each other
_LEGEND_CHARACTERS = 32  # a third of the width of a report
_HOVER_STATES = 12  # lines of the label under the pointer, which has to fit beside a figure
_BESIDE = ("digest",)
_TOOLS = "pan,wheel_zoom,box_zoom,reset,save"
_OF_PROCESS = {"r": "R / ohm", "tau": "τ / s", "c": "C / F"}
_FORMULA = re.compile(r"\$\$|\\[\[(]")

Chart = tuple[str, str, Any]
"""Heading, explanation, and what Bokeh draws."""


def charts(part: Part) -> Iterator[Chart]:
    """Draw what there is of a grid."""
    text = _described(part)
    if part.result is not None:
        yield _resistances(part, text)
    yield from _lines(part, text)
    if part.result is not None:
        yield _maps(part, text)
    if part.tracks is not None and len(part.tracks.table):
        yield _processes(part, text)
    if part.validation is not None:
        yield _validity(part, text)


def _plain(text: object) -> str:
    """Write text that Bokeh draws and takes for no formula."""
    return _FORMULA.sub(lambda found: " ".join(found[0]), visible(str(text)))


def _in_legend(names: Sequence[str]) -> list[str]:
    """Shorten names so that a legend leaves room for its figure; the label under the pointer says all of each."""
    short = [name if len(name) <= _LEGEND_CHARACTERS else f"{name[: _LEGEND_CHARACTERS - 1]}…" for name in names]
    # Curves of the same label would be one entry.
    return [one if short.count(one) == 1 else f"{one} ({short[:k].count(one) + 1})" for k, one in enumerate(short)]


def _described(part: Part) -> list[str]:
    """Say which spectrum each is, for the label under the pointer."""
    states = part.states
    names = [str(name) for name in states.columns if name not in _BESIDE][:_HOVER_STATES]
    columns = [[f"{visible(name)} {visible(one)}" if one else "" for one in texts(states[name])] for name in names]
    rows = zip(*columns, strict=True) if columns else ([] for _ in range(len(part)))
    return [
        f"row {row}: " + ", ".join(filter(None, words)) for row, words in zip(part.rows.tolist(), rows, strict=True)
    ]


def _cells(part: Part) -> list[tuple[str, NDArray[np.intp]]]:
    """Rows of each cell; all where cells have no names, or too many."""
    states = part.states
    if "cell" not in states.columns:
        return [("all", np.arange(len(part)))]
    names = np.array(["no cell" if pd.isna(value) else str(value) for value in states["cell"].tolist()], dtype=object)
    found = list(dict.fromkeys(names))
    if len(found) > _MOST_CELLS:
        return [(f"all {len(found)} cells", np.arange(len(part)))]
    return [(_plain(name), np.flatnonzero(names == name)) for name in found]


def _figure(x: str, y: str, **options: Any) -> Any:
    options = {"width": _WIDTH, "height": _HEIGHT, "tools": _TOOLS, "output_backend": "canvas"} | options
    drawn = figure(x_axis_label=x, y_axis_label=y, **options)
    drawn.toolbar.logo = None
    drawn.toolbar.autohide = True
    return drawn


def _hover(*lines: tuple[str, str], **options: Any) -> HoverTool:
    return HoverTool(tooltips=[("spectrum", "@text"), *lines], **options)


def _resistances(part: Part, text: list[str]) -> Chart:
    result = part.result
    assert result is not None
    drawn = _figure("row", "R / ohm", y_axis_type="log")
    shown = []
    cells = _cells(part)
    for number, (cell, (_, rows)) in enumerate(zip(_in_legend([name for name, _ in cells]), cells, strict=True)):
        colour = Colorblind8[number % 8]
        for name, marker, label in (("r_pol", "circle", "R_pol"), ("r_inf", "triangle", "R_inf")):
            values = getattr(result, name)[rows]
            data: dict[str, Any] = {"x": part.rows[rows], "y": np.where(values > 0.0, values, np.nan)}
            data["text"] = [text[row] for row in rows]
            if result.intervals is not None:
                low, high = (getattr(result.intervals, f"{name}_{side}")[rows] for side in ("low", "high"))
                data |= {"low": np.where(low > 0.0, low, np.nan), "high": high}
            source = ColumnDataSource(data)
            if result.intervals is not None:
                drawn.add_layout(Whisker(base="x", lower="low", upper="high", source=source, line_alpha=0.4))
            legend = {"legend_label": f"{label} {cell}", "fill_alpha": 0.6, "line_color": None}
            shown.append(drawn.scatter("x", "y", source=source, marker=marker, size=6, color=colour, **legend))
    drawn.add_tools(_hover(("R / ohm", "@y{0.00000}"), renderers=shown))
    drawn.legend.click_policy = "hide"
    drawn.add_layout(drawn.legend[0], "right")
    return (
        "Resistances",
        "R_inf and R_pol of every spectrum, in the order of the file. A click in the legend hides a curve.",
        drawn,
    )


def _lines(part: Part, text: list[str]) -> Iterator[Chart]:
    """Nyquist plots and distributions of spectra that are spread over the file."""
    rows = np.unique(np.linspace(0, len(part) - 1, min(_MOST_LINES, len(part))).astype(int))
    colours = [Viridis256[int(k)] for k in np.linspace(0, 255, rows.size)]
    of = "" if rows.size == len(part) else f" {rows.size} of {len(part)} spectra are drawn, evenly over the file."
    about = f"From dark to light in the order of the file.{of}"
    common = {"text": [text[row] for row in rows], "colour": colours}
    drawn = []
    if part.spectra is not None:
        z = part.spectra.impedance[rows]
        source = ColumnDataSource(common | {"x": _float32(z.real), "y": _float32(-z.imag)})
        plot = _figure("Re Z / ohm", "−Im Z / ohm", width=_SIDE, height=_SIDE, match_aspect=True)
        plot.multi_line("x", "y", source=source, line_color="colour", line_width=1.5, hover_line_color="red")
        plot.add_tools(_hover(("Re Z, −Im Z / ohm", "$data_x{0.0000}, $data_y{0.0000}")))
        drawn.append(plot)
    if part.result is not None:
        tau = np.asarray(part.result.tau, dtype=np.float32)
        source = ColumnDataSource(common | {"x": [tau] * rows.size, "y": _float32(part.result.gamma[rows])})
        of_tau, of_gamma = f"{part.result.tau_name} / s", f"γ / {part.result.gamma_units}"
        plot = _figure(of_tau, of_gamma, width=_SIDE, height=_SIDE, x_axis_type="log")
        plot.multi_line("x", "y", source=source, line_color="colour", line_width=1.5, hover_line_color="red")
        plot.add_tools(_hover((f"{of_tau}, {of_gamma}", "$data_x{0.000e+0}, $data_y{0.0000}")))
        drawn.append(plot)
    if drawn:
        names = [name for name, there in (("impedances", part.spectra), ("distributions", part.result)) if there]
        yield " and ".join(names).capitalize(), about, gridplot([drawn], toolbar_location="right")


def _float32(values: NDArray[np.float64]) -> list[NDArray[np.float32]]:
    return [np.asarray(row[np.isfinite(row)], dtype=np.float32) for row in values]


def _maps(part: Part, text: list[str]) -> Chart:
    """γ over the spectra of each cell and τ."""
    result = part.result
    assert result is not None
    gamma = np.asarray(result.gamma, dtype=np.float32)
    known = gamma[np.isfinite(gamma) & (gamma > 0.0)]
    most = float(known.max(initial=1e-30))
    mapper = LogColorMapper(Viridis256, low=1e-3 * most, high=most, nan_color="white")
    drawn, of_tau = [], f"{result.tau_name} / s"
    # A picture on a logarithmic axis is right where its lines are spaced so.
    tau = np.geomspace(result.tau[0], result.tau[-1], min(result.tau.size, _MOST_TAU))
    step = np.sqrt(tau[1] / tau[0])
    for cell, rows in _cells(part):
        plot = _figure("number of the spectrum", of_tau, title=cell, y_axis_type="log", height=300)
        image = np.asarray(result[rows].gamma_at(tau).T, dtype=np.float32)
        low, high = float(tau[0] / step), float(tau[-1] * step)
        plot.image([image], x=-0.5, y=low, dw=rows.size, dh=high - low, color_mapper=mapper)
        source = ColumnDataSource(
            {"x": np.arange(rows.size), "text": [text[row] for row in rows], "r_pol": result.r_pol[rows]}
        )
        hidden = {"fill_alpha": 0.0, "line_alpha": 0.0}
        strip = plot.vbar("x", width=1.0, bottom=low, top=high, source=source, **hidden)
        plot.add_tools(_hover(("R_pol / ohm", "@r_pol{0.0000}"), (of_tau, "$y{0.000e+0}"), renderers=[strip]))
        plot.add_layout(ColorBar(color_mapper=mapper, title=f"γ / {result.gamma_units}", width=10), "right")
        drawn.append([plot])
    return (
        "Evolution of the distribution",
        "γ over the spectra of each cell, in the order of the file, and over the relaxation time.",
        gridplot(drawn, toolbar_location="right"),
    )


def _processes(part: Part, text: list[str]) -> Chart:
    """R and τ of each process along the state, with errors."""
    tracks = part.tracks
    assert tracks is not None
    names = tracks.names[:_MOST_PROCESSES]
    label, labels = _plain(tracks.along), _in_legend([_plain(name) for name in names])
    sources = [_of_process(part, name, text) for name in names]
    panels = []
    x_range = None
    for quantity, unit in _OF_PROCESS.items():
        options: dict[str, Any] = {} if x_range is None else {"x_range": x_range}
        plot = _figure(label, unit, width=_WIDTH, height=300, y_axis_type="log", **options)
        x_range = plot.x_range
        shown = []
        for number, source in enumerate(sources):
            colour = Colorblind8[number % 8]
            if f"{quantity}_low" in source.data:
                bars = {"line_color": colour, "line_alpha": 0.5, "upper_head": None, "lower_head": None}
                ends = {"lower": f"{quantity}_low", "upper": f"{quantity}_high"}
                plot.add_layout(Whisker(base="x", source=source, **ends, **bars))
            legend = {"legend_label": labels[number], "line_color": None, "fill_alpha": 0.7}
            shown.append(plot.scatter("x", quantity, source=source, size=6, color=colour, **legend))
        plot.add_tools(_hover((unit, f"@{quantity}{{0.000e+0}}"), renderers=shown))
        plot.legend.click_policy = "hide"
        plot.add_layout(plot.legend[0], "right")
        panels.append([plot])
    rest = "" if len(names) == len(tracks.names) else f" {len(names)} of {len(tracks.names)} processes are drawn."
    apart = f", in series of equal {', '.join(map(_plain, tracks.series))}" if tracks.series else ""
    return (
        "Processes",
        f"Peaks of γ that were followed along {label}{apart}; bars are standard errors.{rest}",
        gridplot(panels, toolbar_location="right"),
    )


def _of_process(part: Part, name: str, text: list[str]) -> ColumnDataSource:
    """Take the observations of a process, with the ends of its error bars."""
    tracks = part.tracks
    assert tracks is not None
    own = tracks.table[tracks.table["process"] == name]
    rows = own["spectrum"].to_numpy(dtype=int)
    data: dict[str, Any] = {"x": own[tracks.along].to_numpy(), "text": [f"{_plain(name)}, {text[row]}" for row in rows]}
    for quantity in _OF_PROCESS:
        values = data[quantity] = own[quantity].to_numpy(dtype=float)
        if f"{quantity}_error" in own.columns:
            error = own[f"{quantity}_error"].to_numpy(dtype=float)
            low = values - error
            # What reaches below zero has no end on a logarithmic axis.
            data[f"{quantity}_low"] = np.where(low > 0.0, low, 0.1 * values)
            data[f"{quantity}_high"] = values + error
    return ColumnDataSource(data)


def _validity(part: Part, text: list[str]) -> Chart:
    """Residuals of the test of validity over the spectra, and over the frequency."""
    tested = part.validation
    assert tested is not None
    drawn = _figure("row", "residual / %", y_axis_type="log", height=300)
    shown = []
    for valid, colour, label in ((True, Colorblind8[0], "valid"), (False, Colorblind8[3], "not valid")):
        rows = np.flatnonzero(tested.valid == valid)
        if rows.size:
            data = {"x": part.rows[rows], "y": tested.rms[rows], "text": [text[row] for row in rows]}
            legend = {"legend_label": label, "color": colour, "line_color": None}
            shown.append(drawn.scatter("x", "y", source=ColumnDataSource(data), size=6, **legend))
    drawn.add_tools(_hover(("residual / %", "@y{0.0000}"), renderers=shown))
    drawn.add_layout(drawn.legend[0], "right")
    size = np.ascontiguousarray(tested.in_noise.T[::-1])
    mapper = LinearColorMapper(Viridis256, low=0.0, high=MOST_IN_NOISE)
    frequency = tested.frequency[::-1]
    plot = _figure("number of the spectrum", "number of the frequency, ascending", height=300)
    plot.image([size], x=-0.5, y=-0.5, dw=len(part), dh=frequency.size, color_mapper=mapper)
    hidden = {"fill_alpha": 0.0, "line_alpha": 0.0}
    source = ColumnDataSource({"x": np.arange(len(part)), "text": text})
    strip = plot.vbar("x", width=1.0, bottom=-0.5, top=frequency.size - 0.5, source=source, **hidden)
    plot.add_tools(_hover(("frequency", "$y{0}"), renderers=[strip]))
    plot.add_layout(ColorBar(color_mapper=mapper, title="noise", width=10), "right")
    return (
        "Kramers-Kronig test",
        "Residual of the model by which spectra are judged: root mean square of each spectrum, and of every point in "
        "standard deviations of its noise.",
        gridplot([[drawn], [plot]], toolbar_location="right"),
    )
