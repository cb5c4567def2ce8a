"""What validate() asks of a test, and what a test returns."""

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Findings", "ValidityTest"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Findings:
    """What a test found in K finite spectra of F frequencies.

    Attributes
    ----------
    residual : ndarray of complex, shape (K, F)
        (Z − Z_model) / |Z|.
    full_residual : ndarray of complex64, shape (K, F)
        The same of the model that violations are looked for beside.
    deviation : ndarray of float32, shape (K, F)
        What a residual is held against: the standard deviation of the noise of each point as a share of |Z|, the root
        mean square of that of its two parts, with the resolution of the test.
    elements : ndarray of int, shape (K,)
        M, 0 where the test has none.
    mu : ndarray, shape (K,)
        μ, NaN where the test has none.
    noise, noise_constant, noise_proportional, drift, drift_error, score : ndarray, shape (K,)
        As :class:`~drt_engine.validation.Validation` has them.
    flag : ndarray of uint16, shape (K,)
        Flags of :class:`~drt_engine.validation.Validity`.
    outlier : ndarray of bool, shape (K, F)
        Points that are off.
    """

    residual: NDArray[np.complex128]
    full_residual: NDArray[np.complex64]
    deviation: NDArray[np.float32]
    elements: NDArray[np.int64]
    mu: Array
    noise: Array
    noise_constant: Array
    noise_proportional: Array
    drift: Array
    drift_error: Array
    score: Array
    flag: NDArray[np.uint16]
    outlier: NDArray[np.bool_] = field(repr=False)

    @classmethod
    def blank(cls, rows: int, points: int) -> "Findings":
        """Return findings to be filled in: NaN, zero and False."""
        mu, noise, constant, proportional, drift, error, score = np.full((7, rows), np.nan)
        residual = np.full((rows, points), complex(np.nan, np.nan))
        elements, flag = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.uint16)
        # Pictures are made of these two: seven digits are enough, and half as many bytes.
        full, deviation = residual.astype(np.complex64), np.full((rows, points), np.nan, dtype=np.float32)
        outlier = np.zeros((rows, points), dtype=bool)
        kept = (residual, full, deviation, elements, mu)
        return cls(*kept, noise, constant, proportional, drift, error, score, flag, outlier)


@runtime_checkable
class ValidityTest(Protocol):
    """A test of validity: frozen, with its settings as fields."""

    def settings(self) -> dict[str, Any]:
        """Return its name and fields, in types that JSON has."""
        ...

    def examine(self, frequency: Array, impedance: NDArray[np.complex128]) -> Findings:
        """Test spectra that are known to be finite and not zero; called from several threads at once.

        Parameters
        ----------
        frequency : ndarray, shape (F,)
            Frequencies, Hz, descending, at least five.
        impedance : ndarray of complex, shape (K, F)
            Ohm.
        """
        ...
