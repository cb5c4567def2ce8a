r"""Gamry Framework and Toolkit data (.DTA).

Lines of ``KEY\tTYPE\tvalue\tlabel`` and tables: ``ZCURVE\tTABLE`` (``ZCURVE1`` and so on for further sweeps), a line of
headings, a line of units, rows that begin with a tab. Zimag is Im Z: negative for a capacitor, as Zphz confirms, and
every row is checked against its Zmod and Zphz. Vdc and Idc are measured at every point; the states are their means and,
as ``voltage_drift`` and ``current_drift``, last less first value. A sweep goes on until it has passed FREQFINAL, which
the last point may lie below by one step. ``EXPERIMENTABORTED T`` marks a run that was stopped. ``Temp`` is the reading
of a thermocouple; without one the instrument writes what its input happens to show, as -327.67 or 1467 deg C, so that
only what a thermocouple of type K can measure is taken.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from drt_engine.readers.base import ReadOptions, Recording
from drt_engine.readers.header import (
    add_drift,
    header_number,
    join_rows,
    mark_unfinished,
    positive_number,
    refuse_second,
    sweep_recording,
)
from drt_engine.readers.point_checks import column_at, counted, points_of, refuse_more_rows
from drt_engine.readers.rows import Rows
from drt_engine.readers.states import State, plausible, stated, untaken_fields
from drt_engine.readers.text import TextFile, head_text, is_number, read_text, table_below

__all__ = ["READER", "Gamry"]

_CURVE = re.compile(r"ZCURVE\d*\tTABLE(?:\t(\d{1,9}))?\s*$")
_FIELD = re.compile(r"([A-Z][A-Z0-9_]*)\t([A-Z0-9_]+)(?:\t(.*))?$")
_FIRST = re.compile(r"EXPLAIN\s*$")


@dataclass(frozen=True)
class Gamry:
    """Reader of Gamry .DTA files; potentiostatic, galvanostatic and hybrid alike."""

    name: str = "gamry"
    title: str = "Gamry Framework (.DTA)"
    suffixes: tuple[str, ...] = (".dta",)
    states: tuple[State, ...] = (
        State("voltage", "Vdc, mean of the sweep", "row of units"),
        State("voltage_drift", "Vdc, last less first value", "row of units"),
        State("current", "Idc, mean of the sweep", "row of units"),
        State("current_drift", "Idc, last less first value", "row of units"),
        State("temperature", "Temp", "row of units", -270.0, 1372.0),
        State("time", "Time", "row of units"),
        State("sequence", "which of several tables ZCURVE", ""),
        State("area", "AREA", "label of the field"),
        State("open_circuit_voltage", "EOC", "label of the field"),
    )

    def scan(self, head: bytes, path: Path) -> bool:  # noqa: ARG002 (part of the protocol)
        """Say whether the file begins as Gamry files do."""
        lines = head_text(head).splitlines()
        return any(_FIRST.match(line) for line in lines[:3]) or any(_CURVE.match(line) for line in lines)

    def read(self, path: Path, options: ReadOptions) -> Recording:
        """Read all ZCURVE tables.

        Raises
        ------
        FileFormatError
            For a file without impedance, a run that was aborted before its first point, and damage.
        """
        text = read_text(path, options)
        refuse_second(text, _FIRST)
        fields = {key: (kind, value, label) for key, kind, value, label in _fields(text)}
        aborted = _value(fields, "EXPERIMENTABORTED").startswith(("T", "1"))
        starts = [n for n, line in enumerate(text.lines, start=1) if _CURVE.match(line)]
        if not starts:
            raise text.error(len(text.lines), _no_curve(_tag(fields), aborted))
        parts, remarks, counts = [], list[str](), list[int | None]()
        for n in starts:
            rows, lost, count = _curve(text, n, options, aborted)
            parts.append(rows)
            remarks += lost
            counts.append(count)
        rows = plausible(join_rows(parts), self.states)
        first, final = (positive_number(_value(fields, key)) for key in ("FREQINIT", "FREQFINAL"))
        states, notes = _states(fields, rows)
        points = counts[0] if len(set(counts)) == 1 else None
        done = sweep_recording(
            rows,
            self.name,
            states=states,
            metadata=_metadata(fields),
            remarks=[*remarks, *notes, *_odd_start(rows, first)],
            last=_last(parts, first, final),
            points=points,
        )
        done = add_drift(done, rows)
        return _aborted(done, final) if aborted else done


READER = Gamry()


_Fields = dict[str, tuple[str, str, str]]


def _fields(text: TextFile) -> Iterator[tuple[str, str, str, str]]:
    """Yield key, kind, value and label of each line of the header."""
    for line in text.lines:
        match = _FIELD.match(line)
        if match:
            value, *more = (match[3] or "").split("\t")
            yield match[1], match[2], value.strip(), more[-1].strip().replace("&", "") if more else ""


def _value(fields: _Fields, key: str) -> str:
    return fields.get(key, ("", "", ""))[1]


def _states(fields: _Fields, rows: Rows) -> tuple[dict[str, object], list[str]]:
    """Return the states of the header, in the unit that the label of the field has in brackets, and remarks."""
    states, remarks = dict[str, object](), list[str]()
    for name, key in (("area", "AREA"), ("open_circuit_voltage", "EOC")):
        unit = re.search(r"[(\[]([^()\[\]]*)[)\]]\s*$", fields.get(key, ("", "", ""))[2])
        value, notes = stated(name, _value(fields, key), unit[1] if unit else None)
        states[name] = None if name == "area" and value == 0 else value
        remarks += notes
    labels = {f"{key} {label}".strip(): value for key, (_, value, label) in fields.items()}
    taken = {name for name in labels if name.split()[0] in ("AREA", "EOC", "VAC", "IAC")}
    return states, [*remarks, *untaken_fields(labels, taken, {*rows.states, "area"})]


def _tag(fields: _Fields) -> str:
    return fields.get("TAG", ("", "", ""))[0]


def _no_curve(tag: str, aborted: bool) -> str:
    what = f"a Gamry file of the experiment {tag!r}" if tag else "a Gamry file"
    if aborted:
        return f"{what} without a table ZCURVE: the run was aborted before its impedance."
    return (
        f"{what} without a table ZCURVE: it holds no frequencies and no impedance. Import EISPOT, GALVEIS or hybrid "
        "EIS files; if this should be one, it is cut before the table."
    )


def _curve(text: TextFile, start: int, options: ReadOptions, aborted: bool) -> tuple[Rows, tuple[str, ...], int | None]:
    """Return the points of one table, remarks, and how many points its first line states."""
    heading = start + 1
    if heading > len(text.lines):
        raise text.error(start, "a table ZCURVE without headings: the file is cut.")
    units = text.lines[heading].split("\t") if heading < len(text.lines) else []
    has_units = not any(is_number(cell.strip()) for cell in units)
    stop = next(
        (n for n in range(heading + 1, len(text.lines) + 1) if _FIELD.match(text.lines[n - 1])), len(text.lines) + 1
    )
    if aborted and not any(line.strip() for line in text.lines[heading + has_units : stop - 1]):
        raise text.error(heading, "the run was aborted before its first point: there is nothing to read.")
    names = [cell.strip() for cell in text.lines[heading - 1].rstrip().split("\t")]
    headings = [_with_unit(name, units[i] if has_units and i < len(units) else "") for i, name in enumerate(names)]
    table = table_below(text, heading, headings=headings, stop=stop, skip=int(has_units), options=options)
    match = _CURVE.match(text.lines[start - 1])
    stated = int(match[1]) if match and match[1] else None
    refuse_more_rows(table, stated)
    rows = points_of(table, heading)
    return rows, counted(rows, column_at(table, rows, "Pt"), "Pt"), stated


def _with_unit(name: str, unit: str) -> str:
    """Return a heading with its unit; the degree sign of the phase is lost in many files and means degrees always."""
    unit = unit.strip()
    if name == "Zphz":
        return "Zphz/deg"
    return f"{name}/{unit}" if unit and unit.strip("#") else name


def _odd_start(rows: Rows, first: float | None) -> list[str]:
    if not first or abs(np.log(rows.frequency[0] / first)) < 0.05:
        return []
    return [f"the data begin at {rows.frequency[0]:.6g} Hz, where FREQINIT says {first:.6g} Hz"]


def _last(parts: list[Rows], first: float | None, final: float | None) -> float | None:
    """Return where a complete sweep ends: at the point that has passed FREQFINAL, or FREQFINAL if none has."""
    if not final:
        return None
    up = bool(first) and final > (first or 0)
    for rows in parts:
        end = float(rows.frequency[-1])
        if (end >= 0.95 * final) if up else (end <= 1.05 * final):
            return end
    return final


def _aborted(done: Recording, final: float | None) -> Recording:
    sweep = done.sweeps[-1]
    if not sweep.finished or not final:
        reason = f"the run was aborted at {sweep.frequency[-1]:.6g} Hz (EXPERIMENTABORTED)"
        return mark_unfinished(done, -1, reason)
    remarks = (*done.remarks, "the run was aborted after its last sweep was complete (EXPERIMENTABORTED)")
    return replace(done, remarks=remarks)


def _metadata(fields: _Fields) -> dict[str, object]:
    stem = {"TITLE": "title", "PSTAT": "instrument", "DATE": "date", "TIME": "clock"}
    texts: dict[str, object] = {"technique": _tag(fields)}
    texts |= {name: _value(fields, key) for key, name in stem.items()}
    numbers = {"VAC": "amplitude_mV_rms", "IAC": "amplitude_A_rms", "FREQINIT": "first_frequency"}
    numbers |= {"FREQFINAL": "last_frequency", "PTSPERDEC": "points_per_decade"}
    return texts | {name: header_number(_value(fields, key)) for key, name in numbers.items()}
