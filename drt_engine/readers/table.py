"""Plain tables: csv and text with columns that headings or the user name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drt_engine.readers.base import ReadOptions, Recording
from drt_engine.readers.columns import find_columns, rows_of
from drt_engine.readers.named import chosen_columns, holds_impedance, parse_columns, with_units
from drt_engine.readers.states import TABLE_STATES, State
from drt_engine.readers.sweeps import recording
from drt_engine.readers.text import (
    Delimiter,
    TextFile,
    TextTable,
    find_delimiter,
    head_text,
    is_number,
    read_text,
    split_cells,
    table_below,
)

__all__ = ["READER"]

_PREAMBLE = 500
_WORDS = re.compile(r"[^\W\deE_]|[|'\"]")
_DELIMITERS: tuple[Delimiter, ...] = ("\t", ";", ",", " ")


@dataclass(frozen=True)
class Table:
    """Reader of csv and text tables."""

    name: str = "table"
    title: str = "Plain table: csv or text, with headings or with columns named by the user"
    suffixes: tuple[str, ...] = (".csv", ".txt", ".dat", ".tsv")
    states: tuple[State, ...] = TABLE_STATES

    def scan(self, head: bytes, path: Path) -> bool:  # noqa: ARG002 (the content says all)
        """Say whether the file has headings of an impedance, or rows of numbers."""
        lines = head_text(head).splitlines()[: _PREAMBLE + 3]
        return _heading(lines) is not None or _first_row(lines) is not None

    def read(self, path: Path, options: ReadOptions) -> Recording:
        """Read every sweep.

        Raises
        ------
        FileFormatError
            For a table without headings that the user names no columns of, for headings that contradict what the user
            says, and for damaged rows.
        """
        text = read_text(path, options)
        heading = _heading(text.lines)
        named = parse_columns(options.columns) if options.columns else None
        if heading is None and named is None:
            raise _unnamed(text)
        line = heading
        if heading is not None:
            table = _headed(text, heading, options)
        else:
            table, line = _headless(text, options)
        if named is None:
            columns = find_columns(table.headings, lambda message: text.error(line, message))
        else:
            above = int(table.lines[0]) if line is None else line
            columns = chosen_columns(
                named, table.headings, line is not None, lambda message: text.error(above, message)
            )
        return recording(rows_of(table, columns, heading_line=line), self.name, remarks=_remarks(table, line))


def _remarks(table: TextTable, heading: int | None) -> list[str]:
    """Return what the user should know of a file that says nothing of itself."""
    remarks = []
    above = [n for n, line in enumerate(table.text.lines[: int(table.lines[0]) - 1], start=1) if line.strip()]
    if heading is None and above:
        remarks.append(f"{len(above)} lines above the first row of numbers left out (first at line {above[0]})")
    if not table.text.ended:
        remarks.append("the last line has no end: if the file was cut, its last number may be cut too")
    return remarks


def _headed(text: TextFile, heading: int, options: ReadOptions) -> TextTable:
    """Return the table below a line of headings, with the row of units taken into the headings if there is one."""
    table = table_below(text, heading, options=options)
    below = split_cells(text.lines[int(table.lines[0]) - 1], table.delimiter)
    units = with_units(table.headings, below[: len(table.headings)])
    if units is None:
        return table
    return table_below(text, heading, headings=units, skip=int(table.lines[0]) - heading, options=options)


def _headless(text: TextFile, options: ReadOptions) -> tuple[TextTable, int | None]:
    """Return the table of a file without headings that are known, and the line of unknown ones if there is one."""
    first = _first_row(text.lines)
    if first is None:
        raise _unnamed(text)
    above = next((n for n in range(first - 1, 0, -1) if text.lines[n - 1].strip()), None)
    table = table_below(text, first - 1, headings=["?"], options=options)
    width = len(split_cells(text.lines[first - 1].strip(), table.delimiter))
    while width > 1 and not split_cells(text.lines[first - 1].strip(), table.delimiter)[width - 1]:
        width -= 1
    if above is not None:
        odd = split_cells(text.lines[above - 1].strip(), table.delimiter)
        if len(odd) == width and not any(is_number(cell) for cell in odd):
            return table_below(text, above, headings=odd, options=options), above
    return table_below(text, first - 1, headings=[f"column {i + 1}" for i in range(width)], options=options), None


def _heading(lines: Sequence[str]) -> int | None:
    """Return the number of the first line that names a frequency and an impedance."""
    for number, line in enumerate(lines[:_PREAMBLE], start=1):
        if _WORDS.search(line) and any(
            holds_impedance(split_cells(line, delimiter)) for delimiter in _DELIMITERS if len(line) < 10_000
        ):
            return number
    return None


def _first_row(lines: Sequence[str]) -> int | None:
    """Return the number of the line where rows of at least three numbers begin, two of them or as many as there are."""
    some = list(lines[: _PREAMBLE + 3])
    delimiter = find_delimiter(reversed(some))
    filled = [(number, line) for number, line in enumerate(some, start=1) if line.strip()]
    for (number, line), (_, below) in zip(filled, [*filled[1:], *filled[-1:]], strict=True):
        if _numeric(line, delimiter) and _numeric(below, delimiter):
            return number
    return None


def _numeric(line: str, delimiter: Delimiter) -> bool:
    cells = [cell for cell in split_cells(line, delimiter) if cell] if len(line) < 10_000 else []
    return len(cells) >= 3 and all(is_number(cell) for cell in cells[:3])


def _unnamed(text: TextFile) -> Exception:
    first = _first_row(text.lines)
    if first is None:
        return text.error(
            1, "no headings of frequency and impedance, and no rows of three numbers: this is no table of a spectrum."
        )
    width = len([cell for cell in text.lines[first - 1].replace(",", " ").replace(";", " ").split() if cell])
    example = "frequency,re,im" if width == 3 else "time,cycle,frequency,re,-im"
    return text.error(
        first,
        f"rows of numbers begin here without headings that say which is which. Name the columns, for example with "
        f"columns='{example}'; _ stands for one to be ignored, -im for one that holds -Im Z.",
    )


READER = Table()
