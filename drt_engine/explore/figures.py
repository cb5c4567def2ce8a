"""The linked views in the browser. Every click on one of them is a row."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from bokeh.models import (
    ColorBar,
    ColumnDataSource,
    CustomJSTickFormatter,
    FixedTicker,
    HoverTool,
    Image,
    LinearColorMapper,
    MultiLine,
    Patches,
    Scatter,
    Segment,
    Span,
    VArea,
)
from bokeh.models import Line as LineGlyph
from bokeh.palettes import Category10_10, Magma256, Viridis256
from numpy.typing import NDArray

from drt_engine.explore.drawing import COLOURS, ClickedFigure, curves_of, gamma_image, units_of, validity_image
from drt_engine.explore.session import Difference, Line, Session
from drt_engine.spectra import STATE_UNITS

if TYPE_CHECKING:
    from drt_engine.validation import Validation

__all__ = ["Views"]

Array = NDArray[Any]

# Impedances of a series that are drawn at once; with more, neighbours hide each other.
_MOST_LINES = 60
_QUANTITIES = ("r", "tau", "c")  # of processes, each with a figure
# Columns of the observations of processes: values, and the ends of their errors.
_OBSERVED = (
    "x", "r", "r_low", "r_high", "tau", "tau_low", "tau_high", "c", "c_low", "c_high", "colour", "fill", "label",
)  # fmt: skip
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Views:
    """All views.

    Parameters
    ----------
    on_row : callable
        Called with the row that was clicked.
    """

    def __init__(self, on_row: Callable[[int], None]) -> None:
        logx, loglog = {"x_axis_type": "log"}, {"x_axis_type": "log", "y_axis_type": "log"}
        frequency, tau = "f / Hz", "τ / s"
        self._profile = ClickedFigure("Where spectra were taken", ("", ""), on_row)
        self._nyquist = ClickedFigure("Nyquist", ("Re Z / Ω", "−Im Z / Ω"), on_row, match_aspect=True)
        self._modulus = ClickedFigure("Bode", ("", "|Z| / Ω"), on_row, height=140, **loglog)
        self._phase = ClickedFigure("", (frequency, "−phase / °"), on_row, height=150, **logx)
        self._residuals = ClickedFigure("Residuals", (frequency, "(fit − Z) / |Z| / %"), on_row, **logx)
        self._gamma = ClickedFigure("Distribution of relaxation times", (tau, "γ / Ω"), on_row, **logx)
        self._difference = ClickedFigure("Change of γ from A to B", (tau, "Δγ / Ω"), on_row, **logx)
        self._maps = {side: ClickedFigure(f"γ of series {side.upper()} / Ω", (tau, ""), on_row) for side in ("a", "b")}
        self._on_row = on_row
        self._modulus.figure.yaxis[0].ticker.desired_num_ticks = 3
        self._phase.figure.x_range = self._modulus.figure.x_range
        self._residuals.figure.x_range = self._modulus.figure.x_range
        self._sources: dict[str, ColumnDataSource] = {}
        self._drawn: tuple[Any, ...] = ()
        self._of_view: dict[str, tuple[Any, ...]] = {}
        self._on_profile: dict[str, tuple[Line, Array, Array]] = {}
        self._draw_single()
        self._draw_series()

    def figure(self, name: str) -> Any:
        """Return a figure by its name."""
        first = {
            "profile": self._profile,
            "nyquist": self._nyquist,
            "modulus": self._modulus,
            "phase": self._phase,
            "residuals": self._residuals,
            "gamma": self._gamma,
            "difference": self._difference,
            "map_a": self._maps["a"],
            "map_b": self._maps["b"],
        }
        one = first[name] if name in first else self._slow[name]
        one.figure.name = name
        return one.figure

    def _source(self, name: str, *columns: str) -> ColumnDataSource:
        self._sources[name] = ColumnDataSource({column: [] for column in columns}, name=name)
        return self._sources[name]

    def _draw_single(self) -> None:
        """Set up what is drawn of single spectra."""
        points = self._source("points", "x", "y", "f", "modulus", "phase", "colour", "label")
        fits = self._source("fits", "x", "y", "f", "modulus", "phase", "colour", "dash")
        lines = self._source("series", "x", "y", "colour")
        self._nyquist.draw(MultiLine, lines, xs="x", ys="y", line_color="colour", line_alpha=0.35)
        for one, x, y in ((self._nyquist, "x", "y"), (self._modulus, "f", "modulus"), (self._phase, "f", "phase")):
            one.draw(MultiLine, fits, xs=x, ys=y, line_color="colour", line_dash="dash", line_width=1.5)
            drawn = one.draw(Scatter, points, x=x, y=y, size=5, line_color="colour", fill_color=None)
            one.figure.add_tools(HoverTool(renderers=[drawn], tooltips=[("", "@label"), ("f / Hz", "@f{0.000a}")]))
        residuals = self._source("residuals", "f", "real", "imaginary", "colour")
        for part, marker in (("real", "circle"), ("imaginary", "triangle")):
            self._residuals.figure.scatter(
                "f", part, source=residuals, marker=marker, size=5, line_color="colour", fill_color=None,
                legend_label=part,
            )  # fmt: skip
        self._residuals.figure.legend.label_text_font_size = "8pt"
        self._residuals.figure.legend.background_fill_alpha = 0.5
        self._residuals.figure.add_layout(Span(location=0, dimension="width", line_color="#999999"))
        bands = self._source("bands", "x", "y", "colour")
        self._gamma.draw(Patches, bands, xs="x", ys="y", fill_color="colour", fill_alpha=0.18, line_color=None)
        gammas = self._source("gammas", "x", "y", "colour", "dash", "label")
        drawn = self._gamma.draw(MultiLine, gammas, xs="x", ys="y", line_color="colour", line_dash="dash", line_width=2)
        self._gamma.figure.add_tools(HoverTool(renderers=[drawn], tooltips=[("", "@label"), ("τ / s", "$x{0.000a}")]))
        change = self._source("change", "x", "y", "low", "high")
        one = self._difference.figure
        self._difference.draw(VArea, change, x="x", y1="low", y2="high", fill_color="#555555", fill_alpha=0.25)
        self._difference.draw(LineGlyph, change, x="x", y="y", line_color="#333333", line_width=2)
        one.add_layout(Span(location=0, dimension="width", line_color="#999999"))
        one.x_range, one.visible = self._gamma.figure.x_range, False

    def _draw_series(self) -> None:
        """Set up what is drawn of series."""
        curve = self._source("curve", "x", "y", "colour")
        self._profile.draw(MultiLine, curve, xs="x", ys="y", line_color="colour", line_alpha=0.6)
        look: dict[str, Any] = {"x": "x", "y": "y", "fill_color": "fill", "line_width": 1.5}
        places = self._source("places", "x", "y", "fill", "label")
        chosen = self._source("chosen", "x", "y", "fill", "colour")
        drawn = self._profile.draw(Scatter, places, size=6, line_color="#333333", **look)
        self._profile.draw(Scatter, chosen, size=11, line_color="colour", **look)
        self._profile.figure.add_tools(HoverTool(renderers=[drawn], tooltips=[("", "@label")]))
        self._mapper = LinearColorMapper(palette=Magma256, low=0.0, high=1.0, nan_color="white")
        squared = CustomJSTickFormatter(code="return Number((Math.sign(tick) * tick * tick).toPrecision(2)).toString()")
        for side, one in self._maps.items():
            self._image(one, f"map {side}", self._mapper)
            one.figure.add_layout(ColorBar(color_mapper=self._mapper, width=8, formatter=squared), "right")
            followed = self._source(f"followed {side}", "x", "y", "colour", "label")
            drawn = one.draw(
                Scatter, followed, x="x", y="y", size=6, fill_color="colour", line_color="white", line_width=0.7
            )
            one.figure.add_tools(HoverTool(renderers=[drawn], tooltips=[("", "@label")]))
        self._marks: dict[str, Span] = {}
        for side, one in self._maps.items():
            self._mark_stripe(f"map {side}", one)

    def _mark_stripe(self, name: str, one: ClickedFigure) -> None:
        self._marks[name] = Span(dimension="width", line_color="#00C0FF", line_width=1.5, visible=False)
        one.figure.add_layout(self._marks[name])

    @cached_property
    def _slow(self) -> dict[str, ClickedFigure]:
        """The figures of what takes longer: they are made when it is there, so that the rest is seen sooner."""
        on_row = self._on_row
        validity = ClickedFigure("Kramers-Kronig, series A / noise", ("f / Hz", ""), on_row)
        shades = self._shades = LinearColorMapper(palette=Viridis256, low=0.0, nan_color="white")
        self._image(validity, "validity", shades)
        validity.figure.add_layout(ColorBar(color_mapper=shades, width=8), "right")
        outliers = self._source("outliers", "x", "y")
        validity.draw(Scatter, outliers, x="x", y="y", size=3, fill_color="red", line_color="red")
        wrong = self._source("not valid", "x", "y", "label")
        left = {"marker": "triangle", "angle": np.pi / 2, "size": 8, "line_color": "red"}
        drawn = validity.draw(Scatter, wrong, x="x", y="y", fill_color="red", **left)
        validity.figure.add_tools(HoverTool(renderers=[drawn], tooltips=[("", "@label")]))
        self._mark_stripe("validity", validity)
        processes = {
            "r": ClickedFigure("Resistance of processes", ("", "R / Ω"), on_row, height=250),
            "tau": ClickedFigure("Relaxation time", ("", "τ / s"), on_row, height=250, y_axis_type="log"),
            "c": ClickedFigure("Capacitance", ("", "C / F"), on_row, height=250, y_axis_type="log"),
        }
        source = self._source("observed", *_OBSERVED)
        lines = self._source("courses", "x", *processes, "colour", "dash")
        for name, one in processes.items():
            low, high = f"{name}_low", f"{name}_high"
            one.draw(Segment, source, x0="x", y0=low, x1="x", y1=high, line_color="colour", line_alpha=0.5)
            one.draw(MultiLine, lines, xs="x", ys=name, line_color="colour", line_dash="dash", line_alpha=0.8)
            drawn = one.draw(Scatter, source, x="x", y=name, size=6, fill_color="fill", line_color="colour")
            one.figure.add_tools(HoverTool(renderers=[drawn], tooltips=[("", "@label"), ("", f"@{name}{{0.000a}}")]))
            for side in ("a", "b"):
                mark = Span(dimension="height", line_color=COLOURS[side], line_alpha=0.5, visible=False)
                self._marks[f"{name} {side}"] = mark
                one.figure.add_layout(mark)
        return {"validity": validity, **processes}

    @property
    def _validity(self) -> ClickedFigure:
        return self._slow["validity"]

    @property
    def _processes(self) -> dict[str, ClickedFigure]:
        return {name: self._slow[name] for name in _QUANTITIES}

    def _image(self, one: ClickedFigure, name: str, mapper: LinearColorMapper) -> None:
        source = self._source(name, "image", "x", "y", "dw", "dh")
        one.draw(Image, source, image="image", x="x", y="y", dw="dw", dh="dh", color_mapper=mapper)
        one.figure.x_range.range_padding = one.figure.y_range.range_padding = 0.0
        decades = list(range(-16, 16, 2))
        one.figure.xaxis[0].ticker = FixedTicker(ticks=decades)
        one.figure.xaxis[0].major_label_overrides = {
            decade: "10" + str(decade).translate(_SUPERSCRIPTS) for decade in decades
        }

    def show_single(self, session: Session) -> None:
        """Draw what is selected and pinned, and the difference of old and new."""
        curves = curves_of(session)
        tau, units = units_of([curve.result for curve in curves])
        self._gamma.label(tau, f"γ / {units}")
        self._difference.label(tau, f"Δγ / {units}")
        points: dict[str, list[Any]] = {key: [] for key in ("x", "y", "f", "modulus", "phase", "colour", "label")}
        fits: dict[str, list[Any]] = {key: [] for key in ("x", "y", "f", "modulus", "phase", "colour", "dash")}
        residuals: dict[str, list[Any]] = {key: [] for key in ("f", "real", "imaginary", "colour")}
        gammas: dict[str, list[Any]] = {key: [] for key in ("x", "y", "colour", "dash", "label")}
        bands: dict[str, list[Any]] = {key: [] for key in ("x", "y", "colour")}
        for curve in curves:
            z, f = curve.spectra.impedance[0], curve.spectra.frequency
            there = np.isfinite(z)
            if curve.role != "new":
                count = int(there.sum())
                _extend(
                    points,
                    _seen(f[there], z[there]) | {"colour": [curve.colour] * count, "label": [curve.label] * count},
                )
            result = curve.result
            if result is None or not result.solved[0]:
                continue
            fine = np.geomspace(f[0], f[-1], 200)
            fit = _seen(fine, result.impedance_at(fine)[0])
            _extend(
                fits, {key: [value] for key, value in fit.items()} | {"colour": [curve.colour], "dash": [curve.dash]}
            )
            with np.errstate(invalid="ignore", divide="ignore"):  # points that are missing, or zero
                off = 100.0 * (result.impedance_at(f)[0] - z) / np.abs(z)
            off, at = off[there], f[there]
            _extend(residuals, {"f": at, "real": off.real, "imaginary": off.imag, "colour": [curve.colour] * at.size})
            gammas["x"].append(result.tau)
            gammas["y"].append(result.gamma[0])
            gammas["colour"].append(curve.colour)
            gammas["dash"].append(curve.dash)
            gammas["label"].append(curve.label)
            known = result.intervals
            if known is not None and curve.role != "pin" and np.isfinite(known.gamma_low[0]).all():
                bands["x"].append(np.concatenate([result.tau, result.tau[::-1]]))
                bands["y"].append(np.concatenate([known.gamma_low[0], known.gamma_high[0][::-1]]))
                bands["colour"].append(curve.colour)
        for name, data in (("points", points), ("residuals", residuals)):
            self._sources[name].data = _as_arrays(data)
        for name, data in (("fits", fits), ("gammas", gammas), ("bands", bands)):
            self._sources[name].data = data

    def show_series(self, session: Session) -> None:
        """Draw the series of the selections: their profile, their impedances, and γ as maps."""
        lines = {"a": session.line(session.a)} | ({} if session.b is None else {"b": session.line(session.b)})
        now = (session.source, session.series, session.measured)
        drawn = (*now, *(int(session.series.member[line.rows[0]]) for line in lines.values()))
        if drawn != self._drawn:
            self._drawn = drawn
            self._show_profile(session, lines)
            self._show_lines(lines["a"])
            self._show_maps(session, lines)
        self._show_chosen(session)
        for side, row in (("a", session.a), ("b", session.b)):
            if row is not None:
                self._mark(f"map {side}", session.series.value[row])

    def _show_maps(self, session: Session, lines: dict[str, Line]) -> None:
        images = {side: gamma_image(line) for side, line in lines.items()}
        drawn = [found[0] for found in images.values() if found is not None]
        if drawn:
            # One scale for both, so that they can be compared; negative γ is below zero.
            low = min(0.0, *(float(np.nanmin(image)) for image in drawn))
            self._mapper.update(low=low, high=max(float(np.nanmax(image)) for image in drawn) or 1.0)
        along = _labelled(session.series.along)
        tau, units = units_of([line.result for line in lines.values()])
        for side, one in self._maps.items():
            found, line = images.get(side), lines.get(side)
            self._sources[f"map {side}"].data = _image_data(found)
            self._sources[f"followed {side}"].data = {key: [] for key in ("x", "y", "colour", "label")}
            one.figure.visible = side == "a" or found is not None
            one.label(tau, along, f"γ of series {side.upper()} / {units}")
            if line is not None:
                one.targets(np.zeros(line.rows.size), line.value, line.rows, by_y=True)

    def _mark(self, name: str, value: float) -> None:
        # Not a number is no place, and would be sent each time as it equals nothing.
        known = bool(np.isfinite(value))
        self._marks[name].update(visible=known, **({"location": float(value)} if known else {}))

    def _show_lines(self, line: Line) -> None:
        """Draw impedances of a series, of some where there are many."""
        some = np.unique(np.linspace(0, line.rows.size - 1, min(line.rows.size, _MOST_LINES)).round().astype(int))
        z = line.spectra.impedance[some]
        shades = _shades(line.value[some])
        self._sources["series"].data = {"x": list(z.real), "y": list(-z.imag), "colour": shades}
        self._nyquist.targets(z.real.ravel(), -z.imag.ravel(), np.repeat(line.rows[some], z.shape[1]))
        count = line.spectra.frequency.size
        f, rows = np.tile(line.spectra.frequency, some.size), np.repeat(line.rows[some], count)
        self._modulus.targets(f, np.abs(z).ravel(), rows)
        self._phase.targets(f, -np.angle(z, deg=True).ravel(), rows)
        if line.result is not None:
            gamma = line.result.gamma[some]
            rows = np.repeat(line.rows[some], gamma.shape[1])
            self._gamma.targets(np.tile(line.result.tau, some.size), gamma.ravel(), rows)

    def _show_profile(self, session: Session, lines: dict[str, Line]) -> None:
        states = session.source.states
        x_name = next((name for name in ("charge", "time") if name in states.columns), None)
        y_name = "voltage" if "voltage" in states.columns else None
        places: dict[str, list[Any]] = {key: [] for key in ("x", "y", "fill", "label")}
        curve: dict[str, list[Any]] = {key: [] for key in ("x", "y", "colour")}
        self._on_profile = {}
        for side, line in lines.items():
            if y_name is None:
                x_name, y = session.series.along, _r_pol(line)
                x = line.value
            else:
                y = states[y_name].iloc[line.rows].to_numpy(dtype=float, na_value=np.nan)
                x = np.arange(line.rows.size, dtype=float)
                if x_name is not None:
                    x = states[x_name].iloc[line.rows].to_numpy(dtype=float, na_value=np.nan)
            labels = session.names(line.rows)
            _extend(places, {"x": x, "y": y, "fill": _shades(line.value), "label": labels})
            self._on_profile[side] = line, x, y
            measured = session.curve(int(line.rows[0])) if y_name else None
            if measured is not None and x_name not in measured.columns:
                measured = None
            order = np.argsort(x, kind="stable")
            curve["x"].append(x[order] if measured is None else measured[x_name].to_numpy())
            curve["y"].append(y[order] if measured is None else measured["voltage"].to_numpy())
            curve["colour"].append(COLOURS[side])
        self._sources["places"].data = _as_arrays(places)
        self._sources["curve"].data = curve
        self._profile.label(_labelled(x_name or "number in the series"), _labelled(y_name) if y_name else "R_pol / Ω")
        self._profile.targets(places["x"], places["y"], np.concatenate([line.rows for line in lines.values()]))

    def _show_chosen(self, session: Session) -> None:
        """Mark the selections in the profile; one that is not among the points drawn lies between its neighbours."""
        chosen: dict[str, list[Any]] = {key: [] for key in ("x", "y", "fill", "colour")}
        for side, (line, x, y) in self._on_profile.items():
            row = session.b if side == "b" and session.b is not None else session.a
            # By the place in the series: several spectra may have the same value of the state.
            every = session.series.rows(row)
            drawn = np.flatnonzero(np.isin(every, line.rows))
            at = np.interp(np.flatnonzero(every == row)[0], drawn, np.arange(drawn.size))
            for place, of in (("x", x), ("y", y)):
                chosen[place].append(np.interp(at, np.arange(of.size), of))
            chosen["fill"].append(_shades(np.append(line.value, session.series.value[row]))[-1])
            chosen["colour"].append(COLOURS[side])
        self._sources["chosen"].data = _as_arrays(chosen)

    def show_processes(self, session: Session, tables: dict[str, pd.DataFrame | None]) -> None:
        """Draw processes over the state and into the maps.

        Parameters
        ----------
        session : Session
            What is looked at.
        tables : mapping of str to DataFrame or None
            Observations of the series of A and of B, as :meth:`Session.processes` returns them. Those that are drawn
            already are not drawn, and sent, again.
        """
        if self._is_new("processes", session, *tables, *tables.values()):
            self._draw_processes(session, tables)
        for name, one in self._processes.items():
            self._set_visible(one, there=True)
            for side, row in (("a", session.a), ("b", session.b)):
                self._mark(f"{name} {side}", np.nan if row is None else session.series.value[row])

    def hide_slow(self) -> None:
        """Draw nothing of processes and validity until they are shown anew; axes stay, as they are slow to change."""
        if "_slow" not in vars(self):
            return
        self._of_view.clear()
        for one in (*self._processes.values(), self._validity):
            self._set_visible(one, there=False)
            one.targets([], [], [])
        for name in ("validity", *(f"{name} {side}" for name in self._processes for side in ("a", "b"))):
            self._mark(name, np.nan)

    def _set_visible(self, one: ClickedFigure, *, there: bool) -> None:
        for drawn in one.figure.renderers:
            drawn.visible = there

    def _is_new(self, view: str, session: Session, *drawn: Any) -> bool:
        """Tell whether a view that takes long to draw shows something else than what it is to show now."""
        now = (session.source, session.series, *drawn)
        before = self._of_view.get(view, ())
        self._of_view[view] = now
        return len(now) != len(before) or any(one is not other for one, other in zip(now, before, strict=True))

    def _draw_processes(self, session: Session, tables: dict[str, pd.DataFrame | None]) -> None:
        names = list(dict.fromkeys(name for table in tables.values() if table is not None for name in _by_tau(table)))
        colours = {name: Category10_10[number % 10] for number, name in enumerate(names)}
        observed: dict[str, list[Any]] = {column: [] for column in (*_OBSERVED, "row")}
        courses: dict[str, list[Any]] = {column: [] for column in ("x", *self._processes, "colour", "dash")}
        for side, found in tables.items():
            if found is None:
                continue
            table = found.assign(_x=session.series.value[found["spectrum"].to_numpy()]).sort_values("_x")
            x, rows = table["_x"].to_numpy(), table["spectrum"].to_numpy()
            shades = [colours[name] for name in table["process"]]
            labels = [f"{name}: {said}" for name, said in zip(table["process"], session.names(rows), strict=True)]
            self._sources[f"followed {side}"].data = {
                "x": np.log10(table["tau"].to_numpy()), "y": x, "colour": shades, "label": labels,
            }  # fmt: skip
            fill = shades if side == "a" else ["white"] * len(shades)
            part: dict[str, Any] = {"x": x, "colour": shades, "fill": fill, "label": labels, "row": rows}
            for name in self._processes:
                part[name] = y = table[name].to_numpy(dtype=float)
                error = np.full(y.size, np.nan)
                if f"{name}_error" in table.columns:
                    error = table[f"{name}_error"].to_numpy(dtype=float)
                # Below zero there is nothing on an axis of logarithms.
                part[f"{name}_low"] = y - error if name == "r" else np.where(error < y, y - error, y * 1e-3)
                part[f"{name}_high"] = y + error
            _extend(observed, part)
            for process, course in table.groupby("process", observed=True):
                line = {"x": "_x"} | {name: name for name in self._processes}
                _extend(
                    courses,
                    {key: [course[column].to_numpy(dtype=float)] for key, column in line.items()}
                    | {"colour": [colours[str(process)]], "dash": ["solid" if side == "a" else "dashed"]},
                )
        clicked = observed.pop("row")
        self._sources["observed"].data = _as_arrays(observed)
        self._sources["courses"].data = courses
        for name, one in self._processes.items():
            one.targets(observed["x"], observed[name], clicked)
            one.label(_labelled(session.series.along), {"r": "R / Ω", "tau": "τ / s", "c": "C / F"}[name])

    def clear_difference(self, *, there: bool) -> None:
        """Draw no change of γ, in a figure that is seen or not."""
        self._difference.figure.visible = there
        self._sources["change"].data = {key: [] for key in ("x", "y", "low", "high")}

    def show_difference(self, difference: Difference | None) -> None:
        """Draw how γ changes from A to B."""
        if difference is None:
            self.clear_difference(there=False)
            return
        self._difference.figure.visible = True
        low, high = difference.gamma_low, difference.gamma_high
        self._sources["change"].data = {"x": difference.tau, "y": difference.gamma, "low": low, "high": high}

    def show_validity(self, session: Session, validation: "Validation | None") -> None:
        """Draw the Kramers-Kronig residuals of the series of A, if they are not drawn already."""
        line = session.line(session.a)
        if self._is_new("validity", session, line, validation):
            self._draw_validity(session, line, validation)
        self._set_visible(self._validity, there=True)
        self._mark("validity", session.series.value[session.a])

    def _draw_validity(self, session: Session, line: Line, validation: "Validation | None") -> None:
        found = None if validation is None else validity_image(validation, line.value)
        one = self._validity
        self._sources["validity"].data = _image_data(found)
        one.label("f / Hz", _labelled(session.series.along))
        one.targets(np.zeros(line.rows.size), line.value, line.rows, by_y=True)
        off, wrong, labels = np.empty((0, 2), dtype=int), np.empty(0, dtype=int), []
        if validation is not None:
            from drt_engine.validation.result import MOST_IN_NOISE

            self._shades.high = MOST_IN_NOISE
            off, wrong = np.argwhere(validation.outlier), np.flatnonzero(validation.tested & ~validation.valid)
            words = validation.words
            labels = [f"{session.named(int(line.rows[k]))}: {words[k]}" for k in wrong]
        log_frequency = np.log10(line.spectra.frequency)
        self._sources["outliers"].data = {"x": log_frequency[off[:, 1]], "y": line.value[off[:, 0]]}
        self._sources["not valid"].data = {
            "x": np.full(wrong.size, log_frequency[0]),
            "y": line.value[wrong],
            "label": labels,
        }


def _extend(data: dict[str, list[Any]], more: Mapping[str, Iterable[Any]]) -> None:
    for key, column in data.items():
        column.extend(more[key])


def _as_arrays(data: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Make arrays of columns of numbers: they are sent many times faster than one number after another."""
    words = ("colour", "fill", "label")
    return {key: column if key in words else np.asarray(column, dtype=float) for key, column in data.items()}


def _seen(f: Array, z: Array) -> dict[str, Any]:
    return {"f": f, "x": z.real, "y": -z.imag, "modulus": np.abs(z), "phase": -np.angle(z, deg=True)}


def _image_data(found: tuple[Array, tuple[float, float], tuple[float, float]] | None) -> dict[str, list[Any]]:
    if found is None:
        return {key: [] for key in ("image", "x", "y", "dw", "dh")}
    image, (left, right), (low, high) = found
    return {"image": [image], "x": [left], "y": [low], "dw": [right - left], "dh": [high - low]}


def _shades(value: Array) -> list[str]:
    finite = value[np.isfinite(value)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    share = np.nan_to_num((value - low) / ((high - low) or 1.0))
    return [Viridis256[int(part)] for part in 230 * share]


def _labelled(name: str) -> str:
    unit = STATE_UNITS.get(name)
    words = {"degC": "°C", "cm2": "cm²"}
    return name if unit is None else f"{name} / {words.get(unit, unit)}"


def _r_pol(line: Line) -> Array:
    return np.abs(line.spectra.impedance[:, -1]) if line.result is None else np.asarray(line.result.r_pol)


def _by_tau(table: pd.DataFrame) -> list[str]:
    return [str(name) for name in table.groupby("process", observed=True)["tau"].median().sort_values().index]
