"""Princeton Applied Research VersaStudio data (.par).

Sections as ``<Action1>`` ... ``</Action1>`` of ``Key=value``; the data stand in ``<Segment1>`` below a line
``Definition=`` that names the columns. Z Imag is Im Z, negative for a capacitor. E Real, E Imag, I Real and I Imag give
the same impedance once more, and every row is checked against E/I. Rows of DC steps have a frequency of 0 and are left
out. A sweep that does not reach the End Frequency of its action, and one in a segment without end, are unfinished.
The manual of VersaStudio calls the impedance in this file uncalibrated; a remark says so.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
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
    unit_in_name,
)
from drt_engine.readers.named import columns_of
from drt_engine.readers.point_checks import column_at, counted, half_digits, points_of, refuse_disagreement
from drt_engine.readers.rows import Rows
from drt_engine.readers.states import State, stated, untaken_fields
from drt_engine.readers.text import TextFile, TextTable, head_text, read_text, table_below

__all__ = ["READER", "VersaStudio"]

_FIRST = re.compile(r"<Application>\s*$")
_OPEN = re.compile(r"<(\w+)>\s*$")
_SEGMENT = re.compile(r"<Segment(\d+)>\s*$")
_UNCALIBRATED = (
    "the manual of VersaStudio calls the impedance that it keeps in .par files uncalibrated: compare the highest and "
    "the lowest frequencies with those that VersaStudio itself shows or exports"
)
_RENAME = {"E(V)": "voltage/V", "I(A)": "current/A", "Elapsed Time(s)": "time/s", "Frequency(Hz)": "frequency/Hz"}


@dataclass(frozen=True)
class VersaStudio:
    """Reader of VersaStudio .par files."""

    name: str = "versastudio"
    title: str = "Princeton Applied Research VersaStudio (.par)"
    suffixes: tuple[str, ...] = (".par",)
    states: tuple[State, ...] = (
        State("voltage", "E(V), mean of the sweep", "heading"),
        State("voltage_drift", "E(V), last less first value", "heading"),
        State("current", "I(A), mean of the sweep", "heading"),
        State("current_drift", "I(A), last less first value", "heading"),
        State("time", "Elapsed Time(s)", "heading"),
        State("sequence", "number of the segment, of several", ""),
        State("area", "Working Electrode Area", "name of the field"),
        State("open_circuit_voltage", "Measured Open Circuit", "field"),
    )

    def scan(self, head: bytes, path: Path) -> bool:  # noqa: ARG002 (part of the protocol)
        """Say whether the file begins as VersaStudio files do."""
        text = head_text(head)
        begins = any(_FIRST.match(line) for line in text.splitlines()[:3])
        return (begins and ("VersaStudio" in text or "<Segment" in text)) or "\nDefinition=Segment #" in text

    def read(self, path: Path, options: ReadOptions) -> Recording:
        """Read all segments that hold impedance.

        Raises
        ------
        FileFormatError
            For a file without impedance, and damage.
        """
        text = read_text(path, options)
        refuse_second(text, _FIRST)
        sections = list(_sections(text))
        segments = [(start, stop, closed) for name, start, stop, closed in sections if name.startswith("Segment")]
        if not segments:
            raise text.error(len(text.lines), "no section <Segment1>: the file holds no data, or is cut before them.")
        read = [_segment(text, start, stop, options) for start, stop, _ in segments]
        kept = [(number, rows) for number, (rows, _) in enumerate(read, start=1) if rows is not None]
        if not kept:
            raise text.error(
                segments[0][0], "every frequency is 0: the file holds DC measurements only, and no impedance."
            )
        rows = join_rows([rows for _, rows in kept], [number for number, _ in kept])
        values = _values(text, sections)
        states, notes = _states(values, rows)
        done = sweep_recording(
            rows,
            self.name,
            states=states,
            metadata=_metadata(values),
            remarks=[*(remark for _, remarks in read for remark in remarks), *notes, _UNCALIBRATED],
            last=positive_number(values.get("End Frequency (Hz)")),
        )
        done = add_drift(done, rows)
        if not segments[-1][2]:
            done = mark_unfinished(done, -1, "its segment has no end, so that the file was cut")
        return done


READER = VersaStudio()


def _states(values: Mapping[str, str], rows: Rows) -> tuple[dict[str, object], list[str]]:
    """Return the states of the header, and remarks."""
    area, notes = stated("area", *unit_in_name(values, "Working Electrode Area"))
    open_circuit, more = stated("open_circuit_voltage", values.get("Measured Open Circuit"))
    taken = {name for name in values if re.match(r"Working Electrode Area|Measured Open Circuit|Electrode", name)}
    unread = untaken_fields(values, taken, {*rows.states, "area"})
    return {"area": area or None, "open_circuit_voltage": open_circuit}, [*notes, *more, *unread]


def _sections(text: TextFile) -> Iterator[tuple[str, int, int, bool]]:
    """Yield name, line of the tag, line after the content, and whether there is an end, of each section."""
    tags = [n for n, line in enumerate(text.lines, start=1) if line.startswith("<")]
    closing: dict[str, list[int]] = {}
    for n in tags:
        closing.setdefault(text.lines[n - 1].strip(), []).append(n)
    done = 0
    for n, after in pairwise([*tags, len(text.lines) + 1]):
        match = _OPEN.match(text.lines[n - 1])
        if match is None or n <= done:
            continue
        ends = closing.get(f"</{match[1]}>", [])
        which = bisect_right(ends, n)
        closed = which < len(ends)
        done = ends[which] if closed else after - 1  # a section without end must not swallow the next
        yield match[1], n, ends[which] if closed else after, closed


def _segment(text: TextFile, start: int, stop: int, options: ReadOptions) -> tuple[Rows | None, tuple[str, ...]]:
    """Return the points of one segment, none if it is DC throughout, and remarks."""
    heading = next((n for n in range(start + 1, stop) if text.lines[n - 1].startswith("Definition=")), None)
    if heading is None:
        raise text.error(start, "a segment without a line 'Definition=': the file is cut or damaged here.")
    headings = [cell.strip() for cell in text.lines[heading - 1].removeprefix("Definition=").split(",")]
    if headings[-1] in ("", "0"):  # the list ends in a 0 that is no column
        headings.pop()
    table = table_below(text, heading, headings=headings, stop=stop, options=options)
    columns = columns_of(table, lambda message: text.error(heading, message), rename=_RENAME)
    if not np.any(table.numbers([columns["frequency"].index])):
        return None, ()
    rows = points_of(table, heading, rename=_RENAME)
    _refuse_other_than_e_over_i(table, rows)
    number = column_at(table, rows, "Point #")
    return rows, counted(rows, number, "Point #")


def _refuse_other_than_e_over_i(table: TextTable, rows: Rows) -> None:
    parts = [column_at(table, rows, heading) for heading in ("E Real", "E Imag", "I Real", "I Imag")]
    if any(part is None or np.isnan(part).any() for part in parts):  # what cannot be read confirms nothing
        return
    e_re, e_im, i_re, i_im = (np.asarray(part) for part in parts)
    e, i = e_re + 1j * e_im, i_re + 1j * i_im
    if not np.all(i):
        return
    half = {
        name: half_digits(table, table.headings.index(name), rows)
        for name in ("E Real", "E Imag", "I Real", "I Imag", "Z Real", "Z Imag")
        if name in table.headings
    }
    with np.errstate(over="ignore", invalid="ignore"):
        by_signals = e / i
        rounding = (half["E Real"] + half["E Imag"]) / np.abs(i) + np.abs(e / i**2) * (half["I Real"] + half["I Imag"])
    rounding = rounding + half.get("Z Real", 0.0) + half.get("Z Imag", 0.0)
    refuse_disagreement(rows, by_signals, np.where(np.isfinite(rounding), rounding, 0.0), "E and I")


def _values(text: TextFile, sections: list[tuple[str, int, int, bool]]) -> dict[str, str]:
    """Return what all sections but graphs and segments say; a key that differs between actions is left out."""
    values: dict[str, str] = {}
    differing = set()
    for name, start, stop, _ in sections:
        if not re.fullmatch(r"Action\d+|Application|Instrument|Experiment", name):
            continue
        for line in text.lines[start : stop - 1]:
            key, sign, value = line.partition("=")
            if not sign:
                continue
            key = f"{name} {key}" if key in ("Name", "Type", "Version") else key
            if values.setdefault(key, value.strip()) != value.strip():
                differing.add(key)
    return {key: value for key, value in values.items() if key not in differing}


def _metadata(values: dict[str, str]) -> dict[str, object]:
    model = values.get("Instrument Model") or values.get("Model", "")
    return {
        "instrument": f"{values.get('Instrument Type', '')}{model}",
        "software": f"VersaStudio {values.get('Application Version', '')}".strip(),
        "technique": values.get("Action1 Name"),
        "date": values.get("DateAcquired"),
        "clock": values.get("TimeAcquired"),
        "amplitude_mV_rms": header_number(values.get("Amplitude (mV RMS)")),
        "first_frequency": header_number(values.get("Start Frequency (Hz)")),
        "last_frequency": header_number(values.get("End Frequency (Hz)")),
        "points_per_decade": header_number(values.get("Points Per Decade")),
    }
