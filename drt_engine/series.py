"""Which spectra make up a series, and where each stands along it."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.regularisation import series_of

__all__ = ["OrderedSeries", "in_series_order", "likely_series", "series_along", "series_columns"]

logger = logging.getLogger(__name__)

_FIRST = ("cell", "cycle", "direction", "temperature")
"""State columns that tell series apart wherever they are there."""

_NEVER = ("source", "sweep", "time")
"""State columns that number or name each spectrum."""

_LIKELY = ("voltage", "cycle", "temperature", "time")
"""State columns that campaigns run along, the likeliest first."""

_CLOSEST, _FARTHEST = 0.2, 5.0
"""Distances of neighbours, in their median, are taken to be within these: a value that was measured twice, or a large
gap, says nothing about how much changes in between."""


@dataclass(frozen=True, eq=False)
class OrderedSeries:
    """A series.

    Attributes
    ----------
    rows : ndarray of int, shape (K,)
        Row numbers, in order.
    value : ndarray, shape (K,)
        Of the state along which they are ordered, ascending.
    position : ndarray, shape (K,)
        Where each stands, in steps of the median distance of neighbours.
    """

    rows: NDArray[np.intp]
    value: NDArray[np.float64]
    position: NDArray[np.float64]


def series_columns(states: pd.DataFrame, along: str, series: Sequence[str] | None = None) -> tuple[str, ...]:
    """State columns that tell series apart.

    Parameters
    ----------
    states : DataFrame
        What each spectrum was measured at.
    along : str
        State column along which a series runs.
    series : sequence of str, optional
        The columns; by default ``cell``, ``cycle``, ``direction``, ``temperature`` and every other one that holds text
        or whole numbers, as far as series of more than one spectrum are left.

    Raises
    ------
    UnknownNameError
        For a column that does not exist.
    """
    for name in (along, *(series or ())):
        if name not in states.columns:
            raise UnknownNameError("the state column", name, map(str, states.columns))
    if series is not None:
        return tuple(series)
    others = [
        name for name in map(str, states.columns) if name not in (*_FIRST, *_NEVER, along) and _tells(states[name])
    ]
    chosen: list[str] = []
    for name in (*(name for name in _FIRST if name in states.columns and name != along), *others):
        # Different cells are never one series.
        if name != "cell" and _shortest(states, [*chosen, name]):
            logger.info("series along %s are not told apart by %r, which differs in every spectrum", along, name)
        else:
            chosen.append(name)
    logger.info("series along %s: spectra with equal %s", along, ", ".join(chosen) or "everything else")
    return tuple(chosen)


def series_along(states: pd.DataFrame, along: str, series: Sequence[str] | None = None) -> list[OrderedSeries]:
    """Divide spectra into series.

    Parameters
    ----------
    states : DataFrame
        What each of K spectra was measured at.
    along : str
        State column of numbers or times along which a series runs; spectra without it belong to none.
    series : sequence of str, optional
        As :func:`series_columns` takes it.

    Returns
    -------
    list of OrderedSeries
        Those of two spectra or more.

    Raises
    ------
    UnknownNameError
        For a column that does not exist.
    InputError
        If the column `along` holds no numbers.
    """
    member, _ = series_of(states, series_columns(states, along, series))
    value = _numbers(states[along], along)
    # Equal values in the order of the rows.
    order = np.lexsort((np.arange(len(states)), value, member))
    order = order[np.isfinite(value[order])]
    groups = np.split(order, np.flatnonzero(np.diff(member[order])) + 1)
    return [OrderedSeries(rows, value[rows], _positions(value[rows])) for rows in groups if rows.size >= 2]


def likely_series(states: pd.DataFrame) -> tuple[str, list[OrderedSeries]] | None:
    """Find series to be inverted together, along the first of voltage, cycle, temperature and time that has any.

    Parameters
    ----------
    states : DataFrame
        What each of K spectra was measured at.

    Returns
    -------
    tuple, or None
        The column and its series; None if there is no series of different states.
    """
    for along in _LIKELY:
        if along not in states.columns:
            continue
        # A column of another kind is none to run along.
        with suppress(InputError):
            lines = [line for line in series_along(states, along) if line.value[-1] > line.value[0]]
            if lines:
                return along, lines
    return None


def in_series_order(lines: Sequence[OrderedSeries], spectra: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Order spectra so that those of a series follow each other; otherwise they stay in place as far as that goes.

    Parameters
    ----------
    lines : sequence of OrderedSeries
        The series.
    spectra : int
        K, how many spectra there are, with those that belong to no series.

    Returns
    -------
    order : ndarray of int, shape (K,)
        Row numbers.
    ends : ndarray of int
        How many come before the end of each series, or of a spectrum alone; ascending.
    """
    first, place = np.arange(spectra), np.zeros(spectra, dtype=np.intp)
    for line in lines:
        first[line.rows] = line.rows.min()
        place[line.rows] = np.arange(line.rows.size)
    order = np.lexsort((place, first))
    return order, np.append(np.flatnonzero(np.diff(first[order])) + 1, spectra)


def _positions(value: NDArray[np.float64]) -> NDArray[np.float64]:
    distance = np.diff(value)
    apart = distance[distance > 0.0]
    median = float(np.median(apart)) if apart.size else 1.0
    return np.concatenate([[0.0], np.cumsum((distance / median).clip(_CLOSEST, _FARTHEST))])


def _numbers(column: "pd.Series[Any]", name: str) -> NDArray[np.float64]:
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        seconds = column.to_numpy(dtype="datetime64[ns]").astype(np.int64) / 1e9
        return np.asarray(np.where(column.isna(), np.nan, seconds))
    if pd.api.types.is_bool_dtype(column.dtype) or not pd.api.types.is_numeric_dtype(column.dtype):
        raise InputError(f"along={name!r} must be a state of numbers or times; got {column.dtype}. Name another one.")
    return np.asarray(column.to_numpy(dtype=float, na_value=np.nan))


def _tells(column: "pd.Series[Any]") -> bool:
    """Whether a column holds text or whole numbers."""
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return False
    if not pd.api.types.is_numeric_dtype(column.dtype):
        return True
    values = column.dropna().to_numpy(dtype=float)
    return bool((values == np.round(values)).all())


def _shortest(states: pd.DataFrame, names: list[str]) -> bool:
    """Whether most spectra would be alone."""
    sizes = states.groupby(names, dropna=False, observed=True).size()
    return bool(len(states) > 1 and 2 * np.count_nonzero(sizes == 1) > len(states))
