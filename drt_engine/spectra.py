"""Impedance spectra on one frequency grid, with the states that they were measured at."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.result_fields import RESULT_FIELDS
from drt_engine.text import as_html, count_of

__all__ = [
    "MASK_REASONS",
    "MIN_POINTS",
    "STATE_UNITS",
    "Spectra",
    "chosen_rows",
    "first_and_last",
    "freeze_arrays",
    "series_of",
    "with_states",
]

T = TypeVar("T", bound=np.generic)

_FEW = 4
"""Rows at either end of a long table that are shown in a notebook."""

MIN_POINTS = 5
"""Fewest frequencies that an inversion makes sense of."""

STATE_UNITS: Mapping[str, str] = {
    "voltage": "V",
    "time": "s",
    "current": "A",
    "charge": "C",
    "temperature": "degC",
    "area": "cm2",
}
"""Units of the state columns that have a fixed name."""

MASK_REASONS = ("frequency range", "band", "mask", "inductive tail", "outlier")
"""Why a point is taken out, in the order in which the steps of cleaning follow each other."""


RESERVED = frozenset(
    {
        *("frequency", "impedance_real", "impedance_imag", "point_time", "tau"),
        *(told.name for told in RESULT_FIELDS),
    }
)
"""Names that a state column cannot have, since spectra and results have them."""


class Spectra:
    """Impedance spectra that share one frequency grid.

    Frequencies are put in descending order once, here, as an instrument sweeps them; so relaxation times ascend with
    the columns. Everything is read-only afterwards.

    Parameters
    ----------
    frequency : array_like, shape (F,)
        Frequencies, Hz, positive and distinct, in any order.
    impedance : array_like of complex, shape (F,) or (K, F)
        Impedances, ohm, in the order of `frequency`; capacitive means a negative imaginary part. A point that is NaN is
        a missing one.
    states : DataFrame or mapping of str to array_like, optional
        What each spectrum was measured at, K rows. Fixed names and units: ``cell``, ``cycle``, ``voltage`` (V),
        ``direction``, ``time`` (s), ``current`` (A), ``charge`` (C), ``temperature`` (°C), ``area`` (cm²), ``source``;
        any other column may stand beside them.
    point_time : array_like, shape (F,) or (K, F), optional
        When each point was measured, s since the first point of its spectrum, in the order of `frequency`; NaN where it
        is not known. With the state ``time``, which is that of the first point, it shows how a cell drifted during a
        sweep.

    Raises
    ------
    InputError
        For frequencies that are not positive, finite and distinct, for fewer than five of them, and for shapes that do
        not fit together.
    """

    __slots__ = ("_frequency", "_impedance", "_point_time", "_states")

    def __init__(
        self,
        frequency: ArrayLike,
        impedance: ArrayLike,
        states: pd.DataFrame | Mapping[str, Any] | None = None,
        point_time: ArrayLike | None = None,
    ) -> None:
        f = _checked_frequency(frequency)
        try:
            z = np.atleast_2d(np.asarray(impedance, dtype=complex))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"impedance must be an array of complex numbers of shape (F,) or (K, F); got {error}."
            ) from error
        if z.ndim != 2 or z.shape[1] != f.size:
            raise InputError(
                f"impedance must have one column for each of the {f.size} frequencies; got shape "
                f"{np.shape(impedance)}. Spectra on another grid belong in another Spectra."
            )
        order = np.argsort(-f, kind="stable")
        self._frequency = _frozen(f[order])
        self._impedance = _frozen(np.take(z, order, axis=1))  # always a copy, and only one
        self._states = _checked_states(states, z.shape[0])
        self._point_time = (
            None if point_time is None else _frozen(np.take(_checked_times(point_time, z), order, axis=1))
        )

    @property
    def frequency(self) -> NDArray[np.float64]:
        """Frequencies, Hz, descending, shape (F,)."""
        return self._frequency

    @property
    def impedance(self) -> NDArray[np.complex128]:
        """Impedances, ohm, shape (K, F)."""
        return self._impedance

    @property
    def states(self) -> pd.DataFrame:
        """What each spectrum was measured at, K rows; a copy."""
        return self._states.copy()

    @property
    def point_time(self) -> NDArray[np.float64] | None:
        """When each point was measured, s since the first of its spectrum, shape (K, F); None if no time is known."""
        return self._point_time

    def __len__(self) -> int:
        """K, the number of spectra."""
        return int(self._impedance.shape[0])

    def __getitem__(self, rows: Any) -> "Spectra":
        """Return the chosen spectra.

        Parameters
        ----------
        rows : int, slice, or array_like of int or bool
            Row numbers, a slice, or a boolean for each spectrum, such as a condition on `states`.
        """
        chosen = chosen_rows(len(self), rows)
        times = None if self._point_time is None else self._point_time[chosen]
        return Spectra(self._frequency, self._impedance[chosen], self._states.iloc[chosen], times)

    def with_states(self, **states: Any) -> "Spectra":
        """Give the spectra more states, or other values of those that they have.

        Parameters
        ----------
        **states : value or array_like, shape (K,)
            By the names of the columns: ``spectra.with_states(cycle=500, area=1.13)``. One value is that of all.

        Raises
        ------
        InputError
            For as many values as there are no spectra, and for names that a state cannot have.
        """
        frame = self._states.copy()
        for name, values in states.items():
            one = isinstance(values, str) or np.ndim(values) == 0
            if not one and len(values) != len(self):
                raise InputError(
                    f"the state {name!r} must have one value, or one for each of the "
                    f"{count_of(len(self), 'spectrum')}; got {len(values)}."
                )
            frame[name] = values if one else list(values)
        return Spectra(self._frequency, self._impedance, frame, self._point_time)

    def __repr__(self) -> str:
        """Say what it holds, on one line."""
        columns = ", ".join(map(str, self._states.columns)) or "none"
        high, low = self._frequency[[0, -1]]
        return (
            f"Spectra({count_of(len(self), 'spectrum')}, {self._frequency.size} frequencies from {high:.3g} to "
            f"{low:.3g} Hz, states: {columns})"
        )

    def _repr_html_(self) -> str:
        """Show it in a notebook: a line, and the states of the first and of the last spectra."""
        rows = first_and_last(len(self))
        frame = self._states.iloc[rows]
        frame.insert(0, "spectrum", rows, allow_duplicates=True)
        return as_html(repr(self), frame, len(self))


def first_and_last(count: int) -> NDArray[np.intp]:
    """Numbers of the rows of a long table that a glance at it shows."""
    rows = np.arange(count)
    return rows if count <= 2 * _FEW else np.concatenate([rows[:_FEW], rows[-_FEW:]])


def with_states(found: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
    """Put states into a table of what was found in spectra, after its column ``spectrum``.

    Parameters
    ----------
    found : DataFrame
        A table with row numbers in the column ``spectrum``.
    states : DataFrame
        What each of K spectra was measured at. A state that has the name of a column of the table is left out.
    """
    rest = found.drop(columns="spectrum").reset_index(drop=True)
    beside = states.drop(columns=found.columns, errors="ignore").iloc[found["spectrum"].to_numpy()]
    return pd.concat([found[["spectrum"]].reset_index(drop=True), beside.reset_index(drop=True), rest], axis=1)


def _checked_frequency(frequency: ArrayLike) -> NDArray[np.float64]:
    try:
        f = np.array(frequency)
        if np.iscomplexobj(f):
            raise TypeError("complex numbers")
        f = f.astype(float)
    except (TypeError, ValueError) as error:
        raise InputError(f"frequency must be an array of numbers in Hz; got {error}.") from error
    if f.ndim != 1:
        raise InputError(f"frequency must have one dimension; got shape {f.shape}.")
    if f.size < MIN_POINTS:
        raise InputError(f"frequency must have at least {MIN_POINTS} points; got {f.size}.")
    bad = np.flatnonzero(~np.isfinite(f) | (f <= 0))
    if bad.size:
        cure = " Drop the DC point first." if f[bad[0]] == 0 else ""
        raise InputError(f"frequency must be positive and finite; got {f[bad[0]]:g} Hz at index {bad[0]}.{cure}")
    ascending = np.sort(f)
    again = np.flatnonzero(np.diff(ascending) <= 1e-9 * ascending[1:])
    if again.size:
        raise InputError(
            f"frequency must not repeat; got {ascending[again[0]]:g} Hz more than once. "
            "Average the repeated points, or give each sweep a row of its own."
        )
    return f


def _checked_times(point_time: ArrayLike, impedance: NDArray[np.complex128]) -> NDArray[np.float64]:
    try:
        times = np.atleast_2d(np.asarray(point_time, dtype=float))
    except (TypeError, ValueError) as error:
        raise InputError(f"point_time must be an array of numbers in s; got {error}.") from error
    if times.shape != impedance.shape:
        raise InputError(
            f"point_time must have one time for each point of the impedance, shape {impedance.shape}; got shape "
            f"{np.shape(point_time)}."
        )
    if np.isinf(times).any():
        raise InputError("point_time must be finite, or NaN where it is not known; got infinity.")
    return times


def _holds(values: Any, text: str) -> bool:
    return any(isinstance(each, str) and each == text for each in np.ravel(np.asarray(values, dtype=object)))


def _checked_states(states: pd.DataFrame | Mapping[str, Any] | None, rows: int) -> pd.DataFrame:
    if states is None:
        return pd.DataFrame(index=pd.RangeIndex(rows))
    try:
        frame = pd.DataFrame(states if isinstance(states, pd.DataFrame) else dict(states), copy=True)
    except UnicodeEncodeError as error:
        # Text that pyarrow holds, where it is installed.
        names = [name for name, values in dict(states).items() if _holds(values, error.object)]
        raise InputError(
            f"state column {', '.join(map(repr, names))} holds text that is not Unicode: {error.reason}."
        ) from error
    except (TypeError, ValueError) as error:
        raise InputError(
            f"states must be a DataFrame or a mapping of column names to {count_of(rows, 'value')} each; got {error}."
        ) from error
    if not frame.shape[1]:
        return pd.DataFrame(index=pd.RangeIndex(rows))
    if len(frame) != rows:
        raise InputError(f"states must have one row for each of the {count_of(rows, 'spectrum')}; got {len(frame)}.")
    frame.columns = frame.columns.map(str)
    taken = sorted(RESERVED & set(frame.columns))
    if taken:
        raise InputError(f"a state column cannot be called {taken[0]!r}, as an array of the result is. Rename it.")
    frame.index = pd.RangeIndex(rows)
    return frame


def _frozen(values: NDArray[T]) -> NDArray[T]:
    values.flags.writeable = False
    return values


def chosen_rows(count: int, rows: Any) -> NDArray[np.intp]:
    """Return the numbers of the chosen rows among `count`, as numpy takes them; a boolean column of states will do."""
    return np.atleast_1d(np.arange(count)[np.asarray(rows) if isinstance(rows, pd.Series) else rows])


def freeze_arrays(target: Any, shape_of: Callable[[str], tuple[int, ...]] | None = None) -> None:
    """Make the arrays of a frozen dataclass read-only.

    Parameters
    ----------
    target : dataclass
        Its arrays are replaced by views.
    shape_of : callable, optional
        Returns the shape that the array of a name must have.

    Raises
    ------
    InputError
        For another shape.
    """
    kind: Any = type(target)
    for name in _names(kind):
        array = getattr(target, name)
        if not isinstance(array, np.ndarray):
            continue
        if shape_of is not None and array.shape != (expected := shape_of(name)):
            raise InputError(f"{name} must have shape {expected}; got {array.shape}.")
        array = array.view()
        array.setflags(write=False)
        object.__setattr__(target, name, array)


@lru_cache(maxsize=64)
def _names(kind: Hashable) -> tuple[str, ...]:
    """Names of the fields of a dataclass."""
    one: Any = kind
    return tuple(field.name for field in fields(one))


def series_of(states: pd.DataFrame, columns: Sequence[str]) -> tuple[NDArray[np.intp], list[tuple[Hashable, ...]]]:
    """Group spectra by equal values of state columns.

    Parameters
    ----------
    states : DataFrame
        What each of K spectra was measured at.
    columns : sequence of str
        The columns; none makes all spectra one series. Missing values are equal to each other.

    Returns
    -------
    member : ndarray of int, shape (K,)
        Number of the series of each spectrum.
    series : list
        What distinguishes each series, by number in the order in which they begin: its value of each column, None where
        that is missing.

    Raises
    ------
    UnknownNameError
        For a column that does not exist.
    InputError
        If the spectra have no columns, or the values of one cannot be compared.
    """
    if not columns or not len(states):
        return np.zeros(len(states), dtype=np.intp), [()] if len(states) else []
    for name in columns:
        if not states.shape[1]:
            raise InputError(f"shared={name!r} needs a state column of that name; the spectra have no states at all.")
        if name not in states.columns:
            raise UnknownNameError("the state column of shared", name, map(str, states.columns))
    try:
        member = states.groupby(list(columns), sort=False, dropna=False, observed=True).ngroup().to_numpy()
    except TypeError as error:
        raise InputError(f"shared={tuple(columns)} cannot distinguish series: {error}. Name another column.") from error
    _, first = np.unique(member, return_index=True)
    keys = zip(*(states[name].iloc[first].tolist() for name in columns), strict=True)
    return member.astype(np.intp), [tuple(None if pd.isna(value) else value for value in key) for key in keys]
