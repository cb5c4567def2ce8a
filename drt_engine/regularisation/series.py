"""One λ for a whole series of spectra: from scores that are summed over it."""

from collections.abc import Hashable, Mapping

import numpy as np
from numpy.typing import NDArray

from drt_engine.regularisation.observed import TINY, Criterion

__all__ = ["Series", "Totals", "add_totals", "best_of_series", "tally"]

Array = NDArray[np.float64]

Series = tuple[Hashable, ...]
"""What distinguishes a series: its value of each state column that the user named; None where that is missing."""

Totals = dict[Series, NDArray[np.int64]]
"""Tallies summed over each series, shape (G,); totals of blocks of spectra add up to those of all."""

_UNIT = 2.0**-20
"""Unit that scores are rounded to, so that their sums are exact in any order: 1e-6, far below the noise of a score."""
_MOST = 2.0**16
"""Largest score above the least one of a spectrum, so that 2⁶³ units hold the sum over 10⁸ spectra."""


def tally(criterion: Criterion, scores: Array) -> NDArray[np.int64]:
    """Scores in a form that can be summed over the spectra of a series.

    Scores that go with the square of the data are taken by their logarithms: it is their ratios that count, so that a
    spectrum which is multiplied by a number, or has a noise level of its own, is one among the others. (A likelihood
    in which the noise of each spectrum is unknown is summed in the same way.) From each spectrum's scores its smallest
    is subtracted, which moves no minimum of a sum. The result is rounded to whole multiples of 2⁻²⁰ and bounded by 2¹⁶,
    so that a sum is exact: the order of the spectra, the blocks and the threads do not change it.

    Parameters
    ----------
    criterion : Criterion
        Criterion that made the scores.
    scores : ndarray, shape (K, G)
        Scores.

    Returns
    -------
    ndarray of int64, shape (K, G)
    """
    addends = scores if criterion.additive else np.log(np.maximum(scores, TINY))
    least = addends.min(axis=1, keepdims=True)
    above = addends - np.where(np.isfinite(least), least, 0.0)
    return np.asarray(np.rint(np.minimum(above, _MOST) / _UNIT).astype(np.int64))


def add_totals(totals: Totals, more: Mapping[Series, NDArray[np.int64]]) -> None:
    """Add the totals of some more spectra to those of others, in place.

    Parameters
    ----------
    totals : dict
        Totals that `more` is added to.
    more : mapping
        Totals of further spectra.
    """
    for series, values in more.items():
        totals[series] = totals[series] + values if series in totals else values


def best_of_series(totals: Mapping[Series, NDArray[np.int64]]) -> dict[Series, int]:
    """Which value of the grid each series has: that of the smallest sum, the smallest λ of several.

    Parameters
    ----------
    totals : mapping
        Sums over each series.

    Returns
    -------
    dict
        Index of λ by series.
    """
    return {series: int(values.argmin()) for series, values in totals.items()}
