"""Inversions into files, with what they were made with and from."""

import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import InputError
from drt_engine.hdf5 import schema
from drt_engine.hdf5.columns import StoredColumn
from drt_engine.hdf5.files import NewFile, PathLike, digest
from drt_engine.hdf5.grid_writer import (
    DEFAULT_NAME,
    Compression,
    GridWriter,
    Layout,
    Precision,
    encoded,
    put_root,
    require_grids,
)
from drt_engine.result_fields import GAMMA_UNITS, INTERVAL_UNITS, OF_GAMMA

if TYPE_CHECKING:
    from drt_engine.methods import Method
    from drt_engine.model.basis import Expansion
    from drt_engine.result import Inversion

__all__ = [
    "gamma_units",
    "inversion_attributes",
    "inversion_group",
    "per_spectrum",
    "spectra_kept",
    "versions",
    "write_inversion",
]

Array = NDArray[Any]

SPECTRA = ("impedance_real", "impedance_imag")
"""What a file of inversions has of the spectra."""

TIMED_SPECTRA = (*SPECTRA, "point_time")
"""The same where the method allows for drift."""

PLACED_SPECTRA = (*TIMED_SPECTRA, "moved_real", "moved_imag")
"""The same where it places points between the states of a series."""
_PACKAGES = ("drt-engine", "numpy", "scipy", "cvxpy", "numba", "h5py")


def write_inversion(
    path: PathLike,
    inversion: "Inversion | Mapping[str, Inversion]",
    *,
    name: str = DEFAULT_NAME,
    grid: str = DEFAULT_NAME,
    source: PathLike | None = None,
    overwrite: bool = False,
    compression: Compression = None,
    dtype: Precision = "float64",
) -> None:
    """Write an inversion to a file; it appears whole or not at all.

    Parameters
    ----------
    path : path
        The file.
    inversion : Inversion or mapping of str to Inversion
        One, or several by grid name.
    name : str
        What it is called.
    grid : str
        Name of the frequency grid of a single one.
    source : path, optional
        File that the spectra came from; its name and digest are written down.
    overwrite : bool
        Whether a file of that name is replaced.
    compression : {"gzip"}, optional
        What the arrays are compressed with; by default nothing, which is almost 20 times as
        fast and a fifth larger.
    dtype : {"float64", "float32"}
        How the real results are stored; ``"float32"`` takes half the space and keeps seven digits. They are read as
        float64 in any case.

    Raises
    ------
    InputError
        If `path` is `source`, for something else than an inversion, for states and names that cannot be stored, and
        for results above 3.4e38 if they are to be float32.
    OutputExistsError
        If the file exists and is not to be replaced.
    FileFormatError
        If `source` cannot be read.
    FileWriteError
        If the file cannot be written.
    """
    from drt_engine.result import Inversion  # what it takes to read spectra does not need it

    grids = inversion if isinstance(inversion, Mapping) else {grid: inversion}
    require_grids(grids, Inversion, "inversion")
    origin = {} if source is None else {"source": Path(source).name, "input_digest": digest(source)}
    with NewFile(path, overwrite=overwrite, inputs=(source,)) as output:
        with output.writing():
            put_root(output.file)
        for grid_name, some in grids.items():
            stored = encoded(some.states)
            columns = {column_name: column for column_name, (column, _) in stored.items()}
            layout = Layout(len(some), compression, dtype)
            level = None if some.intervals is None else some.intervals.level
            writer = inversion_group(
                output,
                (name, grid_name),
                some.frequency,
                some.expansion,
                columns,
                layout,
                level,
                measured=_known(some),
            )
            writer.put_attributes(inversion_attributes(some.method, some.expansion) | origin)
            writer.put_units(gamma_units(some.method))
            writer.write(0, per_spectrum(some) | {column_name: raw for column_name, (_, raw) in stored.items()})


def inversion_group(
    output: NewFile,
    names: tuple[str, str],
    frequency: Array,
    expansion: "Expansion",
    columns: Mapping[str, StoredColumn],
    layout: Layout,
    level: float | None = None,
    *,
    measured: Collection[str],
) -> GridWriter:
    """Begin the group of an inversion.

    `names` are its own and that of the grid, `level` is that of its intervals; `measured` says what is known of the
    spectra, without which its peaks and intervals are not those that it had.
    """
    for what, name in zip(("name", "grid"), names, strict=True):
        schema.check_name(what, name)
    coordinates = {"tau": expansion.tau, "frequency": frequency}
    group = schema.INVERSION if level is None else schema.INVERSION_WITH_INTERVALS
    left_out = {*PLACED_SPECTRA} - {*measured}
    optional = [one.name for one in group.variables if one.name not in left_out]
    writer = GridWriter(output, group, names, coordinates, columns, layout, optional)
    if level is not None:
        writer.put_attributes({"level": level})
    return writer


def _known(inversion: "Inversion") -> tuple[str, ...]:
    if inversion.impedance is None:
        return ()
    if inversion.point_time is None:
        return SPECTRA
    return TIMED_SPECTRA if inversion.moved is None else PLACED_SPECTRA


def inversion_attributes(method: "Method", expansion: "Expansion") -> dict[str, Any]:
    """Attributes of an inversion that is being made now."""
    return {
        "basis": expansion.basis,
        "mu": float(expansion.mu),
        "settings": json.dumps(method.settings(), default=_plain_number),
        "versions": json.dumps(versions()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def spectra_kept(method: "Method") -> tuple[str, ...]:
    """Name the arrays of spectra that are stored with the results of a method."""
    if getattr(method, "drift", "none") == "none":
        return SPECTRA
    return TIMED_SPECTRA if getattr(method, "along", None) is None else PLACED_SPECTRA


def gamma_units(method: "Method") -> dict[str, str]:
    """Units of the arrays that have the unit of γ, by what a method inverts."""
    return dict.fromkeys(OF_GAMMA, GAMMA_UNITS[getattr(method, "representation", "impedance")])


def per_spectrum(inversion: "Inversion") -> dict[str, Array]:
    """Arrays of an inversion that have one row for each spectrum, by name."""
    names = [variable.name for variable in schema.INVERSION.per_spectrum if variable.name not in PLACED_SPECTRA]
    found = {name: getattr(inversion, name) for name in names}
    if inversion.impedance is not None:
        found |= {"impedance_real": inversion.impedance.real, "impedance_imag": inversion.impedance.imag}
    if inversion.impedance is not None and inversion.point_time is not None:
        found["point_time"] = inversion.point_time
        if inversion.moved is not None:
            found |= {"moved_real": inversion.moved.real, "moved_imag": inversion.moved.imag}
    if inversion.intervals is not None:
        found |= {name: getattr(inversion.intervals, name) for name in INTERVAL_UNITS}
    return found


@cache
def versions() -> dict[str, str]:
    """Versions of this package and of what it computes with."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found | {"HDF5": h5py.version.hdf5_version, "python": python_version()}


def _plain_number(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise InputError(
        f"settings of a method must be numbers, text, True, False, None or lists of them; got {type(value).__name__}."
    )
