"""The model of the linear Kramers-Kronig test: a resistance, M RC elements with given time constants, L and C.

Everything here depends on the frequencies and on M only, so that all spectra of a grid share it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from drt_engine.model.problem import Part

__all__ = ["ModelTerms", "RCModel", "time_constants"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_LEAST_FREE = 0.05
"""Least share of a point that the fit leaves free. Residuals are divided by it: less would make rounding a finding."""
_BEYOND = 10.0 ** np.array([0.5, 1.0])
"""Relaxation times outside the range of frequencies, as factors of its ends: half a decade and a decade. Processes
farther away are a resistance or a capacitance."""


def time_constants(omega: Array, elements: int) -> Array:
    """Time constants from 1/ω_max to 1/ω_min, evenly spaced in their logarithm; 1/ω_min where there is only one.

    Eq. (10) of M. Schönleber, D. Klotz, E. Ivers-Tiffée, Electrochim. Acta 131 (2014) 20.

    Parameters
    ----------
    omega : ndarray, shape (F,)
        Angular frequencies, rad/s.
    elements : int
        M.

    Returns
    -------
    ndarray, shape (M,)
        Seconds, ascending.
    """
    if elements == 1:
        return np.array([1.0 / omega.min()])
    return np.geomspace(1.0 / omega.max(), 1.0 / omega.min(), elements)


@dataclass(frozen=True)
class ModelTerms:
    """What the model consists of.

    Parameters
    ----------
    part : {"complex", "re", "im"}
        What it is fitted to.
    admittance : bool
        Whether it is Y that it stands for, as resistors and capacitors in series that are all in parallel. Both have
        the same columns, since jωC/(1 + jωτ) = (1 − 1/(1 + jωτ)) C/τ.
    inductance, capacitance : bool
        Whether there is jωL and 1/(jωC), or in admittance 1/(jωL) and jωC.
    """

    part: Part = "complex"
    admittance: bool = False
    inductance: bool = True
    capacitance: bool = False

    @property
    def rising(self) -> bool:
        """Whether there is a column jω."""
        return self.capacitance if self.admittance else self.inductance

    @property
    def falling(self) -> bool:
        """Whether there is a column 1/(jω)."""
        return self.inductance if self.admittance else self.capacitance


@dataclass(frozen=True, eq=False)
class RCModel:
    """The model with M elements on one grid.

    Parameters
    ----------
    omega : ndarray, shape (F,)
        Angular frequencies, rad/s.
    elements : int
        M.
    model : ModelTerms
        What there is beside the elements.
    """

    omega: Array
    elements: int
    model: ModelTerms

    @cached_property
    def tau(self) -> Array:
        """Time constants, s, shape (M,)."""
        return time_constants(self.omega, self.elements)

    @cached_property
    def impedance(self) -> NDArray[np.complex128]:
        """Columns of R, the elements, jω and 1/(jω), shape (F, N)."""
        omega = self.omega[:, None]
        columns = [np.ones_like(omega), 1.0 / (1.0 + 1j * omega * self.tau)]
        columns += [1j * omega] * self.model.rising + [-1j / omega] * self.model.falling
        return np.hstack(columns)

    @cached_property
    def rows(self) -> Array:
        """The same, real parts before imaginary ones, a row a column: shape (N, 2F)."""
        return np.ascontiguousarray(np.hstack([self.impedance.real.T, self.impedance.imag.T]))

    @cached_property
    def beyond(self) -> Array:
        """Rows of elements half a decade and a decade beyond the time constants, the slow ones first, shape (4, 2F).

        In admittance with their sign changed, so that a positive coefficient is a positive capacitance.
        """
        outside = np.concatenate([_BEYOND / self.omega.min(), 1.0 / (self.omega.max() * _BEYOND)])
        kernel = 1.0 / (1.0 + 1j * np.outer(outside, self.omega))
        return np.hstack([kernel.real, kernel.imag]) * (-1.0 if self.model.admittance else 1.0)

    @cached_property
    def capacitive(self) -> Array:
        """The row that a capacitance has, or would have, shape (1, 2F)."""
        omega = self.omega / self.omega[0]
        row = omega if self.model.admittance else -1.0 / omega
        return np.concatenate([np.zeros_like(row), row])[None]

    @cached_property
    def columns(self) -> Array:
        """The same as columns, shape (2F, N)."""
        return np.ascontiguousarray(self.rows.T)

    @cached_property
    def shown(self) -> Ints:
        """Which of the N columns the fitted part shows."""
        every = np.arange(len(self.rows))
        return {"complex": every, "re": every[: 1 + self.elements], "im": every[1:]}[self.model.part]

    @cached_property
    def fitted(self) -> Array:
        """Rows that are fitted: those columns, zero in the part that is not, shape (n, 2F)."""
        rows = self.rows[self.shown].copy()
        points = self.omega.size
        if self.model.part == "re":
            rows[:, points:] = 0.0
        elif self.model.part == "im":
            rows[:, :points] = 0.0
        return rows

    @cached_property
    def mass(self) -> Array:
        """What each fitted unknown is multiplied by to be an R or a C that counts for μ, shape (n,).

        In admittance an element is C = −τx, as the coefficient x of 1/(1 + jωτ) is −C/τ.
        """
        whole = np.zeros(len(self.rows))
        whole[1 : 1 + self.elements] = -self.tau if self.model.admittance else 1.0
        return whole[self.shown]

    @cached_property
    def sums(self) -> Array:
        """What is summed over the frequencies, times squared weights, for the normal matrices, shape (S, F).

        For a complex fit it is h_i = 1/(1 + ω²τ_i²) with τ_0 = 0, ω² and 1/ω²; else the product of each pair of
        columns.
        """
        omega = self.omega
        if self.model.part == "complex":
            h = 1.0 / (1.0 + np.outer(self._tau, omega) ** 2)
            return np.vstack([h, omega**2, omega**-2])
        i, j = np.tril_indices(len(self.fitted))
        both = self.fitted[i] * self.fitted[j]
        return np.ascontiguousarray(both[:, : omega.size] + both[:, omega.size :])

    @cached_property
    def combination(self) -> tuple[Ints, Ints, Array, Array]:
        """Entries of normal matrices as αs_u + βs_v of these sums: u, v, α, β, all of shape (n (n + 1) / 2,).

        For a complex fit the product of two elements is (τ_i s_i + τ_j s_j) / (τ_i + τ_j): in the product of their
        conjugate columns, (1 + ω²τ_iτ_j) h_i h_j, the two Lorentzians part. The resistance is an element with τ = 0. So
        M + 3 sums make the whole matrix.
        """
        if self.model.part != "complex":
            every = np.arange(len(self.sums))
            return every, every, np.ones(every.size), np.zeros(every.size)
        tau = self._tau
        count = tau.size
        table = [(i, j, *_shares(tau[i], tau[j])) for i in range(count) for j in range(i + 1)]
        if self.model.rising:
            table += [(0, 0, 0.0, 0.0), *((i, 0, 1.0 / tau[i], -1.0 / tau[i]) for i in range(1, count))]
            table += [(count, count, 1.0, 0.0)]
        if self.model.falling:
            table += [(i, i, tau[i], 0.0) for i in range(count)]
            table += [(0, 0, -1.0, 0.0)] * self.model.rising + [(count + 1, count + 1, 1.0, 0.0)]
        u, v, alpha, beta = zip(*table, strict=True)
        return np.array(u), np.array(v), np.array(alpha), np.array(beta)

    @cached_property
    def freedom(self) -> Array:
        """Share of its freedom that a fit to a constant modulus leaves to each point, shape (F,)."""
        basis = np.linalg.qr((self.rows / np.linalg.norm(self.rows, axis=1)[:, None]).T)[0]
        lever = np.sum(basis**2, axis=1).reshape(2, -1).sum(axis=0)
        return np.asarray(np.maximum(1.0 - 0.5 * lever, _LEAST_FREE))

    @property
    def _tau(self) -> Array:
        return np.concatenate([[0.0], self.tau])

    @cached_property
    def leverage(self) -> Array:
        """Products for the leverage of each point, shape (3F, N (N + 1) / 2).

        Times the inverse normal matrix they give its re-re, im-im and re-im entries.
        """
        i, j = np.tril_indices(len(self.rows))
        points = self.omega.size
        re, im = self.rows[:, :points], self.rows[:, points:]
        mixed = 0.5 * (re[i] * im[j] + re[j] * im[i])
        return np.ascontiguousarray(np.hstack([re[i] * re[j], im[i] * im[j], mixed]).T)


def _shares(first: float, second: float) -> tuple[float, float]:
    total = first + second
    return (first / total, second / total) if total > 0.0 else (1.0, 0.0)
