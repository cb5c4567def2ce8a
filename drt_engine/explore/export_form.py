"""The form that exports what is in view."""

from io import BytesIO
from typing import Any, get_args

import panel as pn

from drt_engine.errors import DRTError
from drt_engine.explore.exporting import FIGURES, FORMATS, View, drawn, numbers, python_lines
from drt_engine.explore.session import Scope, Session
from drt_engine.explore.widgets import Message, escaped
from drt_engine.tables import TABLES

__all__ = ["ExportForm"]

_FROM_FILE, _AGAIN = "of the file", "inverted again"


class ExportForm:
    """What is exported, and the buttons for it.

    Parameters
    ----------
    session : Session
        What is looked at.
    message : Message
        Where errors are said.

    Attributes
    ----------
    code : object
        The Python lines, to be shown somewhere.
    """

    def __init__(self, session: Session, message: Message) -> None:
        self._session, self._message = session, message
        width = {"width": 240}
        self.figure = pn.widgets.Select(
            label="Figure", options={name.replace("_", " "): name for name in FIGURES}, **width
        )
        self.scope = pn.widgets.Select(label="Of", options=list(get_args(Scope)), **width)
        self.solutions = pn.widgets.Select(label="Solutions", options=[_FROM_FILE, _AGAIN], **width)
        self.format = pn.widgets.Select(label="Format of the figure", options=list(FORMATS), **width)
        self.area = pn.widgets.Checkbox(label="In Ω cm², by the state area", **width)
        self.table = pn.widgets.Select(label="Numbers", options=list(TABLES), value="gamma", **width)
        self.code = pn.pane.HTML("", sizing_mode="stretch_width")
        self._buttons = [
            self._button("Save figure", lambda: f"{self.figure.value}.{self.format.value}", self._draw),
            self._button("Save numbers as csv", lambda: f"{self.table.value}.csv", lambda: self._table("csv")),
            self._button("Save all numbers for Excel", lambda: "numbers.xlsx", lambda: self._table("xlsx")),
            self._button("Save Python lines", lambda: "lines.py", lambda: BytesIO(self._lines().encode())),
        ]
        for widget in (self.figure, self.scope, self.solutions, self.format, self.area, self.table):
            widget.param.watch(lambda _: self.refresh(), "value")

    def _button(self, label: str, name: Any, make: Any) -> Any:
        def called() -> BytesIO:
            try:
                made: BytesIO = make()
            except DRTError as error:
                self._message.say(error, "wrong")
                raise
            self._message.say("")
            return made

        button = pn.widgets.FileDownload(callback=called, filename="", label=label, color="default", width=240)
        button.naming = name  # what it is called follows the form
        return button

    def view(self) -> View:
        """Return what the form says."""
        again = self.solutions.value == _AGAIN
        return View(self.figure.value, self.scope.value, again=again, per_area=self.area.value)

    def _draw(self) -> BytesIO:
        return drawn(self._session, self.view(), self.format.value)

    def _table(self, suffix: str) -> BytesIO:
        which: tuple[str, ...] = (self.table.value,)
        if suffix == "xlsx":
            known = self._session.source.name is not None or self.view().again
            which = ("results", "gamma", "impedance", "peaks") if known else ("impedance",)
        return numbers(self._session, self.view(), which, suffix)

    def _lines(self) -> str:
        return python_lines(self._session, self.view())

    def refresh(self) -> None:
        """Show the lines of what is in view now."""
        try:
            lines = self._lines()
        except DRTError as error:
            self._message.say(error, "wrong")
            return
        self.code.object = (
            f"<h4>The same in Python</h4><pre class='lines' style='white-space:pre-wrap'>{escaped_lines(lines)}</pre>"
        )
        for button in self._buttons:
            button.filename = button.naming()

    def panel(self) -> Any:
        """Return the form."""
        chosen = (self.figure, self.scope, self.solutions, self.format, self.area)
        figure, csv, excel, python = self._buttons
        return pn.Column(*chosen, figure, self.table, csv, excel, python, margin=0)


def escaped_lines(text: str) -> str:
    """Write several lines for a browser."""
    return "\n".join(map(escaped, text.split("\n")))
