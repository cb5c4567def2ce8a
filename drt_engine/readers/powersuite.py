"""Princeton Applied Research PowerSuite text (.txt).

Three columns between tabs, Frequency, Zre and Zimg, without units (Hz and ohm), without states, and often with line
ends of two carriage returns. Zimg is Im Z as it stands: negative for a capacitor. Nothing in the file confirms a digit,
so that only damage which leaves no number, or a frequency out of order or out of step, can be found.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from drt_engine.readers.base import ReadOptions, Recording
from drt_engine.readers.header import refuse_second, sweep_recording
from drt_engine.readers.point_checks import points_of
from drt_engine.readers.states import State
from drt_engine.readers.text import head_text, read_text, table_below

__all__ = ["READER", "PowerSuite"]

_HEADINGS = re.compile(r"\s*Frequency[^\S\t]*\t\s*Zre[^\S\t]*\t\s*Zimg\s*$")


@dataclass(frozen=True)
class PowerSuite:
    """Reader of PowerSuite text files."""

    name: str = "powersuite"
    title: str = "Princeton Applied Research PowerSuite text (.txt)"
    suffixes: tuple[str, ...] = (".txt",)
    states: tuple[State, ...] = ()

    def scan(self, head: bytes, path: Path) -> bool:  # noqa: ARG002 (part of the protocol)
        """Say whether the first lines are the headings of PowerSuite."""
        return any(_HEADINGS.match(line) for line in head_text(head).splitlines()[:5])

    def read(self, path: Path, options: ReadOptions) -> Recording:
        """Read all sweeps.

        Raises
        ------
        FileFormatError
            For doubled headings and damage.
        """
        text = read_text(path, options)
        refuse_second(text, _HEADINGS)
        heading = next((n for n, line in enumerate(text.lines, start=1) if _HEADINGS.match(line)), None)
        if heading is None:
            raise text.error(1, "no headings of PowerSuite: Frequency, Zre and Zimg between tabs were expected.")
        table = table_below(text, heading, options=options)
        remarks = []
        if not text.ended and len(table) > 1:
            remarks.append(f"the point in line {table.lines[-1]} left out: the line has no end, so that it may be cut")
            table = replace(table, lines=table.lines[:-1])
        return sweep_recording(points_of(table, heading), self.name, remarks=remarks)


READER = PowerSuite()
