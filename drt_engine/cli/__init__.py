"""The command line: from files of instruments to figures, tables, a report, and a page to look at them in."""

import logging
import sys

from drt_engine.cli import (
    clean,
    demo,
    explore,
    export,
    import_,
    info,
    invert,
    peaks,
    plot,
    report,
    transport,
    validate,
    watch,
)
from drt_engine.cli.app import Once, PlainFormatter, app, say, show_uncaught, spelled

__all__ = ["app", "main"]

# Each has registered its command when it was imported.
_COMMANDS = (
    *(clean, demo, explore, export, import_, info, invert),
    *(peaks, plot, report, transport, validate, watch),
)


def main() -> None:
    """Run the command line; an error that the engine raises on purpose is one line and exit code 2."""
    from drt_engine.errors import DRTError

    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter("%(message)s"))
    handler.addFilter(Once())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    sys.excepthook = show_uncaught
    # What failed is in the summary that the command prints.
    logging.getLogger("drt_engine.jobs.job").setLevel(logging.ERROR)
    try:
        app()
    except DRTError as error:
        # A file name may have a line break in it.
        say(f"drt-engine: {spelled(' '.join(str(error).splitlines()))}", err=True)
        sys.exit(2)
