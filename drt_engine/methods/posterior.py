"""How sure answers are: a normal distribution of ln γ and of R_inf, L and 1/C around them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from drt_engine.basis import Expansion
from drt_engine.errors import InputError
from drt_engine.problem import Unknowns, row_by_row

__all__ = ["LogPosterior", "Posterior", "areas_between", "check_level", "quantile"]

Array = NDArray[np.float64]

_BETWEEN = 0.25
"""Standard deviation of ln γ between relaxation times, as a share of the largest change of its slope beside them times
their spacing; the error of a straight line is at most an eighth of that."""


class Posterior(Protocol):
    """How sure K answers are."""

    @property
    def extras(self) -> tuple[str, ...]:
        """Which of R_inf, L and 1/C are unknowns that the data show."""
        ...

    def gamma_interval(self, level: float = 0.95, tau: ArrayLike | None = None) -> tuple[Array, Array]:
        """Interval of γ at each relaxation time, ohm, shape (K, T) each.

        Parameters
        ----------
        level : float
            Probability that it covers γ, between 0 and 1.
        tau : array_like, shape (T,), optional
            Relaxation times, s; by default those of the expansion.

        Raises
        ------
        InputError
            For a level that is no probability.
        """
        ...

    def r_pol_interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Interval of the polarisation resistance, ohm, shape (K,) each."""
        ...

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
            For a level that is no probability, and for relaxation times that do not ascend.
        """
        ...

    def extra_interval(self, name: str, level: float = 0.95) -> tuple[Array, Array]:
        """Interval of R_inf, L or 1/C, in ohm, H or 1/F, shape (K,) each.

        Parameters
        ----------
        name : {"r_inf", "inductance", "elastance"}
            Which.
        level : float
            Probability that it covers the value.

        Raises
        ------
        InputError
            For what is no unknown of the model, and for a level that is no probability.
        """
        ...


@dataclass(frozen=True, eq=False)
class LogPosterior:
    r"""Laplace's approximation of the posterior of K answers whose γ is piecewise linear.

    Attributes
    ----------
    expansion : Expansion
        Basis functions of γ.
    unknowns : Unknowns
        The answers, its median.
    extras : tuple of str
        Which of R_inf, L and 1/C are unknowns.
    covariance : ndarray, shape (K, N, N)
        Of ln γ at the M relaxation times, then of the extras in ohm, H and 1/F; NaN where it is not known.
    noise : ndarray, shape (K, 2)
        a, ohm, and b of the standard deviation √(a² + b²|Z|²) of the real and of the imaginary part; NaN where it is
        given by frequency.
    """

    expansion: Expansion
    unknowns: Unknowns
    extras: tuple[str, ...]
    covariance: Array
    noise: Array

    @cached_property
    def deviation(self) -> Array:
        """Standard deviation of ln γ, shape (K, M); the width that γ may have between relaxation times included."""
        logs = self.expansion.tau.size
        variance = np.diagonal(self.covariance, axis1=1, axis2=2)[:, :logs]
        return np.asarray(np.sqrt(variance + (_BETWEEN * self._bends()) ** 2))

    def gamma_interval(self, level: float = 0.95, tau: ArrayLike | None = None) -> tuple[Array, Array]:
        """Interval of γ at each relaxation time, positive by itself.

        Parameters
        ----------
        level : float
            Probability that it covers γ, between 0 and 1.
        tau : array_like, shape (T,), optional
            Relaxation times, s; by default those of the expansion.

        Returns
        -------
        low, high : ndarray, shape (K, T)
            Ohm.

        Raises
        ------
        InputError
            For a level that is no probability.
        """
        half, gamma = quantile(level) * self.deviation, self.unknowns.coefficients
        if tau is not None:
            half, gamma = row_by_row(half, self.expansion.values(tau).T), self.expansion.curve(gamma, tau)
        factor = np.exp(half)
        return gamma / factor, gamma * factor

    def r_pol_interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Interval of the polarisation resistance, ohm, shape (K,) each; see :meth:`resistance_interval`."""
        tau = self.expansion.tau
        return self.resistance_interval(float(tau[0]), float(tau[-1]), level)

    def resistance_interval(self, low: float, high: float, level: float = 0.95) -> tuple[Array, Array]:
        """Interval of the resistance ∫ γ d ln τ between two relaxation times, for example those beside a peak.

        Parameters
        ----------
        low, high : float
            Relaxation times, s.
        level : float
            Probability that it covers the resistance.

        Returns
        -------
        low, high : ndarray, shape (K,)
            Ohm. The logarithm of a resistance is taken as normal, with the derivative by ln γ at the answer.

        Raises
        ------
        InputError
            For a level that is no probability, and for relaxation times that do not ascend.
        """
        logs = self.expansion.tau.size
        parts = self.unknowns.coefficients * areas_between(self.expansion, low, high)
        resistance = parts.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = parts / resistance[:, None]
        factor = np.exp(quantile(level) * _deviation_along(share, self.covariance[:, :logs, :logs]))
        return resistance / factor, resistance * factor

    def extra_interval(self, name: str, level: float = 0.95) -> tuple[Array, Array]:
        """Interval of R_inf, L or 1/C.

        Parameters
        ----------
        name : {"r_inf", "inductance", "elastance"}
            Which.
        level : float
            Probability that it covers the value.

        Returns
        -------
        low, high : ndarray, shape (K,)
            Ohm, H or 1/F; not below zero.

        Raises
        ------
        InputError
            For what is no unknown of the model, and for a level that is no probability.
        """
        if name not in self.extras:
            raise InputError(f"{name!r} is no unknown of the model; it has {', '.join(self.extras)}.")
        at = self.expansion.tau.size + self.extras.index(name)
        value = getattr(self.unknowns, name)
        half = quantile(level) * np.sqrt(self.covariance[:, at, at])
        return np.maximum(value - half, 0.0), value + half

    def _bends(self) -> Array:
        """Largest change of the slope of ln γ at a relaxation time and beside it, times the spacing, shape (K, M)."""
        y = np.log(self.expansion.tau)
        with np.errstate(divide="ignore", invalid="ignore"):
            u = np.log(self.unknowns.coefficients)
            slope = np.diff(u, axis=1) / np.diff(y)
        change = np.zeros_like(u)
        change[:, 1:-1] = np.abs(np.diff(slope, axis=1)) * 0.5 * (y[2:] - y[:-2])
        widest = change.copy()
        widest[:, 1:] = np.maximum(widest[:, 1:], change[:, :-1])
        widest[:, :-1] = np.maximum(widest[:, :-1], change[:, 1:])
        return widest


def check_level(level: object) -> None:
    """Refuse what is no probability.

    Raises
    ------
    InputError
        If it is not a number between 0 and 1.
    """
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0.0 < level < 1.0:
        raise InputError(f"level must be a probability between 0 and 1; got {level!r}. 0.95 is the usual one.")


def quantile(level: float) -> float:
    """Return how many standard deviations on both sides of the mean of a normal distribution hold a probability."""
    check_level(level)
    return float(ndtri(0.5 + 0.5 * level))


def areas_between(expansion: Expansion, low: float, high: float) -> Array:
    """∫ φ_m d ln τ of the basis functions between two relaxation times, shape (M,).

    Raises
    ------
    InputError
        For relaxation times that are not positive or do not ascend.
    """
    if not 0.0 < low < high:
        raise InputError(f"low and high must be positive relaxation times that ascend; got {low!r} and {high!r}.")
    return np.asarray(np.diff(expansion.cumulative([low, high]), axis=0)[0])


def _deviation_along(share: Array, covariance: Array) -> Array:
    return np.asarray(np.sqrt(np.einsum("ki,kij,kj->k", share, covariance, share)))
