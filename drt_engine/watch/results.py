"""Results that follow a campaign: what is missing or no longer true is inverted, all else stays."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import InputError
from drt_engine.hdf5 import read_spectra, scan
from drt_engine.hdf5.files import reading
from drt_engine.hdf5.inversion_rows import Solutions, opened_inversion, put_solutions
from drt_engine.hdf5.inversions import PLACED_SPECTRA, spectra_kept, versions
from drt_engine.hdf5.reader import opened_grid
from drt_engine.hdf5.scan import InversionInfo, SpectraInfo
from drt_engine.inversion import invert_block, series_in, with_series
from drt_engine.methods import Method
from drt_engine.methods.base import sharing
from drt_engine.result import Inversion
from drt_engine.spectra import Spectra

__all__ = ["Fresh", "Results"]

Rows = NDArray[np.intp]
# Spectra that are read together, ten megabytes or so.
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True, eq=False)
class Fresh:
    """What was inverted of a grid.

    Attributes
    ----------
    grid : str
        Its name.
    rows : ndarray of int, shape (R,)
        Row numbers in the campaign, ascending.
    before : int
        How many rows the file of inversions had; those from there on are new.
    spectra : Spectra
        Of these.
    result : Inversion
        Of these.
    """

    grid: str
    rows: Rows
    before: int
    spectra: Spectra
    result: Inversion


class Results:
    """A file of inversions that follows a campaign.

    Parameters
    ----------
    path, campaign : Path
        The two files.
    method : Method
        How; one that inverts each spectrum alone or series together.
    level : float, optional
        Probability of the intervals.

    Raises
    ------
    InputError
        For a method that shares λ over series, and for a file of something else.
    """

    name = "default"

    def __init__(self, path: Path, campaign: Path, method: Method, level: float | None = None) -> None:
        if sharing(method) is not None:
            raise InputError("one λ for a series cannot be chosen while it is measured. Leave out --shared.")
        self.path, self._campaign, self._method, self._level = path, campaign, method, level
        # By grid, the states by which spectra were inverted together.
        self._states: dict[str, pd.DataFrame] = {}
        self._checked = False

    def check(self) -> None:
        """Refuse a file that holds something else than what would be written.

        Raises
        ------
        InputError
            With what it holds.
        """
        if not self.path.is_file():
            return
        contents = scan(self.path)
        alike = all(one.name == self.name and one.where is None and self._is_mine(one) for one in contents.inversions)
        if contents.spectra or contents.processes or not alike:
            raise InputError(
                f"{self.path}: holds something else than an inversion of the whole campaign with these settings. Name "
                "another file with --results, or move it away."
            )

    def _is_mine(self, info: InversionInfo) -> bool:
        mine, found = (_plain(settings) for settings in (self._method.settings(), info.settings))
        if mine.get("series") is None:
            # Chosen from the states, and so another one as the campaign grows.
            found["series"] = mine.get("series")
            mine.setdefault("series", None)
        return mine == found

    def refresh(self, invert: Callable[[list[Fresh]], None] = lambda _: None) -> int:
        """Invert what is missing, or was inverted together with others than now, and write it.

        Parameters
        ----------
        invert : callable
            Called with what was inverted, before it is written.

        Returns
        -------
        int
            How many spectra were inverted.
        """
        every = scan(self._campaign).spectra
        grids: dict[SpectraInfo, Solutions] = {}
        fresh: list[Fresh] = []
        for info in every:
            states = self._states_of(info)
            method = with_series(self._method, states) if info.spectra else self._method
            rows, before = self._outdated(info, states, method)
            found = None
            if rows.size:
                spectra = read_spectra(self._campaign, info.grid, rows)
                found = invert_block(spectra, method, None, self._level)
                fresh.append(Fresh(info.grid, rows, before, spectra, found))
            grids[info] = Solutions(method, rows, found, before > 0)
        if fresh or not self.path.is_file():
            invert(fresh)
            put_solutions(self.path, self._campaign, grids, self.name, self._level)
        self._states = {info.grid: self._states_of(info) for info in every}
        self._checked = True
        return sum(one.rows.size for one in fresh)

    def forget(self) -> None:
        """Compare the two files again, as others may have changed them."""
        self._checked = False

    def _states_of(self, info: SpectraInfo) -> pd.DataFrame:
        """Read the states that say what is inverted together; the campaign's size is all that counts without series."""
        if getattr(self._method, "along", None) is None:
            return pd.DataFrame(index=pd.RangeIndex(info.spectra))
        with opened_grid(self._campaign, info.grid) as reader:
            return reader.states(np.arange(info.spectra))

    def _outdated(self, info: SpectraInfo, states: pd.DataFrame, method: Method) -> tuple[Rows, int]:
        """Rows to be inverted, and how many rows the file has that others of them stay of; 0 if none stays."""
        every = np.arange(info.spectra)
        if not self.path.is_file():
            return every, 0
        with reading(self.path) as file:
            needed = None if states.shape[1] else ()
            reader = opened_inversion(self.path, file, self.name, info.grid, needed)
            if reader is None:
                return every, 0
            before = reader.spectra
            if not self._checked:
                expansion = method.expansion(np.sort(info.frequency)[::-1])
                needless = {*PLACED_SPECTRA} - {*spectra_kept(method)}
                complete = all(reader.has(one.name) for one in reader.expected.per_spectrum if one.name not in needless)
                level = reader.attributes.get("level")
                same = complete and np.array_equal(reader.read("tau"), expansion.tau) and level == self._level
                if not same or before > info.spectra or reader.json_object("versions") != versions():
                    return every, 0
            changed = np.empty(0, dtype=np.intp) if self._checked else self._differing(reader, info)
            old_states = self._states.get(info.grid)
            if old_states is None:
                old_states = reader.states(np.arange(before)) if states.shape[1] else states.iloc[:before]
        if before > info.spectra:
            return every, 0
        outdated = np.union1d(changed, every[before:])
        return self._with_series(outdated, old_states, states, method), before

    def _differing(self, reader: Any, info: SpectraInfo) -> Rows:
        """Rows whose impedances are not those that were inverted."""
        found = []
        count = min(reader.spectra, info.spectra)
        for start in range(0, count, _ROWS_AT_ONCE):
            rows = np.arange(start, min(start + _ROWS_AT_ONCE, count))
            z = read_spectra(self._campaign, info.grid, rows).impedance
            same = np.ones(rows.size, dtype=bool)
            for name, part in (("impedance_real", z.real), ("impedance_imag", z.imag)):
                same &= np.all((reader.read(name, rows) == part) | ~np.isfinite(z), axis=1)
            same &= np.all(np.isfinite(reader.read("impedance_real", rows)) == np.isfinite(z.real), axis=1)
            found.append(rows[~same])
        return np.concatenate([np.empty(0, dtype=np.intp), *found])

    def _with_series(self, rows: Rows, before: pd.DataFrame, now: pd.DataFrame, method: Method) -> Rows:
        """Add the other spectra of each series that is not as it was, since they depend on each other."""
        lines = series_in(now, method) if now.shape[1] else []
        if not lines:
            return rows
        try:
            old = series_in(before, with_series(self._method, before)) if len(before) else []
        except InputError:
            old = []
        former = {(tuple(line.rows.tolist()), tuple(line.position.tolist())) for line in old}
        touched = [
            line.rows
            for line in lines
            if (tuple(line.rows.tolist()), tuple(line.position.tolist())) not in former
            or np.isin(line.rows, rows).any()
        ]
        # What has left a series is inverted without it.
        now_in = {int(row) for line in lines for row in line.rows}
        left = [row for line in old for row in line.rows.tolist() if row not in now_in]
        return np.unique(np.concatenate([rows, np.array(left, dtype=np.intp), *touched]))


def _plain(settings: Any) -> dict[str, Any]:
    """Write settings as JSON has them, so that lists and tuples are equal."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in dict(settings).items()}
