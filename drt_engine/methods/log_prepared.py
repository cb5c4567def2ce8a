"""What the spectra of a grid share under a prior on ln γ: how they are solved, and how sure the answers are."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from drt_engine.methods.base import Answer
from drt_engine.methods.posterior import LogPosterior
from drt_engine.problem import Problem, Unknowns, filled
from drt_engine.solvers import solver_for
from drt_engine.spectral import factorise
from drt_kernels import log_gaussian

__all__ = ["LogPrepared", "NoiseModel"]

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
NoiseModel = Literal["constant", "proportional"]

_SLOPE = 1.0
"""Precision of the slopes of ln γ against ln τ, per unit of ln τ, at λ = 1."""

_LEAN = 0.8
"""Slope that is expected outside the window of the data: upward before it and downward after it."""

_RATE = 0.7
"""Of the exponential distribution of bends of ln γ, per unit of slope, at λ = 1."""

_KNEE = 0.25
"""Second derivative of ln γ below which bends are penalised by their squares."""

_WIDTH = 0.3
"""Standard deviation of ln √λ around 0 before the data are seen."""

_FREEDOM = 4.0
"""Degrees of freedom of Student's distribution."""

_START = 3e-3
"""Regularisation of the non-negative answer that the search starts from."""

_LEAST_START = 1e-3
"""What γ is raised to at the start, as a share of its largest value."""

_LEAST_MODULUS = 1e-6
"""Smallest |Z| that is believed for noise in proportion to it, as a share of the largest part of the spectrum."""


class LogPrepared:
    """Everything that the spectra of a grid share.

    Parameters
    ----------
    problem : Problem
        The matrices, of piecewise linear basis functions.
    noise : {"constant", "proportional"}
        What the standard deviation of the noise is the same share of: the size of the spectrum, or |Z| of each point.
    robust : bool
        Whether the noise has the tails of Student's distribution.
    """

    def __init__(self, problem: Problem, noise: NoiseModel, robust: bool) -> None:
        self._problem = problem
        self._proportional = noise == "proportional"
        self._grid = _grid(self._problem, 1.0 / _FREEDOM if robust else 0.0)
        self._start = solver_for("pivoting", factorise(self._problem), np.array([_START]))

    def solve(self, impedance: ComplexArray, regularisation: float | None) -> Answer:
        """Invert finite spectra.

        Parameters
        ----------
        impedance : ndarray of complex, shape (K, F)
            Impedances, ohm.
        regularisation : float or None
            λ, or None where it is to be found.
        """
        rows = len(impedance)
        b, size = self._problem.data(impedance)
        answers, hyper, residual = np.empty((rows, self._problem.scale.size)), np.empty((rows, 2)), np.empty(rows)
        given = np.full(rows, 0.0 if regularisation is None else regularisation)
        weights = self._weights(impedance, size)
        log_gaussian.maximise(b, weights, self._beginning(b), given, self._grid, answers, hyper, residual)
        x = self._values(answers)
        # Zeros are fitted by zeros, which have no logarithm.
        blank = ~b.any(axis=1)
        x[blank], residual[blank], hyper[blank, 1] = 0.0, 0.0, 1.0
        x = filled(x)
        unknowns = self._problem.unknowns(x[:rows], impedance, size)
        fit = self._problem.impedance(unknowns, self._problem.fitted(x)[:rows], size)
        no = np.zeros(rows, dtype=bool)
        return Answer(unknowns, fit, hyper[:, 1].copy(), residual, no, no.copy())

    def posterior(self, impedance: ComplexArray, unknowns: Unknowns, regularisation: Array) -> LogPosterior:
        """Say how sure answers are.

        Parameters
        ----------
        impedance : ndarray of complex, shape (K, F)
            Impedances, ohm.
        unknowns : Unknowns
            The answers.
        regularisation : ndarray, shape (K,)
            λ that they were found with.
        """
        problem = self._problem
        b, size = problem.data(impedance)
        values = np.hstack([unknowns.coefficients, *(getattr(unknowns, name)[:, None] for name in problem.extras)])
        scaled = values / size[:, None] * problem.scale
        with np.errstate(divide="ignore"):
            scaled[:, : self._grid.logs] = np.log(scaled[:, : self._grid.logs])
        rows, number = scaled.shape
        covariance, variance = np.full((rows, number, number), np.nan), np.full(rows, np.nan)
        known = np.flatnonzero(np.isfinite(scaled).all(axis=1) & (regularisation > 0.0))
        some = np.empty((known.size, number, number)), np.empty(known.size)
        weights = self._weights(impedance, size)
        log_gaussian.posteriors(b[known], weights[known], scaled[known], regularisation[known], self._grid, *some)
        covariance[known], variance[known] = some
        step = size[:, None] / problem.scale[self._grid.logs :]
        factors = np.hstack([np.ones((rows, self._grid.logs)), step])
        covariance *= factors[:, :, None] * factors[:, None, :]
        deviation = np.sqrt(variance) * (1.0 if self._proportional else size)
        return LogPosterior(problem.discretisation.expansion, unknowns, problem.extras, covariance, deviation)

    def _weights(self, impedance: ComplexArray, size: Array) -> Array:
        """Precisions of the points, shape (K, F), in units in which the variance is a share of the spectrum or of Z."""
        if not self._proportional:
            return np.ones(impedance.shape)
        return np.asarray(1.0 / np.maximum(np.abs(impedance / size[:, None]), _LEAST_MODULUS) ** 2)

    def _beginning(self, b: Array) -> Array:
        """Start from the non-negative answer: ln γ and extras, shape (K, N)."""
        x = self._start(filled(b), np.zeros(len(filled(b)), dtype=np.intp))[: len(b)]
        logs = self._grid.logs
        gamma = np.nan_to_num(x[:, :logs], nan=0.0, posinf=0.0)
        least = np.maximum(_LEAST_START * gamma.max(axis=1, keepdims=True), _LEAST_START**2)
        extras = np.nan_to_num(x[:, logs:], nan=0.0, posinf=0.0).clip(min=0.0)
        return np.hstack([np.log(np.maximum(gamma, least)), extras])

    def _values(self, answers: Array) -> Array:
        x = answers.copy()
        x[:, : self._grid.logs] = np.exp(answers[:, : self._grid.logs])
        return x


def _grid(problem: Problem, tail: float) -> log_gaussian.Grid:
    """Collect what the kernel needs to know of a problem."""
    found = problem.discretisation
    y = np.log(found.expansion.tau)
    spacing = np.diff(y)
    bend = np.stack([1.0 / spacing[:-1], -1.0 / spacing[:-1] - 1.0 / spacing[1:], 1.0 / spacing[1:]], axis=1)
    missing = -problem.scale.size % 4
    columns = np.concatenate([problem.transposed, np.zeros((missing, len(problem.matrix)))])
    window = -np.log(2.0 * np.pi * found.frequency)
    middle = 0.5 * (y[1:] + y[:-1])
    side = np.where(middle < window.min(), 1.0, 0.0) - np.where(middle > window.max(), 1.0, 0.0)
    return log_gaussian.Grid(
        columns=np.ascontiguousarray(columns),
        logs=y.size,
        size=problem.scale.size,
        slope=_SLOPE / spacing,
        lean=_LEAN * side * spacing,
        bend=bend,
        knee=0.5 * _KNEE * (spacing[1:] + spacing[:-1]),
        rate=_RATE,
        tail=tail,
        width=_WIDTH,
    )
