"""The measured points of a table with headings, checked: frequencies, impedances and states."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import FileFormatError
from drt_engine.readers.base import format_error
from drt_engine.readers.columns import (
    NEEDED,
    VOID,
    HeadedTable,
    TableColumn,
    by_number,
    exported,
    find_columns,
    first_place,
    numbered,
    scaled,
    side_column,
    spectrum_of,
)
from drt_engine.readers.modulus_phase import contradictions, impedance_of, with_unit_of_phase
from drt_engine.readers.states import maybe_kelvin, untaken
from drt_engine.text import count_of

__all__ = ["Rows", "rows_of"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Measured points in the order of the file.

    Parameters
    ----------
    source : Path or str
        The file.
    frequency : ndarray, shape (N,)
        Hz, positive.
    impedance : ndarray of complex, shape (N,)
        Ohm; capacitive means a negative imaginary part.
    states : mapping of str to ndarray, shape (N,)
        ``time`` (s), ``cycle``, ``z_cycle``, ``sequence``, ``voltage`` (V), ``current`` (A), ``charge`` (C),
        ``temperature`` (°C), as far as the table has them; NaN where a cell is missing.
    lines : ndarray of int, shape (N,)
        Where each point stands in the file.
    unit : str
        What `lines` counts.
    remarks : tuple of str
        What was dropped.
    per_area : bool
        Whether the impedance is in ohm cm², as that of an electrode of 1 cm².
    """

    source: Path | str
    frequency: Floats
    impedance: NDArray[np.complex128]
    states: Mapping[str, Floats]
    lines: NDArray[np.int64]
    unit: str = "line"
    remarks: tuple[str, ...] = ()
    per_area: bool = False

    def error(self, row: int, message: str) -> FileFormatError:
        """Return an error that names the file and the place of a point."""
        return format_error(self.source, f"{self.unit} {self.lines[row]}", message)


def rows_of(
    table: HeadedTable,
    columns: Mapping[str, TableColumn] | None = None,
    *,
    missing: frozenset[str] = frozenset(),
    heading_line: int | None = None,
    padded: bool = False,
) -> Rows:
    """Return the measured points of a table.

    Points at f = 0 are DC and are dropped, as are points without a frequency or impedance where cells are missing; the
    remarks say so. |Z| and phase, if they stand beside Re and Im, must agree with them.

    Parameters
    ----------
    table : HeadedTable
        Where they stand.
    columns : mapping of str to TableColumn, optional
        From `find_columns`, which is called if not given.
    missing : frozenset of str, optional
        Cells that the format knows as missing.
    heading_line : int, optional
        Line of the headings, for errors.
    padded : bool, optional
        Whether empty rows are no more than the length of the other spectra beside, and say nothing.

    Raises
    ------
    FileFormatError
        For missing columns, cells of a spectrum that are not numbers, negative frequencies, values that are not finite,
        |Z| and phase that contradict Re and Im, and an imaginary part that is positive throughout without a phase that
        says so.
    """
    if columns is None:
        columns = find_columns(table.headings, lambda text: format_error(table.source, heading_line, text))
    void = missing | VOID
    columns, notes = exported(table, columns, void)
    columns, more = with_unit_of_phase(table, columns, void, heading_line)
    needed = [columns[name] for name in spectrum_of(columns)]
    raw = table.numbers([column.index for column in needed], void)
    if "" not in missing:
        _refuse_empty_cells(table, needed, raw)
    values = {column.meaning.quantity: scaled(column, raw[:, j]) for j, column in enumerate(needed)}
    z = impedance_of(values)
    if padded and (empty := np.isnan(raw).all(axis=1)).any() and not empty.all():
        table, z = _SomeRows(table, np.flatnonzero(~empty)), z[~empty]
        values = {name: cells[~empty] for name, cells in values.items()}
    keep, remarks = _points_of_spectrum(table, needed, values["frequency"], z)
    notes += [*more, *remarks]
    states, more = _states_of_points(table, {n: one for n, one in columns.items() if n not in values}, columns, missing)
    values |= states
    notes += [*more, *untaken(table.headings, {column.index for column in columns.values()})]
    notes += contradictions(table, columns, values, keep)
    area: dict[str, Floats] = {}
    if per_area := _is_per_area(table, needed, heading_line):
        area = {"area": np.ones(keep.size)}
        notes.append("the impedance is in ohm cm2 and was read as that of an electrode of 1 cm2")
    rows = Rows(
        table.source,
        values["frequency"][keep],
        z[keep],
        {name: values[name][keep] for name in values if name not in NEEDED} | area,
        table.lines[keep],
        table.unit,
        tuple(notes),
        per_area,
    )
    _refuse_inductive_throughout(rows, columns)
    return rows


def _states_of_points(
    table: HeadedTable,
    beside: Mapping[str, TableColumn],
    columns: Mapping[str, TableColumn],
    missing: frozenset[str],
) -> tuple[dict[str, Floats], list[str]]:
    """Read the columns beside frequency and impedance; with remarks on what cannot be taken as it stands."""
    values: dict[str, Floats] = {}
    notes: list[str] = []
    for name, column in beside.items():
        cells, remark = side_column(table, column.index, missing)
        notes += remark
        taken = scaled(column, cells)
        if column.meaning.assumed and name == "temperature" and maybe_kelvin(taken):
            notes.append(_unit_of_temperature(columns, cells))
        else:
            values[name] = taken
    return values, notes


def _unit_of_temperature(columns: Mapping[str, TableColumn], cells: Floats) -> str:
    """Return what to say of a temperature that may be in K as well as in °C."""
    column = columns["temperature"]
    numbers = numbered({name: columns[name] for name in spectrum_of(columns)})
    return (
        f"temperature not taken: {column.heading!r} has no unit, and {cells[~np.isnan(cells)][0]:g} may be in K or in "
        f"°C. Say which, with columns='{numbers},temperature/K={column.index + 1}' or columns='{numbers},"
        f"temperature/°C={column.index + 1}'"
    )


@dataclass(frozen=True)
class _SomeRows:
    """Some rows of a table."""

    table: HeadedTable
    kept: NDArray[np.intp]

    @property
    def source(self) -> Path | str:
        return self.table.source

    @property
    def headings(self) -> tuple[str, ...]:
        return self.table.headings

    @property
    def lines(self) -> NDArray[np.int64]:
        return self.table.lines[self.kept]

    @property
    def unit(self) -> str:
        return self.table.unit

    def numbers(self, indices: Sequence[int], missing: frozenset[str] = frozenset()) -> Floats:
        return self.table.numbers(indices, missing)[self.kept]

    def cells(self, row: int) -> list[str]:
        return self.table.cells(int(self.kept[row]))

    def resolution(self, row: int, index: int) -> float:
        return self.table.resolution(int(self.kept[row]), index)


def _refuse_empty_cells(table: HeadedTable, needed: Sequence[TableColumn], raw: Floats) -> None:
    """Refuse a row in which some cells of the spectrum are empty and others are not; a row of empty cells may be."""
    void = np.isnan(raw)
    for row in np.flatnonzero(void.any(axis=1) & ~void.all(axis=1)):
        cells = table.cells(int(row))
        for column in needed:
            if column.index >= len(cells) or not cells[column.index].strip():
                raise format_error(
                    table.source,
                    f"{table.unit} {table.lines[row]}",
                    f"column {column.index + 1} ({column.heading}) has '', where a number was expected. Correct the "
                    "cell, write nan to leave the point out, or delete the row.",
                )


def _is_per_area(table: HeadedTable, needed: Sequence[TableColumn], heading_line: int | None) -> bool:
    """Say whether an impedance is in ohm cm²; refuse one of which the other part is stated in ohm."""
    parts = [column for column in needed if column.meaning.quantity in ("re", "im", "modulus")]
    if not any(column.per_area for column in parts):
        return False
    for column in parts:
        if not column.per_area and re.search(r"ohm|[\u2126\u03a9]", column.heading, re.IGNORECASE):
            other = next(one for one in parts if one.per_area)
            at = ",".join(
                f"{'-' * (one.meaning.factor < 0)}{one.meaning.quantity}/ohm.cm2={one.index + 1}" for one in parts
            ).replace("modulus", "|z|")
            raise format_error(
                table.source,
                heading_line,
                f"{other.heading!r} is in ohm cm2 and {column.heading!r} in ohm. Correct a heading, or say that both "
                f"are in ohm cm2, with columns='frequency={needed[0].index + 1},{at}'.",
            )
    return True


def _points_of_spectrum(
    table: HeadedTable, needed: Sequence[TableColumn], frequency: Floats, z: NDArray[np.complex128]
) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Return which rows are points of a spectrum, and remarks about the others."""
    remarks = []
    negative = np.flatnonzero(frequency < 0)
    if negative.size:
        row = negative[0]
        raise format_error(
            table.source,
            f"{table.unit} {table.lines[row]}",
            f"frequency must be positive; got {frequency[row]:g} Hz. The columns are exchanged or the row is damaged.",
        )
    void = np.isnan(frequency) | np.isnan(z)
    infinite = np.flatnonzero(~void & ~(np.isfinite(frequency) & np.isfinite(z)))
    if infinite.size:
        row = infinite[0]
        raise format_error(
            table.source,
            f"{table.unit} {table.lines[row]}",
            f"frequency and impedance must be finite; got {frequency[row]:g} Hz and {z[row]:g} ohm. "
            "The row is damaged: export the file again.",
        )
    if void.any():
        held = _quoted(table, needed, int(np.argmax(void)))
        count = count_of(int(void.sum()), "row")
        remarks.append(f"{count} without frequency or impedance left out ({first_place(table, void)}{held})")
    dc = ~void & (frequency == 0)
    if dc.any():
        remarks.append(f"{count_of(dc.sum(), 'DC row')} (f = 0) left out ({first_place(table, dc)})")
    keep = np.flatnonzero(~void & ~dc)
    if not keep.size:
        raise format_error(
            table.source,
            f"{table.unit} {table.lines[0]}",
            f"no point of a spectrum in {count_of(len(table.lines), 'row')}: {'; '.join(remarks)}. "
            "The measurement holds no impedance, or was aborted before it.",
        )
    return keep, tuple(remarks)


def _quoted(table: HeadedTable, needed: Sequence[TableColumn], row: int) -> str:
    """Quote what a row has where a frequency or an impedance was expected."""
    cells = table.cells(row)
    held = [cells[column.index].strip() for column in needed if column.index < len(cells)]
    odd = dict.fromkeys(cell[:40] for cell in held if not _is_value(cell))
    return f": {', '.join(map(repr, odd))}" if odd else ""


def _is_value(cell: str) -> bool:
    try:
        return bool(np.isfinite(float(cell.replace(",", "."))))
    except ValueError:
        return False


def _refuse_inductive_throughout(rows: Rows, columns: Mapping[str, TableColumn]) -> None:
    im = columns.get("im", columns.get("phase"))
    if im is not None and im.flipped and rows.frequency.size >= 3 and np.all(rows.impedance.imag > 0):
        raise rows.error(
            0,
            f"with flip_im=True {im.heading!r} is positive at all {rows.frequency.size} points, as of an inductor: the "
            "file has the right sign. Read it without.",
        )
    if im is None or im.stated or {"im", "phase"} <= {*columns} or im.meaning.factor < 0 or rows.frequency.size < 3:
        return
    if np.all(rows.impedance.imag > 0):
        polar = "im" not in columns
        as_it_is = numbered(columns) if polar else by_number(columns)
        turned_round = as_it_is.replace(",phase=", ",-phase=") if polar else by_number(columns, turn=True)
        raise rows.error(
            0,
            f"{im.heading!r} is positive at all {rows.frequency.size} points, as of an inductor; here capacitive "
            f"means a negative {'phase' if polar else 'imaginary part'}. If the column holds "
            f"{'-phase' if polar else '-Im'}, say so with flip_im=True or "
            f"columns='{turned_round}'; if it is an inductor, with columns='{as_it_is}'.",
        )
