"""Models that are not linear in all they have: γ of either sign, tails and lossy inductances, beside a prior on ln γ.

An exponent is found with the rest: the model is made linear around it, and its change is one more unknown that is not
negative, until it no longer changes (Gauss and Newton). So it takes part in the noise that is found, in the
covariances, and in the certificate. Beside much noise it is then moved to where the evidence is largest, and held.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drt_engine.elements import EXPONENTS, Terms
from drt_engine.methods.evidence import log_evidence, log_normaliser
from drt_engine.methods.log_gaussian_prepared import PreparedLogGaussian
from drt_engine.methods.nearby import lent, plain_tables, with_columns
from drt_engine.model.problem import Problem
from drt_kernels import log_gaussian

if TYPE_CHECKING:
    from drt_kernels.held import Handle

__all__ = ["Fit", "LogModel", "signed_grid", "signed_problem"]

Array = NDArray[np.float64]

_LONGEST = 0.05, 0.5
"""Largest change in a step, of exponents and of logarithms."""

_ROUNDS, _SETTLED = 15, 3e-3
"""Steps with noise and λ that are found again, and the change, in standard deviations, that ends them."""

_FINAL_ROUNDS, _FINAL = 120, 1e-9
"""Further steps with noise and λ that stay, and the change, in standard deviations, that ends them: below the tolerance
of the optimality residual, which a solution has to meet."""

_STEADY = 0.5
"""Largest share of the step before, in modulus, that further ones are foreseen from."""

_NEAR, _FALL = 3, 4.0
"""How many intervals of relaxation times beside a change of sign ln |γ| is expected to fall in, and how steeply. It
goes to minus infinity; without this, γ jumps from one sign to the other."""

_ABOUT, _PLACES = 2, 9
"""Relaxation times on either side of a peak that may be exchanged for an ideal element, and places that are tried for
it between the neighbours of the peak."""

_SHARPER = 0.03
"""Precision of slopes and bends of ln |γ| where γ is negative, as a share of that where it is positive: most loops are
those of one inductance. With the same, the resistance of such a loop is 5 % high: a positive γ beside it makes up for
what the prior has made too wide."""

_AMPLITUDE = np.log(0.3), 2.0
"""Median and standard deviation of the logarithm of a tail at the lowest frequency, as a share of the largest part of
the spectrum, before the data are seen."""

_SEGMENT = np.log(0.1), 2.0
"""The same of the resistance of each range of relaxation times with one sign of γ, but for the largest."""


@dataclass(frozen=True, eq=False)
class Fit:
    """What one model found for one spectrum, in the units of the problem."""

    values: Array
    """|γ| at the relaxation times and the linear unknowns, for a spectrum of size 1."""
    shape: Array
    """What the model is not linear in."""
    hyper: Array
    """Components of the variance, and λ."""
    residual: float
    """By how many standard deviations an unknown is not where it should be, at most."""
    evidence: float
    """Logarithm of the marginal likelihood."""


class LogModel:
    """A model for the spectra of a grid.

    Parameters
    ----------
    prepared : PreparedLogGaussian
        The problem with the linear unknowns of `terms`, of either sign if γ is.
    terms : Terms
        What is in series with γ.
    signs : ndarray, shape (M,)
        Of γ.
    """

    def __init__(self, prepared: PreparedLogGaussian, terms: Terms, signs: Array) -> None:
        self.prepared, self.terms, self.signs = prepared, terms, signs
        problem = prepared.problem
        self.omega = 2.0 * np.pi * problem.discretisation.frequency
        self.logs, self.linear = prepared.grid.logs, problem.scale.size
        # Where each range of one sign begins.
        self.ranges = np.concatenate([[0], np.flatnonzero(np.diff(signs)) + 1])
        # That γ falls at the slow end anyhow says nothing for a tail.
        self._normaliser = log_normaliser(prepared.grid) + prepared.gained
        # All columns are those of the problem, whose solutions are then the same as without other models.
        self._plain = not terms.shapes and bool((signs > 0.0).all())
        self.size = self.linear + len(terms.shapes)
        # Which linear unknown a shape belongs to.
        self._owners = {name: "inductance" if name == "loss" else "tail" for name in terms.shapes}
        self.bounds = np.array([np.inf if name == "diffusion" else 1.0 - EXPONENTS[0] for name in terms.shapes])

    def matrix(self, y: Array, shape: Array) -> tuple[Array, Array]:
        """Columns of the unknowns, shape (N, n), and what they are scaled by, (N,).

        Those of the shapes are for the amplitudes in y. Columns beside those of γ have norm 1.
        """
        problem, terms = self.prepared.problem, self.terms
        columns, scale = (part.copy() for part in self._same)
        for at, name in enumerate(problem.series_elements, start=self.logs):
            if name in self._owners.values():
                columns[at], scale[at] = self._column(name, shape)
        for at, name in enumerate(terms.shapes, start=self.linear):
            of, column = terms.derivative(name, self.omega, shape)
            owner = self.logs + problem.series_elements.index(of)
            change = _stacked(column) * (y[owner] / scale[owner])
            scale[at] = max(float(np.linalg.norm(change)), 1e-300)
            columns[at] = change / scale[at]
        return columns, scale

    @cached_property
    def _same(self) -> tuple[Array, Array]:
        """What :meth:`matrix` returns, with what does not depend on the shapes."""
        problem = self.prepared.problem
        columns = np.empty((self.size, len(problem.matrix)))
        columns[: self.linear] = problem.transposed
        scale = np.concatenate([problem.scale, np.ones(len(self.terms.shapes))])
        for at, name in enumerate(problem.series_elements, start=self.logs):
            if name not in self._owners.values():
                columns[at], scale[at] = self._column(name, np.zeros(len(self.terms.shapes)))
        return columns, scale

    def _column(self, name: str, shape: Array) -> tuple[Array, float]:
        """Column of a linear unknown of norm 1, and its norm."""
        whole = _stacked(self.terms.column(name, self.omega, shape))
        norm = float(np.linalg.norm(whole))
        return whole / norm, norm

    def grid(self, columns: Array) -> "log_gaussian.Grid":
        """Collect what the kernel needs to know."""
        return with_columns(self.prepared.grid, columns)

    def work(self, grid: "log_gaussian.Grid") -> "AbstractContextManager[Handle]":
        """Lend the arrays of the compiled search for a grid."""
        return lent(grid, self.prepared.tables if self._plain else plain_tables(grid.columns, grid.size))

    def fit(self, b: Array, parts: Array, given: Array, start: Array, shape: Array) -> Fit | None:
        """Find the solution for one spectrum.

        Parameters
        ----------
        b : ndarray, shape (n,)
            Scaled data.
        parts, given : ndarray, shapes (2, F) and (3,)
            As the kernel takes them.
        start : ndarray, shape (N,)
            ln γ and linear unknowns.
        shape : ndarray, shape (P,)
            Shapes to start from.

        Returns
        -------
        Fit or None
            None where a term with a shape vanished: another model is the same without it.
        """
        y, asked, final, last = np.concatenate([start, shape]), given, 0, (np.inf, 0.0)
        for n in range(_ROUNDS + _FINAL_ROUNDS):
            if self._vanished(y):
                return None
            columns, scale = self.matrix(y, shape)
            y[self.linear :] = shape * scale[self.linear :]
            before = y.copy()
            y, hyper, residual = self._maximise(b, parts, asked, y, columns)
            wanted = y[self.linear :] / scale[self.linear :]
            deviation = self._deviations(columns, parts, hyper) / scale[self.linear :]
            jump = float(np.max(np.abs(wanted - shape) / deviation, initial=0.0))
            if shape.size == 1 and final > 0:
                # The step goes to zero about linearly in the shape: its zero is where the secant has it.
                here = float(shape[0]), float(wanted[0] - shape[0])
                steepness = (here[1] - last[1]) / (here[0] - last[0]) if here[0] != last[0] else -1.0
                if abs(steepness + 1.0) < _STEADY:
                    wanted = shape - here[1] / steepness
                last = here
            if (share := self._share(wanted - shape)) < 1.0:
                y = before + share * (y - before)
                wanted = shape + share * (wanted - shape)
            shape = np.clip(wanted, 0.0, self.bounds)
            y[self.linear :] = shape
            if final == 0 and (n == _ROUNDS - 1 or jump <= _SETTLED):
                # From here on with what was found.
                final, asked = 1, hyper.copy()
            elif final > 0:
                final += 1
            if final > 0 and jump <= _FINAL:
                break
        return None if self._vanished(y) else self._finished(b, parts, given, (y, shape, hyper, max(residual, jump)))

    def fit_held(self, b: Array, parts: Array, given: Array, start: Array, shape: Array) -> tuple[Array, Fit | None]:
        """Find the solution for given shapes of the terms: ln γ and the linear unknowns, and the same as a `Fit`.

        Parameters
        ----------
        b, parts, given, start, shape
            As :meth:`fit` takes them.
        """
        columns, _ = self.matrix(np.concatenate([start, shape]), shape)
        y, hyper, residual = self._maximise(b, parts, given, start.copy(), columns[: self.linear])
        if self._vanished(y):
            return y, None
        return y, self._finished(b, parts, given, (np.concatenate([y, shape]), shape, hyper, residual))

    def _maximise(self, b: Array, parts: Array, given: Array, y: Array, columns: Array) -> tuple[Array, Array, float]:
        """Solve the model that is linear around y."""
        shifted = b + y[self.linear :] @ columns[self.linear :]
        out, hyper, residual = np.empty((1, y.size)), np.empty((1, 3)), np.empty(1)
        with self.work(self.grid(columns)) as work:
            log_gaussian.maximise(shifted[None], parts[None], y[None], given[None], work, out, hyper, residual)
        return out[0], hyper[0], float(residual[0])

    def _finished(self, b: Array, parts: Array, given: Array, found: tuple[Array, Array, Array, float]) -> Fit:
        y, shape, hyper, residual = found
        columns, scale = self.matrix(y, shape)
        y[self.linear :] = shape * scale[self.linear :]
        shifted = b + y[self.linear :] @ columns[self.linear :]
        evidence = log_evidence(self.grid(columns), shifted, parts, y, hyper, given, self._prior(y, scale))
        values = np.concatenate([np.exp(y[: self.logs]), y[self.logs : self.linear]]) / scale[: self.linear]
        return Fit(values, shape, hyper, residual, evidence)

    def _left(self, b: Array, parts: Array, fit: Fit) -> "tuple[Array, Array, Array, log_gaussian.Grid]":
        """Unknowns that the model is linear in, what they leave of the data, the variance, and the grid."""
        y, _, shifted, grid = self.linearised(b, fit.values, fit.shape)
        value = np.concatenate([np.exp(y[: self.logs]), y[self.logs :]])
        left = shifted - value @ grid.columns[: self.size]
        return value, left, fit.hyper[0] * parts[0] + fit.hyper[1] * parts[1], grid

    def excused(self, b: Array, parts: Array, given: Array, fit: Fit) -> float:
        """Estimate the part of the residuals that is due to peaks that are narrower than relaxation times are apart.

        At each peak, γ of some neighbouring relaxation times is exchanged for one ideal element as far as that
        explains the residuals, which takes R_inf and L along.

        Parameters
        ----------
        b, parts, given : ndarray
            As :meth:`fit` takes them.
        fit : Fit
            The solution.

        Returns
        -------
        float
            By how much the logarithm of the likelihood would be larger with such elements.
        """
        found = self.prepared.problem.discretisation.expansion
        value, left, variance, grid = self._left(b, parts, fit)
        weight = 1.0 / np.sqrt(np.tile(variance, 2))
        own, left = grid.columns[: self.size] * value[:, None] * weight, weight * left
        whole, gamma, apart = left, value[: self.logs], found.tau[1:] / found.tau[:-1]
        for peak in np.flatnonzero((gamma[1:-1] > gamma[:-2]) & (gamma[1:-1] >= gamma[2:])) + 1:
            about = own[max(peak - _ABOUT, 0) : min(peak + _ABOUT + 1, self.logs)].sum(axis=0)
            best = left
            for tau in found.tau[peak] * apart[peak] ** np.linspace(-1.0, 1.0, _PLACES):
                s = 1j * self.omega * tau
                exact, moved = (weight * _stacked(one) for one in (1.0 / (1.0 + s), s / (1.0 + s) ** 2))
                columns = np.array([about, exact, moved, *own[self.logs :]]).T
                columns /= np.maximum(np.linalg.norm(columns, axis=0), 1e-300)
                rest = left - columns @ np.linalg.lstsq(columns, left, rcond=1e-12)[0]
                best = min(best, rest, key=lambda one: float(one @ one))
            left = best
        if np.isnan(given[:2]).all():
            # The noise is what is left.
            return 0.5 * left.size * float(np.log((whole @ whole) / (left @ left)))
        return max(self._loss(whole) - self._loss(left), 0.0)

    def _loss(self, left: Array) -> float:
        """Return the negative logarithm of the likelihood of residuals in standard deviations, but for a constant."""
        square, t = np.sum(left.reshape(2, -1) ** 2, axis=0), self.prepared.grid.tail
        return float(np.sum(0.5 * square if t == 0.0 else (0.5 / t + 1.0) * np.log1p(t * square)))

    def linearised(self, b: Array, values: Array, shape: Array) -> "tuple[Array, Array, Array, log_gaussian.Grid]":
        """State the linear problem around a solution: its unknowns y, what they are scaled by, its data and its grid.

        Parameters
        ----------
        b : ndarray, shape (n,)
            Scaled data.
        values, shape : ndarray
            As a :class:`Fit` has them.
        """
        with np.errstate(divide="ignore"):
            y = np.concatenate([np.log(values[: self.logs]), values[self.logs :], shape])
        # The scale of a linear unknown depends on the shape alone, that of a shape on the amplitude.
        _, scale = self.matrix(y, shape)
        y[self.logs : self.linear] *= scale[self.logs : self.linear]
        columns, scale = self.matrix(y, shape)
        y[self.linear :] *= scale[self.linear :]
        return y, scale, b + y[self.linear :] @ columns[self.linear :], self.grid(columns)

    def _share(self, change: Array) -> float:
        """How much of a change of the shapes is made at once."""
        longest = np.array([_LONGEST[name == "diffusion"] for name in self.terms.shapes])
        return float(np.min(longest / np.maximum(np.abs(change), 1e-300), initial=1.0))

    def _vanished(self, y: Array) -> bool:
        """Whether an amplitude that a shape belongs to is zero."""
        series_elements = self.prepared.problem.series_elements
        return any(y[self.logs + series_elements.index(owner)] <= 0.0 for owner in self._owners.values())

    def _deviations(self, columns: Array, parts: Array, hyper: Array) -> Array:
        """Return standard deviations of the scaled shapes if all else were known."""
        precision = 1.0 / (hyper[0] * parts[0] + hyper[1] * parts[1])
        weights = np.concatenate([precision, precision])
        return np.asarray(1.0 / np.sqrt((columns[self.linear :] ** 2) @ weights))

    def _prior(self, y: Array, scale: Array) -> tuple[float, Array]:
        """Return the logarithm of the density of amplitudes and shapes, less what normalises that of ln γ.

        The second is a factor of its precision.
        """
        log_density, known = -self._normaliser, []
        series_elements, terms, row = self.prepared.problem.series_elements, self.terms, np.eye(self.size)
        if terms.tail != "none":
            at = self.logs + series_elements.index("elastance" if terms.tail == "capacitor" else "tail")
            x = max(float(y[at]), 1e-12)
            log_density += _log_normal(np.log(x * self._last_columns(y, scale)[at]), _AMPLITUDE) - np.log(x)
            known.append(row[at] / (_AMPLITUDE[1] * x))
        for at, name in enumerate(terms.shapes, start=self.linear):
            width = 1.0 - EXPONENTS[0] if name != "diffusion" else float(np.log(self.omega.max() / self.omega.min()))
            log_density -= np.log(width * scale[at])
            known.append(row[at] * np.sqrt(12.0) / (width * scale[at]))
        parts = np.exp(y[: self.logs]) * self.prepared.problem.discretisation.expansion.areas
        whole = np.add.reduceat(parts, self.ranges)
        ends = np.append(self.ranges, self.logs)
        for which in np.argsort(whole)[:-1]:
            part = max(float(whole[which]), 1e-300)
            # Where γ changes its sign may be anywhere.
            log_density += _log_normal(np.log(part), _SEGMENT) - np.log(self.logs)
            share = np.zeros(self.size)
            share[ends[which] : ends[which + 1]] = parts[ends[which] : ends[which + 1]] / part
            known.append(share / _SEGMENT[1])
        return float(log_density), np.array(known).reshape(len(known), self.size)

    def _last_columns(self, y: Array, scale: Array) -> Array:
        """|column| of linear unknowns at the lowest frequency."""
        out = np.zeros(self.size)
        shape = y[self.linear :] / scale[self.linear :]
        for at, name in enumerate(self.prepared.problem.series_elements, start=self.logs):
            out[at] = np.abs(self.terms.column(name, self.omega, shape)[self.omega.argmin()]) / scale[at]
        return out


def signed_problem(problem: Problem, signs: Array) -> Problem:
    """Return the problem of |γ| where γ has known signs.

    Parameters
    ----------
    problem : Problem
        That of γ.
    signs : ndarray, shape (M,)
        1 or -1 at each relaxation time.
    """
    factor = np.concatenate([signs, np.ones(len(problem.series_elements))])
    rough = problem.penalty_factor * factor
    return replace(problem, matrix=problem.matrix * factor, penalty_factor=rough, penalty=rough.T @ rough)


def signed_grid(grid: "log_gaussian.Grid", signs: Array) -> "log_gaussian.Grid":
    """Return the kernel's grid of ln |γ|, which is linked only where the sign does not change.

    Parameters
    ----------
    grid : Grid
        Of the signed problem.
    signs : ndarray, shape (M,)
        1 or -1.
    """
    same = signs[1:] == signs[:-1]
    straight = same[1:] & same[:-1]
    lean, spacing = grid.lean.copy(), 1.0 / np.maximum(grid.slope, 1e-300)
    for at in np.flatnonzero(~same):
        # γ goes through zero, so that its modulus falls on both sides towards the change.
        before, after = slice(max(at - _NEAR, 0), at), slice(at + 1, at + 1 + _NEAR)
        lean[before], lean[after] = -_FALL * spacing[before], _FALL * spacing[after]
    lean[~same] = 0.0
    # Where the data do not reach, the prior alone says where γ goes.
    inner = np.append(grid.lean == 0.0, False) & np.append(False, grid.lean == 0.0)
    share = np.where((signs < 0.0) & inner, _SHARPER, 1.0)
    return grid._replace(
        lean=lean,
        slope=np.where(same, grid.slope * np.maximum(share[1:], share[:-1]), 0.0),
        bend=np.ascontiguousarray(np.where(straight, np.sqrt(share[1:-1]), 0.0)[:, None] * grid.bend),
    )


def _log_normal(x: float, expected: tuple[float, float]) -> float:
    middle, width = expected
    return float(-0.5 * ((x - middle) / width) ** 2 - np.log(width * np.sqrt(2.0 * np.pi)))


def _stacked(z: NDArray[np.complex128]) -> Array:
    return np.concatenate([z.real, z.imag])
