"""How λ is chosen: one score for each spectrum and each λ of a wide grid, for all spectra at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from drt_engine.problem import Problem

__all__ = ["CRITERIA", "GRID", "Choice", "CriterionName", "Influence", "choose", "gcv"]

Array = NDArray[np.float64]
CriterionName = Literal["gcv"]

GRID = np.logspace(-12.0, 2.0, 57)
"""The values of λ that are tried, four a decade."""


@dataclass(frozen=True, eq=False)
class Choice:
    """Chosen values of λ.

    Attributes
    ----------
    regularisation : ndarray, shape (K,)
        The value with the smallest score.
    at_edge : ndarray of bool, shape (K,)
        Whether it is the first or the last of the grid.
    scores : ndarray, shape (K, G)
        The score of each value of the grid.
    """

    regularisation: Array
    at_edge: NDArray[np.bool_]
    scores: Array


class Influence:
    """The influence matrix K(λ) = A (AᵀA + λM)⁻¹ Aᵀ of a problem, diagonal for every λ in one basis.

    Columns without penalty are projected out first; the rest is a generalised singular value decomposition of (A, L) in
    its cosine-sine form, by an orthonormal basis of the range of [A; L], so that no condition number is squared
    (Golub and Van Loan, Matrix Computations, 4th ed., section 6.1.6).

    Parameters
    ----------
    problem : Problem
        The matrices.
    """

    def __init__(self, problem: Problem) -> None:
        penalised = problem.penalised
        free, _ = np.linalg.qr(problem.matrix[:, penalised:])
        a = problem.matrix[:, :penalised]
        a = a - free @ (free.T @ a)
        factor = problem.penalty_factor[:, :penalised]
        # Balanced, so that neither half of the stack drowns the other; λ takes the balance back.
        balance = np.linalg.norm(a) / np.linalg.norm(factor)
        q, singular, _ = np.linalg.svd(np.vstack([a, balance * factor]), full_matrices=False)
        rank = int(np.count_nonzero(singular > singular[0] * max(q.shape) * np.finfo(float).eps))
        u, cosine, _ = np.linalg.svd(q[: len(a), :rank], full_matrices=False)
        # With fewer data than unknowns some modes lie where the free columns are, and A has no part in them.
        seen = cosine > len(cosine) * np.finfo(float).eps
        cosine = np.minimum(cosine[seen], 1.0)
        self._free = free
        self._modes = u[:, seen]
        self._data_part = cosine**2
        self._penalty_part = (1.0 - cosine) * (1.0 + cosine) / balance**2
        self.size = len(a)
        """Number of data, n."""

    def complement(self, regularisation: Array) -> Array:
        """Eigenvalues of I − K(λ) that are neither 0 nor 1 for every λ.

        Parameters
        ----------
        regularisation : ndarray, shape (G,)
            λ.

        Returns
        -------
        ndarray, shape (G, r)
        """
        roughness = regularisation[:, None] * self._penalty_part
        return np.asarray(roughness / (self._data_part + roughness))

    def residual_squares(self, b: Array, regularisation: Array) -> Array:
        """|(I − K(λ)) b|² for every spectrum and λ.

        Parameters
        ----------
        b : ndarray, shape (K, n)
            Data.
        regularisation : ndarray, shape (G,)
            λ.

        Returns
        -------
        ndarray, shape (K, G)
        """
        rest = b - b @ self._free @ self._free.T
        amplitudes = rest @ self._modes
        beyond = np.sum((rest - amplitudes @ self._modes.T) ** 2, axis=1)
        inside = amplitudes**2 @ (self.complement(regularisation) ** 2).T
        return np.asarray(beyond[:, None] + inside)

    def residual_freedom(self, regularisation: Array) -> Array:
        """Trace of I − K(λ), shape (G,).

        Parameters
        ----------
        regularisation : ndarray, shape (G,)
            λ.
        """
        never_fitted = self.size - self._free.shape[1] - self._modes.shape[1]
        return np.asarray(never_fitted + self.complement(regularisation).sum(axis=1))


def gcv(influence: Influence, b: Array, regularisation: Array) -> Array:
    """Generalised cross-validation, n⁻¹ |(I − K)b|² / (n⁻¹ tr(I − K))² [1]_.

    Parameters
    ----------
    influence : Influence
        The influence matrix of the problem.
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
    squares = influence.residual_squares(b, regularisation)
    return np.asarray(influence.size * squares / influence.residual_freedom(regularisation) ** 2)


CRITERIA: Mapping[CriterionName, Callable[[Influence, Array, Array], Array]] = {"gcv": gcv}
"""All criteria by name."""


def choose(criterion: CriterionName, problem: Problem, b: Array) -> Choice:
    """Choose λ for every spectrum: the global minimum of the criterion over the grid.

    Parameters
    ----------
    criterion : str
        Name of the criterion.
    problem : Problem
        The matrices.
    b : ndarray, shape (K, n)
        Data.
    """
    scores = CRITERIA[criterion](Influence(problem), b, GRID)
    best = scores.argmin(axis=1)
    return Choice(GRID[best], (best == 0) | (best == GRID.size - 1), scores)
