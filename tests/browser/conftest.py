"""A page of a real browser: without network, and whose errors, or those of what serves it, fail the test."""

import logging
import os
import shutil
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from drt_engine.explore.widgets import Background

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = [
    "--no-sandbox",  # in containers the tests run as root, for whom Chromium has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
_HERE = ("file", "data", "blob", "about")
_EMPTY = ("could not set initial ranges", "could not determine m")
"""What Bokeh warns of where a figure has nothing to show yet."""
_CLOSED = "connection was closed"
"""What it says of changes of a page that a test has closed."""


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")
            item.add_marker("slow")
            item.add_marker("recorded")


# Of this folder's tests only: while it is open, asyncio takes its loop as the running one of the thread.
@pytest.fixture(scope="package")
def chromium():
    """Chromium, started once; the tests are skipped where there is none."""
    found = os.environ.get("DRT_ENGINE_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip("no Chromium was found")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=_ARGUMENTS)
        yield browser
        browser.close()


class Served(logging.Handler):
    """What goes wrong behind the pages that this process serves, and the changes of pages that are still to come.

    The server logs what a callback raises and goes on, and a callback that it loses is missed by nobody: the page stays
    as it was.
    """

    def __init__(self):
        super().__init__(logging.WARNING)
        self.wrong = []
        self.waiting = {}  # by page, of those that are open

    def emit(self, record):
        # Who has no address is refused with a warning, which is what tests of that want.
        if not (record.name.startswith("tornado.access") or _CLOSED in record.getMessage()):
            self.wrong.append(f"{record.name}: {self.format(record)}")

    def raised(self, given):
        self.wrong.append(f"thread {given.thread}: {given.exc_value!r}")

    def watch(self, monkeypatch):
        """Note which changes a page is to have, and which of them are made."""
        open_, later, close = Background.__init__, Background.later, Background.close

        def opened(background, message):
            self.waiting[background] = {}
            open_(background, message)

        def noted(background, change, wait=0):
            page, key = self.waiting.get(background, {}), object()

            def made():
                page.pop(key, None)
                change()

            page[key] = change
            later(background, made, wait)

        def closed(background):
            self.waiting.pop(background, None)  # nobody looks at the page any more
            close(background)

        for name, stand_in in (("__init__", opened), ("later", noted), ("close", closed)):
            monkeypatch.setattr(Background, name, stand_in)
        monkeypatch.setattr(threading, "excepthook", self.raised)

    def lost(self, seconds=10.0):
        """Changes that have not been made after a while."""
        for _ in range(int(10 * seconds)):
            if not any(self.waiting.values()):
                return []
            time.sleep(0.1)
        return [f"lost: {change}" for page in self.waiting.values() for change in page.values()]


@pytest.fixture(scope="package")
def behind():
    """Errors of what is served, of all servers of these tests."""
    found = Served()
    # Those of Bokeh and Panel keep what they log to themselves.
    loggers = [logging.getLogger(name) for name in (None, "bokeh", "panel")]
    with pytest.MonkeyPatch.context() as monkeypatch:
        found.watch(monkeypatch)
        for logger in loggers:
            logger.addHandler(found)
        yield found
        for logger in loggers:
            logger.removeHandler(found)


@pytest.fixture
def page(chromium, behind, tmp_path, request):
    """An empty page; errors on its console or behind it and requests to other machines fail the test in the end."""
    failed_before = request.session.testsfailed
    wrong = behind.wrong
    wrong.clear()  # what a page that was closed meanwhile did not get is no error
    behind.waiting.clear()  # of pages that are closed, or that no browser had
    context = chromium.new_context(viewport={"width": 1600, "height": 1000}, accept_downloads=True)

    def look_where(asked):
        # What is elsewhere has no address for this browser.
        address = urlsplit(asked.url)
        if address.scheme not in _HERE and address.hostname != "127.0.0.1":
            wrong.append(f"asked for {asked.url}")

    def look_at(message):
        if message.type in ("error", "warning") and not any(words in message.text for words in _EMPTY):
            wrong.append(f"console: {message.text} ({message.location.get('url')})")

    context.on("request", look_where)
    page = context.new_page()
    page.set_default_timeout(150_000)
    page.on("console", look_at)
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.wrong = wrong
    yield page
    wrong += behind.lost()
    if wrong or request.session.testsfailed > failed_before:
        page.screenshot(path=tmp_path / "end.png")
    found = wrong.copy()
    context.close()
    assert found == [], "\n".join(found)


@pytest.fixture
def shoot(page, tmp_path):
    """Take a picture of the page, or of a part of it, on which there has to be something.

    Pictures stay in the folder that DRT_ENGINE_SCREENSHOTS names; those of the documentation are made so.
    """
    folder = Path(os.environ.get("DRT_ENGINE_SCREENSHOTS") or tmp_path)

    def take(name, of=None, **options):
        from matplotlib.image import imread

        path = folder / f"{name}.png"
        (page if of is None else page.locator(of).first).screenshot(path=path, **options)
        shades = np.round(imread(path)[..., :3] * 15).astype(int) @ [256, 16, 1]
        assert np.count_nonzero(np.bincount(shades.ravel())) > 8, f"there is little to see on {path}"
        if folder != tmp_path:
            # Of 255 colours, a page takes a third of the bytes.
            from PIL import Image

            Image.open(path).convert("RGB").quantize(255).save(path, optimize=True)
        return path

    return take
