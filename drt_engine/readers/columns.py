"""Columns of a table by their headings: which quantity each holds, and how a user names them by number."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import FileFormatError
from drt_engine.readers.base import NoMeasurementError
from drt_engine.readers.headings import Meaning, meaning_of
from drt_engine.text import count_of

__all__ = [
    "NEEDED",
    "VOID",
    "HeadedTable",
    "TableColumn",
    "by_number",
    "exported",
    "find_columns",
    "first_place",
    "meaning_of",
    "numbered",
    "scaled",
    "side_column",
    "spectrum_of",
    "without_unit",
]

Floats = NDArray[np.float64]

CURE = "columns='frequency=1,re=2,im=3' (im holds Im Z, -im holds -Im Z; or |z|=2,phase/deg=3)"
"""How to name columns by number, for messages."""

NEEDED = ("frequency", "re", "im", "modulus", "phase")
"""The quantities of a spectrum; all others are states, which never refuse a file."""

VOID = frozenset(
    {
        *("", "-", "--", "---", "OVLD", "Ovld", "ovld", "OVL", "OVERLOAD", "Overload", "overload", "OL", "NA", "N/A"),
        *(
            "?",
            "overflow",
            "Overflow",
            "OVERFLOW",
            "OVER",
            "over",
            "ERR",
            "Err",
            "error",
            "Error",
            "#DIV/0!",
            "#VALUE!",
        ),
        *("n/a", "#N/A", "#NV", "NULL", "null", "None", "1.#QNAN", "-1.#IND", "1.#INF"),
        *(sign + word for word in ("nan", "NaN", "NAN", "inf", "Inf", "INF") for sign in ("", "-", "+")),
    }
)
"""Cells that say that there is no value: overload, not measured, not a number."""


class _AnyCell(frozenset[str]):
    """All cells that are not numbers, for columns that are read as far as they can be."""

    def __contains__(self, cell: object) -> bool:
        """Say yes."""
        return True


class HeadedTable(Protocol):
    """Headings and rows below, of a text file, a sheet or a binary record."""

    @property
    def source(self) -> Path | str:
        """The file."""

    @property
    def headings(self) -> tuple[str, ...]:
        """One for each column."""

    @property
    def lines(self) -> NDArray[np.int64]:
        """Where each row stands in the file, shape (N,)."""

    @property
    def unit(self) -> str:
        """What `lines` counts, for example ``"line"``."""

    def numbers(self, indices: Sequence[int], missing: frozenset[str] = ...) -> Floats:
        """Return columns as numbers, shape (N, len(indices)), NaN for missing cells."""

    def cells(self, row: int) -> list[str]:
        """Return the cells of a row as text."""

    def resolution(self, row: int, index: int) -> float:
        """Return half a unit of the last digit that a cell holds."""


@dataclass(frozen=True)
class TableColumn:
    """Where a quantity stands.

    Parameters
    ----------
    index : int
        Which column, from 0.
    heading : str
        Its heading.
    meaning : Meaning
        Quantity, unit and sign.
    stated : bool, optional
        Whether the user said so, and not the heading.
    per_area : bool, optional
        Whether the values are times an area, ohm cm².
    flipped : bool, optional
        Whether the user gave it the other sign.
    """

    index: int
    heading: str
    meaning: Meaning
    stated: bool = False
    per_area: bool = False
    flipped: bool = False


def find_columns(
    headings: Sequence[str],
    error: Callable[[str], FileFormatError],
    *,
    rename: Mapping[str, str] | None = None,
) -> dict[str, TableColumn]:
    """Find the quantities among the headings.

    Parameters
    ----------
    headings : sequence of str
        One for each column.
    error : callable
        Makes the error from a message, for example ``lambda text: file.error(61, text)``.
    rename : mapping of str to str, optional
        Headings that the format has a meaning of its own for, to such as `meaning_of` knows: ``{"E(V)": "voltage/V"}``;
        ``"_"`` to leave one out.

    Returns
    -------
    dict of str to TableColumn
        By quantity. It has frequency, and either re and im or modulus and phase. A state that two columns of one rank
        hold is taken from the first of them.

    Raises
    ------
    FileFormatError
        If the frequency or the impedance is missing, in a unit that is not known, or in two columns.
    """
    found: dict[str, TableColumn] = {}
    units: dict[str, str] = {}
    doubled: dict[str, TableColumn] = {}
    for index, heading in enumerate(headings):
        meaning = meaning_of((rename or {}).get(heading, heading))
        if isinstance(meaning, str):
            units[heading] = meaning
        elif meaning is not None:
            column = TableColumn(index, heading, meaning, per_area=meaning.per_area)
            other = found.get(meaning.quantity)
            if other is None or meaning.rank < other.meaning.rank:
                found[meaning.quantity] = column
                doubled.pop(meaning.quantity, None)
            elif meaning.rank == other.meaning.rank:
                doubled.setdefault(meaning.quantity, column)
    for name in doubled.keys() & set(spectrum_of(found)):
        first, second = found[name], doubled[name]
        raise error(
            f"two columns hold the {name}: {first.heading!r} (column {first.index + 1}) and {second.heading!r} (column "
            f"{second.index + 1}). Say which, as columns='{numbered(found)}' or columns='"
            f"{numbered({**found, name: second})}'."
        )
    require_impedance(found, headings, units, error)
    return found


def require_impedance(
    found: Mapping[str, TableColumn],
    headings: Sequence[str],
    units: Mapping[str, str],
    error: Callable[[str], FileFormatError],
) -> None:
    """Raise the error that says which column is missing, unless all that an impedance needs are there."""
    cartesian, polar = {"re", "im"} <= found.keys(), {"modulus", "phase"} <= found.keys()
    if "frequency" in found and (cartesian or polar):
        return
    if found and not units and not {*NEEDED} & {*found}:
        quoted = ", ".join(map(repr, headings))
        raise NoMeasurementError(str(error(f"no impedance under the headings {quoted}")))
    missing = "frequencies" if "frequency" not in found else "impedances (re and im, or |z| and phase)"
    odd = "".join(f" The unit {unit!r} of {heading!r} is not known." for heading, unit in units.items())
    cure = f"for example columns='{_suggested(headings, units)}'" if units else CURE
    raise error(
        f"no column of {missing} among the headings: {', '.join(map(repr, headings))}.{odd} Export the file with them, "
        f"or say by number which they are, with the unit of the values if it is not the SI one: {cure}."
    )


def _suggested(headings: Sequence[str], units: Mapping[str, str]) -> str:
    """Return how a user may name columns some of which are in units that are not known."""
    found: dict[str, str] = {}
    for index, heading in enumerate(headings):
        odd = units.get(heading)
        for unit in ("ohm", "Hz", "deg") if odd else ("",):
            meaning = meaning_of(heading.replace(odd, unit) if odd else heading)
            if isinstance(meaning, Meaning) and meaning.quantity in NEEDED:
                name = "|z|" if meaning.quantity == "modulus" else meaning.quantity
                sign = "-" if meaning.factor < 0 else ""
                found.setdefault(meaning.quantity, f"{sign}{name}{f'/{unit}' if odd else ''}={index + 1}")
    return ",".join(found[name] for name in spectrum_of(found) if name in found)


def scaled(column: TableColumn, cells: Floats) -> Floats:
    """Return the cells of a column in the unit of its quantity, with its sign."""
    return np.asarray(column.meaning.factor * cells + column.meaning.offset, dtype=np.float64)


def without_unit(columns: Mapping[str, TableColumn]) -> list[str]:
    """Return a remark if the heading of the frequencies states no unit, as there are two usual ones."""
    column = columns["frequency"]
    if column.stated or column.meaning.factor != 1.0 or re.search(r"[/(\[,]|hz", column.heading, re.IGNORECASE):
        return []
    said = f"the heading {column.heading!r} has no unit: taken as Hz"
    if not {"re", "im"} <= columns.keys():
        return [said]
    cure = by_number(columns).replace("frequency=", "frequency/kHz=", 1)
    return [f"{said}; if it is kHz, say so with columns='{cure}'"]


def spectrum_of(columns: Mapping[str, object]) -> tuple[str, ...]:
    """Return the quantities that make the impedance; |Z| and phase only check it where Re and Im are there."""
    return ("frequency", "re", "im") if {"re", "im"} <= columns.keys() else ("frequency", "modulus", "phase")


def exported(
    table: HeadedTable, columns: Mapping[str, TableColumn], missing: frozenset[str]
) -> tuple[dict[str, TableColumn], list[str]]:
    """Leave out |Z| and phase that are 0 throughout beside Re and Im, as they were not exported; with remarks.

    Parameters
    ----------
    table : HeadedTable
        Where they stand.
    columns : mapping of str to TableColumn
        By quantity.
    missing : frozenset of str
        Cells that are known as missing.
    """
    kept, remarks = dict(columns), []
    for name in ("modulus", "phase"):
        if name in columns and {"re", "im"} <= columns.keys():
            cells, _ = side_column(table, columns[name].index, missing)
            known = cells[~np.isnan(cells)]
            if known.size and not known.any():
                del kept[name]
                remarks.append(f"{columns[name].heading!r} is 0 at every point: it was not exported, and is left out")
    return kept, remarks


def side_column(
    table: HeadedTable, index: int, missing: frozenset[str] = frozenset()
) -> tuple[Floats, tuple[str, ...]]:
    """Return a column that is no part of a spectrum as far as its cells are numbers, and a remark on the others.

    Parameters
    ----------
    table : HeadedTable
        Where it stands.
    index : int
        Which column, from 0.
    missing : frozenset of str, optional
        Cells that the format knows as missing.

    Returns
    -------
    values : ndarray, shape (N,)
        In the unit of the column, NaN where a cell is not a number.
    remarks : tuple of str
        One, or none.
    """
    try:
        values = table.numbers([index], missing)[:, 0]
    except FileFormatError:
        values = table.numbers([index], _AnyCell())[:, 0]
    lost = np.isnan(values)
    if not lost.any():
        return values, ()
    of = f"of the column {table.headings[index]!r}"
    what = count_of(lost.sum(), f"cell {of} is not a number", f"cells {of} are not numbers")
    return values, (f"{what} and left out ({first_place(table, lost)})",)


def first_place(table: HeadedTable, rows: NDArray[np.bool_]) -> str:
    """Say where the first of some rows stands in the file, for messages."""
    return f"first at {table.unit} {table.lines[int(np.argmax(rows))]}"


def numbered(found: Mapping[str, TableColumn]) -> str:
    """Return the columns of the spectrum as a user would name them by number."""
    parts = []
    for name in spectrum_of(found):
        column = found.get(name)
        word = "|z|" if name == "modulus" else name
        minus = "-" if column is not None and column.meaning.factor < 0 else ""
        parts.append(f"{minus}{word}={column.index + 1 if column else '?'}")
    return ",".join(parts)


def by_number(columns: Mapping[str, TableColumn], *, swap: bool = False, turn: bool = False) -> str:
    """Return columns as a user would name them to have Re and Im read without a check."""
    re_at, im_at = (columns[name].index + 1 for name in (("im", "re") if swap else ("re", "im")))
    minus = columns["im"].meaning.factor < 0
    sign = ("+" if minus else "-") if turn else "-" * minus
    return f"frequency={columns['frequency'].index + 1},re={re_at},{sign}im={im_at}"
