"""The data that a criterion for λ is given, and the scores that it returns."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["TINY", "Criterion", "Observed"]

Array = NDArray[np.float64]

TINY = float(np.finfo(float).tiny)
"""Stands in for zero under a logarithm: the misfit of a spectrum of zeros."""


@dataclass(frozen=True, eq=False)
class Observed:
    """Data of K spectra.

    Attributes
    ----------
    b : ndarray, shape (K, n)
        Right-hand sides, as :meth:`drt_engine.model.problem.Problem.data` made them.
    noise_square : ndarray, shape (K,), optional
        Expected square of the noise in b, the sum of the variances of its n values. Needed by ``"discrepancy"`` only.
    """

    b: Array
    noise_square: Array | None = None


class Criterion(Protocol):
    """What scores every λ of a grid for many spectra, made for a problem and a grid.

    Attributes
    ----------
    additive : bool
        Whether the scores of several spectra may be summed as they are. If not, they are positive and go with the
        square of the data, and their logarithms are summed.
    """

    additive: ClassVar[bool]

    def __call__(self, observed: Observed) -> Array:
        """Score.

        Parameters
        ----------
        observed : Observed
            The data of K spectra.

        Returns
        -------
        ndarray, shape (K, G)
            One score for each value of λ; the smallest is best, and infinity means that it cannot be chosen.
        """
        ...
