"""Checks of values that several parts make."""

import math
import operator
from typing import Any

import numpy as np

from drt_engine.errors import InputError

__all__ = ["checked_row", "is_real"]


def is_real(value: Any) -> bool:
    """Say whether a value is a finite real number; True and False are not."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float holds
        return False


def checked_row(row: Any, rows: int) -> int:
    """Return the number of one row, counted from the end if it is negative; raise an InputError if there is none."""
    try:
        number = operator.index(row)
    except TypeError:
        raise InputError(f"a spectrum is chosen by the number of its row; got {row!r}.") from None
    if not -rows <= number < rows:
        numbered = f"they are numbered from 0 to {rows - 1}" if rows else "it has no spectra"
        raise InputError(f"row {number} is not in the result: {numbered}.")
    return number % rows
