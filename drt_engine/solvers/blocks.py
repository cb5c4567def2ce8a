"""Symmetric matrices that have blocks for each state and its nearest neighbours in a chain."""

from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drt_kernels import blas, chain

__all__ = ["BlockMatrix"]

Array = NDArray[Any]

_OFTEN = 64
"""After so many states progress is reported."""


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
    routines : ndarray of int
        Addresses of the routines of linear algebra for its precision.
    tick : callable
        Called now and then while the matrix is factored or inverted, with the share of that which is done.
    """

    tick: Callable[[float], None]

    def __init__(self, states: int, reach: int, size: int) -> None:
        self.own: Array = np.zeros((states, size, size))
        self.off: Array = np.zeros((states, reach, size, size))
        self.routines = blas.routines("d")
        self.tick = lambda _: None

    def in_single_precision(self) -> "BlockMatrix":
        """Make a matrix of half as many digits in the same memory: what is put into one is lost in the other."""
        out = copy(self)
        out.own, out.off = (
            each.reshape(-1).view(np.float32)[: each.size].reshape(each.shape) for each in (self.own, self.off)
        )
        out.routines = blas.routines("s")
        return out

    def factor(self) -> bool:
        """Replace the matrix by its Cholesky factor; return whether it is positive definite."""
        states = len(self.own)
        for first in range(0, states, _OFTEN):
            self.tick(first / states)
            if not chain.factor(self.routines, self.own, self.off, first, min(first + _OFTEN, states)):
                return False
        return True

    def solve(self, right: Array) -> Array:
        """Solve with the factor for n right-hand sides, shape (n, K, N)."""
        # (k,n,j): rows of a state together.
        out = np.ascontiguousarray(right.transpose(1, 0, 2), dtype=self.own.dtype)
        chain.solve(self.routines, self.own, self.off, out)
        return np.ascontiguousarray(out.transpose(1, 0, 2), dtype=np.float64)

    def invert(self, states: int) -> None:
        """Replace the factor of the first states, which hang together with no others, by blocks of the inverse."""
        for last in range(states, 0, -_OFTEN):
            self.tick(1.0 - last / states)
            chain.invert(self.routines, self.own, self.off, max(last - _OFTEN, 0), last, states)
