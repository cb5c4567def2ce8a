"""What a report is about: the spectra of each grid, their test of validity, their results and processes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import DRTError, InputError
from drt_engine.hdf5 import read_inversion, read_spectra, read_tracks, scan
from drt_engine.peaks import without_edges
from drt_engine.result import Inversion
from drt_engine.selection import rows_where
from drt_engine.series import likely_series, series_columns
from drt_engine.spectra import Spectra
from drt_engine.tracking import Tracks, track
from drt_engine.validation import Validation, validate

__all__ = ["MOST_SPECTRA", "Contents", "Part", "gather"]

MOST_SPECTRA = 20_000
"""A page with a table of more than so many spectra opens slowly, or not at all."""


@dataclass(frozen=True, eq=False)
class Part:
    """What is reported of one frequency grid.

    Attributes
    ----------
    grid : str
        Its name.
    rows : ndarray of int, shape (K,)
        Row numbers in the file.
    spectra : Spectra or None
        Measured spectra; None where the file has results alone.
    validation : Validation or None
        Of the spectra.
    result : Inversion or None
        Their inversion.
    tracks : Tracks or None
        Processes; their ``spectrum`` counts the rows of this part.
    why_no_tracks : str
        Why there are none; empty where there are.
    """

    grid: str
    rows: NDArray[np.intp]
    spectra: Spectra | None
    validation: Validation | None
    result: Inversion | None
    tracks: Tracks | None = None
    why_no_tracks: str = ""

    def __len__(self) -> int:
        """K, the number of spectra."""
        return int(self.rows.size)

    @property
    def states(self) -> pd.DataFrame:
        """What each spectrum was measured at."""
        some = self.result if self.result is not None else self.spectra
        return pd.DataFrame() if some is None else some.states

    @property
    def frequency(self) -> NDArray[np.float64]:
        """Frequencies, Hz, descending."""
        some = self.result if self.result is not None else self.spectra
        return np.empty(0) if some is None else some.frequency


@dataclass(frozen=True, eq=False)
class Contents:
    """What is reported of a file.

    Attributes
    ----------
    path : Path
        The file.
    name : str or None
        Name of the inversion; None for spectra without one.
    where : str or None
        Condition on the states of the spectra that were chosen.
    parts : tuple of Part
        By grid.
    """

    path: Path
    name: str | None
    where: str | None
    parts: tuple[Part, ...]

    def __len__(self) -> int:
        """How many spectra are reported."""
        return sum(map(len, self.parts))


def gather(
    path: Path,
    *,
    name: str | None = None,
    where: str | None = None,
    along: str | None = None,
    series: Sequence[str] | None = None,
) -> Contents:
    """Read and compute all that a report says.

    Parameters
    ----------
    path : Path
        File of inversions, or of spectra.
    name : str, optional
        Name of the inversion; not needed where there is one.
    where : str, optional
        Condition on the states of the spectra that are reported.
    along : str, optional
        State that processes are followed along; by default that of the processes that the file has, or the first of
        voltage, cycle, temperature and time that has a course.

    series : sequence of str, optional
        States that are equal within a series of spectra along that; by default cell, cycle, direction, temperature and
        what else is text or whole numbers.

    Raises
    ------
    FileFormatError
        If the file cannot be read.
    InputError
        If there is nothing to report, or too much for one page.
    UnknownNameError
        For an inversion that does not exist.
    """
    contents = scan(path)
    inversions = [info for info in contents.inversions if name in (None, info.name)]
    names = {info.name for info in inversions}
    if len(names) > 1 or (name is not None and not names):
        known = ", ".join(sorted({info.name for info in contents.inversions})) or "none"
        raise InputError(f"{path}: which inversion is to be reported? There are {known}. Name one: --name.")
    grids = [info.grid for info in inversions] or [info.grid for info in contents.spectra]
    if not grids:
        raise InputError(f"{path}: holds neither spectra nor an inversion. Report a file that drt-engine invert made.")
    total = sum(info.spectra for info in (inversions or contents.spectra))
    if where is None and total > MOST_SPECTRA:
        _refuse(path, total)
    found = next(iter(names), None)
    parts = [_part(path, found, grid, where) for grid in grids]
    parts = [part for part in parts if len(part)]
    if not parts:
        raise InputError(f"{path}: no spectrum{' for which that holds' if where else ''}. Report another file.")
    if sum(map(len, parts)) > MOST_SPECTRA:
        _refuse(path, sum(map(len, parts)))
    stored = contents.processes[0].name if len(contents.processes) == 1 and len(grids) == 1 else None
    return Contents(path, found, where, tuple(_followed(part, path, stored, (along, series)) for part in parts))


def _refuse(path: Path, total: int) -> None:
    raise InputError(
        f"{path}: a report on {total} spectra would be too long for a browser; it takes up to {MOST_SPECTRA}. Choose "
        'some: --where "cycle <= 100".'
    )


def _part(path: Path, name: str | None, grid: str, where: str | None) -> Part:
    result = None if name is None else read_inversion(path, name, grid)
    if result is not None:
        states, measured = result.states, result.impedance
        spectra = None if measured is None else Spectra(result.frequency, measured, states)
    else:
        spectra = read_spectra(path, grid)
        states = spectra.states
    rows = np.arange(len(states)) if where is None else rows_where(states, where)
    spectra, result = (None if spectra is None else spectra[rows]), (None if result is None else result[rows])
    tested = validate(spectra) if spectra is not None and len(spectra) else None
    return Part(grid, rows, spectra, tested, result)


def _followed(part: Part, path: Path, stored: str | None, wish: tuple[str | None, Sequence[str] | None]) -> Part:
    """Add the processes that the file has, or follow the peaks of the result."""
    along, series = wish
    if part.result is None:
        return replace(part, why_no_tracks="The spectra are not inverted.")
    if stored is not None and along is None and series is None:
        tracks = read_tracks(path, stored)
        if len(tracks.table):
            return replace(part, tracks=_of_rows(tracks, part.rows))
    states = part.states
    likely = None if along is not None else likely_series(states)
    course = along or (likely[0] if likely is not None else None)
    if course is None:
        return replace(part, why_no_tracks="No state has a course along which processes could be followed.")
    peaks = without_edges(part.result.peaks())
    peaks = peaks[peaks["r"] > 0.0]
    if not len(peaks):
        return replace(part, why_no_tracks="No peak was found.")
    try:
        apart = series_columns(states, course, series)
        return replace(part, tracks=track(peaks, course, apart, states=states))
    except DRTError as error:
        if along is not None:
            raise
        return replace(part, why_no_tracks=str(error))


def _of_rows(tracks: Tracks, rows: NDArray[np.intp]) -> Tracks:
    """Take what was observed in some spectra, and number these anew."""

    def chosen(frame: pd.DataFrame) -> pd.DataFrame:
        kept: Any = frame[frame["spectrum"].isin(rows)]
        numbered: pd.DataFrame = kept.assign(spectrum=np.searchsorted(rows, kept["spectrum"].to_numpy()))
        return numbered.reset_index(drop=True)

    return replace(
        tracks, table=chosen(tracks.table), events=chosen(tracks.events), unassigned=chosen(tracks.unassigned)
    )


def texts(values: Iterable[Any]) -> list[str]:
    """Write values of states as they are shown."""
    return ["" if pd.isna(value) else f"{value:.6g}" if isinstance(value, float) else str(value) for value in values]
