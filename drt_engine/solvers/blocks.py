"""Symmetric matrices that have blocks for each state and its nearest neighbours in a chain: factor, solution, inverse.

The Cholesky factor is made block by block, and the blocks of the inverse that lie where the matrix has blocks follow
backwards from it (K. Takahashi, J. Fagan, M.-S. Chin, 8th PICA Conference (1973) 63).
"""

from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dtrsm, strsm
from scipy.linalg.lapack import dpotrf, dpotri, spotrf, spotri

__all__ = ["BlockMatrix"]

Array = NDArray[Any]

_OFTEN = 64
"""After so many states it is told how far the work is."""


class BlockMatrix:
    """A matrix of K × K blocks of N × N, zero but for a band of blocks.

    Parameters
    ----------
    states : int
        K.
    reach : int
        D, how many states after each it has blocks with.
    size : int
        N.

    Attributes
    ----------
    own : ndarray, shape (K, N, N)
        Blocks on the diagonal, of which the lower half counts; their factors once factored.
    off : ndarray, shape (K, D, N, N)
        Blocks of rows of state k + 1 + d and columns of state k.
    tick : callable
        Called now and then while the matrix is factored or inverted, with the share of that which is done.
    """

    tick: Callable[[float], None]

    def __init__(self, states: int, reach: int, size: int) -> None:
        self.own: Array = np.zeros((states, size, size))
        self.off: Array = np.zeros((states, reach, size, size))
        self._potrf, self._potri, self._trsm = dpotrf, dpotri, dtrsm
        self.tick = lambda _: None

    def in_single_precision(self) -> "BlockMatrix":
        """Make a matrix of half as many digits in the same memory: what is put into one is lost in the other."""
        out = copy(self)
        out.own, out.off = (
            each.reshape(-1).view(np.float32)[: each.size].reshape(each.shape) for each in (self.own, self.off)
        )
        out._potrf, out._potri, out._trsm = spotrf, spotri, strsm
        return out

    def factor(self) -> bool:
        """Replace the matrix by its Cholesky factor; return whether it is positive definite."""
        own, off = self.own, self.off
        states, reach, size, _ = off.shape
        # What is lower here is upper in Fortran's order, so that nothing is copied.
        for k in range(states):
            if k % _OFTEN == 0:
                self.tick(k / states)
            _, failed = self._potrf(own[k].T, lower=0, clean=1, overwrite_a=1)
            if failed != 0 or not np.isfinite(own[k, -1, -1]):
                return False
            last = min(reach, states - 1 - k)
            if not last or not off[k].any():
                continue
            rows = off[k, :last].reshape(last * size, size)
            self._trsm(1.0, own[k].T, rows.T, side=0, lower=0, trans_a=1, overwrite_b=1)
            for d in range(last):
                for e in range(d):
                    off[k + 1 + e, d - e - 1] -= off[k, d] @ off[k, e].T
                own[k + 1 + d] -= off[k, d] @ off[k, d].T
        return True

    def solve(self, right: Array) -> Array:
        """Solve with the factor for n right-hand sides, shape (n, K, N)."""
        own, off = self.own, self.off
        states, reach = off.shape[:2]
        # (k,n,j): each state's is Fortran's (j,n).
        out = np.ascontiguousarray(right.transpose(1, 0, 2), dtype=own.dtype)
        for k in range(states):
            for d in range(min(reach, k)):
                out[k] -= out[k - 1 - d] @ off[k - 1 - d, d].T
            self._trsm(1.0, own[k].T, out[k].T, side=0, lower=0, trans_a=1, overwrite_b=1)
        for k in range(states - 1, -1, -1):
            for d in range(min(reach, states - 1 - k)):
                out[k] -= out[k + 1 + d] @ off[k, d]
            self._trsm(1.0, own[k].T, out[k].T, side=0, lower=0, trans_a=0, overwrite_b=1)
        return np.ascontiguousarray(out.transpose(1, 0, 2), dtype=np.float64)

    def invert(self, states: int) -> None:
        """Replace the factor of the first states, which hang together with no others, by blocks of the inverse."""
        own, off = self.own, self.off
        reach, size = off.shape[1:3]
        after = np.zeros((reach * size, reach * size), dtype=own.dtype)
        for k in range(states - 1, -1, -1):
            if (states - 1 - k) % _OFTEN == 0:
                self.tick((states - 1 - k) / states)
            last = min(reach, states - 1 - k)
            if last:
                for d in range(last):
                    for e in range(d + 1):
                        block = own[k + 1 + d] if d == e else off[k + 1 + e, d - e - 1]
                        after[d * size : (d + 1) * size, e * size : (e + 1) * size] = block
                        after[e * size : (e + 1) * size, d * size : (d + 1) * size] = block.T
                rows = off[k, :last].reshape(last * size, size)
                # L_jk L_kk⁻¹
                self._trsm(1.0, own[k].T, rows.T, side=0, lower=0, trans_a=0, overwrite_b=1)
            self._potri(own[k].T, lower=0, overwrite_c=1)
            own[k] = np.tril(own[k]) + np.tril(own[k], -1).T
            if last:
                beside = after[: last * size, : last * size] @ rows
                own[k] += rows.T @ beside
                # Rounding errors that are not symmetric would grow from state to state, those that are fade.
                own[k] = 0.5 * (own[k] + own[k].T)
                off[k, :last] = -beside.reshape(last, size, size)
