"""How λ is chosen: one score for each spectrum and each λ of a wide grid, for all spectra at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from drt_engine.problem import row_by_row
from drt_engine.spectral import SpectralFactors

__all__ = ["CRITERIA", "GRID", "Choice", "CriterionName", "choose", "gcv"]

Array = NDArray[np.float64]
CriterionName = Literal["gcv"]

GRID = np.logspace(-12.0, 2.0, 57)
"""The values of λ that are tried, four a decade."""


@dataclass(frozen=True, eq=False)
class Choice:
    """Chosen values of λ.

    Attributes
    ----------
    index : ndarray of int, shape (K,)
        Which value of the grid has the smallest score.
    at_edge : ndarray of bool, shape (K,)
        Whether it is the first or the last of the grid.
    scores : ndarray, shape (K, G)
        The score of each value of the grid.
    """

    index: NDArray[np.intp]
    at_edge: NDArray[np.bool_]
    scores: Array

    @property
    def regularisation(self) -> Array:
        """The chosen values, shape (K,)."""
        return np.asarray(GRID[self.index])


def gcv(factors: SpectralFactors, b: Array, regularisation: Array) -> Array:
    """Generalised cross-validation, n⁻¹ |(I − K)b|² / (n⁻¹ tr(I − K))² [1]_.

    Parameters
    ----------
    factors : SpectralFactors
        Of the problem.
    b : ndarray, shape (K, n)
        Data.
    regularisation : ndarray, shape (G,)
        λ.

    Returns
    -------
    ndarray, shape (K, G)
        The score; the smallest is best.

    References
    ----------
    .. [1] G. Wahba, Ann. Statist. 13 (1985) 1378.
    """
    rest = factors.complement(regularisation)
    squares, beyond = factors.parts(b)
    freedom = factors.remainder.shape[1] + rest.sum(axis=1)
    scores = row_by_row(squares, (rest**2).T)
    scores += beyond[:, None]
    scores *= b.shape[1] / freedom**2
    return scores


CRITERIA: Mapping[CriterionName, Callable[[SpectralFactors, Array, Array], Array]] = {"gcv": gcv}
"""All criteria by name."""


def choose(criterion: CriterionName, factors: SpectralFactors, b: Array) -> Choice:
    """Choose λ for every spectrum: the global minimum of the criterion over the grid.

    Parameters
    ----------
    criterion : str
        Name of the criterion.
    factors : SpectralFactors
        Of the problem.
    b : ndarray, shape (K, n)
        Data.
    """
    scores = CRITERIA[criterion](factors, b, GRID)
    best = scores.argmin(axis=1)
    return Choice(best, (best == 0) | (best == GRID.size - 1), scores)
