"""The server behind the browser: on this machine only, and only for who has the address.

The address has a secret in its path, and so has everything that a page asks for, the connection that stays open
included. Whatever comes without it, under another name of the host, or from a page of another address, gets nothing:
not even what would tell that there is something.
"""

import asyncio
import html
import re
import secrets
import socket
import tempfile
import time
import warnings
import webbrowser
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import unquote

from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError
from tornado.routing import Router
from tornado.web import ErrorHandler, RequestHandler

from drt_engine.text import visible

__all__ = ["Served", "serve", "shown_in_browser"]

_HOST = "127.0.0.1"
# Ports that are tried: another program may take a free one before it is listened on, which hardly happens twice.
_TRIALS = 20
# Bytes. A browser sends dropped files as one message, which Tornado by itself ends at 10 MiB.
_LARGEST_MESSAGE = 2**28
# What every page needs, in this order.
_SCRIPTS = (
    "static/js/bokeh.min.js",
    "static/js/bokeh-gl.min.js",
    "static/js/bokeh-widgets.min.js",
    "static/js/bokeh-tables.min.js",
    "static/extensions/panel/panel.min.js",
)
# Seconds that a page waits for a browser to ask for them, and between looks whether it has.
_PATIENCE, _PAUSE = 0.3, 0.01


class _Gate(Router):
    """Lets those requests through that know the secret, ask this host and come from its own pages."""

    def __init__(self, application: Any, prefix: str, host: str) -> None:
        self._application, self._prefix, self._host = application, prefix, host
        self._asked: set[str] = set()
        self.page_asked = Event()

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """Hand a request on, or answer it with 403 and nothing else."""
        if self._lets_in(request):
            if request.path == f"{self._prefix}/":
                self.page_asked.set()
            self._asked.add(request.path.removeprefix(f"{self._prefix}/"))
            return self._application.find_handler(request, **kwargs)
        return self._application.get_handler_delegate(request, _Nothing, {"status_code": 403})

    async def asked_for(self, names: Collection[str]) -> None:
        """Wait until a browser has asked for some files, and has them; not long, as it may know them from before."""
        end = time.monotonic() + _PATIENCE
        while not self._asked.issuperset(names) and time.monotonic() < end:
            await asyncio.sleep(_PAUSE)
        await asyncio.sleep(_PAUSE)

    def _lets_in(self, request: HTTPServerRequest) -> bool:
        path = unquote(request.path)
        known = secrets.compare_digest(path[: len(self._prefix)].encode(), self._prefix.encode())
        below = path[len(self._prefix) :]
        inside = below.startswith("/") and ".." not in below.replace("\\", "/").split("/") and "\0" not in below
        origin = request.headers.get("Origin")
        own = origin is None or origin == f"http://{self._host}"
        return known and inside and own and request.method in ("GET", "HEAD") and request.host == self._host


class _Nothing(ErrorHandler):
    """An answer without a word on what is here."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ARG002 - as tornado calls it
        """Write nothing."""
        self.finish()

    def set_default_headers(self) -> None:
        """Leave out what serves here."""
        self.clear_header("Server")


def _begins_early(server: Any, title: str, gate: _Gate) -> None:
    """Let a page name its scripts before it is made: a browser takes about as long to load them as making it takes."""
    from panel.io.server import DocHandler

    named = html.escape(visible(title))
    scripts = "".join(f'<script src="{script}"></script>' for script in _SCRIPTS)
    beginning = f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{named}</title>{scripts}'
    again = re.compile("|".join(rf'<script [^>]*src="{re.escape(script)}(\?[^"]*)?"></script>' for script in _SCRIPTS))

    class Page(DocHandler):  # type: ignore[misc]  # panel has no types
        """A page in two parts: its scripts, and all else."""

        async def get(self, *args: Any, **kwargs: Any) -> None:
            """Send the scripts, and then what Panel makes."""
            self.set_header("Content-Type", "text/html")
            self.set_header("Cache-Control", "no-store")
            super().write(beginning)
            try:
                await self.flush()
            except StreamClosedError:
                return  # nobody waits for the page any more
            await gate.asked_for(_SCRIPTS)
            await super().get(*args, **kwargs)

        def write(self, chunk: Any) -> None:
            """Send the page without what was sent."""
            super().write(again.sub("", chunk.partition("<head>")[2]))

    for rule in server._tornado.wildcard_router.rules:
        if rule.target is DocHandler:
            rule.target = Page


class _Icon(RequestHandler):
    """The icon of the tab: there is none."""

    def get(self) -> None:
        """Say so."""
        self.set_status(204)


class Served:
    """A server that runs, or is about to.

    Attributes
    ----------
    address : str
        What the browser opens.
    asked : Event
        Whether a browser has asked for a page.
    at_end : list of callable
        Called when it has ended.
    """

    def __init__(self, server: Any, address: str, asked: Event) -> None:
        self._server, self.address, self.asked = server, address, asked
        self.at_end: list[Callable[[], None]] = []

    def run(self) -> None:
        """Serve until :meth:`stop`, or Ctrl-C."""
        self._server.start()
        try:
            self._server.io_loop.start()
        except KeyboardInterrupt:
            pass
        finally:
            self._server.stop(wait=False)
            for close in self.at_end:
                close()

    def stop(self) -> None:
        """End :meth:`run`, from any thread."""
        loop = self._server.io_loop
        loop.add_callback(loop.stop)


def serve(page: Callable[[], Any], title: str, port: int = 0) -> Served:
    """Make a server for pages that are made anew for each visit.

    Parameters
    ----------
    page : callable
        Makes what is shown.
    title : str
        Of the tab in the browser.
    port : int
        Where to listen; a free one by default.

    Returns
    -------
    Served
        With the address; it answers when it runs.

    Raises
    ------
    OSError
        If the port is taken.
    """
    from bokeh.settings import settings
    from panel.io.server import get_server

    # A search of each new page for mistakes in how it was made, which the tests make as well.
    settings.perform_document_validation = False
    _ensure_event_loop()
    prefix = f"/{secrets.token_urlsafe(32)}"
    for trial in range(_TRIALS):
        chosen = port or _free_port()
        host = f"{_HOST}:{chosen}"
        try:
            server = get_server(
                {"/": page},
                port=chosen,
                address=_HOST,
                websocket_origin=[host],
                title={"/": title},
                prefix=prefix,
                # A page that hears where it is makes its style sheets anew, and is laid out again, at the first click.
                location=False,
                extra_patterns=[(r"/favicon\.ico", _Icon)],
                websocket_max_message_size=_LARGEST_MESSAGE,
                # A page that is closed is forgotten soon, and with it what it had read.
                check_unused_sessions_milliseconds=5_000,
                unused_session_lifetime_milliseconds=30_000,
            )
        except OSError:
            # Somebody else took it meanwhile.
            if port or trial == _TRIALS - 1:
                raise
            continue
        break
    # No route of the server is known to who does not know the prefix.
    gate = _Gate(server._tornado, prefix, host)
    server._http.request_callback = gate
    _begins_early(server, title, gate)
    return Served(server, f"http://{host}{prefix}/", gate.page_asked)


def _ensure_event_loop() -> None:
    """Make the event loop of this thread, if it has none: from Python 3.12 on, to ask for it makes none or warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            asyncio.get_event_loop()
        except (DeprecationWarning, RuntimeError):
            asyncio.set_event_loop(asyncio.new_event_loop())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def shown_in_browser(address: str) -> Iterator[None]:
    """Open an address in the browser without telling it to others on this machine, as a command line would.

    The browser opens a file that only its owner can read and that leads on to the address.
    """
    with tempfile.TemporaryDirectory(prefix="drt-engine-") as folder:
        leading = Path(folder) / "explore.html"
        leading.write_text(
            f'<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
            f'<meta http-equiv="refresh" content="0; url={address}"><a href="{address}">drt-engine</a>',
            encoding="utf-8",
        )
        webbrowser.open(leading.as_uri())
        yield
