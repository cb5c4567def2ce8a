"""Columns by name: from a table with headings to frequencies, impedances and states, checked against each other."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import FileFormatError
from drt_engine.readers.base import NoMeasurementError, format_error
from drt_engine.readers.headings import Meaning, meaning_of
from drt_engine.readers.states import maybe_kelvin, untaken
from drt_engine.text import count_of

__all__ = [
    "NEEDED",
    "ROUNDED",
    "VOID",
    "HeadedTable",
    "Rows",
    "TableColumn",
    "exported",
    "find_columns",
    "meaning_of",
    "rows_of",
    "side_column",
    "spectrum_of",
    "turned",
    "without_unit",
]

Floats = NDArray[np.float64]

TOLERANCE = 1e-3
"""How far |Z| and phase may be from Re and Im, of |Z|, beside the rounding of printed digits, without a word."""

ROUNDED = 5e-3
"""How far they may be with a remark, as an export rounds them or averages them apart; beyond it they contradict."""

_FITS, _FITS_NOT = 0.01, 0.05
"""How far a phase is from that of Re and Im, in the middle, in the unit that it is in, and in another one; radian."""


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
    dict of str to Column
        By quantity. It has frequency, and either re and im or modulus and phase.

    A state that two columns of one rank hold is taken from the first of them.

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
            f"{second.index + 1}). Say which, as columns='{_numbered(found)}' or columns='"
            f"{_numbered({**found, name: second})}'."
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
    columns : mapping of str to Column, optional
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
        For missing columns, cells of a spectrum that are no numbers, negative frequencies, values that are not finite,
        |Z| and phase that contradict Re and Im, and an imaginary part that is positive throughout without a phase that
        says so.
    """
    if columns is None:
        columns = find_columns(table.headings, lambda text: format_error(table.source, heading_line, text))
    void = missing | VOID
    columns, notes = exported(table, columns, void)
    columns, more = _with_unit_of_phase(table, columns, void, heading_line)
    needed = [columns[name] for name in spectrum_of(columns)]
    raw = table.numbers([column.index for column in needed], void)
    if "" not in missing:
        _refuse_holes(table, needed, raw)
    values = {column.meaning.quantity: _scaled(column, raw[:, j]) for j, column in enumerate(needed)}
    z = _impedance(values)
    if padded and (empty := np.isnan(raw).all(axis=1)).any() and not empty.all():
        table, values, z = _Shorter(table, np.flatnonzero(~empty)), {n: v[~empty] for n, v in values.items()}, z[~empty]
    keep, remarks = _wanted(table, needed, values["frequency"], z)
    notes += [*more, *remarks]
    states, more = _states_of_points(table, {n: one for n, one in columns.items() if n not in values}, columns, missing)
    values |= states
    notes += more
    notes += untaken(table.headings, {column.index for column in columns.values()})
    notes += _contradictions(table, columns, values, keep)
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
        scaled = _scaled(column, cells)
        if column.meaning.assumed and name == "temperature" and maybe_kelvin(scaled):
            notes.append(_unit_of_temperature(columns, cells))
        else:
            values[name] = scaled
    return values, notes


@dataclass(frozen=True)
class _Shorter:
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


def _scaled(column: TableColumn, cells: Floats) -> Floats:
    return np.asarray(column.meaning.factor * cells + column.meaning.offset, dtype=np.float64)


def _refuse_holes(table: HeadedTable, needed: Sequence[TableColumn], raw: Floats) -> None:
    """Refuse a row in which one cell of the spectrum is empty and others are not; an empty row is none."""
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


def without_unit(columns: Mapping[str, TableColumn]) -> list[str]:
    """Return a remark if the heading of the frequencies states no unit, as there are two usual ones."""
    column = columns["frequency"]
    if column.stated or column.meaning.factor != 1.0 or re.search(r"[/(\[,]|hz", column.heading, re.IGNORECASE):
        return []
    said = f"the heading {column.heading!r} has no unit: taken as Hz"
    if not {"re", "im"} <= columns.keys():
        return [said]
    cure = _by_number(columns).replace("frequency=", "frequency/kHz=", 1)
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
    columns : mapping of str to Column
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


def _with_unit_of_phase(
    table: HeadedTable, columns: Mapping[str, TableColumn], missing: frozenset[str], heading_line: int | None
) -> tuple[Mapping[str, TableColumn], list[str]]:
    """Decide whether a phase whose unit is not stated is in degrees or in radians, or ask.

    Beyond ±π/2 it is in degrees. Within, Re and Im tell; without them only the names that Zurich Instruments gives. A
    unit that is stated is overruled by Re and Im alone.
    """
    phase = columns.get("phase")
    if phase is None:
        return columns, []
    if not phase.meaning.assumed:
        return _with_unit_that_fits(table, columns, missing)
    cells = side_column(table, phase.index, missing)[0]
    if not np.any(np.abs(cells) <= 1.01 * np.pi / 2) or np.nanmax(np.abs(cells)) > 1.01 * np.pi / 2:
        return columns, []
    sign = np.sign(phase.meaning.factor)
    radian = {**columns, "phase": replace(phase, meaning=replace(phase.meaning, factor=float(sign), assumed=False))}
    if {"re", "im"} <= columns.keys():
        off = _off_phase(table, (columns, radian), missing)
        if off[1] < off[0]:
            return radian, [f"{phase.heading!r} has no unit and is in radians, as Re and Im say"]
        return columns, []
    modulus = columns["modulus"]
    if (phase.heading.strip().lower(), modulus.heading.strip().lower()) == ("phasez", "absz"):
        return radian, ["'phasez' has no unit and was read in radians, as Zurich Instruments writes it beside 'absz'"]
    numbers = f"frequency={columns['frequency'].index + 1},|z|={modulus.index + 1},phase/{{}}={phase.index + 1}"
    raise format_error(
        table.source,
        heading_line if table.unit == "line" or heading_line is None else f"{table.unit} {heading_line}",
        f"{phase.heading!r} has no unit, and all its values lie within ±π/2: they may be degrees or radians. Say "
        f"which, with columns='{numbers.format('rad')}' or columns='{numbers.format('deg')}'.",
    )


def _unit_of_temperature(columns: Mapping[str, TableColumn], cells: Floats) -> str:
    """Return what to say of a temperature that may be in K as well as in °C."""
    column = columns["temperature"]
    numbers = _numbered({name: columns[name] for name in spectrum_of(columns)})
    return (
        f"temperature not taken: {column.heading!r} has no unit, and {cells[~np.isnan(cells)][0]:g} may be in K or in "
        f"°C. Say which, with columns='{numbers},temperature/K={column.index + 1}' or columns='{numbers},"
        f"temperature/°C={column.index + 1}'"
    )


def _off_phase(
    table: HeadedTable, readings: Sequence[Mapping[str, TableColumn]], missing: frozenset[str]
) -> list[float]:
    """Return by how much the phase differs from that of Re and Im in the middle, radian, if it is read in some ways."""
    columns = readings[0]
    part = table.numbers([columns["re"].index, columns["im"].index], missing)
    cells = side_column(table, columns["phase"].index, missing)[0]
    angle = np.arctan2(_scaled(columns["im"], part[:, 1]), _scaled(columns["re"], part[:, 0]))
    off = [np.abs(turned(angle - _scaled(one["phase"], cells)) - 1.0) for one in readings]
    known = np.isfinite(off).all(axis=0)
    return [float(np.median(one[known])) if known.any() else 0.0 for one in off]


def _with_unit_that_fits(
    table: HeadedTable, columns: Mapping[str, TableColumn], missing: frozenset[str]
) -> tuple[Mapping[str, TableColumn], list[str]]:
    """Read a phase in radians that is said to be in degrees, or the other way round, where Re and Im leave no doubt."""
    phase = columns["phase"]
    if not {"re", "im"} <= columns.keys():
        return columns, []
    is_radian = abs(phase.meaning.factor) == 1.0
    factor = phase.meaning.factor * (np.pi / 180 if is_radian else 180 / np.pi)
    other = {**columns, "phase": replace(phase, meaning=replace(phase.meaning, factor=factor))}
    try:
        off = _off_phase(table, (columns, other), missing)
    except FileFormatError:
        # A damaged cell is told where all columns are read.
        return columns, []
    if not off[1] < _FITS < _FITS_NOT < off[0]:
        return columns, []
    return other, [f"{phase.heading!r} is in {'degrees' if is_radian else 'radians'}, as Re and Im say"]


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
        In the unit of the column, NaN where a cell is no number.
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
    what = count_of(lost.sum(), f"cell {of} is no number", f"cells {of} are no numbers")
    return values, (f"{what} and left out ({_first(table, lost)})",)


def _impedance(values: Mapping[str, Floats]) -> NDArray[np.complex128]:
    if "re" in values and "im" in values:
        z = np.empty(values["re"].shape, dtype=complex)
        z.real, z.imag = values["re"], values["im"]
        return z
    modulus, phase = values["modulus"], values["phase"]
    z = np.full(modulus.shape, complex(np.nan, np.nan))
    z[np.isinf(modulus) | np.isinf(phase)] = complex(np.inf, np.inf)
    finite = np.isfinite(modulus) & np.isfinite(phase)
    z[finite] = modulus[finite] * np.exp(1j * phase[finite])
    return z


def turned(angle: Any) -> Any:
    """Return exp(jφ), NaN for an angle that is not finite, of which numpy warns."""
    return np.exp(1j * np.where(np.isfinite(angle), angle, np.nan))


def _wanted(
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
        held = _no_numbers(table, needed, int(np.argmax(void)))
        remarks.append(
            f"{count_of(void.sum(), 'row')} without frequency or impedance left out ({_first(table, void)}{held})"
        )
    dc = ~void & (frequency == 0)
    if dc.any():
        remarks.append(f"{count_of(dc.sum(), 'DC row')} (f = 0) left out ({_first(table, dc)})")
    keep = np.flatnonzero(~void & ~dc)
    if not keep.size:
        raise format_error(
            table.source,
            f"{table.unit} {table.lines[0]}",
            f"no point of a spectrum in {count_of(len(table.lines), 'row')}: {'; '.join(remarks)}. "
            "The measurement holds no impedance, or was aborted before it.",
        )
    return keep, tuple(remarks)


def _no_numbers(table: HeadedTable, needed: Sequence[TableColumn], row: int) -> str:
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


def _first(table: HeadedTable, rows: NDArray[np.bool_]) -> str:
    return f"first at {table.unit} {table.lines[int(np.argmax(rows))]}"


def _contradictions(
    table: HeadedTable, columns: Mapping[str, TableColumn], values: Mapping[str, Floats], keep: NDArray[np.intp]
) -> list[str]:
    """Check |Z| and phase against Re and Im: remark on small differences, and raise at the first row of a large one."""
    if "re" not in values or "im" not in values:
        return []
    z = _impedance(values)[keep]
    size = np.maximum(np.abs(z), np.nan_to_num(np.abs(values["modulus"][keep])) if "modulus" in values else 0.0)
    checks: list[tuple[str, Floats]] = []
    if "modulus" in values:
        checks.append(("modulus", np.abs(np.abs(z) - values["modulus"][keep])))
    if "phase" in values:
        phase = values["phase"][keep]
        off = np.abs(turned(np.angle(z) - phase) - 1) * np.abs(z)
        checks.append(("phase", np.where(np.isinf(phase), np.inf, off)))
    remarks = []
    for name, off in checks:
        apart = []
        for i in np.flatnonzero(off > TOLERANCE * size):
            row = int(keep[i])
            rounding = _rounding(table, columns, row, name, abs(z[i]))
            if off[i] > ROUNDED * size[i] + rounding:
                raise format_error(
                    table.source,
                    f"{table.unit} {table.lines[row]}",
                    _contradiction(columns, {quantity: float(v[row]) for quantity, v in values.items()}, name),
                )
            if off[i] > TOLERANCE * size[i] + rounding:
                apart.append(i)
        if apart:
            most = 100 * max(off[i] / size[i] for i in apart)
            remarks.append(
                f"{columns[name].heading!r} differs from {columns['re'].heading!r} and {columns['im'].heading!r} by up "
                f"to {most:.2g} % of |Z| at {count_of(len(apart), 'point')} (first at {table.unit} "
                f"{table.lines[keep[apart[0]]]}); the latter were taken"
            )
    return remarks


def _rounding(table: HeadedTable, columns: Mapping[str, TableColumn], row: int, name: str, modulus: float) -> float:
    """Return by how much the digits that are not printed can move |Z| or the phase, ohm."""
    half = {
        quantity: abs(columns[quantity].meaning.factor) * table.resolution(row, columns[quantity].index)
        for quantity in ("re", "im", name)
    }
    return 1.01 * (half["re"] + half["im"] + half[name] * (modulus if name == "phase" else 1.0))


def _contradiction(columns: Mapping[str, TableColumn], at: Mapping[str, float], name: str) -> str:
    z = complex(at["re"], at["im"])
    got = f"{abs(z):g} ohm" if name == "modulus" else f"{np.degrees(np.angle(z)):g} deg"
    said = f"{at['modulus']:g} ohm" if name == "modulus" else f"{np.degrees(at['phase']):g} deg"
    cause = (
        "The row is damaged, or the columns are not what their headings say. Export the file again, or read Re and Im "
        f"without this check, with columns='{_by_number(columns)}'."
    )
    if name == "phase":
        phase = turned(at["phase"])
        for other, words in (
            (z.conjugate(), "The imaginary part has the other sign"),
            (1j * z.conjugate(), "Re and Im are exchanged"),
            (-1j * z.conjugate(), "Re and Im are exchanged"),
        ):
            if abs(other / abs(z) - phase) < min(0.01, 0.5 * abs(z / abs(z) - phase)):
                cause = f"{words}, by the phase. Correct the heading, or {_overrule(columns, words)}."
    return (
        f"{columns['re'].heading!r} and {columns['im'].heading!r} give {got}, where {columns[name].heading!r} says "
        f"{said}. {cause}"
    )


def _numbered(found: Mapping[str, TableColumn]) -> str:
    """Return the columns of the spectrum as a user would name them by number."""
    parts = []
    for name in spectrum_of(found):
        column = found.get(name)
        word = "|z|" if name == "modulus" else name
        minus = "-" if column is not None and column.meaning.factor < 0 else ""
        parts.append(f"{minus}{word}={column.index + 1 if column else '?'}")
    return ",".join(parts)


def _by_number(columns: Mapping[str, TableColumn], *, swap: bool = False, turn: bool = False) -> str:
    """Return columns as a user would name them to have Re and Im read without a check."""
    re_at, im_at = (columns[name].index + 1 for name in (("im", "re") if swap else ("re", "im")))
    minus = columns["im"].meaning.factor < 0
    sign = ("+" if minus else "-") if turn else "-" * minus
    return f"frequency={columns['frequency'].index + 1},re={re_at},{sign}im={im_at}"


def _overrule(columns: Mapping[str, TableColumn], words: str) -> str:
    """Return how to say what the phase says of Re and Im, or that the phase is wrong."""
    swap = "exchanged" in words
    meant = _by_number(columns, swap=swap, turn=not swap)
    return f"say so with columns='{meant}'; if the phase is wrong, read without it with columns='{_by_number(columns)}'"


def _refuse_inductive_throughout(rows: Rows, columns: Mapping[str, TableColumn]) -> None:
    im = columns.get("im", columns.get("phase"))
    if im is not None and im.flipped and rows.frequency.size >= 3 and np.all(rows.impedance.imag > 0):
        raise rows.error(
            0,
            f"with flip_im=True {im.heading!r} is positive at all {rows.frequency.size} points, as of a coil: the file "
            "has the right sign. Read it without.",
        )
    if im is None or im.stated or {"im", "phase"} <= {*columns} or im.meaning.factor < 0 or rows.frequency.size < 3:
        return
    if np.all(rows.impedance.imag > 0):
        polar = "im" not in columns
        as_it_is = _numbered(columns) if polar else _by_number(columns)
        turned_round = as_it_is.replace(",phase=", ",-phase=") if polar else _by_number(columns, turn=True)
        raise rows.error(
            0,
            f"{im.heading!r} is positive at all {rows.frequency.size} points, as of a coil; here capacitive means a "
            f"negative {'phase' if polar else 'imaginary part'}. If the column holds {'-phase' if polar else '-Im'}, "
            f"say so with flip_im=True or columns='{turned_round}'; if it is a coil, with columns='{as_it_is}'.",
        )
