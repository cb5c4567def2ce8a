"""One group of a file, made as the table of the format says and filled row by row."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.hdf5 import schema
from drt_engine.hdf5.columns import Column, encode
from drt_engine.hdf5.files import NewFile

__all__ = ["DEFAULT_NAME", "Compression", "GridWriter", "Layout", "Precision", "chunk_rows", "encoded", "put_root", "require_grids"]

Array = NDArray[Any]
Compression = Literal["gzip"] | None
Precision = Literal["float64", "float32"]

DEFAULT_NAME = "default"
"""Name of a grid, and of an inversion, that the user gives none."""

CHUNK_BYTES = 512 * 1024
MOST_CHUNK_ROWS = 8192  # bounds what a column of a short campaign wastes

# What netCDF calls a dimension without a variable.
_BARE_DIMENSION = "This is a netCDF dimension but not a netCDF variable. %10d"


@dataclass(frozen=True)
class Layout:
    """How datasets lie in a file; it changes no value.

    Attributes
    ----------
    rows : int, optional
        How many rows there will be, if known.
    compression : {"gzip"}, optional
        What chunks are compressed with; gzip is at level 1, after a byte shuffle.
    dtype : {"float64", "float32"}
        How real results are stored.
    """

    rows: int | None = None
    compression: Compression = None
    dtype: Precision = "float64"

    def __post_init__(self) -> None:
        """Refuse a compression that is not one."""
        if self.compression not in (None, "gzip"):
            raise UnknownNameError("compression", self.compression, ("gzip",))
        if self.dtype not in get_args(Precision):
            raise UnknownNameError("dtype", self.dtype, get_args(Precision))

    def options(self, dtype: np.dtype[Any], columns: int) -> dict[str, Any]:
        """Options of h5py for a dataset with so many values in a row."""
        rows = chunk_rows(dtype.itemsize * columns)
        options: dict[str, Any] = {"chunks": max(1, rows if self.rows is None else min(rows, self.rows))}
        # Text lies elsewhere in the file, where no filter comes.
        if dtype.kind != "O":
            options["fletcher32"] = True
            if self.compression is not None:
                options |= {"compression": "gzip", "compression_opts": 1, "shuffle": True}
        return options


def chunk_rows(row_bytes: int) -> int:
    """Rows in a chunk: the power of two that fills up to half a mebibyte, at most 8192.

    A power of two, so that chunks of one dataset end where those of another do.
    """
    return min(MOST_CHUNK_ROWS, 1 << max(0, (CHUNK_BYTES // row_bytes).bit_length() - 1))


class GridWriter:
    """One group of the format, filled row by row.

    Parameters
    ----------
    output : NewFile
        The file.
    group : schema.Group
        What the format says of it; free parts of the path are filled in by `names`.
    names : tuple of str
        The names in the path.
    coordinates : mapping of str to ndarray
        The coordinate variables, by name.
    columns : mapping of str to Column
        The state columns, by name.
    layout : Layout
        How datasets lie in the file.

    Raises
    ------
    FileWriteError
        If the file cannot be written.
    """

    def __init__(
        self,
        output: NewFile,
        group: schema.Group,
        names: tuple[str, ...],
        coordinates: Mapping[str, Array],
        columns: Mapping[str, Column],
        layout: Layout,
    ) -> None:
        self.columns = dict(columns)
        self.rows = layout.rows or 0
        self._output, self._layout = output, layout
        with output.writing():
            self._group = output.file.create_group(_path(group, names))
            self._scales = {schema.SPECTRUM: self._spectrum()}
            for variable in group.coordinates:
                self._coordinate(variable, coordinates[variable.name])
            self._datasets = {variable.name: self._variable(variable) for variable in group.per_spectrum}
            self._datasets |= {name: self._column(name, column) for name, column in columns.items()}
            put_attribute(self._group, "states", json.dumps(list(columns), ensure_ascii=False))

    def put_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Write attributes of the group.

        Raises
        ------
        FileWriteError
            If the file cannot be written.
        """
        with self._output.writing():
            for name, value in attributes.items():
                put_attribute(self._group, name, value)

    def mark_missing(self, name: str, column: Column) -> None:
        """Write what stands for missing text, now that the first one has come.

        Raises
        ------
        FileWriteError
            If the file cannot be written.
        """
        with self._output.writing():
            put_attribute(self._datasets[name], "missing_value", column.missing)
        self.columns[name] = column

    def write(self, first: int, values: Mapping[str, Array]) -> None:
        """Write rows.

        Parameters
        ----------
        first : int
            Where the first of them goes.
        values : mapping of str to ndarray
            Every variable that has rows and every state column, by name, with as many rows each.

        Raises
        ------
        FileWriteError
            If the file cannot be written.
        """
        last = first + len(next(iter(values.values())))
        with self._output.writing():
            if last > self.rows:
                self._resize(last)
            for name, dataset in self._datasets.items():
                dataset[first:last] = values[name]

    def _resize(self, rows: int) -> None:
        for dataset in (self._scales[schema.SPECTRUM], *self._datasets.values()):
            dataset.resize(rows, axis=0)
        self.rows = rows

    def _spectrum(self) -> Any:
        options = self._layout.options(np.dtype(">f4"), 1)
        scale = self._group.create_dataset(
            schema.SPECTRUM, (self.rows,), ">f4", maxshape=(None,), chunks=(options["chunks"],)
        )
        scale.make_scale(_BARE_DIMENSION % self.rows)
        return scale

    def _coordinate(self, variable: schema.Variable, values: Array) -> None:
        dataset = self._group.create_dataset(
            variable.name, data=np.asarray(values, dtype=variable.dtype), chunks=values.shape, fletcher32=True
        )
        dataset.make_scale(variable.name)
        self._scales[variable.name] = dataset
        _put_variable_attributes(dataset, variable)

    def _variable(self, variable: schema.Variable) -> Any:
        dataset = self._dataset(variable.name, variable.dimensions, np.dtype(variable.dtype))
        _put_variable_attributes(dataset, variable)
        return dataset

    def _column(self, name: str, column: Column) -> Any:
        dataset = self._dataset(name, (schema.SPECTRUM,), column.dtype)
        for key, value in column.attributes.items():
            put_attribute(dataset, key, value)
        return dataset

    def _dataset(self, name: str, dimensions: tuple[str, ...], dtype: np.dtype[Any]) -> Any:
        others = tuple(self._scales[dimension].shape[0] for dimension in dimensions[1:])
        options = self._layout.options(dtype, int(np.prod(others, dtype=int)))
        options["chunks"] = (options["chunks"], *others)
        dataset = self._group.create_dataset(name, (self.rows, *others), dtype, maxshape=(None, *others), **options)
        for axis, dimension in enumerate(dimensions):
            dataset.dims[axis].label = dimension
            dataset.dims[axis].attach_scale(self._scales[dimension])
        return dataset


def put_root(file: Any) -> None:
    """Mark a new file as one of this format."""
    put_attribute(file, "format", schema.FORMAT)
    put_attribute(file, "format_version", schema.FORMAT_VERSION)


def put_attribute(item: Any, name: str, value: Any) -> None:
    """Write an attribute of a group or dataset.

    Text gets the length that it has, as netCDF does it. Text of variable length, which is h5py's way, would lie in a
    heap that has no checksum, and where that is damaged the HDF5 library crashes or never returns.
    """
    if isinstance(value, str):
        raw = value.encode("utf-8")
        item.attrs.create(name, np.array(raw, dtype=h5py.string_dtype("utf-8", max(1, len(raw)))))
    else:
        item.attrs[name] = value


def encoded(states: pd.DataFrame) -> dict[str, tuple[Column, Array]]:
    """State columns as they are stored, by name."""
    if not states.columns.is_unique:
        raise InputError(f"state columns must have distinct names; got {', '.join(map(str, states.columns))}.")
    return {str(name): encode(str(name), column) for name, column in states.items()}


def require_grids(grids: Mapping[str, object], kind: type, what: str) -> None:
    """Refuse grids that are none or not what they should be."""
    if not grids:
        raise InputError(f"{what} must hold at least one grid; got none.")
    for value in grids.values():
        if not isinstance(value, kind):
            raise InputError(f"{what} must be a {kind.__name__}; got {type(value).__name__}.")


def _put_variable_attributes(dataset: Any, variable: schema.Variable) -> None:
    if variable.units is not None:
        put_attribute(dataset, "units", variable.units)
    put_attribute(dataset, "long_name", variable.long_name)
    for key, value in variable.attributes.items():
        put_attribute(dataset, key, value)


def _path(group: schema.Group, names: Iterable[str]) -> str:
    filled = iter(names)
    return "/".join(next(filled) if part.startswith("<") else part for part in group.path.split("/"))
