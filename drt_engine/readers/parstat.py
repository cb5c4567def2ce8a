"""Princeton Applied Research PARSTAT text (.txt).

One line of headings, rows between tabs: Potential (V), Current (A), Elapsed Time (s), Frequency (Hz), Zre (ohms),
Zim (ohms), |Vac| (V), |Iac| (A). The rows of a DC step stand among them with a frequency of 0 and are left out. Zim is
Im Z, negative for a capacitor. |Vac|/|Iac| is a measurement of its own of |Z|, noisy where the signal is weak, so a row
is refused only where the two differ by more than a factor of two and a half.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drt_engine.readers.base import ReadOptions, Recording
from drt_engine.readers.header import add_drift, refuse_second, sweep_recording
from drt_engine.readers.point_checks import column_at, points_of
from drt_engine.readers.rows import Rows
from drt_engine.readers.states import State
from drt_engine.readers.text import TextTable, head_text, read_text, table_below

__all__ = ["READER", "Parstat"]

_HEADINGS = re.compile(r"(?=.*Frequency \(Hz\))(?=.*Zre \(ohms\))(?=.*Zim \(ohms\))(?=.*(?:Potential|Elapsed|\|Vac\|))")
_FACTOR = 2.5
"""Factor between |Z| and |Vac|/|Iac| from which a row is damaged: signals are noisy where they are weak."""


@dataclass(frozen=True)
class Parstat:
    """Reader of PARSTAT text files."""

    name: str = "parstat"
    title: str = "Princeton Applied Research PARSTAT text (.txt)"
    suffixes: tuple[str, ...] = (".txt",)
    states: tuple[State, ...] = (
        State("voltage", "Potential, mean of the sweep", "heading"),
        State("voltage_drift", "Potential, last less first value", "heading"),
        State("current", "Current, mean of the sweep", "heading"),
        State("current_drift", "Current, last less first value", "heading"),
        State("time", "Elapsed Time", "heading"),
    )

    def scan(self, head: bytes, path: Path) -> bool:  # noqa: ARG002 (part of the protocol)
        """Say whether the first lines are the headings of PARSTAT."""
        return any(_HEADINGS.match(line) for line in head_text(head).splitlines()[:5])

    def read(self, path: Path, options: ReadOptions) -> Recording:
        """Read all sweeps.

        Raises
        ------
        FileFormatError
            For a file of DC rows only, doubled headings, and damage.
        """
        text = read_text(path, options)
        refuse_second(text, _HEADINGS)
        heading = next((n for n, line in enumerate(text.lines, start=1) if _HEADINGS.match(line)), None)
        if heading is None:
            raise text.error(1, "no headings of PARSTAT: Frequency (Hz), Zre (ohms), Zim (ohms) were expected.")
        headings = [cell.strip() for cell in text.lines[heading - 1].rstrip().split("\t")]
        table = table_below(text, heading, headings=headings, options=options)
        rows = points_of(table, heading)
        _refuse_far_from_signals(table, rows)
        return add_drift(sweep_recording(rows, self.name), rows)


READER = Parstat()


def _refuse_far_from_signals(table: TextTable, rows: Rows) -> None:
    volts, amps = (column_at(table, rows, heading) for heading in ("|Vac| (V)", "|Iac| (A)"))
    if volts is None or amps is None:
        return
    known = np.flatnonzero((volts > 0) & (amps > 0) & (rows.impedance != 0))
    with np.errstate(over="ignore"):  # by a current that is a damaged number
        measured = volts[known] / amps[known]
    bad = np.flatnonzero(np.abs(np.log(measured) - np.log(np.abs(rows.impedance[known]))) > np.log(_FACTOR))
    if bad.size:
        i = int(known[bad[0]])
        raise rows.error(
            i,
            f"Zre and Zim give {abs(rows.impedance[i]):.4g} ohm, where |Vac|/|Iac| is {measured[bad[0]]:.4g} ohm. "
            "The row is damaged, or columns were exchanged: export the file again.",
        )
