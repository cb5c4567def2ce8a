"""Columns by name: from a table with headings to frequencies, impedances and states, checked against each other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import FileFormatError
from drt_engine.readers.base import problem
from drt_engine.readers.headings import Meaning, meaning_of
from drt_engine.readers.states import untaken

__all__ = ["NEEDED", "Column", "Rows", "Table", "find_columns", "meaning_of", "rows_of", "side_column"]

Floats = NDArray[np.float64]

TOLERANCE = 1e-3
"""How far |Z| and phase may be from Re and Im, of |Z|, beside the rounding of printed digits."""


NEEDED = ("frequency", "re", "im", "modulus", "phase")
"""The quantities of a spectrum; all others are states, which never refuse a file."""


class _AnyCell(frozenset[str]):
    """All cells that are no numbers, for columns that are read as far as they can be."""

    def __contains__(self, cell: object) -> bool:
        """Say yes."""
        return True


class Table(Protocol):
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

    def resolution(self, row: int, index: int) -> float:
        """Return half a unit of the last digit that a cell holds."""


@dataclass(frozen=True)
class Column:
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
    """

    index: int
    heading: str
    meaning: Meaning
    stated: bool = False


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
    """

    source: Path | str
    frequency: Floats
    impedance: NDArray[np.complex128]
    states: Mapping[str, Floats]
    lines: NDArray[np.int64]
    unit: str = "line"
    remarks: tuple[str, ...] = ()

    def error(self, row: int, message: str) -> FileFormatError:
        """Return an error that names the file and the place of a point."""
        return problem(self.source, f"{self.unit} {self.lines[row]}", message)


def find_columns(
    headings: Sequence[str],
    error: Callable[[str], FileFormatError],
    *,
    rename: Mapping[str, str] | None = None,
) -> dict[str, Column]:
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
    dict of str to Column
        By quantity. It has frequency, and either re and im or modulus and phase.

    A state that two columns of one rank hold is taken from the first of them.

    Raises
    ------
    FileFormatError
        If the frequency or the impedance is missing, in a unit that is not known, or in two columns.
    """
    found: dict[str, Column] = {}
    units: dict[str, str] = {}
    for index, heading in enumerate(headings):
        meaning = meaning_of((rename or {}).get(heading, heading))
        if isinstance(meaning, str):
            units[heading] = meaning
        elif meaning is not None:
            column = Column(index, heading, meaning)
            other = found.get(meaning.quantity)
            if other is None or meaning.rank < other.meaning.rank:
                found[meaning.quantity] = column
            elif meaning.rank == other.meaning.rank and meaning.quantity in NEEDED:
                raise error(
                    f"two columns hold the {meaning.quantity}: {other.heading!r} (column {other.index + 1}) and "
                    f"{heading!r} (column {index + 1}). Say which with columns, as columns='{meaning.quantity}="
                    f"{other.index + 1},...'."
                )
    require_impedance(found, headings, units, error)
    return found


def require_impedance(
    found: Mapping[str, Column],
    headings: Sequence[str],
    units: Mapping[str, str],
    error: Callable[[str], FileFormatError],
) -> None:
    """Raise the error that says which column is missing, unless all that an impedance needs are there."""
    cartesian, polar = {"re", "im"} <= found.keys(), {"modulus", "phase"} <= found.keys()
    if "frequency" in found and (cartesian or polar):
        return
    missing = "frequencies" if "frequency" not in found else "impedances (re and im, or |z| and phase)"
    odd = "".join(f" The unit {unit!r} of {heading!r} is not known." for heading, unit in units.items())
    raise error(
        f"no column of {missing} among the headings: {', '.join(map(repr, headings))}.{odd} Export the file with them, "
        "or name the columns of a plain table, as columns='time,cycle,frequency,re,-im'."
    )


def rows_of(
    table: Table,
    columns: Mapping[str, Column] | None = None,
    *,
    missing: frozenset[str] = frozenset(),
    heading_line: int | None = None,
) -> Rows:
    """Return the measured points of a table.

    Points at f = 0 are DC and are dropped, as are points without a frequency or impedance where cells are missing; the
    remarks say so. |Z| and phase, if they stand beside Re and Im, must agree with them.

    Parameters
    ----------
    table : Table
        Where they stand.
    columns : mapping of str to Column, optional
        From `find_columns`, which is asked if not given.
    missing : frozenset of str, optional
        Cells that the format knows as missing.
    heading_line : int, optional
        Line of the headings, for errors.

    Raises
    ------
    FileFormatError
        For missing columns, cells of a spectrum that are no numbers, negative frequencies, values that are not finite,
        |Z| and phase that contradict Re and Im, and an imaginary part that is positive throughout without a phase that
        says so.
    """
    if columns is None:
        columns = find_columns(table.headings, lambda text: problem(table.source, heading_line, text))
    needed = [column for name, column in columns.items() if name in NEEDED]
    raw = table.numbers([column.index for column in needed], missing)
    values = {
        column.meaning.quantity: column.meaning.factor * raw[:, j] + column.meaning.offset
        for j, column in enumerate(needed)
    }
    z = _impedance(values)
    keep, remarks = _wanted(table, values["frequency"], z, missing)
    for name, column in columns.items():
        if name not in NEEDED:
            cells, remark = side_column(table, column.index, missing)
            values[name] = column.meaning.factor * cells + column.meaning.offset
            remarks = (*remarks, *remark)
    remarks = (*remarks, *untaken(table.headings, {column.index for column in columns.values()}))
    _refuse_contradiction(table, columns, values, keep)
    rows = Rows(
        table.source,
        values["frequency"][keep],
        z[keep],
        {name: values[name][keep] for name in values if name not in NEEDED},
        table.lines[keep],
        table.unit,
        remarks,
    )
    _refuse_inductive_throughout(rows, columns)
    return rows


def side_column(table: Table, index: int, missing: frozenset[str] = frozenset()) -> tuple[Floats, tuple[str, ...]]:
    """Return a column that is no part of a spectrum as far as its cells are numbers, and a remark on the others.

    Parameters
    ----------
    table : Table
        Where it stands.
    index : int
        Which column, from 0.
    missing : frozenset of str, optional
        Cells that the format knows as missing.

    Returns
    -------
    values : ndarray, shape (N,)
        In the unit of the column, NaN where a cell is no number.
    remarks : tuple of str
        One, or none.
    """
    try:
        return table.numbers([index], missing)[:, 0], ()
    except FileFormatError:
        values = table.numbers([index], _AnyCell())[:, 0]
    lost = np.isnan(values)
    what = f"{lost.sum()} cells of the column {table.headings[index]!r} are no numbers and left out"
    return values, (f"{what} ({_first(table, lost)})",)


def _impedance(values: Mapping[str, Floats]) -> NDArray[np.complex128]:
    if "re" in values and "im" in values:
        z = np.empty(values["re"].shape, dtype=complex)
        z.real, z.imag = values["re"], values["im"]
        return z
    return np.asarray(values["modulus"] * np.exp(1j * values["phase"]))


def _wanted(
    table: Table, frequency: Floats, z: NDArray[np.complex128], missing: frozenset[str]
) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Return which rows are points of a spectrum, and remarks about the others."""
    remarks = []
    negative = np.flatnonzero(frequency < 0)
    if negative.size:
        row = negative[0]
        raise problem(
            table.source,
            f"{table.unit} {table.lines[row]}",
            f"frequency must be positive; got {frequency[row]:g} Hz. The columns are exchanged or the row is damaged.",
        )
    void = np.isnan(frequency) | np.isnan(z)
    infinite = np.flatnonzero(~void & ~(np.isfinite(frequency) & np.isfinite(z)))
    if infinite.size or (void.any() and not missing):
        row = infinite[0] if infinite.size else int(np.argmax(void))
        raise problem(
            table.source,
            f"{table.unit} {table.lines[row]}",
            f"frequency and impedance must be finite; got {frequency[row]:g} Hz and {z[row]:g} ohm. "
            "The row is damaged: export the file again.",
        )
    if void.any():
        remarks.append(f"{void.sum()} rows without frequency or impedance left out ({_first(table, void)})")
    dc = ~void & (frequency == 0)
    if dc.any():
        remarks.append(f"{dc.sum()} DC rows (f = 0) left out ({_first(table, dc)})")
    keep = np.flatnonzero(~void & ~dc)
    if not keep.size:
        raise problem(
            table.source,
            f"{table.unit} {table.lines[0]}",
            f"no point of a spectrum in {len(table.lines)} rows: {'; '.join(remarks)}. "
            "The measurement holds no impedance, or was aborted before it.",
        )
    return keep, tuple(remarks)


def _first(table: Table, rows: NDArray[np.bool_]) -> str:
    return f"first at {table.unit} {table.lines[int(np.argmax(rows))]}"


def _refuse_contradiction(
    table: Table, columns: Mapping[str, Column], values: Mapping[str, Floats], keep: NDArray[np.intp]
) -> None:
    """Check |Z| and phase against Re and Im, and raise at the first row where they differ."""
    if "re" not in values or "im" not in values:
        return
    z = _impedance(values)[keep]
    size = np.maximum(np.abs(z), np.abs(values["modulus"][keep]) if "modulus" in values else 0.0)
    checks: list[tuple[str, Floats]] = []
    if "modulus" in values:
        checks.append(("modulus", np.abs(np.abs(z) - values["modulus"][keep])))
    if "phase" in values:
        turned = np.exp(1j * (np.angle(z) - values["phase"][keep]))
        checks.append(("phase", np.abs(turned - 1) * np.abs(z)))
    for name, off in checks:
        for i in np.flatnonzero(off > TOLERANCE * size):
            row = int(keep[i])
            rounding = _rounding(table, columns, row, name, abs(z[i]))
            if off[i] > TOLERANCE * size[i] + rounding:
                raise problem(
                    table.source,
                    f"{table.unit} {table.lines[row]}",
                    _contradiction(columns, {quantity: float(v[row]) for quantity, v in values.items()}, name),
                )


def _rounding(table: Table, columns: Mapping[str, Column], row: int, name: str, modulus: float) -> float:
    """Return by how much the digits that are not printed can move |Z| or the phase, ohm."""
    half = {
        quantity: abs(columns[quantity].meaning.factor) * table.resolution(row, columns[quantity].index)
        for quantity in ("re", "im", name)
    }
    return 1.01 * (half["re"] + half["im"] + half[name] * (modulus if name == "phase" else 1.0))


def _contradiction(columns: Mapping[str, Column], at: Mapping[str, float], name: str) -> str:
    z = complex(at["re"], at["im"])
    got = f"{abs(z):g} ohm" if name == "modulus" else f"{np.degrees(np.angle(z)):g} deg"
    said = f"{at['modulus']:g} ohm" if name == "modulus" else f"{np.degrees(at['phase']):g} deg"
    cause = "The row is damaged, or the columns are not what their headings say."
    if name == "phase":
        phase = np.exp(1j * at["phase"])
        for other, words in (
            (z.conjugate(), "The imaginary part has the other sign"),
            (1j * z.conjugate(), "Re and Im are exchanged"),
            (-1j * z.conjugate(), "Re and Im are exchanged"),
        ):
            if abs(other / abs(z) - phase) < 0.01:
                cause = f"{words}, by the phase: correct the heading, or name the columns without the phase."
    return (
        f"{columns['re'].heading!r} and {columns['im'].heading!r} give {got}, where {columns[name].heading!r} says "
        f"{said}. {cause}"
    )


def _refuse_inductive_throughout(rows: Rows, columns: Mapping[str, Column]) -> None:
    im = columns.get("im")
    if im is None or im.stated or "phase" in columns or im.meaning.factor < 0 or rows.frequency.size < 3:
        return
    if np.all(rows.impedance.imag > 0):
        raise rows.error(
            0,
            f"{im.heading!r} is positive at all {rows.frequency.size} points, as of a coil; here capacitive means a "
            "negative imaginary part. If the column holds -Im, name it so with columns='frequency,re,-im'; if it is a "
            "coil, with columns='frequency,re,im'.",
        )


def restated(column: Column) -> Column:
    """Return the column marked as named by the user."""
    return replace(column, stated=True)
