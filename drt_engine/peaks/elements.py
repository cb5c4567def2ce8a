"""The circuit elements that were fitted to spectra."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from drt_engine.errors import InputError
from drt_engine.peaks.shapes import FWHM_GAUSSIAN, SHAPES, ElementShape, zarc_width
from drt_engine.spectra import freeze_arrays, with_states
from drt_engine.text import count_of
from drt_kernels import deconvolution as kernels

__all__ = ["Deconvolution"]

Array = NDArray[np.float64]

_MERGED = -0.95
"""Correlation of two resistances below which only their sum is determined."""


@dataclass(frozen=True, eq=False, repr=False)
class Deconvolution:
    """K spectra as sums of elements in series with R_inf, L and 1/C.

    Attributes
    ----------
    frequency : ndarray, shape (F,)
        Frequencies, Hz.
    shape : str
        Form of the elements.
    series : tuple of str
        Which of ``"r_inf"``, ``"inductance"`` and ``"elastance"`` the model has.
    parameters, errors : ndarray, shape (K, P)
        Series terms, then R, ln τ and one or two of shape for each part, and their standard deviations; NaN where there
        are no more elements, deviations also where a parameter is at a bound.
    together : ndarray, shape (K, C, 2)
        Correlation of the errors of the resistances of a part and the next one, and of resistance and ln τ of a part.
    misfit : ndarray, shape (K,)
        Root mean square of |Z_fit − Z| / |Z|, NaN for a spectrum without a solution.
    correlation : ndarray, shape (K,)
        Correlation of residuals at neighbouring frequencies, from 0 to 0.9: near 0 where only noise is left, and above
        0.3 where the form or number of the elements does not do.
    converged : ndarray of bool, shape (K,)
        Whether the sum of squares is at a minimum.
    states : DataFrame, optional
        What each spectrum was measured at, K rows.
    joint : ndarray of bool, shape (K,), optional
        Whether a spectrum was fitted together with its neighbours along the state. Where it was not, though its series
        was, it does not go with them; by default, none was.
    """

    frequency: Array
    shape: ElementShape
    series: tuple[str, ...]
    parameters: Array
    errors: Array
    together: Array
    misfit: Array
    correlation: Array
    converged: NDArray[np.bool_]
    states: pd.DataFrame | None = None
    joint: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        """Freeze the arrays."""
        if self.joint is None:
            object.__setattr__(self, "joint", np.zeros(self.misfit.size, dtype=bool))
        freeze_arrays(self)

    def __len__(self) -> int:
        """K, the number of spectra."""
        return int(self.misfit.size)

    def __repr__(self) -> str:
        """Say what it holds."""
        elements = count_of(int(self.count.sum()), "element")
        return f"Deconvolution({count_of(len(self), 'spectrum')}, {elements}, shape {self.shape!r})"

    @cached_property
    def count(self) -> NDArray[np.int64]:
        """Number of elements of each spectrum, shape (K,)."""
        known = np.isfinite(self.parameters).sum(axis=1) - len(self.series)
        return np.asarray(np.maximum(known, 0) // SHAPES[self.shape].size)

    @property
    def r_inf(self) -> Array:
        """R_inf, ohm, shape (K,)."""
        return self._term("r_inf")

    @property
    def inductance(self) -> Array:
        """L, H, shape (K,); 0 where the model has none."""
        return self._term("inductance")

    @property
    def capacitance(self) -> Array:
        """C, F, shape (K,); infinite where the model or the solution has none."""
        with np.errstate(divide="ignore"):
            return np.asarray(1.0 / self._term("elastance"))

    def _term(self, name: str) -> Array:
        if name not in self.series:
            return np.where(np.isnan(self.misfit), np.nan, 0.0)
        return np.asarray(self.parameters[:, self.series.index(name)])

    @property
    def parts(self) -> pd.DataFrame:  # its former name
        """The same as `elements`."""
        return self.elements

    @cached_property
    def elements(self) -> pd.DataFrame:
        """One row a part, ordered by spectrum and τ; its resistance is above zero, or below zero for a loop.

        ``spectrum``, the states, ``part``
            Row number among the K, what that was measured at, and number of the part from 0.
        ``tau``, ``r``, ``c``
            τ, s; R, the area of the part, ohm; τ/R, F. For the asymmetric form τ is the τ₀ of its formula.
        ``phi``, ``psi``, ``width``
            Exponents, NaN for Gaussians; full width of γ at half maximum, decades, NaN for the asymmetric form.
        ``tau_error``, ``r_error``, ``c_error``, ``phi_error``, ``psi_error``, ``width_error``
            Standard deviations; NaN for what is at a bound or is no parameter, for R where τ is at its slow end, and
            for everything where there are as many parameters as data.
        ``correlation``
            Of the errors of R with that of the next part.
        ``merged``
            Whether only the sum of R with a neighbour's is determined: the correlation is below −0.95.
        ``at_bound``
            Whether a parameter is at the end of its range: τ half a decade faster or three decades slower than the
            frequencies, an exponent at 0.3, or φ at 1, a single relaxation time. There are no elements with R at 0.
        ``inside``
            Whether τ is between 1/ω_max and 1/ω_min.
        ``joint``
            Whether the spectrum was fitted together with its neighbours along the state.
        """
        shape, count = SHAPES[self.shape], self.count
        most = self.together.shape[1]
        here = np.arange(most) < count[:, None]
        first = len(self.series)
        values = self.parameters[:, first:].reshape(len(self), most, shape.size)[here]
        errors = self.errors[:, first:].reshape(len(self), most, shape.size)[here]
        together = self.together[here]
        r, tau = values[:, 0], np.exp(values[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = errors[:, 0] / r
            c, own = tau / r, together[:, 1]
            c_error = np.abs(c) * np.sqrt(errors[:, 1] ** 2 + relative**2 - 2.0 * own * errors[:, 1] * relative)
        merged = together[:, 0] < _MERGED
        number = np.broadcast_to(np.arange(most), here.shape)[here]
        next_one = np.zeros_like(merged)
        next_one[1:] = merged[:-1] & (number[1:] > 0)
        omega = 2.0 * np.pi * self.frequency
        table = {
            "spectrum": np.repeat(np.arange(len(self)), count),
            "part": number,
            "tau": tau,
            "r": r,
            "c": c,
            **self._shape_columns(values, errors),
            "tau_error": tau * errors[:, 1],
            # R of a tail grows with τ, and is as little known.
            "r_error": np.where(values[:, 1] < ln_tau_bounds(self.frequency)[1], errors[:, 0], np.nan),
            "c_error": c_error,
            "correlation": together[:, 0],
            "merged": merged | next_one,
            "at_bound": self._at_bound(values),
            "inside": (tau >= 1.0 / omega.max()) & (tau <= 1.0 / omega.min()),
            "joint": np.repeat(np.asarray(self.joint), count),
        }
        found = pd.DataFrame(table)
        return found if self.states is None else with_states(found, self.states)

    def _shape_columns(self, values: Array, errors: Array) -> dict[str, Array]:
        none = np.full(len(values), np.nan)
        if self.shape == "gaussian":
            width = np.exp(values[:, 2]) * FWHM_GAUSSIAN / math.log(10.0)
            columns = {"phi": none, "psi": none, "width": width}
            return columns | {"phi_error": none, "psi_error": none, "width_error": width * errors[:, 2]}
        symmetric = self.shape == "zarc"
        return {
            "phi": values[:, 2],
            "psi": np.ones(len(values)) if symmetric else values[:, 3],
            "width": zarc_width(values[:, 2]) / math.log(10.0) if symmetric else none,
            "phi_error": errors[:, 2],
            "psi_error": none if symmetric else errors[:, 3],
            "width_error": none,
        }

    def _at_bound(self, values: Array) -> NDArray[np.bool_]:
        shape, (low, high) = SHAPES[self.shape], ln_tau_bounds(self.frequency)
        # ψ, the second parameter, at 1 is no end of a range but a symmetric part.
        upper = [top if place == 0 else math.inf for place, top in enumerate(shape.high)]
        lowest, highest = np.array([0.0, low, *shape.low]), np.array([math.inf, high, *upper])
        # R of a loop is below zero.
        values = np.column_stack([np.abs(values[:, 0]), values[:, 1:]])
        return np.asarray(((values <= lowest) | (values >= highest)).any(axis=1))

    def gamma_at(self, tau: ArrayLike) -> Array:
        """γ(ln τ) of the sums of the elements.

        Parameters
        ----------
        tau : array_like, shape (T,)
            Relaxation times, s, positive.

        Returns
        -------
        ndarray, shape (K, T)
            Ohm per unit of natural logarithm; NaN for a spectrum without a solution.

        Raises
        ------
        InputError
            For relaxation times that are not positive and finite.
        """
        at = _positive("tau", "s", tau)
        shape, first = SHAPES[self.shape], len(self.series)
        gamma = np.zeros((len(self), at.size))
        gamma[np.isnan(self.misfit)] = np.nan
        for k in range(len(self)):
            for row in self.parameters[k, first:].reshape(-1, shape.size)[: self.count[k]]:
                gamma[k] += row[0] * shape.gamma(np.log(at) - row[1], row[2:])
        return gamma

    def impedance_at(self, frequency: ArrayLike) -> NDArray[np.complex128]:
        """Impedance of the sums of the elements and the series terms.

        Parameters
        ----------
        frequency : array_like, shape (F',)
            Frequencies, Hz.

        Returns
        -------
        ndarray of complex, shape (K, F')
            Ohm; NaN for a spectrum without a solution.

        Raises
        ------
        InputError
            For frequencies that are not positive and finite.
        """
        f = _positive("frequency", "Hz", frequency)
        none, one = np.zeros(2 * f.size), np.ones(2 * f.size)
        columns, x = series_element_columns(self.series, f), np.log(2.0 * np.pi * f)
        jac, z = np.empty((self.parameters.shape[1], 2 * f.size)), np.empty(2 * f.size)
        out = np.full((len(self), f.size), complex(np.nan, np.nan))
        for k in np.flatnonzero(np.isfinite(self.misfit)):
            size = len(self.series) + self.count[k] * SHAPES[self.shape].size
            theta = np.array(self.parameters[k, :size])
            kernels.evaluate(theta, (SHAPES[self.shape].kind, columns), (x, none, one), jac, z)
            out[k] = z[: f.size] + 1j * z[f.size :]
        return out

    def distance(self, tau: ArrayLike, gamma: Array) -> Array:
        """How far the sums of the elements are from distributions: ∫|γ_parts − γ| d ln τ / ∫γ d ln τ.

        Parameters
        ----------
        tau : array_like, shape (T,)
            Relaxation times, s, ascending, close enough for trapezia.
        gamma : ndarray, shape (K, T)
            The distributions there, ohm.

        Returns
        -------
        ndarray, shape (K,)

        Raises
        ------
        InputError
            For a `gamma` of another shape.
        """
        at = _positive("tau", "s", tau)
        if np.shape(gamma) != (len(self), at.size):
            raise InputError(f"gamma must have shape {(len(self), at.size)}; got {np.shape(gamma)}.")
        y = np.log(at)
        whole = np.trapezoid(gamma, y, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.trapezoid(np.abs(self.gamma_at(at) - gamma), y, axis=1) / whole)


_DECADES_FASTER, _DECADES_SLOWER = 0.5, 3.0
"""How far τ may be beyond the frequencies. Faster elements are soon the same as R_inf; slower ones stand for tails,
which three decades away are straight lines like those of a capacitance or a Warburg element."""


def ln_tau_bounds(frequency: Array) -> tuple[float, float]:
    """Range of ln τ of a part: half a decade faster and three decades slower than the frequencies show.

    Parameters
    ----------
    frequency : ndarray, shape (F,)
        Hz.
    """
    x, decade = np.log(2.0 * np.pi * frequency), math.log(10.0)
    return float(-x.max() - _DECADES_FASTER * decade), float(-x.min() + _DECADES_SLOWER * decade)


def series_element_columns(names: tuple[str, ...], frequency: Array) -> Array:
    """Impedance of unit series elements, real then imaginary parts, shape (E, 2F).

    Parameters
    ----------
    names : tuple of str
        Which of ``"r_inf"``, ``"inductance"`` and ``"elastance"``.
    frequency : ndarray, shape (F,)
        Hz.
    """
    omega, none = 2.0 * np.pi * frequency, np.zeros(frequency.size)
    columns = {"r_inf": (none + 1.0, none), "inductance": (none, omega), "elastance": (none, -1.0 / omega)}
    return np.array([np.concatenate(columns[name]) for name in names])


def _positive(name: str, unit: str, values: ArrayLike) -> Array:
    array = np.atleast_1d(np.asarray(values, dtype=float))
    if array.ndim != 1 or not np.all(np.isfinite(array) & (array > 0)):
        raise InputError(f"{name} must be one-dimensional, positive and finite, in {unit}; got {values!r}.")
    return array
