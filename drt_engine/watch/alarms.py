"""Alarms: conditions on a result and on those before it, and what is told to a program of the user's."""

import os
import queue
import shlex
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from drt_engine.errors import InputError
from drt_engine.selection import Condition
from drt_engine.text import visible

__all__ = ["Alarm", "Alert", "Hook", "Records"]

_WORDS = ("first", "previous")
# Time for the user's program, which sends a message or writes a line.
_SECONDS = 60.0
# Alarms that wait for it: that is an hour and more of them if each takes its whole time.
_MOST_WAITING = 100
# Characters of a value, well below what systems allow: 32,767 on Windows, 128 KiB on Linux.
_LONGEST = 4000


@dataclass(frozen=True)
class Alarm:
    """What is wrong with a sweep.

    Attributes
    ----------
    kind : {"alert", "kramers-kronig", "no solution"}
        A condition of the user's that holds; a spectrum that fails the test of validity; one that cannot be inverted.
    text : str
        The condition, or what was found.
    row : mapping of str to object
        States and results of the sweep.
    """

    kind: str
    text: str
    row: Mapping[str, Any] = field(default_factory=dict)

    def values(self) -> dict[str, str]:
        """Describe it in environment variables: ``DRT_ALARM``, ``DRT_ALARM_KIND`` and one for each state and result."""
        found: dict[str, str] = {}
        for name, value in self.row.items():
            if name.isidentifier() and name.isascii() and not pd.isna(value):
                found[f"DRT_{name.upper()}"] = format(value, ".9g") if isinstance(value, float) else str(value)
        # No state of a file takes the place of the alarm, or sets what drt-engine itself goes by.
        found = {name: value for name, value in found.items() if not name.startswith("DRT_ENGINE")}
        found |= {"DRT_ALARM": self.text, "DRT_ALARM_KIND": self.kind}
        # No value can end another, hold a control character, or be longer than a program can be told.
        return {name: visible(value[:_LONGEST]) for name, value in found.items()}


class Records:
    """The first and the last result of each cell, or of whatever else tells spectra apart that are to be compared.

    Parameters
    ----------
    by : sequence of str
        States that are equal among spectra that are compared; those that a spectrum does not have tell nothing apart.
    """

    def __init__(self, by: Sequence[str]) -> None:
        self._by = tuple(by)
        self._ends: dict[tuple[Any, ...], dict[str, tuple[int, Mapping[str, Any]]]] = {}

    def enter(self, grid: str, rows: Iterable[int], frame: pd.DataFrame) -> None:
        """Enter results, in the order of the campaign; of one that was entered before, the newer counts."""
        if not len(frame):
            return
        numbers = list(rows)
        told_apart = {name: frame[name].tolist() for name in self._by if name in frame.columns}
        keys = [self._key(grid, {name: told_apart[name][at] for name in told_apart}) for at in range(len(frame))]
        places: dict[tuple[Any, ...], tuple[int, int]] = {}
        for at, key in enumerate(keys):
            places[key] = places.get(key, (at, at))[0], at
        for key, (low, high) in places.items():
            ends = self._ends.setdefault(key, {})
            for word, at in (("first", low), ("previous", high)):
                row = int(numbers[at])
                known = ends.get(word)
                if known is None or (row <= known[0] if word == "first" else row >= known[0]):
                    here: Any = frame.iloc[at].to_dict()
                    ends[word] = row, here

    def _key(self, grid: str, states: Mapping[str, Any]) -> tuple[Any, ...]:
        return grid, *(None if pd.isna(states.get(name)) else states.get(name) for name in self._by)

    def of(self, grid: str, row: Mapping[str, Any], word: str, column: str) -> Any:
        """Value of a column in the first or previous result that a spectrum is compared with; None without one."""
        known = self._ends.get(self._key(grid, row), {}).get(word)
        return None if known is None else known[1].get(column)


class Alert:
    """A condition of the user's on each new result.

    Parameters
    ----------
    text : str
        For example ``"r_pol > 1.2 * first"``: columns of the results and states, ``valid``, and ``first`` and
        ``previous`` for the value of the same column in the first and the previous result.

    Raises
    ------
    InputError
        For text that is not a condition.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._condition, self._columns = Condition(text).referring(_WORDS)

    def holds(self, grid: str, row: Mapping[str, Any], records: Records) -> bool:
        """Whether it holds for a result, of which the records do not know yet.

        Raises
        ------
        InputError
            For a column that does not exist.
        """
        filled = dict(row)
        for name, (word, column) in self._columns.items():
            if column not in row:
                raise InputError(f"the alert {self.text!r} cannot be checked: no result or state is called {column!r}.")
            value = records.of(grid, row, word, column)
            # The first result is compared with itself, and nothing comes before it.
            filled[name] = row[column] if value is None and word == "first" else value
        missing = {name: float("nan") for name in self._columns if filled[name] is None}
        frame = pd.DataFrame({name: [value] for name, value in (filled | missing).items()})
        return bool(self._condition.rows(frame).size)


class Hook:
    """A program of the user's that is started for each alarm, one after another.

    Parameters
    ----------
    command : str
        Program and arguments, divided as a shell divides them; no shell runs it, and nothing from a file is put in.

    Raises
    ------
    InputError
        If there is no program in it.
    """

    def __init__(self, command: str) -> None:
        try:
            self._arguments = shlex.split(command)
        except ValueError as error:
            raise InputError(f"the command {command!r} cannot be read: {error}.") from error
        if not self._arguments:
            raise InputError("the command for alarms is empty. Name a program.")
        self._waiting: queue.Queue[Alarm | None] = queue.Queue(_MOST_WAITING)
        self.problems: queue.Queue[str] = queue.Queue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def start(self, alarm: Alarm) -> None:
        """Start the program for an alarm, when it has ended for those before."""
        try:
            self._waiting.put_nowait(alarm)
        except queue.Full:
            self.problems.put(f"{_MOST_WAITING} alarms wait for {self._arguments[0]}; it is not started for this one")

    def finish(self) -> None:
        """Wait until the program has ended for every alarm."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (alarm := self._waiting.get()) is not None:
            try:
                done = subprocess.run(
                    self._arguments,
                    env=os.environ | alarm.values(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    timeout=_SECONDS,
                    check=False,
                )
            except (OSError, ValueError) as error:
                self.problems.put(f"{self._arguments[0]} cannot be started: {error}")
            except subprocess.TimeoutExpired:
                self.problems.put(f"{self._arguments[0]} did not end within {_SECONDS:g} s and was stopped")
            else:
                if done.returncode:
                    self.problems.put(f"{self._arguments[0]} ended with exit code {done.returncode}")
