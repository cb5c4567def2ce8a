"""States that measured files do not hold: from the names of files, and from a table beside them."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import pandas as pd

from drt_engine.errors import InputError
from drt_engine.readers.base import ReadOptions, format_error
from drt_engine.readers.text import read_text

__all__ = ["NamePattern", "SideTable", "as_numbers", "read_side_table"]

SOURCES = ("source", "file", "filename")
"""Headings of a table of states under which the file is named."""

TEXTS = frozenset({"source", "cell", "direction"})
"""States that stay text even where all are digits."""

_WHOLE = re.compile(r"[+-]?(?:0|[1-9]\d{0,17})")  # what 64 bits hold
_DECIMAL = re.compile(r"[+-]?(?:0|[1-9]\d*)?\.\d+")


class NamePattern:
    """States in the names of files, as ``"EIS_state_{state}_{cell}.txt"``.

    Parameters
    ----------
    pattern : str
        The name of a file with ``{column}`` where a state stands; ``{_}`` for a part that is none.

    Raises
    ------
    InputError
        For a pattern without columns, with one twice, or with two side by side.
    """

    def __init__(self, pattern: str) -> None:
        parts = re.split(r"\{(\w+)\}", pattern)
        names = parts[1::2]
        kept = [name for name in names if name != "_"]
        if not names or len({*kept}) != len(kept) or any(not between for between in parts[2:-1:2]):
            raise InputError(
                f"a pattern of file names needs each state once, in braces, with something between two of them; got "
                f"{pattern!r}. For example 'EIS_state_{{state}}_{{cell}}.txt'."
            )
        self.pattern = pattern
        self.columns = tuple(kept)
        self._names = names
        self._forward = _expression(parts[::2])
        self._backward = _expression([part[::-1] for part in parts[::-2]])

    def states_of(self, name: str) -> dict[str, str] | None:
        """Return the states in a name, or None if it does not fit the pattern.

        Raises
        ------
        InputError
            If it fits in two ways.
        """
        forward, backward = self._forward.fullmatch(name), self._backward.fullmatch(name[::-1])
        if forward is None or backward is None:
            return None
        few, many = forward.groups(), tuple(value[::-1] for value in backward.groups()[::-1])
        if few != many:
            raise InputError(
                f"the name {name!r} fits the pattern {self.pattern!r} in two ways, {few} and {many}. "
                "Make the pattern longer, or give the states in a table."
            )
        return {column: value for column, value in zip(self._names, few, strict=True) if column != "_"}


def _expression(between: Sequence[str]) -> re.Pattern[str]:
    """Return what takes each of some literals at the first place where it stands, and tries no other.

    If a name fits at all, it fits so; and any number of fields takes no longer than one.
    """
    first, *inner, last = map(re.escape, between)
    return re.compile(first + "".join(rf"(?>(.+?){text})" for text in inner) + f"(.+){last}", re.DOTALL)


def as_numbers(values: Sequence[str]) -> list[Any]:
    """Return text as numbers if all of it is numbers as one writes them: no exponents, no zeros in front.

    Parameters
    ----------
    values : sequence of str
        For example what the names of all files have at one place; empty is missing.
    """
    known = [value for value in values if value]
    if known and all(map(_WHOLE.fullmatch, known)):
        return [int(value) if value else None for value in values]
    if known and all(_WHOLE.fullmatch(value) or _DECIMAL.fullmatch(value) for value in known):
        return [float(value) if value else None for value in values]
    return [value or None for value in values]


@dataclass(frozen=True)
class SideTable:
    """A table of states beside the measured files.

    Parameters
    ----------
    keys : tuple of str
        The columns that say which sweeps a row is for.
    columns : tuple of str
        The states that it gives.
    rows : mapping of tuple to mapping
        The states by the values of the keys.
    """

    keys: tuple[str, ...]
    columns: tuple[str, ...]
    rows: Mapping[tuple[Any, ...], Mapping[str, Any]]

    def key_of(self, state: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Return the key of the row for a sweep, or None if there is none."""
        keys = [tuple(_key(name, state.get(name)) for name in self.keys)]
        if "source" in self.keys:
            at = self.keys.index("source")
            source = PurePath(str(state.get("source")))
            keys += [(*keys[0][:at], other, *keys[0][at + 1 :]) for other in (source.name, source.stem)]
        return next((key for key in keys if key in self.rows), None)


def read_side_table(table: Path | str | pd.DataFrame, extra: Sequence[str] = ()) -> SideTable:
    """Return a table of states, to be joined to sweeps.

    Parameters
    ----------
    table : path or DataFrame
        A csv file with headings (commas, semicolons or tabs), or the table itself. Columns ``source`` (or ``file``),
        ``cell``, ``cycle`` and ``sweep``, and those of `extra`, say which sweeps a row is for; all others are states.
    extra : sequence of str, optional
        Further columns that say so: those of the pattern of file names.

    Raises
    ------
    InputError
        If no column says which sweeps a row is for, or two rows are for the same.
    FileFormatError
        For a file that cannot be read, or a row with another number of cells.
    """
    frame = table if isinstance(table, pd.DataFrame) else _read_csv(Path(table))
    named = {old: "source" for old in frame.columns if str(old).strip().lower() in SOURCES}
    if len(named) > 1:
        raise InputError(f"a table of states must name the file in one column; got {', '.join(map(repr, named))}.")
    frame = frame.rename(columns={**{old: str(old).strip() for old in frame.columns}, **named})
    keys = tuple(name for name in dict.fromkeys(("source", "cell", "cycle", "sweep", *extra)) if name in frame.columns)
    columns = tuple(name for name in frame.columns if name not in keys)
    if not keys or not columns:
        raise InputError(
            "a table of states must say in columns source, cell, cycle or sweep which sweeps a row is for, and hold "
            f"states beside them; got the columns {', '.join(map(repr, frame.columns))}."
        )
    rows: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for record in frame.to_dict("records"):
        key = tuple(_key(name, record[name]) for name in keys)
        if key in rows:
            raise InputError(f"two rows of the table of states are for the same {dict(zip(keys, key, strict=True))}.")
        rows[key] = {name: record[name] for name in columns if not pd.isna(record[name])}
    return SideTable(keys, columns, rows)


def _key(name: str, value: Any) -> Any:
    if name in TEXTS:
        return str(value).strip()
    if isinstance(value, (int, float)):
        return float(value)
    text = str(value).strip()
    return float(text) if _WHOLE.fullmatch(text) or _DECIMAL.fullmatch(text) else text


def _read_csv(path: Path) -> pd.DataFrame:
    text = read_text(path, ReadOptions())
    kept = [(n, line) for n, line in enumerate(text.lines, start=1) if line.strip()]
    if len(kept) < 2:
        raise format_error(path, 1, "a row of headings and rows of states below were expected.")
    first = kept[0][1]
    delimiter = next((sign for sign in "\t;," if sign in first), ",")
    rows = [(n, [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]) for n, line in kept]
    headings = rows[0][1]
    if len({*headings}) != len(headings) or not all(headings):
        raise format_error(
            path, rows[0][0], f"headings must be distinct and not empty; got {', '.join(map(repr, headings))}."
        )
    for n, cells in rows[1:]:
        if len(cells) != len(headings):
            raise format_error(path, n, f"{len(cells)} cells below {len(headings)} headings.")
    frame = {}
    for i, heading in enumerate(headings):
        cells = [row[i] for _, row in rows[1:]]
        if delimiter != "," and heading not in TEXTS:
            cells = [re.sub(r"^([+-]?\d*),(\d+)$", r"\1.\2", cell) for cell in cells]
        frame[heading] = cells if heading.lower() in {*TEXTS, *SOURCES} else as_numbers(cells)
    return pd.DataFrame(frame)
