"""One factorisation of a problem for every λ and every spectrum: the generalised singular value decomposition."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from drt_engine.model.problem import Problem, row_by_row

__all__ = ["GSVD", "factorise"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GSVD:
    r"""Directions in which A and M are both diagonal.

    With U the `data_modes`, X the `modes`, c² the `data_part` and s² the `penalty_part`,
    :math:`AX = U\,\mathrm{diag}(c)` and :math:`X^T M X = \mathrm{diag}(s^2)`, so that for every λ

    .. math:: (A^TA + λM)^{-1} = X \,\mathrm{diag}\frac{1}{c^2 + λs^2}\, X^T, \qquad
        A (A^TA + λM)^{-1} A^T = U \,\mathrm{diag}\frac{c^2}{c^2 + λs^2}\, U^T .

    Columns without penalty are projected out first and come last, as modes with c = 1 and s = 0. The others follow from
    an orthonormal basis of the range of [A; L] in its cosine-sine form, so that no condition number is squared (G. H.
    Golub, C. F. Van Loan, Matrix Computations, 4th ed., 2013, chapter 6).

    Attributes
    ----------
    problem : Problem
        The problem that was factorised.
    data_modes : ndarray, shape (n, r)
        U, orthonormal columns; zero where c = 0.
    modes : ndarray, shape (N, r)
        X.
    data_part, penalty_part : ndarray, shape (r,)
        c² and s².
    penalised : int
        How many modes have a penalty; they come first.
    complete : bool
        Whether the data or the penalty sees every direction, so that the inverse exists.
    """

    problem: Problem
    data_modes: Array
    modes: Array
    data_part: Array
    penalty_part: Array
    penalised: int
    complete: bool

    def filters(self, regularisation: Array) -> Array:
        """1 / (c² + λs²) for every λ.

        Parameters
        ----------
        regularisation : ndarray, shape (G,)
            λ.

        Returns
        -------
        ndarray, shape (G, r)
        """
        return np.asarray(1.0 / (self.data_part + regularisation[:, None] * self.penalty_part))

    def complement(self, regularisation: Array) -> Array:
        """Eigenvalues of I − A (AᵀA + λM)⁻¹ Aᵀ that depend on λ, those of the penalised modes with c > 0.

        Parameters
        ----------
        regularisation : ndarray, shape (G,)
            λ.

        Returns
        -------
        ndarray, shape (G, p)
        """
        seen = self.seen
        roughness = regularisation[:, None] * self.penalty_part[:seen]
        return np.asarray(roughness / (self.data_part[:seen] + roughness))

    @property
    def seen(self) -> int:
        """How many penalised modes the data see, p; they come first of all."""
        return int(np.count_nonzero(self.data_part[: self.penalised]))

    def unconstrained(self, b: Array, filters: Array) -> Array:
        """Solutions without the sign constraint, (AᵀA + λM)⁻¹ Aᵀ b.

        Parameters
        ----------
        b : ndarray, shape (K, n)
            Data.
        filters : ndarray, shape (K, r)
            As :meth:`filters` gives them for the λ of each.

        Returns
        -------
        ndarray, shape (K, N)
        """
        return row_by_row(row_by_row(b, self.data_modes) * (self._cosines * filters), self._rows_of_modes)

    @cached_property
    def _cosines(self) -> Array:
        return np.asarray(np.sqrt(self.data_part))

    @cached_property
    def _rows_of_modes(self) -> Array:
        """Xᵀ, contiguous."""
        return np.ascontiguousarray(self.modes.T)


def factorise(problem: Problem) -> GSVD:
    """Factorise the matrices of a problem.

    Parameters
    ----------
    problem : Problem
        The matrices.
    """
    penalised = problem.penalised
    # Where there are more data than unknowns, all that is asked of A is in its triangle.
    base, matrix = np.linalg.qr(problem.matrix)
    columns = matrix[:, penalised:]
    q, triangle = np.linalg.qr(columns, mode="complete")
    free, others = q[:, : columns.shape[1]], q[:, columns.shape[1] :]
    beside = np.linalg.inv(triangle[: columns.shape[1]])
    a = others.T @ matrix[:, :penalised]
    factor = problem.penalty_factor[:, :penalised]
    # Balanced, so that neither half of the stack drowns the other; the penalty part takes the balance back.
    balance = np.linalg.norm(a) / np.linalg.norm(factor)
    q, singular, right = np.linalg.svd(np.vstack([a, balance * factor]), full_matrices=False)
    rank = _rank(singular, max(q.shape))
    u, cosine, turn = np.linalg.svd(q[: len(a), :rank])
    # With fewer data than unknowns, A has no part in some modes.
    seen = int(np.count_nonzero(cosine > len(cosine) * np.finfo(float).eps))
    cosine = np.concatenate([np.minimum(cosine[:seen], 1.0), np.zeros(rank - seen)])
    inner = (right[:rank].T / singular[:rank]) @ turn.T
    shared = free.T @ (matrix[:, :penalised] @ inner)
    return GSVD(
        problem=problem,
        data_modes=base @ np.hstack([others @ u[:, :seen], np.zeros((len(free), rank - seen)), free]),
        modes=np.block([[inner, np.zeros((penalised, len(beside)))], [-beside @ shared, beside]]),
        data_part=np.concatenate([cosine**2, np.ones(len(beside))]),
        penalty_part=np.concatenate([(1.0 - cosine) * (1.0 + cosine) / balance**2, np.zeros(len(beside))]),
        penalised=rank,
        complete=rank == penalised,
    )


def _rank(singular: Array, size: int) -> int:
    return int(np.count_nonzero(singular > singular[0] * size * np.finfo(float).eps))
