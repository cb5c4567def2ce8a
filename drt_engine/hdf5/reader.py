"""Files into spectra and inversions."""

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.hdf5 import schema
from drt_engine.hdf5.files import PathLike, reading
from drt_engine.hdf5.grid_reader import GridReader, check_root, choose, members
from drt_engine.result_fields import INTERVAL_UNITS, PER_SPECTRUM
from drt_engine.spectra import Spectra

if TYPE_CHECKING:
    from drt_engine.result import Inversion

__all__ = [
    "SolutionQuality",
    "opened_grid",
    "quality_of",
    "read_inversion",
    "read_spectra",
    "spectra_of",
    "states_of_inversion",
]

Array = NDArray[Any]

logger = logging.getLogger(__name__)


def read_spectra(path: PathLike, grid: str | None = None, rows: Any = None, *, masked: bool = True) -> Spectra:
    """Read spectra from a file.

    Parameters
    ----------
    path : path
        The file.
    grid : str, optional
        Name of the frequency grid; not needed where there is one.
    rows : int, slice, or array_like of int or bool, optional
        Which spectra, in numpy's terms; only these are read. By default all.
    masked : bool
        Whether points that were masked, as by ``drt-engine clean``, are NaN; they are still in the file.

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
        return spectra_of(reader, chosen, reader.states(chosen), masked=masked)


@contextmanager
def opened_grid(path: PathLike, grid: str | None, states: Collection[str] | None = None) -> Iterator[GridReader]:
    """Open the spectra of a grid, with those of its state columns or all."""
    with reading(path) as file:
        check_root(path, file)
        grids = members(path, file, schema.SPECTRA_PATH)
        yield GridReader(path, grids[choose("grid", grid, grids)], schema.SPECTRA, states)


def spectra_of(reader: GridReader, rows: Array, states: pd.DataFrame, *, masked: bool = True) -> Spectra:
    """Read some rows of an open grid, NaN for points that are masked unless they are wanted as well."""
    frequency, impedance = reader.read("frequency"), _complex(reader, rows)
    if masked and reader.has("point_mask"):
        impedance[reader.read("point_mask", rows) != 0] = complex(np.nan, np.nan)
    times = reader.read("point_time", rows) if reader.has("point_time") else None
    with reader.errors_with_path():
        return Spectra(frequency, impedance, states, times)


def _complex(reader: GridReader, rows: Array, name: str = "impedance") -> Array:
    real = reader.read(f"{name}_real", rows)
    values = np.empty(real.shape, dtype=complex)
    values.real, values.imag = real, reader.read(f"{name}_imag", rows)
    return values


def read_inversion(path: PathLike, name: str | None = None, grid: str | None = None, rows: Any = None) -> "Inversion":
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
        Which spectra, in numpy's terms; only these are read. By default all.

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
    # Most of the engine, which who looks into a file, or reads spectra, does not need.
    from drt_engine.methods import method_from_settings
    from drt_engine.model.basis import Expansion
    from drt_engine.result import Inversion
    from drt_engine.uncertainty.intervals import Intervals

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
                "%s: inversion %r is of an older campaign, %s: spectra were added or masked since. Invert again.",
                *(path, name, older),
            )
        chosen = reader.rows(rows)
        tau = reader.read("tau")
        if not np.all(np.diff(tau) > 0):
            raise reader.error("must ascend.", "tau")
        with reader.errors_with_path():
            expansion = Expansion(tau, reader.attributes["basis"], float(reader.attributes["mu"]))
            method = method_from_settings(reader.json_object("settings"))
            expansion = replace(expansion, kernel=getattr(method, "kernel", "relaxation"))
        arrays: dict[str, Any] = {key: reader.read(key, chosen) for key in PER_SPECTRUM if reader.has(key)}
        if reader.has("impedance_real") and reader.has("impedance_imag"):
            arrays["impedance"] = _complex(reader, chosen)
        if reader.has("point_time"):
            arrays["point_time"] = reader.read("point_time", chosen)
        if reader.has("moved_real") and reader.has("moved_imag"):
            arrays["moved"] = _complex(reader, chosen, "moved")
        if with_intervals:
            ends = {key: reader.read(key, chosen) for key in INTERVAL_UNITS if reader.has(key)}
            arrays["intervals"] = Intervals(float(reader.attributes["level"]), **ends)
        return Inversion(reader.read("frequency"), expansion, **arrays, states=reader.states(chosen), method=method)


@dataclass(frozen=True, eq=False)
class SolutionQuality:
    """What an inversion says of its solutions, without the distributions.

    Attributes
    ----------
    residual : ndarray, shape (K,)
        Root mean square of the relative residual.
    status : ndarray of uint32, shape (K,)
        Flags of :class:`drt_engine.Status`.
    states : DataFrame
        What each spectrum was measured at.
    tail : bool
        Whether the model has a capacitance or another tail at low frequencies.
    frequency : ndarray, shape (F,)
        Frequencies, Hz, descending.
    impedance_at : callable
        Reads the impedances of some rows, shape (R, F); None if the file has none.
    """

    residual: Array
    status: Array
    states: pd.DataFrame
    tail: bool
    frequency: Array
    impedance_at: Callable[[Array], Array | None]


def quality_of(path: PathLike, name: str, grid: str, categories: bool = False) -> SolutionQuality:
    """Read the quality of the solutions of an inversion.

    Parameters
    ----------
    path : path
        The file.
    name, grid : str
        Names of the inversion and of the grid.
    categories : bool
        Whether text among the states is returned as categories.

    Raises
    ------
    FileFormatError
        As :func:`read_inversion` does.
    """

    @contextmanager
    def opened(states: Collection[str] | None) -> Iterator[GridReader]:
        with reading(path) as file:
            check_root(path, file)
            grids = members(path, file, f"{schema.INVERSIONS_PATH}/{name}")
            yield GridReader(path, grids[choose("grid", grid, grids)], schema.INVERSION, states)

    def impedance_at(rows: Array) -> Array | None:
        with opened(()) as reader:
            return _complex(reader, rows) if reader.has("impedance_real") and reader.has("impedance_imag") else None

    with opened(None) as reader:
        settings = reader.json_object("settings")
        states = reader.states(None, categories=categories)
        tail = bool(settings.get("capacitance", False)) or settings.get("tail", "none") != "none"
        residual, status, frequency = (reader.read(name) for name in ("residual", "status", "frequency"))
        return SolutionQuality(residual, status, states, tail, frequency, impedance_at)


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
            yield reader.states(None)
