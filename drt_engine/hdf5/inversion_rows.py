"""An inversion that grows with its campaign: further rows, and rows that are replaced, in a file of inversions."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import FileFormatError
from drt_engine.hdf5 import schema
from drt_engine.hdf5.columns import StoredColumn
from drt_engine.hdf5.files import NewFile, PathLike, digest, reading
from drt_engine.hdf5.grid_reader import GridReader, check_root, members
from drt_engine.hdf5.grid_writer import GridWriter, Layout, put_root
from drt_engine.hdf5.inversions import gamma_units, inversion_attributes, inversion_group, per_spectrum, spectra_kept
from drt_engine.hdf5.reader import opened_grid
from drt_engine.hdf5.scan import SpectraInfo
from drt_engine.methods import Method
from drt_engine.result import Inversion
from drt_engine.spectra import with_states

__all__ = ["Solutions", "numbers_of", "opened_inversion", "put_solutions"]

Array = NDArray[Any]

_ROWS_AT_ONCE = 8192
"""Rows that are written at once: some ten megabytes."""


@dataclass(frozen=True, eq=False)
class Solutions:
    """Solutions of some spectra of a grid.

    Attributes
    ----------
    method : Method
        How all spectra of the grid were inverted.
    rows : ndarray of int, shape (R,)
        Row numbers in the campaign, ascending.
    result : Inversion or None
        Of these; None where there are none.
    keep : bool
        Whether solutions of other rows that the file has stay.
    """

    method: Method
    rows: NDArray[np.intp]
    result: Inversion | None
    keep: bool


def opened_inversion(
    path: PathLike, file: Any, name: str, grid: str, states: Collection[str] | None = None
) -> GridReader | None:
    """Look at an inversion in an open file, with some or all states; None if it has none of that name for that grid."""
    check_root(path, file)
    inversions = members(path, file, schema.INVERSIONS_PATH, required=False)
    if name not in inversions or grid not in inversions[name]:
        return None
    group = inversions[name][grid]
    expected = schema.INVERSION_WITH_INTERVALS if "level" in group.attrs else schema.INVERSION
    return GridReader(path, group, expected, states)


def put_solutions(
    path: PathLike, campaign: PathLike, grids: Mapping[SpectraInfo, Solutions], name: str, level: float | None = None
) -> None:
    """Write solutions of some rows of a campaign beside those of its other rows.

    The file that is there is only read: a copy of it is changed and takes its place when it is whole, as
    :func:`drt_engine.hdf5.add_spectra` does it. Afterwards there is one row for each spectrum of the campaign, with the
    states that it has there.

    Parameters
    ----------
    path : path
        File of inversions; made if it is not there.
    campaign : path
        File of spectra.
    grids : mapping of SpectraInfo to Solutions
        By grid, all grids of the campaign as :func:`drt_engine.hdf5.scan` found them. Rows that are not given must be
        in the file.
    name : str
        What the inversion is called.
    level : float, optional
        Probability of the intervals that the results have.

    Raises
    ------
    FileFormatError
        If a file cannot be read, or the campaign has other rows than that.
    FileWriteError
        If the file cannot be written.
    """
    target, there = Path(path).resolve(), Path(path).is_file()
    provenance = {"source": Path(campaign).name, "input_digest": digest(campaign)}
    with NewFile(target, overwrite=True, inputs=(campaign,), base=path if there else None) as output:
        if not there:
            with output.writing():
                put_root(output.file)
        for info, solutions in grids.items():
            with opened_grid(campaign, info.grid) as source:
                writer = _onto(output, path, (name, info.grid), source, solutions) if there else None
                if writer is None:
                    writer = _anew(output, (name, info), source, solutions.method, level)
                    if there and solutions.keep:
                        _copy(writer, path, (name, info.grid), source, solutions.rows)
                if solutions.result is not None:
                    _write(writer, source, solutions.rows, solutions.result)
            if writer.rows != info.spectra:
                raise FileFormatError(f"{campaign}: was changed while it was read. Start again.")
            expansion = solutions.method.expansion(np.sort(info.frequency)[::-1])
            writer.put_units(gamma_units(solutions.method))
            writer.put_attributes(inversion_attributes(solutions.method, expansion) | provenance)


def _anew(
    output: NewFile, names: tuple[str, SpectraInfo], source: GridReader, method: Method, level: float | None
) -> GridWriter:
    """Make the group of an inversion of a grid without rows, in place of the one that the file may have."""
    name, info = names
    with output.writing():
        place = f"{schema.INVERSIONS_PATH}/{name}/{info.grid}"
        if place in output.file:
            del output.file[place]
    frequency = np.sort(info.frequency)[::-1]
    return inversion_group(
        output,
        (name, info.grid),
        frequency,
        method.expansion(frequency),
        source.columns,
        Layout(info.spectra),
        level,
        measured=spectra_kept(method),
    )


def _write(writer: GridWriter, source: GridReader, rows: NDArray[np.intp], result: Inversion) -> None:
    """Write solutions of some rows, beside the states that the campaign has for them."""
    values = per_spectrum(result)
    values |= {column: source.read(column, rows) for column in writer.columns}
    values = writer.with_missing(values, rows.size)
    for some in _runs(rows):
        writer.write(int(rows[some.start]), {key: value[some] for key, value in values.items()})


def _onto(
    output: NewFile, path: PathLike, names: tuple[str, str], source: GridReader, solutions: Solutions
) -> GridWriter | None:
    """Go on with the rows of the copy, where states are stored as they are in the campaign now."""
    if not solutions.keep:
        return None
    with reading(path) as file:
        before = opened_inversion(path, file, *names)
        if before is None or [*before.columns] != [*source.columns]:
            return None
        if any(not _alike(before.columns[key], column) for key, column in source.columns.items()):
            return None
        return GridWriter.onto(output, output.file[f"{schema.INVERSIONS_PATH}/{'/'.join(names)}"], before)


def _alike(one: StoredColumn, other: StoredColumn) -> bool:
    return (one.dtype, one.meaning, one.missing) == (other.dtype, other.meaning, other.missing)


def _copy(
    writer: GridWriter, path: PathLike, names: tuple[str, str], source: GridReader, without: NDArray[np.intp]
) -> None:
    """Write the rows that a file has, piece by piece, beside the states that the campaign has for them now."""
    with reading(path) as file:
        before = opened_inversion(path, file, *names)
        if before is None:
            return
        kept = np.setdiff1d(np.arange(min(before.spectra, source.spectra)), without)
        variables = [one.name for one in before.expected.per_spectrum]
        for some in _runs(kept):
            rows = kept[some]
            values = {key: before.read(key, rows) for key in variables if before.has(key)}
            values |= {column: source.read(column, rows) for column in writer.columns}
            writer.write(int(rows[0]), writer.with_missing(values, rows.size))


def _runs(rows: NDArray[np.intp]) -> Iterator[slice]:
    """Pieces of ascending row numbers that follow each other, of a bounded length."""
    ends = np.append(np.flatnonzero(np.diff(rows) != 1) + 1, rows.size)
    start = 0
    for stop in ends.tolist():
        while start < stop:
            last = min(stop, start + _ROWS_AT_ONCE)
            yield slice(start, last)
            start = last


def numbers_of(path: PathLike, name: str, grid: str) -> pd.DataFrame | None:
    """Read what an inversion says of each spectrum in one number, with the states; None where there is none.

    Parameters
    ----------
    path : path
        File of inversions.
    name, grid : str
        Names of the inversion and of the grid.

    Raises
    ------
    FileFormatError
        If the file cannot be read.
    """
    with reading(path) as file:
        reader = opened_inversion(path, file, name, grid)
        if reader is None:
            return None
        single = [one.name for one in reader.expected.per_spectrum if len(one.dimensions) == 1 and reader.has(one.name)]
        rows = reader.rows(None)
        found = pd.DataFrame({"spectrum": rows} | {key: reader.read(key) for key in single})
        return with_states(found, reader.states(rows))
