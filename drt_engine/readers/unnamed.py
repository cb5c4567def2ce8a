"""Three or five columns of numbers without headings: which is which, where only one reading is possible.

One column that is positive and monotonic over at least a decade is the frequency; the other two are Re Z and Im Z, in
that order. By the Kramers-Kronig relations Im Z is about (π/2) d Re Z/d ln ω [1]_, so that points where Re Z falls with
rising frequency can only be capacitive: they tell whether the file holds Im Z or −Im Z. A column of phases beside |Z|
would be about (π/2) d ln |Z|/d ln ω; where that fits as well, the file is refused.

.. [1] H. W. Bode, Network Analysis and Feedback Amplifier Design, Van Nostrand, New York (1945), chapter 14.
"""

import numpy as np
from numpy.typing import NDArray

from drt_engine.readers.columns import VOID, HeadedTable, TableColumn
from drt_engine.readers.headings import Meaning
from drt_engine.text import count_of

__all__ = ["inferred"]

Floats = NDArray[np.float64]

DECADE = np.log(10.0)
"""Least range of a column of frequencies, natural logarithm."""

FIVE = ("time", "cycle", "frequency", "re", "im")
"""What five columns are."""

POLAR = "the last two columns may be Re and Im as well as |Z| and phase"

_MINUS = {1: ("", "-"), -1: ("-", "")}
"""By the sign of the imaginary part: how its column is named as it was taken, and as it would be with the other
sign."""


def inferred(table: HeadedTable) -> tuple[dict[str, TableColumn], str] | str:
    """Return which columns hold frequency and impedance, and what to tell the user; or why that cannot be said.

    Parameters
    ----------
    table : HeadedTable
        Rows without headings.

    Returns
    -------
    tuple of dict and str, or str
        Columns by quantity and a remark, or the reason why none are taken.
    """
    width = len(table.headings)
    if width not in (3, 5):
        return f"{count_of(width, 'column')} may be anything"
    values = table.numbers(range(width), VOID)
    values = values[~np.isnan(values).any(axis=1)]
    if len(values) < 5:
        return f"{count_of(len(values), 'row is', 'rows are')} too few to tell"
    with np.errstate(all="ignore"):  # columns of any numbers
        found = _five(values) if width == 5 else _three(values)
    if isinstance(found, str):
        return found
    names, sign = found
    columns = {
        name: TableColumn(i, f"column {i + 1}", Meaning(name, -1.0 if name == "im" and sign < 0 else 1.0), stated=True)
        for i, name in enumerate(names)
    }
    taken, other = (",".join((minus if name == "im" else "") + name for name in names) for minus in _MINUS[sign])
    return columns, (
        f"no headings: the columns were taken as '{taken}' (Hz and ohm), by their values; to overrule, for example "
        f"with the other sign, give columns='{other}'"
    )


def _three(values: Floats) -> tuple[tuple[str, ...], int] | str:
    """Return the names of three columns and the sign of Im Z, or why there is no single reading."""
    readings = []
    first = _is_frequency(values[:, 0]) and _is_even(values[:, 0])  # -Im Z of a capacitor rises like a frequency
    for order in ((0, 1, 2), (1, 0, 2), (2, 0, 1))[: 1 if first else 3]:
        columns = [values[:, i] for i in order]
        sign = _sign(*columns) if _is_frequency(columns[0]) else 0
        if sign:
            names = tuple(("frequency", "re", "im")[order.index(i)] for i in range(3))
            readings.append((names, sign, _is_even(columns[0])))
    if len(readings) > 1:
        even = [one for one in readings if one[2]]
        readings = even if len(even) == 1 else readings
    if len(readings) > 1:
        return "more than one column may be the frequency"
    if not readings:
        return "no column is positive and monotonic over a decade beside two that may be Re and Im"
    names, sign, _ = readings[0]
    if _may_be_polar(*(values[:, names.index(name)] for name in ("frequency", "re", "im"))):
        return POLAR
    return names, sign


def _five(values: Floats) -> tuple[tuple[str, ...], int] | str:
    """Return the names of five columns and the sign of Im Z, or why they are not time, cycle, frequency, Re and Im."""
    time, cycle, f, re, im = values.T
    counts = np.all(cycle == np.round(cycle)) and np.all(np.diff(cycle) >= 0) and np.all(cycle >= 0)
    one = cycle == cycle[0]
    if counts and np.all(np.diff(time) >= 0) and np.all(f > 0) and _is_frequency(f[one]):
        sign = _sign(f[one], re[one], im[one])
        if sign:
            return FIVE, sign
    return "five columns are expected to be time, cycle, frequency, Re and Im, and these are not"


def _is_frequency(column: Floats) -> bool:
    if column.size < 2 or not np.all(column > 0):
        return False
    steps = np.diff(np.log(column))
    one_way = np.all(steps >= 0) or np.all(steps <= 0)
    return bool(one_way and abs(steps.sum()) >= 0.99 * DECADE)


def _is_even(column: Floats) -> bool:
    """Say whether a column is evenly spaced in its logarithm, as frequencies are."""
    steps = np.abs(np.diff(np.log(column)))
    return bool(np.mean(np.abs(steps - np.median(steps)) <= 0.1 * np.median(steps)) > 0.8)


def _slope(of: Floats, f: Floats) -> Floats:
    """Return the derivative with respect to ln f between neighbours, smoothed to the points."""
    step = np.diff(np.log(f))
    step = np.where(np.abs(step) < 1e-9, np.inf, step)
    between = np.diff(of) / step
    return np.asarray((np.concatenate([between[:1], between]) + np.concatenate([between, between[-1:]])) / 2)


def _sign(f: Floats, re: Floats, im: Floats) -> int:
    """Return 1 if a column is Im Z beside Re Z, −1 if it is −Im Z, 0 if it is neither or cannot be told."""
    if np.mean(re > 0) < 0.9 or not np.any(im):
        return 0
    slope = _slope(re, f)
    falls = slope < -0.2 * np.percentile(np.abs(slope), 90)
    # Where Re Z changes, Im Z cannot be small.
    if np.any(falls) and np.median(np.abs(im[falls])) < 0.2 * np.pi / 2 * np.median(np.abs(slope[falls])):
        return 0
    if np.count_nonzero(falls) < 3:  # Re Z is constant, as of a capacitor behind a resistor: the lowest frequencies
        falls = f <= np.exp(np.mean(np.log(f[[np.argmin(f), np.argmax(f)]])))
    positive = np.mean(im[falls] > 0)
    return 1 if positive <= 0.2 else -1 if positive >= 0.8 else 0


def _may_be_polar(f: Floats, modulus: Floats, phase: Floats) -> bool:
    """Say whether two columns may be |Z| and phase as well as Re Z and Im Z."""
    if np.any(modulus <= 0) or np.any(np.abs(phase) > 180):
        return False
    polar, cartesian = np.pi / 2 * _slope(np.log(modulus), f), np.pi / 2 * _slope(modulus, f)
    misfit = _misfit(phase, cartesian)
    scales = [unit for unit, most in ((1.0, 1.01 * np.pi / 2), (180 / np.pi, 180.0)) if np.all(np.abs(phase) <= most)]
    best = min((_misfit(phase, unit * polar) for unit in scales), default=np.inf)
    return best < min(0.6, 2 * misfit) or best < min(1.05, 1.5 * misfit)


def _misfit(measured: Floats, expected: Floats) -> float:
    """Return how far two columns are apart, of the first one, whichever sign it has."""
    size = float(np.linalg.norm(measured))
    return min(float(np.linalg.norm(measured - sign * expected)) for sign in (1, -1)) / size if size else np.inf
