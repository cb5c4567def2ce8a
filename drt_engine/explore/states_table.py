"""The table of states: those that a condition chooses, a page at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
from bokeh.models import ScientificFormatter

from drt_engine.errors import DRTError
from drt_engine.explore.session import Session
from drt_engine.explore.widgets import Message, escaped
from drt_engine.selection import rows_where
from drt_engine.status import Status
from drt_engine.text import count_of, visible

__all__ = ["PAGE", "StatesTable"]

PAGE = 200
"""Rows that are in the browser at a time."""

_SMALL = 1e-4
"""Numbers below this would be shown as zero, or nearly: their columns are written with powers of ten."""


class StatesTable:
    """States and solutions as a table that can be clicked.

    Parameters
    ----------
    session : Session
        What is looked at.
    on_row : callable
        Called with the row that was clicked.
    message : Message
        Where errors are said.
    """

    def __init__(self, session: Session, on_row: Callable[[int], None], message: Message) -> None:
        self._session, self._on_row, self._message = session, on_row, message
        self.where = pn.widgets.TextInput(
            label="Only those with", placeholder="cell == 'C' and cycle <= 100", width=420
        )
        self.page = pn.widgets.IntInput(label="Page", value=1, start=1, width=90)
        self._said = pn.pane.HTML("", align="end", margin=(5, 10, 12, 10))
        self._rows = np.arange(len(session.source))
        frame = self._frame()
        self.table = pn.widgets.Tabulator(
            frame,
            formatters=_formats(frame),
            disabled=True,
            show_index=True,
            selectable=False,
            height=300,
            sizing_mode="stretch_width",
            configuration={"columnDefaults": {"headerSort": True}},
        )
        self.table.on_click(self._clicked)
        self.where.param.watch(lambda _: self.reload(), "value")
        self.page.param.watch(lambda _: self._turn(), "value")
        self._say_pages()

    def panel(self) -> Any:
        """Return the table."""
        return pn.Column(pn.Row(self.where, self.page, self._said), self.table, sizing_mode="stretch_width")

    def reload(self) -> None:
        """Show the rows of the condition, of the file as it is now."""
        states, text = self._session.source.states, self.where.value.strip()
        try:
            self._rows = np.asarray(rows_where(states, text)) if text else np.arange(len(states))
        except DRTError as error:
            self._message.say(error, "wrong")
            return
        self._turn()

    def mark(self, *rows: int | None) -> None:
        """Show a selection in the table, on whichever page it is."""
        if rows and rows[0] is not None:
            at = int(np.searchsorted(self._rows, rows[0]))
            if at < self._rows.size and self._rows[at] == rows[0] and at // PAGE + 1 != self.page.value:
                self.page.value = at // PAGE + 1
        here = self._shown()
        self.table.selection = [int(np.flatnonzero(here == row)[0]) for row in rows if row is not None and row in here]

    def _shown(self) -> Any:
        start = (self.page.value - 1) * PAGE
        return self._rows[start : start + PAGE]

    def _turn(self) -> None:
        self._say_pages()
        frame = self._frame()
        self.table.param.update(value=frame, formatters=self.table.formatters | _formats(frame))

    def _say_pages(self) -> None:
        pages = max(1, -(-self._rows.size // PAGE))
        self.page.end = pages
        self.page.value = min(self.page.value, pages)
        every = count_of(len(self._session.source), "spectrum", thousands=",")
        self._said.object = f"of {pages:,}; {self._rows.size:,} of {every}"

    def _frame(self) -> pd.DataFrame:
        source, rows = self._session.source, self._shown()
        frame: pd.DataFrame = source.states.iloc[rows].copy()
        for name in frame.columns:
            if not pd.api.types.is_numeric_dtype(frame[name]):
                frame[name] = [escaped(value) for value in frame[name]]
        if source.residual is not None and source.status is not None:
            frame["residual / %"] = 100.0 * source.residual[rows]
            flags = source.status[rows]
            words = {flag: _words(int(flag)) for flag in np.unique(flags)}
            frame["remarks"] = [words[flag] for flag in flags]
        # Headings are HTML to the table; numbers of rows are those of the file.
        frame.columns = pd.Index([escaped(name) for name in frame.columns])
        frame.index = pd.Index(rows, name="spectrum")
        return frame

    def _clicked(self, event: Any) -> None:
        shown = self._shown()
        if event.row is not None and 0 <= event.row < shown.size:
            self._on_row(int(shown[event.row]))


def _formats(frame: pd.DataFrame) -> dict[str, Any]:
    """Say how columns are written that have small numbers."""
    found = {}
    for name in frame.columns:
        if frame[name].dtype.kind == "f":
            size = np.abs(frame[name].to_numpy())
            if np.any((size > 0.0) & (size < _SMALL)):
                found[str(name)] = ScientificFormatter(precision=4, nan_format="")
    return found


def _words(flag: int) -> str:
    found = [str(one.name).lower().replace("_", " ") for one in Status if one and one & flag]
    return visible(", ".join(found) or "ok")
