"""The page of a campaign: what is chosen on the left, the linked views beside it."""

from collections.abc import Callable
from functools import cached_property, partial
from importlib import import_module
from typing import Any, get_args

import numpy as np
import panel as pn

from drt_engine.errors import DRTError
from drt_engine.explore.drawing import curves_of
from drt_engine.explore.export_form import ExportForm
from drt_engine.explore.figures import Views
from drt_engine.explore.session import LEVEL, Scope, Session, Side
from drt_engine.explore.source import Files, Source
from drt_engine.explore.states_table import StatesTable
from drt_engine.explore.widgets import Background, Message, MethodForm, escaped, options_of
from drt_engine.status import Status
from drt_engine.text import count_of

__all__ = ["Explorer"]

_WIDTH = 270  # pixels, of the controls on the left; figures take the rest
_EVERY = 2000  # ms between looks at the files: a sweep takes a minute or more, and a look asks for a few file times
# A list of more values is slow to open in a browser and no help to choose from.
_MOST_OPTIONS = 500
_REST = 150
"""A slider has come to rest when it has not been moved for so many milliseconds."""
_FIRST = 200
"""Milliseconds in which a browser draws what a person looks at first, alone: what is below it then takes as long."""
_FLEX = {"sizing_mode": "stretch_width"}


class Explorer:
    """The linked views of one visit.

    Parameters
    ----------
    source : Source
        The files.
    more : list of objects
        What stands below the choices, such as where to save what was imported.
    session : Session, optional
        What is looked at, if it has read something of the source already.
    """

    def __init__(self, source: Source, more: tuple[Any, ...] = (), session: Session | None = None) -> None:
        self.session = session or Session(source)
        self.message = Message("", width=_WIDTH)
        self.background = Background(self.message)
        self._more = more
        self._filling = False
        self._waiting: dict[int, int] = {}
        self._panes: dict[str, Any] = {}
        self._slow_of: tuple[Any, Any] = (None, None)
        self.views = Views(self.clicked)
        self._legend = pn.pane.HTML("", **_FLEX)
        self._heading = pn.pane.HTML("", width=_WIDTH)
        self.side = pn.widgets.RadioButtonGroup(
            options={"clicks choose A": "a", "B": "b"}, value="a", color="primary", width=_WIDTH
        )
        self.side.param.watch(self._soon(lambda _: self._turned_to()), "value")
        self._sliders = pn.Column(width=_WIDTH, margin=0)
        self._build_sliders()
        self._again = pn.pane.HTML("", **_FLEX)
        self._scope = pn.widgets.Select(label="Of", options=list(get_args(Scope)), width=240)
        self._invert = pn.widgets.Button(label="Invert again", color="primary", width=240)
        self._invert.on_click(lambda _: self.invert_again())
        self._below = pn.Column(margin=0, **_FLEX)
        self.background.later(self._read_solutions if self.session.measured else self._complete)
        self.show()

    # What is not seen at first is made when it is asked for: its widgets take a quarter of a second.

    @cached_property
    def table(self) -> StatesTable:
        """The table of states."""
        return StatesTable(self.session, self.clicked, self.message)

    @cached_property
    def export(self) -> ExportForm:
        """What can be saved."""
        return ExportForm(self.session, self.message)

    @cached_property
    def _method(self) -> MethodForm:
        source = self.session.source
        return MethodForm(source.along, None if source.name is None else self.session.method)

    def moved_to(self, files: Files) -> None:
        """Take the same contents from other files, as where they were saved."""
        self.session.source.moved_to(files)
        self._heading.object = self._said_of_files()
        self.export.refresh()

    def follow(self) -> None:
        """Look now and then whether the files have changed."""
        pn.state.add_periodic_callback(self.look_again, period=_EVERY)

    def _build_sliders(self) -> None:
        """Make a choice for each state that tells series apart, and a slider along the series."""
        session, states = self.session, self.session.source.states
        self._choices: dict[str, Any] = {}
        for name in session.telling:
            values = states[name].dropna().unique()
            if len(values) > _MOST_OPTIONS:
                continue  # too many to choose from: the table finds them
            known = sorted(values.tolist(), key=lambda value: (isinstance(value, str), value))
            numbers = len(known) > 3 and not isinstance(known[0], str)
            kind = pn.widgets.DiscreteSlider if numbers else pn.widgets.Select
            widget = kind(label=escaped(name), options=options_of(known), width=_WIDTH - 20)
            chosen = self._choosing(name)
            widget.param.watch(self._at_rest(chosen) if numbers else chosen, "value")
            self._choices[name] = widget
        self._place = pn.widgets.IntSlider(label="", start=0, end=1, show_value=False, width=_WIDTH - 20)
        self._place.param.watch(self._at_rest(self._moved), "value")
        self.along = pn.widgets.Select(
            label="Series run along",
            options={escaped(name): name for name in session.source.along},
            value=session.series.along,
            width=_WIDTH - 20,
        )
        self.along.param.watch(self._soon(lambda event: self._turned_along(event.new)), "value")
        self._sliders[:] = [*self._which(), *self._choices.values(), self._place, self.along]

    def _which(self) -> list[Any]:
        """Make choices of the inversion and of the frequency grid, where a file has several."""
        source = self.session.source
        made = []
        for label, names, chosen in (
            ("Inversion", source.names, source.name),
            ("Frequency grid", source.grids, source.grid),
        ):
            if len(names) < 2:
                continue
            widget = pn.widgets.Select(
                label=label, options={escaped(name): name for name in names}, value=chosen, width=_WIDTH - 20
            )
            inversion = label == "Inversion"
            turned: Callable[[Any], None] = partial(self._turned_of, inversion=inversion)
            widget.param.watch(self._soon(turned), "value")
            made.append(widget)
        return made

    def _turned_of(self, event: Any, inversion: bool) -> None:
        """Look at another inversion or another grid."""
        source, name = self.session.source, event.new
        try:
            self.session.of(*((name, source.grid) if inversion else (source.name, name)))
        except DRTError as error:
            self.message.say(error, "wrong")
            return
        self._build_sliders()
        self.table.reload()
        self.show()

    def _choosing(self, name: str) -> Callable[[Any], None]:
        return self._soon(lambda event: self._choose(self.session.nearest(self.row, name, event.new)))

    def _soon(self, change: Callable[[Any], None]) -> Callable[[Any], None]:
        """Make a change that a person asks for by a widget, when the page is free for it."""

        def asked(event: Any) -> None:
            if not self._filling:
                self.background.later(lambda: change(event))

        return asked

    def _at_rest(self, moved: Callable[[Any], None]) -> Callable[[Any], None]:
        """Follow a slider when it has come to rest.

        Its own event of that, `value_throttled`, does not come where it rests at the value at which it rested last,
        though the selection, and the slider with it, has been elsewhere since.
        """

        def follow(event: Any) -> None:
            if not self._filling:
                self._in_turn(lambda: moved(event), _REST)

        return follow

    def _in_turn(self, change: Callable[[], None], wait: int) -> None:
        """Change the page after some milliseconds, unless this is asked for again before."""
        number = self._waiting[wait] = self._waiting.get(wait, 0) + 1

        def waited() -> None:
            if number == self._waiting[wait]:
                change()

        self.background.later(waited, wait)

    def _moved(self, event: Any) -> None:
        self.clicked(int(self.session.series.rows(self.row)[int(event.new)]))

    def _turned_along(self, name: str) -> None:
        self.session.along(name)
        self._build_sliders()
        self.show()

    def _turned_to(self) -> None:
        if self.side.value == "b" and self.session.b is None:
            self.session.b = self.session.a
        self.show()

    @property
    def row(self) -> int:
        """The row that clicks change."""
        chosen = self.session.a if self.side.value == "a" else self.session.b
        return self.session.a if chosen is None else chosen

    def clicked(self, row: int) -> None:
        """Choose a row that was clicked in one of the views."""
        self.background.later(lambda: self._choose(row))

    def _choose(self, row: int) -> None:
        """Select a spectrum for the side that clicks change."""
        side: Side = "a" if self.side.value == "a" else "b"
        self.session.choose(row, side)
        self.show()

    def show(self) -> None:
        """Show what is chosen, in all views; what takes longer comes later."""
        if self.session.measured:
            self.message.say("Reading the solutions …", "busy")
        else:
            self.message.say("")
        self._fill()
        try:
            self.views.show_series(self.session)
            self.views.show_single(self.session)
        except Exception as error:
            self.message.failed(error)
            return
        self._clear_slow()
        self._show_or_hide_of_b()
        self._show_legend()
        if self._below.objects:
            self._in_turn(self._show_rest, _FIRST)

    def _show_rest(self) -> None:
        """Show what a person does not look at first, once the browser has drawn the rest."""
        self.table.mark(self.session.a, self.session.b)
        self.export.refresh()
        self.background.do("slow", self._slow_parts(), self._show_slow)

    def _clear_slow(self) -> None:
        """Take away what is of another selection and comes anew later: it must not stand beside this one."""
        session = self.session
        chosen = (session.a, session.b)
        lines = tuple(None if row is None else int(session.series.member[row]) for row in chosen)
        if chosen != self._slow_of[0]:
            self.views.clear_difference(there=session.b not in (None, session.a))
        if lines != self._slow_of[1]:
            self.views.hide_slow()
        self._slow_of = chosen, lines

    def _show_or_hide(self, name: str, *below: str) -> None:
        """Give the room of a view that shows nothing to the others; it comes to the page when it shows something."""
        if name not in self._panes:
            return
        figure, pane = self.views.figure, self._panes[name]
        pane.visible = figure(name).visible
        if pane.visible and not len(pane):
            pane.extend(pn.pane.Bokeh(figure(one), margin=0, **_FLEX) for one in (name, *below))

    def _show_or_hide_of_b(self) -> None:
        for name in ("difference", "map_b"):
            self._show_or_hide(name)

    def _fill(self) -> None:
        """Let the choices on the left say what is chosen."""
        self._filling = True
        session, states = self.session, self.session.source.states
        try:
            for name, widget in self._choices.items():
                value = states[name].iloc[self.row]
                value = value.item() if isinstance(value, np.generic) else value
                if value in list(widget.options.values()):
                    widget.value = value
            rows = session.series.rows(self.row)
            at = int(np.flatnonzero(rows == self.row)[0])
            name = session.series.along
            value = f"{session.series.value[self.row]:.5g}"
            self._place.param.update(
                end=max(1, rows.size - 1), value=at, label=f"{escaped(name)}: {value} ({at + 1} of {rows.size})"
            )
            self._heading.object = self._said_of_files()
        finally:
            self._filling = False

    def _said_of_files(self) -> str:
        source = self.session.source
        names = "".join(f"<br>{escaped(path.name)}" for path in source.files.every)
        how = "nothing inverted yet" if source.name is None else escaped(source.method)
        remarks = "".join(f'<br><span style="color:#B00020">{escaped(remark)}</span>' for remark in source.remarks)
        return f"<b>{count_of(len(source), 'spectrum', thousands=',')}</b>, {how}<small>{names}{remarks}</small>"

    def _slow_parts(self) -> Callable[[], dict[str, Any]]:
        """Return what is to be computed in the background for what is chosen now."""
        session, a, b = self.session, self.session.a, self.session.b

        def work() -> dict[str, Any]:
            found: dict[str, Any] = {"rows": (a, b), "joined": False}
            found["validity"] = session.validity(a)
            found["processes"] = {"a": session.processes(a)} | ({} if b is None else {"b": session.processes(b)})
            for row in (a, b):
                if row is not None and session.joined(row) is not None:
                    session.with_joined_intervals(row)
                    found["joined"] = True
            found["difference"] = session.difference()
            return found

        return work

    def _show_slow(self, found: dict[str, Any]) -> None:
        if found["rows"] != (self.session.a, self.session.b):
            return
        self.views.show_validity(self.session, found["validity"])
        self.views.show_processes(self.session, found["processes"])
        self.views.show_difference(found["difference"])
        self._show_or_hide_of_b()
        if found["joined"]:
            self.views.show_single(self.session)
        self._show_legend(found["difference"])

    def _show_legend(self, difference: Any = None) -> None:
        parts = []
        for curve in reversed(curves_of(self.session)):
            word = {"a": "A", "b": "B", "pin": "pin", "new": "new"}[curve.role]
            result = curve.result
            numbers = "" if result is None or not result.solved[0] else (
                f" R<sub>∞</sub> {result.r_inf[0]:.4g} Ω, R<sub>pol</sub> {result.r_pol[0]:.4g} Ω, "
                f"residual {100 * result.residual[0]:.2g} %"
            )  # fmt: skip
            remark = self.session.one(curve.row).remark if curve.role in "ab" else ""
            said = ""
            if remark not in ("", "ok"):
                why = "" if result is None else escaped(Status(int(result.status[0])).message)
                said = f' <i style="color:#B00020; cursor:help" title="{why}">{escaped(remark)}</i>'
            parts.append(
                f'<div><b style="color:{curve.colour}">{word}: {escaped(curve.label)}</b>{numbers}{said}</div>'
            )
        if difference is not None:
            interval = (
                f"({difference.r_pol_low:+.4g} to {difference.r_pol_high:+.4g} Ω, {LEVEL:.0%}), {difference.how}"
                if np.isfinite(difference.r_pol_low)
                else "without an interval: one of the two, or both, has none"
            )
            parts.append(
                f'<div class="difference">From A to B R<sub>pol</sub> changes by {difference.r_pol:+.4g} Ω '
                f"{interval}.</div>"
            )
        self._legend.object = "".join(parts)

    def invert_again(self) -> None:
        """Invert the selection with the method of the form."""
        try:
            method, scope = self._method.chosen(), self._scope.value
            count = self.session.rows(scope).size
        except DRTError as error:
            self.message.say(error, "wrong")
            return
        self.message.say(f"Inverting {count_of(count, 'spectrum')} …", "busy")
        self._invert.disabled = True

        def work() -> Any:
            try:
                return self.session.invert_again(method, scope)
            finally:
                self.background.later(lambda: setattr(self._invert, "disabled", False))

        self.background.do("again", work, self._show_again)

    def _show_again(self, again: Any) -> None:
        counts = ", ".join(f"{count} {name}" for name, count in again.new.counts().items())
        self.message.say(f"{count_of(again.rows.size, 'spectrum')} inverted again: {counts}")
        table = again.table()
        for column in ("remarks old", "remarks new"):
            if column in table:
                table[column] = [escaped(text) for text in table[column]]
        self._again.object = (
            f"<h4>Old and new</h4>{table.to_html(index=False, float_format='{:.4g}'.format, escape=True)}"
        )
        self.views.show_single(self.session)
        self._show_legend()
        self.export.refresh()

    def look_again(self) -> None:
        """Show what is new in the files, if something is."""
        try:
            if not self.session.reopened():
                return
        except DRTError:
            return  # it is being written; the next look will find it
        self.background.later(self._reload)

    def _reload(self) -> None:
        self._build_sliders()
        self.table.reload()
        self.show()

    def _pinned(self, change: Callable[[], None]) -> Callable[[Any], None]:
        def clicked(_: Any) -> None:
            change()
            self.show()

        return self._soon(clicked)

    def _buttons(self) -> Any:
        session = self.session

        def swap() -> None:
            if session.b is not None:
                session.a, session.b = session.b, session.a

        def without() -> None:
            session.b = None
            self.side.value = "a"

        buttons = []
        actions: tuple[tuple[str, Callable[[], None]], ...] = (
            ("Pin", lambda: session.pin(self.row)),
            ("Without pins", session.pins.clear),
            ("Swap A and B", swap),
            ("Without B", without),
        )
        for label, change in actions:
            button = pn.widgets.Button(label=label, width=_WIDTH // 2 - 15)
            button.on_click(self._pinned(change))
            buttons.append(button)
        return pn.GridBox(*buttons, ncols=2)

    def _pane(self, *names: str) -> Any:
        """Make room for a figure, or for two that stand below each other."""
        self._panes[names[0]] = pn.Column(margin=2, **_FLEX)
        self._show_or_hide(names[0], *names[1:])
        return self._panes[names[0]]

    def _read_solutions(self) -> None:
        """Load what reads solutions once what was measured is drawn, and show them."""
        # Here, as two threads that import modules of each other would wait for each other.
        import_module("drt_engine.result")

        def shown(_: Any) -> None:
            self.show()
            self.background.later(self._complete)

        self.background.do("solutions", self.session.read_solutions, shown)

    def _complete(self) -> None:
        """Add what is computed later, or stands farther down, once the rest is drawn, which is so much sooner."""
        pane = self._pane
        self._below.extend(
            [
                pn.Row(pane("r"), pane("tau"), pane("c"), pane("validity"), **_FLEX),
                self.table.panel(),
                self._again,
                self.export.code,
            ]
        )
        self._show_rest()

    def panel(self) -> Any:
        """Return the page."""
        pane = self._pane
        aside = pn.Column(
            self._heading,
            *self._more,
            self.side,
            self._sliders,
            self._buttons(),
            self.message,
            _card("Invert again", lambda: [self._method.panel(), self._scope, self._invert]),
            _card("Export", lambda: [self.export.panel()]),
            width=_WIDTH + 10,
        )
        main = pn.Column(
            self._legend,
            pn.Row(pane("profile"), pane("nyquist"), pane("modulus", "phase"), pane("residuals"), **_FLEX),
            pn.Row(pane("gamma"), pane("difference"), pane("map_a"), pane("map_b"), **_FLEX),
            self._below,
            **_FLEX,
        )
        return pn.Row(aside, main, **_FLEX)


def _card(title: str, content: Callable[[], list[Any]]) -> Any:
    """Make a card whose content is made when it is opened, and costs nothing before."""
    card = pn.Card(title=title, collapsed=True, width=_WIDTH - 20, margin=(5, 10))

    def opened(_: Any) -> None:
        if not card.collapsed and not len(card):
            card.extend(content())

    card.param.watch(opened, "collapsed")
    return card
