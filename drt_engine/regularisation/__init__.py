"""How λ is chosen: one score for each spectrum and each λ of a wide grid, for all spectra at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from drt_engine.model.gsvd import GSVD
from drt_engine.regularisation.held_out import FOLDS, KFold, RealImaginary
from drt_engine.regularisation.modal import (
    Discrepancy,
    Evidence,
    GeneralisedCrossValidation,
    LCurve,
    ModifiedCrossValidation,
    RobustCrossValidation,
)
from drt_engine.regularisation.observed import Criterion, Observed
from drt_engine.regularisation.series import Series, Totals, add_totals, best_of_series, tally

__all__ = [
    "CRITERIA",
    "FOLDS",
    "GRID",
    "Choice",
    "Criterion",
    "CriterionName",
    "Observed",
    "Series",
    "Totals",
    "add_totals",
    "at_edge",
    "best_of_series",
    "choose",
    "criterion_for",
    "smallest",
    "tally",
]

Array = NDArray[np.float64]
CriterionName = Literal["gcv", "mgcv", "rgcv", "l-curve", "re-im", "k-fold", "evidence", "discrepancy"]

GRID = np.logspace(-12.0, 2.0, 57)
"""The values of λ that are tried, four a decade."""

CRITERIA: Mapping[CriterionName, Callable[[GSVD, Array], Criterion]] = {
    "gcv": GeneralisedCrossValidation,
    "mgcv": ModifiedCrossValidation,
    "rgcv": RobustCrossValidation,
    "l-curve": LCurve,
    "re-im": RealImaginary,
    "k-fold": KFold,
    "evidence": Evidence,
    "discrepancy": Discrepancy,
}
"""All criteria by name."""


@dataclass(frozen=True, eq=False)
class Choice:
    """Chosen values of λ.

    Attributes
    ----------
    index : ndarray of int, shape (K,)
        Which value of the grid has the smallest score; the smallest λ of several.
    scores : ndarray, shape (K, G)
        The score of each value of the grid.
    """

    index: NDArray[np.intp]
    scores: Array

    @property
    def at_edge(self) -> NDArray[np.bool_]:
        """Whether it is the first or the last of the grid, shape (K,)."""
        return at_edge(self.index)

    @property
    def regularisation(self) -> Array:
        """The chosen values, shape (K,)."""
        return np.asarray(GRID[self.index])


def at_edge(index: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether values are the first or the last of `GRID`, so that the data do not bound λ.

    Parameters
    ----------
    index : ndarray of int, shape (K,)
        Positions of the chosen values in the grid.

    Returns
    -------
    ndarray of bool, shape (K,)
    """
    return np.asarray((index == 0) | (index == GRID.size - 1))


def criterion_for(name: CriterionName, factors: GSVD) -> Criterion:
    """Make the criterion of a name for a problem and the values of `GRID`.

    Parameters
    ----------
    name : str
        One of `CRITERIA`.
    factors : GSVD
        Of the problem.

    Raises
    ------
    InputError
        If the criterion is not defined for the problem.
    """
    return CRITERIA[name](factors, GRID)


def smallest(scores: Array) -> Choice:
    """Choose λ for every spectrum: the global minimum over the grid.

    Parameters
    ----------
    scores : ndarray, shape (K, G)
        Scores of each value of `GRID`.
    """
    return Choice(scores.argmin(axis=1), scores)


def choose(name: CriterionName, factors: GSVD, b: Array, noise_square: Array | None = None) -> Choice:
    """Choose λ for every spectrum by a criterion that is made for this once.

    Parameters
    ----------
    name : str
        One of `CRITERIA`.
    factors : GSVD
        Of the problem.
    b : ndarray, shape (K, n)
        Data.
    noise_square : ndarray, shape (K,), optional
        As in :class:`Observed`.
    """
    return smallest(criterion_for(name, factors)(Observed(b, noise_square)))
