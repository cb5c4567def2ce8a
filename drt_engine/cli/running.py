"""How the progress of a job is shown: a bar on a terminal, plain lines in files and pipes."""

import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any

from drt_engine.cli.app import console, counted, say
from drt_engine.text import count_of

if TYPE_CHECKING:
    from drt_engine.jobs import JobSummary, Progress
    from drt_engine.methods import Method

__all__ = ["inverted", "say_series", "say_what_along_would_do", "say_what_became_of"]

# Lines come soon at first and then at twice the distance each, up to this one: logs of long jobs stay short.
_SECONDS_A_LINE = 10.0
_SECONDS_TO_FIRST_LINE = 1.0  # soon enough that nobody takes a job for stuck; short jobs write none

_REPEATED = 0.25
"""Share of the spectra of series with a value that another one has from which on they are said to be mixed, perhaps."""


def inverted(path: Path, out: Path, method: "Method", **job: Any) -> "JobSummary":
    """Run a job and show how far it is.

    Parameters
    ----------
    path, out : Path
        File of spectra, and of inversions.
    method : Method
        Inversion method.
    **job
        As :func:`drt_engine.invert_file` takes them.
    """
    from drt_engine.jobs import invert_file

    with _shown() as shown, _stopping(shown) as progress:
        return invert_file(path, out, method=method, progress=progress, **job)


def say_what_became_of(summary: "JobSummary") -> None:
    """Print the summary of a job."""
    each = summary.seconds / max(summary.spectra, 1)
    many = summary.spectra > 1
    rate = (f" ({each * 1e3:.2g} ms each)" if each < 0.1 else f" ({each:.1f} s each)") if many else ""
    before = f", {summary.kept} of them done before" if summary.kept else ""
    say(f"{count_of(summary.spectra, 'spectrum')} in {summary.seconds:.1f} s{rate}{before}: {counted(summary.counts)}")


def say_what_along_would_do(path: Path, name: str) -> None:
    """Print which spectra could be inverted together, if there are any.

    Parameters
    ----------
    path : Path
        File of inversions, of each spectrum alone.
    name : str
        Name of the inversion.
    """
    from drt_engine.hdf5.reader import states_of_inversion
    from drt_engine.series import likely_series

    sizes: dict[str, list[int]] = {}
    for states in states_of_inversion(path, name):
        if (found := likely_series(states)) is not None:
            sizes.setdefault(found[0], []).extend(line.rows.size for line in found[1])
    for along, counts in sizes.items():
        say(f"  --along {along} would invert {_series_of(counts)} together")


def say_series(path: Path, name: str, along: "Sequence[str]", series: "Sequence[str] | None") -> None:
    """Print which series were inverted together, and where several spectra of one have the same value.

    Parameters
    ----------
    path : Path
        File of inversions.
    name : str
        Name of the inversion.
    along, series : sequence of str
        As :class:`drt_engine.LogGaussian` takes them.
    """
    import numpy as np

    from drt_engine.hdf5.reader import states_of_inversion
    from drt_engine.series import series_along, series_columns

    equal, sizes, again = set[str](), list[int](), 0
    for states in states_of_inversion(path, name):
        columns = series_columns(states, along, series)
        lines = series_along(states, along[0], (*columns, *along[1:]))
        sizes += [line.rows.size for line in lines]
        again += sum(line.rows.size - np.unique(line.value).size for line in lines)
        equal |= set(columns) if lines else set()
    if not sizes:
        say(f"  along {along[0]}: no two spectra belong to one series; each was inverted alone")
        return
    say(f"  along {along[0]}: {_series_of(sizes)} with equal {', '.join(sorted(equal)) or 'everything'}")
    if again >= _REPEATED * sum(sizes):
        say(
            f"  {again} of {sum(sizes)} have a {along[0]} that another spectrum of their series has. If they are of "
            "different cells, directions or cycles, keep that in a state: drt-engine import --name or --states"
        )


def _series_of(sizes: "Sequence[int]") -> str:
    spectra = str(min(sizes)) if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
    return f"{f'{len(sizes)} series' if len(sizes) > 1 else 'one series'} of {spectra} spectra"


@contextmanager
def _shown() -> "Iterator[Progress]":
    stderr = console(stderr=True)
    if not stderr.is_terminal:
        lines = _Lines()
        # The first block may take long: a series that is inverted together, or kernels that are compiled.
        waiting = Timer(_SECONDS_TO_FIRST_LINE, lines.begun)
        waiting.daemon = True
        waiting.start()
        try:
            yield lines
        finally:
            waiting.cancel()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("inverting"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[counts]}"),
    )
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task("", total=None, counts="", rate="")

        def show(done: int, total: int, counts: Mapping[str, int]) -> None:
            rate = "" if not (speed := bar.tasks[0].speed) else f"{speed:.3g}/s"
            bar.update(task, completed=done, total=total, counts=counted(counts), rate=rate)

        yield show


@contextmanager
def _stopping(progress: "Progress") -> "Iterator[Progress]":
    """Stop at the next block where Ctrl-C came while C code called Python, which drops it, as llvmlite does."""
    pressed: list[int] = []
    handler, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook

    def press(number: int, _: Any) -> None:
        pressed.append(number)
        raise KeyboardInterrupt

    def stop_or_show(done: int, total: int, counts: Mapping[str, int]) -> None:
        if pressed:
            raise KeyboardInterrupt
        progress(done, total, counts)

    def quietly(dropped: Any) -> None:
        if dropped.exc_type is not KeyboardInterrupt:
            hook(dropped)

    if handler is signal.SIG_IGN:
        # In the background of a script; Ctrl-C is for what is in front.
        yield progress
        return
    signal.signal(signal.SIGINT, press)
    sys.unraisablehook = quietly
    try:
        yield stop_or_show
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGINT, handler)


class _Lines:
    """One line now and then, for logs."""

    def __init__(self) -> None:
        self._begin = self._last = time.monotonic()
        self._first: int | None = None
        self._total = 0
        self._told = False
        self._wait = min(_SECONDS_TO_FIRST_LINE, _SECONDS_A_LINE)

    def begun(self) -> None:
        """Say that the job has begun, where nothing is done so far."""
        if not self._told and self._total:
            self._told = True
            say(f"{self._first} of {count_of(self._total, 'spectrum')}, 0/s, nothing done yet: inverting", err=True)

    def __call__(self, done: int, total: int, counts: Mapping[str, int]) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first, self._total = done, total
        if now - self._last < self._wait:
            return
        # Soon at first, to show that it runs and how fast.
        self._last, self._wait = now, min(2.0 * self._wait, _SECONDS_A_LINE)
        rate = (done - self._first) / (now - self._begin)
        self._told = True
        left = f"{(total - done) / rate:.0f} s left" if rate else "nothing done yet"
        say(f"{done} of {count_of(total, 'spectrum')}, {rate:.3g}/s, {left}: {counted(counts)}", err=True)
