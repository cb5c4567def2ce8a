"""Files into spectra and inversions."""

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.hdf5 import schema
from drt_engine.hdf5.files import PathLike, reading
from drt_engine.hdf5.grid_reader import GridReader, check_root, choose, members
from drt_engine.methods import method_from_settings
from drt_engine.model.basis import Expansion
from drt_engine.result import PER_SPECTRUM, Inversion
from drt_engine.spectra import Spectra
from drt_engine.uncertainty.intervals import INTERVAL_UNITS, Intervals

__all__ = ["opened_grid", "read_inversion", "read_spectra", "spectra_of", "states_of_inversion"]

Array = NDArray[Any]

logger = logging.getLogger(__name__)


def read_spectra(path: PathLike, grid: str | None = None, rows: Any = None) -> Spectra:
    """Read spectra from a file.

    Parameters
    ----------
    path : path
        The file.
    grid : str, optional
        Name of the frequency grid; not needed where there is one.
    rows : int, slice, or array_like of int or bool, optional
        Which spectra, in numpy's terms; only these are read. All unless told.

    Returns
    -------
    Spectra
        K spectra with their states.

    Raises
    ------
    FileFormatError
        One line that names the file and the cause, if the file is not there or not as its format says.
    UnknownNameError
        For a grid that does not exist.
    InputError
        If there are several grids and none is named, and for rows that do not exist.
    """
    with opened_grid(path, grid) as reader:
        chosen = reader.rows(rows)
        return spectra_of(reader, chosen, reader.states(chosen))


@contextmanager
def opened_grid(path: PathLike, grid: str | None, states: Collection[str] | None = None) -> Iterator[GridReader]:
    """Open the spectra of a grid, with those of its state columns or all."""
    with reading(path) as file:
        check_root(path, file)
        grids = members(path, file, schema.SPECTRA_PATH)
        yield GridReader(path, grids[choose("grid", grid, grids)], schema.SPECTRA, states)


def spectra_of(reader: GridReader, rows: Array, states: pd.DataFrame) -> Spectra:
    """Read some rows of an open grid."""
    frequency = reader.read("frequency")
    impedance = np.empty((rows.size, frequency.size), dtype=complex)
    impedance.real = reader.read("impedance_real", rows)
    impedance.imag = reader.read("impedance_imag", rows)
    times = reader.read("point_time", rows) if reader.has("point_time") else None
    with reader.errors_with_path():
        return Spectra(frequency, impedance, states, times)


def read_inversion(path: PathLike, name: str | None = None, grid: str | None = None, rows: Any = None) -> Inversion:
    """Read an inversion from a file.

    Parameters
    ----------
    path : path
        The file.
    name : str, optional
        Name of the inversion; not needed where there is one.
    grid : str, optional
        Name of the frequency grid; not needed where there is one.
    rows : int, slice, or array_like of int or bool, optional
        Which spectra, in numpy's terms; only these are read. All unless told.

    Returns
    -------
    Inversion
        As :func:`drt_engine.invert` returned it, method and basis functions included.

    Raises
    ------
    FileFormatError
        One line that names the file and the cause, if the file is not there or not as its format says.
    UnknownNameError
        For a name or grid that does not exist.
    InputError
        If there are several and none is named, and for rows that do not exist.
    """
    with reading(path) as file:
        check_root(path, file)
        inversions = members(path, file, schema.INVERSIONS_PATH)
        name = choose("inversion", name, inversions)
        grids = members(path, file, f"{schema.INVERSIONS_PATH}/{name}")
        group = grids[choose("grid", grid, grids)]
        with_intervals = "level" in group.attrs
        reader = GridReader(path, group, schema.INVERSION_WITH_INTERVALS if with_intervals else schema.INVERSION)
        older = reader.attributes[schema.OLDER_CAMPAIGN]
        if older is not None:
            logger.warning(
                "%s: inversion %r is of an older campaign, %s: spectra were added since. Invert again.",
                *(path, name, older),
            )
        chosen = reader.rows(rows)
        tau = reader.read("tau")
        if not np.all(np.diff(tau) > 0):
            raise reader.error("must ascend.", "tau")
        with reader.errors_with_path():
            expansion = Expansion(tau, reader.attributes["basis"], float(reader.attributes["mu"]))
            method = method_from_settings(reader.json_object("settings"))
        arrays: dict[str, Any] = {key: reader.read(key, chosen) for key in PER_SPECTRUM if reader.has(key)}
        if with_intervals:
            ends = {key: reader.read(key, chosen) for key in INTERVAL_UNITS}
            arrays["intervals"] = Intervals(float(reader.attributes["level"]), **ends)
        return Inversion(reader.read("frequency"), expansion, **arrays, states=reader.states(chosen), method=method)


def states_of_inversion(path: PathLike, name: str) -> Iterator[pd.DataFrame]:
    """Read the states of an inversion, grid by grid.

    Parameters
    ----------
    path : path
        The file.
    name : str
        Name of the inversion.

    Raises
    ------
    FileFormatError
        As :func:`read_inversion` does.
    """
    with reading(path) as file:
        check_root(path, file)
        for group in members(path, file, f"{schema.INVERSIONS_PATH}/{name}").values():
            reader = GridReader(path, group, schema.INVERSION)
            yield reader.states(reader.rows(None))
