"""Uncertainty of non-negative solutions: the normal posterior of their problem, truncated at zero."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drt_engine.errors import InputError
from drt_engine.model.basis import Expansion
from drt_engine.model.problem import Parameters, Problem, row_by_row
from drt_engine.uncertainty.base import areas_between, quantile
from drt_kernels import truncated

__all__ = ["TruncatedPosterior", "truncated_posterior"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TruncatedPosterior:
    """Mean and covariance of non-negative unknowns, by expectation propagation.

    Intervals have the widths of a normal distribution with this covariance. The solution is what is most probable,
    which is not the mean: where it rings, the mean is smooth, so intervals of γ are around the mean, widened to hold
    the solution. But a sum of many unknowns that are each a little above zero is too large in the mean, so intervals of
    resistances are around the solution. What is negative is left out.

    Attributes
    ----------
    expansion : Expansion
        Basis functions of γ.
    parameters : Parameters
        The solutions.
    series_elements : tuple of str
        Which of R_inf, L and 1/C are unknowns that the data show.
    mean : ndarray, shape (K, N)
        Of the M coefficients of γ, ohm, then of the series elements in ohm, H and 1/F; NaN where it is not known.
    covariance : ndarray, shape (K, N, N)
        Of the same.
    noise : ndarray, shape (K,)
        Standard deviation of the real and of the imaginary part, ohm; times the weights, where data are weighted.
    """

    expansion: Expansion
    parameters: Parameters
    series_elements: tuple[str, ...]
    mean: Array
    covariance: Array
    noise: Array

    @classmethod
    def joined(cls, parts: "Sequence[TruncatedPosterior]") -> "TruncatedPosterior":
        """Put posteriors one below the other; there is at least one."""
        parameters = [part.parameters for part in parts]
        names = [field.name for field in fields(Parameters)]
        return replace(
            parts[0],
            parameters=Parameters(*(np.concatenate([getattr(each, name) for each in parameters]) for name in names)),
            mean=np.concatenate([part.mean for part in parts]),
            covariance=np.concatenate([part.covariance for part in parts]),
            noise=np.concatenate([part.noise for part in parts]),
        )

    def gamma_interval(self, level: float = 0.95, tau: ArrayLike | None = None) -> tuple[Array, Array]:
        """Interval of γ at each relaxation time, ohm, shape (K, T) each.

        Parameters
        ----------
        level : float
            Probability that it covers γ, between 0 and 1, if λ is right.
        tau : array_like, shape (T,), optional
            Relaxation times, s; by default those of the expansion.

        Raises
        ------
        InputError
            For a level that is not between 0 and 1.
        """
        weights = self.expansion.values(self.expansion.tau if tau is None else tau)
        mean, solution = self._sums(self.mean, weights), self._sums(self.parameters.coefficients, weights)
        half = quantile(level) * self._deviations(weights)
        return np.minimum(np.maximum(mean - half, 0.0), solution), np.maximum(mean + half, solution)

    def r_pol_interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Interval of the polarisation resistance, ohm, shape (K,) each."""
        return self._resistance(self.expansion.areas, level)

    def resistance_interval(self, low: float, high: float, level: float = 0.95) -> tuple[Array, Array]:
        """Interval of the resistance ∫ γ d ln τ between two relaxation times, ohm, shape (K,) each.

        Parameters
        ----------
        low, high : float
            Relaxation times, s.
        level : float
            Probability that it covers the resistance.

        Raises
        ------
        InputError
            For a level that is not between 0 and 1, and for relaxation times that do not ascend.
        """
        return self._resistance(areas_between(self.expansion, low, high), level)

    def element_interval(self, name: str, level: float = 0.95) -> tuple[Array, Array]:
        """Interval of R_inf, L or 1/C, in ohm, H or 1/F, shape (K,) each.

        Parameters
        ----------
        name : {"r_inf", "inductance", "elastance"}
            Series element: R_inf, L or 1/C.
        level : float
            Probability that it covers the value.

        Raises
        ------
        InputError
            For a name that is not an unknown of the model, and for a level that is not a probability.
        """
        if name not in self.series_elements:
            raise InputError(f"{name!r} is not an unknown of the model; it has {', '.join(self.series_elements)}.")
        at = self.expansion.tau.size + self.series_elements.index(name)
        value, half = getattr(self.parameters, name), quantile(level) * np.sqrt(self.covariance[:, at, at])
        return np.maximum(value - half, 0.0), value + half

    def _resistance(self, areas: Array, level: float) -> tuple[Array, Array]:
        value = self._sums(self.parameters.coefficients, areas[None, :])[:, 0]
        half = quantile(level) * self._deviations(areas[None, :])[:, 0]
        return np.maximum(value - half, 0.0), value + half

    def _sums(self, values: Array, weights: Array) -> Array:
        """Sum coefficients with weights, shape (T, M)."""
        return row_by_row(values[:, : self.expansion.tau.size], weights.T)

    def _deviations(self, weights: Array) -> Array:
        """Return the standard deviations of such sums."""
        size = self.expansion.tau.size
        out = np.empty((len(self.mean), len(weights)))
        for row, covariance in enumerate(self.covariance[:, :size, :size]):
            out[row] = np.sqrt(np.sum((weights @ covariance) * weights, axis=1))
        return out


def truncated_posterior(
    problem: Problem, b: Array, size: Array, parameters: Parameters, lam: Array
) -> TruncatedPosterior:
    """Posterior of solutions of a problem, with the noise that their residuals show.

    Parameters
    ----------
    problem : Problem
        The problem.
    b, size : ndarray, shapes (K, n) and (K,)
        As :meth:`Problem.data` returned them.
    parameters : Parameters
        The solutions.
    lam : ndarray, shape (K,)
        λ of each.
    """
    values = np.column_stack(
        [parameters.coefficients, *(getattr(parameters, name) for name in problem.series_elements)]
    )
    x = values * (problem.scale / size[:, None])
    rows, count = x.shape
    mean, covariance = np.full((rows, count), np.nan), np.full((rows, count, count), np.nan)
    variance = np.full(rows, np.nan)
    # Where all is zero, as for a wrong sign, nothing says how large it may be.
    known = np.flatnonzero(np.isfinite(x).all(axis=1) & x.any(axis=1))
    misfit = np.sum((problem.fitted(x[known]) - b[known]) ** 2, axis=1)
    found = np.empty((known.size, count)), np.empty((known.size, count, count)), np.empty(known.size)
    truncated.posteriors(
        (problem.transposed @ problem.matrix, problem.penalty),
        (row_by_row(b[known], problem.matrix), misfit, np.ascontiguousarray(x[known]), lam[known]),
        float(b.shape[1]),
        *found,
    )
    mean[known], covariance[known], variance[known] = found
    unit = size[:, None] / problem.scale
    return TruncatedPosterior(
        problem.discretisation.expansion,
        parameters,
        problem.series_elements,
        mean * unit,
        covariance * (unit[:, :, None] * unit[:, None, :]),
        np.sqrt(variance) * size,
    )
