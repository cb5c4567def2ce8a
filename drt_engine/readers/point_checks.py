"""Points of one table, checked against what else the file says of them."""

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from drt_engine.readers.base import format_error
from drt_engine.readers.columns import NEEDED, VOID, TableColumn, exported, side_column, spectrum_of
from drt_engine.readers.modulus_phase import ROUNDED, unit_phasor
from drt_engine.readers.named import columns_of
from drt_engine.readers.rows import Rows, rows_of
from drt_engine.readers.sweeps import split_rows
from drt_engine.readers.text import TextTable
from drt_engine.text import count_of

__all__ = [
    "BEYOND",
    "EXACT",
    "check_points",
    "column_at",
    "counted",
    "half_digits",
    "points_of",
    "polar",
    "refuse_disagreement",
    "refuse_more_rows",
]

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]

EXACT = 5e-6
"""How far two printings of one impedance may differ, of |Z|, beside the rounding of their digits: single precision."""

BEYOND = 1e30
"""Numbers of at least this size are no measurement in any unit."""


def points_of(table: TextTable, heading: int, *, rename: Mapping[str, str] | None = None, minus: bool = False) -> Rows:
    """Return the points of a table, checked against |Z| and phase where it has them.

    Parameters
    ----------
    table : TextTable
        Rows and their headings.
    heading : int
        Line of the headings.
    rename : mapping of str to str, optional
        As in `find_columns`.
    minus : bool, optional
        Whether headings of the format may begin with a minus sign.

    Raises
    ------
    FileFormatError
        For missing columns, a minus sign that the format does not have, numbers beyond any measurement, |Z| and phase
        that differ by more than their rounding, and for what `rows_of` refuses.
    """
    columns = columns_of(table, lambda message: table.text.error(heading, message), rename=rename)
    needed = [column for name, column in columns.items() if name in NEEDED and not column.stated]
    signed = [column.heading for column in needed if column.meaning.factor < 0]
    if signed and not minus:
        raise table.text.error(
            heading, f"the heading {signed[0]!r} has a minus sign, which the format does not: the line is damaged."
        )
    _sensible(table, [columns[name].index for name in spectrum_of(columns)])
    rows = rows_of(table, columns, heading_line=heading)
    columns, _ = exported(table, columns, VOID)
    by_polar = polar(table, columns, rows)
    if by_polar is None:
        return rows
    what = f"{columns['modulus'].heading} and {columns['phase'].heading}"
    apart = refuse_disagreement(rows, *by_polar, what, rounded=ROUNDED)
    return replace(rows, remarks=tuple(dict.fromkeys([*rows.remarks, *apart])))


def _sensible(table: TextTable, indices: list[int]) -> Floats:
    """Return columns as numbers, none of them beyond any measurement; NaN for cells that say so."""
    values = table.numbers(indices, VOID)
    beyond = np.argwhere(np.abs(values) >= BEYOND)
    if beyond.size:
        row, j = (int(i) for i in beyond[0])
        raise table.text.error(
            int(table.lines[row]),
            f"column {indices[j] + 1} ({table.headings[indices[j]]}) has {values[row, j]:g}, which is beyond any "
            "measurement. The line is damaged: export the file again.",
        )
    for zero in np.flatnonzero(np.any(values == 0, axis=1)):  # 0E999 is 0, with a last digit beyond all numbers
        cells = table.cells(int(zero))
        odd = next((cells[i] for i in indices if re.search(r"[eEdD]\+?0*[1-9]\d{2,}$", cells[i])), None)
        if odd is not None:
            raise table.text.error(
                int(table.lines[zero]), f"the exponent of {odd!r} is damaged: export the file again."
            )
    return values


def column_at(table: TextTable, rows: Rows, heading: str) -> Floats | None:
    """Return one column at the points of a spectrum, shape (N,), or None if there is no such heading.

    Cells that are not numbers, or numbers beyond any measurement, are NaN: such a column is no part of a spectrum.
    """
    if heading not in table.headings:
        return None
    values, _ = side_column(table, table.headings.index(heading))
    values = np.where(np.abs(values) < BEYOND, values, np.nan)
    return np.asarray(values[np.searchsorted(table.lines, rows.lines)], dtype=np.float64)


def polar(table: TextTable, columns: Mapping[str, TableColumn], rows: Rows) -> tuple[Complex, Floats] | None:
    """Return the impedance by the columns of |Z| and phase, and its rounding, ohm; None without such columns."""
    if not {"modulus", "phase", "re", "im"} <= columns.keys():
        return None
    modulus, phase = (_scaled(table, columns[name], rows) for name in ("modulus", "phase"))
    printed = {
        name: abs(columns[name].meaning.factor) * half_digits(table, columns[name].index, rows)
        for name in ("re", "im", "modulus", "phase")
    }
    rounding = printed["re"] + printed["im"] + printed["modulus"] + printed["phase"] * np.abs(modulus)
    return modulus * unit_phasor(phase), rounding


def _scaled(table: TextTable, column: TableColumn, rows: Rows) -> Floats:
    values = side_column(table, column.index, VOID)[0][np.searchsorted(table.lines, rows.lines)]
    return np.asarray(column.meaning.factor * values + column.meaning.offset, dtype=np.float64)


def half_digits(table: TextTable, index: int, rows: Rows) -> Floats:
    """Return half a unit of the last printed digit of a column at the points of a spectrum, shape (N,)."""
    at = np.searchsorted(table.lines, rows.lines)
    return np.array([table.resolution(int(row), index) for row in at], dtype=np.float64)


def refuse_disagreement(
    rows: Rows, other: Complex, rounding: Floats | float, what: str, *, rounded: float = 0.0
) -> tuple[str, ...]:
    """Refuse points whose impedance is not what other columns of the same row give, and remark on small differences.

    Parameters
    ----------
    rows : Rows
        The points.
    other : ndarray of complex, shape (N,)
        Impedance by the other columns, ohm.
    rounding : ndarray, shape (N,), or float
        By how much the digits that are not printed can move it, ohm.
    what : str
        The other columns, for the message.
    rounded : float, optional
        How far the two may differ, of |Z|, with a remark, if they do so in many rows.

    Raises
    ------
    FileFormatError
        At the first such point.
    """
    rows_known = ~np.isnan(other)  # a cell that says that it has no value contradicts nothing
    other = np.where(np.isfinite(other), other, BEYOND)
    off = np.abs(other - rows.impedance)
    size = np.maximum(np.abs(rows.impedance), np.abs(other))
    allowed = np.minimum(1.01 * np.asarray(rounding), 0.1 * size)  # a damaged exponent must not excuse itself
    apart = np.flatnonzero(rows_known & ~(off <= EXACT * size + allowed))
    if apart.size <= max(3, rows.frequency.size // 10):  # rounding shows in many rows, damage in few
        rounded = EXACT
    bad = apart[~(off[apart] <= np.maximum(EXACT, rounded) * size[apart] + allowed[apart])]
    if bad.size:
        i = int(bad[0])
        raise rows.error(
            i,
            f"Re and Im give {rows.impedance[i]:.6g} ohm, where {what} give {other[i]:.6g} ohm. The row is damaged, or "
            "columns were exchanged: export the file again.",
        )
    if not apart.size:
        return ()
    most = 100 * float(np.max(off[apart] / size[apart]))
    return (
        f"{what} differ from Re and Im by up to {most:.2g} % of |Z| at {count_of(apart.size, 'point')} (first at "
        f"{rows.unit} {rows.lines[apart[0]]}); Re and Im were taken",
    )


def counted(rows: Rows, number: Floats | None, name: str) -> tuple[str, ...]:
    """Return a remark if points are missing, or out of order, by the column that counts them.

    Parameters
    ----------
    rows : Rows
        The points.
    number : ndarray, shape (N,), or None
        What the column has at each point; it rises within a table. NaN where a cell is not a number.
    name : str
        Its heading.

    Raises
    ------
    FileFormatError
        Where it does not rise, nor the frequencies go on in order: lines were exchanged or doubled.
    """
    if number is None or number.size < 2 or np.isnan(number).all():
        return ()
    known = np.flatnonzero(~np.isnan(number))
    void = count_of(number.size - known.size, f"cell of {name} is not a number", f"cells of {name} are not numbers")
    remarks = [void] if known.size < number.size else []
    step = np.diff(number[known])
    back = np.flatnonzero(step <= 0)
    if back.size:
        i, before = int(known[back[0] + 1]), int(known[back[0]])
        what = f"{name} is {number[i]:g} after {number[before]:g}, where it counts the points"
        if not _in_step(rows.frequency, i):
            raise rows.error(i, f"{what}: lines were exchanged, doubled or damaged. Export the file again.")
        return (
            *remarks,
            f"{what} ({rows.unit} {rows.lines[i]}): the count is damaged, as the frequencies are in order",
        )
    lost = number[known[-1]] - number[known[0]] - (known[-1] - known[0])
    if lost > 0:
        i = int(known[np.flatnonzero(step > np.diff(known))[0]])
        remarks.append(
            f"{count_of(lost, 'point is', 'points are')} missing by the column {name} (first after {rows.unit} "
            f"{rows.lines[i]})"
        )
    return tuple(remarks)


def _in_step(frequency: Floats, i: int) -> bool:
    """Say whether the frequency at i lies between those beside it, as far as there are some."""
    near = np.diff(frequency[max(0, i - 2) : i + 2])
    return bool(np.all(near > 0) or np.all(near < 0))


def refuse_more_rows(table: TextTable, stated: int | None) -> None:
    """Refuse a table of more rows than its header states.

    Parameters
    ----------
    table : TextTable
        The rows.
    stated : int or None
        Number of points by the header, if it says so.

    Raises
    ------
    FileFormatError
        At the first row too many.
    """
    if stated is not None and len(table) > stated:
        raise format_error(
            table.source,
            int(table.lines[stated]),
            f"{count_of(len(table), 'row')} of points, where the header says {stated}. Files were joined, or the "
            "header is damaged: export the file again.",
        )


def check_points(rows: Rows) -> tuple[str, ...]:
    """Check that sweeps begin where sweeps begin; remark on odd frequencies.

    Parameters
    ----------
    rows : Rows
        The points; tables of one file carry a ``sequence``.

    Returns
    -------
    tuple of str
        Frequencies that are out of step with those beside them, as a damaged digit makes them.

    Raises
    ------
    FileFormatError
        Where the frequency turns back to neither the beginning nor the end of the sweep before.
    """
    pieces, _ = split_rows(rows)
    sequence = rows.states.get("sequence", np.zeros(rows.frequency.size))
    remarks = []
    for number, piece in enumerate(pieces):
        if number and sequence[piece[0]] == sequence[pieces[number - 1][0]]:
            _refuse_break(rows, pieces[number - 1], piece)
        remarks += [
            f"{rows.frequency[i]:.6g} Hz ({rows.unit} {rows.lines[i]}) is out of step with the frequencies beside it"
            for i in _out_of_step(rows.frequency, piece)
        ]
    if len(remarks) > 3:  # a list of the user's own, and no damage
        return (f"{len(remarks)} frequencies are not evenly spaced",)
    return tuple(remarks)


def _refuse_break(rows: Rows, before: NDArray[np.intp], piece: NDArray[np.intp]) -> None:
    f = rows.frequency
    span = abs(np.log(f[before[0]] / f[before[-1]]))
    again = abs(np.log(f[piece[0]] / f[before[0]])) <= 0.3 * span
    returning = before.size > 2 and piece.size > 1 and (f[piece[1]] - f[piece[0]]) * (f[before[-1]] - f[before[0]]) < 0
    back = returning and abs(np.log(f[piece[0]] / f[before[-1]])) <= 0.3 * span
    if not (again or back):
        raise rows.error(
            int(piece[0]),
            f"the frequency turns back to {f[piece[0]]:.6g} Hz, where the sweep went from {f[before[0]]:.6g} to "
            f"{f[before[-1]]:.6g} Hz. The line is damaged, or lines were exchanged.",
        )


def _out_of_step(frequency: Floats, piece: NDArray[np.intp]) -> list[int]:
    """Return points whose steps to either side differ from the median step by more than half."""
    if piece.size < 6:
        return []
    steps = np.abs(np.diff(np.log(frequency[piece])))
    odd = np.abs(steps / np.median(steps) - 1) > 0.5
    wrong = np.concatenate([[odd[0] and not odd[1]], odd[1:] & odd[:-1], [odd[-1] and not odd[-2]]])
    return [int(piece[i]) for i in np.flatnonzero(wrong)]
