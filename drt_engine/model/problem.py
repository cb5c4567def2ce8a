"""The inverse problem of a grid: min ½|Ax − b|² + ½λ xᵀMx, x ≥ 0, and the certificate that a solution is optimal.

The unknowns x are the M coefficients of γ, then those of R_inf, L and 1/C that the data show. Rows of A are the real
parts, then the imaginary parts. Columns of R_inf, L and 1/C have norm one and each spectrum is divided by its largest
component, so that neither the decades of ω nor the unit of Z reach a solver.
"""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from drt_engine.elements import TailName, tail_column, tail_kinds, tails
from drt_engine.model.discretisation import Discretisation
from drt_kernels import certificate

__all__ = ["OPTIMALITY_TOLERANCE", "Parameters", "Part", "Problem", "assemble", "assemble_with", "filled", "row_by_row"]

T = TypeVar("T", bound=np.generic)
Part = Literal["complex", "re", "im"]
Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

OPTIMALITY_TOLERANCE = 1e-8
"""Largest scaled optimality residual that is called solved."""

_SERIES_ELEMENTS = ("r_inf", "inductance", "elastance")


_ROWS = 8  # rows in a product of one shape, whatever their number is: BLAS then adds in the same order


def filled(rows: NDArray[T]) -> NDArray[T]:
    """Add rows of zeros up to a multiple of 8.

    Parameters
    ----------
    rows : ndarray, shape (K, …)
        One row a spectrum.
    """
    missing = -len(rows) % _ROWS
    if not missing:
        return rows
    out = np.zeros((len(rows) + missing, *rows.shape[1:]), rows.dtype)
    out[: len(rows)] = rows
    return out


def row_by_row(rows: Array, matrix: Array) -> Array:
    """Multiply rows by a matrix, each to the same bits whatever other rows there are.

    How a matrix product rounds depends on its shape, so it is made of products of 8 rows. For matrices as small as
    these that is also the quickest way.

    Parameters
    ----------
    rows : ndarray, shape (K, N)
        One row a spectrum.
    matrix : ndarray, shape (N, J)
        What they are multiplied by.

    Returns
    -------
    ndarray, shape (K, J)
    """
    whole = filled(rows)
    blocks = whole.reshape(len(whole) // _ROWS, _ROWS, rows.shape[1]) @ np.ascontiguousarray(matrix)
    return np.asarray(blocks.reshape(len(whole), matrix.shape[1])[: len(rows)])


_WITHOUT: tuple[tuple[str, Any], ...] = (
    ("tail", 0.0),
    ("tail_exponent", np.nan),
    ("tail_tau", np.inf),
    ("inductance_exponent", 1.0),
    ("parallel_capacitance", 0.0),
    ("admittance", False),
    ("drift_fast", 0.0),
    ("drift_slow", 0.0),
)
"""What stands for what a model does not have."""


@dataclass(frozen=True, eq=False)
class Parameters:
    """Physical values of the solutions for K spectra.

    Attributes
    ----------
    coefficients : ndarray, shape (K, M)
        Coefficients of γ, ohm.
    r_inf, inductance, elastance : ndarray, shape (K,)
        R_inf in ohm, L in H and 1/C in 1/F.
    tail, tail_exponent, tail_tau : ndarray, shape (K,)
        1/Q, n and T of a tail (1/Q) (jω)⁻ⁿ coth √(jωT) that is no capacitor; 0, NaN and infinite without one.
    inductance_exponent : ndarray, shape (K,)
        m of L (jω)^m; 1 for a coil without losses.
    parallel_capacitance : ndarray, shape (K,)
        C of the admittance 1/R_inf + jωC − ∫ γ/(1 + jωτ) d ln τ, F; 0 without one.
    admittance : ndarray of bool, shape (K,)
        Whether γ is in that admittance, in S.
    drift_fast, drift_slow : ndarray, shape (K,)
        Change of ln γ over the sweep at the shortest and at the longest relaxation time of the data; γ is that in the
        middle of the sweep.
    """

    coefficients: Array
    r_inf: Array
    inductance: Array
    elastance: Array
    tail: Array = None  # type: ignore[assignment]  # what stands for none, below
    tail_exponent: Array = None  # type: ignore[assignment]
    tail_tau: Array = None  # type: ignore[assignment]
    inductance_exponent: Array = None  # type: ignore[assignment]
    parallel_capacitance: Array = None  # type: ignore[assignment]
    admittance: NDArray[np.bool_] = None  # type: ignore[assignment]
    drift_fast: Array = None  # type: ignore[assignment]
    drift_slow: Array = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Fill in the parameters that a model does not have."""
        rows = len(self.r_inf)
        for name, value in _WITHOUT:
            if getattr(self, name) is None:
                array = np.empty(rows, dtype=type(value))
                array.fill(value)
                object.__setattr__(self, name, array)

    @property
    def tail_kinds(self) -> list[TailName]:
        """Which tail each spectrum has."""
        kinds = tail_kinds(self.tail, self.tail_exponent, self.tail_tau)
        return ["capacitor" if c > 0.0 else kind for kind, c in zip(kinds, self.elastance, strict=True)]

    def rows(self, rows: NDArray[np.intp] | slice) -> "Parameters":
        """Return those of some spectra.

        Parameters
        ----------
        rows : ndarray of int, or slice
            Row numbers.
        """
        return Parameters(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def impedance(self, frequency: Array, basis: ComplexArray) -> ComplexArray:
        """Impedance of the model.

        Parameters
        ----------
        frequency : ndarray, shape (F,)
            Frequencies, Hz.
        basis : ndarray of complex, shape (F, M)
            Impedance of unit basis functions.

        Returns
        -------
        ndarray of complex, shape (K, F)
            Ohm.
        """
        omega = 2.0 * np.pi * frequency
        lossy = self.inductance_exponent != 1.0
        reactance = np.outer(np.where(lossy, 0.0, self.inductance), omega) - np.outer(self.elastance, 1.0 / omega)
        z = _curves(self.coefficients, basis)
        z.real += self.r_inf[:, None]
        z.imag += reactance
        if (self.tail > 0.0).any():
            z += tails(omega, self.tail, self.tail_exponent, self.tail_tau)
        if lossy.any():
            z[lossy] += tails(
                omega, self.inductance[lossy], -self.inductance_exponent[lossy], np.full(lossy.sum(), np.inf)
            )
        if (own := np.flatnonzero(self.admittance)).size:
            inside = self.rows(own).reciprocal()
            z[own] = 1.0 / inside.impedance(frequency, -basis)
        return z

    def reciprocal(self) -> "Parameters":
        """Convert parameters of admittances to those of impedances with the same model, and back."""
        with np.errstate(divide="ignore"):
            r_inf = 1.0 / self.r_inf
        nothing = np.zeros(len(self.r_inf))
        return Parameters(
            self.coefficients,
            r_inf,
            self.parallel_capacitance,
            nothing,
            parallel_capacitance=self.inductance,
            admittance=~self.admittance,
        )


@dataclass(frozen=True, eq=False)
class Problem:
    """The matrices of a grid for one choice of data and unknowns; made by :func:`assemble`.

    Attributes
    ----------
    discretisation : Discretisation
        The matrices that they are made of.
    part : {"complex", "re", "im"}
        Part of the impedance that is fitted.
    series_elements, unseen : tuple of str
        Which of R_inf, L and 1/C are unknowns, and which of the model's the data do not show.
    matrix : ndarray, shape (n, N)
        A, scaled.
    scale : ndarray, shape (N,)
        What x has to be divided by to undo the scaling of the columns.
    penalty, penalty_factor : ndarray, shapes (N, N) and (r, N)
        M, zero for R_inf, L and 1/C, and L with LᵀL = M.
    weights : ndarray, shape (F,), or None
        What the data at each frequency are multiplied by; None for 1.
    tail_exponent : float
        n of the tail, if that is an unknown; NaN if it is not.
    """

    discretisation: Discretisation
    part: Part
    series_elements: tuple[str, ...]
    unseen: tuple[str, ...]
    matrix: Array
    scale: Array
    penalty: Array
    penalty_factor: Array
    weights: Array | None = None
    tail_exponent: float = np.nan

    def weighted(self, weights: Array) -> "Problem":
        """Return the problem whose data and rows of A are multiplied by weights.

        Parameters
        ----------
        weights : ndarray, shape (F,)
            Positive, at each frequency; the same for the real and the imaginary part.
        """
        matrix = self.matrix * np.tile(weights, len(self.matrix) // weights.size)[:, None]
        scale = self.scale.copy()
        norms = np.linalg.norm(matrix[:, self.penalised :], axis=0)
        matrix[:, self.penalised :] /= norms
        scale[self.penalised :] *= norms
        return replace(self, matrix=matrix, scale=scale, weights=weights)

    @property
    def penalised(self) -> int:
        """Number of penalised unknowns, the coefficients of γ; they come first."""
        return self.scale.size - len(self.series_elements)

    @cached_property
    def column_squares(self) -> tuple[Array, Array]:
        """Squares of the column norms of A and of the factor of M, both of shape (N,)."""
        return np.sum(self.matrix**2, axis=0), np.sum(self.penalty_factor**2, axis=0)

    @cached_property
    def transposed(self) -> Array:
        """Aᵀ, contiguous, shape (N, n)."""
        return np.ascontiguousarray(self.matrix.T)

    def data(self, impedance: ComplexArray) -> tuple[Array, Array]:
        """Right-hand sides b, and what each spectrum was divided by.

        Parameters
        ----------
        impedance : ndarray of complex, shape (K, F)
            Finite impedances, ohm.

        Returns
        -------
        b : ndarray, shape (K, n)
            Scaled data.
        size : ndarray, shape (K,)
            Largest real or imaginary part of each spectrum, ohm; 1 for a spectrum of zeros.
        """
        size = np.maximum(np.abs(impedance.real), np.abs(impedance.imag)).max(axis=1)
        size[size == 0.0] = 1.0
        scaled = impedance / size[:, None]
        return _stack(scaled if self.weights is None else scaled * self.weights, self.part, axis=1), size

    def parameters(self, x: Array, impedance: ComplexArray, size: Array) -> Parameters:
        """Physical values of scaled solutions.

        What the fitted part of the data does not show (R_inf when only the imaginary part is fitted, L and C when only
        the real part is) is fitted to the other part afterwards, non-negative and with γ as it is.

        Parameters
        ----------
        x : ndarray, shape (K, N)
            Solutions.
        impedance : ndarray of complex, shape (K, F)
            The spectra, ohm.
        size : ndarray, shape (K,)
            As :meth:`data` returned it.
        """
        values = dict.fromkeys(_SERIES_ELEMENTS, np.zeros(len(x)))
        physical = x / self.scale
        values |= {name: physical[:, self.penalised + k] * size for k, name in enumerate(self.series_elements)}
        if self.unseen:
            rest = impedance / size[:, None] - _curves(physical[:, : self.penalised], self.discretisation.impedance)
            values |= self._fit_unseen(rest, size)
        coefficients = physical[:, : self.penalised] * size[:, None]
        found = Parameters(coefficients, values["r_inf"], values["inductance"], values["elastance"])
        if "tail" not in values:
            return found
        exponent = np.where(values["tail"] > 0.0, self.tail_exponent, np.nan)
        return replace(found, tail=values["tail"], tail_exponent=exponent)

    def _fit_unseen(self, rest: ComplexArray, size: Array) -> dict[str, Array]:
        other: Part = "re" if self.part == "im" else "im"
        columns = _stack(_element_columns(self.unseen, self.discretisation.frequency), other)
        norms = np.linalg.norm(columns, axis=0)
        columns = columns / norms
        projection = row_by_row(_stack(rest, other, axis=1), columns)
        # Non-negative least squares in one or two unit columns: the free solution, or where that has a negative part
        # the better one of the two columns alone.
        x = np.linalg.solve(columns.T @ columns, projection.T).T
        best = projection.argmax(axis=1)
        alone = np.zeros_like(x)
        np.put_along_axis(alone, best[:, None], projection.max(axis=1).clip(min=0.0)[:, None], axis=1)
        x = np.where(np.any(x < 0.0, axis=1)[:, None], alone, x)
        return {name: x[:, k] / norms[k] * size for k, name in enumerate(self.unseen)}

    def fitted(self, x: Array) -> Array:
        """Scaled data of scaled solutions, Ax, shape (K, n).

        Parameters
        ----------
        x : ndarray, shape (K, N)
            Solutions.
        """
        return row_by_row(x, self.transposed)

    def impedance(self, parameters: Parameters, fitted: Array, size: Array) -> ComplexArray:
        """Impedance of solutions, ohm, shape (K, F).

        Parameters
        ----------
        parameters : Parameters
            Physical values of the solutions.
        fitted : ndarray, shape (K, n)
            As :meth:`fitted` returned it for them.
        size : ndarray, shape (K,)
            As :meth:`data` returned it.
        """
        found = self.discretisation
        if self.part != "complex":
            return parameters.impedance(found.frequency, found.impedance)
        z = np.empty((len(fitted), found.frequency.size), dtype=complex)
        z.real, z.imag = fitted[:, : found.frequency.size], fitted[:, found.frequency.size :]
        z *= size[:, None]
        if self.weights is not None:
            z /= self.weights
        return z

    def optimality(self, x: Array, b: Array, regularisation: Array, fitted: Array | None = None) -> Array:
        r"""Scaled optimality residual of solutions; the certificate.

        With :math:`g = A^T(Ax - b) + λMx`, computed from the residual, and :math:`d_j` the norm of column j of the
        stacked matrix :math:`[A; \sqrt{λ}L]`, the scaled unknowns are :math:`u_j = x_j d_j / |b|` and the scaled
        gradients :math:`h_j = g_j / (d_j |b|)`. Optimal is u ≥ 0, h ≥ 0, uh = 0; the residual is the largest
        :math:`|\min(u_j, h_j)|` or :math:`|u_j h_j|`.

        Parameters
        ----------
        x : ndarray, shape (K, N)
            Solutions.
        b : ndarray, shape (K, n)
            Data.
        regularisation : ndarray, shape (K,)
            λ.
        fitted : ndarray, shape (K, n), optional
            Ax, where it is known already.

        Returns
        -------
        ndarray, shape (K,)
            The residual; NaN where the solution is not finite.
        """
        gradient = row_by_row(row_by_row(x, self.penalty_factor.T), self.penalty_factor)
        gradient *= regularisation[:, None]
        gradient += row_by_row((self.fitted(x) if fitted is None else fitted) - b, self.matrix)
        norm = np.sqrt(np.sum(b**2, axis=1))
        norm[norm == 0.0] = 1.0
        out = np.empty(len(x))
        certificate.optimality(np.ascontiguousarray(x), gradient, regularisation, *self.column_squares, norm, out)
        return out


def assemble(
    discretisation: Discretisation, part: Part, *, inductance: bool, capacitance: bool, exponent: float | None = None
) -> Problem:
    """Assemble the problem of a grid.

    Parameters
    ----------
    discretisation : Discretisation
        The shared matrices.
    part : {"complex", "re", "im"}
        Part of the impedance that is fitted.
    inductance, capacitance : bool
        Whether the model has jωL and 1/(jωC).
    exponent : float, optional
        n of a tail 1/(Q(jω)ⁿ) that the model has; for a complex impedance.
    """
    if exponent is not None:
        some = ("r_inf", "inductance") if inductance else ("r_inf",)
        column = tail_column(2.0 * np.pi * discretisation.frequency, exponent, np.inf)
        columns = np.column_stack([_element_columns(some, discretisation.frequency), column])
        return replace(assemble_with(discretisation, part, (*some, "tail"), columns), tail_exponent=exponent)
    model = [name for name, on in zip(_SERIES_ELEMENTS, (True, inductance, capacitance), strict=True) if on]
    shown = {"complex": _SERIES_ELEMENTS, "re": _SERIES_ELEMENTS[:1], "im": _SERIES_ELEMENTS[1:]}[part]
    series_elements = tuple(name for name in model if name in shown)
    unseen = tuple(name for name in model if name not in shown)
    return assemble_with(
        discretisation, part, series_elements, _element_columns(series_elements, discretisation.frequency), unseen
    )


def assemble_with(
    discretisation: Discretisation,
    part: Part,
    series_elements: tuple[str, ...],
    impedance: ComplexArray,
    unseen: tuple[str, ...] = (),
) -> Problem:
    """Assemble the problem of a grid with terms in series of any kind.

    Parameters
    ----------
    discretisation : Discretisation
        The shared matrices.
    part : {"complex", "re", "im"}
        Part of the impedance that is fitted.
    series_elements : tuple of str
        Names of the terms.
    impedance : ndarray of complex, shape (F, E)
        Impedance of each at 1.
    unseen : tuple of str
        Terms that the part does not show.
    """
    columns = _stack(impedance, part)
    norms = np.linalg.norm(columns, axis=0)
    added = (0, len(series_elements))
    return Problem(
        discretisation=discretisation,
        part=part,
        series_elements=series_elements,
        unseen=unseen,
        matrix=np.hstack([_stack(discretisation.impedance, part), columns / norms]),
        scale=np.concatenate([np.ones(discretisation.impedance.shape[1]), norms]),
        penalty=np.pad(discretisation.roughness, (added, added)),
        penalty_factor=np.pad(discretisation.roughness_factor, ((0, 0), added)),
    )


def _curves(coefficients: Array, basis: ComplexArray) -> ComplexArray:
    z = np.empty((len(coefficients), len(basis)), dtype=complex)
    z.real = row_by_row(coefficients, basis.real.T)
    z.imag = row_by_row(coefficients, basis.imag.T)
    return z


def _stack(z: ComplexArray, part: Part, axis: int = 0) -> Array:
    chosen = {"complex": (z.real, z.imag), "re": (z.real,), "im": (z.imag,)}[part]
    return np.concatenate(chosen, axis=axis)


def _element_columns(names: tuple[str, ...], frequency: Array) -> ComplexArray:
    omega = 2.0 * np.pi * frequency
    columns = {"r_inf": np.ones_like(omega), "inductance": 1j * omega, "elastance": -1j / omega}
    return np.array([columns[name] for name in names], dtype=complex).reshape(len(names), omega.size).T
