r"""Scribner ZPlot and ZView data (.z).

Two layouts. ``ZPLOT2 ASCII``: lines of ``Key: value``, the headings, ``End Comments``, rows between tabs.
``"ZPlotW Data File"`` and ``"ZView Calculated Data File"``: lines in quotation marks, one of the frequency range, one
of the number of points, the headings in one pair of quotation marks, rows between commas. In both the columns are
Freq(Hz), Ampl, Bias, Time(Sec), Z'(a), Z''(b), GD, Err, Range, and Z''(b) is Im Z: negative for a capacitor.

The header states the number of points: a file with fewer is an unfinished sweep, one with more is refused. Bias and the
open-circuit potential are kept as ``bias`` and ``open_circuit_voltage`` (V); which potential the bias is measured from
is not said in words that can be relied on, so no ``voltage`` is made of them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from drt_engine.readers.base import ReadOptions, Recording
from drt_engine.readers.header import header_number, positive_number, refuse_second, sweep_recording, unit_in_name
from drt_engine.readers.point_checks import column_at, points_of, refuse_more_rows
from drt_engine.readers.states import State, stated, untaken_fields
from drt_engine.readers.text import TextFile, TextTable, head_text, read_text, table_below
from drt_engine.text import count_of

__all__ = ["READER", "ZPlot", "read_quoted"]

_COMMENTED = re.compile(r"\s*ZPLOT2 ASCII")
_QUOTED = re.compile(r'\s*"?Z(?:PlotW|View)\b.*Data File', re.IGNORECASE)
_HEADINGS = re.compile(r"(?=.*\bfreq\w*\s*\(Hz\))(?=.*Z'\(\w\))", re.IGNORECASE)


@dataclass(frozen=True)
class ZPlot:
    """Reader of ZPlot and ZView .z files."""

    name: str = "zplot"
    title: str = "Scribner ZPlot and ZView (.z)"
    suffixes: tuple[str, ...] = (".z", ".zcalc")
    states: tuple[State, ...] = (
        State("bias", "Bias, mean of the sweep"),
        State("time", "Time(Sec)", "heading"),
        State("open_circuit_voltage", "Open Circuit Potential", "name of the field"),
        State("area", "Surface Area"),
    )

    def scan(self, head: bytes, path: Path) -> bool:  # noqa: ARG002 (part of the protocol)
        """Say whether the first lines name ZPlot or ZView."""
        lines = head_text(head).splitlines()[:3]
        return any(_COMMENTED.match(line) or _QUOTED.match(line) for line in lines)

    def read(self, path: Path, options: ReadOptions) -> Recording:
        """Read the sweep.

        Raises
        ------
        FileFormatError
            For a header that is cut, more points than it states, and damage.
        """
        text = read_text(path, options)
        refuse_second(text, _COMMENTED)
        if any(_COMMENTED.match(line) for line in text.lines[:3]):
            return _read_commented(text, options, self.name)
        refuse_second(text, _QUOTED)
        return read_quoted(text, options, self.name)


READER = ZPlot()


def _read_commented(text: TextFile, options: ReadOptions, name: str) -> Recording:
    end = next((n for n, line in enumerate(text.lines, start=1) if line.strip() == "End Comments"), None)
    if end is None:
        raise text.error(len(text.lines), "the header has no line 'End Comments': the file is cut or damaged.")
    heading = _heading_line(text, end)
    values: dict[str, str] = {}
    for line in text.lines[:end]:
        key, colon, value = line.partition(":")
        if colon:
            values.setdefault(key.strip(), value.strip())
    table = table_below(text, end, headings=_headings(text, heading), options=options)
    control = values.get("Experiment Type", "")
    potential, notes = stated("open_circuit_voltage", *unit_in_name(values, "Open Circuit Potential"))
    area, more = stated("area", *unit_in_name(values, "Surface Area"))
    states = {"open_circuit_voltage": potential, "area": area or None}
    taken = {name for name in values if re.match(r"Open Circuit Potential|Surface Area|Potential-|Current-", name)}
    notes = (*notes, *more, *untaken_fields(values, taken, {"area", "voltage", "current"}))
    metadata = {
        "technique": control,
        "software": f"ZPlot {values.get('Measured Data, ZPlot', '')}".strip(),
        "date": values.get("Date"),
        "clock": values.get("Time"),
        "first_frequency": header_number(values.get("vs Freq-Initial")),
        "last_frequency": header_number(values.get("vs Freq-Final")),
    }
    points = _count(text, values.get("Data Points"), heading)
    last = positive_number(values.get("vs Freq-Final"))
    return _recorded(table, heading, name, points, last, states, metadata, notes)


def read_quoted(text: TextFile, options: ReadOptions, name: str) -> Recording:
    """Read the layout with lines in quotation marks, which other instruments write as well.

    Parameters
    ----------
    text : TextFile
        The file.
    options : ReadOptions
        What the file does not say.
    name : str
        Name of the reader.

    Raises
    ------
    FileFormatError
        For a header that is cut, more points than it states, and damage.
    """
    heading = _heading_line(text, min(len(text.lines), 60))
    head = [line.strip().strip('"').strip() for line in text.lines[: heading - 1]]
    counts = [line for line in head[-1:] if re.fullmatch(r"\d+", line)]
    span = next((line for line in head if re.fullmatch(r"[\d+-]+,.*,[^,]+,[^,]+", line)), "")
    ends = [value for value in map(positive_number, span.split(",")[-2:]) if value]
    lines = tuple(  # a comma with a blank stands between cells, one without may be a decimal sign
        re.sub(r",\s+", "\t", line) if n > heading else line for n, line in enumerate(text.lines, start=1)
    )
    table = table_below(replace(text, lines=lines), heading, headings=_headings(text, heading), options=options)
    fields = {name: value for name, colon, value in (line.partition(":") for line in head) if colon}
    potential, notes = stated("open_circuit_voltage", *unit_in_name(fields, "Open Circuit Potential"))
    when = next((m for line in head if (m := re.match(r"Date:\s*(\S+)\s+Time:\s*(\S+)", line))), None)
    metadata = {
        "software": head[0],
        "technique": next((line for line in head if line.startswith("Sweep")), None),
        "date": when[1] if when else None,
        "clock": when[2] if when else None,
        "comment": next((line for line in head[4:-3] if line and ":" not in line), None),
    }
    points = _count(text, counts[0] if counts else None, heading)
    first = float(points_of(table, heading).frequency[0])
    last = max(ends, key=lambda end: abs(np.log(end / first))) if ends else None
    return _recorded(table, heading, name, points, last, {"open_circuit_voltage": potential}, metadata, notes)


def _heading_line(text: TextFile, end: int) -> int:
    found = [n for n in range(1, end + 1) if _HEADINGS.match(text.lines[n - 1])]
    if not found:
        raise text.error(end, "no line of headings with Freq(Hz), Z'(a) and Z''(b) above this: the header is damaged.")
    if len(found) > 1:
        raise text.error(found[1], f"a second line of headings, after that in line {found[0]}: the header is doubled.")
    return found[0]


def _headings(text: TextFile, line: int) -> list[str]:
    return re.split(r"\t+|\s{2,}", text.lines[line - 1].strip().strip('"').strip())


def _count(text: TextFile, stated: str | None, heading: int) -> int | None:
    if stated is None:
        return None
    if not re.fullmatch(r"\d{1,9}", stated) or not int(stated):
        raise text.error(heading - 1, f"the number of data points is {stated!r}, where a positive number was expected.")
    return int(stated)


def _recorded(
    table: TextTable,
    heading: int,
    name: str,
    points: int | None,
    last: float | None,
    states: Mapping[str, object],
    metadata: Mapping[str, object],
    notes: Sequence[str],
) -> Recording:
    refuse_more_rows(table, points)
    rows = points_of(table, heading)
    bias, flags = (column_at(table, rows, which) for which in ("Bias", "Err"))
    if bias is not None:
        rows = replace(rows, states={**rows.states, "bias": bias})
    remarks = [*notes]
    flags = None if flags is None else np.nan_to_num(flags, nan=1.0)
    if flags is not None and np.any(flags):
        first = rows.lines[int(np.argmax(flags != 0))]
        many = count_of(int(np.count_nonzero(flags)), "point")
        remarks.append(f"{many} flagged by the instrument in Err (first at line {first})")
    complete = points is not None and rows.frequency.size == points  # points may have been deleted on purpose
    if complete and last and abs(np.log(rows.frequency[-1] / last)) > 0.05:
        remarks.append(f"the data end at {rows.frequency[-1]:.6g} Hz, where the header says {last:.6g} Hz")
    return sweep_recording(
        rows,
        name,
        states=states,
        metadata=metadata,
        remarks=remarks,
        last=None if complete else last,
        points=points,
    )
