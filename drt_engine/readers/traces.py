"""Readers of voltage and current over time: chronoamperometry, chronopotentiometry and rest.

They take the files of BioLogic (.mpt, .mpr), Gamry (.DTA), and tables with headings. Points of impedance in the same
file are left out. The current of a rest is zero where the file has none.
"""

import re
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from drt_engine.errors import FileFormatError, InputError
from drt_engine.readers.base import ReadOptions, format_error, head_of
from drt_engine.readers.biologic import stated_area
from drt_engine.readers.biologic_mpr import READER as BINARY
from drt_engine.readers.biologic_mpr import RecordTable, area_of, checked_modules, parsed
from drt_engine.readers.biologic_mpt import READER as TEXT
from drt_engine.readers.biologic_mpt import header_field, heading_line
from drt_engine.readers.columns import HeadedTable, side_column
from drt_engine.readers.file_states import read_profile
from drt_engine.readers.gamry import READER as GAMRY
from drt_engine.readers.headings import Meaning, meaning_of
from drt_engine.readers.states import stated
from drt_engine.readers.text import is_number, read_text, table_below
from drt_engine.text import count_of
from drt_engine.traces import Trace

__all__ = ["read_traces"]

_REST = re.compile(r"open circuit|\bOCV\b|OPEN_?CIRCUIT|CORPOT", re.IGNORECASE)
_CURVE = re.compile(r"(?:OCV)?CURVE\d*\tTABLE(?:\t\d+)?\s*$")
_GAMRY_NAMES = {"T": "time", "Time": "time", "Vf": "voltage", "Im": "current", "Vm": "voltage", "Temp": "temperature"}
_MISSING = frozenset({"XXX"})


def read_traces(paths: str | PathLike[str] | Iterable[str | PathLike[str]]) -> list[Trace]:
    """Read voltage and current over time from files of potentiostats.

    Parameters
    ----------
    paths : path or iterable of paths
        Files of BioLogic (.mpt, and .mpr with galvani), Gamry (.DTA), or tables with headings such as
        ``time/s,voltage/V,current/mA``.

    Returns
    -------
    list of Trace
        One a file, or one a table of a Gamry file, with the states ``source`` and, where the file has it, ``area``
        (cm²) and ``temperature`` (°C, mean).

    Raises
    ------
    FileFormatError
        For a file that cannot be read, or has no column of time and voltage; nothing is returned then.
    """
    single = isinstance(paths, str | PathLike)
    files = [Path(str(paths))] if single else [Path(path) for path in paths]  # type: ignore[union-attr]
    if not files:
        raise InputError("paths must name at least one file; got none.")
    return [trace for path in files for trace in _read(path)]


def _read(path: Path) -> list[Trace]:
    head = head_of(path)
    try:
        if BINARY.scan(head, path):
            return _binary(path)
        if TEXT.scan(head, path):
            return _text(path)
        if GAMRY.scan(head, path):
            return _gamry(path)
        return _plain(path)
    except FileFormatError:
        raise
    except (ArithmeticError, LookupError, MemoryError, OSError, ValueError) as error:
        raise format_error(
            path, None, f"voltage and current over time could not be read from it ({type(error).__name__}: {error})."
        ) from error


def _binary(path: Path) -> list[Trace]:
    modules, _ = checked_modules(path)
    file, _ = parsed(path, modules)
    table = RecordTable(path, file.data)
    states, _ = stated_area(area_of(modules))
    return [_of_table(path, table, states, rest=_has_only_voltage(table.headings))]


def _text(path: Path) -> list[Trace]:
    text = read_text(path, ReadOptions())
    heading = heading_line(text)
    header = text.lines[: heading - 1]
    states, _ = stated_area(stated("area", header_field(header, "Electrode surface area"))[0])
    rest = any(_REST.search(line) for line in header[2:8])
    return [_of_table(path, table_below(text, heading), states, rest=rest)]


def _gamry(path: Path) -> list[Trace]:
    text = read_text(path, ReadOptions())
    starts = [n for n, line in enumerate(text.lines, start=1) if _CURVE.match(line)]
    if not starts:
        raise text.error(
            len(text.lines),
            "a Gamry file without a table CURVE or OCVCURVE, which voltage and current over time stand in.",
        )
    area = next((m[1] for line in text.lines if (m := re.match(r"AREA\tQUANT\t(\S+)", line))), None)
    states: dict[str, object] = {}
    value, _ = stated("area", area, "cm^2")
    if value:
        states["area"] = value
    found = []
    for number, start in enumerate(starts):
        cells = text.lines[start + 1].split("\t") if start + 1 < len(text.lines) else []
        has_units = not any(is_number(cell.strip()) for cell in cells)
        names = [cell.strip() for cell in text.lines[start].rstrip().split("\t")]
        units = [cell.strip() for cell in cells] if has_units else []
        headings = [_gamry_heading(name, units[i] if i < len(units) else "") for i, name in enumerate(names)]
        stop = next(
            (n for n in range(start + 2, len(text.lines) + 1) if re.match(r"[A-Z]", text.lines[n - 1])),
            len(text.lines) + 1,
        )
        table = table_below(text, start + 1, headings=headings, stop=stop, skip=int(has_units))
        own = states | ({"sequence": number} if len(starts) > 1 else {})
        found.append(_of_table(path, table, own, rest=text.lines[start - 1].startswith("OCV")))
    return found


def _gamry_heading(name: str, unit: str) -> str:
    unit = unit.partition(" vs")[0].strip()
    return f"{_GAMRY_NAMES[name]}/{unit}" if name in _GAMRY_NAMES and unit else _GAMRY_NAMES.get(name, "_")


def _plain(path: Path) -> list[Trace]:
    frame = read_profile(path)
    if not {"time", "voltage"} <= set(frame.columns):
        raise format_error(
            path,
            1,
            "columns of time and voltage were expected; got "
            f"{', '.join(map(repr, frame.columns))}. Name them as 'time/s', 'voltage/V' and 'current/A'.",
        )
    columns = {name: frame[name].to_numpy(dtype=float) for name in ("time", "voltage")}
    current = frame["current"].to_numpy(dtype=float) if "current" in frame.columns else np.full(len(frame), np.nan)
    rest = frame.drop(columns=["time", "voltage", "current"], errors="ignore")
    states = {str(name): rest[name].iloc[0] for name in rest.columns if rest[name].nunique(dropna=False) == 1}
    return [_trace(path, columns | {"current": current}, states)]


def _of_table(path: Path, table: HeadedTable, states: Mapping[str, object], rest: bool) -> Trace:
    """Return the trace in a table with headings."""
    at: dict[str, tuple[int, Meaning]] = {}
    for index, heading in enumerate(table.headings):
        name = re.sub(r"^<?Ecell>?(?=/)", "Ewe", heading.strip())
        meaning = meaning_of(name)
        if isinstance(meaning, Meaning) and (meaning.quantity not in at or meaning.rank < at[meaning.quantity][1].rank):
            at[meaning.quantity] = (index, meaning)
    lost = [name for name in ("time", "voltage") if name not in at]
    if lost:
        raise format_error(
            path,
            None,
            f"no column of {' and of '.join(lost)} under the headings {', '.join(map(repr, table.headings))}. Export "
            "the file with it.",
        )
    columns: dict[str, Any] = {}
    for quantity in ("time", "voltage", "current", "temperature", "frequency"):
        if quantity in at:
            index, meaning = at[quantity]
            columns[quantity] = meaning.factor * side_column(table, index, _MISSING)[0] + meaning.offset
    columns.setdefault("current", np.full(columns["time"].size, 0.0 if rest else np.nan))
    known = dict(states)
    if "temperature" in columns and np.isfinite(columns["temperature"]).any():
        mean = float(np.nanmean(columns["temperature"]))
        known |= {"temperature": mean} if -270 < mean < 1372 else {}
    return _trace(path, columns, known)


def _trace(path: Path, columns: Mapping[str, Any], states: Mapping[str, object]) -> Trace:
    keep = np.isfinite(columns["time"]) & np.isfinite(columns["voltage"])
    if "frequency" in columns:
        keep &= ~(columns["frequency"] > 0)
    if keep.sum() < 2:
        raise format_error(path, None, f"{count_of(keep.sum(), 'point')} of time and voltage; expected two or more.")
    try:
        time, voltage, current = (columns[name][keep] for name in ("time", "voltage", "current"))
        return Trace(time, voltage, current, {"source": path.name, **states})
    except InputError as error:
        raise format_error(path, None, f"{error} Was the file cut, or are two measurements in it?") from error


def _has_only_voltage(headings: Iterable[str]) -> bool:
    """Whether nothing but a rest can have been measured: neither current nor charge."""
    return not any(re.match(r"<?I>?/|control|\(Q-Qo\)|dQ", heading) for heading in headings)
