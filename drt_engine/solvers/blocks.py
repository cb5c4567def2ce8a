"""Symmetric matrices that have blocks for each state and its nearest neighbours in a chain: factor, solution, inverse.

The Cholesky factor is made block by block, and the blocks of the inverse that lie where the matrix has blocks follow
backwards from it (K. Takahashi, J. Fagan, M.-S. Chin, 8th PICA Conference (1973) 63).
"""

import math
from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dgemm, dgemv, dsyrk, dtrsm, dtrsv, sgemm, sgemv, ssyrk, strsm, strsv
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
        self._take(dpotrf, dpotri, dtrsm, dtrsv, dgemm, dgemv, dsyrk)
        self.tick = lambda _: None

    def _take(self, *routines: Any) -> None:
        """Take the routines of one precision."""
        self._potrf, self._potri, self._trsm, self._trsv, self._gemm, self._gemv, self._syrk = routines

    def in_single_precision(self) -> "BlockMatrix":
        """Make a matrix of half as many digits in the same memory: what is put into one is lost in the other."""
        out = copy(self)
        out.own, out.off = (
            each.reshape(-1).view(np.float32)[: each.size].reshape(each.shape) for each in (self.own, self.off)
        )
        out._take(spotrf, spotri, strsm, strsv, sgemm, sgemv, ssyrk)
        return out

    def factor(self) -> bool:
        """Replace the matrix by its Cholesky factor; return whether it is positive definite."""
        states, reach, size, _ = self.off.shape
        # What is lower here is upper in Fortran's order, so that nothing is copied.
        own, off = self.own.transpose(0, 2, 1), self.off.transpose(0, 1, 3, 2)
        for k in range(states):
            if k % _OFTEN == 0:
                self.tick(k / states)
            _, failed = self._potrf(own[k], lower=0, clean=1, overwrite_a=1)
            if failed != 0 or not math.isfinite(self.own[k, -1, -1]):
                return False
            last = min(reach, states - 1 - k)
            # Where states are coupled, so are their first relaxation times.
            if not last or not self.off[k, :last, 0].any():
                continue
            rows = self.off[k, :last].reshape(last * size, size).T
            self._trsm(1.0, own[k], rows, side=0, lower=0, trans_a=1, overwrite_b=1)
            for d in range(last):
                for e in range(d):
                    into = off[k + 1 + e, d - e - 1]
                    self._gemm(-1.0, off[k, e], off[k, d], beta=1.0, c=into, trans_a=1, overwrite_c=1)
                self._syrk(-1.0, off[k, d], beta=1.0, c=own[k + 1 + d], trans=1, overwrite_c=1)
        return True

    def solve(self, right: Array) -> Array:
        """Solve with the factor for n right-hand sides, shape (n, K, N)."""
        # (k,n,j): each state's is Fortran's (j,n).
        out = np.ascontiguousarray(right.transpose(1, 0, 2), dtype=self.own.dtype)
        if len(right) == 1:
            self._solve_one(out[:, 0])
        else:
            self._solve_several(out)
        return np.ascontiguousarray(out.transpose(1, 0, 2), dtype=np.float64)

    def _solve_one(self, out: Array) -> None:
        """Solve in place, shape (K, N)."""
        states, reach = self.off.shape[:2]
        own, off = self.own.transpose(0, 2, 1), self.off.transpose(0, 1, 3, 2)
        for k in range(states):
            self._trsv(own[k], out[k], lower=0, trans=1, overwrite_x=1)
            for d in range(min(reach, states - 1 - k)):
                self._gemv(-1.0, off[k, d], out[k], beta=1.0, y=out[k + 1 + d], trans=1, overwrite_y=1)
        for k in range(states - 1, -1, -1):
            for d in range(min(reach, states - 1 - k)):
                self._gemv(-1.0, off[k, d], out[k + 1 + d], beta=1.0, y=out[k], overwrite_y=1)
            self._trsv(own[k], out[k], lower=0, trans=0, overwrite_x=1)

    def _solve_several(self, out: Array) -> None:
        """Solve in place, shape (K, n, N)."""
        own, off = self.own, self.off
        states, reach = off.shape[:2]
        for k in range(states):
            for d in range(min(reach, k)):
                out[k] -= out[k - 1 - d] @ off[k - 1 - d, d].T
            self._trsm(1.0, own[k].T, out[k].T, side=0, lower=0, trans_a=1, overwrite_b=1)
        for k in range(states - 1, -1, -1):
            for d in range(min(reach, states - 1 - k)):
                out[k] -= out[k + 1 + d] @ off[k, d]
            self._trsm(1.0, own[k].T, out[k].T, side=0, lower=0, trans_a=0, overwrite_b=1)

    def invert(self, states: int) -> None:
        """Replace the factor of the first states, which hang together with no others, by blocks of the inverse."""
        own, off = self.own.transpose(0, 2, 1), self.off.transpose(0, 1, 3, 2)
        reach, size = self.off.shape[1:3]
        beside = np.zeros((reach, size, size), dtype=own.dtype)
        turned = beside.transpose(0, 2, 1)
        for k in range(states - 1, -1, -1):
            if (states - 1 - k) % _OFTEN == 0:
                self.tick((states - 1 - k) / states)
            last = min(reach, states - 1 - k)
            rows = self.off[k, :last].reshape(last * size, size).T
            if last:
                # L_jk L_kk⁻¹
                self._trsm(1.0, own[k], rows, side=0, lower=0, trans_a=0, overwrite_b=1)
            self._potri(own[k], lower=0, overwrite_c=1)
            here = np.tril(self.own[k])
            here += np.tril(here, -1).T
            for d in range(last):
                into = turned[d]
                self._gemm(1.0, off[k, d], own[k + 1 + d], beta=0.0, c=into, overwrite_c=1)
                for e in range(last):
                    if e != d:
                        block = off[k + 1 + min(d, e), abs(d - e) - 1]
                        self._gemm(1.0, off[k, e], block, beta=1.0, c=into, trans_b=d < e, overwrite_c=1)
            for d in range(last):
                self._gemm(1.0, turned[d], off[k, d], beta=1.0, c=here.T, trans_b=1, overwrite_c=1)
            # Rounding errors that are not symmetric would grow from state to state, those that are fade.
            np.add(here, here.T, out=self.own[k])
            self.own[k] *= 0.5
            np.negative(beside[:last], out=self.off[k, :last])
