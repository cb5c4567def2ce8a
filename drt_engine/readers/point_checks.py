"""Points of one table, and whether what a file says twice of them agrees."""

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from drt_engine.readers.base import problem
from drt_engine.readers.columns import Column, Rows, find_columns, rows_of
from drt_engine.readers.sweeps import split_rows
from drt_engine.readers.text import TextTable

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
    """Return the points of a table, held against |Z| and phase where it has them.

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
    columns = find_columns(table.headings, lambda message: table.text.error(heading, message), rename=rename)
    signed = [column.heading for column in columns.values() if column.meaning.factor < 0]
    if signed and not minus:
        raise table.text.error(
            heading, f"the heading {signed[0]!r} has a minus sign, which the format does not: the line is damaged."
        )
    _sensible(table, [column.index for column in columns.values()])
    rows = rows_of(table, columns, heading_line=heading)
    by_polar = polar(table, columns, rows)
    if by_polar is not None:
        refuse_disagreement(rows, *by_polar, f"{columns['modulus'].heading} and {columns['phase'].heading}")
    return rows


def _sensible(table: TextTable, indices: list[int]) -> Floats:
    """Return columns as numbers, none of them beyond any measurement."""
    values = table.numbers(indices)
    beyond = np.argwhere(~(np.abs(values) < BEYOND))
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

    Raises
    ------
    FileFormatError
        For cells that are no numbers, or numbers beyond any measurement.
    """
    if heading not in table.headings:
        return None
    values = _sensible(table, [table.headings.index(heading)])[:, 0]
    return np.asarray(values[np.searchsorted(table.lines, rows.lines)], dtype=np.float64)


def polar(table: TextTable, columns: Mapping[str, Column], rows: Rows) -> tuple[Complex, Floats] | None:
    """Return the impedance by the columns of |Z| and phase, and its rounding, ohm; None without such columns."""
    if not {"modulus", "phase", "re", "im"} <= columns.keys():
        return None
    modulus, phase = (_scaled(table, columns[name], rows) for name in ("modulus", "phase"))
    printed = {
        name: abs(columns[name].meaning.factor) * half_digits(table, columns[name].index, rows)
        for name in ("re", "im", "modulus", "phase")
    }
    rounding = printed["re"] + printed["im"] + printed["modulus"] + printed["phase"] * np.abs(modulus)
    return modulus * np.exp(1j * phase), rounding


def _scaled(table: TextTable, column: Column, rows: Rows) -> Floats:
    values = column_at(table, rows, table.headings[column.index])
    assert values is not None
    return np.asarray(column.meaning.factor * values + column.meaning.offset, dtype=np.float64)


def half_digits(table: TextTable, index: int, rows: Rows) -> Floats:
    """Return half a unit of the last printed digit of a column at the points of a spectrum, shape (N,)."""
    at = np.searchsorted(table.lines, rows.lines)
    return np.array([table.resolution(int(row), index) for row in at], dtype=np.float64)


def refuse_disagreement(rows: Rows, other: Complex, rounding: Floats | float, what: str) -> None:
    """Refuse points whose impedance is not what other columns of the same row give.

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

    Raises
    ------
    FileFormatError
        At the first such point.
    """
    other = np.where(np.isfinite(other), other, BEYOND)
    off = np.abs(other - rows.impedance)
    size = np.maximum(np.abs(rows.impedance), np.abs(other))
    allowed = np.minimum(1.01 * np.asarray(rounding), 0.1 * size)  # a damaged exponent must not excuse itself
    bad = np.flatnonzero(~(off <= EXACT * size + allowed))
    if bad.size:
        i = int(bad[0])
        raise rows.error(
            i,
            f"Re and Im give {rows.impedance[i]:.6g} ohm, where {what} give {other[i]:.6g} ohm. The row is damaged, or "
            "columns were exchanged: export the file again.",
        )


def counted(rows: Rows, number: Floats | None, name: str) -> tuple[str, ...]:
    """Check the column that counts the points, and return a remark if points are missing.

    Parameters
    ----------
    rows : Rows
        The points.
    number : ndarray, shape (N,), or None
        What the column has at each point; it rises within a table.
    name : str
        Its heading.

    Raises
    ------
    FileFormatError
        Where it does not rise.
    """
    if number is None or number.size < 2:
        return ()
    step = np.diff(number)
    back = np.flatnonzero(step <= 0)
    if back.size:
        i = int(back[0]) + 1
        raise rows.error(
            i,
            f"{name} is {number[i]:g} after {number[i - 1]:g}, where it counts the points: lines were exchanged, "
            "doubled or damaged. Export the file again.",
        )
    gap = np.flatnonzero(step > 1)
    if not gap.size:
        return ()
    lost, i = int(step[gap].sum() - gap.size), int(gap[0])
    return (f"{lost} points are missing by the column {name} (first after {rows.unit} {rows.lines[i]})",)


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
        raise problem(
            table.source,
            int(table.lines[stated]),
            f"{len(table)} rows of points, where the header says {stated}. Files were joined, or the header is "
            "damaged: export the file again.",
        )


def check_points(rows: Rows) -> tuple[str, ...]:
    """Check that time does not run backwards and that sweeps begin where sweeps begin; remark on odd frequencies.

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
        Where the frequency turns back to neither the beginning nor the end of the sweep before, and where time runs
        backwards within a sweep.
    """
    pieces, _ = split_rows(rows)
    sequence = rows.states.get("sequence", np.zeros(rows.frequency.size))
    remarks = []
    for number, piece in enumerate(pieces):
        if number and sequence[piece[0]] == sequence[pieces[number - 1][0]]:
            _refuse_break(rows, pieces[number - 1], piece)
        _refuse_time_back(rows, piece)
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


def _refuse_time_back(rows: Rows, piece: NDArray[np.intp]) -> None:
    time = rows.states.get("time")
    if time is None:
        return
    back = np.flatnonzero(np.diff(time[piece]) < 0)
    if back.size:
        i, before = int(piece[back[0] + 1]), int(piece[back[0]])
        raise rows.error(
            i,
            f"time goes back from {time[before]:g} to {time[i]:g} s within a sweep: lines were exchanged, or one is "
            "damaged. Export the file again.",
        )


def _out_of_step(frequency: Floats, piece: NDArray[np.intp]) -> list[int]:
    """Return points whose steps to either side differ from the median step by more than half."""
    if piece.size < 6:
        return []
    steps = np.abs(np.diff(np.log(frequency[piece])))
    odd = np.abs(steps / np.median(steps) - 1) > 0.5
    wrong = np.concatenate([[odd[0] and not odd[1]], odd[1:] & odd[:-1], [odd[-1] and not odd[-2]]])
    return [int(piece[i]) for i in np.flatnonzero(wrong)]
