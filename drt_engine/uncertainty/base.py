"""What all estimates of the uncertainty of solutions have in common."""

from statistics import NormalDist
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drt_engine.errors import InputError
from drt_engine.model.basis import Expansion
from drt_engine.model.problem import Parameters

__all__ = ["HasPosterior", "Posterior", "areas_between", "check_level", "quantile"]

Array = NDArray[np.float64]


class Posterior(Protocol):
    """How sure K solutions are."""

    @property
    def series_elements(self) -> tuple[str, ...]:
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

    def element_interval(self, name: str, level: float = 0.95) -> tuple[Array, Array]:
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
            For a name that is not an unknown of the model, and for a level that is not a probability.
        """
        ...


@runtime_checkable
class HasPosterior(Protocol):
    """A method that estimates the uncertainty of its solutions."""

    def posterior(
        self,
        frequency: NDArray[np.float64],
        impedance: NDArray[np.complex128],
        expansion: Expansion,
        solutions: tuple[Parameters, NDArray[np.float64]],
        noise: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    ) -> Posterior:
        """Estimate the uncertainty of solutions; called from several threads at once.

        Parameters
        ----------
        frequency, impedance, expansion
            As the `solve` of a method takes them.
        solutions : tuple
            What it found: the unknowns, and λ of each, shape (K,).
        noise : pair of ndarray, shape (K,) each, optional
            The noise that it found; NaN where it is to be found again, or if the method finds none.
        """
        ...


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
    return -NormalDist().inv_cdf(0.5 - 0.5 * level)


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
