"""Checks of what comes in: frequencies, relaxation times, parameters of elements."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drt_engine.checks import is_real
from drt_engine.errors import InputError

__all__ = [
    "angular",
    "check_exponent",
    "check_not_negative",
    "check_positive",
    "checked_count",
    "is_whole",
    "relaxation_times",
]


def angular(frequency: ArrayLike) -> NDArray[np.float64]:
    """ω = 2πf of checked frequencies, 1/s, shape (F,)."""
    return 2 * np.pi * _row("frequency", frequency, "Hz")


def relaxation_times(tau: ArrayLike) -> NDArray[np.float64]:
    """Return checked relaxation times, s, shape (T,)."""
    return _row("tau", tau, "s")


def check_positive(element: object, name: str, unit: str) -> None:
    """Refuse a parameter that is not a positive finite number."""
    value = getattr(element, name)
    if not (is_real(value) and value > 0):
        raise InputError(_refusal(element, name, f"a positive finite number in {unit}"))


def check_not_negative(element: object, name: str, unit: str) -> None:
    """Refuse a parameter that is negative or not a finite number."""
    value = getattr(element, name)
    if not (is_real(value) and value >= 0):
        raise InputError(_refusal(element, name, f"a finite number in {unit}, not negative"))


def check_exponent(element: object, name: str) -> None:
    """Refuse an exponent outside (0, 1]."""
    value = getattr(element, name)
    if not (is_real(value) and 0 < value <= 1):
        raise InputError(_refusal(element, name, "in (0, 1]"))


def checked_count(n: int) -> int:
    """Refuse a number of lines that is not a positive whole number."""
    if not is_whole(n) or n < 1:
        raise InputError(f"n, the number of lines, must be a positive whole number; got {n!r}.")
    return int(n)


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, and no truth value."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _refusal(element: object, name: str, expected: str) -> str:
    return f"{name} of {type(element).__name__} must be {expected}; got {getattr(element, name)!r}."


def _row(name: str, values: ArrayLike, unit: str) -> NDArray[np.float64]:
    try:
        row = np.atleast_1d(np.asarray(values, dtype=float))
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be numbers in {unit}; got {error}.") from error
    if row.ndim != 1:
        raise InputError(f"{name} must have one dimension; got shape {row.shape}. Flatten it first.")
    bad = np.flatnonzero(~(np.isfinite(row) & (row > 0)))
    if bad.size:
        raise InputError(f"{name} must be positive and finite; got {row[bad[0]]:g} {unit} at index {bad[0]}.")
    return row
