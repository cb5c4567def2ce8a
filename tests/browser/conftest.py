"""A page of a real browser: without network, and whose errors fail the test."""

import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = [
    "--no-sandbox",  # in containers the tests run as root, for whom Chromium has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
_HERE = ("file", "data", "blob", "about")


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


@pytest.fixture
def page(chromium, tmp_path):
    """An empty page; errors on its console and requests to other machines fail the test in the end."""
    wrong = []
    context = chromium.new_context(viewport={"width": 1600, "height": 1000}, accept_downloads=True)

    def pass_on(route):
        address = urlsplit(route.request.url)
        if address.scheme in _HERE or address.hostname == "127.0.0.1":
            route.continue_()
        else:
            wrong.append(f"asked for {route.request.url}")
            route.abort()

    def look_at(message):
        if message.type == "error":
            wrong.append(f"console: {message.text} ({message.location.get('url')})")

    context.route("**/*", pass_on)
    page = context.new_page()
    page.set_default_timeout(150_000)
    page.on("console", look_at)
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.wrong = wrong
    yield page
    page.screenshot(path=tmp_path / "end.png")
    context.close()
    assert wrong == []


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
