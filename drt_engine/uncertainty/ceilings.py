"""The largest γ that data allow at each relaxation time, whatever was expected before they were seen."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from drt_kernels import ceilings

__all__ = ["Ceilings", "JoinedCeilings", "largest_allowed"]

Array = NDArray[np.float64]

_QUANTILE = 1.96
"""Standard deviations on either side that hold 95 % of a normal distribution."""


@dataclass(frozen=True, eq=False)
class Ceilings:
    """The largest γ that the data of K spectra allow, found when it is asked for: only as far as it matters.

    Attributes
    ----------
    matrix : ndarray, shape (n, N)
        Columns of the unknowns, those of γ first.
    weights : ndarray, shape (K, n)
        Reciprocal standard deviations of the data; NaN where they are not known.
    solution : ndarray, shape (K, N)
        Unknowns of the solutions, in units of the columns; NaN where there is none.
    unit : ndarray, shape (K, M)
        Of γ, ohm.
    """

    matrix: Array
    weights: Array
    solution: Array
    unit: Array

    def __getitem__(self, rows: slice | NDArray[np.bool_]) -> "Ceilings":
        """Return those of some of the spectra."""
        return replace(self, weights=self.weights[rows], solution=self.solution[rows], unit=self.unit[rows])

    def below(self, enough: Array) -> Array:
        """Find the largest γ that the data allow, where that is below some value; see :func:`largest_allowed`.

        Parameters
        ----------
        enough : ndarray, shape (K, M)
            Ohm.

        Returns
        -------
        ndarray, shape (K, M)
            Ohm; where it is not below `enough`, anything that is not either; infinite without a solution.
        """
        out = np.full(self.unit.shape, np.inf)
        known = np.isfinite(self.solution).all(axis=1) & np.isfinite(self.weights).all(axis=1)
        if known.any():
            unit = self.unit[known]
            some = self.matrix, self.weights[known], self.solution[known]
            out[known] = unit * largest_allowed(*some, unit.shape[1], enough[known] / unit)
        return out


@dataclass(frozen=True, eq=False)
class JoinedCeilings:
    """The same of K spectra that have different points or were inverted apart.

    Attributes
    ----------
    count : int
        K.
    parts : list of tuple
        Which of the K some are, and theirs.
    """

    count: int
    parts: "list[tuple[NDArray[np.intp], Ceilings | JoinedCeilings]]"

    def __getitem__(self, rows: slice | NDArray[np.bool_]) -> "JoinedCeilings":
        """Return those of some of the spectra."""
        chosen, place = np.arange(self.count)[rows], np.full(self.count, -1)
        place[chosen] = np.arange(chosen.size)
        return JoinedCeilings(chosen.size, [(place[at][place[at] >= 0], of[place[at] >= 0]) for at, of in self.parts])

    def below(self, enough: Array) -> Array:
        """Find the largest γ that the data allow; see :meth:`Ceilings.below`."""
        out = np.full(enough.shape, np.inf)
        for rows, of in self.parts:
            out[rows] = of.below(enough[rows])
        return out


def largest_allowed(matrix: Array, weights: Array, solution: Array, logs: int, enough: Array | float = np.inf) -> Array:
    """Find how large a coefficient of γ may be before the residuals contradict it.

    A coefficient can only grow where others make room for it, and those that are not negative make room by what they
    have. So a coefficient x_m may grow at the expense of the ones that are at least as large as it becomes, and of the
    series elements: by 1.96 standard deviations of x_m in the least-squares problem of these, those of a normal
    distribution that hold 95 %. Where up to sixteen make room, and x_m becomes more than three times as large, none of
    them becomes negative. Where all others are small, that is the plain limit of detection.

    Parameters
    ----------
    matrix : ndarray, shape (n, N)
        Columns of the unknowns, those of γ first.
    weights : ndarray, shape (K, n)
        Reciprocal standard deviations of the data.
    solution : ndarray, shape (K, N)
        Unknowns of the solutions, in units of the columns.
    logs : int
        How many of the unknowns are coefficients of γ.
    enough : ndarray, shape (K, M), or float
        From where on it does not matter.

    Returns
    -------
    ndarray, shape (K, M)
        In the units of `solution`; no less than `enough` where it is no less than that.
    """
    room, needed = np.abs(solution), np.full(solution.shape, np.inf)
    room[:, logs:], needed[:, :logs] = np.inf, enough
    order = np.argsort(-room, axis=1, kind="stable")
    found, back = np.empty_like(room), np.empty_like(room)
    sorted_room, needed = np.take_along_axis(room, order, 1), np.take_along_axis(needed, order, 1)
    ceilings.largest(np.ascontiguousarray(matrix), weights, sorted_room, order, needed, _QUANTILE, found)
    np.put_along_axis(back, order, found, axis=1)
    return back[:, :logs]
