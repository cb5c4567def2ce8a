"""Follow a folder: what stands still is read, added to the campaign, inverted and looked at."""

import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from drt_engine.errors import DRTError, InputError
from drt_engine.hdf5 import add_spectra, growing, scan
from drt_engine.hdf5.inversion_rows import numbers_of
from drt_engine.methods import LogGaussian, Method
from drt_engine.outputs import check_outputs, remove_left_over
from drt_engine.readers.collect import CollectOptions, checked
from drt_engine.result import Inversion
from drt_engine.spectra import Spectra
from drt_engine.status import Status
from drt_engine.tables import concat
from drt_engine.text import storable
from drt_engine.validation import Validation, Validity, validate
from drt_engine.watch.alarms import Alarm, Alert, Hook, Records
from drt_engine.watch.folder import Folder, Stamp, Waiting
from drt_engine.watch.intake import read_new
from drt_engine.watch.ledger import Ledger
from drt_engine.watch.results import Fresh, Results

__all__ = ["Event", "Options", "Problem", "Taken", "Watch"]

_READING = 1.0
"""Files are read for no longer than this before what was found is written, s."""

_SHARE = 0.5
"""Share of the time that writing may take; a campaign that takes long to write is written more seldom."""

_AGAIN = 10.0
"""What could not be written is written again after so long, s."""

_FREE = 1.0
"""Writing that takes no longer than this, s, is done at once."""


@dataclass(frozen=True)
class Options:
    """What is followed, and how.

    Attributes
    ----------
    reading : CollectOptions
        How files become a campaign.
    method : Method
        How spectra are inverted.
    level : float, optional
        Probability of the intervals of the results.
    settle : float
        How long a file has to stand still before it is read, s.
    alerts : sequence of str
        Conditions that raise an alarm.
    by : sequence of str
        States that are equal among results that an alert compares.
    hook : str, optional
        Command that is started for each alarm.
    once : bool
        Whether what is there is all that is wanted: a file that cannot be read is damaged then.
    """

    reading: CollectOptions = field(default_factory=CollectOptions)
    method: Method = field(default_factory=LogGaussian)
    level: float | None = None
    settle: float = 1.0
    alerts: Sequence[str] = ()
    by: Sequence[str] = ("cell",)
    hook: str | None = None
    once: bool = False


@dataclass(frozen=True)
class Taken:
    """A sweep that is in campaign and results.

    Attributes
    ----------
    grid : str
        Name of its frequency grid.
    number : int
        Its row there.
    row : mapping of str to object
        Its states and results, and ``valid``, ``flag``, ``rms``: what the Kramers-Kronig test found.
    first : mapping of str to object
        Results of the first spectrum that it is compared with; of itself where it is the first.
    result : Inversion
        Its solution alone.
    seconds : float
        Time from the last change of its file until it was in the campaign, s; NaN where it was there before.
    """

    grid: str
    number: int
    row: Mapping[str, Any]
    first: Mapping[str, Any]
    result: Inversion
    seconds: float


@dataclass(frozen=True)
class Problem:
    """What is said once of a file, or of the watch itself where it has no name."""

    source: str
    text: str
    refused: bool = False


Event = Taken | Alarm | Problem


class Watch:
    """A folder that is followed.

    Parameters
    ----------
    folder : Path
        The folder.
    campaign, results : Path
        Files of spectra and of inversions; made, or gone on with if they are there.
    options : Options, optional
        How.

    Attributes
    ----------
    taken, refused, without : int
        How many sweeps were taken by this watch, and how many files were refused, or hold no measurement.
    spectra : int
        How many spectra the campaign has.

    Raises
    ------
    InputError
        If a file is not one that can be gone on with, and for options that make no sense.
    """

    def __init__(self, folder: Path, campaign: Path, results: Path, options: Options | None = None) -> None:
        self.options = options or Options()
        if not folder.is_dir():
            raise InputError(f"{folder}: there is no such folder. Make it, or check its name.")
        checked(self.options.reading)
        self.folder = Path(os.path.abspath(folder))
        check_outputs(overwrite=True, hdf5=(campaign, results))
        self.campaign, self.results = campaign, results
        self._alerts = [Alert(text) for text in self.options.alerts]
        self._hook = None if self.options.hook is None else Hook(self.options.hook)
        self._inverted = Results(results, campaign, self.options.method, self.options.level)
        self._inverted.check()
        self._files = Folder(self.folder, self.options.settle, (campaign, results))
        self._records = Records(self.options.by)
        self._said: set[tuple[str, str]] = set()
        self._refused: set[str] = set()
        self._without: set[str] = set()
        self._events: list[Event] = []
        self._open: set[Path] = set()
        self._waiting: dict[Path, tuple[Stamp, Mapping[str, Spectra]]] = {}
        self._not_before = 0.0
        self._stamp: tuple[int, ...] | None = None
        self._ledger = Ledger()
        self._ready = False
        self.taken = self.spectra = 0
        for output in (campaign, results):
            remove_left_over(Path(output).resolve().parent)
        self._learn()

    @property
    def refused(self) -> int:
        """How many files could not be read."""
        return len(self._refused)

    @property
    def without(self) -> int:
        """How many files hold no measurement."""
        return len(self._without)

    def begin(self) -> list[Event]:
        """Invert what an earlier watch could not any more, and look at the whole folder."""
        if self.results.is_file() and self.campaign.is_file():
            for name in self._ledger.grids:
                frame = numbers_of(self.results, Results.name, name)
                if frame is not None:
                    self._records.enter(name, range(len(frame)), frame)
        self._ready = self.results.is_file()
        if self.campaign.is_file():
            self._invert()
        self._ready = True
        self._files.look()
        return self._told()

    def look(self, paths: Iterable[Path] | None = None) -> None:
        """See which files have changed, of some or of all."""
        self._files.look(paths)

    def step(self) -> list[Event]:
        """Read what stands still, and write what is new.

        Returns
        -------
        list of Event
            What happened, in order.
        """
        begin = time.monotonic()
        for path, stamp in self._files.ready():
            if path in self._waiting and self._waiting[path][0] == stamp:
                continue
            self._read(path, stamp)
            if time.monotonic() - begin > _READING:
                break
        if self._waiting and time.monotonic() >= self._not_before:
            self._write()
        return self._told()

    def wait(self) -> float:
        """How long there is nothing to do if nothing changes, s."""
        left = self._files.wait()
        if self._waiting:
            left = max(0.0, self._not_before - time.monotonic())
        return math.inf if left is None else left

    def waiting(self) -> list[Waiting]:
        """Files that hold, or may hold, something that was not taken; the one that was written to last comes first."""
        return self._files.waiting()

    def finish(self) -> list[Event]:
        """Write what waits, and wait for the programs that alarms have started."""
        if self._waiting:
            self._write()
        if self._hook is not None:
            self._hook.finish()
        return self._told()

    def _told(self) -> list[Event]:
        if self._hook is not None:
            while not self._hook.problems.empty():
                self._say("", self._hook.problems.get())
        events, self._events = self._events, []
        return events

    def _say(self, source: str, text: str, *, refused: bool = False) -> None:
        """Report a problem of a file, the same one only once."""
        if refused:
            if source in self._refused:
                return
            self._refused.add(source)
        if (source, text) not in self._said:
            self._said.add((source, text))
            self._events.append(Problem(source, text, refused))

    def _learn(self) -> None:
        """Read what the campaign has."""
        stamp = self._now()
        if stamp is not None and stamp != self._stamp:
            self._ledger = Ledger.of(self.campaign)
            self.spectra = sum(info.spectra for info in scan(self.campaign).spectra)
            self._inverted.forget()
            self._stamp = stamp

    def _now(self) -> tuple[int, ...] | None:
        with suppress(OSError):
            found = self.campaign.stat()
            return found.st_ino, found.st_size, found.st_mtime_ns
        return None

    def _read(self, path: Path, stamp: Stamp) -> None:
        source, quiet = self._name(path), self._files.quiet(path)
        others = {_digest_of(grids): self._name(one) for one, (_, grids) in self._waiting.items() if one != path}
        grids = {name: some.frequency for _, grids in self._waiting.values() for name, some in grids.items()}
        found = read_new(
            path,
            self._ledger,
            replace(self.options.reading, root=self.folder, known=others, grids=grids),
            quiet,
            self._files.__contains__,
        )
        if Folder.stamp(path) != stamp:
            # Written to meanwhile: nobody knows what was read.
            self._files.look([path])
            return
        if found.wait > quiet[0] and not (found.refused and self.options.once):
            self._files.hold(path, found.wait, "partly written" if found.refused else "perhaps unfinished")
            if self.options.once:
                self._say(source, f"may still be measured: left until it has stood still for {found.wait:.0f} s")
                self._files.dealt_with(path, stamp)
            return
        (self._without.discard if found.measured else self._without.add)(source)
        if not found.refused:
            self._refused.discard(source)
        if found.problem:
            self._say(source, found.problem, refused=found.refused)
        unfinished = found.report is not None and found.report.unfinished
        (self._open.add if unfinished else self._open.discard)(path)
        if found.spectra:
            self._waiting[path] = stamp, found.spectra
        else:
            self._waiting.pop(path, None)
            self._files.dealt_with(path, stamp, unfinished=unfinished)

    def _write(self) -> None:
        """Add what waits to the campaign, and invert it."""
        # Of the processor: a machine that is busy with other work is no reason to wait.
        begin = time.process_time()
        try:
            self._add()
        except DRTError as error:
            self._say("", f"{error} It is tried again.")
            self._not_before = time.monotonic() + _AGAIN
            return
        self._invert()
        took = time.process_time() - begin
        self._not_before = time.monotonic() + (took / _SHARE - took if took > _FREE else 0.0)

    def _add(self) -> None:
        with growing(self.campaign) if self.campaign.is_file() else nullcontext():
            # Somebody else may have added to it: perhaps the same.
            self._learn()
            waiting = dict(self._waiting)
            try:
                self._append([grids for _, grids in waiting.values()])
            except InputError:
                # One of them does not fit to the campaign, and the others must not wait for it.
                for path, (_, grids) in waiting.items():
                    try:
                        self._append([grids])
                    except InputError as error:
                        self._say(self._name(path), str(error), refused=True)
            for path, (stamp, _) in waiting.items():
                self._files.dealt_with(path, stamp, unfinished=path in self._open, taken=True)
                del self._waiting[path]

    def _append(self, waiting: Sequence[Mapping[str, Spectra]]) -> None:
        """Write the spectra of some files that the campaign does not have, all at once."""
        parts: dict[str, list[Spectra]] = {}
        for grids in waiting:
            for name, spectra in grids.items():
                parts.setdefault(name, []).append(spectra[self._ledger.new(spectra)])
        joined = {name: some[0] if len(some) == 1 else concat(some) for name, some in parts.items()}
        joined = {name: spectra for name, spectra in joined.items() if len(spectra)}
        if not joined:
            return
        self.spectra = add_spectra(self.campaign, joined, keep=self.campaign.is_file())
        self._stamp = self._now()
        for name, spectra in joined.items():
            self._ledger.grids.setdefault(name, spectra.frequency)
            self._ledger.add(spectra)
            self.taken += len(spectra)

    def _invert(self) -> None:
        """Bring the results up to date, and look at those that are new."""
        new: list[Event] = []
        try:
            self._inverted.refresh(lambda fresh: new.extend(one for some in fresh for one in self._looked_at(some)))
        except DRTError as error:
            self._say("", str(error))
            return
        self._events += [self._timed(one) if isinstance(one, Taken) else one for one in new]

    def _timed(self, one: Taken) -> Taken:
        changed = self._files.changed(self.folder / str(one.row.get("source")))
        return replace(one, seconds=math.nan if changed is None else time.time() - changed)

    def _looked_at(self, fresh: Fresh) -> list[Event]:
        """Test new spectra, and raise alarms; all before they are written, so that none is lost if this is killed."""
        frame = fresh.result.to_frame().drop(columns="spectrum")
        is_new = fresh.rows >= fresh.before
        self._records.enter(fresh.grid, fresh.rows[~is_new], frame[~is_new])
        if not self._ready:
            # All that was in the campaign before its first results: nobody waits for alarms of that.
            self._records.enter(fresh.grid, fresh.rows, frame)
            return []
        tested = validate(fresh.spectra[is_new])
        frame = frame[is_new].assign(valid=tested.valid, flag=_names(tested), rms=tested.rms)
        events: list[Event] = []
        lines: list[Any] = frame.to_dict("records")
        for here, row in zip(np.flatnonzero(is_new).tolist(), lines, strict=True):
            at = int(fresh.rows[here])
            alarms = self._alarms(fresh.grid, row)
            self._records.enter(fresh.grid, [at], pd.DataFrame([row]))
            first = {name: self._records.of(fresh.grid, row, "first", name) for name in ("r_pol", "r_inf")}
            events += [Taken(fresh.grid, at, row, first, fresh.result[[here]], math.nan), *alarms]
            if self._hook is not None:
                for alarm in alarms:
                    self._hook.start(alarm)
        return events

    def _alarms(self, grid: str, row: dict[str, Any]) -> list[Alarm]:
        found = []
        if not row["valid"]:
            found.append(Alarm("kramers-kronig", f"fails the Kramers-Kronig test: {row['flag']}", row))
        if Status(row["status"]).failed:
            found.append(Alarm("no solution", f"has no solution: {row['remarks']}", row))
        for alert in self._alerts:
            try:
                if alert.holds(grid, row, self._records):
                    found.append(Alarm("alert", alert.text, row))
            except InputError as error:
                self._say("", str(error))
        return found

    def _name(self, path: Path) -> str:
        return storable(path.relative_to(self.folder).as_posix())


def _names(tested: Validation) -> list[str]:
    """Write what is wrong with each spectrum."""
    return [
        ", ".join(str(flag.name).lower().replace("_", " ") for flag in Validity if value & flag)
        for value in tested.flag.tolist()
    ]


def _digest_of(grids: Mapping[str, Spectra]) -> str:
    """Digest of the file that spectra were read from."""
    return str(next(iter(grids.values())).states["digest"].iloc[0])
