"""Which spectra a figure shows, and the states that it shows them by."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.plotting.look import with_areas
from drt_engine.result import Inversion
from drt_engine.spectra import Spectra
from drt_engine.status import Status
from drt_engine.text import count_of, drawn

__all__ = ["NUMBERS", "Quantity", "Selection", "display_factor", "display_label", "select"]

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

# What a series of spectra has in common; a file's name is no state of the cell.
_TELLING = ("cell", "channel", "electrode", "cycle", "direction", "temperature", "source")

NUMBERS = ("spectrum", "sweep")
"""States that only number spectra: neighbours in them need not be alike."""

_MOST_NAMED, _LONG_NAME = 20, 18
"""Spectra that are named by their files, and letters of a name that fits beside an axis."""

# label, unit on paper, unit on paper over unit of the column
_DISPLAY: dict[str, tuple[str, str, float]] = {
    "area": ("Area", "cm²", 1.0),
    "cell": ("Cell", "", 1.0),
    "charge": ("Capacity", "mAh", 1.0 / 3.6),
    "current": ("Current", "A", 1.0),
    "cycle": ("Cycle", "", 1.0),
    "direction": ("Direction", "", 1.0),
    "source": ("Source", "", 1.0),
    "specific_capacity": ("Capacity", "mAh g⁻¹", 1.0),
    "spectrum": ("Spectrum", "", 1.0),
    "temperature": ("Temperature", "°C", 1.0),
    "time": ("Time", "h", 1.0 / 3600.0),
    "voltage": ("Voltage", "V", 1.0),
}


def display_label(state: str) -> str:
    """Label of a state with its unit; other columns are called what they are called."""
    label, unit, _ = _DISPLAY.get(state, (drawn(state), "", 1.0))
    return f"{label} / {unit}" if unit else label


def display_factor(state: str) -> float:
    """By what a state is multiplied to be in the unit of its label."""
    return _DISPLAY.get(state, ("", "", 1.0))[2]


@dataclass(frozen=True, eq=False)
class Quantity:
    """A state of the chosen spectra, ready to be drawn.

    Attributes
    ----------
    name, label : str
        Column and label, with unit.
    array : ndarray, shape (K,)
        Numbers in the unit of the label, or else strings.
    numeric, whole : bool
        Whether they are numbers, and whether those are integers.
    names : tuple of str
        What spectra are called that only a number orders: by their files, if each has its own and they are few; empty
        otherwise.
    """

    name: str
    label: str
    array: NDArray[Any]
    numeric: bool
    whole: bool
    names: tuple[str, ...] = ()

    def distinct(self, purpose: str, few: int) -> NDArray[np.intp]:
        """Order of ascending values, for figures in which each has its own place.

        Raises
        ------
        InputError
            Unless they are numbers, `few` or more, and none occurs twice.
        """
        if not self.numeric:
            raise InputError(f"{purpose} needs a state with numbers; {self.name!r} holds {self.array[0]!r}.")
        if self.array.size < few:
            raise InputError(f"{purpose} needs at least {count_of(few, 'spectrum')}; got {self.array.size}.")
        order = np.argsort(self.array, kind="stable")
        ordered = self.array[order]
        again = np.unique(ordered[1:][np.diff(ordered) == 0])
        if again.size:
            raise InputError(
                f"{purpose} needs each value of {self.name!r} once; {again.size} occur more often, first "
                f"{again[0]:g}. Choose rows of one cell, cycle and direction, or take the state 'spectrum'."
            )
        return order


@dataclass(frozen=True, eq=False)
class Selection:
    """The chosen rows of spectra and of their result.

    Attributes
    ----------
    rows : ndarray of int, shape (K,)
        Row numbers.
    states : DataFrame
        Their states, with the column ``spectrum``.
    spectra : Spectra or None
    result : Inversion or None
        These rows only; times their areas where the figure is per area.
    """

    rows: NDArray[np.intp]
    states: pd.DataFrame
    spectra: Spectra | None
    result: Inversion | None

    def __len__(self) -> int:
        """K, how many were chosen."""
        return int(self.rows.size)

    @property
    def fitted(self) -> Inversion:
        """The result, for figures that need one."""
        if self.result is None:
            raise InputError("result must be an Inversion; got None. Invert the spectra first.")
        return self.result

    @property
    def measured(self) -> Spectra:
        """The spectra, for figures that need them."""
        if self.spectra is None:
            raise InputError("spectra must be a Spectra; got None.")
        return self.spectra

    def once(self, state: str) -> "Selection":
        """Keep one of the spectra that agree in a state and in all that distinguishes series: repeated measurements."""
        keys = [state, *(name for name in _TELLING if name in self.states.columns and name != state)]
        if state not in self.states.columns or state == "spectrum":
            return self
        again = self.states.duplicated(keys).to_numpy()
        if not again.any():
            return self
        logger.warning(
            "%d of %d spectra repeat another one's %s; the first of each is drawn.",
            np.count_nonzero(again),
            len(self),
            ", ".join(keys),
        )
        kept = np.flatnonzero(~again)
        return Selection(
            self.rows[kept],
            self.states.iloc[kept].reset_index(drop=True),
            None if self.spectra is None else self.spectra[kept],
            None if self.result is None else self.result[kept],
        )

    def quantity(self, state: str) -> Quantity:
        """Return a state by its name.

        Raises
        ------
        UnknownNameError
            If there is no such column.
        InputError
            If a value is missing.
        """
        if state not in self.states.columns:
            raise UnknownNameError("state", state, map(str, self.states.columns))
        column = self.states[state]
        missing = self.rows[column.isna().to_numpy()]
        if missing.size:
            raise InputError(
                f"state {state!r} has no value in {missing.size} of {len(self)} spectra, first in row {missing[0]}. "
                "Leave them out with rows."
            )
        numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        values = column.to_numpy(dtype=float) * display_factor(state) if numeric else column.astype(str).to_numpy()
        whole = bool(numeric and pd.api.types.is_integer_dtype(column))
        names = _file_names(self.states) if state == "spectrum" else ()
        return Quantity(state, display_label(state), values, bool(numeric), whole, names)


def _file_names(states: pd.DataFrame) -> tuple[str, ...]:
    """Short names of spectra with their numbers, if each is of a file of its own and they are few; or else nothing."""
    if "source" not in states.columns or states["source"].isna().any() or len(states) > _MOST_NAMED:
        return ()
    names = [PurePath(drawn(str(source))).name for source in states["source"]]
    short = [one if len(one) <= _LONG_NAME else f"{one[: _LONG_NAME - 9]}…{one[-8:]}" for one in names]
    if len(set(short)) < len(short):
        return ()
    return tuple(f"{number}: {one}" for number, one in zip(states["spectrum"], short, strict=True))


def select(spectra: Spectra | None, result: Inversion | None, rows: Any = None) -> Selection:
    """Choose rows, without those that have no solution.

    Parameters
    ----------
    spectra : Spectra, optional
        K spectra.
    result : Inversion, optional
        Their result; one of the two is needed.
    rows : array_like of int or bool, slice or int, optional
        Which; all by default.

    Raises
    ------
    InputError
        If the two do not belong together, for rows that do not exist, and if none is left.
    """
    for name, value, kind in (("spectra", spectra, Spectra), ("result", result, Inversion)):
        if value is not None and not isinstance(value, kind):
            raise InputError(f"{name} must be of type {kind.__name__}; got {type(value).__name__}.")
    if spectra is not None and result is not None and len(spectra) != len(result):
        raise InputError(
            f"result must have one row for each of the {count_of(len(spectra), 'spectrum')}; got {len(result)}. "
            "Pass the spectra that were inverted, and choose among both with rows."
        )
    source = spectra if spectra is not None else result
    if source is None:
        raise InputError("spectra or result must be given; got neither.")
    chosen = row_numbers(len(source), rows)
    if result is not None:
        chosen = _solved(result, chosen)
    elif spectra is not None:
        chosen = _measured(spectra, chosen)
    states = source.states
    if "spectrum" not in states.columns:
        states = states.assign(spectrum=np.arange(len(source)))
    measured, fitted = with_areas(
        None if spectra is None else spectra[chosen], None if result is None else result[chosen]
    )
    return Selection(chosen, states.iloc[chosen].reset_index(drop=True), measured, fitted)


def row_numbers(count: int, rows: Any) -> NDArray[np.intp]:
    """Row numbers that `rows` stands for, in numpy's terms.

    Raises
    ------
    InputError
        For rows that do not exist, and if there are none.
    """
    if rows is None:
        rows = slice(None)
    try:
        index = np.arange(count)[rows] if isinstance(rows, slice) else np.asarray(rows)
        chosen = np.atleast_1d(np.arange(count)[index if index.size else slice(0)])
    except (IndexError, TypeError, ValueError) as error:
        raise InputError(
            f"rows must be row numbers below {count} or {count} booleans; got {rows!r} ({error})."
        ) from error
    if chosen.ndim != 1:
        raise InputError(f"rows must have one dimension; got {chosen.ndim}.")
    if not chosen.size:
        raise InputError(f"rows must choose at least one of the {count_of(count, 'spectrum')}; got none.")
    return chosen


def listed(values: Iterable[Any], most: int = 10) -> str:
    """Values for a message, and no more of them than one can read."""
    every = [f"{value:g}" if isinstance(value, float) else repr(value) for value in values]
    return ", ".join(every[:most]) + (", …" if len(every) > most else "")


def _solved(result: Inversion, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    kept = rows[result.solved[rows]]
    if not kept.size:
        found = Status(int(np.bitwise_or.reduce(result.status[rows])))
        raise InputError(
            f"result has no solution in the {rows.size} chosen rows, expected one at least. {found.message}"
        )
    return kept


def _measured(spectra: Spectra, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    kept = rows[np.isfinite(spectra.impedance[rows]).any(axis=1)]
    if not kept.size:
        raise InputError(f"spectra have no finite impedance in the {rows.size} chosen rows; expected one at least.")
    return kept
