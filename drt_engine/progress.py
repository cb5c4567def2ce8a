"""A progress bar for inversions and fits in memory."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

__all__ = ["shown"]

_SECONDS = 2.0
"""Seconds that pass before a bar is shown."""


@contextmanager
def shown(total: int, doing: str = "inverting") -> Iterator[Callable[[int], None]]:
    """Show how many spectra are done, on a terminal or in a notebook, if it takes longer than two seconds.

    Parameters
    ----------
    total : int
        How many there are.
    doing : str
        What is done with them.

    Yields
    ------
    callable
        To be called, from any thread, with how many more are done.
    """
    if not _watched():
        yield lambda _: None
        return
    bar = _Bar(total, doing)
    try:
        yield bar.more
    finally:
        bar.stop()


def _watched() -> bool:
    """Tell whether output goes to a notebook or a terminal."""
    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None or sys.stderr.isatty()


class _Bar:
    """A bar that appears when it is worth it."""

    def __init__(self, total: int, doing: str) -> None:
        self._total, self._done, self._doing = total, 0, doing
        self._begin = time.monotonic()
        self._lock = Lock()
        self._bar: Any = None

    def more(self, count: int) -> None:
        """Move on."""
        with self._lock:
            self._done += count
            if self._bar is None and time.monotonic() - self._begin > _SECONDS:
                self._start()
            if self._bar is not None:
                self._bar.update(self._task, completed=self._done)

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn(self._doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("", total=self._total)
        self._bar.start()

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
