"""What all circuit elements have in common, the lumped ones, the RC element, and their series combination."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drt_engine.errors import InputError, UnknownNameError
from drt_engine.simulate.checks import angular, check_not_negative, check_positive, checked_count, relaxation_times

__all__ = [
    "RC",
    "Capacitor",
    "Circuit",
    "DiracRule",
    "Element",
    "Inductor",
    "NoDensityError",
    "Resistor",
    "dirac_error",
]

DiracRule = Literal["raise", "skip"]
"""What `Circuit.gamma` does with Dirac functions: refuse, or leave them out."""


class NoDensityError(InputError):
    """γ was requested of an element that has none: its distribution is a Dirac function.

    Either its distribution of relaxation times is one Dirac function or a series of them (RC, finite Warburg), which
    `Element.lines` gives, or it has none at all (resistor, inductor, capacitor).
    """


class Element(ABC):
    """A two-pole in series: its impedance and its distribution of relaxation times.

    In the model Z = R_inf + jωL + 1/(jωC) + ∫ γ(ln τ) / (1 + jωτ) d ln τ, an element adds to γ a density, which `gamma`
    gives, or Dirac functions, which `lines` gives; resistor, inductor and capacitor add to the other three terms.
    """

    @abstractmethod
    def impedance(self, frequency: ArrayLike) -> NDArray[np.complex128]:
        """Impedance, ohm; capacitive means a negative imaginary part.

        Parameters
        ----------
        frequency : array_like, shape (F,)
            Frequencies, Hz, positive.

        Returns
        -------
        ndarray of complex, shape (F,)
            Impedance, ohm.

        Raises
        ------
        InputError
            For frequencies that are not positive and finite, or not in one row.
        """

    @abstractmethod
    def gamma(self, tau: ArrayLike) -> NDArray[np.float64]:
        """Exact γ(ln τ), ohm per unit of natural logarithm.

        Parameters
        ----------
        tau : array_like, shape (T,)
            Relaxation times, s, positive.

        Returns
        -------
        ndarray, shape (T,)
            γ, ohm.

        Raises
        ------
        NoDensityError
            If the element has no density.
        InputError
            For relaxation times that are not positive and finite, or not in one row.
        """

    def lines(self, n: int = 100) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Dirac functions of γ.

        Parameters
        ----------
        n : int
            How many, those of the largest relaxation times, where an element has infinitely many.

        Returns
        -------
        tau : ndarray
            Relaxation times, s, ascending; empty where γ is a density or nothing.
        r : ndarray
            Resistances, ohm, of the same shape.
        """
        checked_count(n)
        return np.empty(0), np.empty(0)

    @property
    @abstractmethod
    def r_pol(self) -> float:
        """Polarisation resistance ∫ γ d ln τ, ohm, density and Dirac functions together."""

    @property
    def series_terms(self) -> tuple[float, float, float]:
        """What it adds to R_inf (ohm), L (H) and 1/C (1/F)."""
        return 0.0, 0.0, 0.0

    def __add__(self, other: "Element") -> "Circuit":
        """Put two elements in series."""
        return Circuit([self, other])


class _Lumped(Element):
    """An element outside the integral of the model: no relaxation, hence no γ."""

    def gamma(self, tau: ArrayLike) -> NDArray[np.float64]:
        """Refuse: there is no density; see `Element.gamma`."""
        relaxation_times(tau)
        raise NoDensityError(
            f"gamma of {type(self).__name__} does not exist: the element has no relaxation time. "
            "It belongs to R_inf, L or C of the model; ask a Circuit, which leaves it out of gamma."
        )

    @property
    def r_pol(self) -> float:
        """Zero: it does not polarise within the integral of the model."""
        return 0.0


@dataclass(frozen=True)
class Resistor(_Lumped):
    """A resistor, Z = R.

    Parameters
    ----------
    r : float
        Resistance, ohm, not negative.

    Raises
    ------
    InputError
        For a resistance that is negative or not finite.
    """

    r: float

    def __post_init__(self) -> None:
        """Refuse parameters that cannot be."""
        check_not_negative(self, "r", "ohm")

    def impedance(self, frequency: ArrayLike) -> NDArray[np.complex128]:
        """Impedance, ohm, shape (F,), at the frequencies (Hz) given; see `Element.impedance`."""
        return np.full(angular(frequency).shape, self.r, dtype=np.complex128)

    @property
    def series_terms(self) -> tuple[float, float, float]:
        """What it adds to R_inf (ohm), L (H) and 1/C (1/F)."""
        return self.r, 0.0, 0.0


@dataclass(frozen=True)
class Inductor(_Lumped):
    """An inductor, Z = jωL; in a measurement, that of the leads.

    Parameters
    ----------
    inductance : float
        Inductance, H, not negative.

    Raises
    ------
    InputError
        For an inductance that is negative or not finite.
    """

    inductance: float

    def __post_init__(self) -> None:
        """Refuse parameters that cannot be."""
        check_not_negative(self, "inductance", "H")

    def impedance(self, frequency: ArrayLike) -> NDArray[np.complex128]:
        """Impedance, ohm, shape (F,), at the frequencies (Hz) given; see `Element.impedance`."""
        return np.asarray(1j * angular(frequency) * self.inductance)

    @property
    def series_terms(self) -> tuple[float, float, float]:
        """What it adds to R_inf (ohm), L (H) and 1/C (1/F)."""
        return 0.0, self.inductance, 0.0


@dataclass(frozen=True)
class Capacitor(_Lumped):
    """A capacitor in series, Z = 1/(jωC); it blocks direct current.

    Parameters
    ----------
    capacitance : float
        Capacitance, F, positive.

    Raises
    ------
    InputError
        For a capacitance that is not positive and finite.
    """

    capacitance: float

    def __post_init__(self) -> None:
        """Refuse parameters that cannot be."""
        check_positive(self, "capacitance", "F")

    def impedance(self, frequency: ArrayLike) -> NDArray[np.complex128]:
        """Impedance, ohm, shape (F,), at the frequencies (Hz) given; see `Element.impedance`."""
        return np.asarray(-1j / (angular(frequency) * self.capacitance))

    @property
    def series_terms(self) -> tuple[float, float, float]:
        """What it adds to R_inf (ohm), L (H) and 1/C (1/F)."""
        return 0.0, 0.0, 1 / self.capacitance


@dataclass(frozen=True)
class RC(Element):
    """A resistor and a capacitor in parallel, Z = R / (1 + jωτ), τ = RC: one Dirac function of area R at τ.

    Parameters
    ----------
    r : float
        Resistance, ohm, not negative.
    tau : float
        Relaxation time, s, positive.

    Raises
    ------
    InputError
        For parameters outside these ranges.
    """

    r: float
    tau: float

    def __post_init__(self) -> None:
        """Refuse parameters that cannot be."""
        check_not_negative(self, "r", "ohm")
        check_positive(self, "tau", "s")

    def impedance(self, frequency: ArrayLike) -> NDArray[np.complex128]:
        """Impedance, ohm, shape (F,), at the frequencies (Hz) given; see `Element.impedance`."""
        return np.asarray(self.r / (1 + 1j * angular(frequency) * self.tau))

    def gamma(self, tau: ArrayLike) -> NDArray[np.float64]:
        """Refuse: there is no density; see `Element.gamma`."""
        relaxation_times(tau)
        raise dirac_error(self)

    def lines(self, n: int = 100) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Relaxation times (s) and resistances (ohm) of Dirac functions; see `Element.lines`."""
        checked_count(n)
        return np.array([self.tau]), np.array([self.r])

    @property
    def r_pol(self) -> float:
        """Polarisation resistance ∫ γ d ln τ, ohm."""
        return self.r


@dataclass(frozen=True, init=False)
class Circuit(Element):
    """Elements in series.

    ``Circuit([Resistor(10), ZARC(50, 1e-3, 0.85)])`` and ``Resistor(10) + ZARC(50, 1e-3, 0.85)`` are the same.

    Parameters
    ----------
    elements : iterable of Element
        Elements in series; a circuit among them stands for its elements.

    Raises
    ------
    InputError
        If there is none, or something that is not an element.
    """

    elements: tuple[Element, ...]

    def __init__(self, elements: Iterable[Element]) -> None:
        flat: list[Element] = []
        for element in elements:
            if not isinstance(element, Element):
                raise InputError(f"a circuit is made of elements; got {element!r}. Give for example Resistor(10).")
            flat.extend(element.elements if isinstance(element, Circuit) else [element])
        if not flat:
            raise InputError("a circuit needs at least one element; got none.")
        object.__setattr__(self, "elements", tuple(flat))

    def impedance(self, frequency: ArrayLike) -> NDArray[np.complex128]:
        """Impedance, ohm, shape (F,), at the frequencies (Hz) given; see `Element.impedance`."""
        return np.asarray(np.sum([element.impedance(frequency) for element in self.elements], axis=0))

    def gamma(self, tau: ArrayLike, dirac: DiracRule = "raise") -> NDArray[np.float64]:
        """Exact γ(ln τ) of all elements together, ohm per unit of natural logarithm.

        Resistors, inductors and capacitors are outside the integral and add nothing.

        Parameters
        ----------
        tau : array_like, shape (T,)
            Relaxation times, s, positive.
        dirac : {"raise", "skip"}
            With "raise", an element whose γ is made of Dirac functions is an error. With "skip" the solution is the
            density of the others, and what is left out is in `lines`.

        Returns
        -------
        ndarray, shape (T,)
            γ, ohm.

        Raises
        ------
        NoDensityError
            For Dirac functions with ``dirac="raise"``.
        InputError
            For another `dirac`, or relaxation times that are not positive and finite, or not in one row.
        """
        if dirac not in get_args(DiracRule):
            raise UnknownNameError("dirac", dirac, get_args(DiracRule))
        where = relaxation_times(tau)
        total = np.zeros(where.shape)
        for element in self.elements:
            if isinstance(element, _Lumped):
                continue
            try:
                total += element.gamma(where)
            except NoDensityError as error:
                if dirac == "raise":
                    raise NoDensityError(f'{error} Or leave it out with gamma(tau, dirac="skip").') from error
        return total

    def lines(self, n: int = 100) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Dirac functions of all elements, sorted by relaxation time.

        Parameters
        ----------
        n : int
            How many of each element that has infinitely many.

        Returns
        -------
        tau, r : ndarray
            Relaxation times (s, ascending) and resistances (ohm).
        """
        parts = [element.lines(n) for element in self.elements]
        tau, r = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(tau, kind="stable")
        return tau[order], r[order]

    @property
    def r_pol(self) -> float:
        """Polarisation resistance ∫ γ d ln τ, ohm."""
        return sum(element.r_pol for element in self.elements)

    @property
    def series_terms(self) -> tuple[float, float, float]:
        """What it adds to R_inf (ohm), L (H) and 1/C (1/F)."""
        r_inf, inductance, elastance = (
            sum(term) for term in zip(*(e.series_terms for e in self.elements), strict=True)
        )
        return r_inf, inductance, elastance

    @property
    def r_inf(self) -> float:
        """Resistance at infinite frequency, the resistors' sum, ohm."""
        return self.series_terms[0]

    @property
    def inductance(self) -> float:
        """Sum of the inductances, H."""
        return self.series_terms[1]

    @property
    def capacitance(self) -> float:
        """Series capacitance, F; infinite where nothing blocks direct current."""
        elastance = self.series_terms[2]
        return 1 / elastance if elastance else np.inf


def dirac_error(element: object) -> NoDensityError:
    """Make the error for an element whose γ consists of Dirac functions."""
    return NoDensityError(
        f"gamma of {element!r} has no density: it consists of Dirac functions. "
        "Take their relaxation times and resistances from lines()."
    )
