"""Small parts of the pages: text from files as text, work that goes on behind a page, forms of methods."""

import html
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import bokeh
import panel as pn
from bokeh.models import UIElement

from drt_engine.errors import DRTError
from drt_engine.text import visible

if TYPE_CHECKING:
    from drt_engine.methods import Method

__all__ = ["Background", "Message", "MethodForm", "escaped", "loaded", "options_of"]

logger = logging.getLogger(__name__)

_BOKEH = tuple(int(part) for part in bokeh.__version__.split(".")[:2])
# Newest Bokeh of which is known how it writes several changes as one message; a newer one writes a message for each.
_GROUPED_UNTIL = (3, 10)
_LOG_GAUSSIAN, _TIKHONOV = "LogGaussian", "Tikhonov"


def escaped(text: object) -> str:
    """Write text from a file so that a browser shows it and does nothing else."""
    return html.escape(visible(str(text)))


def options_of(values: Any) -> dict[str, Any]:
    """Return values by what they are called in a list to choose from."""
    return {visible(f"{value:.6g}" if isinstance(value, float) else str(value)): value for value in values}


def loaded(*, files: bool) -> None:
    """Load what the pages need of Panel, with or without a field for files: all of it is served from here."""
    dropping = ("filedropper",) if files else ()
    pn.extension("tabulator", *dropping, notifications=False, inline=False, sizing_mode=None)


def _at_once(change: Callable[[], None]) -> Callable[[], None]:
    """Hold back what a function changes on a page, and send it in few messages, in the order in which it was changed.

    Figures are changed through Bokeh and the rest of a page through Panel, which sends its changes by a way of its own.
    One of them may then overtake another that made what it speaks of. What is held back goes Bokeh's way as a whole.
    A message for each change, as Bokeh sends them, would let the browser lay the page out again after each.
    """

    def changed() -> None:
        document = pn.state.curdoc
        if document is None or document.callbacks.hold_value:
            change()
            return
        document.hold("collect")
        try:
            change()
        finally:
            _release(document)

    return changed


def _release(document: Any) -> None:
    """Send what was held back of a page; a page that is being made has nobody yet to send it to."""
    context = document.session_context
    session = None if context is None else context.session
    if session is None or _BOKEH > _GROUPED_UNTIL:
        document.unhold()
        return
    events: list[Any] = []
    session._document_patched = events.append
    try:
        document.unhold()
    finally:
        del session._document_patched
    for message in _messages(events):
        for connection in session._subscribed_connections:
            session._pending_writes.append(_written(connection, message))


def _written(connection: Any, message: list[Any]) -> Any:
    """Write changes as one message, in the way of the Bokeh at hand: Bokeh does so by itself for one change only."""
    from bokeh.server import session

    if not hasattr(session, "_PendingPatch"):
        return connection._socket.send_message(connection.protocol.create("PATCH-DOC", message))
    return session._PendingPatch(message[0], _Together(connection.protocol, message), (connection,))


class _Together(NamedTuple):
    """What Bokeh 3.10 and newer asks for the message of one change, and which gives that of several."""

    protocol: Any
    events: list[Any]

    def create(self, kind: str, _one: list[Any]) -> Any:
        """Make the message of all changes."""
        return self.protocol.create(kind, self.events)


def _messages(events: list[Any]) -> list[list[Any]]:
    """Part changes into messages: what has a place on the page does not come after data in the same one.

    A change of a place may draw at once, while what is drawn takes new data only when its message has been read.
    """
    found: list[list[Any]] = []
    after_data = True
    for event in events:
        placed = isinstance(getattr(event, "model", None), UIElement)
        if not found or (placed and after_data):
            found.append([])
        found[-1].append(event)
        after_data = not placed
    return found


class Message(pn.pane.HTML):  # type: ignore[misc]  # panel has no types
    """A line that says what happened."""

    def say(self, text: object, kind: str = "said") -> None:
        """Say something; `kind` is ``"said"``, ``"busy"`` or ``"wrong"``."""
        colour = {"said": "#333333", "busy": "#0072B2", "wrong": "#B00020"}[kind]
        words = f'<span class="message {kind}" style="color:{colour};overflow-wrap:anywhere">{escaped(text)}</span>'
        self.object = words if str(text) else ""

    def failed(self, error: Exception) -> None:
        """Say what went wrong: an error of the engine as it is, any other as one that should not have happened."""
        if isinstance(error, DRTError):
            self.say(error, "wrong")
            return
        logger.error("the explorer failed", exc_info=error)
        self.say(f"This should not have happened: {type(error).__name__}: {error}", "wrong")


class Background:
    """Work of one page that takes longer than a click may: one after another, in a thread.

    What was asked for under a name before is dropped when something newer is asked for under it.
    """

    def __init__(self, message: Message) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="explore")
        self._message = message
        self._newest: dict[str, Future[Any]] = {}
        self._document = pn.state.curdoc
        # What a thread adds while the server sets up a page may be lost: it waits until the browser has the page.
        self._waiting: list[Callable[[], None]] | None = []
        self._lock = Lock()
        pn.state.onload(self._loaded)

    def _loaded(self) -> None:
        with self._lock:
            changes, self._waiting = self._waiting or [], None
        for change in changes:
            self.later(change)

    def do(self, name: str, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Do some work, then hand what it returned to a function that may change the page."""
        if name in self._newest:
            self._newest[name].cancel()
        future = self._newest[name] = self._pool.submit(work)
        future.add_done_callback(lambda finished: self.later(lambda: self._finish(name, finished, done)))

    def later(self, change: Callable[[], None], wait: int = 0) -> None:
        """Change the page when it is free to be changed, and after some milliseconds, from whichever thread.

        That is once it is there, and not while another change is being made or sent: what a widget calls may come in
        between. A page that was closed meanwhile is not changed.
        """
        with self._lock:
            if self._waiting is not None:
                self._waiting.append(change)
                return
        with suppress(RuntimeError, AttributeError):
            if wait:
                self._document.add_timeout_callback(_at_once(change), wait)
            else:
                self._document.add_next_tick_callback(_at_once(change))

    def _finish(self, name: str, future: "Future[Any]", done: Callable[[Any], None]) -> None:
        if future.cancelled() or self._newest.get(name) is not future:
            return
        try:
            found = future.result()
        except Exception as error:
            self._message.failed(error)
        else:
            done(found)

    def close(self) -> None:
        """Do nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class MethodForm:
    """What an inversion is told.

    Parameters
    ----------
    states : list of str
        States along which series can be inverted together.
    method : Method, optional
        What stands in the form at first.
    """

    def __init__(self, states: list[str], method: "Method | None" = None) -> None:
        from drt_engine.methods import LogGaussian, Tikhonov
        from drt_engine.regularisation import CRITERIA

        made: dict[str, Any] = (method or LogGaussian()).settings()
        width = {"width": 240}
        name = made.get("name") if made.get("name") in (_LOG_GAUSSIAN, _TIKHONOV) else _LOG_GAUSSIAN
        first: dict[str, Any] = made if name == made.get("name") == _LOG_GAUSSIAN else LogGaussian().settings()
        linear: dict[str, Any] = made if name == made.get("name") == _TIKHONOV else Tikhonov().settings()
        choices = {"each alone": None} | {visible(state): state for state in states if state != "spectrum"}
        along = first.get("along")
        self.method = pn.widgets.Select(label="Method", options=[_LOG_GAUSSIAN, _TIKHONOV], value=name, **width)
        self.along = pn.widgets.Select(
            label="Together along", options=choices, value=along if along in choices.values() else None, **width
        )
        self.tail = _select("Tail", ("none", "capacitor", "cpe", "warburg", "warburg-open", "auto"), first.get("tail"))
        self.sign = _select("Sign of γ", ("positive", "both"), first.get("sign"))
        noise = first.get("noise")
        self.noise = _select("Noise", ("auto", "constant", "proportional"), noise if isinstance(noise, str) else None)
        criteria = [name for name in CRITERIA if name != "discrepancy"]
        self.criterion = _select("λ is chosen by", criteria, linear.get("regularisation"))
        self.order = _select("Order of the penalty", (1, 0, 2), linear.get("order"))
        self.part = _select("Part that is fitted", ("complex", "re", "im"), linear.get("part"))
        self.weighting = _select("Weighting", ("unit", "modulus", "iterated"), linear.get("weighting"))
        self.inductance = pn.widgets.Checkbox(label="Inductance", value=bool(made.get("inductance", True)), **width)
        self.strength = pn.widgets.TextInput(label="λ, if it is given", placeholder="found from the data", **width)
        self._of_log_gaussian = (self.along, self.tail, self.sign, self.noise)
        self._of_tikhonov = (self.criterion, self.order, self.part, self.weighting)
        self.method.param.watch(lambda _: self._switch(), "value")
        self._switch()

    def _switch(self) -> None:
        log_gaussian = self.method.value == _LOG_GAUSSIAN
        for widget in self._of_log_gaussian:
            widget.visible = log_gaussian
        for widget in self._of_tikhonov:
            widget.visible = not log_gaussian

    def panel(self) -> Any:
        """Return the form."""
        rest = (*self._of_log_gaussian, *self._of_tikhonov, self.strength, self.inductance)
        return pn.Column(self.method, *rest, margin=0)

    def chosen(self) -> "Method":
        """Return the method that the form says.

        Raises
        ------
        DRTError
            For settings that cannot be.
        """
        from drt_engine.methods import method_from_settings

        settings: dict[str, Any] = {"name": self.method.value, "inductance": self.inductance.value}
        if self.method.value == _LOG_GAUSSIAN:
            names: tuple[str, ...] = ("along", "tail", "sign", "noise")
        else:
            names = ("order", "part", "weighting")
            settings["regularisation"] = self.criterion.value
        settings |= {name: getattr(self, name).value for name in names}
        if text := self.strength.value.strip():
            try:
                settings["regularisation"] = float(text.replace(",", "."))
            except ValueError:
                settings["regularisation"] = text
        return method_from_settings(settings)


def _select(label: str, options: Any, value: Any) -> Any:
    choices = list(options)
    return pn.widgets.Select(label=label, options=choices, value=value if value in choices else choices[0], width=240)
