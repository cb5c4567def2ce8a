"""Tables of conductivity into files and out of them: pellets, Arrhenius lines, steps and composite electrodes."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from drt_engine.errors import InputError
from drt_engine.hdf5 import schema
from drt_engine.hdf5.files import NewFile, PathLike, reading
from drt_engine.hdf5.grid_reader import GridReader, check_root, choose, members
from drt_engine.hdf5.grid_writer import DEFAULT_NAME, Layout, put_root
from drt_engine.hdf5.inversions import versions
from drt_engine.hdf5.tables import encoded_columns, read_table, write_table

if TYPE_CHECKING:
    from drt_engine.transport import Arrhenius, Composite, Conductivity, Polarisation

    Result = Arrhenius | Composite | Conductivity | Polarisation

__all__ = ["read_conductivity", "write_conductivity"]


def write_conductivity(
    path: PathLike, results: "Result | pd.DataFrame | Mapping[str, Result | pd.DataFrame]", *, overwrite: bool = False
) -> None:
    """Write tables of conductivity to a file of their own; it appears whole or not at all.

    Parameters
    ----------
    path : path
        The file.
    results : result, DataFrame, or mapping of str to one
        What :func:`conductivity`, ``arrhenius``, :func:`polarisation` or :func:`composite` returned, several by name;
        or another of their tables, such as ``result.arcs``.
    overwrite : bool
        Whether a file of that name is replaced.

    Raises
    ------
    InputError
        For something else, and for columns that cannot be stored.
    OutputExistsError
        If the file exists and is not to be replaced.
    FileWriteError
        If the file cannot be written.
    """
    every = results if isinstance(results, Mapping) else {DEFAULT_NAME: results}
    if not every:
        raise InputError("results must hold at least one table; got none.")
    stored = {}
    for name, one in every.items():
        table = one if isinstance(one, pd.DataFrame) else getattr(one, "table", None)
        if not isinstance(table, pd.DataFrame):
            raise InputError(f"results must be of conductivity, or tables; got {type(one).__name__}.")
        numbered = table if "spectrum" in table.columns else table.assign(spectrum=np.arange(len(table)))
        stored[schema.check_name("name", name)] = encoded_columns(numbered, schema.CONDUCTIVITY), len(table)
    attributes: dict[str, Any] = {
        "versions": json.dumps(versions()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with NewFile(path, overwrite=overwrite, inputs=()) as output:
        with output.writing():
            put_root(output.file)
        for name, (columns, rows) in stored.items():
            write_table(output, schema.CONDUCTIVITY, name, columns, attributes, Layout(rows, None))


def read_conductivity(path: PathLike, name: str | None = None) -> pd.DataFrame:
    """Read a table of conductivity from a file.

    Parameters
    ----------
    path : path
        The file.
    name : str, optional
        Name of the table; not needed where there is one.

    Returns
    -------
    DataFrame
        The table.

    Raises
    ------
    FileFormatError
        If the file is not there or not as its format says.
    UnknownNameError
        For a name that does not exist.
    InputError
        If there are several and none is named.
    """
    with reading(path) as file:
        check_root(path, file)
        tables = members(path, file, schema.CONDUCTIVITY_PATH)
        chosen = choose("table of conductivity", name, tables)
        return read_table(GridReader(path, tables[chosen], schema.CONDUCTIVITY))
