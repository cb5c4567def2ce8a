"""A campaign that grows: further spectra beside those that a file holds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.hdf5.files import PathLike
from drt_engine.hdf5.reader import read_spectra
from drt_engine.hdf5.scan import scan
from drt_engine.hdf5.writer import write_spectra
from drt_engine.spectra import Spectra

__all__ = ["add_spectra", "known_files"]


def known_files(path: PathLike) -> tuple[dict[str, str], dict[str, NDArray[np.float64]]]:
    """Which instrument files a campaign was made from, and its grids.

    Parameters
    ----------
    path : path
        File of spectra.

    Returns
    -------
    sources : dict of str to str
        Names by digest, from the state columns ``source`` and ``digest``.
    grids : dict of str to ndarray, shape (F,)
        Frequencies by grid name, Hz.

    Raises
    ------
    FileFormatError
        If the file cannot be read.
    """
    sources: dict[str, str] = {}
    grids = {}
    for info in scan(path).spectra:
        grids[info.grid] = np.asarray(info.frequency)
        states = read_spectra(path, info.grid).states
        if {"source", "digest"} <= set(states.columns):
            pairs = states[["digest", "source"]].dropna().drop_duplicates()
            sources |= dict(pairs.itertuples(index=False, name=None))
    return sources, grids


def add_spectra(path: PathLike, grids: Mapping[str, Spectra], *, keep: bool, overwrite: bool = False) -> int:
    """Write spectra to a file, beside those that are in it or instead of them.

    The file that is there is only read: a new one is written and takes its place when it is whole.

    Parameters
    ----------
    path : path
        File of spectra.
    grids : mapping of str to Spectra
        Spectra by grid name.
    keep : bool
        Whether the spectra that are in the file stay.
    overwrite : bool
        Whether a file of that name is replaced, if nothing is kept of it.

    Returns
    -------
    int
        How many spectra the file has then.

    Raises
    ------
    InputError
        For states that cannot be stored, or that are of different types in the two.
    OutputExistsError
        If the file exists and is not to be replaced.
    FileFormatError
        If the file that is there cannot be read.
    FileWriteError
        If the file cannot be written.
    """
    every = dict(grids)
    if keep:
        for info in scan(path).spectra:
            before = read_spectra(path, info.grid)
            every[info.grid] = _joined(before, every[info.grid]) if info.grid in every else before
    write_spectra(Path(path), every, overwrite=keep or overwrite)
    return sum(map(len, every.values()))


def _joined(first: Spectra, second: Spectra) -> Spectra:
    states = [first.states, second.states]
    names = list(dict.fromkeys(name for frame in states for name in frame.columns))
    columns = {name: pd.concat([_column(frame, name) for frame in states], ignore_index=True) for name in names}
    impedance = np.concatenate([first.impedance, second.impedance])
    frame = pd.DataFrame(columns, index=pd.RangeIndex(len(impedance)))
    return Spectra(first.frequency, impedance, frame, _joined_times([first, second]))


def _joined_times(parts: Sequence[Spectra]) -> NDArray[np.float64] | None:
    """Return the times of the points of several spectra, NaN for those that have none; None if none has."""
    if all(part.point_time is None for part in parts):
        return None
    unknown = [np.full(part.impedance.shape, np.nan) if part.point_time is None else part.point_time for part in parts]
    return np.concatenate(unknown)


def _column(frame: pd.DataFrame, name: str) -> Any:
    """Take a column, with whole numbers in a type that has missing values: concatenation would make them real."""
    if name not in frame.columns:
        return pd.Series([pd.NA] * len(frame), dtype="object")
    column = frame[name]
    return column.astype("Int64") if pd.api.types.is_integer_dtype(column.dtype) else column
