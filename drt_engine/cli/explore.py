"""``drt-engine explore``: look at a campaign in the browser."""

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drt_engine.cli.app import app, input_error, say

if TYPE_CHECKING:
    from drt_engine.explore.server import Served

__all__ = ["explore"]

# As in the extra: older ones do not have all that the pages ask for.
_OLDEST_PANEL = (1, 9)


@app.command(
    epilog="Example: drt-engine explore campaign.h5\n\nWithout a file: drt-engine explore, and drop the files of the "
    "instrument onto the page."
)
def explore(
    file: Annotated[
        Path | None,
        typer.Argument(help="File of spectra or of inversions, or a folder of them or of instrument files."),
    ] = None,
    spectra: Annotated[
        Path | None, typer.Option(help="File of the spectra. [campaign.h5 beside campaign.drt.h5]")
    ] = None,
    tracks: Annotated[Path | None, typer.Option(help="File of processes. [processes.h5 beside the inversions]")] = None,
    profile: Annotated[Path | None, typer.Option(help="Voltage profile, csv. [profile.csv beside it]")] = None,
    port: Annotated[int, typer.Option(help="Where to listen. [a free one]", min=0, max=65535, show_default=False)] = 0,
    browser: Annotated[bool, typer.Option(help="Open the browser.")] = True,
) -> None:
    """Look at a campaign in the browser: click, compare, invert again, export.

    The address has a secret in it, and answers on this machine only. Ctrl-C ends it.
    """
    with _nothing_to_collect():
        served = _served(file, spectra, tracks, profile, port)
    say(f"  {served.address}", "Whoever has this address can read the files while this runs. Ctrl-C ends it.")
    _run(served, browser=browser)


@contextmanager
def _nothing_to_collect() -> Iterator[None]:
    """Look for no garbage while libraries are loaded: a tenth of the time until a page is there."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _served(file: Path | None, spectra: Path | None, tracks: Path | None, profile: Path | None, port: int) -> "Served":
    from drt_engine.outputs import require_file

    try:
        import panel
    except ImportError:
        raise input_error("explore needs Panel, which is not installed: pip install 'drt-engine[explore]'.") from None
    if tuple(int(part) for part in panel.__version__.split(".")[:2]) < _OLDEST_PANEL:
        needed = f"Panel {'.'.join(map(str, _OLDEST_PANEL))} or newer, and here is {panel.__version__}"
        raise input_error(f"explore needs {needed}: pip install 'drt-engine[explore]'.")
    from drt_engine.explore.open import application

    for given in (file, spectra, tracks, profile):
        if given is not None and not given.is_dir():
            require_file(given, "a file")
    # One line for each refused request would fill the terminal, with the secret in it.
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)
    return application(file, spectra=spectra, processes=tracks, profile=profile, port=port)


def _run(served: "Served", *, browser: bool) -> None:
    from drt_engine.explore.server import shown_in_browser

    if browser:
        with shown_in_browser(served.address):
            served.run()
    else:
        served.run()
