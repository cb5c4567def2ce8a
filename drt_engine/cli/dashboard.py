"""What a watch shows on a terminal: the last sweep, the processes over the last sweeps, alarms and problems."""

import math
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from drt_engine.cli.app import console, say
from drt_engine.text import count_of, visible

if TYPE_CHECKING:
    import pandas as pd

    from drt_engine.result import Inversion
    from drt_engine.watch import Taken, Watch
    from drt_engine.watch.folder import Waiting
    from drt_engine.watch.follow import Event

__all__ = ["Dashboard", "Lines", "sparkline", "waiting_said", "written"]

_BARS = "▁▂▃▄▅▆▇█"
_KEPT, _FEWEST, _MOST_SAID, _MOST_STATES = 40, 2, 8, 8
"""Sweeps whose peaks are kept, fewest that processes are followed over, and most messages and states that are shown, so
that all fits a terminal of 80 columns."""
_NAMING = ("cell", "cycle", "voltage", "direction", "temperature")
_SHOWN = (("R_inf", "r_inf"), ("R_pol", "r_pol"))
_HEADINGS: dict[str, Literal["left", "right"]] = {
    "process": "left",
    "τ": "right",
    "R": "right",
    "since": "right",
    "R over sweeps": "left",
}
_BESIDE = ("digest", "source", "sweep", "area")
_MOST_WAITING = 4
"""Files that wait that are named, those that were written to last; a folder may have many that were given up."""
_LOOK, _LONG, _SAY_AGAIN = 1.0, 10.0, 600.0
"""Seconds between looks at which files wait; for which one has waited before a log has a line on it, as most are
finished within some seconds; and after which it has another one while files still grow."""
_UNITS = (("d", 86400.0), ("h", 3600.0), ("min", 60.0))
_LONGEST_LINE, _LONGEST_VALUE = 400, 60
"""Most characters of a line and of a value: a text of any length may stand in a file."""


def sparkline(values: Sequence[float]) -> str:
    """Draw numbers as bars from the least to the greatest; a blank for one that is missing."""
    known = [value for value in values if math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    step = (high - low) / (len(_BARS) - 1)
    return "".join(
        _BARS[round((value - low) / step) if step > 0.0 else 0] if math.isfinite(value) else " " for value in values
    )


def written(event: "Event") -> str:
    """Write what happened on one line."""
    from drt_engine.watch import Alarm, Taken

    if isinstance(event, Alarm):
        return f"ALARM {_named(event.row)}: {event.text}"
    if isinstance(event, Taken):
        row = event.row
        parts = [f"R_inf {row['r_inf']:.4g} ohm", f"R_pol {row['r_pol']:.4g} ohm{_change(event, 'r_pol')}"]
        parts += [f"residual {100 * row['residual']:.2g} %", "valid" if row["valid"] else f"NOT VALID ({row['flag']})"]
        late = f", {event.seconds:.1f} s after its last byte" if math.isfinite(event.seconds) else ""
        return f"{_named(row)}: {', '.join(parts)}{late}"
    what = "damaged, or no format that is known: " if event.refused else ""
    return f"{event.source}: {what}{event.text}" if event.source else event.text


def _named(row: "Any") -> str:
    import pandas as pd

    file = f"{row.get('source', 'a spectrum')}" + (f" sweep {row['sweep']}" if "sweep" in row else "")
    known = [name for name in _NAMING if name in row and not pd.isna(row[name])]
    states = ", ".join(f"{name} {_short(row[name])}" for name in known)
    return f"{file} ({states})" if states else file


def _short(value: Any) -> str:
    text = f"{value:.5g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _change(taken: "Taken", name: str) -> str:
    first, now = taken.first.get(name), taken.row[name]
    if first is None or not first or not math.isfinite(now / first) or first == now:
        return ""
    return f" ({100.0 * (now / first - 1.0):+.3g} % of the first)"


def waiting_said(waiting: "Sequence[Waiting]") -> str:
    """Say how many files wait, and why."""
    kinds = Counter(one.kind for one in waiting)
    said = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return f"{count_of(len(waiting), 'file waits', 'files wait')}: {said}"


def _waits(one: "Waiting") -> str:
    """Say for how long a file has waited, and what ends it."""
    end = "called damaged" if one.kind == "partly written" else "taken"
    left = "" if math.isinf(one.left) or one.kind == "to be read" else f", {end} in {_lasting(one.left)} if it stays so"
    return f"{one.source} {one.kind}, waits for {_lasting(one.seconds)}, last written {_lasting(one.still)} ago{left}"


def _lasting(seconds: float) -> str:
    """Write how long something lasts in the largest unit of which there are two or more."""
    unit, size = next((one for one in _UNITS if seconds >= 2.0 * one[1]), ("s", 1.0))
    return f"{seconds / size:.0f} {unit}"


class Lines:
    """One line for each event, and for files that wait, for logs and pipes.

    Parameters
    ----------
    watch : Watch
        What is followed.
    """

    def __init__(self, watch: "Watch") -> None:
        self._watch = watch
        self._named: set[str] = set()
        self._looked, self._said = 0.0, -math.inf

    def show(self, events: "Iterable[Event]") -> None:
        """Say what happened."""
        for event in events:
            say(f"{time.strftime('%H:%M:%S')} {written(event)}")

    def idle(self) -> None:
        """Say which files wait, where there is a new one among them, and again now and then while they grow."""
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return
        self._looked = now
        waiting = [one for one in self._watch.waiting() if one.seconds >= _LONG]
        names = {one.source for one in waiting}
        again = now - self._said >= _SAY_AGAIN and any(one.still < _SAY_AGAIN for one in waiting)
        if names - self._named or again:
            self._said = now
            named = [visible(_waits(one)) for one in waiting[:_MOST_WAITING]]
            more = [f"and {len(waiting) - _MOST_WAITING} more"] if len(waiting) > _MOST_WAITING else []
            say(f"{time.strftime('%H:%M:%S')} {waiting_said(waiting)}: {'; '.join(named + more)}")
        self._named = names

    def __enter__(self) -> "Lines":
        """Do nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""


class Dashboard:
    """A screen that is renewed; use it in a ``with`` statement.

    Parameters
    ----------
    watch : Watch
        What is shown.
    """

    def __init__(self, watch: "Watch") -> None:
        from rich.live import Live

        self._watch = watch
        self._last: Taken | None = None
        self._peaks: deque[Any] = deque(maxlen=_KEPT)
        self._new: list[Inversion] = []
        self._grid = ""
        self._alarms: deque[str] = deque(maxlen=_MOST_SAID)
        self._problems: deque[str] = deque(maxlen=_MOST_SAID)
        self._alarmed = 0
        self._processes: list[tuple[str, ...]] = []
        self._outdated = True
        self._waiting: list[Waiting] = []
        self._looked = 0.0
        self._live = Live(self._drawn(), console=console(), auto_refresh=False)

    def __enter__(self) -> "Dashboard":
        """Begin, with what the results hold already."""
        self._live.__enter__()
        self._look_back(self._watch.results)
        return self

    def __exit__(self, *exit_: Any) -> None:
        """Leave the last screen where it is."""
        self.idle()
        self._live.__exit__(*exit_)

    def _look_back(self, path: Path) -> None:
        from drt_engine.errors import DRTError
        from drt_engine.hdf5 import read_inversion, scan

        with suppress(DRTError):
            for info in scan(path).inversions:
                if info.spectra:
                    last = read_inversion(path, info.name, info.grid, slice(-_KEPT, None))
                    self._grid = info.grid
                    self._new = [last[[row]] for row in range(len(last))]

    def show(self, events: "Iterable[Event]") -> None:
        """Show what happened."""
        from drt_engine.watch import Alarm, Taken

        changed = False
        for event in events:
            changed = True
            now = _line(f"{time.strftime('%H:%M:%S')} {written(event)}")
            if isinstance(event, Taken):
                if event.grid != self._grid:
                    self._peaks.clear()
                    self._new.clear()
                self._last, self._grid, self._outdated = event, event.grid, True
                self._new.append(event.result)
            elif isinstance(event, Alarm):
                self._alarmed += 1
                self._alarms.append(now)
            else:
                self._problems.append(now)
        if changed:
            self._draw()

    def idle(self) -> None:
        """See which files wait, and follow the processes, which may take longer than a sweep may wait."""
        now, before = time.monotonic(), self._waiting
        if now - self._looked >= _LOOK:
            self._looked, self._waiting = now, self._watch.waiting()
            if (before or self._waiting) and not self._outdated:
                self._draw()
        if self._outdated:
            self._outdated = False
            self._peaks.extend(_peaks(result) for result in self._new[-_KEPT:])
            self._new.clear()
            self._processes = _followed(list(self._peaks))
            self._draw()

    def _draw(self) -> None:
        self._live.update(self._drawn(), refresh=True)

    def _drawn(self) -> Any:
        from rich.console import Group
        from rich.panel import Panel

        watch = self._watch
        head = (
            f"{_line(f'{watch.folder} → {watch.campaign}')}\n{count_of(watch.spectra, 'spectrum')}, {watch.taken} "
            f"of them taken now; {count_of(watch.refused, 'file')} refused, {watch.without} without a measurement. "
            "Ctrl-C ends."
        )
        parts = [Panel(_text(head), title="drt-engine watch")]
        if self._waiting:
            said = [_line(_waits(one)) for one in self._waiting[:_MOST_WAITING]]
            more = [f"and {len(self._waiting) - _MOST_WAITING} more"] if len(self._waiting) > _MOST_WAITING else []
            parts.append(Panel(_text("\n".join(said + more)), title=waiting_said(self._waiting)))
        if self._last is not None:
            parts.append(Panel(self._sweep(self._last), title="last sweep"))
        if self._processes:
            parts.append(
                Panel(_table(self._processes), title=f"processes over the last {count_of(len(self._peaks), 'sweep')}")
            )
        if self._alarms:
            said = _text("\n".join(self._alarms), "bold red")
            parts.append(Panel(said, title=f"alarms: {self._alarmed}", border_style="red"))
        if self._problems:
            parts.append(Panel(_text("\n".join(self._problems)), title="problems"))
        return Group(*parts)

    def _sweep(self, taken: "Taken") -> Any:
        import pandas as pd

        row = taken.row
        names = [name for name in taken.result.states.columns if name not in _BESIDE and not pd.isna(row.get(name))]
        states = ", ".join(f"{name} {_short(row[name])}" for name in names[:_MOST_STATES])
        valid = "valid" if row["valid"] else f"NOT VALID: {row['flag']}"
        lines = [
            f"{row.get('source', '')} sweep {row.get('sweep', '')}: {states}",
            "   ".join(f"{word} {row[key]:.5g} ohm{_change(taken, key)}" for word, key in _SHOWN),
            f"residual {100 * row['residual']:.2g} %, Kramers-Kronig: {valid}   {row['remarks']}",
        ]
        return _text("\n".join(map(_line, lines)), "" if row["valid"] else "red")


def _peaks(result: "Inversion") -> "pd.DataFrame":
    """Find the peaks of a result, without its states."""
    from drt_engine.peaks import without_edges

    peaks = without_edges(result.peaks())
    return peaks.loc[peaks["r"] > 0.0, [*_OF_PEAK]]


def _followed(results: "list[pd.DataFrame]") -> list[tuple[str, ...]]:
    """Follow the peaks of single results in the order in which they came: name, τ, R, change and course of each."""
    import numpy as np
    import pandas as pd

    from drt_engine.errors import DRTError
    from drt_engine.tracking import TrackingOptions, track

    found = [peaks.assign(spectrum=order, order=float(order)) for order, peaks in enumerate(results) if len(peaks)]
    if not found or len(results) < _FEWEST:
        return []
    every = pd.concat(found, ignore_index=True)
    states = pd.DataFrame({"order": np.arange(len(results), dtype=float)})
    try:
        # Of the first sweeps there are no more than these.
        options = TrackingOptions(min_length=min(len(results), TrackingOptions().min_length))
        tracks = track(every, "order", (), states=states, options=options)
    except DRTError:
        return []
    rows: list[tuple[str, ...]] = []
    for name in tracks.names:
        own = tracks.table[tracks.table["process"] == name].set_index("spectrum")
        r = own["r"][~own.index.duplicated()].reindex(range(len(results)))
        first, last = own["r"].iloc[0], own["r"].iloc[-1]
        rows.append(
            (
                str(name),
                f"{own['tau'].iloc[-1]:.3g} s",
                f"{last:.4g} ohm",
                f"{100 * (last / first - 1):+.3g} %",
                sparkline(r.tolist()),
            )
        )
    return rows


_OF_PEAK = (
    *(
        "tau",
        "r",
        "c",
        "height",
        "width",
        "prominence",
        "significance",
        "tau_error",
        "r_error",
        "lower",
        "upper",
        "kind",
    ),
    *("inside", "averaged", "shared"),
)


def _table(rows: Sequence[tuple[str, ...]]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading, side in _HEADINGS.items():
        table.add_column(heading, justify=side)
    for row in rows:
        table.add_row(*map(_text, row))
    return table


def _text(text: str, style: str = "") -> Any:
    from rich.text import Text

    return Text("\n".join(map(visible, text.split("\n"))), style=style)


def _line(text: str) -> str:
    """Write text from files on one line that leaves room for others."""
    shown = visible(text)
    return shown if len(shown) <= _LONGEST_LINE else f"{shown[: _LONGEST_LINE - 1]}…"
