"""State columns in a file: numbers, text, booleans and instants, each with its missing values."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types

from drt_engine.errors import FileFormatError, InputError
from drt_engine.hdf5.schema import check_state_name
from drt_engine.hdf5.text import MISSING_TEXT, Texts, check_length, longest
from drt_engine.spectra import STATE_UNITS

__all__ = ["StoredColumn", "decode", "decode_text", "encode", "fit"]

_EPOCH = "since 1970-01-01"
_CLOCKS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_INSTANT = re.compile(rf"({'|'.join(_CLOCKS.values())}) {_EPOCH}([ T]00:00:00)?")
_OFFSET = re.compile(r"([+-])(\d{1,2}):(\d{2})(?::(\d{2}))?", re.ASCII)
_NO_INSTANT = np.iinfo(np.int64).min
_CHARACTER = np.dtype("S1")
_PANDAS_TEXT = pd.Series(["text"]).dtype  # object or str, as this version of pandas has it
_MASKED = (pd.arrays.IntegerArray, pd.arrays.FloatingArray, pd.arrays.BooleanArray)
_FALSE_TRUE = {"flag_values": np.array([0, 1], dtype=np.int8), "flag_meanings": "false true"}


@dataclass(frozen=True, eq=False)
class StoredColumn:
    """How a state column is stored.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the dataset.
    attributes : mapping
        Of the dataset: units, and what tells booleans, instants and missing values from numbers.
    width : int or None
        Bytes that every text has room for; None where that is not known, and for all else than text.
    """

    dtype: np.dtype[Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    width: int | None = None

    @property
    def kind(self) -> str:
        """``"text"``, ``"instants"``, ``"booleans"`` or ``"numbers"``."""
        if self.dtype.kind in "OSUT":
            return "text"
        if self.dtype.kind == "i" and _INSTANT.fullmatch(str(self.attributes.get("units", ""))):
            return "instants"
        flags = self.attributes.get("dtype"), self.attributes.get("flag_meanings")
        return "booleans" if flags in (("bool", None), (None, "false true")) else "numbers"

    @property
    def meaning(self) -> tuple[Any, ...]:
        """What has to be equal for stored values to mean the same."""
        return self.kind, self.attributes.get("units"), self.attributes.get("time_zone")

    @property
    def missing(self) -> Any:
        """What stands for a missing value; None if nothing does."""
        return self.attributes.get("missing_value" if self.kind == "text" else "_FillValue")


def encode(
    name: str, values: "pd.Series[Any]", check: Callable[[object], str] = check_state_name
) -> tuple[StoredColumn, NDArray[Any]]:
    """Turn a state column into what is stored.

    Parameters
    ----------
    name : str
        Its name.
    values : Series, shape (K,)
        Numbers, text, booleans or instants; None, NaN, NA and NaT are missing.
    check : callable
        Refuses a name that a dataset cannot have.

    Returns
    -------
    column : StoredColumn
        How it is stored.
    raw : ndarray, shape (K,)
        What is stored. Text is not yet cut into characters, which is done while it is written.

    Raises
    ------
    InputError
        For other types, for mixed ones, and for a name that a dataset cannot have.
    """
    check(name)
    values = _plain(name, values)
    dtype = values.dtype
    if types.is_bool_dtype(dtype):
        column, raw = _encode_booleans(values)
    elif types.is_integer_dtype(dtype):
        column, raw = _encode_whole(name, values)
    elif types.is_float_dtype(dtype):
        size = min(max(getattr(dtype, "itemsize", 8), 4), 8)
        raw = values.to_numpy(dtype=f"f{size}", na_value=np.nan)
        column = StoredColumn(raw.dtype)
    elif types.is_datetime64_any_dtype(dtype):
        column, raw = _encode_instants(name, values)
    else:
        column, raw = _encode_text(name, values)
    if name not in STATE_UNITS:
        return column, raw
    if column.kind != "numbers":
        raise InputError(
            f"state column {name!r} must hold numbers in {STATE_UNITS[name]}; got {column.kind}. Convert or rename it."
        )
    return StoredColumn(column.dtype, {**column.attributes, "units": STATE_UNITS[name]}), raw


def decode(column: StoredColumn, raw: NDArray[Any]) -> "pd.Series[Any]":
    """Turn what is stored into a state column; the inverse of :func:`encode`.

    Parameters
    ----------
    column : StoredColumn
        How it is stored.
    raw : ndarray, shape (K,) or, for text in characters, (K, N)
        What is stored.

    Returns
    -------
    Series, shape (K,)
        The values; where they are stored as they are, what is stored itself.
    """
    if column.kind == "text":
        return decode_text(column, [raw])
    if column.kind == "instants":
        word = str(column.attributes["units"]).split()[0]
        unit = next(short for short, long in _CLOCKS.items() if long == word)
        instants = pd.Series(np.asarray(raw, dtype=np.int64).astype(f"datetime64[{unit}]"))
        if "time_zone" not in column.attributes:
            return instants
        return instants.dt.tz_localize("UTC").dt.tz_convert(_time_zone(str(column.attributes["time_zone"])))
    kind = np.dtype(bool) if column.kind == "booleans" else raw.dtype.newbyteorder("=")
    if column.missing is None:
        return pd.Series(raw.astype(kind, copy=False), copy=False)
    absent = raw == column.missing
    if kind.kind == "f":
        return pd.Series(np.where(absent, np.nan, raw).astype(kind, copy=False), copy=False)
    numbers = np.where(absent, 0, raw).astype(kind)
    if kind.kind == "b":
        return pd.Series(pd.arrays.BooleanArray(numbers, absent))
    return pd.Series(pd.arrays.IntegerArray(numbers, absent))


def decode_text(column: StoredColumn, pieces: Iterable[NDArray[Any]], categories: bool = False) -> "pd.Series[Any]":
    """Turn text that is stored into a state column, piece by piece.

    Parameters
    ----------
    column : StoredColumn
        How it is stored.
    pieces : iterable of ndarray, each of shape (K,) or (K, N)
        What is stored.
    categories : bool
        Whether to return categories in the order of the alphabet, which take less time and memory than text.

    Returns
    -------
    Series
        The values of all pieces, one after another.

    Raises
    ------
    UnicodeDecodeError
        For what is not UTF-8.
    """
    texts = Texts(column.missing)
    for raw in pieces:
        texts.add(raw)
    if categories:
        order = sorted(range(len(texts.known)), key=texts.known.__getitem__)
        place = np.empty(len(order) + 1, dtype=np.int32)
        place[order], place[-1] = np.arange(len(order)), -1
        names = pd.Index([texts.known[number] for number in order], dtype=_PANDAS_TEXT)
        return pd.Series(pd.Categorical.from_codes(place[texts.codes], names))
    return pd.Series(np.array([*texts.known, None], dtype=object)[texts.codes], dtype=_PANDAS_TEXT)


def fit(name: str, raw: NDArray[Any], found: StoredColumn, expected: StoredColumn) -> NDArray[Any]:
    """Fit further rows of a column to how its first rows are stored.

    Parameters
    ----------
    name : str
        Its name.
    raw : ndarray, shape (K,)
        What would be stored.
    found, expected : StoredColumn
        How it would be, and how the first rows are.

    Returns
    -------
    ndarray, shape (K,)
        What is stored.

    Raises
    ------
    InputError
        If that would change a value.
    """
    if found.kind == expected.kind == "text":
        return raw
    absent = raw == found.missing if found.missing is not None else np.zeros(raw.shape, dtype=bool)
    if found.meaning == expected.meaning and (expected.missing is not None or not absent.any()):
        with np.errstate(invalid="ignore", over="ignore"):
            cast = raw.astype(expected.dtype)
            back = cast.astype(raw.dtype)
        if np.all((back == raw) | absent | (np.isnan(cast) & np.isnan(raw))):
            if expected.missing is not None:
                cast[absent] = expected.missing
            return cast
    raise InputError(
        f"state column {name!r} began as {_described(expected)} and goes on as {_described(found)}. "
        "Give it one type from the first block on, for example floats."
    )


def _plain(name: str, values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Bring a column to one of the five types that can be stored."""
    dtype = values.dtype
    if isinstance(dtype, pd.StringDtype | pd.DatetimeTZDtype) or types.is_datetime64_dtype(dtype):
        return values
    numeric = types.is_bool_dtype(dtype) or types.is_integer_dtype(dtype) or types.is_float_dtype(dtype)
    if numeric and (isinstance(dtype, np.dtype) or isinstance(values.array, _MASKED)):
        return values
    values = values.astype(object)
    inferred = types.infer_dtype(values, skipna=True)
    if inferred in ("string", "empty"):
        return values
    if inferred in ("floating", "mixed-integer-float"):
        return pd.to_numeric(values.where(values.notna(), np.nan)).astype(float)
    if inferred in ("integer", "boolean"):
        nullable = values.astype("Int64" if inferred == "integer" else "boolean")
        return nullable if nullable.isna().any() else nullable.astype(int if inferred == "integer" else bool)
    if inferred in ("datetime64", "datetime", "date"):
        return _instants(name, values)
    raise InputError(
        f"state column {name!r} must hold numbers, text, booleans or instants, all of one kind; "
        f"got {inferred} of type {dtype}. Convert it first."
    )


def _instants(name: str, values: "pd.Series[Any]") -> "pd.Series[Any]":
    zones = {getattr(value, "tzinfo", None) for value in values if not pd.isna(value)}
    if len(zones) > 1:
        raise InputError(
            f"state column {name!r} must hold instants of one time zone; got {', '.join(sorted(map(str, zones)))}. "
            "Convert them: pandas.to_datetime(…, utc=True)."
        )
    return pd.to_datetime(values)


def _name_of_zone(name: str, zone: Any) -> str:
    """Return what a time zone is called in a file: its name in the IANA database, or its offset from UTC."""
    known = getattr(zone, "key", None) or getattr(zone, "zone", None)
    if known is None and (offset := zone.utcoffset(None)) is not None:
        known = "UTC" if not offset else f"{'-' if offset < timedelta(0) else '+'}{abs(offset)}"
    try:
        _time_zone(str(known))
    except FileFormatError as error:
        raise InputError(
            f"state column {name!r} has a time zone that cannot be stored, {zone!r}. Convert it to a zone with a name: "
            ".dt.tz_convert('UTC')."
        ) from error
    return str(known)


def _time_zone(text: str) -> tzinfo:
    """Find a time zone by its name in a file.

    Raises
    ------
    FileFormatError
        If there is no time zone of that name.
    """
    if text == "UTC":
        return UTC
    if offset := _OFFSET.fullmatch(text):
        hours, minutes, seconds = (int(part or 0) for part in offset.groups()[1:])
        found = timedelta(hours=hours, minutes=minutes, seconds=seconds)
        if found < timedelta(days=1):
            return timezone(-found if offset[1] == "-" else found)
    try:
        return ZoneInfo(text)
    except (KeyError, OSError, ValueError) as error:
        raise FileFormatError(
            f"the time zone {text!r} is not known here; expected a name such as 'Europe/Rome'."
        ) from error


def _encode_booleans(values: "pd.Series[Any]") -> tuple[StoredColumn, NDArray[Any]]:
    if isinstance(values.dtype, np.dtype):
        # xarray's own way to mark booleans, which netCDF does not have.
        return StoredColumn(np.dtype(np.int8), {"dtype": "bool"}), values.to_numpy().astype(np.int8)
    raw = values.astype("Int8").to_numpy(dtype=np.int8, na_value=-1)
    return StoredColumn(raw.dtype, {"_FillValue": np.int8(-1), **_FALSE_TRUE}), raw


def _encode_whole(name: str, values: "pd.Series[Any]") -> tuple[StoredColumn, NDArray[Any]]:
    dtype = values.dtype
    if isinstance(dtype, np.dtype):
        raw = values.to_numpy().astype(dtype.newbyteorder("="))
        return StoredColumn(raw.dtype), raw
    kind = np.dtype(str(dtype).lower())
    limits = np.iinfo(kind)
    fill = kind.type(limits.min if kind.kind == "i" else limits.max)
    if (values == fill).any():
        raise InputError(f"state column {name!r} holds {fill}, which marks missing numbers in a file.")
    return StoredColumn(kind, {"_FillValue": fill}), values.to_numpy(dtype=kind, na_value=fill)


def _encode_instants(name: str, values: "pd.Series[Any]") -> tuple[StoredColumn, NDArray[Any]]:
    attributes: dict[str, Any] = {}
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        attributes["time_zone"] = _name_of_zone(name, values.dtype.tz)
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    unit = values.dt.unit
    raw = values.to_numpy().astype(f"datetime64[{unit}]").astype(np.int64)
    attributes |= {"units": f"{_CLOCKS[unit]} {_EPOCH}", "calendar": "proleptic_gregorian"}
    return StoredColumn(raw.dtype, attributes | {"_FillValue": np.int64(_NO_INSTANT)}), raw


def _encode_text(name: str, values: "pd.Series[Any]") -> tuple[StoredColumn, NDArray[Any]]:
    raw = values.to_numpy(dtype=object, copy=True)
    absent = values.isna().to_numpy(dtype=bool)
    raw[absent] = ""
    try:
        width = longest(raw)
    except UnicodeEncodeError as error:
        raise InputError(f"state column {name!r} holds text that is not Unicode: {error.reason}.") from error
    if any("\0" in text or MISSING_TEXT in text for text in set(raw)):
        raise InputError(
            f"state column {name!r} holds a null character or {MISSING_TEXT!r}, which marks missing text in a file. "
            "Replace it."
        )
    check_length(name, width)
    if not absent.any():
        return StoredColumn(_CHARACTER, {}, width), raw
    raw[absent] = MISSING_TEXT
    # Only where it is needed: xarray cannot write text again that has this attribute.
    return StoredColumn(_CHARACTER, {"missing_value": MISSING_TEXT}, longest(raw)), raw


def _described(column: StoredColumn) -> str:
    if column.kind == "numbers":
        return f"{column.dtype} that may be missing" if column.missing is not None else str(column.dtype)
    return f"{column.kind} that may be missing" if column.kind == "booleans" and column.missing else column.kind
