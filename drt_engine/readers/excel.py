"""Excel workbooks, .xlsx, through openpyxl."""

import importlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import FileFormatError
from drt_engine.readers.base import NoMeasurementError, ReadOptions, Recording, format_error
from drt_engine.readers.columns import without_unit
from drt_engine.readers.named import (
    chosen_columns,
    columns_of,
    flipped,
    holds_impedance,
    parse_columns,
    with_units,
)
from drt_engine.readers.rows import rows_of
from drt_engine.readers.side_by_side import apart, put_together, state_in
from drt_engine.readers.states import TABLE_STATES, State, untaken_above
from drt_engine.readers.sweeps import recording
from drt_engine.readers.text import is_number, without_empty_end
from drt_engine.readers.unnamed import inferred

__all__ = ["READER"]

MAX_UNPACKED = 512 * 2**20
"""Largest workbook that is read, bytes once unpacked."""

MAX_ROWS, MAX_CELLS = 2**20, 2**24
"""Most rows of a sheet, which is what Excel can have, and most cells of a workbook that are kept."""

_SMALL, _MOST_PACKED = 2**21, 50
"""What is larger once unpacked, bytes, is packed no better than so many times: Excel gains a factor of 5 to 20."""

_OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_PREAMBLE = 200
"""Rows among which the headings are looked for."""


def _as_text(cell: object) -> str:
    return "" if cell is None else str(cell).strip()


@dataclass(frozen=True)
class Sheet:
    """The cells of one sheet below its headings.

    Parameters
    ----------
    source : str
        File and sheet.
    headings : tuple of str
        One for each column.
    rows : tuple of tuple
        Cells as Excel holds them: numbers, text or None.
    lines : ndarray of int, shape (N,)
        Number of each row in the sheet.
    """

    source: str
    headings: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    lines: NDArray[np.int64]

    unit = "row"
    """What `lines` counts."""

    def numbers(self, indices: Sequence[int], missing: frozenset[str] = frozenset()) -> NDArray[np.float64]:
        """Return columns as numbers, shape (N, len(indices)); text that is a number is one."""
        return np.array([[self._number(row, index, missing) for index in indices] for row in range(len(self.rows))])

    def cells(self, row: int) -> list[str]:
        """Return the cells of a row as text."""
        return [_as_text(cell) for cell in self.rows[row]]

    def resolution(self, row: int, index: int) -> float:
        """Return half a unit in the eighth digit, as instruments print no more and Excel hides how many there were."""
        return 0.5e-8 * abs(self._number(row, index, frozenset()))

    def _number(self, row: int, index: int, missing: frozenset[str]) -> float:
        cell = self.rows[row][index] if index < len(self.rows[row]) else None
        text = _as_text(cell)
        if isinstance(cell, (int, float)) and not isinstance(cell, bool):
            return float(cell)
        if isinstance(cell, str) and is_number(text):
            return float(text.replace(",", "."))
        if text in missing:
            return float("nan")
        raise format_error(
            self.source,
            f"row {self.lines[row]}",
            f"column {index + 1} ({self.headings[index]}) has {text!r}, where a number was expected. Correct the cell, "
            "or delete the row.",
        )


@dataclass(frozen=True)
class Excel:
    """Reader of workbooks: every sheet that has headings of an impedance, or the one that is named."""

    name: str = "excel"
    title: str = "Excel workbook (.xlsx), with openpyxl"
    suffixes: tuple[str, ...] = (".xlsx", ".xlsm")
    states: tuple[State, ...] = (*TABLE_STATES, State("sheet", "the name of the sheet", ""))

    def scan(self, head: bytes, path: Path) -> bool:
        """Say whether the file is a workbook, of the old kind too."""
        if head.startswith(_OLD):
            return path.suffix.lower() == ".xls"
        return head.startswith(b"PK\x03\x04") and (b"xl/" in head or b"[Content_Types].xml" in head)

    def read(self, path: Path, options: ReadOptions) -> Recording:
        """Read every sweep of every sheet that holds impedances.

        Raises
        ------
        FileFormatError
            If openpyxl is not installed, for an old workbook (.xls), a damaged one, and one without impedances.
        """
        book = _sheets(path)
        wanted = {name: rows for name, rows in book.items() if options.sheet in (None, name)}
        if not wanted:
            names = ", ".join(map(repr, book))
            if not names:
                raise format_error(path, None, "the workbook has no sheet that can be read. Save it again.")
            raise format_error(path, None, f"there is no sheet {options.sheet!r}. The sheets are {names}.")
        recordings = []
        for name, rows in wanted.items():
            sheet = _table(f"{path} [{name}]", rows, options)
            if sheet is not None:
                above = rows[sheet[1] - 2] if sheet[1] is not None and sheet[1] > 1 else ()
                done = _read_sheet(*sheet, options, above)
                top = ("\t".join(map(_as_text, row)) for row in rows[: (sheet[1] or int(sheet[0].lines[0])) - 1])
                more = untaken_above(top, {state for sweep in done.sweeps for state in sweep.state})
                recordings.append((name, replace(done, remarks=(*done.remarks, *more))))
        if not recordings:
            fault = format_error(
                path,
                f"sheets {', '.join(map(repr, wanted))}",
                "no headings of a frequency and an impedance, as 'freq/Hz', 'Re(Z)/Ohm', '-Im(Z)/Ohm'. Add a row of "
                "headings, or name the columns with columns='frequency,re,im'.",
            )
            raise fault if options.columns else NoMeasurementError(str(fault))
        return Recording(
            path.name,
            self.name,
            tuple(
                # What the name of the sheet says gives way to a column of the sheet.
                replace(sweep, state={**given, **sweep.state, "sheet": name})
                for (name, one), given in zip(recordings, _said_by_names(recordings), strict=True)
                for sweep in one.sweeps
            ),
            tuple(f"sheet {name!r}: {remark}" for name, one in recordings for remark in one.remarks),
            {
                "sheets": tuple(name for name, _ in recordings),
                **({"per_area": True} if any("per_area" in one.metadata for _, one in recordings) else {}),
            },
            tells_end=True,
        )


def _said_by_names(recordings: list[tuple[str, Recording]]) -> list[dict[str, object]]:
    """Return the voltage or temperature that the names of all sheets are, if they are one with its unit."""
    state, values = state_in([name for name, _ in recordings])
    return [{} if state == "label" else {state: value} for value in values]


def _read_sheet(sheet: Sheet, heading: int | None, options: ReadOptions, above: tuple[object, ...] = ()) -> Recording:
    def error(message: str) -> FileFormatError:
        return format_error(sheet.source, f"row {heading if heading is not None else sheet.lines[0]}", message)

    remarks = []
    cells = [_as_text(cell) for cell in above]
    if heading is not None and not options.columns and (beside := apart(sheet, cells)):
        found = []
        for part in beside:
            named = columns_of(part, error)
            named = flipped(named) if options.flip_im else named
            found.append(recording(rows_of(part, named, heading_line=heading, padded=True), "excel"))
        return put_together(beside, found)
    if heading is not None:
        columns = columns_of(sheet, error, columns=options.columns)
        remarks += without_unit(columns)
    elif options.columns:
        columns = chosen_columns(parse_columns(options.columns), sheet.headings, False, error)
    else:
        guess = inferred(sheet)
        if isinstance(guess, str):
            raise error(
                f"rows of numbers without headings that say which is which, and {guess}. Add a row of headings, or "
                "name the columns, for example with columns='frequency,re,im'."
            )
        columns, remark = guess
        remarks.append(remark)
    columns = flipped(columns) if options.flip_im else columns
    return recording(rows_of(sheet, columns, heading_line=heading), "excel", remarks=remarks)


def _sheets(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return the rows of every sheet."""
    try:
        openpyxl: Any = importlib.import_module("openpyxl")
    except ImportError as error:
        raise format_error(
            path, None, 'workbooks are read with openpyxl, which is not installed: pip install "openpyxl>=3.1.5".'
        ) from error
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            most = min(MAX_UNPACKED, max(_SMALL, _MOST_PACKED * path.stat().st_size))
            if size > most:
                raise format_error(
                    path,
                    None,
                    f"{size / 2**20:.0f} MiB once unpacked; of this file {most // 2**20} are read. Split it.",
                )
            damaged = archive.testzip()
            if damaged is not None:
                raise format_error(path, damaged, "its checksum does not fit: the workbook is damaged. Save it again.")
        book = openpyxl.load_workbook(io.BytesIO(path.read_bytes()), read_only=True, data_only=True)
        try:
            return _rows_of(path, book.worksheets)
        finally:
            book.close()
    except FileFormatError:
        raise
    except Exception as error:  # whatever a damaged archive provokes
        cure = "Save an old workbook (.xls) as .xlsx." if path.suffix.lower() == ".xls" else "Save it again."
        raise format_error(
            path, "byte 0", f"no workbook that openpyxl can read ({_one_line(error)}). {cure}"
        ) from error


def _rows_of(path: Path, worksheets: Sequence[Any]) -> dict[str, list[tuple[object, ...]]]:
    found, cells = dict[str, list[tuple[object, ...]]](), 0
    for sheet in worksheets:
        # What the file says of its size need not be so: rows would be lost, or waited for.
        sheet.reset_dimensions()
        rows = found[sheet.title] = []
        for row in sheet.iter_rows(values_only=True):
            cells += len(row)
            if len(rows) == MAX_ROWS or cells > MAX_CELLS:
                raise format_error(
                    path,
                    f"sheet {sheet.title!r}",
                    f"more than {MAX_ROWS} rows, or {MAX_CELLS} cells in all. Delete what is empty, or split it.",
                )
            rows.append(tuple(row))
    return found


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _table(source: str, rows: list[tuple[object, ...]], options: ReadOptions) -> tuple[Sheet, int | None] | None:
    """Return the table of a sheet and the row of its headings, or None if it holds no impedance."""
    text = [tuple(_as_text(cell) for cell in row) for row in rows[:_PREAMBLE]]
    heading = next((n for n, cells in enumerate(text, start=1) if holds_impedance(cells)), None)
    if heading is None:
        return _named_table(source, rows, text, options)
    headings = tuple(without_empty_end(text[heading - 1]))
    first = heading
    if heading < len(text):
        units = with_units(headings, text[heading][: len(headings)])
        headings, first = (units, heading + 1) if units else (headings, heading)
    return _sheet(source, headings, rows, first), heading


def _named_table(
    source: str, rows: list[tuple[object, ...]], text: list[tuple[str, ...]], options: ReadOptions
) -> tuple[Sheet, int | None] | None:
    """Return a table whose columns have no names that are known: all rows from the first one of three numbers."""
    first = next((n for n, cells in enumerate(text) if sum(is_number(cell) for cell in cells) >= 3), None)
    if first is None:
        return None
    width = len(without_empty_end(text[first]))
    above = tuple(without_empty_end(text[first - 1])) if first else ()
    if len(above) == width and not any(is_number(cell) for cell in above):
        return (_sheet(source, above, rows, first), first) if options.columns else None
    if not options.columns and width not in (3, 5):
        return None
    return _sheet(source, tuple(f"column {i + 1}" for i in range(width)), rows, first), None


def _sheet(source: str, headings: tuple[str, ...], rows: list[tuple[object, ...]], first: int) -> Sheet:
    kept = [
        (n, row)
        for n, row in enumerate(rows[first:], start=first + 1)
        if any(str(cell).strip() for cell in row if cell is not None)
    ]
    if not kept:
        raise format_error(source, f"row {first}", "no rows below the headings: the sheet holds no data.")
    return Sheet(source, headings, tuple(row for _, row in kept), np.array([n for n, _ in kept], dtype=np.int64))


READER = Excel()
