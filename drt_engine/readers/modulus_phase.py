"""Modulus and phase, in degrees or radians: alone, or beside Re and Im, which they must agree with."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import FileFormatError
from drt_engine.readers.base import format_error
from drt_engine.readers.columns import HeadedTable, TableColumn, by_number, scaled, side_column
from drt_engine.text import count_of

__all__ = ["ROUNDED", "contradictions", "impedance_of", "unit_phasor", "with_unit_of_phase"]

Floats = NDArray[np.float64]

TOLERANCE = 1e-3
"""How far |Z| and phase may be from Re and Im, of |Z|, beside the rounding of printed digits, without a word."""

ROUNDED = 5e-3
"""How far they may be with a remark, as an export rounds them or averages them apart; beyond it they contradict."""

_FITS, _FITS_NOT = 0.01, 0.05
"""How far a phase is from that of Re and Im, in the middle, in the unit that it is in, and in another one; radian."""


def with_unit_of_phase(
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
        return _with_unit_by_re_and_im(table, columns, missing)
    cells = side_column(table, phase.index, missing)[0]
    if not np.any(np.abs(cells) <= 1.01 * np.pi / 2) or np.nanmax(np.abs(cells)) > 1.01 * np.pi / 2:
        return columns, []
    sign = np.sign(phase.meaning.factor)
    radian = {**columns, "phase": replace(phase, meaning=replace(phase.meaning, factor=float(sign), assumed=False))}
    if {"re", "im"} <= columns.keys():
        off = _phase_differences(table, (columns, radian), missing)
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


def _phase_differences(
    table: HeadedTable, readings: Sequence[Mapping[str, TableColumn]], missing: frozenset[str]
) -> list[float]:
    """Return by how much the phase differs from that of Re and Im in the middle, radian, if it is read in some ways."""
    columns = readings[0]
    part = table.numbers([columns["re"].index, columns["im"].index], missing)
    cells = side_column(table, columns["phase"].index, missing)[0]
    angle = np.arctan2(scaled(columns["im"], part[:, 1]), scaled(columns["re"], part[:, 0]))
    off = [np.abs(unit_phasor(angle - scaled(one["phase"], cells)) - 1.0) for one in readings]
    known = np.isfinite(off).all(axis=0)
    return [float(np.median(one[known])) if known.any() else 0.0 for one in off]


def _with_unit_by_re_and_im(
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
        off = _phase_differences(table, (columns, other), missing)
    except FileFormatError:
        # A damaged cell is told where all columns are read.
        return columns, []
    if not off[1] < _FITS < _FITS_NOT < off[0]:
        return columns, []
    return other, [f"{phase.heading!r} is in {'degrees' if is_radian else 'radians'}, as Re and Im say"]


def impedance_of(values: Mapping[str, Floats]) -> NDArray[np.complex128]:
    """Return the impedance from Re and Im if both are there, else from |Z|, ohm, and phase, radian; shape (N,)."""
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


def unit_phasor(angle: Any) -> Any:
    """Return exp(jφ), NaN for an angle that is not finite, of which numpy warns."""
    return np.exp(1j * np.where(np.isfinite(angle), angle, np.nan))


def contradictions(
    table: HeadedTable, columns: Mapping[str, TableColumn], values: Mapping[str, Floats], keep: NDArray[np.intp]
) -> list[str]:
    """Check |Z| and phase against Re and Im: remark on small differences, and raise at the first row of a large one."""
    if "re" not in values or "im" not in values:
        return []
    z = impedance_of(values)[keep]
    size = np.maximum(np.abs(z), np.nan_to_num(np.abs(values["modulus"][keep])) if "modulus" in values else 0.0)
    checks: list[tuple[str, Floats]] = []
    if "modulus" in values:
        checks.append(("modulus", np.abs(np.abs(z) - values["modulus"][keep])))
    if "phase" in values:
        phase = values["phase"][keep]
        off = np.abs(unit_phasor(np.angle(z) - phase) - 1) * np.abs(z)
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
        f"without this check, with columns='{by_number(columns)}'."
    )
    if name == "phase":
        phase = unit_phasor(at["phase"])
        for other, words in (
            (z.conjugate(), "The imaginary part has the other sign"),
            (1j * z.conjugate(), "Re and Im are exchanged"),
            (-1j * z.conjugate(), "Re and Im are exchanged"),
        ):
            if abs(other / abs(z) - phase) < min(0.01, 0.5 * abs(z / abs(z) - phase)):
                cause = f"{words}, by the phase. Correct the heading, or {_cures(columns, words)}."
    return (
        f"{columns['re'].heading!r} and {columns['im'].heading!r} give {got}, where {columns[name].heading!r} says "
        f"{said}. {cause}"
    )


def _cures(columns: Mapping[str, TableColumn], words: str) -> str:
    """Return how to say what the phase says of Re and Im, or that the phase is wrong."""
    swap = "exchanged" in words
    meant = by_number(columns, swap=swap, turn=not swap)
    return f"say so with columns='{meant}'; if the phase is wrong, read without it with columns='{by_number(columns)}'"
