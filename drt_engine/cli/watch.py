"""``drt-engine watch``: a folder that an instrument writes into, into a campaign and its results, as they come."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drt_engine.cli.app import app, console, input_error, say
from drt_engine.text import count_of

if TYPE_CHECKING:
    from drt_engine.watch import Options, Watch

__all__ = ["watch"]

_LOOK_AGAIN = 10.0
"""All files are looked at after so many seconds, for changes that the system did not tell of."""

_TICK, _SOON = 0.2, 0.5
"""Seconds between two looks at what has to be done, short enough for Ctrl-C to seem immediate; and after which a folder
that is new is looked at."""


@app.command(
    epilog='Example: drt-engine watch measurements -o campaign.h5 --alert "r_pol > 1.2 * first" --on-alert "python '
    'mail.py"\n\nExit codes: 0 ended by Ctrl-C, by SIGTERM or with --once; 1 the same, with --strict and alarms or '
    "files that were refused; 2 wrong use or input.",
)
def watch(
    folder: Annotated[Path, typer.Argument(help="Folder that the instrument writes into, with the folders in it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File of spectra.")] = Path("campaign.h5"),
    results: Annotated[Path | None, typer.Option(help="File of inversions. [campaign.drt.h5]")] = None,
    alert: Annotated[
        list[str] | None,
        typer.Option(
            help='Condition that raises an alarm: "r_pol > 1.2 * first", "residual > 0.02"; first and previous are the '
            "same quantity in the first and the previous spectrum. May be given several times."
        ),
    ] = None,
    by: Annotated[
        str, typer.Option(help="States that are equal among spectra that an alert compares: 'cell,direction'.")
    ] = "cell",
    on_alert: Annotated[
        str | None,
        typer.Option(help="Program, with arguments, that is started for each alarm; DRT_ALARM, DRT_R_POL, … tell it."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Take what is there, and end.")] = False,
    poll: Annotated[bool, typer.Option("--poll", help="Look at the files; for network drives.")] = False,
    settle: Annotated[float, typer.Option(help="Seconds for which a file must stand still.", min=0.0)] = 1.0,
    method: Annotated[str, typer.Option(help="log-gaussian, tikhonov.")] = "log-gaussian",
    along: Annotated[
        list[str] | None, typer.Option(help="State along which series are inverted together, as of invert.")
    ] = None,
    series: Annotated[list[str] | None, typer.Option(help="State that is equal within a series, as of invert.")] = None,
    tail: Annotated[str, typer.Option(help="In series at low frequencies, as of invert.")] = "none",
    level: Annotated[float | None, typer.Option(help="Store intervals of this probability.")] = None,
    name: Annotated[str | None, typer.Option(help="States in names of files and folders, as of import.")] = None,
    states: Annotated[Path | None, typer.Option(help="Table of further states, as of import.")] = None,
    given: Annotated[list[str] | None, typer.Option("--set", help="State of all spectra, like cycle=500.")] = None,
    columns: Annotated[str | None, typer.Option(help="Columns of plain tables, as of import.")] = None,
    flip_im: Annotated[bool, typer.Option("--flip-im", help="The imaginary part has the other sign.")] = False,
    cell: Annotated[str | None, typer.Option(help="Cell of all spectra.")] = None,
    area: Annotated[float | None, typer.Option(help="Electrode area of all spectra, cm².")] = None,
    temperature: Annotated[float | None, typer.Option(help="Temperature of all spectra, °C.")] = None,
    reader: Annotated[str | None, typer.Option(help="Reader, instead of finding it by content.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 after alarms or refused files.")] = False,
) -> None:
    """Follow a folder: finished sweeps are imported, validated, inverted and added within seconds.

    Started again, it goes on where it ended, whatever ended it.
    """
    from drt_engine.cli.import_ import _set
    from drt_engine.cli.invert import _method
    from drt_engine.readers import ReadOptions
    from drt_engine.readers.collect import CollectOptions
    from drt_engine.watch import Options, Watch

    fixed = {"cell": cell, "area": area, "temperature": temperature}
    constants = {key: value for key, value in fixed.items() if value is not None} | dict(map(_set, given or ()))
    settings: dict[str, Any] = {"name": _METHODS.get(method, method)}
    settings |= {key: value for key, value in (("along", along), ("series", series)) if value}
    if tail != "none":
        settings["tail"] = tail
    options = Options(
        reading=CollectOptions(ReadOptions(columns, reader, flip_im=flip_im), name, states, constants),
        method=_method(settings),
        level=level,
        settle=settle,
        alerts=tuple(alert or ()),
        by=tuple(part.strip() for part in by.split(",") if part.strip()),
        hook=on_alert,
        once=once,
    )
    target = results or output.with_suffix(".drt.h5")
    bad = _run(Watch(folder, output, target, options), options, poll=poll)
    if strict and bad:
        say(f"drt-engine: {count_of(bad, 'alarm or refused file', 'alarms and refused files')}.", err=True)
        raise typer.Exit(1)


_METHODS = {"log-gaussian": "LogGaussian", "tikhonov": "Tikhonov"}


def _run(watch: "Watch", options: "Options", *, poll: bool) -> int:
    """Follow until it is to end; the number of alarms and of files that were refused."""
    from drt_engine.cli.dashboard import Dashboard, Lines
    from drt_engine.watch import Alarm

    alarms = 0
    shown: Any = Dashboard(watch) if console().is_terminal and not options.once else Lines(watch)

    def show(events: Any) -> None:
        nonlocal alarms
        events = list(events)
        alarms += sum(isinstance(event, Alarm) for event in events)
        shown.show(events)

    with _ending() as end, shown:
        if not options.once:
            changes = _changes(watch.folder, end, poll=poll)
            # The system tells of changes from here on; only then is the folder looked at.
            next(changes)
        show(watch.begin())
        while not end.is_set():
            show(watch.step())
            if watch.wait() > 0.0:
                shown.idle()
                if options.once and watch.wait() > options.settle:
                    break
                if options.once:
                    time.sleep(min(watch.wait(), _TICK))
                else:
                    watch.look(next(changes))
        show(watch.finish())
    say(
        f"{count_of(watch.taken, 'sweep')} taken, {count_of(watch.spectra, 'spectrum')} in the campaign; "
        f"{count_of(watch.refused, 'file')} refused, {watch.without} without a measurement; "
        f"{count_of(alarms, 'alarm')}.",
        f"  {watch.campaign}",
        f"  {watch.results}",
    )
    return alarms + watch.refused


def _changes(folder: Path, end: Event, *, poll: bool) -> Iterator[set[Path] | None]:
    """Yield files that have changed, an empty set now and then, and None where all have to be looked at."""
    try:
        from watchfiles import watch as follow
    except ImportError as error:
        raise input_error("watch needs the package watchfiles: pip install 'drt-engine[watch]'.") from error
    last = time.monotonic()
    for changes in follow(
        folder,
        watch_filter=None,
        debounce=400,
        step=50,
        stop_event=end,
        rust_timeout=round(1000 * _TICK),
        yield_on_timeout=True,
        force_polling=poll or None,
        ignore_permission_denied=True,
    ):
        if time.monotonic() - last > _LOOK_AGAIN:
            last = time.monotonic()
            yield None
        else:
            paths = {Path(path) for _, path in changes}
            if any(path.is_dir() for path in paths):
                # Files that came into a new folder before it was followed: nobody tells of them.
                last = min(last, time.monotonic() - _LOOK_AGAIN + _SOON)
            yield paths
    while True:
        yield set()


@contextmanager
def _ending() -> Iterator[Event]:
    """Let Ctrl-C and SIGTERM end the watch after what it does, and a second Ctrl-C at once."""
    end = Event()

    def press(number: int, _: Any) -> None:
        if end.is_set():
            raise KeyboardInterrupt
        end.set()

    before = {number: signal.signal(number, press) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield end
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
