"""What a joint inversion starts from, what it depends on, and what it finds."""

from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drt_engine.methods.base import Solution
from drt_engine.model.problem import Parameters

__all__ = ["Across", "JointSolution", "SeparateSolutions", "SeriesHyperparameters"]

Array = NDArray[np.float64]


class SeriesHyperparameters(NamedTuple):
    """Hyperparameters of a series.

    Attributes
    ----------
    noise : ndarray, shape (2,)
        Variance of the noise, its constant part and that in proportion to |Z|², as the kernel has them.
    lam : float
        λ.
    strength : float
        κ, how strongly neighbouring states are coupled.
    shift : float
        s, how far processes move in ln τ from state to state.
    """

    noise: Array
    lam: float
    strength: float
    shift: float


@dataclass(frozen=True, eq=False)
class JointSolution(Solution):
    """Solutions of the K spectra of a series; see :class:`Solution`.

    Attributes
    ----------
    coupling, shift : ndarray, shape (K,)
        κ and s, the same in all rows of a series.
    coupling_across, shift_across : ndarray, shape (K,)
        Those across series that are inverted together; NaN if none are.
    """

    coupling: Array = field(kw_only=True)
    shift: Array = field(kw_only=True)
    coupling_across: Array = field(kw_only=True)
    shift_across: Array = field(kw_only=True)


class SeparateSolutions(NamedTuple):
    """Solutions of the K spectra of a series, each inverted by itself.

    Attributes
    ----------
    parameters : Parameters
        The solutions.
    regularisation : ndarray, shape (K,)
        λ.
    noise_floor, noise_relative : ndarray, shape (K,)
        a, ohm, and b of the noise; NaN where it is given by frequency.
    """

    parameters: Parameters
    regularisation: Array
    noise_floor: Array
    noise_relative: Array

    def with_rows(self, rows: NDArray[np.intp], found: Solution) -> "SeparateSolutions":
        """Replace the solutions of some of the spectra.

        Parameters
        ----------
        rows : ndarray of int
            Row numbers.
        found : Solution
            Their solutions.
        """

        def put(whole: Any, part: Any) -> Any:
            out = whole.copy()
            out[rows] = part
            return out

        known = {one.name: getattr(self.parameters, one.name) for one in fields(Parameters)}
        parameters = Parameters(**{name: put(each, getattr(found.parameters, name)) for name, each in known.items()})
        return SeparateSolutions(
            parameters, *(put(getattr(self, name), getattr(found, name)) for name in self._fields[1:])
        )


class Across(NamedTuple):
    """States of C lines of V places each, line after line, and how they are coupled.

    Attributes
    ----------
    position : tuple of ndarray
        Where the places stand along each line, shape (V,), and the lines across, shape (C,).
    breaks : tuple of ndarray of bool
        Before which states the series breaks along and across, shape (K,).
    strength, shift : ndarray, shape (2,)
        κ and s along and across.
    """

    position: tuple[Array, Array]
    breaks: tuple[NDArray[np.bool_], NDArray[np.bool_]]
    strength: Array
    shift: Array
