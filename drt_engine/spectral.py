"""One factorisation of a problem that serves every λ and every spectrum: the generalised singular value decomposition."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drt_engine.problem import Problem

__all__ = ["SpectralFactors", "factorise"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SpectralFactors:
    r"""Directions in which A and M are both diagonal.

    With U the `data_modes`, X the `modes`, c² the `data_part` and s² the `penalty_part`,
    :math:`AX = U\,\mathrm{diag}(c)` and :math:`X^T M X = \mathrm{diag}(s^2)`, so that for every λ

    .. math:: (A^TA + λM)^{-1} = X \,\mathrm{diag}\frac{1}{c^2 + λs^2}\, X^T .

    Columns without penalty are projected out first and come last, as modes with c = 1 and s = 0. The others follow from
    an orthonormal basis of the range of [A; L] in its cosine-sine form, so that no condition number is squared (G. H.
    Golub, C. F. Van Loan, Matrix Computations, 4th ed., 2013, section 6.1.6).

    Attributes
    ----------
    data_modes : ndarray, shape (n, r)
        U, orthonormal columns; zero where c = 0.
    modes : ndarray, shape (N, r)
        X.
    data_part, penalty_part : ndarray, shape (r,)
        c² and s².
    free : int
        How many unknowns have no penalty.
    complete : bool
        Whether r = N: the data or the penalty sees every direction.
    """

    data_modes: Array
    modes: Array
    data_part: Array
    penalty_part: Array
    free: int
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


def factorise(problem: Problem) -> SpectralFactors:
    """Factorise the matrices of a problem.

    Parameters
    ----------
    problem : Problem
        The matrices.
    """
    penalised = problem.penalised
    a, columns = problem.matrix[:, :penalised], problem.matrix[:, penalised:]
    free, triangle = np.linalg.qr(columns)
    shared = free.T @ a
    a = a - free @ shared
    factor = problem.penalty_factor[:, :penalised]
    # Balanced, so that neither half of the stack drowns the other; the penalty part takes the balance back.
    balance = np.linalg.norm(a) / np.linalg.norm(factor)
    q, singular, right = np.linalg.svd(np.vstack([a, balance * factor]), full_matrices=False)
    rank = int(np.count_nonzero(singular > singular[0] * max(q.shape) * np.finfo(float).eps))
    u, cosine, turn = np.linalg.svd(q[: len(a), :rank])
    # With fewer data than unknowns, A has no part in some modes: those where the free columns are, and those beyond n.
    seen = int(np.count_nonzero(cosine > len(cosine) * np.finfo(float).eps))
    cosine = np.concatenate([np.minimum(cosine[:seen], 1.0), np.zeros(rank - seen)])
    inner = (right[:rank].T / singular[:rank]) @ turn.T
    beside = np.linalg.solve(triangle, np.eye(len(triangle))) if len(triangle) else np.zeros((0, 0))
    modes = np.block([[inner, np.zeros((penalised, len(beside)))], [-beside @ (shared @ inner), beside]])
    return SpectralFactors(
        data_modes=np.hstack([u[:, :seen], np.zeros((len(a), rank - seen)), free]),
        modes=modes,
        data_part=np.concatenate([cosine**2, np.ones(len(beside))]),
        penalty_part=np.concatenate([(1.0 - cosine) * (1.0 + cosine) / balance**2, np.zeros(len(beside))]),
        free=len(beside),
        complete=rank == penalised,
    )
