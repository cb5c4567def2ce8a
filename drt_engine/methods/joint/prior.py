"""How many degrees of freedom the prior of a series has for the coupling, and what share single priors count by."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drt_engine.methods.joint.problem import SeriesProblem
from drt_engine.methods.joint.solutions import SeriesHyperparameters
from drt_engine.series import eigenvalues
from drt_engine.solvers.chain import LEVEL
from drt_kernels import chain as kernel

__all__ = ["Variances", "coupled_freedom", "share_of_single_priors"]

Array = NDArray[np.float64]

_LOOSE = 1e-6
"""Precision of the common factor of γ, which the prior leaves open."""

_STEP = 0.05
"""Step of the logarithm of a strength, by which determinants are differentiated."""

_ROUNDS = 8
"""Rounds of finding what share of the single priors counts."""


class Variances(NamedTuple):
    """Posterior variances at a solution.

    Attributes
    ----------
    change : ndarray, shape (R, M − 1)
        Of g, how differences between states change with ln τ.
    slope : ndarray, shape (K, M − 2)
        Of the changes of the slope of ln γ.
    fit : ndarray, shape (K, F)
        Of the real and the imaginary part of the model together.
    """

    change: Array
    slope: Array
    fit: Array

    @classmethod
    def of(cls, problem: SeriesProblem) -> "Variances":
        """Take them from the blocks of the inverse of the second derivative that was factored last."""
        return cls(*problem.chain.variances())


def coupled_freedom(problem: SeriesProblem, found: SeriesHyperparameters, known: Variances) -> float:
    """How many changes the prior alone leaves to the coupling: trace of its inverse times the coupling's part."""
    return _traces(problem, found, known, 1.0)[0]


def share_of_single_priors(problem: SeriesProblem, found: SeriesHyperparameters, known: Variances) -> float:
    """Find the share of the single priors that leaves each state as uncertain, before the data, as one alone.

    States that are coupled would otherwise count the same expectation once for each of them.
    """
    share, states = 1.0, len(problem.chain.b)
    number = states * (problem.grid.logs - 1)
    for _ in range(_ROUNDS):
        share = min(max(_traces(problem, found, known, share)[1] / number, 1.0 / states), 1.0)
    return share


def _traces(
    problem: SeriesProblem, found: SeriesHyperparameters, known: Variances, prior_share: float
) -> tuple[float, float]:
    """Traces of the inverse of the prior times the part of the coupling and of the single priors.

    Taken as if curvatures were the same in all states; differences along the series then have eigenvectors in
    common, and each is a banded matrix of its own.
    """
    grid, chain = problem.grid, problem.chain
    states, logs, lam, bend = len(chain.b), grid.logs, found.lam, grid.bend
    eigen = eigenvalues(problem.position)
    count = eigen.size
    knee = grid.knee[: logs - 2]
    stiff = (grid.rate * lam / np.sqrt(knee**2 + lam * (problem.slope_changes() ** 2 + known.slope))).mean(axis=0)
    steps = (chain.coupling_curvature / problem.spacing).mean(axis=0)
    own, coupled = np.zeros((3, logs)), np.zeros((3, logs))
    for out, slopes in ((own, lam * grid.slope), (coupled, steps)):
        out[0, :-1] += slopes
        out[0, 1:] += slopes
        out[1, :-1] -= slopes
    for n in range(3):
        own[0, n : logs - 2 + n] += stiff * bend[:, n] ** 2
    own[1, :-2] += stiff * bend[:, 0] * bend[:, 1]
    own[1, 1:-1] += stiff * bend[:, 1] * bend[:, 2]
    own[2, :-2] += stiff * bend[:, 0] * bend[:, 2]
    factors = np.exp(_STEP * np.array([[0.0, -1.0], [0.0, 1.0], [-1.0, 0.0], [1.0, 0.0]]))
    shares, strengths = np.repeat(prior_share * factors[:, 0], count), np.outer(factors[:, 1], eigen).ravel()
    bands = shares[None, :, None] * own[:, None, :] + strengths[None, :, None] * coupled[:, None, :]
    bands[0] += _LOOSE + LEVEL * np.tile(eigen, 4)[:, None] * problem.width
    below, above, less, more = kernel.determinants(bands).reshape(4, count).sum(axis=1) * states / count
    return float((above - below) / (2.0 * _STEP)), float((more - less) / (2.0 * _STEP))
