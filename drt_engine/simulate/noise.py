"""Noise that is put on impedances."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drt_engine.checks import is_real
from drt_engine.errors import InputError

__all__ = ["ConstantNoise", "Noise", "Outliers", "ProportionalNoise"]


class Noise(ABC):
    """A kind of noise. Its standard deviation is that of the real and of the imaginary part, each on its own."""

    @abstractmethod
    def add(self, impedance: ArrayLike, rng: np.random.Generator | int) -> NDArray[np.complex128]:
        """Return noisy impedances; a missing point (NaN) stays missing.

        Parameters
        ----------
        impedance : array_like of complex, shape (F,) or (K, F)
            Impedances, ohm.
        rng : numpy.random.Generator or int
            Where the random numbers come from, or the seed of a new generator.

        Returns
        -------
        ndarray of complex, shape of `impedance`
            Impedances with noise, ohm; the same for the same seed.

        Raises
        ------
        InputError
            For an impedance that is not numbers, or an `rng` that is neither a generator nor a seed.
        """


@dataclass(frozen=True)
class ConstantNoise(Noise):
    """Normal noise of the same size at every point, as of an instrument at the end of its range.

    Parameters
    ----------
    sigma : float
        Standard deviation of the real and of the imaginary part, each, ohm, not negative.

    Raises
    ------
    InputError
        For a standard deviation that is negative or not finite.
    """

    sigma: float

    def __post_init__(self) -> None:
        """Refuse parameters that cannot be."""
        _check(self, "sigma", np.inf, "a finite number of ohm, not negative")

    def add(self, impedance: ArrayLike, rng: np.random.Generator | int) -> NDArray[np.complex128]:
        """Return noisy impedances, ohm, shape of `impedance`; see `Noise.add`."""
        z = _impedance(impedance)
        return z + self.sigma * _normal(z, _generator(rng))


@dataclass(frozen=True)
class ProportionalNoise(Noise):
    """Normal noise in proportion to the modulus, as an instrument's relative accuracy gives.

    Parameters
    ----------
    fraction : float
        Standard deviation of the real and of the imaginary part, each, divided by |Z| of the point; 0.002 is 0.2 %.

    Raises
    ------
    InputError
        For a fraction that is negative or not finite.
    """

    fraction: float = 0.002

    def __post_init__(self) -> None:
        """Refuse parameters that cannot be."""
        _check(self, "fraction", np.inf, "a finite number, not negative")

    def add(self, impedance: ArrayLike, rng: np.random.Generator | int) -> NDArray[np.complex128]:
        """Return noisy impedances, ohm, shape of `impedance`; see `Noise.add`."""
        z = _impedance(impedance)
        return z + self.fraction * np.abs(z) * _normal(z, _generator(rng))


@dataclass(frozen=True)
class Outliers(Noise):
    """Some points displaced by a fixed distance in a random direction, beside the noise of all points.

    Each point is displaced with probability `share`, independently, by exactly `size` times the noise-free |Z|; the
    angle is uniform over the complex plane, so the real and the imaginary part of a displacement each have the standard
    deviation size · |Z| / √2.

    Parameters
    ----------
    share : float
        Probability of a point to be displaced, from 0 to 1.
    size : float
        Distance, divided by |Z| of the point, not negative; 0.1 is 10 %.
    base : Noise
        Noise of all points.

    Raises
    ------
    InputError
        For parameters outside these ranges.
    """

    share: float
    size: float
    base: Noise = field(default_factory=ProportionalNoise)

    def __post_init__(self) -> None:
        """Refuse parameters that cannot be."""
        _check(self, "share", 1.0, "a probability from 0 to 1")
        _check(self, "size", np.inf, "a finite number, not negative")
        if not isinstance(self.base, Noise):
            raise InputError(
                f"base of Outliers must be a noise model; got {self.base!r}. Give ConstantNoise(0) for none."
            )

    def add(self, impedance: ArrayLike, rng: np.random.Generator | int) -> NDArray[np.complex128]:
        """Return noisy impedances, ohm, shape of `impedance`; see `Noise.add`."""
        z = _impedance(impedance)
        generator = _generator(rng)
        noisy = self.base.add(z, generator)
        hit = generator.random(z.shape) < self.share
        angle = generator.uniform(0, 2 * np.pi, np.count_nonzero(hit))
        noisy[hit] += self.size * np.abs(z[hit]) * np.exp(1j * angle)
        return noisy


def _normal(z: NDArray[np.complex128], generator: np.random.Generator) -> NDArray[np.complex128]:
    """Draw complex numbers whose two parts each have the standard deviation 1, one for each point."""
    return generator.standard_normal((*z.shape, 2)).view(complex)[..., 0]


def _impedance(impedance: ArrayLike) -> NDArray[np.complex128]:
    try:
        return np.asarray(impedance, dtype=complex)
    except (TypeError, ValueError) as error:
        raise InputError(f"impedance must be an array of complex numbers in ohm; got {error}.") from error


def _generator(rng: np.random.Generator | int) -> np.random.Generator:
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"rng must be a numpy.random.Generator or a seed that is not negative; got {error}."
        ) from error


def _check(noise: Noise, name: str, most: float, expected: str) -> None:
    value = getattr(noise, name)
    if not (is_real(value) and 0 <= value <= most):
        raise InputError(f"{name} of {type(noise).__name__} must be {expected}; got {value!r}.")
