"""Checks of values that several parts make."""

import math
from typing import Any

import numpy as np

__all__ = ["is_real"]


def is_real(value: Any) -> bool:
    """Say whether a value is a finite real number; True and False are not."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float holds
        return False
