"""Plain tables: csv and text with columns that headings or the user name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from drt_engine.readers.base import NoMeasurementError, ReadOptions, Recording
from drt_engine.readers.columns import NEEDED, find_columns, without_unit
from drt_engine.readers.header import join_rows
from drt_engine.readers.headings import Meaning, meaning_of
from drt_engine.readers.listed import has_lists, read_lists
from drt_engine.readers.named import (
    Named,
    chosen_columns,
    columns_of,
    flipped,
    holds_impedance,
    parse_columns,
    with_units,
)
from drt_engine.readers.rows import Rows, rows_of
from drt_engine.readers.side_by_side import Part, apart, put_together
from drt_engine.readers.states import TABLE_STATES, State, untaken_above
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
    without_empty_end,
)
from drt_engine.readers.unnamed import inferred
from drt_engine.text import count_of, is_row_of_numbers

__all__ = ["READER"]

_PREAMBLE = 500
"""Lines among which headings are looked for; beyond it, only headings that were there before are found again."""
_WORDS = re.compile(r"[^\W\deE_]|[|'\"]")
_COMMENT = re.compile(r"\A\s*(?:#+|%+|//+)\s*")
_CHANNEL = re.compile(r"\s*(?:CH|Channel)[ .#:]{0,3}(\d{1,6})\b", re.IGNORECASE)
_DIGIT = re.compile(r"\d")
_BETWEEN = re.compile(r"[\t;, ]+")
_DELIMITERS: tuple[Delimiter, ...] = ("\t", ";", ",", " ")


@dataclass(frozen=True)
class PlainTable:
    """Reader of csv and text tables."""

    name: str = "table"
    title: str = "Plain table: csv or text, with headings or with columns named by the user"
    suffixes: tuple[str, ...] = (".csv", ".txt", ".dat", ".tsv")
    states: tuple[State, ...] = TABLE_STATES

    def scan(self, head: bytes, path: Path) -> bool:  # noqa: ARG002 (the content says all)
        """Say whether the file has headings of an impedance, or rows of numbers."""
        lines = head_text(head).splitlines()[: _PREAMBLE + 3]
        return has_lists(lines) or bool(_blocks(lines)) or _first_row(_without_comments(lines, set())) is not None

    def read(self, path: Path, options: ReadOptions) -> Recording:
        """Read every sweep.

        Raises
        ------
        FileFormatError
            For a table without headings that the user names no columns of, for headings that contradict what the user
            says, and for damaged rows.
        """
        text = read_text(path, options)
        if has_lists(text.lines):
            return read_lists(text, options, self.name)
        blocks = _blocks(text.lines)
        said = text.lines
        text = replace(text, lines=_without_comments(said, {block.heading for block in blocks}))
        named = parse_columns(options.columns) if options.columns else None
        if not blocks:
            rows, remarks = _read_headless(text, named, options)
            more = untaken_above(said[: int(rows.lines[0]) - 1], rows.states)
            return recording(rows, self.name, remarks=[*remarks, *more])
        parts, remarks = [], list[str]()
        for block in blocks:
            table = _headed(text, block, options)
            beside = [] if named or len(blocks) > 1 else apart(table, _above(text, block, table))
            if beside:
                done = put_together(beside, [self._part(one, text, block) for one in beside])
                return replace(done, remarks=(*done.remarks, *untaken_above(_other_lines(said, blocks), ())))
            columns = columns_of(table, partial(text.error, block.heading))
            part = rows_of(table, columns, heading_line=block.heading)
            remarks += without_unit(columns)
            if block.channel is not None:
                part = replace(part, states={**part.states, "channel": np.full(part.frequency.size, block.channel)})
            parts.append(part)
        if len(parts) > 1:
            lines = ", ".join(str(block.heading) for block in blocks[:5]) + ", ..." * (len(blocks) > 5)
            remarks.append(f"{len(parts)} tables, each below its own headings (lines {lines})")
        rows = join_rows(parts)
        remarks += untaken_above(_other_lines(said, blocks), rows.states)
        return recording(rows, self.name, remarks=[*dict.fromkeys(remarks), *_unended(text)])

    def _part(self, part: Part, text: TextFile, block: "_Block") -> Recording:
        columns = columns_of(part, partial(text.error, block.heading))
        rows = rows_of(part, columns, heading_line=block.heading, padded=True)
        return recording(rows, self.name, remarks=[*without_unit(columns), *_unended(text)])


@dataclass(frozen=True)
class _Block:
    """One table: the line of its headings, the first line that is no row of it any more, and its channel."""

    heading: int
    stop: int | None = None
    channel: float | None = None


def _above(text: TextFile, block: _Block, table: TextTable) -> list[str]:
    """Return the cells of the line above the headings."""
    return split_cells(text.lines[block.heading - 2], table.delimiter) if block.heading > 1 else []


def _other_lines(lines: Sequence[str], blocks: Sequence[_Block]) -> list[str]:
    """Return the lines above the tables of a file that are neither headings nor rows."""
    headings = {block.heading for block in blocks}
    above = enumerate(lines[: max(headings) - 1], start=1)
    return [line for n, line in above if line.strip() and n not in headings and not _is_row(line)]


def _without_comments(lines: Sequence[str], headings: set[int]) -> tuple[str, ...]:
    """Return the lines with comments emptied, and the mark of a comment taken from headings."""
    return tuple(
        _COMMENT.sub("", line, count=1) if n in headings else "" if _COMMENT.match(line) else line
        for n, line in enumerate(lines, start=1)
    )


def _unended(text: TextFile) -> list[str]:
    return [] if text.ended else ["the last line has no end: if the file was cut, its last number may be cut too"]


def _read_headless(text: TextFile, named: list[Named] | None, options: ReadOptions) -> tuple[Rows, list[str]]:
    """Read a file without headings that are known, by what the user says or by what its values can only be."""
    first = _first_row(text.lines)
    if first is None:
        raise text.error(
            1, "no headings of frequency and impedance, and no rows of three numbers: this is not a spectrum."
        )
    table, line = _headless(text, first, options)
    remarks = []
    above = [n for n, one in enumerate(text.lines[: int(table.lines[0]) - 1], start=1) if one.strip()]
    if line is None and above:
        remarks.append(
            f"{count_of(len(above), 'line')} above the first row of numbers left out (first at line {above[0]})"
        )
    if named is None and line is not None and any(isinstance(meaning_of(h), str) for h in table.headings):
        find_columns(table.headings, partial(text.error, line))  # which says what to do about units
    if named is None:
        if line is not None:
            _refuse_no_measurement(text, line, table.headings)
        found = _not_known(table.headings) if line is not None else inferred(table)
        if isinstance(found, str):
            raise _unnamed(text, first, len(table.headings), found)
        columns, remark = found
        remarks.append(remark)
    else:
        at = int(table.lines[0]) if line is None else line
        columns = chosen_columns(named, table.headings, line is not None, partial(text.error, at))
    columns = flipped(columns) if options.flip_im else columns
    return rows_of(table, columns, heading_line=line), [*remarks, *_unended(text)]


def _not_known(headings: Sequence[str]) -> str:
    return (
        f"the headings above, {', '.join(map(repr, headings))}, are not known as those of a frequency and an impedance"
    )


def _refuse_no_measurement(text: TextFile, line: int, headings: Sequence[str]) -> None:
    """Refuse a table with headings that are known, none of an impedance: a voltage profile, a list of states."""
    known = [meaning for meaning in map(meaning_of, headings) if isinstance(meaning, Meaning)]
    quantities = {meaning.quantity for meaning in known}
    if quantities & {"voltage", "cycle", "time", "charge", "specific_capacity"} and not quantities & {*NEEDED}:
        message = f"no impedance under the headings {', '.join(map(repr, headings))}"
        raise NoMeasurementError(str(text.error(line, message)))


def _headed(text: TextFile, block: _Block, options: ReadOptions) -> TextTable:
    """Return the table below a line of headings, with the row of units taken into the headings if there is one."""
    heading, stop = block.heading, block.stop
    table = table_below(text, heading, stop=stop, options=options)
    below = split_cells(text.lines[int(table.lines[0]) - 1], table.delimiter)
    units = with_units(table.headings, below[: len(table.headings)])
    if units is None:
        return table
    skip = int(table.lines[0]) - heading
    return table_below(text, heading, headings=units, stop=stop, skip=skip, options=options)


def _headless(text: TextFile, first: int, options: ReadOptions) -> tuple[TextTable, int | None]:
    """Return the table of a file without headings that are known, and the line of unknown ones if there is one."""
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


def _blocks(lines: Sequence[str]) -> list[_Block]:
    """Return the tables of a file that have headings of a frequency and an impedance.

    Of several candidates above the same rows the last that has a cell for each column counts; a comment only if it has.
    """
    blocks, group, channel, asked = list[_Block](), list[int](), None, 0
    last_row = first = 0
    known: set[str] = set()
    for n, line in enumerate(lines, start=1):
        comment = bool(_COMMENT.match(line))
        if not comment and _is_row(line):
            last_row = n
            if group:
                heading = _chosen(lines, group, n)
                if heading is not None:
                    if blocks:
                        blocks[-1] = replace(blocks[-1], stop=first + 1)
                    blocks.append(_Block(heading, None, channel))
                    known.add(lines[heading - 1].strip())
                group, channel = [], None
            first = last_row
        elif line.strip():
            match = _CHANNEL.match(line)
            channel = float(match[1]) if match else channel
            asked += 1
            if line.strip() in known or (asked <= _PREAMBLE and _names_impedance(_COMMENT.sub("", line, count=1))):
                group.append(n)
    if group and not blocks:
        plain = [n for n in group if not _COMMENT.match(lines[n - 1])]
        blocks = [_Block(plain[-1])] if plain else []
    return blocks


def _chosen(lines: Sequence[str], group: Sequence[int], row: int) -> int | None:
    """Return which of several lines that look like headings are those of the rows that begin below them."""
    below = [line for line in lines[row - 1 : row + 49] if _is_row(line)]
    delimiter = find_delimiter(below)
    width = len(without_empty_end(split_cells(lines[row - 1].strip(), delimiter)))
    plain = [n for n in group if not _COMMENT.match(lines[n - 1])]
    for n in [*reversed(plain), *(n for n in reversed(group) if n not in plain)]:
        heading = _COMMENT.sub("", lines[n - 1], count=1).strip()
        cells = [split_cells(heading, one) for one in (delimiter, *_DELIMITERS)]
        if any(len(without_empty_end(some)) == width for some in (*cells, re.split(r"\t|\s{2,}", heading))):
            return n
    return plain[-1] if plain else None


def _is_row(line: str) -> bool:
    """Say whether most of a line are numbers, two of them at least."""
    if not _DIGIT.search(line) or len(line) > 10_000:
        return False
    if is_row_of_numbers(line):
        return True
    cells = [cell for cell in _BETWEEN.split(line) if cell]
    numbers = sum(map(is_number, cells))
    return numbers >= 2 and 2 * numbers >= len(cells)


def _names_impedance(line: str) -> bool:
    """Say whether a line names a frequency and an impedance."""
    if len(line) > 10_000 or not _WORDS.search(line):
        return False
    return any(holds_impedance(split_cells(line, delimiter)) for delimiter in _DELIMITERS)


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


def _unnamed(text: TextFile, first: int, width: int, why: str) -> Exception:
    example = "frequency,re,im" if width == 3 else "time,cycle,frequency,re,-im"
    return text.error(
        first,
        f"rows of numbers begin here without headings that say which is which, and {why}. Name the columns, for "
        f"example with columns='{example}'; _ stands for one to be ignored, -im for one that holds -Im Z.",
    )


READER = PlainTable()
