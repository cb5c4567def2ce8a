"""What is explored: a grid of one file or two, of which no more is read than is looked at."""

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import DRTError, InputError
from drt_engine.hdf5 import Contents, read_inversion, read_spectra, read_tracks, scan
from drt_engine.hdf5.reader import SolutionQuality, opened_grid, quality_of
from drt_engine.series import series_columns
from drt_engine.spectra import Spectra
from drt_engine.status import failures

if TYPE_CHECKING:
    from drt_engine.result import Inversion
    from drt_engine.tracking import Tracks

__all__ = ["Files", "Series", "Source", "campaigns_in", "related_files"]

Rows = NDArray[np.intp]

_ALONG = ("voltage", "soc", "cycle", "temperature", "time")
_PARTED = "spectrum"
"""What a series runs along where there is no state of numbers: the number of the row."""


@dataclass(frozen=True)
class Files:
    """The files that belong together.

    Attributes
    ----------
    spectra, results : Path or None
        File of spectra, and of inversions; at least one of them.
    processes : Path or None
        File of processes that were followed.
    profile : Path or None
        Voltage profile, csv.
    """

    spectra: Path | None = None
    results: Path | None = None
    processes: Path | None = None
    profile: Path | None = None

    @property
    def every(self) -> tuple[Path, ...]:
        """All that there are."""
        return tuple(path for path in (self.spectra, self.results, self.processes, self.profile) if path is not None)

    def stamp(self) -> tuple[Any, ...]:
        """Tell this content of the files from another: it changes where one of them is replaced or grows."""
        found = []
        for path in self.every:
            with suppress(OSError):
                known = os.stat(path)
                found.append((str(path), known.st_mtime_ns, known.st_size, known.st_ino))
        return tuple(found)


def related_files(
    file: Path, spectra: Path | None = None, processes: Path | None = None, profile: Path | None = None
) -> Files:
    """Find the files that belong to one of spectra or of inversions, as ``x.h5`` and ``x.drt.h5`` do.

    Parameters
    ----------
    file : Path
        File of spectra or of inversions.
    spectra, processes, profile : Path, optional
        The others, if they are elsewhere or have other names than ``x.h5``, ``processes.h5`` and ``profile.csv``.

    Raises
    ------
    FileFormatError
        If one of them cannot be read.
    InputError
        For a file that has neither spectra nor inversions.
    """
    contents = scan(file)
    for given in (spectra, processes):
        if given is not None:
            scan(given)
    if profile is None and (beside := file.parent / "profile.csv").is_file():
        profile = beside
    if not contents.inversions and not contents.spectra:
        raise InputError(f"{file}: has neither spectra nor inversions. Name a file of drt-engine import or invert.")
    if contents.inversions:
        own = file if contents.spectra else _measured_beside(file)
        results: Path | None = file
        measured = spectra or own
    else:
        measured, results = spectra or file, _results_beside(file)
    if processes is None and results is not None:
        processes = _processes_of(results)
    return Files(measured, results, processes, profile)


def campaigns_in(folder: Path) -> list[Path]:
    """Files in a folder that can be explored: of inversions, and of spectra that no inversions are there of."""
    found = []
    for path in sorted(folder.iterdir()):
        contents = _scanned(path) if path.suffix in (".h5", ".hdf5", ".nc") and path.is_file() else None
        if contents is not None and (contents.inversions or (contents.spectra and _results_beside(path) is None)):
            found.append(path)
    return found


def _scanned(path: Path) -> Contents | None:
    with suppress(DRTError):
        return scan(path)
    return None


def _measured_beside(results: Path) -> Path | None:
    stem = results.name.removesuffix(results.suffix).removesuffix(".drt")
    beside = results.with_name(f"{stem}{results.suffix}")
    if beside == results or not beside.is_file():
        return None
    contents = _scanned(beside)
    return beside if contents is not None and contents.spectra else None


def _results_beside(spectra: Path) -> Path | None:
    beside = spectra.with_suffix(f".drt{spectra.suffix}")
    contents = _scanned(beside) if beside.is_file() else None
    if contents is None or not any(found.source in (None, spectra.name) for found in contents.inversions):
        return None
    return beside


def _processes_of(results: Path) -> Path | None:
    beside = results.parent / "processes.h5"
    contents = _scanned(beside) if beside.is_file() else None
    if contents is None or not any(found.source == results.name for found in contents.processes):
        return None
    return beside


@dataclass(frozen=True, eq=False)
class Series:
    """How spectra are divided into series, and along what each of them runs.

    Attributes
    ----------
    along : str
        State of numbers, or ``"spectrum"``, the number of the row.
    columns : tuple of str
        States that are equal within a series.
    member : ndarray of int, shape (K,)
        Number of the series of each spectrum; not each number need be there.
    value : ndarray, shape (K,)
        Of the state along which a series runs.
    """

    along: str
    columns: tuple[str, ...]
    member: Rows
    value: NDArray[np.float64]

    def rows(self, row: int) -> Rows:
        """Rows of the series that a spectrum belongs to, in order."""
        mine = np.flatnonzero(self.member == self.member[row])
        return mine[np.argsort(self.value[mine], kind="stable")]

    @classmethod
    def of(cls, states: pd.DataFrame, along: str | None = None) -> "Series":
        """Divide spectra into series, along a state or the likeliest one."""
        for name in _ALONG if along is None else (along,):
            if name not in states.columns or not pd.api.types.is_numeric_dtype(states[name]):
                continue
            value = states[name].to_numpy(dtype=float, na_value=np.nan)
            known = value[np.isfinite(value)]
            if along is None and (known.size < 2 or known.min() == known.max()):
                continue
            columns = series_columns(states, name)
            return cls(name, columns, _equal_in(states, columns), value)
        return cls(_PARTED, (), _equal_in(states, ()), np.arange(len(states), dtype=float))


def _equal_in(states: pd.DataFrame, columns: tuple[str, ...]) -> Rows:
    """Give spectra that are equal in some columns the same number; missing values are equal."""
    number, count = np.zeros(len(states), dtype=np.intp), 1
    for column in columns:
        values = states[column]
        if isinstance(values.dtype, pd.CategoricalDtype):
            code, size = values.cat.codes.to_numpy().astype(np.intp) + 1, len(values.cat.categories) + 1
        else:
            code, known = pd.factorize(values, use_na_sentinel=False)
            size = len(known)
        if size == 1:
            continue  # it divides nothing
        if count > np.iinfo(np.intp).max // size:
            number, there = pd.factorize(number)
            count = len(there)
        number, count = number * size + code, count * size
    return number


class Source:
    """Spectra and inversions of one grid.

    Parameters
    ----------
    files : Files
        Where they are.
    name, grid : str, optional
        Names of the inversion and of the grid; the first there is unless told.

    Attributes
    ----------
    files, name, grid
        As above, with the names that were found; `name` is None where nothing was inverted.
    method : str or None
        Name of the method that it was inverted with.
    states : DataFrame
        What each of K spectra was measured at; text as categories.
    residual : ndarray, shape (K,), or None
        Root mean square of the relative residual of each solution.
    status : ndarray of uint32, shape (K,), or None
        Flags of :class:`drt_engine.Status`.
    remarks : tuple of str
        What a person should know of the files.

    Raises
    ------
    FileFormatError, InputError
        If the files cannot be read, or have no spectra at all.
    """

    def __init__(self, files: Files, name: str | None = None, grid: str | None = None) -> None:
        self.files, self.stamp = files, files.stamp()
        self.name: str | None = None
        self.method: str | None = None
        self._quality: SolutionQuality | None = None
        self.residual: NDArray[np.float64] | None = None
        self.status: NDArray[np.uint32] | None = None
        remarks = []
        inverted = () if files.results is None else scan(files.results).inversions
        self.names = tuple(dict.fromkeys(found.name for found in inverted))
        if files.results is not None and inverted:
            self.name = name if name in self.names else self.names[0]
            self.grids = tuple(found.grid for found in inverted if found.name == self.name)
            self.grid = grid if grid in self.grids else self.grids[0]
            chosen = next(found for found in inverted if (found.name, found.grid) == (self.name, self.grid))
            if chosen.older_campaign is not None:
                remarks.append("Spectra were added or masked since this was inverted.")
            quality = quality_of(files.results, self.name, self.grid, categories=True)
            self._quality, self.method = quality, str(chosen.settings.get("name"))
            states, self.residual, self.status = quality.states, quality.residual, quality.status
        else:
            assert files.spectra is not None
            self.grids = tuple(found.grid for found in scan(files.spectra).spectra)
            self.grid = grid if grid in self.grids else self.grids[0]
            with opened_grid(files.spectra, self.grid) as reader:
                states = reader.states(None, categories=True)
        if not len(states):
            raise InputError(f"{files.every[0]}: the grid {self.grid} has no spectra. See drt-engine info.")
        for column in states.columns:
            if not pd.api.types.is_numeric_dtype(states[column]) and not pd.api.types.is_datetime64_any_dtype(
                states[column]
            ):
                states[column] = states[column].astype("category")
        self.states = states
        self.remarks = tuple(remarks)
        self._series: dict[str | None, Series] = {}
        self._varies: dict[str, bool] = {}

    def __len__(self) -> int:
        """K, the number of spectra."""
        return len(self.states)

    @property
    def along(self) -> list[str]:
        """States that a series may run along, and the number of the row."""
        numbers = [
            str(name)
            for name in self.states.columns
            if pd.api.types.is_numeric_dtype(self.states[name]) and not pd.api.types.is_bool_dtype(self.states[name])
        ]
        return [*(name for name in numbers if self.varies(name)), _PARTED]

    def varies(self, name: str) -> bool:
        """Whether a state has more than one value."""
        if name not in self._varies:
            known = self.states[name].dropna()
            self._varies[name] = bool(len(known)) and bool((known != known.iloc[0]).any())
        return self._varies[name]

    def series(self, along: str | None = None) -> Series:
        """Divide the spectra into series; done once for all visits."""
        if along not in self._series:
            self._series[along] = Series.of(self.states, along)
        return self._series[along]

    def result(self, rows: Rows) -> "Inversion | None":
        """Read the inversions of some rows, with their spectra; None where nothing was inverted."""
        if self.files.results is None or self.name is None:
            return None
        return read_inversion(self.files.results, self.name, self.grid, rows)

    def measured(self, rows: Rows) -> Spectra:
        """Read the spectra of some rows without their inversions, so that nothing of what inverts is loaded."""
        impedance = None if self._quality is None else self._quality.impedance_at(rows)
        if self._quality is None or impedance is None:
            return self.spectra(rows)
        return Spectra(self._quality.frequency, impedance, self.states.iloc[rows].reset_index(drop=True))

    def spectra(self, rows: Rows, result: "Inversion | None" = None) -> Spectra:
        """Read the spectra of some rows: those that were inverted, where something was."""
        if result is not None and result.impedance is not None:
            return Spectra(result.frequency, result.impedance, result.states)
        if self.files.spectra is None:
            raise InputError(
                f"{self.files.results}: has no measured spectra, as it was made by an older version. Name their file: "
                "--spectra."
            )
        return read_spectra(self.files.spectra, self.grid, rows)

    @cached_property
    def solved(self) -> NDArray[np.bool_]:
        """Whether each spectrum has a solution, shape (K,)."""
        if self.status is None:
            return np.zeros(len(self), dtype=bool)
        return ~failures(self.status)

    @cached_property
    def tracks(self) -> "Tracks | None":
        """Processes of the file that was named or found, where they are of these spectra."""
        if self.files.processes is None:
            return None
        with suppress(DRTError):
            names = [found.name for found in scan(self.files.processes).processes]
            found = read_tracks(self.files.processes, names[0])
            return found if self._are_of_these(found.table) else None
        return None

    def _are_of_these(self, table: pd.DataFrame) -> bool:
        """Whether the rows that observations name have the states that they say."""
        rows = table["spectrum"].to_numpy()
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            return False
        for name in set(table.columns) & set(self.states.columns):
            here, there = self.states[name].iloc[rows].to_numpy(), table[name].to_numpy()
            if not np.all((here == there) | (pd.isna(here) & pd.isna(there))):
                return False
        return True

    @cached_property
    def profile(self) -> pd.DataFrame | None:
        """The voltage profile, if there is one with a voltage."""
        if self.files.profile is None:
            return None
        from drt_engine.readers import read_profile

        with suppress(DRTError):
            found = read_profile(self.files.profile)
            return found if "voltage" in found.columns else None
        return None

    def moved_to(self, files: Files) -> None:
        """Go on with copies of the files."""
        self.files, self.stamp = files, files.stamp()

    def changed(self) -> bool:
        """Whether a file was replaced or grew since it was opened, or one of inversions has come beside it."""
        if self.files.results is None and self.files.spectra is not None and _results_beside(self.files.spectra):
            return True
        return self.files.stamp() != self.stamp

    def again(self) -> "Source":
        """Open the files again, and those that have come beside them."""
        files = self.files
        if files.results is None and files.spectra is not None:
            files = replace(files, results=_results_beside(files.spectra))
        return Source(files, self.name, self.grid)
