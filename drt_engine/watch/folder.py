"""Files of a folder that an instrument writes into: which stand still, and for how long."""

import math
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from drt_engine.text import storable

__all__ = ["Folder", "Kind", "Stamp", "Waiting"]

Stamp = tuple[int, int]
"""Size in bytes and time of the last change in ns: what is different after a file was written to."""

Kind = Literal["growing", "to be read", "perhaps unfinished", "partly written"]


@dataclass(frozen=True)
class Waiting:
    """A file that holds, or may hold, something that was not taken.

    Attributes
    ----------
    source : str
        Name of the file, from the folder on.
    kind : {"growing", "to be read", "perhaps unfinished", "partly written"}
        Growing: it was written to just now, or says itself that its last sweep is not finished. Perhaps unfinished: its
        last sweep may go on. Partly written: it cannot be read.
    seconds : float
        How long it has held what was not taken.
    still : float
        How long it has stood still, s.
    left : float
        How long until it is taken, or called damaged, if it stands still, s; infinite if only a change ends the wait.
    """

    source: str
    kind: Kind
    seconds: float
    still: float
    left: float


@dataclass
class _File:
    """What was seen of a file.

    Attributes
    ----------
    stamp : Stamp
        As it is now.
    still : float
        Since when, on the clock of this process, s.
    gap : float
        Longest time from one change to the next, s.
    hold : float
        How long it has to stand still before it is read, s.
    dealt_with : Stamp or None
        As it was when all that it holds had been taken.
    since : float
        Since when it has held something that was not taken, s.
    kind : str
        What was last found in it of what was not taken; nothing while it has not been read.
    """

    stamp: Stamp
    still: float
    since: float
    gap: float = 0.0
    hold: float = 0.0
    dealt_with: Stamp | None = None
    kind: Kind | None = None


class Folder:
    """The files of a folder and of the folders in it, but none whose name begins with a dot.

    Parameters
    ----------
    path : path
        The folder.
    settle : float
        How long a file has to stand still before it is read, s.
    ignored : iterable of path
        Files in it that no instrument writes.
    """

    def __init__(self, path: Path, settle: float, ignored: Iterable[Path] = ()) -> None:
        self.path, self._settle = path, settle
        self._ignored = {Path(os.path.realpath(one)) for one in ignored}
        self._files: dict[Path, _File] = {}

    def __contains__(self, source: str) -> bool:
        """Whether there is a file of that name, from this folder on."""
        if (self.path / source).is_file():
            return True
        # Where the name is not as the file system has it.
        return "\\" in source and any(storable(one.relative_to(self.path).as_posix()) == source for one in self._files)

    def look(self, paths: Iterable[Path] | None = None) -> None:
        """See what has changed: some files, or all.

        A folder that cannot be read, as of a network drive that is away, has no files for the moment; what was seen of
        them is kept.
        """
        if paths is not None:
            for path in paths:
                self._see(path)
            return
        for folder, below, names in os.walk(self.path):
            below[:] = [name for name in below if not name.startswith(".")]
            for name in names:
                self._see(Path(folder, name))

    def _see(self, path: Path) -> None:
        try:
            inside = path.relative_to(self.path).parts
        except ValueError:
            return
        if any(part.startswith((".", "~$")) for part in inside):  # "~$": of an open workbook
            return
        if path.is_dir():
            # A folder that was moved here; its files are no change of their own.
            self.look(Path(folder, name) for folder, _, names in os.walk(path) for name in names)
            return
        stamp, now = self.stamp(path), time.monotonic()
        known = self._files.get(path)
        if stamp is None or Path(os.path.realpath(path)) in self._ignored:
            self._files.pop(path, None)
        elif known is None:
            # Of a file that was there before it was seen, the time of its last change says since when it stands still.
            age = max(0.0, time.time() - stamp[1] / 1e9)
            self._files[path] = _File(stamp, now - age, now - age)
        elif known.stamp != stamp:
            known.gap = max(known.gap, now - known.still)
            if known.stamp == known.dealt_with and known.kind is None:
                known.since = now
            known.stamp, known.still, known.hold = stamp, now, 0.0

    @staticmethod
    def stamp(path: Path) -> Stamp | None:
        """Size and time of the last change; None for what is no file, or is gone."""
        with suppress(OSError):
            found = path.stat()
            if path.is_file():
                return found.st_size, found.st_mtime_ns
        return None

    def ready(self) -> list[tuple[Path, Stamp]]:
        """Files to be read, with their stamps: they stand still, and were not dealt with; the oldest first."""
        now = time.monotonic()
        due = [
            (path, one.stamp)
            for path, one in self._files.items()
            if one.stamp != one.dealt_with and now - one.still >= max(self._settle, one.hold)
        ]
        return sorted(due, key=lambda item: (item[1][1], item[0]))

    def wait(self) -> float | None:
        """How long until a file is ready if nothing changes, s; None if no file waits."""
        now = time.monotonic()
        left = [
            one.still + max(self._settle, one.hold) - now for one in self._files.values() if one.stamp != one.dealt_with
        ]
        return max(0.0, min(left)) if left else None

    def quiet(self, path: Path) -> tuple[float, float]:
        """How long a file has stood still, and its longest time from one change to the next, s."""
        known = self._files[path]
        return time.monotonic() - known.still, known.gap

    def changed(self, path: Path) -> float | None:
        """When a file was written to for the last time, s since 1970; None for one that is not there."""
        known = self._files.get(path)
        return None if known is None else known.stamp[1] / 1e9

    def hold(self, path: Path, seconds: float, kind: Kind) -> None:
        """Read a file again when it has stood still for so long."""
        self._files[path].hold, self._files[path].kind = seconds, kind

    def dealt_with(self, path: Path, stamp: Stamp, *, unfinished: bool = False, taken: bool = False) -> None:
        """Do not read a file again unless it changes.

        It still waits if its last sweep is not `finished`, by what it says itself; from now on, if others were `taken`.
        """
        known = self._files[path]
        known.dealt_with, known.kind = stamp, "growing" if unfinished else None
        if taken:
            known.since = known.still

    def waiting(self) -> list[Waiting]:
        """Files that hold what was not taken, or may; the one that was written to last comes first."""
        now, found = time.monotonic(), []
        for path, one in self._files.items():
            read = one.stamp == one.dealt_with
            if read and one.kind is None:
                continue
            still = now - one.still
            left = math.inf if read else max(0.0, max(self._settle, one.hold) - still)
            fresh: Kind = "growing" if still < self._settle else "to be read"
            source = storable(path.relative_to(self.path).as_posix())
            found.append(Waiting(source, one.kind or fresh, now - one.since, still, left))
        return sorted(found, key=lambda one: one.still)
