"""One group of a file, made as the table of the format says and filled row by row."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.hdf5 import schema
from drt_engine.hdf5.columns import StoredColumn, encode
from drt_engine.hdf5.dimensions import Dimensions
from drt_engine.hdf5.files import NewFile
from drt_engine.hdf5.grid_reader import GridReader
from drt_engine.hdf5.text import LONGEST_TEXT, characters, check_length, longest, rows_at_once

__all__ = [
    "DEFAULT_NAME",
    "Compression",
    "GridWriter",
    "Layout",
    "Precision",
    "chunk_rows",
    "encoded",
    "put_root",
    "require_grids",
]

Array = NDArray[Any]
Compression = Literal["gzip"] | None
Precision = Literal["float64", "float32"]

DEFAULT_NAME = "default"
"""Name of a grid, and of an inversion, that the user gives none."""

CHUNK_BYTES = 512 * 1024  # two of them fit into the cache of a dataset, which is 1 MiB in HDF5
MOST_CHUNK_ROWS = 8192  # bounds what a column of a short campaign wastes

# Of a text column, so that texts which grow from block to block do not need many chunks.
FEWEST_CHUNK_CHARACTERS = 16

# Where infinity says what a number beyond float32 says: no series capacitance, no solution.
_MAY_BECOME_INFINITE = ("capacitance", "tail_q", "tail_q_high", "optimality")


@dataclass(frozen=True)
class Layout:
    """How datasets lie in a file.

    Attributes
    ----------
    rows : int, optional
        How many rows there will be, if known.
    compression : {"gzip"}, optional
        What chunks are compressed with; gzip is at level 1, after a byte shuffle.
    dtype : {"float64", "float32"}
        How real results of spectra are stored; coordinates and state columns are as they are.
    """

    rows: int | None = None
    compression: Compression = None
    dtype: Precision = "float64"

    def __post_init__(self) -> None:
        """Refuse names that are not known."""
        if self.compression not in (None, "gzip"):
            raise UnknownNameError("compression", self.compression, ("gzip",))
        if self.dtype not in get_args(Precision):
            raise UnknownNameError("dtype", self.dtype, get_args(Precision))

    def options(self, dtype: np.dtype[Any], columns: int) -> dict[str, Any]:
        """Options of h5py for a dataset with so many values in a row."""
        rows = chunk_rows(dtype.itemsize * columns)
        chunk = max(1, rows if self.rows is None else min(rows, self.rows))
        options: dict[str, Any] = {"chunks": chunk, "fletcher32": True}
        if self.compression is not None:
            options |= {"compression": "gzip", "compression_opts": 1, "shuffle": True}
        return options

    def chunk_characters(self, width: int | None) -> int:
        """Characters in a row of a chunk of text; `width` is what is known of the longest text."""
        least = FEWEST_CHUNK_CHARACTERS if self.rows is None or width is None else 1
        return min(max(least, width or 1), LONGEST_TEXT)


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
    columns : mapping of str to StoredColumn
        The state columns, by name.
    layout : Layout
        How datasets lie in the file.
    optional : collection of str, optional
        Which variables it has of those that a group need not have; all by default.

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
        columns: Mapping[str, StoredColumn],
        layout: Layout,
        optional: Collection[str] | None = None,
    ) -> None:
        self.columns = dict(columns)
        self.rows = layout.rows or 0
        self._output, self._layout = output, layout
        with output.writing():
            self._group = output.file.require_group(_path(group, names))
            self._dimensions = Dimensions(self._group, columns)
            chunk = layout.options(np.dtype(">f4"), 1)["chunks"]
            self._dimensions.add_bare(schema.SPECTRUM, self.rows, chunk)
            for variable in group.coordinates:
                self._coordinate(variable, coordinates[variable.name])
            present = [v for v in group.per_spectrum if v.required or optional is None or v.name in optional]
            self._datasets = {variable.name: self._variable(variable) for variable in present}
            self._datasets |= {name: self._column(name, column) for name, column in columns.items()}
            put_attribute(self._group, "states", json.dumps(list(columns), ensure_ascii=False))

    @classmethod
    def onto(cls, output: NewFile, group: Any, reader: GridReader) -> "GridWriter | None":
        """Go on with a group that is there, in a copy of the file that it was read from.

        Parameters
        ----------
        output : NewFile
            The copy.
        group : h5py.Group
            The group in it.
        reader : GridReader
            Of the same group, with all state columns.

        Returns
        -------
        GridWriter or None
            None where the group has to be written again for more rows: others wrote it, its chunks are too short for
            what it would hold, or an earlier version wrote it with fewer flags than there are now.
        """
        writer = cls.__new__(cls)
        names = [variable.name for variable in reader.expected.per_spectrum if reader.has(variable.name)]
        text = [name for name, column in reader.columns.items() if column.kind == "text"]
        if not {*names, *reader.columns} <= {*group}:
            return None
        flags = [variable for variable in reader.expected.per_spectrum if np.dtype(variable.dtype).kind == "u"]
        if any(reader.has(one.name) and group[one.name].dtype.itemsize < np.dtype(one.dtype).itemsize for one in flags):
            return None
        dimensions = Dimensions.of(group, schema.SPECTRUM, [*names, *reader.columns], text)
        longest_row = max(group[name].dtype.itemsize * int(np.prod(group[name].shape[1:])) for name in names)
        if dimensions is None or reader.chunk < min(reader.spectra, chunk_rows(longest_row)) // 2:
            return None
        writer.columns, writer.rows = dict(reader.columns), reader.spectra
        results = [name for name in names if group[name].dtype.kind == "f"]
        narrow = bool(results) and all(group[name].dtype == np.float32 for name in results)
        writer._output, writer._group, writer._dimensions = output, group, dimensions
        writer._layout = Layout(None, reader.compression, "float32" if narrow else "float64")
        writer._datasets = {name: group[name] for name in [*names, *reader.columns]}
        return writer

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

    def put_units(self, units: Mapping[str, str]) -> None:
        """Write units of some datasets in place of those of the schema.

        Raises
        ------
        FileWriteError
            If the file cannot be written.
        """
        with self._output.writing():
            for name in units.keys() & self._datasets.keys():
                put_attribute(self._datasets[name], "units", units[name])

    def mark_missing(self, name: str, column: StoredColumn) -> None:
        """Write what stands for missing text, now that the first one has come.

        Raises
        ------
        FileWriteError
            If the file cannot be written.
        """
        with self._output.writing():
            put_attribute(self._datasets[name], "missing_value", column.missing)
        self.columns[name] = column

    def with_missing(self, values: Mapping[str, Array], rows: int) -> dict[str, Array]:
        """Add rows of NaN for the arrays of numbers that some spectra lack."""
        return dict(values) | {
            name: np.full((rows, *stored.shape[1:]), np.nan)
            for name, stored in self._datasets.items()
            if name not in values and stored.dtype.kind == "f"
        }

    def write(self, first: int, values: Mapping[str, Array]) -> None:
        """Write rows.

        Parameters
        ----------
        first : int
            Where the first of them goes; the rows before have been written.
        values : mapping of str to ndarray
            Every variable that has rows and every state column, by name, with as many rows each. Text may be objects,
            byte strings or characters, whichever a :class:`GridReader` has read.

        Raises
        ------
        InputError
            For a result that is too large for the type that it is to be stored in, and for text that is too long.
        FileWriteError
            If the file cannot be written.
        """
        last = first + len(next(iter(values.values())))
        stored = {name: self._rounded(name, values[name], first) for name in self._datasets}
        with self._output.writing():
            if last > self.rows:
                self._resize(last)
            for name, dataset in self._datasets.items():
                if name in self.columns and self.columns[name].kind == "text":
                    self._write_text(name, first, stored[name])
                else:
                    dataset[first:last] = stored[name]

    def _rounded(self, name: str, values: Array, first: int) -> Array:
        if name in self.columns or self._layout.dtype != "float32" or values.dtype.kind != "f":
            return values
        with np.errstate(over="ignore", under="ignore"):
            rounded = values.astype(np.float32)
        lost = np.isinf(rounded) & np.isfinite(values) & (name not in _MAY_BECOME_INFINITE)
        if lost.any():
            at = tuple(np.argwhere(lost)[0])
            raise InputError(
                f"{name} of spectrum {first + at[0]} is {values[at]:.3g}; float32 goes to 3.4e38. Store float64."
            )
        return rounded

    def _write_text(self, name: str, first: int, raw: Array) -> None:
        dataset, width = self._datasets[name], longest(raw)
        if width > dataset.shape[1]:
            self._widen(name, width, first)
        width = dataset.shape[1]
        for start, stop in _pieces(len(raw), width):
            dataset[first + start : first + stop] = characters(raw[start:stop], width)

    def _widen(self, name: str, width: int, rows: int) -> None:
        """Make room for longer text, now that so many rows have been written."""
        check_length(name, width)
        dataset = self._datasets[name]
        step = dataset.chunks[1]
        covered = -(-dataset.shape[1] // step) * step
        self._dimensions.set_width(dataset, name, width)
        # A reader takes no chunk for empty that is only missing.
        for start, stop in _pieces(rows, max(0, width - covered)):
            dataset[start:stop, covered:] = np.zeros((stop - start, width - covered), dtype="S1")

    def _resize(self, rows: int) -> None:
        self._dimensions.resize(schema.SPECTRUM, rows)
        for dataset in self._datasets.values():
            dataset.resize(rows, axis=0)
        self.rows = rows

    def _coordinate(self, variable: schema.Variable, values: Array) -> None:
        dataset = self._group.create_dataset(
            variable.name, data=np.asarray(values, dtype=variable.dtype), chunks=values.shape, fletcher32=True
        )
        self._dimensions.add(dataset, variable.name)
        _put_variable_attributes(dataset, variable)

    def _variable(self, variable: schema.Variable) -> Any:
        dtype = np.dtype(variable.dtype)
        if dtype.kind == "f":
            dtype = np.dtype(self._layout.dtype)
        others = tuple(map(self._dimensions.size, variable.dimensions[1:]))
        dataset = self._dataset(variable.name, dtype, others, others)
        for axis, dimension in enumerate(variable.dimensions):
            self._dimensions.attach(dataset, axis, dimension)
        _put_variable_attributes(dataset, variable)
        return dataset

    def _column(self, name: str, column: StoredColumn) -> Any:
        attributes = dict(column.attributes)
        if column.kind == "text":
            dataset = self._dataset(
                name, np.dtype("S1"), (LONGEST_TEXT,), (self._layout.chunk_characters(column.width),)
            )
            self._dimensions.set_width(dataset, name, 1)
            # What others filled text up with is not what fills it up here.
            attributes = {**attributes, "_Encoding": "utf-8"}
            attributes.pop("_FillValue", None)
        else:
            dataset = self._dataset(name, column.dtype)
        self._dimensions.attach(dataset, 0, schema.SPECTRUM)
        for key, value in attributes.items():
            put_attribute(dataset, key, value)
        return dataset

    def _dataset(self, name: str, dtype: np.dtype[Any], most: tuple[int, ...] = (), chunk: tuple[int, ...] = ()) -> Any:
        """Make a dataset with rows that are at `most` so long, and chunks of them `chunk`."""
        options = self._layout.options(dtype, int(np.prod(chunk, dtype=int)))
        options["chunks"] = (options["chunks"], *chunk)
        return self._group.create_dataset(name, (self.rows, *chunk), dtype, maxshape=(None, *most), **options)


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
        raw = value.encode("utf-8", "backslashreplace")  # names of files on Linux may be any bytes
        item.attrs.create(name, np.array(raw, dtype=h5py.string_dtype("utf-8", max(1, len(raw)))))
    else:
        item.attrs[name] = value


def encoded(states: pd.DataFrame) -> dict[str, tuple[StoredColumn, Array]]:
    """State columns as they are stored, by name."""
    if not states.columns.is_unique:
        raise InputError(f"state columns must have distinct names; got {', '.join(map(str, states.columns))}.")
    return {str(name): encode(str(name), column) for name, column in states.items()}


def require_grids(grids: Mapping[str, object], kind: type, what: str) -> None:
    """Refuse no grids at all, and grids of another type."""
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


def _pieces(rows: int, width: int) -> list[tuple[int, int]]:
    """First and last of rows of text that are written at once; none where they have no width."""
    step = rows_at_once(width)
    return [(start, min(start + step, rows)) for start in range(0, rows if width else 0, step)]
