"""Tables of one-dimensional columns in a group of a file, of which three hold processes."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import FileFormatError, InputError
from drt_engine.hdf5 import schema
from drt_engine.hdf5.columns import StoredColumn, encode
from drt_engine.hdf5.dimensions import Dimensions
from drt_engine.hdf5.files import NewFile, PathLike
from drt_engine.hdf5.grid_reader import GridReader, members
from drt_engine.hdf5.grid_writer import Layout, put_attribute
from drt_engine.hdf5.text import characters

__all__ = ["TABLES", "encoded_columns", "opened_tables", "read_table", "write_table"]

Array = NDArray[Any]
Encoded = dict[str, tuple[StoredColumn, Array]]

TABLES = {"table": schema.PROCESSES, "events": schema.EVENTS, "unassigned": schema.UNASSIGNED}
"""What each table of :class:`drt_engine.tracking.Tracks` is in a file."""


def encoded_columns(frame: pd.DataFrame, group: schema.Group) -> Encoded:
    """Columns of a table as they are stored, by name.

    Parameters
    ----------
    frame : DataFrame
        The table, whatever its index.
    group : schema.Group
        What the format says of it.

    Raises
    ------
    InputError
        For names that cannot be stored or that repeat, for columns of types that cannot be, and if one is missing that
        the format has.
    """
    if not frame.columns.is_unique:
        raise InputError(f"columns must have distinct names; got {', '.join(map(str, frame.columns))}.")
    found = {}
    for name, values in frame.items():
        column, raw = encode(str(name), values, lambda name: schema.check_column_name(name, group.rows))
        unit = schema.COLUMN_UNITS.get(str(name))
        if unit is not None and column.kind == "numbers":
            column = StoredColumn(column.dtype, {**column.attributes, "units": unit}, column.width)
        found[str(name)] = column, raw
    for variable in group.variables:
        if variable.name not in found:
            raise InputError(f"{group.path} must have the column {variable.name!r}; got {', '.join(found) or 'none'}.")
        found[variable.name] = _required(variable, *found[variable.name])
    return found


def _required(variable: schema.Variable, column: StoredColumn, raw: Array) -> tuple[StoredColumn, Array]:
    """Bring a column that the format has to the type that it has there."""
    text = variable.dtype == schema.TEXT
    if (column.kind == "text") != text or column.kind not in ("text", "numbers") or column.missing is not None:
        wanted = "text" if text else f"numbers of type {variable.dtype}"
        raise InputError(f"column {variable.name!r} must hold {wanted}, none of them missing; got {column.kind}.")
    units = {} if variable.units is None else {"units": variable.units}
    attributes = {**column.attributes, **units, "long_name": variable.long_name}
    if text:
        return StoredColumn(column.dtype, attributes, column.width), raw
    return StoredColumn(np.dtype(variable.dtype), attributes), raw.astype(variable.dtype)


def write_table(
    output: NewFile, group: schema.Group, name: str, columns: Encoded, attributes: Mapping[str, Any], layout: Layout
) -> None:
    """Write a table into a new group.

    Parameters
    ----------
    output : NewFile
        The file.
    group : schema.Group
        What the format says of it.
    name : str
        What is free in its path.
    columns : dict
        As :func:`encoded_columns` returns them.
    attributes : mapping
        Of the group, besides the names of the columns.
    layout : Layout
        How datasets lie in the file.

    Raises
    ------
    FileWriteError
        If the file cannot be written.
    """
    with output.writing():
        place = output.file.create_group(group.path.replace("<name>", name))
        dimensions = Dimensions(place, columns)
        rows = len(next(iter(columns.values()))[1])
        dimensions.add_bare(group.rows, rows)
        for key, value in {**attributes, group.listing: json.dumps(list(columns), ensure_ascii=False)}.items():
            put_attribute(place, key, value)
        for key, (column, raw) in columns.items():
            _write_column(place, dimensions, key, (column, raw), (group.rows, layout))


def _write_column(
    place: Any, dimensions: Dimensions, name: str, stored: tuple[StoredColumn, Array], table: tuple[str, Layout]
) -> None:
    column, raw = stored
    rows, layout = table
    attributes = dict(column.attributes)
    text = column.kind == "text"
    width = max(1, column.width or 1) if text else 1
    values = characters(raw, width) if text else raw.astype(column.dtype)
    options = layout.options(values.dtype, width)
    options["chunks"] = (options["chunks"], width) if text else (options["chunks"],)
    most = (None, width) if text else (None,)
    dataset = place.create_dataset(name, values.shape, values.dtype, maxshape=most, **options)
    if text:
        dimensions.set_width(dataset, name, width)
        attributes["_Encoding"] = "utf-8"
    dimensions.attach(dataset, 0, rows)
    for key, value in attributes.items():
        put_attribute(dataset, key, value)
    # What was laid out for no rows has no chunk to write.
    if len(values):
        dataset[...] = values


def opened_tables(path: PathLike, group: Any) -> dict[str, GridReader]:
    """Open the tables of processes.

    Parameters
    ----------
    path : path
        The file, for messages.
    group : h5py.Group
        The group that holds them.

    Returns
    -------
    dict of str to GridReader
        By the names of `TABLES`.

    Raises
    ------
    FileFormatError
        If one is missing or not as its format says.
    """
    inside = members(path, group, "")
    for name in TABLES:
        if name != "table" and name not in inside:
            raise FileFormatError(f"{path}: {group.name}/{name} is missing.")
    return {
        name: GridReader(path, group if name == "table" else inside[name], expected)
        for name, expected in TABLES.items()
    }


def read_table(reader: GridReader) -> pd.DataFrame:
    """Read a whole table, with its columns in the order in which they were written.

    Raises
    ------
    FileFormatError
        For damage, and if a column is missing or of another type than the format says.
    """
    for variable in reader.expected.variables:
        column = reader.columns.get(variable.name)
        if column is None:
            raise reader.error("is not among the columns that the group lists.", variable.name)
        if (column.kind == "text") != (variable.dtype == schema.TEXT):
            raise reader.error(f"holds {column.kind}; expected {variable.dtype}.", variable.name)
    return reader.states(None)
