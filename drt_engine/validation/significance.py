"""What is beyond chance: critical values of F for drift, a point that is off, and smooth misfit."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri

from drt_kernels import violations

__all__ = ["LEAST_LEFT", "Trials", "chances", "critical_values"]

Array = NDArray[np.float64]

LEAST_LEFT = 1e-3
"""Share of the square of a trial column that the model has to leave, or the data cannot tell the two apart."""

_SMOOTH = 4
"""Cosines of a smooth course over the whole range at most."""
_POINTS_A_CURVE = 5
"""Points for each of them, so that they cannot follow the noise."""


@dataclass(frozen=True, eq=False)
class Trials:
    """Courses along frequency that errors of the modulus or the phase may have.

    Parameters
    ----------
    frequency : ndarray, shape (F,)
        Hz, descending: in the order in which they were measured.
    """

    frequency: Array

    @cached_property
    def times(self) -> Array:
        """Time since the first point, as a share of the whole, shape (3, F).

        If each point takes the same time, as instruments with a fixed time a point do; if each takes the same number of
        periods; and if the sweep takes as long for the one as for the other, as with a time to settle before a period.
        """
        even = np.linspace(0.0, 1.0, self.frequency.size)
        periods = np.cumsum(1.0 / self.frequency)
        periods = (periods - periods[0]) / (periods[-1] - periods[0])
        return np.stack([even, periods, 0.5 * (even + periods)])

    @cached_property
    def curves(self) -> Array:
        """Smooth courses, cosines of ln f with 0, ½, 1, … waves over the grid, shape (C, F)."""
        x = np.log(self.frequency)
        x = (x[0] - x) / (x[0] - x[-1])
        count = min(_SMOOTH, self.frequency.size // _POINTS_A_CURVE)
        return np.cos(np.pi * np.outer(np.arange(count), x))

    @cached_property
    def courses(self) -> Array:
        """Drift of each kind, then the smooth courses of the modulus, shape (2 + C, F).

        The constant one is not among them: c·Z obeys the relations of Kramers and Kronig as Z does.
        """
        return np.vstack([self.times, self.curves[1:]])

    @cached_property
    def pairs(self) -> Array:
        """Products of each two courses of one kind, modulus or phase, zero for one of each, (2 + 2C, 2 + 2C, F)."""
        modulus = np.concatenate([np.ones(len(self.courses)), np.zeros(len(self.curves))])
        every = np.vstack([self.courses, self.curves])
        alike = np.equal.outer(modulus, modulus)
        return np.asarray(every[:, None] * every * alike[:, :, None])

    @property
    def smooth(self) -> int:
        """How many smooth trial columns there are, 2C − 1."""
        return 2 * len(self.curves) - 1

    def columns(self, direction: NDArray[np.complex128]) -> Array:
        """Trial columns of one spectrum: drift and smooth courses of the modulus, then smooth courses of the phase.

        Parameters
        ----------
        direction : ndarray of complex, shape (F,)
            Z / |Z| of the fit, or Z over the noise; that of the data would bring their noise into the columns.

        Returns
        -------
        ndarray, shape (2 + 2C, 2F)
            Real before imaginary parts.
        """
        columns = np.vstack([self.courses * direction, self.curves * (1j * direction)])
        return np.hstack([columns.real, columns.imag])


def chances(points: int, false_alarms: float) -> tuple[float, float, float]:
    """Return by what chance a drift of one kind, one of `points` points and smooth misfit may be found without one.

    Half of the false alarms is for drift, of which there are three kinds and which is the hardest to see; a quarter for
    points; and a quarter for smooth misfit.
    """
    quarter = false_alarms / 4.0
    return 2.0 * quarter / violations.DRIFTS, quarter / points, quarter


@lru_cache(maxsize=64)
def critical_values(points: int, smooth: int, false_alarms: float) -> Array:
    """Critical values of F by the degrees of freedom that remain.

    Parameters
    ----------
    points : int
        F.
    smooth : int
        Number of smooth trial columns.
    false_alarms : float
        Share of faultless spectra that may be taken for faulty, at most.

    Returns
    -------
    ndarray, shape (2 + smooth, 2F)
        For drift, for a point, and for 1, 2, … smooth columns together, read-only.
    """
    left = np.arange(2 * points, dtype=float)
    drift, point, misfit = chances(points, false_alarms)
    kinds = [(1.0, drift), (2.0, point), *((float(q), misfit) for q in range(1, smooth + 1))]
    values = np.array([fdtri(columns, np.maximum(left, 1.0), 1.0 - share) for columns, share in kinds])
    values.flags.writeable = False
    return values
