"""Tables for other programs: everything that was found, with units in the headings, as csv, Excel or parquet."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.frames import Form, areas, measured_frame, per_area, spectra_per_area
from drt_engine.outputs import PathLike, check_outputs, new_file
from drt_engine.result_fields import (
    ELEMENT_UNITS,
    INTERVAL_UNITS,
    OF_GAMMA,
    OF_POINTS,
    PEAK_UNITS,
    PER_SPECTRUM,
    RESULT_UNITS,
)
from drt_engine.spectra import STATE_UNITS, Spectra, series_of
from drt_engine.text import for_spreadsheets, without_formula

if TYPE_CHECKING:
    from drt_engine.result import Inversion
    from drt_engine.tracking import Tracks

__all__ = ["TABLES", "concat", "gather", "put_together", "write_tables"]

TABLES = ("results", "gamma", "impedance", "peaks", "processes", "validation")
"""Tables that there are."""

_IMPEDANCE_UNITS = {"frequency": "Hz"} | dict.fromkeys(("z_real", "z_imag", "fit_real", "fit_imag"), "ohm")
_PROCESS_UNITS = ELEMENT_UNITS | PEAK_UNITS
_PROCESS_UNITS |= {f"{name}_error": unit for name, unit in _PROCESS_UNITS.items()}
_VALIDATION_UNITS = dict.fromkeys(("rms", "noise", "noise_proportional", "drift", "drift_error"), "%")
_UNITS: Mapping[str, Mapping[str, str]] = {
    "results": RESULT_UNITS | INTERVAL_UNITS,
    "gamma": {"tau": "s", "gamma": "ohm", "gamma_low": "ohm", "gamma_high": "ohm"},
    "impedance": _IMPEDANCE_UNITS,
    "peaks": _PROCESS_UNITS,
    "processes": _PROCESS_UNITS,
    "validation": _VALIDATION_UNITS | {"noise_constant": "ohm"},
}
_BY_AREA = {"ohm": "ohm cm2", "H": "H cm2", "F": "F/cm2", "S": "S/cm2"}
_LIKE_GAMMA = (*OF_GAMMA, "height", "prominence")
_EXCEL = (1_048_576, 16_384)
"""Rows and columns of a sheet of Excel (.xlsx), the most that the format has."""
_SUFFIXES = (".csv", ".parquet", ".xlsx")


def gather(
    result: "Inversion | Sequence[Inversion] | None" = None,
    spectra: Spectra | Sequence[Spectra] | None = None,
    tracks: "Tracks | None" = None,
    *,
    which: Iterable[str] | None = None,
    form: Form = "long",
    area: bool | float = False,
) -> dict[str, pd.DataFrame]:
    """Gather what was found as tables whose headings have units: ``gamma / ohm``.

    Parameters
    ----------
    result : Inversion or sequence of Inversion, optional
        A result, or results on several frequency grids: their tables stand below each other, with the column ``grid``.
    spectra : Spectra or sequence of Spectra, optional
        The spectra that were inverted, for measured impedances and validation; by default those that the result has.
    tracks : Tracks, optional
        Processes that were followed; their spectra are the rows of the result.
    which : iterable of str, optional
        Names among `TABLES`; by default all that there is something for but ``validation``, which is computed.
    form : {"long", "rows", "columns"}
        Of ``gamma`` and ``impedance``: one row a point; one row a spectrum; or one column a spectrum.
    area : bool or float
        Whether all is times the area of the electrode, by the state ``area``; or an area for all, cm².

    Returns
    -------
    dict of str to DataFrame
        Tables by name, in the order of `TABLES`.

    Raises
    ------
    UnknownNameError
        For a table or a form that does not exist.
    InputError
        For a table that there is nothing for, and without areas where they are needed.
    """
    if isinstance(result, Sequence) or isinstance(spectra, Sequence):
        pairs = _pairs(result, spectra, tracks)
        parts = {f"grid-{k}": gather(*pair, which=which, form=form, area=area) for k, pair in enumerate(pairs)}
        return put_together(parts, form)
    there = _there(result, spectra, tracks)
    wanted = [name for name in there if name != "validation"] if which is None else list(which)
    for name in wanted:
        if name not in TABLES:
            raise UnknownNameError("table", name, TABLES)
        if name not in there:
            raise InputError(
                f"the table {name!r} needs {_NEEDS[name]}; got none. Give it, or leave this table out of `which`."
            )
    states = result.states if result is not None else spectra.states if spectra is not None else None
    by = None if states is None else areas(states, area)
    # Peaks are looked for as they are without areas: what they are does not depend on them.
    scaled = None if result is None else per_area(result, by)
    measured = None if spectra is None else spectra_per_area(spectra, by)
    make: dict[str, Callable[[], pd.DataFrame]] = {
        "results": lambda: _of(scaled).to_frame(),
        "gamma": lambda: _of(scaled).gamma_frame(form=form),
        "impedance": lambda: (
            measured_frame(_of(measured), form) if scaled is None else scaled.impedance_frame(measured, form=form)
        ),
        "validation": lambda: _validation(_of(spectra if spectra is not None else _of(result).spectra), by),
        "peaks": lambda: _scaled(_of(result).peaks(), by),
        "processes": lambda: _scaled(_of(tracks).table.reset_index(drop=True), by),
    }
    return {name: _headed(make[name](), _units(name, result), by is not None) for name in TABLES if name in wanted}


def _units(name: str, result: "Inversion | None") -> dict[str, str]:
    """Units of the columns of a table; those of γ follow what it is in."""
    gamma = "ohm" if result is None else result.gamma_units
    return {key: gamma if key in _LIKE_GAMMA else unit for key, unit in _UNITS[name].items()}


def _pairs(result: Any, spectra: Any, tracks: Any) -> "list[tuple[Inversion | None, Spectra | None]]":
    """Pair results with their spectra, where there are several of them."""
    if tracks is not None:
        raise InputError(
            "processes belong to one result; got several. Make tables of processes separately: gather(tracks=tracks)."
        )
    results, measured = ([one] if one is None or not isinstance(one, Sequence) else [*one] for one in (result, spectra))
    count = max(len(results), len(measured))
    for name, side, given in (("results", results, result), ("spectra", measured, spectra)):
        if given is not None and len(side) != count:
            raise InputError(f"there must be as many results as spectra; got {len(side)} {name} of {count}.")
    padded = ([*side, *[None] * (count - len(side))] for side in (results, measured))
    return list(zip(*padded, strict=True))


def put_together(parts: Mapping[str, Mapping[str, pd.DataFrame]], form: str = "long") -> dict[str, pd.DataFrame]:
    """Put tables of several grids below each other, and those beside each other that have columns of their own.

    Parameters
    ----------
    parts : mapping of str to mapping of str to DataFrame
        Tables, as :func:`gather` makes them, by the name of the grid.
    form : str
        The form that they were made in.
    """
    if len(parts) == 1:
        return dict(next(iter(parts.values())))
    made: dict[str, pd.DataFrame] = {}
    for name in next(iter(parts.values())):
        if form != "long" and name in ("gamma", "impedance"):
            made |= {f"{name} {grid}": tables[name] for grid, tables in parts.items() if name in tables}
        else:
            frames = [tables[name].assign(grid=grid) for grid, tables in parts.items() if name in tables]
            made[name] = pd.concat(frames, ignore_index=True)
    return made


_NEEDS = {
    "results": "an inversion",
    "gamma": "an inversion",
    "peaks": "an inversion",
    "impedance": "an inversion or spectra",
    "processes": "processes that were followed: drt-engine peaks --store",
    "validation": "measured spectra",
}


def _there(result: "Inversion | None", spectra: Spectra | None, tracks: "Tracks | None") -> list[str]:
    measured = spectra is not None or (result is not None and result.impedance is not None)
    found = {
        "results": result is not None,
        "gamma": result is not None,
        "impedance": result is not None or measured,
        "peaks": result is not None,
        "processes": tracks is not None,
        "validation": measured,
    }
    return [name for name in TABLES if found[name]]


def _of(value: Any) -> Any:
    """Return a value that was checked to be there."""
    assert value is not None
    return value


def _validation(spectra: Spectra, by: Any) -> pd.DataFrame:
    from drt_engine.validation import validate

    table = validate(spectra).to_frame()
    if by is not None:
        table["noise_constant"] *= by
    table.insert(0, "spectrum", np.arange(len(table)))
    return table


def _scaled(table: pd.DataFrame, by: Any) -> pd.DataFrame:
    """Multiply resistances of a table of peaks or processes by areas, and divide capacitances."""
    if by is None:
        return table
    own = by[table["spectrum"].to_numpy(dtype=int)]
    for name, unit in _PROCESS_UNITS.items():
        if name in table.columns and unit in _BY_AREA:
            table = table.assign(**{name: table[name] / own if unit == "F" else table[name] * own})
    return table


def _headed(table: pd.DataFrame, units: Mapping[str, str], area: bool) -> pd.DataFrame:
    """Write the unit of each column into its heading."""
    units = dict(STATE_UNITS) | dict(units)

    def heading(name: Any) -> str:
        quantity, at = name if isinstance(name, tuple) else (name, None)
        unit = units.get(str(quantity), "1")
        unit = _BY_AREA.get(unit, unit) if area else unit
        if at is None:
            return str(quantity) if unit == "1" else f"{quantity} / {unit}"
        # One row a spectrum has a column for each number of its axis, one column a spectrum has the names of spectra.
        if isinstance(at, str):
            return f"{quantity} / {unit}, {at}"
        return f"{quantity} / {unit} at {at:.6g} {'s' if str(quantity).startswith('gamma') else 'Hz'}"

    return table.set_axis([heading(name) for name in table.columns], axis="columns")


def write_tables(
    path: PathLike,
    tables: Mapping[str, pd.DataFrame],
    *,
    overwrite: bool = False,
    inputs: Iterable[PathLike | None] = (),
) -> list[Path]:
    """Write tables as csv, Excel (``.xlsx``) or parquet; each file appears whole or not at all.

    A workbook has a sheet for each table. The other kinds hold one table a file: several are written beside each other
    as ``NAME-gamma.csv``. Text that a spreadsheet would take for a formula is written as text.

    Parameters
    ----------
    path : path
        Where to; its ending is the kind of file.
    tables : mapping of str to DataFrame
        Tables by name, as :func:`gather` makes them.
    overwrite : bool
        Whether files of those names are replaced; an HDF5 file never is.
    inputs : iterable of path or None
        What was read, which is never replaced.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    UnknownNameError
        For another ending.
    InputError
        For tables that do not fit into a sheet, and where a package is missing that writes such files.
    OutputExistsError
        If a file exists and is not to be replaced.
    """
    path, inputs = Path(path), tuple(inputs)
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise UnknownNameError("ending of a table", path.suffix, _SUFFIXES)
    _require(suffix)
    if suffix == ".xlsx" or len(tables) == 1:
        targets = {path: tables}
    else:
        targets = {path.with_name(f"{path.stem}-{_stem(name)}{path.suffix}"): {name: tables[name]} for name in tables}
    if suffix == ".xlsx":
        _check_sheets(tables)
    check_outputs(*targets, overwrite=overwrite, inputs=inputs)
    for target, some in targets.items():
        with new_file(target, overwrite=overwrite, inputs=inputs) as partial:
            _write(partial, suffix, some)
    return list(targets)


def _write(partial: Path, suffix: str, tables: Mapping[str, pd.DataFrame]) -> None:
    if suffix == ".xlsx":
        with pd.ExcelWriter(partial, engine="openpyxl") as book:
            for name, table in tables.items():
                for_spreadsheets(table).to_excel(book, sheet_name=_sheet(name), index=False, freeze_panes=(1, 0))
        return
    (table,) = tables.values()
    if suffix == ".csv":
        for_spreadsheets(table).to_csv(partial, index=False)
    else:
        table.to_parquet(partial, engine="pyarrow", index=False)


def _require(suffix: str) -> None:
    from importlib.util import find_spec

    package = {".xlsx": "openpyxl", ".parquet": "pyarrow"}.get(suffix)
    if package is not None and find_spec(package) is None:
        raise InputError(
            f"{suffix} is written by {package}, which is not installed. Install it: pip install {package}; or write "
            ".csv."
        )


def _check_sheets(tables: Mapping[str, pd.DataFrame]) -> None:
    for name, table in tables.items():
        rows, columns = len(table) + 1, len(table.columns)
        if rows > _EXCEL[0] or columns > _EXCEL[1]:
            raise InputError(
                f"a sheet of Excel has {_EXCEL[0]} rows and {_EXCEL[1]} columns at most; the table {name!r} has {rows} "
                f"and {columns}. Write .parquet or .csv, choose fewer spectra, or another form."
            )


def _sheet(name: str) -> str:
    """Name of a sheet: without the signs that Excel forbids, and not too long."""
    return "".join("_" if sign in "[]:*?/\\'" else sign for sign in without_formula(name))[:31]


def _stem(name: str) -> str:
    return "".join(sign if sign.isalnum() or sign in "-_." else "_" for sign in name)


def concat(parts: Sequence[Any]) -> Any:
    """Put spectra, or results, on one frequency grid below each other.

    Parameters
    ----------
    parts : sequence of Spectra, or of Inversion
        Two or more; rows keep their order. A state that only some of them have is missing in the others.

    Returns
    -------
    Spectra or Inversion
        What the parts are. Results keep their intervals if all of them have some of one level, and their spectra if all
        have them.

    Raises
    ------
    InputError
        If there are none, for a mixture, and for parts on other frequencies or inverted otherwise.
    """
    from drt_engine.result import Inversion

    parts = list(parts)
    kinds = {type(part) for part in parts}
    if kinds not in ({Spectra}, {Inversion}):
        names = ", ".join(sorted(kind.__name__ for kind in kinds)) or "nothing"
        raise InputError(f"concat takes a list of Spectra, or of Inversion; got {names}.")
    first = parts[0]
    for number, part in enumerate(parts[1:], 1):
        if not np.array_equal(part.frequency, first.frequency):
            raise InputError(
                f"parts must be on the same frequencies; part 0 has {first.frequency.size} from "
                f"{first.frequency[0]:.4g} to {first.frequency[-1]:.4g} Hz and part {number} {part.frequency.size} "
                f"from {part.frequency[0]:.4g} to {part.frequency[-1]:.4g} Hz. Keep them apart, or write them into "
                "one file under a name each."
            )
    states = pd.concat([part.states for part in parts], ignore_index=True)
    if kinds == {Spectra}:
        times = [part.point_time for part in parts]
        known = any(time is not None for time in times)
        filled = [
            np.full(part.impedance.shape, np.nan) if time is None else time
            for part, time in zip(parts, times, strict=True)
        ]
        z = np.concatenate([part.impedance for part in parts])
        return Spectra(first.frequency, z, states, np.concatenate(filled) if known else None)
    _check_alike(parts, states)
    arrays: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in PER_SPECTRUM}
    for name in OF_POINTS:
        known_ones = [getattr(part, name) for part in parts]
        arrays[name] = None if any(one is None for one in known_ones) else np.concatenate(known_ones)
    found = [part.intervals for part in parts]
    alike = all(one is not None and one.level == found[0].level for one in found)
    arrays["intervals"] = (
        replace(found[0], **{name: np.concatenate([getattr(one, name) for one in found]) for name in INTERVAL_UNITS})
        if alike
        else None
    )
    return replace(first, **arrays, states=states)


def _check_alike(results: "Sequence[Inversion]", states: pd.DataFrame) -> None:
    first = results[0]
    for number, other in enumerate(results[1:], 1):
        same = other.method == first.method and np.array_equal(other.tau, first.tau)
        if not (same and (other.expansion.basis, other.expansion.mu) == (first.expansion.basis, first.expansion.mu)):
            raise InputError(
                f"results must be of one method on the same relaxation times; part 0 is of {first.method!r} and part "
                f"{number} of {other.method!r}. Put the spectra together, and invert them at once."
            )
    if getattr(first.method, "along", None) is None:
        return
    # What was not inverted together must not look as if it had been.
    member, _ = series_of(states, getattr(first.method, "series", None) or ())
    part = np.repeat(np.arange(len(results)), [len(result) for result in results])
    if pd.Series(part).groupby(member).nunique().max() > 1:
        raise InputError(
            f"results of one series must have been inverted together, along {first.method.along!r}; got parts of one "  # type: ignore[attr-defined]
            "series in several results. Put the spectra together, and invert them at once."
        )
