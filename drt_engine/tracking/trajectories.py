"""What is expected of processes along a series: their trajectories on a grid of the state, with variances."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drt_engine.tracking.linking import FREEDOM
from drt_engine.tracking.observations import Observations
from drt_kernels import tracking as kernels

__all__ = ["FORGETTING", "NEW", "Expected", "at_frames", "similarity", "similarity_of"]

Ints = NDArray[np.intp]
Floats = NDArray[np.float64]

FORGETTING = 0.2
"""By how much the variance of a trajectory grows for each grid point beyond what is known, relative to itself."""

NEW = float(np.log(1e-3))
"""Logarithm of the density of new processes, per unit of ln τ and of ln R."""

_WORTH = 3.0  # a value that is explained counts as the three numbers that tell a peak


@dataclass(frozen=True, eq=False)
class Expected:
    """Expected trajectories and their variances.

    Between series a trajectory takes a random step, and what a series shows of it scatters as much again: for a scale s
    of the differences between neighbouring series, variances s²/4 and s²/2, so that of what is expected and what is
    seen each is worth the same once a trajectory is known. Standard errors of the peaks come on top of the scatter.

    Attributes
    ----------
    trajectory, variance : ndarray, shape (P, G, 2)
        ln τ and ln R along the grid, NaN where nothing is known.
    """

    trajectory: Floats
    variance: Floats

    @classmethod
    def nothing(cls, size: int, points: int) -> "Expected":
        """Return so many trajectories of which nothing is known."""
        return cls(np.full((size, points, 2), np.nan), np.full((size, points, 2), np.nan))

    def grown(self, size: int) -> "Expected":
        """Return a copy with more trajectories of which nothing is known."""
        more = Expected.nothing(size - len(self.trajectory), self.trajectory.shape[1])
        return Expected(
            np.concatenate([self.trajectory, more.trajectory]), np.concatenate([self.variance, more.variance])
        )

    def at(self, which: Ints | list[int]) -> "Expected":
        """Return some of the trajectories."""
        return Expected(self.trajectory[which], self.variance[which])

    def less(self, scale: Floats) -> "Expected":
        """Return the same without the scatter within a series, as trajectories that are compared with others."""
        return Expected(self.trajectory, np.maximum(self.variance - 0.5 * scale**2, 0.0))

    def learn(self, process: int, trajectory: Floats, variance: Floats, scale: Floats) -> tuple[Floats, Floats]:
        """Take in what a series shows of a process, as a Kalman filter does.

        Parameters
        ----------
        process : int
            Which it is.
        trajectory, variance : ndarray, shape (G, 2)
            What was seen, NaN where nothing was.
        scale : ndarray, shape (2,)
            Scale of the differences between neighbouring series.

        Returns
        -------
        off, known : ndarray, shape (n, 2)
            Differences from what was expected, and the variance that is to be added to the square of the scale.
        """
        there = np.isfinite(trajectory[:, 0])
        both = there & np.isfinite(self.trajectory[process, :, 0])
        fresh = there & ~both
        seen = variance + 0.5 * scale**2
        self.trajectory[process, fresh], self.variance[process, fresh] = trajectory[fresh], seen[fresh]
        old, before = self.trajectory[process, both], self.variance[process, both]
        off, known = trajectory[both] - old, before + variance[both] - 0.5 * scale**2
        total = before + seen[both]
        self.trajectory[process, both] = old + off * before / total
        self.variance[process, both] = before * seen[both] / total + 0.25 * scale**2
        return off, np.maximum(known, 0.0)


def at_frames(observed: Observations, trajectories: Floats, grid: Floats) -> tuple[Floats, Floats]:
    """Evaluate trajectories at each frame, held constant where they are not known.

    Parameters
    ----------
    observed : Observations
        The peaks.
    trajectories : ndarray, shape (S, P, G, 2)
        ln τ and ln R of each process in each series.
    grid : ndarray, shape (G,)
        Values of the state that they are at.

    Returns
    -------
    value : ndarray, shape (F, P, 2)
        ln τ and ln R; NaN for a process that the series knows nothing of.
    distance : ndarray, shape (F, P)
        How many points of the grid away the nearest known value is.
    """
    place = np.interp(observed.place, grid, np.arange(grid.size))
    low = np.minimum(place.astype(np.intp), max(grid.size - 2, 0))
    high = np.minimum(low + 1, grid.size - 1)
    share = (place - low)[:, None, None]
    filled, distance = _held(trajectories)
    ends = filled[observed.series, :, low], filled[observed.series, :, high]
    return ends[0] + share * (ends[1] - ends[0]), distance[observed.series, :, low]


def similarity(seen: Expected, expected: Expected, scale: Floats) -> Floats:
    """Gain of each pair of trajectories, shape (n, P): by how much more probable it is that they are one process.

    An expected trajectory is held constant beyond where it is known, with a variance that grows with the distance.

    Parameters
    ----------
    seen : Expected
        Courses, and what errors say of their variance.
    expected : Expected
        What they are compared with.
    scale : ndarray, shape (2,)
        Scale of the differences between neighbouring series.
    """
    filled, distance = _held(expected.trajectory)
    variance = (_held(expected.variance)[0] + 0.5 * scale**2) * (1.0 + FORGETTING * distance)[..., None]
    density = np.empty((len(seen.trajectory), len(expected.trajectory)))
    kernels.mean_density(seen.trajectory, seen.variance, filled, variance, FREEDOM, density)
    return np.asarray(similarity_of(density))


def similarity_of(density: float | Floats) -> float | Floats:
    """Gain by the mean logarithm of a density.

    Parameters
    ----------
    density : float or ndarray
        Mean logarithm of the density of a trajectory about another, over all points.
    """
    return _WORTH * (density - NEW)


def _held(expected: Floats) -> tuple[Floats, Floats]:
    """Fill gaps with the nearest value, and return how many points away it is; shapes (..., G, 2) and (..., G)."""
    points = expected.shape[-2]
    if not expected.size:
        return expected, expected[..., 0]
    there = np.isfinite(expected[..., 0])
    place = np.arange(points)
    below = np.maximum.accumulate(np.where(there, place, -points * 2), axis=-1)
    above = np.minimum.accumulate(np.where(there, place, points * 3)[..., ::-1], axis=-1)[..., ::-1]
    nearest = np.where(place - below <= above - place, below, above)
    filled = np.take_along_axis(expected, np.clip(nearest, 0, points - 1)[..., None], axis=-2)
    return filled, np.abs(nearest - place).astype(float)
