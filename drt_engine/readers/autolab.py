"""Metrohm Autolab text: files for ZView (``Z60W Data File``) and the ASCII export of Nova.

The first has the layout that `drt_engine.readers.zplot` describes; Z''(b) is Im Z, negative for a capacitor, and
columns that Autolab does not fill (time, bias, amplitude) hold 0 and are left out. The second has one line of headings,
``Index;Frequency (Hz);Z' (Ω);-Z'' (Ω);Z (Ω);-Phase (°);Time (s)``, whose signs stand in the headings; Index counts the
points and starts again with each sweep. WE(1).Potential and WE(1).Current are the DC signals, where they were exported.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from drt_engine.readers.base import ReadOptions, Recording
from drt_engine.readers.header import refuse_second, sweep_recording
from drt_engine.readers.point_checks import column_at, counted, points_of
from drt_engine.readers.states import State
from drt_engine.readers.text import TextFile, head_text, read_text, split_cells, table_below
from drt_engine.readers.zplot import read_quoted

__all__ = ["READER", "Autolab"]

_Z60W = re.compile(r"\W*Z60W Data File", re.IGNORECASE)
_NOVA = re.compile(r"(?=.*\bIndex\b)(?=.*\bFrequency \(Hz\))(?=.*\bZ' \()(?=.*\bZ'' \()")
_SIGNAL = re.compile(r"WE\(1\)\.(Potential|Current) \((\w*)\)")


@dataclass(frozen=True)
class Autolab:
    """Reader of Autolab text files."""

    name: str = "autolab"
    title: str = "Metrohm Autolab text (Z60W, Nova)"
    suffixes: tuple[str, ...] = (".txt", ".z", ".csv")
    states: tuple[State, ...] = (
        State("voltage", "Nova: WE(1).Potential, mean of the sweep", "heading"),
        State("current", "Nova: WE(1).Current, mean of the sweep", "heading"),
        State("time", "Time", "heading"),
        State("sequence", "Nova: where Index begins anew", ""),
        State("bias", "Z60W: Bias, mean of the sweep, if it is not 0"),
        State("open_circuit_voltage", "Z60W: Open Circuit Potential", "name of the field"),
    )

    def scan(self, head: bytes, path: Path) -> bool:  # noqa: ARG002 (part of the protocol)
        """Say whether the first lines are those of a file for ZView or of a Nova export."""
        lines = head_text(head).splitlines()[:3]
        return any(_Z60W.match(line) or _NOVA.match(line) for line in lines)

    def read(self, path: Path, options: ReadOptions) -> Recording:
        """Read all sweeps.

        Raises
        ------
        FileFormatError
            For a header that is cut, more points than it states, and damage.
        """
        text = read_text(path, options)
        refuse_second(text, _Z60W)
        refuse_second(text, _NOVA)
        if any(_NOVA.match(line) for line in text.lines[:3]):
            return _read_nova(text, options, self.name)
        done = read_quoted(text, options, self.name)
        sweeps = (replace(sweep, state=_filled(dict(sweep.state))) for sweep in done.sweeps)
        return replace(done, sweeps=tuple(sweeps))


READER = Autolab()


def _filled(state: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in state.items() if name != "bias" or value}


def _read_nova(text: TextFile, options: ReadOptions, name: str) -> Recording:
    heading = next(n for n, line in enumerate(text.lines, start=1) if _NOVA.match(line))
    line = text.lines[heading - 1]
    headings = [cell for cell in split_cells(line, "\t" if "\t" in line else ";" if ";" in line else ",") if cell]
    table = table_below(text, heading, headings=headings, options=options)
    signals = {match[0]: f"{match[1]}/{match[2]}" for match in map(_SIGNAL.fullmatch, headings) if match}
    rows = points_of(table, heading, rename=signals, minus=True)
    remarks: list[str] = []
    index = column_at(table, rows, "Index")
    if index is not None:
        again = np.concatenate([[0.0], np.cumsum(index[1:] == 1)])
        for number in np.unique(again):
            part = again == number
            piece = replace(rows, lines=rows.lines[part])
            remarks += counted(piece, index[part], "Index")
        if again[-1]:
            rows = replace(rows, states={**rows.states, "sequence": again})
    return sweep_recording(rows, name, remarks=remarks)
