"""Groups of an open file, checked against the table of the format before the first value is read."""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import DRTError, FileFormatError, InputError, UnknownNameError
from drt_engine.hdf5 import schema
from drt_engine.hdf5.chunks import chunks_missing
from drt_engine.hdf5.columns import StoredColumn, decode, decode_text
from drt_engine.hdf5.files import PathLike
from drt_engine.hdf5.inside import unstored
from drt_engine.hdf5.text import rows_at_once
from drt_engine.spectra import STATE_UNITS

__all__ = ["GridReader", "check_root", "choose", "members"]

Array = NDArray[Any]

_KINDS = {"f": "real numbers", "i": "whole numbers", "u": "unsigned integers"}
_ENCODINGS = ("utf-8", "utf8", "ascii")
_REFERRED_AT_ONCE = 16
"""Texts of any length that are read at once: a damaged file may have each row refer to one that is long."""
_WIDEST_GAP = 256
"""Rows between two that are wanted up to which they are read as well, in one stretch: a new read takes longer."""
# How the HDF5 library marks dimensions. Not the user's, and where they are damaged, reading them crashes the library.
_SCALES = (
    "CLASS",
    "NAME",
    "DIMENSION_LIST",
    "DIMENSION_LABELS",
    "REFERENCE_LIST",
    "_Netcdf4Dimid",
    "_Netcdf4Coordinates",
)


class GridReader:
    """One group of an open file, every dataset checked before the first value is read.

    Parameters
    ----------
    path : path
        The file, for messages.
    group : h5py.Group
        The group.
    expected : schema.Group
        What the format says of it.
    states : collection of str, optional
        Which state columns are looked at; by default all.

    Attributes
    ----------
    columns : dict of str to StoredColumn
        The state columns.
    attributes : dict
        The attributes that the format names.
    sizes : dict of str to int
        The dimensions.
    expected : schema.Group
        What the format says of it.

    Raises
    ------
    FileFormatError
        For what is missing, mis-shaped, of another type or in another unit.
    """

    def __init__(
        self, path: PathLike, group: Any, expected: schema.Group, states: Collection[str] | None = None
    ) -> None:
        self._path, self._group, self.expected = path, group, expected
        self._bytes = int(group.file.id.get_filesize())
        self._names = frozenset(group)
        self.sizes: dict[str, int] = {}
        self.attributes = {known.name: self._attribute(known) for known in expected.attributes}
        numbers = [variable for variable in expected.variables if variable.dtype != schema.TEXT]
        self._dtypes = {variable.name: np.dtype(variable.dtype) for variable in numbers}
        self._former = {variable.name: variable.former for variable in expected.variables if variable.former}
        there = [variable for variable in numbers if variable.required or variable.name in self._names]
        self._datasets = {variable.name: self._variable(variable) for variable in there}
        names = self._states()
        self.columns = {name: self._column(name) for name in names if states is None or name in states}

    @property
    def spectra(self) -> int:
        """K, the number of spectra, or the number of rows of a table."""
        return self.sizes[self.expected.rows]

    @property
    def chunk(self) -> int:
        """Rows in a chunk of the largest dataset, 1 if it has none."""
        chunks = max(self._datasets.values(), key=lambda dataset: int(dataset.size)).chunks
        return int(chunks[0]) if chunks else 1

    @property
    def compression(self) -> Literal["gzip"] | None:
        """What the largest dataset is compressed with."""
        largest = max(self._datasets.values(), key=lambda dataset: int(dataset.size))
        return "gzip" if largest.compression == "gzip" else None

    def rows(self, rows: Any) -> Array:
        """Row numbers that a selection in numpy's terms means.

        Raises
        ------
        InputError
            For rows that do not exist.
        """
        every = np.arange(self.spectra)
        basic = rows is None or isinstance(rows, slice | int | np.integer)
        try:
            chosen = np.atleast_1d(every[slice(None) if rows is None else rows if basic else np.asarray(rows)])
        except (IndexError, TypeError, ValueError) as error:
            raise InputError(f"rows must choose among {self.spectra} spectra; got {rows!r}: {error}.") from error
        if chosen.ndim > 1:
            raise InputError(f"rows must have one dimension; got {rows!r}.")
        return chosen

    def has(self, name: str) -> bool:
        """Whether there is a variable, of those that a group may lack."""
        return name in self._datasets

    def read(self, name: str, rows: Array | slice | None = None) -> Array:
        """Values of a variable or raw values of a state column, of some rows, of those from one to another, or of all.

        Text is as it is stored: characters, shape (K, N), or in files of others byte strings or objects, shape (K,).
        """
        missing = chunks_missing(self._datasets[name], rows)
        if missing is not None:
            raise self.error(f"is damaged: rows {missing[0]} to {missing[1]} cannot be found.", name)
        if self._datasets[name].dtype.kind == "O":
            named = rows if isinstance(rows, np.ndarray) else np.arange(self.spectra)[_from_to(rows)]
            return self._referred(name, named)
        dataset = self._datasets[name]
        values = _take(dataset, rows) if isinstance(rows, np.ndarray) else dataset[_from_to(rows)]
        return np.asarray(values, dtype=self._dtypes.get(name, values.dtype.newbyteorder("=")))

    def _referred(self, name: str, rows: Array) -> Array:
        """Texts of any length, which rows refer to: few at once, as all of many rows may refer to one that is long."""
        out, size = np.empty(rows.size, dtype=object), 0
        for k in range(0, rows.size, _REFERRED_AT_ONCE):
            piece = _take(self._datasets[name], rows[k : k + _REFERRED_AT_ONCE])
            size += sum(map(len, piece.tolist()))
            if size > self._bytes:
                raise self.error(f"has more text than the file of {self._bytes} bytes can hold. It is made up.", name)
            out[k : k + piece.size] = piece
        return out

    def states(
        self, rows: Array | None, names: Collection[str] | None = None, categories: bool = False
    ) -> pd.DataFrame:
        """State columns of some rows, or of all: those of these names, or all; text as categories or as it is."""
        chosen = self.columns if names is None else names
        columns = {name: self._state(name, rows, categories) for name in chosen}
        # Nobody else has the columns, which pandas would copy.
        return pd.DataFrame(columns, index=pd.RangeIndex(self.spectra if rows is None else rows.size), copy=False)

    def _state(self, name: str, rows: Array | None, categories: bool) -> "pd.Series[Any]":
        column = self.columns[name]
        if column.kind != "text":
            with self.errors_with_path(name):
                return decode(column, self.read(name, rows))
        step = rows_at_once(column.width or 1)
        count = self.spectra if rows is None else rows.size
        parts = (slice(k, min(k + step, count)) for k in range(0, count, step))
        pieces = (self.read(name, part if rows is None else rows[part]) for part in parts)
        return decode_text(column, pieces, categories)

    def error(self, cause: str, name: str | None = None) -> FileFormatError:
        """Error that names the file, the group and the cause."""
        return FileFormatError(f"{self._path}: {self._group.name}{f'/{name}' if name else ''} {cause}")

    @contextmanager
    def errors_with_path(self, name: str | None = None) -> Iterator[None]:
        """Turn errors on values from the file into errors that name the file."""
        try:
            yield
        except DRTError as error:
            if str(error).startswith(f"{self._path}: "):
                raise  # it names the file already
            raise self.error(f"holds invalid values: {error}", name) from error

    def json_object(self, name: str) -> dict[str, Any]:
        """Attribute that holds a JSON object."""
        try:
            found = json.loads(self.attributes[name])
        except ValueError as error:
            raise self.error(f"has an attribute {name} that is not JSON: {error}.") from error
        if not isinstance(found, dict):
            raise self.error(f"has an attribute {name} that is not a JSON object.")
        return found

    def json_names(self, name: str) -> list[str]:
        """Attribute that holds a JSON list of names."""
        try:
            found = json.loads(self.attributes[name])
        except ValueError:
            found = None
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            meaning = next(known.meaning for known in self.expected.attributes if known.name == name)
            raise self.error(f"must have an attribute {name}, a {meaning}.")
        return found

    def _attribute(self, known: schema.Attribute) -> Any:
        value = _scalar(self._group.attrs.get(known.name))
        if value is None and not known.required:
            return None
        kind = (int, float) if known.kind is float else known.kind
        if not isinstance(value, kind):
            found = "none" if value is None else repr(value)
            raise self.error(f"must have an attribute {known.name}, {known.meaning}; got {found}.")
        return value

    def _variable(self, variable: schema.Variable) -> Any:
        dataset = self._dataset(variable.name)
        # h5py asks the file each time.
        found, dtype = dataset.shape, dataset.dtype
        if len(found) == len(variable.dimensions):
            for dimension, size in zip(variable.dimensions, found, strict=True):
                self.sizes.setdefault(dimension, int(size))
        if found and found[0] and 0 in found:
            raise self.error(f"has shape {found}, rows without a value.", variable.name)
        expected = tuple(self.sizes.get(dimension, "any") for dimension in variable.dimensions)
        if found != expected:
            shape = ", ".join(map(str, expected)) + "," * (len(expected) == 1)
            raise self.error(f"has shape {found}; expected ({shape}).", variable.name)
        kind = self._dtypes[variable.name].kind
        if dtype.kind != kind:
            raise self.error(f"holds {dtype}; expected {_KINDS[kind]}.", variable.name)
        self._check_units(variable.name, dataset, *variable.all_units)
        return dataset

    def _column(self, name: str) -> StoredColumn:
        dataset = self._dataset(name)
        # Text as netCDF has it: the second axis counts characters.
        characters = dataset.dtype == np.dtype("S1") and len(dataset.shape) == 2
        if dataset.shape != (self.spectra, *(dataset.shape[1:] if characters else ())):
            raise self.error(f"has shape {dataset.shape}; expected ({self.spectra},), one value a spectrum.", name)
        attributes = {key: self._plain(name, dataset, key) for key in dataset.attrs if key not in _SCALES}
        fixed = dataset.dtype.itemsize if dataset.dtype.kind == "S" else None
        column = StoredColumn(dataset.dtype, attributes, dataset.shape[1] if characters else fixed)
        if dataset.dtype.kind not in "iufSO" or (column.kind == "text") != (
            h5py.check_string_dtype(dataset.dtype) is not None
        ):
            raise self.error(f"holds {dataset.dtype}; expected numbers or text.", name)
        if column.kind == "text" and str(attributes.get("_Encoding", "utf-8")).lower() not in _ENCODINGS:
            raise self.error(f"has the encoding {attributes['_Encoding']!r}; expected 'utf-8'.", name)
        if name in STATE_UNITS:
            self._check_units(name, dataset, STATE_UNITS[name])
        self._datasets[name] = dataset
        return column

    def _plain(self, name: str, dataset: Any, key: str) -> Any:
        """Attribute that may be written into another file, where references would lead elsewhere."""
        dtype = dataset.attrs.get_id(key).dtype
        if dtype.kind == "V" or h5py.check_ref_dtype(dtype) is not None:
            raise self.error(f"has an attribute {key!r} that is neither a number nor text.", name)
        return _text_or_array(dataset.attrs[key])

    def _dataset(self, name: str) -> Any:
        if name not in self._names:
            # Files of an older version have it under its former name.
            if self._former.get(name) not in self._names:
                raise self.error("is missing.", name)
            name = self._former[name]
        dataset = _member(self._path, self._group, name)
        if not isinstance(dataset, h5py.Dataset):
            what = "a group" if isinstance(dataset, h5py.Group) else "a type"
            raise self.error(f"is {what}; expected a dataset.", name)
        if dataset.shape is None:
            raise self.error("is empty.", name)
        cause = unstored(dataset, self._bytes)
        if cause is not None:
            raise self.error(f"{cause}. The file is damaged, incomplete or made up.", name)
        return dataset

    def _check_units(self, name: str, dataset: Any, expected: str | None, *others: str | None) -> None:
        if expected is None:
            return
        units = _scalar(dataset.attrs.get("units"))
        if units not in (expected, *others):
            found = "no attribute units" if units is None else f"the unit {units!r}"
            raise self.error(f"has {found}; expected {expected!r}. Convert the values and say so.", name)

    def _states(self) -> list[str]:
        listing, rows = self.expected.listing, self.expected.rows
        names = self.json_names(listing)
        try:
            if rows == schema.SPECTRUM:
                return [schema.check_state_name(name) for name in names]
            return [schema.check_column_name(name, rows) for name in names]
        except InputError as error:
            raise self.error(f"has an invalid attribute {listing}: {error}") from error


def check_root(path: PathLike, file: Any) -> int:
    """Refuse a file that is not of this format, or of a newer version of it; return the version.

    Raises
    ------
    FileFormatError
        With the cause.
    """
    if _scalar(file.attrs.get("format")) != schema.FORMAT:
        raise FileFormatError(f"{path}: is HDF5, but not of this format: its root has no format = {schema.FORMAT!r}.")
    version = _scalar(file.attrs.get("format_version"))
    if not isinstance(version, int) or version < 1:
        raise FileFormatError(f"{path}: format_version must be a whole number from 1; got {version!r}.")
    if version > schema.FORMAT_VERSION:
        raise FileFormatError(
            f"{path}: has format version {version}; this version of drt-engine reads up to {schema.FORMAT_VERSION}. "
            "Update drt-engine."
        )
    return version


def members(path: PathLike, file: Any, where: str, *, required: bool = True) -> dict[str, Any]:
    """Find the groups in a group, by name.

    Parameters
    ----------
    path : path
        The file, for messages.
    file : h5py.Group
        An open file, or a group of it.
    where : str
        The group in it; empty for that itself.
    required : bool
        Whether there must be one.

    Raises
    ------
    FileFormatError
        If there is none, unless that is allowed.
    """
    group: Any = file
    for part in filter(None, where.split("/")):
        group = _member(path, group, part) if isinstance(group, h5py.Group) and part in list(group) else None
    if group is None and not required:
        return {}
    if not isinstance(group, h5py.Group):
        kind = where.split("/", maxsplit=1)[0]
        cure = (
            " Invert it first, with drt-engine invert, and name the result."
            if where == "inversions" and "spectra" in file
            else ""
        )
        raise FileFormatError(f"{path}: holds no {kind}: there is no group /{where}.{cure}")
    members = {name: _member(path, group, name) for name in group}
    found = {name: member for name, member in members.items() if isinstance(member, h5py.Group)}
    if not found and required:
        raise FileFormatError(f"{path}: holds no {where.split('/', maxsplit=1)[0]}: there is nothing in /{where}.")
    return found


def choose(what: str, name: str | None, known: Mapping[str, Any]) -> str:
    """Return the requested name, or the only one.

    Parameters
    ----------
    what : str
        What it is the name of, for messages.
    name : str or None
        The name; None where there is one.
    known : mapping
        Those there are.

    Raises
    ------
    UnknownNameError
        For a name that does not exist.
    InputError
        If there are several and none is named.
    """
    if name is None and len(known) == 1:
        return next(iter(known))
    if name is None:
        raise InputError(f"the file holds more than one {what}; name one of {', '.join(map(repr, known))}.")
    if name not in known:
        raise UnknownNameError(what, name, known)
    return name


def _member(path: PathLike, group: Any, name: str) -> Any:
    """Open what a group lists. What cannot be opened, which h5py takes for missing, must not be passed over."""
    try:
        return group[name]
    except KeyError as error:
        where = f"{group.name.rstrip('/')}/{name}"
        raise FileFormatError(
            f"{path}: cannot be read; the file is damaged or incomplete: {where} cannot be opened."
        ) from error


def _scalar(value: Any) -> Any:
    """Value of an attribute, whichever of HDF5's ways to store one value was taken."""
    if isinstance(value, np.ndarray | np.generic) and value.size == 1:
        value = value.item()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _text_or_array(value: Any) -> Any:
    """Value of an attribute in the type that it is stored in, for it may be written again."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _from_to(rows: slice | None) -> slice:
    return slice(None) if rows is None else rows


def _take(dataset: Any, rows: Array) -> Array:
    """Rows of a dataset in any order, in memory little more than that of the result."""
    if rows.size == 0:
        return np.asarray(dataset[0:0])
    if np.all(np.diff(rows) == 1):
        return np.asarray(dataset[rows[0] : rows[-1] + 1])
    # HDF5 takes scattered rows one by one; stretches are much faster, as long as what lies between is not most of it.
    order = np.argsort(rows, kind="stable")
    ascending = rows[order]
    gaps = np.flatnonzero(np.diff(ascending) > max(_WIDEST_GAP, (dataset.chunks or (0,))[0]))
    ends = np.append(gaps + 1, ascending.size)
    out = np.empty((rows.size, *dataset.shape[1:]), dtype=dataset.dtype)
    most = rows_at_once(dataset.dtype.itemsize * int(np.prod(dataset.shape[1:], dtype=int)))
    if dataset.dtype.kind == "O":
        most = _REFERRED_AT_ONCE
    start = 0
    while start < ascending.size:
        first = int(ascending[start])
        stop = min(int(np.searchsorted(ascending, first + most)), int(ends[np.searchsorted(ends, start, side="right")]))
        stretch = dataset[first : ascending[stop - 1] + 1]
        out[order[start:stop]] = stretch[ascending[start:stop] - first]
        start = stop
    return out
