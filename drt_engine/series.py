"""Which spectra make up a series, and where each stands along it."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.spectra import series_of

__all__ = [
    "OrderedSeries",
    "Sheet",
    "differences",
    "eigenvalues",
    "in_series_order",
    "likely_series",
    "seconds_of",
    "series_along",
    "series_columns",
    "sheets_of",
]

logger = logging.getLogger(__name__)

_FIRST = ("cell", "cycle", "direction", "temperature")
"""State columns that distinguish series wherever they are there."""

_NEVER = ("source", "digest", "sweep", "time")
"""State columns that number or name each spectrum."""

_LIKELY = ("voltage", "cycle", "temperature", "time")
"""State columns that campaigns run along, the likeliest first."""

_RUN = 3
"""Values of a state from which on a file is taken for one run along it; two may be those of a repeated spectrum."""

_EIGENVALUES = 128
"""Eigenvalues of the differences along a series are sampled where there are more than these."""

_CLOSEST, _FARTHEST = 0.2, 5.0
"""Distances of neighbours, in their median, are taken to be within these: a value that was measured twice, or a large
gap, says nothing about how much changes in between."""


_SAME, _FILLED = 0.25, 0.5
"""Places of different series are the same if they are nearer than this share of a step; and series that are neighbours
in a second state are inverted together if more than this share of all places was measured."""


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


@dataclass(frozen=True, eq=False)
class Sheet:
    """Series that are neighbours in a second state.

    Attributes
    ----------
    rows : ndarray of int, shape (C, V)
        Row numbers of C series at V places; -1 where nothing was measured.
    position : tuple of ndarray
        Where the places stand along the series, shape (V,), and the series across, shape (C,), in steps of the median
        distance of neighbours.
    """

    rows: NDArray[np.intp]
    position: tuple[NDArray[np.float64], NDArray[np.float64]]


def series_columns(
    states: pd.DataFrame, along: str | Sequence[str], series: Sequence[str] | None = None
) -> tuple[str, ...]:
    """State columns that distinguish series.

    Parameters
    ----------
    states : DataFrame
        What each spectrum was measured at.
    along : str or sequence of str
        State column along which a series runs, or two along which several do.
    series : sequence of str, optional
        The columns; by default ``cell``, ``cycle``, ``direction``, ``temperature`` and every other one that holds text
        or whole numbers, as far as series of more than one spectrum are left; and ``source``, where files run over the
        same values.

    Raises
    ------
    UnknownNameError
        For a column that does not exist.
    """
    along = (along,) if isinstance(along, str) else tuple(along)
    for name in (*along, *(series or ())):
        if name not in states.columns:
            raise UnknownNameError("the state column", name, map(str, states.columns))
    if series is not None:
        return tuple(series)
    others = [
        name
        for name in map(str, states.columns)
        if name not in (*_FIRST, *_NEVER, *along)
        and _may_distinguish(states[name])
        and not _place_of_files(states, name, along)
    ]
    chosen: list[str] = []
    counted: dict[str, int] = {}
    words = " and ".join(along)
    for name in (*(name for name in _FIRST if name in states.columns and name not in along), *others):
        # Different cells are never one series.
        if name != "cell" and _shortest(states, [*chosen, name], counted):
            logger.info("series along %s are not separated by %r, which differs in every spectrum", words, name)
        else:
            chosen.append(name)
    if len(along) == 1 and _files_are_runs(states, chosen, along[0]):
        chosen.append("source")
    logger.info("series along %s: spectra with equal %s", words, ", ".join(chosen) or "everything else")
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


def sheets_of(states: pd.DataFrame, along: tuple[str, str], series: Sequence[str] | None = None) -> list[Sheet]:
    """Arrange series that are neighbours in a second state.

    Places of series that are nearer to each other than a quarter of a step are the same.

    Parameters
    ----------
    states : DataFrame
        What each of K spectra was measured at.
    along : tuple of str
        State columns: the one along which series run, and the one across them.
    series : sequence of str, optional
        As :func:`series_columns` takes it.

    Returns
    -------
    list of Sheet
        Those of two series or more, where more than half of the places of all were measured.

    Raises
    ------
    UnknownNameError
        For a column that does not exist.
    InputError
        If a column of `along` holds no numbers.
    """
    one, two = along
    others = series_columns(states, along, series)
    lines = series_along(states, one, (*others, two))
    across = _numbers(states[two], two)
    heads = np.array([line.rows[0] for line in lines], dtype=np.intp)
    member, _ = series_of(states, others)
    out = []
    for number in np.unique(member[heads]):
        mine = [n for n in np.flatnonzero(member[heads] == number) if np.isfinite(across[heads[n]])]
        mine.sort(key=lambda n: across[heads[n]])
        if len(mine) < 2:
            continue
        rows, values = _arranged([lines[n] for n in mine])
        if (rows >= 0).mean() <= _FILLED:
            logger.warning(
                "series along %s are inverted without their neighbours along %s, with which they have too few values "
                "in common: %d series have %d of %d spectra", one, two, len(mine), (rows >= 0).sum(), rows.size,
            )  # fmt: skip
        elif rows.shape[1] >= 2:
            out.append(Sheet(rows, (_positions(values), _positions(across[heads[mine]]))))
    return out


def _arranged(lines: Sequence[OrderedSeries]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Rows of lines at the places of all, -1 where there is none, shape (C, V), and the places, shape (V,)."""
    steps = np.concatenate([np.diff(line.value) for line in lines])
    step = float(np.median(steps[steps > 0.0])) if (steps > 0.0).any() else 0.0
    every = np.unique(np.concatenate([line.value for line in lines]))
    first = np.append(True, np.diff(every) > _SAME * step)
    places = every[first]
    found = [np.searchsorted(places, line.value, side="right") - 1 for line in lines]
    # How often a line was measured at a place, at most.
    often = np.zeros(places.size, dtype=np.intp)
    for each in found:
        np.maximum.at(often, np.arange(places.size), np.bincount(each, minlength=places.size))
    begin = np.append(0, np.cumsum(often))
    rows = np.full((len(lines), begin[-1]), -1, dtype=np.intp)
    for c, (line, each) in enumerate(zip(lines, found, strict=True)):
        again = np.arange(each.size) - np.searchsorted(each, each)
        rows[c, begin[each] + again] = line.rows
    return rows, np.repeat(places, often)


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


def differences(position: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Second differences of neighbours, or the first one of two: which, and their factors, shape (R, 3).

    Parameters
    ----------
    position : ndarray, shape (K,)
        Where two states or more stand, ascending.
    """
    distance = np.diff(position)
    if len(position) == 2:
        return np.array([[0, 1, -1]]), np.array([[-1.0, 1.0, 0.0]]) / np.sqrt(distance[0])
    first = np.arange(len(position) - 2)
    one, two = 1.0 / distance[:-1], 1.0 / distance[1:]
    coefficient = np.stack([one, -one - two, two], axis=1) / np.sqrt(0.5 * (distance[:-1] + distance[1:]))[:, None]
    return np.stack([first, first + 1, first + 2], axis=1), coefficient


def eigenvalues(position: NDArray[np.float64]) -> NDArray[np.float64]:
    """Eigenvalues of the squares of the differences along a series, ascending; a sample of them if there are many.

    Of states with equal distances these are those of a series without ends, 2 − 2 cos(πn/K) to the power of the order
    of the differences. Other distances multiply each by what it is with them over what it is without.

    Parameters
    ----------
    position : ndarray, shape (K,)
        Where two states or more stand, ascending.
    """
    states, order = len(position), 1 if len(position) == 2 else 2
    count = min(states, _EIGENVALUES)
    equal = (2.0 - 2.0 * np.cos(np.pi * np.arange(count) / count)) ** order
    even = np.arange(states, dtype=float)
    if np.allclose(np.diff(position), 1.0):
        return np.asarray(equal)
    chosen = np.maximum(np.arange(count) * states // count, order)
    with_ends, found = (_squares(each.tobytes())[chosen] for each in (even, position))
    return np.asarray(equal * found / with_ends)


@lru_cache(maxsize=8)
def _squares(of: bytes) -> NDArray[np.float64]:
    """Eigenvalues of DᵀD, with D the matrix of the differences between positions, ascending, shape (K,)."""
    from scipy.linalg import eigvals_banded

    position = np.frombuffer(of)
    state, coefficient = differences(position)
    bands = np.zeros((3, len(position)))
    for n in range(3):
        for p in range(3 - n):
            here = state[:, p + n] >= 0
            np.add.at(bands[n], state[here, p], coefficient[here, p] * coefficient[here, p + n])
    # Many series of a campaign stand at the same distances.
    return np.asarray(eigvals_banded(bands, lower=True))


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


def seconds_of(states: pd.DataFrame) -> NDArray[np.float64] | None:
    """When each spectrum began, s, shape (K,): the state ``time``; None if that is missing, or no numbers or dates."""
    if "time" not in states.columns:
        return None
    with suppress(InputError):
        return _numbers(states["time"], "time")
    return None


def _positions(value: NDArray[np.float64]) -> NDArray[np.float64]:
    distance = np.diff(value)
    apart = distance[distance > 0.0]
    if not apart.size:
        return np.arange(value.size, dtype=float)
    median = float(np.median(apart))
    return np.concatenate([[0.0], np.cumsum((distance / median).clip(_CLOSEST, _FARTHEST))])


def _numbers(column: "pd.Series[Any]", name: str) -> NDArray[np.float64]:
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        seconds = column.to_numpy(dtype="datetime64[ns]").astype(np.int64) / 1e9
        return np.asarray(np.where(column.isna(), np.nan, seconds))
    if pd.api.types.is_bool_dtype(column.dtype) or not pd.api.types.is_numeric_dtype(column.dtype):
        raise InputError(f"along={name!r} must be a state of numbers or times; got {column.dtype}. Name another one.")
    return np.asarray(column.to_numpy(dtype=float, na_value=np.nan))


def _may_distinguish(column: "pd.Series[Any]") -> bool:
    """Whether a column holds text or whole numbers, by which series may be distinguished."""
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return False
    if not pd.api.types.is_numeric_dtype(column.dtype):
        return True
    values = column.dropna().to_numpy(dtype=float)
    return bool((values == np.round(values)).all())


def _place_of_files(states: pd.DataFrame, name: str, along: tuple[str, ...]) -> bool:
    """Whether a column is the sheets of workbooks, or the folders of files, that do not distinguish series.

    All that have a sheet have one of the same name, which says that they come from a workbook, or each sheet or folder
    is of one value of the states along which series run, as those that are called by their voltage.
    """
    if name not in ("sheet", "folder"):
        return False
    places = states[name].replace("", None) if name == "sheet" else states[name].fillna("")
    return places.nunique() < 2 or any(states[one].groupby(places).nunique().max() == 1 for one in along)


def _files_are_runs(states: pd.DataFrame, names: list[str], along: str) -> bool:
    """Whether files hold series of their own: several spectra each, over the same range of a state.

    So does a file for each cell where no name tells cells apart, or one for charge and one for discharge.
    """
    if "source" not in states.columns:
        return False
    value = np.full(len(states), np.nan)
    with suppress(InputError):  # who asks for the series says so
        value = _numbers(states[along], along)
    known = states["source"].notna().to_numpy() & np.isfinite(value)
    group = {"member": series_of(states, names)[0], "file": pd.factorize(states["source"])[0]}
    files = pd.DataFrame({**group, "value": value})[known].groupby(["member", "file"])["value"]
    ranges = files.agg(["min", "max", "nunique"])
    for _, found in ranges[ranges["nunique"] >= _RUN].sort_values("min").groupby("member"):
        low, high = found["min"].to_numpy(), found["max"].to_numpy()
        shared = np.minimum(np.maximum.accumulate(high)[:-1], high[1:]) - low[1:]
        if (shared > 0.5 * np.minimum(high[:-1] - low[:-1], high[1:] - low[1:])).any():
            return True
    return False


def _shortest(states: pd.DataFrame, names: list[str], counted: dict[str, int]) -> bool:
    """Whether most spectra would be alone; values of columns that were counted are not counted again."""
    most = 1.0
    for name in names:
        if name not in counted:
            counted[name] = states[name].nunique(dropna=False)
        most *= counted[name]
    if 2.0 * most <= len(states):
        return False  # there are not as many groups, whichever of them are there
    sizes = states.groupby(names, dropna=False, observed=True).size()
    return bool(len(states) > 1 and 2 * np.count_nonzero(sizes == 1) > len(states))
